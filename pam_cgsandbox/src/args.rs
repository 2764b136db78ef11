//! The module's arguments: `config=PATH helper=PATH timeout=1s debug`.
#![forbid(unsafe_code)]

use crate::log::{Failure, Result};
use cgsandbox_protocol::timeout;
use std::{ffi::CStr, time::Duration};

/// `config` is for the helper, and empty when not given; `timeout` is for one run of it.
pub struct Arguments {
    pub config: String,
    pub helper: String,
    pub timeout: Duration,
    pub debug: bool,
}

impl Arguments {
    /// A wrong argument is an error: ignored, it would quietly weaken what was asked for.
    pub fn parse(words: &[&CStr]) -> Result<Self> {
        let (config, helper) = (String::new(), cgsandbox_protocol::HELPER.to_owned());
        let mut parsed =
            Arguments { config, helper, timeout: Duration::from_secs(1), debug: false };
        let wrong = "not config=/PATH, helper=/PATH, timeout=1ms to 600s, or debug";
        for word in words {
            let word = word.to_string_lossy();
            match word.split_once('=').unwrap_or((&word, "")) {
                ("config", path) if path.starts_with('/') => parsed.config = path.to_owned(),
                ("helper", path) if path.starts_with('/') => parsed.helper = path.to_owned(),
                ("timeout", time) if let Some(time) = timeout(time) => parsed.timeout = time,
                ("debug", "") => parsed.debug = true,
                _ => return Err(Failure::of("parse", word, wrong)),
            }
        }
        Ok(parsed)
    }
}
