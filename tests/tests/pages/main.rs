//! The pool on machines with pages of 16 or 64 KiB.

mod machine;

use std::process::{Command, ExitCode};

use pool_core::prelude::*;
use pool_ipc::{Consumer, Header, HostEnd, Hub, HubWorker, Producer, SEGMENT_BYTES, WorkerEnd};
use tests::tasks::square;

/// Seconds after which a run is taken for one that hangs.
const RUN_SECONDS_MAX: u32 = 120;

fn main() -> ExitCode {
    if std::env::var_os(machine::PAGE_BYTES).is_none() {
        for page in [16 << 10, 64 << 10] {
            let mut run = Command::new("/proc/self/exe");
            let status = run.env(machine::PAGE_BYTES, page.to_string()).status().expect("this program can be run");
            assert!(status.success(), "with pages of {page} bytes: {status}");
        }
        return ExitCode::SUCCESS;
    }
    // SAFETY:
    // - no pointers; the signal ends this process.
    unsafe { libc::alarm(RUN_SECONDS_MAX) };
    machine::check();
    lanes_grow();
    arenas_are_read();
    for method in [StartMethod::Fork, StartMethod::ForkServer, StartMethod::Spawn] {
        pools_work(method);
    }
    ExitCode::SUCCESS
}

/// From the smallest rings to the largest, both ways, with every byte in use at each size.
fn lanes_grow() {
    let (mut host, memory) = HostEnd::create_growing(1 << 20, 1 << 20, 4096).expect("memory for a lane");
    let mut worker = WorkerEnd::open(&memory).expect("it is a lane");
    drop(memory);
    let mut extent = 4096;
    loop {
        for fill in [0x55, 0xAA] {
            for _ in 0..4 {
                pass(&mut host.requests, &mut worker.requests, &vec![fill; extent / 2]);
                pass(&mut worker.replies, &mut host.replies, &vec![fill; extent / 2]);
            }
        }
        if extent == 1 << 20 {
            break;
        }
        assert!(host.grow_requests() && host.grow_replies(), "from {extent} bytes");
        extent *= 2;
    }
}

/// Sends a message and takes it, in as many records as it takes.
fn pass(producer: &mut Producer, consumer: &mut Consumer, payload: &[u8]) {
    let (mut sent, mut taken) = (0, Vec::new());
    loop {
        let step = producer.send(&Header::default(), payload, sent);
        sent = step.sent;
        while let Some(record) = consumer.peek().expect("an honest peer") {
            consumer.copy(&record, &mut taken);
            consumer.release(&record);
        }
        if step.done {
            return assert!(taken == payload);
        }
    }
}

fn arenas_are_read() {
    const SEGMENTS: u32 = 8;
    let (hub, memory) = Hub::create(SEGMENTS).expect("memory for a hub");
    let worker = HubWorker::open(&memory).expect("it is a hub");
    drop(memory);
    let segments = (0..SEGMENTS).map(|number| {
        let mut segment = hub.arena().take_or_grow().expect("memory for a segment");
        segment.bytes_mut().fill(number as u8 + 1);
        segment.finish()
    });
    let segments: Vec<_> = segments.collect();
    for (number, segment) in segments.iter().enumerate() {
        // SAFETY:
        // - nobody writes there as long as there is the segment.
        let bytes = unsafe { worker.arena().bytes(&segment.locate(0..SEGMENT_BYTES)) };
        assert_eq!(bytes, Some(&vec![number as u8 + 1; SEGMENT_BYTES][..]));
    }
    assert!(!worker.notify(), "nobody sleeps");
}

fn pools_work(method: StartMethod) {
    let pool = Pool::builder().start_method(method).workers(2).build().expect("a pool can be made");
    assert_eq!(pool.apply(square::Task, 12).unwrap(), 144);
    // By way of the arena, more than once round, and back through rings that grow.
    let numbers = 0..1_000_000;
    assert!(pool.map(square::Task, numbers.clone()).unwrap().into_iter().eq(numbers.map(|x| x * x)));
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|x| x as u8).collect();
    assert!(pool.apply(reverse::Task, bytes.clone()).unwrap().into_iter().eq(bytes.into_iter().rev()));
    assert_eq!(pool.stats().workers_died, 0);
    pool.close();
    pool.join().unwrap();
}

#[pool_task]
fn reverse(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}
