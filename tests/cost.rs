//! A change costs what it changes: adding, deleting or replacing one item, building and committing,
//! at several sizes of the index. An import holds a small part of what it reads.
//!
//! `cargo test --release --features meter --test cost -- --nocapture`;
//! `VOISIN_COST_SIZES=10000,100000,1000000` for the large run. Counts are those of the engine
//! (values), of the allocator (heap) and of the kernel (bytes handed to `write`), each the median
//! of 200 changes.
#![allow(clippy::unwrap_used, missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::distances::Euclidean;
use voisin::heed::types::Bytes;
use voisin::heed::{CommitOrAbort, Env, EnvOpenOptions, WithoutTls};
use voisin::meter::{Cost, take_cost};
use voisin::{Codes, Database, Import, IndexKind, Writer};

const DIMENSIONS: usize = 128;
const CHANGES: u32 = 200;

/// Counts the bytes that are allocated, and their highest number.
struct Counting;

static HEAP: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// What is counted is counted for the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(HEAP.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HEAP.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Points of a curved surface of few dimensions, as embeddings are. It has as many dimensions from
/// near as from afar: with noise of a size that neighbors only have in the larger index, lists
/// would be longer there, and costs would grow by what the data does.
fn vector(rng: &mut StdRng) -> Vec<f32> {
    let latent = [(); 8].map(|()| rng.random::<f32>() * 2.0 - 1.0);
    let component = |i: usize| {
        let phase = (i as f32 * 0.37).sin() * 3.0;
        let sum: f32 = latent
            .iter()
            .enumerate()
            .map(|(j, l)| l * ((i * 7 + j * 13) as f32 * 0.61).cos())
            .sum();
        (sum + phase).tanh()
    };
    (0..DIMENSIONS).map(|i| component(i) + rng.random::<f32>() * 0.001).collect()
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    values_read: f64,
    values_written: f64,
    bytes_written: f64,
    heap: f64,
    file_bytes: f64,
}

fn handed_to_write() -> f64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}

fn open(folder: &std::path::Path) -> Env<WithoutTls> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(8 << 30);
    // SAFETY: a fresh folder that nobody else opens.
    unsafe { options.open(folder) }.unwrap()
}

fn create(env: &Env<WithoutTls>) -> Database<'_, Euclidean> {
    let created = env.create_databases_and_commit(
        env.write_txn().unwrap(),
        |o, wtxn| -> voisin::heed::Result<_> {
            o.create_database(wtxn, None).map(CommitOrAbort::<_, ()>::Commit)
        },
    );
    created.unwrap().unwrap_commit()
}

/// The median cost of a change, built and committed: a hub costs more than others, and is met by
/// chance.
fn measure(
    env: &Env<WithoutTls>,
    mut change: impl FnMut(&mut voisin::heed::RwTxn<'_>, u32),
) -> Sample {
    let samples: Vec<[f64; 5]> = (0..CHANGES)
        .map(|number| {
            take_cost();
            let (before, written) = (HEAP.load(Relaxed), handed_to_write());
            PEAK.store(before, Relaxed);
            let mut wtxn = env.write_txn().unwrap();
            change(&mut wtxn, number);
            wtxn.commit().unwrap();
            let Cost { values_read, values_written, bytes_written, .. } = take_cost();
            let heap = PEAK.load(Relaxed) - before;
            [
                values_read as f64,
                values_written as f64,
                bytes_written as f64,
                heap as f64,
                handed_to_write() - written,
            ]
        })
        .collect();
    let [values_read, values_written, bytes_written, heap, file_bytes] = [0, 1, 2, 3, 4].map(|i| {
        let mut column: Vec<f64> = samples.iter().map(|sample| sample[i]).collect();
        column.sort_by(f64::total_cmp);
        column[column.len() / 2]
    });
    Sample { values_read, values_written, bytes_written, heap, file_bytes }
}

fn samples(size: u32) -> [Sample; 3] {
    let folder = tempfile::tempdir().unwrap();
    let env = open(folder.path());
    let database = create(&env);
    let writer = Writer::<Euclidean>::new(database, 0, DIMENSIONS);
    let mut rng = StdRng::seed_from_u64(11);
    let build = |wtxn: &mut voisin::heed::RwTxn<'_>| {
        writer
            .builder(&mut StdRng::seed_from_u64(5))
            .ef_construction(200)
            .build::<16, 32>(wtxn)
            .unwrap();
    };
    let mut wtxn = env.write_txn().unwrap();
    writer.add_items_from(&mut wtxn, (0..size).map(|item| (item, vector(&mut rng)))).unwrap();
    // A large index would be numbered by locality anyway, and change at less cost than a small one
    // that is not.
    writer
        .builder(&mut StdRng::seed_from_u64(5))
        .ef_construction(200)
        .optimize::<16, 32>(&mut wtxn)
        .unwrap();
    wtxn.commit().unwrap();

    let vectors: Vec<Vec<f32>> = (0..2 * CHANGES).map(|_| vector(&mut rng)).collect();
    let add = measure(&env, |wtxn, number| {
        writer.add_item(wtxn, size + number, &vectors[number as usize]).unwrap();
        build(wtxn);
    });
    let delete = measure(&env, |wtxn, number| {
        assert!(writer.del_item(wtxn, (number * 7919) % size).unwrap());
        build(wtxn);
    });
    let replace = measure(&env, |wtxn, number| {
        writer
            .add_item(wtxn, (number * 7919 + 1) % size, &vectors[(CHANGES + number) as usize])
            .unwrap();
        build(wtxn);
    });
    let rtxn = env.read_txn().unwrap();
    assert_eq!(voisin::check(&rtxn, 0, database).unwrap(), []);
    [add, delete, replace]
}

#[test]
fn one_change_costs_the_same_in_a_small_and_in_a_large_index() {
    let _alone = ALONE.lock().unwrap();
    let sizes = std::env::var("VOISIN_COST_SIZES").unwrap_or_else(|_| "10000,100000".into());
    let sizes: Vec<u32> = sizes.split(',').map(|size| size.parse().unwrap()).collect();
    let all: Vec<[Sample; 3]> = sizes.iter().map(|&size| samples(size)).collect();
    let mut missed = Vec::new();
    for (i, change) in ["add", "delete", "replace"].iter().enumerate() {
        for (size, samples) in sizes.iter().zip(&all) {
            let Sample { values_read, values_written, bytes_written, heap, file_bytes } =
                samples[i];
            println!(
                "{change} 1 of {size}: {values_read:.0} values read, {values_written:.1} of \
                 {bytes_written:.0} B written, heap {heap:.0} B, \
                 file {file_bytes:.0} B"
            );
        }
        let spread = |of: fn(&Sample) -> f64| {
            let values = all.iter().map(|samples| of(&samples[i]));
            values.clone().fold(0.0, f64::max) / values.fold(f64::INFINITY, f64::min)
        };
        let (read, written, heap) =
            (spread(|s| s.values_read), spread(|s| s.values_written), spread(|s| s.heap));
        println!(
            "{change}: largest over smallest: read {read:.2}, written {written:.2}, heap {heap:.2}"
        );
        let bytes = all.iter().map(|samples| samples[i].file_bytes).fold(0.0, f64::max);
        for (what, found, bound) in [
            ("values read", read, 1.5),
            ("values written", written, 1.2),
            ("heap", heap, 1.2),
            ("bytes written", bytes, 400_000.0),
        ] {
            if found > bound {
                missed.push(format!("{change}, {what}: {found} is more than {bound}"));
            }
        }
    }
    assert_eq!(missed, [""; 0]);
}

/// An index with a kind and no graph: an added, a deleted and a replaced item.
fn kind_samples(kind: IndexKind, size: u32) -> [Sample; 3] {
    let folder = tempfile::tempdir().unwrap();
    let env = open(folder.path());
    let database = create(&env);
    let writer = Writer::<Euclidean>::new(database, 0, DIMENSIONS);
    let mut rng = StdRng::seed_from_u64(11);
    let build = |wtxn: &mut voisin::heed::RwTxn<'_>| {
        writer.builder(&mut StdRng::seed_from_u64(5)).build::<16, 32>(wtxn).unwrap();
    };
    let mut wtxn = env.write_txn().unwrap();
    writer.add_kind(&mut wtxn, kind).unwrap();
    writer.drop_kind(&mut wtxn, IndexKind::Hnsw).unwrap();
    writer.add_items_from(&mut wtxn, (0..size).map(|item| (item, vector(&mut rng)))).unwrap();
    build(&mut wtxn);
    wtxn.commit().unwrap();
    let vectors: Vec<Vec<f32>> = (0..2 * CHANGES).map(|_| vector(&mut rng)).collect();
    let add = measure(&env, |wtxn, number| {
        writer.add_item(wtxn, size + number, &vectors[number as usize]).unwrap();
        build(wtxn);
    });
    let delete = measure(&env, |wtxn, number| {
        assert!(writer.del_item(wtxn, (number * 7919) % size).unwrap());
        build(wtxn);
    });
    let replace = measure(&env, |wtxn, number| {
        let vector = &vectors[(CHANGES + number) as usize];
        writer.add_item(wtxn, (number * 7919 + 1) % size, vector).unwrap();
        build(wtxn);
    });
    let rtxn = env.read_txn().unwrap();
    assert_eq!(voisin::check(&rtxn, 0, database).unwrap(), []);
    [add, delete, replace]
}

/// Compares the changes of a kind in a small and in a large index.
fn compare_kind(kind: IndexKind) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let all = [10_000, 100_000].map(|size| kind_samples(kind, size));
    for (i, change) in ["add", "delete", "replace"].iter().enumerate() {
        for (size, samples) in ["10 000", "100 000"].iter().zip(&all) {
            let Sample { values_read, values_written, bytes_written, heap, file_bytes } =
                samples[i];
            println!(
                "{change} 1 of {size}, {kind:?}: {values_read:.0} values read, \
                 {values_written:.1} of {bytes_written:.0} B written, heap {heap:.0} B, \
                 file {file_bytes:.0} B"
            );
        }
        let [small, large] = [all[0][i], all[1][i]];
        assert!(large.values_written <= 1.2 * small.values_written, "{change}");
        // The number of lists, whose centers are all read, grows with the square root.
        let growth = if kind == IndexKind::Ivf { 4.0 } else { 1.2 };
        assert!(large.values_read <= growth * small.values_read, "{change}");
        let most = if *change == "replace" { 40_000.0 } else { 20_000.0 };
        assert!(large.bytes_written <= most, "{change}: {} B", large.bytes_written);
        // Of tables, 16 leaves of LMDB's tree and the pages above them.
        let usual = if kind == IndexKind::Lsh { 170_000.0 } else { 160_000.0 };
        let most = if *change == "replace" { 2.0 * usual } else { usual };
        assert!(large.file_bytes <= most, "{change}: {} B", large.file_bytes);
    }
}

#[test]
fn one_change_of_inverted_lists_writes_as_much_in_a_small_and_in_a_large_index() {
    compare_kind(IndexKind::Ivf);
}

#[test]
fn one_change_of_tables_of_hashes_writes_as_much_in_a_small_and_in_a_large_index() {
    compare_kind(IndexKind::Lsh);
}

/// Codes, and what lists have of them, are made for the slots that items end with. They were made
/// for those of before, too, and thrown away.
#[test]
fn a_build_that_renumbers_makes_codes_and_packs_them_once() {
    const ITEMS: u32 = 5000;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let env = open(folder.path());
    let database = create(&env);
    let writer = Writer::<Euclidean>::new(database, 0, DIMENSIONS);
    let (mut rng, mut wtxn) = (StdRng::seed_from_u64(11), env.write_txn().unwrap());
    writer.add_kind(&mut wtxn, IndexKind::Ivf).unwrap();
    writer.drop_kind(&mut wtxn, IndexKind::Hnsw).unwrap();
    writer.set_codes(&mut wtxn, Some(Codes::Bits8)).unwrap();
    writer.add_items_from(&mut wtxn, (0..ITEMS).map(|item| (item, vector(&mut rng)))).unwrap();
    take_cost();
    let mut seed = StdRng::seed_from_u64(5);
    writer.builder(&mut seed).codes_from(1).optimize::<16, 32>(&mut wtxn).unwrap();
    let written = take_cost().bytes_written;
    assert_eq!(voisin::check(&wtxn, 0, database).unwrap(), []);
    let reader = voisin::Reader::open(&wtxn, 0, database).unwrap();
    let stats = reader.stats(&wtxn, &env).unwrap();
    let bytes = |of: &str| -> u64 {
        let kinds = stats.kinds.iter().filter(|kind| kind.kind.to_string() == of);
        kinds.map(|kind| kind.bytes).sum()
    };
    let all: u64 = stats.kinds.iter().map(|kind| kind.bytes).sum();
    let [codes, lists] = ["CODES", "IVF"].map(bytes);
    println!("{written} B put for {all} B of values, {codes} B of CODES, {lists} B of IVF");
    assert!(lists > codes && codes > u64::from(ITEMS) * DIMENSIONS as u64);
    // All once, and the lists without codes before and after.
    assert!(written < all + codes / 2, "{written} B put for {all} B");
}

#[test]
fn an_import_holds_a_small_part_of_what_it_reads() {
    let _alone = ALONE.lock().unwrap();
    const ITEMS: u32 = 200_000;
    let folder = tempfile::tempdir().unwrap();
    let env = open(folder.path());
    let database = create(&env);
    let theirs = database.remap_types::<Bytes, Bytes>();

    // An index 1 as hannoy writes it, without its graph.
    let mut rng = StdRng::seed_from_u64(11);
    let mut wtxn = env.write_txn().unwrap();
    let metadata = [b"euclidean\0", &(DIMENSIONS as u32).to_be_bytes()[..], &[0; 5]].concat();
    theirs.put(&mut wtxn, &[0, 1, 0, 0, 0, 0, 0, 0], &metadata).unwrap();
    for item in 0..ITEMS {
        let value: Vec<u8> = [0; 5]
            .into_iter()
            .chain((0..DIMENSIONS).flat_map(|_| rng.random::<f32>().to_le_bytes()))
            .collect();
        theirs
            .put(&mut wtxn, &[&[0, 1, 3], &item.to_be_bytes()[..], &[0]].concat(), &value)
            .unwrap();
    }
    wtxn.commit().unwrap();

    let rtxn = env.read_txn().unwrap();
    let mut wtxn = env.write_txn().unwrap();
    let before = HEAP.load(Relaxed);
    PEAK.store(before, Relaxed);
    let writer = Writer::<Euclidean>::new(database, 0, DIMENSIONS);
    let added = Import::open(&rtxn, 1, theirs).unwrap().add_to(&writer, &mut wtxn).unwrap();
    let (heap, read) =
        (PEAK.load(Relaxed) - before, ITEMS as usize * DIMENSIONS * size_of::<f32>());
    println!("importing {ITEMS} items of {read} bytes: heap {heap} B");
    assert_eq!(added, u64::from(ITEMS));
    // The maps between ids and slots, up to a fixed number of them, and a vector at a time.
    assert!(heap <= read / 10, "heap {heap} B");
}

/// An item and its vector are looked up one by one, however many are pending: a copy asks for each
/// of its items, and programs that change vectors read each.
#[test]
fn asking_for_an_item_reads_as_much_however_many_are_pending() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let env = open(folder.path());
    let writer = Writer::<Euclidean>::new(create(&env), 0, DIMENSIONS);
    let mut rng = StdRng::seed_from_u64(6);
    let mut wtxn = env.write_txn().unwrap();
    for range in [0..100, 100..10_000] {
        let rows = range.map(|item| (item, vector(&mut rng)));
        writer.add_items_from(&mut wtxn, rows).unwrap();
        take_cost();
        assert!(writer.contains_item(&wtxn, 42).unwrap());
        assert!(!writer.contains_item(&wtxn, 10_001).unwrap());
        // META and a group of ids, each time.
        assert!(take_cost().values_read <= 4);
        for item in (0..100).cycle().take(20_000) {
            assert!(writer.item_vector(&wtxn, item).unwrap().is_some());
        }
        // And the value that has the vector.
        assert_eq!(take_cost().values_read, 3 * 20_000);
        assert_eq!(writer.item_vector(&wtxn, 10_001).unwrap(), None);
        assert!(take_cost().values_read <= 2);
    }
}

/// Searches read no record but those of their results, and those only if they are asked for.
#[test]
fn searches_do_not_read_records_unless_they_are_asked_for() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut rng = StdRng::seed_from_u64(5);
    let rows: Vec<Vec<f32>> = (0..2000).map(|_| vector(&mut rng)).collect();
    let cost_of = |has_records: bool, asks: bool| {
        let folder = tempfile::tempdir().unwrap();
        let env = open(folder.path());
        let database = create(&env);
        let writer = Writer::<Euclidean>::new(database, 0, DIMENSIONS);
        let mut wtxn = env.write_txn().unwrap();
        let items = (0..).zip(&rows);
        match has_records {
            true => {
                writer.add_items_with_records(&mut wtxn, items.map(|(i, row)| (i, row, [1; 500])))
            }
            false => writer.add_items_from(&mut wtxn, items),
        }
        .unwrap();
        let mut seed = StdRng::seed_from_u64(1);
        writer.builder(&mut seed).threads(1).build::<16, 32>(&mut wtxn).unwrap();
        wtxn.commit().unwrap();
        let rtxn = env.read_txn().unwrap();
        let reader = voisin::Reader::open(&rtxn, 0, database).unwrap();
        let mut search = reader.nns(10);
        if asks {
            search.with_records();
        }
        search.by_vector(&rtxn, &rows[7]).unwrap();
        take_cost();
        search.by_vector(&rtxn, &rows[7]).unwrap();
        take_cost().values_read
    };
    let without = cost_of(false, false);
    assert_eq!(cost_of(true, false), without);
    assert_eq!(cost_of(true, true), without + 10);
}
