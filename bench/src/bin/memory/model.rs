//! A model of larger indexes: what was counted at several sizes, continued along the logarithm of
//! the number of items.
//!
//! A search expands more candidates in a larger index, about in proportion to that logarithm, and
//! so do the pages that it reads from a given fraction of memory. Bytes grow with the items.

use serde::{Deserialize, Serialize};
use voisin::distances::Cosine;
use voisin::{Index, Kind, Options};

use crate::disk::{Reading, Way};
use crate::indexes::Built;
use crate::plan::Memory;
use crate::results::Cell;

/// The sizes that are measured.
pub(crate) const ITEMS: [usize; 3] = [100_000, 300_000, 1_000_000];
/// The sizes that are computed.
const COMPUTED: [usize; 2] = [10_000_000, 100_000_000];
/// The engine that is measured.
pub(crate) const ENGINE: &str = "voisin-4-bit";
pub(crate) const MEMORIES: [Memory; 3] = [Memory::All, Memory::Percent(25), Memory::Percent(10)];

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Model {
    pub(crate) engine: String,
    pub(crate) lines: Vec<Line>,
}

/// A number of items, in some memory.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) items: usize,
    pub(crate) memory: Memory,
    pub(crate) knob: f64,
    pub(crate) file_bytes: f64,
    /// All but the vectors.
    pub(crate) hot_bytes: f64,
    /// A query.
    pub(crate) pages: f64,
    pub(crate) major_faults: f64,
    pub(crate) read_bytes: f64,
    /// As measured.
    pub(crate) p50_ms: Option<f64>,
    /// The time in memory, and that of the pages.
    pub(crate) computed_ms: f64,
    /// Whether the counts are continued, too.
    pub(crate) is_computed: bool,
}

/// What was measured at one size.
pub(crate) struct Size {
    pub(crate) items: usize,
    pub(crate) hot_bytes: f64,
    /// One of each of [`MEMORIES`].
    pub(crate) cells: Vec<Cell>,
}

/// The bytes of an index that searches read first: all but the vectors.
pub(crate) fn hot_bytes(built: &Built) -> f64 {
    let index = Index::<Cosine>::open_read_only(&built.folder, Options::default());
    let stats = index.and_then(|index| index.stats()).expect("statistics");
    let hot = stats.kinds.iter().filter(|kind| ![Kind::VECTORS, Kind::TAIL].contains(&kind.kind));
    hot.map(|kind| kind.bytes).sum::<u64>() as f64
}

/// The model of these sizes.
pub(crate) fn fit(sizes: &[Size], disk: &[Reading]) -> Model {
    let mut lines = Vec::new();
    for memory in MEMORIES {
        let cells: Vec<(&Size, &Cell)> = sizes
            .iter()
            .filter_map(|size| Some((size, size.cells.iter().find(|cell| cell.memory == memory)?)))
            .collect();
        let in_memory = |size: &Size| {
            let cell = size.cells.iter().find(|cell| cell.memory == Memory::All);
            cell.map_or(0.0, |cell| cell.steady.p50_ms)
        };
        for (size, cell) in &cells {
            lines.push(Line {
                items: size.items,
                memory,
                knob: cell.knob as f64,
                file_bytes: cell.file_bytes as f64,
                hot_bytes: size.hot_bytes,
                pages: cell.steady.pages,
                major_faults: cell.steady.major_faults,
                read_bytes: cell.steady.read_bytes,
                p50_ms: Some(cell.steady.p50_ms),
                computed_ms: in_memory(size) + reading_ms(disk, cell.steady.pages),
                is_computed: false,
            });
        }
        let Some((largest, last)) = cells.last() else { continue };
        let line = |of: &dyn Fn(&(&Size, &Cell)) -> f64| {
            let points = cells.iter().map(|point| ((point.0.items as f64).log10(), of(point)));
            Fit::of(&points.collect::<Vec<_>>())
        };
        for items in COMPUTED {
            let at = (items as f64).log10();
            let times = items as f64 / largest.items as f64;
            let pages = line(&|(_, cell)| cell.steady.pages).at(at);
            lines.push(Line {
                items,
                memory,
                knob: line(&|(_, cell)| cell.knob as f64).at(at),
                file_bytes: last.file_bytes as f64 * times,
                hot_bytes: largest.hot_bytes * times,
                pages,
                major_faults: line(&|(_, cell)| cell.steady.major_faults).at(at),
                read_bytes: line(&|(_, cell)| cell.steady.read_bytes).at(at),
                p50_ms: None,
                computed_ms: line(&|(size, _)| in_memory(size)).at(at) + reading_ms(disk, pages),
                is_computed: true,
            });
        }
    }
    Model { engine: ENGINE.to_owned(), lines }
}

/// The time to read so many random pages in one batch, as the disk has done it.
fn reading_ms(disk: &[Reading], pages: f64) -> f64 {
    let one = disk.iter().find(|reading| reading.pages == 1);
    let hinted = disk.iter().filter(|reading| reading.way == Way::OneHint);
    let a_second = hinted.map(Reading::pages_a_second).reduce(f64::max);
    match (one, a_second) {
        // Less than a page a query: some queries wait for one.
        (Some(one), Some(a_second)) => (one.p50_ms * pages.min(1.0)).max(1e3 * pages / a_second),
        _ => f64::NAN,
    }
}

/// A line through points, by least squares.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fit {
    base: f64,
    slope: f64,
}

impl Fit {
    fn of(points: &[(f64, f64)]) -> Self {
        let count = points.len() as f64;
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (x, y) = (mean(&|point| point.0), mean(&|point| point.1));
        let spread = mean(&|point| (point.0 - x).powi(2));
        let slope =
            if spread > 0.0 { mean(&|point| (point.0 - x) * (point.1 - y)) / spread } else { 0.0 };
        Self { base: y - slope * x, slope }
    }

    /// No count is below nothing.
    fn at(self, x: f64) -> f64 {
        (self.base + self.slope * x).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fit_goes_through_points_of_a_line_and_between_others_and_is_never_negative() {
        let fit = Fit::of(&[(1.0, 3.0), (2.0, 5.0), (4.0, 9.0)]);
        assert!((fit.at(8.0) - 17.0).abs() < 1e-9);
        let between = Fit::of(&[(0.0, 0.0), (0.0, 2.0)]);
        assert_eq!((between.at(0.0), between.at(5.0)), (1.0, 1.0));
        assert_eq!(Fit::of(&[(0.0, 1.0), (1.0, 0.0)]).at(5.0), 0.0);
    }
}
