//! The time of four distances in memory that is in the cache: `one` called four times, `four` called once, and `diskann-vector` called four
//! times where it has the metric. What a search adds to this is the wait for memory: see the search bench.
//!
//! `cargo bench --bench distance` exits non-zero where `diskann-vector` is quicker than either.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use diskann_vector::distance::{Distance as Diskann, Metric};
use voisin::codec::Codec;
use voisin::distances::{Cosine, Distance, Euclidean, Hamming, Manhattan};

const DIMENSIONS: [usize; 9] = [96, 100, 128, 256, 384, 768, 960, 1024, 1536];
/// By how much medians of one program differ from run to run.
const TOLERANCE: f64 = 0.03;

const LINE_FLOATS: usize = 16;

/// Memory for a query and four vectors of components from -1 to 1, one after the other from the start of a cache line, as in a block.
struct Vectors {
    memory: Vec<f32>,
    dimensions: usize,
}

impl Vectors {
    fn new(dimensions: usize) -> Self {
        let mut state = 1u32;
        let component = || {
            state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let memory = std::iter::repeat_with(component).take(5 * dimensions + LINE_FLOATS).collect();
        Self { memory, dimensions }
    }

    fn floats(&self, i: usize) -> &[f32] {
        let start = self.memory.as_ptr().align_offset(LINE_FLOATS * size_of::<f32>()) + i * self.dimensions;
        &self.memory[start..][..self.dimensions]
    }

    /// As many bytes as a stored vector has. Their values do not matter to the time.
    fn bytes<C: Codec>(&self, i: usize) -> &[u8] {
        &bytemuck::cast_slice(self.floats(i))[..C::bytes(self.dimensions)]
    }
}

/// What four distances take each way, in nanoseconds: the median of rounds that alternate between the ways.
fn medians<const N: usize>(mut ways: [&mut dyn FnMut(); N]) -> [f64; N] {
    const ROUNDS: usize = 31;
    const CALLS: usize = 20_000;
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

/// Prints a line for each number of dimensions. Returns in how many of them the peer is quicker.
fn metric<D: Distance>(peer: Option<Metric>) -> usize {
    let kernels = D::kernels();
    let mut missed = 0;
    for dimensions in DIMENSIONS {
        let vectors = Vectors::new(dimensions);
        let query = vectors.bytes::<D::Codec>(0);
        let stored = [1, 2, 3, 4].map(|i| vectors.bytes::<D::Codec>(i));
        let mut one = || _ = black_box(black_box(stored).map(|vector| kernels.one(query, vector)));
        let mut four = || _ = black_box(kernels.four(query, black_box(stored)));
        let name = D::name();
        let Some(peer) = peer else {
            let [one, four] = medians([&mut one, &mut four]);
            println!("{name:>12} {dimensions:>5} {one:>9.1} {four:>9.1}");
            continue;
        };
        let peer = Diskann::<f32, f32>::new(peer, Some(dimensions));
        let (query, stored) = (vectors.floats(0), [1, 2, 3, 4].map(|i| vectors.floats(i)));
        let mut theirs = || _ = black_box(black_box(stored).map(|vector| peer.call(query, vector)));
        let [one, four, theirs] = medians([&mut one, &mut four, &mut theirs]);
        let (ratio_one, ratio_four) = (theirs / one, theirs / four);
        let is_missed = ratio_one.min(ratio_four) < 1.0 - TOLERANCE;
        missed += usize::from(is_missed);
        let verdict = if is_missed { "MISSED" } else { "ok" };
        println!("{name:>12} {dimensions:>5} {one:>9.1} {four:>9.1} {theirs:>9.1} {ratio_one:>9.2} {ratio_four:>9.2}  {verdict}");
    }
    missed
}

fn main() -> ExitCode {
    // What cargo passes on to all benches; without it, this is a test that the bench compiles.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    println!("nanoseconds for four distances, and how many times as long diskann-vector takes");
    println!("{:>12} {:>5} {:>9} {:>9} {:>9} {:>9} {:>9}", "metric", "dims", "one", "four", "diskann", "by one", "by four");
    let missed = metric::<Euclidean>(Some(Metric::L2))
        + metric::<Cosine>(Some(Metric::InnerProduct))
        + metric::<Manhattan>(None)
        + metric::<Hamming>(None);
    println!("slower than diskann-vector in {missed} lines");
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
