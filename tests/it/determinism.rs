//! One seed makes one graph, byte for byte, and a query has one answer, for any number of threads.
//!
//! Tests that assert how many threads have worked use thread counts that no other test builds or
//! searches with: tests with the same count share the helpers, and may get fewer.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rayon::ThreadPoolBuilder;
use voisin::Phase;
use voisin::Reader;
use voisin::Writer;
use voisin::threads::{Used, take_most_used};

use crate::common::{
    Dump, Metric, Model, add, check, create, dump, for_every_metric, new_env, rng, vector, vectors,
};

const DIMENSIONS: usize = 24;

/// What is done to an index, commit by commit.
struct History {
    first: Model,
    /// Added to what is built, so that a build only links them.
    added: Model,
    /// Replaced and deleted, so that a build also takes out.
    replaced: Model,
    deleted: std::ops::Range<u32>,
}

impl History {
    fn new<D: Metric>(rng: &mut StdRng) -> Self {
        let mut first = vectors::<D>(rng, 0..900, DIMENSIONS);
        // Ties are decided the same way, too.
        let twins: Model =
            first.iter().take(100).map(|(id, vector)| (id + 900, vector.clone())).collect();
        first.extend(twins);
        let (added, replaced) =
            (vectors::<D>(rng, 2000..2200, DIMENSIONS), vectors::<D>(rng, 500..600, DIMENSIONS));
        Self { first, added, replaced, deleted: 0..80 }
    }

    /// The whole database after each build, made by `threads` threads, which must have worked.
    fn run_on<D: Metric>(&self, seed: u64, threads: usize) -> Vec<Dump> {
        let (dumps, used) = self.run::<D>(seed, threads);
        let what = format!("{} on {threads} threads: {used:?}", D::name());
        assert_eq!((used.len(), used[0].asked), (dumps.len(), threads), "{what}");
        assert!(used.iter().all(|used| used.asked <= threads), "{what}");
        assert_eq!(used[0].worked > 1, threads > 1, "{what}");
        dumps
    }

    /// The whole database after each build, made by at most `threads` threads, and how many those
    /// were.
    fn run<D: Metric>(&self, seed: u64, threads: usize) -> (Vec<Dump>, Vec<Used>) {
        let (_dir, env) = new_env();
        let db = create::<D>(&env);
        let writer = Writer::<D>::new(db, 5, DIMENSIONS);
        let mut rng = StdRng::seed_from_u64(seed);
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (mut dumps, mut used) = (Vec::new(), Vec::new());
        for build in 0..6 {
            let mut wtxn = env.write_txn().unwrap();
            match build {
                0 => add(&writer, &mut wtxn, &self.first),
                1 => add(&writer, &mut wtxn, &self.added),
                2 => {
                    add(&writer, &mut wtxn, &self.replaced);
                    assert_eq!(writer.del_items(&mut wtxn, self.deleted.clone()).unwrap(), 80);
                }
                // So little that the build takes another path through memory.
                3 => writer.add_item(&mut wtxn, 3000, &self.first[&100]).unwrap(),
                _ => {}
            }
            let mut run = |threads| {
                let mut builder = writer.builder(&mut rng);
                builder.ef_construction(30).alpha(1.1).threads(threads).progress(|progress| {
                    // Long enough at the beginning for all threads to have woken up.
                    if build == 0 && progress.phase == Phase::Linking && progress.done < 200 {
                        std::thread::sleep(std::time::Duration::from_micros(100));
                    }
                });
                match build {
                    0..4 => builder.build::<6, 12>(&mut wtxn).unwrap(),
                    4 => builder.optimize::<6, 12>(&mut wtxn).unwrap(),
                    _ => builder.force_rebuild::<6, 12>(&mut wtxn).unwrap(),
                }
                take_most_used()
            };
            _ = take_most_used();
            // Told how many, and left to find out.
            used.push(if build % 2 == 1 {
                run(threads)
            } else {
                pool.install(|| {
                    _ = take_most_used();
                    run(0)
                })
            });
            wtxn.commit().unwrap();
            let rtxn = env.read_txn().unwrap();
            check(&rtxn, db, 5);
            dumps.push(dump(&rtxn, db));
        }
        (dumps, used)
    }
}

fn assert_same(a: &[Dump], b: &[Dump], what: &str) {
    for (build, (a, b)) in a.iter().zip(b).enumerate() {
        assert!(
            a.iter().map(|(key, _)| key).eq(b.iter().map(|(key, _)| key)),
            "{what}, build {build}: the keys differ"
        );
        for ((key, a), (_, b)) in a.iter().zip(b) {
            assert_eq!(a, b, "{what}, build {build}: the value of key {key:?}");
        }
    }
}

#[test]
fn the_graph_is_the_same_for_any_number_of_threads() {
    fn run<D: Metric>() {
        let history = History::new::<D>(&mut rng());
        let alone = history.run_on::<D>(7, 1);
        for threads in [5, 7, 7] {
            assert_same(
                &alone,
                &history.run_on::<D>(7, threads),
                &format!("{}, {threads} threads", D::name()),
            );
        }
    }
    for_every_metric!(run);
}

#[test]
fn another_seed_makes_another_graph_of_the_same_items() {
    type D = voisin::distances::Euclidean;
    let history = History::new::<D>(&mut rng());
    let [(seven, _), (eight, _)] = [7, 8].map(|seed| history.run::<D>(seed, 2));
    // LINKS are of kind 4, VECTORS and TAIL of kinds 1 and 2.
    let of_kinds = |dump: &Dump, kinds: &[u8]| -> Dump {
        dump.iter().filter(|(key, _)| kinds.contains(&key[2])).cloned().collect()
    };
    // Where vectors lie depends on the graph once it is optimized.
    for (seven, eight) in seven.iter().zip(&eight).take(4) {
        assert_ne!(of_kinds(seven, &[4]), of_kinds(eight, &[4]));
        assert_eq!(of_kinds(seven, &[1, 2]), of_kinds(eight, &[1, 2]));
    }
}

#[test]
fn a_query_has_the_same_answer_for_any_number_of_threads() {
    type D = voisin::distances::Euclidean;
    let mut rng = rng();
    let (_dir, env) = new_env();
    let db = create::<D>(&env);
    // More than the megabyte from which a scan is shared between threads.
    let items = vectors::<D>(&mut rng, 0..5000, 100);
    let writer = Writer::<D>::new(db, 0, 100);
    let mut wtxn = env.write_txn().unwrap();
    add(&writer, &mut wtxn, &items);
    assert_eq!(writer.del_items(&mut wtxn, (0..5000).step_by(9)).unwrap(), 556);
    wtxn.commit().unwrap();
    let rtxn = env.read_txn().unwrap();
    let query = vector::<D>(&mut rng, 100);
    let answers: Vec<_> = [1, 2, 7]
        .into_iter()
        .map(|threads| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let reader = Reader::<D>::open(&rtxn, 0, db).unwrap();
            let warm = reader.warm(&rtxn).unwrap();
            pool.install(|| {
                _ = take_most_used();
                let exact = warm.nns(100).exact().by_vector(&query).unwrap();
                assert!(threads == 2 || take_most_used().asked == threads);
                (
                    exact,
                    warm.nns(100).ef_search(500).by_vector(&query).unwrap(),
                    warm.nns(5000).by_item(1).unwrap(),
                )
            })
        })
        .collect();
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
}
