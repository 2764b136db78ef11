//! A login that is held open.

use std::sync::atomic::{AtomicU32, Ordering};

use cgsandbox_rig::{Output, Process, Running, eventually, patience};

use crate::command;
use crate::login::Login;

/// A shell at the other end of an ssh connection. Dropping it kills the client.
pub struct Session {
    client: Running,
    shell: i32,
}

impl Session {
    #[track_caller]
    pub(crate) fn open(user: &str) -> Self {
        Session::of(Login::new(user).cmd("exec bash --norc").start())
    }

    /// A shell that reads `client`'s stdin.
    #[track_caller]
    pub fn of(client: Running) -> Self {
        let mut session = Session { client, shell: 0 };
        session.shell = session.sh("echo $$").parse().expect("no pid from the shell");
        session
    }

    /// Runs `command` in the session's shell; its output, both streams, without surrounding
    /// white space. Panics when the session ends before the command does.
    #[track_caller]
    pub fn sh(&mut self, command: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("--{}--", NEXT.fetch_add(1, Ordering::Relaxed));
        let before = self.client.stdout().len();
        self.send(&format!("{{ {command}\n}} 2>&1 </dev/null; echo '{mark}'"));
        eventually(&format!("{command:?} is done"), 30.0, || {
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

    /// Whether the client is connected.
    pub fn is_open(&mut self) -> bool {
        self.client.is_running()
    }

    /// The shell's pid.
    pub fn shell(&self) -> i32 {
        self.shell
    }

    /// sshd's monitor of this connection: root's process that PAM ran in.
    pub fn monitor(&self) -> i32 {
        let parent = |pid| Process::read(pid).expect("sshd is gone").parent;
        parent(parent(self.shell))
    }

    /// Kills sshd's monitor, so that nobody closes the PAM session, and then the client.
    pub fn kill_monitor(self) {
        command::sh(&format!("kill -9 {}", self.monitor()));
        drop(self.client);
    }

    /// Logs out and waits until sshd has closed the session.
    #[track_caller]
    pub fn logout(mut self) -> Output {
        let monitor = self.monitor();
        self.send("exit");
        let output = self.client.finish(patience(10.0));
        eventually("sshd's monitor is gone", 30.0, || Process::read(monitor).is_none());
        output
    }
}
