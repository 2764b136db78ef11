//! The values of a profile: what an administrator may write, and what it comes to.
//!
//! Units are 1024-based throughout, `K`, `KB` and `KiB` alike and in either case, as
//! docker has them; systemd agrees everywhere but in the I/O bandwidths. A number that
//! could be meant in two units is refused with both readings, not guessed.

mod amount;
mod choice;
mod count;
mod cpu;
mod io;
mod list;
mod memory;
mod port;
mod rlimit;

pub(super) use choice::login;
pub use choice::{HidePid, OnLogout, Privacy, Wildcard};
pub use count::{Limit, Weight};
pub use cpu::{CpuQuota, CpuSet};
pub use io::IoLimit;
pub use list::List;
pub use memory::{Memory, Percent};
pub use port::Port;
pub use rlimit::{Rlimit, RlimitPair, RlimitValue};

/// A TOML value that is neither a table nor an array, as it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scalar<'a> {
    Text(&'a str),
    /// Digits in base ten; beyond the range of `i128` none.
    Integer(Option<i128>),
    Float(&'a str),
    Boolean(bool),
    Datetime,
}

/// Why a value is refused, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invalid {
    pub message: String,
    pub help: String,
}

impl Invalid {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Invalid { message: message.into(), help: help.into() }
    }
}

impl Scalar<'_> {
    /// As it is called in a message.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Scalar::Text(_) => "a string",
            Scalar::Integer(_) => "an integer",
            Scalar::Float(_) => "a float",
            Scalar::Boolean(_) => "a boolean",
            Scalar::Datetime => "a date",
        }
    }
}

/// A TOML boolean.
pub(crate) fn boolean(scalar: Scalar<'_>) -> Result<bool, Invalid> {
    match scalar {
        Scalar::Boolean(value) => Ok(value),
        other => Err(Invalid::new(
            format!("{} where true or false belongs", other.kind()),
            "write true or false, without quotes",
        )),
    }
}

#[cfg(test)]
mod tests;
