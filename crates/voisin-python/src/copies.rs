//! Copies of the items of one index in another: merging indexes, copying a part, splitting one.

use std::collections::{HashMap, HashSet};

use pyo3::prelude::*;
use voisin::Error;

use crate::arguments::objects;
use crate::conditions::condition;
use crate::errors::{refused, refused_value};
use crate::handle::Searcher;
use crate::index::{Index, each_index, searcher};
use crate::load::Report;
use crate::names::{Handle, Name};
use crate::watch::{CancelToken, Watch, detached, detached_write};
use crate::whole;
use crate::write::{Deleted, one_of, some_names};

/// The snapshots that copies are made of.
type At<K> = voisin::Snapshot<voisin::AnyMetric, K>;

/// What an index has, to be copied into one whose items are named by `K`.
///
/// # Errors
/// `NamingMismatch`.
fn snapshot_of<K: Name + ?Sized>(
    source: &Bound<'_, Searcher>,
    named: &'static str,
) -> PyResult<At<K>> {
    let (py, of) = (source.py(), source.get());
    let held = of.held(py)?;
    detached(py, || K::snapshot(&held).transpose())?.ok_or_else(|| {
        // A tenant is of the same ids, and is no index.
        if of.id_type() == named {
            let message = "a tenant is no source of a copy: give an index or a snapshot of one, or \
                           load the vectors and records of the tenant";
            return refused(py, "InvalidParameter", message);
        }
        let message = format!(
            "the items of the source are named by {}, and those of this index by {named}: give an \
             index whose items are named alike, or load its vectors and records under other ids",
            of.id_type()
        );
        refused(py, "NamingMismatch", &message)
    })
}

/// How a copy names its items, and what reports and ends it.
struct How<'a, 'py> {
    rename: Rename<'a, 'py>,
    progress: Option<&'a Bound<'py, PyAny>>,
    cancel: Option<&'a CancelToken>,
}

enum Rename<'a, 'py> {
    /// Numbers that are larger by this.
    Moved(u64),
    /// A function of an id.
    Called(&'a Bound<'py, PyAny>),
    Kept,
}

/// Copies the items that are chosen, all unless told, in one commit. Returns how many there were.
fn copy<K: Name + ?Sized>(
    index: &Handle<K>,
    source: &At<K>,
    chosen: Option<&HashSet<K::Owned>>,
    How { rename, progress, cancel }: How<'_, '_>,
    py: Python<'_>,
) -> PyResult<u64> {
    let (watch, report) = (Watch::new(cancel), Report::new(progress)?);
    // Not attached to the interpreter.
    let rename = match rename {
        Rename::Called(function) => Err(function.clone().unbind()),
        Rename::Moved(offset) => Ok(Some(offset)),
        Rename::Kept => Ok(None),
    };
    let name = |name: &K::Owned| -> Option<K::Owned> {
        // Whether it was cancelled is asked by the load, which then commits nothing.
        if watch.has_failed() || chosen.is_some_and(|chosen| !chosen.contains(name)) {
            return None;
        }
        match &rename {
            Ok(None) => Some(name.clone()),
            Ok(Some(offset)) => K::moved(name, *offset).or_else(|| {
                watch.fail(Python::attach(|py| beyond::<K>(py, name, *offset)));
                None
            }),
            Err(function) => Python::attach(|py| {
                let renamed = K::show_owned(py, name)
                    .and_then(|name| function.bind(py).call1((name,)))
                    .and_then(|new| (!new.is_none()).then(|| K::take_one(&new)).transpose());
                renamed.unwrap_or_else(|error| {
                    watch.fail(error);
                    None
                })
            }),
        }
    };
    let copied = watch.write(py, || {
        let loader = index
            .loader()
            .cancel(|| watch.is_over())
            .progress(|progress| report.call(&watch, progress));
        let copied = K::copy(&loader, source, name)?;
        // Items without a name were left out after a failure.
        if watch.has_failed() { Err(Error::Cancelled) } else { Ok(copied) }
    });
    report.end(py, copied.is_ok())?;
    copied
}

/// The exception for an id that an offset makes too large.
fn beyond<K: Name + ?Sized>(py: Python<'_>, name: &K::Owned, offset: u64) -> PyErr {
    let max = K::LARGEST.unwrap_or(u64::MAX);
    let shown = K::show_owned(py, name).and_then(|name| Ok(name.str()?.to_string()));
    let shown = shown.unwrap_or_else(|_| "an id".to_owned());
    let message = format!("{shown} + {offset} is no id of this index: use a smaller offset");
    refused_value(py, "InvalidId", &message, offset, Some(max))
}

/// The items that a caller chooses, by their ids or by a condition.
fn chosen<K: Name + ?Sized>(
    source: &At<K>,
    of: Option<Deleted<'_, '_>>,
) -> PyResult<Option<HashSet<K::Owned>>> {
    let names = match of {
        None => return Ok(None),
        Some(Deleted::Ids(ids)) => some_names::<K>(ids)?,
        Some(Deleted::Matching(filter)) => {
            let of = condition(filter)?;
            detached(filter.py(), || K::matching(source, of.condition()))?
        }
    };
    Ok(Some(names.into_iter().collect()))
}

#[pymethods]
impl Index {
    /// Adds all items of another index, or of a snapshot of one, with their records, links them,
    /// and commits. Returns how many there were. `copy_from` copies some of them, or under any
    /// other ids.
    ///
    /// Both have the same metric and dimensions, and name their items alike; dtype, codes and kinds
    /// can differ. If both are in one folder, its map cannot grow meanwhile: give that a `map_size`
    /// that holds both.
    ///
    /// Args:
    ///     source: an `Index` or a `Snapshot`.
    ///     offset: what is added to each id, where items are named by numbers.
    ///     progress, cancel: as for `load`.
    ///
    /// Raises:
    ///     AlreadyThere: this index has an item with one of the ids; nothing has changed.
    ///
    /// >>> import tempfile, voisin
    /// >>> parts = [voisin.create(tempfile.mkdtemp(), 2) for _ in range(2)]
    /// >>> for part in parts:
    /// ...     part.add([0, 1], [[0.9, 0.1], [0.1, 0.9]])
    /// >>> parts[0].merge(parts[1], offset=100)
    /// 2
    /// >>> parts[0].ids()
    /// array([  0,   1, 100, 101])
    #[pyo3(signature = (source, *, offset = 0, progress = None, cancel = None))]
    fn merge(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = objects::source)] source: Bound<'_, Searcher>,
        #[pyo3(from_py_with = whole::offset)] offset: u64,
        #[pyo3(from_py_with = objects::progress)] progress: Option<Bound<'_, PyAny>>,
        #[pyo3(from_py_with = objects::cancel)] cancel: Option<Bound<'_, CancelToken>>,
    ) -> PyResult<u64> {
        fn merge<K: Name + ?Sized>(
            index: &Handle<K>,
            (source, named): (&Bound<'_, Searcher>, &'static str),
            how: How<'_, '_>,
        ) -> PyResult<u64> {
            self::copy(index, &snapshot_of::<K>(source, named)?, None, how, source.py())
        }
        let (py, named) = (slf.py(), searcher(slf).id_type());
        let rename = match offset {
            0 => Rename::Kept,
            _ if !["u32", "u64"].contains(&named) => {
                let message = format!(
                    "the items of this index are named by {named}, which have no offset: give \
                     copy_from a rename="
                );
                return Err(refused(py, "NamingMismatch", &message));
            }
            offset => Rename::Moved(offset),
        };
        let (progress, cancel) = (progress.as_ref(), cancel.as_ref().map(Bound::get));
        let how = How { rename, progress, cancel };
        each_index!(slf, index => merge(index, (&source, named), how))
    }

    /// Copies items of another index, or of a snapshot of one, with their records, links them, and
    /// commits. Returns how many were copied. See `merge` for what both must have in common.
    ///
    /// Args:
    ///     source: an `Index` or a `Snapshot`.
    ///     ids: only these items, those of them that the source has, or those for which a
    ///         condition holds.
    ///     filter: only the items for which this condition holds.
    ///     rename: a function of an id that returns the id that the item gets, or None to leave it
    ///         out. It can be called again for the same id, if the write must be repeated.
    ///     progress, cancel: as for `load`.
    ///
    /// Raises:
    ///     AlreadyThere: this index has an item with one of the ids, or two get the same one;
    ///         nothing has changed.
    ///
    /// >>> import tempfile, voisin
    /// >>> notes = voisin.create(tempfile.mkdtemp(), 2, ids=str)
    /// >>> notes.add(["a", "b", "c"], [[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])
    /// >>> some = voisin.create(tempfile.mkdtemp(), 2, ids=str, dtype="f16", kinds="flat")
    /// >>> some.copy_from(notes, ["a", "c", "e"])
    /// 2
    /// >>> some.copy_from(notes, rename=lambda id: f"all/{id}")
    /// 3
    /// >>> some.ids().tolist()
    /// ['a', 'all/a', 'all/b', 'all/c', 'c']
    #[pyo3(signature = (
        source, ids = None, *, filter = None, rename = None, progress = None, cancel = None
    ))]
    fn copy_from(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = objects::source)] source: Bound<'_, Searcher>,
        ids: Option<&Bound<'_, PyAny>>,
        filter: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = objects::rename)] rename: Option<Bound<'_, PyAny>>,
        #[pyo3(from_py_with = objects::progress)] progress: Option<Bound<'_, PyAny>>,
        #[pyo3(from_py_with = objects::cancel)] cancel: Option<Bound<'_, CancelToken>>,
    ) -> PyResult<u64> {
        fn copy_some<K: Name + ?Sized>(
            index: &Handle<K>,
            (source, named): (&Bound<'_, Searcher>, &'static str),
            of: Option<Deleted<'_, '_>>,
            how: How<'_, '_>,
        ) -> PyResult<u64> {
            let snapshot = snapshot_of::<K>(source, named)?;
            let chosen = chosen(&snapshot, of)?;
            self::copy(index, &snapshot, chosen.as_ref(), how, source.py())
        }
        let (py, named) = (slf.py(), searcher(slf).id_type());
        let of = match (ids, filter) {
            (None, None) => None,
            (ids, filter) => Some(one_of(py, ids, filter)?),
        };
        let rename = rename.as_ref().map_or(Rename::Kept, Rename::Called);
        let (progress, cancel) = (progress.as_ref(), cancel.as_ref().map(Bound::get));
        let how = How { rename, progress, cancel };
        each_index!(slf, index => copy_some(index, (&source, named), of, how))
    }
}

/// The indexes that a split copies into.
fn targets_of<K: Name + ?Sized>(
    targets: &[Bound<'_, Index>],
    named: &'static str,
) -> PyResult<Vec<Handle<K>>> {
    let handle = |target: &Bound<'_, Index>| {
        let (py, of) = (target.py(), searcher(target));
        K::index(&of.held(py)?).cloned().ok_or_else(|| {
            let message = format!(
                "the items of {:?} are named by {}, and those that are split by {named}: give \
                 indexes whose items are named alike",
                target.get().index_name(),
                of.id_type()
            );
            refused(py, "NamingMismatch", &message)
        })
    };
    targets.iter().map(handle).collect()
}

/// Splits a snapshot by what a function of the caller's says about each id, asked once.
fn split<K: Name + ?Sized>(
    source: &At<K>,
    targets: &[Handle<K>],
    choose: &Bound<'_, PyAny>,
) -> PyResult<Vec<u64>> {
    let (py, mut places) = (choose.py(), HashMap::new());
    for name in detached(py, || K::all(source))? {
        py.check_signals()?;
        let chosen = choose.call1((K::show_owned(py, &name)?,))?;
        if chosen.is_none() {
            continue;
        }
        let place = chosen.extract::<usize>().ok().filter(|place| *place < targets.len());
        let place = place.ok_or_else(|| {
            let shown = chosen.repr().map_or_else(|_| "?".to_owned(), |shown| shown.to_string());
            let message = format!(
                "choose returned {shown}, and there are {} indexes: return a number from 0 on \
                 below that, or None to leave an item out",
                targets.len()
            );
            refused(py, "InvalidParameter", &message)
        })?;
        places.insert(name, place);
    }
    let choose = |name: &K::Owned| places.get(name).copied().unwrap_or(usize::MAX);
    detached_write(py, || K::split(source, targets, choose))
}

#[pymethods]
impl Searcher {
    /// Copies each item into one of several indexes of one folder, with its record, and commits
    /// that as a whole. Returns how many items each one got. It cannot be interrupted once it
    /// writes.
    ///
    /// Args:
    ///     targets: the indexes, which have the metric, the dimensions and the type of ids of this
    ///         one, all in one folder: see `merge`.
    ///     choose: a function of an id that returns the place of its index among `targets`, from 0
    ///         on, or None to leave the item out. It is called once for each item, before anything
    ///         is written.
    ///
    /// Raises:
    ///     AlreadyThere: an index has an item with one of its ids; nothing has changed.
    ///
    /// >>> import tempfile, voisin
    /// >>> whole = voisin.create(tempfile.mkdtemp(), 2)
    /// >>> whole.add(range(10), [[1.0, float(i)] for i in range(10)])
    /// >>> folder = tempfile.mkdtemp()
    /// >>> parts = [voisin.create(folder, 2, name=name) for name in ("even", "odd")]
    /// >>> whole.split_into(parts, lambda id: id % 2)
    /// [5, 5]
    /// >>> parts[1].ids()
    /// array([1, 3, 5, 7, 9])
    fn split_into(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = objects::targets)] targets: Vec<Bound<'_, Index>>,
        #[pyo3(from_py_with = objects::choose)] choose: Bound<'_, PyAny>,
    ) -> PyResult<Vec<u64>> {
        fn split_held<K: Name + ?Sized>(
            source: &Bound<'_, Searcher>,
            targets: &[Bound<'_, Index>],
            choose: &Bound<'_, PyAny>,
        ) -> PyResult<Vec<u64>> {
            let named = source.get().id_type();
            let targets = targets_of::<K>(targets, named)?;
            split(&snapshot_of::<K>(source, named)?, &targets, choose)
        }
        match slf.get().id_type() {
            "u32" => split_held::<voisin::ItemId>(slf, &targets, &choose),
            "u64" => split_held::<u64>(slf, &targets, &choose),
            "bytes" => split_held::<[u8]>(slf, &targets, &choose),
            "uuid" => split_held::<[u8; 16]>(slf, &targets, &choose),
            _ => split_held::<str>(slf, &targets, &choose),
        }
    }
}
