//! A program written for hannoy 0.3 runs on voisin: its source is the same but for the name of the
//! crate.
//!
//! `port/program.rs` is compiled twice, once for each, and what the two are told is compared: the
//! same facts, the same items in the same order, at the same distances. So few items are stored
//! that hannoy, too, sees all of them: its answers are exact.
//!
//! Distances follow the same conventions: Euclidean squared, cosine from 0 to 1, Manhattan as a
//! sum. Only Hamming's differ: a share of the dimensions here, of the dimensions rounded up to
//! whole words of 64 bits there.

use std::collections::BTreeMap;

use heed::{CommitOrAbort, EnvOpenOptions};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::ItemId;

/// The program as it was written.
#[path = "port"]
mod on_hannoy {
    pub(super) use ::hannoy as engine;
    pub(super) use ::peers_roaring as roaring;

    #[path = "program.rs"]
    pub(super) mod program;

    fn item_ids<D: engine::Distance>(
        reader: &engine::Reader<'_, D>,
        _rtxn: &heed::RoTxn<'_>,
    ) -> engine::Result<Vec<engine::ItemId>> {
        Ok(reader.item_ids().iter().collect())
    }
}

/// The same for voisin, with what docs/coming-from-hannoy.md lists.
#[path = "port"]
#[allow(clippy::duplicate_mod, reason = "one source for two crates is the point")]
mod on_voisin {
    pub(super) use ::voisin as engine;
    pub(super) use ::voisin::roaring;

    #[path = "program.rs"]
    pub(super) mod program;

    fn item_ids<D: engine::Distance>(
        reader: &engine::Reader<'_, D>,
        rtxn: &heed::RoTxn<'_>,
    ) -> engine::Result<Vec<engine::ItemId>> {
        Ok(reader.item_ids(rtxn)?.iter().collect())
    }
}

/// An environment of its own, as a program opens it.
fn with_env<T>(run: impl FnOnce(&heed::Env) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    // SAFETY: the folder is new, so no one else has its map open or writes to its files.
    let env = unsafe { EnvOpenOptions::new().map_size(1 << 28).open(folder.path()) }.unwrap();
    run(&env)
}

/// Runs the program on both, on one thread, so that hannoy's graph is the same every time. `scale`:
/// what its distances must be multiplied with.
fn assert_same<H: hannoy::Distance, V: voisin::Distance>(
    dimensions: usize,
    scale: f32,
    component: impl Fn(&mut StdRng) -> f32,
) {
    let mut rng = StdRng::seed_from_u64(17);
    let mut vector = || -> Vec<f32> { (0..dimensions).map(|_| component(&mut rng)).collect() };
    let items: BTreeMap<ItemId, Vec<f32>> = (0..30).map(|id| (id, vector())).collect();
    let query = vector();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let theirs =
        pool.install(|| with_env(|env| on_hannoy::program::run::<H>(env, &items, &query).unwrap()));
    let ours =
        pool.install(|| with_env(|env| on_voisin::program::run::<V>(env, &items, &query).unwrap()));

    assert!(theirs.facts.len() > 100 && theirs.answers.len() > 40, "the program ran to its end");
    assert_eq!(theirs.facts.len(), ours.facts.len());
    for (theirs, ours) in theirs.facts.iter().zip(&ours.facts) {
        assert_eq!(theirs, ours);
    }
    assert_eq!(theirs.answers.len(), ours.answers.len());
    for ((step, theirs), (_, ours)) in theirs.answers.iter().zip(&ours.answers) {
        let ids = |answer: &[(ItemId, f32)]| answer.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        assert_eq!(ids(theirs), ids(ours), "{step}: hannoy {theirs:?}, voisin {ours:?}");
        for ((id, theirs), (_, ours)) in theirs.iter().zip(ours) {
            assert!(
                (theirs * scale - ours).abs() <= 1e-5 * ours.abs().max(1.0),
                "{step}, item {id}: hannoy {theirs}, voisin {ours}"
            );
        }
    }
}

fn real(rng: &mut StdRng) -> f32 {
    rng.random_range(-1.0..1.0)
}

fn bit(rng: &mut StdRng) -> f32 {
    f32::from(u8::from(rng.random_bool(0.5)))
}

#[test]
fn a_program_for_hannoy_is_told_the_same_by_voisin_under_every_metric_they_share() {
    assert_same::<hannoy::distances::Euclidean, voisin::distances::Euclidean>(20, 1.0, real);
    assert_same::<hannoy::distances::Cosine, voisin::distances::Cosine>(20, 1.0, real);
    assert_same::<hannoy::distances::Manhattan, voisin::distances::Manhattan>(20, 1.0, real);
    // Whole words of 64 bits, and not.
    assert_same::<hannoy::distances::Hamming, voisin::distances::Hamming>(128, 1.0, bit);
    assert_same::<hannoy::distances::Hamming, voisin::distances::Hamming>(80, 128.0 / 80.0, bit);
    // Where the root of the dimensions is not exact, hannoy has an item a little nearer than 0 to
    // itself, and names it last.
    for dimensions in [256, 250] {
        assert_same::<
            hannoy::distances::BinaryQuantizedEuclidean,
            voisin::distances::BinaryQuantizedEuclidean,
        >(dimensions, 1.0, real);
        assert_same::<
            hannoy::distances::BinaryQuantizedCosine,
            voisin::distances::BinaryQuantizedCosine,
        >(dimensions, 1.0, real);
        assert_same::<
            hannoy::distances::BinaryQuantizedManhattan,
            voisin::distances::BinaryQuantizedManhattan,
        >(dimensions, 1.0, real);
    }
}

/// A database of either, and a writer for its index 0.
macro_rules! with_writer {
    (
        $engine:ident,
        $metric:ident,
        $dimensions:expr,
        |$env:ident, $db:ident, $writer:ident| $run:block
    ) => {
        with_env(|$env| {
            let create = |wtxn| {
                $env.create_databases_and_commit(wtxn, |o, wtxn| {
                    o.create_database(wtxn, None).map(CommitOrAbort::<_, ()>::Commit)
                })
            };
            let $db: $engine::Database<'_, $engine::distances::$metric> =
                create($env.write_txn().unwrap()).unwrap().unwrap_commit();
            let $writer = $engine::Writer::new($db, 0, $dimensions);
            $run
        })
    };
}

#[test]
fn what_the_readme_says_hannoy_does_otherwise_it_does_otherwise() {
    let mut rng = StdRng::seed_from_u64(1);
    with_writer!(hannoy, Cosine, 2, |env, db, writer| {
        let mut wtxn = env.write_txn().unwrap();
        assert!(
            writer.need_build(&wtxn).unwrap(),
            "an index that was never built needs it, empty or not"
        );
        writer.add_item(&mut wtxn, 1, &[0.0, 0.0]).unwrap();
        writer.add_item(&mut wtxn, 2, &[-1.0, 0.0]).unwrap();
        assert!(
            matches!(hannoy::Reader::open(&wtxn, 0, db), Err(hannoy::Error::MissingMetadata(0))),
            "it is not read before its first build"
        );
        writer.builder(&mut rng).build::<8, 16>(&mut wtxn).unwrap();
        writer.builder(&mut rng).force_rebuild::<16, 32>(&mut wtxn).unwrap();
        let reader = hannoy::Reader::open(&wtxn, 0, db).unwrap();
        let found = reader.nns(2).by_vector(&wtxn, &[1.0, 0.0]).unwrap().into_nns();
        assert_eq!(found, [(1, 0.0), (2, 1.0)], "a zero vector is near everything");
        let [both, none] = [1..3, 5..6].map(peers_roaring::RoaringBitmap::from_iter);
        let itself = reader.nns(2).candidates(&both).by_item(&wtxn, 2).unwrap().unwrap().into_nns();
        assert!(itself.iter().any(|(id, _)| *id == 2), "among few candidates an item finds itself");
        assert!(reader.nns(2).candidates(&none).by_item(&wtxn, 2).unwrap().is_none());
        writer.add_item(&mut wtxn, 3, &[1.0, 0.0]).unwrap();
        assert!(matches!(hannoy::Reader::open(&wtxn, 0, db), Err(hannoy::Error::NeedBuild(0))));
    });
    with_writer!(voisin, Cosine, 2, |env, db, writer| {
        let mut wtxn = env.write_txn().unwrap();
        assert!(!writer.need_build(&wtxn).unwrap());
        assert!(matches!(
            writer.add_item(&mut wtxn, 1, &[0.0, 0.0]),
            Err(voisin::Error::InvalidItem { item: 1, .. })
        ));
        writer.add_item(&mut wtxn, 1, &[0.0, 1.0]).unwrap();
        writer.add_item(&mut wtxn, 2, &[-1.0, 0.0]).unwrap();
        assert_eq!(voisin::Reader::open(&wtxn, 0, db).unwrap().n_items(), 2);
        writer.builder(&mut rng).build::<8, 16>(&mut wtxn).unwrap();
        let other = writer.builder(&mut rng).force_rebuild::<16, 32>(&mut wtxn);
        assert!(matches!(other, Err(voisin::Error::ConnectivityMismatch { .. })));
        let reader = voisin::Reader::open(&wtxn, 0, db).unwrap();
        let [both, none] = [1..3, 5..6].map(voisin::roaring::RoaringBitmap::from_iter);
        assert_eq!(
            reader.nns(2).candidates(&both).by_item(&wtxn, 2).unwrap().unwrap().into_nns(),
            [(1, 0.5)]
        );
        assert!(
            reader
                .nns(2)
                .candidates(&none)
                .by_item(&wtxn, 2)
                .unwrap()
                .unwrap()
                .into_nns()
                .is_empty()
        );
        writer.add_item(&mut wtxn, 3, &[1.0, 0.0]).unwrap();
        assert_eq!(voisin::Reader::open(&wtxn, 0, db).unwrap().n_items(), 3);
    });
    // Components that are neither 0 nor 1.
    with_writer!(hannoy, Hamming, 3, |env, _db, writer| {
        let mut wtxn = env.write_txn().unwrap();
        writer.add_item(&mut wtxn, 1, &[0.3, -0.3, 0.0]).unwrap();
        assert_eq!(writer.item_vector(&wtxn, 1).unwrap(), Some(vec![1.0, 0.0, 0.0]));
    });
    with_writer!(voisin, Hamming, 3, |env, _db, writer| {
        let mut wtxn = env.write_txn().unwrap();
        assert!(matches!(
            writer.add_item(&mut wtxn, 1, &[0.3, -0.3, 0.0]),
            Err(voisin::Error::InvalidItem { item: 1, .. })
        ));
    });
}
