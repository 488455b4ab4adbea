//! How workers wake their host: two bells for the whole pool, whatever the number of lanes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::slice::from_ref;
use std::time::Instant;

use super::doorbell::{Doorbell, Switchboard};
use super::error::Error;
use super::lane::{check_label, label};
use super::layout::{HUB_MAGIC, HubBellPage, HubHostPage, PAGE_BYTES};
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
    posts: Shared<HubHostPage>,
    bells: Shared<HubBellPage>,
}

/// A worker's side.
#[derive(Debug)]
pub struct HubWorker(Hub);

impl Hub {
    /// Makes a hub, and the file descriptor (close-on-exec) by which workers open it.
    ///
    /// # Errors
    /// As for [`HostEnd::create`](crate::HostEnd::create).
    pub fn create() -> Result<(Hub, OwnedFd), Error> {
        let fd = region::create(c"pool-hub", 2 * PAGE_BYTES, from_ref(&(0..2 * PAGE_BYTES)))?;
        // One mapping each, since workers map the first read-only.
        let hub = Hub::map(&fd, Access::ReadWrite)?;
        label(&hub.posts.label.0, HUB_MAGIC, 0, 0);
        Ok((hub, fd))
    }

    fn map(fd: impl AsFd, posts: Access) -> Result<Hub, Error> {
        let fd = fd.as_fd();
        Ok(Hub {
            posts: Mapping::new(fd, 0, PAGE_BYTES, posts)?.words(0),
            bells: Mapping::new(fd, PAGE_BYTES, PAGE_BYTES, Access::ReadWrite)?.words(0),
        })
    }

    /// Says whether there is a leader, so whom workers are to wake.
    ///
    /// Whoever stops leading must look for replies once more *after* this, or ring the router: a worker that published
    /// just before saw the leader, and saw it awake.
    #[inline]
    pub fn set_led(&self, led: bool) {
        self.switchboard().set_led(led);
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
        let switchboard = self.switchboard();
        match who {
            Sleeper::Caller => switchboard.caller,
            Sleeper::Router => switchboard.router,
        }
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
        let expected = 2 * PAGE_BYTES as u64;
        let found = region::sealed_bytes(fd)?;
        if found != expected {
            return Err(Error::Size { found, expected });
        }
        let hub = Hub::map(fd, Access::ReadOnly)?;
        check_label(&hub.posts.label.0, HUB_MAGIC)?;
        Ok(HubWorker(hub))
    }

    /// After a reply is published, or calls are released for whose room the host may wait: wakes the leader, or the
    /// router if there is none, if it has announced that it sleeps. True if that took a system call.
    #[inline]
    pub fn ring(&self) -> bool {
        self.0.switchboard().ring()
    }

    /// As [`ring`](HubWorker::ring), but lets the router sleep: false if it is the router's turn, which is still to be rung.
    #[inline]
    pub fn ring_leader(&self) -> bool {
        self.0.switchboard().ring_caller()
    }
}
