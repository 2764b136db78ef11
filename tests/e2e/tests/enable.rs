//! `cgsandbox enable` and `disable`: PAM's files as an administrator has them, root's login
//! safe, and nothing ever half done.
#![allow(clippy::unwrap_used, clippy::panic)]

mod switching;

use cgsandbox_rig::Host;
use serde_json::Value;

use switching::{
    MODULE, POLICY, SSHD, assert_refused, cgsandbox, host, look, one_line, replace_module,
};

const LINE: &str =
    "session [success=ok ignore=ignore module_unknown=ignore default=bad] pam_cgsandbox.so";
const BACKUP: &str = "/var/lib/cgsandbox/pam.d/sshd";

/// Whether alice's login gets a sandbox now.
fn is_sandboxed(host: &Host) -> bool {
    host.ssh("alice").cmd("grep -c user- /proc/self/cgroup || true").run().ok() != "0"
}

#[test]
fn a_login_is_sandboxed_after_enable_and_not_after_disable() {
    let host = host();
    let before = look(&host);
    assert!(!is_sandboxed(&host));
    let said = cgsandbox(&host, "enable");
    assert!(said.ok().starts_with("sshd: enabled, by /etc/pam.d/sshd:4"), "{said:?}");
    assert!(said.stdout.contains("doctor"), "what comes next: {said:?}");
    assert!(said.stdout.lines().all(|line| line.chars().count() <= 80), "{said:?}");
    assert!(host.read(SSHD).unwrap().ends_with(&format!("\n{LINE}\n")));
    assert!(is_sandboxed(&host));
    assert_eq!(host.ssh("root").cmd("id -u").run().ok(), "0");
    let said = cgsandbox(&host, "disable");
    assert!(said.ok().starts_with("sshd: disabled"), "{said:?}");
    assert!(!is_sandboxed(&host));
    assert_eq!(look(&host), before);
}

#[test]
fn the_second_time_nothing_is_changed() {
    let host = host();
    cgsandbox(&host, "enable").ok();
    let (before, inode) = (look(&host), host.sh("stat -c '%i %Y %Z' /etc/pam.d/sshd"));
    let said = cgsandbox(&host, "enable --service sshd --service sshd");
    assert_eq!(said.ok().matches("sshd: enabled already").count(), 1, "{said:?}");
    assert_eq!((look(&host), host.sh("stat -c '%i %Y %Z' /etc/pam.d/sshd")), (before, inode));
    cgsandbox(&host, "disable").ok();
    let before = look(&host);
    let said = cgsandbox(&host, "disable --service sshd");
    assert!(said.ok().contains("disabled already"), "{said:?}");
    assert!(cgsandbox(&host, "disable").ok().contains("no service"), "{said:?}");
    assert_eq!(look(&host), before);
}

#[test]
fn json_tells_the_same() {
    let host = host();
    let told = |words: &str| -> (i32, Value) {
        let said = cgsandbox(&host, words);
        (said.status, serde_json::from_str(&said.stdout).unwrap())
    };
    let (status, report) = told("enable --json");
    assert_eq!((status, &report["ok"]), (0, &true.into()), "{report}");
    let sshd = &report["services"][0];
    assert_eq!((&sshd["service"], &sshd["enabled"]), (&"sshd".into(), &true.into()), "{report}");
    assert_eq!((&sshd["changed"], &sshd["backup"]), (&true.into(), &BACKUP.into()), "{report}");
    assert_eq!(sshd["line"], "/etc/pam.d/sshd:4", "{report}");
    let (status, report) = told("disable --json --service sshd --service nonsense");
    assert_eq!((status, &report["ok"]), (2, &false.into()), "{report}");
    assert_eq!(report["services"][0]["enabled"], false, "{report}");
    assert_eq!(report["failed"][0]["service"], "nonsense", "{report}");
}

/// After `script`, `enable` is refused.
#[track_caller]
fn assert_not_enabled(script: &str, told: &[&str]) {
    let host = host();
    host.sh(script);
    assert_refused(&host, "enable --service sshd", told);
}

#[test]
fn only_root_outside_of_a_sandbox_may() {
    let host = host();
    for command in ["enable", "disable"] {
        let said = host.ssh("alice").cmd(&format!("cgsandbox {command}")).run();
        assert_eq!(said.status, 2, "{said:?}");
        assert!(said.stderr.contains("only root may"), "{said:?}");
    }
}

#[test]
fn a_service_that_nobody_has_is_refused() {
    let host = host();
    let mistaken = ["did you mean \"sshd\"?"];
    assert_refused(&host, "enable --service ssh", &mistaken);
    assert_refused(&host, "disable --service sshdd", &mistaken);
    assert_refused(&host, "enable --service no-such-service", &["there is no such PAM service"]);
    for odd in ["../pam.d/sshd", "/etc/pam.d/sshd", ".", ".."] {
        assert_refused(
            &host,
            &format!("enable --service {odd}"),
            &["not a valid name of a PAM service"],
        );
    }
}

#[test]
fn every_other_byte_stays() {
    let host = host();
    for text in [
        "session required pam_permit.so",
        "session required pam_permit.so\n\n\n",
        "# \\\nsession \\\n\trequired pam_permit.so # caf\\351 \n#",
    ] {
        host.sh(&format!("printf '{text}' >/etc/pam.d/sshd; chmod 640 /etc/pam.d/sshd"));
        let before = look(&host);
        cgsandbox(&host, "enable").ok();
        host.sh(&format!("head -c $(stat -c %s {BACKUP}) {SSHD} | cmp - {BACKUP}"));
        assert!(is_sandboxed(&host), "libpam reads it so: {text}");
        cgsandbox(&host, "disable").ok();
        assert_eq!(look(&host), before, "{text}");
    }
}

#[test]
fn owner_mode_and_labels_stay() {
    let host = host();
    host.sh("chown 0:42 /etc/pam.d/sshd && chmod 2640 /etc/pam.d/sshd");
    let attributes = ["security.selinux", "trusted.cgsandbox"];
    host.inside(move || {
        for name in attributes {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(SSHD, name, b"system_u:object_r:etc_t:s0", flags).unwrap();
        }
    });
    let rights = |host: &Host| {
        let labels = host.inside(move || {
            attributes.map(|name| {
                let mut value = [0; 100];
                let length = rustix::fs::getxattr(SSHD, name, &mut value[..]).unwrap();
                String::from_utf8_lossy(&value[..length]).into_owned()
            })
        });
        (host.sh("stat -c '%u %g %a' /etc/pam.d/sshd"), labels)
    };
    let before = rights(&host);
    assert_eq!(before.0, "0 42 2640");
    cgsandbox(&host, "enable").ok();
    assert_eq!(rights(&host), before);
    cgsandbox(&host, "disable").ok();
    assert_eq!(rights(&host), before);
}

#[test]
fn a_line_that_is_there_in_another_way_is_left_alone() {
    let host = host();
    for line in [
        "session required pam_cgsandbox.so timeout=5s",
        "-SESSION [default=bad success=ok ignore=ignore] \\\n pam_cgsandbox.so # ours",
    ] {
        host.sh(&format!("sed -i /cgsandbox/d /etc/pam.d/sshd; echo '{line}' >>/etc/pam.d/sshd"));
        let before = look(&host);
        let said = cgsandbox(&host, "enable");
        assert!(said.ok().starts_with("sshd: enabled already, nothing was changed"), "{said:?}");
        assert!(said.stdout.contains("/etc/pam.d/sshd:4"), "{said:?}");
        assert_eq!(look(&host), before);
    }
    cgsandbox(&host, "disable").ok();
    host.write("/etc/pam.d/common-session", format!("session required pam_permit.so\n{LINE}\n"));
    host.sh("echo '@include common-session' >>/etc/pam.d/sshd");
    let before = look(&host);
    let said = cgsandbox(&host, "enable");
    assert!(said.ok().contains("/etc/pam.d/common-session:2"), "{said:?}");
    assert_eq!(look(&host), before);
    // What the service includes is not taken out for this one service.
    let said = cgsandbox(&host, "disable --service sshd");
    assert_eq!(said.status, 1, "{said:?}");
    assert!(said.stdout.starts_with("sshd: still enabled, by /etc/pam.d/common"), "{said:?}");
    assert!(said.stdout.contains("pam-auth-update --disable cgsandbox"), "{said:?}");
    assert_eq!(look(&host), before);
}

#[test]
fn what_would_keep_everybody_out_is_not_enabled() {
    let broken = "echo wrong >>/etc/cgsandbox/cgsandbox.toml";
    assert_not_enabled(broken, &["no configuration can be used", "cgsandbox check"]);
    let host = host();
    cgsandbox(&host, "enable").ok();
    host.ssh("alice").cmd("true").run().ok();
    host.sh(broken);
    // Logins go by the last that could be used.
    cgsandbox(&host, "disable").ok();
    cgsandbox(&host, "enable").ok();
    assert!(is_sandboxed(&host));
    host.sh("rm /run/cgsandbox/last-good");
    let said = cgsandbox(&host, "enable");
    assert_eq!(said.status, 1, "{said:?}");
    assert!(said.stdout.starts_with("sshd: enabled already"), "{said:?}");
    assert!(said.stdout.contains("no configuration can be used"), "{said:?}");
}

#[test]
fn what_pam_auth_update_manages_is_left_to_it() {
    let host = host();
    let managed = format!(
        "session required pam_permit.so\n# and here are more per-package modules\n{LINE}\n\
         # end of pam-auth-update config\n"
    );
    host.write("/etc/pam.d/common-session", managed);
    host.sh("rm -f /etc/pam.d/common-session-noninteractive");
    let told = ["pam-auth-update --disable cgsandbox"];
    assert_refused(&host, "disable", &told);
    assert_refused(&host, "disable --service common-session", &told);
}

#[test]
fn a_line_that_pam_would_not_find_is_no_line() {
    let broken = "sed -i '$a session optional pam_cgsandbox' /etc/pam.d/sshd";
    assert_not_enabled(broken, &["sshd:4", "finds no \"pam_cgsandbox\"", "cgsandbox disable"]);
}

#[test]
fn a_file_that_pam_cannot_read_is_not_touched() {
    let add = |line: &str| format!("printf '{line}' >>/etc/pam.d/sshd");
    assert_not_enabled(&add("session [success=ok pam_env.so\\n"), &["sshd:4", "never closed"]);
    assert_not_enabled(&add("session optinal pam_env.so\\n"), &["sshd:4", "\"optional\""]);
    assert_not_enabled(&add("@include nothing\\n"), &["sshd:4", "no nothing to include"]);
    assert_not_enabled(&add("session optional pam_env.so \\\\\\n"), &["ends in a backslash"]);
    assert_not_enabled("sed -i /session/d /etc/pam.d/sshd", &["no session lines", "pam_unix.so"]);
}

#[test]
fn links_and_other_things_than_files_are_refused() {
    let to = |make: &str| format!("mv /etc/pam.d/sshd /etc/pam.d/real; {make} /etc/pam.d/sshd");
    assert_not_enabled(&to("ln -s real"), &["is a symlink to real"]);
    assert_not_enabled(&to("ln -s /dev/null"), &["is a symlink to /dev/null"]);
    assert_not_enabled(&to("mkfifo"), &["not a regular file"]);
    assert_not_enabled(&to("mkdir"), &["not a regular file"]);
}

#[test]
fn a_module_that_is_missing_or_cannot_be_loaded_is_told() {
    let module = |script: &str| script.replace("MODULE", MODULE);
    assert_not_enabled(&module("rm MODULE"), &["in no directory of PAM modules", "install"]);
    let unloadable = ["libpam cannot load", "ldd "];
    assert_not_enabled(&module("for m in MODULE; do echo garbage >$m; done"), &unloadable);
    assert_not_enabled(
        "rm /usr/libexec/cgsandbox/cgsandbox-helper",
        &["cgsandbox-helper", "install"],
    );
}

#[test]
fn a_module_that_would_lock_root_out_is_not_enabled() {
    let host = host();
    replace_module(&host);
    let refused = |what: &str, told: &str| {
        host.write("/tmp/hostile", what);
        assert_refused(&host, "enable", &["root could not log in", told]);
    };
    refused("refuse", "pam_open_session: ");
    assert!(!host.syslog().iter().any(|line| line.contains(" exe: ")), "the log names us");
    refused("abort", "ended the program");
    refused("exit", "ended the program");
    // As if all was well.
    refused("Exit", "ended the program");
    refused("hang", "within 10 s");
    let on_trial = |one: &cgsandbox_rig::Process| one.command.contains("on-trial");
    assert!(!host.processes().iter().any(on_trial), "it is killed");
}

#[test]
fn a_service_that_the_configuration_is_not_for_is_told() {
    let host = host();
    host.sh("cp /etc/pam.d/sshd /etc/pam.d/ftp");
    let said = cgsandbox(&host, "enable --service ftp");
    let text = one_line(said.ok());
    assert!(text.contains("services in the configuration does not name ftp"), "{text}");
    let services = "services = [\"sshd\", \"systemd-user\", \"ftp\"]";
    assert!(text.contains(services), "{text}");
    host.set_policy(&format!("{services}\n{POLICY}"));
    let said = cgsandbox(&host, "enable --service ftp");
    assert!(!said.ok().contains("configuration"), "{said:?}");
    let said = cgsandbox(&host, "disable");
    assert!(said.ok().contains("ftp: disabled") && !said.stdout.contains("sshd"), "{said:?}");
}

#[test]
fn a_vendors_file_is_copied_and_the_copy_goes_again() {
    let host = host();
    let vendors = "/usr/lib/pam.d/systemd-user";
    host.write(vendors, "session required pam_permit.so\n");
    host.sh("mkdir -p /run/systemd/system; rm -f /etc/pam.d/systemd-user");
    let before = look(&host);
    let own = "/etc/pam.d/systemd-user";
    let said = cgsandbox(&host, "enable");
    let text = one_line(said.ok());
    assert!(text.contains("in a copy of /usr/lib/pam.d/systemd-user"), "{text}");
    assert!(said.stdout.lines().all(|line| line.chars().count() <= 80), "{said:?}");
    let copy = format!("session required pam_permit.so\n{LINE}\n");
    assert_eq!(host.read(own).unwrap(), copy);
    assert_eq!(host.sh(&format!("stat -c '%a %u %g' {own}")), "644 0 0");
    let said = cgsandbox(&host, "disable");
    let text = one_line(said.ok());
    assert!(
        text.contains("systemd-user: disabled, by /usr/lib/pam.d/systemd-user again"),
        "{text}"
    );
    assert_eq!(look(&host), before);

    // The vendor's next version is no change of the administrator's.
    cgsandbox(&host, "enable --service systemd-user");
    host.write(vendors, "session required pam_permit.so\n# new\n");
    cgsandbox(&host, "disable --service systemd-user").ok();
    assert!(!host.exists(own));
    // One of the administrator's is, and stays.
    cgsandbox(&host, "enable --service systemd-user");
    host.sh(&format!("sed -i '1i # mine' {own}"));
    let said = cgsandbox(&host, "disable --service systemd-user");
    assert!(said.ok().contains("other changes"), "{said:?}");
    let mine = "# mine\nsession required pam_permit.so\n# new\n";
    assert_eq!(host.read(own).unwrap(), mine);
    // From now on it is a file like any other.
    cgsandbox(&host, "enable --service systemd-user").ok();
    let said = cgsandbox(&host, "disable --service systemd-user");
    assert!(!said.ok().contains("other changes"), "{said:?}");
    assert_eq!(host.read(own).unwrap(), mine);
    assert!(!host.exists("/var/lib/cgsandbox"), "{}", look(&host));
}

#[test]
fn what_an_administrator_changes_meanwhile_stays() {
    let host = host();
    cgsandbox(&host, "enable").ok();
    let before = host.read(BACKUP).unwrap();
    host.sh("sed -i '1i # mine' /etc/pam.d/sshd");
    let said = cgsandbox(&host, "disable");
    assert!(said.ok().contains("other changes") && said.stdout.contains(BACKUP), "{said:?}");
    assert_eq!(host.read(SSHD).unwrap(), format!("# mine\n{before}"));
    assert_eq!(host.read(BACKUP).unwrap(), before);
    // Every line of ours goes, wherever and however it was written.
    host.sh("sed -i '1i auth optional pam_cgsandbox.so\\nsession required pam_cgsandbox.so' /etc/pam.d/sshd");
    cgsandbox(&host, "disable").ok();
    assert_eq!(host.read(SSHD).unwrap(), format!("# mine\n{before}"));
}

/// The script that Debian's package manager runs last, with what it calls replaced.
#[test]
fn an_installation_ends_with_the_next_step() {
    let host = host();
    host.write("/tmp/postinst", include_str!("../../../packaging/deb/libpam-cgsandbox.postinst"));
    host.sh("mkdir -p /tmp/stubs; ln -sfn /bin/true /tmp/stubs/pam-auth-update");
    let install = |version: &str| {
        let script = format!("PATH=/tmp/stubs:$PATH; sh /tmp/postinst configure {version}");
        host.sh(&script)
    };
    let next = "cgsandbox: no login is changed yet. The next step: cgsandbox enable";
    assert_eq!(install(""), next);
    // A line that is commented out calls nothing.
    host.sh(&format!("echo '# {LINE}' >>{SSHD}"));
    assert_eq!(install("''"), next);
    cgsandbox(&host, "enable").ok();
    assert!(install("").starts_with("cgsandbox: enabled already."));
    assert_eq!(install("0.0.9-1"), "", "an upgrade");
}
