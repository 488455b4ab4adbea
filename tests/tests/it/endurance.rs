//! The programs that measure how the pool holds out, in short.

use std::process::{Command, Output};
use std::time::Duration;

use tests::trial::{Check, Setup, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        // It has a watchdog of its own, which says more than that of the trials.
        once(three_seconds_of_chaos_break_no_promise).backoff(Duration::from_secs(120)),
        once(chaos_that_loses_doubles_or_falsifies_an_item_says_so),
        once(pools_jobs_and_crashes_by_the_hundred_leave_nothing),
    ]
}

fn run(program: &str, arguments: &[&str]) -> (Output, String) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = [&output.stdout[..], &output.stderr].concat();
    (output, String::from_utf8(text).unwrap())
}

const CHAOS: &str = env!("CARGO_BIN_EXE_chaos");

fn three_seconds_of_chaos_break_no_promise(_: &Setup) {
    let (output, text) = run(CHAOS, &["--seconds", "3"]);
    assert!(output.status.success(), "{text}");
    assert!(text.ends_with("every promise kept\n"), "{text}");
}

fn chaos_that_loses_doubles_or_falsifies_an_item_says_so(_: &Setup) {
    for fault in ["lost", "doubled", "wrong"] {
        let (output, text) = run(CHAOS, &["--seconds", "0", "--plant", fault]);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("items "));
        let found = lines.any(|line| line.starts_with(fault) && line.ends_with(" 1"));
        assert!(found, "no {fault} item: {text}");
    }
}

fn pools_jobs_and_crashes_by_the_hundred_leave_nothing(_: &Setup) {
    let arguments = ["--tiny", "--case", "pools", "--case", "jobs", "--case", "crashes", "--case", "many-workers"];
    let (output, text) = run(env!("CARGO_BIN_EXE_isolation"), &arguments);
    assert!(output.status.success(), "{text}");
    assert!(text.contains(" ok") && !text.contains("MISSED"), "{text}");
}
