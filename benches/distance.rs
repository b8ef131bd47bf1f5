//! The time of four distances in memory that is in the cache: `one` called four times, `four` called once, and `diskann-vector` called four
//! times where it has the metric. What a search adds to this is the wait for memory: see the search bench.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use diskann_vector::distance::{Distance as Diskann, Metric};
use voisin::codec::Codec;
use voisin::distances::{Cosine, Distance, Euclidean, Hamming, Manhattan};

const DIMENSIONS: [usize; 5] = [96, 128, 384, 768, 1536];

const LINE_FLOATS: usize = 16;
/// Vectors begin so far after the start of a cache line, as they do after the header of an LMDB page.
const OFFSET_FLOATS: usize = 4;

/// Memory for a query and four vectors of components from -1 to 1, each with the same offset in its first cache line.
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
        let memory = std::iter::repeat_with(component).take(5 * (dimensions + 2 * LINE_FLOATS) + LINE_FLOATS).collect();
        Self { memory, dimensions }
    }

    fn floats(&self, i: usize) -> &[f32] {
        let stride = (OFFSET_FLOATS + self.dimensions).next_multiple_of(LINE_FLOATS);
        let start = self.memory.as_ptr().align_offset(LINE_FLOATS * size_of::<f32>()) + i * stride + OFFSET_FLOATS;
        &self.memory[start..][..self.dimensions]
    }

    /// As many bytes as a stored vector has. Their values do not matter to the time.
    fn bytes<C: Codec>(&self, i: usize) -> &[u8] {
        &bytemuck::cast_slice(self.floats(i))[..C::bytes(self.dimensions)]
    }
}

fn metric<D: Distance>(criterion: &mut Criterion, peer: Option<Metric>) {
    let kernels = D::kernels();
    let mut group = criterion.benchmark_group(D::name());
    group.throughput(Throughput::Elements(4));
    for dimensions in DIMENSIONS {
        let vectors = Vectors::new(dimensions);
        let query = vectors.bytes::<D::Codec>(0);
        let stored = [1, 2, 3, 4].map(|i| vectors.bytes::<D::Codec>(i));
        group.bench_function(BenchmarkId::new("one", dimensions), |bencher| {
            bencher.iter(|| black_box(stored).map(|vector| kernels.one(query, vector)));
        });
        group.bench_function(BenchmarkId::new("four", dimensions), |bencher| {
            bencher.iter(|| kernels.four(query, black_box(stored)));
        });

        let Some(peer) = peer else { continue };
        let peer = Diskann::<f32, f32>::new(peer, Some(dimensions));
        let query = vectors.floats(0);
        let stored = [1, 2, 3, 4].map(|i| vectors.floats(i));
        group.bench_function(BenchmarkId::new("diskann-vector", dimensions), |bencher| {
            bencher.iter(|| black_box(stored).map(|vector| peer.call(query, vector)));
        });
    }
    group.finish();
}

fn distance(criterion: &mut Criterion) {
    metric::<Euclidean>(criterion, Some(Metric::L2));
    metric::<Cosine>(criterion, Some(Metric::InnerProduct));
    metric::<Manhattan>(criterion, None);
    metric::<Hamming>(criterion, None);
}

criterion_group!(benches, distance);
criterion_main!(benches);
