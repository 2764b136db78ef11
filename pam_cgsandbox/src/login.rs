//! Who logs in, as PAM and NSS know it, and what PAM keeps for the module.

use crate::session::Session;
use pam::items::{Item, User};
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

/// The user's uid and name; None for a name that NSS does not know or that is not UTF-8.
pub fn user(pam: &mut PamHandle) -> Option<(u32, String)> {
    let name = CString::from(pam.get_item::<User>().ok()??.0);
    // SAFETY: the handle is live and `name` a C string; the entry is read before either changes.
    let entry = unsafe { pam_modutil_getpwnam(pam, name.as_ptr()).as_ref() }?;
    Some((entry.pw_uid, name.into_string().ok()?))
}

/// An item as the client sent it, hostile, with what is not UTF-8 replaced. Empty when unset.
pub fn text<'a, T: Item<'a> + Deref<Target = &'a CStr>>(pam: &'a PamHandle) -> String {
    let item = pam.get_item::<T>().ok().flatten();
    item.map(|item| item.to_string_lossy().into_owned()).unwrap_or_default()
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
