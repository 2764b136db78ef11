//! What the programs decide, in words: the table of cgsandbox.toml(5).
//!
//! Nothing here runs at a login. The programs say the same in instructions, and the tests run
//! them against this for addresses of every kind.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::record::{ANYBODY, Reach, Record};

/// What an address means to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Not of this machine's localhost: the network, or an address of an interface.
    Elsewhere,
    /// The machine's localhost by any of its names: 127.0.0.0/8 without the pool, or `::1`.
    Localhost,
    /// All addresses: `0.0.0.0` or `::`.
    Wildcard,
    /// The user's own address.
    Own,
    /// Another user's, by the number; or one that nobody can have.
    Anothers(Option<u32>),
}

/// What becomes of a bind(2) or connect(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as it is.
    AsAsked,
    /// It goes on with the user's own address instead.
    Own,
    /// It fails with EPERM.
    Refused,
}

/// What `address` means to the user of `record`.
pub fn place(record: &Record, address: IpAddr) -> Place {
    match address {
        IpAddr::V4(v4) => place4(record, v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => place4(record, v4),
            None => place6(record, v6),
        },
    }
}

fn place4(record: &Record, address: Ipv4Addr) -> Place {
    let pool = record.pool.v4;
    if address == record.address.v4 {
        Place::Own
    } else if address.is_unspecified() {
        Place::Wildcard
    } else if u32::from(address) & pool.mask() == u32::from(pool.first()) {
        Place::Anothers(Some(u32::from(address) & !pool.mask()))
    } else if address.is_loopback() {
        Place::Localhost
    } else {
        Place::Elsewhere
    }
}

fn place6(record: &Record, address: Ipv6Addr) -> Place {
    let low = u128::from(address) as u64;
    if address == record.address.v6 {
        Place::Own
    } else if address.is_unspecified() {
        Place::Wildcard
    } else if address.is_loopback() {
        Place::Localhost
    } else if address.octets()[..8] == record.pool.v6.octets()[..8] {
        Place::Anothers(u32::try_from(low).ok())
    } else {
        Place::Elsewhere
    }
}

/// What `sender` may send to `owner`, by the entries of the map of who may reach whom. An owner who
/// lets in anybody has one entry for that; pairs are there for what follows from no such entry.
pub fn allowed(
    owner: u32,
    sender: u32,
    entry: impl Fn(u32, u32) -> Option<Reach>,
) -> Option<Reach> {
    match entry(owner, sender) {
        Some(Reach::Refused) => None,
        Some(reach) => Some(reach),
        None if entry(owner, ANYBODY).is_some() => Some(Reach::Granted),
        None if entry(sender, ANYBODY).is_some() => Some(Reach::Answers),
        None => None,
    }
}

/// bind(2) to an address and a port.
pub fn bind(record: &Record, place: Place, port: u16) -> Verdict {
    let is_service = port != 0 && record.services.contains(&port);
    match place {
        // Nobody takes the system's place while it is away.
        Place::Localhost | Place::Wildcard if is_service => Verdict::Refused,
        Place::Localhost => Verdict::Own,
        Place::Wildcard if record.wildcard_is_own => Verdict::Own,
        Place::Wildcard | Place::Own | Place::Elsewhere => Verdict::AsAsked,
        Place::Anothers(_) => Verdict::Refused,
    }
}

/// How something is to be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// connect(2), of TCP.
    ConnectStream,
    /// connect(2), of UDP.
    ConnectDatagrams,
    /// sendto(2), of UDP.
    SendTo,
}

/// connect(2), and sendto(2) where nothing is connected.
pub fn reach(
    record: &Record,
    place: Place,
    port: u16,
    how: How,
    entry: impl Fn(u32, u32) -> Option<Reach>,
) -> Verdict {
    let allowed = |number| allowed(number, record.address.number, &entry);
    let is_service = port != 0 && record.services.contains(&port);
    match place {
        // The kernel asks so where a socket is connected and control data come with a datagram.
        Place::Wildcard if how == How::SendTo && port == 0 => Verdict::AsAsked,
        Place::Localhost | Place::Wildcard if is_service => Verdict::AsAsked,
        Place::Localhost | Place::Wildcard => Verdict::Own,
        Place::Own | Place::Elsewhere => Verdict::AsAsked,
        Place::Anothers(number) => match number.and_then(allowed) {
            Some(Reach::Granted) => Verdict::AsAsked,
            // Datagrams have no direction; a connection has.
            Some(Reach::Answers) if how != How::ConnectStream => Verdict::AsAsked,
            _ => Verdict::Refused,
        },
    }
}

/// Whether a datagram may leave that does not get the user's own address for its source: with
/// `source`, which control data may have chosen, from a socket that is bound to `bound`.
pub fn may_send_from(record: &Record, source: IpAddr, bound: IpAddr) -> bool {
    let is_localhost = matches!(place(record, source), Place::Localhost | Place::Anothers(_));
    source == bound || !is_localhost
}

/// A packet as a filter sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Whether it comes or goes over `lo`, not the network.
    pub on_lo: bool,
    /// The source.
    pub from: IpAddr,
    /// The destination.
    pub to: IpAddr,
    /// The IP protocol.
    pub protocol: u8,
    /// The port it comes from, of TCP and UDP.
    pub from_port: u16,
    /// Whether it opens a TCP connection: SYN without ACK.
    pub opens: bool,
    /// Whether it is TCP's RST.
    pub resets: bool,
    /// Whether it is UDP with another protocol in it: the socket is of that.
    pub wraps: bool,
    /// The number of the user whose sandbox sent it; none for who is in none.
    pub sender: Option<u32>,
}

/// ICMP and ICMPv6: only the kernel answers.
pub fn is_icmp(protocol: u8) -> bool {
    protocol == 1 || protocol == 58
}

/// Whether a packet arrives in the sandbox.
pub fn arrives(
    record: &Record,
    packet: &Packet,
    entry: impl Fn(u32, u32) -> Option<Reach>,
) -> bool {
    if !packet.on_lo {
        // The network is nobody's localhost, and has no way to any.
        let is_network =
            |address| matches!(place(record, address), Place::Elsewhere | Place::Wildcard);
        return is_network(packet.from) && is_network(packet.to);
    }
    if packet.sender == Some(record.address.number) || is_icmp(packet.protocol) {
        return true;
    }
    let has_ports = [6, 17].contains(&packet.protocol);
    match (place(record, packet.to), packet.sender) {
        // A server on all addresses answers on those of others and of the system, too: not this.
        (Place::Anothers(_), _) => false,
        (Place::Localhost, Some(_)) => false,
        (Place::Localhost, None) => {
            // RST: the kernel's word that nobody listens, to who is bound to all addresses.
            packet.resets || has_ports && record.services.contains(&packet.from_port)
        }
        (_, None) => true,
        (_, Some(sender)) => match allowed(record.address.number, sender, entry) {
            Some(Reach::Granted) => true,
            Some(Reach::Answers) => has_ports && !packet.opens,
            Some(Reach::Refused) | None => false,
        },
    }
}

/// Whether a packet leaves the sandbox for `lo`. TCP, UDP and ICMP have been asked for their
/// destination before; what has no such question may only stay with the user.
pub fn leaves(record: &Record, packet: &Packet) -> bool {
    if !packet.on_lo {
        return true;
    }
    let was_asked = [6, 17].contains(&packet.protocol) && !packet.wraps;
    let to = place(record, packet.to);
    may_come_from(record, packet.from, packet.to)
        && (was_asked
            || is_icmp(packet.protocol)
            || matches!(to, Place::Own | Place::Elsewhere | Place::Wildcard))
}

/// Whether a packet from `from` to `to` is one of the user's: some options choose a source where
/// no program is asked (IP_MULTICAST_IF), and a connected socket keeps it for where it is connected
/// next. The machine's localhost has its place within localhost, and where the kernel itself takes
/// it: for what is sent to many over `lo`.
fn may_come_from(record: &Record, from: IpAddr, to: IpAddr) -> bool {
    let is_to_many = match to {
        IpAddr::V4(to) => to.is_multicast() || to.is_broadcast(),
        IpAddr::V6(to) => to.is_multicast(),
    };
    match place(record, from) {
        Place::Anothers(_) => false,
        Place::Localhost => place(record, to) != Place::Elsewhere || is_to_many,
        Place::Own | Place::Elsewhere | Place::Wildcard => true,
    }
}

/// The address that a program is shown in place of `address`.
pub fn shown(record: &Record, address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) if v4 == record.address.v4 => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6 == record.address.v6 => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6 == record.address.v4.to_ipv6_mapped() => {
            Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()
        }
        other => other,
    }
}
