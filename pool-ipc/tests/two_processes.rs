//! A host and a worker that are truly two processes, one of which is killed a few hundred times.
//!
//! The worker is this test binary, run again with the name of one test, which turns into the worker if the
//! environment says so.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{self, Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use pool_ipc::{
    Backoff, Descriptors, Error, Header, HostEnd, Hub, HubWorker, MORE, Progress, Sleeper, Watch, WorkerEnd,
};

const ROLE: &str = "POOL_IPC_TEST_ROLE";
/// As much as a slow machine with other work may take; ordinarily it is a hundredth of that.
const TEST_SECONDS_MAX: u64 = 120;

type Outcome = Result<(), Box<dyn std::error::Error>>;

// --- the stage ---

/// Runs one test at a time, since they count this process's descriptors and mappings, and ends the process if it hangs.
fn on_stage(name: &'static str, test: impl FnOnce() -> Outcome) -> Outcome {
    static STAGE: Mutex<()> = Mutex::new(());
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let (done, watch) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        if watch.recv_timeout(Duration::from_secs(TEST_SECONDS_MAX)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("watchdog: {name} takes more than {TEST_SECONDS_MAX} s");
            process::abort();
        }
    });
    let before = belongings();
    test()?;
    assert_eq!(belongings(), before, "descriptors and mappings");
    drop(done);
    watchdog.join().expect("the watchdog does not panic");
    Ok(())
}

/// Descriptors and mappings of this process that have to do with the crate.
fn belongings() -> (usize, usize) {
    let descriptors = fs::read_dir("/proc/self/fd").expect("procfs").filter_map(Result::ok);
    let links = descriptors.filter_map(|fd| fs::read_link(fd.path()).ok());
    let ours = links.filter(|link| link.to_string_lossy().contains("memfd:pool-")).count();
    let maps = fs::read_to_string("/proc/self/maps").expect("procfs");
    (ours, maps.lines().filter(|map| map.contains("memfd:pool-")).count())
}

/// A worker process, killed and waited for when dropped.
struct Worker(Child);

impl Worker {
    fn start(role: &str, lane: &Descriptors, hub: &Descriptors) -> Result<Worker, std::io::Error> {
        // The child opens our descriptors anew by their names in procfs, so they can stay close-on-exec.
        let name = |fd: &OwnedFd| format!("/proc/{}/fd/{}", process::id(), fd.as_raw_fd());
        let mut names = vec![role.to_owned()];
        names.extend([lane, hub].into_iter().flat_map(|memory| [name(&memory.host), name(&memory.worker)]));
        let child = Command::new(std::env::current_exe()?)
            .args(["--exact", "the_worker"])
            .env(ROLE, names.join(" "))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Worker(child))
    }

    fn alive(&mut self) -> bool {
        self.0.try_wait().expect("our child").is_none()
    }

    fn kill(&mut self) {
        self.0.kill().expect("our child");
        self.0.wait().expect("our child");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Bytes that tell where they belong.
fn pattern(seed: u32, len: usize) -> impl Iterator<Item = u8> {
    (0..len).map(move |i| (seed.wrapping_mul(31) as usize ^ i.wrapping_mul(7) ^ (i >> 8)) as u8)
}

/// FNV-1a
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}

// --- the worker's roles ---

/// Not a test but the worker's `main`: does nothing in an ordinary run.
#[test]
fn the_worker() -> Outcome {
    let Ok(part) = std::env::var(ROLE) else { return Ok(()) };
    let mut part = part.split(' ');
    let role = part.next().expect("a role");
    let mut open = || {
        let fds = part.by_ref().take(2).map(|path| File::options().read(true).write(true).open(path));
        let fds = fds.collect::<Result<Vec<_>, _>>()?;
        Descriptors::from_fds(fds.into_iter().map(OwnedFd::from))
            .ok_or("lane and hub, two descriptors each")
            .map_err(Box::<dyn std::error::Error>::from)
    };
    let (lane, hub) = (open()?, open()?);
    let (worker, hub) = (WorkerEnd::open(&lane)?, HubWorker::open(&hub)?);
    match role {
        "echo" => echo(worker, &hub)?,
        "endless" => send_endlessly(worker, &hub),
        "crash" => {
            worker.claim(1, 2);
            worker.begin_item(3, 0);
            worker.write_last_words(b"I cannot go on");
            process::abort();
        }
        "limit" => refuse_to_make_large_lanes(),
        _ => panic!("no such role: {role}"),
    }
    Ok(())
}

/// Sends every message back, record by record as they come, until one of kind 0.
fn echo(mut worker: WorkerEnd, hub: &HubWorker) -> Result<(), Error> {
    let backoff = Backoff::default();
    loop {
        worker.wait_request(backoff);
        let record = worker.requests.peek()?.expect("waited for");
        let mut sent = 0;
        loop {
            // SAFETY: the host does not touch a record before it is released.
            let bytes = unsafe { worker.requests.bytes(&record) };
            // One record may become two, so its own MORE has to go into the last only: it travels in `extra`.
            let header = Header { extra: u32::from(record.more()), ..record.header };
            let step = worker.replies.send(&header, bytes, sent);
            if step.position.is_some() {
                hub.notify();
            }
            if step.done {
                break;
            }
            sent = step.sent;
            worker.wait_room(bytes.len() - sent, backoff);
        }
        worker.requests.release(&record);
        hub.notify(); // the host may be waiting for room
        if record.header.kind == 0 {
            return Ok(());
        }
    }
}

/// Talks without end, and keeps an unpublished record between messages.
fn send_endlessly(mut worker: WorkerEnd, hub: &HubWorker) -> ! {
    let mut random = Random(u64::from(process::id()) << 1 | 1);
    for seq in 1.. {
        worker.stamp(pool_ipc::sys::monotonic_ns());
        worker.claim(seq, 1);
        let len = random.below(match seq % 8 {
            0 => 40_000,
            1..4 => 3000,
            _ => 100,
        }) as usize;
        let payload: Vec<u8> = pattern(seq, len).collect();
        let header = Header { kind: 1, seq, info: checksum(&payload), ..Header::default() };
        let mut sent = 0;
        loop {
            let step = worker.replies.send(&header, &payload, sent);
            sent = step.sent;
            hub.notify();
            if step.done {
                break;
            }
            worker.wait_room(payload.len() - sent, Backoff::default());
        }
        // A record that is built item by item, of 8 bytes each, and published half of the time.
        worker.claim(seq, 2);
        worker.wait_room(800, Backoff::default());
        let start = worker.replies.unpublished_end(0);
        let spare = worker.replies.spare(800);
        let items = spare.len().min(800) / 8;
        let results: Vec<u8> = pattern(seq, items * 8).collect();
        for item in 0..items {
            worker.progress.begin_item(item as u32, start.wrapping_add(item as u32 * 8));
            spare[item * 8..][..8].copy_from_slice(&results[item * 8..][..8]);
            if seq % 2 == 0 {
                thread::yield_now(); // so that the kill finds us here often enough
            }
        }
        if random.below(2) == 0 {
            worker.replies.publish(&Header { kind: 2, seq, info: checksum(&results), ..Header::default() }, items * 8);
            hub.notify();
        } else {
            worker.begin_item(0, start); // given up
        }
    }
    unreachable!("somebody kills us before that")
}

/// In a process of its own, since the limit is for all threads.
fn refuse_to_make_large_lanes() {
    use nix::sys::resource::{Resource, setrlimit};
    setrlimit(Resource::RLIMIT_FSIZE, 10_000, 10_000).expect("a limit may be lowered");
    assert!(HostEnd::create(4096, 4096).is_ok());
    let error = HostEnd::create(8192, 8192).expect_err("past the limit");
    assert!(matches!(error, Error::FileLimit { needed: 12_288, limit: 10_000 }), "{error}");
}

// --- the host's tests ---

#[test]
fn frames_of_all_lengths_in_both_directions_at_once() -> Outcome {
    on_stage("echo", || {
        let (hub, hub_fd) = Hub::create(0)?;
        let (mut host, fd) = HostEnd::create(16 << 10, 8 << 10)?;
        let mut worker = Worker::start("echo", &fd, &hub_fd)?;
        let mut lengths = vec![0, 1, 8 << 10, (8 << 10) - 32, (16 << 10) - 32, 16 << 10, 1 << 20];
        let mut random = Random(1);
        lengths.extend((0..2000).map(|_| random.below(5000) as usize));
        lengths.push(0);

        let last = lengths.len() - 1;
        let header = |at: usize| Header { kind: u16::from(at != last), seq: at as u32, ..Header::default() };
        hub.set_watch(Watch::Leader);
        let (mut sending, mut sent, mut arriving) = (0, 0, 0);
        let mut payload: Vec<u8> = pattern(0, lengths[0]).collect();
        let mut message = Vec::new();
        while arriving < lengths.len() {
            if sending < lengths.len() {
                let step = host.requests.send(&header(sending), &payload, sent);
                sent = step.sent;
                if step.position.is_some() {
                    host.wake_worker();
                }
                if step.done {
                    (sending, sent) = (sending + 1, 0);
                    payload = lengths.get(sending).map_or(vec![], |&len| pattern(sending as u32, len).collect());
                    continue;
                }
            }
            while let Some(record) = host.replies.peek()? {
                host.replies.copy(&record, &mut message);
                host.replies.release(&record);
                assert_eq!(record.header.seq as usize, arriving);
                if !record.more() && record.header.extra == 0 {
                    assert!(pattern(arriving as u32, lengths[arriving]).eq(message.iter().copied()));
                    message.clear();
                    arriving += 1;
                }
            }
            host.wake_worker();
            let full = sending < lengths.len();
            let wait = Instant::now() + Duration::from_millis(100); // and then look whether the worker is there
            let HostEnd { requests, replies, .. } = &mut host;
            let ready = || replies.has_news() || full && requests.room(32).is_some_and(|room| room >= 32);
            if arriving < lengths.len() && !hub.wait(Sleeper::Caller, ready, Some(wait)) {
                assert!(worker.alive(), "the worker is gone, see above");
            }
        }
        assert!(worker.0.wait()?.success());
        Ok(())
    })
}

/// The host's answers to a worker that sends without end.
#[derive(Default)]
struct Listener {
    seq: u32,
    kind: u16,
    message: Vec<u8>,
    /// Between the first record of a message, which may be empty, and its last.
    inside: bool,
}

impl Listener {
    fn drain(&mut self, host: &mut HostEnd) {
        while let Some(record) = host.replies.peek().expect("a killed worker leaves nothing corrupt") {
            let header = record.header;
            if !self.inside {
                // The next message, or the built record after this one.
                assert!((header.seq, header.kind) == (self.seq + 1, 1) || (header.seq, header.kind) == (self.seq, 2));
                (self.seq, self.kind) = (header.seq, header.kind);
            }
            assert_eq!((header.seq, header.kind, header.flags & !MORE), (self.seq, self.kind, 0));
            host.replies.copy(&record, &mut self.message);
            host.replies.release(&record);
            self.inside = record.more();
            if !self.inside {
                assert_eq!(checksum(&self.message), header.info);
                assert!(pattern(self.seq, self.message.len()).eq(self.message.iter().copied()));
                self.message.clear();
            }
        }
        host.wake_worker();
    }

    /// The worker is dead. True if it has left an unpublished record.
    fn bury(&mut self, host: &mut HostEnd) -> bool {
        self.drain(host);
        let seq = if self.inside { self.seq - 1 } else { self.seq };
        let Progress { seq: claimed_seq, item, unpublished_end, .. } = host.progress();
        assert!(claimed_seq == seq || claimed_seq == seq + 1, "at {claimed_seq} after {seq}");
        let mut rescued = Vec::new();
        if host.salvage(unpublished_end, &mut rescued) {
            assert_eq!(rescued.len(), item as usize * 8);
            assert!(pattern(claimed_seq, rescued.len()).eq(rescued.iter().copied()));
        }
        assert_eq!(host.last_words(), b"");
        !rescued.is_empty()
    }
}

#[test]
fn a_killed_worker_leaves_whole_records() -> Outcome {
    const KILLS: u64 = 250;
    on_stage("kills", || {
        let (hub, hub_fd) = Hub::create(0)?;
        let mut random = Random(0x5eed);
        let (mut unpublished, mut cut) = (0, 0);
        for kill in 0..KILLS {
            let (mut host, fd) = HostEnd::create(4 << 10, 16 << 10)?;
            let mut worker = Worker::start("endless", &fd, &hub_fd)?;
            hub.set_watch(if kill % 2 == 0 { Watch::Leader } else { Watch::Router });
            let who = if kill % 2 == 0 { Sleeper::Caller } else { Sleeper::Router };
            let mut listener = Listener::default();
            while !hub.wait(who, || host.replies.has_news(), Some(Instant::now() + Duration::from_millis(100))) {
                assert!(worker.alive(), "the worker is gone, see above");
            }
            let end = Instant::now() + Duration::from_nanos(kill * 7919 % 2_000_000 + random.below(5000));
            if kill % 5 == 0 {
                thread::sleep(end - Instant::now()); // nobody drains: the worker dies waiting for room
            } else {
                while hub.wait(who, || host.replies.has_news(), Some(end)) && Instant::now() < end {
                    listener.drain(&mut host);
                }
            }
            worker.kill();
            unpublished += u32::from(listener.bury(&mut host));
            cut += u32::from(listener.inside);
        }
        eprintln!("{KILLS} kills, {unpublished} of them with an unpublished record, {cut} in the middle of a message");
        Ok(())
    })
}

#[test]
fn last_words_outlive_the_worker() -> Outcome {
    on_stage("last words", || {
        let (_hub, hub_fd) = Hub::create(0)?;
        let (host, fd) = HostEnd::create(4 << 10, 4 << 10)?;
        let mut worker = Worker::start("crash", &fd, &hub_fd)?;
        assert!(!worker.0.wait()?.success());
        assert_eq!(host.last_words(), b"I cannot go on");
        assert_eq!(host.progress(), Progress { seq: 1, claimed: 2, item: 3, unpublished_end: 0, since_ns: 0 });
        Ok(())
    })
}

#[test]
fn memory_past_the_file_limit_is_an_error_and_no_signal() -> Outcome {
    on_stage("file limit", || {
        let (_hub, hub_fd) = Hub::create(0)?;
        let (_host, fd) = HostEnd::create(4 << 10, 4 << 10)?;
        let mut worker = Worker::start("limit", &fd, &hub_fd)?;
        assert!(worker.0.wait()?.success());
        Ok(())
    })
}
