//! Targets: what is approved is a thing, not a path.
