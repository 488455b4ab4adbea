//! Pictures of the numbers, each as SVG and as PNG.

mod bars;
mod curves;
mod picture;

use std::path::Path;

use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use self::picture::{FONT, Outcome, Picture};
use crate::report::Results;

const SIZE: (u32, u32) = (960, 540);
/// All of which there are numbers.
pub(crate) fn all(results: &Results, folder: &Path) -> Outcome {
    // From the executable: no font has to be installed, and the pictures are the same everywhere.
    register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT).map_err(|_| "the font is no font")?;
    std::fs::create_dir_all(folder)?;
    for case in ["call_latency", "call_latency_idle"] {
        save(&curves::latency(results, case), folder, case)?;
    }
    save(&curves::pending(results), folder, "pending")?;
    save(&bars::throughput(results), folder, "throughput")
}

fn save(picture: &impl Picture, folder: &Path, name: &str) -> Outcome {
    if picture.is_empty() {
        return Ok(());
    }
    picture.draw(&SVGBackend::new(&folder.join(name).with_extension("svg"), SIZE).into_drawing_area())?;
    picture.draw(&BitMapBackend::new(&folder.join(name).with_extension("png"), SIZE).into_drawing_area())
}
