//! What a test asks of the machine.

use cgsandbox_rig::patience;

use crate::account::{User, unused_uid};
use crate::machine::Machine;
use crate::pam::Place;

/// A machine under preparation; [`Builder::start`] makes it so.
pub struct Builder {
    pub(crate) users: Vec<User>,
    pub(crate) policy: String,
    pub(crate) services: Vec<(String, Place)>,
    pub(crate) lines: Vec<(String, String)>,
    pub(crate) module_arguments: String,
    pub(crate) without_logind: bool,
    pub(crate) logind: String,
    pub(crate) has_packages: bool,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Builder {
            users: Vec::new(),
            policy: "[profile.default]\n".to_owned(),
            services: vec![
                ("sshd".to_owned(), Place::Last),
                ("systemd-user".to_owned(), Place::Last),
            ],
            lines: Vec::new(),
            // An emulated machine needs longer than the documented default of 10 s.
            module_arguments: format!("timeout={}s", patience(10.0).as_secs()),
            without_logind: false,
            logind: String::new(),
            has_packages: true,
        }
    }

    /// A user with the key that [`Machine::ssh`] uses, a home directory and a uid of its own.
    pub fn user(mut self, name: &str) -> Self {
        self.users.push(User { name: name.to_owned(), uid: unused_uid() });
        self
    }

    /// `/etc/cgsandbox/cgsandbox.toml` after `version` and `services`. Everybody gets
    /// `profile.default` unless there are other rules.
    pub fn policy(mut self, text: &str) -> Self {
        text.clone_into(&mut self.policy);
        self
    }

    /// Another PAM service with the line, last in its stack, and in the policy's `services`.
    pub fn service(mut self, name: &str) -> Self {
        self.services.push((name.to_owned(), Place::Last));
        self
    }

    /// Leaves a service without the line, and out of `services`.
    pub fn without_service(mut self, name: &str) -> Self {
        self.services.retain(|(service, _)| service != name);
        self
    }

    /// Where the line is in sshd's stack.
    pub fn place(mut self, place: Place) -> Self {
        self.services.iter_mut().filter(|(name, _)| name == "sshd").for_each(|it| it.1 = place);
        self
    }

    /// A line of another module before ours, at the end of `service`'s stack.
    pub fn pam_line(mut self, service: &str, line: &str) -> Self {
        self.lines.push((service.to_owned(), line.to_owned()));
        self
    }

    /// The module's arguments, in place of a time-out that suits a slow machine.
    pub fn module_arguments(mut self, arguments: &str) -> Self {
        arguments.clone_into(&mut self.module_arguments);
        self
    }

    /// The machine as distributed: without the packages, if it has none, without the line and
    /// without a policy.
    pub fn without_packages(mut self) -> Self {
        self.has_packages = false;
        self.services.clear();
        self
    }

    /// sshd's stack without pam_systemd.
    pub fn without_logind(mut self) -> Self {
        self.without_logind = true;
        self
    }

    /// A setting of logind.conf, such as `KillUserProcesses=yes`.
    pub fn logind(mut self, setting: &str) -> Self {
        self.logind.push_str(setting);
        self.logind.push('\n');
        self
    }

    /// Makes the machine so. Panics anywhere but on a machine for tests.
    pub fn start(self) -> Machine {
        Machine::prepare(self)
    }
}
