//! How the two programs are linked.

fn main() {
    // The unwinder, which the standard library wants for backtraces, out of the archive:
    // loading libgcc_s.so takes a tenth of the time that a login waits for the helper.
    // The C library stays dynamic, because NSS needs it (LDAP, SSSD).
    println!("cargo:rerun-if-changed=build.rs");
    if let Some(directory) = unwinder_directory() {
        println!("cargo:rustc-link-search=native={directory}");
        println!("cargo:rustc-link-lib=static:+whole-archive,-bundle=gcc_eh");
    }
}

/// Where the C compiler has libgcc_eh.a; none where it has not, and then nothing is lost
/// but the time.
fn unwinder_directory() -> Option<String> {
    let output =
        std::process::Command::new("cc").arg("-print-file-name=libgcc_eh.a").output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    let directory = std::path::Path::new(path.trim()).parent()?.to_str()?.to_owned();
    (!directory.is_empty()).then_some(directory)
}
