//! Tasks that make copies of their worker, with `fork` or as workers of a pool of their own.

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use pool_core::prelude::*;
use tests::tasks::{Way, crash};
use tests::trial::{Check, Setup, each_method};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_copy_of_a_worker_dies_of_its_own_signal).noisy(),
        each_method(a_worker_that_is_a_copy_of_a_worker_knows_itself_and_leaves_its_last_words).noisy(),
    ]
}

/// The signal that ends a copy of this worker that goes this way.
#[pool_task]
fn signal_of_copy(way: Way) -> Option<i32> {
    // SAFETY:
    // - this process has one thread.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => way.go(),
        ForkResult::Parent { child } => match waitpid(child, None).unwrap() {
            WaitStatus::Signaled(_, signal, _) => Some(signal as i32),
            _ => None,
        },
    }
}

fn a_copy_of_a_worker_dies_of_its_own_signal(setup: &Setup) {
    let pool = setup.pool();
    for way in [Way::Abort, Way::StackOverflow] {
        assert_eq!(pool.apply(signal_of_copy::Task, way).unwrap(), way.signal());
    }
}

#[pool_task]
fn knows_itself() -> bool {
    pool_core::current_worker().is_some_and(|worker| worker.pid() == std::process::id())
}

/// Whether a worker of a pool of copies of this worker knows itself, and the texts of errors there.
#[pool_task]
fn ask_copies() -> (bool, Vec<String>) {
    let pool = Pool::builder().start_method(StartMethod::Fork).workers(1).build().unwrap();
    let knows = pool.apply(knows_itself::Task, ()).unwrap();
    let error = |way| pool.apply(crash::Task, Some(way)).unwrap_err().to_string();
    (knows, vec![error(Way::StackOverflow), error(Way::Abort)])
}

fn a_worker_that_is_a_copy_of_a_worker_knows_itself_and_leaves_its_last_words(setup: &Setup) {
    let (knows, texts) = setup.pool().apply(ask_copies::Task, ()).unwrap();
    assert!(knows);
    assert!(texts[0].contains("stack overflow") && texts[1].contains("SIGABRT"), "{texts:?}");
}
