//! The number of workers of a pool of which the items run on other machines: it follows the room there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::Host;
use crate::error::{Error, ErrorKind, Result};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Host {
    /// Has as many workers as there is `capacity`, from 1 to `most`, and tells of hindrances, until the pool is over.
    pub(crate) fn follow_capacity(&self, most: usize, look: impl Fn() -> (usize, Option<String>)) {
        let mut told = None;
        while !self.wait_over(Some(Instant::now() + LOOK_EVERY)) {
            // A backend that panics once may know more the next time.
            let Ok((capacity, hindrance)) = catch_unwind(AssertUnwindSafe(&look)) else { continue };
            // Once for each change, since listeners hear of it.
            if hindrance != told {
                told.clone_from(&hindrance);
                self.with(|engine| engine.note_hindrance(hindrance));
            }
            let workers = capacity.clamp(1, most);
            if workers != self.workers() {
                // Refused by a pool that takes no more jobs, and so needs no more workers.
                let _ = self.resize(workers);
            }
        }
    }

    /// Refuses a method that concerns workers on this machine.
    ///
    /// # Errors
    ///
    /// `Unsupported` if there are none.
    pub(crate) fn check_local(&self, method: &str) -> Result<()> {
        if !self.is_remote {
            return Ok(());
        }
        let text = format!("`{method}` concerns workers on this machine, and this pool has the items run on others");
        Err(Error::new(ErrorKind::Unsupported, text))
    }
}
