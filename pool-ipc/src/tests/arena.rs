//! The arena: host and worker in one process.

use std::thread;

use super::super::{Error, Hub, HubWorker, LOCATION_BYTES, SEGMENT_BYTES, Segment};
use super::{Random, pattern};

fn arena(segments: u32) -> Result<(Hub, HubWorker), Error> {
    let (hub, memory) = Hub::create(segments)?;
    let worker = HubWorker::open(&memory)?;
    Ok((hub, worker))
}

/// The bytes that a worker finds there. The segment must be kept meanwhile.
#[allow(unsafe_code, reason = "tests read what they have written")]
fn read(worker: &HubWorker, location: &[u8]) -> Option<Vec<u8>> {
    // SAFETY: nobody writes meanwhile.
    unsafe { worker.arena().bytes(location) }.map(<[u8]>::to_vec)
}

fn taken(hub: &Hub) -> Segment {
    hub.arena().take().expect("there is memory")
}

#[test]
fn workers_read_the_bytes_written() -> Result<(), Error> {
    let (hub, worker) = arena(3)?;
    let mut segments = [taken(&hub), taken(&hub), taken(&hub)];
    for (seed, segment) in segments.iter_mut().enumerate() {
        segment.stream(0, &pattern(seed, SEGMENT_BYTES));
    }
    for (seed, segment) in segments.into_iter().enumerate() {
        let written = segment.finish();
        assert_eq!(*written, pattern(seed, SEGMENT_BYTES));
        for range in [0..SEGMENT_BYTES, 0..0, 7..8, 100..5000, SEGMENT_BYTES..SEGMENT_BYTES] {
            assert_eq!(read(&worker, &written.locate(range.clone())).as_deref(), written.get(range));
        }
    }
    Ok(())
}

#[test]
fn pieces_of_any_length_stand_where_they_were_put() -> Result<(), Error> {
    let (hub, worker) = arena(1)?;
    let mut random = Random::new(1);
    let expected = pattern(5, SEGMENT_BYTES);
    for _ in 0..50 {
        let (mut segment, mut at) = (taken(&hub), 0);
        while at < SEGMENT_BYTES {
            let end = SEGMENT_BYTES.min(at + random.below(300) as usize);
            segment.stream(at, &expected[at..end]);
            at = end;
        }
        let written = segment.finish();
        assert_eq!(read(&worker, &written.locate(0..SEGMENT_BYTES)).as_ref(), Some(&expected));
        drop(written);
        taken(&hub).stream(0, &[0; SEGMENT_BYTES]);
    }
    Ok(())
}

#[test]
fn a_segment_is_somebodys_until_the_last_has_dropped_it() -> Result<(), Error> {
    let (hub, _worker) = arena(2)?;
    let (one, other) = (taken(&hub), taken(&hub));
    assert!(hub.arena().take().is_none(), "both are taken");
    let one = one.finish();
    let clone = one.clone();
    drop(one);
    assert!(hub.arena().take().is_none(), "somebody reads it");
    let place = clone.locate(0..1);
    drop((clone, other));
    assert_eq!(taken(&hub).finish().locate(0..1), place, "the one that has been free for longest comes first");
    assert!(arena(0)?.0.arena().take().is_none());
    Ok(())
}

#[test]
fn few_segments_take_turns_at_first_and_all_in_the_end() -> Result<(), Error> {
    const SEGMENTS: u32 = 12;
    let (hub, _worker) = arena(SEGMENTS)?;
    let places = |count: usize| -> std::collections::BTreeSet<_> {
        (0..count).map(|_| taken(&hub).finish().locate(0..1)).collect()
    };
    assert!(places(32).len() <= 6, "a short map touches little memory");
    assert!(places(32 * SEGMENTS as usize).len() > 6);
    assert_eq!(places(100).len() as u32, SEGMENTS, "the more take turns, the longer each has been free");
    Ok(())
}

#[test]
fn more_segments_take_turns_if_all_are_taken_and_another_is_asked_for() -> Result<(), Error> {
    let (hub, _worker) = arena(8)?;
    let mut held: Vec<_> = std::iter::from_fn(|| hub.arena().take()).collect();
    assert!(held.len() < 8);
    held.extend(std::iter::from_fn(|| hub.arena().take_or_grow()));
    assert_eq!(held.len(), 8);
    Ok(())
}

#[test]
fn bytes_that_are_no_location_are_refused() -> Result<(), Error> {
    let (hub, worker) = arena(2)?;
    let all = 2 * SEGMENT_BYTES as u64;
    let location = |start: u64, length: u64| (start | length << 32).to_le_bytes();
    assert_eq!(read(&worker, &location(0, all)).map(|bytes| bytes.len() as u64), Some(all));
    for (start, length) in [(0, all + 1), (1, all), (all + 1, 0), (u64::from(u32::MAX), u64::from(u32::MAX))] {
        assert_eq!(read(&worker, &location(start, length)), None, "{length} bytes at {start}");
    }
    assert_eq!(read(&worker, &[]), None);
    assert_eq!(read(&worker, &[0; LOCATION_BYTES - 1]), None);
    drop(hub);
    Ok(())
}

#[test]
#[should_panic(expected = "outside of the segment")]
fn a_segment_has_an_end() {
    let (hub, _worker) = arena(2).expect("there is memory");
    taken(&hub).stream(SEGMENT_BYTES - 1, &[0; 2]);
}

#[test]
fn threads_take_different_segments() -> Result<(), Error> {
    let (hub, worker) = arena(4)?;
    thread::scope(|scope| {
        for seed in 0..3_u8 {
            let (hub, worker) = (&hub, &worker);
            scope.spawn(move || {
                for round in 0..200_usize {
                    let mut segment = taken(hub);
                    let bytes = [seed.wrapping_mul(80).wrapping_add(round as u8); 1000];
                    segment.stream(round * 16, &bytes);
                    let written = segment.finish();
                    let found = read(worker, &written.locate(round * 16..round * 16 + 1000));
                    assert_eq!(found.as_deref(), Some(&bytes[..]));
                }
            });
        }
    });
    Ok(())
}

#[test]
fn large_segments_of_any_length_are_read_in_place_and_used_again() -> Result<(), Error> {
    const LARGE: usize = 3 << 20;
    let (hub, memory) = Hub::create_with_large(2, LARGE)?;
    let worker = HubWorker::open(&memory)?;
    let write = |seed: usize, bytes: usize| {
        let mut segment = hub.arena().take_large(bytes).expect("there is memory");
        assert!(segment.bytes_mut().len() >= bytes);
        segment.bytes_mut()[..bytes].copy_from_slice(&pattern(seed, bytes));
        segment.finish()
    };
    for round in 0..3 {
        let segments: Vec<_> = [1 << 20, 100_000, 1, 1 << 19].into_iter().zip(round..).collect();
        let written: Vec<_> = segments.iter().map(|&(bytes, seed)| write(seed, bytes)).collect();
        let small = taken(&hub).finish();
        assert!(!hub.arena().has_large(2 << 20) && hub.arena().take_large(2 << 20).is_none(), "it is too full");
        for ((bytes, seed), written) in segments.into_iter().zip(&written) {
            assert_eq!(read(&worker, &written.locate(0..bytes)), Some(pattern(seed, bytes)));
            let end = bytes / 2..bytes;
            assert_eq!(read(&worker, &written.locate(end.clone())).as_deref(), pattern(seed, bytes).get(end));
        }
        worker.arena().forget_pages();
        assert_eq!(read(&worker, &written[1].locate(0..100_000)), Some(pattern(round + 1, 100_000)));
        let in_use = written[0].in_use();
        assert!(in_use.is_in_use());
        drop((written, small));
        assert!(!in_use.is_in_use());
    }
    assert_eq!(hub.arena().large_bytes_max(), LARGE);
    assert!(hub.arena().take_large(LARGE).is_some(), "all of it is free again");
    assert!(hub.arena().take_large(LARGE + 1).is_none());
    Ok(())
}
