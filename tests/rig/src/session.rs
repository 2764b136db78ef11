//! A login that is held open.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::host::Host;
use crate::process::Process;
use crate::program::{Output, Running};
use crate::time::{eventually, patience};

/// A shell at the other end of an ssh connection. Dropping it kills the client.
pub struct Session<'host> {
    host: &'host Host,
    client: Running,
    shell: i32,
}

impl<'host> Session<'host> {
    pub(crate) fn open(host: &'host Host, user: &str) -> Self {
        let client = host.ssh(user).cmd("exec bash --norc").start();
        let mut session = Session { host, client, shell: 0 };
        session.shell = session.sh("echo $$").parse().expect("no pid from the shell");
        session
    }

    /// Runs `command` in the session's shell; its output, both streams, without surrounding
    /// white space. Panics when the session ends before the command does.
    #[track_caller]
    pub fn sh(&mut self, command: &str) -> String {
        self.sh_within(command, 20.0)
    }

    /// As [`Session::sh`], for a command that takes longer than 20 seconds.
    #[track_caller]
    pub fn sh_within(&mut self, command: &str, seconds: f64) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("--{}--", NEXT.fetch_add(1, Ordering::Relaxed));
        let before = self.client.stdout().len();
        self.send(&format!("{{ {command}\n}} 2>&1 </dev/null; echo '{mark}'"));
        eventually(&format!("{command:?} is done"), seconds, || {
            let done = self.client.stdout().contains(&mark);
            if !done && !self.client.is_running() {
                panic!("session lost in {command:?}: {}", self.client.stderr());
            }
            done
        });
        let all = self.client.stdout();
        all[before..].split(&mark).next().unwrap_or_default().trim().to_owned()
    }

    /// Hands `line` to the shell and does not wait.
    pub fn send(&mut self, line: &str) {
        self.client.send(format!("{line}\n").as_bytes());
    }

    /// The shell's pid inside the host.
    pub fn shell(&self) -> i32 {
        self.shell
    }

    /// The session's own cgroup in the hierarchy of `controller`. Panics when there is none.
    #[track_caller]
    pub fn cgroup(&self, controller: &str) -> PathBuf {
        let hierarchy = self.host.hierarchies().carrying(controller);
        let hierarchy = hierarchy.unwrap_or_else(|| panic!("no cgroup controller {controller}"));
        let cgroups = self.host.cgroup_of(self.shell);
        // Not all hierarchies of the machine's need be the host's.
        let mut paths = cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        let own = paths.find(|path| path.contains("/session-"));
        let own = own.unwrap_or_else(|| panic!("in no session's cgroup: {cgroups}"));
        hierarchy.mount.join(own.trim_start_matches('/'))
    }

    /// sshd's monitor of this connection: root's process that PAM ran in.
    pub fn monitor(&self) -> i32 {
        let parent = |pid| self.host.process(pid).expect("sshd is gone").parent;
        parent(parent(self.shell))
    }

    /// Every process of the connection, from the monitor down.
    pub fn processes(&self) -> Vec<Process> {
        self.host.descendants(self.monitor())
    }

    /// Kills sshd's monitor, so that nobody closes the PAM session, and then the client: the
    /// rest of the connection goes on until it hears nothing any more.
    pub fn kill_monitor(self) {
        self.host.sh(&format!("kill -9 {}", self.monitor()));
        drop(self.client);
    }

    /// Logs out and waits until sshd has closed the session.
    #[track_caller]
    pub fn logout(mut self) -> Output {
        let monitor = self.monitor();
        self.send("exit");
        let host = self.host;
        let output = self.client.finish(patience(20.0));
        eventually("sshd's monitor is gone", 20.0, || host.process(monitor).is_none());
        output
    }
}
