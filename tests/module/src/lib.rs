//! Runs `pam_cgsandbox.so` under the real libpam, in a process of its own, against a scripted
//! helper. Needs no privileges but, where there is no root, user namespaces.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

pub use cgsandbox_protocol::Login;

/// Linux-PAM's return codes, from `security/_pam_types.h`.
pub const PAM_SUCCESS: i32 = 0;
/// See [`PAM_SUCCESS`].
pub const PAM_SESSION_ERR: i32 = 14;
/// What the hosts of these tests return for PAM_IGNORE: libpam hides that code, so the next line
/// of their stack makes a PAM_AUTHINFO_UNAVAIL of it.
pub const PAM_IGNORE: i32 = 9;

/// A user that the hosts of these tests know, uid 1001.
pub const ALICE: &str = "alice";

const PASSWD: &str = "root:x:0:0::/root:/bin/sh
toor:x:0:0::/root:/bin/sh
alice:x:1001:1001::/:/bin/sh
alice2:x:1001:1001::/:/bin/sh
nobody:x:65534:65534::/:/bin/sh
";

/// How the module is built. Both must behave the same: a binding of PAM's has once turned an
/// error into success in release builds only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// `cargo build`
    Debug,
    /// `cargo build --release`
    Release,
}

/// Runs a test against both builds of the module.
pub fn in_both_builds(test: impl Fn(Build)) {
    test(Build::Debug);
    test(Build::Release);
}

/// The module, built as it ships. Built once a test program.
pub fn module(build: Build) -> &'static Path {
    static MODULES: [OnceLock<PathBuf>; 2] = [OnceLock::new(), OnceLock::new()];
    let (profile, flag) = match build {
        Build::Debug => ("debug", None),
        Build::Release => ("release", Some("--release")),
    };
    MODULES[build as usize].get_or_init(|| {
        let target = program("fake-helper").parent().unwrap().parent().unwrap().to_owned();
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "pam_cgsandbox", "--target-dir"])
            .arg(&target)
            .args(flag)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(status.success(), "the module does not build");
        target.join(profile).join("libpam_cgsandbox.so")
    })
}

/// A program of this crate. Cargo puts it beside the directory of the test programs.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join(name)
}

fn option(key: &str, value: &Path) -> OsString {
    let mut option = OsString::from(key);
    option.push(value);
    option
}

/// A host on which one user logs in.
pub struct Host {
    directory: PathBuf,
    build: Build,
    user: OsString,
    arguments: String,
    options: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    stderr_allowed: bool,
    log: UnixDatagram,
}

impl Host {
    /// A host without privileges, where alice logs in and the helper plays `script` on open.
    pub fn new(build: Build, script: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("cgsandbox-module-{}-{count}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        for sub in ["", "dev", "run", "run/cgsandbox", "pam.d", "view"] {
            let path = directory.join(sub);
            std::fs::create_dir(&path).unwrap();
            let mode = std::fs::Permissions::from_mode(0o777);
            std::fs::set_permissions(&path, mode).unwrap();
        }
        std::fs::write(directory.join("passwd"), PASSWD).unwrap();
        std::fs::write(directory.join("nsswitch.conf"), "passwd: files\n").unwrap();
        // Places for pam-host to mount on.
        for file in ["module.so", "helper", "dev/null"] {
            std::fs::write(directory.join(file), "").unwrap();
        }
        let log = UnixDatagram::bind(directory.join("dev/log")).unwrap();
        log.set_nonblocking(true).unwrap();
        let writable = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(directory.join("dev/log"), writable).unwrap();
        let helper = directory.join("helper");
        let host = Host {
            arguments: format!("helper={} timeout=5s", helper.display()),
            directory,
            build,
            user: ALICE.into(),
            options: vec!["as=nobody".into(), option("module=", module(build))],
            environment: vec![],
            stderr_allowed: false,
            log,
        };
        host.on("open", script).on("close", "closed")
    }

    /// What the helper plays on `verb`, open or close.
    pub fn on(self, verb: &str, script: &str) -> Self {
        std::fs::write(self.directory.join(format!("{verb}.script")), script).unwrap();
        self
    }

    /// The name that logs in.
    pub fn user(mut self, user: impl AsRef<OsStr>) -> Self {
        self.user = user.as_ref().to_owned();
        self
    }

    /// Root, as sshd is; of a user namespace where the test is not root.
    pub fn as_root(mut self) -> Self {
        self.options.retain(|option| option != "as=nobody");
        self
    }

    /// An option of pam-host's.
    pub fn option(mut self, option: impl AsRef<OsStr>) -> Self {
        self.options.push(option.as_ref().to_owned());
        self
    }

    /// A variable of the host's environment.
    pub fn environment(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.into(), value.into()));
        self
    }

    /// Where the environment makes the host's own dynamic linker complain.
    pub fn allow_stderr(mut self) -> Self {
        self.stderr_allowed = true;
        self
    }

    /// Another argument of the module's; of two that name the same, the later one counts.
    pub fn argument(mut self, argument: &str) -> Self {
        write!(self.arguments, " {argument}").unwrap();
        self
    }

    /// What the helper left in `/run/cgsandbox/on_error`.
    pub fn on_error(self, target: &str) -> Self {
        symlink(target, self.directory.join("run/cgsandbox/on_error")).unwrap();
        self
    }

    /// Where this host's files are; the helper is `helper` in it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes an empty file that any process of this host may write.
    pub fn writable_file(&self, name: &str) {
        let path = self.directory.join(name);
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
    }

    /// What `/dev/log` of this host leads to.
    pub fn log(&self) -> &UnixDatagram {
        &self.log
    }

    /// Takes `steps`, of open, close, again (end the handle, start another) and others.
    pub fn run(&self, steps: &[&str]) -> Report {
        let mut stack = String::new();
        for kind in ["auth", "account", "password", "session"] {
            let (directory, arguments) = (self.directory.display(), &self.arguments);
            let control = "[success=done ignore=ignore default=die]";
            writeln!(stack, "{kind} {control} {directory}/module.so {arguments}").unwrap();
            // What this returns stands for PAM_IGNORE.
            let calls = "auth cred acct prechauthtok chauthtok open_session close_session";
            let calls = calls.split(' ').map(|call| format!(" {call}=authinfo_unavail"));
            writeln!(stack, "{kind} required pam_debug.so{}", calls.collect::<String>()).unwrap();
        }
        // libpam logs it when there is no `other`.
        for service in ["svc", "sshd", "other"] {
            std::fs::write(self.directory.join("pam.d").join(service), &stack).unwrap();
        }
        let output = Command::new(program("pam-host"))
            .arg(&self.directory)
            .arg(&self.user)
            .args(&self.options)
            .arg("--")
            .args(steps)
            .env_clear()
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?}: pam-host: {} {errors}", self.build, output.status);
        let clean = errors.is_empty() || self.stderr_allowed;
        assert!(clean, "nothing may be written to the host's stderr: {errors}");
        assert!(output.stdout.is_empty(), "nothing may be written to the host's stdout");
        let read = |name: &str| std::fs::read_to_string(self.directory.join(name)).ok();
        Report::new(
            &read("report").unwrap(),
            read("open.seen").unwrap_or_default(),
            read("close.seen").unwrap_or_default(),
            self.take_log(),
        )
    }

    fn take_log(&self) -> Vec<String> {
        let mut lines = vec![];
        let mut buffer = [0; 8192];
        while let Ok(length) = self.log.recv(&mut buffer) {
            lines.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        lines
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// One step of a host's, as it saw it.
#[derive(Debug)]
pub struct Step {
    /// What PAM returned.
    pub code: i32,
    /// How long that took.
    pub ms: u64,
    /// Whose view the host had after it: `host` or `user`.
    pub view: String,
    /// What the user was shown: the PAM message style, then the text.
    pub messages: Vec<String>,
    /// What of the host was other than before the first step.
    pub changed: Vec<String>,
}

/// The quickest of three runs, for assertions on time: other work on the machine may delay one.
pub fn quickest(run: impl Fn() -> Report) -> Report {
    let slowest_step = |report: &Report| report.steps.iter().map(|step| step.ms).max();
    (0..3).map(|_| run()).min_by_key(slowest_step).unwrap()
}

/// What came of a host's steps.
#[derive(Debug)]
pub struct Report {
    /// In their order.
    pub steps: Vec<Step>,
    /// What of the host was other than before the first step, after `pam_end`.
    pub left: Vec<String>,
    /// What the helper found on open, each time.
    pub open_seen: String,
    /// And on close.
    pub close_seen: String,
    /// What arrived at `/dev/log`.
    pub log: Vec<String>,
}

impl Report {
    fn new(text: &str, open_seen: String, close_seen: String, log: Vec<String>) -> Self {
        let mut report = Report { steps: vec![], left: vec![], open_seen, close_seen, log };
        for line in text.lines() {
            let (kind, rest) = line.split_once(' ').unwrap();
            match kind {
                "step" => {
                    let words: Vec<&str> = rest.split(' ').collect();
                    report.steps.push(Step {
                        code: words[2].parse().unwrap(),
                        ms: words[4].parse().unwrap(),
                        view: words[6].to_owned(),
                        messages: vec![],
                        changed: vec![],
                    });
                }
                // pam_debug's, which stands for PAM_IGNORE.
                "message" if rest.ends_with("=authinfo_unavail") => {}
                "message" => report.steps.last_mut().unwrap().messages.push(rest.to_owned()),
                "changed" => report.steps.last_mut().unwrap().changed.push(rest.to_owned()),
                "left" => report.left.push(rest.to_owned()),
                _ => panic!("pam-host reports {line:?}"),
            }
        }
        report
    }

    /// What PAM returned, step by step.
    pub fn codes(&self) -> Vec<i32> {
        self.steps.iter().map(|step| step.code).collect()
    }

    /// The names that the module gave its opens, and those that it closed.
    pub fn tickets(&self) -> (Vec<&str>, Vec<&str>) {
        fn tickets(seen: &str) -> Vec<&str> {
            let after = seen.split("ticket: ").skip(1);
            after.map(|text| text.split([',', ' ']).next().unwrap()).collect()
        }
        (tickets(&self.open_seen), tickets(&self.close_seen))
    }

    /// Asserts that each step and the end left the host as it was.
    #[track_caller]
    pub fn assert_host_unchanged(&self) {
        for step in &self.steps {
            assert!(step.changed.is_empty(), "{:#?}", step.changed);
        }
        assert!(self.left.is_empty(), "{:#?}", self.left);
    }

    /// The one line in the log, which must hold all of `parts`.
    #[track_caller]
    pub fn assert_one_line(&self, parts: &[&str]) {
        assert_eq!(self.log.len(), 1, "{:#?}", self.log);
        for part in parts {
            assert!(self.log[0].contains(part), "no {part:?} in {:?}", self.log[0]);
        }
    }
}
