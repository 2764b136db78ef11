//! The few commands of bpf(2) that are needed, each in one function.
//!
//! Every command takes a union of which this code fills a prefix: the kernel takes what is left
//! out for zeroes, so older and newer kernels read the same bytes.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::assembler::Program;

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const MAP_UPDATE: libc::c_int = 2;
const MAP_DELETE: libc::c_int = 3;
const MAP_NEXT_KEY: libc::c_int = 4;
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_FD_BY_ID: libc::c_int = 13;
const MAP_FD_BY_ID: libc::c_int = 14;
const INFO_BY_FD: libc::c_int = 15;
const PROG_QUERY: libc::c_int = 16;

/// Beside what others attach to the same cgroup, systemd among them.
const ALLOW_MULTI: u32 = 1 << 1;

const NO_PREALLOC: u32 = 1;

/// More programs than the kernel allows at one hook of one cgroup (BPF_CGROUP_MAX_PROGS).
const MOST_PROGRAMS: usize = 64;

/// Where in a cgroup a program runs (`enum bpf_attach_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's names")]
pub enum AttachType {
    InetIngress = 0,
    InetEgress = 1,
    Inet4Bind = 8,
    Inet6Bind = 9,
    Inet4Connect = 10,
    Inet6Connect = 11,
    Udp4Sendmsg = 14,
    Udp6Sendmsg = 15,
    Udp4Recvmsg = 19,
    Udp6Recvmsg = 20,
    Inet4Getpeername = 29,
    Inet6Getpeername = 30,
    Inet4Getsockname = 31,
    Inet6Getsockname = 32,
}

impl AttachType {
    /// The type of program that runs there (`enum bpf_prog_type`).
    fn program_type(self) -> u32 {
        match self {
            AttachType::InetIngress | AttachType::InetEgress => 8,
            _ => 18,
        }
    }
}

/// What a map is (`enum bpf_map_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapKind {
    /// Entries by key, as they come, at most so many.
    Hash(u32),
    /// A value for each cgroup that a program is attached to, made and freed with it. The key is
    /// the cgroup's id (Linux 5.9).
    CgroupStorage,
}

/// A loaded program.
#[derive(Debug)]
pub struct ProgramFd(OwnedFd);

/// A map.
#[derive(Debug)]
pub struct MapFd {
    fd: OwnedFd,
    id: u32,
    /// Of a key and of a value, in bytes.
    sizes: (usize, usize),
}

/// What the kernel says of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramInfo {
    /// Its id, for as long as it is loaded.
    pub id: u32,
    /// The digest of its instructions.
    pub tag: [u8; 8],
    /// The ids of the maps that it uses.
    pub maps: Vec<u32>,
    /// Its name, of at most 15 bytes.
    pub name: Vec<u8>,
}

/// A map of fixed sizes, in bytes.
pub fn create_map(name: &CStr, kind: MapKind, key_size: u32, value_size: u32) -> io::Result<MapFd> {
    let (kind, entries, flags) = match kind {
        MapKind::Hash(most) => (1, most, NO_PREALLOC),
        MapKind::CgroupStorage => (19, 0, 0),
    };
    let mut attr = Attr::new();
    attr.words(0, &[kind, key_size, value_size, entries, flags]).name(28, name);
    // SAFETY: MAP_CREATE reads the attribute alone.
    let fd = unsafe { attr.call(MAP_CREATE) }.and_then(new_fd)?;
    // What fails from here on is not what the kernel says of such a map.
    MapFd::of(fd).map_err(io::Error::other)
}

impl MapFd {
    fn of(fd: OwnedFd) -> io::Result<Self> {
        let info = info(fd.as_fd(), Vec::new(), 0)?;
        let sizes = (info.word(8) as usize, info.word(12) as usize);
        Ok(MapFd { fd, id: info.word(4), sizes })
    }

    /// Its id, for as long as it is there.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The sizes of a key and of a value, in bytes.
    pub fn sizes(&self) -> (usize, usize) {
        self.sizes
    }

    /// Puts `value` under `key`. Both must have the map's sizes.
    pub fn put<const K: usize>(&self, key: [u8; K], value: &[u8]) -> io::Result<()> {
        if self.sizes != (K, value.len()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut attr = self.attr(&key);
        attr.pointer(16, value.as_ptr());
        // SAFETY: key and value outlive the call and are as long as the map's, checked above.
        unsafe { attr.call(MAP_UPDATE) }.map(drop)
    }

    /// Whether there is anything under `key`.
    pub fn has<const K: usize>(&self, key: [u8; K]) -> io::Result<bool> {
        if self.sizes.0 != K {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut value = vec![0_u8; self.sizes.1];
        let mut attr = self.attr(&key);
        attr.pointer(16, value.as_mut_ptr());
        // SAFETY: key and value outlive the call and are as long as the map's.
        absent(unsafe { attr.call(MAP_LOOKUP) }).map(|found| found.is_some())
    }

    /// Removes what is under `key`; nothing there is fine.
    pub fn remove<const K: usize>(&self, key: [u8; K]) -> io::Result<()> {
        if self.sizes.0 != K {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: the key outlives the call and is as long as the map's, checked above.
        absent(unsafe { self.attr(&key).call(MAP_DELETE) }).map(drop)
    }

    /// The key after `key`, or the first; none after the last.
    pub fn next_key<const K: usize>(&self, key: Option<[u8; K]>) -> io::Result<Option<[u8; K]>> {
        if self.sizes.0 != K {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut next = [0; K];
        let mut attr = Attr::new();
        attr.words(0, &[self.number()]).pointer(16, next.as_mut_ptr());
        if let Some(key) = &key {
            attr.pointer(8, key.as_ptr());
        }
        // SAFETY: both keys outlive the call and are as long as the map's, checked above.
        absent(unsafe { attr.call(MAP_NEXT_KEY) }.map(|_| next))
    }

    fn attr(&self, key: &[u8]) -> Attr {
        let mut attr = Attr::new();
        attr.words(0, &[self.number()]).pointer(8, key.as_ptr());
        attr
    }

    fn number(&self) -> u32 {
        self.fd.as_raw_fd().cast_unsigned()
    }
}

impl ProgramFd {
    /// What the kernel says of it.
    pub fn info(&self) -> io::Result<ProgramInfo> {
        let mut maps = vec![0_u32; 8];
        let count = maps.len();
        let info = info(self.0.as_fd(), std::mem::take(&mut maps), count)?;
        let mut tag = [0; 8];
        tag.copy_from_slice(&info.bytes[8..16]);
        let name = info.bytes[64..80].iter().copied().take_while(|byte| *byte != 0).collect();
        Ok(ProgramInfo { id: info.word(4), tag, maps: info.maps, name })
    }
}

/// Has the kernel verify and load a program; where it refuses, with the last of its reasons.
pub fn load(
    name: &CStr,
    at: AttachType,
    program: &Program,
    maps: &[&MapFd],
) -> io::Result<ProgramFd> {
    let fds: Vec<i32> = maps.iter().map(|map| map.fd.as_raw_fd()).collect();
    let code = program.encode(&fds);
    let try_with = |log: &mut [u8]| {
        let mut attr = Attr::new();
        attr.words(0, &[at.program_type(), u32::try_from(code.len()).unwrap_or(u32::MAX)]);
        // The kernel only asks whether it is the GPL's equal; no function here needs that.
        attr.pointer(8, code.as_ptr()).pointer(16, c"MIT".as_ptr());
        if !log.is_empty() {
            let length = u32::try_from(log.len()).unwrap_or(u32::MAX);
            attr.words(24, &[1, length]).pointer(32, log.as_mut_ptr());
        }
        attr.name(48, name).words(68, &[at as u32]);
        // SAFETY: code, licence and log outlive the call, with the lengths given.
        unsafe { attr.call(PROG_LOAD) }.and_then(new_fd).map(ProgramFd)
    };
    try_with(&mut []).map_err(|refused| {
        let mut log = vec![0; 1 << 16];
        let again = try_with(&mut log);
        let text = String::from_utf8_lossy(&log);
        let reasons: Vec<&str> =
            text.trim_end_matches('\0').trim_end().lines().rev().take(3).collect();
        match (again, reasons.is_empty() || reasons == [""]) {
            (Err(_), false) => io::Error::new(
                refused.kind(),
                format!("{refused}: {}", reasons.into_iter().rev().collect::<Vec<_>>().join("; ")),
            ),
            _ => refused,
        }
    })
}

/// The program that has this id now.
pub fn program_of_id(id: u32) -> io::Result<ProgramFd> {
    let mut attr = Attr::new();
    attr.words(0, &[id]);
    // SAFETY: PROG_FD_BY_ID reads the attribute alone.
    unsafe { attr.call(PROG_FD_BY_ID) }.and_then(new_fd).map(ProgramFd)
}

/// The map that has this id now.
pub fn map_of_id(id: u32) -> io::Result<MapFd> {
    let mut attr = Attr::new();
    attr.words(0, &[id]);
    // SAFETY: MAP_FD_BY_ID reads the attribute alone.
    unsafe { attr.call(MAP_FD_BY_ID) }.and_then(new_fd).and_then(MapFd::of)
}

/// Attaches a program to a cgroup of v2, beside those of others.
pub fn attach(cgroup: BorrowedFd<'_>, program: &ProgramFd, at: AttachType) -> io::Result<()> {
    let words = [fd(cgroup), fd(program.0.as_fd()), at as u32, ALLOW_MULTI];
    let mut attr = Attr::new();
    attr.words(0, &words);
    // SAFETY: PROG_ATTACH reads the attribute alone.
    unsafe { attr.call(PROG_ATTACH) }.map(drop)
}

/// Detaches a program.
pub fn detach(cgroup: BorrowedFd<'_>, program: &ProgramFd, at: AttachType) -> io::Result<()> {
    // With flags it is EINVAL.
    let mut attr = Attr::new();
    attr.words(0, &[fd(cgroup), fd(program.0.as_fd()), at as u32, 0]);
    // SAFETY: PROG_DETACH reads the attribute alone.
    unsafe { attr.call(PROG_DETACH) }.map(drop)
}

/// The ids of the programs that are attached to a cgroup itself, not to those above it.
pub fn attached(cgroup: BorrowedFd<'_>, at: AttachType) -> io::Result<Vec<u32>> {
    let mut ids = vec![0_u32; MOST_PROGRAMS];
    let mut attr = Attr::new();
    attr.words(0, &[fd(cgroup), at as u32]).pointer(16, ids.as_mut_ptr());
    attr.words(24, &[MOST_PROGRAMS as u32]);
    // SAFETY: the kernel writes at most the number of ids given into `ids`, which outlives the
    // call, and their count into the attribute.
    unsafe { attr.call(PROG_QUERY) }?;
    ids.truncate(attr.word(24) as usize);
    Ok(ids)
}

/// What tells the network namespace of this process from every other; none before Linux 5.14.
pub fn netns_cookie() -> io::Result<Option<u64>> {
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    let mut cookie = 0_u64;
    let mut length: libc::socklen_t = 8;
    // SAFETY: the kernel writes at most `length` bytes, which is the size of `cookie`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    Ok((result == 0).then_some(cookie))
}

fn fd(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn new_fd(number: libc::c_long) -> io::Result<OwnedFd> {
    let number = i32::try_from(number).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    // SAFETY: the kernel has just returned it as a new descriptor (close-on-exec), nobody
    // else's.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        result => result.map(Some),
    }
}

/// The beginning of `struct bpf_prog_info` or `struct bpf_map_info`.
struct Info {
    bytes: [u8; 80],
    maps: Vec<u32>,
}

impl Info {
    fn word(&self, at: usize) -> u32 {
        word(&self.bytes, at)
    }
}

/// Asks about a program or a map; of a program also for at most `most` ids of its maps.
fn info(of: BorrowedFd<'_>, mut maps: Vec<u32>, most: usize) -> io::Result<Info> {
    maps.resize(most, 0);
    let mut bytes = [0_u8; 80];
    if most > 0 {
        bytes[52..56].copy_from_slice(&(most as u32).to_ne_bytes());
        bytes[56..64].copy_from_slice(&address(maps.as_mut_ptr()).to_ne_bytes());
    }
    let mut attr = Attr::new();
    attr.words(0, &[fd(of), bytes.len() as u32]).pointer(8, bytes.as_mut_ptr());
    // SAFETY: the kernel writes at most the given length into `bytes`, and at most `most` ids
    // where its address for them says; both outlive the call.
    unsafe { attr.call(INFO_BY_FD) }?;
    if most > 0 {
        maps.truncate(word(&bytes, 52) as usize);
    }
    Ok(Info { bytes, maps })
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_ne_bytes(word)
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

/// `union bpf_attr`.
#[repr(C, align(8))]
struct Attr([u8; 128]);

impl Attr {
    fn new() -> Self {
        Attr([0; 128])
    }

    fn words(&mut self, at: usize, words: &[u32]) -> &mut Self {
        for (count, word) in words.iter().enumerate() {
            let at = at + 4 * count;
            self.0[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        }
        self
    }

    fn pointer<T>(&mut self, at: usize, pointer: *const T) -> &mut Self {
        self.0[at..at + 8].copy_from_slice(&address(pointer).to_ne_bytes());
        self
    }

    /// At most 15 bytes of it (BPF_OBJ_NAME_LEN).
    fn name(&mut self, at: usize, name: &CStr) -> &mut Self {
        let name = name.to_bytes();
        let length = name.len().min(15);
        self.0[at..at + length].copy_from_slice(&name[..length]);
        self
    }

    fn word(&self, at: usize) -> u32 {
        word(&self.0, at)
    }

    /// # Safety
    ///
    /// The pointers that were put in must be valid for what `command` does with them.
    unsafe fn call(&mut self, command: libc::c_int) -> io::Result<libc::c_long> {
        // SAFETY: the attribute is as long as said, and the caller answers for the rest.
        match unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), self.0.len()) } {
            -1 => Err(io::Error::last_os_error()),
            result => Ok(result),
        }
    }
}
