//! The contract between `pam_cgsandbox.so` and `cgsandbox-helper`.
//!
//! The module spawns `cgsandbox-helper open` or `cgsandbox-helper close` with an
//! empty environment, one end of a `SOCK_SEQPACKET` pair as its standard input and
//! `/dev/null` on fds 1 and 2; no other fd is open. Then, one datagram each:
//!
//! ```text
//! open    module -> helper   Request::Open      who logs in, through what, from where
//!         helper -> module   Reply::Enter       what was built, with one fd per namespace
//!         module -> helper   Entered | Failed   the module is inside, or could not enter
//!         helper exits       after Entered it verified, logged and kept the sandbox;
//!                            after Failed, or EOF, it took everything back
//! close   module -> helper   Request::Close     the open to end; the module is back outside
//!         helper -> module   Reply::Closed
//! ```
//!
//! In place of `Enter` the helper may send [`Reply::Unconfined`] (the policy leaves
//! this login alone) or [`Reply::Refused`]. Then, and after `Closed`, it exits.
//!
//! A datagram is a list of fields, each ended by a NUL: first the protocol's name and
//! version, then the kind of message, then `key=value`. Neither side trusts the
//! other's datagram: each is decoded whole, and an unknown key, a missing one, one
//! given twice or a value over its length is an error. What the kernel can tell (the
//! leader's pid, its credentials) is never in a message.
#![forbid(unsafe_code)]

mod arguments;
mod line;

pub use arguments::Arguments;
pub use line::{add_field, count_lost};

use std::fmt;
use std::fs::{read_link, symlink_metadata};
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;

/// Where the helper is installed; the module's `helper=` argument overrides it.
pub const HELPER: &str = "/usr/libexec/cgsandbox/cgsandbox-helper";

/// The helper's state: root's, mode 0700.
pub const STATE_DIR: &str = "/run/cgsandbox";

/// Where the module starts the helper, if the host has it: the cgroup that systemd makes of
/// `cgsandbox.slice`, with cgroup v2 alone or beside v1.
pub const HELPER_CGROUPS: [&str; 2] =
    ["/sys/fs/cgroup/cgsandbox.slice", "/sys/fs/cgroup/unified/cgsandbox.slice"];

/// A symlink whose target is the configured `on_error`, `deny` or `allow`.
///
/// The module reads it when it has no helper to ask. A symlink, because it is read and
/// replaced in one step each, and reading one can neither block nor yield half a word.
/// Absent or anything else means `deny`.
pub const ON_ERROR: &str = "/run/cgsandbox/on_error";

/// [`ON_ERROR`] for the configuration that the PAM line names by `config=`, which is none of the
/// others' business; empty where it names none.
pub fn on_error_of(config: &str) -> String {
    match config {
        "" => ON_ERROR.to_owned(),
        path => format!("{ON_ERROR}:{}", path.replace('%', "%25").replace('/', "%2F")),
    }
}

/// The longest datagram either side sends or accepts, in bytes.
pub const MAX_DATAGRAM: usize = 16 * 1024;

/// The most namespace fds that come with [`Reply::Enter`].
pub const MAX_NAMESPACES: usize = 8;

const NAME_AND_VERSION: &str = "cgsandbox/1";

/// The longest value of a field, in bytes: the kernel's `PATH_MAX`.
const MAX_VALUE: usize = 4096;

/// What the module asks of the helper. Everything but `user` is optional to PAM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Build or join the sandbox of `user` and put the calling process into its cgroup.
    Open {
        /// `PAM_USER`, as sent by the client: hostile until NSS has resolved it.
        user: String,
        /// `PAM_SERVICE`.
        service: String,
        /// `PAM_TTY`, empty when unset. For the log only.
        tty: String,
        /// `PAM_RHOST`, empty when unset. For the log only.
        rhost: String,
        /// The module's `config=` argument: an absolute path; empty when not given.
        config: String,
        /// The module's name for this open; no two of one process have the same.
        ticket: u64,
        /// How long the module waits for the reply, in milliseconds.
        deadline_ms: u64,
    },
    /// Take the calling process back out and end its session, however far its open came.
    Close {
        /// Whose session it is.
        uid: u32,
        /// That of the open.
        ticket: u64,
        /// As in [`Request::Open`].
        deadline_ms: u64,
    },
}

/// What the helper answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The sandbox stands. One fd per entry of `namespaces` comes with this datagram.
    Enter {
        /// What the fds are, in their order.
        namespaces: Vec<Namespace>,
        /// The `cgroup.procs` files by which the module returns to where it came from
        /// before it asks for the close: what it starts then must not be under the
        /// user's limits, which may be used up.
        ways_back: Vec<String>,
    },
    /// The policy does not confine this login (exempt, other service, no rule).
    Unconfined,
    /// No sandbox. The helper has logged why.
    Refused {
        /// Whether the login may go on without one (`on_error = "allow"`).
        login: Login,
        /// One line for the user, without internals; empty for none.
        message: String,
    },
    /// The session has ended.
    Closed,
}

/// What becomes of a login without a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// `PAM_SESSION_ERR`.
    Deny,
    /// `PAM_IGNORE`.
    Allow,
}

/// A kind of namespace that the module enters by `setns(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// `CLONE_NEWNS`.
    Mount,
}

/// The module's last word on an open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// The module is in every namespace that it was given.
    Entered,
    /// It is not, and is back where it was.
    Failed,
}

/// Why a datagram is not a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed message: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

impl Request {
    /// The datagram for this request. Fails when a value is too long or holds a NUL.
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        match self {
            Request::Open { user, service, tty, rhost, config, ticket, deadline_ms } => {
                Datagram::of("open")
                    .field("user", user)?
                    .field("service", service)?
                    .field("tty", tty)?
                    .field("rhost", rhost)?
                    .field("config", config)?
                    .field("ticket", &ticket.to_string())?
                    .field("deadline_ms", &deadline_ms.to_string())?
                    .finish()
            }
            Request::Close { uid, ticket, deadline_ms } => Datagram::of("close")
                .field("uid", &uid.to_string())?
                .field("ticket", &ticket.to_string())?
                .field("deadline_ms", &deadline_ms.to_string())?
                .finish(),
        }
    }

    /// The request in `datagram`.
    pub fn decode(datagram: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::of(datagram)?;
        let request = match fields.kind {
            "open" => Request::Open {
                user: fields.take("user")?,
                service: fields.take("service")?,
                tty: fields.take("tty")?,
                rhost: fields.take("rhost")?,
                config: fields.take("config")?,
                ticket: fields.take_number("ticket")?,
                deadline_ms: fields.take_number("deadline_ms")?,
            },
            "close" => Request::Close {
                uid: fields.take_number("uid")?,
                ticket: fields.take_number("ticket")?,
                deadline_ms: fields.take_number("deadline_ms")?,
            },
            _ => return Err(Malformed("unknown request")),
        };
        fields.finish()?;
        Ok(request)
    }
}

impl Reply {
    /// The datagram for this reply. Fails when a value is too long or holds a NUL.
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        match self {
            Reply::Enter { namespaces, ways_back } => {
                let names: Vec<&str> = namespaces.iter().map(|kind| kind.name()).collect();
                if ways_back.iter().any(|path| path.contains('\n')) {
                    return Err(Malformed("newline in a path"));
                }
                Datagram::of("enter")
                    .field("namespaces", &names.join(","))?
                    .field("ways_back", &ways_back.join("\n"))?
                    .finish()
            }
            Reply::Unconfined => Datagram::of("unconfined").finish(),
            Reply::Refused { login, message } => Datagram::of("refused")
                .field("login", login.name())?
                .field("message", message)?
                .finish(),
            Reply::Closed => Datagram::of("closed").finish(),
        }
    }

    /// The reply in `datagram`.
    pub fn decode(datagram: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::of(datagram)?;
        let reply = match fields.kind {
            "enter" => Reply::Enter {
                namespaces: list(&fields.take("namespaces")?, ',')
                    .map(Namespace::named)
                    .collect::<Result<_, _>>()?,
                ways_back: list(&fields.take("ways_back")?, '\n')
                    .map(|path| match path.starts_with('/') {
                        true => Ok(path.to_owned()),
                        false => Err(Malformed("relative path")),
                    })
                    .collect::<Result<_, _>>()?,
            },
            "unconfined" => Reply::Unconfined,
            "refused" => Reply::Refused {
                login: Login::named(&fields.take("login")?)?,
                message: fields.take("message")?,
            },
            "closed" => Reply::Closed,
            _ => return Err(Malformed("unknown reply")),
        };
        fields.finish()?;
        Ok(reply)
    }
}

impl Entry {
    /// The datagram for this entry.
    pub fn encode(self) -> Result<Vec<u8>, Malformed> {
        Datagram::of(match self {
            Entry::Entered => "entered",
            Entry::Failed => "failed",
        })
        .finish()
    }

    /// The entry in `datagram`.
    pub fn decode(datagram: &[u8]) -> Result<Self, Malformed> {
        let fields = Fields::of(datagram)?;
        let entry = match fields.kind {
            "entered" => Entry::Entered,
            "failed" => Entry::Failed,
            _ => return Err(Malformed("unknown entry")),
        };
        fields.finish()?;
        Ok(entry)
    }
}

impl Login {
    /// What [`on_error_of`] that configuration says, if root wrote it.
    pub fn published(config: &str) -> Self {
        let link = on_error_of(config);
        let is_roots = symlink_metadata(&link).is_ok_and(|link| link.uid() == 0);
        let name = read_link(&link).ok().filter(|_| is_roots);
        name.and_then(|name| Login::named(name.to_str()?).ok()).unwrap_or(Login::Deny)
    }

    /// As in the configuration's `on_error` and in the target of [`ON_ERROR`].
    pub fn name(self) -> &'static str {
        match self {
            Login::Deny => "deny",
            Login::Allow => "allow",
        }
    }

    /// The inverse of [`Login::name`].
    pub fn named(name: &str) -> Result<Self, Malformed> {
        match name {
            "deny" => Ok(Login::Deny),
            "allow" => Ok(Login::Allow),
            _ => Err(Malformed("login is neither deny nor allow")),
        }
    }
}

impl Namespace {
    /// As in `/proc/PID/ns`.
    pub fn name(self) -> &'static str {
        match self {
            Namespace::Mount => "mnt",
        }
    }

    fn named(name: &str) -> Result<Self, Malformed> {
        match name {
            "mnt" => Ok(Namespace::Mount),
            _ => Err(Malformed("unknown namespace")),
        }
    }
}

/// The items of a value that is a list.
fn list(value: &str, separator: char) -> impl Iterator<Item = &str> {
    value.split(separator).filter(|item| !item.is_empty())
}

/// A datagram under construction.
struct Datagram(Vec<u8>);

impl Datagram {
    fn of(kind: &str) -> Self {
        Datagram(format!("{NAME_AND_VERSION}\0{kind}\0").into_bytes())
    }

    fn field(mut self, key: &str, value: &str) -> Result<Self, Malformed> {
        if value.len() > MAX_VALUE {
            return Err(Malformed("value too long"));
        }
        if value.contains('\0') {
            return Err(Malformed("NUL in a value"));
        }
        self.0.extend_from_slice(format!("{key}={value}\0").as_bytes());
        Ok(self)
    }

    fn finish(self) -> Result<Vec<u8>, Malformed> {
        if self.0.len() > MAX_DATAGRAM {
            return Err(Malformed("datagram too long"));
        }
        Ok(self.0)
    }
}

/// A datagram being taken apart.
struct Fields<'a> {
    kind: &'a str,
    rest: Vec<(&'a str, &'a str)>,
}

impl<'a> Fields<'a> {
    fn of(datagram: &'a [u8]) -> Result<Self, Malformed> {
        if datagram.len() > MAX_DATAGRAM {
            return Err(Malformed("datagram too long"));
        }
        let text = std::str::from_utf8(datagram).map_err(|_| Malformed("not UTF-8"))?;
        let text = text.strip_suffix('\0').ok_or(Malformed("no NUL at the end"))?;
        let mut parts = text.split('\0');
        if parts.next() != Some(NAME_AND_VERSION) {
            return Err(Malformed("other protocol or version: module and helper differ"));
        }
        let kind = parts.next().ok_or(Malformed("no kind"))?;
        let rest = parts
            .map(|part| part.split_once('=').ok_or(Malformed("field without a value")))
            .collect::<Result<Vec<_>, _>>()?;
        if rest.iter().any(|(_, value)| value.len() > MAX_VALUE) {
            return Err(Malformed("value too long"));
        }
        Ok(Fields { kind, rest })
    }

    fn take(&mut self, key: &str) -> Result<String, Malformed> {
        let at = self
            .rest
            .iter()
            .position(|(name, _)| *name == key)
            .ok_or(Malformed("field missing"))?;
        Ok(self.rest.swap_remove(at).1.to_owned())
    }

    fn take_number<N: FromStr>(&mut self, key: &str) -> Result<N, Malformed> {
        self.take(key)?.parse().map_err(|_| Malformed("not a number"))
    }

    fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("unknown or repeated field")) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn open() -> Request {
        Request::Open {
            user: "../../x\ny=z".into(),
            service: "sshd".into(),
            tty: String::new(),
            rhost: "192.0.2.7".into(),
            config: String::new(),
            ticket: u64::MAX,
            deadline_ms: 1000,
        }
    }

    #[test]
    fn what_is_sent_is_what_arrives() {
        let close = Request::Close { uid: 1000, ticket: 12, deadline_ms: 7 };
        for request in [open(), close] {
            assert_eq!(Request::decode(&request.encode().unwrap()), Ok(request));
        }
        let replies = [
            Reply::Enter {
                namespaces: vec![Namespace::Mount],
                ways_back: vec!["/sys/fs/cgroup/a=b/cgroup.procs".into(), "/x".into()],
            },
            Reply::Enter { namespaces: vec![], ways_back: vec![] },
            Reply::Unconfined,
            Reply::Refused { login: Login::Allow, message: "a=b".into() },
            Reply::Closed,
        ];
        for reply in replies {
            assert_eq!(Reply::decode(&reply.encode().unwrap()), Ok(reply));
        }
        for entry in [Entry::Entered, Entry::Failed] {
            assert_eq!(Entry::decode(&entry.encode().unwrap()), Ok(entry));
        }
    }

    #[test]
    fn every_truncation_and_every_extra_field_is_refused() {
        let whole = open().encode().unwrap();
        for end in 0..whole.len() {
            assert!(Request::decode(&whole[..end]).is_err(), "cut at {end}");
        }
        for extra in ["user=root\0", "more=1\0", "\0", "x"] {
            let longer = [whole.as_slice(), extra.as_bytes()].concat();
            assert!(Request::decode(&longer).is_err(), "with {extra:?}");
        }
    }

    #[test]
    fn other_versions_bytes_and_lengths_are_refused() {
        assert!(Request::decode(b"cgsandbox/2\0close\0ticket=1\0deadline_ms=1\0").is_err());
        assert!(Request::decode(b"cgsandbox/1\0close\0ticket=\xff\0deadline_ms=1\0").is_err());
        assert!(Request::decode(b"cgsandbox/1\0close\0ticket=-1\0deadline_ms=1\0").is_err());
        assert!(Reply::decode(b"cgsandbox/1\0enter\0namespaces=\0ways_back=x\0").is_err());
        assert!(Request::decode(&vec![b'a'; MAX_DATAGRAM + 1]).is_err());
        let refused =
            |message: &str| Reply::Refused { login: Login::Deny, message: message.into() };
        let long = refused(&"x".repeat(MAX_VALUE + 1));
        assert_eq!(long.encode(), Err(Malformed("value too long")));
        assert_eq!(refused("a\0b=c").encode(), Err(Malformed("NUL in a value")));
        let two = Reply::Enter { namespaces: vec![], ways_back: vec!["/a\n/b".into()] };
        assert_eq!(two.encode(), Err(Malformed("newline in a path")));
    }
}
