use super::*;
use crate::doctor::Level;
use crate::pam_stack::tests::PamD;

const OTHERS: &str = "auth required pam_unix.so\nsession required pam_unix.so\n";

const HOST: Surroundings =
    Surroundings { module: true, systemd: false, selinux: true, profile: false, rlimits: true };

/// What is found in a stack of these lines, as (level, what), without what concerns others.
fn found(name: &str, lines: &str) -> Vec<(Level, String)> {
    found_with(name, &[("sshd", lines)], true)
}

fn found_with(name: &str, files: &[(&str, &str)], module: bool) -> Vec<(Level, String)> {
    found_on(name, files, &Surroundings { module, ..HOST })
}

fn found_on(name: &str, files: &[(&str, &str)], around: &Surroundings) -> Vec<(Level, String)> {
    let pam = PamD::with(&format!("doctor-{name}"), files);
    let findings = look(&pam.directories(), &["sshd".to_owned()], around);
    for finding in &findings {
        let is_mended = finding.level == Level::Ok || finding.remedy.is_some();
        assert!(is_mended, "no remedy: {finding:?}");
    }
    findings.into_iter().map(|finding| (finding.level, finding.what)).collect()
}

#[track_caller]
fn assert_found(found: &[(Level, String)], level: Level, words: &str) {
    assert!(found.iter().any(|(of, what)| *of == level && what.contains(words)), "{found:?}");
}

#[test]
fn the_line_as_it_ships_last_in_the_stack_is_fine() {
    let found = found("fine", &format!("{OTHERS}session required pam_namespace.so\n{LINE}\n"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_found(&found, Level::Ok, "sshd:4 has the line");
}

#[test]
fn a_line_in_an_included_file_is_found() {
    let common = format!("session required pam_unix.so\n{LINE} timeout=2s config=/etc/x debug\n");
    let files = [("sshd", "session required pam_env.so\n@include common\n"), ("common", &common)];
    assert_found(&found_with("included", &files, true), Level::Ok, "common:2 has the line");
}

#[test]
fn no_file_no_line_and_two_lines_are_problems() {
    assert_found(&found_with("none", &[], true), Level::Problem, "there is no");
    assert_found(&found("missing", OTHERS), Level::Problem, "has no session line");
    let twice = found("twice", &format!("{OTHERS}{LINE}\n{LINE}\n"));
    assert_found(&twice, Level::Problem, "there twice");
}

#[test]
fn once_in_the_file_and_once_through_what_it_includes_is_twice() {
    let common = format!("session required pam_unix.so\n{LINE}\n");
    let sshd = format!("@include common-session\nsession required pam_permit.so\n{LINE}\n");
    let files = [("sshd", sshd.as_str()), ("common-session", common.as_str())];
    let found = found_with("twice-included", &files, true);
    assert_found(&found, Level::Problem, "there twice");
    assert_found(&found, Level::Problem, "common-session:2 and ");
    assert_found(&found, Level::Problem, "sshd:3: the second one refuses");
}

#[test]
fn another_type_than_session_is_told() {
    for kind in ["auth", "account", "password"] {
        let stray = format!("{kind} optional {MODULE}\n");
        let name = format!("stray-{kind}");
        let words = format!("sshd:3: for {kind} the module does nothing");
        let both = found(&name, &format!("{OTHERS}{stray}{LINE}\n"));
        assert_found(&both, Level::Note, &words);
        let alone = found(&name, &format!("{OTHERS}{stray}"));
        assert_found(&alone, Level::Problem, &words);
        assert_eq!(alone.len(), 1, "said once: {alone:?}");
    }
    let typo = found("type", &format!("{OTHERS}sesion {}\n", &LINE["session ".len()..]));
    assert_found(&typo, Level::Problem, "sshd:3: \"sesion\" is no type");
    assert_eq!(typo.len(), 1, "said once: {typo:?}");
}

#[test]
fn a_control_that_pam_does_not_understand_is_told() {
    let controls = [
        ("[success=ok ignore=ignore module_unknown=ignore default=bad", "the [ is never closed"),
        ("success=ok ignore=ignore module_unknown=ignore default=bad]", "no [ before"),
        ("[sucess=ok default=bad]", "every outcome of the module for a failure"),
        ("[success=okay default=bad]", "every outcome of the module for a failure"),
        ("[success=ok ignore default=bad]", "every outcome of the module for a failure"),
        ("[success=ok default=]", "every outcome of the module for a failure"),
        ("requird", "every outcome of the module for a failure"),
    ];
    for (number, (control, words)) in controls.into_iter().enumerate() {
        let name = format!("control-{number}");
        let found = found(&name, &format!("{OTHERS}session {control} {MODULE}\n"));
        assert_found(&found, Level::Problem, words);
        assert_found(&found, Level::Problem, "sshd:3: ");
        assert_eq!(found.len(), 1, "said once: {found:?}");
    }
}

#[test]
fn a_name_by_which_pam_finds_no_module_is_told() {
    for (number, module) in
        ["pam_cgsandbox", "libpam_cgsandbox.so", "pam-cgsandbox.so", "security/pam_cgsandbox.so"]
            .iter()
            .enumerate()
    {
        let name = format!("module-{number}");
        let line = LINE.replace(MODULE, module);
        let found = found(&name, &format!("{OTHERS}{line}\n"));
        assert_found(&found, Level::Problem, &format!("sshd:3: \"{module}\""));
        assert_found(&found, Level::Problem, "nobody gets a sandbox");
        assert_eq!(found.len(), 1, "said once: {found:?}");
    }
    let refusing = found("module-required", &format!("{OTHERS}session required pam_cgsandbox\n"));
    assert_found(&refusing, Level::Problem, "not even root");
}

#[test]
fn a_file_that_sshd_does_not_read_is_told() {
    let with = format!("{OTHERS}{LINE}\n");
    for (name, words) in [("ssh", "for ssh:"), ("SSHD", "lower case")] {
        let files = [("sshd", OTHERS), (name, with.as_str())];
        let found = found_with(&format!("file-{name}"), &files, true);
        assert_found(&found, Level::Note, words);
        assert_found(&found, Level::Note, &format!("{name}:3: "));
        assert_found(&found, Level::Problem, "sshd has no session line");
    }
}

#[test]
fn before_pam_systemd_only_a_sessions_own_limits_are_lost() {
    let lines = format!("{OTHERS}{LINE}\nsession optional pam_systemd.so\n");
    let files = [("sshd", lines.as_str())];
    let with = found_on("systemd", &files, &Surroundings { systemd: true, ..HOST });
    assert_found(&with, Level::Note, "loses its session_ limits");
    assert_eq!(with.len(), 1, "{with:?}");
    let without = found_on("no-systemd", &files, &HOST);
    assert_found(&without, Level::Note, "not the last session line");
    let after = format!("{OTHERS}session optional pam_systemd.so\n{LINE}\n");
    let after =
        found_on("after", &[("sshd", after.as_str())], &Surroundings { systemd: true, ..HOST });
    assert_found(&after, Level::Ok, "has the line");
}

#[test]
fn without_selinux_its_module_spoils_nothing() {
    let lines = format!("{OTHERS}{LINE}\nsession required pam_selinux.so open\n");
    let files = [("sshd", lines.as_str())];
    let without = found_on("no-selinux", &files, &Surroundings { selinux: false, ..HOST });
    assert_found(&without, Level::Note, "not the last session line");
}

#[test]
fn pam_limits_after_the_line_spoils_limits_only() {
    let common = format!("session required pam_unix.so\n{LINE}\n");
    let lines = "@include common-session\nsession required pam_limits.so\n";
    let files = [("sshd", lines), ("common-session", common.as_str())];
    let with = found_on("limits", &files, &HOST);
    assert_found(&with, Level::Problem, "sshd:2: pam_limits.so comes after");
    let without = found_on("no-limits", &files, &Surroundings { rlimits: false, ..HOST });
    assert_found(&without, Level::Note, "not the last session line");
}

#[test]
fn the_profile_of_pam_auth_update_is_told() {
    let common = format!("session required pam_unix.so\n{LINE}\n");
    let sshd = "@include common-session\n";
    let profile = |name: &str, common: &str, profile: bool| {
        let files = [("sshd", sshd), ("cron", sshd), ("su", sshd), ("common-session", common)];
        found_on(&format!("profile-{name}"), &files, &Surroundings { profile, ..HOST })
    };
    let on = profile("on", &common, true);
    assert_found(&on, Level::Ok, "profile has the line in ");
    assert_found(&on, Level::Note, "common-session:2: the line does nothing for cron, su:");
    let off = profile("off", "session required pam_unix.so\n", true);
    assert_found(&off, Level::Ok, "is not switched on");
    assert_found(&profile("gone", &common, false), Level::Note, "no profile of pam-auth-update");
}

#[test]
fn a_control_that_lets_in_or_locks_out_is_told() {
    let with = |name: &str, control: &str, module: bool| {
        let lines = format!("{OTHERS}session {control} {MODULE}\n");
        found_with(name, &[("sshd", &lines)], module)
    };
    let problem = |name: &str, control: &str, words: &str| {
        assert_found(&with(name, control, true), Level::Problem, words);
    };
    problem("optional", "optional", "goes on");
    problem("sufficient", "sufficient", "goes on");
    problem("lenient", "[success=ok default=ignore]", "goes on");
    problem("refusing", "[success=ok default=bad]", "refuses root");
    assert_found(&with("required", "required", true), Level::Note, "if the package is removed");
    assert_found(&with("locked", "required", false), Level::Problem, "not even root");
    let gone = found_with("gone", &[("sshd", &format!("{OTHERS}{LINE}\n"))], false);
    assert_found(&gone, Level::Ok, "has the line");
}

#[test]
fn what_comes_after_the_line_is_told_as_bad_as_it_is() {
    let after = |name: &str, line: &str| found(name, &format!("{OTHERS}{LINE}\n{line}\n"));
    let namespace = after("namespace", "session required pam_namespace.so");
    assert_found(&namespace, Level::Problem, "pam_namespace.so comes after");
    for module in ["pam_mount.so", "pam_zfs_key.so", "pam_ecryptfs.so"] {
        let volume = after("volume", &format!("session optional {module}"));
        assert_found(&volume, Level::Problem, "cannot unmount there at logout");
    }
    let open = after("selinux", "session required pam_selinux.so open");
    assert_found(&open, Level::Problem, "pam_selinux.so comes after");
    let close = after("close", "session required pam_selinux.so close");
    assert_found(&close, Level::Note, "not the last session line");
    assert_found(
        &after("motd", "session optional pam_motd.so"),
        Level::Note,
        "pam_motd.so follows",
    );
    assert_found(&after("auth", "auth required pam_unix.so"), Level::Ok, "has the line");
}

#[test]
fn ways_past_the_line_are_told() {
    let before = |name: &str, line: &str| found(name, &format!("{line}\n{OTHERS}{LINE}\n"));
    let jump = "session [success=2 default=ignore] pam_succeed_if.so uid < 2000";
    assert_found(&before("jump", jump), Level::Problem, "can lead past");
    let short = "session [success=1 default=ignore] pam_succeed_if.so uid < 2000";
    assert_found(&before("short", short), Level::Ok, "has the line");
    let done = "session sufficient pam_succeed_if.so uid < 2000";
    assert_found(&before("done", done), Level::Problem, "can lead past");
    let lines = format!("session substack sub\n{OTHERS}{LINE}\n");
    let files = [("sshd", lines.as_str()), ("sub", "session sufficient pam_permit.so\n")];
    assert_found(&found_with("substack", &files, true), Level::Ok, "has the line");
}

#[test]
fn a_word_that_the_module_does_not_know_is_told() {
    for (number, word) in
        ["confg=/x", "config=x", "timeout=1", "timeout=0s", "timeout=601s", "Debug"]
            .iter()
            .enumerate()
    {
        let name = format!("word-{number}");
        let found = found(&name, &format!("{OTHERS}{LINE} {word}\n"));
        assert_found(&found, Level::Problem, word);
    }
}

#[test]
fn alone_the_line_would_refuse_root() {
    assert_found(&found("alone", &format!("{LINE}\n")), Level::Problem, "root would be refused");
}

#[test]
fn services_outside_of_the_configuration_are_told() {
    let with = format!("{OTHERS}{LINE}\n");
    let files = [("sshd", with.as_str()), ("cron", OTHERS), ("vsftpd", &with), ("passwd", OTHERS)];
    let found = found_with("others", &files, true);
    assert_found(&found, Level::Note, "vsftpd:3: the line does nothing for vsftpd:");
    assert_found(&found, Level::Note, "through cron");
    assert!(!found.iter().any(|(_, what)| what.contains("passwd")), "{found:?}");
}

/// As Debian 13 and RHEL 9 ship their session stacks, in short.
#[test]
fn the_line_at_the_end_of_what_distributions_ship_is_fine() {
    let debian = "@include common-auth
session [success=ok ignore=ignore module_unknown=ignore default=bad]        pam_selinux.so close
session    required     pam_loginuid.so
@include common-session
session    optional     pam_motd.so noupdate
session    required     pam_env.so user_readenv=1 envfile=/etc/default/locale
session [success=ok ignore=ignore module_unknown=ignore default=bad]        pam_selinux.so open
@include common-password
";
    let common = "session [default=1]   pam_permit.so
session requisite     pam_deny.so
session required      pam_permit.so
session required      pam_unix.so
session optional      pam_systemd.so
";
    let sshd = format!("{debian}{LINE}\n");
    let nothing = "auth required pam_unix.so\n";
    let files = [
        ("sshd", sshd.as_str()),
        ("common-session", common),
        ("common-auth", nothing),
        ("common-password", nothing),
    ];
    let found = found_with("debian", &files, true);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_found(&found, Level::Ok, "has the line");

    let redhat = "auth       substack     password-auth
session    required     pam_selinux.so close
session    required     pam_selinux.so open env_params
session    required     pam_namespace.so
session    include      password-auth
session    include      postlogin
";
    let password_auth = "session     optional      pam_keyinit.so revoke
-session     optional      pam_systemd.so
session     [success=1 default=ignore] pam_succeed_if.so service in crond quiet use_uid
session     required      pam_unix.so
";
    let postlogin = "session     [success=1 default=ignore] pam_succeed_if.so service !~ gdm* quiet
session     [default=1]   pam_lastlog.so nowtmp showfailed
session     optional      pam_lastlog.so silent noupdate showfailed
";
    let sshd = format!("{redhat}{LINE}\n");
    let files =
        [("sshd", sshd.as_str()), ("password-auth", password_auth), ("postlogin", postlogin)];
    let found = found_with("redhat", &files, true);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_found(&found, Level::Ok, "has the line");
}

#[test]
fn the_line_that_is_proposed_is_the_one_that_ships() {
    let ships = include_str!("../../../../config/pam.d/sshd-line");
    assert_eq!(ships.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>(), [LINE]);
}
