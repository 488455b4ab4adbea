//! Jobs that run at agents, without faults.

use std::time::Duration;

use nix::sys::signal::Signal;
use pool_core::prelude::*;
use pool_core::remote::Stop;
use pool_core::{Priority, SharedSlice, SharedVec};
use pool_redis::Connect;
use tests::gate::{self, Gate};
use tests::host::{Host, say};
use tests::procs::{self, eventually};
use tests::tasks::{echo, halve, nap, nap_where, pid, square};
use tests::trial::{Check, Setup, each_method, once, program};

use crate::server::{LEASE, Server, url_of_parent};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(calls_and_maps_run_at_agents),
        once(values_of_all_sizes_come_back),
        once(large_arguments_are_fetched_once).backoff(Duration::from_secs(240)),
        once(shared_arrays_are_fetched_once),
        once(payloads_pass_a_server_that_takes_short_values),
        once(priorities_hold_among_clients),
        once(failures_come_back_as_they_are),
        once(two_agents_share_the_work),
        once(cancelled_items_are_stopped_at_the_agent),
        once(an_agent_that_is_told_to_end_finishes_its_jobs),
        once(an_agent_that_is_told_twice_gives_its_jobs_back),
        once(an_agent_runs_its_jobs_itself),
        once(two_clients_share_the_agents),
        once(insights_show_the_hosts_and_their_workers),
        program(agent),
    ]
}

/// An agent of the check's server.
pub(crate) fn agent(setup: &Setup) {
    run_agent(&url_of_parent("pool-agent"), setup);
}

pub(crate) fn run_agent(url: &str, setup: &Setup) {
    let agent = pool_redis::agent(url).lease(LEASE).pool(setup.builder());
    say(std::process::id());
    agent.run().expect("an ordinary end");
}

/// Starts an agent, and waits until it is known.
pub(crate) fn start_agent(server: &Server, setup: &Setup) -> Host {
    start_agent_as(server, agent, setup)
}

/// Starts this program as an agent.
pub(crate) fn start_agent_as<F: Fn(&Setup)>(server: &Server, program: F, setup: &Setup) -> Host {
    let agents = || server.keys().iter().filter(|key| key.contains(":agent:")).count();
    let known = agents();
    let mut host = Host::start(program, setup);
    host.line();
    let is_known = || agents() > known;
    assert!(eventually(is_known), "the agent does not come up: {:?}", server.keys());
    host
}

/// The way to the agents.
pub(crate) fn backend(server: &Server) -> Connect {
    pool_redis::connect(&server.url()).expect("an address").lease(LEASE)
}

/// A pool that has its jobs run by the agents.
pub(crate) fn pool(server: &Server) -> Pool {
    pool_by(backend(server))
}

pub(crate) fn pool_by(backend: Connect) -> Pool {
    Pool::builder().backend(backend).build().expect("a pool")
}

/// The agent is told to end, and does.
pub(crate) fn end_one(agent: Host) {
    agent.signal(Signal::SIGTERM);
    let (status, stderr) = agent.wait();
    assert!(status.success(), "{status}: {stderr}");
}

/// The agents end, and nothing is left in Redis.
pub(crate) fn end(server: &Server, agents: Vec<Host>) {
    agents.into_iter().for_each(end_one);
    server.assert_empties();
}

fn calls_and_maps_run_at_agents(setup: &Setup) {
    let server = Server::start();
    let agent = start_agent(&server, setup);
    let pool = pool(&server);
    assert_eq!(pool.apply(square::Task, 12).unwrap(), 144);
    let worker = pool.apply(pid::Task, ()).unwrap();
    assert!(procs::is_alive(worker) && worker != std::process::id(), "a worker of the agent");
    let squares: Vec<u64> = (0..20_000).map(|x| x * x).collect();
    assert_eq!(pool.map(square::Task, 0..20_000).unwrap(), squares);
    let lazy: Vec<u64> = pool.imap(square::Task, 0..20_000).unwrap().map(Result::unwrap).collect();
    assert_eq!(lazy, squares);
    let handles: Vec<_> = (0..200).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
    let values: Vec<_> = handles.into_iter().map(|handle| handle.get().unwrap()).collect();
    assert_eq!(values, squares[..200]);
    drop(pool);
    end(&server, vec![agent]);
}

fn values_of_all_sizes_come_back(setup: &Setup) {
    let server = Server::start();
    let agent = start_agent(&server, setup);
    let pool = pool(&server);
    // Small ones travel in the queue.
    for length in [0, 1, 4_000, 5_000, 3 << 20] {
        let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
        assert!(pool.apply(echo::Task, bytes.clone()).unwrap() == bytes, "{length}");
    }
    let inputs: Vec<_> = (0..200_usize).map(|length| vec![b' '; length * 50]).collect();
    assert!(pool.map(echo::Task, inputs.clone()).unwrap() == inputs);
    drop(pool);
    end(&server, vec![agent]);
}

/// Megabytes that the server has sent since it began.
fn sent_mb(server: &Server) -> u64 {
    let info: String = redis::cmd("INFO").arg("stats").query(&mut server.connection()).unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    line.expect("it counts them").parse::<u64>().expect("a number") >> 20
}

#[pool_task]
fn sum_bytes(bytes: &[u8], times: u64) -> u64 {
    bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>() * times
}

fn large_arguments_are_fetched_once(setup: &Setup) {
    let server = Server::start();
    let agent = start_agent(&server, setup);
    let pool = pool(&server);
    let bytes = vec![1; 20 << 20];
    for _ in 0..10 {
        assert_eq!(pool.apply(sum_bytes::Task, (&bytes[..], 1)).unwrap(), 20 << 20);
    }
    // Ten times as many otherwise.
    assert!(sent_mb(&server) < 60, "{} MB", sent_mb(&server));
    drop(pool);
    end(&server, vec![agent]);
}

#[pool_task]
fn sum(part: SharedSlice<u64>) -> u64 {
    part.iter().sum()
}

#[pool_task]
fn doubled(part: SharedSlice<u64>) -> Result<SharedSlice<u64>, String> {
    let doubled = SharedVec::try_from_iter(part.iter().map(|number| 2 * number)).and_then(SharedVec::freeze);
    doubled.map_err(|error| error.to_string())
}

fn shared_arrays_are_fetched_once(setup: &Setup) {
    let server = Server::start();
    let agents = vec![start_agent(&server, &setup.with_workers(1)), start_agent(&server, &setup.with_workers(1))];
    let pool = pool(&server);
    let numbers = SharedVec::try_from_iter(0..3_000_000_u64).unwrap().freeze().unwrap();
    let sums: Vec<u64> = numbers.chunks(10_000).map(|part| part.iter().sum()).collect();
    for _ in 0..5 {
        assert_eq!(pool.map(sum::Task.chunk_size(5), numbers.chunks(10_000)).unwrap(), sums);
    }
    // 23 MB for each agent.
    assert!(sent_mb(&server) < 100, "{} MB", sent_mb(&server));
    // As results they are not shared, and may be as large.
    let two = pool.map(doubled::Task, numbers.chunks(1_500_000)).unwrap();
    for (result, part) in two.into_iter().zip(numbers.chunks(1_500_000)) {
        let result = result.unwrap();
        assert!(result.iter().zip(part.iter()).all(|(two, one)| *two == 2 * one) && result.len() == part.len());
    }
    drop((pool, numbers));
    end(&server, agents);
}

fn payloads_pass_a_server_that_takes_short_values(setup: &Setup) {
    let server = Server::start();
    // The least that it can be told.
    let mut admin = server.connection();
    redis::cmd("CONFIG").arg("SET").arg("proto-max-bulk-len").arg("1mb").exec(&mut admin).unwrap();
    let agent = start_agent(&server, setup);
    let pool = pool(&server);
    for length in [1_000_000, 1 << 20, 5 << 20] {
        let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
        assert!(pool.apply(echo::Task, bytes.clone()).unwrap() == bytes, "{length}");
    }
    let inputs: Vec<_> = (0..20).map(|length| vec![b' '; length * 60_000]).collect();
    assert!(pool.map(echo::Task, inputs.clone()).unwrap() == inputs);
    drop(pool);
    end(&server, vec![agent]);
}

/// The number of calls so far, with this one.
#[pool_task]
fn position(gate: String) -> usize {
    gate::count(&gate) + 1
}

fn priorities_hold_among_clients(setup: &Setup) {
    let server = Server::start();
    let gate = Gate::new();
    let path = || gate.path().to_owned();
    let pools: Vec<_> = (0..8).map(|_| pool(&server)).collect();
    // Each client has one request at the server while there is no agent.
    let call = |pool: &Pool, priority| {
        let before = server.queued();
        let call = pool.apply_async(position::Task.priority(priority), path()).unwrap();
        assert!(eventually(|| server.queued() == before + 1), "it is not queued");
        call
    };
    let low = call(&pools[0], Priority::Low);
    let normal: Vec<_> = pools[1..7].iter().map(|pool| call(pool, Priority::Normal)).collect();
    let high = call(&pools[7], Priority::High);
    let agent = start_agent(&server, &setup.with_workers(1));
    assert_eq!(high.get().unwrap(), 1);
    assert_eq!(low.get().unwrap(), 8);
    assert!(normal.into_iter().all(|call| (2..8).contains(&call.get().unwrap())));
    drop(pools);
    end(&server, vec![agent]);
}

fn failures_come_back_as_they_are(setup: &Setup) {
    let server = Server::start();
    let agent = start_agent(&server, setup);
    let (far, near) = (pool(&server), setup.pool());
    let results = far.map_results(halve::Task, 0..100).unwrap();
    let expected = near.map_results(halve::Task, 0..100).unwrap();
    assert!(results.iter().any(Result::is_err));
    for (result, expected) in results.iter().zip(&expected) {
        match (result, expected) {
            (Ok(value), Ok(expected)) => assert_eq!(value, expected),
            (Err(error), Err(expected)) => {
                assert_eq!(error.kind(), expected.kind());
                assert_eq!(error.item(), expected.item());
                assert_eq!(error.panic_message(), expected.panic_message());
                assert_eq!(error.host(), Some(nix::unistd::gethostname().unwrap().to_str().unwrap()));
            }
            (result, expected) => panic!("{result:?} for {expected:?}"),
        }
    }
    let slow = far.apply(nap::Task.timeout(Duration::from_millis(50)), 30_000).unwrap_err();
    assert_eq!(slow.kind(), ErrorKind::TaskTimeout);
    drop((far, near));
    end(&server, vec![agent]);
}

fn two_agents_share_the_work(setup: &Setup) {
    let server = Server::start();
    let agents = vec![start_agent(&server, &setup.with_workers(1)), start_agent(&server, &setup.with_workers(1))];
    let pool = pool(&server);
    // Each waits long enough for the other to be wanted.
    let workers = pool.map(nap_where::Task.chunk_size(1), vec![100; 10]).unwrap();
    let distinct: std::collections::BTreeSet<_> = workers.iter().collect();
    assert_eq!(distinct.len(), 2, "{workers:?}");
    drop(pool);
    end(&server, agents);
}

fn cancelled_items_are_stopped_at_the_agent(setup: &Setup) {
    let server = Server::start();
    let agent = start_agent(&server, &setup.with_workers(1));
    let pool = pool(&server);
    for _ in 0..3 {
        let handle = pool.apply_async(nap::Task, 300_000).unwrap();
        // It may be cancelled before and after its worker has begun it.
        std::thread::sleep(Duration::from_millis(100));
        assert!(handle.cancel());
    }
    // The one worker is free.
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    let left = pool.apply_async(nap::Task, 300_000).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    pool.terminate();
    assert_eq!(left.get().unwrap_err().kind(), ErrorKind::Terminated);
    drop(pool);
    end(&server, vec![agent]);
}

fn an_agent_that_is_told_to_end_finishes_its_jobs(setup: &Setup) {
    let server = Server::start();
    let agent = start_agent(&server, &setup.with_workers(1));
    let pool = pool(&server);
    let running = pool.apply_async(nap::Task, 1_000).unwrap();
    let queued = pool.apply_async(square::Task, 5).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    end_one(agent);
    assert_eq!(running.get().unwrap(), 1_000);
    let other = start_agent(&server, setup);
    assert_eq!(queued.get().unwrap(), 25);
    drop(pool);
    end(&server, vec![other]);
}

fn an_agent_that_is_told_twice_gives_its_jobs_back(setup: &Setup) {
    let server = Server::start();
    let agent = start_agent(&server, &setup.with_workers(1));
    let pool = pool(&server);
    let gate = Gate::new();
    let running = pool.apply_async(nap_once_long::Task, gate.path().to_owned()).unwrap();
    assert!(eventually(|| gate.count() == 1), "the job has begun");
    let other = start_agent(&server, setup);
    agent.signal(Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(500));
    agent.signal(Signal::SIGTERM);
    let (status, stderr) = agent.wait();
    assert!(status.success(), "{status}: {stderr}");
    // It would have taken minutes there, and runs elsewhere.
    assert_eq!(running.get().unwrap(), 2);
    drop(pool);
    end(&server, vec![other]);
}

/// The first call takes minutes.
#[pool_task]
fn nap_once_long(gate: String) -> usize {
    let calls = gate::count(&gate) + 1;
    if calls == 1 {
        std::thread::sleep(Duration::from_secs(300));
    }
    calls
}

fn an_agent_runs_its_jobs_itself(_: &Setup) {
    let server = Server::start();
    let agent = pool_redis::agent(&server.url()).pool(Pool::builder().backend(backend(&server)));
    let error = agent.run_until(&Stop::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("the pool of an agent has a backend"), "{error}");
    end(&server, Vec::new());
}

fn two_clients_share_the_agents(setup: &Setup) {
    let server = Server::start();
    let agent = start_agent(&server, setup);
    let pools = [pool(&server), pool(&server)];
    let maps: Vec<_> =
        pools.iter().map(|pool| pool.map_async(nap::Task.chunk_size(1), vec![5; 100]).unwrap()).collect();
    for map in maps {
        assert_eq!(map.get().unwrap(), vec![5; 100]);
    }
    drop(pools);
    end(&server, vec![agent]);
}

fn insights_show_the_hosts_and_their_workers(setup: &Setup) {
    let server = Server::start();
    let agents = [start_agent(&server, &setup.with_workers(1)), start_agent(&server, &setup.with_workers(2))];
    let pool = pool(&server);
    let has_both = || pool.insights().hosts.iter().filter(|host| host.is_alive).count() == 2;
    assert!(eventually(has_both), "{}", pool.insights());
    // Both answer several times, for longer than the time between two reports.
    pool.map(nap::Task.chunk_size(1), vec![40; 60]).unwrap();
    let insights = pool.insights();
    for (agent, workers) in agents.iter().zip([1, 2]) {
        let host = insights.hosts.iter().find(|host| host.pid == agent.pid()).expect("its row");
        assert_eq!(host.host, nix::unistd::gethostname().unwrap().to_str().unwrap());
        assert_eq!(host.requests, host.items);
        assert!(host.items > 0 && host.working >= Duration::from_millis(40) * host.items as u32, "{host:?}");
        assert!(host.answered.is_some());
        assert_eq!(host.workers.len(), workers);
        assert!(host.workers.iter().all(|worker| worker.pid.is_some_and(procs::is_alive)), "{host:?}");
    }
    assert_eq!(insights.hosts.iter().map(|host| host.items).sum::<u64>(), 60);
    let tasks = insights.hosts.iter().flat_map(|host| &host.workers).filter_map(|worker| worker.task.as_deref());
    assert!(tasks.into_iter().any(|task| task.ends_with("::nap")), "one of three was at work: {insights}");
    assert!(insights.to_string().contains("takes requests"), "{insights}");
    let [one, other] = agents;
    end_one(one);
    assert!(eventually(|| pool.insights().hosts.iter().filter(|host| host.is_alive).count() == 1));
    assert_eq!(pool.insights().hosts.len(), 2, "the one that left has answered, and is told of");
    drop(pool);
    end(&server, vec![other]);
}
