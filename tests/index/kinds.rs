//! Kinds of index: chosen at creation, changed on a living index, asked for by queries.

use std::time::Duration;

use voisin::distances::Euclidean;
use voisin::{AnyIndex, Codes, Error, Index, IndexKind, Options, Strategy};

use super::{DIMENSIONS, Vectors, add, check, create, vector};

use IndexKind::{Flat, Hnsw};

fn flat() -> Options {
    Options::new(DIMENSIONS).kinds([Flat])
}

/// The nearest items by an exact search, and by the one that the engine chooses.
fn answers(index: &Vectors) -> [Vec<(u32, f32)>; 2] {
    let query = vector(77, 3);
    let exact = index.search(10).exact().by_vector(&query).unwrap().into_nns();
    [exact, index.search(10).ef_search(400).by_vector(&query).unwrap().into_nns()]
}

#[test]
fn an_index_without_a_graph_has_nothing_pending_and_answers_exactly() {
    let (_folder, index) = create(flat());
    assert_eq!(index.kinds().unwrap(), [Flat]);
    add(&index, 0..3000, 0).unwrap();
    add(&index, 100..200, 1).unwrap();
    index.write(|batch| batch.delete_items((0..3000).step_by(7))).unwrap();
    check(&index);
    let stats = index.stats().unwrap();
    assert_eq!((stats.pending, stats.removed, stats.layers.len(), stats.m0), (0, 0, 0, 0));
    assert_eq!(stats.index_kinds, [Flat]);
    let of_graph = |kind: &&voisin::KindStats| kind.kind.to_string() == "LINKS";
    assert_eq!(stats.kinds.iter().find(of_graph).unwrap().values, 0);
    let found = index.search(10).by_vector(&vector(5, 0)).unwrap();
    assert_eq!(found.strategy, Strategy::All);
    let certificate = found.certificate().unwrap();
    assert_eq!((certificate.items, certificate.compared), (stats.items, stats.items));
    assert_eq!(certificate.snapshot, index.snapshot().unwrap().commit());

    // All that a graph serves answers, too.
    let [exact, planned] = answers(&index);
    assert_eq!(exact, planned);
    let query = vector(50, 0);
    let near = index.search(4000).within(500.0).by_vector(&query).unwrap();
    assert!(near.is_complete() && !near.nns.is_empty());
    let pages: Vec<_> = index
        .search(50)
        .pages(&query)
        .unwrap()
        .take(3)
        .flat_map(|page| page.unwrap().into_nns())
        .collect();
    assert_eq!(pages, index.search(150).exact().by_vector(&query).unwrap().into_nns());
    assert_eq!(index.search(10).recall(0.9).by_vector(&query).unwrap().strategy, Strategy::All);
    assert_eq!(index.search(10).measure_recall(20).unwrap().mean, 1.0);
    let slow = index.search(10).deadline(Duration::from_secs(60)).by_vector(&query).unwrap();
    assert!(slow.is_complete());
    // By its name, whoever is asked.
    let is_told = |error: Error| {
        let is_it = matches!(&error, Error::KindMismatch { kind: Hnsw, .. });
        assert!(is_it && error.to_string().starts_with("index \"main\" has the kinds flat"));
    };
    let snapshot = index.snapshot().unwrap();
    is_told(index.search(1).kind(Hnsw).by_vector(&query).unwrap_err());
    is_told(index.search(1).kind(Hnsw).pages(&query).map(drop).unwrap_err());
    is_told(snapshot.search(1).kind(Hnsw).by_vector(&query).unwrap_err());
    is_told(snapshot.search(1).kind(Hnsw).pages(&query).map(drop).unwrap_err());
    index
        .write(|batch| {
            is_told(batch.search(1).kind(Hnsw).by_vector(&query).unwrap_err());
            is_told(batch.search(1).kind(Hnsw).pages(&query).map(drop).unwrap_err());
            voisin::Result::Ok(())
        })
        .unwrap();
    assert!(index.search(1).walk_graph().by_vector(&query).is_err());
    index.calibrate().unwrap();
    index.link().unwrap();
    assert_eq!((index.resume().unwrap(), index.pending_at_open()), (0, 0));
    index.force_rebuild().unwrap();
    check(&index);
}

#[test]
fn compaction_gives_back_free_slots_without_a_graph() {
    let (_folder, index) = create(flat().codes(Codes::Bits8));
    add(&index, 0..3000, 0).unwrap();
    index.write(|batch| batch.delete_items(500..2000)).unwrap();
    let before = answers(&index);
    assert_eq!(index.stats().unwrap().free_slots, 1500);
    index.optimize().unwrap();
    check(&index);
    let stats = index.stats().unwrap();
    assert_eq!((stats.items, stats.slots, stats.free_slots), (1500, 1500, 0));
    assert!(stats.codes.is_some());
    assert_eq!(answers(&index), before);
    // All of it may be gone.
    index.write(|batch| batch.delete_items(0..3000)).unwrap();
    index.optimize().unwrap();
    check(&index);
    assert_eq!(index.stats().unwrap().slots, 0);
}

#[test]
fn loads_make_codes_without_a_graph_in_one_commit_in_many_and_within_a_budget() {
    let rows = || (0..5000).map(|item| (item, vector(item, 0)));
    for how in 0..3 {
        let (_folder, index) = create(flat().codes(Codes::Bits4));
        let loader = index.loader();
        let loader = match how {
            0 => loader,
            1 => loader.commit_every(1000),
            _ => loader.memory(8 << 20),
        };
        assert_eq!(loader.load(rows()).unwrap(), 5000);
        let stats = index.stats().unwrap();
        assert_eq!((stats.items, stats.pending), (5000, 0));
        assert!(stats.codes.is_some(), "load {how}");
        let found = index.search(5).by_vector(&vector(7, 0)).unwrap();
        let certificate = found.certificate().unwrap();
        assert_eq!(certificate.compared + certificate.ruled_out, 5000);
        assert!(certificate.ruled_out > 2500, "{certificate:?}");
        check(&index);
    }
}

#[test]
fn a_graph_comes_and_goes_on_a_living_index_and_snapshots_keep_what_they_have() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    add(&index, 0..2000, 0).unwrap();
    index.write(|batch| batch.delete_items((0..2000).step_by(5))).unwrap();
    let (held, before) = (index.snapshot().unwrap(), answers(&index));
    assert!(index.drop_kind(Hnsw).unwrap() && !index.drop_kind(Hnsw).unwrap());
    check(&index);
    assert_eq!((index.kinds().unwrap(), held.kinds()), (vec![Flat], vec![Flat, Hnsw]));
    let walked = held.search(10).kind(Hnsw).by_vector(&vector(77, 3)).unwrap();
    assert_eq!((walked.strategy, walked.nns), (Strategy::Graph, before[0].clone()));
    assert_eq!(answers(&index)[1], before[0]);
    let stats = index.stats().unwrap();
    assert_eq!((stats.pending, stats.removed, stats.items), (0, 0, 1600));

    add(&index, 1900..2100, 2).unwrap();
    assert!(index.add_kind(Hnsw).unwrap() && !index.add_kind(Hnsw).unwrap());
    check(&index);
    let stats = index.stats().unwrap();
    assert_eq!((stats.pending, stats.layers[0].nodes), (0, stats.items));
    let found = index.search(10).kind(Hnsw).by_vector(&vector(77, 3)).unwrap();
    assert_eq!((found.strategy, found.certificate()), (Strategy::Graph, None));
    assert!(index.search(10).recall(0.9).walk_graph().by_vector(&vector(77, 3)).is_ok());
    assert!(matches!(index.drop_kind(Flat), Err(Error::KindMismatch { kind: Flat, .. })));
    check(&index);
}

#[test]
fn kinds_are_stored_and_checked_when_an_index_is_opened() {
    let (_folder, index) = create(flat());
    let path = index.path().to_owned();
    drop(index);
    let requested = Options::default().kinds([Hnsw]);
    let refused = Index::<Euclidean>::open(&path, requested).unwrap_err();
    assert!(refused.to_string().contains("flat, hnsw"), "{refused}");
    let index = Index::<Euclidean>::open(&path, Options::default().kinds([Flat])).unwrap();
    add(&index, 0..100, 0).unwrap();
    index.write(|batch| batch.clear()).unwrap();
    assert_eq!(index.kinds().unwrap(), [Flat]);
    assert_eq!(voisin::inspect(&path).unwrap()[0].metadata.as_ref().unwrap().kinds, [Flat]);
    drop(index);
    let any = AnyIndex::open(&path, Options::default()).unwrap();
    assert!(any.add_kind(Hnsw).unwrap() && any.drop_kind(Hnsw).unwrap());
    assert_eq!(any.kinds().unwrap(), [Flat]);
    // A copy has the kinds of the original.
    let copy = path.join("copy");
    any.copy_to(&copy).unwrap();
    assert_eq!(AnyIndex::open(&copy, Options::default()).unwrap().kinds().unwrap(), [Flat]);
}

#[test]
fn every_kind_keeps_step_with_changes_and_finds_more_with_more_effort() {
    for kind in IndexKind::ALL.iter().copied() {
        let (_folder, index) = create(Options::new(DIMENSIONS).kinds([kind]));
        add(&index, 0..3000, 0).unwrap();
        index.write(|batch| batch.delete_items((0..3000).step_by(7))).unwrap();
        add(&index, 3000..3200, 0).unwrap();
        check(&index);
        // The share of the nearest items that an effort finds.
        let recall = |effort: &str| {
            let mut hits = 0;
            for query in (0..40).map(|query| vector(query, 3)) {
                let exact = index.search(10).exact().by_vector(&query).unwrap().into_nns();
                let mut search = index.search(10);
                search.kind(kind).parameters(effort).unwrap();
                let found = search.by_vector(&query).unwrap().into_nns();
                assert_eq!(found.len(), 10, "{kind}, {effort}");
                hits += found.iter().filter(|near| exact.contains(near)).count();
            }
            hits as f64 / 400.0
        };
        let (least, most) = (kind.efforts()[0], kind.efforts()[kind.efforts().len() - 1]);
        assert!(recall(least) <= recall(most) && recall(most) > 0.95, "{kind}");
        let figures = index.stats().unwrap().figures();
        assert!(figures.iter().all(|(of, figures)| *of == kind && !figures.is_empty()));
        if kind != Flat {
            assert!(index.drop_kind(kind).unwrap());
            assert!(index.stats().unwrap().figures().is_empty());
            check(&index);
            assert!(index.add_kind(kind).unwrap());
            check(&index);
            assert_eq!(index.stats().unwrap().figures().len(), figures.len());
            assert!(recall(most) > 0.95, "{kind}");
        }
    }
}
