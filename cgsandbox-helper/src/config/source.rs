//! Which files make up the configuration.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::{Locator, Problem, SourceText};
use super::file::{self, Entry, LARGEST, Tree, TrustedDir};

/// The configuration's own name, and with `.d` its drop-ins'.
const NAME: &str = "cgsandbox.toml";

/// Where it may be, first things first; below `/run` there are drop-ins only.
const DIRS: [&str; 3] = ["/etc/cgsandbox", "/run/cgsandbox", "/usr/lib/cgsandbox"];
const VOLATILE: &str = "/run/cgsandbox";

/// Where the configuration is to be looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    /// `cgsandbox.toml` in `/etc/cgsandbox`, else in `/usr/lib/cgsandbox`; and
    /// `cgsandbox.toml.d/*.toml` in `/etc/cgsandbox`, `/run/cgsandbox` and
    /// `/usr/lib/cgsandbox`. Of drop-ins with the same name the first of these counts;
    /// an empty one, or a link to `/dev/null`, takes those after it away.
    System,
    /// This file, and `*.toml` in the directory of its name with `.d` added.
    File(PathBuf),
}

/// What was found of a configuration.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// The files that could be read, in the order in which they apply.
    pub texts: Vec<SourceText>,
    /// What is wrong with the others.
    pub problems: Vec<Problem>,
    /// How much of [`LARGEST`] is used.
    size: usize,
}

impl Sources {
    /// What a PAM line with this `config=` goes by; with an empty one, or none, the system's.
    pub fn of_argument(argument: &str) -> Self {
        match argument {
            "" => Sources::System,
            path => Sources::File(PathBuf::from(path)),
        }
    }

    /// The inverse of [`Sources::of_argument`].
    pub fn argument(&self) -> Cow<'_, str> {
        match self {
            Sources::System => Cow::Borrowed(""),
            Sources::File(path) => path.to_string_lossy(),
        }
    }

    /// Tells one configuration from another in the kept state.
    pub(super) fn key(&self) -> String {
        match self {
            Sources::System => "system".to_owned(),
            Sources::File(path) => format!("file:{}", file::shown(path)),
        }
    }

    /// Reads whatever there is and can be trusted.
    pub(super) fn gather(&self, tree: &Tree) -> Gathered {
        let mut gathered = Gathered::default();
        match self {
            Sources::System => {
                let mains = DIRS.iter().filter(|dir| **dir != VOLATILE);
                let mains: Vec<PathBuf> = mains.map(|dir| Path::new(dir).join(NAME)).collect();
                gathered.main(tree, &mains);
                let dirs: Vec<PathBuf> =
                    DIRS.iter().map(|dir| Path::new(dir).join(NAME.to_owned() + ".d")).collect();
                gathered.drop_ins(tree, &dirs);
            }
            Sources::File(path) => {
                gathered.main(tree, std::slice::from_ref(path));
                gathered.drop_ins(tree, &[drop_in_dir(path)]);
            }
        }
        gathered
    }
}

impl Gathered {
    /// Nothing, because of `problem`.
    pub(super) fn failed(problem: Problem) -> Self {
        Gathered { problems: vec![problem], ..Gathered::default() }
    }

    /// A file that is only to be checked, with what drop-ins lie beside it.
    pub(super) fn draft(path: &Path) -> Self {
        let mut gathered = Gathered::default();
        match file::read_draft(path, LARGEST) {
            Ok((bytes, distrusted)) => {
                gathered.problems.extend(distrusted);
                gathered.add(path, bytes, false);
            }
            Err(problem) => gathered.problems.push(problem),
        }
        let listed = std::fs::read_dir(drop_in_dir(path)).into_iter().flatten().flatten();
        let mut drop_ins: Vec<PathBuf> = listed.map(|entry| entry.path()).collect();
        drop_ins.retain(|path| path.file_name().is_some_and(is_drop_in));
        drop_ins.sort();
        for path in drop_ins {
            if std::fs::read_link(&path).is_ok_and(|target| target == Path::new("/dev/null")) {
                continue;
            }
            match file::read_draft(&path, LARGEST.saturating_sub(gathered.size)) {
                Ok((bytes, _)) => gathered.add(&path, bytes, true),
                Err(problem) => {
                    // What comes after a file that is too large would be as well.
                    let is_last = problem == file::too_large(&path);
                    gathered.problems.push(problem);
                    if is_last {
                        break;
                    }
                }
            }
        }
        gathered
    }

    /// The first of `paths` that is there.
    fn main(&mut self, tree: &Tree, paths: &[PathBuf]) {
        for path in paths {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                let problem = Problem::of(file::shown(path), "this path names no file");
                return self.problems.push(problem.help("write it from / on, without .."));
            };
            let entry = tree.dir(parent).and_then(|dir| match dir {
                Some(dir) => dir.read(name, LARGEST),
                None => Ok(Entry::Nothing),
            });
            match entry {
                Ok(Entry::Nothing) => continue,
                Ok(Entry::Contents(bytes)) => return self.add(path, bytes, false),
                Ok(Entry::TooLarge) => return self.problems.push(file::too_large(path)),
                Ok(Entry::Null) => {
                    let problem = Problem::of(file::shown(path), "the configuration is masked");
                    return self.problems.push(problem.help("put a file in the link's place"));
                }
                Err(problem) => return self.problems.push(problem),
            }
        }
        let first = paths.first().map(|path| file::shown(path)).unwrap_or_default();
        let help = match paths {
            [_] => "create it, or correct config= in the PAM line".to_owned(),
            _ => "create it, or reinstall the package's cgsandbox.toml".to_owned(),
        };
        self.problems.push(Problem::of(first, "there is no configuration").help(help));
    }

    fn drop_ins(&mut self, tree: &Tree, paths: &[PathBuf]) {
        let mut dirs = Vec::new();
        let mut chosen: BTreeMap<OsString, usize> = BTreeMap::new();
        for path in paths {
            let listed = tree.dir(path).and_then(|dir| {
                let names = dir.as_ref().map(TrustedDir::names).transpose()?;
                Ok(dir.zip(names))
            });
            match listed {
                Ok(None) => {}
                Ok(Some((dir, names))) => {
                    for name in names.into_iter().filter(|name| is_drop_in(name)) {
                        chosen.entry(name).or_insert(dirs.len());
                    }
                    dirs.push(dir);
                }
                Err(problem) => self.problems.push(problem),
            }
        }
        for (name, dir) in chosen {
            let Some(dir) = dirs.get(dir) else { continue };
            match dir.read(&name, LARGEST.saturating_sub(self.size)) {
                Ok(Entry::Contents(bytes)) => self.add(&dir.path_of(&name), bytes, true),
                Ok(Entry::Null | Entry::Nothing) => {}
                // One fault is told once: the files after this one would be too large as well.
                Ok(Entry::TooLarge) => {
                    return self.problems.push(file::too_large(&dir.path_of(&name)));
                }
                Err(problem) => self.problems.push(problem),
            }
        }
    }

    fn add(&mut self, path: &Path, bytes: Vec<u8>, drop_in: bool) {
        // An empty drop-in only takes the place of others.
        if drop_in && bytes.is_empty() {
            return;
        }
        self.size += bytes.len();
        let path: Arc<str> = file::shown(path).into();
        let (text, broken) = match String::from_utf8(bytes) {
            Ok(text) => {
                let nul = text.find('\0').map(|at| at..at + 1);
                (text, nul.map(|at| (at, "a NUL byte: this is not text")))
            }
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                (text, Some((at..at + 1, "not UTF-8")))
            }
        };
        let source = SourceText { path, text: text.into(), drop_in };
        match broken {
            None => self.texts.push(source),
            Some((span, message)) => {
                let origin = Locator::of(&source).origin(span);
                self.problems.push(Problem::at(origin, message).help("save the file as UTF-8"));
            }
        }
    }
}

fn drop_in_dir(path: &Path) -> PathBuf {
    let mut dir = path.as_os_str().to_owned();
    dir.push(".d");
    dir.into()
}

/// Editors' backups and package managers' leftovers are none.
fn is_drop_in(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.ends_with(b".toml") && !name.starts_with(b".")
}
