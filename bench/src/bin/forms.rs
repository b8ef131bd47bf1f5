//! The size and the loss of each element type of stored vectors, on real vectors: bytes, the error
//! of a vector, and the recall of exact search against the exact answers of `f32`.
//!
//! Prints the table of the docs (`voisin-kernels/src/codec/table.md`), and exits non-zero when a
//! goal is missed. See the README of this crate.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use std::path::PathBuf;
use std::process::ExitCode;

use voisin::codec::{Bf16, F16, I8};
use voisin::distances::{
    BinaryQuantizedCosine, BinaryQuantizedEuclidean, Cosine, Distance, Euclidean,
};
use voisin::heed::RwTxn;
use voisin::{Codes, Kind, Reader, Writer};
use voisin_bench::data::DataSet;
use voisin_bench::engines::{Hannoy, Searcher, Voisin, open_database};
use voisin_bench::living::Living;
use voisin_bench::report::Report;

const K: usize = 10;
/// One row in this many is in the sample on which an index of bytes is trained.
const SAMPLED: usize = 10;
/// The allowed factor over the expected fraction of the bytes of `f32`.
const SLACK: f64 = 1.04;

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1).map(PathBuf::from) else {
        eprintln!("usage: forms FOLDER_OF_DATA");
        return ExitCode::FAILURE;
    };
    let mut report = Report::default();
    let photos = Forms::of(
        &DataSet::photos(&folder),
        [
            |set| measure::<Euclidean>(set, |_, _| {}),
            |set| measure::<Euclidean<F16>>(set, |_, _| {}),
            |set| measure::<Euclidean<Bf16>>(set, |_, _| {}),
            |set| {
                measure::<Euclidean<I8>>(set, |writer, wtxn| {
                    writer.train(wtxn, &sample(set)).expect("a sample");
                })
            },
            |set| measure::<BinaryQuantizedEuclidean>(set, |_, _| {}),
        ],
    );
    let glosses = Forms::of(
        &DataSet::glosses(&folder),
        [
            |set| measure::<Cosine>(set, |_, _| {}),
            |set| measure::<Cosine<F16>>(set, |_, _| {}),
            |set| measure::<Cosine<Bf16>>(set, |_, _| {}),
            |set| {
                measure::<Cosine<I8>>(set, |writer, wtxn| {
                    writer.train(wtxn, &sample(set)).expect("a sample");
                })
            },
            |set| measure::<BinaryQuantizedCosine>(set, |_, _| {}),
        ],
    );
    println!(
        "| form | bytes a component | largest error of a component | error of a vector, of its \
         length, mean (largest): photos | glosses | recall@10: photos | glosses |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (photos, glosses) in photos.0.iter().zip(&glosses.0) {
        let bytes = photos.bytes as f64 / photos.components as f64;
        let error = |form: &Form| match form.form {
            "signs" => "-".to_owned(),
            _ => format!("{:.5} ({:.5})", form.mean_error, form.largest_error),
        };
        let (name, bound) = match photos.form {
            "f32" => ("`F32`", "0"),
            "f16" => ("`F16`", "1/2048 of it"),
            "bf16" => ("`Bf16`", "1/256 of it"),
            "i8" => ("`I8`", "1/510 of the range"),
            _ => ("`Signs`", "all but its sign"),
        };
        let (of_photos, of_glosses) = (error(photos), error(glosses));
        println!(
            "| {name} | {bytes:.2} | {bound} | {of_photos} | {of_glosses} | {:.4} | {:.4} |",
            photos.recall, glosses.recall
        );
    }
    photos.report(&mut report);
    glosses.report(&mut report);
    one_bit(&DataSet::glosses(&folder), &mut report);
    report.finish()
}

/// Searches by one bit a component: codes with vectors for reranking, and signs without any, as
/// hannoy has them.
fn one_bit(set: &DataSet, report: &mut Report) {
    const EF: usize = 200;
    println!("{}, walks with ef {EF}", set.name);
    let recall = |searcher: &dyn Searcher| set.recall::<Cosine>(&searcher.search(set, K, EF), K);
    let codes = recall(&Voisin::<Cosine>::build_with(set, false, Some(Codes::Bits1)));
    report.at_least("codes of 1 bit, vectors kept: recall@10", codes, 0.95);
    let [ours, theirs] = [
        recall(&Voisin::<BinaryQuantizedCosine>::build(set, false)),
        recall(&Hannoy::<hannoy::distances::BinaryQuantizedCosine>::build(set)),
    ];
    report.at_least("signs alone: recall@10, beside hannoy's", ours, theirs);
}

/// The vectors of a set in each element type, `f32` first.
struct Forms(Vec<Form>);

struct Form {
    set: &'static str,
    form: &'static str,
    components: usize,
    /// The bytes of VECTORS and TAIL, with their keys.
    bytes: u64,
    mean_error: f64,
    largest_error: f64,
    recall: f64,
    saturated: u64,
}

impl Forms {
    fn of(set: &DataSet, forms: [fn(&DataSet) -> Form; 5]) -> Self {
        Self(forms.into_iter().map(|measure| measure(set)).collect())
    }

    fn report(&self, report: &mut Report) {
        let floats = self.0[0].bytes as f64;
        println!("{}", self.0[0].set);
        for Form { form, bytes, recall, saturated, components, .. } in &self.0 {
            let (share, least) = match *form {
                "f32" => (1.0, 1.0),
                "f16" => (0.5, 0.995),
                "i8" => (0.25, 0.97),
                "signs" => (1.0 / 32.0, 0.0),
                _ => (0.5, 0.0),
            };
            report.at_most(
                &format!("{form}: bytes of the vectors, of those of f32"),
                *bytes as f64 / floats,
                share * SLACK,
            );
            report.at_least(&format!("{form}: recall@10 of exact search"), *recall, least);
            if *saturated > 0 {
                println!(
                    "  {form}: {saturated} of {components} components are beyond the range of \
                     the sample"
                );
            }
        }
    }
}

/// Some rows, from all over the set.
fn sample(set: &DataSet) -> Vec<f32> {
    set.rows().step_by(SAMPLED).flatten().copied().collect()
}

fn measure<D: Distance>(
    set: &DataSet,
    prepare: impl FnOnce(&Writer<'_, D>, &mut RwTxn<'_>),
) -> Form {
    let index = Living::<D>::create();
    let database = open_database::<D>(index.env());
    let mut wtxn = index.env().write_txn().expect("a transaction");
    prepare(&Writer::new(database, 0, set.dimensions), &mut wtxn);
    wtxn.commit().expect("a commit");
    index.add(set, &(0..set.rows().len() as u32).map(|row| (row, row)).collect::<Vec<_>>());

    // Before this thread has a transaction.
    let stats = index.stats();
    let rtxn = index.env().read_txn().expect("a transaction");
    let reader = Reader::<D>::open(&rtxn, 0, database).expect("a reader");
    let bytes = stats
        .kinds
        .iter()
        .filter(|kind| matches!(kind.kind, Kind::VECTORS | Kind::TAIL))
        .map(|kind| kind.bytes)
        .sum();
    let error = |(row, stored): (&[f32], Vec<f32>)| {
        let length = |vector: &mut dyn Iterator<Item = f32>| {
            vector.map(|component| f64::from(component).powi(2)).sum::<f64>().sqrt()
        };
        length(&mut row.iter().zip(&stored).map(|(a, b)| a - b)) / length(&mut row.iter().copied())
    };
    let stored = reader.iter(&rtxn).expect("items").map(|entry| entry.expect("an item").1);
    let errors: Vec<f64> = set.rows().zip(stored).map(error).collect();
    let (mean_error, largest_error) = (
        errors.iter().sum::<f64>() / errors.len() as f64,
        errors.iter().copied().fold(0.0, f64::max),
    );
    let answers = reader.nns(K).exact().by_vectors(&rtxn, &set.queries).expect("answers");
    let answers: Vec<Vec<u32>> = answers
        .into_iter()
        .map(|found| found.into_nns().into_iter().map(|(item, _)| item).collect())
        .collect();
    let recall = if D::name().contains("euclidean") {
        set.recall::<Euclidean>(&answers, K)
    } else {
        set.recall::<Cosine>(&answers, K)
    };
    let (components, form, saturated) = (set.base.len(), reader.form(), reader.saturated());
    Form { set: set.name, form, components, bytes, mean_error, largest_error, recall, saturated }
}
