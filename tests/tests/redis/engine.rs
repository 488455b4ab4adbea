//! States of the server in which it takes no commands: they are waited for, or reported.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use pool_core::prelude::*;
use tests::procs::eventually;
use tests::tasks::{echo, nap, square};
use tests::trial::{Check, Setup, once};

use crate::faults::{map_during, number_slowly};
use crate::server::Server;
use crate::work::{backend, end, pool, pool_by, start_agent};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        once(a_server_that_loads_its_data_is_waited_for),
        once(a_server_that_cannot_save_is_waited_for),
        once(scripts_that_are_flushed_are_loaded_again),
        once(a_replica_that_is_promoted_takes_over),
        once(a_password_that_changes_is_an_error_at_once),
        once(payloads_wait_for_memory),
    ]
}

fn a_server_that_loads_its_data_is_waited_for(setup: &Setup) {
    let mut server = Server::start();
    let agent = start_agent(&server, setup);
    let pool = pool(&server);
    map_during(&pool, || server.load_slowly());
    drop(pool);
    end(&server, vec![agent]);
}

fn a_server_that_cannot_save_is_waited_for(setup: &Setup) {
    let server = Server::start();
    let agent = start_agent(&server, setup);
    let pool = pool(&server);
    let mut admin = server.connection();
    map_during(&pool, || {
        redis::cmd("CONFIG").arg("SET").arg("save").arg("3600 1").exec(&mut admin).unwrap();
        // A file cannot take the place of a folder.
        let place = server.folder().join("dump.rdb");
        fs::create_dir(&place).unwrap();
        redis::cmd("BGSAVE").exec(&mut admin).unwrap();
        let refuses = |admin: &mut redis::Connection| {
            let answer = redis::cmd("SET").arg("probe").arg(1).arg("PX").arg(1_000).exec(admin);
            answer.is_err_and(|error| error.to_string().contains("MISCONF"))
        };
        assert!(eventually(|| refuses(&mut server.connection())), "the server still writes");
        thread::sleep(Duration::from_millis(300));
        fs::remove_dir(&place).unwrap();
        redis::cmd("CONFIG").arg("SET").arg("save").arg("").exec(&mut admin).unwrap();
        assert!(!refuses(&mut admin));
    });
    drop(pool);
    end(&server, vec![agent]);
}

fn scripts_that_are_flushed_are_loaded_again(setup: &Setup) {
    let server = Server::start();
    let agent = start_agent(&server, setup);
    let pool = pool(&server);
    map_during(&pool, || {
        for _ in 0..3 {
            redis::cmd("SCRIPT").arg("FLUSH").exec(&mut server.connection()).unwrap();
            thread::sleep(Duration::from_millis(50));
        }
    });
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut server.connection()).unwrap();
    assert!(pool.apply(echo::Task, vec![7; 3 << 20]).unwrap() == vec![7; 3 << 20]);
    drop(pool);
    end(&server, vec![agent]);
}

fn a_replica_that_is_promoted_takes_over(setup: &Setup) {
    let mut server = Server::start();
    let agent = start_agent(&server, setup);
    let pool = pool(&server);
    map_during(&pool, || server.fail_over());
    assert_eq!(pool.map(number_slowly::Task, 0..100).unwrap(), (0..100).collect::<Vec<_>>());
    drop(pool);
    end(&server, vec![agent]);
}

fn a_password_that_changes_is_an_error_at_once(setup: &Setup) {
    let server = Server::start();
    let agent = start_agent(&server, setup);
    let pool = pool_by(backend(&server).engine_timeout(Duration::from_secs(600)));
    let job = pool.apply_async(nap::Task, 300_000).unwrap();
    thread::sleep(Duration::from_millis(300));
    let mut admin = server.connection();
    let mut password = |password: &str| {
        let users = ["pool-client", "pool-agent"];
        for user in users {
            redis::cmd("ACL")
                .arg("SETUSER")
                .arg(user)
                .arg("resetpass")
                .arg(format!(">{password}"))
                .exec(&mut admin)
                .unwrap();
        }
        redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes").exec(&mut admin).unwrap();
    };
    password("another");
    let begun = Instant::now();
    let errors = [job.get().unwrap_err(), pool.apply(square::Task, 3).unwrap_err()];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        // By the one or the other connection.
        assert!(error.to_string().contains("authentication failed"), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(300), "{:?}", begun.elapsed());
    // The agent says so, too, and ends.
    let (status, stderr) = agent.wait();
    assert!(!status.success() && stderr.contains("Unreachable"), "{status}: {stderr}");
    password("change-me");
    let other = start_agent(&server, setup);
    assert!(
        eventually(|| pool.apply(square::Task, 3).is_ok_and(|nine| nine == 9)),
        "the password is the old one again"
    );
    drop(pool);
    end(&server, vec![other]);
}

fn payloads_wait_for_memory(setup: &Setup) {
    let server = Server::start();
    let agent = start_agent(&server, setup);
    let pool = pool_by(backend(&server));
    let mut admin = server.connection();
    let mut config = |value: &str| {
        redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(value).exec(&mut admin).unwrap();
    };
    config("1");
    let bytes = vec![3; 4 << 20];
    let job = thread::scope(|scope| {
        let job = scope.spawn(|| pool.apply(echo::Task, bytes.clone()));
        thread::sleep(Duration::from_millis(500));
        config("0");
        job.join().unwrap()
    });
    assert!(job.unwrap() == bytes);
    // With time to wait for it, it is an error that says so.
    let impatient = pool_by(backend(&server).engine_timeout(Duration::from_secs(1)));
    config("1");
    let error = impatient.apply(echo::Task, bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("OOM"), "{error}");
    config("0");
    drop((pool, impatient));
    end(&server, vec![agent]);
}
