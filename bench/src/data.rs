//! The two sets of real vectors, from a folder of raw arrays: see the README of this crate for
//! their layout.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use half::f16;

/// The number of nearest rows that the files list for each query.
const LISTED_NEIGHBORS: usize = 100;

/// Vectors, queries, and the exact answers.
pub struct DataSet {
    /// Its name in tables.
    pub name: &'static str,
    /// The number of components of a vector.
    pub dimensions: usize,
    /// Row by row.
    pub base: Vec<f32>,
    /// Row by row.
    pub queries: Vec<f32>,
    neighbors: Vec<u32>,
}

impl DataSet {
    /// Photo descriptors: 100 000 x 128, Euclidean.
    pub fn photos(folder: &Path) -> Self {
        Self {
            base: bytes_as_floats(folder, "photo-sift-128.u8"),
            neighbors: words(&read(folder, "photo-sift-128.neighbors.i32")),
            ..Self::photo_queries(folder)
        }
    }

    /// The queries of the photo descriptors, without vectors to store.
    pub fn photo_queries(folder: &Path) -> Self {
        Self {
            name: "photo descriptors 100k x 128",
            dimensions: 128,
            base: Vec::new(),
            queries: bytes_as_floats(folder, "photo-sift-128.queries.u8"),
            neighbors: Vec::new(),
        }
    }

    /// Glosses: 100 000 x 384, cosine.
    pub fn glosses(folder: &Path) -> Self {
        let floats = |name| {
            read(folder, name)
                .as_chunks()
                .0
                .iter()
                .map(|pair| f16::from_le_bytes(*pair).to_f32())
                .collect()
        };
        Self {
            name: "glosses 100k x 384",
            dimensions: 384,
            base: floats("glosses-384.f16"),
            queries: floats("glosses-384.queries.f16"),
            neighbors: words(&read(folder, "glosses-384.neighbors.i32")),
        }
    }

    /// The same with the last `rows` vectors moved away from all others.
    #[must_use]
    pub fn with_island(mut self, rows: usize, away: impl Fn(f32) -> f32) -> Self {
        let from = self.base.len() - rows * self.dimensions;
        self.base[from..].iter_mut().for_each(|component| *component = away(*component));
        self
    }

    /// The same with fewer vectors to store. The listed neighbors no longer apply.
    #[must_use]
    pub fn first(mut self, rows: usize) -> Self {
        self.base.truncate(rows * self.dimensions);
        self
    }

    /// The first `rows` distinct vectors.
    #[must_use]
    pub fn distinct(mut self, rows: usize) -> Self {
        let mut seen = HashSet::new();
        let mut distinct = Vec::with_capacity(rows * self.dimensions);
        for row in self.base.chunks_exact(self.dimensions) {
            if distinct.len() < rows * self.dimensions
                && seen.insert(row.iter().map(|c| c.to_bits()).collect::<Vec<_>>())
            {
                distinct.extend(row);
            }
        }
        self.base = distinct;
        self
    }

    /// A vector to store.
    #[must_use]
    pub fn row(&self, row: u32) -> &[f32] {
        &self.base[row as usize * self.dimensions..][..self.dimensions]
    }

    /// The vectors to store.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.base.chunks_exact(self.dimensions)
    }

    /// The vectors to search for.
    pub fn query_rows(&self) -> impl ExactSizeIterator<Item = &[f32]> + Clone {
        self.queries.chunks_exact(self.dimensions)
    }

    /// Recall: the fraction of the `k` nearest that `answers` (one a query) hold, by distance:
    /// another row as near as the `k`-th counts.
    pub fn recall<D: voisin::distances::Distance>(&self, answers: &[Vec<u32>], k: usize) -> f64 {
        let distance = |query: &[f32], row: u32| {
            let at = row as usize * self.dimensions;
            f64::from(
                voisin::distances::distance::<D>(query, &self.base[at..at + self.dimensions])
                    .expect("a valid vector"),
            )
        };
        let mut found = 0;
        for ((query, answer), exact) in
            self.query_rows().zip(answers).zip(self.neighbors.chunks(LISTED_NEIGHBORS))
        {
            let farthest = distance(query, exact[k - 1]) * (1.0 + 1e-6) + 1e-9;
            found += answer.iter().take(k).filter(|row| distance(query, **row) <= farthest).count();
        }
        found as f64 / (k * answers.len()) as f64
    }
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    let path = folder.join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn bytes_as_floats(folder: &Path, name: &str) -> Vec<f32> {
    read(folder, name).into_iter().map(f32::from).collect()
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
}
