//! A job while it is not done: its arguments, and the completions for its outcome.

pub(crate) mod batch;
pub(crate) mod block;
pub(crate) mod blocks;
pub(crate) mod completion;
pub(crate) mod content;
pub(crate) mod origin;
pub(crate) mod owner;
pub(crate) mod reports;
pub(crate) mod status;
pub(crate) mod waiters;

use std::sync::Arc;

use pool_ipc::Header;

use crate::codec::number_buffer::ResultBuffer;
use crate::error::Error;
use crate::job::batch::CompletionRef;
use crate::job::blocks::Blocks;
use crate::job::completion::Part;
use crate::job::reports::Reports;
use crate::job::waiters::Waiters;
use crate::lane::messages::{Request, rules};
use crate::priority::Priority;
use crate::scheduler::JobSpec;
use crate::task::table::Entry;
use crate::units::Nanos;

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) entry: &'static Entry,
    /// Nanoseconds that each item may take, or 0.
    pub(crate) time_limit: u64,
    /// The seed of the submission, if it has one.
    pub(crate) seed: Option<u64>,
    pub(crate) blocks: Blocks,
    /// Present for a map only. The completions of calls are in the blocks.
    map: Option<Map>,
    /// Only maps that a future awaits have one.
    pub(crate) look: Option<Look>,
    /// Nanoseconds of the time limit that are grace, and that a cancelled item has; 0 if there is none.
    pub(crate) grace: Nanos,
    /// The number of the span in which it was submitted, or 0.
    #[cfg(feature = "tracing")]
    pub(crate) context: u32,
    /// Where its items' reports go, if they may report.
    pub(crate) reports: Option<Arc<Reports>>,
}

/// The next look for results of a map that workers hold back; see `engine/held.rs`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) at: Nanos,
    /// The pause before it.
    pub(crate) pause: Nanos,
}

#[derive(Debug)]
struct Map {
    completion: CompletionRef,
    /// Where values are put, unless they have to be decoded.
    result_buffer: Option<Box<dyn ResultBuffer>>,
}

/// The consequences of a delivered outcome.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) waiters: Option<Waiters>,
    /// A call ended with it.
    pub(crate) ends_call: bool,
}

impl Job {
    pub(crate) fn of_map(
        entry: &'static Entry,
        spec: &JobSpec,
        completion: CompletionRef,
        result_buffer: Option<Box<dyn ResultBuffer>>,
    ) -> Box<Self> {
        Box::new(Job { map: Some(Map { completion, result_buffer }), ..Job::new(entry, spec) })
    }

    fn new(entry: &'static Entry, spec: &JobSpec) -> Self {
        Job {
            entry,
            time_limit: spec.timeout.unwrap_or(0),
            seed: spec.seed,
            blocks: Blocks::default(),
            map: None,
            look: None,
            grace: spec.grace,
            #[cfg(feature = "tracing")]
            context: spec.context,
            reports: None,
        }
    }

    /// `spare` is memory for it, if there is some.
    #[inline]
    pub(crate) fn of_calls(entry: &'static Entry, spec: &JobSpec, spare: Option<Box<Self>>) -> Box<Self> {
        let Some(mut spare) = spare else { return Box::new(Job::new(entry, spec)) };
        // All else is as a new record would have it: its blocks were drained when the last job ended.
        (spare.entry, spare.time_limit, spare.seed) = (entry, spec.timeout.unwrap_or(0), spec.seed);
        spare.grace = spec.grace;
        #[cfg(feature = "tracing")]
        {
            spare.context = spec.context;
        }
        spare
    }

    /// True if no calls are left and its buffers are small enough to be reused.
    #[inline]
    pub(crate) fn is_reusable(&self) -> bool {
        // A record that has grown would keep the memory of a burst for as long as the pool lives.
        self.map.is_none() && self.blocks.is_small()
    }

    /// Whether its items are those of one map.
    #[inline]
    pub(crate) fn is_map(&self) -> bool {
        self.map.is_some()
    }

    /// Whether its requests have [rules].
    #[inline]
    pub(crate) fn has_rules(&self) -> bool {
        self.reports.is_some() || self.grace > 0 || self.context() > 0
    }

    #[inline]
    fn context(&self) -> u32 {
        #[cfg(feature = "tracing")]
        return self.context;
        #[cfg(not(feature = "tracing"))]
        0
    }

    /// The rules of its request `seq`.
    #[cold]
    pub(crate) fn rules(&self, seq: u32, priority: Priority) -> Header {
        let flags = rules::of_priority(priority) | if self.reports.is_some() { rules::REPORTS } else { 0 };
        Header { kind: Request::Rules.kind(), flags, seq, extra: self.context(), info: self.grace, ..Header::default() }
    }

    /// The buffer for its values, if it has one.
    #[inline]
    pub(crate) fn result_buffer(&mut self) -> Option<&mut (dyn ResultBuffer + 'static)> {
        self.map.as_mut()?.result_buffer.as_deref_mut()
    }

    /// Takes the outcome of some items. Returns `None` for a call that was settled before.
    #[inline]
    pub(crate) fn deliver(&mut self, part: Part) -> Option<Delivered> {
        let (first, items) = (part.first, part.items);
        let Some(map) = &self.map else {
            // Each call has a completion of its own, in which it is the first item.
            let waiters = self.blocks.complete(first, |completion| completion.complete(Part { first: 0, ..part }))?;
            return Some(Delivered { waiters, ends_call: true });
        };
        let waiters = map.completion.deliver(part);
        self.blocks.settled(first, items);
        Some(Delivered { waiters, ends_call: false })
    }

    /// Ends the job; `rest` says why, if items are missing. `each` gets each map or call that ends with it: its number among
    /// the calls of the job, and its waiters.
    #[inline]
    pub(crate) fn finish(&mut self, rest: Option<&Error>, mut each: impl FnMut(u64, Option<Waiters>)) {
        let why = || rest.map(Error::duplicate);
        match &mut self.map {
            Some(Map { completion, result_buffer }) => {
                each(0, completion.finish(why(), result_buffer.take()));
                // A record of calls is not cleared: it is drained below, and reused.
                self.blocks.clear();
            }
            None => self.blocks.drain_completions(|call, completion| each(call, completion.finish(why(), None))),
        }
    }
}
