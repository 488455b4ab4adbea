//! What every process of a pool needs of the kernel: panics, signals, exits, and telling itself from its copies.

pub(crate) mod exit;
pub(crate) mod fork_check;
pub(crate) mod last_words;
pub(crate) mod memory_limit;
pub(crate) mod oom_kills;
pub(crate) mod output;
pub(crate) mod panic;
pub(crate) mod pidfd;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod stack;
