//! The configuration: found, read safely, checked, and turned into a [`Policy`].
//!
//! A configuration that cannot be used locks nobody out: [`find`] then gives the last
//! one that could, and without such a one still tells who is exempt.

mod diagnostic;
mod file;
mod kept;
mod lint;
mod merge;
mod pattern;
mod place;
mod profile;
mod schema;
mod source;
mod syntax;
pub mod value;

pub(crate) use diagnostic::did_you_mean;
pub use diagnostic::{ConfigErrors, Origin, Problem, Severity, SourceText, Sourced};
pub use lint::{Facts, collisions, lint, lint_for_host, squattable};
pub use source::Sources;

use std::path::Path;

use cgsandbox_protocol::Login;

use crate::policy::{Match, Policy};
use file::Tree;
use schema::Layer;
use source::Gathered;

/// The cgroup above all users' where the configuration names none.
pub const DEFAULT_CGROUP_ROOT: &str = "/cgsandbox";

/// The PAM services where the configuration names none: systemd's user manager runs the user's
/// units, on hosts that have one.
pub const DEFAULT_SERVICES: [&str; 2] = ["sshd", "systemd-user"];

/// The policy that a login goes by.
#[derive(Debug)]
pub enum Load {
    /// The configuration as it is.
    Current {
        /// What it says.
        policy: Policy,
    },
    /// The configuration as it last could be used.
    Kept {
        /// What it said.
        policy: Policy,
        /// Why it cannot be used any more.
        errors: ConfigErrors,
    },
}

/// There is neither a usable configuration nor a kept one.
#[derive(Debug)]
pub struct Unusable {
    /// Why.
    pub errors: ConfigErrors,
    /// What of it can be gone by all the same.
    pub salvaged: Salvaged,
}

/// What can be relied on in a configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// What becomes of logins.
    pub on_error: Login,
    /// Who gets in whatever that says.
    pub exempt: Match,
}

/// The files of `sources`, in the order in which they apply.
///
/// Refuses what anybody but root could have written, what is not a regular file, and
/// more than 4 MiB in all.
pub fn read(sources: &Sources) -> Result<Vec<SourceText>, ConfigErrors> {
    let gathered = gather(sources);
    match gathered.problems.is_empty() {
        true => Ok(gathered.texts),
        false => Err(ConfigErrors::new(gathered.problems, gathered.texts)),
    }
}

/// The names of the files, as many as somebody reads.
pub fn named(texts: &[SourceText]) -> String {
    const NAMED: usize = 8;
    let paths: Vec<&str> = texts.iter().take(NAMED).map(|source| &*source.path).collect();
    match texts.len().saturating_sub(NAMED) {
        0 => paths.join(", "),
        more => format!("{} and {more} more", paths.join(", ")),
    }
}

/// The policy that logins go by now, current or kept; none where neither can be used.
pub fn in_force(sources: &Sources, state: &Path) -> Option<Policy> {
    match preview(sources, state) {
        Ok(Load::Current { policy, .. } | Load::Kept { policy, .. }) => Some(policy),
        Err(_) => None,
    }
}

/// [`find`] for callers without use for an older policy: the present one, which is kept, or what is
/// wrong with it.
pub fn current(sources: &Sources, state_dir: &Path) -> Result<Policy, ConfigErrors> {
    let (load, unkept) = find(sources, state_dir);
    match load {
        Ok(Load::Current { policy }) => {
            // Where that fails, a login says so.
            let _ = unkept.map(|unkept| unkept.keep(state_dir));
            Ok(policy)
        }
        Ok(Load::Kept { errors, .. }) => Err(errors),
        Err(unusable) => Err(unusable.errors),
    }
}

/// A file of any owner, with the drop-ins beside it, for a check before it is installed.
///
/// Gives warnings where a login would refuse to read the file as it is.
pub fn read_draft(path: &Path) -> Result<(Vec<SourceText>, Vec<Problem>), ConfigErrors> {
    let gathered = Gathered::draft(path);
    let error = |problem: &Problem| problem.severity == Severity::Error;
    match gathered.problems.iter().any(error) {
        false => Ok((gathered.texts, gathered.problems)),
        true => Err(ConfigErrors::new(gathered.problems, gathered.texts)),
    }
}

/// The policy that `texts` make up, or everything that is wrong with them.
pub fn parse(texts: &[SourceText]) -> Result<Policy, ConfigErrors> {
    assemble(Vec::new(), texts).map_err(|unusable| unusable.errors)
}

/// [`parse`] for files of which some could not be read, for the reasons given.
fn assemble(mut problems: Vec<Problem>, texts: &[SourceText]) -> Result<Policy, Box<Unusable>> {
    if problems.is_empty() && texts.iter().all(|source| source.drop_in) {
        problems.push(Problem::of("", "there is no configuration"));
    }
    let unread = !problems.is_empty();
    let layers: Vec<Layer> =
        texts.iter().filter_map(|source| schema::read(source, &mut problems)).collect();
    let salvaged = salvage(&layers);
    // What a broken file was to supply would be reported as missing.
    let complete = layers.len() == texts.len() && !unread;
    let mut cross = Vec::new();
    let policy = merge::merge(layers, &mut cross);
    if complete {
        problems.append(&mut cross);
    }
    if problems.is_empty() {
        return Ok(policy);
    }
    let place = |problem: &Problem| {
        let file = texts.iter().position(|source| source.path == problem.file);
        (file, problem.origin.as_ref().map(|at| (at.line, at.column)))
    };
    problems.sort_by_key(place);
    let errors = ConfigErrors::new(problems, texts.to_vec());
    Err(Box::new(Unusable { errors, salvaged }))
}

/// The policy for a login: of `sources`, or as kept in `state_dir`; and the texts, which can be kept
/// where the present ones are usable.
pub fn find(sources: &Sources, state_dir: &Path) -> (Result<Load, Box<Unusable>>, Option<Unkept>) {
    match Tree::host() {
        Ok(tree) => {
            let (load, unkept) = find_in(tree, sources, state_dir);
            (load, Some(unkept))
        }
        Err(problem) => {
            let errors = ConfigErrors::new(vec![problem], Vec::new());
            (Err(Box::new(Unusable { errors, salvaged: Salvaged::default() })), None)
        }
    }
}

/// What [`find`] gives, to tell what a login would get.
pub fn preview(sources: &Sources, state_dir: &Path) -> Result<Load, Box<Unusable>> {
    find(sources, state_dir).0
}

/// The texts of a configuration, not kept yet.
pub struct Unkept {
    tree: Tree,
    sources: Sources,
    texts: Vec<SourceText>,
}

impl Unkept {
    /// Keeps them, which can be used, for the time in which later ones cannot.
    pub fn keep(&self, state_dir: &Path) -> Result<(), Problem> {
        // It may have been made since they were read, or be another mount.
        self.tree.forget(state_dir);
        kept::keep(&self.tree, state_dir, &self.sources, &self.texts)
    }
}

/// `on_error` and `exempt` out of files that may be wrong everywhere else.
///
/// Files that are not TOML have no layer here. A list of exemptions of which an entry
/// cannot be read exempts nobody: the entry may be what kept somebody out of it.
fn salvage(layers: &[Layer]) -> Salvaged {
    let mut salvaged = Salvaged::default();
    for layer in layers {
        if let Some(login) = &layer.on_error {
            salvaged.on_error = login.value;
        }
        if let Some(exempt) = &layer.exempt {
            salvaged.exempt =
                if layer.exempt_is_broken { Match::default() } else { exempt.clone() };
        }
    }
    salvaged
}

fn gather(sources: &Sources) -> Gathered {
    match Tree::host() {
        Ok(tree) => sources.gather(&tree),
        Err(problem) => Gathered::failed(problem),
    }
}

/// [`find`] on the host that `tree` is of.
fn find_in(
    tree: Tree,
    sources: &Sources,
    state_dir: &Path,
) -> (Result<Load, Box<Unusable>>, Unkept) {
    let Gathered { texts, problems, .. } = sources.gather(&tree);
    let load = assemble(problems, &texts).map(|policy| Load::Current { policy });
    let load = load.or_else(|mut unusable| {
        let kept = kept::recall(&tree, state_dir, sources);
        match kept.map(|texts| texts.and_then(|texts| parse(&texts).ok())) {
            Ok(Some(policy)) => return Ok(Load::Kept { policy, errors: unusable.errors }),
            Ok(None) => {}
            Err(problem) => unusable.errors.push(problem),
        }
        Err(unusable)
    });
    (load, Unkept { tree, sources: sources.clone(), texts })
}

impl Unusable {
    /// What becomes of logins. Where nothing of the configuration could be read, what it last said
    /// decides, as without a helper: that is `published`.
    pub fn on_error(&self, published: impl FnOnce() -> Login) -> Login {
        match self.errors.texts() {
            [] => published(),
            _ => self.salvaged.on_error,
        }
    }
}

impl Default for Salvaged {
    /// Nothing could be read: nobody is exempt, and nobody gets in.
    fn default() -> Self {
        Salvaged { on_error: Login::Deny, exempt: Match::default() }
    }
}

#[cfg(test)]
mod tests;
