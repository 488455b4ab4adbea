//! The pool from end to end: every behaviour that users see, in every configuration, and the leaks when it is gone.

mod array_memory;
mod arrays;
mod arrays_in_place;
mod backpressure;
mod broadcasts;
mod call_isolation;
mod callbacks;
mod calls;
mod cancels;
mod concurrent_faults;
mod confinement;
mod crashes;
mod death_times;
mod deaths;
mod details;
mod endurance;
mod environment;
mod errors;
mod events;
mod fairness;
mod finalizers;
mod foreign_errors;
mod fork_servers;
mod forked_hosts;
mod forking_tasks;
mod formats;
mod forwarding;
mod futures;
mod grace;
mod handles;
mod heard_output;
mod held_reports;
mod here_alone;
mod host_ends;
mod host_processes;
mod in_process;
mod inherits;
mod initializer;
mod insights;
mod jsonl;
#[cfg(target_arch = "x86_64")]
mod kill_points;
mod large_arguments;
mod large_calls;
mod large_values;
mod lazy_maps;
mod limits;
mod listeners;
mod loggers;
mod long_maps;
mod many_callers;
mod many_workers;
mod maps;
mod matrix;
mod memory_limits;
mod nested_pools;
mod odd_hosts;
mod outcomes;
mod output;
mod passed_on_panics;
mod payloads;
mod pending_limits;
mod preload_failures;
mod preloads;
mod process_state;
mod programs;
mod remote;
mod reports;
mod retries;
mod rights;
mod seeds;
mod seen;
mod shared_memory;
mod states;
mod stopping;
mod subscribers;
mod system_calls;
mod task_damage;
mod task_names;
mod task_processes;
mod terminal;
mod time_limits;
mod traces;
mod values;
mod waiting;
mod wakers;
mod walk_through;

use std::process::ExitCode;

// Its tasks are looked for, though most of the checks name none of them.
use tasks_lib as _;
use tests::trial::{self, Check};

/// No check of these kills a worker or looks for its process, so all hold for threads, too.
fn in_threads_too(checks: Vec<Check>) -> Vec<Check> {
    checks.into_iter().map(Check::in_process_too).collect()
}

/// Nor does it matter to most of these where their items run.
fn anywhere(checks: Vec<Check>) -> Vec<Check> {
    let is_anywhere = |check: &Check| !here_alone::HERE_ALONE.contains(&check.name());
    checks.into_iter().map(|check| if is_anywhere(&check) { check.remote_too() } else { check }).collect()
}

/// These stand for all of them by way of Redis, where a server and an agent for each pool take their time.
fn by_redis_too(checks: Vec<Check>) -> Vec<Check> {
    // Hundreds of large payloads take minutes: without optimization their hashes do.
    let is_slow = |check: &Check| check.name().contains("::large_");
    let is_anywhere = |check: &Check| !here_alone::HERE_ALONE.contains(&check.name()) && !is_slow(check);
    let checks = anywhere(checks).into_iter();
    checks.map(|check| if is_anywhere(&check) { check.by_redis_too() } else { check }).collect()
}

#[expect(clippy::print_stderr, reason = "a line for those that miss the checks")]
fn main() -> ExitCode {
    let is_check = std::env::args().nth(1).is_some_and(|argument| argument == "--run");
    if !is_check && !tests::over_redis::is_installed() {
        eprintln!("checks by way of Redis: ignored, this machine has no redis-server");
    }
    let checks = [
        walk_through::checks(),
        by_redis_too(calls::checks()),
        by_redis_too(in_threads_too(cancels::checks())),
        by_redis_too(maps::checks()),
        anywhere(long_maps::checks()),
        by_redis_too(lazy_maps::checks()),
        anywhere(pending_limits::checks()),
        anywhere(in_threads_too(backpressure::checks())),
        anywhere(stopping::checks()),
        nested_pools::checks(),
        anywhere(in_threads_too(fairness::checks())),
        by_redis_too(handles::checks()),
        anywhere(in_threads_too(waiting::checks())),
        anywhere(wakers::checks()),
        anywhere(futures::checks()),
        anywhere(details::checks()),
        insights::checks(),
        events::checks(),
        traces::checks(),
        anywhere(in_threads_too(callbacks::checks())),
        forked_hosts::checks(),
        by_redis_too(in_threads_too(values::checks())),
        anywhere(in_threads_too(formats::checks())),
        anywhere(in_threads_too(foreign_errors::checks())),
        jsonl::checks(),
        by_redis_too(crashes::checks()),
        anywhere(matrix::checks()),
        task_processes::checks(),
        task_damage::checks(),
        process_state::checks(),
        forking_tasks::checks(),
        death_times::checks(),
        initializer::checks(),
        environment::checks(),
        states::checks(),
        finalizers::checks(),
        preloads::checks(),
        preload_failures::checks(),
        broadcasts::checks(),
        deaths::checks(),
        #[cfg(target_arch = "x86_64")]
        kill_points::checks(),
        by_redis_too(time_limits::checks()),
        anywhere(grace::checks()),
        by_redis_too(retries::checks()),
        anywhere(seeds::checks()),
        reports::checks(),
        in_threads_too(listeners::checks()),
        shared_memory::checks(),
        array_memory::checks(),
        arrays::checks(),
        arrays_in_place::checks(),
        anywhere(errors::checks()),
        anywhere(outcomes::checks()),
        limits::checks(),
        memory_limits::checks(),
        concurrent_faults::checks(),
        call_isolation::checks(),
        output::checks(),
        heard_output::checks(),
        held_reports::checks(),
        forwarding::checks(),
        loggers::checks(),
        subscribers::checks(),
        terminal::checks(),
        anywhere(in_threads_too(passed_on_panics::checks())),
        anywhere(payloads::checks()),
        anywhere(large_arguments::checks()),
        large_calls::checks(),
        anywhere(in_threads_too(large_values::checks())),
        host_ends::checks(),
        host_processes::checks(),
        system_calls::checks(),
        confinement::checks(),
        endurance::checks(),
        fork_servers::checks(),
        in_process::checks(),
        inherits::checks(),
        odd_hosts::checks(),
        anywhere(in_threads_too(many_callers::checks())),
        many_workers::checks(),
        rights::checks(),
        programs::checks(),
        remote::checks(),
        task_names::checks(),
    ];
    trial::main(&checks.into_iter().flatten().collect::<Vec<_>>())
}
