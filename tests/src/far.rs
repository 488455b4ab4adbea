//! A backend without a network: a second pool here, to which each request and from which each reply goes as bytes.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use pool_core::remote::{Backend, Link, Reply, Request, Runner, Stop, TaskKey};
use pool_core::{ErrorKind, Pool, PoolBuilder, Result, remote};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Changes the reply to the request of this number, from 0.
type Alter = dyn Fn(usize, &Request, Reply) -> Result<Reply> + Send + Sync;

/// The other machine.
pub struct Far {
    /// Its pool, which can be taken away.
    pub pool: Mutex<Option<Pool>>,
    runner: Runner,
    /// The requests that it says to have room for.
    pub capacity: AtomicUsize,
    /// The number of requests that have come.
    pub requests: AtomicUsize,
    alter: Box<Alter>,
}

/// The way there.
#[derive(Clone, Debug)]
pub struct ToFar(pub Arc<Far>);

impl fmt::Debug for Far {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Far").field("capacity", &self.capacity).finish_non_exhaustive()
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
    /// One that changes its replies.
    ///
    /// # Panics
    ///
    /// The pool cannot be made.
    pub fn altering(
        pool: PoolBuilder,
        alter: impl Fn(usize, &Request, Reply) -> Result<Reply> + Send + Sync + 'static,
    ) -> ToFar {
        let pool = pool.build().expect("an ordinary pool");
        let (runner, capacity) = (Runner::new(&pool), AtomicUsize::new(pool.workers()));
        let (pool, requests) = (Mutex::new(Some(pool)), AtomicUsize::new(0));
        ToFar(Arc::new(Far { pool, runner, capacity, requests, alter: Box::new(alter) }))
    }

    /// An honest one.
    ///
    /// # Panics
    ///
    /// The pool cannot be made.
    pub fn honest(pool: PoolBuilder) -> ToFar {
        Far::altering(pool, |_, _, reply| Ok(reply))
    }

    /// Whether nothing runs there.
    pub fn is_idle(&self) -> bool {
        self.pool
            .lock()
            .unwrap()
            .as_ref()
            .is_none_or(|pool| pool.running().is_empty() && pool.stats().items_pending == 0)
    }
}
