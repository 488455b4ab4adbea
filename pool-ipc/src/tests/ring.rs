//! The behaviour of a ring, call by call.

use super::super::record::PAD;
use super::super::{Consumer, Error, Header, MORE, Producer};
use super::{growing_on_heap, on_heap, pattern};

const CAPACITY: usize = 256;

/// Takes all there is; true if that completes the message.
fn take(consumer: &mut Consumer, message: &mut Vec<u8>, header: &Header) -> Result<bool, Error> {
    while let Some(record) = consumer.peek()? {
        assert_eq!(Header { flags: record.header.flags & !MORE, ..record.header }, *header);
        consumer.copy(&record, message);
        consumer.release(&record);
        if !record.more() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn carry(producer: &mut Producer, consumer: &mut Consumer, header: &Header, payload: &[u8]) -> Result<Vec<u8>, Error> {
    let mut message = Vec::new();
    let mut sent = 0;
    loop {
        let step = producer.send(header, payload, sent);
        sent = step.sent;
        assert_eq!(take(consumer, &mut message, header)?, step.done);
        if step.done {
            assert_eq!(sent, payload.len());
            return Ok(message);
        }
        assert!(step.position.is_some(), "an empty ring takes something");
    }
}

#[test]
fn messages_of_all_lengths_arrive() -> Result<(), Error> {
    let (mut producer, mut consumer) = on_heap(CAPACITY);
    let around = |n: usize| n.saturating_sub(33)..=n + 33;
    let lengths = (0..70).chain(around(CAPACITY - 32)).chain(around(CAPACITY)).chain(around(10 * CAPACITY));
    for (seq, len) in lengths.enumerate() {
        let payload = pattern(seq, len);
        let header = Header { kind: 3, flags: 0x40, seq: seq as u32, count: 5, limit: 6, extra: 7, info: u64::MAX };
        assert_eq!(carry(&mut producer, &mut consumer, &header, &payload)?, payload, "{len} bytes");
    }
    Ok(())
}

#[test]
fn send_reports_its_progress() -> Result<(), Error> {
    let (mut producer, mut consumer) = on_heap(CAPACITY);
    let header = Header::default();
    let empty = producer.send(&header, &[], 0);
    assert_eq!((empty.sent, empty.position, empty.done), (0, Some(0), true));
    let part = producer.send(&header, &[1; CAPACITY], 0);
    // Two quarters with a header each: the rest is too small for a step of another.
    assert_eq!((part.sent, part.position, part.done), (CAPACITY / 2, Some(32), false));
    let full = producer.send(&header, &[1; CAPACITY], part.sent);
    assert_eq!((full.sent, full.position, full.done), (part.sent, None, false));
    assert_eq!((producer.room(0), producer.spare(0).len(), producer.backlog()), (None, 0, CAPACITY as u64));
    while let Some(record) = consumer.peek()? {
        consumer.release(&record);
    }
    let rest = producer.send(&header, &[1; CAPACITY], part.sent);
    assert_eq!((rest.sent, rest.position, rest.done), (CAPACITY, Some(CAPACITY as u64), true));
    assert_eq!(producer.send(&header, &[1; CAPACITY], CAPACITY).position, None, "there is nothing left to send");
    Ok(())
}

#[test]
fn a_full_ring_takes_no_empty_records_but_the_end_does() -> Result<(), Error> {
    let (mut producer, mut consumer) = on_heap(64);
    let first = producer.publish(&Header::default(), 0);
    assert_eq!((first, producer.room(1)), (0, Some(0)));
    let end = producer.send(&Header::default(), b"x", 0);
    assert_eq!((end.sent, end.position, end.done), (0, Some(32), false), "a header alone fits before the end");
    let record = consumer.peek()?.expect("the first");
    consumer.release(&record);
    let full = producer.send(&Header::default(), b"x", 0);
    assert_eq!((full.sent, full.position, full.done), (0, None, false), "room for a header, but not at the end");
    let record = consumer.peek()?.expect("the second");
    assert!(record.more());
    consumer.release(&record);
    assert!(producer.send(&Header::default(), b"x", 0).done);
    Ok(())
}

#[test]
fn a_record_is_built_in_place() -> Result<(), Error> {
    let (mut producer, mut consumer) = on_heap(CAPACITY);
    producer.spare(5)[..3].copy_from_slice(b"abc");
    producer.spare(5)[3..5].copy_from_slice(b"de");
    assert!(!consumer.has_news());
    let position = producer.publish(&Header { kind: 9, ..Header::default() }, 5);
    assert!(consumer.has_news());
    let record = consumer.peek()?.expect("published");
    assert_eq!((record.position(), record.len, record.more(), record.header.kind), (position, 5, false, 9));
    let mut middle = [0; 3];
    consumer.copy_range(&record, 1, &mut middle);
    assert_eq!(&middle, b"bcd");
    assert_eq!(consumer.peek()?.map(|again| again.position()), Some(position), "peek does not go on by itself");
    consumer.release(&record);
    assert!(!consumer.has_news());
    assert!(consumer.peek()?.is_none());
    Ok(())
}

#[test]
fn copies_are_right_at_every_alignment() -> Result<(), Error> {
    let (mut producer, mut consumer) = on_heap(CAPACITY);
    let payload = pattern(1, 100);
    assert!(producer.send(&Header::default(), &payload, 0).done);
    let record = consumer.peek()?.expect("sent");
    for at in 0..=100 {
        for len in 0..=100 - at {
            let mut out = vec![0; len];
            consumer.copy_range(&record, at, &mut out);
            assert_eq!(out, payload[at..at + len], "{len} bytes at {at}");
        }
    }
    Ok(())
}

#[test]
fn records_can_be_held_while_later_ones_are_read() -> Result<(), Error> {
    let (mut producer, mut consumer) = on_heap(CAPACITY);
    for byte in 0..3u8 {
        assert!(producer.send(&Header::default(), &[byte; 8], 0).done);
    }
    let first = consumer.peek()?.expect("first");
    let second = consumer.peek_after(&first)?.expect("second");
    let third = consumer.peek_after(&second)?.expect("third");
    assert!(consumer.peek_after(&third)?.is_none());
    let mut bytes = Vec::new();
    for record in [&third, &second, &first] {
        consumer.copy_range(record, 0, &mut [0; 8]);
        consumer.copy(record, &mut bytes);
    }
    assert_eq!(bytes, [[2; 8], [1; 8], [0; 8]].concat());
    consumer.release(&second);
    assert_eq!(producer.backlog(), 64);
    consumer.release(&first); // has gone with the second
    assert_eq!(producer.backlog(), 64);
    consumer.release(&third);
    assert_eq!(producer.backlog(), 0);
    Ok(())
}

#[test]
fn limits_are_revised_until_the_record_is_released() -> Result<(), Error> {
    let (mut producer, mut consumer) = on_heap(CAPACITY);
    let position = producer.publish(&Header { limit: 10, ..Header::default() }, 0);
    let record = consumer.peek()?.expect("published");
    assert_eq!((record.header.limit, consumer.limit(&record)), (10, 10));
    assert!(producer.revise(position, 4));
    assert_eq!((record.header.limit, consumer.limit(&record)), (10, 4));
    assert!(!producer.revise(position + 32, 1), "not published yet");
    consumer.release(&record);
    assert!(!producer.revise(position, 1));
    Ok(())
}

#[test]
fn a_ring_that_has_not_grown_goes_round_in_what_it_has() -> Result<(), Error> {
    let (mut producer, mut consumer) = growing_on_heap(4 * CAPACITY, CAPACITY);
    let most = CAPACITY as u64 - 64; // a header of its own, and one for the pad
    for round in 0..3 {
        assert_eq!(producer.room(CAPACITY), Some(most as usize));
        let position = producer.publish(&Header::default(), most as usize);
        assert_eq!(position, round * 4 * CAPACITY as u64);
        assert_eq!(producer.room(0), None, "the start is not free");
        let record = consumer.peek()?.expect("published");
        consumer.release(&record);
    }
    Ok(())
}

#[test]
fn a_ring_grows_where_it_stands() -> Result<(), Error> {
    let (mut producer, mut consumer) = growing_on_heap(2 * CAPACITY, CAPACITY);
    producer.publish(&Header::default(), CAPACITY - 64);
    assert_eq!(producer.room(1), None);
    consumer.extend(2 * CAPACITY);
    producer.extend(2 * CAPACITY);
    assert_eq!(producer.room(CAPACITY), Some(CAPACITY));
    assert_eq!(producer.publish(&Header::default(), CAPACITY), CAPACITY as u64 - 32);
    for expected in [CAPACITY - 64, CAPACITY] {
        let record = consumer.peek()?.expect("published");
        assert_eq!(record.len, expected);
        consumer.release(&record);
    }
    assert_eq!(producer.room(2 * CAPACITY), Some(2 * CAPACITY - 32), "and goes round in all of it");
    Ok(())
}

#[test]
fn a_pad_is_seen_by_nobody() -> Result<(), Error> {
    let (mut producer, mut consumer) = growing_on_heap(4 * CAPACITY, CAPACITY);
    producer.publish(&Header { kind: 1, ..Header::default() }, 32);
    producer.publish(&Header { kind: 2, ..Header::default() }, CAPACITY - 128);
    assert_eq!(producer.room(0), None, "the start is not free");
    let first = consumer.peek()?.expect("published");
    consumer.release(&first);
    assert_eq!(producer.room(0), Some(32), "behind the pad");
    let second = consumer.peek()?.expect("published");
    consumer.release(&second);
    assert!(consumer.has_news(), "the pad");
    assert!(consumer.peek()?.is_none());
    assert!(!consumer.has_news());
    assert!(producer.room(8).is_some());
    assert_eq!(producer.publish(&Header { kind: 3, ..Header::default() }, 8), 1024);
    assert_eq!(consumer.peek()?.map(|record| (record.header.kind, record.position())), Some((3, 1024)));
    Ok(())
}

#[test]
fn a_message_that_is_to_be_whole_goes_to_the_start() -> Result<(), Error> {
    let (mut producer, mut consumer) = on_heap(CAPACITY);
    assert!(!producer.fits(CAPACITY));
    producer.publish(&Header::default(), CAPACITY - 128);
    assert!(!producer.fits(128), "the start is not free");
    let record = consumer.peek()?.expect("published");
    consumer.release(&record);
    assert!(producer.fits(64) && producer.position() == CAPACITY as u64 - 96, "here");
    assert!(producer.fits(128) && producer.position() == CAPACITY as u64, "there");
    assert!(producer.send(&Header::default(), &[7; 128], 0).done);
    assert!(!producer.fits(CAPACITY - 32 - 160), "the pad has not been passed");
    assert_eq!(consumer.peek()?.map(|record| (record.len, record.more())), Some((128, false)));
    assert!(producer.fits(CAPACITY - 32 - 160), "it has");
    assert_eq!(producer.position(), CAPACITY as u64 + 160);
    Ok(())
}

#[test]
fn pads_that_lead_nowhere_are_refused() {
    let (mut producer, mut consumer) = on_heap(CAPACITY);
    producer.publish(&Header::default(), 32);
    consumer.peek().expect("sound");
    let forge = |producer: &mut Producer, position| producer.forge(position, &Header::default(), PAD);
    forge(&mut producer, 0);
    assert!(matches!(consumer.peek(), Err(Error::Corrupt { word: "flags", .. })), "from the start to the start");
    let (mut producer, mut consumer) = on_heap(CAPACITY);
    producer.publish(&Header::default(), 0);
    producer.publish(&Header::default(), 0);
    let record = consumer.peek().expect("sound").expect("published");
    consumer.release(&record);
    forge(&mut producer, 32);
    assert!(matches!(consumer.peek(), Err(Error::Corrupt { word: "flags", .. })), "past what is published");
}

#[test]
fn records_where_no_memory_was_taken_are_refused() {
    let (mut producer, consumer) = on_heap(CAPACITY);
    let mut consumer = consumer.growing(CAPACITY / 2);
    producer.publish(&Header::default(), CAPACITY / 2);
    assert!(matches!(consumer.peek(), Err(Error::Corrupt { word: "len", .. })));
    let (mut producer, consumer) = on_heap(CAPACITY);
    let mut consumer = consumer.growing(CAPACITY / 2);
    producer.publish(&Header::default(), CAPACITY / 2 - 32);
    producer.publish(&Header::default(), 0);
    let record = consumer.peek().expect("sound").expect("published");
    consumer.release(&record);
    assert!(matches!(consumer.peek(), Err(Error::Corrupt { word: "tail", .. })));
}

#[test]
#[should_panic(expected = "room for")]
fn publishing_more_than_there_is_room_for_panics() {
    let (mut producer, _consumer) = on_heap(CAPACITY);
    producer.publish(&Header::default(), CAPACITY - 31);
}

#[test]
#[should_panic(expected = "released")]
fn reading_a_released_record_panics() {
    let (mut producer, mut consumer) = on_heap(CAPACITY);
    producer.publish(&Header::default(), 8);
    let record = consumer.peek().expect("sound").expect("published");
    consumer.release(&record);
    consumer.copy(&record, &mut Vec::new());
}

#[test]
#[should_panic(expected = "a record with a changed length")]
fn reading_past_a_record_panics() {
    let (mut producer, mut consumer) = on_heap(CAPACITY);
    producer.publish(&Header::default(), 8);
    let mut record = consumer.peek().expect("sound").expect("published");
    record.len = 33;
    consumer.copy(&record, &mut Vec::new());
}
