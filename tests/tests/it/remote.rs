//! Items that run on other machines: the same behaviour as in a local pool, by way of a second pool here that stands for them.

mod far;
mod faults;
mod refusals;
mod sameness;

use tests::trial::Check;

pub(crate) fn checks() -> Vec<Check> {
    [sameness::checks(), faults::checks(), refusals::checks()].into_iter().flatten().collect()
}
