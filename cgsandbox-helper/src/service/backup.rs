//! Services' files as they were before the line, in a place where PAM looks for none.
//!
//! ```text
//! /var/lib/cgsandbox/pam.d/NAME         that of /etc/pam.d
//! /var/lib/cgsandbox/pam.d-vendor/NAME  the distribution's, where /etc/pam.d had none
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What stays over reboots.
pub const DIRECTORY: &str = "/var/lib/cgsandbox";

/// Where a service's file was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Own,
    Vendors,
}

/// A file as it was before the last `enable`.
#[derive(Debug)]
pub(super) struct Backup {
    pub origin: Origin,
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

impl Backup {
    /// Writes it to the disk, in place of an older one.
    pub(super) fn keep(root: &Path, origin: Origin, service: &str, bytes: &[u8]) -> Result<Self> {
        let path = path(root, origin, service);
        let directory = path.parent().unwrap_or(root);
        // The old backup is whole until the new one is.
        let draft = directory.join(format!(".{service}"));
        let written = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .and_then(|()| write(&draft, bytes))
            .and_then(|()| std::fs::rename(&draft, &path));
        if let Err(error) = written {
            let _ = std::fs::remove_file(&draft);
            remove_empty(directory);
            return Err(Error::os("keep a backup in", path.display())(error));
        }
        // One of an earlier time, when the file was elsewhere.
        let other = if origin == Origin::Own { Origin::Vendors } else { Origin::Own };
        let earlier = self::path(root, other, service);
        if std::fs::remove_file(&earlier).is_ok() {
            earlier.parent().map(remove_empty);
        }
        let kept = Backup { origin, path: path.clone(), bytes: bytes.to_vec() };
        if let Err(error) = File::open(directory).and_then(|directory| directory.sync_all()) {
            kept.remove()?;
            return Err(Error::os("keep a backup in", path.display())(error));
        }
        Ok(kept)
    }

    /// The service's, if there is one.
    pub(super) fn find(root: &Path, service: &str) -> Option<Self> {
        [Origin::Vendors, Origin::Own].into_iter().find_map(|origin| {
            let path = path(root, origin, service);
            let bytes = std::fs::read(&path).ok()?;
            Some(Backup { origin, path, bytes })
        })
    }

    /// Removes it, and directories that are empty then.
    pub(super) fn remove(self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::os("remove", self.path.display())(error));
            }
            _ => {}
        }
        if let Some(directory) = self.path.parent() {
            remove_empty(directory);
        }
        Ok(())
    }
}

/// Removes a directory of backups and that above it; others' backups may be there.
fn remove_empty(directory: &Path) {
    for directory in directory.ancestors().take(2) {
        let _ = std::fs::remove_dir(directory);
    }
}

fn path(root: &Path, origin: Origin, service: &str) -> PathBuf {
    let directory = match origin {
        Origin::Own => "pam.d",
        Origin::Vendors => "pam.d-vendor",
    };
    root.join(directory).join(service)
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
