//! One service's file in `/etc/pam.d`, replaced as a whole or not at all.
//!
//! Whoever logs in meanwhile reads the old file or the new one. What a kill or a full disk can
//! leave behind is a hidden file beside it, which the next change removes.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// How long another `enable` or `disable` is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What no PAM file comes near to.
const LARGEST: u64 = 1 << 20;

/// Signatures of the old content: they do not fit the new one.
const OF_CONTENT: [&[u8]; 2] = [b"security.ima", b"security.evm"];

/// `/etc/pam.d`, while nobody else of us changes it.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

/// A file as it was read.
#[derive(Debug)]
pub(super) struct Found {
    pub name: String,
    pub path: PathBuf,
    pub bytes: Vec<u8>,
    file: File,
    about: std::fs::Metadata,
}

impl Directory {
    /// Waits for those who change it now. The lock is on the directory itself and leaves no
    /// file behind.
    pub(super) fn lock(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())
            .map_err(Error::os("open", path.display()))?;
        let end = Instant::now() + PATIENCE;
        loop {
            match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Directory { fd, path: path.to_owned() }),
                Err(Errno::AGAIN) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(Errno::AGAIN) => {
                    let cause = "another cgsandbox enable or disable is running; try again";
                    return Err(Error::new("lock", path.display(), cause));
                }
                Err(error) => return Err(Error::os("lock", path.display())(error)),
            }
        }
    }

    /// Removes the draft that a killed change of this file has left.
    pub(super) fn clear_up(&self, name: &str) -> Result<()> {
        match rustix::fs::unlinkat(&self.fd, hidden(name), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => {
                let path = self.path.join(hidden(name));
                Err(Error::os("remove", path.display())(error))
            }
        }
    }

    /// The file of this name; none where there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<Found>> {
        let path = self.path.join(name);
        // Without waiting for the writer that a FIFO lacks.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => {
                let cause = match std::fs::read_link(&path) {
                    Ok(to) => format!(
                        "it is a symlink to {}; the tool that manages it must add or remove the line, \
                         or make it a file of its own first",
                        to.display()
                    ),
                    Err(error) => error.to_string(),
                };
                return Err(Error::new("change", path.display(), cause));
            }
            Err(error) => return Err(Error::os("open", path.display())(error)),
        };
        let mut file = File::from(fd);
        let about = file.metadata().map_err(Error::os("look at", path.display()))?;
        if !about.is_file() {
            return Err(Error::new("change", path.display(), "it is not a regular file"));
        }
        let mut bytes = Vec::new();
        let read = Read::by_ref(&mut file).take(LARGEST + 1).read_to_end(&mut bytes);
        read.map_err(Error::os("read", path.display()))?;
        if bytes.len() as u64 > LARGEST {
            let cause = "it is larger than 1 MiB, so it is not a PAM file";
            return Err(Error::new("change", path.display(), cause));
        }
        Ok(Some(Found { name: name.to_owned(), path, bytes, file, about }))
    }

    /// Gives `old` the content `new`, and to all else what it had. `prepare` runs when the
    /// new content is on the disk, and nobody sees it yet.
    pub(super) fn replace(
        &self,
        old: &Found,
        new: &[u8],
        prepare: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let draft = self.draft(&old.name, new, Some(old))?;
        prepare()?;
        self.must_be_unchanged(old)?;
        draft.rename()?;
        let seen = self.sync().and_then(|()| self.must_have(&old.name, new, Some(old)));
        seen.map_err(|error| match self.put_back(old) {
            Ok(()) => error,
            Err(second) => self.told_twice(&error, &second),
        })
    }

    /// Makes a file of root's that is not there yet; `prepare` as above.
    pub(super) fn create(
        &self,
        name: &str,
        new: &[u8],
        prepare: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let draft = self.draft(name, new, None)?;
        prepare()?;
        draft.link()?;
        let seen = self.sync().and_then(|()| self.must_have(name, new, None));
        seen.map_err(|error| match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => error,
            Err(second) => self.told_twice(&error, &second),
        })
    }

    /// Removes the file, if it is still as it was read.
    pub(super) fn remove(&self, found: &Found) -> Result<()> {
        self.must_be_unchanged(found)?;
        rustix::fs::unlinkat(&self.fd, &found.name, AtFlags::empty())
            .map_err(Error::os("remove", found.path.display()))?;
        self.sync()
    }

    /// Writes `content` to the disk under a hidden name, as a file like `like`.
    fn draft(&self, name: &str, content: &[u8], like: Option<&Found>) -> Result<Draft<'_>> {
        // Nobody else of us is here: we hold the lock.
        self.clear_up(name)?;
        let hidden = hidden(name);
        let path = self.path.join(&hidden);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, &hidden, flags | OFlags::NOFOLLOW, Mode::RUSR)
            .map_err(Error::os("create", path.display()))?;
        let draft = Draft { directory: self, hidden, name: name.to_owned(), is_there: true };
        let mut file = File::from(fd);
        file.write_all(content).map_err(Error::os("write to", path.display()))?;
        match like {
            Some(like) => make_alike(&file, like)?,
            None => rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))
                .map_err(Error::os("change the mode of", path.display()))?,
        }
        file.sync_all().map_err(Error::os("write to the disk", path.display()))?;
        Ok(draft)
    }

    fn must_be_unchanged(&self, old: &Found) -> Result<()> {
        let now = self.read(&old.name)?;
        let same = |now: &Found| {
            (now.about.dev(), now.about.ino()) == (old.about.dev(), old.about.ino())
                && now.bytes == old.bytes
        };
        if now.as_ref().is_some_and(same) {
            return Ok(());
        }
        let cause = "somebody else changed it meanwhile; nothing was done, run this again";
        Err(Error::new("change", old.path.display(), cause))
    }

    /// Reads back what was written.
    fn must_have(&self, name: &str, content: &[u8], like: Option<&Found>) -> Result<()> {
        let path = self.path.join(name);
        let Some(now) = self.read(name)? else {
            return Err(Error::new("find", path.display(), "it was just written"));
        };
        let rights = |of: &std::fs::Metadata| (of.uid(), of.gid(), of.mode());
        let alike = like.is_none_or(|like| rights(&like.about) == rights(&now.about));
        if now.bytes == content && alike {
            return Ok(());
        }
        Err(Error::new("verify", path.display(), "it differs from what was written"))
    }

    fn put_back(&self, old: &Found) -> Result<()> {
        self.draft(&old.name, &old.bytes, Some(old))?.rename()?;
        self.sync()
    }

    fn told_twice(&self, error: &Error, second: &dyn std::fmt::Display) -> Error {
        let cause = format!("{error}; and it could not be put back: {second}");
        Error::new("change", self.path.display(), cause)
    }

    fn sync(&self) -> Result<()> {
        rustix::fs::fsync(&self.fd).map_err(Error::os("write to the disk", self.path.display()))
    }
}

/// The name of a draft: that of no service that a program asks for.
fn hidden(name: &str) -> String {
    format!(".{name}.cgsandbox")
}

/// A finished file under a hidden name; removed where it is given up.
struct Draft<'a> {
    directory: &'a Directory,
    hidden: String,
    name: String,
    is_there: bool,
}

impl Draft<'_> {
    /// In the place of the file of its name.
    fn rename(mut self) -> Result<()> {
        let (fd, path) = (&self.directory.fd, self.directory.path.join(&self.name));
        rustix::fs::renameat(fd, &self.hidden, fd, &self.name)
            .map_err(Error::os("replace", path.display()))?;
        self.is_there = false;
        Ok(())
    }

    /// Where no file of its name is.
    fn link(self) -> Result<()> {
        let (fd, path) = (&self.directory.fd, self.directory.path.join(&self.name));
        rustix::fs::linkat(fd, &self.hidden, fd, &self.name, AtFlags::empty())
            .map_err(Error::os("create", path.display()))
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if self.is_there {
            // If not now, then before the next change.
            let _ = rustix::fs::unlinkat(&self.directory.fd, &self.hidden, AtFlags::empty());
        }
    }
}

/// Owner, mode and extended attributes, an SELinux label and ACLs among these.
fn make_alike(file: &File, like: &Found) -> Result<()> {
    let (about, shown) = (&like.about, like.path.display());
    let (uid, gid) = (Uid::from_raw(about.uid()), Gid::from_raw(about.gid()));
    rustix::fs::fchown(file, Some(uid), Some(gid))
        .map_err(Error::os("keep the owner of", shown))?;
    // After the owner, whose change takes setuid bits away.
    rustix::fs::fchmod(file, Mode::from_raw_mode(about.mode() & 0o7777))
        .map_err(Error::os("keep the mode of", like.path.display()))?;
    let mut names = vec![0; 1 << 16];
    let length = match rustix::fs::flistxattr(&like.file, names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(Error::os("read the attributes of", like.path.display())(error)),
    };
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut value = vec![0; 1 << 16];
    for name in names.filter(|name| !OF_CONTENT.contains(name)) {
        let shown = format!("{} of {}", String::from_utf8_lossy(name), like.path.display());
        let length = rustix::fs::fgetxattr(&like.file, name, value.as_mut_slice())
            .map_err(Error::os("read", &shown))?;
        rustix::fs::fsetxattr(file, name, &value[..length], XattrFlags::empty())
            .map_err(Error::os("keep", &shown))?;
    }
    Ok(())
}
