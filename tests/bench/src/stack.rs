//! What is compared: session stacks of one line each, and the write that a cgroup takes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use cgsandbox_rig::Host;

use crate::caller::Login;

/// Where the bench's own program is on the host.
pub const PROGRAM: &str = "/usr/libexec/cgsandbox-bench";

/// After a line that succeeds, for this one has no opinion.
const HAND_OFF: &str = "pam_permit.so
session [success=ok ignore=ignore default=bad] pam_cgsandbox.so timeout=10s \
 helper=/usr/libexec/leave-alone";

/// The user of every login but those of [`Stack::Later`].
pub const ALICE: &str = "alice";
/// The user who is logged in all the time.
pub const BOB: &str = "bob";

/// The user with a localhost of her own.
pub const CAROL: &str = "carol";
/// Another one, who is logged in all the time: the programs are loaded.
pub const DAVE: &str = "dave";

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    Permit,
    Exec,
    Namespace,
    Cgroup,
    BareWrite,
    /// Our module with a helper that builds nothing: what it costs to have a helper at all.
    HandOff,
    /// Ours, with nobody else of that user logged in.
    First,
    /// Ours, with another session of that user.
    Later,
    /// As [`Stack::First`], with a localhost of one's own.
    Localhost,
}

impl Stack {
    pub const ALL: [Stack; 9] = [
        Stack::Permit,
        Stack::Exec,
        Stack::Namespace,
        Stack::Cgroup,
        Stack::BareWrite,
        Stack::HandOff,
        Stack::First,
        Stack::Later,
        Stack::Localhost,
    ];

    /// As in the table.
    pub fn title(self) -> &'static str {
        match self {
            Stack::Permit => "pam_permit",
            Stack::Exec => "pam_exec /bin/true",
            Stack::Namespace => "pam_namespace, own /tmp",
            Stack::Cgroup => "pam_cgroup",
            Stack::BareWrite => "bare cgroup.procs write",
            Stack::HandOff => "pam_cgsandbox, hand-off only",
            Stack::First => "pam_cgsandbox, first login",
            Stack::Later => "pam_cgsandbox, later login",
            Stack::Localhost => "pam_cgsandbox, own localhost",
        }
    }

    /// The service and the line of its stack; none for what is not PAM's, or is the rig's.
    fn service(self) -> Option<(&'static str, &'static str)> {
        match self {
            Stack::Permit => Some(("bench-permit", "pam_permit.so")),
            Stack::Exec => Some(("bench-exec", "pam_exec.so /bin/true")),
            Stack::Namespace => Some(("bench-namespace", "pam_namespace.so")),
            Stack::Cgroup => Some(("bench-cgroup", "pam_cgroup.so")),
            Stack::HandOff => Some(("bench-hand-off", HAND_OFF)),
            Stack::BareWrite | Stack::First | Stack::Later | Stack::Localhost => None,
        }
    }

    fn caller_arguments(self, host: &Host) -> Vec<String> {
        let words = |words: [&str; 3]| words.map(str::to_owned).to_vec();
        match (self, self.service()) {
            (_, Some((service, _))) => words(["pam", service, ALICE]),
            (Stack::First, _) => words(["pam", "sshd", ALICE]),
            (Stack::Localhost, _) => words(["pam", "sshd", CAROL]),
            (Stack::Later, _) => words(["pam", "sshd", BOB]),
            _ => {
                let tracking = &host.hierarchies().0;
                let tracking = tracking.iter().find(|one| one.unified).or(tracking.first());
                let mount = &tracking.expect("the host has cgroups").mount;
                let below = mount.join(host.cgroup_root().trim_start_matches('/'));
                vec!["write".to_owned(), below.to_string_lossy().into_owned()]
            }
        }
    }
}

/// Puts on the host what all stacks need.
pub fn furnish(host: &Host) {
    let own = std::fs::read("/proc/self/exe").expect("can't read the bench's own program");
    host.write(PROGRAM, own);
    let own = std::env::current_exe().expect("can't find the bench's own program");
    let helper = std::fs::read(own.with_file_name("leave-alone")).expect("it is built with it");
    host.write("/usr/libexec/leave-alone", helper);
    host.sh(&format!("chmod 755 {PROGRAM} /usr/libexec/leave-alone"));
    for (service, line) in Stack::ALL.into_iter().filter_map(Stack::service) {
        host.write(&format!("/etc/pam.d/{service}"), format!("session required {line}\n"));
    }
    // pam_namespace wants the parent of the instances to be closed to everybody.
    host.sh("mkdir -m 000 /home/.instances");
    host.write("/etc/security/namespace.conf", "/tmp /home/.instances/ user root\n");
    furnish_cgroups(host);
}

/// The cgroup root, which the first login would make, and below it a place for pam_cgroup.
fn furnish_cgroups(host: &Host) {
    const CONTROLLERS: [&str; 5] = ["cpu", "memory", "pids", "blkio", "io"];
    let root = host.cgroup_root().trim_start_matches('/').to_owned();
    let hierarchies = host.hierarchies();
    let carried: Vec<&str> =
        CONTROLLERS.into_iter().filter(|name| hierarchies.carrying(name).is_some()).collect();
    for mount in hierarchies.0.iter().map(|hierarchy| hierarchy.mount.clone()) {
        let place = mount.join(&root).join("neighbour");
        host.inside(move || std::fs::create_dir_all(place)).expect("can't make a cgroup");
    }
    let rule = format!("{ALICE} {} {root}/neighbour\n", carried.join(","));
    host.write("/etc/cgrules.conf", rule);
}

/// The small process that a stack's logins are forked from.
pub struct Caller {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Caller {
    /// Starts it on `host`. Nothing of it runs but when it is asked to.
    pub fn start(host: &Host, stack: Stack) -> Self {
        let arguments = stack.caller_arguments(host);
        let mut process = host.inside(move || {
            Command::new(PROGRAM)
                .arg("caller")
                .args(arguments)
                .env_clear()
                .current_dir("/")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("can't start a caller")
        });
        let orders = process.stdin.take().expect("stdin is piped");
        let answers = BufReader::new(process.stdout.take().expect("stdout is piped"));
        Caller { process, orders, answers }
    }

    /// `count` logins one after another, each after `gap`.
    pub fn run(&mut self, count: usize, gap: Duration) -> Vec<Login> {
        self.order(&format!("run {count} {}", gap.as_millis()));
        (0..count).map(|_| self.answer()).collect()
    }

    /// A login of `user` that stays as long as the host does.
    pub fn hold(&mut self, user: &str) -> Login {
        self.order(&format!("hold {user}"));
        self.answer()
    }

    fn order(&mut self, line: &str) {
        writeln!(self.orders, "{line}").expect("a caller died");
    }

    fn answer(&mut self) -> Login {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("a caller died");
        Login::parse(&line)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
