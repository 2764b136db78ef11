//! What a sandbox allows: a profile's values, how they are read, inherited and listed.
//!
//! Which there are stands in the table of [`directives`](super::directives).

use std::collections::BTreeMap;
use std::fmt::Display;

use super::directives::Profile;
use crate::config::value::{Invalid, IoLimit, Limit, List, Port, Rlimit, RlimitPair, Scalar};
use crate::config::{Origin, Sourced};
use crate::policy::Match;

/// How many tasks a session leaves to the others of its user, where the policy does not say: enough
/// for sshd's two, a shell and some commands. A quarter of the user's, where that is less.
const WAY_IN: u64 = 16;

/// What one directive says, and where; none where it is not written.
pub type Said<T> = Option<Sourced<T>>;

/// What `limits` says of each resource, and where.
pub type Rlimits = BTreeMap<Rlimit, Sourced<RlimitPair>>;

/// One directive of a profile, for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name, `limits.nofile` for a limit.
    pub directive: &'static str,
    /// Its value as an administrator would write it.
    pub value: String,
    /// Where it is written.
    pub origin: Origin,
}

/// The value that a file has for one directive. Each method reads one form; a mistake is noted, and
/// the directive then says nothing.
pub(crate) trait Reading {
    /// One value.
    fn one<T>(&mut self, parse: Parser<T>) -> Said<T>;
    /// A limit for each of several disks.
    fn disks(&mut self, parse: Parser<IoLimit>) -> Said<List<IoLimit>>;
    /// A list of ports.
    fn ports(&mut self, parse: Parser<Port>) -> Said<List<Port>>;
    /// A list of patterns, as in a rule's `match`.
    fn users(&mut self) -> Said<Match>;
    /// A table of resource limits.
    fn rlimits(&mut self) -> Rlimits;
}

/// Turns what is written into a typed value, or says what is wrong with it.
pub(crate) type Parser<T> = fn(Scalar<'_>) -> Result<T, Invalid>;

/// A field of [`Profile`].
pub trait Field {
    /// What it has where the directive is written.
    type Value;

    /// Takes from `other` what this one does not say.
    fn inherit(&mut self, other: &Self);

    /// Adds what it says to `all`.
    fn list(&self, directive: &'static str, all: &mut Vec<Setting>);
}

impl<T: Clone + Display> Field for Said<T> {
    type Value = T;

    fn inherit(&mut self, other: &Self) {
        if self.is_none() {
            self.clone_from(other);
        }
    }

    fn list(&self, directive: &'static str, all: &mut Vec<Setting>) {
        all.extend(self.as_ref().map(|Sourced { value, origin }| Setting {
            directive,
            value: value.to_string(),
            origin: origin.clone(),
        }));
    }
}

impl Field for Rlimits {
    type Value = RlimitPair;

    /// Resource by resource.
    fn inherit(&mut self, other: &Self) {
        for (rlimit, pair) in other {
            self.entry(*rlimit).or_insert_with(|| pair.clone());
        }
    }

    fn list(&self, _: &'static str, all: &mut Vec<Setting>) {
        all.extend(self.iter().map(|(rlimit, Sourced { value, origin })| Setting {
            directive: rlimit.directive(),
            value: value.to_string(),
            origin: origin.clone(),
        }));
    }
}

impl Profile {
    /// What it asks of each session by itself, in the words that it has for the user.
    pub(crate) fn of_session(&self) -> Profile {
        let mut session = self.session_twins();
        session.tasks_max = session.tasks_max.or_else(|| self.session_tasks_max_by_default());
        session
    }

    /// A session may use less than its user, who can then log in once more and end what ran wild.
    fn session_tasks_max_by_default(&self) -> Said<Limit> {
        let tasks_max = self.tasks_max.as_ref()?;
        let number = tasks_max.value.number()?;
        let value = Limit::At(number - (number / 4).min(WAY_IN));
        Some(Sourced { value, origin: tasks_max.origin.clone() })
    }
}
