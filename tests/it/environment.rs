//! Statistics of an index and its file are correct, and a copy of it is complete.

use voisin::distances::{Cosine, Euclidean};
use voisin::heed::{EnvFlags, EnvOpenOptions};
use voisin::{Environment, Error, Kind, Reader, Writer};

use crate::common::{add, build, check_holds, create, new_env, rng, vectors};

#[test]
fn the_statistics_of_an_index_are_what_it_holds() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 3, 100);
    let model = vectors::<Euclidean>(&mut rng(), 0..999, 100);
    let mut wtxn = env.write_txn().unwrap();
    add(&writer, &mut wtxn, &model);
    build(&writer, &mut wtxn);
    writer.del_items(&mut wtxn, 0..100).unwrap();
    build(&writer, &mut wtxn);
    writer.add_items(&mut wtxn, &[2000, 2001], &[1.0; 200]).unwrap();
    writer.del_items(&mut wtxn, 200..205).unwrap();
    let inside = Reader::open(&wtxn, 3, db).unwrap().stats(&wtxn, &env).unwrap();
    wtxn.commit().unwrap();

    let rtxn = env.read_txn().unwrap();
    let reader = Reader::open(&rtxn, 3, db).unwrap();
    let stats = reader.stats(&rtxn, &env).unwrap();
    assert_eq!((stats.items, stats.pending, stats.removed), (896, 2, 5));
    assert_eq!(stats.items, reader.n_items());
    assert_eq!(stats.slots, stats.items + stats.removed + stats.free_slots);
    assert_eq!(
        (inside.items, &inside.layers, &inside.kinds),
        (stats.items, &stats.layers, &stats.kinds)
    );
    let kind = |kind| stats.kinds.iter().find(|stats| stats.kind == kind).unwrap();
    assert_eq!(
        (kind(Kind::META).values, kind(Kind::META).bytes),
        (1, 8 + 148 + 4 * stats.layers.len() as u64)
    );
    assert_eq!(kind(Kind::TAIL).values, stats.tail);
    assert_eq!(kind(Kind::TAIL).bytes, stats.tail * (8 + 400 + 4));
    assert_eq!(
        stats.bytes(),
        crate::common::dump_of(&rtxn, db, 3)
            .iter()
            .map(|(key, value)| (key.len() + value.len()) as u64)
            .sum::<u64>()
    );

    let [base, upper @ ..] = &stats.layers[..] else { panic!("no graph") };
    assert_eq!(base.nodes, 899);
    assert!(
        upper.iter().map(|layer| layer.nodes).is_sorted_by(|a, b| a >= b)
            && upper.iter().all(|layer| layer.nodes > 0)
    );
    assert!(
        base.degrees.len() <= 17 && base.degrees[0] == 0 && base.degrees.iter().sum::<u64>() == 899,
        "{:?}",
        base.degrees
    );
    assert!(base.one_way_edges < base.edges() && base.edges() > 5 * 899);
    // A header of 8 bytes and one container of 8 a list, 2 an edge.
    assert_eq!(base.list_bytes, 16 * 899 + 2 * base.edges());
    assert!((2..200).contains(&base.tree_depth), "{}", base.tree_depth);
}

#[test]
fn free_pages_are_those_that_nothing_uses() {
    let (_dir, env) = new_env();
    let db = create::<Cosine>(&env);
    let writer = Writer::<Cosine>::new(db, 0, 100);
    let mut rng = rng();
    for round in 0..30 {
        let mut wtxn = env.write_txn().unwrap();
        if round % 7 == 6 {
            writer.clear(&mut wtxn).unwrap();
        } else {
            add(
                &writer,
                &mut wtxn,
                &vectors::<Cosine>(&mut rng, round * 50..round * 50 + 300, 100),
            );
        }
        wtxn.commit().unwrap();
        let rtxn = env.read_txn().unwrap();
        let stats = env.unnamed_database_stat();
        let used = (stats.branch_pages + stats.leaf_pages + stats.overflow_pages) as u64;
        let told = Environment::read(&env, &rtxn).unwrap();
        let free = told.free_pages.unwrap();
        // What is left are two meta pages and the free list's own.
        let rest = told.pages.checked_sub(used + free + 2).expect("more pages than there are");
        assert!(rest <= 4, "round {round}: {used} used and {free} free of {} pages", told.pages);
        assert!(round < 7 || free > 10);
        assert_eq!(told.file_bytes % told.page_bytes, 0);
        assert_eq!((told.page_bytes, told.map_bytes), (u64::from(stats.page_size), 1 << 30));
        assert_eq!(told.last_commit, rtxn.id() as u64);
    }
}

#[test]
fn the_oldest_reader_is_told_while_it_reads() {
    let (_dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let commit = || {
        let mut wtxn = env.write_txn().unwrap();
        Writer::<Euclidean>::new(db, 0, 2).add_item(&mut wtxn, 1, &[1.0, 2.0]).unwrap();
        wtxn.commit().unwrap();
    };
    let oldest = || {
        let rtxn = env.read_txn().unwrap();
        Environment::read(&env, &rtxn).unwrap().oldest_reader.unwrap()
    };
    let held = env.read_txn().unwrap();
    commit();
    let newer = env.read_txn().unwrap();
    commit();
    commit();
    assert_eq!((oldest().process, oldest().commits_behind), (std::process::id(), 3));
    drop(held);
    assert_eq!(oldest().commits_behind, 2);
    drop(newer);
    assert_eq!(oldest().commits_behind, 0);
    assert_eq!(
        Environment::read(&env, &env.read_txn().unwrap()).unwrap().max_readers,
        env.max_readers()
    );
}

#[test]
fn a_copy_holds_what_was_committed_and_is_compact() {
    let (dir, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, 50);
    let mut wtxn = env.write_txn().unwrap();
    let mut model = vectors::<Euclidean>(&mut rng(), 0..2000, 50);
    add(&writer, &mut wtxn, &model);
    build(&writer, &mut wtxn);
    wtxn.commit().unwrap();
    let mut wtxn = env.write_txn().unwrap();
    writer.del_items(&mut wtxn, 0..1500).unwrap();
    build(&writer, &mut wtxn);
    wtxn.commit().unwrap();
    model.retain(|item, _| *item >= 1500);

    // While a reader reads and a writer writes.
    let _reading = env.read_txn().unwrap();
    let mut wtxn = env.write_txn().unwrap();
    writer.add_item(&mut wtxn, 5000, &[1.0; 50]).unwrap();
    let target = dir.path().join("backups").join("today");
    let bytes = voisin::copy_to(&env, &target).unwrap();
    wtxn.commit().unwrap();
    assert!(bytes < std::fs::metadata(dir.path().join("data.mdb")).unwrap().len());
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 1, "nothing but the copy");

    let before = std::fs::read(target.join("data.mdb")).unwrap();
    assert!(matches!(
        voisin::copy_to(&env, &target),
        Err(Error::Exists { path }) if path == target.join("data.mdb"),
    ));
    assert!(
        std::fs::read(target.join("data.mdb")).unwrap() == before,
        "the first copy was touched"
    );
    // SAFETY: nobody else opens the copy.
    let copy =
        unsafe { EnvOpenOptions::new().read_txn_without_tls().map_size(1 << 30).open(&target) }
            .unwrap();
    check_holds(&copy.read_txn().unwrap(), create::<Euclidean>(&copy), 0, &model);
}

#[test]
fn an_environment_that_is_a_file_is_copied_to_a_file() {
    let dir = tempfile::tempdir().unwrap();
    // SAFETY: the directory is new.
    let env =
        unsafe { EnvOpenOptions::new().flags(EnvFlags::NO_SUB_DIR).open(dir.path().join("one")) }
            .unwrap();
    let db = create::<Euclidean>(&env);
    let mut wtxn = env.write_txn().unwrap();
    Writer::<Euclidean>::new(db, 0, 2).add_item(&mut wtxn, 1, &[1.0, 2.0]).unwrap();
    wtxn.commit().unwrap();
    let target = dir.path().join("two");
    let bytes = voisin::copy_to(&env, &target).unwrap();
    assert_eq!(std::fs::metadata(&target).unwrap().len(), bytes);
    assert!(matches!(voisin::copy_to(&env, &target), Err(Error::Exists { .. })));
    assert_eq!(
        Environment::read(&env, &env.read_txn().unwrap())
            .unwrap()
            .oldest_reader
            .unwrap()
            .commits_behind,
        0
    );
    let nowhere = dir.path().join("no folder").join("two");
    assert!(
        matches!(voisin::copy_to(&env, &nowhere), Err(Error::Io { path, .. }) if path == nowhere)
    );
}
