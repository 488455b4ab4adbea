//! The agents that a client knows: their hosts, their capacities and their tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use pool_core::remote::{self, HostInsights, HostWorker, TaskKey};
use pool_core::{Error, ErrorKind};

use super::jobs::lock;
use crate::advertisement::{Advertisement, Unreadable};
use crate::head::Head;
use crate::protocol::AgentId;

/// The agents, living and gone.
#[derive(Debug)]
pub(super) struct Roster {
    tasks: BTreeSet<TaskKey>,
    opened: Instant,
    agents: Mutex<Agents>,
}

#[derive(Debug, Default)]
struct Agents {
    known: BTreeMap<AgentId, Known>,
    /// When an agent with the task last left.
    left: BTreeMap<TaskKey, Instant>,
    /// The answers of each.
    answers: BTreeMap<AgentId, Answers>,
    /// Those of other protocols that are alive, in words.
    foreign: BTreeMap<AgentId, String>,
}

/// The answers of an agent to this client, and its last word of its workers.
#[derive(Debug)]
struct Answers {
    requests: u64,
    items: u64,
    working: Duration,
    last: Instant,
    workers: Vec<HostWorker>,
    told_at: Instant,
}

#[derive(Debug)]
struct Known {
    advertisement: Advertisement,
    is_alive: bool,
}

impl Known {
    /// It is gone, and so may be the last that has its tasks.
    fn leave(&mut self, tasks: &BTreeSet<TaskKey>, left: &mut BTreeMap<TaskKey, Instant>) {
        if self.is_alive {
            self.is_alive = false;
            let (ours, now) = (self.advertisement.tasks.iter().filter(|task| tasks.contains(task)), Instant::now());
            left.extend(ours.map(|task| (task.clone(), now)));
        }
    }
}

/// Agents that a text names.
const NAMED_MAX: usize = 8;

impl Agents {
    fn lack(&self, task: &TaskKey) -> Option<String> {
        let living = || self.known.values().filter(|known| known.is_alive).map(|known| &known.advertisement);
        if living().any(|advertisement| advertisement.tasks.contains(task)) {
            return None;
        }
        let differs = |advertisement: &Advertisement| {
            let is_other = advertisement.tasks.iter().any(|other| other.name == task.name);
            let reason = if is_other { "has another signature" } else { "is missing" };
            format!("{}: task `{}` {reason}", advertisement.name(), task.name)
        };
        let reasons: Vec<_> = living().map(differs).chain(self.foreign.values().cloned()).collect();
        // A text for each of a thousand hosts would tell less.
        let named = reasons[..reasons.len().min(NAMED_MAX)].join("; ");
        Some(match reasons.len().saturating_sub(NAMED_MAX) {
            0 if reasons.is_empty() => "there is no agent".to_owned(),
            0 => named,
            more => format!("{named}; and {more} more"),
        })
    }
}

/// Agents that are gone and still known, for the texts of errors.
const GONE_MAX: usize = 1_000;

impl Roster {
    pub(super) fn new(tasks: &[TaskKey]) -> Roster {
        Roster { tasks: tasks.iter().cloned().collect(), opened: Instant::now(), agents: Mutex::default() }
    }

    /// Takes these for the living agents. Returns those that are not known.
    pub(super) fn unknown(&self, living: &[AgentId]) -> Vec<AgentId> {
        let mut agents = lock(&self.agents);
        let Agents { known: agents, left, foreign, .. } = &mut *agents;
        let living: BTreeSet<_> = living.iter().copied().collect();
        for (agent, known) in agents.iter_mut() {
            if living.contains(agent) {
                known.is_alive = true;
            } else {
                known.leave(&self.tasks, left);
            }
        }
        if agents.len() > living.len() + GONE_MAX {
            agents.retain(|_, known| known.is_alive);
        }
        // Also these: an agent that was replaced by one of this protocol is in nobody's way.
        foreign.retain(|agent, _| living.contains(agent));
        living.into_iter().filter(|agent| !agents.contains_key(agent) && !foreign.contains_key(agent)).collect()
    }

    pub(super) fn add(&self, agent: AgentId, advertisement: &[u8]) {
        let read = Advertisement::decode(advertisement);
        let mut agents = lock(&self.agents);
        match read {
            Ok(advertisement) => {
                agents.known.insert(agent, Known { advertisement, is_alive: true });
            }
            Err(Unreadable::OtherProtocol(text)) => {
                agents.foreign.insert(agent, text);
            }
            // It is not an agent.
            Err(Unreadable::NotOurs) => {}
        }
    }

    /// The agent has lost a job, so it does not count until it is heard of again.
    pub(super) fn note_lost(&self, agent: AgentId) {
        let mut agents = lock(&self.agents);
        let Agents { known, left, .. } = &mut *agents;
        if let Some(known) = known.get_mut(&agent) {
            known.leave(&self.tasks, left);
        }
    }

    /// An agent has answered a request of so many items.
    pub(super) fn note_answer(&self, head: Head, items: u32) {
        let now = Instant::now();
        let new =
            || Answers { requests: 0, items: 0, working: Duration::ZERO, last: now, workers: Vec::new(), told_at: now };
        let mut agents = lock(&self.agents);
        let Agents { known, answers, .. } = &mut *agents;
        // Or agents that come and go would fill memory.
        if answers.len() > known.len() + GONE_MAX {
            answers.retain(|agent, _| known.contains_key(agent));
        }
        let told = answers.entry(AgentId(head.agent)).or_insert_with(new);
        told.requests += 1;
        told.items += u64::from(items);
        // Another machine's word.
        told.working = told.working.saturating_add(head.ran);
        told.last = now;
        if let Some(workers) = head.workers {
            (told.workers, told.told_at) = (workers, now);
        }
    }

    /// The agents that are alive, or have answered this client.
    pub(super) fn hosts(&self) -> Vec<HostInsights> {
        let agents = lock(&self.agents);
        let host = |(agent, known): (&AgentId, &Known)| {
            let told = agents.answers.get(agent);
            let Advertisement { host, pid, .. } = &known.advertisement;
            // One that is gone and has answered is still of interest: its items count.
            (known.is_alive || told.is_some()).then(|| HostInsights {
                host: host.clone(),
                pid: *pid,
                is_alive: known.is_alive,
                requests: told.map_or(0, |told| told.requests),
                items: told.map_or(0, |told| told.items),
                working: told.map_or(Duration::ZERO, |told| told.working),
                // By this host's clock alone.
                answered: told.map(|told| told.last.elapsed()),
                workers: told.map_or_else(Vec::new, |told| {
                    let later = |worker: &HostWorker| HostWorker {
                        since: worker.since.saturating_add(told.told_at.elapsed()),
                        ..worker.clone()
                    };
                    told.workers.iter().map(later).collect()
                }),
            })
        };
        agents.known.iter().filter_map(host).collect()
    }

    /// The host of an agent.
    pub(super) fn host(&self, agent: AgentId) -> String {
        let agents = lock(&self.agents);
        agents.known.get(&agent).map_or_else(|| format!("agent {agent}"), |known| known.advertisement.name())
    }

    /// The requests that all agents together run at once.
    pub(super) fn capacity(&self) -> usize {
        let agents = lock(&self.agents);
        let is_ours =
            |known: &&Known| known.is_alive && known.advertisement.tasks.iter().any(|task| self.tasks.contains(task));
        agents.known.values().filter(is_ours).map(|known| known.advertisement.capacity as usize).sum()
    }

    /// The reason why no agent has run the task for longer than the time; None if one does, or did.
    pub(super) fn refusal(&self, task: &TaskKey, timeout: Duration) -> Option<Error> {
        let agents = lock(&self.agents);
        if agents.left.get(task).unwrap_or(&self.opened).elapsed() <= timeout {
            return None;
        }
        let text = format!("no host has the task, and none came within {timeout:?}: {}", agents.lack(task)?);
        Some(remote::error(ErrorKind::Unreachable, text))
    }

    /// The reason why no agent runs the task now; None if one does.
    pub(super) fn lack(&self, task: &TaskKey) -> Option<String> {
        lock(&self.agents).lack(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, signature: u64) -> TaskKey {
        TaskKey { name: name.to_owned(), signature }
    }

    fn agent(host: &str, tasks: &[TaskKey]) -> Vec<u8> {
        Advertisement { host: host.to_owned(), pid: 7, workers: 2, capacity: 4, tasks: tasks.to_vec() }.encode()
    }

    #[test]
    fn a_refusal_says_how_the_agents_differ() {
        let (f, g) = (key("m::f", 1), key("m::g", 1));
        let roster = Roster::new(&[f.clone(), g.clone()]);
        roster.add(AgentId(1), &agent("a", &[f.clone(), key("m::g", 2)]));
        roster.add(AgentId(2), &agent("b", std::slice::from_ref(&f)));
        roster.add(AgentId(3), b"none of ours");
        assert_eq!(roster.capacity(), 8);
        assert!(roster.refusal(&f, Duration::ZERO).is_none());
        assert!(roster.refusal(&g, Duration::from_secs(60)).is_none(), "one may still come");
        let error = roster.refusal(&g, Duration::ZERO).expect("no agent has it").to_string();
        let reasons =
            "host a (process 7): task `m::g` has another signature; host b (process 7): task `m::g` is missing";
        assert_eq!(error, format!("no host has the task, and none came within 0ns: {reasons}"));
        // One of another protocol is named, and not asked about again.
        roster.add(AgentId(4), b"pool-redis 77 d 7\n");
        assert!(
            roster.lack(&g).is_some_and(|text| text.contains("host d (process 7): its pool-redis speaks protocol 77"))
        );
        assert_eq!(roster.unknown(&[AgentId(1), AgentId(2), AgentId(4)]), []);
        // Both have left.
        assert_eq!(roster.unknown(&[AgentId(6)]), [AgentId(6)]);
        assert_eq!(roster.capacity(), 0);
        std::thread::sleep(Duration::from_millis(20));
        // Counted from when they left; of the other task there never was a host.
        roster.add(AgentId(5), &agent("c", std::slice::from_ref(&f)));
        roster.note_lost(AgentId(5));
        assert!(roster.refusal(&f, Duration::from_millis(20)).is_none());
        assert!(roster.refusal(&g, Duration::from_millis(20)).is_some());
        assert!(
            roster.refusal(&f, Duration::ZERO).is_some_and(|error| error.to_string().ends_with("there is no agent"))
        );
    }
}
