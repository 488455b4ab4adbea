//! `pool-cli` as a process: its output, its complaints, and its exit codes.

mod cli;
mod demo;
mod hash;
mod hash_failures;
mod mandelbrot;
mod manual;
#[cfg(feature = "redis")]
mod redis;
mod run;
mod thumbs;
mod tree;
mod usage;
mod watch;
