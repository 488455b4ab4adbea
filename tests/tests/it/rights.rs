//! A host that gives up rights: it still commands its workers, and they get none back.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, getresuid, getuid, setresgid, setresuid};
use pool_core::SharedVec;
use pool_core::prelude::*;
use tests::host::{Host, say, say_pids};
use tests::procs::{self, descendants, eventually, is_alive};
use tests::tasks::{nap, pid, square};
use tests::trial::{Check, Setup, each_method, once, program};

pub(crate) fn checks() -> Vec<Check> {
    let from_executable = [StartMethod::ForkServer, StartMethod::Spawn];
    vec![
        each_method(a_host_that_gives_up_root_still_commands_its_workers).only_if(is_root),
        each_method(a_host_that_gives_up_root_ends_a_pool_with_a_stopped_server).only_if(is_root),
        each_method(a_set_user_id_program_gets_nothing_back).methods(&from_executable).only_if(is_root),
        each_method(a_program_with_file_capabilities_gets_nothing_back).methods(&from_executable).only_if(is_root),
        each_method(a_root_without_capabilities_gets_none_back).only_if(is_root),
        once(a_writer_that_cannot_be_killed_loses_the_array).only_if(is_root),
        program(gives_up_root),
        program(gives_up_root_beside_a_writer),
        program(gives_up_root_and_waits),
        program(says_its_workers_users),
        program(says_its_workers_capabilities),
    ]
}

/// Runs in a process of its own, since rights that are given up cannot be had again.
fn is_root() -> bool {
    getuid().is_root()
}

const NOBODY: u32 = 65_534;

fn give_up_root() {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setresgid(group, group, group).unwrap();
    setresuid(user, user, user).unwrap();
}

fn gives_up_root(setup: &Setup) {
    let pool = setup.builder().max_tasks_per_worker(100).build().unwrap();
    pool.apply(pid::Task, ()).unwrap();
    give_up_root();
    let first = pool.worker_pids()[0];
    assert_eq!(
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(first as i32), Signal::SIGKILL),
        Err(nix::errno::Errno::EPERM)
    );
    let mut limited = pool.apply_async(nap::Task.timeout(Duration::from_millis(50)), 60_000).unwrap();
    assert_eq!(limited.get_timeout(procs::SOON).unwrap_err().kind(), ErrorKind::TaskTimeout);
    // A job that is cancelled does not keep its worker.
    let cancelled: Vec<_> = (0..setup.workers).map(|_| pool.apply_async(nap::Task, 60_000).unwrap()).collect();
    nap(200);
    assert!(cancelled.iter().all(AsyncResult::cancel));
    assert_eq!(pool.map(square::Task, 0..1000).unwrap().len(), 1000);
    let left: Vec<_> = (0..setup.workers).map(|_| pool.apply_async(nap::Task, 60_000).unwrap()).collect();
    nap(200);
    drop(pool);
    assert!(left.into_iter().all(|job| job.get().is_err_and(|error| error.kind() == ErrorKind::Terminated)));
    say("done");
}

fn a_host_that_gives_up_root_still_commands_its_workers(setup: &Setup) {
    let mut host = Host::start(gives_up_root, setup);
    assert_eq!(host.line(), "done");
    let (status, stderr) = host.wait();
    assert!(status.success() && stderr.is_empty(), "{status}: {stderr}");
    assert!(eventually(|| descendants().is_empty()), "{:?}", descendants());
}

fn gives_up_root_and_waits(setup: &Setup) {
    let pool = setup.pool();
    pool.apply(pid::Task, ()).unwrap();
    give_up_root();
    let pids = pool.worker_pids();
    say_pids(&pids);
    let mut limited = pool.apply_async(nap::Task.timeout(Duration::from_millis(1000)), 60_000).unwrap();
    let error = limited.get_timeout(procs::SOON).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TaskTimeout);
    drop(pool);
    // Not only when the kernel continues the processes that this host leaves stopped.
    assert!(eventually(|| !pids.iter().any(|pid| is_alive(*pid))));
    say("done");
}

fn a_host_that_gives_up_root_ends_a_pool_with_a_stopped_server(setup: &Setup) {
    let mut host = Host::start(gives_up_root_and_waits, setup);
    let pids = host.pids();
    let servers: Vec<_> = procs::children(host.pid()).into_iter().map(|process| process.pid).collect();
    servers.iter().for_each(|pid| procs::signal(*pid, Signal::SIGSTOP));
    assert_eq!(host.line(), "done");
    let (status, stderr) = host.wait();
    assert!(status.success() && stderr.is_empty(), "{status}: {stderr}");
    assert!(eventually(|| !pids.iter().chain(&servers).any(|pid| is_alive(*pid))), "{:?}", descendants());
}

const WRITER: u32 = 65_533;

#[pool_task]
fn change_user_and_write(part: &mut [u32], _offset: usize) {
    let user = Uid::from_raw(WRITER);
    setresuid(user, user, user).unwrap();
    for number in 0.. {
        part.fill(number);
    }
}

fn user_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()
}

fn gives_up_root_beside_a_writer(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    let worker = pool.apply(pid::Task, ()).unwrap();
    say_pids(&[worker]);
    let mut array = SharedVec::zeroed(10_000).unwrap();
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            assert!(eventually(|| user_of(worker) == Some(WRITER)));
            give_up_root();
            say("ready");
        });
        pool.map_chunks_mut(change_user_and_write::Task, &mut array, 10_000, ())
    });
    assert!(outcome.is_err() || outcome.is_ok_and(|results| results[0].is_err()));
    for number in 0..20 {
        array.fill(number);
        nap(1);
        assert!(array.iter().all(|x| *x == number), "the writer is still at the array");
    }
    array.freeze().unwrap();
    say("done");
}

/// The kernel kills a worker with its fork server, but not one that has changed its user.
fn a_writer_that_cannot_be_killed_loses_the_array(setup: &Setup) {
    let mut host = Host::start(gives_up_root_beside_a_writer, setup);
    let writer = host.pids()[0];
    assert_eq!(host.line(), "ready");
    procs::children(host.pid()).into_iter().for_each(|server| procs::kill_9(server.pid));
    assert_eq!(host.line(), "done");
    assert!(is_alive(writer), "else there is nothing to see");
    procs::kill_9(writer);
    let (status, stderr) = host.wait();
    assert!(status.success() && stderr.is_empty(), "{status}: {stderr}");
}

// ---- rights of the executable --------------------------------------------------------------------------------------

/// A copy of this program in a place where anybody may run it.
struct Program(PathBuf);

impl Program {
    fn new(mode: u32) -> Program {
        let name = format!("pool-tests-{}", std::process::id());
        let program = Program(std::env::temp_dir().join(name));
        fs::copy("/proc/self/exe", &program.0).unwrap();
        chown(&program.0, Some(0), Some(0)).unwrap();
        fs::set_permissions(&program.0, fs::Permissions::from_mode(mode)).unwrap();
        program
    }

    /// Its answer when no worker runs it.
    fn run<F: Fn(&Setup)>(&self, main: F, setup: &Setup) -> String {
        let mut command = Command::new(&self.0);
        command.args(Host::args(main, setup)).uid(NOBODY).gid(NOBODY).current_dir("/");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[pool_task]
fn users() -> [u32; 3] {
    let ids = getresuid().unwrap();
    [ids.real, ids.effective, ids.saved].map(Uid::as_raw)
}

fn says_its_workers_users(setup: &Setup) {
    // The rights come from the file, and are given up for good.
    assert!(nix::unistd::geteuid().is_root());
    give_up_root();
    let seen = setup.pool().map(users::Task.chunk_size(1), [(); 4]).unwrap();
    say(format!("{:?}", seen[0]));
    assert!(seen.iter().all(|users| *users == seen[0]));
}

fn a_set_user_id_program_gets_nothing_back(setup: &Setup) {
    let program = Program::new(0o4755);
    assert_eq!(program.run(says_its_workers_users, setup), format!("{:?}", [NOBODY; 3]));
}

#[pool_task]
fn capabilities() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix("CapPrm:")).unwrap().trim().to_owned()
}

const NONE: &str = "0000000000000000";

/// See capset(2).
fn give_up_capabilities() {
    let header = [0x2008_0522_u32, 0];
    // SAFETY:
    // - version 3 has two sets of three words.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), [0_u32; 6].as_ptr()) };
    assert_eq!(result, 0);
}

fn says_its_workers_capabilities(setup: &Setup) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    assert!(!status.contains(&format!("CapPrm:\t{NONE}")), "the file gives one");
    give_up_capabilities();
    say(setup.pool().apply(capabilities::Task, ()).unwrap());
}

fn a_program_with_file_capabilities_gets_nothing_back(setup: &Setup) {
    let program = Program::new(0o755);
    let path = std::ffi::CString::new(program.0.to_str().unwrap()).unwrap();
    // Version 2, effective; CAP_NET_RAW is permitted. See `struct vfs_cap_data` in linux/capability.h.
    let data = [0x0200_0001_u32, 1 << 13, 0, 0, 0].map(u32::to_le_bytes).concat();
    let name = c"security.capability".as_ptr();
    // SAFETY:
    // - path and name are strings, and the data are as long as said.
    let result = unsafe { libc::setxattr(path.as_ptr(), name, data.as_ptr().cast(), data.len(), 0) };
    if result != 0 {
        return say("left out: this file system has no capabilities");
    }
    assert_eq!(program.run(says_its_workers_capabilities, setup), NONE);
}

fn a_root_without_capabilities_gets_none_back(setup: &Setup) {
    let child = Host::start(says_its_workers_capabilities, setup);
    let mut host = child;
    assert_eq!(host.line(), NONE);
    assert!(host.wait().0.success());
}
