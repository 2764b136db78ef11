//! The table of all directives of a profile, one row for each.
//!
//! ```text
//! /// HELP, in one line: what it limits or chooses.
//! NAME: FIELD = FORM(PARSER) { default: VALUE, session: TWIN, examples: [TOML, TOML] }
//! ```
//!
//! - FIELD is the type of [`Profile`]'s field, FORM how the value is written in a file: a method of
//!   [`Reading`].
//! - PARSER turns one TOML value into a typed one, or says what is wrong with it.
//! - `default` is what holds, and what `explain` lists, where no profile says anything. A
//!   directive without one limits nothing then, or depends on others.
//! - `session` is the directive that asks the same of each login by itself.
//! - `examples` are two different values that can be used. The tests of the table use them.
//!
//! From a row follow the key and its spelling mistakes, the field, reading, inheritance,
//! `explain`'s list of settings, and the tests of all of these.

#[macro_use]
mod derived;
#[cfg(test)]
mod tests;

use crate::config::value::{
    CpuQuota, CpuSet, HidePid, IoLimit, Limit, List, Memory, OnLogout, Port, Privacy, Weight,
    Wildcard, boolean,
};
use crate::policy::Match;
use crate::policy::profile::{Field, Reading, Rlimits, Said, Setting};

directives! {
    /// Memory beyond which the kernel kills one of the user's processes.
    memory_max: Said<Memory> = one(Memory::limit) {
        session: session_memory_max, examples: ["'1G'", "'50%'"]
    }

    /// Memory beyond which the kernel slows the user's processes down.
    memory_high: Said<Memory> = one(Memory::limit) {
        session: session_memory_high, examples: ["'900M'", "'40%'"]
    }

    /// Swap space that the user's processes may use.
    memory_swap_max: Said<Memory> = one(Memory::swap) {
        session: session_memory_swap_max, examples: ["'0'", "'1G'"]
    }

    /// Processor time that the user's processes get together.
    cpu_quota: Said<CpuQuota> = one(CpuQuota::parse) {
        session: session_cpu_quota, examples: ["'150%'", "'20%'"]
    }

    /// The user's share of processor time where there is not enough for all.
    cpu_weight: Said<Weight> = one(Weight::parse) {
        session: session_cpu_weight, examples: ["200", "50"]
    }

    /// The processors that the user's processes run on.
    allowed_cpus: Said<CpuSet> = one(CpuSet::parse) { examples: ["'0'", "'0-1'"] }

    /// Processes and threads that the user may have at one time.
    tasks_max: Said<Limit> = one(Limit::tasks) {
        session: session_tasks_max, examples: ["200", "300"]
    }

    /// The user's share of disk traffic where there is not enough for all.
    io_weight: Said<Weight> = one(Weight::parse) {
        session: session_io_weight, examples: ["200", "50"]
    }

    /// Bytes per second that the user's processes may read from a disk.
    io_read_bandwidth_max: Said<List<IoLimit>> = disks(IoLimit::bandwidth) {
        examples: ["['/home 50M', '/srv 10M']", "'/home 40M'"]
    }

    /// Bytes per second that the user's processes may write to a disk.
    io_write_bandwidth_max: Said<List<IoLimit>> = disks(IoLimit::bandwidth) {
        examples: ["['/home 20M', '/srv 10M']", "'/home 30M'"]
    }

    /// Read operations per second that the user's processes may ask of a disk.
    io_read_iops_max: Said<List<IoLimit>> = disks(IoLimit::operations) {
        examples: ["['/home 1000', '/srv infinity']", "'/home 500'"]
    }

    /// Write operations per second that the user's processes may ask of a disk.
    io_write_iops_max: Said<List<IoLimit>> = disks(IoLimit::operations) {
        examples: ["['/home 800', '/srv infinity']", "'/home 400'"]
    }

    /// memory_max for each login by itself.
    session_memory_max: Said<Memory> = one(Memory::limit) { examples: ["'512M'", "'25%'"] }

    /// memory_high for each login by itself.
    session_memory_high: Said<Memory> = one(Memory::limit) { examples: ["'400M'", "'20%'"] }

    /// memory_swap_max for each login by itself.
    session_memory_swap_max: Said<Memory> = one(Memory::swap) { examples: ["'0'", "'16M'"] }

    /// cpu_quota for each login by itself.
    session_cpu_quota: Said<CpuQuota> = one(CpuQuota::parse) { examples: ["'100%'", "'10%'"] }

    /// cpu_weight for each login by itself, beside the user's other logins.
    session_cpu_weight: Said<Weight> = one(Weight::parse) { examples: ["300", "30"] }

    /// tasks_max for each login by itself.
    session_tasks_max: Said<Limit> = one(Limit::tasks) { examples: ["100", "'infinity'"] }

    /// io_weight for each login by itself, beside the user's other logins.
    session_io_weight: Said<Weight> = one(Weight::parse) { examples: ["300", "30"] }

    /// Resource limits of each process, by their names in limits.conf(5).
    limits: Rlimits = rlimits() { examples: ["{ core = '0' }", "{ core = '1M:2M' }"] }

    /// Logins that the user may have at one time.
    max_logins: Said<Limit> = one(Limit::logins) { examples: ["20", "'infinity'"] }

    /// How much of other users' processes /proc shows.
    hidepid: Said<HidePid> = one(HidePid::parse) {
        default: HidePid::Invisible, examples: ["'noaccess'", "'off'"]
    }

    /// Whether the cgroups of other users are hidden.
    hide_cgroups: Said<bool> = one(boolean) { default: true, examples: ["false", "true"] }

    /// What a logout does to processes that are left behind.
    on_logout: Said<OnLogout> = one(OnLogout::parse) {
        default: OnLogout::Keep, examples: ["'kill'", "'keep'"]
    }

    /// Whose 127.0.0.1 and ::1 the user's programs mean.
    loopback: Said<Privacy> = one(Privacy::parse) {
        default: Privacy::Shared, examples: ["'private'", "'shared'"]
    }

    /// Where a server listens that asks for all addresses; matters where loopback is private.
    loopback_wildcard: Said<Wildcard> = one(Wildcard::parse) { examples: ["'localhost'", "'all'"] }

    /// Ports at which localhost stays the machine's; matters where loopback is private.
    loopback_services: Said<List<Port>> = ports(Port::parse) { examples: ["[25, 5432]", "53"] }

    /// Who else may reach the user's own localhost; matters where loopback is private.
    loopback_peers: Said<Match> = users() { examples: ["['@staff', '!bob']", "'carol'"] }

    /// Whether a login is refused where the host cannot carry out one of the directives.
    strict: Said<bool> = one(boolean) { default: false, examples: ["true", "false"] }
}
