//! Every question with every restriction: candidates, exclusions, predicates, prefixes and kept
//! filters, on everything that can be searched.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Mutex;
use std::time::Instant;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::distances::{Euclidean, distance};
use voisin::heed::EnvOpenOptions;
use voisin::roaring::RoaringBitmap;
use voisin::{
    Codes, Error, Filter, Index, IndexKind, ItemId, ItemName, Options, Query, Reader, Searchable,
    Writer, create_database,
};

use super::{DIMENSIONS, World, by_lists, random_vector};

type Owned<S> = <<S as Searchable>::Key as ItemName>::Owned;

/// The items that pass, by their distance to the query, and their distance to another vector.
type Passing<N> = Vec<(N, f32, f32)>;

fn passing<N: Clone + Ord>(
    items: &BTreeMap<N, Vec<f32>>,
    [query, other]: [&[f32]; 2],
    passes: impl Fn(&N) -> bool,
) -> Passing<N> {
    let to = |from: &[f32], vector: &[f32]| distance::<Euclidean>(from, vector).unwrap();
    let mut all: Vec<_> = items
        .iter()
        .filter(|(name, _)| passes(name))
        .map(|(name, vector)| (name.clone(), to(query, vector), to(other, vector)))
        .collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    all
}

/// That two lists are of the same items, if no tie has been cut, and of about the same distances.
#[track_caller]
fn assert_near<N: Ord + Debug>(found: &[(N, f32)], expected: &[(N, f32)], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let error = 2e-5 * expected.1.abs().max(1.0);
        assert!((found.1 - expected.1).abs() <= error, "{what}: {found:?} {expected:?}");
    }
}

#[track_caller]
fn assert_passes<N: Ord + Debug>(found: &[(N, f32)], all: &Passing<N>, what: &str) {
    let mut once: Vec<_> = found.iter().map(|(name, _)| name).collect();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), found.len(), "{what}: no item twice");
    for (name, distance) in found {
        let known = all.iter().find(|(known, ..)| known == name);
        let (_, known, _) = known.unwrap_or_else(|| panic!("{what}: {name:?} does not pass"));
        assert!((distance - known).abs() <= 2e-5 * known.max(1.0), "{what}: {name:?}");
    }
}

/// How many of the results of walks were found.
#[derive(Debug, Default)]
struct Recall {
    found: usize,
    of: usize,
}

/// Asks everything with the restrictions of a query, which `all` pass.
fn ask_everything<S: Searchable>(
    search: &Query<'_, S>,
    [query, other]: [&[f32]; 2],
    all: &Passing<Owned<S>>,
    recall: &mut Recall,
    what: &str,
) {
    let nns = |all: &[(Owned<S>, f32, f32)]| -> Vec<(Owned<S>, f32)> {
        all.iter().map(|(name, distance, _)| (name.clone(), *distance)).collect()
    };
    let k = 10;
    // Between two items, where there are.
    let radius = match (all.get(all.len() / 3), all.get(all.len() / 3 + 1)) {
        (Some(a), Some(b)) => a.1 + (b.1 - a.1) / 2.0,
        (Some(a), None) => a.1 + 1.0,
        _ => 1.0,
    };
    let inside: Vec<_> = all.iter().filter(|(_, d, _)| *d <= radius).cloned().collect();
    let (mut exact, mut walk) = (search.clone(), search.clone());
    exact.exact();
    walk.walk_graph();
    let mut ways = vec![("chosen", search), ("exact", &exact), ("walk", &walk)];
    let mut lists = search.clone();
    by_lists(&mut lists);
    // Readers have none here.
    if !matches!(lists.by_vector(query), Err(Error::KindMismatch { .. })) {
        ways.push(("lists", &lists));
    }
    let ways = &ways[..];

    // Within a radius, and counts.
    for &(way, search) in ways {
        let what = format!("{what}, {way}");
        let mut within = search.clone();
        within.within(radius).with_vectors();
        let found = within.by_vector(query).unwrap();
        let expected = &inside[..inside.len().min(k)];
        assert_passes(&found.nns, all, &what);
        assert!(found.nns.iter().all(|(_, distance)| *distance <= radius), "{what}");
        assert_eq!(found.vectors.len(), found.nns.len(), "{what}");
        if found.strategy.is_exact() {
            assert_near(&found.nns, &nns(expected), &what);
            assert_eq!(found.has_more, inside.len() > k, "{what}");
        } else {
            recall.found += found.nns.len();
            recall.of += expected.len();
        }
        let many = within.by_vectors(&[query, other].concat()).unwrap();
        assert_eq!(many[0].nns, found.nns, "{what}: one of many");
    }
    // A goal of recall, measured and explained.
    for goal in [0.5, 1.0] {
        let what = format!("{what}, recall {goal}");
        let mut asked = search.clone();
        asked.recall(goal);
        let found = asked.by_vector(query).unwrap();
        assert_passes(&found.nns, all, &what);
        assert_eq!(found.nns.len(), all.len().min(k), "{what}");
        assert!(goal < 1.0 || found.strategy.is_exact(), "{what}");
        if found.strategy.is_exact() {
            assert_near(&found.nns, &nns(&all[..all.len().min(k)]), &what);
        }
        let explained = asked.explain(query).unwrap();
        assert_eq!(explained.answer.nns, found.nns, "{what}");
        assert_eq!(explained.answer.strategy, found.strategy, "{what}");
        let chosen: Vec<_> = explained.ways.iter().map(|way| way.is_chosen).collect();
        assert!(chosen[0] && !chosen[1..].contains(&true), "{what}: {explained}");
    }
    let measured = exact.measure_recall(20).unwrap();
    assert_eq!((measured.mean, measured.high), (1.0, 1.0), "{what}: {measured:?}");
    let measured = walk.measure_recall(20).unwrap();
    assert!(measured.low <= measured.mean && measured.mean <= measured.high, "{what}");

    let counted = search.count_within(query, radius).unwrap();
    assert_eq!((counted.items, counted.is_exact()), (inside.len() as u64, true), "{what}");
    let estimated = search.estimate_within(query, radius, u32::MAX).unwrap();
    assert_eq!(estimated.items, counted.items, "{what}");
    let estimated = search.estimate_within(query, radius, 20).unwrap();
    assert!(estimated.low <= estimated.items && estimated.items <= estimated.high, "{what}");
    assert!(estimated.is_exact() || estimated.distances <= 20, "{what}");

    // Pages: all that pass, and nothing else.
    for &(way, search) in ways {
        let what = format!("{what}, pages, {way}");
        let mut pages = search.pages(query).unwrap();
        let mut found = Vec::new();
        for page in pages.by_ref() {
            found.extend(page.unwrap().nns);
        }
        assert_passes(&found, all, &what);
        assert_eq!(found.len(), all.len(), "{what}");
        if ["exact", "lists"].contains(&way) {
            assert_near(&found, &nns(all), &what);
        }
        let mut within = search.clone();
        within.within(radius);
        let found: Vec<_> =
            within.pages(query).unwrap().flat_map(|page| page.unwrap().nns).collect();
        assert_passes(&found, &inside, &what);
        // A token goes on where it was made, with the same restrictions only.
        let mut pages = search.pages(query).unwrap();
        let first = pages.next_page(&|| false).unwrap().nns;
        assert_passes(&first, all, &what);
        if let Some(token) = pages.token() {
            let rest = search.pages_after(query, &token).unwrap();
            let rest: Vec<_> = rest.flat_map(|page| page.unwrap().nns).collect();
            assert_eq!(first.len() + rest.len(), all.len(), "{what}");
            assert_passes(&[first, rest].concat(), all, &what);
        }
    }

    // Groups, several vectors, diversity, a deadline.
    let group = |name: &Owned<S>| format!("{name:?}").len() % 3;
    let found = exact.clone().groups(query, 2, group).unwrap().groups;
    type Nearest<S> = Vec<(Owned<S>, f32)>;
    let mut expected: Vec<(usize, Nearest<S>)> = Vec::new();
    for (name, distance, _) in all {
        let of = group(name);
        match expected.iter_mut().find(|(known, _)| *known == of) {
            Some((_, nns)) if nns.len() == 2 => {}
            Some((_, nns)) => nns.push((name.clone(), *distance)),
            None => expected.push((of, vec![(name.clone(), *distance)])),
        }
    }
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, (_, expected)) in found.iter().zip(&expected) {
        assert_near(&found.nns, expected, what);
        assert_passes(&found.nns, all, what);
    }
    let by = |of: &dyn Fn(f32, f32) -> f32| {
        let mut ranked: Vec<_> =
            all.iter().map(|(name, a, b)| (name.clone(), of(*a, *b))).collect();
        ranked.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        ranked.truncate(k);
        ranked
    };
    let rows = [query, other].concat();
    let found = exact.by_nearest_of(&rows).unwrap();
    assert_near(&found.nns, &by(&f32::min), &format!("{what}, nearest of"));
    let found = exact.by_sum(&[(query, 1.0), (other, 1.0)]).unwrap();
    assert_near(&found.nns, &by(&|a, b| a + b), &format!("{what}, sum"));
    for (_, search) in ways.iter().copied().filter(|(way, _)| *way != "exact") {
        let both: Vec<_> = search.by_nearest_of(&rows).unwrap().nns;
        assert!(both.iter().all(|(name, _)| all.iter().any(|(known, ..)| known == name)));
        assert_passes(&search.diverse(query, 0.5, 30).unwrap().nns, all, what);
    }
    assert_near(&exact.diverse(query, 1.0, 30).unwrap().nns, &by(&|a, _| a), what);
    let late = search.clone().deadline(Instant::now()).by_vector(query).unwrap();
    assert_passes(&late.nns, all, what);
    let late = search.clone().deadline(Instant::now()).within(radius).by_vector(query).unwrap();
    assert_passes(&late.nns, &inside, what);
}

/// The restrictions of a round.
struct Sets {
    candidates: RoaringBitmap,
    excluded: RoaringBitmap,
    kept: [Filter; 2],
}

impl Sets {
    fn new(rng: &mut StdRng, share: f64, excluded: f64) -> Self {
        // With ids that the index does not have.
        let mut some = |share: f64| -> RoaringBitmap {
            (0..1500u32).filter(|_| rng.random_bool(share)).chain([u32::MAX]).collect()
        };
        let (candidates, excluded) = (some(share), some(excluded));
        let kept = [Filter::new(candidates.clone()), Filter::new(excluded.clone())];
        Self { candidates, excluded, kept }
    }

    fn passes(&self, bits: u8, item: ItemId) -> bool {
        (bits & 1 == 0 || self.candidates.contains(item))
            && (bits & 2 == 0 || !self.excluded.contains(item))
            && (bits & 4 == 0 || is_accepted(&item))
    }

    fn restrict<'a, S: Searchable<Key = ItemId>>(&'a self, search: &mut Query<'a, S>, bits: u8) {
        let is_kept = bits & 8 != 0;
        if bits & 1 != 0 {
            if is_kept {
                search.candidates(&self.kept[0]);
            } else {
                search.candidates(&self.candidates);
            }
        }
        if bits & 2 != 0 {
            if is_kept {
                search.exclude(&self.kept[1]);
            } else {
                search.exclude(&self.excluded);
            }
        }
        if bits & 4 != 0 {
            search.filter(&is_accepted);
        }
    }

    /// Asks everything of something that can be searched, with all combinations of restrictions.
    fn ask<'a, S: Searchable<Key = ItemId> + 'a>(
        &'a self,
        search: impl Fn() -> Query<'a, S>,
        items: &BTreeMap<ItemId, Vec<f32>>,
        rows: [&[f32]; 2],
        recall: &mut Recall,
        what: &str,
    ) {
        for bits in 0..16u8 {
            // A filter that is kept has no meaning without a set.
            if bits & 8 != 0 && bits & 3 == 0 {
                continue;
            }
            let all = passing(items, rows, |item| self.passes(bits, *item));
            let mut search = search();
            search.ef_search(40);
            self.restrict(&mut search, bits);
            ask_everything(
                &search,
                rows,
                &all,
                recall,
                &format!("{what}, restrictions {bits:04b}"),
            );
        }
    }
}

fn is_accepted(item: &ItemId) -> bool {
    !item.is_multiple_of(5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]
    #[test]
    fn every_question_obeys_every_restriction(seed in 0..1000u64, count in 30..500u32) {
        let codes = [None, Some(Codes::Bits4)][seed as usize % 2];
        let world = World::<Euclidean>::new(seed, count, codes);
        let mut rng = StdRng::seed_from_u64(seed ^ 5);
        let (query, other) = (random_vector(&mut rng), random_vector(&mut rng));
        let (rows, mut recall) = ([&query[..], &other[..]], Recall::default());
        let share = [0.05, 0.4, 0.9][seed as usize % 3];
        let sets = Sets::new(&mut rng, share, [0.5, 0.01][seed as usize % 2]);
        let snapshot = world.index.snapshot().unwrap();
        sets.ask(|| world.index.search(10), &world.items, rows, &mut recall, "index");
        sets.ask(|| snapshot.search(10), &world.items, rows, &mut recall, "snapshot");
        // A batch sees what it has changed, and what is kept does not outlive that.
        let mut items = world.items.clone();
        let rollback = world.index.write(|batch| {
            for item in (0..60).step_by(3) {
                let vector = random_vector(&mut rng);
                batch.add(item, &vector)?;
                items.insert(item, vector);
            }
            batch.delete(90)?;
            items.remove(&90);
            let batch = &*batch;
            sets.ask(|| batch.search(10), &items, rows, &mut recall, "batch");
            Err::<(), _>(Error::Cancelled)
        });
        assert!(matches!(rollback, Err(Error::Cancelled)));
        sets.ask(|| world.index.search(10), &world.items, rows, &mut recall, "index again");
        assert!(recall.found * 100 >= recall.of * 95, "{recall:?}");
    }
}

/// Readers, which have a transaction of the caller's, answer the same.
#[test]
fn every_question_to_a_reader_obeys_every_restriction() {
    let folder = tempfile::tempdir().unwrap();
    // SAFETY: nobody else has the environment open.
    let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).open(folder.path()).unwrap() };
    let db = create_database::<Euclidean>(&env, None).unwrap();
    let writer = Writer::new(db, 0, DIMENSIONS);
    let mut rng = StdRng::seed_from_u64(31);
    let mut items: BTreeMap<ItemId, Vec<f32>> =
        (0..300).map(|item| (item * 3, random_vector(&mut rng))).collect();
    let mut wtxn = env.write_txn().unwrap();
    for (item, vector) in &items {
        writer.add_item(&mut wtxn, *item, vector).unwrap();
    }
    writer.builder(&mut StdRng::seed_from_u64(1)).build::<8, 16>(&mut wtxn).unwrap();
    for item in (900..960).step_by(3) {
        items.insert(item, random_vector(&mut rng));
        writer.add_item(&mut wtxn, item, &items[&item]).unwrap();
    }
    for item in (0..90).step_by(9) {
        items.remove(&item);
        writer.del_item(&mut wtxn, item).unwrap();
    }
    wtxn.commit().unwrap();
    let rtxn = env.read_txn().unwrap();
    let reader = Reader::open(&rtxn, 0, db).unwrap();
    let (on, warm) = (reader.on(&rtxn), reader.warm(&rtxn).unwrap());
    let (query, other) = (random_vector(&mut rng), random_vector(&mut rng));
    let (rows, mut recall) = ([&query[..], &other[..]], Recall::default());
    let sets = Sets::new(&mut rng, 0.3, 0.2);
    sets.ask(|| on.nns(10), &items, rows, &mut recall, "reader");
    sets.ask(|| warm.nns(10), &items, rows, &mut recall, "warm reader");
    assert!(recall.found * 100 >= recall.of * 95, "{recall:?}");
}

/// By keys, and by a prefix of them, with those that are not in the index.
#[test]
fn every_question_by_key_obeys_every_restriction() {
    let folder = tempfile::tempdir().unwrap();
    let kinds = [IndexKind::Hnsw, IndexKind::Ivf];
    let options = Options::new(DIMENSIONS).m(8).m0(16).kinds(kinds);
    let index = Index::<Euclidean, str>::create(folder.path().join("vectors"), options).unwrap();
    let mut rng = StdRng::seed_from_u64(41);
    let owner = |nth: u32| ["ann/", "bob/", "b"][nth as usize % 3];
    let mut items: BTreeMap<String, Vec<f32>> =
        (0..300).map(|nth| (format!("{}{nth}", owner(nth)), random_vector(&mut rng))).collect();
    let add = |some: &BTreeMap<String, Vec<f32>>| {
        index.write(|batch| some.iter().try_for_each(|(key, vector)| batch.add(key, vector)))
    };
    add(&items).unwrap();
    index.link().unwrap();
    let new: BTreeMap<String, Vec<f32>> =
        (300..340).map(|nth| (format!("{}{nth}", owner(nth)), random_vector(&mut rng))).collect();
    let gone: Vec<String> = items.keys().step_by(19).cloned().collect();
    index
        .write(|batch| {
            batch.link_later();
            gone.iter().try_for_each(|key| batch.delete(key).map(drop))?;
            new.iter().try_for_each(|(key, vector)| batch.add(key, vector))
        })
        .unwrap();
    items.extend(new);
    items.retain(|key, _| !gone.contains(key));
    let candidates: Vec<String> =
        items.keys().filter(|_| rng.random_bool(0.4)).cloned().chain(["zoe".into()]).collect();
    let excluded: Vec<String> = items.keys().filter(|_| rng.random_bool(0.2)).cloned().collect();
    let accepts = |key: &str| !key.ends_with('7');
    let [kept, kept_out] = [&candidates, &excluded].map(|keys| Filter::<str>::keys(keys).unwrap());
    let kept_prefix = Filter::<str>::prefix("b");
    let (query, other) = (random_vector(&mut rng), random_vector(&mut rng));
    let (rows, mut recall) = ([&query[..], &other[..]], Recall::default());
    let snapshot = index.snapshot().unwrap();
    for bits in 0..32u8 {
        let has = |bit: u8| bits & bit != 0;
        let all = passing(&items, rows, |key| {
            (!has(1) || candidates.contains(key))
                && (!has(2) || !excluded.contains(key))
                && (!has(4) || accepts(key))
                && (!has(8) || key.starts_with("bob/"))
        });
        fn restrict<'a, S: Searchable<Key = str>>(
            mut search: Query<'a, S>,
            bits: u8,
            [candidates, excluded]: [&'a [String]; 2],
            [kept, kept_out]: [&'a Filter<str>; 2],
            accepts: &'a (dyn Fn(&str) -> bool + Sync),
        ) -> Query<'a, S> {
            match bits & 17 {
                1 => _ = search.candidates(candidates),
                17 => _ = search.candidates(kept),
                _ => {}
            }
            match bits & 18 {
                2 => _ = search.exclude(excluded),
                18 => _ = search.exclude(kept_out),
                _ => {}
            }
            if bits & 4 != 0 {
                search.filter(accepts);
            }
            if bits & 8 != 0 {
                search.prefix("bob/");
            }
            search.ef_search(40);
            search
        }
        let (sets, filters) = ([&candidates[..], &excluded], [&kept, &kept_out]);
        let what = format!("restrictions {bits:05b}");
        let search = restrict(snapshot.search(10), bits, sets, filters, &accepts);
        ask_everything(&search, rows, &all, &mut recall, &what);
        let rollback = index.write(|batch| {
            let search = restrict(batch.search(10), bits, sets, filters, &accepts);
            ask_everything(&search, rows, &all, &mut recall, &what);
            Err::<(), _>(Error::Cancelled)
        });
        assert!(matches!(rollback, Err(Error::Cancelled)));
    }
    let of_both = passing(&items, rows, |key| key.starts_with('b'));
    let mut search = index.search(10);
    search.candidates(&kept_prefix);
    ask_everything(&search, rows, &of_both, &mut recall, "kept prefix");
    assert!(recall.found * 100 >= recall.of * 95, "{recall:?}");
}

/// A predicate may be slow: it is not asked of what is beyond the radius, nor of items that other
/// restrictions refuse.
#[test]
fn a_predicate_is_asked_of_what_would_be_a_result() {
    let world = World::<Euclidean>::new(8, 400, None);
    let query = random_vector(&mut StdRng::seed_from_u64(9));
    let all = world.all(&query);
    let radius = all[60].1;
    let excluded: RoaringBitmap = all.iter().step_by(4).map(|(item, _)| *item).collect();
    let asked = Mutex::new(RoaringBitmap::new());
    let accepts = |item: &ItemId| {
        asked.lock().unwrap().insert(*item);
        item.is_multiple_of(2)
    };
    let mut search = world.index.search(1000);
    search.exclude(&excluded).filter(&accepts);
    let (mut exact, mut walk) = (search.clone(), search.clone());
    exact.exact().within(radius);
    walk.walk_graph().within(radius);
    let check = |what: &str| {
        let asked = std::mem::take(&mut *asked.lock().unwrap());
        assert!(asked.len() > 10, "{what}: {asked:?}");
        for (item, distance) in &all {
            let is_near = *distance <= radius * 1.0001;
            assert!(!asked.contains(*item) || is_near && !excluded.contains(*item), "{what}");
        }
    };
    exact.by_vector(&query).unwrap();
    check("exact");
    walk.by_vector(&query).unwrap();
    check("walk");
    search.count_within(&query, radius).unwrap();
    check("count");
    search.estimate_within(&query, radius, 350).unwrap();
    check("estimate");
}

/// A search that had no time to look a filter up leaves nothing half done to the next, and does not
/// return what is excluded.
#[test]
fn a_deadline_leaves_a_kept_filter_as_it_was() {
    let world = World::<Euclidean>::new(10, 400, None);
    let query = random_vector(&mut StdRng::seed_from_u64(11));
    let all = world.all(&query);
    let excluded: RoaringBitmap = all.iter().take(300).map(|(item, _)| *item).collect();
    let only: RoaringBitmap = all.iter().skip(200).map(|(item, _)| *item).collect();
    let snapshot = world.index.snapshot().unwrap();
    let (without, among) = (Filter::new(excluded.clone()), Filter::new(only));
    let left: Vec<_> = all.iter().map(|(item, _)| *item).skip(300).collect();
    for is_late in [true, false] {
        let mut search = snapshot.search(1000);
        search.exact().exclude(&without).candidates(&among);
        if is_late {
            search.deadline(Instant::now());
        }
        let found = search.by_vector(&query).unwrap();
        assert_eq!(found.timed_out, is_late);
        assert!(found.nns.iter().all(|(item, _)| !excluded.contains(*item)));
        assert!(is_late || found.nns.iter().map(|(item, _)| *item).eq(left.iter().copied()));
        let counted = search.count_within(&query, f32::MAX).unwrap();
        assert!(counted.low <= left.len() as u64 && left.len() as u64 <= counted.high);
        assert_eq!(counted.did_cancel, is_late);
        let pages = search.pages(&query).unwrap().next().unwrap().unwrap();
        assert!(pages.nns.iter().all(|(item, _)| !excluded.contains(*item)));
    }
}
