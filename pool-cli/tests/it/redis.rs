//! `agent`, and the commands that take `--redis`; nothing is tested where there is no server.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cli::{WATCHDOG, finish, pool_cli, run};
use crate::tree::Tree;

/// A server in a folder of its own; both go when this is dropped.
struct Server {
    child: Child,
    folder: PathBuf,
}

impl Server {
    /// None, and a line that says so, if there is no server on this machine.
    fn start() -> Option<Server> {
        let folder = std::env::temp_dir().join(format!("pool-cli-redis-{}", std::process::id()));
        // Left by a test of the same process number that was killed.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("a folder");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--unixsocket", "socket", "--save", "", "--dir"]).arg(&folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY:
        // - prctl is a system call, which a child between fork and exec may make.
        unsafe {
            command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGKILL).map_err(Into::into));
        }
        let Ok(child) = command.spawn() else {
            fs::remove_dir_all(&folder).expect("the folder");
            eprintln!("`agent` was not tested: this machine has no redis-server");
            return None;
        };
        let server = Server { child, folder };
        let begun = Instant::now();
        while !server.folder.join("socket").exists() {
            assert!(begun.elapsed() < WATCHDOG, "the server does not start");
            sleep(Duration::from_millis(5));
        }
        Some(server)
    }

    fn url(&self) -> String {
        format!("unix://{}", self.folder.join("socket").display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn an_agent_runs_the_tasks_of_the_other_commands() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let agent = pool_cli(["agent", "--redis", &url, "--workers", "2"]).spawn().expect("it starts");
    let tree = Tree::new("redis");
    tree.file("a", b"a");
    tree.file("b/c", b"c");
    let hash =
        |arguments: &[&str]| run(pool_cli(["hash"]).args(arguments).arg(".").current_dir(tree.path())).expect_code(0);
    // The agent has another working directory.
    let (far, near) = (hash(&["--redis", &url]), hash(&[]));
    assert_eq!(far.text(), near.text());
    kill(Pid::from_raw(agent.id() as i32), Signal::SIGTERM).expect("it runs");
    let agent = finish(agent).expect_code(0);
    assert_eq!((agent.text(), agent.err.as_str()), ("", ""));
}

#[test]
fn a_server_that_is_not_there_is_named() {
    for command in [&["run", "square"][..], &["hash", "."]] {
        let outcome = run(pool_cli(command).args(["--redis", "unix:///nowhere"])).expect_code(1);
        assert!(outcome.err.contains("connecting: Redis: "), "{}", outcome.err);
    }
    run(&mut pool_cli(["run", "square", "--redis", "nonsense"])).expect_code(2);
}
