//! Every mistake is found, at its place, with a remedy.

use super::*;

/// Line, column, a part of the message, a part of the remedy; for each problem.
type Expected<'a> = (usize, usize, &'a str, &'a str);

#[track_caller]
fn expect(text: &str, expected: &[Expected<'_>]) {
    let found = problems(&[main_file(text)]);
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), expected.len(), "{told:#?}");
    for (problem, (line, column, message, help)) in found.iter().zip(expected) {
        let at = problem.origin.as_ref().unwrap();
        assert_eq!((at.line, at.column), (*line, *column), "{problem}");
        assert!(problem.message.contains(message), "{problem}");
        assert!(problem.help.as_deref().unwrap_or_default().contains(help), "{problem}");
        assert_eq!(problem.severity, Severity::Error);
    }
}

#[test]
fn all_mistakes_of_a_file_are_found_at_once() {
    expect(
        "on_error = \"alow\"\nexempt = [\"@wheel\", \"%admins\"]\n[profile.p]\nmemory_max = 2\n\
         memory_hihg = \"1G\"\ntasks_max = 0\n[[rule]]\nmatch = \"!x\"\nprofile = \"q\"",
        &[
            (2, 12, "\"alow\"", "\"allow\""),
            (3, 21, "\"%admins\"", "\"@admins\""),
            (5, 14, "unit is missing", "\"2M\" or \"2G\""),
            (6, 1, "unknown key \"memory_hihg\"", "did you mean memory_high?"),
            (7, 13, "too few", "at least 8"),
            (9, 9, "for nobody", "[\"*\", \"!bob\"]"),
            (10, 11, "no profile \"q\"", "there are: p"),
        ],
    );
}

#[test]
fn keys_that_are_unknown_or_misplaced() {
    for (text, message, help) in [
        ("onerror = 1", "onerror", "did you mean on_error?"),
        ("memory_max = \"1G\"", "memory_max", "belongs into a [profile.NAME]"),
        ("[default]\nmemory_max = \"1G\"", "default", "[profile.default]"),
        ("[profile.p]\nMemoryMax = \"1G\"", "MemoryMax", "did you mean memory_max?"),
        ("[profile.p]\nservices = [\"sshd\"]", "services", "at the top"),
        ("[profile.p]\nnofile = 1024", "nofile", "did you mean limits.nofile?"),
        ("[profile.p]\nlimits = { nofiles = 1024 }", "nofiles", "did you mean nofile?"),
        ("[profile.p]\nlimits = { maxlogins = 2 }", "maxlogins", "max_logins"),
        ("[profile.p]\nzzz = 2", "zzz", "possible here: inherits, memory_max"),
        ("[profile]\nmemory_max = \"1G\"", "memory_max", "[profile.NAME]"),
        ("[profile]\np = 1", "\"p\"", "[profile.p]"),
        ("profile = 1", "table", "[profile.NAME]"),
        ("[profile.\"a b\"]", "a b", "letters"),
        ("[profile.\"a\\nb\"]", "cannot name", "letters"),
        ("[profile.p]\nlimits = 5", "table", "limits = {"),
        ("[profile.p]\nmemory_max = [\"1G\"]", "a list", "without [ ]"),
        ("[profile.p.memory_max]\nx = 1", "a table", "one line"),
        ("[profile.p]\nio_read_iops_max = [\"/a 10\", \"/a 20\"]", "second limit", "keep one"),
        ("exempt = { a = 1 }", "a table", "list"),
        ("exempt = 5", "an integer", "quotes"),
        ("services = [\"SSHD\"]", "SSHD", "small letters"),
        ("services = [\"../x\"]", "../x", "/etc/pam.d"),
    ] {
        let found = problems(&[main_file(text)]);
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        assert!(found[0].message.contains(message), "{text}: {}", found[0]);
        assert!(found[0].help.as_deref().unwrap().contains(help), "{text}: {}", found[0]);
    }
}

#[test]
fn rules_must_be_whole() {
    expect("[rule]\nmatch = \"*\"", &[(2, 1, "several rules", "[[rule]]")]);
    expect("rule = [1]", &[(2, 9, "not a rule", "[[rule]]")]);
    expect("[profile.p]\n[[rule]]\nprofile = \"p\"", &[(3, 1, "no match", "match = \"*\"")]);
    expect("[[rule]]\nmatch = \"*\"", &[(2, 1, "no profile", "profile = \"default\"")]);
    expect("[[rule]]", &[(2, 1, "no match", ""), (2, 1, "no profile", "")]);
    expect(
        "[profile.p]\n[[rule]]\nmatch = \"*\"\nprofile = \"p\"\ntasks_max = 9\nmtach = 1",
        &[(6, 1, "tasks_max", "[profile.NAME]"), (7, 1, "mtach", "did you mean match?")],
    );
}

#[test]
fn patterns_that_describe_nobody() {
    for (pattern, help) in [
        ("", "\"@group\""),
        (" alice", "\"@group\""),
        ("!", "\"@group\""),
        ("!!alice", "single"),
        ("@", "after the"),
        ("@@net", "netgroups"),
        ("@dev*", "in full"),
        ("%wheel", "\"@wheel\""),
        ("1000-1999", "\"1000:1999\""),
        ("1999:1000", "\"1000:1999\""),
        (":", "first and the last"),
        ("a:b", "first and the last"),
        ("-1:5", "first and the last"),
        ("1:2:3", "first and the last"),
        ("4294967296:", "first and the last"),
        ("4294967295:", "first and the last"),
        ("web[0-9", "close the bracket"),
        ("web[]", "close the bracket"),
        ("web[!]", "close the bracket"),
        ("group:staff", "did you mean \"@staff\"?"),
        ("g:staff", "did you mean \"@staff\"?"),
        ("user:alice", "did you mean \"alice\"?"),
        ("a\\nb", "control"),
    ] {
        let found = problems(&[main_file(&format!("exempt = [\"*\", \"{pattern}\"]"))]);
        assert_eq!(found.len(), 1, "{pattern}: {found:#?}");
        assert!(found[0].help.as_deref().unwrap().contains(help), "{pattern}: {}", found[0]);
    }
    let long = format!("exempt = \"{}\"", "x*".repeat(10_000));
    assert_eq!(problems(&[main_file(&long)]).len(), 1);
}

#[test]
fn the_version_must_be_one() {
    let first = |text: &str| problems(&[file("a.toml", text)]).remove(0).to_string();
    assert!(first("").contains("a.toml:1:1: the version is missing; begin the file with"));
    assert!(first("version = 2").contains("a.toml:1:11: this version of the file format"));
    assert!(first("version = \"1\"").contains("not known"));
    assert!(parse(&[file("a", "version = 1")]).is_ok());
    assert!(parse(&[main_file(""), drop_in("b", "on_error = \"allow\"")]).is_ok());
}

#[test]
fn inheritance_must_lead_somewhere() {
    expect("[profile.a]\ninherits = \"a\"", &[(3, 12, "a -> a", "remove one")]);
    expect(
        "[profile.c]\ninherits = \"a\"\n[profile.a]\ninherits = \"b\"\n[profile.b]\n\
         inherits = \"c\"\n[profile.outside]\ninherits = \"b\"",
        &[(5, 12, "a -> b -> c -> a", "remove one")],
    );
    expect(
        "[profile.a]\ninherits = \"defualt\"\n[profile.default]",
        &[(3, 12, "no profile \"defualt\"", "did you mean \"default\"?")],
    );
    let chain = |length: usize| -> String {
        let profile = |at| format!("[profile.p{at}]\ninherits = \"p{}\"\n", at + 1);
        (0..length).map(profile).collect::<String>() + &format!("[profile.p{length}]")
    };
    assert!(parse(&[main_file(&chain(15))]).is_ok());
    let deep = problems(&[main_file(&chain(16))]);
    assert!(deep[0].message.contains("more than 16 deep"), "{}", deep[0]);
}

#[test]
fn values_that_contradict_each_other_across_profiles_and_files() {
    let base = "[profile.base]\nmemory_max = \"1G\"\n[profile.a]\ninherits = \"base\"\n\
                memory_high = \"2G\"\n[profile.b]\ninherits = \"a\"";
    let found = problems(&[main_file(base)]);
    assert_eq!(found.len(), 1, "once, though two profiles have it: {found:#?}");
    assert!(
        found[0].to_string().contains("main.toml:6:15: memory_high (2G) is above memory_max (1G)")
    );
    assert!(found[0].to_string().contains("is the maximum: main.toml:3"));
    let mends = drop_in("b.toml", "[profile.base]\nmemory_max = \"4G\"");
    assert!(parse(&[main_file(base), mends]).is_ok());
    for fine in ["memory_high = \"1G\"", "memory_high = \"90%\"", "memory_high = \"infinity\""] {
        let text = format!("[profile.p]\nmemory_max = \"1G\"\n{fine}");
        assert!(parse(&[main_file(&text)]).is_ok(), "{fine}");
    }
    expect("[profile.p]\nmemory_max = \"20%\"\nmemory_high = \"30%\"", &[(4, 15, "above", "")]);
}

#[test]
fn cgroup_roots_stay_in_the_hierarchy() {
    let root = |root: &str| parse(&[main_file(&format!("cgroup_root = \"{root}\""))]);
    for fine in ["/cgsandbox", "/a/b-c_d.slice"] {
        assert_eq!(root(fine).unwrap().cgroup_root, fine);
    }
    for wrong in ["", "/", "a", "/a/", "//a", "/a/../b", "/..", "/./a", "/a b", "/a\\nb", "/é"] {
        assert!(root(wrong).is_err(), "{wrong}");
    }
    assert!(root(&format!("/{}", "x".repeat(256))).is_err());
    assert!(root(&"/x".repeat(1000)).is_err());
}

#[test]
fn text_that_is_not_toml() {
    let found = problems(&[file(
        "a.toml",
        "version = 1\n[profile.p]\nmemory_max = 2G\ntasks_max = 10\ntasks_max = 20\n  [profile.p]\n",
    )]);
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(told[0].starts_with("a.toml:3:14: ") && told[0].contains("\"2G\""), "{}", told[0]);
    assert!(told[1].starts_with("a.toml:5:1: duplicate key (is first here: a.toml:4)"));
    assert!(told[2].starts_with("a.toml:6:12: duplicate key (is first here: a.toml:2)"));
    assert_eq!(found[2].see.as_ref().unwrap().0.column, 10);
}

#[test]
fn what_is_written_elsewhere_is_recognized() {
    let first = |text: &str| problems(&[main_file(text)]).remove(0).to_string();
    for text in ["\"DOM\\alice\"", "\"DOM\\ute\"", "\"DOM\\xi\""] {
        let told = first(&format!("exempt = {text}"));
        assert!(told.contains("single quotes: 'DOM\\alice'"), "{text}: {told}");
    }
    assert!(first("exempt = \"DOM\\bob\"").contains("a backslash is written twice"));
    for text in ["*", "@staff", "!bob"] {
        let told = first(&format!("[[rule]]\nmatch = {text}\nprofile = \"p\""));
        assert!(told.contains("in quotes: match = \"*\""), "{text}: {told}");
    }
    let directive = |line: &str| first(&format!("[profile.p]\n{line}"));
    let told = directive("tasks_max = \"33%\"");
    assert!(told.contains("is a share, and tasks_max takes a number"), "{told}");
    for (stack, meant) in
        [("8192", "\"8M\""), ("\"8192\"", "\"8M\""), ("\"1000:8192\"", "\"1000K\"")]
    {
        let told = directive(&format!("limits = {{ stack = {stack} }}"));
        assert!(told.contains(&format!("KB: write {meant}")), "{stack}: {told}");
    }
}

#[test]
fn every_cut_of_the_shipped_file_is_a_policy_or_an_error_with_a_place() {
    let whole = include_str!("../../../../config/cgsandbox.toml");
    for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
        if let Err(errors) = parse(&[file("cut.toml", &whole[..end])]) {
            let first = &errors.problems()[0];
            let at = first.origin.as_ref().unwrap();
            assert!(at.line <= whole[..end].lines().count().max(1) + 1, "{end}: {first}");
            assert!(!errors.render(false).is_empty());
        }
    }
}

/// A quarter of what a configuration may have, for the sake of slow machines.
const LARGE: usize = file::LARGEST / 4;

#[test]
fn rubbish_of_any_kind_is_an_error_in_bounded_time() {
    let started = std::time::Instant::now();
    for unit in
        ["=\n", "[", "[[a]]\n", "a.", "\"", "{", "a=1\n", "[a]\n", "\u{feff}", "x = [", "'''"]
    {
        let text = unit.repeat(LARGE / unit.len());
        let errors = parse(&[file("rubbish.toml", &text)]).unwrap_err();
        assert!(errors.problems().len() <= 20, "{unit:?}: {}", errors.problems().len());
        assert!(errors.to_string().len() < 3000, "{unit:?}");
    }
    let nested = format!("version = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(parse(&[file("nested.toml", &nested)]).is_err());
    for number in
        ["9".repeat(100_000), "0x".to_owned() + &"f".repeat(100_000), "1e999999999".into()]
    {
        let text = format!("[profile.p]\ntasks_max = {number}\nmemory_max = \"{number}G\"");
        let errors = parse(&[main_file(&text)]).unwrap_err();
        assert!(errors.problems().iter().all(|problem| problem.to_string().len() < 3000));
    }
    assert!(started.elapsed().as_secs() < 60);
}

#[test]
fn large_files_of_any_content_take_bounded_time() {
    let many = |unit: &dyn Fn(usize) -> String| -> String {
        let mut text = String::new();
        for at in 0.. {
            let next = unit(at);
            if text.len() + next.len() > LARGE - 100 {
                break;
            }
            text += &next;
        }
        text
    };
    let one_line = format!("exempt = [{}]", many(&|at| format!("\"é{at}\", ")));
    let bad_line = format!("exempt = [{}]", many(&|at| format!("\"%é{at}\", ")));
    let keys = many(&|at| format!("memory_{at} = 1\n"));
    let profiles = many(&|at| format!("[profile.a{at}]\ninherits = \"a{}\"\n", at / 2));
    let nowhere =
        many(&|at| format!("[profile.a{at}]\n[[rule]]\nmatch = \"*\"\nprofile = \"b{at}\"\n"));
    let disks =
        format!("[profile.p]\nio_read_iops_max = [{}]", many(&|at| format!("\"/{at} 99\", ")));
    let same = many(&|_| "[[rule]]\nmatch = \"*\"\nprofile = \"p\"\n".to_owned()) + "[profile.p]";
    for (text, good) in [
        (&one_line, true),
        (&bad_line, false),
        (&keys, false),
        (&profiles, false),
        (&nowhere, false),
        (&disks, false),
        (&same, true),
    ] {
        let started = std::time::Instant::now();
        let texts = [main_file(text)];
        match parse(&texts) {
            Ok(_) => assert!(good, "{}", &text[..50]),
            Err(errors) => {
                assert!(!good, "{errors}");
                assert!(errors.problems().len() <= 200);
                assert!(errors.render(false).len() < 1 << 20);
            }
        }
        // Some 50 ms when optimized; this is about minutes.
        assert!(started.elapsed().as_secs() < 20, "{}: {:?}", &text[..50], started.elapsed());
    }
}
