//! Method calls to systemd, with one deadline for all of them.
//!
//! They go over systemd's own socket, where root alone is answered. The system bus is shared by all
//! users: one who floods systemd over it keeps everybody's calls waiting there.
//!
//! The D-Bus of systemd's own socket has no bus: no `Hello`, no unique names, and replies whose
//! sender is "org.freedesktop.systemd1". zbus' connections take only a unique name for a sender,
//! and end with a panic. So the messages are sent and received here; zvariant encodes them.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zvariant::serialized::{Context, Data};
use zvariant::{DynamicType, Endian, ObjectPath, Type, Value, to_bytes};

use crate::error::{Error, Result};

/// systemd's own socket, which systemctl(1) uses for root too.
const PRIVATE: &str = "/run/systemd/private";

/// Not from the environment, which may be that of whoever runs a command by sudo(8).
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

const DESTINATION: &str = "org.freedesktop.systemd1";

/// Where systemd's `Manager` interface is (org.freedesktop.systemd1(5)).
pub const MANAGER_PATH: &str = "/org/freedesktop/systemd1";

/// The interface of [`MANAGER_PATH`].
pub const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// The interface of every unit.
pub const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// Types of messages (D-Bus specification, "Message Format").
const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;

/// Codes of header fields ("Header Fields").
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const TO: u8 = 6;
const SIGNATURE: u8 = 8;

/// No message that is received here is longer, in bytes.
const MAX_MESSAGE: usize = 1 << 20;

/// A connection to systemd.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    end: Instant,
    serial: u32,
}

/// The arguments of a reply.
#[derive(Debug)]
pub struct Answer {
    body: Vec<u8>,
    endian: Endian,
}

impl Answer {
    /// The first of them, or all as a tuple.
    pub fn read<T: DeserializeOwned + Type>(&self) -> zvariant::Result<T> {
        // A body begins where 8 divides, so its own offsets align as the message's do.
        let data = Data::new(self.body.as_slice(), Context::new_dbus(self.endian, 0));
        data.deserialize().map(|(value, _)| value)
    }
}

/// What came of a call.
enum Failure {
    /// The connection does not work, or is not for this process.
    Broken(String),
    /// No answer in time.
    Late,
    /// An answer that says no.
    Refused(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Broken(cause) | Failure::Refused(cause) => f.write_str(cause),
            Failure::Late => f.write_str("it does not answer"),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::Late,
            _ => Failure::Broken(error.to_string()),
        }
    }
}

impl From<zvariant::Error> for Failure {
    fn from(error: zvariant::Error) -> Self {
        Failure::Broken(error.to_string())
    }
}

type Outcome<T> = std::result::Result<T, Failure>;

impl Bus {
    /// Connects, and gives all calls together at most `patience`.
    ///
    /// The system bus is the second choice, for a host whose systemd has no socket of its own or
    /// does not let this process use it (SELinux). It is not asked when the first one has not
    /// answered in time: systemd itself is stuck then.
    pub fn connect(patience: Duration) -> Result<Self> {
        let end = Instant::now() + patience;
        match Bus::open(PRIVATE, end) {
            Ok(bus) => Ok(bus),
            Err(Failure::Late) => Err(Error::new("connect to", "systemd", Failure::Late)),
            Err(_) => Bus::open(SYSTEM_BUS, end)
                .and_then(Bus::greet)
                .map_err(|failure| Error::new("connect to", "the system bus", failure)),
        }
    }

    /// Calls a method and waits for its answer.
    pub fn call(
        &mut self,
        path: &str,
        interface: &str,
        method: &str,
        arguments: &(impl Serialize + DynamicType),
    ) -> Result<Answer> {
        self.exchange(DESTINATION, path, interface, method, arguments)
            .map_err(|failure| Error::new("ask systemd for", method, failure))
    }

    fn open(path: &str, end: Instant) -> Outcome<Self> {
        let kind = (AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC);
        let socket = socket(kind.0, kind.1, kind.2, None).map_err(std::io::Error::from)?;
        // Whose queue of connections is full is waited for this long (unix(7), SO_SNDTIMEO).
        let left = i64::try_from(left(end)?.as_micros()).unwrap_or(i64::MAX);
        setsockopt(&socket, sockopt::SendTimeout, &TimeVal::microseconds(left))
            .map_err(std::io::Error::from)?;
        let address = UnixAddr::new(path).map_err(std::io::Error::from)?;
        connect(socket.as_raw_fd(), &address).map_err(std::io::Error::from)?;
        let mut bus = Bus { stream: socket.into(), end, serial: 0 };
        bus.authenticate()?;
        Ok(bus)
    }

    /// Says who this process is, which the other end sees by the socket (D-Bus specification,
    /// "EXTERNAL").
    fn authenticate(&mut self) -> Outcome<()> {
        let uid = nix::unistd::geteuid().to_string();
        let hex: String = uid.bytes().map(|byte| format!("{byte:02x}")).collect();
        // BEGIN in the same write, as systemd's own clients have it: a systemd that reads BEGIN and
        // the first message together leaves that message lying until more comes.
        self.send(format!("\0AUTH EXTERNAL {hex}\r\nBEGIN\r\n").as_bytes())?;
        let mut line = Vec::new();
        // Nothing follows the line until the first call.
        while !line.ends_with(b"\r\n") && line.len() < 512 {
            let mut byte = [0];
            self.receive(&mut byte)?;
            line.extend(byte);
        }
        if !line.starts_with(b"OK ") {
            return Err(Failure::Broken("it does not accept this process as root".to_owned()));
        }
        Ok(())
    }

    /// The first call on a bus, which gives this connection a name.
    fn greet(mut self) -> Outcome<Self> {
        let (bus, path) = ("org.freedesktop.DBus", "/org/freedesktop/DBus");
        self.exchange(bus, path, bus, "Hello", &())?;
        Ok(self)
    }

    fn exchange(
        &mut self,
        destination: &str,
        path: &str,
        interface: &str,
        method: &str,
        arguments: &(impl Serialize + DynamicType),
    ) -> Outcome<Answer> {
        self.serial += 1;
        let context = Context::new_dbus(Endian::Little, 0);
        // Without parentheses around all arguments, which zvariant would write.
        let signature = arguments.signature().to_string_no_parens();
        let body = match signature.is_empty() {
            true => Vec::new(),
            false => to_bytes(context, arguments)?.bytes().to_vec(),
        };
        let path = ObjectPath::try_from(path)?;
        let fields: Vec<(u8, Value<'_>)> = vec![
            (PATH, path.into()),
            (INTERFACE, interface.into()),
            (MEMBER, method.into()),
            (TO, destination.into()),
        ];
        let header = (b'l', METHOD_CALL, 0_u8, 1_u8, length(&body)?, self.serial, fields);
        let mut message = to_bytes(context, &header)?.bytes().to_vec();
        if !signature.is_empty() {
            message.resize(message.len().next_multiple_of(8), 0);
            message.extend([SIGNATURE, 1, b'g', 0, length(&signature)? as u8]);
            message.extend(signature.bytes().chain([0]));
            let fields = length(&message[16..])?;
            message[12..16].copy_from_slice(&fields.to_le_bytes());
        }
        message.resize(message.len().next_multiple_of(8), 0);
        message.extend(body);
        self.send(&message)?;
        loop {
            // Others are signals.
            if let Some(answer) = self.answer()? {
                return answer;
            }
        }
    }

    /// The next message, where it is the answer to the last call.
    fn answer(&mut self) -> Outcome<Option<Outcome<Answer>>> {
        let mut start = [0; 16];
        self.receive(&mut start)?;
        let endian = match start[0] {
            b'l' => Endian::Little,
            b'B' => Endian::Big,
            _ => {
                return Err(Failure::Broken(
                    "it sent something that is not a D-Bus message".to_owned(),
                ));
            }
        };
        let number = |at: usize| {
            let bytes = [start[at], start[at + 1], start[at + 2], start[at + 3]];
            let number = match endian {
                Endian::Little => u32::from_le_bytes(bytes),
                Endian::Big => u32::from_be_bytes(bytes),
            };
            number as usize
        };
        let (body, fields) = (number(4), number(12));
        if body > MAX_MESSAGE || fields > MAX_MESSAGE {
            return Err(Failure::Broken("its message is too long".to_owned()));
        }
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        self.receive(&mut rest)?;
        let body = rest.split_off(fields.next_multiple_of(8));
        // With their length, which is at offset 12 of the message.
        let fields = [&start[12..], &rest[..fields]].concat();
        let fields = Data::new(fields, Context::new_dbus(endian, 12));
        let (fields, _): (Vec<(u8, Value<'_>)>, _) = fields.deserialize()?;
        let field = |code| fields.iter().find(|(its, _)| *its == code).map(|(_, value)| value);
        if !matches!(field(REPLY_SERIAL), Some(Value::U32(serial)) if *serial == self.serial) {
            return Ok(None);
        }
        let answer = Answer { body, endian };
        match start[1] {
            METHOD_RETURN => Ok(Some(Ok(answer))),
            ERROR => {
                let name = match field(ERROR_NAME) {
                    Some(Value::Str(name)) => name.to_string(),
                    _ => "an error without a name".to_owned(),
                };
                let text = field(SIGNATURE).and_then(|_| answer.read::<String>().ok());
                Ok(Some(Err(Failure::Refused(text.unwrap_or(name)))))
            }
            _ => Ok(None),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.stream.set_write_timeout(Some(left(self.end)?))?;
        Ok(self.stream.write_all(bytes)?)
    }

    fn receive(&mut self, mut buffer: &mut [u8]) -> Outcome<()> {
        while !buffer.is_empty() {
            self.stream.set_read_timeout(Some(left(self.end)?))?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(Failure::Broken("it has closed the connection".to_owned())),
                Ok(length) => buffer = &mut buffer[length..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn length(of: impl AsRef<[u8]>) -> Outcome<u32> {
    u32::try_from(of.as_ref().len()).map_err(|error| Failure::Broken(error.to_string()))
}

/// What is left until then, never nothing: that would be no time-out to a socket.
fn left(end: Instant) -> Outcome<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(Failure::Late) } else { Ok(left.max(Duration::from_micros(1))) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A connection and its other end, where systemd would be.
    fn pair() -> (Bus, UnixStream) {
        let (stream, other) = UnixStream::pair().unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        (Bus { stream, end, serial: 0 }, other)
    }

    /// A reply as systemd sends it, with a well-known name for its sender.
    fn reply(kind: u8, serial: u32, text: &str) -> Vec<u8> {
        let context = Context::new_dbus(Endian::Little, 0);
        let body = to_bytes(context, &text).unwrap().bytes().to_vec();
        let fields: Vec<(u8, Value<'_>)> = vec![
            (REPLY_SERIAL, serial.into()),
            (ERROR_NAME, "org.freedesktop.systemd1.NoSuchUnit".into()),
            (7, DESTINATION.into()),
            (SIGNATURE, zvariant::Signature::Str.into()),
        ];
        let header = (b'l', kind, 1_u8, 1_u8, body.len() as u32, 77_u32, fields);
        let mut message = to_bytes(context, &header).unwrap().bytes().to_vec();
        message.resize(message.len().next_multiple_of(8), 0);
        message.extend(body);
        message
    }

    #[test]
    fn a_call_is_written_as_the_specification_has_it() {
        let (mut bus, mut other) = pair();
        other.write_all(&reply(METHOD_RETURN, 1, "done")).unwrap();
        let settings: Vec<(&str, Value<'_>)> = vec![("TasksMax", Value::U64(7))];
        let arguments = ("user-1.slice", true, settings);
        let answer = bus.call(MANAGER_PATH, MANAGER, "SetUnitProperties", &arguments).unwrap();
        assert_eq!(answer.read::<String>().unwrap(), "done");
        drop(bus);
        let mut sent = Vec::new();
        other.read_to_end(&mut sent).unwrap();
        // Little-endian, a call, version 1; the body is the last of it.
        assert_eq!(sent[..4], [b'l', 1, 0, 1]);
        let body = u32::from_le_bytes(sent[4..8].try_into().unwrap()) as usize;
        assert_eq!(sent[sent.len() - body..][..17], *b"\x0c\0\0\0user-1.slice\0");
        assert_eq!(u32::from_le_bytes(sent[8..12].try_into().unwrap()), 1);
        // The signature of all arguments, without parentheses around them.
        let signature = b"\x08\x01g\0\x07sba(sv)\0";
        assert!(sent.windows(signature.len()).any(|it| it == signature), "{sent:?}");
    }

    #[test]
    fn signals_and_answers_to_others_are_passed_over() {
        let (mut bus, mut other) = pair();
        other.write_all(&reply(4, 1, "a signal")).unwrap();
        other.write_all(&reply(METHOD_RETURN, 9, "another's")).unwrap();
        other.write_all(&reply(METHOD_RETURN, 1, "mine")).unwrap();
        let answer = bus.call(MANAGER_PATH, MANAGER, "GetUnitByPID", &1_u32).unwrap();
        assert_eq!(answer.read::<String>().unwrap(), "mine");
    }

    #[test]
    fn an_error_is_told_by_its_text() {
        let (mut bus, mut other) = pair();
        other.write_all(&reply(ERROR, 1, "Unit x is not loaded.")).unwrap();
        let error = bus.call(MANAGER_PATH, MANAGER, "KillUnit", &("x", "all", 9)).unwrap_err();
        assert!(error.to_string().contains("Unit x is not loaded."), "{error}");
    }

    #[test]
    fn whoever_sends_slowly_is_not_waited_for() {
        let (mut bus, mut other) = pair();
        bus.end = Instant::now() + Duration::from_millis(50);
        other.write_all(&reply(METHOD_RETURN, 1, "late")[..20]).unwrap();
        let error = bus.call(MANAGER_PATH, MANAGER, "GetUnitByPID", &1_u32).unwrap_err();
        assert!(error.to_string().contains("does not answer"), "{error}");
    }

    #[test]
    fn lengths_are_not_believed() {
        let (mut bus, mut other) = pair();
        let mut message = reply(METHOD_RETURN, 1, "x");
        message[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        other.write_all(&message).unwrap();
        let error = bus.call(MANAGER_PATH, MANAGER, "GetUnitByPID", &1_u32).unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
    }
}
