//! Items named by keys are found, returned and deleted by key alone.
//!
//! Random programs run against a `BTreeMap`, on an index of strings and on one of numbers, with
//! `check` after every change. A program that fails is shrunk and printed. `PROPTEST_CASES=2000
//! cargo test --release --test index keyed::` runs more of them.

use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;
use voisin::distances::Euclidean;
use voisin::heed::EnvOpenOptions;
use voisin::heed::types::Bytes;
use voisin::{
    AsKey, Error, Filter, Index, Invariant, ItemKey, ItemName, Kind, LoadPhase, MAX_KEY_BYTES,
    Options, Reader, Snapshot, VectorDefect, Writer,
};

use crate::child::{Running, tell, told};
use crate::{DIMENSIONS, vector};

type Texts = Index<Euclidean, str>;
type Numbers = Index<Euclidean, u64>;

fn create<K: ItemName + ?Sized>(options: Options) -> (tempfile::TempDir, Index<Euclidean, K>) {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(folder.path().join("vectors"), options).unwrap();
    (folder, index)
}

#[track_caller]
fn check<K: ItemName + ?Sized>(index: &Index<Euclidean, K>) {
    let findings = index.check().unwrap();
    assert!(findings.is_empty(), "{findings:#?}");
}

#[derive(Debug, Clone)]
enum Step {
    Add {
        key: u8,
        seed: u8,
    },
    /// One call, of one of three kinds.
    AddMany {
        first: u8,
        count: u8,
        seed: u8,
        how: u8,
    },
    Delete {
        key: u8,
    },
    DeleteMany {
        first: u8,
        step: u8,
    },
    /// Deletes one and adds another in one transaction, which gets its place.
    Swap {
        out: u8,
        into: u8,
        seed: u8,
    },
    Clear,
    Optimize,
    Rebuild,
    /// Changes all, and then fails.
    Abort,
    Reopen,
    Hold,
    Search {
        seed: u8,
        by: Option<u8>,
        k: u8,
        candidates: Option<Vec<u8>>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let some = prop::option::weighted(0.4, prop::collection::vec(any::<u8>(), 0..40));
    prop_oneof![
        8 => (any::<u8>(), any::<u8>()).prop_map(|(key, seed)| Step::Add { key, seed }),
        5 => (any::<u8>(), 1..60u8, any::<u8>(), 0..3u8).prop_map(
            |(first, count, seed, how)| Step::AddMany { first, count, seed, how },
        ),
        6 => any::<u8>().prop_map(|key| Step::Delete { key }),
        3 => (any::<u8>(), 1..30u8).prop_map(|(first, step)| Step::DeleteMany { first, step }),
        3 => (any::<u8>(), any::<u8>(), any::<u8>()).prop_map(
            |(out, into, seed)| Step::Swap { out, into, seed },
        ),
        1 => Just(Step::Clear),
        1 => Just(Step::Optimize),
        1 => Just(Step::Rebuild),
        2 => Just(Step::Abort),
        1 => Just(Step::Reopen),
        2 => Just(Step::Hold),
        8 => (any::<u8>(), prop::option::weighted(0.4, any::<u8>()), 0..12u8, some)
            .prop_map(|(seed, by, k, candidates)| Step::Search { seed, by, k, candidates }),
    ]
}

type Model<K> = BTreeMap<<K as ItemName>::Owned, Vec<f32>>;

/// That a snapshot is what the model says.
fn verify<K: ItemKey + ?Sized>(snapshot: &Snapshot<Euclidean, K>, model: &Model<K>)
where
    K::Owned: AsKey<K>,
{
    assert_eq!(snapshot.len(), model.len() as u64);
    let items: Vec<_> = snapshot.iter().unwrap().collect::<voisin::Result<_>>().unwrap();
    assert!(
        items.iter().map(|(key, vector)| (key, vector)).eq(model),
        "{:?} and not {:?}",
        items,
        model
    );
    assert!(snapshot.keys().unwrap().map(Result::unwrap).eq(model.keys().cloned()));
    for (key, vector) in model.iter().step_by(7) {
        assert!(snapshot.contains(key.clone()).unwrap());
        assert_eq!(snapshot.vector(key.clone()).unwrap().as_ref(), Some(vector));
    }
}

/// That an answer has the `k` nearest of what may be a result, whichever it is of those at the same
/// distance.
fn verify_answer<O: Ord + Debug + Clone>(
    found: &[(O, f32)],
    query: &[f32],
    k: usize,
    possible: &BTreeMap<O, Vec<f32>>,
) {
    let distance =
        |vector: &Vec<f32>| voisin::distances::distance::<Euclidean>(query, vector).unwrap();
    let mut distances: Vec<f32> = possible.values().map(distance).collect();
    distances.sort_by(f32::total_cmp);
    distances.truncate(k);
    assert_eq!(found.iter().map(|(_, distance)| *distance).collect::<Vec<_>>(), distances);
    for (key, found) in found {
        assert_eq!(*found, distance(&possible[key]), "{key:?}");
    }
    let mut keys: Vec<_> = found.iter().map(|(key, _)| key.clone()).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), found.len());
}

fn run<K: ItemKey + ?Sized>(program: &[Step], key: fn(u8) -> K::Owned)
where
    K::Owned: AsKey<K>,
{
    let options = Options::new(DIMENSIONS).m(4).ef_construction(16);
    let (_folder, mut index) = create::<K>(options);
    let mut model = Model::<K>::new();
    let mut held = Vec::new();
    let of = |item: u8, seed: u8| vector(item.into(), seed.into());
    for step in program {
        match step.clone() {
            Step::Add { key: item, seed } => {
                index.write(|batch| batch.add(key(item), &of(item, seed))).unwrap();
                model.insert(key(item), of(item, seed));
            }
            Step::AddMany { first, count, seed, how } => {
                // Some twice: the last one counts.
                let items: Vec<u8> = (0..count).map(|i| first.wrapping_add(i / 2 * 3)).collect();
                let rows = items
                    .iter()
                    .zip(0..)
                    .map(|(item, i)| (key(*item), of(*item, seed.wrapping_add(i))));
                let added = match how {
                    0 => index.write(|batch| batch.add_items_from(rows.clone())).unwrap(),
                    1 => index.load(rows.clone(), |_| {}).unwrap(),
                    _ => {
                        let (keys, vectors): (Vec<_>, Vec<_>) = rows.clone().unzip();
                        index.write(|batch| batch.add_items(&keys, &vectors.concat())).unwrap();
                        count.into()
                    }
                };
                assert_eq!(added, u64::from(count));
                model.extend(rows);
            }
            Step::Delete { key: item } => {
                assert_eq!(
                    index.write(|batch| batch.delete(key(item))).unwrap(),
                    model.remove(&key(item)).is_some()
                );
            }
            Step::DeleteMany { first, step } => {
                let items = (first..=u8::MAX).step_by(step.into()).chain([first]);
                let deleted =
                    index.write(|batch| batch.delete_items(items.clone().map(key))).unwrap();
                let expected = items.filter(|item| model.remove(&key(*item)).is_some()).count();
                assert_eq!(deleted, expected as u64);
            }
            Step::Swap { out, into, seed } => {
                index
                    .write(|batch| {
                        batch.delete(key(out))?;
                        assert!(!batch.contains(key(out))?);
                        batch.add(key(into), &of(into, seed))?;
                        assert_eq!(batch.vector(key(into))?, Some(of(into, seed)));
                        let found = batch.search(1).by_vector(&of(into, seed))?.into_nns();
                        assert_eq!(found[0].1, 0.0);
                        Ok(())
                    })
                    .unwrap();
                model.remove(&key(out));
                model.insert(key(into), of(into, seed));
            }
            Step::Clear => {
                index.write(|batch| batch.clear()).unwrap();
                model.clear();
            }
            Step::Optimize => index.optimize().unwrap(),
            Step::Rebuild => index.force_rebuild().unwrap(),
            Step::Abort => {
                let result = index.write(|batch| {
                    batch.delete_items((0..200).map(key))?;
                    batch.add_items_from((100..=255).map(|item| (key(item), of(item, 1))))?;
                    Err::<(), _>(Error::Cancelled)
                });
                assert!(matches!(result, Err(Error::Cancelled)));
            }
            Step::Reopen => {
                let path = index.path().to_owned();
                held.clear();
                drop(index);
                index = Index::open(path, Options::default()).unwrap();
            }
            Step::Hold => {
                held.push((index.snapshot().unwrap(), model.clone()));
                if held.len() > 3 {
                    held.remove(0);
                }
            }
            Step::Search { seed, by, k, candidates } => {
                let mut possible = model.clone();
                let named: Option<Vec<_>> =
                    candidates.map(|some| some.into_iter().map(key).collect());
                possible.retain(|key, _| named.as_ref().is_none_or(|named| named.contains(key)));
                let snapshot = index.snapshot().unwrap();
                let (mut of_index, mut of_snapshot) =
                    (index.search(k.into()), snapshot.search(k.into()));
                if let Some(named) = &named {
                    of_index.candidates(named.clone());
                    of_snapshot.candidates(named.clone());
                }
                of_index.exact();
                of_snapshot.exact();
                match by.map(key) {
                    Some(by) => {
                        let found = of_index.by_item(by.clone()).unwrap();
                        assert_eq!(found, of_snapshot.by_item(by.clone()).unwrap());
                        assert_eq!(found.is_some(), model.contains_key(&by));
                        if let Some(found) = found {
                            possible.remove(&by);
                            verify_answer(&found.nns, &model[&by], k.into(), &possible);
                        }
                    }
                    None => {
                        let query = of(seed, seed);
                        let found = of_index.by_vector(&query).unwrap();
                        assert_eq!(found, of_snapshot.by_vector(&query).unwrap());
                        let twice = [&query[..], &query[..]].concat();
                        assert_eq!(
                            of_index.by_vectors(&twice).unwrap(),
                            [found.clone(), found.clone()]
                        );
                        assert_eq!(of_snapshot.by_vectors(&twice).unwrap().len(), 2);
                        verify_answer(&found.nns, &query, k.into(), &possible);
                    }
                }
            }
        }
        if !matches!(step, Step::Search { .. } | Step::Hold) {
            check(&index);
        }
        verify(&index.snapshot().unwrap(), &model);
    }
    // Old snapshots give back the keys they have had.
    for (snapshot, model) in &held {
        verify(snapshot, model);
    }
}

/// Few, among them the longest, such that begin with others, and such as are more than one byte a
/// character.
fn text(item: u8) -> String {
    match item {
        255 => "x".repeat(MAX_KEY_BYTES),
        254 => "é".repeat(MAX_KEY_BYTES / 2),
        253 => "\0".to_owned(),
        item if item % 4 == 0 => "a".repeat(1 + usize::from(item)),
        item => format!("{item}"),
    }
}

fn number(item: u8) -> u64 {
    match item {
        255 => u64::MAX,
        item => u64::from(item).rotate_right(u32::from(item) * 3),
    }
}

/// Few, among them the longest, some that begin with others, and some that are no text.
fn bytes(item: u8) -> Vec<u8> {
    match item {
        255 => vec![0xFF; MAX_KEY_BYTES],
        254 => vec![0],
        253 => vec![0xFF],
        item if item % 4 == 0 => vec![0xC3; 1 + usize::from(item)],
        item => vec![item, 0, 0xFE],
    }
}

fn uuid(item: u8) -> [u8; 16] {
    std::array::from_fn(|at| if at == 9 { item } else { item.wrapping_mul(37).rotate_left(3) })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_random_program_over_strings_does_what_a_map_does(
        program in prop::collection::vec(step(), 1..30),
    ) {
        run::<str>(&program, text);
    }

    #[test]
    fn a_random_program_over_numbers_does_what_a_map_does(
        program in prop::collection::vec(step(), 1..30),
    ) {
        run::<u64>(&program, number);
    }

    #[test]
    fn a_random_program_over_bytes_does_what_a_map_does(
        program in prop::collection::vec(step(), 1..30),
    ) {
        run::<[u8]>(&program, bytes);
    }

    #[test]
    fn a_random_program_over_uuids_does_what_a_map_does(
        program in prop::collection::vec(step(), 1..30),
    ) {
        run::<[u8; 16]>(&program, uuid);
    }
}

#[test]
fn keys_of_bytes_are_found_by_prefixes_and_predicates() {
    let (_folder, index) = create::<[u8]>(Options::new(DIMENSIONS));
    let keys = [&[0u8][..], &[0, 0], &[0, 0xFF], &[1], &[0xFF, 0], &[0xFF, 0xFF]];
    let rows = keys.iter().enumerate().map(|(i, key)| (key, [i as f32; DIMENSIONS]));
    index.write(|batch| batch.add_items_from(rows.clone())).unwrap();
    for prefix in [&[][..], &[0], &[0, 0], &[1], &[2], &[0xFF], &[0xFF; MAX_KEY_BYTES + 1]] {
        let expected: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).collect();
        let origin = [0.0; DIMENSIONS];
        let kept = Filter::<[u8]>::prefix(prefix);
        for found in [
            index.search(9).prefix(prefix).by_vector(&origin).unwrap(),
            index.search(9).candidates(&kept).by_vector(&origin).unwrap(),
            index
                .search(9)
                .filter(&|key: &[u8]| key.starts_with(prefix))
                .by_vector(&origin)
                .unwrap(),
        ] {
            assert!(found.nns.iter().map(|(key, _)| &key[..]).eq(expected.iter().map(|key| **key)));
        }
    }
    let (_folder, uuids) = create::<[u8; 16]>(Options::new(DIMENSIONS));
    uuids.write(|batch| batch.add_items_from([([7; 16], [1.0; 4]), ([8; 16], [2.0; 4])])).unwrap();
    let is_8 = |key: &[u8; 16]| key[0] == 8;
    let found = uuids.search(2).filter(&is_8).by_vector(&[0.0; DIMENSIONS]).unwrap();
    assert_eq!(found.into_nns(), [([8; 16], 16.0)]);
    let bad = uuids.write(|batch| batch.add([9; 16], &[f32::NAN; DIMENSIONS])).unwrap_err();
    assert!(bad.to_string().starts_with("item 09090909-0909-0909-0909-090909090909: "), "{bad}");
}

#[test]
fn an_index_is_opened_as_what_names_its_items_or_not_at_all() {
    fn mismatch<K: ItemName + ?Sized>(path: &std::path::Path, name: &str, expected: &str) {
        for open in [Index::<Euclidean, K>::open, Index::open_or_create, Index::open_read_only] {
            match open(path.to_owned(), Options::new(DIMENSIONS).name(name)) {
                Err(error @ Error::NamingMismatch { .. }) => {
                    assert!(error.to_string().contains(expected), "{error}")
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let (_folder, texts) = create::<str>(Options::new(DIMENSIONS).name("texts"));
    let path = texts.path().to_owned();
    let numbers = Numbers::create(&path, Options::new(DIMENSIONS).name("numbers")).unwrap();
    let ids = Index::<Euclidean>::create(&path, Options::new(DIMENSIONS).name("ids")).unwrap();
    mismatch::<u32>(&path, "texts", "Index<_, str>");
    mismatch::<u64>(&path, "texts", "Index<_, str>");
    mismatch::<u32>(&path, "numbers", "Index<_, u64>");
    mismatch::<str>(&path, "numbers", "Index<_, u64>");
    mismatch::<str>(&path, "ids", "u32 ids");
    mismatch::<u64>(&path, "ids", "u32 ids");
    let bytes = Index::<Euclidean, [u8]>::create(&path, Options::new(DIMENSIONS).name("bytes"));
    let uuids = Index::<Euclidean, [u8; 16]>::create(&path, Options::new(DIMENSIONS).name("uuids"));
    mismatch::<str>(&path, "bytes", "byte keys, not by string keys");
    mismatch::<[u8]>(&path, "texts", "Index<_, str>");
    mismatch::<[u8]>(&path, "uuids", "UUID keys, not by byte keys");
    mismatch::<[u8; 16]>(&path, "bytes", "Index<_, [u8]>");
    mismatch::<u32>(&path, "uuids", "Index<_, [u8; 16]>");
    assert_eq!(ids.names().unwrap(), ["bytes", "ids", "numbers", "texts", "uuids"]);
    bytes.unwrap().write(|batch| batch.add(b"7", &[4.0; DIMENSIONS])).unwrap();
    uuids.unwrap().write(|batch| batch.add([7; 16], &[5.0; DIMENSIONS])).unwrap();

    // The same name in all of them is three items.
    texts.write(|batch| batch.add("7", &[1.0; DIMENSIONS])).unwrap();
    numbers.write(|batch| batch.add(7, &[2.0; DIMENSIONS])).unwrap();
    ids.write(|batch| batch.add(7, &[3.0; DIMENSIONS])).unwrap();
    assert_eq!(
        texts.search(9).by_vector(&[0.0; DIMENSIONS]).unwrap().into_nns(),
        [("7".to_owned(), 4.0)]
    );
    assert_eq!(numbers.search(9).by_vector(&[0.0; DIMENSIONS]).unwrap().into_nns(), [(7, 16.0)]);
    assert_eq!(ids.search(9).by_vector(&[0.0; DIMENSIONS]).unwrap().into_nns(), [(7, 36.0)]);
    check(&texts);
    check(&numbers);
    check(&ids);
    // A copy has all of them.
    let copy = path.parent().unwrap().join("copy");
    texts.copy_to(&copy).unwrap();
    let copied = Texts::open(&copy, Options::default().name("texts")).unwrap();
    assert!(copied.snapshot().unwrap().contains("7").unwrap());
    check(&copied);
}

#[test]
fn what_is_wrong_with_a_key_or_a_vector_is_named_and_changes_nothing() {
    let (_folder, index) = create::<str>(Options::new(DIMENSIONS));
    let (good, long) = ([1.0; DIMENSIONS], "k".repeat(MAX_KEY_BYTES + 1));
    let is_invalid = |error: Error, length: usize| match error {
        Error::InvalidItemKey { bytes, max: 480 } => assert_eq!(bytes, length),
        other => panic!("{other:?}"),
    };
    index
        .write(|batch| {
            batch.add("a", &good)?;
            for key in ["", &long] {
                is_invalid(batch.add(key, &good).unwrap_err(), key.len());
                is_invalid(
                    batch.add_items(&["b", key], &[1.0; 2 * DIMENSIONS]).unwrap_err(),
                    key.len(),
                );
                is_invalid(batch.delete_items(["a", key]).unwrap_err(), key.len());
                is_invalid(batch.delete(key).unwrap_err(), key.len());
                is_invalid(batch.contains(key).unwrap_err(), key.len());
                is_invalid(batch.vector(key).unwrap_err(), key.len());
                is_invalid(batch.search(1).by_item(key).unwrap_err(), key.len());
                is_invalid(
                    batch.search(1).candidates(["a", key]).by_vector(&good).unwrap_err(),
                    key.len(),
                );
            }
            match batch.add("b", &[1.0, f32::NAN, 1.0, 1.0]) {
                Err(error @ Error::InvalidKeyedItem { .. }) => {
                    assert!(error.to_string().starts_with("item \"b\": component 1"), "{error}")
                }
                other => panic!("{other:?}"),
            }
            assert!(matches!(
                batch.add("b", &[1.0]),
                Err(Error::DimensionMismatch { expected: DIMENSIONS, found: 1 })
            ));
            assert!(matches!(
                batch.add_items(&["b"], &[1.0]),
                Err(Error::LengthMismatch { ids: 1, components: 1, .. })
            ));
            // What comes before the bad one is there.
            let rows = [("c", &good[..]), ("d", &[0.5; 2])];
            assert!(matches!(batch.add_items_from(rows), Err(Error::DimensionMismatch { .. })));
            Ok(())
        })
        .unwrap();
    assert!(index.snapshot().unwrap().keys().unwrap().map(Result::unwrap).eq(["a", "c"]));
    check(&index);

    let bad = [("e", [1.0; DIMENSIONS]), ("f", [f32::INFINITY; DIMENSIONS])];
    match index.load(bad, |_| {}) {
        Err(Error::InvalidKeyedItem {
            key,
            defect: VectorDefect::NotFinite { position: 0, .. },
        }) => assert_eq!(key, "\"f\""),
        other => panic!("{other:?}"),
    }
    is_invalid(index.load([("", good)], |_| {}).unwrap_err(), 0);
    let snapshot = index.snapshot().unwrap();
    is_invalid(snapshot.contains("").unwrap_err(), 0);
    is_invalid(snapshot.vector(&long).unwrap_err(), MAX_KEY_BYTES + 1);
    is_invalid(index.search(1).by_item("").unwrap_err(), 0);
    // Candidates that are set anew are those that count.
    let mut query = index.search(5);
    is_invalid(query.candidates([&long]).by_vector(&good).unwrap_err(), MAX_KEY_BYTES + 1);
    assert_eq!(
        query.candidates(["a", "no such"]).by_vector(&good).unwrap().into_nns(),
        [("a".to_owned(), 0.0)]
    );
    assert_eq!(snapshot.len(), 2);
}

#[test]
fn item_ids_are_used_again_so_that_churn_does_not_use_them_up() {
    let (_folder, index) = create::<u64>(Options::new(DIMENSIONS));
    for round in 0..60u64 {
        index
            .write(|batch| {
                let added = (0..20u64).map(|i| (round << 32 | i, vector(i as u32, round)));
                batch.add_items_from(added)?;
                batch.delete_items((0..20).map(|i| (round.wrapping_sub(1)) << 32 | i)).map(drop)
            })
            .unwrap();
        check(&index);
    }
    let stats = index.stats().unwrap();
    let keys = stats.kinds.iter().find(|kind| kind.kind == Kind::KEYS).unwrap();
    // A block for each order, a row for each id that is free: there were never more than 40 items.
    assert_eq!((stats.items, keys.values), (20, 2 + 20));
    index.write(|batch| batch.clear()).unwrap();
    assert_eq!(
        index.stats().unwrap().kinds.iter().find(|kind| kind.kind == Kind::KEYS).unwrap().values,
        0
    );
    check(&index);
}

#[test]
fn a_load_that_does_not_fit_the_map_keeps_its_keys_and_says_how_far_it_is() {
    let (_folder, index) =
        create::<str>(Options::new(64).map_size_bytes(1 << 20).m(4).ef_construction(8));
    let items = (0..6000u32).map(|i| {
        (
            format!("doc-{i}"),
            (0..64)
                .map(|j| if j == 0 { i } else { (i * 31 + j * 7) % 97 } as f32)
                .collect::<Vec<_>>(),
        )
    });
    let phases = std::sync::Mutex::new(Vec::new());
    let loaded = index
        .loader()
        .optimize(true)
        .progress(|progress| phases.lock().unwrap().push(progress.phase))
        .load(items.clone());
    assert_eq!(loaded.unwrap(), 6000);
    let phases = phases.into_inner().unwrap();
    assert!(phases.iter().filter(|phase| **phase == LoadPhase::Reading).count() < phases.len());
    assert!(index.stats().unwrap().environment.map_bytes > 1 << 20, "it has grown");
    for (key, vector) in items.step_by(500) {
        let found = index.search(3).exact().by_vector(&vector).unwrap().into_nns();
        assert!(found.contains(&(key.clone(), 0.0)), "{key}: {found:?}");
        assert_eq!(index.snapshot().unwrap().vector(&key).unwrap().unwrap(), vector);
    }
    check(&index);
    assert!(matches!(
        index.loader().cancel(|| true).load([("a", [0.0; 64])].repeat(1024)),
        Err(Error::Cancelled)
    ));
    assert_eq!(index.snapshot().unwrap().len(), 6000);
}

/// The keys of a round and what they hold.
fn of_round(round: u64) -> impl Iterator<Item = (String, Vec<f32>)> {
    // Half of them are there in the next round, too.
    (round * 10..round * 10 + 20).map(move |i| (format!("{i:08}"), vector(i as u32, round)))
}

/// The round that an index is of, if it is as that round leaves it.
fn round_of(snapshot: &Snapshot<Euclidean, str>) -> u64 {
    let items: Vec<_> = snapshot.iter().unwrap().collect::<voisin::Result<_>>().unwrap();
    let round = items[0].0.parse::<u64>().unwrap() / 10;
    assert!(items.into_iter().eq(of_round(round)), "round {round} is torn");
    round
}

/// The child: changes the keys of an index, round by round.
#[test]
fn churner() {
    let Some(told) = told() else { return };
    let index = Texts::open(&told[0], Options::default()).unwrap();
    let rounds: u64 = told[1].parse().unwrap();
    let first = round_of(&index.snapshot().unwrap()) + 1;
    for round in first..first.saturating_add(rounds) {
        index
            .write(|batch| {
                batch.delete_items((round * 10 - 10..round * 10).map(|i| format!("{i:08}")))?;
                batch.add_items_from(of_round(round)).map(drop)
            })
            .unwrap();
        tell(&round.to_string());
    }
    tell("done");
}

fn new_of_rounds() -> (tempfile::TempDir, Texts) {
    let (folder, index) = create::<str>(Options::new(DIMENSIONS).m(4).ef_construction(8));
    index.write(|batch| batch.add_items_from(of_round(0))).unwrap();
    (folder, index)
}

#[test]
fn a_process_that_is_killed_leaves_keys_and_items_of_one_commit() {
    let (_folder, index) = new_of_rounds();
    let path = index.path().to_owned();
    drop(index);
    for kill in 0..8u64 {
        let mut child =
            Running::start("keyed::churner", &[path.to_str().unwrap(), &u64::MAX.to_string()]);
        let mut last = 0;
        for _ in 0..5 + kill * 7 {
            last = child.hear().unwrap().parse().unwrap();
        }
        std::thread::sleep(std::time::Duration::from_micros(kill * 700));
        child.kill();
        let index = Texts::open(&path, Options::default()).unwrap();
        check(&index);
        assert!(
            round_of(&index.snapshot().unwrap()) >= last,
            "a commit that was acknowledged is lost"
        );
    }
}

#[test]
fn other_processes_see_new_keys_and_old_snapshots_the_old_ones() {
    let (_folder, index) = new_of_rounds();
    let old = index.snapshot().unwrap();
    assert_eq!(round_of(&old), 0);
    let mut child = Running::start("keyed::churner", &[index.path().to_str().unwrap(), "40"]);
    let mut seen = 0;
    loop {
        let told = child.hear().unwrap();
        if told == "done" {
            break;
        }
        let round = round_of(&index.snapshot().unwrap());
        assert!(round >= told.parse().unwrap() && round >= seen);
        seen = round;
        // An id that an item of the old snapshot has had is another item's by now.
        for (key, vector) in of_round(0).step_by(3) {
            assert_eq!(old.search(1).by_vector(&vector).unwrap().into_nns(), [(key.clone(), 0.0)]);
            assert_eq!(old.search(1).candidates([&key]).by_item(&key).unwrap().unwrap().nns, []);
        }
        check(&index);
    }
    assert!(child.end().success());
    assert_eq!((round_of(&old), round_of(&index.snapshot().unwrap())), (0, 40));
    assert!(
        index.search(1).by_item("00000003").unwrap().is_none()
            && old.search(1).by_item("00000003").unwrap().is_some()
    );
}

#[test]
fn a_changed_byte_among_the_keys_is_found_and_never_a_panic() {
    let (_folder, index) = create::<str>(Options::new(DIMENSIONS));
    index
        .write(|batch| batch.add_items_from((0..4).map(|i| (format!("item {i}"), vector(i, 1)))))
        .unwrap();
    index.write(|batch| batch.delete("item 1")).unwrap();
    let path = index.path().to_owned();
    drop(index);
    let with_database =
        |work: &dyn Fn(&mut voisin::heed::RwTxn<'_>, voisin::heed::Database<'_, Bytes, Bytes>)| {
            // SAFETY: nobody else has it open.
            let env = unsafe { EnvOpenOptions::new().max_dbs(8).open(&path) }.unwrap();
            let database = env
                .open_databases_and_commit(
                    env.read_txn().unwrap(),
                    |opener, rtxn| -> voisin::heed::Result<_> {
                        let database =
                            opener.open_database::<Bytes, Bytes>(rtxn, Some("voisin"))?;
                        Ok(voisin::heed::CommitOrAbort::<_, ()>::Commit(database.unwrap()))
                    },
                )
                .unwrap()
                .unwrap_commit();
            let mut wtxn = env.write_txn().unwrap();
            work(&mut wtxn, database);
            wtxn.commit().unwrap();
            env.prepare_for_closing().wait();
        };
    let rows = std::cell::RefCell::new(Vec::new());
    with_database(&|wtxn, database| {
        let all = database
            .iter(wtxn)
            .unwrap()
            .map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap());
        *rows.borrow_mut() = all.filter(|(key, _)| key[2] == 14).collect();
    });
    let rows = rows.into_inner();
    // A block for each order, and an id that is free.
    assert_eq!(rows.len(), 1 + 1 + 1);
    let use_all = |expected: &[Invariant]| {
        let index = Texts::open(&path, Options::default()).unwrap();
        let findings = index.check().unwrap();
        assert!(
            findings.iter().any(|finding| expected.contains(&finding.invariant)),
            "{findings:?}"
        );
        // Whatever comes of it.
        let snapshot = index.snapshot().unwrap();
        _ = snapshot.iter().unwrap().collect::<Vec<_>>();
        for i in 0..5 {
            _ = snapshot.vector(format!("item {i}"));
            _ = snapshot.search(3).by_item(format!("item {i}"));
            _ = index.write(|batch| {
                batch
                    .add(format!("item {i}"), &vector(i, 1))
                    .and_then(|()| Err::<(), _>(Error::Cancelled))
            });
            _ = index.write(|batch| {
                batch.delete(format!("item {i}")).and_then(|_| Err::<(), _>(Error::Cancelled))
            });
        }
        _ = index.search(3).by_vector(&vector(2, 1));
        _ = index.stats();
    };
    for (key, value) in &rows {
        for at in 0..value.len() {
            let mut damaged = value.clone();
            damaged[at] ^= 0x41;
            with_database(&|wtxn, database| database.put(wtxn, key, &damaged).unwrap());
            use_all(&[Invariant::Checksum]);
        }
        for damaged in [&value[..value.len() - 1], &[], &[7; 40]] {
            with_database(&|wtxn, database| database.put(wtxn, key, damaged).unwrap());
            use_all(&[Invariant::Checksum]);
        }
        with_database(&|wtxn, database| assert!(database.delete(wtxn, key).unwrap()));
        use_all(&[Invariant::ItemKeys]);
        // Under another key: of another item, of a kind of row that there is not, of no length that
        // a row has.
        for (at, by) in [(key.len() - 1, 0x13), (3, 4)] {
            let mut other = key.clone();
            other[at] ^= by;
            with_database(&|wtxn, database| database.put(wtxn, &other, value).unwrap());
            use_all(&[Invariant::Keys, Invariant::Checksum]);
            with_database(&|wtxn, database| assert!(database.delete(wtxn, &other).unwrap()));
        }
        with_database(&|wtxn, database| database.put(wtxn, key, value).unwrap());
    }
    check(&Texts::open(&path, Options::default()).unwrap());
}

/// A writer of level 1 would leave the keys of items behind: META says what names them.
#[test]
fn level_1_does_not_change_an_index_whose_items_have_keys() {
    let (folder, index) = create::<str>(Options::new(DIMENSIONS));
    index.write(|batch| batch.add("a", &vector(1, 0))).unwrap();
    drop(index);
    // SAFETY: nobody else has the folder open.
    let env = unsafe {
        EnvOpenOptions::new()
            .map_size(64 << 20)
            .max_dbs(8)
            .open(folder.path().join("vectors"))
            .unwrap()
    };
    let db = voisin::create_database::<Euclidean>(&env, Some("voisin")).unwrap();
    let (writer, mut wtxn) = (Writer::new(db, 0, DIMENSIONS), env.write_txn().unwrap());
    for error in [
        writer.add_item(&mut wtxn, 7, &vector(7, 0)).unwrap_err(),
        writer.del_item(&mut wtxn, 0).map(drop).unwrap_err(),
        writer.set_codes(&mut wtxn, None).unwrap_err(),
    ] {
        let message = error.to_string();
        assert!(
            matches!(
                error,
                Error::NamingMismatch { stored: "string keys", requested: "u32 ids", .. }
            ),
            "{message}"
        );
    }
    // It can be read, and its keys are checked, too.
    let found = Reader::open(&wtxn, 0, db).unwrap().nns(1).by_vector(&wtxn, &vector(1, 0)).unwrap();
    assert_eq!(found.into_nns(), [(0, 0.0)]);
    assert_eq!(voisin::check(&wtxn, 0, db).unwrap(), []);
}
