//! Results page by page.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use voisin::{ItemId, PageToken, Pages, Query, Result, Searchable};

use crate::asked::{Asked, BesideItems, missing, one};
use crate::errors::{raised, refused};
use crate::handle::closed;
use crate::names::{Name, PagesOf};
use crate::query::{PyQuery, each, with_components};
use crate::searched::{At, Owned, Start};
use crate::texts;
use crate::watch::{CancelToken, Watch};

/// Pages by whatever names items.
pub(crate) enum Any {
    Ids(PagesOf<ItemId>),
    Numbers(PagesOf<u64>),
    Texts(PagesOf<str>),
    Bytes(PagesOf<[u8]>),
    Uuids(PagesOf<[u8; 16]>),
}

/// The results of a query page by page, an iterator of `Found`: `Query.pages` makes one.
///
/// It keeps its snapshot and what it has searched, so a page costs about what it yields, wherever
/// it is, and no item comes twice, whatever is committed meanwhile. Distances increase in an exact
/// query; others search the graph block by block, so an item that edges lead to late comes late.
/// All options of the query hold for each page. A function given as `filter=` is asked about every
/// item before the first page: ids, a condition or a `Filter` are quicker.
///
/// >>> import tempfile, voisin
/// >>> index = voisin.create(tempfile.mkdtemp(), 1, metric="euclidean")
/// >>> index.add(range(100), [[float(i)] for i in range(100)])
/// >>> query = index.query(k=3)
/// >>> pages = query.pages([0.0])
/// >>> next(pages).ids, next(pages).ids
/// (array([0, 1, 2]), array([3, 4, 5]))
/// >>> token = pages.token  # another process can go on
/// >>> next(query.pages([0.0], after=token)).ids
/// array([6, 7, 8])
#[pyclass(name = "Pages", module = "voisin", frozen)]
pub(crate) struct PyPages {
    /// None while a thread asks for a page.
    pages: Mutex<Option<Any>>,
    k: usize,
    beside: BesideItems,
    cancel: Option<Py<CancelToken>>,
}

/// A token of pages, if there is one.
///
/// # Errors
/// `InvalidPageToken`.
pub(crate) fn token(py: Python<'_>, token: Option<&str>) -> PyResult<Option<PageToken>> {
    let token = token.map(str::parse::<PageToken>).transpose();
    token.map_err(|error| raised(py, &error))
}

impl PyPages {
    /// Begins pages, on a snapshot of what is searched. None if `begin` has none.
    pub(crate) fn start<S: Start>(
        py: Python<'_>,
        searched: &S,
        asked: &Asked<S::Key>,
        watch: &Watch,
        cancel: Option<Py<CancelToken>>,
        begin: impl FnOnce(&Query<'_, At<S>>) -> Result<Option<PagesOf<S::Key>>> + Send,
    ) -> PyResult<Option<Self>> {
        let pages = watch.run(py, || {
            let snapshot = searched.now()?;
            asked.with_query(&snapshot, watch, begin)
        })?;
        Ok(pages.map(|pages| {
            let pages = Mutex::new(Some(S::Key::pages(pages)));
            Self { pages, k: asked.k, beside: asked.beside(searched), cancel }
        }))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Any>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads something of the pages.
    fn read<T>(&self, py: Python<'_>, read: impl FnOnce(&Any) -> T) -> PyResult<T> {
        self.lock().as_ref().map(read).ok_or_else(|| in_use(py))
    }
}

fn in_use(py: Python<'_>) -> PyErr {
    let message = "another thread asks these pages: give each thread pages of its own";
    refused(py, "InvalidParameter", message)
}

/// The next page of pages, and whether others may follow. None if there are no more items.
fn next<'py, K: Name + ?Sized>(
    py: Python<'py>,
    pages: &mut PagesOf<K>,
    of: &PyPages,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let watch = Watch::new(of.cancel.as_ref().map(Py::get));
    let page = watch.run(py, || K::next_page(pages, &|| watch.is_over()))?;
    // An empty page that was cancelled says so.
    match page.nns.is_empty() && !page.did_cancel {
        true => Ok(None),
        false => one::<K>(py, page, of.beside).map(Some),
    }
}

#[pymethods]
impl PyPages {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// The next page. Fewer than `k` items only at the end, or if a `CancelToken` or the deadline
    /// has ended it: it has the nearest items seen so far then, and the next page goes on.
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.k == 0 {
            return Ok(None);
        }
        // Not locked while it is asked: that attaches to the interpreter.
        let mut pages = self.lock().take().ok_or_else(|| in_use(py))?;
        let page = match &mut pages {
            Any::Ids(pages) => next::<ItemId>(py, pages, self),
            Any::Numbers(pages) => next::<u64>(py, pages, self),
            Any::Texts(pages) => next::<str>(py, pages, self),
            Any::Bytes(pages) => next::<[u8]>(py, pages, self),
            Any::Uuids(pages) => next::<[u8; 16]>(py, pages, self),
        };
        *self.lock() = Some(pages);
        page
    }

    /// The number of items of all pages so far.
    #[getter]
    fn position(&self, py: Python<'_>) -> PyResult<u64> {
        self.read(py, |pages| match pages {
            Any::Ids(pages) => pages.position(),
            Any::Numbers(pages) => pages.position(),
            Any::Texts(pages) => pages.position(),
            Any::Bytes(pages) => pages.position(),
            Any::Uuids(pages) => pages.position(),
        })
    }

    /// A text by which another process, or this one later, goes on after these pages: see
    /// `Query.pages`. None after a page that was ended early.
    #[getter]
    fn token(&self, py: Python<'_>) -> PyResult<Option<String>> {
        let token = self.read(py, |pages| match pages {
            Any::Ids(pages) => pages.token(),
            Any::Numbers(pages) => pages.token(),
            Any::Texts(pages) => pages.token(),
            Any::Bytes(pages) => pages.token(),
            Any::Uuids(pages) => pages.token(),
        })?;
        Ok(token.map(|token| token.to_string()))
    }

    fn __repr__(&self) -> String {
        let position = self.lock().as_ref().map(|pages| match pages {
            Any::Ids(pages) => pages.position(),
            Any::Numbers(pages) => pages.position(),
            Any::Texts(pages) => pages.position(),
            Any::Bytes(pages) => pages.position(),
            Any::Uuids(pages) => pages.position(),
        });
        match position {
            Some(position) => format!("<Pages of {} items each, after {position}>", self.k),
            None => format!("<Pages of {} items each>", self.k),
        }
    }
}

#[pymethods]
impl PyQuery {
    /// The results near a vector page by page, `k` a page: see `Pages`.
    ///
    /// Args:
    ///     vector: an array of shape `(dimensions,)`.
    ///     after: the token of other pages of the same query: these go on after those.
    ///
    /// Raises:
    ///     PagesExpired: the index has changed since the first page of those. Pages of a snapshot
    ///         go on as long as it is held.
    #[pyo3(signature = (vector, *, after = None))]
    fn pages(
        &self,
        vector: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = texts::after)] after: Option<String>,
    ) -> PyResult<PyPages> {
        let (py, dimensions) = (vector.py(), self.shape().dimensions);
        let (given, token, watch) = (self.one(vector)?, token(py, after.as_deref())?, self.watch());
        let components = (given.raw(), given.count());
        each!(self, py, (searched, asked) => {
            PyPages::start(py, searched, asked, &watch, self.cancel(py), |query| {
                with_components!(components, dimensions, vector => match &token {
                    Some(token) => query.pages_after(vector, token).map(Some),
                    None => query.pages(vector).map(Some),
                })
            })
        })?
        .ok_or_else(|| closed(py))
    }

    /// The items near a stored item, without that item, page by page: see `Pages`.
    ///
    /// Raises:
    ///     MissingItem: there is no such item.
    fn similar_pages(&self, id: &Bound<'_, PyAny>) -> PyResult<PyPages> {
        fn take<K: Name + ?Sized>(_: &Asked<K>, id: &Bound<'_, PyAny>) -> PyResult<K::Owned> {
            K::take_one(id)
        }
        fn pages<'a, S: Searchable<Key: Name>>(
            query: &Query<'a, S>,
            name: &Owned<S>,
        ) -> Result<Option<Pages<S::Pinned<'a>, S::Key>>> {
            S::Key::pages_by_item(query, name)
        }
        let (py, watch) = (id.py(), self.watch());
        let pages = each!(self, py, (searched, asked) => {
            let name = take(asked, id)?;
            PyPages::start(py, searched, asked, &watch, self.cancel(py), |query| {
                pages(query, &name)
            })
        })?;
        pages.ok_or_else(|| missing(id))
    }
}
