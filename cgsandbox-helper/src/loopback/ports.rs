//! Which ports the kernel gives to who asks for any (ip-sysctl: `ip_local_port_range`).
//!
//! A user can ask for any port of a range that is one of these alone (ip(7),
//! IP_LOCAL_PORT_RANGE), and no program is asked: a service there can find its port taken.

use std::ops::RangeInclusive;

use crate::kernel_file;

/// Ports that anybody can be given, as the host has it set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Free {
    range: RangeInclusive<u16>,
    reserved: Vec<RangeInclusive<u16>>,
}

impl Free {
    /// Of this host; no port where it does not say.
    pub fn of_host() -> Self {
        let read =
            |name| kernel_file::read(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
        let free = Self::parse(&read("ip_local_port_range"), &read("ip_local_reserved_ports"));
        // No service has port 0.
        free.unwrap_or(Free { range: 0..=0, reserved: Vec::new() })
    }

    /// From two numbers, and from a list of numbers and ranges.
    fn parse(range: &str, reserved: &str) -> Option<Self> {
        let mut ends = range.split_whitespace().map(str::parse);
        let range = ends.next()?.ok()?..=ends.next()?.ok()?;
        let part = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse().ok()?..=last.parse().ok()?)
        };
        Some(Free { range, reserved: reserved.trim().split(',').filter_map(part).collect() })
    }

    /// Whether `port` is one of them.
    pub fn has(&self, port: u16) -> bool {
        self.range.contains(&port) && !self.reserved.iter().any(|range| range.contains(&port))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ports_are_not_given_away() {
        let free = Free::parse("32768\t60999\n", "40000,45000-45010\n").unwrap();
        for (port, is_free) in [(32_767, false), (32_768, true), (40_000, false), (45_010, false)] {
            assert_eq!(free.has(port), is_free, "{port}");
        }
        assert!(free.has(45_011) && free.has(60_999) && !free.has(61_000));
        assert!(Free::parse("32768 60999", "\n").unwrap().has(40_000));
    }
}
