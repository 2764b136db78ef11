//! The users' IPv6 addresses, which must be this machine's own. IPv4 needs nothing: all of
//! 127.0.0.0/8 is local already.
//!
//! Linux binds a socket to an IPv6 address that is on an interface. One that only a local route
//! leads to will do for a socket with IPV6_FREEBIND, which a program must ask for itself (no BPF
//! program can), or where `net.ipv6.ip_nonlocal_bind` is 1 (`__inet6_bind` in Linux 6.18). So:
//!
//! ```text
//! ip_nonlocal_bind = 1   one local route for the whole prefix
//! ip_nonlocal_bind = 0   each user's address on lo
//! ```
//!
//! The second has a price: glibc reads all addresses of the machine whenever it resolves a name.

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno::{
    self, EACCES, EADDRNOTAVAIL, EAFNOSUPPORT, EEXIST, ENODEV, ENXIO, EOPNOTSUPP, ESRCH,
};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

use crate::kernel_file;

/// Not 0: any socket can be bound to addresses that the machine has not (ip-sysctl.rst).
const NONLOCAL_BIND: &str = "/proc/sys/net/ipv6/ip_nonlocal_bind";

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
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
const RT_TABLE_LOCAL: u8 = 255;
const RTPROT_STATIC: u8 = 4;
const RTN_LOCAL: u8 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const AF_INET6: u8 = 10;
/// It has this number in every network namespace.
pub const LO: u32 = 1;

/// How long the prefix is that all users' addresses share.
const PREFIX_BITS: u8 = 64;

/// Makes a user's address the machine's own.
pub fn add(address: Ipv6Addr) -> io::Result<()> {
    // A route needs lo to be up; an address does not.
    if route_will_do() && add_route(prefix_of(address)).is_ok() {
        return Ok(());
    }
    // The last where lo has none (ip-sysctl.rst, disable_ipv6).
    let fine = [EEXIST, EOPNOTSUPP, EAFNOSUPPORT, EACCES];
    unless(&fine, ask_for_address(RTM_NEWADDR, CREATE, address))
}

/// Takes a user's address away; one that is not there is fine, and so is a host without IPv6.
pub fn remove(address: Ipv6Addr) -> io::Result<()> {
    let absent = [EADDRNOTAVAIL, EOPNOTSUPP, EAFNOSUPPORT, ENXIO, ENODEV];
    unless(&absent, ask_for_address(RTM_DELADDR, 0, address))
}

/// Removes the route for all users' addresses, after the last of them; none there is fine.
pub fn remove_route(of: Ipv6Addr) -> io::Result<()> {
    let absent = [ESRCH, EOPNOTSUPP, EAFNOSUPPORT, ENXIO, ENODEV];
    unless(&absent, ask_for_route(RTM_DELROUTE, 0, prefix_of(of)))
}

/// Takes the addresses off `lo` that the route stands for: of an older version, or of before
/// the administrator set `ip_nonlocal_bind`.
pub fn remove_needless(prefix: Ipv6Addr) -> io::Result<()> {
    if !route_will_do() {
        return Ok(());
    }
    on_lo(prefix).into_iter().try_for_each(remove)
}

/// The addresses of users that are on `lo`.
pub fn on_lo(prefix: Ipv6Addr) -> Vec<Ipv6Addr> {
    let table = kernel_file::read("/proc/net/if_inet6").unwrap_or_default();
    let address = |line: &str| {
        let (address, rest) = line.split_once(' ')?;
        let address = Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?);
        (rest.ends_with(" lo") && prefix_of(address) == prefix).then_some(address)
    };
    table.lines().filter_map(address).collect()
}

/// Whether sockets can be bound to addresses that are on no interface.
pub fn route_will_do() -> bool {
    kernel_file::read(NONLOCAL_BIND).is_ok_and(|text| text.trim() == "1")
}

fn prefix_of(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(address) & (u128::MAX << (128 - PREFIX_BITS)))
}

/// Adds the route for all users' addresses.
fn add_route(prefix: Ipv6Addr) -> io::Result<()> {
    match ask_for_route(RTM_NEWROUTE, CREATE, prefix) {
        Ok(()) => remove_needless(prefix),
        Err(error) if error.raw_os_error() == Some(EEXIST as i32) => Ok(()),
        Err(error) => Err(error),
    }
}

fn unless(fine: &[Errno], result: io::Result<()>) -> io::Result<()> {
    let errno = result.as_ref().err().and_then(io::Error::raw_os_error).map(Errno::from_raw);
    if errno.is_some_and(|errno| fine.contains(&errno)) { Ok(()) } else { result }
}

fn ask_for_address(what: u16, flags: u16, address: Ipv6Addr) -> io::Result<()> {
    let mut body = vec![AF_INET6, 128, IFA_F_NODAD, RT_SCOPE_HOST];
    body.extend(LO.to_ne_bytes());
    // Preferred for 0 seconds, valid for ever: no source where there is another global address
    // (RFC 6724, rule 3).
    let mut lifetimes = [0; 16];
    lifetimes[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    let own = address.octets();
    put(&mut body, IFA_LOCAL, &own);
    put(&mut body, IFA_ADDRESS, &own);
    put(&mut body, IFA_CACHEINFO, &lifetimes);
    ask(what, flags, &body)
}

fn ask_for_route(what: u16, flags: u16, prefix: Ipv6Addr) -> io::Result<()> {
    // struct rtmsg: no source, no type of service, of every scope, no flags.
    let mut body =
        vec![AF_INET6, PREFIX_BITS, 0, 0, RT_TABLE_LOCAL, RTPROT_STATIC, 0, RTN_LOCAL, 0, 0, 0, 0];
    put(&mut body, RTA_DST, &prefix.octets());
    put(&mut body, RTA_OIF, &LO.to_ne_bytes());
    ask(what, flags, &body)
}

/// One attribute; all here are as long as their alignment wants.
fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(u16::try_from(4 + value.len()).unwrap_or_default().to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
}

/// rtnetlink(7): one request, one acknowledgement.
fn ask(what: u16, flags: u16, body: &[u8]) -> io::Result<()> {
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
