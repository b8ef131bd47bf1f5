//! Copies: a backup of damaged data is worse than none.

use std::fs;

use voisin::distances::Euclidean;
use voisin::heed::types::Bytes;
use voisin::heed::{self, Database, DatabaseFlags, EnvOpenOptions, IntegerComparator};
use voisin::{Codes, Error, Index, Options, Writer};

use super::{Keyed, Patient, Target, is_corrupt, options};

/// The copy had what was damaged, and every later one; the last good backup was rotated away.
#[test]
fn nothing_is_copied_that_is_damaged() {
    let patient = Patient::new::<Euclidean>(options().codes(Codes::Bits8).codes_from(1));
    let open = |folder: &std::path::Path| {
        Keyed::<Euclidean>::open(folder, Options::default().map_size_bytes(64 << 20)).unwrap()
    };
    for target in patient.targets(1) {
        let folder = patient.damaged(&target);
        let error = open(folder.path()).copy_to(folder.path().join("copy")).unwrap_err();
        assert!(is_corrupt(&error), "{target:?}: {error}");
        let left: Vec<_> = fs::read_dir(folder.path().join("copy")).into_iter().flatten().collect();
        assert!(left.is_empty(), "{target:?}: {left:?}");
    }
    // The magic bytes by which the metadata is known, and the catalog's.
    let meta = Target { kind: 0, sub: 0, key: vec![0; 8], byte: 3, bit: 1 };
    let folder = patient.damaged(&meta);
    assert!(is_corrupt(&open(folder.path()).copy_to(folder.path().join("copy")).unwrap_err()));

    let folder = patient.damaged(&Target { byte: 0, bit: 0, ..meta.clone() });
    super::raw(folder.path(), |txn, values| {
        super::flip(txn, values, &Target { byte: 0, bit: 0, ..meta })
    });
    let index = open(folder.path());
    assert!(index.copy_to(folder.path().join("copy")).unwrap() > 0, "what was mended is copied");
    let copy = open(&folder.path().join("copy"));
    assert_eq!(super::contents(&copy).unwrap(), patient.vectors);
    assert!(copy.check().unwrap().is_empty());
}

/// An environment of the caller's has other databases: of any bytes, with duplicates, with numbers
/// for keys. None of them is ours to judge, and all are in the copy.
#[test]
fn databases_of_others_are_copied_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = EnvOpenOptions::new();
    options.map_size(64 << 20).max_dbs(8);
    // SAFETY: a folder of this test, which nothing else has open.
    let env = unsafe { options.open(folder.path()) }.unwrap();
    let wtxn = env.write_txn().unwrap();
    let databases = env
        .create_databases_and_commit(wtxn, |opener, wtxn| -> heed::Result<_> {
            let mut create = |name, flags| {
                let mut options = opener.database_options().types::<Bytes, Bytes>();
                options.name(name).flags(flags).create(wtxn)
            };
            let ours = create("ours", DatabaseFlags::empty())?;
            let plain = create("plain", DatabaseFlags::empty())?;
            let many = create("many", DatabaseFlags::DUP_SORT | DatabaseFlags::DUP_FIXED)?;
            let mut numbers = opener
                .database_options()
                .types::<Bytes, Bytes>()
                .key_comparator::<IntegerComparator>();
            let numbers = numbers.name("numbers").create(wtxn)?;
            Ok(heed::CommitOrAbort::<_, ()>::Commit(((ours, plain), (numbers, many))))
        })
        .unwrap()
        .unwrap_commit();
    let ((ours, plain), (numbers, many)) = databases;
    let ours: voisin::Database<'_, Euclidean> = ours.remap_types();
    let writer = Writer::<Euclidean>::new(ours, 7, 2);
    let mut wtxn = env.write_txn().unwrap();
    for item in 0..3000u32 {
        writer.add_item(&mut wtxn, item, &[item as f32, 1.0]).unwrap();
        let bytes = u64::from(item).to_ne_bytes();
        numbers.put(&mut wtxn, &bytes, &[7; 5]).unwrap();
        many.put(&mut wtxn, b"one", &bytes).unwrap();
        plain.put(&mut wtxn, &item.to_be_bytes(), &vec![1; item as usize % 50 * 100]).unwrap();
    }
    wtxn.commit().unwrap();
    let copy = |name: &str| voisin::copy_to(&env, folder.path().join(name));
    copy("whole").unwrap();

    // Of ours, one bit is one too many.
    let raw: Database<'_, Bytes, Bytes> = ours.remap_types();
    let mut wtxn = env.write_txn().unwrap();
    let (key, mut value) = raw
        .iter(&wtxn)
        .unwrap()
        .nth(1)
        .map(|entry| entry.unwrap())
        .map(|(k, v)| (k.to_vec(), v.to_vec()))
        .unwrap();
    value[3] ^= 1;
    raw.put(&mut wtxn, &key, &value).unwrap();
    wtxn.commit().unwrap();
    let error = copy("damaged").unwrap_err();
    assert!(matches!(&error, Error::Corrupt { key, .. } if key.index == 7), "{error}");
    let mut wtxn = env.write_txn().unwrap();
    writer.clear(&mut wtxn).unwrap();
    wtxn.commit().unwrap();
    copy("cleared").unwrap();
    assert!(
        Index::<Euclidean>::open(folder.path().join("cleared"), Options::default()).is_err(),
        "not a folder of an Index"
    );
}
