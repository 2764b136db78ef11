//! Names that become part of paths, log lines and comparisons.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::value::Invalid;
use crate::loopback::address::{Network4, parse_prefix};

/// A PAM service: Linux-PAM itself lowers it and looks it up as a file in /etc/pam.d.
pub(super) fn service(name: &str) -> Result<String, Invalid> {
    let allowed = |char: char| {
        char.is_ascii_lowercase() || char.is_ascii_digit() || matches!(char, '-' | '_' | '.' | '@')
    };
    if name.is_empty() || name.len() > 255 || !name.chars().all(allowed) {
        let help = "write the name of a file in /etc/pam.d, in small letters: \"sshd\"";
        return Err(Invalid::new(format!("\"{name}\" is not a PAM service"), help));
    }
    Ok(name.to_owned())
}

/// A profile: it stands in log lines unquoted.
pub(super) fn profile_name(name: &str) -> Result<(), Invalid> {
    let allowed = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
        let help = "use up to 64 letters, digits, dots, hyphens and underscores";
        return Err(Invalid::new(format!("\"{name}\" cannot name a profile"), help));
    }
    Ok(())
}

/// What the users' IPv4 addresses are from.
pub(super) fn pool(text: &str) -> Result<Network4, Invalid> {
    Network4::parse(text).ok_or_else(|| {
        let help = "write a network inside 127.0.0.0/8 and outside 127.0.0.0/10, from /10 to /30: \
                    \"127.64.0.0/10\"";
        Invalid::new(format!("\"{text}\" cannot be the users' addresses"), help)
    })
}

/// What the users' IPv6 addresses are from.
pub(super) fn prefix(text: &str) -> Result<Ipv6Addr, Invalid> {
    parse_prefix(text).ok_or_else(|| {
        let help = "write a /64 of unique local addresses: \"fd12:3456:789a:1::/64\"";
        Invalid::new(format!("\"{text}\" cannot be the users' addresses"), help)
    })
}

/// One user's IPv4 address; the IPv6 address goes with it.
pub(super) fn address(text: &str) -> Result<Ipv4Addr, Invalid> {
    text.parse()
        .map_err(|_| Invalid::new(format!("\"{text}\" is no IPv4 address"), "write \"127.64.0.9\""))
}

/// Where the users' cgroups are, from the mount point of the hierarchy.
pub(super) fn cgroup_root(path: &str) -> Result<String, Invalid> {
    let help = "write a path of its own from the hierarchy's root: \"/cgsandbox\"";
    let component = |part: &str| {
        !part.is_empty()
            && part.len() <= 255
            && part != "."
            && part != ".."
            && part.chars().all(|char| char.is_ascii_graphic())
    };
    let valid = path.len() <= 1024
        && path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(component));
    match valid {
        true => Ok(path.to_owned()),
        false => Err(Invalid::new(format!("\"{path}\" cannot hold the users' cgroups"), help)),
    }
}
