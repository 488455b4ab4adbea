//! Hosts with an odd working directory, or without standard streams.

use std::fs;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::{Gid, Uid, chdir, getuid, setresgid, setresuid};
use pool_core::prelude::*;
use tests::host::{Host, say};
use tests::procs::{children, eventually, fork_server, kill_9};
use tests::tasks::{Way, crash, square};
use tests::trial::{Check, Setup, each_method, program};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_directory_that_the_host_may_not_search_is_the_workers).only_if(|| getuid().is_root()),
        each_method(a_directory_that_was_removed_is_the_workers),
        each_method(output_of_a_host_without_standard_streams_goes_nowhere),
        program(has_a_pool_where_it_may_not_search),
        program(prints_without_standard_streams),
    ]
}

#[pool_task]
fn directory() -> String {
    fs::read_link("/proc/self/cwd").unwrap().display().to_string()
}

/// As of `sudo -u nobody` in a home directory.
fn has_a_pool_where_it_may_not_search(setup: &Setup) {
    let scratch = std::env::temp_dir().join(format!("pool-tests-{}", std::process::id()));
    fs::create_dir(&scratch).unwrap();
    chdir(&scratch).unwrap();
    fs::set_permissions(&scratch, fs::Permissions::from_mode(0o700)).unwrap();
    let (user, group) = (Uid::from_raw(65_534), Gid::from_raw(65_534));
    setresgid(group, group, group).unwrap();
    setresuid(user, user, user).unwrap();
    match setup.builder().build() {
        Ok(pool) => say(pool.apply(directory::Task, ()).unwrap()),
        Err(error) => say(error),
    }
}

fn a_directory_that_the_host_may_not_search_is_the_workers(setup: &Setup) {
    let mut host = Host::start(has_a_pool_where_it_may_not_search, setup);
    let scratch = std::env::temp_dir().join(format!("pool-tests-{}", host.pid()));
    let line = host.line();
    let (status, stderr) = host.wait();
    let _ = fs::remove_dir(&scratch);
    assert_eq!(line, scratch.display().to_string());
    assert!(status.success() && stderr.is_empty(), "{status}: {stderr}");
}

fn a_directory_that_was_removed_is_the_workers(setup: &Setup) {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("removed-{}", std::process::id()));
    fs::create_dir_all(&scratch).unwrap();
    chdir(&scratch).unwrap();
    fs::remove_dir(&scratch).unwrap();
    let pool = setup.pool();
    let removed = format!("{} (deleted)", scratch.display());
    assert_eq!(pool.apply(directory::Task, ()).unwrap(), removed);
    if setup.method != StartMethod::Fork {
        let first = fork_server().pid;
        kill_9(first);
        let is_new = |child: &tests::procs::Process| child.pid != first && child.state != 'Z';
        assert!(eventually(|| children(std::process::id()).iter().any(is_new)));
        assert_eq!(pool.apply(directory::Task.retries(5), ()).unwrap(), removed);
    }
    chdir("/").unwrap();
}

/// No descriptor of the pool may keep the number of a standard stream: prints would be written into it, for instance into the
/// memory of the bells.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "it is looked at where that goes")]
fn prints_without_standard_streams(setup: &Setup) {
    let out = fcntl(std::io::stdout(), FcntlArg::F_DUPFD_CLOEXEC(10)).unwrap();
    // SAFETY:
    // - `fcntl` has just made it.
    let out = unsafe { OwnedFd::from_raw_fd(out) };
    for fd in 0..=2 {
        // SAFETY:
        // - nobody in this process owns the standard streams.
        unsafe { libc::close(fd) };
    }
    let pool = setup.builder().max_tasks_per_worker(1).build().unwrap();
    for round in 1..=10 {
        println!("nobody reads this, which is longer than eight bytes");
        eprintln!("nor this");
        assert_eq!(pool.map(square::Task.chunk_size(1), 0..10).unwrap()[9], 81);
        pool.resize(1 + round % 4).unwrap();
        assert!(pool.apply(crash::Task, Some(Way::Abort)).is_err());
        let is_open = |fd| fs::read_link(format!("/proc/self/fd/{fd}")).is_ok();
        // A descriptor that the pool has just received has such a number for a moment.
        assert!(eventually(|| !(0..=2).any(is_open)));
    }
    drop(pool);
    nix::unistd::write(out.as_fd(), b"done\n").unwrap();
}

fn output_of_a_host_without_standard_streams_goes_nowhere(setup: &Setup) {
    let mut host = Host::start(prints_without_standard_streams, setup);
    assert_eq!(host.line(), "done");
    let (status, stderr) = host.wait();
    assert!(status.success() && stderr.is_empty(), "{status}: {stderr}");
}
