//! Reading files that only root may have written.
//!
//! Every directory on the way is opened from the one before it and checked as opened,
//! so that no check speaks of another object than the one that is read. Nothing that
//! is not a regular file is opened, and nothing blocks.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::diagnostic::Problem;

/// What one configuration may hold, all its files together, in bytes.
///
/// Each login parses it. So much takes about half a second and 230 MB: a profile and a rule for
/// each of 30,000 users.
pub(super) const LARGEST: usize = 4 << 20;

/// A directory tree whose files are believed, from its root down.
pub(super) struct Tree {
    root: OwnedFd,
    /// What was opened before: the places of a configuration have most of their ways in common.
    opened: RefCell<BTreeMap<PathBuf, Option<Rc<OwnedFd>>>>,
}

/// A directory that only trusted users can change.
pub(super) struct TrustedDir {
    fd: Rc<OwnedFd>,
    path: PathBuf,
}

/// What is found under a name.
pub(super) enum Entry {
    Contents(Vec<u8>),
    /// A symlink to `/dev/null`.
    Null,
    Nothing,
    /// More than was asked for.
    TooLarge,
}

impl Tree {
    /// The host's.
    pub(super) fn host() -> Result<Self, Problem> {
        Self::at(Path::new("/"))
    }

    /// The one at `root`, which is taken for `/`.
    pub(super) fn at(root: &Path) -> Result<Self, Problem> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, root, flags, Mode::empty())
            .map_err(|errno| failed("open", root, errno))?;
        Ok(Tree { root, opened: RefCell::default() })
    }

    /// The directory at the absolute path `path`; none if it is not there.
    pub(super) fn dir(&self, path: &Path) -> Result<Option<TrustedDir>, Problem> {
        let crooked = || {
            Problem::of(shown(path), "this is not an absolute path")
                .help("write it from / on, without ..")
        };
        if !path.is_absolute() {
            return Err(crooked());
        }
        let mut at = PathBuf::from("/");
        let mut fd = self.step(&self.root, OsStr::new("."), &at)?;
        for component in path.components() {
            let name = match component {
                Component::RootDir => continue,
                Component::Normal(name) => name,
                _ => return Err(crooked()),
            };
            let Some(dir) = &fd else { return Ok(None) };
            at.push(name);
            fd = self.step(dir, name, &at)?;
        }
        Ok(fd.map(|fd| TrustedDir { fd, path: at }))
    }

    /// Opens `path`, and what is below it, anew when it is asked for again.
    pub(super) fn forget(&self, path: &Path) {
        self.opened.borrow_mut().retain(|opened, _| !opened.starts_with(path));
    }

    /// The directory `name` in `parent`, of which `path` is the path.
    fn step(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        path: &Path,
    ) -> Result<Option<Rc<OwnedFd>>, Problem> {
        if let Some(fd) = self.opened.borrow().get(path) {
            return Ok(fd.clone());
        }
        let fd = open_dir(parent, name, path)?.map(Rc::new);
        self.opened.borrow_mut().insert(path.to_owned(), fd.clone());
        Ok(fd)
    }
}

impl TrustedDir {
    /// The path of what is called `name` in it.
    pub(super) fn path_of(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// The names in it, in no order.
    pub(super) fn names(&self) -> Result<Vec<OsString>, Problem> {
        let unreadable = |errno| failed("list", &self.path, errno);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            names.push(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
        }
        Ok(names)
    }

    /// What `name` holds, at most `largest` bytes of it.
    pub(super) fn read(&self, name: &OsStr, largest: usize) -> Result<Entry, Problem> {
        let path = self.path_of(name);
        // First without opening: to open a device or a FIFO has effects of its own.
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Entry::Nothing),
            Err(errno) => return Err(failed("look at", &path, errno)),
            Ok(stat) if kind(&stat) == FileType::Symlink => {
                let target = rustix::fs::readlinkat(&self.fd, name, Vec::new());
                return match target {
                    Ok(target) if target.to_bytes() == b"/dev/null" => Ok(Entry::Null),
                    _ => Err(symlink(&path)),
                };
            }
            Ok(stat) => must_be_regular(&stat, &path)?,
        }
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, name, flags, Mode::empty())
            .map_err(|errno| failed("open", &path, errno))?;
        let stat = rustix::fs::fstat(&file).map_err(|errno| failed("look at", &path, errno))?;
        must_be_regular(&stat, &path)?;
        must_be_trusted(&stat, &path)?;
        let contents = contents(file, &stat, largest, &path)?;
        Ok(contents.map_or(Entry::TooLarge, Entry::Contents))
    }
}

/// What `path` holds, whoever wrote it: for a draft that somebody wants checked.
///
/// The second value says why a login would not read it where it is.
pub(super) fn read_draft(
    path: &Path,
    largest: usize,
) -> Result<(Vec<u8>, Option<Problem>), Problem> {
    let stat = rustix::fs::stat(path).map_err(|errno| failed("open", path, errno))?;
    must_be_regular(&stat, path)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(|errno| failed("open", path, errno))?;
    let stat = rustix::fs::fstat(&file).map_err(|errno| failed("look at", path, errno))?;
    must_be_regular(&stat, path)?;
    let distrusted = must_be_trusted(&stat, path).err().map(Problem::warning);
    let contents = contents(file, &stat, largest, path)?;
    contents.map(|bytes| (bytes, distrusted)).ok_or_else(|| too_large(path))
}

fn open_dir(parent: impl AsFd, name: &OsStr, path: &Path) -> Result<Option<OwnedFd>, Problem> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |flags| rustix::fs::openat(&parent, name, flags, Mode::empty());
    let opened = match open(flags) {
        // A directory that may be passed but not listed is still a way.
        Err(Errno::ACCESS) => open(flags | OFlags::PATH),
        other => other,
    };
    match opened {
        Ok(fd) => {
            let stat = rustix::fs::fstat(&fd).map_err(|errno| failed("look at", path, errno))?;
            must_be_trusted(&stat, path)?;
            Ok(Some(fd))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::NOTDIR | Errno::LOOP) => {
            let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW);
            match stat {
                Ok(stat) if kind(&stat) == FileType::Symlink => Err(symlink(path)),
                _ => Err(Problem::of(shown(path), "this is not a directory")
                    .help("put a directory in its place")),
            }
        }
        Err(errno) => Err(failed("open", path, errno)),
    }
}

fn must_be_regular(stat: &Stat, path: &Path) -> Result<(), Problem> {
    let what = match kind(stat) {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => "a directory",
        FileType::Symlink => return Err(symlink(path)),
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "something unknown",
    };
    Err(Problem::of(shown(path), format!("this is {what}, not a file"))
        .help("put a regular file in its place"))
}

/// Whoever can write it decides what root does. An ordinary user, who only asks what
/// would be done, may ask of files of their own.
pub(super) fn must_be_trusted(stat: &Stat, path: &Path) -> Result<(), Problem> {
    let us = rustix::process::geteuid().as_raw();
    let path = shown(path);
    if stat.st_uid != 0 && stat.st_uid != us {
        return Err(Problem::of(path.as_str(), format!("its owner is uid {}", stat.st_uid))
            .help(format!("chown root:root {}", quoted(&path))));
    }
    // Where a file has an access list, the group bits are its mask: they cover it too.
    if stat.st_mode & 0o022 != 0 {
        let message = format!("others can write it (mode {:04o})", stat.st_mode & 0o7777);
        return Err(
            Problem::of(path.as_str(), message).help(format!("chmod go-w {}", quoted(&path)))
        );
    }
    Ok(())
}

/// None if it is larger than `largest`.
fn contents(
    file: OwnedFd,
    stat: &Stat,
    largest: usize,
    path: &Path,
) -> Result<Option<Vec<u8>>, Problem> {
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    if size <= largest {
        let failed =
            |error: std::io::Error| Problem::of(shown(path), format!("cannot read it: {error}"));
        let mut file = std::fs::File::from(file).take(largest as u64 + 1);
        // One byte more than there should be: a single call then reads the file and finds its end.
        bytes.resize(size + 1, 0);
        let read = file.read(&mut bytes).map_err(failed)?;
        bytes.truncate(read);
        if read != size {
            // It has changed since it was looked at, or is not read in one piece.
            file.read_to_end(&mut bytes).map_err(failed)?;
        }
    }
    if size > largest || bytes.len() > largest {
        return Ok(None);
    }
    Ok(Some(bytes))
}

/// A file that is [`Entry::TooLarge`].
pub(super) fn too_large(path: &Path) -> Problem {
    Problem::of(shown(path), "with this file the configuration is larger than 4 MiB")
        .help("is this the right file? Write one rule with a list of users in place of many")
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn symlink(path: &Path) -> Problem {
    Problem::of(shown(path), "symbolic links are not followed")
        .help("put the file itself in its place; a link to /dev/null masks a drop-in")
}

fn failed(verb: &str, path: &Path, errno: Errno) -> Problem {
    let message = format!("cannot {verb} it: {errno}");
    let problem = Problem { unread: true, ..Problem::of(shown(path), message) };
    match errno {
        Errno::ACCESS | Errno::PERM => problem.help("run this as root"),
        _ => problem,
    }
}

pub(super) fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// As a shell takes it.
fn quoted(path: &str) -> String {
    let harmless = |char: char| char.is_ascii_alphanumeric() || "/._-+".contains(char);
    match path.chars().all(harmless) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}
