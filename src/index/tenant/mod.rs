//! Tenants of an index: many small collections of items in one, each with keys of its own.
//!
//! A tenant is a prefix of the keys of an index that names its items by strings or bytes
//! (`format/tenant`), and nothing else: no value of an index is a tenant's, so one that is idle
//! costs nothing, and what is done with one costs what it holds. A handle adds the prefix to the
//! keys it is given, and takes it off the keys of answers. `reading` has what a snapshot tells of a
//! tenant, and the list of all; `writing` changes one; `moving` renames and moves one; `any` is a
//! tenant of an index without types.

mod any;
mod moving;
mod reading;
mod writing;

use std::fmt;
use std::sync::Arc;

pub use self::any::AnyTenant;
pub use self::writing::TenantBatch;
use super::{Index, Snapshot};
use crate::error::{Error, Result};
use crate::filter::{Kept, Named};
use crate::format::tenant;
use crate::item_key::{AsKey, MAX_KEY_BYTES, PrefixedKey, sealed};
use crate::query::{Answer, HasRecords, Query, Searchable, Target};

/// The longest name of a tenant, which leaves one byte to the key.
const MAX_NAME_BYTES: usize = MAX_KEY_BYTES - 4;

/// A tenant of an index or of a snapshot: see [`Index::tenant`].
///
/// A handle can be cloned, and used from any thread. It keeps the name, and from its second search
/// of a commit on which items the tenant has: 4 bytes each, which clones share. For a tenant of
/// many items, keep the handle for several searches; of one with few, they are looked up in some
/// microseconds.
#[derive(Clone)]
pub struct Tenant<S> {
    of: S,
    space: Arc<Space>,
}

/// The keys of a tenant's items.
#[derive(Debug)]
struct Space {
    name: Vec<u8>,
    /// The first bytes of all keys.
    prefix: Vec<u8>,
    /// All of them, for queries.
    all: Kept,
}

impl Space {
    /// # Errors
    /// [`Error::InvalidTenant`].
    fn new<K: PrefixedKey + ?Sized>(name: &impl AsKey<K>) -> Result<Arc<Self>> {
        let name = name.as_key().as_prefix().to_vec();
        let prefix = tenant::prefix(&name, MAX_KEY_BYTES);
        let prefix =
            prefix.ok_or(Error::InvalidTenant { bytes: name.len(), max: MAX_NAME_BYTES })?;
        Ok(Arc::new(Self { name, prefix, all: Kept::all() }))
    }

    /// The key of an item in the index.
    ///
    /// # Errors
    /// [`Error::InvalidItemKey`].
    fn key<K: PrefixedKey + ?Sized>(&self, key: &impl AsKey<K>) -> Result<Vec<u8>> {
        self.key_of(key.as_key().as_prefix())
    }

    fn key_of(&self, key: &[u8]) -> Result<Vec<u8>> {
        let max = MAX_KEY_BYTES - self.prefix.len();
        if !(1..=max).contains(&key.len()) {
            return Err(Error::InvalidItemKey { bytes: key.len(), max });
        }
        Ok([&self.prefix, key].concat())
    }

    fn query<'a, S>(&'a self, searched: &'a S, k: usize) -> Query<'a, S> {
        let mut query = Query::new(searched, k);
        query.named = Named { space: &self.prefix, tenant: Some(&self.all), ..Named::default() };
        query
    }
}

/// A name or a key by its bytes, which are of one: of a prefix that begins a whole key, or of what
/// follows it.
fn take<K: PrefixedKey + ?Sized>(bytes: &[u8]) -> Option<K::Owned> {
    <K as sealed::Bytes>::take(bytes)
}

impl<S> fmt::Debug for Tenant<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.space.name.escape_ascii().to_string();
        f.debug_struct("Tenant").field("name", &name).finish_non_exhaustive()
    }
}

impl<D, K: PrefixedKey + ?Sized> Index<D, K> {
    /// A tenant: a collection of items of its own within the index, whose items are named by
    /// strings or bytes. Keys are the tenant's: two tenants can each have an item `"doc-1"`.
    ///
    /// Nothing is created, and there is nothing to create: a tenant exists while it has items. It
    /// has no file, no reader, no memory and no entry anywhere but the keys of its items, which are
    /// three bytes longer than its name and key. There can be as many as there are items. A search
    /// costs what a search with a [prefix](Query::prefix) does: a small tenant is scanned, exactly;
    /// a large one is searched by the kinds of the index.
    ///
    /// All tenants have the options of the index: metric, dimensions, fields, kinds. A search of
    /// the index itself searches the items of all tenants, and those of none, and names them by
    /// their whole keys: [`tenant_of`] takes these apart.
    ///
    /// ```
    /// use voisin::{Index, IndexKind, Options, distances::Cosine, tenant_of};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("vectors");
    /// let options = Options::new(2).kinds([IndexKind::Flat]);
    /// let index = Index::<Cosine, str>::create(&path, options)?;
    /// let (acme, bolt) = (index.tenant("acme")?, index.tenant("bolt")?);
    /// acme.write(|batch| {
    ///     batch.add("doc-1", &[1.0, 0.0])?;
    ///     batch.add_with_record("doc-2", &[0.8, 0.6], b"its text")
    /// })?;
    /// bolt.add("doc-1", &[0.0, 1.0])?;
    ///
    /// assert_eq!(acme.search(5).by_vector(&[0.0, 1.0])?.nns[0].0, "doc-2");
    /// assert_eq!(bolt.search(5).by_vector(&[1.0, 0.0])?.into_nns(), [("doc-1".to_owned(), 0.5)]);
    /// assert_eq!((acme.len()?, acme.vector("doc-1")?), (2, Some(vec![1.0, 0.0])));
    /// assert_eq!(index.tenants()?, ["acme", "bolt"]);
    ///
    /// // Of several tenants in one commit, and of all tenants at one commit.
    /// index.write(|batch| {
    ///     batch.rename_tenant("bolt", "bolt & sons")?;
    ///     batch.drop_tenant("acme")
    /// })?;
    /// assert_eq!(index.snapshot()?.tenant("acme")?.len()?, 0);
    /// let found = index.search(1).by_vector(&[0.0, 1.0])?.into_nns();
    /// let whose = ("bolt & sons".to_owned(), "doc-1".to_owned());
    /// assert_eq!(tenant_of::<str>(&found[0].0), Some(whose));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InvalidTenant`](Error::InvalidTenant) for a name that is empty, or longer than 476 bytes.
    pub fn tenant(&self, name: impl AsKey<K>) -> Result<Tenant<Self>> {
        Ok(Tenant { of: self.clone(), space: Space::new(&name)? })
    }
}

impl<D, K: PrefixedKey + ?Sized> Snapshot<D, K> {
    /// A tenant at this commit: see [`Index::tenant`].
    ///
    /// # Errors
    /// As [`Index::tenant`].
    pub fn tenant(&self, name: impl AsKey<K>) -> Result<Tenant<Self>> {
        Ok(Tenant { of: self.clone(), space: Space::new(&name)? })
    }
}

/// The name of the tenant of an item, and its key there, by its key in the index, such as an answer
/// of [`Index::search`] has. `None` if it is the item of no [tenant](Index::tenant).
#[must_use]
pub fn tenant_of<K: PrefixedKey + ?Sized>(key: &K) -> Option<(K::Owned, K::Owned)> {
    let key = key.as_prefix();
    let (name, prefix) = tenant::name_in(key)?;
    take::<K>(&name).zip(take::<K>(key.get(prefix..)?))
}

impl<S> Tenant<S> {
    /// The index or snapshot that it is a tenant of.
    #[must_use]
    pub fn of(&self) -> &S {
        &self.of
    }
}

impl<S: Searchable<Key: PrefixedKey>> Tenant<S> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.space.name
    }

    /// The key that an item of the tenant has in the index: for what is done by index and not by
    /// tenant, as a [`Loader`](crate::Loader) does for many at once.
    ///
    /// ```
    /// use voisin::{Index, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("vectors");
    /// let index = Index::<Euclidean, str>::create(&path, Options::new(1))?;
    /// let mut rows = Vec::new();
    /// for name in ["acme", "bolt"] {
    ///     let tenant = index.tenant(name)?;
    ///     for nth in 0..100 {
    ///         rows.push((tenant.key(format!("doc-{nth}"))?, [nth as f32]));
    ///     }
    /// }
    /// index.load(rows, |_| {})?;
    /// let found = index.tenant("bolt")?.search(1).by_vector(&[41.9])?;
    /// assert_eq!(found.nns[0].0, "doc-42");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InvalidItemKey`](Error::InvalidItemKey) if it is empty or too long: of the 480 bytes of a
    /// key, the tenant takes the length of its name and 3, and one more for each NUL in it.
    pub fn key(
        &self,
        key: impl AsKey<S::Key>,
    ) -> Result<<S::Key as crate::item_key::ItemName>::Owned> {
        let (key, max) = (self.space.key(&key)?, MAX_KEY_BYTES - self.space.prefix.len());
        take::<S::Key>(&key).ok_or(Error::InvalidItemKey { bytes: key.len(), max })
    }

    /// Starts a query for the `k` nearest items of the tenant, with all options of a query of the
    /// index: see [`Index::search`]. Keys are the tenant's, in restrictions and in answers.
    ///
    /// ```
    /// use voisin::{Field, Index, Options, distances::Euclidean, field};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("vectors");
    /// let index = Index::<Euclidean, str>::create(&path, Options::new(1))?;
    /// index.write(|batch| {
    ///     batch.add_field(Field::keyword("tag"))?;
    ///     for name in ["acme", "bolt"] {
    ///         let mut tenant = batch.tenant(name)?;
    ///         tenant.add_with_record("a/1", &[1.0], br#"{"tag": "new"}"#)?;
    ///         tenant.add_with_record("a/2", &[2.0], br#"{"tag": "old"}"#)?;
    ///         tenant.add("b/1", &[3.0])?;
    ///     }
    ///     Ok(())
    /// })?;
    /// let acme = index.tenant("acme")?;
    /// let new = field("tag").eq("new");
    /// let found = acme.search(9).candidates(&new).with_records().by_vector(&[2.0])?;
    /// assert_eq!(found.nns, [("a/1".to_owned(), 1.0)]);
    /// let found = acme.search(9).prefix("a/").within(1.0).exclude(["a/2"]).by_vector(&[2.0])?;
    /// assert_eq!(found.nns, [("a/1".to_owned(), 1.0)]);
    /// let mut pages = acme.search(2).pages(&[0.0])?;
    /// let lengths = pages.by_ref().map(|page| page.unwrap().nns.len()).collect::<Vec<_>>();
    /// assert_eq!(lengths, [2, 1]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn search(&self, k: usize) -> Query<'_, Self> {
        self.space.query(self, k)
    }
}

impl<S: HasRecords> HasRecords for Tenant<S> {}

/// Answers a query of a tenant of `of`: its restrictions say which.
fn answer<S: Searchable, T>(
    of: &S,
    query: &Query<'_, T>,
    target: Target<'_>,
) -> Result<Option<Vec<Answer<S>>>> {
    let (request, named) = (query.request, query.named.clone());
    S::answer(&Query { searched: of, request, named }, target)
}

impl<S: Searchable<Key: PrefixedKey>> Searchable for Tenant<S> {
    type Key = S::Key;

    fn answer(query: &Query<'_, Self>, target: Target<'_>) -> Result<Option<Vec<Answer<Self>>>> {
        answer(&query.searched.of, query, target)
    }

    type Pinned<'a>
        = S::Pinned<'a>
    where
        Self: 'a;

    fn pin(&self) -> Result<Self::Pinned<'_>> {
        self.of.pin()
    }
}
