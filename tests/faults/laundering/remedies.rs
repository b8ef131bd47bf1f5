//! The remedies that errors of damaged values name: each works.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::codec::I8;
use voisin::distances::Euclidean;
use voisin::{Codes, Error, Field, IndexKind, Options};

use super::{
    CODES, DELTA, DIMENSIONS, FIELDS, ID_SLOTS, IN, IVF, Keyed, LINKS, LSH, META, Patient, SPILL,
    Target, contents, options, raw,
};

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
        (DELTA, "the next 64 commits replace it"),
        (META, "restore a backup"),
    ] {
        let message = says(kind);
        assert!(message.contains(remedy) && message.contains("checksum"), "{message}");
    }
}

/// An index without a graph, with lists, tables of hashes, codes and fields; a value of each sort
/// of these.
fn of_kinds() -> (Patient, Vec<Target>) {
    let folder = tempfile::tempdir().unwrap();
    let options = options()
        .kinds([IndexKind::Ivf, IndexKind::Lsh])
        .codes(Codes::Bits8)
        .codes_from(1)
        .fields(fields());
    let index = Keyed::<Euclidean>::create(folder.path().join("index"), options).unwrap();
    let mut rng = StdRng::seed_from_u64(9);
    // As many as lists begin with.
    let rows = (0..1200u64).map(|key| {
        let vector: Vec<f32> = (0..DIMENSIONS).map(|_| rng.random::<f32>()).collect();
        (key, vector, format!(r#"{{"tag": "t{}", "n": {key}}}"#, key % 3))
    });
    let rows: Vec<(u64, Vec<f32>, String)> = rows.collect();
    index.write(|batch| batch.add_items_with_records(rows.clone())).unwrap();
    assert_eq!(index.check().unwrap(), []);
    let vectors = contents(&index).unwrap();
    drop(index);
    let patient = Patient { folder, vectors, fresh: Vec::new() };
    let mut targets = BTreeMap::new();
    raw(&patient.folder.path().join("index"), |txn, values| {
        for entry in values.iter(txn).unwrap() {
            let (key, value) = entry.unwrap();
            let (kind, sub) = match key[2] {
                // Of a table, whichever it is, or the training.
                LSH => (LSH, u8::from(key[3] == u8::MAX)),
                kind @ (IVF | FIELDS | CODES) => (kind, key[3]),
                _ => continue,
            };
            let byte = (value.len() - 4) / 2;
            targets.insert((kind, sub), Target { kind, sub, key: key.to_vec(), byte, bit: 3 });
        }
    });
    let of = |kind: u8| targets.keys().filter(|(of, _)| *of == kind).count();
    assert_eq!([IVF, LSH, FIELDS].map(of), [5, 2, 2], "sorts of values");
    (patient, targets.into_values().collect())
}

fn fields() -> [Field; 2] {
    [Field::keyword("tag"), Field::integer("n")]
}

/// Lists and tables of hashes follow from the vectors, and the values of fields from the records:
/// the message said to restore a backup.
#[test]
fn values_of_kinds_and_of_fields_are_made_anew_as_the_error_says() {
    let (patient, targets) = of_kinds();
    for target in targets {
        let folder = patient.damaged(&target);
        let index =
            Keyed::<Euclidean>::open(folder.path(), Options::default().map_size_bytes(64 << 20))
                .unwrap();
        assert!(!index.check().unwrap().is_empty(), "{target:?}");
        let copy = folder.path().join("copy");
        let message = index.copy_to(&copy).unwrap_err().to_string();
        let kind = if target.kind == IVF { IndexKind::Ivf } else { IndexKind::Lsh };
        let (remedy, result) = match target.kind {
            CODES => (
                "set_codes".to_owned(),
                index.write(|batch| {
                    batch.set_codes(None)?;
                    batch.set_codes(Some(Codes::Bits8))
                }),
            ),
            FIELDS => (
                "in FIELDS, drop_field and add_field".to_owned(),
                index.write(|batch| {
                    ["tag", "n"].into_iter().try_for_each(|name| batch.drop_field(name))?;
                    fields().into_iter().try_for_each(|field| batch.add_field(field))
                }),
            ),
            _ => (
                format!("in {}, drop_kind and add_kind", kind.to_string().to_uppercase()),
                index.write(|batch| {
                    assert!(batch.drop_kind(kind)? && batch.add_kind(kind)?);
                    Ok(())
                }),
            ),
        };
        assert!(message.contains(&remedy) && message.contains("checksum"), "{message}");
        result.unwrap_or_else(|error: voisin::Error| panic!("{target:?}: {error}"));
        assert_eq!(index.check().unwrap(), [], "{target:?}");
        index.copy_to(&copy).unwrap();
        let found = index.search(5).kind(kind).by_vector(&patient.vectors[&7]).unwrap();
        assert_eq!(found.nns[0], (7, 0.0), "{target:?}");
        assert!(contents(&index).unwrap() == patient.vectors, "{target:?}");
    }
}
