//! Random traffic against a queue of whole messages.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, prop_oneof, proptest};

use super::super::{Consumer, Header, Producer};
use super::{growing_on_heap, pattern};

#[derive(Debug, Clone)]
enum Step {
    /// Begin a message of this length, if none is under way.
    Begin(usize),
    /// Begin one that goes in one record, if it fits and none is under way.
    Whole(usize),
    /// Send as much of it as fits.
    Send,
    /// Publish a record of at most this length in place, if no message is under way.
    Build(usize),
    /// Take this many records.
    Take(usize),
    /// Use twice as much of the memory.
    Grow,
}

fn step(longest: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..longest).prop_map(Step::Begin),
        (0..longest).prop_map(Step::Whole),
        (0..4usize).prop_map(|_| Step::Send),
        (0..longest).prop_map(Step::Build),
        (0..6usize).prop_map(Step::Take),
        (0..6usize).prop_map(|one| if one == 0 { Step::Grow } else { Step::Take(one) }),
    ]
}

struct Traffic {
    producer: Producer,
    consumer: Consumer,
    /// The message that is being sent, and how much of it has been.
    under_way: Option<(Header, Vec<u8>, usize)>,
    /// The messages that have been sent, or begun, and not arrived.
    expected: VecDeque<(Header, Vec<u8>)>,
    arriving: Vec<u8>,
    seq: u32,
}

impl Traffic {
    fn header(&mut self) -> Header {
        self.seq += 1;
        Header { kind: 1, seq: self.seq, info: u64::from(self.seq) << 33, ..Header::default() }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Begin(len) if self.under_way.is_none() => {
                let (header, payload) = (self.header(), pattern(len, len));
                self.expected.push_back((header, payload.clone()));
                self.under_way = Some((header, payload, 0));
                self.send();
            }
            Step::Whole(len) if self.under_way.is_none() && self.producer.fits(len) => {
                let (header, payload) = (self.header(), pattern(len, len));
                let position = self.producer.position();
                let step = self.producer.send(&header, &payload, 0);
                assert!(step.done && step.position == Some(position));
                self.expected.push_back((header, payload));
            }
            Step::Build(want) if self.under_way.is_none() && self.producer.room(want).is_some() => {
                let header = self.header();
                let spare = self.producer.spare(want);
                let len = want.min(spare.len());
                let payload = pattern(want, len);
                spare[..len].copy_from_slice(&payload);
                self.producer.publish(&header, len);
                self.expected.push_back((header, payload));
            }
            Step::Take(records) => self.take(records),
            Step::Grow => {
                let extent = 2 * self.producer.extent();
                // In this order: the reader's extent must never be the smaller one.
                self.consumer.extend(extent);
                self.producer.extend(extent);
            }
            Step::Begin(_) | Step::Whole(_) | Step::Build(_) | Step::Send => self.send(),
        }
        let fill = self.producer.backlog();
        assert!(fill <= self.producer.capacity() as u64);
        assert_eq!(self.consumer.has_news(), fill > 0);
    }

    fn send(&mut self) {
        if let Some((header, payload, sent)) = &mut self.under_way {
            let step = self.producer.send(header, payload, *sent);
            assert!(step.sent >= *sent && step.done <= (step.sent == payload.len()));
            *sent = step.sent;
            if step.done {
                self.under_way = None;
            }
        }
    }

    fn take(&mut self, records: usize) {
        for _ in 0..records {
            let Some(record) = self.consumer.peek().expect("an honest peer") else { return };
            self.consumer.copy(&record, &mut self.arriving);
            self.consumer.release(&record);
            if !record.more() {
                let (header, payload) = self.expected.pop_front().expect("sent before it arrived");
                assert_eq!(record.header, header);
                assert_eq!(std::mem::take(&mut self.arriving), payload);
            }
        }
    }
}

fn config() -> ProptestConfig {
    let cases = if cfg!(miri) { 4 } else { 256 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn a_ring_is_a_queue(log in 5u32..10, small in 0u32..5, steps in vec(step(700), 1..200)) {
        let (producer, consumer) = growing_on_heap(1 << log, 1 << log.saturating_sub(small).max(log.min(7)));
        let mut traffic = Traffic {
            producer, consumer, under_way: None, expected: VecDeque::new(), arriving: Vec::new(), seq: 0,
        };
        for step in &steps {
            traffic.run(step);
        }
        // Whatever is left arrives, unless the ring has room for headers only.
        while log > 5 && !traffic.expected.is_empty() {
            traffic.send();
            traffic.take(usize::MAX);
        }
    }
}
