//! `cgsandbox-helper`: from the module's request to the last answer.

use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

use cgsandbox_protocol::Request;

use crate::audit::{Event, Level};
use crate::channel::Channel;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::state::State;
use crate::{close, open};

/// The program. Exits 0 when it did what it answered, 1 when it could not, 2 when it was
/// not the module that ran it.
pub fn main() -> ExitCode {
    // Every file and directory made here is given its mode on purpose.
    rustix::process::umask(rustix::fs::Mode::empty());
    let channel = match refuse_setuid().and_then(|()| Channel::inherited()) {
        Ok(channel) => channel,
        Err(error) => {
            eprintln!("cgsandbox-helper: {error}");
            return ExitCode::from(2);
        }
    };
    match serve(&channel) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Event::new(Level::Error, "degraded").with_error(&error).send(&State::of_host());
            ExitCode::FAILURE
        }
    }
}

fn serve(channel: &Channel) -> Result<()> {
    let leader = channel.leader()?;
    match channel.request()? {
        Request::Open { user, service, tty, rhost, config, ticket, deadline_ms } => {
            let deadline = Deadline::of_request(deadline_ms);
            let login = open::Login { user, service, tty, rhost, config, ticket, deadline, leader };
            open::open(channel, &login)
        }
        Request::Close { uid, ticket, deadline_ms } => {
            close::close(channel, uid, ticket, leader, Deadline::of_request(deadline_ms))
        }
    }
}

/// A user could run a setuid helper and choose its parent; this one must never be that.
fn refuse_setuid() -> Result<()> {
    let own = "/proc/self/exe";
    let about = std::fs::metadata(own).map_err(Error::os("look at", own))?;
    if about.mode() & 0o6000 != 0 {
        let cause = "it must not be setuid or setgid; run chmod ug-s on it";
        return Err(Error::new("run", "cgsandbox-helper", cause));
    }
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::new("run", "cgsandbox-helper", "only root may run it"));
    }
    Ok(())
}
