//! A set of workers: an operation on few of them costs the same in a pool of many.

use super::interface::WorkerId;

#[derive(Clone, Debug, Default)]
pub(crate) struct WorkerSet {
    words: Vec<u64>,
    /// All words before this one are zero.
    first_word: usize,
}

impl WorkerSet {
    #[inline]
    pub(crate) fn insert(&mut self, worker: WorkerId) {
        let word = worker.index() / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (worker.index() % 64);
        self.first_word = self.first_word.min(word);
    }

    #[inline]
    pub(crate) fn remove(&mut self, worker: WorkerId) {
        if let Some(word) = self.words.get_mut(worker.index() / 64) {
            *word &= !(1 << (worker.index() % 64));
        }
    }

    /// The member with the lowest number.
    #[inline]
    pub(crate) fn first(&mut self) -> Option<WorkerId> {
        while let Some(word) = self.words.get(self.first_word) {
            if *word != 0 {
                return Some(WorkerId::new(64 * self.first_word + word.trailing_zeros() as usize));
            }
            self.first_word += 1;
        }
        // Else each call on an empty set would go through all words again.
        self.first_word = self.words.len();
        None
    }

    /// The first member that is at least `from`. To go through a set that changes meanwhile, ask again from the next number.
    #[inline]
    pub(crate) fn next(&self, from: usize) -> Option<WorkerId> {
        let first = from / 64;
        // Bits below `from` are masked, not shifted out, so that positions stay.
        let mut word = self.words.get(first)? & (u64::MAX << (from % 64));
        let mut at = first;
        while word == 0 {
            at += 1;
            word = *self.words.get(at)?;
        }
        Some(WorkerId::new(64 * at + word.trailing_zeros() as usize))
    }

    /// All members, lowest first.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = WorkerId> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let worker = self.next(from)?;
            from = worker.index() + 1;
            Some(worker)
        })
    }

    /// Whether this holds for one of them. Written as a loop, since it is asked again and again while a thread waits.
    #[inline]
    pub(crate) fn any(&self, mut holds: impl FnMut(WorkerId) -> bool) -> bool {
        for (at, &word) in self.words.iter().enumerate() {
            let mut rest = word;
            while rest != 0 {
                if holds(WorkerId::new(64 * at + rest.trailing_zeros() as usize)) {
                    return true;
                }
                rest &= rest - 1;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_in_order() {
        let mut set = WorkerSet::default();
        assert_eq!((set.first(), set.next(0)), (None, None));
        for index in [300, 5, 64, 63, 5] {
            set.insert(WorkerId::new(index));
        }
        assert_eq!(set.iter().map(WorkerId::index).collect::<Vec<_>>(), [5, 63, 64, 300]);
        assert_eq!(set.first().map(WorkerId::index), Some(5));
        for index in [5, 63, 64, 1000] {
            set.remove(WorkerId::new(index));
        }
        assert_eq!((set.first().map(WorkerId::index), set.next(301)), (Some(300), None));
        set.insert(WorkerId::new(0));
        assert_eq!(set.first().map(WorkerId::index), Some(0));
    }
}
