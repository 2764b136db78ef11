//! What a login goes by when the configuration is broken.

use super::*;
use crate::policy::{Groups, Subject, Verdict};

const MAIN: &str = "/etc/cgsandbox/cgsandbox.toml";
const KEPT: &str = "/run/cgsandbox/last-good";
const GOOD: &str = "version = 1\nexempt = \"@wheel\"\n";

/// How to break a configuration that is there and good.
const BREAKAGES: [fn(&Root); 9] = [
    |root| {
        root.file(MAIN, "");
    },
    |root| {
        root.file(MAIN, "version = 1\nx = ");
    },
    |root| {
        root.file(MAIN, "version = 1\nunknown = 1");
    },
    |root| {
        root.file(MAIN, "version = 1\0");
    },
    |root| {
        root.file(MAIN, vec![b'#'; 10 << 20]);
    },
    |root| {
        root.mode(MAIN, 0o666);
    },
    |root| {
        root.mode("/etc/cgsandbox", 0o777);
    },
    |root| fs::remove_file(root.path(MAIN)).unwrap(),
    |root| {
        root.file("/etc/cgsandbox/cgsandbox.toml.d/1.toml", "[[[");
    },
];

fn current(loaded: Result<Load, Box<Unusable>>) -> Policy {
    match loaded {
        Ok(Load::Current { policy }) => policy,
        other => panic!("{other:?}"),
    }
}

#[test]
fn while_the_configuration_is_broken_the_last_good_one_holds() {
    for breaks in BREAKAGES {
        let root = Root::new();
        root.file(MAIN, GOOD);
        assert_eq!(current(root.load()).exempt.to_string(), "@wheel");
        breaks(&root);
        for _ in 0..2 {
            match root.load() {
                Ok(Load::Kept { policy, errors }) => {
                    assert_eq!(policy.exempt.to_string(), "@wheel");
                    assert!(!errors.problems().is_empty());
                    assert!(!errors.render(false).is_empty());
                }
                other => panic!("{other:?}"),
            }
        }
        let _ = fs::remove_dir_all(root.path("/etc"));
        root.file(MAIN, "version = 1\nexempt = \"@ops\"");
        assert_eq!(current(root.load()).exempt.to_string(), "@ops");
    }
}

#[test]
fn with_nothing_kept_there_is_only_what_can_be_salvaged() {
    for breaks in BREAKAGES {
        let root = Root::new();
        root.file(MAIN, GOOD);
        breaks(&root);
        let unusable = root.load().unwrap_err();
        assert_eq!(unusable.salvaged.on_error, Login::Deny);
        assert!(!unusable.errors.problems().is_empty());
        assert!(!root.path(KEPT).exists());
    }
}

#[test]
fn it_is_kept_once_and_for_root_alone() {
    use std::os::unix::fs::MetadataExt;
    let root = Root::new();
    root.file(MAIN, GOOD);
    current(root.load());
    let about = fs::metadata(root.path(KEPT)).unwrap();
    assert_eq!(about.mode() & 0o7777, 0o600);
    current(root.load());
    assert_eq!(fs::metadata(root.path(KEPT)).unwrap().ino(), about.ino(), "not written again");
    root.file(MAIN, "version = 1");
    current(root.load());
    assert_ne!(fs::metadata(root.path(KEPT)).unwrap().ino(), about.ino(), "in one step");
    let names: Vec<_> = fs::read_dir(root.path("/run/cgsandbox")).unwrap().collect();
    assert_eq!(names.len(), 1);
}

#[test]
fn what_was_kept_by_an_older_version_is_still_good() {
    let root = Root::new();
    root.file(MAIN, GOOD);
    current(root.load());
    let kept = fs::read_to_string(root.path(KEPT)).unwrap();
    let (_, body) = kept.split_once('\n').unwrap();
    root.file(KEPT, body).mode(KEPT, 0o600).file(MAIN, "broken");
    assert!(matches!(root.load(), Ok(Load::Kept { .. })));
}

#[test]
fn half_a_kept_file_is_replaced() {
    let root = Root::new();
    root.file(MAIN, GOOD);
    current(root.load());
    let whole = fs::read(root.path(KEPT)).unwrap();
    root.file(KEPT, &whole[..whole.len() - 10]).mode(KEPT, 0o600);
    current(root.load());
    assert_eq!(fs::read(root.path(KEPT)).unwrap(), whole);
}

#[test]
fn a_preview_keeps_nothing() {
    let root = Root::new();
    root.file(MAIN, GOOD);
    let state = Path::new("/run/cgsandbox");
    assert!(find_in(root.tree(), &Sources::System, state).0.is_ok());
    assert!(!root.path(KEPT).exists());
}

/// As when a login is the first, and makes the state directory after it has read what it goes by.
#[test]
fn what_was_read_before_there_was_a_state_directory_is_kept_in_it() {
    let root = Root::new();
    root.file(MAIN, GOOD);
    let state = Path::new("/run/cgsandbox");
    fs::remove_dir(root.path("/run/cgsandbox")).unwrap();
    let (load, unkept) = find_in(root.tree(), &Sources::System, state);
    assert!(matches!(load, Ok(Load::Current { .. })));
    root.dir("/run/cgsandbox");
    unkept.keep(state).unwrap();
    root.file(MAIN, "broken");
    assert!(matches!(root.load(), Ok(Load::Kept { .. })));
}

#[test]
fn each_configuration_has_its_own_kept_one() {
    let root = Root::new();
    let other = Sources::File("/srv/x.toml".into());
    root.file(MAIN, GOOD).file("/srv/x.toml", "version = 1\nexempt = \"x\"");
    current(root.load());
    root.file("/srv/y.toml", "version = 2");
    assert!(root.load_of(&Sources::File("/srv/y.toml".into())).is_err());
    current(root.load_of(&other));
    root.file(MAIN, "x").file("/srv/x.toml", "x");
    let exempt = |load| match load {
        Ok(Load::Kept { policy, .. }) => policy.exempt.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(exempt(root.load()), "@wheel");
    assert_eq!(exempt(root.load_of(&other)), "x");
}

#[test]
fn a_kept_one_that_is_damaged_or_not_ours_is_not_used() {
    let damages: [fn(&Root); 7] = [
        |root| {
            root.file(KEPT, "");
        },
        |root| {
            root.file(KEPT, "{\"system\":[{\"path\":");
        },
        |root| {
            root.file(KEPT, "{\"system\":[{\"path\":\"a\",\"text\":\"x\",\"drop_in\":false}]}");
        },
        |root| {
            root.file(KEPT, b"\xff\0");
        },
        |root| {
            root.mode(KEPT, 0o622);
        },
        |root| {
            fs::rename(root.path(KEPT), root.path("/run/cgsandbox/elsewhere")).unwrap();
            root.link(KEPT, "elsewhere");
        },
        |root| {
            root.mode("/run/cgsandbox", 0o777);
        },
    ];
    for damage in damages {
        let root = Root::new();
        root.file(MAIN, GOOD);
        current(root.load());
        damage(&root);
        root.file(MAIN, "broken");
        assert!(root.load().is_err());
    }
}

#[test]
fn what_cannot_be_kept_is_told_but_used() {
    let root = Root::new();
    root.file(MAIN, GOOD);
    fs::remove_dir(root.path("/run/cgsandbox")).unwrap();
    let state = Path::new("/run/cgsandbox");
    let (load, unkept) = find_in(root.tree(), &Sources::System, state);
    assert!(matches!(load, Ok(Load::Current { .. })), "{load:?}");
    let problem = unkept.keep(state).unwrap_err();
    assert!(problem.to_string().contains("/run/cgsandbox"), "{problem}");
}

#[test]
fn a_writer_that_died_half_way_is_overtaken() {
    let root = Root::new();
    root.file(MAIN, GOOD).file("/run/cgsandbox/last-good.new", "half of something longer than us");
    current(root.load());
    root.file(MAIN, "broken");
    assert!(matches!(root.load(), Ok(Load::Kept { .. })));
    assert!(!root.path("/run/cgsandbox/last-good.new").exists());
}

#[test]
fn many_logins_at_once_never_see_half_a_file() {
    let root = Root::new();
    root.file(MAIN, GOOD);
    current(root.load());
    let (a, b) = (SourceText { text: "version = 1 # a".into(), ..main_file("") }, main_file("# b"));
    std::thread::scope(|scope| {
        for text in [&a, &b, &a, &b] {
            scope.spawn(|| {
                let (tree, state) = (root.tree(), Path::new("/run/cgsandbox"));
                for _ in 0..200 {
                    kept::keep(&tree, state, &Sources::System, std::slice::from_ref(text)).unwrap();
                    let recalled = kept::recall(&tree, state, &Sources::System).unwrap().unwrap();
                    assert!(parse(&recalled).is_ok());
                }
            });
        }
    });
}

#[test]
fn exempt_users_are_found_in_a_configuration_that_is_wrong_elsewhere() {
    let mentioned = [("staff".to_owned(), Some(50))].into();
    let groups = Groups { ids: vec![50], mentioned };
    let staff = Subject { groups: Some(groups), ..Subject::default() };
    let salvaged = |texts: &[SourceText]| {
        let salvaged = assemble(Vec::new(), texts).unwrap_err().salvaged;
        let exempt = matches!(salvaged.exempt.judge(&staff), Verdict::Matched(_));
        (salvaged.on_error, exempt)
    };
    let good = "on_error = \"allow\"\nexempt = [\"@staff\"]\n";
    for mistake in ["unknown = 1", "version = 2", "[profile.p]\nmemory_max = 2", "rule = 5"] {
        assert_eq!(salvaged(&[file("a", &format!("{good}{mistake}"))]), (Login::Allow, true));
    }
    // Not TOML: nothing is believed.
    assert_eq!(salvaged(&[main_file(&format!("{good}x = "))]), (Login::Deny, false));
    assert_eq!(salvaged(&[]), (Login::Deny, false));
    // But the other files are.
    assert_eq!(salvaged(&[main_file(good), drop_in("b", "[[[")]), (Login::Allow, true));
    // An entry that cannot be read may have kept somebody out.
    for exempt in ["[\"@staff\", \"!%x\"]", "[\"@staff\", 5]", "\"!@staff\"", "{ a = 1 }"] {
        let text = main_file(&format!("on_error = \"alow\"\nexempt = {exempt}"));
        assert_eq!(salvaged(&[text]), (Login::Deny, false), "{exempt}");
    }
}
