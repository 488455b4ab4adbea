//! What a server knows of its clients, agents and jobs at one moment, for people and for other programs.

mod look;
mod table;
mod view;

use pool_core::Result;

use self::look::Look;
pub use self::view::{Cluster, Host, Queue};
use crate::settings::Settings;

/// Looks at what runs at this server: hosts, workers, queues, running and lost jobs. Reads only, so each user may have the right to it.
///
/// The address is as for [`connect`](crate::connect), and so are user and password. It finds queues and clients among all keys of
/// the database, so in one with a million others it takes as long as a `SCAN` of these.
///
/// # Errors
///
/// The address is none, or the server does not answer or refuses the user.
///
/// # Examples
///
/// ```no_run
/// let cluster = pool_redis::cluster("redis://10.0.0.7")?;
/// println!("{cluster}");
/// let idle = cluster.hosts.iter().filter(|host| host.running == Some(0)).count();
/// let waiting: u64 = cluster.queues.iter().map(|queue| queue.waiting).sum();
/// println!("{idle} idle hosts, {waiting} jobs wait");
/// # Ok::<(), pool_core::Error>(())
/// ```
pub fn cluster(url: &str) -> Result<Cluster> {
    Cluster::in_namespace(url, "pool")
}

impl Cluster {
    /// As [`cluster`], for clients and agents of another [namespace](crate::Connect::namespace).
    ///
    /// # Errors
    ///
    /// As of [`cluster`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// println!("{}", pool_redis::Cluster::in_namespace("redis://10.0.0.7", "nightly")?);
    /// # Ok::<(), pool_core::Error>(())
    /// ```
    pub fn in_namespace(url: &str, namespace: &str) -> Result<Cluster> {
        let settings = Settings { namespace: namespace.to_owned(), ..Settings::new(url) };
        Look::new(&settings)?.take().map_err(|trouble| trouble.error("looking at the cluster"))
    }
}
