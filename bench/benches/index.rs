//! The operations that users feel: search, exact scan, open, add, build; on the text embeddings
//! shipped with `examples/glosses.rs`.
//!
//! `cargo bench -p voisin-bench --bench index`. The figures of the README come from larger data:
//! see `bench/README.md`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use half::f16;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;
use voisin::distances::Cosine;
use voisin::heed::{CommitOrAbort, Env, EnvOpenOptions, WithoutTls};
use voisin::{Database, Index, Options, Reader, Writer};

const DIMENSIONS: usize = 384;

fn vectors(name: &str) -> Vec<f32> {
    let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data").join(name))
        .unwrap();
    bytes.as_chunks().0.iter().map(|pair| f16::from_le_bytes(*pair).to_f32()).collect()
}

fn open(folder: &TempDir) -> Env<WithoutTls> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(1 << 30);
    // SAFETY: a fresh folder that no other program opens.
    unsafe { options.open(folder.path()) }.unwrap()
}

fn create(env: &Env<WithoutTls>) -> Database<'_, Cosine> {
    let wtxn = env.write_txn().unwrap();
    env.create_databases_and_commit(wtxn, |o, wtxn| {
        o.create_database(wtxn, None).map(CommitOrAbort::<_, ()>::Commit)
    })
    .unwrap()
    .unwrap_commit()
}

fn benches(c: &mut Criterion) {
    let (base, queries) = (vectors("glosses-384.f16"), vectors("glosses-384.queries.f16"));
    let ids: Vec<u32> = (0..(base.len() / DIMENSIONS) as u32).collect();
    let folder = tempfile::tempdir().unwrap();
    let env = open(&folder);
    let database = create(&env);
    let writer = Writer::<Cosine>::new(database, 0, DIMENSIONS);

    c.bench_function("add all, without commit", |b| {
        b.iter(|| {
            let mut wtxn = env.write_txn().unwrap();
            writer.add_items(&mut wtxn, &ids, &base).unwrap();
        });
    });
    let mut wtxn = env.write_txn().unwrap();
    writer.add_items(&mut wtxn, &ids, &base).unwrap();
    wtxn.commit().unwrap();

    let mut group = c.benchmark_group("build");
    group.sample_size(10);
    group.bench_function("all, M 16, ef 100, without commit", |b| {
        b.iter(|| {
            let mut wtxn = env.write_txn().unwrap();
            writer.builder(&mut StdRng::seed_from_u64(1)).build::<16, 32>(&mut wtxn).unwrap();
        });
    });
    group.finish();
    let mut wtxn = env.write_txn().unwrap();
    writer.builder(&mut StdRng::seed_from_u64(1)).build::<16, 32>(&mut wtxn).unwrap();
    wtxn.commit().unwrap();
    c.bench_function("add one, build, without commit", |b| {
        b.iter(|| {
            let mut wtxn = env.write_txn().unwrap();
            writer.add_item(&mut wtxn, u32::MAX, &queries[..DIMENSIONS]).unwrap();
            writer.builder(&mut StdRng::seed_from_u64(1)).build::<16, 32>(&mut wtxn).unwrap();
        });
    });

    let rtxn = env.read_txn().unwrap();
    c.bench_function("open a reader", |b| {
        b.iter(|| Reader::<Cosine>::open(&rtxn, 0, database).unwrap())
    });
    let reader = Reader::<Cosine>::open(&rtxn, 0, database).unwrap();
    let mut next = queries.chunks_exact(DIMENSIONS).cycle();
    for ef in [20, 40, 80] {
        c.bench_function(&format!("10 nearest, ef {ef}"), |b| {
            b.iter(|| reader.nns(10).ef_search(ef).by_vector(&rtxn, next.next().unwrap()).unwrap());
        });
    }
    // The same through a handle that looks up the newest commit at each search.
    let index_folder = tempfile::tempdir().unwrap();
    let index =
        Index::<Cosine>::create(index_folder.path(), Options::new(DIMENSIONS).seed(1)).unwrap();
    index.load(ids.iter().copied().zip(base.chunks_exact(DIMENSIONS)), |_| {}).unwrap();
    c.bench_function("10 nearest through an Index, ef 40", |b| {
        b.iter(|| index.search(10).ef_search(40).by_vector(next.next().unwrap()).unwrap());
    });
    c.bench_function("10 nearest, exact", |b| {
        b.iter(|| reader.nns(10).exact().by_vector(&rtxn, next.next().unwrap()).unwrap())
    });
}

criterion_group!(all, benches);
criterion_main!(all);
