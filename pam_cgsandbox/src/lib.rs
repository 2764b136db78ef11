//! `pam_cgsandbox.so` puts a login session into its user's sandbox.
//!
//! The module decides nothing and builds nothing: `cgsandbox-helper` does, in a process of its
//! own. The module starts it, waits no longer than the `timeout=` argument says, and enters the
//! namespaces that it was handed. [`session`] tells the story.

mod args;
mod failure;
mod handoff;
mod log;
mod login;
mod namespace;
mod session;
mod spawn;

use pam::constants::{PamFlag, PamResultCode};
use pam::module::{PamHandle, PamHooks};
use session::Outcome;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

struct Cgsandbox;
pam::pam_hooks!(Cgsandbox);

impl PamHooks for Cgsandbox {
    fn sm_open_session(pam: &mut PamHandle, args: Vec<&CStr>, flags: PamFlag) -> PamResultCode {
        answer(|| session::open(pam, &args, flags))
    }

    fn sm_close_session(pam: &mut PamHandle, args: Vec<&CStr>, _: PamFlag) -> PamResultCode {
        answer(|| session::close(pam, &args))
    }
}

/// Runs a hook and says its outcome in PAM's terms. A panic is a refusal.
fn answer(hook: impl FnOnce() -> Outcome) -> PamResultCode {
    // The runtime that this hook is set in is linked into the module and serves nobody else. The
    // one it replaces would write to fd 2, which may be the client's, and read RUST_BACKTRACE.
    set_hook(Box::new(|panic| {
        log::error("session_denied", &[("operation", "panic"), ("error", &panic.to_string())]);
    }));
    match catch_unwind(AssertUnwindSafe(hook)) {
        Ok(Outcome::Done) => PamResultCode::PAM_SUCCESS,
        Ok(Outcome::NotOurs) => PamResultCode::PAM_IGNORE,
        Ok(Outcome::Failed) | Err(_) => PamResultCode::PAM_SESSION_ERR,
    }
}
