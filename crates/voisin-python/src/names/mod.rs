//! The names of items, ids or keys, between Python and voisin: one trait, for each of the five
//! kinds of names, with the methods of voisin that have a signature for each.
//!
//! `take` and `show` convert names from and to Python, `calls` has what all kinds have in common,
//! `numbers` and `keys` the kinds.

mod calls;
mod keys;
mod numbers;
mod show;
mod take;

use pyo3::prelude::*;
use voisin::codec::Component;
use voisin::{
    AnyMetric, Batch, Condition, Filter, Index, ItemName, Loader, Pages, Query, Result, Searchable,
    Searched, Snapshot,
};

pub(crate) use self::show::uuid_type;
pub(crate) use self::take::is_one;
use crate::filters::Kept;
use crate::found::{Many, One};
use crate::held::Held;
use crate::pages::Any;
use crate::queue::Names;
use crate::records::Record;
use crate::unless::Unless;

/// A handle that names items by `K`.
pub(crate) type Handle<K> = Index<AnyMetric, K>;

/// Pages of a snapshot whose items are named by `K`.
pub(crate) type PagesOf<K> = Pages<Snapshot<AnyMetric, K>, K>;

/// See the module.
pub(crate) trait Name: ItemName {
    /// Whether names can begin with others.
    const HAS_PREFIX: bool = false;
    /// The largest name, where names are numbers.
    const LARGEST: Option<u64> = None;

    /// The name of one item.
    fn take_one(name: &Bound<'_, PyAny>) -> PyResult<Self::Owned>;
    /// The names of many items: an array, a list, a set, or any other iterable.
    fn take(names: &Bound<'_, PyAny>) -> PyResult<Vec<Self::Owned>>;
    /// The names 0, 1, 2, ..., where items are named by numbers.
    fn numbered(count: u64) -> Option<Vec<Self::Owned>>;
    /// A name as Python has it.
    fn show<'py>(py: Python<'py>, name: &Self) -> PyResult<Bound<'py, PyAny>>;
    /// The same of an owned name.
    fn show_owned<'py>(py: Python<'py>, name: &Self::Owned) -> PyResult<Bound<'py, PyAny>>;
    /// Names in an array of one dimension.
    fn array<'py>(py: Python<'py>, names: Vec<Self::Owned>) -> PyResult<Bound<'py, PyAny>>;
    /// The names of answers in an array of `k` columns. Where there are fewer, it is filled up.
    fn matrix<'py>(
        py: Python<'py>,
        rows: &[Searched<Self::Owned>],
        k: usize,
    ) -> PyResult<Bound<'py, PyAny>>;

    fn one(found: Searched<Self::Owned>) -> One;
    fn many(found: Vec<Searched<Self::Owned>>) -> Many;

    fn filter(names: Vec<Self::Owned>) -> Result<Filter<Self>>;
    /// The filter, if it is of such names.
    fn kept(filter: &Kept) -> Option<Filter<Self>>;
    fn keep(filter: Filter<Self>) -> Kept;
    /// The names, if they are of this kind.
    fn of_names(names: &Names) -> Option<&[Self::Owned]>;
    /// Sets the prefix of a query, where names have one.
    fn prefix<'a, S: Searchable<Key = Self>>(query: &mut Query<'a, S>, prefix: &'a str);
    fn by_item<S: Searchable<Key = Self>>(
        query: &Query<'_, S>,
        name: &Self::Owned,
    ) -> Result<Option<Searched<Self::Owned>>>;
    fn pages_by_item<'a, S: Searchable<Key = Self>>(
        query: &Query<'a, S>,
        name: &Self::Owned,
    ) -> Result<Option<Pages<S::Pinned<'a>, Self>>>;
    fn pages(pages: PagesOf<Self>) -> Any;
    fn next_page(
        pages: &mut PagesOf<Self>,
        cancel: &(dyn Fn() -> bool + Sync),
    ) -> Result<Searched<Self::Owned>>;

    /// A name within its tenant, if it is that of a tenant's item in the index.
    fn within(name: Self::Owned) -> Self::Owned {
        name
    }

    fn all(snapshot: &Snapshot<AnyMetric, Self>) -> Result<Vec<Self::Owned>>;
    fn contains(snapshot: &Snapshot<AnyMetric, Self>, name: &Self::Owned) -> Result<bool>;
    fn vector(snapshot: &Snapshot<AnyMetric, Self>, name: &Self::Owned)
    -> Result<Option<Vec<f32>>>;
    fn record(snapshot: &Snapshot<AnyMetric, Self>, name: &Self::Owned) -> Result<Record>;
    /// The names of the items for which a condition holds, in their order.
    fn matching(
        snapshot: &Snapshot<AnyMetric, Self>,
        condition: &Condition,
    ) -> Result<Vec<Self::Owned>>;

    fn has(batch: &Batch<'_, AnyMetric, Self>, name: &Self::Owned) -> Result<bool>;
    fn add(
        batch: &mut Batch<'_, AnyMetric, Self>,
        names: &[Self::Owned],
        vectors: &[impl Component],
    ) -> Result<()>;
    /// Adds items that all have a record.
    fn add_with_records<T: Component>(
        batch: &mut Batch<'_, AnyMetric, Self>,
        names: &[Self::Owned],
        vectors: &[T],
        records: &[Record],
    ) -> Result<()>;
    fn set_record(
        batch: &mut Batch<'_, AnyMetric, Self>,
        name: &Self::Owned,
        record: &[u8],
    ) -> Result<bool>;
    fn remove_record(batch: &mut Batch<'_, AnyMetric, Self>, name: &Self::Owned) -> Result<bool>;
    /// Adds an item unless there is one near. Returns the one that was near.
    fn add_unless(
        batch: &mut Batch<'_, AnyMetric, Self>,
        name: &Self::Owned,
        vector: &[impl Component],
        unless: Unless,
    ) -> Result<Option<(Self::Owned, f32)>>;
    fn delete(batch: &mut Batch<'_, AnyMetric, Self>, names: &[Self::Owned]) -> Result<u64>;
    fn delete_matching(
        batch: &mut Batch<'_, AnyMetric, Self>,
        condition: &Condition,
    ) -> Result<u64>;
    /// Deletes all items of a tenant, where items can have one.
    fn drop_tenant(_: &mut Batch<'_, AnyMetric, Self>, _name: &Self::Owned) -> Result<u64> {
        Ok(0)
    }
    /// Gives a tenant another name, where items can have one.
    fn rename_tenant(
        _: &mut Batch<'_, AnyMetric, Self>,
        _name: &Self::Owned,
        _new: &Self::Owned,
    ) -> Result<u64> {
        Ok(0)
    }
    fn load<T: Component, V: AsRef<[T]>>(
        loader: &Loader<'_, AnyMetric, Self>,
        rows: impl Iterator<Item = (Self::Owned, V, Record)>,
    ) -> Result<u64>;

    fn erase(index: &Handle<Self>, names: &[Self::Owned]) -> Result<u64>;
    fn erase_matching(index: &Handle<Self>, condition: &Condition) -> Result<u64>;

    /// A snapshot of what is held. `None` if that names its items otherwise.
    fn snapshot(held: &Held) -> Option<Result<Snapshot<AnyMetric, Self>>>;
    /// The index that is held. `None` if it is a snapshot, or names its items otherwise.
    fn index(held: &Held) -> Option<&Handle<Self>>;
    /// Copies the items of a snapshot under the names that `rename` gives them, but those that get
    /// none.
    fn copy(
        loader: &Loader<'_, AnyMetric, Self>,
        source: &Snapshot<AnyMetric, Self>,
        rename: impl FnMut(&Self::Owned) -> Option<Self::Owned>,
    ) -> Result<u64>;
    /// Copies each item of a snapshot into the index whose place `choose` returns.
    fn split(
        source: &Snapshot<AnyMetric, Self>,
        targets: &[Handle<Self>],
        choose: impl Fn(&Self::Owned) -> usize,
    ) -> Result<Vec<u64>>;
    /// The name that is larger by `offset`, where names are numbers: `None` if there is none.
    fn moved(_name: &Self::Owned, _offset: u64) -> Option<Self::Owned> {
        None
    }
}
