//! Faults of agents, clients and the server: each job has exactly one outcome, and nothing is left that does not expire.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pool_core::prelude::*;
use pool_core::remote::Stop;
use tests::gate::{self, Gate};
use tests::host::{Host, say};
use tests::procs::{self, Process, eventually};
use tests::tasks::{echo, nap, square};
use tests::trial::{Check, Setup, each_method, once, program};

use crate::server::{Data, LEASE, Server, url_of_parent};
use crate::work::{backend, end, end_one, pool, pool_by, start_agent};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(an_agent_that_is_killed_loses_nothing),
        once(short_items_survive_the_deaths_of_an_agent_and_of_the_server),
        once(a_wrong_password_is_the_error_of_build),
        once(an_agent_that_stood_still_delivers_no_second_result),
        once(a_job_that_costs_every_agent_is_an_error),
        once(a_server_that_is_killed_and_has_its_data_loses_nothing),
        once(a_server_that_is_killed_and_lost_its_data_loses_nothing),
        once(data_that_are_deleted_are_sent_again),
        once(a_server_that_stays_away_ends_all_jobs),
        once(after_the_time_without_a_server_items_fail_at_once),
        once(a_server_that_refuses_for_a_while_is_waited_for),
        once(a_server_that_refuses_for_ever_ends_all_jobs),
        each_method(the_jobs_of_a_client_that_is_killed_are_stopped),
        once(payloads_that_are_deleted_are_sent_again),
        once(settings_without_sense_are_refused_by_name),
        once(a_full_queue_makes_its_clients_wait),
        program(busy_client),
    ]
}

/// The number, after a millisecond.
#[pool_task]
pub(crate) fn number_slowly(x: u64) -> u64 {
    thread::sleep(Duration::from_millis(1));
    x
}

/// The number, after so many microseconds.
#[pool_task]
fn number_after_us(x: u64, us: u64) -> u64 {
    thread::sleep(Duration::from_micros(us));
    x
}

/// Counts its calls in the file, and sleeps for so many milliseconds.
#[pool_task]
fn count_and_nap(gate: String, ms: u64) -> u64 {
    gate::count(&gate);
    thread::sleep(Duration::from_millis(ms));
    ms
}

/// Kills the program that is the agent of this worker.
#[pool_task]
fn kill_the_agent(agents: Vec<u32>) {
    let mut process = std::process::id();
    while !agents.contains(&process) {
        process = Process::get(process).expect("an ancestor").parent;
    }
    procs::kill_9(process);
    thread::sleep(Duration::from_secs(60));
}

/// Items that take more than a second with two workers.
const ITEMS: u64 = 2_000;

/// Runs a map with a fault in the middle of it, and compares every result.
pub(crate) fn map_during(pool: &Pool, fault: impl FnOnce()) {
    let input: Vec<u64> = (0..ITEMS).collect();
    let map = pool.map_async(number_slowly::Task.chunk_size(5), input.clone()).unwrap();
    thread::sleep(Duration::from_millis(500));
    assert!(!map.ready(), "the map is over before the fault");
    fault();
    assert_eq!(map.get().expect("every item has its result"), input);
}

fn an_agent_that_is_killed_loses_nothing(setup: &Setup) {
    let server = Server::start();
    let killed = start_agent(&server, &setup.with_workers(1));
    let agent = start_agent(&server, &setup.with_workers(1));
    let pool = pool(&server);
    map_during(&pool, || {
        killed.signal(Signal::SIGKILL);
        drop(killed);
    });
    drop(pool);
    end(&server, vec![agent]);
}

fn short_items_survive_the_deaths_of_an_agent_and_of_the_server(setup: &Setup) {
    let mut server = Server::start();
    let killed = start_agent(&server, &setup.with_workers(1));
    let agent = start_agent(&server, &setup.with_workers(1));
    let pool = pool(&server);
    let mut results = pool.imap(number_after_us::Task, (0..20_000_u64).map(|x| (x, 250))).unwrap();
    for expected in 0..20_000 {
        match expected {
            5_000 => killed.signal(Signal::SIGKILL),
            12_000 => {
                server.kill();
                server.start_again(Data::Lost);
            }
            _ => {}
        }
        assert_eq!(results.next().unwrap().unwrap(), expected);
    }
    assert!(results.next().is_none());
    drop((results, killed, pool));
    end(&server, vec![agent]);
}

fn a_wrong_password_is_the_error_of_build(_: &Setup) {
    let server = Server::start();
    let wrong = server.url().replace("change-me", "wrong");
    let error = Pool::builder().backend(pool_redis::connect(&wrong).unwrap()).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(!error.to_string().contains("wrong"), "{error}");
    // An agent says it, too, and does not try for ever.
    let error = pool_redis::agent(&wrong).workers(1).run_until(&Stop::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    end(&server, Vec::new());
}

fn an_agent_that_stood_still_delivers_no_second_result(setup: &Setup) {
    let server = Server::start();
    let still = start_agent(&server, &setup.with_workers(1));
    let pool = pool(&server);
    let gate = Gate::new();
    let job = pool.apply_async(count_and_nap::Task, (gate.path().to_owned(), 1_500)).unwrap();
    assert!(eventually(|| gate.count() == 1), "the job has begun");
    still.signal(Signal::SIGSTOP);
    let agent = start_agent(&server, &setup.with_workers(1));
    // It runs there once the lease of the other is over, and the other goes on meanwhile.
    assert!(eventually(|| gate.count() == 2), "the job was not begun elsewhere");
    still.signal(Signal::SIGCONT);
    assert_eq!(job.get().unwrap(), 1_500);
    // It still is an agent: with the other gone it runs all.
    end_one(agent);
    assert_eq!(pool.map(square::Task, 0..100).unwrap(), (0..100).map(|x| x * x).collect::<Vec<_>>());
    assert_eq!(gate.count(), 2, "the job has run twice, and no third time");
    drop(pool);
    end(&server, vec![still]);
}

fn a_job_that_costs_every_agent_is_an_error(setup: &Setup) {
    let server = Server::start();
    // More than three: on a busy machine one may run the job that meanwhile was given to another, which counts for one.
    let agents: Vec<_> = (0..5).map(|_| start_agent(&server, &setup.with_workers(1))).collect();
    let pids: Vec<_> = agents.iter().map(Host::pid).collect();
    let pool = pool(&server);
    let error = pool.apply(kill_the_agent::Task, pids).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("3 hosts have lost the items one after the other"), "{error}");
    drop((pool, agents));
    end(&server, Vec::new());
}

fn a_server_that_is_killed_and_has_its_data_loses_nothing(setup: &Setup) {
    restart(setup, Data::Kept);
}

fn a_server_that_is_killed_and_lost_its_data_loses_nothing(setup: &Setup) {
    restart(setup, Data::Lost);
}

fn restart(setup: &Setup, data: Data) {
    let mut server = Server::start();
    let agent = start_agent(&server, setup);
    let pool = pool(&server);
    map_during(&pool, || {
        for _ in 0..2 {
            server.kill();
            thread::sleep(Duration::from_millis(300));
            server.start_again(data);
        }
    });
    drop(pool);
    end(&server, vec![agent]);
}

fn data_that_are_deleted_are_sent_again(setup: &Setup) {
    let server = Server::start();
    let agent = start_agent(&server, setup);
    let pool = pool(&server);
    map_during(&pool, || {
        for _ in 0..3 {
            redis::cmd("FLUSHALL").exec(&mut server.connection()).unwrap();
            thread::sleep(Duration::from_millis(50));
        }
    });
    drop(pool);
    end(&server, vec![agent]);
}

fn a_server_that_stays_away_ends_all_jobs(setup: &Setup) {
    let mut server = Server::start();
    let agent = start_agent(&server, setup);
    let pool = pool_by(backend(&server).engine_timeout(Duration::from_secs(1)));
    let running = pool.apply_async(nap::Task, 300_000).unwrap();
    let map = pool.map_async(nap::Task, vec![300_000; 10]).unwrap();
    thread::sleep(Duration::from_millis(200));
    server.kill();
    for error in [running.get().unwrap_err(), map.get().unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert!(error.to_string().contains("the server was not reached for"), "{error}");
    }
    // The next one fails as well, and does not hang.
    assert_eq!(pool.apply(square::Task, 1).unwrap_err().kind(), ErrorKind::Unreachable);
    drop((pool, agent));
}

fn after_the_time_without_a_server_items_fail_at_once(setup: &Setup) {
    let mut server = Server::start();
    let agent = start_agent(&server, setup);
    let pool = pool_by(backend(&server).engine_timeout(Duration::from_secs(1)));
    server.kill();
    assert_eq!(pool.apply(square::Task, 1).unwrap_err().kind(), ErrorKind::Unreachable);
    // The reader's word counts from here, which may come later than that of the writer.
    thread::sleep(Duration::from_millis(500));
    let start = Instant::now();
    let results = pool.map_results(square::Task.chunk_size(1), 0..10_000).unwrap();
    let took = start.elapsed();
    for result in results {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("the server was not reached for"), "{error}");
    }
    // With a look at each every 50 ms it would be two minutes.
    assert!(took < Duration::from_secs(40), "{took:?}");
    server.start_again(Data::Kept);
    assert!(eventually(|| pool.apply(square::Task, 3).is_ok_and(|nine| nine == 9)), "the server is back");
    drop(pool);
    end(&server, vec![agent]);
}

fn a_server_that_refuses_for_a_while_is_waited_for(setup: &Setup) {
    let server = Server::start();
    let agent = start_agent(&server, setup);
    let pool = pool(&server);
    let mut admin = server.connection();
    let mut config = |name: &str, value: &str| {
        redis::cmd("CONFIG").arg("SET").arg(name).arg(value).exec(&mut admin).unwrap();
    };
    // Out of memory.
    map_during(&pool, || {
        config("maxmemory", "1");
        thread::sleep(Duration::from_millis(300));
        config("maxmemory", "0");
    });
    // A replica, that takes no writes, of a server that is away.
    let mut admin = server.connection();
    map_during(&pool, || {
        redis::cmd("REPLICAOF").arg("localhost").arg(1).exec(&mut admin).unwrap();
        thread::sleep(Duration::from_millis(300));
        redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec(&mut admin).unwrap();
    });
    // A script that runs for long.
    let mut other = server.connection();
    map_during(&pool, || {
        let script = thread::spawn(move || {
            let _ = redis::cmd("EVAL").arg("while true do end").arg(0).exec(&mut other);
        });
        thread::sleep(Duration::from_millis(300));
        redis::cmd("SCRIPT").arg("KILL").exec(&mut admin).unwrap();
        script.join().unwrap();
    });
    // A server that stands still.
    map_during(&pool, || {
        server.signal(Signal::SIGSTOP);
        thread::sleep(Duration::from_millis(1_500));
        server.signal(Signal::SIGCONT);
    });
    drop(pool);
    end(&server, vec![agent]);
}

fn a_server_that_refuses_for_ever_ends_all_jobs(setup: &Setup) {
    let server = Server::start();
    let agent = start_agent(&server, setup);
    let pool = pool_by(backend(&server).engine_timeout(Duration::from_secs(1)));
    let running = pool.apply_async(nap::Task, 3_000).unwrap();
    thread::sleep(Duration::from_millis(500));
    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1).exec(&mut server.connection()).unwrap();
    let error = pool.apply(square::Task, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(
        error.to_string().contains("the server took no items for 1s") && error.to_string().contains("OOM"),
        "{error}"
    );
    // The lease of an item that runs is renewed, and its result is taken.
    assert_eq!(running.get().unwrap(), 3_000);
    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(0).exec(&mut server.connection()).unwrap();
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    drop(pool);
    end(&server, vec![agent]);
}

/// Has its jobs run until it is killed.
fn busy_client(_: &Setup) {
    let pool = pool_by(pool_redis::connect(&url_of_parent("pool-client")).unwrap().lease(LEASE));
    let jobs = pool.map_async(nap::Task.chunk_size(1), vec![300_000; 10]).unwrap();
    say("begun");
    let _ = jobs.get();
}

fn the_jobs_of_a_client_that_is_killed_are_stopped(setup: &Setup) {
    let server = Server::start();
    let agent = start_agent(&server, setup);
    let mut client = Host::start(busy_client, setup);
    client.line();
    assert!(eventually(|| server.keys().iter().any(|key| key.contains("session"))));
    thread::sleep(Duration::from_millis(300));
    client.signal(Signal::SIGKILL);
    let _ = client.wait();
    // The workers are free, though the items of the other client would take minutes.
    let pool = pool(&server);
    assert_eq!(pool.map(square::Task, 0..100).unwrap(), (0..100).map(|x| x * x).collect::<Vec<_>>());
    drop(pool);
    end(&server, vec![agent]);
}

fn payloads_that_are_deleted_are_sent_again(setup: &Setup) {
    let server = Server::start();
    let pool = pool(&server);
    let bytes: Vec<u8> = (0..3 << 20).map(|at| at as u8).collect();
    let job = pool.apply_async(echo::Task, bytes.clone()).unwrap();
    assert!(eventually(|| server.queued() == 1), "it is queued");
    let payloads: Vec<String> = server.keys().into_iter().filter(|key| key.contains(":blob:")).collect();
    assert_eq!(payloads.len(), 1);
    redis::cmd("DEL").arg(payloads).exec(&mut server.connection()).unwrap();
    let agent = start_agent(&server, setup);
    assert!(job.get().unwrap() == bytes);
    // Arguments and results, at any moment.
    let inputs: Vec<Vec<u8>> = (0..20).map(|number| vec![number; 2 << 20]).collect();
    let map = pool.map_async(echo::Task.chunk_size(1), inputs.clone()).unwrap();
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(50));
        redis::cmd("FLUSHALL").exec(&mut server.connection()).unwrap();
    }
    assert!(map.get().unwrap() == inputs);
    drop(pool);
    end(&server, vec![agent]);
}

fn settings_without_sense_are_refused_by_name(_: &Setup) {
    let server = Server::start();
    let connect = || pool_redis::connect(&server.url()).unwrap();
    for (backend, name) in [
        (connect().max_deliveries(0), "max_deliveries"),
        (connect().max_queue(0), "max_queue"),
        (connect().host_timeout(Duration::ZERO), "host_timeout"),
        (connect().engine_timeout(Duration::ZERO), "engine_timeout"),
        (connect().lease(Duration::MAX), "lease"),
    ] {
        let error = Pool::builder().backend(backend).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    end(&server, Vec::new());
}

fn a_full_queue_makes_its_clients_wait(setup: &Setup) {
    let server = Server::start();
    let agents = vec![start_agent(&server, setup), start_agent(&server, setup)];
    let pools = [0, 1].map(|_| pool_by(backend(&server).max_queue(1)));
    let maps: Vec<_> =
        pools.iter().map(|pool| pool.map_async(number_slowly::Task.chunk_size(1), 0..200).unwrap()).collect();
    for map in maps {
        assert_eq!(map.get().unwrap(), (0..200).collect::<Vec<_>>());
    }
    drop(pools);
    end(&server, agents);
}
