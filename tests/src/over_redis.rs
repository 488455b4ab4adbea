//! A backend by way of a Redis server, with an agent in a thread: both begin and end with their pool.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pool_core::remote::{Backend, Link, Reply, Request, Stop, TaskKey};
use pool_core::{PoolBuilder, Result};
use redis::{Client, Commands};

use crate::procs::eventually;

/// The way there.
pub struct OverRedis {
    pool: Mutex<Option<PoolBuilder>>,
    workers: usize,
}

impl OverRedis {
    /// To an agent with this pool.
    pub fn new(pool: PoolBuilder, workers: usize) -> OverRedis {
        OverRedis { pool: Mutex::new(Some(pool)), workers }
    }
}

impl fmt::Debug for OverRedis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverRedis").field("workers", &self.workers).finish_non_exhaustive()
    }
}

/// Whether this machine has a server.
pub fn is_installed() -> bool {
    static IS_INSTALLED: OnceLock<bool> = OnceLock::new();
    *IS_INSTALLED.get_or_init(|| {
        let mut command = Command::new("redis-server");
        let status = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    })
}

/// The server, in a folder of its own.
struct Server {
    folder: PathBuf,
    process: Child,
}

impl Server {
    fn start() -> Server {
        // A check may have several pools.
        static COUNT: Mutex<u32> = Mutex::new(0);
        let mut count = COUNT.lock().expect("nobody panics");
        *count += 1;
        let folder = std::env::temp_dir().join(format!("pool-over-redis-{}-{count}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("a folder for the server");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--unixsocket", "socket", "--save", "", "--dir"]).arg(&folder);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it was found before");
        Server { folder, process }
    }

    fn url(&self) -> String {
        format!("unix://{}", self.folder.join("socket").display())
    }

    fn has_agent(&self) -> bool {
        let connection = Client::open(self.url()).and_then(|client| client.get_connection());
        connection.and_then(|mut server| server.keys("*agents")).is_ok_and(|keys: Vec<String>| !keys.is_empty())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The open way.
struct Beyond {
    link: Option<Arc<dyn Link>>,
    workers: usize,
    stop: Stop,
    agent: Option<JoinHandle<Result<()>>>,
    server: Option<Server>,
}

impl Backend for OverRedis {
    fn open(&self, tasks: &[TaskKey]) -> Result<Arc<dyn Link>> {
        let pool = self.pool.lock().expect("nobody panics").take().expect("a pool is built once");
        let (server, stop) = (Server::start(), Stop::new());
        let url = server.url();
        assert!(
            eventually(|| Client::open(server.url()).is_ok_and(|client| client.get_connection().is_ok())),
            "a server"
        );
        // Once the server is away nothing is left to wait for.
        let agent = pool_redis::agent(&url).pool(pool).engine_timeout(Duration::from_secs(1));
        let for_agent = stop.clone();
        let agent = Some(thread::spawn(move || agent.run_until(&for_agent)));
        let mut beyond = Beyond { link: None, workers: self.workers, stop, agent, server: Some(server) };
        let has_agent = || beyond.server.as_ref().is_some_and(Server::has_agent);
        assert!(eventually(has_agent), "the agent does not come up");
        beyond.link = Some(pool_redis::connect(&url)?.open(tasks)?);
        Ok(Arc::new(beyond))
    }
}

impl Link for Beyond {
    fn capacity(&self) -> usize {
        // As many as the other kinds of pools have, so that checks may count on it.
        self.workers
    }

    fn run(&self, request: &Request, stop: &Stop) -> Result<Reply> {
        self.link.as_ref().expect("it is open").run(request, stop)
    }
}

impl Drop for Beyond {
    fn drop(&mut self) {
        self.link = None;
        self.stop.set();
        // First, or the agent would wait for its last pop.
        self.server = None;
        let agent = self.agent.take().expect("it is joined once");
        // An error if an outcome was left that nobody waits for.
        let _ = agent.join().expect("an agent does not panic");
    }
}
