//! The order of the questions, and what it promises.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::scene::{Scene, broken, loaded};
use super::*;
use crate::cgroup::Controller;
use crate::host::Offer;
use crate::policy::Groups;

const POLICY: &str = "\
version = 1
on_error = \"allow\"
exempt = [\"@wheel\", \"bob\"]
services = [\"sshd\"]
[profile.p]
tasks_max = 50
max_logins = 2
[[rule]]
match = \"alice\"
profile = \"p\"
";

fn offer() -> Offer {
    Offer::of_everything()
}

fn scene(name: &str) -> Scene {
    let subject = Subject { name: name.to_owned(), uid: 1000, ..Subject::default() };
    let groups = Groups { mentioned: [("wheel".to_owned(), Some(10))].into(), ids: vec![100] };
    Scene::of(Subject { groups: Some(groups), ..subject })
}

impl Scene {
    /// What becomes of a login, and what was asked to find out.
    fn decide(mut self, loaded: &Loaded, service: &str, rhost: &str) -> (Decision, String) {
        let attempt = Attempt { user: "the one", service, rhost };
        let decision = decide(&attempt, loaded, &mut self);
        (decision, self.asked.join(" "))
    }
}

#[test]
fn a_service_that_is_not_ours_costs_no_look_up() {
    let (decision, asked) = scene("alice").decide(&loaded(POLICY), "cron", "");
    assert!(matches!(decision, Decision::Unconfined(Unconfined::Service { .. })), "{decision:?}");
    assert_eq!(asked, "");
}

#[test]
fn an_exempt_user_is_let_in_before_the_host_is_looked_at() {
    let host = Err(broken());
    let (decision, asked) =
        Scene { host, is_inside: true, ..scene("bob") }.decide(&loaded(POLICY), "sshd", "");
    assert!(matches!(decision, Decision::Unconfined(Unconfined::Exempt(_))), "{decision:?}");
    assert_eq!(asked, "user");
}

#[test]
fn without_groups_only_who_is_exempt_whatever_they_are_is_let_in() {
    let decide = |name, policy: &str| {
        let scene = Scene { user: Err(broken()), ..scene(name) };
        scene.decide(&loaded(policy), "sshd", "")
    };
    let (decision, asked) = decide("bob", POLICY);
    assert!(matches!(decision, Decision::Unconfined(Unconfined::Exempt(_))), "{decision:?}");
    assert_eq!(asked, "user alone");
    // By a group alice could be exempt, or bob be left out.
    let leaves_out = POLICY.replace("\"@wheel\"", "\"!@wheel\"");
    for (name, policy) in [("alice", POLICY), ("bob", &leaves_out)] {
        let (decision, asked) = decide(name, policy);
        let Decision::Failed { error, on_error: Login::Allow } = decision else { panic!() };
        assert_eq!((error, asked.as_str()), (broken(), "user alone"));
    }
}

#[test]
fn a_sandbox_takes_all_of_the_questions_in_their_order() {
    let (decision, asked) = scene("alice").decide(&loaded(POLICY), "sshd", "203.0.113.7");
    let Decision::Sandbox(plan) = decision else { panic!("{decision:?}") };
    assert_eq!(plan.sandbox.confined.chain, ["p"]);
    assert_eq!(plan.sandbox.missing, []);
    assert_eq!(asked, "user inside host nested disks");
}

#[test]
fn who_is_inside_stays_there_unless_it_came_from_elsewhere() {
    let inside = || Scene { is_inside: true, host: Err(broken()), ..scene("alice") };
    let nested = || Scene { is_nested: Ok(true), ..scene("alice") };
    for (scene, questions) in [(inside(), "user inside"), (nested(), "user inside host nested")] {
        let (decision, asked) = scene.decide(&loaded(POLICY), "sshd", "");
        assert!(matches!(decision, Decision::Inside), "{decision:?}");
        assert_eq!(asked, questions);
    }
    for scene in [inside(), nested()] {
        let (decision, _) = scene.decide(&loaded(POLICY), "sshd", "203.0.113.7");
        let Decision::Failed { error, .. } = decision else { panic!("{decision:?}") };
        assert!(error.cause.contains("was started inside a sandbox"), "{error}");
    }
}

#[test]
fn what_cannot_be_found_out_is_left_to_on_error() {
    let denying = POLICY.replace("allow", "deny");
    for (policy, becomes) in [(POLICY, Login::Allow), (&denying, Login::Deny)] {
        let broken_host = Scene { host: Err(broken()), ..scene("alice") };
        let broken_state = Scene { is_nested: Err(broken()), ..scene("alice") };
        let unknown = Scene { user: Err(broken()), alone: Err(broken()), ..scene("alice") };
        for scene in [broken_host, broken_state, unknown] {
            match scene.decide(&loaded(policy), "sshd", "").0 {
                Decision::Failed { error, on_error } => {
                    assert_eq!((error, on_error), (broken(), becomes));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn of_an_unusable_configuration_the_exemptions_and_on_error_are_gone_by() {
    let Loaded::Policy(policy) = loaded(POLICY) else { panic!() };
    let salvage = |on_error| Loaded::Salvage { exempt: policy.exempt.clone(), on_error };
    // The services are not known, and the host does not matter.
    let (decision, asked) = scene("bob").decide(&salvage(Login::Deny), "cron", "");
    assert!(matches!(decision, Decision::Unconfined(Unconfined::Exempt(_))), "{decision:?}");
    assert_eq!(asked, "user");
    for becomes in [Login::Deny, Login::Allow] {
        let (decision, asked) = scene("alice").decide(&salvage(becomes), "cron", "");
        let Decision::Failed { error, on_error } = decision else { panic!("{decision:?}") };
        assert!(error.cause.contains("none has parsed before"), "{error}");
        assert_eq!((on_error, asked.as_str()), (becomes, "user"));
    }
    let mut root = scene("toor");
    root.user = root.user.map(|subject| Subject { uid: 0, ..subject });
    let (decision, _) = root.decide(&salvage(Login::Deny), "sshd", "");
    assert!(matches!(decision, Decision::Unconfined(Unconfined::Root)), "{decision:?}");
}

#[test]
fn a_plan_is_judged_by_the_rules_of_its_profile() {
    let plan = |policy: &str| match scene("alice").decide(&loaded(policy), "sshd", "").0 {
        Decision::Sandbox(plan) => plan,
        other => panic!("{other:?}"),
    };
    let missing = || vec![Unfit { directive: "loopback", why: "too old".to_owned() }];
    let full = || Full { used: 49, max: 50, by: "49 sleep".to_owned() };
    let nothing = Met::default;
    let logins = |number| Met { logins: Some(number), ..Met::default() };
    match plan(POLICY).judge("sshd", Met { missing: missing(), ..logins(1) }) {
        Decision::Sandbox(plan) => assert_eq!(plan.sandbox.missing, missing()),
        other => panic!("{other:?}"),
    }
    let denial = |decision| match decision {
        Decision::Refused { denial, .. } => denial,
        other => panic!("{other:?}"),
    };
    // A login meets the first of them first.
    let all = || Met { logins: Some(2), full: Some(full()), missing: missing() };
    let too_many = Denial::TooManyLogins { max: 2, now: 2 };
    assert_eq!(denial(plan(POLICY).judge("sshd", all())), too_many);
    let strict = POLICY.replace("max_logins = 2", "strict = true");
    assert_eq!(denial(plan(&strict).judge("sshd", all())), Denial::TasksFull(full()));
    // The user's manager is no login.
    let denied = denial(plan(&strict).judge("systemd-user", all()));
    assert_eq!(denied, Denial::Strict(missing()));
    for (policy, service, met) in
        [(POLICY, "systemd-user", all()), (POLICY, "sshd", nothing()), (&strict, "sshd", logins(9))]
    {
        let decision = plan(policy).judge(service, met);
        assert!(matches!(decision, Decision::Sandbox(_)), "{decision:?}");
    }
}

#[test]
fn a_plan_is_drawn_up_anew_for_the_host_as_it_turns_out_to_be() {
    let policy = POLICY.replace("tasks_max = 50", "io_read_bandwidth_max = [\"/x 1M\"]");
    let policy = policy.replace("max_logins = 2", "tasks_max = 50");
    let (decision, _) = scene("alice").decide(&loaded(&policy), "sshd", "");
    let Decision::Sandbox(mut plan) = decision else { panic!("{decision:?}") };
    let values = |plan: &Plan| -> Vec<String> {
        let asked_for = plan.sandbox.attributes.iter().filter(|it| it.origin.is_some());
        asked_for.map(|it| format!("{}={}", it.file, it.value)).collect()
    };
    assert_eq!(values(&plan), ["pids.max=50", "io.max=rbps=1048576"]);
    let mut offer = offer();
    offer.made.refused = vec![Controller::Pids];
    offer.make(&mut plan.host);
    let plan = plan.redrawn();
    assert_eq!(values(&plan), ["io.max=rbps=1048576"], "the disks are still known");
    let missing: Vec<&str> = plan.sandbox.missing.iter().map(|it| it.directive).collect();
    assert_eq!(missing, ["tasks_max"]);
}
