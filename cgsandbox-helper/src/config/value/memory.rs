//! Memory limits.

use std::fmt;

use super::amount::{self, Decimal};
use super::{Invalid, Scalar};

/// Below this not even sshd's own process and a shell fit: a login would be killed.
pub(super) const SMALLEST_MEMORY: u64 = 8 << 20;

/// A limit on memory or swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// No limit.
    Infinity,
    /// So many bytes.
    Bytes(u64),
    /// A share of the machine's memory, for swap too.
    Percent(Percent),
}

/// A share in hundredths of a percent, 1 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u16);

impl Percent {
    /// This share of `whole`, rounded down.
    pub fn of(self, whole: u64) -> u64 {
        let share = u128::from(whole) * u128::from(self.0) / 10_000;
        u64::try_from(share).unwrap_or(whole)
    }

    fn parse(number: &str) -> Option<Self> {
        let hundredths = Decimal::parse(number.trim())?.times(100)?;
        let hundredths = u16::try_from(hundredths).ok()?;
        (1..=10_000).contains(&hundredths).then_some(Percent(hundredths))
    }
}

impl Memory {
    /// In bytes on a machine with `total` bytes of memory; none for no limit.
    ///
    /// A share of a small machine is no lock-out either: it is at least 8 MiB.
    pub fn bytes(self, total: u64) -> Option<u64> {
        match self {
            Memory::Infinity => None,
            Memory::Bytes(bytes) => Some(bytes),
            Memory::Percent(share) => Some(share.of(total).max(SMALLEST_MEMORY)),
        }
    }

    /// Of `memory_max` and `memory_high`, where little is a lock-out.
    pub(crate) fn limit(scalar: Scalar<'_>) -> Result<Self, Invalid> {
        match Self::swap(scalar)? {
            Memory::Bytes(bytes) if bytes < SMALLEST_MEMORY => Err(Invalid::new(
                format!("{} is too little memory to log in with", amount::in_bytes(bytes)),
                "write at least \"8M\"; a shell and a few programs want \"64M\" or more",
            )),
            enough => Ok(enough),
        }
    }

    /// Of `memory_swap_max`, where zero is of use.
    pub(crate) fn swap(scalar: Scalar<'_>) -> Result<Self, Invalid> {
        if let Scalar::Text(text) = scalar {
            let text = text.trim();
            if amount::is_infinity(text) {
                return Ok(Memory::Infinity);
            }
            if let Some(number) = text.strip_suffix('%') {
                return Percent::parse(number).map(Memory::Percent).ok_or_else(|| {
                    Invalid::new(
                        format!("\"{text}\" is not a share of the machine's memory"),
                        "write from \"0.01%\" to \"100%\", or \"infinity\" for no limit",
                    )
                });
            }
        }
        amount::bytes(scalar).map(Memory::Bytes)
    }
}

/// As an administrator would write it.
impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Memory::Infinity => write!(f, "infinity"),
            Memory::Bytes(bytes) => f.write_str(&amount::in_bytes(*bytes)),
            Memory::Percent(share) => write!(f, "{share}"),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, hundredths) = (self.0 / 100, self.0 % 100);
        match hundredths {
            0 => write!(f, "{whole}%"),
            tenths if tenths % 10 == 0 => write!(f, "{whole}.{}%", tenths / 10),
            hundredths => write!(f, "{whole}.{hundredths:02}%"),
        }
    }
}
