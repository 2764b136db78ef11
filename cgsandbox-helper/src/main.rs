//! `cgsandbox-helper`: run by `pam_cgsandbox.so` only.

fn main() -> std::process::ExitCode {
    cgsandbox::helper::main()
}
