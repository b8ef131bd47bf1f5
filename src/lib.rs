//! An embedded, transactional vector index: an HNSW graph, its vectors and the caller's own data in
//! one LMDB environment.
//!
//! There are two interfaces. [`Index`] manages a folder by itself: a path and three calls, for
//! programs without LMDB. [`Writer`] and [`Reader`] ("level 1") work inside an LMDB environment of
//! yours, under your transactions, beside your own tables; the following is about them.
//!
//! An **index** holds **items**: a `u32` id that the caller chooses, and a vector. A [`Writer`]
//! adds, replaces and deletes items inside the caller's write transaction, and every search from
//! the commit on sees the change. A build, through [`Writer::builder`], links *pending* items into
//! the graph, so that searches need not scan them one by one. A [`Reader`] searches the index as of
//! the start of its transaction; it waits for no writer. A smaller distance means nearer, under
//! every metric of [`distances`]. Vectors are stored as `f32`, or as a smaller element type of
//! [`codec`], which is a parameter of the metric: `Cosine<F16>`.
//!
//! ```
//! use voisin::heed::EnvOpenOptions;
//! use voisin::rand::{SeedableRng, rngs::StdRng};
//! use voisin::{Database, Reader, Writer, create_database, distances::Euclidean};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! // SAFETY: nobody changes the files in this folder but through LMDB.
//! let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).open(folder.path())? };
//! let db: Database<Euclidean> = create_database(&env, None)?;
//!
//! let writer = Writer::new(db, 0, 2); // index 0 of up to 65 535 in this database, 2 dimensions
//! let mut wtxn = env.write_txn()?;
//! writer.add_items(&mut wtxn, &[1, 2, 3], &[0.0, 0.0, 3.0, 0.0, 0.0, 4.0])?;
//! writer.builder(&mut StdRng::seed_from_u64(42)).ef_construction(100).build::<16, 32>(&mut wtxn)?;
//! writer.add_item(&mut wtxn, 4, &[1.0, 0.0])?; // pending
//! writer.del_item(&mut wtxn, 1)?;
//! wtxn.commit()?;
//!
//! let rtxn = env.read_txn()?;
//! let reader = Reader::open(&rtxn, 0, db)?;
//! let found = reader.nns(2).ef_search(50).by_vector(&rtxn, &[0.0, 0.0])?;
//! assert_eq!(found.into_nns(), [(4, 1.0), (2, 9.0)]); // squared lengths
//! # Ok(())
//! # }
//! ```
//!
//! [`Index`] needs less:
//!
//! ```
//! use voisin::{Index, Options, distances::Euclidean};
//!
//! # fn main() -> voisin::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("vectors");
//! let index = Index::<Euclidean>::create(&path, Options::new(2))?;
//! index.write(|batch| batch.add_items(&[1, 2], &[0.0, 0.0, 3.0, 0.0]))?;
//! assert_eq!(index.search(1).by_vector(&[2.0, 0.0])?.into_nns(), [(2, 1.0)]);
//! # Ok(())
//! # }
//! ```
//!
//! [`cookbook`] has recipes: a service, tables of your own, many processes, bulk loads, backups,
//! migration from hannoy. `README.md` states the promises, `docs/limits.md` the limits,
//! `docs/coming-from-hannoy.md` the differences from hannoy. `examples/glosses.rs` is a complete
//! program; `examples/documents.rs` keeps vectors in step with a table of its own.
//!
//! # The rooms
//!
//! A room may use those below it in this table, never one above, with one exception: an error names
//! the [`Key`] of a damaged value.
//!
//! | room | what it is for |
//! |---|---|
//! | [`cookbook`] | recipes; no code but theirs |
//! | `index` | [`Index`]: its environment, snapshots, batches, and its sharing between handles |
//! | `import` | imports the items of an index written by hannoy or arroy |
//! | `writer`, `builder`, `build` | changing an index: items; linking them into the graph |
//! | `reader`, `query` | an index at one snapshot; a query builder |
//! | `check` | verifies the invariants of `docs/format.md` |
//! | `search` | one search: its request, the access paths and their costs, its answer |
//! | `top_k` | the k nearest results of a search |
//! | `flat` | exact search (brute force): scans every vector of a set |
//! | `store` | LMDB: finds, caches and writes values; the views that `graph` searches |
//! | `graph` | the HNSW algorithm: beam search, pruning, insertion, deletion; no LMDB, no bytes |
//! | `format` | every byte on disk, as `docs/format.md` specifies it |
//! | `threads` | parallel work: the calling thread, and helper threads of voisin's own |
//! | [`defaults`] | the default parameters, each with its reason |
//! | `memory` | how much memory the machine or a control group allows |
//! | `field` | fields of records, and conditions on them |
//! | `error` | what can go wrong, and who must act |
//! | `types`, `database` | item ids, slots, layers; the LMDB database of an index |
//!
//! The rooms below all of these are a crate of their own, `voisin-kernels`:
//!
//! | room | what it is for |
//! |---|---|
//! | `codes` | quantized copies of vectors, a few bits a component, to search by: [`Codes`] |
//! | `distance` | the metrics, and their SIMD kernels, with SIMD dispatch by CPU features |
//! | [`codec`] | the element types of stored vectors, their size and their loss |

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(doctest)]
#[doc = include_str!("../docs/level-1.md")]
mod level_1 {}

#[cfg(doctest)]
#[doc = include_str!("../docs/stored-forms.md")]
mod stored_forms {}

#[cfg(doctest)]
#[doc = include_str!("../docs/kinds.md")]
mod guide_to_kinds {}

#[cfg(doctest)]
#[doc = include_str!("../docs/erasure.md")]
mod erasure {}

#[cfg(doctest)]
#[doc = include_str!("../docs/tenants.md")]
mod tenants {}

mod build;
mod builder;
mod check;
pub mod cookbook;
mod database;
pub mod defaults;
mod error;
mod field;
mod filter;
mod flat;
mod format;
mod graph;
mod import;
mod index;
mod item_key;
mod kinds;
mod kmeans;
mod memory;
mod query;
mod reader;
mod search;
mod store;
#[doc(hidden)]
pub mod threads;
mod top_k;
mod types;
mod writer;

#[cfg(target_endian = "big")]
compile_error!(
    "values are read in place, as little-endian numbers: voisin does not support big-endian \
     machines"
);

#[doc(inline)]
pub use voisin_kernels::codec;
// Rooms like those above, by the same paths.
use voisin_kernels::{codes, defect, distance, training};
pub use {heed, rand, roaring};

pub use self::build::{Phase, Progress};
pub use self::builder::Builder;
pub use self::check::{Finding, Invariant, check};
pub use self::database::{Database, ValueCodec, create_database};
pub use self::error::{Error, Responsible, Result, SourceDefect};
pub use self::field::{Condition, Field, FieldRef, FieldType, FieldValue, field};
pub use self::filter::{AsCandidates, Filter};
pub use self::format::{Key, Kind};
pub use self::import::Import;
pub use self::index::{
    AnyIndex, AnyKey, AnyMetric, AnyTenant, AnyType, Batch, Folder, FolderSnapshot, FolderTxn,
    Index, Inspected, LoadPhase, LoadProgress, Loader, Metadata, Names, Options, Snapshot, Tenant,
    TenantBatch, UnlessWithin, cancel_waits, inspect, remove_index, tenant_of,
};
pub use self::item_key::{AsKey, ItemKey, ItemName, MAX_KEY_BYTES, PrefixedKey};
pub use self::kinds::exports::*;
pub use self::query::groups::{Group, Groups};
pub use self::query::pages::{PageToken, Pages};
pub use self::query::{HasRecords, Query, QueryBuilder, Searchable};
pub use self::reader::{Reader, ReaderOn, WarmReader};
pub use self::search::count::Count;
pub use self::search::explain::{Explanation, Way};
pub use self::search::recall::Recall;
pub use self::search::{Certificate, Deadline, Searched, Strategy};
pub use self::store::figures::Figure;
pub use self::store::file::{
    Environment, FileReport, OldestReader, PageFinding, PageInvariant, copy_to, verify_file,
};
pub use self::store::sections::warm::Warmed;
pub use self::store::stats::{CodeStats, KindStats, LayerStats, RangeStats, Stats};
pub use self::store::warnings::Warning;
pub use self::types::{IndexKind, ItemId};
pub use self::writer::Writer;
#[doc(inline)]
pub use crate::{codes::Codes, defect::VectorDefect, distance::Distance, training::TrainedRange};

/// What operations cost, in counters: with the feature `meter`, for tests and benches.
#[cfg(feature = "meter")]
pub mod meter {
    pub use crate::store::meter::{Cost, take_cost};
}

/// The metrics, and the [`Distance`] trait for metrics of your own.
pub mod distances {
    #[doc(hidden)]
    pub use crate::distance::Form;
    #[doc(inline)]
    pub use crate::distance::{
        BinaryQuantizedCosine, BinaryQuantizedEuclidean, BinaryQuantizedManhattan, Cosine,
        DecodedOf, Distance, DotProduct, Euclidean, Hamming, Kernels, MAX_NAME_BYTES, Manhattan,
        distance,
    };
}
