//! The payloads of a client at the server: written once, kept alive as long as a job needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use pool_core::remote::{self, Array, Request, Stop};
use pool_core::{ErrorKind, Result};
use redis::{Client, Cmd};

use super::jobs::lock;
use crate::blob::{BLOB_BYTES_MAX, Blob, MESSAGE_BYTES_MAX};
use crate::commands;
use crate::keys::Keys;
use crate::message::Apart;
use crate::pieces::{Courier, lock_unless};
use crate::protocol::Delivery;

/// The payloads, and the connection for them.
#[derive(Debug)]
pub(super) struct Blobs {
    keys: Keys,
    life: Duration,
    /// One payload after the other: then the second thread that needs it finds it there.
    courier: Mutex<Courier>,
    /// A connection of their own, since they wait for nothing but each other.
    results: Mutex<Courier>,
    uses: Mutex<Uses>,
    /// Those of arrays, by name: an array is hashed once, however many requests name it.
    hashes: Mutex<BTreeMap<u64, Arc<OnceLock<Blob>>>>,
}

#[derive(Debug, Default)]
struct Uses {
    /// Those that jobs need: how many, and whether the server was seen to have it.
    used: BTreeMap<Blob, (usize, bool)>,
    /// Those that no job needs any more.
    ended: Vec<Blob>,
    /// The keys of results that are being read, or wait for that.
    results: BTreeSet<String>,
}

/// Arrays of which the hashes are kept.
const HASHES_MAX: usize = 4_096;
/// The time that a payload stays which no job of this client needs: others that use it renew it within that.
const LINGERS: Duration = Duration::from_secs(3);

/// The payloads of one request, which the server keeps until this is dropped.
#[derive(Debug)]
pub(super) struct Held<'b> {
    blobs: &'b Blobs,
    pub(super) apart: Apart,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut uses = lock(&self.blobs.uses);
        for blob in self.apart.blobs() {
            if let Some((users, _)) = uses.used.get_mut(&blob) {
                *users -= 1;
                if *users == 0 {
                    uses.used.remove(&blob);
                    uses.ended.push(blob);
                }
            }
        }
    }
}

impl Blobs {
    pub(super) fn new(client: &Client, keys: Keys, life: Duration, engine_timeout: Duration) -> Blobs {
        let [courier, results] = [(), ()].map(|()| Mutex::new(Courier::new(client, engine_timeout)));
        Blobs { keys, life, courier, results, uses: Mutex::default(), hashes: Mutex::default() }
    }

    /// Has the server keep the large parts of a request.
    ///
    /// # Errors
    ///
    /// One is too large, the server does not take it, or `stop` is set.
    pub(super) fn hold(&self, request: &Request, stop: &Stop) -> Result<Held<'_>> {
        let large = request.body.len() > MESSAGE_BYTES_MAX;
        let parts = request.arrays.iter().map(Array::bytes).chain(large.then_some(&request.body[..]));
        if let Some(part) = parts.clone().find(|part| part.len() > BLOB_BYTES_MAX) {
            let text = format!("a payload of {} bytes; over Redis it may have {BLOB_BYTES_MAX}", part.len());
            return Err(remote::error(ErrorKind::TooLarge, text));
        }
        let arrays = request.arrays.iter().map(|array| (array.name(), self.hash(array))).collect();
        let apart = Apart { body: large.then(|| Blob::of(&request.body)), arrays };
        for blob in apart.blobs() {
            lock(&self.uses).used.entry(blob).or_default().0 += 1;
        }
        // From here on given back by its drop, also if one cannot be written.
        let held = Held { blobs: self, apart };
        self.put_all(&held, request, stop)?;
        Ok(held)
    }

    /// The server has lost some of these.
    ///
    /// # Errors
    ///
    /// As of [`hold`](Blobs::hold).
    pub(super) fn put_again(&self, held: &Held<'_>, request: &Request, stop: &Stop) -> Result<()> {
        let mut uses = lock(&self.uses);
        for blob in held.apart.blobs() {
            if let Some((_, is_there)) = uses.used.get_mut(&blob) {
                *is_there = false;
            }
        }
        drop(uses);
        self.put_all(held, request, stop)
    }

    fn put_all(&self, held: &Held<'_>, request: &Request, stop: &Stop) -> Result<()> {
        if let Some(body) = &held.apart.body {
            self.put(*body, &request.body, stop)?;
        }
        let arrays = held.apart.arrays.iter().zip(&request.arrays);
        arrays.into_iter().try_for_each(|((_, blob), array)| self.put(*blob, array.bytes(), stop))
    }

    fn hash(&self, array: &Array) -> Blob {
        let mut hashes = lock(&self.hashes);
        if hashes.len() >= HASHES_MAX && !hashes.contains_key(&array.name()) {
            // Any of them: one that is named again is hashed again.
            hashes.pop_first();
        }
        let hash = Arc::clone(hashes.entry(array.name()).or_default());
        drop(hashes);
        // By one thread, which takes a second for a gigabyte or two; those that need the same array wait for it.
        *hash.get_or_init(|| Blob::of(array.bytes()))
    }

    fn put(&self, blob: Blob, content: &[u8], stop: &Stop) -> Result<()> {
        let is_there = || lock(&self.uses).used.get(&blob).is_some_and(|(_, is_there)| *is_there);
        if is_there() {
            return Ok(());
        }
        let mut courier = lock_unless(&self.courier, stop)?;
        if is_there() {
            return Ok(());
        }
        let key = self.keys.blob(blob);
        // Another client, or an earlier run of this program, may have written it.
        if !courier.has(&key, content.len(), Some(self.life), stop)? {
            courier.put(content, stop, |index, piece| commands::put_piece(&key, index, piece, self.life))?;
        }
        drop(courier);
        if let Some((_, is_there)) = lock(&self.uses).used.get_mut(&blob) {
            *is_there = true;
        }
        Ok(())
    }

    /// The commands by which the server keeps payloads that jobs need, and soon forgets the others.
    pub(super) fn renewals(&self) -> Vec<Cmd> {
        let mut uses = lock(&self.uses);
        let ended = std::mem::take(&mut uses.ended);
        let results = uses.results.iter().map(|key| commands::renew_blob(key, self.life));
        let ended = ended.into_iter().filter(|blob| !uses.used.contains_key(blob));
        let ended = ended.map(|blob| commands::end_blob(&self.keys.blob(blob), LINGERS));
        let used = uses.used.keys().map(|blob| commands::renew_blob(&self.keys.blob(*blob), self.life));
        used.chain(results).chain(ended).collect()
    }

    /// The reply that lies in pieces beside a delivery's answer; `None` if they are gone.
    ///
    /// # Errors
    ///
    /// The server does not answer, or `stop` is set.
    pub(super) fn take_reply(&self, delivery: Delivery, blob: Blob, stop: &Stop) -> Result<Option<Vec<u8>>> {
        // By the delivery and not by its content: another job's equal result is not to be deleted with it.
        let key = self.keys.result(delivery);
        // It may wait for longer than the server would keep it.
        lock(&self.uses).results.insert(key.clone());
        let content = self.take(&key, blob, stop);
        lock(&self.uses).results.remove(&key);
        Ok(content?.filter(|content| blob.is(content)))
    }

    fn take(&self, key: &str, blob: Blob, stop: &Stop) -> Result<Option<Vec<u8>>> {
        let mut content = Vec::new();
        let mut courier = lock_unless(&self.results, stop)?;
        let is_whole = courier.fetch(key, blob, stop, |_, piece| content.extend_from_slice(&piece))?;
        courier.forget(key);
        Ok(is_whole.then_some(content))
    }
}
