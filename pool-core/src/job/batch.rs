//! Completions that are made together, and the handles of single ones.

use std::ops::Deref;
use std::sync::Arc;

use crate::error::Result;
use crate::job::completion::Completion;
use crate::job::owner::Owner;
use crate::job::reports::Reports;
use crate::process::fork_check::ForkCheck;
use crate::scheduler::JobId;

/// Completions that are made at once, for calls that are submitted one after the other, or for one map; and the pool
/// that they belong to.
#[derive(Debug)]
pub(crate) struct Batch {
    // Not generic: else each type of handle would be compiled for each kind of owner.
    owner: Arc<dyn Owner>,
    /// The owner's process, which each handle asks for: a call by pointer less.
    process: ForkCheck,
    job: JobId,
    /// The number of the first call in its job; a map has none.
    first: Option<u64>,
    completions: Completions,
    /// Where the job's reports go, if its items may report: then a call is alone.
    reports: Option<Arc<Reports>>,
}

/// The single completion of a map or of a lone call takes no allocation of its own.
#[derive(Debug)]
enum Completions {
    One(Completion),
    Many(Box<[Completion]>),
}

impl Batch {
    pub(crate) fn of_map(owner: &Arc<impl Owner>, job: JobId, reports: Option<Arc<Reports>>) -> Arc<Self> {
        Batch::new(owner, job, None, Completions::One(Completion::default()), reports)
    }

    #[inline]
    pub(crate) fn of_calls(
        owner: &Arc<impl Owner>,
        job: JobId,
        first: u64,
        calls: u32,
        reports: Option<Arc<Reports>>,
    ) -> Arc<Self> {
        let completions = match calls {
            1 => Completions::One(Completion::default()),
            // One allocation for up to 31 calls, and one count of references for their handles.
            _ => Completions::Many((0..calls).map(|_| Completion::default()).collect()),
        };
        Batch::new(owner, job, Some(first), completions, reports)
    }

    #[inline]
    fn new(
        owner: &Arc<impl Owner>,
        job: JobId,
        first: Option<u64>,
        completions: Completions,
        reports: Option<Arc<Reports>>,
    ) -> Arc<Self> {
        Arc::new(Batch { owner: owner.clone(), process: owner.process(), job, first, completions, reports })
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

    /// False in a copy of the host.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.batch.process.is_here()
    }

    /// # Errors
    ///
    /// `Unsupported` in a copy of the host.
    #[inline]
    pub(crate) fn check_owner(&self) -> Result<()> {
        if self.is_here() { Ok(()) } else { self.owner().check_owner() }
    }

    #[inline]
    pub(crate) fn job(&self) -> JobId {
        self.batch.job
    }

    /// Where the reports of its job go, if there may be any.
    #[inline]
    pub(crate) fn reports(&self) -> Option<&Arc<Reports>> {
        self.batch.reports.as_ref()
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
