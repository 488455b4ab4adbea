//! A map of items that come encoded, and of which the outcomes are taken encoded.

use std::sync::Arc;
use std::time::Instant;

use super::{BLOCK_BYTES, Feed, Source};
use crate::codec::frames;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::job::block::Block;
use crate::job::completion::{Part, Waiter};
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
pub(crate) struct EncodedMap(Feed);

impl EncodedMap {
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
        groups: &[EncodedItems<'_>],
        (first, attempt, seed): (u64, u32, Option<u64>),
    ) -> Result<EncodedMap> {
        let completion = host.open_map(spec, entry, None)?;
        let items = groups.iter().map(|group| u64::from(group.items)).sum();
        host.resume(completion.job(), first..first.saturating_add(items), attempt, seed);
        let mut feed = Feed::new(host, spec, completion, entry, size);
        let mut next = first;
        for EncodedItems { items, is_raw, bytes } in groups {
            let block = Block::new(next, *items, size, Content::Own(bytes.to_vec()));
            feed.hand_over(if *is_raw { block.raw() } else { block });
            next += u64::from(*items);
        }
        feed.end(Source::Ended);
        feed.seal_if_done();
        Ok(EncodedMap(feed))
    }

    /// Waits for the end; false if the deadline comes first.
    pub(crate) fn wait(&mut self, deadline: Instant) -> bool {
        let feed = &mut self.0;
        while feed.has_rest() {
            if !feed.wait_for_turn(Some(deadline), false) {
                return false;
            }
            feed.hand_over_items(None);
            feed.seal_if_done();
        }
        let completion = &feed.completion;
        let register = |thread| drop(completion.set_waiter(Waiter::AtEnd(thread)));
        feed.host.wait(Some(deadline), || completion.is_finished(), register)
    }

    pub(crate) fn cancel(&self) {
        self.0.host.cancel(self.0.completion.job(), None);
    }

    /// The outcomes of a map that has ended, in the order of the items, and the reason why others are missing.
    pub(crate) fn take(self) -> (Vec<Part>, Option<Error>) {
        let mut parts: Vec<_> = self.0.completion.take().into_iter().collect();
        parts.sort_by_key(|part| part.first);
        (parts, self.0.completion.rest())
    }
}
