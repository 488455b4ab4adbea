//! The N-th system call of each kind fails, for N = 1, 2, 3, ... until there are no more. Whichever step of the pool that hits,
//! its jobs end in values or errors, it ends, and nothing is left of it.

use std::time::Instant;

use libc::c_long;
use nix::errno::Errno::{
    EACCES, EAGAIN, ECONNRESET, EINTR, EINVAL, EMFILE, ENOBUFS, ENOENT, ENOMEM, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM,
    EPIPE, ETOOMANYREFS,
};
use pool_core::prelude::*;
use tests::host::say;
use tests::injection::Failure::{self, NoDescriptors, Says};
use tests::injection::{self, Injection, Lasting, Obstacle, SystemCall};
use tests::tasks::{Way, crash, nap, square};
use tests::trial::{Check, Setup, each_method};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_system_call_that_fails_once_hangs_nothing).backoff(BACKOFF),
        each_method(a_system_call_that_fails_from_then_on_hangs_nothing).backoff(BACKOFF),
        each_method(a_constructor_names_the_call_that_fails),
        each_method(a_pool_of_workers_that_cannot_begin_says_why),
        each_method(a_worker_that_cannot_be_started_for_want_of_descriptors_costs_no_other),
    ]
}

/// For all runs of a check together, even if there are thousands.
const BACKOFF: Duration = Duration::from_secs(3600);

/// Set to anything, it has every N tried, with every errno and every end.
const EXHAUSTIVE: &str = "POOL_TESTS_EXHAUSTIVE";

/// A kind of system call, and how it may fail.
struct Kind {
    call: SystemCall,
    /// At any time, and from then on; the likeliest first.
    lasting: &'static [Failure],
    /// At any time, but not again and again.
    passing: &'static [Failure],
}

const fn kind(name: &'static str, number: c_long, lasting: &'static [Failure]) -> Kind {
    Kind { call: SystemCall { name, number, counts: |_| true }, lasting, passing: &[] }
}

impl Kind {
    const fn or_once(self, passing: &'static [Failure]) -> Kind {
        Kind { passing, ..self }
    }

    const fn if_only(self, counts: fn(&[u64; 6]) -> bool) -> Kind {
        Kind { call: SystemCall { counts, ..self.call }, ..self }
    }
}

/// See the manual page of each. Errors that are missing here cannot occur, such as `waitid` that says `ECHILD` to a
/// process with children. The C library and `std` make calls for purposes of their own, too, and may not survive their
/// failure; these calls count only if the pool causes them.
const KINDS: &[Kind] = &[
    kind("clone", libc::SYS_clone, &[Says(EAGAIN), Says(ENOMEM), Says(EPERM)]),
    kind("clone3", libc::SYS_clone3, &[Says(EAGAIN), Says(ENOSYS), Says(EPERM)]),
    kind("execve", libc::SYS_execve, &[Says(ENOENT), Says(EACCES), Says(ENOMEM)]),
    kind("mmap", libc::SYS_mmap, &[Says(ENOMEM), Says(EAGAIN)]).if_only(is_shared_or_stack),
    kind("madvise", libc::SYS_madvise, &[Says(ENOMEM), Says(EINVAL)]).if_only(is_against_copies),
    kind("memfd_create", libc::SYS_memfd_create, &[Says(ENOSYS), Says(EMFILE), Says(EINVAL), Says(EACCES)]),
    kind("ftruncate", libc::SYS_ftruncate, &[Says(ENOMEM)]).or_once(&[Says(EINTR)]),
    kind("fallocate", libc::SYS_fallocate, &[Says(ENOSPC), Says(EOPNOTSUPP)]).or_once(&[Says(EINTR)]),
    kind("fcntl", libc::SYS_fcntl, &[Says(EMFILE), Says(EINVAL), Says(EPERM)]).if_only(is_not_about_flags),
    kind("socketpair", libc::SYS_socketpair, &[Says(EMFILE), Says(ENOBUFS)]),
    kind("sendmsg", libc::SYS_sendmsg, &[Says(ENOBUFS), Says(ETOOMANYREFS), Says(EPIPE)]).or_once(&[Says(EINTR)]),
    kind("recvmsg", libc::SYS_recvmsg, &[NoDescriptors, Says(ENOMEM), Says(ECONNRESET)]).or_once(&[Says(EINTR)]),
    kind("recvfrom", libc::SYS_recvfrom, &[Says(ENOMEM)]).or_once(&[Says(EINTR)]),
    #[cfg(target_arch = "x86_64")]
    kind("poll", libc::SYS_poll, &[Says(ENOMEM), Says(EINVAL)]).or_once(&[Says(EINTR)]),
    kind("ppoll", libc::SYS_ppoll, &[Says(EINVAL), Says(ENOMEM)]).or_once(&[Says(EINTR)]),
    kind("pidfd_open", libc::SYS_pidfd_open, &[Says(ENOSYS), Says(EMFILE), Says(EPERM)]),
    kind("pidfd_send_signal", libc::SYS_pidfd_send_signal, &[Says(ENOSYS), Says(EPERM)]),
    kind("waitid", libc::SYS_waitid, &[]).or_once(&[Says(EINTR)]),
    kind("wait4", libc::SYS_wait4, &[]).or_once(&[Says(EINTR)]),
    kind("eventfd2", libc::SYS_eventfd2, &[Says(EMFILE), Says(ENOMEM)]),
    kind("epoll_create1", libc::SYS_epoll_create1, &[Says(EMFILE), Says(ENOMEM)]),
    kind("epoll_ctl", libc::SYS_epoll_ctl, &[Says(ENOMEM), Says(ENOSPC)]),
    kind("prctl", libc::SYS_prctl, &[Says(EPERM), Says(EINVAL)]),
    kind("setpgid", libc::SYS_setpgid, &[Says(EPERM), Says(EACCES)]),
    kind("futex", libc::SYS_futex, &[]).or_once(&[Says(EINTR), Says(EAGAIN)]).if_only(is_our_wait),
];

/// The memory of a lane or the hub, or the stack of a new thread, which begins without access.
fn is_shared_or_stack(args: &[u64; 6]) -> bool {
    let (access, flags) = (args[2] as i32, args[3] as i32);
    flags & libc::MAP_SHARED != 0 || flags & libc::MAP_STACK != 0 && access == libc::PROT_NONE
}

fn is_against_copies(args: &[u64; 6]) -> bool {
    args[2] as i32 == libc::MADV_DONTFORK
}

fn is_not_about_flags(args: &[u64; 6]) -> bool {
    ![libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL].contains(&(args[1] as i32))
}

/// `std` and the C library sleep by other operations.
fn is_our_wait(args: &[u64; 6]) -> bool {
    args[1] as i32 == libc::FUTEX_WAIT
}

/// How a pool ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// When all is done.
    Join,
    /// By being dropped while workers run something.
    AtWork,
}

const ENDS: [End; 2] = [End::Join, End::AtWork];

fn a_system_call_that_fails_once_hangs_nothing(setup: &Setup) {
    for kind in KINDS {
        sweep(setup, kind, kind.lasting.iter().chain(kind.passing), Lasting::Once);
    }
}

fn a_system_call_that_fails_from_then_on_hangs_nothing(setup: &Setup) {
    for kind in KINDS {
        sweep(setup, kind, kind.lasting.iter(), Lasting::ForEver);
    }
}

/// Has the first, the second, ... call fail, until there are no more.
fn sweep<'a>(setup: &Setup, kind: &Kind, failures: impl Iterator<Item = &'a Failure>, lasting: Lasting) {
    let is_exhaustive = std::env::var_os(EXHAUSTIVE).is_some();
    let (start, mut runs) = (Instant::now(), 0);
    for &failure in failures.take(if is_exhaustive { usize::MAX } else { 1 }) {
        let mut untouched = 0;
        for (nth, end) in plan(is_exhaustive) {
            let injection = Injection { call: kind.call, failure, lasting, nth };
            runs += 1;
            match injection::run(&injection, || live(setup, end)) {
                Ok(0) => untouched += 1,
                Ok(_) => untouched = 0,
                Err(Obstacle::NotPermitted(error)) => return say_left_out(&error),
                Err(Obstacle::Failed(what)) => panic!("{end:?}: {what}"),
            }
            // One of each end.
            if untouched == ENDS.len() {
                break;
            }
        }
    }
    say(format!("{}: {runs} runs in {:.1?}", kind.call.name, start.elapsed()));
}

/// Every N with every end; or rarer and rarer ones, with one end and the other in turn.
fn plan(is_exhaustive: bool) -> impl Iterator<Item = (u64, End)> {
    let step = move |nth: &u64| if is_exhaustive || *nth < 8 { 1 } else { nth / 2 };
    let numbers = std::iter::successors(Some(1), move |nth| Some(nth + step(nth)));
    numbers.enumerate().flat_map(move |(at, nth)| {
        let ends = if is_exhaustive { &ENDS[..] } else { &ENDS[at % ENDS.len()..][..1] };
        ends.iter().map(move |&end| (nth, end))
    })
}

/// The life of a pool: its workers start, work, die, become more, and end.
fn live(setup: &Setup, end: End) {
    let pool = match setup.builder().build() {
        Ok(pool) => pool,
        Err(error) => return assert_tells(&error),
    };
    (0..3).for_each(|x| assert_square(x, pool.apply(square::Task, x)));
    assert_squares(&pool, 200);
    assert_tells(&pool.apply(crash::Task, Some(Way::Kill)).expect_err("it kills itself"));
    let _ = pool.resize(setup.workers + 1).inspect_err(assert_tells);
    assert_squares(&pool, 20);
    match end {
        End::Join => {
            pool.close();
            pool.join().expect("it is closed");
        }
        End::AtWork => {
            let naps: Vec<_> = (0..4).map(|_| pool.apply_async(nap::Task, 600_000)).collect();
            drop(pool);
            for nap in naps {
                assert_tells(&nap.and_then(AsyncResult::get).expect_err("it takes ten minutes"));
            }
        }
    }
}

fn assert_squares(pool: &Pool, items: u64) {
    match pool.map_results(square::Task, 0..items) {
        Ok(results) => (0..).zip(results).for_each(|(x, result)| assert_square(x, result)),
        Err(error) => assert_tells(&error),
    }
}

fn assert_square(x: u64, result: pool_core::Result<u64>) {
    match result {
        Ok(value) => assert_eq!(value, x * x),
        Err(error) => assert_tells(&error),
    }
}

/// The error names the fate of the worker, the pool or the call, and never blames a protocol violation.
fn assert_tells(error: &pool_core::Error) {
    use ErrorKind::{Broken, System, Terminated, Unsupported, WorkerDied};
    assert!(matches!(error.kind(), System | Broken | Unsupported | WorkerDied | Terminated), "{error:?}");
}

fn a_constructor_names_the_call_that_fails(setup: &Setup) {
    let cases = [
        ("memfd_create", ENOSYS, "memfd_create"),
        ("mmap", ENOMEM, "mmap"),
        ("eventfd2", EMFILE, "eventfd"),
        ("socketpair", EMFILE, "socketpair"),
        ("execve", ENOENT, "/proc/self/exe (is /proc mounted?)"),
        ("epoll_create1", EMFILE, "epoll_create1 of the fork server"),
        ("pidfd_open", ENOSYS, "pidfd_open of the fork server"),
    ];
    for (name, errno, words) in cases {
        let injection = Injection { call: call_of(name), failure: Says(errno), lasting: Lasting::ForEver, nth: 1 };
        let build = || {
            // So many that the fork server may have ended while they are still asked for.
            let made = setup.builder().workers(16).build();
            // A copy of the host is started without.
            if name == "execve" && setup.method == StartMethod::Fork {
                return drop(made.expect("a pool"));
            }
            let error = made.expect_err("a call fails");
            let is_old = errno == ENOSYS;
            assert_eq!(error.kind(), if is_old { ErrorKind::Unsupported } else { ErrorKind::System }, "{error}");
            let text = error.to_string();
            assert!(text.contains(words) && text.contains("Linux 5.3 or later") == is_old, "{text}");
        };
        match injection::run(&injection, build) {
            Err(Obstacle::Failed(what)) => panic!("{what}"),
            Err(Obstacle::NotPermitted(error)) => return say_left_out(&error),
            Ok(_) => {}
        }
    }
}

fn a_pool_of_workers_that_cannot_begin_says_why(setup: &Setup) {
    // The first executable is the fork server's.
    let cases = [("prctl", EPERM, 1, "could not be tied to the fork server"), ("execve", ENOENT, 2, "/proc/self/exe")];
    for (name, errno, nth, words) in cases {
        let injection = Injection { call: call_of(name), failure: Says(errno), lasting: Lasting::ForEver, nth };
        let work = || {
            let results = setup.pool().map(nap::Task, [50; 100]);
            if name == "execve" && setup.method != StartMethod::Spawn {
                return drop(results.expect("workers that are forked need no executable"));
            }
            let error = results.expect_err("no worker");
            assert!(error.kind() == ErrorKind::Broken && error.to_string().contains(words), "{error:?}");
        };
        match injection::run(&injection, work) {
            Err(Obstacle::Failed(what)) => panic!("{what}"),
            Err(Obstacle::NotPermitted(error)) => return say_left_out(&error),
            Ok(_) => {}
        }
    }
}

fn a_worker_that_cannot_be_started_for_want_of_descriptors_costs_no_other(setup: &Setup) {
    for nth in 1.. {
        let injection = Injection { call: call_of("recvmsg"), failure: NoDescriptors, lasting: Lasting::Once, nth };
        let replace = || {
            let Ok(pool) = setup.builder().build() else { return };
            let other = pool.apply_async(nap::Task, 300).expect("an open pool");
            assert_tells(&pool.apply(crash::Task, Some(Way::Kill)).expect_err("it kills itself"));
            // If its neighbour cannot be replaced in a few attempts, the pool is broken; the worker did not die.
            if let Err(error) = other.get() {
                assert_eq!(error.kind(), ErrorKind::Broken, "{error}");
            }
        };
        match injection::run(&injection, replace) {
            Err(Obstacle::Failed(what)) => panic!("{what}"),
            Err(Obstacle::NotPermitted(error)) => return say_left_out(&error),
            Ok(0) => return,
            Ok(_) => {}
        }
    }
}

fn call_of(name: &str) -> SystemCall {
    KINDS.iter().find(|kind| kind.call.name == name).expect("a kind of this name").call
}

fn say_left_out(why: &std::io::Error) {
    say(format!("left out: system calls cannot be made to fail here: {why}"));
}
