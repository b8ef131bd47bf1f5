//! Curves over two axes, as SVG.

use std::path::Path;

use plotters::prelude::*;

const SIZE: (u32, u32) = (760, 460);
/// Distinguishable with any color vision.
const COLORS: [RGBColor; 5] = [
    RGBColor(90, 90, 90),
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
];

/// A curve; its place in the list is that of its color.
pub struct Curve {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// An axis across: what it is, its range, and the text of a mark.
pub struct Across<'a> {
    pub name: &'a str,
    pub range: std::ops::Range<f64>,
    pub label: &'a dyn Fn(&f64) -> String,
}

/// Draws curves; the axis upward is logarithmic.
///
/// # Panics
/// If the file cannot be written.
pub fn draw(path: &Path, title: &str, across: &Across<'_>, upward: &str, curves: &[Curve]) {
    draw_on(&SVGBackend::new(path, SIZE).into_drawing_area(), title, across, upward, curves)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn draw_on(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    across: &Across<'_>,
    upward: &str,
    curves: &[Curve],
) -> Result<(), Box<dyn std::error::Error>> {
    let is_shown =
        |point: &&(f64, f64)| across.range.contains(&point.0) || across.range.end == point.0;
    let values = || curves.iter().flat_map(|curve| curve.points.iter().filter(is_shown));
    let least = values().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let most = values().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(
            across.range.clone(),
            (least.min(most) * 0.8..most * 1.25).log_scale(),
        )?;
    chart
        .configure_mesh()
        .max_light_lines(0)
        .x_desc(across.name)
        .y_desc(upward)
        .x_label_formatter(across.label)
        .y_label_formatter(&|value| short(*value))
        .draw()?;
    for (curve, color) in curves.iter().zip(COLORS.into_iter().cycle()) {
        let points = || curve.points.iter().filter(is_shown).copied();
        chart
            .draw_series(LineSeries::new(points(), color.stroke_width(2)))?
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
        chart.draw_series(points().map(|point| Circle::new(point, 3, color.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::MiddleLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}

/// A number at a mark: no digits that say nothing.
fn short(value: f64) -> String {
    let text = if value >= 1.0 { format!("{value:.0}") } else { format!("{value:.4}") };
    if text.contains('.') { text.trim_end_matches('0').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_have_the_digits_that_they_need() {
        assert_eq!([0.05, 0.5, 1.0, 50.0, 2000.0].map(short), ["0.05", "0.5", "1", "50", "2000"]);
    }
}
