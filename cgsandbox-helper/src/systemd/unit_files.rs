//! What unit files say of a user's slice besides us, in systemd's own order of precedence.
//!
//! systemd reads all drop-ins sorted by their file names, whatever directories they are in,
//! and the last word counts (systemd.unit(5)). Ours are those that systemd writes for
//! `SetUnitProperties` until the next boot: `50-SETTING.conf`, and `50-SETTINGScale.conf` for
//! what is said as a share of the machine, which has the last word where both are there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where unit files are, from the first to the last that counts for one file name.
const DIRECTORIES: [&str; 12] = [
    "/etc/systemd/system.control",
    OURS,
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/run/systemd/generator.late",
];

/// Where systemd keeps what is set over its bus and not meant to last.
const OURS: &str = "/run/systemd/system.control";

/// Whether `unit` is enabled: `by` is to start it.
pub fn is_wanted(unit: &str, by: &str) -> bool {
    let link = format!("{by}.wants/{unit}");
    DIRECTORIES.iter().any(|directory| Path::new(directory).join(&link).is_symlink())
}

/// Something that a unit file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// After the `=`.
    pub text: String,
    /// `file:line`.
    pub place: String,
}

/// The drop-ins of one user's slice.
#[derive(Debug)]
pub struct UnitFiles {
    /// By file name. Only the one of the highest directory is read.
    files: BTreeMap<String, PathBuf>,
    own: PathBuf,
}

impl UnitFiles {
    /// Of the slice with this name; `root` is `/` but in tests.
    pub fn of_slice(root: &Path, slice: &str) -> Self {
        let under = |directory: &str| root.join(directory.trim_start_matches('/'));
        let mut files = BTreeMap::new();
        for directory in DIRECTORIES {
            for name in [slice, "user-.slice", "slice"] {
                let Ok(entries) = fs::read_dir(under(directory).join(format!("{name}.d"))) else {
                    continue;
                };
                for path in entries.flatten().map(|entry| entry.path()) {
                    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                        continue;
                    };
                    if name.ends_with(".conf") {
                        files.entry(name.to_owned()).or_insert(path);
                    }
                }
            }
        }
        UnitFiles { files, own: under(OURS).join(format!("{slice}.d")) }
    }

    /// Whether a drop-in of ours is there for `setting`, in either form.
    pub fn has_own(&self, setting: &str) -> bool {
        self.own.join(own_name(setting)).exists() || self.has_own_share(setting)
    }

    /// Whether one is there that sets a share.
    pub fn has_own_share(&self, setting: &str) -> bool {
        self.own.join(own_name_of_share(setting)).exists()
    }

    /// What outranks a drop-in of ours for `setting`.
    pub fn above(&self, setting: &str) -> Option<Word> {
        let is_own = |(name, path): &(&String, &PathBuf)| {
            path.starts_with(&self.own)
                && [own_name(setting), own_name_of_share(setting)].contains(name)
        };
        let later = self.files.range(own_name(setting)..).filter(|file| !is_own(file));
        later.filter_map(|(_, path)| last_word(path, setting)).next_back()
    }

    /// What counts for `setting` without a drop-in of ours.
    pub fn others(&self, setting: &str) -> Option<Word> {
        let others = self.files.values().filter(|path| !path.starts_with(&self.own));
        others.filter_map(|path| last_word(path, setting)).next_back()
    }

    /// Removes a drop-in of ours. systemd's memory of it goes with the slice.
    pub fn remove_own(&self, setting: &str) {
        let _ = fs::remove_file(self.own.join(own_name(setting)));
        self.remove_own_share(setting);
        let _ = fs::remove_dir(&self.own);
    }

    /// Removes one that sets a share: it would outrank the one that sets an amount.
    pub fn remove_own_share(&self, setting: &str) {
        let _ = fs::remove_file(self.own.join(own_name_of_share(setting)));
    }
}

fn own_name(setting: &str) -> String {
    format!("50-{setting}.conf")
}

fn own_name_of_share(setting: &str) -> String {
    format!("50-{setting}Scale.conf")
}

fn last_word(path: &Path, setting: &str) -> Option<Word> {
    let text = fs::read_to_string(path).ok()?;
    let mut section = "";
    let mut last = None;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line;
        }
        let value = line.split_once('=').filter(|(key, _)| key.trim() == setting);
        if let (Some((_, value)), "[Slice]") = (value, section) {
            let place = format!("{}:{}", path.display(), at + 1);
            last = Some(Word { text: value.trim().to_owned(), place });
        }
    }
    last
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct Root(PathBuf);

    impl Root {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("unit-files-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Root(path)
        }

        fn file(&self, path: &str, text: &str) -> &Self {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        fn read(&self) -> UnitFiles {
            UnitFiles::of_slice(&self.0, "user-1000.slice")
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const OWN: &str = "run/systemd/system.control/user-1000.slice.d/50-TasksMax.conf";
    const OWN_SHARE: &str = "run/systemd/system.control/user-1000.slice.d/50-TasksMaxScale.conf";

    #[test]
    fn a_distributions_default_is_below_ours() {
        let root = Root::new("below");
        root.file(
            "usr/lib/systemd/system/user-.slice.d/10-defaults.conf",
            "[Slice]\nTasksMax=33%\n",
        )
        .file(OWN, "[Slice]\nTasksMax=5\n");
        let files = root.read();
        assert!(files.has_own("TasksMax"));
        assert_eq!(files.above("TasksMax"), None);
        assert_eq!(files.others("TasksMax").unwrap().text, "33%");
    }

    #[test]
    fn what_an_administrator_set_to_last_is_above_ours() {
        let root = Root::new("above");
        let theirs = "etc/systemd/system.control/user-1000.slice.d/50-TasksMax.conf";
        root.file(theirs, "# comment\n[Slice]\nTasksMax=9\n").file(OWN, "[Slice]\nTasksMax=5\n");
        let above = root.read().above("TasksMax").unwrap();
        assert_eq!(above.text, "9");
        assert!(above.place.ends_with("50-TasksMax.conf:3"), "{}", above.place);
    }

    #[test]
    fn a_drop_in_that_is_read_later_is_above_ours() {
        let root = Root::new("later");
        root.file("etc/systemd/system/user-.slice.d/99-site.conf", "[Slice]\nTasksMax = 7\n");
        assert_eq!(root.read().above("TasksMax").unwrap().text, "7");
        assert_eq!(root.read().above("MemoryMax"), None);
    }

    #[test]
    fn of_one_file_name_only_the_first_directory_counts() {
        let root = Root::new("first");
        root.file("etc/systemd/system/user-.slice.d/60-a.conf", "[Slice]\n")
            .file("usr/lib/systemd/system/user-.slice.d/60-a.conf", "[Slice]\nTasksMax=7\n");
        assert_eq!(root.read().above("TasksMax"), None);
    }

    #[test]
    fn other_sections_say_nothing() {
        let root = Root::new("section");
        root.file("etc/systemd/system/user-.slice.d/60-a.conf", "[Unit]\nTasksMax=7\n");
        assert_eq!(root.read().above("TasksMax"), None);
    }

    #[test]
    fn a_share_that_we_set_is_ours_too() {
        let root = Root::new("share");
        root.file(OWN_SHARE, "[Slice]\nTasksMax=33%\n");
        assert!(root.read().has_own("TasksMax"));
        assert_eq!(root.read().above("TasksMax"), None);
        root.read().remove_own("TasksMax");
        assert!(!root.0.join(OWN_SHARE).parent().unwrap().exists());
    }

    #[test]
    fn ours_goes_without_a_trace() {
        let root = Root::new("removed");
        root.file(OWN, "[Slice]\nTasksMax=5\n").file(OWN_SHARE, "[Slice]\nTasksMax=33%\n");
        root.read().remove_own("TasksMax");
        assert!(!root.0.join(OWN).parent().unwrap().exists());
    }
}
