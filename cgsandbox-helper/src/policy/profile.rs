//! What a sandbox allows.

use std::collections::BTreeMap;

use crate::config::value::{
    CpuQuota, CpuSet, HidePid, IoLimit, Limit, Memory, OnLogout, Port, Privacy, Rlimit, RlimitPair,
    Weight, Wildcard,
};
use crate::config::{Origin, Sourced};
use crate::policy::Match;

/// How many tasks a session leaves to the others of its user, where the policy does not say: enough
/// for sshd's two, a shell and some commands. A quarter of the user's, where that is less.
const WAY_IN: u64 = 16;

/// A `[profile.NAME]`. What is none is not written there, nor in what it inherits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the names are the directives; cgsandbox.toml(5) has them")]
pub struct Profile {
    pub memory_max: Option<Sourced<Memory>>,
    pub memory_high: Option<Sourced<Memory>>,
    pub memory_swap_max: Option<Sourced<Memory>>,
    pub cpu_quota: Option<Sourced<CpuQuota>>,
    pub cpu_weight: Option<Sourced<Weight>>,
    pub allowed_cpus: Option<Sourced<CpuSet>>,
    pub tasks_max: Option<Sourced<Limit>>,
    pub io_weight: Option<Sourced<Weight>>,
    pub io_read_bandwidth_max: Option<Sourced<Vec<IoLimit>>>,
    pub io_write_bandwidth_max: Option<Sourced<Vec<IoLimit>>>,
    pub io_read_iops_max: Option<Sourced<Vec<IoLimit>>>,
    pub io_write_iops_max: Option<Sourced<Vec<IoLimit>>>,
    pub session_memory_max: Option<Sourced<Memory>>,
    pub session_memory_high: Option<Sourced<Memory>>,
    pub session_memory_swap_max: Option<Sourced<Memory>>,
    pub session_cpu_quota: Option<Sourced<CpuQuota>>,
    pub session_cpu_weight: Option<Sourced<Weight>>,
    pub session_tasks_max: Option<Sourced<Limit>>,
    pub session_io_weight: Option<Sourced<Weight>>,
    pub limits: BTreeMap<Rlimit, Sourced<RlimitPair>>,
    pub max_logins: Option<Sourced<Limit>>,
    pub hidepid: Option<Sourced<HidePid>>,
    pub on_logout: Option<Sourced<OnLogout>>,
    pub loopback: Option<Sourced<Privacy>>,
    pub loopback_wildcard: Option<Sourced<Wildcard>>,
    pub loopback_services: Option<Sourced<Vec<Port>>>,
    pub loopback_peers: Option<Sourced<Match>>,
    pub strict: Option<Sourced<bool>>,
}

/// One directive of a profile, for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name, `limits.nofile` for a limit.
    pub directive: &'static str,
    /// Its value as an administrator would write it.
    pub value: String,
    /// Where it is written.
    pub origin: Origin,
}

impl Profile {
    /// How much `/proc` is to show of others, said or not.
    pub fn hidepid(&self) -> HidePid {
        self.hidepid.as_ref().map_or_else(HidePid::default, |hidepid| hidepid.value)
    }

    /// Takes from `other` what this profile does not say.
    pub(crate) fn inherit(&mut self, other: &Profile) {
        fn inherit<T: Clone>(own: &mut Option<T>, other: &Option<T>) {
            if own.is_none() {
                own.clone_from(other);
            }
        }
        inherit(&mut self.memory_max, &other.memory_max);
        inherit(&mut self.memory_high, &other.memory_high);
        inherit(&mut self.memory_swap_max, &other.memory_swap_max);
        inherit(&mut self.cpu_quota, &other.cpu_quota);
        inherit(&mut self.cpu_weight, &other.cpu_weight);
        inherit(&mut self.allowed_cpus, &other.allowed_cpus);
        inherit(&mut self.tasks_max, &other.tasks_max);
        inherit(&mut self.io_weight, &other.io_weight);
        inherit(&mut self.io_read_bandwidth_max, &other.io_read_bandwidth_max);
        inherit(&mut self.io_write_bandwidth_max, &other.io_write_bandwidth_max);
        inherit(&mut self.io_read_iops_max, &other.io_read_iops_max);
        inherit(&mut self.io_write_iops_max, &other.io_write_iops_max);
        inherit(&mut self.session_memory_max, &other.session_memory_max);
        inherit(&mut self.session_memory_high, &other.session_memory_high);
        inherit(&mut self.session_memory_swap_max, &other.session_memory_swap_max);
        inherit(&mut self.session_cpu_quota, &other.session_cpu_quota);
        inherit(&mut self.session_cpu_weight, &other.session_cpu_weight);
        inherit(&mut self.session_tasks_max, &other.session_tasks_max);
        inherit(&mut self.session_io_weight, &other.session_io_weight);
        for (rlimit, pair) in &other.limits {
            self.limits.entry(*rlimit).or_insert_with(|| pair.clone());
        }
        inherit(&mut self.max_logins, &other.max_logins);
        inherit(&mut self.hidepid, &other.hidepid);
        inherit(&mut self.on_logout, &other.on_logout);
        inherit(&mut self.loopback, &other.loopback);
        inherit(&mut self.loopback_wildcard, &other.loopback_wildcard);
        inherit(&mut self.loopback_services, &other.loopback_services);
        inherit(&mut self.loopback_peers, &other.loopback_peers);
        inherit(&mut self.strict, &other.strict);
    }

    /// What it asks of each session by itself, in the words that it has for the user.
    pub(crate) fn of_session(&self) -> Profile {
        Profile {
            memory_max: self.session_memory_max.clone(),
            memory_high: self.session_memory_high.clone(),
            memory_swap_max: self.session_memory_swap_max.clone(),
            cpu_quota: self.session_cpu_quota.clone(),
            cpu_weight: self.session_cpu_weight.clone(),
            tasks_max: self
                .session_tasks_max
                .clone()
                .or_else(|| self.session_tasks_max_by_default()),
            io_weight: self.session_io_weight.clone(),
            ..Profile::default()
        }
    }

    /// A session may use less than its user, who can then log in once more and end what ran wild.
    fn session_tasks_max_by_default(&self) -> Option<Sourced<Limit>> {
        let tasks_max = self.tasks_max.as_ref()?;
        let number = tasks_max.value.number()?;
        let value = Limit::At(number - (number / 4).min(WAY_IN));
        Some(Sourced { value, origin: tasks_max.origin.clone() })
    }

    /// Everything it says, in the order of the documentation.
    pub fn settings(&self) -> Vec<Setting> {
        let mut all = Settings(Vec::new());
        all.add("memory_max", &self.memory_max);
        all.add("memory_high", &self.memory_high);
        all.add("memory_swap_max", &self.memory_swap_max);
        all.add("cpu_quota", &self.cpu_quota);
        all.add("cpu_weight", &self.cpu_weight);
        all.add("allowed_cpus", &self.allowed_cpus);
        all.add("tasks_max", &self.tasks_max);
        all.add("io_weight", &self.io_weight);
        all.add_list("io_read_bandwidth_max", &self.io_read_bandwidth_max);
        all.add_list("io_write_bandwidth_max", &self.io_write_bandwidth_max);
        all.add_list("io_read_iops_max", &self.io_read_iops_max);
        all.add_list("io_write_iops_max", &self.io_write_iops_max);
        all.add("session_memory_max", &self.session_memory_max);
        all.add("session_memory_high", &self.session_memory_high);
        all.add("session_memory_swap_max", &self.session_memory_swap_max);
        all.add("session_cpu_quota", &self.session_cpu_quota);
        all.add("session_cpu_weight", &self.session_cpu_weight);
        all.add("session_tasks_max", &self.session_tasks_max);
        all.add("session_io_weight", &self.session_io_weight);
        for (rlimit, pair) in &self.limits {
            all.push(rlimit.directive(), pair.to_string(), &pair.origin);
        }
        all.add("max_logins", &self.max_logins);
        all.add("hidepid", &self.hidepid);
        all.add("on_logout", &self.on_logout);
        all.add("loopback", &self.loopback);
        all.add("loopback_wildcard", &self.loopback_wildcard);
        all.add_list("loopback_services", &self.loopback_services);
        all.add("loopback_peers", &self.loopback_peers);
        all.add("strict", &self.strict);
        all.0
    }
}

struct Settings(Vec<Setting>);

impl Settings {
    fn add<T: ToString>(&mut self, directive: &'static str, value: &Option<Sourced<T>>) {
        if let Some(value) = value {
            self.push(directive, value.value.to_string(), &value.origin);
        }
    }

    fn add_list<T: ToString>(&mut self, directive: &'static str, list: &Option<Sourced<Vec<T>>>) {
        if let Some(list) = list {
            let all: Vec<String> = list.iter().map(T::to_string).collect();
            self.push(directive, all.join(", "), &list.origin);
        }
    }

    fn push(&mut self, directive: &'static str, value: String, origin: &Origin) {
        self.0.push(Setting { directive, value, origin: origin.clone() });
    }
}
