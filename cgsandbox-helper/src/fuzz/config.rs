//! Configuration files: any text is a policy, or errors that name their lines.

use std::collections::BTreeSet;

use cgsandbox_fuzz::Fuzz;

use super::kind_of;
use crate::config::{Problem, SourceText, lint, parse};
use crate::policy::{DIRECTIVES, Directive, Policy, Profile, Subject};

/// Where an input goes on with the next drop-in.
const NEXT_FILE: &str = "\n---\n";

/// More errors than this nobody reads; each file adds no more than its own.
const MOST_PROBLEMS: usize = 100;

fn files(input: &[u8]) -> Vec<SourceText> {
    let text = String::from_utf8_lossy(input).replace('\0', " ");
    let files = text.split(NEXT_FILE).take(8).enumerate();
    files
        .map(|(at, text)| SourceText {
            path: format!("/etc/cgsandbox/{at}.toml").into(),
            text: text.into(),
            drop_in: at > 0,
        })
        .collect()
}

#[test]
fn every_configuration_is_a_policy_or_errors_with_lines() {
    // Every directive there is, besides what is worth more than one spelling.
    let lines = |row: &Directive| row.examples.map(|value| format!("{} = {value}\n", row.name));
    let lines: Vec<String> = DIRECTIVES.iter().flat_map(lines).collect();
    Fuzz::target("config")
        .words(&WORDS)
        .words(&lines.iter().map(String::as_str).collect::<Vec<_>>())
        .seed(include_str!("../../../config/cgsandbox.toml"))
        .seed(include_str!("../../../config/examples/compute-login-node.toml"))
        .seed(include_str!("../../../config/examples/shared-hosting.toml"))
        .memory(8 << 20, 2000)
        .run(|input| {
            let texts = files(input);
            match parse(&texts) {
                Ok(policy) => accepted(&texts, &policy),
                Err(errors) => {
                    assert!(!errors.problems().is_empty(), "refused without a reason");
                    assert!(errors.problems().len() <= MOST_PROBLEMS * texts.len() + MOST_PROBLEMS);
                    errors.problems().iter().for_each(|problem| check(problem, &texts));
                    assert_plain(&errors.to_string());
                    errors.problems().iter().map(|it| kind_of(&it.message)).take(3).collect()
                }
            }
        });
}

/// A problem is shown at a place that exists, on lines that a terminal does not obey.
fn check(problem: &Problem, texts: &[SourceText]) {
    let at = problem.origin.as_ref().unwrap_or_else(|| panic!("no line: {problem:?}"));
    let source = texts.iter().find(|source| source.path == at.file).unwrap();
    let line = source.text.split('\n').nth(at.line - 1).unwrap();
    let length = line.chars().count();
    assert!((1..=length + 1).contains(&at.column), "column {} of {length}", at.column);
    assert!(at.column + at.width <= length + 1, "beyond the line: {at:?}");
    assert_plain(&problem.to_string());
    let shown = problem.render(texts, false);
    shown.lines().for_each(assert_plain);
    assert!(shown.contains(&format!(":{}:{}", at.line, at.column)), "{shown}");
    assert!(shown.len() < 20_000, "{} bytes for one problem", shown.len());
    assert!(problem.help.as_ref().is_none_or(|help| !help.is_empty()));
}

fn assert_plain(line: &str) {
    assert!(!line.chars().any(char::is_control), "a control character in {line:?}");
}

fn accepted(texts: &[SourceText], policy: &Policy) -> BTreeSet<String> {
    let again = parse(texts).unwrap();
    assert_eq!(format!("{policy:?}"), format!("{again:?}"));
    for warning in lint(policy, texts, |_| false) {
        assert_plain(&warning.to_string());
        warning.render(texts, true);
    }
    for (name, uid) in [("alice", 1000), ("12345", 7), ("root", 0)] {
        let subject = Subject { name: name.to_owned(), uid, ..Subject::default() };
        let choice = policy.choose(&subject, "sshd");
        assert!(uid != 0 || choice.is_err(), "root is sandboxed");
        policy.address_of(&subject);
    }
    let mut outcome = BTreeSet::new();
    for resolved in policy.profiles.values() {
        outcome.extend(resolved.profile.settings().iter().map(|it| it.directive.to_owned()));
        assert_written_again(&resolved.profile);
    }
    outcome
}

/// What `explain` shows can be written into a configuration, and means the same there.
fn assert_written_again(profile: &Profile) {
    let mut text = "version = 1\n[profile.p]\n".to_owned();
    for setting in profile.settings() {
        let value = match setting.directive {
            "io_read_bandwidth_max" => list(profile.io_read_bandwidth_max.as_deref().unwrap()),
            "io_write_bandwidth_max" => list(profile.io_write_bandwidth_max.as_deref().unwrap()),
            "io_read_iops_max" => list(profile.io_read_iops_max.as_deref().unwrap()),
            "io_write_iops_max" => list(profile.io_write_iops_max.as_deref().unwrap()),
            "loopback_services" => {
                let ports = profile.loopback_services.as_ref().unwrap();
                format!("{:?}", ports.iter().map(|port| port.number()).collect::<Vec<_>>())
            }
            "loopback_peers" => {
                let peers = profile.loopback_peers.as_ref().unwrap();
                let peers: Vec<String> = peers.0.iter().map(|it| it.value.to_string()).collect();
                list(&peers)
            }
            name => match Directive::named(name).map_or("", |row| row.examples[0]) {
                "true" | "false" => setting.value.clone(),
                example if example.starts_with('[') => {
                    list(&setting.value.split(", ").collect::<Vec<_>>())
                }
                _ => quoted(&setting.value),
            },
        };
        text += &format!("{} = {value}\n", setting.directive);
    }
    let texts = [SourceText { path: "p.toml".into(), text: text.as_str().into(), drop_in: false }];
    let policy = parse(&texts).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    let values = |profile: &Profile| -> Vec<(&'static str, String)> {
        let settings = profile.settings().into_iter();
        // A service's name is in brackets behind its number.
        settings
            .filter(|it| it.directive != "loopback_services")
            .map(|it| (it.directive, it.value))
            .collect()
    };
    assert_eq!(values(&policy.profiles["p"].profile), values(profile), "{text}");
}

fn list(all: &[impl ToString]) -> String {
    let all: Vec<String> = all.iter().map(|one| quoted(&one.to_string())).collect();
    format!("[{}]", all.join(", "))
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted += &format!("\\u{:04X}", c as u32),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

const WORDS: [&str; 62] = [
    "version = 1\n",
    "on_error = \"allow\"\n",
    "exempt = [\"@wheel\", \"!alice\"]\n",
    "services = [\"sshd\"]\n",
    "cgroup_root = \"/x\"\n",
    "loopback_pool = \"127.64.0.0/10\"\n",
    "loopback_prefix = \"fd63:6773:6278::/64\"\n",
    "[loopback_addresses]\nalice = \"127.64.0.5\"\n",
    "[profile.a]\n",
    "[profile.\"b c\"]\n",
    "inherits = \"a\"\n",
    "memory_max = \"25%\"\n",
    "memory_high = \"1.5G\"\n",
    "memory_swap_max = 0\n",
    "cpu_quota = \"150%\"\n",
    "cpu_quota = 1.5\n",
    "cpu_weight = 100\n",
    "allowed_cpus = \"0-3,5\"\n",
    "tasks_max = 200\n",
    "io_weight = 10\n",
    "io_read_bandwidth_max = \"/home 50M\"\n",
    "io_write_iops_max = [\"/a 100\", \"/b infinity\"]\n",
    "session_memory_max = \"1G\"\n",
    "session_tasks_max = 10\n",
    "limits = { nofile = \"4096\", core = \"0:1M\" }\n",
    "limits.nice = -5\n",
    "limits.cpu = \"1h\"\n",
    "max_logins = 3\n",
    "hidepid = \"invisible\"\n",
    "on_logout = \"kill\"\n",
    "loopback = \"private\"\n",
    "loopback_wildcard = \"localhost\"\n",
    "loopback_services = [25, \"domain\"]\n",
    "loopback_peers = [\"@staff\", \"1000:1999\"]\n",
    "strict = true\n",
    "[[rule]]\nmatch = \"*\"\nprofile = \"a\"\n",
    "match = [\"a*\", \"!b?\", \"[a-c]d\"]\n",
    "infinity",
    "unlimited",
    "ptraceable",
    "\"\"\"",
    "'",
    "''",
    "{",
    "}",
    "[",
    "]",
    "[[",
    ".",
    ",",
    "=",
    "#",
    "\\u00e9",
    "1e9",
    "0x10",
    "inf",
    "nan",
    "1979-05-27T07:32:00Z",
    "true",
    NEXT_FILE,
    "%",
    ":",
];
