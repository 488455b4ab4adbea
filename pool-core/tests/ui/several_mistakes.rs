//! All mistakes are reported at once, and code that uses the task is not blamed for them.

use pool_core::pool_task;

use pool_core::Task;

#[pool_task(timeout = "never")]
//~                   ^^^^^^^ write `timeout = "2s"`
async fn many((a, b): (u64, u64), text: &mut str) -> &'static str {
    //~ a worker runs plain functions
    //~       ^^^^^^ give the argument a name
    //~                                 ^^^^^^^^ take the argument by value and return it
    //~                                              ^^^^^^^^^^^^ return an owned value
    let _ = (a, b, text);
    ""
}

fn submit<T: Task>(_task: T, _args: T::Args<'_>) -> Option<T::Output> {
    None
}

fn main() {
    let length = submit(many::Task, ((1, 2), "text")).map(|name| name.len());
    println!("{length:?}");
}
