//! Shared test helpers: environments, vectors, the exact answer to a query, and [`check`], which
//! every test calls after every change.
//!
//! Test vectors have small integer components ([`vector`]): all distances between them but cosine's
//! are computed without rounding, in any order of the sums, so that ties are ties and an answer can
//! be compared with the [`Oracle`]'s bit for bit.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use voisin::codec::{Bf16, Bits, Codec, F16, F32, I8, Signs, VectorRef};
use voisin::distances::{
    BinaryQuantizedEuclidean, Cosine, Distance, DotProduct, Euclidean, Hamming, Manhattan,
};
use voisin::heed::types::Bytes;
use voisin::heed::{self, CommitOrAbort, Database, EnvOpenOptions, RoTxn, RwTxn, WithoutTls};
use voisin::{ItemId, Reader, ValueCodec, Writer};

use crate::decoder;

/// An environment of which one thread may have several read transactions.
pub(crate) type Env = heed::Env<WithoutTls>;

/// What an index should hold.
pub(crate) type Model = BTreeMap<ItemId, Vec<f32>>;

/// All keys and values of a database.
pub(crate) type Dump = Vec<(Vec<u8>, Vec<u8>)>;

pub(crate) fn new_env() -> (TempDir, Env) {
    new_env_of(1 << 30)
}

pub(crate) fn new_env_of(map_size_bytes: usize) -> (TempDir, Env) {
    let dir = tempfile::tempdir().unwrap();
    let env = open_env(dir.path(), map_size_bytes);
    (dir, env)
}

/// An environment in a folder of the test's own.
pub(crate) fn open_env(folder: &Path, map_size_bytes: usize) -> Env {
    // SAFETY: no one else has the map open or writes to the files.
    let env = unsafe {
        EnvOpenOptions::new()
            .read_txn_without_tls()
            .map_size(map_size_bytes)
            .max_dbs(4)
            .open(folder)
    };
    env.unwrap()
}

/// The unnamed database.
pub(crate) fn create<D: Distance>(env: &heed::Env<impl Sized>) -> voisin::Database<'_, D> {
    create_named(env, None)
}

pub(crate) fn create_named<'e, D: Distance>(
    env: &'e heed::Env<impl Sized>,
    name: Option<&str>,
) -> voisin::Database<'e, D> {
    let created = env.create_databases_and_commit(
        env.write_txn().unwrap(),
        |opener, wtxn| -> heed::Result<_> {
            opener.create_database(wtxn, name).map(CommitOrAbort::<_, ()>::Commit)
        },
    );
    created.unwrap().unwrap_commit()
}

/// The same database under another metric.
pub(crate) fn with_metric<E: Distance, D: Distance>(
    db: voisin::Database<'_, D>,
) -> voisin::Database<'_, E> {
    db.remap_data_type::<ValueCodec<E>>()
}

pub(crate) fn dump<D: Distance>(rtxn: &RoTxn<'_>, db: voisin::Database<'_, D>) -> Dump {
    let raw: Database<'_, Bytes, Bytes> = db.remap_types();
    let entries = raw
        .iter(rtxn)
        .unwrap()
        .map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())));
    entries.collect::<heed::Result<_>>().unwrap()
}

/// The keys and values of one index.
pub(crate) fn dump_of<D: Distance>(
    rtxn: &RoTxn<'_>,
    db: voisin::Database<'_, D>,
    index: u16,
) -> Dump {
    let mut dump = dump(rtxn, db);
    dump.retain(|(key, _)| key.starts_with(&index.to_be_bytes()));
    dump
}

/// All invariants of an index, as the crate and as the decoder of these tests see them; an index
/// that does not exist has no keys.
pub(crate) fn check<D: Distance>(rtxn: &RoTxn<'_>, db: voisin::Database<'_, D>, index: u16) {
    match voisin::check(rtxn, index, db) {
        Ok(findings) => assert!(findings.is_empty(), "index {index}: {findings:#?}"),
        Err(voisin::Error::MissingIndex(_)) => {
            return assert_eq!(dump_of(rtxn, db, index), [], "keys without metadata");
        }
        Err(error) => panic!("index {index}: {error}"),
    }
    decoder::decode(db.remap_types(), rtxn, index).verify();
}

/// As [`check`], and that the index holds exactly these items, bit for bit, by every way to ask.
pub(crate) fn check_holds<D: Distance>(
    rtxn: &RoTxn<'_>,
    db: voisin::Database<'_, D>,
    index: u16,
    model: &Model,
) {
    check(rtxn, db, index);
    let reader = match Reader::open(rtxn, index, db) {
        Ok(reader) => reader,
        Err(voisin::Error::MissingIndex(_)) => {
            return assert!(model.is_empty(), "there is no index for {} items", model.len());
        }
        Err(error) => panic!("index {index}: {error}"),
    };
    let stored: Vec<(ItemId, Vec<f32>)> =
        reader.iter(rtxn).unwrap().collect::<voisin::Result<_>>().unwrap();
    assert!(
        stored.iter().map(|(id, _)| id).eq(model.keys()),
        "the items, in the order of their ids"
    );
    for ((id, found), expected) in stored.iter().zip(model.values()) {
        assert_eq!(to_bits(found), to_bits(expected), "the vector of item {id}");
    }
    assert!(reader.item_ids(rtxn).unwrap().iter().eq(model.keys().copied()), "the ids");
    assert_eq!(reader.n_items(), model.len() as u64);
    assert_eq!(reader.is_empty(rtxn).unwrap(), model.is_empty());
}

pub(crate) fn to_bits(vector: &[f32]) -> Vec<u32> {
    vector.iter().map(|component| component.to_bits()).collect()
}

/// The randomness of a test. Its seed is shown if the test fails, and can be set.
pub(crate) fn rng() -> StdRng {
    StdRng::seed_from_u64(seed())
}

pub(crate) fn seed() -> u64 {
    let seed = std::env::var("VOISIN_TEST_SEED")
        .map_or(1, |seed| seed.parse().expect("VOISIN_TEST_SEED is a number"));
    println!("to repeat: VOISIN_TEST_SEED={seed}");
    seed
}

/// A metric with a definition that shares nothing with the crate's.
pub(crate) trait Metric: Distance {
    /// Whether distances between test vectors are computed without rounding.
    const IS_EXACT: bool = true;

    fn between(a: &[f32], b: &[f32]) -> f32;

    /// Called before items are added to an index that may have none.
    fn prepare(_writer: &Writer<'_, Self>, _wtxn: &mut RwTxn<'_>) {}
}

fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    assert_eq!(a.len(), b.len());
    let mut sum = 0.0;
    for i in 0..a.len() {
        sum += term(f64::from(a[i]), f64::from(b[i]));
    }
    sum
}

fn squared(a: &[f32], b: &[f32]) -> f32 {
    sum_of(a, b, |a, b| (a - b) * (a - b)) as f32
}

impl Metric for Euclidean {
    fn between(a: &[f32], b: &[f32]) -> f32 {
        squared(a, b)
    }
}

impl Metric for Euclidean<F16> {
    fn between(a: &[f32], b: &[f32]) -> f32 {
        squared(a, b)
    }
}

impl Metric for Euclidean<Bf16> {
    fn between(a: &[f32], b: &[f32]) -> f32 {
        squared(a, b)
    }
}

impl Metric for Euclidean<I8> {
    fn between(a: &[f32], b: &[f32]) -> f32 {
        squared(a, b)
    }

    /// A step of one, so that test vectors come back as they were.
    fn prepare(writer: &Writer<'_, Self>, wtxn: &mut RwTxn<'_>) {
        let ends = [vec![-128.0; writer.dimensions()], vec![127.0; writer.dimensions()]];
        writer.train(wtxn, &ends.concat()).unwrap();
    }
}

impl Metric for BinaryQuantizedEuclidean {
    fn between(a: &[f32], b: &[f32]) -> f32 {
        squared(a, b)
    }
}

impl Metric for Cosine {
    const IS_EXACT: bool = false;

    fn between(a: &[f32], b: &[f32]) -> f32 {
        let dot = |a, b| sum_of(a, b, |a, b| a * b);
        ((1.0 - dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())) / 2.0) as f32
    }
}

impl Metric for DotProduct {
    fn between(a: &[f32], b: &[f32]) -> f32 {
        (0.0 - sum_of(a, b, |a, b| a * b)) as f32
    }
}

impl Metric for Manhattan {
    fn between(a: &[f32], b: &[f32]) -> f32 {
        sum_of(a, b, |a, b| (a - b).abs()) as f32
    }
}

impl Metric for Hamming {
    fn between(a: &[f32], b: &[f32]) -> f32 {
        sum_of(a, b, |a, b| if a == b { 0.0 } else { 1.0 }) as f32 / a.len() as f32
    }
}

/// A metric of the user's own: the largest difference of any one component.
#[derive(Debug, Clone)]
pub(crate) enum Chebyshev {}

impl Distance for Chebyshev {
    type Codec = F32;

    fn name() -> &'static str {
        "chebyshev"
    }

    fn raw(a: VectorRef<'_, F32>, b: VectorRef<'_, F32>) -> f32 {
        a.iter().zip(b.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }
}

impl Metric for Chebyshev {
    fn between(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).fold(0.0, |largest, (a, b)| f32::max(largest, (a - b).abs()))
    }
}

/// Runs a function that is generic over the metric for each of the built-in ones and for a
/// user-defined one.
macro_rules! for_every_metric {
    ($run:ident) => {{
        use voisin::distances::{Cosine, DotProduct, Euclidean, Hamming, Manhattan};
        $run::<Euclidean>();
        $run::<Cosine>();
        $run::<DotProduct>();
        $run::<Manhattan>();
        $run::<Hamming>();
        $run::<$crate::common::Chebyshev>();
    }};
}
pub(crate) use for_every_metric;

pub(crate) fn is_binary<D: Distance>() -> bool {
    D::Codec::ID == Bits::ID
}

/// A random vector that the metric accepts, of small whole components.
pub(crate) fn vector<D: Distance>(rng: &mut StdRng, dimensions: usize) -> Vec<f32> {
    if D::Codec::ID == Signs::ID {
        return (0..dimensions).map(|_| if rng.random_bool(0.5) { 1.0 } else { -1.0 }).collect();
    }
    let components = if is_binary::<D>() { 0..=1 } else { -4..=4 };
    let mut vector: Vec<f32> =
        (0..dimensions).map(|_| rng.random_range(components.clone()) as f32).collect();
    if vector.iter().all(|component| *component == 0.0) {
        vector[0] = 1.0;
    }
    vector
}

pub(crate) fn vectors<D: Distance>(
    rng: &mut StdRng,
    ids: impl IntoIterator<Item = ItemId>,
    dimensions: usize,
) -> Model {
    ids.into_iter().map(|id| (id, vector::<D>(rng, dimensions))).collect()
}

pub(crate) fn add<D: Distance>(writer: &Writer<'_, D>, wtxn: &mut RwTxn<'_>, items: &Model) {
    for (id, vector) in items {
        writer.add_item(wtxn, *id, vector).unwrap();
    }
}

/// A small graph.
pub(crate) fn build<D: Distance>(writer: &Writer<'_, D>, wtxn: &mut RwTxn<'_>) {
    writer
        .builder(&mut StdRng::seed_from_u64(42))
        .ef_construction(40)
        .codes_from(1)
        .build::<8, 16>(wtxn)
        .unwrap();
}

/// A new index of these items, built and committed.
pub(crate) fn build_index<D: Distance>(
    env: &Env,
    db: voisin::Database<'_, D>,
    index: u16,
    items: &Model,
) {
    let dimensions = items.values().next().unwrap().len();
    let writer = Writer::new(db, index, dimensions);
    let mut wtxn = env.write_txn().unwrap();
    add(&writer, &mut wtxn, items);
    build(&writer, &mut wtxn);
    wtxn.commit().unwrap();
}

/// Everything that may be found by a query, the nearest first, ties by id.
pub(crate) struct Oracle<D> {
    pub(crate) all: Vec<(ItemId, f32)>,
    metric: PhantomData<D>,
}

impl<D: Metric> Oracle<D> {
    pub(crate) fn new(model: &Model, query: &[f32], accepts: impl Fn(ItemId) -> bool) -> Self {
        let accepted = model.iter().filter(|(id, _)| accepts(**id));
        let mut all: Vec<_> =
            accepted.map(|(id, vector)| (*id, D::between(query, vector))).collect();
        all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        Self { all, metric: PhantomData }
    }

    fn is_same(found: f32, expected: f32) -> bool {
        if D::IS_EXACT {
            found.to_bits() == expected.to_bits()
        } else {
            (found - expected).abs() <= 2e-6
        }
    }

    /// What holds for every answer, however approximate: `k` results or all there are, each allowed
    /// and once, at its true distance, in order.
    #[track_caller]
    pub(crate) fn assert_plausible(&self, k: usize, found: &[(ItemId, f32)], what: &str) {
        assert_eq!(
            found.len(),
            k.min(self.all.len()),
            "{what}: number of results of {}, k {k}",
            self.all.len()
        );
        // Where distances are rounded, those that are equal in `f32` may differ in `f64`.
        let is_sorted = found.is_sorted_by(|a, b| {
            a.1 < b.1 || a.1.to_bits() == b.1.to_bits() && (a.0 < b.0 || !D::IS_EXACT)
        });
        assert!(is_sorted, "{what}: results ascend by distance, ties by id: {found:?}");
        let expected: BTreeMap<ItemId, f32> = self.all.iter().copied().collect();
        for (position, (id, distance)) in found.iter().enumerate() {
            let Some(expected) = expected.get(id) else {
                panic!("{what}: item {id} is no possible result")
            };
            assert!(
                Self::is_same(*distance, *expected),
                "{what}: item {id} is at {expected}, not {distance}"
            );
            assert!(
                !found[..position].iter().any(|(other, _)| other == id),
                "{what}: item {id} is there twice"
            );
        }
    }

    /// That nothing nearer exists than what was found.
    #[track_caller]
    pub(crate) fn assert_exact(&self, k: usize, found: &[(ItemId, f32)], what: &str) {
        self.assert_plausible(k, found, what);
        for (position, (found, expected)) in found.iter().zip(&self.all).enumerate() {
            assert!(
                Self::is_same(found.1, expected.1),
                "{what}: result {position} is {found:?}, not {expected:?}"
            );
            assert!(
                !D::IS_EXACT || found.0 == expected.0,
                "{what}: result {position} is {found:?}, not {expected:?}"
            );
        }
    }
}
