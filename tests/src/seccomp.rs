//! System calls of one kind, of this process and of all that it starts, are put before another process, which lets them
//! pass or fails them. See seccomp(2) and seccomp_unotify(2).

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use libc::{c_long, seccomp_notif, seccomp_notif_resp, sock_filter, sock_fprog};

/// From now on calls of this number wait for an answer through the descriptor; all others go on as before.
///
/// It cannot be undone. While nobody has the descriptor such calls fail with `ENOSYS`.
///
/// # Errors
///
/// The reason why the kernel refuses: it is too old, or another process watches this one already.
pub fn put_before_another(number: c_long) -> io::Result<OwnedFd> {
    nix::sys::prctl::set_no_new_privs()?;
    let load =
        |offset| sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: offset };
    let skip_unless = |value, skipped| sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 0,
        jf: skipped,
        k: value,
    };
    let answer = |action| sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: action };
    let mut filter = [
        load(std::mem::offset_of!(libc::seccomp_data, nr) as u32),
        skip_unless(number as u32, 1),
        answer(libc::SECCOMP_RET_USER_NOTIF),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    // SAFETY:
    // - `program` and the filter that it points to outlive the call, which copies them.
    let made = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
    own(made)
}

/// A descriptor that stands for a process; it becomes readable when that has ended. See pidfd_open(2).
///
/// # Errors
///
/// `ENOSYS` before Linux 5.3.
pub fn open_process(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY:
    // - no pointers.
    own(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// The descriptor `number` of another process, as one of this process. See pidfd_getfd(2).
///
/// # Errors
///
/// `EPERM` if this process has no power over the other, `ENOSYS` before Linux 5.6.
pub fn take_descriptor(pidfd: BorrowedFd<'_>, number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY:
    // - no pointers.
    own(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) })
}

/// From now on a process gets no further descriptor, until it sets its limit itself.
///
/// # Errors
///
/// See prlimit(2).
pub fn forbid_descriptors(pid: u32) -> io::Result<()> {
    // SAFETY:
    // - all zeroes are a valid limit.
    let mut limit: libc::rlimit = unsafe { zeroed() };
    // SAFETY:
    // - the kernel writes a limit there.
    let got = unsafe { libc::prlimit(pid as i32, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit) };
    limit.rlim_cur = 0;
    // SAFETY:
    // - the kernel reads a limit from there.
    let set = unsafe { libc::prlimit(pid as i32, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()) };
    if got == 0 && set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn own(made: c_long) -> io::Result<OwnedFd> {
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY:
    // - the kernel has just made this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(made as RawFd) })
}

/// A system call that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    id: u64,
    /// The thread that makes it.
    pub pid: u32,
    /// Its arguments.
    pub args: [u64; 6],
}

/// The next call, for which this waits. `None` if it is withdrawn: its process was killed or got a signal.
///
/// # Errors
///
/// Those of the descriptor.
pub fn next_call(listener: BorrowedFd<'_>) -> io::Result<Option<Call>> {
    // SAFETY:
    // - all zeroes are a valid notification, and the kernel requires them.
    let mut call: seccomp_notif = unsafe { zeroed() };
    // SAFETY:
    // - the kernel writes a notification to `call`.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) };
    still_there(result).map(|is_there| is_there.then_some(Call { id: call.id, pid: call.pid, args: call.data.args }))
}

/// Lets the call pass, or has it fail with an errno. Nothing happens if it has been withdrawn.
///
/// # Errors
///
/// Those of the descriptor; `EINVAL` before Linux 5.5, which knows no passing.
pub fn answer(listener: BorrowedFd<'_>, call: &Call, errno: Option<i32>) -> io::Result<()> {
    let flags = if errno.is_none() { libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 } else { 0 };
    let mut answer = seccomp_notif_resp { id: call.id, val: 0, error: -errno.unwrap_or(0), flags };
    // SAFETY:
    // - the kernel reads an answer from there.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
    still_there(result).map(|_| ())
}

fn still_there(result: i32) -> io::Result<bool> {
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        _ if result >= 0 => Ok(true),
        Some(libc::ENOENT | libc::EINTR) => Ok(false),
        _ => Err(error),
    }
}
