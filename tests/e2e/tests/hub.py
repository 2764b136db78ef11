"""A service that opens the PAM sessions of several users in one process, as JupyterHub does.

usage: hub.py STEP...; a STEP is open:USER or close:USER (each on a handle of its own, as the pamela
library does it), start:USER and stop:USER (the handle is kept in between), or where.
"""
import ctypes
import os
import sys

MESSAGES = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class Conversation(ctypes.Structure):
    _fields_ = [("converse", MESSAGES), ("data", ctypes.c_void_p)]


def say_nothing(count, messages, responses, data):
    return 19


CONVERSATION = Conversation(MESSAGES(say_nothing), None)
PAM = ctypes.CDLL("libpam.so.0")
for name in ("pam_open_session", "pam_close_session", "pam_end"):
    getattr(PAM, name).argtypes = [ctypes.c_void_p, ctypes.c_int]


def handle_for(user):
    handle = ctypes.c_void_p()
    started = PAM.pam_start(b"sshd", user.encode(), ctypes.byref(CONVERSATION), ctypes.byref(handle))
    assert started == 0, started
    return handle


def where():
    cgroups = open("/proc/self/cgroup").read()
    inside = any("user-" in line for line in cgroups.splitlines())
    return f"{os.readlink('/proc/self/ns/mnt')} {'inside' if inside else 'outside'}"


KEPT = {}
BEFORE = where()
for step in sys.argv[1:]:
    verb, _, user = step.partition(":")
    if verb in ("open", "start"):
        handle = handle_for(user)
        code = PAM.pam_open_session(handle, 0)
    elif verb == "close":
        handle = handle_for(user)
        code = PAM.pam_close_session(handle, 0)
    elif verb == "stop":
        handle = KEPT.pop(user)
        code = PAM.pam_close_session(handle, 0)
    if verb == "start":
        KEPT[user] = handle
    else:
        PAM.pam_end(handle, 0)
    # As the programs that it starts for the user would be.
    place = "where it was" if where() == BEFORE else "inside" if "inside" in where() else "stranded"
    print(step, "done" if code == 0 else "refused", place, flush=True)
