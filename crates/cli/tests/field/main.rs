//! Situations that people reported of programs of this kind, and attacks on this one.
//!
//! Each test makes the card or the file of one situation with the system's own tools, runs the program
//! as a user would, and judges the outcome with the system's own tools. `docs/reliability.md` lists the
//! situations with the reports they come from. What needs root and loop devices says so.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here is the test's premise, and its place says which"
)]

mod desk;
mod drivers;
mod incomplete;
mod inputs;
mod layouts;
mod leftovers;
mod not_images;
mod outputs;
mod still_works;
mod targets;
