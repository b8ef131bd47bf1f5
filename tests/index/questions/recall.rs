//! Recall as a goal: the calibration that builds keep, and what is measured and explained.

use std::collections::HashSet;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::distances::{Cosine, Distance, DotProduct, Euclidean};
use voisin::{Codes, Error, Index, ItemId, Options, Snapshot, Strategy};

use super::World;

const DIMENSIONS: usize = 16;
const GOALS: [f64; 3] = [0.85, 0.9, 0.97];

/// A vector around one of 30 centers.
fn vector(rng: &mut StdRng) -> Vec<f32> {
    let center = rng.random_range(0..30u32);
    (0..DIMENSIONS as u32)
        .map(|at| ((center * 13 + at * 7) % 11) as f32 + rng.random_range(-6.0f32..6.0))
        .collect()
}

fn vectors(seed: u64, count: usize) -> Vec<Vec<f32>> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(|_| vector(&mut rng)).collect()
}

/// An index whose graph is so thin that recall depends on `ef`.
fn index<D: Distance>(options: Options, items: &[Vec<f32>]) -> (tempfile::TempDir, Index<D>) {
    let folder = tempfile::tempdir().unwrap();
    let options = options.m(6).m0(12).ef_construction(40);
    let index = Index::<D>::create(folder.path().join("vectors"), options).unwrap();
    index.load((0..).zip(items), |_| {}).unwrap();
    (folder, index)
}

fn ef<D: Distance>(snapshot: &Snapshot<D>, k: usize, goal: f64) -> usize {
    snapshot.search(k).recall(goal).explain(&[0.5; DIMENSIONS]).unwrap().ef_search
}

/// The recall of queries that are not in the index.
fn recall<D: Distance>(snapshot: &Snapshot<D>, k: usize, goal: f64) -> f64 {
    let queries: Vec<f32> = vectors(77, 200).concat();
    let nearest = snapshot.search(k).exact().by_vectors(&queries).unwrap();
    let found = snapshot.search(k).walk_graph().recall(goal).by_vectors(&queries).unwrap();
    let hits = found.iter().zip(&nearest).map(|(found, nearest)| {
        let nearest: HashSet<ItemId> = nearest.nns.iter().map(|(item, _)| *item).collect();
        found.nns.iter().filter(|(item, _)| nearest.contains(item)).count()
    });
    hits.sum::<usize>() as f64 / (k * nearest.len()) as f64
}

fn is_reached<D: Distance>(options: &Options) {
    let (_folder, index) = index::<D>(options.clone(), &vectors(1, 6000));
    let check = |index: &Index<D>, shortfall: f64| {
        let snapshot = index.snapshot().unwrap();
        for k in [1, 10, 40] {
            let efs = GOALS.map(|goal| ef(&snapshot, k, goal));
            assert!(efs.is_sorted() && efs[0] < efs[2], "k {k}: {efs:?}");
            for goal in GOALS {
                let reached = recall(&snapshot, k, goal);
                // One neighbor of each of 150 queries tells a share to within a few hundredths.
                let chance = if k == 1 { 0.08 } else { 0.0 };
                assert!(reached >= goal - shortfall - chance, "k {k}, {goal}: {reached}");
                let measured = snapshot.search(k).walk_graph().recall(goal).measure_recall(150);
                let measured = measured.unwrap();
                assert_eq!(measured.queries, 150);
                let likely = measured.low - 0.04..measured.high + 0.04 + chance;
                assert!(likely.contains(&reached), "k {k}, {goal}: {reached}, {measured:?}");
            }
        }
    };
    check(&index, 0.04);
    // Grown by commits too small to measure again, and by one that is not.
    for (nth, items) in vectors(2, 1500).chunks(150).enumerate() {
        index
            .write(|batch| batch.add_items_from((10_000 + 150 * nth as u32..).zip(items)))
            .unwrap();
    }
    check(&index, 0.04);
    index.write(|batch| batch.add_items_from((20_000..).zip(vectors(3, 7500)))).unwrap();
    check(&index, 0.04);
    assert_eq!(index.check().unwrap(), []);
}

#[test]
fn a_goal_is_reached_by_queries_that_are_not_in_the_index() {
    is_reached::<Euclidean>(&Options::new(DIMENSIONS));
    is_reached::<Cosine>(&Options::new(DIMENSIONS).codes(Codes::Bits4));
    is_reached::<DotProduct>(&Options::new(DIMENSIONS).codes(Codes::Bits8));
}

/// What is measured is committed: another handle knows it, a compaction keeps it, and without a
/// graph it is gone.
#[test]
fn the_calibration_is_in_the_index() {
    let (_folder, index) = index::<Euclidean>(Options::new(DIMENSIONS), &vectors(1, 3000));
    let before = ef(&index.snapshot().unwrap(), 10, 0.9);
    assert!((10..300).contains(&before));
    let copy = tempfile::tempdir().unwrap();
    index.copy_to(copy.path()).unwrap();
    let copied = Index::<Euclidean>::open(copy.path(), Options::default()).unwrap();
    assert_eq!(ef(&copied.snapshot().unwrap(), 10, 0.9), before);
    copied.optimize().unwrap();
    assert!(ef(&copied.snapshot().unwrap(), 10, 0.9).abs_diff(before) <= before / 3);
    copied.force_rebuild().unwrap();
    copied.calibrate().unwrap();
    assert!(ef(&copied.snapshot().unwrap(), 10, 0.9).abs_diff(before) <= before / 3);
    copied.write(|batch| batch.delete_items(0..3000)).unwrap();
    assert_eq!((copied.check().unwrap(), copied.stats().unwrap().items), (vec![], 0));
    copied.calibrate().unwrap();
    // Too few to measure by.
    copied.write(|batch| batch.add_items_from((0..7).zip(vectors(4, 7)))).unwrap();
    copied.calibrate().unwrap();
    assert_eq!(copied.search(9).recall(0.9).by_vector(&[0.5; DIMENSIONS]).unwrap().nns.len(), 7);
    assert_eq!(copied.check().unwrap(), []);
    copied.write(|batch| batch.delete_items(0..7)).unwrap();
    let nothing = copied.search(10).recall(0.9).by_vector(&[0.5; DIMENSIONS]).unwrap();
    assert_eq!((nothing.nns.len(), nothing.is_complete()), (0, true));
}

/// Other codes find less or more by the same `ef`.
#[test]
fn other_codes_are_measured_anew() {
    let (_folder, index) = index::<Cosine>(Options::new(DIMENSIONS), &vectors(1, 6000));
    let before = ef(&index.snapshot().unwrap(), 10, 0.9);
    for codes in [Some(Codes::Bits1), Some(Codes::Bits8), None] {
        index.write(|batch| batch.set_codes(codes)).unwrap();
        let snapshot = index.snapshot().unwrap();
        let reached = recall(&snapshot, 10, 0.9);
        assert!(reached >= 0.86, "{codes:?}: {reached}");
        if codes == Some(Codes::Bits1) {
            assert!(ef(&snapshot, 10, 0.9) > 2 * before, "one bit tells little");
        }
    }
    assert_eq!(index.check().unwrap(), []);
}

/// What was never measured is searched exactly, until it is.
#[test]
fn an_index_that_was_never_measured_is_searched_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(DIMENSIONS).m(4).m0(8);
    let index = Index::<Euclidean>::create(folder.path().join("vectors"), options).unwrap();
    let items = vectors(1, 2000);
    // No build links all.
    index
        .write(|batch| {
            batch.link_later();
            batch.add_items_from((0..).zip(&items))
        })
        .unwrap();
    let query = &items[3];
    let found = index.search(5).recall(0.5).by_vector(query).unwrap();
    assert_eq!((found.strategy, found.is_complete()), (Strategy::All, true));
    index.link().unwrap();
    let found = index.search(5).recall(0.5).walk_graph().by_vector(query).unwrap();
    assert!(found.strategy == Strategy::Graph && found.lists > 0 && found.nns[0].0 == 3);
    let exact = index.search(5).recall(1.0).by_vector(query).unwrap();
    assert!(exact.is_complete());
}

#[test]
fn an_impossible_goal_is_an_error_of_every_search() {
    let World { index, .. } = World::<Euclidean>::new(5, 400, None);
    let query = [0.5f32; 6];
    for goal in [0.0, -0.5, 1.5, f64::NAN, f64::INFINITY] {
        let mut search = index.search(3);
        search.recall(goal);
        let errors = [
            search.by_vector(&query).map(drop),
            search.by_vectors(&query).map(drop),
            search.by_item(0).map(drop),
            search.pages(&query).and_then(|mut pages| pages.next().unwrap()).map(drop),
            search.by_nearest_of(&query).map(drop),
            search.count_within(&query, 1.0).map(drop),
            search.measure_recall(10).map(drop),
            search.explain(&query).map(drop),
        ];
        for (nth, error) in errors.into_iter().enumerate() {
            let is_right = matches!(
                &error,
                Err(Error::InvalidParameter { name: "recall", value, .. })
                    if value.to_bits() == goal.to_bits()
            );
            assert!(is_right, "{nth}, {goal}: {error:?}");
        }
    }
}

/// The number of threads does not matter.
#[test]
fn one_index_has_one_calibration() {
    let items = vectors(9, 3000);
    let efs = [1, 2, 3].map(|threads| {
        let options = Options::new(DIMENSIONS).threads(threads);
        let (_folder, index) = index::<Euclidean>(options, &items);
        [0.7, 0.9, 0.95].map(|goal| ef(&index.snapshot().unwrap(), 10, goal))
    });
    assert!(efs[0] == efs[1] && efs[1] == efs[2], "{efs:?}");
}

#[test]
fn an_explanation_has_every_way_and_what_it_cost() {
    let (_folder, index) = index::<Euclidean>(Options::new(DIMENSIONS), &vectors(1, 5000));
    let query = vec![0.5; DIMENSIONS];
    let explained = index.search(7).ef_search(40).explain(&query).unwrap();
    let ways: Vec<_> = explained.ways.iter().map(|way| way.strategy).collect();
    assert_eq!(ways, [Strategy::Graph, Strategy::All]);
    let [graph, all] = &explained.ways[..] else { panic!("{explained}") };
    assert!(graph.is_chosen && !all.is_chosen && !graph.changed_over);
    assert!(graph.lists > 0 && graph.distances < 5000 && all.distances == 5000, "{explained}");
    assert!(graph.estimated < all.estimated && graph.took.as_nanos() > 0, "{explained}");
    assert_eq!((explained.possible, explained.ef_search, explained.recall), (5000, 40, None));
    assert_eq!(explained.answer.nns, index.search(7).ef_search(40).by_vector(&query).unwrap().nns);
    let text = explained.to_string();
    assert!(
        text.contains("Graph") && text.contains("chosen") && text.lines().count() == 4,
        "{text}"
    );
    let within = index.search(7).within(9.0).explain(&query).unwrap();
    assert!(within.ways.len() == 1 && within.ways[0].estimated.is_none(), "{within}");
    let nothing = index.search(0).explain(&query).unwrap();
    assert_eq!((nothing.answer.nns.len(), nothing.ways.len()), (0, 1));
    assert!(index.search(3).explain(&[1.0]).is_err());
}
