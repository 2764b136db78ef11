//! `cgsandbox`: the administrator's command.

mod address;
mod apply;
mod check;
mod doctor;
mod enable;
mod explain;
mod gc;
mod status;
mod terminal;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueHint};

use crate::config;
use crate::error::{Error, Result};
use crate::namespace;
use crate::pam_stack::configuration_of_ssh;
use crate::state::State;
use crate::subject;

const EXIT_CODES: &str = "\
Exit status:
  0  all is well
  1  something is not well, and the output names it
  2  the command itself could not be carried out";

#[derive(Debug, Parser)]
#[command(name = "cgsandbox", version, about = "Manages the sandboxes of SSH logins")]
#[command(after_help = EXIT_CODES)]
struct Arguments {
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look for mistakes in the configuration
    Check {
        /// This file and FILE.d/*.toml, instead of the configuration that logins use
        file: Option<PathBuf>,
    },
    /// Show what USER's next login gets, and why
    ///
    /// Ordinary users may ask for themselves.
    Explain {
        /// Name or uid
        #[arg(value_hint = ValueHint::Username)]
        user: String,
        /// The PAM service that the login comes through
        #[arg(long, default_value = "sshd", value_hint = ValueHint::Other)]
        service: String,
    },
    /// Show limits, use and sessions: of USER, or of everybody
    ///
    /// Ordinary users may ask for themselves, inside the sandbox.
    Status {
        /// Name or uid
        #[arg(value_hint = ValueHint::Username)]
        user: Option<String>,
    },
    /// Print the addresses of USER's private localhost, IPv4 and IPv6, for scripts
    ///
    /// Ordinary users may ask for themselves.
    Address {
        /// Name or uid
        #[arg(value_hint = ValueHint::Username)]
        user: String,
    },
    /// Find what keeps logins out of their sandboxes; change nothing
    Doctor {
        /// Whose login to check besides root's; without it, an ordinary user's
        #[arg(value_hint = ValueHint::Username)]
        user: Option<String>,
    },
    /// Add the line to PAM services, after a trial login of root's with it
    ///
    /// A file that the distribution ships outside /etc is copied to /etc/pam.d first.
    Enable {
        /// A PAM service; without it, sshd, and systemd-user where there are user managers
        #[arg(long = "service", value_name = "NAME", value_hint = ValueHint::Other)]
        services: Vec<String>,
    },
    /// Remove the line from PAM services
    Disable {
        /// A PAM service; without it, all in /etc/pam.d that have the line
        #[arg(long = "service", value_name = "NAME", value_hint = ValueHint::Other)]
        services: Vec<String>,
    },
    /// Apply the current configuration to users who are logged in: USER, or everybody
    ///
    /// A login does so for its own user. The rlimits of running processes do not change.
    Apply {
        /// Name or uid
        #[arg(value_hint = ValueHint::Username)]
        user: Option<String>,
    },
    /// Finish what a crash or a kill -9 left of any user's sessions
    Gc,
}

/// How a command ended, by its exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// 0
    Well,
    /// 1
    Unwell,
    /// 2, as for wrong arguments
    NotDone,
}

/// What the command line can say: completions are made of it, and the manual is compared to it.
pub fn grammar() -> clap::Command {
    Arguments::command()
}

/// Carries out what the command line asks for.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Check { file } => check::run(file.as_deref(), arguments.json),
        Command::Explain { user, service } => explain::run(&user, &service, arguments.json),
        Command::Status { user } => status::run(user.as_deref(), arguments.json),
        Command::Address { user } => address::run(&user, arguments.json),
        Command::Doctor { user } => doctor::run(user.as_deref(), arguments.json),
        Command::Enable { services } => enable::enable(services, arguments.json),
        Command::Disable { services } => enable::disable(services, arguments.json),
        Command::Apply { user } => apply::run(user.as_deref(), arguments.json),
        Command::Gc => gc::run(arguments.json),
    };
    ExitCode::from(outcome as u8)
}

/// Of a name or a uid; nobody need have that uid any more.
fn uid_of(user: &str) -> Result<u32> {
    match user.parse() {
        Ok(uid) => Ok(uid),
        Err(_) => subject::resolve_alone(user).map(|subject| subject.uid),
    }
}

/// Refuses who is not root, and root inside of a sandbox.
fn must_be_root_outside(state: &State, operation: &'static str, object: &str) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::new(operation, object, "only root may; use sudo"));
    }
    if namespace::is_inside(state) {
        let cause = "this is the inside of a sandbox; log in as root or as an exempt user";
        return Err(Error::new(operation, object, cause));
    }
    Ok(())
}

/// The cgroup above all users', as logins have it now: a broken configuration is no reason
/// to see nothing.
fn cgroup_root(state: &State) -> String {
    let policy = config::in_force(&configuration_of_ssh(), state.directory());
    policy.map_or(config::DEFAULT_CGROUP_ROOT.to_owned(), |policy| policy.cgroup_root)
}
