//! What holds for every row of the table: a new row is tested by being there.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use super::*;
use crate::config::{self, ConfigErrors, SourceText, did_you_mean};
use crate::policy::Policy;

fn parsed(files: &[&str]) -> Result<Policy, ConfigErrors> {
    let file = |(at, text): (usize, &&str)| SourceText {
        path: format!("{at}.toml").into(),
        text: (*text).into(),
        drop_in: at > 0,
    };
    config::parse(&files.iter().enumerate().map(file).collect::<Vec<_>>())
}

/// What the profile says: directive, value, and where it is written.
#[track_caller]
fn settings(files: &[&str], profile: &str) -> Vec<(&'static str, String, String)> {
    let policy = parsed(files).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    let settings = policy.profiles[profile].profile.settings().into_iter();
    settings.map(|it| (it.directive, it.value, it.origin.to_string())).collect()
}

/// The same without where.
fn values(settings: &[(&'static str, String, String)]) -> Vec<(&'static str, String)> {
    settings.iter().map(|(directive, value, _)| (*directive, value.clone())).collect()
}

/// A file with a profile `p` that has the first example, in line 3, and one `other` that has the
/// second, in line 5.
fn examples(directive: &Directive) -> String {
    let Directive { name, examples: [first, second], .. } = directive;
    format!("version = 1\n[profile.p]\n{name} = {first}\n[profile.other]\n{name} = {second}\n")
}

#[test]
fn each_is_read_into_its_own_field_and_listed_with_its_line() {
    for directive in DIRECTIVES {
        let text = examples(directive);
        let (first, second) = (settings(&[&text], "p"), settings(&[&text], "other"));
        for (settings, line) in [(&first, "0.toml:3"), (&second, "0.toml:5")] {
            let [(name, value, origin)] = settings.as_slice() else { panic!("{settings:?}") };
            let is_it = *name == directive.name
                || name.strip_prefix(directive.name).is_some_and(|rest| rest.starts_with('.'));
            assert!(is_it && !value.is_empty(), "{}: {name} = {value:?}", directive.name);
            assert_eq!(origin, line, "{}", directive.name);
        }
        assert_ne!(values(&first), values(&second), "{}: two examples", directive.name);
    }
}

#[test]
fn each_is_inherited_and_overridden() {
    for directive in DIRECTIVES {
        let Directive { name, examples: [_, second], .. } = directive;
        let text = examples(directive);
        let (parent, other) = (settings(&[&text], "p"), settings(&[&text], "other"));
        let silent = format!("{text}[profile.child]\ninherits = \"p\"\n");
        assert_eq!(settings(&[&silent], "child"), parent, "{name} is inherited");
        let child = settings(&[&format!("{silent}{name} = {second}\n")], "child");
        assert_eq!(values(&child), values(&other), "{name} is the child's own");
        assert_eq!(child[0].2, "0.toml:8", "{name}");
        let grandchild = format!("{silent}[profile.grandchild]\ninherits = \"child\"\n");
        assert_eq!(settings(&[&grandchild], "grandchild"), parent, "{name}, from further up");
    }
}

#[test]
fn each_is_kept_or_overridden_by_a_drop_in() {
    for directive in DIRECTIVES {
        let Directive { name, examples: [_, second], .. } = directive;
        let text = examples(directive);
        let (main, other) = (settings(&[&text], "p"), settings(&[&text], "other"));
        assert_eq!(settings(&[&text, "[profile.p]\n"], "p"), main, "{name} is kept");
        let later = settings(&[&text, &format!("[profile.p]\n{name} = {second}\n")], "p");
        assert_eq!(values(&later), values(&other), "{name} is overridden");
        assert_eq!(later[0].2, "1.toml:2", "{name}");
    }
}

/// All rows together: none writes into another's field, or hides it.
#[test]
fn all_are_listed_in_the_order_of_the_table() {
    let lines: Vec<String> =
        DIRECTIVES.iter().map(|row| format!("{} = {}\n", row.name, row.examples[0])).collect();
    let text = format!("version = 1\n[profile.p]\n{}", lines.concat());
    let listed: Vec<&str> = settings(&[&text], "p").into_iter().map(|(name, ..)| name).collect();
    let of_rows: Vec<&str> =
        listed.iter().map(|name| name.split('.').next().unwrap_or_default()).collect();
    assert_eq!(of_rows, DIRECTIVES.iter().map(|row| row.name).collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_meant_is_refused_where_it_stands() {
    for Directive { name, .. } in DIRECTIVES {
        let errors = parsed(&[&format!("version = 1\n[profile.p]\n{name} = 1979-05-27\n")]);
        let errors = errors.unwrap_err();
        let [problem] = errors.problems() else { panic!("{name}: {errors}") };
        assert!(!problem.message.contains("unknown key"), "{name}: {problem}");
        assert_eq!(problem.origin.as_ref().unwrap().line, 3, "{name}: {problem}");
    }
}

#[test]
fn a_mistyped_name_is_told_the_right_one() {
    for Directive { name, .. } in DIRECTIVES {
        let mistyped = format!("{name}x");
        assert_eq!(did_you_mean(&mistyped, KEYS), Some(*name));
        let errors = parsed(&[&format!("version = 1\n[profile.p]\n{mistyped} = 1\n")]).unwrap_err();
        let help = errors.problems()[0].help.as_deref().unwrap();
        assert_eq!(help, format!("did you mean {name}?"));
    }
}

#[test]
fn what_stands_outside_of_a_profile_is_sent_into_one() {
    for directive in DIRECTIVES {
        let Directive { name, examples: [example, _], .. } = directive;
        for text in [
            format!("version = 1\n{name} = {example}\n"),
            format!(
                "version = 1\n[profile.p]\n[[rule]]\nmatch = \"*\"\nprofile = \"p\"\n{name} = {example}\n"
            ),
        ] {
            let errors = parsed(&[&text]).unwrap_err();
            let [problem] = errors.problems() else { panic!("{name}: {errors}") };
            let help = problem.help.as_deref().unwrap();
            assert!(help.contains("belongs into a [profile.NAME]"), "{name}: {help}");
        }
    }
}

/// A default can be written, and is then what it was without.
#[test]
fn defaults_are_values_of_their_directives() {
    let mut seen = 0;
    for directive in DIRECTIVES {
        let Some(default) = directive.default else { continue };
        let default = default();
        let written = match default.as_str() {
            "true" | "false" => default.clone(),
            word => format!("\"{word}\""),
        };
        let text = format!("version = 1\n[profile.p]\n{} = {written}\n", directive.name);
        assert_eq!(values(&settings(&[&text], "p")), [(directive.name, default)]);
        seen += 1;
    }
    assert!(seen >= 4, "{seen}");
}

#[test]
fn a_session_has_what_its_users_directive_names_as_its_twin() {
    for directive in DIRECTIVES {
        let Some(twin) = directive.session else { continue };
        let twin = Directive::named(twin).unwrap_or_else(|| panic!("no {twin}"));
        assert_eq!(twin.name, format!("session_{}", directive.name));
        let text = examples(twin);
        let profile = parsed(&[&text]).unwrap().profiles["p"].profile.of_session();
        let of_user = settings(&[&text.replace(twin.name, directive.name)], "p");
        assert_eq!(values(&of_user), [(directive.name, profile.settings()[0].value.clone())]);
        assert_eq!(profile.settings().len(), 1);
    }
    let twins: BTreeSet<&str> = DIRECTIVES.iter().filter_map(|row| row.session).collect();
    let named = DIRECTIVES.iter().map(|row| row.name).filter(|it| it.starts_with("session_"));
    assert_eq!(twins, named.collect());
}

#[test]
fn each_has_a_name_of_its_own_and_one_line_of_help() {
    let names: BTreeSet<&str> = DIRECTIVES.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), DIRECTIVES.len());
    for Directive { name, help, .. } in DIRECTIVES {
        assert!((10..=100).contains(&help.len()) && help.ends_with('.'), "{name}: {help:?}");
        assert!(!help.contains('\n') && help.trim() == *help, "{name}: {help:?}");
    }
}
