//! The static dispatch table: one entry for each `#[pool_task]` of every crate that is linked into the program.
//!
//! The linker gathers the entries (`linkme`), so there is nothing to register at run time. Their order differs from one
//! build to the next, hence an index is valid only among processes of one executable; host and workers compare
//! [`fingerprint`]s before the first job.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use crate::chunk::{Chunk, run_chunk};
use crate::error::{Error, ErrorKind, Result};
use crate::task::{Options, Task};

/// Every task of the program.
#[linkme::distributed_slice]
pub static TASKS: [Entry];

/// One task: what a person may want to know about it, and how a worker runs it.
pub struct Entry {
    info: Info,
    id: u64,
    signature: u64,
    pub(crate) options: Options,
    pub(crate) run: fn(&mut Chunk<'_>),
}

/// The part of an [`Entry`] that the macro reads off the function.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// The function's name.
    pub name: &'static str,
    /// The path of its module, from `module_path!()`.
    pub module: &'static str,
    /// Its source file.
    pub file: &'static str,
    /// Its line there.
    pub line: u32,
    /// Its arguments as written, `x: u64, text: &str`.
    pub args: &'static str,
    /// Its result as written, `()` if there is none.
    pub output: &'static str,
    /// The options of the attribute.
    pub options: Options,
}

impl Entry {
    #[doc(hidden)]
    pub const fn new<T: Task>(info: Info) -> Self {
        let id = fnv1a(fnv1a(fnv1a(FNV_OFFSET, info.module), "::"), info.name);
        let signature = fnv1a(fnv1a(fnv1a(FNV_OFFSET, info.args), "->"), info.output);
        Entry { info, id, signature, options: info.options, run: run_chunk::<T> }
    }

    /// The function's name.
    pub fn name(&self) -> &'static str {
        self.info.name
    }

    /// The path of the module that holds it.
    pub fn module(&self) -> &'static str {
        self.info.module
    }

    /// The source file that holds it.
    pub fn file(&self) -> &'static str {
        self.info.file
    }

    /// Its line in that file.
    pub fn line(&self) -> u32 {
        self.info.line
    }

    /// Its arguments as written, such as `x: u64, text: &str`.
    pub fn args(&self) -> &'static str {
        self.info.args
    }

    /// Its result as written, `()` if there is none.
    pub fn output(&self) -> &'static str {
        self.info.output
    }

    /// Its place in the table.
    #[inline]
    pub(crate) fn index(&'static self) -> u32 {
        let offset = std::ptr::from_ref(self).addr().wrapping_sub(TASKS.as_ptr().addr());
        let index = offset / size_of::<Entry>();
        debug_assert!(TASKS.get(index).is_some_and(|entry| std::ptr::eq(entry, self)));
        index as u32
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("info", &self.info).finish_non_exhaustive()
    }
}

/// The dispatch table: every task of the program, those of linked crates included, sorted by module and name.
///
/// A crate that is named in `Cargo.toml` but nowhere in the code is not linked, and its tasks are missing here;
/// `use that_crate as _;` is enough to link it.
///
/// # Examples
///
/// ```
/// # use pool_core::prelude::*;
/// #[pool_task]
/// fn square(x: u64) -> u64 { x * x }
///
/// # fn main() {
/// let names: Vec<_> = pool_core::tasks().iter().map(|task| task.name()).collect();
/// assert!(names.contains(&"square"));
/// # }
/// ```
pub fn tasks() -> Vec<&'static Entry> {
    let mut entries: Vec<_> = TASKS.iter().collect();
    entries.sort_by_key(|entry| (entry.module(), entry.name(), entry.line()));
    entries
}

/// A hash of the whole table in its order.
///
/// # Errors
///
/// `InvalidInput` if two tasks have the same module path and name.
pub(crate) fn fingerprint() -> Result<u64> {
    static CHECKED: OnceLock<std::result::Result<u64, String>> = OnceLock::new();
    CHECKED
        .get_or_init(|| {
            // No hash map: it would fix the seed of all that the workers forked from this process ever make.
            let mut seen: BTreeMap<u64, &Entry> = BTreeMap::new();
            let mut hash = FNV_OFFSET;
            for entry in TASKS {
                if let Some(other) = seen.insert(entry.id, entry) {
                    return Err(format!(
                        "two tasks are named `{}::{}`, at {}:{} and at {}:{}; rename one",
                        entry.module(),
                        entry.name(),
                        other.file(),
                        other.line(),
                        entry.file(),
                        entry.line()
                    ));
                }
                hash = (hash ^ entry.id).wrapping_mul(FNV_PRIME);
                hash = (hash ^ entry.signature).wrapping_mul(FNV_PRIME);
            }
            Ok(hash)
        })
        .clone()
        .map_err(|message| Error::new(ErrorKind::InvalidInput, message))
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a (Fowler, Noll, Vo), which can be computed at compile time.
const fn fnv1a(mut hash: u64, text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(FNV_PRIME);
        i += 1;
    }
    hash
}
