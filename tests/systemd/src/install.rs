//! The packages under test, as an administrator installs them.

use std::path::{Path, PathBuf};

use crate::command::{run, sh};

/// Where `tests/vm/run` has put them.
pub const PACKAGES: &str = "/mnt/packages";

/// Copies of what tests remove.
const KEPT: &str = "/var/lib/guest/programs";

const HELPER: &str = "/usr/libexec/cgsandbox/cgsandbox-helper";

/// Installs both packages unless they are there.
pub fn packages() {
    if !is_installed() {
        sh(&format!("dpkg --install {PACKAGES}/*.deb 2>&1"));
        // Tests say themselves when something is to be collected.
        sh("systemctl disable --now cgsandbox-gc.timer 2>&1");
    }
    sh(&format!("mkdir -p {KEPT}"));
    for path in [module(), PathBuf::from(HELPER)] {
        let kept = Path::new(KEPT).join(path.file_name().unwrap());
        let (path, kept) = (path.display(), kept.display());
        // As package managers do: who runs or maps the old one keeps it.
        sh(&format!(
            "if [ -e {path} ]; then cp -a {path} {kept}; else cp -a {kept} {path}.new && mv {path}.new {path}; fi"
        ));
    }
}

/// Whether the machine has the packages.
pub fn is_installed() -> bool {
    let known = run(
        &["dpkg-query", "-W", "-f", "${db:Status-Status} ", "cgsandbox", "libpam-cgsandbox"],
        30.0,
    );
    known.stdout == "installed installed "
}

/// Takes the programs away, and leaves everything else of the packages.
pub fn remove_programs() {
    for path in [module(), PathBuf::from(HELPER)] {
        std::fs::remove_file(path).expect("can't remove a program");
    }
}

/// The module, where it is or would be: among libpam's own.
fn module() -> PathBuf {
    let directories = std::fs::read_dir("/usr/lib").expect("can't read /usr/lib");
    let mut security = directories.flatten().map(|entry| entry.path().join("security"));
    let found = security.find(|it| it.join("pam_permit.so").exists());
    found.expect("no pam_permit.so").join("pam_cgsandbox.so")
}
