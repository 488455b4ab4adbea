//! A Redis server of a measurement, on a Unix socket in a folder of its own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::{Client, Connection, RedisResult};

/// Whether this machine has a server.
pub(crate) fn is_installed() -> bool {
    let mut command = Command::new("redis-server");
    let status = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

pub(super) struct Server {
    folder: PathBuf,
    process: Child,
}

impl Server {
    pub(super) fn start() -> std::io::Result<Server> {
        let folder = std::env::temp_dir().join(format!("bench-redis-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let mut command = Command::new("redis-server");
        // A socket of its own, since a port may be taken; without a file, or the disk would be measured.
        command.args(["--port", "0", "--unixsocket", "socket", "--save", "", "--dir"]).arg(&folder);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let server = Server { folder, process };
        for _ in 0..1_000 {
            if server.connect().is_ok() {
                return Ok(server);
            }
            // It says nowhere that it is ready.
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(std::io::Error::other("redis-server does not come up"))
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    pub(super) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub(super) fn folder(&self) -> &PathBuf {
        &self.folder
    }

    pub(super) fn connect(&self) -> RedisResult<Connection> {
        Client::open(self.url())?.get_connection()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
