//! Limits on hosts whose cgroups are systemd's: it alone writes there, we ask it to. Where it is kept from
//! starting units, [`ahead`] does the one thing that a login waits for.
//!
//! A user's limits are runtime properties of `user-UID.slice`, a session's of its scope. A
//! login that pam_systemd has put into a scope stays in it; one that is in no cgroup of the
//! user's gets a scope of its own.
//!
//! systemd's order of precedence is left as it is: what would be above our settings after a
//! `systemctl daemon-reload` is above them at login too.

mod ahead;
mod bus;
mod property;
mod unit_files;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use zvariant::{OwnedObjectPath, OwnedValue, Value};

use crate::cgroup::{Attribute, Membership, Owner, Tree, Unfit, attributes, stands};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::namespace;
use crate::plan::Sandbox;
use crate::policy::Profile;
use crate::state::State;

pub use unit_files::is_wanted;

use bus::{Bus, MANAGER, MANAGER_PATH, UNIT};
use property::{Amount, Property, properties};
use unit_files::UnitFiles;

/// How long a command waits for systemd.
const ANSWER: Duration = Duration::from_secs(10);

/// The unit whose cgroup helpers run in, see [`cgsandbox_protocol::HELPER_CGROUPS`].
pub const SLICE: &str = "cgsandbox.slice";

/// Whether the cgroup that helpers run in is there.
pub fn has_slice() -> bool {
    cgsandbox_protocol::HELPER_CGROUPS.iter().any(|path| Path::new(path).is_dir())
}

/// Has systemd make the cgroup that helpers run in, where it is not there yet.
pub fn start_slice() -> Result<()> {
    let mut bus = Bus::connect(ANSWER)?;
    bus.call(MANAGER_PATH, MANAGER, "StartUnit", &(SLICE, "replace")).map(drop)
}

/// Moves this process into the cgroup that helpers run in. Where there is none it stays where it is.
pub fn join_slice() {
    // Any of them, or none: this is for the better, and nothing depends on it.
    let _ = cgsandbox_protocol::HELPER_CGROUPS
        .iter()
        .any(|path| std::fs::write(Path::new(path).join("cgroup.procs"), "0").is_ok());
}

/// Whether systemd manages this host's services (sd_booted(3)).
pub fn is_manager() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// systemd's version as it tells it; an error where it cannot be asked.
pub fn version() -> Result<String> {
    let arguments = (MANAGER, "Version");
    let mut bus = Bus::connect(ANSWER)?;
    let answer = bus.call(MANAGER_PATH, "org.freedesktop.DBus.Properties", "Get", &arguments)?;
    let value: OwnedValue = answer.read().map_err(not_understood)?;
    String::try_from(value).map_err(not_understood)
}

/// A directive that an administrator's own unit file decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overridden {
    /// The directive.
    pub directive: &'static str,
    /// What that file says instead.
    pub value: String,
    /// `file:line`.
    pub origin: String,
}

impl Overridden {
    /// The directives, for the audit line; none where there are none.
    pub fn names(overridden: &[Overridden]) -> Option<String> {
        let names: Vec<&str> = overridden.iter().map(|it| it.directive).collect();
        (!names.is_empty()).then(|| names.join(","))
    }
}

/// What became of limits.
#[derive(Debug, Default)]
pub struct Applied {
    /// What is not in force.
    pub missing: Vec<Unfit>,
    /// What is not ours to decide.
    pub overridden: Vec<Overridden>,
}

/// A login's dealings with systemd. Connects when it must, which most logins need not.
#[derive(Debug)]
pub struct Manager<'a> {
    state: &'a State,
    tree: &'a Tree,
    uid: u32,
    patience: Duration,
    bus: Option<Bus>,
}

impl<'a> Manager<'a> {
    /// For one login of `uid`; systemd's answers take at most `patience` in all.
    pub fn new(state: &'a State, tree: &'a Tree, uid: u32, patience: Duration) -> Self {
        Manager { state, tree, uid, patience, bus: None }
    }

    /// systemd's cgroups.
    pub fn tree(&self) -> &'a Tree {
        self.tree
    }

    /// The leaf of the user's cgroup that `leader` is in, or is going to be in.
    pub fn leaf_of(&self, leader: u32, session: &str) -> Result<String> {
        Ok(match self.tree.locate(&Membership::of(leader)?) {
            Some((uid, leaf)) if uid == self.uid => leaf,
            _ => format!("cgsandbox-{session}.scope"),
        })
    }

    /// Brings the user's slice to what `attributes` say, whether it is there yet or not.
    ///
    /// Where the last login asked for the same and the kernel has it, nothing is to be done.
    pub fn limit_user(&mut self, attributes: &[Attribute]) -> Result<Applied> {
        let files = UnitFiles::of_slice(Path::new("/"), &self.slice());
        let (properties, unknown) = properties(attributes);
        let mut applied = Applied { missing: unfit(&unknown), overridden: Vec::new() };
        let mut wanted = Vec::new();
        for property in properties {
            let setting = property.setting();
            match (property.directive, files.above(setting)) {
                (Some(directive), Some(above)) => applied.overridden.push(Overridden {
                    directive,
                    value: above.text,
                    origin: above.place,
                }),
                (Some(_), None) => wanted.push(property),
                // An earlier login's: the policy was another then.
                (None, None) if files.has_own(setting) => {
                    let before = reset(&property, &files);
                    let is_in_use = self.tree.has_user(self.uid);
                    wanted.push(if is_in_use { before.for_processes() } else { before });
                }
                (None, _) => {}
            }
        }
        let ours = ours(attributes, &applied);
        let note = Note::of(self.state, self.uid);
        let before = note.read();
        let text = Note::text(&wanted);
        let are_kept = || {
            let is_kept = |setting| files.has_own(setting) && !files.has_own_share(setting);
            wanted.iter().all(|property| is_kept(property.setting()))
                && self.lacking(&ours, None).is_empty()
        };
        let is_nothing = wanted.is_empty() && before.is_none();
        if !is_nothing && (before.as_deref() != Some(&text) || !are_kept()) {
            // First the note: whatever is set is known to be ours. What systemd does not take then
            // is asked for again.
            note.write(self.state, &format!("{text}{}", Note::UNANSWERED))?;
            for property in &wanted {
                files.remove_own_share(property.setting());
            }
            self.set(&self.slice(), &wanted)?;
            note.write(self.state, &text)?;
        }
        // A slice that nothing is in starts with what was set. Till then it has no cgroup, or one
        // without controllers.
        if self.is_used() {
            applied.missing.extend(self.settle(&ours, None));
        }
        for property in wanted.iter().filter(|property| property.directive.is_none()) {
            files.remove_own(property.setting());
        }
        Ok(applied)
    }

    /// Puts `leader` under the limits of its user and of its own session.
    pub fn limit_login(&mut self, leaf: &str, leader: u32, sandbox: &Sandbox) -> Result<Applied> {
        // Before anything is in the slice: it starts with its limits, and nothing is ever in it
        // without.
        let mut applied = self.limit_user(&sandbox.attributes)?;
        let session = &sandbox.session_attributes;
        if self.tree.locate(&Membership::of(leader)?) == Some((self.uid, leaf.to_owned())) {
            applied.missing.extend(self.limit_session(leaf, leader, session, true)?);
        } else {
            let was_used = self.is_used();
            let of_user: Vec<Attribute> =
                ours(&sandbox.attributes, &applied).into_iter().cloned().collect();
            self.make_scope(leaf, leader, &of_user, session)?;
            if !was_used {
                applied.missing.extend(self.settle(&ours(&sandbox.attributes, &applied), None));
            }
            let of_session = ours(session, &applied);
            applied.missing.extend(self.settle(&of_session, Some(leaf)));
        }
        Ok(applied)
    }

    /// Puts `leader`, which is in no cgroup of the user's, into a scope of its own there. `of_user`
    /// is what the user's slice is limited to already.
    fn make_scope(
        &mut self,
        leaf: &str,
        leader: u32,
        of_user: &[Attribute],
        attributes: &[Attribute],
    ) -> Result<()> {
        let about = format!("Session of uid {} without pam_systemd", self.uid);
        let mut settings: Vec<(&str, Value<'_>)> = vec![
            ("PIDs", Value::from(vec![leader])),
            ("Slice", Value::from(self.slice())),
            ("Description", Value::from(about)),
            ("Delegate", Value::from(true)),
            ("CollectMode", Value::from("inactive-or-failed")),
        ];
        let (properties, _) = properties(attributes);
        settings.extend(asked_for(&properties));
        let none: Vec<(&str, Vec<(&str, Value<'_>)>)> = Vec::new();
        let arguments = (leaf, "fail", settings, none);
        self.bus()?.call(MANAGER_PATH, MANAGER, "StartTransientUnit", &arguments)?;
        // Its answer comes before the unit: the kernel tells when the leader is there.
        let end = Instant::now() + self.patience;
        let mut go_ahead = Some(Instant::now() + self.patience / 4);
        while self.tree.locate(&Membership::of(leader)?) != Some((self.uid, leaf.to_owned())) {
            if go_ahead.take_if(|then| Instant::now() >= *then).is_some() {
                ahead::make_scope(self.tree, self.uid, leaf, leader, of_user, attributes)?;
            }
            if Instant::now() >= end {
                let cause = "systemd accepted the request but did not carry it out in time";
                return Err(Error::new(format!("move process {leader} into"), leaf, cause));
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(())
    }

    /// Limits the unit that process `member` is in, which systemd is asked for by the pid.
    ///
    /// Where `attributes` are silent the unit is left alone if it `is_new`, else has systemd's
    /// default again.
    pub fn limit_session(
        &mut self,
        leaf: &str,
        member: u32,
        attributes: &[Attribute],
        is_new: bool,
    ) -> Result<Vec<Unfit>> {
        let (mut properties, unknown) = properties(attributes);
        let of_session = |property: &Property| !matches!(property.amount, Amount::Disks(_));
        properties.retain(|it| it.directive.is_some() || !is_new && of_session(it));
        for silent in properties.iter_mut().filter(|property| property.directive.is_none()) {
            silent.amount = silent.unset();
        }
        let settings: Vec<_> = properties.iter().flat_map(Property::messages).collect();
        // The user's manager is no session: it holds what all of them share.
        if settings.is_empty() || leaf.ends_with(".service") {
            return Ok(unfit(&unknown));
        }
        let bus = self.bus()?;
        let answer = bus.call(MANAGER_PATH, MANAGER, "GetUnitByPID", &member)?;
        let unit: OwnedObjectPath = answer.read().map_err(not_understood)?;
        bus.call(unit.as_str(), UNIT, "SetProperties", &(true, settings))?;
        let mut applied = Applied { missing: unfit(&unknown), overridden: Vec::new() };
        applied.missing.extend(self.settle(&ours(attributes, &applied), Some(leaf)));
        Ok(applied.missing)
    }

    fn is_used(&self) -> bool {
        self.tree.has_user_processes(self.uid, &[])
    }

    fn slice(&self) -> String {
        format!("user-{}.slice", self.uid)
    }

    fn bus(&mut self) -> Result<&mut Bus> {
        let bus = match self.bus.take() {
            Some(bus) => bus,
            None => Bus::connect(self.patience)?,
        };
        Ok(self.bus.insert(bus))
    }

    fn set(&mut self, unit: &str, properties: &[Property]) -> Result<()> {
        let settings: Vec<_> = properties.iter().flat_map(Property::messages).collect();
        if settings.is_empty() {
            return Ok(());
        }
        let arguments = (unit, true, settings);
        self.bus()?.call(MANAGER_PATH, MANAGER, "SetUnitProperties", &arguments).map(drop)
    }

    /// Waits for the cgroup to show what was set; what it does not show.
    ///
    /// systemd agrees first and writes then, late on a busy machine. What never comes costs each
    /// login this wait.
    fn settle(&self, attributes: &[&Attribute], leaf: Option<&str>) -> Vec<Unfit> {
        let end = Instant::now() + self.patience / 2;
        loop {
            let lacking = self.lacking(attributes, leaf);
            if lacking.is_empty() || Instant::now() >= end {
                return lacking;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What of `attributes` the user's cgroup, or a leaf of it, does not show.
    fn lacking(&self, attributes: &[&Attribute], leaf: Option<&str>) -> Vec<Unfit> {
        let lacks = |attribute: &&&Attribute| {
            let directory = self.directory_of(attribute, leaf);
            !directory.is_some_and(|directory| stands(&directory, attribute))
        };
        let unfit = |attribute: &&Attribute| {
            let why = format!("systemd accepted it, but {} shows something else", attribute.file);
            Unfit { directive: attribute.directive, why }
        };
        attributes.iter().filter(lacks).map(unfit).collect()
    }

    fn directory_of(&self, attribute: &Attribute, leaf: Option<&str>) -> Option<PathBuf> {
        let hierarchy = self.tree.carrier(attribute.controller)?;
        Some(match leaf {
            Some(leaf) => self.tree.session_in(hierarchy, self.uid, leaf),
            None => self.tree.user_in(hierarchy, self.uid),
        })
    }
}

fn not_understood(error: impl std::fmt::Display) -> Error {
    Error::new("understand", "systemd's answer", error)
}

/// What unit files say of a user besides us, for `explain`: in place of what the policy asks
/// for, or where it is silent.
pub fn said_elsewhere(tree: &Tree, uid: u32, attributes: &[Attribute]) -> Vec<Overridden> {
    if tree.owner() != Owner::Systemd {
        return Vec::new();
    }
    let files = UnitFiles::of_slice(Path::new("/"), &format!("user-{uid}.slice"));
    let said = |attribute: &Attribute| {
        let (properties, _) = properties(std::slice::from_ref(attribute));
        let asked_for = properties.iter().find(|property| property.directive.is_some());
        let word = match asked_for {
            Some(property) => files.above(property.setting()),
            None => files.others(properties.last()?.setting()),
        }?;
        Some(Overridden { directive: attribute.directive, value: word.text, origin: word.place })
    };
    attributes.iter().filter_map(said).collect()
}

/// The user's manager, where it runs and is not in the user's mount namespace: it was started
/// before `systemd-user` had our PAM line, and so are its units outside.
pub fn manager_outside(tree: &Tree, uid: u32, namespace: &OwnedFd) -> Option<u32> {
    if tree.owner() != Owner::Systemd {
        return None;
    }
    let managers = tree.members(uid, &format!("user@{uid}.service/init.scope"));
    let is_outside = |pid: &u32| !namespace::holds(namespace, *pid).unwrap_or(true);
    managers.into_iter().find(is_outside)
}

/// Removes what we set for a user who is gone.
pub fn forget(state: &State, uid: u32) {
    let note = Note::of(state, uid);
    let Some(text) = note.read() else { return };
    let files = UnitFiles::of_slice(Path::new("/"), &format!("user-{uid}.slice"));
    Note::settings(&text).for_each(|setting| files.remove_own(setting));
    note.remove();
}

/// The users for whom something is set.
pub fn users(state: &State) -> Vec<u32> {
    let names = crate::state::names_in(&state.directory().join("slice"));
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

/// Whether something is set for a user.
pub fn is_set(state: &State, uid: u32) -> bool {
    Note::of(state, uid).read().is_some()
}

/// Lifts what was set for a user whom the policy has let go since.
pub fn release(state: &State, uid: u32, patience: Duration) -> Result<()> {
    let note = Note::of(state, uid);
    if note.read().is_none() {
        return Ok(());
    }
    let host = Host::look("")?;
    let (silent, _) = attributes(&Profile::default(), &host);
    Manager::new(state, &host.tree, uid, patience).limit_user(&silent)?;
    note.remove();
    Ok(())
}

/// Ends all processes of a session's scope at once, by cgroup.kill where the kernel has it
/// (`KillUnit`, org.freedesktop.systemd1(5)).
pub fn kill(scope: &str, patience: Duration) -> Result<()> {
    let arguments = (scope, "all", rustix::process::Signal::KILL.as_raw());
    Bus::connect(patience.min(ANSWER))?
        .call(MANAGER_PATH, MANAGER, "KillUnit", &arguments)
        .map(drop)
}

/// What the last login set for a user: `/run/cgsandbox/slice/UID`, `setting=value` on each line.
struct Note(PathBuf);

impl Note {
    /// The last line for as long as systemd has not agreed.
    const UNANSWERED: &str = "unanswered\n";

    fn of(state: &State, uid: u32) -> Self {
        Note(state.directory().join("slice").join(uid.to_string()))
    }

    fn text(properties: &[Property]) -> String {
        let line = |property: &Property| format!("{}={:?}\n", property.setting(), property.amount);
        properties.iter().map(line).collect()
    }

    fn settings(text: &str) -> impl Iterator<Item = &str> {
        text.lines().filter_map(|line| Some(line.split_once('=')?.0))
    }

    fn read(&self) -> Option<String> {
        std::fs::read_to_string(&self.0).ok()
    }

    fn write(&self, state: &State, text: &str) -> Result<()> {
        if let Some(directory) = self.0.parent() {
            crate::state::make_directory(directory)?;
        }
        state.write(&self.0, text.as_bytes())
    }

    fn remove(&self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Those of `attributes` that are to be in force: asked for, and not told as something else.
fn ours<'a>(attributes: &'a [Attribute], told: &Applied) -> Vec<&'a Attribute> {
    let is_told = |directive| {
        told.overridden.iter().any(|it| it.directive == directive)
            || told.missing.iter().any(|it| it.directive == directive)
    };
    attributes.iter().filter(|it| it.origin.is_some() && !is_told(it.directive)).collect()
}

fn asked_for(properties: &[Property]) -> Vec<(&'static str, Value<'static>)> {
    let asked = properties.iter().filter(|property| property.directive.is_some());
    asked.flat_map(Property::messages).collect()
}

/// The property as it is without us.
fn reset(property: &Property, files: &UnitFiles) -> Property {
    let others = files.others(property.setting());
    let written = others.and_then(|word| property.as_written(&word.text));
    written.unwrap_or_else(|| Property { amount: property.unset(), ..property.clone() })
}

fn unfit(unknown: &[&Attribute]) -> Vec<Unfit> {
    let why = "systemd has no setting for it on this version of cgroups";
    unknown.iter().map(|it| Unfit { directive: it.directive, why: why.to_owned() }).collect()
}
