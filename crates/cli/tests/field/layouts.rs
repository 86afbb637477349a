//! Cards whose filesystem to resize is not the last one, and what moves with it.
