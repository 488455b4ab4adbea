//! The form of a task that other machines can run; the macro asks for it.

use std::any::type_name;

use crate::task::Task;
use crate::task::form::Form;

impl Form {
    /// That of `T`, of which other values `codec` encodes; its function has these `parameters`.
    pub const fn of<T: Task>(codec: &'static str, parameters: &'static str) -> Form {
        Form {
            args_size: T::args_size,
            output_size: T::output_size,
            names: || [type_name::<T::Args<'_>>(), type_name::<T::Output>()],
            layouts: [
                size_of::<T::Args<'_>>(),
                align_of::<T::Args<'_>>(),
                size_of::<T::Output>(),
                align_of::<T::Output>(),
            ],
            codec,
            parameters,
        }
    }
}
