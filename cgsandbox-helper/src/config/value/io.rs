//! Limits on disk traffic.

use std::fmt;

use super::amount;
use super::count::{Limit, number};
use super::{Invalid, Scalar};

/// Slower than this, reading the shell itself from disk takes longer than a login may.
const SLOWEST_BANDWIDTH: u64 = 64 << 10;
const FEWEST_OPERATIONS: u64 = 10;

/// How much per second may go to or come from a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoLimit {
    /// A block device, or any file or directory on a file system that has one.
    pub path: String,
    /// Bytes or operations per second.
    pub limit: Limit,
    in_bytes: bool,
}

impl IoLimit {
    /// Of `io_read_bandwidth_max` and `io_write_bandwidth_max`.
    pub(crate) fn bandwidth(scalar: Scalar<'_>) -> Result<Self, Invalid> {
        let example = "\"/home 50M\"";
        let (path, amount) = path_and_amount(scalar, example)?;
        let limit = match amount::is_infinity(amount) {
            true => Limit::Infinity,
            false => Limit::At(amount::bytes(Scalar::Text(amount.trim_end_matches("/s")))?),
        };
        if limit.number().is_some_and(|bytes| bytes < SLOWEST_BANDWIDTH) {
            return Err(Invalid::new(
                format!("{amount} per second is too slow to log in with"),
                "write at least \"64K\"",
            ));
        }
        Ok(IoLimit { path: path.to_owned(), limit, in_bytes: true })
    }

    /// Of `io_read_iops_max` and `io_write_iops_max`.
    pub(crate) fn operations(scalar: Scalar<'_>) -> Result<Self, Invalid> {
        let example = "\"/home 1000\"";
        let (path, amount) = path_and_amount(scalar, example)?;
        let limit = match amount::is_infinity(amount) {
            true => Limit::Infinity,
            false => Limit::At(number(Scalar::Text(amount)).ok_or_else(|| {
                Invalid::new(
                    format!("\"{amount}\" is not a number of operations per second"),
                    format!("write a whole number, {example}, or \"infinity\""),
                )
            })?),
        };
        if limit.number().is_some_and(|number| number < FEWEST_OPERATIONS) {
            return Err(Invalid::new(
                format!("{amount} operations per second are too few to log in with"),
                "write at least 10",
            ));
        }
        Ok(IoLimit { path: path.to_owned(), limit, in_bytes: false })
    }
}

fn path_and_amount<'a>(scalar: Scalar<'a>, example: &str) -> Result<(&'a str, &'a str), Invalid> {
    let help = format!("write a path and an amount in one string: {example}");
    let Scalar::Text(text) = scalar else {
        let message = format!("{} where a path and an amount belong", scalar.kind());
        return Err(Invalid::new(message, help));
    };
    let Some((path, amount)) = text.trim().rsplit_once([' ', '\t']) else {
        return Err(Invalid::new(format!("\"{text}\" is not a path and an amount"), help));
    };
    let path = path.trim_end();
    if !path.starts_with('/') || path.contains('\0') || path.split('/').any(|part| part == "..") {
        return Err(Invalid::new(format!("\"{path}\" is not an absolute path"), help));
    }
    Ok((path, amount))
}

impl fmt::Display for IoLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Limit::At(bytes) if self.in_bytes => {
                write!(f, "{} {}", self.path, amount::in_bytes(bytes))
            }
            limit => write!(f, "{} {limit}", self.path),
        }
    }
}
