//! Arguments and results of calls: every kind and number, and the function that is reached.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pool_core::prelude::*;
use serde::{Deserialize, Serialize};
use tests::procs::{descendants, eventually};
use tests::tasks::{pid, square};
use tests::trial::{Check, Setup, each_method, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_call_equals_the_functions_own_result),
        each_method(no_to_eight_arguments),
        each_method(arguments_are_lent),
        each_method(tuples_are_the_arguments_of_a_map),
        each_method(types_that_only_serde_knows),
        each_method(tasks_of_one_name_in_different_modules_are_different),
        each_method(tasks_of_a_library_that_is_only_linked_are_known),
        each_method(a_task_knows_its_worker),
        each_method(a_task_may_have_a_pool_of_its_own),
        once(the_function_stays_an_ordinary_function),
        once(output_of_a_task_is_written_before_its_result_is_known),
    ]
}

#[pool_task]
fn two(a: u64, b: String) -> String {
    format!("{a}{b}")
}

#[pool_task]
fn three(a: u8, b: i16, c: f64) -> f64 {
    f64::from(a) + f64::from(b) + c
}

#[pool_task]
#[expect(clippy::too_many_arguments, reason = "it is the most that a task may have")]
fn eight(a: u8, b: u16, c: u32, d: u64, e: i64, f: char, g: bool, h: Option<String>) -> String {
    format!("{a} {b} {c} {d} {e} {f} {g} {h:?}")
}

fn a_call_equals_the_functions_own_result(setup: &Setup) {
    let pool = setup.pool();
    for x in [0, 1, 1 << 20, (1 << 32) - 1] {
        assert_eq!(pool.apply(square::Task, x).unwrap(), square(x));
    }
}

fn no_to_eight_arguments(setup: &Setup) {
    let pool = setup.pool();
    assert_ne!(pool.apply(pid::Task, ()).unwrap(), std::process::id());
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    assert_eq!(pool.apply(two::Task, (1, "b".to_owned())).unwrap(), "1b");
    assert_eq!(pool.apply(three::Task, (1, -2, 0.5)).unwrap(), -0.5);
    let args = (1, 2, 3, u64::MAX, i64::MIN, 'é', true, Some("h".to_owned()));
    let text = "1 2 3 18446744073709551615 -9223372036854775808 é true Some(\"h\")";
    assert_eq!(pool.apply(eight::Task, args).unwrap(), text);
}

#[pool_task]
fn count_words(text: &str) -> usize {
    text.split_whitespace().count()
}

#[pool_task]
fn sum(numbers: &[u64]) -> u64 {
    numbers.iter().sum()
}

#[pool_task]
fn describe(bytes: &[u8], path: &Path, name: Option<&str>) -> (usize, PathBuf, Option<String>) {
    (bytes.len(), path.join("more"), name.map(str::to_owned))
}

fn arguments_are_lent(setup: &Setup) {
    let pool = setup.pool();
    let text = String::from("to be\nor not to be\n\nthat is the question");
    assert_eq!(pool.map(count_words::Task, text.lines()).unwrap(), [2, 4, 0, 4]);
    assert_eq!(pool.apply(count_words::Task, &text).unwrap(), 10);
    let numbers = vec![1, 2, 3];
    assert_eq!(pool.apply(sum::Task, &numbers).unwrap(), 6);
    assert_eq!(pool.map(sum::Task, numbers.windows(2)).unwrap(), [3, 5]);
    let mut sums = pool.imap(sum::Task, numbers.chunks(1)).unwrap();
    assert_eq!(sums.next().unwrap().unwrap(), 1);
    let described = pool.apply(describe::Task, (text.as_bytes(), Path::new("/a"), Some(&text[..5]))).unwrap();
    assert_eq!(described, (text.len(), PathBuf::from("/a/more"), Some("to be".to_owned())));
}

fn tuples_are_the_arguments_of_a_map(setup: &Setup) {
    let pool = setup.pool();
    let pairs = (0..50).map(|i| (i, format!("-{i}")));
    let joined: Vec<_> = (0..50).map(|i| format!("{i}-{i}")).collect();
    assert_eq!(pool.map(two::Task, pairs.clone()).unwrap(), joined);
    assert_eq!(pool.map_async(two::Task, pairs.clone()).unwrap().get().unwrap(), joined);
    assert!(pool.imap(two::Task, pairs).unwrap().map(Result::unwrap).eq(joined));
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle { radius: f32 },
    Polygon(Vec<(i32, i32)>, BTreeMap<String, Option<Box<Shape>>>),
}

#[pool_task]
fn same_shape(shape: Shape) -> Shape {
    shape
}

fn types_that_only_serde_knows(setup: &Setup) {
    let pool = setup.pool();
    let inner = BTreeMap::from([("a".to_owned(), None), ("b".to_owned(), Some(Box::new(Shape::Point)))]);
    let shapes = [Shape::Point, Shape::Circle { radius: 1.5 }, Shape::Polygon(vec![(0, 0), (-1, i32::MAX)], inner)];
    assert_eq!(pool.map(same_shape::Task, shapes.clone()).unwrap(), shapes);
}

mod metric {
    use pool_core::prelude::*;

    #[pool_task]
    pub(crate) fn length(x: u64) -> String {
        format!("{x} m")
    }
}

mod nautical {
    use pool_core::prelude::*;

    #[pool_task]
    pub(crate) fn length(x: u64) -> String {
        format!("{x} fathoms")
    }
}

fn tasks_of_one_name_in_different_modules_are_different(setup: &Setup) {
    let pool = setup.pool();
    assert_eq!(pool.apply(metric::length::Task, 3).unwrap(), "3 m");
    assert_eq!(pool.apply(nautical::length::Task, 3).unwrap(), "3 fathoms");
}

fn tasks_of_a_library_that_is_only_linked_are_known(setup: &Setup) {
    let names: Vec<_> = pool_core::tasks().into_iter().filter(|task| task.module() == "tasks_lib").collect();
    assert_eq!(names.iter().map(|task| task.name()).collect::<Vec<_>>(), ["double", "square"]);
    let pool = setup.pool();
    assert_eq!(pool.apply(tasks_lib::double::Task, 4).unwrap(), 8);
    assert_eq!(pool.apply(tasks_lib::square::Task, 4).unwrap(), "4²");
}

#[pool_task]
fn whoami() -> Option<(usize, u32, u32)> {
    current_worker().map(|worker| (worker.id(), worker.incarnation(), worker.pid()))
}

fn a_task_knows_its_worker(setup: &Setup) {
    assert_eq!(whoami(), None);
    let pool = setup.builder().max_tasks_per_worker(1).build().unwrap();
    let mut seen = Vec::new();
    for _ in 0..6 {
        let (id, incarnation, pid) = pool.apply(whoami::Task, ()).unwrap().expect("it ran in a worker");
        assert!(id < setup.workers && pid != std::process::id());
        assert!(!seen.contains(&(id, incarnation)), "{id} {incarnation} {seen:?}");
        seen.push((id, incarnation));
    }
}

#[pool_task]
fn sum_of_squares(end: u64, and_die: bool) -> u64 {
    let pool = Pool::new(2).unwrap();
    let squares = pool.map(square::Task, 0..end).unwrap();
    if and_die {
        std::process::abort();
    }
    squares.iter().sum()
}

fn a_task_may_have_a_pool_of_its_own(setup: &Setup) {
    let pool = setup.pool();
    assert_eq!(pool.map(sum_of_squares::Task, [(3, false), (4, false), (5, false)]).unwrap(), [5, 14, 30]);
    let processes = descendants().len();
    let error = pool.apply(sum_of_squares::Task, (3, true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
    assert!(eventually(|| descendants().len() == processes), "{:?}", descendants());
}

fn the_function_stays_an_ordinary_function(_: &Setup) {
    assert_eq!((two(1, "b".to_owned()), metric::length(1)), ("1b".to_owned(), "1 m".to_owned()));
    let function: fn(u64) -> u64 = square;
    assert_eq!(function(3), 9);
}

/// Prints ten bytes, and has a result of so many, or panics.
#[pool_task]
#[expect(clippy::print_stdout, reason = "its order is what is looked at")]
fn print(result: Option<usize>) -> Vec<u8> {
    print!("no newline");
    vec![1; result.expect("a number of bytes")]
}

/// The trial's standard output is a file, so its length tells how much has been printed.
fn output_of_a_task_is_written_before_its_result_is_known(setup: &Setup) {
    let stdout = std::fs::File::from(nix::unistd::dup(std::io::stdout()).unwrap());
    let pool = setup.pool();
    let printed = || stdout.metadata().unwrap().len();
    for round in 0..20 {
        for (turn, result) in (1..).zip([Some(1), Some(1 << 20), None]) {
            assert_eq!(pool.apply(print::Task, result).is_ok(), result.is_some());
            assert_eq!(printed(), 10 * (3 * round + turn), "{result:?}");
        }
    }
    // Some results of a chunk come before its last.
    let first = pool.imap(print::Task.chunk_size(30), [Some(1 << 12); 30]).unwrap().next().unwrap();
    assert!(first.is_ok() && printed() > 600);
}
