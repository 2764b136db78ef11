//! `cgsandbox check` as an administrator and a script see it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const GOOD: &str = "version = 1\n[profile.p]\n[[rule]]\nmatch = \"*\"\nprofile = \"p\"\n";
const BAD: &str = "version = 1\nexmpt = \"a\"\n[profile.p]\nmemory_max = 2\n";

/// A configuration file in a directory of its own.
struct Draft(PathBuf);

impl Draft {
    fn of(name: &str, text: &str) -> Self {
        let dir =
            std::env::temp_dir().join(format!("cgsandbox-check-{}-{name}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let draft = Draft(dir);
        fs::write(draft.path(), text).unwrap();
        fs::set_permissions(draft.path(), fs::Permissions::from_mode(0o644)).unwrap();
        draft
    }

    fn path(&self) -> PathBuf {
        self.0.join("cgsandbox.toml")
    }

    fn check(&self) -> Command {
        let mut command = check();
        command.arg(self.path());
        command
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn check() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cgsandbox"));
    command.arg("check").env_clear().stdin(Stdio::null());
    command
}

fn told(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn json(command: &mut Command) -> (Option<i32>, Value) {
    let (status, stdout, stderr) = told(command.arg("--json"));
    assert_eq!(stderr, "");
    (status, serde_json::from_str(&stdout).unwrap())
}

#[test]
fn a_good_file_is_fine() {
    let draft = Draft::of("good", GOOD);
    let path = draft.path().to_string_lossy().into_owned();
    let ok = format!("ok: 1 profile, 1 rule, 0 warnings in {path}\n");
    assert_eq!(told(&mut draft.check()), (Some(0), ok, String::new()));
    let (status, report) = json(&mut draft.check());
    assert_eq!(status, Some(0));
    let expected = serde_json::json!({"ok": true, "errors": [], "warnings": [], "files": [path]});
    assert_eq!(report, expected);
}

#[test]
fn mistakes_are_told_with_place_caret_and_remedy() {
    let draft = Draft::of("bad", BAD);
    let path = draft.path().to_string_lossy().into_owned();
    let (status, stdout, stderr) = told(&mut draft.check());
    assert_eq!((status, stdout.as_str()), (Some(1), ""));
    let expected = format!(
        "\
error: unknown key \"exmpt\"
 --> {path}:2:1
  |
2 | exmpt = \"a\"
  | ^^^^^
  = help: did you mean exempt?

error: 2 of what? The unit is missing
 --> {path}:4:14
  |
4 | memory_max = 2
  |              ^
  = help: did you mean \"2M\" or \"2G\"? Bytes are \"2B\"

2 errors, 0 warnings
"
    );
    assert_eq!(stderr, expected);
    let (status, report) = json(&mut draft.check());
    assert_eq!((status, &report["ok"]), (Some(1), &Value::Bool(false)));
    let first = serde_json::json!({
        "file": path, "line": 2, "column": 1,
        "message": "unknown key \"exmpt\"", "help": "did you mean exempt?",
    });
    assert_eq!(report["errors"][0], first);
    assert_eq!(report["errors"].as_array().unwrap().len(), 2);
}

#[test]
fn thousands_of_drop_ins_are_not_all_named() {
    let draft = Draft::of("many", GOOD);
    let directory = draft.0.join("cgsandbox.toml.d");
    fs::create_dir(&directory).unwrap();
    for at in 0..300 {
        fs::write(directory.join(format!("{at:04}.toml")), "# nothing\n").unwrap();
    }
    let (status, stdout, stderr) = told(&mut draft.check());
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert!(stdout.len() < 1000 && stdout.ends_with("0006.toml and 293 more\n"), "{stdout}");

    // A mistake in each of them fills no terminal either.
    for at in 0..300 {
        fs::write(directory.join(format!("{at:04}.toml")), "wrong\n").unwrap();
    }
    let (status, _, stderr) = told(&mut draft.check());
    assert_eq!(status, Some(1));
    assert!(stderr.ends_with("and 250 more; --json has them all\n\n300 errors, 0 warnings\n"));
}

#[test]
fn a_file_with_rules_for_nine_thousand_users_is_fine() {
    let user = |at: usize| {
        format!(
            "[profile.u{at}]\nmemory_max = \"2G\"\ntasks_max = 200\ncpu_quota = \"150%\"\n\
             [[rule]]\nmatch = \"{}\"\nprofile = \"u{at}\"\n",
            100_000 + at
        )
    };
    let draft = Draft::of("9000", &(GOOD.to_owned() + &(0..9000).map(user).collect::<String>()));
    let (status, stdout, stderr) = told(&mut draft.check());
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert!(stdout.starts_with("ok: 9001 profiles, 9001 rules, 0 warnings"), "{stdout}");
}

#[test]
fn warnings_do_not_fail() {
    let draft = Draft::of("warned", &format!("{GOOD}[profile.unused]\n"));
    fs::set_permissions(draft.path(), fs::Permissions::from_mode(0o666)).unwrap();
    let (status, stdout, stderr) = told(&mut draft.check());
    assert_eq!(status, Some(0));
    assert!(stdout.contains("2 warnings"), "{stdout}");
    assert!(stderr.contains("warning: others can write it (mode 0666)"), "{stderr}");
    assert!(stderr.contains("warning: no rule leads to profile \"unused\""), "{stderr}");
    let (status, report) = json(&mut draft.check());
    assert_eq!((status, report["warnings"].as_array().unwrap().len()), (Some(0), 2));
}

#[test]
fn users_and_groups_are_looked_up() {
    let names = "[\"*\", \"!no-such-user-x\", \"@no-such-group-x\", \"!root\", \"!0:0\"]";
    let draft = Draft::of("names", &GOOD.replace("\"*\"", names));
    let (status, _, stderr) = told(&mut draft.check());
    assert_eq!(status, Some(0));
    assert!(stderr.contains("no user \"no-such-user-x\""), "{stderr}");
    assert!(stderr.contains("no group \"no-such-group-x\""), "{stderr}");
}

#[test]
fn what_cannot_be_done_is_told_apart_from_mistakes() {
    let (status, stdout, stderr) = told(check().arg("/nonexistent/x.toml"));
    assert_eq!((status, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("cannot open it: No such file"), "{stderr}");
    let (status, report) = json(check().arg("/nonexistent/x.toml"));
    assert_eq!((status, report["ok"].as_bool()), (Some(2), Some(false)));
    assert_eq!(told(check().arg("--nonsense")).0, Some(2));
    assert_eq!(told(check().arg("/dev/null")).0, Some(1), "a device is no configuration");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let draft = Draft::of("pipe", GOOD);
    let mut child = draft.check().stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_pipe_gets_no_colours() {
    let draft = Draft::of("colours", BAD);
    let (_, _, stderr) = told(draft.check().env("TERM", "xterm-256color"));
    assert!(!stderr.contains('\x1b'));
    // script(1) gives it a terminal.
    let coloured = |no_color: &str| {
        let line = format!("{} check {}", env!("CARGO_BIN_EXE_cgsandbox"), draft.path().display());
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env("NO_COLOR", no_color).env("TERM", "xterm");
        told(script.stdin(Stdio::null())).1
    };
    assert!(coloured("").contains("\x1b[1;31merror"));
    assert!(!coloured("1").contains('\x1b'));
}

#[test]
fn the_help_tells_the_exit_status() {
    let (status, stdout, _) = told(check().arg("--help"));
    assert_eq!(status, Some(0));
    assert!(stdout.contains("Look for mistakes in the configuration"));
    let (_, stdout, _) = told(Command::new(env!("CARGO_BIN_EXE_cgsandbox")).arg("--help"));
    for line in ["0  all is well", "1  something is not", "2  the command itself"] {
        assert!(stdout.contains(line), "{stdout}");
    }
}
