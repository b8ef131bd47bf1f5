//! Edits that panic at every step: afterwards the index is sound, or torn and repaired.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use heed::{EnvOpenOptions, RwTxn};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::codes::Codes;
use crate::database::create_database;
use crate::distance::Euclidean;
use crate::format::meta::Torn;
use crate::store::fault::{Run, interrupted_after};
use crate::store::open::read_marked;
use crate::store::owned_snapshot::{OwnedSnapshot, SharedTxn};
use crate::store::process::OfProcess;
use crate::types::{IndexKind, ItemId};
use crate::writer::Writer;

const INDEX: u16 = 3;
/// So large that a block has 15 vectors.
const DIMENSIONS: usize = 512;
const M: usize = 4;
/// So large that a group has one record: then a build puts many values.
const M0: usize = 2048;
/// Number of steps to panic at: this many at the beginning and at the end, and this many in
/// between; and so many of those that are puts, which a build makes between reads of other stages.
const AT_EACH_END: u64 = 32;
const BETWEEN: u64 = 50;
const AT_EACH_END_OF_PUTS: usize = 16;
const BETWEEN_PUTS: usize = 16;

type Rows = BTreeMap<ItemId, Vec<f32>>;
type W<'e> = Writer<'e, Euclidean>;

fn vector(item: ItemId, version: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(u64::from(item) << 8 | version);
    (0..DIMENSIONS).map(|_| rng.random::<f32>()).collect()
}

fn rows(items: impl IntoIterator<Item = ItemId>, version: u64) -> Rows {
    items.into_iter().map(|item| (item, vector(item, version))).collect()
}

fn build(writer: &W<'_>, wtxn: &mut RwTxn<'_>) {
    // On this thread alone: the steps of helper threads differ from run to run.
    writer
        .builder(&mut StdRng::seed_from_u64(2))
        .codes_from(1)
        .threads(1)
        .ef_construction(16)
        .build_with(wtxn, M, M0)
        .unwrap();
}

fn items(writer: &W<'_>, wtxn: &RwTxn<'_>) -> Rows {
    writer.iter(wtxn).unwrap().map(Result::unwrap).collect()
}

/// 120 linked items with free slots among them, 25 pending ones, 10 removed ones.
fn prepare(writer: &W<'_>, wtxn: &mut RwTxn<'_>, codes: Option<Codes>) {
    writer.add_kind(wtxn, crate::types::IndexKind::Lsh).unwrap();
    writer.add_items_from(wtxn, rows(0..160, 0)).unwrap();
    writer.set_codes(wtxn, codes).unwrap();
    build(writer, wtxn);
    writer.del_items(wtxn, (0..160).step_by(4)).unwrap();
    build(writer, wtxn);
    writer.add_items_from(wtxn, rows(400..430, 0)).unwrap();
    writer.del_items(wtxn, 405..410).unwrap();
    writer.del_items(wtxn, (1..30).step_by(3)).unwrap();
}

fn open() -> (tempfile::TempDir, heed::Env<heed::WithoutTls>) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(64 << 20);
    // SAFETY: a fresh folder that nobody else opens.
    let env = unsafe { options.open(folder.path()) }.unwrap();
    (folder, env)
}

fn create(env: &heed::Env<heed::WithoutTls>, codes: Option<Codes>) -> Database<'_, Euclidean> {
    let database = create_database(env, None).unwrap();
    let mut wtxn = env.write_txn().unwrap();
    prepare(&W::new(database, INDEX, DIMENSIONS), &mut wtxn, codes);
    wtxn.commit().unwrap();
    database
}

/// Interrupts an edit at many of its steps, each time on the same index. Returns the marks it left.
fn interrupt(codes: Option<Codes>, change: impl Fn(&W<'_>, &mut RwTxn<'_>)) -> Vec<Option<Torn>> {
    let (_folder, env) = open();
    let database = create(&env, codes);
    interrupt_on(&env, database, change)
}

/// The same on an index with inverted lists, which so few items only get where all is made anew.
fn interrupt_lists(change: impl Fn(&W<'_>, &mut RwTxn<'_>)) -> Vec<Option<Torn>> {
    let (_folder, env) = open();
    let database = create(&env, None);
    let (writer, mut wtxn) = (W::new(database, INDEX, DIMENSIONS), env.write_txn().unwrap());
    writer.add_kind(&mut wtxn, IndexKind::Ivf).unwrap();
    let mut rng = StdRng::seed_from_u64(2);
    let mut builder = writer.builder(&mut rng);
    builder.threads(1).ef_construction(16).force_rebuild_with(&mut wtxn, M, M0).unwrap();
    writer.add_items_from(&mut wtxn, rows(430..440, 0)).unwrap();
    writer.del_items(&mut wtxn, (2..60).step_by(5)).unwrap();
    wtxn.commit().unwrap();
    interrupt_on(&env, database, change)
}

fn interrupt_on(
    env: &heed::Env<heed::WithoutTls>,
    database: Database<'_, Euclidean>,
    change: impl Fn(&W<'_>, &mut RwTxn<'_>),
) -> Vec<Option<Torn>> {
    let (place, writer) = (Place::of(database, INDEX), W::new(database, INDEX, DIMENSIONS));

    let mut wtxn = env.write_txn().unwrap();
    assert_eq!(check(&wtxn, INDEX, database).unwrap(), []);
    let before = items(&writer, &wtxn);
    let whole = interrupted_after(u64::MAX, || change(&writer, &mut wtxn));
    assert!(!whole.is_interrupted && whole.steps > 0);
    let after = items(&writer, &wtxn);
    assert_eq!(check(&wtxn, INDEX, database).unwrap(), []);
    wtxn.abort();

    let mut marks = Vec::new();
    let steps = whole.steps;
    for at in steps_to_panic_at(&whole) {
        let mut wtxn = env.write_txn().unwrap();
        let run = interrupted_after(at, || change(&writer, &mut wtxn));
        assert!(run.is_interrupted, "it has not come to step {at}");
        let torn = read_marked(place, &wtxn).unwrap().and_then(|(_, torn)| torn);
        if torn.is_some() {
            assert!(!check(&wtxn, INDEX, database).unwrap().is_empty());
            assert!(writer.repair(&mut wtxn).unwrap(), "step {at}");
        }
        let findings = check(&wtxn, INDEX, database).unwrap();
        assert!(
            findings.is_empty(),
            "step {at} of {steps}, {torn:?}: {:?}",
            &findings[..findings.len().min(4)]
        );
        let found = items(&writer, &wtxn);
        assert!(
            found == before || torn.is_none() && found == after,
            "step {at} of {steps}, {torn:?}: {} items",
            found.len()
        );
        // A repaired index is as good as new.
        writer.add_items_from(&mut wtxn, rows([2, 77, 425, 999], 5)).unwrap();
        build(&writer, &mut wtxn);
        let findings = check(&wtxn, INDEX, database).unwrap();
        assert!(
            findings.is_empty(),
            "step {at} of {steps}, {torn:?}, built: {:?}",
            &findings[..findings.len().min(4)]
        );
        wtxn.abort();
        marks.push(torn);
    }
    marks
}

fn steps_to_panic_at(whole: &Run) -> BTreeSet<u64> {
    let (steps, puts) = (whole.steps, &whole.puts);
    let between = (0..steps).step_by((steps / BETWEEN).max(1) as usize);
    let at_ends =
        (0..steps).filter(|at| *at < AT_EACH_END || *at >= steps - AT_EACH_END.min(steps));
    let puts_between = puts.iter().step_by((puts.len() / BETWEEN_PUTS).max(1));
    let first = puts.iter().take(AT_EACH_END_OF_PUTS);
    let last = puts.iter().rev().take(AT_EACH_END_OF_PUTS);
    between.chain(at_ends).chain(puts_between.chain(first).chain(last).copied()).collect()
}

const CODES: [Option<Codes>; 2] = [None, Some(Codes::Bits4)];

#[test]
fn adding_is_interrupted() {
    for codes in CODES {
        // Replaces pending and linked items, adds others, some twice.
        let ids = || (395..435).chain(0..60).chain(600..700).chain(415..425).chain(650..670);
        let marks = interrupt(codes, |writer, wtxn| {
            writer.add_items_from(wtxn, ids().map(|item| (item, vector(item, 1)))).unwrap();
        });
        assert!(marks.contains(&Some(Torn::Items)) && marks.contains(&None));
        interrupt(codes, |writer, wtxn| writer.add_item(wtxn, 3, &vector(3, 1)).unwrap());
    }
}

/// Buffered groups of ids are flushed before the end.
#[test]
fn adding_items_that_lie_far_apart_is_interrupted() {
    let marks = interrupt(None, |writer, wtxn| {
        let ids = (0..1500).map(|item| item * 2_000_000).chain(0..50).chain(400..430);
        writer.add_items_from(wtxn, ids.map(|item| (item, vector(item % 64, 1)))).unwrap();
    });
    assert!(marks.contains(&Some(Torn::Items)));
}

#[test]
fn deleting_is_interrupted() {
    for codes in CODES {
        let marks = interrupt(codes, |writer, wtxn| {
            writer.del_items(wtxn, (1..160).step_by(2).chain(400..430)).unwrap();
        });
        assert!(marks.iter().all(Option::is_none), "nothing is put before its end");
    }
}

#[test]
fn building_is_interrupted() {
    for (codes, goal) in [(CODES[0], 0), (CODES[1], 0), (CODES[0], 1), (CODES[1], 2)] {
        let marks = interrupt(codes, |writer, wtxn| {
            let mut rng = StdRng::seed_from_u64(3);
            let mut builder = writer.builder(&mut rng);
            builder.threads(1).ef_construction(16).codes_from(1);
            match goal {
                0 => builder.build_with(wtxn, M, M0).unwrap(),
                1 => builder.force_rebuild_with(wtxn, M, M0).unwrap(),
                _ => builder.optimize_with(wtxn, M, M0).unwrap(),
            }
        });
        assert_eq!(marks.contains(&Some(Torn::Derived)), goal < 2, "{codes:?}, {goal}");
        assert!(
            !marks.contains(&Some(Torn::Lost)),
            "what gives all items other places is not interrupted"
        );
    }
}

#[test]
fn choosing_codes_is_interrupted() {
    for (before, after) in [
        (None, Some(Codes::Bits4)),
        (Some(Codes::Bits4), None),
        (Some(Codes::Bits4), Some(Codes::Bits1)),
    ] {
        interrupt(before, |writer, wtxn| {
            writer.set_codes(wtxn, after).unwrap();
            build(writer, wtxn);
        });
    }
}

/// An edit that adds many records ends, and another begins: what is undone is the last one. A
/// vector and its record are always of one version.
#[test]
fn adding_records_is_interrupted() {
    const KEPT: std::ops::Range<ItemId> = 20..90;
    let (_folder, env) = open();
    let database = create(&env, None);
    let (place, writer) = (Place::of(database, INDEX), W::new(database, INDEX, DIMENSIONS));
    let record = |item: ItemId, version: u64| vec![item as u8 ^ version as u8; 100_000];
    let mut wtxn = env.write_txn().unwrap();
    let some = |version| KEPT.map(move |item| (item, vector(item, version), record(item, version)));
    writer.add_items_with_records(&mut wtxn, some(0)).unwrap();
    wtxn.commit().unwrap();
    let change = |wtxn: &mut RwTxn<'_>| {
        writer.add_items_with_records(wtxn, some(1)).unwrap();
        writer.add_items_with_records(wtxn, (700..720).map(|i| (i, vector(i, 1), [7; 9]))).unwrap();
        writer.set_record(wtxn, 21, b"short").unwrap();
        writer.del_items(wtxn, 22..24).unwrap();
    };
    let mut wtxn = env.write_txn().unwrap();
    let steps = interrupted_after(u64::MAX, || change(&mut wtxn)).steps;
    assert_eq!(check(&wtxn, INDEX, database).unwrap(), []);
    wtxn.abort();
    let (mut marks, mut is_partly_new) = (Vec::new(), false);
    for at in (0..steps).step_by((steps / 60).max(1) as usize) {
        let mut wtxn = env.write_txn().unwrap();
        assert!(interrupted_after(at, || change(&mut wtxn)).is_interrupted);
        let torn = read_marked(place, &wtxn).unwrap().and_then(|(_, torn)| torn);
        assert_eq!(writer.repair(&mut wtxn).unwrap(), torn.is_some());
        marks.push(torn);
        assert_eq!(check(&wtxn, INDEX, database).unwrap(), [], "step {at}");
        let mut versions = Vec::new();
        for item in KEPT.filter(|item| !(21..24).contains(item)) {
            let found = writer.item_vector(&wtxn, item).unwrap().unwrap();
            let version = (0..2).find(|version| found == vector(item, *version)).unwrap();
            let found = writer.item_record(&wtxn, item).unwrap().unwrap();
            assert!(found == record(item, version), "step {at}: item {item}");
            versions.push(version);
        }
        // In their order.
        assert!(versions.is_sorted_by(|a, b| a >= b), "{versions:?}");
        is_partly_new |= versions.contains(&0) && versions.contains(&1);
        wtxn.abort();
    }
    assert!(marks.contains(&None) && is_partly_new, "{marks:?}");
}

#[test]
fn changes_of_inverted_lists_are_interrupted() {
    interrupt_lists(|writer, wtxn| {
        writer.add_items_from(wtxn, rows((0..60).chain(600..700), 1)).unwrap();
    });
    let marks = interrupt_lists(|writer, wtxn| {
        writer.del_items(wtxn, (1..160).step_by(2).chain(400..440)).unwrap();
    });
    assert!(marks.iter().all(Option::is_none), "nothing is put before its end");
    interrupt_lists(build);
    interrupt_lists(|writer, wtxn| {
        let mut rng = StdRng::seed_from_u64(3);
        let mut builder = writer.builder(&mut rng);
        builder.threads(1).ef_construction(16).optimize_with(wtxn, M, M0).unwrap();
    });
}

#[test]
fn kinds_come_and_go_and_are_interrupted() {
    for kind in [IndexKind::Hnsw, IndexKind::Ivf] {
        interrupt_lists(|writer, wtxn| {
            writer.drop_kind(wtxn, kind).unwrap();
            writer.add_kind(wtxn, kind).unwrap();
            build(writer, wtxn);
        });
    }
    for codes in CODES {
        interrupt(codes, |writer, wtxn| {
            writer.drop_kind(wtxn, IndexKind::Hnsw).unwrap();
        });
    }
}

/// Regression test. Pointers were carried over a commit that rewrote blocks and left no DELTA: they
/// led to pages that another index had been given meanwhile.
#[test]
fn nothing_is_carried_over_a_change_that_does_not_say_what_it_has_rewritten() {
    let (_folder, env) = open();
    let database = create(&env, None);
    let (place, writer) = (Place::of(database, INDEX), W::new(database, INDEX, DIMENSIONS));
    let held = || {
        let txn = OfProcess::new(env.clone().static_read_txn().unwrap());
        OwnedSnapshot::open(place, Arc::new(SharedTxn::alone(txn)), Memory::Full).unwrap()
    };
    let first = held();
    first.view().resolve_all().unwrap();
    let tables = first.tables();
    drop(first);

    let mut wtxn = env.write_txn().unwrap();
    writer.add_items_from(&mut wtxn, rows(500..530, 1)).unwrap();
    for number in 0..REMEMBERED_COMMITS as u32 {
        place.delete(&mut wtxn, Key::new(INDEX, Kind::DELTA, 0, number)).unwrap();
    }
    wtxn.commit().unwrap();
    for version in 0..4 {
        let mut wtxn = env.write_txn().unwrap();
        W::new(database, INDEX + 1, DIMENSIONS)
            .add_items_from(&mut wtxn, rows(0..60, version))
            .unwrap();
        wtxn.commit().unwrap();
    }
    let now = held();
    // SAFETY: the map has not been moved.
    unsafe { now.carry(&tables) }.unwrap();
    let view = now.view();
    let expected = items(&writer, &env.write_txn().unwrap());
    assert!(expected.len() > 150);
    for (item, vector) in expected {
        let slot = view.slot(item).unwrap().unwrap();
        assert_eq!(view.components(slot).unwrap(), vector, "{item}");
    }
}
