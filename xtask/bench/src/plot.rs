//! Pictures of the numbers, each as SVG and as PNG.

mod bars;
mod curves;

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use crate::contenders::{ENTRIES, FLOOR};
use crate::report::Results;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The surface that either backend draws on.
type Area<B> = DrawingArea<B, Shift>;

const SIZE: (u32, u32) = (960, 540);
const FONT: &str = "sans-serif";
const GREY: RGBColor = RGBColor(110, 110, 110);

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

trait Picture {
    fn is_empty(&self) -> bool;

    fn draw<B: DrawingBackend<ErrorType: 'static>>(&self, area: &Area<B>) -> Outcome;
}

fn save(picture: &impl Picture, folder: &Path, name: &str) -> Outcome {
    if picture.is_empty() {
        return Ok(());
    }
    picture.draw(&SVGBackend::new(&folder.join(name).with_extension("svg"), SIZE).into_drawing_area())?;
    picture.draw(&BitMapBackend::new(&folder.join(name).with_extension("png"), SIZE).into_drawing_area())
}

/// The same in all pictures, and ours the one that is seen first.
fn color(contender: &str) -> RGBColor {
    const COLORS: [RGBColor; 6] = [
        RGBColor(208, 52, 44),
        RGBColor(60, 60, 60),
        RGBColor(38, 112, 192),
        RGBColor(72, 152, 80),
        RGBColor(150, 96, 176),
        RGBColor(222, 160, 32),
    ];
    let place = ENTRIES.iter().position(|entry| entry.name == contender);
    place.map_or(GREY, |place| COLORS[place % COLORS.len()])
}

fn names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(|entry| entry.name)
}

fn is_floor(contender: &str) -> bool {
    contender == FLOOR
}
