//! The window of a lazy map: how far it looks ahead.
//!
//! Results come in from the workers whether they are taken or not, so a lazy map can bound its memory only by how
//! many items it has out. That number follows from the sizes of the results so far and of the arguments.

use std::collections::VecDeque;

/// Items that may be pulled and not yet handed out: enough to keep the workers busy, and all that an endless input
/// costs.
const ITEMS_MAX: u64 = 4096;

/// Bytes of arguments and results that a lazy map may hold, unless its workers could not all have an item otherwise.
const BYTES_MAX: u64 = 64 << 20;

/// Results over which the mean size is taken, more or less.
const RESULTS_WEIGHED: u64 = 512;

/// The items and bytes that a lazy map holds, and how many more items it may pull.
#[derive(Debug)]
pub(crate) struct Window {
    /// Items and bytes that it may hold.
    items_max: u64,
    bytes_max: u64,
    /// Bytes of each result, if all have as many.
    result_size: Option<u64>,
    /// Items without a result.
    out: u64,
    /// Items that were handed over together and have not all been answered, and the bytes of their arguments.
    blocks: VecDeque<(u64, u64)>,
    /// The sum of these bytes.
    argument_bytes: u64,
    /// The mean size of the latest arguments.
    argument_mean: u64,
    /// Bytes of results that have arrived and not been handed out.
    result_bytes: u64,
    /// Results that have arrived.
    arrived: u64,
    /// Recent results, and their bytes.
    recent: (u64, u64),
    /// The mean size of the latest results.
    latest: u64,
}

impl Window {
    pub(crate) fn new(result_size: Option<usize>) -> Self {
        Window {
            items_max: ITEMS_MAX,
            bytes_max: BYTES_MAX,
            result_size: result_size.map(|size| size as u64),
            out: 0,
            blocks: VecDeque::new(),
            argument_bytes: 0,
            argument_mean: 0,
            result_bytes: 0,
            arrived: 0,
            recent: (0, 0),
            latest: 0,
        }
    }

    /// Sets the number of items, if the user has chosen one, and the pool's limit on bytes.
    pub(crate) fn with_limits(self, prefetch: Option<usize>, pool_bytes: u64) -> Self {
        let items_max = prefetch.map_or(ITEMS_MAX, |items| items as u64);
        Window { items_max, bytes_max: BYTES_MAX.min(pool_bytes), ..self }
    }

    /// Items that are out.
    pub(crate) fn out(&self) -> u64 {
        self.out
    }

    /// Counts items that have been pulled, with the bytes of their arguments.
    pub(crate) fn pulled(&mut self, items: u64, bytes: u64) {
        if items == 0 {
            return;
        }
        self.out += items;
        self.argument_bytes += bytes;
        // The mean of the latest block: the next items are most like it.
        self.argument_mean = bytes / items;
        // By block, since single items would take as much memory as their arguments.
        self.blocks.push_back((items, bytes));
    }

    /// Counts results that have arrived, with their bytes; failures have none.
    pub(crate) fn arrived(&mut self, items: u64, bytes: Option<usize>) {
        self.out = self.out.saturating_sub(items);
        self.arrived += items;
        if let Some(bytes) = bytes.map(|bytes| bytes as u64) {
            self.result_bytes += bytes;
            self.latest = bytes / items.max(1);
            self.recent = (self.recent.0 + items, self.recent.1 + bytes);
            while self.recent.0 > RESULTS_WEIGHED {
                // Halved and not cleared, so that old sizes fade out.
                self.recent = (self.recent.0 / 2, self.recent.1 / 2);
            }
        }
        // In the order in which they were pulled, as most results come.
        let mut left = items;
        while let Some((items, bytes)) = self.blocks.front_mut() {
            if *items > left {
                *items -= left;
                break;
            }
            left -= *items;
            self.argument_bytes -= *bytes;
            self.blocks.pop_front();
        }
    }

    /// Counts results as handed out, by their bytes.
    pub(crate) fn handed_out(&mut self, bytes: usize) {
        self.result_bytes -= bytes as u64;
    }

    /// Items that may be pulled now. `held` items have been pulled and not handed out. The window is not refilled
    /// before half of it is free, so that blocks do not shrink to single items.
    pub(crate) fn room(&self, held: u64, workers: u64, is_being_refilled: bool) -> u64 {
        let by_start = match self.result_size {
            Some(_) => u64::MAX,
            // Twice as many with each round, as long as results may turn out to be large.
            None => (2 * (workers + self.arrived)).saturating_sub(self.out),
        };
        let result = self.result_size();
        let taken = self.argument_bytes + self.result_bytes + self.out.saturating_mul(result);
        let by_bytes = self.bytes_max.saturating_sub(taken) / (result + self.argument_mean).max(1);
        // At least an item for each worker, whatever its size: idle workers would save no memory that is worth it.
        let most = held.saturating_add(by_start.min(by_bytes)).min(self.items_max).max(workers.min(self.items_max));
        // Workers without an item are a reason to pull at once.
        if is_being_refilled || held < workers.min(most) || held <= most / 2 { most.saturating_sub(held) } else { 0 }
    }

    /// Bytes that a result is expected to have.
    fn result_size(&self) -> u64 {
        let (items, bytes) = self.recent;
        // The larger of both: results that grow must not be taken for the average of smaller ones.
        self.result_size.unwrap_or_else(|| self.latest.max(bytes.checked_div(items).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Pulls as many items as may be pulled.
    fn fill(window: &mut Window, workers: u64, argument: u64) -> u64 {
        let items = window.room(window.out(), workers, false);
        window.pulled(items, items * argument);
        items
    }

    #[test]
    fn small_results_of_one_size_have_all_items_out_at_once() {
        assert_eq!(fill(&mut Window::new(Some(8)), 2, 8), ITEMS_MAX);
    }

    #[test]
    fn results_of_unknown_size_begin_with_few_items_and_soon_have_all() {
        let mut window = Window::new(None);
        assert_eq!(fill(&mut window, 2, 8), 4);
        for _ in 0..12 {
            let out = window.out();
            window.arrived(out, Some(20 * out as usize));
            window.handed_out(20 * out as usize);
            fill(&mut window, 2, 8);
        }
        assert_eq!(window.out(), ITEMS_MAX);
    }

    #[test]
    fn large_results_stay_within_the_bound_taken_or_not() {
        let mut window = Window::new(None);
        let mut untaken = 0;
        fill(&mut window, 2, 8);
        for round in 0..100 {
            window.arrived(1, Some(4 * MIB as usize));
            untaken += 1;
            if round % 3 == 0 {
                window.handed_out(4 * MIB as usize);
                untaken -= 1;
            }
            let held = window.out() + untaken;
            let items = window.room(held, 2, true);
            window.pulled(items, 8 * items);
            assert!((held + items) * 4 <= 64 || items == 0, "{held} and {items} more");
            if window.out() == 0 {
                return;
            }
        }
        panic!("more and more is pulled");
    }

    #[test]
    fn each_worker_has_an_item_however_large() {
        for workers in [1, 2, 5] {
            let mut window = Window::new(Some(1 << 30));
            assert_eq!(fill(&mut window, workers, 1 << 30), workers);
            window.arrived(1, Some(1 << 30));
            assert_eq!(window.room(workers, workers, true), 0, "while one is not handed out");
            window.handed_out(1 << 30);
            assert_eq!(fill(&mut window, workers, 1 << 30), 1);
        }
    }

    #[test]
    fn large_arguments_are_counted_until_their_results_are_there() {
        let mut window = Window::new(Some(8));
        for _ in 0..63 {
            assert!(window.room(window.out(), 2, true) > 0);
            window.pulled(1, MIB);
        }
        assert_eq!(window.room(window.out(), 2, true), 0);
        window.arrived(20, Some(160));
        window.handed_out(160);
        assert_eq!(window.room(window.out(), 2, false), 0, "not for so little");
        window.arrived(20, Some(160));
        window.handed_out(160);
        assert_eq!(window.room(window.out(), 2, false), 40, "the results have a few bytes, too");
    }

    #[test]
    fn a_change_of_sizes_is_noticed() {
        let mut window = Window::new(None);
        for _ in 0..12 {
            let out = fill(&mut window, 2, 8);
            window.arrived(out, Some(0));
        }
        window.pulled(1, 8);
        window.arrived(1, Some(16 * MIB as usize));
        assert_eq!(window.room(1, 2, true), 2, "with the one that is there");
    }

    #[test]
    fn the_number_of_items_may_be_chosen() {
        for prefetch in [1, 2, 3, 5000] {
            let mut window = Window::new(Some(8)).with_limits(Some(prefetch), u64::MAX);
            assert_eq!(fill(&mut window, 3, 8), prefetch as u64, "also fewer than workers, and more than usual");
            assert_eq!(window.room(window.out(), 3, true), 0);
        }
        // One at a time: the next is pulled when the result has been handed out.
        let window = Window::new(Some(8)).with_limits(Some(1), u64::MAX);
        assert_eq!((window.room(0, 3, false), window.room(1, 3, false)), (1, 0));
    }

    #[test]
    fn the_pools_limit_on_bytes_counts() {
        let mut window = Window::new(Some(MIB as usize)).with_limits(None, 10 * MIB);
        window.pulled(2, 2 * MIB);
        assert!(window.room(2, 2, true) <= 4, "four arguments and results of a MiB each are out, and 10 MiB may be");
    }
}
