//! Makes the module that is put in the place of ours.

use std::process::Command;

#[allow(clippy::expect_used, clippy::panic)]
fn main() {
    println!("cargo:rerun-if-changed=hostile.c");
    let target = std::env::var("OUT_DIR").expect("cargo says where") + "/hostile.so";
    let made = Command::new("cc").args(["-fPIC", "-shared", "-o", &target, "hostile.c"]).status();
    assert!(made.is_ok_and(|status| status.success()), "cc cannot make {target}");
}
