//! The example of Ctrl-C keeps its promises. The program of this test is the example, too, when it is told so.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[path = "../examples/ctrl_c.rs"]
#[allow(unreachable_pub)]
mod example;

const AS_EXAMPLE: &str = "POOL_CORE_AS_EXAMPLE";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::var_os(AS_EXAMPLE).is_some() {
        return example::main();
    }
    without_a_signal_everything_is_done()?;
    items_that_run_are_finished_and_the_others_reported()?;
    items_that_hang_do_not_hold_up_the_end()?;
    Ok(())
}

fn start(args: [&str; 2]) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(args).env(AS_EXAMPLE, "1").stdout(Stdio::piped()).spawn()
}

/// Its exit code and the rest of its output.
fn end(mut child: Child, mut output: impl Read) -> std::io::Result<(Option<i32>, String)> {
    let mut text = String::new();
    output.read_to_string(&mut text)?;
    Ok((child.wait()?.code(), text))
}

fn interrupt(child: &Child) {
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("it runs");
}

fn without_a_signal_everything_is_done() -> std::io::Result<()> {
    let mut child = start(["5", "1"])?;
    let output = child.stdout.take().expect("it is piped");
    let (code, text) = end(child, output)?;
    assert_eq!((code, text.as_str()), (Some(0), "0\n1\n4\n9\n16\n5 of 5 items done, 0 failed, 0 not begun\n"));
    Ok(())
}

fn items_that_run_are_finished_and_the_others_reported() -> std::io::Result<()> {
    let mut child = start(["100000", "20"])?;
    let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut lines = String::new();
    for _ in 0..5 {
        output.read_line(&mut lines)?;
    }
    interrupt(&child);
    let (code, rest) = end(child, output)?;
    let text = lines + &rest;
    let (squares, report) = text.trim_end().rsplit_once('\n').expect("several lines");
    let done: Vec<u64> = squares.lines().map(|line| line.parse().expect("nothing has failed")).collect();
    let is_item = |square: &u64| square.isqrt().pow(2) == *square;
    assert!(done.iter().all(is_item) && done.is_sorted_by(|one, other| one < other), "each once, in order: {text}");
    let done = done.len();
    assert!((5..100_000).contains(&done));
    assert_eq!(report, format!("{done} of 100000 items done, 0 failed, {} not begun", 100_000 - done));
    assert_eq!(code, Some(130));
    Ok(())
}

fn items_that_hang_do_not_hold_up_the_end() -> std::io::Result<()> {
    let mut child = start(["10", "600000"])?;
    let output = child.stdout.take().expect("it is piped");
    // Both workers are at work, most likely; if not, there is less to report and nothing else changes.
    std::thread::sleep(Duration::from_millis(300));
    interrupt(&child);
    let since = Instant::now();
    let (code, text) = end(child, output)?;
    assert!(since.elapsed() < Duration::from_secs(60), "it ended after {:?}", since.elapsed());
    assert_eq!(code, Some(130));
    assert!(text.trim_end().lines().last().is_some_and(|line| line.starts_with("0 of 10 items done, ")), "{text}");
    Ok(())
}
