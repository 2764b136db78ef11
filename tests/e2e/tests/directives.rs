//! `cgsandbox explain` shows every directive of the table, in text and in JSON: a new row is tested
//! by being there.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox::policy::{DIRECTIVES, Directive};
use cgsandbox_rig::Host;
use serde_json::Value;

/// The lines of a profile that has one of the two examples of every directive.
fn lines(which: usize) -> String {
    DIRECTIVES.iter().map(|row| format!("{} = {}\n", row.name, row.examples[which])).collect()
}

/// Whose profile, `child`, inherits from one that has the first examples.
fn host(child: &str) -> Host {
    let policy = format!(
        "[profile.parent]\n{}[profile.child]\ninherits = \"parent\"\n{child}\
         [[rule]]\nmatch = \"*\"\nprofile = \"child\"\n",
        lines(0)
    );
    Host::build().user("alice").policy(&policy).start()
}

/// What `explain` says in text.
fn text(host: &Host) -> String {
    host.as_root(["cgsandbox", "explain", "alice"]).run().stdout
}

/// Each setting that `explain --json` lists: directive, value, and the line that it is from.
#[track_caller]
fn settings(host: &Host) -> Vec<(String, String, usize)> {
    let said = host.as_root(["cgsandbox", "explain", "alice", "--json"]).run();
    let told: Value =
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    let of = |setting: &Value| {
        let word = |key: &str| setting[key].as_str().unwrap().to_owned();
        let origin = word("origin");
        let line = origin.strip_prefix("/etc/cgsandbox/cgsandbox.toml:").unwrap();
        (word("directive"), word("value"), line.parse().unwrap())
    };
    told["sandbox"]["settings"].as_array().unwrap().iter().map(of).collect()
}

/// The rows of the table of settings in the text, as words.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let table = text.lines().skip_while(|line| *line != "Settings").skip(2);
    table.take_while(|line| !line.is_empty()).map(|it| it.split_whitespace().collect()).collect()
}

/// Every directive is listed, in the order of the table, from the line in which it stands when the
/// first of them is in line `first`; the text shows the same.
#[track_caller]
fn assert_all_listed(host: &Host, first: usize) {
    let (settings, text) = (settings(host), text(host));
    assert_eq!(settings.len(), DIRECTIVES.len(), "{settings:?}");
    let rows = rows(&text);
    for (at, (row, (directive, value, line))) in DIRECTIVES.iter().zip(&settings).enumerate() {
        assert_eq!(directive.split('.').next(), Some(row.name));
        assert_eq!(*line, first + at, "{directive}");
        let start = rows.iter().position(|words| words[0] == directive);
        let start = start.unwrap_or_else(|| panic!("no {directive}: {text}"));
        // A list of disks has a row for each; those below the first begin with the disk.
        let further = rows[start + 1..].iter().take_while(|words| words[0].starts_with('/'));
        let mut all = vec![&rows[start][1..]];
        all.extend(further.map(|words| &words[..]));
        let shown: Vec<String> = all.iter().map(|it| it[..it.len() - 1].join(" ")).collect();
        assert_eq!(shown.join(", "), *value, "{directive}: {text}");
        let place = format!("cgsandbox.toml:{line}");
        assert!(all.iter().all(|words| words.last() == Some(&&*place)), "{directive}: {text}");
    }
}

/// The parent's first directive is in the line after version, cgroup_root and its own name.
const FIRST: usize = 4;

#[test]
fn each_that_is_inherited_is_explained_from_the_line_of_the_parent() {
    assert_all_listed(&host(""), FIRST);
}

#[test]
fn each_that_is_overridden_is_explained_from_the_line_of_the_child() {
    let (parent, child) = (host(""), host(&lines(1)));
    assert_all_listed(&child, FIRST + DIRECTIVES.len() + 2);
    for (inherited, own) in settings(&parent).iter().zip(&settings(&child)) {
        assert_eq!(inherited.0, own.0);
        assert_ne!(inherited.1, own.1, "{}", own.0);
    }
}

#[test]
fn where_nothing_is_written_the_defaults_are_explained_and_nothing_else() {
    let host = Host::build().user("alice").policy("[profile.default]\n").start();
    assert_eq!(settings(&host), []);
    let text = text(&host);
    let defaults = |row: &Directive| Some([row.name.to_owned(), row.default?(), "default".into()]);
    let expected: Vec<[String; 3]> = DIRECTIVES.iter().filter_map(defaults).collect();
    assert_eq!(rows(&text), expected, "{text}");
    assert!(expected.len() >= 4);
}

/// What holds where nothing is written is what holds where the default is.
#[test]
fn a_default_that_is_written_changes_nothing_but_the_place() {
    let written = |row: &Directive| {
        let default = row.default?();
        let value = match default.as_str() {
            "true" | "false" => default.clone(),
            word => format!("\"{word}\""),
        };
        Some(format!("{} = {value}\n", row.name))
    };
    let written: String = DIRECTIVES.iter().filter_map(written).collect();
    let host = Host::build().user("alice").policy("[profile.default]\n").start();
    let plan = || {
        let said = host.as_root(["cgsandbox", "explain", "alice", "--json"]).run();
        let mut told: Value = serde_json::from_str(said.ok()).unwrap();
        let sandbox = told["sandbox"].as_object_mut().unwrap();
        let settings = sandbox.remove("settings").unwrap().as_array().unwrap().len();
        sandbox.remove("rule");
        (told, settings)
    };
    let (silent, none) = plan();
    host.set_policy(&format!("[profile.default]\n{written}"));
    let (said, all) = plan();
    assert_eq!((none, all), (0, written.lines().count()));
    assert_eq!(said, silent);
}
