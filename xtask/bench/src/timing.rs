//! Measured times.

use std::time::{Duration, Instant};

/// The time taken, and the sum of the results; see [`crate::data::sum`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timed {
    pub(crate) elapsed: Duration,
    pub(crate) sum: u64,
}

/// Runs `body` and returns the time that it took with its value.
pub(crate) fn timed<T>(body: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let value = std::hint::black_box(body());
    (start.elapsed(), value)
}
