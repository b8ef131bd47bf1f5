//! Random programs against an exact model: after any sequence of calls, the index holds the right
//! items, answers exactly where it must, and violates no invariant.
//!
//! A failing program is shrunk and printed, with the seed with which `proptest` repeats it. 300
//! programs run by default; `PROPTEST_CASES=20000 cargo test --release --test it a_random_program`
//! runs any other number.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use roaring::RoaringBitmap;
use voisin::codec::{Bf16, F16, I8};
use voisin::distances::{BinaryQuantizedEuclidean, Euclidean, Hamming};
use voisin::heed::RwTxn;
use voisin::{Codes, Database, IndexKind, ItemId, Reader, Searched, Writer, roaring};

use crate::common::{Env, Metric, Model, Oracle, check_holds, create, open_env, vector};

const DIMENSIONS: usize = 3;
const INDEXES: [u16; 2] = [0, 65_534];
/// Programs of a run that is not told otherwise.
const PROGRAMS: u32 = 300;
/// The same for the forms that vectors are stored in beside `f32`, each of which runs all of them.
const PROGRAMS_OF_A_FORM: u32 = 75;
const STEPS: usize = 60;

#[derive(Debug, Clone)]
enum Step {
    /// Adds or replaces an item; its vector follows from the seed.
    Add {
        index: usize,
        item: u8,
        seed: u8,
    },
    /// Adds or replaces many, from `first` on.
    AddMany {
        index: usize,
        first: u8,
        count: u8,
        seed: u8,
    },
    /// Adds or replaces an item with a record, which follows from the seed.
    AddWithRecord {
        index: usize,
        item: u8,
        seed: u8,
    },
    SetRecord {
        index: usize,
        item: u8,
        seed: u8,
    },
    RemoveRecord {
        index: usize,
        item: u8,
    },
    Delete {
        index: usize,
        item: u8,
    },
    DeleteMany {
        index: usize,
        first: u8,
        step: u8,
    },
    Clear {
        index: usize,
    },
    /// Chooses codes of so many bits, 0 for none.
    SetCodes {
        index: usize,
        bits: usize,
    },
    /// Gives an index a kind, or takes it.
    SetKind {
        index: usize,
        kind: IndexKind,
        is_added: bool,
    },
    Build {
        index: usize,
        how: Building,
        cancelled: bool,
    },
    Commit,
    Abort,
    /// Drops what is not committed, closes the environment and opens it again.
    Reopen,
    Search(Query),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Building {
    Build,
    Rebuild,
    Optimize,
}

#[derive(Debug, Clone)]
struct Query {
    index: usize,
    by_item: Option<u8>,
    seed: u8,
    k: usize,
    ef: usize,
    way: Way,
    candidates: Option<Vec<u8>>,
    codes: bool,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Planned,
    Graph,
    Exact,
    /// By a kind, with one of its efforts.
    Of(IndexKind),
}

/// Few ids, so that they meet often; among them the smallest and the largest.
fn id(item: u8) -> ItemId {
    match item {
        255 => u32::MAX,
        254 => 1_000_000,
        item => item.into(),
    }
}

fn step() -> impl Strategy<Value = Step> {
    let index = 0..INDEXES.len();
    let how = prop_oneof![
        8 => Just(Building::Build),
        1 => Just(Building::Rebuild),
        2 => Just(Building::Optimize),
    ];
    let query = (
        (index.clone(), prop::option::weighted(0.3, any::<u8>()), any::<u8>()),
        prop_oneof![Just(0), Just(1), 1..12usize, Just(usize::MAX)],
        prop_oneof![Just(1), 1..20usize, Just(1000), Just(usize::MAX)],
        prop_oneof![
            Just(Way::Planned),
            Just(Way::Graph),
            Just(Way::Exact),
            prop::sample::select(IndexKind::ALL).prop_map(Way::Of),
        ],
        (
            prop::option::weighted(0.4, prop::collection::vec(any::<u8>(), 0..60)),
            prop::bool::weighted(0.8),
        ),
    );
    let query = query.prop_map(|((index, by_item, seed), k, ef, way, (candidates, codes))| Query {
        index,
        by_item,
        seed,
        k,
        ef,
        way,
        candidates,
        codes,
    });
    prop_oneof![
        8 => (index.clone(), any::<u8>(), any::<u8>()).prop_map(
            |(index, item, seed)| Step::Add { index, item, seed },
        ),
        6 => (index.clone(), any::<u8>(), 1..120u8, any::<u8>()).prop_map(
            |(index, first, count, seed)| Step::AddMany { index, first, count, seed },
        ),
        4 => (index.clone(), any::<u8>(), any::<u8>()).prop_map(
            |(index, item, seed)| Step::AddWithRecord { index, item, seed },
        ),
        4 => (index.clone(), any::<u8>(), any::<u8>()).prop_map(
            |(index, item, seed)| Step::SetRecord { index, item, seed },
        ),
        2 => (index.clone(), any::<u8>()).prop_map(
            |(index, item)| Step::RemoveRecord { index, item },
        ),
        6 => (index.clone(), any::<u8>()).prop_map(|(index, item)| Step::Delete { index, item }),
        3 => (index.clone(), any::<u8>(), 1..30u8).prop_map(
            |(index, first, step)| Step::DeleteMany { index, first, step },
        ),
        1 => index.clone().prop_map(|index| Step::Clear { index }),
        2 => (
            index.clone(),
            prop_oneof![Just(0), Just(1), Just(2), Just(4), Just(7), Just(8)],
        ).prop_map(|(index, bits)| Step::SetCodes { index, bits }),
        2 => (index.clone(), prop::sample::select(IndexKind::ALL), any::<bool>()).prop_map(
            |(index, kind, is_added)| Step::SetKind { index, kind, is_added },
        ),
        10 => (index, how, prop::bool::weighted(0.05)).prop_map(
            |(index, how, cancelled)| Step::Build { index, how, cancelled },
        ),
        6 => Just(Step::Commit),
        2 => Just(Step::Abort),
        1 => Just(Step::Reopen),
        8 => query.prop_map(Step::Search),
    ]
}

fn seeded<D: Metric>(seed: u8) -> Vec<f32> {
    vector::<D>(&mut StdRng::seed_from_u64(seed.into()), DIMENSIONS)
}

/// A record: none to some pages of bytes.
fn record(seed: u8) -> Vec<u8> {
    vec![seed; usize::from(seed).pow(2) % 9001]
}

type Models = [Model; INDEXES.len()];
type Records = [BTreeMap<ItemId, Vec<u8>>; INDEXES.len()];

struct Run<'e, D> {
    env: &'e Env,
    db: Database<'e, D>,
    wtxn: Option<RwTxn<'e>>,
    committed: Models,
    working: Models,
    committed_records: Records,
    working_records: Records,
}

impl<'e, D: Metric> Run<'e, D> {
    fn wtxn(&mut self) -> &mut RwTxn<'e> {
        self.wtxn.get_or_insert_with(|| self.env.write_txn().unwrap())
    }

    fn writer(&self, index: usize) -> Writer<'e, D> {
        Writer::new(self.db, INDEXES[index], DIMENSIONS)
    }

    fn step(&mut self, number: usize, step: &Step) {
        match step {
            Step::Add { index, item, seed } => self.add(*index, *item, *seed),
            Step::AddMany { index, first, count, seed } => {
                for i in 0..*count {
                    self.add(*index, first.wrapping_add(i), seed.wrapping_add(i));
                }
            }
            Step::AddWithRecord { index, item, seed } => {
                let (vector, record) = (seeded::<D>(*seed), record(*seed));
                let writer = self.writer(*index);
                D::prepare(&writer, self.wtxn());
                writer.add_item_with_record(self.wtxn(), id(*item), &vector, &record).unwrap();
                self.working[*index].insert(id(*item), vector);
                self.working_records[*index].insert(id(*item), record);
            }
            Step::SetRecord { index, item, seed } => {
                let (item, record) = (id(*item), record(*seed));
                let is_set = self.writer(*index).set_record(self.wtxn(), item, &record).unwrap();
                assert_eq!(is_set, self.working[*index].contains_key(&item));
                if is_set {
                    self.working_records[*index].insert(item, record);
                }
            }
            Step::RemoveRecord { index, item } => {
                let item = id(*item);
                let is_removed = self.writer(*index).remove_record(self.wtxn(), item).unwrap();
                let was_there = self.working_records[*index].remove(&item).is_some();
                assert_eq!(is_removed, was_there);
            }
            Step::Delete { index, item } => self.delete(*index, *item),
            Step::DeleteMany { index, first, step } => (*first..=u8::MAX)
                .step_by((*step).into())
                .for_each(|item| self.delete(*index, item)),
            Step::Clear { index } => {
                self.writer(*index).clear(self.wtxn()).unwrap();
                self.working[*index].clear();
                self.working_records[*index].clear();
            }
            Step::SetCodes { index, bits } => {
                let codes = [Codes::Bits1, Codes::Bits2, Codes::Bits4, Codes::Bits7, Codes::Bits8]
                    .into_iter()
                    .find(|codes| codes.bits() == *bits);
                match self.writer(*index).set_codes(self.wtxn(), codes) {
                    Err(voisin::Error::CodesUnsupported { .. }) => {
                        assert!(codes.is_some() && D::name() != "euclidean")
                    }
                    done => done.unwrap(),
                }
            }
            Step::SetKind { index, kind, is_added } => self.set_kind(*index, *kind, *is_added),
            Step::Build { index, how, cancelled } => self.build(number, *index, *how, *cancelled),
            Step::Commit => {
                if let Some(wtxn) = self.wtxn.take() {
                    wtxn.commit().unwrap();
                    self.committed = self.working.clone();
                    self.committed_records = self.working_records.clone();
                }
                self.check();
            }
            Step::Abort | Step::Reopen => {
                self.wtxn = None;
                self.working = self.committed.clone();
                self.working_records = self.committed_records.clone();
                self.check();
            }
            Step::Search(query) => self.search(query),
        }
    }

    fn add(&mut self, index: usize, item: u8, seed: u8) {
        let vector = seeded::<D>(seed);
        let writer = self.writer(index);
        D::prepare(&writer, self.wtxn());
        writer.add_item(self.wtxn(), id(item), &vector).unwrap();
        self.working[index].insert(id(item), vector);
    }

    fn delete(&mut self, index: usize, item: u8) {
        let deleted = self.writer(index).del_item(self.wtxn(), id(item)).unwrap();
        assert_eq!(deleted, self.working[index].remove(&id(item)).is_some());
        self.working_records[index].remove(&id(item));
    }

    fn set_kind(&mut self, index: usize, kind: IndexKind, is_added: bool) {
        let (writer, db) = (self.writer(index), self.db);
        let wtxn = self.wtxn();
        let changed = match is_added {
            true => writer.add_kind(wtxn, kind),
            false => writer.drop_kind(wtxn, kind),
        };
        match changed {
            Err(voisin::Error::KindUnsupported { .. }) => assert!(kind > IndexKind::Hnsw),
            Err(voisin::Error::KindMismatch { .. }) => {
                assert!(!is_added && kind == IndexKind::Flat)
            }
            changed => {
                changed.unwrap();
                let reader = Reader::<D>::open(wtxn, INDEXES[index], db).unwrap();
                assert_eq!(reader.kinds().contains(&kind), is_added);
            }
        }
    }

    fn build(&mut self, number: usize, index: usize, how: Building, cancelled: bool) {
        let writer = self.writer(index);
        let nothing_to_do = match how {
            Building::Build => !writer.need_build(self.wtxn()).unwrap(),
            Building::Rebuild => {
                !writer.need_build(self.wtxn()).unwrap() && self.working[index].is_empty()
            }
            // What was deleted may have left free places.
            Building::Optimize => self.working[index].is_empty(),
        };
        let mut rng = StdRng::seed_from_u64(number as u64);
        let mut builder = writer.builder(&mut rng);
        builder.ef_construction(12).codes_from(1).cancel(move || cancelled);
        let built = match how {
            Building::Build => builder.build::<3, 6>(self.wtxn()),
            Building::Rebuild => builder.force_rebuild::<3, 6>(self.wtxn()),
            Building::Optimize => builder.optimize::<3, 6>(self.wtxn()),
        };
        match built {
            Err(voisin::Error::Cancelled) => assert!(cancelled),
            built => {
                built.unwrap();
                assert!(!cancelled || nothing_to_do, "a build that was cancelled went on");
                assert_eq!(writer.n_pending(self.wtxn()).unwrap(), 0);
                assert!(!writer.need_build(self.wtxn()).unwrap());
                if how == Building::Optimize {
                    self.is_compact(index);
                }
            }
        }
    }

    /// Nothing is left of what was deleted.
    fn is_compact(&mut self, index: usize) {
        let (db, env) = (self.db, self.env);
        let items = self.working[index].len() as u64;
        let wtxn = self.wtxn();
        let stats = Reader::<D>::open(wtxn, INDEXES[index], db).unwrap().stats(wtxn, env).unwrap();
        assert_eq!(
            (stats.items, stats.slots, stats.free_slots, stats.removed),
            (items, items, 0, 0)
        );
    }

    /// Inside of the transaction if there is one, which sees its own changes.
    fn search(&self, query: &Query) {
        match &self.wtxn {
            Some(wtxn) => {
                let records = &self.working_records[query.index];
                search(wtxn, self.db, (&self.working[query.index], records), query);
            }
            None => {
                let records = &self.working_records[query.index];
                let rtxn = self.env.read_txn().unwrap();
                search(&rtxn, self.db, (&self.working[query.index], records), query);
            }
        }
    }

    fn check(&self) {
        let rtxn = self.env.read_txn().unwrap();
        for (index, records) in INDEXES.iter().zip(&self.committed_records) {
            let found: BTreeMap<ItemId, Vec<u8>> = match Reader::<D>::open(&rtxn, *index, self.db) {
                Err(voisin::Error::MissingIndex(_)) => BTreeMap::new(),
                reader => {
                    let reader = reader.unwrap();
                    let found = reader.records(&rtxn).unwrap().map(Result::unwrap);
                    found.map(|(item, record)| (item, record.to_vec())).collect()
                }
            };
            assert_eq!(found, *records);
        }
        for (index, model) in INDEXES.iter().zip(&self.committed) {
            check_holds(&rtxn, self.db, *index, model);
        }
    }
}

fn search<D: Metric>(
    rtxn: &voisin::heed::RoTxn<'_>,
    db: Database<'_, D>,
    (model, records): (&Model, &BTreeMap<ItemId, Vec<u8>>),
    query: &Query,
) {
    let reader = match Reader::<D>::open(rtxn, INDEXES[query.index], db) {
        Ok(reader) => reader,
        Err(voisin::Error::MissingIndex(_)) => return assert!(model.is_empty()),
        Err(error) => panic!("{error}"),
    };
    let candidates: Option<RoaringBitmap> =
        query.candidates.as_ref().map(|items| items.iter().map(|item| id(*item)).collect());
    let mut nns = reader.nns(query.k);
    nns.ef_search(query.ef).codes(query.codes);
    if query.seed.is_multiple_of(2) {
        nns.with_records();
    }
    // An effort stands in the place of `ef`.
    let effort = match query.way {
        Way::Of(kind) if kind != IndexKind::Flat && reader.kinds().contains(&kind) => 0,
        _ => query.ef.max(query.k),
    };
    match query.way {
        Way::Planned => &mut nns,
        Way::Graph if reader.kinds().contains(&IndexKind::Hnsw) => nns.walk_graph(),
        Way::Graph => &mut nns,
        Way::Of(kind) if reader.kinds().contains(&kind) => {
            let efforts = kind.efforts();
            nns.kind(kind).parameters(efforts[query.ef % efforts.len()]).unwrap()
        }
        Way::Of(_) => &mut nns,
        Way::Exact => nns.exact(),
    };
    if let Some(candidates) = &candidates {
        nns.candidates(candidates);
    }
    let (center, excluded): (Vec<f32>, Option<ItemId>) = match query.by_item {
        Some(item) => match model.get(&id(item)) {
            Some(vector) => (vector.clone(), Some(id(item))),
            None => return assert!(nns.by_item(rtxn, id(item)).unwrap().is_none()),
        },
        None => (seeded::<D>(query.seed), None),
    };
    let found: Searched = match excluded {
        Some(item) => nns.by_item(rtxn, item).unwrap().unwrap(),
        None => nns.by_vector(rtxn, &center).unwrap(),
    };
    let allowed = |item| {
        excluded != Some(item)
            && candidates.as_ref().is_none_or(|candidates| candidates.contains(item))
    };
    let oracle = Oracle::<D>::new(model, &center, allowed);
    let expected = found.nns.iter().map(|(item, _)| records.get(item).cloned());
    let has_records = query.seed.is_multiple_of(2);
    assert_eq!(found.records, expected.filter(|_| has_records).collect::<Vec<_>>(), "{query:?}");
    let nearest = found.into_nns();
    oracle.assert_plausible(query.k, &nearest, &format!("{query:?}"));
    if matches!(query.way, Way::Exact) || effort >= model.len() {
        let expected: Vec<(ItemId, f32)> = oracle.all.iter().copied().take(query.k).collect();
        assert_eq!(nearest, expected, "{query:?}");
    }
}

/// Runs a program, in sessions that end with a reopening.
fn run<D: Metric>(steps: &[Step]) {
    let dir = tempfile::tempdir().unwrap();
    let (mut committed, mut records) = (Models::default(), Records::default());
    let mut number = 0;
    for session in steps.split_inclusive(|step| matches!(step, Step::Reopen)) {
        let env = open_env(dir.path(), 1 << 30);
        (committed, records) = {
            let db = create::<D>(&env);
            let mut run = Run {
                env: &env,
                db,
                wtxn: None,
                working: committed.clone(),
                committed,
                working_records: records.clone(),
                committed_records: records,
            };
            for step in session {
                run.step(number, step);
                number += 1;
            }
            if number == steps.len() {
                run.step(number, &Step::Commit);
            }
            run.wtxn = None;
            (run.committed, run.committed_records)
        };
        env.prepare_for_closing().wait();
    }
}

fn programs(programs: u32) -> ProptestConfig {
    ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").map_or(programs, |cases| cases.parse().unwrap()),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(programs(PROGRAMS))]

    #[test]
    fn a_random_program_leaves_what_the_model_says(
        steps in prop::collection::vec(step(), 1..=STEPS),
    ) {
        run::<Euclidean>(&steps);
    }
}

proptest! {
    #![proptest_config(programs(PROGRAMS_OF_A_FORM))]

    #[test]
    fn a_random_program_leaves_what_the_model_says_in_every_form(
        steps in prop::collection::vec(step(), 1..=STEPS),
    ) {
        run::<Euclidean<F16>>(&steps);
        run::<Euclidean<Bf16>>(&steps);
        run::<Euclidean<I8>>(&steps);
        run::<BinaryQuantizedEuclidean>(&steps);
        run::<Hamming>(&steps);
    }
}
