//! The questions to the server.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use pool_core::remote::TaskKey;
use redis::{Cmd, FromRedisValue, Value, cmd, from_redis_value};

use super::view::{Cluster, Host, Queue};
use crate::advertisement::{Advertisement, Unreadable};
use crate::connection::{Line, Trouble};
use crate::keys::Keys;
use crate::settings::Settings;

/// A connection for looks at a server.
pub(super) struct Look {
    line: Line,
    keys: Keys,
}

/// Keys that the server looks at in one step of a search: enough that there are few steps, and so few that clients need not wait.
const SEARCH_STEP_KEYS: usize = 1_000;

/// The agents that are alive, and the words for those of another protocol.
type Agents = (Vec<Advertised>, Vec<String>);

/// An agent, the time that is left of its lease, and its counts.
type Advertised = (Advertisement, Duration, Option<String>);

impl Look {
    pub(super) fn new(settings: &Settings) -> pool_core::Result<Look> {
        let line = Line::new(&settings.client()?, &[], Duration::ZERO);
        Ok(Look { line, keys: settings.keys() })
    }

    pub(super) fn take(&mut self) -> Result<Cluster, Trouble> {
        let (agents, others) = self.agents()?;
        let keys = self.search()?;
        let clients = keys.iter().filter(|key| self.keys.is_session(key)).count() as u64;
        let queues = self.queues(&keys, &agents)?;
        let losses: HashMap<String, u64> = self.ask(&with_key("HGETALL", &self.keys.losses()))?;
        let [redelivered, lost] = ["redelivered", "lost"].map(|name| losses.get(name).copied().unwrap_or(0));
        let mut hosts: Vec<_> = agents.into_iter().map(host).collect();
        hosts.sort_by(|a, b| (&a.host, a.pid).cmp(&(&b.host, b.pid)));
        Ok(Cluster { hosts, others, queues, clients, redelivered, lost })
    }

    fn agents(&mut self) -> Result<Agents, Trouble> {
        // The server's clock alone counts: leases were written by it.
        let (seconds, micros): (u64, u64) = self.ask(&cmd("TIME"))?;
        let now = seconds * 1_000 + micros / 1_000;
        let mut living = cmd("ZRANGEBYSCORE");
        living.arg(self.keys.agents()).arg(now).arg("+inf").arg("WITHSCORES");
        let living: Vec<(String, f64)> = self.ask(&living)?;
        let ids: Vec<_> = living.into_iter().filter_map(|(id, till)| Some((id.parse().ok()?, till as u64))).collect();
        let questions = ids.iter().flat_map(|(id, _)| [self.keys.agent(*id), self.keys.status(*id)]);
        let questions: Vec<_> = questions.map(|key| with_key("GET", &key)).collect();
        let mut answers = self.ask_each::<Option<Vec<u8>>>(&questions)?.into_iter();
        let (mut agents, mut others) = (Vec::new(), Vec::new());
        for (_, till) in ids {
            let (advertisement, status) = (answers.next().flatten(), answers.next().flatten());
            match advertisement.map(|advertisement| Advertisement::decode(&advertisement)) {
                Some(Ok(advertisement)) => {
                    let status = status.and_then(|status| String::from_utf8(status).ok());
                    agents.push((advertisement, Duration::from_millis(till.saturating_sub(now)), status));
                }
                Some(Err(Unreadable::OtherProtocol(words))) => others.push(words),
                // It has left since, or is no agent.
                Some(Err(Unreadable::NotOurs)) | None => {}
            }
        }
        Ok((agents, others))
    }

    /// The keys of clients and queues.
    fn search(&mut self) -> Result<BTreeSet<String>, Trouble> {
        let (mut found, mut cursor) = (BTreeSet::new(), 0_u64);
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(self.keys.pattern()).arg("COUNT").arg(SEARCH_STEP_KEYS);
            let (next, keys): (u64, Vec<Vec<u8>>) = self.ask(&scan)?;
            found.extend(keys.into_iter().filter_map(|key| String::from_utf8(key).ok()));
            cursor = next;
            if cursor == 0 {
                return Ok(found);
            }
        }
    }

    fn queues(&mut self, keys: &BTreeSet<String>, agents: &[Advertised]) -> Result<Vec<Queue>, Trouble> {
        let (questions, tasks): (Vec<_>, Vec<_>) =
            keys.iter().filter_map(|key| Some((with_key("ZCARD", key), self.keys.task_of(key)?))).unzip();
        let mut waiting = BTreeMap::<TaskKey, u64>::new();
        for (task, length) in tasks.into_iter().zip(self.ask_each::<u64>(&questions)?) {
            // One queue for each priority.
            *waiting.entry(task).or_default() += length;
        }
        let queue = |(task, waiting): (TaskKey, u64)| {
            let hosts = agents.iter().filter(|(agent, ..)| agent.tasks.contains(&task)).count();
            Queue { task: task.name, signature: task.signature, waiting, hosts }
        };
        Ok(waiting.into_iter().filter(|(_, waiting)| *waiting > 0).map(queue).collect())
    }

    fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, Trouble> {
        read(self.line.ask(command)?)
    }

    fn ask_each<T: FromRedisValue>(&mut self, commands: &[Cmd]) -> Result<Vec<T>, Trouble> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        self.line.ask_all(commands)?.into_iter().map(|answer| read(answer?)).collect()
    }
}

fn with_key(name: &str, key: &str) -> Cmd {
    let mut command = cmd(name);
    command.arg(key);
    command
}

fn read<T: FromRedisValue>(value: Value) -> Result<T, Trouble> {
    from_redis_value(value).map_err(Trouble::odd)
}

fn host((advertisement, lease, status): Advertised) -> Host {
    let mut counts = status.iter().flat_map(|status| status.split(' ')).map(|count| count.parse().ok());
    let [running, done, lost] = std::array::from_fn(|_| counts.next().flatten());
    let Advertisement { host, pid, workers, capacity, tasks, .. } = advertisement;
    Host { host, pid, workers, capacity, tasks: tasks.len(), running, done, lost, lease }
}
