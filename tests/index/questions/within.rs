//! Range search, and counts.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use voisin::distances::{Cosine, Distance, DotProduct, Euclidean};
use voisin::{Codes, Error, Index, Options, Searched, Strategy};

use super::{DIMENSIONS, World, assert_same, by_lists, force, random_vector};

/// A radius between two of the distances of an oracle, which rounding leaves on its side.
fn radius_of(all: &[(u32, f32)], count: usize) -> f32 {
    match (count.checked_sub(1).and_then(|last| all.get(last)), all.get(count)) {
        (Some(last), Some(next)) => last.1 + (next.1 - last.1) / 2.0,
        (None, Some(next)) => next.1 / 2.0,
        (Some(last), None) => last.1 + 1.0,
        (None, None) => 1.0,
    }
}

/// Searches every way, with and without candidates, and compares with the oracle.
fn compare<D: Distance>(world: &World<D>, seed: u64, count: usize, cap: usize) {
    let (query, candidates, [all, among]) = world.case(seed ^ 77);
    for (all, candidates) in [(&all, None), (&among, Some(&candidates))] {
        let radius = radius_of(all, count);
        let expected: Vec<_> = all.iter().copied().filter(|(_, d)| *d <= radius).collect();
        let mut search = world.index.search(cap);
        search.within(radius);
        if let Some(candidates) = candidates {
            search.candidates(candidates);
        }
        let exact = search.clone().exact().by_vector(&query).unwrap();
        assert_same(&exact.nns, &expected[..expected.len().min(cap)]);
        assert_eq!(exact.has_more, expected.len() > cap && cap > 0);
        assert_eq!(exact.is_complete(), !exact.has_more && !exact.did_cancel);
        let plain = search.clone().exact().codes(false).by_vector(&query).unwrap();
        assert_eq!(plain.nns, exact.nns);

        // Nearly all, and nothing else; in many small graphs all.
        let walked = search.clone().walk_graph().by_vector(&query).unwrap();
        let found: BTreeSet<_> = expected.iter().map(|(item, _)| *item).collect();
        assert!(walked.nns.iter().all(|(item, _)| found.contains(item)));
        assert!(walked.nns.iter().all(|(_, distance)| *distance <= radius));
        assert!(walked.nns.is_sorted_by(|a, b| a.1 <= b.1) && walked.nns.len() <= cap);
        let missing = expected.len().min(cap) - walked.nns.len();
        assert!(missing * 10 <= expected.len().min(cap), "{missing} of {}", expected.len());
        assert!(cap == 0 || !walked.is_complete());

        let probed = by_lists(&mut search.clone()).by_vector(&query).unwrap();
        assert!(probed.nns.iter().all(|(item, _)| found.contains(item)));
        let missing = expected.len().min(cap) - probed.nns.len();
        assert!(missing * 10 <= expected.len().min(cap), "lists: {missing} of {}", expected.len());

        // The two vectors of a batch get the answers that each gets alone.
        let rows = [&query[..], &world.items.values().next().unwrap()[..]].concat();
        for exact in [true, false] {
            let mut search = search.clone();
            force(&mut search, exact);
            let alone: Vec<Searched> =
                rows.chunks(DIMENSIONS).map(|row| search.by_vector(row).unwrap()).collect();
            let together = search.by_vectors(&rows).unwrap();
            assert!(alone.iter().zip(&together).all(|(a, b)| a.nns == b.nns));
        }

        let counted = search.count_within(&query, radius).unwrap();
        assert_eq!((counted.items, counted.is_exact()), (expected.len() as u64, true));
        let estimate = search.estimate_within(&query, radius, 100_000).unwrap();
        assert_eq!((estimate.items, estimate.is_exact()), (expected.len() as u64, true));
        let estimate = search.estimate_within(&query, radius, 100).unwrap();
        assert!(estimate.low <= estimate.items && estimate.items <= estimate.high);
        assert!(estimate.distances <= 100 || estimate.is_exact());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn a_range_search_finds_what_is_within_the_radius(
        seed in 0..1000u64,
        items in 20..400u32,
        count in 0..200usize,
        cap in prop::sample::select(&[0usize, 1, 10, 1000][..]),
    ) {
        let codes = [None, Some(Codes::Bits4), Some(Codes::Bits8)][seed as usize % 3];
        let world = World::<Euclidean>::new(seed, items, codes);
        compare(&world, seed, count.min(world.items.len()), cap);
        let world = World::<Cosine>::new(seed, items, codes);
        compare(&world, seed, count.min(world.items.len()), cap);
    }
}

/// Distances that are equal to the radius are within it, by the distances that answers have; of
/// copies all are.
#[test]
fn a_radius_that_is_the_distance_of_an_item_includes_it() {
    let world = World::<Euclidean>::new(3, 300, Some(Codes::Bits4));
    let query = world.items[&0].clone();
    let copies = world.items.values().filter(|vector| **vector == query).count();
    assert!(copies > 10);
    for exact in [true, false] {
        let mut search = world.index.search(1000);
        force(&mut search, exact);
        let found = search.clone().within(0.0).by_vector(&query).unwrap();
        assert_eq!(found.nns.len(), copies, "exact: {exact}");
        let all = search.by_vector(&query).unwrap().nns;
        let (mut asked, mut missed) = (0, 0);
        for (item, distance) in all.iter().skip(copies).step_by(7) {
            let found = search.clone().within(*distance).by_vector(&query).unwrap().nns;
            (asked, missed) =
                (asked + 1, missed + usize::from(found.iter().all(|(found, _)| found != item)));
            let below = search.clone().within(distance * 0.9999).by_vector(&query).unwrap().nns;
            assert!(below.iter().all(|(found, _)| found != item));
        }
        // A walk may miss any item, now and then.
        assert!(if exact { missed == 0 } else { missed * 10 <= asked }, "{exact}: {missed}");
    }
}

/// Under inner products, near is below zero: any number is a radius but NaN.
#[test]
fn a_radius_has_the_unit_of_the_metric() {
    let world = World::<DotProduct>::new(5, 300, None);
    let query = world.items[&3].clone();
    let all = world.all(&query);
    let radius = radius_of(&all, 25);
    assert!(radius < 0.0);
    for exact in [true, false] {
        let mut search = world.index.search(1000);
        force(&mut search, exact);
        assert_same(&search.within(radius).by_vector(&query).unwrap().nns, &all[..25]);
    }
    let refused = world.index.search(9).within(f32::NAN).by_vector(&query);
    assert!(matches!(refused, Err(Error::InvalidParameter { name: "radius", .. })));

    let world = World::<Euclidean>::new(5, 30, None);
    for radius in [-1.0, f32::NAN, f32::NEG_INFINITY] {
        let refused = world.index.search(9).within(radius).by_vector(&query);
        assert!(matches!(refused, Err(Error::InvalidParameter { name: "radius", .. })), "{radius}");
        let refused = world.index.search(9).count_within(&query, radius);
        assert!(matches!(refused, Err(Error::InvalidParameter { name: "radius", .. })), "{radius}");
        let refused = world.index.search(9).estimate_within(&query, radius, 3);
        assert!(matches!(refused, Err(Error::InvalidParameter { name: "radius", .. })), "{radius}");
    }
    let everything = world.index.search(1000).within(f32::INFINITY).by_vector(&query).unwrap();
    assert_eq!(everything.nns.len(), world.items.len());
}

/// A radius of which a walk finds out that it holds most of the index is scanned, and that costs
/// no more distances than the walk until then and the scan.
#[test]
fn a_large_radius_is_left_to_a_scan() {
    let folder = tempfile::tempdir().unwrap();
    let index =
        Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(64)).unwrap();
    let side = 160u32;
    let at = |x: f32, y: f32| {
        let mut vector = [0.0; 64];
        (vector[0], vector[1]) = (x, y);
        vector
    };
    let items = (0..side * side).map(|i| (i, at((i % side) as f32, (i / side) as f32)));
    index.load(items, |_| {}).unwrap();
    let search = |radius: f32| {
        index.search(usize::MAX).within(radius).walk_graph().by_vector(&at(80.2, 80.3)).unwrap()
    };
    let forced = search(2000.0);
    assert_eq!(forced.strategy, Strategy::Graph);
    let free = index.search(usize::MAX).within(2000.0).by_vector(&at(80.2, 80.3)).unwrap();
    assert!(free.strategy.is_exact() && free.is_complete() && free.nns.len() > 6000);
    assert!(free.distances <= 2 * u64::from(side * side));
    assert!(forced.nns.len() * 100 >= free.nns.len() * 97);
    let small = index.search(usize::MAX).within(4.0).by_vector(&at(80.2, 80.3)).unwrap();
    assert!(small.distances < 3000, "{small:?}");
}

/// In all states of an index, the same answers: a snapshot, a batch that has added something, and
/// names that are keys.
#[test]
fn ranges_and_counts_are_answered_by_everything_that_can_be_searched() {
    let world = World::<Euclidean>::new(9, 200, None);
    let query = world.items[&6].clone();
    let all = world.all(&query);
    let radius = radius_of(&all, 20);
    let expected = world.index.search(100).exact().within(radius).by_vector(&query).unwrap();
    assert_same(&expected.nns, &all[..20]);
    let snapshot = world.index.snapshot().unwrap();
    assert_eq!(snapshot.search(100).exact().within(radius).by_vector(&query).unwrap(), expected);
    assert_eq!(snapshot.search(0).count_within(&query, radius).unwrap().items, 20);
    world
        .index
        .write(|batch| {
            batch.add(9999, &query)?;
            let found = batch.search(100).exact().within(radius).by_vector(&query)?;
            assert_eq!((found.nns[1], found.nns.len()), ((9999, 0.0), 21));
            assert_eq!(batch.search(0).count_within(&query, radius)?.items, 21);
            Ok(())
        })
        .unwrap();

    let path = world.index.path();
    let keyed =
        Index::<Euclidean, str>::create(path, Options::new(DIMENSIONS).name("keyed")).unwrap();
    let named = world.items.iter().map(|(item, vector)| (format!("item {item}"), vector));
    keyed.load(named, |_| {}).unwrap();
    let names = |found: &[(u32, f32)]| -> BTreeSet<String> {
        found.iter().map(|(item, _)| format!("item {item}")).collect()
    };
    let found = keyed.search(100).exact().within(radius).by_vector(&query).unwrap();
    assert_eq!(
        found.nns.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>(),
        names(&all[..20])
    );
    let candidates = ["item 6", "item 12", "nothing"];
    let counted = keyed.search(0).candidates(candidates).count_within(&query, 1e9).unwrap();
    assert_eq!(counted.items, 2);
    let at = keyed.search(3).within(1e9).with_vectors().by_item("item 6").unwrap().unwrap();
    assert!(at.has_more && at.vectors.len() == 3);
    for ((name, _), vector) in at.nns.iter().zip(&at.vectors) {
        assert_eq!(Some(vector), keyed.snapshot().unwrap().vector(name).unwrap().as_ref());
    }
}

/// The interval of an estimate is one of 95 %: it holds for nearly all queries and radii.
#[test]
fn the_interval_of_an_estimate_holds_nearly_always() {
    let world = World::<Euclidean>::new(11, 4000, None);
    let mut rng = StdRng::seed_from_u64(5);
    let (mut held, mut asked) = (0, 0);
    for _ in 0..20 {
        let query = random_vector(&mut rng);
        let all = world.all(&query);
        for count in [0, 4, 40, 400, 1500, 3000] {
            let radius = radius_of(&all, count);
            let estimate = world.index.search(0).estimate_within(&query, radius, 300).unwrap();
            let true_count = all.iter().filter(|(_, d)| *d <= radius).count() as u64;
            held += usize::from(estimate.low <= true_count && true_count <= estimate.high);
            asked += 1;
            assert!(estimate.high - estimate.low < 700, "{estimate:?}");
        }
    }
    assert!(held * 100 >= asked * 92, "{held} of {asked}");
}
