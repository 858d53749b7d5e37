//! The socket through which others look into this program: a thread that sleeps until somebody connects, and answers then.
//!
//! Started by the process's first loop under `segue run` (and with `SEGUE_ATTACH=1`); [`begin_if_wanted`]. The socket lies in a folder of
//! the user's that nobody else may open, and who connects must be the same user or root. One JSON object a line each way:
//! `{"ask": "tree", "arguments": {...}}` and `{"answer": ...}` or `{"refused": "why"}`, with the state of the loops beside it. The questions
//! are those of recordings (`docs/design/recording.md`), and "program", "loops", "stack" and "cancel".
//!
//! There is no thread while the process forks, or the interpreter would warn of it: [`pause`] and [`resume`]. The thread never waits for
//! the GIL and never touches Python.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use serde_json::{json, Map, Value};

use super::client::Client;
use super::live::Live;
use super::peek::Layout;
use super::thread::Thread;

/// While somebody is connected, how often what has happened is looked at.
const TICK_MILLISECONDS: i32 = 20;

// ---- beginning and ending ----------------------------------------------------------------------------------------------

/// Whether this process lets others look: not known yet, no, yes from its next loop on, yes.
static WANTED: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const NO: u8 = 1;
const YES: u8 = 2;
const BEGUN: u8 = 3;

enum Listening {
    Running { thread: Thread<State>, wake: Arc<Wake> },
    Paused(Box<State>),
}

static LISTENING: Mutex<Option<Listening>> = Mutex::new(None);

fn listening() -> MutexGuard<'static, Option<Listening>> {
    LISTENING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A loop was made. The first one of a process that wants it begins to listen; a failure is none of the program's business, since it
/// has not asked for anything. Raises what is no error of ours: an interrupt.
pub fn begin_if_wanted(py: Python<'_>) -> PyResult<()> {
    if WANTED.load(Ordering::Relaxed) == UNKNOWN {
        let wanted = std::env::var_os("SEGUE_ATTACH").is_some_and(|value| value == "1");
        want(if wanted { YES } else { NO });
    }
    // Two threads may make loops at once.
    if WANTED.compare_exchange(YES, BEGUN, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return Ok(());
    }
    match begin(py) {
        Err(e) if !e.is_instance_of::<PyException>(py) => {
            want(YES);
            Err(e)
        }
        Err(_) => {
            want(NO);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn want(wanted: u8) {
    WANTED.store(wanted, Ordering::Relaxed);
}

/// `segue run` says so. `SEGUE_ATTACH=0` in the environment wins.
#[pyfunction(name = "_listen_from_first_loop")]
pub fn listen_from_first_loop() {
    if std::env::var_os("SEGUE_ATTACH").is_none_or(|value| value != "0") {
        want(YES);
    }
}

fn begin(py: Python<'_>) -> PyResult<()> {
    // It says what is to be done at exit and around forks, by calling us.
    py.import("segue._listening")?;
    let about = about(py)?;
    let layout = Layout::found(py)?;
    let state = State::open(&folder(), Live::new(about, layout))?;
    let begun = start(state)?;
    *listening() = Some(begun);
    Ok(())
}

fn start(state: State) -> io::Result<Listening> {
    let wake = state.wake.clone();
    wake.stop.store(false, Ordering::Release);
    Ok(Listening::Running { thread: Thread::start("segue-listen", move || state.serve())?, wake })
}

/// About the program, as a recording has it.
fn about(py: Python<'_>) -> PyResult<Map<String, Value>> {
    let sys = py.import("sys")?;
    let argv: Vec<String> =
        sys.getattr("argv")?.try_iter()?.map(|word| Ok(word?.str()?.to_string())).collect::<PyResult<_>>()?;
    let version: String = sys.getattr("version")?.extract()?;
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let program = argv.first().filter(|program| !program.is_empty());
    let program =
        program.map_or_else(|| sys.getattr("executable").map(|o| o.to_string()), |program| Ok(program.clone()))?;
    let Value::Object(about) = json!({
        "program": program,
        "arguments": argv.get(1..).unwrap_or_default(),
        "pid": std::process::id(),
        "python": version.split_whitespace().next(),
        "segue": env!("CARGO_PKG_VERSION"),
        "started": started.as_secs_f64(),
        "directory": std::env::current_dir().ok().map(|path| path.to_string_lossy().into_owned()),
    }) else {
        return Ok(Map::new());
    };
    Ok(about)
}

/// Before a fork: the thread ends, with what it has kept for [`resume`].
#[pyfunction(name = "_pause_listening")]
pub fn pause(py: Python<'_>) {
    let taken = listening().take();
    let (thread, wake) = match taken {
        Some(Listening::Running { thread, wake }) => (thread, wake),
        other => {
            *listening() = other;
            return;
        }
    };
    // What it asks of the interpreter meanwhile needs the GIL.
    let state = py.detach(move || {
        wake.stop.store(true, Ordering::Release);
        wake.now();
        thread.join().map(|mut state| {
            state.live.stop();
            state
        })
    });
    *listening() = state.map(|state| Listening::Paused(Box::new(state)));
}

/// After it, in the parent.
#[pyfunction(name = "_resume_listening")]
pub fn resume(_py: Python<'_>) {
    let paused = listening().take();
    *listening() = match paused {
        // Without a thread nobody can look, and the program goes on.
        Some(Listening::Paused(state)) => start(*state).ok(),
        other => other,
    };
}

/// In the child the socket is the parent's; it gets one of its own with its first loop.
#[pyfunction(name = "_forget_listening")]
pub fn forget(_py: Python<'_>) {
    if let Some(Listening::Paused(mut state)) = listening().take() {
        state.is_ours = false;
    }
    super::live::forget();
    if WANTED.load(Ordering::Relaxed) == BEGUN {
        want(YES);
    }
}

/// At exit.
#[pyfunction(name = "_stop_listening")]
pub fn stop(py: Python<'_>) {
    pause(py);
    let over = listening().take();
    drop(over);
    want(NO);
}

// ---- the socket --------------------------------------------------------------------------------------------------------

/// Whose program this is.
pub fn user() -> u32 {
    // SAFETY: always allowed.
    unsafe { libc::geteuid() }
}

/// `$XDG_RUNTIME_DIR/segue`, else `/tmp/segue-UID`.
fn folder() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(base) if base.is_absolute() && base.is_dir() => base.join("segue"),
        _ => PathBuf::from(format!("/tmp/segue-{}", user())),
    }
}

/// Makes the folder if it isn't there. One that others could have made or may open is refused.
fn make_private(folder: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    // Not what a link leads to.
    let found = std::fs::symlink_metadata(folder)?;
    if !found.is_dir() || found.uid() != user() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is not a folder of this user's"));
    }
    if found.mode() & 0o077 != 0 {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Sockets that programs left behind which were killed.
fn remove_left_behind(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<i32>().ok());
        let (Some(pid), Some(true)) = (number, path.extension().map(|ending| ending == "sock")) else { continue };
        // SAFETY: asks whether there is such a process, no more.
        let is_gone = pid > 0
            && unsafe { libc::kill(pid, 0) } != 0
            && io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH);
        // A process of another container may have it.
        let is_refused =
            || matches!(UnixStream::connect(&path), Err(e) if e.kind() == io::ErrorKind::ConnectionRefused);
        if is_gone && is_refused() {
            // Another program may have been quicker.
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Wakes the thread out of its wait.
struct Wake {
    event: OwnedFd,
    stop: AtomicBool,
    path: PathBuf,
}

impl Wake {
    fn new(path: PathBuf) -> io::Result<Wake> {
        // SAFETY: makes a new descriptor, or -1.
        let event = match unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) } {
            -1 => return Err(io::Error::last_os_error()),
            // SAFETY: ours alone.
            event => unsafe { OwnedFd::from_raw_fd(event) },
        };
        Ok(Wake { event, stop: AtomicBool::new(false), path })
    }

    fn now(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight bytes that are there. It can't fail but by being full, and then the thread wakes anyway.
        unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    fn clear(&self) {
        let mut count = [0u8; 8];
        // SAFETY: as above; nothing to be read is fine.
        unsafe { libc::read(self.event.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

struct State {
    listener: UnixListener,
    wake: Arc<Wake>,
    clients: Vec<Client>,
    live: Live,
    /// Whether the socket's file is ours to remove.
    is_ours: bool,
}

impl Drop for State {
    fn drop(&mut self) {
        if self.is_ours {
            // It may have been removed by somebody who cleans up.
            let _ = std::fs::remove_file(&self.wake.path);
        }
    }
}

impl State {
    fn open(folder: &Path, live: Live) -> io::Result<State> {
        make_private(folder)?;
        remove_left_behind(folder);
        let path = folder.join(format!("{}.sock", std::process::id()));
        // What has our number is of a process that had it before.
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let wake = Arc::new(Wake::new(path)?);
        Ok(State { listener, wake, clients: Vec::new(), live, is_ours: true })
    }

    fn serve(mut self) -> State {
        loop {
            self.wait();
            if self.wake.stop.load(Ordering::Acquire) {
                self.wake.clear();
                return self;
            }
            self.accept();
            if self.clients.is_empty() {
                continue;
            }
            self.live.feed();
            for client in &mut self.clients {
                client.serve(&mut self.live);
            }
            self.clients.retain(|client| !client.is_over);
            if self.clients.is_empty() {
                self.live.rest();
            }
        }
    }

    fn wait(&self) {
        let entry = |fd, events| libc::pollfd { fd, events, revents: 0 };
        let mut entries =
            vec![entry(self.wake.event.as_raw_fd(), libc::POLLIN), entry(self.listener.as_raw_fd(), libc::POLLIN)];
        for client in &self.clients {
            let events = if client.has_unread() { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN };
            entries.push(entry(client.stream.as_raw_fd(), events));
        }
        let timeout = if self.clients.is_empty() { -1 } else { TICK_MILLISECONDS };
        // SAFETY: a list of this length. An interruption is a wake-up as any other.
        unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, timeout) };
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => match Client::new(stream, self.clients.len()) {
                    Ok(client) => self.clients.push(client),
                    // It is gone again.
                    Err(_) => continue,
                },
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => continue,
                Err(_) => {
                    // The program is out of descriptors: not again at once.
                    std::thread::sleep(Duration::from_millis(100));
                    return;
                }
            }
        }
    }
}

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(listen_from_first_loop, m)?)?;
    m.add_function(wrap_pyfunction!(pause, m)?)?;
    m.add_function(wrap_pyfunction!(resume, m)?)?;
    m.add_function(wrap_pyfunction!(forget, m)?)?;
    m.add_function(wrap_pyfunction!(stop, m)?)
}
