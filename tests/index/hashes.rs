//! The kind `lsh`: its promise of recall, on data with clusters, with duplicates, after changes and
//! under restrictions; and where it leaves an answer to the exact way.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use voisin::distances::{Cosine, Euclidean};
use voisin::roaring::RoaringBitmap;
use voisin::{Error, Index, IndexKind, Options, Strategy, distances::Distance};

use IndexKind::{Flat, Hnsw, Lsh};

const DIMENSIONS: usize = 48;
const ITEMS: u32 = 4000;
const K: usize = 10;

/// A vector near one of 50 centers, none of which is the origin.
fn vector(item: u32, round: u64) -> Vec<f32> {
    let mut center = StdRng::seed_from_u64(u64::from(item) % 50);
    let mut own = StdRng::seed_from_u64(u64::from(item) << 20 | round << 8 | 1);
    (0..DIMENSIONS).map(|_| 2.0 + center.random::<f32>() + 0.6 * own.random::<f32>()).collect()
}

fn create<D: Distance>(kinds: &[IndexKind]) -> (TempDir, Index<D>) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(DIMENSIONS).kinds(kinds.iter().copied());
    let index = Index::create(folder.path().join("vectors"), options).unwrap();
    (folder, index)
}

fn filled<D: Distance>(kinds: &[IndexKind]) -> (TempDir, Index<D>) {
    let (folder, index) = create::<D>(kinds);
    index.load((0..ITEMS).map(|item| (item, vector(item, 0))), |_| {}).unwrap();
    (folder, index)
}

fn check<D: Distance>(index: &Index<D>) {
    let findings = index.check().unwrap();
    assert!(findings.is_empty(), "{findings:#?}");
}

/// The share of true neighbors that searches with a promise find, and the share of items that they
/// compare.
fn quality<D: Distance>(index: &Index<D>, promise: f64) -> (f64, f64) {
    let (mut found, mut compared) = (0, 0);
    const QUERIES: u32 = 60;
    for query in 0..QUERIES {
        let query = vector(query, 99);
        let exact = index.search(K).exact().by_vector(&query).unwrap().into_nns();
        let answer = index.search(K).kind(Lsh).recall(promise).by_vector(&query).unwrap();
        assert_eq!(answer.nns.len(), K);
        compared += answer.distances.max(answer.estimates);
        found += answer.nns.iter().filter(|one| exact.contains(one)).count();
    }
    let all = f64::from(QUERIES) * index.stats().unwrap().items as f64;
    (found as f64 / f64::from(QUERIES) / K as f64, compared as f64 / all)
}

fn keeps_its_promise<D: Distance>() {
    let (_folder, index) = filled::<D>(&[Lsh]);
    check(&index);
    let stats = index.stats().unwrap().lsh.unwrap();
    assert!(stats.tables > 0 && stats.largest_piece <= 128 && stats.pieces > 0);
    for promise in [0.5, 0.9, 0.97] {
        let (recall, compared) = quality(&index, promise);
        assert!(recall >= promise - 0.05, "{promise}: {recall}, {compared}");
    }
    // Items are in the tables from their commit on, and no build is needed.
    for round in 1..6 {
        index
            .write(|batch| {
                batch.delete_items((0..ITEMS).skip(round).step_by(31))?;
                let changed = (0..ITEMS).skip(7 * round).step_by(23);
                batch.add_items_from(changed.map(|item| (item, vector(item, round as u64))))
            })
            .unwrap();
        assert_eq!(index.pending().unwrap(), 0);
    }
    check(&index);
    let (recall, compared) = quality(&index, 0.9);
    assert!(recall >= 0.85, "{recall}, {compared}");
    index.optimize().unwrap();
    check(&index);
    let (recall, compared) = quality(&index, 0.9);
    assert!(recall >= 0.85, "{recall}, {compared}");
}

#[test]
fn a_search_finds_true_neighbors_as_often_as_it_promises_after_a_load_and_after_changes() {
    keeps_its_promise::<Euclidean>();
    keeps_its_promise::<Cosine>();
}

#[test]
fn restrictions_radius_and_deadline_hold_and_few_items_are_scanned() {
    let (_folder, index) = filled::<Euclidean>(&[Lsh, Hnsw]);
    let query = vector(3, 99);
    let strategy = |found: &voisin::Searched| found.strategy;

    // Half of each cluster.
    let half: RoaringBitmap = (0..ITEMS).filter(|item| item / 50 % 2 == 0).collect();
    let found = index.search(K).kind(Lsh).candidates(&half).by_vector(&query).unwrap();
    assert_eq!(strategy(&found), Strategy::Lsh);
    assert!(found.nns.len() == K && found.nns.iter().all(|(item, _)| half.contains(*item)));
    let exact = index.search(K).candidates(&half).exact().by_vector(&query).unwrap();
    let missed = exact.nns.iter().filter(|one| !found.nns.contains(one)).count();
    assert!(missed <= 3, "{missed} missed");

    // Every other cluster, but not that of the query. Whether hashes find ten results in them
    // depends on the seed. Where they do not, the answer is exact, and says so.
    let others: RoaringBitmap = (0..ITEMS).step_by(2).collect();
    let found = index.search(K).kind(Lsh).candidates(&others).by_vector(&query).unwrap();
    let exact = index.search(K).candidates(&others).exact().by_vector(&query).unwrap();
    let missed = exact.nns.iter().filter(|one| !found.nns.contains(one)).count();
    let most_missed = if strategy(&found) == Strategy::Candidates { 0 } else { 3 };
    assert!(missed <= most_missed && found.nns.len() == K, "{:?}: {missed}", strategy(&found));

    let asked = |item: &u32| item.is_multiple_of(3);
    let found = index.search(K).kind(Lsh).filter(&asked).by_vector(&query).unwrap();
    assert!(found.nns.len() == K && found.nns.iter().all(|(item, _)| item % 3 == 0));

    let radius = exact.nns[3].1;
    let near = index.search(100).kind(Lsh).within(radius).by_vector(&query).unwrap();
    assert!(near.nns.iter().all(|(_, distance)| *distance <= radius) && !near.nns.is_empty());

    let own = index.search(K).kind(Lsh).by_item(3).unwrap().unwrap();
    assert!(own.nns.len() == K && own.nns.iter().all(|(item, _)| *item != 3));
    let many: Vec<f32> = (0..20).flat_map(|item| vector(item, 99)).collect();
    let together = index.search(K).kind(Lsh).by_vectors(&many).unwrap();
    for (query, found) in many.chunks(DIMENSIONS).zip(&together) {
        assert_eq!(index.search(K).kind(Lsh).by_vector(query).unwrap().nns, found.nns);
    }
    let late = index.search(K).kind(Lsh).deadline(Duration::ZERO).by_vector(&query).unwrap();
    assert!(late.timed_out);

    // As many as there are, and all but none: an exact answer, which says so.
    let all = index.search(ITEMS as usize).kind(Lsh).by_vector(&query).unwrap();
    assert!(all.strategy.is_exact() && all.nns.len() == ITEMS as usize);
    let few = index
        .search(K)
        .kind(Lsh)
        .candidates(&RoaringBitmap::from([5, 6, 7]))
        .by_vector(&query)
        .unwrap();
    assert!(few.strategy.is_exact() && few.nns.len() == 3);
    let certain = index.search(K).kind(Lsh).recall(1.0).by_vector(&query).unwrap();
    assert!(certain.strategy.is_exact());
}

#[test]
fn equal_vectors_are_all_in_the_tables_and_none_of_them_slows_down_a_change() {
    let (_folder, index) = create::<Euclidean>(&[Lsh]);
    index
        .load((0..ITEMS).map(|item| (item, vector(if item < 3000 { 0 } else { item }, 0))), |_| {})
        .unwrap();
    check(&index);
    let stats = index.stats().unwrap().lsh.unwrap();
    assert!(stats.largest_piece <= 128, "{stats:?}");
    let two = RoaringBitmap::from([2999, 3500]);
    let found = index.search(K).kind(Lsh).candidates(&two).by_vector(&vector(0, 0));
    assert_eq!(found.unwrap().nns[0], (2999, 0.0));
    index.write(|batch| batch.delete_items(0..2990)).unwrap();
    check(&index);
    let found = index.search(K).kind(Lsh).recall(0.9).by_vector(&vector(0, 0)).unwrap();
    assert!(
        found.nns.iter().all(|(item, distance)| (2990..3000).contains(item) && *distance == 0.0)
    );
}

#[test]
fn tables_come_and_go_with_the_kind_and_follow_data_that_move() {
    let (_folder, index) = filled::<Euclidean>(&[Hnsw]);
    let query = vector(3, 99);
    let asked = index.search(K).kind(Lsh).by_vector(&query);
    assert!(matches!(asked, Err(Error::KindMismatch { kind: Lsh, .. })));
    assert!(index.add_kind(Lsh).unwrap());
    assert_eq!(index.kinds().unwrap(), [Flat, Hnsw, Lsh]);
    check(&index);
    let found = index.search(K).kind(Lsh).by_vector(&query).unwrap();
    assert_eq!(found.strategy, Strategy::Lsh);

    // Others, elsewhere: the next build makes the tables around their center.
    index.write(|batch| batch.delete_items(0..ITEMS)).unwrap();
    let away = |item: u32| vector(item, 1).into_iter().map(|value| value + 30.0);
    index
        .load((ITEMS..4 * ITEMS).map(|item| (item, away(item).collect::<Vec<_>>())), |_| {})
        .unwrap();
    check(&index);
    let query: Vec<f32> = away(17).map(|value| value + 0.01).collect();
    let found = index.search(K).kind(Lsh).recall(0.9).by_vector(&query).unwrap();
    let share = found.distances.max(found.estimates) as f64 / f64::from(4 * ITEMS);
    assert!(found.strategy == Strategy::Lsh && share < 0.5, "{:?}, {share}", found.strategy);

    assert!(index.drop_kind(Lsh).unwrap());
    check(&index);
    let of_tables = |kind: &&voisin::KindStats| kind.kind.to_string() == "LSH";
    assert_eq!(index.stats().unwrap().kinds.iter().find(of_tables).unwrap().values, 0);
}

/// Measures recall, what is compared, and the promise, on the data in the folder of the variable
/// `VOISIN_DATA`: after a load, and after 30 rounds of replacing 3 % of the items.
///
/// `VOISIN_DATA=... cargo test --release --test index measure_hashes -- --ignored --nocapture`
#[test]
#[ignore = "it needs data, and measures instead of testing"]
fn measure_hashes() {
    let folder = std::path::PathBuf::from(std::env::var("VOISIN_DATA").unwrap());
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let bytes = |name: &str| read(name).into_iter().map(f32::from).collect::<Vec<f32>>();
    let halves = |name: &str| -> Vec<f32> {
        let bytes = read(name);
        let pairs = bytes.as_chunks::<2>().0.iter();
        pairs.map(|pair| half::f16::from_le_bytes(*pair).to_f32()).collect()
    };
    let photos = [bytes("photo-sift-128.u8"), bytes("photo-sift-128.queries.u8")];
    measure::<Euclidean>("photos", 128, &photos[0], &photos[1]);
    let glosses = [halves("glosses-384.f16"), halves("glosses-384.queries.f16")];
    measure::<Cosine>("glosses", 384, &glosses[0], &glosses[1]);
}

fn measure<D: Distance>(name: &str, dimensions: usize, base: &[f32], queries: &[f32]) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(dimensions).kinds([Lsh]);
    let index = Index::<D>::create(folder.path().join("vectors"), options).unwrap();
    let rows: Vec<&[f32]> = base.chunks_exact(dimensions).collect();
    let start = std::time::Instant::now();
    index.load((0..).zip(&rows), |_| {}).unwrap();
    println!("{name}: {} items loaded in {:.1} s", rows.len(), start.elapsed().as_secs_f64());
    println!("{:?}", index.stats().unwrap().lsh.unwrap());
    let bytes = |index: &Index<D>| {
        let kinds = index.stats().unwrap().kinds;
        kinds.iter().find(|kind| kind.kind.to_string() == "LSH").unwrap().bytes
    };
    println!("{} bytes of tables an item", bytes(&index) / rows.len() as u64);
    report(&index, dimensions, queries);
    let mut rng = StdRng::seed_from_u64(5);
    let mut owner: Vec<u32> = (0..rows.len() as u32).collect();
    for _ in 0..30 {
        let pairs: Vec<(usize, usize)> = (0..rows.len() * 3 / 200)
            .map(|_| (rng.random_range(0..rows.len()), rng.random_range(0..rows.len())))
            .collect();
        pairs.iter().for_each(|(a, b)| owner.swap(*a, *b));
        index
            .write(|batch| {
                let changed = pairs.iter().flat_map(|(a, b)| [*a, *b]);
                batch.add_items_from(changed.map(|item| (item as u32, rows[owner[item] as usize])))
            })
            .unwrap();
    }
    let findings = index.check().unwrap();
    println!(
        "after 30 rounds of 3 %: {} findings, {:?}",
        findings.len(),
        index.stats().unwrap().lsh
    );
    report(&index, dimensions, queries);
}

fn report<D: Distance>(index: &Index<D>, dimensions: usize, queries: &[f32]) {
    let queries: Vec<&[f32]> = queries.chunks_exact(dimensions).step_by(5).collect();
    let start = std::time::Instant::now();
    let exact: Vec<_> = queries
        .iter()
        .map(|query| index.search(K).exact().by_vector(query).unwrap().into_nns())
        .collect();
    println!("  exact: {:.2} ms", start.elapsed().as_secs_f64() * 1e3 / queries.len() as f64);
    for promise in [0.5, 0.65, 0.8, 0.9, 0.95, 0.99] {
        let (mut found, mut last, mut compared, mut nodes, mut scans) = (0, 0, 0, 0, 0);
        let start = std::time::Instant::now();
        for (query, exact) in queries.iter().zip(&exact) {
            let answer = index.search(K).kind(Lsh).recall(promise).by_vector(query).unwrap();
            let has = |one: &(u32, f32)| answer.nns.iter().any(|(_, far)| *far == one.1);
            found += exact.iter().filter(|one| has(one)).count();
            last += usize::from(has(&exact[K - 1]));
            compared += answer.distances.max(answer.estimates);
            nodes += answer.lists;
            scans += usize::from(answer.strategy.is_exact());
        }
        let (count, items) = (queries.len() as f64, index.stats().unwrap().items as f64);
        println!(
            "  promise {promise}: recall {:.4}, of the {K}-th {:.3}, compared {:.2} %, \
             {:.0} pieces, {:.2} ms, {scans} exact",
            found as f64 / count / K as f64,
            last as f64 / count,
            compared as f64 / count / items * 100.0,
            nodes as f64 / count,
            start.elapsed().as_secs_f64() * 1e3 / count,
        );
    }
}
