//! The same bits from any number of workers, while workers are killed: `cargo run --release -p pool-core --example monte_carlo`.

#![allow(clippy::print_stdout, reason = "an example shows its results")]

use pool_core::current_item;
use pool_core::prelude::*;

/// SplitMix64. Any generator of random numbers does that takes a seed.
struct Random(u64);

impl Random {
    /// A number from 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The share of random points that lie in a quarter of a circle. Each tenth item kills its worker at the first attempt.
#[pool_task(retries = 3)]
fn share(points: u32) -> f64 {
    let item = current_item().expect("a task has an item");
    if item.index % 10 == 9 && item.attempt == 1 {
        std::process::abort();
    }
    let mut random = Random(item.seed);
    let hits = (0..points).filter(|_| random.next().powi(2) + random.next().powi(2) < 1.0).count();
    hits as f64 / f64::from(points)
}

pub(crate) fn main() -> pool_core::Result<()> {
    let estimate = |workers| {
        let pool = Pool::builder().workers(workers).seed(42).build()?;
        let shares = pool.map(share::Task, [100_000; 100])?;
        Ok::<_, Error>((4.0 * shares.iter().sum::<f64>() / shares.len() as f64, pool.stats().workers_died))
    };
    let (expected, _) = estimate(1)?;
    for workers in [1, 2, 5] {
        let (pi, died) = estimate(workers)?;
        println!("{workers} workers, of which {died} processes died: {pi}");
        assert_eq!(pi.to_bits(), expected.to_bits());
    }
    Ok(())
}
