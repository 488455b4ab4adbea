//! Starts a new process of this program's executable.
//!
//! The process inherits the arguments, environment, working directory and umask that the host had when it made the pool, so a
//! fork server that replaces another gives its workers the same. It inherits no descriptors but the standard streams, and no
//! right that the host has given up.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::{fs, ptr, thread};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use pool_ipc::sys::off_standard_streams;

use crate::error::{Error, ErrorKind, Result};
use crate::launch::control::Control;
use crate::launch::messages::{Greeting, Role};
use crate::process::environment::WorkerEnv;
use crate::process::output_pipes::OutputPipes;
use crate::process::signals;
use crate::worker::links::Links;

/// The executable, even after its file was replaced; see proc(5).
pub(crate) const EXECUTABLE: &CStr = c"/proc/self/exe";
const EXECUTABLE_PATH: &str = "/proc/self/exe";

/// The working directory, even if its path has changed or may not be searched; see proc(5).
const CWD: &str = "/proc/self/cwd";

/// The environment variable that tells a new process to look for a greeting in its standard input. Each version of this crate
/// in a program has its own.
pub(crate) const MARKER: &str = concat!("POOL_CORE_SERVE_", env!("CARGO_PKG_VERSION"));

/// A number that no marker left over in the environment has.
pub(crate) fn nonce() -> u64 {
    pool_ipc::sys::monotonic_ns() ^ (u64::from(std::process::id()) << 40)
}

/// The state of the host at the time when the pool was made, which its fork servers inherit.
#[derive(Debug)]
pub(crate) struct Inherited {
    args: Vec<CString>,
    /// `NAME=value`, without [`MARKER`].
    env: Vec<CString>,
    /// The working directory itself: its path may have changed by the time of a replacement.
    pub(crate) cwd: OwnedFd,
    pub(crate) umask: Option<u32>,
}

impl Inherited {
    /// The state of this process at this moment, with the variables `env` that only its workers have.
    ///
    /// # Errors
    ///
    /// `System` if there is no descriptor left for the working directory.
    pub(crate) fn take(env: &WorkerEnv) -> Result<Inherited> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        // Opening "." needs the right to search the directory, which a host that has changed its user may lack.
        let cwd = open(".", flags, Mode::empty()).or_else(|_| open(CWD, flags, Mode::empty()));
        let cwd = cwd.map_err(io::Error::from).and_then(off_standard_streams);
        let cwd = cwd.map_err(|error| Error::system("opening the working directory", error))?;
        // Arguments and variables of a process hold no zero byte, so none is left out.
        let string = |bytes: Vec<u8>| CString::new(bytes).ok();
        let mut args: Vec<_> = std::env::args_os().filter_map(|arg| string(arg.into_vec())).collect();
        if args.is_empty() {
            args.push(c"pool-server".to_owned());
        }
        let is_ours = |name: &OsString| name != MARKER;
        let variables = env.over(std::env::vars_os().filter(|(name, _)| is_ours(name)));
        let env =
            variables.into_iter().filter_map(|(name, value)| string([name.into_vec(), value.into_vec()].join(&b'=')));
        Ok(Inherited { args, env: env.collect(), cwd, umask: umask() })
    }

    /// Starts the executable once more, to follow the greeting in `socket` instead of running `main`. `socket` becomes its
    /// standard input, and the pipes, if there are some, its standard output and standard error.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the executable is not this program, `System` if the process cannot be made.
    pub(crate) fn start(&self, nonce: u64, socket: &OwnedFd, pipes: Option<&OutputPipes>) -> Result<Pid> {
        check_executable()?;
        let spawn = || self.spawn(nonce, socket, pipes);
        let spawned = if execve_may_give_rights() { without_new_rights(spawn) } else { spawn() };
        spawned.map_err(|error| {
            let hint = if error.kind() == io::ErrorKind::NotFound { " (is /proc mounted?)" } else { "" };
            Error::system(&format!("starting the fork server, {EXECUTABLE_PATH}{hint}"), error)
        })
    }

    /// Uses posix_spawn(3), since `std`'s `Command` forks the whole host, which may be large, if descriptors must be closed.
    fn spawn(&self, nonce: u64, socket: &OwnedFd, pipes: Option<&OutputPipes>) -> io::Result<Pid> {
        let marker = CString::new(format!("{MARKER}={nonce}")).map_err(io::Error::other)?;
        let args = pointers(self.args.iter().map(CString::as_c_str));
        let env = pointers(self.env.iter().map(CString::as_c_str).chain([marker.as_c_str()]));
        let mut actions = FileActions::new()?;
        actions.move_to(socket.as_raw_fd(), libc::STDIN_FILENO)?;
        // Before the others are closed, the pipes' own numbers among them.
        if let Some(OutputPipes { stdout, stderr }) = pipes {
            actions.move_to(stdout.as_raw_fd(), libc::STDOUT_FILENO)?;
            actions.move_to(stderr.as_raw_fd(), libc::STDERR_FILENO)?;
        }
        actions.close_from(libc::STDERR_FILENO + 1)?;
        let attributes = Attributes::new()?;
        let mut pid = 0;
        // SAFETY:
        // - path, arguments and environment are strings that outlive the call, in lists that end with null;
        // - actions and attributes were initialized.
        let error = unsafe {
            libc::posix_spawn(
                &raw mut pid,
                EXECUTABLE.as_ptr(),
                &raw const actions.0,
                &raw const attributes.0,
                args.as_ptr(),
                env.as_ptr(),
            )
        };
        check(error).map(|()| Pid::from_raw(pid))
    }
}

/// Makes `cwd` the working directory of this process.
///
/// # Errors
///
/// As fchdir(2).
pub(crate) fn enter_directory(cwd: &OwnedFd) -> io::Result<()> {
    let entered = nix::unistd::fchdir(cwd).map_err(io::Error::from);
    entered.or_else(|error| if is_working_directory(cwd) { Ok(()) } else { Err(error) })
}

/// True if `directory` is the working directory. Needs no right to search it.
fn is_working_directory(directory: &OwnedFd) -> bool {
    let (Ok(found), Ok(here)) = (nix::sys::stat::fstat(directory), fs::metadata(CWD)) else { return false };
    (found.st_dev, found.st_ino) == (here.dev(), here.ino())
}

fn pointers<'a>(strings: impl Iterator<Item = &'a CStr>) -> Vec<*mut libc::c_char> {
    strings.map(|string| string.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}

/// The umask, read from /proc, since umask(2) would change it; see proc_pid_status(5).
fn umask() -> Option<u32> {
    u32::from_str_radix(&status_of_this_thread("Umask:")?, 8).ok()
}

/// The value of a line of this thread's status.
fn status_of_this_thread(name: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
}

/// Converts an error number that a function of posix_spawn(3) has returned.
fn check(errno: i32) -> io::Result<()> {
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}

// ---- descriptors and signals of the new process --------------------------------------------------------------------

/// The changes to the descriptors of a new process before it runs.
struct FileActions(libc::posix_spawn_file_actions_t);

type AddCloseFrom = unsafe extern "C" fn(*mut libc::posix_spawn_file_actions_t, RawFd) -> i32;

impl FileActions {
    fn new() -> io::Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY:
        // - the call initializes the memory behind the pointer.
        check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY:
        // - it has been initialized.
        Ok(FileActions(unsafe { actions.assume_init() }))
    }

    fn move_to(&mut self, from: RawFd, to: RawFd) -> io::Result<()> {
        // SAFETY:
        // - the actions were initialized.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut self.0, from, to) })
    }

    /// Closes all descriptors from this number on, since libraries of the host may have opened some without close-on-exec.
    fn close_from(&mut self, first: RawFd) -> io::Result<()> {
        // SAFETY:
        // - the name is a string.
        let function = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"posix_spawn_file_actions_addclosefrom_np".as_ptr()) };
        if function.is_null() {
            return inheritable(first).into_iter().try_for_each(|fd| self.close(fd));
        }
        // SAFETY:
        // - the function of this name has this type, since glibc 2.34.
        let function = unsafe { std::mem::transmute::<*mut libc::c_void, AddCloseFrom>(function) };
        // SAFETY:
        // - the actions were initialized.
        check(unsafe { function(&raw mut self.0, first) })
    }

    fn close(&mut self, fd: RawFd) -> io::Result<()> {
        // SAFETY:
        // - the actions were initialized.
        check(unsafe { libc::posix_spawn_file_actions_addclose(&raw mut self.0, fd) })
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY:
        // - the actions were initialized.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

/// The descriptors from this number on that would survive an exec.
fn inheritable(first: RawFd) -> Vec<RawFd> {
    let numbers = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let survives = |fd: RawFd| {
        // SAFETY:
        // - the call only asks for flags.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        flags >= 0 && flags & libc::FD_CLOEXEC == 0
    };
    numbers.filter(|&fd| fd >= first && survives(fd)).collect()
}

/// Marks all descriptors but the standard streams close-on-exec. This process must have one thread.
pub(crate) fn close_others_on_exec() {
    let first = libc::STDERR_FILENO + 1;
    // SAFETY:
    // - the call sets flags of descriptors and takes only numbers.
    let set = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if set != 0 {
        // Before Linux 5.11.
        for fd in inheritable(first) {
            // SAFETY:
            // - the call sets a flag of a descriptor.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}

/// The signals of a new process: none is blocked, and SIGPIPE has its default, as with `std`'s `Command`.
struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> io::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY:
        // - the call initializes the memory behind the pointer.
        check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY:
        // - it has been initialized.
        let mut attributes = Attributes(unsafe { attributes.assume_init() });
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        let none = nix::sys::signal::SigSet::empty();
        let mut defaults = none;
        defaults.add(nix::sys::signal::Signal::SIGPIPE);
        // SAFETY:
        // - the attributes were initialized.
        check(unsafe { libc::posix_spawnattr_setflags(&raw mut attributes.0, flags as libc::c_short) })?;
        // SAFETY:
        // - as above, and the set outlives the call, which copies it.
        check(unsafe { libc::posix_spawnattr_setsigmask(&raw mut attributes.0, none.as_ref()) })?;
        // SAFETY:
        // - as above.
        check(unsafe { libc::posix_spawnattr_setsigdefault(&raw mut attributes.0, defaults.as_ref()) })?;
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY:
        // - the attributes were initialized.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

// ---- rights --------------------------------------------------------------------------------------------------------

/// True if an execve may give the new process rights that this one does not have: those of the file (set-user-id,
/// set-group-id, capabilities), or capabilities of user 0 that this process has given up. See execve(2) and
/// capabilities(7).
fn execve_may_give_rights() -> bool {
    let has_special_mode =
        || fs::metadata(EXECUTABLE_PATH).map_or(true, |file| file.mode() & (libc::S_ISUID | libc::S_ISGID) != 0);
    // SAFETY:
    // - `getauxval` has no preconditions.
    let is_secure = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    is_secure || has_special_mode() || has_file_capabilities() || is_limited_root()
}

fn has_file_capabilities() -> bool {
    let name = c"security.capability".as_ptr();
    // SAFETY:
    // - both names are strings, and a buffer of no bytes is not written to.
    unsafe { libc::getxattr(EXECUTABLE.as_ptr(), name, ptr::null_mut(), 0) > 0 }
}

/// True if this process of user 0 lacks capabilities that an execve would give to user 0.
fn is_limited_root() -> bool {
    let ids = status_of_this_thread("Uid:").unwrap_or_default();
    if !ids.split_whitespace().any(|id| id == "0") {
        return false;
    }
    let set = |name| u64::from_str_radix(&status_of_this_thread(name)?, 16).ok();
    let (Some(permitted), Some(bounding)) = (set("CapPrm:"), set("CapBnd:")) else { return true };
    bounding & !permitted != 0
}

/// Runs `spawn` in a thread that cannot gain rights, and neither can the processes that it starts; see PR_SET_NO_NEW_PRIVS in
/// prctl(2). It is a thread of its own, since a thread cannot undo that.
fn without_new_rights(spawn: impl FnOnce() -> io::Result<Pid> + Send) -> io::Result<Pid> {
    let body = || {
        nix::sys::prctl::set_no_new_privs()?;
        spawn()
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, body)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts it panicked")))
    })
}

/// Replaces the current process, which has just been forked, by the executable, which becomes one worker. Returns only if that
/// fails.
pub(crate) fn exec_worker(fingerprint: u64, role: Role, links: &Links) -> io::Error {
    let Links { lane, socket, hub, records } = links;
    let nonce = nonce();
    let sent = Control::pair().and_then(|(ours, theirs)| {
        let mut fds = [&lane.as_fds()[..], &hub.as_fds(), &[socket.as_fd()]].concat();
        fds.extend(records.as_ref().map(AsFd::as_fd));
        ours.send(&Greeting { nonce, fingerprint, role }, &fds)?;
        Ok(theirs.into_fd())
    });
    let socket = match sent {
        Ok(socket) => socket,
        Err(error) => return error,
    };
    // A constructor of the program may have opened descriptors here. It opens them again in the new process.
    close_others_on_exec();
    let mut command = Command::new(OsStr::from_bytes(EXECUTABLE.to_bytes()));
    let mut args = std::env::args_os();
    command.arg0(args.next().unwrap_or_else(|| "pool-worker".into())).args(args);
    signals::hold_interrupts();
    command.env(MARKER, nonce.to_string()).stdin(Stdio::from(socket)).exec()
}

// ---- the executable ------------------------------------------------------------------------------------------------

/// Checks that `/proc/self/exe` is this program.
///
/// # Errors
///
/// `Unsupported` if the dynamic loader was started with this program as its argument: then the loader is the executable.
fn check_executable() -> Result<()> {
    static OTHER: OnceLock<Option<String>> = OnceLock::new();
    let Some(other) = OTHER.get_or_init(other_executable) else { return Ok(()) };
    let text = format!(
        "{EXECUTABLE_PATH}, of which new processes are made, is `{other}` and not this program; start the program \
         directly and not by its loader, or use `StartMethod::Fork`"
    );
    Err(Error::new(ErrorKind::Unsupported, text))
}

/// The executable, if this program is in another file.
fn other_executable() -> Option<String> {
    // If the kernel has loaded a loader for this program, the program is the executable itself, so the long list below need
    // not be read.
    // SAFETY:
    // - `getauxval` has no preconditions.
    if unsafe { libc::getauxval(AT_BASE) } != 0 {
        return None;
    }
    let executable = fs::read_link(EXECUTABLE_PATH).ok()?;
    let here = other_executable as fn() -> Option<String> as usize;
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let mine = maps.lines().find(|line| {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let range = range.map(|(start, end)| [start, end].map(|at| usize::from_str_radix(at, 16).unwrap_or(0)));
        range.is_some_and(|[start, end]| (start..end).contains(&here))
    })?;
    let path = &mine[mine.find('/')?..];
    let executable = executable.to_str()?;
    (path != executable).then(|| executable.to_owned())
}

/// The base address of the loader, in the auxiliary vector; see getauxval(3).
const AT_BASE: libc::c_ulong = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_its_executable() {
        assert_eq!(other_executable(), None);
    }

    #[test]
    fn the_umask_is_read_and_not_changed() {
        let before = umask();
        assert!(before.is_some_and(|mask| mask <= 0o777));
        assert_eq!(umask(), before);
    }
}
