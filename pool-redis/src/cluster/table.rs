//! The table that people see.

use std::fmt;

use super::view::{Cluster, Host, Queue};

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cluster { hosts, others, queues, clients, redelivered, lost } = self;
        let [hosts_text, workers, clients] =
            [counted(hosts.len() as u64, "agent"), counted(self.workers(), "worker"), counted(*clients, "client")];
        let (waiting, running) = (self.waiting(), self.running());
        writeln!(
            f,
            "{hosts_text}, {workers}, {clients}; jobs: {waiting} wait, {running} run, {redelivered} ran again, {lost} lost"
        )?;
        if !hosts.is_empty() {
            writeln!(f)?;
            let headings = ["host", "process", "workers", "running", "done", "lost", "tasks", "lease"];
            write_table(f, headings, hosts.iter().map(host_cells))?;
        }
        for other in others {
            writeln!(f, "\nnot counted: {other}")?;
        }
        if !queues.is_empty() {
            writeln!(f)?;
            write_table(f, ["task", "waiting", "agents"], queues.iter().map(queue_cells))?;
        }
        Ok(())
    }
}

fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn host_cells(host: &Host) -> [String; 8] {
    let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    [
        host.host.clone(),
        host.pid.to_string(),
        host.workers.to_string(),
        count(host.running),
        count(host.done),
        count(host.lost),
        host.tasks.to_string(),
        format!("{:.0} s", host.lease.as_secs_f64()),
    ]
}

fn queue_cells(queue: &Queue) -> [String; 3] {
    let hosts = if queue.hosts == 0 { "none has it".to_owned() } else { queue.hosts.to_string() };
    [queue.task.clone(), queue.waiting.to_string(), hosts]
}

/// Columns aligned to the left, two blanks between them, and none at the ends of lines.
fn write_table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    headings: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> fmt::Result {
    let lines: Vec<_> = std::iter::once(headings.map(str::to_owned)).chain(rows).collect();
    let widths: [usize; N] =
        std::array::from_fn(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0));
    for line in &lines {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_table_has_hosts_and_queues() {
        let host = |name: &str, status: Option<u64>| Host {
            host: name.to_owned(),
            pid: 7,
            workers: 8,
            capacity: 10,
            tasks: 3,
            running: status,
            done: status,
            lost: status,
            lease: Duration::from_secs(12),
        };
        let queue = |task: &str, hosts| Queue { task: task.to_owned(), signature: 1, waiting: 31, hosts };
        let cluster = Cluster {
            hosts: vec![host("alpha", Some(9)), host("b", None)],
            queues: vec![queue("images::decode", 2), queue("m::g", 0)],
            clients: 1,
            others: vec!["host c (process 9) is of protocol 1".to_owned()],
            redelivered: 2,
            lost: 0,
        };
        let text = "\
2 agents, 16 workers, 1 client; jobs: 62 wait, 9 run, 2 ran again, 0 lost

host   process  workers  running  done  lost  tasks  lease
alpha  7        8        9        9     9     3      12 s
b      7        8        -        -     -     3      12 s

not counted: host c (process 9) is of protocol 1

task            waiting  agents
images::decode  31       2
m::g            31       none has it
";
        assert_eq!(cluster.to_string(), text);
    }
}
