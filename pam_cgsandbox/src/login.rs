//! Who logs in, as PAM and NSS know it, and what PAM keeps for the module.

use crate::session::Session;
use pam::items::{Item, RHost, Service, Tty, User};
use pam::module::PamHandle;
use std::ffi::{CStr, CString, c_char};
use std::ops::Deref;

#[link(name = "pam")]
unsafe extern "C" {
    /// pam_modutil_getpwnam(3): null, or an entry that lives as long as the handle.
    fn pam_modutil_getpwnam(pam: *mut PamHandle, user: *const c_char) -> *const libc::passwd;
}

/// Where PAM keeps the session. No other module uses this name.
const KEY: &str = "pam_cgsandbox session";

/// As the client sent it: hostile. What is unset is empty.
pub struct Login {
    pub user: CString,
    pub service: String,
    pub tty: String,
    pub rhost: String,
}

impl Login {
    pub fn of(pam: &PamHandle) -> Self {
        let text = |item: CString| item.to_string_lossy().into_owned();
        let (user, service) = (item::<User>(pam), text(item::<Service>(pam)));
        Login { user, service, tty: text(item::<Tty>(pam)), rhost: text(item::<RHost>(pam)) }
    }
}

fn item<'a, T: Item<'a> + Deref<Target = &'a CStr>>(pam: &'a PamHandle) -> CString {
    pam.get_item::<T>().ok().flatten().map(|item| CString::from(*item)).unwrap_or_default()
}

/// The uid that NSS gives `user`; None when it knows none.
pub fn uid(pam: &mut PamHandle, user: &CStr) -> Option<u32> {
    // SAFETY: the handle is live and `user` a C string; the entry is read before either changes.
    unsafe { pam_modutil_getpwnam(pam, user.as_ptr()).as_ref().map(|entry| entry.pw_uid) }
}

/// The session that this process, and not one that it forked from, has open on this handle.
pub fn kept(pam: &PamHandle) -> Option<&Session> {
    // SAFETY: only `keep` stores under KEY, and this is the type it stores.
    let session: &Option<Session> = unsafe { pam.get_data(KEY) }.ok()?;
    session.as_ref().filter(|session| session.leader == std::process::id())
}

/// Replaces what is kept. False when PAM cannot.
pub fn keep(pam: &mut PamHandle, session: Option<Session>) -> bool {
    pam.set_data(KEY, Box::new(session)).is_ok()
}
