"""Ways around a private localhost: attack.py "WAY ARGUMENT..." [...] takes them all at once.

For each one line, in their order: what came of it. `listen` goes on in the background.
"""
import concurrent.futures
import ctypes
import errno
import os
import socket
import struct
import sys
import threading
import time

KINDS = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0), "udplite": (socket.SOCK_DGRAM, 136)}
IP, IPV6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6
# What the socket module lacks; from <linux/in.h> and <linux/in6.h>.
IP_OPTIONS, IP_PKTINFO, IP_FREEBIND, IP_TRANSPARENT, IP_BIND_ADDRESS_NO_PORT = 4, 8, 15, 19, 24
IPV6_FREEBIND, IPV6_TRANSPARENT = 78, 75
IPOPT_LSRR, MSG_MORE = 131, 0x8000
libc = ctypes.CDLL(None, use_errno=True)


def make(address, kind="udp"):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, *KINDS[kind])
    made.settimeout(1)
    return made


def place(address, port, interface=0):
    return (address, int(port), 0, interface) if ":" in address else (address, int(port))


def answer(sock):
    data, peer, *_ = sock.recvfrom(100)
    return f"{data.decode()} from {peer[0] if peer else 'the peer'}"


def control(source, interface=0):
    """The source and the interface of one datagram."""
    if ":" in source:
        data = socket.inet_pton(socket.AF_INET6, source) + struct.pack("I", interface)
        return (IPV6, socket.IPV6_PKTINFO, data)
    return (IP, IP_PKTINFO, struct.pack("I", interface) + socket.inet_aton(source) + bytes(4))


def of_family(family, address, port):
    """struct sockaddr_in with another family."""
    return struct.pack("=H", family) + struct.pack("!H", int(port)) + socket.inet_aton(address) + bytes(8)


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")


def listen(address, port, file):
    """Notes everything that arrives, and from whom."""
    sock = make(address)
    sock.bind((address, int(port)))
    sock.settimeout(None)
    if os.fork():
        return "listens"
    nothing = os.open("/dev/null", os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    while True:
        data, peer = sock.recvfrom(100)
        with open(file, "a") as notes:
            notes.write(f"{data.decode()} from {peer[0]}\n")


def marked(address, port):
    """A connected datagram socket that sets the TOS of each, as QUIC does."""
    sock = make(address)
    sock.connect((address, int(port)))
    six = (IPV6, socket.IPV6_TCLASS, struct.pack("i", 2))
    sock.sendmsg([b"?"], [six if ":" in address else (IP, socket.IP_TOS, struct.pack("i", 2))])
    return answer(sock)


def spoof(address, port, source, bound=None, bound_port=0):
    sock = make(address)
    if bound:
        sock.bind((bound, int(bound_port)))
    sock.sendmsg([b"spoofed"], [control(source)], 0, (address, int(port)))
    return answer(sock)


def spoof_connected(address, port, source):
    sock = make(address)
    sock.connect((address, int(port)))
    sock.sendmsg([b"spoofed"], [control(source)])
    return answer(sock)


def spoof_sticky(address, port, source, interface):
    """The source of all that the socket sends."""
    sock = make(address)
    index = socket.if_nametoindex(interface)
    sock.setsockopt(*control(source, index))
    sock.sendto(b"spoofed", place(address, port, index))
    return answer(sock)


def multicast(group, port, interface, source=None):
    sock = make(group)
    index = socket.if_nametoindex(interface)
    if ":" in group:
        sock.setsockopt(IPV6, socket.IPV6_MULTICAST_IF, index)
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(IP, socket.IP_MULTICAST_IF, struct.pack("4s4si", bytes(4), bytes(4), index))
    data = [control(source, index)] if source else []
    sock.sendmsg([b"spoofed" if source else b"honest"], data, 0, place(group, port, index))
    return "sent"


def multicast_from(source, group, port, then=None, then_port=0):
    """IP_MULTICAST_IF takes any address for the source; a connected socket keeps it for later."""
    sock = make(group)
    sock.setsockopt(IP, socket.IP_MULTICAST_IF, struct.pack("4s4si", bytes(4), socket.inet_aton(source), 0))
    sock.connect((group, int(port)))
    if then:
        sock.connect((then, int(then_port)))
    sock.send(b"spoofed")
    return "sent"


def multicast_ping(source, group):
    """ICMP has no hook: what answers would answer to the source."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    sock.setsockopt(IP, socket.IP_MULTICAST_IF, struct.pack("4s4si", bytes(4), socket.inet_aton(source), 0))
    sock.sendto(bytes([8, 0, 0, 0, 0, 0, 0, 1]), (group, 0))
    return "sent"


def v4_of_v6(how, address, port):
    """connect(2) and sendto(2) of an AF_INET6 socket to an AF_INET address."""
    sock = make("::")
    to = of_family(socket.AF_INET, address, port)
    if how == "connect":
        checked(libc.connect(sock.fileno(), to, 16))
        sock.send(b"?")
    else:
        checked(libc.sendto(sock.fileno(), b"?", 1, 0, to, 16))
    return answer(sock)


def unspecified(how, address, port):
    """To an address of the family AF_UNSPEC, which sendto(2) and bind(2) take for AF_INET."""
    sock = make(address)
    to = of_family(socket.AF_UNSPEC, address, port)
    if how == "bind":
        checked(libc.bind(sock.fileno(), to, 16))
        return f"bound {sock.getsockname()}"
    checked(libc.sendto(sock.fileno(), b"?", 1, 0, to, 16))
    return answer(sock)


def corked(address, port):
    """The second part of a datagram says where both go."""
    sock = make(address)
    sock.sendto(b"?", MSG_MORE, ("127.0.0.1", 9))
    sock.sendto(b"?", (address, int(port)))
    return answer(sock)


def again(address, port, service):
    """First to a service of the system, then with the same socket to what is none."""
    sock = make(address)
    sock.connect((address, int(service)))
    sock.connect((address, int(port)))
    sock.send(b"?")
    return answer(sock)


def bound(kind, address, port, own):
    sock = make(address, kind)
    sock.bind((own, 0))
    sock.connect((address, int(port)))
    sock.send(b"?")
    return answer(sock)


def source_route(kind, by, to, port):
    sock = make(by, kind)
    sock.setsockopt(IP, IP_OPTIONS, bytes([IPOPT_LSRR, 7, 4]) + socket.inet_aton(by) + b"\0")
    sock.connect((to, int(port)))
    sock.send(b"?")
    return answer(sock)


def routing_header(by, to, port, kind, left):
    """RFC 6275 (type 2) and RFC 8754 (type 4)."""
    sock = make(to)
    by, end = (socket.inet_pton(socket.AF_INET6, address) for address in (by, to))
    if kind == "2":
        header = bytes([0, 2, 2, 1]) + bytes(4) + by
    else:
        header = bytes([0, 4, 4, int(left), 1, 0, 0, 0]) + end + by
    sock.setsockopt(IPV6, socket.IPV6_RTHDR, header)
    sock.connect((to, int(port)))
    sock.send(b"?")
    return answer(sock)


def udplite(how, address, port):
    sock = make(address, "udplite")
    if how == "bind":
        sock.bind((address, int(port)))
        return f"bound {sock.getsockname()}"
    if how == "connect":
        sock.connect((address, int(port)))
        sock.send(b"?")
    else:
        sock.sendto(b"?", (address, int(port)))
    return answer(sock)


def bind(option, kind, address, port):
    sock = make(address, kind)
    for level, name in {
        "freebind": [(IPV6, IPV6_FREEBIND) if ":" in address else (IP, IP_FREEBIND)],
        "transparent": [(IPV6, IPV6_TRANSPARENT) if ":" in address else (IP, IP_TRANSPARENT)],
        "no-port": [(IP, IP_BIND_ADDRESS_NO_PORT)],
        "share": [(socket.SOL_SOCKET, socket.SO_REUSEADDR), (socket.SOL_SOCKET, socket.SO_REUSEPORT)],
    }[option]:
        sock.setsockopt(level, name, 1)
    sock.bind((address, int(port)))
    return f"bound {sock.getsockname()}"


def by_device(kind, name, address, port):
    sock = make(address, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
    sock.connect(place(address, port, socket.if_nametoindex(name)))
    sock.send(b"?")
    return answer(sock)


def connect_bound(address, port):
    """As clients do that choose their own port."""
    sock = make(address, "tcp")
    sock.settimeout(3)
    sock.bind(("0.0.0.0", 0))
    sock.connect((address, int(port)))
    return "connected"


def hammer(seconds, others, port, machine):
    """Tries for so long, by several threads, what is never to succeed."""
    end = time.monotonic() + float(seconds)
    tries, reached = [], []

    def strike(act, address, port):
        while time.monotonic() < end:
            tries.append(address)
            with make(address, "tcp") as sock:
                try:
                    getattr(sock, act)((address, int(port)))
                    reached.append((act, address, port))
                except OSError:
                    pass

    wrong = [("connect", others, port), ("bind", others, 0), ("connect", "127.0.0.1", machine)]
    threads = [threading.Thread(target=strike, args=it) for it in wrong]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return f"reached {reached} of {len(set(tries))}"


def take(way):
    name, *arguments = way.split()
    try:
        return globals()[name](*arguments)
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return errno.errorcode[error.errno]


ways = sys.argv[1:]
if len(ways) == 1:
    print(take(ways[0]))
else:
    with concurrent.futures.ThreadPoolExecutor(len(ways)) as pool:
        print(*pool.map(take, ways), sep="\n")
