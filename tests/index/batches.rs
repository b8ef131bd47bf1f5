//! A batch is atomic: it is committed as a whole or not at all, and the next one works whatever has
//! become of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};

use voisin::{Error, Options};

use crate::{DIMENSIONS, add, check, create, vector};

#[test]
fn what_a_batch_has_changed_it_sees_and_others_see_when_it_has_ended() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    add(&index, 0..100, 1).unwrap();
    let returned = index
        .write(|batch| {
            assert_eq!(batch.len()?, 100);
            batch.add(200, &vector(200, 1))?;
            assert!(batch.delete(5)? && !batch.delete(5)?);
            assert_eq!(batch.delete_items([6, 7, 7, 1000])?, 2);
            assert_eq!(batch.search(1).by_vector(&vector(200, 1))?.into_nns(), [(200, 0.0)]);
            assert!(batch.search(1).by_item(5)?.is_none());
            assert_eq!(
                (batch.contains(6)?, batch.vector(8)?, batch.len()?),
                (false, Some(vector(8, 1)), 98)
            );
            // Nobody else sees it yet, this thread neither.
            assert_eq!(index.snapshot()?.len(), 100);
            assert_eq!(index.search(1).by_vector(&vector(5, 1))?.into_nns(), [(5, 0.0)]);
            Ok("returned")
        })
        .unwrap();
    assert_eq!(returned, "returned");
    let snapshot = index.snapshot().unwrap();
    assert_eq!(
        (snapshot.len(), snapshot.contains(5).unwrap(), snapshot.contains(200).unwrap()),
        (98, false, true)
    );
    assert_eq!(index.stats().unwrap().pending, 0, "it was linked");
    check(&index);
}

#[test]
fn an_error_or_a_panic_rolls_everything_back_and_the_next_write_works() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    add(&index, 0..50, 1).unwrap();
    let commit = index.snapshot().unwrap().commit();

    let result = index.write(|batch| {
        batch.add(100, &[0.0; DIMENSIONS])?;
        batch.clear()?;
        batch.add(101, &[0.0; DIMENSIONS + 1])
    });
    assert!(matches!(result, Err(Error::DimensionMismatch { .. })));
    let result: Result<(), std::fmt::Error> = index
        .try_write(|batch| -> Result<(), Box<dyn std::error::Error>> {
            batch.delete(1)?;
            Err(std::fmt::Error.into())
        })
        .map_err(|error| *error.downcast().unwrap());
    assert!(result.is_err());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        index.write(|batch| -> voisin::Result<()> {
            batch.add(100, &[0.0; DIMENSIONS])?;
            panic!("on purpose")
        })
    }));
    assert!(panicked.is_err());

    let snapshot = index.snapshot().unwrap();
    assert_eq!((snapshot.len(), snapshot.commit()), (50, commit));
    add(&index, 50..60, 1).unwrap();
    assert_eq!(index.snapshot().unwrap().len(), 60);
    check(&index);
}

#[test]
fn an_error_that_changed_nothing_can_be_ignored() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    index
        .write(|batch| {
            batch.add(1, &vector(1, 1))?;
            assert!(batch.add(2, &[f32::NAN; DIMENSIONS]).is_err());
            assert!(batch.add(2, &[0.0; 0]).is_err());
            assert!(batch.search(1).by_vector(&[1.0]).is_err());
            batch.add(3, &vector(3, 1))
        })
        .unwrap();
    assert!(index.snapshot().unwrap().ids().unwrap().iter().eq([1, 3]));
    check(&index);
}

#[test]
fn a_cleared_index_keeps_its_options() {
    let (_folder, index) = create(Options::new(DIMENSIONS).m(5));
    add(&index, 0..50, 1).unwrap();
    index.write(|batch| batch.clear()).unwrap();
    assert!(index.snapshot().unwrap().is_empty());
    assert!(index.search(3).by_vector(&[0.0; DIMENSIONS]).unwrap().nns.is_empty());
    add(&index, 0..50, 2).unwrap();
    assert_eq!(index.snapshot().unwrap().len(), 50);
    let again = crate::Vectors::open(index.path(), Options::new(DIMENSIONS).m(5)).unwrap();
    assert_eq!(again.search(1).by_vector(&vector(9, 2)).unwrap().into_nns(), [(9, 0.0)]);
    check(&index);
}

#[test]
fn a_write_inside_a_write_is_an_error_and_not_a_deadlock() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    let other =
        crate::Vectors::create(index.path(), Options::new(DIMENSIONS).name("other")).unwrap();
    index
        .write(|batch| {
            for inner in [&index, &other] {
                assert!(matches!(inner.write(|_| Ok(())), Err(Error::NestedWrite { .. })));
                assert!(matches!(inner.optimize(), Err(Error::NestedWrite { .. })));
            }
            batch.add(1, &vector(1, 1))
        })
        .unwrap();
    // Another environment is another matter.
    let (_folder2, elsewhere) = create(Options::new(DIMENSIONS));
    index
        .write(|batch| {
            elsewhere.write(|inner| inner.add(1, &vector(1, 1))).and_then(|()| batch.delete(1))
        })
        .unwrap();
    assert_eq!((index.snapshot().unwrap().len(), elsewhere.snapshot().unwrap().len()), (0, 1));
}

#[test]
fn writes_of_many_threads_wait_their_turn_and_none_is_lost() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    let inside = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (index, inside) = (&index, &inside);
            scope.spawn(move || {
                for i in 0..25 {
                    let item = thread * 25 + i;
                    index
                        .write(|batch| {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            batch.add(item, &vector(item, 1))?;
                            inside.fetch_sub(1, Ordering::SeqCst);
                            Ok(())
                        })
                        .unwrap();
                    assert_eq!(
                        index.search(1).by_vector(&vector(item, 1)).unwrap().into_nns()[0].1,
                        0.0
                    );
                }
            });
        }
    });
    assert_eq!(index.snapshot().unwrap().len(), 100);
    check(&index);
}

#[test]
fn a_write_that_changes_nothing_is_no_commit() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    let before = index.snapshot().unwrap().commit();
    index.write(|batch| batch.len()).unwrap();
    assert_eq!(index.snapshot().unwrap().commit(), before);
}

#[test]
fn items_added_one_by_one_get_layers_as_different_as_those_added_at_once() {
    let (_folder, index) = create(Options::new(DIMENSIONS).m(4));
    for item in 0..300 {
        add(&index, item..item + 1, 1).unwrap();
    }
    let layers = index.stats().unwrap().layers;
    // One in four is on the second layer.
    assert!(
        layers.len() >= 3 && (40..150).contains(&layers[1].nodes),
        "{:?}",
        layers.iter().map(|layer| layer.nodes).collect::<Vec<_>>()
    );
    check(&index);
}

#[test]
fn the_same_changes_make_the_same_graph() {
    let build = || {
        let (folder, index) = create(Options::new(DIMENSIONS).seed(9));
        add(&index, 0..200, 1).unwrap();
        add(&index, 100..300, 2).unwrap();
        index.copy_to(folder.path().join("copy")).unwrap();
        std::fs::read(folder.path().join("copy").join("data.mdb")).unwrap()
    };
    assert!(build() == build());
}
