//! The page `pool-core/guide/inherits.md`: each row, for each start method.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::{env, fs};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, chdir, getpgrp, getsid, pipe};
use pool_core::prelude::*;
use tests::procs::{Process, children, eventually, fork_server, kill_9};
use tests::tasks::{pid, square};
use tests::trial::{Check, Setup, each_method};

pub(crate) fn checks() -> Vec<Check> {
    let from_executable = [StartMethod::ForkServer, StartMethod::Spawn];
    vec![
        each_method(all_workers_draw_different_random_numbers).workers(&[4]),
        each_method(workers_forked_from_the_host_draw_the_numbers_that_it_seeded).methods(&[StartMethod::Fork]),
        each_method(descriptors_of_the_host_are_not_in_workers).methods(&from_executable),
        each_method(descriptors_of_the_host_are_in_its_copies).methods(&[StartMethod::Fork]),
        each_method(the_end_of_a_pipe_comes_although_a_pool_was_made).methods(&from_executable),
        each_method(a_worker_reads_nothing_from_the_hosts_input),
        each_method(output_goes_nowhere_else_if_the_host_has_closed_its_own),
        each_method(environment_directory_umask_and_arguments_are_the_hosts),
        each_method(a_replaced_server_gives_workers_the_same_as_the_first).methods(&from_executable),
        each_method(the_working_directory_may_be_renamed).methods(&from_executable),
        each_method(limits_priority_and_cpus_are_the_hosts),
        each_method(ignored_signals_are_the_hosts_and_handlers_are_not),
        each_method(a_worker_has_a_group_of_its_own_and_the_hosts_session),
        each_method(a_worker_is_named_after_its_pool_and_goes_first_when_memory_runs_out),
        each_method(the_locale_is_that_of_any_new_process_unless_the_host_is_copied),
        each_method(statics_are_fresh_unless_the_host_is_copied),
        each_method(nothing_registered_for_the_end_runs_in_a_worker),
        each_method(a_worker_has_one_thread),
    ]
}

// ---- random numbers ------------------------------------------------------------------------------------------------

#[pool_task]
fn random() -> (u32, u64) {
    (std::process::id(), RandomState::new().hash_one(1_u8))
}

fn all_workers_draw_different_random_numbers(setup: &Setup) {
    let pool = setup.builder().max_tasks_per_worker(1).build().unwrap();
    let drawn = pool.map(random::Task.chunk_size(1), [(); 12]).unwrap();
    let [pids, numbers]: [BTreeSet<_>; 2] =
        [drawn.iter().map(|&(pid, _)| u64::from(pid)).collect(), drawn.iter().map(|&(_, number)| number).collect()];
    assert_eq!((pids.len(), numbers.len()), (12, 12), "{drawn:x?}");
}

fn workers_forked_from_the_host_draw_the_numbers_that_it_seeded(setup: &Setup) {
    let before = RandomState::new();
    let pool = setup.builder().max_tasks_per_worker(1).build().unwrap();
    let drawn = pool.map(random::Task.chunk_size(1), [(); 6]).unwrap();
    assert!(drawn.iter().all(|&(_, number)| number == drawn[0].1 && number != before.hash_one(1_u8)), "{drawn:x?}");
}

// ---- descriptors ---------------------------------------------------------------------------------------------------

#[pool_task]
fn open_files() -> BTreeMap<String, String> {
    tests::leaks::fds()
}

/// A pipe, the ends of which an exec does not close, as those that a C library opens.
fn inheritable_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = pipe().unwrap();
    for fd in [&reader, &writer] {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    }
    (reader, writer)
}

fn descriptors_of_the_host_are_not_in_workers(setup: &Setup) {
    let _pipe = inheritable_pipe();
    let pool = setup.pool();
    let open = pool.apply(open_files::Task, ()).unwrap();
    let others: Vec<_> = open.iter().filter(|(fd, _)| !["0", "1", "2"].contains(&fd.as_str())).collect();
    assert!(matches!(others[..], [(_, socket)] if socket.starts_with("socket:")), "{open:?}");
    let of_server = fs::read_dir(format!("/proc/{}/fd", fork_server().pid)).unwrap();
    let targets = of_server.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let pipes: Vec<_> = targets.filter(|target| target.starts_with("pipe:")).collect();
    assert!(pipes.is_empty(), "{pipes:?}");
}

fn descriptors_of_the_host_are_in_its_copies(setup: &Setup) {
    let (reader, writer) = inheritable_pipe();
    let pool = setup.pool();
    let open = pool.apply(open_files::Task, ()).unwrap();
    for fd in [&reader, &writer] {
        assert!(open.contains_key(&fd.as_raw_fd().to_string()), "{open:?}");
    }
    assert_eq!(open["0"], "/dev/null");
    // The pool's own are not, and neither are the fork server's and those of other workers: only this worker's socket.
    let is_ours = |target: &&String| ["anon_inode", "memfd:pool", "/tests"].iter().any(|ours| target.contains(ours));
    assert_eq!(open.values().find(is_ours), None, "{open:?}");
    assert_eq!(open.values().filter(|target| target.contains("socket")).count(), 1, "{open:?}");
}

fn the_end_of_a_pipe_comes_although_a_pool_was_made(setup: &Setup) {
    let (reader, writer) = inheritable_pipe();
    let pool = setup.pool();
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    drop(writer);
    assert_eq!(fs::File::from(reader).read(&mut [0]).unwrap(), 0);
    drop(pool);
}

#[pool_task]
fn read_input() -> String {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    text
}

fn a_worker_reads_nothing_from_the_hosts_input(setup: &Setup) {
    let (reader, writer) = pipe().unwrap();
    nix::unistd::write(&writer, b"for the host").unwrap();
    nix::unistd::dup2_stdin(&reader).unwrap();
    let pool = setup.pool();
    let mut read = pool.apply_async(read_input::Task, ()).unwrap();
    assert_eq!(read.get_timeout(Duration::from_secs(20)).unwrap(), "");
    let mut bytes = [0; 12];
    nix::unistd::read(&reader, &mut bytes).unwrap();
    assert_eq!(&bytes, b"for the host");
    drop(pool);
    nix::unistd::dup2_stdin(fs::File::open("/dev/null").unwrap()).unwrap();
}

#[pool_task]
#[expect(clippy::print_stdout, reason = "it is looked at where that goes")]
fn print_and_list() -> BTreeMap<String, String> {
    println!("this is nobody's message");
    tests::leaks::fds()
}

fn output_goes_nowhere_else_if_the_host_has_closed_its_own(setup: &Setup) {
    let out = fcntl(std::io::stdout(), FcntlArg::F_DUPFD_CLOEXEC(10)).unwrap();
    // SAFETY:
    // - nobody in this process writes to it or owns it until it is opened again below.
    unsafe { libc::close(1) };
    let pool = setup.pool();
    let open = pool.map(print_and_list::Task.chunk_size(1), [(); 4]).unwrap().remove(0);
    assert_eq!(open["1"], "/dev/null", "{open:?}");
    drop(pool);
    // SAFETY:
    // - `fcntl` has just made it.
    let out = unsafe { OwnedFd::from_raw_fd(out) };
    nix::unistd::dup2_stdout(&out).unwrap();
}

// ---- environment, directory, umask, arguments ----------------------------------------------------------------------

/// The state that a process has from its host.
type Inherited = (BTreeMap<String, String>, String, u32, Vec<String>);

fn look_around() -> Inherited {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
    let mask = u32::from_str_radix(mask.trim(), 8).unwrap();
    (env::vars().collect(), env::current_dir().unwrap().display().to_string(), mask, env::args().collect())
}

#[pool_task]
fn inherited() -> Inherited {
    look_around()
}

fn set_variable(name: &str, value: &str) {
    // SAFETY:
    // - nobody else in this process uses the environment at this moment.
    unsafe { env::set_var(name, value) };
}

/// A directory that is gone at the end.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> Scratch {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("inherits-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn environment_directory_umask_and_arguments_are_the_hosts(setup: &Setup) {
    let scratch = Scratch::new();
    set_variable("POOL_TESTS_GREETING", "hello=there");
    // A marker of somebody else's is nobody's business.
    set_variable("POOL_TESTS_EMPTY", "");
    chdir(&scratch.0).unwrap();
    umask(Mode::from_bits_truncate(0o027));
    let pool = setup.pool();
    assert_eq!(pool.apply(inherited::Task, ()).unwrap(), look_around());
}

fn a_replaced_server_gives_workers_the_same_as_the_first(setup: &Setup) {
    let scratch = Scratch::new();
    set_variable("POOL_TESTS_GREETING", "hello");
    let before = look_around();
    let pool = setup.pool();
    set_variable("POOL_TESTS_GREETING", "good bye");
    chdir(&scratch.0).unwrap();
    umask(Mode::from_bits_truncate(0o077));
    let first = fork_server().pid;
    kill_9(first);
    let is_new = |child: &Process| child.pid != first && child.state != 'Z';
    assert!(eventually(|| children(std::process::id()).iter().any(is_new)));
    // The pool starts another server when the workers of the first are gone.
    assert_eq!(pool.apply(inherited::Task.retries(5), ()).unwrap(), before);
}

fn the_working_directory_may_be_renamed(setup: &Setup) {
    let scratch = Scratch::new();
    let [old, new] = ["old", "new"].map(|name| scratch.0.join(name));
    fs::create_dir(&old).unwrap();
    chdir(&old).unwrap();
    let pool = setup.pool();
    fs::rename(&old, &new).unwrap();
    kill_9(fork_server().pid);
    let seen = pool.apply(inherited::Task.retries(5), ()).unwrap();
    assert_eq!(seen.1, new.canonicalize().unwrap().display().to_string());
    chdir("/").unwrap();
}

// ---- state that the kernel keeps of a process ----------------------------------------------------------------------

fn cpus() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap()).collect()
}

fn nice() -> i32 {
    // SAFETY:
    // - the call only asks.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

#[pool_task]
fn limits_and_cpus() -> ((u64, u64), i32, Vec<usize>) {
    (getrlimit(Resource::RLIMIT_NOFILE).unwrap(), nice(), cpus())
}

fn limits_priority_and_cpus_are_the_hosts(setup: &Setup) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 123, hard).unwrap();
    // SAFETY:
    // - the call takes numbers.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 3) };
    let mut one = CpuSet::new();
    one.set(cpus()[0]).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
    let pool = setup.pool();
    assert_eq!(pool.apply(limits_and_cpus::Task, ()).unwrap(), ((123, hard), nice(), cpus()));
}

#[pool_task]
fn status_line(name: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
}

fn ignored_signals_are_the_hosts_and_handlers_are_not(setup: &Setup) {
    extern "C" fn nothing(_: i32) {}
    // SAFETY:
    // - the handler does nothing.
    unsafe { signal(Signal::SIGUSR1, SigHandler::Handler(nothing)) }.unwrap();
    // SAFETY:
    // - no handler of ours runs.
    unsafe { signal(Signal::SIGUSR2, SigHandler::SigIgn) }.unwrap();
    let pool = setup.pool();
    let has = |line: &str, signal: Signal| {
        let mask = u64::from_str_radix(&pool.apply(status_line::Task, line).unwrap(), 16).unwrap();
        mask & (1 << (signal as u32 - 1)) != 0
    };
    assert!(has("SigIgn:", Signal::SIGUSR2) && !has("SigIgn:", Signal::SIGCHLD));
    assert!(has("SigIgn:", Signal::SIGPIPE));
    assert_eq!(has("SigCgt:", Signal::SIGUSR1), setup.method == StartMethod::Fork);
    assert!(!has("SigBlk:", Signal::SIGUSR1));
}

#[pool_task]
fn ids() -> [i32; 4] {
    let (group, session) = (getpgrp().as_raw(), getsid(None).unwrap().as_raw());
    [std::process::id() as i32, group, session, nix::unistd::getuid().as_raw() as i32]
}

fn a_worker_has_a_group_of_its_own_and_the_hosts_session(setup: &Setup) {
    let [pid, group, session, user] = setup.pool().apply(ids::Task, ()).unwrap();
    assert_eq!(group, pid);
    assert_eq!((session, user), (std::process::id() as i32, nix::unistd::getuid().as_raw() as i32));
}

#[pool_task]
fn name_and_score() -> [String; 2] {
    ["/proc/self/comm", "/proc/self/oom_score_adj"].map(|path| fs::read_to_string(path).unwrap().trim().to_owned())
}

fn a_worker_is_named_after_its_pool_and_goes_first_when_memory_runs_out(setup: &Setup) {
    let pool = setup.builder().name("img").workers(1).build().unwrap();
    let [name, score] = pool.apply(name_and_score::Task, ()).unwrap();
    assert_eq!(name, "img-0");
    let mine: i32 = fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
    assert_eq!(score, (mine + 300).min(1000).to_string());
}

fn locale() -> String {
    // SAFETY:
    // - without a name the call only asks, and no other thread sets the locale.
    let name = unsafe { libc::setlocale(libc::LC_ALL, std::ptr::null()) };
    // SAFETY:
    // - that is a string, which is copied before the next call.
    unsafe { std::ffi::CStr::from_ptr(name) }.to_str().unwrap().to_owned()
}

#[pool_task]
fn locale_there() -> String {
    locale()
}

fn the_locale_is_that_of_any_new_process_unless_the_host_is_copied(setup: &Setup) {
    // SAFETY:
    // - the name is a string. If there is no such locale, all stays as it is.
    unsafe { libc::setlocale(libc::LC_ALL, c"C.UTF-8".as_ptr()) };
    let expected = if setup.method == StartMethod::Fork { locale() } else { "C".to_owned() };
    assert_eq!(setup.pool().apply(locale_there::Task, ()).unwrap(), expected);
}

// ---- memory, threads, the end --------------------------------------------------------------------------------------

static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

#[pool_task]
fn count() -> u32 {
    COUNT.load(std::sync::atomic::Ordering::Relaxed)
}

fn statics_are_fresh_unless_the_host_is_copied(setup: &Setup) {
    COUNT.store(5, std::sync::atomic::Ordering::Relaxed);
    let pool = setup.pool();
    assert_eq!(pool.apply(count::Task, ()).unwrap(), if setup.method == StartMethod::Fork { 5 } else { 0 });
}

extern "C" fn complain() {
    // SAFETY:
    // - the bytes are there.
    unsafe { libc::write(2, c"at exit\n".as_ptr().cast(), 8) };
    // SAFETY:
    // - `_exit` has no preconditions.
    unsafe { libc::_exit(9) };
}

#[pool_task]
fn register_for_the_end() {
    // SAFETY:
    // - the function is of the right type.
    unsafe { libc::atexit(complain) };
}

fn nothing_registered_for_the_end_runs_in_a_worker(setup: &Setup) {
    let pool = setup.pool();
    pool.apply(register_for_the_end::Task, ()).unwrap();
    pool.close();
    // A worker that wrote to standard error fails this check.
    pool.join().unwrap();
}

fn a_worker_has_one_thread(setup: &Setup) {
    let pool = setup.pool();
    assert_eq!(pool.apply(status_line::Task, "Threads:").unwrap(), "1");
    assert_ne!(pool.apply(pid::Task, ()).unwrap(), std::process::id());
}
