//! An initializer with a result that goes nowhere.

use pool_core::prelude::*;

#[pool_task]
fn load(path: &str) -> usize {
    path.len()
}

fn main() {
    let _builder = Pool::builder().initializer(load::Task, "/etc/hosts");
    //~                                        ^^^^^^^^^^ an initializer, preload or finalizer cannot return `usize`
    //~ let it return `()`, or a `Result<(), E>` with an error that can be shown
}
