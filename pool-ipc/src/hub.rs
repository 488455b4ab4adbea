//! What all workers of a pool share with their host, whatever the number of lanes: two bells to wake it by, and an
//! [arena](super::arena).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::slice::from_ref;
use std::sync::Arc;
use std::time::Instant;

use super::arena::{Arena, ArenaWorker, SEGMENT_BYTES};
use super::doorbell::{Doorbell, Switchboard};
use super::error::Error;
use super::lane::{check_label, label};
use super::layout::{HUB_MAGIC, HubBellPage, HubHostPage, PAGE_BYTES, hub_bytes};
use super::region::{self, Access, Mapping};
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
const ARENA_AT: usize = PAGE_BYTES;

impl Hub {
    /// Makes a hub with an arena of so many segments, and the file descriptor (close-on-exec) by which workers open it. The
    /// arena takes memory as it is used.
    ///
    /// # Errors
    /// As for [`HostEnd::create`](crate::HostEnd::create).
    pub fn create(segments: u32) -> Result<(Hub, OwnedFd), Error> {
        let arena_bytes = segments as usize * SEGMENT_BYTES;
        let fd = region::create(c"pool-hub", hub_bytes(arena_bytes), from_ref(&(0..hub_bytes(0))))?;
        let (bells, ours) = Bells::map(&fd, arena_bytes, Access::ReadWrite)?;
        label(&bells.posts.label.0, HUB_MAGIC, 0, 0);
        let arena = Arena::new(ours, ARENA_AT, segments);
        Ok((Hub { bells, arena }, fd))
    }

    /// Memory for bytes that calls point to.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Says whether there is a leader, so whom workers are to wake.
    ///
    /// Whoever stops leading must look for replies once more *after* this, or ring the router: a worker that published
    /// just before saw the leader, and saw it awake.
    #[inline]
    pub fn set_led(&self, led: bool) {
        self.bells.switchboard().set_led(led);
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
    /// Maps a hub, and what of it the host alone writes.
    fn map(fd: impl AsFd, arena_bytes: usize, posts: Access) -> Result<(Bells, Arc<Mapping>), Error> {
        let fd = fd.as_fd();
        let bells = Mapping::new(fd, 0, PAGE_BYTES, Access::ReadWrite)?.words(0);
        let theirs = Mapping::new(fd, PAGE_BYTES, PAGE_BYTES + arena_bytes, posts)?;
        Ok((Bells { posts: theirs.words(0), bells }, theirs))
    }

    #[inline]
    fn switchboard(&self) -> Switchboard<'_> {
        let posts = &self.posts.posts.0;
        Switchboard {
            led: &posts.led,
            caller: Doorbell { asleep: &posts.caller_asleep, bell: &self.bells.caller.0 },
            router: Doorbell { asleep: &posts.router_asleep, bell: &self.bells.router.0 },
        }
    }
}

impl HubWorker {
    /// Opens the hub of a worker's host.
    ///
    /// # Errors
    /// [`Error::Seals`], [`Error::Size`], [`Error::Magic`] and [`Error::Version`] if `fd` is not a hub of this
    /// version, and [`Error::System`] from `fcntl`, `fstat` and `mmap`.
    pub fn open(fd: BorrowedFd<'_>) -> Result<HubWorker, Error> {
        let found = region::sealed_bytes(fd)?;
        let whole = usize::try_from(found).map_err(|_| Error::RingSize { bytes: found })?;
        let Some(arena_bytes) = whole.checked_sub(hub_bytes(0)) else {
            return Err(Error::Size { found, expected: hub_bytes(0) as u64 });
        };
        let (bells, ours) = Bells::map(fd, arena_bytes, Access::ReadOnly)?;
        check_label(&bells.posts.label.0, HUB_MAGIC)?;
        Ok(HubWorker { bells, arena: ArenaWorker::new(ours, ARENA_AT, arena_bytes) })
    }

    /// Memory that calls may point to.
    #[inline]
    pub fn arena(&self) -> &ArenaWorker {
        &self.arena
    }

    /// After a reply is published, or calls are released for whose room the host may wait: wakes the leader, or the
    /// router if there is none, if it has announced that it sleeps. True if that took a system call.
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
