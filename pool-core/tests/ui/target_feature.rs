//! A function that not every CPU may run.

use pool_core::pool_task;

#[pool_task]
#[target_feature(enable = "avx2")]
//~ a function with `#[target_feature]` cannot be a task
fn sum(values: &[f64]) -> f64 {
    values.iter().sum()
}

fn main() {}
