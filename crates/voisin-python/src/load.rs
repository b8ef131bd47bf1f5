//! Loads: of a matrix, row by row where it is, and of iterables, which are asked for a few hundred
//! rows at a time.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyIterator};
use voisin::codec::Component;
use voisin::{AnyMetric, LoadPhase, LoadProgress, Loader};

use crate::arguments::wrong_type;
use crate::errors::refused;
use crate::names::{Handle, Name};
use crate::records::{self, Record};
use crate::vectors::{Given, Raw, Shape, given};
use crate::watch::{CancelToken, Watch};
use crate::write::names_for;

/// The number of pairs that are taken from an iterable while attached: about a millisecond.
const ROWS_AHEAD: usize = 256;
/// The least time between two reports of progress in one phase, in milliseconds.
const REPORT_MS: u64 = 100;

/// The options of a load.
pub(crate) struct Load<'py> {
    pub(crate) progress: Option<Bound<'py, PyAny>>,
    pub(crate) optimize: bool,
    pub(crate) commit_every: Option<u64>,
    pub(crate) memory: Option<u64>,
    pub(crate) temp_dir: Option<PathBuf>,
    pub(crate) threads: usize,
    pub(crate) cancel: Option<Bound<'py, CancelToken>>,
}

/// The ids, the column of vectors, and the records.
pub(crate) type Columns<'py> =
    (Option<Bound<'py, PyAny>>, Option<String>, Option<Bound<'py, PyAny>>);

/// What `_sources.py` makes of data: a matrix, its ids and its records, or an iterable of rows.
type Opened<'py> = (
    Option<Bound<'py, PyAny>>,
    Option<Bound<'py, PyAny>>,
    Option<Bound<'py, PyAny>>,
    Option<Bound<'py, PyAny>>,
);

/// Loads whatever was given. Returns the number of items.
pub(crate) fn load<'py, K: Name + ?Sized>(
    index: &Handle<K>,
    data: &Bound<'py, PyAny>,
    (ids, vectors, records): Columns<'py>,
    shape: Shape,
    options: Load<'py>,
) -> PyResult<u64> {
    let py = data.py();
    let watch = Watch::of(&options.cancel);
    let report = Report::new(options.progress.as_ref())?;
    static OPENED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let opened = OPENED.import(py, "voisin._sources", "opened")?;
    let (matrix, ids, records, rows): Opened<'py> =
        opened.call1((data, ids, vectors, records))?.extract()?;
    let Load { optimize, commit_every, memory, temp_dir, threads, .. } = options;
    let prepared = Prepared { optimize, commit_every, memory, temp_dir, threads };
    let loaded = match (matrix, rows) {
        (Some(matrix), _) => {
            let given = given(&matrix, shape)?;
            let names = names_of_rows::<K>(ids.as_ref(), &given, py)?;
            let records = records::Pull::new(records.as_ref(), &watch)?;
            let raw = given.raw();
            watch.write(py, || {
                let loader = prepared
                    .loader(index)
                    .cancel(|| watch.is_over())
                    .progress(|progress| report.call(&watch, progress));
                load_matrix::<K>(&loader, names, records, raw, shape.dimensions)
            })
        }
        (None, Some(rows)) => {
            let accepted = "a matrix, the path of a file, a table, or an iterable of rows";
            let wrong = |_| wrong_type(&rows, "data", accepted);
            let rows = rows.try_iter().map_err(wrong)?.unbind();
            watch.write(py, || {
                let loader = prepared
                    .loader(index)
                    .cancel(|| watch.is_over())
                    .progress(|progress| report.call(&watch, progress));
                load_rows::<K>(&loader, rows, &watch, shape)
            })
        }
        (None, None) => Ok(0),
    };
    report.end(py, loaded.is_ok())?;
    loaded
}

/// The options that are no objects of Python's.
struct Prepared {
    optimize: bool,
    commit_every: Option<u64>,
    memory: Option<u64>,
    temp_dir: Option<PathBuf>,
    threads: usize,
}

impl Prepared {
    fn loader<'a, K: Name + ?Sized>(&self, index: &'a Handle<K>) -> Loader<'a, AnyMetric, K> {
        let mut loader = index.loader().optimize(self.optimize).threads(self.threads);
        if let Some(items) = self.commit_every {
            loader = loader.commit_every(items);
        }
        if let Some(bytes) = self.memory {
            loader = loader.memory(bytes);
        }
        match &self.temp_dir {
            Some(folder) => loader.temp_dir(folder),
            None => loader,
        }
    }
}

/// The names of the rows of a matrix: 0, 1, 2, ... unless they are given.
fn names_of_rows<K: Name + ?Sized>(
    ids: Option<&Bound<'_, PyAny>>,
    given: &Given<'_>,
    py: Python<'_>,
) -> PyResult<Vec<K::Owned>> {
    match (ids, given.rows) {
        (_, None) => {
            let message = "one vector was given, where many belong: give a matrix, or use add";
            Err(refused(py, "InvalidVector", message))
        }
        (Some(ids), _) => names_for::<K>(ids, given),
        (None, Some(count)) => {
            let names = K::numbered(count as u64).ok_or_else(|| {
                let message = "the rows of a matrix have no names of type str: give ids";
                refused(py, "NamingMismatch", message)
            })?;
            if names.len() < count {
                let message = format!(
                    "{count} rows are more than ids of 32 bits can name: give an index created \
                     with ids=\"u64\""
                );
                return Err(refused(py, "InvalidId", &message));
            }
            Ok(names)
        }
    }
}

fn load_matrix<K: Name + ?Sized>(
    loader: &Loader<'_, AnyMetric, K>,
    names: Vec<K::Owned>,
    records: records::Pull<'_>,
    raw: Raw<'_>,
    dimensions: usize,
) -> voisin::Result<u64> {
    fn load<K: Name + ?Sized, T: Component, V: AsRef<[T]>>(
        loader: &Loader<'_, AnyMetric, K>,
        rows: impl Iterator<Item = (K::Owned, V)>,
        records: records::Pull<'_>,
    ) -> voisin::Result<u64> {
        K::load(loader, records.with(rows).map(|((name, row), record)| (name, row, record)))
    }
    let names = names.into_iter();
    match raw {
        Raw::F32(all) => load(loader, names.zip(all.chunks_exact(dimensions)), records),
        Raw::F64(all) => load(loader, names.zip(all.chunks_exact(dimensions)), records),
        raw => {
            let rows = names.enumerate().map(|(row, name)| (name, raw.row(row, dimensions)));
            load(loader, rows, records)
        }
    }
}

fn load_rows<K: Name + ?Sized>(
    loader: &Loader<'_, AnyMetric, K>,
    rows: Py<PyIterator>,
    watch: &Watch,
    shape: Shape,
) -> voisin::Result<u64> {
    fn pull<'a, K: Name + ?Sized, T>(
        rows: Py<PyIterator>,
        watch: &'a Watch,
        shape: Shape,
        take: fn(Raw<'_>, usize, usize) -> Vec<T>,
    ) -> Pull<'a, K, T> {
        Pull { rows, watch, shape, take, ahead: VecDeque::new(), is_over: false }
    }
    // A component of `f64` is rounded once, to the type that is stored.
    if shape.form == "f32" {
        let take = |raw: Raw<'_>, row, dimensions| raw.row(row, dimensions).into_owned();
        K::load(loader, pull::<K, f32>(rows, watch, shape, take))
    } else {
        let take = |raw: Raw<'_>, row, dimensions| raw.row_f64(row, dimensions);
        K::load(loader, pull::<K, f64>(rows, watch, shape, take))
    }
}

/// The rows of an iterable of Python's.
struct Pull<'a, K: Name + ?Sized, T> {
    rows: Py<PyIterator>,
    watch: &'a Watch,
    shape: Shape,
    take: fn(Raw<'_>, usize, usize) -> Vec<T>,
    ahead: VecDeque<(K::Owned, Vec<T>, Record)>,
    is_over: bool,
}

impl<K: Name + ?Sized, T: Component> Iterator for Pull<'_, K, T> {
    type Item = (K::Owned, Vec<T>, Record);

    fn next(&mut self) -> Option<Self::Item> {
        if self.ahead.is_empty() && !self.is_over {
            let pulled = Python::attach(|py| {
                py.check_signals()?;
                self.pull(py)
            });
            if let Err(error) = pulled {
                // The load is cancelled before it commits what was read so far.
                self.watch.fail(error);
                self.is_over = true;
                self.ahead.clear();
            }
        }
        self.ahead.pop_front()
    }
}

impl<K: Name + ?Sized, T> Pull<'_, K, T> {
    fn pull(&mut self, py: Python<'_>) -> PyResult<()> {
        let mut rows = self.rows.bind(py).clone();
        while self.ahead.len() < ROWS_AHEAD {
            let Some(pair) = rows.next() else {
                self.is_over = true;
                return Ok(());
            };
            let (names, vectors, records) = row_of(&pair?)?;
            let given = given(&vectors, self.shape)?;
            let names = names_for::<K>(&names, &given)?;
            let records = records::take_for(records.as_ref(), &given)?;
            let (raw, dimensions) = (given.raw(), self.shape.dimensions);
            let mut records = records.unwrap_or_default().into_iter();
            for (row, name) in names.into_iter().enumerate() {
                let record = records.next().flatten();
                self.ahead.push_back((name, (self.take)(raw, row, dimensions), record));
            }
        }
        Ok(())
    }
}

/// An id, a vector, and a record, if there is one; or several of each.
type Row<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, Option<Bound<'py, PyAny>>);

fn row_of<'py>(row: &Bound<'py, PyAny>) -> PyResult<Row<'py>> {
    if let Ok((names, vectors)) = row.extract() {
        return Ok((names, vectors, None));
    }
    row.extract().map_err(|_| {
        let message = "the rows are no pairs: give (id, vector) or (id, vector, record), or \
                       several of each, as (ids, matrix)";
        refused(row.py(), "InvalidVector", message)
    })
}

/// The caller's function that is told how far a load is.
pub(crate) struct Report {
    function: Option<Py<PyAny>>,
    /// Whether it is our own, which ends its line.
    is_ours: bool,
    began: Instant,
    /// The phase that was reported last, and when, in milliseconds.
    phase: AtomicU64,
    at: AtomicU64,
}

fn phase_name(phase: LoadPhase) -> (u64, &'static str) {
    match phase {
        LoadPhase::Reading => (1, "reading"),
        LoadPhase::Ordering => (2, "ordering"),
        LoadPhase::Adding => (3, "adding"),
        LoadPhase::Linking => (4, "linking"),
        LoadPhase::Writing => (5, "writing"),
        _ => (6, "other"),
    }
}

impl Report {
    pub(crate) fn new(progress: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let (mut function, mut is_ours) = (None, false);
        if let Some(progress) = progress {
            if progress.is_instance_of::<PyBool>() {
                if progress.is_truthy()? {
                    let line =
                        progress.py().import("voisin._progress")?.getattr("Line")?.call0()?;
                    (function, is_ours) = (Some(line.unbind()), true);
                }
            } else {
                function = Some(progress.clone().unbind());
            }
        }
        let (phase, at) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { function, is_ours, began: Instant::now(), phase, at })
    }

    /// Tells the caller, unless it was told a moment ago. Called from any thread.
    pub(crate) fn call(&self, watch: &Watch, progress: LoadProgress) {
        let Some(function) = &self.function else { return };
        let now = self.began.elapsed().as_millis() as u64;
        let (number, phase) = phase_name(progress.phase);
        let is_same = self.phase.swap(number, Ordering::Relaxed) == number;
        let last = self.at.load(Ordering::Relaxed);
        if is_same && now < last + REPORT_MS {
            return;
        }
        // Another thread tells it.
        let told = self.at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed);
        if told.is_err() {
            return;
        }
        let called = Python::attach(|py| {
            let seconds = progress.remaining.map(|left| left.as_secs_f64());
            let values = (
                phase,
                progress.done,
                progress.total,
                progress.rounds_done,
                progress.rounds,
                seconds,
                progress.memory_bytes,
                progress.disk_bytes,
            );
            let progress = py.import("voisin._types")?.getattr("Progress")?.call1(values)?;
            function.bind(py).call1((progress,)).map(drop)
        });
        if let Err(error) = called {
            watch.fail(error);
        }
    }

    pub(crate) fn end(&self, py: Python<'_>, is_done: bool) -> PyResult<()> {
        match &self.function {
            Some(function) if self.is_ours => {
                function.bind(py).call_method1("end", (is_done,)).map(drop)
            }
            _ => Ok(()),
        }
    }
}
