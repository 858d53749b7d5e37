//! The signal on which the flight recorder writes.
//!
//! Its handler is the system's and not Python's, so that it works while native code holds the GIL, which is when somebody sends it. It
//! only takes a note, which the recorder's thread finds, and then calls the handler that was there before, Python's own among them.
//! A handler that the program sets later takes this one's place.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use libc::{c_int, c_void, siginfo_t};

static CAUGHT: AtomicBool = AtomicBool::new(false);
/// The signal, or 0.
static INSTALLED: AtomicI32 = AtomicI32::new(0);
/// The handler that was there before, and its flags; set before ours is.
static BEFORE: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static BEFORE_FLAGS: AtomicI32 = AtomicI32::new(0);

extern "C" fn handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    CAUGHT.store(true, Ordering::Relaxed);
    let before = BEFORE.load(Ordering::Relaxed);
    if before == libc::SIG_DFL || before == libc::SIG_IGN {
        return;
    }
    if BEFORE_FLAGS.load(Ordering::Relaxed) & libc::SA_SIGINFO != 0 {
        // SAFETY: the system had it as a handler of this kind, and would have called it with this.
        let call = unsafe { std::mem::transmute::<usize, extern "C" fn(c_int, *mut siginfo_t, *mut c_void)>(before) };
        call(signal, info, context);
    } else {
        // SAFETY: as above.
        let call = unsafe { std::mem::transmute::<usize, extern "C" fn(c_int)>(before) };
        call(signal);
    }
}

fn present(signal: c_int) -> io::Result<libc::sigaction> {
    let mut present = MaybeUninit::zeroed();
    // SAFETY: a place for the answer; nothing is changed.
    match unsafe { libc::sigaction(signal, ptr::null(), present.as_mut_ptr()) } {
        // SAFETY: filled in.
        0 => Ok(unsafe { present.assume_init() }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set(signal: c_int, action: &libc::sigaction) -> io::Result<()> {
    // SAFETY: `action` was made by `present`, with our handler in it or as it was.
    match unsafe { libc::sigaction(signal, action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn is_ours(action: &libc::sigaction) -> bool {
    action.sa_sigaction == handler as *const () as usize
}

/// Catches the signal from now on. One at a time.
pub fn install(signal: c_int) -> io::Result<()> {
    let mut action = present(signal)?;
    if is_ours(&action) {
        return Ok(());
    }
    BEFORE.store(action.sa_sigaction, Ordering::Relaxed);
    BEFORE_FLAGS.store(action.sa_flags, Ordering::Relaxed);
    // What waits in a system call goes on as before, unless the handler that was there wanted otherwise.
    if action.sa_sigaction == libc::SIG_DFL || action.sa_sigaction == libc::SIG_IGN {
        action.sa_flags = libc::SA_RESTART;
    }
    action.sa_flags |= libc::SA_SIGINFO | libc::SA_ONSTACK;
    action.sa_sigaction = handler as *const () as usize;
    set(signal, &action)?;
    INSTALLED.store(signal, Ordering::Relaxed);
    Ok(())
}

/// Puts back what was there before, unless the program has set something else meanwhile.
pub fn uninstall() {
    let signal = INSTALLED.swap(0, Ordering::Relaxed);
    if signal == 0 {
        return;
    }
    if let Ok(mut action) = present(signal) {
        if is_ours(&action) {
            action.sa_sigaction = BEFORE.load(Ordering::Relaxed);
            action.sa_flags = BEFORE_FLAGS.load(Ordering::Relaxed);
            // Nothing can be done about a failure, and there is none: both were valid.
            let _ = set(signal, &action);
        }
    }
    CAUGHT.store(false, Ordering::Relaxed);
}

/// Whether the signal came since this was asked last.
pub fn take() -> bool {
    CAUGHT.load(Ordering::Relaxed) && CAUGHT.swap(false, Ordering::Relaxed)
}

/// Whether the program has set a handler of its own meanwhile.
pub fn was_replaced() -> bool {
    let signal = INSTALLED.load(Ordering::Relaxed);
    signal != 0 && present(signal).is_ok_and(|action| !is_ours(&action))
}
