//! `cgsandbox doctor` finds what is wrong with a host, and touches nothing.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox_rig::{Host, Output};
use serde_json::Value;

const POLICY: &str = "[profile.default]\ntasks_max = 50\n";
const HELPER: &str = "/usr/libexec/cgsandbox/cgsandbox-helper";

fn host() -> Host {
    Host::build().user("alice").user("bob").policy(POLICY).start()
}

fn doctor(host: &Host, arguments: &[&str]) -> Output {
    host.as_root([&["cgsandbox", "doctor"], arguments].concat()).run()
}

/// The findings of this level, each with its remedy.
#[track_caller]
fn findings(host: &Host, level: &str) -> Vec<String> {
    let said = doctor(host, &["--json"]);
    let report: Value =
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    let problems =
        report["findings"].as_array().unwrap().iter().any(|one| one["level"] == "problem");
    assert_eq!((&report["ok"], said.status), (&(!problems).into(), i32::from(problems)));
    let found = report["findings"].as_array().unwrap().iter().filter(|one| one["level"] == level);
    found.map(|one| format!("{} -> {}", one["what"], one["remedy"])).collect()
}

/// After `script`, there is a problem that has all of `words` and says what mends it.
#[track_caller]
fn assert_problem(script: &str, words: &[&str]) {
    let host = host();
    host.sh(script);
    let problems = findings(&host, "problem");
    let found = problems.iter().find(|one| words.iter().all(|word| one.contains(word)));
    assert!(found.is_some_and(|one| !one.ends_with("null")), "{words:?} in {problems:#?}");
}

#[track_caller]
fn assert_note(host: &Host, words: &[&str]) {
    let notes = findings(host, "note");
    assert!(
        notes.iter().any(|one| words.iter().all(|word| one.contains(word))),
        "{words:?} in {notes:#?}"
    );
}

#[test]
fn a_good_host_is_told_so_in_eighty_columns() {
    let host = host();
    for _ in 0..2 {
        let said = doctor(&host, &[]);
        let text = said.ok();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("no problems"), "{text}");
        assert!(text.contains("root through sshd: no sandbox"), "{text}");
        assert!(text.contains("alice through sshd: a sandbox, enforced in full"), "{text}");
        assert!(!text.contains('\x1b'), "colours are for terminals");
        // The second time there is state to look at.
        host.ssh("alice").cmd("true").run().ok();
    }
}

#[test]
fn it_changes_nothing() {
    let host = host();
    let session = host.spawn_session("alice");
    let look = "find /run /etc /usr/libexec -xdev -printf '%p %i %m %s %T@\\n' | sort";
    let (before, mounts) = (host.sh(look), host.mount_table());
    doctor(&host, &["bob"]);
    assert_eq!((host.sh(look), host.mount_table()), (before, mounts));
    session.logout();
    host.assert_nothing_left();
}

#[test]
fn the_named_users_login_is_tried() {
    let host = host();
    assert!(doctor(&host, &["bob"]).ok().contains("bob through sshd: a sandbox"));
    let said = doctor(&host, &["no-such-user"]);
    assert_eq!(said.status, 1, "{said:?}");
    assert!(said.stdout.contains("no-such-user"), "{}", said.stdout);
}

#[test]
fn it_is_for_root_outside_of_a_sandbox() {
    let host = host();
    let said = host.ssh("alice").cmd("cgsandbox doctor").run();
    assert_eq!(said.status, 2, "{said:?}");
    assert!(said.stderr.contains("only root may"), "{said:?}");
}

#[test]
fn a_line_that_is_there_twice() {
    assert_problem("sed -i /cgsandbox/p /etc/pam.d/sshd", &["twice", "pam.d/sshd"]);
}

/// What becomes of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Login {
    Sandboxed,
    Outside,
    Refused,
}

use Login::{Outside, Refused, Sandboxed};

fn login(host: &Host, user: &str) -> Login {
    let said = host.ssh(user).cmd("grep -c user- /proc/self/cgroup || true").run();
    match (said.status, said.stdout.trim()) {
        (0, "0") => Outside,
        (0, _) => Sandboxed,
        _ => Refused,
    }
}

/// With `lines` as the end of sshd's stack, doctor finds something of `level` that has `words`
/// and a remedy; and alice and root fare as is said.
#[track_caller]
fn assert_order(host: &Host, lines: &str, level: &str, words: &[&str], [alice, root]: [Login; 2]) {
    host.write(
        "/etc/pam.d/sshd",
        format!(
            "{STACK}{lines}
"
        ),
    );
    let found = findings(host, level);
    let told = found.iter().find(|one| words.iter().all(|word| one.contains(word)));
    assert!(told.is_some_and(|one| !one.ends_with("null")), "{words:?} in {found:#?}");
    let text = doctor(host, &[]).stdout;
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert_eq!([login(host, "alice"), login(host, "root")], [alice, root], "{lines}");
}

/// What stands before the line.
const STACK: &str = "auth required pam_deny.so\naccount required pam_permit.so\n\
                     session required pam_permit.so\n";

const CONTROL: &str = "[success=ok ignore=ignore module_unknown=ignore default=bad]";

#[test]
fn a_wrong_number_of_lines_and_what_comes_of_it() {
    let line = format!("session {CONTROL} pam_cgsandbox.so");
    let (host, twice) = (host(), format!("{line}\n{line}"));
    assert_order(
        &host,
        &twice,
        "problem",
        &["sshd:4 and ", "sshd:5", "second one"],
        [Refused, Outside],
    );
    host.write("/etc/pam.d/mine", format!("{line}\n"));
    let lines = format!("@include mine\n{line}");
    let words = ["/etc/pam.d/mine:1 and /etc/pam.d/sshd:5"];
    assert_order(&host, &lines, "problem", &words, [Refused, Outside]);
}

#[test]
fn a_wrong_control_and_what_comes_of_it() {
    let host = host();
    let order = |control: &str, level: &str, words: &[&str], fares: [Login; 2]| {
        let words = [words, &["sshd:4"]].concat();
        assert_order(&host, &format!("session {control} pam_cgsandbox.so"), level, &words, fares);
    };
    order("required", "note", &["not even root"], [Sandboxed, Outside]);
    order("optional", "problem", &["goes on"], [Sandboxed, Outside]);
    order("sufficient", "problem", &["goes on"], [Sandboxed, Outside]);
    order("[success=ok default=bad]", "problem", &["refuses root"], [Sandboxed, Refused]);
    let typo = CONTROL.replace("success", "sucess");
    order(&typo, "problem", &["did you mean \\\"success\\\"?", "root"], [Refused, Refused]);
    let typo = CONTROL.replace("=bad", "=deny");
    order(&typo, "problem", &["\"deny\\\" is no action"], [Refused, Refused]);
    order("requird", "problem", &["did you mean \\\"required\\\"?"], [Refused, Refused]);
    let open = CONTROL.trim_end_matches(']');
    order(open, "problem", &["never closed", "root"], [Refused, Refused]);
    let closed = CONTROL.trim_start_matches('[');
    order(closed, "problem", &["no [ before", "root"], [Refused, Refused]);
}

#[test]
fn a_wrong_type_and_what_comes_of_it() {
    let host = host();
    for kind in ["auth", "account", "password"] {
        let line = format!("{kind} {CONTROL} pam_cgsandbox.so");
        let words = ["sshd:4", "does nothing", "session line"];
        assert_order(&host, &line, "problem", &words, [Outside, Outside]);
    }
    let line = format!("sesion {CONTROL} pam_cgsandbox.so");
    let words = ["sshd:4", "no type", "did you mean \\\"session\\\"?"];
    assert_order(&host, &line, "problem", &words, [Outside, Outside]);
}

#[test]
fn a_wrong_name_of_the_module_and_what_comes_of_it() {
    let host = host();
    for module in ["pam_cgsandbox", "libpam_cgsandbox.so", "security/pam_cgsandbox.so"] {
        let line = format!("session {CONTROL} {module}");
        let words = ["sshd:4", module, "write pam_cgsandbox.so"];
        assert_order(&host, &line, "problem", &words, [Outside, Outside]);
    }
    let words = ["sshd:4", "not even root"];
    assert_order(&host, "session required pam_cgsandbox", "problem", &words, [Refused, Refused]);
    let words = ["sshd:4", "\"tiemout=2s\\\"", "refuses every login"];
    let line = format!("session {CONTROL} pam_cgsandbox.so tiemout=2s");
    assert_order(&host, &line, "problem", &words, [Refused, Outside]);
}

#[test]
fn a_wrong_place_and_what_comes_of_it() {
    let line = format!("session {CONTROL} pam_cgsandbox.so");
    let host = host();
    let before = format!("session sufficient pam_permit.so\n{line}");
    assert_order(&host, &before, "problem", &["sshd:4", "lead past"], [Outside, Outside]);
    host.write("/etc/pam.d/sshd", format!("{STACK}{line}\n"));
    host.sh("mv /etc/pam.d/sshd /etc/pam.d/ssh; grep -v cgsandbox /etc/pam.d/ssh >/etc/pam.d/sshd");
    let notes = findings(&host, "note").join("\n");
    let told = notes.contains("/etc/pam.d/ssh:4") && notes.contains("disable --service ssh");
    assert!(told, "{notes}");
    let problems = findings(&host, "problem").join("\n");
    assert!(problems.contains("enable --service sshd"), "{problems}");
    assert_eq!([login(&host, "alice"), login(&host, "root")], [Outside, Outside]);
    host.sh("sed -i 's/^session required.*//' /etc/pam.d/ssh; mv /etc/pam.d/ssh /etc/pam.d/sshd");
    let problems = findings(&host, "problem").join("\n");
    assert!(problems.contains("root would be refused"), "{problems}");
    assert_eq!([login(&host, "alice"), login(&host, "root")], [Sandboxed, Refused]);
}

#[test]
fn a_line_before_pam_namespace() {
    let line = "session required pam_namespace.so";
    assert_problem(&format!("echo {line} >>/etc/pam.d/sshd"), &["pam_namespace.so comes after"]);
}

#[test]
fn a_line_that_lets_a_login_without_its_sandbox_in() {
    let script = "sed -i 's/^session .*bad] pam_cgs/session optional pam_cgs/' /etc/pam.d/sshd";
    assert_problem(script, &["optional", "goes on"]);
}

#[test]
fn a_missing_module() {
    let remove =
        "rm /usr/lib*/security/pam_cgsandbox.so /usr/lib/*/security/pam_cgsandbox.so || true";
    assert_problem(remove, &["pam_cgsandbox.so is in no directory"]);
    let required = "sed -i 's/^session .*bad] pam_cgs/session required pam_cgs/' /etc/pam.d/sshd";
    assert_problem(&format!("{remove}; {required}"), &["not even root"]);
}

#[test]
fn a_module_that_others_may_write() {
    let script = "chmod g+w /usr/lib*/security/pam_cgsandbox.so /usr/lib/*/security/pam_cgsandbox.so || true";
    assert_problem(script, &["pam_cgsandbox.so can be written by others"]);
}

#[test]
fn a_helper_that_is_not_as_it_is_to_be() {
    assert_problem(&format!("rm {HELPER}"), &[HELPER, "No such file"]);
    assert_problem(&format!("chmod 4755 {HELPER}"), &[HELPER, "setuid"]);
    assert_problem(&format!("chmod 644 {HELPER}"), &[HELPER, "executed"]);
    assert_problem(&format!("chown 1234 {HELPER}"), &[HELPER, "uid 1234"]);
    assert_problem(&format!("echo garbage >{HELPER}"), &[HELPER, "does not start"]);
    assert_problem("chmod 777 /usr/libexec/cgsandbox", &["/usr/libexec/cgsandbox can be written"]);
}

#[test]
fn a_state_directory_that_others_may_enter() {
    assert_problem("mkdir -m 755 /run/cgsandbox", &["/run/cgsandbox", "0700"]);
}

#[test]
fn a_service_of_the_configuration_without_the_line() {
    let host = Host::build().user("alice");
    let policy = format!("services = [\"sshd\", \"login\", \"ftp\"]\n{POLICY}");
    let host = host.policy(&policy).start();
    let problems = findings(&host, "problem").join("\n");
    assert!(problems.contains("pam.d/login has no session line"), "{problems}");
    assert!(problems.contains("there is no /etc/pam.d/ftp"), "{problems}");
}

#[test]
fn sshd_with_pam_switched_off_in_an_included_file() {
    let script = "mkdir -p /etc/ssh/sshd_config.d; echo UsePAM no >/etc/ssh/sshd_config.d/1.conf
        sed -i '1i Include /etc/ssh/sshd_config.d/*.conf' /etc/ssh/sshd_config";
    assert_problem(script, &["UsePAM is no", "sshd -T"]);
    // Without a directory that it needs, sshd does not say; the files do.
    assert_problem(&format!("{script}; rmdir /run/sshd"), &["UsePAM is no", "sshd_config"]);
}

#[test]
fn a_host_whose_systemd_does_not_answer() {
    assert_problem("mkdir -p /run/systemd/system", &["back end systemd", "on_error"]);
}

#[test]
fn nobody_listening_to_the_log() {
    assert_problem("rm /dev/log", &["/dev/log"]);
}

#[test]
fn a_login_that_is_not_what_it_is_to_be() {
    let script = "sed -i '/tasks_max/a allowed_cpus = \"0\"\\nio_write_iops_max = [\"/nonexistent 50\"]' \
                  /etc/cgsandbox/cgsandbox.toml";
    assert_problem(script, &["alice through sshd", "io_write_iops_max", "cgsandbox explain alice"]);
}

#[test]
fn what_a_killed_monitor_left_is_told_until_it_is_collected() {
    let host = host();
    host.spawn_session("alice").kill_monitor();
    let uid = host.uid("alice").to_string();
    assert_note(&host, &[&uid, "its leader is gone", "cgsandbox gc"]);
    host.as_root(["cgsandbox", "gc"]).run().ok();
    assert!(doctor(&host, &[]).ok().contains("nothing left over"));
}

#[test]
fn a_cgroup_that_nobody_knows_of_is_told() {
    let host = host();
    let _bob = host.spawn_session("bob");
    let cgroup = host.users_cgroup("bob", "pids").with_file_name("user-99");
    for hierarchy in &host.hierarchies().0 {
        let root = hierarchy.mount.join(host.cgroup_root().trim_start_matches('/'));
        host.sh(&format!("mkdir -p {}/user-99", root.display()));
    }
    assert_note(&host, &["uid 99", "a cgroup without a session"]);
    assert!(host.exists(&cgroup), "it only looks");
    host.as_root(["cgsandbox", "gc"]).run().ok();
}

#[test]
fn a_session_that_is_open_is_no_leftover() {
    let host = host();
    let mut session = host.spawn_session("alice");
    session.sh("sleep 1000 >/dev/null 2>&1 & echo");
    assert!(doctor(&host, &[]).ok().contains("1 session, and nothing left over"));
    session.logout();
    assert!(doctor(&host, &[]).ok().contains("nothing left over"), "what stays is kept on purpose");
    host.sh("pkill -x sleep");
}

#[test]
fn lost_log_lines_are_told() {
    let host = host();
    host.ssh("alice").cmd("true").run().ok();
    host.wait_log(&["event=session_close"]);
    host.sh("printf ... >/run/cgsandbox/lost");
    assert_note(&host, &["3 lines were lost"]);
    assert_eq!(host.read("/run/cgsandbox/lost").unwrap(), "...", "it only looks");
}

#[test]
fn a_process_of_a_sandboxed_user_outside_is_told() {
    let host = host();
    let _session = host.spawn_session("alice");
    let uid = host.uid("alice");
    let outside = host
        .as_root(["setpriv", &format!("--reuid={uid}"), "--clear-groups", "sleep", "1000"])
        .start();
    cgsandbox_rig::eventually("it is told", 5.0, || {
        findings(&host, "note")
            .iter()
            .any(|note| note.contains("alice") && note.contains("(sleep)"))
    });
    outside.kill();
    assert!(!findings(&host, "note").iter().any(|note| note.contains("(sleep)")));
}

#[test]
fn what_the_module_goes_by_without_its_helper_is_told() {
    let host = host();
    host.set_policy(&format!("on_error = \"allow\"\n{POLICY}"));
    assert_note(&host, &["the module would deny", "\"allow\\\"", "cgsandbox gc"]);
    host.as_root(["cgsandbox", "gc"]).run().ok();
    let notes = findings(&host, "note");
    assert!(!notes.iter().any(|note| note.contains("would deny")), "{notes:?}");
}

#[test]
fn cgroups_that_are_only_for_reading() {
    let host = host();
    for hierarchy in &host.hierarchies().0 {
        host.sh(&format!("mount -o remount,bind,ro {}", hierarchy.mount.display()));
    }
    let problems = findings(&host, "problem").join("\n");
    assert!(
        problems.contains("no cgroups can be used") && problems.contains("tasks_max"),
        "{problems}"
    );
}

#[test]
fn a_setuid_program_that_leaves_the_users_view_is_told_of() {
    let host = host();
    let told = |host: &Host| findings(host, "note").iter().any(|note| note.contains("in a snap"));
    assert!(!told(&host));
    host.sh("mkdir -p /usr/lib/snapd && touch /usr/lib/snapd/snap-confine");
    assert_note(&host, &["/usr/lib/snapd/snap-confine", "sees all processes", "remove snapd"]);
}

#[test]
fn room_for_very_many_mounts_is_told_of() {
    let host = host();
    let most: u64 = host.read("/proc/sys/fs/mount-max").unwrap().trim().parse().unwrap();
    assert!(most > 10_000, "the machine has another limit than Linux's own: {most}");
    assert_note(&host, &[&format!("{most} mounts"), "sysctl fs.mount-max=10000"]);
}

#[test]
fn a_session_without_a_view_beside_others_that_have_one_is_told_of() {
    let host = Host::build().user("alice").policy("[profile.default]\nhidepid = \"off\"\n").start();
    let first = host.spawn_session("alice");
    let line = host.wait_log(&["event=session_open"]);
    let id = line.split(" session=").nth(1).unwrap().split(' ').next().unwrap();
    host.set_policy("[profile.default]\n");
    let second = host.spawn_session("alice");
    assert_note(&host, &[id, "sessions with the host's /proc beside others", "log out"]);
    first.logout();
    let notes = findings(&host, "note");
    assert!(!notes.iter().any(|note| note.contains("sessions with the host's /proc")), "{notes:?}");
    second.logout();
}
