//! ringfire: two bare rings between two processes, without a pool. A call is a message there and one back.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ringfire::{FutexWait, RingConsumer, RingProducer};

use super::note::Note;
use crate::contender::{Contender, Outcome, time_calls};
use crate::data::increment;
use crate::timing::timed;

pub(super) const NOTES: &[Note] = &[Note {
    cases: &["call"],
    text: "a message of 8 bytes there and back, with its usual wait (32 looks, then a futex)",
}];

/// Set for the process that answers: where the rings are.
const MARKER: &str = "BENCH_RINGFIRE_RINGS";

/// Messages that a ring holds.
const CAPACITY: u64 = 1024;
/// Ends the process that answers.
const STOP: u64 = u64::MAX;

#[derive(Default)]
pub(crate) struct Ringfire {
    pair: Option<Pair>,
}

struct Pair {
    calls: RingProducer<u64>,
    replies: RingConsumer<u64>,
    process: Child,
    paths: [PathBuf; 2],
}

/// Answers, if this process was started for that.
pub(crate) fn serve_if_asked() -> bool {
    let Some(rings) = std::env::var_os(MARKER) else { return false };
    let [calls, replies] = paths(&rings.to_string_lossy());
    let mut calls = RingConsumer::<u64>::attach(calls).expect("the ring of calls");
    let mut replies = RingProducer::<u64>::create(replies, CAPACITY).expect("the ring of replies");
    let mut wait = FutexWait::default();
    loop {
        match calls.recv_blocking(&mut wait) {
            STOP => return true,
            number => replies.push(&increment(number)),
        }
    }
}

fn paths(name: &str) -> [PathBuf; 2] {
    ["calls", "replies"].map(|way| PathBuf::from(format!("/dev/shm/{name}-{way}")))
}

impl Contender for Ringfire {
    fn open(&mut self, _: usize) -> Outcome<Duration> {
        let name = format!("bench-ringfire-{}", std::process::id());
        let paths = paths(&name);
        let (elapsed, pair) = timed(|| {
            let calls = RingProducer::<u64>::create(&paths[0], CAPACITY).map_err(std::io::Error::other)?;
            let process = Command::new(std::env::current_exe()?).env(MARKER, &name).stdin(Stdio::null()).spawn()?;
            let replies = loop {
                match RingConsumer::<u64>::attach(&paths[1]) {
                    Ok(replies) => break replies,
                    Err(_) => std::thread::sleep(Duration::from_millis(1)),
                }
            };
            std::io::Result::Ok(Pair { calls, replies, process, paths: paths.clone() })
        });
        let pair = self.pair.insert(pair?);
        // A reader begins with the messages that are written after it has come.
        std::thread::sleep(Duration::from_millis(20));
        pair.calls.push(&1);
        pair.replies.recv_blocking(&mut FutexWait::default());
        Ok(elapsed)
    }

    fn close(&mut self) -> Outcome<Duration> {
        let mut pair = self.pair.take().expect("the case opens it first");
        let (elapsed, ended) = timed(|| {
            pair.calls.push(&STOP);
            pair.process.wait()
        });
        ended?;
        pair.paths.iter().for_each(|path| _ = std::fs::remove_file(path));
        Ok(elapsed)
    }

    fn calls(&mut self, count: u64, pause: Duration) -> Outcome<Vec<Duration>> {
        let pair = self.pair.as_mut().expect("the case opens it first");
        let mut wait = FutexWait::default();
        time_calls(count, pause, |number| {
            pair.calls.push(&number);
            Ok(pair.replies.recv_blocking(&mut wait))
        })
    }
}
