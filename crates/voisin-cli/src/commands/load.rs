//! `voisin load`: streams rows into an index.
//!
//! Rows go from the reader to the engine's loader one by one (`feed`). A row that cannot be read
//! ends the load as Ctrl-C does, and its error is reported.

mod feed;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use voisin::{AnyIndex, AnyMetric, AnyTenant, Error, LoadPhase, Loader, Options};

pub(super) use self::feed::Stop;
use self::feed::{Feed, Keys};
use super::create::{Parameters, Type};
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::place::{Means, Place};
use crate::rows::{Begun, Columns, Lines, Shape, Wanted};
use crate::tenant::tenant;
use crate::ui::{Bar, Ui, count, path, time};

/// Add the vectors of a file or a pipe, or replace those of the same keys.
///
/// All of it is one commit, or, with --memory or --commit-every, several: what is committed stays
/// if the load ends early, and the same load again goes on where it was.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  voisin load notes vectors.npy
  voisin load notes vectors.f16 --metric cosine --dimensions 384
  voisin load papers papers.parquet --field year:integer --columns title,year
  voisin load notes acme.jsonl --tenant acme
  embed < texts | voisin load notes - --format jsonl")]
pub(crate) struct Load {
    #[command(flatten)]
    place: Place,
    /// The file of vectors, or - for the standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    shape: Shape,
    /// Add them to this tenant, by their keys there (an index of texts or bytes)
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// A file with the keys of the vectors, one a line, where the vectors have none
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// A file with the records of the vectors, one a line, where the vectors have none
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
    /// Keep these fields or columns in the records, as members of a JSON object; those that have
    /// the name of a field of the index are kept without being named
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    columns: Vec<String>,
    /// Keep all fields and columns that have no other place in the records
    #[arg(long, conflicts_with = "only_vectors")]
    all_columns: bool,
    /// The id of the first vector, where the vectors have none: the next has the next number
    #[arg(long, value_name = "N", default_value_t = 0)]
    first_id: u64,
    /// Commit after every N items
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    commit_every: Option<u64>,
    /// Number the items by locality at the end
    #[arg(long)]
    optimize: bool,
    /// With --metric, a missing index is created: its dimensions, if the vectors do not tell them
    #[arg(long, short, value_name = "N")]
    dimensions: Option<usize>,
    #[command(flatten)]
    kind: Type,
    #[command(flatten)]
    parameters: Parameters,
    #[command(flatten)]
    means: Means,
}

impl Load {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let began = Instant::now();
        let existing = self.existing()?;
        // An index that exists tells the dimensions; the input tells those of a new one.
        let dimensions = existing.as_ref().map(AnyIndex::dimensions).or(self.dimensions);
        let fields = match &existing {
            Some(index) => index.fields()?,
            None => self.parameters.fields.clone(),
        };
        let columns = Columns { all: self.all_columns, named: self.columns.clone(), fields };
        let wanted = Wanted { shape: self.shape.clone(), dimensions, columns };
        let rows = Begun::open(&self.file, wanted)?;
        let keys = match &self.keys {
            Some(file) => Keys::Lines(Lines::open(file)?),
            None => Keys::From(self.first_id),
        };
        let records = self.records.as_deref().map(Lines::open).transpose()?;
        let is_new = existing.is_none();
        let index = match existing {
            Some(index) => index,
            None => self.create(rows.dimensions.or(dimensions))?,
        };
        let before = index.len()?;
        let bar = ui.bar();
        let stop = Stop::default();
        let feed = Feed::new(rows, keys, records, &stop);
        let tenant = self.tenant.as_deref().map(|name| tenant(&index, name)).transpose();
        let loaded = tenant.and_then(|tenant| {
            // Its progress says from when on it asks.
            let loaded = interrupt::waiting(|| self.load(&index, tenant.as_ref(), feed, &bar));
            match (stop.take_failure(), loaded) {
                (Some(failure), _) => Err(failure),
                (None, Err(Error::Cancelled)) => Err(ended(&index, before)),
                (None, loaded) => loaded.map_err(Failure::from),
            }
        });
        bar.finish();
        if loaded.is_err() && is_new {
            // The next load may have another metric, or other fields. The first failure is told.
            _ = index.remove_if_empty();
        }
        let loaded = loaded?;
        self.told(ui, &index, loaded, began.elapsed())
    }

    /// Loads the rows, under their keys or, into a tenant, under those that it makes of them.
    fn load(
        &self,
        index: &AnyIndex,
        tenant: Option<&AnyTenant>,
        feed: Feed<'_>,
        bar: &Bar,
    ) -> voisin::Result<u64> {
        let stop = feed.stop;
        match (tenant, index) {
            (Some(AnyTenant::Texts(tenant)), _) => {
                let rows = feed.of::<str>().under(|key| tenant.key(key));
                self.prepare(tenant.of().loader(), bar, stop).load_given(rows)
            }
            (Some(AnyTenant::Bytes(tenant)), _) => {
                let rows = feed.of::<[u8]>().under(|key| tenant.key(key));
                self.prepare(tenant.of().loader(), bar, stop).load_given(rows)
            }
            (None, AnyIndex::Ids(ids)) => {
                self.prepare(ids.loader(), bar, stop).load_given(feed.of::<u32>())
            }
            (None, AnyIndex::Numbers(numbers)) => {
                self.prepare(numbers.loader(), bar, stop).load_given(feed.of::<u64>())
            }
            (None, AnyIndex::Texts(texts)) => {
                self.prepare(texts.loader(), bar, stop).load_given(feed.of::<str>())
            }
            (None, AnyIndex::Bytes(bytes)) => {
                self.prepare(bytes.loader(), bar, stop).load_given(feed.of::<[u8]>())
            }
            (None, AnyIndex::Uuids(uuids)) => {
                self.prepare(uuids.loader(), bar, stop).load_given(feed.of::<[u8; 16]>())
            }
        }
    }

    /// The index, if there is one, with the type that was asked for.
    fn existing(&self) -> Result<Option<AnyIndex>> {
        let options = self.means.add_to(Options::default());
        let index = match self.place.try_open(options) {
            Ok(index) => index,
            Err(Error::MissingEnvironment { .. } | Error::MissingName { .. })
                if self.kind.metric.is_some() =>
            {
                return Ok(None);
            }
            Err(error @ (Error::MissingEnvironment { .. } | Error::MissingName { .. })) => {
                let told = self.place.explain(error);
                return Err(Failure::environment(format!(
                    "{told}, or give --metric to create it with this load"
                )));
            }
            Err(error) => return Err(error.into()),
        };
        let kind = self.kind.clone().or_of(&index);
        let dimensions = self.dimensions.unwrap_or_else(|| index.dimensions());
        let options = self.parameters.options(dimensions).name(index.name());
        let options = self.means.add_to(self.place.options(options).name(index.name()));
        Ok(Some(AnyIndex::open_or_create(index.path(), &kind, options)?))
    }

    fn create(&self, dimensions: Option<usize>) -> Result<AnyIndex> {
        let (Some(kind), Some(dimensions)) = (self.kind.any(), dimensions) else {
            return Err(Failure::usage(
                "the input has no vector that tells the dimensions of the new index: give \
                 --dimensions",
            ));
        };
        let options = self.means.add_to(self.place.options(self.parameters.options(dimensions)));
        Ok(AnyIndex::open_or_create(&self.place.path, &kind, options)?)
    }

    fn prepare<'a, K: ?Sized>(
        &self,
        mut loader: Loader<'a, AnyMetric, K>,
        bar: &'a Bar,
        stop: &'a Stop,
    ) -> Loader<'a, AnyMetric, K> {
        if let Some(items) = self.commit_every {
            loader = loader.commit_every(items);
        }
        loader
            .optimize(self.optimize)
            .progress(|progress| {
                // The input may let it wait for ever, and nothing is lost by ending at once.
                interrupt::ask(progress.phase != LoadPhase::Reading);
                bar.load(progress);
            })
            .cancel(|| interrupt::is_requested() || stop.is_failed())
    }

    fn told(&self, ui: &mut Ui, index: &AnyIndex, loaded: u64, took: Duration) -> Result<()> {
        let items = index.len()?;
        let value = json!({
            "loaded": loaded, "items": items, "seconds": took.as_secs_f64(), "index": index.name(),
            "folder": path(index.path()), "dimensions": index.dimensions(),
        });
        ui.result(&value, || {
            let (name, dimensions, took) = (index.name(), index.dimensions(), time(took));
            let loaded = count(loaded, "vector", "vectors");
            let items = count(items, "item", "items");
            format!("loaded {loaded} of {dimensions} dimensions in {took}: {name} has {items}")
        })
    }
}

/// What is left of a load that was interrupted.
fn ended(index: &AnyIndex, before: u64) -> Failure {
    let after = index.len().unwrap_or(before);
    let message = if after == before {
        "interrupted: nothing of this load is committed, run it again".to_owned()
    } else {
        format!(
            "interrupted: {} more items are committed and can be searched; the same load again \
             goes on, and voisin repair links what is pending",
            after - before
        )
    };
    Failure::interrupted(message)
}
