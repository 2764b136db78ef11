#![allow(clippy::unwrap_used, clippy::panic)]

mod files;
mod lints;
mod loading;
mod mistakes;
mod rendering;
mod shipped;

use std::fs::{self, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// `version = 1` and the given text, as a main file.
fn main_file(text: &str) -> SourceText {
    file("main.toml", &format!("version = 1\n{text}"))
}

fn file(path: &str, text: &str) -> SourceText {
    SourceText { path: path.into(), text: text.into(), drop_in: false }
}

fn drop_in(path: &str, text: &str) -> SourceText {
    SourceText { drop_in: true, ..file(path, text) }
}

fn problems(texts: &[SourceText]) -> Vec<Problem> {
    parse(texts).unwrap_err().problems().to_vec()
}

/// A directory that stands for `/`, removed in the end.
struct Root(PathBuf);

impl Root {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("cgsandbox-{}-{}", unique.0, unique.1));
        fs::DirBuilder::new().mode(0o755).create(&path).unwrap();
        let root = Root(path);
        root.dir("/run/cgsandbox");
        root
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    fn dir(&self, path: &str) -> &Self {
        let mut at = self.0.clone();
        for part in Path::new(path.trim_start_matches('/')) {
            at.push(part);
            let _ = fs::create_dir(&at);
            // Whatever the umask of whoever runs the tests is.
            fs::set_permissions(&at, Permissions::from_mode(0o755)).unwrap();
        }
        self
    }

    fn file(&self, path: &str, contents: impl AsRef<[u8]>) -> &Self {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.dir(parent);
        }
        fs::write(self.path(path), contents).unwrap();
        self.mode(path, 0o644)
    }

    fn link(&self, path: &str, target: &str) -> &Self {
        std::os::unix::fs::symlink(target, self.path(path)).unwrap();
        self
    }

    fn mode(&self, path: &str, mode: u32) -> &Self {
        fs::set_permissions(self.path(path), Permissions::from_mode(mode)).unwrap();
        self
    }

    fn tree(&self) -> Tree {
        Tree::at(&self.0).unwrap()
    }

    fn gather(&self) -> Gathered {
        Sources::System.gather(&self.tree())
    }

    fn load(&self) -> Result<Load, Box<Unusable>> {
        self.load_of(&Sources::System)
    }

    /// As a login does: what can be used is kept.
    fn load_of(&self, sources: &Sources) -> Result<Load, Box<Unusable>> {
        let state = Path::new("/run/cgsandbox");
        let (load, unkept) = find_in(self.tree(), sources, state);
        if matches!(load, Ok(Load::Current { .. })) {
            assert_eq!(unkept.keep(state).err(), None);
        }
        load
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
