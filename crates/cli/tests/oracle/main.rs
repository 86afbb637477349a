//! The finished program, judged by programs that others wrote.
//!
//! Every test makes a card full of stale bytes, formats and ages it with the system's own tools,
//! lets `cardkeep backup` copy it, and puts onto a card full of *other* stale bytes nothing but
//! what the image's map lists. A byte that the map forgot is then rubbish in the copy, and
//! `e2fsck`, `fsck.fat`, partclone or the kernel says so. (Decompressing the image alone would
//! put zeros there and hide it.)
//!
//! The tests of restoring let `cardkeep restore` do the same onto a larger card full of stale bytes,
//! and judge each byte of it: what the original has, zeros, or what lay there before.
//!
//! Needs root and loop devices, and says so where these are missing. A small matrix runs always,
//! all of it with `CARDKEEP_ORACLE=1`.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here is the test's premise, and its place says which"
)]

mod card;
mod ext;
mod ext_case;
mod fat;
mod image;
mod life;
mod original;
mod partclone;
mod program;
mod resizing;
mod restore_again;
mod restore_damage;
mod restore_formats;
mod restore_safety;
mod restore_sizes;
mod whole_card;
