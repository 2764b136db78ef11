//! The host itself: how it boots, what can be asked of it, how it ends.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Child;

use crate::builder::{Builder, policy_file};
use crate::cgroup::{Hierarchies, legacy_alone};
use crate::etc::{self, User};
use crate::loopback;
use crate::namespace::Namespace;
use crate::process::Process;
use crate::program::{Program, Running};
use crate::session::Session;
use crate::ssh::Ssh;
use crate::syslog::{self, Syslog};
use crate::time::{eventually, patience};
use crate::{boot, builder, container};

/// A running host. Dropping it ends everything on it and removes its cgroups.
pub struct Host {
    namespace: Namespace,
    init: Child,
    sshd: Option<Running>,
    syslog: Syslog,
    users: Vec<User>,
    cgroup_root: String,
    hierarchies: Hierarchies,
    mounts: Vec<String>,
    container: Option<String>,
    launcher: Vec<String>,
}

impl Host {
    /// A host to be described.
    pub fn build() -> Builder {
        Builder::new()
    }

    pub(crate) fn boot(builder: &Builder, users: Vec<User>) -> Self {
        let mut hierarchies = Hierarchies::mounted();
        hierarchies.sweep();
        let programs = builder.install.then(|| boot::read_programs(&builder::binaries()));
        let port = unused_port();
        let namespace = Namespace::unshare();
        namespace.run(boot::mount_everything);
        if legacy_alone() {
            let unified = hierarchies.take_unified();
            namespace.run(move || unified.iter().for_each(|mount| boot::unmount(mount)));
        }
        let init = namespace.run(boot::start_init);
        let syslog = Syslog::listen(&namespace);
        namespace.run({
            let (builder, users) = (builder.clone(), users.clone());
            move || {
                etc::fill(&builder, &users, port);
                programs.iter().for_each(boot::install);
                boot::set_propagation(builder.propagation);
            }
        });
        let mut launcher = Vec::new();
        let cgroup = container::cgroup_name(&builder.cgroup_root);
        if let Some(container) = builder.container.clone() {
            launcher = container.launcher(&hierarchies);
            let (of_machine, cgroup) = (hierarchies.clone(), cgroup.clone());
            hierarchies.keep_of_unified(&container.controllers);
            namespace.run(move || container.make(&cgroup, &of_machine));
        }
        let mut host = Host {
            namespace,
            init,
            sshd: None,
            syslog,
            users,
            cgroup_root: builder.cgroup_root.clone(),
            hierarchies,
            mounts: Vec::new(),
            container: builder.container.as_ref().map(|_| cgroup),
            launcher,
        };
        host.start_sshd(builder);
        host.mounts = host.mount_table();
        host
    }

    fn start_sshd(&mut self, builder: &Builder) {
        let argv = [builder.sshd_prefix.as_slice(), &["/usr/sbin/sshd".into(), "-De".into()]];
        let mut program = Program::new(self, argv.concat());
        for (key, value) in &builder.sshd_environment {
            program = program.env(key, value);
        }
        let mut sshd = program.start();
        eventually("sshd listens", 20.0, || {
            assert!(sshd.is_running(), "sshd does not start: {}", sshd.stderr());
            sshd.stderr().contains("Server listening on")
        });
        self.sshd = Some(sshd);
    }

    /// A login of `user`.
    pub fn ssh(&self, user: &str) -> Ssh<'_> {
        Ssh::new(self, user)
    }

    /// A login of `user` that stays.
    pub fn spawn_session(&self, user: &str) -> Session<'_> {
        Session::open(self, user)
    }

    /// A program to be run as root on this host, outside every sandbox.
    pub fn as_root<W: AsRef<str>>(&self, argv: impl IntoIterator<Item = W>) -> Program<'_> {
        Program::new(self, argv.into_iter().map(|word| word.as_ref().to_owned()).collect())
    }

    /// Runs `script` by `sh` as root; its stdout, trimmed. Panics if it fails.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.as_root(["sh", "-c", script]).run().ok().to_owned()
    }

    /// Runs `job` in the host's mount namespace. `/proc` is the host's, but its `self` is not
    /// there: the test is no process of the host.
    pub fn inside<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        self.namespace.run(job)
    }

    /// The content of one of its files; `None` if there is none or it can't be read.
    pub fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        let path = path.as_ref().to_owned();
        self.inside(move || std::fs::read(path).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes one of its files as root's, mode 0644; likewise directories that are missing.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let (path, content) = (path.to_owned(), content.as_ref().to_owned());
        self.inside(move || etc::write_file(&path, content, 0o644));
    }

    /// Whether it has something at `path`.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        let path = path.as_ref().to_owned();
        self.inside(move || path.symlink_metadata().is_ok())
    }

    /// Replaces the policy, as [`Builder::policy`] wrote it.
    pub fn set_policy(&self, text: &str) {
        self.write("/etc/cgsandbox/cgsandbox.toml", policy_file(&self.cgroup_root, text));
    }

    /// The uid of `user`.
    pub fn uid(&self, user: &str) -> u32 {
        let known = self.users.iter().find(|known| known.name == user);
        known.unwrap_or_else(|| panic!("no user {user:?} on this host")).uid
    }

    /// The configured `cgroup_root`.
    pub fn cgroup_root(&self) -> &str {
        &self.cgroup_root
    }

    /// The machine's hierarchies.
    pub fn hierarchies(&self) -> &Hierarchies {
        &self.hierarchies
    }

    /// Where `user`'s limits of `controller` are, there or not. Panics when no hierarchy
    /// carries the controller.
    pub fn users_cgroup(&self, user: &str, controller: &str) -> PathBuf {
        let hierarchy = self.hierarchies.carrying(controller);
        let hierarchy = hierarchy.unwrap_or_else(|| panic!("no cgroup controller {controller}"));
        let root = self.cgroup_root.trim_start_matches('/');
        hierarchy.mount.join(root).join(format!("user-{}", self.uid(user)))
    }

    /// The directories of the sandboxes of all users, in all hierarchies.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let root = Path::new(&self.cgroup_root).file_name().expect("a root has a name").to_owned();
        let (hierarchies, below) = (self.hierarchies.clone(), self.cgroup_root.clone());
        let mut all = self.inside(move || hierarchies.below(&below));
        all.retain(|cgroup| cgroup.file_name() != Some(&root));
        all
    }

    /// The processes of the host.
    pub fn processes(&self) -> Vec<Process> {
        let mut all = self.inside(Process::all);
        all.iter_mut().for_each(|process| self.as_in_container(process));
        all
    }

    /// The process with this pid.
    pub fn process(&self, pid: i32) -> Option<Process> {
        let mut process = self.inside(move || Process::read(pid));
        process.iter_mut().for_each(|process| self.as_in_container(process));
        process
    }

    /// The test is outside the container's cgroup namespace, so it sees the machine's paths.
    fn as_in_container(&self, process: &mut Process) {
        if let Some(cgroup) = &self.container {
            process.cgroups = process.cgroups.replace(&format!("/{cgroup}"), "");
        }
    }

    /// What every program of this host is started through.
    pub(crate) fn launcher(&self) -> &[String] {
        &self.launcher
    }

    /// The process with this pid and all that descend from it.
    pub fn descendants(&self, pid: i32) -> Vec<Process> {
        let (mut found, mut others): (Vec<_>, Vec<_>) =
            self.processes().into_iter().partition(|process| process.pid == pid);
        loop {
            let is_child = |one: &Process| found.iter().any(|known| known.pid == one.parent);
            let (children, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(is_child);
            if children.is_empty() {
                return found;
            }
            found.extend(children);
            others = rest;
        }
    }

    /// The processes whose uid is `user`'s.
    pub fn processes_of(&self, user: &str) -> Vec<Process> {
        let uid = self.uid(user);
        self.processes().into_iter().filter(|process| process.uid == uid).collect()
    }

    /// The processes of root and `user` that serve `user`'s connections: all but the
    /// listener that descends from sshd.
    pub fn connections(&self) -> Vec<Process> {
        let all = self.processes();
        let listener = all.iter().find(|one| one.parent == 0 && one.command.contains("sshd"));
        let listener = listener.expect("sshd is gone").pid;
        self.descendants(listener).into_iter().filter(|one| one.pid != listener).collect()
    }

    /// `/proc/PID/cgroup` of one of its processes.
    #[track_caller]
    pub fn cgroup_of(&self, pid: i32) -> String {
        self.process(pid).unwrap_or_else(|| panic!("no process {pid}")).cgroups
    }

    /// The module's and helper's log lines so far, without priority and time stamp.
    pub fn log(&self) -> Vec<String> {
        let mut lines = self.syslog();
        // With a time stamp before the ident or, as from the module, without.
        lines.retain(|line| line.contains(" cgsandbox[") || line.contains(">cgsandbox["));
        lines
    }

    /// Every log line so far, as received.
    pub fn syslog(&self) -> Vec<String> {
        self.syslog.lines()
    }

    /// Waits for a line of [`Host::log`] that has all of `words`, and returns it.
    #[track_caller]
    pub fn wait_log(&self, words: &[&str]) -> String {
        let found = || {
            let log = self.log();
            log.into_iter().find(|line| words.iter().all(|word| line.contains(word)))
        };
        let deadline = std::time::Instant::now() + patience(10.0);
        while std::time::Instant::now() < deadline {
            if let Some(line) = found() {
                return line;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("no log line with {words:?}; there are:\n{}", self.log().join("\n"))
    }

    /// Makes `/dev/log` a socket whose queue is full. It stays so while the value lives.
    #[must_use]
    pub fn block_syslog(&self) -> UnixDatagram {
        syslog::bind_and_ignore(&self.namespace)
    }

    /// Opens `/dev/log` anew after it was blocked or removed.
    pub fn restart_syslog(&mut self) {
        self.syslog = Syslog::listen(&self.namespace);
    }

    /// sshd's own log.
    pub fn sshd_log(&self) -> String {
        self.sshd.as_ref().map(Running::stderr).unwrap_or_default()
    }

    /// Its mounts, one line of mountinfo each without the numbers.
    pub fn mount_table(&self) -> Vec<String> {
        let table = self.read("/proc/1/mountinfo").expect("init is gone");
        let words = |line: &str| line.split(' ').skip(3).collect::<Vec<_>>().join(" ");
        table.lines().map(words).collect()
    }

    /// Waits until the last session is closed, and panics with what is left after that: a
    /// process, a cgroup, a mount, a pinned namespace or a record of a session.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let mut left = Vec::new();
        let deadline = std::time::Instant::now() + patience(10.0);
        while std::time::Instant::now() < deadline {
            left = self.leftovers();
            if left.is_empty() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("left behind:\n{}\nlog:\n{}", left.join("\n"), self.log().join("\n"))
    }

    /// What sessions that are over have left: processes, cgroups, mounts, state.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left: Vec<String> =
            self.cgroups().iter().map(|it| it.display().to_string()).collect();
        let connections = self.connections();
        left.extend(connections.iter().map(|one| format!("process {} {}", one.pid, one.command)));
        let is_users = |one: &Process| self.users.iter().any(|user| user.uid == one.uid);
        let strays = self.processes().into_iter().filter(is_users);
        left.extend(strays.map(|one| format!("process {} {}", one.pid, one.command)));
        let mut mounts = self.mount_table();
        // The directory's own private mount and its store are made once, and stay; a test may
        // have remounted the hierarchies.
        mounts.retain(|line| {
            let path = line.split(' ').nth(1).unwrap_or_default();
            let is_ours = ["/run/cgsandbox", "/run/cgsandbox/store"].contains(&path);
            let stays = is_ours || path.starts_with("/sys/fs/cgroup");
            !self.mounts.contains(line) && !stays
        });
        left.extend(mounts.into_iter().map(|line| format!("mount {line}")));
        let state = self.as_root([
            "find",
            "/run/cgsandbox/user",
            "/run/cgsandbox/loopback/address",
            "-mindepth",
            "1",
        ]);
        left.extend(state.run().stdout.lines().map(str::to_owned));
        left.extend(self.users.iter().filter_map(loopback::left_on_lo));
        left
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- syslog\n{}", self.syslog().join("\n"));
            eprintln!("--- sshd\n{}", self.sshd_log());
        }
        // Sessions end with init, without a logout. Not all are those of users that the rig made.
        let claimed = self.inside(loopback::claimed);
        // sshd is the test's child: init can't end before it is waited for.
        self.sshd = None;
        self.init.stdin = None;
        let _ = self.init.kill();
        let _ = self.init.wait();
        loopback::remove_from_lo(&claimed);
        if !std::thread::panicking() {
            let outermost = self.container.as_ref().and_then(|name| name.split('/').next());
            self.hierarchies.remove(outermost.unwrap_or(&self.cgroup_root));
        }
    }
}

fn unused_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("no port on 127.0.0.1");
    listener.local_addr().expect("a bound socket has an address").port()
}
