//! Items that send their values one by one, since times or reports belong to them.

use nix::errno::Errno;
use pool_ipc::sys::monotonic_ns;

use crate::lane::messages::ItemTimes;
use crate::process::memory_limit::has_memory_limit;
use crate::process::signals;
use crate::worker::chunk::{Chunk, stamp};
use crate::worker::reporting::Reporting;
use crate::worker::reports::Reporter;
use crate::worker::run::{ItemOutcome, OneInput};

impl Chunk<'_> {
    /// Runs the next item and returns its outcome, which is to be sent alone: times or reports belong to it.
    pub(super) fn run_alone(
        &mut self,
        args_size: Option<usize>,
        run: fn(OneInput<'_>, &mut dyn FnMut(bool)) -> ItemOutcome,
    ) -> Option<ItemOutcome> {
        let Chunk { link, input, raw, next, limit_ns, times, seq, reporting, errs, unpublished_bytes, .. } = self;
        let (progress, me) = (link.progress, link.me);
        stamp(progress, link.position, *limit_ns);
        if let Some(times) = times {
            *times = ItemTimes { begun_ns: monotonic_ns(), ran_ns: 0 };
            // The host reads it should the item cost the worker.
            progress.stamp(times.begun_ns);
        }
        progress.begin_item(*next, link.replies.unpublished_end(0));
        if has_memory_limit() {
            // Should the item die, this tells whether memory was refused to it; a refusal to an earlier item must not count.
            Errno::clear();
        }
        let input = match raw.take() {
            Some(bytes) => OneInput::Raw(bytes),
            None => OneInput::Framed(input.item(args_size)),
        };
        let mut has_run = |is_err| {
            if let Some(times) = times {
                times.ran_ns = monotonic_ns().saturating_sub(times.begun_ns).max(1);
            }
            if !me.is_here() {
                // A process that the task forked must not answer in the worker's place.
                signals::exit_copy();
            }
            *errs += u32::from(is_err);
        };
        // Timed items may well be unable to report, and pay nothing for it.
        let outcome = if *reporting == Reporting::Off {
            run(input, &mut has_run)
        } else {
            let (seq, item, bytes) = (*seq, *next, unpublished_bytes);
            let mut reporter = Reporter::new(link, seq, item, reporting, bytes);
            reporter.run(|| run(input, &mut has_run))
        };
        if !me.is_here() {
            return Some(ItemOutcome::stopped());
        }
        self.publish_reports();
        Some(outcome)
    }
}
