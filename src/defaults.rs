//! The default parameters, and why.

use std::time::Duration;

/// The name of an index that was given none.
pub const NAME: &str = "main";

/// M: the maximum degree of an item on each layer above the base; the base layer allows twice as
/// many (M0, which `index/options.rs` derives). This suffices for vectors of a few hundred
/// dimensions; more costs memory and speed.
pub const M: usize = 16;

/// `ef_construction`: the candidates that a search of a build keeps. Build time grows with it,
/// recall less and less. hnswlib's documentation and benchmarks use 100 to 200.
pub const EF_CONSTRUCTION: usize = 100;

/// `alpha`: the pruning factor. 1 is the heuristic of the HNSW paper (Algorithm 4), which has no
/// such factor.
pub const ALPHA: f32 = 1.0;

/// The seed of the random generator. Any fixed number makes the same changes give the same graph.
pub const SEED: u64 = 42;

/// `ef_search`: the candidates that a search keeps, ten times the usual k. On both data sets of
/// `docs/benchmarks` recall@10 is then above .95.
pub const EF_SEARCH: usize = 100;

/// The minimum number of items before an index gets the quantized codes that it is to have. The
/// mean of fewer vectors is not that of the index to come, and a scan of so few vectors is as quick
/// as a search by codes.
pub const CODES_FROM: u64 = 1000;

/// The size of the memory map of a new environment, in bytes. It is address space, of which a
/// process has 128 TiB, and not disk: enough for 16 million vectors of 768 dimensions.
pub const MAP_SIZE_BYTES: u64 = 64 << 30;

/// The maximum number of read transactions at a time, over all processes. Each takes 64 bytes of
/// the lock file.
pub const MAX_READERS: u32 = 1024;

/// The maximum number of databases of the caller's beside the indexes of a folder: a program has
/// some tables, and each costs all transactions a little.
pub const MAX_DATABASES: u32 = 32;

/// How long a write waits for held snapshots and slow searches when the memory map must grow:
/// longer than a request usually holds a snapshot.
pub const GROWTH_WAIT: Duration = Duration::from_secs(5);
