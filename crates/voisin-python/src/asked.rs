//! Searches: the options of a call, as a query of voisin, and its answer.

use std::ops::Range;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use voisin::{Error, Filter, IndexKind, Query, Result, Searched};

use crate::conditions::condition_of;
use crate::errors::refused;
use crate::filters::KeptFilter;
use crate::found::{Found, Many, One};
use crate::found_many::FoundMany;
use crate::names::{Name, is_one};
use crate::searched::{Owned, Start};
use crate::texts::shown;
use crate::vectors::{Given, Raw};
use crate::watch::{Watch, seconds};

/// Rows of a matrix that are searched together: a scan asks whether to end only after it has
/// compared a block of vectors with all of them.
const ROWS_TOGETHER: usize = 4096;

/// The options of a search, as a caller gives them.
pub(crate) struct Options<'py> {
    pub(crate) k: usize,
    pub(crate) ef: Option<usize>,
    pub(crate) nprobe: Option<usize>,
    pub(crate) parameters: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) recall: Option<f64>,
    pub(crate) exact: Option<bool>,
    pub(crate) filter: Option<Bound<'py, PyAny>>,
    pub(crate) exclude: Option<Bound<'py, PyAny>>,
    pub(crate) prefix: Option<String>,
    pub(crate) radius: Option<f32>,
    pub(crate) vectors: bool,
    pub(crate) records: bool,
    pub(crate) deadline: Option<f64>,
    pub(crate) codes: bool,
}

/// The options of a search of items that are named by `K`.
pub(crate) struct Asked<K: Name + ?Sized> {
    pub(crate) k: usize,
    ef: Option<usize>,
    nprobe: Option<usize>,
    parameters: Option<String>,
    kind: Option<IndexKind>,
    recall: Option<f64>,
    exact: Option<bool>,
    candidates: Option<Filter<K>>,
    excluded: Option<Filter<K>>,
    prefix: Option<String>,
    predicate: Option<Py<PyAny>>,
    radius: Option<f32>,
    vectors: bool,
    pub(crate) records: bool,
    deadline: Option<Duration>,
    codes: bool,
}

/// A set of items: a `Filter`, a condition, or their names.
///
/// # Errors
/// `NamingMismatch` for what is none of these, with the name of the argument.
fn set<K: Name + ?Sized>(items: &Bound<'_, PyAny>, argument: &str) -> PyResult<Filter<K>> {
    if let Ok(kept) = items.cast::<KeptFilter>() {
        return kept.get().of::<K>(items.py());
    }
    match condition_of(items)? {
        Some(condition) => Ok(Filter::matching(condition.condition().clone())),
        None if !is_one(items) && items.try_iter().is_err() => {
            let given = shown(items);
            let message = format!("{argument} is {given}: give ids, a condition, or a Filter");
            Err(refused(items.py(), "NamingMismatch", &message))
        }
        None => KeptFilter::set::<K>(items),
    }
}

impl<K: Name + ?Sized> Asked<K> {
    /// What its answers have.
    pub(crate) fn beside<S: Start>(&self, searched: &S) -> BesideItems {
        let vectors_of = self.vectors.then(|| searched.width());
        BesideItems { has_records: self.records, vectors_of }
    }

    pub(crate) fn new(py: Python<'_>, options: Options<'_>) -> PyResult<Self> {
        check_prefix(py, options.prefix.as_deref(), K::HAS_PREFIX)?;
        if let (Some(ef), Some(recall)) = (options.ef, options.recall) {
            let message = format!("ef {ef} and recall {recall} are both given: give one of both");
            return Err(refused(py, "InvalidParameter", &message));
        }
        let (mut candidates, mut predicate) = (None, None);
        if let Some(filter) = options.filter {
            match filter.is_callable() && !filter.is_instance_of::<KeptFilter>() {
                true => predicate = Some(filter.unbind()),
                false => candidates = Some(set::<K>(&filter, "filter")?),
            }
        }
        Ok(Self {
            k: options.k,
            ef: options.ef,
            nprobe: options.nprobe,
            parameters: options.parameters,
            kind: options.kind.map(|name| kind(py, &name)).transpose()?,
            recall: options.recall,
            exact: options.exact,
            candidates,
            excluded: options.exclude.map(|items| set::<K>(&items, "exclude")).transpose()?,
            prefix: options.prefix,
            predicate,
            radius: options.radius,
            vectors: options.vectors,
            records: options.records,
            deadline: seconds(py, "deadline", options.deadline)?,
            codes: options.codes,
        })
    }

    /// Asks the caller's predicate about an item.
    fn accepts(&self, watch: &Watch, name: &K) -> bool {
        let Some(predicate) = &self.predicate else { return true };
        Python::attach(|py| {
            let asked = K::show(py, name).and_then(|name| predicate.bind(py).call1((name,)));
            asked.and_then(|accepts| accepts.is_truthy()).unwrap_or_else(|error| {
                watch.fail(error);
                false
            })
        })
    }

    /// Runs `search` with the query that these options make.
    pub(crate) fn with_query<S: Start<Key = K>, T>(
        &self,
        searched: &S,
        watch: &Watch,
        search: impl FnOnce(&Query<'_, S>) -> Result<T>,
    ) -> Result<T> {
        let cancel = || watch.is_over();
        let accepts = |name: &K| self.accepts(watch, name);
        let mut query = searched.start(self.k);
        query.cancel(&cancel);
        if let Some(ef) = self.ef {
            query.ef_search(ef);
        }
        if let Some(lists) = self.nprobe {
            query.nprobe(lists);
        }
        if let Some(text) = &self.parameters {
            query.parameters(text)?;
        }
        if let Some(recall) = self.recall {
            query.recall(recall);
        }
        match self.exact {
            Some(true) => drop(query.exact()),
            Some(false) => drop(query.walk_graph()),
            None => {}
        }
        if let Some(kind) = self.kind {
            query.kind(kind);
        }
        if let Some(candidates) = &self.candidates {
            query.candidates(candidates);
        }
        if let Some(excluded) = &self.excluded {
            query.exclude(excluded);
        }
        if let Some(prefix) = &self.prefix {
            K::prefix(&mut query, prefix);
        }
        if self.predicate.is_some() {
            query.filter(&accepts);
        }
        if let Some(radius) = self.radius {
            query.within(radius);
        }
        if self.vectors {
            query.with_vectors();
        }
        if self.records {
            query.with_records();
        }
        if let Some(deadline) = self.deadline {
            query.deadline(deadline);
        }
        if !self.codes {
            query.codes(false);
        }
        search(&query)
    }
}

/// Rejects a prefix where items are not named by strings.
pub(crate) fn check_prefix(py: Python<'_>, prefix: Option<&str>, can_have: bool) -> PyResult<()> {
    if prefix.is_none() || can_have {
        return Ok(());
    }
    let message = "only an index whose items are named by str has prefixes: give filter=";
    Err(refused(py, "NamingMismatch", message))
}

/// A kind of index by its name.
///
/// # Errors
/// `InvalidParameter`.
pub(crate) fn kind(py: Python<'_>, name: &str) -> PyResult<IndexKind> {
    IndexKind::of_name(name).ok_or_else(|| {
        let known: Vec<_> =
            IndexKind::ALL.iter().map(|kind| format!("{:?}", kind.name())).collect();
        let message = format!("there is no kind of index {name:?}: use {}", known.join(", "));
        refused(py, "InvalidParameter", &message)
    })
}

/// Answers one vector or a matrix.
pub(crate) fn search<'py, S: Start>(
    py: Python<'py>,
    searched: &S,
    asked: &Asked<S::Key>,
    (given, dimensions): (&Given<'_>, usize),
    watch: &Watch,
) -> PyResult<Bound<'py, PyAny>> {
    let raw = given.raw();
    let Some(count) = given.rows else {
        let found = watch.run(py, || {
            asked.with_query(searched, watch, |query| match raw {
                Raw::F32(vector) => query.by_vector(vector),
                Raw::F64(vector) => query.by_vector(vector),
                raw => query.by_vector(&raw.floats(0..1, dimensions)),
            })
        })?;
        return one::<S::Key>(py, found, asked.beside(searched));
    };
    let rows = watch.run(py, || many_rows(searched, asked, (raw, count, dimensions), watch))?;
    let many: Many = S::Key::many(rows);
    let (k, has_vectors, has_records) = (asked.k, asked.vectors, asked.records);
    let (ids, distances) = (PyOnceLock::new(), PyOnceLock::new());
    let found = FoundMany { many, k, dimensions, has_vectors, has_records, ids, distances };
    Ok(Bound::new(py, found)?.into_any())
}

/// Answers the rows of a matrix: all in one state of the index, and in parts, between which it is
/// asked whether to end.
fn many_rows<S: Start>(
    searched: &S,
    asked: &Asked<S::Key>,
    (raw, count, dimensions): (Raw<'_>, usize, usize),
    watch: &Watch,
) -> Result<Vec<Searched<Owned<S>>>> {
    fn rows<S: Start>(
        query: &Query<'_, S>,
        raw: Raw<'_>,
        rows: Range<usize>,
        dimensions: usize,
    ) -> Result<Vec<Searched<Owned<S>>>> {
        let at = rows.start * dimensions..rows.end * dimensions;
        match raw {
            Raw::F32(all) => query.by_vectors(&all[at]),
            Raw::F64(all) => query.by_vectors(&all[at]),
            raw => query.by_vectors(&raw.floats(rows, dimensions)),
        }
    }
    if count <= ROWS_TOGETHER {
        return asked.with_query(searched, watch, |query| rows(query, raw, 0..count, dimensions));
    }
    let until = asked.deadline.and_then(|time| Instant::now().checked_add(time));
    let snapshot = searched.now()?;
    asked.with_query(&snapshot, watch, |query| {
        let (mut query, mut found) = (query.clone(), Vec::with_capacity(count));
        if let Some(until) = until {
            query.deadline(until);
        }
        for first in (0..count).step_by(ROWS_TOGETHER) {
            let part = first..count.min(first + ROWS_TOGETHER);
            found.extend(rows(&query, raw, part, dimensions).map_err(|mut error| {
                if let Error::InvalidRow { row, .. } = &mut error {
                    *row += first;
                }
                error
            })?);
            if watch.has_failed() {
                return Err(Error::Cancelled);
            }
            if let Some(ended) = found.last().filter(|last| last.did_cancel) {
                // There was no time for the others.
                let mut nothing = ended.clone();
                nothing.nns.clear();
                nothing.vectors.clear();
                nothing.records.clear();
                found.resize(count, nothing);
                break;
            }
        }
        Ok(found)
    })
}

/// Answers a query for the items near a stored one.
pub(crate) fn similar<'py, S: Start>(
    py: Python<'py>,
    searched: &S,
    asked: &Asked<S::Key>,
    name: &Bound<'py, PyAny>,
    watch: &Watch,
) -> PyResult<Bound<'py, PyAny>> {
    let item = S::Key::take_one(name)?;
    let found = watch
        .run(py, || asked.with_query(searched, watch, |query| S::Key::by_item(query, &item)))?;
    match found {
        Some(found) => one::<S::Key>(py, found, asked.beside(searched)),
        None => Err(missing(name)),
    }
}

/// The exception for an item that does not exist.
pub(crate) fn missing(name: &Bound<'_, PyAny>) -> PyErr {
    let shown = name.repr().map_or_else(|_| "?".to_owned(), |shown| shown.to_string());
    let message = format!("there is no item {shown} in this index: add it first");
    refused(name.py(), "MissingItem", &message)
}

/// What an answer has beside items and distances.
#[derive(Clone, Copy)]
pub(crate) struct BesideItems {
    pub(crate) has_records: bool,
    /// The number of components of the vectors, if it has these.
    pub(crate) vectors_of: Option<usize>,
}

/// An answer.
pub(crate) fn one<'py, K: Name + ?Sized>(
    py: Python<'py>,
    found: Searched<K::Owned>,
    BesideItems { has_records, vectors_of }: BesideItems,
) -> PyResult<Bound<'py, PyAny>> {
    let one: One = K::one(found);
    Ok(Bound::new(py, Found { one, has_records, vectors_of })?.into_any())
}
