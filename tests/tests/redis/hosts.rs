//! No agent has a task, for a while or for ever.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use pool_core::Event;
use pool_core::prelude::*;
use tests::procs::eventually;
use tests::tasks::square;
use tests::trial::{Check, Setup, once};

use crate::server::Server;
use crate::work::{backend, end, end_one, pool_by, start_agent};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        once(without_an_agent_jobs_end_in_an_error),
        once(without_an_agent_the_pool_says_so_early),
        once(an_agent_of_another_protocol_is_named),
        once(items_that_no_host_has_wait_together),
    ]
}

fn without_an_agent_jobs_end_in_an_error(_: &Setup) {
    let server = Server::start();
    let pool = pool_by(backend(&server).host_timeout(Duration::from_millis(300)));
    let error = pool.apply(square::Task, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(
        error.to_string().ends_with("no host has the task, and none came within 300ms: there is no agent"),
        "{error}"
    );
    drop(pool);
    end(&server, Vec::new());
}

fn without_an_agent_the_pool_says_so_early(setup: &Setup) {
    let server = Server::start();
    let (tell, told) = mpsc::channel();
    let listener = move |event: &Event| {
        if let Event::Hindered { why, .. } = event {
            let _ = tell.send(why.clone());
        }
    };
    let pool = Pool::builder().backend(backend(&server)).on_event(listener).build().unwrap();
    let job = pool.apply_async(square::Task, 4).unwrap();
    let why = told.recv_timeout(Duration::from_secs(60)).expect("it is told").expect("a reason");
    assert!(why.starts_with("no host has the task `") && why.ends_with("square`: there is no agent"), "{why}");
    assert!(pool.insights().to_string().contains("items wait: no host has the task"), "{}", pool.insights());
    let agent = start_agent(&server, setup);
    assert_eq!(job.get().unwrap(), 16);
    assert_eq!(told.recv_timeout(Duration::from_secs(60)), Ok(None));
    assert_eq!(pool.insights().hindrance, None);
    drop(pool);
    end(&server, vec![agent]);
}

fn an_agent_of_another_protocol_is_named(_: &Setup) {
    let server = Server::start();
    let mut admin = server.connection();
    redis::cmd("ZADD").arg("{pool}:agents").arg("9999999999999").arg("00000000000000aa").exec(&mut admin).unwrap();
    redis::cmd("PEXPIRE").arg("{pool}:agents").arg(60_000).exec(&mut admin).unwrap();
    let old = "pool-redis 77 elsewhere 7\nin words of its own";
    redis::cmd("SET").arg("{pool}:agent:00000000000000aa").arg(old).arg("PX").arg(60_000).exec(&mut admin).unwrap();
    let pool = pool_by(backend(&server).host_timeout(Duration::from_millis(300)));
    let error = pool.apply(square::Task, 1).unwrap_err().to_string();
    assert!(error.contains("host elsewhere (process 7): its pool-redis speaks protocol 77"), "{error}");
    drop(pool);
    redis::cmd("FLUSHALL").exec(&mut admin).unwrap();
    end(&server, Vec::new());
}

fn items_that_no_host_has_wait_together(setup: &Setup) {
    let server = Server::start();
    let pool = pool_by(backend(&server).host_timeout(Duration::from_secs(5)));
    for _ in 0..2 {
        let start = Instant::now();
        let results = pool.map_results(square::Task.chunk_size(1), 0..100).unwrap();
        let took = start.elapsed();
        assert!(
            results.iter().all(|result| result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unreachable))
        );
        // One after the other it would be more than three minutes.
        assert!(took < Duration::from_secs(40), "{took:?}");
    }
    // One that comes later is used.
    let agent = start_agent(&server, setup);
    assert!(eventually(|| pool.apply(square::Task, 3).is_ok_and(|nine| nine == 9)), "the agent is used");
    // Its loss is waited out again: another may come.
    end_one(agent);
    let job = pool.apply_async(square::Task, 4).unwrap();
    let other = start_agent(&server, setup);
    assert_eq!(job.get().unwrap(), 16);
    drop(pool);
    end(&server, vec![other]);
}
