//! Lines: distributions of latencies, the cost of many pending jobs.

use std::ops::Range;

use plotters::chart::ChartContext;
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::prelude::*;

use super::picture::{Area, FONT, GREY, Outcome, Picture, color, names};
use crate::report::Results;
use crate::report::table::short;

pub(super) struct Curves {
    title: String,
    x_label: &'static str,
    y_label: &'static str,
    has_log_x: bool,
    lines: Vec<(&'static str, Vec<(f64, f64)>)>,
}

/// The share of the calls that took no longer than so.
pub(super) fn latency(results: &Results, case: &str) -> Curves {
    let line = |name| {
        let quantiles = &results.of(case, name)?.quantiles;
        let step = 100.0 / (quantiles.len().max(2) - 1) as f64;
        let points = quantiles.iter().enumerate().map(|(i, time)| (i as f64 * step, *time));
        Some((name, points.collect()))
    };
    Curves {
        title: format!("{case}: one blocking call of a trivial task"),
        x_label: "percentile",
        y_label: "µs",
        has_log_x: false,
        lines: names().filter_map(line).collect(),
    }
}

/// The cost of a job while so many others wait.
pub(super) fn pending(results: &Results) -> Curves {
    let line = |name| {
        let point = |case: &str| {
            let count: f64 = case.strip_prefix("pending_")?.parse().ok()?;
            Some((count, results.of(case, name)?.median()))
        };
        let points: Vec<_> = results.cases().into_iter().filter_map(point).collect();
        (!points.is_empty()).then_some((name, points))
    };
    Curves {
        title: "cost of a job, submitted while all others wait".to_owned(),
        x_label: "jobs pending",
        y_label: "ns per job",
        has_log_x: true,
        lines: names().filter_map(line).collect(),
    }
}

impl Picture for Curves {
    fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn draw<B: DrawingBackend<ErrorType: 'static>>(&self, area: &Area<B>) -> Outcome {
        area.fill(&WHITE)?;
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let x = range(points().map(|point| point.0));
        let y = range(points().map(|point| point.1));
        // To the next powers of ten, and not along the frame.
        let y = 10_f64.powf((y.start / 1.2).log10().floor())..10_f64.powf((y.end * 1.2).log10().ceil());
        let mut builder = ChartBuilder::on(area);
        builder
            .caption(&self.title, (FONT, 22))
            .margin(14)
            .margin_right(28)
            .x_label_area_size(44)
            .y_label_area_size(64);
        if self.has_log_x {
            self.finish(builder.build_cartesian_2d(x.log_scale(), y.log_scale())?)?;
        } else {
            self.finish(builder.build_cartesian_2d(x, y.log_scale())?)?;
        }
        Ok(area.present()?)
    }
}

impl Curves {
    fn finish<'a, B, X, Y>(&self, mut chart: ChartContext<'a, B, Cartesian2d<X, Y>>) -> Outcome
    where
        B: DrawingBackend<ErrorType: 'static> + 'a,
        X: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(self.x_label).y_desc(self.y_label).label_style((FONT, 15)).axis_desc_style((FONT, 16));
        mesh.light_line_style(WHITE).bold_line_style(GREY.mix(0.2));
        mesh.x_label_formatter(&|value| short(*value)).y_label_formatter(&|value| short(*value)).draw()?;
        for (name, points) in &self.lines {
            let style = color(name).stroke_width(2);
            let series = chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
            series.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        let mut legend = chart.configure_series_labels();
        legend.position(SeriesLabelPosition::UpperLeft).background_style(WHITE.mix(0.8)).label_font((FONT, 15));
        legend.draw()?;
        Ok(())
    }
}

fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, most) = values.fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(value), most.max(value)));
    least..most
}
