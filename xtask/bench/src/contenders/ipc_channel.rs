//! ipc-channel: no pool, but the parts for one. A process and two channels for each worker.

use std::collections::VecDeque;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::note::Note;
use crate::contender::{Contender, Outcome, Refusal, time_calls};
use crate::data::{Record, chunk_len, increment, sum, touch, work};
use crate::timing::{Timed, timed};

pub(super) const NOTES: &[Note] = &[
    Note {
        cases: &[],
        text: "bare processes with two channels each: no queue, no handles, nobody who minds the processes",
    },
    Note {
        cases: &["jobs"],
        text: "at most 64 at once for each worker, else both ends wait for room in a full socket",
    },
    Note {
        cases: &["map", "work", "skewed"],
        text: "no map: chunked by hand, one chunk after the other and a thread for each worker",
    },
    Note { cases: &["bytes"], text: "with serde_bytes, without which bytes go one by one" },
];

/// Calls that a worker has not answered yet.
const WINDOW: usize = 64;

/// First argument of a worker; the second is the server's name.
const WORKER: &str = "ipc-channel-worker";

#[derive(Serialize, Deserialize)]
enum Message {
    Increment(u64),
    IncrementAll(Vec<u64>),
    Touch(Vec<Record>),
    Echo(ByteBuf),
    Work(Vec<u64>),
}

type Ends = (IpcSender<Message>, IpcReceiver<Message>);

/// Does a worker's work, if this process is one.
pub(crate) fn serve_if_asked() -> bool {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(WORKER) {
        return false;
    }
    let server = arguments.next().expect("a worker is told whom to serve");
    let (to_us, calls) = ipc::channel().expect("a channel");
    let (replies, from_us) = ipc::channel().expect("a channel");
    let greeting: IpcSender<Ends> = IpcSender::connect(server).expect("the server waits");
    greeting.send((to_us, from_us)).expect("the server waits");
    // Ends when the caller drops its sender.
    while let Ok(call) = calls.recv() {
        if replies.send(answer(call)).is_err() {
            break;
        }
    }
    true
}

fn answer(call: Message) -> Message {
    match call {
        Message::Increment(number) => Message::Increment(increment(number)),
        Message::IncrementAll(numbers) => Message::IncrementAll(numbers.into_iter().map(increment).collect()),
        Message::Touch(records) => Message::Touch(records.into_iter().map(touch).collect()),
        Message::Echo(bytes) => Message::Echo(bytes),
        Message::Work(steps) => Message::Work(steps.into_iter().map(work).collect()),
    }
}

struct Worker {
    process: Child,
    calls: IpcSender<Message>,
    replies: IpcReceiver<Message>,
}

impl Worker {
    fn start() -> Outcome<Worker> {
        let (server, name) = IpcOneShotServer::<Ends>::new()?;
        let mut command = Command::new(std::env::current_exe()?);
        let process = command.args([WORKER, &name]).stdin(Stdio::null()).spawn()?;
        let (_, (calls, replies)) = server.accept()?;
        Ok(Worker { process, calls, replies })
    }

    fn call(&self, message: Message) -> Outcome<Message> {
        self.calls.send(message)?;
        Ok(self.replies.recv()?)
    }

    fn increment(&self, number: u64) -> Outcome<u64> {
        number_in(self.call(Message::Increment(number))?)
    }
}

fn number_in(reply: Message) -> Outcome<u64> {
    match reply {
        Message::Increment(number) => Ok(number),
        _ => Err(wrong_reply()),
    }
}

fn wrong_reply() -> Refusal {
    Refusal::Failed("a reply of another kind".to_owned())
}

#[derive(Default)]
pub(crate) struct IpcChannel {
    workers: Vec<Worker>,
}

impl IpcChannel {
    /// Gives each worker the next chunk when it has answered.
    fn map<A: Send>(&mut self, mut items: Vec<A>, wrap: fn(Vec<A>) -> Message) -> Outcome<Vec<Message>> {
        let len = chunk_len(items.len(), self.workers.len());
        let mut chunks = Vec::new();
        let mut items = items.drain(..);
        while items.len() > 0 {
            chunks.push(items.by_ref().take(len).collect::<Vec<_>>());
        }
        let chunks = Mutex::new(chunks.into_iter().enumerate());
        let serve = |worker: &mut Worker| -> Result<Vec<(usize, Message)>, String> {
            let next = || chunks.lock().expect("nobody panics with it").next();
            let answer = |(i, chunk)| Ok((i, worker.call(wrap(chunk)).map_err(|refusal| refusal.to_string())?));
            std::iter::from_fn(next).map(answer).collect()
        };
        let replies = std::thread::scope(|scope| {
            let serve = &serve;
            let threads: Vec<_> = self.workers.iter_mut().map(|worker| scope.spawn(move || serve(worker))).collect();
            let replies = threads.into_iter().map(|thread| thread.join().expect("it does not panic"));
            replies.collect::<Result<Vec<_>, _>>().map_err(Refusal::Failed)
        })?;
        let mut replies: Vec<_> = replies.into_iter().flatten().collect();
        replies.sort_unstable_by_key(|(i, _)| *i);
        Ok(replies.into_iter().map(|(_, reply)| reply).collect())
    }

    fn map_each(&mut self, numbers: &[u64], wrap: fn(Vec<u64>) -> Message) -> Outcome<Timed> {
        let (elapsed, results) = timed(|| {
            let mut results = Vec::with_capacity(numbers.len());
            for reply in self.map(numbers.to_vec(), wrap)? {
                match reply {
                    Message::IncrementAll(mut numbers) | Message::Work(mut numbers) => results.append(&mut numbers),
                    _ => return Err(wrong_reply()),
                }
            }
            Ok(results)
        });
        Ok(Timed { elapsed, sum: sum(results?) })
    }
}

impl Contender for IpcChannel {
    fn open(&mut self, workers: usize) -> Outcome<Duration> {
        let (elapsed, outcome) = timed(|| {
            self.workers = (0..workers).map(|_| Worker::start()).collect::<Outcome<_>>()?;
            self.workers[0].increment(1)
        });
        outcome?;
        Ok(elapsed)
    }

    fn close(&mut self) -> Outcome<Duration> {
        let workers = std::mem::take(&mut self.workers);
        let (elapsed, outcome) = timed(|| {
            let close = |worker: Worker| worker.process;
            workers
                .into_iter()
                .map(close)
                .collect::<Vec<_>>()
                .into_iter()
                .try_for_each(|mut child| child.wait().map(drop))
        });
        outcome?;
        Ok(elapsed)
    }

    fn calls(&mut self, count: u64, pause: Duration) -> Outcome<Vec<Duration>> {
        time_calls(count, pause, |number| self.workers[0].increment(number))
    }

    fn jobs(&mut self, count: u64) -> Outcome<Timed> {
        let (elapsed, results) = timed(|| {
            let mut results = Vec::with_capacity(count as usize);
            let mut sent_to = VecDeque::new();
            for (number, worker) in (0..count).zip(self.workers.iter().cycle()) {
                worker.calls.send(Message::Increment(number))?;
                sent_to.push_back(worker);
                if sent_to.len() == WINDOW * self.workers.len() {
                    let oldest = sent_to.pop_front().expect("it is full");
                    results.push(number_in(oldest.replies.recv()?)?);
                }
            }
            for worker in sent_to {
                results.push(number_in(worker.replies.recv()?)?);
            }
            Ok::<_, Refusal>(results)
        });
        Ok(Timed { elapsed, sum: sum(results?) })
    }

    fn map_numbers(&mut self, numbers: &[u64]) -> Outcome<Timed> {
        self.map_each(numbers, Message::IncrementAll)
    }

    fn map_records(&mut self, records: Vec<Record>) -> Outcome<Timed> {
        let (elapsed, results) = timed(|| {
            let mut results = Vec::with_capacity(records.len());
            for reply in self.map(records, Message::Touch)? {
                match reply {
                    Message::Touch(mut records) => results.append(&mut records),
                    _ => return Err(wrong_reply()),
                }
            }
            Ok(results)
        });
        Ok(Timed { elapsed, sum: sum(results?.iter().map(Record::digest)) })
    }

    fn echo(&mut self, bytes: Vec<u8>) -> Outcome<(Duration, Vec<u8>)> {
        let (elapsed, reply) = timed(|| self.workers[0].call(Message::Echo(ByteBuf::from(bytes))));
        match reply? {
            Message::Echo(bytes) => Ok((elapsed, bytes.into_vec())),
            _ => Err(wrong_reply()),
        }
    }

    fn map_work(&mut self, steps: &[u64]) -> Outcome<Timed> {
        self.map_each(steps, Message::Work)
    }
}
