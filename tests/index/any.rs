//! Indexes opened without a type, and `inspect`, which describes a folder.

use std::fs;

use voisin::codec::{Bf16, F16, F32, I8, VectorRef};
use voisin::distances::{
    BinaryQuantizedCosine, BinaryQuantizedEuclidean, BinaryQuantizedManhattan, Cosine, Distance,
    DotProduct, Euclidean, Hamming, Manhattan,
};
use voisin::heed::EnvOpenOptions;
use voisin::heed::types::{Bytes, Str};
use voisin::rand::{SeedableRng, rngs::StdRng};
use voisin::{
    AnyIndex, AnyKey, AnyType, Codes, Error, Index, ItemKey, Names, Options, Responsible, Writer,
    create_database, inspect,
};

const DIMENSIONS: usize = 8;

/// Zeros and ones, which every form can hold.
fn vector(item: u64) -> [f32; DIMENSIONS] {
    std::array::from_fn(|i| ((item.wrapping_mul(0x9E37_79B9) >> (3 * i)) & 1) as f32)
        .map(|value: f32| value)
}

/// One that is not zero.
fn row(item: u64) -> [f32; DIMENSIONS] {
    let mut row = vector(item);
    row[(item % DIMENSIONS as u64) as usize] = 1.0;
    row
}

/// The largest difference of any one component.
#[derive(Debug, Clone)]
enum Chebyshev {}

impl Distance for Chebyshev {
    type Codec = F32;

    const FACTOR: bool = true;

    fn name() -> &'static str {
        "chebyshev"
    }

    fn raw(a: VectorRef<'_, F32>, b: VectorRef<'_, F32>) -> f32 {
        a.iter().zip(b.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    fn factor(vector: VectorRef<'_, F32>) -> f32 {
        1.0 + vector.iter().next().unwrap_or_default()
    }
}

/// An index of ids answers as itself when it is opened without a type.
fn ids<D: Distance>(prepare: impl Fn(&Index<D>)) {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::<D>::create(folder.path(), Options::new(DIMENSIONS)).unwrap();
    prepare(&index);
    index
        .write(|batch| batch.add_items_from((0..300).map(|item| (item, row(item.into())))))
        .unwrap();
    let any = AnyIndex::open(folder.path(), Options::default()).unwrap();
    assert_eq!((any.metric(), any.form()), (D::name(), index.stats().unwrap().form));
    assert_eq!((any.naming(), any.dimensions(), any.len().unwrap()), ("u32 ids", DIMENSIONS, 300));
    assert!(any.is_metric_known() && matches!(any, AnyIndex::Ids(_)));
    for query in [1, 77, 1000].map(row) {
        let expected = index.search(5).by_vector(&query).unwrap().into_nns();
        let expected: Vec<_> =
            expected.into_iter().map(|(item, d)| (AnyKey::from(u64::from(item)), d)).collect();
        assert_eq!(any.search(&query, 5).unwrap().into_nns(), expected, "{}", D::name());
    }
    any.add(1000, &row(1000)).unwrap();
    assert!(any.delete(3).unwrap() && !any.delete(3).unwrap());
    assert_eq!(
        any.vector(1000).unwrap().unwrap(),
        index.snapshot().unwrap().vector(1000).unwrap().unwrap()
    );
    assert_eq!(any.vector(3).unwrap(), None);
    any.optimize().unwrap();
    assert!(any.check().unwrap().is_empty() && index.check().unwrap().is_empty());
}

#[test]
fn every_metric_and_form_opens_without_a_type() {
    fn forms<D32: Distance, D16: Distance, B16: Distance, D8: Distance<Codec = I8>>() {
        ids::<D32>(|_| {});
        ids::<D16>(|_| {});
        ids::<B16>(|_| {});
        ids::<D8>(|index| {
            index.train(&[0.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]).unwrap();
        });
    }
    forms::<Euclidean, Euclidean<F16>, Euclidean<Bf16>, Euclidean<I8>>();
    forms::<Cosine, Cosine<F16>, Cosine<Bf16>, Cosine<I8>>();
    forms::<DotProduct, DotProduct<F16>, DotProduct<Bf16>, DotProduct<I8>>();
    forms::<Manhattan, Manhattan<F16>, Manhattan<Bf16>, Manhattan<I8>>();
    ids::<Hamming>(|_| {});
    ids::<BinaryQuantizedEuclidean>(|_| {});
    ids::<BinaryQuantizedCosine>(|_| {});
    ids::<BinaryQuantizedManhattan>(|_| {});
}

/// An index of keys does what it does when it is opened without a type.
fn keyed<K: ItemKey + ?Sized>(naming: &str, add: impl Fn(&Index<Cosine, K>), keys: [AnyKey; 3]) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(DIMENSIONS).name("keyed").codes(Codes::Bits8);
    let index = Index::<Cosine, K>::create(folder.path(), options).unwrap();
    add(&index);
    let any = AnyIndex::open(folder.path(), Options::default().name("keyed")).unwrap();
    assert_eq!((any.naming(), any.name(), any.len().unwrap()), (naming, "keyed", 2));
    let [first, second, third] = keys;
    assert_eq!(any.keys().unwrap(), [first.clone(), second.clone()]);
    any.add(third.clone(), &row(3)).unwrap();
    assert_eq!(any.search(&row(3), 1).unwrap().into_nns()[0].0, third);
    assert_eq!(any.vector(second).unwrap().unwrap(), row(2));
    assert!(any.delete(first.clone()).unwrap());
    assert_eq!(any.vector(first).unwrap(), None);
    assert!(any.check().unwrap().is_empty());
}

#[test]
fn every_naming_opens_without_a_type() {
    let number = |index: &Index<Cosine, u64>| {
        index.write(|batch| batch.add_items_from([(7u64, row(1)), (1 << 40, row(2))])).unwrap();
    };
    keyed::<u64>("u64 keys", number, [7, 1 << 40, u64::MAX].map(AnyKey::from));
    let text = |index: &Index<Cosine, str>| {
        index.write(|batch| batch.add_items_from([("a", row(1)), ("b", row(2))])).unwrap();
    };
    keyed::<str>("string keys", text, ["a", "b", "c"].map(AnyKey::from));
    let bytes = |index: &Index<Cosine, [u8]>| {
        index.write(|batch| batch.add_items_from([([0xFE], row(1)), ([0xFF], row(2))])).unwrap();
    };
    keyed::<[u8]>("byte keys", bytes, [vec![0xFE], vec![0xFF], vec![0xFF, 0]].map(AnyKey::from));
    let uuid = |index: &Index<Cosine, [u8; 16]>| {
        index.write(|batch| batch.add_items_from([([1; 16], row(1)), ([2; 16], row(2))])).unwrap();
    };
    keyed::<[u8; 16]>("UUID keys", uuid, [[1; 16], [2; 16], [0xFF; 16]].map(AnyKey::from));
}

/// What is created by a value is what is created by a type.
#[test]
fn every_metric_and_form_is_created_by_its_name() {
    let bits =
        ["binary quantized euclidean", "binary quantized cosine", "binary quantized manhattan"];
    let floats = ["euclidean", "cosine", "dot product", "manhattan"];
    let types = floats
        .iter()
        .flat_map(|metric| ["f32", "f16", "bf16", "i8"].map(|form| (*metric, form)))
        .chain(bits.iter().map(|metric| (*metric, "signs")))
        .chain([("hamming", "bits")]);
    let folder = tempfile::tempdir().unwrap();
    for (i, (metric, form)) in types.enumerate() {
        let of = AnyType::new(metric).form(form).names(Names::Numbers);
        let options = || Options::new(DIMENSIONS).name(format!("{metric} {form}"));
        let index = AnyIndex::create(folder.path(), &of, options()).unwrap();
        assert_eq!((index.metric(), index.form(), index.naming()), (metric, form, "u64 keys"));
        if form == "i8" {
            let error = index.add(1, &row(1)).unwrap_err();
            assert!(matches!(error, Error::NotTrained { .. }), "{error}");
            assert!(error.to_string().starts_with(&format!("index \"{metric} i8\" stores")));
            index.train(&row(1).map(|component| 1.5 * component - 0.2)).unwrap();
        } else {
            assert!(matches!(index.train(&row(1)), Err(Error::NoTraining { .. })), "{metric}");
        }
        index.add(i as u64, &row(i as u64)).unwrap();
        let taken = AnyIndex::create(folder.path(), &of, options());
        assert!(matches!(taken, Err(Error::NameTaken { .. })));
        let again = AnyIndex::open_or_create(folder.path(), &of, options()).unwrap();
        assert_eq!(again.len().unwrap(), 1);
        assert_eq!(again.check().unwrap(), []);
    }
    let of = AnyType::new("cosine").names(Names::Texts);
    let options = || Options::new(DIMENSIONS).name("texts");
    AnyIndex::create(folder.path(), &of, options()).unwrap();
    for (names, naming) in [(Names::Bytes, "byte keys"), (Names::Uuids, "UUID keys")] {
        let (of, options) = (of.clone().names(names), Options::new(DIMENSIONS).name(naming));
        assert_eq!(AnyIndex::create(folder.path(), &of, options).unwrap().naming(), naming);
    }
    assert!(Index::<Cosine, str>::open(folder.path(), Options::default().name("texts")).is_ok());
    let other = AnyIndex::open_or_create(folder.path(), &of.names(Names::Ids), options());
    assert!(matches!(other, Err(Error::NamingMismatch { .. })));
}

#[test]
fn a_type_that_does_not_exist_is_refused_with_those_that_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new");
    for of in [AnyType::new("cosin"), AnyType::new("hamming").form("f32")] {
        let error = AnyIndex::create(&path, &of, Options::new(DIMENSIONS)).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, Error::UnknownType { .. }), "{message}");
        assert!(message.contains("\"hamming\" as bits"), "{message}");
        assert!(message.contains("\"cosine\" as f32 or f16 or bf16 or i8"), "{message}");
        assert!(!path.exists());
    }
    // A metric of the caller's can be named.
    let options = || Options::new(DIMENSIONS).metric::<Chebyshev>();
    let index = AnyIndex::create(&path, &AnyType::new("chebyshev"), options()).unwrap();
    index.add(1, &row(1)).unwrap();
    assert_eq!(index.search(&row(1), 1).unwrap().into_nns()[0], (AnyKey::from(1), 0.0));
}

#[test]
fn what_does_not_name_an_item_is_an_error_that_says_what_does() {
    let folder = tempfile::tempdir().unwrap();
    let options = |name: &str| Options::new(DIMENSIONS).name(name);
    Index::<Cosine>::create(folder.path(), options("ids")).unwrap();
    Index::<Cosine, str>::create(folder.path(), options("texts")).unwrap();
    let open = |name: &str| AnyIndex::open(folder.path(), Options::default().name(name));
    let (ids, texts) = (open("ids").unwrap(), open("texts").unwrap());
    for error in [
        ids.add(vec![1], &row(1)).unwrap_err(),
        texts.add([1; 16], &row(1)).unwrap_err(),
        ids.add("a", &row(1)).unwrap_err(),
        ids.add(1 << 32, &row(1)).unwrap_err(),
        ids.delete("a").unwrap_err(),
        texts.add(1, &row(1)).unwrap_err(),
        texts.vector(1).unwrap_err(),
    ] {
        assert!(matches!(&error, Error::NamingMismatch { .. }), "{error}");
        assert_eq!(error.responsible(), Responsible::Caller);
    }
    assert!(ids.is_empty().unwrap() && texts.is_empty().unwrap());
    assert!(
        matches!(open("others").unwrap_err(), Error::MissingName { known, .. } if known.len() == 2)
    );
    let wrong = AnyIndex::open(folder.path(), Options::new(9).name("ids"));
    assert!(matches!(wrong.unwrap_err(), Error::OptionMismatch { option: "dimensions", .. }));
    let read_only = AnyIndex::open_read_only(folder.path(), Options::default().name("ids"));
    assert!(matches!(read_only.unwrap().add(1, &row(1)), Err(Error::ReadOnly { .. })));
}

#[test]
fn an_index_of_an_unknown_metric_can_be_read_and_deleted_from_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::<Chebyshev>::create(folder.path(), Options::new(DIMENSIONS)).unwrap();
    index
        .write(|batch| batch.add_items_from((0..200).map(|item| (item, row(item.into())))))
        .unwrap();
    let any = AnyIndex::open(folder.path(), Options::default()).unwrap();
    assert_eq!((any.metric(), any.form(), any.is_metric_known()), ("chebyshev", "f32", false));
    assert_eq!(any.vector(7).unwrap().unwrap(), row(7));
    assert!(any.check().unwrap().is_empty());
    let AnyIndex::Ids(handle) = &any else { panic!() };
    let refused = [
        any.search(&row(1), 3).map(drop),
        any.add(500, &row(1)),
        any.link(),
        any.optimize(),
        handle.search(3).exact().by_vector(&row(1)).map(drop),
        handle.search(3).by_vectors(&row(1)).map(drop),
        handle.search(3).by_item(7).map(drop),
        handle.load([(500, row(1))], |_| {}).map(drop),
        handle.write(|batch| batch.clear()),
        handle.write(|batch| batch.add_items(&[500], &row(1))),
    ];
    for (number, result) in refused.into_iter().enumerate() {
        let error = result.unwrap_err();
        assert!(
            matches!(&error, Error::UnknownMetric { metric: "chebyshev", .. }),
            "{number}: {error}"
        );
        assert!(error.to_string().contains("Options::metric"), "{error}");
    }
    assert!(any.delete(7).unwrap());
    assert_eq!((any.len().unwrap(), any.stats().unwrap().removed), (199, 1));
    let copy = folder.path().join("copy");
    any.copy_to(&copy).unwrap();
    assert_eq!(AnyIndex::open(&copy, Options::default()).unwrap().len().unwrap(), 199);

    // Told of, it is as any other.
    let known = AnyIndex::open(folder.path(), Options::default().metric::<Chebyshev>()).unwrap();
    assert!(known.is_metric_known());
    known.add(500, &[9.0; DIMENSIONS]).unwrap();
    for query in [row(1), [8.0; DIMENSIONS]] {
        let expected = index.search(3).by_vector(&query).unwrap().into_nns();
        let found = known.search(&query, 3).unwrap().into_nns();
        assert_eq!(
            found.iter().map(|(key, d)| (key.to_string(), *d)).collect::<Vec<_>>(),
            expected.iter().map(|(id, d)| (id.to_string(), *d)).collect::<Vec<_>>()
        );
    }
    assert_eq!(index.stats().unwrap().removed, 0);
    assert!(known.check().unwrap().is_empty() && index.check().unwrap().is_empty());
}

#[test]
fn a_folder_tells_what_indexes_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    let notes = Options::new(3).name("notes").codes(Codes::Bits8);
    let notes = Index::<Cosine<F16>, str>::create(&path, notes).unwrap();
    notes
        .write(|batch| {
            batch.add_items_from((0..1000u16).map(|i| (i.to_string(), [f32::from(i), 1.0, 0.5])))
        })
        .unwrap();
    let own = Index::<Chebyshev>::create(&path, Options::new(5).name("own")).unwrap();
    own.write(|batch| {
        batch.link_later();
        batch.add(1, &[1.0; 5])
    })
    .unwrap();
    // Open in this process, and closed.
    for is_open in [true, false] {
        let found = inspect(&path).unwrap();
        let names: Vec<_> = found.iter().map(|index| index.name.as_deref().unwrap()).collect();
        assert_eq!(names, ["notes", "own"]);
        assert_eq!((found[0].naming, found[1].naming), ("string keys", "u32 ids"));
        let [notes, own] = [0, 1].map(|i| found[i].metadata.clone().unwrap());
        assert_eq!((&*notes.metric, notes.form, notes.dimensions), ("cosine", "f16", 3));
        assert_eq!((notes.codes, notes.items, notes.pending), (Some(Codes::Bits8), 1000, 0));
        assert_eq!((&*own.metric, own.form, own.items, own.pending), ("chebyshev", "f32", 1, 1));
        assert_eq!((notes.connectivity, notes.format_version), (Some((16, 32)), 9));
        assert!(found.iter().all(|index| index.values > 3 && index.bytes > 200), "{is_open}");
        if is_open {
            continue;
        }
    }
    drop((notes, own));
    assert_eq!(inspect(&path).unwrap().len(), 2);
    // The data file for itself, and something that is no environment.
    assert_eq!(inspect(path.join("data.mdb")).unwrap().len(), 2);
    assert!(matches!(
        inspect(folder.path().join("x")),
        Err(Error::MissingEnvironment { .. } | Error::Io { .. })
    ));
    fs::write(path.join("data.mdb"), b"a text").unwrap();
    assert!(matches!(inspect(&path), Err(Error::Truncated { .. } | Error::DamagedFile { .. })));
    // As a process leaves it that is killed while it creates the file.
    std::fs::write(path.join("data.mdb"), []).unwrap();
    assert!(matches!(inspect(&path), Err(Error::MissingEnvironment { .. })));
}

#[test]
fn an_environment_of_somebody_else_tells_what_indexes_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    let mut options = EnvOpenOptions::new();
    // SAFETY: a fresh folder that nobody else opens.
    let env = unsafe { options.map_size(64 << 20).max_dbs(4).open(&path) }.unwrap();
    let vectors = create_database::<Euclidean>(&env, Some("vectors")).unwrap();
    let created = env.create_databases_and_commit(env.write_txn().unwrap(), |opener, wtxn| {
        let tables = opener.create_database::<Str, Bytes>(wtxn, Some("records"));
        tables.map(voisin::heed::CommitOrAbort::<_, ()>::Commit)
    });
    let records = created.unwrap().unwrap_commit();
    let mut wtxn = env.write_txn().unwrap();
    records.put(&mut wtxn, "a key", b"a value").unwrap();
    for index in [2, 700] {
        let writer = Writer::new(vectors, index, DIMENSIONS);
        for item in 0..20 {
            writer.add_item(&mut wtxn, item, &row(item.into())).unwrap();
        }
        let mut rng = StdRng::seed_from_u64(1);
        writer.builder(&mut rng).build::<4, 8>(&mut wtxn).unwrap();
    }
    // One whose metadata another version has written.
    let raw = vectors.remap_types::<Bytes, Bytes>();
    let key = [[0, 2], [0, 0]].concat();
    let (key, value) = raw.prefix_iter(&wtxn, &key).unwrap().next().unwrap().unwrap();
    let (key, mut value) = (key.to_vec(), value.to_vec());
    value[40] ^= 1;
    raw.put(&mut wtxn, &key, &value).unwrap();
    wtxn.commit().unwrap();
    assert!(matches!(inspect(&path), Err(Error::AlreadyOpen { .. })));
    env.prepare_for_closing().wait();

    let found = inspect(&path).unwrap();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found.iter().all(|index| index.database.as_deref() == Some("vectors")));
    assert!(found[0].metadata.as_ref().unwrap_err().contains("checksum"), "{:?}", found[0]);
    let metadata = found[1].metadata.as_ref().unwrap();
    assert_eq!((found[1].index, &*metadata.metric, metadata.items), (700, "euclidean", 20));
    assert_eq!((found[1].name.as_deref(), metadata.connectivity), (None, Some((4, 8))));
}
