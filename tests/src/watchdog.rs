//! Runs a trial in a process of its own and ends it, and all that it has started, when it takes too long.

use std::fmt::Write;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::{Pid, setsid};

use crate::capture::Capture;
use crate::procs;

/// The permissions of a trial.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WatchOptions {
    /// Write to standard error.
    pub(crate) noisy: bool,
    /// Take so long.
    pub(crate) limit: Duration,
}

impl Default for WatchOptions {
    fn default() -> Self {
        // Far more than any trial takes, even on a machine that has other things to do.
        WatchOptions { noisy: false, limit: Duration::from_secs(90) }
    }
}

const GLANCE: Duration = Duration::from_millis(5);

/// Ctrl-C ends this process, as if a person had started it: a shell makes its background processes ignore it.
pub(crate) fn hear_ctrl_c() {
    // SAFETY:
    // - no handler of ours runs.
    unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }.expect("SIGINT may be set");
}

/// Makes this process the leader of a session, to which then all its descendants belong, even orphans.
pub(crate) fn lead_a_session() {
    setsid().expect("a trial has just been started and leads no group");
    // In a session of its own this process gets no Ctrl-C, so it ends with the one that started it.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).expect("a valid signal");
}

/// Runs this executable with these arguments.
///
/// # Errors
///
/// The trial's output, if it failed, took too long, or wrote to its standard error without leave to.
pub(crate) fn run(args: &[String], options: WatchOptions) -> Result<(), String> {
    let (stdout, stderr) = (Capture::new(), Capture::new());
    let mut child = Command::new("/proc/self/exe")
        .args(args)
        .stdin(Stdio::null())
        .stdout(stdout.stdio())
        .stderr(stderr.stdio())
        .spawn()
        .map_err(|error| format!("starting the trial: {error}"))?;
    let session = child.id();
    let deadline = Instant::now() + options.limit;
    let ended = loop {
        match child.try_wait().expect("it is our child") {
            Some(status) => break Ok(status),
            None if Instant::now() > deadline => break Err(describe_processes(session)),
            None => sleep(GLANCE),
        }
    };
    // The trial itself complains of its leaks; here nothing may survive in any case.
    for process in procs::of_session(session) {
        let _ = kill(Pid::from_raw(process.pid as i32), Signal::SIGKILL);
    }
    let _ = child.wait();
    verdict(ended, options, &stdout.text(), &stderr.text())
}

fn verdict(ended: Result<ExitStatus, String>, options: WatchOptions, stdout: &str, stderr: &str) -> Result<(), String> {
    let what = match ended {
        Ok(status) if status.success() && (options.noisy || stderr.is_empty()) => return Ok(()),
        Ok(status) if status.success() => "passed, but wrote to its standard error".to_owned(),
        Ok(status) => format!("ended by {status}"),
        Err(processes) => format!("hung for {:?}:\n{processes}", options.limit),
    };
    Err(format!("{what}\n--- stdout ---\n{stdout}--- stderr ---\n{stderr}"))
}

/// Each thread of each process and where in the kernel it waits.
pub(crate) fn describe_processes(session: u32) -> String {
    let mut text = String::new();
    for process in procs::of_session(session) {
        let _ = writeln!(text, "{process:?}");
        for task in std::fs::read_dir(format!("/proc/{}/task", process.pid)).into_iter().flatten().flatten() {
            let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let _ = writeln!(text, "    {} {} {}", task.file_name().display(), read("comm").trim(), read("wchan"));
        }
    }
    text
}
