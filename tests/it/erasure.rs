//! What is erased is in no byte of a copy: the whole file is read, and every run of 16 bytes of
//! what was erased is looked for.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::heed::types::Bytes;
use voisin::heed::{CompactionOption, Database, EnvOpenOptions};
use voisin::{
    AnyIndex, AnyMetric, AnyType, Codes, Field, Index, IndexKind, Names, Options, Query, field,
};

use crate::decoder::{Decoded, decode};

const DIMENSIONS: usize = 128;
const ITEMS: usize = 700;
const RUN: usize = 16;

/// Runs of bytes that must not be in a file.
type Runs = HashSet<[u8; RUN]>;

type Texts = Index<AnyMetric, str>;

struct Case {
    metric: &'static str,
    form: &'static str,
    codes: Option<Codes>,
    kinds: &'static [IndexKind],
}

/// What an item is made of.
#[derive(Clone, PartialEq, Debug)]
struct Item {
    vector: Vec<f32>,
    record: String,
}

impl Item {
    /// The value of its field `n`.
    fn number(&self) -> i64 {
        self.record.split(&[':', ','][..]).nth(3).unwrap().parse().unwrap()
    }
}

fn letters(rng: &mut StdRng, count: usize) -> String {
    (0..count).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect()
}

impl Case {
    fn vector(&self, rng: &mut StdRng) -> Vec<f32> {
        let component = |rng: &mut StdRng| match self.form {
            "bits" => f32::from(rng.random_bool(0.5)),
            _ => rng.random_range(-1.0..1.0),
        };
        (0..DIMENSIONS).map(|_| component(rng)).collect()
    }

    fn item(&self, rng: &mut StdRng, n: usize) -> Item {
        let (tag, text) = (letters(rng, 40), letters(rng, [20, 300, 9000][n % 3]));
        let record = format!(r#"{{"tag":"{tag}","n":{n},"text":"{text}"}}"#);
        Item { vector: self.vector(rng), record }
    }

    fn create(&self, folder: &Path) -> AnyIndex {
        let of = AnyType::new(self.metric).form(self.form).names(Names::Texts);
        let mut options = Options::new(DIMENSIONS).m(6).ef_construction(24);
        options = options.kinds(self.kinds.iter().copied()).codes_from(500);
        options = options.fields([Field::keyword("tag"), Field::integer("n")]);
        if let Some(codes) = self.codes {
            options = options.codes(codes);
        }
        let index = AnyIndex::create(folder, &of, options).unwrap();
        if self.form == "i8" {
            let mut rng = StdRng::seed_from_u64(1);
            let sample: Vec<f32> = (0..100).flat_map(|_| self.vector(&mut rng)).collect();
            index.train(&sample).unwrap();
        }
        index
    }
}

fn add(index: &Texts, items: &BTreeMap<String, Item>) {
    let rows = items.iter().map(|(key, item)| (key, &item.vector, item.record.as_bytes()));
    index.write(|batch| batch.add_items_with_records(rows.clone())).unwrap();
}

/// The bytes of an index, of a copy that nobody has open.
fn decoded(folder: &Path) -> Decoded {
    // SAFETY: no one else has the map open or writes to the files.
    let env = unsafe {
        EnvOpenOptions::new().read_txn_without_tls().map_size(1 << 30).max_dbs(8).open(folder)
    };
    let env = env.unwrap();
    let db: Database<'_, Bytes, Bytes> = env
        .open_databases_and_commit(env.read_txn().unwrap(), |opener, txn| {
            let db = opener.open_database::<Bytes, Bytes>(txn, Some("voisin"))?.unwrap();
            Ok::<_, voisin::heed::Error>(voisin::heed::CommitOrAbort::<_, ()>::Commit(db))
        })
        .unwrap()
        .unwrap_commit();
    let rtxn = env.read_txn().unwrap();
    let decoded = decode(db, &rtxn, 0);
    drop(rtxn);
    env.prepare_for_closing().wait();
    decoded
}

/// All that is stored of some items, and was given.
fn runs_of(decoded: &Decoded, items: &BTreeMap<String, Item>, keys: &[String]) -> Runs {
    let mut runs = Runs::new();
    let mut take = |bytes: &[u8]| {
        let all = bytes.windows(RUN).map(|run| run.try_into().unwrap());
        runs.extend(all.filter(|run: &[u8; RUN]| *run != [0; RUN]));
    };
    let ids: BTreeMap<&[u8], u32> = decoded.keys.iter().map(|(id, key)| (&key[..], *id)).collect();
    for key in keys {
        let (item, id) = (&items[key], ids[key.as_bytes()]);
        take(key.as_bytes());
        take(&decoded.vectors[&id]);
        decoded.codes.get(&id).iter().for_each(|code| take(code));
        take(&decoded.records[&id]);
        take(item.record.as_bytes());
        // A run of four components that are 0 or 1 is no secret.
        if item.vector.iter().any(|component| component.fract() != 0.0) {
            take(&item.vector.iter().flat_map(|it| it.to_le_bytes()).collect::<Vec<u8>>());
        }
    }
    runs
}

/// How many of the runs are in a file.
fn found(folder: &Path, runs: &Runs) -> usize {
    let file = std::fs::read(folder.join("data.mdb")).unwrap();
    let all: HashSet<[u8; RUN]> = file
        .windows(RUN)
        .map(|run| run.try_into().unwrap())
        .filter(|run| runs.contains(run))
        .collect();
    all.len()
}

/// That an index has these items and no others, and finds each.
fn holds(index: &Texts, items: &BTreeMap<String, Item>, vectors: &BTreeMap<String, Vec<f32>>) {
    assert_eq!(index.check().unwrap(), []);
    let snapshot = index.snapshot().unwrap();
    assert!(snapshot.keys().unwrap().map(Result::unwrap).eq(items.keys().cloned()));
    for (n, (key, item)) in items.iter().enumerate() {
        assert_eq!(snapshot.vector(key).unwrap().as_ref(), vectors.get(key), "{key}");
        assert_eq!(snapshot.record(key).unwrap().unwrap(), item.record.as_bytes(), "{key}");
        if n % 50 == 0 {
            let condition = field("n").eq(item.number());
            assert_eq!(snapshot.keys_of(&condition).unwrap(), std::slice::from_ref(key));
            let query: &mut Query<'_, _> = &mut index.search(1);
            assert_eq!(query.exact().by_vector(&item.vector).unwrap().nns[0].0, *key);
        }
    }
}

fn vectors(index: &Texts, items: &BTreeMap<String, Item>) -> BTreeMap<String, Vec<f32>> {
    let snapshot = index.snapshot().unwrap();
    let vector = |key: &String| (key.clone(), snapshot.vector(key).unwrap().unwrap());
    items.keys().map(vector).collect()
}

fn run(case: &Case) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let any = case.create(&at("index"));
    let AnyIndex::Texts(index) = &any else { panic!() };
    let mut rng = StdRng::seed_from_u64(7);
    let mut items: BTreeMap<String, Item> =
        (0..ITEMS).map(|n| (letters(&mut rng, 30 + n % 200), case.item(&mut rng, n))).collect();
    add(index, &items);
    // The last ones lie in the tail; some are alone in their direction, so that a list may be
    // theirs alone.
    let last: BTreeMap<String, Item> =
        (0..5).map(|n| (letters(&mut rng, 40), case.item(&mut rng, ITEMS + n))).collect();
    add(index, &last);
    items.extend(last.clone());
    index.copy_to(at("before")).unwrap();
    let before = decoded(&at("before"));
    let keys: Vec<String> = items.keys().cloned().collect();
    let of = |from: usize| -> Vec<String> { keys.iter().skip(from).step_by(40).cloned().collect() };
    let (deleted, replaced, mut erased) = (of(1), of(2), of(3));
    erased.extend(
        last.keys().take(3).filter(|key| !erased.contains(key)).cloned().collect::<Vec<_>>(),
    );
    erased.retain(|key| !deleted.contains(key) && !replaced.contains(key));
    let gone: Vec<String> = deleted.iter().chain(&erased).cloned().collect();
    let mut runs = runs_of(&before, &items, &gone);
    let stored_before = found(&at("before"), &runs);
    // What was given is another form of what is stored, unless that is f32.
    assert!(stored_before * 5 > runs.len(), "{stored_before} of {}", runs.len());

    // Some are deleted, and the vectors of some replaced, before.
    index.write(|batch| batch.delete_items(&deleted)).unwrap();
    deleted.iter().for_each(|key| _ = items.remove(key));
    runs.extend(runs_of(&before, &items, &replaced));
    for key in &replaced {
        let old = items[key].clone();
        let new = Item { vector: case.vector(&mut rng), record: old.record.clone() };
        index.write(|batch| batch.add(key, &new.vector)).unwrap();
        items.insert(key.clone(), new);
    }
    // Their keys and records are still there.
    for key in &replaced {
        for bytes in [key.as_bytes(), items[key].record.as_bytes()] {
            bytes.windows(RUN).for_each(|run| _ = runs.remove(run));
        }
    }
    index.copy_to(at("deleted")).unwrap();
    assert!(found(&at("deleted"), &runs) > 0, "a delete leaves vectors in blocks");

    // Some by their keys, others by a condition.
    let (by_key, by_condition) = erased.split_at(erased.len() / 2);
    assert_eq!(index.erase(by_key).unwrap(), by_key.len() as u64);
    let numbers = by_condition.iter().map(|key| items[key].number());
    let condition = field("n").is_in(numbers.collect::<Vec<_>>());
    assert_eq!(any.erase_matching(&condition).unwrap(), by_condition.len() as u64);
    erased.iter().for_each(|key| _ = items.remove(key));
    let stored = vectors(index, &items);
    holds(index, &items, &stored);
    index.copy_to(at("erased")).unwrap();
    assert_eq!(found(&at("erased"), &runs), 0, "{} {} {:?}", case.metric, case.form, case.codes);
    assert_eq!(index.erase(&erased).unwrap(), 0);

    // The copy is an index like any other.
    decoded(&at("erased")).verify();
    let report = voisin::verify_file(at("erased")).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let any = AnyIndex::open(at("erased"), Options::default()).unwrap();
    let AnyIndex::Texts(copy) = &any else { panic!() };
    holds(copy, &items, &stored);
    add(copy, &last);
    // The others are as they were, also with new slots.
    index.optimize().unwrap();
    holds(index, &items, &stored);
    index.copy_to(at("optimized")).unwrap();
    assert_eq!(found(&at("optimized"), &runs), 0);
}

#[test]
fn no_run_of_16_bytes_of_an_erased_item_is_in_a_copy() {
    use IndexKind::{Flat, Hnsw, Ivf, Lsh};
    let case = |metric, form, codes, kinds| run(&Case { metric, form, codes, kinds });
    case("cosine", "f32", Some(Codes::Bits4), &[Hnsw]);
    case("euclidean", "f16", Some(Codes::Bits1), &[Hnsw, Ivf]);
    case("euclidean", "bf16", Some(Codes::Bits8), &[Ivf]);
    case("cosine", "f32", None, &[Lsh]);
    case("euclidean", "i8", Some(Codes::Bits7), &[Hnsw]);
    case("dot product", "f32", Some(Codes::Bits2), &[Hnsw]);
    case("hamming", "bits", None, &[Hnsw]);
    case("manhattan", "f32", None, &[Flat]);
}

/// A center that is one vector: a list whose sample was one item, and codes of equal vectors.
#[test]
fn centers_that_are_an_erased_vector_are_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(DIMENSIONS).kinds([IndexKind::Ivf]).codes(Codes::Bits4);
    let index = Index::<voisin::distances::Euclidean>::create(
        folder.path().join("index"),
        options.codes_from(10),
    )
    .unwrap();
    let mut rng = StdRng::seed_from_u64(3);
    let secret: Vec<f32> = (0..DIMENSIONS).map(|_| rng.random_range(-1.0..1.0)).collect();
    // All are the secret at first, so that all centers are, too.
    index.write(|batch| batch.add_items_from((0..400).map(|item| (item, &secret)))).unwrap();
    let others: Vec<Vec<f32>> =
        (0..100).map(|_| (0..DIMENSIONS).map(|_| rng.random_range(-1.0..1.0)).collect()).collect();
    index.write(|batch| batch.add_items_from((1000..).zip(&others))).unwrap();
    let bytes: Vec<u8> = secret.iter().flat_map(|it| it.to_le_bytes()).collect();
    let runs: Runs = bytes.windows(RUN).map(|run| run.try_into().unwrap()).collect();
    assert_eq!(index.erase(0..400).unwrap(), 400);
    let clean = folder.path().join("clean");
    index.copy_to(&clean).unwrap();
    assert_eq!(found(&clean, &runs), 0);
    assert_eq!(index.check().unwrap(), []);
    for (item, row) in (1000..).zip(&others) {
        assert_eq!(index.search(1).exact().by_vector(row).unwrap().nns[0].0, item);
    }
}

/// Branches of LMDB's trees have keys of entries that have been deleted.
#[test]
fn keys_in_branches_are_of_entries_that_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let options = || Options::new(1).kinds([]).max_databases(4);
    let index =
        Index::<voisin::distances::Euclidean, str>::create(folder.path().join("index"), options())
            .unwrap();
    let key = |n: u32| format!("{n:08} is a key that is long enough to be found: {n:08}");
    let rows = (0..20_000).map(|n| (key(n), [n as f32]));
    index.write(|batch| batch.add_items_from(rows.clone())).unwrap();
    let gone: Vec<String> = (0..20_000).filter(|n| n % 3 > 0).map(key).collect();
    index.erase(&gone).unwrap();
    let clean = folder.path().join("clean");
    index.copy_to(&clean).unwrap();
    drop(index);
    // The keys in a file that are of no item, where they are whole: blocks of keys have the rest of
    // a key after what it shares, without a number of 8 digits before it.
    let stale = |file: &Path| {
        let file = std::fs::read(file).unwrap();
        let number = |run: &[u8]| std::str::from_utf8(&run[..8]).ok()?.parse().ok();
        let runs = file.windows(25).filter(|run| run.ends_with(b" is a key that is"));
        runs.filter_map(number).filter(|number: &u32| !number.is_multiple_of(3)).count()
    };
    assert_eq!(stale(&clean.join("data.mdb")), 0);
    // SAFETY: no one else has the map open or writes to the files.
    let env = unsafe {
        EnvOpenOptions::new().map_size(1 << 30).max_dbs(8).open(folder.path().join("index"))
    };
    let by_lmdb = folder.path().join("by LMDB");
    env.unwrap().copy_to_path(&by_lmdb, CompactionOption::Enabled).unwrap();
    assert!(stale(&by_lmdb) > 0, "LMDB's own copy has some");
    let copy = Index::<voisin::distances::Euclidean, str>::open(&clean, options()).unwrap();
    let kept: Vec<String> = (0..20_000).filter(|n| n % 3 == 0).map(key).collect();
    let snapshot = copy.snapshot().unwrap();
    assert!(snapshot.keys().unwrap().map(Result::unwrap).eq(kept.iter().cloned()));
    assert!(kept.iter().all(|key| snapshot.contains(key).unwrap()));
    assert!(gone.iter().all(|key| !snapshot.contains(key).unwrap()));
    assert_eq!(copy.check().unwrap(), []);
    // And it can be written to, between all keys.
    copy.write(|batch| batch.add_items_from(rows.clone())).unwrap();
    assert_eq!(copy.check().unwrap(), []);
    assert_eq!(copy.snapshot().unwrap().len(), 20_000);
}
