//! Deadlines: the nearest seen so far, marked as such.
//!
//! No test measures how long a search takes. A closure that is called before each step of a search
//! makes it slow, and notes which calls begin after the deadline: each thread that searches makes
//! one at most, since it looks at the clock with each call.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use voisin::distances::Euclidean;
use voisin::{Codes, Index, Options, Query, Searched, Snapshot};

use super::{World, force};

const ITEMS: u32 = 6000;
const DIMENSIONS: usize = 128;

/// Searches with a deadline that passes in the middle of it.
fn assert_ends(
    what: &str,
    snapshot: &Snapshot<Euclidean>,
    ask: impl Fn(&mut Query<'_, Snapshot<Euclidean>>) -> Searched,
) -> Searched {
    let (late, searching) = (Mutex::new(0), Mutex::new(BTreeSet::new()));
    let deadline = Instant::now() + Duration::from_millis(30);
    let slow = || {
        let thread = format!("{:?}", thread::current().id());
        searching.lock().unwrap().insert(thread);
        *late.lock().unwrap() += usize::from(Instant::now() >= deadline);
        thread::sleep(Duration::from_millis(2));
        false
    };
    let mut search = snapshot.search(10);
    search.cancel(&slow).deadline(deadline);
    let found = ask(&mut search);
    let (late, threads) = (*late.lock().unwrap(), searching.lock().unwrap().len());
    assert!(threads > 0 && late <= threads, "{what}: {late} calls of {threads} threads");
    assert!(found.timed_out && found.did_cancel && !found.is_complete(), "{what}: {found:?}");
    found
}

#[test]
fn a_search_ends_at_its_deadline_with_what_it_has_seen() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(DIMENSIONS).codes(Codes::Bits8);
    let index = Index::<Euclidean>::create(folder.path().join("vectors"), options).unwrap();
    let vector = |item: u32| [(item % 977) as f32; DIMENSIONS];
    index.load((0..ITEMS / 2).map(|item| (item, vector(item))), |_| {}).unwrap();
    index
        .write(|batch| {
            batch.link_later();
            batch.add_items_from((ITEMS / 2..ITEMS).map(|item| (item, vector(item))))
        })
        .unwrap();
    let snapshot = index.snapshot().unwrap();
    let query = vector(77);
    let all = u64::from(ITEMS);
    for codes in [true, false] {
        let found = assert_ends("a scan", &snapshot, |search| {
            search.exact().codes(codes).by_vector(&query).unwrap()
        });
        assert!(!found.nns.is_empty() && found.distances.max(found.estimates) < all);
        let found = assert_ends("pending items", &snapshot, |search| {
            search.walk_graph().codes(codes).by_vector(&query).unwrap()
        });
        assert!(found.distances.max(found.estimates) < all);
        assert_ends("a walk within a radius", &snapshot, |search| {
            search.walk_graph().codes(codes).within(1e9).by_vector(&query).unwrap()
        });
        assert_ends("a page", &snapshot, |search| {
            // Pages have a closure of their own.
            let mut found = search.walk_graph().codes(codes).by_vector(&query).unwrap();
            search.deadline(Instant::now());
            let mut pages = search.pages(&query).unwrap();
            let page = pages.next().unwrap().unwrap();
            assert!(page.timed_out && page.did_cancel && pages.token().is_none());
            found.nns.clear();
            found
        });
        assert_ends("the nearest of several", &snapshot, |search| {
            search.exact().codes(codes).by_nearest_of(&[query, query].concat()).unwrap()
        });
        assert_ends("a sum", &snapshot, |search| {
            search.exact().codes(codes).by_sum(&[(&query, 1.0), (&query, 2.0)]).unwrap()
        });
    }
    assert!(index.search(3).deadline(Instant::now()).by_item(7).unwrap().unwrap().timed_out);
    let groups = index.search(3).deadline(Instant::now()).groups(&query, 1, |item| *item).unwrap();
    assert!(groups.timed_out && groups.did_cancel);
    let asked = AtomicUsize::new(0);
    let slow = |item: &u32| {
        asked.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(5));
        *item
    };
    let mut search = index.search(usize::MAX);
    let groups = search.deadline(Duration::from_millis(50)).groups(&query, 1, slow).unwrap();
    assert!(groups.timed_out && !groups.groups.is_empty());
    assert!(asked.load(Ordering::Relaxed) <= 11, "each call of the closure is before the deadline");
    let counted = index.search(3).deadline(Instant::now()).count_within(&query, 1.0).unwrap();
    assert!(counted.did_cancel && counted.low == 0 && counted.high == all);
}

/// A time that is given as a duration is counted anew for each search; one that suffices changes
/// nothing.
#[test]
fn a_deadline_that_is_met_changes_nothing() {
    let world = World::<Euclidean>::new(3, 400, None);
    let query = &world.items[&6];
    for exact in [true, false] {
        let mut search = world.index.search(7);
        force(&mut search, exact);
        let without = search.by_vector(query).unwrap();
        for time in [Duration::from_secs(3600), Duration::MAX] {
            assert_eq!(search.deadline(time).by_vector(query).unwrap(), without);
            assert_eq!(search.by_vectors(query).unwrap(), std::slice::from_ref(&without));
        }
        let later = Instant::now() + Duration::from_secs(3600);
        assert_eq!(search.deadline(later).by_vector(query).unwrap(), without);
        assert!(search.deadline(Duration::ZERO).by_vector(query).unwrap().timed_out);
        assert!(!without.timed_out);
    }
}
