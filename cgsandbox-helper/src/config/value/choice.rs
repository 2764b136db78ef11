//! Values that are one word out of a few.

use std::fmt;

use cgsandbox_protocol::Login;

use super::count::shown;
use super::{Invalid, Scalar};
use crate::config::diagnostic::did_you_mean;

/// How much of other users' processes `/proc` shows: proc(5), `hidepid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HidePid {
    /// Everything: no procfs instance of the user's own.
    Off,
    /// That they are there, not what they do.
    NoAccess,
    /// Nothing.
    Invisible,
}

impl HidePid {
    /// As proc(5) spells it.
    pub fn name(self) -> &'static str {
        match self {
            HidePid::Off => "off",
            HidePid::NoAccess => "noaccess",
            HidePid::Invisible => "invisible",
        }
    }

    pub(crate) fn parse(scalar: Scalar<'_>) -> Result<Self, Invalid> {
        one_of(scalar, &[HidePid::Off, HidePid::NoAccess, HidePid::Invisible], HidePid::name)
    }
}

impl fmt::Display for HidePid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What becomes of a session's processes when its login ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLogout {
    /// They go on (tmux, nohup), limited as before.
    Keep,
    /// They are killed.
    Kill,
}

impl OnLogout {
    /// As in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            OnLogout::Keep => "keep",
            OnLogout::Kill => "kill",
        }
    }

    pub(crate) fn parse(scalar: Scalar<'_>) -> Result<Self, Invalid> {
        one_of(scalar, &[OnLogout::Keep, OnLogout::Kill], OnLogout::name)
    }
}

impl fmt::Display for OnLogout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whose `127.0.0.1` and `::1` a user's programs mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    /// The machine's, as everybody's.
    Shared,
    /// The user's own.
    Private,
}

impl Privacy {
    /// As in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Privacy::Shared => "shared",
            Privacy::Private => "private",
        }
    }

    pub(crate) fn parse(scalar: Scalar<'_>) -> Result<Self, Invalid> {
        one_of(scalar, &[Privacy::Shared, Privacy::Private], Privacy::name)
    }
}

impl fmt::Display for Privacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a server listens that asks for all addresses, `0.0.0.0` or `::`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wildcard {
    /// On all of them, so that the network reaches it.
    #[default]
    All,
    /// On the user's own localhost only.
    Localhost,
}

impl Wildcard {
    /// As in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Wildcard::All => "all",
            Wildcard::Localhost => "localhost",
        }
    }

    pub(crate) fn parse(scalar: Scalar<'_>) -> Result<Self, Invalid> {
        one_of(scalar, &[Wildcard::All, Wildcard::Localhost], Wildcard::name)
    }
}

impl fmt::Display for Wildcard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `deny` or `allow`.
pub(in crate::config) fn login(scalar: Scalar<'_>) -> Result<Login, Invalid> {
    one_of(scalar, &[Login::Deny, Login::Allow], Login::name)
}

fn one_of<T: Copy>(
    scalar: Scalar<'_>,
    values: &[T],
    name: fn(T) -> &'static str,
) -> Result<T, Invalid> {
    if let Scalar::Text(text) = scalar
        && let Some(value) = values.iter().find(|value| name(**value) == text)
    {
        return Ok(*value);
    }
    let names: Vec<&str> = values.iter().map(|value| name(*value)).collect();
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let mut help = format!("write one of {}", quoted.join(", "));
    if let Scalar::Text(text) = scalar
        && let Some(meant) = did_you_mean(text, &names)
    {
        help = format!("did you mean \"{meant}\"? Possible are {}", quoted.join(", "));
    }
    Err(Invalid::new(format!("{} is not possible here", shown(scalar)), help))
}
