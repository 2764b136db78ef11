//! Facts that nobody looked up, for tests.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::{Loaded, Look};
use crate::config::{self, SourceText};
use crate::error::{Error, Result};
use crate::host::{Host, Offer};
use crate::policy::{Mentioned, Policy, Profile, Subject};

/// What there is to be seen, and what was looked at.
pub(crate) struct Scene {
    /// The user, as far as that can be found out.
    pub user: Result<Subject>,
    /// The same where groups cannot.
    pub alone: Result<Subject>,
    /// Whether the process that logs in has the mounts of a sandbox.
    pub is_inside: bool,
    /// What the host offers.
    pub host: Result<Offer>,
    /// Whether what making the cgroups shows is foreseen.
    pub foresees: bool,
    /// Whether the process that logs in is in a sandbox by its cgroup.
    pub is_nested: Result<bool>,
    /// The questions, in their order.
    pub asked: Vec<&'static str>,
}

impl Scene {
    /// A host on which all is well, and nobody is inside.
    pub(crate) fn of(user: Subject) -> Self {
        Scene {
            alone: Ok(Subject { groups: None, ..user.clone() }),
            user: Ok(user),
            is_inside: false,
            host: Ok(Offer::of_everything()),
            foresees: false,
            is_nested: Ok(false),
            asked: Vec::new(),
        }
    }
}

impl Look for Scene {
    fn user(&mut self, _: &Mentioned<'_>) -> Result<Subject> {
        self.asked.push("user");
        self.user.clone()
    }

    fn user_without_groups(&mut self, _: &Mentioned<'_>) -> Result<Subject> {
        self.asked.push("alone");
        self.alone.clone()
    }

    fn is_inside(&mut self) -> bool {
        self.asked.push("inside");
        self.is_inside
    }

    fn host(&mut self, policy: &Policy) -> Result<Host> {
        self.asked.push("host");
        let offer = self.host.clone()?;
        let mut host = offer.looked_at(&policy.cgroup_root);
        if self.foresees {
            offer.make(&mut host);
        }
        Ok(host)
    }

    fn is_nested(&mut self, _: &Host) -> Result<bool> {
        self.asked.push("nested");
        self.is_nested.clone()
    }

    fn disks(&mut self, host: &mut Host, profile: &Profile) {
        self.asked.push("disks");
        let Ok(offer) = &self.host else { return };
        offer.find_disks(host, profile);
    }
}

/// The policy that `text` is.
pub(crate) fn loaded(text: &str) -> Loaded {
    let text = SourceText { path: "test.toml".into(), text: text.into(), drop_in: false };
    Loaded::Policy(Arc::new(config::parse(&[text]).unwrap()))
}

/// Why something could not be found out.
pub(crate) fn broken() -> Error {
    Error::new("look at", "something", "it is broken")
}
