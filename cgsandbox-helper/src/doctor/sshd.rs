//! Whether sshd asks PAM at all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Finding;

const SSHD: &str = "sshd";

/// Where a distribution or an administrator installs it.
const PROGRAMS: [&str; 3] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"];

const FILE: &str = "/etc/ssh/sshd_config";

/// How deep sshd lets files include each other.
const DEEPEST: usize = 16;

/// Settings by their names in small letters.
type Settings = BTreeMap<String, String>;

/// Looks at the settings that decide whether a login meets our PAM line.
pub(super) fn look(services: &[String]) -> Vec<Finding> {
    let Some(program) = PROGRAMS.into_iter().find(|path| Path::new(path).is_file()) else {
        return vec![Finding::note(SSHD, "sshd is not installed where distributions put it")];
    };
    let (settings, source) = match asked(program) {
        Ok(settings) => (settings, format!("{program} -T")),
        Err(_) => (read(Path::new(FILE)), FILE.to_owned()),
    };
    judge(&settings, &source, services)
}

fn judge(settings: &Settings, source: &str, services: &[String]) -> Vec<Finding> {
    let get =
        |name: &str, default: &str| settings.get(name).map_or(default, String::as_str).to_owned();
    // OpenSSH's own default; distributions write "yes" into the file.
    let mut findings = match get("usepam", "no").as_str() {
        "yes" => vec![Finding::ok(SSHD, format!("UsePAM is yes ({source})"))],
        other => {
            let what = format!(
                "UsePAM is {other} ({source}): sshd does not use PAM, and no login gets a sandbox"
            );
            let remedy = format!("write \"UsePAM yes\" into {FILE} and reload sshd");
            vec![Finding::problem(SSHD, what).remedy(remedy)]
        }
    };
    let service = get("pamservicename", "sshd");
    if !services.contains(&service) {
        let what = format!(
            "sshd's PAM service is \"{service}\", but services in the configuration does not name it"
        );
        let remedy = format!("add \"{service}\" to services in cgsandbox.toml");
        findings.push(Finding::problem(SSHD, what).remedy(remedy));
    }
    findings
}

/// What sshd itself makes of its files. It refuses where it could not start either, as
/// without its directory below /run.
fn asked(program: &str) -> Result<Settings, ()> {
    let output = Command::new(program)
        // Without the second, files with a Match block are refused.
        .args(["-T", "-C", "user=nobody,host=localhost,addr=127.0.0.1"])
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(drop)?;
    if !output.status.success() {
        return Err(());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut settings = Settings::new();
    text.lines().for_each(|line| keep(&mut settings, line));
    Ok(settings)
}

/// As sshd_config(5) has it: the first value of a setting counts, and those in a Match
/// block are for some logins only. None of ours may stand there.
fn read(file: &Path) -> Settings {
    let mut settings = Settings::new();
    read_into(&mut settings, file, 0);
    settings
}

fn read_into(settings: &mut Settings, file: &Path, depth: usize) {
    let Ok(text) = std::fs::read_to_string(file) else { return };
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let (name, value) = setting(line);
        match name.as_str() {
            "match" => return,
            "include" if depth < DEEPEST => {
                let files = value.split_whitespace().flat_map(|pattern| included(file, pattern));
                files.for_each(|file| read_into(settings, &file, depth + 1));
            }
            _ => keep(settings, line),
        }
    }
}

fn keep(settings: &mut Settings, line: &str) {
    let (name, value) = setting(line);
    settings.entry(name).or_insert(value);
}

/// `Name value`, `Name=value` and `Name "value"` are the same.
fn setting(line: &str) -> (String, String) {
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (name, value) = line.split_at(end);
    let value = value.trim_start_matches(|c: char| c.is_whitespace() || c == '=');
    (name.to_ascii_lowercase(), value.trim().trim_matches('"').to_owned())
}

/// The files that `pattern` stands for: wildcards in its last part, as distributions use.
fn included(from: &Path, pattern: &str) -> Vec<PathBuf> {
    let base = from.parent().unwrap_or(Path::new("/"));
    let pattern = base.join(pattern.trim_matches('"'));
    let (Some(directory), Some(name)) = (pattern.parent(), pattern.file_name()) else {
        return Vec::new();
    };
    let name = name.to_string_lossy();
    let fits = |candidate: &String| match name.split_once('*') {
        // sh(1) and glob(7) leave out hidden files.
        Some((first, last)) => {
            candidate.len() >= first.len() + last.len()
                && candidate.starts_with(first)
                && candidate.ends_with(last)
                && !candidate.starts_with('.')
        }
        None => *candidate == name,
    };
    let names = crate::state::names_in(directory).into_iter().filter(fits);
    names.map(|name| directory.join(name)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Level;
    use super::*;

    fn settings(name: &str, files: &[(&str, &str)]) -> Settings {
        let dir =
            std::env::temp_dir().join(format!("cgsandbox-sshd-{}-{name}", std::process::id()));
        std::fs::create_dir_all(dir.join("sshd_config.d")).unwrap();
        for (file, text) in files {
            std::fs::write(dir.join(file), text).unwrap();
        }
        let settings = read(&dir.join("sshd_config"));
        std::fs::remove_dir_all(&dir).unwrap();
        settings
    }

    #[test]
    fn the_first_value_counts_wherever_it_is_written() {
        let files = [
            ("sshd_config", "# UsePAM no\nInclude sshd_config.d/*.conf\nUsePAM no\n"),
            ("sshd_config.d/50-redhat.conf", "usepam = \"yes\"\n"),
            ("sshd_config.d/ignored", "UsePAM maybe\n"),
        ];
        assert_eq!(settings("first", &files)["usepam"], "yes");
    }

    #[test]
    fn a_match_block_speaks_of_some_logins_only() {
        let files = [("sshd_config", "Match User x\n  UsePAM yes\n")];
        assert!(!settings("match", &files).contains_key("usepam"));
    }

    #[test]
    fn without_pam_there_is_no_sandbox() {
        let sshd = ["sshd".to_owned()];
        let levels = |usepam: &[(&str, &str)], services: &[String]| {
            let usepam = usepam.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            judge(&usepam, "test", services).iter().map(|f| f.level).collect::<Vec<_>>()
        };
        assert_eq!(levels(&[("usepam", "yes")], &sshd), [Level::Ok]);
        assert_eq!(levels(&[("usepam", "no")], &sshd), [Level::Problem]);
        assert_eq!(levels(&[], &sshd), [Level::Problem], "OpenSSH's default is no");
        let other = [("usepam", "yes"), ("pamservicename", "ssh-internal")];
        assert_eq!(levels(&other, &sshd), [Level::Ok, Level::Problem]);
    }
}
