//! A program of edition 2018.

#![deny(warnings)]

mod inner {
    use pool_core::pool_task;

    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct Point {
        pub x: f64,
    }

    /// The distance from zero.
    #[pool_task(timeout = "2s", retries = 2, priority = "high")]
    pub fn norm(point: &Point) -> f64 {
        point.x.abs()
    }

    #[pool_task]
    pub(super) fn count(text: &str, more: Vec<&str>) -> Result<usize, String> {
        Ok(text.len() + more.len())
    }

    #[pool_task]
    pub(in crate::inner) fn there(point: Point) -> Point {
        point
    }

    pub fn used() -> String {
        format!("{:?}", there::Task)
    }
}

use std::collections::HashMap;

use pool_core::{Pool, SharedVec, pool_state, pool_task};

#[pool_state]
fn open(first: u64) -> Result<Vec<u64>, String> {
    Ok(vec![first])
}

#[pool_task]
fn r#async(#[state] values: &mut Vec<u64>, value: u64, r#await: HashMap<String, u8>) -> usize {
    values.extend(r#await.values().map(|&x| u64::from(x) + value));
    values.len()
}

#[pool_task]
fn fill(part: &mut [u64], offset: usize, by: u64) {
    for (i, value) in part.iter_mut().enumerate() {
        *value = (offset + i) as u64 * by;
    }
}

fn main() -> pool_core::Result<()> {
    let pool = Pool::builder().state(open::State, 3).build()?;
    assert_eq!(pool.apply(inner::norm::Task, &inner::Point { x: -1.0 })?, 1.0);
    assert_eq!(pool.apply(inner::count::Task, ("ab", vec!["x"]))?, Ok(3));
    assert_eq!(pool.apply(r#async::Task, (1, HashMap::new()))?, 2);
    pool.map_chunks_mut(fill::Task, &mut SharedVec::<u64>::zeroed(4)?, 2, 3)?;
    println!("{}", inner::used());
    Ok(())
}
