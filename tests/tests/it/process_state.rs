//! State of a worker process that outlasts a task: working directory, umask, resource limits, and buffered output.

use std::fs::File;
use std::io::Write;
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileExt;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use pool_core::prelude::*;
use tests::procs::{eventually, kill_9};
use tests::tasks::Way;
use tests::trial::{Check, Setup, each_method};

use crate::task_damage::assert_works;

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(output_of_a_task_is_not_printed_twice),
        each_method(output_of_the_host_is_not_printed_twice),
        each_method(changes_of_a_task_to_its_process_are_found_by_the_next_one),
        each_method(each_item_has_a_process_of_its_own_if_the_pool_says_so),
    ]
}

/// All output of this process and its workers so far. The trial's standard output is a file.
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

fn output_of_a_task_is_not_printed_twice(setup: &Setup) {
    let pool = setup.pool();
    for (number, way) in Way::ALL.into_iter().enumerate() {
        let text = format!("<{number}>");
        let task = if way == Way::Hang { print_and_go::Task.timeout(SHORT) } else { print_and_go::Task.retries(0) };
        assert!(pool.apply(task, (&text, way)).is_err());
        assert_works(&pool, setup);
        // Text that is still in the process's own buffer when it is killed is lost with it.
        let times = printed().matches(&text).count();
        assert!(
            times == 1 || times == 0 && !matches!(way, Way::Panic | Way::ExitZero | Way::ExitThree),
            "{times} times, {way:?}"
        );
    }
}

#[expect(clippy::print_stdout, reason = "how often it comes out is the question")]
fn output_of_the_host_is_not_printed_twice(setup: &Setup) {
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

fn changes_of_a_task_to_its_process_are_found_by_the_next_one(setup: &Setup) {
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
