//! Tasks by their names over JSON lines: answers in the order of requests, errors that say the line and the reason.
#![cfg(feature = "json")]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use pool_core::jsonl::{run_in, run_task};
use pool_core::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, Serialize, Deserialize)]
struct Job<'a> {
    name: &'a str,
    sizes: Vec<u32>,
}

#[pool_task]
fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

#[pool_task]
fn nothing() {}

#[pool_task]
fn describe(job: Job<'_>, times: u8, path: &Path, bytes: &[u8]) -> (String, usize, PathBuf, Vec<u8>) {
    (job.name.repeat(times.into()), job.sizes.len(), path.to_owned(), bytes.to_vec())
}

#[pool_task]
fn count(words: &[String]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    words.iter().for_each(|word| *counts.entry(word.clone()).or_default() += 1);
    counts
}

#[pool_task]
fn parse(text: &str) -> Result<i32, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

#[pool_task]
fn nap(ms: u64) -> u64 {
    thread::sleep(Duration::from_millis(ms));
    ms
}

#[pool_task]
fn fail() {
    panic!("on purpose")
}

#[pool_task]
fn abort() {
    std::process::abort()
}

#[pool_task(timeout = "50ms")]
fn hang() {
    loop {
        thread::park()
    }
}

#[pool_task]
fn odd_keys() -> BTreeMap<(u8, u8), u8> {
    BTreeMap::from([((1, 2), 3)])
}

#[pool_task]
fn large(bytes: usize) -> Vec<u8> {
    vec![7; bytes]
}

#[pool_task]
fn array(values: [f64; 100]) -> [f64; 100] {
    values
}

#[pool_task(codec = "cbor")]
#[cfg(feature = "cbor")]
fn any(value: Value) -> Value {
    value
}

/// Panics while it is read.
#[derive(Debug, Serialize)]
struct Bomb;

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("it exploded")
    }
}

#[pool_task]
fn explode(_bomb: Bomb) {}

#[pool_task]
#[cfg(feature = "arrays")]
fn scale(part: &mut [f64], _offset: usize, factor: f64) {
    part.iter_mut().for_each(|x| *x *= factor);
}

mod inner {
    use pool_core::prelude::*;

    #[pool_task]
    fn square(x: f64) -> f64 {
        x * x
    }

    #[pool_task]
    fn twice(x: i8) -> i8 {
        2 * x
    }
}

fn answers(input: impl AsRef<[u8]>) -> Vec<Value> {
    let mut output = Vec::new();
    let summary = run_in(&Pool::new(2).unwrap(), input.as_ref(), &mut output).unwrap();
    let answers = lines_of_json(&output);
    let errors = answers.iter().filter(|answer| answer.get("error").is_some()).count() as u64;
    assert_eq!((summary.results, summary.errors), (answers.len() as u64 - errors, errors));
    answers
}

fn lines_of_json(output: &[u8]) -> Vec<Value> {
    assert!(output.is_empty() || output.ends_with(b"\n"));
    output.split_inclusive(|&byte| byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn answer(line: &str) -> Value {
    let mut answers = answers(line);
    assert_eq!(answers.len(), 1, "{line}");
    answers.remove(0)
}

#[track_caller]
fn expect_error(line: &str, kind: &str, texts: &[&str]) -> Value {
    let answer = answer(line);
    let error = &answer["error"];
    assert_eq!((&error["kind"], &error["line"]), (&json!(kind), &json!(1)), "{answer}");
    let message = error["message"].as_str().unwrap();
    texts.iter().for_each(|text| assert!(message.contains(text), "`{text}` in: {message}"));
    answer
}

#[test]
fn values_travel() {
    let request = json!({
        "task": "describe",
        "args": [{"name": "a\"ß\n", "sizes": [1, 2, 3]}, 2, "/tmp/x y", [0, 255]],
    });
    assert_eq!(answer(&request.to_string())["result"], json!(["a\"ß\na\"ß\n", 3, "/tmp/x y", [0, 255]]));
    assert_eq!(answer(r#"{"task": "count", "args": ["a", "b", "a"]}"#), json!({"result": {"a": 2, "b": 1}}));
    for nothing in
        [r#"{"task": "nothing"}"#, r#"{"task": "nothing", "args": []}"#, r#"{"task": "nothing", "args": null}"#]
    {
        assert_eq!(answer(nothing), json!({"result": null}));
    }
    assert_eq!(answer(r#"{"task": "large", "args": 100000}"#)["result"].as_array().map(Vec::len), Some(100_000));
    assert_eq!(answer(r#"{"task": "parse", "args": "12"}"#), json!({"result": 12}));
    #[cfg(feature = "cbor")]
    assert_eq!(
        answer(r#"{"task": "any", "args": {"a": [1, null, "x", -1.5]}}"#)["result"],
        json!({"a": [1, null, "x", -1.5]})
    );
}

#[test]
fn an_id_comes_back_as_it_was_written() {
    let input = r#"
        {"task": "jsonl::square", "args": 3, "id": 123456789012345678901234567890}
        {"id": {"a": [1.50, null]}, "task": "jsonl::square", "args": 4}
        {"task": "jsonl::square", "args": 5, "id": null}
        {"task": "no such", "id": "x"}"#;
    let mut output = Vec::new();
    run_in(&Pool::new(1).unwrap(), input.as_bytes(), &mut output).unwrap();
    let text = String::from_utf8(output).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], r#"{"id":123456789012345678901234567890,"result":9}"#);
    assert_eq!(lines[1], r#"{"id":{"a": [1.50, null]},"result":16}"#);
    assert!(lines[2].ends_with(r#""result":25}"#), "{}", lines[2]);
    assert!(lines[3].starts_with(r#"{"id":"x","error":{"line":5,"#), "{}", lines[3]);
}

#[test]
fn answers_come_in_the_order_of_requests() {
    let line = |i: u64| match i % 3 {
        0 => format!("{{\"task\": \"jsonl::square\", \"args\": {i}}}\n"),
        1 => format!("{{\"task\": \"nap\", \"args\": {}, \"id\": {i}}}\n", i % 5),
        _ => format!("{{\"task\": \"parse\", \"args\": \"x{i}\"}}\n\n"),
    };
    let answers = answers((0..3000).map(line).collect::<String>());
    assert_eq!(answers.len(), 3000);
    for (i, answer) in answers.iter().enumerate() {
        match i % 3 {
            0 => assert_eq!(answer["result"], json!(i * i)),
            1 => assert_eq!(answer["id"], json!(i)),
            // Each of them has an empty line behind it.
            _ => assert_eq!(
                (&answer["error"]["value"], &answer["error"]["line"]),
                (&json!(format!("`x{i}` is no number")), &json!(i + 1 + i / 3))
            ),
        }
    }
}

#[test]
fn lines_that_are_no_requests() {
    expect_error("{", "InvalidInput", &["EOF while parsing an object at column 1"]);
    for line in ["[1]", r#"["nothing", null, 7]"#, "nothing", "7"] {
        expect_error(line, "InvalidInput", &["a request is an object, such as"]);
    }
    expect_error(r#"{"args": 1}"#, "InvalidInput", &["missing field `task`"]);
    expect_error(r#"{"task": "square", "arg": 1}"#, "InvalidInput", &["unknown field `arg`", "`args`"]);
    expect_error(r#"{"task": 5}"#, "InvalidInput", &["invalid type: integer `5`"]);
    expect_error(r#"{"task": "nothing"} x"#, "InvalidInput", &["trailing characters at column 21"]);
    expect_error(
        &format!("{{\"task\": \"nothing\", \"args\": {}}}", "[".repeat(1000)),
        "InvalidInput",
        &["recursion limit"],
    );
    let mut text = b"{\"task\": \"nothing\"}\n{\"task\": \"\xff\"}\n".to_vec();
    text.extend([b"{\"task\": \"".as_slice(), &vec![b'x'; 17 << 20], b"\"}\n{\"task\": \"nothing\"}"].concat());
    let answers = answers(text);
    assert_eq!((&answers[0]["result"], &answers[3]["result"]), (&Value::Null, &Value::Null));
    assert_eq!(answers[1]["error"]["message"], json!("the line is not UTF-8: a wrong byte is at column 11"));
    assert_eq!(answers[2]["error"]["message"], json!("the line has more than 16777216 bytes"));
}

#[test]
fn names() {
    assert_eq!(answer(r#"{"task": "twice", "args": -3}"#), json!({"result": -6}));
    assert_eq!(answer(r#"{"task": "inner::square", "args": 1.5}"#), json!({"result": 2.25}));
    // The whole path of one is the end of the other's.
    assert_eq!(answer(r#"{"task": "jsonl::square", "args": 3}"#), json!({"result": 9}));
    expect_error(
        r#"{"task": "square", "args": 3}"#,
        "InvalidInput",
        &["`square` is the name of 2 tasks", "`jsonl::inner::square` at ", "jsonl.rs:"],
    );
    expect_error(r#"{"task": "twise"}"#, "InvalidInput", &["there is no task `twise`: did you mean `twice`?"]);
    expect_error(r#"{"task": "wice"}"#, "InvalidInput", &["there is no task `wice`: did you mean"]);
}

#[test]
fn arguments_that_do_not_fit() {
    expect_error(
        r#"{"task": "twice", "args": 200}"#,
        "InvalidInput",
        &["`jsonl::inner::twice`", "`twice(x: i8)`: argument `x`: invalid value: integer `200`, expected i8"],
    );
    expect_error(r#"{"task": "nap"}"#, "InvalidInput", &["argument `ms`: invalid type: null, expected u64"]);
    expect_error(r#"{"task": "nothing", "args": [1]}"#, "InvalidInput", &["it takes 0 arguments, and 1 came"]);
    let sizes = r#"{"task": "describe", "args": [{"name": "x", "sizes": [1, -2]}, 1, "", ""]}"#;
    expect_error(sizes, "InvalidInput", &["argument `job.sizes[1]`: invalid value: integer `-2`, expected u32"]);
    expect_error(r#"{"task": "array", "args": [1]}"#, "InvalidInput", &["`values` has no JSON form", "[f64; 100]"]);
    expect_error(r#"{"task": "explode", "args": 1}"#, "InvalidInput", &["panicked: it exploded"]);
    #[cfg(feature = "arrays")]
    expect_error(r#"{"task": "scale", "args": 1}"#, "InvalidInput", &["it writes parts of an array"]);
}

#[test]
fn failures_of_tasks() {
    expect_error(r#"{"task": "fail"}"#, "Panicked", &["`jsonl::fail`", "on purpose"]);
    let answer = expect_error(r#"{"task": "abort"}"#, "WorkerDied", &["SIGABRT"]);
    assert_eq!(answer["error"]["retryable"], json!(true));
    expect_error(r#"{"task": "hang"}"#, "TaskTimeout", &["exceeded its limit of 50 ms"]);
    expect_error(r#"{"task": "odd_keys"}"#, "Encode", &["the result has no JSON form: key must be a string"]);
    let answer = expect_error(r#"{"task": "parse", "args": "x"}"#, "Err", &["`x` is no number"]);
    assert_eq!((&answer["error"]["value"], &answer["error"]["retryable"]), (&json!("`x` is no number"), &json!(false)));
}

#[test]
fn one_task_for_all_lines() {
    let (pool, mut output) = (Pool::new(2).unwrap(), Vec::new());
    let summary = run_task(&pool, "parse", "\"1\"\n\nx\n\"y\"".as_bytes(), &mut output).unwrap();
    assert_eq!((summary.results, summary.errors), (1, 2));
    let answers = lines_of_json(&output);
    assert_eq!(answers[0], json!({"result": 1}));
    assert_eq!((&answers[1]["error"]["kind"], &answers[1]["error"]["line"]), (&json!("InvalidInput"), &json!(3)));
    assert_eq!((&answers[2]["error"]["kind"], &answers[2]["error"]["line"]), (&json!("Err"), &json!(4)));
    let error = run_task(&pool, "parze", io::empty(), io::sink()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("did you mean `parse`?"), "{error}");
}

/// The other end of a conversation, as a program in another language has it.
struct Pipe(mpsc::Receiver<Vec<u8>>, Vec<u8>);

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.1.is_empty() {
            self.1 = self.0.recv().unwrap_or_default();
        }
        let length = self.1.len().min(into.len());
        into[..length].copy_from_slice(&self.1[..length]);
        self.1.drain(..length);
        Ok(length)
    }
}

struct Answers(mpsc::Sender<Vec<u8>>);

impl Write for Answers {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.send(bytes.to_vec());
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_request_may_wait_for_the_answer_before_it() {
    let ((requests, input), (output, answers)) = (mpsc::channel(), mpsc::channel());
    let running = thread::spawn(move || run_in(&Pool::new(2).unwrap(), Pipe(input, Vec::new()), Answers(output)));
    let mut value = json!(2);
    for _ in 0..5 {
        requests.send(format!("{{\"task\": \"jsonl::square\", \"args\": {value}}}\n").into_bytes()).unwrap();
        value = serde_json::from_slice::<Value>(&answers.recv().unwrap()).unwrap()["result"].take();
    }
    drop(requests);
    assert_eq!(value, json!(4_294_967_296_u64));
    assert_eq!(running.join().unwrap().unwrap().results, 5);
}

#[test]
fn nobody_reads_any_more() {
    let ((requests, input), (output, answers)) = (mpsc::channel(), mpsc::channel());
    drop(answers);
    let running = thread::spawn(move || {
        let pool = Pool::new(1).unwrap();
        let summary = run_in(&pool, Pipe(input, Vec::new()), Answers(output));
        // What was pending is cancelled, and not waited for.
        pool.wait_idle().unwrap();
        summary
    });
    let mut lines = b"{\"task\": \"nothing\"}\n".to_vec();
    lines.extend(b"{\"task\": \"nap\", \"args\": 3600000}\n".repeat(10));
    // The input does not end: its next line tells the reader.
    requests.send(lines).unwrap();
    let mut sent = 0;
    while requests.send(b"{\"task\": \"nap\", \"args\": 3600000}\n".to_vec()).is_ok() {
        thread::sleep(Duration::from_millis(10));
        sent += 1;
        assert!(sent < 6000, "it reads on");
    }
    assert!(running.join().unwrap().is_ok());
}

#[test]
fn an_output_that_fails_is_an_error_and_so_is_an_input() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    struct Torn;
    impl Read for Torn {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let pool = Pool::new(1).unwrap();
    let error = run_in(&pool, "{\"task\": \"nothing\"}".as_bytes(), Full).unwrap_err();
    assert_eq!((error.kind(), io::Error::from(error).kind()), (ErrorKind::System, io::ErrorKind::StorageFull));
    let mut output = Vec::new();
    let error = run_in(&pool, "{\"task\": \"nothing\"}\n".as_bytes().chain(Torn), &mut output).unwrap_err();
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::ConnectionReset);
    // What came before it was answered.
    assert_eq!(output, b"{\"result\":null}\n");
}

/// Nobody takes the answers, so the reader stops where the window ends.
#[test]
fn no_more_is_read_than_the_window_holds() {
    const REQUESTS: usize = 5000;
    static PULLED: AtomicUsize = AtomicUsize::new(0);
    struct Counting;
    impl Read for Counting {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if PULLED.load(Ordering::Relaxed) == REQUESTS {
                return Ok(0);
            }
            PULLED.fetch_add(1, Ordering::Relaxed);
            let line = b"{\"task\": \"nothing\"}\n";
            into[..line.len()].copy_from_slice(line);
            Ok(line.len())
        }
    }
    #[derive(Default)]
    struct Slow(usize);
    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let begun = Instant::now();
            while self.0 == 0 && PULLED.load(Ordering::Relaxed) < 1024 {
                assert!(begun.elapsed() < Duration::from_secs(60), "the window is not filled");
                thread::sleep(Duration::from_millis(1));
            }
            if self.0 == 0 {
                thread::sleep(Duration::from_millis(50));
                let held = bytes.iter().filter(|&&byte| byte == b'\n').count();
                // One more is read, and waits for room.
                assert!(PULLED.load(Ordering::Relaxed) <= 1024 + held + 1);
            }
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut output = Slow::default();
    let summary = run_in(&Pool::new(2).unwrap(), Counting, &mut output).unwrap();
    assert_eq!((summary.results as usize, output.0), (REQUESTS, REQUESTS * "{\"result\":null}\n".len()));
}
