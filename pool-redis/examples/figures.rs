//! Figures of this machine: calls and maps by way of a Redis server, beside a bare round trip and a local pool in the same run.
//!
//! ```sh
//! cargo run --release -p pool-redis --example figures        # starts its own redis-server and two agents
//! ```

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use pool_core::prelude::*;
use redis::{Client, Connection, cmd};

#[pool_task]
fn square(x: u64) -> u64 {
    x * x
}

#[pool_task]
fn nap(us: u64) -> u64 {
    thread::sleep(Duration::from_micros(us));
    us
}

const CALLS: u32 = 2_000;
const NUMBERS: u64 = 1_000_000;
const NAPS: usize = 2_000;
const HANDLES: u64 = 20_000;

/// The server, its folder and the agents; all go when this is dropped.
struct Machines {
    folder: PathBuf,
    server: Child,
    agents: Vec<Child>,
}

impl Machines {
    fn start() -> std::io::Result<Machines> {
        let folder = std::env::temp_dir().join(format!("pool-redis-figures-{}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let mut server = Command::new("redis-server");
        server.args(["--port", "0", "--unixsocket", "socket", "--save", "", "--dir"]).arg(&folder);
        let server = server.stdout(Stdio::null()).spawn()?;
        let mut machines = Machines { folder, server, agents: Vec::new() };
        while Client::open(machines.url()).and_then(|client| client.get_connection()).is_err() {
            thread::sleep(Duration::from_millis(10));
        }
        for _ in 0..2 {
            machines.agents.push(Command::new(std::env::current_exe()?).arg(machines.url()).spawn()?);
        }
        Ok(machines)
    }

    fn url(&self) -> String {
        format!("unix://{}", Path::new(&self.folder).join("socket").display())
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for process in self.agents.iter_mut().chain([&mut self.server]) {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(url) = std::env::args().nth(1) {
        return Ok(pool_redis::agent(&url).workers(1).run()?);
    }
    let machines = Machines::start()?;
    let pool = Pool::builder().backend(pool_redis::connect(&machines.url())?).build()?;
    let local = Pool::new(2)?;
    let client = Client::open(machines.url())?;
    let mut connection = client.get_connection()?;
    // Until both agents are known.
    while pool.workers() < 4 {
        pool.map(square::Task, 0..1_000)?;
    }

    for _ in 0..3 {
        let bare = bare_round_trip(&client)?;
        let before = server_time(&mut connection)?;
        let call = median((0..CALLS).map(|x| time(|| pool.apply(square::Task, x.into()))).collect::<Result<_, _>>()?);
        let server = (server_time(&mut connection)? - before) / f64::from(CALLS);
        say(&format!(
            "call: {call:.1?}, a bare round trip {bare:.1?}; CPU time of the server for a call: {:.1} µs",
            server * 1e6
        ));
    }
    let rate = |items: f64, time: Duration| items / time.as_secs_f64();
    for _ in 0..3 {
        let time = time(|| pool.map(square::Task, 0..NUMBERS))?;
        say(&format!("map of a million u64: {:.1} M/s", rate(1.0, time)));
    }
    for _ in 0..3 {
        let (far, near) =
            (time(|| pool.map(nap::Task, vec![1_000; NAPS]))?, time(|| local.map(nap::Task, vec![1_000; NAPS]))?);
        say(&format!("items of 1 ms: {:.2} of a local pool", near.as_secs_f64() / far.as_secs_f64()));
    }
    let calls = time(|| {
        let handles: Result<Vec<_>, _> = (0..HANDLES).map(|x| pool.apply_async(square::Task, x)).collect();
        handles?.into_iter().try_for_each(|handle| handle.get().map(drop))
    })?;
    say(&format!("calls submitted, then all got: {:.0} k/s", rate(HANDLES as f64 / 1e3, calls)));
    let before = server_time(&mut connection)?;
    let single = time(|| pool.map(square::Task.chunk_size(1), 0..HANDLES))?;
    let server = (server_time(&mut connection)? - before) / HANDLES as f64;
    say(&format!(
        "map of chunks of one item: {:.1} k/s; CPU time of the server for a request: {:.1} µs",
        rate(HANDLES as f64 / 1e3, single),
        server * 1e6
    ));
    Ok(())
}

fn time<R, E>(body: impl FnOnce() -> Result<R, E>) -> Result<Duration, E> {
    let start = Instant::now();
    body()?;
    Ok(start.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The same steps without a pool: one process puts an element into a list, a thread takes it and puts another one into a second list,
/// and the first takes that.
fn bare_round_trip(client: &Client) -> redis::RedisResult<Duration> {
    let (mut here, mut there) = (client.get_connection()?, client.get_connection()?);
    let pop = |connection: &mut Connection, list: &str| cmd("BLPOP").arg(list).arg(0).exec(connection);
    let push = |connection: &mut Connection, list: &str| cmd("RPUSH").arg(list).arg("x").exec(connection);
    let answerer = thread::spawn(move || {
        (0..CALLS).try_for_each(|_| pop(&mut there, "there").and_then(|()| push(&mut there, "back")))
    });
    let round_trip = |_| time(|| push(&mut here, "there").and_then(|()| pop(&mut here, "back")));
    let times = (0..CALLS).map(round_trip).collect::<Result<_, _>>()?;
    answerer.join().expect("it does not panic")?;
    Ok(median(times))
}

/// The CPU time of the server in seconds.
fn server_time(connection: &mut Connection) -> redis::RedisResult<f64> {
    let text: String = cmd("INFO").arg("cpu").query(connection)?;
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    Ok(["used_cpu_sys:", "used_cpu_user:"].iter().filter_map(|name| value(name)).sum())
}

#[expect(clippy::print_stdout, reason = "it is a program")]
fn say(line: &str) {
    println!("{line}");
}
