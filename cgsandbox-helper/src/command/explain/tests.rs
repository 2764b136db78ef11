//! What `explain` says is what a login comes to: for policies, users, services and hosts that
//! nobody thought of. Both get the same facts, and neither knows of the other.
#![allow(clippy::unwrap_used, clippy::panic)]

mod world;

use std::collections::BTreeMap;

use cgsandbox_protocol::Login;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json as value};

use super::{json, text};
use crate::cgroup::Attribute;
use crate::decision::scene::{Scene, broken, loaded};
use crate::decision::{Attempt, Decision, Loaded, Met, decide};
use crate::explain::{Configuration, Explanation};
use crate::pam_stack::{Control, Line};
use crate::plan::{Denial, Enforcement, Plan, is_login};
use crate::policy::{Match, Subject, Verdict};
use world::{Directory, World, world};

/// What becomes of a login, as far as explain tells it.
#[derive(Debug, PartialEq)]
struct Said {
    login: &'static str,
    enforced: String,
    /// Why it is refused or let in without a sandbox.
    why: Option<String>,
    missing: Vec<(String, String)>,
    /// As in the log.
    missing_names: Option<String>,
    /// What is written where, with whose line.
    files: Vec<Value>,
    rlimits: Value,
    hidepid: Option<String>,
    loopback: Option<String>,
    profile: Option<String>,
}

impl World {
    fn loaded(&self) -> Loaded {
        match loaded(&self.policy) {
            Loaded::Policy(policy) if self.is_salvage => {
                Loaded::Salvage { exempt: policy.exempt.clone(), on_error: policy.on_error }
            }
            loaded => loaded,
        }
    }

    fn scene(&self, foresees: bool) -> Scene {
        let mut scene = Scene { foresees, ..Scene::of(self.user.clone()) };
        if self.directory != Directory::Answers {
            scene.user = Err(broken());
        }
        if self.directory == Directory::NotAtAll {
            scene.alone = Err(broken());
        }
        scene.host = self.host.clone().ok_or_else(broken);
        scene
    }

    fn attempt(&self) -> Attempt<'_> {
        Attempt { user: &self.user.name, service: self.service, rhost: "" }
    }

    /// What `open` does, its effects left out: the host shows what it has when the cgroup above all
    /// users' is made, and the rest when the plan is put into effect.
    fn opened(&self) -> Said {
        let decision = decide(&self.attempt(), &self.loaded(), &mut self.scene(false));
        let mut plan = match decision {
            Decision::Sandbox(plan) => *plan,
            Decision::Unconfined(_) => return Said::without("unconfined", None),
            Decision::Failed { error, on_error } => {
                let login = if on_error == Login::Allow { "let in" } else { "refused" };
                return Said::without(login, Some(error.to_string()));
            }
            other => panic!("{other:?}"),
        };
        self.host.as_ref().unwrap().make(&mut plan.host);
        let Plan { sandbox, host, .. } = plan.redrawn();
        if is_login(self.service) {
            let too_many = sandbox.refuses_another(self.logins);
            let denial = too_many.or_else(|| self.full.clone().map(Denial::TasksFull));
            if let Some(denial) = denial {
                return Said::without("refused", Some(denial.to_string()));
            }
        }
        let mut missing = sandbox.missing.clone();
        missing.extend(self.missing.clone());
        if let Some(denial) = sandbox.refuses_without(&missing) {
            return Said::without("refused", Some(denial.to_string()));
        }
        let enforcement = Enforcement::without(missing.clone());
        let uid = sandbox.subject.uid;
        let in_user = |it: &Attribute| {
            let hierarchy = host.tree.carrier(it.controller).unwrap();
            Some(host.tree.user_in(hierarchy, uid).join(it.file))
        };
        let written = |it: &Attribute, place: Value| {
            let value = it.value.trim_end();
            value!([place, it.disk.map(|disk| disk.to_string()), value, it.origin.as_ref()?.line])
                .into()
        };
        let of_user = sandbox.attributes.iter().filter_map(|it| written(it, value!(in_user(it))));
        let of_session = sandbox.session_attributes.iter();
        let of_session = of_session.filter_map(|it| written(it, value!(it.file)));
        let rlimits = sandbox.rlimits.iter();
        let rlimits = rlimits.map(|(name, soft, hard)| value!([name.name(), soft, hard]));
        Said {
            login: "sandbox",
            enforced: enforcement.word().to_owned(),
            why: None,
            missing_names: enforcement.missing(),
            missing: missing.into_iter().map(|it| (it.directive.to_owned(), it.why)).collect(),
            files: of_user.chain(of_session).collect(),
            rlimits: rlimits.collect(),
            hidepid: Some(sandbox.hidepid.to_string()),
            loopback: sandbox.loopback.map(|loopback| loopback.address.v4.to_string()),
            profile: Some(sandbox.confined.rule.profile.value.clone()),
        }
    }

    /// What `explain` says, to programs and to people.
    fn explained(&self) -> Said {
        let decision = decide(&self.attempt(), &self.loaded(), &mut self.scene(true));
        let line = Line {
            file: "/etc/pam.d/sshd".into(),
            number: 1,
            kind: "session".to_owned(),
            control: Control::parse("required"),
            module: "pam_cgsandbox.so".to_owned(),
            arguments: Vec::new(),
            depth: 0,
        };
        let (subject, current) = (self.user.clone(), Configuration::Current);
        let mut told = Explanation::new(subject, self.service, Some(line), current, decision);
        told.foresee(|_| {
            let (logins, full, missing) =
                (Some(self.logins), self.full.clone(), self.missing.clone());
            Ok((Met { logins, full, missing }, Vec::new()))
        });
        let (json, text) = (json::of(&told), text::of(&told));
        let headline = text.lines().next().unwrap();
        let login = headline_of(headline);
        assert_eq!(json["login"], login, "{text}");
        let why = json["why"].as_str().filter(|_| login != "unconfined").map(str::to_owned);
        if login != "sandbox" {
            let in_one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(why.iter().all(|why| in_one_line.contains(why)), "{why:?}: {text}");
            return Said::without(login, why);
        }
        let sandbox = &json["sandbox"];
        let text_of = |value: &Value| value.as_str().map(str::to_owned);
        let missing = sandbox["missing"].as_array().unwrap().iter();
        let missing = missing.map(|it| (text_of(&it["directive"]), text_of(&it["why"])));
        let file = |it: &Value| {
            let line = it["origin"].as_str()?.rsplit_once(':')?.1.parse::<usize>().ok()?;
            Some(value!([it["file"], it["disk"], it["value"], line]))
        };
        let files = |list: &str| sandbox[list].as_array().unwrap().clone();
        let all = [files("cgroup_files"), files("session_cgroup_files")].concat();
        let rlimits = sandbox["rlimits"].as_array().unwrap().iter();
        let rlimits = rlimits.map(|it| value!([it["name"], it["soft"], it["hard"]]));
        Said {
            login,
            enforced: json["enforced"].as_str().unwrap().to_owned(),
            why,
            missing: missing.map(|(name, why)| (name.unwrap(), why.unwrap())).collect(),
            missing_names: names_in(&text),
            files: all.iter().filter_map(file).collect(),
            rlimits: rlimits.collect(),
            hidepid: text_of(&sandbox["hidepid"]),
            loopback: text_of(&sandbox["loopback"]["ipv4"]),
            profile: text_of(&sandbox["profile"]),
        }
    }
}

impl Said {
    fn without(login: &'static str, why: Option<String>) -> Self {
        Said {
            login,
            enforced: "none".to_owned(),
            why,
            missing: Vec::new(),
            missing_names: None,
            files: Vec::new(),
            rlimits: Value::Null,
            hidepid: None,
            loopback: None,
            profile: None,
        }
    }
}

fn headline_of(line: &str) -> &'static str {
    let endings = [
        (": no sandbox", "unconfined"),
        ("a sandbox, enforced in full", "sandbox"),
        ("a sandbox, enforced in part", "sandbox"),
        ("the login is refused", "refused"),
        ("let in without a sandbox", "let in"),
    ];
    let found =
        endings.iter().find(|(ending, _)| line.trim_end_matches("\x1b[0m").ends_with(ending));
    found.unwrap_or_else(|| panic!("{line:?}")).1
}

/// The names after `missing=` in a text for people.
fn names_in(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.iter().find_map(|word| word.strip_prefix("missing=")).map(str::to_owned)
}

/// Runs `property` for many worlds, the same ones each time. How often each of the outcomes that it
/// returns came up.
fn for_all(property: impl Fn(&World) -> String) -> BTreeMap<String, usize> {
    let config = Config { cases: 2000, failure_persistence: None, ..Config::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let outcomes = std::cell::RefCell::new(BTreeMap::new());
    let run = TestRunner::new_with_rng(config, random).run(&world(), |world| {
        *outcomes.borrow_mut().entry(property(&world)).or_default() += 1;
        Ok(())
    });
    run.unwrap_or_else(|failure| panic!("{failure}"));
    outcomes.into_inner()
}

#[test]
fn explain_says_what_a_login_comes_to() {
    let outcomes = for_all(|world| {
        let (opened, explained) = (world.opened(), world.explained());
        assert_eq!(explained, opened);
        format!("{}, {}", opened.login, opened.enforced)
    });
    // All of them were seen, and often enough.
    let all = ["let in, none", "refused, none", "sandbox, full", "sandbox, partial"];
    for outcome in all.into_iter().chain(["unconfined, none"]) {
        assert!(outcomes.get(outcome).is_some_and(|seen| *seen >= 20), "{outcomes:?}");
    }
}

/// The promises about who gets in, said a second time and in other words.
#[test]
fn who_gets_in_and_how_is_as_promised() {
    let outcomes = for_all(|world| {
        let Loaded::Policy(policy) = loaded(&world.policy) else { panic!() };
        let fits = |list: &Match, user: &Subject| matches!(list.judge(user), Verdict::Matched(_));
        let alone = Subject { groups: None, ..world.user.clone() };
        let knows_no_group = !policy.exempt.0.iter().any(|pattern| pattern.negated);
        let is_exempt = match world.directory {
            Directory::Answers => fits(&policy.exempt, &world.user),
            Directory::NotForGroups => knows_no_group && fits(&policy.exempt, &alone),
            Directory::NotAtAll => false,
        };
        let has_rule = policy.rules.iter().any(|rule| fits(&rule.matches, &world.user));
        let is_ours = world.is_salvage || policy.services.iter().any(|it| it == world.service);
        let cannot = if policy.on_error == Login::Allow { "let in" } else { "refused" };
        let expected = match (is_ours, is_exempt, world.directory, has_rule) {
            (false, ..) | (_, true, ..) => "unconfined",
            (_, _, Directory::NotForGroups | Directory::NotAtAll, _) => cannot,
            _ if world.is_salvage => cannot,
            (.., false) => "unconfined",
            _ if world.host.is_none() => cannot,
            _ => "sandbox or refused by its rules",
        };
        let opened = world.opened();
        match expected {
            "sandbox or refused by its rules" => {
                assert!(["sandbox", "refused"].contains(&opened.login), "{opened:?}");
            }
            expected => assert_eq!(opened.login, expected),
        }
        expected.to_owned()
    });
    assert!(outcomes.len() == 4 && outcomes.values().all(|seen| *seen >= 20), "{outcomes:?}");
}
