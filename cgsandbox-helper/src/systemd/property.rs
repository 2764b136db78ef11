//! Limits in systemd's words: the properties of systemd.resource-control(5).

use zvariant::Value;

use crate::cgroup::Attribute;

/// systemd's "no limit", and "not set" for a weight.
const NONE: u64 = u64::MAX;

/// Bandwidth and operations of disks: every one is a list of its own in systemd.
const OF_DISKS: [(&str, &str, &str); 4] = [
    ("IOReadBandwidthMax", "rbps", "blkio.throttle.read_bps_device"),
    ("IOWriteBandwidthMax", "wbps", "blkio.throttle.write_bps_device"),
    ("IOReadIOPSMax", "riops", "blkio.throttle.read_iops_device"),
    ("IOWriteIOPSMax", "wiops", "blkio.throttle.write_iops_device"),
];

/// What the kernel could ever run on: what is added later is not left out.
const POSSIBLE_CPUS: &str = "/sys/devices/system/cpu/possible";

/// More than any kernel is built for; what a unit file says is not counted up to without an end.
const MOST_CPUS: usize = 1 << 16;

/// One property of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Its name on the bus.
    pub name: &'static str,
    /// What it is to be.
    pub amount: Amount,
    /// The directive that asks for it; none where the policy is silent.
    pub directive: Option<&'static str>,
}

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amount {
    /// Bytes, tasks, microseconds in a second or a weight.
    Number(u64),
    /// Of the whole machine's, in parts of [`u32::MAX`].
    Share(u32),
    /// One bit for each CPU, the first in the lowest bit of the first byte.
    Cpus(Vec<u8>),
    /// A limit for each disk.
    Disks(Vec<(String, u64)>),
}

impl Property {
    /// Its name in a unit file and in the name of the drop-in that systemd writes.
    pub fn setting(&self) -> &'static str {
        match self.name {
            "CPUQuotaPerSecUSec" => "CPUQuota",
            "MemoryMaxScale" => "MemoryMax",
            "MemoryHighScale" => "MemoryHigh",
            "MemorySwapMaxScale" => "MemorySwapMax",
            "TasksMaxScale" => "TasksMax",
            name => name,
        }
    }

    /// For the bus. Lists append there, so an empty one goes before.
    pub fn messages(&self) -> Vec<(&'static str, Value<'static>)> {
        match &self.amount {
            Amount::Number(number) => vec![(self.name, Value::U64(*number))],
            Amount::Share(share) => vec![(self.name, Value::U32(*share))],
            Amount::Cpus(cpus) => vec![
                (self.name, Value::from(Vec::<u8>::new())),
                (self.name, Value::from(cpus.clone())),
            ],
            Amount::Disks(disks) => {
                let none: Vec<(String, u64)> = Vec::new();
                let empty = (self.name, Value::from(none));
                match disks.is_empty() {
                    true => vec![empty],
                    false => vec![empty, (self.name, Value::from(disks.clone()))],
                }
            }
        }
    }

    /// The same property as a unit file's `text` has it; none where that is not understood.
    pub fn as_written(&self, text: &str) -> Option<Property> {
        let text = text.trim();
        let with = |name, amount| Some(Property { name, amount, directive: None });
        if text.is_empty() {
            return with(self.name, self.unset());
        }
        if text == "infinity" {
            return with(self.name, Amount::Number(NONE));
        }
        if let Some(percent) = text.strip_suffix('%') {
            let percent: u64 = percent.trim().parse().ok()?;
            let share = u32::try_from(u64::from(u32::MAX) * percent / 100).ok()?;
            return match self.name {
                "CPUQuotaPerSecUSec" => with(self.name, Amount::Number(percent * 10_000)),
                "MemoryMax" => with("MemoryMaxScale", Amount::Share(share)),
                "MemoryHigh" => with("MemoryHighScale", Amount::Share(share)),
                "MemorySwapMax" => with("MemorySwapMaxScale", Amount::Share(share)),
                "TasksMax" => with("TasksMaxScale", Amount::Share(share)),
                _ => None,
            };
        }
        match self.amount {
            Amount::Number(_) => with(self.name, Amount::Number(scaled(text)?)),
            Amount::Cpus(_) => {
                let list: Vec<&str> = text.split([' ', '\t', ',']).collect();
                with(self.name, Amount::Cpus(mask(&list.join(","))?))
            }
            _ => None,
        }
    }

    /// For a unit that processes are in: where it is to name no CPUs, it names all of them. The
    /// kernel takes no empty list then (cpuset(7), ENOSPC), and the old one would stay.
    pub fn for_processes(self) -> Property {
        let all = || mask(std::fs::read_to_string(POSSIBLE_CPUS).ok()?.trim());
        match self.amount {
            Amount::Cpus(cpus) if cpus.is_empty() => {
                Property { amount: Amount::Cpus(all().unwrap_or_default()), ..self }
            }
            _ => self,
        }
    }

    /// systemd's default.
    pub fn unset(&self) -> Amount {
        match self.amount {
            Amount::Number(_) | Amount::Share(_) => Amount::Number(NONE),
            Amount::Cpus(_) => Amount::Cpus(Vec::new()),
            Amount::Disks(_) => Amount::Disks(Vec::new()),
        }
    }
}

/// `4G`: systemd counts in 1024s.
fn scaled(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..)? {
        "" | "B" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// What `attributes` are in systemd's words, and those of them that it has none for.
///
/// Every property that we know is in the result, also where nothing asks for it.
pub fn properties(attributes: &[Attribute]) -> (Vec<Property>, Vec<&Attribute>) {
    let mut properties: Vec<Property> = OF_DISKS
        .iter()
        .map(|(name, ..)| Property { name, amount: Amount::Disks(Vec::new()), directive: None })
        .collect();
    let mut unknown = Vec::new();
    for attribute in attributes {
        let directive = attribute.origin.as_ref().map(|_| attribute.directive);
        if let Some(disk) = &attribute.disk {
            let Some((name, limit)) = of_disk(attribute) else { continue };
            for property in properties.iter_mut().filter(|property| property.name == name) {
                property.directive = directive;
                if let Amount::Disks(disks) = &mut property.amount {
                    disks.push((format!("/dev/block/{disk}"), limit));
                }
            }
            continue;
        }
        match of_file(attribute) {
            Some((name, amount)) => properties.push(Property { name, amount, directive }),
            None if directive.is_some() => unknown.push(attribute),
            None => {}
        }
    }
    (properties, unknown)
}

fn of_disk(attribute: &Attribute) -> Option<(&'static str, u64)> {
    let (key, number) = attribute.value.split_once('=').unwrap_or(("", &attribute.value));
    let fits = |(_, unified, legacy): &&(&str, &str, &str)| {
        *unified == key || (key.is_empty() && *legacy == attribute.file)
    };
    let (name, ..) = OF_DISKS.iter().find(fits)?;
    let limit = number_of(number)?;
    // v1 writes "no limit" as 0.
    Some((name, if limit == 0 { NONE } else { limit }))
}

fn of_file(attribute: &Attribute) -> Option<(&'static str, Amount)> {
    let is_silent = attribute.origin.is_none();
    let number = |text: &str| number_of(text).map(Amount::Number);
    let weight = |amount: Option<u64>| Some(Amount::Number(if is_silent { NONE } else { amount? }));
    let value = attribute.value.as_str();
    let (name, amount) = match attribute.file {
        "memory.max" | "memory.limit_in_bytes" => ("MemoryMax", number(value)),
        "memory.high" => ("MemoryHigh", number(value)),
        "memory.swap.max" => ("MemorySwapMax", number(value)),
        "pids.max" => ("TasksMax", number(value)),
        // Of a period of 100 ms.
        "cpu.max" | "cpu.cfs_quota_us" => {
            let quota = number_of(value.split(' ').next()?)?;
            ("CPUQuotaPerSecUSec", Some(Amount::Number(quota.checked_mul(10).unwrap_or(NONE))))
        }
        "cpu.weight" => ("CPUWeight", weight(number_of(value))),
        "cpu.shares" => ("CPUWeight", weight(number_of(value).map(|n| (n * 100).div_ceil(1024)))),
        "io.weight" | "io.bfq.weight" => {
            ("IOWeight", weight(number_of(value.strip_prefix("default ")?)))
        }
        "blkio.weight" | "blkio.bfq.weight" => {
            ("IOWeight", weight(number_of(value).map(|n| (n * 100).div_ceil(500))))
        }
        "cpuset.cpus" => ("AllowedCPUs", Some(Amount::Cpus(mask(value.trim())?))),
        _ => return None,
    };
    Some((name, amount?))
}

fn number_of(text: &str) -> Option<u64> {
    match text {
        "max" | "-1" => Some(NONE),
        number => number.parse().ok(),
    }
}

/// The bits of `0-3,8`.
fn mask(list: &str) -> Option<Vec<u8>> {
    let mut mask = Vec::new();
    for range in list.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let last = last.parse().ok().filter(|last| *last < MOST_CPUS)?;
        for cpu in first.parse::<usize>().ok()?..=last {
            if mask.len() <= cpu / 8 {
                mask.resize(cpu / 8 + 1, 0);
            }
            *mask.get_mut(cpu / 8)? |= 1 << (cpu % 8);
        }
    }
    Some(mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Controller;

    fn attribute(file: &'static str, value: &str) -> Attribute {
        Attribute {
            directive: "x",
            controller: Controller::Memory,
            file,
            disk: None,
            value: value.to_owned(),
            origin: Some(crate::config::Origin { file: "f".into(), line: 1, column: 1, width: 1 }),
        }
    }

    #[test]
    fn files_become_properties() {
        for (file, value, name, number) in [
            ("memory.max", "1048576", "MemoryMax", 1_048_576),
            ("memory.max", "max", "MemoryMax", NONE),
            ("memory.limit_in_bytes", "-1", "MemoryMax", NONE),
            ("cpu.max", "150000 100000", "CPUQuotaPerSecUSec", 1_500_000),
            ("cpu.max", "max 100000", "CPUQuotaPerSecUSec", NONE),
            ("cpu.cfs_quota_us", "20000", "CPUQuotaPerSecUSec", 200_000),
            ("cpu.shares", "337", "CPUWeight", 33),
            ("io.weight", "default 100", "IOWeight", 100),
            ("pids.max", "77", "TasksMax", 77),
        ] {
            let attributes = [attribute(file, value)];
            let (properties, unknown) = properties(&attributes);
            assert!(unknown.is_empty());
            let last = properties.last().map(|last| (last.name, last.amount.clone()));
            assert_eq!(last, Some((name, Amount::Number(number))), "{file} {value}");
        }
    }

    #[test]
    fn cpus_become_bits() {
        assert_eq!(mask("0-3,8"), Some(vec![0b1111, 1]));
        assert_eq!(mask(""), Some(vec![]));
    }

    #[test]
    fn what_systemd_has_no_word_for_is_told() {
        let swap = attribute("memory.memsw.limit_in_bytes", "5");
        assert_eq!(properties(std::slice::from_ref(&swap)).1, [&swap]);
    }

    #[test]
    fn unit_files_are_understood() {
        let tasks = Property { name: "TasksMax", amount: Amount::Number(1), directive: None };
        let written = |text: &str| tasks.as_written(text).map(|it| (it.name, it.amount));
        assert_eq!(written("infinity"), Some(("TasksMax", Amount::Number(NONE))));
        assert_eq!(written(""), Some(("TasksMax", Amount::Number(NONE))));
        assert_eq!(written("4K"), Some(("TasksMax", Amount::Number(4096))));
        assert_eq!(written("50%"), Some(("TasksMaxScale", Amount::Share(u32::MAX / 2))));
        assert_eq!(written("many"), None);
        let cpus = Property { name: "AllowedCPUs", amount: Amount::Cpus(vec![1]), directive: None };
        let written = |text: &str| cpus.as_written(text).map(|it| it.amount);
        assert_eq!(written("0-1, 3 8"), Some(Amount::Cpus(vec![0b1011, 1])));
        assert_eq!(written(""), Some(Amount::Cpus(vec![])));
        assert_eq!(written("all"), None);
        assert_eq!(written("0-99999999999"), None);
    }

    #[test]
    fn processes_are_let_onto_all_cpus_by_their_names() {
        let cpus =
            |mask| Property { name: "AllowedCPUs", amount: Amount::Cpus(mask), directive: None };
        assert_eq!(cpus(vec![2]).for_processes(), cpus(vec![2]));
        let Amount::Cpus(all) = cpus(vec![]).for_processes().amount else { unreachable!() };
        let bits: u32 = all.iter().map(|byte| byte.count_ones()).sum();
        assert!(std::thread::available_parallelism().is_ok_and(|n| bits as usize >= n.get()));
    }
}
