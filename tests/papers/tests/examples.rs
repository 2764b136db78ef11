//! Every policy that is shown to administrators is one that they can use as it stands.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use cgsandbox::config;
use cgsandbox_papers::manual::{PAGES, displays};
use cgsandbox_papers::repository;

/// Whether this is a policy, or a part of one.
fn is_policy(block: &str) -> bool {
    block.lines().any(|line| line.starts_with("[profile.") || line.starts_with("[[rule]]"))
}

/// The blocks of a Markdown file that are indented as code.
fn indented(text: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in text.lines() {
        match (line.strip_prefix("    "), blocks.last_mut()) {
            (Some(code), Some(block)) => *block += &format!("{code}\n"),
            (None, Some(block)) if line.is_empty() && !block.is_empty() => block.push('\n'),
            _ => blocks.push(String::new()),
        }
    }
    blocks
}

/// What `cgsandbox check` does: a whole policy by itself, a part as a drop-in of what ships.
fn check(what: &str, text: &str) {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(what.replace(['/', ' '], "-"));
    let drop_ins = directory.join("cgsandbox.toml.d");
    std::fs::create_dir_all(&drop_ins).unwrap();
    let (main, drop_in): (PathBuf, _) =
        (directory.join("cgsandbox.toml"), drop_ins.join("50-local.toml"));
    if text.lines().any(|line| line.starts_with("version")) {
        std::fs::write(&main, text).unwrap();
        let _ = std::fs::remove_file(&drop_in);
    } else {
        std::fs::write(&main, repository::read("config/cgsandbox.toml")).unwrap();
        std::fs::write(&drop_in, text).unwrap();
    }
    let said = |problems: &[config::Problem], texts: &[config::SourceText]| {
        problems.iter().map(|problem| problem.render(texts, false)).collect::<String>()
    };
    let read = config::read_draft(&main);
    let (texts, _) = read.unwrap_or_else(|errors| panic!("{what}: {errors}"));
    let policy = config::parse(&texts);
    let policy = policy
        .unwrap_or_else(|errors| panic!("{what}: {}", said(errors.problems(), errors.texts())));
    // Its users and groups are the reader's.
    let warnings = config::lint(&policy, &texts, |_| true);
    assert!(warnings.is_empty(), "{what}: {}", said(&warnings, &texts));
}

#[test]
fn policies_in_the_readme_are_correct() {
    let blocks = indented(&repository::read("README.md"));
    let policies: Vec<&String> = blocks.iter().filter(|block| is_policy(block)).collect();
    assert!(!policies.is_empty());
    for (at, policy) in policies.into_iter().enumerate() {
        check(&format!("README.md {at}"), policy);
    }
}

#[test]
fn policies_in_the_manual_are_correct() {
    let mut checked = 0;
    for page in PAGES {
        for policy in displays(&repository::read(page)).iter().filter(|block| is_policy(block)) {
            check(&format!("{page} {checked}"), policy);
            checked += 1;
        }
    }
    assert!(checked >= 2, "only {checked}");
}

#[test]
fn examples_that_ship_are_correct_drop_ins() {
    let examples = repository::files("config/examples", "toml");
    assert!(examples.len() >= 3);
    for path in examples {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        check(&name, &std::fs::read_to_string(&path).unwrap());
    }
}
