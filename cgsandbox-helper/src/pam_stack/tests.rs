#![allow(clippy::unwrap_used)]

use super::*;

/// A pam.d directory with these files.
pub(crate) struct PamD(PathBuf);

impl PamD {
    pub(crate) fn with(name: &str, files: &[(&str, &str)]) -> Self {
        let path =
            std::env::temp_dir().join(format!("cgsandbox-pam-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        for (file, text) in files {
            std::fs::write(path.join(file), text).unwrap();
        }
        PamD(path)
    }

    pub(crate) fn directories(&self) -> Directories {
        Directories(vec![self.0.join("missing"), self.0.clone()])
    }

    fn stack(&self, service: &str) -> Stack {
        self.directories().stack(service).unwrap()
    }
}

impl Drop for PamD {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn modules(stack: &Stack) -> Vec<(&str, usize, usize)> {
    stack.session.iter().map(|line| (line.module.as_str(), line.number, line.depth)).collect()
}

#[test]
fn included_lines_are_in_their_places() {
    let pam = PamD::with(
        "includes",
        &[
            (
                "sshd",
                "# a comment\n\
                 auth required pam_unix.so\n\
                 session required pam_a.so # another\n\
                 @include common\n\
                 session substack sub\n\
                 session include inc\n\
                 -SESSION Optional \\\n pam_last.so one [two words]\n",
            ),
            ("common", "auth required pam_x.so\nsession required pam_b.so\n"),
            ("sub", "session required pam_c.so\nauth required pam_cgsandbox.so\n"),
            ("inc", "auth required pam_cgsandbox.so\nsession required pam_d.so\n"),
        ],
    );
    let stack = pam.stack("sshd");
    assert_eq!(
        modules(&stack),
        [
            ("pam_a.so", 3, 0),
            ("pam_b.so", 2, 0),
            ("pam_c.so", 1, 1),
            ("pam_d.so", 2, 0),
            ("pam_last.so", 7, 0)
        ]
    );
    assert_eq!(stack.session[4].arguments, ["one", "[two words]"]);
    assert_eq!((stack.broken, stack.strays), (vec![], vec![]), "an include names its kind");
    assert_eq!(pam.directories().services(), ["sshd"], "what is included is no service");
}

#[test]
fn a_service_that_its_own_variant_includes_is_one() {
    let su = "session required pam_permit.so\n@include common-session\n";
    let login_su = "session include su\n";
    let common = "session required pam_unix.so\n";
    let pam = PamD::with("su", &[("su", su), ("su-l", login_su), ("common-session", common)]);
    assert_eq!(pam.directories().services(), ["su", "su-l"]);
}

#[test]
fn our_line_is_found_with_its_arguments() {
    let line = "session [success=ok ignore=ignore default=bad] /lib/security/pam_cgsandbox.so \
                config=/a config=/b configure=/c\n";
    let twice = format!("{line}auth optional pam_cgsandbox.so\nsession required pam_x.so\n{line}");
    let pam = PamD::with("ours", &[("sshd", &twice)]);
    let stack = pam.stack("sshd");
    assert_eq!(stack.ours(), [0, 2]);
    assert_eq!(stack.line().unwrap().argument("config"), Some("/b"));
    assert_eq!(stack.line().unwrap().argument("helper"), None);
    assert_eq!(stack.strays.len(), 1);
}

#[test]
fn without_session_lines_the_default_service_counts() {
    let pam = PamD::with(
        "other",
        &[("sshd", "auth required pam_x.so\n"), ("other", "session required pam_deny.so\n")],
    );
    assert_eq!(modules(&pam.stack("sshd")), [("pam_deny.so", 1, 0)]);
    assert_eq!(modules(&pam.stack("unheard-of")), [("pam_deny.so", 1, 0)]);
    assert!(!pam.directories().has("unheard-of"));
}

#[test]
fn what_cannot_be_read_is_told() {
    let pam = PamD::with(
        "broken",
        &[("sshd", "session\nsession required\n@include nothing\n@include sshd\n")],
    );
    let broken = pam.stack("sshd").broken;
    let broken = broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for told in ["and nothing after it", "no module is named", "no nothing to include", "circle"] {
        assert!(broken.contains(told), "{told} in {broken}");
    }
}

#[test]
fn a_control_says_what_each_outcome_leads_to() {
    let on = |text: &str, code: &str| Control::parse(text).on(code);
    assert_eq!(on("required", "module_unknown"), Action::Bad);
    assert_eq!(on("Requisite", "session_err"), Action::Die);
    assert_eq!(on("optional", "session_err"), Action::Ignore);
    assert_eq!(on("sufficient", "success"), Action::Done);
    let ours = "[success=ok ignore=ignore module_unknown=ignore default=bad]";
    assert_eq!(on(ours, "ignore"), Action::Ignore);
    assert_eq!(on(ours, "module_unknown"), Action::Ignore);
    assert_eq!(on(ours, "session_err"), Action::Bad);
    assert_eq!(on("[success = 2 default=ignore]", "success"), Action::Jump(2));
    assert_eq!(on("[success=ok]", "session_err"), Action::Bad, "what is not said fails");
    assert_eq!(on("[success=whatever]", "success"), Action::Bad);
}
