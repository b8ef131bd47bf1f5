//! A removed index is gone for every handle, in every process, and no handle ever sees another
//! index in its place.

use voisin::distances::{Cosine, Euclidean};
use voisin::heed::EnvOpenOptions;
use voisin::heed::types::Bytes;
use voisin::{Error, Index, Options, remove_index};

use crate::child::{Running, tell, told};
use crate::{DIMENSIONS, Vectors, add, check, create, vector};

fn named(name: &str) -> Options {
    Options::default().name(name)
}

/// That every way to use a handle says that its index is gone.
#[track_caller]
fn is_removed(index: &Vectors) {
    let removed = |result: voisin::Result<()>| match result {
        Err(error @ Error::Removed { .. }) => {
            assert!(error.to_string().contains(&format!("{:?}", index.name())), "{error}")
        }
        other => panic!("{other:?}"),
    };
    removed(index.search(1).by_vector(&[0.0; DIMENSIONS]).map(drop));
    removed(index.search(1).by_item(1).map(drop));
    removed(index.snapshot().map(drop));
    removed(index.write(|batch| batch.add(1, &[0.0; DIMENSIONS])));
    removed(index.write(|batch| batch.clear()));
    removed(index.write(|_| Ok(())));
    removed(index.load([(1, [0.0; DIMENSIONS])], |_| {}).map(drop));
    removed(index.optimize());
    removed(index.force_rebuild());
    removed(index.stats().map(drop));
    removed(index.check().map(drop));
    // What is about the folder goes on.
    index.names().unwrap();
    index.release().unwrap();
    index.clear_stale_readers().unwrap();
}

#[test]
fn a_removed_index_is_gone_for_every_handle_and_its_snapshots_last() {
    let (_folder, old) = create(Options::new(DIMENSIONS).name("old"));
    let path = old.path().to_owned();
    let kept = Vectors::create(&path, Options::new(DIMENSIONS).name("kept")).unwrap();
    add(&old, 0..500, 1).unwrap();
    add(&kept, 0..300, 2).unwrap();
    let second = Vectors::open_read_only(&path, named("old")).unwrap();
    second.search(1).by_vector(&[0.0; DIMENSIONS]).unwrap();
    // Nothing of it has been looked at.
    let snapshot = old.snapshot().unwrap();

    remove_index(&path, named("old")).unwrap();
    is_removed(&old);
    assert!(matches!(second.snapshot(), Err(Error::Removed { .. })));
    match remove_index(&path, named("old")) {
        Err(Error::MissingName { name, known, .. }) => {
            assert_eq!((&*name, &known[..]), ("old", &["kept".to_owned()][..]))
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(Vectors::open(&path, named("old")), Err(Error::MissingName { .. })));
    assert_eq!(kept.names().unwrap(), ["kept"]);

    // One of the same name is another one.
    let new = Vectors::create(&path, Options::new(DIMENSIONS).name("old")).unwrap();
    add(&new, 0..100, 3).unwrap();
    is_removed(&old);
    assert_eq!((new.snapshot().unwrap().len(), kept.snapshot().unwrap().len()), (100, 300));
    check(&new);
    check(&kept);

    // Pages that the snapshot sees are not used again.
    for round in 4..20 {
        add(&new, 0..500, round).unwrap();
    }
    let items: Vec<_> = snapshot.iter().unwrap().collect::<voisin::Result<_>>().unwrap();
    assert!(
        items.iter().map(|(item, _)| *item).eq(0..500)
            && items.iter().all(|(item, found)| *found == vector(*item, 1))
    );
    assert_eq!(
        snapshot.search(1).walk_graph().by_vector(&vector(77, 1)).unwrap().into_nns(),
        [(77, 0.0)]
    );
}

#[test]
fn numbers_are_not_used_again_whichever_index_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let create =
        |name: &str| Vectors::create(folder.path(), Options::new(DIMENSIONS).name(name)).unwrap();
    let mut removed = Vec::new();
    for round in 0..12 {
        let [a, b, c] = ["a", "b", "c"].map(create);
        for (index, item) in [&a, &b, &c].into_iter().zip(0..) {
            add(index, item..item + 1, round).unwrap();
        }
        removed.iter().for_each(is_removed);
        // The last one, the first one, and those between; all of them, now and then.
        let order = [["c", "a", "b"], ["a", "b", "c"], ["b", "c", "a"]][round as usize % 3];
        for name in order {
            remove_index(folder.path(), named(name)).unwrap();
            for index in [&a, &b, &c]
                .into_iter()
                .filter(|index| index.names().unwrap().iter().any(|name| name == index.name()))
            {
                check(index);
                assert_eq!(index.snapshot().unwrap().len(), 1);
            }
        }
        removed.extend([a, b, c]);
    }
    // All is gone but the catalog: the file holds no value of any of them.
    let index = create("last");
    assert_eq!(index.names().unwrap(), ["last"]);
    check(&index);
}

#[test]
fn an_index_is_removed_without_knowing_what_it_is_but_not_in_place_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let texts = Index::<Cosine, str>::create(path, Options::new(3).name("texts").m(8)).unwrap();
    texts.write(|batch| batch.add("a", &[1.0, 0.0, 0.0])).unwrap();
    let ids = Vectors::create(path, Options::new(DIMENSIONS)).unwrap();
    add(&ids, 0..50, 1).unwrap();
    match remove_index(path, named("texts").m(16)) {
        Err(Error::OptionMismatch { option: "M", stored, .. }) => assert_eq!(stored, "8"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(remove_index(path, named("")), Err(Error::InvalidName { .. })));
    assert!(matches!(
        remove_index(path.join("nothing"), named("texts")),
        Err(Error::MissingEnvironment { .. })
    ));
    // Inside of a write, it would wait for itself.
    ids.write(|_| {
        assert!(matches!(remove_index(path, named("texts")), Err(Error::NestedWrite { .. })));
        Ok(())
    })
    .unwrap();
    assert_eq!(texts.search(1).by_vector(&[1.0, 0.0, 0.0]).unwrap().into_nns()[0].0, "a");

    let snapshot = texts.snapshot().unwrap();
    remove_index(path, named("texts")).unwrap();
    assert!(matches!(texts.search(1).by_vector(&[1.0, 0.0, 0.0]), Err(Error::Removed { .. })));
    assert!(matches!(
        texts.write(|batch| batch.add("b", &[1.0, 0.0, 0.0])),
        Err(Error::Removed { .. })
    ));
    assert_eq!(snapshot.keys().unwrap().collect::<voisin::Result<Vec<_>>>().unwrap(), ["a"]);
    // Its keys are gone with it.
    let again = Index::<Cosine, str>::create(path, Options::new(3).name("texts")).unwrap();
    assert!(again.snapshot().unwrap().is_empty() && again.check().unwrap().is_empty());
    assert!(!again.snapshot().unwrap().contains("a").unwrap());

    let path = path.canonicalize().unwrap();
    drop((texts, snapshot, again, ids));
    let reader = Vectors::open_read_only(&path, Options::default()).unwrap();
    assert!(matches!(remove_index(&path, Options::default()), Err(Error::AlreadyOpen { .. })));
    assert_eq!(reader.snapshot().unwrap().len(), 50);
}

/// The child: holds a handle and a snapshot while the parent removes their index, and says what it
/// sees.
#[test]
fn holder() {
    let Some(told) = told() else { return };
    let index = Vectors::open(&told[0], named("old")).unwrap();
    let snapshot = index.snapshot().unwrap();
    index.search(1).by_vector(&[0.0; DIMENSIONS]).unwrap();
    tell("holds");
    while index.names().unwrap().iter().any(|name| name == "old") {
        // Whichever side of the removal it is on.
        match index.search(1).by_vector(&vector(9, 1)) {
            Ok(found) => assert_eq!(found.into_nns(), [(9, 0.0)]),
            Err(error) => assert!(matches!(error, Error::Removed { .. }), "{error}"),
        }
    }
    is_removed(&index);
    assert_eq!(
        snapshot
            .iter()
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().1 == vector(entry.as_ref().unwrap().0, 1))
            .count(),
        400
    );
    tell("seen");
    // The parent has made another one of this name by the time that it ends the child's wait.
    while !std::path::Path::new(&told[0]).join("again").exists() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    is_removed(&index);
    assert_eq!(snapshot.search(1).by_vector(&vector(9, 1)).unwrap().into_nns(), [(9, 0.0)]);
    // And the other one is there for who opens it.
    assert_eq!(Vectors::open(&told[0], named("old")).unwrap().snapshot().unwrap().len(), 7);
}

#[test]
fn other_processes_learn_of_it_and_never_see_the_next_index_in_its_place() {
    let (_folder, old) = create(Options::new(DIMENSIONS).name("old"));
    add(&old, 0..400, 1).unwrap();
    let path = old.path().to_owned();
    let mut child = Running::start("removal::holder", &[path.to_str().unwrap()]);
    child.expect("holds");
    remove_index(&path, named("old")).unwrap();
    child.expect("seen");
    let new = Vectors::create(&path, Options::new(DIMENSIONS).name("old")).unwrap();
    add(&new, 0..7, 2).unwrap();
    std::fs::write(path.join("again"), "").unwrap();
    assert!(child.end().success());
    is_removed(&old);
    check(&new);
}

#[test]
fn the_room_of_a_removed_index_is_used_again() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    let path = index.path().to_owned();
    let length = || std::fs::metadata(path.join("data.mdb")).unwrap().len();
    let mut lengths = Vec::new();
    for _ in 0..6 {
        let other =
            Index::<Euclidean>::create(&path, Options::new(DIMENSIONS).name("other")).unwrap();
        add(&other, 0..2000, 1).unwrap();
        drop(other);
        remove_index(&path, named("other")).unwrap();
        lengths.push(length());
    }
    assert!(lengths[5] <= lengths[1] * 5 / 4, "{lengths:?}");
}

#[test]
fn a_folder_has_so_many_indexes_and_what_remembers_them_is_checked() {
    let (_folder, index) = create(Options::new(DIMENSIONS).name("first"));
    let path = index.path().to_owned();
    drop(index);
    remove_index(&path, named("first")).unwrap();
    let catalog = |change: &dyn Fn(&[u8]) -> Vec<u8>| {
        // SAFETY: nobody else has it open.
        let env = unsafe { EnvOpenOptions::new().max_dbs(8).open(&path) }.unwrap();
        let opened = env.open_databases_and_commit(
            env.read_txn().unwrap(),
            |opener, rtxn| -> voisin::heed::Result<_> {
                let catalog = opener.open_database::<Bytes, Bytes>(rtxn, Some("voisin.catalog"))?;
                Ok(voisin::heed::CommitOrAbort::<_, ()>::Commit(catalog.unwrap()))
            },
        );
        let catalog = opened.unwrap().unwrap_commit();
        let mut wtxn = env.write_txn().unwrap();
        let value = catalog.get(&wtxn, &[0xFF]).unwrap().unwrap().to_vec();
        catalog.put(&mut wtxn, &[0xFF], &change(&value)).unwrap();
        wtxn.commit().unwrap();
        env.prepare_for_closing().wait();
    };
    let create = || Vectors::create(&path, Options::new(DIMENSIONS).name("next"));
    // The highest number there is, with its checksum.
    let last = [&b"voisin\x1ac"[..], &[2, 0, 0xFE, 0xFF]].concat();
    let mut crc = u32::MAX;
    for byte in [0xFF].iter().chain(&last) {
        crc ^= u32::from(*byte);
        (0..8).for_each(|_| crc = crc >> 1 ^ (0x82F6_3B78 & (crc & 1).wrapping_neg()));
    }
    let last = [&last[..], &(!crc).to_le_bytes()].concat();
    let before = std::cell::RefCell::new(Vec::new());
    catalog(&|value| {
        *before.borrow_mut() = value.to_vec();
        last.clone()
    });
    match create() {
        Err(error @ Error::TooManyIndexes { max: 65_535, .. }) => {
            assert!(error.to_string().contains("65535 indexes"), "{error}")
        }
        other => panic!("{other:?}"),
    }
    catalog(&|_| b"damaged".to_vec());
    assert!(matches!(create(), Err(Error::CorruptCatalog { .. })));
    catalog(&|_| before.borrow().clone());
    check(&create().unwrap());
}

/// An index that was created for items that could not be added takes its folder with it, unless
/// there is anything else in it, or anybody else has come.
#[test]
fn an_index_without_items_is_removed_with_the_folder_that_was_made_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a").join("vectors");
    let new = || Vectors::create(&path, Options::new(DIMENSIONS)).unwrap();
    let index = new();
    add(&index, 0..3, 0).unwrap();
    assert!(!index.remove_if_empty().unwrap());
    index.write(|batch| batch.delete_items(0..3)).unwrap();
    let second = index.clone();
    assert!(index.remove_if_empty().unwrap());
    is_removed(&second);
    assert!(matches!(second.remove_if_empty(), Err(Error::Removed { .. })));
    drop((index, second));
    assert!(!folder.path().join("a").exists());

    // Another index in it.
    let index = new();
    let other = Vectors::create(&path, Options::new(DIMENSIONS).name("other")).unwrap();
    assert!(index.remove_if_empty().unwrap());
    drop((index, other));
    let other = Vectors::open(&path, named("other")).unwrap();
    // Opened, and not created by this handle.
    assert!(other.remove_if_empty().unwrap());
    drop(other);
    assert!(path.exists());
    std::fs::remove_dir_all(&path).unwrap();

    // A database of the caller's.
    let index = new();
    index.folder().database::<Bytes, Bytes>("mine").unwrap();
    assert!(index.remove_if_empty().unwrap());
    drop(index);
    assert!(path.exists());
    std::fs::remove_dir_all(&path).unwrap();

    // What is created after it keeps the folder.
    let index = new();
    assert!(index.remove_if_empty().unwrap());
    let after = Vectors::create(&path, Options::new(DIMENSIONS).name("after")).unwrap();
    add(&after, 0..3, 0).unwrap();
    drop((index, after));
    check(&Vectors::open(&path, named("after")).unwrap());
    std::fs::remove_dir_all(&path).unwrap();

    // Another process has opened it meanwhile.
    let index = new();
    let mut child = Running::start("removal::opener", &[path.to_str().unwrap()]);
    child.expect("open");
    assert!(index.remove_if_empty().unwrap());
    drop(index);
    assert!(path.exists());
    child.kill();
    std::fs::remove_dir_all(&path).unwrap();

    let index = new();
    let reader = Vectors::open_read_only(&path, Options::default()).unwrap();
    assert!(matches!(reader.remove_if_empty(), Err(Error::ReadOnly { .. })));
    check(&index);
}

/// The child that has an index open.
#[test]
fn opener() {
    let Some(told) = told() else { return };
    let index = Vectors::open(&told[0], Options::default()).unwrap();
    tell("open");
    loop {
        std::thread::park();
        assert!(index.names().is_ok());
    }
}
