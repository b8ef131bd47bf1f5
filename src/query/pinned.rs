//! One state of what can be searched, for queries of several steps: pages, several vectors, groups.
//!
//! All steps see the same snapshot. They are written once, for any view and for ids; names, ids or
//! keys, are looked up at the end.

use super::{Query, Searchable, by_ids};
use crate::error::{Error, Result};
use crate::filter::Named;
use crate::item_key::{ItemName, sealed};
use crate::search::{AnyView, Request, Searched};
use crate::store::sections::item_keys::rows::mistyped;
use crate::store::source::Source;
use crate::store::view::View;
use crate::types::ItemId;

/// What can be looked at again and again in one state.
#[doc(hidden)]
pub trait Pinned {
    /// Does the work once.
    ///
    /// # Errors
    /// Those of the work, and of looking up the items that its restrictions name.
    fn look(&self, work: Work<'_>) -> Result<()>;

    /// The commit that this is a state of, for a token. `None` if it is not committed.
    ///
    /// # Errors
    /// Those of reading.
    fn commit(&self) -> Result<Option<u64>>;

    /// Whether the index is the same as at a commit, as far as that is known.
    ///
    /// # Errors
    /// Those of reading.
    fn is_same_as(&self, commit: u64) -> Result<bool> {
        Ok(self.commit()? == Some(commit))
    }
}

impl<P: Pinned> Pinned for &P {
    fn look(&self, work: Work<'_>) -> Result<()> {
        (**self).look(work)
    }

    fn commit(&self) -> Result<Option<u64>> {
        (**self).commit()
    }

    fn is_same_as(&self, commit: u64) -> Result<bool> {
        (**self).is_same_as(commit)
    }
}

/// What is done with a view, the request with its restrictions, and the names of items.
pub(crate) type WorkFn<'w> =
    dyn for<'v, 's, 't> FnMut(AnyView<'v, 's, 't>, Request<'_>, &dyn Names) -> Result<()> + 'w;

/// Work on one state: see [`Pinned::look`].
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "it has a closure")]
pub struct Work<'w> {
    /// The restrictions of the request, by name.
    pub(crate) named: &'w Named<'w>,
    pub(crate) request: Request<'w>,
    pub(crate) run: &'w mut WorkFn<'w>,
}

/// The names of the items of an index, as bytes.
pub(crate) trait Names {
    /// The id of a name. `None` if there is no such item.
    fn id(&self, name: &[u8]) -> Result<Option<ItemId>>;

    /// The name of an item.
    fn name(&self, id: ItemId) -> Result<Vec<u8>>;
}

/// Names that are the ids themselves.
pub(crate) struct IdNames;

impl Names for IdNames {
    fn id(&self, name: &[u8]) -> Result<Option<ItemId>> {
        Ok(<ItemId as sealed::Bytes>::take(name))
    }

    fn name(&self, id: ItemId) -> Result<Vec<u8>> {
        Ok(id.to_be_bytes().into())
    }
}

/// Looks at an index whose items are named by ids.
pub(crate) fn look_by_ids<'t, S: Source<'t>>(
    view: &View<'_, 't, S>,
    Work { named, request, run }: Work<'_>,
) -> Result<()> {
    by_ids(view, named, request, |request| run(view.on_any_source(), request, &IdNames))
}

/// The name of an item, owned.
pub(crate) fn own<K: sealed::Bytes + ?Sized>(
    index: u16,
    names: &dyn Names,
    id: ItemId,
) -> Result<K::Owned> {
    K::take(&names.name(id)?).ok_or_else(|| mistyped(index, id))
}

/// An answer by the names of its items.
pub(crate) fn named<K: sealed::Bytes + ?Sized>(
    index: u16,
    names: &dyn Names,
    found: Searched,
) -> Result<Searched<K::Owned>> {
    found.name(|id| own::<K>(index, names, id))
}

impl<S: Searchable> Query<'_, S> {
    /// Runs a query of several steps on one state of the index.
    pub(crate) fn ask<T>(
        &self,
        mut ask: impl FnMut(AnyView<'_, '_, '_>, Request<'_>, &dyn Names) -> Result<T>,
    ) -> Result<T> {
        let mut result = None;
        let run = &mut |view: AnyView<'_, '_, '_>, request: Request<'_>, names: &dyn Names| {
            result = Some(ask(view, request, names)?);
            Ok(())
        };
        self.searched.pin()?.look(Work { named: &self.named, request: self.request, run })?;
        result.ok_or(Error::Cancelled)
    }
}

/// The owned name of the items of a [`Searchable`].
pub(crate) type Name<S> = <<S as Searchable>::Key as ItemName>::Owned;
