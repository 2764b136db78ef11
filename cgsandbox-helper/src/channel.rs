//! The helper's end of the hand-off: one datagram a message, fds beside it.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use cgsandbox_protocol::{Entry, MAX_DATAGRAM, Reply, Request};
use nix::sys::socket::{ControlMessage, MsgFlags, SockType, getsockopt, recvmsg, sendmsg, sockopt};

use crate::error::{Error, Result};
use crate::session::Leader;

const OBJECT: &str = "the module's socket";

/// The socket to the module that spawned this process.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// The one inherited as standard input, if the module is what spawned this process.
    pub fn inherited() -> Result<Self> {
        let cause = "only pam_cgsandbox.so runs this program";
        let socket =
            std::io::stdin().as_fd().try_clone_to_owned().map_err(Error::os("take", OBJECT))?;
        match getsockopt(&socket, sockopt::SockType) {
            Ok(SockType::SeqPacket) => Ok(Channel(socket)),
            _ => Err(Error::new("find", OBJECT, cause)),
        }
    }

    /// The process that logs in: the parent, which must also be who made the socket.
    ///
    /// Both come from the kernel; a message could claim anything.
    pub fn leader(&self) -> Result<Leader> {
        let peer = getsockopt(&self.0, sockopt::PeerCredentials)
            .map_err(Error::os("ask the peer of", OBJECT))?;
        let parent = nix::unistd::getppid().as_raw();
        if peer.pid() != parent || peer.uid() != 0 {
            let cause = format!(
                "made by process {} of uid {}, and the parent is process {parent}",
                peer.pid(),
                peer.uid()
            );
            return Err(Error::new("trust", OBJECT, cause));
        }
        Leader::of(u32::try_from(parent).unwrap_or_default())
    }

    /// What the module asks.
    pub fn request(&self) -> Result<Request> {
        let datagram = self.receive()?;
        Request::decode(&datagram).map_err(|cause| Error::new("understand", OBJECT, cause))
    }

    /// Answers, with the fds that the reply speaks of.
    pub fn reply(&self, reply: &Reply, fds: &[BorrowedFd<'_>]) -> Result<()> {
        let datagram = reply.encode().map_err(|cause| Error::new("answer on", OBJECT, cause))?;
        let fds: Vec<i32> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let control = if fds.is_empty() { &rights[..0] } else { &rights[..] };
        sendmsg::<()>(
            self.0.as_raw_fd(),
            &[IoSlice::new(&datagram)],
            control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        )
        .map(drop)
        .map_err(Error::os("answer on", OBJECT))
    }

    /// Waits until the module is inside or has given up; its end of file means the latter.
    pub fn entry(&self) -> Result<Entry> {
        let datagram = self.receive()?;
        if datagram.is_empty() {
            return Ok(Entry::Failed);
        }
        Entry::decode(&datagram).map_err(|cause| Error::new("understand", OBJECT, cause))
    }

    fn receive(&self) -> Result<Vec<u8>> {
        let mut buffer = vec![0; MAX_DATAGRAM + 1];
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let received =
            recvmsg::<()>(self.0.as_raw_fd(), &mut parts, None, MsgFlags::MSG_CMSG_CLOEXEC)
                .map_err(Error::os("read from", OBJECT))?;
        let (length, flags) = (received.bytes, received.flags);
        if flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
            return Err(Error::new("read from", OBJECT, "more than a message holds"));
        }
        buffer.truncate(length);
        Ok(buffer)
    }
}
