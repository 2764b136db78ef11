//! Counts and weights.

use std::fmt;

use super::amount;
use super::{Invalid, Scalar};

/// sshd's two processes, a shell, and a pipeline: with fewer tasks a login gets stuck.
const FEWEST_TASKS: u64 = 8;

/// A limit on how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// No limit.
    Infinity,
    /// So many.
    At(u64),
}

impl Limit {
    /// So many; none for no limit.
    pub fn number(self) -> Option<u64> {
        match self {
            Limit::Infinity => None,
            Limit::At(number) => Some(number),
        }
    }

    /// Of `tasks_max`: processes and threads.
    pub(crate) fn tasks(scalar: Scalar<'_>) -> Result<Self, Invalid> {
        if let Scalar::Text(text) = scalar
            && text.trim().ends_with('%')
        {
            return Err(Invalid::new(
                format!("\"{text}\" is a share, and tasks_max takes a number"),
                "write how many processes and threads: tasks_max = 1000",
            ));
        }
        match Self::parse(scalar, "tasks")? {
            // PID_MAX_LIMIT; a larger number is refused by pids.max.
            Limit::At(number) if number > 1 << 22 => Err(Invalid::new(
                format!("{number} is more tasks than Linux can have (4194304)"),
                "write a smaller number, or \"infinity\" for no limit",
            )),
            Limit::At(number) if number < FEWEST_TASKS => Err(Invalid::new(
                format!("{number} is too few processes to log in with"),
                "write at least 8: sshd itself takes two, every thread counts as one",
            )),
            enough => Ok(enough),
        }
    }

    /// Of `max_logins`: sessions at one time.
    pub(crate) fn logins(scalar: Scalar<'_>) -> Result<Self, Invalid> {
        match Self::parse(scalar, "logins")? {
            Limit::At(0) => Err(Invalid::new(
                "0 logins would lock the user out",
                "write at least 1; to lock an account use passwd -l or sshd's DenyUsers",
            )),
            some => Ok(some),
        }
    }

    fn parse(scalar: Scalar<'_>, of: &str) -> Result<Self, Invalid> {
        if let Scalar::Text(text) = scalar
            && amount::is_infinity(text.trim())
        {
            return Ok(Limit::Infinity);
        }
        number(scalar).map(Limit::At).ok_or_else(|| {
            Invalid::new(
                format!("{} is not a number of {of}", shown(scalar)),
                "write a whole number, or \"infinity\" for no limit",
            )
        })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Infinity => write!(f, "infinity"),
            Limit::At(number) => write!(f, "{number}"),
        }
    }
}

/// A share relative to other users', 1 to 10,000; 100 is the kernel's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u16);

impl Weight {
    /// As `cpu.weight` and `io.weight` of cgroup v2 take it.
    pub fn get(self) -> u16 {
        self.0
    }

    pub(crate) fn parse(scalar: Scalar<'_>) -> Result<Self, Invalid> {
        number(scalar)
            .and_then(|number| u16::try_from(number).ok())
            .filter(|number| (1..=10_000).contains(number))
            .map(Weight)
            .ok_or_else(|| {
                Invalid::new(
                    format!("{} is not a weight", shown(scalar)),
                    "write a whole number from 1 to 10000; 100 is everybody's share",
                )
            })
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A whole number, with or without quotes, up to what a kernel file takes.
pub(super) fn number(scalar: Scalar<'_>) -> Option<u64> {
    let number = match scalar {
        Scalar::Integer(number) => u64::try_from(number?).ok()?,
        Scalar::Text(text) if text.trim().bytes().all(|byte| byte.is_ascii_digit()) => {
            text.trim().parse().ok()?
        }
        _ => return None,
    };
    (number <= i64::MAX as u64).then_some(number)
}

pub(super) fn shown(scalar: Scalar<'_>) -> String {
    match scalar {
        Scalar::Text(text) => format!("\"{text}\""),
        Scalar::Integer(Some(number)) => number.to_string(),
        Scalar::Integer(None) => "so large a number".to_owned(),
        other => other.kind().to_owned(),
    }
}
