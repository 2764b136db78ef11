//! The audit trail: one syslog line an event, facility authpriv, ident `cgsandbox`.
//!
//! A line is `event=NAME key=value ...`. The daemon behind `/dev/log` may be stuck or
//! absent: that costs a login [`PATIENCE`] at most, however many lines it has, and the next
//! line that gets through says in `lost=` how many did not.

use std::fmt::Display;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cgsandbox_protocol::add_field;
use syslog::{Facility, LogFormat, Logger, LoggerBackend, Severity};

use crate::error::Error;
use crate::state::State;

/// How long a line may wait for the daemon; after one that did in vain, no other waits.
const PATIENCE: Duration = Duration::from_millis(50);

/// Whether a line of this process has waited in vain.
static STUCK: AtomicBool = AtomicBool::new(false);

/// How urgent a line is (syslog(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// What an administrator has to mend.
    Error,
    /// What works less well than asked for.
    Warning,
    /// What happened.
    Info,
}

/// A line under construction.
#[derive(Debug, Clone)]
pub struct Event {
    level: Level,
    text: String,
}

impl Event {
    /// A line that begins with `event=NAME`.
    pub fn new(level: Level, name: &str) -> Self {
        Event { level, text: format!("event={name}") }
    }

    /// Adds `key=value`.
    pub fn with(mut self, key: &str, value: impl Display) -> Self {
        add_field(&mut self.text, key, &value.to_string());
        self
    }

    /// Adds `key=value` where there is a value.
    pub fn with_some(self, key: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Adds what failed: `operation=`, `object=` and `cause=`.
    pub fn with_error(self, error: &Error) -> Self {
        self.with("operation", &error.operation)
            .with("object", &error.object)
            .with("cause", &error.cause)
    }

    /// The line, without what syslog puts before it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Hands the line to syslog, together with the number of those lost before it.
    pub fn send(self, state: &State) {
        let lost = state.take_lost_lines();
        let level = self.level;
        let line = if lost > 0 { self.with("lost", lost) } else { self };
        if deliver(level, line.text(), Path::new("/dev/log")).is_err() {
            STUCK.store(true, Ordering::Relaxed);
            state.count_lost_lines(lost + 1);
        }
    }
}

/// As syslog(3) writes to the local daemon, but without a time: that has no zone there, the crate's
/// own format has UTC, and daemons that believe it would file the line hours away from sshd's.
struct Local;

impl<T: Display> LogFormat<T> for Local {
    fn format<W: Write>(&self, w: &mut W, severity: Severity, text: T) -> syslog::Result<()> {
        let priority = Facility::LOG_AUTHPRIV as u8 | severity as u8;
        Ok(write!(w, "<{priority}>cgsandbox[{}]: {text}", std::process::id())?)
    }
}

fn deliver(level: Level, text: &str, socket: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let connection = UnixDatagram::unbound()?;
    connection.connect(socket)?;
    match STUCK.load(Ordering::Relaxed) {
        true => connection.set_nonblocking(true)?,
        false => connection.set_write_timeout(Some(PATIENCE))?,
    }
    let mut logger = Logger::new(LoggerBackend::Unix(connection), Local);
    match level {
        Level::Error => logger.err(text)?,
        Level::Warning => logger.warning(text)?,
        Level::Info => logger.info(text)?,
    }
    logger.backend.flush()?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reaches_the_daemon_whole() {
        let directory =
            std::env::temp_dir().join(format!("cgsandbox-audit-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let path = directory.join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let event = Event::new(Level::Info, "session_open").with("user", "a b");
        deliver(event.level, event.text(), &path).unwrap();
        let mut buffer = [0; 1024];
        let length = daemon.recv(&mut buffer).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        let line = std::str::from_utf8(&buffer[..length]).unwrap();
        // 10 * 8 + 6: authpriv.info
        let pid = std::process::id();
        assert_eq!(line, format!("<86>cgsandbox[{pid}]: event=session_open user=\"a b\""));
    }

    #[test]
    fn a_stuck_daemon_costs_no_more_than_the_patience() {
        let directory =
            std::env::temp_dir().join(format!("cgsandbox-stuck-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let path = directory.join("log");
        let _daemon = UnixDatagram::bind(&path).unwrap();
        let filler = UnixDatagram::unbound().unwrap();
        filler.set_nonblocking(true).unwrap();
        filler.connect(&path).unwrap();
        while filler.send(b"x").is_ok() {}
        let start = std::time::Instant::now();
        assert!(deliver(Level::Info, "event=x", &path).is_err());
        let took = start.elapsed();
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(took < Duration::from_millis(100), "{took:?}");
    }
}
