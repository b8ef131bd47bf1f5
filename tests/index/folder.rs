//! Several indexes and databases of the caller's in one commit, and at one commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use voisin::distances::{Cosine, Euclidean};
use voisin::heed::types::{Bytes, Str, U32};
use voisin::heed::{Database, byteorder::BE};
use voisin::{Error, Folder, FolderTxn, Index, Options, inspect};

use crate::child::{Running, tell, told};

type Titles = Index<Cosine, str>;
type Bodies = Index<Euclidean>;

/// Two indexes and a table.
struct Library {
    titles: Titles,
    bodies: Bodies,
    folder: Folder,
    authors: Database<'static, Str, U32<BE>>,
}

impl Library {
    fn open(path: &Path, options: impl Fn(usize) -> Options) -> Self {
        let titles = Titles::open_or_create(path, options(2).name("titles")).unwrap();
        let bodies = Bodies::open_or_create(path, options(3).name("bodies")).unwrap();
        let folder = titles.folder();
        let authors = folder.database("authors").unwrap();
        Self { titles, bodies, folder, authors }
    }

    fn add(&self, txn: &mut FolderTxn<'_>, item: u32) -> voisin::Result<()> {
        let at = item as f32;
        let key = item.to_string();
        txn.index(&self.titles, |batch| batch.add(&key, &[1.0, at]))?;
        txn.databases(|wtxn| self.authors.put(wtxn, &key, &item))?;
        txn.index(&self.bodies, |batch| batch.add(item, &[at, 0.0, 0.0]))
    }

    /// What each of the three has, at one commit.
    fn counts(&self) -> [u64; 3] {
        let snapshot = self.folder.snapshot().unwrap();
        let titles = snapshot.index(&self.titles).unwrap();
        let bodies = snapshot.index(&self.bodies).unwrap();
        assert_eq!([titles.commit(), bodies.commit()], [snapshot.commit(); 2]);
        [titles.len(), bodies.len(), self.authors.len(snapshot.txn().unwrap()).unwrap()]
    }

    fn check(&self) {
        assert_eq!(self.titles.check().unwrap(), []);
        assert_eq!(self.bodies.check().unwrap(), []);
    }
}

#[test]
fn a_commit_holds_several_indexes_and_a_table_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path(), Options::new);
    library.folder.write(|txn| (0..50).try_for_each(|item| library.add(txn, item))).unwrap();
    assert_eq!(library.counts(), [50; 3]);
    // Linked, and found.
    assert_eq!((library.titles.pending().unwrap(), library.bodies.pending().unwrap()), (0, 0));
    let found = library.bodies.search(1).by_vector(&[30.2, 0.0, 0.0]).unwrap().into_nns();
    assert_eq!(found[0].0, 30);

    // An error undoes all of it.
    let result = library.folder.write(|txn| {
        library.add(txn, 50)?;
        txn.index(&library.bodies, |batch| batch.add(51, &[1.0]))
    });
    assert!(matches!(result, Err(Error::DimensionMismatch { expected: 3, found: 1 })));
    assert_eq!(library.counts(), [50; 3]);

    // One that has changed nothing can be ignored.
    let written = library.folder.write(|txn| {
        let refused = txn.index(&library.bodies, |batch| batch.add(51, &[1.0]));
        assert!(refused.is_err());
        library.add(txn, 52)
    });
    written.unwrap();
    assert_eq!(library.counts(), [51; 3]);
    library.check();
}

#[test]
fn a_transaction_sees_its_own_changes_in_every_call() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path(), Options::new);
    let found = library.folder.write(|txn| {
        library.add(txn, 1)?;
        library.add(txn, 2)?;
        assert_eq!(txn.index(&library.titles, |batch| batch.len())?, 2);
        assert_eq!(txn.databases(|wtxn| library.authors.get(wtxn, "2"))?, Some(2));
        txn.index(&library.bodies, |batch| {
            assert!(batch.delete(1)?);
            Ok::<_, Error>(batch.search(5).by_vector(&[0.0, 0.0, 0.0])?.into_nns())
        })
    });
    assert_eq!(found.unwrap(), [(2, 4.0)]);
    assert_eq!(library.counts(), [2, 1, 2]);
    library.check();
}

#[test]
fn nothing_is_committed_after_a_panic_that_is_caught() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path(), Options::new);
    for in_database in [false, true] {
        let result = library.folder.write(|txn| {
            library.add(txn, 1)?;
            let caught = catch_unwind(AssertUnwindSafe(|| match in_database {
                true => txn.databases(|_| -> voisin::heed::Result<()> { panic!("a caller's") }),
                false => {
                    txn.index(&library.titles, |_| -> voisin::Result<()> { panic!("a caller's") })
                }
            }));
            assert!(caught.is_err());
            assert!(matches!(library.add(txn, 2), Err(Error::BatchFailed)));
            Ok(())
        });
        assert!(matches!(result, Err(Error::BatchFailed)), "{in_database}");
        assert_eq!(library.counts(), [0; 3]);
    }
    // The next write begins anew.
    library.folder.write(|txn| library.add(txn, 1)).unwrap();
    assert_eq!(library.counts(), [1; 3]);
    library.check();
}

#[test]
fn the_map_grows_for_databases_as_for_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let small = |dimensions| Options::new(dimensions).map_size_bytes(1 << 20);
    let library = Library::open(folder.path(), small);
    let large: Database<'_, Str, Bytes> = library.folder.database("large").unwrap();
    let mut tries = 0;
    let value = vec![7; 5 << 20];
    library
        .folder
        .write(|txn| {
            tries += 1;
            library.add(txn, 1)?;
            txn.databases(|wtxn| large.put(wtxn, "value", &value))
        })
        .unwrap();
    assert!(tries > 1);
    // Even if the closure ignores the error.
    let mut tries = 0;
    library
        .folder
        .try_write(|txn| -> Result<(), Box<dyn std::error::Error>> {
            tries += 1;
            library.add(txn, 2)?;
            txn.databases(|wtxn| large.put(wtxn, "another", &[8; 20 << 20]))
                .map_err(|_| "an error of my own".into())
        })
        .unwrap();
    assert!(tries > 1);
    assert_eq!(library.counts(), [2; 3]);
    let snapshot = library.folder.snapshot().unwrap();
    assert_eq!(large.get(snapshot.txn().unwrap(), "value").unwrap(), Some(&value[..]));
    library.check();
}

#[test]
fn a_snapshot_is_of_one_commit_while_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path(), Options::new);
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for item in 0..60 {
                library.folder.write(|txn| library.add(txn, item)).unwrap();
            }
            is_done.store(true, Ordering::Release);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while !is_done.load(Ordering::Acquire) {
                    let [titles, bodies, authors] = library.counts();
                    assert!(titles == bodies && bodies == authors, "{titles} {bodies} {authors}");
                    assert!(titles >= last);
                    last = titles;
                }
            });
        }
    });
    assert_eq!(library.counts(), [60; 3]);
    library.check();
}

#[test]
fn a_held_snapshot_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path(), Options::new);
    library.folder.write(|txn| library.add(txn, 1)).unwrap();
    let before = library.folder.snapshot().unwrap();
    library.folder.write(|txn| library.add(txn, 2)).unwrap();
    assert_eq!(before.index(&library.titles).unwrap().len(), 1);
    assert_eq!(library.authors.get(before.txn().unwrap(), "2").unwrap(), None);
    // What did not exist then is missing there.
    let late = Bodies::create(folder.path(), Options::new(3).name("late")).unwrap();
    assert!(matches!(before.index(&late), Err(Error::MissingName { .. })));
    assert_eq!(library.folder.snapshot().unwrap().index(&late).unwrap().len(), 0);
    assert_eq!(library.counts(), [2; 3]);
}

#[test]
fn a_snapshot_knows_the_databases_of_its_commit_whoever_has_opened_them() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path(), Options::new);
    library.folder.write(|txn| library.add(txn, 1)).unwrap();
    drop(library);
    // The environment was closed: nothing is open any more.
    let folder = Folder::open(folder.path(), &Options::default()).unwrap();
    let before = folder.snapshot().unwrap();
    let authors = before.database::<Str, U32<BE>>("authors").unwrap().unwrap();
    assert_eq!(authors.get(before.txn().unwrap(), "1").unwrap(), Some(1));
    assert!(before.database::<Str, Str>("typo").unwrap().is_none(), "and none is created");
    assert_eq!(folder.snapshot().unwrap().commit(), before.commit());

    let later = folder.database::<Str, Str>("later").unwrap();
    folder.write(|txn| txn.databases(|wtxn| later.put(wtxn, "a", "b"))).unwrap();
    assert!(before.database::<Str, Str>("later").unwrap().is_none());
    let after = folder.snapshot().unwrap();
    let later = after.database::<Str, Str>("later").unwrap().unwrap();
    assert_eq!(later.get(after.txn().unwrap(), "a").unwrap(), Some("b"));
    let refused = after.database::<Str, Str>("voisin").map(drop);
    assert!(matches!(refused, Err(Error::InvalidDatabaseName { .. })), "{refused:?}");
}

#[test]
fn what_is_not_of_the_folder_is_refused() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let library = Library::open(one.path(), Options::new);
    let stranger = Bodies::create(other.path(), Options::new(3)).unwrap();
    let written = library.folder.write(|txn| txn.index(&stranger, |batch| batch.len()));
    assert!(matches!(written, Err(Error::OtherFolder { .. })));
    let snapshot = library.folder.snapshot().unwrap();
    assert!(matches!(snapshot.index(&stranger), Err(Error::OtherFolder { .. })));

    let long = "x".repeat(500);
    for name in ["", "voisin", "voisin.catalog", "a\0b", &long] {
        let refused = library.folder.database::<Str, Str>(name);
        assert!(matches!(refused, Err(Error::InvalidDatabaseName { .. })), "{name}");
    }
    let nested = library.folder.write(|_| library.folder.database::<Str, Str>("new").map(drop));
    assert!(matches!(nested, Err(Error::NestedWrite { .. })));
    let nested = library.folder.write(|txn| {
        library.add(txn, 1)?;
        library.bodies.write(|batch| batch.len())
    });
    assert!(matches!(nested, Err(Error::NestedWrite { .. })));
    assert_eq!(library.counts(), [0; 3]);

    voisin::remove_index(one.path(), Options::default().name("bodies")).unwrap();
    let removed = library.folder.write(|txn| {
        let removed = txn.index(&library.bodies, |batch| batch.len());
        assert!(matches!(removed, Err(Error::Removed { .. })));
        txn.index(&library.titles, |batch| batch.add("a", &[1.0, 2.0]))
    });
    removed.unwrap();
    assert_eq!(library.titles.snapshot().unwrap().len(), 1);
}

#[test]
fn a_process_opens_as_many_databases_as_it_has_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let options = |dimensions| Options::new(dimensions).max_databases(3);
    let library = Library::open(folder.path(), options);
    let mut opened = 0;
    let full = loop {
        match library.folder.database::<Str, Str>(&format!("database {opened}")) {
            Ok(_) => opened += 1,
            Err(error) => break error,
        }
    };
    assert!(opened >= 2, "{opened}");
    assert!(full.to_string().contains("max_databases"), "{full}");
    // It is there again for others that open it anew.
    drop(library);
    let folder = Folder::open(folder.path(), &Options::default()).unwrap();
    let again: Database<'_, Str, Str> = folder.database("database 0").unwrap();
    assert_eq!(again.len(folder.snapshot().unwrap().txn().unwrap()).unwrap(), 0);
    assert_eq!(folder.names().unwrap(), ["bodies", "titles"]);
    // Snapshots of one that cannot have all open leave room for those that it asks for.
    let path = folder.path().to_owned();
    drop(folder);
    let folder = Folder::open(&path, &Options::default().max_databases(1)).unwrap();
    let before = folder.snapshot().unwrap();
    let refused = before.database::<Str, Str>("database 0").map(drop).unwrap_err();
    assert!(refused.to_string().contains("max_databases"), "{refused}");
    folder.database::<Str, Str>("database 0").unwrap();
    let after = folder.snapshot().unwrap();
    assert!(after.database::<Str, Str>("database 0").unwrap().is_some());
}

#[test]
fn a_copy_and_a_list_of_the_indexes_know_of_databases() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("library");
    let library = Library::open(&path, Options::new);
    library.folder.write(|txn| (0..300).try_for_each(|item| library.add(txn, item))).unwrap();
    let names: Vec<_> = inspect(&path).unwrap().into_iter().map(|found| found.name).collect();
    assert_eq!(names, ["titles", "bodies"].map(|name| Some(name.to_owned())));
    library.titles.copy_to(folder.path().join("copy")).unwrap();
    let copy = Library::open(&folder.path().join("copy"), Options::new);
    assert_eq!(copy.counts(), [300; 3]);
    copy.check();
}

/// Commits without end, as another process.
#[test]
fn writer() {
    let Some(told) = told() else { return };
    let library = Library::open(Path::new(&told[0]), Options::new);
    let first = library.counts()[0] as u32;
    tell("writes");
    for item in first.. {
        library.folder.write(|txn| library.add(txn, item)).unwrap();
    }
}

/// Kills a writer often, anywhere in its commits.
fn kill_writers(kills: u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("library");
    let mut last = 0;
    for kill in 0..kills {
        let mut writer = Running::start("folder::writer", &[path.to_str().unwrap()]);
        writer.expect("writes");
        thread::sleep(Duration::from_micros(20_000 + 7_919 * (kill % 40)));
        writer.kill();
        let library = Library::open(&path, Options::new);
        let [titles, bodies, authors] = library.counts();
        assert!(titles == bodies && bodies == authors, "{titles} {bodies} {authors}");
        assert!(titles >= last, "{titles} after {last}");
        last = titles;
        library.check();
    }
    assert!(last > kills, "{last} commits");
}

#[test]
fn indexes_and_databases_never_part_when_a_writer_is_killed() {
    kill_writers(10);
}

/// Takes minutes.
#[test]
#[ignore = "a soak: cargo test --release --test index soak_of_killed_writers -- --ignored"]
fn soak_of_killed_writers() {
    kill_writers(1000);
}

#[test]
fn an_index_takes_the_place_of_another_in_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path(), Options::new);
    library.folder.write(|txn| library.add(txn, 1)).unwrap();
    let held = library.bodies.snapshot().unwrap();
    let new = Bodies::create(folder.path(), Options::new(2).name("new")).unwrap();
    new.write(|batch| batch.add_items(&[1, 2], &[0.0, 1.0, 1.0, 0.0])).unwrap();

    // Together with other changes, or not at all.
    let missing = library.folder.write(|txn| {
        txn.databases(|wtxn| library.authors.clear(wtxn))?;
        txn.swap_names("bodies", "nobody")
    });
    assert!(matches!(missing, Err(Error::MissingName { .. })));
    let undone = library.folder.write(|txn| {
        txn.swap_names("bodies", "new")?;
        txn.index(&library.titles, |batch| batch.add("x", &[1.0]))
    });
    assert!(undone.is_err());
    assert_eq!((library.counts(), new.dimensions()), ([1; 3], 2));
    assert_eq!(library.bodies.write(|batch| batch.len()).unwrap(), 1);

    library.folder.write(|txn| txn.swap_names("bodies", "new")).unwrap();
    let opened = |name| Bodies::open(folder.path(), Options::default().name(name)).unwrap();
    assert_eq!((opened("bodies").dimensions(), opened("new").dimensions()), (2, 3));
    assert_eq!(opened("bodies").snapshot().unwrap().len(), 2);
    // Earlier handles search what they were opened on, and change nothing.
    assert_eq!((held.len(), library.bodies.snapshot().unwrap().len()), (1, 1));
    for result in
        [library.bodies.write(|batch| batch.delete(1)), new.write(|batch| batch.delete(1))]
    {
        assert!(matches!(result, Err(Error::Renamed { .. })), "{result:?}");
    }
    voisin::remove_index(folder.path(), Options::default().name("new")).unwrap();
    assert_eq!(library.folder.names().unwrap(), ["bodies", "titles"]);
    assert!(matches!(library.bodies.snapshot(), Err(Error::Removed { .. })));
    assert_eq!(held.search(1).by_vector(&[1.0, 0.0, 0.0]).unwrap().nns.len(), 1);
    assert_eq!(opened("bodies").check().unwrap(), []);
    library.titles.check().unwrap();
}
