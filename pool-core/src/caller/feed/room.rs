//! Waiting of a map: for results, for memory of the arena, for room where the pool bounds its pending items, and for listeners.

use std::time::Instant;

use pool_ipc::InUse;

use super::Feed;
use crate::host::turn::Turn;
use crate::job::batch::CompletionRef;
use crate::job::completion::Waiter;

/// Large items for each worker that are out before the input waits: one that runs, and one ahead.
const LARGE_PER_WORKER: usize = 2;

impl Feed {
    /// Leaves the job to itself.
    pub(in crate::caller) fn detach(&mut self) -> CompletionRef {
        self.is_detached = true;
        // The caller can listen from now on.
        self.completion.reports().into_iter().for_each(|reports| reports.bound());
        self.completion.clone()
    }

    /// Items of a lazy map must not hold reports back for a listener that does not come: the first result is waited for.
    pub(super) fn expect_no_listener(&self) {
        if let Some(reports) = self.completion.reports().filter(|_| self.is_lazy) {
            reports.expect_nobody();
        }
    }

    /// Waits until more items should be pulled, or the job has ended; returns up to which.
    pub(in crate::caller) fn wait_for_next(&mut self) -> u64 {
        // Before the item exists: a pulled item must be kept somewhere.
        let room = self.wait_for_room();
        // Before the item is pulled: it is encoded as soon as it is there.
        self.wait_for_arena();
        self.pulled.saturating_add(room)
    }

    /// Waits until more items may be pulled, or the job has ended; returns how many.
    fn wait_for_room(&mut self) -> u64 {
        if !self.host.is_bounded() {
            return u64::MAX;
        }
        let (_, room) = self.look();
        if room > 0 {
            return room;
        }
        self.wait_for_turn(None, false);
        // One in any case: the turn was granted for it, or the job has ended and the item finds that out.
        self.look().1.max(1)
    }

    /// If large items follow one another and the caller waits anyway: waits for one of them to be through, as long as the
    /// workers have enough to do. An item that finds no room in the arena takes fresh memory, which takes longer than to
    /// wait.
    fn wait_for_arena(&mut self) {
        if self.large_bytes == 0 || !self.is_awaited {
            return;
        }
        let (host, bytes, enough) = (&self.host, self.large_bytes, LARGE_PER_WORKER * self.host.workers());
        let Some(arena) = host.arena() else { return };
        // Here and not when they end: no event tells the caller that workers are through with a segment.
        self.large.retain(InUse::is_in_use);
        let out = || self.large.iter().filter(|segment| segment.is_in_use()).count();
        host.wait_for_settlement(|| out() < enough || arena.has_large(bytes) || self.completion.is_finished());
    }

    /// Takes in the replies that are there. Returns the number of workers, and how many items may be pulled.
    pub(crate) fn look(&mut self) -> (u64, u64) {
        // A turn that items wait for is theirs.
        let has_rest = self.has_rest();
        self.host.look(self.turn.as_mut().filter(|_| !has_rest))
    }

    /// Stands in line, and waits until it is the map's turn or the job has ended, and `or_news` until a result has come;
    /// false if the deadline comes first.
    pub(crate) fn wait_for_turn(&mut self, deadline: Option<Instant>, or_news: bool) -> bool {
        let Feed { host, completion, waiting, turn, .. } = self;
        let turn = turn.get_or_insert_with(|| Turn::new(host));
        turn.draw_for_item(completion.job(), waiting.front().map(|(first, _)| *first));
        let is_vain = || completion.is_finished() || or_news && completion.has_news();
        let is_ready = turn.wait(deadline, is_vain, |thread| drop(completion.set_waiter(Waiter::Thread(thread))));
        if completion.is_finished() {
            // No item will take the room any more.
            turn.leave();
        }
        is_ready
    }

    /// As [`wait_for_turn`](Feed::wait_for_turn) for a future: true if it is the map's turn, else the waker is woken when
    /// it is.
    #[cfg(feature = "stream")]
    pub(crate) fn poll_turn(&mut self, waker: &std::task::Waker) -> bool {
        let Feed { host, completion, waiting, turn, .. } = self;
        let turn = turn.get_or_insert_with(|| Turn::new(host));
        turn.draw_for_item(completion.job(), waiting.front().map(|(first, _)| *first));
        turn.poll(waker)
    }

    /// Leaves the line: the thread does something else now, and others shall not wait for it.
    pub(crate) fn leave_line(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.leave();
        }
    }

    /// Waits for news of the completion; false if the deadline comes first.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        self.host.wait_for_news(&self.completion, deadline)
    }
}
