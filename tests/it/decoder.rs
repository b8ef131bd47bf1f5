//! A second decoder of the bytes on disk, written from `docs/format.md` alone.
//!
//! It shares no code with the crate, not even the CRC and the roaring decoder, so that no mistake
//! is made twice: if this file and the crate disagree, one of them, or the page, is wrong.
//! [`decode`] reads every key of an index once, and panics with the rule that is violated; a key
//! that no rule requires violates one, too. [`Decoded::verify`] then asserts the invariants of
//! section 9 between values. "Section" always means a section of the page. Everything is copied and
//! nothing is fast.
//!
//! Not tested here: whether a metric accepts a vector, and what a search finds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a broken rule is a failed test"
)]

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::distances::{Cosine, Distance, Euclidean, Hamming};
use voisin::heed::types::Bytes;
use voisin::heed::{Database, RoTxn, RwTxn};
use voisin::{AsKey, Field, ItemKey, Writer};

use crate::common::{Env, Model, add, create, new_env};

// The kinds of keys, section 2.
const META: u8 = 0;
const VECTORS: u8 = 1;
const TAIL: u8 = 2;
const CODES: u8 = 3;
const LINKS: u8 = 4;
const SPILL: u8 = 5;
const IN: u8 = 6;
const SLOT_IDS: u8 = 7;
const ID_SLOTS: u8 = 8;
const SETS: u8 = 9;
const DELTA: u8 = 10;
const RECORDS: u8 = 13;
const KEYS: u8 = 14;
const FIELDS: u8 = 15;
const IVF: u8 = 12;
const LSH: u8 = 11;
const NO_GRAPH: u8 = 18;

/// The number in the keys of what belongs to all indexes of a database, section 2.
const DATABASE: u16 = u16::MAX;

// The sets, section 8.
const PENDING: u8 = 0;
const REMOVED: u8 = 1;
const FREE: u8 = 2;

/// The directory entry of a record that lies in SPILL, and the `one_way` of a record whose
/// in-neighbors lie in IN; section 6.
const ELSEWHERE: u16 = u16::MAX;
/// The longest LINKS value, section 6.
const MAX_LINKS_BYTES: usize = 4080;
/// The most in-neighbors that a record holds itself, section 6.
const MAX_ONE_WAY: usize = 64;
/// The entry of an absent item in a dense ID_SLOTS value, section 7.
const NO_SLOT: u32 = u32::MAX;

/// Everything that the keys of one index say.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) meta: Meta,
    /// The stored bytes of every live item's vector, by item id.
    pub(crate) vectors: BTreeMap<u32, Vec<u8>>,
    /// The factors of the live items, by item id. Empty if the metric has none.
    pub(crate) factors: BTreeMap<u32, f32>,
    /// The records of the items that have one.
    pub(crate) records: BTreeMap<u32, Vec<u8>>,
    /// The keys of items, by item id.
    pub(crate) keys: BTreeMap<u32, Vec<u8>>,
    /// The codes of the live items, by item id.
    pub(crate) codes: BTreeMap<u32, Vec<u8>>,
    /// The rows of fields, by number of the field: the items that have a value at all, and for each
    /// value, in its stored form, those that have it.
    pub(crate) exists: BTreeMap<u8, BTreeSet<u32>>,
    pub(crate) values: BTreeMap<(u8, Vec<u8>), BTreeSet<u32>>,
    /// The graph, by layer and slot.
    pub(crate) layers: Vec<BTreeMap<u32, Node>>,
    pub(crate) pending: BTreeSet<u32>,
    pub(crate) removed: BTreeSet<u32>,
    pub(crate) free: BTreeSet<u32>,
    /// ID_SLOTS: item id to slot.
    pub(crate) slot_of: BTreeMap<u32, u32>,
    /// SLOT_IDS: item ids by slot, those of removed slots and the zeros of free ones included.
    pub(crate) slot_ids: Vec<u32>,
    /// How many records lie in SPILL, and how many nodes have an IN value: so that a test can say
    /// that it met them.
    pub(crate) spilled: usize,
    pub(crate) in_values: usize,
}

/// One record of LINKS or SPILL, section 6. All lists are ascending slots.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) neighbors: Vec<u32>,
    pub(crate) parent: u32,
    pub(crate) rank: u32,
    pub(crate) children: Vec<u32>,
    /// The in-neighbors that the node has no edge to, from the record or from IN.
    pub(crate) one_way: Vec<u32>,
}

/// Section 3, field by field; zeros where a part is missing.
#[derive(Debug, Default)]
pub(crate) struct Meta {
    pub(crate) naming: u8,
    pub(crate) codec: u8,
    pub(crate) layers: u16,
    /// Whether the index has no graph: no item is pending or removed then.
    pub(crate) has_no_graph: bool,
    /// The number of inverted lists, and that of vacant ones among them.
    pub(crate) lists: u32,
    pub(crate) vacant: u32,
    /// Whether the lists have codes.
    pub(crate) lists_have_codes: bool,
    pub(crate) dimensions: u32,
    pub(crate) block_bytes: u32,
    pub(crate) block_vectors: u32,
    pub(crate) m: u16,
    pub(crate) m0: u16,
    pub(crate) links_group: u16,
    pub(crate) factor_bytes: u8,
    pub(crate) ef_construction: u32,
    pub(crate) alpha: f32,
    pub(crate) slots: u32,
    pub(crate) sealed: u32,
    pub(crate) items: u32,
    pub(crate) pending: u32,
    pub(crate) removed: u32,
    pub(crate) free: u32,
    pub(crate) next_rank: u32,
    pub(crate) reuse_from: u32,
    pub(crate) code_bits: u8,
    pub(crate) is_coded: u8,
    pub(crate) growth: f32,
    pub(crate) metric: String,
    /// The roots of the layers that have nodes.
    pub(crate) roots: Vec<u32>,
    pub(crate) center: f32,
    pub(crate) step: f32,
    pub(crate) saturated: u64,
    pub(crate) norm_bound: f32,
    /// The newest generation of the training of codes, and the blocks of the one before.
    pub(crate) generation: u32,
    pub(crate) older: [u32; 2],
    /// By number, the type and the name of each field.
    pub(crate) fields: BTreeMap<u8, (u8, String)>,
    /// Records, and their bytes.
    pub(crate) records: u32,
    pub(crate) record_bytes: u64,
    /// The number of tables of hashes.
    pub(crate) tables: u8,
}

/// Decodes all keys of `index`, and panics with the first rule of sections 1 to 8 that is broken.
pub(crate) fn decode(db: Database<'_, Bytes, Bytes>, rtxn: &RoTxn<'_>, index: u16) -> Decoded {
    let mut values = Values::read(db, rtxn, index);
    let meta = Meta::decode(values.expect(META, 0, 0));

    let [pending, removed, free] =
        [PENDING, REMOVED, FREE].map(|set| decode_set(&mut values, set, meta.slots));
    let slot_ids = decode_slot_ids(&mut values, meta.slots);
    let slot_of = decode_id_slots(&mut values, meta.slots);
    let by_slot = decode_vectors(&mut values, &meta, &free);
    let codes = decode_codes(&mut values, &meta, &by_slot);
    decode_lists(&mut values, &meta, &free, &codes);
    decode_hashes(&mut values, &meta, &by_slot);

    let mut decoded = Decoded {
        meta,
        vectors: BTreeMap::new(),
        factors: BTreeMap::new(),
        records: BTreeMap::new(),
        keys: BTreeMap::new(),
        codes: BTreeMap::new(),
        exists: BTreeMap::new(),
        values: BTreeMap::new(),
        layers: Vec::new(),
        pending,
        removed,
        free,
        slot_of,
        slot_ids,
        spilled: 0,
        in_values: 0,
    };
    for (&id, slot) in &decoded.slot_of {
        let (vector, factor) =
            by_slot.get(slot).unwrap_or_else(|| panic!("item {id} has slot {slot}, which is free"));
        decoded.vectors.insert(id, vector.clone());
        decoded.factors.extend(factor.map(|factor| (id, factor)));
        decoded.codes.extend(codes.get(slot).map(|code| (id, code.clone())));
    }
    for layer in 0..decoded.meta.layers {
        let nodes = decode_layer(&mut values, layer as u8, &mut decoded);
        decoded.layers.push(nodes);
    }
    for n in values.all_n(RECORDS, 0) {
        let record = values.expect(RECORDS, 0, n);
        decoded.records.insert(n, record.bytes);
    }
    decode_fields(&mut values, &mut decoded);
    decode_keys(&mut values, &mut decoded);
    decode_deltas(db, rtxn);
    assert!(values.1.is_empty(), "rows of no field: {:?}", values.1.keys());
    let left: Vec<&Key> = values.0.keys().collect();
    assert!(left.is_empty(), "keys (kind, sub, n) that belong to nothing: {left:?}");
    decoded
}

/// The entries of a block of section 10. `first` is what the key of the first one shares, and
/// `None` in a block by ids.
fn decode_key_block(body: &[u8], first: Option<&[u8]>) -> Vec<(Vec<u8>, u32)> {
    let mut value = Cursor { what: "KEYS".to_owned(), bytes: body.to_vec(), at: 0 };
    if first.is_none() {
        assert_eq!(value.u32() as usize, body.len() + 4, "KEYS: a block says its length");
    }
    let number = |value: &mut Cursor| {
        let (mut number, mut shift) = (0u64, 0);
        loop {
            let byte = value.u8();
            number |= u64::from(byte & 0x7F) << shift;
            shift += 7;
            if byte < 0x80 {
                assert!(byte > 0 || shift == 7, "KEYS: a number has no more bytes than it needs");
                return u32::try_from(number).expect("KEYS: a number");
            }
        }
    };
    let (mut key, mut next, mut found) = (first.unwrap_or_default().to_vec(), 0u32, Vec::new());
    while value.at < body.len() {
        let head = number(&mut value);
        let shared = number(&mut value) as usize;
        let rest = value.take(head as usize / 2).to_vec();
        assert!(shared <= key.len(), "KEYS: {shared} bytes of {key:?} are shared");
        if let (Some(first), Some(before)) = (rest.first(), key.get(shared)) {
            assert_ne!(first, before, "KEYS: all is shared that can be");
        }
        key.truncate(shared);
        key.extend(rest);
        let mut id = i64::from(next);
        if head % 2 == 1 {
            let zigzag = i64::from(number(&mut value));
            assert!(zigzag > 0, "KEYS: an id that is the next one is not said");
            id += if zigzag % 2 == 0 { zigzag / 2 } else { -(zigzag / 2) - 1 };
        }
        let id = id.rem_euclid(1 << 32) as u32;
        found.push((key.clone(), id));
        next = id.wrapping_add(1);
    }
    found
}

/// Section 10.
fn decode_keys(values: &mut Values, decoded: &mut Decoded) {
    let (mut ids, mut free) = (BTreeMap::new(), BTreeSet::new());
    let (mut last_key, mut last_id) = (Vec::new(), None);
    for (row, body) in std::mem::take(&mut values.2) {
        let id = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("an item id"));
        match (row[0], &row[1..]) {
            (2, rest) => {
                assert!(body.is_empty(), "KEYS: {row:?} is empty");
                free.insert(id(rest));
            }
            (3, first) => {
                let entries = decode_key_block(&body, Some(first));
                assert_eq!(entries[0].0, first, "KEYS: a block begins with the key of its row");
                for (key, id) in entries {
                    assert!(last_key < key, "KEYS: {key:?} comes after {last_key:?}");
                    last_key.clone_from(&key);
                    assert!(ids.insert(id, key).is_none(), "KEYS: two keys of {id}");
                }
            }
            (4, first) => {
                let entries = decode_key_block(&body, None);
                assert_eq!(entries[0].1 / 16 * 16, id(first), "KEYS: a block begins with its row");
                let group = |id: u32| id / 16;
                assert!(last_id.is_none_or(|last| group(last) < group(id(first))), "KEYS: groups");
                for (key, id) in entries {
                    assert!(last_id < Some(id), "KEYS: {id} comes after {last_id:?}");
                    last_id = Some(id);
                    decoded.keys.insert(id, key);
                }
            }
            (sub, _) => panic!("KEYS: sub {sub}"),
        }
    }
    assert_eq!(ids, decoded.keys, "KEYS: both kinds of blocks agree");
    for key in decoded.keys.values() {
        let is_of_its_kind = match decoded.meta.naming {
            1 => key.len() == 8,
            2 => std::str::from_utf8(key).is_ok() && (1..=480).contains(&key.len()),
            3 => (1..=480).contains(&key.len()),
            4 => key.len() == 16,
            _ => false,
        };
        assert!(is_of_its_kind, "KEYS: {key:?} where items are named by {}", decoded.meta.naming);
    }
    if decoded.meta.naming != 0 {
        assert!(decoded.keys.keys().eq(decoded.vectors.keys()), "KEYS: a key for each item");
        let beyond = ids.keys().chain(&free).max().map_or(0, |last| last + 1);
        let known = |id: &u32| ids.contains_key(id) != free.contains(id);
        assert!((0..beyond).all(|id| known(&id)), "KEYS: every id has a key or is free");
    }
}

/// Section 15.
fn decode_fields(values: &mut Values, decoded: &mut Decoded) {
    let mut last: Option<(u8, Vec<u8>)> = None;
    for (key, body) in std::mem::take(&mut values.1) {
        let what = format!("FIELDS: the row {key:?}");
        let (field, tag, rest) = (key[0], key[1], &key[2..]);
        let (of, _) = &decoded.meta.fields[&field];
        if tag == 2 {
            // A run of numbers.
            assert!([2, 3, 4].contains(of), "{what}: a number of type {of}");
            let mut cursor = Cursor { what: what.clone(), bytes: body.clone(), at: 0 };
            let count = body.len() / 12;
            assert!((1..=128).contains(&count) && body.len() % 12 == 0, "{what}: {count} entries");
            for entry in 0..count {
                let (number, item) = (cursor.u64(), cursor.u32());
                let sorted = [&number.to_be_bytes()[..], &item.to_be_bytes()].concat();
                assert!(entry > 0 || sorted == rest, "{what}: it begins with its first entry");
                let is_after = last.as_ref().is_none_or(|last| *last < (field, sorted.clone()));
                assert!(is_after, "{what}: its entries ascend");
                last = Some((field, sorted));
                let all = decoded.values.entry((field, number.to_be_bytes().to_vec())).or_default();
                assert!(all.insert(item), "{what}: {item} has it twice");
            }
            continue;
        }
        let (value, chunk) = rest.split_last_chunk::<4>().expect("a row of a chunk");
        let first = u32::from_be_bytes(*chunk) * 8192;
        let items: Vec<u32> = match body[0] {
            0 => body[1..]
                .chunks(2)
                .map(|low| first + u32::from(low[0]) + 256 * u32::from(low[1]))
                .collect(),
            1 => {
                assert_eq!(body.len(), 1025, "{what}: a bit an item");
                let bit = |i: u32| body[1 + i as usize / 8] >> (i % 8) & 1 == 1;
                (0..8192).filter(|i| bit(*i)).map(|i| first + i).collect()
            }
            form => panic!("{what}: form {form}"),
        };
        assert!(is_ascending(&items) && !items.is_empty(), "{what}: {items:?}");
        assert_eq!(body[0] == 0, items.len() < 512, "{what}: its form follows from its length");
        assert!(items.last().is_some_and(|last| *last - first < 8192), "{what}: beyond its chunk");
        match tag {
            0 => {
                assert!(value.is_empty(), "{what}: a value of all");
                decoded.exists.entry(field).or_default().extend(items);
            }
            1 => {
                assert!([1, 5].contains(of), "{what}: a value of type {of}");
                decoded.values.entry((field, value.to_vec())).or_default().extend(items);
            }
            _ => panic!("{what}: tag {tag}"),
        }
    }
}

/// The values that a record has of a field, in their stored form. Dates are left to other tests:
/// here timestamps are milliseconds.
fn values_of(record: &serde_json::Value, (of, name): &(u8, String)) -> BTreeSet<Vec<u8>> {
    let member = &record[name];
    let all = member.as_array().cloned().unwrap_or_else(|| vec![member.clone()]);
    let stored = all.iter().filter(|value| !value.is_null()).map(|value| match of {
        1 => value.as_str().unwrap().as_bytes().to_vec(),
        2 | 4 => (value.as_i64().unwrap() as u64 ^ 1 << 63).to_be_bytes().to_vec(),
        3 => {
            let bits = (value.as_f64().unwrap() + 0.0).to_bits();
            let ordered = if bits >> 63 == 0 { bits ^ 1 << 63 } else { !bits };
            ordered.to_be_bytes().to_vec()
        }
        _ => vec![u8::from(value.as_bool().unwrap())],
    });
    stored.collect()
}

/// Kind, sub and n.
type Key = (u8, u8, u32);

/// The values of an index without their checksums. Whoever decodes one takes it out; what is left
/// over at the end should not exist. The second has the rows of FIELDS, by what follows the kind in
/// their keys, and the third those of KEYS.
struct Values(BTreeMap<Key, Vec<u8>>, Rows, Rows);

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

impl Values {
    fn read(db: Database<'_, Bytes, Bytes>, rtxn: &RoTxn<'_>, index: u16) -> Self {
        let (mut values, mut rows, mut keys) = (BTreeMap::new(), Rows::new(), Rows::new());
        for entry in db.prefix_iter(rtxn, &index.to_be_bytes()).unwrap() {
            let (key, value) = entry.unwrap();
            let is_row = [Some(&FIELDS), Some(&KEYS)].contains(&key.get(2));
            assert!(key.len() == 8 || is_row, "a key has 8 bytes, this one is {key:?}");
            let (body, checksum) = value
                .split_last_chunk()
                .unwrap_or_else(|| panic!("{key:?}: no room for a checksum in {value:?}"));
            assert_eq!(
                u32::from_le_bytes(*checksum),
                crc32c(key.iter().chain(body)),
                "{key:?}: the checksum is wrong"
            );
            if is_row {
                let rows = if key[2] == KEYS { &mut keys } else { &mut rows };
                rows.insert(key[3..].to_vec(), body.to_vec());
                continue;
            }
            values.insert(
                (key[2], key[3], u32::from_be_bytes([key[4], key[5], key[6], key[7]])),
                body.to_vec(),
            );
        }
        Self(values, rows, keys)
    }

    fn take(&mut self, kind: u8, sub: u8, n: u32) -> Option<Cursor> {
        let what = format!("kind {kind} sub {sub} n {n}");
        self.0.remove(&(kind, sub, n)).map(|bytes| Cursor { what, bytes, at: 0 })
    }

    fn expect(&mut self, kind: u8, sub: u8, n: u32) -> Cursor {
        self.take(kind, sub, n)
            .unwrap_or_else(|| panic!("kind {kind} sub {sub} n {n}: no such key"))
    }

    fn all_n(&self, kind: u8, sub: u8) -> Vec<u32> {
        self.0.range((kind, sub, 0)..=(kind, sub, u32::MAX)).map(|(key, _)| key.2).collect()
    }
}

/// CRC-32C, bit by bit.
pub(crate) fn crc32c<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg());
    !bytes.fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

/// Reads a value, without its checksum, from front to back.
struct Cursor {
    what: String,
    bytes: Vec<u8>,
    at: usize,
}

impl Cursor {
    fn take(&mut self, len: usize) -> &[u8] {
        let (at, end) = (self.at, self.bytes.len());
        assert!(
            len <= end - at,
            "{}: {len} bytes wanted at {at}, the value ends at {end}",
            self.what
        );
        self.at += len;
        &self.bytes[at..at + len]
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().unwrap()
    }

    fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn f32(&mut self) -> f32 {
        f32::from_le_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    fn u32s(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.u32()).collect()
    }

    fn zeros(&mut self, len: usize) {
        let at = self.at;
        assert!(
            self.take(len).iter().all(|&byte| byte == 0),
            "{}: the {len} bytes at {at} must be zero",
            self.what
        );
    }

    fn rest(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn end(&self) {
        assert_eq!(self.rest(), 0, "{}: bytes are left after {}", self.what, self.at);
    }

    /// A roaring set of the next `len` bytes.
    fn roaring(&mut self, len: usize) -> Vec<u32> {
        let what = format!("{}, roaring at {}", self.what, self.at);
        decode_roaring(Cursor { what, bytes: self.take(len).to_vec(), at: 0 })
    }
}

fn is_ascending(values: &[u32]) -> bool {
    values.is_sorted_by(|a, b| a < b)
}

/// The portable serialization of <https://github.com/RoaringBitmap/RoaringFormatSpec>, all of
/// `cursor`.
fn decode_roaring(mut cursor: Cursor) -> Vec<u32> {
    let cookie = cursor.u32();
    let is_run: Vec<bool> = match cookie & 0xFFFF {
        12_346 => {
            assert_eq!(cookie, 12_346, "{}: cookie", cursor.what);
            let containers = cursor.u32();
            assert!(containers <= 65_536, "{}: {containers} containers", cursor.what);
            vec![false; containers as usize]
        }
        12_347 => {
            let containers = (cookie >> 16) as usize + 1;
            let bits = cursor.take(containers.div_ceil(8));
            (0..containers).map(|i| bits[i / 8] >> (i % 8) & 1 == 1).collect()
        }
        _ => panic!("{}: cookie {cookie}", cursor.what),
    };
    let headers: Vec<(u32, usize)> =
        is_run.iter().map(|_| (u32::from(cursor.u16()), usize::from(cursor.u16()) + 1)).collect();
    assert!(
        headers.is_sorted_by(|a, b| a.0 < b.0),
        "{}: the keys of containers ascend",
        cursor.what
    );
    let has_offsets = cookie == 12_346 || headers.len() >= 4;
    let offsets = if has_offsets { cursor.u32s(headers.len()) } else { Vec::new() };

    let mut set = Vec::new();
    for (i, (key, cardinality)) in headers.into_iter().enumerate() {
        let offset = offsets.get(i).map_or(cursor.at, |&offset| offset as usize);
        assert_eq!(offset, cursor.at, "{}: offset of container {i}", cursor.what);
        let mut low: Vec<u32> = Vec::new();
        if is_run[i] {
            for _ in 0..cursor.u16() {
                let (first, more) = (u32::from(cursor.u16()), u32::from(cursor.u16()));
                low.extend(first..=first + more);
            }
        } else if cardinality <= 4096 {
            low.extend((0..cardinality).map(|_| u32::from(cursor.u16())));
        } else {
            let bits = cursor.take(8192);
            low.extend((0..65_536).filter(|&i| bits[i as usize / 8] >> (i % 8) & 1 == 1));
        }
        assert_eq!(low.len(), cardinality, "{}: cardinality of container {i}", cursor.what);
        assert!(
            is_ascending(&low) && low.last() < Some(&65_536),
            "{}: container {i} ascends, in 16 bits",
            cursor.what
        );
        set.extend(low.into_iter().map(|low| key << 16 | low));
    }
    cursor.end();
    set
}

/// What belongs to no index of the database: section 8.
fn decode_deltas(db: Database<'_, Bytes, Bytes>, rtxn: &RoTxn<'_>) {
    let mut values = Values::read(db, rtxn, DATABASE);
    for n in values.all_n(DELTA, 0) {
        let mut value = values.expect(DELTA, 0, n);
        assert_eq!(value.u64() % 64, u64::from(n), "DELTA {n}: its transaction");
        let lists = value.u32();
        if lists != u32::MAX {
            assert!(value.rest() <= 4000, "DELTA {n}: {} bytes", value.rest());
            let mut last = None;
            for _ in 0..lists {
                let (index, kind) = (value.u16(), value.u8());
                value.zeros(1);
                assert!(last < Some((index, kind)), "DELTA {n}: the order of its lists");
                last = Some((index, kind));
                let count = value.u32();
                if kind == META {
                    assert!([0, u32::MAX].contains(&count), "DELTA {n}: {count} of META");
                    continue;
                }
                let listed = [VECTORS, LINKS, SLOT_IDS, CODES, IVF];
                assert!(listed.contains(&kind), "DELTA {n}: {kind}");
                let numbers = value.u32s(count as usize);
                assert!(numbers.is_sorted_by(|a, b| a < b), "DELTA {n}: {numbers:?}");
            }
        }
        value.end();
    }
    assert!(values.1.is_empty(), "rows of no field: {:?}", values.1.keys());
    let left: Vec<&Key> = values.0.keys().collect();
    assert!(left.is_empty(), "keys (kind, sub, n) of the database that are none: {left:?}");
}

/// The recall of searches: section 3.
fn decode_calibration(part: &mut Cursor) {
    assert!(part.u32() > 0 && part.u32() > 0, "META: a recall of no items or queries");
    let (curves, mut last_k) = (part.u32(), 0);
    assert!((1..=8).contains(&curves), "META: {curves} curves");
    for _ in 0..curves {
        let (k, points, mut last_ef) = (part.u32(), part.u32(), 0);
        assert!(k > last_k && (1..=32).contains(&points), "META: a curve of k {k}");
        last_k = k;
        for _ in 0..points {
            let (ef, recall) = (part.u32(), part.f32());
            assert!(ef > last_ef && (0.0..=1.0).contains(&recall), "META: ef {ef}, {recall}");
            last_ef = ef;
        }
    }
}

impl Meta {
    fn decode(mut value: Cursor) -> Self {
        assert_eq!(&value.array(), b"voisin\x1a\n", "META: magic");
        assert_eq!(value.u16(), 9, "META: format version");
        assert_eq!(value.u8(), 0, "META: the mark of a torn edit");
        let mut meta = Self { naming: value.u8(), ..Self::default() };
        assert!(meta.naming <= 4, "META: {} names its items", meta.naming);
        meta.dimensions = value.u32();
        meta.slots = value.u32();
        meta.items = value.u32();
        meta.pending = value.u32();
        meta.removed = value.u32();
        meta.free = value.u32();
        meta.reuse_from = value.u32();
        meta.metric = String::from_utf8(value.take(32).to_vec())
            .expect("META: the name of the metric is UTF-8");
        let parts = value.u16();
        value.zeros(2);
        let mut kinds = Vec::new();
        for _ in 0..parts {
            let kind = value.u8();
            value.zeros(1);
            let bytes = usize::from(value.u16());
            let what = format!("META: the part of kind {kind}");
            let mut part = Cursor { what, bytes: value.take(bytes).to_vec(), at: 0 };
            match kind {
                VECTORS => {
                    (meta.codec, meta.factor_bytes) = (part.u8(), part.u8());
                    part.zeros(2);
                    meta.block_bytes = part.u32();
                    meta.block_vectors = part.u32();
                    meta.sealed = part.u32();
                    (meta.center, meta.step) = (part.f32(), part.f32());
                    meta.saturated = part.u64();
                    meta.norm_bound = part.f32();
                }
                CODES => {
                    (meta.code_bits, meta.is_coded) = (part.u8(), part.u8());
                    assert!(meta.code_bits > 0, "META: a part about no codes");
                    part.zeros(2);
                    meta.generation = part.u32();
                    _ = part.u32s(2);
                    meta.older = [part.u32(), part.u32()];
                    part.zeros(4);
                    let squares = f64::from_bits(part.u64());
                    assert!(squares >= 0.0 && squares.is_finite(), "META: squares {squares}");
                }
                LINKS => {
                    (meta.m, meta.m0, meta.links_group) = (part.u16(), part.u16(), part.u16());
                    meta.layers = part.u16();
                    meta.ef_construction = part.u32();
                    meta.alpha = part.f32();
                    meta.next_rank = part.u32();
                    meta.growth = part.f32();
                    meta.roots = part.u32s(meta.layers.into());
                    assert!(meta.m > 0, "META: a part about no graph");
                    if part.rest() > 0 {
                        assert!(meta.layers > 0, "META: the recall of no graph");
                        decode_calibration(&mut part);
                    }
                }
                RECORDS => {
                    meta.records = part.u32();
                    part.zeros(4);
                    meta.record_bytes = part.u64();
                    assert!(meta.records > 0, "META: a part about no records");
                }
                FIELDS => {
                    assert!(part.rest() > 0, "META: a part about no fields");
                    while part.rest() > 0 {
                        let (number, of, bytes) = (part.u8(), part.u8(), part.u16());
                        let name = String::from_utf8(part.take(bytes.into()).to_vec());
                        let name = name.expect("META: the name of a field is UTF-8");
                        assert!((1..=5).contains(&of), "META: {name:?} has type {of}");
                        assert!((1..=64).contains(&bytes), "META: the name {name:?}");
                        let last = meta.fields.last_key_value().map(|(number, _)| *number);
                        assert!(last < Some(number), "META: fields ascend");
                        assert!(meta.fields.values().all(|(_, other)| *other != name));
                        meta.fields.insert(number, (of, name));
                    }
                    assert!(meta.fields.len() <= 64, "META: {} fields", meta.fields.len());
                }
                IVF => {
                    (meta.lists, meta.vacant) = (part.u32(), part.u32());
                    _ = part.u32();
                    assert!(part.u32() <= 1, "META: whether a list waits for a build");
                    let have_codes = part.u32();
                    assert!(have_codes <= 1, "META: whether lists have codes");
                    meta.lists_have_codes = have_codes == 1;
                    assert!(
                        meta.vacant < meta.lists || [meta.vacant, meta.lists] == [0, 0],
                        "META: {} of {} lists are vacant",
                        meta.vacant,
                        meta.lists
                    );
                    if part.rest() > 0 {
                        assert!(meta.lists > 0, "META: the recall of no lists");
                        decode_calibration(&mut part);
                    }
                }
                NO_GRAPH => meta.has_no_graph = true,
                LSH => {
                    let is_built = part.u8();
                    meta.tables = part.u8();
                    assert!(meta.tables < 32 && is_built == u8::from(meta.tables > 0));
                    assert_eq!(part.u8(), 1, "META: the layout of tables of hashes");
                    part.zeros(1);
                    _ = part.u32s(2);
                    let squares = f64::from_bits(part.u64());
                    assert!(squares >= 0.0 && squares.is_finite(), "META: squares {squares}");
                }
                _ => panic!("META: a part of kind {kind}"),
            }
            part.end();
            kinds.push(kind);
        }
        value.end();
        assert!(
            kinds.is_sorted_by(|a, b| a < b) && kinds.contains(&VECTORS),
            "META: the parts are of {kinds:?}"
        );

        if meta.has_no_graph {
            let only_graphs = [meta.pending, meta.removed, meta.m.into(), meta.layers.into()];
            assert_eq!(only_graphs, [0; 4], "META: no graph, and what only a graph has");
        }
        let Self { codec, layers, dimensions, slots, .. } = meta;
        assert!((1..=6).contains(&codec) && layers <= 16, "META: codec {codec}, {layers} layers");
        if codec == 5 && meta.step > 0.0 {
            assert!(
                meta.step.is_normal() && meta.step.to_bits() & 0xFF == 0,
                "META: a step of {}",
                meta.step
            );
            let ends = [-128.0, 127.0].map(|code| meta.center + meta.step * code);
            assert!(
                ends.iter().all(|end| end.is_finite()),
                "META: components from {} to {}",
                ends[0],
                ends[1]
            );
        } else {
            let is_empty = codec != 5 || slots == meta.free;
            assert!(is_empty, "META: vectors of codec 5 without center and step");
            assert_eq!(
                [meta.center.to_bits(), meta.step.to_bits()],
                [0, 0],
                "META: center and step"
            );
            assert_eq!(meta.saturated, 0, "META: saturated");
        }
        assert!(
            (1..=65_535).contains(&dimensions) && slots < u32::MAX,
            "META: {dimensions} dimensions, {slots} slots"
        );
        meta.metric.truncate(meta.metric.trim_end_matches('\0').len());
        assert!(
            !meta.metric.is_empty() && !meta.metric.contains('\0'),
            "META: metric {:?}",
            meta.metric
        );
        assert!(
            meta.roots.iter().all(|&root| root < slots),
            "META: roots {:?} of {slots} slots",
            meta.roots
        );
        let is_built = [meta.m, meta.m0, meta.links_group].map(|value| value != 0);
        assert!(
            is_built == [true; 3] || layers == 0 && is_built == [false; 3],
            "META: M, M0 and links_group: {meta:?}"
        );
        if is_built[0] {
            assert!(
                (2..=2048).contains(&meta.m) && (2..=2048).contains(&meta.m0),
                "META: M and M0: {meta:?}"
            );
            assert_eq!(
                meta.links_group,
                (4064 / (2 * meta.m0 + 36)).clamp(1, 64),
                "META: links_group follows from M0 {}",
                meta.m0
            );
        }
        assert_eq!(
            meta.factor_bytes,
            if meta.metric == "cosine" { 4 } else { 0 },
            "META: bytes of the factor of {:?}",
            meta.metric
        );
        assert_eq!(
            (meta.block_bytes, meta.block_vectors),
            meta.geometry(),
            "META: block_bytes and block_vectors are derived, section 4"
        );
        assert!(
            [0, 1, 2, 4, 7, 8].contains(&meta.code_bits)
                && meta.is_coded <= u8::from(meta.code_bits > 0),
            "META: codes: {meta:?}"
        );
        assert!((0.0..=f32::MAX).contains(&meta.growth), "META: growth {}", meta.growth);
        assert!(meta.reuse_from <= slots, "META: reuse_from {} of {slots} slots", meta.reuse_from);
        assert_eq!(
            meta.sealed,
            slots / meta.block_vectors,
            "META: a block is sealed when all of its slots have been given out"
        );
        meta
    }

    fn has_factor(&self) -> bool {
        self.factor_bytes > 0
    }

    fn stride(&self) -> usize {
        let dimensions = self.dimensions as usize;
        match self.codec {
            1 => 4 * dimensions,
            3 | 4 => 2 * dimensions,
            5 => dimensions,
            _ => 8 * dimensions.div_ceil(64),
        }
    }

    /// The block_bytes and block_vectors of section 4.
    fn geometry(&self) -> (u32, u32) {
        Self::geometry_of(self.stride() + if self.has_factor() { 4 } else { 0 })
    }

    fn geometry_of(vector: usize) -> (u32, u32) {
        let vectors = |block_bytes: usize| (block_bytes - 52) / vector;
        let is_full = |&block_bytes: &usize| {
            vectors(block_bytes) >= 2
                && 16 * vectors(block_bytes) * vector >= 15 * (block_bytes + 16)
        };
        let block_bytes =
            (15..20).map(|power| (1 << power) - 16).find(is_full).unwrap_or((1 << 20) - 16);
        (block_bytes as u32, vectors(block_bytes) as u32)
    }
}

/// VECTORS and TAIL, section 4: the vector and factor of every slot that is not free.
fn decode_vectors(
    values: &mut Values,
    meta: &Meta,
    free: &BTreeSet<u32>,
) -> BTreeMap<u32, (Vec<u8>, Option<f32>)> {
    let (stride, has_factor) = (meta.stride(), meta.has_factor());
    let mut by_slot = BTreeMap::new();
    for block in 0..meta.sealed {
        let mut value = values.expect(VECTORS, 0, block);
        let what = value.what.clone();
        assert_eq!(value.bytes.len() + 4, meta.block_bytes as usize, "{what}: block_bytes");
        assert_eq!(value.u32(), block, "{what}: block");
        assert_eq!(value.u32(), meta.block_vectors, "{what}: block_vectors");
        value.zeros(40);
        let vectors: Vec<_> =
            (0..meta.block_vectors).map(|_| value.take(stride).to_vec()).collect();
        let factors: Vec<_> =
            (0..meta.block_vectors).map(|_| has_factor.then(|| value.f32())).collect();
        value.zeros(value.rest());
        by_slot.extend((block * meta.block_vectors..).zip(vectors.into_iter().zip(factors)));
    }
    for slot in (meta.sealed * meta.block_vectors..meta.slots).filter(|slot| !free.contains(slot)) {
        let mut value = values.expect(TAIL, 0, slot);
        let vector = value.take(stride).to_vec();
        by_slot.insert(slot, (vector, has_factor.then(|| value.f32())));
        value.end();
    }
    by_slot.retain(|slot, _| !free.contains(slot));
    for (slot, (vector, factor)) in &by_slot {
        check_vector(meta, *slot, vector, *factor);
    }
    by_slot
}

/// CODES, section 5: that each is near the vector of its slot, as near as it says.
fn decode_codes(
    values: &mut Values,
    meta: &Meta,
    by_slot: &BTreeMap<u32, (Vec<u8>, Option<f32>)>,
) -> BTreeMap<u32, Vec<u8>> {
    if meta.is_coded == 0 {
        return BTreeMap::new();
    }
    let (n, bits) = (meta.dimensions as usize, usize::from(meta.code_bits));
    let least = (n * bits).div_ceil(8);
    // Codes of 7 bits may have zeros before their factors, to the end of a line.
    let zeros = if bits == 7 { (64 - (least + 12) % 64) % 64 } else { 0 };
    let plane = if zeros <= 4 { least + zeros } else { least };
    let (block_bytes, block_codes) = Meta::geometry_of(plane + 12);
    let [first_older, end_older] = meta.older;
    assert!(
        meta.older == [0, 0]
            || first_older < end_older
                && end_older <= meta.slots / block_codes
                && meta.generation > 0,
        "META: blocks of an older generation {:?}",
        meta.older
    );
    let generation_of =
        |block: u32| meta.generation - u32::from((first_older..end_older).contains(&block));
    let generations = meta.generation - u32::from(first_older < end_older)..=meta.generation;
    let trainings: BTreeMap<u32, (Rotation, Vec<f64>)> = generations
        .map(|generation| {
            let mut value = values.expect(CODES, 2, generation);
            let (seed, sample, spread) = (value.u64(), value.u32(), value.f32());
            assert!(sample > 0 && spread >= 0.0, "CODES: {sample} vectors, spread {spread}");
            let center = (0..n).map(|_| value.f32().into()).collect();
            value.end();
            (generation, (Rotation::new(seed, n), center))
        })
        .collect();

    let mut codes = BTreeMap::new();
    let sealed = meta.slots / block_codes;
    for block in 0..sealed {
        let mut value = values.expect(CODES, 0, block);
        assert_eq!(value.bytes.len() + 4, block_bytes as usize, "CODES {block}: bytes of a block");
        assert_eq!((value.u32(), value.u32()), (block, block_codes), "CODES {block}: header");
        assert_eq!(value.u32(), generation_of(block), "CODES {block}: generation");
        value.zeros(36);
        codes.extend(
            (block * block_codes..).zip((0..block_codes).map(|_| value.take(plane + 12).to_vec())),
        );
        value.zeros(value.rest());
    }
    for slot in (sealed * block_codes..meta.slots).filter(|slot| by_slot.contains_key(slot)) {
        let mut value = values.expect(CODES, 1, slot);
        codes.insert(slot, value.take(plane + 12).to_vec());
        value.end();
    }
    for (slot, (vector, factor)) in by_slot {
        let code = &codes[slot];
        let (rotation, center) = &trainings[&generation_of(slot / block_codes)];
        let x: Vec<f64> = floats(meta, vector)
            .iter()
            .map(|value| f64::from(value * factor.unwrap_or(1.0)))
            .collect();
        let r: Vec<f64> = x.iter().zip(center).map(|(x, c)| x - c).collect();
        let float =
            |at: usize| f64::from(f32::from_le_bytes(code[plane + at..][..4].try_into().unwrap()));
        let half = |at: usize| {
            f64::from(f32::from_le_bytes([0, 0, code[plane + at], code[plane + at + 1]]))
        };
        let (offset, scale, error, length) = (float(0), float(4), half(8), half(10));
        let expected = match &*meta.metric {
            "euclidean" => dot(&r, &r),
            "cosine" => dot(&r, &r) / 4.0,
            "dot product" => -dot(&r, center),
            metric => panic!("codes of the metric {metric:?}"),
        };
        let around = dot(&r, &r) + dot(center, center);
        assert!(
            (offset - expected).abs() <= 1e-4 * around + 1e-30,
            "slot {slot}: offset {offset}, not {expected}"
        );
        let middle = ((1 << bits) - 1) as f64 / 2.0;
        let bit = |at: usize| u32::from(code[at / 8] >> (at % 8) & 1);
        assert!(
            (n * bits..8 * plane).all(|at| bits < 7 || bit(at) == 0),
            "slot {slot}: bits after the last component"
        );
        let step = |i: usize| match bits {
            7 => f64::from((0..7).map(|j| bit(7 * i + j) << j).sum::<u32>()),
            _ => f64::from(code[i % plane] >> (bits * (i / plane)) & (((1u16 << bits) - 1) as u8)),
        };
        let scaled: Vec<f64> = (0..n).map(|i| scale * (step(i) - middle)).collect();
        let y = rotation.rotate(&r);
        let e: Vec<f64> = y.iter().zip(&scaled).map(|(y, scaled)| y - scaled).collect();
        let slack = 1e-4 * around.sqrt() + 1e-30;
        assert!(
            dot(&e, &e).sqrt() <= error + slack,
            "slot {slot}: the error is {}, not {error}",
            dot(&e, &e).sqrt()
        );
        assert!(
            dot(&scaled, &scaled).sqrt() <= length + slack
                && dot(&y, &e).abs() <= slack * around.sqrt().max(1.0),
            "slot {slot}: {length}"
        );
    }
    codes
}

/// LSH, section 17: that every slot is in every table, by the hash of its vector.
fn decode_hashes(
    values: &mut Values,
    meta: &Meta,
    by_slot: &BTreeMap<u32, (Vec<u8>, Option<f32>)>,
) {
    if meta.tables == 0 {
        return;
    }
    let mut value = values.expect(LSH, 255, 0);
    let (seed, sample, spread) = (value.u64(), value.u32(), value.f32());
    assert!(sample > 0 && spread >= 0.0, "LSH: {sample} vectors, spread {spread}");
    let center: Vec<f64> = (0..meta.dimensions).map(|_| value.f32().into()).collect();
    value.end();

    let n = center.len().max(16);
    let rotations = (usize::from(meta.tables) * 5).div_ceil(n / 16);
    let rotations: Vec<Rotation> =
        split_mix(seed).take(rotations).map(|seed| Rotation::new(seed, n)).collect();
    for table in 0..meta.tables {
        let found = decode_table(values, table);
        assert!(found.keys().eq(by_slot.keys()), "LSH: table {table} has the slots {found:?}");
        for (slot, hash) in found {
            let (vector, factor) = &by_slot[&slot];
            let floats = floats(meta, vector).into_iter();
            let mut r: Vec<f64> = floats
                .zip(&center)
                .map(|(x, c)| f64::from(x * factor.unwrap_or(1.0)) - c)
                .collect();
            r.resize(n, 0.0);
            for digit in 0..5 {
                let run = usize::from(table) * 5 + digit;
                let y = rotations[run / (n / 16)].rotate(&r);
                let y = &y[run % (n / 16) * 16..][..16];
                let value = hash >> (5 * (4 - digit)) & 31;
                let found = y[value as usize / 2] * if value % 2 == 0 { 1.0 } else { -1.0 };
                // Rounding may choose between two that are equal but for it.
                let largest = y.iter().fold(0f64, |largest, y| largest.max(y.abs()));
                let slack = 1e-4 * (dot(&r, &r) + dot(&center, &center)).sqrt();
                assert!(found >= largest - slack, "slot {slot}, table {table}: {y:?}, {value}");
            }
        }
    }
}

/// A table, section 17: the hashes of its items by slot.
fn decode_table(values: &mut Values, table: u8) -> BTreeMap<u32, u32> {
    let range = (LSH, table << 3, 0)..=(LSH, table << 3 | 7, u32::MAX);
    let keys: Vec<Key> = values.0.range(range).map(|(key, _)| *key).collect();
    let first = |key: Key| u64::from(key.1 & 7) << 32 | u64::from(key.2);
    let mut found = BTreeMap::new();
    let mut before = None;
    for (nth, key) in keys.iter().enumerate() {
        let mut value = values.expect(key.0, key.1, key.2);
        let (own, what) = (first(*key), format!("LSH: the piece {key:?}"));
        let next = keys.get(nth + 1).map_or(u64::MAX, |next| first(*next));
        let count = value.bytes.len() / 8;
        let digits: Vec<Vec<u8>> =
            (0..4).map(|_| (0..count).map(|_| value.u8()).collect()).collect();
        let slots = value.u32s(count);
        value.end();
        assert!(count > 0, "{what}: no items");
        let is_first = before.is_none_or(|before: u64| before >> 30 != own >> 30);
        assert!(!is_first || own & ((1 << 30) - 1) == 0, "{what}: where its digit begins");
        let mut last = None;
        let mut positions = BTreeSet::new();
        for (at, slot) in slots.into_iter().enumerate() {
            let hash = digits.iter().fold((own >> 30) as u32, |hash, digit| {
                assert!(digit[at] < 32, "{what}: {digit:?}");
                hash << 5 | u32::from(digit[at])
            });
            let position = u64::from(hash) << 10 | u64::from(slot & 1023);
            assert!((own..next).contains(&position), "{what}: slot {slot} at {position}");
            assert!(last < Some((position, slot)), "{what}: slot {slot} is not after {last:?}");
            (last, _) = (Some((position, slot)), positions.insert(position));
            assert!(found.insert(slot, hash).is_none(), "{what}: slot {slot} is there twice");
        }
        assert!(count <= 128 || positions.len() == 1, "{what}: {count} items");
        before = Some(own);
    }
    found
}

/// The components of a stored vector, section 4, of a form of numbers.
fn floats(meta: &Meta, vector: &[u8]) -> Vec<f32> {
    let halves = || vector.as_chunks::<2>().0.iter().copied();
    match meta.codec {
        1 => vector.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        3 => halves().map(|bytes| half::f16::from_le_bytes(bytes).to_f32()).collect(),
        4 => halves().map(|bytes| half::bf16::from_le_bytes(bytes).to_f32()).collect(),
        5 => vector.iter().map(|byte| meta.center + f32::from(*byte as i8) * meta.step).collect(),
        codec => panic!("codec {codec} is none of numbers"),
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The rotation of section 5.
struct Rotation(Vec<Vec<bool>>);

/// The words of SplitMix64, section 5.
fn split_mix(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z ^= z >> 30;
        z = z.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z ^= z >> 27;
        z = z.wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    })
}

impl Rotation {
    fn new(seed: u64, n: usize) -> Self {
        let bits: Vec<bool> = split_mix(seed)
            .take((4 * n).div_ceil(64))
            .flat_map(|word| (0..64).map(move |bit| word >> bit & 1 == 1))
            .collect();
        Self(bits[..4 * n].chunks(n).map(<[bool]>::to_vec).collect())
    }

    fn rotate(&self, vector: &[f64]) -> Vec<f64> {
        let n = vector.len();
        let p = 1 << n.ilog2();
        let mut v = vector.to_vec();
        for (round, minus) in self.0.iter().enumerate() {
            v.iter_mut()
                .zip(minus)
                .filter(|(_, minus)| **minus)
                .for_each(|(value, _)| *value = -*value);
            let from = if round % 2 == 0 { 0 } else { n - p };
            // The Walsh-Hadamard transform in natural order, by halves.
            let values = &mut v[from..from + p];
            for width in (0..p.ilog2()).map(|bit| 1 << bit) {
                for pair in values.chunks_mut(2 * width) {
                    let (low, high) = pair.split_at_mut(width);
                    for (a, b) in low.iter_mut().zip(high) {
                        (*a, *b) = (*a + *b, *a - *b);
                    }
                }
            }
            values.iter_mut().for_each(|value| *value /= (p as f64).sqrt());
            if p < n {
                for i in 0..n / 2 {
                    let (a, b) = (v[i], v[i + n.div_ceil(2)]);
                    (v[i], v[i + n.div_ceil(2)]) = ((a + b) / 2f64.sqrt(), (a - b) / 2f64.sqrt());
                }
            }
        }
        v
    }
}

/// The invariants `vectors` and `factor` of one stored vector.
fn check_vector(meta: &Meta, slot: u32, vector: &[u8], factor: Option<f32>) {
    if matches!(meta.codec, 2 | 6) {
        let padding = (meta.dimensions as usize..8 * vector.len())
            .filter(|i| vector[i / 8] >> (i % 8) & 1 == 1);
        assert_eq!(padding.count(), 0, "slot {slot}: bits after the last component");
        return;
    }
    let pairs =
        || vector.chunks_exact(2).map(|bytes| u16::from_le_bytes(bytes.try_into().unwrap()));
    let components: Vec<f32> = match meta.codec {
        1 => vector
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect(),
        3 => pairs().map(|bits| half::f16::from_bits(bits).to_f32()).collect(),
        4 => pairs().map(|bits| half::bf16::from_bits(bits).to_f32()).collect(),
        _ => vector
            .iter()
            .map(|byte| meta.center + meta.step * f32::from(byte.cast_signed()))
            .collect(),
    };
    assert!(
        components.iter().all(|component| component.is_finite()),
        "slot {slot}: {components:?}"
    );
    if let Some(factor) = factor {
        let inverse = 1.0 / components.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let off_by = factor.to_bits().abs_diff((inverse as f32).to_bits());
        assert!(
            off_by <= 2,
            "slot {slot}: the factor is {factor}, the inverse of the norm {inverse}"
        );
    }
}

/// IVF, section 16: every slot that is not free is in one list.
fn decode_lists(
    values: &mut Values,
    meta: &Meta,
    free: &BTreeSet<u32>,
    codes: &BTreeMap<u32, Vec<u8>>,
) {
    let (block_bytes, block_centers) = Meta::geometry_of(4 * meta.dimensions as usize);
    for block in 0..meta.lists.div_ceil(block_centers) {
        let mut value = values.expect(IVF, 0, block);
        assert_eq!(value.bytes.len() + 4, block_bytes as usize, "IVF {block}: bytes of a block");
        assert_eq!((value.u32(), value.u32()), (block, block_centers), "IVF {block}: header");
        value.zeros(40);
        for _ in 0..block_centers.min(meta.lists - block * block_centers) {
            let center: Vec<f32> = (0..meta.dimensions).map(|_| value.f32()).collect();
            assert!(center.iter().all(|x| x.is_finite()), "IVF {block}: {center:?}");
        }
        value.zeros(value.rest());
    }
    let mut entries = |sub: u8, count: u32| {
        let mut entries = Vec::new();
        for group in 0..count.div_ceil(1000) {
            match values.take(IVF, sub, group) {
                Some(mut value) => {
                    entries.extend(value.u32s(1000));
                    value.end();
                }
                None => entries.resize(entries.len() + 1000, NO_SLOT),
            }
        }
        let beyond = entries.split_off(count as usize);
        assert!(beyond.iter().all(|entry| *entry == NO_SLOT), "IVF {sub}: entries beyond all");
        entries
    };
    let (of_slots, sizes) = match meta.lists {
        0 => return,
        lists => (entries(2, meta.slots), entries(3, lists)),
    };
    let vacant = sizes.iter().filter(|size| **size == NO_SLOT).count();
    assert_eq!(vacant, meta.vacant as usize, "IVF: vacant lists");
    let mut found = vec![NO_SLOT; meta.slots as usize];
    for n in values.all_n(IVF, 1) {
        let (list, piece) = (n >> 12, n & 0xFFF);
        let size = sizes[list as usize] as usize;
        let mut value = values.expect(IVF, 1, n);
        let slots = value.roaring(value.rest());
        // As long as lists have less than a million and a half slots.
        let expected = (size - 390 * piece as usize).min(390);
        assert_eq!(slots.len(), expected, "IVF list {list} piece {piece} of {size} slots");
        for slot in slots {
            let before = std::mem::replace(&mut found[slot as usize], list);
            assert_eq!(before, NO_SLOT, "IVF: slot {slot} is in two lists");
        }
    }
    assert_eq!(found, of_slots, "IVF: the list of each slot");
    for (slot, list) in (0..).zip(&found) {
        assert_eq!(*list == NO_SLOT, free.contains(&slot), "IVF: slot {slot} in list {list}");
    }
    for (list, size) in (0..).zip(&sizes) {
        let members = found.iter().filter(|other| **other == list).count();
        assert_eq!(members, if *size == NO_SLOT { 0 } else { *size as usize }, "IVF list {list}");
    }
    if meta.lists_have_codes {
        assert!(meta.is_coded == 1 && meta.older == [0, 0], "META: codes of lists: {meta:?}");
        decode_codes_of_lists(values, &sizes, &found, codes);
    }
}

/// IVF, section 16: each list has the codes of its slots.
fn decode_codes_of_lists(
    values: &mut Values,
    sizes: &[u32],
    of_slots: &[u32],
    codes: &BTreeMap<u32, Vec<u8>>,
) {
    let bytes = codes.values().next().expect("there are codes").len();
    // As long as lists have less than 4 096 full blocks.
    let most = ((4080 - 4) / (bytes + 4)).max(1);
    let mut found = vec![NO_SLOT; of_slots.len()];
    for (list, size) in (0..).zip(sizes).filter(|(_, size)| **size != NO_SLOT) {
        for block in 0..(*size as usize).div_ceil(most) {
            let mut value = values.expect(IVF, 4, list << 12 | block as u32);
            let count = (*size as usize - block * most).min(most);
            let of_block: Vec<Vec<u8>> = (0..count).map(|_| value.take(bytes).to_vec()).collect();
            for (slot, code) in value.u32s(count).into_iter().zip(of_block) {
                assert_eq!(codes[&slot], code, "IVF list {list}: the code of slot {slot}");
                let before = std::mem::replace(&mut found[slot as usize], list);
                assert_eq!(before, NO_SLOT, "IVF: slot {slot} has two codes in lists");
            }
            value.end();
        }
    }
    assert_eq!(found, of_slots, "IVF: the list that has the code of each slot");
}

/// SLOT_IDS, section 7.
fn decode_slot_ids(values: &mut Values, slots: u32) -> Vec<u32> {
    let mut slot_ids = Vec::new();
    for group in 0..slots.div_ceil(1019) {
        let mut value = values.expect(SLOT_IDS, 0, group);
        slot_ids.extend(value.u32s((slots - group * 1019).min(1019) as usize));
        value.end();
    }
    slot_ids
}

/// ID_SLOTS, section 7.
fn decode_id_slots(values: &mut Values, slots: u32) -> BTreeMap<u32, u32> {
    let mut slot_of = BTreeMap::new();
    for group in values.all_n(ID_SLOTS, 0) {
        let mut value = values.expect(ID_SLOTS, 0, group);
        let what = value.what.clone();
        let form = value.u8();
        value.zeros(1);
        let count = usize::from(value.u16());
        assert!((1..=1000).contains(&count), "{what}: {count} items");
        assert_eq!(
            form,
            u8::from(count >= 667),
            "{what}: the form is dense from 667 items on, this has {count}"
        );
        let entries: Vec<(u32, u32)> = if form == 1 {
            (0..).zip(value.u32s(1000)).filter(|&(_, slot)| slot != NO_SLOT).collect()
        } else {
            let rests: Vec<u32> = (0..count).map(|_| u32::from(value.u16())).collect();
            assert!(
                is_ascending(&rests) && rests.last() < Some(&1000),
                "{what}: ids ascend below 1000: {rests:?}"
            );
            rests.into_iter().zip(value.u32s(count)).collect()
        };
        value.end();
        assert_eq!(entries.len(), count, "{what}: count");
        for (rest, slot) in entries {
            let id = u64::from(group) * 1000 + u64::from(rest);
            let id = u32::try_from(id).unwrap_or_else(|_| panic!("{what}: item id {id} is no u32"));
            assert!(slot < slots, "{what}: item {id} has slot {slot} of {slots}");
            slot_of.insert(id, slot);
        }
    }
    slot_of
}

/// One of the SETS, section 8.
fn decode_set(values: &mut Values, set: u8, slots: u32) -> BTreeSet<u32> {
    let mut members = BTreeSet::new();
    for chunk in values.all_n(SETS, set) {
        let mut value = values.expect(SETS, set, chunk);
        let in_chunk = value.roaring(value.rest());
        assert!(!in_chunk.is_empty(), "{}: a chunk without members has no value", value.what);
        for member in in_chunk {
            let slot = u64::from(chunk) * 2048 + u64::from(member);
            assert!(
                member < 2048 && slot < u64::from(slots),
                "{}: member {member} of {slots} slots",
                value.what
            );
            members.insert(slot as u32);
        }
    }
    members
}

/// LINKS, SPILL and IN of one layer, section 6. Counts the spilled records and the IN values in
/// `decoded`.
fn decode_layer(values: &mut Values, layer: u8, decoded: &mut Decoded) -> BTreeMap<u32, Node> {
    let group_slots = u32::from(decoded.meta.links_group);
    let mut nodes = BTreeMap::new();
    for group in values.all_n(LINKS, layer) {
        let mut links = decode_group(values.expect(LINKS, layer, group), group_slots);
        let mut spill = values
            .take(SPILL, layer, group)
            .map(|value| decode_group(value, group_slots))
            .unwrap_or_default();
        let mut links_bytes = 8 + 2 * group_slots as usize;
        for i in 0..group_slots {
            let what = format!("layer {layer} group {group} record {i}");
            let (here, there) = (links.remove(&i), spill.remove(&i));
            let (is_here, says_there) = (matches!(here, Some(Some(_))), matches!(here, Some(None)));
            assert!(!matches!(there, Some(None)), "{what}: SPILL points elsewhere");
            assert_eq!(
                says_there,
                there.is_some(),
                "{what}: LINKS says that SPILL has it, or SPILL has it"
            );
            let Some((node_bytes, node)) = here.flatten().or(there.flatten()) else { continue };
            let fits = links_bytes + node_bytes <= MAX_LINKS_BYTES;
            assert_eq!(
                is_here, fits,
                "{what}: LINKS has {links_bytes} bytes before it, it has {node_bytes}: in LINKS \
                 if it fits"
            );
            links_bytes += if fits { node_bytes } else { 0 };
            decoded.spilled += usize::from(!fits);
            let slot = u64::from(group) * u64::from(group_slots) + u64::from(i);
            let slot = u32::try_from(slot).unwrap_or_else(|_| panic!("{what}: slot {slot}"));
            nodes.insert(slot, node);
        }
    }
    for slot in values.all_n(IN, layer) {
        let mut value = values.expect(IN, layer, slot);
        let one_way = value.roaring(value.rest());
        let node: Option<&mut Node> = nodes.get_mut(&slot);
        let node = node.unwrap_or_else(|| panic!("{}: no such node", value.what));
        assert_eq!(
            node.one_way,
            [u32::MAX],
            "{}: the record does not say that its in-neighbors are in IN",
            value.what
        );
        assert!(
            one_way.len() > MAX_ONE_WAY,
            "{}: {} in-neighbors fit the record",
            value.what,
            one_way.len()
        );
        node.one_way = one_way;
        decoded.in_values += 1;
    }
    let missing = nodes.iter().find(|(_, node)| node.one_way == [u32::MAX]);
    assert!(missing.is_none(), "layer {layer}: the IN value of {missing:?} is missing");
    nodes
}

/// One LINKS or SPILL value: the length and contents of each record by place in the group, `None`
/// if the record is elsewhere.
fn decode_group(mut value: Cursor, group_slots: u32) -> BTreeMap<u32, Option<(usize, Node)>> {
    let what = value.what.clone();
    assert_eq!(value.u32() as usize, value.bytes.len() + 4, "{what}: length");
    let mut records = BTreeMap::new();
    let directory: Vec<u16> = (0..group_slots).map(|_| value.u16()).collect();
    for (i, offset) in (0..).zip(directory).filter(|&(_, offset)| offset != 0) {
        if offset == ELSEWHERE {
            records.insert(i, None);
            continue;
        }
        let start = value.at;
        assert_eq!(
            usize::from(offset),
            start,
            "{what}: records follow each other in slot order, record {i}"
        );
        let node = decode_record(&mut value);
        records.insert(i, Some((value.at - start, node)));
    }
    assert!(!records.is_empty(), "{what}: a value without any record does not exist");
    value.end();
    records
}

/// A record of section 6. Its `one_way` is `[u32::MAX]`, which is no slot, if it is to be found in
/// IN.
fn decode_record(value: &mut Cursor) -> Node {
    let what = format!("{}, record at {}", value.what, value.at);
    let list_bytes = usize::from(value.u16());
    let is_run_free =
        value.bytes.get(value.at..value.at + 4) == Some(12_346_u32.to_le_bytes().as_slice());
    assert!(is_run_free, "{what}: a neighbor list has cookie 12346");
    let neighbors = value.roaring(list_bytes);
    let has_arrays_only =
        neighbors.chunk_by(|a, b| a >> 16 == b >> 16).all(|container| container.len() <= 4096);
    assert!(has_arrays_only, "{what}: a neighbor list has array containers only");
    let (parent, rank, one_way) = (value.u32(), value.u32(), value.u16());
    let bits = value.take(neighbors.len().div_ceil(8)).to_vec();
    let is_child = |i: &usize| bits[i / 8] >> (i % 8) & 1 == 1;
    assert!(
        !(neighbors.len()..8 * bits.len()).any(|i| is_child(&i)),
        "{what}: child bits beyond the list"
    );
    let children = (0..neighbors.len()).filter(is_child).map(|i| neighbors[i]).collect();
    let one_way = if one_way == ELSEWHERE {
        vec![u32::MAX]
    } else {
        assert!(usize::from(one_way) <= MAX_ONE_WAY, "{what}: {one_way} in-neighbors belong in IN");
        value.u32s(usize::from(one_way))
    };
    assert!(is_ascending(&one_way), "{what}: in-neighbors ascend: {one_way:?}");
    Node { neighbors, parent, rank, children, one_way }
}

impl Decoded {
    /// Asserts the invariants `sets`, `ids`, `counts`, `nodes`, `lists`, `in-neighbors`, `tree`,
    /// `reachable` and `in-degree` of section 9.
    pub(crate) fn verify(&self) {
        let sizes = [self.slot_of.len(), self.pending.len(), self.removed.len(), self.free.len()];
        let [items, pending, removed, free] = sizes.map(|size| size as u32);
        let meta = &self.meta;
        assert_eq!(
            [meta.items, meta.pending, meta.removed, meta.free],
            [items, pending, removed, free],
            "counts"
        );

        let record_bytes: usize = self.records.values().map(Vec::len).sum();
        assert_eq!(
            (meta.records as usize, meta.record_bytes),
            (self.records.len(), record_bytes as u64),
            "records: META counts them"
        );
        for (item, record) in &self.records {
            assert!(self.slot_of.contains_key(item), "records: one of {item}, which is no item");
            assert!(record.len() <= 64 << 20, "records: that of {item} has {} bytes", record.len());
        }

        let (mut exists, mut all) = (BTreeMap::new(), BTreeMap::new());
        for (item, record) in self.records.iter().filter(|_| !meta.fields.is_empty()) {
            let record: serde_json::Value = serde_json::from_slice(record).expect("JSON");
            for (number, field) in &meta.fields {
                for value in values_of(&record, field) {
                    let with: &mut BTreeSet<u32> = exists.entry(*number).or_default();
                    with.insert(*item);
                    let with: &mut BTreeSet<u32> = all.entry((*number, value)).or_default();
                    with.insert(*item);
                }
            }
        }
        assert_eq!((&self.exists, &self.values), (&exists, &all), "fields follow from records");

        let mut live_slots = 0;
        for (slot, id) in (0..).zip(&self.slot_ids) {
            let [pending, removed, free] =
                [&self.pending, &self.removed, &self.free].map(|set| set.contains(&slot));
            assert!(
                u8::from(pending) + u8::from(removed) + u8::from(free) <= 1,
                "sets: slot {slot} is in two"
            );
            assert!(!free || *id == 0, "ids: the free slot {slot} has item id {id}");
            let is_live = !removed && !free;
            live_slots += u32::from(is_live);
            assert_eq!(
                is_live,
                self.slot_of.get(id) == Some(&slot),
                "ids: slot {slot}, item {id}, slot of it {:?}",
                self.slot_of.get(id)
            );
        }
        assert_eq!(live_slots, items, "ids: one live slot for every item");

        let linked = (0..if meta.has_no_graph { 0 } else { meta.slots })
            .filter(|slot| !self.pending.contains(slot) && !self.free.contains(slot));
        let records: Vec<u32> =
            self.layers.first().map(|nodes| nodes.keys().copied().collect()).unwrap_or_default();
        assert!(linked.eq(records), "nodes: the linked slots are those with a record on layer 0");
        for (layer, nodes) in self.layers.iter().enumerate() {
            let below = &self.layers[layer.saturating_sub(1)];
            assert!(!nodes.is_empty(), "nodes: layer {layer} of {} is empty", meta.layers);
            assert!(
                nodes.keys().all(|slot| below.contains_key(slot)),
                "nodes: one of layer {layer} is not on the layer below"
            );
            self.verify_lists(layer, nodes);
            self.verify_tree(layer, nodes);
        }
    }

    fn verify_lists(&self, layer: usize, nodes: &BTreeMap<u32, Node>) {
        let max_degree = usize::from(if layer == 0 { self.meta.m0 } else { self.meta.m });
        let mut one_way: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut has_in_edge = BTreeSet::new();
        for (slot, Node { neighbors, .. }) in nodes {
            assert!(
                is_ascending(neighbors) && neighbors.len() <= max_degree,
                "lists: layer {layer} slot {slot} has {neighbors:?}"
            );
            for neighbor in neighbors {
                assert_ne!(
                    slot, neighbor,
                    "lists: layer {layer} slot {slot} has an edge to itself"
                );
                let end = nodes.get(neighbor).unwrap_or_else(|| {
                    panic!("lists: layer {layer} slot {slot} names {neighbor}, no node")
                });
                if !end.neighbors.contains(slot) {
                    one_way.entry(*neighbor).or_default().push(*slot);
                }
                has_in_edge.insert(*neighbor);
            }
        }
        for (slot, node) in nodes {
            let expected = one_way.remove(slot).unwrap_or_default();
            assert_eq!(node.one_way, expected, "in-neighbors: layer {layer} slot {slot}");
            assert!(
                nodes.len() == 1 || has_in_edge.contains(slot),
                "in-degree: layer {layer} slot {slot} has no in-edge"
            );
        }
    }

    fn verify_tree(&self, layer: usize, nodes: &BTreeMap<u32, Node>) {
        let root = self.meta.roots[layer];
        assert!(
            nodes.contains_key(&root),
            "tree: the root {root} of layer {layer} is no node of it"
        );
        for (&slot, node) in nodes {
            let what = format!("tree: layer {layer} slot {slot} {node:?}");
            assert!(
                node.rank < self.meta.next_rank,
                "{what}: rank, the next is {}",
                self.meta.next_rank
            );
            assert_eq!(
                node.parent == slot,
                slot == root,
                "{what}: its own parent, or the root {root}, and not both"
            );
            if slot != root {
                let parent =
                    nodes.get(&node.parent).unwrap_or_else(|| panic!("{what}: no such parent"));
                assert!(parent.rank < node.rank, "{what}: the parent has rank {}", parent.rank);
                assert!(
                    parent.children.contains(&slot),
                    "{what}: the parent has no child edge to it"
                );
            }
            for child in &node.children {
                assert_eq!(nodes[child].parent, slot, "{what}: child {child} has another parent");
            }
        }
        let (mut reached, mut to_visit) = (BTreeSet::from([root]), vec![root]);
        while let Some(slot) = to_visit.pop() {
            to_visit.extend(
                nodes[&slot].neighbors.iter().filter(|&&neighbor| reached.insert(neighbor)),
            );
        }
        assert_eq!(reached.len(), nodes.len(), "reachable: nodes of layer {layer} from its root");
    }
}

// What the decoder itself gets right, by hand-made bytes.

fn roaring_of(cookie: u32, run_flags: &[u8], words: &[u16]) -> Vec<u32> {
    let mut bytes = [&cookie.to_le_bytes(), run_flags].concat();
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    decode_roaring(Cursor { what: "by hand".to_owned(), bytes, at: 0 })
}

#[test]
fn the_checksum_of_123456789_is_the_check_value_of_crc_32c() {
    assert_eq!(crc32c(b"123456789".iter()), 0xE306_9283);
}

#[test]
fn roaring_containers_of_all_three_kinds_are_decoded() {
    const NO_RUNS: u32 = 12_346;
    const RUNS: u32 = 12_347;
    assert_eq!(roaring_of(NO_RUNS, &[], &[0, 0]), [0u32; 0], "an empty set");
    let arrays = [2, 0, 0, 2, 1, 0, 24, 0, 30, 0, 1, 2, 3, 5];
    assert_eq!(roaring_of(NO_RUNS, &[], &arrays), [1, 2, 3, 65_541], "two arrays");
    let runs = [0, 14, 3, 1, 10, 20, 0, 31, 2];
    let of_runs: Vec<u32> = (1..=11).chain([20]).chain(31..=33).collect();
    assert_eq!(
        roaring_of(RUNS, &[0b1], &runs),
        of_runs,
        "the runs of the specification's example, without offsets"
    );
    let mixed =
        [0, 0, 1, 0, 2, 1, 4, 65_535, 37, 0, 39, 0, 41, 0, 47, 0, 7, 8, 1, 5, 1, 1, 0, 65_535];
    let of_mixed: Vec<u32> =
        [7, 65_544, 131_077, 131_078].into_iter().chain(4 << 16..5 << 16).collect();
    assert_eq!(
        roaring_of(RUNS | 3 << 16, &[0b1100], &mixed),
        of_mixed,
        "four containers have offsets"
    );
    let mut bitmap = vec![1, 0, 2, 4999, 16, 0];
    bitmap.extend(
        (0..4096).map(|word| if word < 312 { u16::MAX } else { u16::from(word == 312) * 0xFF }),
    );
    assert_eq!(
        roaring_of(NO_RUNS, &[], &bitmap),
        (131_072..136_072).collect::<Vec<_>>(),
        "a bitmap"
    );
}

#[test]
#[should_panic(expected = "offset of container 0")]
fn a_roaring_set_whose_offset_is_wrong_is_refused() {
    roaring_of(12_346, &[], &[1, 0, 0, 0, 18, 0, 7]);
}

#[test]
#[should_panic(expected = "container 0 ascends")]
fn a_roaring_set_whose_values_do_not_ascend_is_refused() {
    roaring_of(12_346, &[], &[1, 0, 0, 1, 16, 0, 7, 7]);
}

// What the engine writes, decoded.

fn random_vectors(
    rng: &mut StdRng,
    ids: impl IntoIterator<Item = u32>,
    dimensions: usize,
) -> Model {
    ids.into_iter()
        .map(|id| (id, (0..dimensions).map(|_| rng.random_range(-1.0..1.0)).collect()))
        .collect()
}

fn build<D: Distance>(writer: &Writer<'_, D>, wtxn: &mut RwTxn<'_>) {
    writer
        .builder(&mut StdRng::seed_from_u64(42))
        .ef_construction(100)
        .build::<8, 16>(wtxn)
        .unwrap();
}

fn to_f32_bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|component| component.to_le_bytes()).collect()
}

fn to_bit_bytes(vector: &[f32]) -> Vec<u8> {
    let word = |chunk: &[f32]| {
        chunk.iter().rev().fold(0_u64, |word, &component| word << 1 | u64::from(component == 1.0))
    };
    vector.chunks(64).flat_map(|chunk| word(chunk).to_le_bytes()).collect()
}

/// Decodes and verifies an index, and compares its vectors, byte for byte, with those that it
/// should hold.
fn decode_all<D: Distance>(
    env: &Env,
    db: voisin::Database<'_, D>,
    index: u16,
    expected: &Model,
    to_bytes: fn(&[f32]) -> Vec<u8>,
) -> Decoded {
    let decoded = decode(db.remap_types(), &env.read_txn().unwrap(), index);
    decoded.verify();
    assert!(decoded.vectors.keys().eq(expected.keys()), "the item ids are those that were added");
    for (id, vector) in expected {
        assert_eq!(decoded.vectors[id], to_bytes(vector), "item {id}: {vector:?}");
    }
    decoded
}

#[test]
fn a_cosine_index_decodes_when_built_when_changed_and_when_built_again() {
    let (_dir, env) = new_env();
    let db = create::<Cosine>(&env);
    let writer = Writer::<Cosine>::new(db, 0, 16);
    let mut rng = StdRng::seed_from_u64(1);
    let mut expected = random_vectors(&mut rng, 0..3000, 16);
    let mut wtxn = env.write_txn().unwrap();
    add(&writer, &mut wtxn, &expected);
    build(&writer, &mut wtxn);
    wtxn.commit().unwrap();
    let decoded = decode_all(&env, db, 0, &expected, to_f32_bytes);
    let Meta { m, m0, ef_construction, alpha, items, pending, .. } = decoded.meta;
    assert_eq!((m, m0, ef_construction, items, pending), (8, 16, 100, 3000, 0));
    assert!(
        alpha >= 1.0 && decoded.factors.len() == 3000,
        "alpha {alpha}, {} factors",
        decoded.factors.len()
    );

    let changed = random_vectors(&mut rng, (100..200).chain(3000..3050), 16);
    let mut wtxn = env.write_txn().unwrap();
    for id in 0..100 {
        assert!(writer.del_item(&mut wtxn, id).unwrap(), "item {id} was there");
        expected.remove(&id);
    }
    add(&writer, &mut wtxn, &changed);
    wtxn.commit().unwrap();
    expected.extend(changed);
    let decoded = decode_all(&env, db, 0, &expected, to_f32_bytes);
    assert_eq!((decoded.meta.items, decoded.meta.pending, decoded.meta.removed), (2950, 150, 200));

    let mut wtxn = env.write_txn().unwrap();
    build(&writer, &mut wtxn);
    wtxn.commit().unwrap();
    let decoded = decode_all(&env, db, 0, &expected, to_f32_bytes);
    assert_eq!((decoded.meta.items, decoded.meta.pending, decoded.meta.removed), (2950, 0, 0));
}

#[test]
fn an_index_with_records_decodes_and_has_a_part_of_them_only_while_there_are_any() {
    let (_dir, env) = new_env();
    let db = create::<Cosine>(&env);
    let writer = Writer::<Cosine>::new(db, 7, 8);
    let mut rng = StdRng::seed_from_u64(4);
    let mut expected = random_vectors(&mut rng, (0..200).chain([u32::MAX]), 8);
    let mut wtxn = env.write_txn().unwrap();
    // Empty, short, longer than a page, and many pages long.
    let record = |item: u32| vec![item as u8; [0, 30, 700, 5000, 100_000][item as usize % 5]];
    for (item, vector) in &expected {
        writer.add_item_with_record(&mut wtxn, *item, vector, &record(*item)).unwrap();
    }
    build(&writer, &mut wtxn);
    wtxn.commit().unwrap();
    let decoded = decode_all(&env, db, 7, &expected, to_f32_bytes);
    assert_eq!(decoded.meta.records, 201);
    assert!(decoded.records.iter().all(|(item, found)| *found == record(*item)));

    let mut wtxn = env.write_txn().unwrap();
    let changed = random_vectors(&mut rng, 0..60, 8);
    add(&writer, &mut wtxn, &changed);
    expected.extend(changed);
    for item in 20..70 {
        assert!(writer.del_item(&mut wtxn, item).unwrap());
        expected.remove(&item);
    }
    assert!(writer.set_record(&mut wtxn, 3, b"another").unwrap());
    assert!(writer.remove_record(&mut wtxn, u32::MAX).unwrap());
    wtxn.commit().unwrap();
    let decoded = decode_all(&env, db, 7, &expected, to_f32_bytes);
    assert_eq!((decoded.meta.records, &decoded.records[&3][..]), (150, &b"another"[..]));
    assert!(decoded.records.iter().all(|(item, found)| *item == 3 || *found == record(*item)));

    let mut wtxn = env.write_txn().unwrap();
    for item in decoded.records.keys() {
        assert!(writer.remove_record(&mut wtxn, *item).unwrap());
    }
    wtxn.commit().unwrap();
    let decoded = decode_all(&env, db, 7, &expected, to_f32_bytes);
    assert_eq!((decoded.meta.records, decoded.records.len()), (0, 0));
}

#[test]
fn an_index_of_each_kind_of_keys_decodes() {
    /// Adds, replaces and deletes items at level 1, and decodes after each commit.
    fn run<K: ItemKey + ?Sized>(naming: u8, key: fn(u32) -> K::Owned, bytes: fn(u32) -> Vec<u8>)
    where
        K::Owned: AsKey<K>,
    {
        let (_dir, env) = new_env();
        let db = create::<Cosine>(&env);
        let writer = Writer::<Cosine>::new(db, 7, 8).keyed::<K>();
        let mut expected = BTreeMap::new();
        for round in 0..4u32 {
            let mut rng = StdRng::seed_from_u64(u64::from(round));
            let mut wtxn = env.write_txn().unwrap();
            let added = random_vectors(&mut rng, round * 150..round * 150 + 300, 8);
            let rows = added.iter().map(|(n, vector)| (key(*n), vector));
            assert_eq!(writer.add_items_from(&mut wtxn, rows).unwrap(), 300);
            expected.extend(added.into_iter().map(|(n, vector)| (bytes(n), vector)));
            let gone = (round * 200..round * 200 + 300).step_by(7);
            for n in gone.clone() {
                let is_there = expected.remove(&bytes(n)).is_some();
                assert_eq!(writer.del_item(&mut wtxn, key(n)).unwrap(), is_there);
            }
            assert_eq!(writer.del_items(&mut wtxn, gone.map(key)).unwrap(), 0);
            if round % 2 == 1 {
                let mut rng = StdRng::seed_from_u64(42);
                writer.builder(&mut rng).build::<8, 16>(&mut wtxn).unwrap();
            }
            wtxn.commit().unwrap();
            let rtxn = env.read_txn().unwrap();
            let decoded = decode(db.remap_types(), &rtxn, 7);
            decoded.verify();
            assert_eq!(decoded.meta.naming, naming);
            let found =
                decoded.keys.iter().map(|(id, key)| (key.clone(), decoded.vectors[id].clone()));
            let stored = expected.iter().map(|(key, row)| (key.clone(), to_f32_bytes(row)));
            assert_eq!(found.collect::<BTreeMap<_, _>>(), stored.collect());
            assert_eq!(voisin::check(&rtxn, 7, db).unwrap(), []);
        }
    }
    let number = |n: u32| u64::from(n) << 20 | 7;
    run::<u64>(1, number, |n| (u64::from(n) << 20 | 7).to_be_bytes().to_vec());
    run::<str>(2, |n| format!("é {n}"), |n| format!("é {n}").into_bytes());
    run::<[u8]>(3, |n| vec![0xFF; 1 + n as usize % 400], |n| vec![0xFF; 1 + n as usize % 400]);
    let uuid = |n: u32| std::array::from_fn(|at| n.rotate_right(at as u32) as u8);
    run::<[u8; 16]>(4, uuid, |n| (0..16).map(|at| n.rotate_right(at) as u8).collect());
}

#[test]
fn an_index_with_fields_decodes() {
    let (_dir, env) = new_env();
    let db = create::<Cosine>(&env);
    let writer = Writer::<Cosine>::new(db, 7, 4);
    let mut rng = StdRng::seed_from_u64(5);
    let mut expected = random_vectors(&mut rng, (0..3000).chain([u32::MAX]), 4);
    let record = |item: u32, version: u32| {
        let n = (item.wrapping_mul(2_654_435_761) >> 20) as i32 - 2000 + version as i32;
        let tag = ["a", "b", "a\0\0\0\0", "ab"][item as usize % 4];
        format!(
            r#"{{"tag": [{tag:?}, "all", "of {}"], "n": {n}, "x": {}.5, "at": {n}, "ok": {}}}"#,
            item / 3,
            n % 7,
            item % 3 == version % 3
        )
        .replace("\\0", "\\u0000")
    };
    let mut wtxn = env.write_txn().unwrap();
    writer.add_field(&mut wtxn, Field::keyword("tag")).unwrap();
    writer.add_field(&mut wtxn, Field::integer("n")).unwrap();
    let items = expected.iter().map(|(item, vector)| (*item, vector, record(*item, 0)));
    writer.add_items_with_records(&mut wtxn, items).unwrap();
    for field in [Field::float("x"), Field::timestamp("at"), Field::bool("ok")] {
        writer.add_field(&mut wtxn, field).unwrap();
    }
    build(&writer, &mut wtxn);
    wtxn.commit().unwrap();
    let decoded = decode_all(&env, db, 7, &expected, to_f32_bytes);
    assert_eq!((decoded.meta.fields.len(), decoded.exists[&0].len()), (5, 3001));

    let mut wtxn = env.write_txn().unwrap();
    writer.drop_field(&mut wtxn, "n").unwrap();
    for item in 0..900 {
        assert!(writer.set_record(&mut wtxn, item, record(item, item % 5).as_bytes()).unwrap());
    }
    for item in 500..1500 {
        assert!(writer.del_item(&mut wtxn, item).unwrap());
        expected.remove(&item);
    }
    for item in 2000..2100 {
        assert!(writer.remove_record(&mut wtxn, item).unwrap());
    }
    writer.add_field(&mut wtxn, Field::integer("n")).unwrap();
    wtxn.commit().unwrap();
    let decoded = decode_all(&env, db, 7, &expected, to_f32_bytes);
    assert_eq!((decoded.meta.fields.len(), decoded.exists[&1].len()), (5, 1901));
}

#[test]
fn tables_of_hashes_decode_when_built_changed_and_renumbered_with_a_graph_and_without() {
    for (dimensions, has_graph) in [(40, true), (5, false)] {
        let (_dir, env) = new_env();
        let db = create::<Cosine>(&env);
        let writer = Writer::<Cosine>::new(db, 0, dimensions);
        let mut rng = StdRng::seed_from_u64(9);
        let mut expected = random_vectors(&mut rng, 0..1500, dimensions);
        // More equal vectors than a piece holds, so that slots tell them apart.
        for id in 0..400 {
            let first = expected[&0].clone();
            expected.insert(id, first);
        }
        let mut wtxn = env.write_txn().unwrap();
        writer.add_kind(&mut wtxn, voisin::IndexKind::Lsh).unwrap();
        if !has_graph {
            writer.drop_kind(&mut wtxn, voisin::IndexKind::Hnsw).unwrap();
        }
        add(&writer, &mut wtxn, &expected);
        build(&writer, &mut wtxn);
        wtxn.commit().unwrap();
        let decoded = decode_all(&env, db, 0, &expected, to_f32_bytes);
        assert!(decoded.meta.tables > 0);

        let changed = random_vectors(&mut rng, (300..500).chain(3000..3200), dimensions);
        let mut wtxn = env.write_txn().unwrap();
        for id in 0..300 {
            assert!(writer.del_item(&mut wtxn, id).unwrap(), "item {id} was there");
            expected.remove(&id);
        }
        add(&writer, &mut wtxn, &changed);
        wtxn.commit().unwrap();
        expected.extend(changed);
        decode_all(&env, db, 0, &expected, to_f32_bytes);

        let mut wtxn = env.write_txn().unwrap();
        let mut rng = StdRng::seed_from_u64(3);
        writer.builder(&mut rng).optimize_with(&mut wtxn, 8, 16).unwrap();
        wtxn.commit().unwrap();
        decode_all(&env, db, 0, &expected, to_f32_bytes);
    }
}

#[test]
fn inverted_lists_and_their_codes_decode_when_built_changed_and_renumbered() {
    for (dimensions, bits, has_graph) in [(40, 8, false), (70, 4, true), (1100, 1, false)] {
        let (_dir, env) = new_env();
        let db = create::<Euclidean>(&env);
        let writer = Writer::<Euclidean>::new(db, 0, dimensions);
        let mut rng = StdRng::seed_from_u64(9);
        let mut expected = random_vectors(&mut rng, 0..1500, dimensions);
        let mut wtxn = env.write_txn().unwrap();
        writer.add_kind(&mut wtxn, voisin::IndexKind::Ivf).unwrap();
        if !has_graph {
            writer.drop_kind(&mut wtxn, voisin::IndexKind::Hnsw).unwrap();
        }
        let codes = [voisin::Codes::Bits1, voisin::Codes::Bits4, voisin::Codes::Bits8];
        let codes = codes.into_iter().find(|codes| codes.bits() == bits);
        writer.set_codes(&mut wtxn, codes).unwrap();
        add(&writer, &mut wtxn, &expected);
        build(&writer, &mut wtxn);
        wtxn.commit().unwrap();
        let decoded = decode_all(&env, db, 0, &expected, to_f32_bytes);
        assert!(decoded.meta.lists_have_codes);

        // Replaced, added and deleted items, with a build and without.
        for builds in [false, true] {
            let changed = random_vectors(&mut rng, (300..500).chain(3000..3200), dimensions);
            let mut wtxn = env.write_txn().unwrap();
            for id in expected.keys().copied().take(150).collect::<Vec<_>>() {
                assert!(writer.del_item(&mut wtxn, id).unwrap(), "item {id} was there");
                expected.remove(&id);
            }
            add(&writer, &mut wtxn, &changed);
            if builds {
                build(&writer, &mut wtxn);
            }
            wtxn.commit().unwrap();
            expected.extend(changed);
            let decoded = decode_all(&env, db, 0, &expected, to_f32_bytes);
            assert!(decoded.meta.lists_have_codes);
        }

        let mut wtxn = env.write_txn().unwrap();
        let mut rng = StdRng::seed_from_u64(3);
        writer.builder(&mut rng).optimize_with(&mut wtxn, 8, 16).unwrap();
        wtxn.commit().unwrap();
        assert!(decode_all(&env, db, 0, &expected, to_f32_bytes).meta.lists_have_codes);
        let mut wtxn = env.write_txn().unwrap();
        writer.set_codes(&mut wtxn, None).unwrap();
        wtxn.commit().unwrap();
        assert!(!decode_all(&env, db, 0, &expected, to_f32_bytes).meta.lists_have_codes);
    }
}

#[test]
fn two_euclidean_indexes_with_sparse_ids_decode_from_one_database() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let mut rng = StdRng::seed_from_u64(2);
    let mut wtxn = env.write_txn().unwrap();
    let indexes = [(3, 24), (65_534, 5)].map(|(index, dimensions)| {
        let ids: Vec<u32> = (0..700).map(|_| rng.random()).chain([0, u32::MAX]).collect();
        let mut vectors = random_vectors(&mut rng, ids, dimensions);
        vectors.insert(1, vec![-0.0; dimensions]);
        // The smallest number there is, beside one that gives the vector a norm.
        vectors.insert(2, [vec![f32::from_bits(1); dimensions - 1], vec![1.0]].concat());
        let writer = Writer::<Euclidean>::new(db, index, dimensions);
        add(&writer, &mut wtxn, &vectors);
        build(&writer, &mut wtxn);
        (index, vectors)
    });
    wtxn.commit().unwrap();
    for (index, vectors) in &indexes {
        let decoded = decode_all(&env, db, *index, vectors, to_f32_bytes);
        assert!(decoded.factors.is_empty(), "Euclidean vectors have no factors");
    }
}

#[test]
fn a_hamming_index_of_70_dimensions_decodes_to_the_bits_that_were_added() {
    let (_dir, env) = new_env();
    let db = create::<Hamming>(&env);
    let mut vectors = random_vectors(&mut StdRng::seed_from_u64(3), 0..500, 70);
    vectors
        .values_mut()
        .flatten()
        .for_each(|component| *component = if *component < 0.0 { 0.0 } else { 1.0 });
    let writer = Writer::<Hamming>::new(db, 0, 70);
    let mut wtxn = env.write_txn().unwrap();
    add(&writer, &mut wtxn, &vectors);
    build(&writer, &mut wtxn);
    wtxn.commit().unwrap();
    decode_all(&env, db, 0, &vectors, to_bit_bytes);
}

#[test]
fn ten_thousand_identical_vectors_decode() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let vectors: Model = (0..10_000).map(|id| (id, vec![0.25, -0.5, 0.75, 1.0])).collect();
    let writer = Writer::<Euclidean>::new(db, 0, 4);
    let mut wtxn = env.write_txn().unwrap();
    add(&writer, &mut wtxn, &vectors);
    build(&writer, &mut wtxn);
    wtxn.commit().unwrap();
    let decoded = decode_all(&env, db, 0, &vectors, to_f32_bytes);
    assert_eq!(decoded.in_values, 0, "nodes with many in-neighbors");
}

#[test]
fn an_index_with_hubs_whose_groups_spill_decodes() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    // Independent components make hubs: a few vectors are near to a great many.
    let vectors = random_vectors(&mut StdRng::seed_from_u64(4), 0..3000, 200);
    let writer = Writer::<Euclidean>::new(db, 0, 200);
    let mut wtxn = env.write_txn().unwrap();
    add(&writer, &mut wtxn, &vectors);
    build(&writer, &mut wtxn);
    wtxn.commit().unwrap();
    let decoded = decode_all(&env, db, 0, &vectors, to_f32_bytes);
    assert!(
        decoded.spilled > 0 && decoded.in_values > 0,
        "{} records in SPILL, {} values of IN",
        decoded.spilled,
        decoded.in_values
    );
}
