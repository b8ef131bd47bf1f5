//! Changes: one write transaction for each call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pyo3::prelude::*;
use voisin::codec::Component;
use voisin::{AnyMetric, Batch, Condition, Error};

use crate::asked::missing;
use crate::conditions::is_condition;
use crate::errors::{late, raised, refused};
use crate::names::{Handle, Name, is_one};
use crate::records::{self, Record};
use crate::vectors::{Given, Raw, Shape, given};
use crate::watch::Watch;

/// Rows that are added between two looks at whether the call was cancelled: some ten milliseconds.
const ROWS_TOGETHER: usize = 4096;

/// One change of a write.
pub(crate) enum Change<'a, K: Name + ?Sized> {
    /// Adds items, or replaces their vectors, and their records, where there are some.
    Add(&'a [K::Owned], Raw<'a>, Option<&'a [Record]>),
    /// The same for items that must exist.
    Update(&'a [K::Owned], Raw<'a>, Option<&'a [Record]>),
    Delete(&'a [K::Owned]),
    DeleteMatching(&'a Condition),
    /// Sets, or removes, the records of items that must exist.
    SetRecords(&'a [K::Owned], &'a [Record]),
    /// Deletes all items of these tenants.
    DropTenants(&'a [K::Owned]),
    /// Gives a tenant another name: the two names.
    RenameTenant(&'a [K::Owned]),
}

/// Why a write has changed nothing.
pub(crate) enum Failure {
    Voisin(Error),
    /// Of a check that is ours: an item is missing.
    Ours(PyErr),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Voisin(error)
    }
}

impl Failure {
    /// The exception, of a write that this watch has watched.
    pub(crate) fn raised(self, py: Python<'_>, watch: &Watch) -> PyErr {
        match (self, watch.waited()) {
            (Self::Voisin(Error::Cancelled), Some(waited)) => late(py, waited),
            (Self::Voisin(error), _) => raised(py, &error),
            (Self::Ours(error), _) => error,
        }
    }

    fn missing<K: Name + ?Sized>(name: &K::Owned) -> Self {
        Self::Ours(Python::attach(|py| {
            let name = K::within(name.clone());
            K::show_owned(py, &name).map_or_else(|error| error, |name| missing(&name))
        }))
    }
}

/// Makes changes in one write transaction. Returns how many items were deleted.
pub(crate) fn write<K: Name + ?Sized>(
    py: Python<'_>,
    index: &Handle<K>,
    changes: &[Change<'_, K>],
    links: bool,
) -> PyResult<u64> {
    write_within(py, index, changes, (links, None, &AtomicBool::new(false)))
}

/// The same, for as long as that waits for other writers. `is_done` tells whether it was committed,
/// which it can be although a signal ends the call.
///
/// # Errors
/// `WriteTimeout`.
pub(crate) fn write_within<K: Name + ?Sized>(
    py: Python<'_>,
    index: &Handle<K>,
    changes: &[Change<'_, K>],
    (links, patience, is_done): (bool, Option<Duration>, &AtomicBool),
) -> PyResult<u64> {
    let watch = Arc::new(Watch::patient(patience));
    let written = watch.write_any(py, || {
        let how = (links, index.dimensions());
        let written = index.try_write(|batch| make_all(batch, changes, how, &watch));
        is_done.store(written.is_ok(), Ordering::Relaxed);
        written
    })?;
    written.map_err(|failure| failure.raised(py, &watch))
}

/// Makes changes of one index. Returns how many items were deleted.
pub(crate) fn make_all<K: Name + ?Sized>(
    batch: &mut Batch<'_, AnyMetric, K>,
    changes: &[Change<'_, K>],
    (links, dimensions): (bool, usize),
    watch: &Arc<Watch>,
) -> Result<u64, Failure> {
    let cancel = Arc::clone(watch);
    batch.cancel(move || cancel.is_over());
    if !links {
        batch.link_later();
    }
    let mut deleted = 0;
    for change in changes {
        deleted += make(batch, change, dimensions, watch)?;
    }
    Ok(deleted)
}

fn make<K: Name + ?Sized>(
    batch: &mut Batch<'_, AnyMetric, K>,
    change: &Change<'_, K>,
    dimensions: usize,
    watch: &Watch,
) -> Result<u64, Failure> {
    match change {
        Change::Add(names, raw, records) => {
            add(batch, names, *raw, *records, (dimensions, watch))?;
        }
        Change::Update(names, raw, records) => {
            for name in *names {
                if !K::has(batch, name)? {
                    return Err(Failure::missing::<K>(name));
                }
            }
            add(batch, names, *raw, *records, (dimensions, watch))?;
        }
        Change::SetRecords(names, records) => {
            for (name, record) in names.iter().zip(*records) {
                let is_there = match record {
                    Some(record) => K::set_record(batch, name, record)?,
                    None => K::remove_record(batch, name)? || K::has(batch, name)?,
                };
                if !is_there {
                    return Err(Failure::missing::<K>(name));
                }
            }
        }
        Change::Delete(names) => return Ok(K::delete(batch, names)?),
        Change::DeleteMatching(condition) => return Ok(K::delete_matching(batch, condition)?),
        Change::DropTenants(names) => {
            let mut deleted = 0;
            for name in *names {
                deleted += K::drop_tenant(batch, name)?;
            }
            return Ok(deleted);
        }
        Change::RenameTenant(names) => {
            if let [name, new] = names {
                K::rename_tenant(batch, name, new)?;
            }
        }
    }
    Ok(0)
}

/// Adds items in parts.
fn add<K: Name + ?Sized>(
    batch: &mut Batch<'_, AnyMetric, K>,
    names: &[K::Owned],
    raw: Raw<'_>,
    records: Option<&[Record]>,
    (dimensions, watch): (usize, &Watch),
) -> Result<(), Error> {
    for (part, names) in names.chunks(ROWS_TOGETHER).enumerate() {
        if watch.is_over() {
            return Err(Error::Cancelled);
        }
        let rows = part * ROWS_TOGETHER..part * ROWS_TOGETHER + names.len();
        let records = records.map(|records| &records[rows.clone()]);
        match raw {
            Raw::F64(all) => {
                let all = &all[rows.start * dimensions..rows.end * dimensions];
                add_part(batch, names, all, records, dimensions)?;
            }
            raw => add_part(batch, names, &raw.floats(rows, dimensions), records, dimensions)?,
        }
    }
    Ok(())
}

fn add_part<K: Name + ?Sized>(
    batch: &mut Batch<'_, AnyMetric, K>,
    names: &[K::Owned],
    vectors: &[impl Component],
    records: Option<&[Record]>,
    dimensions: usize,
) -> Result<(), Error> {
    let Some(records) = records else { return K::add(batch, names, vectors) };
    let mut from = 0;
    // Those with a record and those without, in their order.
    for records in records.chunk_by(|a, b| a.is_some() == b.is_some()) {
        let to = from + records.len();
        let (names, vectors) = (&names[from..to], &vectors[from * dimensions..to * dimensions]);
        match records[0].is_some() {
            true => K::add_with_records(batch, names, vectors, records)?,
            false => K::add(batch, names, vectors)?,
        }
        from = to;
    }
    Ok(())
}

/// Adds items, or replaces the vectors of those that must be there. `named` makes names in the
/// index of the ids of a caller, which can be those of a tenant.
pub(crate) fn put<K: Name + ?Sized>(
    index: &Handle<K>,
    ids: &Bound<'_, PyAny>,
    named: impl FnOnce(Vec<K::Owned>) -> PyResult<Vec<K::Owned>>,
    (vectors, records): (&Bound<'_, PyAny>, Option<&Bound<'_, PyAny>>),
    shape: Shape,
    (links, is_update): (bool, bool),
) -> PyResult<()> {
    let given = given(vectors, shape)?;
    let names = named(names_for::<K>(ids, &given)?)?;
    let records = records::take_for(records, &given)?;
    let change = match is_update {
        true => Change::Update(&names, given.raw(), records.as_deref()),
        false => Change::Add(&names, given.raw(), records.as_deref()),
    };
    write(ids.py(), index, &[change], links).map(drop)
}

/// Sets the records of items that must be there.
pub(crate) fn set<K: Name + ?Sized>(
    index: &Handle<K>,
    ids: &Bound<'_, PyAny>,
    named: impl FnOnce(Vec<K::Owned>) -> PyResult<Vec<K::Owned>>,
    records: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let names = named(some_names::<K>(ids)?)?;
    let records = set_for(ids, records)?;
    if names.len() != records.len() {
        return Err(records::mismatch(ids.py(), names.len(), records.len()));
    }
    write(ids.py(), index, &[Change::SetRecords(&names, &records)], true).map(drop)
}

/// Deletes items by their ids. Returns how many there were.
pub(crate) fn delete<K: Name + ?Sized>(
    index: &Handle<K>,
    ids: &Bound<'_, PyAny>,
    named: impl FnOnce(Vec<K::Owned>) -> PyResult<Vec<K::Owned>>,
) -> PyResult<u64> {
    let names = named(some_names::<K>(ids)?)?;
    write(ids.py(), index, &[Change::Delete(&names)], true)
}

/// Replaces the records of all items for which a condition holds by what a function of the caller's
/// makes of each. Returns how many were replaced.
pub(crate) fn update_matching<K: Name + ?Sized>(
    py: Python<'_>,
    index: &Handle<K>,
    condition: &Condition,
    update: &Bound<'_, PyAny>,
) -> PyResult<u64> {
    let watch = Arc::new(Watch::new(None));
    let update = update.as_unbound();
    watch.write(py, || {
        index.write(|batch| {
            let cancel = Arc::clone(&watch);
            batch.cancel(move || cancel.is_over());
            let updated = batch.update_matching(condition, |record| {
                if watch.is_over() {
                    return None;
                }
                let called = Python::attach(|py| {
                    py.check_signals()?;
                    let record = records::show(py, record)?;
                    records::take_one(&update.bind(py).call1((record,))?)
                });
                called.unwrap_or_else(|error| {
                    watch.fail(error);
                    None
                })
            })?;
            if watch.is_over() { Err(Error::Cancelled) } else { Ok(updated) }
        })
    })
}

/// The names of one item or many, as many as there are vectors.
pub(crate) fn names_for<K: Name + ?Sized>(
    ids: &Bound<'_, PyAny>,
    given: &Given<'_>,
) -> PyResult<Vec<K::Owned>> {
    let names = some_names::<K>(ids)?;
    if names.len() == given.count() {
        return Ok(names);
    }
    let message = format!(
        "{} ids and {} vectors were given: give as many rows as ids",
        names.len(),
        given.count()
    );
    Err(refused(ids.py(), "LengthMismatch", &message))
}

/// The names of one item or many.
pub(crate) fn some_names<K: Name + ?Sized>(ids: &Bound<'_, PyAny>) -> PyResult<Vec<K::Owned>> {
    if is_one(ids) { Ok(vec![K::take_one(ids)?]) } else { K::take(ids) }
}

/// What to delete, to erase or to copy.
pub(crate) enum Deleted<'a, 'py> {
    Ids(&'a Bound<'py, PyAny>),
    Matching(&'a Bound<'py, PyAny>),
}

/// Ids or a condition.
///
/// # Errors
/// `InvalidParameter` unless one of both was given.
pub(crate) fn one_of<'a, 'py>(
    py: Python<'_>,
    ids: Option<&'a Bound<'py, PyAny>>,
    filter: Option<&'a Bound<'py, PyAny>>,
) -> PyResult<Deleted<'a, 'py>> {
    match (ids, filter) {
        // A dict would be the names that it has as keys.
        (Some(ids), None) if is_condition(ids) => Ok(Deleted::Matching(ids)),
        (Some(ids), None) => Ok(Deleted::Ids(ids)),
        (None, Some(filter)) => Ok(Deleted::Matching(filter)),
        _ => {
            let message = "items are named by their ids, or by a filter: give one of both";
            Err(refused(py, "InvalidParameter", message))
        }
    }
}

/// The records to set for one item or many.
pub(crate) fn set_for(ids: &Bound<'_, PyAny>, records: &Bound<'_, PyAny>) -> PyResult<Vec<Record>> {
    match is_one(ids) {
        true => Ok(vec![records::take_one(records)?]),
        false => records::take_list(records),
    }
}
