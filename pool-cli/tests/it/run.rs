//! `run`.

use std::io::Write;
use std::process::{Child, Stdio};
use std::thread;

use crate::cli::{Outcome, finish, pool_cli};

fn start(arguments: &[&str], input: &str) -> Child {
    let mut child = pool_cli(arguments).stdin(Stdio::piped()).spawn().expect("it starts");
    let (mut to, text) = (child.stdin.take().expect("a pipe"), input.to_owned());
    // A thread of its own, since the command answers before it has read all.
    thread::spawn(move || to.write_all(text.as_bytes()));
    child
}

fn run(arguments: &[&str], input: &str) -> Outcome {
    finish(start(arguments, input))
}

#[test]
fn each_line_is_a_call_of_the_task() {
    let input: String = (0..3000).map(|i| format!("{i}\n")).collect();
    let expected: String = (0..3000_u64).map(|i| format!("{{\"result\":{}}}\n", i * i)).collect();
    let outcome = run(&["run", "square", "--workers", "2"], &input).expect_code(0);
    assert_eq!((outcome.text(), outcome.err.as_str()), (expected.as_str(), ""));
}

#[test]
fn a_line_may_name_its_task() {
    let input = r#"{"task": "demo::tasks::square", "args": 3, "id": [1]}
{"task": "sha256", "args": "/no such file"}"#;
    let outcome = run(&["run"], input).expect_code(1);
    let lines: Vec<_> = outcome.text().lines().collect();
    assert_eq!(lines[0], r#"{"id":[1],"result":9}"#);
    assert!(lines[1].starts_with(r#"{"error":{"line":2,"kind":"Err","message":"No such file"#), "{}", lines[1]);
}

#[test]
fn a_crash_is_the_error_of_its_line() {
    let outcome = run(&["run"], "{\"task\": \"crash\", \"args\": \"NullWrite\"}\n{\"task\": \"square\", \"args\": 2}")
        .expect_code(1);
    let lines: Vec<_> = outcome.text().lines().collect();
    assert!(lines[0].contains(r#""kind":"WorkerDied""#) && lines[0].contains("SIGSEGV"), "{}", lines[0]);
    assert_eq!(lines[1], r#"{"result":4}"#);
}

#[test]
fn a_call_may_have_a_limit_on_its_time() {
    let outcome = run(&["run", "nap", "--timeout", "1s", "--workers", "2"], "600000\n0\n").expect_code(1);
    let lines: Vec<_> = outcome.text().lines().collect();
    assert!(lines[0].contains(r#""kind":"TaskTimeout""#) && lines[0].contains("limit of 1 s"), "{}", lines[0]);
    assert_eq!(lines[1], r#"{"result":null}"#);
    assert!(run(&["run", "nap", "--timeout", "0s"], "").expect_code(2).err.contains("--timeout"));
}

#[test]
fn a_name_that_is_no_tasks_is_wrong_usage() {
    let outcome = run(&["run", "sqare"], "1").expect_code(2);
    assert_eq!(outcome.text(), "");
    assert_eq!(outcome.err, "pool-cli: there is no task `sqare`: did you mean `square`?\n");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let child = {
        let mut child = start(&["run", "square"], &"1\n".repeat(200_000));
        drop(child.stdout.take());
        child
    };
    assert_eq!(finish(child).expect_code(0).err, "");
}
