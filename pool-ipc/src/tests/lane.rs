//! Both ends of a lane, and a hub, in one process.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};

use super::super::layout::{LANE_MAGIC, Plain, VERSION, WORDS_BYTES};
use super::super::region::{Access, HOST_SEALS, Mapping, SEALS};
use super::super::sync::{AtomicU64, Ordering};
use super::super::{
    Backoff, Descriptors, Error, Header, HostEnd, Hub, HubWorker, LAST_WORDS_BYTES_MAX, Progress, ProgressWriter,
    Sleeper, Watch, WorkerEnd,
};
use super::super::{region, sys};

const RING: usize = 4096;

fn lane() -> Result<(HostEnd, WorkerEnd), Error> {
    let (host, memory) = HostEnd::create(RING, RING)?;
    let worker = WorkerEnd::open(&memory)?;
    Ok((host, worker))
}

#[test]
fn ends_can_be_moved_and_hubs_shared() {
    fn moved<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    moved::<HostEnd>();
    moved::<WorkerEnd>();
    shared::<Hub>();
    shared::<HubWorker>();
    shared::<ProgressWriter>();
    shared::<Error>();
}

#[test]
fn each_end_sees_the_words_of_the_other() -> Result<(), Error> {
    let (mut host, mut worker) = lane()?;
    worker.claim(7, 100);
    worker.begin_item(3, 40);
    worker.stamp(u64::MAX);
    assert_eq!(host.progress(), Progress { seq: 7, claimed: 100, item: 3, unpublished_end: 40, since_ns: u64::MAX });

    assert_eq!(host.last_words(), b"");
    worker.write_last_words(b"killed by a bug, which is long");
    worker.write_last_words(b"killed by a bug");
    assert_eq!(host.last_words(), b"killed by a bug");
    worker.write_last_words(&[b'x'; LAST_WORDS_BYTES_MAX + 1]);
    assert_eq!(host.last_words(), [b'x'; LAST_WORDS_BYTES_MAX]);

    worker.replies.spare(4)[..4].copy_from_slice(b"half");
    let mut out = b">".to_vec();
    let unpublished_end = worker.replies.unpublished_end(4);
    assert!(host.salvage(unpublished_end, &mut out));
    assert!(host.salvage(worker.replies.unpublished_end(0), &mut out));
    assert_eq!(out, b">half");
    assert!(!host.salvage(worker.replies.unpublished_end(RING - 31), &mut out));
    assert!(!host.salvage(unpublished_end - 5, &mut out));
    worker.replies.publish(&Header::default(), 4);
    assert!(!host.salvage(unpublished_end, &mut out), "published, so nothing is unpublished any more");
    let reply = host.replies.peek()?.expect("published");
    host.replies.release(&reply);
    assert!(!host.salvage(unpublished_end, &mut out), "however much room there is");

    assert!(!host.wake_worker(), "nobody sleeps");
    assert!(host.requests.send(&Header::default(), b"call", 0).done);
    worker.wait_request(Backoff::NONE);
    worker.wait_room(usize::MAX, Backoff::NONE);
    Ok(())
}

#[test]
fn a_sleeping_worker_is_woken_for_calls_and_for_room() -> Result<(), Error> {
    let (mut host, mut worker) = lane()?;
    let echo = thread::spawn(move || -> Result<(), Error> {
        for _ in 0..100 {
            worker.wait_request(Backoff::NONE);
            let call = worker.requests.peek()?.expect("waited for");
            // Half the ring, so that the second reply has to wait for room.
            let len = RING / 2 - 32;
            worker.wait_room(len, Backoff::NONE);
            worker.replies.spare(len)[..len].fill(call.header.seq as u8);
            worker.replies.publish(&call.header, len);
            worker.requests.release(&call);
        }
        Ok(())
    });
    for seq in 0..100 {
        while !host.requests.send(&Header { seq, ..Header::default() }, &[], 0).done {
            thread::yield_now();
        }
        host.wake_worker();
    }
    for seq in 0..100 {
        let reply = loop {
            match host.replies.peek()? {
                Some(reply) => break reply,
                None => thread::yield_now(),
            }
        };
        assert_eq!(reply.header.seq, seq);
        host.replies.release(&reply);
        host.wake_worker();
    }
    echo.join().expect("no panic")
}

#[test]
fn an_end_keeps_its_memory() -> Result<(), Error> {
    let (host, worker) = lane()?;
    let (mut requests, mut replies) = (host.requests, worker.requests);
    drop((host.replies, worker.replies));
    assert!(requests.send(&Header::default(), b"still there", 0).done);
    let record = replies.peek()?.expect("sent");
    let mut out = Vec::new();
    replies.copy(&record, &mut out);
    assert_eq!(out, b"still there");
    Ok(())
}

#[test]
fn rings_of_other_sizes_are_refused() {
    for bytes in [0, 1, 4095, 4097, 12288, 1 << 31, usize::MAX] {
        for (call, reply) in [(bytes, RING), (RING, bytes)] {
            let error = HostEnd::create(call, reply).expect_err("not a size for a ring");
            assert!(matches!(error, Error::RingSize { bytes: found } if found == bytes as u64), "{error}");
        }
    }
}

fn open_error(memory: &Descriptors) -> Error {
    WorkerEnd::open(memory).expect_err("not to be opened")
}

/// Memory of one kind with something else in place of the other.
fn with_host(host: OwnedFd, memory: &Descriptors) -> Descriptors {
    Descriptors { host, worker: memory.worker.try_clone().expect("there is room for a descriptor") }
}

#[test]
fn memory_of_another_kind_is_refused() -> Result<(), Error> {
    let (_host, lane) = HostEnd::create(RING, RING)?;
    let _worker = WorkerEnd::open(&lane)?;
    assert!(matches!(open_error(&lane), Error::AlreadyOpen));
    assert!(matches!(HubWorker::open(&lane), Err(Error::Magic { .. })));

    let (_hub, hub) = Hub::create(0)?;
    assert!(matches!(open_error(&hub), Error::Magic { .. }));
    let small = || region::create(c"small", 100, 0, HOST_SEALS, Access::ReadWrite).map(|(fd, _)| fd);
    assert!(matches!(open_error(&with_host(small()?, &lane)), Error::Size { found: 100, .. }));
    let error = HubWorker::open(&with_host(small()?, &hub)).expect_err("not to be opened");
    assert!(matches!(error, Error::Size { found: 100, expected: 4096 }));

    let unsealed = OwnedFd::from(File::open("/proc/self/exe").expect("we run"));
    assert!(matches!(open_error(&with_host(unsealed, &lane)), Error::System { call: "fcntl(F_GET_SEALS)", .. }));
    let (reader, _writer) = std::io::pipe().expect("a pipe");
    assert!(matches!(open_error(&with_host(reader.into(), &lane)), Error::System { .. }));
    Ok(())
}

/// A word of memory.
struct Word(AtomicU64);

#[allow(unsafe_code, reason = "one atomic")]
// SAFETY: an atomic.
unsafe impl Plain for Word {}

#[test]
fn a_label_that_does_not_fit_is_refused() -> Result<(), Error> {
    let opened_with = |words: &[(usize, u64)]| -> Result<Error, Error> {
        let (_host, lane) = HostEnd::create(RING, RING)?;
        let bytes = WORDS_BYTES + RING;
        let (fd, forged) = region::create(c"forged", bytes, bytes, HOST_SEALS, Access::ReadWrite)?;
        let honest = [(0, LANE_MAGIC), (8, VERSION.into()), (16, RING as u64), (24, RING as u64), (512, RING as u64)];
        for &(at, value) in honest.iter().chain(words) {
            forged.words::<Word>(at).0.store(value, Ordering::Relaxed);
        }
        Ok(open_error(&with_host(fd, &lane)))
    };
    assert!(matches!(opened_with(&[(0, 5)])?, Error::Magic { found: 5, .. }));
    assert!(matches!(opened_with(&[(8, 5)])?, Error::Version { found: 5, expected: 4 }));
    assert!(matches!(opened_with(&[(16, 5)])?, Error::RingSize { bytes: 5 }));
    assert!(matches!(opened_with(&[(24, 1 << 40)])?, Error::RingSize { .. }));
    assert!(matches!(opened_with(&[(16, 1 << 20)])?, Error::Size { found: 8192, .. }));
    assert!(matches!(opened_with(&[(24, 1 << 20)])?, Error::Size { found: 8192, .. }));
    Ok(())
}

#[test]
fn unsealed_memory_is_refused() -> Result<(), Error> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let (_host, lane) = HostEnd::create(RING, RING)?;
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let fd = memfd_create(c"unsealed", flags).expect("memfd");
    assert!(matches!(open_error(&with_host(fd, &lane)), Error::Seals { found: 0, .. }));
    // Memory that others could write is not the host's.
    let (fd, _) = region::create(c"open", 2 * RING, 0, SEALS, Access::ReadWrite)?;
    assert!(matches!(open_error(&with_host(fd, &lane)), Error::Seals { .. }));
    Ok(())
}

/// A process with the descriptors can write the worker's memory, but not the host's, nor change the size or the seals of
/// either.
#[test]
fn descriptors_give_no_more_than_a_worker_needs() -> Result<(), Error> {
    let (_host, lane) = HostEnd::create(RING, RING)?;
    let (_hub, hub) = Hub::create(1)?;
    for memory in [lane, hub] {
        for (fd, is_writable) in [(&memory.host, false), (&memory.worker, true)] {
            // Opened anew, so that the rights are those of the memory and not of the descriptor.
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let file = File::options().read(true).write(true).open(path).expect("the memory can be opened");
            assert_eq!(file.write_all_at(b"word", 0).is_ok(), is_writable);
            let holes = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            assert_eq!(fallocate(&file, holes, 0, 4096).is_ok(), is_writable);
            let bytes = file.metadata().expect("it is open").len();
            assert_eq!(Mapping::new(&file, bytes as usize, Access::ReadWrite).is_ok(), is_writable);
            let read_only = Mapping::new(&file, bytes as usize, Access::ReadOnly)?;
            assert_eq!(read_only.make_writable(), is_writable);
            assert!(file.set_len(bytes + 1).is_err() && file.set_len(bytes - 1).is_err());
            assert!(fallocate(&file, FallocateFlags::empty(), bytes as i64, 1).is_err());
            assert!(fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).is_err());
        }
    }
    Ok(())
}

#[test]
fn errors_read_well() {
    let error = Error::FileLimit { needed: 139_264, limit: 65_536 };
    assert_eq!(
        error.to_string(),
        "shared memory of 139264 bytes is past the file size limit of 65536 bytes (RLIMIT_FSIZE, ulimit -f)"
    );
    let error = Error::Corrupt { word: "tail", found: 77, bound: 4096 };
    assert_eq!(error.to_string(), "the peer wrote 77 into tail, where the bound is 4096");
}

#[test]
fn a_worker_notified_early_waits_for_the_request() -> Result<(), Error> {
    for round in 0..50 {
        let (mut host, mut worker) = lane()?;
        thread::scope(|scope| {
            let waiting = scope.spawn(move || {
                worker.wait_request(Backoff::NONE);
                worker.requests.peek().map(|call| call.is_some())
            });
            while !host.wake_worker() {
                thread::yield_now(); // until it has announced itself
            }
            // It comes while the worker still looks, or when it has gone to sleep again.
            thread::sleep(Duration::from_micros(10 * round));
            assert!(host.requests.send(&Header::default(), b"call", 0).done);
            host.wake_worker();
            assert!(waiting.join().expect("no panic").expect("an honest host"));
        });
    }
    Ok(())
}

#[test]
fn a_hub_wakes_the_sleeper_on_watch() -> Result<(), Error> {
    let (hub, memory) = Hub::create(0)?;
    let worker = HubWorker::open(&memory)?;
    assert!(!worker.notify() && !hub.notify(Sleeper::Caller) && !hub.notify(Sleeper::Router), "nobody sleeps");
    for (watch, who) in [(Watch::Leader, Sleeper::Caller), (Watch::Router, Sleeper::Router)] {
        hub.set_watch(watch);
        let news = super::word();
        let seen = news.clone();
        let order = super::super::sync::Ordering::Relaxed;
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| hub.wait(who, || seen.load(order) == 1, None));
            while !worker.notify() {
                thread::yield_now(); // until it has announced itself
            }
            news.store(1, order);
            worker.notify();
            assert!(sleeper.join().expect("no panic"));
        });
    }
    hub.set_watch(Watch::Awake);
    assert!(!worker.notify() && worker.notify_leader(), "threads that are awake need not be woken");
    Ok(())
}

#[test]
fn a_hub_waits_until_the_deadline_and_not_shorter() -> Result<(), Error> {
    let (hub, _memory) = Hub::create(0)?;
    let deadline = Instant::now() + Duration::from_millis(20);
    assert!(!hub.wait(Sleeper::Caller, || false, Some(deadline)));
    assert!(Instant::now() >= deadline);
    assert!(hub.wait(Sleeper::Caller, || true, Some(deadline)), "news counts, however late");
    Ok(())
}

#[test]
fn backoff_ends() {
    let mut looks = 0;
    let backoff = Backoff { spins: 5, ..Backoff::NONE };
    assert!(!backoff.wait(|| {
        looks += 1;
        false
    }));
    assert_eq!(looks, 6);
    assert!(Backoff::NONE.wait(|| true) && !Backoff::default().wait(|| false));
}

#[test]
fn a_pidfd_stands_for_a_process() -> std::io::Result<()> {
    let pidfd = sys::pidfd_open(std::process::id())?;
    sys::pidfd_send_signal(pidfd.as_fd(), 0)?;
    assert_eq!(sys::pidfd_open(0).expect_err("not a pid").raw_os_error(), Some(libc::EINVAL));
    assert_eq!(
        sys::pidfd_send_signal(pidfd.as_fd(), 999).expect_err("not a signal").raw_os_error(),
        Some(libc::EINVAL)
    );
    assert!(sys::monotonic_ns() <= sys::monotonic_ns());
    Ok(())
}
