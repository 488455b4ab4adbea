//! Answers to a chunk of which the items ran on another machine.

use std::time::Duration;

use pool_ipc::sys::monotonic_ns;

use super::{Chunk, PUBLISH_BYTES};
use crate::codec::frames;
use crate::error::ErrorKind;
use crate::lane::messages::{Failure, ItemTimes, ReplyKind, reply, request};
use crate::lane::parcels::Parcels;
use crate::priority::Priority;
use crate::wire;

impl Chunk<'_> {
    /// Claims all of its items, for they leave together. Returns how many the host has left here.
    pub(in crate::worker) fn claim_all(&mut self) -> u32 {
        // As `claim`: first the claim, then a look at the limit.
        self.link.progress.claim(self.seq, self.items);
        // A request of several records has no limit that the host could lower.
        if let Some(record) = &self.record {
            self.items = self.items.min(self.link.requests.limit(record));
        }
        self.claimed = self.items;
        self.link.progress.stamp(self.begun_ns);
        self.mark_item();
        self.items
    }

    /// The number of the request.
    pub(in crate::worker) fn seq(&self) -> u32 {
        self.seq
    }

    /// Whether an item names an array.
    pub(in crate::worker) fn names_arrays(&self) -> bool {
        self.flags & request::PARTS != 0
    }

    /// The limits of each item.
    pub(in crate::worker) fn limits(&self) -> wire::Limits {
        let grace = Duration::from_nanos(self.grace_ns);
        // The host counts the grace as the last part of the limit.
        let timeout = (self.limit_ns > 0).then(|| Duration::from_nanos(self.limit_ns).saturating_sub(grace));
        wire::Limits { timeout, grace }
    }

    /// The priority of the items.
    pub(in crate::worker) fn priority(&self) -> Priority {
        self.priority
    }

    /// Dates the chunk as one that ran for so long until now: the host makes its chunks by that.
    pub(in crate::worker) fn date(&mut self, ran: Duration) {
        let ran_ns = u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX);
        self.begun_ns = monotonic_ns().saturating_sub(ran_ns);
        if let Some(times) = &mut self.times {
            // Each item ran for its share, since nothing more is known of it.
            let ran_ns = (ran_ns / u64::from(self.items.max(1))).max(1);
            *times = ItemTimes { begun_ns: self.begun_ns, ran_ns };
        }
    }

    /// The next items have these values, which stand one behind the other. False if this is no worker any longer.
    pub(in crate::worker) fn put_values(&mut self, bytes: &[u8], items: u32, size: Option<usize>) -> bool {
        let (mut rest, mut left) = (bytes, items);
        // Values of calls are told apart, and so are those that are timed.
        let most = if self.sends_alone() || self.flags & request::SINGLY != 0 { 1 } else { items };
        while left > 0 {
            self.make_room();
            if !self.link.me.is_here() {
                self.give_up();
                return false;
            }
            let begun = self.unpublished_bytes;
            let room = self.link.replies.spare(0).get_mut(begun..).unwrap_or_default();
            let fitting = frames::fitting(rest, left.min(most), size, room.len().min(PUBLISH_BYTES));
            match fitting.filter(|_| self.times.is_none()) {
                Some((count, length)) => {
                    room[..length].copy_from_slice(&rest[..length]);
                    self.unpublished_items += count;
                    self.unpublished_bytes += length;
                    (rest, left) = (&rest[length..], left - count);
                    self.next += count;
                }
                None => {
                    // Never more than there are: the caller has counted them.
                    let length = frames::length(rest, 1, size).unwrap_or(rest.len());
                    self.send_value(rest[..length].to_vec(), 0);
                    (rest, left) = (&rest[length..], left - 1);
                    self.next += 1;
                }
            }
        }
        true
    }

    /// The next item has this value, which is bytes or text.
    pub(in crate::worker) fn put_raw(&mut self, bytes: Vec<u8>) {
        self.send_value(bytes, reply::RAW);
        self.next += 1;
    }

    /// The next item has this value, which names the arrays.
    pub(in crate::worker) fn put_naming(
        &mut self,
        bytes: Vec<u8>,
        arrays: &[wire::Array],
        own: &[wire::Array],
        parcels: &Parcels,
    ) {
        // As those of any worker: first the arrays, then the value.
        self.publish_values();
        for array in arrays {
            let name = array.name();
            let (kind, received) = match array.received(own) {
                Ok(received) => received,
                Err(error) => {
                    let text = format!("an array of the result: {error}");
                    return self.put_failure(wire::Failure::new(ErrorKind::System, text));
                }
            };
            parcels.answer(received);
            self.send_record(ReplyKind::Array.kind(), kind as u32, name);
        }
        self.send_value(bytes, 0);
        self.next += 1;
    }

    /// The next item has no value.
    pub(in crate::worker) fn put_failure(&mut self, failure: wire::Failure) {
        self.publish_values();
        let ran = failure.ran().and_then(|ran| u64::try_from(ran.as_nanos()).ok());
        let failure = Failure::Elsewhere(Box::new(failure));
        let bytes = match ran {
            Some(ran) => postcard::to_allocvec(&(failure, ran)),
            None => postcard::to_allocvec(&failure),
        };
        // As in `fail`: numbers and text can always be written.
        self.send(ReplyKind::Failed.kind(), 0, &bytes.unwrap_or_default());
        self.next += 1;
    }
}
