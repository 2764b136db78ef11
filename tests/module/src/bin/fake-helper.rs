//! The helper's side of the contract, played from a script that lies beside this program:
//! `open.script` or `close.script`, one word a line. What it finds goes to `VERB.seen`.
//!
//! Without Rust's own `main`, because that changes signal dispositions and fills closed fds
//! before anything could be seen.
#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cgsandbox_protocol::{Entry, Login, Namespace, Reply, Request};
use nix::sys::socket::{ControlMessage, MsgFlags, recv, send, sendmsg};
use std::fmt::Write as _;
use std::io::{IoSlice, Write as _};
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::time::Duration;

/// The socket is the standard input.
const SOCKET: RawFd = 0;

/// # Safety
/// Called by the C runtime, once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main() -> i32 {
    let program = std::env::current_exe().unwrap();
    let directory = program.parent().unwrap();
    let verb = std::env::args().nth(1).unwrap_or_default();
    let mut seen = surroundings();
    let mut datagram = [0; 20_000];
    let length = recv(SOCKET, &mut datagram, MsgFlags::empty()).unwrap();
    let request = Request::decode(&datagram[..length]).unwrap();
    writeln!(seen, "request {request:?}").unwrap();
    write_seen(directory, &verb, &seen);
    let script = std::fs::read_to_string(directory.join(format!("{verb}.script"))).unwrap();
    for line in script.lines() {
        if let Some(status) = play(line, directory, &verb) {
            return status;
        }
    }
    0
}

fn write_seen(directory: &Path, verb: &str, text: &str) {
    let path = directory.join(format!("{verb}.seen"));
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// What the module has left for its helper to see.
fn surroundings() -> String {
    let mut seen = format!("run\nargs {:?}\n", std::env::args().collect::<Vec<_>>());
    writeln!(seen, "environment {:?}", std::env::vars_os().collect::<Vec<_>>()).unwrap();
    for fd in open_fds() {
        let target = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        let target = target.display().to_string();
        // A socket's number says nothing.
        writeln!(seen, "fd {fd} {}", target.split(':').next().unwrap()).unwrap();
    }
    writeln!(seen, "cwd {}", std::env::current_dir().unwrap().display()).unwrap();
    writeln!(seen, "mnt {}", std::fs::read_link("/proc/self/ns/mnt").unwrap().display()).unwrap();
    for line in std::fs::read_to_string("/proc/self/status").unwrap().lines() {
        let key = line.split(':').next().unwrap();
        if ["Umask", "Uid", "Gid", "SigBlk", "SigIgn", "SigCgt", "PPid"].contains(&key) {
            writeln!(seen, "{}", line.replace('\t', " ")).unwrap();
        }
    }
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let unified = cgroups.lines().find_map(|line| line.strip_prefix("0::"));
    writeln!(seen, "cgroup {}", unified.unwrap_or_default()).unwrap();
    let own_group = nix::unistd::getpgrp() == nix::unistd::getpid();
    writeln!(seen, "own process group {own_group}").unwrap();
    seen
}

fn open_fds() -> Vec<RawFd> {
    let listing = std::fs::read_dir("/proc/self/fd").unwrap();
    let numbers =
        listing.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap());
    let mut fds: Vec<RawFd> = numbers.collect();
    // The listing's own fd is closed by now.
    fds.retain(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok());
    fds.sort_unstable();
    fds
}

/// Plays one line of the script. A number is the status to exit with.
fn play(line: &str, directory: &Path, verb: &str) -> Option<i32> {
    let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "exit" => return Some(argument.parse().unwrap()),
        "sleep-ms" => std::thread::sleep(Duration::from_millis(argument.parse().unwrap())),
        "hang" => std::thread::sleep(Duration::from_secs(600)),
        "stubborn" => {
            // What a helper that ignores everything that can be ignored would do.
            for number in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGPIPE] {
                // SAFETY: ignoring a signal has no precondition.
                unsafe { libc::signal(number, libc::SIG_IGN) };
            }
        }
        "kill-self" => {
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        "close-socket" => {
            nix::unistd::close(SOCKET).unwrap();
        }
        "enter" => {
            let ways_back = argument.split_whitespace().map(|file| directory.join(file));
            let ways_back = ways_back.map(|path| path.to_str().unwrap().to_owned()).collect();
            reply(&Reply::Enter { namespaces: vec![], ways_back }, &[]);
        }
        "enter-mount" => enter_mount(directory),
        "enter-wrong-fd" => {
            let file = std::fs::File::open("/dev/null").unwrap();
            reply(&enter(1), &[file.as_raw_fd()]);
        }
        "enter-own" => {
            let namespace = std::fs::File::open("/proc/self/ns/mnt").unwrap();
            reply(&enter(1), &[namespace.as_raw_fd()]);
        }
        "enter-without-fds" => reply(&enter(1), &[]),
        "enter-with-fds" => {
            let (namespaces, fds) = argument.split_once(' ').unwrap();
            let file = std::fs::File::open("/dev/null").unwrap();
            let fds = vec![file.as_raw_fd(); fds.parse().unwrap()];
            reply(&enter(namespaces.parse().unwrap()), &fds);
        }
        "unconfined" => reply(&Reply::Unconfined, &[]),
        "unconfined-with-fds" => reply(&Reply::Unconfined, &vec![1; argument.parse().unwrap()]),
        "refuse-deny" => reply(&refused(Login::Deny, argument), &[]),
        "refuse-allow" => reply(&refused(Login::Allow, argument), &[]),
        "closed" => reply(&Reply::Closed, &[]),
        "bytes" => raw(&vec![b'x'; argument.parse().unwrap()]),
        "text" => raw(argument.replace("\\0", "\0").as_bytes()),
        "hear" => {
            let mut datagram = [0; 100];
            let length = recv(SOCKET, &mut datagram, MsgFlags::empty()).unwrap();
            let heard = match Entry::decode(&datagram[..length]) {
                Ok(entry) => format!("heard {entry:?}\n"),
                Err(_) if length == 0 => "heard the end\n".to_owned(),
                Err(error) => panic!("{error}"),
            };
            write_seen(directory, verb, &heard);
        }
        _ => panic!("the script says {line:?}"),
    }
    None
}

fn enter(namespaces: usize) -> Reply {
    Reply::Enter { namespaces: vec![Namespace::Mount; namespaces], ways_back: vec![] }
}

fn refused(login: Login, message: &str) -> Reply {
    Reply::Refused { login, message: message.into() }
}

/// A mount namespace of its own, in which the directory `view` has a file `inside`.
fn enter_mount(directory: &Path) {
    use nix::mount::{MsFlags, mount};
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let view = directory.join("view");
    mount(Some("tmpfs"), &view, Some("tmpfs"), MsFlags::empty(), none).unwrap();
    std::fs::write(view.join("inside"), "").unwrap();
    let namespace = std::fs::File::open("/proc/self/ns/mnt").unwrap();
    reply(&enter(1), &[namespace.as_raw_fd()]);
}

fn reply(reply: &Reply, fds: &[RawFd]) {
    let datagram = reply.encode().unwrap();
    let rights = [ControlMessage::ScmRights(fds)];
    let control = if fds.is_empty() { &rights[..0] } else { &rights[..] };
    let parts = [IoSlice::new(&datagram)];
    sendmsg::<()>(SOCKET, &parts, control, MsgFlags::MSG_NOSIGNAL, None).unwrap();
}

fn raw(datagram: &[u8]) {
    send(SOCKET, datagram, MsgFlags::MSG_NOSIGNAL).unwrap();
}
