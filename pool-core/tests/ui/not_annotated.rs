//! A function in the place of its task, and one that is no task.

use pool_core::pool_task;

use pool_core::Task;

#[pool_task]
fn square(x: u64) -> u64 {
    x * x
}

fn plain(x: u64) -> u64 {
    x
}

fn submit<T: Task>(_task: T) {}

fn main() {
    submit(square::Task);
    submit(square);
    //~    ^^^^^^ is not a pool task
    //~ annotate the function with `#[pool_task]` and pass its task, `the_function::Task`
    submit(plain);
    //~    ^^^^^ is not a pool task
}
