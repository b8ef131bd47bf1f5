//! A query: options of a search that are kept for many, and the questions that need more than one
//! vector and an answer: several vectors, counts, recall, explanations. Pages are in `pages.rs`,
//! groups in `groups.rs`.

use pyo3::prelude::*;
use voisin::{Explanation, ItemId, Query, Result, Searched};

use crate::arguments::{reals, wrong_type};
use crate::asked::{self, Asked, Options, one};
use crate::errors::{not_pickled, refused};
use crate::facts;
use crate::handle::Searcher;
use crate::searched::{Owned, Start};
use crate::vectors::{Given, Shape, has_mask, queried};
use crate::watch::{CancelToken, Watch};
use crate::whole;

/// The options of a query, by whatever names items.
pub(crate) enum Kept {
    Ids(Asked<ItemId>),
    Numbers(Asked<u64>),
    Texts(Asked<str>),
    Bytes(Asked<[u8]>),
    Uuids(Asked<[u8; 16]>),
}

/// A query with its options, for any number of vectors: `Searcher.query` makes one. It holds no
/// snapshot: each call asks the newest commit, or that of the snapshot that it is of.
///
/// >>> import tempfile, voisin
/// >>> index = voisin.create(tempfile.mkdtemp(), 2, metric="euclidean")
/// >>> index.add(range(100), [[i / 10, 0.0] for i in range(100)])
/// >>> query = index.query(k=2, exclude=[30])
/// >>> query.search([3.0, 0.0]).ids
/// array([29, 31])
/// >>> query.nearest_of([[1.0, 0.0], [5.0, 0.0]]).ids
/// array([10, 50])
/// >>> query.count_within([3.0, 0.0], 0.05).items
/// 4
#[pyclass(name = "Query", module = "voisin", frozen)]
pub(crate) struct PyQuery {
    pub(crate) searcher: Py<Searcher>,
    pub(crate) kept: Kept,
    cancel: Option<Py<CancelToken>>,
}

/// Evaluates the same expression on what is searched and on the options.
macro_rules! each {
    ($query:expr, $py:expr, ($searched:ident, $asked:ident) => $work:expr) => {
        match (&$query.searcher.get().held($py)?, &$query.kept) {
            ($crate::held::Held::Ids($searched), $crate::query::Kept::Ids($asked)) => $work,
            ($crate::held::Held::Numbers($searched), $crate::query::Kept::Numbers($asked)) => $work,
            ($crate::held::Held::Texts($searched), $crate::query::Kept::Texts($asked)) => $work,
            ($crate::held::Held::IdsAt($searched), $crate::query::Kept::Ids($asked)) => $work,
            ($crate::held::Held::NumbersAt($searched), $crate::query::Kept::Numbers($asked)) => {
                $work
            }
            ($crate::held::Held::TextsAt($searched), $crate::query::Kept::Texts($asked)) => $work,
            ($crate::held::Held::Bytes($searched), $crate::query::Kept::Bytes($asked)) => $work,
            ($crate::held::Held::BytesAt($searched), $crate::query::Kept::Bytes($asked)) => $work,
            ($crate::held::Held::Uuids($searched), $crate::query::Kept::Uuids($asked)) => $work,
            ($crate::held::Held::UuidsAt($searched), $crate::query::Kept::Uuids($asked)) => $work,
            ($crate::held::Held::TextsOf($searched), $crate::query::Kept::Texts($asked)) => $work,
            ($crate::held::Held::BytesOf($searched), $crate::query::Kept::Bytes($asked)) => $work,
            ($crate::held::Held::TextsOfAt($searched), $crate::query::Kept::Texts($asked)) => $work,
            ($crate::held::Held::BytesOfAt($searched), $crate::query::Kept::Bytes($asked)) => $work,
            // An index has one kind of names.
            _ => return Err($crate::handle::closed($py)),
        }
    };
}

pub(crate) use each;

impl PyQuery {
    pub(crate) fn new(
        searcher: &Bound<'_, Searcher>,
        options: Options<'_>,
        cancel: Option<Py<CancelToken>>,
    ) -> PyResult<Self> {
        let py = searcher.py();
        let kept = match searcher.get().id_type() {
            "u32" => Kept::Ids(Asked::new(py, options)?),
            "u64" => Kept::Numbers(Asked::new(py, options)?),
            "bytes" => Kept::Bytes(Asked::new(py, options)?),
            "uuid" => Kept::Uuids(Asked::new(py, options)?),
            _ => Kept::Texts(Asked::new(py, options)?),
        };
        Ok(Self { searcher: searcher.clone().unbind(), kept, cancel })
    }

    pub(crate) fn shape(&self) -> Shape {
        self.searcher.get().shape()
    }

    pub(crate) fn watch(&self) -> Watch {
        Watch::new(self.cancel.as_ref().map(Py::get))
    }

    pub(crate) fn cancel(&self, py: Python<'_>) -> Option<Py<CancelToken>> {
        self.cancel.as_ref().map(|cancel| cancel.clone_ref(py))
    }

    /// One vector.
    pub(crate) fn one<'py>(&self, vector: &Bound<'py, PyAny>) -> PyResult<Given<'py>> {
        let given = queried(vector, self.shape())?;
        match given.rows {
            None => Ok(given),
            Some(_) => {
                let message = "a matrix was given, where one vector belongs: give one row of it";
                Err(refused(vector.py(), "InvalidVector", message))
            }
        }
    }

    /// Several vectors.
    fn many<'py>(&self, vectors: &Bound<'py, PyAny>) -> PyResult<Given<'py>> {
        let given = queried(vectors, self.shape())?;
        match given.rows {
            Some(_) => Ok(given),
            None => {
                let message = "one vector was given, where several belong: give a matrix";
                Err(refused(vectors.py(), "InvalidVector", message))
            }
        }
    }
}

/// Evaluates an expression with components, of the types that voisin takes.
macro_rules! with_components {
    ($given:expr, $dimensions:expr, $all:ident => $work:expr) => {
        match $given {
            ($crate::vectors::Raw::F32($all), _) => $work,
            ($crate::vectors::Raw::F64($all), _) => $work,
            (raw, count) => {
                let $all = &*raw.floats(0..count, $dimensions);
                $work
            }
        }
    };
}

pub(crate) use with_components;

/// The weights of vectors.
///
/// # Errors
/// `InvalidType`, and `InvalidParameter` for masked ones, which would be NaN.
fn weights_of(weights: &Bound<'_, PyAny>) -> PyResult<Vec<f32>> {
    if has_mask(weights)? {
        let message = "weights is an array with masked elements, which weigh nothing that is \
                       known: give weights.filled(0.0), or leave their vectors out";
        return Err(refused(weights.py(), "InvalidParameter", message));
    }
    let wrong = |_| wrong_type(weights, "weights", "a list of numbers");
    let all = weights.try_iter().map_err(wrong)?;
    all.map(|weight| reals::take(&weight?, "a weight").map(|weight| weight as f32)).collect()
}

/// Asks a question that has one answer.
fn answered<'py, S: Start>(
    py: Python<'py>,
    searched: &S,
    asked: &Asked<S::Key>,
    watch: &Watch,
    question: impl FnOnce(&Query<'_, S>) -> Result<Searched<Owned<S>>> + Send,
) -> PyResult<Bound<'py, PyAny>> {
    let found = watch.run(py, || asked.with_query(searched, watch, question))?;
    one::<S::Key>(py, found, asked.beside(searched))
}

#[pymethods]
impl PyQuery {
    /// Finds the items nearest to a vector, or to each row of a matrix: see `Searcher.search`.
    fn search<'py>(&self, vector: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (py, shape) = (vector.py(), self.shape());
        let (given, watch) = (queried(vector, shape)?, self.watch());
        each!(self, py, (searched, asked) => {
            asked::search(py, searched, asked, (&given, shape.dimensions), &watch)
        })
    }

    /// Finds the items nearest to a stored item, without that item: see `Searcher.similar`.
    fn similar<'py>(&self, id: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (py, watch) = (id.py(), self.watch());
        each!(self, py, (searched, asked) => asked::similar(py, searched, asked, id, &watch))
    }

    /// Finds the items that are nearest to any of several vectors: by the smallest of their
    /// distances, which is the distance in the answer.
    ///
    /// Args:
    ///     vectors: a matrix of shape `(n, dimensions)`.
    fn nearest_of<'py>(&self, vectors: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (py, dimensions, watch) = (vectors.py(), self.shape().dimensions, self.watch());
        let given = self.many(vectors)?;
        let components = (given.raw(), given.count());
        each!(self, py, (searched, asked) => answered(py, searched, asked, &watch, |query| {
            with_components!(components, dimensions, rows => query.by_nearest_of(rows))
        }))
    }

    /// Finds the items that are nearest to several vectors together: by the weighted sum of their
    /// distances, which is the distance in the answer. A vector with a negative weight is one to be
    /// far from.
    ///
    /// Under `"euclidean"`, `"cosine"` and `"dot product"` it costs one search. Under other
    /// metrics, and on vectors of bits, no weight can be negative, and it costs a search for each
    /// vector, or more.
    ///
    /// Args:
    ///     vectors: a matrix of shape `(n, dimensions)`.
    ///     weights: a number for each; 1 for all unless given.
    ///
    /// >>> import tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 1, metric="euclidean")
    /// >>> index.add(range(100), [[float(i)] for i in range(100)])
    /// >>> index.query(k=1).weighted([[10.0], [20.0]])[0]
    /// Hit(id=15, distance=50.0)
    /// >>> index.query(k=1).weighted([[10.0], [20.0]], [1.0, -0.5])[0]
    /// Hit(id=0, distance=-100.0)
    #[pyo3(signature = (vectors, weights = None))]
    fn weighted<'py>(
        &self,
        vectors: &Bound<'py, PyAny>,
        weights: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, dimensions, watch) = (vectors.py(), self.shape().dimensions, self.watch());
        let given = self.many(vectors)?;
        let weights = match weights {
            None => vec![1.0; given.count()],
            Some(weights) => weights_of(weights)?,
        };
        if weights.len() != given.count() {
            let (count, weights) = (given.count(), weights.len());
            let message =
                format!("{count} vectors and {weights} weights: give as many weights as vectors");
            return Err(refused(py, "LengthMismatch", &message));
        }
        let components = (given.raw(), given.count());
        each!(self, py, (searched, asked) => answered(py, searched, asked, &watch, |query| {
            with_components!(components, dimensions, all => {
                let rows: Vec<_> =
                    all.chunks_exact(dimensions).zip(weights.iter().copied()).collect();
                query.by_sum(&rows)
            })
        }))
    }

    /// Finds `k` items that are near a vector and far from each other, of the `among` nearest ones,
    /// in the order in which maximal marginal relevance (MMR) chooses them: first the nearest, then
    /// always the item with the smallest `relevance * distance to the vector - (1 - relevance) *
    /// distance to the chosen item nearest to it`. The distances in the answer are those to the
    /// vector.
    ///
    /// Args:
    ///     vector: an array of shape `(dimensions,)`.
    ///     relevance: 1 for the nearest items, 0 for the most diverse ones.
    ///     among: how many items to choose from.
    #[pyo3(signature = (vector, *, relevance = 0.5, among = 50))]
    fn diverse<'py>(
        &self,
        vector: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = reals::relevance)] relevance: f32,
        #[pyo3(from_py_with = whole::among)] among: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, dimensions, watch) = (vector.py(), self.shape().dimensions, self.watch());
        let given = self.one(vector)?;
        let components = (given.raw(), given.count());
        each!(self, py, (searched, asked) => answered(py, searched, asked, &watch, |query| {
            with_components!(components, dimensions, vector => {
                query.diverse(vector, relevance, among)
            })
        }))
    }

    /// Counts the items within a radius, exactly, or as a sample of them tells: see `Count`. `k`
    /// does not matter.
    ///
    /// Args:
    ///     vector: an array of shape `(dimensions,)`.
    ///     radius: in the unit of the distances of answers.
    ///     sample: the number of items to look at; all unless given.
    ///
    /// >>> import tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 1, metric="euclidean")
    /// >>> index.add(range(100), [[float(i)] for i in range(100)])
    /// >>> index.query().count_within([7.0], 4.0)
    /// Count(items=5, low=5, high=5, is_cancelled=False)
    #[pyo3(signature = (vector, radius, *, sample = None))]
    fn count_within<'py>(
        &self,
        vector: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = reals::radius)] radius: f32,
        #[pyo3(from_py_with = whole::sample_if)] sample: Option<u32>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, dimensions, watch) = (vector.py(), self.shape().dimensions, self.watch());
        let given = self.one(vector)?;
        let components = (given.raw(), given.count());
        let count = each!(self, py, (searched, asked) => watch.run(py, || {
            asked.with_query(searched, &watch, |query| {
                with_components!(components, dimensions, vector => match sample {
                    Some(size) => query.estimate_within(vector, radius, size),
                    None => query.count_within(vector, radius),
                })
            })
        }))?;
        facts::count(py, &count)
    }

    /// Measures the recall of this query, with all its options, by items of the index, and an exact
    /// search for each: see `Recall`. The items are taken out of the graph for that, in memory, so
    /// the result holds for vectors like these that are not in the index. O(sample * items).
    ///
    /// Args:
    ///     sample: the number of items to measure by; one in 40 of the items, if that is less.
    #[pyo3(signature = (sample = 200))]
    fn measure_recall<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = whole::sample)] sample: u32,
    ) -> PyResult<Bound<'py, PyAny>> {
        let watch = self.watch();
        let recall = each!(self, py, (searched, asked) => watch.run(py, || {
            asked.with_query(searched, &watch, |query| query.measure_recall(sample))
        }))?;
        facts::recall(py, &recall)
    }

    /// Answers a query, and tells what each way to answer it was estimated to cost, and has cost:
    /// see `Explanation`. For looking at a slow query: it takes all ways, one after the other.
    fn explain<'py>(&self, vector: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        fn explained<'py, S: Start>(
            py: Python<'py>,
            searched: &S,
            asked: &Asked<S::Key>,
            watch: &Watch,
            question: impl FnOnce(&Query<'_, S>) -> Result<Explanation<Owned<S>>> + Send,
        ) -> PyResult<Bound<'py, PyAny>> {
            let found = watch.run(py, || asked.with_query(searched, watch, question))?;
            let explained = facts::Explained {
                text: found.to_string(),
                possible: found.possible,
                ef: found.ef_search,
                recall: found.recall,
                resolved_in: found.resolved_in.as_secs_f64(),
                ways: found.ways,
            };
            let answer = one::<S::Key>(py, found.answer, asked.beside(searched))?;
            facts::explanation(py, &explained, answer)
        }
        let (py, dimensions, watch) = (vector.py(), self.shape().dimensions, self.watch());
        let given = self.one(vector)?;
        let components = (given.raw(), given.count());
        each!(self, py, (searched, asked) => explained(py, searched, asked, &watch, |query| {
            with_components!(components, dimensions, vector => query.explain(vector))
        }))
    }

    fn __reduce__(&self) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        not_pickled("Query", "the index and the options")
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let index = self.searcher.bind(py).repr()?;
        Ok(format!("<Query of {index}>"))
    }
}
