//! Everything that changes an index keeps the exercise in step, although no code but the list of
//! sections names it.

use heed::{EnvOpenOptions, RwTxn, WithoutTls};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use super::*;
use crate::check::check;
use crate::codec::I8;
use crate::database::{Database, create_database};
use crate::distance::Euclidean;
use crate::store::Place;
use crate::store::edit::Edit;
use crate::store::open::{read_for_change, read_meta};
use crate::store::owned_snapshot::{OwnedSnapshot, SharedTxn};
use crate::store::process::OfProcess;
use crate::store::sections::list::section_of;
use crate::store::target::Journal;
use crate::writer::Writer;

const INDEX: u16 = 3;
const DIMENSIONS: usize = 8;
/// More items than a block holds fingerprints.
const ITEMS: u32 = 4200;

struct Exercise {
    _folder: TempDir,
    env: heed::Env<WithoutTls>,
}

impl Exercise {
    /// An index that has the section, with items.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(64 << 20);
        // SAFETY: a fresh folder that nobody else opens.
        let env = unsafe { options.open(folder.path()) }.unwrap();
        create_database::<Euclidean>(&env, None).unwrap();
        let exercise = Self { _folder: folder, env };
        exercise.change(|_, wtxn, place| {
            let mut edit = Edit::begin(place, wtxn, DIMENSIONS).unwrap();
            edit.meta.others.push((FINGERPRINTS, Vec::new()));
            edit.finish().unwrap();
        });
        exercise.change(|writer, wtxn, _| {
            writer.add_items_from(wtxn, (0..ITEMS).map(|item| (item, vector(item)))).unwrap();
        });
        exercise
    }

    fn database(&self) -> Database<'_, Euclidean> {
        create_database::<Euclidean>(&self.env, None).unwrap()
    }

    fn change(&self, work: impl FnOnce(&Writer<'_, Euclidean>, &mut RwTxn<'_>, Place<'_>)) {
        let database = self.database();
        let mut wtxn = self.env.write_txn().unwrap();
        let place = Place::of(database, INDEX);
        work(&Writer::new(database, INDEX, DIMENSIONS), &mut wtxn, place);
        wtxn.commit().unwrap();
        self.holds();
    }

    fn build(&self) {
        self.change(|writer, wtxn, _| {
            writer.builder(&mut StdRng::seed_from_u64(1)).build_with(wtxn, 4, 8).unwrap();
        });
    }

    /// Checks all invariants, including those of the section: `check` would find a wrong value.
    fn holds(&self) {
        let rtxn = self.env.read_txn().unwrap();
        assert_eq!(check(&rtxn, INDEX, self.database()).unwrap(), []);
        let kinds = self.stats();
        let of = |kind| kinds.iter().find(|stats| stats.kind == kind).unwrap().values;
        assert!(of(FINGERPRINTS) > 0 || of(Kind::TAIL) + of(Kind::VECTORS) == 0);
    }

    fn stats(&self) -> Vec<crate::store::stats::KindStats> {
        let rtxn = self.env.read_txn().unwrap();
        let reader = crate::reader::Reader::open(&rtxn, INDEX, self.database()).unwrap();
        reader.stats(&rtxn, &self.env).unwrap().kinds
    }

    fn held(&self) -> OwnedSnapshot<'_> {
        let txn = OfProcess::new(self.env.clone().static_read_txn().unwrap());
        let place = Place::of(self.database(), INDEX);
        OwnedSnapshot::open(place, SharedTxn::alone(txn).into(), Memory::Full).unwrap()
    }
}

fn vector(item: u32) -> [f32; DIMENSIONS] {
    let mut rng = StdRng::seed_from_u64(item.into());
    [(); DIMENSIONS].map(|()| rng.random())
}

/// Training an index again encodes all vectors anew.
#[test]
fn it_follows_another_training() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(64 << 20);
    // SAFETY: a fresh folder that nobody else opens.
    let env = unsafe { options.open(folder.path()) }.unwrap();
    let database = create_database::<Euclidean<I8>>(&env, None).unwrap();
    let (place, writer) = (Place::of(database, INDEX), Writer::new(database, INDEX, DIMENSIONS));
    let mut wtxn = env.write_txn().unwrap();
    let mut edit = Edit::begin(place, &mut wtxn, DIMENSIONS).unwrap();
    edit.meta.others.push((FINGERPRINTS, Vec::new()));
    edit.finish().unwrap();
    writer.train(&mut wtxn, &[[0.0; DIMENSIONS], [1.0; DIMENSIONS]].concat()).unwrap();
    writer.add_items_from(&mut wtxn, (0..ITEMS).map(|item| (item, vector(item)))).unwrap();
    writer.builder(&mut StdRng::seed_from_u64(1)).build_with(&mut wtxn, 4, 8).unwrap();
    writer.del_items(&mut wtxn, (0..ITEMS).step_by(5)).unwrap();
    writer.train(&mut wtxn, &[[-1.0; DIMENSIONS], [2.0; DIMENSIONS]].concat()).unwrap();
    assert_eq!(check(&wtxn, INDEX, database).unwrap(), []);
    writer.builder(&mut StdRng::seed_from_u64(1)).build_with(&mut wtxn, 4, 8).unwrap();
    assert_eq!(check(&wtxn, INDEX, database).unwrap(), []);
}

#[test]
fn it_follows_adds_deletes_builds_and_other_numbers() {
    let exercise = Exercise::new();
    exercise.build();
    exercise.change(|writer, wtxn, _| {
        // Replaced and deleted items, and reused slots.
        for item in (0..ITEMS).step_by(7) {
            writer.add_item(wtxn, item, &vector(item + 1)).unwrap();
        }
        writer.del_items(wtxn, (0..ITEMS).step_by(5)).unwrap();
    });
    exercise.build();
    exercise.change(|writer, wtxn, _| {
        for item in 9000..9200 {
            writer.add_item(wtxn, item, &vector(item)).unwrap();
        }
    });
    exercise.change(|writer, wtxn, _| {
        writer.builder(&mut StdRng::seed_from_u64(2)).optimize_with(wtxn, 4, 8).unwrap();
    });
    let rtxn = exercise.env.read_txn().unwrap();
    let meta = read_meta(Place::of(exercise.database(), INDEX), &rtxn).unwrap().unwrap();
    assert!(meta.slots < ITEMS && meta.free == 0, "the slots have other numbers");
}

#[test]
fn what_is_not_true_of_it_is_found() {
    let exercise = Exercise::new();
    let (database, mut wtxn) = (exercise.database(), exercise.env.write_txn().unwrap());
    let key = Key::new(INDEX, FINGERPRINTS, SINGLE.1, ITEMS - 1);
    Place::of(database, INDEX).put(&mut wtxn, key, vec![7; 8]).unwrap();
    wtxn.commit().unwrap();
    let findings = check(&exercise.env.read_txn().unwrap(), INDEX, database).unwrap();
    assert!(
        matches!(&findings[..], [finding] if finding.what.contains("fingerprint")),
        "{findings:?}"
    );
}

#[test]
fn its_tables_are_carried_over_except_for_what_was_rewritten() {
    let exercise = Exercise::new();
    exercise.build();
    let before = exercise.held();
    before.view().resolve_all().unwrap();
    // Only one block of fingerprints is rewritten, and no other value with pages to itself.
    exercise.change(|writer, wtxn, _| {
        writer.add_item(wtxn, 9000, &vector(9000)).unwrap();
    });
    let carried = |now: &OwnedSnapshot<'_>| {
        // SAFETY: the map has not been moved, and both are of one index.
        unsafe { now.carry(&before.tables()) }.unwrap();
        let view = now.view();
        let [(_, _, table)] = &view.snapshot.others[..] else { panic!("it has one table") };
        table.get(0).is_some()
    };
    assert!(carried(&exercise.held()), "the block was not rewritten");
    exercise.change(|_, wtxn, place| {
        let mut edit = Edit::begin(place, wtxn, DIMENSIONS).unwrap();
        edit.left_in(Slot(0), bytemuck::cast_slice(&vector(0)), 0.0).unwrap();
        edit.finish().unwrap();
    });
    assert!(!carried(&exercise.held()), "the block was rewritten");
}

#[test]
fn an_edit_that_is_torn_is_undone() {
    for torn in [crate::format::meta::Torn::Items, crate::format::meta::Torn::Derived] {
        let exercise = Exercise::new();
        exercise.build();
        let (database, mut wtxn) = (exercise.database(), exercise.env.write_txn().unwrap());
        let place = Place::of(database, INDEX);
        let (before, _) = read_for_change(place, &wtxn).unwrap().unwrap();
        let mut journal = Journal::of(before, |key| section_of(key.kind).is_some());
        let mut target =
            crate::store::target::Target { place, wtxn: &mut wtxn, journal: &mut journal };
        target.mark(torn).unwrap();
        // A value of a slot that does not exist.
        target.put(Key::new(INDEX, FINGERPRINTS, SINGLE.1, ITEMS), Some(vec![1; 8])).unwrap();
        wtxn.commit().unwrap();
        exercise.change(|writer, wtxn, _| assert!(writer.repair(wtxn).unwrap()));
    }
}

#[test]
fn a_kind_that_no_section_keeps_is_refused() {
    let exercise = Exercise::new();
    let (database, mut wtxn) = (exercise.database(), exercise.env.write_txn().unwrap());
    let place = Place::of(database, INDEX);
    let mut meta = read_meta(place, &wtxn).unwrap().unwrap();
    meta.others.push((Kind::new(201), vec![1]));
    place.put(&mut wtxn, Key::meta(INDEX), meta.encode()).unwrap();
    wtxn.commit().unwrap();
    let found = check(&exercise.env.read_txn().unwrap(), INDEX, database);
    assert!(
        matches!(found, Err(Error::UnknownKind { index: INDEX, kind }) if kind == Kind::new(201)),
        "{found:?}"
    );
}
