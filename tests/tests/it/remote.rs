//! Items that run on other machines: the same behaviour as in a local pool, by way of a second pool here that stands for them.

mod faults;
mod refusals;
mod sameness;

use pool_core::Pool;
use tests::far::{Far, ToFar};
use tests::trial::Check;

pub(crate) fn checks() -> Vec<Check> {
    [sameness::checks(), faults::checks(), refusals::checks()].into_iter().flatten().collect()
}

/// A pool of which the items run in a pool of two workers, and that pool.
fn pools() -> (Pool, ToFar) {
    let far = Far::honest(Pool::builder().workers(2));
    (pool_over(far.clone()), far)
}

/// A pool of which the items run there.
fn pool_over(far: ToFar) -> Pool {
    Pool::builder().backend(far).build().expect("the way is open")
}
