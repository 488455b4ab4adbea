//! The static dispatch table: one entry for each `#[pool_task]` of every crate that is linked into the program.
//!
//! The linker gathers the entries (`linkme`), so there is nothing to register at run time. Their order differs from one
//! build to the next, hence an index is valid only among processes of one executable; host and workers compare
//! [`fingerprint`]s before the first job.
//!
//! A task is its entry, not its name: a program may hold two of one name, such as the copies of a module that the library
//! and the binary of one package both have, the tasks of two versions of a library, or those in two function bodies.

use std::fmt;
use std::sync::OnceLock;

#[cfg(feature = "json")]
use crate::codec::json::form::JsonForm;
use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "remote")]
use crate::task::form::Form;
use crate::task::options::TaskOptions;
use crate::task::state_type::StateType;
use crate::worker::chunk::Chunk;

/// Every task of the program. The linker knows the table by this name, so it has the version in it: another slice of this
/// name, in the program or in another version of this crate, would be the same table.
#[linkme::distributed_slice]
pub static POOL_CORE_0_1_0_TASKS: [Entry];

pub use POOL_CORE_0_1_0_TASKS as TASKS;

#[allow(unsafe_code, reason = "nothing is read there: only the addresses are looked at")]
unsafe extern "C" {
    /// The ends of the table, made by the linker.
    #[link_name = "__start_linkme_POOL_CORE_0_1_0_TASKS"]
    static TABLE_START: [usize; 0];
    #[link_name = "__stop_linkme_POOL_CORE_0_1_0_TASKS"]
    static TABLE_END: [usize; 0];
    /// The ends of a table to which each declaration of the slice above adds one word.
    #[link_name = "__start_linkm2_POOL_CORE_0_1_0_TASKS"]
    static DECLARATIONS_START: [isize; 0];
    #[link_name = "__stop_linkm2_POOL_CORE_0_1_0_TASKS"]
    static DECLARATIONS_END: [isize; 0];
}

/// The reason why the table cannot be used, if there is one. Check this first: other uses of a bad table panic.
fn defect() -> Option<String> {
    let version = env!("CARGO_PKG_VERSION");
    // Both sizes come from the linker's own symbols: `TASKS.len()` divides, and panics on a table of odd size.
    let bytes = (&raw const TABLE_END).addr().wrapping_sub((&raw const TABLE_START).addr());
    let declared = (&raw const DECLARATIONS_END).addr().wrapping_sub((&raw const DECLARATIONS_START).addr());
    if declared != size_of::<isize>() {
        let copies = declared / size_of::<isize>();
        Some(format!(
            "this program holds {copies} copies of pool-core {version}, whose tables of tasks the linker has mixed; let all \
             crates depend on the same one (`cargo tree -d` shows them)"
        ))
    } else if !bytes.is_multiple_of(size_of::<Entry>()) {
        Some(format!(
            "the table of tasks has {bytes} bytes, and a task takes {}: something else of this program is in the section \
             `linkme_POOL_CORE_{}_TASKS`",
            size_of::<Entry>(),
            version.replace('.', "_")
        ))
    } else {
        None
    }
}

/// One task: a description for people, and the function by which a worker runs it.
pub struct Entry {
    info: Info,
    identity: u64,
    pub(crate) options: TaskOptions,
    pub(crate) run: fn(&mut Chunk<'_>),
    /// It opens a state, so it is no task of the user's.
    is_state: bool,
    /// None for a function that writes parts of an array.
    #[cfg(feature = "json")]
    pub(crate) json: Option<JsonForm>,
    /// None for a function that writes parts of an array, or opens a state.
    #[cfg(feature = "remote")]
    pub(crate) form: Option<Form>,
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
    pub options: TaskOptions,
    /// The types of the states that it takes.
    pub states: &'static [StateType],
}

impl Entry {
    /// `run` is the loop over a chunk's items that is made for the task's types.
    #[doc(hidden)]
    pub const fn new(info: Info, run: fn(&mut Chunk<'_>)) -> Self {
        // Computed when the program is compiled, so the check at the start hashes one word for each task.
        let name = add(add(fnv1a(info.module), "::"), info.name);
        let signature = add(add(add(name, info.args), "->"), info.output);
        let identity = (add(signature, info.file) ^ info.line as u64).wrapping_mul(FNV_PRIME);
        Entry {
            info,
            identity,
            options: info.options,
            run,
            is_state: false,
            #[cfg(feature = "json")]
            json: None,
            #[cfg(feature = "remote")]
            form: None,
        }
    }

    /// The same, for a task that other machines can run.
    #[cfg(feature = "remote")]
    #[doc(hidden)]
    #[must_use]
    pub const fn with_form(self, form: Form) -> Self {
        Entry { form: Some(form), ..self }
    }

    /// The same, for a task that can be called with JSON.
    #[cfg(feature = "json")]
    #[doc(hidden)]
    pub const fn with_json(info: Info, run: fn(&mut Chunk<'_>), json: JsonForm) -> Self {
        Entry { json: Some(json), ..Entry::new(info, run) }
    }

    /// `run` opens a state.
    #[doc(hidden)]
    pub const fn of_state(info: Info, run: fn(&mut Chunk<'_>)) -> Self {
        Entry { is_state: true, ..Entry::new(info, run) }
    }

    /// The types of the states that it takes.
    #[inline]
    pub(crate) fn states(&self) -> &'static [StateType] {
        self.info.states
    }

    /// The function's name.
    pub fn name(&self) -> &'static str {
        self.info.name
    }

    /// The path of the module that holds it.
    pub fn module(&self) -> &'static str {
        self.info.module
    }

    /// Its module and name, `module::function`, as errors call it.
    #[cold]
    pub(crate) fn path(&self) -> String {
        format!("{}::{}", self.info.module, self.info.name)
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
        // The entry is a static in the table, so its address gives its place without a search. The linker's symbol is used since
        // the slice looks for duplicates each time that it is asked.
        let offset = std::ptr::from_ref(self).addr().wrapping_sub((&raw const TABLE_START).addr());
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
/// Two may have the same name, and even the same place in the same file: each crate that includes a module has its own
/// tasks of it.
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
    // Sorted, because the linker's order differs from one build to the next.
    let mut entries: Vec<_> = TASKS.iter().filter(|entry| !entry.is_state).collect();
    entries.sort_by_key(|entry| (entry.module(), entry.name(), entry.file(), entry.line()));
    entries
}

/// A hash of the whole table in its order.
///
/// # Errors
///
/// `InvalidInput` if the table is not one of this crate's tasks alone.
pub(crate) fn fingerprint() -> Result<u64> {
    static CHECKED: OnceLock<std::result::Result<u64, String>> = OnceLock::new();
    let hash = || {
        let add_entry = |hash: u64, entry: &Entry| (hash ^ entry.identity).wrapping_mul(FNV_PRIME);
        defect().map_or_else(|| Ok(TASKS.iter().fold(FNV_OFFSET, add_entry)), Err)
    };
    // The table is a part of the executable, so one look is enough for all pools of the process.
    CHECKED.get_or_init(hash).clone().map_err(|message| Error::new(ErrorKind::InvalidInput, message))
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// The hash of a text by FNV-1a (Fowler, Noll, Vo), which can be computed at compile time and is the same in all programs.
pub(crate) const fn fnv1a(text: &str) -> u64 {
    add(FNV_OFFSET, text)
}

/// The hash of a text that goes on with this one.
const fn add(mut hash: u64, text: &str) -> u64 {
    let bytes = text.as_bytes();
    // A `const fn` has no `for` loop.
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(FNV_PRIME);
        i += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    /// The name cannot be made of the version where it stands, since `linkme` takes it as it is written.
    #[test]
    fn the_table_has_this_version_in_its_name() {
        let name = format!("POOL_CORE_{}_TASKS", env!("CARGO_PKG_VERSION").replace(['.', '-', '+'], "_"));
        let here = include_str!("table.rs");
        assert!(here.contains(&format!("pub static {name}: [Entry];")), "rename the slice to {name}");
        assert_eq!(here.matches("_TASKS\"]").count(), here.matches(&format!("{name}\"]")).count(), "and its symbols");
        assert_eq!(super::defect(), None);
    }
}
