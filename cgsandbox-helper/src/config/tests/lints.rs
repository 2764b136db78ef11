//! Configurations that can be used, but hardly mean what they say.

use super::*;
use crate::policy::Who;

const RULE: &str = "[profile.p]\n[[rule]]\nmatch = \"*\"\nprofile = \"p\"\n";

fn lints_of(texts: &[SourceText]) -> Vec<String> {
    let exists = |who: &Who| !matches!(who, Who::User(name) | Who::Group(name) if name == "nobody");
    let warnings = lint(&parse(texts).unwrap(), texts, exists);
    assert!(warnings.iter().all(|problem| problem.severity == Severity::Warning));
    warnings.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn warns(text: &str, expected: &[&str]) {
    let told = lints_of(&[main_file(text)]);
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.contains(expected), "{told} has no {expected}");
    }
}

#[test]
fn nothing_is_wrong_with_these() {
    warns(RULE, &[]);
    warns(&format!("exempt = [\"*\", \"!@customers\"]\n{RULE}"), &[]);
    warns(&format!("exempt = [\"@sudo\", \"@wheel\"]\n{RULE}"), &[]);
    let rules =
        "[[rule]]\nmatch = \"a\"\nprofile = \"p\"\n[[rule]]\nmatch = \"@a\"\nprofile = \"p\"";
    warns(&format!("{RULE}{rules}"), &[]);
}

#[test]
fn nobody_is_sandboxed() {
    warns("", &["no rule is for everyone"]);
    warns(&format!("services = []\n{RULE}"), &["services is empty"]);
    warns(&format!("exempt = \"*\"\n{RULE}"), &["everyone is exempt, so", "this rule is for is"]);
    let only_staff = RULE.replace('*', "@staff");
    warns(&only_staff, &["no rule is for everyone"]);
}

#[test]
fn profiles_no_rule_leads_to() {
    warns(
        &format!(
            "{RULE}[profile.used]\n[profile.a]\ninherits = \"b\"\n[profile.b]\n\
                  [[rule]]\nmatch = \"x\"\nprofile = \"q\"\n[profile.q]\ninherits = \"used\""
        ),
        &["main.toml:7:10: no rule leads to profile \"a\"", "profile \"b\""],
    );
}

#[test]
fn rules_that_never_win() {
    let rule = |matches: &str| format!("[[rule]]\nmatch = {matches}\nprofile = \"p\"\n");
    let with = |rules: &[&str]| {
        let rules: String = rules.iter().map(|matches| rule(matches)).collect();
        format!("{RULE}{rules}")
    };
    let never = "this rule never wins";
    warns(&with(&["\"a\"", "\"a\""]), &[never]);
    warns(&with(&["[\"a\", \"@b\"]", "\"a\"", "\"@b\""]), &[never]);
    warns(&with(&["[\"a\", \"!c\"]", "\"a\""]), &[never]);
    warns(&with(&["[\"a\", \"!c\"]", "[\"a\", \"!c\"]"]), &[never]);
    warns(&with(&["\"a\"", "[\"a\", \"!c\"]"]), &[]);
    warns(&with(&["[\"a\", \"b\"]", "\"a\""]), &[]);
    warns(&format!("exempt = \"a\"\n{}", with(&["\"a\""])), &["this rule is for is exempt"]);
    // A drop-in is there to override.
    assert_eq!(lints_of(&[main_file(RULE), drop_in("b", &rule("\"*\""))]), [""; 0]);
}

#[test]
fn names_that_are_nobody_s() {
    warns(
        &format!(
            "exempt = [\"@nobody\", \"nobody\", \"root\"]\n{}",
            RULE.replace("\"*\"", "[\"*\", \"!nobody\"]")
        ),
        &["no group \"nobody\"", "no user \"nobody\"", "root is never sandboxed"],
    );
}

/// Of a host with 2 processors, 1000 MiB of memory, sshd and cron, and a user named 1234.
fn host_lints_of(text: &str, swap: bool) -> Vec<String> {
    let facts = Facts {
        uid_of: &|name| (name == "1234").then_some(5000),
        services: ["cron", "sshd", "login"].map(str::to_owned).to_vec(),
        exists: &|path| path == "/home",
        cpus: value::CpuSet::of_list("0-1\n"),
        memory: 1000 << 20,
        swap,
    };
    let warnings = lint_for_host(&parse(&[main_file(text)]).unwrap(), &facts);
    assert!(warnings.iter().all(|problem| problem.severity == Severity::Warning));
    warnings.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn warns_on_host(text: &str, expected: &[&str]) {
    let told = host_lints_of(text, true);
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.contains(expected), "{told} has no {expected}");
    }
}

#[test]
fn services_that_are_not_here() {
    warns_on_host(RULE, &[]);
    warns_on_host("services = [\"sshd\", \"cron\", \"systemd-user\"]", &[]);
    let told = ["2:20: no PAM service \"crond\"", "2:13: no PAM service \"ssh\""];
    warns_on_host("services = [\"ssh\", \"crond\"]", &told);
    let told = host_lints_of("services = [\"ssh\", \"crond\"]", true);
    assert!(told[0].contains("did you mean \"cron\"?"), "{told:?}");
    assert!(told[1].contains("did you mean \"sshd\"?"), "{told:?}");
}

#[test]
fn limits_of_a_login_above_those_of_its_user() {
    let told = |user: &str, session: &str, expected: &[&str]| {
        warns_on_host(&format!("[profile.p]\n{user}\nsession_{session}"), expected);
    };
    told("memory_max = \"1G\"", "memory_max = \"2G\"", &["(2G) is above memory_max (1G)"]);
    told("memory_max = \"20%\"", "memory_max = \"201M\"", &["(201M) is above memory_max (20%)"]);
    told("memory_max = \"20%\"", "memory_max = \"200M\"", &[]);
    told("memory_swap_max = \"0\"", "memory_swap_max = \"1M\"", &["memory_swap_max"]);
    told("tasks_max = 50", "tasks_max = 51", &["session_tasks_max (51)"]);
    told("tasks_max = 50", "tasks_max = 50", &[]);
    told("tasks_max = \"infinity\"", "tasks_max = 50", &[]);
    told("tasks_max = 50", "tasks_max = \"infinity\"", &[]);
    told("cpu_quota = \"50%\"", "cpu_quota = \"1.5\"", &["(150%) is above cpu_quota (50%)"]);
    // What two profiles inherit is told once.
    warns_on_host(
        "[profile.p]\ntasks_max = 50\nsession_tasks_max = 60\n[profile.q]\ninherits = \"p\"",
        &["session_tasks_max"],
    );
}

#[test]
fn memory_high_that_never_acts_or_acts_too_long() {
    let profile = |lines: &str| format!("[profile.p]\n{lines}");
    let high = |high: &str, max: &str| {
        profile(&format!("memory_high = \"{high}\"\nmemory_max = \"{max}\""))
    };
    warns_on_host(&high("2G", "80%"), &["memory_high (2G) is above memory_max (80%) on this"]);
    warns_on_host(&high("90%", "100M"), &["is above memory_max"]);
    warns_on_host(&high("40%", "50%"), &[]);
    let stalls = |text: &str| {
        let told = host_lints_of(text, false);
        told.iter().any(|told| told.contains("without swap") && told.contains("stands still"))
    };
    assert!(stalls(&high("40%", "50%")) && stalls(&high("400M", "50%")));
    assert!(stalls(&profile("memory_high = \"40%\"")));
    assert!(!stalls(&high("48%", "50%")) && !stalls(&profile("memory_max = \"40%\"")));
    assert!(!stalls(&profile("memory_high = \"infinity\"\nmemory_max = \"40%\"")));
    // Where there is swap that the user may not use, it is the same.
    let swapless = format!("{}\nmemory_swap_max = \"0\"", high("40%", "50%"));
    warns_on_host(&swapless, &["without swap"]);
}

#[test]
fn processors_and_paths_that_are_not_here() {
    warns_on_host("[profile.p]\nallowed_cpus = \"0-1\"", &[]);
    warns_on_host("[profile.p]\nallowed_cpus = \"1-9\"", &["no processor 2: it has 0-1"]);
    let disks = "[profile.p]\nio_read_iops_max = [\"/home 99\", \"/hmoe 99\"]\n\
                 io_write_bandwidth_max = \"/srv 1M\"";
    warns_on_host(disks, &["there is no /srv", "there is no /hmoe"]);
}

#[test]
fn numbers_that_are_names() {
    warns_on_host("exempt = [\"1234\", \"1235\", \"1234:1234\"]", &["whose uid is 5000"]);
    let peers = "[profile.p]\nloopback_peers = [\"!1234\", \"*\"]";
    assert!(host_lints_of(peers, true)[0].contains("for the uid 1234 write \"1234:1234\""));
}
