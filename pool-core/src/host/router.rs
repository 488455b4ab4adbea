//! The router: the host's thread that takes replies in while no thread waits for any.

use std::time::{Duration, Instant};

use pool_ipc::Sleeper;

use crate::host::Host;
use crate::host::rest::Resting;
use crate::sync::Ordering;

/// The first nap while calls are out that are too short for a notification of their end. Each further one is twice as long.
const NAP_MIN: Duration = Duration::from_millis(1);
/// The longest of these naps.
const NAP_MAX: Duration = Duration::from_millis(64);
/// The router's first nap while callers wait.
const NAP_BESIDE_LEADER: Duration = Duration::from_millis(4);

/// Submissions since the router last looked up that make it wait for [`NAP_MIN`].
pub(crate) const BURST: u32 = 32;

impl Host {
    /// Takes replies in until the pool is over.
    pub(crate) fn route_for_nobody(&self) {
        // Short at first, and doubled: a short call is found soon, and a long one costs few looks.
        let mut nap = NAP_MIN;
        let is_over = || self.is_over.load(Ordering::Acquire);
        let mut seen = 0;
        while !is_over() {
            let submission_count = self.submission_count.load(Ordering::Relaxed);
            if submission_count.wrapping_sub(std::mem::replace(&mut seen, submission_count)) > BURST {
                // A thread that submits takes replies in as well, and two would only wait for each other's lock. A worker
                // that has run out of requests notifies: then the burst may be over, and a future wait for its outcome.
                let mut looks = 0;
                let is_notified = || {
                    looks += 1;
                    looks > 1 || is_over()
                };
                if !self.hub.wait(Sleeper::Router, is_notified, Some(Instant::now() + NAP_MIN)) {
                    continue;
                }
            }
            // Callers that wait take all replies in, and are not to be disturbed. If one stays for long, the router
            // leaves it all quiet calls.
            let is_watched = || self.leadership.is_watched();
            let mut was_watched = false;
            let resting = self.with(|engine| {
                // Asked under the engine's lock: the last caller that leaves takes that once more, and then ends this rest.
                was_watched = is_watched();
                if !was_watched {
                    engine.route();
                }
                let resting = match engine.has_quiet_calls() {
                    false => Resting::Sleeps,
                    true if was_watched && nap >= NAP_MAX => Resting::ReliesOnCallers,
                    true => Resting::Naps,
                };
                self.rest.begin(resting);
                resting
            });
            if was_watched {
                nap = nap.max(NAP_BESIDE_LEADER);
            }
            let until = (resting == Resting::Naps).then(|| Instant::now() + nap);
            // Asked behind the doorbell's fence, so that a reply that came before the sleep is not missed.
            let ready = || is_over() || self.rest.has_ended(resting) || !is_watched() && self.engine().has_news();
            let is_notified = self.hub.wait(Sleeper::Router, ready, until);
            // Notified: calls come again, and the next may be short.
            nap = if is_notified { NAP_MIN } else { (2 * nap).min(NAP_MAX) };
        }
    }
}
