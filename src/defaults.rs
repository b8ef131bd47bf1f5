//! What is used unless a caller says otherwise, and why.

use std::time::Duration;

/// The name of an index that was given none.
pub const NAME: &str = "main";

/// M: the most neighbors of a node on each layer above the base; the base layer takes twice as
/// many. This is enough for vectors of a few hundred dimensions; more costs memory and speed.
pub const M: usize = 16;

/// Candidates that a search of a build keeps. The time of a build grows with it; recall, less and
/// less. hnswlib's documentation and benchmarks use 100 to 200.
pub const EF_CONSTRUCTION: usize = 100;

/// The pruning factor. The heuristic of the HNSW paper (Algorithm 4) has none, which is 1.
pub const ALPHA: f32 = 1.0;

/// The seed of random choices. Any number does: it makes the same changes give the same graph.
pub const SEED: u64 = 42;

/// Candidates that a search keeps: ten times the usual k. On both data sets of `docs/benchmarks`
/// recall@10 is then above .95.
pub const EF_SEARCH: usize = 100;

/// The size of the memory map of a new environment, in bytes. It is address space, of which a
/// process has 128 TiB, and not disk: enough for 16 million vectors of 768 dimensions.
pub const MAP_SIZE_BYTES: u64 = 64 << 30;

/// Read transactions at a time, of all processes. Each takes 64 bytes of the lock file.
pub const MAX_READERS: u32 = 1024;

/// How long a write waits for held snapshots and slow searches when the memory map must grow:
/// longer than a request that holds a snapshot takes.
pub const GROWTH_WAIT: Duration = Duration::from_secs(5);
