//! The common parts of all pictures: the area that they are drawn on, fonts and colors.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::contenders::{ENTRIES, FLOOR};

pub(super) type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The area of either backend.
pub(super) type Area<B> = DrawingArea<B, Shift>;

pub(super) const FONT: &str = "sans-serif";
pub(super) const GREY: RGBColor = RGBColor(110, 110, 110);

pub(super) trait Picture {
    fn is_empty(&self) -> bool;

    fn draw<B: DrawingBackend<ErrorType: 'static>>(&self, area: &Area<B>) -> Outcome;
}

/// The same in all pictures, and ours the one that is seen first.
pub(super) fn color(contender: &str) -> RGBColor {
    const COLORS: [RGBColor; 13] = [
        RGBColor(208, 52, 44),
        RGBColor(60, 60, 60),
        RGBColor(38, 112, 192),
        RGBColor(72, 152, 80),
        RGBColor(150, 96, 176),
        RGBColor(222, 160, 32),
        RGBColor(40, 150, 160),
        RGBColor(140, 100, 70),
        RGBColor(220, 110, 160),
        RGBColor(170, 180, 60),
        RGBColor(110, 190, 120),
        RGBColor(100, 120, 220),
        RGBColor(230, 140, 110),
    ];
    // Two contenders of one colour could not be told apart.
    const _: () = assert!(ENTRIES.len() <= COLORS.len());
    let place = ENTRIES.iter().position(|entry| entry.name == contender);
    place.map_or(GREY, |place| COLORS[place % COLORS.len()])
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(|entry| entry.name)
}

pub(super) fn is_floor(contender: &str) -> bool {
    contender == FLOOR
}
