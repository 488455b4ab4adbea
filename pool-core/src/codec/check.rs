//! The compiler's words about types that cannot travel.
//!
//! The attribute passes the codec that method look-up has found to one of these functions. [`NoCodec`](super::NoCodec) fits
//! none of them. The functions differ in the notes of the error, and the attribute chooses by the tokens of the type.

use crate::codec::Encode;

/// A codec of values, which [`NoCodec`](super::NoCodec) is not.
pub trait Codec {}

macro_rules! checks {
    ($($check:ident, $trait:ident { $message:literal, $label:literal $(, $note:literal)* })*) => {$(
        /// The codecs of types that may stand there.
        #[diagnostic::on_unimplemented(message = $message, label = $label $(, note = $note)*)]
        pub trait $trait<T: ?Sized>: Encode<T> {}

        // Else rustc would name `Codec` as that which lacks, in place of our words.
        #[diagnostic::do_not_recommend]
        impl<T: ?Sized, C: Codec + Encode<T>> $trait<T> for C {}

        /// Checks a type. Returns the encoded size of every value of it, if all have the same size.
        // By `dyn`, since an error about a bound would show the line of that bound in this crate as well.
        #[inline]
        pub fn $check<T: ?Sized>(codec: &dyn $trait<T>) -> Option<usize> {
            codec.size()
        }
    )*};
}

checks! {
    argument_size, Argument {
        "`{T}` cannot be an argument of a pool task",
        "cannot travel to a worker process",
        "derive `serde::Serialize` and `serde::Deserialize` for a type of your own, and for what it holds",
        "many types of other crates have them behind a feature named `serde`; else pass what such a value is made of",
        "what each worker has, such as a connection, is opened by a `#[pool_state]`, and taken as `#[state] name: &T`"
    }
    argument_size_shared, SharedArgument {
        "`{T}` cannot be an argument of a pool task",
        "cannot travel to a worker process",
        "an `Arc` or `Rc` is not shared with another process: take `&T` or `T` in its place, which copies the value as well",
        "`SharedSlice` shares an array with all workers; serde's feature `rc` copies what an `Arc` holds"
    }
    argument_size_instant, InstantArgument {
        "`{T}` cannot be an argument of a pool task",
        "cannot travel to a worker process",
        "an `Instant` means something in its own process only: pass a `Duration`, or a `SystemTime`"
    }
    argument_size_open, OpenArgument {
        "`{T}` cannot be an argument of a pool task",
        "cannot travel to a worker process",
        "an open file or socket belongs to its process: pass its path or address, and open it in the task",
        "a `#[pool_state]` is opened once in each worker, and lent to tasks",
        "derive `serde::Serialize` and `serde::Deserialize` for a type of your own, and for what it holds"
    }
    argument_size_threads, ThreadsArgument {
        "`{T}` cannot be an argument of a pool task",
        "cannot travel to a worker process",
        "locks, channels and handles join the threads of one process: pass the value itself, and let the task return one",
        "a running task sends messages to its caller by `pool_core::report`",
        "derive `serde::Serialize` and `serde::Deserialize` for a type of your own, and for what it holds"
    }
    argument_size_array, ArrayArgument {
        "`{T}` cannot be an argument of a pool task",
        "cannot travel to a worker process",
        "serde knows arrays of up to 32 elements: write `Vec<T>` (of plain numbers, a longer array may stand alone, in a tuple or in a `Vec`)",
        "derive `serde::Serialize` and `serde::Deserialize` for a type of your own, and for what it holds"
    }
    argument_size_reference, ReferenceArgument {
        "`{T}` cannot be an argument of a pool task",
        "cannot travel to a worker process",
        "of the references inside of another type, only `&str`, `&[u8]` and `&Path` can be lent: write `T` for other `&T`",
        "derive `serde::Serialize` and `serde::Deserialize` for a type of your own, and for what it holds"
    }
    output_size, Outcome {
        "`{T}` cannot be the result of a pool task",
        "cannot travel back from a worker process",
        "derive `serde::Serialize` and `serde::Deserialize` for a type of your own, and for what it holds",
        "many types of other crates have them behind a feature named `serde`; else return what such a value is made of"
    }
    output_size_shared, SharedOutcome {
        "`{T}` cannot be the result of a pool task",
        "cannot travel back from a worker process",
        "an `Arc` or `Rc` is not shared with another process: return what it holds"
    }
    output_size_instant, InstantOutcome {
        "`{T}` cannot be the result of a pool task",
        "cannot travel back from a worker process",
        "an `Instant` means something in its own process only: return a `Duration`, or a `SystemTime`"
    }
    output_size_open, OpenOutcome {
        "`{T}` cannot be the result of a pool task",
        "cannot travel back from a worker process",
        "an open file or socket belongs to its process: return its path or its content",
        "derive `serde::Serialize` and `serde::Deserialize` for a type of your own, and for what it holds"
    }
    output_size_threads, ThreadsOutcome {
        "`{T}` cannot be the result of a pool task",
        "cannot travel back from a worker process",
        "locks, channels and handles join the threads of one process: return the value itself",
        "derive `serde::Serialize` and `serde::Deserialize` for a type of your own, and for what it holds"
    }
    output_size_array, ArrayOutcome {
        "`{T}` cannot be the result of a pool task",
        "cannot travel back from a worker process",
        "serde knows arrays of up to 32 elements: write `Vec<T>` (of plain numbers, a longer array may stand alone, in a tuple or in a `Vec`)",
        "derive `serde::Serialize` and `serde::Deserialize` for a type of your own, and for what it holds"
    }
    output_size_result, ResultOutcome {
        "`{T}` cannot be the result of a pool task",
        "cannot travel back from a worker process",
        "the error may be `std::io::Error`, `anyhow::Error` or `Box<dyn Error + Send + Sync>`, or a type that derives \
         `serde::Serialize` and `serde::Deserialize`",
        "of any other error return the text: `Result<T, String>` and `.map_err(|error| error.to_string())`; or \
         `anyhow::Result<T>`, into which `?` turns it",
        "the value must be one that a task can return without `Result`"
    }
}
