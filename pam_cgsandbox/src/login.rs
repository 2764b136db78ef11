//! Who logs in, as PAM and NSS know it, and what PAM keeps for the module.

use crate::session::Session;
use pam::items::{Item, User};
use pam::module::PamHandle;
use std::ffi::{CStr, CString, c_char};
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

// SAFETY: as in security/pam_modutil.h.
#[link(name = "pam")]
unsafe extern "C" {
    /// pam_modutil_getpwnam(3): null, or an entry that lives as long as the handle.
    fn pam_modutil_getpwnam(pam: *mut PamHandle, user: *const c_char) -> *const libc::passwd;
}

/// Where PAM keeps who opened. No other module uses this name.
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

/// Whether this process, and not one that it forked from, has opened a session on this handle.
pub fn has_opened(pam: &PamHandle) -> bool {
    // SAFETY: only `set_opened` stores under KEY, and this is the type it stores.
    let opener: Result<&u32, _> = unsafe { pam.get_data(KEY) };
    opener.is_ok_and(|opener| *opener == std::process::id())
}

/// Notes on the handle whether this process has opened a session on it. False when PAM cannot.
pub fn set_opened(pam: &mut PamHandle, opened: bool) -> bool {
    let opener = if opened { std::process::id() } else { 0 };
    pam.set_data(KEY, Box::new(opener)).is_ok()
}

/// The session of this process. A process is in one sandbox at a time, whichever handle the session
/// was opened on: programs such as JupyterHub open on one handle and close on another.
pub fn of_process() -> MutexGuard<'static, Option<Session>> {
    static SESSION: Mutex<Option<Session>> = Mutex::new(None);
    let mut session = SESSION.lock().unwrap_or_else(PoisonError::into_inner);
    // A process that this one was forked from has it open, and closes it.
    session.take_if(|session| session.leader != std::process::id());
    session
}
