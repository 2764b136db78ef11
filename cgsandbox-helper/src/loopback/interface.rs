//! The users' IPv6 addresses on `lo`. IPv4 needs none: all of 127.0.0.0/8 is local already.

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno::{
    self, EACCES, EADDRNOTAVAIL, EAFNOSUPPORT, EEXIST, ENODEV, ENXIO, EOPNOTSUPP,
};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
/// NLM_F_REQUEST and NLM_F_ACK.
const ASK: u16 = 1 | 4;
/// NLM_F_EXCL and NLM_F_CREATE.
const CREATE: u16 = 0x200 | 0x400;
/// Nobody else can have it, so there is nothing to detect.
const IFA_F_NODAD: u8 = 0x02;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
const RT_SCOPE_HOST: u8 = 254;
const AF_INET6: u8 = 10;
/// It has this number in every network namespace.
pub const LO: u32 = 1;

/// Adds an address; one that is there already is fine, and so is a host without IPv6.
pub fn add(address: Ipv6Addr) -> io::Result<()> {
    // The last where lo has none (ip-sysctl.rst, disable_ipv6).
    unless(&[EEXIST, EOPNOTSUPP, EAFNOSUPPORT, EACCES], ask(RTM_NEWADDR, CREATE, address))
}

/// Removes an address; one that is not there is fine, and so is a host without IPv6.
pub fn remove(address: Ipv6Addr) -> io::Result<()> {
    let absent = [EADDRNOTAVAIL, EOPNOTSUPP, EAFNOSUPPORT, ENXIO, ENODEV];
    unless(&absent, ask(RTM_DELADDR, 0, address))
}

fn unless(fine: &[Errno], result: io::Result<()>) -> io::Result<()> {
    let errno = result.as_ref().err().and_then(io::Error::raw_os_error).map(Errno::from_raw);
    if errno.is_some_and(|errno| fine.contains(&errno)) { Ok(()) } else { result }
}

/// rtnetlink(7): one request, one acknowledgement.
fn ask(what: u16, flags: u16, address: Ipv6Addr) -> io::Result<()> {
    let mut body = vec![AF_INET6, 128, IFA_F_NODAD, RT_SCOPE_HOST];
    body.extend(LO.to_ne_bytes());
    // Preferred for 0 seconds, valid for ever: no source where there is another global address
    // (RFC 6724, rule 3).
    let mut lifetimes = [0; 16];
    lifetimes[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    let own = address.octets();
    for (kind, value) in [(IFA_LOCAL, own), (IFA_ADDRESS, own), (IFA_CACHEINFO, lifetimes)] {
        body.extend(20_u16.to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(value);
    }
    let mut message = u32::try_from(16 + body.len()).unwrap_or_default().to_ne_bytes().to_vec();
    message.extend(what.to_ne_bytes());
    message.extend((ASK | flags).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    let socket: OwnedFd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    // What keeps this from asking is not what the kernel answers.
    send(socket.as_raw_fd(), &message, MsgFlags::empty()).map_err(io::Error::other)?;
    let mut answer = [0_u8; 1024];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    // struct nlmsghdr, then struct nlmsgerr, which begins with the error or 0.
    let error = answer.get(16..20).filter(|_| length >= 20).and_then(|field| field.try_into().ok());
    match error.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(-error)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
