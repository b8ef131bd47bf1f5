//! The remedies that errors of damaged values name: each works.

use voisin::codec::I8;
use voisin::distances::Euclidean;
use voisin::{Codes, Error, Options};

use super::{CODES, DELTA, ID_SLOTS, IN, Keyed, LINKS, META, Patient, SPILL, contents, options};

/// A flipped bit of the scale had every search of an `i8` index answer from other vectors.
#[test]
fn no_search_reads_by_metadata_that_is_damaged() {
    let patient = Patient::new::<Euclidean<I8>>(options());
    for round in 0..8 {
        for target in patient.targets(round).into_iter().filter(|target| target.kind == META) {
            let folder = patient.damaged(&target);
            let index = Keyed::<Euclidean<I8>>::open(
                folder.path(),
                Options::default().map_size_bytes(64 << 20),
            )
            .unwrap();
            let found = index.search(1).by_vector(&patient.fresh[0]).unwrap_err();
            assert!(
                matches!(&found, Error::Corrupt { key, .. } if key.kind == voisin::Kind::META)
                    || matches!(found, Error::Foreign { .. })
            );
        }
    }
}

/// The graph, the codes and one of the maps follow from the rest: the message said only that
/// something could be rebuilt from the vectors.
#[test]
fn what_follows_from_other_values_is_made_anew_as_the_error_says() {
    let patient = Patient::new::<Euclidean>(options().codes(Codes::Bits8).codes_from(1));
    let mut restored = 0;
    for round in 0..3 {
        for target in patient.targets(round) {
            let folder = patient.damaged(&target);
            let index = Keyed::<Euclidean>::open(
                folder.path(),
                Options::default().map_size_bytes(64 << 20),
            )
            .unwrap();
            // A change that reads every value says what is wrong.
            let remedy: fn(&Keyed<Euclidean>) -> voisin::Result<()> = match target.kind {
                LINKS | SPILL | IN => |index| index.force_rebuild(),
                CODES => |index| {
                    index.write(|batch| {
                        batch.set_codes(None)?;
                        batch.set_codes(Some(Codes::Bits8))
                    })
                },
                ID_SLOTS => |index| index.optimize(),
                // Is not needed, and goes with the next 64 commits.
                DELTA => |index| {
                    (0..64).try_for_each(|_| {
                        index.write(|batch| batch.delete(400).and(batch.add(400, &[0.5; 64])))
                    })
                },
                _ => continue,
            };
            let found = contents(&index).is_ok();
            assert!(!index.check().unwrap().is_empty());
            remedy(&index).unwrap_or_else(|error| panic!("{target:?}: {error}"));
            assert_eq!(index.check().unwrap(), [], "{target:?}");
            let (mut now, mut expected) = (contents(&index).unwrap(), patient.vectors.clone());
            now.remove(&400);
            expected.remove(&400);
            assert!(now == expected, "{target:?}, {found}");
            restored += 1;
        }
    }
    assert!(restored >= 3 * 8, "{restored}");
    let says = |target: u8| {
        let target = patient.targets(0).into_iter().find(|found| found.kind == target).unwrap();
        let folder = patient.damaged(&target);
        let index =
            Keyed::<Euclidean>::open(folder.path(), Options::default().map_size_bytes(64 << 20))
                .unwrap();
        index.copy_to(folder.path().join("copy")).unwrap_err().to_string()
    };
    for (kind, remedy) in [
        (LINKS, "force_rebuild"),
        (CODES, "set_codes"),
        (ID_SLOTS, "optimize"),
        (META, "restore a backup"),
    ] {
        let message = says(kind);
        assert!(message.contains(remedy) && message.contains("checksum"), "{message}");
    }
}
