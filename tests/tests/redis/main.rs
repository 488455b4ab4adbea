//! Pools on many machines, by way of a Redis server that each check starts; ignored where there is none.

mod cluster;
mod engine;
mod faults;
mod hosts;
mod partitions;
mod proxy;
mod server;
mod work;

use std::process::ExitCode;

// Its tasks are looked for, though most of the checks name none of them.
use tasks_lib as _;
use tests::trial::{self, Check};

#[expect(clippy::print_stderr, reason = "a line for those that miss the checks")]
fn main() -> ExitCode {
    let is_check = std::env::args().nth(1).is_some_and(|argument| argument == "--run");
    if !is_check && !server::is_installed() {
        eprintln!("tests of pool-redis: ignored, this machine has no redis-server");
    }
    let checks =
        [work::checks(), cluster::checks(), faults::checks(), hosts::checks(), engine::checks(), partitions::checks()];
    let checks = checks.into_iter().flatten().map(|check| check.only_if(server::is_installed));
    trial::main(&checks.collect::<Vec<Check>>())
}
