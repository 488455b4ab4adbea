//! Bars: throughput, a panel for each case, on a scale of its own.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::picture::{Area, FONT, GREY, Outcome, Picture, color, is_floor, names};
use crate::report::Results;
use crate::report::table::short;

const CASES: [&str; 6] = ["jobs_rate", "map_u64", "map_struct", "map_chunk1", "bytes_8mib", "bytes_64k"];
const COLUMNS: usize = 3;

pub(super) struct Bars {
    panels: Vec<Panel>,
}

struct Panel {
    title: String,
    bars: Vec<(&'static str, f64)>,
    /// The least that the machine needs, as a line.
    floor: Option<f64>,
}

pub(super) fn throughput(results: &Results) -> Bars {
    let panel = |case: &&str| {
        let value = |name| Some((name, results.of(case, name)?.median()));
        let (floor, bars): (Vec<_>, Vec<_>) = names().filter_map(value).partition(|(name, _)| is_floor(name));
        let unit = &results.of(case, bars.first()?.0)?.unit;
        Some(Panel { title: format!("{case}, {unit}"), bars, floor: floor.first().map(|(_, value)| *value) })
    };
    Bars { panels: CASES.iter().filter_map(panel).collect() }
}

impl Picture for Bars {
    fn is_empty(&self) -> bool {
        self.panels.is_empty()
    }

    fn draw<B: DrawingBackend<ErrorType: 'static>>(&self, area: &Area<B>) -> Outcome {
        area.fill(&WHITE)?;
        let below = area.dim_in_pixel().1.cast_signed() - 34;
        let (panels, legend) = area.split_vertically(below);
        let rows = self.panels.len().div_ceil(COLUMNS);
        for (panel, part) in self.panels.iter().zip(panels.split_evenly((rows, COLUMNS))) {
            panel.draw(&part)?;
        }
        draw_legend(&legend)?;
        Ok(area.present()?)
    }
}

impl Panel {
    fn draw<B: DrawingBackend<ErrorType: 'static>>(&self, area: &Area<B>) -> Outcome {
        let values = || self.bars.iter().map(|(_, value)| *value).chain(self.floor);
        // A bar on a scale of powers has no zero to begin from: all begin a bit below the least.
        let (least, most) = (values().fold(f64::MAX, f64::min) / 3.0, values().fold(0.0, f64::max) * 3.0);
        let mut builder = ChartBuilder::on(area);
        builder.caption(&self.title, (FONT, 18)).margin(10).y_label_area_size(48);
        let mut chart = builder.build_cartesian_2d(0.0..self.bars.len() as f64, (least..most).log_scale())?;
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh().disable_x_axis().light_line_style(WHITE).bold_line_style(GREY.mix(0.2));
        mesh.label_style((FONT, 13)).y_label_formatter(&|value| short(*value)).draw()?;
        let middle = Pos::new(HPos::Center, VPos::Bottom);
        for (i, (name, value)) in self.bars.iter().enumerate() {
            let corners = [(i as f64 + 0.15, least), (i as f64 + 0.85, *value)];
            chart.draw_series([Rectangle::new(corners, color(name).filled())])?;
            let style = (FONT, 13).into_font().color(&BLACK).pos(middle);
            chart.draw_series([Text::new(short(*value), (i as f64 + 0.5, *value), style)])?;
        }
        if let Some(floor) = self.floor {
            let ends = [(0.0, floor), (self.bars.len() as f64, floor)];
            chart.draw_series([PathElement::new(ends, BLACK.stroke_width(2))])?;
        }
        Ok(())
    }
}

fn draw_legend<B: DrawingBackend<ErrorType: 'static>>(area: &Area<B>) -> Outcome {
    let width = area.dim_in_pixel().0 / names().count() as u32;
    for (i, name) in (0..).zip(names()) {
        let left = 10 + i * width.cast_signed();
        if is_floor(name) {
            area.draw(&PathElement::new([(left, 14), (left + 14, 14)], BLACK.stroke_width(2)))?;
        } else {
            area.draw(&Rectangle::new([(left, 8), (left + 14, 20)], color(name).filled()))?;
        }
        area.draw(&Text::new(name, (left + 20, 7), (FONT, 15)))?;
    }
    Ok(())
}
