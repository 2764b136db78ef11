//! What this crate says of PAM's files is what the real libpam does with them.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;
use std::process::Command;

use cgsandbox::pam_stack::Directories;
use cgsandbox::service::{TRIAL, TRIAL_DONE};

struct PamD(PathBuf);

impl PamD {
    fn with(name: &str, files: &[(&str, &str)]) -> Self {
        let path =
            std::env::temp_dir().join(format!("cgsandbox-trial-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        for (file, text) in files {
            std::fs::write(path.join(file), text).unwrap();
        }
        PamD(path)
    }

    /// Whether libpam opens and closes a session of root's through `service`.
    fn opens(&self, service: &str) -> (bool, String) {
        let command = Command::new(env!("CARGO_BIN_EXE_cgsandbox"))
            .args([TRIAL.as_ref(), self.0.as_os_str(), service.as_ref(), "root".as_ref()])
            .output()
            .unwrap();
        let done = String::from_utf8_lossy(&command.stdout).trim() == TRIAL_DONE;
        assert_eq!(done, command.status.success(), "{command:?}");
        (done, String::from_utf8_lossy(&command.stderr).into_owned())
    }
}

impl Drop for PamD {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// libpam and this crate agree on whether `text` can be read.
#[track_caller]
fn assert_agree(name: &str, text: &str, is_sound: bool) {
    let other = "session required pam_permit.so\n";
    let pam = PamD::with(name, &[("other", other), ("common", other)]);
    // By path: libpam looks for a bare name in /etc/pam.d, wherever the file is.
    let text = text.replace("DIRECTORY", pam.0.to_str().unwrap());
    std::fs::write(pam.0.join("svc"), &text).unwrap();
    let broken = Directories(vec![pam.0.clone()]).stack("svc").unwrap().broken;
    let (opens, said) = pam.opens("svc");
    assert_eq!(opens, is_sound, "libpam on {text:?}: {said}");
    assert_eq!(broken.is_empty(), is_sound, "{text:?}: {broken:?}");
}

#[test]
fn what_libpam_reads_is_sound() {
    let before = "session required pam_permit.so\n";
    for (number, line) in [
        "",
        "session required pam_permit.so",
        "# comment \\\nsession required pam_permit.so # and \\\n# another",
        "-session optional pam_that_is_nowhere.so",
        "SESSION\tRequired\tpam_permit.so\t\t",
        "session \\\n required \\ \n pam_permit.so\n",
        "session [ success = ok  default=bad ] pam_permit.so\n",
        "session [success=ok\tnew_authtok_reqd=ok ignore=ignore default=1] pam_permit.so\n",
        "session success=ok pam_permit.so\n",
        "session [default=reset] pam_that_is_nowhere.so\nsession [default=done] pam_permit.so\n",
        "session include DIRECTORY/common\nsession substack DIRECTORY/common\n",
        "@include DIRECTORY/common\n",
        "session optional pam_permit.so an [argument in brackets] and=more\n",
    ]
    .iter()
    .enumerate()
    {
        assert_agree(&format!("sound-{number}"), &format!("{before}{line}"), true);
    }
}

#[test]
fn every_outcome_and_action_of_the_manual_is_known() {
    let outcomes = "success open_err symbol_err service_err system_err buf_err perm_denied \
                    auth_err cred_insufficient authinfo_unavail user_unknown maxtries \
                    new_authtok_reqd acct_expired session_err cred_unavail cred_expired cred_err \
                    no_module_data conv_err authtok_err authtok_recover_err authtok_lock_busy \
                    authtok_disable_aging try_again ignore abort authtok_expired module_unknown \
                    bad_item conv_again incomplete default";
    for outcome in outcomes.split_whitespace() {
        let line = format!("session [{outcome}=ok success=ok] pam_permit.so\n");
        assert_agree(&format!("outcome-{outcome}"), &line, true);
    }
    for action in ["ignore", "ok", "done", "bad", "die", "reset", "1", "12"] {
        let lines = format!(
            "session [session_err={action} default=ok] pam_permit.so\n\
             session required pam_permit.so\n"
        );
        assert_agree(&format!("action-{action}"), &lines, true);
    }
}

#[test]
fn what_libpam_stumbles_on_is_broken() {
    let before = "session required pam_permit.so\n";
    for (number, line) in [
        "session [success=ok ignore=ignore default=bad pam_permit.so\n",
        "session success=ok ignore=ignore default=bad] pam_permit.so\n",
        "session [sucess=ok default=ok] pam_permit.so\n",
        "session [Success=ok default=ok] pam_permit.so\n",
        "session [success=okay default=ok] pam_permit.so\n",
        "session [success=0 default=ok] pam_permit.so\n",
        "session [success ok default=ok] pam_permit.so\n",
        "session [success=ok default=] pam_permit.so\n",
        "session requird pam_permit.so\n",
        "session required\n",
        "session\n",
        "session required pam_permit.so\r\n",
        "session include nowhere\n",
        "session substack\n",
        "@include nowhere\n",
        "session include DIRECTORY/svc\n",
        "session required pam_permit.so \\\n",
        "session required pam_permit.so \\",
    ]
    .iter()
    .enumerate()
    {
        assert_agree(&format!("broken-{number}"), &format!("{before}{line}"), false);
    }
}

#[test]
fn a_user_that_nobody_is_and_a_service_of_no_file_are_no_crash() {
    let pam = PamD::with("odd", &[("other", "session required pam_deny.so\n")]);
    let (opens, said) = pam.opens("unheard-of");
    assert!(!opens && said.starts_with("pam_open_session: "), "{said}");
    let output = Command::new(env!("CARGO_BIN_EXE_cgsandbox")).arg(TRIAL).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

/// A login waits for the helper: whatever is linked into it costs every login.
#[test]
fn only_the_command_links_libpam() {
    let needs = |program: &str| {
        let output = Command::new("readelf").args(["-d", program]).output().unwrap();
        assert!(output.status.success(), "readelf: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(needs(env!("CARGO_BIN_EXE_cgsandbox")).contains("libpam.so"));
    let helper = needs(env!("CARGO_BIN_EXE_cgsandbox-helper"));
    assert!(helper.contains("NEEDED") && !helper.contains("libpam"), "{helper}");
}
