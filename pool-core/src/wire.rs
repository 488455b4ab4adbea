//! The messages between a pool with workers on other machines and the hosts of these: data, and the trait that carries it.

mod array;
mod bytes;
mod failure;
mod hosts;
mod link;
mod messages;

pub use self::array::Array;
pub use self::failure::Failure;
pub use self::hosts::{HostInsights, HostWorker};
pub use self::link::{Backend, Link, Stop};
pub use self::messages::{Limits, Outcome, Place, Reply, Request, TaskKey};
