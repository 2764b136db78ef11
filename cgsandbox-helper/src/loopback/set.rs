//! The programs as the kernel has them: loaded once, used by all users, gone with the last.
//!
//! Nothing is pinned. What is attached stays by itself; a later helper finds it by the ids in
//! `/run/cgsandbox/loopback/programs`, and believes the kernel only if programs and maps of these
//! ids still are what was noted.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cgsandbox_bpf::{self as bpf, AttachType, MapFd, MapKind, ProgramFd, ProgramInfo};

use super::peers::{self, Pairs};
use super::programs::{ALL, Named, VERSION};
use super::record::{ANYBODY, Reach, SIZE, reach_key, reach_of_key};
use crate::error::{Error, Result};
use crate::state::State;

/// Entries for users who are logged in at one time: one for each who lets in anybody, and for pairs.
/// The kernel makes entries as they come, but room to find them at once: 1 MiB.
const MOST_REACH: u32 = 1 << 16;

/// How the names of our programs begin.
const OURS: &[u8] = b"cgsbx_";

/// All programs, and the maps that they share.
#[derive(Debug)]
pub struct Set {
    programs: Vec<(Named, ProgramFd, ProgramInfo)>,
    records: MapFd,
    reach: MapFd,
}

/// The v2 cgroup of a user.
#[derive(Debug)]
pub struct Cgroup {
    directory: File,
    path: PathBuf,
    /// As the maps know it: on v2 the id is the inode's number.
    id: u64,
}

impl Cgroup {
    /// At `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = || Error::os("open", path.display());
        let directory = File::open(path).map_err(failed())?;
        let id = directory.metadata().map_err(failed())?.ino();
        Ok(Cgroup { directory, path: path.to_owned(), id })
    }

    fn attached(&self, at: AttachType) -> Result<Vec<u32>> {
        let failed = Error::os("ask for the BPF programs of", self.path.display());
        bpf::attached(self.directory.as_fd(), at).map_err(failed)
    }

    /// Takes every program of ours off, of whichever set; others' stay.
    pub fn clear(&self) -> Result<()> {
        ALL.into_iter().try_for_each(|(_, at, _)| self.take_off(at, self.attached(at)?))
    }

    /// Takes those of `ids` off that are ours.
    fn take_off(&self, at: AttachType, ids: Vec<u32>) -> Result<()> {
        for id in ids {
            if let Ok(program) = bpf::program_of_id(id)
                && program.info().is_ok_and(|info| info.name.starts_with(OURS))
            {
                let failed = Error::os("detach a BPF program from", self.path.display());
                bpf::detach(self.directory.as_fd(), &program, at).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// Why this kernel does not take the programs.
#[derive(Debug)]
pub struct Unsupported(pub Error);

/// Why programs and maps could not be loaded.
#[derive(Debug)]
struct LoadError {
    /// Whether the kernel refused what it was asked for, rather than failed at it.
    is_refusal: bool,
    cause: io::Error,
}

impl LoadError {
    /// Of a map that was to be made or a program that was to be verified. What the kernel does not
    /// have is ENOSYS, EINVAL or, as the verifier says it, EACCES; what it keeps from root here
    /// EPERM. It also fails for want of memory, and so might whoever is at the own limits.
    fn asked(cause: io::Error) -> Self {
        use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
        let is_refusal = [InvalidInput, PermissionDenied, Unsupported].contains(&cause.kind());
        LoadError { is_refusal, cause }
    }

    fn failed(cause: io::Error) -> Self {
        LoadError { is_refusal: false, cause }
    }
}

impl Set {
    /// The set that is in use, or a new one.
    ///
    /// The kernel verifies programs while nobody waits for it: of two first logins at the same
    /// time each loads a set, and one is dropped.
    pub fn obtain(
        state: &State,
        patience: Duration,
    ) -> Result<std::result::Result<Self, Unsupported>> {
        if let Some(set) = Self::in_use(state) {
            return Ok(Ok(set));
        }
        let set = match Self::load_or_tell()? {
            Ok(set) => set,
            unsupported => return Ok(unsupported),
        };
        let _lock = state.lock_loopback(patience)?;
        if let Some(set) = Self::in_use(state) {
            return Ok(Ok(set));
        }
        // The new map of who may reach whom is empty.
        peers::forget_any(state);
        let note = super::directory_in(state).join("programs");
        state.write(&note, set.to_text().as_bytes())?;
        Ok(Ok(set))
    }

    /// The set that is in use.
    pub fn in_use(state: &State) -> Option<Self> {
        let note = super::directory_in(state).join("programs");
        std::fs::read_to_string(note).ok().and_then(|text| Self::find(&text))
    }

    /// Has the kernel verify all programs, and forgets them.
    pub fn try_out() -> Result<std::result::Result<(), Unsupported>> {
        Self::load_or_tell().map(|loaded| loaded.map(drop))
    }

    fn load_or_tell() -> Result<std::result::Result<Self, Unsupported>> {
        Self::load().map(Ok).or_else(|LoadError { is_refusal, cause }| {
            let error = Error::os("load", "the BPF programs of loopback")(cause);
            if is_refusal { Ok(Err(Unsupported(error))) } else { Err(error) }
        })
    }

    fn load() -> std::result::Result<Self, LoadError> {
        let size = u32::try_from(SIZE).unwrap_or_default();
        let records = bpf::create_map(c"cgsbx_records", MapKind::CgroupStorage, 8, size)
            .map_err(LoadError::asked)?;
        let reach = bpf::create_map(c"cgsbx_reach", MapKind::Hash(MOST_REACH), 8, 1)
            .map_err(LoadError::asked)?;
        let mut programs = Vec::new();
        for named @ (name, at, build) in ALL {
            let program =
                bpf::load(name, at, &build(), &[&records, &reach]).map_err(LoadError::asked)?;
            let info = program.info().map_err(LoadError::failed)?;
            programs.push((named, program, info));
        }
        Ok(Set { programs, records, reach })
    }

    /// What [`Self::to_text`] has noted, if all of it is still that.
    fn find(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(VERSION) {
            return None;
        }
        let (records, reach) = lines.next()?.split_once(' ')?;
        let maps = [records.parse().ok()?, reach.parse().ok()?];
        let mut programs = Vec::new();
        for named in ALL {
            let (id, tag) = lines.next()?.split_once(' ')?;
            let program = bpf::program_of_id(id.parse().ok()?).ok()?;
            let info = program.info().ok()?;
            let same = format!("{:02x?}", info.tag) == tag
                && info.maps.iter().all(|map| maps.contains(map));
            programs.push(same.then_some((named, program, info))?);
        }
        let [records, reach] = maps.map(bpf::map_of_id);
        let (records, reach) = (records.ok()?, reach.ok()?);
        let are_they = records.sizes() == (8, SIZE) && reach.sizes() == (8, 1);
        are_they.then_some(Set { programs, records, reach })
    }

    fn to_text(&self) -> String {
        let (records, reach) = (self.records.id(), self.reach.id());
        let mut text = format!("{VERSION}\n{records} {reach}\n");
        for (_, _, info) in &self.programs {
            let _ = writeln!(text, "{} {:02x?}", info.id, info.tag);
        }
        text
    }

    /// Attaches every program that is not attached yet, with `record` in place before the first
    /// that changes anything, and makes sure of it.
    pub fn attach(&self, cgroup: &Cgroup, record: &[u8; SIZE]) -> Result<()> {
        for (count, ((_, at, _), program, info)) in self.programs.iter().enumerate() {
            match bpf::attach(cgroup.directory.as_fd(), program, *at) {
                // Where it is attached already that is an error, too: EINVAL, or what is asked first.
                Err(error) if !cgroup.attached(*at)?.contains(&info.id) => {
                    return Err(Error::os("attach a BPF program to", cgroup.path.display())(error));
                }
                _ => {}
            }
            // The first attached is what makes room for it.
            if count == 0 {
                let failed = Error::os("put a record for", cgroup.path.display());
                self.records.put(cgroup.id.to_ne_bytes(), record).map_err(failed)?;
            }
        }
        for ((name, at, _), _, info) in &self.programs {
            let mut there = cgroup.attached(*at)?;
            if !there.contains(&info.id) {
                let cause = format!("the kernel does not show {} there", name.to_string_lossy());
                return Err(Error::new("attach BPF programs to", cgroup.path.display(), cause));
            }
            // An older version's, of before an upgrade.
            there.retain(|id| *id != info.id);
            cgroup.take_off(*at, there)?;
        }
        Ok(())
    }

    /// The pairs with `number` in them that the programs know of.
    pub fn pairs_of(&self, number: u32) -> Result<Vec<(u32, u32)>> {
        let walk = || {
            let mut pairs = Vec::new();
            let mut key = None;
            while let Some(next) = self.reach.next_key(key)? {
                let (owner, sender) = reach_of_key(next);
                if sender != ANYBODY && (owner == number || sender == number) {
                    pairs.push((owner, sender));
                }
                key = Some(next);
            }
            Ok(pairs)
        };
        walk().map_err(|error: io::Error| Error::os("list", "who may reach whose localhost")(error))
    }

    /// Whether the programs let anybody reach `number`.
    pub fn is_open(&self, number: u32) -> Result<bool> {
        let failed = Error::os("ask", "who may reach whose localhost");
        self.reach.has(reach_key(number, ANYBODY)).map_err(failed)
    }

    /// Tells the programs whether anybody may reach `number`, and what pairs there are with it;
    /// those of `before` that are not `wanted` any more go.
    pub fn change(
        &self,
        number: u32,
        is_open: bool,
        wanted: &Pairs,
        before: &[(u32, u32)],
    ) -> Result<()> {
        let put = |(owner, sender), reach| self.reach.put(reach_key(owner, sender), &[reach as u8]);
        // Pairs may leave somebody out, so they are there whenever anybody is let in.
        let mut changed = wanted.iter().try_for_each(|(pair, reach)| put(*pair, *reach));
        changed = match changed {
            Ok(()) if is_open => put((number, ANYBODY), Reach::Granted),
            changed => self.reach.remove(reach_key(number, ANYBODY)).and(changed),
        };
        for (owner, sender) in before.iter().filter(|pair| !wanted.contains_key(pair)) {
            changed = self.reach.remove(reach_key(*owner, *sender)).and(changed);
        }
        changed.map_err(Error::os("change", "who may reach whose localhost"))
    }
}
