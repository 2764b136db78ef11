//! The module's error.
#![forbid(unsafe_code)]

use std::fmt::Display;

/// What did not work, on what, and why, for the log.
#[derive(Debug)]
pub struct Failure {
    pub operation: &'static str,
    pub object: String,
    pub cause: String,
    pub leaves: Leaves,
}

/// In what state a failure leaves the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// As it was: no helper has run.
    Nothing,
    /// A helper has run, and what it made may be left.
    HalfMade,
    /// This process is still in the user's namespaces: it must not run or read anything.
    Stranded,
}

impl Failure {
    pub fn of(operation: &'static str, object: impl Display, cause: impl Display) -> Self {
        let leaves = Leaves::Nothing;
        Failure { operation, object: object.to_string(), cause: cause.to_string(), leaves }
    }

    pub fn leaving(self, leaves: Leaves) -> Self {
        Failure { leaves, ..self }
    }
}
