//! Work of every kind, in rounds: each submits something and waits for all that comes of it.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use pool_core::{AsyncResult, ErrorKind, Pool, Task, as_completed};

use crate::item::{Fate, HEAD, Item, carry, head_of, ordeal, triple};
use crate::ledger::{Ledger, Outcome, Page, Shape};
use crate::random::Random;

/// One round.
type Round<L> = fn(&mut L);

/// The submissions of one thread.
#[derive(Debug)]
pub(crate) struct Load<'a> {
    pool: &'a Pool,
    ledger: &'a Ledger,
    random: Random,
    /// That of the next item; no other thread has it.
    serial: u64,
}

impl<'a> Load<'a> {
    /// The kinds of rounds; each is repeated by a thread of its own.
    pub(crate) const ROUNDS: [(&'static str, Round<Self>); 8] = [
        ("calls", Load::calls),
        ("callbacks", Load::callbacks),
        ("as_completed", Load::as_completed),
        ("maps", Load::maps),
        ("map_async", Load::map_async),
        ("imap", Load::imap),
        ("imap_unordered", Load::imap_unordered),
        ("parcels", Load::parcels),
    ];

    pub(crate) fn new(pool: &'a Pool, ledger: &'a Ledger, random: Random, stream: u64) -> Load<'a> {
        Load { pool, ledger, random, serial: stream << 40 }
    }

    /// Up to so many items of any fate.
    fn ordeals(&mut self, most: u64) -> Vec<Item> {
        let count = 1 + self.random.below(most);
        self.serial += count;
        (self.serial - count..self.serial).map(|serial| Item::draw(serial, &mut self.random)).collect()
    }

    /// Up to so many good ones.
    fn good(&mut self, most: u64) -> Vec<Item> {
        let count = self.random.below(most);
        self.serial += count;
        (self.serial - count..self.serial).map(|serial| Item::new(serial, Fate::Good)).collect()
    }

    fn submit(&mut self, page: &Page) -> Vec<Result<AsyncResult<u64>, pool_core::Error>> {
        let retries = self.random.below(3) as u32;
        page.items.iter().map(|item| self.pool.apply_async(ordeal::Task.retries(retries), item.0)).collect()
    }

    /// Single calls, many at once; some are cancelled, some are waited for in vain at first, some block.
    fn calls(&mut self) {
        let items = self.ordeals(200);
        let mut page = self.ledger.open(Shape::Calls, items, false);
        for (at, job) in self.submit(&page).into_iter().enumerate() {
            let outcome = match job {
                Ok(mut job) => {
                    if self.random.once_in(20) {
                        page.cancel(at);
                        job.cancel();
                    }
                    let backoff = Duration::from_micros(self.random.below(2000));
                    match job.get_timeout(backoff) {
                        Err(error) if error.kind() == ErrorKind::Timeout => job.get(),
                        result => result,
                    }
                }
                Err(error) => Err(error),
            };
            page.settle(at, outcome);
        }
        self.ledger.close(page);
        let items = self.ordeals(5);
        let mut page = self.ledger.open(Shape::Calls, items, false);
        for at in 0..page.items.len() {
            page.settle(at, self.pool.apply(ordeal::Task, page.items[at].0));
        }
        self.ledger.close(page);
    }

    /// Calls with a callback.
    fn callbacks(&mut self) {
        let items = self.ordeals(50);
        let page = self.ledger.open(Shape::Calls, items, false);
        let jobs = self.submit(&page);
        let page = Arc::new(Mutex::new(page));
        let lock = |page: &Mutex<Page>, at, outcome: Outcome| {
            page.lock().unwrap_or_else(PoisonError::into_inner).settle(at, outcome);
        };
        let (sender, receiver) = mpsc::channel::<()>();
        for (at, job) in jobs.into_iter().enumerate() {
            match job {
                Ok(job) => {
                    let (page, sender) = (Arc::clone(&page), sender.clone());
                    job.on_done(move |result| {
                        lock(&page, at, result.into());
                        drop((page, sender));
                    });
                }
                Err(error) => lock(&page, at, Outcome::from(&error)),
            }
        }
        drop(sender);
        // Until there is no callback any more that could say something: one that never ran is one that lost its item.
        let _ = receiver.recv();
        let page = Arc::into_inner(page).expect("no callback is left");
        self.ledger.close(page.into_inner().unwrap_or_else(PoisonError::into_inner));
    }

    fn as_completed(&mut self) {
        let items = self.ordeals(100);
        let mut page = self.ledger.open(Shape::Calls, items, false);
        let (mut jobs, mut places) = (Vec::new(), Vec::new());
        for (at, job) in self.submit(&page).into_iter().enumerate() {
            match job {
                Ok(job) => {
                    jobs.push(job);
                    places.push(at);
                }
                Err(error) => page.settle(at, &error),
            }
        }
        for (index, result) in as_completed(jobs) {
            page.settle(places[index], result);
        }
        self.ledger.close(page);
    }

    /// Large ones that must succeed as a whole, and small ones of which some items fail.
    fn maps(&mut self) {
        let is_harmless = !self.random.once_in(4);
        let items = if is_harmless { self.good(20_000) } else { self.ordeals(200) };
        let mut page = self.ledger.open(Shape::Map, items, is_harmless);
        let xs = page.items.iter().map(|item| item.0);
        let results =
            if is_harmless { self.pool.map_results(triple::Task, xs) } else { self.pool.map_results(ordeal::Task, xs) };
        match results {
            Ok(results) => results.into_iter().enumerate().for_each(|(at, result)| page.settle(at, result)),
            Err(error) => settle_all(&mut page, &error),
        }
        self.ledger.close(page);
    }

    /// One handle for all; some are cancelled on the way.
    fn map_async(&mut self) {
        let items = self.good(20_000);
        let mut page = self.ledger.open(Shape::Map, items, true);
        let job = self.pool.map_async(triple::Task, page.items.iter().map(|item| item.0));
        if let Ok(job) = &job
            && self.random.once_in(5)
        {
            (0..page.items.len()).for_each(|at| page.cancel(at));
            std::thread::sleep(Duration::from_micros(self.random.below(3000)));
            job.cancel();
        }
        match job.and_then(AsyncResult::get) {
            Ok(values) => values.into_iter().enumerate().for_each(|(at, value)| page.settle(at, Outcome::Value(value))),
            Err(error) => settle_all(&mut page, &error),
        }
        self.ledger.close(page);
    }

    /// Results in order, with and without a limit of time; some iterators are dropped half-way.
    fn imap(&mut self) {
        let items = self.ordeals(500);
        let mut page = self.ledger.open(Shape::Map, items.clone(), false);
        let end = self.end_of(&items);
        match self.pool.imap(ordeal::Task, items.iter().map(|item| item.0)) {
            Ok(mut results) => {
                let mut at = 0;
                while at < end
                    && let Some(result) = results.next_timeout(Duration::from_micros(self.random.below(5000)))
                {
                    if result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Timeout) {
                        continue;
                    }
                    page.settle(at, result);
                    at += 1;
                }
            }
            Err(error) => settle_all(&mut page, &error),
        }
        if end < items.len() {
            page.give_up_the_rest();
        }
        self.ledger.close(page);
    }

    /// Results as they come, in chunks of any size.
    fn imap_unordered(&mut self) {
        let items = self.ordeals(500);
        let mut page = self.ledger.open(Shape::Map, items.clone(), false);
        let end = self.end_of(&items);
        let task = ordeal::Task.chunk_size(1 + self.random.below(50) as usize);
        match self.pool.imap_unordered(task, items.iter().map(|item| item.0)) {
            Ok(results) => results.take(end).for_each(|result| page.settle_unordered(result)),
            Err(error) => settle_all(&mut page, &error),
        }
        if end < items.len() {
            page.give_up_the_rest();
        }
        self.ledger.close(page);
    }

    /// How many results are asked for: all of them, and more; or some.
    fn end_of(&mut self, items: &[Item]) -> usize {
        if self.random.once_in(10) { self.random.below(items.len() as u64) as usize } else { usize::MAX }
    }

    /// Payloads smaller and larger than a ring.
    fn parcels(&mut self) {
        let items = self.good(8);
        let mut page = self.ledger.open(Shape::Map, items, true);
        let fillers: Vec<_> = page.items.iter().map(|_| filler(&mut self.random)).collect();
        let parcels = page.items.iter().zip(&fillers);
        let parcels: Vec<_> = parcels.map(|(item, filler)| [&item.0.to_le_bytes()[..], filler].concat()).collect();
        match self.pool.map_results(carry::Task, parcels.iter().map(Vec::as_slice)) {
            Ok(results) => {
                for (at, result) in results.into_iter().enumerate() {
                    // A parcel that is damaged is a value that is no item's.
                    let value =
                        |parcel: Vec<u8>| if parcel.get(HEAD..) == Some(&fillers[at]) { head_of(&parcel) } else { 0 };
                    page.settle(at, result.map(value));
                }
            }
            Err(error) => settle_all(&mut page, &error),
        }
        self.ledger.close(page);
    }
}

/// Up to 1 MiB, mostly far less.
fn filler(random: &mut Random) -> Vec<u8> {
    let most = 1 << random.below(21);
    let (length, first) = (random.below(most), random.below(256));
    (0..length).map(|at| (first + at + at / 251) as u8).collect()
}

/// The job ended as a whole.
fn settle_all(page: &mut Page, error: &pool_core::Error) {
    (0..page.items.len()).for_each(|at| page.settle(at, error));
}
