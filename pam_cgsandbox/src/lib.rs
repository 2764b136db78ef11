//! `pam_cgsandbox.so` puts a login session into its user's sandbox. It decides and builds nothing:
//! it starts `cgsandbox-helper`, waits as long as `timeout=` says, and enters what it is handed.
#![expect(missing_docs, reason = "pam_hooks! has none for what it exports")]

mod clone;
mod handoff;
mod host;
mod log;
mod login;
mod session;
mod spawn;

use cgsandbox_protocol::Login;
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

/// Says in PAM's terms what a hook has come to. A panic is a refusal.
fn answer(hook: impl FnOnce() -> Outcome) -> PamResultCode {
    // The Rust runtime that this is set in is the module's own and serves nobody else. Its default
    // would write to fd 2, which may be the client's, and read RUST_BACKTRACE.
    set_hook(Box::new(|panic| {
        log::write(log::ERR, "session_denied", &[("panic", &panic.to_string())]);
    }));
    match catch_unwind(AssertUnwindSafe(hook)) {
        Ok(Ok(())) => PamResultCode::PAM_SUCCESS,
        Ok(Err(Login::Allow)) => PamResultCode::PAM_IGNORE,
        Ok(Err(Login::Deny)) | Err(_) => PamResultCode::PAM_SESSION_ERR,
    }
}
