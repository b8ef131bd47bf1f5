//! The codes of inverted lists lie together, list by list: builds pack them, edits of any size keep
//! them packed, and searches by them answer as searches by vectors do.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::SeedableRng;
use rand::rngs::StdRng;
use voisin::distances::Euclidean;
use voisin::heed::{EnvOpenOptions, RwTxn};
use voisin::{
    Codes, Database, Error, Index, IndexKind, Options, Reader, Strategy, Writer, create_database,
};

use super::check;
use super::lists::{DIMENSIONS, created, load, options, rows};

use IndexKind::{Hnsw, Ivf};

type Vectors = Index<Euclidean>;

/// Items of which more wait in an edit for its end than may.
const MANY: usize = 18_000;

fn coded(codes: Codes) -> Options {
    options().codes(codes).codes_from(1)
}

/// Whether lists have codes: each has a block of them then, beside the piece with its slots.
fn is_packed(index: &Vectors) -> bool {
    let stats = index.stats().unwrap();
    let of_lists = stats.kinds.iter().find(|kind| kind.kind.to_string() == "IVF").unwrap();
    of_lists.values as f64 > 1.5 * stats.lists.unwrap().lists as f64
}

/// That the index is sound, that lists have codes or have none, and that searches by codes find
/// what they must: all lists the exact answer, some of them what the vectors in the same lists do.
#[track_caller]
fn holds(index: &Vectors, packed: bool, when: &str) {
    check(index);
    assert_eq!(is_packed(index), packed, "{when}");
    let queries = [rows(70, 30, 0.0), rows(71, 30, 4.0)].concat().concat();
    let search = |lists: usize, codes: bool| {
        let mut search = index.search(10);
        search.kind(Ivf).nprobe(lists).codes(codes);
        search.by_vectors(&queries).unwrap()
    };
    let exact = index.search(10).exact().by_vectors(&queries).unwrap();
    for (found, exact) in search(usize::MAX, true).iter().zip(&exact) {
        assert_eq!(found.nns, exact.nns, "{when}");
    }
    let (mut same, mut all) = (0, 0);
    for (found, twin) in search(6, true).iter().zip(search(6, false)) {
        assert_eq!((found.strategy, found.lists), (Strategy::Lists, twin.lists), "{when}");
        assert_eq!((found.estimates > 0, twin.estimates), (packed, 0), "{when}");
        all += twin.nns.len();
        same += twin.nns.iter().filter(|near| found.nns.contains(near)).count();
    }
    // Where not all lists are probed, the bound of a code holds with a probability of .997.
    assert!(all > 500 && 100 * same >= 98 * all, "{when}: {same} of {all}");
}

/// A change in a round of the churn, and whether lists have codes after it.
type Change = (&'static str, bool, fn(&Vectors, u32));

const CHANGES: &[Change] = &[
    ("a load", true, |index, round| load(index, 3000, &rows(u64::from(round) + 1, 300, 0.0))),
    ("deletes", true, |index, _| {
        index.write(|batch| batch.delete_items((0..3300).step_by(5))).unwrap();
    }),
    ("updates", true, |index, round| {
        let rows = rows(u64::from(round) + 10, 700, 1.0);
        index.write(|batch| batch.add_items_from((1..).step_by(4).zip(&rows))).unwrap();
    }),
    ("one of each, in one write", true, |index, round| {
        let rows = rows(u64::from(round) + 20, 4, 0.5);
        index
            .write(|batch| {
                batch.add(1, &rows[0])?;
                batch.add(90_000 + round, &rows[1])?;
                batch.add(90_100, &rows[2])?;
                batch.delete(90_100)?;
                batch.delete(2)?;
                batch.add(2, &rows[3])
            })
            .unwrap();
    }),
    ("drift, which splits lists", true, |index, round| {
        for part in 0..4 {
            let rows = rows(u64::from(40 + 4 * round + part), 500, 4.0);
            load(index, 10_000 + 2000 * round + 500 * part, &rows);
        }
    }),
    ("the end of most items of before, which dissolves lists", true, |index, _| {
        index.write(|batch| batch.delete_items((0..3300).filter(|item| item % 9 > 0))).unwrap();
    }),
    ("other codes", true, |index, _| {
        index.write(|batch| batch.set_codes(Some(Codes::Bits8))).unwrap();
    }),
    ("other codes, which the next build makes", false, |index, _| {
        index
            .write(|batch| {
                batch.link_later();
                batch.set_codes(Some(Codes::Bits7))
            })
            .unwrap();
    }),
    ("a build", true, |index, _| index.link().unwrap()),
    ("no codes", false, |index, _| index.write(|batch| batch.set_codes(None)).unwrap()),
    ("a load without codes", false, |index, round| {
        load(index, 0, &rows(u64::from(round) + 60, 1200, 0.0));
    }),
    ("codes again", true, |index, _| {
        index.write(|batch| batch.set_codes(Some(Codes::Bits4))).unwrap();
    }),
    ("other lists, and a graph for a while", true, |index, round| {
        assert!(index.drop_kind(Ivf).unwrap() && index.add_kind(Hnsw).unwrap());
        check(index);
        load(index, 1200, &rows(u64::from(round) + 65, 300, 2.0));
        assert!(index.add_kind(Ivf).unwrap());
        check(index);
        index.write(|batch| batch.delete_items((0..1500).step_by(3))).unwrap();
        check(index);
        assert!(index.drop_kind(Hnsw).unwrap());
    }),
    ("optimize", true, |index, _| index.optimize().unwrap()),
    ("force_rebuild", true, |index, _| index.force_rebuild().unwrap()),
];

#[test]
fn codes_stay_packed_through_every_change_and_searches_by_them_find_what_vectors_do() {
    let (_folder, index) = created::<Euclidean>(coded(Codes::Bits4));
    load(&index, 0, &rows(1, 3000, 0.0));
    holds(&index, true, "the first load");
    for round in 0..2 {
        for (what, packed, change) in CHANGES {
            change(&index, round);
            holds(&index, *packed, &format!("{what}, round {round}"));
        }
    }
    // As an index that has never had anything else.
    let (_folder, fresh) = created::<Euclidean>(coded(Codes::Bits4));
    let all: Vec<(u32, Vec<f32>)> =
        index.snapshot().unwrap().iter().unwrap().map(Result::unwrap).collect();
    fresh.load(all.iter().map(|(item, row)| (*item, row)), |_| {}).unwrap();
    holds(&fresh, true, "a fresh index");
    let queries = rows(72, 40, 3.0).concat();
    let answers = |index: &Vectors| {
        let found = index.search(10).kind(Ivf).nprobe(usize::MAX).by_vectors(&queries).unwrap();
        found.into_iter().map(|found| found.nns).collect::<Vec<_>>()
    };
    assert_eq!(answers(&index), answers(&fresh));
}

/// An edit that added more items than the index had dropped the codes of all lists until the next
/// build.
#[test]
fn an_edit_of_many_more_items_than_there_are_keeps_codes_packed() {
    let (_folder, index) = created::<Euclidean>(coded(Codes::Bits4));
    load(&index, 0, &rows(1, 1500, 0.0));
    let (many, again) = (rows(2, MANY, 1.0), rows(3, 600, 4.0));
    // Without a build. The first of them are replaced when lists have taken them in already.
    let added = || (1500..).zip(&many).chain((1500..).zip(&again));
    index
        .write(|batch| {
            batch.link_later();
            batch.add_items_from(added())
        })
        .unwrap();
    assert_eq!(index.stats().unwrap().items, 1500 + MANY as u64);
    assert_eq!(index.snapshot().unwrap().vector(1700).unwrap(), Some(again[200].clone()));
    holds(&index, true, "without a build");
    index
        .write(|batch| {
            batch.link_later();
            batch.delete_items(1000..15_000)
        })
        .unwrap();
    holds(&index, true, "deleted without a build");
    index.link().unwrap();
    holds(&index, true, "built");
}

/// Such an edit changes lists before its end. A torn one leaves none, and all items of before.
#[test]
fn a_torn_edit_of_many_items_is_undone_and_the_next_build_makes_the_lists() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(256 << 20);
    // SAFETY: a fresh folder that nobody else opens.
    let env = unsafe { options.open(folder.path()) }.unwrap();
    let database: Database<'_, Euclidean> = create_database(&env, None).unwrap();
    let writer = Writer::new(database, 0, DIMENSIONS);
    let build = |wtxn: &mut RwTxn<'_>| {
        let mut rng = StdRng::seed_from_u64(1);
        writer.builder(&mut rng).codes_from(1).build::<16, 32>(wtxn).unwrap();
        assert_eq!(voisin::check(wtxn, 0, database).unwrap(), []);
    };
    let mut wtxn = env.write_txn().unwrap();
    writer.add_kind(&mut wtxn, Ivf).unwrap();
    writer.drop_kind(&mut wtxn, Hnsw).unwrap();
    writer.set_codes(&mut wtxn, Some(Codes::Bits4)).unwrap();
    writer.add_items_from(&mut wtxn, (0..).zip(rows(1, 1500, 0.0))).unwrap();
    build(&mut wtxn);
    let items = |wtxn: &RwTxn<'_>| -> BTreeMap<u32, Vec<f32>> {
        writer.iter(wtxn).unwrap().map(Result::unwrap).collect()
    };
    let before = items(&wtxn);
    assert_eq!(before.len(), 1500);

    let more = (1000..).zip(rows(2, 2 * MANY, 1.0));
    let more = more.chain(std::iter::once_with(|| panic!("on purpose")));
    let work = AssertUnwindSafe(|| writer.add_items_from(&mut wtxn, more));
    assert!(catch_unwind(work).is_err());
    let torn = Reader::open(&wtxn, 0, database).err();
    assert!(matches!(torn, Some(Error::TornEdit { .. })), "{torn:?}");
    assert!(writer.repair(&mut wtxn).unwrap());
    assert_eq!(voisin::check(&wtxn, 0, database).unwrap(), []);
    assert!(items(&wtxn) == before && writer.need_build(&wtxn).unwrap());
    build(&mut wtxn);
    assert!(items(&wtxn) == before);
    let reader = Reader::open(&wtxn, 0, database).unwrap();
    let found = reader.nns(5).kind(Ivf).nprobe(1000).by_vector(&wtxn, &before[&7]).unwrap();
    assert_eq!((found.strategy, found.nns[0]), (Strategy::Lists, (7, 0.0)));
}
