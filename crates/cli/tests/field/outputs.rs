//! Texts from outside, outputs that fail, signals, and odd calls.
