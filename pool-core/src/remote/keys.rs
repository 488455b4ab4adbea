//! The keys of the program's tasks.

use crate::task::table::{Entry, fnv1a};
use crate::wire::TaskKey;

/// The key of a task; `None` if other machines cannot run it: it opens a state, or writes parts of an array.
pub(crate) fn key(entry: &Entry) -> Option<TaskKey> {
    let form = entry.form.as_ref()?;
    let [args, output] = (form.names)();
    let sizes = [(form.args_size)(), (form.output_size)()];
    // Plain values travel as they lie in memory, which depends on the machine; the format of all else is this version's.
    let machine = (usize::BITS, cfg!(target_endian = "little"), env!("CARGO_PKG_VERSION"));
    // Two parameters of one type that changed places would be no other types.
    let text =
        format!("({}): {args} -> {output} {sizes:?} {:?} {} {machine:?}", form.parameters, form.layouts, form.codec);
    Some(TaskKey { name: entry.path(), signature: fnv1a(&text) })
}
