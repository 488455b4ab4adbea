//! The nesting of one value, and the first limit that it passed.

use std::fmt;

use crate::codec::error::CodecError;
use crate::process::stack;

/// How deep options, enums, sequences and maps may be nested in a value. Structs, tuples and boxes do not count: a type
/// that contains itself does so through one of the four, or its values would have no end.
///
/// Deep enough for a list of as many boxes (JSON parsers stop at 128). An unoptimized build takes 1 to 4 KiB of stack
/// for each level of a small type, so in a thread of 2 MiB this limit comes before that of the stack: half of the free
/// stack, since the other half is for the level that is about to begin, and for the caller.
pub(crate) const DEPTH_MAX: u32 = 256;

/// Elements, of all sequences and maps of a value together, that may take no bytes. More than anybody sends in earnest,
/// since they say nothing but their number; few enough to be counted in a moment.
pub(crate) const EMPTY_ELEMENTS_MAX: usize = 1 << 16;

/// Copies of a large value that are under way on the stack while it is decoded: those of serde and of the formats, each
/// function of which hands the value to its caller.
pub(crate) const COPIES: usize = if cfg!(debug_assertions) { 16 } else { 6 };

/// How deep the place that is being read or written is nested, and the first limit that the value passed. The limits of
/// reading and of writing have it in common.
#[derive(Debug)]
pub(crate) struct Nesting {
    /// Options, enums, sequences and maps around the place.
    depth: u32,
    stack: Stack,
    excess: Option<Excess>,
}

impl Nesting {
    #[inline]
    pub(super) fn new() -> Self {
        Nesting { depth: 0, stack: Stack::UNKNOWN, excess: None }
    }

    #[inline(always)]
    pub(crate) fn is_exceeded(&self) -> bool {
        self.excess.is_some()
    }

    /// The limit that was passed. It counts even where the value was read, because an implementation of `Deserialize` may
    /// have swallowed the error.
    #[inline]
    pub(crate) fn excess(&self) -> Option<CodecError> {
        self.excess.map(refused)
    }

    /// True if [`enter`](Nesting::enter) would let pass without a closer look.
    #[inline(always)]
    pub(crate) fn may_enter(&self) -> bool {
        self.stack.may_enter(self.depth)
    }

    /// One level of nesting begins.
    #[inline(always)]
    pub(crate) fn enter(&mut self) -> Result<(), CodecError> {
        // Two comparisons inline. The first nested value fails the second one, and measures the stack.
        if self.stack.may_enter(self.depth) {
            self.depth += 1;
            return Ok(());
        }
        self.enter_slowly()
    }

    #[cold]
    #[inline(never)]
    fn enter_slowly(&mut self) -> Result<(), CodecError> {
        match self.stack.look(self.depth) {
            Ok(()) => self.depth += 1,
            Err(excess) => return Err(self.refuse(excess)),
        }
        Ok(())
    }

    /// The level ends.
    #[inline(always)]
    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    #[cold]
    #[inline(never)]
    pub(super) fn refuse(&mut self, excess: Excess) -> CodecError {
        // The words are made later: this error may be swallowed, and then the excess speaks for it.
        self.excess = Some(excess);
        CodecError::new("past a limit")
    }
}

/// The part of the stack that a value may take: half of the stack that is free when the first nested value begins.
#[derive(Debug)]
struct Stack {
    /// The lowest stack pointer that a nested value may have. As long as nothing is nested it is higher than any, so that
    /// one comparison tells both, and a flat value never asks for the stack.
    floor: usize,
}

impl Stack {
    const UNKNOWN: Stack = Stack { floor: usize::MAX };

    /// True if a value may be nested one level deeper than `depth`.
    #[inline(always)]
    fn may_enter(&self, depth: u32) -> bool {
        depth < DEPTH_MAX && stack::pointer() >= self.floor
    }

    /// The same where the floor is not known, or has been passed.
    fn look(&mut self, depth: u32) -> Result<(), Excess> {
        if depth == DEPTH_MAX {
            return Err(Excess::Depth);
        }
        let (pointer, left) = (stack::pointer(), stack::left());
        // Measured at the first nested value, not before: a flat value is read faster than the bounds of the stack.
        if self.floor == usize::MAX {
            self.floor = pointer - left / 2;
            return Ok(());
        }
        // As much is below the floor as may be used above it.
        let half = (self.floor - pointer) + left;
        Err(Excess::Stack { depth, stack_bytes: half * 2 })
    }
}

/// The limit that a value passed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Excess {
    Depth,
    /// Half of the stack is taken.
    Stack {
        depth: u32,
        stack_bytes: usize,
    },
    /// One value is too large for the rest of the stack.
    Large {
        bytes: usize,
        stack_bytes: usize,
    },
    /// More elements are claimed than the bytes can hold.
    Elements {
        claimed: usize,
        bytes: usize,
    },
    /// More elements than may be took no bytes when they were encoded.
    EmptyElements,
    /// The value was longer than its length can say when it was encoded.
    Bytes,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Excess::Depth => write!(f, "nested deeper than {DEPTH_MAX} levels"),
            Excess::Stack { depth, stack_bytes } => write!(
                f,
                "nested values that take more than {} bytes of stack within {depth} levels, half of what this thread has \
                 left: use a thread with more stack, or nest less",
                stack_bytes / 2
            ),
            Excess::Large { bytes, stack_bytes } => write!(
                f,
                "a value of {bytes} bytes, of which up to {COPIES} copies are made, in a thread with {stack_bytes} bytes \
                 of stack left: use a thread with more stack, or a `Vec`"
            ),
            Excess::Elements { claimed, bytes } => {
                write!(f, "{claimed} elements in {bytes} bytes, where at most {EMPTY_ELEMENTS_MAX} take none")
            }
            Excess::EmptyElements => {
                write!(f, "more than {EMPTY_ELEMENTS_MAX} elements that take no bytes: send their number instead")
            }
            Excess::Bytes => write!(f, "a value is longer than the limit of {} bytes", u32::MAX),
        }
    }
}

#[cold]
pub(super) fn refused(excess: Excess) -> CodecError {
    CodecError::new(excess.to_string())
}
