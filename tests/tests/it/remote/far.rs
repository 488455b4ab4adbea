//! A backend without a network: a second pool here, to which each request and from which each reply goes as bytes.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pool_core::remote::{Backend, Link, Reply, Request, Runner, Stop, TaskKey};
use pool_core::{ErrorKind, Pool, PoolBuilder, Result, remote};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Changes the reply to the request of this number, from 0.
type Alter = dyn Fn(usize, &Request, Reply) -> Result<Reply> + Send + Sync;

/// The other machine.
pub(super) struct Far {
    pub(super) pool: Mutex<Option<Pool>>,
    runner: Runner,
    pub(super) capacity: AtomicUsize,
    pub(super) requests: AtomicUsize,
    alter: Box<Alter>,
}

/// The way there.
#[derive(Clone)]
pub(super) struct ToFar(pub(super) Arc<Far>);

impl fmt::Debug for ToFar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ToFar")
    }
}

impl Backend for ToFar {
    fn open(&self, tasks: &[TaskKey]) -> Result<Arc<dyn Link>> {
        let known = self.0.runner.tasks();
        match tasks.iter().find(|task| !known.contains(task)) {
            Some(missing) => Err(remote::error(ErrorKind::Unsupported, format!("far has no `{}`", missing.name))),
            None => Ok(Arc::clone(&self.0) as Arc<dyn Link>),
        }
    }
}

/// The value after its way as bytes.
fn travel<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let bytes = postcard::to_allocvec(value).expect("it can be written");
    postcard::from_bytes(&bytes).expect("it is what was written")
}

impl Link for Far {
    fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }

    fn run(&self, request: &Request, stop: &Stop) -> Result<Reply> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let reply = self.runner.run(&travel(request), stop);
        (self.alter)(number, request, travel(&reply))
    }
}

impl Far {
    pub(super) fn altering(
        pool: PoolBuilder,
        alter: impl Fn(usize, &Request, Reply) -> Result<Reply> + Send + Sync + 'static,
    ) -> ToFar {
        let pool = pool.build().expect("an ordinary pool");
        let (runner, capacity) = (Runner::new(&pool), AtomicUsize::new(pool.workers()));
        let (pool, requests) = (Mutex::new(Some(pool)), AtomicUsize::new(0));
        ToFar(Arc::new(Far { pool, runner, capacity, requests, alter: Box::new(alter) }))
    }

    /// An honest one.
    pub(super) fn honest(pool: PoolBuilder) -> ToFar {
        Far::altering(pool, |_, _, reply| Ok(reply))
    }

    /// Whether nothing runs there.
    pub(super) fn is_idle(&self) -> bool {
        self.pool
            .lock()
            .unwrap()
            .as_ref()
            .is_none_or(|pool| pool.running().is_empty() && pool.stats().items_pending == 0)
    }
}

/// A pool of which the items run in a pool of two workers, and that pool.
pub(super) fn pools() -> (Pool, ToFar) {
    let far = Far::honest(Pool::builder().workers(2));
    (Pool::builder().backend(far.clone()).build().expect("the way is open"), far)
}

/// Time in which all should be over that ends soon: a watchdog.
pub(super) const SOON: Duration = Duration::from_secs(60);
