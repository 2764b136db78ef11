#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::config::{self, SourceText};

fn policy(text: &str) -> Policy {
    let text = format!("version = 1\n{text}");
    let text = SourceText { path: "test.toml".into(), text: text.into(), drop_in: false };
    config::parse(&[text]).unwrap()
}

/// One rule per pattern, each leading to a profile that is named after its place.
fn rules(matches: &[&str]) -> Policy {
    let rule = |(at, matches): (usize, &&str)| {
        format!("[profile.p{at}]\n[[rule]]\nmatch = {matches}\nprofile = \"p{at}\"\n")
    };
    policy(&matches.iter().enumerate().map(rule).collect::<String>())
}

/// What NSS has of the groups that these tests name.
fn directory() -> BTreeMap<String, Option<u32>> {
    let known = [("users", 100), ("staff", 50), ("crew", 50), ("100", 100), ("50", 50)];
    let known = known.into_iter().chain([("4242", 4242), ("51", 51), ("alice", 77)]);
    known.map(|(name, gid)| (name.to_owned(), Some(gid))).chain([("gone".into(), None)]).collect()
}

/// uid 1001, primary group 100 "users", also 50 "staff" and the nameless 4242.
fn alice() -> Subject {
    Subject {
        name: "alice".into(),
        canonical: None,
        uid: 1001,
        gid: 100,
        home: "/home/alice".into(),
        groups: Some(Groups { ids: vec![100, 50, 4242], mentioned: directory() }),
        uid_is_a_name: false,
    }
}

/// The place of the rule that wins for `subject`.
fn winner(matches: &[&str], subject: &Subject) -> Option<usize> {
    match rules(matches).choose(subject, "sshd") {
        Ok(confined) => Some(confined.chain[0][1..].parse().unwrap()),
        Err(Unconfined::NoRule) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn patterns_fit_whom_they_describe_and_nobody_else() {
    for (pattern, fits) in [
        ("*", true),
        ("alice", true),
        ("1001", true),
        ("Alice", false),
        ("alic", false),
        ("1002", false),
        ("1000:1999", true),
        ("1001:1001", true),
        ("1001:", true),
        (":1001", true),
        ("0:1000", false),
        ("1002:", false),
        ("@staff", true),
        ("@users", true),
        ("@50", true),
        ("@100", true),
        ("@4242", true),
        // A second name of the same group, and one that is of no group.
        ("@crew", true),
        ("@gone", false),
        ("@Staff", false),
        ("@wheel", false),
        ("@51", false),
        ("@alice", false),
        ("al*", true),
        ("*ice", true),
        ("a*c*", true),
        ("?????", true),
        ("????", false),
        ("al?ce", true),
        ("[a-c]lice", true),
        ("[!b]lice", true),
        ("[!a]lice", false),
        ("[^a]lice", false),
        ("[b-z]lice", false),
        ("[]a]lice", true),
        ("[a-]lice", true),
        ("a[l][i]ce", true),
        ("*b*", false),
        ("alice?", false),
        ("alice*", true),
        ("a**e", true),
    ] {
        let expected = fits.then_some(0);
        assert_eq!(winner(&[&format!("\"{pattern}\"")], &alice()), expected, "{pattern}");
    }
}

#[test]
fn a_number_is_the_user_of_that_name_before_the_uid() {
    assert_eq!(winner(&["\"*\"", "\"1001\""], &alice()), Some(1));
    let shadowed = Subject { uid_is_a_name: true, ..alice() };
    assert_eq!(winner(&["\"*\"", "\"1001\""], &shadowed), Some(0));
    assert_eq!(winner(&["\"*\"", "\"1001:1001\""], &shadowed), Some(1));
    let named = Subject { name: "1001".into(), uid: 5000, ..alice() };
    assert_eq!(winner(&["\"*\"", "\"1001\""], &named), Some(1));
    let given = policy("[loopback_addresses]\n1001 = \"127.64.0.9\"");
    let is_given = |subject: &Subject| given.given_address(subject).is_some();
    assert!(is_given(&alice()) && is_given(&named) && !is_given(&shadowed));
}

#[test]
fn names_of_all_kinds_are_matched() {
    for name in ["DOM\\alice", "dom/alice", "alice@dom.example", "first last", "žofie", "a.b-c$"] {
        let subject = Subject { name: name.into(), ..alice() };
        assert_eq!(winner(&[&format!("'{name}'")], &subject), Some(0), "{name}");
        let half: String = name.chars().take(4).collect();
        assert_eq!(winner(&[&format!("'{half}*'")], &subject), Some(0), "{name}");
    }
}

#[test]
fn a_glob_takes_no_more_than_square_time() {
    let glob = format!("\"{}b\"", "a*".repeat(100));
    let subject = Subject { name: "a".repeat(255), ..alice() };
    let started = std::time::Instant::now();
    assert_eq!(winner(&[&glob], &subject), None);
    assert!(started.elapsed() < std::time::Duration::from_millis(500));
}

#[test]
fn the_most_specific_rule_wins_wherever_it_stands() {
    let by_rank = ["\"*\"", "\"@staff\"", "\"al*\"", "\"1000:1999\"", "\"alice\""];
    for (low, weaker) in by_rank.iter().enumerate() {
        for stronger in &by_rank[low + 1..] {
            assert_eq!(winner(&[weaker, stronger], &alice()), Some(1), "{weaker} {stronger}");
            assert_eq!(winner(&[stronger, weaker], &alice()), Some(0), "{stronger} {weaker}");
        }
        assert_eq!(winner(&[weaker, weaker], &alice()), Some(1), "{weaker} twice");
    }
    assert_eq!(winner(&by_rank, &alice()), Some(4));
    assert_eq!(winner(&["\"alice\"", "\"1001\""], &alice()), Some(1), "a uid is a user");
    assert_eq!(winner(&["\"1001\"", "\"1001:1001\""], &alice()), Some(0));
    assert_eq!(winner(&[], &alice()), None);
}

#[test]
fn a_list_counts_by_its_most_specific_entry_and_leaves_out_whom_it_negates() {
    assert_eq!(winner(&["[\"*\", \"alice\"]", "\"@staff\""], &alice()), Some(0));
    assert_eq!(winner(&["[\"*\", \"bob\"]", "\"@staff\""], &alice()), Some(1));
    assert_eq!(winner(&["[\"*\", \"!alice\"]"], &alice()), None);
    assert_eq!(winner(&["[\"alice\", \"!@staff\"]"], &alice()), None);
    assert_eq!(winner(&["[\"!1000:1999\", \"alice\"]"], &alice()), None);
    assert_eq!(winner(&["[\"!al*\", \"*\"]"], &alice()), None);
    assert_eq!(winner(&["[\"*\", \"!bob\"]"], &alice()), Some(0));
    assert_eq!(winner(&["[]"], &alice()), None);
}

#[test]
fn either_name_of_a_uid_counts() {
    let subject = Subject { name: "alias".into(), canonical: Some("alice".into()), ..alice() };
    assert_eq!(winner(&["\"alice\""], &subject), Some(0));
    assert_eq!(winner(&["\"alias\""], &subject), Some(0));
    assert_eq!(winner(&["[\"*\", \"!alice\"]"], &subject), None);
    assert_eq!(winner(&["\"ali*e\""], &subject), Some(0));
}

#[test]
fn hostile_names_are_only_names() {
    for name in ["../../x", "a\nb", "", "*", "@staff", "1002", &"x".repeat(255)] {
        let subject = Subject { name: name.into(), ..alice() };
        assert_eq!(winner(&["\"bob\"", "\"*\""], &subject), Some(1), "{name:?}");
    }
    // A name of digits is no other user's uid.
    let subject = Subject { name: "1002".into(), ..alice() };
    assert_eq!(winner(&["\"1001\""], &subject), Some(0));
}

#[test]
fn groups_are_asked_for_only_where_they_matter() {
    let none = rules(&["\"alice\"", "\"1000:\"", "\"a*\"", "\"*\""]);
    assert!(none.mentioned().groups.is_empty() && none.mentioned().uids.is_empty());
    let twice = rules(&["\"@staff\"", "[\"*\", \"!@staff\"]", "\"1001\""]);
    assert_eq!(Vec::from_iter(twice.mentioned().groups), ["staff"]);
    assert_eq!(Vec::from_iter(twice.mentioned().uids), [1001]);
    assert_eq!(Vec::from_iter(policy("exempt = \"@wheel\"").mentioned().groups), ["wheel"]);
    let peers = policy("[profile.p]\nloopback_peers = [\"@ops\", \"!@dev\"]");
    assert_eq!(Vec::from_iter(peers.mentioned().groups), ["dev", "ops"]);
    let unknown = Subject { groups: None, ..alice() };
    assert_eq!(winner(&["\"@staff\"", "\"@users\""], &unknown), None);
    assert_eq!(winner(&["\"@100\""], &unknown), Some(0), "the primary group is known by id");
}

#[test]
fn who_is_left_alone_and_why() {
    let policy = policy(
        "exempt = [\"@staff\", \"!bob\"]\nservices = [\"sshd\", \"cron\"]\n\
         [profile.p]\n[[rule]]\nmatch = \"carol\"\nprofile = \"p\"",
    );
    let unconfined = |subject: &Subject, service: &str| match policy.choose(subject, service) {
        Err(why) => why,
        other => panic!("{other:?}"),
    };
    let root = Subject { uid: 0, ..alice() };
    assert_eq!(unconfined(&root, "sshd"), Unconfined::Root);
    assert_eq!(unconfined(&root, "login"), Unconfined::Root);
    assert!(matches!(unconfined(&alice(), "login"), Unconfined::Service { .. }));
    match unconfined(&alice(), "cron") {
        Unconfined::Exempt(by) => {
            assert_eq!((by.to_string(), by.origin.line), ("@staff".into(), 2))
        }
        other => panic!("{other:?}"),
    }
    // Bob is of the staff as well, but not exempt; and no rule is for him.
    let bob = Subject { name: "bob".into(), ..alice() };
    assert_eq!(unconfined(&bob, "sshd"), Unconfined::NoRule);
    let carol = Subject { name: "carol".into(), groups: Some(Groups::default()), ..alice() };
    assert!(policy.choose(&carol, "sshd").is_ok());
}

#[test]
fn losers_are_told_with_the_reason() {
    let policy =
        rules(&["\"*\"", "\"bob\"", "[\"*\", \"!@staff\"]", "\"alice\"", "\"1001\"", "\"@staff\""]);
    let Ok(confined) = policy.choose(&alice(), "sshd") else { panic!() };
    assert_eq!(confined.rule.matches.to_string(), "1001");
    assert_eq!(confined.pattern.to_string(), "1001");
    assert_eq!(confined.pattern.specificity(), Specificity::User);
    let told: Vec<(String, String)> = confined
        .lost
        .iter()
        .map(|(rule, loss)| {
            let loss = match loss {
                Loss::NoMatch => "no match".to_owned(),
                Loss::Excluded(by) => format!("excluded by {}", by.value),
                Loss::LessSpecific(by) => format!("less specific: {}", by.specificity()),
                Loss::Earlier => "earlier".to_owned(),
            };
            (rule.matches.to_string(), loss)
        })
        .collect();
    let expected = [
        ("*", "less specific: everyone"),
        ("bob", "no match"),
        ("*, !@staff", "excluded by !@staff"),
        ("alice", "earlier"),
        ("@staff", "less specific: group"),
    ];
    assert_eq!(told, expected.map(|(rule, loss)| (rule.to_owned(), loss.to_owned())));
}

#[test]
fn a_profile_is_inherited_key_by_key_with_each_value_s_line() {
    let policy = policy(
        "[profile.base]\nmemory_max = \"1G\"\ntasks_max = 100\nallowed_cpus = \"0\"\n\
         limits = { core = \"0\", nofile = 1024 }\n\
         [profile.mid]\ninherits = \"base\"\ntasks_max = 200\n\
         [profile.top]\ninherits = \"mid\"\nlimits.nofile = 2048\nallowed_cpus = \"all\"\n\
         [[rule]]\nmatch = \"*\"\nprofile = \"top\"",
    );
    let Ok(confined) = policy.choose(&alice(), "sshd") else { panic!() };
    assert_eq!(confined.chain, ["top", "mid", "base"]);
    let settings: Vec<String> = confined
        .profile
        .settings()
        .iter()
        .map(|setting| format!("{}={} @{}", setting.directive, setting.value, setting.origin.line))
        .collect();
    assert_eq!(
        settings,
        ["memory_max=1G @3", "tasks_max=200 @9", "limits.core=0 @6", "limits.nofile=2048 @12"]
    );
}
