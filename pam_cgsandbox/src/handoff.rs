//! The conversation with the helper; the contract is [`cgsandbox_protocol`].
#![forbid(unsafe_code)]

use crate::{host::Host, log::Result, log::failed, spawn::Helper};
use cgsandbox_protocol::{Entry, Login, MAX_DATAGRAM, MAX_NAMESPACES, Namespace, Reply, Request};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{self, RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendFlags};
use std::time::{Duration, Instant};
use std::{io::IoSliceMut, mem::MaybeUninit, os::fd::OwnedFd};

/// What an open that did not fail has come to.
pub enum Opened<T> {
    /// This process is in its sandbox.
    Inside(T),
    /// There is none for it.
    Outside(Outside),
}

/// What becomes of a login that does not enter.
pub struct Outside {
    pub login: Login,
    /// What its user is told; may be empty.
    pub message: String,
}

impl Outside {
    /// It goes on, and nobody is told anything.
    pub const QUIETLY: Outside = Outside { login: Login::Allow, message: String::new() };
}

/// Has the helper build the sandbox, and enters it; gives the way back. On failure this process is not inside, unless
/// it is stranded.
pub fn open(mut helper: Helper, request: &Request, by: Instant) -> Result<Opened<Host>> {
    let (reply, fds) = ask(&helper, request, by)?;
    if !matches!(reply, Reply::Enter { .. }) {
        // How the helper exits adds nothing to any other reply.
        let _ = finish(&mut helper, by);
    }
    let (namespaces, mut host) = match reply {
        Reply::Enter { namespaces, ways_back } => (namespaces, Host { view: None, ways_back }),
        Reply::Unconfined => return Ok(Opened::Outside(Outside::QUIETLY)),
        Reply::Refused { login, message } => {
            return Ok(Opened::Outside(Outside { login, message }));
        }
        Reply::Closed => return Err(failed("its reply does not fit the request")),
    };
    let entered = match (namespaces.as_slice(), fds.as_slice()) {
        ([], []) => Ok(()),
        ([Namespace::Mount], [mount]) => host.leave_for(mount),
        _ => Err(failed("its reply has other fds than it names")),
    };
    let entry = if entered.is_ok() { Entry::Entered } else { Entry::Failed };
    let _ = entry.encode().map(|entry| send(&helper, &entry));
    // The helper has the last word: it sees this process inside, or it fails.
    let seen = finish(&mut helper, by);
    match entered.and(seen) {
        Ok(()) => Ok(Opened::Inside(host)),
        Err(failure) => host.back().and(Err(failure)),
    }
}

/// Has the helper end what was opened for `uid` with `ticket`, however far that came.
pub fn close(path: &str, uid: u32, ticket: u64, timeout: Duration) -> Result<()> {
    let by = Instant::now() + timeout;
    let mut helper = Helper::start(path, c"close")?;
    let deadline_ms = timeout.as_millis() as u64;
    match ask(&helper, &Request::Close { uid, ticket, deadline_ms }, by)? {
        (Reply::Closed, _) => finish(&mut helper, by),
        _ => Err(failed("it has not closed the session")),
    }
}

fn ask(helper: &Helper, request: &Request, by: Instant) -> Result<(Reply, Vec<OwnedFd>)> {
    send(helper, &request.encode().map_err(failed)?);
    let mut reply = vec![0; MAX_DATAGRAM];
    match receive(helper, &mut reply, by)? {
        (0, _) => Err(failed("it ended without a reply")),
        (length, fds) => Ok((Reply::decode(&reply[..length]).map_err(failed)?, fds)),
    }
}

/// Waits for the helper's end, which must be status 0.
fn finish(helper: &mut Helper, by: Instant) -> Result<()> {
    // Its end closes the socket. Whatever this returns, the status tells.
    let _ = receive(helper, &mut [0], by);
    let status = helper.reap(by).map_err(failed)?;
    if status.success() { Ok(()) } else { Err(failed(status)) }
}

/// Where this fails the helper is gone, and what it does not say tells that. Its absence must not
/// raise SIGPIPE in the host.
fn send(helper: &Helper, datagram: &[u8]) {
    let _ = net::send(&helper.socket, datagram, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
}

/// A datagram's length, 0 at the end, and its fds: all owned before any is judged, so that none
/// stays in the host.
fn receive(helper: &Helper, buffer: &mut [u8], by: Instant) -> Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_NAMESPACES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let (buffers, flags) = (&mut [IoSliceMut::new(buffer)], RecvFlags::CMSG_CLOEXEC);
    let left = by.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
    helper.socket.set_read_timeout(Some(left)).map_err(failed)?;
    let message = retry_on_intr(|| net::recvmsg(&helper.socket, buffers, &mut control, flags))
        .map_err(|error| failed(if error == Errno::AGAIN { Errno::TIMEDOUT } else { error }))?;
    let fds = control.drain().filter_map(|part| match part {
        net::RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fds = fds.flatten().collect();
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(failed("its message is too long or has too many fds"));
    }
    Ok((message.bytes, fds))
}
