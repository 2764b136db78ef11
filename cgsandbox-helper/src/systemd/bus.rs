//! Method calls to systemd, with one deadline for all of them.
//!
//! Root's own connection to PID 1 is used where there is one, as systemctl(1) does: no broker
//! that restarts or hangs is in between, and no polkit is asked.

use std::path::Path;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::future::or;
use nix::sched::{CloneFlags, unshare};
use serde::Serialize;
use zbus::connection::{Builder, Connection};
use zbus::message::Message;
use zbus::zvariant::DynamicType;

use crate::error::{Error, Result};

const PRIVATE: &str = "/run/systemd/private";

const DESTINATION: &str = "org.freedesktop.systemd1";

/// Where systemd's `Manager` interface is (org.freedesktop.systemd1(5)).
pub const MANAGER_PATH: &str = "/org/freedesktop/systemd1";

/// The interface of [`MANAGER_PATH`].
pub const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// The interface of every unit.
pub const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// A connection to systemd.
#[derive(Debug)]
pub struct Bus {
    connection: Connection,
    /// None on a connection to PID 1 itself, where nobody has a name.
    destination: Option<&'static str>,
    end: Instant,
}

impl Bus {
    /// Connects, and gives all calls together at most `patience`.
    pub fn connect(patience: Duration) -> Result<Self> {
        // The crate has threads, which would share the working directory with this one: then
        // the kernel would refuse this one every other mount namespace (setns(2), EINVAL).
        unshare(CloneFlags::CLONE_FS).map_err(Error::os("unshare", "the working directory"))?;
        let end = Instant::now() + patience;
        let about = |cause: &dyn std::fmt::Display| Error::new("connect to", "systemd", cause);
        let (builder, destination) = match Path::new(PRIVATE).exists() {
            true => {
                let address = format!("unix:path={PRIVATE}");
                (Builder::address(address.as_str()).map(Builder::p2p), None)
            }
            false => (Builder::system(), Some(DESTINATION)),
        };
        let builder = builder.map_err(|error| about(&error))?;
        let connection = until(end, builder.build())
            .ok_or_else(|| about(&"it does not answer"))?
            .map_err(|error| about(&error))?;
        Ok(Bus { connection, destination, end })
    }

    /// Calls a method and waits for its answer.
    pub fn call(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        arguments: &(impl Serialize + DynamicType),
    ) -> Result<Message> {
        let about = |cause: &dyn std::fmt::Display| {
            Error::new("ask systemd for", method, cause.to_string())
        };
        let call =
            self.connection.call_method(self.destination, path, Some(interface), method, arguments);
        match until(self.end, call) {
            None => Err(about(&"it does not answer")),
            Some(Err(zbus::Error::MethodError(name, text, _))) => {
                Err(about(&text.unwrap_or_else(|| name.to_string())))
            }
            Some(Err(error)) => Err(about(&error)),
            Some(Ok(answer)) => Ok(answer),
        }
    }
}

fn until<T>(end: Instant, work: impl Future<Output = T>) -> Option<T> {
    async_io::block_on(or(async { Some(work.await) }, async {
        Timer::at(end).await;
        None
    }))
}
