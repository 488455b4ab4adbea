//! From `kill -9` of the host until all its processes are gone.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pool_core::{Pool, pool_task};
use tests::procs::{self, children, pid_fd, wait_until_gone};
use tests::tasks::square;

use crate::options::Size;
use crate::table::Row;

/// The argument that makes this program a host.
pub(crate) const HOST: &str = "--host";

const STATES: [&str; 3] = ["idle", "busy", "stopped"];
const WORKERS: usize = 4;

#[pool_task]
fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

/// The life of a host: says which its processes are, and waits to be killed.
pub(crate) fn be_host(state: &str) -> io::Result<()> {
    let pool = Pool::new(WORKERS).map_err(io::Error::other)?;
    pool.map(square::Task, 0..1000).map_err(io::Error::other)?;
    if state == "busy" {
        drop(pool.map_async(spin::Task, [(); WORKERS]).map_err(io::Error::other)?);
        thread::sleep(Duration::from_millis(100));
    }
    let server = children(std::process::id()).into_iter().map(|process| process.pid);
    let pids: Vec<_> = server.chain(pool.worker_pids()).map(|pid| pid.to_string()).collect();
    writeln!(io::stdout(), "{}", pids.join(" "))?;
    loop {
        thread::park();
    }
}

pub(crate) fn run(size: Size) -> Vec<Row> {
    let row = |state| {
        let values = (0..size.of([1, 5, 30])).map(|_| killed(state)).collect();
        let what = format!("`kill -9` of a host, until its server and {WORKERS} {state} workers are gone");
        Row::new(what, "ms", values).median_max(100.0).worst_max(1000.0)
    };
    STATES.into_iter().map(row).collect()
}

/// Milliseconds until all were gone.
fn killed(state: &str) -> f64 {
    let mut host = Command::new("/proc/self/exe")
        .args([HOST, state])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the own executable");
    let pids = pids_of(&mut host);
    assert_eq!(pids.len(), 1 + WORKERS, "the fork server and the workers");
    let fds: Vec<_> = pids.iter().map(|pid| pid_fd(*pid).expect("it runs")).collect();
    if state == "stopped" {
        pids[1..].iter().for_each(|pid| procs::signal(*pid, Signal::SIGSTOP));
        assert!(procs::eventually(|| pids[1..].iter().all(|pid| is_stopped(*pid))), "they were told to stop");
    }
    let start = Instant::now();
    procs::kill_9(host.id());
    if !wait_until_gone(&fds, procs::SOON) {
        eprintln!("of the processes {pids:?} of a {state} host some live on");
    }
    let took = start.elapsed().as_secs_f64() * 1e3;
    host.wait().expect("it is our child");
    took
}

fn is_stopped(pid: u32) -> bool {
    procs::Process::get(pid).is_some_and(|process| process.state == 'T')
}

fn pids_of(host: &mut Child) -> Vec<u32> {
    let mut line = String::new();
    let stdout = host.stdout.as_mut().expect("it is piped");
    BufReader::new(stdout).read_line(&mut line).expect("a pipe");
    line.split_whitespace().map(|pid| pid.parse().expect("a process id")).collect()
}
