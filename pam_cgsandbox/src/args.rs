//! The module's arguments: `config=PATH helper=PATH timeout=1s debug`.
#![forbid(unsafe_code)]

use crate::failure::Failure;
use cgsandbox_protocol::HELPER;
use std::ffi::CStr;
use std::time::Duration;

/// What the PAM line says after the module's name.
#[derive(Debug)]
pub struct Arguments {
    /// For the helper; empty when not given.
    pub config: String,
    pub helper: String,
    /// How long each run of the helper may take.
    pub timeout: Duration,
    pub debug: bool,
}

impl Arguments {
    /// A wrong argument is an error: ignored, it would quietly weaken what was asked for.
    pub fn parse(arguments: &[&CStr]) -> Result<Self, Failure> {
        let mut parsed = Arguments {
            config: String::new(),
            helper: HELPER.to_owned(),
            timeout: Duration::from_secs(1),
            debug: false,
        };
        for argument in arguments {
            let text = argument.to_string_lossy();
            let wrong = |cause| Failure::of("argument", &text, cause);
            let (key, value) = text.split_once('=').unwrap_or((&text, ""));
            match key {
                "config" | "helper" if !value.starts_with('/') => {
                    return Err(wrong("not an absolute path"));
                }
                "config" => parsed.config = value.to_owned(),
                "helper" => parsed.helper = value.to_owned(),
                "timeout" => {
                    parsed.timeout =
                        duration(value).ok_or_else(|| wrong("not from 1ms to 60s, as in 500ms"))?;
                }
                "debug" if value.is_empty() => parsed.debug = true,
                _ => return Err(wrong("unknown: there are config=, helper=, timeout= and debug")),
            }
        }
        Ok(parsed)
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        _ => return None,
    };
    let ms = u64::from(number.parse::<u32>().ok()?) * unit_ms;
    (1..=60_000).contains(&ms).then_some(Duration::from_millis(ms))
}
