//! The invariants of an index, in code: what `docs/format.md` section 9 lists, one by one, on a
//! live snapshot.
//!
//! Returns findings and never panics, whatever the bytes are. Reads every value of the index once
//! and the graph a few times: O(items * (dimensions + M0 * M0)), about 12 bytes of memory an item.
//! What a damaged value hides is not checked; what does not depend on it still is.

#[cfg(test)]
#[path = "../tests/unit/damage.rs"]
mod damage;
#[cfg(test)]
#[path = "../tests/unit/interrupted.rs"]
mod interrupted;
mod item_keys;

use std::fmt;

use heed::RoTxn;
use roaring::RoaringBitmap;

use crate::codec::Components;
use crate::codes::Scratch;
use crate::database::Database;
use crate::distance::Distance;
use crate::error::{Error, Result};
use crate::format::codes::{self, Trained};
use crate::format::delta::{Delta, REMEMBERED_COMMITS};
use crate::format::ids::{ID_GROUP, IdGroup, SLOT_GROUP, group_bytes};
use crate::format::item_keys::Naming;
use crate::format::links::{OneWay, Record, split_group};
use crate::format::meta::Meta;
use crate::format::set::{CHUNK, SetKind, decode_chunk, deserialize};
use crate::format::{Damage, Key, Kind, checksum};
use crate::store::Place;
use crate::store::file::PageFinding;
use crate::store::snapshot::{MISCOUNTED, Snapshot};
use crate::store::source::Calling;
use crate::store::table::Memory;
use crate::store::view::View;
use crate::types::{Layer, Slot};

/// More findings than this are counted, not listed.
const MAX_FINDINGS: usize = 1000;
/// A stored factor may differ from the computed one by so many units in the last place.
const FACTOR_ULPS: u32 = 2;

/// What must hold. `docs/format.md` section 9 says each in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Invariant {
    /// LMDB's own pages hold together: see [`PageInvariant`](crate::PageInvariant). Verified by
    /// [`Index::check`](crate::Index::check) alone.
    Pages,
    /// Every key belongs to something that exists.
    Keys,
    /// Every value ends in its checksum.
    Checksum,
    /// The metadata decodes and is possible.
    Meta,
    /// Every value has the layout of its kind.
    Layout,
    /// Every slot that is not free has a vector that the metric accepts.
    Vectors,
    /// Stored factors follow from the vectors.
    Factor,
    /// The sets of slots have no common member, and no member beyond all slots.
    Sets,
    /// The two maps between items and slots agree.
    Ids,
    /// Every item has one key, and no key has another item, where items are named by keys.
    ItemKeys,
    /// The counts in the metadata are what is there.
    Counts,
    /// Every code is the one of its vector.
    Codes,
    /// Linked slots and nodes are the same, on every layer.
    Nodes,
    /// Neighbor lists are short enough and name other nodes of their layer.
    Lists,
    /// The in-neighbors of every node are complete and true.
    InNeighbors,
    /// Every node but the root has a parent of lower rank with a child edge to it.
    Tree,
    /// Every node can be reached from the root.
    Reachable,
    /// Every node has an in-edge.
    InDegree,
}

impl Invariant {
    /// The name that `docs/format.md` gives it.
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
            Self::Counts => "counts",
            Self::Nodes => "nodes",
            Self::Lists => "lists",
            Self::InNeighbors => "in-neighbors",
            Self::Tree => "tree",
            Self::Reachable => "reachable",
            Self::InDegree => "in-degree",
        }
    }
}

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What should hold.
    pub invariant: Invariant,
    /// What was found instead, with the key, slot, layer or item it is about.
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

/// Verifies every invariant of index `index`, on the snapshot of `rtxn`. An empty list means that
/// all hold.
///
/// It reads through LMDB, whose own pages it cannot reach from a transaction: damage there can end
/// the process. Where that is to be feared, call [`verify_file`](crate::verify_file) before the
/// environment is opened. [`Index::check`](crate::Index::check) does both.
///
/// The graph, the maps and the sets are derived from the vectors and the item ids: if those are
/// sound, adding all items to a new index repairs everything else.
///
/// # Errors
/// [`MissingIndex`](Error::MissingIndex), [`Foreign`](Error::Foreign),
/// [`FormatVersion`](Error::FormatVersion), [`MetricMismatch`](Error::MetricMismatch), and what
/// LMDB reports. Damage is not an error but a finding.
///
/// ```
/// use voisin::heed::EnvOpenOptions;
/// use voisin::{Database, Finding, Writer, create_database, distances::Euclidean};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).open(folder.path())? };
/// # let db: Database<Euclidean> = create_database(&env, None)?;
/// # let mut wtxn = env.write_txn()?;
/// # Writer::new(db, 0, 1).add_item(&mut wtxn, 7, &[0.5])?;
/// # wtxn.commit()?;
/// let rtxn = env.read_txn()?;
/// let findings: Vec<Finding> = voisin::check(&rtxn, 0, db)?;
/// for finding in &findings {
///     eprintln!("{finding}"); // the name of the invariant, the value, what is wrong with it
/// }
/// assert!(findings.is_empty());
/// # Ok(())
/// # }
/// ```
pub fn check<D: Distance>(
    rtxn: &RoTxn<'_>,
    index: u16,
    database: Database<'_, D>,
) -> Result<Vec<Finding>> {
    check_named(rtxn, Place::of(database, index), Naming::Ids)
}

/// As [`check`], for an index whose items are named so.
pub(crate) fn check_named(
    rtxn: &RoTxn<'_>,
    place: Place<'_>,
    naming: Naming,
) -> Result<Vec<Finding>> {
    let mut findings = Findings::default();
    let snapshot = match Snapshot::open(place, rtxn, Memory::Full) {
        Ok(snapshot) => snapshot,
        Err(Error::Corrupt { key, what }) => {
            let invariant = match what {
                _ if key.kind == Kind::Meta => Invariant::Meta,
                MISCOUNTED => Invariant::Counts,
                _ => Invariant::Layout,
            };
            findings.add(invariant, format!("{key}: {what}"));
            checksums(place, rtxn, naming, &mut findings)?;
            return Ok(findings.list);
        }
        // The other invariants do not hold in the middle of an edit.
        Err(error @ Error::TornEdit { .. }) => {
            findings.add(Invariant::Meta, error.to_string());
            checksums(place, rtxn, naming, &mut findings)?;
            return Ok(findings.list);
        }
        Err(error) => return Err(error),
    };
    checksums(place, rtxn, naming, &mut findings)?;
    let view = View::new(&snapshot, Calling::new(place, rtxn, snapshot.id)?);
    let mut checker = Checker { place, rtxn, naming, view, findings, sets: Default::default() };
    checker.sets()?;
    checker.values()?;
    checker.vectors()?;
    checker.codes()?;
    checker.ids()?;
    checker.item_keys()?;
    for layer in (0..snapshot.meta.roots.len()).map(|layer| Layer(layer as u8)) {
        checker.layer(layer)?;
    }
    Ok(checker.findings.list)
}

/// Every key is one of ours, and every value ends in its checksum.
fn checksums(
    place: Place<'_>,
    rtxn: &RoTxn<'_>,
    naming: Naming,
    findings: &mut Findings,
) -> Result<()> {
    for entry in place.all(rtxn)? {
        let (key, value) = entry?;
        match Key::from_bytes(key) {
            _ if Kind::of(key) == Some(Kind::Keys) => {
                item_keys::checksum_of(key, value, naming, findings)
            }
            None => findings.add(Invariant::Keys, format!("the key {key:02x?} is of no used kind")),
            Some(key) if !checksum::holds(key, value) => findings
                .add(Invariant::Checksum, format!("{key}: its bytes do not have its checksum")),
            Some(_) => {}
        }
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Findings {
    list: Vec<Finding>,
    more: usize,
}

impl Findings {
    fn add(&mut self, invariant: Invariant, what: String) {
        let finding = Finding { invariant, what };
        if self.list.contains(&finding) {
            // A damaged value is met more than once.
        } else if self.list.len() < MAX_FINDINGS {
            self.list.push(finding);
        } else {
            self.more += 1;
            if let Some(last) = self.list.last_mut() {
                last.what = format!("{} more findings", self.more + 1);
            }
        }
    }

    /// Reports what does not hold.
    fn expect(&mut self, holds: bool, invariant: Invariant, what: impl FnOnce() -> String) {
        if !holds {
            self.add(invariant, what());
        }
    }
}

/// The members of the three sets, by [`SetKind`].
type Sets = [RoaringBitmap; 3];

struct Checker<'a, 's, 't> {
    place: Place<'a>,
    rtxn: &'a RoTxn<'a>,
    naming: Naming,
    view: View<'s, 't, Calling<'a, 'a>>,
    findings: Findings,
    sets: Sets,
}

impl Checker<'_, '_, '_> {
    fn key(&self, kind: Kind, sub: u8, n: u32) -> Key {
        Key::new(self.place.index, kind, sub, n)
    }

    fn get(&self, key: Key) -> Result<Option<&[u8]>> {
        self.place.unverified(self.rtxn, key)
    }

    fn set(&self, kind: SetKind) -> &RoaringBitmap {
        &self.sets[kind as usize]
    }

    /// Turns damage into a finding; other errors are those of LMDB.
    fn survive<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::Corrupt { key, what }) => {
                self.findings.add(Invariant::Layout, format!("{key}: {what}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn layout(&mut self, key: Key, result: Result<(), Damage>) {
        if let Err(what) = result {
            self.findings.add(Invariant::Layout, format!("{key}: {what}"));
        }
    }

    /// `sets`, and their part of `counts`.
    fn sets(&mut self) -> Result<()> {
        let slots = self.view.snapshot.meta.slots;
        for set in SetKind::ALL {
            for number in 0..slots.div_ceil(CHUNK) {
                let key = self.key(Kind::Sets, set as u8, number);
                let Some(value) = self.get(key)? else { continue };
                match decode_chunk(checksum::unverified(value)) {
                    Ok(chunk) => {
                        self.sets[set as usize].extend(chunk.iter().map(|low| number * CHUNK + low))
                    }
                    Err(what) => self.findings.add(Invariant::Layout, format!("{key}: {what}")),
                }
            }
            let beyond = self.set(set).max().filter(|max| *max >= slots);
            self.findings.expect(beyond.is_none(), Invariant::Sets, || {
                format!("{set:?} has slot {beyond:?} of {slots} slots")
            });
        }
        for (a, b) in [
            (SetKind::Pending, SetKind::Removed),
            (SetKind::Pending, SetKind::Free),
            (SetKind::Removed, SetKind::Free),
        ] {
            let both = (self.set(a) & self.set(b)).min();
            self.findings.expect(both.is_none(), Invariant::Sets, || {
                format!("slot {both:?} is both {a:?} and {b:?}")
            });
        }
        let meta = &self.view.snapshot.meta;
        for (set, count) in [
            (SetKind::Pending, meta.pending),
            (SetKind::Removed, meta.removed),
            (SetKind::Free, meta.free),
        ] {
            let found = self.set(set).len();
            let say = || format!("{set:?} has {found} members, the metadata counts {count}");
            self.findings.expect(found == u64::from(count), Invariant::Counts, say);
        }
        Ok(())
    }

    /// `keys` and `layout`: every value belongs to something, and has its form.
    fn values(&mut self) -> Result<()> {
        for entry in self.place.all(self.rtxn)? {
            let (bytes, value) = entry?;
            let Some(key) = Key::from_bytes(bytes).filter(|key| key.kind != Kind::Keys) else {
                continue;
            };
            let known = self.value(key, value)?;
            self.findings.expect(known, Invariant::Keys, || format!("{key} belongs to nothing"));
        }
        Ok(())
    }

    /// Checks the layout of one value. `false` if there should be no such key.
    fn value(&mut self, key: Key, value: &[u8]) -> Result<bool> {
        let meta = &self.view.snapshot.meta;
        let (slots, sealed, layers, geometry) =
            (meta.slots, meta.sealed, meta.roots.len(), meta.geometry);
        let tail = meta.tail_start()..slots;
        let group = meta.connectivity.map_or(1, |c| usize::from(c.links_group));
        let body = checksum::unverified(value);
        let node_key = usize::from(key.sub) < layers;
        let known = match key.kind {
            Kind::Meta => key == Key::meta(key.index),
            Kind::Vectors => {
                self.layout(key, geometry.check_block(key.n, value));
                key.sub == 0 && key.n < sealed
            }
            Kind::Tail => {
                let fits = value.len() == geometry.tail_bytes();
                self.layout(
                    key,
                    if fits { Ok(()) } else { Err("it does not have the length of a vector") },
                );
                key.sub == 0 && tail.contains(&key.n) && !self.set(SetKind::Free).contains(key.n)
            }
            Kind::Codes => self.code_value(key, value),
            Kind::Links => {
                let spill = self.get(Key { kind: Kind::Spill, ..key })?;
                let split = split_group(Some(value), spill, group);
                let fits = split
                    .as_ref()
                    .is_ok_and(|records| records.iter().any(|record| !record.is_empty()));
                self.layout(key, split.map(drop));
                node_key && (key.n as usize) < (slots as usize).div_ceil(group) && fits
            }
            Kind::Spill => node_key && self.get(Key { kind: Kind::Links, ..key })?.is_some(),
            Kind::In => {
                let many = deserialize(body).map(|set| OneWay::is_elsewhere(set.len() as usize));
                self.layout(
                    key,
                    many.and_then(|many| {
                        if many {
                            Ok(())
                        } else {
                            Err("it has so few members that they belong in the record")
                        }
                    }),
                );
                let record = if node_key && key.n < slots {
                    self.view.record(Layer(key.sub), Slot(key.n))
                } else {
                    Ok(None)
                };
                self.survive(record)?
                    .flatten()
                    .is_none_or(|record| record.one_way == OneWay::Elsewhere)
            }
            Kind::SlotIds => {
                let first = u64::from(key.n) * u64::from(SLOT_GROUP);
                let count = u64::from(slots).saturating_sub(first).min(SLOT_GROUP.into()) as u32;
                let fits = value.len() == group_bytes(count);
                self.layout(
                    key,
                    if fits { Ok(()) } else { Err("it does not have the length of its slots") },
                );
                key.sub == 0 && count > 0
            }
            Kind::IdSlots => {
                self.layout(key, IdGroup::decode(body).map(drop));
                key.sub == 0 && key.n <= u32::MAX / ID_GROUP
            }
            // In `item_keys`.
            Kind::Keys => true,
            Kind::Sets => {
                usize::from(key.sub) < SetKind::ALL.len() && key.n < slots.div_ceil(CHUNK)
            }
            Kind::Delta => {
                let in_place = Delta::decode(body)
                    .map(|(transaction, _)| transaction % REMEMBERED_COMMITS == u64::from(key.n));
                self.layout(
                    key,
                    in_place.and_then(|holds| {
                        if holds {
                            Ok(())
                        } else {
                            Err("it is in the place of another transaction")
                        }
                    }),
                );
                key.sub == 0 && u64::from(key.n) < REMEMBERED_COMMITS
            }
        };
        Ok(known)
    }

    /// As [`value`](Self::value), for one of CODES.
    fn code_value(&mut self, key: Key, value: &[u8]) -> bool {
        let Meta { slots, dimensions, .. } = self.view.snapshot.meta;
        let Some(geometry) = self.view.snapshot.meta.code_geometry() else { return false };
        let sealed = slots / geometry.vectors;
        let length =
            |fits| if fits { Ok(()) } else { Err("it does not have the length of a code") };
        let (result, known) = match key.sub {
            codes::BLOCKS => (geometry.check_block(key.n, value), key.n < sealed),
            codes::TAIL => {
                let is_there = (sealed * geometry.vectors..slots).contains(&key.n)
                    && !self.set(SetKind::Free).contains(key.n);
                (length(value.len() == geometry.tail_bytes()), is_there)
            }
            codes::TRAINED => {
                (Trained::decode(checksum::unverified(value), dimensions).map(drop), key.n == 0)
            }
            _ => (Ok(()), false),
        };
        self.layout(key, result);
        known
    }

    /// `codes`.
    fn codes(&mut self) -> Result<()> {
        let trained = self.view.trained();
        if self.survive(trained)?.flatten().is_none() {
            return Ok(());
        }
        let mut scratch = Scratch::default();
        for slot in (0..self.view.snapshot.meta.slots)
            .filter(|slot| !self.sets[SetKind::Free as usize].contains(*slot))
        {
            match self.view.has_its_code(Slot(slot), &mut scratch) {
                Ok(true) => {}
                Ok(false) => self
                    .findings
                    .add(Invariant::Codes, format!("slot {slot} has the code of another vector")),
                Err(Error::Corrupt { key, what }) => {
                    self.findings.add(Invariant::Codes, format!("slot {slot}: {key}: {what}"))
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// `vectors` and `factor`.
    fn vectors(&mut self) -> Result<()> {
        let Snapshot { meta, metric, .. } = self.view.snapshot;
        let dimensions = meta.dimensions as usize;
        for slot in (0..self.view.snapshot.meta.slots)
            .filter(|slot| !self.sets[SetKind::Free as usize].contains(*slot))
        {
            let address = match self.view.vector(Slot(slot)) {
                Ok(address) => address,
                Err(Error::Corrupt { key, what }) => {
                    self.findings.add(Invariant::Vectors, format!("slot {slot}: {key}: {what}"));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let decoded = metric.decode(address.bytes, meta.scale);
            let vector = metric.floats(&decoded, dimensions);
            let defect =
                metric.check_given(Components::F32(&vector)).err().map(|defect| defect.to_string());
            let padding = !metric.has_clean_padding(address.bytes, dimensions);
            let defect = defect.or(padding.then(|| "its padding is not zero".to_owned()));
            if let Some(defect) = &defect {
                self.findings.add(Invariant::Vectors, format!("slot {slot}: {defect}"));
            } else if metric.has_factor && metric.is_known {
                let expected = metric.factor(&decoded);
                let near = address.factor.to_bits().abs_diff(expected.to_bits()) <= FACTOR_ULPS;
                let say = || {
                    format!(
                        "slot {slot} has the factor {}, its vector gives {expected}",
                        address.factor
                    )
                };
                self.findings.expect(near, Invariant::Factor, say);
            }
        }
        Ok(())
    }

    /// `ids`, and its part of `counts`.
    fn ids(&mut self) -> Result<()> {
        let slots = self.view.snapshot.meta.slots;
        let mut named = RoaringBitmap::new();
        let entries: Vec<_> = crate::reader::items(self.place, self.rtxn)?.collect();
        for entry in entries {
            let Some((item, slot)) = self.survive(entry)? else { continue };
            let dead = self.set(SetKind::Removed).contains(slot.0)
                || self.set(SetKind::Free).contains(slot.0)
                || slot.0 >= slots;
            self.findings.expect(!dead, Invariant::Ids, || {
                format!("item {item} has {slot}, which is not live")
            });
            self.findings.expect(named.insert(slot.0), Invariant::Ids, || {
                format!("two items have {slot}, one of them {item}")
            });
            if slot.0 < slots {
                let back = self.view.item(slot);
                let back = self.survive(back)?;
                let say = || format!("item {item} has {slot}, which says it holds item {back:?}");
                self.findings.expect(back.is_none_or(|back| back == item), Invariant::Ids, say);
            }
        }
        for slot in self.set(SetKind::Free).clone().iter().filter(|slot| *slot < slots) {
            let item = self.view.item(Slot(slot));
            let item = self.survive(item)?;
            self.findings.expect(item.is_none_or(|item| item == 0), Invariant::Ids, || {
                format!("slot {slot} is free and says it holds {item:?}")
            });
        }
        let items = self.view.snapshot.meta.items;
        let say = || format!("{} items have a slot, the metadata counts {items}", named.len());
        self.findings.expect(named.len() == u64::from(items), Invariant::Counts, say);
        let live = u64::from(slots)
            - (self.set(SetKind::Free) | self.set(SetKind::Removed)).range_cardinality(..slots);
        let say = || format!("{live} slots are live, {} of them have an item", named.len());
        self.findings.expect(live == named.len(), Invariant::Ids, say);
        Ok(())
    }

    fn record(&mut self, layer: Layer, slot: u32) -> Result<Option<Record>> {
        let record = self.view.record(layer, Slot(slot));
        Ok(self.survive(record)?.flatten())
    }

    /// `nodes`, `lists`, `in-neighbors`, `tree`, `reachable` and `in-degree` on one layer.
    fn layer(&mut self, layer: Layer) -> Result<()> {
        let meta = self.view.snapshot.meta.clone();
        let mut nodes = RoaringBitmap::new();
        for slot in 0..meta.slots {
            // A record that is damaged has been reported with its value; that it is there counts.
            if self.view.record(layer, Slot(slot)).map_or(true, |record| record.is_some()) {
                nodes.insert(slot);
            }
        }
        self.nodes(layer, &nodes)?;

        let mut ranks = vec![u32::MAX; meta.slots as usize];
        let mut facts = LayerFacts::default();
        for slot in &nodes {
            if let Some(record) = self.record(layer, slot)? {
                ranks[slot as usize] = record.rank;
                self.list(layer, slot, &record, &nodes);
                self.in_neighbors(layer, slot, &record, &mut facts)?;
            }
        }
        let (forward, listed) = (facts.one_way_edges, facts.one_way_listed);
        let say = || {
            format!(
                "{layer} has {forward} edges without a reverse, {listed} in-neighbors are listed"
            )
        };
        self.findings.expect(forward == listed, Invariant::InNeighbors, say);
        self.tree(layer, &nodes, &ranks)?;

        let reached = self.reached(layer, &nodes)?;
        let lost = &nodes - &reached;
        let say = || {
            format!(
                "{} nodes of {layer} cannot be reached from its root, such as slot {:?}",
                lost.len(),
                lost.min()
            )
        };
        self.findings.expect(lost.is_empty(), Invariant::Reachable, say);
        let without = &nodes - &facts.in_edges;
        let say = || {
            format!(
                "{} nodes of {layer} have no in-edge, such as slot {:?}",
                without.len(),
                without.min()
            )
        };
        self.findings.expect(without.is_empty() || nodes.len() == 1, Invariant::InDegree, say);
        Ok(())
    }

    fn nodes(&mut self, layer: Layer, nodes: &RoaringBitmap) -> Result<()> {
        let slots = self.view.snapshot.meta.slots;
        self.findings
            .expect(!nodes.is_empty(), Invariant::Nodes, || format!("{layer} has no nodes"));
        if layer.0 == 0 {
            let mut linked = RoaringBitmap::new();
            linked.insert_range(0..slots);
            linked -= self.set(SetKind::Pending);
            linked -= self.set(SetKind::Free);
            let differ = &linked ^ nodes;
            let say = || {
                format!(
                    "{} slots are linked or in the graph, but not both, such as {:?}",
                    differ.len(),
                    differ.min()
                )
            };
            self.findings.expect(differ.is_empty(), Invariant::Nodes, say);
        } else {
            for slot in nodes {
                let below = self.record(Layer(layer.0 - 1), slot)?;
                self.findings.expect(below.is_some(), Invariant::Nodes, || {
                    format!("slot {slot} is on {layer} and not below")
                });
            }
        }
        Ok(())
    }

    fn list(&mut self, layer: Layer, slot: u32, record: &Record, nodes: &RoaringBitmap) {
        let max = self.view.snapshot.meta.connectivity.map_or(0, |c| c.max_degree(layer));
        let list = &record.neighbors;
        let say = || {
            format!(
                "slot {slot} has {} neighbors on {layer}, at most {max} are allowed",
                list.len()
            )
        };
        self.findings.expect(list.len() <= max, Invariant::Lists, say);
        self.findings.expect(!list.contains(&slot), Invariant::Lists, || {
            format!("slot {slot} is its own neighbor on {layer}")
        });
        let stranger = list.iter().find(|neighbor| !nodes.contains(**neighbor));
        let say = || {
            format!(
                "slot {slot} has the neighbor {stranger:?} on {layer}, which is not a node of it"
            )
        };
        self.findings.expect(stranger.is_none(), Invariant::Lists, say);
    }

    fn in_neighbors(
        &mut self,
        layer: Layer,
        slot: u32,
        record: &Record,
        facts: &mut LayerFacts,
    ) -> Result<()> {
        for &neighbor in &record.neighbors {
            facts.in_edges.insert(neighbor);
            let back = self
                .view
                .record(layer, Slot(neighbor))
                .is_ok_and(|r| r.is_some_and(|r| r.neighbors.binary_search(&slot).is_ok()));
            facts.one_way_edges += u64::from(!back);
        }
        let one_way = self.view.one_way(layer, Slot(slot), record);
        for source in self.survive(one_way)?.unwrap_or_default() {
            let edge = source < self.view.snapshot.meta.slots
                && self
                    .view
                    .record(layer, Slot(source))
                    .is_ok_and(|r| r.is_some_and(|r| r.neighbors.binary_search(&slot).is_ok()));
            let back = record.neighbors.binary_search(&source).is_ok();
            let say = || {
                format!(
                    "slot {slot} lists slot {source} as a one-way in-neighbor on {layer}, which \
                     it is not"
                )
            };
            self.findings.expect(edge && !back, Invariant::InNeighbors, say);
            facts.one_way_listed += 1;
        }
        Ok(())
    }

    fn tree(&mut self, layer: Layer, nodes: &RoaringBitmap, ranks: &[u32]) -> Result<()> {
        let meta = self.view.snapshot.meta.clone();
        let root = meta.roots.get(layer.index()).copied();
        let rank_of = |slot: u32| ranks.get(slot as usize).copied();
        let mut seen = RoaringBitmap::new();
        for slot in nodes {
            let Some(record) = self.record(layer, slot)? else { continue };
            let (parent, rank) = (record.parent, record.rank);
            self.findings.expect(rank < meta.next_rank, Invariant::Tree, || {
                format!("slot {slot} has rank {rank} of {}", meta.next_rank)
            });
            self.findings.expect(seen.insert(rank), Invariant::Tree, || {
                format!("two nodes of {layer} have rank {rank}, one of them slot {slot}")
            });
            let is_root = parent.0 == slot;
            let say = || {
                format!("slot {slot} is its own parent on {layer}: {is_root}; the root is {root:?}")
            };
            self.findings.expect(is_root == (root == Some(Slot(slot))), Invariant::Tree, say);
            if !is_root {
                let above =
                    if parent.0 < meta.slots { self.record(layer, parent.0)? } else { None };
                let child = above.as_ref().is_some_and(|above| {
                    above
                        .neighbors
                        .binary_search(&slot)
                        .is_ok_and(|at| above.children.get(at).copied().unwrap_or_default())
                });
                self.findings.expect(child, Invariant::Tree, || {
                    format!(
                        "the parent of slot {slot} on {layer}, {parent}, has no child edge to it"
                    )
                });
                let lower = rank_of(parent.0).is_some_and(|above| above < rank);
                self.findings.expect(lower, Invariant::Tree, || {
                    format!("the parent of slot {slot} on {layer}, {parent}, has no lower rank")
                });
            }
            let children = record
                .neighbors
                .iter()
                .zip(&record.children)
                .filter(|(_, child)| **child)
                .map(|(slot, _)| *slot);
            for child in children.collect::<Vec<_>>() {
                let record = self.record(layer, child)?;
                let say = || {
                    format!(
                        "slot {child} is marked as a child of slot {slot} on {layer} and has \
                         another parent"
                    )
                };
                self.findings.expect(
                    record.is_some_and(|record| record.parent.0 == slot),
                    Invariant::Tree,
                    say,
                );
            }
            if layer.0 == 0 {
                continue;
            }
            let below = self.record(Layer(layer.0 - 1), slot)?.map(|record| record.rank);
            let say = || format!("slot {slot} has rank {rank} on {layer} and {below:?} below");
            self.findings.expect(below == Some(rank), Invariant::Tree, say);
        }
        Ok(())
    }

    /// All nodes that edges lead to from the root.
    fn reached(&mut self, layer: Layer, nodes: &RoaringBitmap) -> Result<RoaringBitmap> {
        let mut reached = RoaringBitmap::new();
        let mut waiting: Vec<u32> = self
            .view
            .snapshot
            .meta
            .roots
            .get(layer.index())
            .map(|root| root.0)
            .into_iter()
            .collect();
        reached.extend(waiting.iter().copied().filter(|root| nodes.contains(*root)));
        while let Some(slot) = waiting.pop() {
            let Some(record) = self.record(layer, slot)? else { continue };
            waiting.extend(
                record
                    .neighbors
                    .into_iter()
                    .filter(|neighbor| nodes.contains(*neighbor) && reached.insert(*neighbor)),
            );
        }
        Ok(reached)
    }
}

/// What a pass over the nodes of a layer adds up.
#[derive(Debug, Default)]
struct LayerFacts {
    one_way_edges: u64,
    one_way_listed: u64,
    /// Nodes that a list names.
    in_edges: RoaringBitmap,
}
