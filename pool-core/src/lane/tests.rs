//! A worker that writes replies as no worker does.

use std::fs::File;
use std::os::unix::fs::FileExt;

use pool_ipc::{Flow, Header, MORE, WorkerEnd};

use super::replies::{ANNOUNCED_MAX, MESSAGE_MAX};
use super::*;
use crate::codec::bytes::Cut;
use crate::lane::messages::{RECORD_BYTES, ReplyKind, Request, reply, rules};
use crate::lane::reply::Body;

const RING: usize = 4096;

struct Victim {
    lane: Lane,
    worker: WorkerEnd,
    memory: File,
}

impl Victim {
    fn new() -> Self {
        let (end, memory) = HostEnd::create(RING, RING).expect("there is memory for two pages");
        let worker = WorkerEnd::open(&memory).expect("it is a lane");
        // Nobody is killed by way of a descriptor that is of no process.
        let no_process = memory.worker.try_clone().expect("there is room for a descriptor");
        Victim { lane: Lane::new(end, 0, no_process), worker, memory: File::from(memory.worker) }
    }

    fn reply(&mut self, header: Header, bytes: &[u8]) {
        let sent = self.worker.replies.send(&header, bytes, 0);
        assert!(sent.done, "the ring has room for it");
    }

    /// One record, whatever it says, that fits before the ring's end.
    fn record(&mut self, header: Header, bytes: &[u8]) {
        self.worker.replies.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.worker.replies.publish(&header, bytes.len());
    }
}

fn header(kind: u16, flags: u16, count: u32) -> Header {
    Header { kind, flags, count, ..Header::default() }
}

#[test]
fn replies_of_honest_workers_are_taken() {
    let honest = [
        header(ReplyKind::Values.kind(), 0, 3),
        header(ReplyKind::Values.kind(), reply::LAST, 3),
        header(ReplyKind::Values.kind(), reply::RAW, 1),
        header(ReplyKind::Values.kind(), reply::TIMED, 1),
        header(ReplyKind::Values.kind(), reply::TIMED | reply::RAW | reply::LAST, 1),
        header(ReplyKind::Failed.kind(), reply::TIMED, 1),
        header(ReplyKind::Values.kind(), reply::LAST | reply::OVER_RSS, 0),
        header(ReplyKind::Failed.kind(), 0, 1),
        Header { extra: 7, limit: 8, ..header(ReplyKind::Report.kind(), 0, 0) },
    ];
    for header in honest {
        let mut victim = Victim::new();
        victim.reply(header, b"some bytes");
        let reply = victim.lane.next_reply().expect("a reply").expect("the first");
        assert_eq!(reply.items, header.count);
        assert_eq!(victim.lane.take(reply.body)[..], b"some bytes"[..]);
        assert!(victim.lane.next_reply().expect("no more").is_none());
    }
}

#[test]
fn replies_that_no_worker_writes_are_refused() {
    let hostile = [
        header(0, 0, 1),
        header(4, reply::LAST, 1),
        // It settles nothing, and is no part of the record of values.
        header(ReplyKind::Report.kind(), 0, 1),
        header(ReplyKind::Report.kind(), reply::LAST, 0),
        header(ReplyKind::Report.kind(), reply::RAW, 0),
        header(ReplyKind::Report.kind(), reply::TIMED, 0),
        header(u16::MAX, !MORE, u32::MAX),
        header(ReplyKind::Values.kind(), 1 << 5, 1),
        header(ReplyKind::Values.kind(), (1 << 14) | reply::LAST, 1),
        // It says nothing, and could be said for ever.
        header(ReplyKind::Values.kind(), 0, 0),
        header(ReplyKind::Values.kind(), reply::OVER_RSS, 0),
        // A failure is one item's.
        header(ReplyKind::Failed.kind(), 0, 0),
        header(ReplyKind::Failed.kind(), reply::LAST, 2),
        header(ReplyKind::Failed.kind(), 0, u32::MAX),
        // So is a value as it is.
        header(ReplyKind::Values.kind(), reply::RAW, 2),
        header(ReplyKind::Values.kind(), reply::TIMED, 2),
        header(ReplyKind::Values.kind(), reply::TIMED | reply::LAST, 0),
        header(ReplyKind::Values.kind(), reply::RAW | reply::LAST, 0),
        header(ReplyKind::Failed.kind(), reply::RAW, 1),
    ];
    for header in hostile {
        let mut victim = Victim::new();
        victim.reply(header, b"some bytes");
        assert!(victim.lane.next_reply().is_err(), "{header:?}");
    }
}

/// A lane as workers have it. None of its requests is answered.
fn growing() -> (Lane, WorkerEnd) {
    let (end, memory) = Lane::memory().expect("there is memory for a lane");
    let worker = WorkerEnd::open(&memory).expect("it is a lane");
    (Lane::new(end, 0, memory.host), worker)
}

fn take_all(worker: &mut WorkerEnd) {
    while let Some(record) = worker.requests.peek().expect("the host is honest") {
        worker.requests.release(&record);
    }
}

#[test]
fn a_ring_does_not_grow_for_calls_that_are_taken_one_by_one() {
    let (mut lane, mut worker) = growing();
    for _ in 0..100_000 {
        lane.send_cut(header(Request::Run.kind(), 0, 1), Cut { bytes: vec![0; 100].into(), range: 0..100 });
        take_all(&mut worker);
        lane.pump();
        take_all(&mut worker);
    }
    assert_eq!(lane.end.requests.extent(), RING_BYTES);
}

/// Chunks of some calls, most of which wait, can all be taken back, wherever in the ring they lie.
#[test]
fn no_chunk_is_cut() {
    for bytes in [100, 3000, 10_000, RECORD_BYTES] {
        let (mut lane, mut worker) = growing();
        for seq in 1..2000 {
            let header = Header { seq, limit: 31, ..header(Request::Run.kind(), 0, 31) };
            lane.send_cut(header, Cut { bytes: vec![0; bytes].into(), range: 0..bytes });
            if seq % 3 == 0 {
                let record = worker.requests.peek().expect("the host is honest").expect("there are more");
                worker.requests.release(&record);
                let header =
                    Header { seq: record.header.seq, ..self::header(ReplyKind::Values.kind(), reply::LAST, 31) };
                assert!(worker.replies.send(&header, &[], 0).done);
                let reply = lane.next_reply().expect("the worker is honest").expect("the one");
                let _ = lane.take(reply.body);
                lane.pump();
            }
            assert!(seq > 1000 || lane.sent.len() < 700);
        }
        for seq in 1000..2000 {
            assert_eq!(lane.recall(seq, 31, false), 0, "chunk {seq} of {bytes} bytes");
        }
    }
}

#[test]
fn a_ring_grows_for_replies_no_further_than_need_be() {
    // Each takes 160 bytes of the ring.
    for (replies, extent) in [(10, RING_BYTES), (75, 2 * RING_BYTES), (500, 16 * RING_BYTES)] {
        let (mut lane, mut worker) = growing();
        for _ in 0..1000 {
            for _ in 0..replies {
                while !worker.replies.send(&header(ReplyKind::Values.kind(), 0, 1), &[0; 100], 0).done {
                    assert!(take_replies(&mut lane) > 0);
                }
            }
            take_replies(&mut lane);
        }
        assert!(lane.end.replies.extent() <= extent, "{replies} replies: {}", lane.end.replies.extent());
    }
}

fn take_replies(lane: &mut Lane) -> usize {
    let next = || lane.next_reply().expect("the worker is honest").map(|reply| _ = lane.take(reply.body));
    std::iter::from_fn(next).count()
}

#[test]
fn a_ring_grows_for_requests_that_are_not_taken_as_far_as_it_has_been_used() {
    let (mut lane, mut worker) = growing();
    let send = |lane: &mut Lane| lane.send(&header(Request::Run.kind(), 0, 1), &[0; 100]);
    while send(&mut lane) {}
    assert_eq!(lane.end.requests.extent(), 4 * RING_BYTES, "a short map touches little memory");
    for _ in 0..100 {
        take_all(&mut worker);
        // The first of the next round: what is in the ring lies in one piece then.
        assert!(send(&mut lane));
        take_all(&mut worker);
        while send(&mut lane) {}
    }
    assert_eq!(lane.end.requests.extent(), RING_BYTES_MAX);
}

#[test]
fn a_ring_grows_for_long_messages() {
    let few_and_many = [(RING_BYTES, 10, 4 * RING_BYTES), (RING_BYTES, 1000, 32 * RING_BYTES)];
    for (length, messages, extent) in few_and_many.into_iter().chain([(4 * RING_BYTES_MAX, 10, RING_BYTES_MAX)]) {
        let (mut lane, mut worker) = growing();
        for _ in 0..messages {
            lane.send_cut(header(Request::Run.kind(), 0, 1), Cut { bytes: vec![0; length].into(), range: 0..length });
            take_all(&mut worker);
            while !lane.outgoing.is_empty() {
                lane.pump();
                take_all(&mut worker);
            }
        }
        assert_eq!(lane.end.requests.extent(), extent, "{messages} of {length} bytes");
    }
}

/// Records without end that all say that more comes.
fn endless(bytes: &[u8]) -> usize {
    let mut victim = Victim::new();
    let mut records = 0;
    loop {
        victim.record(header(ReplyKind::Values.kind(), MORE, 1), bytes);
        records += 1;
        match victim.lane.next_reply() {
            Ok(None) => assert!(victim.lane.gathered.len() <= MESSAGE_MAX),
            Ok(Some(_)) => panic!("it has no end"),
            Err(_) => return records,
        }
    }
}

#[test]
fn a_reply_without_end_is_refused() {
    assert_eq!(endless(&[7; 224]), MESSAGE_MAX / 224 + 1);
    // These take 64 and 32 bytes of the ring.
    assert_eq!(endless(&[7; 1]), 2 * MESSAGE_MAX / 64 + 2);
    assert_eq!(endless(&[]), 2 * MESSAGE_MAX / 32 + 2);
}

#[test]
fn a_reply_in_pieces_is_taken_one_ringful_at_a_time() {
    let mut victim = Victim::new();
    let long: Vec<u8> = (0..10 * RING).map(|i| i as u8).collect();
    let (mut sent, mut rounds) = (0, 0);
    let reply = loop {
        // Before the host has looked again, there is more.
        let step = victim.worker.replies.send(&header(ReplyKind::Values.kind(), 0, 1), &long, sent);
        sent = step.sent;
        rounds += 1;
        if let Some(reply) = victim.lane.next_reply().expect("no lie in it") {
            break reply;
        }
    };
    assert_eq!(victim.lane.take(reply.body)[..], long);
    assert!(rounds >= 10);
}

#[test]
fn a_worker_that_writes_over_its_place_in_the_request_ring_is_found_out() {
    let mut victim = Victim::new();
    let body = vec![1; 2 * RING];
    victim.lane.send_cut(Header { kind: Request::Run.kind(), count: 1, ..Header::default() }, body.into());
    assert!(!victim.lane.has_news() && victim.lane.next_reply().expect("nothing is wrong").is_none());
    // `head` of the call ring, in the worker's words.
    victim.memory.write_all_at(&u64::MAX.to_ne_bytes(), 128).expect("the memory can be written");
    victim.lane.pump();
    assert!(victim.lane.has_news(), "or nobody would look");
    assert!(victim.lane.next_reply().is_err());
    victim.lane.is_corrupt = true;
    assert!(!victim.lane.has_news(), "or the host would look for ever");
}

#[test]
fn a_reply_in_pieces_has_the_memory_that_it_announces_within_bounds() {
    for (announced, most) in [(10_000, 10_000), (0, 20_000), (u64::MAX, ANNOUNCED_MAX as usize)] {
        let mut victim = Victim::new();
        let header = Header { info: announced, ..header(ReplyKind::Values.kind(), 0, 1) };
        let (bytes, mut sent) = (vec![7; 10_000], 0);
        let reply = loop {
            sent = victim.worker.replies.send(&header, &bytes, sent).sent;
            if let Some(reply) = victim.lane.next_reply().expect("the worker is honest") {
                break reply;
            }
        };
        let Body::Gathered(gathered) = reply.body else { panic!("it came in pieces") };
        assert_eq!(gathered, bytes);
        assert!(gathered.capacity() <= most, "{announced} bytes announced, {} taken", gathered.capacity());
    }
}

/// A record of reports of call 5.
const REPORT: Header =
    Header { kind: ReplyKind::Report.kind(), flags: 0, seq: 5, count: 0, limit: 0, extra: 0, info: 0 };

/// Takes in the record of reports that is there, as if this were to follow.
fn take_report(lane: &mut Lane, flow: Flow) -> (Vec<u8>, bool) {
    let reply = lane.next_reply().expect("a report").expect("the next");
    let mut body = reply.body;
    let bytes = lane.copy_reports(&mut body).into_vec();
    let keeps_to_it = lane.release_reports(body, bytes.len(), reply.seq, flow);
    (bytes, keeps_to_it)
}

#[test]
fn reports_are_released_together_with_an_order() {
    let Victim { mut lane, mut worker, .. } = Victim::new();
    assert!(worker.replies.send(&REPORT, b"ab", 0).done);
    assert!(worker.replies.send(&REPORT, b"cd", 0).done);
    assert_eq!(worker.orders.order().flow(5), Flow::Go);
    assert_eq!(take_report(&mut lane, Flow::Hold), (b"ab".to_vec(), true));
    let order = worker.orders.order();
    assert_eq!((order.flow(5), order.flow(6)), (Flow::Hold, Flow::Go));
    assert_eq!(take_report(&mut lane, Flow::Hold), (b"cd".to_vec(), true));
    let last = Header { seq: 5, ..header(ReplyKind::Values.kind(), reply::LAST, 1) };
    lane.order_reports(5, Flow::Go);
    assert_eq!(worker.orders.order().flow(5), Flow::Go);
    assert!(worker.replies.send(&last, b"", 0).done);
    assert!(lane.next_reply().expect("it was allowed to go on").is_some());
}

#[test]
fn a_worker_that_reports_on_and_on_is_found_out() {
    let Victim { mut lane, mut worker, .. } = Victim::new();
    let reports = (1..).find(|_| {
        assert!(worker.replies.send(&REPORT, &[7; 1000], 0).done);
        !take_report(&mut lane, Flow::Hold).1
    });
    assert!(reports.is_some_and(|reports| (2000..2100).contains(&reports)), "{reports:?}");
    let Victim { mut lane, mut worker, .. } = Victim::new();
    assert!(worker.replies.send(&REPORT, b"", 0).done);
    take_report(&mut lane, Flow::Hold);
    let last = Header { seq: 5, ..header(ReplyKind::Values.kind(), reply::LAST, 1) };
    assert!(worker.replies.send(&last, b"", 0).done);
    assert!(lane.next_reply().is_err(), "it ends a request whose reports it is to hold back");
}

/// A worker that is at the last of these items of call 5, and has written so many bytes for each before it.
fn at_item(worker: &mut WorkerEnd, item: u32, bytes: &[u8]) {
    worker.replies.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
    worker.progress.claim(5, 9);
    worker.progress.begin_item(item, worker.replies.unpublished_end(bytes.len()));
}

#[test]
fn values_of_a_living_worker_are_taken_once() {
    let Victim { mut lane, mut worker, .. } = Victim::new();
    assert!(lane.take_finished(5, 0).is_none(), "it has begun nothing");
    at_item(&mut worker, 2, b"aabb");
    assert!(lane.take_finished(4, 0).is_none() && lane.take_finished(6, 0).is_none(), "of another call");
    let (items, values) = lane.take_finished(5, 0).expect("two values");
    assert_eq!((items, &values[..]), (2, &b"aabb"[..]));
    assert!(lane.take_finished(5, 2).is_none());
    at_item(&mut worker, 3, b"aabbcc");
    let (items, values) = lane.take_finished(5, 2).expect("another value");
    assert_eq!((items, &values[..]), (1, &b"cc"[..]));
    let last = Header { seq: 5, ..header(ReplyKind::Values.kind(), reply::LAST, 4) };
    worker.replies.spare(8)[..8].copy_from_slice(b"aabbccdd");
    worker.replies.publish(&last, 8);
    assert!(lane.take_finished(5, 3).is_none(), "it is published");
    let reply = lane.next_reply().expect("a reply").expect("the rest");
    assert_eq!((reply.items, reply.last), (1, true));
    assert_eq!(lane.take(reply.body)[..], b"dd"[..]);
    assert!(lane.take_finished(5, 4).is_none(), "the progress is of a draft that was published");
    // The next reply is whole again.
    worker.replies.spare(2)[..2].copy_from_slice(b"ee");
    worker.replies.publish(&last, 2);
    let reply = lane.next_reply().expect("a reply").expect("all of it");
    assert_eq!((reply.items, &lane.take(reply.body)[..]), (4, &b"ee"[..]));
}

/// A lane with a request of items that may report, which the worker has begun.
fn reporting(victim: &mut Victim) {
    victim.lane.send_rules(Header { kind: Request::Rules.kind(), flags: rules::REPORTS, seq: 5, ..Header::default() });
    victim.lane.send_cut(
        Header { kind: Request::Run.kind(), seq: 5, count: 9, limit: 9, ..Header::default() },
        Cut::default(),
    );
    victim.worker.progress.claim(5, 9);
}

#[test]
fn reports_of_a_living_worker_are_taken_once() {
    let mut victim = Victim::new();
    at_item(&mut victim.worker, 2, b"aabb");
    assert!(!victim.lane.may_hold_reports() && victim.lane.take_held_reports(5, 2).is_none(), "these are values");
    reporting(&mut victim);
    let Victim { mut lane, mut worker, .. } = victim;
    assert!(lane.may_hold_reports());
    assert!(lane.take_held_reports(5, 1).is_none() && lane.take_held_reports(6, 2).is_none(), "of another item");
    let before = worker.orders.order();
    at_item(&mut worker, 2, b"of typesaabb");
    let taken = |lane: &mut Lane| lane.take_held_reports(5, 2).map(Bytes::into_vec);
    assert_eq!(taken(&mut lane).as_deref(), Some(&b"of typesaabb"[..]));
    assert!(lane.answer_reports(4, 5, Flow::Go));
    assert_ne!(worker.orders.order(), before, "the worker learns of it");
    assert!(taken(&mut lane).is_none());
    at_item(&mut worker, 2, b"of typesaabbcc");
    assert_eq!(taken(&mut lane).as_deref(), Some(&b"of typescc"[..]), "each part has the type");
    worker.replies.spare(16)[..16].copy_from_slice(b"of typesaabbccdd");
    worker.replies.publish(&REPORT, 16);
    assert!(taken(&mut lane).is_none(), "it is published");
    assert_eq!(take_report(&mut lane, Flow::Go), (b"of typesdd".to_vec(), true));
    assert_eq!(worker.replies.backlog(), 0);
    assert!(taken(&mut lane).is_none(), "the progress is of a record that was published");
    // The next record is whole again.
    at_item(&mut worker, 2, b"of typese");
    assert_eq!(taken(&mut lane).as_deref(), Some(&b"of typese"[..]));
    worker.replies.publish(&REPORT, 9);
    assert_eq!(take_report(&mut lane, Flow::Go), (b"of types".to_vec(), true), "no report of it is left");
}

#[test]
fn a_record_without_its_taken_reports_is_refused() {
    let lies = [(REPORT, 9), (Header { seq: 6, ..REPORT }, 10), (header(ReplyKind::Values.kind(), 0, 1), 10)];
    for (lie, bytes) in lies {
        let mut victim = Victim::new();
        reporting(&mut victim);
        let Victim { mut lane, mut worker, .. } = victim;
        at_item(&mut worker, 0, b"of typesaa");
        assert!(lane.take_held_reports(5, 0).is_some());
        worker.replies.publish(&lie, bytes);
        assert!(lane.next_reply().is_err(), "{lie:?}");
    }
}

#[test]
fn a_dead_worker_leaves_the_values_not_taken_before() {
    let Victim { mut lane, mut worker, .. } = Victim::new();
    at_item(&mut worker, 2, b"aabb");
    lane.take_finished(5, 0).expect("two values");
    at_item(&mut worker, 3, b"aabbcc");
    let remains = lane.remains();
    assert_eq!(lane.salvage(&remains).as_deref(), Some(&b"cc"[..]));
}

#[test]
fn a_reply_without_its_taken_part_is_refused() {
    let lies = [
        Header { seq: 5, ..header(ReplyKind::Values.kind(), reply::LAST, 1) },
        Header { seq: 6, ..header(ReplyKind::Values.kind(), reply::LAST, 2) },
        Header { seq: 5, ..header(ReplyKind::Failed.kind(), 0, 1) },
        Header { seq: 5, ..header(ReplyKind::Values.kind(), reply::RAW, 1) },
    ];
    for lie in lies {
        let Victim { mut lane, mut worker, .. } = Victim::new();
        at_item(&mut worker, 2, b"aabb");
        lane.take_finished(5, 0).expect("two values");
        worker.replies.publish(&lie, 4);
        assert!(lane.next_reply().is_err(), "{lie:?}");
    }
    let Victim { mut lane, mut worker, .. } = Victim::new();
    at_item(&mut worker, 2, b"aabb");
    lane.take_finished(5, 0).expect("two values");
    worker.replies.publish(&Header { seq: 5, ..header(ReplyKind::Values.kind(), reply::LAST, 2) }, 3);
    assert!(lane.next_reply().is_err(), "it has become shorter");
}
