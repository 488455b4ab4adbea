//! The settings that client and agent share.

use std::env;
use std::fs;
use std::time::Duration;

use pool_core::{Error, ErrorKind, Result, remote};
use redis::{Client, ConnectionInfo, IntoConnectionInfo};

use crate::keys::Keys;

/// The settings of one end.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) namespace: String,
    pub(crate) lease: Duration,
    pub(crate) engine_timeout: Duration,
}

impl Settings {
    pub(crate) fn new(url: &str) -> Settings {
        Settings {
            url: url.to_owned(),
            namespace: "pool".to_owned(),
            lease: Duration::from_secs(15),
            engine_timeout: Duration::from_secs(60),
        }
    }

    /// Checks them, and adds the user and the password that the environment has.
    ///
    /// # Errors
    ///
    /// The URL is none of Redis, a file cannot be read, or a setting makes no sense.
    pub(crate) fn client(&self) -> Result<Client> {
        let invalid = |text: String| remote::error(ErrorKind::InvalidInput, text);
        if self.namespace.is_empty() || self.namespace.contains(['{', '}']) {
            return Err(invalid(format!(
                "namespace {:?}: it needs at least one character, and none of `{{}}`",
                self.namespace
            )));
        }
        if self.lease < LEASE_MIN {
            return Err(invalid(format!("a lease of {:?}: at least {LEASE_MIN:?}", self.lease)));
        }
        if i64::try_from(self.lease.as_millis()).is_err() {
            return Err(invalid(format!("a lease of {:?}: Redis counts milliseconds in 63 bits", self.lease)));
        }
        if self.engine_timeout.is_zero() {
            return Err(invalid("engine_timeout of 0: nothing could run".to_owned()));
        }
        // The text of the error has no address: it may hold a password.
        let info = self.url.as_str().into_connection_info();
        let refused = |error| {
            invalid(format!("the address of Redis: {error}; write `redis://HOST`, `rediss://HOST` or `unix:///PATH`"))
        };
        Client::open(with_credentials(info.map_err(refused)?)?).map_err(refused)
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys::new(&self.namespace)
    }
}

/// Shorter ones would end while a busy machine has not let their owner run.
const LEASE_MIN: Duration = Duration::from_secs(1);

const USER: &str = "POOL_REDIS_USER";
const PASSWORD: &str = "POOL_REDIS_PASSWORD";
const PASSWORD_FILE: &str = "POOL_REDIS_PASSWORD_FILE";

/// The user and the password come from the environment or from a file: everybody on the machine can read command lines.
fn with_credentials(info: ConnectionInfo) -> Result<ConnectionInfo> {
    // Older servers have no such command, and users need no right to it.
    let mut redis = info.redis_settings().clone().set_skip_set_lib_name();
    if let Ok(user) = env::var(USER) {
        redis = redis.set_username(user);
    }
    if let Ok(password) = env::var(PASSWORD) {
        redis = redis.set_password(password);
    } else if let Ok(path) = env::var(PASSWORD_FILE) {
        let read = fs::read_to_string(&path);
        let password = read.map_err(|error| -> Error {
            remote::error(ErrorKind::InvalidInput, format!("{PASSWORD_FILE}: {path}: {error}"))
        })?;
        redis = redis.set_password(password.trim_end_matches(['\r', '\n']));
    }
    Ok(info.set_redis_settings(redis))
}
