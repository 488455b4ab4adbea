//! `agent`, and the commands that take `--redis`; nothing is tested where there is no server.

#[path = "../../../pool-redis/src/simulation/real_server.rs"]
mod real_server;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use self::real_server::RealServer;
use crate::cli::{finish, pool_cli, run};
use crate::tree::Tree;

#[test]
fn an_agent_runs_the_tasks_of_the_other_commands() {
    let Some(server) = RealServer::start("pool-cli-redis") else {
        eprintln!("`agent` was not tested: this machine has no redis-server");
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
