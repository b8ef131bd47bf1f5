//! `voisin import`: takes over the items of an index of hannoy or arroy.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::json;
use voisin::heed::types::Bytes;
use voisin::heed::{
    CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, MdbError, RoTxn, WithoutTls,
};
use voisin::{
    AnyIndex, AnyMetric, Error, Import as Source, Index, ItemId, LoadPhase, SourceDefect,
    VectorDefect,
};

use super::create::{Parameters, Type};
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::place::{Means, Place};
use crate::ui::{Ui, count, path, time};

/// The maximum number of named databases in the environment.
const MAX_DATABASES: u32 = 4096;

/// A database and its name; the unnamed one has none.
type Named<'e> = (Option<String>, Database<'e, Bytes, Bytes>);

/// Take over the items of an index of hannoy (0.1 to 0.3) or arroy (0.5 to 0.9) into a new index.
///
/// The source is not changed. Vectors are taken over bit for bit, under their ids and their metric;
/// the graph is built anew.
#[derive(Debug, Args)]
#[command(after_help = "Example: voisin import notes old-environment --codes fast")]
pub(crate) struct Import {
    #[command(flatten)]
    place: Place,
    /// The folder of the LMDB environment, or its data file
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// The name of the database in the environment; the only one with such an index unless given
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// The number of the index in the database
    #[arg(long, value_name = "N", default_value_t = 0)]
    number: u16,
    /// Leave out zero vectors where the metric is cosine, which refuses them
    #[arg(long)]
    skip_zero: bool,
    /// How components are stored: f32, f16, bf16 or i8
    #[arg(long, value_name = "FORM")]
    form: Option<String>,
    #[command(flatten)]
    parameters: Parameters,
    #[command(flatten)]
    means: Means,
}

impl Import {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let began = Instant::now();
        let env = open(&self.source)?;
        let databases = self.databases(&env)?;
        // Later than the databases were opened, or LMDB does not know them in it.
        let rtxn = env.read_txn().map_err(|error| self.unreadable(error))?;
        let (name, database) = self.choose(&rtxn, databases)?;
        let source = Source::open(&rtxn, self.number, database)?;
        let kind =
            Type { metric: Some(source.metric().to_owned()), form: self.form.clone(), names: None };
        let kind = kind.any().ok_or_else(|| Failure::usage("the source has no metric"))?;
        self.verify(&source)?;
        let options = self.parameters.options(source.dimensions());
        let options = self.means.add_to(self.place.options(options));
        let index = AnyIndex::create(&self.place.path, &kind, options)?;
        let AnyIndex::Ids(ids) = &index else {
            return Err(Failure::usage("the new index does not name its items by ids"));
        };
        let loaded = interrupt::asking(|| self.feed(ui, &source, ids));
        let (loaded, skipped) = match loaded {
            Ok(done) => done,
            Err(failure) => {
                // It was made by this command, and has nothing yet.
                let name = index.name().to_owned();
                if index.is_empty().unwrap_or(false) {
                    drop(index);
                    let options = voisin::Options::default().name(name);
                    _ = voisin::remove_index(&self.place.path, options);
                }
                return Err(failure);
            }
        };
        let took = began.elapsed();
        let value = json!({
            "imported": loaded, "skipped": skipped, "database": name, "number": self.number,
            "metric": index.metric(), "dimensions": index.dimensions(),
            "seconds": took.as_secs_f64(), "index": index.name(), "folder": path(index.path()),
        });
        ui.result(&value, || {
            let skipped = match skipped {
                0 => String::new(),
                _ => format!(", {} left out", count(skipped, "zero vector", "zero vectors")),
            };
            format!(
                "imported {} of {} dimensions ({}) in {}{skipped}",
                count(loaded, "vector", "vectors"),
                index.dimensions(),
                index.metric(),
                time(took)
            )
        })
    }

    /// Reads all items once, so that one that cannot be taken over is told before the new index is
    /// made.
    fn verify(&self, source: &Source<'_>) -> Result<()> {
        let refuses_zero = source.metric() == "cosine" && !self.skip_zero;
        for item in source.items()? {
            let (item, vector) = item?;
            if refuses_zero && vector.iter().all(|component| *component == 0.0) {
                let error = Error::InvalidItem { item, defect: VectorDefect::ZeroNorm };
                return Err(zero(&error));
            }
        }
        Ok(())
    }

    /// Loads the items. Returns how many, and how many were left out.
    fn feed(&self, ui: &Ui, source: &Source<'_>, index: &Index<AnyMetric>) -> Result<(u64, u64)> {
        let bar = ui.bar();
        let stop = super::load::Stop::default();
        let skips = self.skip_zero && source.metric() == "cosine";
        let mut skipped = 0;
        let items =
            source.items()?.map_while(|item| item.map_err(|error| stop.fail(error.into())).ok());
        let items = items.filter(|(_, vector): &(ItemId, Vec<f32>)| {
            let is_left_out = skips && vector.iter().all(|component| *component == 0.0);
            skipped += u64::from(is_left_out);
            !is_left_out
        });
        let loader = index.loader().progress(|progress| {
            interrupt::ask(progress.phase != LoadPhase::Reading);
            bar.load(progress);
        });
        let loader = loader.cancel(|| interrupt::is_requested() || stop.is_failed());
        let loaded = loader.load(items);
        match (stop.take_failure(), loaded) {
            (Some(failure), _) => Err(failure),
            (None, Err(Error::Cancelled)) => {
                Err(Failure::interrupted("interrupted: nothing is imported, run it again"))
            }
            (None, Err(error @ Error::InvalidItem { .. })) => Err(zero(&error)),
            (None, loaded) => Ok((loaded?, skipped)),
        }
    }

    fn unreadable(&self, error: voisin::heed::Error) -> Failure {
        unreadable(&self.source, error)
    }

    /// The database of the given name, or all of the environment.
    fn databases<'e>(&self, env: &'e Env<WithoutTls>) -> Result<Vec<Named<'e>>> {
        let unreadable = |error| self.unreadable(error);
        if let Some(name) = &self.database {
            let database = database(env, Some(name)).map_err(unreadable)?;
            let database = database.ok_or_else(|| {
                Failure::usage(format!(
                    "there is no database {name:?} in {}: give the name that hannoy or arroy were \
                     given",
                    self.source.display()
                ))
            })?;
            return Ok(vec![(Some(name.clone()), database)]);
        }
        let Some(main) = database(env, None).map_err(unreadable)? else {
            return Err(self.none());
        };
        let mut names = Vec::new();
        let rtxn = env.read_txn().map_err(unreadable)?;
        for entry in main.iter(&rtxn).map_err(unreadable)? {
            // The names of databases are keys of the unnamed one, among its own keys.
            let (key, _) = entry.map_err(unreadable)?;
            let name = std::str::from_utf8(key).ok().filter(|name| !name.contains('\0'));
            names.extend(name.map(str::to_owned));
        }
        drop(rtxn);
        let mut databases = vec![(None, main)];
        for name in names {
            let found = database(env, Some(&name)).map_err(unreadable)?;
            databases.extend(found.map(|database| (Some(name), database)));
        }
        Ok(databases)
    }

    /// The only database with such an index.
    fn choose<'e>(&self, rtxn: &RoTxn<'_>, databases: Vec<Named<'e>>) -> Result<Named<'e>> {
        let first = databases.first().map(|(_, database)| *database);
        let is_source =
            |(_, database): &Named<'_>| Source::open(rtxn, self.number, *database).is_ok();
        let mut found: Vec<Named<'_>> = databases.into_iter().filter(is_source).collect();
        match (found.pop(), &found[..]) {
            (Some(only), []) => Ok(only),
            (Some((last, _)), others) => {
                let names = others.iter().map(|(name, _)| name).chain([&last]);
                let names: Vec<&str> =
                    names.map(|name| name.as_deref().unwrap_or("(unnamed)")).collect();
                Err(Failure::usage(format!(
                    "several databases in {} have an index {}: give one of {names:?} (--database)",
                    self.source.display(),
                    self.number
                )))
            }
            // The error of the given or the unnamed one tells why, unless it is just not there.
            (None, _) => match first.map(|first| Source::open(rtxn, self.number, first)) {
                Some(Err(Error::InvalidSource { defect: SourceDefect::Missing, .. }))
                | Some(Ok(_))
                | None => Err(self.none()),
                Some(Err(error)) => Err(error.into()),
            },
        }
    }

    fn none(&self) -> Failure {
        Failure::usage(format!(
            "no database of {} has an index {} of hannoy or arroy: give its database and number \
             (--database, --number)",
            self.source.display(),
            self.number
        ))
    }
}

fn zero(error: &Error) -> Failure {
    Failure::usage(format!("{error}; --skip-zero leaves zero vectors out"))
}

fn unreadable(path: &Path, error: voisin::heed::Error) -> Failure {
    match Failure::from(Error::from(error)) {
        Failure::Told { exit, message } => {
            Failure::Told { exit, message: format!("{}: {message}", path.display()) }
        }
        other => other,
    }
}

/// Opens an environment to read it.
fn open(path: &Path) -> Result<Env<WithoutTls>> {
    if !path.exists() {
        let path = path.display();
        return Err(Failure::environment(format!("there is nothing at {path}: check the path")));
    }
    // Checks the length of the file, which LMDB would read beyond its end.
    voisin::inspect(path)?;
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    let is_file = path.is_file();
    let flags =
        EnvFlags::READ_ONLY | if is_file { EnvFlags::NO_SUB_DIR } else { EnvFlags::empty() };
    // SAFETY: nothing is written, and what is read is copied while the transaction is open; the
    // flags disable nothing that LMDB needs. The user must ensure that the file is changed only
    // through LMDB (`docs/how-to-lose-data.md`).
    let opened = unsafe { options.max_dbs(MAX_DATABASES).flags(flags).open(path) };
    opened.map_err(|error| unreadable(path, error))
}

/// A database of the environment, if there is one of this name that has plain values.
fn database<'e>(
    env: &'e Env<WithoutTls>,
    name: Option<&str>,
) -> voisin::heed::Result<Option<Database<'e, Bytes, Bytes>>> {
    let opened = env.open_databases_and_commit(env.read_txn()?, |opener, txn| {
        match opener.open_database::<Bytes, Bytes>(txn, name) {
            Err(voisin::heed::Error::Mdb(MdbError::Incompatible)) => Ok(None),
            opened => opened,
        }
        .map(CommitOrAbort::<_, ()>::Commit)
    })?;
    Ok(opened.commit().flatten())
}
