//! What `cgsandbox explain` says is what a login then gets.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox_rig::{Host, Output, Processes, eventually};
use serde_json::Value;

/// One of each kind of setting; what a host cannot carry of it is to be told as missing.
const EVERYTHING: &str = "\
exempt = [\"@wheel\"]
[profile.default]
tasks_max = 50
memory_max = \"64M\"
memory_high = \"48M\"
memory_swap_max = \"0\"
cpu_quota = \"150%\"
cpu_weight = 200
io_weight = 300
io_read_bandwidth_max = [\"/nonexistent 1M\"]
limits = { core = \"0\", nofile = \"100:200\", memlock = \"unlimited\" }
[profile.staff]
inherits = \"default\"
tasks_max = 60
[[rule]]
match = \"*\"
profile = \"default\"
[[rule]]
match = [\"@staff\", \"!bob\"]
profile = \"staff\"
";

fn host() -> Host {
    let host = Host::build().policy(EVERYTHING).member("alice", &["staff"]);
    host.member("bob", &["staff"]).member("carol", &["wheel"]).start()
}

fn explain(host: &Host, user: &str) -> Output {
    host.as_root(["cgsandbox", "explain", user]).run()
}

#[track_caller]
fn explain_json(host: &Host, user: &str) -> Value {
    let said = host.as_root(["cgsandbox", "explain", user, "--json"]).run();
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

fn directives(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|entry| entry["directive"].as_str().unwrap()).collect()
}

#[test]
fn every_file_and_value_told_is_then_there() {
    let host = host();
    let told = explain_json(&host, "alice");
    let mut session = host.spawn_session("alice");
    let files = told["sandbox"]["cgroup_files"].as_array().unwrap();
    assert!(files.iter().any(|file| file["directive"] == "tasks_max" && file["value"] == "60"));
    for file in files {
        let path = file["file"].as_str().unwrap();
        let content = host.read(path).unwrap_or_else(|| panic!("{path} is not there"));
        let content = content.trim_end();
        // How v1 shows what is written as -1.
        let unlimited = file["value"] == "-1" && content.parse::<i64>().unwrap() > 1 << 62;
        assert!(content == file["value"] || unlimited, "{path}: {content:?}, told: {file}");
    }
    for rlimit in told["sandbox"]["rlimits"].as_array().unwrap() {
        let name = rlimit["name"].as_str().unwrap();
        if !directives(&told["sandbox"]["missing"]).contains(&format!("limits.{name}").as_str()) {
            let options = format!("--{name} --output=SOFT,HARD --noheadings --raw");
            let now = session.sh(&format!("prlimit {options}"));
            let number =
                |limit: &Value| limit.as_u64().map_or("unlimited".into(), |n| n.to_string());
            assert_eq!(
                now,
                format!("{} {}", number(&rlimit["soft"]), number(&rlimit["hard"])),
                "{name}"
            );
        }
    }
}

#[test]
fn what_is_told_to_be_missing_is_what_the_log_then_names() {
    let host = host();
    // Before anybody's first login, and when there are cgroups already.
    for logins in 1..=2 {
        let told = explain_json(&host, "alice");
        assert_eq!((&told["ok"], &told["enforced"]), (&false.into(), &"partial".into()), "{told}");
        let missing = directives(&told["sandbox"]["missing"]);
        assert!(missing.contains(&"io_read_bandwidth_max"), "{missing:?}");
        let session = host.spawn_session("alice");
        let opened = || {
            let log = host.log().into_iter();
            log.filter(|line| line.contains("event=session_open")).collect::<Vec<_>>()
        };
        eventually("the login is in the log", 10.0, || opened().len() == logins);
        let line = opened().pop().unwrap();
        let logged =
            line.split(" missing=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        assert_eq!(missing.join(","), logged);
        let said = explain(&host, "alice");
        assert_eq!(said.status, 1, "{said:?}");
        assert!(said.stdout.contains(&format!("missing={logged}")), "{}", said.stdout);
        session.logout();
    }
}

#[test]
fn the_winning_rule_and_those_that_lost_are_told_with_their_lines() {
    let host = host();
    let told = explain_json(&host, "alice");
    let (rule, lost) = (&told["sandbox"]["rule"], &told["sandbox"]["lost"]);
    assert_eq!(rule["pattern"], "@staff");
    assert_eq!(rule["origin"], "/etc/cgsandbox/cgsandbox.toml:21");
    assert_eq!((&lost[0]["match"], &lost[0]["why"]), (&"*".into(), &"less specific".into()));
    assert_eq!(told["sandbox"]["profile"], "staff");
    assert_eq!(told["sandbox"]["inherits"][0], "default");
    let told = explain_json(&host, "bob");
    assert_eq!(told["sandbox"]["profile"], "default");
    assert_eq!(told["sandbox"]["lost"][0]["why"], "excluded");
    let text = explain(&host, "bob").stdout;
    assert!(text.contains("cgsandbox.toml:21") && text.contains("leaves out \"bob\""), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(!text.contains('\x1b'), "colours are for terminals");
}

#[test]
fn who_is_exempt_is_told_by_which_entry() {
    let host = host();
    let said = explain(&host, "carol");
    assert!(said.ok().contains("no sandbox"), "{}", said.stdout);
    assert!(said.stdout.contains("\"@wheel\"") && said.stdout.contains("cgsandbox.toml:3"));
    let other = host.as_root(["cgsandbox", "explain", "alice", "--service", "cron"]).run();
    assert!(other.ok().contains("cron"), "{}", other.stdout);
}

#[test]
fn a_strict_profile_is_told_to_refuse_and_does() {
    let strict =
        "[profile.default]\nstrict = true\nio_read_bandwidth_max = [\"/nonexistent 1M\"]\n";
    let host = Host::build().user("alice").policy(strict).start();
    let said = explain(&host, "alice");
    assert_eq!(said.status, 1, "{said:?}");
    assert!(said.stdout.contains("the login is refused"), "{}", said.stdout);
    assert!(said.stdout.contains("io_read_bandwidth_max"), "{}", said.stdout);
    host.ssh("alice").cmd("true").run().refused();
}

#[test]
fn one_login_too_many_is_told() {
    let host = Host::build().user("alice").policy("[profile.default]\nmax_logins = 1\n").start();
    assert_eq!(explain_json(&host, "alice")["login"], "sandbox");
    let _session = host.spawn_session("alice");
    let told = explain_json(&host, "alice");
    assert_eq!(told["login"], "refused", "{told}");
    host.ssh("alice").cmd("true").run().refused();
}

#[test]
fn a_broken_configuration_is_told_beside_the_one_in_use() {
    let host = host();
    host.sh("echo 'colour = 1' >>/etc/cgsandbox/cgsandbox.toml");
    let told = explain_json(&host, "alice");
    assert_eq!((&told["configuration"], &told["login"]), (&"unusable".into(), &"refused".into()));
    assert_eq!(explain_json(&host, "carol")["login"], "unconfined", "exempt all the same");
    assert_eq!(explain_json(&host, "root")["ok"], true);
    host.set_policy(EVERYTHING);
    host.ssh("alice").cmd("true").run().ok();
    host.sh("echo 'colour = 1' >>/etc/cgsandbox/cgsandbox.toml");
    let said = explain(&host, "alice");
    assert_eq!(said.status, 1, "{said:?}");
    assert!(said.stdout.contains("cgsandbox.toml:23:"), "the error: {}", said.stdout);
    assert!(said.stdout.contains("tasks_max"), "the plan: {}", said.stdout);
    assert_eq!(explain_json(&host, "alice")["configuration"], "kept");
}

/// Then what it last said of `on_error` counts, as where there is no helper.
#[test]
fn a_configuration_that_is_gone_is_told_to_let_in_whom_it_let_in() {
    for (on_error, login) in [("allow", "let in"), ("deny", "refused")] {
        let policy = format!("on_error = {on_error:?}\n[profile.default]\n");
        let host = Host::build().user("alice").policy(&policy).start();
        host.ssh("alice").cmd("true").run().ok();
        host.assert_nothing_left();
        host.sh("rm /etc/cgsandbox/cgsandbox.toml /run/cgsandbox/last-good");
        let told = explain_json(&host, "alice");
        assert_eq!((&told["login"], &told["configuration"]), (&login.into(), &"unusable".into()));
        let doctor = host.as_root(["cgsandbox", "doctor", "alice"]).run().stdout;
        let all = doctor.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(all.contains(&format!("exempt users are {login}")), "{doctor}");
        assert!(all.contains(&format!("alice through sshd: {login}")), "{doctor}");
        let entered = host.ssh("alice").cmd("true").run();
        assert_eq!(entered.status == 0, login == "let in", "{entered:?}");
    }
}

/// Nobody could mend that by asking as root: root asks.
#[test]
fn a_configuration_that_cannot_be_read_is_told_to_refuse_and_does() {
    let arguments = format!("config=/etc/{}.toml", "x".repeat(300));
    let host = Host::build().user("alice").module_arguments(&arguments).start();
    let told = explain_json(&host, "alice");
    assert_eq!((&told["login"], &told["configuration"]), (&"refused".into(), &"unusable".into()));
    host.ssh("alice").cmd("true").run().refused();
    host.wait_log(&["event=session_denied", "user=alice", "none has parsed before"]);
}

#[test]
fn the_limit_on_logins_is_told_to_be_none_of_the_user_manager_s() {
    let policy = "services = [\"sshd\", \"systemd-user\"]\n[profile.default]\nmax_logins = 1\n";
    let host = Host::build().user("alice").policy(policy).start();
    host.sh("cp /etc/pam.d/sshd /etc/pam.d/systemd-user");
    let _session = host.spawn_session("alice");
    assert_eq!(explain_json(&host, "alice")["login"], "refused");
    let explain = ["cgsandbox", "explain", "alice", "--service", "systemd-user", "--json"];
    let told: Value = serde_json::from_str(&host.as_root(explain).run().stdout).unwrap();
    assert_eq!(told["login"], "sandbox", "{told}");
    host.as_root(["pamtester", "systemd-user", "alice", "open_session", "close_session"])
        .run()
        .ok();
}

#[test]
fn the_configuration_is_the_one_that_the_pam_line_names() {
    let host = Host::build().user("alice").module_arguments("config=/etc/own.toml").start();
    let policy =
        format!("version = 1\ncgroup_root = \"{}\"\nexempt = \"alice\"\n", host.cgroup_root());
    host.write("/etc/own.toml", policy);
    assert!(explain(&host, "alice").ok().contains("/etc/own.toml:3"));
    host.sh("sed -i /cgsandbox/d /etc/pam.d/sshd");
    let said = explain(&host, "alice");
    assert_eq!(said.status, 1, "nothing calls the module: {said:?}");
    assert!(said.stdout.contains("no session line of pam_cgsandbox.so"), "{}", said.stdout);
}

#[test]
fn a_host_whose_systemd_does_not_answer_is_told_to_be_an_error() {
    let host = host();
    host.sh("mkdir -p /run/systemd/system");
    let told = explain_json(&host, "alice");
    assert_eq!(told["login"], "refused", "{told}");
    assert!(explain(&host, "alice").stdout.contains("on_error is \"deny\""));
    host.ssh("alice").cmd("true").run().refused();
    host.set_policy(&format!("on_error = \"allow\"\n{EVERYTHING}"));
    assert_eq!(explain_json(&host, "alice")["login"], "let in");
    host.ssh("alice").cmd("true").run().ok();
    assert_eq!(explain_json(&host, "carol")["login"], "unconfined");
}

#[test]
fn a_user_may_ask_for_itself_inside_and_for_nobody_else() {
    let host =
        Host::build().user("alice").user("bob").policy("[profile.default]\ntasks_max = 50\n");
    let host = host.start();
    let own = host.ssh("alice").cmd("cgsandbox explain alice").run();
    assert!(own.ok().contains("tasks_max"), "{own:?}");
    let other = host.ssh("alice").cmd("cgsandbox explain bob").run();
    assert_eq!(other.status, 2, "{other:?}");
    assert!(other.stderr.contains("only root may"), "{other:?}");
}

#[test]
fn explaining_changes_nothing() {
    let host = host();
    let before = host.sh("find /run /etc /var/log -xdev -printf '%p %i %m %s %T@\\n' | sort");
    explain(&host, "alice");
    let after = host.sh("find /run /etc /var/log -xdev -printf '%p %i %m %s %T@\\n' | sort");
    assert_eq!(before, after);
    assert_eq!(host.cgroups(), Vec::<std::path::PathBuf>::new());
    host.assert_nothing_left();
}

#[test]
fn in_a_container_too_what_will_be_missing_is_told() {
    let all = ["cpu", "cpuset", "io", "memory", "pids"];
    for (processes, given) in
        [(Processes::InTheRoot, all.as_slice()), (Processes::InAChild, &["pids"])]
    {
        let limited = "[profile.default]\ntasks_max = 50\nmemory_max = \"64M\"\ncpu_weight = 50\n";
        let host = Host::build().user("alice").policy(limited).contained(processes, given).start();
        let told = explain_json(&host, "alice");
        host.ssh("alice").cmd("true").run().ok();
        let line = host.wait_log(&["event=session_open"]);
        let missing = directives(&told["sandbox"]["missing"]).join(",");
        assert!(
            line.contains(&format!("enforced={}", told["enforced"].as_str().unwrap())),
            "{line}"
        );
        assert!(
            missing.is_empty() || line.contains(&format!("missing={missing}")),
            "{missing}: {line}"
        );
    }
}

#[test]
fn cgroups_that_are_only_for_reading_are_told() {
    let host = Host::build().user("alice").policy("[profile.default]\ntasks_max = 50\n").start();
    for hierarchy in &host.hierarchies().0 {
        host.sh(&format!("mount -o remount,bind,ro {}", hierarchy.mount.display()));
    }
    let told = explain_json(&host, "alice");
    host.ssh("alice").cmd("true").run().ok();
    let missing = directives(&told["sandbox"]["missing"]).join(",");
    host.wait_log(&["event=session_open", "enforced=partial", &format!("missing={missing}")]);
}
