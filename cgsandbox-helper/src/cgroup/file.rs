//! Reading and writing the files of cgroupfs.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};
use crate::kernel_file;

/// The content without its last newline, or nothing where the file is not there.
pub fn read(path: &Path) -> Option<String> {
    kernel_file::read(path).ok().map(|text| text.trim_end().to_owned())
}

/// The content as a number; nothing where there is no such file, or "max" in it.
pub fn read_number(path: &Path) -> Option<u64> {
    read(path)?.parse().ok()
}

/// Writes `value` in one `write(2)`, which is how cgroupfs takes a value.
pub fn write(path: &Path, value: &str) -> Result<()> {
    let failed = |cause| Error::os(format!("write \"{value}\" to"), path.display())(cause);
    // Without O_CREAT: where the kernel has no such file, that is to be ENOENT.
    let mut file = OpenOptions::new().write(true).open(path).map_err(failed)?;
    file.write_all(value.as_bytes()).map_err(failed)
}
