//! Restrictions of a query: candidates, kept filters, exclusions, predicates, prefixes, and all of
//! them at once, against an oracle that looks at every item; and what they cost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use voisin::distances::{Cosine, Distance, Euclidean};
use voisin::heed::EnvOpenOptions;
use voisin::roaring::RoaringBitmap;
use voisin::{
    Codes, Database, Filter, Index, ItemId, MAX_KEY_BYTES, Options, Query, Reader, Searchable,
    Searched, Strategy, Writer, create_database,
};

const DIMENSIONS: usize = 24;
const K: usize = 10;
/// So few that a graph search is worth while among some hundred items.
const EF: usize = 20;

type Items = BTreeMap<ItemId, Vec<f32>>;

/// Vectors around some centers, so that a filter can be far from a query.
fn random_vector(rng: &mut StdRng) -> Vec<f32> {
    let center = rng.random_range(0..12u64);
    let mut of_center = StdRng::seed_from_u64(center);
    (0..DIMENSIONS)
        .map(|_| of_center.random_range(-1.0..1.0f32) + rng.random_range(-0.4..0.4f32))
        .collect()
}

/// An index with linked, pending and removed items.
fn churned<D: Distance>(codes: Option<Codes>, rng: &mut StdRng) -> (TempDir, Index<D>, Items) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(DIMENSIONS).codes_from(1);
    let options = codes.map_or(options.clone(), |codes| options.codes(codes));
    let index = Index::<D>::create(folder.path().join("vectors"), options).unwrap();
    let mut items: Items = (0..2400).map(|item| (3 * item, random_vector(rng))).collect();
    index.load(items.iter().map(|(item, vector)| (*item, vector)), |_| {}).unwrap();
    index
        .write(|batch| {
            batch.link_later();
            for nth in 0..40 {
                let (new, moved, gone) = (nth * 7 + 9000, nth * 33, nth * 51 + 3);
                for item in [new, moved] {
                    let vector = random_vector(rng);
                    batch.add(item, &vector)?;
                    items.insert(item, vector);
                }
                batch.delete(gone)?;
                items.remove(&gone);
            }
            Ok(())
        })
        .unwrap();
    let stats = index.stats().unwrap();
    assert!(stats.pending > 60 && stats.removed > 60, "{stats:?}");
    (folder, index, items)
}

/// The items that pass, by their distance by definition.
fn oracle<D: Distance>(
    items: &Items,
    query: &[f32],
    passes: impl Fn(ItemId) -> bool,
) -> Vec<(ItemId, f32)> {
    let mut all: Vec<(ItemId, f32)> = items
        .iter()
        .filter(|(item, _)| passes(**item))
        .map(|(item, vector)| (*item, voisin::distances::distance::<D>(query, vector).unwrap()))
        .collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    all
}

/// Checks an answer of `k`, whatever way it was found; returns its recall.
fn check_answer(found: &Searched, all: &[(ItemId, f32)], k: usize, what: &str) -> (usize, usize) {
    let expected = &all[..k.min(all.len())];
    assert_eq!(found.nns.len(), expected.len(), "{what}: k, or all that exist");
    let near = |a: f32, b: f32| (a - b).abs() <= 1e-4 * (1.0 + b.abs());
    for (item, distance) in &found.nns {
        let known = all.iter().find(|(known, _)| known == item);
        let (_, known) = known.unwrap_or_else(|| panic!("{what}: {item} does not pass"));
        assert!(near(*distance, *known), "{what}: {item} is at {distance}, not {known}");
    }
    let mut once: Vec<_> = found.nns.iter().map(|(item, _)| *item).collect();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), expected.len(), "{what}: every item once");
    if found.strategy.is_exact() {
        for ((_, distance), (_, known)) in found.nns.iter().zip(expected) {
            assert!(near(*distance, *known), "{what}: exact, at {distance}, not {known}");
        }
    }
    let last = expected.last().map_or(0.0, |last| last.1);
    let hits = found.nns.iter().filter(|(_, distance)| *distance <= last + 1e-4).count();
    (hits, expected.len())
}

/// The ways to answer.
fn ways<'q, 'a, S>(query: &Query<'a, S>) -> [(&'q str, Query<'a, S>); 3] {
    let [chosen, mut exact, mut walk] = [query.clone(), query.clone(), query.clone()];
    exact.exact();
    walk.walk_graph();
    [("chosen", chosen), ("exact", exact), ("walk", walk)]
}

fn restricted_answers_are_those_of_the_oracle<D: Distance>(codes: Option<Codes>, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (_folder, index, items) = churned::<D>(codes, &mut rng);
    let snapshot = index.snapshot().unwrap();
    let (mut hits, mut results, mut by_graph) = (0, 0, 0);
    for round in 0..20 {
        let query = random_vector(&mut rng);
        let all = oracle::<D>(&items, &query, |_| true);
        let share = [0.7, 0.4, 0.2, 0.05, 0.004][round % 5];
        let count = (all.len() as f64 * share) as usize;
        let candidates: RoaringBitmap = match round % 4 {
            0 => all[..count].iter().map(|(item, _)| *item).collect(),
            1 => all[all.len() - count..].iter().map(|(item, _)| *item).collect(),
            2 => items.keys().copied().filter(|_| rng.random_bool(share)).collect(),
            // With ids that the index does not have, among its own and beyond.
            _ => (0..20_000u32).filter(|_| rng.random_bool(share)).chain([u32::MAX]).collect(),
        };
        let excluded: RoaringBitmap = match round % 3 {
            0 => all[..5].iter().map(|(item, _)| *item).collect(),
            1 => items.keys().copied().filter(|_| rng.random_bool(0.5)).collect(),
            _ => (0..10).map(|_| rng.random_range(0..20_000)).collect(),
        };
        let modulus = 2 + rng.random_range(0..6u32);
        let is_divisible = |item: &ItemId| !item.is_multiple_of(modulus);
        let (kept, kept_out) = (Filter::new(candidates.clone()), Filter::new(excluded.clone()));
        for restrictions in 0..8u8 {
            let has = |bit: u8| restrictions & bit != 0;
            let passes = |item: ItemId| {
                (!has(1) || candidates.contains(item))
                    && (!has(2) || !excluded.contains(item))
                    && (!has(4) || is_divisible(&item))
            };
            let all = oracle::<D>(&items, &query, passes);
            let possible = items
                .keys()
                .filter(|item| !has(1) || candidates.contains(**item))
                .filter(|item| !has(2) || !excluded.contains(**item))
                .count() as u64;
            let mut asked = snapshot.search(K);
            asked.ef_search(EF);
            let mut same = asked.clone();
            if has(1) {
                asked.candidates(&candidates);
                same.candidates(&kept);
            }
            if has(2) {
                asked.exclude(&excluded);
                same.exclude(&kept_out);
            }
            if has(4) {
                asked.filter(&is_divisible);
                same.filter(&is_divisible);
            }
            for ((way, asked), (_, same)) in ways(&asked).into_iter().zip(ways(&same)) {
                let what = format!("round {round}, restrictions {restrictions}, {way}");
                let mut found = asked.by_vector(&query).unwrap();
                let (hit, of) = check_answer(&found, &all, K, &what);
                if way == "exact" {
                    assert!(found.strategy.is_exact() && hit == of, "{what}");
                }
                if way == "chosen" {
                    (hits, results) = (hits + hit, results + of);
                    by_graph += usize::from(found.strategy == Strategy::Graph);
                }
                // Only a bitmap that was not resolved counts ids that the index does not have: a
                // kept one is resolved when it is used again.
                _ = same.by_vector(&query).unwrap();
                let counted = same.by_vector(&query).unwrap();
                assert!(counted.possible <= found.possible, "{what}: {}", counted.possible);
                assert_eq!(counted.possible, possible, "{what}");
                found.possible = counted.possible;
                assert_eq!(counted, found, "{what}: kept");
                let rows = [&query[..], all.first().map_or(&query, |n| &items[&n.0])].concat();
                let many = asked.by_vectors(&rows).unwrap();
                assert_eq!(many[0], found, "{what}: one of many");
                assert_eq!(many[1], same.by_vector(&rows[DIMENSIONS..]).unwrap(), "{what}");
            }
            let item = *items.keys().nth(round * 31 % items.len()).unwrap();
            let others = oracle::<D>(&items, &items[&item], |other| other != item && passes(other));
            for (way, asked) in ways(&asked) {
                let what = format!("round {round}, restrictions {restrictions}, by item, {way}");
                let found = asked.by_item(item).unwrap().unwrap();
                check_answer(&found, &others, K, &what);
            }
        }
    }
    assert!(by_graph > 25, "only {by_graph} were answered by the graph");
    let recall = hits as f64 / results as f64;
    assert!(recall > 0.9, "recall {recall}");
}

#[test]
fn restricted_answers_without_codes_are_those_of_the_oracle() {
    restricted_answers_are_those_of_the_oracle::<Euclidean>(None, 1);
}

#[test]
fn restricted_answers_by_codes_are_those_of_the_oracle() {
    restricted_answers_are_those_of_the_oracle::<Cosine>(Some(Codes::Bits4), 2);
}

/// An index of a line of points, at the distance of their numbers, added in the order of `nth`.
fn line_in_order(items: u32, nth: impl Fn(u32) -> u32) -> (TempDir, Index<Euclidean>) {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(2)).unwrap();
    let at = |item: u32| [item as f32, (item * 37 % 11) as f32 / 10.0];
    index.load((0..items).map(nth).map(|item| (item, at(item))), |_| {}).unwrap();
    (folder, index)
}

fn line(items: u32) -> (TempDir, Index<Euclidean>) {
    line_in_order(items, |nth| nth)
}

/// A graph search among candidates that are far from the query walked through all that are near,
/// and kept those in a sorted list. Now it changes over to a scan before it has cost as much.
#[test]
fn no_filter_costs_more_than_twice_the_exact_way() {
    const ITEMS: u32 = 40_000;
    let (_folder, index) = line(ITEMS);
    let mut changed_over = 0;
    for query in [0.2f32, 20_000.2, 39_999.0] {
        for share in [2u32, 5, 10, 100] {
            let count = ITEMS / share;
            let mut order: Vec<u32> = (0..ITEMS).collect();
            order.sort_by(|a, b| (*a as f32 - query).abs().total_cmp(&(*b as f32 - query).abs()));
            let far = order[order.len() - count as usize..].iter().copied().collect();
            let near = order[..count as usize].iter().copied().collect();
            let every = (0..ITEMS).step_by(share as usize).collect();
            let strangers = (1 << 20..(1 << 20) + 50_000).chain([7, 99, 39_000]).collect();
            for (what, candidates) in
                [("far", far), ("near", near), ("every", every), ("strangers", strangers)]
            {
                let candidates: RoaringBitmap = candidates;
                let mut asked = index.search(K);
                asked.ef_search(50).candidates(&candidates);
                let chosen = asked.by_vector(&[query, 0.0]).unwrap();
                let exact = asked.exact().by_vector(&[query, 0.0]).unwrap();
                let cost = |found: &Searched| found.distances + found.estimates;
                assert!(
                    cost(&chosen) <= 2 * cost(&exact),
                    "{what}, 1 of {share}, from {query}: {} > 2 x {}",
                    cost(&chosen),
                    cost(&exact),
                );
                assert_eq!(chosen.nns.len(), exact.nns.len());
                let did_walk = cost(&chosen) > cost(&exact);
                changed_over += usize::from(chosen.strategy.is_exact() && did_walk);
                // The same again: nothing depends on time.
                let again = index.search(K).ef_search(50).candidates(&candidates).clone();
                assert_eq!(again.by_vector(&[query, 0.0]).unwrap(), chosen);
            }
        }
    }
    assert!(changed_over > 0, "a walk among far candidates changes over");
}

/// Looking up all ids of a bitmap took several times as long as the search.
#[test]
fn a_bitmap_of_many_ids_is_not_resolved_where_its_items_are_near() {
    let (_folder, index) = line(40_000);
    // One id that the index does not have tells whether they were looked up.
    let even: RoaringBitmap = (0..40_000).step_by(2).chain([u32::MAX]).collect();
    let far: RoaringBitmap = (20_000..40_000).chain([u32::MAX]).collect();
    let removed: Vec<u32> = (9_000..9_020).collect();
    index
        .write(|batch| {
            batch.link_later();
            batch.add(50_000, &[9_000.5, 0.0])?;
            removed.iter().try_for_each(|item| batch.delete(*item).map(drop))
        })
        .unwrap();
    let with_new = &even | RoaringBitmap::from([50_000]);
    let snapshot = index.snapshot().unwrap();
    for (candidates, at, nearest, is_resolved) in [
        (&even, 100.1, 100, Some(false)),
        // Next to what was removed, and to what is not linked yet: that depends on the graph.
        (&even, 9_001.0, 8_998, None),
        (&with_new, 9_001.0, 50_000, None),
        (&far, 100.1, 20_000, Some(true)),
    ] {
        let mut asked = snapshot.search(K);
        asked.ef_search(50).candidates(candidates);
        let found = asked.by_vector(&[at, 0.0]).unwrap();
        assert_eq!(found.nns[0].0, nearest, "near {at}");
        assert_eq!(found.nns.len(), K);
        let was_resolved = found.possible < candidates.len();
        assert!(is_resolved.is_none_or(|expected| expected == was_resolved), "near {at}");
        let explained = asked.explain(&[at, 0.0]).unwrap();
        assert_eq!(explained.answer.nns, found.nns, "near {at}");
        let chosen = &explained.ways[0];
        assert!(chosen.is_chosen && chosen.distances == found.distances, "{explained}");
    }
    let found = snapshot.search(K).ef_search(50).candidates(&even).by_item(100).unwrap().unwrap();
    assert!(found.nns.iter().all(|(item, _)| *item != 100 && item % 2 == 0), "{found:?}");
    assert_eq!(found.possible, even.len());
}

/// Removed items stay in the graph until a build: a search among them visited all of them.
#[test]
fn a_search_of_a_region_just_deleted_costs_no_more_than_a_scan() {
    let mut rng = StdRng::seed_from_u64(5);
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(DIMENSIONS);
    let index = Index::<Euclidean>::create(folder.path().join("vectors"), options).unwrap();
    let mut items: Items = (0..6000).map(|item| (item, random_vector(&mut rng))).collect();
    index.load(items.iter().map(|(item, vector)| (*item, vector)), |_| {}).unwrap();
    let query = random_vector(&mut rng);
    let nearest = index.search(300).exact().by_vector(&query).unwrap().into_nns();
    index
        .write(|batch| {
            batch.link_later();
            nearest.iter().try_for_each(|(item, _)| batch.delete(*item).map(drop))
        })
        .unwrap();
    nearest.iter().for_each(|(item, _)| drop(items.remove(item)));
    assert_eq!(index.stats().unwrap().removed, 300);
    let all = oracle::<Euclidean>(&items, &query, |_| true);
    let found = index.search(K).by_vector(&query).unwrap();
    let (hits, of) = check_answer(&found, &all, K, "among removed items");
    assert!(hits * 10 >= of * 9, "{hits} of {of}");
    assert!(found.distances <= 2 * 5700, "{} distances", found.distances);
    // Elsewhere, where few removed items are met, too.
    let elsewhere = &all[all.len() - 100].0;
    let found = index.search(K).by_vector(&items[elsewhere]).unwrap();
    assert_eq!(found.nns[0].0, *elsewhere);
    assert!(found.distances <= 2 * 5700, "{} distances", found.distances);
}

#[test]
fn a_predicate_is_asked_of_few() {
    let (_folder, index) = line_in_order(12_000, |nth| nth * 7919 % 12_000);
    let asked = AtomicUsize::new(0);
    for (of, limits) in [(1u32, [200, 200]), (2, [400, 300]), (10, [2500, 900])] {
        let accepts = |item: &ItemId| {
            asked.fetch_add(1, Ordering::Relaxed);
            item.is_multiple_of(of)
        };
        for (is_exact, most) in [(false, limits[0]), (true, limits[1])] {
            asked.store(0, Ordering::Relaxed);
            let mut query = index.search(K);
            query.ef_search(60).filter(&accepts);
            if is_exact {
                query.exact();
            }
            let found = query.by_vector(&[6000.2, 0.5]).unwrap();
            assert!(found.nns.len() == K && found.nns.iter().all(|(item, _)| item % of == 0));
            let count = asked.load(Ordering::Relaxed);
            assert!((K..=most).contains(&count), "1 of {of}, exact {is_exact}: {count}");
        }
    }
}

#[test]
fn a_predicate_is_not_asked_after_the_search_is_cancelled() {
    let (_folder, index) = line(6000);
    let (is_cancelled, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let accepts = |_: &ItemId| {
        assert!(!is_cancelled.load(Ordering::Relaxed), "asked after that");
        if asked.fetch_add(1, Ordering::Relaxed) == 20 {
            is_cancelled.store(true, Ordering::Relaxed);
        }
        true
    };
    let cancel = || is_cancelled.load(Ordering::Relaxed);
    for is_exact in [false, true] {
        is_cancelled.store(false, Ordering::Relaxed);
        asked.store(0, Ordering::Relaxed);
        let mut query = index.search(100);
        query.filter(&accepts).cancel(&cancel);
        if is_exact {
            query.exact();
        }
        let found = query.by_vector(&[3000.0, 0.0]).unwrap();
        assert!(found.did_cancel && found.nns.len() <= 21, "{}", found.nns.len());
    }
}

/// A filter remembers the slots of one snapshot, and must not use them for another.
#[test]
fn a_kept_filter_is_resolved_for_each_snapshot_and_index() {
    let (_folder, index) = line(3000);
    let (_other_folder, other) = line(500);
    let wanted: RoaringBitmap = (0..6000).step_by(3).collect();
    let kept = Filter::new(wanted.clone());
    let before = index.snapshot().unwrap();
    let same = |index: &Index<Euclidean>| {
        for query in [[0.0f32, 0.0], [2000.0, 0.0], [5000.0, 0.0]] {
            let fresh = index.search(K).candidates(&wanted).by_vector(&query).unwrap();
            let by_kept = index.search(K).candidates(&kept.clone()).by_vector(&query).unwrap();
            assert_eq!(by_kept, fresh);
        }
    };
    same(&index);
    same(&other);
    // Slots are used again, by other items.
    let aborted = index.write(|batch| {
        for item in 0..300 {
            batch.delete(item)?;
            batch.add(item + 3000, &[item as f32, 0.0])?;
        }
        let nearest = batch.search(1).candidates(&kept).by_vector(&[0.0, 0.0])?.into_nns();
        assert_eq!(nearest, [(3000, 0.0)], "not committed yet");
        batch.delete(3000)?;
        let nearest = batch.search(1).candidates(&kept).by_vector(&[0.0, 0.0])?.into_nns();
        assert_eq!(nearest, [(3003, 9.0)], "nor is that");
        Err::<(), _>(voisin::Error::Cancelled)
    });
    assert!(matches!(aborted, Err(voisin::Error::Cancelled)));
    same(&index);
    index
        .write(|batch| {
            (0..300).try_for_each(|item| {
                batch.delete(item)?;
                batch.add(item + 3000, &[item as f32, 0.0])
            })
        })
        .unwrap();
    same(&index);
    let old = before.search(1).candidates(&kept).by_vector(&[0.0, 0.0]).unwrap();
    assert_eq!(old.into_nns(), [(0, 0.0)]);
    thread::scope(|scope| {
        for (index, nearest) in [(&index, 3000), (&other, 0), (&index, 3000), (&other, 0)] {
            let kept = kept.clone();
            scope.spawn(move || {
                for _ in 0..50 {
                    let found = index.search(1).candidates(&kept).by_vector(&[0.0, 0.0]).unwrap();
                    assert_eq!(found.into_nns(), [(nearest, 0.0)]);
                }
            });
        }
    });
}

/// The names of items by key, and their places.
fn keys_of(users: u32, each: u32) -> Vec<(String, [f32; 2])> {
    (0..users)
        .flat_map(|user| (0..each).map(move |nth| (format!("user/{user}/{nth}"), user, nth)))
        .map(|(key, user, nth)| (key, [(user * 13 % 50) as f32 + nth as f32 / 100.0, nth as f32]))
        .collect()
}

#[test]
fn keys_are_restricted_by_prefix_predicate_exclusion_and_candidates() {
    let folder = tempfile::tempdir().unwrap();
    let index =
        Index::<Euclidean, str>::create(folder.path().join("keyed"), Options::new(2)).unwrap();
    let rows = keys_of(60, 50);
    index.load(rows.iter().map(|(key, vector)| (key, vector)), |_| {}).unwrap();
    index
        .write(|batch| {
            batch.link_later();
            batch.add("user/4/new", &[20.0, 20.0])?;
            batch.add("übung/1", &[20.0, 20.5])?;
            batch.delete("user/4/7").map(drop)
        })
        .unwrap();
    let mut rows: BTreeMap<String, [f32; 2]> = rows.into_iter().collect();
    rows.remove("user/4/7");
    rows.insert("user/4/new".to_owned(), [20.0, 20.0]);
    rows.insert("übung/1".to_owned(), [20.0, 20.5]);
    let long = "x".repeat(MAX_KEY_BYTES + 100);
    let ends_in_7 = |key: &str| key.ends_with('7');
    let out: Vec<String> = (0..20).map(|nth| format!("user/4/{nth}")).collect();
    let among: Vec<&String> = rows.keys().step_by(2).collect();
    let kept_out = Filter::<str>::keys(&out).unwrap();
    for prefix in ["", "user/4", "user/4/", "user/41/", "ü", "user/9/4", "nobody", &long] {
        let of_prefix = Filter::prefix(prefix);
        for restrictions in 0..8u8 {
            let has = |bit: u8| restrictions & bit != 0;
            let passes = |key: &String| {
                key.starts_with(prefix)
                    && (!has(1) || ends_in_7(key))
                    && (!has(2) || !out.contains(key))
                    && (!has(4) || among.contains(&key))
            };
            let at = |v: &[f32; 2]| (v[0] - 20.0).powi(2) + (v[1] - 20.0).powi(2);
            let mut all: Vec<f32> =
                rows.iter().filter(|(key, _)| passes(key)).map(|(_, vector)| at(vector)).collect();
            all.sort_by(f32::total_cmp);
            fn restrict<'a, S: Searchable<Key = str>>(
                query: &mut Query<'a, S>,
                has: &dyn Fn(u8) -> bool,
                predicate: &'a (dyn Fn(&str) -> bool + Sync),
                (out, among): (&'a Filter<str>, &[&String]),
            ) {
                if has(1) {
                    query.filter(predicate);
                }
                if has(2) {
                    query.exclude(out);
                }
                if has(4) {
                    query.candidates(among);
                }
            }
            let by = (&kept_out, &among[..]);
            let mut query = index.search(K);
            restrict(&mut query, &has, &ends_in_7, by);
            query.prefix(prefix);
            for (way, query) in ways(&query) {
                let what = format!("{prefix:?}, restrictions {restrictions}, {way}");
                let found = query.by_vector(&[20.0, 20.0]).unwrap();
                assert_eq!(found.nns.len(), K.min(all.len()), "{what}");
                assert!(found.nns.iter().all(|(key, _)| passes(key)), "{what}: {found:?}");
                if found.strategy.is_exact() {
                    let distances: Vec<f32> = found.nns.iter().map(|(_, d)| *d).collect();
                    assert_eq!(distances, all[..K.min(all.len())], "{what}");
                }
                let rows = [20.0, 20.0, 3.0, 3.0];
                assert_eq!(query.by_vectors(&rows).unwrap()[0], found, "{what}");
            }
            if !has(4) {
                let mut kept = index.search(K);
                restrict(&mut kept, &has, &ends_in_7, by);
                let found = kept.candidates(&of_prefix).by_vector(&[20.0, 20.0]).unwrap();
                assert_eq!(found.nns.len(), K.min(all.len()));
                assert!(found.nns.iter().all(|(key, _)| passes(key)));
            }
        }
    }
    // In a write transaction, with what it has changed.
    index
        .write(|batch| {
            batch.add("user/4/7", &[20.0, 20.0])?;
            let mut query = batch.search(2);
            let nearest = query.prefix("user/4/").filter(&ends_in_7).by_vector(&[20.0, 20.0])?;
            assert_eq!(nearest.nns[0], ("user/4/7".to_owned(), 0.0));
            let nearest = batch.search(1).prefix("user/4/").exclude(["user/4/7"]).clone();
            assert_eq!(nearest.by_vector(&[20.0, 20.0])?.nns[0].0, "user/4/new");
            Ok(())
        })
        .unwrap();
    assert!(Filter::<str>::keys([&long]).is_err());
}

#[test]
fn predicates_of_u64_keys_see_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let index =
        Index::<Euclidean, u64>::create(folder.path().join("keyed"), Options::new(1)).unwrap();
    index.load((0..2000u64).map(|key| (key << 33, [key as f32])), |_| {}).unwrap();
    let is_third = |key: &u64| (key >> 33).is_multiple_of(3);
    let kept = Filter::<u64>::keys((0..500).map(|key| key << 33)).unwrap();
    let found = index.search(3).filter(&is_third).by_vector(&[100.0]).unwrap();
    let keys: Vec<_> = found.nns.iter().map(|(key, _)| key >> 33).collect();
    assert_eq!(keys, [99, 102, 96]);
    let both = index.search(2).filter(&is_third).candidates(&kept).by_vector(&[800.0]).unwrap();
    assert_eq!(both.nns.iter().map(|(key, _)| key >> 33).collect::<Vec<_>>(), [498, 495]);
}

#[test]
fn readers_restrict_as_indexes_do() {
    let folder = tempfile::tempdir().unwrap();
    // SAFETY: no other program opens the folder.
    let env = unsafe { EnvOpenOptions::new().map_size(1 << 28).open(folder.path()).unwrap() };
    let database: Database<'_, Euclidean> = create_database(&env, None).unwrap();
    let writer = Writer::new(database, 0, 1);
    let mut wtxn = env.write_txn().unwrap();
    for item in 0..2000 {
        writer.add_item(&mut wtxn, item, &[item as f32]).unwrap();
    }
    writer.builder(&mut StdRng::seed_from_u64(42)).build::<16, 32>(&mut wtxn).unwrap();
    writer.add_item(&mut wtxn, 5000, &[700.5f32]).unwrap();
    writer.del_item(&mut wtxn, 699).unwrap();
    let among: RoaringBitmap = (600..800).chain([5000, 9999]).collect();
    let out = Filter::new((700..710).collect());
    let is_odd = |item: &ItemId| item % 2 == 1 || *item == 5000;
    let expected = [(5000, 0.25), (697, 9.0), (711, 121.0)];
    let before = {
        // A reader of a write transaction sees what is not committed yet.
        let reader = Reader::open(&wtxn, 0, database).unwrap();
        let mut query = reader.nns(2);
        query.candidates(&among).exclude(&out).filter(&is_odd);
        query.by_vector(&wtxn, &[700.0f32]).unwrap().into_nns()
    };
    assert_eq!(before, expected[..2]);
    wtxn.commit().unwrap();
    let rtxn = env.read_txn().unwrap();
    let reader = Reader::open(&rtxn, 0, database).unwrap();
    let warm = reader.warm(&rtxn).unwrap();
    let mut query = reader.nns(3);
    query.candidates(&among).exclude(&out).filter(&is_odd);
    let mut of_warm = warm.nns(3);
    of_warm.candidates(&among).exclude(&out).filter(&is_odd);
    for (way, query) in ways(&query) {
        let found = query.by_vector(&rtxn, &[700.0f32]).unwrap();
        assert_eq!(found.nns[..2], expected[..2], "{way}");
        assert_eq!(query.by_vectors(&rtxn, &[700.0f32, 0.0]).unwrap()[0], found, "{way}");
        assert!(query.by_item(&rtxn, 699).unwrap().is_none());
        let found = query.by_item(&rtxn, 5000).unwrap().unwrap();
        assert_eq!(found.nns[0].0, 697, "{way}: {found:?}");
    }
    for (way, query) in ways(&of_warm) {
        let found = query.by_vector(&[700.0f32]).unwrap();
        assert_eq!(found.nns[..2], expected[..2], "warm, {way}");
        assert_eq!(query.by_item(5000).unwrap().unwrap().nns[0].0, 697);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..Default::default()
    })]

    /// Few items, all pending or some linked: sets of any form find what a loop finds.
    #[test]
    fn any_sets_give_what_a_loop_finds(
        ids in prop::collection::btree_set(0..3000u32, 1..60),
        linked in 0..60usize,
        among in prop::collection::btree_set(0..3000u32, 0..300),
        out in prop::collection::btree_set(0..3000u32, 0..300),
        gone in prop::collection::btree_set(0..60usize, 0..6),
        at in 0.0..3000.0f32,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let index =
            Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1)).unwrap();
        let ids: Vec<u32> = ids.into_iter().collect();
        let (first, rest) = ids.split_at(linked.min(ids.len()));
        index.load(first.iter().map(|id| (*id, [*id as f32])), |_| {}).unwrap();
        let gone: Vec<u32> = gone.iter().filter_map(|nth| ids.get(*nth).copied()).collect();
        index.write(|batch| {
            batch.link_later();
            rest.iter().try_for_each(|id| batch.add(*id, &[*id as f32]))?;
            gone.iter().try_for_each(|id| batch.delete(*id).map(drop))
        }).unwrap();
        let among = among.into_iter().chain(ids.iter().copied().step_by(2));
        let among: RoaringBitmap = among.collect();
        let out: RoaringBitmap = out.into_iter().chain(ids.iter().copied().step_by(3)).collect();
        let mut all: Vec<u32> = ids.iter().copied()
            .filter(|id| !gone.contains(id) && among.contains(*id) && !out.contains(*id)).collect();
        all.sort_by(|a, b| {
            let far = |id: u32| (f64::from(id) - f64::from(at)).powi(2);
            far(*a).total_cmp(&far(*b)).then(a.cmp(b))
        });
        all.truncate(5);
        let mut query = index.search(5);
        query.candidates(&among).exclude(&out);
        for (way, query) in ways(&query) {
            let found = query.by_vector(&[at]).unwrap();
            let found: Vec<u32> = found.nns.iter().map(|(id, _)| *id).collect();
            prop_assert_eq!(&found, &all, "{}", way);
        }
    }
}
