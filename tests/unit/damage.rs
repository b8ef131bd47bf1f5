//! Deliberately damaged indexes, at least one for each invariant: every kind of damage is found,
//! under its name, and nothing panics.
//!
//! The damage is written below the engine, with a valid checksum unless the checksum itself is
//! damaged.

use heed::{CommitOrAbort, EnvOpenOptions, RwTxn};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::database::create_database;
use crate::distance::Cosine;
use crate::field::{Field, field};
use crate::format::ids::IdGroup;
use crate::format::item_keys::{Naming, Row};
use crate::format::links::{
    OneWay, Record, decode_record, encode_group, encode_record, split_group,
};
use crate::format::meta::Meta;
use crate::format::set::{SetKind, decode_chunk, encode_chunk};
use crate::format::{codes, fields};
use crate::kinds::ivf::format as ivf;
use crate::types::{IndexKind, Slot};
use crate::writer::Writer;

const INDEX: u16 = 3;
const DIMENSIONS: usize = 8;
const M: usize = 4;
const M0: usize = 8;

struct Patient {
    _folder: tempfile::TempDir,
    env: heed::Env<heed::WithoutTls>,
}

type Place<'e> = crate::store::Place<'e>;

/// The same with inverted lists.
fn patient_with_lists() -> Patient {
    let patient = patient();
    patient.operate(|writer, wtxn, _| {
        writer.add_kind(wtxn, IndexKind::Ivf).unwrap();
        let mut rng = StdRng::seed_from_u64(5);
        writer.builder(&mut rng).codes_from(1).force_rebuild_with(wtxn, M, M0).unwrap();
        writer.add_item(wtxn, 700, &query_vector()).unwrap();
        writer.del_items(wtxn, 300..310).unwrap();
    });
    patient
}

/// 400 items in the graph, of which 10 are removed, 20 pending items, and free slots.
fn patient() -> Patient {
    let folder = tempfile::tempdir().unwrap();
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(64 << 20);
    // SAFETY: a fresh folder that nobody else opens.
    let env = unsafe { options.open(folder.path()) }.unwrap();
    create_database::<Cosine>(&env, None).unwrap();
    let patient = Patient { _folder: folder, env };
    patient.operate(|writer, wtxn, _| {
        let mut rng = StdRng::seed_from_u64(1);
        let mut vector = || [(); DIMENSIONS].map(|()| rng.random::<f32>() - 0.5);
        writer.add_kind(wtxn, crate::types::IndexKind::Lsh).unwrap();
        for item in 0..405 {
            writer.add_item(wtxn, item, &vector()).unwrap();
        }
        // Freed before they are linked.
        writer.del_items(wtxn, 400..405).unwrap();
        writer.set_codes(wtxn, Some(crate::codes::Codes::Bits4)).unwrap();
        writer
            .builder(&mut StdRng::seed_from_u64(2))
            .codes_from(1)
            .build_with(wtxn, M, M0)
            .unwrap();
        for item in 500..520 {
            writer.add_item(wtxn, item, &vector()).unwrap();
        }
        writer.del_items(wtxn, [516, 517]).unwrap();
        writer.del_items(wtxn, (0..100).step_by(10)).unwrap();
        for item in 1..9 {
            let text = "x".repeat(800 * item as usize);
            let record = format!(r#"{{"tag": ["a", "t{item}"], "n": {item}, "text": "{text}"}}"#);
            assert!(writer.set_record(wtxn, item, record.as_bytes()).unwrap());
        }
        writer.add_field(wtxn, Field::keyword("tag")).unwrap();
        writer.add_field(wtxn, Field::integer("n")).unwrap();
    });
    patient
}

impl Patient {
    fn operate(&self, work: impl FnOnce(&Writer<'_, Cosine>, &mut RwTxn<'_>, Place<'_>)) {
        let database = self.database();
        let writer = Writer::<Cosine>::new(database, INDEX, DIMENSIONS);
        let mut wtxn = self.env.write_txn().unwrap();
        work(&writer, &mut wtxn, Place::of(database, INDEX));
        wtxn.commit().unwrap();
    }

    fn database(&self) -> Database<'_, Cosine> {
        let rtxn = self.env.read_txn().unwrap();
        self.env
            .open_databases_and_commit(rtxn, |o, rtxn| {
                o.open_database(rtxn, None).map(|db| CommitOrAbort::<_, ()>::Commit(db.unwrap()))
            })
            .unwrap()
            .unwrap_commit()
    }

    fn findings(&self) -> Vec<Finding> {
        let rtxn = self.env.read_txn().unwrap();
        check(&rtxn, INDEX, self.database()).unwrap()
    }

    /// Damages a fresh index with inverted lists, and expects the invariant among the findings.
    #[track_caller]
    fn expect_of_lists(invariant: Invariant, damage: impl FnOnce(&mut RwTxn<'_>, Place<'_>)) {
        let patient = patient_with_lists();
        assert_eq!(patient.findings(), []);
        patient.operate(|_, wtxn, place| damage(wtxn, place));
        let findings = patient.findings();
        assert!(
            findings.iter().any(|finding| finding.invariant == invariant),
            "{invariant:?} is not among {findings:?}"
        );
    }

    /// Damages a fresh index, and expects the invariant among the findings.
    #[track_caller]
    fn expect(invariant: Invariant, damage: impl FnOnce(&mut RwTxn<'_>, Place<'_>)) {
        let patient = patient();
        patient.operate(|_, wtxn, place| damage(wtxn, place));
        let findings = patient.findings();
        assert!(
            findings.iter().any(|finding| finding.invariant == invariant),
            "{invariant:?} is not among {findings:?}"
        );
    }
}

fn key(kind: Kind, sub: u8, n: u32) -> Key {
    Key::new(INDEX, kind, sub, n)
}

fn body(wtxn: &RwTxn<'_>, place: Place<'_>, key: Key) -> Vec<u8> {
    checksum::unverified(place.unverified(wtxn, key).unwrap().unwrap()).to_vec()
}

/// Changes the body of a value, and updates its checksum.
fn change(wtxn: &mut RwTxn<'_>, place: Place<'_>, key: Key, with: impl FnOnce(&mut Vec<u8>)) {
    let mut body = body(wtxn, place, key);
    with(&mut body);
    place.put(wtxn, key, body).unwrap();
}

fn change_meta(wtxn: &mut RwTxn<'_>, place: Place<'_>, with: impl FnOnce(&mut Meta)) {
    let mut meta = meta(wtxn, place);
    with(&mut meta);
    place.put(wtxn, Key::meta(INDEX), meta.encode()).unwrap();
}

fn meta(wtxn: &RwTxn<'_>, place: Place<'_>) -> Meta {
    crate::store::open::read_meta(place, wtxn).unwrap().unwrap()
}

/// Applies `with` to every record of a layer, and writes those that change.
fn change_records(
    wtxn: &mut RwTxn<'_>,
    place: Place<'_>,
    layer: u8,
    mut with: impl FnMut(u32, &mut Record),
) {
    let meta = meta(wtxn, place);
    let size = u32::from(meta.connectivity.unwrap().links_group);
    for group in 0..meta.slots.div_ceil(size) {
        let links = place.unverified(wtxn, key(Kind::LINKS, layer, group)).unwrap();
        let spill = place.unverified(wtxn, key(Kind::SPILL, layer, group)).unwrap();
        let mut records = split_group(links, spill, size as usize).unwrap();
        for (i, bytes) in records.iter_mut().enumerate().filter(|(_, bytes)| !bytes.is_empty()) {
            let (mut record, _) = decode_record(bytes, 0).unwrap();
            with(group * size + i as u32, &mut record);
            bytes.clear();
            encode_record(&record, bytes);
        }
        let [links, spill] = encode_group(&records);
        place.put_or_delete(wtxn, key(Kind::LINKS, layer, group), links).unwrap();
        place.put_or_delete(wtxn, key(Kind::SPILL, layer, group), spill).unwrap();
    }
}

/// Removes the edge to `neighbor` from a record, or replaces it.
fn replace_edge(record: &mut Record, neighbor: u32, by: Option<u32>) {
    let mut edges: Vec<(u32, bool)> =
        record.neighbors.iter().copied().zip(record.children.iter().copied()).collect();
    edges.retain(|(slot, _)| *slot != neighbor);
    edges.extend(by.map(|slot| (slot, false)));
    edges.sort();
    (record.neighbors, record.children) = edges.into_iter().unzip();
}

#[test]
fn a_sound_index_has_no_findings() {
    let patient = patient();
    assert_eq!(patient.findings(), []);
    patient.operate(|writer, wtxn, _| {
        writer.builder(&mut StdRng::seed_from_u64(3)).codes_from(1).build_with(wtxn, M, M0).unwrap()
    });
    assert_eq!(patient.findings(), []);
}

#[test]
fn values_that_belong_to_nothing_are_found() {
    for stray in [
        key(Kind::TAIL, 0, 100_000),
        key(Kind::SETS, 7, 0),
        key(Kind::VECTORS, 0, 9),
        key(Kind::SLOT_IDS, 0, 50),
        key(Kind::LINKS, 15, 0),
    ] {
        Patient::expect(Invariant::Keys, |wtxn, place| {
            place.put(wtxn, stray, vec![1, 2, 3]).unwrap()
        });
    }
    Patient::expect(Invariant::Keys, |wtxn, place| {
        let reserved = [0, INDEX as u8, 3, 0, 0, 0, 0, 0];
        place.raw.put(wtxn, &reserved, b"codes").unwrap();
    });
}

/// Damages the item keys of an index with three items, 0 to 2, of which 1 was deleted, and expects
/// a finding.
#[track_caller]
fn expect_of_keys(invariant: Option<Invariant>, damage: impl FnOnce(&mut RwTxn<'_>, Place<'_>)) {
    let patient = patient();
    patient.operate(|writer, wtxn, place| {
        writer.clear(wtxn).unwrap();
        let (naming, dimensions) = (Naming::Text, DIMENSIONS);
        let place = Place { naming, ..place };
        let writer = Writer::<(), str>::at(place, dimensions);
        for key in ["a", "b", "c"] {
            writer.add_item(wtxn, key, &query_vector()).unwrap();
        }
        writer.del_item(wtxn, "b").unwrap();
        damage(wtxn, place);
    });
    let rtxn = patient.env.read_txn().unwrap();
    let findings = check(&rtxn, INDEX, patient.database()).unwrap();
    match invariant {
        Some(invariant) => {
            assert!(
                findings.iter().any(|finding| finding.invariant == invariant),
                "{invariant:?} is not among {findings:?}"
            )
        }
        None => assert_eq!(findings, []),
    }
}

/// A row and its new body; `None` deletes it.
type Damaged<'a> = (Row<'a>, Option<&'a [u8]>);

/// Writes a row, or deletes it.
fn put_row(wtxn: &mut RwTxn<'_>, place: Place<'_>, row: Row<'_>, body: Option<&[u8]>) {
    let key = row.to_bytes(INDEX);
    match body {
        Some(body) => {
            let mut value = body.to_vec();
            checksum::seal_under(&key, &mut value);
            place.raw.put(wtxn, &key, &value).unwrap();
        }
        None => assert!(place.raw.delete(wtxn, &key).unwrap()),
    }
}

#[test]
fn keys_that_do_not_fit_their_items_are_found() {
    expect_of_keys(None, |_, _| {});
    // The blocks hold `a` with 0 and `c` with 2, whose ids have one between them.
    let (ids, row): (&[u8], _) = (b"\x0f\0\0\0\x02\0a\x03\0c\x02", Row::Ids(b"a"));
    expect_of_keys(None, |wtxn, place| {
        put_row(wtxn, place, row, Some(b"\x00\x01\x03\x00c\x02"));
        put_row(wtxn, place, Row::Keys(0), Some(ids));
    });
    let keys_are = |body: &'static [u8]| -> [Damaged<'static>; 1] { [(row, Some(body))] };
    let ids_are = |body: &'static [u8]| -> [Damaged<'static>; 1] { [(Row::Keys(0), Some(body))] };
    let damages: &[(Invariant, &[Damaged<'_>])] = &[
        // One direction only, or none, of all items, and of one.
        (Invariant::ItemKeys, &[(row, None)]),
        (Invariant::ItemKeys, &[(Row::Keys(0), None)]),
        (Invariant::ItemKeys, &[(row, None), (Row::Keys(0), None)]),
        (Invariant::ItemKeys, &keys_are(b"\x00\x01")),
        (Invariant::ItemKeys, &ids_are(b"\x0b\0\0\0\x02\0a")),
        // Two keys of one item, a key of another item, and a key of an item that does not exist.
        (Invariant::ItemKeys, &keys_are(b"\x00\x01\x03\x00c\x02\x03\x00d\x05")),
        (Invariant::ItemKeys, &keys_are(b"\x01\x01\x04\x03\x00c\x05")),
        (Invariant::ItemKeys, &keys_are(b"\x00\x01\x03\x00d\x02")),
        (
            Invariant::ItemKeys,
            &[
                (row, Some(b"\x00\x01\x03\x00c\x02\x02\x00d")),
                (Row::Keys(0), Some(b"\x12\0\0\0\x02\0a\x03\0c\x02\x02\0d")),
            ],
        ),
        (Invariant::ItemKeys, &ids_are(b"\x0f\0\0\0\x02\0c\x03\0d\x02")),
        // A key that lookups do not find, as another block begins before it; and so an id.
        (Invariant::ItemKeys, &[(Row::Ids(b"b"), Some(b"\x01\x01\x0c"))]),
        (Invariant::ItemKeys, &[(Row::Keys(1), Some(b"\x0c\0\0\0\x03\0b\x02"))]),
        // Ids that are neither free nor in use, or both, or free beyond the last.
        (Invariant::ItemKeys, &[(Row::Free(1), None)]),
        (Invariant::ItemKeys, &[(Row::Free(2), Some(b""))]),
        (Invariant::ItemKeys, &[(Row::Free(u32::MAX), Some(b""))]),
        (Invariant::Layout, &[(Row::Free(1), Some(b"?"))]),
        // Cut short, empty, of another length than it says, with keys that cannot be.
        (Invariant::Layout, &keys_are(b"\x00\x01\x03\x00c")),
        (Invariant::Layout, &keys_are(b"")),
        (Invariant::Layout, &ids_are(b"\x10\0\0\0\x02\0a\x03\0c\x02")),
        (Invariant::Layout, &ids_are(b"\x0f\0\0\0\x02\0\xFF\x03\0c\x02")),
        (Invariant::Layout, &ids_are(b"\x08\0\0\0")),
        // Out of order.
        (Invariant::Layout, &keys_are(b"\x00\x01\x03\x00A\x02")),
        (Invariant::Layout, &ids_are(b"\x0f\0\0\0\x02\0a\x03\0c\x01")),
        // Under another id than its first, and a key that is too long.
        (Invariant::Layout, &[(Row::Keys(0), None), (Row::Keys(1), Some(ids))]),
        (Invariant::Layout, &[(Row::Ids(&[b'x'; 481]), Some(b"\x00\xe1\x03"))]),
        // Rows of earlier versions.
        (Invariant::Keys, &[(Row::IdOf8(b"a"), Some(&[0, 0, 0, 0]))]),
        (Invariant::Keys, &[(Row::KeyOf8(0), Some(b"\x09\0\0\0a"))]),
    ];
    for (invariant, rows) in damages {
        expect_of_keys(Some(*invariant), |wtxn, place| {
            rows.iter().for_each(|(row, body)| put_row(wtxn, place, *row, *body))
        });
    }
    // In an index without keys, every row is one too many.
    Patient::expect(Invariant::Keys, |wtxn, place| {
        put_row(wtxn, place, Row::Ids(b"key"), Some(b"\x00\x03"))
    });
    Patient::expect(Invariant::Keys, |wtxn, place| put_row(wtxn, place, Row::Free(7), Some(b"")));
}

#[test]
fn a_changed_byte_of_any_kind_of_value_breaks_its_checksum() {
    for kind in [
        Kind::META,
        Kind::TAIL,
        Kind::CODES,
        Kind::LINKS,
        Kind::SLOT_IDS,
        Kind::ID_SLOTS,
        Kind::SETS,
        Kind::DELTA,
    ] {
        Patient::expect(Invariant::Checksum, |wtxn, place| {
            let index = if kind == Kind::DELTA { DATABASE } else { INDEX };
            let bound = |sub, n| Key::new(index, kind, sub, n);
            let found = place
                .range(wtxn, bound(0, 0), bound(u8::MAX, u32::MAX))
                .unwrap()
                .next()
                .unwrap()
                .unwrap();
            let (key, mut value) = (found.0, found.1.to_vec());
            let last = value.len() - 1;
            value[last] ^= 1;
            place.raw.put(wtxn, &key.to_bytes(), &value).unwrap();
        });
    }
}

#[test]
fn impossible_metadata_is_found() {
    Patient::expect(Invariant::Meta, |wtxn, place| {
        change_meta(wtxn, place, |meta| meta.dimensions = 0)
    });
    Patient::expect(Invariant::Meta, |wtxn, place| {
        change_meta(wtxn, place, |meta| meta.items += 1)
    });
    Patient::expect(Invariant::Meta, |wtxn, place| {
        change_meta(wtxn, place, |meta| meta.sealed += 1)
    });
    Patient::expect(Invariant::Meta, |wtxn, place| {
        change_meta(wtxn, place, |meta| meta.roots.clear())
    });
    Patient::expect(Invariant::Meta, |wtxn, place| {
        change(wtxn, place, Key::meta(INDEX), |body| body[74] = 1)
    });
}

#[test]
fn a_value_without_the_layout_of_its_kind_is_found() {
    let cut = |body: &mut Vec<u8>| body.truncate(body.len() - 1);
    for key in [
        key(Kind::LINKS, 0, 0),
        key(Kind::ID_SLOTS, 0, 0),
        key(Kind::SLOT_IDS, 0, 0),
        key(Kind::TAIL, 0, 7),
        key(Kind::LINKS, 1, 0),
    ] {
        Patient::expect(Invariant::Layout, |wtxn, place| change(wtxn, place, key, cut));
    }
    // A directory entry that points into the middle of a record, and one that points nowhere.
    Patient::expect(Invariant::Layout, |wtxn, place| {
        change(wtxn, place, key(Kind::LINKS, 0, 0), |body| body[4] += 2)
    });
    Patient::expect(Invariant::Layout, |wtxn, place| {
        change(wtxn, place, key(Kind::LINKS, 0, 0), |body| body[5] = 0xFE)
    });
    Patient::expect(Invariant::Layout, |wtxn, place| {
        change(wtxn, place, key(Kind::SETS, 1, 0), |body| body.push(0))
    });
}

#[test]
fn missing_and_impossible_vectors_are_found() {
    Patient::expect(Invariant::Vectors, |wtxn, place| {
        place.delete(wtxn, key(Kind::TAIL, 0, 7)).unwrap()
    });
    let nan = |body: &mut Vec<u8>| body[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    Patient::expect(Invariant::Vectors, |wtxn, place| {
        change(wtxn, place, key(Kind::TAIL, 0, 7), nan)
    });
    Patient::expect(Invariant::Vectors, |wtxn, place| {
        change(wtxn, place, key(Kind::TAIL, 0, 7), |body| body.fill(0))
    });
}

#[test]
fn a_wrong_factor_is_found() {
    Patient::expect(Invariant::Factor, |wtxn, place| {
        change(wtxn, place, key(Kind::TAIL, 0, 7), |body| {
            body[4 * DIMENSIONS..].copy_from_slice(&1.5f32.to_le_bytes())
        });
    });
}

/// The first piece of the first table.
fn piece(wtxn: &RwTxn<'_>, place: Place<'_>) -> Key {
    let mut pieces = place.range(wtxn, key(Kind::LSH, 0, 0), key(Kind::LSH, 7, u32::MAX)).unwrap();
    pieces.next().unwrap().unwrap().0
}

#[test]
fn wrong_missing_and_superfluous_hashes_are_found() {
    let word = |body: &[u8], at: usize| u32::from_le_bytes(body[at..at + 4].try_into().unwrap());
    // Slots that are not in the table, and one that has the hash of another vector.
    Patient::expect(Invariant::Hashes, |wtxn, place| {
        let piece = piece(wtxn, place);
        place.delete(wtxn, piece).unwrap();
    });
    Patient::expect(Invariant::Hashes, |wtxn, place| {
        let piece = piece(wtxn, place);
        change(wtxn, place, piece, |body| {
            let slot = body.len() - 4;
            let other = word(body, slot) + 1;
            body[slot..].copy_from_slice(&other.to_le_bytes());
        });
    });
    // The first digit that a piece lists, and a piece of another length.
    Patient::expect(Invariant::Layout, |wtxn, place| {
        let piece = piece(wtxn, place);
        change(wtxn, place, piece, |body| body[0] ^= 32);
    });
    Patient::expect(Invariant::Layout, |wtxn, place| {
        let piece = piece(wtxn, place);
        change(wtxn, place, piece, |body| body.push(0));
    });
    // A piece that does not begin where its digit does.
    Patient::expect(Invariant::Hashes, |wtxn, place| {
        let piece = piece(wtxn, place);
        let body = body(wtxn, place, piece);
        place.delete(wtxn, piece).unwrap();
        place.put(wtxn, Key { n: piece.n + 1, ..piece }, body).unwrap();
    });
    let trained = key(Kind::LSH, crate::kinds::lsh::format::TRAINED, 0);
    Patient::expect(Invariant::Hashes, |wtxn, place| {
        change(wtxn, place, trained, |body| body[0] ^= 1)
    });
    Patient::expect(Invariant::Layout, |wtxn, place| place.delete(wtxn, trained).unwrap());
    Patient::expect(Invariant::Layout, |wtxn, place| {
        change_meta(wtxn, place, |meta| meta.set_part(Kind::LSH, Some(vec![1; 20])));
    });
    // A table that there is not, a piece with another one's slot, and another training.
    let slot = vec![0, 0, 0, 0, 1, 0, 0, 0];
    for (superfluous, invariant) in [
        (key(Kind::LSH, 30 << 3, 0), Invariant::Keys),
        (key(Kind::LSH, crate::kinds::lsh::format::TRAINED, 1), Invariant::Keys),
        (key(Kind::LSH, 1 << 3, 1), Invariant::Hashes),
    ] {
        Patient::expect(invariant, |wtxn, place| {
            place.put(wtxn, superfluous, slot.clone()).unwrap()
        });
    }
}

#[test]
fn wrong_missing_and_superfluous_codes_are_found() {
    let tail = key(Kind::CODES, codes::TAIL, 7);
    for at in [0, DIMENSIONS / 2, DIMENSIONS / 2 + 4, DIMENSIONS / 2 + 8, DIMENSIONS / 2 + 11] {
        Patient::expect(Invariant::Codes, |wtxn, place| {
            change(wtxn, place, tail, |body| body[at] ^= 1)
        });
    }
    Patient::expect(Invariant::Codes, |wtxn, place| place.delete(wtxn, tail).unwrap());
    Patient::expect(Invariant::Layout, |wtxn, place| {
        change(wtxn, place, tail, |body| body.push(0))
    });
    let trained = key(Kind::CODES, codes::TRAINED, 0);
    Patient::expect(Invariant::Codes, |wtxn, place| {
        change(wtxn, place, trained, |body| body[0] ^= 1)
    });
    Patient::expect(Invariant::Layout, |wtxn, place| {
        change(wtxn, place, trained, |body| body[16..20].fill(0xFF))
    });
    Patient::expect(Invariant::Layout, |wtxn, place| place.delete(wtxn, trained).unwrap());
    for superfluous in [
        key(Kind::CODES, 3, 0),
        key(Kind::CODES, codes::TRAINED, 1),
        key(Kind::CODES, codes::BLOCKS, 0),
    ] {
        Patient::expect(Invariant::Keys, |wtxn, place| {
            place.put(wtxn, superfluous, vec![0; 16]).unwrap()
        });
    }
    Patient::expect(Invariant::Keys, |wtxn, place| {
        change_meta(wtxn, place, |meta| meta.is_coded = false)
    });
    Patient::expect(Invariant::Meta, |wtxn, place| {
        change_meta(wtxn, place, |meta| meta.code_bits = 3)
    });
    // An unfinished edit, and an invalid mark.
    for mark in 1..=4 {
        Patient::expect(Invariant::Meta, |wtxn, place| {
            change(wtxn, place, Key::meta(INDEX), |body| body[10] = mark)
        });
    }
}

fn add_to_set(wtxn: &mut RwTxn<'_>, place: Place<'_>, set: SetKind, slot: u32) {
    let key = key(Kind::SETS, set as u8, 0);
    let mut members = decode_chunk(&body(wtxn, place, key)).unwrap();
    assert!(members.insert(slot));
    place.put(wtxn, key, encode_chunk(members)).unwrap();
}

fn member(wtxn: &RwTxn<'_>, place: Place<'_>, set: SetKind) -> u32 {
    decode_chunk(&body(wtxn, place, key(Kind::SETS, set as u8, 0))).unwrap().min().unwrap()
}

#[test]
fn sets_with_a_common_member_are_found() {
    Patient::expect(Invariant::Sets, |wtxn, place| {
        let slot = member(wtxn, place, SetKind::Free);
        add_to_set(wtxn, place, SetKind::Removed, slot);
        change_meta(wtxn, place, |meta| {
            (meta.removed, meta.items) = (meta.removed + 1, meta.items - 1)
        });
    });
}

#[test]
fn maps_that_disagree_are_found() {
    Patient::expect(Invariant::Ids, |wtxn, place| {
        change(wtxn, place, key(Kind::SLOT_IDS, 0, 0), |body| body[4 * 7] ^= 1)
    });
    Patient::expect(Invariant::Ids, |wtxn, place| {
        let slot = member(wtxn, place, SetKind::Free) as usize;
        change(wtxn, place, key(Kind::SLOT_IDS, 0, 0), |body| body[4 * slot] = 9);
    });
    Patient::expect(Invariant::Ids, |wtxn, place| {
        change(wtxn, place, key(Kind::ID_SLOTS, 0, 0), |body| {
            let mut group = IdGroup::decode(body).unwrap();
            group.set(7, None);
            *body = group.encode();
        });
    });
}

#[test]
fn records_that_are_not_what_the_metadata_says_are_found() {
    Patient::expect(Invariant::Records, |wtxn, place| {
        place.put(wtxn, key(Kind::RECORDS, 0, 9000), b"of no item".to_vec()).unwrap();
    });
    Patient::expect(Invariant::Records, |wtxn, place| {
        place.delete(wtxn, key(Kind::RECORDS, 0, 3)).unwrap();
    });
    Patient::expect(Invariant::Records, |wtxn, place| {
        change(wtxn, place, key(Kind::RECORDS, 0, 3), |record| record.push(1));
    });
    Patient::expect(Invariant::Keys, |wtxn, place| {
        place.put(wtxn, key(Kind::RECORDS, 2, 3), Vec::new()).unwrap();
    });
    Patient::expect(Invariant::Keys, |wtxn, place| {
        change_meta(wtxn, place, |meta| meta.set_part(Kind::RECORDS, None));
    });
    Patient::expect(Invariant::Meta, |wtxn, place| {
        change_meta(wtxn, place, |meta| meta.set_part(Kind::RECORDS, Some(vec![1])));
    });
}

fn put_field_row(wtxn: &mut RwTxn<'_>, place: Place<'_>, key: Vec<u8>, body: Option<Vec<u8>>) {
    let Some(mut body) = body else {
        assert!(place.raw.delete(wtxn, &key).unwrap());
        return;
    };
    checksum::seal_under(&key, &mut body);
    place.raw.put(wtxn, &key, &body).unwrap();
}

#[test]
fn rows_of_fields_that_do_not_follow_from_the_records_are_found() {
    const TAG: u8 = 0;
    const N: u8 = 1;
    let value = |value: &'static [u8]| fields::Row::Value(value, 0).to_bytes(INDEX, TAG);
    let numbers = || {
        let first = (1u64 ^ 1 << 63, 1);
        (first, fields::Row::Numbers(first.0, first.1).to_bytes(INDEX, N))
    };
    // An item more, one less, a value more, and one less.
    Patient::expect(Invariant::Fields, |wtxn, place| {
        put_field_row(wtxn, place, value(b"a"), fields::encode_chunk(&[1, 2, 3, 4, 5, 6, 7, 8, 9]));
    });
    Patient::expect(Invariant::Fields, |wtxn, place| {
        put_field_row(wtxn, place, value(b"a"), fields::encode_chunk(&[1, 2, 3, 4, 5, 6, 7]));
    });
    Patient::expect(Invariant::Fields, |wtxn, place| {
        put_field_row(wtxn, place, value(b"b"), fields::encode_chunk(&[1]));
    });
    Patient::expect(Invariant::Fields, |wtxn, place| {
        put_field_row(wtxn, place, value(b"t3"), None)
    });
    Patient::expect(Invariant::Fields, |wtxn, place| {
        let row = fields::Row::Exists(0).to_bytes(INDEX, TAG);
        put_field_row(wtxn, place, row, fields::encode_chunk(&[1]));
    });
    Patient::expect(Invariant::Fields, |wtxn, place| {
        let (first, key) = numbers();
        put_field_row(wtxn, place, key, fields::encode_run(&[first, (first.0 + 1, 3)]));
    });
    Patient::expect(Invariant::Layout, |wtxn, place| {
        let (first, key) = numbers();
        put_field_row(wtxn, place, key, fields::encode_run(&[(first.0 + 1, 3), first]));
    });
    Patient::expect(Invariant::Layout, |wtxn, place| {
        put_field_row(wtxn, place, value(b"a"), Some(vec![0, 3, 0, 3, 0]));
    });
    // A run within another.
    Patient::expect(Invariant::Layout, |wtxn, place| {
        let (first, _) = numbers();
        let inner = (first.0 + 1, 7);
        let key = fields::Row::Numbers(inner.0, inner.1).to_bytes(INDEX, N);
        put_field_row(wtxn, place, key, fields::encode_run(&[inner]));
    });
    Patient::expect(Invariant::Layout, |wtxn, place| {
        let key = fields::Row::Value(b"text", 0).to_bytes(INDEX, N);
        put_field_row(wtxn, place, key, fields::encode_chunk(&[1]));
    });
    for field in [2, 200] {
        Patient::expect(Invariant::Keys, |wtxn, place| {
            let key = fields::Row::Value(b"a", 0).to_bytes(INDEX, field);
            put_field_row(wtxn, place, key, fields::encode_chunk(&[1]));
        });
    }
    Patient::expect(Invariant::Keys, |wtxn, place| {
        change_meta(wtxn, place, |meta| meta.set_part(Kind::FIELDS, None));
    });
    Patient::expect(Invariant::Meta, |wtxn, place| {
        change_meta(wtxn, place, |meta| meta.set_part(Kind::FIELDS, Some(vec![0, 9, 1, 0, b'x'])));
    });
    Patient::expect(Invariant::Fields, |wtxn, place| {
        place.put(wtxn, key(Kind::RECORDS, 0, 3), b"no JSON".to_vec()).unwrap();
    });
    Patient::expect(Invariant::Checksum, |wtxn, place| {
        place.raw.put(wtxn, &value(b"a"), &[0, 1, 0, 9, 9, 9, 9]).unwrap();
    });
}

/// What is damaged can be replaced and deleted; it is never returned.
#[test]
fn a_damaged_record_is_an_error_until_it_is_replaced() {
    let patient = patient();
    patient.operate(|writer, wtxn, place| {
        let damaged = key(Kind::RECORDS, 0, 3).to_bytes();
        let mut value = place.raw.get(wtxn, &damaged).unwrap().unwrap().to_vec();
        value[1] ^= 1;
        place.raw.put(wtxn, &damaged, &value).unwrap();
        assert!(matches!(writer.item_record(wtxn, 3), Err(Error::Corrupt { .. })));
        let reader = crate::reader::Reader::open(wtxn, INDEX, patient.database()).unwrap();
        assert!(matches!(reader.item_record(wtxn, 3), Err(Error::Corrupt { .. })));
        assert!(reader.records(wtxn).unwrap().any(|record| record.is_err()));
        let mut all = reader.nns(1000);
        assert!(all.by_vector(wtxn, &query_vector()).is_ok(), "which does not ask for it");
        let asked = all.with_records().by_vector(wtxn, &query_vector());
        assert!(matches!(asked, Err(Error::Corrupt { .. })));
        drop(all);
        // Its values of fields are not known any more.
        let refused = writer.set_record(wtxn, 3, b"{}");
        assert!(matches!(refused, Err(Error::Corrupt { .. })));
        writer.drop_field(wtxn, "tag").unwrap();
        writer.drop_field(wtxn, "n").unwrap();
        assert!(writer.set_record(wtxn, 3, b"sound").unwrap());
        assert_eq!(writer.item_record(wtxn, 3).unwrap(), Some(&b"sound"[..]));
    });
    assert_eq!(patient.findings(), []);
}

#[test]
fn wrong_counts_are_found() {
    Patient::expect(Invariant::Counts, |wtxn, place| {
        change_meta(wtxn, place, |meta| meta.pending += 1)
    });
    Patient::expect(Invariant::Counts, |wtxn, place| {
        change_meta(wtxn, place, |meta| (meta.free, meta.items) = (meta.free - 1, meta.items + 1));
    });
}

#[test]
fn linked_slots_that_are_no_nodes_and_nodes_that_are_not_below_are_found() {
    Patient::expect(Invariant::Nodes, |wtxn, place| {
        add_to_set(wtxn, place, SetKind::Pending, 7);
        change_meta(wtxn, place, |meta| meta.pending += 1);
    });
    Patient::expect(Invariant::Nodes, |wtxn, place| {
        // One more layer, whose only node is otherwise on layer 0 alone.
        let lonely = (0..400).find(|slot| !upper_nodes(wtxn, place, 1).contains(slot)).unwrap();
        let record = Record {
            neighbors: vec![],
            parent: Slot(lonely),
            rank: 0,
            children: vec![],
            one_way: OneWay::Here(vec![]),
        };
        let meta = meta(wtxn, place);
        let (size, layer) =
            (u32::from(meta.connectivity.unwrap().links_group), meta.roots.len() as u8);
        let mut records = vec![Vec::new(); size as usize];
        encode_record(&record, &mut records[(lonely % size) as usize]);
        let [links, _] = encode_group(&records);
        place.put_or_delete(wtxn, key(Kind::LINKS, layer, lonely / size), links).unwrap();
        change_meta(wtxn, place, |meta| meta.roots.push(Slot(lonely)));
    });
}

fn upper_nodes(wtxn: &mut RwTxn<'_>, place: Place<'_>, layer: u8) -> Vec<u32> {
    let mut nodes = Vec::new();
    change_records(wtxn, place, layer, |slot, _| nodes.push(slot));
    nodes
}

#[test]
fn lists_that_are_too_long_or_name_the_wrong_slots_are_found() {
    Patient::expect(Invariant::Lists, |wtxn, place| {
        change_records(wtxn, place, 0, |slot, record| {
            if slot == 7 {
                replace_edge(record, u32::MAX, Some(7));
            }
        });
    });
    Patient::expect(Invariant::Lists, |wtxn, place| {
        let pending = member(wtxn, place, SetKind::Pending);
        change_records(wtxn, place, 0, |slot, record| {
            if slot == 7 {
                replace_edge(record, u32::MAX, Some(pending));
            }
        });
    });
    Patient::expect(Invariant::Lists, |wtxn, place| {
        change_records(wtxn, place, 0, |slot, record| {
            if slot == 7 {
                (100..100 + 2 * M0 as u32)
                    .for_each(|neighbor| replace_edge(record, neighbor, Some(neighbor)));
            }
        });
    });
}

#[test]
fn false_and_missing_in_neighbors_are_found() {
    Patient::expect(Invariant::InNeighbors, |wtxn, place| {
        let mut done = false;
        change_records(wtxn, place, 0, |_, record| {
            if let OneWay::Here(slots) = &mut record.one_way
                && !done
            {
                done = slots.pop().is_some();
            }
        });
        assert!(done);
    });
    Patient::expect(Invariant::InNeighbors, |wtxn, place| {
        change_records(wtxn, place, 0, |slot, record| {
            if slot == 7 {
                record.one_way = OneWay::Here(vec![7]);
            }
        });
    });
}

#[test]
fn a_broken_tree_is_found() {
    let with_7 = |with: fn(&mut Record)| {
        move |wtxn: &mut RwTxn<'_>, place: Place<'_>| {
            change_records(wtxn, place, 0, |slot, record| {
                if slot == 7 {
                    with(record);
                }
            });
        }
    };
    Patient::expect(Invariant::Tree, with_7(|record| record.parent = Slot(7)));
    Patient::expect(Invariant::Tree, with_7(|record| record.parent = Slot(u32::MAX)));
    Patient::expect(Invariant::Tree, with_7(|record| record.rank = u32::MAX));
    Patient::expect(Invariant::Tree, with_7(|record| record.rank = 0));
    Patient::expect(
        Invariant::Tree,
        with_7(|record| record.children.iter_mut().for_each(|child| *child = !*child)),
    );
    Patient::expect(Invariant::Tree, |wtxn, place| {
        change_meta(wtxn, place, |meta| {
            meta.roots[0] = Slot(if meta.roots[0].0 == 7 { 8 } else { 7 })
        })
    });
    Patient::expect(Invariant::Tree, |wtxn, place| {
        change_meta(wtxn, place, |meta| meta.next_rank -= 1)
    });
}

#[test]
fn a_node_that_nothing_leads_to_is_found_twice() {
    for invariant in [Invariant::Reachable, Invariant::InDegree] {
        Patient::expect(invariant, |wtxn, place| {
            change_records(wtxn, place, 0, |slot, record| {
                if slot != 7 && record.neighbors.contains(&7) {
                    replace_edge(record, 7, None);
                }
            });
        });
    }
}

/// The entries of a group of inverted lists are changed.
fn change_entries(
    wtxn: &mut RwTxn<'_>,
    place: Place<'_>,
    sub: u8,
    with: impl FnOnce(&mut Vec<u32>),
) {
    change(wtxn, place, key(Kind::IVF, sub, 0), |body| {
        let mut entries = ivf::decode_group(body).unwrap();
        with(&mut entries);
        *body = ivf::encode_group(&entries);
    });
}

#[test]
fn slots_in_no_list_in_two_or_in_another_and_wrong_sizes_are_found() {
    let lists = Invariant::InvertedLists;
    Patient::expect_of_lists(lists, |wtxn, place| {
        change_entries(wtxn, place, ivf::SLOTS, |entries| entries[7] = ivf::NONE);
    });
    Patient::expect_of_lists(lists, |wtxn, place| {
        change_entries(wtxn, place, ivf::SLOTS, |entries| entries[7] = (entries[7] + 1) % 3);
    });
    Patient::expect_of_lists(lists, |wtxn, place| {
        change_entries(wtxn, place, ivf::SLOTS, |entries| entries[999] = 1);
    });
    Patient::expect_of_lists(lists, |wtxn, place| {
        change_entries(wtxn, place, ivf::SIZES, |entries| entries[2] += 1);
    });
    Patient::expect_of_lists(lists, |wtxn, place| {
        change_entries(wtxn, place, ivf::SIZES, |entries| entries[2] = ivf::NONE);
    });
    for gone in [true, false] {
        Patient::expect_of_lists(lists, |wtxn, place| {
            change(wtxn, place, key(Kind::IVF, ivf::LISTS, ivf::list_n(1, 0)), |body| {
                let mut slots = Vec::new();
                ivf::decode_piece(body, &mut slots).unwrap();
                match gone {
                    true => drop(slots.pop()),
                    false => slots.push(400),
                }
                *body = ivf::encode_list(&slots).swap_remove(0);
            });
        });
    }
    let codes = |list: u32, block: u32| key(Kind::IVF, ivf::CODES, ivf::list_n(list, block));
    // The code of another slot, the codes of no slots of the list, and none.
    for at in [0, 20] {
        Patient::expect_of_lists(lists, |wtxn, place| {
            change(wtxn, place, codes(1, 0), |body| body[at] ^= 1);
        });
    }
    Patient::expect_of_lists(lists, |wtxn, place| {
        change(wtxn, place, codes(1, 0), |body| {
            let last = body.len() - 4;
            body.copy_within(last - 4..last, last);
        });
    });
    Patient::expect_of_lists(lists, |wtxn, place| {
        place.delete(wtxn, codes(1, 0)).unwrap();
    });
    Patient::expect_of_lists(Invariant::Layout, |wtxn, place| {
        change(wtxn, place, codes(1, 0), |body| body.truncate(body.len() - 1));
    });
    Patient::expect_of_lists(Invariant::Keys, |wtxn, place| {
        place.put(wtxn, codes(ivf::MAX_LISTS - 1, 0), vec![0; 100]).unwrap();
    });
    Patient::expect_of_lists(Invariant::Meta, |wtxn, place| {
        change_meta(wtxn, place, |meta| {
            meta.is_coded = false;
            meta.training = Default::default();
        });
    });
    let other = Invariant::Layout;
    Patient::expect_of_lists(other, |wtxn, place| {
        place.delete(wtxn, key(Kind::IVF, ivf::CENTERS, 0)).unwrap();
    });
    Patient::expect_of_lists(other, |wtxn, place| {
        change(wtxn, place, key(Kind::IVF, ivf::CENTERS, 0), |body| {
            body[48..52].copy_from_slice(&f32::NAN.to_le_bytes());
        });
    });
    Patient::expect_of_lists(Invariant::Keys, |wtxn, place| {
        place.put(wtxn, key(Kind::IVF, ivf::SLOTS, 9), vec![0; 4000]).unwrap();
    });
    Patient::expect_of_lists(Invariant::Meta, |wtxn, place| {
        change_meta(wtxn, place, |meta| meta.set_part(Kind::IVF, Some(vec![1])));
    });
}

#[test]
fn an_index_whose_lists_have_no_codes_is_sound_and_the_next_build_packs_them() {
    let patient = patient_with_lists();
    let part = |wtxn: &RwTxn<'_>, place: Place<'_>| {
        ivf::Part::decode(meta(wtxn, place).part(Kind::IVF).unwrap()).unwrap()
    };
    // As it was before lists had codes.
    patient.operate(|_, wtxn, place| {
        let part = part(wtxn, place);
        assert!(part.has_codes);
        change_meta(wtxn, place, |meta| {
            let part = ivf::Part { has_codes: false, ..part };
            meta.set_part(Kind::IVF, Some(part.encode()));
        });
        let blocks = place.range(wtxn, key(Kind::IVF, ivf::CODES, 0), key(Kind::IVF, 5, 0));
        let keys: Vec<Key> = blocks.unwrap().map(|entry| entry.unwrap().0).collect();
        assert!(!keys.is_empty());
        keys.into_iter().for_each(|key| place.delete(wtxn, key).unwrap());
    });
    assert_eq!(patient.findings(), []);
    patient.operate(|writer, wtxn, place| {
        writer.add_item(wtxn, 701, &query_vector()).unwrap();
        assert!(!part(wtxn, place).has_codes && writer.need_build(wtxn).unwrap());
        let mut rng = StdRng::seed_from_u64(6);
        writer.builder(&mut rng).codes_from(1).build_with(wtxn, M, M0).unwrap();
        assert!(part(wtxn, place).has_codes);
    });
    assert_eq!(patient.findings(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_changed_byte_is_found_and_never_a_panic(
        at in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        flip in 1..=255u8,
        seal in any::<bool>(),
        with_lists in any::<bool>(),
    ) {
        let patient = if with_lists { shared_with_lists() } else { shared() };
        let database = patient.database();
        let mut wtxn = patient.env.write_txn().unwrap();
        let place = Place::of(database, INDEX);
        let all: Vec<(Vec<u8>, Vec<u8>)> = place.all(&wtxn).unwrap().map(
            |entry| entry.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap(),
        ).collect();
        let (key, mut value) = all[at.index(all.len())].clone();
        let byte = byte.index(value.len());
        value[byte] ^= flip;
        if seal {
            value.truncate(value.len() - checksum::BYTES);
            checksum::seal_under(&key, &mut value);
        }
        place.raw.put(&mut wtxn, &key, &value).unwrap();
        let result = check(&wtxn, INDEX, database);
        if !seal {
            prop_assert!(!matches!(result, Ok(findings) if findings.is_empty()));
        }
        // Searches of a damaged index, too, answer or fail.
        if let Ok(reader) = crate::reader::Reader::open(&wtxn, INDEX, database) {
            let query = query_vector();
            let _ = reader.nns(10).ef_search(50).by_vector(&wtxn, &query);
            let _ = reader.nns(10).exact().by_vector(&wtxn, &query);
            let _ = reader.nns(10).by_item(&wtxn, 7);
            let mut by_lists = reader.nns(10);
            let _ = by_lists.kind(IndexKind::Ivf).nprobe(4).by_vector(&wtxn, &query);
            let _ = reader.item_ids(&wtxn);
            let _ = reader.warm(&wtxn);
            let _ = reader.nns(10).with_records().by_vector(&wtxn, &query);
            let conditions = [field("n").between(2, 7), field("tag").starts_with("t").not()];
            for condition in &conditions {
                let _ = reader.nns(10).candidates(condition).by_vector(&wtxn, &query);
                let _ = reader.count(&wtxn, condition);
                let _ = reader.facet(&wtxn, "tag", Some(condition));
                let _ = reader.facet(&wtxn, "n", None);
            }
        }
        let writer = Writer::<Cosine>::new(database, INDEX, DIMENSIONS);
        for item in [7, 40, 500, 1000] {
            let _ = writer.del_item(&mut wtxn, item);
            let _ = writer.add_item(&mut wtxn, item, &query_vector());
            let _ = writer.set_record(&mut wtxn, item, br#"{"tag": "a", "n": 5}"#);
        }
        let _ = writer.drop_field(&mut wtxn, "n");
        let _ = writer.builder(&mut StdRng::seed_from_u64(4)).build_with(&mut wtxn, M, M0);
        if with_lists {
            let mut rng = StdRng::seed_from_u64(4);
            let _ = writer.builder(&mut rng).optimize_with(&mut wtxn, M, M0);
            let _ = writer.builder(&mut rng).force_rebuild_with(&mut wtxn, M, M0);
        }
        wtxn.abort();
    }

    #[test]
    fn a_repair_of_any_bytes_is_sound_or_an_error(
        at in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        flip in 1..=255u8,
        mark in 1..=3u8,
    ) {
        let patient = shared();
        let database = patient.database();
        let mut wtxn = patient.env.write_txn().unwrap();
        let place = Place::of(database, INDEX);
        change(&mut wtxn, place, Key::meta(INDEX), |body| body[74] = mark);
        let all: Vec<(Vec<u8>, Vec<u8>)> = place.all(&wtxn).unwrap().map(
            |entry| entry.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap(),
        ).collect();
        let (key, mut value) = all[at.index(all.len())].clone();
        let byte = byte.index(value.len());
        value[byte] ^= flip;
        value.truncate(value.len() - checksum::BYTES);
        checksum::seal_under(&key, &mut value);
        place.raw.put(&mut wtxn, &key, &value).unwrap();
        let writer = Writer::<Cosine>::new(database, INDEX, DIMENSIONS);
        let repaired = writer.repair(&mut wtxn);
        let is_refused = matches!(repaired, Err(Error::Corrupt { .. }));
        prop_assert!(mark < 3 || Kind::of(&key) == Some(Kind::META) || is_refused);
        let _ = check(&wtxn, INDEX, database);
        wtxn.abort();
    }
}

fn query_vector() -> [f32; DIMENSIONS] {
    [1.0; DIMENSIONS]
}

fn shared() -> &'static Patient {
    static SHARED: std::sync::OnceLock<Patient> = std::sync::OnceLock::new();
    SHARED.get_or_init(patient)
}

fn shared_with_lists() -> &'static Patient {
    static SHARED: std::sync::OnceLock<Patient> = std::sync::OnceLock::new();
    SHARED.get_or_init(patient_with_lists)
}
