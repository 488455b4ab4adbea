//! Arrays of other crates over shared memory: `bytes` and `ndarray` take a `SharedSlice` as it is, and all workers read the same
//! pages.
//!
//! ```text
//! cargo run --release --example arrays
//! ```

use bytes::Bytes;
use ndarray::{ArrayView2, ArrayViewMut2};
use pool_core::prelude::*;
use pool_core::{SharedSlice, SharedVec};
use serde::{Deserialize, Serialize};

/// A matrix of which a worker gets the shape, and a name of its elements.
#[derive(Clone, Serialize, Deserialize)]
struct Matrix {
    shape: [usize; 2],
    elements: SharedSlice<f64>,
}

impl Matrix {
    fn view(&self) -> ArrayView2<'_, f64> {
        ArrayView2::from_shape(self.shape, &self.elements).expect("as many elements as the shape says")
    }
}

/// The sum of each row in a range of rows.
#[pool_task]
fn sum_rows(matrix: &Matrix, first: usize, rows: usize) -> Vec<f64> {
    matrix.view().outer_iter().skip(first).take(rows).map(|row| row.sum()).collect()
}

/// Scales rows of a matrix in place, each by its number.
#[pool_task]
fn scale_rows(part: &mut [f64], offset: usize, columns: usize) {
    let rows = part.len() / columns;
    let mut part = ArrayViewMut2::from_shape([rows, columns], part).expect("whole rows");
    for (number, mut row) in (offset / columns..).zip(part.outer_iter_mut()) {
        row *= number as f64;
    }
}

/// The lines of a text.
#[pool_task]
fn count_lines(text: SharedSlice<u8>) -> usize {
    // Nothing is copied: the buffer keeps the shared pages, and so do the parts that are cut from it.
    let mut rest = Bytes::from_owner(text);
    let mut lines = 0;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let _line: Bytes = rest.split_to(end + 1);
        lines += 1;
    }
    lines
}

pub(crate) fn main() -> pool_core::Result<()> {
    let pool = Pool::new(2)?;
    let (rows, columns) = (1000, 100);
    let mut elements = SharedVec::try_from_iter((0..rows * columns).map(|_| 1.0))?;
    for result in pool.map_chunks_mut(scale_rows::Task, &mut elements, 250 * columns, columns)? {
        result?;
    }
    let matrix = Matrix { shape: [rows, columns], elements: elements.freeze()? };
    let parts = (0..rows).step_by(100).map(|first| (&matrix, first, 100));
    let sums = pool.map(sum_rows::Task, parts)?.concat();
    assert!(sums.iter().enumerate().all(|(number, sum)| *sum == (number * columns) as f64));

    let text = SharedVec::from_slice("to be\nor not to be\n".repeat(1000).as_bytes())?.freeze()?;
    assert_eq!(pool.apply(count_lines::Task, text)?, 2000);
    Ok(())
}
