//! A deleted item leaves the graph, whatever its role in it, and all others remain findable.

use voisin::distances::Euclidean;
use voisin::heed::RoTxn;
use voisin::{Database, ItemId, Reader, Writer};

use crate::common::{
    Model, build, build_index, check_holds, create, dump_of, new_env, rng, vectors,
};

const DIMENSIONS: usize = 12;
const META: u8 = 0;
const SLOT_IDS: u8 = 7;

/// The items at the roots of the layers, the base first; the last is the entry point.
/// `docs/format.md` sections 3 and 6 say where.
fn roots(rtxn: &RoTxn<'_>, db: Database<'_, Euclidean>) -> Vec<ItemId> {
    let dump = dump_of(rtxn, db, 0);
    let value = |kind: u8, n: u32| {
        &dump.iter().find(|(key, _)| key[2] == kind && key[4..] == n.to_be_bytes()).unwrap().1
    };
    let word = |value: &[u8], at: usize| u32::from_le_bytes(value[at..at + 4].try_into().unwrap());
    // The part about the graph is the last: its roots, and the checksum.
    let meta = value(META, 0);
    let layers = &meta[76 + 4 + 36 + 4..];
    let count = usize::from(layers.get(6).copied().unwrap_or_default());
    let slots = (0..count).map(|layer| word(layers, 24 + 4 * layer));
    slots.map(|slot| word(value(SLOT_IDS, slot / 1019), 4 * (slot as usize % 1019))).collect()
}

/// Every item, or one with the same vector, is found by its own vector in the graph.
fn assert_found(rtxn: &RoTxn<'_>, db: Database<'_, Euclidean>, model: &Model) {
    let reader = Reader::open(rtxn, 0, db).unwrap();
    for (item, vector) in model {
        let found = reader.nns(1).ef_search(64).walk_graph().by_vector(rtxn, vector).unwrap();
        assert_eq!(found.into_nns()[0].1, 0.0, "item {item}");
    }
}

#[test]
fn the_root_of_every_layer_and_the_entry_point_are_deleted_until_nothing_is_left() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let mut model = vectors::<Euclidean>(&mut rng(), 0..400, DIMENSIONS);
    build_index(&env, db, 0, &model);
    let writer = Writer::<Euclidean>::new(db, 0, DIMENSIONS);
    let mut rounds = 0;
    while !model.is_empty() {
        let mut wtxn = env.write_txn().unwrap();
        let mut going = roots(&wtxn, db);
        going.dedup();
        assert!(!going.is_empty());
        // Now only the entry point, now all of them, now the base's and some more.
        match rounds % 3 {
            0 => going.drain(..going.len() - 1).for_each(drop),
            1 => {}
            _ => going.extend(model.keys().copied().step_by(10)),
        }
        for item in going {
            assert_eq!(writer.del_item(&mut wtxn, item).unwrap(), model.remove(&item).is_some());
        }
        build(&writer, &mut wtxn);
        wtxn.commit().unwrap();
        let rtxn = env.read_txn().unwrap();
        check_holds(&rtxn, db, 0, &model);
        assert_found(&rtxn, db, &model);
        rounds += 1;
    }
    assert!(rounds > 20, "{rounds}");
}

#[test]
fn of_everything_but_ten_ten_are_left() {
    let all = vectors::<Euclidean>(&mut rng(), 0..1500, DIMENSIONS);
    // At once, so that the rest is linked anew; and a tenth a build, so that the graph is mended
    // all the way.
    for share in [1, 10] {
        let (_dir, env) = new_env();
        let db = create::<Euclidean>(&env);
        build_index(&env, db, 0, &all);
        let writer = Writer::<Euclidean>::new(db, 0, DIMENSIONS);
        let mut model = all.clone();
        while model.len() > 10 {
            let count = (model.len() / share).clamp(1, model.len() - 10);
            let going: Vec<ItemId> =
                model.keys().copied().step_by((model.len() / count).max(1)).take(count).collect();
            let mut wtxn = env.write_txn().unwrap();
            assert_eq!(writer.del_items(&mut wtxn, going.iter().copied()).unwrap(), count as u64);
            model.retain(|item, _| !going.contains(item));
            build(&writer, &mut wtxn);
            wtxn.commit().unwrap();
            let rtxn = env.read_txn().unwrap();
            assert_eq!(voisin::check(&rtxn, 0, db).unwrap(), []);
            assert_found(&rtxn, db, &model);
        }
        check_holds(&env.read_txn().unwrap(), db, 0, &model);
        // Ids are free at once, and so are the places, in the end.
        let mut wtxn = env.write_txn().unwrap();
        writer.del_items(&mut wtxn, all.keys().copied()).unwrap();
        for (item, vector) in &all {
            writer.add_item(&mut wtxn, *item, vector).unwrap();
        }
        build(&writer, &mut wtxn);
        wtxn.commit().unwrap();
        let rtxn = env.read_txn().unwrap();
        check_holds(&rtxn, db, 0, &all);
        let stats = Reader::<Euclidean>::open(&rtxn, 0, db).unwrap().stats(&rtxn, &env).unwrap();
        assert!(stats.slots < 1500 * 3 / 2, "{} places for 1 500 items", stats.slots);
    }
}

#[test]
fn optimizing_gives_back_every_free_place_and_changes_no_answer() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let mut model = vectors::<Euclidean>(&mut rng(), 0..1000, 300);
    build_index(&env, db, 0, &model);
    let writer = Writer::<Euclidean>::new(db, 0, 300);
    let mut wtxn = env.write_txn().unwrap();
    for item in (0..1000).step_by(7) {
        writer.del_item(&mut wtxn, item).unwrap();
        model.remove(&item);
    }
    build(&writer, &mut wtxn);
    wtxn.commit().unwrap();
    let ask = || {
        let rtxn = env.read_txn().unwrap();
        let reader = Reader::<Euclidean>::open(&rtxn, 0, db).unwrap();
        let ask = |vector: &Vec<f32>| {
            reader.nns(10).ef_search(30).walk_graph().by_vector(&rtxn, vector).unwrap().into_nns()
        };
        model.values().take(200).map(ask).collect::<Vec<_>>()
    };
    let before = ask();
    // What a reader that is open sees stays.
    let rtxn = env.read_txn().unwrap();
    let mut wtxn = env.write_txn().unwrap();
    writer.builder(&mut rng()).ef_construction(40).optimize::<8, 16>(&mut wtxn).unwrap();
    check_holds(&wtxn, db, 0, &model);
    wtxn.commit().unwrap();
    check_holds(&rtxn, db, 0, &model);
    let rtxn = env.read_txn().unwrap();
    check_holds(&rtxn, db, 0, &model);
    // Distances: among items at the same one, the walk may prefer others.
    let distances = |answers: Vec<Vec<(ItemId, f32)>>| -> Vec<Vec<f32>> {
        answers
            .into_iter()
            .map(|answer| answer.into_iter().map(|(_, distance)| distance).collect())
            .collect()
    };
    let (before, after) = (distances(before), distances(ask()));
    let same = before.iter().zip(&after).filter(|(before, after)| before == after).count();
    assert!(same >= 190, "{same} of 200 answers are the same");
    let stats = Reader::<Euclidean>::open(&rtxn, 0, db).unwrap().stats(&rtxn, &env).unwrap();
    assert_eq!(
        (stats.slots, stats.free_slots, stats.items),
        (model.len() as u64, 0, model.len() as u64)
    );
}

#[test]
fn deleting_what_is_not_there_is_no_change() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    build_index(&env, db, 0, &vectors::<Euclidean>(&mut rng(), 0..20, DIMENSIONS));
    let writer = Writer::<Euclidean>::new(db, 0, DIMENSIONS);
    let before = env.info().last_txn_id;
    let mut wtxn = env.write_txn().unwrap();
    assert!(!writer.del_item(&mut wtxn, 20).unwrap());
    assert_eq!(writer.del_items(&mut wtxn, 20..30).unwrap(), 0);
    wtxn.commit().unwrap();
    assert_eq!(
        env.info().last_txn_id,
        before,
        "LMDB makes no commit of a transaction that has written nothing"
    );
}
