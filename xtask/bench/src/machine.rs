//! The machine that the numbers were measured on.

use std::fs;
use std::process::Command;

use serde::Serialize;

use crate::cases::row::cpus;

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) kernel: String,
    pub(crate) memory_mib: u64,
    pub(crate) python: Option<String>,
    /// Before the first measurement: more than about 0 and others were at work, too.
    pub(crate) load: f64,
    pub(crate) steps_per_us: f64,
    pub(crate) quick: bool,
}

impl Machine {
    pub(crate) fn new(quick: bool, steps_per_us: f64) -> Machine {
        let field = |path: &str, key: &str| -> Option<String> {
            let text = fs::read_to_string(path).ok()?;
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split(':').nth(1)?.trim().to_owned())
        };
        let word = |text: String| text.split_whitespace().next().map(str::to_owned);
        let number =
            |text: Option<String>| text.and_then(word).and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
        let python = Command::new("python3").arg("--version").output().ok().filter(|output| output.status.success());
        Machine {
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_default(),
            cpus: cpus(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            memory_mib: number(field("/proc/meminfo", "MemTotal")) as u64 / 1024,
            python: python.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            load: number(fs::read_to_string("/proc/loadavg").ok()),
            steps_per_us,
            quick,
        }
    }
}
