//! Completions that are made together, and the handles of single ones.

use std::ops::Deref;
use std::sync::Arc;

use crate::job::completion::Completion;
use crate::job::owner::Owner;
use crate::scheduler::JobId;

/// Completions that are made at once, for calls that are submitted one after the other, or for one map; and the pool
/// that they belong to.
#[derive(Debug)]
pub(crate) struct Batch {
    // Not generic: else each type of handle would be compiled for each kind of owner.
    owner: Arc<dyn Owner>,
    job: JobId,
    /// The number of the first call in its job; a map has none.
    first: Option<u64>,
    completions: Completions,
}

/// The single completion of a map or of a lone call takes no allocation of its own.
#[derive(Debug)]
enum Completions {
    One(Completion),
    Many(Box<[Completion]>),
}

impl Batch {
    pub(crate) fn of_map(owner: &Arc<impl Owner>, job: JobId) -> Arc<Self> {
        Arc::new(Batch { owner: owner.clone(), job, first: None, completions: Completions::One(Completion::default()) })
    }

    #[inline]
    pub(crate) fn of_calls(owner: &Arc<impl Owner>, job: JobId, first: u64, calls: u32) -> Arc<Self> {
        let completions = match calls {
            1 => Completions::One(Completion::default()),
            // One allocation for up to 31 calls, and one count of references for their handles.
            _ => Completions::Many((0..calls).map(|_| Completion::default()).collect()),
        };
        Arc::new(Batch { owner: owner.clone(), job, first: Some(first), completions })
    }

    #[inline]
    pub(crate) fn completions(&self) -> &[Completion] {
        match &self.completions {
            Completions::One(completion) => std::slice::from_ref(completion),
            Completions::Many(completions) => completions,
        }
    }
}

/// One completion of a batch.
#[derive(Clone, Debug)]
pub(crate) struct CompletionRef {
    batch: Arc<Batch>,
    index: u32,
}

impl CompletionRef {
    #[inline]
    pub(crate) fn new(batch: &Arc<Batch>, index: u32) -> Self {
        CompletionRef { batch: Arc::clone(batch), index }
    }

    #[inline]
    pub(crate) fn owner(&self) -> &dyn Owner {
        &*self.batch.owner
    }

    #[inline]
    pub(crate) fn job(&self) -> JobId {
        self.batch.job
    }

    /// The number of the call in its job, if it is one.
    #[inline]
    pub(crate) fn call(&self) -> Option<u64> {
        Some(self.batch.first? + u64::from(self.index))
    }
}

impl Deref for CompletionRef {
    type Target = Completion;

    #[inline]
    fn deref(&self) -> &Completion {
        &self.batch.completions()[self.index as usize]
    }
}
