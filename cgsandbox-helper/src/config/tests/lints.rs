//! Configurations that can be used, but hardly mean what they say.

use super::*;
use crate::policy::Who;

const RULE: &str = "[profile.p]\n[[rule]]\nmatch = \"*\"\nprofile = \"p\"\n";

fn lints_of(texts: &[SourceText]) -> Vec<String> {
    let exists = |who: &Who| !matches!(who, Who::User(name) | Who::Group(name) if name == "nobody");
    let warnings = lint(&parse(texts).unwrap(), texts, exists);
    assert!(warnings.iter().all(|problem| problem.severity == Severity::Warning));
    warnings.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn warns(text: &str, expected: &[&str]) {
    let told = lints_of(&[main_file(text)]);
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.contains(expected), "{told} has no {expected}");
    }
}

#[test]
fn nothing_is_wrong_with_these() {
    warns(RULE, &[]);
    warns(&format!("exempt = [\"*\", \"!@customers\"]\n{RULE}"), &[]);
    warns(&format!("exempt = [\"@sudo\", \"@wheel\"]\n{RULE}"), &[]);
    let rules =
        "[[rule]]\nmatch = \"a\"\nprofile = \"p\"\n[[rule]]\nmatch = \"@a\"\nprofile = \"p\"";
    warns(&format!("{RULE}{rules}"), &[]);
}

#[test]
fn nobody_is_sandboxed() {
    warns("", &["no rule is for everyone"]);
    warns(&format!("services = []\n{RULE}"), &["services is empty"]);
    warns(&format!("exempt = \"*\"\n{RULE}"), &["everyone is exempt, so", "this rule is for is"]);
    let only_staff = RULE.replace('*', "@staff");
    warns(&only_staff, &["no rule is for everyone"]);
}

#[test]
fn profiles_no_rule_leads_to() {
    warns(
        &format!(
            "{RULE}[profile.used]\n[profile.a]\ninherits = \"b\"\n[profile.b]\n\
                  [[rule]]\nmatch = \"x\"\nprofile = \"q\"\n[profile.q]\ninherits = \"used\""
        ),
        &["main.toml:7:10: no rule leads to profile \"a\"", "profile \"b\""],
    );
}

#[test]
fn rules_that_never_win() {
    let rule = |matches: &str| format!("[[rule]]\nmatch = {matches}\nprofile = \"p\"\n");
    let with = |rules: &[&str]| {
        let rules: String = rules.iter().map(|matches| rule(matches)).collect();
        format!("{RULE}{rules}")
    };
    let never = "this rule never wins";
    warns(&with(&["\"a\"", "\"a\""]), &[never]);
    warns(&with(&["[\"a\", \"@b\"]", "\"a\"", "\"@b\""]), &[never]);
    warns(&with(&["[\"a\", \"!c\"]", "\"a\""]), &[never]);
    warns(&with(&["[\"a\", \"!c\"]", "[\"a\", \"!c\"]"]), &[never]);
    warns(&with(&["\"a\"", "[\"a\", \"!c\"]"]), &[]);
    warns(&with(&["[\"a\", \"b\"]", "\"a\""]), &[]);
    warns(&format!("exempt = \"a\"\n{}", with(&["\"a\""])), &["this rule is for is exempt"]);
    // A drop-in is there to override.
    assert_eq!(lints_of(&[main_file(RULE), drop_in("b", &rule("\"*\""))]), [""; 0]);
}

#[test]
fn names_that_are_nobody_s() {
    warns(
        &format!(
            "exempt = [\"@nobody\", \"nobody\", \"root\"]\n{}",
            RULE.replace("\"*\"", "[\"*\", \"!nobody\"]")
        ),
        &["no group \"nobody\"", "no user \"nobody\"", "root is never sandboxed"],
    );
}
