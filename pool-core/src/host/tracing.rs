//! The thread that writes the trace.

use std::fs::File;
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use pool_ipc::sys::monotonic_ns;

use super::Host;
use crate::observe::log::Reader;
use crate::observe::trace::TraceWriter;
use crate::units;

/// Pause between two batches: that much of a timeline is lost at most with a host that is killed.
const PAUSE: Duration = Duration::from_millis(20);

/// Bytes of a trace, at most: about two million blocks. Viewers have their limits, too.
pub(crate) const TRACE_BYTES_MAX: u64 = 256 << 20;

impl Host {
    /// Writes the trace until the pool is over, the file is large enough, or it cannot be written.
    pub(crate) fn write_trace(&self, pool: &str, mut file: File, bytes_max: u64) {
        let (memory_limit, begun_at) = self.with(|engine| (engine.memory_limit(), engine.begun_at()));
        let mut writer = TraceWriter::new(pool, std::process::id(), begun_at, memory_limit);
        let (mut memory, mut written) = (Vec::new(), 0);
        while let Some(mut batch) = self.read_log(Reader::Trace, &mut memory) {
            batch.records.drain(..).for_each(|record| writer.record(record));
            // At the end of the batch, where the log had no room.
            if batch.lost > 0 {
                writer.lost(batch.lost, monotonic_ns());
            }
            memory = batch.records;
            match append(&mut file, &writer.take()) {
                Ok(bytes) => written += bytes,
                Err(error) => return self.stop_trace(format!("the trace cannot be written: {error}")),
            }
            if written >= bytes_max {
                let why = format!("the trace stopped at its limit of {}", units::size(bytes_max));
                writer.end(Some((&why, monotonic_ns())));
                let _ = append(&mut file, &writer.take());
                return self.stop_trace(why);
            }
            self.readers.note_progress();
            // Few long writes: a viewer is opened later, and a killed host loses little.
            thread::sleep(PAUSE);
        }
        writer.end(None);
        // Nobody is left to hear of a failure.
        let _ = append(&mut file, &writer.take());
    }

    /// Keeps no more records for it, and notes why.
    fn stop_trace(&self, why: String) {
        self.with(|engine| engine.close_log(Reader::Trace, why));
    }
}

/// Writes whole events, and returns how many bytes these are.
fn append(file: &mut File, text: &str) -> io::Result<u64> {
    file.write_all(text.as_bytes())?;
    Ok(text.len() as u64)
}
