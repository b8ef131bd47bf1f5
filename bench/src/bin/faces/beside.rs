//! Measures a writer that commits single items while another thread links many.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use voisin::Options;
use voisin_bench::data::DataSet;
use voisin_bench::report::{Report, median};

use crate::{DIMENSIONS, Places, Vectors};

/// The time between two commits.
const PAUSE: Duration = Duration::from_millis(20);
/// The number of commits without concurrent work, which measure the time of one.
const ALONE: u32 = 200;

/// Milliseconds of a commit of one item, which links nothing: after the concurrent build it would
/// link the items that were added meanwhile, which is work and not a wait.
fn commit(index: &Vectors, set: &DataSet, item: u32) -> f64 {
    let start = Instant::now();
    let add = |batch: &mut voisin::Batch<'_, _>| {
        batch.link_later();
        batch.add(item, set.row(item % 1000))
    };
    index.write(add).expect("a commit");
    start.elapsed().as_secs_f64() * 1e3
}

pub(crate) fn beside(places: &Places, report: &mut Report) {
    println!("commits of single items beside a build of 100 000; in milliseconds");
    let folder = tempfile::tempdir_in(&places.indexes).expect("a folder");
    let index = Vectors::create(
        folder.path().join("beside"),
        Options::new(DIMENSIONS).ef_construction(200),
    )
    .expect("an index");
    let set = DataSet::photos(&places.data);
    let items = set.rows().len() as u32;
    let load = |batch: &mut voisin::Batch<'_, _>| {
        batch.link_later();
        batch.add_items_from((0..).zip(set.rows()))
    };
    index.write(load).expect("a load");
    let is_linked = AtomicBool::new(false);
    let mut beside = Vec::new();
    let seconds = thread::scope(|scope| {
        let linking = scope.spawn(|| {
            let start = Instant::now();
            index.link().expect("a build");
            is_linked.store(true, Ordering::SeqCst);
            start.elapsed().as_secs_f64()
        });
        while !is_linked.load(Ordering::SeqCst) {
            beside.push(commit(&index, &set, items + beside.len() as u32));
            thread::sleep(PAUSE);
        }
        linking.join().expect("a build")
    });
    let pending = index.stats().expect("statistics").pending;
    let first = items + beside.len() as u32;
    let alone: Vec<f64> = (first..first + ALONE).map(|item| commit(&index, &set, item)).collect();
    let (longest, own) = (beside.iter().copied().fold(0.0, f64::max), median(alone));
    println!(
        "  {} commits in {seconds:.1} s, median {:.2}; alone {own:.2}; {pending} items were left \
         pending",
        beside.len(),
        median(beside.clone())
    );
    report.at_most("longest wait of a commit beside a build, milliseconds", longest - own, 50.0);
    assert!(index.check().expect("a check").is_empty());
}
