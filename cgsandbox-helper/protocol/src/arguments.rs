//! The words after the module's name on the PAM line.

use std::time::Duration;

use crate::HELPER;

/// How long one run of the helper may take where the PAM line does not say: a login waits for a
/// machine or a directory that is slow, and is refused only where the helper hangs.
const TIMEOUT: Duration = Duration::from_secs(10);

/// `config=PATH helper=PATH timeout=10s debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// The configuration, for the helper; empty when not given.
    pub config: String,
    /// The helper.
    pub helper: String,
    /// How long one run of the helper may take, from 1 ms to 600 s.
    pub timeout: Duration,
    /// Whether the log is told how long an open took.
    pub debug: bool,
}

impl Arguments {
    /// What may be given, in words.
    pub const KNOWN: &str = "config=/PATH, helper=/PATH, timeout=1ms to 600s, or debug";

    /// A wrong word is an error, and returned: ignored, it would quietly weaken what was asked
    /// for.
    pub fn parse<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> Result<Self, T> {
        let (config, helper) = (String::new(), HELPER.to_owned());
        let mut parsed = Arguments { config, helper, timeout: TIMEOUT, debug: false };
        for word in words {
            match word.as_ref().split_once('=').unwrap_or((word.as_ref(), "")) {
                ("config", path) if path.starts_with('/') => parsed.config = path.to_owned(),
                ("helper", path) if path.starts_with('/') => parsed.helper = path.to_owned(),
                ("timeout", time) if let Some(time) = duration(time) => parsed.timeout = time,
                ("debug", "") if word.as_ref() == "debug" => parsed.debug = true,
                _ => return Err(word),
            }
        }
        Ok(parsed)
    }
}

/// Whole seconds (`2s`) or milliseconds (`1500ms`), from 1 ms to 600 s.
fn duration(text: &str) -> Option<Duration> {
    let text = text.strip_suffix('s')?;
    let (number, unit) = text.strip_suffix('m').map_or((text, 1000), |number| (number, 1));
    let digits = Some(number).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    let ms = u64::from(digits?.parse::<u32>().ok()?) * unit;
    (1..=600_000).contains(&ms).then_some(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_two_counts_and_the_first_wrong_one_is_told() {
        let words = ["timeout=2s", "config=/etc/x.toml", "timeout=1500ms", "debug"];
        let parsed = Arguments::parse(words);
        let wanted = Arguments {
            config: "/etc/x.toml".to_owned(),
            helper: HELPER.to_owned(),
            timeout: Duration::from_millis(1500),
            debug: true,
        };
        assert_eq!(parsed, Ok(wanted));
        for wrong in [
            "debug=",
            "debug=yes",
            "timeout=1",
            "timeout=+1s",
            "timeout=600001ms",
            "config=x",
            "helper",
            "=",
            "none",
        ] {
            assert_eq!(Arguments::parse(["debug", wrong, "another"]), Err(wrong));
        }
    }
}
