//! A service's PAM stack as Linux-PAM reads it (pam.conf(5)): where our line is in it.
//!
//! For the administrator's commands; a login is told all it needs by the module.

mod control;
mod edit;
mod mistake;
mod spelling;
mod text;

pub use control::{Action, Control};
pub use edit::{LINE, with_line, without_lines};
pub use mistake::Mistake;

use std::path::{Path, PathBuf};

use crate::config::Sources;

/// What our module's file is called.
pub const MODULE: &str = "pam_cgsandbox.so";

/// How deep files may include each other (`PAM_SUBSTACK_MAX_LEVEL`).
const DEEPEST: usize = 16;

/// How many includes are followed in all: files that include several others each, level by level,
/// would otherwise take for ever.
const MOST_INCLUDES: usize = 1000;

/// The service whose lines count for services that have none.
const DEFAULT_SERVICE: &str = "other";

/// The service of OpenSSH's daemon.
const SSH: &str = "sshd";

/// Where the stacks are, first things first.
#[derive(Debug, Clone)]
pub struct Directories(pub Vec<PathBuf>);

/// What a service does when a session begins.
#[derive(Debug, Clone)]
pub struct Stack {
    /// The file that it is in; that of the service `other` where it has none of its own.
    pub file: PathBuf,
    /// Its session lines in the order in which they are run, included ones in their places.
    pub session: Vec<Line>,
    /// Lines of our module for something else than sessions.
    pub strays: Vec<Line>,
    /// Lines whose module is meant to be ours, by a name that Linux-PAM does not find.
    pub misspelt: Vec<Line>,
    /// The files that it includes.
    pub included: Vec<PathBuf>,
    /// What Linux-PAM would stumble on.
    pub broken: Vec<Mistake>,
    /// Whether no more includes are followed: Linux-PAM refuses the whole stack then.
    is_endless: bool,
}

/// One line that names a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The file that it is in.
    pub file: PathBuf,
    /// Its number there, from 1.
    pub number: usize,
    /// `auth`, `account`, `password` or `session`.
    pub kind: String,
    /// What its outcome means.
    pub control: Control,
    /// The module as it is written: a name or a path.
    pub module: String,
    /// What the module is told.
    pub arguments: Vec<String>,
    /// In how many substacks it is.
    pub depth: usize,
}

/// `file:line`
impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.number)
    }
}

impl Line {
    /// The module's file name.
    pub fn module_name(&self) -> &str {
        self.module.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it is a line of our module.
    pub fn is_ours(&self) -> bool {
        spelling::is_ours(&self.module)
    }

    /// Whether it is in a file that pam-auth-update(8) writes.
    pub fn is_common(&self) -> bool {
        let name = self.file.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with("common-")
    }

    /// What follows `key=` among its arguments; the last one counts.
    pub fn argument(&self, key: &str) -> Option<&str> {
        self.arguments.iter().rev().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// The configuration that the module names to the helper.
    pub fn configuration(&self) -> Sources {
        self.argument("config").map_or(Sources::System, |path| Sources::File(path.into()))
    }
}

impl Stack {
    fn empty(file: PathBuf) -> Self {
        let (session, strays, misspelt) = (Vec::new(), Vec::new(), Vec::new());
        let (included, broken) = (Vec::new(), Vec::new());
        Stack { file, session, strays, misspelt, included, broken, is_endless: false }
    }

    fn add(&mut self, line: Line) {
        if !line.is_ours() && spelling::is_meant(&line.module) {
            self.misspelt.push(line.clone());
        }
        match line.kind.as_str() {
            "session" => self.session.push(line),
            _ if line.is_ours() => self.strays.push(line),
            _ => {}
        }
    }

    /// Where in the session stack our line is; several where it is there several times.
    pub fn ours(&self) -> Vec<usize> {
        (0..self.session.len()).filter(|at| self.session[*at].is_ours()).collect()
    }

    /// Whether there is something that was meant to be our line, and is none.
    pub fn has_ours_gone_wrong(&self) -> bool {
        let stray = |mistake: &Mistake| mistake.is_ours;
        !self.misspelt.is_empty() || self.broken.iter().any(stray) || !self.strays.is_empty()
    }

    /// Our line, the first of them.
    pub fn line(&self) -> Option<&Line> {
        self.session.iter().find(|line| line.is_ours())
    }
}

/// The configuration that this host's logins by SSH go by.
pub fn configuration_of_ssh() -> Sources {
    Directories::of_host().configuration_of(SSH)
}

impl Directories {
    /// This host's.
    pub fn of_host() -> Self {
        let all = ["/etc/pam.d", "/usr/lib/pam.d", "/usr/etc/pam.d", "/usr/share/pam.d"];
        Directories(all.map(PathBuf::from).to_vec())
    }

    /// The stack of `service`; none where neither it nor `other` has a file.
    pub fn stack(&self, service: &str) -> Option<Stack> {
        let own = self.find(service).map(|file| self.read(file));
        match own {
            Some(stack) if !stack.session.is_empty() => Some(stack),
            own => {
                let mut stack = self.find(DEFAULT_SERVICE).map(|file| self.read(file));
                if let (Some(stack), Some(own)) = (&mut stack, &own) {
                    stack.strays.extend(own.strays.iter().cloned());
                    stack.misspelt.extend(own.misspelt.iter().cloned());
                    stack.broken.extend(own.broken.iter().cloned());
                }
                stack.or(own)
            }
        }
    }

    /// The configuration that logins through `service` go by.
    pub fn configuration_of(&self, service: &str) -> Sources {
        let stack = self.stack(service);
        stack.as_ref().and_then(Stack::line).map_or(Sources::System, Line::configuration)
    }

    /// The stack of `service` were `text` its file's.
    pub fn stack_of(&self, service: &str, text: &[u8]) -> Stack {
        let file = self.0.first().map(|dir| dir.join(service)).unwrap_or_default();
        let mut stack = Stack::empty(file.clone());
        self.parse_into(&mut stack, &file, &String::from_utf8_lossy(text), None, 0, 0);
        stack
    }

    /// The file of `service` that a distribution ships and the administrator has none instead of.
    pub fn vendors_file(&self, service: &str) -> Option<PathBuf> {
        let vendors = self.0.get(1..).unwrap_or_default();
        vendors.iter().map(|dir| dir.join(service)).find(|path| path.is_file())
    }

    /// Whether `service` has a file of its own.
    pub fn has(&self, service: &str) -> bool {
        self.find(service).is_some()
    }

    /// The names in all directories that a program may ask for.
    pub fn files(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.0.iter().flat_map(|dir| crate::state::names_in(dir)).collect();
        names.sort_unstable();
        names.dedup();
        // Editors' backups and package managers' leftovers: no program asks for such.
        names.retain(|name| !name.starts_with('.') && !name.ends_with(['~', '#']));
        let is_leftover = |name: &str| {
            let endings = [".pam-old", ".bak", ".orig", ".old", ".save"];
            name.contains(".dpkg-")
                || name.contains(".rpm")
                || endings.iter().any(|it| name.ends_with(it))
        };
        names.retain(|name| !is_leftover(name));
        names
    }

    /// Every service that has a file; what other files include is none, but for what a
    /// service shares with its own variant, as su with su-l.
    pub fn services(&self) -> Vec<String> {
        let mut names = self.files();
        let included: Vec<(String, Vec<PathBuf>)> = names
            .iter()
            .filter_map(|name| Some((name.clone(), self.read(self.find(name)?).included)))
            .collect();
        let is_included = |name: &String| {
            let file = self.find(name);
            let is_own = |by: &str| by.starts_with(&format!("{name}-"));
            let includes = |paths: &[PathBuf]| paths.iter().any(|path| Some(path) == file.as_ref());
            included.iter().any(|(by, paths)| !is_own(by) && includes(paths))
        };
        names.retain(|name| !is_included(name));
        names
    }

    fn find(&self, service: &str) -> Option<PathBuf> {
        // joining an absolute path gives that path: "@include /etc/x" means it so.
        self.0.iter().map(|dir| dir.join(service)).find(|path| path.is_file())
    }

    fn read(&self, file: PathBuf) -> Stack {
        let mut stack = Stack::empty(file.clone());
        self.read_into(&mut stack, &file, None, 0, 0);
        stack
    }

    fn read_into(
        &self,
        stack: &mut Stack,
        file: &Path,
        kind: Option<&str>,
        level: usize,
        depth: usize,
    ) {
        match std::fs::read(file) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                self.parse_into(stack, file, &text, kind, level, depth);
            }
            Err(error) => {
                let what = format!("cannot be read: {error}");
                stack.broken.push(Mistake::new(file, 0, what, "look at its mode and its disk"));
            }
        }
    }

    /// Adds the lines of `file`; only those of `kind` where an include names one.
    fn parse_into(
        &self,
        stack: &mut Stack,
        file: &Path,
        text: &str,
        kind: Option<&str>,
        level: usize,
        depth: usize,
    ) {
        let counts = |line: &&text::Logical| !line.words.is_empty() || line.is_cut;
        for logical in text::lines(text).iter().filter(counts) {
            if let Some(mistake) = mistake::find(file, logical) {
                stack.broken.push(mistake);
                continue;
            }
            let mut words = logical.words.iter().cloned();
            let Some(first) = words.next() else { continue };
            let (own_kind, control) = match first.as_str() {
                // Debian's own: lines of every kind.
                "@include" => (None, "include".to_owned()),
                word => {
                    let word = word.trim_start_matches('-').to_ascii_lowercase();
                    (Some(word), words.next().unwrap_or_default())
                }
            };
            let target = words.next().unwrap_or_default();
            if let (Some(asked), Some(own)) = (kind, &own_kind)
                && asked != own
            {
                continue;
            }
            let is_substack = control.eq_ignore_ascii_case("substack");
            if is_substack || control.eq_ignore_ascii_case("include") {
                let kind = own_kind.as_deref().or(kind);
                let broken = |what: String| {
                    let what = format!("{what}: whatever asks for this service is refused");
                    Mistake::new(
                        file,
                        logical.number,
                        what,
                        "name the right file, or remove the line",
                    )
                };
                let may_follow = level + 1 < DEEPEST && stack.included.len() < MOST_INCLUDES;
                match self.find(&target) {
                    _ if stack.is_endless => {}
                    Some(path) if may_follow => {
                        stack.included.push(path.clone());
                        let depth = depth + usize::from(is_substack);
                        self.read_into(stack, &path, kind, level + 1, depth);
                    }
                    Some(_) => {
                        stack.is_endless = true;
                        let what = match level + 1 < DEEPEST {
                            true => "files include others too often",
                            false => "files include each other in a circle",
                        };
                        stack.broken.push(broken(what.to_owned()));
                    }
                    None => stack.broken.push(broken(format!("there is no {target} to include"))),
                }
                continue;
            }
            stack.add(Line {
                file: file.to_owned(),
                number: logical.number,
                kind: own_kind.unwrap_or_default(),
                control: Control::parse(&control),
                module: target,
                arguments: words.collect(),
                depth,
            });
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
