//! What all workers of a pool share with their host, whatever the number of lanes: two bells to wake it by, and an
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
    /// The one that waits for replies of its own and, while it does, handles everybody's: the leader.
    Caller,
    /// The one that handles replies while there is no leader.
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

/// Where the arena begins in what the host alone writes.
const ARENA_AT: usize = WORDS_BYTES;

impl Hub {
    /// Makes a hub with an arena of so many segments, and the descriptors by which workers open it. The arena takes
    /// memory as it is used.
    ///
    /// # Errors
    /// As for [`HostEnd::create`](crate::HostEnd::create).
    pub fn create(segments: u32) -> Result<(Hub, Descriptors), Error> {
        let bytes = ARENA_AT + segments as usize * SEGMENT_BYTES;
        let (host, ours) = region::create(c"pool-hub", bytes, ARENA_AT, HOST_SEALS, Access::ReadWrite)?;
        let (worker, theirs) = region::create(c"pool-bells", WORDS_BYTES, WORDS_BYTES, SEALS, Access::ReadWrite)?;
        let bells = Bells::new(&ours, &theirs);
        label(&bells.posts.label.0, HUB_MAGIC, 0, 0);
        let arena = Arena::new(ours, ARENA_AT, segments);
        Ok((Hub { bells, arena }, Descriptors { host, worker }))
    }

    /// Memory for bytes that calls point to.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Says which threads look for replies, so whom workers are to wake.
    ///
    /// A thread that leaves the watch to a sleeper must look for replies once more *after* this, or ring that one: a worker
    /// that published just before relied on the thread that leaves.
    #[inline]
    pub fn set_watch(&self, watch: Watch) {
        self.bells.switchboard().set_watch(watch);
    }

    /// Sleeps until `ready`, which must look at shared memory or at what is changed before [`Hub::ring`], or until the
    /// deadline. True if `ready` has been true.
    ///
    /// At most one thread may wait as each sleeper at a time.
    #[inline]
    pub fn wait(&self, who: Sleeper, ready: impl FnMut() -> bool, deadline: Option<Instant>) -> bool {
        self.doorbell(who).wait(ready, deadline)
    }

    /// Wakes this sleeper if it has announced itself: for deaths, submissions and the like, after they are noted
    /// where its `ready` looks. True if that took a system call.
    #[inline]
    pub fn ring(&self, who: Sleeper) -> bool {
        self.doorbell(who).ring()
    }

    /// As [`ring`](Hub::ring) if `is_wanted`, which is asked only if the sleeper has announced itself, and then sees what was
    /// stored before that.
    #[inline]
    pub fn ring_if(&self, who: Sleeper, is_wanted: impl FnOnce() -> bool) {
        self.doorbell(who).ring_if(is_wanted);
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
        let arena_bytes = theirs.bytes() - ARENA_AT;
        Ok(HubWorker { bells, arena: ArenaWorker::new(theirs, ARENA_AT, arena_bytes) })
    }

    /// Memory that calls may point to.
    #[inline]
    pub fn arena(&self) -> &ArenaWorker {
        &self.arena
    }

    /// After a reply is published, or calls are released for whose room the host may wait: wakes the leader, or the
    /// router if no caller is on watch, if it has announced that it sleeps. True if that took a system call.
    #[inline]
    pub fn ring(&self) -> bool {
        self.bells.switchboard().ring()
    }

    /// As [`ring`](HubWorker::ring), but lets the router sleep: false if it is the router's turn, which is still to be rung.
    #[inline]
    pub fn ring_leader(&self) -> bool {
        self.bells.switchboard().ring_caller()
    }
}
