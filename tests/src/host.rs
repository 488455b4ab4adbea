//! A program that uses a pool, in a process of its own, so that a check can see how it ends.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use nix::sys::signal::Signal;

use crate::capture::Capture;
use crate::procs;
use crate::trial::{Setup, host_args, name_of};

/// The running program.
#[derive(Debug)]
pub struct Host {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: Capture,
}

impl Host {
    /// Starts a process in a process group of its own. Its `main` is this [`program`](crate::trial::program).
    pub fn start<F: Fn(&Setup)>(main: F, setup: &Setup) -> Host {
        use std::os::unix::process::CommandExt;
        let stderr = Capture::new();
        let mut child = Command::new("/proc/self/exe")
            .args(Host::args(main, setup))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr.stdio())
            .spawn()
            .expect("the own executable");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Host { child, stdout, stderr }
    }

    /// The arguments that make this executable, or a copy of it, this program.
    pub fn args<F: Fn(&Setup)>(main: F, setup: &Setup) -> Vec<String> {
        host_args(name_of(&main), *setup)
    }

    /// Its process id, which is its group's.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says the next line.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a pipe");
        assert!(line.ends_with('\n'), "the host ended early: {:?}", self.stderr.text());
        line.trim().to_owned()
    }

    /// The next line as the process ids that stand in it.
    pub fn pids(&mut self) -> Vec<u32> {
        self.line().split(' ').map(|pid| pid.parse().expect("a process id")).collect()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        procs::signal(self.pid(), signal);
    }

    /// Waits for its end; returns its status and its standard error.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("it is our child");
        (status, self.stderr.text())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tells the check something; called by a host.
#[expect(clippy::print_stdout, reason = "the check reads it")]
pub fn say(line: impl std::fmt::Display) {
    println!("{line}");
}

/// Tells the check these process ids; called by a host.
pub fn say_pids(pids: &[u32]) {
    say(pids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "));
}
