//! The same in the caller's transactions, with items named by ids: an index is damaged, changed,
//! read and rolled back.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use voisin::distances::Euclidean;
use voisin::heed::types::Bytes;
use voisin::heed::{self, Database, EnvOpenOptions, RoTxn, RwTxn, WithoutTls};
use voisin::{Error, ItemId, Phase, Progress, Reader, Writer, check};

use super::{ID_SLOTS, IN, LINKS, META, SETS, SLOT_IDS, SPILL, TAIL, VECTORS};

const INDEX: u16 = 3;
const DIMENSIONS: usize = 8;
/// One block of 1 021 vectors, and a tail. A change of one of them is a build of a few values.
const ITEMS: u32 = 1300;

type Vectors = BTreeMap<ItemId, Vec<f32>>;

struct Patient {
    env: heed::Env<WithoutTls>,
    fresh: Vec<f32>,
    vectors: Vectors,
    _folder: TempDir,
}

impl Patient {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(64 << 20);
        // SAFETY: a folder of this test, which nothing else has open.
        let env = unsafe { options.open(folder.path()) }.unwrap();
        let mut rng = StdRng::seed_from_u64(9);
        let mut vector = || -> Vec<f32> { (0..DIMENSIONS).map(|_| rng.random()).collect() };
        let vectors = (0..ITEMS).map(|item| (7 * item, vector())).collect();
        let patient = Self { env, fresh: vector(), vectors, _folder: folder };
        let mut wtxn = patient.env.write_txn().unwrap();
        let writer = patient.writer();
        writer.add_items_from(&mut wtxn, patient.vectors.clone()).unwrap();
        build(&writer, &mut wtxn).unwrap();
        wtxn.commit().unwrap();
        patient
    }

    fn database(&self) -> voisin::Database<'_, Euclidean> {
        let opened = self.env.open_databases_and_commit(
            self.env.read_txn().unwrap(),
            |opener, rtxn| -> heed::Result<_> {
                opener
                    .open_database(rtxn, None)
                    .map(|found| heed::CommitOrAbort::<_, ()>::Commit(found.unwrap()))
            },
        );
        opened.unwrap().unwrap_commit()
    }

    fn writer(&self) -> Writer<'_, Euclidean> {
        Writer::new(self.database(), INDEX, DIMENSIONS)
    }
}

fn build(writer: &Writer<'_, Euclidean>, wtxn: &mut RwTxn<'_>) -> voisin::Result<()> {
    writer.builder(&mut StdRng::seed_from_u64(1)).ef_construction(20).build::<8, 16>(wtxn)
}

fn contents(
    rtxn: &RoTxn<'_>,
    database: voisin::Database<'_, Euclidean>,
) -> voisin::Result<Vectors> {
    Reader::open(rtxn, INDEX, database)?.iter(rtxn)?.collect()
}

/// Flips a bit of the body of a value.
fn flip(wtxn: &mut RwTxn<'_>, values: Database<'_, Bytes, Bytes>, key: &[u8], rng: &mut StdRng) {
    let mut value = values.get(wtxn, key).unwrap().unwrap().to_vec();
    let body = value.len() - 4;
    value[rng.random_range(0..body)] ^= 1 << rng.random_range(0..8);
    values.put(wtxn, key, &value).unwrap();
}

fn keys(rtxn: &RoTxn<'_>, values: Database<'_, Bytes, Bytes>, kind: u8) -> Vec<Vec<u8>> {
    let keys = values.iter(rtxn).unwrap().map(|entry| entry.unwrap().0.to_vec());
    keys.filter(|key| key[2] == kind).collect()
}

type Change =
    fn(&Writer<'_, Euclidean>, &mut RwTxn<'_>, &Patient, &mut Vectors) -> voisin::Result<()>;

/// A build of one item among more than a thousand verifies less than one of all of them does: not
/// the blocks and lists that it walks over, but each that it writes back.
#[test]
fn builds_of_a_few_items_give_no_flipped_bit_a_good_checksum() {
    let changes: [(&str, Change); 3] = [
        ("add", |writer, wtxn, patient, vectors| {
            vectors.insert(1, patient.fresh.clone());
            writer.add_item(wtxn, 1, &patient.fresh)?;
            build(writer, wtxn)
        }),
        ("delete", |writer, wtxn, _, vectors| {
            vectors.remove(&700);
            writer.del_item(wtxn, 700)?;
            build(writer, wtxn)
        }),
        ("optimize", |writer, wtxn, _, _| {
            writer
                .builder(&mut StdRng::seed_from_u64(1))
                .ef_construction(20)
                .optimize::<8, 16>(wtxn)
        }),
    ];
    let patient = Patient::new();
    let (writer, database) = (patient.writer(), patient.database());
    let values: Database<'_, Bytes, Bytes> = database.remap_types();
    let mut laundered = Vec::new();
    let mut rng = StdRng::seed_from_u64(3);
    for (name, change) in changes {
        for kind in [VECTORS, TAIL, LINKS, SPILL, IN, SLOT_IDS, ID_SLOTS, SETS] {
            for _ in 0..4 {
                let mut wtxn = patient.env.write_txn().unwrap();
                let keys = keys(&wtxn, values, kind);
                if keys.is_empty() {
                    continue;
                }
                flip(&mut wtxn, values, &keys[rng.random_range(0..keys.len())], &mut rng);
                let mut expected = patient.vectors.clone();
                match change(&writer, &mut wtxn, &patient, &mut expected) {
                    Err(Error::Corrupt { .. }) => {}
                    Err(error) => panic!("{name}, {kind}: {error}"),
                    Ok(()) => {
                        let is_silent = check(&wtxn, INDEX, database).unwrap().is_empty();
                        let is_right =
                            contents(&wtxn, database).is_ok_and(|found| found == expected);
                        if is_silent && !is_right {
                            laundered.push(format!("{name}, {kind}"));
                        }
                    }
                }
            }
        }
    }
    assert!(laundered.is_empty(), "check is silent and the contents are wrong: {laundered:?}");
}

/// Who reads a vector in a transaction that writes may change it, and add it again.
#[test]
fn a_vector_that_is_read_to_be_changed_is_verified() {
    let patient = Patient::new();
    let (writer, database) = (patient.writer(), patient.database());
    let values: Database<'_, Bytes, Bytes> = database.remap_types();
    for kind in [VECTORS, TAIL] {
        let mut wtxn = patient.env.write_txn().unwrap();
        let key = keys(&wtxn, values, kind).remove(0);
        let slot = if kind == TAIL { u32::from_be_bytes(key[4..].try_into().unwrap()) } else { 0 };
        flip(&mut wtxn, values, &key, &mut StdRng::seed_from_u64(6));
        let read = writer.item_vector(&wtxn, 7 * slot);
        assert!(matches!(read, Err(Error::Corrupt { .. })), "{read:?}");
        let all: voisin::Result<Vec<_>> = writer.iter(&wtxn).unwrap().collect();
        assert!(matches!(all, Err(Error::Corrupt { .. })));
    }
}

/// Where the metadata is damaged, nothing else can be read: what is left is to begin anew.
#[test]
fn an_index_whose_metadata_is_damaged_can_be_cleared() {
    let patient = Patient::new();
    let (writer, database) = (patient.writer(), patient.database());
    let mut wtxn = patient.env.write_txn().unwrap();
    let key = keys(&wtxn, database.remap_types(), META).remove(0);
    let mut value =
        database.remap_types::<Bytes, Bytes>().get(&wtxn, &key).unwrap().unwrap().to_vec();
    value[40] ^= 1;
    database.remap_types::<Bytes, Bytes>().put(&mut wtxn, &key, &value).unwrap();
    assert!(matches!(writer.add_item(&mut wtxn, 1, &patient.fresh), Err(Error::Corrupt { .. })));
    writer.clear(&mut wtxn).unwrap();
    writer.add_item(&mut wtxn, 1, &patient.fresh).unwrap();
    assert_eq!(contents(&wtxn, database).unwrap(), [(1, patient.fresh.clone())].into());
    assert_eq!(check(&wtxn, INDEX, database).unwrap(), []);
}

/// A concurrent build moves the items that took a slot of its graph while it was computed: their
/// vectors are read and written again. One that was damaged in between was sealed as it was.
#[test]
fn what_a_concurrent_build_moves_is_verified() {
    let patient = Patient::new();
    let (writer, database) = (patient.writer(), patient.database());
    let values: Database<'_, Bytes, Bytes> = database.remap_types();
    let mut wtxn = patient.env.write_txn().unwrap();
    writer.add_item(&mut wtxn, 1, &patient.fresh).unwrap();
    wtxn.commit().unwrap();
    let meanwhile = || {
        let last = 7 * (ITEMS - 1);
        let mut wtxn = patient.env.write_txn().unwrap();
        writer.del_item(&mut wtxn, last).unwrap();
        build(&writer, &mut wtxn).unwrap();
        // Takes the slot, as those of the tail are used first.
        writer.add_item(&mut wtxn, 2, &patient.fresh).unwrap();
        let moved = keys(&wtxn, values, TAIL)
            .into_iter()
            .find(|key| key[4..] == (ITEMS - 1).to_be_bytes())
            .unwrap();
        flip(&mut wtxn, values, &moved, &mut StdRng::seed_from_u64(4));
        wtxn.commit().unwrap();
    };
    let meanwhile = Mutex::new(Some(meanwhile));
    let progress = |progress: Progress| {
        let first = meanwhile.lock().unwrap().take().filter(|_| progress.phase == Phase::Linking);
        if let Some(meanwhile) = first {
            // Builds of its own need threads that do not wait for this one.
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            std::thread::scope(|scope| scope.spawn(|| pool.install(meanwhile)).join().unwrap());
        }
    };
    let mut rng = StdRng::seed_from_u64(1);
    let result = writer
        .builder(&mut rng)
        .ef_construction(20)
        .progress(progress)
        .build_concurrently::<8, 16>(&patient.env);
    assert!(meanwhile.lock().unwrap().is_none());
    assert!(matches!(result, Err(Error::Corrupt { .. })), "{result:?}");
    let rtxn = patient.env.read_txn().unwrap();
    assert!(!check(&rtxn, INDEX, database).unwrap().is_empty());
}
