//! What the host keeps of a job while it is not done: its arguments, and where its outcome goes.

use crate::blocks::Blocks;
use crate::bytes::Bytes;
use crate::error::Error;
use crate::landing::Landing;
use crate::slot::{Part, SlotRef, Waiter};
use crate::table::Entry;

#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) entry: &'static Entry,
    /// Nanoseconds that each item may take, or 0.
    pub(crate) time_limit: u64,
    pub(crate) blocks: Blocks,
    /// Where the outcome of a map goes; that of a call goes to its slot in the blocks.
    map: Option<Map>,
}

#[derive(Debug)]
struct Map {
    slot: SlotRef,
    /// Where values are put, unless they have to be decoded.
    landing: Option<Box<dyn Landing>>,
}

/// A call on its way into a job.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) entry: &'static Entry,
    pub(crate) args: Bytes,
    /// Bytes of the arguments, if those of all calls of the task have as many.
    pub(crate) args_size: Option<usize>,
    /// The arguments are the bytes of the only one, without a frame.
    pub(crate) whole: bool,
}

/// What came of an outcome that was delivered.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) waiter: Option<Waiter>,
    /// A call ended with it.
    pub(crate) ends_call: bool,
}

impl Payload {
    pub(crate) fn of_map(
        entry: &'static Entry,
        time_limit: u64,
        slot: SlotRef,
        landing: Option<Box<dyn Landing>>,
    ) -> Box<Self> {
        Box::new(Payload { entry, time_limit, blocks: Blocks::default(), map: Some(Map { slot, landing }) })
    }

    pub(crate) fn of_calls(entry: &'static Entry, time_limit: u64) -> Box<Self> {
        Box::new(Payload { entry, time_limit, blocks: Blocks::default(), map: None })
    }

    /// Whether its items are those of one map.
    pub(crate) fn is_map(&self) -> bool {
        self.map.is_some()
    }

    /// Where its values land, if they do.
    #[inline]
    pub(crate) fn landing(&mut self) -> Option<&mut (dyn Landing + 'static)> {
        self.map.as_mut()?.landing.as_deref_mut()
    }

    /// Takes the outcome of some items; nothing if it is of a call that was settled before.
    pub(crate) fn deliver(&mut self, part: Part) -> Option<Delivered> {
        let (first, items) = (part.first, part.items);
        let Some(map) = &self.map else {
            let waiter = self.blocks.complete(first, Part { first: 0, ..part })?;
            return Some(Delivered { waiter, ends_call: true });
        };
        let waiter = map.slot.deliver(part);
        self.blocks.settled(first, items);
        Some(Delivered { waiter, ends_call: false })
    }

    /// Nothing more will come; `rest` says why, if items are missing. Who is to be told, of each map or call that ends
    /// with it.
    pub(crate) fn finish(self, rest: Option<&Error>) -> impl Iterator<Item = Option<Waiter>> {
        let map = self.map.map(|Map { slot, landing }| slot.finish(rest.map(Error::duplicate), landing));
        let calls = self.blocks.into_slots().map(move |slot| slot.finish(rest.map(Error::duplicate), None));
        map.into_iter().chain(calls)
    }
}
