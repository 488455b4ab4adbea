//! A map of items that come encoded, and of which the outcomes are taken encoded.

use std::sync::Arc;
use std::time::Instant;

use super::{BLOCK_BYTES, Feed, Source};
use crate::attachments::Attachments;
use crate::codec::frames;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::job::block::Block;
use crate::job::completion::Part;
use crate::job::content::Content;
use crate::job::owner::Owner;
use crate::scheduler::JobSpec;
use crate::task::table::Entry;

/// Encoded arguments of consecutive items.
pub(crate) struct EncodedItems<'b> {
    pub(crate) items: u32,
    /// They are the only argument of the only item, without a frame.
    pub(crate) is_raw: bool,
    pub(crate) bytes: &'b [u8],
}

impl<'b> EncodedItems<'b> {
    /// Cuts them into groups of at most `most` items, and of so many bytes that workers can share them; `None` if the bytes are not
    /// those of so many items.
    pub(crate) fn cut(&self, size: Option<usize>, most: u32) -> Option<Vec<EncodedItems<'b>>> {
        let EncodedItems { items, is_raw, bytes } = *self;
        if is_raw {
            return (items == 1).then(|| vec![EncodedItems { ..*self }]);
        }
        let (mut left, mut rest, mut groups) = (items, bytes, Vec::new());
        while left > 0 {
            let (items, length) = match frames::fitting(rest, left.min(most), size, BLOCK_BYTES) {
                Some(found) => found,
                // A long one travels alone.
                None => (1, frames::length(rest, 1, size)?),
            };
            let (bytes, behind) = rest.split_at(length);
            groups.push(EncodedItems { items, is_raw, bytes });
            (left, rest) = (left - items, behind);
        }
        rest.is_empty().then_some(groups)
    }
}

/// The map. Dropping it before its end drops its items.
///
/// It hands over few items at first, and more as these are done: the others can still be given back.
pub(crate) struct EncodedMap<'b> {
    feed: Feed,
    /// Items that have not been handed over.
    groups: std::vec::IntoIter<EncodedItems<'b>>,
    /// Items that should be out.
    ahead: u64,
    /// The index of the next item to be handed over.
    next: u64,
    /// Items that are out.
    out: u64,
    parts: Vec<Part>,
    /// The arrays that the items name.
    attachments: Attachments,
}

/// The share of the items that is handed over at first.
const FIRST_SHARE: u32 = 16;

impl<'b> EncodedMap<'b> {
    /// Takes the items, of which the first has the index `first`. Earlier attempts at them, and the seed of their submission, were
    /// another pool's.
    ///
    /// # Errors
    ///
    /// The reason why the pool takes none.
    pub(crate) fn submit(
        host: &Arc<Host>,
        spec: JobSpec,
        (entry, size): (&'static Entry, Option<usize>),
        groups: Vec<EncodedItems<'b>>,
        attachments: Attachments,
        (first, attempt, seed): (u64, u32, Option<u64>),
    ) -> Result<EncodedMap<'b>> {
        let completion = host.open_map(spec, entry, None)?;
        let items: u64 = groups.iter().map(|group| u64::from(group.items)).sum();
        host.resume(completion.job(), first..first.saturating_add(items), attempt, seed);
        let feed = Feed::new(host, spec, completion, entry, size);
        // Two for each worker, so that none waits for this thread.
        let ahead = (items / u64::from(FIRST_SHARE)).max(2 * host.workers() as u64);
        let groups = groups.into_iter();
        let mut map = EncodedMap { feed, groups, ahead, next: first, out: 0, parts: Vec::new(), attachments };
        map.hand_over();
        Ok(map)
    }

    /// The most items of a group.
    pub(crate) fn group_items(items: u32) -> u32 {
        items.div_ceil(FIRST_SHARE)
    }

    fn hand_over(&mut self) {
        let EncodedMap { feed, groups, ahead, next, out, attachments, .. } = self;
        while *out < *ahead
            && let Some(EncodedItems { items, is_raw, bytes }) = groups.next()
        {
            let mut block = Block::new(*next, items, feed.args_size, Content::Own(bytes.to_vec()));
            block.attach(attachments);
            feed.hand_over(if is_raw { block.raw() } else { block });
            (*next, *out) = (*next + u64::from(items), *out + u64::from(items));
        }
        if groups.as_slice().is_empty() && !feed.has_ended() {
            feed.end(Source::Ended);
            feed.seal_if_done();
        }
    }

    /// Waits for the end; false if the deadline comes first.
    pub(crate) fn wait(&mut self, deadline: Instant) -> bool {
        loop {
            // Asked first: the last outcomes come before the end.
            let is_finished = self.feed.completion.is_finished();
            for part in self.feed.completion.take() {
                self.out = self.out.saturating_sub(part.items.into());
                // As many more as were done: the longer it goes well, the more may be out.
                self.ahead = self.ahead.saturating_add(u64::from(part.items) / 2);
                self.parts.push(part);
            }
            if is_finished {
                return true;
            }
            // At half, so that no worker waits, and most items can still be given back.
            if 2 * self.out < self.ahead {
                self.hand_over();
            }
            let is_there = if self.feed.has_rest() {
                let is_there = self.feed.wait_for_turn(Some(deadline), true);
                self.feed.hand_over_items(None);
                self.feed.seal_if_done();
                is_there
            } else {
                self.feed.wait(Some(deadline))
            };
            if !is_there {
                return false;
            }
        }
    }

    /// Hands over no more items.
    pub(crate) fn give_back(&mut self) {
        self.groups = Vec::new().into_iter();
        self.hand_over();
    }

    pub(crate) fn cancel(&mut self) {
        self.give_back();
        self.feed.host.cancel(self.feed.completion.job(), None);
    }

    /// The outcomes of a map that has ended, in the order of the items, and the reason why others are missing.
    pub(crate) fn take(mut self) -> (Vec<Part>, Option<Error>) {
        // Chunks end in any order, and the other machine expects the order of the items.
        self.parts.sort_by_key(|part| part.first);
        (self.parts, self.feed.completion.rest())
    }
}
