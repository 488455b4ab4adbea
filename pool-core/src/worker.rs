//! The worker, a process or a thread of the host: takes requests from its lane, runs them, writes replies.

#![allow(unsafe_code)]

mod alone;
mod arrays;
pub(crate) mod chunk;
#[cfg(feature = "remote")]
pub(crate) mod courier;
#[cfg(feature = "tracing")]
pub(crate) mod forwarding;
pub(crate) mod limits;
pub(crate) mod links;
mod number_run;
mod panics;
pub(crate) mod position;
pub(crate) mod preload;
mod reporting;
pub(crate) mod reports;
pub(crate) mod run;
pub(crate) mod states;
pub(crate) mod thread;

use std::alloc::Layout;
use std::ops::RangeInclusive;
use std::time::Duration;

use pool_ipc::sys::monotonic_ns;
use pool_ipc::{Backoff, Header, HubWorker, Record, WorkerEnd};

use crate::codec::large_vec;
use crate::lane::messages::{Place, Request, reply, request};
use crate::process::exit;
use crate::process::fork_check::ForkCheck;
use crate::process::last_words::LastWords;
use crate::process::memory_limit::has_memory_limit;
use crate::process::output;
use crate::process::signals;
use crate::process::socket::Socket;
use crate::process::standing::Standing;
use crate::task::table::TASKS;
use crate::worker::chunk::{Chunk, Input, Link};
#[cfg(feature = "remote")]
use crate::worker::courier::Courier;
#[cfg(feature = "tracing")]
use crate::worker::forwarding::Forwarding;
use crate::worker::limits::{RssWatch, WorkerLimits};
use crate::worker::links::{Links, open};
use crate::worker::panics::keep_panics;
use crate::worker::position::{Position, Worker};

/// Runs as `worker` until the host says to leave, or dies.
pub(crate) fn run(worker: Worker, links: Links, settings: &WorkerLimits) -> ! {
    let Links { lane, socket, hub: hub_memory, records } = links;
    let Some((end, hub)) = open(lane, &hub_memory) else { leave(exit::BAD_LANE) };
    drop(hub_memory);
    let me = ForkCheck::here();
    let standing = me.standing();
    let position = Position::new(Some(worker), end.progress.clone(), end.orders.clone(), me, standing);
    let position = position::enter(position);
    settings.apply(worker.id() as u32);
    output::prepare(settings.is_heard);
    signals::report_deaths(end.progress.clone(), me);
    keep_panics(end.progress.clone(), me);
    let rss = RssWatch::new(settings);
    #[cfg_attr(not(feature = "tracing"), expect(unused_mut, reason = "forwarding is added"))]
    let mut requests = RequestLoop::<false>::new(end, socket, hub, position, standing, rss);
    #[cfg(feature = "tracing")]
    {
        requests.forwarding = records.map(|pipe| Forwarding::start(pipe, settings.forwarded_level, position, me));
    }
    #[cfg(not(feature = "tracing"))]
    drop(records);
    leave(requests.serve())
}

/// Ends the process at once, without the exit handlers that the program has registered for its host.
fn leave(code: i32) -> ! {
    output::flush_at_end();
    if code == 0 {
        signals::write_coverage();
    }
    signals::exit_now(code)
}

/// Takes requests and answers them, one after the other. Only a thread asks before each whether it goes on.
struct RequestLoop<'w, const IS_THREAD: bool> {
    end: WorkerEnd,
    /// The way of descriptors from the host and back.
    socket: Socket,
    hub: HubWorker,
    position: &'w Position<'w>,
    /// The place of the next request, if it came before that.
    place: Option<Place>,
    me: Standing<'w>,
    rss: Option<RssWatch>,
    /// The body of a request that came in several records; after that, memory for the next one.
    long: Vec<u8>,
    /// The thread of the host that must still be notified of the last replies.
    unnotified: Unnotified,
    /// The rules of the next request, if it has any.
    rules: Option<Header>,
    /// Parts of arrays are mapped, which the last items have written.
    has_windows: bool,
    /// Only the first request, `Init`, has come. The next may be far away, and other workers start meanwhile.
    is_new: bool,
    /// Sends spans and events to the host.
    #[cfg(feature = "tracing")]
    forwarding: Option<Forwarding>,
    /// In a thread that runs no items itself.
    #[cfg(feature = "remote")]
    courier: Option<Courier>,
}

/// Sizes of memory that is kept for a while after its last use: fresh memory of the kernel takes ten times as long to write.
const KEPT_BYTES: RangeInclusive<usize> = 1 << 20..=1 << 30;
/// Time for which it is kept.
const KEEP_TIME: Duration = Duration::from_secs(1);

/// The threads of the host that a worker must still notify of its last replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unnotified {
    NoOne,
    /// The router, of requests that were taken back before their first item began: nobody waits for their ends.
    OfNothing,
    /// The router. There was no leader.
    Router,
    /// The leader, or the router if there is none.
    Host,
}

/// A complete request: in its record, or gathered from several.
struct Incoming {
    record: Record,
    is_long: bool,
}

impl<'w, const IS_THREAD: bool> RequestLoop<'w, IS_THREAD> {
    fn new(
        end: WorkerEnd,
        socket: Socket,
        hub: HubWorker,
        position: &'w Position<'w>,
        me: Standing<'w>,
        rss: Option<RssWatch>,
    ) -> Self {
        RequestLoop {
            end,
            socket,
            hub,
            position,
            place: None,
            me,
            rss,
            long: Vec::new(),
            unnotified: Unnotified::NoOne,
            rules: None,
            has_windows: false,
            is_new: true,
            #[cfg(feature = "tracing")]
            forwarding: None,
            #[cfg(feature = "remote")]
            courier: None,
        }
    }

    /// Answers the first request that runs something. Returns the exit code if there is none.
    fn serve_one(mut self) -> Result<(), i32> {
        loop {
            let incoming = self.next_request()?;
            if incoming.record.header.kind < Request::Quit.kind() {
                self.answer(&incoming);
                return Ok(());
            }
            self.obey(&incoming);
        }
    }

    /// Serves until the host says to leave. Returns the exit code.
    fn serve(mut self) -> i32 {
        loop {
            let incoming = match self.next_request() {
                Ok(incoming) => incoming,
                Err(code) => return code,
            };
            let header = incoming.record.header;
            if header.kind >= Request::Quit.kind() {
                if self.obey(&incoming) {
                    return 0;
                }
                continue;
            }
            let has = |flag| header.flags & flag != 0;
            // Before a request that may run long: the earlier replies must not wait for its end.
            let may_take_its_time = match self.unnotified {
                Unnotified::NoOne | Unnotified::OfNothing => false,
                Unnotified::Router => !has(request::QUIET),
                Unnotified::Host => !has(request::SILENT),
            };
            if may_take_its_time {
                self.hub.notify();
                // The host has been told of all replies so far, so the end of this request tells of itself alone.
                self.unnotified = Unnotified::NoOne;
            }
            self.is_new = header.kind == Request::Init.kind();
            let has_run = self.answer(&incoming);
            // A long request has been copied, and its records were released then. This one's bytes were read in place.
            if !incoming.is_long {
                self.end.requests.release(&incoming.record);
            }
            self.unnotified = if !has_run {
                // Not told by itself: the host would wake in front of the call for which the request was taken back.
                self.unnotified.max(Unnotified::OfNothing)
            } else if has(request::SILENT) {
                Unnotified::Host
            } else if has(request::QUIET) {
                self.notify_leader()
            } else {
                self.hub.notify();
                Unnotified::NoOne
            };
        }
    }

    /// A request that runs no items of a job. All of these but the last one fit into one record. True if it is the last.
    fn obey(&mut self, incoming: &Incoming) -> bool {
        let record = &incoming.record;
        let header = &record.header;
        if header.kind == Request::Place.kind() {
            // Kept until the next request, which it is about.
            self.place = Some(Place::of_header(header));
        } else if header.kind == Request::Rules.kind() {
            self.rules = Some(*header);
        } else if header.kind == Request::Attach.kind() {
            arrays::attach(&self.socket, header);
        } else if header.kind == Request::Forget.kind() {
            arrays::forget(header);
        } else {
            if self.unnotified != Unnotified::NoOne {
                self.hub.notify();
            }
            self.unmap_windows();
            // The finalizer, before the states: it may use them.
            if header.count > 0 {
                self.answer(incoming);
            }
            let failure = states::drop_all();
            if let Some(why) = failure.filter(|_| self.me.is_here()) {
                LastWords::State(why).leave(&self.end.progress);
            }
            return true;
        }
        self.end.requests.release(record);
        if header.kind == Request::Attach.kind() {
            // The host may hold back further descriptors until this one is taken.
            self.hub.notify();
        }
        false
    }

    /// No code of the user's but that of items that write parts gets to run while parts are mapped.
    #[inline]
    fn unmap_windows(&mut self) {
        if std::mem::take(&mut self.has_windows) {
            arrays::unmap_windows();
        }
    }

    /// Notifies the leader; the router stays unnotified if there is none.
    #[inline]
    fn notify_leader(&self) -> Unnotified {
        if self.hub.notify_leader() { Unnotified::NoOne } else { Unnotified::Router }
    }

    /// The next request, or the exit code of a worker that is to get none.
    #[inline]
    fn next_request(&mut self) -> Result<Incoming, i32> {
        self.long.clear();
        let mut first = None;
        loop {
            if IS_THREAD && !self.me.is_here() {
                return Err(0);
            }
            let Some(record) = self.end.requests.peek().map_err(|_| exit::BAD_LANE)? else {
                self.wait_record(first.is_some());
                continue;
            };
            if first.is_none() && !record.more() {
                return Ok(Incoming { record, is_long: false });
            }
            if first.is_none() {
                // All of it at once: a vector that grows is moved, and its large pages are split. If there is no memory for all, it
                // is missed below.
                let _ = self.long.try_reserve_exact(record.header.limit as usize * request::LENGTH_UNIT_BYTES);
                large_vec::prefer_large_pages(&mut self.long);
            }
            if large_vec::try_reserve(&mut self.long, record.len).is_err() {
                self.fail_to_allocate(first.unwrap_or(record).header.seq, record.len);
            }
            self.end.requests.copy(&record, &mut self.long);
            self.end.requests.release(&record);
            let more = record.more();
            let record = first.get_or_insert(record);
            if !more {
                return Ok(Incoming { record: *record, is_long: true });
            }
        }
    }

    /// Ends the process, since there is no memory for a request of which a part has come. Its first item counts as begun and
    /// so gets the blame: sent to another worker, it would end that one, too.
    #[cold]
    fn fail_to_allocate(&self, seq: u32, bytes: usize) -> ! {
        self.end.progress.begin_item(0, self.end.replies.unpublished_end(0));
        self.end.progress.claim(seq, 1);
        std::alloc::handle_alloc_error(Layout::array::<u8>(bytes).unwrap_or(Layout::new::<u8>()))
    }

    /// Waits for a record.
    #[inline]
    fn wait_record(&mut self, is_amid_request: bool) {
        if is_amid_request {
            // The host waits for the room that has just been released.
            self.hub.notify();
        }
        if self.unnotified == Unnotified::Host {
            self.unnotified = self.notify_leader();
        }
        // A new worker sleeps at once: spinning would take the CPU from the workers that are still starting.
        let backoff = if self.is_new { Backoff::NONE } else { Backoff::default() };
        if backoff.wait(|| self.end.requests.has_news()) {
            // The router is still not notified: a host that sends one request after the other takes the replies anyway.
            return;
        }
        // The worker is about to sleep, so from here time is cheap and memory is not.
        if !is_amid_request && !self.keeps_long() {
            self.long = Vec::new();
        }
        if self.unnotified != Unnotified::NoOne {
            self.unnotified = Unnotified::NoOne;
            self.hub.notify();
        }
        if !is_amid_request && self.long.capacity() > 0 {
            let WorkerEnd { requests, bell, .. } = &mut self.end;
            if bell.wait_until_for(KEEP_TIME, || requests.has_news() || !self.me.is_here()) {
                return;
            }
            self.long = Vec::new();
        }
        let WorkerEnd { requests, bell, .. } = &mut self.end;
        bell.wait_until(Backoff::NONE, || requests.has_news() || !self.me.is_here());
    }

    /// True if the memory of the last large message is kept for the next one. Not under limits that would count it.
    fn keeps_long(&self) -> bool {
        KEPT_BYTES.contains(&self.long.capacity()) && self.rss.is_none() && !has_memory_limit()
    }

    /// Answers a request. False if it was taken back as a whole.
    #[inline]
    fn answer(&mut self, incoming: &Incoming) -> bool {
        let header = incoming.record.header;
        let writes_parts = header.flags & request::PARTS != 0;
        if !writes_parts {
            self.unmap_windows();
        }
        self.has_windows = writes_parts;
        let WorkerEnd { requests, replies, progress, orders, bell } = &mut self.end;
        let is_raw = header.flags & request::RAW != 0;
        let input = if incoming.is_long && is_raw {
            Input::Raw(std::mem::take(&mut self.long))
        } else if incoming.is_long {
            Input::Framed(&self.long)
        } else {
            // SAFETY:
            // - the producer of a request ring is the host, which this process trusts;
            // - the record is released only after this function.
            let bytes = unsafe { requests.bytes(&incoming.record) };
            // SAFETY:
            // - the host keeps the segment until it has seen the end of the reply, which comes after this function.
            let in_arena = || unsafe { self.hub.arena().bytes(bytes) };
            // A request that was taken back before it was sent has an empty body.
            let bytes = if header.flags & request::IN_ARENA != 0 { in_arena().unwrap_or_default() } else { bytes };
            if is_raw { Input::Raw(bytes.to_vec()) } else { Input::Framed(bytes) }
        };
        // A panic that a task has caught is not the cause of a later death.
        progress.clear_last_words();
        let link = Link {
            requests,
            replies,
            progress,
            orders,
            bell,
            socket: &self.socket,
            hub: &self.hub,
            position: self.position,
            me: self.me,
        };
        let mut chunk = Chunk::new(link, (!incoming.is_long).then_some(incoming.record), &header, input);
        let rules = self.rules.take();
        if let Some(rules) = &rules {
            chunk.keep_to(rules);
        }
        #[cfg(feature = "tracing")]
        if let Some(forwarding) = &mut self.forwarding {
            let context = rules.map_or(0, |rules| rules.extra);
            forwarding.begin(header.extra, context, header.kind == Request::Init.kind());
        }
        if header.extra != request::NO_TASK
            && let Some(entry) = TASKS.get(header.extra as usize)
        {
            let place = self.place.take().unwrap_or_else(|| Place::of_request(&header));
            #[cfg(feature = "remote")]
            match self.courier.as_ref().filter(|_| IS_THREAD) {
                Some(courier) => courier.run(&mut chunk, entry, place),
                None => chunk.run(entry.run, place),
            }
            #[cfg(not(feature = "remote"))]
            chunk.run(entry.run, place);
        }
        #[cfg(feature = "tracing")]
        if let Some(forwarding) = &self.forwarding {
            forwarding.end();
        }
        let now = monotonic_ns();
        let is_over_rss = self.rss.as_mut().is_some_and(|rss| {
            rss.is_past(now, || {
                self.hub.arena().forget_pages();
                arrays::forget_pages();
            })
        });
        // A call of the worker's own is no item, and is never taken back.
        let has_run = chunk.has_begun() || header.kind != Request::Run.kind();
        let spare = chunk.end(now, if is_over_rss { reply::OVER_RSS } else { 0 });
        // The larger one is kept: a worker that sends large values may be sent large arguments, and needs one at a time.
        if spare.capacity() > self.long.capacity() {
            self.long = spare;
        }
        has_run
    }
}
