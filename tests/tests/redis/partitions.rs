//! Clients and agents that are cut off from the server, jobs that come twice, and clocks that differ.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use pool_core::prelude::*;
use tests::gate::{self, Gate};
use tests::host::{Host, say};
use tests::procs::eventually;
use tests::tasks::{nap, square};
use tests::trial::{Check, Setup, once, program};

use crate::faults::map_during;
use crate::proxy::{Loss, Proxy};
use crate::server::{BY_PROXY, LEASE, Server, is_installed, url_of_parent};
use crate::work::{self, agent, backend, end, end_one, pool, pool_by, start_agent, start_agent_as};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        once(a_partition_loses_nothing).backoff(Duration::from_secs(120)),
        once(lost_commands_lose_nothing).backoff(Duration::from_secs(120)),
        once(lost_answers_lose_nothing).backoff(Duration::from_secs(120)),
        once(an_agent_that_is_cut_off_loses_its_jobs_and_comes_back).backoff(Duration::from_secs(120)),
        once(a_job_that_is_queued_twice_runs_once),
        once(the_clocks_of_hosts_may_differ).only_if(has_time_namespaces),
        program(agent_by_proxy),
        program(agent_of_another_time),
    ]
}

/// Counts its calls in the file.
#[pool_task]
fn count_calls(gate: String) {
    gate::count(&gate);
}

/// Counts its calls in the file, and sleeps for so many milliseconds.
#[pool_task]
fn count_and_rest(gate: String, ms: u64) -> u64 {
    gate::count(&gate);
    thread::sleep(Duration::from_millis(ms));
    ms
}

fn agent_by_proxy(setup: &Setup) {
    work::run_agent(&url_of_parent("pool-agent").replace("socket", BY_PROXY), setup);
}

fn proxy(server: &Server) -> Proxy {
    Proxy::start(&server.folder().join(BY_PROXY), server.folder().join("socket"))
}

/// Longer than a lease, so that the server takes those that are cut off for dead.
const CUT: Duration = Duration::from_millis(2_500);

fn a_partition_loses_nothing(setup: &Setup) {
    lose(setup, Loss::All);
}

fn lost_commands_lose_nothing(setup: &Setup) {
    lose(setup, Loss::ToServer);
}

fn lost_answers_lose_nothing(setup: &Setup) {
    lose(setup, Loss::FromServer);
}

/// The client and one of two agents are cut off together.
fn lose(setup: &Setup, loss: Loss) {
    let server = Server::start();
    let proxy = proxy(&server);
    let far = start_agent_as(&server, agent_by_proxy, &setup.with_workers(1));
    let near = start_agent(&server, &setup.with_workers(1));
    let pool = pool_by(pool_redis::connect(&server.url().replace("socket", BY_PROXY)).unwrap().lease(LEASE));
    map_during(&pool, || {
        proxy.lose(loss);
        thread::sleep(CUT);
        proxy.lose(Loss::Nothing);
    });
    // All that was lost is in its place again.
    assert_eq!(pool.map(square::Task, 0..1_000).unwrap(), (0..1_000).map(|x| x * x).collect::<Vec<_>>());
    drop(pool);
    end(&server, vec![far, near]);
}

fn an_agent_that_is_cut_off_loses_its_jobs_and_comes_back(setup: &Setup) {
    let server = Server::start();
    let proxy = proxy(&server);
    let far = start_agent_as(&server, agent_by_proxy, &setup.with_workers(1));
    let pool = pool(&server);
    let gate = Gate::new();
    let job = pool.apply_async(count_and_rest::Task, (gate.path().to_owned(), 2_000)).unwrap();
    assert!(eventually(|| gate.count() == 1), "the job has begun");
    proxy.lose(Loss::All);
    let near = start_agent(&server, &setup.with_workers(1));
    assert!(eventually(|| gate.count() == 2), "the job was not begun elsewhere");
    assert_eq!(job.get().unwrap(), 2_000);
    proxy.lose(Loss::Nothing);
    // With the other gone it runs all.
    end_one(near);
    assert_eq!(pool.map(square::Task, 0..100).unwrap(), (0..100).map(|x| x * x).collect::<Vec<_>>());
    assert_eq!(gate.count(), 2, "the job has run twice, and no third time");
    drop(pool);
    end(&server, vec![far]);
}

fn a_job_that_is_queued_twice_runs_once(setup: &Setup) {
    let server = Server::start();
    let pool = pool(&server);
    let gate = Gate::new();
    // Without an agent it stays in its queue.
    let job = pool.apply_async(count_calls::Task, gate.path().to_owned()).unwrap();
    let queue = || server.keys().into_iter().find(|key| key.contains("count_calls"));
    assert!(eventually(|| queue().is_some()), "the job is not queued: {:?}", server.keys());
    let (queue, mut admin) = (queue().unwrap(), server.connection());
    let elements: Vec<Vec<u8>> = redis::cmd("ZRANGE").arg(&queue).arg(0).arg(-1).query(&mut admin).unwrap();
    let spaces = elements[0].iter().enumerate().filter(|(_, byte)| **byte == b' ');
    let without_body = spaces.map(|(at, _)| at).nth(2).expect("a body behind session, job and count");
    // The same delivery without its body, as if it had been submitted by two ways.
    redis::cmd("ZADD").arg(&queue).arg(0).arg(&elements[0][..without_body]).exec(&mut admin).unwrap();
    let agents = vec![start_agent(&server, &setup.with_workers(1)), start_agent(&server, &setup.with_workers(1))];
    job.get().unwrap();
    // Both elements are gone, and a second call would have begun by now.
    assert_eq!(pool.map(square::Task, 0..1_000).unwrap().len(), 1_000);
    assert!(eventually(|| !server.keys().contains(&queue)), "an element is left");
    assert_eq!(gate.count(), 1);
    drop(pool);
    end(&server, agents);
}

/// Whether `unshare` can give a program another clock, and there is a server.
fn has_time_namespaces() -> bool {
    if !is_installed() {
        return false;
    }
    let status = Command::new("unshare").args(["--time", "--monotonic", "1000", "true"]).output();
    status.is_ok_and(|output| output.status.success())
}

const OTHER_TIME_S: &str = "1000000";

/// An agent whose machine has run for eleven days longer.
fn agent_of_another_time(setup: &Setup) {
    let mut command = Command::new("unshare");
    command.args(["--time", "--monotonic", OTHER_TIME_S, "--boottime", OTHER_TIME_S]);
    say(command.arg(std::env::current_exe().unwrap()).args(Host::args(agent, setup)).exec());
}

fn the_clocks_of_hosts_may_differ(setup: &Setup) {
    let server = Server::start();
    let other = start_agent_as(&server, agent_of_another_time, &setup.with_workers(1));
    let near = start_agent(&server, &setup.with_workers(1));
    let pool = pool_by(backend(&server));
    // Time limits and leases hold on both.
    let limited = nap::Task.timeout(Duration::from_millis(300)).chunk_size(1);
    for result in pool.map_results(limited, [1, 30_000, 1, 30_000]).unwrap().chunks(2) {
        assert_eq!(result[0].as_ref().unwrap(), &1);
        assert_eq!(result[1].as_ref().unwrap_err().kind(), ErrorKind::TaskTimeout);
    }
    assert_eq!(pool.map(nap::Task.chunk_size(1), vec![1_500; 4]).unwrap(), vec![1_500; 4]);
    end_one(near);
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    drop(pool);
    end(&server, vec![other]);
}
