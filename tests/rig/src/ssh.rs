//! The OpenSSH client, run as the host's root.

use crate::host::Host;
use crate::program::{Output, Program, Running};

/// A login about to happen. The host's `ssh_config` names the server `sandbox`.
pub struct Ssh<'host> {
    host: &'host Host,
    user: String,
    options: Vec<String>,
    command: Vec<String>,
    stdin: Vec<u8>,
    seconds: f64,
}

impl<'host> Ssh<'host> {
    pub(crate) fn new(host: &'host Host, user: &str) -> Self {
        Ssh {
            host,
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

    /// With a terminal, whatever stdin is.
    pub fn tty(self) -> Self {
        self.option("-tt")
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

    /// How long [`Ssh::run`] waits, as in [`Program::within`].
    pub fn within(mut self, seconds: f64) -> Self {
        self.seconds = seconds;
        self
    }

    /// Logs in, runs, logs out.
    #[track_caller]
    pub fn run(self) -> Output {
        let (stdin, seconds) = (self.stdin.clone(), self.seconds);
        self.program().stdin(&stdin).within(seconds).run()
    }

    /// Logs in and goes on.
    pub fn start(self) -> Running {
        self.program().start()
    }

    fn program(self) -> Program<'host> {
        let mut argv = vec!["ssh".to_owned()];
        argv.extend(self.options);
        argv.extend(["-l".to_owned(), self.user, "sandbox".to_owned()]);
        argv.extend(self.command);
        Program::new(self.host, argv)
    }
}
