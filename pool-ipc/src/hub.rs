//! The memory that all workers of a pool share with their host: two bells by which they wake it, and an
//! [arena](super::arena).

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use super::arena::{Arena, ArenaWorker, SEGMENT_BYTES};
use super::descriptors::Descriptors;
pub use super::doorbell::Watch;
use super::doorbell::{Doorbell, Switchboard};
use super::error::Error;
use super::lane::{check_label, label};
use super::layout::{HUB_MAGIC, HubBellPage, HubHostPage, WORDS_BYTES};
use super::region::{self, Access, HOST_SEALS, Mapping, SEALS};
use super::shared::Shared;

/// A thread of the host that workers may have to wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sleeper {
    /// The leader: a thread that waits for replies of its own and handles all others' meanwhile.
    Caller,
    /// The thread that handles replies while there is no leader.
    Router,
}

/// The host's side.
#[derive(Debug)]
pub struct Hub {
    bells: Bells,
    arena: Arena,
}

/// A worker's side.
#[derive(Debug)]
pub struct HubWorker {
    bells: Bells,
    arena: ArenaWorker,
}

#[derive(Debug)]
struct Bells {
    posts: Shared<HubHostPage>,
    bells: Shared<HubBellPage>,
}

/// Offset of the arena in the memory that only the host writes.
const ARENA_AT: usize = WORDS_BYTES;

impl Hub {
    /// Makes a hub with an arena of `segments` segments, and the descriptors by which workers open it. A segment takes memory
    /// when it is first used.
    ///
    /// # Errors
    /// As for [`HostEnd::create`](crate::HostEnd::create).
    pub fn create(segments: u32) -> Result<(Hub, Descriptors), Error> {
        Hub::create_with_large(segments, 0)
    }

    /// As [`create`](Hub::create), with another `large_bytes` bytes for large segments. These take memory as they are used, too.
    ///
    /// # Errors
    /// As for [`create`](Hub::create).
    ///
    /// # Panics
    /// If the arena has 4 GiB or more.
    pub fn create_with_large(segments: u32, large_bytes: usize) -> Result<(Hub, Descriptors), Error> {
        // The arena stands in the host's memory, not in that of the bells: workers may write the bells.
        let arena_bytes = segments as usize * SEGMENT_BYTES + large_bytes;
        assert!(u32::try_from(arena_bytes).is_ok(), "a location holds 32 bits");
        let bytes = ARENA_AT + arena_bytes;
        // Only the words get memory now. The arena takes its own segment by segment, so an idle pool costs a page.
        let (host, ours) = region::create(c"pool-hub", bytes, ARENA_AT, HOST_SEALS, Access::ReadWrite)?;
        let (worker, theirs) = region::create(c"pool-bells", WORDS_BYTES, WORDS_BYTES, SEALS, Access::ReadWrite)?;
        let bells = Bells::new(&ours, &theirs);
        // In the memory that workers cannot write, so none can make another fail at opening.
        label(&bells.posts.label.0, HUB_MAGIC, 0, 0);
        let arena = Arena::new(ours, ARENA_AT, segments, large_bytes);
        Ok((Hub { bells, arena }, Descriptors { host, worker }))
    }

    /// The memory for arguments to which requests point.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Tells workers which threads look for replies, and so which one to wake.
    ///
    /// A thread that leaves the watch to a sleeper must look for replies once more *after* this, or notify that sleeper: a
    /// worker that published just before relied on the thread that leaves, and woke nobody.
    #[inline]
    pub fn set_watch(&self, watch: Watch) {
        self.bells.switchboard().set_watch(watch);
    }

    /// Sleeps until `ready` or the deadline; true if `ready` has been true. `ready` must look at shared memory, or at state
    /// that is changed before [`Hub::notify`].
    ///
    /// At most one thread may wait as each sleeper at a time.
    #[inline]
    pub fn wait(&self, who: Sleeper, ready: impl FnMut() -> bool, deadline: Option<Instant>) -> bool {
        self.doorbell(who).wait(ready, deadline)
    }

    /// Wakes this sleeper if it sleeps: for a death, a submission or the like, after the state is changed at which its
    /// `ready` looks. True if that took a system call.
    #[inline]
    pub fn notify(&self, who: Sleeper) -> bool {
        self.doorbell(who).notify()
    }

    /// As [`notify`](Hub::notify) if `is_wanted`. That is called only if the sleeper has announced itself, and then sees all
    /// stores before the announcement.
    #[inline]
    pub fn notify_if(&self, who: Sleeper, is_wanted: impl FnOnce() -> bool) {
        self.doorbell(who).notify_if(is_wanted);
    }

    #[inline]
    fn doorbell(&self, who: Sleeper) -> Doorbell<'_> {
        let switchboard = self.bells.switchboard();
        match who {
            Sleeper::Caller => switchboard.caller,
            Sleeper::Router => switchboard.router,
        }
    }
}

impl Bells {
    fn new(host: &Arc<Mapping>, worker: &Arc<Mapping>) -> Bells {
        Bells { posts: host.words(0), bells: worker.words(0) }
    }

    #[inline]
    fn switchboard(&self) -> Switchboard<'_> {
        let posts = &self.posts.posts.0;
        Switchboard {
            watch: &posts.watch,
            caller: Doorbell { asleep: &posts.caller_asleep, bell: &self.bells.caller.0 },
            router: Doorbell { asleep: &posts.router_asleep, bell: &self.bells.router.0 },
        }
    }
}

impl HubWorker {
    /// Opens the hub of a worker's host.
    ///
    /// # Errors
    /// [`Error::Seals`], [`Error::Size`], [`Error::Magic`] and [`Error::Version`] if that is not a hub of this
    /// version, and [`Error::System`] from `fcntl`, `fstat` and `mmap`.
    pub fn open(memory: &Descriptors) -> Result<HubWorker, Error> {
        let theirs = region::open(memory.host.as_fd(), ARENA_AT, HOST_SEALS, Access::ReadOnly)?;
        let ours = region::open(memory.worker.as_fd(), WORDS_BYTES, SEALS, Access::ReadWrite)?;
        let bells = Bells::new(&theirs, &ours);
        check_label(&bells.posts.label.0, HUB_MAGIC)?;
        // Not below zero: `open` has refused memory of fewer bytes.
        let arena_bytes = theirs.bytes() - ARENA_AT;
        Ok(HubWorker { bells, arena: ArenaWorker::new(theirs, ARENA_AT, arena_bytes) })
    }

    /// The memory to which requests may point.
    #[inline]
    pub fn arena(&self) -> &ArenaWorker {
        &self.arena
    }

    /// Wakes the leader, or the router if no caller is on watch, if it sleeps. Call this after publishing a reply, and after
    /// releasing requests, since the host may wait for their room. True if that took a system call.
    #[inline]
    pub fn notify(&self) -> bool {
        self.bells.switchboard().notify()
    }

    /// As [`notify`](HubWorker::notify), but does not wake the router. False if no caller is on watch: the router must still
    /// be notified.
    #[inline]
    pub fn notify_leader(&self) -> bool {
        self.bells.switchboard().notify_caller()
    }
}
