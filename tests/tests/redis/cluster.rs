//! The picture of agents, clients and queues, for a user who may only read.

use nix::sys::signal::Signal;
use pool_core::prelude::*;
use pool_redis::Cluster;
use tests::procs::eventually;
use tests::tasks::{nap, square};
use tests::trial::{Check, Setup, once};

use crate::server::Server;
use crate::work::{end, pool, start_agent};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        once(the_cluster_has_agents_clients_and_queues),
        once(running_and_lost_jobs_are_counted),
        once(each_namespace_is_a_cluster),
    ]
}

fn look(server: &Server) -> Cluster {
    pool_redis::cluster(&server.url_of("pool-viewer")).expect("the right to read")
}

fn the_cluster_has_agents_clients_and_queues(setup: &Setup) {
    let server = Server::start();
    assert_eq!((look(&server).clients, look(&server).hosts.len()), (0, 0));
    let pool = pool(&server);
    let call = pool.apply_async(square::Task.priority(pool_core::Priority::High), 12).unwrap();
    assert!(eventually(|| look(&server).waiting() == 1), "{}", look(&server));
    let cluster = look(&server);
    let queue = &cluster.queues[0];
    assert_eq!((cluster.clients, cluster.workers(), queue.hosts), (1, 0, 0), "{cluster}");
    assert!(queue.task.ends_with("::square") && cluster.to_string().contains("none has it"), "{cluster}");
    let agent = start_agent(&server, setup);
    assert_eq!(call.get().unwrap(), 144);
    let cluster = look(&server);
    assert_eq!((cluster.hosts.len(), cluster.waiting()), (1, 0), "{cluster}");
    assert_eq!(cluster.hosts[0].pid, agent.pid());
    assert!(cluster.hosts[0].tasks > 0 && cluster.workers() > 0, "{cluster}");
    drop(pool);
    assert!(eventually(|| look(&server).clients == 0), "{}", look(&server));
    end(&server, vec![agent]);
    assert!(look(&server).hosts.is_empty());
}

fn running_and_lost_jobs_are_counted(setup: &Setup) {
    let server = Server::start();
    let first = start_agent(&server, setup);
    let pool = pool(&server);
    assert_eq!(pool.apply(square::Task, 12).unwrap(), 144);
    assert!(eventually(|| look(&server).hosts[0].done == Some(1)), "{}", look(&server));
    let call = pool.apply_async(nap::Task, 3_000).unwrap();
    assert!(eventually(|| look(&server).running() == 1), "{}", look(&server));
    let second = start_agent(&server, setup);
    first.signal(Signal::SIGKILL);
    // It runs again, at the other agent.
    assert!(eventually(|| look(&server).redelivered == 1), "{}", look(&server));
    call.get().unwrap();
    let is_counted = || look(&server).hosts.iter().any(|host| host.pid == second.pid() && host.done == Some(1));
    assert!(eventually(is_counted), "{}", look(&server));
    assert_eq!(look(&server).lost, 0);
    drop(first.wait());
    drop(pool);
    end(&server, vec![second]);
}

fn each_namespace_is_a_cluster(_: &Setup) {
    let server = Server::start();
    let other = pool_redis::connect(&server.url_of("check")).unwrap().namespace("other*");
    let pool = Pool::builder().backend(other).build().unwrap();
    let call = pool.apply_async(square::Task, 12).unwrap();
    let look = |namespace: &str| Cluster::in_namespace(&server.url_of("check"), namespace).unwrap();
    assert!(eventually(|| look("other*").waiting() == 1));
    for namespace in ["pool", "other"] {
        let cluster = look(namespace);
        assert_eq!((cluster.clients, cluster.waiting()), (0, 0), "{namespace}: {cluster}");
    }
    // A user without the right is told so.
    let refused = Cluster::in_namespace(&server.url_of("pool-viewer"), "other*").unwrap_err();
    assert!(refused.to_string().contains("looking at the cluster: Redis: "), "{refused}");
    call.cancel();
    drop(pool);
    server.assert_empties();
}
