//! `voisin search`: what is asked. `shown` prints answers, `streams` has pages and groups.

mod shown;
mod streams;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use voisin::{Filter, IndexKind, Options, Query, Searchable, Searched};

use self::shown::Shown;
use crate::failure::{Failure, Result};
use crate::fields::{Filtered, kind};
use crate::interrupt;
use crate::keys::{Key, given};
use crate::place::{Place, on_index, size};
use crate::rows::{Shape, read_all};
use crate::tenant::{OfTenant, Start, on_tenant};
use crate::ui::Ui;

/// Find the items nearest to vectors, the nearest first.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true),
    after_help = "Examples:
  voisin search notes --item 17 -k 5
  voisin search notes --vector 0.1,0.9,0.3 --exact
  voisin search notes --item 17 --filter '{\"field\": \"tag\", \"eq\": \"news\"}'
  voisin search notes --vector 0.1,0.9,0.3 --tenant acme --with-records
  voisin search notes --vector 0.1,0.9,0.3 --group-by author --per-group 2
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
    #[command(flatten)]
    of_tenant: OfTenant,
    /// Answer page by page, -k items a page (with --vector): "first", and then what the page before
    /// has told
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["item", "file", "explain"])]
    page: Option<String>,
    /// Find the -k nearest groups of items that have one value of this field (with --vector)
    #[arg(long, value_name = "FIELD", conflicts_with_all = [
        "item", "file", "page", "explain", "with_vectors", "with_records",
    ])]
    group_by: Option<String>,
    /// The number of items of a group, at most
    #[arg(long, value_name = "N", default_value_t = 1, requires = "group_by",
          value_parser = clap::value_parser!(u32).range(1..))]
    per_group: u32,
    /// Print the vectors of the items, too
    #[arg(long)]
    with_vectors: bool,
    /// Print the records of the items, too
    #[arg(long)]
    with_records: bool,
    /// Tell what each way to answer costs (with --vector)
    #[arg(long, conflicts_with_all = ["item", "file"])]
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
    /// How many inverted lists a search by the kind ivf probes
    #[arg(long, value_name = "N", conflicts_with_all = ["recall", "exact"])]
    nprobe: Option<usize>,
    /// Parameters by name, such as ef=80 or nprobe=16, with commas between them
    #[arg(long, value_name = "NAME=N,...", conflicts_with = "exact")]
    parameters: Option<String>,
    /// Search by this kind that the index has, in place of the one that costs the least: flat,
    /// hnsw, ivf or lsh
    #[arg(long, value_name = "KIND", value_parser = kind, conflicts_with = "exact")]
    kind: Option<IndexKind>,
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
    #[command(flatten)]
    filtered: Filtered,
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
        let Some(tenant) = self.of_tenant.of(&index)? else {
            return on_index!(&index, index => self.answer(ui, index));
        };
        on_tenant!(&tenant, tenant => self.answer(ui, tenant))?;
        self.of_tenant.note(ui, &tenant)
    }

    fn answer<K: Key + ?Sized>(&self, ui: &mut Ui, searched: &impl Start<Key = K>) -> Result<()> {
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
        let listed: HashSet<K::Owned> =
            how.candidate.iter().map(|text| given::<K>(text)).collect::<Result<_>>()?;
        // Beside a condition, which is resolved to a set of items itself.
        let is_wanted = |name: &K| {
            how.prefix.as_deref().is_none_or(|prefix| name.begins(prefix))
                && (listed.is_empty() || listed.contains(&name.own()))
        };
        let candidates = candidates.or(prefix);
        let cancel = interrupt::is_requested;
        let mut query = searched.start(how.k);
        how.set(&mut query, &cancel)?;
        match (&how.filtered.condition, &candidates) {
            (Some(condition), Some(_)) => {
                query.candidates(condition).filter(&is_wanted);
            }
            (Some(condition), None) => {
                query.candidates(condition);
            }
            (None, Some(candidates)) => {
                query.candidates(candidates);
            }
            (None, None) => {}
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
        let shown = interrupt::asking(|| self.ask(searched, &query))?;
        if interrupt::is_requested() {
            return Err(Failure::interrupted("interrupted: the answers are not complete"));
        }
        shown.print(ui)
    }

    /// The answer to each query.
    fn ask<K: Key + ?Sized, S: Start<Key = K>>(
        &self,
        searched: &S,
        query: &Query<'_, S>,
    ) -> Result<Shown<K::Owned>> {
        if let Some(file) = &self.file {
            let rows = read_all(file, &self.shape, searched.width())?;
            return Ok(Shown::Answers(query.by_vectors(&rows)?));
        }
        if let Some(item) = &self.item {
            let found: Option<Searched<K::Owned>> = query.by_item(given::<K>(item)?)?;
            let missing = || missing(item, &self.of_tenant);
            return found.map(|found| Shown::Answers(vec![found])).ok_or_else(missing);
        }
        let vector = numbers(self.vector.as_deref().unwrap_or_default())?;
        if let Some(page) = &self.page {
            return streams::page(query, &vector, page);
        }
        Ok(match &self.group_by {
            Some(field) => {
                Shown::Groups(query.groups_by_field(&vector, self.per_group as usize, field)?)
            }
            None if self.explain => Shown::Explained(query.explain(&vector)?),
            None => Shown::Answers(vec![query.by_vector(&vector)?]),
        })
    }
}

/// There is no such item.
pub(super) fn missing(key: &str, of: &OfTenant) -> Failure {
    let all = of_all(of);
    Failure::no(format!("there is no item {key:?}: voisin list prints the keys of {all}"))
}

/// What an item could have been of.
pub(super) fn of_all(of: &OfTenant) -> String {
    let Some(name) = &of.tenant else { return "all items".to_owned() };
    format!("the tenant {name:?} (--tenant), if there is one")
}

/// The numbers of a vector in the command line.
pub(super) fn numbers(text: &str) -> Result<Vec<f32>> {
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
    fn set<'q, S>(
        &self,
        query: &mut Query<'q, S>,
        cancel: &'q (dyn Fn() -> bool + Sync),
    ) -> voisin::Result<()>
    where
        S: Searchable,
    {
        query.cancel(cancel).codes(!self.no_codes);
        if let Some(ef) = self.ef {
            query.ef_search(ef);
        }
        if let Some(lists) = self.nprobe {
            query.nprobe(lists);
        }
        if let Some(kind) = self.kind {
            query.kind(kind);
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
        if let Some(parameters) = &self.parameters {
            query.parameters(parameters)?;
        }
        Ok(())
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
