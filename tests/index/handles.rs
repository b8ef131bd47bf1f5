//! Handles: an index is created once, opened with its stored parameters, shared by all handles of a
//! process, and closed with the last of them.

use std::fs;
use std::sync::Barrier;

use tempfile::tempdir;
use voisin::distances::{Cosine, Euclidean, Manhattan};
use voisin::heed::EnvOpenOptions;
use voisin::{Codes, Error, Index, Options};

use crate::{DIMENSIONS, Vectors, add, check, create, vector};

#[test]
fn an_index_is_what_it_was_created_as_when_it_is_opened_again() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a").join("b");
    let options = Options::new(DIMENSIONS).m(6).m0(10).ef_construction(33).alpha(1.25).seed(7);
    let index = Vectors::create(&path, options.clone()).unwrap();
    add(&index, 0..100, 1).unwrap();
    drop(index);
    for options in [Options::default(), options] {
        let index = Vectors::open(&path, options).unwrap();
        assert_eq!(
            (index.dimensions(), index.m(), index.m0(), index.name()),
            (DIMENSIONS, 6, 10, "main")
        );
        let snapshot = index.snapshot().unwrap();
        assert_eq!(snapshot.len(), 100);
        assert_eq!(snapshot.vector(17).unwrap().unwrap(), vector(17, 1));
        check(&index);
    }
}

#[test]
fn an_option_that_is_not_what_is_stored_is_refused_and_both_are_named() {
    let (_folder, index) = create(Options::new(DIMENSIONS).seed(7));
    let path = index.path().to_owned();
    let wrong = [
        (Options::new(5), "dimensions", "4", "5"),
        (Options::default().m(8), "M", "16", "8"),
        (Options::default().m0(8), "M0", "32", "8"),
        (Options::default().ef_construction(1), "ef_construction", "100", "1"),
        (Options::default().alpha(2.0), "alpha", "1", "2"),
        (Options::default().seed(8), "seed", "7", "8"),
    ];
    for (options, name, is, asked) in wrong {
        for result in
            [Vectors::open(&path, options.clone()), Vectors::open_or_create(&path, options.clone())]
        {
            match result {
                Err(Error::OptionMismatch { option, stored, requested, .. }) => {
                    assert_eq!((option, &*stored, &*requested), (name, is, asked));
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }
    let other = Index::<Cosine>::open(&path, Options::default());
    assert!(matches!(other, Err(Error::MetricMismatch { stored, .. }) if stored == "euclidean"));
}

#[test]
fn codes_are_an_option_that_stays_until_a_batch_chooses_others() {
    let (_folder, index) = create(Options::new(DIMENSIONS).codes(Codes::Bits4));
    let path = index.path().to_owned();
    let codes = || index.stats().unwrap().codes.map(|codes| codes.codes);
    for seed in [1, 2] {
        add(&index, 0..300, seed).unwrap();
        assert_eq!(codes(), None, "there is too little to train codes on");
        add(&index, 300..1000, seed).unwrap();
        assert_eq!(codes(), Some(Codes::Bits4));
        check(&index);
        index.write(|batch| batch.clear()).unwrap();
    }
    for options in [Options::default(), Options::default().codes(Codes::Bits4)] {
        Vectors::open(&path, options).unwrap();
    }
    let wrong = Vectors::open(&path, Options::default().codes(Codes::Bits8));
    assert!(matches!(wrong, Err(Error::OptionMismatch { option: "codes of", .. })), "{wrong:?}");
    assert!(wrong.unwrap_err().to_string().contains("codes of 4 bits, not 8 bits"));
    add(&index, 0..300, 3).unwrap();
    index.write(|batch| batch.set_codes(None)).unwrap();
    assert_eq!(codes(), None);
    let wrong = Vectors::open(&path, Options::default().codes(Codes::Bits8));
    assert!(wrong.unwrap_err().to_string().contains("codes of no bits, not 8 bits"));
    check(&index);
    // A metric that cannot have codes creates nothing.
    let refused =
        Index::<Manhattan>::create(&path, Options::new(3).name("other").codes(Codes::Bits8));
    assert!(matches!(refused, Err(Error::CodesUnsupported { metric: "manhattan" })));
    assert_eq!(index.names().unwrap(), ["main"]);
}

#[test]
fn options_out_of_range_create_nothing() {
    let folder = tempdir().unwrap();
    let create = |options| Vectors::create(folder.path(), options);
    assert!(matches!(create(Options::default()), Err(Error::InvalidDimensions { found: 0, .. })));
    assert!(matches!(
        create(Options::new(70_000)),
        Err(Error::InvalidDimensions { found: 70_000, .. })
    ));
    assert!(matches!(create(Options::new(4).m(1)), Err(Error::InvalidParameter { name: "M", .. })));
    assert!(matches!(
        create(Options::new(4).m(usize::MAX)),
        Err(Error::InvalidParameter { name: "M", .. })
    ));
    assert!(matches!(
        create(Options::new(4).alpha(0.5)),
        Err(Error::InvalidParameter { name: "alpha", .. })
    ));
    assert!(matches!(
        create(Options::new(4).ef_construction(0)),
        Err(Error::InvalidParameter { .. })
    ));
    assert!(matches!(create(Options::new(4).name("")), Err(Error::InvalidName { bytes: 0, .. })));
    assert!(matches!(
        Vectors::open(folder.path(), Options::default()),
        Err(Error::MissingEnvironment { .. })
    ));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    // In a folder with other indexes, neither.
    let other = create(Options::new(4).name("other")).unwrap();
    assert!(matches!(create(Options::new(4).m(1)), Err(Error::InvalidParameter { name: "M", .. })));
    assert_eq!(other.names().unwrap(), ["other"]);
    match Vectors::open(folder.path(), Options::default()) {
        Err(Error::MissingName { name, known, .. }) => {
            assert_eq!((&*name, known), ("main", vec!["other".to_owned()]))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_folder_holds_many_indexes_and_each_is_found_by_its_name() {
    let (_folder, texts) = create(Options::new(2).name("texts"));
    let path = texts.path().to_owned();
    let images = Index::<Cosine>::create(&path, Options::new(3).name("images")).unwrap();
    texts.write(|batch| batch.add(1, &[1.0, 2.0])).unwrap();
    images.write(|batch| batch.add(9, &[0.0, 0.0, 1.0])).unwrap();
    assert_eq!(texts.search(5).by_vector(&[1.0, 1.0]).unwrap().into_nns(), [(1, 1.0)]);
    assert_eq!(images.search(5).by_vector(&[0.0, 0.0, 2.0]).unwrap().into_nns(), [(9, 0.0)]);
    assert_eq!(images.names().unwrap(), ["images", "texts"]);
    assert!(matches!(
        Index::<Euclidean>::create(&path, Options::new(2).name("texts")),
        Err(Error::NameTaken { .. })
    ));
    match Vectors::open(&path, Options::default().name("text")) {
        Err(Error::MissingName { known, .. }) => assert_eq!(known, ["images", "texts"]),
        other => panic!("{other:?}"),
    }
    assert_eq!(texts.snapshot().unwrap().len(), 1);
}

#[test]
fn opening_where_nothing_was_created_says_so_and_leaves_nothing() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("nothing");
    assert!(matches!(
        Vectors::open(&path, Options::default()),
        Err(Error::MissingEnvironment { .. })
    ));
    assert!(matches!(
        Vectors::open_read_only(&path, Options::default()),
        Err(Error::MissingEnvironment { .. })
    ));
    assert!(!path.exists());
    assert!(matches!(
        Vectors::open(folder.path(), Options::default()),
        Err(Error::MissingEnvironment { .. })
    ));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    // What a process leaves that is killed before LMDB has written anything.
    fs::write(folder.path().join("data.mdb"), "").unwrap();
    assert!(matches!(
        Vectors::open(folder.path(), Options::default()),
        Err(Error::MissingEnvironment { .. })
    ));
    assert!(matches!(
        Vectors::open_read_only(folder.path(), Options::default()),
        Err(Error::MissingEnvironment { .. })
    ));
    assert!(
        Vectors::create(folder.path(), Options::new(2)).unwrap().snapshot().unwrap().is_empty()
    );
}

#[test]
fn a_file_that_is_no_environment_is_an_error_and_stays_as_it_is() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("data.mdb");
    for bytes in [&b"not LMDB"[..], &[0; 4096], &[0xFF; 100_000]] {
        fs::write(&path, bytes).unwrap();
        assert!(Vectors::open(folder.path(), Options::default()).is_err());
        assert!(Vectors::open_or_create(folder.path(), Options::new(2)).is_err());
        assert!(fs::read(&path).unwrap() == bytes);
    }
}

#[test]
fn an_environment_with_tables_of_another_program_is_left_alone() {
    let folder = tempdir().unwrap();
    // SAFETY: nobody else has it open.
    let env = unsafe { EnvOpenOptions::new().max_dbs(1).open(folder.path()) }.unwrap();
    let create = |wtxn| {
        env.create_databases_and_commit(wtxn, |opener, wtxn| -> voisin::heed::Result<_> {
            use voisin::heed::types::Str;
            let tables = opener.create_database::<Str, Str>(wtxn, Some("documents"))?;
            tables.put(wtxn, "a", "b")?;
            Ok(voisin::heed::CommitOrAbort::<_, ()>::Commit(tables))
        })
    };
    create(env.write_txn().unwrap()).unwrap();
    assert!(matches!(
        Vectors::create(folder.path(), Options::new(2)),
        Err(Error::AlreadyOpen { .. })
    ));
    env.prepare_for_closing().wait();
    assert!(matches!(
        Vectors::create(folder.path(), Options::new(2)),
        Err(Error::ForeignEnvironment { .. })
    ));
    assert!(matches!(
        Vectors::open(folder.path(), Options::new(2)),
        Err(Error::ForeignEnvironment { .. })
    ));
}

#[test]
fn all_paths_to_a_folder_share_one_environment() {
    let (folder, index) = create(Options::new(DIMENSIONS));
    let held = index.snapshot().unwrap();
    let mut paths =
        vec![index.path().to_owned(), folder.path().join("vectors").join("..").join("vectors")];
    #[cfg(unix)]
    {
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(index.path(), &link).unwrap();
        paths.push(link);
    }
    for path in paths {
        let again = Vectors::open(&path, Options::default()).unwrap();
        assert_eq!(again.held_snapshots().unwrap().0, 1, "{path:?}");
        assert_eq!(again.path(), index.path());
        add(&again, 0..10, 1).unwrap();
        assert_eq!(index.search(10).by_vector(&[0.0; DIMENSIONS]).unwrap().nns.len(), 10);
    }
    assert!(held.is_empty());
}

#[test]
#[cfg(unix)]
fn a_data_file_with_a_second_name_is_refused() {
    let (folder, index) = create(Options::new(DIMENSIONS));
    let second = folder.path().join("second");
    fs::create_dir(&second).unwrap();
    fs::hard_link(index.path().join("data.mdb"), second.join("data.mdb")).unwrap();
    // Whether the first is open or not.
    assert!(matches!(Vectors::open(&second, Options::default()), Err(Error::LinkedFile { .. })));
    let path = index.path().to_owned();
    assert!(Vectors::open(&path, Options::default()).is_ok(), "the path that it is open by");
    drop(index);
    assert!(matches!(Vectors::open(&second, Options::default()), Err(Error::LinkedFile { .. })));
    assert!(matches!(Vectors::open(&path, Options::default()), Err(Error::LinkedFile { .. })));
    fs::remove_file(second.join("data.mdb")).unwrap();
    std::os::unix::fs::symlink(path.join("data.mdb"), second.join("data.mdb")).unwrap();
    assert!(matches!(Vectors::open(&second, Options::default()), Err(Error::LinkedFile { .. })));
    assert!(Vectors::open(&path, Options::default()).is_ok());
}

#[test]
fn the_last_handle_closes_the_files_and_they_can_be_opened_again() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    add(&index, 0..10, 1).unwrap();
    let path = index.path().to_owned();
    let closed = voisin::heed::env_closing_event(&path).expect("it is open");
    let snapshot = index.snapshot().unwrap();
    let second = index.clone();
    drop(index);
    drop(second);
    // The snapshot keeps it open, and is still good.
    assert_eq!(snapshot.search(1).by_vector(&vector(3, 1)).unwrap().into_nns(), [(3, 0.0)]);
    assert!(!closed.wait_timeout(std::time::Duration::ZERO));
    drop(snapshot);
    closed.wait();
    assert!(voisin::heed::env_closing_event(&path).is_none());
    // Opened by somebody else meanwhile, it is not opened again.
    // SAFETY: this process is the only one that has it open.
    let env = unsafe { EnvOpenOptions::new().open(&path) }.unwrap();
    assert!(matches!(Vectors::open(&path, Options::default()), Err(Error::AlreadyOpen { .. })));
    env.prepare_for_closing().wait();
    assert_eq!(Vectors::open(&path, Options::default()).unwrap().snapshot().unwrap().len(), 10);
}

#[test]
fn threads_that_open_and_close_at_once_never_meet_an_environment_that_is_half_open() {
    let folder = tempdir().unwrap();
    let threads = 4;
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        for thread in 0..threads as u32 {
            let (barrier, path) = (&barrier, folder.path());
            scope.spawn(move || {
                for round in 0..20 {
                    barrier.wait();
                    let index = Vectors::open_or_create(path, Options::new(DIMENSIONS)).unwrap();
                    index.write(|batch| batch.add(thread, &vector(thread, round))).unwrap();
                    assert_eq!(
                        index.snapshot().unwrap().vector(thread).unwrap().unwrap(),
                        vector(thread, round)
                    );
                }
            });
        }
    });
    assert!(voisin::heed::env_closing_event(folder.path().canonicalize().unwrap()).is_none());
}

#[test]
fn many_environments_are_open_at_once() {
    let indexes: Vec<_> = (0..20).map(|_| create(Options::new(DIMENSIONS))).collect();
    for ((_, index), round) in indexes.iter().zip(0..) {
        add(index, 0..5, round).unwrap();
    }
    for ((_, index), round) in indexes.iter().zip(0..) {
        assert_eq!(index.snapshot().unwrap().vector(3).unwrap().unwrap(), vector(3, round));
    }
}

#[test]
fn a_read_only_handle_searches_and_changes_nothing() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    add(&index, 0..50, 1).unwrap();
    let path = index.path().to_owned();
    let check_refused = |reader: &Vectors| {
        let is_refused = |result: voisin::Result<()>| {
            assert!(matches!(result, Err(Error::ReadOnly { .. })), "{result:?}")
        };
        is_refused(reader.write(|batch| batch.add(1, &[0.0; DIMENSIONS])));
        is_refused(reader.optimize());
        is_refused(reader.force_rebuild());
        is_refused(reader.load([(1, [0.0; DIMENSIONS])], |_| {}).map(drop));
        assert_eq!(reader.search(1).by_vector(&vector(7, 1)).unwrap().into_nns(), [(7, 0.0)]);
        assert_eq!(reader.stats().unwrap().items, 50);
        check(reader);
    };
    // Beside a handle that writes.
    let reader = Vectors::open_read_only(&path, Options::new(DIMENSIONS)).unwrap();
    check_refused(&reader);
    add(&index, 50..60, 1).unwrap();
    assert_eq!(reader.search(1).by_vector(&vector(55, 1)).unwrap().into_nns(), [(55, 0.0)]);
    drop((reader, index));
    // Alone: then the whole environment is read-only.
    let before = fs::read(path.join("data.mdb")).unwrap();
    let reader = Vectors::open_read_only(&path, Options::default()).unwrap();
    assert!(matches!(Vectors::open(&path, Options::default()), Err(Error::AlreadyOpen { .. })));
    assert!(matches!(
        Vectors::open_or_create(&path, Options::new(DIMENSIONS)),
        Err(Error::AlreadyOpen { .. })
    ));
    assert!(matches!(reader.write(|_| Ok(())), Err(Error::ReadOnly { .. })));
    assert_eq!(reader.snapshot().unwrap().len(), 60);
    drop(reader);
    assert!(before == fs::read(path.join("data.mdb")).unwrap(), "not a byte has changed");
    add(&Vectors::open(&path, Options::default()).unwrap(), 0..1, 2).unwrap();
}

#[test]
fn a_catalog_that_is_damaged_is_an_error() {
    use voisin::heed::types::Bytes;
    let (_folder, index) = create(Options::new(DIMENSIONS));
    let path = index.path().to_owned();
    drop(index);
    let damage = |change: &dyn Fn(&mut Vec<u8>)| {
        // SAFETY: nobody else has it open.
        let env = unsafe { EnvOpenOptions::new().max_dbs(8).open(&path) }.unwrap();
        let open = |rtxn| {
            env.open_databases_and_commit(rtxn, |opener, rtxn| -> voisin::heed::Result<_> {
                let catalog = opener.open_database::<Bytes, Bytes>(rtxn, Some("voisin.catalog"))?;
                Ok(voisin::heed::CommitOrAbort::<_, ()>::Commit(catalog))
            })
        };
        let catalog = open(env.read_txn().unwrap()).unwrap().unwrap_commit().unwrap();
        let mut wtxn = env.write_txn().unwrap();
        let mut value = catalog.get(&wtxn, b"main").unwrap().unwrap().to_vec();
        change(&mut value);
        catalog.put(&mut wtxn, b"main", &value).unwrap();
        wtxn.commit().unwrap();
        env.prepare_for_closing().wait();
        Vectors::open(&path, Options::default())
    };
    assert!(matches!(damage(&|value| value[12] ^= 1), Err(Error::CorruptCatalog { .. })));
    assert!(damage(&|value| value[12] ^= 1).is_ok());
    assert!(matches!(
        damage(&|value| value[8] = 4),
        Err(Error::CatalogVersion { found: 4, supported: 3, .. })
    ));
    assert!(matches!(damage(&|value| value.truncate(9)), Err(Error::CorruptCatalog { .. })));
    assert!(matches!(damage(&Vec::clear), Err(Error::CorruptCatalog { .. })));
}
