//! The last configuration that could be used, kept for the time in which the current
//! one cannot: a typo in a file must not decide who gets in.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::Sources;
use super::diagnostic::{Problem, SourceText};
use super::file::{self, Entry, Tree, TrustedDir};

const FILE: &str = "last-good";
const NEW: &str = "last-good.new";

/// JSON takes two bytes for a line's end; several configurations may be in use.
const LARGEST: usize = 8 * file::LARGEST;

/// The texts of each configuration in use, by [`Sources::key`].
#[derive(Default, Serialize, Deserialize)]
struct Kept(BTreeMap<String, Vec<KeptText>>);

#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct KeptText {
    path: String,
    text: String,
    drop_in: bool,
}

/// Keeps `texts` as the configuration of `sources`, unless they are kept already.
pub(super) fn keep(
    tree: &Tree,
    state_dir: &Path,
    sources: &Sources,
    texts: &[SourceText],
) -> Result<(), Problem> {
    let dir = tree.dir(state_dir)?.ok_or_else(|| {
        Problem::of(file::shown(state_dir), "there is no directory to keep the configuration in")
    })?;
    // What cannot be read or understood is replaced.
    let mut kept = read(&dir).unwrap_or_default();
    let texts: Vec<KeptText> = texts.iter().map(KeptText::from).collect();
    let key = sources.key();
    if kept.0.get(&key) == Some(&texts) {
        return Ok(());
    }
    kept.0.insert(key, texts);
    write(&dir, &kept)
}

/// What [`keep`] kept for `sources`.
pub(super) fn recall(
    tree: &Tree,
    state_dir: &Path,
    sources: &Sources,
) -> Result<Option<Vec<SourceText>>, Problem> {
    let Some(dir) = tree.dir(state_dir)? else { return Ok(None) };
    let texts = read(&dir)?.0.remove(&sources.key());
    Ok(texts.map(|texts| texts.into_iter().map(SourceText::from).collect()))
}

fn read(dir: &TrustedDir) -> Result<Kept, Problem> {
    let name = OsStr::new(FILE);
    match dir.read(name, LARGEST)? {
        Entry::Contents(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            let path = file::shown(&dir.path_of(name));
            Problem::of(path, format!("the kept configuration is damaged: {error}"))
        }),
        Entry::Null | Entry::Nothing => Ok(Kept::default()),
    }
}

/// In one step for readers, and by one writer at a time; a writer that died is overwritten.
fn write(dir: &TrustedDir, kept: &Kept) -> Result<(), Problem> {
    let path = file::shown(&dir.path_of(OsStr::new(FILE)));
    let failed = |errno: Errno| Problem::of(path.as_str(), format!("cannot write it: {errno}"));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir.fd(), NEW, flags | OFlags::NONBLOCK, Mode::from(0o600))
        .map_err(failed)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        // Another login is at it, with the same texts or newer ones.
        Err(Errno::WOULDBLOCK) => return Ok(()),
        other => other.map_err(failed)?,
    }
    let ours = rustix::fs::fstat(&file).map_err(failed)?;
    match rustix::fs::statat(dir.fd(), NEW, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) if (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino) => {}
        // Another login finished between our open and our lock: this is its file now.
        _ => return Ok(()),
    }
    let json = serde_json::to_vec(kept)
        .map_err(|error| Problem::of(path.as_str(), format!("cannot write it: {error}")))?;
    rustix::fs::ftruncate(&file, 0).map_err(failed)?;
    rustix::fs::fchmod(&file, Mode::from(0o600)).map_err(failed)?;
    let mut file = std::fs::File::from(file);
    file.write_all(&json)
        .map_err(|error| Problem::of(path.as_str(), format!("cannot write it: {error}")))?;
    rustix::fs::renameat(dir.fd(), NEW, dir.fd(), FILE).map_err(failed)
}

impl From<&SourceText> for KeptText {
    fn from(source: &SourceText) -> Self {
        KeptText {
            path: source.path.to_string(),
            text: source.text.to_string(),
            drop_in: source.drop_in,
        }
    }
}

impl From<KeptText> for SourceText {
    fn from(kept: KeptText) -> Self {
        SourceText { path: kept.path.into(), text: kept.text.into(), drop_in: kept.drop_in }
    }
}
