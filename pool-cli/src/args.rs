//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::units;

/// A process pool at work: a walk through it for users of Python's pool, and a parallel sha256sum
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Worker processes, at least 1 [default: 4 for demo, as many as CPUs for the others]
    #[arg(short, long, value_name = "N", global = true, value_parser = workers)]
    pub(crate) workers: Option<usize>,

    /// Write a timeline of the pool to this file, for <https://ui.perfetto.dev>; demo: of its first pool
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) trace: Option<PathBuf>,

    /// Draw the workers live in the terminal, a line each; demo: of its first pool
    #[arg(long, global = true)]
    pub(crate) watch: bool,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Walk through the features of Python's multiprocessing.Pool, and a bit beyond
    ///
    /// Each step shows the line of Python that it stands for, the expected and the actual outcome, and "ok" or "DIFFERS".
    /// It takes a few seconds. The exit code is 1 if any step differs.
    #[command(after_help = DEMO_EXAMPLES)]
    Demo,

    /// Print the SHA-256 of every file below the paths, as sha256sum does
    ///
    /// The lines are those of `find PATH… -type f` given to sha256sum, sorted by the bytes of the path, so `sha256sum -c`
    /// checks them. A symbolic link is followed if it is given as a PATH, and passed over below one. A file that cannot be read,
    /// or is neither a file nor a directory, is reported on stderr; the rest is still hashed, and the exit code is 1.
    #[command(after_help = HASH_EXAMPLES)]
    Hash {
        /// Files, and directories to look through
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        machines: Machines,
    },

    /// Make a thumbnail of every image below a directory, each file under limits of its own
    ///
    /// The files that end in .png, .jpg or .jpeg are read, whatever they hold, and the thumbnails get the same names below --out.
    /// An image that takes too long or too much memory, or that crashes its decoder, costs itself alone: it is listed with
    /// the reason, and the exit code is 1. So is a FIFO or device of such a name. Symbolic links below DIR are passed over.
    #[cfg_attr(
        feature = "redis",
        doc = "With --redis the content of each file is sent, so agents need not have the files."
    )]
    #[command(after_help = THUMBS_EXAMPLES)]
    Thumbs(Thumbs),

    /// Draw the Mandelbrot set: worker processes write the parts of one shared array in place
    ///
    #[cfg_attr(
        not(feature = "redis"),
        doc = "Each writes a few rows at a time, since some take a hundred times as long as others."
    )]
    #[cfg_attr(
        feature = "redis",
        doc = "With --redis they share no memory with this program, and send the rows as values."
    )]
    #[command(after_help = MANDELBROT_EXAMPLES)]
    Mandelbrot {
        /// The image to write, in PNG
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Its width and height in pixels
        #[arg(long, value_name = "WxH", default_value = "1920x1080", value_parser = units::size)]
        size: (u32, u32),
        #[command(flatten)]
        machines: Machines,
    },

    /// Run tasks of this program by their names: JSON lines from standard input, one answer a line to standard output
    ///
    /// With TASK each line is the arguments of one call: one argument is the value itself, several are an array. Without it
    /// each line is an object with "task", "args" and, if wanted, an "id" that comes back. Answers have a "result" or an
    /// "error" and come in the order of the lines. The exit code is 1 if any is an error. `pool-cli tasks` lists the tasks.
    #[command(after_help = RUN_EXAMPLES)]
    Run {
        /// The task of all lines: its name, with as much of its path as tells it from others
        task: Option<String>,
        /// Time for each call, such as 500ms, 10s or 2m; one that takes longer is killed, and its answer is an error
        #[arg(long, value_name = "TIME", value_parser = units::time)]
        timeout: Option<Duration>,
        #[command(flatten)]
        machines: Machines,
    },

    /// Run the tasks of this program for clients on other machines, which meet it at a Redis server
    ///
    /// It runs until SIGTERM or Ctrl-C; then it takes no more jobs, finishes those that it has, and ends. User and password are read
    /// from POOL_REDIS_USER, and POOL_REDIS_PASSWORD or the file that POOL_REDIS_PASSWORD_FILE names.
    #[cfg(feature = "redis")]
    #[command(after_help = AGENT_EXAMPLES)]
    Agent {
        /// The server: redis://HOST, rediss://HOST or unix:///PATH
        #[arg(long, value_name = "URL", value_parser = units::server)]
        redis: String,
        /// Memory that each worker may allocate, such as 512M or 2G
        #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
        memory: Option<u64>,
    },

    /// Show the hosts, workers, queues, running and lost jobs at a Redis server, live
    ///
    /// In a terminal the picture is drawn anew each second until Ctrl-C; else it is printed once. Agents report their numbers four
    /// times in a lease of 15 s. User and password are read as for `agent`; the right to read is enough.
    #[cfg(feature = "redis")]
    #[command(after_help = CLUSTER_EXAMPLES)]
    Cluster {
        /// The server: redis://HOST, rediss://HOST or unix:///PATH
        #[arg(long, value_name = "URL", value_parser = units::server)]
        redis: String,
        /// Print one object of JSON
        #[arg(long)]
        json: bool,
        /// Print it once, also in a terminal
        #[arg(long)]
        once: bool,
    },

    /// List the tasks of this program: the functions that worker processes can run
    #[command(after_help = TASKS_EXAMPLES)]
    Tasks,

    /// Print completions for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: Shell,
    },

    /// Print the manual page
    #[command(after_help = MAN_EXAMPLES)]
    Man,
}

/// The machines that run the tasks.
#[derive(Debug, clap::Args)]
pub(crate) struct Machines {
    /// Have the agents at this Redis server run the tasks; --workers bounds the jobs that are there at once
    #[cfg(feature = "redis")]
    #[arg(long, value_name = "URL", value_parser = units::server)]
    pub(crate) redis: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Thumbs {
    /// The directory with the images
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The directory for the thumbnails; it may be below the other
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The longer side of a thumbnail in pixels; smaller images keep their size
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) size: u32,
    /// Time for each image, such as 500ms, 10s or 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::time)]
    pub(crate) timeout: Duration,
    /// Memory that each worker may allocate, such as 512M or 2G [default: 512M]
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    pub(crate) memory: Option<u64>,
    /// Further attempts for an image that cost its worker
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) retries: u32,
    /// Write a line of JSON for each image, in the order in which they are done, in place of the table
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) machines: Machines,
    /// Work in one process, without a pool: the first image that crashes the decoder ends all
    #[cfg(feature = "planted")]
    #[arg(long, hide = true)]
    pub(crate) one_process: bool,
}

const EXAMPLES: &str = "\
Examples:
  pool-cli demo                         see what the pool does, step by step
  pool-cli hash src > SUMS              hash every file below src
  sha256sum --check SUMS                … and check them with coreutils
  pool-cli thumbs photos --out thumbs   thumbnails, though some images crash the decoder
  pool-cli mandelbrot --out m.png       an array that workers write in place
  pool-cli tasks                        list the functions that workers can run
  seq 5 | pool-cli run square           … and run one of them for each line
  pool-cli help hash                    more about one command

Exit codes: 0 all well, 1 something differed or failed, 2 wrong usage.";

const DEMO_EXAMPLES: &str = "\
Examples:
  pool-cli demo
  pool-cli demo --workers 2
  NO_COLOR=1 pool-cli demo | less";

const HASH_EXAMPLES: &str = "\
Examples:
  pool-cli hash ~/music > SUMS          every file below ~/music, with a progress bar
  sha256sum --check --quiet SUMS        check them with coreutils
  pool-cli hash --workers 8 /usr/lib    with eight worker processes
  pool-cli hash --trace /tmp/t.json .   with a timeline for https://ui.perfetto.dev
  pool-cli hash --watch . > SUMS        with a line for each worker
  pool-cli hash -- -odd ./-             names that begin with a dash";

const THUMBS_EXAMPLES: &str = "\
Examples:
  pool-cli thumbs photos --out thumbs
  pool-cli thumbs photos --out thumbs --size 256 --timeout 2s --memory 1G
  pool-cli thumbs uploads --out thumbs --json | jq 'select(.error)'";

const MANDELBROT_EXAMPLES: &str = "\
Examples:
  pool-cli mandelbrot --out mandelbrot.png
  pool-cli mandelbrot --out wall.png --size 15360x8640 --workers 8";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  pool-cli completions bash > ~/.local/share/bash-completion/completions/pool-cli
  pool-cli completions fish > ~/.config/fish/completions/pool-cli.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  pool-cli man > ~/.local/share/man/man1/pool-cli.1";

const RUN_EXAMPLES: &str = "\
Examples:
  pool-cli run square < numbers         a number in each line; {\"result\":9} for 3
  seq 5 | pool-cli run square | jq .result
  pool-cli run sha256 --timeout 10s < paths
  echo '{\"task\": \"square\", \"args\": 12, \"id\": \"a\"}' | pool-cli run";

const TASKS_EXAMPLES: &str = "\
Examples:
  pool-cli tasks
  pool-cli tasks | grep sha256";

#[cfg(feature = "redis")]
const AGENT_EXAMPLES: &str = "\
Examples:
  pool-cli agent --redis redis://10.0.0.7 --workers 8
  seq 5 | pool-cli run square --redis redis://10.0.0.7    on another machine";

#[cfg(feature = "redis")]
const CLUSTER_EXAMPLES: &str = "\
Examples:
  pool-cli cluster --redis redis://10.0.0.7
  pool-cli cluster --redis redis://10.0.0.7 --once
  pool-cli cluster --redis redis://10.0.0.7 --json | jq '.hosts[] | select(.lost > 0)'";

impl Args {
    /// Reads the command line. If it is wrong, the program ends and says why.
    pub(crate) fn read() -> Args {
        let args = Args::parse();
        args.check_for_pool().unwrap_or_else(|error| error.exit());
        args
    }

    /// Refuses the options of pools for commands that make none.
    fn check_for_pool(&self) -> Result<(), clap::Error> {
        let command = match &self.command {
            Some(Command::Tasks) => "tasks",
            #[cfg(feature = "redis")]
            Some(Command::Cluster { .. }) => "cluster",
            Some(Command::Completions { .. }) => "completions",
            Some(Command::Man) => "man",
            _ => return Ok(()),
        };
        let options =
            [("--workers", self.workers.is_some()), ("--trace", self.trace.is_some()), ("--watch", self.watch)];
        match options.iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((option, _)) => {
                let text = format!("`{option}` is an option of commands that make a pool, and `{command}` makes none");
                Err(Args::command().error(ErrorKind::ArgumentConflict, text))
            }
        }
    }
}

/// The pool would refuse 0, too, but only the commands that make one.
fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("a pool needs at least 1 worker".to_owned()),
        Ok(workers) => Ok(workers),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn workers_may_stand_on_either_side_of_the_command() {
        for line in [["pool-cli", "--workers", "3", "demo"], ["pool-cli", "demo", "--workers", "3"]] {
            assert_eq!(Args::try_parse_from(line).unwrap().workers, Some(3), "{line:?}");
        }
    }
}
