//! Files through which a check and its tasks tell each other something.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use pool_core::pool_task;

use crate::procs::eventually;

/// The path of a file that does not exist, until somebody writes it. It goes when this is dropped.
#[derive(Debug)]
pub struct Gate(PathBuf);

impl Gate {
    /// A new path.
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Gate {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        Gate::numbered(COUNT.fetch_add(1, Ordering::Relaxed))
    }

    fn numbered(count: u32) -> Gate {
        let gate = Gate(std::env::temp_dir().join(format!("pool-test-{}-{count}", std::process::id())));
        // An earlier process of this number may have been killed before it could.
        gate.remove();
        gate
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.0);
    }

    /// For a task.
    pub fn path(&self) -> &str {
        self.0.to_str().expect("ASCII")
    }

    /// Lets the tasks that wait for it go on.
    pub fn open(&self) {
        fs::write(&self.0, "").expect("a file in the temporary directory");
    }

    /// Waits until a task has opened it.
    pub fn wait(&self) {
        assert!(eventually(|| self.0.exists()), "no task has opened the gate");
    }

    /// How often a task has passed [`count`].
    pub fn count(&self) -> usize {
        fs::read(&self.0).map_or(0, |bytes| bytes.len())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A task that waits until the gate is open.
#[pool_task]
pub fn pass(gate: &str) -> u32 {
    while !fs::exists(gate).expect("the temporary directory can be read") {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    std::process::id()
}

/// A task that opens the gate and sleeps for ever.
#[pool_task]
pub fn open_and_hang(gate: &str) {
    fs::write(gate, "").expect("a file in the temporary directory");
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

/// Counts its calls in the file; how many there were before.
pub fn count(gate: &str) -> usize {
    use std::io::Write;
    let mut file =
        fs::OpenOptions::new().create(true).append(true).open(gate).expect("a file in the temporary directory");
    file.write_all(b".").expect("room for a byte");
    file.metadata().expect("its length").len() as usize - 1
}

#[cfg(test)]
mod tests {
    use super::Gate;

    #[test]
    fn a_gate_is_closed_even_if_a_process_of_this_number_left_one_open() {
        let left = std::mem::ManuallyDrop::new(Gate::numbered(u32::MAX));
        left.open();
        assert!(!Gate::numbered(u32::MAX).0.exists());
    }
}
