//! Functions in an `impl` block or a trait, without `self`.

use pool_core::pool_task;

struct Counter(u64);

impl Counter {
    #[pool_task]
    fn add(a: u64, b: u64) -> u64 {
        //~ an associated function cannot be a task: write a free function beside the `impl` block or trait
        a + b
    }

    #[pool_task(timeout = "1s")]
    pub fn new(start: u64) -> Self {
        //~^^^ an associated function cannot be a task
        Counter(start)
    }
}

trait Arithmetic {
    #[pool_task]
    fn double(x: u64) -> u64 {
        //~ an associated function cannot be a task
        2 * x
    }
}

impl Arithmetic for Counter {}

fn main() {
    // The functions stay.
    println!("{} {} {}", Counter::add(1, 2), Counter::new(3).0, Counter::double(4));
}
