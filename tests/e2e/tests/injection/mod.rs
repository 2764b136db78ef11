//! A host on which one system call of the helper or of the module fails, and what came of it.

mod look;
pub mod table;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use cgsandbox_rig::{Host, Output, Session, patience};
use look::{is_unified, script};
pub use table::Call;

const HELPER: &str = "/usr/libexec/cgsandbox/cgsandbox-helper";
const STAND_IN: &str = "/usr/libexec/cgsandbox/stand-in";
const TRACE: &str = "/run/trace";
/// For the stand-in: which operation, and what strace is to do with it.
const INJECT: &str = "/run/inject";

/// Tells, from inside a session and after its end, what is in force for the process that has it.
const LOOK: &str = "/etc/look";

/// What no kernel fails; and what comes before the helper and after it.
const NEVER_FAIL: [&str; 8] =
    ["execve", "exit_group", "getpid", "getppid", "gettid", "getuid", "geteuid", "umask"];

/// Whose system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The helper's, as it opens.
    Open,
    /// The helper's, as it closes.
    Close,
    /// The module's, in the process that opens and closes the session.
    Module,
    /// Those of the process that the module makes, until it becomes the helper; and of all others
    /// that the session's process makes.
    Child,
}

/// What came of an injection.
#[derive(Debug)]
pub struct Outcome {
    /// In a few words, for the table.
    pub what: String,
    /// What must not be; empty where all is well.
    pub faults: Vec<String>,
    pub took: Duration,
}

/// A host whose helper can be made to fail, with everything on that a policy can ask for.
pub struct Injection<'host> {
    host: &'host Host,
    /// A session of the same user that was there before and stays.
    standing: Option<Session<'host>>,
    left_before: Vec<String>,
    inside: BTreeMap<String, String>,
    outside: BTreeMap<String, String>,
    timeout: Duration,
}

pub fn host() -> Host {
    Host::build().user("alice").start()
}

impl<'host> Injection<'host> {
    /// On `host`. With `standing`, a session of the user is there already, and the state of the
    /// host too; without, every login is the first since boot.
    pub fn on(host: &'host Host, standing: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || listener.incoming().for_each(drop));
        let localhost = if is_unified(host) { "loopback = \"private\"\n" } else { "" };
        // A container's root may lower a hard limit, and not raise it again.
        let hard = host.sh("ulimit -Hn");
        let policy = format!(
            "services = [\"sshd\", \"deny\", \"allow\"]\n[profile.default]\ntasks_max = 60\n\
             memory_max = \"300M\"\nlimits = {{ nofile = \"512:{hard}\" }}\n{localhost}"
        );
        host.set_policy(&policy);
        let configuration = host.read("/etc/cgsandbox/cgsandbox.toml").unwrap();
        let timeout = patience(2.0);
        for on_error in ["deny", "allow"] {
            let text = format!("on_error = {on_error:?}\n{configuration}");
            host.write(&format!("/etc/{on_error}.toml"), text);
            let line = format!(
                "session [success=ok ignore=ignore default=bad] pam_cgsandbox.so \
                 config=/etc/{on_error}.toml helper={STAND_IN} timeout={}ms\n\
                 session optional pam_exec.so quiet /bin/bash {LOOK}\n",
                timeout.as_millis()
            );
            let stack = format!(
                "auth required pam_permit.so\naccount required pam_permit.so\n\
                 session required pam_permit.so\n{line}"
            );
            host.write(&format!("/etc/pam.d/{on_error}"), stack);
        }
        host.write(LOOK, script(host, port));
        // `-D` makes the tracer a grandchild: the helper stays the child of the module's process.
        let script = format!(
            "#!/bin/sh\nread -r operation words <{INJECT} 2>/dev/null\n\
             [ \"$1\" = \"$operation\" ] || exec {HELPER} \"$@\"\n\
             exec /usr/bin/strace -D -qq -o {TRACE} $words {HELPER} \"$@\"\n"
        );
        host.write(STAND_IN, script);
        host.sh(&format!("chmod 755 {STAND_IN}"));
        let standing = standing.then(|| host.spawn_session("alice"));
        let mut injection = Injection {
            host,
            standing,
            left_before: Vec::new(),
            inside: BTreeMap::new(),
            outside: BTreeMap::new(),
            timeout,
        };
        injection.left_before = injection.left();
        injection.prepare();
        injection.log_in("allow", &[]).ok();
        injection.inside = injection.seen("open_session").unwrap();
        injection.outside = injection.seen("close_session").unwrap();
        assert_ne!(injection.inside, injection.outside);
        for (key, value) in &injection.inside {
            assert_ne!(Some(value), injection.outside.get(key), "{key} is the same outside");
        }
        injection.log_in("deny", &[]).ok();
        injection
    }

    /// Each call that can be made to fail, in the order in which they are made.
    pub fn calls(&self, whose: Whose) -> Vec<Call> {
        self.prepare();
        let options = ["-y"].map(str::to_owned);
        self.run("deny", whose, &options).ok();
        let trace = self.host.read(TRACE).unwrap();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut calls = Vec::new();
        let (mut is_module, mut is_loaded) = (false, false);
        for line in trace.lines() {
            let Some((name, rest)) = line.split_once('(') else { continue };
            if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                continue;
            }
            let nth = counts.entry(name).or_default();
            *nth += 1;
            if whose == Whose::Module {
                // From its socket to the end of its helper; and as it goes back. The rest is
                // libpam's and the other modules'.
                let begins = name == "setns" || name == "socketpair" && rest.contains("SEQPACKET");
                is_module = is_module && !(name == "clone" && rest.contains("child_stack=NULL"));
                is_module = is_module || begins;
                // It asks for its helper's end until that has come, which is some times more or less:
                // a later number may be that of pam_exec's own child.
                let is_uncertain = name == "wait4" && *nth > 1;
                if !is_module || is_uncertain {
                    continue;
                }
            }
            // The first call of a Rust program's own: before it is the loader.
            is_loaded = is_loaded || name == "poll" || whose == Whose::Module;
            if !NEVER_FAIL.contains(&name) {
                calls.push(Call { name: name.to_owned(), nth: *nth, is_loaders: !is_loaded });
            }
        }
        assert!(calls.len() > 15, "strace shows too little: {trace}");
        calls
    }

    /// Opens and closes a session while strace does `what` to calls of this name.
    pub fn with(&mut self, whose: Whose, name: &str, what: &str, on_error: &str) -> Outcome {
        self.prepare();
        let inject = format!("inject={name}:{what}");
        let options = ["-e".to_owned(), format!("trace={name}"), "-e".to_owned(), inject];
        let logged = self.host.log().len();
        let start = Instant::now();
        let output = self.run(on_error, whose, &options);
        let took = start.elapsed();
        let log = self.log_since(logged, &output);
        self.judge((whose, what), on_error, &output, &log, took)
    }

    fn run(&self, service: &str, whose: Whose, options: &[String]) -> Output {
        let operation = match whose {
            Whose::Open => "open",
            Whose::Close => "close",
            Whose::Module | Whose::Child => {
                let follow = if whose == Whose::Child { "-qqf" } else { "-qq" };
                let strace = ["strace", follow, "-o", TRACE].map(str::to_owned);
                return self.log_in(service, &[&strace, options].concat());
            }
        };
        self.host.write(INJECT, format!("{operation} {}\n", options.join(" ")));
        self.log_in(service, &[])
    }

    fn log_in(&self, service: &str, through: &[String]) -> Output {
        let pamtester = ["pamtester", service, "alice", "open_session", "close_session"];
        let words = through.iter().map(String::as_str).chain(pamtester);
        self.host.as_root(words).within(30.0).run()
    }

    /// What a session saw at its beginning or its end; none where it did not look.
    fn seen(&self, when: &str) -> Option<BTreeMap<String, String>> {
        let text = self.host.read(format!("/run/seen.{when}"))?;
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        Some(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    /// The lines since the first `logged`. They come through a socket, and may take a moment.
    fn log_since(&self, logged: usize, output: &Output) -> Vec<String> {
        let is_in = output.stdout.contains("successfully opened");
        let deadline = Instant::now() + patience(0.5);
        loop {
            let log = self.host.log().split_off(logged);
            let has = |word: &str| log.iter().any(|line| line.contains(word));
            let is_told = has("event=session_open") || has("event=degraded");
            let is_whole = match (is_in, output.status) {
                (true, 0) => is_told,
                (true, _) => is_told && has("cause="),
                (false, _) => !log.is_empty(),
            };
            if is_whole || self.has_lost_lines(&log) || Instant::now() >= deadline {
                return log;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether a line was counted as lost: in the state, or by a later line already.
    fn has_lost_lines(&self, log: &[String]) -> bool {
        let counted = || self.host.read("/run/cgsandbox/lost").is_some_and(|it| !it.is_empty());
        log.iter().any(|line| line.contains(" lost=")) || counted()
    }

    fn left(&self) -> Vec<String> {
        let mut left = self.host.leftovers();
        // The standing session's processes come and go; they have a name each.
        left.retain(|line| !line.starts_with("process "));
        let unfinished = "find /run/cgsandbox -name '*.new.*' -o -name '.lost.*' -o -name '.on_*'";
        left.extend(
            self.host.sh(&format!("{unfinished} 2>/dev/null; true")).lines().map(str::to_owned),
        );
        left.sort();
        left
    }

    /// The host as after a boot, where nobody is logged in.
    fn prepare(&self) {
        let reset = "umount -l /run/cgsandbox/store /run/cgsandbox; rm -rf /run/cgsandbox";
        let reset = if self.standing.is_none() { reset } else { "true" };
        self.host
            .sh(&format!("rm -f /run/seen.* {TRACE} {INJECT}; {{ {reset}; }} 2>/dev/null; true"));
    }

    fn judge(
        &mut self,
        (whose, injected): (Whose, &str),
        on_error: &str,
        output: &Output,
        log: &[String],
        took: Duration,
    ) -> Outcome {
        let mut faults = Vec::new();
        let line = |event: &str| log.iter().find(|line| line.contains(&format!("event={event}")));
        let is_in = output.stdout.contains("successfully opened a session");
        // A helper that ends wrongly after its line has no say: the module goes by its status.
        let opened = line("session_open")
            .filter(|_| !log.iter().any(|line| line.contains(" enforced=none")));
        let what = match (is_in, opened) {
            (true, _) if whose != Whose::Child && self.seen("open_session").is_none() => {
                faults.push("the session has not looked".to_owned());
                "unseen"
            }
            (true, Some(open)) if open.contains("enforced=full") => {
                faults.extend(self.differs("open_session", &self.inside, ""));
                "whole"
            }
            (true, Some(open)) => {
                let missing = open.split("missing=").nth(1).unwrap_or_default();
                let missing = missing.split(' ').next().unwrap_or_default();
                faults.extend(self.differs("open_session", &self.inside, missing));
                // A kernel that is out of memory has what it has.
                if missing.contains("hidepid") && !injected.contains("EPERM") {
                    faults.push(format!("{injected} is taken for a kernel without the feature"));
                }
                "partial, as logged"
            }
            // A line that did not get through is counted, and the next one tells so.
            (true, None)
                if self.has_lost_lines(log)
                    && self.seen("open_session").as_ref() == Some(&self.inside) =>
            {
                "whole, its line lost and counted"
            }
            (true, None) => {
                if line("degraded").is_none() {
                    faults.push("in without a sandbox, and without a line in the log".to_owned());
                }
                if on_error == "deny" {
                    faults.push("in without a sandbox under on_error = deny".to_owned());
                }
                faults.extend(self.differs("open_session", &self.outside, ""));
                "allowed"
            }
            (false, _) => {
                if log.is_empty() && !self.has_lost_lines(log) {
                    faults.push("refused without a line in the log".to_owned());
                }
                // Until a helper has published it, on_error is "deny".
                let stranded = log.iter().any(|line| line.contains("host's view"));
                if on_error == "allow" && self.standing.is_some() && !stranded {
                    faults.push("refused under on_error = allow".to_owned());
                }
                if !stranded {
                    faults.extend(self.differs("open_session", &self.outside, ""));
                }
                "refused"
            }
        };
        let mut what = what.to_owned();
        if is_in && output.status == 0 {
            match (self.differs("close_session", &self.outside, ""), line("degraded")) {
                (differences, Some(_)) if !differences.is_empty() => what += ", degraded at close",
                (differences, _) => faults.extend(differences),
            }
        } else if is_in {
            what += ", close failed";
            let told = log.iter().any(|line| line.contains("cause=") || line.contains("degraded"));
            if !told {
                faults.push("close failed without a line in the log".to_owned());
            }
        }
        // An open and what it takes to take it back; a close.
        let limit = self.timeout * 3 + patience(1.5);
        if took > limit {
            faults.push(format!("took {took:?}"));
        }
        what += match self.what_is_left() {
            Ok(note) => note,
            Err(left) => {
                faults.push(format!("left behind: {left:?}"));
                self.left_before = self.left();
                ", left behind"
            }
        };
        if !faults.is_empty() {
            faults.push(format!("{whose:?}: {}{}", output.stdout, output.stderr));
            faults.extend(log.iter().cloned());
        }
        Outcome { what, faults, took }
    }

    /// How what was seen differs from `wanted`, but for directives that are `missing`.
    fn differs(&self, when: &str, wanted: &BTreeMap<String, String>, missing: &str) -> Vec<String> {
        let Some(seen) = self.seen(when) else { return Vec::new() };
        let is_missing = |key: &str| {
            // Without a procfs of its own, a session has no need of a namespace.
            let directive = if key == "mounts" { "hidepid" } else { key };
            missing.trim_matches('"').split(',').any(|it| it == directive)
        };
        let keys =
            wanted.iter().filter(|(key, value)| seen.get(*key) != Some(value) && !is_missing(key));
        keys.map(|(key, value)| format!("{when}: {key} is {:?}, not {value:?}", seen.get(key)))
            .collect()
    }

    /// Nothing, or nothing after `gc`; else what that leaves.
    fn what_is_left(&self) -> Result<&'static str, Vec<String>> {
        let more = |left: Vec<String>| -> Vec<String> {
            left.into_iter().filter(|line| !self.left_before.contains(line)).collect()
        };
        let deadline = Instant::now() + patience(3.0);
        if more(self.left()).is_empty() {
            return Ok("");
        }
        loop {
            let gc = self.host.as_root(["cgsandbox", "gc"]).run();
            let left = more(self.left());
            match left.is_empty() {
                true => return Ok(", rest removed by gc"),
                // Processes that were killed may need a moment.
                false if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                false => return Err([left, vec![gc.stdout, gc.stderr]].concat()),
            }
        }
    }

    /// Logs in and out as before, with nothing injected; and nothing is left then.
    pub fn end(mut self) {
        self.prepare();
        self.log_in("deny", &[]).ok();
        assert_eq!(self.seen("open_session").as_ref(), Some(&self.inside));
        if let Some(standing) = self.standing.take() {
            standing.logout();
        }
        self.host.assert_nothing_left();
    }
}
