//! What a test asks of its host.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::cgroup;
use crate::container::{Container, Processes};
use crate::etc::User;
use crate::host::Host;
use crate::time::patience;

/// How the host's mounts relate to those made in namespaces cloned from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// As systemd and most distributions make `/`.
    Shared,
    /// As the kernel makes it, and most containers.
    Private,
}

/// A host under construction; [`Builder::start`] boots it.
#[derive(Clone)]
pub struct Builder {
    pub(crate) users: Vec<(String, Option<u32>, Vec<String>)>,
    pub(crate) policy: String,
    pub(crate) cgroup_root: String,
    pub(crate) pam_lines: Vec<String>,
    pub(crate) module_line: bool,
    pub(crate) module_arguments: String,
    pub(crate) sshd_lines: Vec<String>,
    pub(crate) sshd_prefix: Vec<String>,
    pub(crate) sshd_environment: Vec<(String, String)>,
    pub(crate) propagation: Propagation,
    pub(crate) install: bool,
    pub(crate) container: Option<Container>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        let cgroup_root = cgroup::unused_root();
        Builder {
            users: Vec::new(),
            policy: String::new(),
            cgroup_root,
            pam_lines: Vec::new(),
            module_line: true,
            // An emulated machine needs longer than the documented default of 10 s.
            module_arguments: format!("timeout={}s", patience(10.0).as_secs()),
            sshd_lines: Vec::new(),
            sshd_prefix: Vec::new(),
            sshd_environment: Vec::new(),
            propagation: Propagation::Shared,
            install: true,
            container: None,
        }
        .policy("[profile.default]\n")
    }

    /// A user with a key, a home directory and a uid that nobody else has.
    pub fn user(self, name: &str) -> Self {
        self.account(name, None, &[])
    }

    /// A user who is a member of `groups`, which are made if need be.
    pub fn member(self, name: &str, groups: &[&str]) -> Self {
        self.account(name, None, groups)
    }

    /// A user with this uid, perhaps another's.
    pub fn user_with_uid(self, name: &str, uid: u32) -> Self {
        self.account(name, Some(uid), &[])
    }

    fn account(mut self, name: &str, uid: Option<u32>, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        self.users.push((name.to_owned(), uid, groups));
        self
    }

    /// The content of `/etc/cgsandbox/cgsandbox.toml`, after `version` and `cgroup_root`,
    /// which are its first two lines. If it has no rule, the default profile is everyone's.
    pub fn policy(mut self, text: &str) -> Self {
        self.policy = policy_file(&self.cgroup_root, text);
        self
    }

    /// The content of `/etc/cgsandbox/cgsandbox.toml`, as it is.
    pub fn raw_policy(mut self, text: &str) -> Self {
        text.clone_into(&mut self.policy);
        self
    }

    /// Another line of the PAM stack, before the module's.
    pub fn pam(mut self, line: &str) -> Self {
        self.pam_lines.push(line.to_owned());
        self
    }

    /// A host without pam_cgsandbox: nothing is installed, the PAM line is missing.
    pub fn without_module(mut self) -> Self {
        self.module_line = false;
        self.install = false;
        self
    }

    /// The arguments of the module's PAM line, in place of a `timeout=`.
    pub fn module_arguments(mut self, arguments: &str) -> Self {
        arguments.clone_into(&mut self.module_arguments);
        self
    }

    /// Another line of `sshd_config`.
    pub fn sshd(mut self, line: &str) -> Self {
        self.sshd_lines.push(line.to_owned());
        self
    }

    /// A variable of sshd's environment.
    pub fn sshd_environment(mut self, key: &str, value: &str) -> Self {
        self.sshd_environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Starts sshd through another program, such as `choom -n -500 --`.
    pub fn sshd_through(mut self, argv: &[&str]) -> Self {
        self.sshd_prefix = argv.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// How `/` is mounted; shared if not said.
    pub fn propagation(mut self, propagation: Propagation) -> Self {
        self.propagation = propagation;
        self
    }

    /// A host whose cgroups are those of a container, with `controllers` where they are
    /// version 2's.
    pub fn contained(mut self, processes: Processes, controllers: &[&str]) -> Self {
        let controllers = controllers.iter().map(|&name| name.to_owned()).collect();
        self.container = Some(Container { processes, controllers });
        self
    }

    /// Boots the host. Panics, with the reason, when it can't.
    pub fn start(self) -> Host {
        let users = self.users.iter().map(|(name, uid, groups)| User {
            name: name.clone(),
            uid: uid.unwrap_or_else(unused_uid),
            groups: groups.clone(),
        });
        let users = users.collect();
        Host::boot(&self, users)
    }
}

/// The configuration `text` under `root`, with a rule for everyone if it has none.
pub fn policy_file(root: &str, text: &str) -> String {
    let rule = if text.contains("[[rule]]") {
        ""
    } else {
        "\n[[rule]]\nmatch = \"*\"\nprofile = \"default\"\n"
    };
    format!("version = 1\ncgroup_root = {root:?}\n{text}{rule}")
}

/// The kernel counts processes, keys and more by uid, across namespaces: so a uid of its own.
fn unused_uid() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    2_000_000 + std::process::id() % 10_000 * 200 + NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Where the programs under test are: beside the running test, or as the environment says.
pub fn binaries() -> PathBuf {
    match std::env::var_os("CGSANDBOX_RIG_BINARIES") {
        Some(directory) => directory.into(),
        None => {
            let test = std::env::current_exe().expect("no path to the running test");
            let directory = test.parent().expect("the test is in a directory");
            // Cargo's layout: tests in deps/, the demo in examples/, what ships above them.
            let below = directory.ends_with("deps") || directory.ends_with("examples");
            if below { directory.join("..") } else { directory.to_owned() }
        }
    }
}
