//! What a served process does about signals, as `main` of a Rust program never ran in it.
//!
//! `std`'s start-up code ignores SIGPIPE and reports stack overflows; a process that a constructor took over has
//! neither, so both are done here. See signal(7), sigaltstack(2), prctl(2), setpgid(2).

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{Pid, getppid, setpgid};
use pool_ipc::ProgressWriter;

use crate::process::exit;
use crate::process::fork_check::ForkCheck;
use crate::process::last_words::LastWords;
use crate::process::memory_limit::has_memory_limit;
use crate::process::panic;

/// What a process of the pool of this name is called.
pub(crate) fn process_name(pool: &str, role: impl fmt::Display) -> CString {
    CString::new(format!("{pool}-{role}")).unwrap_or_default()
}

/// Makes this process a good fork server. Workers inherit what is set here, also those that are executables of their own.
pub(crate) fn prepare_server(name: &str) {
    lead_a_group(&process_name(name, "serve"));
    // In the background of the terminal, reading it would stop a worker for good, and so would writing in some modes.
    // Ignored, the one fails with EIO and the other succeeds; with a handler both would begin anew for ever. Programs
    // that a task starts are in the background, too, so they may inherit this. Of SIGPIPE see `std`'s start-up code.
    for signal in [Signal::SIGPIPE, Signal::SIGTTIN, Signal::SIGTTOU] {
        set(signal, SigHandler::SigIgn);
    }
    leave_interrupts_to_the_host();
    let _ = SigSet::empty().thread_set_mask();
    keep_statuses();
}

/// Has the kernel keep the status of a child that ends until it is asked for. A disposition of "ignore", which may be
/// inherited or set by a thread that a constructor has started, would have the children reaped unseen.
pub(crate) fn keep_statuses() {
    set(Signal::SIGCHLD, SigHandler::SigDfl);
}

/// Makes this process a good worker: it dies with the fork server, the process `server`.
pub(crate) fn prepare_worker(server: u32, name: &CStr) {
    lead_a_group(name);
    // The signal is tied to the thread that forked, which is the only one that the fork server has.
    let armed = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    // If the server had died before, nothing will come.
    if armed.is_err() || getppid().as_raw() as u32 != server {
        exit_now(exit::ORPHANED);
    }
    // A worker that is an executable of its own has not inherited the handlers, and `std`'s `Command` has given it the
    // default for SIGPIPE.
    set(Signal::SIGPIPE, SigHandler::SigIgn);
    leave_interrupts_to_the_host();
    let _ = SigSet::empty().thread_set_mask();
}

/// Neither Ctrl-C nor a closed terminal is for the pool's processes: the host decides.
const INTERRUPTS: [Signal; 2] = [Signal::SIGINT, Signal::SIGHUP];

/// Holds them back until the executable that takes this process over has its handlers, in [`prepare_worker`].
pub(crate) fn hold_interrupts() {
    let _ = INTERRUPTS.into_iter().collect::<SigSet>().thread_block();
}

/// They get handlers that do nothing, since "ignored" would be inherited by the programs that a task starts, which
/// expect the default.
fn leave_interrupts_to_the_host() {
    for signal in INTERRUPTS {
        let action = SigAction::new(SigHandler::Handler(do_nothing), SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY:
        // - the handler does nothing.
        let before = unsafe { sigaction(signal, &action) };
        // `nohup` and the like are meant for everything that the host starts.
        if before.is_ok_and(|before| matches!(before.handler(), SigHandler::SigIgn)) {
            set(signal, SigHandler::SigIgn);
        }
    }
}

extern "C" fn do_nothing(_: i32) {}

/// A process group of its own is not the terminal's, and lets everything that a task has started be killed with the worker.
fn lead_a_group(name: &CStr) {
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    let _ = nix::sys::prctl::set_name(name);
}

fn set(signal: Signal, handler: SigHandler) {
    // SAFETY:
    // - the handler is the default one or none, so no code of ours runs in a signal's context.
    let _ = unsafe { sigaction(signal, &SigAction::new(handler, SaFlags::empty(), SigSet::empty())) };
}

/// Writes what this process has counted, if the program was built with `-C instrument-coverage`: its runtime would do so
/// at the process's ordinary end, and a worker has none.
///
/// The name of the file is made anew: a worker that was forked has the one of the process that it was forked from.
pub(crate) fn write_coverage() {
    type SetName = extern "C" fn(*const libc::c_char);
    type Write = extern "C" fn() -> i32;
    let [set_name, write] = coverage_runtime();
    if set_name == 0 || write == 0 {
        return;
    }
    let pattern = std::env::var("LLVM_PROFILE_FILE").unwrap_or_else(|_| "default_%m_%p.profraw".to_owned());
    let Ok(name) = CString::new(pattern.replace("%p", &std::process::id().to_string())) else { return };
    // SAFETY:
    // - the runtime's function of this name has this type.
    let set_name = unsafe { std::mem::transmute::<usize, SetName>(set_name) };
    // SAFETY:
    // - as above.
    let write = unsafe { std::mem::transmute::<usize, Write>(write) };
    set_name(name.as_ptr());
    write();
}

/// The addresses of `__llvm_profile_set_filename` and `__llvm_profile_write_file`, or 0 in a program without them.
///
/// A weak symbol may be missing, which cannot be said in Rust: it takes an address for none of 0.
fn coverage_runtime() -> [usize; 2] {
    let (set_name, write): (usize, usize);
    // SAFETY:
    // - two words are read that the linker has made.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!(
            ".weak __llvm_profile_set_filename",
            ".weak __llvm_profile_write_file",
            "mov {0}, qword ptr [rip + __llvm_profile_set_filename@GOTPCREL]",
            "mov {1}, qword ptr [rip + __llvm_profile_write_file@GOTPCREL]",
            out(reg) set_name,
            out(reg) write,
            options(nomem, nostack, preserves_flags),
        );
    }
    // SAFETY:
    // - as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!(
            ".weak __llvm_profile_set_filename",
            ".weak __llvm_profile_write_file",
            "adrp {0}, :got:__llvm_profile_set_filename",
            "ldr {0}, [{0}, :got_lo12:__llvm_profile_set_filename]",
            "adrp {1}, :got:__llvm_profile_write_file",
            "ldr {1}, [{1}, :got_lo12:__llvm_profile_write_file]",
            out(reg) set_name,
            out(reg) write,
            options(nomem, nostack, preserves_flags),
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        (set_name, write) = (0, 0);
    }
    [set_name, write]
}

/// Ends the process without running what others have registered for its end.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY:
    // - `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

// ---- last words ------------------------------------------------------------------------------------------------

/// A [`Pen`] that is never freed, or null in a process that is no worker. A worker that makes a pool of copies of itself
/// has it replaced in them.
static PEN: AtomicPtr<Pen> = AtomicPtr::new(std::ptr::null_mut());
static STACK_TOP: AtomicUsize = AtomicUsize::new(0);
static STACK_BYTES: AtomicUsize = AtomicUsize::new(0);

/// What a dying worker writes with.
struct Pen {
    progress: ProgressWriter,
    /// The progress is not there in a copy that a task forks, which has the handlers, too.
    me: ForkCheck,
}

/// The kernel keeps this much below a stack free of other mappings.
const GUARD_GAP: usize = 1 << 20;
/// A frame larger than this is probed page by page, so a fault is no farther from the stack pointer.
const FRAME_MAX: usize = 64 << 10;
/// Enough for the handler below, even if it unwinds.
const HANDLER_STACK: usize = 64 << 10;

/// Has a fault of this thread or an abort noted in the progress, before the process dies of it, if it is the end of the
/// stack or of the memory allowed.
pub(crate) fn note_deaths(progress: ProgressWriter, me: ForkCheck) {
    let here = 0u8;
    STACK_TOP.store((&raw const here).addr(), Ordering::Relaxed);
    let limit = getrlimit(Resource::RLIMIT_STACK).map_or(8 << 20, |(soft, _)| soft.min(1 << 40));
    STACK_BYTES.store(limit as usize, Ordering::Relaxed);
    PEN.store(Box::leak(Box::new(Pen { progress, me })), Ordering::Release);
    // Never touched before there is a death: as zeroes it would be the larger part of a small worker's memory.
    let memory = Box::leak(Box::<[u8]>::new_uninit_slice(HANDLER_STACK));
    let stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: HANDLER_STACK };
    // SAFETY:
    // - the memory is leaked, so it outlives every signal.
    unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) };
    let flags = SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK;
    let action = SigAction::new(SigHandler::SigAction(on_death), flags, SigSet::empty());
    for signal in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGABRT] {
        // SAFETY:
        // - `on_death` does only what is async-signal-safe: loads, stores and `sigaction`.
        let _ = unsafe { sigaction(signal, &action) };
    }
}

extern "C" fn on_death(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let words: Option<&[u8]> = if is_stack_overflow(signal, info, context) {
        Some(&LastWords::STACK_OVERFLOW)
    } else if is_out_of_memory(signal, info) {
        Some(&LastWords::MEMORY_LIMIT)
    } else {
        None
    };
    // SAFETY:
    // - it is null, or was made of a `Pen` that is never freed.
    let pen = unsafe { PEN.load(Ordering::Acquire).as_ref() };
    let progress = pen.filter(|pen| pen.me.is_surely_here()).map(|pen| &pen.progress);
    match (progress, words) {
        (Some(progress), Some(words)) => progress.write_last_words(words),
        // The hook has noted a panic, but it was caught, or was another thread's: that is not why this thread aborts.
        // `panicking` looks at a counter, and at one of this thread if there is any panic.
        (Some(progress), None) if !std::thread::panicking() => progress.clear_last_words(),
        _ => {}
    }
    // Back to where it was raised, where it now kills: faults again, and `abort` raises again.
    if let Ok(signal) = Signal::try_from(signal) {
        set(signal, SigHandler::SigDfl);
    }
}

/// Whether an allocation that the memory limit refused has led to this.
fn is_out_of_memory(signal: i32, info: *const libc::siginfo_t) -> bool {
    if !has_memory_limit() {
        return false;
    }
    // The last error that there was, and not one of an item before: of the thread that runs tasks it is cleared with each.
    let was_refused = Errno::last() == Errno::ENOMEM && panic::runs_task();
    match signal {
        // C++ aborts when an allocation fails. Rust does, too, but prints first, which may leave another error behind.
        libc::SIGABRT => was_refused || is_in_alloc_error(),
        // C dereferences the null pointer.
        libc::SIGSEGV => was_refused && is_near_null(info),
        _ => false,
    }
}

/// Nothing of a process's own lies as low as an element of an array at the null pointer.
const NEAR_NULL: usize = 1 << 32;

fn is_near_null(info: *const libc::siginfo_t) -> bool {
    /// No such mapping. A fault without an address, for one, has another code: see sigaction(2).
    const SEGV_MAPERR: i32 = 1;
    // SAFETY:
    // - the kernel passes a valid `siginfo_t` to a SA_SIGINFO handler.
    let info = unsafe { &*info };
    // SAFETY:
    // - a fault's signal fills the union's address.
    info.si_code == SEGV_MAPERR && unsafe { info.si_addr() }.addr() < NEAR_NULL
}

fn is_stack_overflow(signal: i32, info: *const libc::siginfo_t, context: *mut libc::c_void) -> bool {
    if signal == libc::SIGABRT {
        return false;
    }
    // SAFETY:
    // - the kernel passes a valid `siginfo_t` to a SA_SIGINFO handler.
    let info = unsafe { &*info };
    // SAFETY:
    // - a fault's signal fills the union's address.
    let at = unsafe { info.si_addr() }.addr();
    let top = STACK_TOP.load(Ordering::Relaxed);
    let low = top.saturating_sub(STACK_BYTES.load(Ordering::Relaxed)).saturating_sub(GUARD_GAP);
    let is_near = stack_pointer(context).is_none_or(|pointer| at.abs_diff(pointer) < FRAME_MAX);
    (low..top).contains(&at) && is_near
}

/// Whether this thread is in `handle_alloc_error`.
///
/// Unwinding is not async-signal-safe in general. Here it follows an `abort` of this thread, which holds none of the
/// locks that it needs then.
fn is_in_alloc_error() -> bool {
    unsafe extern "C" {
        fn _Unwind_Backtrace(
            frame: extern "C" fn(*mut libc::c_void, *mut libc::c_void) -> i32,
            argument: *mut libc::c_void,
        ) -> i32;
        fn _Unwind_GetRegionStart(context: *mut libc::c_void) -> usize;
    }
    extern "C" fn look(context: *mut libc::c_void, found: *mut libc::c_void) -> i32 {
        // SAFETY:
        // - the unwinder passes a valid context.
        let start = unsafe { _Unwind_GetRegionStart(context) };
        if start == std::alloc::handle_alloc_error as *const () as usize {
            // SAFETY:
            // - the argument is the `bool` below.
            unsafe { found.cast::<bool>().write(true) };
        }
        0
    }
    let mut found = false;
    // SAFETY:
    // - `look` is of the type that the Itanium C++ ABI wants, and `found` outlives the walk.
    unsafe { _Unwind_Backtrace(look, (&raw mut found).cast()) };
    found
}

fn stack_pointer(context: *mut libc::c_void) -> Option<usize> {
    // SAFETY:
    // - the third argument of a SA_SIGINFO handler is a valid `ucontext_t`.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    #[cfg(target_arch = "x86_64")]
    return usize::try_from(context.uc_mcontext.gregs[libc::REG_RSP as usize]).ok();
    #[cfg(target_arch = "aarch64")]
    return usize::try_from(context.uc_mcontext.sp).ok();
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = context;
        None
    }
}

/// Opens `/dev/null` for those standard streams that are closed: what the process opens next would get their numbers,
/// and the output of tasks.
pub(crate) fn open_standard_streams() {
    // The lowest number that is free is given out first.
    while let Ok(null) = open_null() {
        let number = null.as_raw_fd();
        if number > libc::STDERR_FILENO {
            break;
        }
        let _ = null.into_raw_fd();
        // SAFETY:
        // - the call sets a flag of a descriptor: standard streams are for the programs that a task starts, too.
        unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
    }
}

/// Replaces standard input, which is open, by `/dev/null`: a worker that reads from the terminal would compete with its
/// host, and one that has the fork server's socket there would read its messages.
pub(crate) fn close_stdin() {
    if let Ok(null) = open_null() {
        let _ = nix::unistd::dup2_stdin(&null);
    }
}

/// `/dev/null`, or where there is none what can be neither read nor written, which `std` takes for as good.
fn open_null() -> io::Result<File> {
    let null = File::options().read(true).write(true).open("/dev/null");
    null.or_else(|_| File::options().read(true).custom_flags(libc::O_PATH).open("/"))
}
