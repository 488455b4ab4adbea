//! Tasks that do to their process what no task should: it is this process's and this job's misfortune, and nobody else's.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, fork, setsid};
use pool_core::prelude::*;
use serde::{Deserialize, Serialize};
use tests::gate::{Gate, count, pass};
use tests::procs::{descendants, eventually, is_alive, kill_9};
use tests::tasks::{Way, pid, square};
use tests::trial::{Check, Setup, each_method};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(what_a_task_has_started_dies_with_its_worker),
        each_method(a_copy_that_a_task_forks_takes_no_jobs_and_dies_with_the_worker),
        each_method(a_copy_that_has_left_the_group_lives_on_and_holds_nothing_up),
        each_method(threads_that_outlive_their_task_hold_nothing_up).noisy(),
        each_method(a_task_may_do_anything_to_the_descriptors),
        each_method(a_task_that_unmaps_what_is_shared_fails_alone),
        each_method(a_task_that_scribbles_over_shared_memory_hurts_nobody_else),
        each_method(an_initializer_that_scribbles_is_not_taken_for_killed_by_others),
        each_method(a_thread_that_scribbles_when_its_task_has_ended_hurts_no_later_call),
        each_method(what_a_task_has_printed_is_not_printed_twice),
        each_method(what_the_host_has_printed_is_not_printed_twice),
        each_method(what_a_task_changes_in_its_process_the_next_one_finds),
        each_method(each_item_has_a_process_of_its_own_if_the_pool_says_so),
    ]
}

/// The pool is as good as new.
fn assert_works(pool: &Pool, setup: &Setup) {
    assert_eq!(pool.map(square::Task, 0..1000).unwrap(), (0..1000).map(|x| x * x).collect::<Vec<_>>());
    assert!(eventually(|| pool.worker_pids().len() == setup.workers));
}

// ---- processes and threads -----------------------------------------------------------------------------------------

#[pool_task]
#[expect(clippy::zombie_processes, reason = "whether somebody else ends it is the question")]
fn start_a_sleeper(and_die: bool) -> u32 {
    let sleeper = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    if and_die {
        std::process::abort();
    }
    sleeper.id()
}

fn what_a_task_has_started_dies_with_its_worker(setup: &Setup) {
    let pool = setup.pool();
    let _ = pool.apply(start_a_sleeper::Task, true).unwrap_err();
    assert!(eventually(|| descendants().iter().all(|process| process.name != "sleep")), "{:?}", descendants());
    let sleeper = pool.apply(start_a_sleeper::Task, false).unwrap();
    assert!(is_alive(sleeper));
    drop(pool);
    assert!(eventually(|| !is_alive(sleeper)), "it outlived its worker");
}

/// What the copy of a worker does, in which its task goes on as in the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Copy {
    /// It returns from the task as if it were the worker.
    Returns,
    /// So does one that was made without the C library's knowledge.
    ReturnsRaw,
    /// It panics in the task.
    Panics,
    /// It stays.
    Lingers,
    /// It makes another one, which stays, and leaves.
    ForksAgain,
    /// It stays, in a session and thus a process group of its own.
    LeavesTheGroup,
}

/// Its own process id and, if there is one, that of a copy that stays.
#[pool_task]
fn copy_itself(copy: Copy, note: &str) -> (u32, Option<u32>) {
    let me = std::process::id();
    // A copy has no part in the memory that is shared with the host, from where this is lent.
    let note = note.to_owned();
    let is_copy = match copy {
        // SAFETY:
        // - the worker has one thread.
        Copy::ReturnsRaw => unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) == 0 },
        // SAFETY:
        // - likewise.
        _ => matches!(unsafe { fork() }.unwrap(), ForkResult::Child),
    };
    if is_copy {
        match copy {
            Copy::Returns | Copy::ReturnsRaw => return (0, None),
            Copy::Panics => panic!("in the copy"),
            Copy::Lingers => {}
            // SAFETY:
            // - the copy has one thread.
            Copy::ForksAgain => match unsafe { fork() }.unwrap() {
                ForkResult::Child => {}
                // SAFETY:
                // - `_exit` has no preconditions.
                ForkResult::Parent { .. } => unsafe { libc::_exit(0) },
            },
            Copy::LeavesTheGroup => drop(setsid().unwrap()),
        }
        fs::write(&note, std::process::id().to_string()).unwrap();
        thread::sleep(Duration::from_secs(60));
        std::process::exit(0);
    }
    if matches!(copy, Copy::Returns | Copy::ReturnsRaw | Copy::Panics) {
        return (me, None);
    }
    // Whoever reads it must not find half of it: a process id has no more digits than fit into one write.
    let read = || fs::read_to_string(&note).ok().and_then(|text| text.parse().ok());
    assert!(eventually(|| read().is_some()));
    (me, read())
}

fn a_copy_that_a_task_forks_takes_no_jobs_and_dies_with_the_worker(setup: &Setup) {
    let pool = setup.pool();
    for copy in [Copy::Returns, Copy::ReturnsRaw, Copy::Panics, Copy::Lingers, Copy::ForksAgain] {
        // Alone, and in the middle of a chunk.
        for chunk in [1, 3] {
            let notes: Vec<_> = (0..chunk).map(|_| Gate::new()).collect();
            let task = copy_itself::Task.chunk_size(chunk);
            let answers = pool.map(task, notes.iter().map(|note| (copy, note.path()))).unwrap();
            let pids = pool.worker_pids();
            for (worker, stays) in answers {
                assert!(pids.contains(&worker), "{copy:?}: a copy answered");
                assert!(stays.is_none_or(is_alive), "{copy:?}");
                assert!(pool.map(pid::Task, [(); 50]).unwrap().into_iter().all(|pid| pids.contains(&pid)), "{copy:?}");
                assert_eq!(pool.worker_pids(), pids);
                if let Some(stays) = stays {
                    kill_9(worker);
                    assert!(eventually(|| !is_alive(stays)), "{copy:?} outlived its worker");
                    assert!(eventually(|| !pool.worker_pids().contains(&worker)));
                    break;
                }
            }
            assert!(eventually(|| pool.worker_pids().len() == setup.workers));
        }
    }
    assert_eq!(pool.stats().items_failed, 0);
}

fn a_copy_that_has_left_the_group_lives_on_and_holds_nothing_up(setup: &Setup) {
    let pool = setup.pool();
    let note = Gate::new();
    let (worker, copy) = pool.apply(copy_itself::Task, (Copy::LeavesTheGroup, note.path())).unwrap();
    let copy = copy.unwrap();
    kill_9(worker);
    assert_works(&pool, setup);
    pool.close();
    pool.join().unwrap();
    drop(pool);
    assert!(is_alive(copy), "nobody knows it, so nobody can have ended it");
    kill_9(copy);
    assert!(eventually(|| !is_alive(copy)));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Companion {
    Sleeps,
    Panics,
    EndsTheProcess,
}

/// Leaves a thread behind, which does something when the task has long returned.
#[pool_task]
fn leave_a_thread(companion: Companion, gate: &str) {
    let gate = gate.to_owned();
    thread::spawn(move || {
        tests::gate::pass(&gate);
        match companion {
            Companion::Sleeps => thread::sleep(Duration::from_secs(600)),
            Companion::Panics => panic!("in another thread"),
            Companion::EndsTheProcess => Way::ExitZero.go(),
        }
    });
}

fn threads_that_outlive_their_task_hold_nothing_up(setup: &Setup) {
    let pool = setup.pool();
    for companion in [Companion::Sleeps, Companion::Panics, Companion::EndsTheProcess] {
        let gate = Gate::new();
        let pids = pool.worker_pids();
        pool.apply(leave_a_thread::Task, (companion, gate.path())).unwrap();
        gate.open();
        if companion == Companion::EndsTheProcess {
            assert!(eventually(|| pool.worker_pids() != pids), "it does not end");
        }
        assert_works(&pool, setup);
    }
    assert_eq!(pool.stats().items_failed, 0);
    pool.close();
    pool.join().unwrap();
}

// ---- descriptors and memory ----------------------------------------------------------------------------------------

#[pool_task]
fn close_everything() {
    // SAFETY:
    // - it breaks whatever owns a descriptor, which is what this is for; the worker uses none of them afterwards.
    unsafe { libc::close_range(0, u32::MAX, 0) };
}

/// Puts something else in the place of every descriptor that there is or could be.
#[pool_task]
fn replace_everything() {
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    for fd in (0..64).filter(|fd| *fd != null.as_raw_fd()) {
        // SAFETY:
        // - as above.
        unsafe { libc::dup2(null.as_raw_fd(), fd) };
    }
    std::mem::forget(null);
}

fn a_task_may_do_anything_to_the_descriptors(setup: &Setup) {
    let pool = setup.pool();
    for _ in 0..3 {
        pool.apply(close_everything::Task, ()).unwrap();
        pool.apply(replace_everything::Task, ()).unwrap();
        assert_works(&pool, setup);
    }
    assert_eq!(pool.stats().items_failed, 0);
    assert_eq!(pool.stats().workers_died, 0);
}

/// The shared memory of this process: addresses and lengths of its mappings, whether only those that it may write to.
fn shared_memory(writable: bool) -> Vec<(usize, usize)> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let ours = maps.lines().filter(|line| line.contains("memfd:") && (!writable || line.contains(" rw-s ")));
    let range = |line: &str| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let [start, end] = [start, end].map(|address| usize::from_str_radix(address, 16).unwrap());
        Some((start, end - start))
    };
    ours.filter_map(range).collect()
}

#[pool_task]
fn unmap() {
    for (start, length) in shared_memory(false) {
        // SAFETY:
        // - there is none: it takes away what the worker stands on, which is what this is for.
        unsafe { libc::munmap(std::ptr::with_exposed_provenance_mut(start), length) };
    }
}

fn a_task_that_unmaps_what_is_shared_fails_alone(setup: &Setup) {
    let pool = setup.pool();
    for _ in 0..3 {
        let unmapping = pool.apply_async(unmap::Task, ()).unwrap();
        let behind: Vec<_> = (0..10).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
        let error = unmapping.get().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
        assert!(error.to_string().ends_with("killed by signal 11 (SIGSEGV)"), "{error}");
        for (x, job) in (0..).zip(behind) {
            assert_eq!(job.get().unwrap(), x * x);
        }
        assert_works(&pool, setup);
    }
}

/// Fills every writable shared mapping of this process.
#[pool_task]
fn scribble(calls: &str) -> usize {
    count(calls);
    let bytes = scribble_everywhere();
    thread::sleep(Duration::from_millis(20));
    bytes
}

/// How many bytes that were.
fn scribble_everywhere() -> usize {
    let mut bytes = 0;
    for (start, length) in shared_memory(true) {
        let memory = std::ptr::with_exposed_provenance_mut::<u8>(start);
        // SAFETY:
        // - the memory is mapped and writable; that others share it is what this is for.
        unsafe { memory.write_bytes(0xA5, length) };
        bytes += length;
    }
    bytes
}

fn a_task_that_scribbles_over_shared_memory_hurts_nobody_else(setup: &Setup) {
    let pool = setup.pool();
    for _ in 0..5 {
        let calls = Gate::new();
        let scribbling = pool.apply_async(scribble::Task, calls.path()).unwrap();
        let behind: Vec<_> = (0..10).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
        // Unless its host has looked meanwhile, what it writes in the end is as it should be.
        match scribbling.get() {
            Ok(bytes) => assert!(bytes > 128 << 10),
            Err(error) => assert!(matches!(error.kind(), ErrorKind::Protocol | ErrorKind::WorkerDied), "{error}"),
        }
        for (x, job) in (0..).zip(behind) {
            assert_eq!(job.get().unwrap(), x * x);
        }
        assert_eq!(calls.count(), 1, "it ran again elsewhere");
        assert_works(&pool, setup);
    }
}

/// As an initializer.
#[pool_task]
fn scribble_at_first() {
    scribble_everywhere();
    thread::sleep(Duration::from_millis(20));
}

fn an_initializer_that_scribbles_is_not_taken_for_killed_by_others(setup: &Setup) {
    let mut texts = (0..30).filter_map(|_| {
        let builder = setup.builder().restart_limit(0).initializer(scribble_at_first::Task, ());
        // Unless its host has looked meanwhile, what it writes in the end is as it should be.
        let text = builder.build().unwrap().apply(square::Task, 3).err()?.to_string();
        assert!(tests::procs::eventually(|| tests::leaks::threads().len() == 1));
        Some(text)
    });
    let text = texts.next().expect("the host has looked once in 30 times");
    assert!(text.contains("before it was ready: wrote over the memory that it shares with the host"), "{text}");
}

/// Leaves behind a thread that does so when the answer is there, and says when it has.
#[pool_task]
fn scribble_later(may: &str, done: &str) {
    let (may, done) = (may.to_owned(), done.to_owned());
    thread::spawn(move || {
        pass(&may);
        scribble_everywhere();
        count(&done);
    });
}

fn a_thread_that_scribbles_when_its_task_has_ended_hurts_no_later_call(setup: &Setup) {
    let pool = setup.pool();
    let mischief = || {
        let (may, done) = (Gate::new(), Gate::new());
        pool.apply(scribble_later::Task, (may.path(), done.path())).unwrap();
        may.open();
        done.wait();
    };
    for x in 0..5 {
        mischief();
        assert_eq!(pool.apply(square::Task, x).unwrap(), x * x);
        assert_works(&pool, setup);
    }
    mischief();
    assert_works(&pool, setup);
    mischief();
    pool.close();
    pool.join().unwrap();
    assert_eq!(pool.stats().items_failed, 0);
}

// ---- output --------------------------------------------------------------------------------------------------------

/// What this process and its workers have printed so far. The trial's standard output is a file.
fn printed() -> String {
    // SAFETY:
    // - it is open, and is not closed here.
    let stdout = std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(1) });
    let mut bytes = vec![0; stdout.metadata().unwrap().len() as usize];
    stdout.read_exact_at(&mut bytes, 0).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[pool_task]
#[expect(clippy::print_stdout, reason = "how often it comes out is the question")]
fn print_and_go(text: &str, way: Way) {
    print!("{text}");
    way.go();
}

const SHORT: Duration = Duration::from_millis(100);

fn what_a_task_has_printed_is_not_printed_twice(setup: &Setup) {
    let pool = setup.pool();
    for (number, way) in Way::ALL.into_iter().enumerate() {
        let text = format!("<{number}>");
        let task = if way == Way::Hang { print_and_go::Task.timeout(SHORT) } else { print_and_go::Task.retries(0) };
        assert!(pool.apply(task, (&text, way)).is_err());
        assert_works(&pool, setup);
        // What is still in the process's own buffer when it is killed is lost with it.
        let times = printed().matches(&text).count();
        assert!(
            times == 1 || times == 0 && !matches!(way, Way::Panic | Way::ExitZero | Way::ExitThree),
            "{times} times, {way:?}"
        );
    }
}

#[expect(clippy::print_stdout, reason = "how often it comes out is the question")]
fn what_the_host_has_printed_is_not_printed_twice(setup: &Setup) {
    print!("<host>");
    let pool = setup.pool();
    for way in [Way::Panic, Way::ExitZero, Way::ExitThree, Way::Abort] {
        assert!(pool.apply(print_and_go::Task, ("", way)).is_err());
    }
    pool.close();
    pool.join().unwrap();
    std::io::stdout().flush().unwrap();
    assert_eq!(printed().matches("<host>").count(), 1);
}

// ---- what belongs to the process -----------------------------------------------------------------------------------

#[pool_task]
fn change_everything() {
    std::env::set_current_dir("/proc").unwrap();
    umask(Mode::from_bits_truncate(0o77));
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 99, hard).unwrap();
}

/// Working directory, umask, and a limit.
#[pool_task]
fn look_at_everything() -> (String, u32, u64) {
    let mask = umask(Mode::empty());
    umask(mask);
    let directory = std::env::current_dir().unwrap().display().to_string();
    (directory, mask.bits(), getrlimit(Resource::RLIMIT_NOFILE).unwrap().0)
}

fn what_a_task_changes_in_its_process_the_next_one_finds(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    let before = look_at_everything();
    assert_eq!(pool.apply(look_at_everything::Task, ()).unwrap(), before);
    pool.apply(change_everything::Task, ()).unwrap();
    assert_eq!(pool.apply(look_at_everything::Task, ()).unwrap(), ("/proc".to_owned(), 0o77, 99));
    // But neither the host nor the worker's successor.
    assert_eq!(look_at_everything(), before);
    kill_9(pool.worker_pids()[0]);
    assert!(eventually(|| pool.apply(look_at_everything::Task.retries(1), ()).unwrap() == before));
}

fn each_item_has_a_process_of_its_own_if_the_pool_says_so(setup: &Setup) {
    let pool = setup.builder().max_tasks_per_worker(1).build().unwrap();
    let before = look_at_everything();
    for _ in 0..3 {
        pool.apply(change_everything::Task, ()).unwrap();
        assert_eq!(pool.map(look_at_everything::Task, [(); 3]).unwrap(), vec![before.clone(); 3]);
    }
}
