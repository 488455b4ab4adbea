//! Signals, exits and standard streams of fork servers and workers.
//!
//! `std`'s start-up code ignores SIGPIPE and reports stack overflows, but it does not run in a process that a constructor
//! takes over, so both are done here. See signal(7), sigaltstack(2), prctl(2), setpgid(2).

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
use crate::process::standing;

/// The name of a process of the pool `pool`.
pub(crate) fn process_name(pool: &str, role: impl fmt::Display) -> CString {
    CString::new(format!("{pool}-{role}")).unwrap_or_default()
}

/// Prepares a fork server. Its workers inherit these settings, also those that are executables of their own.
pub(crate) fn prepare_server(name: &str) {
    lead_a_group(&process_name(name, "serve"));
    // A worker is in the background of the terminal, where SIGTTIN would stop it when it reads, and SIGTTOU in some modes when
    // it writes. With both ignored, reading fails with EIO and writing succeeds; with a handler both would be restarted for
    // ever. Programs that a task starts are in the background, too, so they may inherit this. SIGPIPE is ignored as by `std`.
    for signal in [Signal::SIGPIPE, Signal::SIGTTIN, Signal::SIGTTOU] {
        set(signal, SigHandler::SigIgn);
    }
    leave_interrupts_to_the_host();
    let _ = SigSet::empty().thread_set_mask();
    keep_statuses();
}

/// Makes the kernel keep the status of each child that ends. With SIGCHLD ignored, as inherited or as set by a thread that a
/// constructor has started, the kernel would drop it.
pub(crate) fn keep_statuses() {
    set(Signal::SIGCHLD, SigHandler::SigDfl);
}

/// Prepares a worker, which dies with the fork server, the process `server`.
pub(crate) fn prepare_worker(server: u32, name: &CStr) {
    lead_a_group(name);
    // The kernel sends this signal when the thread that forked ends; the fork server has only that one.
    let armed = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    // If the server has died before this, no signal will come.
    if armed.is_err() || getppid().as_raw() as u32 != server {
        exit_now(exit::ORPHANED);
    }
    // A worker that is an executable of its own has not inherited the handlers, and `std`'s `Command` has given it the
    // default for SIGPIPE.
    set(Signal::SIGPIPE, SigHandler::SigIgn);
    leave_interrupts_to_the_host();
    let _ = SigSet::empty().thread_set_mask();
}

/// Signals of Ctrl-C and of a closed terminal. The host decides about them for its pool.
const INTERRUPTS: [Signal; 2] = [Signal::SIGINT, Signal::SIGHUP];

/// Blocks these signals until the executable that replaces this process has its handlers, in [`prepare_worker`].
pub(crate) fn hold_interrupts() {
    let _ = INTERRUPTS.into_iter().collect::<SigSet>().thread_block();
}

/// Sets handlers that do nothing. If the signals were ignored, programs that a task starts would inherit that, and they expect
/// the default.
fn leave_interrupts_to_the_host() {
    for signal in INTERRUPTS {
        let action = SigAction::new(SigHandler::Handler(do_nothing), SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY:
        // - the handler does nothing.
        let before = unsafe { sigaction(signal, &action) };
        // A signal that `nohup` or the like has ignored stays ignored in all processes that the host starts.
        if before.is_ok_and(|before| matches!(before.handler(), SigHandler::SigIgn)) {
            set(signal, SigHandler::SigIgn);
        }
    }
}

extern "C" fn do_nothing(_: i32) {}

/// Makes this process the leader of a new group. The terminal does not signal that group, and processes that a task has started
/// can be killed with it.
fn lead_a_group(name: &CStr) {
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    let _ = nix::sys::prctl::set_name(name);
}

fn set(signal: Signal, handler: SigHandler) {
    // SAFETY:
    // - the handler is the default one or none, so no code of ours runs in a signal's context.
    let _ = unsafe { sigaction(signal, &SigAction::new(handler, SaFlags::empty(), SigSet::empty())) };
}

/// Writes the coverage counts of this process, if the program was built with `-C instrument-coverage`. Its runtime does so only
/// in exit handlers, which a worker does not run.
///
/// The name of the file is made again, since a forked worker has inherited that of the fork server.
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
/// Assembly, since a weak symbol may have the address 0, and Rust assumes that no function has.
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

/// Ends the process without running exit handlers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY:
    // - `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Ends this process if it is a copy that a task has forked, and must not answer in its worker's place. A worker that is a thread, and
/// was told to end, goes on.
#[cold]
pub(crate) fn exit_copy() {
    if !standing::is_thread() {
        exit_now(0);
    }
}

// ---- last words ------------------------------------------------------------------------------------------------

/// A leaked [`DeathReport`], or null in a process that is no worker. If a worker makes a pool with
/// [`StartMethod::Fork`](crate::StartMethod::Fork), each copy replaces it.
static DEATH_REPORT: AtomicPtr<DeathReport> = AtomicPtr::new(std::ptr::null_mut());
static STACK_TOP: AtomicUsize = AtomicUsize::new(0);
static STACK_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The means by which a dying worker writes its last words.
struct DeathReport {
    progress: ProgressWriter,
    /// A copy that a task forks has the handlers, but not the memory of the progress.
    me: ForkCheck,
}

/// Bytes below a stack that the kernel keeps free of other mappings.
const GUARD_GAP_BYTES: usize = 1 << 20;
/// The largest distance of a stack overflow's address from the stack pointer: larger frames are probed page by page.
const FRAME_BYTES_MAX: usize = 64 << 10;
/// Stack of the signal handler: enough even if it unwinds.
const HANDLER_STACK_BYTES: usize = 64 << 10;

/// Installs handlers that write the last words before a fault or an abort ends the process, if its cause is a stack overflow
/// or the memory limit.
pub(crate) fn report_deaths(progress: ProgressWriter, me: ForkCheck) {
    let here = 0u8;
    STACK_TOP.store((&raw const here).addr(), Ordering::Relaxed);
    let limit = getrlimit(Resource::RLIMIT_STACK).map_or(8 << 20, |(soft, _)| soft.min(1 << 40));
    STACK_BYTES.store(limit as usize, Ordering::Relaxed);
    DEATH_REPORT.store(Box::leak(Box::new(DeathReport { progress, me })), Ordering::Release);
    // Not zeroed: the pages would then be resident, as the larger part of a small worker's memory.
    let memory = Box::leak(Box::<[u8]>::new_uninit_slice(HANDLER_STACK_BYTES));
    let stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: HANDLER_STACK_BYTES };
    // SAFETY:
    // - the memory is leaked, so it outlives every signal.
    unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) };
    let flags = SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK;
    let action = SigAction::new(SigHandler::SigAction(on_death), flags, SigSet::empty());
    for signal in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGABRT] {
        // SAFETY:
        // - `on_death` is async-signal-safe: it does loads, stores, `sigaction` and `raise`.
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
    // - it is null, or points to a leaked `DeathReport`.
    let report = unsafe { DEATH_REPORT.load(Ordering::Acquire).as_ref() };
    let progress = report.filter(|report| report.me.is_surely_here()).map(|report| &report.progress);
    match (progress, words) {
        (Some(progress), Some(words)) => progress.write_last_words(words),
        // The last words are of a panic that was caught, or of another thread's, so they are not the cause of this abort.
        // `panicking` is async-signal-safe: it reads counters.
        (Some(progress), None) if !std::thread::panicking() => progress.clear_last_words(),
        _ => {}
    }
    // After the return a fault occurs again, and the default action ends the process.
    if let Ok(signal) = Signal::try_from(signal) {
        set(signal, SigHandler::SigDfl);
    }
    // SAFETY:
    // - the kernel passes a valid `siginfo_t` to a SA_SIGINFO handler.
    let was_sent = unsafe { (*info).si_code } <= 0;
    if was_sent {
        // A signal of `kill`, `raise` or `abort` does not come again by itself. This one is held back until the return.
        // SAFETY:
        // - `raise` is async-signal-safe.
        unsafe { libc::raise(signal) };
    }
}

/// True if an allocation that the memory limit refused has led to this signal.
fn is_out_of_memory(signal: i32, info: *const libc::siginfo_t) -> bool {
    if !has_memory_limit() {
        return false;
    }
    // The last error is of the current item, since it is cleared at the start of each.
    let was_refused = Errno::last() == Errno::ENOMEM && panic::runs_task();
    match signal {
        // C++ aborts when an allocation fails. Rust does so, too, but prints first, which may change the last error.
        libc::SIGABRT => was_refused || is_in_alloc_error(),
        // C dereferences the null pointer.
        libc::SIGSEGV => was_refused && is_near_null(info),
        _ => false,
    }
}

/// Below this no mapping of the process lies, so the address is that of an element of an array at the null pointer.
const NEAR_NULL_BYTES: usize = 1 << 32;

fn is_near_null(info: *const libc::siginfo_t) -> bool {
    /// The address is not mapped. A fault without an address has another code: see sigaction(2).
    const SEGV_MAPERR: i32 = 1;
    // SAFETY:
    // - the kernel passes a valid `siginfo_t` to a SA_SIGINFO handler.
    let info = unsafe { &*info };
    // SAFETY:
    // - a fault's signal fills the union's address.
    info.si_code == SEGV_MAPERR && unsafe { info.si_addr() }.addr() < NEAR_NULL_BYTES
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
    let low = top.saturating_sub(STACK_BYTES.load(Ordering::Relaxed)).saturating_sub(GUARD_GAP_BYTES);
    let is_near = stack_pointer(context).is_none_or(|pointer| at.abs_diff(pointer) < FRAME_BYTES_MAX);
    (low..top).contains(&at) && is_near
}

/// True if this thread is in `handle_alloc_error`.
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

/// Opens `/dev/null` for standard streams that are closed. Otherwise the next descriptors would get their numbers, and with
/// them the output of tasks.
pub(crate) fn open_standard_streams() {
    // The kernel gives out the lowest free number.
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

/// `/dev/null`, or, if there is none, a descriptor that can be neither read nor written. `std` treats it as a closed stream.
fn open_null() -> io::Result<File> {
    let null = File::options().read(true).write(true).open("/dev/null");
    null.or_else(|_| File::options().read(true).custom_flags(libc::O_PATH).open("/"))
}
