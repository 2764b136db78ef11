//! Reading a `[profile.NAME]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Origin, Sourced};
use super::schema::{Draft, Reader, TOP_KEYS};
use super::value::{
    self, CpuQuota, CpuSet, HidePid, Invalid, IoLimit, Limit, Memory, OnLogout, Port, Privacy,
    Rlimit, RlimitPair, Scalar, Weight, Wildcard,
};
use crate::loopback::MOST_SERVICES;
use crate::policy::Profile;

/// The directives of a profile.
pub(super) const KEYS: &[&str] = &[
    "inherits",
    "memory_max",
    "memory_high",
    "memory_swap_max",
    "cpu_quota",
    "cpu_weight",
    "allowed_cpus",
    "tasks_max",
    "io_weight",
    "io_read_bandwidth_max",
    "io_write_bandwidth_max",
    "io_read_iops_max",
    "io_write_iops_max",
    "session_memory_max",
    "session_memory_high",
    "session_memory_swap_max",
    "session_cpu_quota",
    "session_cpu_weight",
    "session_tasks_max",
    "session_io_weight",
    "limits",
    "max_logins",
    "hidepid",
    "on_logout",
    "loopback",
    "loopback_wildcard",
    "loopback_services",
    "loopback_peers",
    "strict",
];

/// More disks than any machine shows to its users.
const MOST_DISKS: usize = 256;

/// The directives in `table`, noting the mistakes in them.
pub(super) fn read(reader: &mut Reader<'_>, named: Origin, table: &DeTable<'_>) -> Draft {
    let mut inherits = None;
    let mut values = Profile::default();
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "inherits" => inherits = reader.text(value, |name| Ok(name.to_owned())),
            "memory_max" => values.memory_max = reader.scalar(value, Memory::limit),
            "memory_high" => values.memory_high = reader.scalar(value, Memory::limit),
            "memory_swap_max" => values.memory_swap_max = reader.scalar(value, Memory::swap),
            "cpu_quota" => values.cpu_quota = reader.scalar(value, CpuQuota::parse),
            "cpu_weight" => values.cpu_weight = reader.scalar(value, Weight::parse),
            "allowed_cpus" => values.allowed_cpus = reader.scalar(value, CpuSet::parse),
            "tasks_max" => values.tasks_max = reader.scalar(value, Limit::tasks),
            "io_weight" => values.io_weight = reader.scalar(value, Weight::parse),
            "io_read_bandwidth_max" => {
                values.io_read_bandwidth_max = io(reader, value, IoLimit::bandwidth);
            }
            "io_write_bandwidth_max" => {
                values.io_write_bandwidth_max = io(reader, value, IoLimit::bandwidth);
            }
            "io_read_iops_max" => values.io_read_iops_max = io(reader, value, IoLimit::operations),
            "io_write_iops_max" => {
                values.io_write_iops_max = io(reader, value, IoLimit::operations);
            }
            "session_memory_max" => values.session_memory_max = reader.scalar(value, Memory::limit),
            "session_memory_high" => {
                values.session_memory_high = reader.scalar(value, Memory::limit)
            }
            "session_memory_swap_max" => {
                values.session_memory_swap_max = reader.scalar(value, Memory::swap)
            }
            "session_cpu_quota" => values.session_cpu_quota = reader.scalar(value, CpuQuota::parse),
            "session_cpu_weight" => values.session_cpu_weight = reader.scalar(value, Weight::parse),
            "session_tasks_max" => values.session_tasks_max = reader.scalar(value, Limit::tasks),
            "session_io_weight" => values.session_io_weight = reader.scalar(value, Weight::parse),
            "limits" => values.limits = limits(reader, value),
            "max_logins" => values.max_logins = reader.scalar(value, Limit::logins),
            "hidepid" => values.hidepid = reader.scalar(value, HidePid::parse),
            "on_logout" => values.on_logout = reader.scalar(value, OnLogout::parse),
            "loopback" => values.loopback = reader.scalar(value, Privacy::parse),
            "loopback_wildcard" => {
                values.loopback_wildcard = reader.scalar(value, Wildcard::parse);
            }
            "loopback_services" => values.loopback_services = services(reader, value),
            "loopback_peers" => {
                let origin = reader.origin(value.span());
                values.loopback_peers = Some(Sourced { value: reader.matches(value), origin });
            }
            "strict" => values.strict = reader.scalar(value, value::boolean),
            unknown => {
                let help = misplaced(unknown);
                reader.unknown_key(key.span(), unknown, KEYS, help);
            }
        }
    }
    Draft { named, inherits, values: Arc::new(values) }
}

fn misplaced(key: &str) -> Option<String> {
    if TOP_KEYS.contains(&key) {
        return Some(format!("{key} belongs at the top of the file, before the first [...] line"));
    }
    Rlimit::named(key).map(|_| format!("did you mean limits.{key}?"))
}

fn io(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    parse: fn(Scalar<'_>) -> Result<IoLimit, Invalid>,
) -> Option<Sourced<Vec<IoLimit>>> {
    let mut limits: Vec<IoLimit> = Vec::new();
    let entries = reader.list(value, "limits: [\"/home 50M\"]");
    if entries.len() > MOST_DISKS {
        let message = format!("{} disks, where at most {MOST_DISKS} can be limited", entries.len());
        reader.refuse(value.span(), message, "name only the disks that users can reach");
        return None;
    }
    for entry in entries {
        let Some(limit) = reader.scalar(entry, parse) else { continue };
        if limits.iter().any(|other| other.path == limit.path) {
            let message = format!("a second limit for {}", limit.path);
            reader.refuse(entry.span(), message, "keep one of them");
        }
        limits.push(limit.value);
    }
    Some(Sourced { value: limits, origin: reader.origin(value.span()) })
}

fn services(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<Sourced<Vec<Port>>> {
    let entries = reader.list(value, "ports: [53, \"smtp\"]");
    if entries.len() > MOST_SERVICES {
        let message = format!("{} ports, where at most {MOST_SERVICES} can be", entries.len());
        reader.refuse(value.span(), message, "name only what users are to reach");
        return None;
    }
    let ports = entries.iter().filter_map(|entry| reader.scalar(entry, Port::parse));
    let ports = ports.map(|port| port.value).collect();
    Some(Sourced { value: ports, origin: reader.origin(value.span()) })
}

fn limits(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
) -> BTreeMap<Rlimit, Sourced<RlimitPair>> {
    let mut limits = BTreeMap::new();
    let Some(table) = value.get_ref().as_table() else {
        let help = "write limits = { nofile = \"4096\", core = \"0\" }";
        reader.refuse(value.span(), "limits is a table", help);
        return limits;
    };
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let Some(rlimit) = Rlimit::named(name) else {
            let known = Rlimit::ALL.map(Rlimit::name);
            let help = match name {
                "maxlogins" | "maxsyslogins" => {
                    Some("did you mean the profile's max_logins?".to_owned())
                }
                _ => None,
            };
            reader.unknown_key(key.span(), name, &known, help);
            continue;
        };
        if let Some(pair) = reader.scalar(value, |scalar| rlimit.parse(scalar)) {
            limits.insert(rlimit, pair);
        }
    }
    limits
}
