//! A link that fails, is slow, lies, or sends items back.

use std::sync::Arc;

use pool_core::prelude::*;
use pool_core::remote;
use pool_core::remote::{Backend, Failure, Link, Outcome, Reply, Request, Runner, Stop, TaskKey};
use serde::{Deserialize, Serialize};
use tests::far::Far;
use tests::procs::{eventually, kill_9};
use tests::tasks::{echo, nap, square};
use tests::trial::{Check, Setup, once};

use super::{pool_over, pools};

pub(super) fn checks() -> Vec<Check> {
    vec![
        once(a_link_that_fails_is_an_error_that_may_be_tried_again),
        once(a_link_that_panics_costs_its_items_alone),
        once(a_slow_link_is_waited_for),
        once(wrong_replies_are_errors_of_their_items),
        once(items_that_come_back_are_sent_again),
        once(the_other_pool_may_end),
        once(workers_there_may_be_killed),
        once(two_programs_share_a_pool),
        once(a_value_of_other_fields_is_an_error),
        once(a_backend_that_cannot_connect_is_an_error_of_build),
        once(wrong_requests_are_errors_of_their_items),
        once(a_failure_names_its_machine),
        once(absurd_times_are_survived),
        once(later_calls_of_a_long_request_come_back),
    ]
}

fn lost() -> Error {
    remote::error(ErrorKind::Unreachable, "far://1: connection lost")
}

fn a_link_that_fails_is_an_error_that_may_be_tried_again(_: &Setup) {
    let far = Far::altering(
        Pool::builder().workers(1),
        |number, _, reply| {
            if number.is_multiple_of(2) { Err(lost()) } else { Ok(reply) }
        },
    );
    let pool = pool_over(far);
    let error = pool.apply(square::Task, 3).unwrap_err();
    assert!(error.to_string().ends_with("square`: far://1: connection lost"), "{error}");
    assert_eq!((error.kind(), error.is_retryable(), error.worker_pid()), (ErrorKind::Unreachable, true, None));
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    assert_eq!(pool.apply(square::Task.retries(1), 4).unwrap(), 16);
    let results = pool.map_results(square::Task.chunk_size(10), 0..40).unwrap();
    let errors: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(!errors.is_empty() && errors.len() < 40 && errors.iter().all(|error| error.is_retryable()), "{results:?}");
    let values = pool.map(square::Task.chunk_size(10).retries(9), 0..40).unwrap();
    assert_eq!(values, (0..40).map(|x| x * x).collect::<Vec<_>>());
}

fn a_link_that_panics_costs_its_items_alone(_: &Setup) {
    let far = Far::altering(Pool::builder().workers(1), |number, _, reply| {
        assert_ne!(number, 0, "on purpose");
        Ok(reply)
    });
    let pool = pool_over(far);
    let error = pool.apply(square::Task, 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("on purpose") && error.to_string().contains("faults.rs:"), "{error}");
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
}

fn a_slow_link_is_waited_for(_: &Setup) {
    let far = Far::altering(Pool::builder().workers(2), |_, _, reply| {
        std::thread::sleep(Duration::from_millis(300));
        Ok(reply)
    });
    let pool = pool_over(far);
    // The limit is that of the item, not of the way.
    let task = square::Task.timeout(Duration::from_millis(100));
    assert_eq!(pool.map(task, 0..4).unwrap(), [0, 1, 4, 9]);
}

fn wrong_replies_are_errors_of_their_items(_: &Setup) {
    let wrong = [
        (vec![], "sent 0 outcomes of 1 items"),
        (vec![values(2, &[0; 16])], "sent 2 outcomes of 1 items"),
        (vec![values(1, &[0; 8]), values(0, &[]), values(1, &[0; 8])], "sent 2 outcomes of 1 items"),
        (vec![values(u32::MAX, &[]), values(3, &[])], "outcomes of 1 items"),
        (vec![values(1, &[0; 7])], "not so many values"),
        (vec![values(1, &[0; 9])], "not so many values"),
        (vec![Outcome::Raw(vec![1; 9])], "could not be decoded"),
    ];
    for (outcomes, text) in wrong {
        let far = Far::altering(Pool::builder().workers(1), move |number, _, reply| match number {
            0 => Ok(Reply { outcomes: outcomes.clone(), ..reply }),
            _ => Ok(reply),
        });
        let pool = pool_over(far);
        let error = pool.apply(square::Task, 3).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert!(matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Decode), "{error:?}");
        assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    }
    // Frames that lie about their lengths.
    let far = Far::altering(Pool::builder().workers(1), |_, request, reply| {
        Ok(Reply { outcomes: vec![values(request.items, &[0xff; 12])], ..reply })
    });
    let pool = pool_over(far);
    assert_eq!(pool.apply(echo::Task, vec![1]).unwrap_err().kind(), ErrorKind::Protocol);
}

fn values(items: u32, bytes: &[u8]) -> Outcome {
    Outcome::Values { items, bytes: bytes.to_vec() }
}

/// The key of the only task whose path ends so.
fn key_of(runner: &Runner, end: &str) -> TaskKey {
    runner.tasks().into_iter().find(|task| task.name.ends_with(end)).expect("it is in this program")
}

fn items_that_come_back_are_sent_again(_: &Setup) {
    let far = Far::altering(Pool::builder().workers(2), |number, request, reply| match (number % 3, request.items) {
        (0, items) => Ok(Reply { outcomes: vec![Outcome::NotRun(items)], ..reply }),
        // Not the first, which has come back before.
        (1, items @ 3..) => {
            let Outcome::Values { bytes, .. } = &reply.outcomes[0] else { return Ok(reply) };
            if reply.outcomes.len() > 1 {
                return Ok(reply);
            }
            let [first, last] = [&bytes[..8], &bytes[bytes.len() - 8..]].map(|value| values(1, value));
            Ok(Reply { outcomes: vec![first, Outcome::NotRun(items - 2), last], ..reply })
        }
        _ => Ok(reply),
    });
    let pool = Pool::builder().backend(far).workers(1).build().unwrap();
    let squares: Vec<u64> = (0..60).map(|x| x * x).collect();
    assert_eq!(pool.map(square::Task.chunk_size(10), 0..60).unwrap(), squares);
    assert_eq!(pool.apply(echo::Task, vec![7; 50_000]).unwrap(), [7; 50_000]);

    let far = Far::altering(Pool::builder().workers(1), |_, request, reply| {
        Ok(Reply { outcomes: vec![Outcome::NotRun(request.items)], ..reply })
    });
    let pool = pool_over(far);
    let error = pool.apply(square::Task, 3).unwrap_err();
    assert!(error.kind() == ErrorKind::Unreachable && error.to_string().contains("in a row"), "{error}");
}

fn the_other_pool_may_end(_: &Setup) {
    let (pool, far) = pools();
    let call = pool.apply_async(nap::Task, 600_000).unwrap();
    assert!(eventually(|| !far.0.is_idle()));
    drop(far.0.pool.lock().unwrap().take());
    let error = call.get().unwrap_err();
    assert!(error.kind() == ErrorKind::Unreachable && error.to_string().contains("in a row"), "{error}");
}

fn workers_there_may_be_killed(_: &Setup) {
    let (pool, far) = pools();
    let pids = || far.0.pool.lock().unwrap().as_ref().unwrap().worker_pids();
    let squares = |n: u64| (0..n).map(|x| x * x).collect::<Vec<_>>();
    let call = pool.apply_async(nap::Task, 600_000).unwrap();
    assert!(eventually(|| !far.0.is_idle()));
    pids().into_iter().for_each(kill_9);
    let error = call.get().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerDied);
    assert!(error.to_string().contains("killed by signal 9 (SIGKILL), "), "{error}");
    let map = pool.map_async(nap_square::Task.retries(50), 0..400).unwrap();
    while !map.ready() {
        pids().into_iter().for_each(kill_9);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(map.get().unwrap(), squares(400));
}

#[pool_task]
fn nap_square(x: u64) -> u64 {
    std::thread::sleep(Duration::from_micros(500));
    x * x
}

fn two_programs_share_a_pool(_: &Setup) {
    let far = Far::honest(Pool::builder().workers(2));
    let pools = [0, 1].map(|_| pool_over(far.clone()));
    let maps = [0, 1].map(|at: usize| pools[at].map_async(nap_square::Task, 0..300).unwrap());
    drop(pools);
    let ends = maps.map(|map| map.get().unwrap_err().kind());
    assert_eq!(ends, [ErrorKind::Terminated; 2]);
    let pools = [0, 1].map(|_| pool_over(far.clone()));
    let maps = [0, 1].map(|at: usize| pools[at].map_async(nap_square::Task, 0..300).unwrap());
    assert!(maps.into_iter().all(|map| map.get().unwrap()[299] == 299 * 299));
}

/// Two structs of one shape in memory, as of two builds.
#[derive(Serialize, Deserialize)]
struct Old {
    width: u32,
    height: u32,
}

#[derive(Serialize, Deserialize)]
struct New {
    height: u32,
    width: u32,
}

#[pool_task]
fn old_area(sizes: Vec<Old>) -> u32 {
    sizes.iter().map(|size| size.width * size.height + size.width).sum()
}

#[pool_task]
fn new_area(sizes: Vec<New>) -> u32 {
    sizes.iter().map(|size| size.width * size.height + size.width).sum()
}

fn a_value_of_other_fields_is_an_error(_: &Setup) {
    let local = Pool::new(1).unwrap();
    let runner = Runner::new(&local);
    let [old, new] = ["::old_area", "::new_area"].map(|name| key_of(&runner, name));
    assert_ne!(old.signature, new.signature, "types of other names");
    // As if the names of the types were the same: the bytes of the one, for the other.
    let far = Far::altering(Pool::builder().workers(1), move |_, request, _| {
        let request = Request { task: new.clone(), ..request.clone() };
        Ok(runner.run(&request, &Stop::new()))
    });
    let pool = pool_over(far);
    let error = pool.apply(old_area::Task, vec![Old { width: 2, height: 3 }]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
}

fn a_backend_that_cannot_connect_is_an_error_of_build(_: &Setup) {
    #[derive(Debug)]
    struct Nowhere;
    impl Backend for Nowhere {
        fn open(&self, tasks: &[TaskKey]) -> pool_core::Result<Arc<dyn Link>> {
            assert!(tasks.iter().any(|task| task.name == "tests::tasks::square"));
            assert!(tasks.iter().all(|task| !task.name.ends_with("::counter")), "a state is no task");
            Err(lost())
        }
    }
    let error = Pool::builder().backend(Nowhere).build().unwrap_err();
    assert_eq!(error.to_string(), "far://1: connection lost");
}

fn wrong_requests_are_errors_of_their_items(_: &Setup) {
    let local = Pool::new(1).unwrap();
    let runner = Runner::new(&local);
    let task = key_of(&runner, "tests::tasks::square");
    let place = remote::Place { first: Some(0), attempt: 1, seed: None };
    let sound = Request {
        task,
        items: 2,
        is_raw: false,
        body: vec![0; 16],
        place,
        limits: remote::Limits::default(),
        priority: pool_core::Priority::Normal,
        arrays: Vec::new(),
    };
    let outcomes = |request: &Request| runner.run(request, &Stop::new()).outcomes;
    assert_eq!(outcomes(&sound), [values(2, &[0; 16])]);
    let wrong = [
        Request { body: vec![0; 15], ..sound.clone() },
        Request { body: vec![0; 17], ..sound.clone() },
        Request { is_raw: true, ..sound.clone() },
        Request { place: remote::Place { first: Some(u64::MAX), ..place }, ..sound.clone() },
        Request { task: TaskKey { signature: 1, ..sound.task.clone() }, ..sound.clone() },
        Request { task: TaskKey { name: "no::such".into(), signature: 1 }, ..sound.clone() },
        Request { limits: remote::Limits { timeout: Some(Duration::ZERO), ..sound.limits }, ..sound.clone() },
    ];
    for request in wrong {
        let failures = outcomes(&request);
        assert_eq!(failures.iter().map(Outcome::items).sum::<u32>(), request.items);
        let is_failure = |outcome: &Outcome| {
            matches!(outcome, Outcome::Failed(failure)
                if matches!(failure.kind(), ErrorKind::Decode | ErrorKind::Unsupported | ErrorKind::InvalidInput))
        };
        assert!(failures.iter().all(is_failure), "{request:?}: {failures:?}");
    }
    let absurd = Request { items: u32::MAX, ..sound.clone() };
    assert_eq!(outcomes(&absurd), [Outcome::NotRun(u32::MAX)]);
    random_requests_do_no_harm(&runner, &sound);
    assert_eq!(outcomes(&Request { items: 0, body: Vec::new(), ..sound.clone() }), []);
    let stop = Stop::new();
    stop.set();
    let task = key_of(&runner, "tests::tasks::nap");
    let body = 600_000u64.to_le_bytes().repeat(2);
    let reply = runner.run(&Request { task, body, ..sound }, &stop);
    assert_eq!(reply.outcomes, [Outcome::NotRun(2)]);
    assert!(reply.ran < Duration::from_secs(60));
}

fn absurd_times_are_survived(_: &Setup) {
    let far = Far::altering(Pool::builder().workers(1), |number, request, reply| {
        // Sent back once, so that the times of two replies are added.
        let outcomes = if number == 0 { vec![Outcome::NotRun(request.items)] } else { reply.outcomes };
        Ok(Reply { outcomes, ran: Duration::MAX })
    });
    let pool = pool_over(far);
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    assert_eq!(pool.stats().workers_died, 0);
}

fn later_calls_of_a_long_request_come_back(_: &Setup) {
    let local = Pool::new(1).unwrap();
    let runner = Runner::new(&local);
    let task = key_of(&runner, "tests::tasks::nap");
    let place = remote::Place { first: None, attempt: 1, seed: None };
    let body = 250u64.to_le_bytes().repeat(30);
    let request = Request {
        task,
        items: 30,
        is_raw: false,
        body,
        place,
        limits: remote::Limits::default(),
        priority: pool_core::Priority::Normal,
        arrays: Vec::new(),
    };
    let outcomes = runner.run(&request, &Stop::new()).outcomes;
    assert_eq!(outcomes.iter().map(Outcome::items).sum::<u32>(), 30);
    assert!(matches!(outcomes.last(), Some(Outcome::NotRun(20..))), "{outcomes:?}");
    let stop = Stop::new();
    stop.set();
    let body = 600_000u64.to_le_bytes().repeat(30);
    // Minutes, if they were stopped one after the other.
    let outcomes = runner.run(&Request { body, ..request }, &stop).outcomes;
    assert_eq!(outcomes, [Outcome::NotRun(1), Outcome::NotRun(1), Outcome::NotRun(28)]);
}

/// Requests of any task, with any bytes.
fn random_requests_do_no_harm(runner: &Runner, sound: &Request) {
    let names = ["::square", "::echo", "::old_area", "::lengths", "::turn", "::nothing"];
    let tasks: Vec<_> =
        runner.tasks().into_iter().filter(|task| names.iter().any(|name| task.name.ends_with(name))).collect();
    assert!(tasks.len() >= names.len());
    let mut seed = 7u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for _ in 0..3000 {
        let most = [1, 30, 300][random(3) as usize];
        // Small numbers are lengths that may fit.
        let body =
            (0..random(most)).map(|_| if random(2) == 0 { random(9) as u8 } else { random(256) as u8 }).collect();
        let place =
            remote::Place { first: (random(2) == 0).then_some(random(99)), attempt: 1 + random(3) as u32, seed: None };
        let (task, items, is_raw) =
            (tasks[random(tasks.len() as u64) as usize].clone(), random(9) as u32, random(4) == 0);
        let request = Request { task, items, is_raw, body, place, ..sound.clone() };
        let outcomes = runner.run(&request, &Stop::new()).outcomes;
        assert_eq!(outcomes.iter().map(Outcome::items).sum::<u32>(), items, "{request:?}: {outcomes:?}");
    }
}

fn a_failure_names_its_machine(_: &Setup) {
    let far = Far::altering(Pool::builder().workers(1), |_, request, reply| {
        let name = |outcome| match outcome {
            Outcome::Failed(failure) => Outcome::Failed(failure.at("far-1")),
            outcome => outcome,
        };
        let mut outcomes: Vec<_> = reply.outcomes.into_iter().map(name).collect();
        if request.place.first == Some(0) {
            let failure = Failure::new(ErrorKind::Cancelled, "not here").at("far-2");
            outcomes = vec![Outcome::Failed(failure); request.items as usize];
        }
        Ok(Reply { outcomes, ..reply })
    });
    let pool = pool_over(far);
    let error = pool.apply(tests::tasks::crash::Task, Some(tests::tasks::Way::Panic)).unwrap_err();
    let pid = error.worker_pid().unwrap();
    assert!(error.to_string().contains(&format!("crash`, worker {pid} on far-1: panicked at")), "{error}");
    assert_eq!((error.host(), error.kind()), (Some("far-1"), ErrorKind::Panicked));
    let error = pool.map(square::Task, 0..7).unwrap_err();
    assert!(error.to_string().ends_with("square`, item 0 on far-2: not here"), "{error}");
}
