//! The client: a backend that hands requests to the agents by way of the server.
//!
//! | thread | does |
//! |---|---|
//! | that calls [`Link::run`] | encodes a request, decodes its reply; submits it, and takes in replies, if writer and reader rest |
//! | writer | submits and cancels, all that waits in one go |
//! | reader | waits for replies while jobs have none, and asks about jobs that are silent |

mod blobs;
mod exchange;
mod jobs;
mod orders;
mod outbox;
pub(crate) mod pending;
mod reader;
mod roster;
mod shared;
mod writer;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pool_core::remote::{self, Backend, HostInsights, Link, Reply, Request, Stop, TaskKey};
use pool_core::{Error, ErrorKind, Result};

use self::blobs::Blobs;
use self::jobs::{End, Jobs};
use self::outbox::Outbox;
use self::reader::Reader;
use self::roster::Roster;
use self::shared::Shared;
use self::writer::Writer;
use crate::head::Head;
use crate::protocol::{JobNumber, SessionId};
use crate::settings::Settings;

/// The way to the agents of a Redis server, for [`PoolBuilder::backend`](pool_core::PoolBuilder::backend). Made by [`connect`].
#[derive(Clone)]
pub struct Connect {
    settings: Settings,
    host_timeout: Duration,
    deliveries_max: u32,
    queue_max: usize,
}

/// A backend for a pool that runs its tasks on the agents of this Redis server.
///
/// The address is `redis://host:6379`, `rediss://host` for TLS (feature `tls`), or `unix:///path`. User and password are read
/// from the environment, from `POOL_REDIS_USER`, and `POOL_REDIS_PASSWORD` or the file that `POOL_REDIS_PASSWORD_FILE` names.
///
/// # Errors
///
/// [`InvalidInput`](ErrorKind::InvalidInput): the address is none. The server itself is reached by
/// [`build`](pool_core::PoolBuilder::build).
///
/// # Examples
///
/// ```no_run
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn square(x: u64) -> u64 { x * x }
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::builder().backend(pool_redis::connect("redis://10.0.0.7")?).build()?;
/// assert_eq!(pool.map(square::Task, 0..5)?, [0, 1, 4, 9, 16]);
/// # Ok(()) }
/// ```
pub fn connect(url: &str) -> Result<Connect> {
    let settings = Settings::new(url);
    settings.client()?;
    Ok(Connect { settings, host_timeout: Duration::from_secs(60), deliveries_max: 3, queue_max: 100_000 })
}

impl Connect {
    /// The name that all keys begin with, in braces [default: `pool`]. Clients and agents meet if they have the same one.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> pool_core::Result<()> {
    /// let backend = pool_redis::connect("redis://10.0.0.7")?.namespace("nightly");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.settings.namespace = name.into();
        self
    }

    /// The time after which the jobs of a client that is silent are stopped and forgotten [default: 15 s]. At least 1 s.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # fn main() -> pool_core::Result<()> {
    /// let backend = pool_redis::connect("redis://10.0.0.7")?.lease(Duration::from_secs(60));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// The time for which jobs wait for a server that cannot be reached [default: 60 s]. Then they end in an error of the kind
    /// [`Unreachable`](ErrorKind::Unreachable), and so do further ones, at once, until it is back.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # fn main() -> pool_core::Result<()> {
    /// let backend = pool_redis::connect("redis://10.0.0.7")?.engine_timeout(Duration::from_secs(10));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn engine_timeout(mut self, timeout: Duration) -> Self {
        self.settings.engine_timeout = timeout;
        self
    }

    /// The time for which jobs wait while no agent has their task [default: 60 s], from when the pool was built or the last such
    /// agent left. Then they end in an error that says how the tasks of the agents differ, and so do further ones, at once, until
    /// an agent with the task comes.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # fn main() -> pool_core::Result<()> {
    /// let backend = pool_redis::connect("redis://10.0.0.7")?.host_timeout(Duration::from_secs(5));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn host_timeout(mut self, timeout: Duration) -> Self {
        self.host_timeout = timeout;
        self
    }

    /// The number of agents that may lose a request one after the other [default: 3]. Then its items end in an error. At least 1.
    /// An item that kills its machine costs at most one more: its chunk counts once, then the item alone.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> pool_core::Result<()> {
    /// let backend = pool_redis::connect("redis://10.0.0.7")?.max_deliveries(1);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn max_deliveries(mut self, deliveries: u32) -> Self {
        self.deliveries_max = deliveries;
        self
    }

    /// The number of requests that may wait in the queue of a task at the server [default: 100,000]. Further ones wait at
    /// their clients. At least 1.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> pool_core::Result<()> {
    /// let backend = pool_redis::connect("redis://10.0.0.7")?.max_queue(1_000);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn max_queue(mut self, requests: usize) -> Self {
        self.queue_max = requests;
        self
    }

    fn check(&self) -> Result<()> {
        let Connect { host_timeout, deliveries_max, queue_max, .. } = self;
        for (name, is_zero) in [
            ("host_timeout", host_timeout.is_zero()),
            ("max_deliveries", *deliveries_max == 0),
            ("max_queue", *queue_max == 0),
        ] {
            if is_zero {
                return Err(remote::error(ErrorKind::InvalidInput, format!("{name} of 0: nothing could run")));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the address, which may hold a password.
        f.debug_struct("Connect").field("namespace", &self.settings.namespace).finish_non_exhaustive()
    }
}

impl Backend for Connect {
    fn open(&self, tasks: &[TaskKey]) -> Result<Arc<dyn Link>> {
        Session::open(self, tasks).map(|session| session as Arc<dyn Link>)
    }
}

/// A client, from its connection to its end.
struct Session {
    shared: Arc<Shared>,
    engine_timeout: Duration,
    host_timeout: Duration,
    reader: Arc<Mutex<Reader>>,
    writer: Arc<Mutex<Writer>>,
    threads: Vec<JoinHandle<()>>,
}

/// How often a thread that waits for a reply looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Session {
    fn open(connect: &Connect, tasks: &[TaskKey]) -> Result<Arc<Session>> {
        connect.check()?;
        let settings = &connect.settings;
        let client = settings.client()?;
        let shared = Arc::new(Shared {
            session: SessionId::random()?,
            keys: settings.keys(),
            lease: settings.lease,
            deliveries_max: connect.deliveries_max,
            queue_max: connect.queue_max,
            jobs: Jobs::new(),
            outbox: Outbox::default(),
            roster: Roster::new(tasks),
            blobs: Blobs::new(&client, settings.keys(), settings.lease, settings.engine_timeout),
        });
        let mut reader = Reader::new(&client, &shared);
        // Here and not in the thread, so that a wrong address or password is the error of `build`.
        let address = client.get_connection_info().addr();
        reader.begin().map_err(|trouble| trouble.error(&format!("connecting to {address}")))?;
        let (reader, writer) = (Arc::new(Mutex::new(reader)), Arc::new(Mutex::new(Writer::new(&client, &shared))));
        let (reads, writes) = ((Arc::clone(&reader), Arc::clone(&shared)), (Arc::clone(&writer), Arc::clone(&shared)));
        let system = |error| remote::error(ErrorKind::System, format!("starting a thread: {error}"));
        let mut session = Session {
            shared,
            engine_timeout: settings.engine_timeout,
            host_timeout: connect.host_timeout,
            reader,
            writer,
            threads: Vec::new(),
        };
        // One at a time: a session that is dropped here ends the first thread.
        for (name, body) in [
            ("pool-redis-read", Box::new(move || Reader::run(&reads.0, &reads.1)) as Box<dyn FnOnce() + Send>),
            ("pool-redis-write", Box::new(move || Writer::run(&writes.0, &writes.1))),
        ] {
            let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
            session.threads.push(thread.map_err(system)?);
        }
        Ok(Arc::new(session))
    }

    /// The reason not to submit a request at all, if there is one: others have waited already, so this one need not.
    fn refuse(&self, request: &Request) -> Option<Error> {
        if self.shared.jobs.is_away(self.engine_timeout) {
            return Some(self.unreached());
        }
        // It will not go away by waiting.
        if let Some(error) = self.denied() {
            return Some(error);
        }
        self.shared.roster.refusal(&request.task, self.host_timeout)
    }

    /// The error of a server that does not let this client in any more, such as after a change of the password.
    fn denied(&self) -> Option<Error> {
        let trouble = self.shared.jobs.last_trouble().filter(|trouble| trouble.is_permanent);
        trouble.map(|trouble| trouble.error("the server refuses this client"))
    }

    fn unreached(&self) -> Error {
        let (silent, trouble) = (self.shared.jobs.silence(), self.shared.jobs.trouble());
        let text =
            format!("the server was not reached for {silent:.1?}, so nobody knows how far the items came: {trouble}");
        remote::error(ErrorKind::Unreachable, text)
    }

    /// The reason to wait no longer, if there is one.
    fn give_up(&self, request: &Request, job: JobNumber) -> Option<Error> {
        if let Some(trouble) = self.shared.outbox.refusal(job, self.engine_timeout) {
            return Some(trouble.error(&format!("the server took no items for {:?}", self.engine_timeout)));
        }
        if self.shared.jobs.silence() > self.engine_timeout {
            return Some(self.unreached());
        }
        if let Some(error) = self.denied() {
            return Some(error);
        }
        self.shared.roster.refusal(&request.task, self.host_timeout)
    }
}

impl Link for Session {
    fn capacity(&self) -> usize {
        self.shared.roster.capacity()
    }

    fn hindrance(&self) -> Option<String> {
        self.shared.hindrance()
    }

    fn run(&self, request: &Request, stop: &Stop) -> Result<Reply> {
        self.exchange(request, stop)
    }

    fn hosts(&self) -> Vec<HostInsights> {
        self.shared.roster.hosts()
    }
}

impl Session {
    /// Has an agent answer the message. Returns the number of the job, and the bytes of the answer.
    fn ask(&self, request: &Request, body: Vec<u8>, stop: &Stop) -> Result<(JobNumber, Vec<u8>)> {
        let shared = &self.shared;
        let job = shared.jobs.add(shared.keys.queue(&request.task, request.priority), body);
        shared.outbox.submit(job.number);
        if !Reader::lead(&self.reader, shared, &job) {
            Writer::send_here(&self.writer, &shared.outbox);
        }
        loop {
            match job.wait(LOOK_EVERY) {
                Some(End::Outcome(mut bytes)) => {
                    let odd = |error| remote::error(ErrorKind::Unreachable, format!("the reply: {error}"));
                    let head = Head::take(&mut bytes).map_err(odd)?;
                    // Each attempt counts: the agent has worked for it.
                    shared.roster.note_answer(head, request.items);
                    return Ok((job.number, bytes));
                }
                Some(End::Failed(error)) => return Err(error),
                None => {}
            }
            let reason = if stop.is_set() {
                Some(remote::error(ErrorKind::Cancelled, "was stopped"))
            } else {
                self.give_up(request, job.number)
            };
            if let Some(reason) = reason {
                // An outcome that came meanwhile is nobody's.
                shared.jobs.remove(job.number);
                shared.outbox.cancel(job.number, &job.queue);
                return Err(reason);
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.outbox.close();
        for thread in self.threads.drain(..) {
            // A panic there is a fault of ours, and has been printed.
            let _ = thread.join();
        }
    }
}
