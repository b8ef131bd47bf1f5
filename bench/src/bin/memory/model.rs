//! A model of larger indexes, from what was counted at several sizes.
//!
//! A search expands more candidates in a larger index: `ef_search` for the same recall is continued
//! along the logarithm of the number of items. The counts for each of these candidates, in a given
//! fraction of the file's bytes, approach a limit: what a process needs whatever the size, some
//! megabytes, is a smaller part of the memory of a larger index. So they are continued as `a + b /
//! items`. Bytes grow with the items. A query takes the time that it takes in memory, and that of
//! its pages at the rate of the disk, times how much longer they took at the largest size, as not
//! all of them are asked for in one batch.

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
    /// See the module.
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

/// The model of these sizes, the largest of which comes last.
pub(crate) fn fit(sizes: &[Size], disk: &[Reading]) -> Model {
    let lines = MEMORIES.iter().flat_map(|memory| lines(sizes, disk, *memory)).collect();
    Model { engine: ENGINE.to_owned(), lines }
}

/// Those of one amount of memory.
fn lines(sizes: &[Size], disk: &[Reading], memory: Memory) -> Vec<Line> {
    let cells: Vec<(&Size, &Cell)> = sizes
        .iter()
        .filter_map(|size| Some((size, size.cells.iter().find(|cell| cell.memory == memory)?)))
        .collect();
    let in_memory = |size: &Size| {
        let cell = size.cells.iter().find(|cell| cell.memory == Memory::All);
        cell.map_or(0.0, |cell| cell.steady.p50_ms)
    };
    let Some((largest, last)) = cells.last() else { return Vec::new() };
    let waited = last.steady.p50_ms - in_memory(largest);
    // In memory, there is nothing to wait for.
    let times = match reading_ms(disk, last.steady.pages) {
        0.0 => 1.0,
        reading => (waited / reading).max(1.0),
    };
    let measured = cells.iter().map(|(size, cell)| Line {
        items: size.items,
        memory,
        knob: cell.knob as f64,
        file_bytes: cell.file_bytes as f64,
        hot_bytes: size.hot_bytes,
        pages: cell.steady.pages,
        major_faults: cell.steady.major_faults,
        read_bytes: cell.steady.read_bytes,
        p50_ms: Some(cell.steady.p50_ms),
        computed_ms: in_memory(size) + times * reading_ms(disk, cell.steady.pages),
        is_computed: false,
    });
    let by_logarithm = |of: &dyn Fn(&Size, &Cell) -> f64| {
        let points = cells.iter().map(|(size, cell)| (logarithm(size.items), of(size, cell)));
        Fit::of(&points.collect::<Vec<_>>())
    };
    let each = |of: &dyn Fn(&Cell) -> f64| {
        let points =
            cells.iter().map(|(size, cell)| (inverse(size.items), of(cell) / cell.knob as f64));
        Fit::of(&points.collect::<Vec<_>>())
    };
    let computed = COMPUTED.map(|items| {
        let knob = by_logarithm(&|_, cell| cell.knob as f64).at(logarithm(items));
        let count = |of: &dyn Fn(&Cell) -> f64| knob * each(of).at(inverse(items));
        let pages = count(&|cell| cell.steady.pages);
        let growth = items as f64 / largest.items as f64;
        let searching = by_logarithm(&|size, _| in_memory(size)).at(logarithm(items));
        Line {
            items,
            memory,
            knob,
            file_bytes: last.file_bytes as f64 * growth,
            hot_bytes: largest.hot_bytes * growth,
            pages,
            major_faults: count(&|cell| cell.steady.major_faults),
            read_bytes: count(&|cell| cell.steady.read_bytes),
            p50_ms: None,
            computed_ms: searching + times * reading_ms(disk, pages),
            is_computed: true,
        }
    });
    measured.chain(computed).collect()
}

fn logarithm(items: usize) -> f64 {
    (items as f64).log10()
}

fn inverse(items: usize) -> f64 {
    1.0 / items as f64
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
        // Differences of numbers of this size are not lost.
        let counts = [1e5, 3e5, 1e6].map(|items: f64| (1.0 / items, 0.2 + 5e4 / items));
        assert!((Fit::of(&counts).at(1e-8) - 0.2005).abs() < 1e-9);
    }
}
