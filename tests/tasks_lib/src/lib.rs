//! Tasks of a library: a program finds them if it names this crate once.

use pool_core::prelude::*;

/// Doubles a number.
#[pool_task]
pub fn double(x: u64) -> u64 {
    2 * x
}

/// Has the name of a task of the tests, in another module.
#[pool_task]
pub fn square(x: u64) -> String {
    format!("{x}²")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[pool_task]
    fn triple(x: u64) -> u64 {
        3 * x
    }

    #[test]
    fn a_pool_in_a_unit_test_finds_the_tasks_of_the_crate_and_of_the_test() {
        let pool = Pool::new(2).unwrap();
        assert_eq!(pool.map(double::Task, 0..3).unwrap(), [0, 2, 4]);
        assert_eq!(pool.map(triple::Task, 0..3).unwrap(), [0, 3, 6]);
    }
}
