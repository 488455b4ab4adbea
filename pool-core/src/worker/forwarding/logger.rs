//! The logger of a worker: it writes records of the crate `log` to the host.

use log::{Level, LevelFilter, Log, Metadata};

use super::channel::Channel;
use super::record::{Budget, Callsite, Parent, Record, level_number};
use super::subscriber::current;

pub(super) struct Logger(pub(super) &'static Channel);

impl Logger {
    /// Becomes the logger of this process, unless it has one.
    pub(super) fn install(self, level: tracing::level_filters::LevelFilter) {
        if log::set_boxed_logger(Box::new(self)).is_ok() {
            // Both count from errors, the most important ones.
            // `log` does not ask a logger for its level, so it is set beside it.
            let filter = LevelFilter::iter().nth(level_number(level).into()).unwrap_or(LevelFilter::Trace);
            log::set_max_level(filter);
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut budget = Budget::new();
        // The message last: it is the longest, and may be cut.
        let callsite = Callsite {
            file: record.file().map(|file| budget.text(file)),
            line: record.line(),
            module: record.module_path().map(|module| budget.text(module)),
            ..Callsite::of_log(record.level() as u8, budget.text(record.target()))
        };
        let parent = current().map_or_else(|| self.0.item(), Parent::Span);
        self.0.send(&Record::Log { callsite, parent, message: budget.format(*record.args()) });
    }

    fn flush(&self) {}
}

const _: () = assert!(Level::Error as u8 == 1 && Level::Trace as u8 == 5);
