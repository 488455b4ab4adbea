//! `agent`, and the commands that take `--redis`; nothing is tested where there is no server.

#[path = "../../../pool-redis/src/simulation/real_server.rs"]
mod real_server;

use std::fs::{self, File};
use std::io::{Cursor, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use image::{ImageFormat, Rgb, RgbImage};
use nix::pty::{OpenptyResult, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use self::real_server::RealServer;
use crate::cli::{WATCHDOG, finish, pool_cli, run};
use crate::tree::Tree;

/// An agent at a server of its own.
struct Machine {
    agent: Child,
    server: RealServer,
}

impl Machine {
    /// None if this machine has no server, which is said. The `name` is the test's own.
    fn start(name: &str, options: &[&str]) -> Option<Machine> {
        let Some(server) = RealServer::start(&format!("pool-cli-{name}")) else {
            eprintln!("{name} was not tested: this machine has no redis-server");
            return None;
        };
        let mut agent = pool_cli(["agent", "--redis", &server.url(), "--workers", "2"]);
        Some(Machine { agent: agent.args(options).spawn().expect("it starts"), server })
    }

    fn url(&self) -> String {
        self.server.url()
    }

    /// Waits for the agent, and for words in the picture of the cluster.
    fn wait_for_cluster(&self, words: &str) -> String {
        let begun = Instant::now();
        loop {
            let outcome = run(&mut pool_cli(["cluster", "--redis", &self.url()])).expect_code(0);
            if outcome.text().contains(words) {
                return outcome.text().to_owned();
            }
            assert!(begun.elapsed() < WATCHDOG, "no {words:?} in\n{}", outcome.text());
            sleep(Duration::from_millis(20));
        }
    }

    /// Ends the agent, which must say nothing.
    fn end(self) {
        kill(Pid::from_raw(self.agent.id() as i32), Signal::SIGTERM).expect("it runs");
        let agent = finish(self.agent).expect_code(0);
        assert_eq!((agent.text(), agent.err.as_str()), ("", ""));
    }
}

#[test]
fn an_agent_runs_the_tasks_of_the_other_commands() {
    let Some(machine) = Machine::start("hash", &[]) else { return };
    let url = machine.url();
    let tree = Tree::new("redis");
    tree.file("a", b"a");
    tree.file("b/c", b"c");
    let hash =
        |arguments: &[&str]| run(pool_cli(["hash"]).args(arguments).arg(".").current_dir(tree.path())).expect_code(0);
    // The agent has another working directory.
    let (far, near) = (hash(&["--redis", &url]), hash(&[]));
    assert_eq!(far.text(), near.text());
    machine.end();
}

#[test]
fn images_are_sent_to_the_agent() {
    let Some(machine) = Machine::start("thumbs", &["--memory", "256M"]) else { return };
    let (url, tree) = (machine.url(), Tree::new("redis-thumbs"));
    let mut png = Cursor::new(Vec::new());
    RgbImage::from_pixel(300, 200, Rgb([7, 8, 9])).write_to(&mut png, ImageFormat::Png).unwrap();
    let png = png.into_inner();
    tree.file("photos/a.png", &png);
    tree.file("photos/b/c.png", &png);
    tree.file("photos/b/half.png", &png[..png.len() / 2]);
    tree.file("photos/none.jpg", b"no image");
    let thumbs = |out: &str, options: &[&str]| {
        let mut command = pool_cli(["thumbs", "photos", "--out", out]);
        run(command.args(options).current_dir(tree.path()))
    };
    let (far, near) = (thumbs("far", &["--redis", &url]).expect_code(1), thumbs("near", &[]).expect_code(1));
    assert_eq!(far.text(), near.text());
    assert!(far.text().ends_with("2 thumbnails, 2 failed\n"), "{}", far.text());
    for name in ["a.png", "b/c.png"] {
        let of = |out: &str| fs::read(tree.path().join(out).join(name)).unwrap();
        assert_eq!(of("far"), of("near"), "{name}");
    }
    let refused = thumbs("far", &["--redis", &url, "--memory", "1G"]).expect_code(2);
    assert!(refused.err.contains("give it to `pool-cli agent`"), "{}", refused.err);
    machine.end();
}

#[test]
fn rows_of_an_image_come_from_the_agent() {
    let Some(machine) = Machine::start("mandelbrot", &[]) else { return };
    let (url, tree) = (machine.url(), Tree::new("redis-mandelbrot"));
    let draw = |out: &str, options: &[&str]| {
        let mut command = pool_cli(["mandelbrot", "--size", "70x45", "--out", out]);
        run(command.args(options).current_dir(tree.path())).expect_code(0);
        fs::read(tree.path().join(out)).unwrap()
    };
    assert_eq!(draw("far.png", &["--redis", &url]), draw("near.png", &[]));
    machine.end();
}

#[test]
fn the_cluster_is_shown() {
    let Some(machine) = Machine::start("cluster", &[]) else { return };
    let url = machine.url();
    let text = machine.wait_for_cluster("1 agent, 2 workers, 0 clients");
    let process = machine.agent.id().to_string();
    assert!(text.contains("host") && text.contains(&process), "{text}");
    let json = run(&mut pool_cli(["cluster", "--redis", &url, "--json"])).expect_code(0);
    let json: serde_json::Value = serde_json::from_str(json.text()).expect("it is JSON");
    assert_eq!((&json["hosts"][0]["workers"], &json["hosts"][0]["pid"]), (&2.into(), &machine.agent.id().into()));
    assert_eq!((json["queues"].as_array().map(Vec::len), &json["lost"]), (Some(0), &0.into()));
    // Jobs of a client wait while the agent stands still.
    let agent = Pid::from_raw(machine.agent.id() as i32);
    kill(agent, Signal::SIGSTOP).expect("it runs");
    let mut client = pool_cli(["run", "square", "--redis", &url]);
    let mut client = client.stdin(Stdio::piped()).spawn().expect("it starts");
    client.stdin.take().expect("a pipe").write_all(b"7\n").expect("it reads");
    machine.wait_for_cluster("1 client;");
    kill(agent, Signal::SIGCONT).expect("it is there");
    assert_eq!(finish(client).expect_code(0).text(), "{\"result\":49}\n");
    machine.wait_for_cluster("0 clients");
    machine.end();
}

#[test]
fn the_cluster_is_drawn_live_in_a_terminal() {
    let Some(machine) = Machine::start("live", &[]) else { return };
    machine.wait_for_cluster("1 agent");
    let OpenptyResult { master, slave } = openpty(None, None).unwrap();
    let mut command = pool_cli(["cluster", "--redis", &machine.url()]);
    let mut cluster = command.stdout(Stdio::from(slave)).spawn().expect("it starts");
    // The command has the only other end.
    drop(command);
    let (mut terminal, mut seen) = (File::from(master), String::new());
    // The second picture takes the place of the first.
    while seen.matches("1 agent, 2 workers").count() < 2 || !seen.contains("\x1b[J") {
        let mut bytes = [0; 4096];
        let length = terminal.read(&mut bytes).expect("it draws on");
        seen.push_str(std::str::from_utf8(&bytes[..length]).expect("a picture is text"));
    }
    kill(Pid::from_raw(cluster.id() as i32), Signal::SIGINT).expect("it runs");
    assert_eq!(cluster.wait().expect("it is our child").signal(), Some(Signal::SIGINT as i32));
    machine.end();
}

#[test]
fn a_password_on_the_command_line_is_refused() {
    for url in ["redis://user:word@host", "redis://:word@host", "unix:///socket?user=a&pass=word"] {
        let run_square: &[&str] = &["run", "square"];
        for command in [&["agent"][..], &["cluster"], run_square, &["hash", "."], &["mandelbrot", "--out=m.png"]] {
            let outcome = run(pool_cli(command).args(["--redis", url])).expect_code(2);
            assert!(outcome.err.contains("POOL_REDIS_PASSWORD_FILE"), "{}", outcome.err);
        }
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    for command in [&["run", "square"][..], &["hash", "."], &["mandelbrot", "--out=m.png"], &["cluster"]] {
        let outcome = run(pool_cli(command).args(["--redis", "unix:///nowhere"])).expect_code(1);
        assert!(outcome.err.contains(": Redis: "), "{}", outcome.err);
    }
    run(&mut pool_cli(["run", "square", "--redis", "nonsense"])).expect_code(2);
}
