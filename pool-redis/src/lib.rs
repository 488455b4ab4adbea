//! Many machines for [`pool_core`]: the same annotated functions and the same `Pool`, over a Redis server.
//!
//! ```no_run
//! use pool_core::prelude::*;
//!
//! #[pool_task]
//! fn square(x: u64) -> u64 { x * x }
//!
//! fn main() -> pool_core::Result<()> {
//!     let url = "redis://10.0.0.7";
//!     if std::env::args().any(|argument| argument == "--agent") {
//!         return pool_redis::agent(url).run(); // on each machine that works
//!     }
//!     let pool = Pool::builder().backend(pool_redis::connect(url)?).build()?; // on the machine that asks
//!     assert_eq!(pool.map(square::Task, 0..5)?, [0, 1, 4, 9, 16]);
//!     Ok(())
//! }
//! ```
//!
//! A program moves to many machines by the one line `.backend(…)`. All methods of the pool, its handles, iterators, errors, retries,
//! priorities and back-pressure are the same code. On each machine an [`agent()`] runs the items in an ordinary pool, with its isolation,
//! limits, states and sandbox.
//!
//! # What is promised
//!
//! | if | then |
//! |---|---|
//! | an item runs | it may run more than once, since a host can be lost after it ran: **at least once** |
//! | a result comes | it counts **exactly once**: the server takes it from the agent that holds the job, and forgets the job in the same step |
//! | an agent is killed, or cut off | its lease ends (15 s, [`Agent::lease`]), and the job runs elsewhere; one that it had taken less than 0.2 s before has no lease yet, and runs elsewhere within seconds |
//! | an agent stood still and wakes up | its results are refused, and it stops the jobs that it has lost |
//! | three agents lose a job | its items end in an error that says so ([`Connect::max_deliveries`]) |
//! | an item kills its machine | at most [`max_deliveries`](Connect::max_deliveries) + 1 machines are lost: its chunk counts once, then the item alone |
//! | an item is cancelled, or the pool terminated | queued jobs are deleted, running ones stopped at once |
//! | the client dies | its jobs are stopped when its lease has ended ([`Connect::lease`]) |
//! | the server is away | client and agents connect again, ever more slowly; jobs run on meanwhile |
//! | the server lost its data | clients submit the forgotten jobs again, under the same numbers; an agent that still runs a job keeps it |
//! | the server stays away | every handle ends in an error after [`Connect::engine_timeout`], further ones at once until it is back |
//! | the server refuses (`OOM`, `BUSY`, `LOADING`, `READONLY`, `MISCONF`, `NOSCRIPT`) | it is waited for, as if it were away |
//! | a replica is promoted, and answers under the address | client and agents go on with it; jobs that it does not know are submitted again |
//! | the server does not let a user in any more | pending jobs end in an error at once, and so does an agent |
//! | a payload is gone before it was read | the request is sent again with it; the fifth time it is an error |
//! | no agent has a task | its items end in an error after [`Connect::host_timeout`] that says how each agent differs, further ones at once |
//! | an agent gets SIGTERM | it takes no more, finishes, and leaves; while the server is away that waits up to [`Agent::engine_timeout`] |
//! | an agent gets SIGTERM again | its items are stopped, with their grace, and run elsewhere at once |
//!
//! While no agent has a task, or the server is away, the pool says so within a second or two: in [`Insights::hindrance`], the text of the
//! insights, and [`Event::Hindered`].
//!
//! [`Insights::hindrance`]: pool_core::Insights::hindrance
//! [`Event::Hindered`]: pool_core::Event::Hindered
//!
//! [`cluster()`] shows what runs where: agents, their workers and jobs, clients, the tasks that wait, and those that no agent has; `pool-cli
//! cluster` draws it live.
//!
//! Clocks of hosts may differ: all times are counted by the server or by one host alone.
//!
//! # Which program an agent must be
//!
//! Client and agent must agree on the tasks that they share, and on nothing else: a task is found by its name and by a hash of its types
//! and of the names of its parameters ([`TaskKey`](pool_core::remote::TaskKey)). So they may be builds of different days, or different
//! programs with a library in common. The guide of pool-core has the details, `guide/many_machines.md`. Versions of this crate that
//! speak different protocols do not meet: a client that finds only such agents names them, with both numbers.
//!
//! # Large payloads and shared arrays
//!
//! Arguments of more than about a megabyte, and each [shared array](pool_core::SharedSlice) that arguments name, lie beside the jobs, in
//! pieces of 512 KiB under the hash of their content (SHA-256). So a program that maps over `data.chunks(n)` moves to many machines by the
//! one line. A client writes each once, and not at all if the server has it. An agent reads each once, checks it against the hash, and
//! keeps the last ones for further jobs ([`Agent::cache_bytes`]); its workers share one copy of an array. The whole array goes to each
//! agent, also if a job names a part of it.
//!
//! The server keeps a payload as long as a job of some client needs it, and then for three seconds; if the client is gone, for its lease.
//! Results of more than a megabyte travel in pieces, too: they are for one job, and deleted when they have been read. A payload has 16 GiB at
//! most, and no value that the server sees is longer than 1 MiB (the least that `proto-max-bulk-len` can be). Set `maxmemory-policy noeviction`,
//! so that a server without memory refuses further payloads, which wait, and drops none. Without optimization hashing takes seconds for
//! megabytes: `[profile.dev.package.sha2]` with `opt-level = 3` in your `Cargo.toml` helps.
//!
//! # Security
//!
//! No code travels: an agent runs the tasks of its own program, and takes arguments for untrusted input, under the same limits as from
//! its own host. Every program that may write to Redis can have these tasks run, so give clients and agents users of their own:
//! `examples/users.acl` has the rights that they need, and the tests run under them. `rediss://` (feature `tls`) encrypts. User and
//! password belong into `POOL_REDIS_USER`, and `POOL_REDIS_PASSWORD` or the file that `POOL_REDIS_PASSWORD_FILE` names.
//!
//! # The server
//!
//! Redis 7 or Valkey. It holds the jobs in flight, with their payloads, and nothing else: at most as many requests of each client as the
//! agents run at once. All other items wait in the client's own queue. So it needs little memory and no persistence. Every key expires.
//!
//! ## Figures
//!
//! With the server, two agents and the client on one machine of two virtual CPUs that others used, too (`cargo run --release -p
//! pool-redis --example figures`; the range of five runs):
//!
//! | | |
//! |---|---|
//! | a call, there and back | 130 to 215 µs |
//! | the same four steps with bare lists of Redis | 50 to 110 µs |
//! | a map of a million `u64` | 5.2 to 8.0 million items a second |
//! | items of 1 ms, two workers | 0.88 to 1.0 of a local pool, and once 0.65 |
//! | calls submitted, then all got | 173,000 to 245,000 a second |
//! | requests of one item each | 8,300 to 11,200 a second |
//! | CPU time of the server for a request | 53 to 120 µs |
//!
//! Beside others, with two workers on two busy CPUs (`cargo xtask bench --quick --case 'redis_*'`; the range of four rounds for ours and the
//! bare lists, one round for Python's):
//!
//! | | this crate | bare lists | Celery | RQ | Dask distributed |
//! |---|---|---|---|---|---|
//! | a call | 198 to 245 µs | 55 to 66 µs | 3.6 ms | 26 ms | – |
//! | a million `u64` in chunks | 3.8 to 4.7 M/s | – | 1.4 M/s | 0.7 M/s | – |
//! | items that sleep 1 ms | 1,660 to 1,810/s, 0.98 of a local pool | – | 350/s | 73/s | 450/s |
//!
//! A call takes two scripts and two blocking pops. An agent waits on three queues for each task of its program, so the more tasks there are
//! the longer a call takes: this benchmark has 16, and its calls take 3 to 4 times as long as bare lists.
//!
//! # A thousand machines
//!
//! This is worked out from these figures, and was not run. A server has one thread for all scripts, so it carries about 10,000 requests a
//! second. A worker makes one request for each chunk:
//!
//! | 100,000 workers, with requests of | requests a second | servers |
//! |---|---|---|
//! | 20 ms (chunks of short items) | 5,000,000 | 500 |
//! | 1 s | 100,000 | 10 |
//! | 10 s and more | 10,000 and fewer | 1 |
//!
//! Several servers are several pools: each agent and each client has one address, and one in ten agents goes to each of ten servers. In a
//! Redis Cluster a [namespace](Connect::namespace) is the unit: all keys of one lie on one node (`{NAMESPACE}:` is their hash tag), and
//! those of several are spread over the nodes. This crate does not follow the redirections of a cluster, so each address is that of the
//! node with the namespace.
//!
//! An agent has four connections and a client two, and two more each when payloads are large, so 1,000 agents need 6,000 of the 10,000 that
//! `maxclients` allows. An agent without
//! work sends six blocking pops a second and four renewals in a lease, together about 6,300 commands a second for 1,000 agents. The
//! server holds of each request in flight its body twice at most, the record of 50 bytes, and the outcome until it is read: with two
//! requests of 10 KB for each of 100,000 workers about 4 GB.
//!
//! # Fairness
//!
//! Each task has a queue for each [priority](pool_core::Priority): agents take from those of high priority first, and among the tasks of one
//! priority in turn. In a queue the clients take turns, request by request (start-time fair queueing): a call of one client passes the
//! requests that another has submitted by the thousand, and waits for one of each client at most. Requests that run are not interrupted.
//! Turns count requests and not their time. A client has no more requests at the server than agents run at once, so a call of high priority
//! may wait in its own program until one of these is over.

#![deny(unsafe_code)]

mod advertisement;
mod agent;
mod blob;
mod client;
mod cluster;
mod commands;
mod connection;
mod head;
mod keys;
mod message;
mod pieces;
mod protocol;
mod settings;
#[cfg(test)]
mod simulation;

pub use agent::{Agent, agent};
pub use client::{Connect, connect};
pub use cluster::{Cluster, Host, Queue, cluster};
