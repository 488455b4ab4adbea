//! Runs the inputs that the fuzzer has found, further ones made by hand, and mutations of both.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::tasks::{lists, nothing, number};
use crate::caller::outcome::decode;
use crate::codec::bytes::Bytes;
use crate::error::{Error, ErrorKind};
use crate::job::completion::Part;
use crate::task::Task;

/// Number of mutations that are run beside the inputs themselves.
const MUTATIONS: usize = 3000;
/// An input that takes longer counts as endless.
const RUN_TIME_MAX: Duration = Duration::from_secs(300);

#[test]
fn values_of_the_corpus() {
    replay("decode", super::decode);
}

#[test]
fn replies_of_the_corpus() {
    replay("replies", super::replies);
}

/// The results that the caller gets from `items` values in these bytes.
fn results<T: Task>(_task: T, items: u32, bytes: &[u8]) -> Vec<Result<T::Output, Error>> {
    let mut results = Vec::new();
    let part = Part { first: 0, items, raw: false, values: Ok(Bytes::copy_of(bytes)), origin: None };
    decode::<T>(part, true, &mut |_, result| results.push(result));
    results
}

#[test]
fn values_that_are_missing_are_errors_of_their_items() {
    let results = results(number::Task, 4, &[1_u64.to_le_bytes(), 2_u64.to_le_bytes()].concat());
    assert_eq!(results.iter().flatten().copied().collect::<Vec<_>>(), [1, 2]);
    let errors: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert_eq!(errors.iter().map(|error| error.item()).collect::<Vec<_>>(), [Some(2), Some(3)]);
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::Decode));
    assert!(errors[0].to_string().ends_with("8 more bytes expected and 0 left"), "{}", errors[0]);
}

/// Each value is checked by itself; bytes behind the last one are dropped.
#[test]
fn bytes_behind_the_last_value_do_no_harm() {
    let numbers = results(number::Task, 1, &[7_u64.to_le_bytes(), [0xff; 8]].concat());
    assert!(matches!(numbers[..], [Ok(7)]));
    assert_eq!(results(nothing::Task, 3, &[1, 2, 3, 4]).iter().flatten().count(), 3);
}

#[test]
fn a_value_past_a_limit_is_an_error_that_says_so() {
    let nested = [&[1][..], &[1; 999]].concat();
    let framed = [&1000_u32.to_le_bytes()[..], &nested].concat();
    let error = results(lists::Task, 1, &framed).pop().expect("one item").expect_err("it is too deep");
    assert_eq!((error.kind(), error.item()), (ErrorKind::Decode, Some(0)));
    let text = "the result could not be decoded: nested deeper than 256 levels";
    assert!(error.to_string().ends_with(text), "{error}");
}

/// Runs all inputs of the corpus, then mutations of them, the same at every run.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    let corpus: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).expect("it can be read")).collect();
    assert!(corpus.len() >= 10, "{} is nearly empty", folder.display());
    let mut random = Random(1);
    let mutations: Vec<_> = (0..MUTATIONS).map(|_| random.mutation(&corpus)).collect();
    for (path, input) in paths.iter().zip(corpus) {
        run_watched(&path.display().to_string(), input, run);
    }
    for (number, input) in mutations.into_iter().enumerate() {
        run_watched(&format!("mutation {number}"), input, run);
    }
}

/// Runs an input on a thread with Rust's usual stack. An input that fails, or does not end, is shown.
fn run_watched(name: &str, input: Vec<u8>, run: fn(&[u8])) {
    let text = format!("{name}: {input:?}");
    let (tell, told) = mpsc::channel::<()>();
    let body = move || {
        let _tell = tell;
        run(&input);
    };
    let thread = thread::Builder::new().stack_size(2 << 20).spawn(body).expect("a thread can be started");
    let waited = told.recv_timeout(RUN_TIME_MAX);
    assert_eq!(waited, Err(mpsc::RecvTimeoutError::Disconnected), "it does not end: {text}");
    assert!(thread.join().is_ok(), "it panics: {text}");
}

/// Numbers without pattern, the same at every run: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    /// Two inputs, one's beginning and the other's end, with some bytes changed.
    fn mutation(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let (one, other) = (&corpus[self.below(corpus.len())], &corpus[self.below(corpus.len())]);
        let (head, tail) = (self.below(one.len() + 1), self.below(other.len() + 1));
        let mut input = [&one[..head], &other[tail..]].concat();
        for _ in 0..self.below(6) {
            let at = self.below(input.len() + 1);
            match self.below(4) {
                0 => input.insert(at, self.below(256) as u8),
                1 => input.truncate(at.max(8)),
                _ if at == input.len() => input.push([0, 1, 128, 254, 255][self.below(5)]),
                2 => input[at] = self.below(256) as u8,
                _ => input[at] ^= 1 << self.below(8),
            }
        }
        input
    }
}
