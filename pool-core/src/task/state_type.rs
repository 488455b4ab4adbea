//! Types of states, as tasks name them.

use std::any::TypeId;

/// The type of a state, as a task names it that takes one.
#[derive(Clone, Copy, Debug)]
pub struct StateType {
    id: TypeId,
    name: &'static str,
}

impl StateType {
    /// The type `T`, as written.
    pub const fn of<T: 'static>(name: &'static str) -> Self {
        StateType { id: TypeId::of::<T>(), name }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}

impl PartialEq for StateType {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// The first type that is `taken` and not `given`.
#[inline]
pub(crate) fn missing(taken: &[StateType], given: &[StateType]) -> Option<StateType> {
    taken.iter().find(|taken| !given.contains(taken)).copied()
}

/// Says of a task that the pool has no such state.
#[cold]
pub(crate) fn lacks(missing: StateType) -> String {
    let name = missing.name;
    format!(
        "takes a state of type `{name}`, and the pool has none: add the function that opens it with `PoolBuilder::state`"
    )
}
