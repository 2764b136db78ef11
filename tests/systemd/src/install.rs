//! Puts the programs under test where a package would.

use std::fs::{Permissions, create_dir_all, read_dir, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Once;

use crate::command::sh;

/// Installs module, helper and command from where `tests/vm/run` has put them.
pub fn programs() {
    let from = source();
    let module = pam_directory().join("pam_cgsandbox.so");
    file(&from.join("libpam_cgsandbox.so"), &module, 0o644);
    let helper = Path::new("/usr/libexec/cgsandbox/cgsandbox-helper");
    file(&from.join("cgsandbox-helper"), helper, 0o755);
    file(&from.join("cgsandbox"), Path::new("/usr/bin/cgsandbox"), 0o755);
}

/// Installs the units' drop-ins; PID 1 reads them once.
pub fn units() {
    static READ: Once = Once::new();
    READ.call_once(|| {
        for drop_in in entries(&source().join("systemd")) {
            let directory = Path::new("/usr/lib/systemd/system").join(drop_in.file_name().unwrap());
            for part in entries(&drop_in) {
                file(&part, &directory.join(part.file_name().unwrap()), 0o644);
            }
        }
        sh("systemctl daemon-reload");
    });
}

fn source() -> PathBuf {
    std::env::var_os("CGSANDBOX_RIG_BINARIES").expect("CGSANDBOX_RIG_BINARIES is not set").into()
}

/// Takes the programs away again.
pub fn remove_programs() {
    let module = pam_directory().join("pam_cgsandbox.so");
    for path in [module.as_path(), Path::new("/usr/libexec/cgsandbox/cgsandbox-helper")] {
        std::fs::remove_file(path).expect("can't remove a program");
    }
}

fn file(from: &Path, to: &Path, mode: u32) {
    let content =
        std::fs::read(from).unwrap_or_else(|error| panic!("can't read {from:?}: {error}"));
    // As package managers do: who runs or maps the old one keeps it.
    let new = to.with_extension("new");
    create_dir_all(to.parent().unwrap()).expect("can't make a directory");
    std::fs::write(&new, content).unwrap_or_else(|error| panic!("can't write {new:?}: {error}"));
    set_permissions(&new, Permissions::from_mode(mode)).expect("can't chmod");
    std::fs::rename(&new, to).expect("can't rename");
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries =
        read_dir(directory).unwrap_or_else(|error| panic!("can't read {directory:?}: {error}"));
    // What mke2fs puts into every file system.
    entries.flatten().map(|it| it.path()).filter(|it| !it.ends_with("lost+found")).collect()
}

fn pam_directory() -> PathBuf {
    let found = entries(Path::new("/usr/lib")).into_iter().map(|it| it.join("security"));
    found.into_iter().find(|it| it.join("pam_permit.so").exists()).expect("no pam_permit.so")
}
