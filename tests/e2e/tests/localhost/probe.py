"""A server and a client that tell what they see of addresses, each in one line.

probe.py serve NAME KIND ADDRESS PORT    answers "NAME sees PEER at OWN" until it is killed
probe.py ask KIND ADDRESS PORT           prints the answer and "shown PEER from OWN", or why not
probe.py bind KIND ADDRESS PORT          prints the address it got, or why not

KIND is tcp, udp (sendto), udp-connected, fastopen, mptcp or sctp.
"""
import errno
import os
import socket
import sys

STREAMS = {"tcp": 0, "fastopen": 0, "mptcp": 262, "sctp": 132}


def make(kind, address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if kind in STREAMS:
        sock = socket.socket(family, socket.SOCK_STREAM, STREAMS[kind])
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    else:
        sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(3)
    return sock


def serve(name, kind, address, port):
    sock = make(kind, address)
    sock.bind((address, port))
    sock.settimeout(None)
    if kind in STREAMS:
        sock.listen(64)
    print("at", sock.getsockname()[0], sock.getsockname()[1], flush=True)
    if os.fork():
        os._exit(0)
    # Who started it waits for nothing more.
    nothing = os.open("/dev/null", os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    while True:
        if kind in STREAMS:
            peer, (host, _, *_) = sock.accept()
            answer = f"{name} sees {host} at {peer.getsockname()[0]}"
            try:
                peer.sendall(answer.encode())
                # What it was sent is read: a reset would take the answer with it.
                peer.shutdown(socket.SHUT_WR)
                peer.settimeout(1)
                peer.recv(100)
            except OSError:
                pass
            peer.close()
        else:
            _, back = sock.recvfrom(100)
            answer = f"{name} sees {back[0]} at {sock.getsockname()[0]}"
            try:
                sock.sendto(answer.encode(), back)
            except OSError:
                pass


def ask(kind, address, port):
    sock = make(kind, address)
    if kind == "udp":
        sock.sendto(b"?", (address, port))
        answer, (peer, *_) = sock.recvfrom(100)
        print(answer.decode(), "shown", peer)
        return
    if kind == "fastopen":
        sock.settimeout(None)
        sock.sendto(b"?", socket.MSG_FASTOPEN, (address, port))
    else:
        sock.connect((address, port))
    sock.settimeout(3)
    if kind == "udp-connected":
        sock.send(b"?")
    answer = sock.recv(100).decode()
    print(answer, "shown", sock.getpeername()[0], "from", sock.getsockname()[0])


def bind(kind, address, port):
    sock = make(kind, address)
    sock.bind((address, port))
    if kind in STREAMS:
        sock.listen(1)
    print("at", sock.getsockname()[0])


verb, *rest = sys.argv[1:]
rest[-1] = int(rest[-1])
try:
    {"serve": serve, "ask": ask, "bind": bind}[verb](*rest)
except TimeoutError:
    print("timeout")
except OSError as error:
    print(errno.errorcode[error.errno])
