//! Who logs in, as PAM and NSS know it, and what PAM keeps for the module.

use crate::args::Arguments;
use crate::failure::Failure;
use crate::log;
use crate::session::Session;
use cgsandbox_protocol::Request;
use libc::{c_char, passwd};
use pam::items::{RHost, Service, Tty, User};
use pam::module::PamHandle;
use std::ffi::{CStr, CString};

#[link(name = "pam")]
unsafe extern "C" {
    /// pam_modutil_getpwnam(3): null when unknown; else memory that lives as long as the handle.
    fn pam_modutil_getpwnam(pam: *mut PamHandle, user: *const c_char) -> *mut passwd;
}

/// Where PAM keeps the session. No other module uses this name.
const KEY: &str = "pam_cgsandbox session";

/// All of it as the client sent it: hostile. What is unset is empty.
pub struct Login {
    pub user: CString,
    service: String,
    tty: String,
    rhost: String,
}

impl Login {
    /// Bytes that are not UTF-8 are replaced, but in the user's name.
    pub fn of(pam: &PamHandle) -> Self {
        let text = |item: &CStr| item.to_string_lossy().into_owned();
        let user = pam.get_item::<User>().ok().flatten().map(|item| item.0.to_owned());
        let service = pam.get_item::<Service>().ok().flatten().map(|item| text(item.0));
        let tty = pam.get_item::<Tty>().ok().flatten().map(|item| text(item.0));
        let rhost = pam.get_item::<RHost>().ok().flatten().map(|item| text(item.0));
        Login {
            user: user.unwrap_or_default(),
            service: service.unwrap_or_default(),
            tty: tty.unwrap_or_default(),
            rhost: rhost.unwrap_or_default(),
        }
    }

    /// What the helper is asked.
    pub fn request(&self, given: &Arguments) -> Result<Request, Failure> {
        let user = self.user.to_str().map_err(|error| Failure::of("user", "name", error))?;
        Ok(Request::Open {
            user: user.to_owned(),
            service: self.service.clone(),
            tty: self.tty.clone(),
            rhost: self.rhost.clone(),
            config: given.config.clone(),
            deadline_ms: given.timeout.as_millis() as u64,
        })
    }

    /// A line on what went wrong; `enforced` is left out where it is empty.
    pub fn log_error(&self, event: &str, enforced: &str, failure: &Failure) {
        let fields = [
            ("user", &*self.user.to_string_lossy()),
            ("service", &self.service),
            ("rhost", &self.rhost),
            ("enforced", enforced),
            ("operation", failure.operation),
            ("object", &failure.object),
            ("error", &failure.cause),
        ];
        log::error(event, &fields);
    }
}

/// The uid that NSS gives `user`; None when it knows none.
pub fn uid(pam: &mut PamHandle, user: &CStr) -> Option<u32> {
    // SAFETY: the handle is live and `user` a C string; neither is kept.
    let entry = unsafe { pam_modutil_getpwnam(pam, user.as_ptr()) };
    // SAFETY: null, or an entry that outlives the borrow of the handle.
    unsafe { entry.as_ref() }.map(|entry| entry.pw_uid)
}

/// The session that this process has open on this handle.
pub fn kept(pam: &PamHandle) -> Option<&Session> {
    // SAFETY: only `keep` stores under KEY, and this is the type it stores.
    let session: &Option<Session> = unsafe { pam.get_data(KEY) }.ok()?;
    session.as_ref().filter(|session| session.leader == std::process::id())
}

/// Replaces what is kept. False when PAM cannot.
pub fn keep(pam: &mut PamHandle, session: Option<Session>) -> bool {
    pam.set_data(KEY, Box::new(session)).is_ok()
}
