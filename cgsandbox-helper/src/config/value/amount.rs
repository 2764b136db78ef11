//! Numbers with a unit, exactly: no floating point on the way.

use super::{Invalid, Scalar};

/// Names for "no limit": systemd's first, then those of limits.conf and cgroup files.
pub(super) fn is_infinity(text: &str) -> bool {
    matches!(text, "infinity" | "unlimited" | "max")
}

/// A decimal fraction: `digits / 10^scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    digits: u128,
    scale: u32,
}

impl Decimal {
    /// Digits with at most one point among them: no sign, no exponent, no blanks.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || fraction.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}");
        // 27 digits times the largest unit (2^60) stay below 2^128.
        if digits.trim_start_matches('0').len() > 20 || fraction.len() > 20 {
            return None;
        }
        Some(Decimal { digits: digits.parse().ok()?, scale: fraction.len() as u32 })
    }

    /// This many times `unit`, rounded down; none when it is beyond what a limit can be.
    pub(super) fn times(self, unit: u64) -> Option<u64> {
        let product = self.digits.checked_mul(u128::from(unit))? / 10_u128.pow(self.scale);
        // Files of the kernel take signed 64-bit numbers.
        u64::try_from(product).ok().filter(|&product| product <= i64::MAX as u64)
    }
}

/// Bytes as `"512M"`, `"1.5G"`, `"2147483648B"`, or zero.
pub(super) fn bytes(scalar: Scalar<'_>) -> Result<u64, Invalid> {
    match scalar {
        Scalar::Text(text) => bytes_in(text.trim()),
        Scalar::Integer(Some(0)) => Ok(0),
        Scalar::Integer(Some(number @ 1..)) => Err(without_unit(&number.to_string())),
        Scalar::Integer(None) => Err(too_large()),
        other => Err(not_bytes(other.kind())),
    }
}

fn bytes_in(text: &str) -> Result<u64, Invalid> {
    let end = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let Some(factor) = factor_of(unit.trim()) else {
        return Err(not_bytes(&format!("\"{text}\"")));
    };
    if number.len() > 20 && number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(too_large());
    }
    let Some(number) = Decimal::parse(number) else {
        return Err(not_bytes(&format!("\"{text}\"")));
    };
    if number.digits == 0 {
        return Ok(0);
    }
    match factor {
        Some(factor) => number.times(factor).ok_or_else(too_large),
        None => Err(without_unit(text)),
    }
}

/// The bytes in a unit; `Some(None)` where no unit is written.
fn factor_of(unit: &str) -> Option<Option<u64>> {
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" => return Some(None),
        "b" => 1,
        "k" | "kb" | "ki" | "kib" => 1 << 10,
        "m" | "mb" | "mi" | "mib" => 1 << 20,
        "g" | "gb" | "gi" | "gib" => 1 << 30,
        "t" | "tb" | "ti" | "tib" => 1 << 40,
        _ => return None,
    };
    Some(Some(factor))
}

fn without_unit(number: &str) -> Invalid {
    let hint = match number.parse::<u64>() {
        // So large a number was most likely meant in bytes.
        Ok(bytes) if bytes >= 1 << 16 => {
            format!("did you mean {bytes} bytes? Then write \"{}\"", in_bytes(bytes))
        }
        _ => format!("did you mean \"{number}M\" or \"{number}G\"? Bytes are \"{number}B\""),
    };
    Invalid::new(format!("{number} of what? The unit is missing"), hint)
}

fn not_bytes(what: &str) -> Invalid {
    Invalid::new(
        format!("{what} is not an amount of bytes"),
        "write a number and a unit in quotes: \"512M\"; units are B K M G T, 1024-based",
    )
}

fn too_large() -> Invalid {
    Invalid::new(
        "more than any machine has (the largest limit is just under 8388608T)",
        "write a smaller amount, or \"infinity\" for no limit",
    )
}

/// The shortest spelling of exactly so many bytes.
pub(super) fn in_bytes(bytes: u64) -> String {
    if bytes == 0 {
        return "0".to_owned();
    }
    let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K"), (0, "B")];
    let fits = |shift: u32| bytes.trailing_zeros() >= shift;
    let (shift, unit) = units.into_iter().find(|(shift, _)| fits(*shift)).unwrap_or((0, "B"));
    format!("{}{unit}", bytes >> shift)
}
