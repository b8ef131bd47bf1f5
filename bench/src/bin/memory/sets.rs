//! The vectors and the queries: real ones, enlarged by further ones that lie among them. They are
//! written once, and the first rows of a file are a smaller set.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use voisin::distances::Euclidean;
use voisin_bench::compare::plan::{EF_CONSTRUCTION, K, M, M0, SEED};
use voisin_bench::compare::protocol::{Metric, Task};
use voisin_bench::compare::truth::{Rows, Truth};
use voisin_bench::data::DataSet;
use voisin_bench::living::Living;

use crate::cache::Cache;

/// The number of queries, each of which a measurement asks at most once.
pub(crate) const QUERIES: usize = 80_000;
/// The number of queries, the first ones, whose exact neighbors are known.
pub(crate) const JUDGED: usize = 2_000;
/// A copy of a gloss lies this far on the way to another gloss.
const SHARE: std::ops::Range<f32> = 0.2..0.5;
/// The length of the vector that is then added to it; a gloss has length 1.
const DISTURBANCE: f32 = 0.25;
/// The number of neighbors of a photo descriptor towards which an enlarged set has others, and of
/// those towards which queries lie.
const TOWARDS: usize = 9;
/// Of the queries, which are not made as any copy is.
const QUERY_SEED: u64 = u64::MAX;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Set {
    /// Its name in file names.
    pub(crate) short: String,
    /// Its name in tables.
    pub(crate) name: String,
    pub(crate) metric: Metric,
    pub(crate) dimensions: usize,
    pub(crate) rows: usize,
    folder: PathBuf,
}

/// The kinds of sets.
pub(crate) const KINDS: [&str; 2] = ["glosses", "photos"];

impl Set {
    /// `rows` vectors of a kind, written to `folder` unless an earlier run has done it; `data` has
    /// the real ones.
    pub(crate) fn prepare(kind: &str, rows: usize, data: &Path, folder: &Path) -> Self {
        let is_glosses = kind == "glosses";
        let (metric, dimensions) =
            if is_glosses { (Metric::Cosine, 384) } else { (Metric::Euclidean, 128) };
        let count = match rows {
            _ if rows.is_multiple_of(1_000_000) => format!("{}M", rows / 1_000_000),
            _ => format!("{}k", rows / 1000),
        };
        let what = if is_glosses { "glosses" } else { "photo descriptors" };
        let set = Self {
            short: format!("{kind}-{count}"),
            name: format!("{what} {count} x {dimensions}"),
            metric,
            dimensions,
            rows,
            folder: folder.join(kind),
        };
        fs::create_dir_all(&set.folder).expect("a folder");
        let is_missing = |file: PathBuf, count: usize| {
            let written = fs::metadata(file).map_or(0, |file| file.len());
            written < (count * dimensions * 4) as u64
        };
        if is_missing(set.base_file(), rows) || is_missing(set.query_file(), QUERIES) {
            println!("{}: making the vectors and {QUERIES} queries, once", set.name);
            if is_glosses { set.write_glosses(data) } else { set.write_photos(data) }
        }
        set
    }

    pub(crate) fn base_file(&self) -> PathBuf {
        self.folder.join("vectors.f32")
    }

    pub(crate) fn query_file(&self) -> PathBuf {
        self.folder.join("queries.f32")
    }

    /// The task of an engine whose files are in `folder`.
    pub(crate) fn task(&self, folder: PathBuf, threads: usize) -> Task {
        Task {
            vectors: self.base_file(),
            queries: self.query_file(),
            rows: self.rows,
            dimensions: self.dimensions,
            metric: self.metric,
            m: M,
            m0: M0,
            ef_construction: EF_CONSTRUCTION,
            alpha: None,
            seed: SEED,
            threads,
            k: K,
            folder,
        }
    }

    /// The exact answers to the judged queries.
    pub(crate) fn truth(&self, cache: &Cache) -> Judge {
        let (base, queries) = (map(&self.base_file()), map(&self.query_file()));
        let truth = cache.find(&format!("truth-{}", self.short), || {
            println!("{}: finding the exact answers to {JUDGED} queries, once", self.name);
            Truth::compute(self.view(&base, &queries), K)
        });
        Judge { set: self.clone(), base, queries, truth }
    }

    fn view<'a>(&self, base: &'a [u8], queries: &'a [u8]) -> Rows<'a> {
        let (base, queries): (&[f32], &[f32]) =
            (bytemuck::cast_slice(base), bytemuck::cast_slice(queries));
        Rows {
            metric: self.metric,
            dimensions: self.dimensions,
            base: &base[..self.rows * self.dimensions],
            queries: &queries[..JUDGED * self.dimensions],
        }
    }

    /// The glosses, then a copy of each after the other, each moved towards a random other gloss
    /// and disturbed.
    fn write_glosses(&self, data: &Path) {
        let mut set = DataSet::glosses(data);
        set.base.chunks_exact_mut(set.dimensions).for_each(normalize);
        let count = set.rows().len();
        let mut moved = vec![0.0; set.dimensions];
        self.write(&self.base_file(), |out| {
            put(out, &set.base);
            for copy in 1..self.rows.div_ceil(count) {
                let mut rng = StdRng::seed_from_u64(copy as u64);
                for row in 0..count as u32 {
                    move_gloss(&set, row, &mut rng, &mut moved);
                    put(out, &moved);
                }
            }
        });
        let mut rng = StdRng::seed_from_u64(QUERY_SEED);
        self.write(&self.query_file(), |out| {
            for _ in 0..QUERIES {
                let row = rng.random_range(0..count as u32);
                move_gloss(&set, row, &mut rng, &mut moved);
                put(out, &moved);
            }
        });
    }

    /// The photo descriptors as `compare full` enlarges them. A query lies between a descriptor and
    /// one of its neighbors, too, but not one towards which a vector of the set lies.
    fn write_photos(&self, data: &Path) {
        let times = TOWARDS + 1;
        let set = DataSet::photos(data).enlarged(times);
        assert!(self.rows <= set.rows().len(), "there are {} photo descriptors", set.rows().len());
        self.write(&self.base_file(), |out| put(out, &set.base));

        let set = DataSet::photos(data);
        let rows: Vec<(u32, u32)> = (0..set.rows().len() as u32).map(|row| (row, row)).collect();
        let index = Living::<Euclidean>::create();
        index.commit(&set, &[], &rows, 1);
        let neighbors = index.neighbors(2 * TOWARDS);
        let mut rng = StdRng::seed_from_u64(QUERY_SEED);
        self.write(&self.query_file(), |out| {
            for _ in 0..QUERIES {
                let row = rng.random_range(0..set.rows().len() as u32);
                let other = neighbors[row as usize][rng.random_range(TOWARDS..2 * TOWARDS)];
                let share: f32 = rng.random_range(0.25..0.75);
                let pairs = set.row(row).iter().zip(set.row(other));
                put(out, &pairs.map(|(a, b)| a + share * (b - a)).collect::<Vec<f32>>());
            }
        });
    }

    /// Writes a file, whole or not at all.
    fn write(&self, path: &Path, content: impl FnOnce(&mut BufWriter<File>)) {
        let unfinished = path.with_extension("unfinished");
        let mut out = BufWriter::new(File::create(&unfinished).expect("a file"));
        content(&mut out);
        out.into_inner().expect("to write").sync_all().expect("to write");
        fs::rename(unfinished, path).expect("to rename a file");
    }
}

fn put(out: &mut BufWriter<File>, vectors: &[f32]) {
    out.write_all(bytemuck::cast_slice(vectors)).expect("to write vectors");
}

fn move_gloss(set: &DataSet, row: u32, rng: &mut StdRng, moved: &mut [f32]) {
    let other = rng.random_range(0..set.rows().len() as u32);
    let share = rng.random_range(SHARE);
    // Of this variance, so that the whole vector has that length.
    let reach = DISTURBANCE * (3.0 / moved.len() as f32).sqrt();
    for ((to, a), b) in moved.iter_mut().zip(set.row(row)).zip(set.row(other)) {
        *to = a + share * (b - a) + rng.random_range(-reach..reach);
    }
    normalize(moved);
}

fn normalize(vector: &mut [f32]) {
    let norm = vector.iter().map(|c| f64::from(*c) * f64::from(*c)).sum::<f64>().sqrt();
    vector.iter_mut().for_each(|c| *c = (f64::from(*c) / norm) as f32);
}

fn map(path: &Path) -> Mmap {
    let file = File::open(path).expect("a file of vectors");
    // SAFETY: this program has written it, and replaces files instead of changing them.
    unsafe { Mmap::map(&file) }.expect("a map")
}

/// Knows the recall of answers.
pub(crate) struct Judge {
    set: Set,
    base: Mmap,
    queries: Mmap,
    truth: Truth,
}

impl Judge {
    /// The recall of `k` ids for each of the first queries, of which those beyond the judged ones
    /// do not count.
    pub(crate) fn recall(&self, answers: &[u32]) -> f64 {
        let judged = &answers[..answers.len().min(JUDGED * K)];
        self.truth.recall(self.set.view(&self.base, &self.queries), judged)
    }
}
