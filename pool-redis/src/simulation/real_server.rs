//! A Redis server of a test, on a Unix socket. The tests of pool-cli include this file, too, so it needs the standard library alone.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A server in a folder of its own; both go when this is dropped.
pub(crate) struct RealServer {
    child: Child,
    folder: PathBuf,
}

/// A server that does not start is a failure then.
const WATCHDOG: Duration = Duration::from_secs(60);

impl RealServer {
    /// None if this machine has no server. The `name` is the test's own.
    pub(crate) fn start(name: &str) -> Option<RealServer> {
        let is_installed = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok();
        if !is_installed {
            return None;
        }
        let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        // Left by a test of the same process number that was killed.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("a folder");
        // `setpriv` has the kernel end it if this process is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "redis-server", "--port", "0", "--unixsocket", "socket", "--save", ""]);
        command.args(["--hz", "500", "--dir"]).arg(&folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = RealServer { child: command.spawn().expect("setpriv starts"), folder };
        let begun = Instant::now();
        while UnixStream::connect(server.folder.join("socket")).is_err() {
            assert!(begun.elapsed() < WATCHDOG, "the server does not start");
            sleep(Duration::from_millis(5));
        }
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.folder.join("socket").display())
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
