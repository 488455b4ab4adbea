//! Hosts that the system lets do less than usual: the pool works all the same, or gives an error that names the missing
//! right, and nothing is left.
//!
//! Each host is a copy of the trial's process, and only the copy is confined. A confinement that this machine does not allow
//! is left out, with a word on standard output.

use std::fs;
use std::panic::{self, AssertUnwindSafe};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Uid, fork, setgid, setsid, setuid};
use pool_core::prelude::*;
use tests::host::say;
use tests::leaks::Snapshot;
use tests::procs::eventually;
use tests::tasks::square;
use tests::trial::{Check, Setup, each_method};

use crate::host_processes::assert_works;

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_host_may_be_the_first_process),
        each_method(nothing_lies_in_dev_shm),
        each_method(without_proc_there_is_a_pool_or_an_error),
        each_method(without_pidfds_there_is_an_error),
        each_method(a_host_that_may_have_no_more_processes_has_errors),
        // A worker without memory says so, as any Rust program does.
        each_method(a_host_that_may_have_no_more_memory_has_errors).noisy(),
    ]
}

/// The last words of the copy.
const WELL: i32 = 0;
const BADLY: i32 = 1;
const LEFT_OUT: i32 = 2;

/// Runs `body` in a copy of this process, which is confined by `confine`, unless that is not allowed.
fn confined(confine: impl FnOnce() -> nix::Result<()>, body: impl FnOnce()) {
    let copy = || match confine() {
        Err(why) => {
            say(format_args!("left out, since this machine does not allow it: {why}"));
            LEFT_OUT
        }
        Ok(()) => panic::catch_unwind(AssertUnwindSafe(body)).map_or(BADLY, |()| WELL),
    };
    let code = in_a_copy(copy);
    assert!(code == WELL || code == LEFT_OUT, "see above; the copy ended with {code}");
}

/// The exit code of a copy of this process that does `body`.
fn in_a_copy(body: impl FnOnce() -> i32) -> i32 {
    // SAFETY:
    // - this process has one thread.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let code = body();
            // SAFETY:
            // - `_exit` has no preconditions.
            unsafe { libc::_exit(code) }
        }
        ForkResult::Parent { child } => match waitpid(child, None).unwrap() {
            WaitStatus::Exited(_, code) => code,
            status => panic!("the copy ended badly: {status:?}"),
        },
    }
}

/// Namespaces of its own for this process, which needs one for users, too, unless it is root.
fn unshare_as_anybody(flags: CloneFlags) -> nix::Result<()> {
    let users = if Uid::effective().is_root() { CloneFlags::empty() } else { CloneFlags::CLONE_NEWUSER };
    unshare(flags | users)
}

fn a_host_may_be_the_first_process(setup: &Setup) {
    let first = || {
        assert_eq!(std::process::id(), 1);
        let pool = setup.pool();
        assert_works(&pool, setup);
        pool.close();
        pool.join().unwrap();
        WELL
    };
    confined(|| unshare_as_anybody(CloneFlags::CLONE_NEWPID), || assert_eq!(in_a_copy(first), WELL));
}

/// Covers a directory with an empty one in which nothing can be written.
fn cover(directory: &str) -> nix::Result<()> {
    unshare_as_anybody(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    mount(Some("none"), directory, Some("tmpfs"), MsFlags::MS_RDONLY, None::<&str>)
}

fn nothing_lies_in_dev_shm(setup: &Setup) {
    let body = || {
        assert_eq!(fs::write("/dev/shm/pool-test", "").unwrap_err().raw_os_error(), Some(libc::EROFS));
        let pool = setup.pool();
        assert_works(&pool, setup);
        drop(pool);
    };
    confined(|| cover("/dev/shm"), body);
}

fn without_proc_there_is_a_pool_or_an_error(setup: &Setup) {
    let body = || {
        assert!(!fs::exists("/proc/self").unwrap());
        if setup.method == StartMethod::Fork {
            return assert_works(&setup.pool(), setup);
        }
        let error = setup.builder().build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::System, "{error}");
        assert!(error.to_string().contains("/proc/self/exe"), "{error}");
    };
    confined(|| cover("/proc"), body);
}

/// Makes `pidfd_open` fail as on a kernel that does not know it, see seccomp(2).
fn forget_pidfds() -> nix::Result<()> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
    let mut steps = [
        step(LOAD, 0, 0), // the number of the system call
        step(JUMP_IF_EQUAL, 1, libc::SYS_pidfd_open as u32),
        step(RETURN, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        step(RETURN, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    nix::sys::prctl::set_no_new_privs()?;
    // SAFETY:
    // - the filter and its steps live until the kernel has copied them.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) }).map(drop)
}

fn without_pidfds_there_is_an_error(setup: &Setup) {
    let body = || {
        let before = Snapshot::take();
        let error = setup.builder().build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("pidfd_open"), "{error}");
        before.assert_restored();
    };
    confined(|| setsid().and_then(|_| forget_pidfds()), body);
}

/// Gives up root's rights, if this process has them: limits do not bind root.
fn be_nobody() -> nix::Result<()> {
    const NOBODY: u32 = 65_534;
    setsid()?;
    if Uid::effective().is_root() {
        setgid(NOBODY.into())?;
        setuid(NOBODY.into())?;
        // Else /proc/self belongs to root.
        nix::sys::prctl::set_dumpable(true)?;
    }
    Ok(())
}

/// While the limit is `soft`.
fn limited<R>(resource: Resource, soft: u64, body: impl FnOnce() -> R) -> R {
    let (before, hard) = getrlimit(resource).unwrap();
    setrlimit(resource, soft.min(hard), hard).unwrap();
    let result = body();
    setrlimit(resource, before, hard).unwrap();
    result
}

/// A pool is made, used, and loses a worker; any of which may fail.
fn assert_works_or_fails(setup: &Setup) {
    match setup.builder().restart_limit(1).build() {
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::System | ErrorKind::Unsupported), "{error:?}");
        }
        Ok(pool) => {
            for _ in 0..2 {
                let jobs: Vec<_> = (0..20).map(|x| pool.apply_async(square::Task.retries(9), x)).collect();
                for (x, job) in (0..).zip(jobs) {
                    match job.and_then(AsyncResult::get) {
                        Ok(value) => assert_eq!(value, x * x),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Broken, "{error:?}"),
                    }
                }
                pool.worker_pids().into_iter().take(1).for_each(tests::procs::kill_9);
            }
        }
    }
}

fn a_host_that_may_have_no_more_processes_has_errors(setup: &Setup) {
    let body = || {
        let before = Snapshot::take();
        // How many this user has already is not known.
        for most in (0..12).chain((4..12).map(|power| 1 << power)) {
            limited(Resource::RLIMIT_NPROC, most, || assert_works_or_fails(setup));
            before.assert_restored();
        }
        assert_works(&setup.pool(), setup);
    };
    confined(be_nobody, body);
}

fn a_host_that_may_have_no_more_memory_has_errors(setup: &Setup) {
    let body = || {
        // The allocator gets some memory first, so that a mapping is the call that fails.
        drop((0..1000).map(|_| vec![1_u8; 1000]).collect::<Vec<_>>());
        let before = Snapshot::take();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let used =
            status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB")?.parse().ok());
        let used: u64 = used.unwrap();
        for more in [0, 100, 200, 400, 800, 2200, 4400, 9000, 20_000, 100_000, 1_000_000] {
            limited(Resource::RLIMIT_AS, (used + more) << 10, || {
                assert_works_or_fails(setup);
                // Threads on their way out still count.
                eventually(|| tests::leaks::threads().len() == 1);
            });
            before.assert_restored();
        }
        assert_works(&setup.pool(), setup);
    };
    confined(|| setsid().map(drop), body);
}
