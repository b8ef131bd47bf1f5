//! What looks after an index: linking, optimizing, codes, statistics, checks, erasure, copies.
//! Snapshots.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;

use crate::arguments::{objects, paths};
use crate::asked;
use crate::conditions::condition;
use crate::errors::not_pickled;
use crate::facts;
use crate::folder::Folder;
use crate::handle::Searcher;
use crate::held::Held;
use crate::index::{Index, each_index, held, searcher};
use crate::names::{Handle, Name};
use crate::settings::AskedCodes;
use crate::texts;
use crate::vectors::{Raw, given};
use crate::watch::{CancelToken, Watch, detached, detached_write};
use crate::write::{Deleted, one_of, some_names};

#[pymethods]
impl Index {
    /// Links all pending items, those of `add(link=False)` and of interrupted loads, in rounds,
    /// each of which is committed; others can write meanwhile. Returns how many were linked.
    #[pyo3(signature = (*, cancel = None))]
    fn link(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = objects::cancel)] cancel: Option<Bound<'_, CancelToken>>,
    ) -> PyResult<u64> {
        let watch = Watch::of(&cancel);
        each_index!(slf, index => {
            watch.write(slf.py(), || index.loader().cancel(|| watch.is_over()).resume())
        })
    }

    /// Compacts the index: orders items so that near ones are near on disk, trains and encodes the
    /// codes anew. Worth it for a large index that changes little afterwards.
    #[pyo3(signature = (*, cancel = None))]
    fn optimize(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = objects::cancel)] cancel: Option<Bound<'_, CancelToken>>,
    ) -> PyResult<()> {
        fn optimize<K: Name + ?Sized>(
            py: Python<'_>,
            index: &Handle<K>,
            watch: &Watch,
        ) -> PyResult<()> {
            watch.write(py, || {
                let loader = index.loader().optimize(true).cancel(|| watch.is_over());
                K::load::<f32, Vec<f32>>(&loader, std::iter::empty()).map(drop)
            })
        }
        let watch = Watch::of(&cancel);
        each_index!(slf, index => optimize(slf.py(), index, &watch))
    }

    /// Builds the graph anew from the vectors. It cannot be interrupted.
    fn rebuild(slf: &Bound<'_, Self>) -> PyResult<()> {
        each_index!(slf, index => detached_write(slf.py(), || index.force_rebuild()))
    }

    /// Measures the recall of searches, for `search(recall=)`, and commits that. Loads and large
    /// writes do it by themselves.
    fn calibrate(slf: &Bound<'_, Self>) -> PyResult<()> {
        each_index!(slf, index => detached_write(slf.py(), || index.calibrate()))
    }

    /// Trains the range of an index of `dtype="i8"` on a sample, a matrix of vectors like those to
    /// be stored, and commits that. `load` trains an empty index on what it loads.
    fn train(slf: &Bound<'_, Self>, sample: &Bound<'_, PyAny>) -> PyResult<()> {
        let shape = searcher(slf).shape();
        let given = given(sample, shape)?;
        let (raw, rows) = (given.raw(), 0..given.count());
        each_index!(slf, index => detached_write(slf.py(), || {
            match raw {
                Raw::F64(all) => index.train(all),
                raw => index.train(&raw.floats(rows, shape.dimensions)),
            }
            .map(drop)
        }))
    }

    /// Chooses the quantized codes that searches use: `"fast"`, a number of bits a component (1, 2,
    /// 4, 7 or 8), or None for none. Makes them and commits.
    #[pyo3(signature = (codes))]
    fn set_codes(slf: &Bound<'_, Self>, codes: AskedCodes) -> PyResult<()> {
        let py = slf.py();
        let codes = codes.get(py, searcher(slf).shape().dimensions)?;
        let watch = Arc::new(Watch::new(None));
        each_index!(slf, index => watch.write(py, || {
            index.write(|batch| {
                let cancel = Arc::clone(&watch);
                batch.cancel(move || cancel.is_over());
                batch.set_codes(codes)
            })
        }))
    }

    /// Gives the index a kind, such as `"ivf"`, makes what that consists of from the stored
    /// vectors, and commits; False if the index has it. From then on every write keeps it in step.
    /// Other writers wait meanwhile: for a graph, as long as building it.
    ///
    /// >>> import tempfile, voisin
    /// >>> index = voisin.create(tempfile.mkdtemp(), 2, kinds=["flat"])
    /// >>> index.add_kind("hnsw"), index.kinds()
    /// (True, ['flat', 'hnsw'])
    fn add_kind(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = texts::required::kind)] kind: &str,
    ) -> PyResult<bool> {
        let (py, watch) = (slf.py(), Arc::new(Watch::new(None)));
        let kind = asked::kind(py, kind)?;
        each_index!(slf, index => watch.write(py, || {
            index.write(|batch| {
                let cancel = Arc::clone(&watch);
                batch.cancel(move || cancel.is_over());
                batch.add_kind(kind)
            })
        }))
    }

    /// Takes a kind from the index, with all that it consists of, and commits; False if the index
    /// does not have it. Snapshots of earlier commits keep it.
    ///
    /// Raises:
    ///     InvalidParameter: for `"flat"`, which every index has.
    fn drop_kind(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = texts::required::kind)] kind: &str,
    ) -> PyResult<bool> {
        let kind = asked::kind(slf.py(), kind)?;
        each_index!(slf, index => detached_write(slf.py(), || index.drop_kind(kind)))
    }

    /// The number of pending items, which are not in the graph yet. O(1).
    #[getter]
    fn pending(slf: &Bound<'_, Self>) -> PyResult<u64> {
        each_index!(slf, index => detached(slf.py(), || index.pending()))
    }

    /// The index in numbers: see `Stats`. O(items).
    fn stats<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let stats = each_index!(slf, index => detached(py, || index.stats()))?;
        facts::stats(py, &stats)
    }

    /// Verifies all invariants of the index, to the last byte. Returns what is wrong, a list of
    /// `Finding`; an empty one means that all is well. It cannot be interrupted.
    ///
    /// >>> import tempfile, voisin
    /// >>> voisin.create(tempfile.mkdtemp(), 2).check()
    /// []
    fn check<'py>(slf: &Bound<'py, Self>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let py = slf.py();
        let findings = each_index!(slf, index => detached(py, || index.check()))?;
        findings.iter().map(|finding| facts::finding(py, finding)).collect()
    }

    /// Undoes an edit that another program has left half-way (`TornEdit`), and commits. False if
    /// there is none.
    fn repair(slf: &Bound<'_, Self>) -> PyResult<bool> {
        each_index!(slf, index => detached_write(slf.py(), || index.repair()))
    }

    /// Deletes an item or many, or all for which a condition holds, and erases what they leave, and
    /// what earlier deletes have left: their vectors and codes in blocks, and centers that are one
    /// of their vectors. Commits, and returns how many there were. The arguments are those of
    /// `delete`.
    ///
    /// The file keeps old pages until they are used again: `copy_to` then makes a file in which no
    /// 16 bytes in a row of an erased item are. `docs/erasure.md` of the repository says what else
    /// may have them. It reads all blocks with free places, and cannot be interrupted.
    ///
    /// >>> import pathlib, tempfile, voisin
    /// >>> folder = pathlib.Path(tempfile.mkdtemp())
    /// >>> index = voisin.create(folder / "notes", 2, ids=str)
    /// >>> index.add(["ann", "bob"], [[0.9, 0.1], [0.1, 0.9]], [b"what ann wrote", b"hers"])
    /// >>> index.erase("ann")
    /// 1
    /// >>> size = index.copy_to(folder / "clean")
    /// >>> b"what ann wrote" in (folder / "clean" / "data.mdb").read_bytes()
    /// False
    #[pyo3(signature = (ids = None, *, filter = None))]
    fn erase(
        slf: &Bound<'_, Self>,
        ids: Option<&Bound<'_, PyAny>>,
        filter: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        fn erase<K: Name + ?Sized>(index: &Handle<K>, of: &Deleted<'_, '_>) -> PyResult<u64> {
            match of {
                Deleted::Ids(ids) => {
                    let names = some_names::<K>(ids)?;
                    detached_write(ids.py(), || K::erase(index, &names))
                }
                Deleted::Matching(filter) => {
                    let of = condition(filter)?;
                    detached_write(filter.py(), || K::erase_matching(index, of.condition()))
                }
            }
        }
        let of = one_of(slf.py(), ids, filter)?;
        each_index!(slf, index => erase(index, &of))
    }

    /// Writes a compacted copy of all indexes of the folder to another folder, while others read
    /// and write. Returns its length in bytes. It cannot be interrupted.
    fn copy_to(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = paths::path)] path: PathBuf,
    ) -> PyResult<u64> {
        each_index!(slf, index => detached(slf.py(), || index.copy_to(&path)))
    }

    /// A snapshot of the newest commit, for as long as it is held: see `Snapshot`.
    fn snapshot(slf: &Bound<'_, Self>) -> PyResult<Py<Snapshot>> {
        let py = slf.py();
        let of = searcher(slf);
        let at = match &held(slf)? {
            Held::Ids(index) => Held::IdsAt(detached(py, || index.snapshot())?),
            Held::Numbers(index) => Held::NumbersAt(detached(py, || index.snapshot())?),
            Held::Texts(index) => Held::TextsAt(detached(py, || index.snapshot())?),
            Held::Bytes(index) => Held::BytesAt(detached(py, || index.snapshot())?),
            Held::Uuids(index) => Held::UuidsAt(detached(py, || index.snapshot())?),
            at => at.clone(),
        };
        let commit = match &at {
            Held::IdsAt(at) => at.commit(),
            Held::NumbersAt(at) => at.commit(),
            Held::TextsAt(at) => at.commit(),
            Held::BytesAt(at) => at.commit(),
            Held::UuidsAt(at) => at.commit(),
            _ => 0,
        };
        Snapshot::of(py, of, at, commit)
    }

    /// The folder of the index, to change several of its indexes in one commit, with tables of your
    /// own: see `Folder`.
    fn folder(slf: &Bound<'_, Self>) -> PyResult<Folder> {
        each_index!(slf, index => Ok(Folder::of(index.folder(), slf.get().settings().clone())))
    }
}

/// An index at one commit, for as long as it is held: all its answers are those of that commit,
/// whatever is committed meanwhile. `Index.snapshot` makes one. As a context manager it lets go of
/// the commit at the end; until then, the file grows while it changes.
///
/// >>> import tempfile, voisin
/// >>> index = voisin.create(tempfile.mkdtemp(), 2)
/// >>> index.add(1, [0.9, 0.1])
/// >>> with index.snapshot() as before:
/// ...     index.add(2, [0.1, 0.9])
/// ...     print(len(before), len(index), 2 in before)
/// 1 2 False
#[pyclass(module = "voisin", extends = Searcher, frozen)]
pub(crate) struct Snapshot {
    commit: u64,
}

impl Snapshot {
    /// The object of a snapshot of what `of` searches.
    pub(crate) fn of(py: Python<'_>, of: &Searcher, at: Held, commit: u64) -> PyResult<Py<Self>> {
        Py::new(py, PyClassInitializer::from(of.at(at)).add_subclass(Self { commit }))
    }
}

#[pymethods]
impl Snapshot {
    /// The number of the commit: a later one has a larger number.
    #[getter]
    fn commit(&self) -> u64 {
        self.commit
    }

    fn __reduce__(&self) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        not_pickled("Snapshot", "the index")
    }

    fn __repr__(&self) -> String {
        format!("<Snapshot of commit {}>", self.commit)
    }
}
