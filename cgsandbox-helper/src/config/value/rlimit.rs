//! Resource limits of single processes: getrlimit(2).

use std::fmt;

use super::amount;
use super::count::{number, shown};
use super::{Invalid, Scalar};

/// A resource, named as in limits.conf(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "getrlimit(2) describes each under this name")]
pub enum Rlimit {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

/// Soft and hard limit; the soft one is never above the hard one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RlimitPair {
    /// What applies.
    pub soft: RlimitValue,
    /// Up to where the user may raise it.
    pub hard: RlimitValue,
    unit: Unit,
}

/// In the unit that setrlimit(2) takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RlimitValue {
    /// So much.
    At(u64),
    /// `RLIM_INFINITY`.
    Infinity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Number,
    Bytes,
    Seconds,
    Microseconds,
    Priority,
    Nice,
}

impl Rlimit {
    /// All there are.
    pub const ALL: [Rlimit; 16] = [
        Rlimit::As,
        Rlimit::Core,
        Rlimit::Cpu,
        Rlimit::Data,
        Rlimit::Fsize,
        Rlimit::Locks,
        Rlimit::Memlock,
        Rlimit::Msgqueue,
        Rlimit::Nice,
        Rlimit::Nofile,
        Rlimit::Nproc,
        Rlimit::Rss,
        Rlimit::Rtprio,
        Rlimit::Rttime,
        Rlimit::Sigpending,
        Rlimit::Stack,
    ];

    /// As in limits.conf(5), and in small letters after systemd's `Limit`.
    pub fn name(self) -> &'static str {
        &self.directive()["limits.".len()..]
    }

    /// As `explain` cites it.
    pub fn directive(self) -> &'static str {
        match self {
            Rlimit::As => "limits.as",
            Rlimit::Core => "limits.core",
            Rlimit::Cpu => "limits.cpu",
            Rlimit::Data => "limits.data",
            Rlimit::Fsize => "limits.fsize",
            Rlimit::Locks => "limits.locks",
            Rlimit::Memlock => "limits.memlock",
            Rlimit::Msgqueue => "limits.msgqueue",
            Rlimit::Nice => "limits.nice",
            Rlimit::Nofile => "limits.nofile",
            Rlimit::Nproc => "limits.nproc",
            Rlimit::Rss => "limits.rss",
            Rlimit::Rtprio => "limits.rtprio",
            Rlimit::Rttime => "limits.rttime",
            Rlimit::Sigpending => "limits.sigpending",
            Rlimit::Stack => "limits.stack",
        }
    }

    /// The inverse of [`Self::name`].
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rlimit| rlimit.name() == name)
    }

    fn unit(self) -> Unit {
        match self {
            Rlimit::As
            | Rlimit::Core
            | Rlimit::Data
            | Rlimit::Fsize
            | Rlimit::Memlock
            | Rlimit::Msgqueue
            | Rlimit::Rss
            | Rlimit::Stack => Unit::Bytes,
            Rlimit::Locks | Rlimit::Nofile | Rlimit::Nproc | Rlimit::Sigpending => Unit::Number,
            Rlimit::Cpu => Unit::Seconds,
            Rlimit::Rttime => Unit::Microseconds,
            Rlimit::Rtprio => Unit::Priority,
            Rlimit::Nice => Unit::Nice,
        }
    }

    /// The least that a login survives: these limits hold for sshd's own process too.
    fn least(self) -> u64 {
        match self {
            // Shared libraries and the address space layout of sshd and the shell.
            Rlimit::As => 64 << 20,
            Rlimit::Data => 16 << 20,
            // sshd appends to wtmp; beyond the limit it gets SIGXFSZ and dies.
            Rlimit::Fsize => 16 << 20,
            // A quarter of it is all that arguments and environment may take.
            Rlimit::Stack => 256 << 10,
            // sshd keeps a few per channel, and multiplexes ten of those.
            Rlimit::Nofile => 64,
            Rlimit::Nproc => 8,
            // Encryption of the whole connection counts.
            Rlimit::Cpu => 60,
            _ => 0,
        }
    }

    /// One value for both limits, or `"soft:hard"`.
    pub(in crate::config) fn parse(self, scalar: Scalar<'_>) -> Result<RlimitPair, Invalid> {
        let unit = self.unit();
        let (soft, hard) = match scalar {
            Scalar::Text(text) => match text.split_once(':') {
                Some((soft, hard)) => {
                    (unit.parse(Scalar::Text(soft.trim()))?, unit.parse(Scalar::Text(hard.trim()))?)
                }
                None => {
                    let both = unit.parse(Scalar::Text(text.trim()))?;
                    (both, both)
                }
            },
            other => {
                let both = unit.parse(other)?;
                (both, both)
            }
        };
        if soft > hard {
            return Err(Invalid::new(
                format!("the soft limit {} is above the hard one", unit.shown(soft)),
                format!("write \"{}:{}\"", unit.shown(hard), unit.shown(soft)),
            ));
        }
        if soft < RlimitValue::At(self.least()) {
            let least = unit.shown(RlimitValue::At(self.least()));
            return Err(Invalid::new(
                format!("{} = {} is too little to log in with", self.name(), unit.shown(soft)),
                format!("write at least \"{least}\": the limit holds for sshd itself too"),
            ));
        }
        Ok(RlimitPair { soft, hard, unit })
    }
}

impl Unit {
    fn parse(self, scalar: Scalar<'_>) -> Result<RlimitValue, Invalid> {
        if let Scalar::Text(text) = scalar
            && amount::is_infinity(text)
        {
            return Ok(RlimitValue::Infinity);
        }
        let value = match self {
            Unit::Bytes => {
                let bytes = amount::bytes(scalar).map(RlimitValue::At);
                return bytes.map_err(|invalid| as_in_limits_conf(scalar).unwrap_or(invalid));
            }
            Unit::Number => number(scalar),
            Unit::Priority => number(scalar).filter(|priority| *priority <= 99),
            Unit::Seconds => time(scalar, &[("s", 1), ("min", 60), ("h", 3600), ("d", 86400)]),
            Unit::Microseconds => time(scalar, &[("us", 1), ("ms", 1000), ("s", 1_000_000)]),
            Unit::Nice => nice(scalar),
        };
        value.map(RlimitValue::At).ok_or_else(|| self.refuse(scalar))
    }

    fn refuse(self, scalar: Scalar<'_>) -> Invalid {
        let (what, help) = match self {
            Unit::Bytes => ("an amount of bytes", "write \"512M\", or \"infinity\""),
            Unit::Number => {
                ("a whole number", "write a whole number, \"soft:hard\", or \"infinity\"")
            }
            Unit::Priority => ("a real-time priority", "write a whole number from 0 to 99"),
            // limits.conf counts minutes and systemd seconds, so neither is assumed.
            Unit::Seconds => ("a time with its unit", "write \"90s\", \"60min\" or \"2h\""),
            Unit::Microseconds => ("a time with its unit", "write \"200us\", \"200ms\" or \"1s\""),
            Unit::Nice => {
                ("a nice level with its sign", "write from \"-20\" (most urgent) to \"+19\"")
            }
        };
        Invalid::new(format!("{} is not {what}", shown(scalar)), help)
    }

    fn shown(self, value: RlimitValue) -> String {
        let RlimitValue::At(value) = value else { return "infinity".to_owned() };
        match self {
            Unit::Bytes => amount::in_bytes(value),
            Unit::Number | Unit::Priority => value.to_string(),
            Unit::Seconds => format!("{value}s"),
            Unit::Microseconds => format!("{value}us"),
            Unit::Nice => format!("{:+}", 20_i128 - i128::from(value)),
        }
    }
}

/// Numbers without a unit come from limits.conf(5), which counts in KB.
fn as_in_limits_conf(scalar: Scalar<'_>) -> Option<Invalid> {
    let kib = number(scalar)?;
    let bytes = kib.checked_mul(1024).filter(|bytes| *bytes <= i64::MAX as u64)?;
    let help = format!(
        "{kib} in limits.conf is {kib} KB: write \"{}\"; bytes are \"{kib}B\"",
        amount::in_bytes(bytes)
    );
    Some(Invalid::new(format!("{kib} of what? The unit is missing"), help))
}

/// A whole number of one of `units`, each with how many of the limit's own it is.
fn time(scalar: Scalar<'_>, units: &[(&str, u64)]) -> Option<u64> {
    let text = match scalar {
        Scalar::Integer(Some(0)) | Scalar::Text("0") => return Some(0),
        Scalar::Text(text) => text,
        _ => return None,
    };
    let end = text.find(|char: char| !char.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    let value = number.parse::<u64>().ok()?.checked_mul(*factor)?;
    (value <= i64::MAX as u64).then_some(value)
}

/// The kernel's 20 minus nice level. Without a sign limits.conf and systemd differ.
fn nice(scalar: Scalar<'_>) -> Option<u64> {
    let level: i128 = match scalar {
        Scalar::Text(text) if text.starts_with(['+', '-']) => text.parse().ok()?,
        Scalar::Integer(Some(level)) if level < 0 => level,
        _ => return None,
    };
    u64::try_from(20 - level).ok().filter(|limit| (1..=40).contains(limit))
}

/// As an administrator would write it.
impl fmt::Display for RlimitPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.soft == self.hard {
            true => f.write_str(&self.unit.shown(self.soft)),
            false => write!(f, "{}:{}", self.unit.shown(self.soft), self.unit.shown(self.hard)),
        }
    }
}
