//! `mandelbrot`: workers write the rows of an image in place, in an array that all processes share. Workers of other machines, which
//! share no memory with this one, return them.

use std::io::{self, Cursor, Write};
use std::path::Path;
use std::time::Instant;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use pool_core::{SharedVec, pool_task};

use super::ending::{Failure, Verdict, builder};
use super::file::write_atomically;
use crate::args::Machines;
use crate::watch::Watch;

/// Bytes of a pixel: red, green, blue.
const PIXEL_BYTES: usize = 3;

/// Rows of a part: few, since rows in the middle of the set take a hundred times as long as those at its edge.
const PART_ROWS: usize = 8;

/// Steps after which a point counts as one of the set.
const STEPS_MAX: u32 = 1000;

/// Paints the pixels of a part.
#[pool_task]
fn paint(part: &mut [u8], offset: usize, width: usize, height: usize) {
    let first = offset / PIXEL_BYTES;
    for (pixel, colour) in (first..).zip(part.chunks_exact_mut(PIXEL_BYTES)) {
        let (x, y) = (pixel % width, pixel / width);
        colour.copy_from_slice(&colour_of(steps(x, y, width, height)));
    }
}

/// The pixels of some rows, for a machine that cannot write them in place.
#[pool_task]
fn rows(first: usize, width: usize, height: usize) -> Vec<u8> {
    let mut part = vec![0; PART_ROWS.min(height - first) * width * PIXEL_BYTES];
    paint(&mut part, first * width * PIXEL_BYTES, width, height);
    part
}

/// Steps until the point of the pixel is past the circle from which none comes back, with a fraction.
fn steps(x: usize, y: usize, width: usize, height: usize) -> Option<f64> {
    // The whole set is to be seen, whatever the shape of the image.
    let scale = (3.0 / width as f64).max(2.4 / height as f64);
    let c = ((x as f64 - width as f64 / 2.0) * scale - 0.75, (y as f64 - height as f64 / 2.0) * scale);
    let (mut re, mut im) = (0.0_f64, 0.0_f64);
    for step in 0..STEPS_MAX {
        let (re_squared, im_squared) = (re * re, im * im);
        if re_squared + im_squared > 256.0 {
            let beyond = ((re_squared + im_squared).ln() / 2.0).log2();
            return Some(f64::from(step) - beyond);
        }
        (re, im) = (re_squared - im_squared + c.0, 2.0 * re * im + c.1);
    }
    None
}

/// Black for points of the set.
fn colour_of(steps: Option<f64>) -> [u8; PIXEL_BYTES] {
    let Some(steps) = steps else { return [0; PIXEL_BYTES] };
    let wave = |phase: f64| (127.5 + 127.5 * (steps.max(0.0).sqrt() * 0.8 + phase).cos()) as u8;
    [wave(3.6), wave(3.0), wave(2.4)]
}

pub(super) fn run(
    file: &Path,
    (width, height): (u32, u32),
    machines: &Machines,
    workers: Option<usize>,
    trace: Option<&Path>,
    watch: &Watch,
) -> Result<Verdict, Failure> {
    let pool = machines.have(builder(workers, "mandelbrot", trace)?)?.build()?;
    let begun = Instant::now();
    let size = (width as usize, height as usize);
    let mut pixels: SharedVec<u8> = SharedVec::zeroed(size.0 * size.1 * PIXEL_BYTES)?;
    let part_bytes = size.0 * PIXEL_BYTES * PART_ROWS;
    watch.beside(&pool, || {
        if machines.are_elsewhere() {
            let firsts = (0..size.1).step_by(PART_ROWS).map(|first| (first, size.0, size.1));
            for (part, rows) in pixels.chunks_mut(part_bytes).zip(pool.imap(rows::Task, firsts)?) {
                part.copy_from_slice(&rows?);
            }
            return Ok(());
        }
        pool.map_chunks_mut(paint::Task, &mut pixels, part_bytes, size)?.into_iter().collect::<pool_core::Result<()>>()
    })?;
    let drawn = begun.elapsed();
    let mut png = Cursor::new(Vec::new());
    let encoded = PngEncoder::new(&mut png).write_image(&pixels, width, height, ExtendedColorType::Rgb8);
    let written = encoded.map_err(io::Error::other).and_then(|()| write_atomically(file, png.get_ref()));
    written.map_err(|error| Failure::Path(file.to_owned(), error))?;
    let mut out = io::stdout();
    writeln!(out, "{width} x {height} pixels in {:.2} s, by {} workers", drawn.as_secs_f64(), pool.workers())?;
    Ok(Verdict::AllWell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_the_set_are_black_and_others_are_not() {
        assert_eq!(steps(50, 50, 100, 100), None, "{:?}", (-0.75, 0.0));
        assert!(steps(0, 0, 100, 100).is_some_and(|steps| steps < 5.0));
        assert_eq!(colour_of(None), [0; 3]);
        assert_ne!(colour_of(Some(3.0)), [0; 3]);
    }
}
