//! Damage at rest, and changes that must not give it a valid checksum.
//!
//! One bit of one value flips, below the engine; then the index is used as if nothing had happened.
//! A change that reads the value, alters or moves it and writes it back would compute a new
//! checksum over the damage: it would be in every backup from then on, and `check` would find
//! nothing.

mod copies;
mod remedies;
mod transactions;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use voisin::codec::I8;
use voisin::distances::{Distance, Euclidean};
use voisin::heed::types::Bytes;
use voisin::heed::{self, Database, EnvOpenOptions, RwTxn};
use voisin::{Codes, Error, Index, Options};

const DIMENSIONS: usize = 64;
/// Items that many others are nearest to: their in-neighbors spill, and those of the first fill IN.
const HUBS: u64 = 14;
/// Items of the graph, 7 blocks of `f32` or 1 of `i8`, and a tail.
const LINKED: u64 = 930;
/// Items that are not linked yet.
const PENDING: u64 = 20;
/// As many more fill the block that the tail belongs to, in either form, and that of the codes.
const FILLING: u64 = 450;

type Keyed<D> = Index<D, u64>;
type Vectors = BTreeMap<u64, Vec<f32>>;

/// Kinds as `docs/format.md` numbers them: the third byte of a key.
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
const LSH: u8 = 11;
const IVF: u8 = 12;
const KEYS: u8 = 14;
const FIELDS: u8 = 15;

/// Around a hub, in a direction of its own, so that the hub is nearer than all others around it.
/// The first has a sixth of all.
fn vector(rng: &mut StdRng, hubs: &[Vec<f32>], number: u64) -> Vec<f32> {
    let hub = &hubs[if number.is_multiple_of(6) { 0 } else { (number % HUBS) as usize }];
    hub.iter().map(|center| center + rng.random::<f32>() - 0.5).collect()
}

/// A folder with an index of all kinds of values: in the graph, deleted, pending, free.
struct Patient {
    folder: TempDir,
    vectors: Vectors,
    /// What the changes of the trials add.
    fresh: Vec<Vec<f32>>,
}

fn options() -> Options {
    Options::new(DIMENSIONS).m(4).m0(4).ef_construction(16).map_size_bytes(64 << 20)
}

impl Patient {
    fn new<D: Distance>(options: Options) -> Self {
        let mut rng = StdRng::seed_from_u64(5);
        let hubs: Vec<Vec<f32>> = (0..HUBS)
            .map(|_| (0..DIMENSIONS).map(|_| rng.random::<f32>() * 20.0).collect())
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let index = Keyed::<D>::create(folder.path().join("index"), options).unwrap();
        let mut items: Vec<(u64, Vec<f32>)> = (0..).zip(hubs.clone()).collect();
        items.extend((HUBS..LINKED).map(|key| (key, vector(&mut rng, &hubs, key))));
        index.loader().load(items.clone()).unwrap();
        index
            .write(|batch| {
                batch.link_later();
                // Free as soon as they are deleted, as nothing is linked.
                let gone = LINKED + PENDING;
                for key in LINKED..gone + 2 {
                    batch.add(key, &vector(&mut rng, &hubs, key))?;
                }
                batch.delete_items([gone, gone + 1])?;
                // Removed, and still nodes of the graph.
                batch.delete_items((20..100).step_by(10))?;
                Ok(())
            })
            .unwrap();
        let vectors = contents(&index).unwrap();
        assert_eq!(vectors.len() as u64, LINKED + PENDING - 8);
        assert!(index.check().unwrap().is_empty());
        let fresh = (0..FILLING).map(|key| vector(&mut rng, &hubs, key)).collect();
        Self { folder, vectors, fresh }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("index").join("data.mdb")
    }

    /// One value of each kind, with the sub and the sort of row that it may have: a key, and a bit
    /// of the body that is not the same for any two `round`s.
    fn targets(&self, round: u64) -> Vec<Target> {
        let mut values: BTreeMap<Sort, Vec<(Vec<u8>, usize)>> = BTreeMap::new();
        raw(&self.folder.path().join("index"), |txn, values_of| {
            for entry in values_of.iter(txn).unwrap() {
                let (key, value) = entry.unwrap();
                let sub = if matches!(key[2], CODES | SETS | KEYS) { key[3] } else { 0 };
                values.entry((key[2], sub)).or_default().push((key.to_vec(), value.len()));
            }
        });
        let mut rng = StdRng::seed_from_u64(round);
        let mut targets: Vec<Target> = values
            .into_iter()
            .map(|((kind, sub), values)| {
                let (key, bytes) = &values[rng.random_range(0..values.len())];
                // A row of a free id has nothing but its checksum.
                let byte = rng.random_range(0..(bytes - 4).max(1));
                Target { kind, sub, key: key.clone(), byte, bit: rng.random_range(0..8) }
            })
            .collect();
        // The scale, which is in META, and the components of the first vectors.
        let meta = targets[0].key.clone();
        targets.push(Target {
            kind: META,
            sub: 1,
            key: meta.clone(),
            byte: 96 + (round as usize % 4),
            bit: round as u8 % 8,
        });
        targets.push(Target {
            kind: META,
            sub: 2,
            key: meta,
            byte: 100 + (round as usize % 4),
            bit: 7 - round as u8 % 8,
        });
        targets
    }

    /// The folder once more, with one bit flipped.
    fn damaged(&self, target: &Target) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(self.data(), folder.path().join("data.mdb")).unwrap();
        raw(folder.path(), |txn, values| flip(txn, values, target));
        folder
    }
}

/// A kind, and which part, set or sort of row of it.
type Sort = (u8, u8);

/// A bit of a value.
#[derive(Debug, Clone)]
struct Target {
    kind: u8,
    sub: u8,
    key: Vec<u8>,
    byte: usize,
    bit: u8,
}

fn flip(txn: &mut RwTxn<'_>, values: Database<'_, Bytes, Bytes>, target: &Target) {
    let mut value = values.get(txn, &target.key).unwrap().unwrap().to_vec();
    value[target.byte] ^= 1 << target.bit;
    values.put(txn, &target.key, &value).unwrap();
}

/// Works on the values of a folder without the engine, and commits.
fn raw(folder: &Path, work: impl FnOnce(&mut RwTxn<'_>, Database<'_, Bytes, Bytes>)) {
    let mut options = EnvOpenOptions::new();
    options.map_size(64 << 20).max_dbs(8);
    // SAFETY: a folder of this test, which nothing else has open.
    let env = unsafe { options.open(folder) }.unwrap();
    let rtxn = env.read_txn().unwrap();
    let values = env
        .open_databases_and_commit(rtxn, |opener, rtxn| -> heed::Result<_> {
            opener
                .open_database::<Bytes, Bytes>(rtxn, Some("voisin"))
                .map(|found| heed::CommitOrAbort::<_, ()>::Commit(found.unwrap()))
        })
        .unwrap()
        .unwrap_commit();
    let mut txn = env.write_txn().unwrap();
    work(&mut txn, values);
    txn.commit().unwrap();
    env.prepare_for_closing().wait();
}

fn contents<D: Distance>(index: &Keyed<D>) -> voisin::Result<Vectors> {
    index.snapshot()?.iter()?.collect()
}

fn is_corrupt(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. } | Error::CorruptItemKey { .. })
}

/// A change, and what it makes of the vectors.
type Change<D> =
    (&'static str, fn(&Keyed<D>, &Patient) -> voisin::Result<()>, fn(&mut Vectors, &Patient));

fn changes<D: Distance>() -> Vec<Change<D>> {
    vec![
        (
            "add",
            |index, patient| {
                index.write(|batch| {
                    for (key, vector) in (5000..).zip(&patient.fresh[..3]) {
                        batch.add(key, vector)?;
                    }
                    // Replaced.
                    batch.add(300, &patient.fresh[3])
                })
            },
            |vectors, patient| {
                vectors.extend((5000..).zip(patient.fresh[..3].to_vec()));
                vectors.insert(300, patient.fresh[3].clone());
            },
        ),
        (
            "delete",
            |index, _| index.write(|batch| batch.delete(400).map(drop)),
            |vectors, _| {
                vectors.remove(&400);
            },
        ),
        (
            "delete later",
            |index, _| {
                index.write(|batch| {
                    batch.link_later();
                    batch.delete(LINKED + 1).map(drop)
                })
            },
            |vectors, _| {
                vectors.remove(&(LINKED + 1));
            },
        ),
        (
            "fill",
            |index, patient| {
                index.write(|batch| {
                    batch.link_later();
                    batch.add_items_from((5000u64..).zip(&patient.fresh)).map(drop)
                })
            },
            |vectors, patient| vectors.extend((5000..).zip(patient.fresh.clone())),
        ),
        ("link", |index, _| index.link(), |_, _| {}),
        ("optimize", |index, _| index.optimize(), |_, _| {}),
        ("force_rebuild", |index, _| index.force_rebuild(), |_, _| {}),
    ]
}

/// Whether the vectors are those that are expected. `tolerance` is what storing a fresh one may do
/// to it: the others have been read as they are stored.
fn is_same(patient: &Patient, found: &Vectors, expected: &Vectors, tolerance: f32) -> bool {
    found.len() == expected.len()
        && found.iter().zip(expected).all(|((a, found), (b, expected))| {
            let tolerance = if patient.vectors.get(b) == Some(expected) { 0.0 } else { tolerance };
            a == b
                && found
                    .iter()
                    .zip(expected)
                    .all(|(found, expected)| (found - expected).abs() <= tolerance)
        })
}

/// What became of a change of a damaged index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// It was an error, and nothing has changed.
    Refused,
    /// It has not touched what is damaged.
    StillFound,
    /// What is damaged was made again from what is not.
    Restored,
    /// It was written again as it was, with a good checksum.
    Laundered,
}

fn outcome<D: Distance>(
    patient: &Patient,
    target: &Target,
    (name, change, apply): &Change<D>,
    tolerance: f32,
) -> Outcome {
    let folder = patient.damaged(target);
    let say = || format!("{name}, {target:?}");
    // Damaged metadata is an error of opening, or of the first use.
    let Ok(index) = Keyed::<D>::open(folder.path(), Options::default().map_size_bytes(64 << 20))
    else {
        return Outcome::Refused;
    };
    let is_found = |when: &str| match index.check() {
        Ok(findings) => !findings.is_empty(),
        Err(Error::Foreign { .. } | Error::FormatVersion { .. } | Error::MetricMismatch { .. }) => {
            true
        }
        Err(error) => panic!("{when} {}: {error}", say()),
    };
    assert!(is_found("before"), "{}: check does not find it", say());
    match change(&index, patient) {
        Ok(()) if is_found("after") => Outcome::StillFound,
        Ok(()) => {
            let mut expected = patient.vectors.clone();
            apply(&mut expected, patient);
            match contents(&index) {
                Ok(found) if is_same(patient, &found, &expected, tolerance) => Outcome::Restored,
                _ => Outcome::Laundered,
            }
        }
        Err(error) => {
            let is_other = matches!(
                error,
                Error::Foreign { .. } | Error::FormatVersion { .. } | Error::MetricMismatch { .. }
            );
            assert!(is_corrupt(&error) || is_other, "{}: {error}", say());
            assert!(is_found("after"), "{}: refused, and check does not find it any more", say());
            Outcome::Refused
        }
    }
}

/// Every change of a copy of the index for every kind of value that is damaged.
fn trial<D: Distance>(codes: Option<Codes>, tolerance: f32) {
    let patient =
        Patient::new::<D>(codes.map_or(options(), |codes| options().codes(codes).codes_from(1)));
    let mut outcomes: BTreeMap<Sort, Vec<(&str, Outcome)>> = BTreeMap::new();
    let mut laundered = Vec::new();
    for (round, change) in (0..).zip(changes::<D>()) {
        for target in patient.targets(round) {
            let outcome = outcome(&patient, &target, &change, tolerance);
            outcomes.entry((target.kind, target.sub)).or_default().push((change.0, outcome));
            if outcome == Outcome::Laundered {
                laundered.push(format!("{} of {target:?}", change.0));
            }
        }
    }
    for ((kind, sub), outcomes) in &outcomes {
        let counts = [Outcome::Refused, Outcome::StillFound, Outcome::Restored]
            .map(|outcome| outcomes.iter().filter(|(_, found)| *found == outcome).count());
        println!("{kind}/{sub}: refused, still found, restored: {counts:?}");
    }
    let kinds: BTreeSet<u8> = outcomes.keys().map(|(kind, _)| *kind).collect();
    let all = [META, VECTORS, TAIL, CODES, LINKS, SPILL, IN, SLOT_IDS, ID_SLOTS, SETS, DELTA, KEYS];
    let missing: Vec<u8> = all.into_iter().filter(|kind| !kinds.contains(kind)).collect();
    assert_eq!(missing, if codes.is_some() { vec![] } else { vec![CODES] }, "not damaged");
    assert!(laundered.is_empty(), "check is silent and the contents are wrong: {laundered:#?}");
}

/// Of 12 flipped bits of vectors each, `optimize` and a write that fills a block sealed 12 and 3 as
/// they were, and 11 of 12 of SLOT_IDS gave an item another id: `check` was silent from then on.
#[test]
fn no_change_gives_a_flipped_bit_a_good_checksum() {
    trial::<Euclidean>(Some(Codes::Bits8), 0.0);
}

/// The same where vectors are stored as `i8`: of the 64 bits of the scale in META, one deleted item
/// made 53 final, and 47 of these changed every vector of the index.
#[test]
fn no_change_gives_a_flipped_bit_a_good_checksum_where_vectors_are_bytes() {
    // Without codes: `check` compares them with the vectors, and would find what META has lost.
    // The tolerance is above half of a step, and of what is beyond the ends of the scale.
    trial::<Euclidean<I8>>(None, 2.0);
}
