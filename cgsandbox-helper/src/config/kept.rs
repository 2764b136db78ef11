//! The last configuration that could be used, kept for the time in which the current
//! one cannot: a typo in a file must not decide who gets in.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
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

/// The first line of the file. A login finds in it whether its own texts are kept: to parse
/// all texts again only to compare them would double what many drop-ins cost.
#[derive(Default, Serialize, Deserialize)]
struct Summary {
    /// Of the texts of each configuration, by the same key.
    digests: BTreeMap<String, u64>,
    /// How many bytes follow.
    length: usize,
}

#[derive(Serialize, Deserialize)]
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
        Problem::of(file::shown(state_dir), "there is no directory to store the configuration in")
    })?;
    // What cannot be read or understood is replaced.
    let bytes = contents(&dir).unwrap_or_default();
    let key = sources.key();
    let mut digests = summary(&bytes).map(|summary| summary.digests).unwrap_or_default();
    let digest = digest(texts);
    if digests.get(&key) == Some(&digest) {
        return Ok(());
    }
    let mut kept = parse(&dir, &bytes).unwrap_or_default();
    kept.0.insert(key.clone(), texts.iter().map(KeptText::from).collect());
    digests.insert(key, digest);
    digests.retain(|key, _| kept.0.contains_key(key));
    write(&dir, &kept, digests)
}

/// Only root writes these texts, so this has to tell changes, not to withstand attacks. The
/// algorithm may differ after an upgrade: then the texts are written anew.
fn digest(texts: &[SourceText]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for SourceText { path, text, drop_in } in texts {
        (path, text, drop_in).hash(&mut hasher);
    }
    hasher.finish()
}

/// The first line, if all that it speaks of is there.
fn summary(bytes: &[u8]) -> Option<Summary> {
    let (first, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n')?);
    let summary: Summary = serde_json::from_slice(first).ok()?;
    (summary.length == rest.len() - 1).then_some(summary)
}

/// What [`keep`] kept for `sources`.
pub(super) fn recall(
    tree: &Tree,
    state_dir: &Path,
    sources: &Sources,
) -> Result<Option<Vec<SourceText>>, Problem> {
    let Some(dir) = tree.dir(state_dir)? else { return Ok(None) };
    let texts = parse(&dir, &contents(&dir)?)?.0.remove(&sources.key());
    Ok(texts.map(|texts| texts.into_iter().map(SourceText::from).collect()))
}

fn contents(dir: &TrustedDir) -> Result<Vec<u8>, Problem> {
    match dir.read(OsStr::new(FILE), LARGEST)? {
        Entry::Contents(bytes) => Ok(bytes),
        Entry::Null | Entry::Nothing => Ok(Vec::new()),
        Entry::TooLarge => {
            let path = file::shown(&dir.path_of(OsStr::new(FILE)));
            Err(Problem::of(path, "the kept configuration is damaged: it is too large"))
        }
    }
}

fn parse(dir: &TrustedDir, bytes: &[u8]) -> Result<Kept, Problem> {
    if bytes.is_empty() {
        return Ok(Kept::default());
    }
    // An older version wrote no first line.
    let start = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    serde_json::from_slice(&bytes[start..]).map_err(|error| {
        let path = file::shown(&dir.path_of(OsStr::new(FILE)));
        Problem::of(path, format!("the kept configuration is damaged: {error}"))
    })
}

/// In one step for readers, and by one writer at a time; a writer that died is overwritten.
fn write(dir: &TrustedDir, kept: &Kept, digests: BTreeMap<String, u64>) -> Result<(), Problem> {
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
    let unwritable =
        |error: serde_json::Error| Problem::of(path.as_str(), format!("cannot write it: {error}"));
    let body = serde_json::to_vec(kept).map_err(unwritable)?;
    let mut json =
        serde_json::to_vec(&Summary { digests, length: body.len() }).map_err(unwritable)?;
    json.push(b'\n');
    json.extend(body);
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
