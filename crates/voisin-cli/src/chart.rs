//! Charts as SVG, for files and for the report: a curve with logarithmic speed, and bars.
//!
//! Colors can be seen on light and on dark; those of text and paper are variables of the page,
//! where there is one.

use std::fmt::Write as _;

/// Narrow, so that text of 13 units can be read where a phone shrinks the picture.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;

/// A line with a dot at each point, and a label at each dot.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64, String)>,
}

/// An axis: its name, its range, and where it has marks.
struct Axis {
    low: f64,
    high: f64,
    is_logarithmic: bool,
    marks: Vec<f64>,
}

impl Axis {
    /// From a mark below all values to one above, in steps of 1, 2 and 5.
    fn linear(values: impl Iterator<Item = f64> + Clone, limit: f64) -> Self {
        let (low, high) = range(values);
        let step = step_of((high - low).max(1e-3) / 5.0);
        let (low, high) = ((low / step).floor() * step, ((high / step).ceil() * step).min(limit));
        let high = if high > low { high } else { low + step };
        let count = ((high - low) / step).round() as usize;
        let marks = (0..=count).map(|mark| low + mark as f64 * step).collect();
        Self { low, high, is_logarithmic: false, marks }
    }

    /// From a mark below all values to one above, at 1, 2 and 5 times the powers of ten.
    fn logarithmic(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (low, high) = range(values.filter(|value| *value > 0.0));
        let tens = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let all: Vec<f64> =
            tens.flat_map(|ten| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(ten))).collect();
        let low = all.iter().copied().rfind(|mark| *mark <= low).unwrap_or(low);
        let high = all.iter().copied().find(|mark| *mark >= high && *mark > low).unwrap_or(high);
        let marks = all.into_iter().filter(|mark| (low..=high).contains(mark)).collect();
        Self { low, high, is_logarithmic: true, marks }
    }

    /// The place of a value, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let of = |value: f64| if self.is_logarithmic { value.ln() } else { value };
        ((of(value) - of(self.low)) / (of(self.high) - of(self.low))).clamp(0.0, 1.0)
    }
}

fn range(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let values = values.filter(|value| value.is_finite());
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.fold(f64::NEG_INFINITY, f64::max);
    if low <= high { (low, high) } else { (1.0, 2.0) }
}

/// 1, 2 or 5 times a power of ten, no smaller than `step`.
fn step_of(step: f64) -> f64 {
    let ten = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|digit| digit * ten).into_iter().find(|s| *s >= step).unwrap_or(step)
}

/// A number at a mark.
fn mark(value: f64) -> String {
    if value >= 1000.0 {
        return crate::ui::number(value.round() as u64);
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text in XML.
pub(crate) fn escape(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    // Control characters are no XML.
    escaped.replace('"', "&quot;").replace(|c: char| c.is_control(), " ")
}

/// Curves over two axes: the first linear, up to `limit`; the second logarithmic.
pub(crate) fn curves(title: &str, across: (&str, f64), upward: &str, lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|line| line.points.iter());
    let x_axis = Axis::linear(all().map(|point| point.0), across.1);
    let y_axis = Axis::logarithmic(all().map(|point| point.1));
    let x = |value| LEFT + x_axis.place(value) * (WIDTH - LEFT - RIGHT);
    let y = |value| HEIGHT - BOTTOM - y_axis.place(value) * (HEIGHT - TOP - BOTTOM);
    let mut svg = begin(title, HEIGHT);
    for value in &x_axis.marks {
        let (x, bottom, label) = (x(*value), HEIGHT - BOTTOM, mark(*value));
        _ = write!(
            svg,
            "<path class=\"g\" d=\"M{x:.1} {TOP}V{bottom}\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\">{label}</text>",
            bottom + 16.0
        );
    }
    for value in &y_axis.marks {
        let (y, right, label) = (y(*value), WIDTH - RIGHT, mark(*value));
        _ = write!(
            svg,
            "<path class=\"g\" d=\"M{LEFT} {y:.1}H{right}\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\">{label}</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }
    _ = write!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text><text \
         transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 10.0,
        escape(across.0),
        (TOP + HEIGHT - BOTTOM) / 2.0,
        escape(upward)
    );
    let is_risen = |line: &Line| match line.points[..] {
        [(_, first, _), .., (_, last, _)] => last > first,
        _ => false,
    };
    let rises = lines.iter().any(is_risen);
    for (number, line) in lines.iter().enumerate() {
        line_of(&mut svg, number, line, rises, (&x, &y));
    }
    svg + "</svg>"
}

fn line_of(
    svg: &mut String,
    number: usize,
    line: &Line,
    rises: bool,
    (x, y): (&impl Fn(f64) -> f64, &impl Fn(f64) -> f64),
) {
    let points: Vec<String> =
        line.points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect();
    _ = write!(svg, "<polyline class=\"l{}\" points=\"{}\"/>", number % 4, points.join(" "));
    for (across, upward, label) in &line.points {
        let (x, y) = (x(*across), y(*upward));
        _ = write!(
            svg,
            "<circle class=\"d{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"><title>{}</title>\
             </circle>",
            number % 4,
            escape(&format!("{}: {label}", line.name))
        );
    }
    // Where no line ends.
    let top = TOP + 14.0 + 16.0 * number as f64;
    let (x, anchor) = if rises { (LEFT + 8.0, "start") } else { (WIDTH - RIGHT - 8.0, "end") };
    _ = write!(
        svg,
        "<text class=\"t{}\" x=\"{x:.1}\" y=\"{top:.1}\" text-anchor=\"{anchor}\">{}</text>",
        number % 4,
        escape(&line.name)
    );
}

/// A bar for each row: its name, its length, and what to write at its end.
pub(crate) fn bars(title: &str, rows: &[(String, f64, String)]) -> String {
    const ROW: f64 = 24.0;
    const NAMES: f64 = 84.0;
    const LABELS: f64 = 112.0;
    let height = TOP + ROW * rows.len() as f64 + 6.0;
    let most = rows.iter().map(|row| row.1).fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = begin(title, height);
    for (number, (name, length, label)) in rows.iter().enumerate() {
        let top = TOP + ROW * number as f64;
        let width = (WIDTH - NAMES - LABELS) * length.max(0.0) / most;
        _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text><rect class=\"b\" \
             x=\"{NAMES}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/><text x=\"{:.1}\" \
             y=\"{:.1}\">{}</text>",
            NAMES - 8.0,
            top + 16.0,
            escape(name),
            top + 3.0,
            ROW - 6.0,
            NAMES + width + 6.0,
            top + 16.0,
            escape(label)
        );
    }
    svg + "</svg>"
}

/// A column for each number of a histogram, from 0 on.
pub(crate) fn histogram(title: &str, across: &str, counts: &[u64]) -> String {
    const HEIGHT: f64 = 240.0;
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let width = (WIDTH - LEFT - RIGHT) / counts.len().max(1) as f64;
    let bottom = HEIGHT - BOTTOM;
    let mut svg = begin(title, HEIGHT);
    let every = counts.len().div_ceil(12).max(1);
    for (degree, count) in counts.iter().enumerate() {
        let height = (bottom - TOP) * *count as f64 / most;
        let x = LEFT + width * degree as f64;
        _ = write!(
            svg,
            "<rect class=\"b\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\">\
             <title>{degree}: {}</title></rect>",
            bottom - height,
            (width - 1.0).max(0.5),
            crate::ui::number(*count)
        );
        if degree % every == 0 {
            _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{degree}</text>",
                x + width / 2.0,
                bottom + 16.0
            );
        }
    }
    _ = write!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text><text x=\"{:.1}\" y=\"{:.1}\" \
         text-anchor=\"middle\">{}</text>",
        LEFT - 6.0,
        TOP + 10.0,
        crate::ui::number(most as u64),
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 10.0,
        escape(across)
    );
    svg + "</svg>"
}

/// What a picture begins with. Its styles are for itself alone: it may stand in any page, whose
/// `--vo-back` and `--vo-text` are its colors then.
fn begin(title: &str, height: f64) -> String {
    format!(
        "<svg class=\"vo\" xmlns=\"http://www.w3.org/2000/svg\" \
         viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\">\
         <style>svg.vo{{background:var(--vo-back,#fff);\
         font:13px system-ui,sans-serif;fill:var(--vo-text,#333)}}\
         .vo .g{{stroke:rgba(128,128,128,.35)}}.vo .b{{fill:#2f7fc1}}\
         .vo polyline{{fill:none;stroke-width:2}}\
         .vo .l0{{stroke:#2f7fc1}}.vo .l1{{stroke:#d0622f}}.vo .l2{{stroke:#3f9a48}}\
         .vo .d0,.vo .t0{{fill:#2f7fc1}}.vo .d1,.vo .t1{{fill:#d0622f}}\
         .vo .d2,.vo .t2{{fill:#3f9a48}}.vo .d3,.vo .t3{{fill:#8d62c4}}\
         .vo .h{{font-weight:600}}</style>\
         <text class=\"h\" x=\"8\" y=\"20\">{}</text>",
        escape(title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_marks_around_their_values() {
        let axis = Axis::linear([0.83, 0.991].into_iter(), 1.0);
        assert!(axis.low <= 0.83 && axis.high >= 0.991 && axis.high <= 1.0, "{:?}", axis.marks);
        assert_eq!((axis.place(axis.low), axis.place(axis.high)), (0.0, 1.0));
        let axis = Axis::logarithmic([900.0, 43_000.0].into_iter());
        assert_eq!((axis.low, axis.high), (500.0, 50_000.0));
        assert!(axis.marks.len() >= 6);
        // One value, or none.
        assert!(Axis::logarithmic([100.0].into_iter()).high > 100.0);
        assert!(Axis::linear(std::iter::empty(), 1.0).place(5.0) <= 1.0);
    }

    #[test]
    fn text_cannot_leave_its_place() {
        let svg = bars("<script>", &[("a&b".to_owned(), 1.0, "\"x\"\u{7}".to_owned())]);
        assert!(!svg.contains("<script>") && svg.contains("a&amp;b") && !svg.contains('\u{7}'));
    }
}
