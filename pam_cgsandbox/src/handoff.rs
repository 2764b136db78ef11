//! The conversation with the helper; the contract is [`cgsandbox_protocol`].
#![forbid(unsafe_code)]

use crate::failure::{Failure, Leaves};
use crate::namespace::Host;
use crate::spawn::Helper;
use cgsandbox_protocol::{Entry, Login, MAX_DATAGRAM, MAX_NAMESPACES, Reply, Request};
use rustix::io::Errno;
use rustix::net::{
    self, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags,
};
use std::fmt::Display;
use std::io::{self, ErrorKind, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

/// A point on the monotonic clock.
pub struct Deadline(Instant);

impl Deadline {
    pub fn after(time: Duration) -> Self {
        Deadline(Instant::now() + time)
    }

    /// The time left; `TimedOut` when there is none.
    pub fn left(&self) -> io::Result<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

/// What came of an open.
pub enum Opened {
    /// This process is in the sandbox. The way back is None if it entered no namespace.
    Inside { session: String, host: Option<Host> },
    /// The policy leaves this login alone.
    Unconfined,
    /// No sandbox; the helper has logged why.
    Refused { login: Login, message: String },
}

/// Has the helper build the sandbox, and enters it.
pub fn open(path: &str, request: &Request, deadline: &Deadline) -> Result<Opened, Failure> {
    let mut helper = Helper::start(path, "open")?;
    match ask(&helper, request, deadline)? {
        (Reply::Enter { session, namespaces }, fds) if namespaces.len() == fds.len() => {
            let host = Host::remember().map_err(|failure| failure.leaving(Leaves::HalfMade))?;
            enter(helper, host, &fds, deadline).map(|host| Opened::Inside { session, host })
        }
        (Reply::Unconfined, fds) if fds.is_empty() => {
            finish(&mut helper, deadline).map(|()| Opened::Unconfined)
        }
        (Reply::Refused { login, message }, fds) if fds.is_empty() => {
            // How it exits adds nothing to a refusal.
            let _ = finish(&mut helper, deadline);
            Ok(Opened::Refused { login, message })
        }
        _ => Err(failed("reply", "not of this request, or its fds are not those it names")),
    }
}

/// Enters, and has the helper verify it. On failure this process is back before the helper takes
/// anything away.
fn enter(
    mut helper: Helper,
    mut host: Host,
    fds: &[OwnedFd],
    deadline: &Deadline,
) -> Result<Option<Host>, Failure> {
    let entered = host
        .enter(fds)
        .and_then(|()| say(&helper, Entry::Entered))
        .and_then(|()| finish(&mut helper, deadline));
    if let Err(failure) = entered {
        host.leave()?;
        let _ = say(&helper, Entry::Failed).and_then(|()| finish(&mut helper, deadline));
        return Err(failure.leaving(Leaves::HalfMade));
    }
    Ok(host.settle())
}

/// Has the helper end `session`; empty, it takes back what an open has left.
pub fn close(path: &str, session: &str, timeout: Duration) -> Result<(), Failure> {
    let deadline = Deadline::after(timeout);
    let mut helper = Helper::start(path, "close")?;
    let request =
        Request::Close { session: session.to_owned(), deadline_ms: timeout.as_millis() as u64 };
    match ask(&helper, &request, &deadline)?.0 {
        Reply::Closed => finish(&mut helper, &deadline),
        _ => Err(failed("close", "refused, or not understood, by the helper")),
    }
}

fn ask(
    helper: &Helper,
    request: &Request,
    deadline: &Deadline,
) -> Result<(Reply, Vec<OwnedFd>), Failure> {
    let datagram = request.encode().map_err(|error| failed("request", error))?;
    send(&helper.socket, &datagram).map_err(|error| failed("request", error))?;
    let mut reply = vec![0; MAX_DATAGRAM];
    match receive(&helper.socket, &mut reply, deadline).map_err(|error| failed("reply", error))? {
        (0, _) => Err(failed("reply", "the helper ended without one")),
        (length, fds) => {
            let reply = Reply::decode(&reply[..length]).map_err(|error| failed("reply", error))?;
            Ok((reply, fds))
        }
    }
}

fn say(helper: &Helper, entry: Entry) -> Result<(), Failure> {
    let datagram = entry.encode().map_err(|error| failed("entry", error))?;
    send(&helper.socket, &datagram).map_err(|error| failed("entry", error))
}

/// Waits for the helper to exit, with status 0 and without another word.
fn finish(helper: &mut Helper, deadline: &Deadline) -> Result<(), Failure> {
    match receive(&helper.socket, &mut [0], deadline) {
        Ok((0, _)) => {}
        // It ended with an entry unread; its status tells the rest.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Ok(_) => return Err(failed("exit", "it has sent one message too many")),
        Err(error) => return Err(failed("exit", error)),
    }
    let status = helper.reap(deadline).map_err(|error| failed("exit", error))?;
    if status.success() { Ok(()) } else { Err(failed("exit", status)) }
}

fn failed(operation: &'static str, cause: impl Display) -> Failure {
    Failure::of(operation, "helper", cause).leaving(Leaves::HalfMade)
}

fn send(socket: &UnixDatagram, datagram: &[u8]) -> io::Result<()> {
    // NOSIGNAL: a helper that is gone must not raise SIGPIPE in the host.
    net::send(socket, datagram, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}

/// One datagram and the fds that came with it, whole or not at all; length 0 when the helper is
/// gone. All fds are owned from the start, so that none stays in the host whatever is wrong.
fn receive(
    socket: &UnixDatagram,
    buffer: &mut [u8],
    deadline: &Deadline,
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_NAMESPACES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        socket.set_read_timeout(Some(deadline.left()?))?;
        let mut parts = [IoSliceMut::new(buffer)];
        match net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            received => break received?,
        }
    };
    let fds = control.drain().filter_map(|part| match part {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fds = fds.flatten().collect();
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::other("too long, or with too many fds"));
    }
    Ok((message.bytes, fds))
}
