//! The last digits of distances: near-duplicates, sums that cancel, and near ties.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use voisin::distances::{Cosine, Distance, DotProduct, Euclidean, distance};
use voisin::{Codes, Index, ItemId, Options};

const K: usize = 10;

/// Numbers of a bell curve, about 1 from 0.
fn bell(rng: &mut StdRng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

/// `|u - v|^2 / 4` for the unit vectors.
fn half_angle(a: &[f32], b: &[f32]) -> f64 {
    let unit = |vector: &[f32]| -> Vec<f64> {
        let norm = vector.iter().map(|c| f64::from(*c).powi(2)).sum::<f64>().sqrt();
        vector.iter().map(|c| f64::from(*c) / norm).collect()
    };
    unit(a).iter().zip(unit(b)).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / 4.0
}

/// 2 000 vectors of 384 dimensions that differ by noise of 1e-4: 1 999 of them were not their own
/// nearest, as `1 - cos` has steps of 6e-8 in `f32`, and so had their graph; by noise of 1e-3, none
/// was. Each is at distance 0 from itself, exactly, and the rest in the order of the definition.
#[test]
fn near_duplicates_are_their_own_nearest_under_cosine() {
    const DIMENSIONS: usize = 384;
    for (noise, count) in [(1e-4, 2000), (1e-3, 500)] {
        let mut rng = StdRng::seed_from_u64(13);
        let base: Vec<f64> = (0..DIMENSIONS).map(|_| bell(&mut rng)).collect();
        let rows: Vec<Vec<f32>> = (0..count)
            .map(|_| base.iter().map(|base| (base + noise * bell(&mut rng)) as f32).collect())
            .collect();
        let (_folder, index) = crate::create::<Cosine>(Options::new(DIMENSIONS));
        index.write(|batch| batch.add_items_from((0..).zip(&rows))).unwrap();
        let itself = |item: usize| (item as ItemId, 0.0);
        let exact = index.search(K).exact().by_vectors(&rows.concat()).unwrap();
        for (item, found) in exact.iter().enumerate() {
            assert_eq!(found.nns[0], itself(item), "noise {noise}");
            assert!(found.nns[1].1 > 0.0, "noise {noise}: {found:?}");
        }
        let (mut own, mut hits) = (0, 0);
        for (item, row) in rows.iter().enumerate() {
            let walked = index.search(K).walk_graph().by_vector(row).unwrap();
            own += usize::from(walked.nns[0] == itself(item));
            hits += walked.nns.iter().filter(|found| exact[item].nns.contains(found)).count();
        }
        let recall = hits as f64 / (K * rows.len()) as f64;
        println!("noise {noise}: {own} of {count} walks find their query, recall {recall:.4}");
        assert!(100 * own >= 99 * count, "noise {noise}: {own} of {count} walks find their query");
        assert!(recall >= 0.95, "noise {noise}: recall {recall}");
        for item in (0..count).step_by(50) {
            let mut all: Vec<_> =
                (0..).zip(&rows).map(|(id, row)| (id, half_angle(&rows[item], row))).collect();
            all.sort_by(|a, b| a.1.total_cmp(&b.1));
            let alone = index.search(K).exact().by_vector(&rows[item]).unwrap();
            assert_eq!(alone, exact[item], "alone and among others");
            for ((found, distance), (expected, precise)) in exact[item].nns.iter().zip(&all) {
                assert_eq!(found, expected, "noise {noise}, {precise}");
                let off = (f64::from(*distance) - precise).abs();
                assert!(off <= 1e-6 * precise, "{distance} of {precise}");
            }
        }
    }
}

/// Whole numbers of 1 / 1024, up to 24 bits: exact in `f32`, and so are the sums of their products
/// in an `i128`.
fn floats(vector: &[i64]) -> Vec<f32> {
    vector.iter().map(|component| *component as f32 / 1024.0).collect()
}

fn product(a: &[i64], b: &[i64]) -> i128 {
    a.iter().zip(b).map(|(a, b)| i128::from(*a) * i128::from(*b)).sum()
}

/// Queries near 1e4 in every component, and items that alternate between 1e4 and -1e4, beside a
/// signal of 1 / 32.
fn cancelling(items: usize, queries: usize) -> [Vec<Vec<i64>>; 2] {
    const DIMENSIONS: usize = 64;
    let mut rng = StdRng::seed_from_u64(5);
    let mut signal = move || rng.random_range(-32..=32i64);
    let mut rows = |count: usize, sign: i64| -> Vec<Vec<i64>> {
        let row = |_| (0..DIMENSIONS).map(|i| 10_240_000 * sign.pow(i as u32) + signal()).collect();
        (0..count).map(row).collect()
    };
    [rows(items, -1), rows(queries, 1)]
}

/// The items with the largest products, ties by id.
fn by_product(items: &[Vec<i64>], query: &[i64]) -> Vec<ItemId> {
    let mut all: Vec<_> = (0..).zip(items).map(|(id, item)| (-product(item, query), id)).collect();
    all.sort_unstable();
    all.into_iter().take(K).map(|(_, id)| id).collect()
}

fn ids<D: Distance>(index: &Index<D>, queries: &[Vec<f32>]) -> Vec<Vec<ItemId>> {
    let ids = |found: Vec<(ItemId, f32)>| -> Vec<ItemId> {
        assert!(found.is_sorted_by(|a, b| a.1 <= b.1), "{found:?}");
        found.into_iter().map(|(id, _)| id).collect()
    };
    let alone: Vec<_> =
        queries.iter().map(|query| index.search(K).exact().by_vector(query).unwrap().nns).collect();
    let together = index.search(K).exact().by_vectors(&queries.concat()).unwrap();
    let together: Vec<_> = together.into_iter().map(|found| found.nns).collect();
    assert_eq!(together, alone, "together and alone");
    alone.into_iter().map(ids).collect()
}

/// The order of products that cancel was that of their rounding errors in `f32`, and depended on
/// the order of the components: 59 of 100 permutations changed it. It is that of the exact sums.
#[test]
fn products_that_cancel_are_in_order_whatever_the_order_of_components() {
    let [mut items, mut queries] = cancelling(60, 8);
    let expected: Vec<_> = queries.iter().map(|query| by_product(&items, query)).collect();
    let mut rng = StdRng::seed_from_u64(1);
    let (_folder, index) = crate::create::<DotProduct>(Options::new(items[0].len()));
    for permutation in 0..100 {
        let mut order: Vec<usize> = (0..items[0].len()).collect();
        order.shuffle(&mut rng);
        for row in items.iter_mut().chain(&mut queries) {
            *row = order.iter().map(|at| row[*at]).collect();
        }
        index
            .write(|batch| batch.add_items_from((0..).zip(items.iter().map(|item| floats(item)))))
            .unwrap();
        let queries: Vec<_> = queries.iter().map(|query| floats(query)).collect();
        assert_eq!(ids(&index, &queries), expected, "permutation {permutation}");
    }
}

/// The same by way of codes, where more are scanned than are compared, and of walks that visit all.
#[test]
fn products_that_cancel_are_in_order_by_codes_and_by_walks() {
    let [items, queries] = cancelling(1500, 3);
    let options = Options::new(items[0].len()).codes(Codes::Bits8);
    let (_folder, index) = crate::create::<DotProduct>(options);
    index
        .write(|batch| batch.add_items_from((0..).zip(items.iter().map(|item| floats(item)))))
        .unwrap();
    for query in &queries {
        let expected = by_product(&items, query);
        let exact = index.search(K).exact().by_vector(&floats(query)).unwrap();
        assert!(exact.estimates > 0);
        let walked =
            index.search(K).ef_search(1500).walk_graph().by_vector(&floats(query)).unwrap();
        for (how, found) in [("by codes", exact), ("by a walk", walked)] {
            let found: Vec<_> = found.nns.iter().map(|(id, _)| *id).collect();
            assert_eq!(found, expected, "{how}");
        }
    }
}

/// Squared distances that differ by less than `f32` has digits for, or not at all: in the order of
/// the exact sums, ties by id, for every `k`, and at the distances of the definition.
#[test]
fn near_ties_are_in_the_order_of_the_definition() {
    const DIMENSIONS: usize = 48;
    let mut rng = StdRng::seed_from_u64(7);
    let query: Vec<i64> = (0..DIMENSIONS).map(|_| rng.random_range(-9000..9000)).collect();
    let mut offsets: Vec<i64> = (0..DIMENSIONS).map(|_| rng.random_range(4000..9000)).collect();
    // Offsets in another order are as far, with one component moved by a step or two a little less
    // or more.
    let items: Vec<Vec<i64>> = (0..300)
        .map(|_| {
            offsets.shuffle(&mut rng);
            let mut item: Vec<i64> = query.iter().zip(&offsets).map(|(q, o)| q + o).collect();
            let at = rng.random_range(0..DIMENSIONS);
            item[at] += rng.random_range(-1..=1);
            item
        })
        .collect();
    let squared = |item: &[i64]| {
        let difference: Vec<i64> = item.iter().zip(&query).map(|(a, b)| a - b).collect();
        product(&difference, &difference)
    };
    let mut expected: Vec<_> = (0..).zip(&items).map(|(id, item)| (squared(item), id)).collect();
    expected.sort_unstable();
    let (_folder, index) = crate::create::<Euclidean>(Options::new(DIMENSIONS));
    index
        .write(|batch| batch.add_items_from((0..).zip(items.iter().map(|item| floats(item)))))
        .unwrap();
    let query = floats(&query);
    for k in [1, 2, 10, 50, 300] {
        for exact in [true, false] {
            let mut search = index.search(k);
            let search = if exact { search.exact() } else { search.ef_search(300).walk_graph() };
            let found = search.by_vector(&query).unwrap().nns;
            let ids: Vec<_> = found.iter().map(|(id, _)| *id).collect();
            let nearest: Vec<ItemId> = expected.iter().take(k).map(|(_, id)| *id).collect();
            assert_eq!(ids, nearest, "k {k}, exact {exact}");
            if k == 300 {
                for (id, found) in found {
                    let item = floats(&items[id as usize]);
                    assert_eq!(Ok(found), distance::<Euclidean>(&query, &item));
                }
            }
        }
    }
}
