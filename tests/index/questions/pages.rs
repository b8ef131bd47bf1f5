//! Pages, tokens and groups.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use voisin::distances::{Cosine, Distance, Euclidean};
use voisin::{Codes, Error, Field, FieldValue, Index, Options, PageToken};

use super::{DIMENSIONS, World, assert_same, by_lists, force, random_vector};
use crate::child::{Running, tell, told};

/// All pages of all ways, against the oracle: every item once, in order where the way is exact, and
/// nearly so where it is not.
fn compare<D: Distance>(world: &World<D>, seed: u64, page: usize) {
    let (query, candidates, [all, among]) = world.case(seed ^ 99);
    for (all, candidates) in [(&all, None), (&among, Some(&candidates))] {
        for exact in [true, false] {
            let mut search = world.index.search(page);
            search.ef_search(50);
            force(&mut search, exact);
            if let Some(candidates) = candidates {
                search.candidates(candidates);
            }
            let mut pages = search.pages(&query).unwrap();
            let (mut found, mut middle) = (Vec::new(), None);
            while let Some(next) = pages.next() {
                let next = next.unwrap();
                assert!(!next.nns.is_empty() && next.nns.len() <= page && !next.did_cancel);
                found.extend(next.nns);
                assert_eq!(pages.position(), found.len() as u64);
                if middle.is_none() && found.len() * 2 > all.len() {
                    middle = Some((pages.token().unwrap(), found.len()));
                }
            }
            assert!(pages.next().is_none());
            let once: BTreeSet<_> = found.iter().map(|(item, _)| *item).collect();
            assert_eq!((once.len(), found.len()), (found.len(), all.len()), "exact: {exact}");
            if exact {
                assert_same(&found, all);
            }
            // Rarely does an item come late; half of the sequence has nearly all that it should.
            let late = found.windows(2).filter(|pair| pair[0].1 > pair[1].1).count();
            assert!(if exact { late == 0 } else { late * 50 <= found.len() }, "{late}");
            let half = all.len() / 2;
            let near: BTreeSet<_> = all[..half].iter().map(|(item, _)| *item).collect();
            let right = found[..half].iter().filter(|(item, _)| near.contains(item)).count();
            assert!(right * 100 >= half * 95, "{right} of {half}");

            // The sequence is that of the query, whatever the size of pages, and a token goes on.
            let mut others = search.clone();
            let (token, position) = middle.unwrap();
            others.within(f32::INFINITY);
            let other = others.pages_after(&query, &token);
            assert!(matches!(other, Err(Error::InvalidPageToken { .. })), "{other:?}");
            let rest = search.pages_after(&query, &token).unwrap();
            let rest: Vec<_> = rest.flat_map(|page| page.unwrap().nns).collect();
            assert!(rest == found[position..], "exact: {exact}, {position}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]
    #[test]
    fn pages_have_every_item_once_in_the_order_of_distances(
        seed in 0..1000u64,
        items in 20..500u32,
        page in prop::sample::select(&[1usize, 7, 100][..]),
    ) {
        let codes = [None, Some(Codes::Bits4), Some(Codes::Bits8)][seed as usize % 3];
        compare(&World::<Euclidean>::new(seed, items, codes), seed, page);
        compare(&World::<Cosine>::new(seed, items, codes), seed, page);
    }
}

/// A page of a later position costs about what it yields, not what all pages up to there do; and
/// pages go over to a scan where that costs less.
#[test]
fn a_page_costs_what_it_yields() {
    let folder = tempfile::tempdir().unwrap();
    let index =
        Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(64)).unwrap();
    let side = 130u32;
    let items = (0..side * side).map(|i| {
        let mut vector = [0.0f32; 64];
        (vector[0], vector[1]) = ((i % side) as f32, (i / side) as f32);
        (i, vector)
    });
    index.load(items, |_| {}).unwrap();
    let mut query = [0.0f32; 64];
    (query[0], query[1]) = (60.2, 60.3);
    let mut pages = index.search(10).walk_graph().pages(&query).unwrap();
    let costs: Vec<u64> = pages.by_ref().take(100).map(|page| page.unwrap().distances).collect();
    let total: u64 = costs.iter().sum();
    let single = index.search(1000).walk_graph().by_vector(&query).unwrap();
    assert!(total <= 2 * single.distances, "{total} {}", single.distances);
    // Blocks are of 256 items.
    assert!(costs.iter().all(|cost| *cost < total / 2), "{costs:?}");

    let mut pages = index.search(10).pages(&query).unwrap();
    let mut found = BTreeSet::new();
    let (mut ways, mut distances) = (Vec::new(), 0);
    let mut resumed: Option<std::vec::IntoIter<(u32, f32)>> = None;
    while let Some(page) = pages.next() {
        let page = page.unwrap();
        // Pages of another size, which a search for so many would answer by a scan.
        if let Some(rest) = &mut resumed {
            assert_eq!(rest.next(), page.nns.first().copied());
            page.nns.iter().skip(1).for_each(|item| assert_eq!(rest.next(), Some(*item)));
        } else if found.len() > 300 {
            let token = pages.token().unwrap();
            let rest = index.search(900).pages_after(&query, &token).unwrap();
            let rest: Vec<_> = rest.flat_map(|page| page.unwrap().nns).collect();
            resumed = Some(rest.into_iter());
        }
        ways.push(page.strategy.is_exact());
        distances += page.distances;
        assert!(page.nns.iter().all(|(item, _)| found.insert(*item)));
    }
    assert_eq!(found.len() as u32, side * side);
    assert!(!ways[0] && ways[ways.len() - 1], "{ways:?}");
    assert!(distances < 10 * u64::from(side * side), "{distances}");
}

/// Pages are of one snapshot, whatever is committed meanwhile. A token goes on where that snapshot
/// is the newest or is held, after commits to other indexes of the folder, too.
#[test]
fn pages_and_tokens_are_of_one_snapshot() {
    let world = World::<Euclidean>::new(21, 300, None);
    let query = world.items[&6].clone();
    let snapshot = world.index.snapshot().unwrap();
    fn can_be_kept<T: Send + Sync + 'static>(_: &T) {}
    can_be_kept(&world.index.search(10).pages(&query).unwrap());
    let mut pages = world.index.search(10).pages(&query).unwrap();
    let first = pages.next().unwrap().unwrap().nns;
    let token: PageToken = pages.token().unwrap().to_string().parse().unwrap();
    let second = pages.next().unwrap().unwrap().nns;
    let other =
        Index::<Euclidean>::create(world.index.path(), Options::new(DIMENSIONS).name("other"))
            .unwrap();
    other.write(|batch| batch.add(1, &query)).unwrap();
    let mut again = world.index.search(10).pages_after(&query, &token).unwrap();
    assert_eq!(again.next().unwrap().unwrap().nns, second);
    let wrong = other.search(10).pages_after(&query, &token);
    assert!(matches!(wrong, Err(Error::InvalidPageToken { .. })));

    let near: Vec<_> = first.iter().chain(&second).map(|(item, _)| *item).collect();
    world.index.write(|batch| batch.delete_items(near.clone())).unwrap();
    let expired = world.index.search(10).pages_after(&query, &token);
    assert!(matches!(expired, Err(Error::PagesExpired { .. })), "{expired:?}");
    let mut held = snapshot.search(10).pages_after(&query, &token).unwrap();
    assert_eq!(held.next().unwrap().unwrap().nns, second);
    assert_eq!(held.next().unwrap().unwrap().nns, pages.next().unwrap().unwrap().nns);
    assert_eq!(again.next().unwrap().unwrap().nns.len(), 10);

    // A batch has pages, and no tokens, as its state is not committed.
    world
        .index
        .write(|batch| {
            batch.add(7000, &query)?;
            let mut pages = batch.search(2).pages(&query)?;
            assert_eq!(pages.next().unwrap()?.nns[0], (7000, 0.0));
            assert!(pages.token().is_none() && pages.next().is_some());
            Ok(())
        })
        .unwrap();
    assert!(world.index.search(10).pages(&[1.0]).is_err());
    assert!(world.index.search(10).pages_by_item(2_000_000).unwrap().is_none());
    let mut by_item = world.index.search(3).exact().pages_by_item(7000).unwrap().unwrap();
    let found = by_item.next().unwrap().unwrap().nns;
    assert_eq!(found, world.index.search(3).exact().by_item(7000).unwrap().unwrap().nns);
    assert!(world.index.search(0).pages(&query).unwrap().next().is_none());
}

/// A token of one process is good in another.
#[test]
fn another_process_goes_on_with_a_token() {
    let query = [1.5f32, 2.5, 0.0, 1.0, 3.0, 2.0];
    if let Some(told) = told() {
        let index = Index::<Euclidean>::open(&told[0], Options::new(DIMENSIONS)).unwrap();
        let mut pages = index.search(5).pages_after(&query, &told[1].parse().unwrap()).unwrap();
        tell(&format!("{:?}", pages.next().unwrap().unwrap().nns));
        return;
    }
    let world = World::<Euclidean>::new(33, 400, Some(Codes::Bits8));
    let mut pages = world.index.search(5).walk_graph().pages(&query).unwrap();
    let mut exact = world.index.search(5).pages(&query).unwrap();
    for _ in 0..20 {
        pages.next().unwrap().unwrap();
        exact.next().unwrap().unwrap();
    }
    // The way is a part of the query.
    let token = pages.token().unwrap().to_string();
    assert!(world.index.search(5).pages_after(&query, &token.parse().unwrap()).is_err());
    let token = exact.token().unwrap().to_string();
    let path = world.index.path().to_str().unwrap();
    let test = "questions::pages::another_process_goes_on_with_a_token";
    let mut child = Running::start(test, &[path, &token]);
    child.expect(&format!("{:?}", exact.next().unwrap().unwrap().nns));
}

/// A cancelled page has what is near so far; the pages after it go on, and no item comes twice.
#[test]
fn pages_go_on_after_one_that_was_cancelled() {
    let world = World::<Euclidean>::new(41, 400, None);
    let query = world.items[&6].clone();
    for exact in [true, false] {
        let mut search = world.index.search(10);
        force(&mut search, exact);
        let mut pages = search.pages(&query).unwrap();
        let mut found = Vec::new();
        for nth in 0.. {
            let calls = std::sync::atomic::AtomicUsize::new(0);
            // Every other page is cancelled after some steps.
            let cancel = || {
                nth % 2 == 0 && calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > nth * 3
            };
            let page = pages.next_page(&cancel).unwrap();
            if page.nns.is_empty() && !page.did_cancel {
                break;
            }
            if page.did_cancel {
                assert!(nth % 2 == 0 && pages.token().is_none());
            }
            found.extend(page.nns.into_iter().map(|(item, _)| item));
        }
        let once: BTreeSet<_> = found.iter().copied().collect();
        assert_eq!((once.len(), found.len()), (found.len(), world.items.len()), "exact: {exact}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    /// Groups are those whose nearest items are the nearest, each with its nearest items.
    #[test]
    fn groups_are_the_nearest_with_their_nearest_items(
        seed in 0..1000u64,
        items in 10..400u32,
        most in 0..12usize,
        per_group in 1..6usize,
        groups in 1..40u32,
    ) {
        let world = World::<Euclidean>::new(seed, items, None);
        let query = random_vector(&mut StdRng::seed_from_u64(seed ^ 7));
        let mut expected: Vec<(u32, Vec<(u32, f32)>)> = Vec::new();
        let mut places = HashMap::new();
        for (item, distance) in world.all(&query) {
            let group = item / 3 % groups;
            let next = expected.len();
            let place = *places.entry(group).or_insert(next);
            if place == next {
                expected.push((group, Vec::new()));
            }
            if expected[place].1.len() < per_group {
                expected[place].1.push((item, distance));
            }
        }
        expected.truncate(most);
        let mut asked = 0;
        let found = world
            .index
            .search(most)
            .exact()
            .groups(&query, per_group, |item| {
                asked += 1;
                item / 3 % groups
            })
            .unwrap();
        prop_assert!(found.strategy.is_exact() && asked <= world.items.len());
        prop_assert_eq!(found.groups.len(), expected.len());
        for (found, (group, nns)) in found.groups.iter().zip(&expected) {
            prop_assert_eq!(found.group, *group);
            assert_same(&found.nns, nns);
        }
        let mut lists = world.index.search(most);
        let listed = by_lists(&mut lists).groups(&query, per_group, |i| i / 3 % groups).unwrap();
        prop_assert_eq!(&listed.groups, &found.groups);
        let mut search = world.index.search(most);
        let walked = search.walk_graph().groups(&query, per_group, |i| i / 3 % groups).unwrap();
        prop_assert_eq!(walked.groups.len(), expected.len());
        // All that there are, as many as are asked for.
        let filled = |found: &[voisin::Group<u32, u32>]| {
            found.iter().map(|group| group.nns.len()).sum::<usize>()
        };
        if expected.len() < most || groups == 1 {
            prop_assert_eq!(filled(&walked.groups), filled(&found.groups));
        }
    }
}

/// Groups by a field are those of a closure that knows its values; items with several values are
/// in several groups, those without one in none.
#[test]
fn groups_by_a_field_are_those_by_its_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    let index = Index::<Euclidean>::create(&path, Options::new(DIMENSIONS)).unwrap();
    let mut rng = StdRng::seed_from_u64(5);
    let values = |item: u32| -> Vec<i64> {
        match item % 6 {
            0 => Vec::new(),
            1 => vec![i64::from(item % 5), 9],
            _ => vec![i64::from(item % 5)],
        }
    };
    index
        .write(|batch| {
            batch.add_field(Field::integer("part"))?;
            for item in 0..400u32 {
                let parts = values(item);
                let record = match &parts[..] {
                    [one] => format!(r#"{{"part": {one}}}"#),
                    _ => format!(r#"{{"part": {parts:?}, "other": [{{}}]}}"#),
                };
                let vector = random_vector(&mut rng);
                match item % 12 {
                    0 => batch.add(item, &vector)?,
                    _ => batch.add_with_record(item, &vector, record.as_bytes())?,
                }
            }
            Ok(())
        })
        .unwrap();
    let query = random_vector(&mut rng);
    let mut all = index.search(400);
    let all = all.exact().by_vector(&query).unwrap().nns;
    for (most, per_group) in [(3, 2), (6, 1), (9, 400)] {
        let mut search = index.search(most);
        let found = search.exact().groups_by_field(&query, per_group, "part").unwrap();
        let mut expected: Vec<(i64, Vec<(u32, f32)>)> = Vec::new();
        for (item, distance) in &all {
            for part in values(*item) {
                let is_full = expected.len() == most;
                match expected.iter_mut().find(|(known, _)| *known == part) {
                    Some((_, nns)) if nns.len() == per_group => {}
                    Some((_, nns)) => nns.push((*item, *distance)),
                    None if is_full => {}
                    None => expected.push((part, vec![(*item, *distance)])),
                }
            }
        }
        assert_eq!(found.groups.len(), expected.len());
        for (found, (part, nns)) in found.groups.iter().zip(&expected) {
            assert_eq!((&found.group, &found.nns), (&FieldValue::Integer(*part), nns));
        }
    }
    let unknown = index.search(3).groups_by_field(&query, 1, "chapter");
    assert!(matches!(unknown, Err(Error::UnknownField { .. })), "{unknown:?}");
}
