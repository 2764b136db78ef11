//! What is written about the program, as the tests read it: manual pages, the repository's
//! papers, and the sources that they speak of.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::panic)]

pub mod completions;
pub mod manual;
pub mod repository;
pub mod source;
