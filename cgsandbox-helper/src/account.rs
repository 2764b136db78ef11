//! What a session used and which limits it met, read from its cgroups.
//!
//! A number that this host's kernel does not offer is absent, never 0.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::cgroup::{Controller, Tree, Version, read_file, read_number};

/// Numbers by the key that they have in the audit line.
pub type Counters = BTreeMap<String, u64>;

/// What one session used, from its own cgroups.
pub fn of_session(tree: &Tree, uid: u32, leaf: &str) -> Counters {
    let at = |h: &_| tree.session_in(h, uid, leaf);
    let mut counters = usage(tree, &at);
    put(&mut counters, "oom_kills", oom_kills(tree, &at));
    put(&mut counters, TASKS_MAX_HITS, tasks_max_hits(tree, &at));
    counters
}

/// Linux 6.11 and later count a fork that the user's limit refuses in the user's cgroup;
/// before that, and on v1, the kernel counts it where the process is, in the session's.
const TASKS_MAX_HITS: &str = "tasks_max_hits";

/// How often a user met each limit, from the user's cgroups: the limits are there, so the
/// kernel counts there.
pub fn limit_hits(tree: &Tree, uid: u32) -> Counters {
    let at = |h: &_| tree.user_in(h, uid);
    let mut counters = Counters::new();
    let memory = place(tree, Controller::Memory, &at);
    let (max, high) = match &memory {
        Some((Version::Unified, path)) => {
            let events = path.join("memory.events");
            (field(&events, "max"), field(&events, "high"))
        }
        Some((Version::Legacy, path)) => {
            // With no swap allowed the limit on both together is the one that is met.
            let together = read_number(&path.join("memory.memsw.failcnt")).unwrap_or(0);
            (read_number(&path.join("memory.failcnt")).map(|alone| alone + together), None)
        }
        None => (None, None),
    };
    put(&mut counters, "memory_max_hits", max);
    put(&mut counters, "memory_high_hits", high);
    put(&mut counters, TASKS_MAX_HITS, tasks_max_hits(tree, &at));
    let cpu = place(tree, Controller::Cpu, &at);
    put(
        &mut counters,
        "cpu_throttled",
        cpu.and_then(|(_, path)| field(&path.join("cpu.stat"), "nr_throttled")),
    );
    counters
}

/// What one user uses now, from the user's cgroups.
pub fn of_user(tree: &Tree, uid: u32) -> Counters {
    let at = |h: &_| tree.user_in(h, uid);
    let mut counters = usage(tree, &at);
    let memory = place(tree, Controller::Memory, &at).and_then(|(version, path)| {
        read_number(&path.join(match version {
            Version::Unified => "memory.current",
            Version::Legacy => "memory.usage_in_bytes",
        }))
    });
    put(&mut counters, "memory_bytes", memory);
    let tasks = place(tree, Controller::Pids, &at);
    put(
        &mut counters,
        "tasks",
        tasks.and_then(|(_, path)| read_number(&path.join("pids.current"))),
    );
    counters
}

/// What a user has in tmpfs files and shared memory, in bytes (memory.stat, "shmem").
pub fn shared_memory(tree: &Tree, uid: u32) -> Option<u64> {
    let (version, path) = place(tree, Controller::Memory, &|h| tree.user_in(h, uid))?;
    let key = match version {
        Version::Unified => "shmem",
        Version::Legacy => "total_shmem",
    };
    field(&path.join("memory.stat"), key)
}

/// The sums of two sets of counters.
pub fn sum(mut some: Counters, others: Counters) -> Counters {
    for (key, value) in others {
        *some.entry(key).or_default() += value;
    }
    some
}

/// The counters of `after` less those of `before`; a cgroup that was not there yet had
/// counted nothing.
pub fn since(before: &Counters, after: &Counters) -> Counters {
    let earlier = |key: &String| before.get(key).copied().unwrap_or(0);
    after.iter().map(|(key, now)| (key.clone(), now.saturating_sub(earlier(key)))).collect()
}

type At<'a> = dyn Fn(&crate::cgroup::Hierarchy) -> PathBuf + 'a;

fn usage(tree: &Tree, at: &At<'_>) -> Counters {
    let mut counters = Counters::new();
    put(&mut counters, "cpu_usec", cpu_usec(tree, at));
    let memory = place(tree, Controller::Memory, at).and_then(|(version, path)| {
        read_number(&path.join(match version {
            Version::Unified => "memory.peak",
            Version::Legacy => "memory.max_usage_in_bytes",
        }))
    });
    put(&mut counters, "memory_peak", memory);
    let pids = place(tree, Controller::Pids, at);
    put(
        &mut counters,
        "pids_peak",
        pids.and_then(|(_, path)| read_number(&path.join("pids.peak"))),
    );
    if let Some((read, written)) = io_bytes(tree, at) {
        put(&mut counters, "io_read_bytes", Some(read));
        put(&mut counters, "io_write_bytes", Some(written));
    }
    counters
}

fn put(counters: &mut Counters, key: &str, value: Option<u64>) {
    if let Some(value) = value {
        counters.insert(key.to_owned(), value);
    }
}

/// The directory, of those that `at` names, which the controller's files are in.
fn place(tree: &Tree, controller: Controller, at: &At<'_>) -> Option<(Version, PathBuf)> {
    let hierarchy = tree.carrier(controller)?;
    Some((hierarchy.version, at(hierarchy)))
}

/// v2 counts CPU time in every cgroup, with or without the cpu controller.
fn cpu_usec(tree: &Tree, at: &At<'_>) -> Option<u64> {
    let unified = tree.hierarchies().iter().find(|h| h.version == Version::Unified);
    if let Some(usec) = unified.and_then(|h| field(&at(h).join("cpu.stat"), "usage_usec")) {
        return Some(usec);
    }
    let counting = tree.hierarchies().iter().find(|h| h.counts_cpu_time())?;
    Some(read_number(&at(counting).join("cpuacct.usage"))? / 1000)
}

fn tasks_max_hits(tree: &Tree, at: &At<'_>) -> Option<u64> {
    let (_, path) = place(tree, Controller::Pids, at)?;
    field(&path.join("pids.events"), "max")
}

fn oom_kills(tree: &Tree, at: &At<'_>) -> Option<u64> {
    let (version, path) = place(tree, Controller::Memory, at)?;
    field(
        &path.join(match version {
            Version::Unified => "memory.events",
            Version::Legacy => "memory.oom_control",
        }),
        "oom_kill",
    )
}

/// Bytes read and written, summed over devices.
fn io_bytes(tree: &Tree, at: &At<'_>) -> Option<(u64, u64)> {
    let (version, path) = place(tree, Controller::Io, at)?;
    match version {
        Version::Unified => {
            let text = read_file(&path.join("io.stat"))?;
            let sum = |key: &str| {
                text.split_whitespace()
                    .filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok())
                    .sum()
            };
            Some((sum("rbytes="), sum("wbytes=")))
        }
        Version::Legacy => {
            let text = read_file(&path.join("blkio.throttle.io_service_bytes_recursive"))?;
            let sum = |kind: &str| {
                text.lines()
                    .filter_map(|line| {
                        let mut words = line.split_whitespace().skip(1);
                        (words.next()? == kind).then_some(words.next()?.parse::<u64>().ok()?)
                    })
                    .sum()
            };
            Some((sum("Read"), sum("Write")))
        }
    }
}

/// The number behind `key` in a file of "key number" lines.
fn field(path: &Path, key: &str) -> Option<u64> {
    read_file(path)?
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
}

/// The limits that are in force for a user, read from the user's cgroups.
pub fn limits_in_force(tree: &Tree, uid: u32) -> Counters {
    let at = |h: &_| tree.user_in(h, uid);
    let mut counters = Counters::new();
    let memory = place(tree, Controller::Memory, &at).and_then(|(version, path)| match version {
        Version::Unified => read_number(&path.join("memory.max")),
        Version::Legacy => {
            // v1 says "no limit" by the largest multiple of a page.
            read_number(&path.join("memory.limit_in_bytes")).filter(|limit| *limit < 1 << 62)
        }
    });
    put(&mut counters, "memory_max", memory);
    let pids = place(tree, Controller::Pids, &at);
    put(&mut counters, "tasks_max", pids.and_then(|(_, path)| read_number(&path.join("pids.max"))));
    put(&mut counters, "cpu_quota_percent", cpu_quota_percent(tree, &at));
    counters
}

fn cpu_quota_percent(tree: &Tree, at: &At<'_>) -> Option<u64> {
    let (version, path) = place(tree, Controller::Cpu, at)?;
    let (quota, period) = match version {
        Version::Unified => {
            let text = read_file(&path.join("cpu.max"))?;
            let (quota, period) = text.split_once(' ')?;
            (quota.parse::<u64>().ok()?, period.parse::<u64>().ok()?)
        }
        Version::Legacy => (
            // -1, no limit, is no unsigned number.
            read_number(&path.join("cpu.cfs_quota_us"))?,
            read_number(&path.join("cpu.cfs_period_us"))?,
        ),
    };
    (quota * 100).checked_div(period)
}
