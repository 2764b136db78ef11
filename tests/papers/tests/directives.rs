//! Every row of the table of directives stands in the manual and in the file that ships.
#![allow(clippy::expect_used, clippy::panic)]

use cgsandbox::policy::{DIRECTIVES, Directive};
use cgsandbox_papers::manual::{CONFIGURATION, section};
use cgsandbox_papers::repository;

/// The text of the item that is headed by `name`, up to the next item.
fn item(name: &str) -> String {
    let profiles = section(CONFIGURATION, "PROFILES");
    let mut lines = profiles.lines().skip_while(|line| {
        let head = line.strip_prefix(".It Ic ").unwrap_or_default();
        !head.split(' ').any(|word| word == name)
    });
    lines.next().unwrap_or_else(|| panic!("cgsandbox.toml(5) has no {name}"));
    let ends = [".It ", ".El", ".Ss ", ".Sh "];
    let text = lines.take_while(|line| !ends.iter().any(|end| line.starts_with(end)));
    text.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_manual_describes_each() {
    let twins: Vec<&str> = DIRECTIVES.iter().filter_map(|row| row.session).collect();
    for Directive { name, .. } in DIRECTIVES {
        let text = item(name);
        // One sentence above them tells what all those of sessions are.
        assert_eq!(text.is_empty(), twins.contains(name), "{name}: {text}");
    }
    let of_sessions = section(CONFIGURATION, "Each login separately");
    assert!(of_sessions.contains("These directives mean the same as those without\n.Ql session_"));
}

#[test]
fn the_manual_has_them_in_the_order_of_the_table() {
    let profiles = section(CONFIGURATION, "PROFILES");
    let heads = profiles.lines().filter_map(|line| line.strip_prefix(".It Ic "));
    let described: Vec<&str> = heads
        .flat_map(|head| head.split(' '))
        .filter(|word| Directive::named(word).is_some())
        .collect();
    assert_eq!(described, DIRECTIVES.iter().map(|row| row.name).collect::<Vec<_>>());
}

#[test]
fn the_manual_names_the_default_of_each() {
    let mut seen = 0;
    for directive in DIRECTIVES {
        let Some(default) = directive.default else { continue };
        let default = match default().as_str() {
            word @ ("true" | "false") => word.to_owned(),
            word => format!("\\(dq{word}\\(dq"),
        };
        let text = item(directive.name);
        assert!(text.contains(&format!(".Li {default} ,\nthe default")), "{}", directive.name);
        seen += 1;
    }
    assert!(seen >= 4, "{seen}");
}

/// In force or commented out, below a comment in prose that tells what it is for.
#[test]
fn the_file_that_ships_shows_and_explains_each() {
    let shipped = repository::read("config/cgsandbox.toml");
    let paragraphs: Vec<Vec<&str>> =
        shipped.split("\n\n").map(|paragraph| paragraph.lines().collect()).collect();
    let names = DIRECTIVES.iter().map(|row| row.name).chain(["inherits"]);
    for name in names {
        let is_it = |line: &&str| {
            let line = line.trim_start_matches('#');
            line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        let place =
            paragraphs.iter().find_map(|lines| Some((lines, lines.iter().position(is_it)?)));
        let (lines, at) = place.unwrap_or_else(|| panic!("config/cgsandbox.toml has no {name}"));
        let explained = lines[..at].iter().any(|line| line.starts_with("# "));
        assert!(explained, "config/cgsandbox.toml does not say what {name} is for");
    }
}
