//! The story of a session.
#![forbid(unsafe_code)]

use crate::handoff::{self, Opened, Outside};
use crate::log::{self, Failure, Result};
use crate::{host::Host, login, spawn::Helper};
use cgsandbox_protocol::{Arguments, Login, Request};
use pam::constants::{PAM_ERROR_MSG, PAM_SILENT, PamFlag};
use pam::items::{RHost, Service, Tty, User};
use pam::{conv::Conv, module::PamHandle};
use rustix::time::{ClockId, clock_gettime};
use std::{ffi::CStr, time::Instant};

/// This process is in its sandbox, or out of it again; else what becomes of the login.
pub type Outcome = std::result::Result<(), Login>;

/// The session that this process has open. Dropping it closes fds and does nothing else.
pub struct Session {
    uid: u32,
    user: String,
    ticket: u64,
    /// How often it was opened: on other handles, for the same user.
    opens: u32,
    /// The way back. None while the session is being opened or closed.
    host: Option<Host>,
    /// The process that is inside.
    pub leader: u32,
}

/// Puts this process into its user's sandbox.
pub fn open(pam: &mut PamHandle, words: &[&CStr], flags: PamFlag) -> Outcome {
    let opened = match login::user(pam) {
        // Before anything else is read: whatever is broken, root gets in to mend it.
        Some((0, _)) => return Err(Login::Allow),
        Some((uid, user)) => arguments(words).and_then(|given| begin(pam, uid, &user, &given)),
        None => Err(Failure::of("resolve", "user", "unknown to NSS, or not UTF-8")),
    };
    let Outside { login, message } = match opened {
        Ok(Opened::Inside(())) => return Ok(()),
        Ok(Opened::Outside(outside)) => outside,
        Err(failure) => judge(pam, words, &failure),
    };
    let user = pam.get_item::<Conv>().ok().flatten();
    if let (Some(user), 0, false) = (user, flags & PAM_SILENT, message.is_empty()) {
        // One who cannot be told is refused all the same.
        let _ = user.send(PAM_ERROR_MSG, &message);
    }
    Err(login)
}

fn arguments(words: &[&CStr]) -> Result<Arguments> {
    let wrong = |word| Failure::of("parse", word, format_args!("not {}", Arguments::KNOWN));
    Arguments::parse(words.iter().map(|word| word.to_string_lossy())).map_err(wrong)
}

/// Enters, unless this process is in a sandbox already: that of one user is none for another.
fn begin(pam: &mut PamHandle, uid: u32, user: &str, given: &Arguments) -> Result<Opened<()>> {
    // Taking the place now leaves nothing that can fail once this process is inside.
    if login::has_opened(pam) || !login::set_opened(pam, true) {
        return Err(Failure::of("keep", "session", "one is open already, or no memory"));
    }
    // No other open of this process is in the same nanosecond.
    let ticket = since_boot();
    let mut current = login::of_process();
    match &mut *current {
        Some(other) if other.uid == uid && other.host.is_some() => {
            other.opens += 1;
            return Ok(Opened::Outside(Outside::QUIETLY));
        }
        Some(other) => {
            let cause = format!(
                "this process has the session of {} open: close that first, or open each \
                 session in a process of its own",
                other.user
            );
            login::set_opened(pam, false);
            return Err(Failure { stranded: true, ..Failure::of("open", "session", cause) });
        }
        None => {
            let (user, leader) = (user.to_owned(), std::process::id());
            *current = Some(Session { uid, user, ticket, opens: 1, host: None, leader });
        }
    }
    drop(current);
    let opened = enter(pam, uid, user, ticket, given);
    let mut current = login::of_process();
    match opened {
        Ok(Opened::Inside(host)) => {
            if let Some(session) = &mut *current {
                session.host = Some(host);
            }
            Ok(Opened::Inside(()))
        }
        Ok(Opened::Outside(outside)) => {
            *current = None;
            login::set_opened(pam, false);
            Ok(Opened::Outside(outside))
        }
        Err(failure) => {
            // One that is still in the user's view refuses every other user.
            current.take_if(|_| !failure.stranded);
            login::set_opened(pam, false);
            Err(failure)
        }
    }
}

fn enter(
    pam: &PamHandle,
    uid: u32,
    user: &str,
    ticket: u64,
    given: &Arguments,
) -> Result<Opened<Host>> {
    let start = Instant::now();
    let request = Request::Open {
        user: user.to_owned(),
        service: login::text::<Service>(pam),
        tty: login::text::<Tty>(pam),
        rhost: login::text::<RHost>(pam),
        config: given.config.clone(),
        ticket,
        deadline_ms: given.timeout.as_millis() as u64,
    };
    let helper = Helper::start(&given.helper, c"open")?;
    let opened = handoff::open(helper, &request, start + given.timeout);
    if let Err(Failure { stranded: false, .. }) = opened {
        // What that helper may have left, a second one takes back.
        let back = handoff::close(&given.helper, uid, ticket, given.timeout);
        let _ = back.map_err(|failure| failure.log("degraded", pam, ""));
    }
    if given.debug {
        log::write(log::DEBUG, "debug", &[("open_took", &format!("{:?}", start.elapsed()))]);
    }
    opened
}

/// Whether the login goes on without a sandbox, by what the helper last left for when it cannot be
/// asked; and what its user is told. The log is told why.
fn judge(pam: &PamHandle, words: &[&CStr], failure: &Failure) -> Outside {
    let config = arguments(words).map(|given| given.config).unwrap_or_default();
    if !failure.stranded && Login::published(&config) == Login::Allow {
        failure.log("degraded", pam, "none");
        let message = "This session runs without its sandbox.".to_owned();
        return Outside { login: Login::Allow, message };
    }
    failure.log("session_denied", pam, "");
    let message = "Login refused: your sandbox could not be set up.".to_owned();
    Outside { login: Login::Deny, message }
}

/// Takes this process out of the sandbox. Into the host's view first: what is run and read must
/// not come from the user's.
pub fn close(pam: &mut PamHandle, words: &[&CStr]) -> Outcome {
    let opened_here = login::has_opened(pam);
    login::set_opened(pam, false);
    let mut current = login::of_process();
    // Another handle than that of open knows the session by its user.
    let is_its = |session: &&mut Session| opened_here || session.user == login::text::<User>(pam);
    let Some(session) = current.as_mut().filter(is_its) else { return Err(Login::Allow) };
    if session.opens > 1 {
        session.opens -= 1;
        return Err(Login::Allow);
    }
    let Some(host) = session.host.take() else { return Err(Login::Allow) };
    let (uid, ticket) = (session.uid, session.ticket);
    drop(current);
    let given = host.back().and_then(|()| arguments(words));
    let closed = given.and_then(|given| handoff::close(&given.helper, uid, ticket, given.timeout));
    // One that could not return refuses every other user.
    login::of_process().take_if(|_| !closed.as_ref().is_err_and(|failure| failure.stranded));
    closed.map_err(|failure| {
        // What the helper would have logged and this process knows too.
        let ms = since_boot().saturating_sub(ticket) / 1_000_000;
        let duration = format!("{}.{:03}", ms / 1000, ms % 1000);
        let known = [("uid", &*uid.to_string()), ("duration", &*duration)];
        failure.log_with("session_close", pam, &known);
        Login::Deny
    })
}

/// Nanoseconds, suspend included.
fn since_boot() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
