"""pass.py give: offers a TCP socket that it made; pass.py take ADDRESS PORT: connects it."""
import array
import socket
import sys

NAME = "\0cgsandbox-pass"
if sys.argv[1] == "give":
    offer = socket.socket(socket.AF_UNIX)
    offer.bind(NAME)
    offer.listen()
    print("offered", flush=True)
    taker, _ = offer.accept()
    made = socket.socket()
    taker.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [made.fileno()]))])
else:
    offer = socket.socket(socket.AF_UNIX)
    offer.connect(NAME)
    _, [(_, _, data)], _, _ = offer.recvmsg(1, socket.CMSG_SPACE(4))
    passed = socket.socket(fileno=array.array("i", data)[0])
    passed.connect((sys.argv[2], int(sys.argv[3])))
    print(passed.recv(100).decode())
