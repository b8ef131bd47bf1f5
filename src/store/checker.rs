//! The context of a check: the index, its findings, and the invariants that sections verify.

use std::fmt;

use heed::RoTxn;
use roaring::RoaringBitmap;

use super::Place;
use super::file::PageFinding;
use super::source::Calling;
use super::view::View;
use crate::error::{Error, Result};
use crate::format::set::SetKind;
use crate::format::{Damage, Key, Kind};
use crate::kinds::each_kind;

/// Findings beyond this number are counted, not listed.
const MAX_FINDINGS: usize = 1000;

macro_rules! invariants {
    ($($(#[$about:meta])* $kind:ident $name:literal
        keys $keys:tt section $section:tt snapshot $snapshot:tt paths $paths:tt
        efforts $efforts:tt stats $stats:tt
        invariants { $($(#[$doc:meta])* $invariant:ident $invariant_name:literal;)* })*
    ) => {
        /// An invariant. `docs/format.md` section 9 defines each in full.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Invariant {
            /// LMDB's own pages are consistent: see [`PageInvariant`](crate::PageInvariant).
            /// Verified by [`Index::check`](crate::Index::check) only.
            Pages,
            /// Every key belongs to something that exists.
            Keys,
            /// Every value ends in its checksum.
            Checksum,
            /// The metadata decodes, and its values are possible.
            Meta,
            /// Every value has the layout of its kind.
            Layout,
            /// Every slot that is not free has a vector that the metric accepts.
            Vectors,
            /// Stored factors match the vectors.
            Factor,
            /// The sets of slots are disjoint, and all members are slots of the index.
            Sets,
            /// The two maps between items and slots agree.
            Ids,
            /// Where items are named by keys, every item has one key, and every key belongs to one
            /// item.
            ItemKeys,
            /// Every record belongs to an item, and the metadata counts them.
            Records,
            /// The rows of fields are those that follow from the records.
            Fields,
            /// The counts in the metadata match what is stored.
            Counts,
            /// Every code is the encoding of its vector.
            Codes,
            /// The nodes of layer 0 are the linked slots, and the nodes of a layer above are on the
            /// one below.
            Nodes,
            /// Neighbor lists respect the maximum degree, and contain only other nodes of their
            /// layer.
            Lists,
            /// The in-neighbors of every node are complete and correct.
            InNeighbors,
            /// Spanning tree: every node but the root has a parent of lower rank with a child edge
            /// to it.
            Tree,
            /// Every node can be reached from the root.
            Reachable,
            /// Every node has an in-edge.
            InDegree,
            $($($(#[$doc])* $invariant,)*)*
        }

        impl Invariant {
            /// Its name in `docs/format.md`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    Self::Pages => "pages",
                    Self::Keys => "keys",
                    Self::Checksum => "checksum",
                    Self::Meta => "meta",
                    Self::Layout => "layout",
                    Self::Vectors => "vectors",
                    Self::Factor => "factor",
                    Self::Codes => "codes",
                    Self::Sets => "sets",
                    Self::Ids => "ids",
                    Self::ItemKeys => "item-keys",
                    Self::Records => "records",
                    Self::Fields => "fields",
                    Self::Counts => "counts",
                    Self::Nodes => "nodes",
                    Self::Lists => "lists",
                    Self::InNeighbors => "in-neighbors",
                    Self::Tree => "tree",
                    Self::Reachable => "reachable",
                    Self::InDegree => "in-degree",
                    $($(Self::$invariant => $invariant_name,)*)*
                }
            }
        }
    };
}
each_kind!(invariants);

/// A violation of an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The invariant that is violated.
    pub invariant: Invariant,
    /// The violation, with the key, slot, layer or item concerned.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant.name(), self.what)
    }
}

impl From<&PageFinding> for Finding {
    fn from(finding: &PageFinding) -> Self {
        Self { invariant: Invariant::Pages, what: finding.to_string() }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) list: Vec<Finding>,
    more: usize,
}

impl Findings {
    pub(crate) fn add(&mut self, invariant: Invariant, what: String) {
        let finding = Finding { invariant, what };
        if self.list.contains(&finding) {
            // Listed already: a damaged value is visited more than once.
        } else if self.list.len() < MAX_FINDINGS {
            self.list.push(finding);
        } else {
            self.more += 1;
            if let Some(last) = self.list.last_mut() {
                last.what = format!("{} more findings", self.more + 1);
            }
        }
    }

    /// Adds a finding unless `holds`.
    pub(crate) fn expect(
        &mut self,
        holds: bool,
        invariant: Invariant,
        what: impl FnOnce() -> String,
    ) {
        if !holds {
            self.add(invariant, what());
        }
    }
}

/// The members of the three sets, by [`SetKind`].
pub(crate) type Sets = [RoaringBitmap; 3];

/// One check of one index, passed to every section.
pub(crate) struct Checker<'a, 's, 't> {
    pub(crate) place: Place<'a>,
    pub(crate) rtxn: &'a RoTxn<'a>,
    pub(crate) view: View<'s, 't, Calling<'a, 'a>>,
    pub(crate) findings: Findings,
    pub(crate) sets: Sets,
}

impl Checker<'_, '_, '_> {
    pub(crate) fn key(&self, kind: Kind, sub: u8, n: u32) -> Key {
        Key::new(self.place.index, kind, sub, n)
    }

    pub(crate) fn get(&self, key: Key) -> Result<Option<&[u8]>> {
        self.place.unverified(self.rtxn, key)
    }

    pub(crate) fn set(&self, kind: SetKind) -> &RoaringBitmap {
        &self.sets[kind as usize]
    }

    /// Turns damage into a finding, and returns other errors, which are LMDB's.
    pub(crate) fn survive<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::Corrupt { key, what }) => {
                self.findings.add(Invariant::Layout, format!("{key}: {what}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn layout(&mut self, key: Key, result: Result<(), Damage>) {
        if let Err(what) = result {
            self.findings.add(Invariant::Layout, format!("{key}: {what}"));
        }
    }
}
