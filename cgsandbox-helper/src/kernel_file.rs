//! Reading the files that the kernel makes up as they are read: procfs, sysfs, cgroupfs.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// Where the mounts of this process are listed (proc_pid_mountinfo(5)).
const MOUNTINFO: &str = "/proc/self/mountinfo";

/// The whole content. What is not UTF-8 in it, as a user may have named a mount point, a cgroup or a
/// command, is replaced: the rest is to be read all the same.
///
/// Such a file has no size to go by, and `std::fs::read` would begin with 32 bytes and
/// make many small reads. With room from the start there are two.
pub fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let mut content = Vec::with_capacity(8192);
    File::open(path)
        .and_then(|file| file.take(u64::MAX).read_to_end(&mut content))
        .map_err(Error::os("read", path.display()))?;
    Ok(String::from_utf8(content)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// The mounts of this process.
pub fn mountinfo() -> Result<String> {
    read(MOUNTINFO)
}
