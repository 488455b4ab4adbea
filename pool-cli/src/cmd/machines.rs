//! The machines that run the tasks of a command.

use std::borrow::Cow;
use std::path::Path;

use pool_core::PoolBuilder;

use super::ending::Failure;
use crate::args::Machines;

// Without the feature `redis` there is this machine alone.
impl Machines {
    /// Has these machines run the items of the pool.
    pub(crate) fn have(&self, builder: PoolBuilder) -> Result<PoolBuilder, Failure> {
        #[cfg(feature = "redis")]
        if let Some(url) = &self.redis {
            return Ok(builder.backend(pool_redis::connect(url)?));
        }
        Ok(builder)
    }

    /// Whether they are others than this one.
    pub(crate) fn are_elsewhere(&self) -> bool {
        #[cfg(feature = "redis")]
        return self.redis.is_some();
        #[cfg(not(feature = "redis"))]
        false
    }

    /// The path as workers there find it: an agent may have another working directory.
    pub(crate) fn path<'p>(&self, path: &'p Path) -> Cow<'p, Path> {
        match std::path::absolute(path) {
            Ok(path) if self.are_elsewhere() => path.into(),
            _ => path.into(),
        }
    }
}
