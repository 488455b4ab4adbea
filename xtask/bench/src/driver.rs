//! Runs every contender in turn, each measurement in a process of its own, and gathers the numbers.

use std::io::{IsTerminal, Read};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::cases::row::Row;
use crate::cases::{CASES, Case};
use crate::contender::Refusal;
use crate::contenders::{self, ENTRIES, Entry};
use crate::machine::Machine;
use crate::options::Options;
use crate::report::{Results, table};
use crate::{bars, data, plot, procs};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The message that a measuring process writes to its standard output.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Rows(Vec<Row>),
    Unsupported,
    Failed(String),
}

/// In a measuring process: measures, and writes the answer.
pub(crate) fn measure_here(ask: &[String], options: &Options) -> Outcome {
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

/// No round begins that would end later than this, if the first ones are a guide.
const TIME_MAX: Duration = Duration::from_secs(14 * 60);

/// Measures everything that was asked for, and reports.
pub(crate) fn run(options: &Options) -> Outcome {
    let (cases, entries) = (chosen_cases(options)?, chosen_entries(options)?);
    procs::adopt_orphans()?;
    let steps_per_us = data::steps_per_us();
    let mut results = Results::new(Machine::new(options.quick, steps_per_us));
    for entry in &entries {
        if let Some(reason) = contenders::absence(entry.name) {
            eprintln!("{} is left out: {reason}", entry.name);
            results.leave_out(&cases, entry.name, reason);
        }
    }
    let rounds = options.rounds.unwrap_or(if options.quick { 3 } else { 7 });
    let start = Instant::now();
    let mut done = 0;
    for round in 0..rounds {
        // A run that was asked for so many rounds has them all.
        if options.rounds.is_none() && round > 0 && start.elapsed() / round as u32 * (round as u32 + 1) > TIME_MAX {
            break;
        }
        for case in cases.iter().filter(|case| !case.is_long || round.is_multiple_of(3)) {
            progress(&format!("round {} of {rounds}: {}", round + 1, case.name));
            // Each round begins with another one.
            for i in 0..entries.len() {
                let entry = entries[(i + round) % entries.len()];
                if !results.is_hopeless(case.name, entry.name) {
                    let answer = measure(case, entry, options, steps_per_us);
                    record(&mut results, case, entry, answer);
                }
            }
        }
        done += 1;
    }
    progress("");
    println!("{}", table::render(&results, &cases, &entries));
    println!("{}", bars::render(&results));
    eprintln!("{done} rounds in {:.0} s", start.elapsed().as_secs_f64());
    if let Some(path) = &options.json {
        std::fs::write(path, results.to_json()?).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(folder) = &options.plot {
        plot::all(&results, folder)?;
    }
    Ok(())
}

fn chosen_cases(options: &Options) -> Result<Vec<&'static Case>, String> {
    let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
    check_names("case", &options.cases, &names)?;
    let is_chosen = |case: &&Case| options.cases.is_empty() || options.cases.iter().any(|name| name == case.name);
    Ok(CASES.iter().filter(is_chosen).collect())
}

fn chosen_entries(options: &Options) -> Result<Vec<&'static Entry>, String> {
    let names: Vec<_> = ENTRIES.iter().map(|entry| entry.name).collect();
    check_names("contender", &options.contenders, &names)?;
    let is_chosen =
        |entry: &&Entry| options.contenders.is_empty() || options.contenders.iter().any(|name| name == entry.name);
    Ok(ENTRIES.iter().filter(is_chosen).collect())
}

fn check_names(what: &str, asked: &[String], known: &[&str]) -> Result<(), String> {
    match asked.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("there is no {what} {name}; there are {}", known.join(", "))),
        None => Ok(()),
    }
}

fn record(results: &mut Results, case: &Case, entry: &Entry, answer: Result<Answer, String>) {
    match answer {
        Ok(Answer::Rows(rows)) => rows.into_iter().for_each(|row| results.add(entry.name, row)),
        Ok(Answer::Unsupported) => results.give_up(case.name, entry.name, "–", None),
        Ok(Answer::Failed(text)) => results.give_up(case.name, entry.name, "failed", Some(text)),
        Err(text) => results.give_up(case.name, entry.name, "hung", Some(text)),
    }
}

/// Measures in a process of its own, and leaves no process behind. An error if it did not end in time.
fn measure(case: &Case, entry: &Entry, options: &Options, steps_per_us: f64) -> Result<Answer, String> {
    let limit = Duration::from_secs(options.scale().pick(case.limit_s.0, case.limit_s.1));
    let mut process = match start(case, entry, options, steps_per_us) {
        Ok(process) => process,
        Err(error) => return Ok(Answer::Failed(error.to_string())),
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
    if !has_ended {
        return Err(format!("was killed after {limit:?}"));
    }
    Ok(serde_json::from_str(output.lines().last().unwrap_or_default()).unwrap_or_else(|_| {
        let reason = errors.lines().rfind(|line| !line.starts_with("note:")).unwrap_or("it said nothing");
        Answer::Failed(reason.to_owned())
    }))
}

fn start(case: &Case, entry: &Entry, options: &Options, steps_per_us: f64) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--measure", case.name, entry.name]).arg("--steps-per-us").arg(steps_per_us.to_string());
    command.args(options.quick.then_some("--quick"));
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

/// One line that is written over, on a terminal; elsewhere a line each.
fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    } else if !text.is_empty() {
        eprintln!("{text}");
    }
}
