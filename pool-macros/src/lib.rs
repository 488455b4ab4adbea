//! The `#[pool_task]` attribute of `pool-core`, which re-exports it: use it as `pool_core::pool_task`.
//!
//! The stages are files: `args` reads the options, `item` reads the function and says why it cannot be a task, `expand`
//! writes the module beside it, `value` how one argument or result travels. All else is in `pool_core::__private`.

/// Tokens with local variables that are never those of the user, whatever their names.
macro_rules! glue {
    ($($tokens:tt)*) => { ::quote::quote_spanned!(::proc_macro2::Span::mixed_site()=> $($tokens)*) };
}

mod args;
mod attributes;
mod enclosing;
mod errors;
mod expand;
mod item;
mod json;
mod sizes;
mod state_argument;
mod states;
mod text;
mod types;
mod value;

use proc_macro::TokenStream;
use proc_macro2::{TokenStream as Tokens, TokenTree};

use crate::args::Args;
use crate::errors::Kind;
use crate::item::Function;

/// Makes a function one that a pool can run in its worker processes.
///
/// The function stays as it is. Beside it comes a module of the same name with one type in it, the *task*, which the
/// methods of a pool take:
///
/// ```ignore (pool-macros cannot depend on pool-core; the crate's first example is this one, tested)
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn count_words(text: &str) -> usize {
///     text.split_whitespace().count()
/// }
///
/// let pool = Pool::new(4)?;
/// assert_eq!(pool.apply(count_words::Task, "one two")?, 2);
/// assert_eq!(count_words("one two"), 2);
/// ```
///
/// `use` of the function's name brings both. The task is as public as the function. A link to the function in
/// documentation must say that it is meant and not the module: ``[`count_words()`]``.
///
/// The task also gets an entry in the dispatch table of the program, see `pool_core::tasks`. A function in the body of
/// another can be a task, too.
///
/// # Options
///
/// | option | meaning |
/// |---|---|
/// | `timeout = "2s"` | the limit on the time of one item, in `ms`, `s`, `m` or `h`, with a fraction if need be; an item that takes longer is killed with its worker |
/// | `grace = "500ms"` | the time that an item has to end after its limit, or after it was cancelled, before it is killed |
/// | `retries = 3` | further attempts for an item that cost its worker, or was killed by the time limit |
/// | `retry_panics` | these attempts are for an item that panicked, too |
/// | `reports` | items may report to a listener: `pool_core::report`, `AsyncResult::on_report` |
/// | `prefetch = 100` | how many items a lazy map may have out |
/// | `priority = "high"` | items of a higher priority go to workers first: `"low"`, `"normal"` or `"high"` |
/// | `codec = "cbor"` | values travel with the names of their fields (feature `cbor` of pool-core) |
/// | `crate = path` | where to find pool-core if not at `::pool_core` |
///
/// A call can set its own: `count_words::Task.timeout(limit)`.
///
/// # Arguments
///
/// Up to eight. A call takes them as a tuple; one argument is just itself and none is `()`.
///
/// | argument | in the worker |
/// |---|---|
/// | `T` | decoded |
/// | `&str`, `&[u8]`, `&Path` | lent from the memory where the job arrived, not copied |
/// | `&[T]`, `&T` | decoded and lent; the caller keeps its own, and `T` need not be `Clone` |
/// | `Option<&str>`, `(&str, u32)`, `Record<'_>` | decoded; the text within is lent |
/// | `#[state] name: &mut T`, `#[state] name: &T` | no argument of a call, but the worker's state of that type, see `PoolBuilder::state` |
///
/// Types must implement `serde::Serialize` and `serde::Deserialize`. Numbers, `bool`, `char`, arrays and tuples of
/// these, and vectors and slices of all of them travel as plain bytes, without serde, whatever the codec.
///
/// The default format has no names of fields. With `codec = "cbor"` it has, for types with serde's `untagged`, `tag`,
/// `flatten` or `skip_serializing_if`, and for `serde_json::Value`: see the section on values in the documentation of
/// pool-core.
///
/// # Parts of an array
///
/// A function that takes `part: &mut [T], offset: usize` first writes a part of a `SharedVec<T>` in place; `offset` is the index
/// of the part's first element. Its task is a `ChunkTask` for `Pool::map_chunks_mut`, and no `Task`. Up to eight more arguments are
/// the same for all parts. `timeout`, `priority` and `codec` are its options: a part that was begun is never tried again, since it may be
/// half written.
///
/// ```ignore (as above)
/// #[pool_task]
/// fn scale(part: &mut [f64], offset: usize, factor: f64) {
///     part.iter_mut().for_each(|x| *x *= factor);
/// }
///
/// pool.map_chunks_mut(scale::Task, &mut numbers, 1 << 16, 2.0)?;
/// ```
///
/// # Functions that are refused
///
/// | no task | instead |
/// |---|---|
/// | type parameters, `const` parameters, `where` | a function with concrete types that calls this one |
/// | `impl Trait`, `dyn Trait`, pointers | a concrete type; an enum for several |
/// | named lifetimes, `&'static str` | `&str`; `Record<'_>` or `Record` for a type with a lifetime |
/// | `str`, `[T]` and others of no known size | `&str`, `&[T]`; as a result `String`, `Vec<T>` |
/// | `&mut T` | take the argument by value and return it, or write a part of an array |
/// | a result that borrows | an owned one: `String` for `&str` |
/// | `-> !` | `()` |
/// | a method, with or without `self` | a free function that takes the value as its first argument |
/// | `async fn` | block on the future in a plain `fn` |
/// | `unsafe fn`, `extern fn`, `#[target_feature]` | a safe function around it |
/// | a pattern as argument | a name, taken apart in the body |
/// | more than eight arguments | a struct or a tuple for several of them |
/// | `main`, tests | a function of its own, called from there |
///
/// Not refused by the attribute but by the compiler: a type that is less public than the function; a result with a hidden
/// lifetime ("missing lifetime specifier": return a type that owns what it holds); a type with a `&'static str`
/// within, since the bytes that it is decoded from do not live that long ("must outlive `'static`": write `String` or
/// `Cow<'static, str>`); and a function beside a module of its name, since the task is in a module of that name, too (give the
/// function another one).
///
/// # Errors as results
///
/// A function may return a `Result` with any error that implements serde's traits, or with `std::io::Error`, `anyhow::Error` or
/// `Box<dyn Error + Send + Sync>`. The latter arrive as errors of the same type with the same text, the same sources, and, for
/// `io::Error`, the same kind and number; they cannot be downcast to the type that they had in the worker.
#[proc_macro_attribute]
pub fn pool_task(options: TokenStream, item: TokenStream) -> TokenStream {
    expand_with(options, item, Kind::Task, expand::expand)
}

fn expand_with(
    options: TokenStream,
    item: TokenStream,
    kind: Kind,
    expand: fn(&Function, &Args) -> Tokens,
) -> TokenStream {
    let mut item = Tokens::from(item);
    let beside = match (Args::parse(options.into(), kind), Function::parse(&item, kind)) {
        (Ok(args), Ok(function)) => args.check_for(&function).map(|()| expand(&function, &args)),
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => Err(error),
        (Err(mut error), Err(more)) => {
            error.combine(more);
            Err(error)
        }
    };
    let beside = beside.unwrap_or_else(|error| {
        // Only now: in a task without mistakes every token stays as it was written.
        item = item::without_refused(std::mem::take(&mut item), kind);
        compile_errors(&error)
    });
    // The item stays even if it cannot be a task, so that whatever else refers to it goes on.
    let item = state_argument::without_attributes(&item).unwrap_or(item);
    Tokens::from_iter([item, beside]).into()
}

/// `compile_error!` for each error. `syn` writes `::core::compile_error!`, which edition 2015 does not find.
fn compile_errors(error: &syn::Error) -> Tokens {
    let is_of_path = |token: &TokenTree| match token {
        TokenTree::Punct(punct) => punct.as_char() == ':',
        TokenTree::Ident(name) => name == "core",
        _ => false,
    };
    error.to_compile_error().into_iter().filter(|token| !is_of_path(token)).collect()
}

/// Makes a function one that opens a state of workers: a value that each worker has one of, and that tasks take as
/// `#[state] name: &mut T` or `&T`.
///
/// The function gives the state, or a `Result` of it with an error that can be shown. The state may be of any type that owns
/// all that it holds; it need be neither `Send` nor a type of serde's. Beside the function comes a module of the same name with
/// one type in it, `State`, for `PoolBuilder::state`:
///
/// ```ignore (pool-macros cannot depend on pool-core; PoolBuilder::state has an example that runs)
/// use pool_core::prelude::*;
/// use rusqlite::Connection;
///
/// #[pool_state]
/// fn open(path: &Path) -> rusqlite::Result<Connection> {
///     Connection::open(path)
/// }
///
/// #[pool_task]
/// fn count(#[state] db: &mut Connection, table: &str) -> Result<u64, String> {
///     db.query_row(table, [], |row| row.get(0)).map_err(|error| error.to_string())
/// }
///
/// let pool = Pool::builder().state(open::State, Path::new("shop.db")).build()?;
/// assert_eq!(pool.apply(count::Task, "orders")?, Ok(12));
/// ```
///
/// Its arguments are as those of a task, and so are the options `timeout`, `codec` and `crate`. A result type is told by its
/// name: one that ends in `Result`, with the state as its first type in angle brackets.
#[proc_macro_attribute]
pub fn pool_state(options: TokenStream, item: TokenStream) -> TokenStream {
    expand_with(options, item, Kind::State, states::expand)
}
