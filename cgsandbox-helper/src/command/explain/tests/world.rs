//! Worlds that nobody thought of.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::cgroup::{Controller, Owner, Unfit};
use crate::host::{Made, Offer};
use crate::policy::{Groups, Subject};
use crate::tasks::Full;

/// How much of NSS answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directory {
    Answers,
    NotForGroups,
    NotAtAll,
}

/// All that a login depends on.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub policy: String,
    /// Whether no more of the policy can be used than its exemptions and `on_error`.
    pub is_salvage: bool,
    pub user: Subject,
    pub directory: Directory,
    pub service: &'static str,
    /// None where the host cannot be looked at.
    pub host: Option<Offer>,
    /// How often the user is logged in.
    pub logins: u64,
    /// Whether the user has used up the tasks limit.
    pub full: Option<Full>,
    /// What only putting the plan into effect shows to be missing.
    pub missing: Vec<Unfit>,
}

/// Whom a list is for.
const PATTERNS: [&str; 8] = ["alice", "bob", "@wheel", "@staff", "1001", "1000:1001", "web-*", "*"];

const DIRECTIVES: [&str; 15] = [
    "memory_max = \"25%\"",
    "memory_high = \"64M\"",
    "memory_swap_max = 0",
    "cpu_quota = \"150%\"",
    "cpu_weight = 200",
    "allowed_cpus = \"0-1\"",
    "tasks_max = 50",
    "io_weight = 300",
    "io_read_bandwidth_max = [\"/no 1M\", \"/such 2M\"]",
    "io_write_iops_max = [\"/no 100\"]",
    "session_memory_max = \"1G\"",
    "session_cpu_weight = 50",
    "limits = { core = \"0\", nofile = \"100:200\", memlock = \"unlimited\" }",
    "max_logins = 2",
    "loopback = \"private\"",
];

fn some<T: Clone + std::fmt::Debug + 'static>(of: &[T]) -> impl Strategy<Value = Vec<T>> + use<T> {
    subsequence(of.to_vec(), 0..=of.len())
}

fn few<T: Clone + std::fmt::Debug + 'static>(of: &[T]) -> impl Strategy<Value = Vec<T>> + use<T> {
    subsequence(of.to_vec(), 0..=2)
}

prop_compose! {
    /// Who is left out is left out of something.
    fn list()(
        matched in few(&PATTERNS),
        left_out in select(vec![None, None, Some("!@ops"), Some("!bob")]),
    ) -> Vec<&'static str> {
        let left_out = left_out.filter(|_| !matched.is_empty());
        matched.into_iter().chain(left_out).collect()
    }
}

prop_compose! {
    fn profile()(
        directives in some(&DIRECTIVES),
        hidepid in select(vec!["", "hidepid = \"off\"", "hidepid = \"noaccess\""]),
        strict in select(vec!["", "", "", "strict = true"]),
    ) -> String {
        format!("{}\n{hidepid}\n{strict}\n", directives.join("\n"))
    }
}

prop_compose! {
    fn policy()(
        on_error in select(vec!["allow", "deny"]),
        exempt in list(),
        services in select(vec![vec!["sshd"], vec!["sshd", "systemd-user"], vec!["cron"]]),
        (base, heir) in (profile(), profile()),
        mut rules in prop::collection::vec((list(), select(vec!["base", "heir"])), 0..4),
        has_last in prop::bool::weighted(0.7),
    ) -> String {
        let rule = |(matches, profile): &(Vec<&str>, &str)| {
            format!("[[rule]]\nmatch = {matches:?}\nprofile = {profile:?}\n")
        };
        rules.extend(has_last.then_some((vec!["*"], "heir")));
        rules.retain(|(matches, _)| !matches.is_empty());
        let rules: String = rules.iter().map(rule).collect();
        format!(
            "version = 1\non_error = {on_error:?}\nexempt = {exempt:?}\nservices = {services:?}\n\
             [profile.base]\n{base}[profile.heir]\ninherits = \"base\"\n{heir}{rules}"
        )
    }
}

prop_compose! {
    fn user()(
        name in select(vec!["alice", "bob", "carol", "1001", "web-7"]),
        canonical in select(vec![None, Some("alice"), Some("bob")]),
        uid in select(vec![1000, 1001, 1002, 3_000_000_000]),
        gid in select(vec![100, 10]),
        ids in some(&[10, 50, 60]),
        uid_is_a_name in any::<bool>(),
    ) -> Subject {
        let mentioned = [("wheel", 10), ("staff", 50), ("ops", 60)];
        let mentioned = mentioned.map(|(name, gid)| (name.to_owned(), Some(gid)));
        Subject {
            name: name.to_owned(),
            canonical: canonical.filter(|canonical| *canonical != name).map(str::to_owned),
            uid,
            gid,
            home: "/home".into(),
            groups: Some(Groups { ids, mentioned: BTreeMap::from(mentioned) }),
            uid_is_a_name,
        }
    }
}

prop_compose! {
    fn host()(
        owner in select(vec![Owner::Cgsandbox, Owner::Systemd]),
        unified in prop::option::weighted(0.8, some(&Controller::ALL)),
        legacy in some(&Controller::ALL),
        (procfs, disks) in any::<(bool, bool)>(),
        refused in few(&Controller::ALL),
        absent in prop::collection::vec(0..12_usize, 0..4),
        is_for_show in prop::bool::weighted(0.1),
    ) -> Offer {
        let is_unified = |it: &Controller| unified.iter().flatten().any(|one| one == it);
        let legacy = legacy.into_iter().filter(|it| !is_unified(it)).collect();
        // Nothing is made where systemd makes the cgroups.
        let made = match owner {
            Owner::Cgsandbox => Made { refused, absent, is_for_show },
            Owner::Systemd => Made::default(),
        };
        Offer { owner, unified, legacy, procfs, disks, made }
    }
}

prop_compose! {
    pub(super) fn world()(
        (policy, user) in (policy(), user()),
        is_salvage in prop::bool::weighted(0.1),
        directory in select(vec![
            Directory::Answers,
            Directory::Answers,
            Directory::Answers,
            Directory::Answers,
            Directory::Answers,
            Directory::NotForGroups,
            Directory::NotAtAll,
        ]),
        service in select(vec!["sshd", "sshd", "sshd", "sshd", "systemd-user", "cron"]),
        host in prop::option::weighted(0.95, prop_oneof![Just(Offer::of_everything()), host()]),
        logins in 0..4_u64,
        is_full in prop::bool::weighted(0.1),
        missing in prop_oneof![Just(vec![]), few(&["loopback", "loopback_peers", "limits.nofile"])],
    ) -> World {
        let unfit = |directive| Unfit { directive, why: "the kernel refuses it".to_owned() };
        let missing = missing.into_iter().map(unfit).collect();
        let full = is_full.then(|| Full { used: 49, max: 50, by: "48 sleep".to_owned() });
        World { policy, is_salvage, user, directory, service, host, logins, full, missing }
    }
}
