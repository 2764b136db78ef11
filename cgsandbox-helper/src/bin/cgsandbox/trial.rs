//! A session opened and closed by libpam, to see whether it can be.

use std::ffi::{CStr, CString, OsString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use cgsandbox::service::TRIAL_DONE;

/// pam_conv(3): how a module asks the user.
#[repr(C)]
struct Conversation {
    ask: extern "C" fn(c_int, *mut c_void, *mut c_void, *mut c_void) -> c_int,
    data: *mut c_void,
}

/// A handle of libpam's, which only it looks into.
type Handle = *mut c_void;

const SUCCESS: c_int = 0;
const CONVERSATION_FAILED: c_int = 19;
const NO_FLAGS: c_int = 0;

// SAFETY: as in security/pam_appl.h.
#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start_confdir(
        service: *const c_char,
        user: *const c_char,
        conversation: *const Conversation,
        directory: *const c_char,
        handle: *mut Handle,
    ) -> c_int;
    fn pam_open_session(handle: Handle, flags: c_int) -> c_int;
    fn pam_close_session(handle: Handle, flags: c_int) -> c_int;
    fn pam_end(handle: Handle, status: c_int) -> c_int;
    fn pam_strerror(handle: Handle, code: c_int) -> *const c_char;
}

/// There is nobody to ask.
extern "C" fn refuse_to_answer(_: c_int, _: *mut c_void, _: *mut c_void, _: *mut c_void) -> c_int {
    CONVERSATION_FAILED
}

/// Opens and closes a session; `words` are a directory of PAM files, a service and a user.
/// Exits with libpam's code, and says on stderr what failed, or on stdout that nothing did.
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    let words: Result<Vec<CString>, _> = words.map(|word| CString::new(word.into_vec())).collect();
    let Ok([directory, service, user]) = words.as_deref() else {
        eprintln!("a directory, a service and a user are to be named");
        return ExitCode::FAILURE;
    };
    match open_and_close(directory, service, user) {
        Ok(()) => {
            println!("{TRIAL_DONE}");
            ExitCode::SUCCESS
        }
        Err((step, code, meaning)) => {
            eprintln!("{step}: {meaning}");
            ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
        }
    }
}

type Failure = (&'static str, c_int, String);

fn open_and_close(directory: &CStr, service: &CStr, user: &CStr) -> Result<(), Failure> {
    let conversation = Conversation { ask: refuse_to_answer, data: std::ptr::null_mut() };
    let mut handle: Handle = std::ptr::null_mut();
    // SAFETY: the strings end in a NUL and live throughout the call, as does the conversation,
    // which libpam copies; `handle` is there to be written to.
    let started = unsafe {
        pam_start_confdir(
            service.as_ptr(),
            user.as_ptr(),
            &conversation,
            directory.as_ptr(),
            &mut handle,
        )
    };
    if started != SUCCESS {
        return Err(("pam_start", started, meaning(started)));
    }
    // SAFETY: pam_start_confdir(3) has set the handle, and pam_end is yet to come. The modules
    // that this runs are root's own, as in any login; this process has no other thread.
    let opened = unsafe { pam_open_session(handle, NO_FLAGS) };
    let closed = match opened {
        // SAFETY: as above.
        SUCCESS => unsafe { pam_close_session(handle, NO_FLAGS) },
        _ => SUCCESS,
    };
    let last = if opened == SUCCESS { closed } else { opened };
    // SAFETY: the handle is libpam's, and is not used after this.
    unsafe { pam_end(handle, last) };
    match (opened, closed) {
        (SUCCESS, SUCCESS) => Ok(()),
        (SUCCESS, code) => Err(("pam_close_session", code, meaning(code))),
        (code, _) => Err(("pam_open_session", code, meaning(code))),
    }
}

fn meaning(code: c_int) -> String {
    // SAFETY: pam_strerror(3) does not look at the handle, and returns a string that lives as
    // long as the program.
    let text = unsafe { CStr::from_ptr(pam_strerror(std::ptr::null_mut(), code)) };
    text.to_string_lossy().into_owned()
}
