//! What is installed is right, commented-out lines included.

use super::*;
use crate::policy::KEYS;

const SHIPPED: &str = include_str!("../../../../config/cgsandbox.toml");

/// With every `#directive` line in force: prose has a blank after the `#`.
fn uncommented(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(directive) if !directive.starts_with([' ', '#']) => format!("{directive}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn config_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config")
}

#[test]
fn the_shipped_configuration_is_right_as_it_is() {
    let texts = [file("cgsandbox.toml", SHIPPED)];
    let policy = parse(&texts).unwrap();
    assert_eq!(policy.on_error, Login::Deny);
    assert_eq!(policy.services, ["sshd", "systemd-user"]);
    assert_eq!(lint(&policy, &texts, |_| true), []);
}

#[test]
fn the_shipped_configuration_is_right_with_every_line_in_force() {
    let text = uncommented(SHIPPED);
    let policy = match parse(&[file("cgsandbox.toml", &text)]) {
        Ok(policy) => policy,
        Err(errors) => panic!("{}", errors.render(false)),
    };
    // It shows every key there is.
    for key in KEYS.iter().chain(schema::TOP_KEYS).filter(|key| **key != "profile") {
        let shown = text.lines().any(|line| {
            line.split(['=', ' ']).next() == Some(key)
                || [format!("[[{key}]]"), format!("[{key}]")].contains(&line.trim().to_owned())
        });
        assert!(shown, "{key} is not in the shipped configuration");
    }
    assert_eq!(policy.cgroup_root, parse(&[main_file("")]).unwrap().cgroup_root);
    let shown = |name: &str| policy.profiles.get(name).unwrap().profile.settings();
    assert_eq!(shown("default").len(), KEYS.len(), "one each, two limits, no inherits");
}

#[test]
fn the_examples_are_right_beside_the_shipped_configuration() {
    let mut examples = 0;
    for entry in fs::read_dir(config_dir().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let texts = [file("cgsandbox.toml", SHIPPED), drop_in(&path.to_string_lossy(), &text)];
        match parse(&texts) {
            Ok(policy) => assert_eq!(lint(&policy, &texts, |_| true), []),
            Err(errors) => panic!("{}", errors.render(false)),
        }
        examples += 1;
    }
    assert!(examples >= 3);
}

#[test]
fn the_pam_line_is_one_line_that_denies_what_it_does_not_know() {
    let text = fs::read_to_string(config_dir().join("pam.d/sshd-line")).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    let (control, module) =
        line.strip_prefix("session [").and_then(|rest| rest.split_once("] ")).unwrap();
    assert_eq!(module, "pam_cgsandbox.so");
    let mut actions: Vec<&str> = control.split(' ').collect();
    actions.sort_unstable();
    assert_eq!(actions, ["default=bad", "ignore=ignore", "module_unknown=ignore", "success=ok"]);
}

#[test]
fn every_key_is_read() {
    for key in KEYS {
        let text = format!("[profile.p]\n{key} = 1979-05-27");
        let found = problems(&[main_file(&text)]);
        assert!(!found[0].message.contains("unknown key"), "{key}: {}", found[0]);
    }
    for key in schema::TOP_KEYS {
        let found = problems(&[file("a", &format!("{key} = 1979-05-27"))]);
        assert!(found.iter().all(|problem| !problem.message.contains("unknown")), "{key}");
    }
}

#[test]
fn what_ships_kills_in_time_on_machines_without_swap() {
    let mut all = vec![("the one that ships".to_owned(), vec![file("cgsandbox.toml", SHIPPED)])];
    for entry in fs::read_dir(config_dir().join("examples")).unwrap() {
        let path = entry.unwrap().path().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        all.push((path.clone(), vec![file("cgsandbox.toml", SHIPPED), drop_in(&path, &text)]));
    }
    assert!(all.len() >= 4);
    for (name, texts) in all {
        for gib in [1, 8, 64] {
            let facts = Facts {
                uid_of: &|_| None,
                services: vec!["sshd".into(), "systemd-user".into()],
                exists: &|_| true,
                cpus: None,
                memory: gib << 30,
                swap: false,
            };
            let warnings = lint_for_host(&parse(&texts).unwrap(), &facts);
            assert_eq!(warnings, [], "{name} with {gib} GiB");
        }
    }
}
