//! Times and sizes by which the scheduler decides, each with its reason.

use crate::units::Nanos;

/// Calls in one chunk: as many as a worker claims one by one, so that none that has not begun is lost to the others.
pub(crate) const CALLS_PER_CHUNK_MAX: u32 = 31;

/// Work that one chunk of a map should hold: long enough to hide the hand-over (some microseconds, less than a
/// hundredth of it), short enough that workers finish close together.
pub(super) const CHUNK_NS: Nanos = 200_000;
/// The same where the items run on another machine: the way there and back takes a millisecond or so.
pub(super) const REMOTE_CHUNK_NS: Nanos = 20_000_000;

/// Work that a worker should have before it, so that it never waits for the host.
pub(super) const AHEAD_NS: Nanos = 200_000;
/// The same for a job with results that are taken all together: the host need not hear of each chunk, and comes round
/// when half of this is done. Fewer wake-ups are needed, each of which takes a CPU from a worker.
pub(super) const BULK_AHEAD_NS: Nanos = 6_400_000;

/// A map that has begun less than this ago is sent to few workers: it may be over before more of them are awake. A map of short items
/// that takes longer is sent to twice as many after each time as long.
pub(super) const NARROW_NS: Nanos = 1_000_000;
/// It keeps to the few for at most so much longer, if its known work is over then.
pub(super) const NARROW_MAX_NS: Nanos = 3_000_000;
/// Both count from its latest items, but no later than this after its first: a thread that feeds millions of short items is slower than
/// a few workers.
pub(super) const NARROW_FEED_NS: Nanos = 10_000_000;
/// The few are one for each so much known work, since a wake-up costs some microseconds on both sides.
pub(super) const WAKE_WORTH_NS: Nanos = 300_000;
/// They are so many at the least, since nothing may be known yet. Pools of no more workers always use all.
pub(crate) const NARROW_WORKERS: usize = 4;
/// The same where there are fewer CPUs: more workers would keep each other silent, and silence wakes further ones.
pub(super) const NARROW_WORKERS_MIN: usize = 2;

/// Shorter times of items may be those of their process' first use of memory, so each chunk that confirms them lets one more
/// worker be woken.
pub(super) const NEW_MEMORY_NS: Nanos = 100_000;

/// Chunks that a worker holds at the least: the one it runs and the next.
pub(super) const DEPTH_MIN: usize = 2;
/// The same for a job with results that are taken all together.
pub(super) const BULK_DEPTH_MIN: usize = 4;
/// Chunks that a worker holds at the most: items of 100 ns stay ahead by 50 µs, about the time in which the host comes
/// round.
pub(super) const DEPTH_MAX: usize = 512;

/// Chunks shorter than this do not wake the host one by one.
pub(super) const SHORT_CHUNK_NS: Nanos = 20_000;
/// One in this many short chunks wakes the host all the same, so that the replies of the others do not wait for long.
pub(super) const SHORT_CHUNKS_PER_WAKE: u32 = 32;

/// The longest time per item that is believed, whatever a worker says: some 146 years, and four times that is still a
/// number.
pub(super) const ITEM_MAX_NS: Nanos = Nanos::MAX / 4;

/// Worker time that a flow may use in each round: five chunks, so that turns cost little, and too short for a person to
/// notice.
pub(super) const QUANTUM_NS: Nanos = 1_000_000;
/// Work that may be ahead of a worker while flows wait for each other ...
pub(super) const CONTENDED_AHEAD_NS: Nanos = 1_000_000;
/// ... of which maps fill only so much, so that a call has room at once.
pub(super) const CONTENDED_MAP_AHEAD_NS: Nanos = 500_000;
/// If more is ahead of the worker that a call goes to, the maps in front of the call give way ...
pub(super) const CALL_AHEAD_NS: Nanos = 20_000;
/// ... but not again within this time on the same worker, so that a stream of calls does not make it take items back and send
/// them again all the time.
pub(super) const GIVE_WAY_PAUSE_NS: Nanos = 100_000;
/// After flows have waited for each other they are taken to do so for this long: a caller that makes one call after the
/// other costs one recall, not one for each call.
pub(super) const CONTENTION_NS: Nanos = 100_000_000;
/// Work that a worker claims at once, and that cannot be taken back then.
pub(super) const CLAIM_NS: Nanos = 200_000;

/// A chunk is taken back from a busy worker for an idle one if it holds at least this much work ...
pub(super) const RECALL_MIN_NS: Nanos = 50_000;
/// ... or if the busy worker has not replied for this long, whatever was expected of it.
pub(super) const REPLY_SILENCE_NS: Nanos = 1_000_000;

/// A worker that does not begin its work within this time is stopped and will not go on. Long enough for the longest
/// request to pass the ring.
pub(super) const UNRESPONSIVE_NS: Nanos = 10_000_000_000;
/// Time in which a worker leaves, beyond that of its finalizer.
pub(super) const LEAVE_NS: Nanos = 1_000_000_000;
/// A worker's time stamp that lies further than this in the future is invalid: worker and host have the same clock.
pub(super) const FUTURE_MAX_NS: Nanos = 1_000_000_000;

/// Pause before a worker that failed to start is started again, or a failed item is tried again: ten times as long as a
/// launch takes, so that a passing trouble can pass. It doubles with each failure in a row, up to 1.28 s.
const BACK_OFF_NS: Nanos = 10_000_000;
const BACK_OFF_DOUBLINGS_MAX: u32 = 7;

/// The pause after the `times`-th failure in a row.
pub(super) fn back_off_pause(times: u32) -> Nanos {
    // Bounded before the shift: a worker may fail for years, and a shift by 64 or more would overflow.
    BACK_OFF_NS << (times - 1).min(BACK_OFF_DOUBLINGS_MAX)
}

/// Workers that may fail to begin an item, one after the other, before the item is given up.
pub(super) const NOT_STARTED_MAX: u32 = 3;

/// Queued items that will not run are swept out when they outnumber the pending ones by more than this: sweeping earlier
/// costs more than the memory.
// Tests use a small number, so that short simulations sweep, too.
pub(super) const STALE_ITEMS_MAX: u64 = if cfg!(test) { 3 } else { 1024 };
