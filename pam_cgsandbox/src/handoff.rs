//! The conversation with the helper; the contract is [`cgsandbox_protocol`].
#![forbid(unsafe_code)]

use crate::spawn::{Helper, left};
use crate::{log::Failure, namespace::Host};
use cgsandbox_protocol::{Entry, Login, MAX_DATAGRAM, MAX_NAMESPACES, Namespace, Reply, Request};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{self, RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendFlags};
use std::time::{Duration, Instant};
use std::{error::Error, fmt::Display, io, mem::MaybeUninit, os::fd::OwnedFd};

/// What came of an open.
pub enum Opened {
    /// This process is in the sandbox. The way back is None where it entered no namespace.
    Inside { session: String, host: Option<Host> },
    /// The policy leaves this login alone.
    Unconfined,
    /// No sandbox. The helper has logged why.
    Refused { login: Login, message: String },
}

/// Has the helper build the sandbox, and enters it. On error this process is where it was, unless
/// the error says that it is stranded.
pub fn open(mut helper: Helper, request: &Request, by: Instant) -> Result<Opened, Failure> {
    let (reply, fds) = ask(&helper, request, by).map_err(|error| failed("ask", error))?;
    match (reply, fds.as_slice()) {
        (Reply::Enter { session, namespaces }, fds) => {
            let entered = match (namespaces.as_slice(), fds) {
                ([], []) => Ok(None),
                ([Namespace::Mount], [mount]) => Host::leave_for(mount).map(Some),
                _ => Err(failed("enter", "its fds are not those it names")),
            };
            let entry = if entered.is_ok() { Entry::Entered } else { Entry::Failed };
            // The helper has the last word: it sees this process inside, or it fails.
            let seen = say(&helper, entry).and_then(|()| finish(&mut helper, by));
            match (entered?, seen) {
                (host, Ok(())) => Ok(Opened::Inside { session, host }),
                (Some(host), Err(failure)) => host.back().and(Err(failure)),
                (None, Err(failure)) => Err(failure),
            }
        }
        (Reply::Unconfined, []) => finish(&mut helper, by).map(|()| Opened::Unconfined),
        (Reply::Refused { login, message }, []) => {
            // How it exits adds nothing to a refusal.
            let _ = finish(&mut helper, by);
            Ok(Opened::Refused { login, message })
        }
        _ => Err(failed("ask", "its reply does not fit the request")),
    }
}

/// Has the helper end `session`; an empty one is what a failed open has left.
pub fn close(path: &str, session: &str, timeout: Duration) -> Result<(), Failure> {
    let by = Instant::now() + timeout;
    let mut helper = Helper::start(path, "close")?;
    let (session, deadline_ms) = (session.to_owned(), timeout.as_millis() as u64);
    match ask(&helper, &Request::Close { session, deadline_ms }, by) {
        Ok((Reply::Closed, _)) => finish(&mut helper, by),
        Ok(_) => Err(failed("close", "it has not closed the session")),
        Err(error) => Err(failed("close", error)),
    }
}

type Answer = (Reply, Vec<OwnedFd>);

fn ask(helper: &Helper, request: &Request, by: Instant) -> Result<Answer, Box<dyn Error>> {
    send(helper, &request.encode()?)?;
    let mut reply = vec![0; MAX_DATAGRAM];
    let (length, fds) = receive(helper, &mut reply, by)?;
    if length == 0 {
        return Err("it ended without a reply".into());
    }
    Ok((Reply::decode(&reply[..length])?, fds))
}

fn say(helper: &Helper, entry: Entry) -> Result<(), Failure> {
    let datagram = entry.encode().map_err(|error| failed("enter", error))?;
    send(helper, &datagram).map_err(|error| failed("enter", error))
}

/// Waits for the helper's end, which must be status 0.
fn finish(helper: &mut Helper, by: Instant) -> Result<(), Failure> {
    // Its end closes the socket. Whatever this returns, the status tells.
    let _ = receive(helper, &mut [0], by);
    match helper.reap(by) {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed("finish", status)),
        Err(error) => Err(failed("finish", error)),
    }
}

fn failed(operation: &'static str, cause: impl Display) -> Failure {
    Failure::of(operation, "helper", cause)
}

fn send(helper: &Helper, datagram: &[u8]) -> rustix::io::Result<()> {
    // NOSIGNAL: a helper that is gone must not raise SIGPIPE in the host.
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    net::send(&helper.socket, datagram, flags).map(drop)
}

/// A datagram's length, 0 at the end, and its fds: all owned before any is judged, so that none
/// stays in the host.
fn receive(helper: &Helper, buffer: &mut [u8], by: Instant) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_NAMESPACES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let (buffers, flags) = (&mut [io::IoSliceMut::new(buffer)], RecvFlags::CMSG_CLOEXEC);
    helper.socket.set_read_timeout(Some(left(by)?))?;
    let message = retry_on_intr(|| net::recvmsg(&helper.socket, buffers, &mut control, flags))
        .map_err(|error| if error == Errno::AGAIN { Errno::TIMEDOUT } else { error })?;
    let mut fds = Vec::new();
    for part in control.drain() {
        if let net::RecvAncillaryMessage::ScmRights(received) = part {
            fds.extend(received);
        }
    }
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::other("its message is too long or has too many fds"));
    }
    Ok((message.bytes, fds))
}
