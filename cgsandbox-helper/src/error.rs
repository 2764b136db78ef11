//! What could not be done: the operation, the object, the cause.

use std::borrow::Cow;
use std::fmt;

/// An operation that failed, told so that an administrator can act on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What was tried, as a verb: "create", "write 2147483648 to".
    pub operation: Cow<'static, str>,
    /// What it was tried on: a path, a pid, a user.
    pub object: String,
    /// Why it failed: the system's words, and the remedy where one is known.
    pub cause: String,
    /// The system's error number, where a system call failed.
    pub errno: Option<i32>,
}

/// What most of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An operation refused by this program rather than by the system.
    pub fn new(
        operation: impl Into<Cow<'static, str>>,
        object: impl fmt::Display,
        cause: impl fmt::Display,
    ) -> Self {
        Error {
            operation: operation.into(),
            object: object.to_string(),
            cause: cause.to_string(),
            errno: None,
        }
    }

    /// An operation refused by the system; for `map_err`.
    pub fn os<E: Into<std::io::Error>>(
        operation: impl Into<Cow<'static, str>>,
        object: impl fmt::Display,
    ) -> impl FnOnce(E) -> Self {
        let (operation, object) = (operation.into(), object.to_string());
        move |error| {
            let error = error.into();
            Error { operation, object, cause: error.to_string(), errno: error.raw_os_error() }
        }
    }

    /// Whether the process that something was to be done to is gone.
    pub fn is_no_process(&self) -> bool {
        self.errno == Some(rustix::io::Errno::SRCH.raw_os_error())
    }

    /// Whether the system does not allow it at all, as containers and security modules do: root
    /// has no right to it, or the call is filtered.
    pub fn is_denied(&self) -> bool {
        use rustix::io::Errno;
        let denials = [Errno::PERM, Errno::ACCESS, Errno::NOSYS];
        denials.iter().any(|errno| self.errno == Some(errno.raw_os_error()))
    }

    /// Whether the system lacks the thing asked for, rather than failed at it.
    ///
    /// Such a lack is a feature missing from the host (`strict` decides); everything
    /// else means that the sandbox could not be built (`on_error` decides).
    pub fn is_lack(&self) -> bool {
        use rustix::io::Errno;
        let lacks = [Errno::NOENT, Errno::ROFS, Errno::OPNOTSUPP, Errno::NOSYS, Errno::NODEV];
        lacks.iter().any(|errno| self.errno == Some(errno.raw_os_error()))
    }

    /// Whether the system was short of something, or busy, just then. That tells nothing of what it
    /// has.
    pub fn is_shortage(&self) -> bool {
        use rustix::io::Errno;
        let short = [
            Errno::NOMEM,
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOSPC,
            Errno::AGAIN,
            Errno::INTR,
            Errno::BUSY,
        ];
        short.iter().any(|errno| self.errno == Some(errno.raw_os_error()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.operation, self.object, self.cause)
    }
}

impl std::error::Error for Error {}
