//! Method calls to systemd over the system bus, with one deadline for all of them.

use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::future::or;
use serde::Serialize;
use zbus::connection::{Builder, Connection};
use zbus::message::Message;
use zbus::zvariant::DynamicType;

use crate::error::{Error, Result};

/// Not from the environment, which may be that of whoever runs a command by sudo(8).
const ADDRESS: &str = "unix:path=/run/dbus/system_bus_socket";

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
    end: Instant,
}

impl Bus {
    /// Connects, and gives all calls together at most `patience`.
    pub fn connect(patience: Duration) -> Result<Self> {
        let end = Instant::now() + patience;
        let about =
            |cause: &dyn std::fmt::Display| Error::new("connect to", "the system bus", cause);
        let builder = Builder::address(ADDRESS).map_err(|error| about(&error))?;
        let connection = until(end, builder.build())
            .ok_or_else(|| about(&"it does not answer"))?
            .map_err(|error| about(&error))?;
        Ok(Bus { connection, end })
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
        let call = self.connection.call_method(
            Some(DESTINATION),
            path,
            Some(interface),
            method,
            arguments,
        );
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
