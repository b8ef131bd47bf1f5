//! The range that an index of `i8` is trained for, and parameters that cannot work.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tempfile::TempDir;
use voisin::codec::I8;
use voisin::distances::{Cosine, DecodedOf, Distance, DotProduct, Euclidean};
use voisin::heed::EnvOpenOptions;
use voisin::{
    Codes, Database, Error, Index, ItemId, Options, Stats, TrainedRange, VectorDefect, Warning,
    Writer, create_database,
};

const DIMENSIONS: usize = 32;
/// The standard deviation of the components of most rows.
const SPREAD: f32 = 0.05;

/// Normal components, the same for the same seed: sums of 12 even ones.
struct Normal(u64);

impl Normal {
    fn even(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(0x5DEE_CE66_D1CF);
        (self.0 >> 40) as f32 / (1 << 24) as f32
    }

    fn next(&mut self) -> f32 {
        (0..12).map(|_| self.even()).sum::<f32>() - 6.0
    }

    fn row(&mut self, dimensions: usize) -> Vec<f32> {
        (0..dimensions).map(|_| SPREAD * self.next()).collect()
    }
}

fn rows(seed: u64, count: usize) -> Vec<Vec<f32>> {
    let mut normal = Normal(seed);
    (0..count).map(|_| normal.row(DIMENSIONS)).collect()
}

/// The same, of which these are replaced by a value far outside.
fn with_outliers(mut rows: Vec<Vec<f32>>, outliers: usize, value: f32) -> Vec<Vec<f32>> {
    let count = rows.len();
    for outlier in 0..outliers {
        rows[(outlier * 29 + 777) % count] = vec![value; DIMENSIONS];
    }
    rows
}

fn create<D: Distance>() -> (TempDir, Index<D>) {
    crate::create(Options::new(DIMENSIONS).m(4).m0(8).ef_construction(16))
}

/// The share of the true 10 nearest of `rows` that an exact search finds, over 50 queries.
fn recall(index: &Index<Euclidean<I8>>, rows: &[Vec<f32>]) -> f64 {
    const K: usize = 10;
    let mut normal = Normal(99);
    let mut found = 0;
    let queries = 50;
    for _ in 0..queries {
        let query = normal.row(DIMENSIONS);
        let mut all: Vec<(f64, ItemId)> = (0..)
            .zip(rows)
            .map(|(item, row)| {
                let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
                (row.iter().zip(&query).map(square).sum(), item)
            })
            .collect();
        all.sort_by(|a, b| a.partial_cmp(b).unwrap());
        let answer = index.search(K).exact().by_vector(&query).unwrap().into_nns();
        let is_true = |item: ItemId| all[..K].iter().any(|(_, other)| *other == item);
        found += answer.iter().filter(|(item, _)| is_true(*item)).count();
    }
    found as f64 / (queries * K) as f64
}

#[track_caller]
fn sound<D>(index: &Index<D>) {
    assert_eq!(index.check().unwrap(), []);
}

/// One row of 10 000 among values near 0, and every other vector of the index got one code: the
/// range was that from the smallest to the largest component. Recall was 0, `saturated` 0, and
/// there was no error. The row is clipped now, and counted.
#[test]
fn one_outlier_of_a_load_leaves_the_others_their_resolution() {
    let sound_rows = rows(1, 2000);
    let (_folder, index) = create::<Euclidean<I8>>();
    index.load((0..).zip(&sound_rows), |_| {}).unwrap();
    let without = recall(&index, &sound_rows);
    assert!(without > 0.9, "{without}");

    for outlier in [10.0, 1e4, -3e15] {
        let mut rows = sound_rows.clone();
        rows[777] = vec![outlier; DIMENSIONS];
        let (_folder, index) = create::<Euclidean<I8>>();
        index.load((0..).zip(&rows), |_| {}).unwrap();
        let with = recall(&index, &rows);
        assert!(with >= without - 0.02, "{with} with {outlier}, {without} without");
        assert_eq!(index.stats().unwrap().saturated, DIMENSIONS as u64);
        sound(&index);
    }
}

/// More outliers than a range can leave out widened it without a word, too. Training that would
/// cost most of the resolution is refused, with the error, the limit, the range and the remedy, and
/// changes nothing.
#[test]
fn a_range_that_leaves_no_resolution_is_refused() {
    let rows = with_outliers(rows(1, 2000), 40, 1e4);
    let (_folder, index) = create::<Euclidean<I8>>();
    let errors = [
        index.train(&rows.concat()).unwrap_err(),
        index.load((0..).zip(&rows), |_| {}).unwrap_err(),
        index.loader().commit_every(1500).load((0..).zip(&rows)).unwrap_err(),
    ];
    for error in errors {
        assert!(
            matches!(
                error,
                Error::CoarseRange { rows: "the sample", highest: 9e3.., error: 1.0.., .. }
            ),
            "{error:?}"
        );
        let message = error.to_string();
        for part in ["the limit is", "without outliers", "f16 or f32", "e4"] {
            assert!(message.contains(part), "{message}");
        }
        let added = index.write(|batch| batch.add(1, &rows[0]));
        assert!(matches!(added, Err(Error::NotTrained { .. })), "{added:?}");
        assert_eq!((index.stats().unwrap().items, index.stats().unwrap().range), (0, None));
    }
    // Without them it works, and a batch goes on after the refusal.
    index
        .write(|batch| {
            assert!(batch.train(&rows.concat()).is_err());
            batch.train(&rows[..500].concat())?;
            batch.link_later();
            batch.add_items_from((0..).zip(&rows[..500]))
        })
        .unwrap();
    sound(&index);
}

/// Lengths that vary much cost the median row its resolution, and an inner product nothing: the
/// largest are those of long rows. What would be refused for distances is accepted, and good.
#[test]
fn an_index_of_inner_products_may_have_short_rows() {
    let mut normal = Normal(4);
    let mut rows = rows(3, 1000);
    rows.iter_mut().for_each(|row| {
        let length = (2.0 * normal.next()).exp();
        row.iter_mut().for_each(|value| *value *= length);
    });
    let (_folder, distances) = create::<Euclidean<I8>>();
    let refused = distances.train(&rows.concat());
    assert!(matches!(refused, Err(Error::CoarseRange { .. })), "{refused:?}");

    let (_folder, index) = create::<DotProduct<I8>>();
    index.load((0..).zip(&rows), |_| {}).unwrap();
    assert_eq!(index.stats().unwrap().warnings().len(), 1, "of the error");
    let query = normal.row(DIMENSIONS);
    let product = |row: &Vec<f32>| row.iter().zip(&query).map(|(a, b)| a * b).sum::<f32>();
    let mut expected: Vec<(f32, ItemId)> = rows.iter().map(product).zip(0..).collect();
    expected.sort_by(|a, b| b.0.total_cmp(&a.0));
    let found = index.search(10).exact().by_vector(&query).unwrap().into_nns();
    let is_true = |item: ItemId| expected[..10].iter().any(|(_, other)| *other == item);
    let hits = found.iter().filter(|(item, _)| is_true(*item)).count();
    assert!(hits >= 9, "{found:?}");
}

/// Training says what it has done.
#[test]
fn training_returns_the_range_and_its_error() {
    let (_folder, index) = create::<Euclidean<I8>>();
    let rows = rows(1, 2000);
    let plain = index.train(&rows.concat()).unwrap();
    let all = rows.iter().flatten().copied();
    let ends = [all.clone().fold(f32::MAX, f32::min), all.fold(f32::MIN, f32::max)];
    assert_eq!(([plain.lowest, plain.highest], plain.clipped), (ends, 0.0));
    let expected = f64::from(ends[1] - ends[0]) / 255.0 / 12f64.sqrt() / f64::from(SPREAD);
    assert!((plain.error / expected - 1.0).abs() < 0.05, "{plain:?}, {expected} expected");

    let two = index.train(&with_outliers(rows.clone(), 2, -50.0).concat()).unwrap();
    assert_eq!(two.clipped, 0.001);
    assert!((two.error / expected - 1.0).abs() < 0.05, "{two:?}, {expected} expected");

    // Rows that are all alike have no spread to lose.
    let TrainedRange { error, lowest, highest, .. } =
        index.train(&[7.25; DIMENSIONS * 20]).unwrap();
    assert_eq!((error, lowest, highest), (0.0, 7.25, 7.25));
    let stats = index.stats().unwrap();
    assert_eq!(stats.range.unwrap().error, 0.0, "there are no vectors");
}

/// An index in which everything occurs: a full block and a tail, free slots, pending and removed
/// items, and codes.
fn varied<D: Distance<Codec = I8>>(index: &Index<D>) -> Vec<Vec<f32>> {
    let rows = rows(5, 2600);
    index.train(&rows.concat()).unwrap();
    index.write(|batch| batch.set_codes(Some(Codes::Bits4))).unwrap();
    index.load((0..).zip(&rows[..2000]), |_| {}).unwrap();
    index.write(|batch| batch.delete_items((0..300).step_by(3))).unwrap();
    index
        .write(|batch| {
            batch.link_later();
            batch.add_items_from((0..).zip(&rows).skip(2000))?;
            batch.delete_items((1..300).step_by(3))
        })
        .unwrap();
    let stats = index.stats().unwrap();
    assert!(stats.pending > 0 && stats.removed > 0 && stats.free_slots > 0 && stats.tail > 0);
    rows
}

fn vectors<D>(snapshot: &voisin::Snapshot<D>) -> Vec<(ItemId, Vec<f32>)> {
    snapshot.iter().unwrap().map(Result::unwrap).collect()
}

/// A second training was refused on an index with vectors, so that a range that did not fit was for
/// ever.
#[test]
fn an_index_with_vectors_can_be_trained_again() {
    fn run<D: Distance<Codec = I8>>() {
        let (_folder, index) = create::<D>();
        let rows = varied(&index);
        let held = index.snapshot().unwrap();
        held.warm(u64::MAX).unwrap();
        let before = vectors(&held);
        let answer = held.search(10).exact().by_vector(&rows[2]).unwrap();
        let step = index.stats().unwrap().range.unwrap().step;

        // Vectors of twice the size are to come.
        let larger: Vec<f32> = rows.iter().flatten().map(|value| 2.0 * value).collect();
        let range = index.train(&larger).unwrap();
        sound(&index);
        let stats = index.stats().unwrap();
        let now = stats.range.unwrap();
        assert!((now.step / step - 2.0).abs() < 0.02 && now.lowest <= range.lowest, "{now:?}");
        assert_eq!((stats.saturated, stats.items), (0, before.len() as u64));
        assert_eq!(stats.codes.unwrap().codes, Codes::Bits4);
        assert!(stats.codes.unwrap().error < 0.2);
        let after = vectors(&index.snapshot().unwrap());
        assert_eq!(after.len(), before.len());
        for ((item, old), (other, new)) in before.iter().zip(&after) {
            assert_eq!(item, other);
            let error = old.iter().zip(new).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(error <= now.step * 0.501, "{item}: {error} of {}", now.step);
        }
        let large: Vec<f32> = rows[0].iter().map(|value| 2.0 * value).collect();
        index.write(|batch| batch.add(9000, &large)).unwrap();
        assert_eq!(index.stats().unwrap().saturated, 0);
        let found = index.search(1).by_vector(&large).unwrap().into_nns();
        assert!(D::name() == "dot product" || found[0].0 == 9000, "{found:?}");
        let graph = index.search(10).ef_search(200).walk_graph().by_vector(&rows[2]).unwrap();
        let exact = index.search(10).exact().by_vector(&rows[2]).unwrap();
        let both = graph.nns.iter().filter(|found| exact.nns.contains(found)).count();
        assert!(both >= 8, "{graph:?}, {exact:?}");

        // A narrower range clips, and counts.
        let narrow = index.train(&rows.concat()).unwrap();
        sound(&index);
        let stats = index.stats().unwrap();
        assert!(stats.saturated > 0 && stats.saturated < 40, "{}", stats.saturated);
        let vector = index.snapshot().unwrap().vector(9000).unwrap().unwrap();
        let half = now.step / 2.0;
        assert!(
            vector
                .iter()
                .all(|value| { (narrow.lowest - half..=narrow.highest + half).contains(value) })
        );
        // The same range again changes nothing.
        let commit = vectors(&index.snapshot().unwrap());
        index.train(&rows.concat()).unwrap();
        assert_eq!(vectors(&index.snapshot().unwrap()), commit);

        // Who holds the commit from before sees nothing of it.
        assert_eq!(vectors(&held), before);
        assert_eq!(held.search(10).exact().by_vector(&rows[2]).unwrap(), answer);
    }
    run::<Euclidean<I8>>();
    run::<Cosine<I8>>();
    run::<DotProduct<I8>>();
}

/// A training that would cost the stored vectors most of their resolution, or make one of them a
/// vector that the metric cannot compare, is refused, and changes nothing.
#[test]
fn a_training_that_ruins_the_stored_vectors_is_refused() {
    let (_folder, index) = create::<Euclidean<I8>>();
    varied(&index);
    let before = vectors(&index.snapshot().unwrap());
    // Too wide, and beside all of them.
    for ends in [[-1e4, 1e4], [5.0, 6.0]] {
        let error = index.train(&ends.map(|end| [end; DIMENSIONS]).concat()).unwrap_err();
        assert!(matches!(error, Error::CoarseRange { rows: "the stored vectors", .. }), "{error}");
        assert_eq!(vectors(&index.snapshot().unwrap()), before);
        sound(&index);
    }

    let (_folder, index) = create::<Cosine<I8>>();
    index.train(&[[-127.5; DIMENSIONS], [127.5; DIMENSIONS]].concat()).unwrap();
    let row =
        |item: u32| (0..DIMENSIONS).map(move |i| ((item * 37 + i as u32 * 11) % 200) as f32 - 99.5);
    index
        .write(|batch| {
            batch.add_items_from((0..50).map(|item| (item, row(item).collect::<Vec<_>>())))?;
            batch.add(50, &[0.5; DIMENSIONS])
        })
        .unwrap();
    let before = vectors(&index.snapshot().unwrap());
    let error = index.train(&[[-1280.0; DIMENSIONS], [1270.0; DIMENSIONS]].concat()).unwrap_err();
    assert!(
        matches!(error, Error::InvalidItem { item: 50, defect: VectorDefect::ZeroNorm }),
        "{error}"
    );
    assert_eq!(vectors(&index.snapshot().unwrap()), before);
    sound(&index);
}

thread_local! {
    /// The number of calls of [`Moody`] until it panics.
    static CALLS: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// A metric of a user's own, which panics at some call.
#[derive(Debug, Clone)]
enum Moody {}

impl Moody {
    fn call() {
        CALLS.set(CALLS.get() - 1);
        assert!(CALLS.get() > 0, "on purpose");
    }
}

impl Distance for Moody {
    type Codec = I8;

    const FACTOR: bool = true;

    fn name() -> &'static str {
        "moody"
    }

    fn check(_: &[f32]) -> Result<(), VectorDefect> {
        Self::call();
        Ok(())
    }

    fn factor(_: voisin::codec::VectorRef<'_, DecodedOf<Self>>) -> f32 {
        Self::call();
        0.5
    }

    fn raw(
        a: voisin::codec::VectorRef<'_, DecodedOf<Self>>,
        b: voisin::codec::VectorRef<'_, DecodedOf<Self>>,
    ) -> f32 {
        a.iter().zip(b.iter()).map(|(a, b)| (a - b).powi(2)).sum()
    }
}

/// A training that panics in a user's code, or finds the map full, leaves the index as it was, also
/// if the transaction is committed.
#[test]
fn an_interrupted_training_changes_nothing() {
    const ITEMS: u32 = 400;
    const WIDE: usize = 256;
    let folder = tempfile::tempdir().unwrap();
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(1 << 20);
    // SAFETY: a fresh folder that nobody else opens.
    let env = unsafe { options.open(folder.path()) }.unwrap();
    let database: Database<'_, Moody> = create_database(&env, None).unwrap();
    let writer = Writer::new(database, 0, WIDE);
    let mut normal = Normal(3);
    let rows: Vec<Vec<f32>> = (0..ITEMS).map(|_| normal.row(WIDE)).collect();
    let wide: Vec<f32> = rows.iter().flatten().map(|value| 3.0 * value).collect();
    let mut wtxn = env.write_txn().unwrap();
    writer.train(&mut wtxn, &rows.concat()).unwrap();
    writer.add_items_from(&mut wtxn, (0..).zip(&rows)).unwrap();
    wtxn.commit().unwrap();
    let all = |rtxn: &_| -> Vec<_> { writer.iter(rtxn).unwrap().map(Result::unwrap).collect() };
    let before = all(&env.read_txn().unwrap());

    let calls = 2 * u64::from(ITEMS);
    for at in [1, 2, 3, calls / 2, calls - 1, calls] {
        let mut wtxn = env.write_txn().unwrap();
        CALLS.set(at);
        let trained = catch_unwind(AssertUnwindSafe(|| writer.train(&mut wtxn, &wide)));
        CALLS.set(u64::MAX);
        assert!(trained.is_err(), "it has not come to call {at}");
        wtxn.commit().unwrap();
        let rtxn = env.read_txn().unwrap();
        assert_eq!(voisin::check(&rtxn, 0, database).unwrap(), []);
        assert!(all(&rtxn) == before);
    }

    // Another index fills the map, until there is no room to write all blocks anew.
    let other = Writer::new(database, 1, WIDE);
    let mut fill = env.write_txn().unwrap();
    other.train(&mut fill, &rows.concat()).unwrap();
    fill.commit().unwrap();
    for first in (0..).step_by(100) {
        let mut wtxn = env.write_txn().unwrap();
        let trained = writer.train(&mut wtxn, &wide);
        let is_full = trained.is_err();
        assert!(matches!(trained, Ok(_) | Err(Error::MapFull)), "{trained:?}");
        assert!(writer.item_vector(&wtxn, 7).is_err() == is_full, "half of it was written");
        wtxn.abort();
        let rtxn = env.read_txn().unwrap();
        assert_eq!(voisin::check(&rtxn, 0, database).unwrap(), []);
        assert!(all(&rtxn) == before);
        drop(rtxn);
        if is_full {
            return;
        }
        let mut wtxn = env.write_txn().unwrap();
        other.add_items_from(&mut wtxn, (first..).zip(&rows[..100])).unwrap();
        wtxn.commit().unwrap();
    }
}

/// `optimize` narrows a range that is much wider than what is stored, for the sake of vectors to
/// come, and every stored vector stays what it is.
#[test]
fn optimize_narrows_a_range_that_is_much_too_wide() {
    // Four widths of normal components at each side, and room for 16.
    let wide = [[-16.0 * SPREAD; DIMENSIONS], [16.0 * SPREAD; DIMENSIONS]].concat();
    for (count, is_narrowed) in [(900, false), (1500, true)] {
        let (_folder, index) = create::<Cosine<I8>>();
        index.train(&wide).unwrap();
        index.write(|batch| batch.set_codes(Some(Codes::Bits4))).unwrap();
        let rows = rows(1, count);
        index.load((0..).zip(&rows), |_| {}).unwrap();
        let (before, range) =
            (vectors(&index.snapshot().unwrap()), index.stats().unwrap().range.unwrap());
        index.optimize().unwrap();
        sound(&index);
        let stats = index.stats().unwrap();
        let now = stats.range.unwrap();
        assert_eq!(now.step, if is_narrowed { range.step / 2.0 } else { range.step });
        // From the 1 000th item on there are codes.
        assert_eq!(stats.codes.map(|codes| codes.codes), is_narrowed.then_some(Codes::Bits4));
        for ((item, old), (other, new)) in before.iter().zip(&vectors(&index.snapshot().unwrap())) {
            assert_eq!(item, other);
            assert!(old.iter().zip(new).all(|(a, b)| (a - b).abs() < 1e-7), "{item}");
        }
        // There is room beyond the largest.
        let largest = before.iter().flat_map(|(_, row)| row).copied().fold(0.0, f32::max);
        index.write(|batch| batch.add(9000, &[largest * 1.3; DIMENSIONS])).unwrap();
        assert_eq!(index.stats().unwrap().saturated, 0);
        index.optimize().unwrap();
        assert_eq!(index.stats().unwrap().range.unwrap().step, now.step, "once is enough");
    }
}

/// The statistics of an index whose recall is bad said nothing about it. They warn, with a value, a
/// limit and a remedy; and not of what is usual.
#[test]
fn statistics_warn_of_what_costs_recall() {
    fn warnings<D>(index: &Index<D>) -> Vec<Warning> {
        let stats: Stats = index.stats().unwrap();
        let warnings = stats.warnings();
        for warning in &warnings {
            let message = warning.to_string();
            assert!(
                message.contains("anew")
                    || message.contains("again")
                    || message.contains("optimize"),
                "{message}"
            );
        }
        warnings
    }
    let rows = rows(1, 1000);
    let some = |rows: &[Vec<f32>]| (0..).zip(rows.to_vec()).take(150).collect::<Vec<_>>();

    let options = Options::new(DIMENSIONS).m(2).m0(2).ef_construction(1);
    let (_folder, index) = crate::create::<Euclidean>(options);
    let few = Warning::FewNeighbors { m0: 2, least: 8 };
    assert_eq!(warnings(&index), [few]);
    index.write(|batch| batch.add_items_from(some(&rows))).unwrap();
    let both = [few, Warning::FewCandidates { ef_construction: 1, least: 16 }];
    assert_eq!(warnings(&index), both);

    let (_folder, index) = create::<Euclidean<I8>>();
    index.load(some(&rows), |_| {}).unwrap();
    assert_eq!(warnings(&index), []);
    index
        .write(|batch| batch.add_items_from((200..).zip(with_outliers(rows.clone(), 30, 9.0))))
        .unwrap();
    assert!(
        matches!(warnings(&index)[..], [Warning::NarrowRange { saturated: 0.02..0.03, .. }]),
        "{:?}",
        warnings(&index)
    );

    // As an earlier version has trained it, on a sample with an outlier.
    for (ends, expected) in [([-1e3, 1.1e3], f64::INFINITY), ([-2.0, 2.0], 0.09)] {
        let (_folder, index) = create::<Euclidean<I8>>();
        index.train(&ends.map(|end| [end; DIMENSIONS]).concat()).unwrap();
        index.write(|batch| batch.add_items_from(some(&rows))).unwrap();
        let found = warnings(&index);
        assert!(
            matches!(
                found[..],
                [Warning::CoarseRange { error, .. }]
                    if error == expected || (error - expected).abs() < 0.01
            ),
            "{found:?}"
        );
    }

    let options = Options::new(DIMENSIONS).codes(Codes::Bits8);
    let (_folder, index) = crate::create::<Euclidean>(options);
    index.load(some(&rows), |_| {}).unwrap();
    assert_eq!(warnings(&index), []);
}

/// The index at the measured parameters: recall@10 at `ef` 100, of 10 000 vectors.
#[test]
#[ignore = "figures: cargo test --test faults ranges::measure -- --ignored --nocapture"]
fn measure_parameters_and_steps() {
    const COUNT: usize = 10_000;
    let clustered = |dimensions: usize| -> Vec<Vec<f32>> {
        let mut normal = Normal(7);
        let centers: Vec<Vec<f32>> = (0..100).map(|_| normal.row(dimensions)).collect();
        (0..COUNT + 200)
            .map(|row| {
                let center = &centers[row * 7919 % 100];
                normal.row(dimensions).iter().zip(center).map(|(a, b)| 0.4 * a + b).collect()
            })
            .collect()
    };
    let plain = |dimensions: usize| -> Vec<Vec<f32>> {
        let mut normal = Normal(8);
        (0..COUNT + 200).map(|_| normal.row(dimensions)).collect()
    };
    fn answers<D>(index: &Index<D>, queries: &[Vec<f32>], is_exact: bool) -> Vec<Vec<ItemId>> {
        let nearest = |query: &Vec<f32>| {
            let mut search = index.search(10);
            let search = if is_exact { search.exact() } else { search.ef_search(100).walk_graph() };
            search.by_vector(query).unwrap().into_nns().into_iter().map(|(item, _)| item).collect()
        };
        queries.iter().map(nearest).collect()
    }
    fn share(found: &[Vec<ItemId>], expected: &[Vec<ItemId>]) -> f64 {
        let hits =
            |(a, b): (&Vec<ItemId>, &Vec<ItemId>)| a.iter().filter(|item| b.contains(item)).count();
        found.iter().zip(expected).map(hits).sum::<usize>() as f64 / (10 * found.len()) as f64
    }

    println!("i8: the step in standard deviations, the relative error, recall@10 of exact search");
    for (name, rows) in [
        ("normal 16", plain(16)),
        ("normal 64", plain(64)),
        ("normal 256", plain(256)),
        ("clustered 64", clustered(64)),
    ] {
        let (stored, queries) = rows.split_at(COUNT);
        let dimensions = stored[0].len();
        let options = || Options::new(dimensions);
        let (_folder, exact) = crate::create::<Euclidean>(options());
        let add = |batch: &mut voisin::Batch<'_, Euclidean>| {
            batch.link_later();
            batch.add_items_from((0..).zip(stored))
        };
        exact.write(add).unwrap();
        let expected = answers(&exact, queries, true);
        for step in [0.03, 0.06, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0] {
            let end = 127.5 * step * SPREAD;
            let (_folder, index) = crate::create::<Euclidean<I8>>(options());
            index.train(&[vec![-end; dimensions], vec![end; dimensions]].concat()).unwrap();
            index
                .write(|batch| {
                    batch.link_later();
                    batch.add_items_from((0..).zip(stored))
                })
                .unwrap();
            let error = index.stats().unwrap().range.unwrap().error;
            let recall = share(&answers(&index, queries, true), &expected);
            println!("{name}: {step} {error:.3} {recall:.3}");
        }
    }

    println!("lengths by a lognormal: sigma, the error, of the root mean square, recall@10");
    fn lengths<D: Distance, Q: Distance<Codec = I8>>(name: &str, sigma: f32) {
        let mut normal = Normal(9);
        let mut rows: Vec<Vec<f32>> = (0..COUNT + 200).map(|_| normal.row(64)).collect();
        rows[..COUNT].iter_mut().for_each(|row| {
            let length = (sigma * normal.next()).exp();
            row.iter_mut().for_each(|value| *value *= length);
        });
        let (stored, queries) = rows.split_at(COUNT);
        let squares: f64 = stored.iter().flatten().map(|value| f64::from(*value).powi(2)).sum();
        let deviation = (squares / (64 * COUNT) as f64).sqrt();
        let (_folder, exact) = crate::create::<D>(Options::new(64));
        exact
            .write(|batch| {
                batch.link_later();
                batch.add_items_from((0..).zip(stored))
            })
            .unwrap();
        let (_folder, index) = crate::create::<Q>(Options::new(64));
        let largest = |row: &Vec<f32>| row.iter().fold(0.0, |a: f32, b| a.max(b.abs()));
        let mut sorted: Vec<f32> = stored.iter().map(largest).collect();
        sorted.sort_by(f32::total_cmp);
        let end = sorted[COUNT - 1].min(2.0 * sorted[COUNT - 11]);
        index.train(&[[-end; 64], [end; 64]].concat()).unwrap();
        index
            .write(|batch| {
                batch.link_later();
                batch.add_items_from((0..).zip(stored))
            })
            .unwrap();
        let range = index.stats().unwrap().range.unwrap();
        let by_mean = f64::from(range.step) / 12f64.sqrt() / deviation;
        let recall = share(&answers(&index, queries, true), &answers(&exact, queries, true));
        println!("{name} {sigma}: {:.3} {by_mean:.3} {recall:.3}", range.error);
    }
    for sigma in [0.0, 0.3, 1.0, 2.0] {
        lengths::<Euclidean, Euclidean<I8>>("euclidean", sigma);
        lengths::<Cosine, Cosine<I8>>("cosine", sigma);
        lengths::<DotProduct, DotProduct<I8>>("dot product", sigma);
    }

    println!("graphs: M, M0, ef_construction, recall@10 at ef 100");
    for (name, rows) in [("normal 16", plain(16)), ("clustered 32", clustered(32))] {
        let (stored, queries) = rows.split_at(COUNT);
        let mut expected = Vec::new();
        for (m, m0, ef) in [
            (16, 32, 100),
            (2, 2, 1),
            (2, 2, 100),
            (2, 3, 100),
            (2, 4, 100),
            (3, 6, 100),
            (4, 8, 100),
            (6, 12, 100),
            (8, 16, 100),
            (2, 32, 100),
            (3, 32, 100),
            (4, 32, 100),
            (16, 32, 1),
            (16, 32, 2),
            (16, 32, 4),
            (16, 32, 8),
            (16, 32, 16),
            (16, 32, 32),
            (16, 32, 50),
            (4, 8, 16),
        ] {
            let options = Options::new(stored[0].len()).m(m).m0(m0).ef_construction(ef);
            let (_folder, index) = crate::create::<Euclidean>(options);
            index.load((0..).zip(stored), |_| {}).unwrap();
            if expected.is_empty() {
                expected = answers(&index, queries, true);
            }
            println!(
                "{name}: {m} {m0} {ef} {:.3}",
                share(&answers(&index, queries, false), &expected)
            );
        }
    }
}
