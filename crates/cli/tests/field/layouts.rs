//! Cards whose filesystem to resize is not the last one, and what moves with it.
//!
//! Each card goes through all that resizes: `backup --shrink`, restores to a smaller and a larger card,
//! and `verify --against`. `sfdisk`, `sgdisk`, `e2fsck` and `fsck.fat` judge; what moved is compared byte
//! for byte.

mod appliance;
mod card;
mod gpt;
mod logical;
mod plan;
mod primary;
mod random;
mod streams;
mod windows;
