//! The pool from end to end: what its users see, in every configuration, and what is left when it is gone.

mod callbacks;
mod calls;
mod cancels;
mod confinement;
mod copies;
mod crashes;
mod deaths;
mod endurance;
mod errors;
mod fork_servers;
mod forking_tasks;
mod formats;
mod handles;
mod hosts;
mod inherits;
mod initializer;
#[cfg(target_arch = "x86_64")]
mod kill_points;
mod large_values;
mod lazy_maps;
mod limits;
mod long_maps;
mod many_workers;
mod maps;
mod matrix;
mod memory_limits;
mod mischief;
mod moments;
mod names;
mod neighbours;
mod odd_hosts;
mod outcomes;
mod output;
mod passed_on_panics;
mod payloads;
mod pending;
mod programs;
mod retries;
mod rights;
mod shared_memory;
mod surroundings;
mod system_calls;
mod terminal;
mod time_limits;
mod turmoil;
mod values;
mod waiting;
mod wakers;
mod walk_through;

use std::process::ExitCode;

// Its tasks are looked for, though most of the checks name none of them.
use tasks_lib as _;
use tests::trial;

fn main() -> ExitCode {
    let checks = [
        walk_through::checks(),
        calls::checks(),
        cancels::checks(),
        maps::checks(),
        long_maps::checks(),
        lazy_maps::checks(),
        pending::checks(),
        handles::checks(),
        waiting::checks(),
        wakers::checks(),
        callbacks::checks(),
        copies::checks(),
        values::checks(),
        formats::checks(),
        crashes::checks(),
        matrix::checks(),
        mischief::checks(),
        forking_tasks::checks(),
        moments::checks(),
        initializer::checks(),
        deaths::checks(),
        #[cfg(target_arch = "x86_64")]
        kill_points::checks(),
        time_limits::checks(),
        retries::checks(),
        shared_memory::checks(),
        errors::checks(),
        outcomes::checks(),
        limits::checks(),
        memory_limits::checks(),
        turmoil::checks(),
        neighbours::checks(),
        output::checks(),
        terminal::checks(),
        passed_on_panics::checks(),
        payloads::checks(),
        large_values::checks(),
        hosts::checks(),
        surroundings::checks(),
        system_calls::checks(),
        confinement::checks(),
        endurance::checks(),
        fork_servers::checks(),
        inherits::checks(),
        odd_hosts::checks(),
        many_workers::checks(),
        rights::checks(),
        programs::checks(),
        names::checks(),
    ];
    trial::main(&checks.into_iter().flatten().collect::<Vec<_>>())
}
