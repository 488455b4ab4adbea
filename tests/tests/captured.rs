//! Under Rust's own test harness: the output of a task of a pool in the process is part of the captured output of its test.

use std::process::Command;

use pool_core::prelude::*;

/// Set for the test that fails.
const FAILS: &str = "CAPTURED_FAILS";

#[pool_task]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "it is captured")]
fn print(x: u64) -> u32 {
    println!("item {x} of a task");
    eprintln!("item {x} warns");
    current_worker().map_or(0, |worker| worker.incarnation())
}

/// Fails only where the test below starts it.
#[test]
fn prints_in_tasks() {
    let pool = Pool::builder().workers(2).max_tasks_per_worker(2).in_process().build().unwrap();
    let incarnations = pool.map(print::Task.chunk_size(1), 0..9).unwrap();
    assert!(incarnations.iter().any(|incarnation| *incarnation > 0), "none was started later, by another thread");
    assert!(std::env::var_os(FAILS).is_none(), "as it was told");
}

#[test]
fn output_of_tasks_is_captured() {
    for fails in [false, true] {
        let mut command = Command::new("/proc/self/exe");
        command.args(["--exact", "prints_in_tasks", "--test-threads", "1"]);
        if fails {
            command.env(FAILS, "1");
        }
        let output = command.output().unwrap();
        let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        assert_eq!(output.status.success(), !fails, "{stdout}{stderr}");
        assert!(!stderr.contains("item"), "printed beside the test's own output: {stderr}");
        for x in 0..9 {
            for line in [format!("item {x} of a task\n"), format!("item {x} warns\n")] {
                assert_eq!(stdout.matches(&line).count(), usize::from(fails), "{stdout}");
            }
        }
    }
}
