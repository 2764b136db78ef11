//! The real libpam, as far as a login takes it.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr::{null, null_mut};

type Converse = extern "C" fn(c_int, *mut c_void, *mut c_void, *mut c_void) -> c_int;

#[repr(C)]
struct Conversation {
    converse: Converse,
    data: *mut c_void,
}

// SAFETY: as in security/pam_appl.h.
#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start(
        service: *const c_char,
        user: *const c_char,
        conversation: *const Conversation,
        pam: *mut *mut c_void,
    ) -> c_int;
    fn pam_set_item(pam: *mut c_void, item: c_int, value: *const c_void) -> c_int;
    fn pam_open_session(pam: *mut c_void, flags: c_int) -> c_int;
    fn pam_close_session(pam: *mut c_void, flags: c_int) -> c_int;
    fn pam_end(pam: *mut c_void, status: c_int) -> c_int;
}

const PAM_RHOST: c_int = 4;
const PAM_CONV_ERR: c_int = 19;

/// A login that PAM knows of. Its stack is read and its modules are loaded.
pub struct Pam(*mut c_void);

impl Pam {
    /// For `user` through `service`, from the machine itself.
    pub fn start(service: &str, user: &str) -> Result<Self, c_int> {
        let conversation = Conversation { converse: say_nothing, data: null_mut() };
        let text = |text: &str| CString::new(text).map_err(|_| PAM_CONV_ERR);
        let (service, user) = (text(service)?, text(user)?);
        let mut pam = null_mut();
        // SAFETY: all are live, and libpam copies what it keeps.
        let code = unsafe { pam_start(service.as_ptr(), user.as_ptr(), &conversation, &mut pam) };
        if code != 0 {
            return Err(code);
        }
        let pam = Pam(pam);
        // SAFETY: the handle is live, and libpam copies the C string.
        match unsafe { pam_set_item(pam.0, PAM_RHOST, c"127.0.0.1".as_ptr().cast()) } {
            0 => Ok(pam),
            code => Err(code),
        }
    }

    /// `pam_open_session(3)`; its code.
    pub fn open_session(&mut self) -> c_int {
        // SAFETY: the handle is live and borrowed by nobody else.
        unsafe { pam_open_session(self.0, 0) }
    }

    /// `pam_close_session(3)`; its code.
    pub fn close_session(&mut self) -> c_int {
        // SAFETY: the handle is live and borrowed by nobody else.
        unsafe { pam_close_session(self.0, 0) }
    }
}

impl Drop for Pam {
    fn drop(&mut self) {
        // SAFETY: nobody uses the handle after this.
        unsafe { pam_end(self.0, 0) };
    }
}

/// Nobody is there to read what a module says.
extern "C" fn say_nothing(_: c_int, _: *mut c_void, answers: *mut c_void, _: *mut c_void) -> c_int {
    if !answers.is_null() {
        // SAFETY: libpam passes the place for a pointer to the answers (pam_conv(3)).
        unsafe { answers.cast::<*const c_void>().write(null()) };
    }
    PAM_CONV_ERR
}
