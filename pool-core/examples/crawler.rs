//! A crawler: the results of some pages are the next ones to be fetched. `cargo run -p pool-core --example crawler`.
//!
//! The input of a lazy map must not wait for the map's own results, since these are handed out by the thread that waits. So
//! pages are submitted one by one, callbacks put what they hold into a channel, and the crawl waits there.

#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};

use pool_core::prelude::*;

/// Pages of the site; one of them makes the parser crash, and another one never comes to an end.
const PAGES: u32 = 500;
const CRASHES: u32 = 77;
const HANGS: u32 = 123;

/// Fetches a page and returns its links. A real one would use a client of HTTP and a parser here.
#[pool_task(timeout = "500ms", retries = 1)]
fn links(page: u32) -> Vec<u32> {
    std::thread::sleep(Duration::from_millis(1));
    match page {
        CRASHES => std::process::abort(),
        HANGS => loop {
            std::thread::park();
        },
        _ => vec![page / 2, (3 * page + 1) % PAGES, (7 * page + 5) % PAGES, (page + 1) % PAGES],
    }
}

/// A page, and its links or why there are none.
type Fetched = (u32, pool_core::Result<Vec<u32>>);

/// Pages as they come. Ends when all pages that are known have been fetched.
struct Crawl<'p> {
    pool: &'p Pool,
    seen: BTreeSet<u32>,
    pending: usize,
    fetched: Receiver<Fetched>,
    sender: Sender<Fetched>,
}

impl<'p> Crawl<'p> {
    fn from(pool: &'p Pool, page: u32) -> pool_core::Result<Crawl<'p>> {
        let (sender, fetched) = channel();
        let mut crawl = Crawl { pool, seen: BTreeSet::new(), pending: 0, fetched, sender };
        crawl.visit(page)?;
        Ok(crawl)
    }

    /// Submits the page, unless it is known. No more than four are fetched at once, for the sake of the server.
    fn visit(&mut self, page: u32) -> pool_core::Result<()> {
        if self.seen.insert(page) {
            let sender = self.sender.clone();
            // A crawl that was dropped hears of no more pages.
            let send = move |links| drop(sender.send((page, links)));
            self.pool.apply_async(links::Task.max_concurrent(4), page)?.on_done(send);
            self.pending += 1;
        }
        Ok(())
    }
}

impl Iterator for Crawl<'_> {
    type Item = Fetched;

    fn next(&mut self) -> Option<Fetched> {
        // Else nothing would ever come: this crawl has a sender, too.
        self.pending = self.pending.checked_sub(1)?;
        let (page, mut links) = self.fetched.recv().ok()?;
        let new = links.iter().flatten().try_for_each(|&link| self.visit(link));
        if let Err(error) = new {
            links = Err(error);
        }
        Some((page, links))
    }
}

/// Crawls the whole site.
pub(crate) fn main() -> pool_core::Result<()> {
    let pool = Pool::new(4)?;
    let (mut pages, mut failed) = (0, BTreeSet::new());
    for (page, links) in Crawl::from(&pool, 1)? {
        pages += 1;
        if let Err(error) = links {
            println!("page {page}: {error}");
            failed.insert(page);
        }
    }
    println!("{pages} pages, {} failed", failed.len());
    assert_eq!((pages, failed), (PAGES, BTreeSet::from([CRASHES, HANGS])));
    pool.close();
    pool.join()
}
