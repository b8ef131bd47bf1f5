//! Several vectors in a query, diverse results, and vectors in answers.

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use voisin::distances::{
    BinaryQuantizedCosine, Cosine, Distance, DotProduct, Euclidean, Manhattan, distance,
};
use voisin::{Codes, Error, ItemId};

use super::{DIMENSIONS, World, assert_same, by_lists, random_vector};

/// All items by a distance of the test's own.
fn ranked<D: Distance>(
    world: &World<D>,
    of: impl Fn(&[f32]) -> f64,
    k: usize,
) -> Vec<(ItemId, f32)> {
    let mut all: Vec<_> = world.items.iter().map(|(item, v)| (*item, of(v))).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    all.truncate(k);
    all.into_iter().map(|(item, distance)| (item, distance as f32)).collect()
}

/// That what was found is as near as what is expected: sums of single distances rounded to `f32`
/// may order near ties otherwise.
#[track_caller]
fn assert_as_near(found: &[(ItemId, f32)], expected: &[(ItemId, f32)]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let error = 2e-5 * expected.1.abs().max(1.0);
        assert!((found.1 - expected.1).abs() <= error, "{found:?} {expected:?}");
    }
}

fn compare<D: Distance>(seed: u64, items: u32, weights: &[f32], codes: Option<Codes>) {
    let world = World::<D>::new(seed, items, codes);
    let mut rng = StdRng::seed_from_u64(seed ^ 3);
    let vectors: Vec<Vec<f32>> = weights.iter().map(|_| random_vector(&mut rng)).collect();
    let rows = vectors.concat();
    let near = |of: &[f32]| -> Vec<f64> {
        vectors.iter().map(|v| f64::from(distance::<D>(v, of).unwrap())).collect()
    };
    for k in [0, 1, 10, 1000] {
        let mut search = world.index.search(k);
        search.exact();
        let smallest = |of: &[f32]| near(of).into_iter().fold(f64::INFINITY, f64::min);
        let found = search.by_nearest_of(&rows).unwrap();
        assert!(found.strategy.is_exact() && found.is_complete());
        assert_as_near(&found.nns, &ranked(&world, smallest, k));

        let sum = |of: &[f32]| near(of).iter().zip(weights).map(|(d, w)| d * f64::from(*w)).sum();
        let weighted: Vec<_> = vectors.iter().zip(weights.iter().copied()).collect();
        let found = search.by_sum(&weighted).unwrap();
        let expected = ranked(&world, sum, k);
        assert_as_near(&found.nns, &expected);

        if let Some((_, radius)) = expected.get(k / 2) {
            let found = search.within(*radius + 1e-4).by_sum(&weighted).unwrap();
            assert!(found.nns.len() > k / 2 && found.nns.len() <= k);
            assert!(found.nns.iter().all(|(_, distance)| *distance <= *radius + 1e-4));
        }
        let [mut walk, mut lists] = [(); 2].map(|()| world.index.search(k));
        walk.walk_graph();
        by_lists(&mut lists);
        for (way, search) in [("walk", walk), ("lists", lists)] {
            let found = match search.by_sum(&weighted) {
                Err(Error::KindMismatch { .. })
                    if std::any::type_name::<D>().contains("Manhattan") =>
                {
                    continue;
                }
                found => found.unwrap(),
            };
            let right = found.nns.iter().filter(|n| expected.iter().any(|e| e.0 == n.0)).count();
            assert!(right * 10 >= expected.len() * 8, "{way}: {right} of {}", expected.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn several_vectors_are_answered_by_the_smallest_and_by_the_sum_of_distances(
        seed in 0..1000u64,
        items in 10..300u32,
        weights in prop::collection::vec(0.1f32..2.0, 1..5),
    ) {
        let codes = (seed % 2 == 0).then_some(Codes::Bits8);
        let mut mixed = weights.clone();
        mixed.push(-0.05);
        compare::<Euclidean>(seed, items, &mixed, codes);
        compare::<Cosine>(seed, items, &mixed, codes);
        compare::<DotProduct>(seed, items, &mixed, None);
        compare::<Manhattan>(seed, items, &weights, None);
    }
}

/// What cannot be is an error that says so, and changes nothing.
#[test]
fn weights_that_cannot_be_are_refused() {
    let world = World::<Euclidean>::new(3, 50, None);
    let v = vec![1.0f32; DIMENSIONS];
    let search = world.index.search(3);
    for weights in [[1.0, -1.0], [f32::NAN, 1.0], [f32::INFINITY, 1.0], [-2.0, 1.0]] {
        let refused = search.by_sum(&[(&v, weights[0]), (&v, weights[1])]);
        assert!(matches!(refused, Err(Error::InvalidParameter { .. })), "{weights:?}");
    }
    assert!(search.by_sum::<f32, Vec<f32>>(&[]).unwrap().nns.is_empty());
    assert!(search.by_nearest_of(&[0.0f32; 0]).unwrap().nns.is_empty());
    assert!(matches!(search.by_nearest_of(&v[1..]), Err(Error::UnevenRows { .. })));
    let short = search.by_sum(&[(&v[..], 1.0), (&v[1..], 1.0)]);
    assert!(matches!(short, Err(Error::DimensionMismatch { .. })));
    let nan = vec![f32::NAN; DIMENSIONS];
    let refused = search.by_sum(&[(&v, 1.0), (&nan, 1.0)]);
    assert!(matches!(refused, Err(Error::InvalidRow { row: 1, .. })), "{refused:?}");

    // Of opposite vectors nothing is left, under cosine distances.
    let world = World::<Cosine>::new(3, 50, None);
    let opposite: Vec<f32> = v.iter().map(|c| -c).collect();
    let refused = world.index.search(3).by_sum(&[(&v, 1.0), (&opposite, 1.0)]);
    assert!(matches!(refused, Err(Error::InvalidQuery { .. })), "{refused:?}");
    let bits = World::<BinaryQuantizedCosine>::new(3, 50, None);
    let refused = bits.index.search(3).by_sum(&[(&v, 1.0), (&v, -0.5)]);
    assert!(matches!(refused, Err(Error::InvalidParameter { .. })), "{refused:?}");
}

/// MMR by its definition, step by step.
#[test]
fn diverse_results_are_chosen_by_marginal_relevance() {
    let world = World::<Euclidean>::new(13, 400, None);
    let query = world.items[&6].clone();
    let all = world.all(&query);
    for (lambda, among, k) in [(0.5, 60, 10), (0.9, 30, 30), (0.0, 40, 5), (1.0, 50, 20)] {
        let mut left: Vec<_> = all[..among].to_vec();
        let mut chosen = vec![left.remove(0)];
        while chosen.len() < k {
            let score = |(item, near): &(ItemId, f32)| {
                let apart = chosen
                    .iter()
                    .map(|(c, _)| {
                        distance::<Euclidean>(&world.items[c], &world.items[item]).unwrap()
                    })
                    .fold(f32::INFINITY, f32::min);
                lambda * near - (1.0 - lambda) * apart
            };
            let best = (0..left.len())
                .min_by(|a, b| score(&left[*a]).total_cmp(&score(&left[*b])))
                .unwrap();
            chosen.push(left.remove(best));
        }
        let mut search = world.index.search(k);
        let found = search.exact().with_vectors().diverse(&query, lambda, among).unwrap();
        assert_as_near(&found.nns, &chosen);
        if lambda == 1.0 {
            assert_same(&found.nns, &all[..k]);
        }
        for ((item, _), vector) in found.nns.iter().zip(&found.vectors) {
            assert_eq!(*vector, world.items[item]);
        }
        assert_eq!(found.vectors.len(), k);
    }
    for lambda in [-0.1, 1.1, f32::NAN] {
        let refused = world.index.search(3).diverse(&query, lambda, 10);
        assert!(matches!(refused, Err(Error::InvalidParameter { name: "lambda", .. })));
    }
}
