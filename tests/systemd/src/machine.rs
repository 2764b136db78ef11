//! The machine itself: how it is prepared, what can be asked of it.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cgsandbox_rig::{Output, Process, Running};

use crate::account::{self, User};
use crate::builder::Builder;
use crate::journal::Moment;
use crate::login::Login;
use crate::session::Session;
use crate::{command, install, pam, sweep};

const POLICY: &str = "/etc/cgsandbox/cgsandbox.toml";

static TURN: Mutex<()> = Mutex::new(());

/// The machine while a test has it.
pub struct Machine {
    pub(crate) users: Vec<User>,
    pub(crate) since: Moment,
    services: Vec<String>,
    /// Locked: there is only one machine. A test that has failed leaves nothing that the next
    /// one relies on.
    _turn: MutexGuard<'static, ()>,
}

impl Machine {
    /// A machine to be described.
    pub fn build() -> Builder {
        Builder::new()
    }

    pub(crate) fn prepare(builder: Builder) -> Self {
        assert!(
            Path::new("/etc/guest/tests.service").exists(),
            "this is not a machine for tests: they would change its /etc, its users and its units"
        );
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        sweep::everything();
        if builder.has_packages {
            install::packages();
        }
        builder.users.iter().for_each(account::add);
        for (service, line) in &builder.lines {
            pam::insert(service, line, pam::Place::Last);
        }
        for (service, place) in &builder.services {
            let line = format!("{} {}", pam::LINE, builder.module_arguments);
            pam::insert(service, &line, *place);
        }
        if builder.without_logind {
            pam::take_out_logind("sshd");
        }
        let machine = Machine {
            users: builder.users,
            since: Moment::now(),
            services: builder.services.into_iter().map(|(name, _)| name).collect(),
            _turn: turn,
        };
        if builder.has_packages {
            machine.set_policy(&builder.policy);
        }
        if !builder.logind.is_empty() {
            machine.set_logind(&builder.logind);
        }
        machine
    }

    /// Writes logind's settings and makes it read them.
    pub fn set_logind(&self, settings: &str) {
        self.write("/etc/systemd/logind.conf.d/tests.conf", &format!("[Login]\n{settings}\n"));
        self.sh("systemctl restart systemd-logind");
    }

    /// Takes the programs away, as if the package were removed; the PAM line stays.
    pub fn remove_programs(&self) {
        install::remove_programs();
    }

    /// Opens, and does what else `operations` say, as a PAM application of that service.
    pub fn pamtester(&self, service: &str, user: &str, operations: &[&str]) -> Running {
        command::start(&[&["pamtester", service, user], operations].concat())
    }

    /// A login of `user`.
    pub fn ssh(&self, user: &str) -> Login {
        Login::new(user)
    }

    /// A login of `user` that stays.
    #[track_caller]
    pub fn session(&self, user: &str) -> Session {
        Session::open(user)
    }

    /// Runs `script` by `sh` as root; its stdout, trimmed. Panics if it fails.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        command::sh(script)
    }

    /// Runs a program as root to its end.
    #[track_caller]
    pub fn run<W: AsRef<str>>(&self, argv: &[W]) -> Output {
        command::run(argv, 60.0)
    }

    /// Starts a program as root.
    pub fn spawn<W: AsRef<str>>(&self, argv: &[W]) -> Running {
        command::start(argv)
    }

    /// Writes a file of root's, and the directories above it.
    pub fn write(&self, path: &str, content: &str) {
        std::fs::create_dir_all(Path::new(path).parent().unwrap()).expect("can't make a directory");
        std::fs::write(path, content).unwrap_or_else(|error| panic!("can't write {path}: {error}"));
    }

    /// Writes a file below `user`'s home directory, as the user.
    pub fn write_at_home(&self, user: &str, path: &str, content: &str) {
        let directory = Path::new(path).parent().unwrap().display();
        let script = format!("mkdir -p ~/{directory} && cat >~/{path}");
        let argv = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--reset-env"];
        let mut writer = command::start(&[argv.as_slice(), &["sh", "-c", &script]].concat());
        writer.send(content.as_bytes());
        writer.finish(cgsandbox_rig::patience(10.0)).ok();
    }

    /// The content of a file; `None` if there is none or it can't be read.
    pub fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        std::fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Replaces the policy, as [`Builder::policy`] wrote it.
    pub fn set_policy(&self, text: &str) {
        let services: Vec<&str> = self.services.iter().map(String::as_str).collect();
        self.set_policy_of(&services, text);
    }

    /// Replaces the policy, and the services that it is for.
    pub fn set_policy_of(&self, services: &[&str], text: &str) {
        // What a text begins with up to its first table is at top level.
        let (top, tables) = text.split_at(text.find("[profile").unwrap_or(text.len()));
        let mut policy = format!("version = 1\nservices = {services:?}\n{top}\n{tables}\n");
        if !text.contains("[[rule]]") {
            policy.push_str("[[rule]]\nmatch = \"*\"\nprofile = \"default\"\n");
        }
        self.write(POLICY, &policy);
    }

    /// Writes a line into a service's stack.
    pub fn insert_line(&self, service: &str, line: &str, place: pam::Place) {
        pam::insert(service, line, place);
    }

    /// The uid of `user`.
    pub fn uid(&self, user: &str) -> u32 {
        let known = self.users.iter().find(|known| known.name == user);
        known.unwrap_or_else(|| panic!("no user {user:?} in this test")).uid
    }

    /// `user`'s slice.
    pub fn slice(&self, user: &str) -> String {
        format!("user-{}.slice", self.uid(user))
    }

    /// Removes a user for good; its uid is free again.
    pub fn remove_user(&mut self, name: &str) {
        account::remove(name);
        self.users.retain(|user| user.name != name);
    }

    /// Adds a user with this uid.
    pub fn add_user(&mut self, name: &str, uid: u32) {
        let user = User { name: name.to_owned(), uid };
        account::add(&user);
        self.users.push(user);
    }

    /// The processes of `user`.
    pub fn processes_of(&self, user: &str) -> Vec<Process> {
        let uid = self.uid(user);
        Process::all().into_iter().filter(|process| process.uid == uid).collect()
    }

    /// `/proc/PID/cgroup` of the one hierarchy that systemd names things in.
    #[track_caller]
    pub fn cgroup_of(&self, pid: i32) -> String {
        let process = Process::read(pid).unwrap_or_else(|| panic!("no process {pid}"));
        let named = |line: &&str| line.starts_with("0::/") && !line.ends_with("::/");
        let line = process.cgroups.lines().find(|line| line.contains(":name=systemd:"));
        let line = line.or_else(|| process.cgroups.lines().find(named));
        let line = line.unwrap_or_else(|| panic!("{process:?} is in no unit"));
        line.splitn(3, ':').nth(2).unwrap_or_default().to_owned()
    }

    /// What a program that is to tell where it is runs; for [`Machine::assert_inside`].
    pub const WHERE: &str = "cat /proc/self/cgroup; readlink /proc/self/ns/mnt";

    /// Panics unless what [`Machine::WHERE`] printed is from below `user`'s slice and from a
    /// mount namespace that is not the machine's.
    #[track_caller]
    pub fn assert_inside(&self, user: &str, printed: &str) {
        let slice = format!(":/user.slice/{}/", self.slice(user));
        assert!(printed.contains(&slice), "not in {slice}: {printed}");
        assert!(printed.contains("mnt:["), "no mount namespace in {printed:?}");
        let machines = mounts_of(1);
        assert!(!printed.contains(&machines), "in the machine's mount namespace: {printed}");
    }

    /// Whether that is where [`Machine::WHERE`] was printed.
    pub fn is_inside(&self, user: &str, printed: &str) -> bool {
        let slice = format!(":/user.slice/{}/", self.slice(user));
        printed.contains(&slice) && printed.contains("mnt:[") && !printed.contains(&mounts_of(1))
    }

    /// Whether a process is in the machine's own mount namespace.
    #[track_caller]
    pub fn is_outside(&self, pid: i32) -> bool {
        mounts_of(pid) == mounts_of(1)
    }
}

#[track_caller]
fn mounts_of(pid: i32) -> String {
    Process::read(pid).unwrap_or_else(|| panic!("no process {pid}")).mounts
}
