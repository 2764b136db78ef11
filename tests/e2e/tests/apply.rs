//! A policy that changes while users are logged in, and is applied without a login.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox_rig::{Host, Session, eventually, patience};

fn host(policy: &str) -> Host {
    Host::build().user("alice").user("bob").policy(policy).start()
}

#[track_caller]
fn apply(host: &Host) -> String {
    host.as_root(["cgsandbox", "apply"]).run().ok().to_owned()
}

/// The processes that a user may have; none when without a limit.
fn tasks_max(host: &Host, user: &str) -> Option<u64> {
    let file = host.users_cgroup(user, "pids").join("pids.max");
    host.read(file).unwrap().trim().parse().ok()
}

/// The same of a session.
fn session_tasks_max(host: &Host, session: &Session<'_>) -> Option<u64> {
    host.read(session.cgroup("pids").join("pids.max")).unwrap().trim().parse().ok()
}

#[test]
fn limits_are_set_raised_lowered_and_lifted() {
    let host = host("[profile.default]\n");
    let mut alice = host.spawn_session("alice");
    for (policy, limit, of_session) in [
        ("tasks_max = 90\nsession_tasks_max = 40\n", Some(90), Some(40)),
        ("tasks_max = 120\nsession_tasks_max = 50\n", Some(120), Some(50)),
        ("tasks_max = 80\n", Some(80), Some(64)),
        ("tasks_max = 40\nsession_tasks_max = \"infinity\"\n", Some(40), None),
        ("session_tasks_max = 30\n", None, Some(30)),
        ("", None, None),
    ] {
        host.set_policy(&format!("[profile.default]\n{policy}"));
        let said = apply(&host);
        assert!(said.contains("alice") && said.contains("full"), "{said}");
        assert_eq!(tasks_max(&host, "alice"), limit, "{policy}");
        assert_eq!(session_tasks_max(&host, &alice), of_session, "{policy}");
        host.wait_log(&[
            "event=policy_applied",
            "user=alice",
            "sessions=1",
            "profile=default",
            "enforced=full",
        ]);
    }
    assert_eq!(alice.sh("echo works"), "works");
    alice.logout();
    host.assert_nothing_left();
}

#[test]
fn memory_that_is_in_use_survives_a_lower_limit_with_room() {
    let host = host("[profile.default]\nmemory_max = \"256M\"\n");
    let mut alice = host.spawn_session("alice");
    alice.sh("head -c 60M /dev/zero | tail -c 60M | (sleep 1000; cat >/dev/null) & sleep 1");
    host.set_policy("[profile.default]\nmemory_max = \"128M\"\n");
    apply(&host);
    assert_eq!(alice.sh("jobs | grep -c Running"), "1");
    let status = host.sh("cgsandbox status alice");
    assert!(status.contains("of 128M"), "{status}");
}

#[test]
fn one_user_is_brought_up_to_date_alone() {
    let host = host("[profile.default]\ntasks_max = 90\n");
    let (_alice, _bob) = (host.spawn_session("alice"), host.spawn_session("bob"));
    host.set_policy("[profile.default]\ntasks_max = 70\n");
    let said = host.sh("cgsandbox apply bob");
    assert!(said.contains("bob") && !said.contains("alice"), "{said}");
    assert_eq!((tasks_max(&host, "alice"), tasks_max(&host, "bob")), (Some(90), Some(70)));
    let all = host.as_root(["cgsandbox", "apply", "--json"]).run();
    let all: serde_json::Value = serde_json::from_str(all.ok()).unwrap();
    let users = all["users"].as_array().unwrap();
    assert_eq!(users.len(), 2, "{all}");
    assert!(
        users.iter().all(|user| user["enforced"] == "full" && user["error"].is_null()),
        "{all}"
    );
    assert_eq!(tasks_max(&host, "alice"), Some(70));
}

#[test]
fn a_profile_that_is_another_now_is_shown_and_counts_at_logout() {
    let host = host("[profile.default]\n[profile.other]\non_logout = \"kill\"\ntasks_max = 60\n");
    let mut alice = host.spawn_session("alice");
    alice.sh("setsid sleep 1000 >/dev/null 2>&1 </dev/null &");
    host.set_policy(
        "[profile.other]\non_logout = \"kill\"\ntasks_max = 60\n\
         [[rule]]\nmatch = \"alice\"\nprofile = \"other\"\n",
    );
    apply(&host);
    let status = host.sh("cgsandbox status alice");
    assert!(status.contains("other"), "{status}");
    alice.logout();
    eventually("what was left is killed", 20.0, || host.processes_of("alice").is_empty());
    host.assert_nothing_left();
}

#[test]
fn who_is_exempt_now_has_no_limits_any_more() {
    let host = host("[profile.default]\ntasks_max = 60\nsession_tasks_max = 50\n");
    let alice = host.spawn_session("alice");
    let bob = host.spawn_session("bob");
    host.set_policy("exempt = [\"alice\"]\n[profile.default]\ntasks_max = 60\n");
    apply(&host);
    assert_eq!((tasks_max(&host, "alice"), tasks_max(&host, "bob")), (None, Some(60)));
    assert_eq!(session_tasks_max(&host, &alice), None);
    host.wait_log(&["event=policy_applied", "user=alice", "enforced=none"]);
    alice.logout();
    bob.logout();
    host.assert_nothing_left();
}

#[test]
fn processes_that_run_come_onto_the_cpus_that_are_allowed_now() {
    let host = host("[profile.default]\n");
    let mut alice = host.spawn_session("alice");
    let before = alice.sh("grep Cpus_allowed_list /proc/self/status");
    for cpu in ["0", "1", "0"] {
        host.set_policy(&format!("[profile.default]\nallowed_cpus = \"{cpu}\"\n"));
        let said = apply(&host);
        assert!(said.contains("full"), "{said}");
        let now = alice.sh("grep Cpus_allowed_list /proc/$$/status");
        assert!(now.ends_with(&format!("\t{cpu}")), "{now}");
    }
    host.set_policy("[profile.default]\n");
    apply(&host);
    assert_eq!(alice.sh("grep Cpus_allowed_list /proc/self/status"), before);
    alice.logout();
    host.assert_nothing_left();
}

#[test]
fn the_view_of_proc_follows() {
    let host = host("[profile.default]\n");
    let mut alice = host.spawn_session("alice");
    assert_eq!(alice.sh("test -d /proc/1 && echo there"), "");
    host.set_policy("[profile.default]\nhidepid = \"noaccess\"\n");
    apply(&host);
    assert_eq!(alice.sh("test -d /proc/1 && echo there"), "there");
    assert!(alice.sh("cat /proc/1/status 2>&1").contains("not permitted"));
    host.set_policy("[profile.default]\nhidepid = \"invisible\"\n");
    apply(&host);
    assert_eq!(alice.sh("test -d /proc/1 && echo there"), "");
}

/// What cannot be given to processes that run is not said to be given.
#[test]
fn a_view_that_the_sessions_were_not_given_is_missing() {
    let host = host("[profile.default]\nhidepid = \"off\"\n");
    let _alice = host.spawn_session("alice");
    host.set_policy("[profile.default]\nhidepid = \"invisible\"\ntasks_max = 40\n");
    let applied = host.as_root(["cgsandbox", "apply"]).run();
    assert_eq!(applied.status, 1, "{}", applied.stdout);
    assert!(applied.stdout.contains("without hidepid"), "{}", applied.stdout);
    assert!(applied.stdout.contains("partial"), "{}", applied.stdout);
    assert_eq!(tasks_max(&host, "alice"), Some(40));
    host.wait_log(&["event=policy_applied", "enforced=partial", "missing=hidepid"]);
}

#[test]
fn a_broken_configuration_changes_nothing() {
    let host = host("[profile.default]\ntasks_max = 60\n");
    let _alice = host.spawn_session("alice");
    host.set_policy("[profile.default]\ntasks_max = 50\nmemory_mux = \"1G\"\n");
    let applied = host.as_root(["cgsandbox", "apply"]).run();
    assert_eq!(applied.status, 2);
    assert!(applied.stderr.contains("memory_max"), "{}", applied.stderr);
    assert!(applied.stderr.contains("nothing was changed"), "{}", applied.stderr);
    assert_eq!(tasks_max(&host, "alice"), Some(60));
}

#[test]
fn nobody_logged_in_is_nothing_to_do_and_a_user_may_not() {
    let host = host("[profile.default]\n");
    assert_eq!(apply(&host), "nobody is in a sandbox");
    assert_eq!(host.sh("cgsandbox apply alice"), "alice is in no sandbox");
    host.assert_nothing_left();
    let refused = host.ssh("alice").cmd("cgsandbox apply").run();
    assert_eq!(refused.status, 2);
    assert!(refused.stderr.contains("only root may"), "{}", refused.stderr);
}

#[test]
fn a_session_below_another_root_keeps_what_it_has() {
    let host = host("[profile.default]\ntasks_max = 60\n");
    let alice = host.spawn_session("alice");
    let elsewhere = format!("{}/further", host.cgroup_root());
    host.write(
        "/etc/cgsandbox/cgsandbox.toml",
        format!(
            "version = 1\ncgroup_root = \"{elsewhere}\"\n[profile.default]\ntasks_max = 50\n\
             [[rule]]\nmatch = \"*\"\nprofile = \"default\"\n"
        ),
    );
    let applied = host.as_root(["cgsandbox", "apply"]).run();
    assert_eq!(applied.status, 1);
    assert!(applied.stderr.contains("until it ends"), "{}", applied.stderr);
    assert!(applied.stdout.contains("as before"), "{}", applied.stdout);
    assert_eq!(tasks_max(&host, "alice"), Some(60));
    host.wait_log(&["event=policy_applied", "user=alice", "cause="]);
    alice.logout();
}

/// Whose sshd has a line with `config=` goes by that one, and so do the commands.
#[test]
fn a_line_with_a_configuration_of_its_own_is_what_counts() {
    let own = "/etc/cgsandbox/own.toml";
    let host = Host::build()
        .user("alice")
        .policy("on_error = \"allow\"\n[profile.default]\n")
        .module_arguments(&format!("config={own}"))
        .start();
    host.write(own, own_policy(&host, "sshd", 60));
    let alice = host.spawn_session("alice");
    assert_eq!(tasks_max(&host, "alice"), Some(60));
    host.write(own, own_policy(&host, "sshd", 70));
    let checked = host.as_root(["cgsandbox", "check"]).run().ok().to_owned();
    assert!(checked.contains(own) && !checked.contains("cgsandbox.toml"), "{checked}");
    apply(&host);
    assert_eq!(tasks_max(&host, "alice"), Some(70));
    // What is done with a login when nobody can be asked is that configuration's word, too.
    host.as_root(["cgsandbox", "gc"]).run().ok();
    let link = "/run/cgsandbox/on_error:%2Fetc%2Fcgsandbox%2Fown.toml";
    assert_eq!(host.sh(&format!("readlink {link}")), "deny");
    assert!(!host.exists("/run/cgsandbox/on_error"));
    host.write(own, "wrong");
    for command in ["apply", "check"] {
        let told = host.as_root(["cgsandbox", command]).run();
        assert!(told.status != 0 && told.stderr.contains("own.toml:1:6"), "{}", told.stderr);
    }
    assert_eq!(tasks_max(&host, "alice"), Some(70));
    alice.logout();
    host.assert_nothing_left();
}

/// Another service's line may name another configuration than sshd's.
#[test]
fn who_came_through_another_service_keeps_to_its_configuration() {
    let own = "/etc/cgsandbox/own.toml";
    let host = Host::build().user("alice").policy("[profile.default]\ntasks_max = 50\n").start();
    let session = format!("sed -n '/pam_cgsandbox/s|$| config={own}|p' /etc/pam.d/sshd");
    host.sh(&format!(
        "{{ echo auth sufficient pam_rootok.so; echo account required pam_permit.so; {session}; }} \
         >/etc/pam.d/su"
    ));
    host.write(own, own_policy(&host, "su", 60));
    let mut alice = host.as_root(["su", "alice", "-c", "read -r line"]).start();
    let file = host.users_cgroup("alice", "pids").join("pids.max");
    eventually("alice is in her cgroup", 10.0, || host.exists(&file));
    assert_eq!(tasks_max(&host, "alice"), Some(60));
    host.write(own, own_policy(&host, "su", 70));
    apply(&host);
    assert_eq!(tasks_max(&host, "alice"), Some(70));
    host.write(own, "wrong");
    let applied = host.as_root(["cgsandbox", "apply"]).run();
    assert_eq!(applied.status, 1);
    assert!(applied.stderr.contains("own.toml"), "{}", applied.stderr);
    assert_eq!(tasks_max(&host, "alice"), Some(70));
    alice.send(b"\n");
    assert_eq!(alice.finish(patience(20.0)).status, 0);
    host.assert_nothing_left();
}

fn own_policy(host: &Host, service: &str, tasks_max: u64) -> String {
    format!(
        "version = 1\nservices = [\"{service}\"]\ncgroup_root = \"{}\"\n\
         [profile.default]\ntasks_max = {tasks_max}\n\
         [[rule]]\nmatch = \"*\"\nprofile = \"default\"\n",
        host.cgroup_root()
    )
}

/// A session keeps the mount namespace that it began in: apply says so, beside others that have a view.
#[test]
fn a_session_from_before_the_view_is_told_of_beside_one_that_has_it() {
    let host = host("[profile.default]\nhidepid = \"off\"\n");
    let first = host.spawn_session("alice");
    let line = host.wait_log(&["event=session_open"]);
    let id = line.split(" session=").nth(1).unwrap().split(' ').next().unwrap();
    host.set_policy("[profile.default]\n");
    let second = host.spawn_session("alice");
    let said = host.as_root(["cgsandbox", "apply"]).run();
    let text = format!("{}{}", said.stdout, said.stderr);
    assert!(text.contains("without a view of its own") && text.contains(id), "{said:?}");
    host.wait_log(&["event=policy_applied", "enforced=partial", "missing=hidepid"]);
    first.logout();
    let said = apply(&host);
    assert!(said.contains("full"), "{said}");
    second.logout();
    host.assert_nothing_left();
}
