//! Options of a task that has some already, and such a task as a [`Task`].

use std::time::Duration;

use crate::codec::CodecError;
use crate::codec::decoder::Decoder;
use crate::codec::encoder::Encoder;
use crate::codec::number_buffer::ResultBuffer;
use crate::priority::Priority;
use crate::task::table::Entry;
use crate::task::{Configured, Task, TaskOptions};

macro_rules! options {
    ($($option:ident($($argument:ident: $type:ty)?) sets $field:ident = $value:expr;)*) => {
        // Not the trait's methods, which would make a `Configured<Configured<T>>`.
        impl<T: Task> Configured<T> {$(
            #[doc = concat!("See [`Task::", stringify!($option), "`].")]
            pub fn $option(mut self $(, $argument: $type)?) -> Self {
                self.options.$field = $value;
                self
            }
        )*}
    };
}
options! {
    timeout(limit: Duration) sets timeout = Some(limit);
    grace(time: Duration) sets grace = Some(time);
    retries(retries: u32) sets retries = Some(retries);
    retry_panics() sets retry_panics = true;
    chunk_size(items: usize) sets chunk_size = Some(items);
    prefetch(items: usize) sets prefetch = Some(items);
    priority(priority: Priority) sets priority = priority;
    max_concurrent(items: usize) sets max_concurrent = Some(items);
    reports() sets reports = true;
    label(label: &'static str) sets label = Some(label);
    seed(seed: u64) sets seed = Some(seed);
}

impl<T: Task> Configured<T> {
    /// The task with the options that it has.
    pub(super) fn of(task: T) -> Self {
        Configured::new(task.options())
    }
}

impl<T: Task> Task for Configured<T> {
    type Args<'a> = T::Args<'a>;
    type Output = T::Output;

    fn entry() -> &'static Entry {
        T::entry()
    }
    fn args_size() -> Option<usize> {
        T::args_size()
    }
    fn encode_args(args: &Self::Args<'_>, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        T::encode_args(args, out)
    }
    fn args_into_bytes(args: Self::Args<'_>) -> Result<Vec<u8>, Self::Args<'_>> {
        T::args_into_bytes(args)
    }
    fn invoke(input: Decoder<'_>) -> Result<Self::Output, CodecError> {
        T::invoke(input)
    }
    fn invoke_raw(bytes: Vec<u8>) -> Result<Self::Output, CodecError> {
        T::invoke_raw(bytes)
    }
    fn output_is_err(output: &Self::Output) -> bool {
        T::output_is_err(output)
    }
    fn output_size() -> Option<usize> {
        T::output_size()
    }
    fn encode_output(output: &Self::Output, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        T::encode_output(output, out)
    }
    fn output_into_bytes(output: Self::Output) -> Result<Vec<u8>, Self::Output> {
        T::output_into_bytes(output)
    }
    fn decode_output(input: Decoder<'_>) -> Result<Self::Output, CodecError> {
        T::decode_output(input)
    }
    fn decode_raw(bytes: Vec<u8>) -> Result<Self::Output, CodecError> {
        T::decode_raw(bytes)
    }
    fn decode_outputs(bytes: &[u8], values: &mut Vec<Self::Output>) -> bool {
        T::decode_outputs(bytes, values)
    }
    fn result_buffer(items: usize) -> Option<Box<dyn ResultBuffer>> {
        T::result_buffer(items)
    }
    fn options(&self) -> TaskOptions {
        self.options
    }
    fn own_options(&self) -> Option<&TaskOptions> {
        Some(&self.options)
    }
}
