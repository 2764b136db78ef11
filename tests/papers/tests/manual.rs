//! The manual has all that the program has, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use cgsandbox::command::grammar;
use cgsandbox::config::{self, value::Rlimit};
use cgsandbox::policy::Policy;
use cgsandbox_papers::manual::{COMMAND, CONFIGURATION, MODULE, PAGES, calls, items, section};
use cgsandbox_papers::{repository, source};

fn set<T: ToString>(names: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    names.into_iter().map(|name| name.to_string()).collect()
}

/// The names that the program itself calls possible where `text` has one that is not.
fn possible(text: &str) -> BTreeSet<String> {
    // A file for each question: several tests ask the same, at the same time.
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let number = ASKED.fetch_add(1, Ordering::Relaxed);
    let path = directory.join(format!("{number}-unknown-key.toml"));
    std::fs::write(&path, text).unwrap();
    let (texts, _) = config::read_draft(&path).unwrap();
    let errors = config::parse(&texts).unwrap_err();
    let help = errors.problems().iter().find_map(|problem| problem.help.as_deref()).unwrap();
    let list = help.strip_prefix("possible here: ").unwrap_or_else(|| panic!("{help}"));
    set(list.split(", "))
}

fn directives() -> BTreeSet<String> {
    possible("version = 1\n[profile.a]\nqqqqqqqqqqqq = 1\n")
}

/// The command with what clap adds to it.
fn command() -> clap::Command {
    let mut command = grammar();
    command.build();
    command
}

fn subcommands() -> BTreeSet<String> {
    set(command().get_subcommands().map(clap::Command::get_name))
}

/// Every option of the command and of its subcommands, as mdoc writes them after `Fl`.
fn options() -> BTreeSet<String> {
    let command = command();
    let all = std::iter::once(&command).chain(command.get_subcommands());
    let mut names = BTreeSet::new();
    for argument in all.flat_map(clap::Command::get_arguments) {
        names.extend(argument.get_long().map(|long| format!("-{long}")));
        names.extend(argument.get_short().map(String::from));
    }
    names
}

#[test]
fn mandoc_finds_nothing_to_warn_of() {
    for page in PAGES {
        let mandoc = Command::new("mandoc")
            .args(["-T", "lint", "-W", "warning"])
            .arg(repository::path(page))
            .output()
            .expect("mandoc is installed: tests/deps test");
        let said = String::from_utf8_lossy(&mandoc.stdout);
        assert!(mandoc.status.success() && said.is_empty(), "{said}");
    }
}

#[test]
fn no_line_is_wider_than_a_terminal() {
    for page in PAGES {
        let mandoc = Command::new("mandoc")
            .args(["-T", "ascii", "-O", "width=78"])
            .arg(repository::path(page))
            .output()
            .expect("mandoc is installed: tests/deps test");
        let text = String::from_utf8(mandoc.stdout).unwrap();
        assert!(text.lines().count() > 100, "{page}: {text}");
        for line in text.lines() {
            // Bold and underlined letters are written twice, with a backspace in between.
            let width = line.chars().count() - 2 * line.matches('\u{8}').count();
            assert!(width <= 80, "{page}: {width} columns: {line}");
        }
    }
}

#[test]
fn sections_are_those_of_linux_pam() {
    let text = repository::read(MODULE).replace("\\~", " ");
    let titles: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(".Sh ")).collect();
    let theirs = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "MODULE TYPES PROVIDED",
        "RETURN VALUES",
        "FILES",
        "EXAMPLES",
        "SEE ALSO",
        "AUTHORS",
    ];
    let ours: Vec<&str> = titles.into_iter().filter(|title| theirs.contains(title)).collect();
    assert_eq!(ours, theirs);
}

#[test]
fn the_modules_arguments() {
    let parser = &source::shipped()["cgsandbox-helper/protocol/src/arguments.rs"];
    let arms = parser.lines().filter(|line| line.contains("=> parsed."));
    let arguments: BTreeSet<String> =
        arms.flat_map(|line| source::literals(line, "(")).filter(|word| !word.is_empty()).collect();
    assert!(arguments.len() >= 4, "{arguments:?}");
    assert_eq!(items(&section(MODULE, "OPTIONS"), "Cm"), arguments);
    assert_eq!(calls(&section(MODULE, "SYNOPSIS"), "Cm"), arguments);
}

#[test]
fn how_long_the_module_waits() {
    let parser = &source::shipped()["cgsandbox-helper/protocol/src/arguments.rs"];
    let known = parser.split("const KNOWN").nth(1).expect("what is said of a wrong argument");
    let range = known.split("timeout=").nth(1).and_then(|text| text.split(',').next());
    let (least, most) = range.and_then(|range| range.split_once(" to ")).expect("a range");
    let options = section(MODULE, "OPTIONS");
    let told = options.split(".It ").find(|item| item.starts_with("Cm timeout")).unwrap();
    for time in [least, most] {
        assert!(told.contains(&format!(".Ql {time}")), "{time}: {told}");
    }
}

#[test]
fn the_modules_return_values() {
    let module = source::shipped();
    let module = module.iter().filter(|(name, _)| name.starts_with("pam_cgsandbox/"));
    let mut codes = BTreeSet::from(["PAM_ABORT".to_owned()]);
    for (_, text) in module {
        let named = text.split("PamResultCode::").skip(1);
        let word = |rest: &str| {
            rest.split(|c: char| !c.is_ascii_uppercase() && c != '_').next().map(str::to_owned)
        };
        codes.extend(named.filter_map(word).filter(|word| !word.is_empty()));
    }
    assert_eq!(items(&section(MODULE, "RETURN VALUES"), "Dv"), codes);
}

#[test]
fn the_logs_events_and_keys() {
    let (events, keys) = (source::events(), source::keys());
    assert!(events.len() >= 7 && keys.len() >= 30, "{events:?} {keys:?}");
    assert_eq!(items(&section(MODULE, "Events"), "Sy"), events);
    assert_eq!(items(&section(MODULE, "Keys"), "Va"), keys);
    for page in PAGES {
        let text = repository::read(page);
        let unknown: Vec<String> = calls(&text, "Sy").difference(&events).cloned().collect();
        assert!(unknown.is_empty(), "{page}: no such events: {unknown:?}");
        let unknown: Vec<String> = calls(&text, "Va").difference(&keys).cloned().collect();
        assert!(unknown.is_empty(), "{page}: no such keys: {unknown:?}");
    }
}

#[test]
fn the_directives() {
    let top = possible("version = 1\nqqqqqqqqqqqq = 1\n");
    let rule =
        possible("version = 1\n[[rule]]\nqqqqqqqqqqqq = 1\nmatch = \"*\"\nprofile = \"a\"\n");
    let rlimits = set(Rlimit::ALL.map(Rlimit::name));
    assert_eq!(items(&section(CONFIGURATION, "TOP OF THE FILE"), "Ic"), top);
    assert_eq!(items(&section(CONFIGURATION, "RULES"), "Ic"), rule);
    let of_profiles: BTreeSet<String> = directives().union(&rlimits).cloned().collect();
    assert_eq!(items(&section(CONFIGURATION, "PROFILES"), "Ic"), of_profiles);
}

/// A policy whose profile has `line`, if it is one that can be used.
fn policy(line: &str) -> Option<Policy> {
    let text =
        format!("version = 1\n[profile.a]\n{line}\n[[rule]]\nmatch = \"*\"\nprofile = \"a\"\n");
    let name = format!(
        "bound-{:x}.toml",
        text.bytes().fold(0_u64, |h, b| h.wrapping_mul(31) + u64::from(b))
    );
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    let (texts, _) = config::read_draft(&path).unwrap();
    config::parse(&texts).ok()
}

#[test]
fn the_bounds_of_values() {
    // Of a directive: what the manual says that is still possible, and what is not any more.
    let bounds = [
        ("memory_max", "\"8M\"", "\"8191K\"", "At least 8M"),
        ("memory_high", "\"8M\"", "\"8191K\"", "As\n.Ic memory_max"),
        ("memory_swap_max", "0", "-1", "0 for none"),
        ("cpu_quota", "\"1%\"", "\"0.99%\"", "At least 1%"),
        ("cpu_weight", "1", "0", "from 1 to 10000"),
        ("cpu_weight", "10000", "10001", "from 1 to 10000"),
        ("tasks_max", "8", "7", "from 8 to 4194304"),
        ("tasks_max", "4194304", "4194305", "from 8 to 4194304"),
        ("io_read_bandwidth_max", "\"/ 64K\"", "\"/ 63K\"", "At least 64K"),
        ("io_read_iops_max", "\"/ 10\"", "\"/ 9\"", "At least 10"),
        ("limits.as", "\"64M\"", "\"63M\"", "At least 64M of\n.Ic as"),
        ("limits.data", "\"16M\"", "\"15M\"", "16M of\n.Ic data\nand\n.Ic fsize"),
        ("limits.fsize", "\"16M\"", "\"15M\"", "16M of\n.Ic data\nand\n.Ic fsize"),
        ("limits.stack", "\"256K\"", "\"255K\"", "256K of\n.Ic stack"),
        ("limits.nofile", "64", "63", "At least 64 of\n.Ic nofile"),
        ("limits.nproc", "8", "7", "8 of\n.Ic nproc"),
        ("limits.cpu", "\"60s\"", "\"59s\"", "At least 60s"),
        ("limits.rtprio", "99", "100", "From 0 to 99"),
        ("limits.nice", "\"-20\"", "\"-21\"", "from\n.Li \\(dq-20\\(dq"),
        ("limits.nice", "\"+19\"", "\"+20\"", "to\n.Li \\(dq+19\\(dq"),
    ];
    let flat = |text: &str| text.replace('\n', " ");
    let text = flat(&section(CONFIGURATION, "PROFILES"));
    for (directive, last, beyond, said) in bounds {
        assert!(policy(&format!("{directive} = {last}")).is_some(), "{directive} = {last}");
        assert!(policy(&format!("{directive} = {beyond}")).is_none(), "{directive} = {beyond}");
        assert!(text.contains(&flat(said)), "{directive}: {said}");
    }
}

#[test]
fn the_defaults_at_the_top_of_the_file() {
    let silent = policy("").unwrap();
    let quoted = |text: &str| format!("\\(dq{text}\\(dq");
    let services: Vec<String> = silent.services.iter().map(|name| quoted(name)).collect();
    let top = section(CONFIGURATION, "TOP OF THE FILE");
    assert!(top.contains(&format!(".Li {} ,\nthe default", quoted(silent.on_error.name()))));
    assert!(top.contains(&format!(".Li [{}]\nby default", services.join(", "))));
    assert!(top.contains(&format!(".Li {}\nby default", quoted(&silent.cgroup_root))));
    assert!(silent.exempt.0.is_empty() && top.contains("by default nobody but root"));
}

#[test]
fn the_commands_options_and_exit_statuses() {
    let commands = section(COMMAND, "COMMANDS");
    assert_eq!(items(&commands, "Cm"), subcommands());
    let synopsis = section(COMMAND, "SYNOPSIS");
    assert_eq!(calls(&synopsis, "Cm"), subcommands());
    let options = options();
    let text = repository::read(COMMAND);
    assert_eq!(calls(&text, "Fl"), options);
    let of_each: BTreeSet<String> =
        ["-json", "-help", "h", "-version", "V"].map(str::to_owned).into();
    assert_eq!(items(&section(COMMAND, "OPTIONS"), "Fl"), of_each);
    let help = command().render_long_help().to_string();
    for name in subcommands() {
        let described = |line: &&str| {
            line.trim_start().strip_prefix(&*name).is_some_and(|it| it.starts_with(' '))
        };
        let line = help.lines().find(described);
        assert!(line.is_some_and(|line| line.len() > 12), "--help has no {name}: {help}");
    }
    let told = help.split("Exit status:").nth(1).expect("--help tells of exit statuses");
    let statuses = set(told.lines().filter_map(|line| line.split_whitespace().next()));
    let items = section(COMMAND, "EXIT STATUS");
    let items = set(items.lines().filter_map(|line| line.strip_prefix(".It ")));
    assert_eq!(items, statuses);
}

#[test]
fn every_subcommands_own_options_are_in_its_own_place() {
    let commands = section(COMMAND, "COMMANDS");
    let command = command();
    for sub in command.get_subcommands() {
        let head = format!(".It Cm {}", sub.get_name());
        let line =
            commands.lines().find(|line| *line == head || line.starts_with(&(head.clone() + " ")));
        let line = line.unwrap_or_else(|| panic!("{head}"));
        let own = sub.get_arguments().filter(|argument| !argument.is_global_set());
        let own = own
            .filter_map(clap::Arg::get_long)
            .filter(|long| *long != "help" && *long != "version");
        for long in own {
            assert!(line.contains(&format!("Fl -{long} ")), "{line} lacks --{long}");
        }
        if sub.get_name() != "help" {
            let takes = sub.get_positionals().next().is_some();
            assert_eq!(
                line.trim_end_matches(" Oc").contains("Ar file") || line.contains("Ar user"),
                takes,
                "{line}"
            );
        }
    }
}

#[test]
fn commands_and_directives_that_the_text_names_are_there() {
    let mut known = directives();
    known.extend(possible("version = 1\nqqqqqqqqqqqq = 1\n"));
    known.extend(["match".to_owned()]);
    known.extend(Rlimit::ALL.map(|rlimit| rlimit.name().to_owned()));
    known.extend(subcommands());
    known.extend(["cgsandbox".to_owned()]);
    for page in PAGES {
        let text = repository::read(page);
        let unknown: Vec<String> = calls(&text, "Ic").difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{page}: {unknown:?}");
    }
}

#[test]
fn what_json_objects_hold() {
    let text = section(COMMAND, "COMMANDS");
    let documented: BTreeSet<String> = calls(&text, "Li").into_iter().collect();
    let sources = source::shipped();
    let of = |file: &str| &sources[&format!("cgsandbox-helper/src/{file}")];
    let mut members = BTreeSet::new();
    for command in ["apply", "check", "doctor", "enable", "gc", "status"] {
        members.extend(members_in(of(&format!("command/{command}.rs"))));
    }
    let explanation = of("command/explain/json.rs").split("\n}").next().unwrap();
    members.extend(members_in(explanation.split("    json!({").nth(1).unwrap()));
    let sandbox = of("command/explain/json.rs").split("\nfn sandbox(").nth(1).unwrap();
    let sandbox = sandbox.split("\n    json!({").nth(1).and_then(|body| body.split("\n}").next());
    members.extend(members_in(sandbox.unwrap()));
    for (file, name) in [
        ("cgroup/attribute.rs", "Unfit"),
        ("systemd/mod.rs", "Overridden"),
        ("doctor/mod.rs", "Finding"),
        ("teardown.rs", "Residue"),
        ("service/mod.rs", "Switched"),
        ("status.rs", "UserStatus"),
        ("status.rs", "SessionStatus"),
        ("misplaced.rs", "Process"),
    ] {
        members.extend(fields_of(of(file), name));
    }
    members.extend(source::counters(&["of_user", "limits_in_force"]));
    assert!(members.len() >= 30, "{members:?}");
    assert_eq!(documented, members);
}

/// The keys that `json!` is given.
fn members_in(text: &str) -> BTreeSet<String> {
    let parts: Vec<&str> = text.split("\":").collect();
    let last = parts.len() - 1;
    set(parts[..last].iter().filter_map(|part| part.rsplit('"').next()))
}

/// The fields of a structure that is written as JSON.
fn fields_of(text: &str, structure: &str) -> BTreeSet<String> {
    let body = text.split(&format!("pub struct {structure} {{")).nth(1);
    let body =
        body.and_then(|body| body.split("\n}").next()).unwrap_or_else(|| panic!("{structure}"));
    set(body.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next()))
}
