//! PAM's files: read as Linux-PAM does, and written with our line in them and without it.

use cgsandbox_fuzz::Fuzz;

use super::kind_of;
use crate::pam_stack::{Action, LINE, tests::PamD, with_line, without_lines};

#[test]
fn our_line_goes_into_any_file_and_out_of_it() {
    let pam = PamD::with(
        "fuzz",
        &[
            ("common", "auth required pam_unix.so\nsession required pam_unix.so\n"),
            ("sub", "session optional pam_cgsandbox.so timeout=2s\nsession include common\n"),
            ("circle", "session include circle\n@include circle\n"),
            ("cut", "session required pam_unix.so \\"),
        ],
    );
    let directories = pam.directories();
    Fuzz::target("pam_stack").words(&WORDS).seed(LINE).run(|input| {
        let stack = directories.stack_of("sshd", input);
        assert!(stack.session.iter().all(|line| line.kind == "session" && line.depth <= 16));
        let lines = input.split(|byte| *byte == b'\n').count();
        for mistake in &stack.broken {
            assert!(mistake.number <= lines.max(2), "{mistake}");
            assert!(!mistake.what.is_empty() && !mistake.remedy.is_empty(), "{mistake:?}");
        }
        for at in stack.ours() {
            stack.session[at].configuration();
        }
        let (bare, removed) = without_lines(input);
        assert_eq!(without_lines(&bare), (bare.clone(), 0), "a second run finds more");
        assert!(bare.len() <= input.len());
        if removed == 0 {
            assert_eq!(bare, input, "nothing of ours, and something changed");
        }
        // Whoever writes the line refuses a file that Linux-PAM cannot read to its end.
        let is_cut = directories
            .stack_of("sshd", &bare)
            .broken
            .iter()
            .any(|mistake| mistake.what.contains("backslash"));
        if !is_cut {
            let with = with_line(&bare);
            assert_eq!(without_lines(&with), (bare.clone(), 1), "the file is another now");
            let ours = directories.stack_of("sshd", &with);
            let last = ours.session.last().unwrap();
            assert!(last.is_ours() && last.arguments.is_empty(), "{last:?}");
            assert_eq!(last.control.on("success"), Action::Ok);
        }
        let mistakes: Vec<String> =
            stack.broken.iter().take(3).map(|mistake| kind_of(&mistake.what)).collect();
        (mistakes, stack.session.len().min(8), stack.strays.len().min(2), removed.min(3))
    });
}

const WORDS: [&str; 30] = [
    "session required pam_unix.so\n",
    "-session optional pam_cgsandbox.so debug\n",
    "session [success=ok ignore=ignore module_unknown=ignore default=bad] pam_cgsandbox.so\n",
    "auth required pam_cgsandbox.so\n",
    "session required /lib/security/pam_cgsandbox.so config=/etc/x.toml\n",
    "session include common\n",
    "session substack sub\n",
    "@include common\n",
    "@include circle\n",
    "@include cut\n",
    "@include missing\n",
    "@include ../x\n",
    "session",
    "SESSION",
    "required",
    "requisite",
    "sufficient",
    "[success=1 default=ignore]",
    "[",
    "]",
    "=",
    "\\\n",
    "\\",
    "#",
    "\r\n",
    "\t",
    " ",
    "pam_cgsandbox",
    "pam_cgsandbox.so",
    "/",
];
