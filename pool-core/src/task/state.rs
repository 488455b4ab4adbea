//! A function with `#[pool_state]` as a [`State`], which a worker opens by a task of its own.

use std::any::{Any, TypeId, type_name};
use std::marker::PhantomData;
use std::time::Duration;

use crate::codec::CodecError;
use crate::codec::decoder::Decoder;
use crate::codec::encoder::Encoder;
use crate::codec::number_buffer::ResultBuffer;
use crate::task::options::TaskOptions;
use crate::task::table::Entry;
use crate::task::{Configured, Task};
use crate::worker::chunk::Chunk;
use crate::worker::run::run_chunk;
use crate::worker::states;

/// A function that opens a state of workers: a value that tasks find in their worker and use one after the other, such as a
/// connection to a database or a model.
///
/// Annotate a function with [`#[pool_state]`](crate::pool_state), pass its state, `the_function::State`, to
/// [`PoolBuilder::state`](crate::PoolBuilder::state), and let tasks take it as `#[state] name: &mut T` or `&T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a pool state",
    label = "not a pool state",
    note = "annotate the function that opens it with `#[pool_state]` and pass its state, `the_function::State`"
)]
pub trait State: Copy + Send + Sync + 'static {
    /// The arguments of the function, as [`Task::Args`].
    type Args<'a>;

    /// The state. Each worker has its own, and it never travels, so it needs no trait.
    type Value: 'static;

    #[doc(hidden)]
    fn entry() -> &'static Entry;

    #[doc(hidden)]
    fn args_size() -> Option<usize>;

    #[doc(hidden)]
    fn encode_args(args: &Self::Args<'_>, out: &mut Encoder<'_>) -> Result<(), CodecError>;

    /// Decodes the arguments and calls the function.
    #[doc(hidden)]
    fn open(input: Decoder<'_>) -> Result<Result<Self::Value, String>, CodecError>;

    #[doc(hidden)]
    fn options(&self) -> TaskOptions {
        Self::entry().options
    }

    /// This state with a limit on the time that it may take to open. A worker that takes longer is killed, which counts as a
    /// failed start.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_state]
    /// fn table(rows: usize) -> Vec<u64> { vec![0; rows] }
    ///
    /// #[pool_task]
    /// fn rows(#[state] table: &Vec<u64>) -> usize { table.len() }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(1).state(table::State.timeout(Duration::from_secs(60)), 10).build()?;
    /// assert_eq!(pool.apply(rows::Task, ())?, 10);
    /// # Ok(()) }
    /// ```
    fn timeout(self, limit: Duration) -> Configured<Self> {
        Configured::new(TaskOptions { timeout: Some(limit), ..self.options() })
    }
}

impl<S: State> State for Configured<S> {
    type Args<'a> = S::Args<'a>;
    type Value = S::Value;

    fn entry() -> &'static Entry {
        S::entry()
    }
    fn args_size() -> Option<usize> {
        S::args_size()
    }
    fn encode_args(args: &Self::Args<'_>, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        S::encode_args(args, out)
    }
    fn open(input: Decoder<'_>) -> Result<Result<Self::Value, String>, CodecError> {
        S::open(input)
    }
    fn options(&self) -> TaskOptions {
        self.options
    }
}

/// The task that opens a state in a worker and keeps it there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening<S>(PhantomData<fn() -> S>);

/// Runs `Opening`.
pub fn open_state<S: State>(chunk: &mut Chunk<'_>) {
    states::expect(chunk.limit_ns());
    run_chunk::<Opening<S>>(chunk);
}

impl<S: State> Task for Opening<S> {
    type Args<'a> = S::Args<'a>;
    type Output = Result<(), String>;

    fn entry() -> &'static Entry {
        S::entry()
    }
    fn args_size() -> Option<usize> {
        S::args_size()
    }
    fn encode_args(args: &Self::Args<'_>, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        S::encode_args(args, out)
    }
    fn args_into_bytes(args: Self::Args<'_>) -> Result<Vec<u8>, Self::Args<'_>> {
        Err(args)
    }
    fn invoke_raw(_: Vec<u8>) -> Result<Self::Output, CodecError> {
        Err(CodecError::new("the arguments of a state do not travel as they are"))
    }
    fn invoke(input: Decoder<'_>) -> Result<Self::Output, CodecError> {
        // A copy for opening it anew, since the request's bytes are gone by then.
        let args = input.rest.to_vec();
        let opened = S::open(input)?;
        let (of, name) = (TypeId::of::<S::Value>(), type_name::<S::Value>());
        Ok(opened.map(|value| states::keep(of, name, Box::new(value), args, open_again::<S>)))
    }
    fn output_size() -> Option<usize> {
        None
    }
    fn output_is_err(_: &Self::Output) -> bool {
        // Told by `check`, and counted with no task.
        false
    }
    fn encode_output(output: &Self::Output, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        match output {
            Ok(()) => out.put(&[]),
            // Never empty: an error without words is one, too.
            Err(error) => out.put(format!("{error} ").as_bytes()),
        }
        Ok(())
    }
    fn output_into_bytes(output: Self::Output) -> Result<Vec<u8>, Self::Output> {
        Err(output)
    }
    fn decode_output(input: Decoder<'_>) -> Result<Self::Output, CodecError> {
        let text = String::from_utf8_lossy(input.rest);
        Ok(text.strip_suffix(' ').map_or(Ok(()), |error| Err(error.to_owned())))
    }
    fn decode_raw(_: Vec<u8>) -> Result<Self::Output, CodecError> {
        Err(CodecError::new("the outcome of opening a state does not travel as it is"))
    }
    fn decode_outputs(_: &[u8], _: &mut Vec<Self::Output>) -> bool {
        false
    }
    fn result_buffer(_: usize) -> Option<Box<dyn ResultBuffer>> {
        // It is no map.
        None
    }
}

fn open_again<S: State>(input: Decoder<'_>) -> Result<Box<dyn Any>, String> {
    let opened = S::open(input).map_err(|error| error.to_string())?;
    opened.map(|value| Box::new(value) as Box<dyn Any>)
}
