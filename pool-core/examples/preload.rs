//! A parsed model in memory once, for all workers: `cargo run --release -p pool-core --example preload`.
//!
//! The model is that of a spelling corrector: how often each word of a text occurs. With a number of MiB behind it, the program measures
//! instead how long a worker that was killed takes to be back with so much preloaded memory.

#![allow(clippy::print_stdout, reason = "an example shows its results")]
#![allow(unsafe_code, reason = "pages of a kind that the program chooses")]

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Instant;

use pool_core::prelude::*;
use pool_core::{SharedSlice, SharedVec};

type Words = HashMap<String, u32>;

static WORDS: OnceLock<Words> = OnceLock::new();

/// Parses the text, once for all workers.
#[pool_task]
fn parse(text: &str) -> Result<(), String> {
    let mut words = Words::new();
    for word in text.split(|letter: char| !letter.is_alphabetic()).filter(|word| !word.is_empty()) {
        *words.entry(word.to_lowercase()).or_default() += 1;
    }
    if words.is_empty() {
        return Err("the text has no words".to_owned());
    }
    WORDS.set(words).map_err(|_| "it is parsed already".to_owned())
}

/// All that one slip of the keyboard makes of a word.
fn slips(word: &str) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    let mut slips = Vec::new();
    for at in 0..=letters.len() {
        let (before, after) = letters.split_at(at);
        let mut add = |middle: &[char], skipped: usize| {
            slips.push(before.iter().chain(middle).chain(after.iter().skip(skipped)).collect::<String>());
        };
        if let [first, rest @ ..] = after {
            add(&[], 1);
            if let [second, ..] = rest {
                add(&[*second, *first], 2);
            }
        }
        for letter in 'a'..='z' {
            add(&[letter], 0);
            add(&[letter], 1);
        }
    }
    slips
}

/// The most frequent word that one slip, or two, may have turned into this one.
#[pool_task]
fn correct(word: &str) -> Option<String> {
    let words = WORDS.get()?;
    let known = |candidates: &[String]| {
        let known = candidates.iter().filter_map(|candidate| words.get_key_value(candidate));
        known.max_by_key(|(_, count)| **count).map(|(word, _)| word.clone())
    };
    let word = word.to_lowercase();
    let once = slips(&word);
    known(std::slice::from_ref(&word)).or_else(|| known(&once)).or_else(|| {
        let twice: Vec<_> = once.iter().flat_map(|word| slips(word)).collect();
        known(&twice)
    })
}

const TEXT: &str = "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, it was the \
    epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of Darkness, it was the spring of hope, \
    it was the winter of despair";

pub(crate) fn main() -> pool_core::Result<()> {
    if let Some(mib) = std::env::args().nth(1).and_then(|mib| mib.parse().ok()) {
        return measure(mib);
    }
    let pool = Pool::builder().workers(2).preload(parse::Task.timeout(Duration::from_secs(60)), TEXT).build()?;
    let typed = ["wisdm", "Foolishnes", "epoch", "sesaon", "darknss", "xylophone"];
    let corrected = pool.map(correct::Task, typed)?;
    for (word, corrected) in typed.iter().zip(&corrected) {
        println!("{word}: {}", corrected.as_deref().unwrap_or("no idea"));
    }
    let expected = ["wisdom", "foolishness", "epoch", "season", "darkness"];
    assert!(corrected.iter().flatten().eq(expected), "{corrected:?}");
    Ok(())
}

// ---- measuring ---------------------------------------------------------------------------------------------------------

/// The kind of memory that a preload leaves.
#[derive(Clone, Copy, Debug)]
enum Kind {
    None = 0,
    SmallPages = 1,
    HugePages = 2,
    Shared = 3,
}

static PAGES: OnceLock<&[u8]> = OnceLock::new();
static SHARED: OnceLock<SharedSlice<u8>> = OnceLock::new();

/// Memory of this process, in pages of this kind.
fn pages(bytes: usize, advice: libc::c_int) -> Option<&'static [u8]> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY:
    // - a new mapping at an address of the kernel's choice touches no other.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return None;
    }
    // SAFETY:
    // - the range has just been mapped, and the advice changes no byte.
    let _ = unsafe { libc::madvise(base, bytes, advice) };
    // SAFETY:
    // - the range is mapped for good, zeroed, and nobody else's.
    let pages = unsafe { std::slice::from_raw_parts_mut(base.cast::<u8>(), bytes) };
    pages.fill(7);
    Some(pages)
}

#[pool_task]
fn fill(bytes: usize, kind: u8) -> Result<(), String> {
    let no_memory = || "no memory".to_owned();
    if kind == Kind::Shared as u8 {
        let slice = SharedVec::from_slice(&vec![7; bytes]).and_then(SharedVec::freeze);
        return SHARED.set(slice.map_err(|error| error.to_string())?).map_err(|_| "filled twice".to_owned());
    }
    let advice = if kind == Kind::HugePages as u8 { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
    let bytes = if kind == Kind::None as u8 { 4096 } else { bytes };
    PAGES.set(pages(bytes, advice).ok_or_else(no_memory)?).map_err(|_| "filled twice".to_owned())
}

/// One byte of each 4 KiB.
#[pool_task]
fn read() -> u64 {
    let bytes = PAGES.get().copied().or_else(|| SHARED.get().map(|slice| &**slice)).unwrap_or_default();
    bytes.iter().step_by(4096).map(|byte| u64::from(*byte)).sum()
}

#[pool_task]
fn pid() -> u32 {
    std::process::id()
}

/// Memory of the processes in MiB, in which each page counts once.
fn memory_mib(pids: &[u32]) -> u64 {
    let kib = |pid: &u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    pids.iter().filter_map(kib).sum::<u64>() >> 10
}

/// Kills the only worker again and again. The median of the times until the next one answers, in milliseconds.
fn restart_ms(pool: &Pool) -> pool_core::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..21 {
        let worker = pool.apply(pid::Task, ())?;
        let begun = Instant::now();
        // SAFETY:
        // - the call takes two numbers. The pool has not replaced the worker, so the number is still its own.
        unsafe { libc::kill(worker.cast_signed(), libc::SIGKILL) };
        while pool.worker_pids().first().is_none_or(|pid| *pid == worker) {
            std::thread::sleep(Duration::from_micros(50));
        }
        pool.apply(pid::Task, ())?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn measure(mib: usize) -> pool_core::Result<()> {
    for kind in [Kind::None, Kind::SmallPages, Kind::HugePages, Kind::Shared] {
        let build = |workers| Pool::builder().workers(workers).preload(fill::Task, (mib << 20, kind as u8)).build();
        let restart = restart_ms(&build(1)?)?;
        let pool = build(8)?;
        let sums = pool.broadcast(read::Task, ())?;
        let all_agree = sums.iter().all(|sum| sum.as_ref().is_ok_and(|sum| *sum > 0));
        assert!(all_agree, "{sums:?}");
        let memory = memory_mib(&pool.worker_pids());
        println!(
            "{kind:?}: {mib} MiB; 8 workers that have read all of it take {memory} MiB; one is back after {restart:.1} ms"
        );
    }
    Ok(())
}
