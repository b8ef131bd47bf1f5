//! An MVCC snapshot of an index, as one transaction sees it: its metadata, the pending and removed
//! slots, and the pointer tables of values found so far. `open` opens one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use roaring::RoaringBitmap;

use super::readahead::residency::{Residency, Temperature, pages_read};
use super::sections::codes::tables::CodeTables;
use super::sections::fields::tables::FieldTables;
use super::sections::item_keys::known::Known;
use super::strided::Strided;
use super::table::{Memory, Table};
use crate::codec::{Bf16, Bits, Codec, F16, F32, I8, Signs};
use crate::distance::Metric;
use crate::format::Kind;
use crate::format::block::Divisor;
use crate::format::meta::{Connectivity, Meta};
use crate::kinds::each_kind;

/// The name of an element type.
pub(crate) fn form_name(codec: u8) -> &'static str {
    let all = [
        (F32::ID, F32::NAME),
        (F16::ID, F16::NAME),
        (Bf16::ID, Bf16::NAME),
        (I8::ID, I8::NAME),
        (Bits::ID, Bits::NAME),
        (Signs::ID, Signs::NAME),
    ];
    all.into_iter().find(|(id, _)| *id == codec).map_or("an unknown form", |(_, name)| name)
}

/// A number that no other snapshot of this process has. The id of a transaction tells less: a
/// write transaction has one id for all of its states, and one that is aborted leaves its id to the
/// next.
pub(super) fn next_serial() -> u64 {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    SERIAL.fetch_add(1, Ordering::Relaxed)
}

macro_rules! kept {
    ($($(#[$about:meta])* $kind:ident $name:literal
        keys $keys:tt section $section:tt
        snapshot { $($field:ident: $($path:ident)::+;)* }
        paths $paths:tt efforts $efforts:tt stats $stats:tt invariants $invariants:tt)*
    ) => {
        /// What a snapshot keeps for the sections of kinds of index; made on first use.
        #[derive(Debug, Default)]
        pub(crate) struct Kept<'t> {
            $($(pub(crate) $field: OnceLock<$($path)::+<'t>>,)*)*
        }
    };
}
each_kind!(kept);

/// A snapshot: see the module.
#[derive(Debug)]
pub(crate) struct Snapshot<'t> {
    pub(crate) index: u16,
    pub(crate) metric: &'static Metric,
    pub(crate) meta: Meta,
    pub(crate) memory: Memory,
    /// The id of the transaction.
    pub(crate) id: usize,
    /// Tells the snapshots of this process apart: see [`next_serial`].
    pub(crate) serial: u64,
    /// The slots of live items that are not in the graph, ascending.
    pub(crate) pending: Vec<u32>,
    /// Slots that are in the graph but must not be returned (tombstones).
    pub(crate) removed: RoaringBitmap,
    pub(super) vectors: Strided<'t>,
    /// The full groups of SLOT_IDS, and the last, partial group.
    pub(super) slot_ids: [Table<'t>; 2],
    /// Number of slots in a LINKS group, if it is known.
    pub(super) group: Option<Divisor>,
    /// LINKS and SPILL of each layer.
    pub(super) links: Vec<[Table<'t>; 2]>,
    /// The codes, if there are any.
    pub(super) codes: Option<CodeTables<'t>>,
    /// Whether the tables of all values that searches need have been filled.
    pub(super) is_resolved: AtomicBool,
    /// Tables of sections that have no field here, with their kind and sub.
    pub(crate) others: Vec<(Kind, u8, Table<'t>)>,
    /// The keys of items, by item id; created on first use.
    pub(super) item_keys: OnceLock<Known<'t>>,
    /// What conditions on fields have read.
    pub(super) fields: FieldTables<'t>,
    /// What sections of kinds of index keep.
    pub(crate) kept: Kept<'t>,
    /// What is in memory, for searches of an [`Index`](crate::Index).
    pub(super) residency: Option<Arc<Residency>>,
}

impl Snapshot<'_> {
    /// How many pages were read so far, as far as is known: by any thread, if the index does not
    /// fit into memory, and by page faults of this one.
    pub(crate) fn pages_read(&self) -> u64 {
        pages_read(self.residency.as_deref())
    }

    /// How warm the index is for a search that begins.
    #[inline]
    pub(crate) fn temperature(&self) -> Temperature<'_> {
        self.residency.as_ref().map_or(Temperature::Warm, |residency| residency.temperature())
    }

    /// Prepares the snapshot for a build: sets the connectivity of the new graph, and drops the old
    /// graph if everything is linked anew.
    pub(crate) fn prepare_build(&mut self, connectivity: Connectivity, anew: bool) {
        self.meta.connectivity = Some(connectivity);
        self.group = Some(connectivity.group());
        if anew {
            self.meta.roots.clear();
            self.links.clear();
        }
    }
}
