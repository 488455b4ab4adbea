//! A vector of jobs with stable keys: a freed place is used again, and an old key never finds the new tenant.

/// Names a job for as long as it lives, and nothing afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(test, derive(Default))]
pub(crate) struct JobId {
    place: u32,
    generation: u32,
}

impl JobId {
    /// As a number that no other job of the pool has, nor had lately.
    pub(crate) fn number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.place)
    }
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    tenant: Option<T>,
}

#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    /// The generation of a new place.
    epoch: u32,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Slab { places: Vec::new(), free: Vec::new(), epoch: 0 }
    }

    /// Takes in a tenant that knows its key.
    #[inline]
    pub(crate) fn insert(&mut self, tenant: impl FnOnce(JobId) -> T) -> JobId {
        if let Some(place) = self.free.pop() {
            let entry = &mut self.places[place as usize];
            let id = JobId { place, generation: entry.generation };
            entry.tenant = Some(tenant(id));
            return id;
        }
        let place = u32::try_from(self.places.len()).expect("fewer than 2^32 jobs at once");
        let id = JobId { place, generation: self.epoch };
        self.places.push(Place { generation: self.epoch, tenant: Some(tenant(id)) });
        id
    }

    #[inline]
    pub(crate) fn get(&self, id: JobId) -> Option<&T> {
        let entry = self.places.get(id.place as usize)?;
        // An old key finds its place with another generation, and nothing.
        entry.tenant.as_ref().filter(|_| entry.generation == id.generation)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: JobId) -> Option<&mut T> {
        let entry = self.places.get_mut(id.place as usize)?;
        entry.tenant.as_mut().filter(|_| entry.generation == id.generation)
    }

    #[inline]
    pub(crate) fn remove(&mut self, id: JobId) {
        let is_it = |entry: &&mut Place<T>| entry.generation == id.generation && entry.tenant.is_some();
        let Some(entry) = self.places.get_mut(id.place as usize).filter(is_it) else { return };
        entry.tenant = None;
        // Wraps only after 2^32 jobs in one place; no key is kept for so long.
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(id.place);
        if self.free.len() == self.places.len() && self.places.len() > KEEP {
            // Every job is gone: give the memory of a burst back. Numbers start above all that were ever given.
            self.epoch = self.places.iter().map(|place| place.generation).max().unwrap_or(0);
            self.places = Vec::new();
            self.free = Vec::new();
        }
    }

    pub(crate) fn ids(&self) -> Vec<JobId> {
        let live = self.places.iter().enumerate().filter(|(_, entry)| entry.tenant.is_some());
        live.map(|(place, entry)| JobId { place: place as u32, generation: entry.generation }).collect()
    }
}

/// Places kept when the slab runs empty.
const KEEP: usize = 4096;
