//! A kill at any machine instruction of a job: no item may be lost, doubled or torn.
//!
//! A worker that sleeps is held with ptrace(2) and given a job; it is let go on to a certain instruction and killed
//! there, or left stopped. Then the books are checked. Each item ends exactly once, and its body runs at most once. One
//! that the worker had not claimed runs elsewhere and is charged with nothing; one that it had may fail with the worker,
//! though its body, some hundred instructions behind the claim, had not begun; an item that was published has its value. All
//! items behind it succeed.
//!
//! The first pass takes down the whole way, and the others come to their place on it with a breakpoint close before. So
//! a place is a place in the code, and a way that differs a little leads to it as well.

mod job;
mod ledger;
mod ring;
mod stop;

pub use job::{Scenario, kill_job};
pub use ledger::Ledger;
pub use ring::{End, kill_ring};
pub use stop::{When, stop_job};
