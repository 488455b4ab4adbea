//! The operating system, as all processes of a pool use it: signals, exits, output, stacks, panics and forks. Together with
//! `launch/` and `pool_ipc` it holds every system call, so another system is another set of these files.

pub(crate) mod death;
pub(crate) mod environment;
pub(crate) mod exit;
pub(crate) mod fork_check;
pub(crate) mod last_words;
pub(crate) mod memory_limit;
pub(crate) mod oom_kills;
pub(crate) mod output;
pub(crate) mod output_pipes;
pub(crate) mod panic;
pub(crate) mod pidfd;
pub(crate) mod poll;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod stack;
pub(crate) mod standing;
