//! Whatever stands in the configuration, the error is clear and nobody is locked out.
#![allow(clippy::unwrap_used)]

use cgsandbox_rig::Host;

const CONFIG: &str = "/etc/cgsandbox/cgsandbox.toml";
const LIMITED: &str = "[profile.default]\ntasks_max = 50\n";

fn host() -> Host {
    Host::build().user("alice").policy(LIMITED).start()
}

/// Alice has logged in once, then `script` spoils the configuration: it must be reported,
/// and alice still gets the sandbox that the last good one describes.
#[track_caller]
fn assert_survives(script: &str, complaint: &str) {
    let host = host();
    host.ssh("alice").cmd("true").run().ok();
    host.assert_nothing_left();
    host.sh(script);
    let _session = host.spawn_session("alice");
    host.assert_inside("alice");
    let limit = host.users_cgroup("alice", "pids").join("pids.max");
    assert_eq!(host.read(limit).unwrap(), "50\n");
    host.wait_log(&["event=config_error"]);
    assert_eq!(host.ssh("root").cmd("echo in").run().ok(), "in");
    let said = host.as_root(["cgsandbox", "check"]).run().refused();
    assert!(said.contains(complaint), "{said}");
}

#[test]
fn a_truncated_file() {
    assert_survives(&format!("printf '[profile.def' >{CONFIG}"), &format!("{CONFIG}:1:"));
}

#[test]
fn a_file_of_ten_megabytes() {
    assert_survives(&format!("yes '# x' | head -c 10000000 >>{CONFIG}"), CONFIG);
}

#[test]
fn nul_bytes() {
    assert_survives(&format!("printf 'version = 1\\n\\0\\0' >{CONFIG}"), CONFIG);
}

#[test]
fn bytes_that_are_not_utf8() {
    assert_survives(&format!("printf 'version = 1\\n# \\377\\n' >{CONFIG}"), CONFIG);
}

#[test]
fn a_number_beyond_all_measure() {
    assert_survives(&format!("echo 'cpu_weight = 99999999999999999999999' >>{CONFIG}"), CONFIG);
}

#[test]
fn a_duplicate_key() {
    assert_survives(&format!("sed -i '1a version = 1' {CONFIG}"), &format!("{CONFIG}:2:"));
}

#[test]
fn an_unknown_key_with_what_was_meant() {
    assert_survives(&format!("sed -i 's/tasks_max/task_max/' {CONFIG}"), "tasks_max");
}

#[test]
fn an_error_shows_line_column_and_caret() {
    let host = host();
    host.sh(&format!("sed -i 's/tasks_max = 50/tasks_max = \"many\"/' {CONFIG}"));
    let said = host.as_root(["cgsandbox", "check"]).run().refused();
    assert!(said.contains(&format!("{CONFIG}:4:13")), "{said}");
    assert!(said.contains("tasks_max = \"many\"") && said.contains('^'), "{said}");
}

#[test]
fn a_profile_that_inherits_from_itself() {
    assert_survives(
        &format!(
            "printf '[profile.a]\\ninherits = \"b\"\\n[profile.b]\\ninherits = \"a\"\\n' >>{CONFIG}"
        ),
        "inherits",
    );
}

#[test]
fn a_bare_number_where_bytes_are_meant() {
    assert_survives(&format!("sed -i 's/tasks_max = 50/memory_max = 512/' {CONFIG}"), "memory_max");
}

#[test]
fn a_file_of_another_owner() {
    assert_survives(&format!("chown nobody {CONFIG}"), "own");
}

#[test]
fn a_file_that_others_may_write() {
    assert_survives(&format!("chmod 666 {CONFIG}"), "writ");
}

#[test]
fn a_directory_that_a_group_may_write() {
    assert_survives("chmod 775 /etc/cgsandbox", "/etc/cgsandbox");
}

#[test]
fn a_link_to_a_users_file() {
    assert_survives(
        &format!("cp {CONFIG} /tmp/own; chown nobody /tmp/own; ln -sf /tmp/own {CONFIG}"),
        CONFIG,
    );
}

#[test]
fn a_fifo() {
    assert_survives(&format!("rm {CONFIG}; mkfifo {CONFIG}"), CONFIG);
}

#[test]
fn a_device_that_never_ends() {
    assert_survives(&format!("rm {CONFIG}; mknod {CONFIG} c 1 5"), CONFIG);
}

#[test]
fn without_any_good_configuration_users_are_denied_and_root_is_not() {
    let host = Host::build().user("alice").raw_policy("not toml").start();
    host.ssh("alice").cmd("true").run().refused();
    host.wait_log(&["event=config_error"]);
    assert_eq!(host.ssh("root").cmd("echo in").run().ok(), "in");
    host.assert_nothing_left();
}

#[test]
fn a_drop_in_adds_to_the_file() {
    let host = host();
    host.write(
        "/etc/cgsandbox/cgsandbox.toml.d/10-more.toml",
        "[profile.default]\ntasks_max = 33\n",
    );
    let _session = host.spawn_session("alice");
    let limit = host.users_cgroup("alice", "pids").join("pids.max");
    assert_eq!(host.read(limit).unwrap(), "33\n");
}

#[test]
fn a_drop_in_masks_one_of_its_name() {
    let host = host();
    let drop_in = "[profile.default]\ntasks_max = 33\n";
    host.write("/usr/lib/cgsandbox/cgsandbox.toml.d/10-more.toml", drop_in);
    host.sh("mkdir -p /etc/cgsandbox/cgsandbox.toml.d");
    host.sh("ln -s /dev/null /etc/cgsandbox/cgsandbox.toml.d/10-more.toml");
    let _session = host.spawn_session("alice");
    let limit = host.users_cgroup("alice", "pids").join("pids.max");
    assert_eq!(host.read(limit).unwrap(), "50\n");
}

#[test]
fn the_configuration_of_the_pam_line_is_used() {
    let arguments =
        format!("config=/etc/other.toml timeout={}s", cgsandbox_rig::patience(1.0).as_secs());
    let host = Host::build().user("alice").policy(LIMITED).module_arguments(&arguments).start();
    host.sh(&format!("sed 's/tasks_max = 50/tasks_max = 44/' {CONFIG} >/etc/other.toml"));
    let _session = host.spawn_session("alice");
    let limit = host.users_cgroup("alice", "pids").join("pids.max");
    assert_eq!(host.read(limit).unwrap(), "44\n");
}

#[test]
fn the_winning_rule_decides() {
    let policy = "[profile.default]\ntasks_max = 50\n[profile.staff]\ntasks_max = 60\n\
                  [profile.bob]\ntasks_max = 70\n\
                  [[rule]]\nmatch = \"bob\"\nprofile = \"bob\"\n\
                  [[rule]]\nmatch = \"@staff\"\nprofile = \"staff\"\n\
                  [[rule]]\nmatch = \"*\"\nprofile = \"default\"\n";
    let build = Host::build().user("alice").member("bob", &["staff"]).member("carol", &["staff"]);
    let host = build.policy(policy).start();
    for (user, tasks) in [("alice", "50\n"), ("bob", "70\n"), ("carol", "60\n")] {
        let _session = host.spawn_session(user);
        assert_eq!(host.read(host.users_cgroup(user, "pids").join("pids.max")).unwrap(), tasks);
    }
}

#[test]
fn a_login_goes_by_a_file_with_rules_for_nine_thousand_users() {
    let user = |at: usize| {
        format!(
            "[profile.u{at}]\ntasks_max = 200\nmemory_max = \"2G\"\ncpu_quota = \"150%\"\n\
             [[rule]]\nmatch = \"customer{at}\"\nprofile = \"u{at}\"\n"
        )
    };
    let users: String = (0..9000).map(user).collect();
    let own = "[[rule]]\nmatch = \"alice\"\nprofile = \"default\"\n";
    let host = Host::build().user("alice").policy(&format!("{LIMITED}{users}{own}")).start();
    let _session = host.spawn_session("alice");
    let limit = host.users_cgroup("alice", "pids").join("pids.max");
    assert_eq!(host.read(limit).unwrap(), "50\n");
    assert!(!host.log().iter().any(|line| line.contains("config_error")), "{:?}", host.log());
}

#[test]
fn check_compares_the_addresses_of_thousands_of_local_users() {
    let private = "exempt = [\"@wheel\"]\n[profile.default]\nloopback = \"private\"\n";
    let host = Host::build().user("alice").policy(private).start();
    let mut passwd = host.read("/etc/passwd").unwrap();
    let user = |at: usize| format!("customer{at}:x:{0}:{0}::/:/bin/sh\n", 300_000 + at);
    passwd.extend((0..10_000).map(user));
    // The pool has 4194304 numbers.
    passwd += "twin:x:4494304:300000::/:/bin/sh\n";
    host.write("/etc/passwd", passwd);
    let told = host.as_root(["cgsandbox", "check"]).within(8.0).run();
    assert_eq!(told.status, 1, "{told:?}");
    assert!(told.stderr.contains("the localhost of customer0 and of twin"), "{}", told.stderr);
}
