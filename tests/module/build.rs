//! Lets the modules that pam-host loads see its clock.
#![allow(missing_docs)]

fn main() {
    println!("cargo::rustc-link-arg-bin=pam-host=-rdynamic");
}
