//! The promises are in `tests/`, one file each.
#![forbid(unsafe_code)]
