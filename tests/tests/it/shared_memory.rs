//! The harm that a task can do to memory that its worker shares with the host: it can change its own worker's replies, and
//! nothing else.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;

use pool_core::prelude::*;
use tests::tasks::square;
use tests::trial::{Check, Setup, each_method};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_task_cannot_change_memory_that_its_worker_may_only_read),
        each_method(a_task_that_takes_its_own_memory_away_hurts_nobody_else),
        each_method(a_worker_keeps_one_descriptor_of_the_pool),
    ]
}

/// A mapping of shared memory in this process.
struct Shared {
    start: usize,
    length: usize,
    is_writable: bool,
    /// Its entry in `/proc/self/map_files`, which opens the memory itself for a process that has the right to.
    file: String,
    line: String,
}

impl Shared {
    /// Those of the pool's memory.
    fn all() -> Vec<Shared> {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let ours = maps.lines().filter(|line| line.contains("memfd:pool-"));
        let parse = |line: &str| {
            let (range, rest) = line.split_once(' ')?;
            let (start, end) = range.split_once('-')?;
            let [start, end] = [start, end].map(|address| usize::from_str_radix(address, 16).unwrap());
            Some(Shared {
                start,
                length: end - start,
                is_writable: rest.starts_with("rw"),
                file: format!("/proc/self/map_files/{range}"),
                line: line.to_owned(),
            })
        };
        ours.filter_map(parse).collect()
    }

    fn address(&self) -> *mut libc::c_void {
        std::ptr::with_exposed_provenance_mut(self.start)
    }

    /// Each way to write there that the kernel allows, after it has been taken.
    fn write_in_every_way(&self) -> Vec<String> {
        let mut ways = Vec::new();
        let mut note = |way: &str, is_done: bool| {
            if is_done {
                ways.push(format!("{way}: {}", self.line));
            }
        };
        let (address, length) = (self.address(), self.length);
        // SAFETY:
        // - the range is a mapping of this process, and a test task is the only one that uses it meanwhile.
        let is_unlocked = unsafe { libc::mprotect(address, length, libc::PROT_READ | libc::PROT_WRITE) } == 0;
        if is_unlocked {
            // SAFETY:
            // - the kernel has just made it writable; that others read there is the question.
            unsafe { address.cast::<u8>().write_bytes(NOISE, length) };
        }
        note("mprotect", is_unlocked);
        // SAFETY:
        // - the range is a mapping of this process.
        note("MADV_REMOVE", unsafe { libc::madvise(address, length, libc::MADV_REMOVE) } == 0);
        let memory = File::options().read(true).write(true).open("/proc/self/mem").unwrap();
        note("/proc/self/mem", memory.write_all_at(&[NOISE; 4096], self.start as u64).is_ok());
        if let Ok(file) = File::options().read(true).write(true).open(&self.file) {
            write_by_file(&file, length, &mut note);
        }
        ways
    }
}

const NOISE: u8 = 0x5A;

fn write_by_file(file: &File, length: usize, note: &mut impl FnMut(&str, bool)) {
    let (fd, protection) = (file.as_raw_fd(), libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY:
    // - the kernel chooses a place that is free.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, fd, 0) };
    if mapped != libc::MAP_FAILED {
        // SAFETY:
        // - so many bytes have just been mapped writable; that others read there is the question.
        unsafe { mapped.cast::<u8>().write_bytes(NOISE, length) };
    }
    note("mmap", mapped != libc::MAP_FAILED);
    note("write", file.write_all_at(&[NOISE; 4096], 0).is_ok());
    let flags = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY:
    // - no pointers.
    note("punching a hole", unsafe { libc::fallocate(fd, flags, 0, length as libc::off_t) } == 0);
}

/// Each way to change the size or the seals of the memory that the kernel allows.
fn resize_in_every_way(shared: &Shared) -> Vec<String> {
    let Ok(file) = File::options().read(true).write(true).open(&shared.file) else { return Vec::new() };
    let (fd, size) = (file.as_raw_fd(), file.metadata().unwrap().len());
    // SAFETY:
    // - no pointers.
    let seal = |seal: i32| unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, seal) == 0 };
    let ways = [
        ("shrinking", file.set_len(0).is_ok()),
        ("growing", file.set_len(size + (1 << 20)).is_ok()),
        // SAFETY:
        // - no pointers.
        ("allocating past the end", unsafe { libc::fallocate(fd, 0, size as libc::off_t, 1 << 20) } == 0),
        ("sealing against writes", seal(libc::F_SEAL_WRITE)),
        ("sealing against new writers", seal(libc::F_SEAL_FUTURE_WRITE)),
    ];
    ways.iter().filter(|(_, is_done)| *is_done).map(|(way, _)| format!("{way}: {}", shared.line)).collect()
}

// ---- memory that the host writes -----------------------------------------------------------------------------------

/// A digest of the text. With `trespasses` it writes to all memory that its worker may only read, and reports each way
/// that was possible.
#[pool_task]
fn digest(text: &str, trespasses: bool) -> Result<u64, Vec<String>> {
    if trespasses {
        let shared = Shared::all();
        assert!(shared.iter().any(|shared| !shared.is_writable), "the worker reads what its host writes");
        assert!(shared.iter().any(|shared| shared.is_writable), "it answers");
        let readable = shared.iter().filter(|shared| !shared.is_writable);
        let ways: Vec<_> =
            readable.flat_map(Shared::write_in_every_way).chain(shared.iter().flat_map(resize_in_every_way)).collect();
        if !ways.is_empty() {
            return Err(ways);
        }
    }
    Ok(digest_of(text))
}

fn digest_of(text: &str) -> u64 {
    text.bytes().fold(text.len() as u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
}

fn text(number: usize) -> String {
    char::from(b'a' + (number % 26) as u8).to_string().repeat(1000 + number % 7)
}

/// Arguments wait in the call ring, and in the memory that all workers read, when a task tries to write there.
fn a_task_cannot_change_memory_that_its_worker_may_only_read(setup: &Setup) {
    const ITEMS: usize = 5000;
    let pool = setup.pool();
    let texts: Vec<_> = (0..ITEMS).map(text).collect();
    let items = texts.iter().enumerate().map(|(number, text)| (text.as_str(), number % 1000 == 700));
    for (number, result) in pool.map(digest::Task, items).unwrap().into_iter().enumerate() {
        assert_eq!(result, Ok(digest_of(&texts[number])), "item {number}");
    }
    for number in 0..10 {
        let jobs: Vec<_> =
            (0..10).map(|job| pool.apply_async(digest::Task, (&texts[job], job == number)).unwrap()).collect();
        for (job, handle) in jobs.into_iter().enumerate() {
            assert_eq!(handle.get().unwrap(), Ok(digest_of(&texts[job])), "call {job}");
        }
    }
    assert_eq!(pool.stats().workers_died, 0);
}

// ---- memory that the worker writes ---------------------------------------------------------------------------------

/// Gives all memory back that the worker may write, under the host's eyes.
#[pool_task]
fn punch_holes() -> usize {
    let mut holes = 0;
    for shared in Shared::all().into_iter().filter(|shared| shared.is_writable) {
        // SAFETY:
        // - the range is a mapping of this process; that its host reads there is the question.
        let result = unsafe { libc::madvise(shared.address(), shared.length, libc::MADV_REMOVE) };
        assert_eq!(result, 0, "{}: {}", shared.line, io::Error::last_os_error());
        holes += 1;
    }
    thread::sleep(Duration::from_millis(20));
    holes
}

fn a_task_that_takes_its_own_memory_away_hurts_nobody_else(setup: &Setup) {
    let pool = setup.pool();
    for _ in 0..5 {
        let punching = pool.apply_async(punch_holes::Task, ()).unwrap();
        let behind: Vec<_> = (0..10).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
        match punching.get() {
            Ok(holes) => assert!(holes > 0),
            Err(error) => assert!(matches!(error.kind(), ErrorKind::Protocol | ErrorKind::WorkerDied), "{error}"),
        }
        for (x, job) in (0..).zip(behind) {
            assert_eq!(job.get().unwrap(), x * x);
        }
        assert_eq!(pool.map(square::Task, 0..1000).unwrap(), (0..1000).map(|x| x * x).collect::<Vec<_>>());
    }
}

// ---- descriptors ---------------------------------------------------------------------------------------------------

/// The descriptors of this process beyond the three standard ones, and the files behind them.
#[pool_task]
fn descriptors() -> Vec<String> {
    let entries: Vec<_> = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path()).collect();
    let is_standard = |path: &Path| ["0", "1", "2"].iter().any(|fd| path.ends_with(fd));
    // The directory itself is closed by now.
    let links = entries.iter().filter(|path| !is_standard(path)).filter_map(|path| fs::read_link(path).ok());
    links.map(|link| link.display().to_string()).collect()
}

/// It is the socket by which descriptors of arrays come.
fn a_worker_keeps_one_descriptor_of_the_pool(setup: &Setup) {
    // A copy of the host may have the descriptors that the host has without a pool, too.
    let before = descriptors();
    let pool = setup.pool();
    for round in 0..3 {
        for found in pool.map(descriptors::Task.chunk_size(1), [(); 20]).unwrap() {
            let ours: Vec<_> = found.into_iter().filter(|link| !before.contains(link)).collect();
            assert!(matches!(&ours[..], [socket] if socket.starts_with("socket:")), "round {round}: {ours:?}");
        }
        pool.resize(setup.workers + round).unwrap();
        tests::procs::kill_9(pool.worker_pids()[0]);
        assert!(tests::procs::eventually(|| pool.worker_pids().len() == setup.workers + round));
    }
}
