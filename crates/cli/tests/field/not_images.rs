//! Files and streams that are no disk images.
