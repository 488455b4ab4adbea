//! pool-core under another name.

mod facade {
    pub mod inner {
        pub use pool_core as pool;
    }
}

use facade::inner::pool;

#[pool::pool_task(crate = pool)]
fn relative(x: u64) -> u64 {
    x
}

#[pool::pool_task(crate = crate::facade::inner::pool, retries = 1)]
fn absolute(x: &str) -> String {
    x.to_owned()
}

#[pool::pool_task(crate = ::pool_core)]
fn root(x: &[u8]) -> usize {
    x.len()
}

fn main() {
    let _ = (relative::Task, absolute::Task, root::Task);
}
