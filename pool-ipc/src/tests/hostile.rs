//! A host with a worker that writes anything anywhere it can.
//!
//! The scribbling goes through `pwrite`, past all types, so that it is as foreign as another process's.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::mpsc;
use std::thread;

use super::super::layout::WORDS_BYTES;
use super::super::{Error, Header, HostEnd, LAST_WORDS_BYTES_MAX, WorkerEnd};
use super::Random;

const RING: usize = 4096;

struct Victim {
    host: HostEnd,
    worker: WorkerEnd,
    memory: File,
}

impl Victim {
    fn new() -> Result<Victim, Error> {
        let (host, memory) = HostEnd::create(RING, RING)?;
        let worker = WorkerEnd::open(&memory)?;
        Ok(Victim { host, worker, memory: File::from(memory.worker) })
    }

    fn scribble(&self, at: u64, bytes: &[u8]) {
        self.memory.write_all_at(bytes, at).expect("the memory can be written");
    }

    /// Everything that a host does with the words of a worker.
    fn use_it(&mut self, random: &mut Random) {
        let host = &mut self.host;
        let mut out = Vec::new();
        for _ in 0..2 * RING / 32 + 1 {
            let news = host.replies.has_news();
            match host.replies.peek() {
                Ok(Some(record)) => {
                    assert!(news && record.len <= RING - 32);
                    out.clear();
                    host.replies.copy(&record, &mut out);
                    assert_eq!(out.len(), record.len);
                    host.replies.copy_range(&record, record.len / 2, &mut out[record.len / 2..]);
                    let _ = host.replies.limit(&record);
                    let _ = host.replies.peek_after(&record);
                    host.replies.release(&record);
                }
                Ok(None) => break,
                Err(Error::Corrupt { .. }) => break,
                Err(error) => panic!("{error}"),
            }
        }
        out.clear();
        for unpublished_end in
            [host.progress().unpublished_end, random.below(3 * RING as u64) as u32, random.next() as u32]
        {
            out.clear();
            let salvaged = host.salvage(unpublished_end, &mut out);
            assert!(out.len() <= if salvaged { RING - 32 } else { 0 });
        }
        assert!(host.last_words().len() <= LAST_WORDS_BYTES_MAX);
        host.wake_worker();

        let payload = [7; RING];
        let sent = host.requests.send(&Header::default(), &payload[..random.below(RING as u64) as usize], 0);
        assert!(sent.sent <= RING);
        if let Some(position) = sent.position {
            host.requests.revise(position, 1);
        }
        assert!(host.requests.backlog() <= RING as u64);
        let spare = host.requests.spare(100);
        spare.fill(9);
        let _ = host.requests.check();
    }
}

#[test]
fn random_bytes_everywhere() -> Result<(), Error> {
    let mut random = Random::new(1);
    for _ in 0..100 {
        let mut victim = Victim::new()?;
        for _ in 0..5 {
            let noise: Vec<u8> = (0..WORDS_BYTES + RING).map(|_| random.next() as u8).collect();
            victim.scribble(0, &noise);
            victim.use_it(&mut random);
        }
    }
    Ok(())
}

/// Values that are more credible than noise.
#[test]
fn likely_words_in_likely_places() -> Result<(), Error> {
    let mut random = Random::new(2);
    for _ in 0..2000 {
        let mut victim = Victim::new()?;
        for _ in 0..random.below(20) {
            let _ = victim.worker.replies.send(&Header::default(), &[3; 200][..random.below(200) as usize], 0);
        }
        for _ in 0..random.below(4) {
            let words = [0, 128, 256, 384, 392, 512, 640, WORDS_BYTES as u64 + 32 * random.below(RING as u64 / 32)];
            let at = words[random.below(words.len() as u64) as usize];
            let values =
                [0, 32, 64, 4096, 4128, 8192, 1 << 32, u64::MAX, u64::MAX - 31, random.below(9000), random.next()];
            let value = values[random.below(values.len() as u64) as usize];
            victim.scribble(at, &value.to_ne_bytes());
            victim.use_it(&mut random);
        }
    }
    Ok(())
}

#[test]
fn noise_while_the_host_reads() -> Result<(), Error> {
    let mut victim = Victim::new()?;
    let memory = victim.memory.try_clone().expect("dup");
    let (stop, stopped) = mpsc::channel::<()>();
    let scribbler = thread::spawn(move || {
        let mut random = Random::new(3);
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            let at = 32 * random.below((WORDS_BYTES + RING) as u64 / 32);
            let value = 32 * random.below(2 * RING as u64 / 32);
            memory.write_all_at(&value.to_ne_bytes(), at).expect("the memory can be written");
            memory.write_all_at(&value.to_ne_bytes(), 0).expect("the memory can be written");
        }
    });
    let mut random = Random::new(4);
    for _ in 0..5000 {
        victim.use_it(&mut random);
    }
    drop(stop);
    scribbler.join().expect("the scribbler ends");
    Ok(())
}

#[test]
fn a_corrupt_head_is_reported_and_gives_no_room() -> Result<(), Error> {
    let mut victim = Victim::new()?;
    while victim.host.requests.send(&Header::default(), &[1; 100], 0).done {}
    assert!(victim.host.requests.check().is_ok());
    for head in [16, 8192, u64::MAX] {
        victim.scribble(128, &u64::to_ne_bytes(head));
        assert_eq!(victim.host.requests.backlog(), RING as u64);
        assert!(
            matches!(victim.host.requests.check(), Err(Error::Corrupt { word: "head", found, .. }) if found == head)
        );
    }
    Ok(())
}
