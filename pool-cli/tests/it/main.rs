//! `pool-cli` as a process: what it prints, what it reports, and its exit codes.

mod cli;
mod demo;
mod hash;
mod hash_failures;
mod tree;
mod usage;
