//! The cost of a change if the codes of a node's neighbors are stored beside its edges, in one row
//! a node as in SymphonyQG (Gou et al. 2025), and if every code is stored once, as here: one item
//! added, and one deleted, each in a commit of its own. Figures of decision 0020.
//!
//! The rows are in LMDB, under their numbers: vector, 32 edges, and for each of them a code of a
//! bit a component and 12 bytes of factors. A change of the rows gets the neighbors for free: only
//! its reads, computations and writes are counted. The cost of the index is that of the whole
//! change, including the search for neighbors.
#![allow(clippy::expect_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;
use voisin::distances::{Cosine, Distance, Euclidean};
use voisin::heed::types::{Bytes, U32};
use voisin::heed::{self, PutFlags, byteorder::BigEndian};
use voisin::{Codes, Database, Reader, Writer};
use voisin_bench::data::DataSet;
use voisin_bench::engines;
use voisin_bench::report::median;
use voisin_bench::usage::{cpu_seconds, written_bytes};

const M: usize = 16;
const M0: usize = 32;
const EF_CONSTRUCTION: usize = 200;
const FACTOR_BYTES: usize = 12;
/// The number of changes of each kind.
const CHANGES: usize = 100;

const SETS: [&str; 3] = ["photos", "glosses", "million"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, wanted) = match &*arguments {
        [folder] => (PathBuf::from(folder), None),
        [folder, set] if SETS.contains(&&**set) => (PathBuf::from(folder), Some(&**set)),
        _ => {
            eprintln!("usage: rows FOLDER_OF_DATA [{}]", SETS.join("|"));
            return ExitCode::FAILURE;
        }
    };
    println!(
        "| set | what | added: processor, ms | written, KB | deleted: processor, ms | written, \
         KB |\n|---|---|---|---|---|---|"
    );
    for set in SETS.into_iter().filter(|set| wanted.is_none_or(|wanted| wanted == *set)) {
        match set {
            "glosses" => compare::<Cosine>(set, &DataSet::glosses(&folder), Codes::Bits4),
            "million" => {
                compare::<Euclidean>(set, &DataSet::photos(&folder).enlarged(10), Codes::Bits8)
            }
            _ => compare::<Euclidean>(set, &DataSet::photos(&folder), Codes::Bits8),
        }
    }
    ExitCode::SUCCESS
}

fn compare<D: Distance>(name: &str, set: &DataSet, codes: Codes) {
    let folder = TempDir::new().expect("a folder");
    let env = engines::open(folder.path());
    let index = Index::<D> { database: engines::create(&env), env: &env, set };
    index.commit(|writer, wtxn| {
        writer
            .add_items_from(wtxn, set.rows().enumerate().map(|(row, vector)| (row as u32, vector)))
            .expect("valid items");
        writer.set_codes(wtxn, Some(codes)).expect("a metric that can have codes");
    });
    let degree = index.degree();
    let added: Vec<Added<'_>> = set
        .query_rows()
        .take(CHANGES)
        .zip(set.rows().len() as u32..)
        .map(|(vector, item)| Added { item, vector, near: index.near(vector, M0) })
        .collect();
    let of_index = [
        costs(&added, |added| {
            index.commit(|writer, wtxn| {
                writer.add_item(wtxn, added.item, added.vector).expect("a valid item")
            })
        }),
        costs(&added, |added| {
            index.commit(|writer, wtxn| {
                assert!(
                    writer.del_item(wtxn, added.item).expect("an item that is there"),
                    "it was added"
                )
            });
        }),
    ];
    print(name, &format!("codes once, {codes}"), of_index);

    let folder = TempDir::new().expect("a folder");
    let env = engines::open(folder.path());
    let rows = Rows { database: engines::create(&env), env: &env, dimensions: set.dimensions };
    rows.fill(set);
    // The average degree here, and the maximum degree, which SymphonyQG always fills.
    for changed in [degree, M0] {
        let of_rows = [
            costs(&added, |added| rows.add(added, changed)),
            costs(&added, |added| rows.delete(added, changed)),
        ];
        print(name, &format!("codes beside the edges, {changed} rows changed"), of_rows);
    }
}

/// An item that is added, and deleted again.
struct Added<'a> {
    item: u32,
    vector: &'a [f32],
    /// The nearest items, as many as the maximum degree.
    near: Vec<u32>,
}

/// Processor time in milliseconds, and bytes written.
type Cost = (f64, f64);

/// The median cost of the changes.
fn costs(added: &[Added<'_>], mut change: impl FnMut(&Added<'_>)) -> Cost {
    let written = || written_bytes(Path::new("/proc/self/io")).expect("Linux") as f64;
    let cost = |added| {
        let before = (cpu_seconds(), written());
        change(added);
        (1e3 * (cpu_seconds() - before.0), written() - before.1)
    };
    let (times, bytes) = added.iter().map(cost).unzip();
    (median(times), median(bytes))
}

fn print(set: &str, what: &str, [added, deleted]: [Cost; 2]) {
    println!(
        "| {set} | {what} | {:.2} | {:.0} | {:.2} | {:.0} |",
        added.0,
        added.1 / 1e3,
        deleted.0,
        deleted.1 / 1e3
    );
}

struct Index<'a, D: Distance> {
    env: &'a heed::Env,
    database: Database<'a, D>,
    set: &'a DataSet,
}

impl<D: Distance> Index<'_, D> {
    fn commit(&self, change: impl FnOnce(&Writer<'_, D>, &mut heed::RwTxn<'_>)) {
        let writer = Writer::new(self.database, 0, self.set.dimensions);
        let mut wtxn = self.env.write_txn().expect("a transaction");
        change(&writer, &mut wtxn);
        let mut rng = StdRng::seed_from_u64(42);
        writer
            .builder(&mut rng)
            .ef_construction(EF_CONSTRUCTION)
            .build_with(&mut wtxn, M, M0)
            .expect("a build");
        wtxn.commit().expect("a commit");
    }

    /// The average degree of the base layer.
    fn degree(&self) -> usize {
        let rtxn = self.env.read_txn().expect("a transaction");
        let stats = Reader::<D>::open(&rtxn, 0, self.database)
            .expect("a reader")
            .stats(&rtxn, self.env)
            .expect("numbers");
        let base = stats.layers.first().expect("a base layer");
        (base.edges() / base.nodes) as usize
    }

    fn near(&self, vector: &[f32], count: usize) -> Vec<u32> {
        let rtxn = self.env.read_txn().expect("a transaction");
        let reader = Reader::<D>::open(&rtxn, 0, self.database).expect("a reader");
        let found = reader.nns(count).by_vector(&rtxn, vector).expect("an answer");
        found.nns.into_iter().map(|(item, _)| item).collect()
    }
}

struct Rows<'a> {
    env: &'a heed::Env,
    database: heed::Database<'a, U32<BigEndian>, Bytes>,
    dimensions: usize,
}

impl Rows<'_> {
    fn code_bytes(&self) -> usize {
        self.dimensions.div_ceil(8) + FACTOR_BYTES
    }

    fn new_row(&self, vector: &[f32]) -> Vec<u8> {
        let mut row: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
        row.resize(row.len() + M0 * (size_of::<u32>() + self.code_bytes()), 0);
        row
    }

    fn fill(&self, set: &DataSet) {
        let mut wtxn = self.env.write_txn().expect("a transaction");
        for (number, vector) in set.rows().enumerate() {
            self.database
                .put_with_flags(
                    &mut wtxn,
                    PutFlags::APPEND,
                    &(number as u32),
                    &self.new_row(vector),
                )
                .expect("a put");
        }
        wtxn.commit().expect("a commit");
    }

    fn row(&self, rtxn: &heed::RoTxn<'_>, number: u32) -> Vec<u8> {
        self.database.get(rtxn, &number).expect("a get").expect("a row that is there").to_vec()
    }

    /// Redirects an edge of a row to another item, whose vector it needs. Vectors count as rotated
    /// already.
    fn set_edge(&self, row: &mut [u8], place: usize, to: u32, other: &[u8]) {
        let (own, edges) = row.split_at_mut(size_of::<f32>() * self.dimensions);
        let (numbers, codes) = edges.split_at_mut(M0 * size_of::<u32>());
        numbers.as_chunks_mut().0[place] = to.to_le_bytes();
        let code = &mut codes[place * self.code_bytes()..][..self.code_bytes()];
        code.fill(0);
        let (mut square, mut magnitude) = (0.0, 0.0);
        for (i, (own, other)) in own.as_chunks().0.iter().zip(other.as_chunks().0).enumerate() {
            let residual = f32::from_le_bytes(*other) - f32::from_le_bytes(*own);
            code[i / 8] |= u8::from(residual > 0.0) << (i % 8);
            square += residual * residual;
            magnitude += residual.abs();
        }
        let factors = code.len() - FACTOR_BYTES;
        code[factors..factors + 4].copy_from_slice(&square.to_le_bytes());
        code[factors + 4..factors + 8].copy_from_slice(&magnitude.to_le_bytes());
    }

    fn add(&self, added: &Added<'_>, changed: usize) {
        let mut wtxn = self.env.write_txn().expect("a transaction");
        let mut row = self.new_row(added.vector);
        for (place, number) in added.near.iter().enumerate().take(changed) {
            let mut neighbor = self.row(&wtxn, *number);
            self.set_edge(&mut row, place, *number, &neighbor);
            self.set_edge(&mut neighbor, M0 - 1, added.item, &row);
            self.database.put(&mut wtxn, number, &neighbor).expect("a put");
        }
        self.database.put(&mut wtxn, &added.item, &row).expect("a put");
        wtxn.commit().expect("a commit");
    }

    /// Each neighbor gets an edge to another of the neighbors.
    fn delete(&self, added: &Added<'_>, changed: usize) {
        let mut wtxn = self.env.write_txn().expect("a transaction");
        for (number, other) in
            added.near.iter().zip(added.near.iter().cycle().skip(1)).take(changed)
        {
            let (mut neighbor, replacement) = (self.row(&wtxn, *number), self.row(&wtxn, *other));
            self.set_edge(&mut neighbor, M0 - 1, *other, &replacement);
            self.database.put(&mut wtxn, number, &neighbor).expect("a put");
        }
        assert!(self.database.delete(&mut wtxn, &added.item).expect("a delete"), "it was added");
        wtxn.commit().expect("a commit");
    }
}
