//! The types of a task, as far as another program must know them: to send items, and to agree that the task is the same.

/// The types of one task, as far as bytes depend on them.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// The bytes of every set of arguments, if they are always as many.
    pub(crate) args_size: fn() -> Option<usize>,
    /// The bytes of every result, if they are always as many.
    pub(crate) output_size: fn() -> Option<usize>,
    /// The names of both types, as the compiler gives them.
    pub(crate) names: fn() -> [&'static str; 2],
    /// Their sizes and alignments in memory.
    pub(crate) layouts: [usize; 4],
    /// The codec of values that are no plain numbers, bytes or text.
    pub(crate) codec: &'static str,
    /// The names of the function's parameters.
    pub(crate) parameters: &'static str,
}
