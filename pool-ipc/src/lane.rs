//! The two ends of a lane: a ring of requests to the worker, and a ring of replies to the host.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::consumer::Consumer;
use super::descriptors::Descriptors;
use super::doorbell::Doorbell;
use super::error::Error;
use super::layout::{LANE_MAGIC, Label, ReplyPage, RequestPage, VERSION, WORDS_BYTES, ring_fits};
use super::orders::{Flow, OrderReader};
use super::producer::Producer;
use super::progress::{Progress, ProgressWriter};
use super::region::{self, Access, HOST_SEALS, Mapping, SEALS};
use super::shared::Shared;
use super::sync::Ordering;

/// The host's end of a lane: it makes the lane and sends requests.
#[derive(Debug)]
pub struct HostEnd {
    /// Requests to the worker.
    pub requests: Producer,
    /// Replies from the worker.
    pub replies: Consumer,
    ours: Shared<RequestPage>,
    theirs: Shared<ReplyPage>,
    request_memory: Arc<Mapping>,
    reply_memory: Arc<Mapping>,
    /// The kernel has had memory for each growth so far.
    may_grow: bool,
}

/// The worker's end of a lane: it carries out requests.
#[derive(Debug)]
pub struct WorkerEnd {
    /// Requests from the host.
    pub requests: Consumer,
    /// Replies to the host.
    pub replies: Producer,
    /// The progress and last words, which the host reads after a death.
    pub progress: ProgressWriter,
    /// Orders of the host about the current request.
    pub orders: OrderReader,
    /// The bell by which the host wakes the worker.
    pub bell: WorkerBell,
}

/// The worker's side of its doorbell. It is separate from the rings, so a worker can wait for room while it holds a request.
#[derive(Debug)]
pub struct WorkerBell {
    ours: Shared<ReplyPage>,
    theirs: Shared<RequestPage>,
}

impl HostEnd {
    /// Makes a lane with rings of these sizes, and the descriptors by which the worker opens its end.
    ///
    /// # Errors
    /// [`Error::RingSize`], [`Error::FileLimit`], and [`Error::System`] from `memfd_create`,
    /// `ftruncate`, `fallocate` (`ENOSPC`: no memory), `fcntl` and `mmap`.
    pub fn create(request_bytes: usize, reply_bytes: usize) -> Result<(HostEnd, Descriptors), Error> {
        Self::create_growing(request_bytes, reply_bytes, usize::MAX)
    }

    /// As [`create`](HostEnd::create), but each ring begins with memory for `first` bytes, a power of two, and
    /// [grows](HostEnd::grow_requests) later.
    ///
    /// # Errors
    /// Those of [`create`](HostEnd::create); `first` must be a size for a ring, too.
    pub fn create_growing(
        request_bytes: usize,
        reply_bytes: usize,
        first: usize,
    ) -> Result<(HostEnd, Descriptors), Error> {
        let (request_first, reply_first) = (first.min(request_bytes), first.min(reply_bytes));
        for bytes in [request_bytes, reply_bytes, request_first, reply_first].map(|bytes| bytes as u64) {
            // Powers of two, so that a position's place in the ring is a mask away.
            if !ring_fits(bytes) {
                return Err(Error::RingSize { bytes });
            }
        }
        let create = |name, bytes, first, seals, access| {
            region::create(name, WORDS_BYTES + bytes, WORDS_BYTES + first, seals, access)
        };
        let (host_fd, request_memory) =
            create(c"pool-requests", request_bytes, request_first, HOST_SEALS, Access::ReadWrite)?;
        // Mapped read-only here: a bug in the host cannot damage the worker's words either.
        let (worker_fd, reply_memory) = create(c"pool-replies", reply_bytes, reply_first, SEALS, Access::ReadOnly)?;
        let ours = request_memory.words::<RequestPage>(0);
        let theirs = reply_memory.words::<ReplyPage>(0);
        label(&ours.label.0, LANE_MAGIC, request_bytes, reply_bytes);
        ours.reply_extent.0.store(reply_first as u64, Ordering::Relaxed);
        let host = HostEnd {
            requests: Producer::new(
                request_memory.ring(WORDS_BYTES, request_bytes),
                ours.part(|page| &page.tail.0),
                theirs.part(|page| &page.head.0),
            )
            .growing(request_first, None),
            replies: Consumer::new(
                reply_memory.ring(WORDS_BYTES, reply_bytes),
                theirs.part(|page| &page.tail.0),
                ours.part(|page| &page.head.0),
            )
            .growing(reply_first),
            ours,
            theirs,
            request_memory,
            reply_memory,
            may_grow: true,
        };
        Ok((host, Descriptors { host: host_fd, worker: worker_fd }))
    }

    /// Doubles the extent of the request ring. False, and nothing is changed, if it has grown to its end, or if there is no
    /// memory for more, now or at an earlier growth in this lane: the kernel is not asked again.
    #[cold]
    pub fn grow_requests(&mut self) -> bool {
        let (extent, capacity) = (self.requests.extent(), self.requests.capacity());
        let grows = grow(&mut self.may_grow, &self.request_memory, extent, capacity, Access::ReadWrite);
        if grows {
            self.requests.extend(2 * extent);
        }
        grows
    }

    /// As [`grow_requests`](HostEnd::grow_requests), for the reply ring.
    #[cold]
    pub fn grow_replies(&mut self) -> bool {
        let (extent, capacity) = (self.replies.extent(), self.replies.capacity());
        let grows = grow(&mut self.may_grow, &self.reply_memory, extent, capacity, Access::ReadOnly);
        if grows {
            // The reader first: the worker may write there as soon as it sees the word.
            self.replies.extend(2 * extent);
            self.ours.reply_extent.0.store(2 * extent as u64, Ordering::Relaxed);
        }
        grows
    }

    /// Wakes the worker if it sleeps: call this after sending requests, and after releasing replies, for which a worker with a
    /// full ring waits. True if that took a system call, which happens once for each time that it sleeps.
    ///
    /// If this is also called before a request is sent, the worker wakes up meanwhile: it looks for the request for some
    /// microseconds before it sleeps again.
    #[inline]
    pub fn wake_worker(&self) -> bool {
        Doorbell { asleep: &self.theirs.asleep.0, bell: &self.ours.bell.0 }.notify_once()
    }

    /// Tells the worker how to go on with the reports of request `seq`. Give the order before the release of the report that is
    /// the reason for it, and call [`wake_worker`](HostEnd::wake_worker) after it.
    ///
    /// By another `round` the worker learns that the host has taken reports since the order before. Its lower 30 bits count.
    pub fn set_flow(&self, seq: u32, flow: Flow, round: u32) {
        self.ours.orders.0.set_flow(seq, flow, round);
    }

    /// Tells the worker that an item of request `seq` is cancelled, or that all are.
    pub fn cancel(&self, seq: u32, item: Option<u32>) {
        self.ours.orders.0.cancel(seq, item);
    }

    /// The worker's progress: unchecked values.
    #[inline]
    pub fn progress(&self) -> Progress {
        self.theirs.marks.read()
    }

    /// The item that the worker runs, and the time at which it began: unchecked values. `None` if it runs none, or if the items
    /// pass too fast to be read.
    pub fn running(&self) -> Option<Progress> {
        self.theirs.marks.running()
    }

    /// Bytes of payload in the record that the worker has not published, by a place of its [`Progress`]. `None` if that record has
    /// been published since, or if the place is impossible. Take all replies first.
    pub fn unpublished(&self, unpublished_end: u32) -> Option<usize> {
        self.replies.unpublished(unpublished_end)
    }

    /// After the worker's death: appends the payload of the record that it had not published, up to
    /// [`Progress::unpublished_end`]. False, and nothing is appended, if that record has been published since, or if the place
    /// is impossible.
    ///
    /// Take all replies first: bytes before `unpublished_end` in published records are not appended.
    pub fn salvage(&mut self, unpublished_end: u32, out: &mut Vec<u8>) -> bool {
        self.replies.salvage(unpublished_end, out)
    }

    /// The text that the worker has left with [`ProgressWriter::write_last_words`]: at most
    /// [`LAST_WORDS_BYTES_MAX`](crate::LAST_WORDS_BYTES_MAX) bytes, unchecked.
    pub fn last_words(&self) -> Vec<u8> {
        self.theirs.last_words.read()
    }
}

impl WorkerEnd {
    /// Opens the worker's end, which can be done once for each lane. The descriptors are not needed afterwards.
    ///
    /// # Errors
    /// [`Error::Seals`], [`Error::Size`], [`Error::Magic`], [`Error::Version`] and [`Error::RingSize`] if the memory is not a
    /// lane of this version, [`Error::AlreadyOpen`], and [`Error::System`] from `fcntl`, `fstat` and `mmap`.
    pub fn open(memory: &Descriptors) -> Result<WorkerEnd, Error> {
        let request_memory = region::open(memory.host.as_fd(), WORDS_BYTES, HOST_SEALS, Access::ReadOnly)?;
        let theirs = request_memory.words::<RequestPage>(0);
        let (request_bytes, reply_bytes, reply_first) = read_label(&theirs)?;
        check_bytes(&request_memory, request_bytes)?;
        let reply_memory = region::open(memory.worker.as_fd(), WORDS_BYTES, SEALS, Access::ReadWrite)?;
        check_bytes(&reply_memory, reply_bytes)?;
        let ours = reply_memory.words::<ReplyPage>(0);
        // Two processes that write one ring would damage each other's records, such as a worker and a copy that it forked.
        if ours.opened.0.swap(1, Ordering::AcqRel) != 0 {
            return Err(Error::AlreadyOpen);
        }
        Ok(WorkerEnd {
            requests: Consumer::new(
                request_memory.ring(WORDS_BYTES, request_bytes),
                theirs.part(|page| &page.tail.0),
                ours.part(|page| &page.head.0),
            ),
            replies: Producer::new(
                reply_memory.ring(WORDS_BYTES, reply_bytes),
                ours.part(|page| &page.tail.0),
                theirs.part(|page| &page.head.0),
            )
            .growing(reply_first, Some(theirs.part(|page| &page.reply_extent.0))),
            progress: ProgressWriter::new(ours.part(|page| &page.marks), ours.part(|page| &page.last_words)),
            orders: OrderReader::new(theirs.part(|page| &page.orders.0)),
            bell: WorkerBell { ours, theirs },
        })
    }

    /// [`ProgressWriter::claim`]
    #[inline]
    pub fn claim(&self, seq: u32, claimed: u32) {
        self.progress.claim(seq, claimed);
    }

    /// [`ProgressWriter::begin_item`]
    #[inline]
    pub fn begin_item(&self, item: u32, unpublished_end: u32) {
        self.progress.begin_item(item, unpublished_end);
    }

    /// [`ProgressWriter::stamp`]
    #[inline]
    pub fn stamp(&self, ns: u64) {
        self.progress.stamp(ns);
    }

    /// [`ProgressWriter::write_last_words`]
    pub fn write_last_words(&self, text: &[u8]) {
        self.progress.write_last_words(text);
    }

    /// [`WorkerBell::wait_request`]
    #[inline]
    pub fn wait_request(&mut self, backoff: Backoff) {
        self.bell.wait_request(&self.requests, backoff);
    }

    /// [`WorkerBell::wait_room`]
    #[inline]
    pub fn wait_room(&mut self, want: usize, backoff: Backoff) {
        self.bell.wait_room(&mut self.replies, want, backoff);
    }
}

impl WorkerBell {
    /// Waits until there is a request in the request ring of the same lane.
    ///
    /// This does not notice the host's death: a worker must arrange to die with its host.
    pub fn wait_request(&mut self, requests: &Consumer, backoff: Backoff) {
        self.wait_until(backoff, || requests.has_news());
    }

    /// Waits until a record with `want` bytes of payload fits into the reply ring of the same lane, or, if the ring's end is
    /// nearer than that, until all bytes up to the end are free. A header fits afterwards in any case.
    ///
    /// The host makes room by releasing replies, and must call [`HostEnd::wake_worker`] after that.
    pub fn wait_room(&mut self, replies: &mut Producer, want: usize, backoff: Backoff) {
        self.wait_until(backoff, || replies.roomy(want));
    }

    /// Waits until this holds, which must depend on words that the host changes before [`HostEnd::wake_worker`].
    #[inline]
    pub fn wait_until(&mut self, backoff: Backoff, mut ready: impl FnMut() -> bool) {
        let bell = Doorbell { asleep: &self.ours.asleep.0, bell: &self.theirs.bell.0 };
        let mut is_over = backoff.wait(&mut ready);
        while !is_over {
            // A host that notifies early is about to have news.
            is_over = bell.sleep_once(&mut ready, None).is_some() || Backoff::default().wait(&mut ready);
        }
    }

    /// As [`wait_until`](WorkerBell::wait_until), but sleeps at once, and false if it does not hold in this time.
    pub fn wait_until_for(&mut self, limit: Duration, ready: impl FnMut() -> bool) -> bool {
        // Without a backoff: a worker that sets a time has been awake before, and has memory to give back.
        let deadline = Instant::now() + limit;
        let bell = Doorbell { asleep: &self.ours.asleep.0, bell: &self.theirs.bell.0 };
        bell.wait(ready, Some(deadline))
    }
}

/// Takes memory for another `extent` bytes of the ring in this memory; false if there is none.
fn grow(may_grow: &mut bool, memory: &Mapping, extent: usize, capacity: usize, access: Access) -> bool {
    if extent == capacity {
        return false;
    }
    // Memory is taken before it is used: a machine without any would answer the first touch with SIGBUS.
    *may_grow = *may_grow && memory.populate(WORDS_BYTES + extent..WORDS_BYTES + 2 * extent, access);
    *may_grow
}

/// Writes the label of new memory.
pub(super) fn label(label: &Label, magic: u64, request_bytes: usize, reply_bytes: usize) {
    label.request_bytes.store(request_bytes as u64, Ordering::Relaxed);
    label.reply_bytes.store(reply_bytes as u64, Ordering::Relaxed);
    label.version.store(VERSION, Ordering::Relaxed);
    // Last, so that a reader that finds it finds the rest.
    label.magic.store(magic, Ordering::Release);
}

/// Checks that memory has this label and our version.
pub(super) fn check_label(label: &Label, magic: u64) -> Result<(), Error> {
    let found = label.magic.load(Ordering::Relaxed);
    if found != magic {
        return Err(Error::Magic { found, expected: magic });
    }
    let found = label.version.load(Ordering::Relaxed);
    if found != VERSION {
        return Err(Error::Version { found, expected: VERSION });
    }
    Ok(())
}

/// The sizes of both rings of a lane, and the extent of the reply ring.
fn read_label(page: &RequestPage) -> Result<(usize, usize, usize), Error> {
    let label = &page.label.0;
    check_label(label, LANE_MAGIC)?;
    let size = |word: u64| -> Result<usize, Error> {
        usize::try_from(word).ok().filter(|_| ring_fits(word)).ok_or(Error::RingSize { bytes: word })
    };
    let request_bytes = size(label.request_bytes.load(Ordering::Relaxed))?;
    let reply_bytes = size(label.reply_bytes.load(Ordering::Relaxed))?;
    let reply_first = size(page.reply_extent.0.load(Ordering::Relaxed))?.min(reply_bytes);
    Ok((request_bytes, reply_bytes, reply_first))
}

/// Checks that memory has the size of its words and a ring of `ring_bytes` bytes.
fn check_bytes(memory: &Mapping, ring_bytes: usize) -> Result<(), Error> {
    let (found, expected) = (memory.bytes() as u64, (WORDS_BYTES + ring_bytes) as u64);
    if found == expected { Ok(()) } else { Err(Error::Size { found, expected }) }
}
