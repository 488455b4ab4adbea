//! One measurement: a process that measures one case of one contender, and its answer.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::cases::row::Row;
use crate::cases::{CASES, Case};
use crate::contender::Refusal;
use crate::contenders::{self, Entry};
use crate::options::{Options, Scale};
use crate::procs;

/// The message that a measuring process writes to its standard output.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Rows(Vec<Row>),
    Unsupported,
    Failed(String),
}

/// In a measuring process: measures, and writes the answer.
pub(crate) fn measure_here(ask: &[String], options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let case = CASES.iter().find(|case| case.name == ask[0]).ok_or("there is no such case")?;
    let entry = contenders::find(&ask[1]).ok_or("there is no such contender")?;
    let mut contender = (entry.start)();
    let answer = match (case.run)(&mut *contender, options.scale()) {
        Ok(rows) => Answer::Rows(rows),
        Err(Refusal::Unsupported) => Answer::Unsupported,
        Err(failed) => Answer::Failed(failed.to_string()),
    };
    println!("{}", serde_json::to_string(&answer)?);
    Ok(())
}

/// Measures in a process of its own, and leaves no process behind. `None` if it did not end in time.
pub(crate) fn measure(case: &Case, entry: &Entry, scale: Scale, limit: Duration) -> Option<Answer> {
    let mut process = match start(case, entry, scale) {
        Ok(process) => process,
        Err(error) => return Some(Answer::Failed(error.to_string())),
    };
    let output = process.stdout.take().map(|output| thread::spawn(|| read_all(output)));
    let errors = process.stderr.take().map(|errors| thread::spawn(|| read_all(errors)));
    let has_ended = wait(&mut process, limit);
    let _ = process.kill();
    let _ = process.wait();
    procs::kill_descendants();
    // With the last process both pipes are closed.
    let text =
        |thread: Option<thread::JoinHandle<String>>| thread.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let (output, errors) = (text(output), text(errors));
    has_ended.then(|| {
        serde_json::from_str(output.lines().last().unwrap_or_default()).unwrap_or_else(|_| {
            let reason = errors.lines().rfind(|line| !line.starts_with("note:")).unwrap_or("it said nothing");
            Answer::Failed(reason.to_owned())
        })
    })
}

fn start(case: &Case, entry: &Entry, scale: Scale) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--measure", case.name, entry.name]).arg("--steps-per-us").arg(scale.steps_per_us.to_string());
    command.args(scale.is_quick.then_some("--quick"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

fn read_all(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether it ended by itself.
fn wait(process: &mut Child, limit: Duration) -> bool {
    // By a look now and then: it costs the measurement next to nothing, and needs no signal handling.
    const LOOK_EVERY: Duration = Duration::from_millis(5);
    let start = Instant::now();
    while start.elapsed() < limit {
        if !matches!(process.try_wait(), Ok(None)) {
            return true;
        }
        thread::sleep(LOOK_EVERY);
    }
    false
}
