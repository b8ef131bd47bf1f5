//! `voisin search`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use serde::Serialize;
use serde_json::Value;
use voisin::{AnyKey, AnyMetric, Filter, Index, Options, Query, Searchable, Searched, Strategy};

use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::keys::{self, Key, Named as _, given};
use crate::place::{Place, on_index, size};
use crate::record::{self, Record};
use crate::rows::{Shape, read_all};
use crate::ui::Ui;

/// Find the items nearest to vectors, the nearest first.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true),
    after_help = "Examples:
  voisin search notes --item 17 -k 5
  voisin search notes --vector 0.1,0.9,0.3 --exact
  voisin search notes --file queries.npy --recall 0.95 --json"
)]
pub(crate) struct Search {
    #[command(flatten)]
    place: Place,
    /// The vector: numbers with commas or spaces between them
    #[arg(long, group = "what", value_name = "NUMBERS", allow_hyphen_values = true)]
    vector: Option<String>,
    /// An item, whose neighbors are searched for
    #[arg(long, group = "what", value_name = "KEY")]
    item: Option<String>,
    /// A file of vectors, or - for the standard input
    #[arg(long, group = "what", value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    how: How,
    /// Print the vectors of the items, too
    #[arg(long)]
    with_vectors: bool,
    /// Print the records of the items, too
    #[arg(long)]
    with_records: bool,
    /// Tell what each way to answer costs (with --vector)
    #[arg(long, requires = "vector")]
    explain: bool,
    /// The memory that searches should make do with, such as 512M
    #[arg(long, value_name = "BYTES", value_parser = size)]
    memory: Option<u64>,
}

/// How to search.
#[derive(Debug, Args)]
struct How {
    /// The number of items to find
    #[arg(short, default_value_t = 10, value_name = "N")]
    k: usize,
    /// The effort: how many candidates a search of the graph expands
    #[arg(long, value_name = "N", conflicts_with_all = ["recall", "exact"])]
    ef: Option<usize>,
    /// The recall to reach on average, in place of an effort, such as 0.95
    #[arg(long, value_name = "SHARE", conflicts_with = "exact")]
    recall: Option<f64>,
    /// Compare with every vector
    #[arg(long)]
    exact: bool,
    /// Only items no farther than this
    #[arg(long, value_name = "DISTANCE", allow_hyphen_values = true)]
    within: Option<f32>,
    /// Search without the quantized codes of the index
    #[arg(long)]
    no_codes: bool,
    /// Only items whose keys begin so (an index of texts)
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Only these items: give it again for each
    #[arg(long, value_name = "KEY")]
    candidate: Vec<String>,
    /// Not these items: give it again for each
    #[arg(long, value_name = "KEY")]
    exclude: Vec<String>,
    /// End each search after this time, with what it has found
    #[arg(long, value_name = "MS")]
    deadline_ms: Option<u64>,
}

impl Search {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let options =
            self.memory.map_or_else(Options::default, |bytes| Options::default().memory(bytes));
        let index = self.place.read_with(options)?;
        on_index!(&index, index => self.answer(ui, index))
    }

    fn answer<K>(&self, ui: &mut Ui, index: &Index<AnyMetric, K>) -> Result<()>
    where
        K: Key + ?Sized,
        Index<AnyMetric, K>: Searchable<Key = K>,
    {
        let how = &self.how;
        let names = |texts: &[String]| -> Result<Option<Filter<K>>> {
            if texts.is_empty() {
                return Ok(None);
            }
            let names: Vec<K::Owned> =
                texts.iter().map(|text| given::<K>(text)).collect::<Result<_>>()?;
            Ok(Some(K::filter(names)?))
        };
        let (candidates, excluded) = (names(&how.candidate)?, names(&how.exclude)?);
        let prefix = how.prefix.as_deref().map(K::prefix).transpose()?;
        if prefix.is_some() && candidates.is_some() {
            return Err(Failure::usage("--prefix and --candidate together: give one of them"));
        }
        let candidates = candidates.or(prefix);
        let cancel = interrupt::is_requested;
        let mut query = index.search(how.k);
        how.set(&mut query, &cancel);
        if let Some(candidates) = &candidates {
            query.candidates(candidates);
        }
        if let Some(excluded) = &excluded {
            query.exclude(excluded);
        }
        if self.with_vectors {
            query.with_vectors();
        }
        if self.with_records {
            query.with_records();
        }
        let answers = interrupt::asking(|| self.ask(ui, index, &query))?;
        if interrupt::is_requested() {
            return Err(Failure::interrupted("interrupted: the answers are not complete"));
        }
        let is_many = answers.len() > 1;
        for (number, answer) in answers.into_iter().enumerate() {
            self.show::<K>(ui, number, answer, is_many)?;
        }
        Ok(())
    }

    /// The answer to each query.
    fn ask<K>(
        &self,
        ui: &mut Ui,
        index: &Index<AnyMetric, K>,
        query: &Query<'_, Index<AnyMetric, K>>,
    ) -> Result<Vec<Searched<K::Owned>>>
    where
        K: Key + ?Sized,
        Index<AnyMetric, K>: Searchable<Key = K>,
    {
        if let Some(item) = &self.item {
            let name = given::<K>(item)?;
            let found = query.by_item(name)?;
            return found.map(|found| vec![found]).ok_or_else(|| missing(item));
        }
        if let Some(file) = &self.file {
            let rows = read_all(file, &self.shape, index.dimensions())?;
            return Ok(query.by_vectors(&rows)?);
        }
        let vector = numbers(self.vector.as_deref().unwrap_or_default())?;
        if self.explain {
            let explained = query.explain(&vector)?;
            if !ui.is_json {
                ui.line(&explained)?;
            }
            return Ok(vec![explained.answer]);
        }
        Ok(vec![query.by_vector(&vector)?])
    }

    fn show<K: Key + ?Sized>(
        &self,
        ui: &mut Ui,
        number: usize,
        answer: Searched<K::Owned>,
        is_many: bool,
    ) -> Result<()> {
        let Searched { nns, vectors, records, timed_out, strategy, has_more, .. } = &answer;
        let (mut vectors, mut records) = (vectors.iter(), records.iter());
        let named = nns.iter().map(|(name, distance)| (name.clone().any(), *distance));
        if ui.is_json {
            let neighbor = |(key, distance): (AnyKey, f32)| Neighbor {
                key: keys::json(&key),
                distance,
                vector: vectors.next().map(Vec::as_slice),
                record: Record::of(records.next().and_then(Option::as_deref)),
            };
            return ui.json(&Answer {
                query: number,
                neighbors: named.map(neighbor).collect(),
                strategy: name_of(*strategy),
                exact: strategy.is_exact(),
                timed_out: *timed_out,
                has_more: *has_more,
                distances: answer.distances,
                estimates: answer.estimates,
                lists: answer.lists,
                pending: answer.pending,
            });
        }
        if is_many {
            ui.line(format_args!("query {number}"))?;
        }
        for (rank, (key, distance)) in (1..).zip(named) {
            let vector = vectors.next().map_or(String::new(), |vector| format!("  {vector:?}"));
            let record = records.next().and_then(Option::as_deref).map(record::text);
            let record = record.map_or(String::new(), |record| format!("  {record}"));
            let (distance, key) = (figure(distance), keys::text(&key));
            ui.line(format_args!("{rank:>4}  {distance:>12}  {key}{vector}{record}"))?;
        }
        if *timed_out {
            ui.note("the deadline has ended the search: these are the nearest seen so far");
        }
        Ok(())
    }
}

/// The answer to a query, for a program.
#[derive(Serialize)]
struct Answer<'a> {
    query: usize,
    neighbors: Vec<Neighbor<'a>>,
    strategy: &'static str,
    exact: bool,
    timed_out: bool,
    has_more: bool,
    distances: u64,
    estimates: u64,
    lists: u64,
    pending: u64,
}

#[derive(Serialize)]
struct Neighbor<'a> {
    key: Value,
    distance: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<&'a [f32]>,
    #[serde(flatten)]
    record: Record<'a>,
}

/// A distance in six digits.
fn figure(distance: f32) -> String {
    let size = distance.abs();
    if size == 0.0 || (1e-4..1e6).contains(&size) {
        format!("{distance:.6}")
    } else {
        format!("{distance:.5e}")
    }
}

fn name_of(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Graph => "graph",
        Strategy::All => "all",
        Strategy::Candidates => "candidates",
        _ => "other",
    }
}

/// There is no such item.
pub(super) fn missing(key: &str) -> Failure {
    Failure::no(format!("there is no item {key:?}: voisin list prints the keys of all items"))
}

/// The numbers of a vector in the command line.
fn numbers(text: &str) -> Result<Vec<f32>> {
    let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
    let words = inner.split(|c: char| c == ',' || c.is_whitespace());
    let words = words.filter(|word| !word.is_empty());
    let number = |word: &str| {
        word.parse::<f32>().map_err(|_| {
            Failure::usage(format!("--vector: {word:?} is no number: give such as 0.1,0.9,0.3"))
        })
    };
    words.map(number).collect()
}

impl How {
    fn set<'q, S>(&self, query: &mut Query<'q, S>, cancel: &'q (dyn Fn() -> bool + Sync))
    where
        S: Searchable,
    {
        query.cancel(cancel).codes(!self.no_codes);
        if let Some(ef) = self.ef {
            query.ef_search(ef);
        }
        if let Some(recall) = self.recall {
            query.recall(recall);
        }
        if self.exact {
            query.exact();
        }
        if let Some(radius) = self.within {
            query.within(radius);
        }
        if let Some(deadline) = self.deadline_ms {
            query.deadline(Duration::from_millis(deadline));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_has_commas_or_spaces() {
        assert_eq!(numbers("0.5, 1 -2").unwrap(), [0.5, 1.0, -2.0]);
        assert_eq!(numbers("[0.5,1e3]").unwrap(), [0.5, 1000.0]);
        assert!(numbers("0.5,x").unwrap_err().to_string().contains("\"x\""));
    }
}
