//! The PAM stacks of the machine, as distributed, and our line in them.

use std::fs::{read_to_string, write};

/// The one line, as documented, but for the arguments.
pub const LINE: &str =
    "session [success=ok ignore=ignore module_unknown=ignore default=bad] pam_cgsandbox.so";

/// Where a stack gets the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// After everything else, as documented.
    Last,
    /// Before the include that brings pam_systemd.
    BeforeLogind,
}

/// The stack that PAM takes for a service: in `/etc/pam.d`, else the vendor's in
/// `/usr/lib/pam.d`, else that of `other`. What is changed becomes the first of these, and has
/// to be a copy.
pub fn stack(service: &str) -> String {
    let own = format!("/etc/pam.d/{service}");
    let vendors = format!("/usr/lib/pam.d/{service}");
    [own.as_str(), vendors.as_str(), "/etc/pam.d/other"]
        .iter()
        .find_map(|path| read_to_string(path).ok())
        .unwrap_or_else(|| panic!("the machine has no PAM stack for {service}"))
}

/// Replaces a stack in `/etc/pam.d`.
pub fn set_stack(service: &str, text: &str) {
    write(format!("/etc/pam.d/{service}"), text).expect("can't write a PAM stack");
}

/// Writes `lines` into a stack.
pub fn insert(service: &str, lines: &str, place: Place) {
    let stack = stack(service);
    let text = match place {
        Place::Last => format!("{}\n{lines}\n", stack.trim_end()),
        Place::BeforeLogind => {
            let at = stack.find("@include common-session").expect("no common-session in the stack");
            let (before, after) = stack.split_at(at);
            format!("{before}{lines}\n{after}")
        }
    };
    set_stack(service, &text);
}

/// Takes logind out of a stack: what it includes instead has no pam_systemd.
pub fn take_out_logind(service: &str) {
    let lines = stack(service);
    let common = read_to_string("/etc/pam.d/common-session").expect("no common-session");
    assert!(common.contains("pam_systemd.so"), "logind is not in the stack as distributed");
    let without = |text: &str| {
        let kept: Vec<&str> = text.lines().filter(|it| !it.contains("pam_systemd.so")).collect();
        kept.join("\n") + "\n"
    };
    set_stack("common-session-without-logind", &without(&common));
    let include = "@include common-session\n";
    assert!(lines.contains(include), "{lines}");
    set_stack(service, &lines.replace(include, "@include common-session-without-logind\n"));
}
