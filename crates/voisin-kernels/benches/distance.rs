//! The time of four distances of vectors in the cache: `one` called four times, `four` called once,
//! and `diskann-vector` called four times where it has the metric. A search also waits for memory:
//! see the search bench.
//!
//! `cargo bench --package voisin-kernels` exits non-zero if `diskann-vector` is more than 3 %
//! faster than either.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use diskann_vector::distance::{Distance as Diskann, DistanceProvider, Metric};
use half::f16;
use voisin_kernels::codec::{Bf16, Codec, F16, I8, Scale};
use voisin_kernels::distance::{Cosine, DecodedOf, Distance, Euclidean, Hamming, Manhattan};

const DIMENSIONS: [usize; 9] = [96, 100, 128, 256, 384, 768, 960, 1024, 1536];
/// The fraction by which medians of the same program differ between runs.
const TOLERANCE: f64 = 0.03;

const LINE_BYTES: usize = 64;

/// A query and four vectors, with components from -1 to 1.
struct Vectors {
    rows: Vec<Vec<f32>>,
}

/// Consecutive vectors, the first at the start of a cache line, as in a stored block.
struct Block<T> {
    memory: Vec<T>,
    start: usize,
    length: usize,
}

impl<T: Copy> Block<T> {
    fn new(rows: &[Vec<T>], any: T) -> Self {
        let line = LINE_BYTES / size_of::<T>();
        let mut memory: Vec<T> = Vec::with_capacity(rows.len() * rows[0].len() + line);
        let start = memory.as_ptr().align_offset(LINE_BYTES);
        memory.resize(start, any);
        rows.iter().for_each(|row| memory.extend(row));
        Self { memory, start, length: rows[0].len() }
    }

    fn rows<const N: usize>(&self) -> [&[T]; N] {
        std::array::from_fn(|i| &self.memory[self.start + i * self.length..][..self.length])
    }
}

impl Vectors {
    fn new(dimensions: usize) -> Self {
        let mut state = 1u32;
        let mut component = || {
            state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        Self { rows: (0..5).map(|_| (0..dimensions).map(|_| component()).collect()).collect() }
    }

    /// The vectors in an element type. The time does not depend on what bits and codes decode to.
    fn encoded<C: Codec>(&self) -> Block<u8> {
        let encode = |row: &Vec<f32>| {
            let mut bytes = Vec::new();
            C::encode(row, Scale::NONE, &mut bytes);
            bytes
        };
        Block::new(&self.rows.iter().map(encode).collect::<Vec<_>>(), 0)
    }
}

/// The time of four distances each way, in nanoseconds: the median of rounds that alternate between
/// the ways.
fn medians<const N: usize>(mut ways: [&mut dyn FnMut(); N]) -> [f64; N] {
    const ROUNDS: usize = 201;
    const CALLS: usize = 5_000;
    let mut times = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for (way, times) in ways.iter_mut().zip(&mut times) {
            let start = Instant::now();
            (0..CALLS).for_each(|_| way());
            times.push(start.elapsed().as_secs_f64() * 1e9 / CALLS as f64);
        }
    }
    times.map(|mut times| {
        times.sort_unstable_by(f64::total_cmp);
        times[ROUNDS / 2]
    })
}

/// A distance of `diskann-vector`, between floats and its stored element type.
struct Peer<T: 'static> {
    metric: Metric,
    stored: fn(f32) -> T,
}

/// Prints a line for each number of dimensions.
fn metric<D: Distance>() {
    for dimensions in DIMENSIONS {
        let (kernels, vectors) = (D::kernels(dimensions), Vectors::new(dimensions));
        let (probes, stored) = (vectors.encoded::<DecodedOf<D>>(), vectors.encoded::<D::Codec>());
        let ([query], [_, stored @ ..]) = (probes.rows::<1>(), stored.rows::<5>());
        let mut one = || {
            _ = black_box(black_box::<[&[u8]; 4]>(stored).map(|vector| kernels.one(query, vector)))
        };
        let mut four = || _ = black_box(kernels.four(query, black_box(stored)));
        let [one, four] = medians([&mut one, &mut four]);
        println!("{:>12} {:>5} {dimensions:>5} {one:>9.1} {four:>9.1}", D::name(), D::Codec::NAME);
    }
}

/// The same beside a peer. Returns in how many lines the peer is faster by more than [`TOLERANCE`].
fn beside<D: Distance, T: Copy + 'static>(peer: &Peer<T>) -> usize
where
    f32: DistanceProvider<T>,
{
    let mut missed = 0;
    for dimensions in DIMENSIONS {
        let (kernels, vectors) = (D::kernels(dimensions), Vectors::new(dimensions));
        let (probes, stored) = (vectors.encoded::<DecodedOf<D>>(), vectors.encoded::<D::Codec>());
        let ([query], [_, stored @ ..]) = (probes.rows::<1>(), stored.rows::<5>());
        let mut one = || {
            _ = black_box(black_box::<[&[u8]; 4]>(stored).map(|vector| kernels.one(query, vector)))
        };
        let mut four = || _ = black_box(kernels.four(query, black_box(stored)));

        let distance = Diskann::<f32, T>::new(peer.metric, Some(dimensions));
        let floats = Block::new(&vectors.rows, 0.0);
        let theirs: Vec<Vec<T>> = vectors
            .rows
            .iter()
            .map(|row| row.iter().map(|value| (peer.stored)(*value)).collect())
            .collect();
        let theirs = Block::new(&theirs, (peer.stored)(0.0));
        let ([query], [_, theirs @ ..]) = (floats.rows::<1>(), theirs.rows::<5>());
        let mut theirs = || {
            _ = black_box(black_box::<[&[T]; 4]>(theirs).map(|vector| distance.call(query, vector)))
        };
        let [one, four, theirs] = medians([&mut one, &mut four, &mut theirs]);
        let (ratio_one, ratio_four) = (theirs / one, theirs / four);
        let is_missed = ratio_one.min(ratio_four) < 1.0 - TOLERANCE;
        missed += usize::from(is_missed);
        let verdict = if is_missed { "MISSED" } else { "ok" };
        println!(
            "{:>12} {:>5} {dimensions:>5} {one:>9.1} {four:>9.1} {theirs:>9.1} {ratio_one:>9.2} \
             {ratio_four:>9.2}  {verdict}",
            D::name(),
            D::Codec::NAME
        );
    }
    missed
}

fn main() -> ExitCode {
    // Cargo passes this to all benches; without it, this run tests that the bench compiles.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    println!("nanoseconds for four distances, and how many times as long diskann-vector takes");
    println!(
        "{:>12} {:>5} {:>5} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "metric", "form", "dims", "one", "four", "diskann", "by one", "by four"
    );
    let missed = beside::<Euclidean, f32>(&Peer { metric: Metric::L2, stored: |value| value })
        + beside::<Cosine, f32>(&Peer { metric: Metric::InnerProduct, stored: |value| value })
        + beside::<Euclidean<F16>, f16>(&Peer { metric: Metric::L2, stored: f16::from_f32 })
        + beside::<Cosine<F16>, f16>(&Peer { metric: Metric::InnerProduct, stored: f16::from_f32 });
    metric::<Manhattan>();
    metric::<Euclidean<Bf16>>();
    metric::<Euclidean<I8>>();
    metric::<Cosine<I8>>();
    metric::<Hamming>();
    println!("slower than diskann-vector in {missed} lines");
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
