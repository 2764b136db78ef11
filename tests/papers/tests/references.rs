//! What the papers point to is there.
#![allow(clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use cgsandbox::command::grammar;
use cgsandbox_papers::manual::{PAGES, displays};
use cgsandbox_papers::repository;

const PAPERS: [&str; 7] = [
    "README.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/comparison.md",
    "docs/cost.md",
    "docs/hosts.md",
];

/// What stands between `open` and the next `close`.
fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |rest| Some(rest.split_once(close)?.0))
}

/// What stands in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn links_lead_to_files() {
    for paper in PAPERS {
        let text = repository::read(paper);
        let links = between(&text, "](", ")").chain(between(&text, "src=\"", "\""));
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
            // A link leads from the directory of its paper.
            let file = std::path::Path::new(paper)
                .with_file_name(link.split('#').next().unwrap_or_default());
            assert!(repository::path(&file).exists(), "{paper}: {link} is not there");
        }
    }
}

#[test]
fn paths_of_the_repository_that_are_named_are_there() {
    let tops = ["config", "packaging", "tests", "pam_cgsandbox", "cgsandbox-helper", ".ci"];
    let mut seen = 0;
    for paper in PAPERS {
        let text = repository::read(paper);
        let quoted = quoted(&text).flat_map(str::split_whitespace);
        let typed = text.lines().filter(|line| line.starts_with("    "));
        for word in quoted.chain(typed.flat_map(str::split_whitespace)) {
            let is_ours = word.split_once('/').is_some_and(|(top, _)| tops.contains(&top));
            if is_ours {
                assert!(repository::path(word).exists(), "{paper}: {word} is not there");
                seen += 1;
            }
        }
    }
    assert!(seen >= 5, "only {seen}");
}

#[test]
fn source_files_that_contributors_are_sent_to_are_there() {
    let text = repository::read("CONTRIBUTING.md");
    let sources = ["pam_cgsandbox/src", "cgsandbox-helper/src", "tests"];
    let all: Vec<_> = sources.iter().flat_map(|it| repository::files(it, "rs")).collect();
    for name in quoted(&text).filter(|word| word.ends_with(".rs")) {
        assert!(all.iter().any(|path| path.ends_with(name)), "there is no {name}");
    }
}

#[test]
fn commands_that_are_named_are_there() {
    let mut command = grammar();
    command.build();
    let known: BTreeSet<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    let papers = PAPERS.iter().chain(["config/cgsandbox.toml"].iter()).chain(&PAGES);
    let mut seen = 0;
    for paper in papers {
        let text = repository::read(paper);
        // Where a command is meant: quoted, typed, or as a comment or the manual has it.
        for before in
            ["`cgsandbox ", "    cgsandbox ", "#   cgsandbox ", "\ncgsandbox ", "Ic cgsandbox "]
        {
            for rest in text.split(before).skip(1) {
                let word = rest.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default();
                assert!(word.is_empty() || known.contains(word), "{paper}: cgsandbox {word}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 15, "only {seen}");
}

/// The journal calls what a unit's program prints by the program's name, which is the ident of the
/// audit's lines. And without more words errors go where standard output goes: nowhere.
#[test]
fn what_units_print_is_not_among_the_lines_of_the_audit() {
    let mut seen = 0;
    for kind in ["service", "conf"] {
        for unit in repository::files("packaging/systemd", kind) {
            let text = std::fs::read_to_string(&unit).unwrap_or_default();
            if text.lines().any(|line| line.starts_with("Exec") && line.contains("/cgsandbox ")) {
                for line in ["SyslogIdentifier=cgsandbox-gc", "StandardError=journal"] {
                    assert!(text.lines().any(|it| it == line), "{}: {line}", unit.display());
                }
                seen += 1;
            }
        }
    }
    assert!(seen >= 2, "{seen}");
}

/// Whatever is to be typed, or is run by a unit or by cron, is a command line of ours.
#[test]
fn command_lines_are_ones_that_the_command_takes() {
    let mut lines = Vec::new();
    for paper in PAPERS {
        let text = repository::read(paper);
        lines.extend(text.lines().filter_map(|it| it.strip_prefix("    ")).map(str::to_owned));
    }
    for page in PAGES {
        let shown = displays(&repository::read(page)).concat();
        lines.extend(shown.lines().map(str::to_owned));
    }
    for kind in ["service", "conf"] {
        for unit in repository::files("packaging/systemd", kind) {
            let text = std::fs::read_to_string(&unit).unwrap_or_default();
            lines.extend(text.lines().filter(|it| it.starts_with("Exec")).map(str::to_owned));
        }
    }
    let mut seen = 0;
    for line in lines {
        let line = line.split(['|', '#', '>', ';', '&']).next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_ours = |word: &&str| {
            let program =
                word.trim_start_matches("ExecStart=").trim_start_matches("ExecStopPost=-");
            ["cgsandbox", "/usr/bin/cgsandbox"].contains(&program)
        };
        let Some(at) = words.iter().position(is_ours) else { continue };
        // As an argument of something else it is a name: apt install cgsandbox.
        let is_run = at == 0 || words[at].starts_with('/') || words[at - 1] == "sudo";
        if is_run {
            let parsed = grammar().try_get_matches_from(&words[at..]);
            assert!(
                parsed.is_ok(),
                "{line}: {}",
                parsed.err().map_or_else(String::new, |it| it.to_string())
            );
            seen += 1;
        }
    }
    assert!(seen >= 8, "only {seen}");
}

#[test]
fn targets_of_make_that_are_named_are_there() {
    let makefile = repository::read("Makefile");
    for paper in PAPERS {
        let text = repository::read(paper);
        for before in ["`make ", "    make "] {
            for rest in text.split(before).skip(1) {
                let word = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next();
                let target = format!("\n{}:", word.unwrap_or_default());
                assert!(target == "\n:" || makefile.contains(&target), "{paper}: make{target}");
            }
        }
    }
}

/// The same programs, whoever runs the tests of logins: we, or Debian's autopkgtest.
#[test]
fn autopkgtest_has_what_the_tests_of_logins_run() {
    let ours = repository::read("tests/deps");
    let ours = ours.split("# What the tests of logins run").nth(1).expect("the list");
    let ours = between(ours, "\"$packages ", "\"").next().expect("a list of packages");
    let debians = repository::read("packaging/deb/tests/control");
    let debians = debians.split("Tests: e2e").nth(1).expect("the test");
    let debians: BTreeSet<&str> = debians.split([' ', ',', '\n']).collect();
    let missing: Vec<&str> =
        ours.split_whitespace().filter(|package| !debians.contains(package)).collect();
    assert!(missing.is_empty() && ours.split_whitespace().count() >= 15, "{missing:?}");
}
