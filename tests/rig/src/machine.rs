//! What the machine of the tests cannot carry, as it declares itself.

/// Whether the machine is declared to lack what `directive` needs, for users as for sessions.
///
/// `CGSANDBOX_RIG_LACKS` names the directives that its kernel has no file for, with commas in
/// between; not set, there are none. A test holds a machine to that: a declared lack that is none
/// fails as much as one that is not declared. What no kernel has in cgroups of version 1 is not to
/// be declared.
pub fn lacks(directive: &str) -> bool {
    let declared = std::env::var("CGSANDBOX_RIG_LACKS").unwrap_or_default();
    let directive = directive.strip_prefix("session_").unwrap_or(directive);
    declared.split(',').any(|name| name.trim() == directive)
}
