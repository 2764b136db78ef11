//! `cgsandbox`: the administrator's command.

fn main() -> std::process::ExitCode {
    cgsandbox::command::main()
}
