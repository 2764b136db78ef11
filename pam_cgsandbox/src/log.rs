//! Lines to syslog, `authpriv`, as the helper writes them: `event=NAME key=value ...`.
//!
//! `syslog(3)` is not used: its state is the host's (`openlog`), and it blocks when the daemon does.
#![forbid(unsafe_code)]

use cgsandbox_protocol::STATE_DIR;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::{fs::OpenOptionsExt, net::UnixDatagram};

const AUTHPRIV: u8 = 10 << 3;

/// Logs what an administrator has to look at.
pub fn error(event: &str, fields: &[(&str, &str)]) {
    write(AUTHPRIV | 3, event, fields);
}

/// Logs what the `debug` argument asks for.
pub fn debug(event: &str, fields: &[(&str, &str)]) {
    write(AUTHPRIV | 7, event, fields);
}

fn write(priority: u8, event: &str, fields: &[(&str, &str)]) {
    let mut line = format!("<{priority}>cgsandbox[{}]: event={event}", std::process::id());
    for (key, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        line.push_str(&format!(" {key}={}", escaped(value)));
    }
    let send = || {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.send_to(line.as_bytes(), "/dev/log")
    };
    if send().is_err() {
        // The helper tells in its next line how many were lost. Best effort: no state, no count.
        let _ = count_as_lost();
    }
}

fn count_as_lost() -> io::Result<()> {
    OpenOptions::new()
        .append(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(format!("{STATE_DIR}/lost"))?
        .write_all(b".")
}

/// `value` in printable ASCII, such that it cannot end its line or look like another field.
fn escaped(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+/:@,%[]".contains(&byte);
    if value.bytes().all(plain) {
        return value.to_owned();
    }
    let mut quoted = String::from("\"");
    for byte in value.bytes().take(512) {
        if byte == b' ' || (byte.is_ascii_graphic() && !b"\"\\=".contains(&byte)) {
            quoted.push(char::from(byte));
        } else {
            quoted.push_str(&format!("\\x{byte:02x}"));
        }
    }
    quoted + "\""
}
