//! Methods.

use pool_core::pool_task;

struct Counter(u64);

impl Counter {
    #[pool_task]
    fn by_reference(&self) -> u64 {
        //~         ^^^^^ a method cannot be a task: write a free function that takes the value as its first argument
        self.0
    }

    #[pool_task]
    fn by_value(mut self, more: u64) -> u64 {
        //~     ^^^^^^^^ a method cannot be a task
        self.0 += more;
        self.0
    }
}

fn main() {
    // The methods stay.
    println!("{}", Counter(1).by_reference() + Counter(2).by_value(3));
}
