//! Values that take much of the stack, or nest on it, in threads of little stack; and very many that take no bytes.

use std::marker::PhantomData;
use std::thread;

use pool_core::prelude::*;
use serde::{Deserialize, Serialize};
use tests::tasks::square;
use tests::trial::{Check, Setup, each_method, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(arrays_as_results_in_a_thread_of_two_mebibytes),
        once(arrays_within_other_types_in_a_thread_of_two_mebibytes),
        once(arrays_as_arguments_in_a_thread_of_two_mebibytes),
        each_method(more_elements_than_may_take_no_bytes_fail_their_call_only),
        once(nested_values_in_threads_of_any_stack),
    ]
}

fn in_thread_of(stack_bytes: usize, body: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(stack_bytes).spawn_scoped(scope, body);
        thread.expect("a thread can be started").join().expect("it does not panic");
    });
}

/// 64 KiB.
type Medium = [u64; 8 << 10];
/// 256 KiB.
type Large = [[u64; 256]; 128];

#[pool_task]
fn medium(x: u64) -> Medium {
    assert!(x != 13, "thirteen");
    [x; 8 << 10]
}

#[pool_task]
fn large(x: u64) -> Large {
    [[x; 256]; 128]
}

#[pool_task]
fn large_pair(x: u64) -> (u8, [(u32, [u16; 1 << 10]); 120]) {
    (x as u8, [(x as u32, [x as u16; 1 << 10]); 120])
}

#[pool_task]
fn invalid() -> Result<[[[u64; 32]; 32]; 8], String> {
    Err("on purpose".to_owned())
}

fn arrays_as_results_in_a_thread_of_two_mebibytes(setup: &Setup) {
    let pool = setup.pool();
    in_thread_of(2 << 20, || {
        #[inline(never)]
        fn check_large(pool: &Pool) {
            let result = pool.apply(large::Task, 7);
            assert!(result.is_ok_and(|values| values.as_flattened().iter().all(|&value| value == 7)));
        }
        #[inline(never)]
        fn check_pair(pool: &Pool) {
            let result = pool.apply(large_pair::Task, 7);
            assert!(
                result.is_ok_and(|(first, rest)| first == 7 && rest.iter().all(|(n, all)| *n == 7 && all[1023] == 7))
            );
        }
        #[inline(never)]
        fn check_timeout(pool: &Pool) {
            let mut job = pool.apply_async(large::Task, 7).unwrap();
            assert!(job.get_timeout(Duration::from_secs(60)).is_ok_and(|values| values[127][255] == 7));
        }
        #[inline(never)]
        fn check_maps(pool: &Pool) {
            let values = pool.map(large::Task, 0..20).unwrap();
            assert!(values.iter().enumerate().all(|(i, value)| value[0][0] == i as u64 && value[127][255] == i as u64));
            let values = pool.map_async(large::Task, 0..20).unwrap().get().unwrap();
            assert!(values.iter().enumerate().all(|(i, value)| value[5][5] == i as u64));
        }
        #[inline(never)]
        fn check_results(pool: &Pool) {
            let results = pool.map_results(medium::Task, 10..15).unwrap();
            assert!([0, 1, 2, 4].into_iter().all(|i| results[i].as_ref().is_ok_and(|value| value[1] == 10 + i as u64)));
            assert_eq!(results[3].as_ref().unwrap_err().panic_message(), Some("thirteen"));
        }
        #[inline(never)]
        fn check_iterators(pool: &Pool) {
            for (i, result) in pool.imap(medium::Task, 0..10).unwrap().enumerate() {
                assert!(result.is_ok_and(|value| value[9] == i as u64));
            }
        }
        check_large(&pool);
        check_pair(&pool);
        check_timeout(&pool);
        check_maps(&pool);
        check_results(&pool);
        check_iterators(&pool);
    });
    // The threads of callbacks have no more.
    let (sender, receiver) = std::sync::mpsc::channel();
    pool.apply_async(medium::Task, 3).unwrap().on_done(move |result| {
        sender.send(result.map(|value| value[0]).map_err(|error| error.to_string())).unwrap();
    });
    assert_eq!(receiver.recv().unwrap(), Ok(3));
}

/// Through serde: 64 KiB, and 256 KiB.
#[derive(Serialize, Deserialize)]
struct Boxed {
    medium: Box<[[[u32; 32]; 32]; 16]>,
    large: Option<Box<[[[u64; 32]; 32]; 32]>>,
}

#[pool_task]
fn boxed(is_large: bool) -> Boxed {
    let numbers = || [[[1; 32]; 32]; 32];
    Boxed { medium: Box::new([[[2; 32]; 32]; 16]), large: is_large.then(|| Box::new(numbers())) }
}

fn arrays_within_other_types_in_a_thread_of_two_mebibytes(setup: &Setup) {
    let pool = setup.pool();
    in_thread_of(2 << 20, || {
        assert_eq!(pool.apply(boxed::Task, false).unwrap().medium[15][31][31], 2);
        match pool.apply(boxed::Task, true) {
            Ok(boxed) => assert_eq!(boxed.large.unwrap()[31][31][31], 1),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Decode);
                assert!(error.to_string().contains("use a thread with more stack"), "{error}");
            }
        }
        assert!(pool.apply(invalid::Task, ()).unwrap().is_err_and(|text| text == "on purpose"));
        assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    });
    in_thread_of(16 << 20, || assert_eq!(pool.apply(boxed::Task, true).unwrap().large.unwrap()[31][31][31], 1));
}

#[pool_task]
fn sum(values: Medium, more: &[[u64; 8 << 10]]) -> u64 {
    values.iter().chain(more.as_flattened()).sum()
}

/// 384 KiB.
#[pool_task]
fn sum_large(values: [[u64; 256]; 192]) -> u64 {
    values.as_flattened().iter().sum()
}

fn arrays_as_arguments_in_a_thread_of_two_mebibytes(setup: &Setup) {
    let pool = setup.pool();
    in_thread_of(2 << 20, || {
        assert_eq!(pool.apply(sum::Task, ([1; 8 << 10], &[[2; 8 << 10]])).unwrap(), 3 * (8 << 10));
        assert_eq!(pool.apply(sum_large::Task, [[1; 256]; 192]).unwrap(), 256 * 192);
    });
}

#[pool_task]
fn count(units: &[()], arrays: &[[u8; 0]]) -> usize {
    units.len() + arrays.len()
}

#[pool_task]
fn count_others(others: Vec<((), PhantomData<u64>)>, nested: Option<Vec<Vec<()>>>) -> usize {
    others.len() + nested.iter().flatten().map(Vec::len).sum::<usize>()
}

#[pool_task]
fn units(count: usize) -> Vec<()> {
    vec![(); count]
}

fn more_elements_than_may_take_no_bytes_fail_their_call_only(setup: &Setup) {
    const MAX: usize = 65536;
    let pool = setup.pool();
    let pids = pool.worker_pids();
    let text = "more than 65536 elements that take no bytes: send their number instead";
    let many = vec![(); 1 << 40];
    let errors = [
        pool.apply(count::Task, (&many, &[])).unwrap_err(),
        pool.apply(count::Task, (&[], &[[0; 0]; MAX + 1])).unwrap_err(),
        pool.apply(count_others::Task, (vec![], Some(vec![many]))).unwrap_err(),
        pool.apply(count_others::Task, (vec![((), PhantomData); MAX + 1], None)).unwrap_err(),
        pool.map(count::Task, [(&[()][..], &[][..]), (&[(); 1 << 40], &[])]).unwrap_err(),
        pool.apply(units::Task, 1 << 40).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Encode);
        assert!(error.to_string().ends_with(text), "{error}");
    }
    assert_eq!(pool.apply(count::Task, (&[(); MAX], &[[]; MAX])).unwrap(), 2 * MAX);
    assert_eq!(
        pool.apply(count_others::Task, (vec![((), PhantomData); MAX], Some(vec![vec![(); MAX]]))).unwrap(),
        2 * MAX
    );
    assert_eq!(pool.apply(units::Task, MAX).unwrap().len(), MAX);
    assert_eq!(pool.worker_pids(), pids);
}

#[derive(Serialize, Deserialize)]
struct Nested(Option<Box<Nested>>);

#[pool_task]
fn nested(levels: u32) -> Nested {
    (1..levels).fold(Nested(None), |inner, _| Nested(Some(Box::new(inner))))
}

fn nested_values_in_threads_of_any_stack(setup: &Setup) {
    let pool = setup.pool();
    for stack_bytes in [128 << 10, 256 << 10, 2 << 20, 8 << 20] {
        in_thread_of(stack_bytes, || {
            for levels in [1, 16, 250] {
                match pool.apply(nested::Task, levels) {
                    Ok(mut value) => {
                        for _ in 1..levels {
                            value = *value.0.unwrap();
                        }
                    }
                    Err(error) => {
                        assert!(stack_bytes < 2 << 20, "{error}");
                        assert_eq!(error.kind(), ErrorKind::Decode);
                        assert!(error.to_string().contains("use a thread with more stack"), "{error}");
                    }
                }
            }
        });
    }
}
