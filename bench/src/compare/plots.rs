//! Plots the results as SVG: for every set recall against queries per second, and one bar an engine
//! for each cost.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::results::{EngineResults, Run, SetResults};
use crate::curve::Point;

const SIZE: (u32, u32) = (900, 560);
/// The size of a panel of bars.
const PANEL: (u32, u32) = (450, 240);
/// The part of a curve that is shown.
const RECALLS: std::ops::Range<f64> = 0.80..1.0;
/// One color an engine, distinguishable with any color vision.
const COLORS: [RGBColor; 11] = [
    RGBColor(213, 94, 0),
    RGBColor(180, 40, 40),
    RGBColor(240, 160, 110),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(120, 94, 240),
    RGBColor(100, 100, 100),
    RGBColor(0, 0, 0),
];

/// A plot file.
pub struct Plot {
    /// The set that it shows.
    pub set: String,
    pub title: String,
    pub file: String,
}

/// Draws all plots into a folder.
pub fn draw(run: &Run, folder: &Path) -> Vec<Plot> {
    let mut plots = Vec::new();
    for set in &run.sets {
        for threads in [1, super::plan::THREADS] {
            let title = format!(
                "{}: recall against queries a second, {threads} {}",
                set.name,
                if threads == 1 { "thread" } else { "threads" }
            );
            let file = format!("{}-search-{threads}.svg", set.short);
            searches(set, threads, &title, &folder.join(&file)).expect("a plot");
            plots.push(Plot { set: set.short.clone(), title, file });
        }
        let (title, file) = (format!("{}: costs", set.name), format!("{}-costs.svg", set.short));
        costs(set, &folder.join(&file)).expect("a plot");
        plots.push(Plot { set: set.short.clone(), title, file });
    }
    plots
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn searches(set: &SetResults, threads: usize, title: &str, path: &Path) -> Drawn {
    let curves: Vec<(usize, &EngineResults, Vec<&Point>)> = set
        .engines
        .iter()
        .enumerate()
        .filter_map(|(i, engine)| {
            let points: Vec<&Point> = engine
                .curve(threads)?
                .iter()
                .filter(|point| RECALLS.contains(&point.recall))
                .collect();
            (!points.is_empty()).then_some((i, engine, points))
        })
        .collect();
    let speeds = || curves.iter().flat_map(|(_, _, points)| points.iter().map(|point| point.qps));
    let (least, most) = (speeds().fold(f64::INFINITY, f64::min), speeds().fold(1.0, f64::max));
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(RECALLS, (least.min(most) * 0.8..most * 1.25).log_scale())?;
    chart
        .configure_mesh()
        .max_light_lines(0)
        .x_desc("recall of the 10 nearest")
        .y_desc("queries a second")
        .x_label_formatter(&|recall| format!("{recall:.2}"))
        .y_label_formatter(&|qps| format!("{qps:.0}"))
        .draw()?;
    for (i, engine, points) in curves {
        let color = COLORS[i % COLORS.len()];
        let width = if engine.name == "voisin" { 3 } else { 2 };
        let line = || points.iter().map(|point| (point.recall, point.qps));
        chart
            .draw_series(LineSeries::new(line(), color.stroke_width(width)))?
            .label(&engine.name)
            .legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 20, y)], color.stroke_width(width))
            });
        chart.draw_series(line().map(|point| Circle::new(point, 3, color.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}

/// A title, and a figure for each engine that has one.
type Panel = (&'static str, fn(&SetResults, &EngineResults) -> Option<f64>);

const PANELS: [Panel; 8] = [
    ("build, s", |_, engine| Some(engine.build_seconds)),
    ("peak memory of the build, B a vector", |set, engine| {
        Some(engine.build_anonymous_bytes / set.rows as f64)
    }),
    ("on disk, B a vector", |set, engine| Some(engine.disk_bytes / set.rows as f64)),
    ("written, B a vector", |set, engine| Some(engine.written_bytes / set.rows as f64)),
    ("open to the first answer, ms", |_, engine| Some(1000.0 * engine.open_seconds)),
    ("one item added, linked, durable, ms", |_, engine| Some(1000.0 * engine.update?.seconds)),
    ("the same: written, KB", |_, engine| Some(engine.update?.written_bytes / 1000.0)),
    ("exact answers one by one, queries a second", |_, engine| Some(engine.scan?.one_by_one_qps)),
];

fn costs(set: &SetResults, path: &Path) -> Drawn {
    let (columns, rows) = (2, PANELS.len() / 2);
    let area =
        SVGBackend::new(path, (PANEL.0 * columns, PANEL.1 * rows as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    for (area, (title, figure)) in area.split_evenly((rows, columns as usize)).iter().zip(PANELS) {
        let mut bars: Vec<(usize, &str, f64)> = set
            .engines
            .iter()
            .enumerate()
            .filter_map(|(i, engine)| Some((i, &*engine.name, figure(set, engine)?)))
            .collect();
        // The first one on top.
        bars.reverse();
        let most = bars.iter().map(|(_, _, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
        let names: Vec<&str> = bars.iter().map(|(_, name, _)| *name).collect();
        let mut chart = ChartBuilder::on(area)
            .caption(title, ("sans-serif", 15))
            .margin(8)
            .y_label_area_size(80)
            .build_cartesian_2d(0.0..most * 1.25, (0..bars.len() as i32).into_segmented())?;
        chart
            .configure_mesh()
            .disable_mesh()
            .disable_x_axis()
            .y_labels(bars.len())
            .y_label_formatter(&|segment| match segment {
                SegmentValue::CenterOf(i) => {
                    names.get(*i as usize).copied().unwrap_or_default().to_owned()
                }
                _ => String::new(),
            })
            .draw()?;
        let label = TextStyle::from(("sans-serif", 12)).pos(Pos::new(HPos::Left, VPos::Center));
        for (place, (i, _, value)) in (0..).zip(&bars) {
            let corners =
                [(0.0, SegmentValue::Exact(place)), (*value, SegmentValue::Exact(place + 1))];
            let mut bar = Rectangle::new(corners, COLORS[i % COLORS.len()].filled());
            bar.set_margin(3, 3, 0, 0);
            chart.draw_series([bar])?;
            let text = if *value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
            let place = (*value + most * 0.01, SegmentValue::CenterOf(place));
            chart.draw_series([Text::new(text, place, label.clone())])?;
        }
    }
    area.present()?;
    Ok(())
}
