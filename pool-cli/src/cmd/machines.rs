//! The machines that run the tasks of a command.

use std::borrow::Cow;
use std::path::Path;

use pool_core::PoolBuilder;

use super::ending::Failure;
use crate::args::Machines;

#[cfg(feature = "redis")]
impl Machines {
    /// Has these machines run the items of the pool.
    pub(crate) fn have(&self, builder: PoolBuilder) -> Result<PoolBuilder, Failure> {
        match &self.redis {
            Some(url) => Ok(builder.backend(pool_redis::connect(url)?)),
            None => Ok(builder),
        }
    }

    /// The path as workers there find it: an agent may have another working directory.
    pub(crate) fn path<'p>(&self, path: &'p Path) -> Cow<'p, Path> {
        match self.redis.is_some().then(|| std::path::absolute(path)) {
            Some(Ok(path)) => path.into(),
            _ => path.into(),
        }
    }
}

#[cfg(not(feature = "redis"))]
impl Machines {
    /// There is this machine alone.
    pub(crate) fn have(&self, builder: PoolBuilder) -> Result<PoolBuilder, Failure> {
        Ok(builder)
    }

    pub(crate) fn path<'p>(&self, path: &'p Path) -> Cow<'p, Path> {
        path.into()
    }
}
