//! How the module is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // nodelete: PAM unmaps modules at pam_end, but Rust's runtime keeps pointers into this one.
    // defs: a symbol that neither libc nor libpam has fails the build, not the first login.
    for option in ["nodelete", "relro", "now", "defs"] {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,{option}");
    }
}
