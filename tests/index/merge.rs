//! Copies of items from one index into another: merging, splitting, subsets; and what refuses them.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::codec::F16;
use voisin::distances::{Cosine, Distance, Euclidean};
use voisin::roaring::RoaringBitmap;
use voisin::{Error, Index, IndexKind, Options};

const DIMENSIONS: usize = 6;

fn vector(item: u32) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(item.into());
    (0..DIMENSIONS).map(|_| rng.random::<f32>() - 0.5).collect()
}

fn create<D: Distance>(path: &std::path::Path, name: &str) -> Index<D> {
    Index::create(path.join("vectors"), Options::new(DIMENSIONS).name(name)).unwrap()
}

fn check<D: Distance>(index: &Index<D>) {
    let findings = index.check().unwrap();
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn a_merged_index_has_the_vectors_and_records_of_both_and_answers_like_one() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (create::<Euclidean>(folder.path(), "a"), create::<Euclidean>(folder.path(), "b"));
    let rows = |items: std::ops::Range<u32>| {
        items.map(|item| (item, vector(item), (item % 3 == 0).then(|| item.to_string())))
    };
    a.loader().load_given(rows(0..1500)).unwrap();
    b.loader().load_given(rows(2000..4200)).unwrap();
    b.write(|batch| batch.delete_items(2000..2100)).unwrap();
    // Of another element type, and with another kind.
    let options = Options::new(DIMENSIONS).name("both").kinds([IndexKind::Ivf]);
    let both = Index::<Euclidean<F16>>::create(folder.path().join("vectors"), options).unwrap();
    let source = a.snapshot().unwrap();
    // What is committed meanwhile is not copied.
    a.write(|batch| batch.add(9999, &vector(9999))).unwrap();
    assert_eq!(both.merge(&source).unwrap(), 1500);
    assert_eq!(both.merge_at(&b.snapshot().unwrap(), 10_000).unwrap(), 2100);
    check(&both);
    let found = both.snapshot().unwrap();
    let expected: RoaringBitmap = (0..1500).chain(12_100..14_200).collect();
    assert_eq!(found.ids().unwrap(), expected);
    for item in expected.iter().step_by(97) {
        let old = item % 10_000;
        let rounded: Vec<f32> =
            vector(old).into_iter().map(|v| half::f16::from_f32(v).to_f32()).collect();
        assert_eq!(found.vector(item).unwrap(), Some(rounded));
        let record = (old % 3 == 0).then(|| old.to_string().into_bytes());
        assert_eq!(found.record(item).unwrap(), record, "{item}");
        let nearest = both.search(1).exact().by_vector(&vector(old)).unwrap().into_nns();
        assert_eq!(nearest[0].0, item);
    }
}

#[test]
fn clashes_of_ids_metrics_and_dimensions_are_errors_that_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (create::<Euclidean>(folder.path(), "a"), create::<Euclidean>(folder.path(), "b"));
    a.load((0..3000).map(|item| (item, vector(item))), |_| {}).unwrap();
    b.load((2500..2600).map(|item| (item, vector(item))), |_| {}).unwrap();
    let source = a.snapshot().unwrap();
    let before = b.snapshot().unwrap();
    let refused = b.merge(&source);
    assert!(matches!(&refused, Err(Error::ItemExists { item }) if item == "2500"), "{refused:?}");
    // Two items under one id, far apart, and in one chunk.
    for divisor in [2, 2990] {
        let refused = b.loader().copy_from(&source, |item| Some(10_000 + item % divisor));
        assert!(matches!(refused, Err(Error::ItemExists { .. })), "{refused:?}");
    }
    let refused = b.merge_at(&source, u32::MAX - 10);
    assert!(matches!(refused, Err(Error::InvalidParameter { .. })), "{refused:?}");
    let angles = create::<Cosine>(folder.path(), "angles");
    let refused = angles.merge(&source);
    assert!(matches!(refused, Err(Error::MetricMismatch { .. })), "{refused:?}");
    let options = Options::new(DIMENSIONS + 1).name("longer");
    let longer = Index::<Euclidean>::create(folder.path().join("vectors"), options).unwrap();
    let refused = longer.merge(&source);
    assert!(
        matches!(refused, Err(Error::DimensionMismatch { expected: 7, found: 6 })),
        "{refused:?}"
    );
    let elsewhere = create::<Euclidean>(&folder.path().join("elsewhere"), "c");
    let empty = create::<Euclidean>(folder.path(), "empty");
    let refused = source.split_into(&[empty.clone(), elsewhere], |item| item as usize % 2);
    assert!(matches!(refused, Err(Error::OtherFolder { .. })), "{refused:?}");
    assert!(empty.snapshot().unwrap().is_empty());
    assert_eq!(b.snapshot().unwrap().ids().unwrap(), before.ids().unwrap());
    assert!(angles.snapshot().unwrap().is_empty() && longer.snapshot().unwrap().is_empty());
    check(&b);
}

#[test]
fn a_split_index_has_each_item_in_one_part_in_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let all = create::<Euclidean>(folder.path(), "all");
    all.load((0..4000).map(|item| (item, vector(item))), |_| {}).unwrap();
    let parts: Vec<Index<Euclidean>> =
        (0..3).map(|part| create(folder.path(), &format!("part {part}"))).collect();
    let source = all.snapshot().unwrap();
    // Every fourth one is in no part.
    let counts = source.split_into(&parts, |item| item as usize % 4).unwrap();
    assert_eq!(counts, [1000; 3]);
    let commits: Vec<u64> = parts.iter().map(|part| part.snapshot().unwrap().commit()).collect();
    assert_eq!(commits, [source.commit() + 1; 3]);
    for (nth, part) in parts.iter().enumerate() {
        check(part);
        let expected: RoaringBitmap = (0..4000).filter(|item| item % 4 == nth as u32).collect();
        assert_eq!(part.snapshot().unwrap().ids().unwrap(), expected);
        assert_eq!(part.pending().unwrap(), 0);
    }
    let some = create::<Euclidean>(folder.path(), "some");
    let chosen: RoaringBitmap = (3990..4010).collect();
    assert_eq!(some.copy_subset(&source, &chosen).unwrap(), 10);
}

#[test]
fn items_with_keys_are_split_in_one_commit_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    let open = |name: &str| {
        Index::<Euclidean, u64>::create(&path, Options::new(DIMENSIONS).name(name)).unwrap()
    };
    let all = open("all");
    let rows = (0..3000u32).map(|item| (u64::from(item) << 20, vector(item), item.to_string()));
    all.loader().load_with_records(rows).unwrap();
    let (source, parts) = (all.snapshot().unwrap(), ["a", "b", "c"].map(open));
    let place = |key: &u64| (*key >> 20) as usize % 4;
    let before = all.snapshot().unwrap().commit();
    assert_eq!(source.split_into(&parts, place).unwrap(), [750; 3]);
    for (nth, part) in parts.iter().enumerate() {
        let found = part.snapshot().unwrap();
        assert_eq!((found.commit(), part.pending().unwrap()), (before + 1, 0));
        assert!(found.keys().unwrap().all(|key| place(&key.unwrap()) == nth));
        let key = (nth as u64 + 400) << 20;
        assert_eq!(found.vector(key).unwrap(), Some(vector(nth as u32 + 400)));
        assert_eq!(found.record(key).unwrap(), Some((nth + 400).to_string().into_bytes()));
        assert!(part.check().unwrap().is_empty());
    }
    let refused = source.split_into(&parts, |key| usize::from(place(key) != 3));
    assert!(matches!(refused, Err(Error::ItemExists { .. })), "{refused:?}");
    assert!(parts.iter().all(|part| part.snapshot().unwrap().len() == 750));
    assert!(source.split_into::<Euclidean>(&[], place).unwrap().is_empty());
}

#[test]
fn items_with_keys_are_copied_under_keys_within_a_memory_budget_too() {
    let folder = tempfile::tempdir().unwrap();
    let options = |name: &str| Options::new(DIMENSIONS).name(name);
    let open = |name: &str| {
        Index::<Euclidean, str>::create(folder.path().join("vectors"), options(name)).unwrap()
    };
    let (a, b) = (open("a"), open("b"));
    let rows = (0..5000u32).map(|item| (format!("key {item}"), vector(item), item.to_string()));
    a.loader().load_with_records(rows).unwrap();
    let source = a.snapshot().unwrap();
    let odd = |key: &String| key.ends_with(['1', '3', '5', '7', '9']).then(|| format!("odd {key}"));
    assert_eq!(b.loader().memory(16 << 20).copy_from(&source, odd).unwrap(), 2500);
    let found = b.snapshot().unwrap();
    assert_eq!(found.vector("odd key 4321").unwrap(), Some(vector(4321)));
    assert_eq!(found.record("odd key 4321").unwrap(), Some(b"4321".to_vec()));
    assert!(!found.contains("key 4322").unwrap());
    let refused = b.write(|batch| batch.copy_from(&source, odd));
    assert!(
        matches!(&refused, Err(Error::ItemExists { item }) if item.contains("odd key 1")),
        "{refused:?}"
    );
    let refused = b.write(|batch| batch.copy_from(&source, |_| Some("one".to_owned())));
    assert!(matches!(refused, Err(Error::ItemExists { .. })), "{refused:?}");
    assert_eq!(b.snapshot().unwrap().len(), 2500);
    assert!(b.check().unwrap().is_empty());
}
