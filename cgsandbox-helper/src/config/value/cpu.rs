//! Processor time and processors.

use std::fmt;

use super::amount::{self, Decimal};
use super::{Invalid, Scalar};

const SECOND_US: u64 = 1_000_000;

/// One percent: below it sshd's key exchange alone takes longer than clients wait.
const SMALLEST_QUOTA: u64 = SECOND_US / 100;

/// Linux knows no machine with more processors (`NR_CPUS`).
const MOST_CPUS: u64 = 8192;

/// How much processor time the user's processes get together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuQuota {
    /// No limit.
    Infinity,
    /// Microseconds of processor time per second; 1,000,000 is one processor.
    PerSecond(u64),
}

impl CpuQuota {
    /// Microseconds of processor time per second; none for no limit.
    pub fn per_second(self) -> Option<u64> {
        match self {
            CpuQuota::Infinity => None,
            CpuQuota::PerSecond(us) => Some(us),
        }
    }

    pub(crate) fn parse(scalar: Scalar<'_>) -> Result<Self, Invalid> {
        let integer;
        let text = match scalar {
            Scalar::Text(text) => text.trim(),
            Scalar::Float(text) => text,
            Scalar::Integer(Some(number)) => {
                integer = number.to_string();
                &integer
            }
            other => return Err(not_a_quota(other.kind())),
        };
        if amount::is_infinity(text) {
            return Ok(CpuQuota::Infinity);
        }
        let (number, per_unit) = match text.strip_suffix('%') {
            Some(percent) => (percent.trim(), SECOND_US / 100),
            None => (text, SECOND_US),
        };
        let Some(decimal) = Decimal::parse(number) else {
            return Err(not_a_quota(&format!("\"{text}\"")));
        };
        let quota = decimal.times(per_unit).filter(|quota| *quota <= MOST_CPUS * SECOND_US);
        let Some(quota) = quota else {
            return Err(not_a_quota(&format!("\"{text}\"")));
        };
        // "50" is far more often half a processor than fifty of them.
        if per_unit == SECOND_US && quota >= 10 * SECOND_US && !number.contains('.') {
            return Err(Invalid::new(
                format!("{number} processors, or {number} percent of one?"),
                format!("write \"{number}%\", or \"{number}.0\" for so many processors"),
            ));
        }
        if quota < SMALLEST_QUOTA {
            return Err(Invalid::new(
                format!("{text} is too little processor time to log in with"),
                "write at least \"1%\"",
            ));
        }
        Ok(CpuQuota::PerSecond(quota))
    }
}

fn not_a_quota(what: &str) -> Invalid {
    Invalid::new(
        format!("{what} is not an amount of processor time"),
        "write \"150%\" or \"1.5\" for one and a half processors, or \"infinity\"",
    )
}

/// In percent of one processor.
impl fmt::Display for CpuQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CpuQuota::Infinity => write!(f, "infinity"),
            CpuQuota::PerSecond(us) => {
                let (percent, rest) = (us / 10_000, us % 10_000);
                if rest == 0 {
                    return write!(f, "{percent}%");
                }
                let decimals = format!("{rest:04}");
                write!(f, "{percent}.{}%", decimals.trim_end_matches('0'))
            }
        }
    }
}

/// Processors by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuSet(Vec<(u16, u16)>);

impl CpuSet {
    /// First and last processor of each range, ascending, neither touching nor overlapping.
    ///
    /// Empty for `"all"`: a profile says so to undo what it inherits.
    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.0
    }

    /// As the kernel lists them in its files.
    pub fn of_list(text: &str) -> Option<Self> {
        Self::parse(Scalar::Text(text)).ok()
    }

    pub(crate) fn parse(scalar: Scalar<'_>) -> Result<Self, Invalid> {
        let text = match scalar {
            Scalar::Text(text) => text.trim(),
            Scalar::Integer(Some(number)) if number >= 0 => {
                let last = (number - 1).max(0);
                return Err(Invalid::new(
                    format!("{number} is a number, where processors are listed"),
                    format!(
                        "write \"{number}\" for processor {number}, \"0-{last}\" for the first {number}"
                    ),
                ));
            }
            other => return Err(not_cpus(other.kind())),
        };
        if text == "all" {
            return Ok(CpuSet(Vec::new()));
        }
        let ranges = text.split([',', ' ']).filter(|part| !part.is_empty());
        let mut ranges = ranges
            .map(|part| range(part).ok_or_else(|| not_cpus(&format!("\"{part}\""))))
            .collect::<Result<Vec<_>, _>>()?;
        if ranges.is_empty() {
            return Err(not_cpus("an empty list"));
        }
        ranges.sort_unstable();
        Ok(CpuSet(merged(ranges)))
    }
}

fn range(part: &str) -> Option<(u16, u16)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse::<u16>().ok()).flatten()?;
        (u64::from(number) < MOST_CPUS).then_some(number)
    };
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

fn merged(sorted: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for (first, last) in sorted {
        match ranges.last_mut() {
            Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
            _ => ranges.push((first, last)),
        }
    }
    ranges
}

fn not_cpus(what: &str) -> Invalid {
    Invalid::new(
        format!("{what} is not a list of processors"),
        "write numbers from 0 and ranges, \"0-3,5\", or \"all\"",
    )
}

/// As the kernel's `cpuset.cpus` takes it.
impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(f, "all");
        }
        for (at, (first, last)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}
