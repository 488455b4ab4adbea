//! The models. Each is a use of the crate in small, and says which weakness it must find.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::thread;

use super::consumer::Consumer;
use super::doorbell::{Doorbell, Switchboard, Watch};
use super::futex::Futex;
use super::last_words::LastWords;
use super::memory::Memory;
use super::orders::{Flow, Orders};
use super::producer::Producer;
use super::progress::Marks;
use super::record::{Header, Record};
use super::shared::Shared;
use super::sync::{AtomicU32, AtomicU64, Ordering, Weakness, weaken};

/// How often loom takes the CPU from a thread that could go on. Known bugs of this kind of code need two.
const PREEMPTIONS: usize = 3;

/// Loom's complaint about bytes that two threads touch without order.
const RACE: &str = "Causality violation";
/// Its complaint about a sleeper that is not woken.
const NOT_WOKEN: &str = "deadlock";

/// Runs a model as it is, where it must hold, and with each weakness given, where loom must complain in these words.
fn check(model: fn(), missed: &[(Weakness, &str)]) {
    let mut loom = Builder::new();
    loom.preemption_bound = Some(PREEMPTIONS);
    weaken(Weakness::None);
    loom.check(model);
    for &(weakness, complaint) in missed {
        weaken(weakness);
        let outcome = catch_unwind(AssertUnwindSafe(|| loom.check(model)));
        weaken(Weakness::None);
        let panic = outcome.expect_err("loom must miss something");
        let message = panic.downcast_ref::<String>().map_or("", String::as_str);
        assert!(message.contains(complaint), "{weakness:?}: {message}");
    }
}

fn shared<T: Send + Sync + 'static>(value: T) -> Shared<T> {
    let value = Arc::new(value);
    let at = NonNull::from(&*value);
    // SAFETY: the Arc keeps the value where it is.
    unsafe { Shared::new(value, at) }
}

fn ring(capacity: usize) -> (Producer, Consumer) {
    let memory = Memory::new(capacity);
    let (tail, head) = (shared(AtomicU64::new(0)), shared(AtomicU64::new(0)));
    let producer = Producer::new(memory.clone(), tail.clone(), head.clone());
    (producer, Consumer::new(memory, tail, head))
}

/// The words of one sleeper.
struct Bed {
    asleep: AtomicU32,
    bell: Futex,
}

impl Bed {
    fn new() -> Arc<Bed> {
        Arc::new(Bed { asleep: AtomicU32::new(0), bell: Futex::new() })
    }

    fn doorbell(&self) -> Doorbell<'_> {
        Doorbell { asleep: &self.asleep, bell: &self.bell }
    }
}

/// Three records through a ring for two, so that the third lies where the first was.
#[test]
fn records_arrive_whole() {
    check(|| three_through(ring(128)), &[(Weakness::RelaxedPublish, RACE), (Weakness::NoAcquireFence, RACE)]);
}

/// As well in a ring that could be larger, behind a pad.
#[test]
fn records_arrive_whole_behind_a_pad() {
    fn model() {
        let (producer, consumer) = ring(256);
        three_through((producer.growing(160, None), consumer.growing(160)));
    }
    check(model, &[(Weakness::RelaxedPublish, RACE), (Weakness::NoAcquireFence, RACE)]);
}

fn three_through((mut producer, mut consumer): (Producer, Consumer)) {
    let sender = thread::spawn(move || {
        for seq in 1..=3 {
            while producer.room(8).is_none_or(|room| room < 8) {
                thread::yield_now();
            }
            producer.spare(8)[..8].fill(seq as u8);
            producer.publish(&Header { seq, info: u64::from(seq), ..Header::default() }, 8);
        }
    });
    for seq in 1..=3 {
        let record = await_record(&mut consumer);
        assert_eq!((record.len, record.header.seq, record.header.info), (8, seq, u64::from(seq)));
        let mut bytes = Vec::new();
        consumer.copy(&record, &mut bytes);
        assert_eq!(bytes, [seq as u8; 8]);
        consumer.release(&record);
    }
    sender.join().unwrap();
}

/// The host holds the reports back before it releases the last one: a worker that finds all released must not go on to its next
/// request, with reports that would be too many.
#[test]
fn a_worker_whose_reports_are_taken_knows_whether_to_hold() {
    fn model() {
        let (mut producer, mut consumer) = ring(64);
        let orders = Arc::new(Orders::default());
        let host = Arc::clone(&orders);
        producer.publish(&Header { seq: 7, ..Header::default() }, 0);
        let host = thread::spawn(move || {
            let record = await_record(&mut consumer);
            host.set_flow(record.header.seq, Flow::Hold, 1);
            consumer.release(&record);
        });
        while producer.backlog() > 0 {
            thread::yield_now();
        }
        assert_eq!(orders.order().flow(7), Flow::Hold, "the order is not seen");
        assert_eq!(orders.order().flow(8), Flow::Go);
        host.join().unwrap();
    }
    let not_seen = "the order is not seen";
    check(model, &[(Weakness::RelaxedPublish, not_seen), (Weakness::NoAcquireFence, not_seen)]);
}

/// Bytes to which a request only points: the host writes them before the request, and again after the reply.
#[test]
fn bytes_that_a_request_points_to_are_whole() {
    fn model() {
        // Loom's own `Arc`: the cell must not be shared, and loom checks that.
        let place = loom::sync::Arc::new(UnsafeCell::new(0));
        let ((mut requests, mut incoming), (mut replies, mut answers)) = (ring(64), ring(64));
        let theirs = place.clone();
        let worker = thread::spawn(move || {
            for seq in 1..=2 {
                let request = await_record(&mut incoming);
                // SAFETY: loom complains if anybody writes meanwhile.
                theirs.with(|found| assert_eq!(unsafe { *found }, seq));
                incoming.release(&request);
                assert!(replies.send(&Header::default(), &[], 0).done);
            }
        });
        for seq in 1..=2 {
            // SAFETY: loom complains if anybody reads meanwhile.
            place.with_mut(|place| unsafe { *place = seq });
            assert!(requests.send(&Header::default(), &[], 0).done);
            let reply = await_record(&mut answers);
            answers.release(&reply);
        }
        worker.join().unwrap();
    }
    check(model, &[(Weakness::RelaxedPublish, RACE), (Weakness::NoAcquireFence, RACE)]);
}

fn await_record(ring: &mut Consumer) -> Record {
    loop {
        match ring.peek().expect("an honest peer") {
            Some(record) => return record,
            None => thread::yield_now(),
        }
    }
}

/// A message larger than the ring, which is sent as room comes free.
#[test]
fn long_messages_arrive_whole() {
    fn model() {
        let (mut producer, mut consumer) = ring(64);
        let sender = thread::spawn(move || {
            let mut sent = 0;
            loop {
                let step = producer.send(&Header::default(), &[5; 40], sent);
                sent = step.sent;
                if step.done {
                    break;
                }
                thread::yield_now();
            }
        });
        let mut bytes = Vec::new();
        loop {
            let Some(record) = consumer.peek().expect("an honest peer") else {
                thread::yield_now();
                continue;
            };
            consumer.copy(&record, &mut bytes);
            consumer.release(&record);
            if !record.more() {
                break;
            }
        }
        assert_eq!(bytes, [5; 40]);
        sender.join().unwrap();
    }
    check(model, &[(Weakness::RelaxedPublish, RACE), (Weakness::NoAcquireFence, RACE)]);
}

/// A worker that goes to sleep between two requests: if one did not wake it, loom would report a deadlock.
#[test]
fn a_request_wakes_the_worker() {
    fn model() {
        let (mut producer, mut consumer) = ring(128);
        let bed = Bed::new();
        let worker = thread::spawn({
            let bed = Arc::clone(&bed);
            move || {
                for seq in 1..=2 {
                    bed.doorbell().wait(|| consumer.has_news(), None);
                    let record = consumer.peek().expect("an honest peer").expect("news");
                    assert_eq!(record.header.seq, seq);
                    consumer.release(&record);
                }
            }
        });
        for seq in 1..=2 {
            producer.publish(&Header { seq, ..Header::default() }, 0);
            bed.doorbell().notify_once();
        }
        worker.join().unwrap();
    }
    check(model, &[(Weakness::NoStoreLoadFence, NOT_WOKEN)]);
}

/// A worker that is also notified before there is a request. That must not count as the notification for the request.
#[test]
fn an_early_notification_is_not_the_last() {
    fn model() {
        let (mut producer, consumer) = ring(64);
        let bed = Bed::new();
        let worker = thread::spawn({
            let bed = Arc::clone(&bed);
            move || bed.doorbell().wait(|| consumer.has_news(), None)
        });
        bed.doorbell().notify_once();
        producer.publish(&Header::default(), 0);
        bed.doorbell().notify_once();
        worker.join().unwrap();
    }
    check(model, &[(Weakness::NoStoreLoadFence, NOT_WOKEN)]);
}

/// A worker that sleeps until the host has made room.
#[test]
fn room_wakes_the_worker() {
    fn model() {
        let (mut producer, mut consumer) = ring(64);
        let bed = Bed::new();
        producer.publish(&Header::default(), 32);
        let worker = thread::spawn({
            let bed = Arc::clone(&bed);
            move || {
                bed.doorbell().wait(|| producer.roomy(1), None);
                producer.spare(1)[0] = 1;
                producer.publish(&Header::default(), 1);
            }
        });
        let record = consumer.peek().expect("an honest peer").expect("sent before");
        consumer.release(&record);
        bed.doorbell().notify_once();
        worker.join().unwrap();
        assert!(consumer.has_news());
    }
    check(model, &[(Weakness::NoStoreLoadFence, NOT_WOKEN)]);
}

/// Two workers that notify one sleeper.
#[test]
fn many_notifiers_wake_one_sleeper() {
    fn model() {
        let bed = Bed::new();
        let news = Arc::new(AtomicU32::new(0));
        let notifiers: Vec<_> = (0..2)
            .map(|_| {
                let (bed, news) = (Arc::clone(&bed), Arc::clone(&news));
                thread::spawn(move || {
                    news.fetch_add(1, Ordering::Relaxed);
                    bed.doorbell().notify();
                })
            })
            .collect();
        bed.doorbell().wait(|| news.load(Ordering::Relaxed) == 2, None);
        for notifier in notifiers {
            notifier.join().unwrap();
        }
    }
    check(model, &[(Weakness::NoStoreLoadFence, NOT_WOKEN)]);
}

/// A leader that stops leading, and looks once more, while a worker replies: leader or router must hear of it.
#[test]
fn a_reply_is_not_lost_between_leader_and_router() {
    fn model() {
        struct Office {
            watch: AtomicU32,
            caller: Arc<Bed>,
            router: Arc<Bed>,
            news: AtomicU32,
        }
        impl Office {
            fn switchboard(&self) -> Switchboard<'_> {
                Switchboard { watch: &self.watch, caller: self.caller.doorbell(), router: self.router.doorbell() }
            }
            fn has_news(&self) -> bool {
                self.news.load(Ordering::Relaxed) != 0
            }
        }
        let watch = AtomicU32::new(Watch::Leader as u32);
        let office = Arc::new(Office { watch, caller: Bed::new(), router: Bed::new(), news: AtomicU32::new(0) });
        let worker = thread::spawn({
            let office = Arc::clone(&office);
            move || {
                office.news.store(1, Ordering::Relaxed);
                office.switchboard().notify();
            }
        });
        let router = thread::spawn({
            let office = Arc::clone(&office);
            move || office.router.doorbell().wait(|| office.has_news(), None)
        });
        office.switchboard().set_watch(Watch::Router);
        if office.has_news() {
            office.router.doorbell().notify();
        }
        router.join().unwrap();
        worker.join().unwrap();
    }
    check(model, &[(Weakness::NoStoreLoadFence, NOT_WOKEN)]);
}

/// A host that takes items back while the worker takes them on: the host lowers the limit, then believes the claim;
/// the worker claims, then obeys the limit. No item may be run by the worker and given to another.
#[test]
fn no_item_is_recalled_and_run() {
    const ITEMS: u32 = 4;
    const KEPT: u32 = 1;
    fn model() {
        let (mut producer, mut consumer) = ring(64);
        let marks = shared(Marks::default());
        let position = producer.publish(&Header { limit: ITEMS, ..Header::default() }, 0);
        let worker = thread::spawn({
            let marks = marks.clone();
            move || {
                let record = consumer.peek().expect("an honest peer").expect("sent before");
                marks.claim(1, ITEMS);
                consumer.limit(&record).min(ITEMS) // runs the items below this
            }
        });
        assert!(producer.revise(position, KEPT));
        let progress = marks.read();
        let claimed = if progress.seq == 1 { progress.claimed } else { 0 };
        let recalled_from = claimed.max(KEPT);
        let run_below = worker.join().unwrap();
        assert!(run_below <= recalled_from, "items up to {run_below} run, from {recalled_from} on recalled");
    }
    check(model, &[(Weakness::NoStoreLoadFence, "recalled")]);
}

/// A host that reads results that the worker has counted and not published; the worker goes on, or dies there.
#[test]
fn unpublished_results_can_be_salvaged() {
    fn model() {
        let (mut producer, mut consumer) = ring(128);
        let marks = shared(Marks::default());
        let worker = thread::spawn({
            let marks = marks.clone();
            move || {
                producer.spare(32)[..32].fill(7);
                marks.begin_item(1, producer.unpublished_end(32));
            }
        });
        let progress = marks.read();
        let mut unpublished = Vec::new();
        assert_eq!(consumer.salvage(progress.unpublished_end, &mut unpublished), progress.item == 1);
        assert_eq!(unpublished, vec![7; 32 * progress.item as usize]);
        worker.join().unwrap();
    }
    check(model, &[(Weakness::RelaxedPublish, RACE), (Weakness::NoAcquireFence, RACE)]);
}

/// A host that asks since when the worker runs its item, while the worker goes on to the first item of the next message,
/// which has the same number: an older time would have the worker killed too early.
#[test]
fn no_item_is_dated_by_the_one_before() {
    fn model() {
        let marks = shared(Marks::default());
        let worker = thread::spawn({
            let marks = marks.clone();
            move || {
                for seq in 1..=2 {
                    marks.stamp(10 * u64::from(seq));
                    marks.begin_item(0, 0);
                    marks.claim(seq, 1);
                }
            }
        });
        if let Some(progress) = marks.running() {
            assert!(progress.since_ns >= 10 * u64::from(progress.seq), "dated too early: {progress:?}");
        }
        worker.join().unwrap();
    }
    check(model, &[(Weakness::RelaxedPublish, "dated too early"), (Weakness::NoAcquireFence, "dated too early")]);
}

/// A host that reads the last words while the worker may still be writing them: it finds all or nothing.
#[test]
fn last_words_arrive_whole() {
    fn model() {
        let words = shared(LastWords::<2>::empty());
        let worker = thread::spawn({
            let words = words.clone();
            move || words.write(&[7, 8])
        });
        let found = words.read();
        assert!(found.is_empty() || found == [7, 8], "cut off: {found:?}");
        worker.join().unwrap();
    }
    check(model, &[(Weakness::RelaxedPublish, "cut off"), (Weakness::NoAcquireFence, "cut off")]);
}
