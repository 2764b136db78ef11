//! Who gets which sandbox. Pure: no file, no NSS, no system call.

mod directives;
mod matching;
mod profile;

pub(crate) use directives::KEYS;
pub use directives::{DIRECTIVES, Directive, Profile};
pub use matching::{Match, Mentioned, Pattern, Specificity, Verdict, Who};
pub(crate) use profile::{Parser, Reading};
pub use profile::{Rlimits, Said, Setting};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use cgsandbox_protocol::Login;
use serde::{Deserialize, Serialize};

use crate::config::value::Privacy;
use crate::config::{Origin, Sourced};
use crate::loopback::address::{Address, Pool};

/// The whole configuration, checked and with every inheritance resolved.
#[derive(Debug, Clone)]
pub struct Policy {
    /// What becomes of a login whose sandbox cannot be built.
    pub on_error: Login,
    /// Who is never sandboxed, besides uid 0.
    pub exempt: Match,
    /// The PAM services whose logins are sandboxed.
    pub services: Vec<String>,
    /// Where each of them is written; none where the default stands.
    pub(crate) service_origins: BTreeMap<String, Origin>,
    /// Where the users' cgroups are, below the mount point of each hierarchy.
    pub cgroup_root: String,
    /// What the addresses of private localhosts are from.
    pub pool: Pool,
    /// Whose address is not the one that follows from the uid, by name or uid.
    pub(crate) addresses: BTreeMap<String, Sourced<Address>>,
    pub(crate) profiles: BTreeMap<String, Resolved>,
    pub(crate) rules: Vec<Arc<Rule>>,
}

/// A profile together with what it inherits.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// Shared, and on the heap: a profile is large, and most inherit nothing.
    pub profile: Arc<Profile>,
    /// Its own name, then those it inherits from, nearest first.
    pub chain: Vec<String>,
    pub origin: Origin,
}

/// One `[[rule]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whom it is for.
    pub matches: Match,
    /// The profile they get.
    pub profile: Sourced<String>,
    /// Where its `match` is written.
    pub origin: Origin,
}

/// Who logs in, as NSS has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Subject {
    /// The name that was logged in with.
    pub name: String,
    /// The name that NSS gives for the uid. Where one uid has two names, a pattern that
    /// fits either fits the user: the sandbox is the uid's, not the name's.
    pub canonical: Option<String>,
    /// The user id.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// The home directory.
    #[serde(skip)]
    pub home: PathBuf,
    /// Needed only if [`Mentioned::groups`] has any; without it a group pattern fits
    /// nobody, but for the primary group by id.
    pub groups: Option<Groups>,
    /// Whether another user's name is this uid in digits. A pattern of these digits then
    /// means that user, as chown(1) and all other programs take it.
    #[serde(default)]
    pub uid_is_a_name: bool,
}

/// A user's groups, and which groups the policy means.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Groups {
    /// The ids of all of the user's groups, the primary one included.
    pub ids: Vec<u32>,
    /// The id of each group that the policy mentions; none for a group that does not exist.
    /// Ids are compared, not names: one group may have several.
    pub mentioned: BTreeMap<String, Option<u32>>,
}

/// Why a login gets no sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unconfined {
    /// uid 0 never gets one.
    Root,
    /// The user is exempt, by this entry.
    Exempt(Sourced<Pattern>),
    /// The configuration is for other services.
    Service {
        /// The one logged in through.
        service: String,
        /// Those it is for.
        services: Vec<String>,
    },
    /// No rule is for this user.
    NoRule,
}

/// Which sandbox a login gets, and why this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confined {
    /// The rule that won.
    pub rule: Arc<Rule>,
    /// Its entry that matched; the most specific one, if several did.
    pub pattern: Sourced<Pattern>,
    /// The other rules, in the order of the files.
    pub lost: Vec<(Arc<Rule>, Loss)>,
    /// The profile, inherited values included.
    pub profile: Profile,
    /// The profile's name, then those it inherits from, nearest first.
    pub chain: Vec<String>,
}

/// Why a rule did not win.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// It is for others.
    NoMatch,
    /// It excludes this user, by this entry.
    Excluded(Sourced<Pattern>),
    /// It matched, but by this less specific entry.
    LessSpecific(Sourced<Pattern>),
    /// It matched as specifically, but a later rule did so too.
    Earlier,
}

impl Policy {
    /// What [`Self::choose`] and [`Self::peers_of`] have to know of the user from NSS.
    pub fn mentioned(&self) -> Mentioned<'_> {
        let mut mentioned = self.exempt.mentioned();
        let peers = self.profiles.values().filter_map(|it| it.profile.loopback_peers.as_ref());
        let rules = self.rules.iter().map(|rule| &rule.matches);
        rules.chain(peers.map(|peers| &peers.value)).for_each(|list| mentioned.add(list));
        mentioned.uids.extend(self.addresses.keys().filter_map(|user| user.parse::<u32>().ok()));
        mentioned
    }

    /// Which sandbox `subject` gets when logging in through `service`, or why none.
    pub fn choose(&self, subject: &Subject, service: &str) -> Result<Box<Confined>, Unconfined> {
        if subject.uid == 0 {
            return Err(Unconfined::Root);
        }
        if let Some(why) = self.leaves_alone(service) {
            return Err(why);
        }
        if let Verdict::Matched(pattern) = self.exempt.judge(subject) {
            return Err(Unconfined::Exempt(pattern.clone()));
        }
        self.confine(subject).map(Box::new).ok_or(Unconfined::NoRule)
    }

    /// Why nobody gets a sandbox through `service`, if so.
    pub fn leaves_alone(&self, service: &str) -> Option<Unconfined> {
        let is_ours = self.services.iter().any(|ours| ours == service);
        (!is_ours).then(|| Unconfined::Service {
            service: service.to_owned(),
            services: self.services.clone(),
        })
    }

    /// The addresses of a user's own localhost, where it has one; none where the uid has none.
    pub fn address_of(&self, subject: &Subject) -> Option<Address> {
        let given = self.given_address(subject).map(|address| address.value);
        given.or_else(|| self.pool.of_uid(subject.uid))
    }

    /// What the configuration gives the user explicitly.
    pub(crate) fn given_address(&self, subject: &Subject) -> Option<&Sourced<Address>> {
        let names = [Some(&subject.name), subject.canonical.as_ref()];
        let by_name = names.into_iter().flatten().find_map(|name| self.addresses.get(name));
        let by_uid = || self.addresses.get(&subject.uid.to_string());
        by_name.or_else(|| by_uid().filter(|_| !subject.uid_is_a_name))
    }

    /// Whether the user's sessions have a localhost of their own.
    pub fn is_private(&self, subject: &Subject) -> bool {
        let privacy = || Some(self.profile_of(subject)?.loopback.as_ref()?.value);
        subject.uid != 0
            && !self.services.is_empty()
            && !self.exempt.has(subject)
            && privacy() == Some(Privacy::Private)
    }

    /// Whether any profile gives its users a localhost of their own.
    pub fn has_private_localhost(&self) -> bool {
        let mut privacies = self.profiles.values().filter_map(|it| it.profile.loopback.as_ref());
        privacies.any(|privacy| privacy.value == Privacy::Private)
    }

    /// Whether anybody may reach another's localhost.
    pub fn has_peers(&self) -> bool {
        self.profiles.values().any(|resolved| resolved.profile.loopback_peers.is_some())
    }

    /// Whether that depends on who the two are: an owner lets in some, but not all.
    pub fn has_pairs(&self) -> bool {
        let peers = self.profiles.values().filter_map(|it| it.profile.loopback_peers.as_ref());
        peers.into_iter().any(|peers| {
            !peers.value.0.is_empty() && (!peers.value.has_everybody() || peers.value.leaves_out())
        })
    }

    /// Who may reach the localhost of `owner`.
    pub fn peers_of(&self, owner: &Subject) -> Option<&Match> {
        Some(&self.profile_of(owner)?.loopback_peers.as_ref()?.value)
    }

    /// The profile that the winning rule names.
    fn profile_of(&self, subject: &Subject) -> Option<&Profile> {
        let specificity = |rule: &Rule| match rule.matches.judge(subject) {
            Verdict::Matched(pattern) => Some(pattern.specificity()),
            _ => None,
        };
        let matching = self.rules.iter().filter_map(|rule| Some((specificity(rule)?, rule)));
        let (_, winner) = matching.max_by_key(|(specificity, _)| *specificity)?;
        self.profiles.get(&winner.profile.value).map(|resolved| &*resolved.profile)
    }

    /// The winning rule is the most specific one; among equals the last.
    fn confine(&self, subject: &Subject) -> Option<Confined> {
        let verdicts: Vec<Verdict<'_>> =
            self.rules.iter().map(|rule| rule.matches.judge(subject)).collect();
        let specificity = |at: usize| match verdicts[at] {
            Verdict::Matched(pattern) => Some(pattern.specificity()),
            _ => None,
        };
        let winner = (0..verdicts.len())
            .filter_map(|at| specificity(at).map(|specificity| (specificity, at)))
            .max()
            .map(|(_, at)| at)?;
        let Verdict::Matched(pattern) = verdicts[winner] else { return None };
        let rule = self.rules[winner].clone();
        let resolved = self.profiles.get(&rule.profile.value)?;
        let lost = (0..verdicts.len()).filter(|at| *at != winner).map(|at| {
            let loss = match verdicts[at] {
                Verdict::NoMatch => Loss::NoMatch,
                Verdict::Excluded(by) => Loss::Excluded(by.clone()),
                Verdict::Matched(own) if own.specificity() < pattern.specificity() => {
                    Loss::LessSpecific(own.clone())
                }
                Verdict::Matched(_) => Loss::Earlier,
            };
            (self.rules[at].clone(), loss)
        });
        Some(Confined {
            lost: lost.collect(),
            pattern: pattern.clone(),
            profile: Profile::clone(&resolved.profile),
            chain: resolved.chain.clone(),
            rule,
        })
    }
}

#[cfg(test)]
mod tests;
