//! What a profile means in the files of cgroupfs. Pure: nothing here touches the host.
//!
//! Files and units are those of `cgroup-v2.rst` and `cgroup-v1/*.rst` of the kernel. The
//! conversions of weights to v1 are systemd's, so that a host behaves alike with both.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Controller, Version};
use crate::config::value::{CpuQuota, IoLimit, Limit, List, Memory};
use crate::config::{Origin, Sourced};
use crate::host::{Disk, Host};
use crate::policy::{Directive, Profile};

/// The period of a CPU quota, in microseconds: the kernel's own default.
const PERIOD_US: u64 = 100_000;

/// One value for one file of the user's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// The directive that it comes from.
    pub directive: &'static str,
    /// The controller that the file is of.
    pub controller: Controller,
    /// The file.
    pub file: &'static str,
    /// For a limit on one disk: the first word of its line.
    pub disk: Option<Disk>,
    /// What is written, after the disk if there is one.
    pub value: String,
    /// Where the policy says so; none where it is silent and the kernel's default is
    /// asserted, because the cgroup may still have an older policy's value.
    pub origin: Option<Origin>,
}

/// A directive that this host can't carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unfit {
    /// Which.
    pub directive: &'static str,
    /// Why not.
    pub why: String,
}

impl Unfit {
    /// Each directive with its reason, on one line.
    pub fn reasons(unfit: &[Unfit]) -> String {
        let reasons: Vec<String> =
            unfit.iter().map(|unfit| format!("{}: {}", unfit.directive, unfit.why)).collect();
        reasons.join("; ")
    }
}

/// What `profile` asks of the user's cgroup on `host`, in the order of writing.
pub fn attributes(profile: &Profile, host: &Host) -> (Vec<Attribute>, Vec<Unfit>) {
    let mut sheet = Sheet { host, attributes: Vec::new(), unfit: Vec::new() };
    sheet.memory(profile);
    sheet.cpu(profile);
    sheet.cpus(profile);
    sheet.tasks(profile);
    sheet.io_weight(profile);
    sheet.io_limits(profile);
    (sheet.attributes, sheet.unfit)
}

/// What `profile` asks of the cgroup of each session.
pub fn session_attributes(profile: &Profile, host: &Host) -> (Vec<Attribute>, Vec<Unfit>) {
    let (mut attributes, mut unfit) = attributes(&profile.of_session(), host);
    // A session has no CPUs or disks of its own.
    attributes.retain(|attribute| of_session(attribute.directive) != attribute.directive);
    // Nobody has asked for the default that follows from tasks_max.
    unfit.retain(|it| it.directive != "tasks_max" || profile.session_tasks_max.is_some());
    attributes.iter_mut().for_each(|it| it.directive = of_session(it.directive));
    unfit.iter_mut().for_each(|it| it.directive = of_session(it.directive));
    (attributes, unfit)
}

/// The directive that asks the same of a session; itself where there is none.
fn of_session(directive: &'static str) -> &'static str {
    Directive::named(directive).and_then(|row| row.session).unwrap_or(directive)
}

struct Sheet<'a> {
    host: &'a Host,
    attributes: Vec<Attribute>,
    unfit: Vec<Unfit>,
}

impl Sheet<'_> {
    fn memory(&mut self, profile: &Profile) {
        let total = self.host.memory_bytes;
        let bytes = |memory: &Memory| memory.bytes(total);
        let (max, high, swap) =
            (&profile.memory_max, &profile.memory_high, &profile.memory_swap_max);
        let version = match self.host.carries(Controller::Memory) {
            Ok(version) => version,
            Err(why) => {
                self.refuse("memory_max", max, &why);
                self.refuse("memory_high", high, &why);
                return self.refuse("memory_swap_max", swap, &why);
            }
        };
        let of = Controller::Memory;
        match version {
            Version::Unified => {
                let text = |memory: &Memory| or_max(bytes(memory));
                self.put(of, "memory_max", "memory.max", max, text, "max");
                self.put(of, "memory_high", "memory.high", high, text, "max");
                self.put(of, "memory_swap_max", "memory.swap.max", swap, text, "max");
            }
            Version::Legacy => {
                let text = |memory: &Memory| or_minus_one(bytes(memory));
                self.put(of, "memory_max", "memory.limit_in_bytes", max, text, "-1");
                self.refuse("memory_high", high, "cgroup v1 has no memory.high");
                // v1 limits memory and swap together.
                let together = max.as_ref().and_then(|max| bytes(&max.value));
                match (swap, together) {
                    (Some(swap), None) if bytes(&swap.value).is_some() => {
                        let why = "cgroup v1 limits swap only together with memory_max";
                        self.refuse("memory_swap_max", &Some(swap.clone()), why);
                    }
                    _ => {
                        let text = |swap: &Memory| {
                            or_minus_one(
                                bytes(swap).zip(together).map(|(s, m)| s.saturating_add(m)),
                            )
                        };
                        let file = "memory.memsw.limit_in_bytes";
                        self.put(of, "memory_swap_max", file, swap, text, "-1");
                    }
                }
            }
        }
    }

    fn cpu(&mut self, profile: &Profile) {
        let (quota, weight) = (&profile.cpu_quota, &profile.cpu_weight);
        let version = match self.host.carries(Controller::Cpu) {
            Ok(version) => version,
            Err(why) => {
                self.refuse("cpu_quota", quota, &why);
                return self.refuse("cpu_weight", weight, &why);
            }
        };
        let of = Controller::Cpu;
        let per_period = |quota: &CpuQuota| match quota {
            CpuQuota::Infinity => None,
            // The kernel takes no quota under a millisecond.
            CpuQuota::PerSecond(us) => Some((us / (1_000_000 / PERIOD_US)).max(1000)),
        };
        match version {
            Version::Unified => {
                let text = |quota: &CpuQuota| format!("{} {PERIOD_US}", or_max(per_period(quota)));
                self.put(of, "cpu_quota", "cpu.max", quota, text, "max 100000");
                let text = |weight: &crate::config::value::Weight| weight.get().to_string();
                self.put(of, "cpu_weight", "cpu.weight", weight, text, "100");
            }
            Version::Legacy => {
                let text = |quota: &CpuQuota| or_minus_one(per_period(quota));
                self.put(of, "cpu_quota", "cpu.cfs_quota_us", quota, text, "-1");
                let text = |weight: &crate::config::value::Weight| {
                    (u64::from(weight.get()) * 1024 / 100).max(2).to_string()
                };
                self.put(of, "cpu_weight", "cpu.shares", weight, text, "1024");
            }
        }
    }

    fn cpus(&mut self, profile: &Profile) {
        let cpus = &profile.allowed_cpus;
        if let Err(why) = self.host.carries(Controller::Cpuset) {
            return self.refuse("allowed_cpus", cpus, &why);
        }
        let named = cpus.clone().filter(|cpus| !cpus.value.ranges().is_empty());
        let of = Controller::Cpuset;
        // An empty line is "whatever the parent has".
        self.put(of, "allowed_cpus", "cpuset.cpus", &named, |cpus| cpus.to_string(), "\n");
    }

    fn tasks(&mut self, profile: &Profile) {
        let tasks = &profile.tasks_max;
        match self.host.carries(Controller::Pids) {
            Ok(_) => self.put(
                Controller::Pids,
                "tasks_max",
                "pids.max",
                tasks,
                |tasks| or_max(tasks.number()),
                "max",
            ),
            Err(why) => self.refuse("tasks_max", tasks, &why),
        }
    }

    fn io_weight(&mut self, profile: &Profile) {
        let weight = &profile.io_weight;
        let version = match self.host.carries(Controller::Io) {
            Ok(version) => version,
            Err(why) => return self.refuse("io_weight", weight, &why),
        };
        let of = Controller::Io;
        // The first file is the general one, the second the BFQ scheduler's.
        let (files, to_file, default): (_, fn(u64) -> String, _) = match version {
            Version::Unified => {
                (["io.weight", "io.bfq.weight"], |w| format!("default {w}"), "default 100")
            }
            Version::Legacy => (
                ["blkio.weight", "blkio.bfq.weight"],
                |w| (w * 500 / 100).clamp(10, 1000).to_string(),
                "500",
            ),
        };
        let there: Vec<_> = files.into_iter().filter(|file| !self.host.lacks_file(file)).collect();
        match there.first() {
            Some(file) => {
                let text = |weight: &crate::config::value::Weight| to_file(u64::from(weight.get()));
                self.put(of, "io_weight", file, weight, text, default);
            }
            None => {
                let why = "this kernel weighs no I/O (neither iocost nor the BFQ scheduler)";
                self.refuse("io_weight", weight, why);
            }
        }
    }

    fn io_limits(&mut self, profile: &Profile) {
        let read = "blkio.throttle.read_bps_device";
        self.io_limit("io_read_bandwidth_max", &profile.io_read_bandwidth_max, "rbps", read);
        let write = "blkio.throttle.write_bps_device";
        self.io_limit("io_write_bandwidth_max", &profile.io_write_bandwidth_max, "wbps", write);
        let reads = "blkio.throttle.read_iops_device";
        self.io_limit("io_read_iops_max", &profile.io_read_iops_max, "riops", reads);
        let writes = "blkio.throttle.write_iops_device";
        self.io_limit("io_write_iops_max", &profile.io_write_iops_max, "wiops", writes);
    }

    /// One kind of limit on disks: a key in v2's `io.max`, a file on v1.
    fn io_limit(
        &mut self,
        directive: &'static str,
        wanted: &Option<Sourced<List<IoLimit>>>,
        key: &str,
        legacy_file: &'static str,
    ) {
        let Some(wanted) = wanted else { return };
        let version = match self.host.carries(Controller::Io) {
            Ok(version) => version,
            Err(why) => return self.unfit.push(Unfit { directive, why }),
        };
        let file = match version {
            Version::Unified => "io.max",
            Version::Legacy => legacy_file,
        };
        if self.host.lacks_file(file) {
            let why = format!("this kernel has no {file}");
            return self.unfit.push(Unfit { directive, why });
        }
        // Two paths may lie on one disk: the later one counts.
        let mut by_disk: BTreeMap<Disk, Limit> = BTreeMap::new();
        for IoLimit { path, limit, .. } in wanted.value.iter() {
            match self.host.disk(path.as_ref()) {
                Ok(disk) => drop(by_disk.insert(disk, *limit)),
                Err(why) => self.unfit.push(Unfit { directive, why }),
            }
        }
        for (disk, limit) in by_disk {
            let value = match version {
                Version::Unified => format!("{key}={}", or_max(limit.number())),
                // 0 means no limit there.
                Version::Legacy => limit.number().unwrap_or(0).to_string(),
            };
            let origin = Some(wanted.origin.clone());
            let (controller, disk) = (Controller::Io, Some(disk));
            self.attributes.push(Attribute { directive, controller, file, disk, value, origin });
        }
    }

    fn put<T>(
        &mut self,
        controller: Controller,
        directive: &'static str,
        file: &'static str,
        wanted: &Option<Sourced<T>>,
        text: impl Fn(&T) -> String,
        silent: &str,
    ) {
        if self.host.lacks_file(file) {
            return self.refuse(directive, wanted, &format!("this kernel has no {file}"));
        }
        self.attributes.push(Attribute {
            directive,
            controller,
            file,
            disk: None,
            value: wanted.as_ref().map_or_else(|| silent.to_owned(), |wanted| text(&wanted.value)),
            origin: wanted.as_ref().map(|wanted| wanted.origin.clone()),
        });
    }

    fn refuse<T>(&mut self, directive: &'static str, wanted: &Option<Sourced<T>>, why: &str) {
        if wanted.is_some() {
            self.unfit.push(Unfit { directive, why: why.to_owned() });
        }
    }
}

fn or_max(number: Option<u64>) -> String {
    number.map_or_else(|| "max".to_owned(), |number| number.to_string())
}

fn or_minus_one(number: Option<u64>) -> String {
    number.map_or_else(|| "-1".to_owned(), |number| number.to_string())
}
