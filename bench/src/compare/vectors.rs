//! The vectors of one comparison, in memory for the ground truth and in files for the engines.

use std::fs;
use std::path::{Path, PathBuf};

use crate::compare::protocol::Metric;
use crate::data::DataSet;

/// See the module.
pub struct Vectors {
    /// Its name in tables.
    pub name: String,
    /// Its name in file names.
    pub short: &'static str,
    pub metric: Metric,
    pub dimensions: usize,
    pub base: Vec<f32>,
    pub queries: Vec<f32>,
    /// The folder of both files.
    pub folder: PathBuf,
}

impl Vectors {
    /// Writes a set to files in `folder`, which is created. Under cosine all vectors are
    /// normalized, so that engines that only support the inner product get the same data.
    pub fn write(set: DataSet, short: &'static str, metric: Metric, folder: &Path) -> Self {
        let DataSet { dimensions, mut base, mut queries, .. } = set;
        if metric == Metric::Cosine {
            [&mut base, &mut queries]
                .into_iter()
                .for_each(|vectors| normalize(vectors, dimensions));
        }
        let rows = base.len() / dimensions;
        let thousands = if rows.is_multiple_of(1_000_000) {
            format!("{}M", rows / 1_000_000)
        } else {
            format!("{}k", rows / 1000)
        };
        let name = format!(
            "{} {thousands} x {dimensions}",
            set.name.split(" 1").next().unwrap_or(set.name)
        );
        let vectors =
            Self { name, short, metric, dimensions, base, queries, folder: folder.join(short) };
        fs::create_dir_all(&vectors.folder).expect("a folder");
        fs::write(vectors.base_file(), bytemuck::cast_slice(&vectors.base))
            .expect("to write the vectors");
        fs::write(vectors.query_file(), bytemuck::cast_slice(&vectors.queries))
            .expect("to write the queries");
        vectors
    }

    pub fn base_file(&self) -> PathBuf {
        self.folder.join("vectors.f32")
    }

    pub fn query_file(&self) -> PathBuf {
        self.folder.join("queries.f32")
    }

    /// The number of vectors to index.
    pub fn rows(&self) -> usize {
        self.base.len() / self.dimensions
    }

    /// The bytes of the vectors alone.
    pub fn raw_bytes(&self) -> f64 {
        4.0 * self.base.len() as f64
    }

    pub fn row(&self, row: usize) -> Option<&[f32]> {
        self.base.get(row * self.dimensions..(row + 1) * self.dimensions)
    }
}

fn normalize(vectors: &mut [f32], dimensions: usize) {
    for row in vectors.chunks_exact_mut(dimensions) {
        let norm = row.iter().map(|c| f64::from(*c) * f64::from(*c)).sum::<f64>().sqrt();
        row.iter_mut().for_each(|c| *c = (f64::from(*c) / norm) as f32);
    }
}
