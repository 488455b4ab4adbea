//! A Redis server of a check: on a Unix socket in a folder of its own, and gone with the check.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use redis::{Client, Commands, Connection, ErrorKind, ServerErrorKind};
use tests::procs::{self, eventually};

/// The server.
pub(crate) struct Server {
    folder: PathBuf,
    child: Child,
}

/// The data of a server that starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    Kept,
    Lost,
}

/// Arguments of the server in a folder of its own.
const OPTIONS: [&str; 16] = [
    "--port",
    "0",
    "--unixsocket",
    "socket",
    "--aclfile",
    "users.acl",
    "--save",
    "",
    "--loglevel",
    "warning",
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--busy-reply-threshold",
    "50",
];

/// The lease in all checks: as short as may be.
pub(crate) const LEASE: Duration = Duration::from_secs(1);

/// The socket beside the server's, by which bytes can get lost.
pub(crate) const BY_PROXY: &str = "by_proxy";

/// Whether this machine has a server.
pub(crate) fn is_installed() -> bool {
    let version = Command::new("redis-server").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// The folder of the server that this check has started.
fn folder_of(check: u32) -> PathBuf {
    std::env::temp_dir().join(format!("pool-redis-{check}"))
}

/// The address of the server that the check has started of which this process is a program.
pub(crate) fn url_of_parent(user: &str) -> String {
    url(&folder_of(std::os::unix::process::parent_id()), user)
}

fn url(folder: &std::path::Path, user: &str) -> String {
    format!("unix://{}?user={user}&pass=change-me", folder.join("socket").display())
}

impl Server {
    pub(crate) fn start() -> Server {
        let folder = folder_of(std::process::id());
        // Left by a check of the same process number that was killed.
        let _ = fs::remove_dir_all(&folder);
        make(&folder);
        let child = launch(&folder, &[]);
        let server = Server { folder, child };
        server.wait();
        server
    }

    fn wait(&self) {
        let answers = || self.try_connect().is_some_and(|mut server| server.ping::<String>().is_ok());
        assert!(eventually(answers), "the server does not answer");
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    pub(crate) fn url(&self) -> String {
        self.url_of("pool-client")
    }

    /// The address for one of the users.
    pub(crate) fn url_of(&self, user: &str) -> String {
        url(&self.folder, user)
    }

    fn try_connect(&self) -> Option<Connection> {
        Client::open(url(&self.folder, "check")).expect("an address").get_connection().ok()
    }

    pub(crate) fn connection(&self) -> Connection {
        self.try_connect().expect("a running server")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        procs::signal(self.child.id(), signal);
    }

    /// Kills it; it stays away until it is started again.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is our child");
    }

    pub(crate) fn start_again(&mut self, data: Data) {
        if data == Data::Lost {
            fs::remove_dir_all(self.folder.join("appendonlydir")).expect("its data");
        }
        self.child = launch(&self.folder, &[]);
        self.wait();
    }

    /// Kills it and starts it again so that it takes long to load its data. Returns when it answers.
    pub(crate) fn load_slowly(&mut self) {
        // A delay for each command that the server has noted in its log.
        let mut commands = redis::pipe();
        for field in 0..20_000 {
            commands.hset("filler", field, 0).ignore();
        }
        commands.expire("filler", 600).exec(&mut self.connection()).expect("an answer");
        self.kill();
        self.child = launch(&self.folder, &["--key-load-delay", "100"]);
        let loads = || {
            let client = Client::open(url(&self.folder, "check")).expect("an address");
            let answer = client.get_connection().and_then(|mut server| server.ping::<String>());
            answer.is_err_and(|error| error.kind() == ErrorKind::Server(ServerErrorKind::BusyLoading))
        };
        assert!(eventually(loads), "the server is not seen to load its data");
        self.wait();
        self.connection().del::<_, ()>("filler").expect("an answer");
    }

    /// A replica is promoted and takes the server's place, which is gone.
    pub(crate) fn fail_over(&mut self) {
        let mut connection = self.connection();
        // Replicas come by TCP alone. The port is free at this moment.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        redis::cmd("CONFIG").arg("SET").arg("port").arg(port).exec(&mut connection).expect("an answer");
        let folder = self.folder.join("replica");
        make(&folder);
        let port = port.to_string();
        let options = ["--replicaof", "127.0.0.1", &port, "--masteruser", "check", "--masterauth", "change-me"];
        let child = launch(&folder, &options);
        let connect = || Client::open(url(&folder, "check")).expect("an address").get_connection().ok();
        let follows = || {
            let info = connect()
                .and_then(|mut replica| redis::cmd("INFO").arg("replication").query::<String>(&mut replica).ok());
            info.is_some_and(|info| info.contains("master_link_status:up"))
        };
        assert!(eventually(follows), "the replica does not follow");
        self.kill();
        redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec(&mut connect().expect("a replica")).expect("an answer");
        fs::rename(folder.join("socket"), self.folder.join("socket")).expect("the socket of the replica");
        self.child = child;
        self.wait();
    }

    /// The number of requests that no agent has.
    pub(crate) fn queued(&self) -> usize {
        let mut connection = self.connection();
        let queues: Vec<String> = connection.keys("*:queue:*").expect("keys");
        queues.iter().map(|queue| connection.zcard::<_, usize>(queue).expect("a number")).sum()
    }

    /// The names of the keys, each of which must expire.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut connection = self.connection();
        let keys: Vec<String> = connection.keys("*").expect("keys");
        for key in &keys {
            let ms: i64 = connection.pttl(key).expect("a time");
            // -2: it has expired since.
            assert!(ms >= 0 || ms == -2, "{key} does not expire");
        }
        keys
    }

    /// Everything expires, or is deleted.
    pub(crate) fn assert_empties(&self) {
        assert!(eventually(|| self.keys().is_empty()), "left in Redis: {:?}", self.keys());
    }
}

/// Makes the folder of a server.
fn make(folder: &std::path::Path) {
    fs::create_dir(folder).expect("a folder for the server");
    // The rights that the documentation gives to clients and agents, and a user of the checks.
    let users = include_str!("../../../pool-redis/examples/users.acl");
    fs::write(folder.join("users.acl"), format!("{users}user check on >change-me ~* &* +@all\n")).expect("a file");
}

fn launch(folder: &std::path::Path, options: &[&str]) -> Child {
    let mut command = Command::new("redis-server");
    command
        .args(OPTIONS)
        .args(["--logfile", "log"])
        .args(options)
        .arg("--dir")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // SAFETY:
    // - prctl is a system call, which a child between fork and exec may make.
    unsafe {
        command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGKILL).map_err(Into::into));
    }
    command.spawn().expect("the server was found before")
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
