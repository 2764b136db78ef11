//! A host on which `cgsandbox enable` has yet to be run.

use cgsandbox_rig::{Host, Output};

pub const POLICY: &str = "[profile.default]\ntasks_max = 50\n";
pub const SSHD: &str = "/etc/pam.d/sshd";

/// A module that does as the first letter in `/tmp/hostile` says; see hostile.c.
const HOSTILE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hostile.so"));

/// Our module, wherever the distribution has its modules; for a shell.
pub const MODULE: &str = "$(ls -d /usr/lib/*/security/pam_cgsandbox.so \
                          /usr/lib*/security/pam_cgsandbox.so 2>/dev/null)";

/// A host that has pam_cgsandbox installed, and no line.
pub fn host() -> Host {
    let host = Host::build().user("alice").policy(POLICY).start();
    host.sh("mount -t tmpfs tmpfs /var/lib && sed -i /cgsandbox/d /etc/pam.d/sshd");
    host
}

/// What `cgsandbox WORDS` says.
pub fn cgsandbox(host: &Host, words: &str) -> Output {
    host.as_root(["cgsandbox"].into_iter().chain(words.split(' '))).run()
}

/// All that a change could touch or leave: names, contents, owners, modes.
pub fn look(host: &Host) -> String {
    host.sh(
        "find /etc/pam.d /var/lib/cgsandbox /run/cgsandbox-trial -printf '%p %y %m %U:%G %l\\n' \
         2>/dev/null | sort; cd /etc/pam.d; for f in * .*; do [ ! -f $f ] || md5sum $f; done",
    )
}

/// `cgsandbox WORDS` is refused with all of `told`, and changes nothing.
#[track_caller]
pub fn assert_refused(host: &Host, words: &str, told: &[&str]) {
    let before = look(host);
    let said = cgsandbox(host, words);
    assert_eq!(said.status, 2, "{said:?}");
    let text = one_line(&said.stderr);
    assert!(told.iter().all(|word| text.contains(word)), "{told:?} in {said:?}");
    assert!(said.stderr.lines().all(|line| line.chars().count() <= 80), "{said:?}");
    assert_eq!(look(host), before, "{said:?}");
}

/// What is broken into lines for the screen, in one.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Puts the hostile module into the place of ours.
pub fn replace_module(host: &Host) {
    host.write("/tmp/module.so", HOSTILE);
    host.sh(&format!("for m in {MODULE}; do cp /tmp/module.so $m; done"));
}
