//! Variables that only workers have, each worker its own.

use std::collections::BTreeSet;
use std::env;
use std::sync::OnceLock;

use pool_core::StartMethod;
use pool_core::prelude::*;

use tests::procs::{children, eventually, kill_9};
use tests::tasks::square;
use tests::trial::{Check, Setup, each_method, everywhere, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(each_worker_has_its_value_and_so_have_its_replacements),
        each_method(one_value_is_there_for_all_before_anything_else),
        // With `Fork` the server is not replaced.
        each_method(a_replaced_server_gives_its_workers_the_same_values)
            .methods(&[StartMethod::ForkServer, StartMethod::Spawn]),
        each_method(the_initializer_finds_them),
        once(the_last_setting_of_a_name_counts),
        once(impossible_variables_are_refused),
    ]
}

const NAME: &str = "POOL_TESTS_DEVICE";

/// The number of the worker and its variable, and all names that are the pool's own.
#[pool_task]
fn look() -> (usize, Option<String>, Vec<String>) {
    let ours = env::vars().map(|(name, _)| name).filter(|name| name.starts_with("POOL_CORE_"));
    (current_worker().unwrap().id(), env::var(NAME).ok(), ours.collect())
}

fn assert_values(pool: &Pool, values: &[&str]) {
    let mut seen = BTreeSet::new();
    assert!(eventually(|| {
        for (worker, value, ours) in pool.map(look::Task.chunk_size(1).retries(5), [(); 20]).unwrap() {
            assert_eq!(value.as_deref(), Some(values[worker % values.len()]), "worker {worker}");
            assert_eq!(ours, [""; 0]);
            seen.insert(worker);
        }
        seen.len() == pool.workers()
    }));
}

fn each_worker_has_its_value_and_so_have_its_replacements(setup: &Setup) {
    let values = ["zero", "", "3:two=", "ünicode"];
    let pool = setup.builder().worker_env(NAME, values).build().unwrap();
    assert_values(&pool, &values);
    pool.worker_pids().into_iter().for_each(kill_9);
    assert_values(&pool, &values);
    assert!(env::var_os(NAME).is_none(), "the host's environment is as it was");
}

/// The value at the time when constructors run.
static EARLY: OnceLock<Option<String>> = OnceLock::new();

extern "C" fn note_early() {
    EARLY.get_or_init(|| env::var(NAME).ok());
}

#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_EARLY: extern "C" fn() = note_early;

#[pool_task]
fn early() -> (Option<String>, Option<String>) {
    (EARLY.get().cloned().flatten(), env::var(NAME).ok())
}

fn one_value_is_there_for_all_before_anything_else(setup: &Setup) {
    let one = || Some("one".to_owned());
    let pool = setup.builder().worker_env(NAME, ["one"]).build().unwrap();
    let expected = if setup.method == StartMethod::Fork { None } else { one() };
    assert_eq!(pool.apply(early::Task, ()).unwrap(), (expected, one()));
    drop(pool);
    let pool = setup.builder().workers(1).worker_env(NAME, ["one", "two"]).build().unwrap();
    let expected = if setup.method == StartMethod::Spawn { one() } else { None };
    assert_eq!(pool.apply(early::Task, ()).unwrap(), (expected, one()));
}

fn a_replaced_server_gives_its_workers_the_same_values(setup: &Setup) {
    let values = ["a", "b", "c"];
    let pool = setup.builder().worker_env(NAME, values).build().unwrap();
    assert_values(&pool, &values);
    let server = children(std::process::id())[0].pid;
    kill_9(server);
    assert!(eventually(|| children(std::process::id()).iter().all(|child| child.pid != server)));
    assert_values(&pool, &values);
}

#[pool_task]
fn need(value: &str) -> Result<(), String> {
    let found = env::var(NAME).unwrap_or_default();
    if found == value { Ok(()) } else { Err(format!("found `{found}`")) }
}

fn the_initializer_finds_them(setup: &Setup) {
    let builder = setup.builder().worker_env(NAME, ["same", "same"]).initializer(need::Task, "same");
    assert_eq!(builder.restart_limit(0).build().unwrap().apply(square::Task, 3).unwrap(), 9);
}

#[pool_task]
fn threads() -> Vec<Option<String>> {
    ["OMP", "RAYON", "OPENBLAS", "MKL"].map(|library| env::var(format!("{library}_NUM_THREADS")).ok()).to_vec()
}

fn the_last_setting_of_a_name_counts(setup: &Setup) {
    let builder = setup.builder().threads_per_worker(1).threads_per_worker(3).worker_env("MKL_NUM_THREADS", ["7"]);
    let found = builder.build().unwrap().apply(threads::Task, ()).unwrap();
    assert_eq!(found, ["3", "3", "3", "7"].map(|value| Some(value.to_owned())));
}

fn impossible_variables_are_refused(setup: &Setup) {
    let refused = |builder: PoolBuilder, text: &str| {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(text), "{error}");
    };
    for name in ["", "A=B", "A\0B"] {
        refused(setup.builder().worker_env(name, ["1"]), "the name of a variable");
    }
    refused(setup.builder().worker_env("A", [""; 0]), "`A` has none");
    refused(setup.builder().worker_env("A", ["1", "2\0"]), "a zero byte");
    refused(setup.builder().threads_per_worker(0), "threads_per_worker");
}
