//! The conversation with the helper; the contract is [`cgsandbox_protocol`].
#![forbid(unsafe_code)]

use crate::{host::Host, log::Result, log::failed, spawn::Helper};
use cgsandbox_protocol::{Entry, MAX_DATAGRAM, MAX_NAMESPACES, Namespace, Reply, Request};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{self, RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendFlags};
use std::time::{Duration, Instant};
use std::{io::IoSliceMut, mem::MaybeUninit, os::fd::OwnedFd};

/// Has the helper build the sandbox, and enters it. After `Reply::Enter` this process is inside,
/// with the way back; else it is where it was, or stranded.
pub fn open(mut helper: Helper, request: &Request, by: Instant) -> Result<(Reply, Option<Host>)> {
    let (reply, fds) = ask(&helper, request, by)?;
    let entered = match (&reply, fds.as_slice()) {
        (Reply::Enter { namespaces, ways_back }, []) if namespaces.is_empty() => {
            Host::leave_for(None, ways_back.clone())
        }
        (Reply::Enter { namespaces, ways_back }, [mount])
            if *namespaces == [Namespace::Mount] =>
        {
            Host::leave_for(Some(mount), ways_back.clone())
        }
        (Reply::Enter { .. }, _) => Err(failed("its reply has other fds than it names")),
        (Reply::Unconfined | Reply::Refused { .. }, []) => {
            // How the helper exits adds nothing to either.
            return finish(&mut helper, by).or(Ok(())).map(|()| (reply, None));
        }
        _ => return Err(failed("its reply does not fit the request")),
    };
    let entry = if entered.is_ok() { Entry::Entered } else { Entry::Failed };
    let _ = entry.encode().map(|entry| send(&helper, &entry));
    // The helper has the last word: it sees this process inside, or it fails.
    let seen = finish(&mut helper, by);
    match (entered?, seen) {
        (host, Ok(())) => Ok((reply, Some(host))),
        (host, Err(failure)) => host.back().and(Err(failure)),
    }
}

/// Has the helper end what the open of this ticket began, however far it came.
pub fn close(path: &str, ticket: u64, timeout: Duration) -> Result<()> {
    let by = Instant::now() + timeout;
    let mut helper = Helper::start(path, "close")?;
    let deadline_ms = timeout.as_millis() as u64;
    match ask(&helper, &Request::Close { ticket, deadline_ms }, by)? {
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
    let mut fds = Vec::new();
    for part in control.drain() {
        if let net::RecvAncillaryMessage::ScmRights(received) = part {
            fds.extend(received);
        }
    }
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(failed("its message is too long or has too many fds"));
    }
    Ok((message.bytes, fds))
}
