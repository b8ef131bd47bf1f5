//! Codes are trained on what an index holds, not on what came first.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::distances::Euclidean;
use voisin::{Codes, ItemId, Options};

use crate::{Vectors, create};

const DIMENSIONS: usize = 48;

/// Nearly normally distributed around `center` in every component: the sum of 6 uniform numbers.
fn around(rng: &mut StdRng, center: f32) -> Vec<f32> {
    let noise = |rng: &mut StdRng| (0..6).map(|_| rng.random_range(-1.0..1f32)).sum::<f32>();
    (0..DIMENSIONS).map(|_| center + noise(rng)).collect()
}

/// The share of the 10 nearest of 100 queries that walks find, by codes or by vectors.
fn recall(index: &Vectors, center: f32, codes: bool) -> f64 {
    let snapshot = index.snapshot().unwrap();
    let mut rng = StdRng::seed_from_u64(99);
    let mut found = 0;
    for _ in 0..100 {
        let query = around(&mut rng, center);
        let exact = snapshot.search(10).exact().codes(false).by_vector(&query).unwrap();
        // An exact search by codes has the same answer, whatever they are trained on.
        let by_codes = snapshot.search(10).exact().by_vector(&query).unwrap();
        assert_eq!(by_codes.nns, exact.nns);
        let walked =
            snapshot.search(10).ef_search(64).walk_graph().codes(codes).by_vector(&query).unwrap();
        found += walked.nns.iter().filter(|found| exact.nns.contains(found)).count();
    }
    found as f64 / 1000.0
}

/// The first commit was one item, and the codes were trained on it: a zero vector. 8 000 vectors
/// around (100, 100, ...) followed. Walks by codes found a tenth of the neighbors, and `drift` was
/// 1.
#[test]
fn codes_are_not_trained_on_the_first_item_alone() {
    let (_folder, index) = create::<Euclidean>(Options::new(DIMENSIONS).codes(Codes::Bits4));
    index.write(|batch| batch.add(0, &[0.0; DIMENSIONS])).unwrap();
    assert_eq!(index.stats().unwrap().codes, None, "one vector has no spread to learn");
    index.write(|batch| batch.delete(0)).unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    let rows: Vec<_> = (1..8001).map(|item: ItemId| (item, around(&mut rng, 100.0))).collect();
    index.write(|batch| batch.add_items_from(rows.iter().cloned())).unwrap();
    let codes = index.stats().unwrap().codes.unwrap();
    assert_eq!(codes.trained_on, 8000);
    assert!((0.9..1.1).contains(&codes.drift()), "{codes:?}");
    let [by_codes, by_vectors] = [true, false].map(|codes| recall(&index, 100.0, codes));
    assert!(by_codes > by_vectors - 0.05, "{by_codes} beside {by_vectors}");
    assert_eq!(index.check().unwrap(), []);
}

/// 1 200 vectors around the origin had been coded when thousands far away were added, a few in each
/// commit. The codes kept their first center for ever.
#[test]
fn codes_follow_the_vectors_a_few_blocks_with_every_commit() {
    let (_folder, index) = create::<Euclidean>(Options::new(DIMENSIONS).codes(Codes::Bits4));
    let mut rng = StdRng::seed_from_u64(2);
    let rows: Vec<_> = (0..1200).map(|item: ItemId| (item, around(&mut rng, 0.0))).collect();
    index.write(|batch| batch.add_items_from(rows.iter().cloned())).unwrap();
    let trained = index.stats().unwrap().codes.unwrap();
    assert_eq!((trained.trained_on, trained.older), (1200, 0));
    let mut next = 1200;
    let (mut older, mut trainings) = (Vec::new(), vec![1200]);
    while next < 12_000 {
        let rows: Vec<_> = (next..next + 100).map(|item| (item, around(&mut rng, 8.0))).collect();
        index
            .write(|batch| {
                batch.add_items_from(rows.iter().cloned())?;
                // A slot of a block that may not have been recoded yet is reused.
                batch.delete(next / 2)
            })
            .unwrap();
        next += 100;
        let codes = index.stats().unwrap().codes.unwrap();
        older.push(codes.older);
        trainings.push(codes.trained_on);
        if codes.older > 0 {
            recall(&index, 8.0, true);
            if next % 300 == 0 {
                assert_eq!(index.check().unwrap(), [], "with {next} items");
            }
        }
    }
    let codes = index.stats().unwrap().codes.unwrap();
    assert!(codes.trained_on > 1200 && codes.drift() < 1.5, "{codes:?}");
    assert!(older.iter().any(|older| *older > 0), "all codes were remade in one commit");
    trainings.dedup();
    assert_eq!(trainings.len(), 4, "{trainings:?}");
    let per_block = 32_768 / (DIMENSIONS as u64 / 2 + 12);
    for pair in older.windows(2).filter(|pair| pair[0] > pair[1]) {
        assert!(pair[0] - pair[1] <= 4 * per_block, "{older:?}");
    }
    let [by_codes, by_vectors] = [true, false].map(|codes| recall(&index, 8.0, codes));
    assert!(by_codes > by_vectors - 0.05, "{by_codes} beside {by_vectors}");
    assert_eq!(index.check().unwrap(), []);
}

/// An index doubled, with vectors like those before: recoding it would change nothing.
#[test]
fn codes_stay_as_they_are_while_the_vectors_are_alike() {
    let (_folder, index) = create::<Euclidean>(Options::new(DIMENSIONS).codes(Codes::Bits4));
    let mut rng = StdRng::seed_from_u64(3);
    for first in (0..9000).step_by(1500) {
        let rows: Vec<_> =
            (first..first + 1500).map(|item: ItemId| (item, around(&mut rng, 5.0))).collect();
        index.write(|batch| batch.add_items_from(rows.iter().cloned())).unwrap();
        let codes = index.stats().unwrap().codes.unwrap();
        assert_eq!((codes.trained_on, codes.older), (1500, 0));
    }
}

/// The training sample was one vector over and over. `drift` was 1, whatever came then.
#[test]
fn the_drift_from_a_sample_without_spread_is_infinite() {
    let (_folder, index) = create::<Euclidean>(Options::new(DIMENSIONS).codes(Codes::Bits8));
    index
        .write(|batch| batch.add_items_from((0..1000).map(|item| (item, [7.0; DIMENSIONS]))))
        .unwrap();
    assert_eq!(index.stats().unwrap().codes.unwrap().drift(), 1.0);
    let mut rng = StdRng::seed_from_u64(4);
    let rows: Vec<_> = (1000..1010).map(|item| (item, around(&mut rng, 0.0))).collect();
    index.write(|batch| batch.add_items_from(rows.iter().cloned())).unwrap();
    assert_eq!(index.stats().unwrap().codes.unwrap().drift(), f64::INFINITY);
}

/// Two runs of the same commits: what decides to train again is counted, not timed.
#[test]
fn the_same_commits_give_the_same_codes() {
    let run = || {
        let (_folder, index) = create::<Euclidean>(Options::new(DIMENSIONS).codes(Codes::Bits1));
        let mut rng = StdRng::seed_from_u64(5);
        for (first, count, center) in [(0, 1100, 0.0), (1100, 3000, 9.0), (4100, 50, 9.0)] {
            let rows: Vec<_> = (first..first + count)
                .map(|item: ItemId| (item, around(&mut rng, center)))
                .collect();
            index.write(|batch| batch.add_items_from(rows.iter().cloned())).unwrap();
        }
        let codes = index.stats().unwrap().codes.unwrap();
        (codes, index.snapshot().unwrap().search(20).by_vector(&[9.0; DIMENSIONS]).unwrap().nns)
    };
    let first = run();
    assert!(first.0.trained_on > 1100, "{:?}", first.0);
    assert_eq!(run(), first);
}
