//! Layouts and filesystems that were right at the first try, and have to stay so.
