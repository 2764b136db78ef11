//! The host's `/dev/log`.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::namespace::Namespace;

const SOCKET: &str = "/dev/log";

/// A syslog daemon that keeps every datagram. It ends when its socket is shut down.
pub struct Syslog {
    socket: UnixDatagram,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Syslog {
    /// Binds `/dev/log` inside `namespace`. Whoever logs waits for no one: it reads at once.
    pub fn listen(namespace: &Namespace) -> Self {
        let socket = bind(namespace);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (reader, kept) = (socket.try_clone().expect("can't dup a socket"), Arc::clone(&lines));
        std::thread::spawn(move || {
            let mut datagram = [0; 64 * 1024];
            // A socket that was shut down yields empty datagrams for ever.
            while let Ok(length @ 1..) = reader.recv(&mut datagram) {
                let line = String::from_utf8_lossy(&datagram[..length]).into_owned();
                kept.lock().expect("no panic under lock").push(line);
            }
        });
        Syslog { socket, lines }
    }

    /// Everything received so far, in order, with priority and time stamp.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic under lock").clone()
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

/// Binds `/dev/log` anew, and lets nobody read it: once its queue is full, writers block.
pub fn bind_and_ignore(namespace: &Namespace) -> UnixDatagram {
    let socket = bind(namespace);
    namespace.run(|| {
        let flood = UnixDatagram::unbound().expect("can't make a socket");
        flood.set_write_timeout(Some(Duration::from_millis(1))).expect("can't set a timeout");
        while flood.send_to(b"<13>flood", SOCKET).is_ok() {}
    });
    socket
}

fn bind(namespace: &Namespace) -> UnixDatagram {
    namespace.run(|| {
        let _ = std::fs::remove_file(SOCKET);
        let socket = UnixDatagram::bind(SOCKET).expect("can't bind /dev/log");
        std::fs::set_permissions(SOCKET, std::fs::Permissions::from_mode(0o666))
            .expect("can't open /dev/log to all");
        socket
    })
}
