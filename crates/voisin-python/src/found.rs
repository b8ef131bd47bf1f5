//! The answer to one vector, which prints well. Those to a matrix are in `found_many.rs`.

use numpy::{PyArray1, PyArray2};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyIterator, PyList};
use voisin::{ItemId, Searched};

use crate::errors::not_pickled;
use crate::facts::{self, strategy_name};
use crate::names::Name;
use crate::records::{self, Record};

/// The number of items that are printed.
const SHOWN: usize = 10;
/// The number of characters of a record that are printed.
const RECORD_CHARS: usize = 60;

/// An answer by whatever names items.
pub(crate) enum One {
    Ids(Searched<ItemId>),
    Numbers(Searched<u64>),
    Texts(Searched<String>),
    Bytes(Searched<Vec<u8>>),
    Uuids(Searched<[u8; 16]>),
}

/// Answers by whatever names items.
pub(crate) enum Many {
    Ids(Vec<Searched<ItemId>>),
    Numbers(Vec<Searched<u64>>),
    Texts(Vec<Searched<String>>),
    Bytes(Vec<Searched<Vec<u8>>>),
    Uuids(Vec<Searched<[u8; 16]>>),
}

/// Evaluates the same expression on an answer of each kind of names.
macro_rules! each {
    ($of:ident, $self:expr, $found:ident, $K:ident => $work:expr) => {
        match $self {
            $of::Ids($found) => {
                type $K = voisin::ItemId;
                $work
            }
            $of::Numbers($found) => {
                type $K = u64;
                $work
            }
            $of::Texts($found) => {
                type $K = str;
                $work
            }
            $of::Bytes($found) => {
                type $K = [u8];
                $work
            }
            $of::Uuids($found) => {
                type $K = [u8; 16];
                $work
            }
        }
    };
}

pub(crate) use each;

/// A hit of Python's: a named tuple.
pub(crate) fn hit<'py>(
    py: Python<'py>,
    name: Bound<'py, PyAny>,
    distance: f32,
) -> PyResult<Bound<'py, PyAny>> {
    static HIT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    HIT.import(py, "voisin._types", "Hit")?.call1((name, distance))
}

/// The hits of an answer.
pub(crate) fn hits<'py, K: Name + ?Sized>(
    py: Python<'py>,
    nns: &[(K::Owned, f32)],
) -> PyResult<Bound<'py, PyList>> {
    let hits: PyResult<Vec<_>> =
        nns.iter().map(|(name, distance)| hit(py, K::show_owned(py, name)?, *distance)).collect();
    PyList::new(py, hits?)
}

/// The names of the items of an answer.
fn names<K: Name + ?Sized>(found: &Searched<K::Owned>) -> Vec<K::Owned> {
    found.nns.iter().map(|(name, _)| name.clone()).collect()
}

/// Names and distances as text, for the first items.
fn lines<K: Name + ?Sized>(
    py: Python<'_>,
    found: &Searched<K::Owned>,
) -> PyResult<Vec<(String, String)>> {
    let show = |(name, distance): &(K::Owned, f32)| {
        Ok((K::show_owned(py, name)?.repr()?.to_string(), format!("{distance:.6}")))
    };
    found.nns.iter().take(SHOWN).map(show).collect()
}

/// The answer to one query: items and distances, the nearest first.
///
/// It is a sequence of hits, named tuples `(id, distance)`; `ids` and `distances` are arrays of
/// the same items, of shape `(number of items,)`.
///
/// >>> import tempfile, voisin
/// >>> index = voisin.create(tempfile.mkdtemp(), 2, metric="euclidean")
/// >>> index.add([1, 2, 3], [[0.0, 0.0], [1.0, 0.0], [5.0, 0.0]])
/// >>> found = index.search([0.75, 0.0], k=2)
/// >>> found
/// <2 items, all>
///   id  distance
///    2  0.062500
///    1  0.562500
/// >>> found.ids, found.distances.dtype
/// (array([2, 1]), dtype('float32'))
/// >>> [hit.id for hit in found], found[0].distance
/// ([2, 1], 0.0625)
#[pyclass(module = "voisin", frozen)]
pub(crate) struct Found {
    pub(crate) one: One,
    pub(crate) has_records: bool,
    /// The number of components of the vectors, if the search was asked for them.
    pub(crate) vectors_of: Option<usize>,
}

#[pymethods]
impl Found {
    /// The ids of the items, of shape `(n,)`: `int64` where items are named by `u32` ids, `uint64`
    /// where by `"u64"`, objects of `str` where by `str`.
    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        each!(One, &self.one, found, K => {
            <K as Name>::array(py, names::<K>(found))
        })
    }

    /// The distances of the items, of shape `(n,)` and type `float32`, in the unit of the metric:
    /// squared under `"euclidean"`, from 0 (same direction) to 1 (opposite) under `"cosine"`.
    #[getter]
    fn distances<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        each!(One, &self.one, found, _K => {
            PyArray1::from_iter(py, found.nns.iter().map(|(_, distance)| *distance))
        })
    }

    /// The vectors of the items as stored, of shape `(n, dimensions)`, if the search was asked for
    /// them by `vectors=True`; else None.
    #[getter]
    fn vectors<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArray2<f32>>>> {
        let Some(dimensions) = self.vectors_of else { return Ok(None) };
        each!(One, &self.one, found, _K => match &found.vectors[..] {
            [] => Ok(Some(PyArray2::zeros(py, (0, dimensions), false))),
            vectors => Ok(Some(PyArray2::from_vec2(py, vectors)?)),
        })
    }

    /// The records of the items, if the search was asked for them by `records=True`; else None. A
    /// record that is a JSON object is a dict, any other one is bytes; None where an item has none.
    ///
    /// >>> import tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 2)
    /// >>> index.add([1, 2], [[0.9, 0.1], [0.1, 0.9]], [{"title": "Rain"}, b"text"])
    /// >>> index.search([0.1, 0.8], records=True).records
    /// [b'text', {'title': 'Rain'}]
    #[getter]
    fn records<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        self.listed(py, false)
    }

    /// The records as they are stored: bytes, or None where an item has none. None unless the
    /// search was asked for them.
    #[getter]
    fn raw_records<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        self.listed(py, true)
    }

    /// What answered: `"graph"`, `"all"` (an exact scan of all vectors), `"candidates"` (one of
    /// those that a filter leaves), or the name of another kind's way, such as `"lists"`.
    #[getter]
    fn strategy(&self) -> &'static str {
        each!(One, &self.one, found, _K => strategy_name(found.strategy))
    }

    /// The number of the commit that was searched.
    #[getter]
    fn commit(&self) -> u64 {
        each!(One, &self.one, found, _K => found.snapshot)
    }

    /// What an exact answer guarantees, a `Certificate`; None unless `is_complete`.
    ///
    /// >>> import tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 1, metric="euclidean")
    /// >>> index.add(range(100), [[float(i)] for i in range(100)])
    /// >>> index.search([3.2], exact=True).certificate.compared
    /// 100
    #[getter]
    fn certificate<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let certificate = each!(One, &self.one, found, _K => found.certificate());
        certificate.map(|certificate| facts::certificate(py, &certificate)).transpose()
    }

    /// Whether these are all items that the query asks for, for certain: it was exact, ran to its
    /// end, and there are no more within the radius.
    #[getter]
    fn is_complete(&self) -> bool {
        each!(One, &self.one, found, _K => found.is_complete())
    }

    /// Whether a `CancelToken` or the deadline ended the search: these are the nearest so far.
    #[getter]
    fn is_cancelled(&self) -> bool {
        each!(One, &self.one, found, _K => found.did_cancel)
    }

    /// Whether the deadline ended the search.
    #[getter]
    fn timed_out(&self) -> bool {
        each!(One, &self.one, found, _K => found.timed_out)
    }

    /// Whether there are more than `k` items within the radius.
    #[getter]
    fn has_more(&self) -> bool {
        each!(One, &self.one, found, _K => found.has_more)
    }

    /// The number of pending items of the index, which are not in the graph yet: a search scans
    /// them one by one. `Index.link` links them.
    #[getter]
    fn pending(&self) -> u64 {
        each!(One, &self.one, found, _K => found.pending)
    }

    /// What the search cost: the number of distances computed, of distances estimated from codes,
    /// and of neighbor lists read.
    #[getter]
    fn cost(&self) -> (u64, u64, u64) {
        each!(One, &self.one, found, _K => (found.distances, found.estimates, found.lists))
    }

    fn __len__(&self) -> usize {
        each!(One, &self.one, found, _K => found.nns.len())
    }

    fn __getitem__<'py>(&self, py: Python<'py>, at: isize) -> PyResult<Bound<'py, PyAny>> {
        each!(One, &self.one, found, K => {
            let count = found.nns.len();
            let i = if at < 0 { at.checked_add_unsigned(count) } else { Some(at) };
            let i = i.and_then(|i| usize::try_from(i).ok());
            match i.and_then(|i| found.nns.get(i)) {
                Some((name, distance)) => hit(py, <K as Name>::show_owned(py, name)?, *distance),
                None => Err(PyIndexError::new_err(format!("item {at} of {count}"))),
            }
        })
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        each!(One, &self.one, found, K => hits::<K>(py, &found.nns)?.try_iter())
    }

    fn __reduce__(&self) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        not_pickled("Found", "its ids and distances, or list(found)")
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (lines, count) = self.lines(py)?;
        let width = lines.iter().map(|(id, _)| id.chars().count()).max().unwrap_or(0).max(4);
        let records = self.shown_records(py)?;
        let title = if self.has_records { "  record" } else { "" };
        let mut text = format!("<{}>", self.summary());
        if !lines.is_empty() {
            text += &format!("\n{:>width$}  {:>8}{title}", "id", "distance");
        }
        for (i, (id, distance)) in lines.iter().enumerate() {
            text += &format!("\n{id:>width$}  {distance:>8}");
            text += &records.get(i).map_or_else(String::new, |record| format!("  {record}"));
        }
        if count > lines.len() {
            text += &format!("\n{:>width$}", "...");
        }
        Ok(text)
    }

    fn _repr_html_(&self, py: Python<'_>) -> PyResult<String> {
        let (lines, count) = self.lines(py)?;
        let mut html = format!("<table><caption>{}</caption>", escaped(&self.summary()));
        let records = self.shown_records(py)?;
        let (columns, title) = if self.has_records { (3, "<th>record</th>") } else { (2, "") };
        html += &format!("<tr><th>id</th><th>distance</th>{title}</tr>");
        for (i, (id, distance)) in lines.iter().enumerate() {
            html += &format!("<tr><td>{}</td><td>{distance}</td>", escaped(id));
            if let Some(record) = records.get(i) {
                html += &format!("<td>{}</td>", escaped(record));
            }
            html += "</tr>";
        }
        if count > lines.len() {
            let more = count - lines.len();
            html += &format!("<tr><td colspan=\"{columns}\">{more} more</td></tr>");
        }
        Ok(html + "</table>")
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Found {
    fn stored(&self) -> &[Record] {
        each!(One, &self.one, found, _K => &found.records)
    }

    fn listed<'py>(&self, py: Python<'py>, raw: bool) -> PyResult<Option<Bound<'py, PyList>>> {
        self.has_records.then(|| records::list(py, self.stored(), raw)).transpose()
    }

    /// The first records, as short texts.
    fn shown_records(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let shown = self.stored().iter().take(SHOWN).map(|record| {
            let shown = records::show(py, record.as_deref())?.repr()?.to_string();
            let mut short: String = shown.chars().take(RECORD_CHARS).collect();
            if short.len() < shown.len() {
                short += "...";
            }
            Ok(short)
        });
        shown.collect()
    }

    fn lines(&self, py: Python<'_>) -> PyResult<(Vec<(String, String)>, usize)> {
        each!(One, &self.one, found, K => Ok((lines::<K>(py, found)?, found.nns.len())))
    }

    fn summary(&self) -> String {
        let count = self.__len__();
        let items = if count == 1 { "item" } else { "items" };
        let mut text = format!("{count} {items}, {}", self.strategy());
        match (self.timed_out(), self.is_cancelled()) {
            (true, _) => text += ", timed out",
            (false, true) => text += ", cancelled",
            (false, false) => {}
        }
        if self.has_more() {
            text += ", there are more";
        }
        text
    }
}
