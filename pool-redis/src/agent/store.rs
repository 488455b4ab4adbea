//! The payloads that an agent has fetched: each once, and the last ones are kept for further requests that name them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pool_core::Result;
use pool_core::remote::{Array, Stop};
use redis::Client;

use crate::blob::Blob;
use crate::commands;
use crate::keys::Keys;
use crate::message::Apart;
use crate::pieces::{Courier, lock_unless};
use crate::protocol::Delivery;

/// The payloads, and the connections for them.
#[derive(Debug)]
pub(super) struct Store {
    keys: Keys,
    cache: Mutex<Cache>,
    /// One payload after the other: then the second runner that needs it finds it in the cache.
    courier: Mutex<Courier>,
    /// The connection for results, which wait for nothing but each other.
    results: Mutex<Courier>,
}

/// The parts of a request that lay apart.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) body: Option<Vec<u8>>,
    pub(super) arrays: Vec<Array>,
}

/// The last payloads. Those that requests use now stay in any case.
#[derive(Debug)]
struct Cache {
    /// By content, and of an array its name, with the time of its last use.
    entries: BTreeMap<(Blob, Option<u64>), (u64, Content)>,
    bytes: usize,
    bytes_max: usize,
    uses: u64,
}

#[derive(Clone, Debug)]
enum Content {
    Body(Arc<Vec<u8>>),
    Array(Array),
}

impl Content {
    fn len(&self) -> usize {
        match self {
            Content::Body(body) => body.len(),
            Content::Array(array) => array.bytes().len(),
        }
    }

    fn is_held(&self) -> bool {
        match self {
            Content::Body(body) => Arc::strong_count(body) > 1,
            Content::Array(array) => array.is_held(),
        }
    }
}

impl Cache {
    fn get(&mut self, key: (Blob, Option<u64>)) -> Option<Content> {
        self.uses += 1;
        let (used, content) = self.entries.get_mut(&key)?;
        *used = self.uses;
        Some(content.clone())
    }

    fn add(&mut self, key: (Blob, Option<u64>), content: Content) {
        self.uses += 1;
        self.bytes += content.len();
        self.entries.insert(key, (self.uses, content));
        self.shrink();
    }

    /// Drops those that were not used for the longest time, down to the bound.
    fn shrink(&mut self) {
        while self.bytes > self.bytes_max {
            let idle = self.entries.iter().filter(|(_, (_, content))| !content.is_held());
            let Some(oldest) = idle.min_by_key(|(_, (used, _))| *used).map(|(key, _)| *key) else { break };
            if let Some((_, content)) = self.entries.remove(&oldest) {
                self.bytes -= content.len();
            }
        }
    }
}

impl Store {
    pub(super) fn new(client: &Client, keys: Keys, engine_timeout: Duration, bytes_max: usize) -> Store {
        let cache = Cache { entries: BTreeMap::new(), bytes: 0, bytes_max, uses: 0 };
        let [courier, results] = [(), ()].map(|()| Mutex::new(Courier::new(client, engine_timeout)));
        Store { keys, cache: Mutex::new(cache), courier, results }
    }

    /// Nothing that can panic runs under it.
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The arguments, if they lie apart, and the arrays of a request; `None` if some of it is gone.
    ///
    /// # Errors
    ///
    /// The server does not answer, the system has no memory, or `stop` is set.
    pub(super) fn get(&self, apart: &Apart, stop: &Stop) -> Result<Option<Parts>> {
        let mut body = None;
        if let Some(blob) = apart.body {
            let Some(Content::Body(found)) = self.content((blob, None), stop)? else { return Ok(None) };
            // A copy, since the next request may name it, too.
            body = Some(found.to_vec());
        }
        let mut arrays = Vec::new();
        for &(name, blob) in &apart.arrays {
            let Some(Content::Array(array)) = self.content((blob, Some(name)), stop)? else { return Ok(None) };
            arrays.push(array);
        }
        Ok(Some(Parts { body, arrays }))
    }

    fn content(&self, key: (Blob, Option<u64>), stop: &Stop) -> Result<Option<Content>> {
        if let Some(content) = self.cache().get(key) {
            return Ok(Some(content));
        }
        let mut courier = lock_unless(&self.courier, stop)?;
        // Another runner may have fetched it meanwhile.
        if let Some(content) = self.cache().get(key) {
            return Ok(Some(content));
        }
        let (blob, array) = key;
        let Some(bytes) = blob.len() else { return Ok(None) };
        let name = self.keys.blob(blob);
        // Before there is memory of that length: another program may claim any.
        if !courier.has(&name, bytes, None, stop)? {
            return Ok(None);
        }
        let mut is_whole = false;
        let content = match array {
            Some(array) => Content::Array(Array::new(array, false, bytes, |memory| {
                let fill = |at: usize, piece: Vec<u8>| memory[at..at + piece.len()].copy_from_slice(&piece);
                is_whole = courier.fetch(&name, blob, stop, fill)? && blob.is(memory);
                Ok(())
            })?),
            None => {
                let mut body = Vec::new();
                let fill = |_: usize, piece: Vec<u8>| body.extend_from_slice(&piece);
                is_whole = courier.fetch(&name, blob, stop, fill)? && blob.is(&body);
                Content::Body(Arc::new(body))
            }
        };
        if !is_whole {
            return Ok(None);
        }
        self.cache().add(key, content.clone());
        Ok(Some(content))
    }

    /// A request is over, and holds no payload any more.
    pub(super) fn shrink(&self) {
        self.cache().shrink();
    }

    /// Leaves a reply in pieces for the client. False if the client is gone.
    ///
    /// # Errors
    ///
    /// The server does not answer, or `stop` is set.
    pub(super) fn put_reply(&self, delivery: Delivery, reply: &[u8], stop: &Stop) -> Result<bool> {
        let (key, session) = (self.keys.result(delivery), self.keys.session(delivery.session));
        let mut courier = lock_unless(&self.results, stop)?;
        courier.put(reply, stop, |index, piece| commands::put_result(&key, &session, index, piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_payloads_stay_within_the_bound() {
        let mut cache = Cache { entries: BTreeMap::new(), bytes: 0, bytes_max: 250, uses: 0 };
        let body = |byte: u8| Content::Body(Arc::new(vec![byte; 100]));
        let key = |byte: u8| (Blob::of(&[byte; 100]), None);
        for byte in 0..2 {
            cache.add(key(byte), body(byte));
        }
        let held = cache.get(key(0)).expect("it is there");
        cache.add(key(2), body(2));
        assert!(cache.get(key(1)).is_none(), "the oldest goes first");
        assert!(cache.get(key(0)).is_some() && cache.get(key(2)).is_some());
        // One that is in use stays, though it is the oldest.
        cache.get(key(2));
        cache.add(key(3), body(3));
        assert!(cache.get(key(0)).is_some() && cache.get(key(2)).is_none());
        drop(held);
        cache.bytes_max = 0;
        cache.shrink();
        assert_eq!((cache.entries.len(), cache.bytes), (0, 0));
    }
}
