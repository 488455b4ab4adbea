//! The fork server: a small process that forks workers and reaps them.
//!
//! It is the program's own executable, started once more, in which [`ENTRY`] takes over before `main`. It has one thread, so
//! it may fork at any time, and little memory, so a fork is cheap. Since it reaps the workers, the host's own children and
//! signal settings do not matter. It and its workers end when its host ends.
//!
//! No code here may use `std`'s `RandomState`, or anything else that is seeded at its first use: all workers that are forked
//! afterwards would draw the same numbers.

#![allow(unsafe_code)]

mod preload;
mod workers;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::LazyLock;
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::MsgFlags;
use nix::sys::stat::{Mode, umask};
use pool_ipc::Descriptors;
use pool_ipc::sys::pidfd_open;

use self::workers::Workers;
use crate::launch::control::{Control, SEND_PAUSE};
use crate::launch::fork::{Side, fork};
use crate::launch::messages::{Greeting, Launch, Role, ServerReport, ServerRequest, Step};
use crate::launch::spawn::{MARKER, enter_directory, exec_worker};
use crate::process::environment::WorkerEnv;
use crate::process::exit;
use crate::process::output;
use crate::process::output_pipes::OutputPipes;
use crate::process::pidfd::{POLL_PAUSE, wait_gone};
use crate::process::signals;
use crate::task::table;
use crate::worker;
use crate::worker::limits::{OOM_SCORE_BEFORE, WorkerLimits};
use crate::worker::links::Links;
use crate::worker::position::Worker;

/// Runs before `main` in every process of a program that holds this crate. It returns at once unless the process is one of a
/// pool.
///
/// The linker gathers such entries of all crates (System V ABI, "Initialization and Termination Functions"); it keeps
/// this one because [`is_in_executable`], which every pool calls, refers to it.
#[used]
#[unsafe(link_section = ".init_array")]
pub(crate) static ENTRY: Constructor = enter;

/// The arguments with which glibc calls constructors: those of `main`, and the environment.
pub(crate) type Constructor = extern "C" fn(i32, *const *const libc::c_char, *const *const libc::c_char);

extern "C" fn enter(argc: i32, argv: *const *const libc::c_char, envp: *const *const libc::c_char) {
    let Some(nonce) = std::env::var_os(MARKER).and_then(|value| value.to_str()?.parse().ok()) else { return };
    // A marker that was set by other means has no effect, since there is no greeting with its nonce.
    match Control::stdin_has_greeting(nonce) {
        Ok(true) => {}
        Ok(false) => return,
        // Here and below the process must end: if `main` ran, the program would begin once more.
        Err(_) => signals::exit_now(exit::NOT_GREETED),
    }
    signals::open_standard_streams();
    let Ok(control) = Control::from_stdin() else { signals::exit_now(exit::NOT_GREETED) };
    let Ok(Some((greeting, fds))) = control.receive::<Greeting>(MsgFlags::empty()) else {
        signals::exit_now(exit::NOT_GREETED)
    };
    // SAFETY:
    // - constructors run in a process of one thread, so no other thread reads the environment.
    unsafe { std::env::remove_var(MARKER) };
    let env = WorkerEnv::take();
    signals::close_stdin();
    let mut fds = fds.into_iter();
    if let Role::Server { umask: mask, .. } = greeting.role {
        restore(mask, fds.next_back());
    }
    run_other_constructors(argc, argv, envp);
    if table::fingerprint().ok() != Some(greeting.fingerprint) {
        signals::exit_now(exit::OTHER_PROGRAM);
    }
    match (greeting.role, Descriptors::from_fds(&mut fds), Descriptors::from_fds(&mut fds), fds.next()) {
        (Role::Server { host, spawn, settings, .. }, Some(hub), None, None) => {
            let settings = WorkerLimits { env, ..settings };
            serve(control, hub, host, &settings, spawn.then_some(greeting.fingerprint))
        }
        (Role::Worker { worker, incarnation, server, settings }, Some(lane), Some(hub), Some(socket)) => {
            drop(control);
            signals::prepare_worker(server, &signals::process_name(&settings.name, worker));
            let links = Links { lane, socket: socket.into(), hub, records: fds.next() };
            worker::run(Worker::new(worker, incarnation), links, &settings)
        }
        _ => signals::exit_now(exit::OTHER_PROGRAM),
    }
}

/// Sets the umask and the working directory that the host had when the pool was made.
fn restore(mask: Option<u32>, cwd: Option<OwnedFd>) {
    let is_restored = cwd.is_some_and(|cwd| enter_directory(&cwd).is_ok());
    if !is_restored {
        // In another directory relative paths would name other files.
        signals::exit_now(exit::NO_DIRECTORY);
    }
    if let Some(mask) = mask {
        umask(Mode::from_bits_truncate(mask));
    }
}

// The ends of the executable's table of constructors, made by the linker, as two words. GNU ld makes these symbols for
// executables only, so they are weak: in a shared library both are zero, and the library can be loaded. The two words are
// weak, too, since a program may hold another copy of this crate.
std::arch::global_asm!(
    ".pushsection .data.rel.ro.pool_core_constructors, \"aw\"",
    ".weak __init_array_start",
    ".hidden __init_array_start",
    ".weak __init_array_end",
    ".hidden __init_array_end",
    ".weak pool_core_constructors",
    ".hidden pool_core_constructors",
    ".balign {word}",
    "pool_core_constructors:",
    ".{word}byte __init_array_start",
    ".{word}byte __init_array_end",
    ".popsection",
    word = const size_of::<usize>(),
);

unsafe extern "C" {
    static pool_core_constructors: [usize; 2];
}

/// Addresses of the executable's table of constructors; empty if this code is in a shared library.
fn constructors() -> std::ops::Range<usize> {
    // SAFETY:
    // - the two words are defined above, and only the dynamic linker writes them, before any code of this object runs.
    let [start, end] = unsafe { pool_core_constructors };
    start..end
}

/// Runs the constructors behind ours, in which other crates may register things, as the C library does before `main`.
fn run_other_constructors(argc: i32, argv: *const *const libc::c_char, envp: *const *const libc::c_char) {
    let table = constructors();
    let mut is_behind = false;
    for address in table.step_by(size_of::<usize>()) {
        // SAFETY:
        // - the linker's symbols enclose whole words, and the table is not written at run time.
        let word = unsafe { std::ptr::with_exposed_provenance::<usize>(address).read() };
        // 0 and -1 are padding by convention.
        if is_behind && word != 0 && word != usize::MAX {
            // SAFETY:
            // - the words are functions of this type, which the C library would have called next, in this order.
            let constructor = unsafe { std::mem::transmute::<usize, Constructor>(word) };
            constructor(argc, argv, envp);
        }
        is_behind |= word == ENTRY as usize;
    }
}

/// True if a new process of this executable would run [`ENTRY`]: false if this code is in a shared library that is loaded
/// later.
pub(crate) fn is_in_executable() -> bool {
    constructors().contains(&(&raw const ENTRY).addr()) && base_of((&raw const ENTRY).cast()) == base_of_executable()
}

/// Start address of the object (executable or library) that holds the address, see dladdr(3).
fn base_of(address: *const libc::c_void) -> Option<usize> {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY:
    // - `dladdr` takes any address, and `info` is writable.
    let found = unsafe { libc::dladdr(address, info.as_mut_ptr()) } != 0;
    // SAFETY:
    // - all zeroes are a valid `Dl_info`.
    let info = unsafe { info.assume_init() };
    found.then_some(info.dli_fbase.addr())
}

fn base_of_executable() -> Option<usize> {
    // SAFETY:
    // - `getauxval` has no preconditions; the entry point lies in the executable.
    let entry = unsafe { libc::getauxval(libc::AT_ENTRY) };
    base_of(std::ptr::without_provenance(entry as usize))
}

// ---- serving -------------------------------------------------------------------------------------------------------

/// Serves the process `host` until that ends or closes its socket. With `spawn`, each worker is started from the executable,
/// and is greeted with this fingerprint.
pub(crate) fn serve(control: Control, hub: Descriptors, host: u32, settings: &WorkerLimits, spawn: Option<u64>) -> ! {
    let (server, mut settings) = (std::process::id(), settings.clone());
    signals::prepare_server(&settings.name);
    let mut workers = match Workers::new() {
        Ok(workers) => workers,
        Err(errno) => {
            let _ = control.send(&ServerReport::NotServing { errno: errno as i32 }, &[]);
            signals::exit_now(1)
        }
    };
    // The host's process is watched, too, since its forked copies may hold the other end of the socket open.
    let host = pidfd_open(host).ok();
    LazyLock::force(&OOM_SCORE_BEFORE);
    output::prepare(settings.is_heard);
    loop {
        let mut fds = vec![
            PollFd::new(control.as_fd(), workers.reports.events()),
            PollFd::new(workers.ends.0.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(host.as_ref().map(|host| PollFd::new(host.as_fd(), PollFlags::POLLIN)));
        let timeout = if workers.has_retries() { SEND_PAUSE_MS.into() } else { PollTimeout::NONE };
        let [has_request, has_ended, host_has_ended] = match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => [0, 1, 2].map(|at| fds.get(at).is_some_and(|fd| fd.any().unwrap_or(true))),
            Err(_) => {
                thread::sleep(POLL_PAUSE);
                [control.has_news(), true, host.as_ref().is_some_and(|host| wait_gone(host.as_fd(), 0))]
            }
        };
        if host_has_ended {
            workers.leave();
        }
        signals::keep_statuses();
        if has_ended || workers.has_retries() {
            workers.reap();
        }
        let mut forked = Vec::new();
        while has_request && forked.len() < LAUNCHES_TOGETHER {
            let (request, fds) = match control.receive::<ServerRequest>(MsgFlags::MSG_DONTWAIT) {
                Ok(Some(received)) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                _ => workers.leave(),
            };
            let request = match request {
                ServerRequest::Launch(launch) => launch,
                ServerRequest::Preload => {
                    let mut fds = fds.into_iter();
                    let (Some(lane), Some(socket)) = (Descriptors::from_fds(&mut fds), fds.next()) else {
                        signals::exit_now(exit::BAD_LANE)
                    };
                    let (report, mapped_bytes) = preload::run(lane, socket.into(), &hub, host.as_ref());
                    settings.preloaded_bytes = mapped_bytes;
                    workers.has_preloaded = true;
                    workers.reports.push(report, Vec::new());
                    continue;
                }
                ServerRequest::Kill { worker, pid } => {
                    workers.kill(worker, pid);
                    continue;
                }
            };
            let mut fds = fds.into_iter();
            let received = (Descriptors::from_fds(&mut fds), fds.next());
            let pipes = if settings.is_heard { OutputPipes::from_fds(&mut fds) } else { None };
            let records = fds.next();
            // Without them the worker would print to the fork server's pipes, in its name.
            let lacks_pipes = settings.is_heard && pipes.is_none() || settings.forwarded_level > 0 && records.is_none();
            let ((Some(lane), Some(socket)), false) = (received, lacks_pipes) else {
                // Some descriptors were cut off, since this process has no number free.
                workers.refuse(request.worker, Step::Lane, Errno::EMFILE);
                continue;
            };
            // Made here and not in the child, where each page that is written costs a page fault.
            let name = signals::process_name(&settings.name, request.worker);
            match fork() {
                Ok(Side::Child) => {
                    // A worker keeps its lane and the hub, but no descriptor of the server or of other workers.
                    drop((control, workers, host));
                    // First of all, so that even a failure to start is told there; an executable that is started anew inherits them.
                    if let Some(pipes) = pipes {
                        pipes.become_standard_streams();
                    }
                    signals::prepare_worker(server, &name);
                    // Here, for all start methods: a worker that is an executable of its own inherits it.
                    settings.env.apply(request.worker);
                    be_worker(&request, Links { lane, socket: socket.into(), hub, records }, server, &settings, spawn)
                }
                Ok(Side::Parent(pid)) => forked.push((request.worker, pid)),
                Err(errno) => workers.refuse(request.worker, Step::Fork, errno),
            }
        }
        workers.add(&forked);
        workers.report(&control);
    }
}

/// The most launches that are reported together. The host is woken once for them, and handles them while the next are made.
const LAUNCHES_TOGETHER: usize = 8;

const SEND_PAUSE_MS: u16 = SEND_PAUSE.as_millis() as u16;

fn be_worker(request: &Launch, links: Links, server: u32, settings: &WorkerLimits, spawn: Option<u64>) -> ! {
    let &Launch { worker, incarnation } = request;
    if let Some(fingerprint) = spawn {
        let role = Role::Worker { worker, incarnation, server, settings: settings.clone() };
        exec_worker(fingerprint, role, &links);
        signals::exit_now(exit::NOT_STARTED)
    }
    worker::run(Worker::new(worker, incarnation), links, settings)
}
