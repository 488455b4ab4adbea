//! A pool under full load while its workers are killed, stopped and made to fail at random; then the books are checked.
//!
//! `cargo xtask chaos [--seconds S] [--workers N] [--seed K]`. The exit code is 1 unless every item has ended exactly
//! once, in a way in which it can end, and nothing is left behind.

mod harm;
mod item;
mod ledger;
mod load;
mod options;
mod random;
mod report;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, setrlimit};
use pool_core::Pool;
use tests::leaks::{Count, threads};

use crate::harm::harass;
use crate::item::{Fate, Item, triple};
use crate::ledger::{Ledger, Outcome, Shape};
use crate::load::Load;
use crate::options::{Fault, Options, USAGE};
use crate::random::Random;
use crate::report::Report;

fn main() -> ExitCode {
    let Some(options) = Options::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // A panic that looks up its backtrace takes longer than the workers are left alive.
    // SAFETY:
    // - this process has one thread, so nobody else reads the environment.
    unsafe { std::env::remove_var("RUST_BACKTRACE") };
    // A thousand crashes are not to leave a thousand files.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    match run(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<bool, Box<dyn std::error::Error>> {
    watch(Duration::from_secs(options.seconds + 60));
    let before = Count::take();
    let ledger = Ledger::default();
    // Workers are killed while they start, too, and that is no reason to give up.
    let pool = Pool::builder().workers(options.workers).restart_limit(1000).build()?;
    let harm = fight(&options, &pool, &ledger);
    if let Some(fault) = options.plant {
        plant(fault, &ledger);
    }
    let stats = pool.stats();
    let is_usable = pool.map(triple::Task, 0..1000)?.into_iter().eq((0..1000).map(|x| Item(x).value()));
    pool.close();
    pool.join()?;
    drop(pool);
    let after = Count::settled(before);
    let report = Report { options, tally: ledger.tally(), harm, stats, is_usable, before, after };
    report.print()?;
    Ok(report.is_clean())
}

/// A hang is the one thing that the ledger cannot show.
fn watch(limit: Duration) {
    thread::spawn(move || {
        thread::sleep(limit);
        eprintln!("chaos: still not done after {limit:?}, so something hangs; threads: {}", threads().join(", "));
        std::process::abort();
    });
}

fn fight(options: &Options, pool: &Pool, ledger: &Ledger) -> harm::Harm {
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let is_over = &AtomicBool::new(options.seconds == 0);
    let mut streams = 0..;
    let mut random = || Random::new(options.seed, streams.next().expect("endless"));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(Load::ROUNDS)
            .map(|(stream, (name, round))| {
                let mut load = Load::new(pool, ledger, random(), stream);
                let repeat = move || {
                    while Instant::now() < end {
                        round(&mut load);
                    }
                };
                thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, repeat).expect("a thread")
            })
            .collect();
        let harm = scope.spawn(move || harass(pool, options.workers, is_over, random));
        let ended: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        for ((name, _), ended) in Load::ROUNDS.into_iter().zip(ended) {
            ended.unwrap_or_else(|_| panic!("the load `{name}` panicked"));
        }
        harm.join().expect("nor does it panic")
    })
}

/// Puts a fault into the books, as a faulty pool would.
fn plant(fault: Fault, ledger: &Ledger) {
    let item = Item::new(u64::from(u32::MAX), Fate::Good);
    let mut page = ledger.open(Shape::Calls, vec![item], false);
    match fault {
        Fault::Lost => {}
        Fault::Doubled => (0..2).for_each(|_| page.settle(0, Outcome::Value(item.value()))),
        Fault::Wrong => page.settle(0, Outcome::Value(item.value() + 1)),
    }
    ledger.close(page);
}
