//! Tasks by their names over JSON lines, in pools of every kind: whatever ends a worker costs its own line.

use pool_core::jsonl::{run_in, run_task};
use pool_core::prelude::*;
use pool_core::{SharedSlice, SharedVec, pool_state};
use tests::json::Json;
use tests::tasks::Way;
use tests::trial::{Check, Setup, each_method, everywhere};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(each_line_has_its_own_answer_among_crashes),
        each_method(retries_and_limits_of_the_pool_count),
        each_method(arrays_are_refused_in_words),
        each_method(states_are_those_of_the_pool),
    ]
}

fn answers(pool: &Pool, input: &str) -> Vec<Json> {
    let mut output = Vec::new();
    run_in(pool, input.as_bytes(), &mut output).unwrap();
    String::from_utf8(output).unwrap().lines().map(|line| Json::parse(line).unwrap()).collect()
}

fn text(text: &str) -> Json {
    Json::Text(text.to_owned())
}

fn each_line_has_its_own_answer_among_crashes(setup: &Setup) {
    let ways: Vec<_> = Way::ALL.into_iter().filter(|way| *way != Way::Hang).collect();
    let mut input = String::new();
    for i in 0..200 {
        input += &match i % 10 {
            3 => format!("{{\"task\": \"crash\", \"args\": \"{:?}\"}}\n", ways[i / 10 % ways.len()]),
            7 => format!("{{\"task\": \"halve\", \"args\": {}}}\n", 2 * i + 1),
            _ => format!("{{\"task\": \"tasks::square\", \"args\": {i}}}\n"),
        };
    }
    let pool = setup.pool();
    let answers = answers(&pool, &input);
    assert_eq!(answers.len(), 200);
    for (i, answer) in answers.iter().enumerate() {
        let error = &answer["error"];
        match i % 10 {
            3 if ways[i / 10 % ways.len()] != Way::Panic => assert_eq!(error["kind"], text("WorkerDied"), "{answer:?}"),
            3 | 7 => assert_eq!(error["kind"], text("Panicked"), "{answer:?}"),
            _ => assert_eq!(answer["result"], Json::Number((i * i) as f64), "{answer:?}"),
        }
        if *error != Json::Null {
            assert_eq!(error["line"], Json::Number((i + 1) as f64));
        }
    }
    assert_eq!(pool.stats().items_pending, 0);
}

fn retries_and_limits_of_the_pool_count(setup: &Setup) {
    let pool = setup.builder().task_timeout(Duration::from_millis(100)).retries(1).max_pending(1).build().unwrap();
    let input = "{\"task\": \"crash\", \"args\": \"Hang\"}\n{\"task\": \"crash\", \"args\": null}";
    let answers = answers(&pool, input);
    assert_eq!((&answers[0]["error"]["kind"], &answers[1]["result"]), (&text("TaskTimeout"), &Json::Number(7.0)));
    assert!(pool.stats().workers_died >= 2);
}

#[pool_task]
fn length_of(values: SharedSlice<u64>) -> usize {
    values.len()
}

#[pool_task]
fn some_values() -> SharedSlice<u64> {
    SharedVec::from_slice(&[1, 2]).and_then(SharedVec::freeze).expect("two numbers")
}

fn arrays_are_refused_in_words(setup: &Setup) {
    let input = "{\"task\": \"length_of\", \"args\": [1]}\n{\"task\": \"some_values\"}";
    let answers = answers(&setup.pool(), input);
    assert_eq!(answers[0]["error"]["kind"], text("InvalidInput"), "{answers:?}");
    assert_eq!(answers[1]["error"]["kind"], text("Encode"), "{answers:?}");
}

#[derive(Debug)]
struct Offset(u64);

#[pool_state]
fn offset(by: u64) -> Offset {
    Offset(by)
}

#[pool_task]
fn moved(#[state] offset: &Offset, x: u64) -> u64 {
    x + offset.0
}

fn states_are_those_of_the_pool(setup: &Setup) {
    let mut output = Vec::new();
    {
        let pool = setup.builder().state(offset::State, 10).build().unwrap();
        run_task(&pool, "moved", "1\n2".as_bytes(), &mut output).unwrap();
    }
    assert_eq!(output, b"{\"result\":11}\n{\"result\":12}\n");
    output.clear();
    run_task(&setup.pool(), "moved", "1".as_bytes(), &mut output).unwrap();
    assert!(String::from_utf8_lossy(&output).contains("takes a state of type `Offset`"), "{output:?}");
}
