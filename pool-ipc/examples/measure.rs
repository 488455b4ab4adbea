//! The costs of the ring, between two processes: `cargo run --release -p pool-ipc --example measure`.

#![allow(clippy::print_stdout, reason = "a report is what this is for")]

use std::fs::File;
use std::hint::black_box;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{self, Command};
use std::time::Instant;

use pool_ipc::{Backoff, Descriptors, Error, Header, HostEnd, WorkerEnd};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Kinds of calls.
const ECHO: u16 = 1;
const FILL: u16 = 2;
const STOP: u16 = 3;

fn main() -> Outcome {
    let args: Vec<_> = std::env::args().collect();
    if let [_, spins, host, worker_path] = &args[..] {
        return worker(spins.parse()?, [host, worker_path]);
    }
    creation(64 << 10)?;
    creation(256 << 10)?;
    one_thread()?;
    let awake = Backoff { spins: u32::MAX, ..Backoff::NONE };
    two_processes("awake", awake)?;
    two_processes("default backoff", Backoff::default())?;
    Ok(())
}

/// Runs `what` in rounds and returns the median of the nanoseconds per unit.
fn median(units: u32, mut what: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..21)
        .map(|_| {
            let start = Instant::now();
            what();
            start.elapsed().as_nanos() as f64 / f64::from(units)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn creation(bytes: usize) -> Outcome {
    let create = median(20, || {
        for _ in 0..20 {
            black_box(HostEnd::create(bytes, bytes).expect("memory"));
        }
    });
    let open = median(1, || {
        let (host, memory) = HostEnd::create(bytes, bytes).expect("memory");
        black_box((WorkerEnd::open(&memory).expect("memory"), host));
    });
    let used = median(1, || {
        let (mut host, memory) = HostEnd::create(bytes, bytes).expect("memory");
        let mut worker = WorkerEnd::open(&memory).expect("memory");
        let payload = vec![1; bytes - 32];
        let mut out = Vec::new();
        let _ = host.requests.send(&Header::default(), &payload, 0);
        let call = worker.requests.peek().expect("sound").expect("sent");
        worker.requests.copy(&call, &mut out);
        let _ = worker.replies.send(&Header::default(), &payload, 0);
        let reply = host.replies.peek().expect("sound").expect("sent");
        host.replies.copy(&reply, &mut out);
    });
    let kib = bytes >> 10;
    let [create, open, used] = [create, open, used].map(|ns| ns / 1e3);
    println!(
        "{kib} + {kib} KiB: create and drop {create:.0} µs, and open {open:.0} µs, and fill all of it {used:.0} µs"
    );
    Ok(())
}

/// Instructions only: both ends on one thread, everything in its cache.
fn one_thread() -> Result<(), Error> {
    const RECORDS: u32 = 100_000;
    let (mut host, memory) = HostEnd::create(64 << 10, 64 << 10)?;
    let mut worker = WorkerEnd::open(&memory)?;
    let header = Header::default();
    let record = median(RECORDS, || {
        for _ in 0..RECORDS {
            host.requests.spare(8)[..8].copy_from_slice(&[1; 8]);
            host.requests.publish(&header, 8);
            let record = worker.requests.peek().expect("sound").expect("there");
            // SAFETY: the host does not touch the bytes until the release below.
            black_box(unsafe { worker.requests.bytes(&record) });
            worker.requests.release(&record);
        }
    });
    let item = median(RECORDS, || (0..RECORDS).for_each(|item| worker.begin_item(item, 8 * item)));
    println!("one thread: a record of 8 bytes through the ring {record:.1} ns, begin_item {item:.2} ns");
    Ok(())
}

fn two_processes(name: &str, backoff: Backoff) -> Outcome {
    const ROUND_TRIPS: u32 = 20_000;
    const BLOCKS: u32 = 500;
    const BLOCK: usize = 64 << 10;
    let (mut host, memory) = HostEnd::create(256 << 10, 256 << 10)?;
    let paths = memory.as_fds().map(|fd| format!("/proc/{}/fd/{}", process::id(), fd.as_raw_fd()));
    let mut child = Command::new(std::env::current_exe()?).arg(backoff.spins.to_string()).args(paths).spawn()?;

    let echo = Header { kind: ECHO, ..Header::default() };
    let round_trip = |host: &mut HostEnd| {
        let _ = host.requests.send(&echo, &[1; 8], 0);
        host.wake_worker();
        while !backoff.wait(|| host.replies.has_news()) {}
        let record = host.replies.peek().expect("sound").expect("there");
        host.replies.release(&record);
    };
    round_trip(&mut host); // the child is up
    let trip = median(ROUND_TRIPS, || (0..ROUND_TRIPS).for_each(|_| round_trip(&mut host)));

    let mut out = Vec::with_capacity(BLOCK);
    let block = median(BLOCKS, || {
        let _ = host.requests.send(&Header { kind: FILL, count: BLOCKS, extra: BLOCK as u32, ..echo }, &[], 0);
        host.wake_worker();
        let mut whole = 0;
        while whole < BLOCKS {
            while !backoff.wait(|| host.replies.has_news()) {}
            while let Some(record) = host.replies.peek().expect("sound") {
                out.clear();
                host.replies.copy(&record, &mut out);
                host.replies.release(&record);
                whole += u32::from(!record.more());
                host.wake_worker();
            }
        }
        black_box(&out);
    });
    let _ = host.requests.send(&Header { kind: STOP, ..echo }, &[], 0);
    host.wake_worker();
    child.wait()?;
    println!(
        "two processes, {name}: round trip {trip:.0} ns; 64 KiB payloads {:.2} µs each, {:.1} GB/s, copied in and out",
        block / 1e3,
        BLOCK as f64 / block,
    );
    Ok(())
}

fn worker(spins: u32, lane: [&String; 2]) -> Outcome {
    let backoff = Backoff { spins, ..Backoff::default() };
    let open = |path| File::options().read(true).write(true).open(path).map(OwnedFd::from);
    let [host, worker] = lane.map(open);
    let mut worker = WorkerEnd::open(&Descriptors { host: host?, worker: worker? })?;
    let payload = vec![3; 1 << 20];
    loop {
        worker.wait_request(backoff);
        let call = worker.requests.peek()?.ok_or("no call")?;
        match call.header.kind {
            ECHO => assert!(worker.replies.send(&call.header, &payload[..8], 0).done),
            FILL => {
                for _ in 0..call.header.count {
                    let payload = &payload[..call.header.extra as usize];
                    let mut step = worker.replies.send(&call.header, payload, 0);
                    while !step.done {
                        worker.wait_room(payload.len() - step.sent, backoff);
                        step = worker.replies.send(&call.header, payload, step.sent);
                    }
                }
            }
            _ => return Ok(()),
        }
        worker.requests.release(&call);
    }
}
