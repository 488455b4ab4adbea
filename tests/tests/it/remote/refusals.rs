//! Options, methods and arrays that need workers on this machine are refused by name.

use pool_core::prelude::*;
use pool_core::{PoolBuilder, SharedVec};
use tests::far::Far;
use tests::tasks::{nap, square};
use tests::trial::{Check, Setup, once};

use super::pools;

pub(super) fn checks() -> Vec<Check> {
    vec![
        once(options_of_processes_are_refused_by_name),
        once(methods_of_local_workers_are_refused_by_name),
        once(arrays_that_workers_write_stay_here),
    ]
}

#[pool_task]
fn prepare() {}

#[pool_state]
fn number() -> u128 {
    7
}

fn options_of_processes_are_refused_by_name(_: &Setup) {
    let far = Far::honest(Pool::builder().workers(1));
    let with = |option: &dyn Fn(PoolBuilder) -> PoolBuilder| option(Pool::builder().backend(far.clone())).build();
    let options: [(&str, &dyn Fn(PoolBuilder) -> PoolBuilder); 16] = [
        ("in_process", &|builder| builder.in_process()),
        ("start_method", &|builder| builder.start_method(StartMethod::Spawn)),
        ("preload", &|builder| builder.preload(prepare::Task, ())),
        ("initializer", &|builder| builder.initializer(prepare::Task, ())),
        ("state", &|builder| builder.state(number::State, ())),
        ("finalizer", &|builder| builder.finalizer(prepare::Task, ())),
        ("max_tasks_per_worker", &|builder| builder.max_tasks_per_worker(1)),
        ("memory_limit", &|builder| builder.memory_limit(1 << 30)),
        ("max_worker_rss", &|builder| builder.max_worker_rss(1 << 30)),
        ("idle_timeout", &|builder| builder.idle_timeout(Duration::from_secs(1))),
        ("restart_limit", &|builder| builder.restart_limit(9)),
        ("pin_cpus", &|builder| builder.pin_cpus(true)),
        ("threads_per_worker", &|builder| builder.threads_per_worker(1)),
        ("worker_env", &|builder| builder.worker_env("A", ["b"])),
        ("on_output", &|builder| builder.on_output(|_| ())),
        ("forward_tracing", &|builder| builder.forward_tracing()),
    ];
    for (name, option) in options {
        let error = with(option).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().starts_with(&format!("`{name}` concerns workers on this machine")), "{error}");
    }
    let all = |builder: PoolBuilder| {
        let limited = builder.max_pending(9).max_pending_bytes(1 << 20).task_timeout(Duration::from_secs(60));
        limited.retries(1).seed(3).name("away").workers(4).on_event(|_| ())
    };
    assert_eq!(with(&all).unwrap().map(square::Task, 0..20).unwrap()[19], 361);
}

fn methods_of_local_workers_are_refused_by_name(_: &Setup) {
    let (pool, _far) = pools();
    let refused = [
        ("broadcast", pool.broadcast(nap::Task, 0).unwrap_err()),
        ("resize", pool.resize(3).unwrap_err()),
        ("reports", pool.apply_async(nap::Task.reports(), 0).unwrap_err()),
    ];
    for (name, error) in refused {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[pool_task]
fn fill(part: &mut [u64], _offset: usize, value: u64) {
    part.fill(value);
}

fn arrays_that_workers_write_stay_here(_: &Setup) {
    let (pool, _far) = pools();
    let mut vec = SharedVec::<u64>::zeroed(4).unwrap();
    let error = pool.map_chunks_mut(fill::Task, &mut vec, 2, 7).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.to_string().contains("`map_chunks_mut` concerns workers on this machine"), "{error}");
    assert_eq!(vec[..], [0; 4]);
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
}
