//! Seeded simulation of clients, agents and a server: one number decides delays, losses, copies of messages, deaths, pauses and
//! restarts. Every job must have exactly one outcome, clients share the queues evenly, and in the end nothing may be left.
//!
//! `POOL_SEEDS=100000 cargo test -p pool-redis --lib simulation` tries more seeds; a failure names the seed.

mod agent;
mod client;
mod fairness;
mod real_server;
mod rng;
mod scripts;
pub(crate) mod server;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::server::ServerPlant;
use self::world::World;

/// Faults that the checks must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plant {
    Server(ServerPlant),
    /// A client takes each outcome for the first.
    CountsTwice,
    /// A client does not submit a forgotten job again.
    NeverResubmits,
    /// An agent runs an element that was queued twice.
    RunsTwice,
    /// An agent goes on with a delivery that it has lost.
    RunsLost,
    /// A client submits a job again under another number.
    Renumbers,
    /// An agent looks at the queues of low priority first.
    IgnoresPriority,
}

const SEEDS: u64 = 300;

#[test]
fn every_job_has_exactly_one_outcome() {
    let seeds = std::env::var("POOL_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    for seed in 0..seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| World::run(seed, None))) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn planted_faults_are_found() {
    let plants = [
        Plant::Server(ServerPlant::FinishesForAnyone),
        Plant::Server(ServerPlant::FinishesTwice),
        Plant::Server(ServerPlant::LeasesForever),
        Plant::Server(ServerPlant::ForgetsPopped),
        Plant::Server(ServerPlant::RenewsForAnyone),
        Plant::Server(ServerPlant::ServesInOrder),
        Plant::CountsTwice,
        Plant::NeverResubmits,
        Plant::RunsTwice,
        Plant::RunsLost,
        Plant::Renumbers,
        Plant::IgnoresPriority,
    ];
    let hook = std::panic::take_hook();
    // Hundreds of panics are expected here.
    std::panic::set_hook(Box::new(|_| ()));
    let missed: Vec<_> = plants
        .into_iter()
        .filter(|&plant| !(0..SEEDS).any(|seed| catch_unwind(|| World::run(seed, Some(plant))).is_err()))
        .collect();
    std::panic::set_hook(hook);
    assert!(missed.is_empty(), "not found: {missed:?}");
}
