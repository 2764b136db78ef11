//! `/run/cgsandbox`: what the kernel does not keep for us.
//!
//! ```text
//! on_error              symlink to "deny" or "allow", for the module
//! on_error:FILE         the same of the configuration that a PAM line has as config=FILE
//! last-good             the last configuration that parsed
//! lost                  one byte for each audit line that did not get through
//! roots                 the cgroups above all users' that logins had to make
//! lock/UID              held while the sandbox of a user is built or taken down
//! lock/host             held while what all users share is made or removed
//! lock/loopback         held while an address is given or taken
//! user/UID/session/ID   a login: who, from where, and what it was before
//! store                 the mount namespace that the next ones are pinned in
//! user/UID/ns/mnt       the user's mount namespace, pinned in the store
//! user/UID/hidepid      how that namespace's /proc is mounted
//! user/UID/loopback     symlink to the user's own IPv4 address
//! loopback/address/IPV4 symlink to "UID IPV6", whose address it is
//! loopback/pool         what those are from, as long as there are any
//! loopback/pairs        there if the BPF programs know of users who may reach each other
//! loopback/open         there if they know of a user whom anybody may reach
//! loopback/subject/UID  who a user is, for what others let in
//! loopback/programs     the ids of the BPF programs that are in use
//! forgotten/UID         bytes of the user's in tmpfs that are counted nowhere any more
//! slice/UID             what was set for the user's slice, with systemd
//! ```

use std::ffi::CString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use cgsandbox_protocol::{Login, STATE_DIR, on_error_of};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use crate::config::Sources;
use crate::error::{Error, Result};
use crate::{kernel_file, namespace};

/// A handle on the state directory.
#[derive(Debug, Clone)]
pub struct State {
    directory: PathBuf,
}

/// A right to one user's sandbox, or to what all share, given back when dropped.
///
/// The lock file stays: removing it would let two holders in, one on the old file and
/// one on the new.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] File);

impl State {
    /// Of this host.
    pub fn of_host() -> Self {
        State { directory: PathBuf::from(STATE_DIR) }
    }

    /// In another directory, to be looked at by tests.
    #[cfg(test)]
    pub(crate) fn at(directory: PathBuf) -> Self {
        State { directory }
    }

    /// The directory itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the directory where it is not there, and refuses one that is not root's own.
    pub fn prepare(&self) -> Result<()> {
        make_directory(&self.directory)?;
        self.must_be_roots_own()?;
        self.mount_own()?;
        for name in ["lock", "user"] {
            make_directory(&self.directory.join(name))?;
        }
        Ok(())
    }

    /// Mounts a tmpfs of its own over the directory while nothing is in it: users may be able to
    /// fill `/run` (Debian's screen makes a directory there that all may write to), and then no
    /// login could be noted.
    ///
    /// What an older version has left stays in sight, until the next boot. A process in a service's
    /// mount namespace, as that of cgsandbox-gc.service, whose mounts nobody else would see, mounts
    /// it in the host's: from there it arrives in the service's too.
    fn mount_own(&self) -> Result<()> {
        if self.is_mount()? || !names_in(&self.directory).is_empty() {
            return Ok(());
        }
        let name = self.directory.display();
        let about = |error: Errno| Error::os("look at", &name)(error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&self.directory, flags, Mode::empty()).map_err(about)?;
        // Another first login may be here too. This waits for one mount(2), and users have no way
        // to hold it.
        retry_on_intr(|| rustix::fs::flock(&directory, FlockOperation::LockExclusive))
            .map_err(about)?;
        if self.is_mount()? || !names_in(&self.directory).is_empty() {
            return Ok(());
        }
        if !is_slave("/run", &kernel_file::mountinfo()?) && !namespace::is_elsewhere() {
            return self.mount_tmpfs().map(drop);
        }
        let copy = namespace::in_hosts(|| match self.is_mount()? || self.mount_tmpfs()? {
            true => namespace::copy_mount(CWD, &self.directory).map(Some).map_err(about),
            false => Ok(None),
        })?;
        // Where this process's mounts are private it does not arrive by itself.
        match copy {
            Some(copy) if !self.is_mount()? => namespace::attach(&copy, &self.directory)
                .map_err(Error::os("mount the host's tmpfs at", &name)),
            _ => Ok(()),
        }
    }

    /// False where mounts are not allowed: then the directory has to do.
    fn mount_tmpfs(&self) -> Result<bool> {
        let name = self.directory.display();
        let failed = |error: Errno| Error::os("mount a tmpfs over", &name)(error);
        let options = format!("mode=0700,size=10%{}", self.label());
        let options = CString::new(options).map_err(|cause| Error::new("mount", &name, cause))?;
        let hardened = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        match mount("cgsandbox", &self.directory, "tmpfs", hardened, options.as_c_str()) {
            Ok(()) => mount_change(&self.directory, MountPropagationFlags::PRIVATE)
                .map(|()| true)
                .map_err(failed),
            Err(Errno::PERM | Errno::ACCESS) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether another file system is mounted over the directory. A bind mount of the directory on
    /// itself, as a service with `ReadWritePaths=` has it, is none.
    fn is_mount(&self) -> Result<bool> {
        let device = |path: &Path| {
            let about = std::fs::symlink_metadata(path);
            about.map(|about| about.dev()).map_err(Error::os("look at", path.display()))
        };
        Ok(device(&self.directory)? != device(self.directory.parent().unwrap_or(Path::new("/")))?)
    }

    /// With SELinux, the option by which the mount has the label that the directory has.
    fn label(&self) -> String {
        let mut label = [0; 256];
        let length = rustix::fs::getxattr(&self.directory, "security.selinux", &mut label[..]);
        let label = length.ok().and_then(|length| label.get(..length));
        let label = label.and_then(|label| std::str::from_utf8(label).ok());
        let label = label.map(|label| label.trim_end_matches('\0'));
        match label.filter(|label| !label.is_empty() && !label.contains('"')) {
            Some(label) => format!(",rootcontext=\"{label}\""),
            None => String::new(),
        }
    }

    /// Refuses a directory that others could have put something into; none at all is fine.
    pub fn must_be_roots_own(&self) -> Result<()> {
        let about = match std::fs::symlink_metadata(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            about => about.map_err(Error::os("look at", self.directory.display()))?,
        };
        let trusted = about.is_dir() && about.uid() == 0 && about.permissions().mode() & 0o077 == 0;
        if !trusted {
            let cause =
                "it must be a directory of root's with mode 0700; look into it, then remove it";
            return Err(Error::new("use", self.directory.display(), cause));
        }
        Ok(())
    }

    /// Where a user's state is.
    pub fn user(&self, uid: u32) -> PathBuf {
        self.directory.join("user").join(uid.to_string())
    }

    /// The users that have any.
    pub fn users(&self) -> Vec<u32> {
        names_in(&self.directory.join("user")).iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// Waits at most `patience` for the lock of `uid`.
    pub fn lock(&self, uid: u32, patience: Duration) -> Result<Lock> {
        self.lock_file(&uid.to_string(), FlockOperation::LockExclusive, patience)
    }

    /// For logins: while it is held, nobody removes what all users share.
    pub fn share_host(&self, patience: Duration) -> Result<Lock> {
        self.lock_file("host", FlockOperation::LockShared, patience)
    }

    /// For who makes or removes what all users share.
    pub fn lock_host(&self, patience: Duration) -> Result<Lock> {
        self.lock_file("host", FlockOperation::LockExclusive, patience)
    }

    /// For who gives or takes an address, or loads the programs of loopback.
    pub fn lock_loopback(&self, patience: Duration) -> Result<Lock> {
        self.lock_file("loopback", FlockOperation::LockExclusive, patience)
    }

    fn lock_file(&self, name: &str, how: FlockOperation, patience: Duration) -> Result<Lock> {
        let path = self.directory.join("lock").join(name);
        let failed = |cause: std::io::Error| Error::os("lock", path.display())(cause);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        let at_once = match how {
            FlockOperation::LockShared => FlockOperation::NonBlockingLockShared,
            _ => FlockOperation::NonBlockingLockExclusive,
        };
        match rustix::fs::flock(&file, at_once) {
            Ok(()) => return Ok(Lock(file)),
            Err(Errno::WOULDBLOCK | Errno::INTR) if !patience.is_zero() => {}
            Err(Errno::WOULDBLOCK | Errno::INTR) => return Err(held_too_long(&path)),
            Err(error) => return Err(failed(error.into())),
        }
        // flock(2) has no time-out, and to ask it again and again is more than a machine can do
        // for a hundred who wait. So a thread waits; whom it waits in vain for is not kept out by
        // it, for the file goes with the answer that nobody hears.
        let (answer, locked) = channel();
        let waiting = std::thread::Builder::new().spawn(move || {
            let result = retry_on_intr(|| rustix::fs::flock(&file, how));
            let _ = answer.send(result.map(|()| file));
        });
        let waiting = waiting.map_err(failed)?;
        let file = match locked.recv_timeout(patience) {
            Ok(result) => result.map_err(|error| failed(error.into()))?,
            Err(_) => return Err(held_too_long(&path)),
        };
        // A namespace is entered by a process of one thread.
        let _ = waiting.join();
        Ok(Lock(file))
    }

    /// Lets the module know what to do when it has no helper to ask.
    pub fn publish_on_error(&self, sources: &Sources, login: Login) -> Result<()> {
        let link = PathBuf::from(on_error_of(&sources.argument()));
        if std::fs::read_link(&link).is_ok_and(|target| target == Path::new(login.name())) {
            return Ok(());
        }
        let fresh = self.directory.join(format!(".on_error.{}", std::process::id()));
        let failed = |cause: std::io::Error| Error::os("replace", link.display())(cause);
        let _ = std::fs::remove_file(&fresh);
        symlink(login.name(), &fresh).map_err(failed)?;
        std::fs::rename(&fresh, &link).map_err(failed)
    }

    /// Notes a cgroup above all users' that is about to be made.
    pub fn note_root(&self, cgroup: &Path) -> Result<()> {
        if self.made_roots().iter().any(|made| made == cgroup) {
            return Ok(());
        }
        let path = self.roots();
        let line = format!("{}\n", cgroup.display());
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(Error::os("write", path.display()))
    }

    /// The cgroups above all users' that were made.
    pub fn made_roots(&self) -> Vec<PathBuf> {
        let text = std::fs::read_to_string(self.roots()).unwrap_or_default();
        text.lines().map(PathBuf::from).collect()
    }

    /// Forgets those that are gone. For who has the host's lock to itself.
    pub fn forget_roots(&self) -> Result<()> {
        let made = self.made_roots();
        let left = || made.iter().filter(|path| path.is_dir());
        match (left().count(), made.len()) {
            (left, made) if left == made => Ok(()),
            (0, _) => std::fs::remove_file(self.roots())
                .map_err(Error::os("remove", self.roots().display())),
            _ => {
                let text: String = left().map(|path| format!("{}\n", path.display())).collect();
                self.write(&self.roots(), text.as_bytes())
            }
        }
    }

    fn roots(&self) -> PathBuf {
        self.directory.join("roots")
    }

    /// How many bytes of a user's in tmpfs files are counted nowhere any more, since boot.
    pub fn forgotten_memory(&self, uid: u32) -> u64 {
        let text = std::fs::read_to_string(self.forgotten(uid)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// Notes how many those are.
    pub fn note_forgotten_memory(&self, uid: u32, bytes: u64) -> Result<()> {
        make_directory(&self.directory.join("forgotten"))?;
        self.write(&self.forgotten(uid), format!("{bytes}\n").as_bytes())
    }

    fn forgotten(&self, uid: u32) -> PathBuf {
        self.directory.join("forgotten").join(uid.to_string())
    }

    /// Writes `content` to `path` so that a reader sees all of it or nothing.
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<()> {
        let failed = |cause: std::io::Error| Error::os("write", path.display())(cause);
        let fresh = path.with_extension(format!("new.{}", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)
            .map_err(failed)?;
        let written = file.write_all(content).and_then(|()| std::fs::rename(&fresh, path));
        written.map_err(|cause| {
            let _ = std::fs::remove_file(&fresh);
            failed(cause)
        })
    }

    /// Removes files that were being written when their writers died.
    pub fn forget_unfinished(&self) {
        let written_in = ["", "forgotten", "loopback", "loopback/subject", "slice"];
        for name in written_in {
            remove_abandoned(&self.directory.join(name));
        }
    }

    /// How many audit lines were lost since this was last asked.
    pub fn take_lost_lines(&self) -> u64 {
        if self.must_be_roots_own().is_err() {
            return 0;
        }
        let path = self.directory.join("lost");
        // Renamed first: a line lost meanwhile begins a new count.
        let taken = self.directory.join(format!(".lost.{}", std::process::id()));
        if std::fs::rename(&path, &taken).is_err() {
            return 0;
        }
        let count = std::fs::metadata(&taken).map_or(0, |about| about.len());
        let _ = std::fs::remove_file(&taken);
        count
    }

    /// The same number without taking it.
    pub fn lost_lines(&self) -> u64 {
        std::fs::metadata(self.directory.join("lost")).map_or(0, |about| about.len())
    }

    /// Counts audit lines that did not get through.
    pub fn count_lost_lines(&self, count: u64) {
        // In a directory of somebody else's a link could lead the write anywhere.
        if self.must_be_roots_own().is_err() {
            return;
        }
        let path = self.directory.join("lost");
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        if let Ok(mut file) = file {
            let _ = file.write_all(&vec![b'.'; usize::try_from(count).unwrap_or(1)]);
        }
    }
}

/// Whether the mount at `point` gets what another namespace mounts, and passes nothing on to it
/// ("master:" in proc_pid_mountinfo(5)).
fn is_slave(point: &str, mountinfo: &str) -> bool {
    let mut at_point = mountinfo.lines().filter(|line| line.split(' ').nth(4) == Some(point));
    at_point.next_back().is_some_and(|line| {
        line.split(' ').skip(6).take_while(|it| *it != "-").any(|it| it.starts_with("master:"))
    })
}

fn held_too_long(path: &Path) -> Error {
    Error::new("lock", path.display(), "another login or logout has held it too long")
}

/// Whether a name is that of a file which was being written, by a process that is gone. Its number
/// may be another's by now: then the file stays until that one ends.
fn is_abandoned(name: &str) -> bool {
    let is_unfinished =
        name.contains(".new.") || [".on_error.", ".lost."].iter().any(|it| name.starts_with(it));
    let writer = name.rsplit_once('.').and_then(|(_, pid)| pid.parse::<u32>().ok());
    let is_gone = |pid: u32| !Path::new(&format!("/proc/{pid}")).exists();
    is_unfinished && writer.is_some_and(is_gone)
}

/// Removes from `directory` what was being written when its writer died.
pub fn remove_abandoned(directory: &Path) {
    for name in names_in(directory).iter().filter(|name| is_abandoned(name)) {
        let _ = std::fs::remove_file(directory.join(name));
    }
}

/// The names in a directory; none where there is no such directory, or where it cannot be read.
pub fn names_in(directory: &Path) -> Vec<String> {
    list(directory).unwrap_or_default()
}

/// The names in a directory; none where there is no such directory. For who would take a directory
/// that cannot be read for an empty one, and act on it.
pub fn list(directory: &Path) -> Result<Vec<String>> {
    let failed = || Error::os("list", directory.display());
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed())?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(failed())?.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

/// Makes a directory for root alone where it is not there yet.
pub fn make_directory(path: &Path) -> Result<()> {
    make_directory_of_mode(path, 0o700)
}

/// Makes a directory where it is not there yet.
pub fn make_directory_of_mode(path: &Path, mode: u32) -> Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::os("create", path.display())(error))
        }
        _ => Ok(()),
    }
}
