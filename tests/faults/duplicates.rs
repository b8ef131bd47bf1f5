//! Duplicate vectors: recall beside thousands of copies of one vector.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use voisin::{ItemId, Options};

use crate::{Vectors, check};

type Items = Vec<(ItemId, Vec<f32>)>;

const DIMENSIONS: usize = 16;
const OTHERS: u32 = 6000;
const COPIES: u32 = 1500;
const K: usize = 10;

fn create(dimensions: usize) -> (TempDir, Vectors) {
    crate::create(Options::new(dimensions))
}

/// Adds items, so many a commit.
fn add(index: &Vectors, items: &[(ItemId, Vec<f32>)], at_a_time: usize) {
    for items in items.chunks(at_a_time) {
        index
            .write(|batch| batch.add_items_from(items.iter().map(|(item, vector)| (*item, vector))))
            .unwrap();
    }
}

fn squared(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

/// Points of a bell curve in every direction, and copies of one that lies among them.
struct Crowd {
    others: Items,
    copies: Items,
    /// Of the others, those that have 10 to 60 of the others nearer than the copies.
    beside: Items,
}

impl Crowd {
    fn new(noise: f32) -> Self {
        let mut rng = StdRng::seed_from_u64(5);
        let mut bell = move || (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
        let others: Items =
            (0..OTHERS).map(|item| (item, (0..DIMENSIONS).map(|_| bell()).collect())).collect();
        let center: Vec<f32> = (0..DIMENSIONS).map(|_| 0.3 * bell()).collect();
        let copies = (0..COPIES)
            .map(|i| (OTHERS + i, center.iter().map(|c| c + noise * bell()).collect()))
            .collect();
        let is_beside = |(item, vector): &&(ItemId, Vec<f32>)| {
            let to_copies = squared(vector, &center);
            let nearer = others
                .iter()
                .filter(|(other, at)| other != item && squared(vector, at) < to_copies)
                .take(61)
                .count();
            (10..=60).contains(&nearer)
        };
        let beside: Items = others.iter().filter(is_beside).take(150).cloned().collect();
        assert!(beside.len() > 60, "{} items are beside the copies", beside.len());
        Self { others, copies, beside }
    }

    /// The items in the order that they are added in.
    fn in_order(&self, order: &str) -> Items {
        let both = |a: &Items, b: &Items| a.iter().chain(b).cloned().collect();
        let mut items: Items = if order == "first" {
            both(&self.copies, &self.others)
        } else {
            both(&self.others, &self.copies)
        };
        if order == "mixed" {
            items.shuffle(&mut StdRng::seed_from_u64(3));
        }
        items
    }

    /// The share of the nearest others that walks from the items beside the copies find.
    fn recall(&self, index: &Vectors, ef: usize) -> f64 {
        let others: BTreeMap<ItemId, &[f32]> =
            self.others.iter().map(|(item, vector)| (*item, &**vector)).collect();
        let snapshot = index.snapshot().unwrap();
        let mut hits = 0;
        for (item, vector) in &self.beside {
            let mut all: Vec<f64> = others
                .iter()
                .filter(|(other, _)| *other != item)
                .map(|(_, at)| squared(vector, at))
                .collect();
            all.sort_by(f64::total_cmp);
            let farthest = all[K - 1];
            let found =
                snapshot.search(K).ef_search(ef).walk_graph().by_item(*item).unwrap().unwrap();
            assert_eq!(found.nns.len(), K);
            hits += found
                .nns
                .iter()
                .filter(|(found, _)| {
                    others.get(found).is_some_and(|at| squared(vector, at) <= farthest)
                })
                .count();
        }
        hits as f64 / (K * self.beside.len()) as f64
    }

    /// Without copies, with ef 40 and 100.
    fn recall_without(&self) -> [f64; 2] {
        let (_folder, index) = create(DIMENSIONS);
        add(&index, &self.others, self.others.len());
        [40, 100].map(|ef| self.recall(&index, ef))
    }

    #[track_caller]
    fn assert_recall(&self, index: &Vectors, without: [f64; 2], what: &str) {
        check(index);
        for (ef, without) in [40, 100].into_iter().zip(without) {
            let recall = self.recall(index, ef);
            println!("{what}, ef {ef}: recall {recall:.4}, without copies {without:.4}");
            assert!(
                recall >= without - 0.01,
                "{what}, ef {ef}: recall {recall}, without copies {without}"
            );
        }
    }

    /// That a query at the copies has as many of them as it asks for.
    #[track_caller]
    fn assert_copies(&self, index: &Vectors, vector: &[f32]) {
        for (k, ef) in [(1, 10), (10, 10), (10, 100), (100, 100), (300, 400)] {
            let found = index.search(k).ef_search(ef).walk_graph().by_vector(vector).unwrap().nns;
            assert_eq!(
                found.iter().filter(|(item, distance)| *item >= OTHERS && *distance == 0.0).count(),
                k,
                "k {k}, ef {ef}"
            );
        }
    }
}

/// 3 000 copies of one vector beside 30 000 others: recall@10 of those that have 10 to 60 others
/// nearer than the copies fell from 1.00 to .74, whatever `ef` was, as copies had each other for
/// neighbors and nothing else. It must be what it is without the copies, in whatever order they are
/// added, and after deletes.
#[test]
fn recall_beside_copies_is_what_it_is_without_them() {
    let crowd = Crowd::new(0.0);
    let without = crowd.recall_without();
    for order in ["last", "first", "mixed"] {
        let (_folder, index) = create(DIMENSIONS);
        let items = crowd.in_order(order);
        // In one build each for the two, if not mixed.
        let parts = if order == "first" {
            items.split_at(crowd.copies.len())
        } else {
            items.split_at(crowd.others.len())
        };
        for part in if order == "mixed" { [&items[..], &[]] } else { [parts.0, parts.1] } {
            add(&index, part, part.len().max(1));
        }
        crowd.assert_recall(&index, without, order);
        crowd.assert_copies(&index, &crowd.copies[0].1);
    }
}

/// The same where all are added by small commits, half of the copies are then deleted at once, and
/// all but some one by one, the one that the others are linked to among them.
#[test]
fn recall_beside_copies_lasts_through_small_commits_and_deletes() {
    let crowd = Crowd::new(0.0);
    let without = crowd.recall_without();
    let (_folder, index) = create(DIMENSIONS);
    add(&index, &crowd.in_order("mixed"), 300);
    crowd.assert_recall(&index, without, "by commits of 300");
    crowd.assert_copies(&index, &crowd.copies[0].1);

    let (gone, left): (Vec<ItemId>, Vec<ItemId>) =
        crowd.copies.iter().map(|(item, _)| *item).partition(|item| item % 2 == 0);
    index.write(|batch| batch.delete_items(gone.iter().copied())).unwrap();
    crowd.assert_recall(&index, without, "half of the copies deleted");
    crowd.assert_copies(&index, &crowd.copies[0].1);

    // Whatever is found first at the copies is what leads to the rest.
    for _ in 0..100 {
        let found =
            index.search(1).ef_search(10).walk_graph().by_vector(&crowd.copies[0].1).unwrap().nns
                [0];
        assert!(found.1 == 0.0 && left.contains(&found.0), "{found:?}");
        index.write(|batch| batch.delete(found.0)).unwrap();
    }
    crowd.assert_recall(&index, without, "100 that are met first deleted");
    crowd.assert_copies(&index, &crowd.copies[0].1);
}

/// One vector beside 10 000 copies of another, in 8 dimensions, was not found by itself with ef 32.
#[test]
fn a_vector_beside_thousands_of_copies_is_found_by_itself() {
    const MANY: u32 = 10_000;
    for (at, at_a_time) in [
        (MANY, MANY as usize),
        (0, MANY as usize + 1),
        (MANY / 2, MANY as usize + 1),
        (MANY, 1000),
        (5000, 1000),
    ] {
        let (_folder, index) = create(8);
        let beside = [0.5, 0.5, 0.5, 0.75, 0.5, 0.5, 0.5, 0.5];
        let items: Items = (0..=MANY)
            .map(|item| (item, if item == at { beside.to_vec() } else { vec![0.5; 8] }))
            .collect();
        add(&index, &items, at_a_time);
        check(&index);
        for (k, ef) in [(1, 1), (1, 10), (1, 32), (10, 32), (10, 100)] {
            let found = index.search(k).ef_search(ef).walk_graph().by_vector(&beside).unwrap().nns;
            assert_eq!(
                found[0],
                (at, 0.0),
                "item {at}, added {at_a_time} at a time, k {k}, ef {ef}"
            );
            assert_eq!(found.len(), k);
        }
    }
}

/// Copies are linked the same way by any number of threads.
#[test]
fn copies_are_linked_the_same_way_by_any_number_of_threads() {
    let crowd = Crowd::new(0.0);
    let stored = [1, 2, 5].map(|threads| {
        let (folder, index) = create(DIMENSIONS);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            add(&index, &crowd.in_order("mixed")[..3000], 1500);
            index.write(|batch| batch.delete_items(OTHERS..OTHERS + 100)).unwrap();
        });
        drop(index);
        std::fs::read(folder.path().join("vectors/data.mdb")).unwrap()
    });
    assert!(stored[0] == stored[1] && stored[0] == stored[2]);
}
