//! The OpenSSH client.

use cgsandbox_rig::{Output, Running, patience};

use crate::command;

/// A login about to happen, at the machine's own sshd.
pub struct Login {
    user: String,
    options: Vec<String>,
    command: Vec<String>,
    stdin: Vec<u8>,
    seconds: f64,
}

impl Login {
    pub(crate) fn new(user: &str) -> Self {
        Login {
            user: user.to_owned(),
            options: Vec::new(),
            command: Vec::new(),
            stdin: Vec::new(),
            seconds: 30.0,
        }
    }

    /// What the user's shell is asked to run; without it, a login shell reads stdin.
    pub fn cmd(mut self, command: &str) -> Self {
        self.command = vec![command.to_owned()];
        self
    }

    /// An option of ssh(1), one word.
    pub fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// What the remote command reads; then end of file.
    pub fn stdin(mut self, bytes: &[u8]) -> Self {
        self.stdin = bytes.to_vec();
        self
    }

    /// How long [`Login::run`] waits: [`patience`]`(seconds)`, not the usual 30.
    pub fn within(mut self, seconds: f64) -> Self {
        self.seconds = seconds;
        self
    }

    /// Logs in, runs, logs out.
    #[track_caller]
    pub fn run(self) -> Output {
        let (stdin, limit) = (self.stdin.clone(), patience(self.seconds));
        let mut client = self.start();
        client.send(&stdin);
        client.finish(limit)
    }

    /// Logs in and goes on.
    pub fn start(self) -> Running {
        let mut argv: Vec<String> =
            ["ssh", "-F", "/etc/guest/ssh_config"].map(str::to_owned).into();
        argv.extend(self.options);
        argv.extend(["-l".to_owned(), self.user, "guest".to_owned()]);
        argv.extend(self.command);
        command::start(&argv)
    }
}
