//! Inverted lists: exact where all are probed, kept in step and in shape by every change.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::distances::{Cosine, Distance, DotProduct, Euclidean, Hamming, Manhattan};
use voisin::roaring::RoaringBitmap;
use voisin::{Codes, Error, Index, IndexKind, Options, Stats, Strategy, codec};

use super::check;

use IndexKind::{Flat, Hnsw, Ivf};

pub(super) const DIMENSIONS: usize = 8;

/// A vector near one of some places, `shift` further on.
fn row(rng: &mut StdRng, shift: f32) -> Vec<f32> {
    let place = rng.random_range(0..40u32);
    let component = |i: u32| ((place * 7 + i * 3) % 11) as f32 + shift;
    (0..DIMENSIONS as u32).map(|i| component(i) + rng.random_range(-1.5f32..1.5)).collect()
}

pub(super) fn rows(seed: u64, count: usize, shift: f32) -> Vec<Vec<f32>> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(|_| row(&mut rng, shift)).collect()
}

pub(super) fn created<D: Distance>(options: Options) -> (tempfile::TempDir, Index<D>) {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(folder.path().join("vectors"), options).unwrap();
    (folder, index)
}

pub(super) fn options() -> Options {
    Options::new(DIMENSIONS).kinds([Ivf])
}

pub(super) fn load<D>(index: &Index<D>, first: u32, rows: &[Vec<f32>]) {
    index.load((first..).zip(rows), |_| {}).unwrap();
}

/// The mean recall of 10 results.
fn recall<D>(index: &Index<D>, queries: &[Vec<f32>], nprobe: usize) -> f64 {
    let all: Vec<f32> = queries.concat();
    let exact = index.search(10).exact().by_vectors(&all).unwrap();
    let found = index.search(10).kind(Ivf).nprobe(nprobe).by_vectors(&all).unwrap();
    let shares = exact.iter().zip(&found).map(|(exact, found)| {
        assert_eq!(found.strategy, Strategy::Lists);
        let is_right = |nn: &&(u32, f32)| exact.nns.iter().any(|(item, _)| *item == nn.0);
        found.nns.iter().filter(is_right).count() as f64 / exact.nns.len() as f64
    });
    shares.sum::<f64>() / queries.len() as f64
}

fn lists(stats: &Stats) -> voisin::ListStats {
    stats.lists.expect("it has lists")
}

#[test]
fn with_all_lists_probed_the_answer_is_exact_and_with_few_most_of_it() {
    fn holds<D: Distance>(codes: Option<Codes>) {
        let mut options = options();
        if let Some(codes) = codes {
            options = options.codes(codes);
        }
        let (_folder, index) = created::<D>(options);
        load(&index, 0, &rows(1, 4000, 0.0));
        assert_eq!(index.kinds().unwrap(), [Flat, Ivf]);
        let (stats, queries) = (index.stats().unwrap(), rows(2, 50, 0.0));
        assert!(lists(&stats).lists > 60 && stats.pending == 0, "{stats:?}");
        assert_eq!(recall(&index, &queries, usize::MAX), 1.0);
        let some = recall(&index, &queries, 16);
        assert!(some > 0.8, "{} at 16 lists: {some}", D::name());
        // A query alone finds what it finds among others.
        let one = index.search(7).kind(Ivf).nprobe(5).by_vector(&queries[3]).unwrap();
        let many = index.search(7).kind(Ivf).nprobe(5).by_vectors(&queries.concat()).unwrap();
        assert_eq!(one.nns, many[3].nns);
        assert_eq!((one.lists, one.certificate()), (5, None));
    }
    holds::<Euclidean>(None);
    holds::<Euclidean>(Some(Codes::Bits4));
    holds::<Cosine>(None);
    holds::<DotProduct>(None);
    holds::<Cosine<codec::F16>>(Some(Codes::Bits8));
    holds::<Euclidean<codec::I8>>(None);
}

#[test]
fn a_metric_without_means_is_refused_before_anything_is_created() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    let refused = [
        Index::<Manhattan>::create(&path, options()).map(drop),
        Index::<Hamming>::create(&path, options()).map(drop),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(Error::KindUnsupported { kind: Ivf, .. })), "{refused:?}");
    }
    assert!(!path.exists());
    let index = Index::<Manhattan>::create(&path, Options::new(2)).unwrap();
    assert!(matches!(index.add_kind(Ivf), Err(Error::KindUnsupported { .. })));
    assert_eq!(index.kinds().unwrap(), [Flat, Hnsw]);
}

#[test]
fn lists_beside_a_graph_come_and_go_and_the_query_says_which_way() {
    let (_folder, index) = created::<Euclidean>(Options::new(DIMENSIONS));
    load(&index, 0, &rows(1, 3000, 0.0));
    assert!(index.add_kind(Ivf).unwrap());
    check(&index);
    let query = &rows(2, 1, 0.0)[0];
    for (kind, strategy) in [(Flat, Strategy::All), (Hnsw, Strategy::Graph), (Ivf, Strategy::Lists)]
    {
        let found = index.search(5).kind(kind).by_vector(query).unwrap();
        assert_eq!((found.strategy, found.nns.len()), (strategy, 5));
    }
    // All that changes keeps both in step.
    index.write(|batch| batch.delete_items((0..3000).step_by(3))).unwrap();
    load(&index, 5000, &rows(3, 500, 0.0));
    check(&index);
    index.optimize().unwrap();
    check(&index);
    assert_eq!(recall(&index, &rows(4, 20, 0.0), usize::MAX), 1.0);
    let explained = index.search(5).explain(query).unwrap();
    assert!(explained.ways.iter().any(|way| way.strategy == Strategy::Lists), "{explained}");
    assert!(index.drop_kind(Hnsw).unwrap());
    check(&index);
    assert_eq!(recall(&index, &rows(4, 20, 0.0), usize::MAX), 1.0);
    assert!(index.drop_kind(Ivf).unwrap() && index.add_kind(Hnsw).unwrap());
    check(&index);
    assert_eq!((index.stats().unwrap().lists, index.kinds().unwrap()), (None, vec![Flat, Hnsw]));
}

#[test]
fn lists_split_and_dissolve_as_the_index_grows_drifts_and_shrinks() {
    let (_folder, index) = created::<Euclidean>(options());
    load(&index, 0, &rows(1, 2000, 0.0));
    let before = lists(&index.stats().unwrap());
    // Twice as many items, elsewhere.
    for part in 0..8 {
        load(&index, 2000 + part * 500, &rows(10 + u64::from(part), 500, 4.0));
        check(&index);
    }
    let grown = lists(&index.stats().unwrap());
    assert!(grown.lists > before.lists && grown.trained_on == before.trained_on, "{grown:?}");
    assert!(grown.imbalance < 2.0, "{grown:?}");
    let usual = 6000 / (2 * 6000f64.sqrt() as u64);
    assert!(grown.largest <= 2 * usual + 1, "{grown:?}, usual {usual}");
    let queries = rows(3, 100, 4.0);
    let incremental = recall(&index, &queries, 12);
    index.force_rebuild().unwrap();
    check(&index);
    assert_eq!(lists(&index.stats().unwrap()).trained_on, 6000);
    let fresh = recall(&index, &queries, 12);
    assert!(incremental > fresh - 0.05, "{incremental} against {fresh} of new lists");

    index.write(|batch| batch.delete_items(0..5500)).unwrap();
    check(&index);
    let shrunk = lists(&index.stats().unwrap());
    assert!(shrunk.lists < grown.lists, "{shrunk:?}");
    assert_eq!(recall(&index, &queries, usize::MAX), 1.0);
    index.write(|batch| batch.delete_items(5500..6000)).unwrap();
    check(&index);
    assert!(index.search(3).kind(Ivf).by_vector(&queries[0]).unwrap().nns.is_empty());
    load(&index, 0, &rows(5, 3000, 0.0));
    check(&index);
    assert_eq!(recall(&index, &rows(6, 20, 0.0), usize::MAX), 1.0);
}

#[test]
fn equal_vectors_do_not_make_a_list_that_grows_for_ever() {
    let (_folder, index) = created::<Euclidean>(options());
    load(&index, 0, &vec![vec![1.0; DIMENSIONS]; 3000]);
    load(&index, 3000, &vec![vec![2.0; DIMENSIONS]; 300]);
    check(&index);
    let stats = lists(&index.stats().unwrap());
    assert!(stats.largest < 200 && stats.lists < 400, "{stats:?}");
    let found = index.search(5).kind(Ivf).nprobe(1).by_vector(&[2.0; DIMENSIONS]).unwrap();
    assert!(found.nns.iter().all(|(_, distance)| *distance == 0.0), "{found:?}");
}

#[test]
fn filters_radii_pages_and_items_are_the_same_calls() {
    let (_folder, index) = created::<Euclidean>(options());
    let all = rows(1, 3000, 0.0);
    load(&index, 0, &all);
    let query = &all[17];
    let few: RoaringBitmap = (0..3000).step_by(250).collect();
    // Probes on until there are as many results as there can be.
    let found = index.search(12).kind(Ivf).nprobe(1).candidates(&few).by_vector(query).unwrap();
    let exact = index.search(12).exact().candidates(&few).by_vector(query).unwrap();
    assert_eq!((&found.nns, found.strategy), (&exact.nns, Strategy::Lists));
    let is_odd = |item: &u32| item % 2 == 1;
    let found = index.search(20).kind(Ivf).nprobe(3).filter(&is_odd).by_vector(query).unwrap();
    assert!(found.nns.len() == 20 && found.nns.iter().all(|(item, _)| is_odd(item)));
    let near = index.search(500).kind(Ivf).nprobe(1000).within(9.0).by_vector(query).unwrap();
    assert_eq!(near.nns, index.search(500).exact().within(9.0).by_vector(query).unwrap().nns);
    let by_item = index.search(3).kind(Ivf).nprobe(1000).by_item(17).unwrap().unwrap();
    assert_eq!(by_item.nns, index.search(3).exact().by_item(17).unwrap().unwrap().nns);
    let page = index.search(9).kind(Ivf).pages(query).unwrap().next().unwrap().unwrap();
    assert_eq!(page.nns, index.search(9).exact().by_vector(query).unwrap().nns);
    let late = std::time::Instant::now();
    assert!(index.search(3).kind(Ivf).deadline(late).by_vector(query).unwrap().timed_out);
}

#[test]
fn restrictions_hold_where_lists_are_scanned_by_codes() {
    let (_folder, index) = created::<Euclidean>(options().codes(Codes::Bits4));
    let all = rows(1, 4000, 0.0);
    load(&index, 0, &all);
    index.write(|batch| batch.delete_items((0..4000).step_by(7))).unwrap();
    let query = &all[17];
    let half: RoaringBitmap = (0..4000).step_by(2).collect();
    let is_odd = |item: &u32| item % 2 == 1;
    let exact = |query: &[f32]| {
        let search = || {
            let mut search = index.search(20);
            search.exact();
            search
        };
        [
            search().candidates(&half).by_vector(query).unwrap().nns,
            search().exclude(&half).by_vector(query).unwrap().nns,
            search().filter(&is_odd).by_vector(query).unwrap().nns,
            search().within(4.0).by_vector(query).unwrap().nns,
            search().by_item(17).unwrap().unwrap().nns,
        ]
    };
    let by_lists = |query: &[f32], nprobe: usize| {
        let search = || {
            let mut search = index.search(20);
            search.kind(Ivf).nprobe(nprobe);
            search
        };
        [
            search().candidates(&half).by_vector(query).unwrap(),
            search().exclude(&half).by_vector(query).unwrap(),
            search().filter(&is_odd).by_vector(query).unwrap(),
            search().within(4.0).by_vector(query).unwrap(),
            search().by_item(17).unwrap().unwrap(),
        ]
    };
    let (exact, found) = (exact(query), by_lists(query, usize::MAX));
    assert_eq!(exact, found.clone().map(|found| found.nns));
    assert!(found.iter().all(|found| found.strategy == Strategy::Lists && found.estimates > 0));
    // With few lists, nothing but what may be a result.
    for (found, exact) in by_lists(query, 3).into_iter().zip(exact) {
        assert!(found.lists >= 3 && found.nns.len() >= exact.len().min(20) / 2, "{found:?}");
        assert!(found.nns.iter().all(|(item, _)| item % 7 != 0), "{found:?}");
    }
    let late = std::time::Instant::now();
    assert!(index.search(3).kind(Ivf).deadline(late).by_vector(query).unwrap().timed_out);
}

#[test]
fn recall_as_a_goal_follows_from_what_builds_have_measured() {
    let (_folder, index) = created::<Euclidean>(options());
    load(&index, 0, &rows(1, 6000, 0.0));
    let queries = rows(2, 200, 0.0).concat();
    let exact = index.search(10).exact().by_vectors(&queries).unwrap();
    let mut probed = Vec::new();
    for goal in [0.8, 0.9, 0.98] {
        let found = index.search(10).recall(goal).kind(Ivf).by_vectors(&queries).unwrap();
        let shares = exact.iter().zip(&found).map(|(exact, found)| {
            let is_right = |nn: &&(u32, f32)| exact.nns.iter().any(|(item, _)| *item == nn.0);
            found.nns.iter().filter(is_right).count() as f64 / 10.0
        });
        let mean = shares.sum::<f64>() / 200.0;
        assert!(mean > goal - 0.05, "{mean} for {goal}");
        probed.push(found[0].lists);
    }
    assert!(probed.is_sorted() && probed[0] < probed[2], "{probed:?}");
    let measured = index.search(10).kind(Ivf).recall(0.9).measure_recall(100).unwrap();
    assert!(measured.high > 0.9, "{measured:?}");
}

#[test]
fn one_seed_gives_one_index_for_any_number_of_threads() {
    let dump = |threads: usize| {
        let (folder, index) = created::<Cosine>(options().threads(threads));
        load(&index, 0, &rows(1, 3000, 0.0));
        load(&index, 3000, &rows(2, 2000, 2.0));
        index.write(|batch| batch.delete_items((0..5000).step_by(4))).unwrap();
        check_any(&index);
        let queries = rows(3, 30, 1.0).concat();
        let found = index.search(10).kind(Ivf).nprobe(6).by_vectors(&queries).unwrap();
        let found: Vec<_> = found.into_iter().map(|found| found.nns).collect();
        let stats = index.stats().unwrap();
        drop((index, folder));
        (lists(&stats), stats.kinds, found)
    };
    assert_eq!(dump(1), dump(3));
}

#[track_caller]
fn check_any<D>(index: &Index<D>) {
    let findings = index.check().unwrap();
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn a_load_in_parts_or_within_a_budget_makes_lists_of_all() {
    let all = rows(1, 5000, 0.0);
    for how in 0..2 {
        let (_folder, index) = created::<Euclidean>(options().codes(Codes::Bits8));
        let loader = index.loader();
        let loader = if how == 0 { loader.commit_every(700) } else { loader.memory(8 << 20) };
        loader.load((0..).zip(&all)).unwrap();
        check(&index);
        assert_eq!(lists(&index.stats().unwrap()).trained_on, 5000);
        assert!(recall(&index, &rows(2, 50, 0.0), 20) > 0.8);
    }
}

#[test]
fn another_training_of_bytes_leaves_the_lists_as_they_are() {
    let (_folder, index) = created::<Euclidean<codec::I8>>(options());
    load(&index, 0, &rows(1, 2000, 0.0));
    let before = (lists(&index.stats().unwrap()), index.stats().unwrap().items);
    let wider: Vec<f32> = (0..DIMENSIONS * 100).map(|i| (i % 60) as f32 - 20.0).collect();
    index.train(&wider).unwrap();
    check_any(&index);
    assert_eq!((lists(&index.stats().unwrap()), index.stats().unwrap().items), before);
    load(&index, 2000, &rows(2, 200, 20.0));
    check_any(&index);
    assert_eq!(recall(&index, &rows(3, 20, 0.0), usize::MAX), 1.0);
}
