//! Makes what tests put into the place of the host's own libraries.

use std::process::Command;

fn main() {
    make("hostile");
    make("slow-directory");
}

#[allow(clippy::expect_used, clippy::panic)]
fn make(name: &str) {
    let source = format!("{name}.c");
    println!("cargo:rerun-if-changed={source}");
    let target = std::env::var("OUT_DIR").expect("cargo says where") + "/" + name + ".so";
    let made = Command::new("cc").args(["-fPIC", "-shared", "-o", &target, &source]).status();
    assert!(made.is_ok_and(|status| status.success()), "cc cannot make {target}");
}
