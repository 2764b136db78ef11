//! A login that gets no sandbox although it should have one: who is told what.

use cgsandbox_protocol::{self as protocol, Reply};

use crate::audit::{Event, Level};
use crate::cgroup::Unfit;
use crate::channel::Channel;
use crate::error::{Error, Result};
use crate::open::Login;
use crate::plan::Denial;
use crate::state::State;
use crate::tasks::Full;

/// For the user of a login whose sandbox could not be built.
const SORRY: &str = "Login refused: your sandbox could not be set up. \
                     Please tell the administrator; the reason is in the system log.";

/// Why there is no sandbox.
pub enum Refusal {
    /// A rule of the user's own profile says so.
    Denied(Denial),
    /// It could not be built.
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Failed(error)
    }
}

impl Refusal {
    /// Tells the log why, the user that, and the module what to do.
    pub fn tell(
        self,
        channel: &Channel,
        state: &State,
        login: &Login,
        on_error: protocol::Login,
    ) -> Result<()> {
        let (verdict, message) = match &self {
            Refusal::Denied(Denial::TooManyLogins { max, .. }) => (
                protocol::Login::Deny,
                format!("Login refused: you already have {max} logins, and more are not allowed."),
            ),
            Refusal::Denied(Denial::TasksFull(Full { used, max, by })) => (
                protocol::Login::Deny,
                format!(
                    "Login refused: {used} of your {max} processes are running; end some: {by}."
                ),
            ),
            Refusal::Denied(Denial::Strict(_)) => (protocol::Login::Deny, SORRY.to_owned()),
            Refusal::Failed(_) => (on_error, SORRY.to_owned()),
        };
        let event = match verdict {
            protocol::Login::Deny => Event::new(Level::Error, "session_denied"),
            protocol::Login::Allow => {
                Event::new(Level::Warning, "degraded").with("enforced", "none")
            }
        };
        let event = event
            .with("user", &login.user)
            .with("service", &login.service)
            .with("rhost", &login.rhost)
            .with_some("waited", login.deadline.waited());
        let event = match self {
            Refusal::Denied(Denial::TooManyLogins { max, .. }) => {
                event.with("reason", "max_logins").with("max_logins", max)
            }
            Refusal::Denied(Denial::TasksFull(Full { used, max, by })) => {
                let event = event.with("reason", "tasks_max").with("tasks_max", max);
                event.with("tasks", used).with("processes", by)
            }
            Refusal::Denied(Denial::Strict(missing)) => {
                event.with("reason", "strict").with("missing", Unfit::reasons(&missing))
            }
            Refusal::Failed(error) => event.with("reason", "error").with_error(&error),
        };
        event.send(state);
        let message = match verdict {
            protocol::Login::Deny => message,
            protocol::Login::Allow => String::new(),
        };
        channel.reply(&Reply::Refused { login: verdict, message }, &[])
    }
}
