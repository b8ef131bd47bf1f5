//! `voisin bench`.
//!
//! Recall is measured against an exact search for the same queries. Given queries are searched for
//! as they are. Without them, items are: for recall they are taken out of the graph, in memory, as
//! the engine's `measure_recall` does; for speed their vectors are the queries.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use voisin::{AnyIndex, AnyMetric, Index, Searchable, Snapshot};

use super::export::{create, finish};
use crate::chart::{Line, curves};
use crate::failure::{Failure, Result};
use crate::interrupt::{self, complete_at, has_parent};
use crate::keys::Key;
use crate::measure::{EFFORTS, ENOUGH, Queries, Truth, in_one_call, one_by_one};
use crate::place::{Place, threads};
use crate::rows::{Shape, read_all};
use crate::ui::{Bar, Ui, number, table, time};

/// Measure recall and speed on your own data, over a range of effort.
///
/// Nothing is changed. Give queries that are not in the index, with --queries; without them, items
/// of the index are the queries.
#[derive(Debug, Args)]
#[command(after_help = "Example: voisin bench notes --queries queries.npy --svg notes.svg")]
pub(crate) struct Bench {
    #[command(flatten)]
    place: Place,
    /// A file of queries
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    #[command(flatten)]
    shape: Shape,
    /// How many items are queries, if none are given
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = some())]
    sample: u32,
    /// The number of neighbors
    #[arg(short, default_value_t = 10, value_name = "N", value_parser = some())]
    k: u32,
    /// The efforts, with commas between them; from 10 up by factors of 1.4 unless given
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    ef: Vec<usize>,
    /// The number of threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = threads)]
    threads: usize,
    /// How often to measure: the median counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = some())]
    rounds: u32,
    /// Search without the quantized codes of the index
    #[arg(long)]
    no_codes: bool,
    /// Draw the curve into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// At least one.
fn some() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

/// What was measured at one effort, or exactly.
struct Point {
    ef: Option<usize>,
    recall: f64,
    speeds: Vec<f64>,
    median: Duration,
    slow: Duration,
    distances: f64,
    estimates: f64,
}

impl Point {
    /// The median of all rounds.
    fn speed(&self) -> f64 {
        let mut speeds = self.speeds.clone();
        speeds.sort_unstable_by(f64::total_cmp);
        speeds.get(speeds.len() / 2).copied().unwrap_or(0.0)
    }
}

impl Bench {
    /// Whether it writes a picture.
    pub(crate) fn draws(&self) -> bool {
        self.svg.is_some()
    }

    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let index = self.place.read()?;
        if index.is_empty()? {
            return Err(Failure::usage(format!(
                "the index {:?} is empty: load vectors first",
                index.name()
            )));
        }
        self.svg.as_deref().map_or(Ok(()), has_parent)?;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build();
        let pool = pool.map_err(|error| {
            Failure::environment(format!("could not start {} threads ({error})", self.threads))
        })?;
        let bar = ui.bar();
        let points = interrupt::asking(|| {
            pool.install(|| match &index {
                AnyIndex::Ids(index) => {
                    let snapshot = index.snapshot()?;
                    let ids: Vec<u32> = snapshot.ids()?.iter().collect();
                    let queries = self.queries(index, ids, |id| snapshot.vector(*id))?;
                    self.measure(index, &snapshot, &queries, &bar)
                }
                AnyIndex::Numbers(index) => {
                    let snapshot = index.snapshot()?;
                    let keys = snapshot.keys()?.collect::<voisin::Result<Vec<u64>>>()?;
                    let queries = self.queries(index, keys, |key| snapshot.vector(key))?;
                    self.measure(index, &snapshot, &queries, &bar)
                }
                AnyIndex::Texts(index) => {
                    let snapshot = index.snapshot()?;
                    let keys = snapshot.keys()?.collect::<voisin::Result<Vec<String>>>()?;
                    let queries = self.queries(index, keys, |key| snapshot.vector(key))?;
                    self.measure(index, &snapshot, &queries, &bar)
                }
            })
        });
        bar.finish();
        let points = points?;
        // The picture last: the figures have taken long, and can be drawn again.
        self.show(ui, &index, &points)?;
        let Some(file) = &self.svg else { return Ok(()) };
        let svg = self.draw(&index, &points);
        complete_at(file, |part| {
            let mut picture = create(part, file)?;
            let written = picture.write_all(svg.as_bytes());
            written.map_err(|error| Failure::io("write", file, &error))?;
            finish(picture, file)
        })
    }

    /// The given queries, or items from all over the index.
    fn queries<K: Key + ?Sized>(
        &self,
        index: &Index<AnyMetric, K>,
        names: Vec<K::Owned>,
        vector: impl Fn(&K::Owned) -> voisin::Result<Option<Vec<f32>>>,
    ) -> Result<Queries> {
        let dimensions = index.dimensions();
        if let Some(file) = &self.queries {
            let rows = read_all(file, &self.shape, dimensions)?;
            let count = rows.len() / dimensions.max(1);
            if count == 0 {
                let file = file.display();
                return Err(Failure::usage(format!("{file} has no queries: give at least one")));
            }
            return Ok(Queries { rows, count });
        }
        let count = names.len().min(self.sample as usize);
        let mut rows = Vec::with_capacity(count * dimensions);
        for at in 0..count {
            let Some(name) = names.get(at * names.len() / count) else { continue };
            rows.extend(vector(name)?.unwrap_or_default());
        }
        Ok(Queries { rows, count })
    }

    /// Exact searches first, then every effort in turn, and all of that again for each round.
    fn measure<K>(
        &self,
        index: &Index<AnyMetric, K>,
        snapshot: &Snapshot<AnyMetric, K>,
        queries: &Queries,
        bar: &Bar,
    ) -> Result<Vec<Point>>
    where
        K: Key + ?Sized,
        Snapshot<AnyMetric, K>: Searchable<Key = K>,
        Index<AnyMetric, K>: Searchable<Key = K>,
    {
        snapshot.warm(u64::MAX)?;
        let cancel = interrupt::is_requested;
        let mut exact = snapshot.search(self.k as usize);
        exact.exact().cancel(&cancel).codes(!self.no_codes);
        bar.spin("exact search");
        let (speed, answers) = in_one_call::<K, _>(&exact, queries)?;
        let truth = Truth::new(answers);
        let few = Queries { rows: queries.rows.clone(), count: queries.count };
        let (median, slow) = one_by_one::<K, _>(&exact, &few, index.dimensions())?;
        let (distances, estimates) = (f64::NAN, f64::NAN);
        let mut points = Vec::new();
        let scan = Point {
            ef: None,
            recall: 1.0,
            speeds: vec![speed],
            median,
            slow,
            distances,
            estimates,
        };
        let efforts = if self.ef.is_empty() { &EFFORTS[..] } else { &self.ef };
        let total = efforts.len() as u64 * u64::from(self.rounds);
        let mut done = 0;
        for round in 0..self.rounds {
            for (at, ef) in efforts.iter().enumerate() {
                bar.show("measuring", done, Some(total), None);
                done += 1;
                if round > 0 {
                    let Some(point) = points.get_mut(at) else { break };
                    let mut query = snapshot.search(self.k as usize);
                    query.ef_search(*ef).walk_graph().cancel(&cancel).codes(!self.no_codes);
                    let point: &mut Point = point;
                    point.speeds.push(in_one_call::<K, _>(&query, queries)?.0);
                    continue;
                }
                let point = self.first(index, snapshot, (queries, &truth), *ef)?;
                let recall = point.recall;
                points.push(point);
                if self.ef.is_empty() && recall >= ENOUGH {
                    break;
                }
            }
        }
        points.push(scan);
        Ok(points)
    }

    /// The first round at an effort, which tells recall and costs, too.
    fn first<K>(
        &self,
        index: &Index<AnyMetric, K>,
        snapshot: &Snapshot<AnyMetric, K>,
        (queries, truth): (&Queries, &Truth<K::Owned>),
        ef: usize,
    ) -> Result<Point>
    where
        K: Key + ?Sized,
        Snapshot<AnyMetric, K>: Searchable<Key = K>,
        Index<AnyMetric, K>: Searchable<Key = K>,
    {
        let cancel = interrupt::is_requested;
        let mut query = snapshot.search(self.k as usize);
        query.ef_search(ef).walk_graph().cancel(&cancel).codes(!self.no_codes);
        let (speed, answers) = in_one_call::<K, _>(&query, queries)?;
        let (median, slow) = one_by_one::<K, _>(&query, queries, index.dimensions())?;
        let recall = match self.queries {
            Some(_) => truth.recall(&answers),
            None => query.measure_recall(self.sample)?.mean,
        };
        let count = answers.len().max(1) as f64;
        let distances = answers.iter().map(|answer| answer.distances).sum::<u64>() as f64 / count;
        let estimates = answers.iter().map(|answer| answer.estimates).sum::<u64>() as f64 / count;
        let (ef, speeds) = (Some(ef), vec![speed]);
        Ok(Point { ef, recall, speeds, median, slow, distances, estimates })
    }

    fn show(&self, ui: &mut Ui, index: &AnyIndex, points: &[Point]) -> Result<()> {
        if ui.is_json {
            return points.iter().try_for_each(|point| {
                let costs = |cost: f64| Some(cost).filter(|cost| cost.is_finite());
                ui.json(&json!({
                    "index": index.name(), "k": self.k, "threads": self.threads,
                    "ef": point.ef, "exact": point.ef.is_none(), "recall": point.recall,
                    "queries_per_second": point.speed(), "rounds": point.speeds,
                    "median_us": point.median.as_secs_f64() * 1e6,
                    "p99_us": point.slow.as_secs_f64() * 1e6,
                    "distances": costs(point.distances), "estimates": costs(point.estimates),
                }))
            });
        }
        let recall = format!("recall@{}", self.k);
        let heads = ["ef", &recall, "queries/s", "one: median", "p99", "distances", "estimates"];
        let mut rows = vec![heads.map(str::to_owned).to_vec()];
        for point in points {
            let cost = |cost: f64| {
                if cost.is_finite() { number(cost.round() as u64) } else { String::new() }
            };
            rows.push(vec![
                point.ef.map_or("exact".to_owned(), |ef| ef.to_string()),
                format!("{:.4}", point.recall),
                number(point.speed().round() as u64),
                time(point.median),
                time(point.slow),
                cost(point.distances),
                cost(point.estimates),
            ]);
        }
        ui.line(table(&rows, &[0, 1, 2, 3, 4, 5, 6]))?;
        let threads = crate::ui::count(self.threads as u64, "thread", "threads");
        let queries = match &self.queries {
            Some(file) => format!("the queries of {}", file.display()),
            None => format!("{} items as queries", self.sample),
        };
        ui.line(format_args!(
            "\n{queries}, {threads}; queries/s with all queries in one call, the median of {} \
             rounds; costs are the mean of a query",
            self.rounds
        ))
    }

    fn draw(&self, index: &AnyIndex, points: &[Point]) -> String {
        let points = points.iter().filter_map(|point| {
            let speed = point.speed();
            let ef = point.ef?;
            let label =
                format!("ef {ef}, recall {:.4}, {} q/s", point.recall, number(speed as u64));
            Some((point.recall, speed, label))
        });
        let name = match self.no_codes {
            true => format!("{} without codes", index.name()),
            false => index.name().to_owned(),
        };
        let title = format!("{}: {} of {} dimensions", name, index.metric(), index.dimensions());
        let line = Line { name, points: points.collect() };
        let across = format!("recall@{}", self.k);
        let upward = match self.threads {
            1 => "queries per second, one thread".to_owned(),
            threads => format!("queries per second, {threads} threads"),
        };
        curves(&title, (&across, 1.0), &upward, &[line])
    }
}
