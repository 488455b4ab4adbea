//! A pool of which the workers are agents of a server.

use std::time::Duration;

use pool_core::{Pool, pool_task};

use super::helper::{AGENT, Helper};
use super::server::Server;
use crate::contender::{Outcome, Refusal};

#[pool_task]
fn greet() {}

/// A pool of which the workers are agents, each with one worker.
pub(crate) struct Far {
    pool: Pool,
    agents: Vec<Helper>,
    // Last, so that it outlives all others.
    _server: Server,
}

impl Far {
    pub(crate) fn start(workers: usize) -> Outcome<Far> {
        let server = Server::start()?;
        // One worker each, so that they are as many machines as can be.
        let agents = (0..workers).map(|_| Helper::start(AGENT, &server)).collect::<std::io::Result<Vec<_>>>()?;
        let pool = Pool::builder().backend(pool_redis::connect(&server.url())?).build()?;
        let far = Far { pool, agents, _server: server };
        far.wait_for_agents()?;
        Ok(far)
    }

    /// Until all agents are known: the pool has two couriers for each of their workers then.
    fn wait_for_agents(&self) -> Outcome<()> {
        for _ in 0..1_000 {
            self.pool.apply(greet::Task, ())?;
            if self.pool.workers() >= 2 * self.agents.len() {
                return Ok(());
            }
            // The pool asks for the number of agents once a second.
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(Refusal::Failed("the agents do not come up".to_owned()))
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }
}
