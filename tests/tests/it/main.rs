//! The pool from end to end: what its users see, in every configuration, and what is left when it is gone.

mod calls;
mod confinement;
mod crashes;
mod deaths;
mod endurance;
mod fork_servers;
mod handles;
mod hosts;
mod inherits;
mod initializer;
#[cfg(target_arch = "x86_64")]
mod kill_points;
mod limits;
mod long_maps;
mod many_workers;
mod maps;
mod matrix;
mod memory_limits;
mod mischief;
mod moments;
mod neighbours;
mod payloads;
mod programs;
mod retries;
mod rights;
mod surroundings;
mod system_calls;
mod time_limits;
mod turmoil;
mod values;
mod walk_through;

use std::process::ExitCode;

// Its tasks are looked for, though most of the checks name none of them.
use tasks_lib as _;
use tests::trial;

fn main() -> ExitCode {
    let checks = [
        walk_through::checks(),
        calls::checks(),
        maps::checks(),
        long_maps::checks(),
        handles::checks(),
        values::checks(),
        crashes::checks(),
        matrix::checks(),
        mischief::checks(),
        moments::checks(),
        initializer::checks(),
        deaths::checks(),
        #[cfg(target_arch = "x86_64")]
        kill_points::checks(),
        time_limits::checks(),
        retries::checks(),
        limits::checks(),
        memory_limits::checks(),
        turmoil::checks(),
        neighbours::checks(),
        payloads::checks(),
        hosts::checks(),
        surroundings::checks(),
        system_calls::checks(),
        confinement::checks(),
        endurance::checks(),
        fork_servers::checks(),
        inherits::checks(),
        many_workers::checks(),
        rights::checks(),
        programs::checks(),
    ];
    trial::main(&checks.into_iter().flatten().collect::<Vec<_>>())
}
