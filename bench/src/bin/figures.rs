//! Measures voisin alone and beside hannoy: recall, queries per second, build time, bytes on disk.
//! See the README of this crate.
//!
//! Exits non-zero when a goal is missed.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use voisin::distances::{Cosine, Euclidean};
use voisin_bench::curve::{Point, qps_at};
use voisin_bench::data::DataSet;
use voisin_bench::engines::{Hannoy, Searcher, Voisin};
use voisin_bench::report::Report;

const K: usize = 10;
const EFS: [usize; 9] = [20, 30, 40, 60, 80, 120, 160, 240, 320];
const ROUNDS: usize = 3;

/// The goals for one set of vectors.
struct Goals {
    recall: [(usize, f64); 3],
    /// Queries per second at this recall, as a multiple of hannoy's.
    search: (f64, f64),
    build: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(folder) = arguments.iter().find(|a| !a.starts_with("--")).map(PathBuf::from) else {
        eprintln!("usage: figures FOLDER_OF_DATA [--alone] [--only-photos | --only-glosses]");
        return ExitCode::FAILURE;
    };
    let alone = arguments.iter().any(|a| a == "--alone");
    let only = |set: &str| {
        !arguments.iter().any(|a| a.starts_with("--only-") && a != &format!("--only-{set}"))
    };
    let mut report = Report::default();
    if only("photos") {
        let goals = Goals {
            recall: [(40, 0.960), (80, 0.987), (160, 0.996)],
            search: (0.96, 6.0),
            build: 4.0,
        };
        run::<Euclidean, hannoy::distances::Euclidean>(
            &DataSet::photos(&folder),
            &goals,
            alone,
            &mut report,
        );
    }
    if only("glosses") {
        let goals = Goals {
            recall: [(40, 0.975), (80, 0.991), (160, 0.997)],
            search: (0.975, 4.0),
            build: 4.0,
        };
        run::<Cosine, hannoy::distances::Cosine>(
            &DataSet::glosses(&folder),
            &goals,
            alone,
            &mut report,
        );
    }
    report.finish()
}

fn run<D: voisin::distances::Distance, H: hannoy::Distance>(
    set: &DataSet,
    goals: &Goals,
    alone: bool,
    report: &mut Report,
) {
    println!("{}", set.name);
    let count = set.rows().len() as f64;
    let raw = set.base.len() as f64 * 4.0;

    let start = Instant::now();
    let voisin = Voisin::<D>::build(set, false);
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "  voisin: added, built, committed in {seconds:.1} s ({:.1} s of it building)",
        voisin.build_seconds
    );
    let two = Voisin::<D>::build(set, true);
    for (name, bytes, goal) in [
        ("file, one transaction, bytes", voisin.file_bytes(), raw * 1.25 + 260.0 * count),
        ("file, two transactions, bytes", two.file_bytes(), raw * 1.25 + 260.0 * count),
        ("fresh compacted copy, bytes", voisin.compacted_bytes(), raw * 1.03 + 230.0 * count),
    ] {
        println!(
            "  {name}: raw x {:.4}, raw + {:.1} B a vector",
            bytes as f64 / raw,
            (bytes as f64 - raw) / count
        );
        report.at_most(name, bytes as f64, goal);
    }
    drop(two);

    let mut curves = vec![sweep::<D>(set, &voisin)];
    for (ef, goal) in goals.recall {
        let found =
            curves[0].iter().find(|point| point.knob == ef).expect("a point of the sweep").recall;
        report.at_least(&format!("recall@10 at ef {ef}"), found, goal);
    }
    if alone {
        print_curve("voisin", &curves[0]);
        return;
    }

    let start = Instant::now();
    let hannoy = Hannoy::<H>::build(set);
    let hannoy_seconds = start.elapsed().as_secs_f64();
    println!("  hannoy: added, built, committed in {hannoy_seconds:.1} s");
    report.at_least(
        "build with durable commit, times hannoy's speed",
        hannoy_seconds / seconds,
        goals.build,
    );
    curves.push(sweep::<D>(set, &hannoy));
    for _ in 1..ROUNDS {
        for (curve, searcher) in curves.iter_mut().zip([&voisin as &dyn Searcher, &hannoy]) {
            for (point, again) in curve.iter_mut().zip(sweep::<D>(set, searcher)) {
                point.qps = point.qps.max(again.qps);
            }
        }
    }
    for (name, curve) in ["voisin", "hannoy"].iter().zip(&curves) {
        print_curve(name, curve);
    }
    let (recall, goal) = goals.search;
    let [ours, theirs] = [&curves[0], &curves[1]].map(|curve| qps_at(curve, recall).unwrap_or(0.0));
    println!("  at recall {recall}: voisin {ours:.0} q/s, hannoy {theirs:.0} q/s");
    report.at_least(
        &format!("search at recall {recall}, times hannoy's speed"),
        ours / theirs,
        goal,
    );
}

fn print_curve(name: &str, curve: &[Point]) {
    let points: Vec<String> =
        curve.iter().map(|p| format!("{} {:.4} {:.0}", p.knob, p.recall, p.qps)).collect();
    println!("  {name}: ef, recall, q/s: {}", points.join(" | "));
}

fn sweep<D: voisin::distances::Distance>(set: &DataSet, searcher: &dyn Searcher) -> Vec<Point> {
    searcher.search(set, K, EFS[0]);
    EFS.iter()
        .map(|&ef| {
            let start = Instant::now();
            let answers = searcher.search(set, K, ef);
            let qps = answers.len() as f64 / start.elapsed().as_secs_f64();
            Point { knob: ef, recall: set.recall::<D>(&answers, K), qps }
        })
        .collect()
}
