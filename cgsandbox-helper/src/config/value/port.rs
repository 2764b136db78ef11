//! Ports of the system's services.

use std::fmt;

use super::count::{number, shown};
use super::{Invalid, Scalar};

/// A port of TCP and UDP, by number or by a name of services(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    number: u16,
    /// As it is written.
    name: Option<String>,
}

impl Port {
    /// Of this number.
    pub fn numbered(number: u16) -> Self {
        Port { number, name: None }
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    pub(crate) fn parse(scalar: Scalar<'_>) -> Result<Self, Invalid> {
        if let Some(number) = number(scalar) {
            let number = u16::try_from(number).ok().filter(|number| *number > 0);
            return number.map(Port::numbered).ok_or_else(|| {
                Invalid::new(
                    format!("{} is no port", shown(scalar)),
                    "write a number from 1 to 65535",
                )
            });
        }
        let named = |name: &str| {
            let services = std::fs::read("/etc/services").unwrap_or_default();
            let services = String::from_utf8_lossy(&services);
            find(&services, name).map(|number| Port { number, name: Some(name.to_owned()) })
        };
        match scalar {
            Scalar::Text(name) => named(name).ok_or_else(|| {
                Invalid::new(
                    format!("no service \"{name}\" in /etc/services"),
                    "write the number of its port",
                )
            }),
            _ => Err(Invalid::new(
                format!("{} is no port", shown(scalar)),
                "write a number from 1 to 65535, or a name of /etc/services",
            )),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} ({})", self.number),
            None => write!(f, "{}", self.number),
        }
    }
}

/// The port of `name`, or of an alias, in the text of services(5).
fn find(services: &str, name: &str) -> Option<u16> {
    services.lines().find_map(|line| {
        let line = line.split('#').next()?;
        let mut fields = line.split_whitespace();
        let (official, port) = (fields.next()?, fields.next()?);
        let is_it = official == name || fields.any(|alias| alias == name);
        is_it.then(|| port.split_once('/')?.0.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_an_alias_is_found() {
        let services = "# comment\ndomain 53/tcp # name server\nsmtp\t25/tcp mail\n#x 1/tcp\nbad\n";
        assert_eq!(find(services, "domain"), Some(53));
        assert_eq!(find(services, "mail"), Some(25));
        assert_eq!(find(services, "x"), None);
        assert_eq!(find(services, "bad"), None);
        assert_eq!(find(services, "name"), None);
    }
}
