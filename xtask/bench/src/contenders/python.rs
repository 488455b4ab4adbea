//! Python's `multiprocessing.Pool`, which measures itself: see `python_pool.py`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::note::Note;
use crate::contender::{Contender, Outcome, Refusal, WorkTimes};
use crate::data::{Record, Work};
use crate::timing::Timed;

pub(super) const NOTES: &[Note] = &[
    Note { cases: &[], text: "an interpreter on both sides; start method `fork`" },
    Note {
        cases: &["work", "skewed"],
        text: "the same time for each item, not the same arithmetic; against its own serial time",
    },
    Note { cases: &["scaling"], text: "the same time for each item, not the same arithmetic" },
];

const PROGRAM: &str = include_str!("python_pool.py");

/// Whether there is a Python with these modules.
pub(super) fn has(modules: &str) -> bool {
    let mut command = Command::new("python3");
    let import = format!("import {modules}");
    let status = command.args(["-c", &import]).stdin(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// An interpreter that waits for the next line.
struct Interpreter {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Interpreter {
    fn start(mut command: Command) -> Outcome<Interpreter> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = process.stdin.take().expect("it is piped");
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        Ok(Interpreter { process, input, output })
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        // It may hang; then its workers are the driver's to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[derive(Default)]
pub(crate) struct Python {
    interpreter: Option<Interpreter>,
}

impl Python {
    /// One that runs this program with the modules of a folder.
    pub(super) fn of_folder(folder: &Path, program: &str) -> Outcome<Python> {
        let mut command = Command::new("python3");
        command.args(["-c", program]).current_dir(folder).env("PYTHONPATH", folder);
        Ok(Python { interpreter: Some(Interpreter::start(command)?) })
    }
}

impl Python {
    /// One line there, one back.
    pub(super) fn ask(&mut self, line: &str) -> Outcome<Vec<u64>> {
        let interpreter = match &mut self.interpreter {
            Some(interpreter) => interpreter,
            none => {
                let mut command = Command::new("python3");
                // With `-c` its workers, forks, have the functions, too.
                command.args(["-c", PROGRAM]);
                none.insert(Interpreter::start(command)?)
            }
        };
        writeln!(interpreter.input, "{line}")?;
        let mut reply = String::new();
        interpreter.output.read_line(&mut reply)?;
        if reply.is_empty() {
            return Err(Refusal::Failed("python3 ended early".to_owned()));
        }
        reply.split_whitespace().map(|number| Ok(number.parse()?)).collect()
    }

    fn ask_time(&mut self, line: &str) -> Outcome<Duration> {
        Ok(Duration::from_nanos(self.ask(line)?[0]))
    }

    pub(super) fn ask_timed(&mut self, line: &str) -> Outcome<Timed> {
        let reply = self.ask(line)?;
        Ok(Timed { elapsed: Duration::from_nanos(reply[0]), sum: reply[1] })
    }
}

impl Contender for Python {
    fn open(&mut self, workers: usize) -> Outcome<Duration> {
        self.ask_time(&format!("open {workers}"))
    }

    fn close(&mut self) -> Outcome<Duration> {
        self.ask_time("close")
    }

    fn calls(&mut self, count: u64, pause: Duration) -> Outcome<Vec<Duration>> {
        let times = self.ask(&format!("calls {count} {}", pause.as_nanos()))?;
        Ok(times.into_iter().map(Duration::from_nanos).collect())
    }

    fn jobs(&mut self, count: u64) -> Outcome<Timed> {
        self.ask_timed(&format!("jobs {count}"))
    }

    // The other contenders get these numbers and records from the cases; Python makes its own.
    fn map_numbers(&mut self, numbers: &[u64]) -> Outcome<Timed> {
        self.ask_timed(&format!("map_numbers {}", numbers.len()))
    }

    fn map_numbers_singly(&mut self, numbers: &[u64]) -> Outcome<Timed> {
        self.ask_timed(&format!("map_numbers_singly {}", numbers.len()))
    }

    fn imap_numbers(&mut self, count: u64) -> Outcome<Timed> {
        self.ask_timed(&format!("imap_numbers {count}"))
    }

    fn map_records(&mut self, records: Vec<Record>) -> Outcome<Timed> {
        self.ask_timed(&format!("map_records {}", records.len()))
    }

    fn echo(&mut self, bytes: Vec<u8>) -> Outcome<(Duration, Vec<u8>)> {
        Ok((self.ask_time(&format!("echo {}", bytes.len()))?, bytes))
    }

    fn work(&mut self, work: &Work) -> Outcome<WorkTimes> {
        let times: Vec<_> = work.times_us.iter().map(|time| format!("{}", (time * 1000.0).round())).collect();
        let reply = self.ask(&format!("work {}", times.join(" ")))?;
        Ok(WorkTimes { serial: Duration::from_nanos(reply[0]), parallel: Duration::from_nanos(reply[1]) })
    }

    fn worker_pid(&mut self) -> Outcome<u32> {
        Ok(u32::try_from(self.ask("pid")?[0])?)
    }
}
