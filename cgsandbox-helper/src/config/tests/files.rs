//! Which files are read, and which are not.

use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

use super::*;

const MAIN: &str = "/etc/cgsandbox/cgsandbox.toml";

fn texts(root: &Root) -> Vec<(String, String)> {
    let gathered = root.gather();
    assert_eq!(gathered.problems, []);
    let pair = |source: SourceText| (source.path.to_string(), source.text.to_string());
    gathered.texts.into_iter().map(pair).collect()
}

/// The only problem there is: its file, message and help.
#[track_caller]
fn refused(root: &Root) -> (String, String, String) {
    let mut problems = root.gather().problems;
    assert_eq!(problems.len(), 1, "{problems:#?}");
    let problem = problems.remove(0);
    (problem.file.to_string(), problem.message, problem.help.unwrap_or_default())
}

#[test]
fn etc_goes_before_usr_lib() {
    let root = Root::new();
    root.file("/usr/lib/cgsandbox/cgsandbox.toml", "vendor");
    assert_eq!(texts(&root), [("/usr/lib/cgsandbox/cgsandbox.toml".into(), "vendor".into())]);
    root.file(MAIN, "admin");
    assert_eq!(texts(&root), [(MAIN.into(), "admin".into())]);
}

#[test]
fn drop_ins_are_merged_by_name_and_masked() {
    let root = Root::new();
    let (etc, run, vendor) = (
        "/etc/cgsandbox/cgsandbox.toml.d",
        "/run/cgsandbox/cgsandbox.toml.d",
        "/usr/lib/cgsandbox/cgsandbox.toml.d",
    );
    root.file("/usr/lib/cgsandbox/cgsandbox.toml", "main");
    for name in ["10-a", "20-b", "30-c", "40-d", "50-e"] {
        root.file(&format!("{vendor}/{name}.toml"), "vendor");
    }
    root.file(&format!("{run}/20-b.toml"), "run").file(&format!("{run}/30-c.toml"), "run");
    root.file(&format!("{etc}/30-c.toml"), "etc").file(&format!("{etc}/05-x.toml"), "etc");
    root.file(&format!("{etc}/40-d.toml"), "").link(&format!("{etc}/50-e.toml"), "/dev/null");
    // Not drop-ins.
    root.file(&format!("{etc}/README"), "x").file(&format!("{etc}/60.toml~"), "x");
    root.file(&format!("{etc}/.70.toml"), "x").file(&format!("{etc}/80.toml.dpkg-old"), "x");
    let expected = [
        ("/usr/lib/cgsandbox/cgsandbox.toml", "main"),
        ("/etc/cgsandbox/cgsandbox.toml.d/05-x.toml", "etc"),
        ("/usr/lib/cgsandbox/cgsandbox.toml.d/10-a.toml", "vendor"),
        ("/run/cgsandbox/cgsandbox.toml.d/20-b.toml", "run"),
        ("/etc/cgsandbox/cgsandbox.toml.d/30-c.toml", "etc"),
    ];
    assert_eq!(texts(&root), expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
}

#[test]
fn a_named_file_has_only_its_own_drop_ins() {
    let root = Root::new();
    root.file("/srv/x.toml", "x").file("/srv/x.toml.d/1.toml", "1").file(MAIN, "other");
    root.file("/run/cgsandbox/cgsandbox.toml.d/2.toml", "other");
    let gathered = Sources::File("/srv/x.toml".into()).gather(&root.tree());
    let paths: Vec<&str> = gathered.texts.iter().map(|source| &*source.path).collect();
    assert_eq!(paths, ["/srv/x.toml", "/srv/x.toml.d/1.toml"]);
    for wrong in ["srv/x.toml", "/srv/../srv/x.toml", "/", "/nowhere/x.toml", ""] {
        let gathered = Sources::File(wrong.into()).gather(&root.tree());
        assert!(!gathered.problems.is_empty() && gathered.texts.is_empty(), "{wrong}");
    }
}

#[test]
fn later_files_override_and_add() {
    let main = main_file(
        "on_error = \"allow\"\nexempt = [\"@wheel\"]\ncgroup_root = \"/a\"\n[profile.p]\nmemory_max = \"1G\"\n\
         limits.core = \"0\"\n[profile.q]\ninherits = \"p\"\n[[rule]]\nmatch = \"*\"\nprofile = \"p\"",
    );
    let later = drop_in(
        "b.toml",
        "on_error = \"deny\"\nservices = [\"cron\"]\n[profile.p]\nmemory_max = \"2G\"\ntasks_max = 50\n\
         limits.nofile = 100\n[profile.q]\ninherits = \"r\"\n[profile.r]\n[[rule]]\nmatch = \"*\"\nprofile = \"q\"",
    );
    let policy = parse(&[main, later]).unwrap();
    assert_eq!(policy.on_error, Login::Deny);
    assert_eq!(
        (policy.exempt.to_string(), policy.services),
        ("@wheel".into(), vec!["cron".into()])
    );
    assert_eq!(policy.cgroup_root, "/a");
    assert_eq!(policy.rules.len(), 2);
    let told: Vec<String> = policy.profiles["p"]
        .profile
        .settings()
        .iter()
        .map(|setting| format!("{} {} {}", setting.directive, setting.value, setting.origin))
        .collect();
    assert_eq!(
        told,
        [
            "memory_max 2G b.toml:4",
            "tasks_max 50 b.toml:5",
            "limits.core 0 main.toml:7",
            "limits.nofile 100 b.toml:6"
        ]
    );
    assert_eq!(policy.profiles["q"].chain, ["q", "r"]);
}

#[test]
fn without_any_file_there_is_an_error() {
    let (file, message, help) = refused(&Root::new());
    assert_eq!((file.as_str(), message.as_str()), (MAIN, "there is no configuration"));
    assert!(help.contains("create it"));
}

#[test]
fn what_others_can_write_is_refused() {
    for (path, mode) in [
        (MAIN, 0o664),
        (MAIN, 0o646),
        ("/etc/cgsandbox", 0o775),
        ("/etc/cgsandbox", 0o757),
        ("/etc", 0o1777),
    ] {
        let root = Root::new();
        root.file(MAIN, "x").mode(path, mode);
        let mut problems = root.gather().problems;
        // A directory is passed twice: on the way to the file and to its drop-ins.
        problems.dedup();
        let [problem] = problems.as_slice() else { panic!("{problems:#?}") };
        assert_eq!(&*problem.file, path);
        assert_eq!(problem.message, format!("others can write it (mode {mode:04o})"));
        assert_eq!(problem.help.as_deref(), Some(&*format!("chmod go-w {path}")));
    }
}

#[test]
fn what_others_own_is_refused() {
    let root = Root::new();
    root.file("/a b", "x");
    let mut stat = rustix::fs::stat(root.path("/a b")).unwrap();
    assert_eq!(file::must_be_trusted(&stat, Path::new("/a b")), Ok(()));
    stat.st_uid = 54_321;
    let problem = file::must_be_trusted(&stat, Path::new("/a b")).unwrap_err();
    assert_eq!(problem.message, "its owner is uid 54321");
    assert_eq!(problem.help.as_deref(), Some("chown root:root '/a b'"));
    stat.st_uid = 0;
    assert_eq!(file::must_be_trusted(&stat, Path::new("/a b")), Ok(()));
}

#[test]
fn symlinks_are_not_followed() {
    let root = Root::new();
    root.file("/etc/cgsandbox/real.toml", "x").link(MAIN, "real.toml");
    assert!(refused(&root).1.contains("symbolic links are not followed"));

    let root = Root::new();
    root.dir("/etc/cgsandbox").link(MAIN, "/dev/null");
    assert!(refused(&root).1.contains("masked"));

    let root = Root::new();
    root.file("/etc/real/cgsandbox.toml", "x").link("/etc/cgsandbox", "real");
    assert_eq!(root.gather().problems[0].message, "symbolic links are not followed");
    assert_eq!(&*root.gather().problems[0].file, "/etc/cgsandbox");

    let root = Root::new();
    root.file(MAIN, "x").file("/etc/x.toml", "x").dir("/etc/cgsandbox/cgsandbox.toml.d");
    root.link("/etc/cgsandbox/cgsandbox.toml.d/1.toml", "../../x.toml");
    assert!(refused(&root).1.contains("symbolic links are not followed"));
}

#[test]
fn what_is_not_a_regular_file_is_refused_without_waiting() {
    let started = Instant::now();

    let root = Root::new();
    root.dir("/etc/cgsandbox");
    assert!(Command::new("mkfifo").arg(root.path(MAIN)).status().unwrap().success());
    assert_eq!(refused(&root).1, "this is a FIFO, not a file");
    let draft = Gathered::draft(&root.path(MAIN));
    assert_eq!(draft.problems[0].message, "this is a FIFO, not a file");

    let root = Root::new();
    root.dir(MAIN);
    assert_eq!(refused(&root).1, "this is a directory, not a file");

    let root = Root::new();
    root.dir("/etc/cgsandbox");
    let _socket = UnixListener::bind(root.path(MAIN)).unwrap();
    assert_eq!(refused(&root).1, "this is a socket, not a file");

    let root = Root::new();
    root.file("/etc/cgsandbox", "x");
    assert_eq!(root.gather().problems[0].message, "this is not a directory");

    assert_eq!(
        Gathered::draft(Path::new("/dev/zero")).problems[0].message,
        "this is a device, not a file"
    );
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let root = Root::new();
    root.file(MAIN, vec![b'#'; 10 << 20]);
    assert!(refused(&root).1.contains("larger than 4 MiB"));

    // All files together count.
    let root = Root::new();
    root.file(MAIN, vec![b'#'; 3 << 20]);
    for name in ["1", "2", "3"] {
        root.file(&format!("/etc/cgsandbox/cgsandbox.toml.d/{name}.toml"), vec![b'#'; 700 << 10]);
    }
    let told = root.gather().problems;
    assert_eq!(told.len(), 1, "one fault, told once: {told:#?}");
    assert!(told[0].to_string().contains("2.toml: with this file"), "{}", told[0]);

    let root = Root::new();
    root.file(MAIN, vec![b'#'; 4 << 20]);
    assert_eq!(texts(&root)[0].1.len(), 4 << 20);
}

#[test]
fn what_is_no_text_is_refused_with_its_place() {
    for (bytes, place, message) in [
        (&b"version = 1\n# a\0b"[..], (2, 4), "a NUL byte"),
        (b"version = 1\n\n  # \xff\n", (3, 5), "not UTF-8"),
        (b"\0", (1, 1), "a NUL byte"),
        (b"\xff\xfe", (1, 1), "not UTF-8"),
    ] {
        let root = Root::new();
        root.file(MAIN, bytes);
        let problem = root.gather().problems.remove(0);
        let at = problem.origin.as_ref().unwrap();
        assert_eq!((at.line, at.column), place);
        assert!(problem.message.contains(message), "{problem}");
        assert!(root.gather().texts.is_empty());
    }
}

#[test]
fn a_draft_may_be_anybody_s_and_that_is_a_warning() {
    let root = Root::new();
    root.file("/x.toml", "version = 1").file("/x.toml.d/1.toml", "on_error = \"allow\"");
    root.link("/x.toml.d/2.toml", "/dev/null").mode("/x.toml", 0o666);
    let (texts, warnings) = read_draft(&root.path("/x.toml")).unwrap();
    assert_eq!(texts.len(), 2);
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].severity, Severity::Warning);
    let errors = read_draft(&root.path("/y.toml")).unwrap_err();
    assert!(errors.problems()[0].unread);
}
