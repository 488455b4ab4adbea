//! What a submission is made of: its arguments on the way out ([`Payload`]), its outcome on the way back ([`Slot`]).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::Thread;

use crate::bytes::{Bytes, Cut};
use crate::encoder::FRAME;
use crate::error::Error;
use crate::landing::Landing;
use crate::table::Entry;

/// The host's side of a job while it is not done.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) slot: Arc<Slot>,
    pub(crate) entry: &'static Entry,
    /// Each item has its index in errors; a single call has none.
    pub(crate) is_map: bool,
    /// Nanoseconds that each item may take, or 0.
    pub(crate) time_limit: u64,
    /// The one argument of the single call is its bytes, without a frame.
    pub(crate) whole: bool,
    pub(crate) args: Args,
}

#[derive(Debug)]
pub(crate) enum Args {
    /// Of a single call.
    One(Bytes),
    /// Likewise, which a lane has not finished sending.
    Shared(Cut),
    /// Of the items of a map.
    Many(Box<Blocks>),
}

/// The arguments of a map's items that are not settled.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// In order.
    pub(crate) queue: VecDeque<Block>,
    /// Memory of those that are settled, which the caches may still know, for further ones.
    pub(crate) spare: Vec<Vec<u8>>,
    /// Where values are put, unless they have to be decoded.
    pub(crate) landing: Option<Box<dyn Landing>>,
}

/// Blocks whose memory is kept: when all items have been fed nobody takes it any more, and it is to go.
const SPARE_MAX: usize = 8;

/// Encoded arguments of consecutive items.
#[derive(Debug)]
pub(crate) struct Block {
    first: u64,
    items: u32,
    /// Items that are not settled.
    left: u32,
    /// Bytes of each item; `None` if each stands behind its length.
    item_size: Option<usize>,
    bytes: Arc<Vec<u8>>,
    /// An item and where it begins: chunks are mostly cut one after the other.
    cursor: (u32, usize),
}

impl Block {
    pub(crate) fn new(first: u64, items: u32, item_size: Option<usize>, bytes: Vec<u8>) -> Self {
        Block { first, items, left: items, item_size, bytes: Arc::new(bytes), cursor: (0, 0) }
    }

    fn holds(&self, item: u64) -> bool {
        (self.first..self.first + u64::from(self.items)).contains(&item)
    }

    /// Where the item begins.
    fn offset(&mut self, item: u32) -> usize {
        if let Some(size) = self.item_size {
            return item as usize * size;
        }
        if item < self.cursor.0 {
            self.cursor = (0, 0);
        }
        let (mut at_item, mut at) = self.cursor;
        while at_item < item {
            let frame = self.bytes[at..at + FRAME].try_into().expect("a frame's length");
            at += FRAME + u32::from_le_bytes(frame) as usize;
            at_item += 1;
        }
        self.cursor = (at_item, at);
        at
    }

    fn cut(&mut self, item: u64, items: u32) -> Cut {
        let item = (item - self.first) as u32;
        let start = self.offset(item);
        let end = self.offset(item + items);
        Cut { bytes: Arc::clone(&self.bytes), range: start..end }
    }
}

impl Payload {
    /// The bytes of these items, to be kept elsewhere, too. Those of a map were fed together.
    pub(crate) fn cut(&mut self, first: u64, items: u32) -> Option<Cut> {
        match &mut self.args {
            Args::One(bytes) => {
                let cut = Cut::from(std::mem::replace(bytes, Bytes::EMPTY).into_vec());
                self.args = Args::Shared(cut.clone());
                Some(cut)
            }
            Args::Shared(cut) => Some(cut.clone()),
            Args::Many(blocks) => {
                let block = blocks.queue.iter_mut().find(|block| block.holds(first))?;
                Some(block.cut(first, items))
            }
        }
    }

    /// Where its values land, if they do.
    #[inline]
    pub(crate) fn landing(&mut self) -> Option<&mut (dyn Landing + 'static)> {
        match &mut self.args {
            Args::Many(blocks) => blocks.landing.as_deref_mut(),
            Args::One(_) | Args::Shared(_) => None,
        }
    }

    /// Nothing more will come; see [`Slot::finish`].
    pub(crate) fn finish(self, rest: Option<Error>) -> Option<Waiter> {
        let landing = match self.args {
            Args::Many(mut blocks) => blocks.landing.take(),
            Args::One(_) | Args::Shared(_) => None,
        };
        self.slot.finish(rest, landing)
    }

    /// These items are settled: their arguments can go when their block is through.
    pub(crate) fn settled(&mut self, first: u64, items: u32) {
        let Args::Many(blocks) = &mut self.args else { return };
        let Some(at) = blocks.queue.iter().position(|block| block.holds(first)) else { return };
        let block = &mut blocks.queue[at];
        block.left = block.left.saturating_sub(items);
        if block.left == 0
            && let Some(block) = blocks.queue.remove(at)
            && blocks.spare.len() < SPARE_MAX
            && let Ok(bytes) = Arc::try_unwrap(block.bytes)
        {
            blocks.spare.push(bytes);
        }
    }
}

/// Where outcomes arrive, and who waits for them.
#[derive(Debug)]
pub(crate) struct Slot {
    finished: AtomicBool,
    fresh: AtomicBool,
    inbox: Mutex<Inbox>,
}

#[derive(Debug, Default)]
struct Inbox {
    parts: Parts,
    /// Why the items that have not been delivered never will be.
    rest: Option<Error>,
    waiter: Option<Waiter>,
    /// Nobody will look any more.
    abandoned: bool,
}

/// The outcome of consecutive items.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) first: u64,
    pub(crate) items: u32,
    /// The one value is its bytes, without a frame.
    pub(crate) whole: bool,
    pub(crate) values: Result<Bytes, Error>,
}

/// No allocation for the one part of a single call.
#[derive(Debug, Default)]
pub(crate) enum Parts {
    #[default]
    None,
    One(Part),
    Many(Vec<Part>),
    /// Of a map that is finished.
    Landed(Box<Landed>),
}

/// Values that have landed, and what else there was.
#[derive(Debug)]
pub(crate) struct Landed {
    pub(crate) landing: Box<dyn Landing>,
    pub(crate) others: Vec<Part>,
}

impl Parts {
    fn push(&mut self, part: Part) {
        match std::mem::take(self) {
            Parts::None => *self = Parts::One(part),
            Parts::One(first) => *self = Parts::Many(vec![first, part]),
            Parts::Many(mut parts) => {
                parts.push(part);
                *self = Parts::Many(parts);
            }
            Parts::Landed(mut landed) => {
                landed.others.push(part);
                *self = Parts::Landed(landed);
            }
        }
    }
}

impl IntoIterator for Parts {
    type Item = Part;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Part>, std::vec::IntoIter<Part>>;

    fn into_iter(self) -> Self::IntoIter {
        match self {
            Parts::None => None.into_iter().chain(Vec::new()),
            Parts::One(part) => Some(part).into_iter().chain(Vec::new()),
            Parts::Many(parts) => None.into_iter().chain(parts),
            Parts::Landed(landed) => None.into_iter().chain(landed.others),
        }
    }
}

/// To be told of an outcome.
pub(crate) enum Waiter {
    Thread(Thread),
    Task(Waker),
    /// One of several jobs, known by this number there.
    OneOf(Arc<Arrivals>, usize),
    /// Only when all is done.
    Callback(Box<dyn FnOnce() + Send>),
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Waiter::Thread(_) => "Thread",
            Waiter::Task(_) => "Task",
            Waiter::OneOf(..) => "OneOf",
            Waiter::Callback(_) => "Callback",
        })
    }
}

impl Slot {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Slot {
            finished: AtomicBool::new(false),
            fresh: AtomicBool::new(false),
            inbox: Mutex::new(Inbox::default()),
        })
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the outcome of some items. The waiter, if it is to be told now.
    pub(crate) fn deliver(&self, part: Part) -> Option<Waiter> {
        let mut inbox = self.inbox();
        if inbox.abandoned {
            return None;
        }
        inbox.parts.push(part);
        self.fresh.store(true, Ordering::Release);
        inbox.waiter.take_if(|waiter| matches!(waiter, Waiter::Thread(_)))
    }

    /// Nothing more will come; `rest` says why, if items are missing. This is the one place where a job ends.
    pub(crate) fn finish(&self, rest: Option<Error>, landing: Option<Box<dyn Landing>>) -> Option<Waiter> {
        let mut inbox = self.inbox();
        inbox.rest = rest;
        if let Some(landing) = landing {
            let others = std::mem::take(&mut inbox.parts).into_iter().collect();
            inbox.parts = Parts::Landed(Box::new(Landed { landing, others }));
        }
        self.finished.store(true, Ordering::Release);
        inbox.waiter.take()
    }

    /// Whether nothing more will come.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// Whether there is something to [take](Slot::take), or never will be.
    pub(crate) fn has_news(&self) -> bool {
        self.fresh.load(Ordering::Acquire) || self.is_finished()
    }

    /// What has arrived.
    pub(crate) fn take(&self) -> Parts {
        let mut inbox = self.inbox();
        self.fresh.store(false, Ordering::Relaxed);
        std::mem::take(&mut inbox.parts)
    }

    /// Why the items that were not delivered never will be.
    pub(crate) fn rest(&self) -> Option<Error> {
        self.inbox().rest.as_ref().map(Error::duplicate)
    }

    /// Whether all that has arrived are values, and nothing is missing.
    pub(crate) fn is_success(&self) -> bool {
        let inbox = self.inbox();
        let all_values = match &inbox.parts {
            Parts::None => true,
            Parts::One(part) => part.values.is_ok(),
            Parts::Many(parts) => parts.iter().all(|part| part.values.is_ok()),
            Parts::Landed(landed) => landed.others.iter().all(|part| part.values.is_ok()),
        };
        inbox.rest.is_none() && all_values
    }

    /// Whoever is to be told next, in place of anybody before. Given back if there is nothing to wait for.
    pub(crate) fn set_waiter(&self, waiter: Waiter) -> Result<(), Waiter> {
        let mut inbox = self.inbox();
        let news = match waiter {
            Waiter::Thread(_) => self.has_news(),
            Waiter::Task(_) | Waiter::OneOf(..) | Waiter::Callback(_) => self.is_finished(),
        };
        if news {
            return Err(waiter);
        }
        inbox.waiter = Some(waiter);
        Ok(())
    }

    /// What arrives from now on is dropped.
    pub(crate) fn abandon(&self) {
        let mut inbox = self.inbox();
        inbox.abandoned = true;
        inbox.waiter = None;
        inbox.parts = Parts::None;
    }
}

/// Numbers of jobs in the order in which these finish, and the thread that waits for the next.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    state: Mutex<(VecDeque<usize>, Option<Thread>)>,
}

impl Arrivals {
    fn state(&self) -> MutexGuard<'_, (VecDeque<usize>, Option<Thread>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, number: usize) {
        let mut state = self.state();
        state.0.push_back(number);
        if let Some(thread) = state.1.take() {
            thread.unpark();
        }
    }

    pub(crate) fn pop(&self) -> Option<usize> {
        self.state().0.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state().0.is_empty()
    }

    pub(crate) fn set_thread(&self, thread: Thread) {
        self.state().1 = Some(thread);
    }
}
