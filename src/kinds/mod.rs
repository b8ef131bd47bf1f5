//! The kinds of index: a folder for each, and the list of all of them, [`each_kind`].
//!
//! A kind is a slice through the rooms, in one folder. Its files import as those rooms do that they
//! are parts of, and `tests/it/architecture.rs` says which these are:
//!
//! - `format`: the bytes of its values and of its part in META, as pure functions;
//! - `section`: its key ranges in LMDB (`Section`): building, edits, repair, check, statistics;
//! - `stats`: the type of its statistics;
//! - `path`: how it answers a query, at what cost, by which parameters (`AccessPath`);
//! - `query`: methods of queries that only it needs, if any.
//!
//! **To add a kind**, write such a folder, declare it below, and enter it in the list. All else
//! follows: the public names, the bytes of its keys, what snapshots, edits, builds, `check`,
//! `stats`, scrubbing and renumbering do with its values, the planner, calibration, parameters by
//! name, the pages and figures of the command and of Python. A test fails where the name of a kind
//! is in the code of any other file.
//!
//! The list is a macro that hands its entries to another macro, so that every room takes from it
//! what is its own, and none imports a room above it. Not in folders of kinds: the vectors
//! themselves (`store/sections/vectors`, `flat`), from which all kinds follow, and the graph, which
//! builds are about (`graph`, `store/sections/graph`). The list has their names and paths.

pub(crate) mod ivf;
pub(crate) mod lsh;

/// Hands the list of all kinds, ascending, to a macro. The order is that of the public
/// [`IndexKind`](crate::IndexKind), and, of equal costs, that of the planner.
///
/// - `keys`: its kinds of keys and their bytes, which `docs/format.md` has, too.
/// - `section`: its section; `snapshot`: what snapshots keep for it, made on first use. The
///   sections of the vectors and of the graph have their places in the order of prefetching, in
///   `store/sections/list.rs`.
/// - `paths`: its ways to answer, each with its public name.
/// - `efforts`: parameters of a search, from the least effort to the most.
/// - `stats`: its statistics; `invariants`: what `check` verifies of it.
macro_rules! each_kind {
    ($then:ident) => {
        $then! {
            /// The vectors themselves, and their codes: a search scans them, and is exact. Every
            /// index has this kind.
            Flat "flat"
                keys {}
                section {}
                snapshot {}
                paths {
                    /// An exact scan of all live vectors (brute force).
                    All "all" exact: true, by: crate::search::paths::Flat;
                    /// An exact scan of all candidates (prefilter).
                    Candidates "candidates" exact: true, by: crate::search::paths::CandidateList;
                }
                efforts { "" }
                stats {}
                invariants {}

            /// A graph (Malkov & Yashunin 2018): what an index has unless told otherwise.
            Hnsw "hnsw"
                keys {}
                section {}
                snapshot {}
                paths {
                    /// A search of the graph, plus a scan of the pending items.
                    Graph "graph" exact: false, by: crate::search::paths::Graph;
                }
                efforts {
                    "ef=10" "ef=14" "ef=20" "ef=28" "ef=40" "ef=57" "ef=80" "ef=113" "ef=160"
                    "ef=226" "ef=320" "ef=453" "ef=640" "ef=905"
                }
                stats {}
                invariants {}

            /// Inverted lists: each item is in the list of the center nearest to it, and a search
            /// compares the items of the lists whose centers are the nearest to the query. For
            /// `f32`, `f16`, `bf16` and `i8` vectors under the Euclidean and cosine distance and
            /// the dot product.
            Ivf "ivf"
                keys {
                    /// Inverted lists.
                    IVF = 12;
                }
                section { crate::kinds::ivf::section::IvfSection }
                snapshot { list_tables: crate::kinds::ivf::section::tables::ListTables; }
                paths {
                    /// A scan of the inverted lists whose centers are the nearest.
                    Lists "lists" exact: false, by: crate::kinds::ivf::path::InvertedLists;
                }
                efforts {
                    "nprobe=1" "nprobe=2" "nprobe=4" "nprobe=8" "nprobe=16" "nprobe=32" "nprobe=64"
                    "nprobe=128" "nprobe=256" "nprobe=512"
                }
                stats {
                    /// The inverted lists, if there are any.
                    lists: ListStats in crate::kinds::ivf::stats;
                }
                invariants {
                    /// Every slot that is not free is in one inverted list, and the sizes of these
                    /// are those stored.
                    InvertedLists "inverted-lists";
                }

            /// Tables of hashes that near vectors share (locality-sensitive hashing): a search
            /// compares the items whose hashes are likely for a neighbor, and keeps a promise of
            /// recall. Slower than a graph, and quicker to build and to change.
            Lsh "lsh"
                keys {
                    /// Tables of hashes, and their training.
                    LSH = 11;
                }
                section { crate::kinds::lsh::section::LshSection }
                snapshot { hash_tables: crate::kinds::lsh::section::tables::HashTables; }
                paths {
                    /// A search of the tables of hashes: each true neighbor is found with at least
                    /// the probability that the query asks for by
                    /// [`recall`](crate::Query::recall), .95 unless it does.
                    Lsh "lsh" exact: false, by: crate::kinds::lsh::path::HashPath;
                }
                efforts {
                    "recall=0.5" "recall=0.7" "recall=0.8" "recall=0.9" "recall=0.95" "recall=0.99"
                }
                stats {
                    /// The tables of hashes, if the index has the kind
                    /// [`IndexKind::Lsh`](crate::IndexKind::Lsh) and has made them.
                    lsh: LshStats in crate::kinds::lsh::stats;
                }
                invariants {
                    /// Every slot that is not free is once in each table of hashes, by the hash of
                    /// its vector.
                    Hashes "hashes";
                }
        }
    };
}
pub(crate) use each_kind;

/// The types of the list that are public.
pub(crate) mod exports {
    macro_rules! exports {
        ($($(#[$about:meta])* $kind:ident $name:literal
            keys $keys:tt section $section:tt snapshot $snapshot:tt paths $paths:tt
            efforts $efforts:tt
            stats { $($(#[$doc:meta])* $field:ident: $type:ident in $($module:ident)::+;)* }
            invariants $invariants:tt)*
        ) => {
            $($(pub use $($module)::+::$type;)*)*
        };
    }
    super::each_kind!(exports);
}
