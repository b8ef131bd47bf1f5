//! Adding items unless there is one near: near-duplicates are found and left out, or replaced, in
//! the transaction that adds.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyList;
use voisin::codec::Component;
use voisin::{AnyMetric, Batch, Error};

use crate::arguments::{flags, reals};
use crate::errors::raised;
use crate::found::hit;
use crate::index::{Index, each_index, searcher};
use crate::names::{Handle, Name};
use crate::records::{self, Record};
use crate::vectors::{Given, Raw, given};
use crate::watch::Watch;
use crate::write::names_for;

/// How to look, and what to do with what is found.
#[derive(Clone, Copy)]
pub(crate) struct Unless {
    pub(crate) radius: f32,
    pub(crate) replaces: bool,
    pub(crate) is_approximate: bool,
}

/// What was within the radius of each vector.
type Near<K> = Vec<Option<(<K as voisin::ItemName>::Owned, f32)>>;

/// Adds each item in turn: what was added before counts.
fn add_each<K: Name + ?Sized, T: Component>(
    batch: &mut Batch<'_, AnyMetric, K>,
    names: &[K::Owned],
    (all, dimensions): (&[T], usize),
    records: Option<&[Record]>,
    (unless, watch): (Unless, &Watch),
) -> Result<Near<K>, Error> {
    let mut near = Vec::with_capacity(names.len());
    for (row, (name, vector)) in names.iter().zip(all.chunks_exact(dimensions)).enumerate() {
        if watch.is_over() {
            return Err(Error::Cancelled);
        }
        let found = K::add_unless(batch, name, vector, unless)?;
        let written = match &found {
            None => Some(name),
            Some((nearest, _)) => unless.replaces.then_some(nearest),
        };
        let record = records.and_then(|records| records[row].as_deref());
        if let (Some(name), Some(record)) = (written, record) {
            K::set_record(batch, name, record)?;
        }
        near.push(found);
    }
    Ok(near)
}

fn add<'py, K: Name + ?Sized>(
    index: &Handle<K>,
    ids: &Bound<'py, PyAny>,
    (given, records): (&Given<'_>, Option<&[Record]>),
    (unless, links): (Unless, bool),
) -> PyResult<Bound<'py, PyAny>> {
    let py = ids.py();
    let (names, raw) = (names_for::<K>(ids, given)?, given.raw());
    let (count, dimensions) = (given.count(), index.dimensions());
    let watch = Arc::new(Watch::new(None));
    let near = watch.write_any(py, || {
        index.write(|batch| {
            let cancel = Arc::clone(&watch);
            batch.cancel(move || cancel.is_over());
            if !links {
                batch.link_later();
            }
            let how = (unless, &*watch);
            match raw {
                Raw::F64(all) => add_each(batch, &names, (all, dimensions), records, how),
                raw => {
                    let all = raw.floats(0..count, dimensions);
                    add_each(batch, &names, (&*all, dimensions), records, how)
                }
            }
        })
    })?;
    let near = near.map_err(|error| raised(py, &error))?;
    let mut hits = near.into_iter().map(|near| match near {
        None => Ok(py.None().into_bound(py)),
        Some((name, distance)) => hit(py, K::show_owned(py, &name)?, distance),
    });
    match given.rows {
        None => hits.next().unwrap_or_else(|| Ok(py.None().into_bound(py))),
        Some(_) => Ok(PyList::new(py, hits.collect::<PyResult<Vec<_>>>()?)?.into_any()),
    }
}

#[pymethods]
impl Index {
    /// Adds items unless there is one within a radius, such as a near-duplicate, and commits. No
    /// other writer comes between the look and the change. Items are added in their order, and each
    /// one sees those before.
    ///
    /// Args:
    ///     ids, vectors, records, link: as for `add`.
    ///     radius: in the unit of the distances of answers. An item of the same id counts, too.
    ///     replace: True replaces the vector of the nearest item within the radius, and its record
    ///         if one is given, where otherwise nothing is added.
    ///     approximate: True searches the graph instead of comparing with all vectors: much faster
    ///         in a large index, and rarely a near item is missed.
    ///
    /// Returns:
    ///     For each item the nearest one that was within the radius, a `Hit`, or None where the
    ///     item was added: one of these for one vector, a list of them for a matrix.
    ///
    /// >>> import tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 1, metric="euclidean")
    /// >>> index.insert_unless_within([1, 2, 3], [[1.0], [1.5], [4.0]], radius=0.5)
    /// [None, Hit(id=1, distance=0.25), None]
    /// >>> index.insert_unless_within(4, [4.5], radius=0.5, replace=True)
    /// Hit(id=3, distance=0.25)
    /// >>> len(index), index[3]
    /// (2, array([4.5], dtype=float32))
    #[pyo3(signature = (
        ids, vectors, records = None, *, radius, replace = false, approximate = false, link = true
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords of Python")]
    fn insert_unless_within<'py>(
        slf: &Bound<'py, Self>,
        ids: &Bound<'py, PyAny>,
        vectors: &Bound<'py, PyAny>,
        records: Option<&Bound<'py, PyAny>>,
        #[pyo3(from_py_with = reals::radius)] radius: f32,
        #[pyo3(from_py_with = flags::replace)] replace: bool,
        #[pyo3(from_py_with = flags::approximate)] approximate: bool,
        #[pyo3(from_py_with = flags::link)] link: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let given = given(vectors, searcher(slf).shape())?;
        let records = records::take_for(records, &given)?;
        let unless = Unless { radius, replaces: replace, is_approximate: approximate };
        let given = (&given, records.as_deref());
        each_index!(slf, index => add(index, ids, given, (unless, link)))
    }
}
