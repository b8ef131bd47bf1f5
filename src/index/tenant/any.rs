//! A tenant of an index whose metric and naming are known when it is opened, not when the program
//! is compiled.

use super::super::Index;
use super::super::any::{AnyIndex, AnyMetric};
use super::super::any_key::AnyKey;
use super::Tenant;
use crate::codec::Component;
use crate::error::{Error, Result};
use crate::search::Searched;

/// A tenant of an [`AnyIndex`]: see [`AnyIndex::tenant`].
///
/// It is one of two handles, each with all methods of a [`Tenant`]. The methods here work on both,
/// with items named by [`AnyKey`].
#[derive(Debug, Clone)]
pub enum AnyTenant {
    /// Items are named by strings.
    Texts(Tenant<Index<AnyMetric, str>>),
    /// Items are named by bytes.
    Bytes(Tenant<Index<AnyMetric, [u8]>>),
}

/// Evaluates the same expression on each of the handles. With a key, it is one of the type of the
/// handle, or the error is returned.
macro_rules! each {
    ($self:expr, $tenant:ident => $work:expr) => {
        match $self {
            AnyTenant::Texts($tenant) => $work,
            AnyTenant::Bytes($tenant) => $work,
        }
    };
    ($self:expr, $tenant:ident, key $key:ident => $work:expr) => {{
        let key: AnyKey = $key.into();
        match $self {
            AnyTenant::Texts($tenant) => {
                let $key = key.text($tenant.of.name())?;
                $work
            }
            AnyTenant::Bytes($tenant) => {
                let $key = key.bytes($tenant.of.name())?;
                $work
            }
        }
    }};
}

/// The same of an index that can have tenants, with their names.
macro_rules! each_index {
    ($self:expr, $index:ident, $($name:ident),* => $work:expr) => {{
        $(let $name: AnyKey = $name.into();)*
        match $self {
            AnyIndex::Texts($index) => {
                $(let $name = $name.text($index.name())?;)*
                $work
            }
            AnyIndex::Bytes($index) => {
                $(let $name = $name.bytes($index.name())?;)*
                $work
            }
            other => Err(other.no_tenants()),
        }
    }};
}

impl AnyIndex {
    fn no_tenants(&self) -> Error {
        Error::NoTenants { index: self.name().to_owned(), stored: self.naming() }
    }

    /// A tenant: see [`Index::tenant`].
    ///
    /// ```
    /// use voisin::{AnyIndex, AnyKey, AnyType, Error, Names, Options};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("vectors");
    /// let of = AnyType::new("euclidean").names(Names::Texts);
    /// let index = AnyIndex::create(&path, &of, Options::new(1).name("texts"))?;
    /// let acme = index.tenant("acme")?;
    /// acme.add_with_record("doc-1", &[0.5], b"its text")?;
    /// index.tenant("bolt")?.add("doc-1", &[0.25])?;
    /// assert_eq!(acme.search(&[0.0], 9)?.into_nns(), [(AnyKey::from("doc-1"), 0.25)]);
    /// assert_eq!((acme.len()?, acme.record("doc-1")?), (1, Some(b"its text".to_vec())));
    /// index.drop_tenant("acme")?;
    /// assert_eq!(index.tenants()?, [AnyKey::from("bolt")]);
    ///
    /// let numbers = AnyIndex::create(&path, &AnyType::new("euclidean"), Options::new(1))?;
    /// assert!(matches!(numbers.tenant("acme"), Err(Error::NoTenants { .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`NoTenants`](Error::NoTenants) if items are not named by strings or bytes,
    /// [`NamingMismatch`](Error::NamingMismatch) if the name is not of their type, and as
    /// [`Index::tenant`].
    pub fn tenant(&self, name: impl Into<AnyKey>) -> Result<AnyTenant> {
        let name = name.into();
        match self {
            Self::Texts(index) => Ok(AnyTenant::Texts(index.tenant(name.text(index.name())?)?)),
            Self::Bytes(index) => Ok(AnyTenant::Bytes(index.tenant(name.bytes(index.name())?)?)),
            other => Err(other.no_tenants()),
        }
    }

    /// The names of all tenants, in the order of their bytes: see [`Index::tenants`].
    ///
    /// # Errors
    /// [`NoTenants`](Error::NoTenants), and as [`Index::tenants`].
    pub fn tenants(&self) -> Result<Vec<AnyKey>> {
        match self {
            Self::Texts(index) => Ok(index.tenants()?.into_iter().map(AnyKey::Text).collect()),
            Self::Bytes(index) => Ok(index.tenants()?.into_iter().map(AnyKey::Bytes).collect()),
            other => Err(other.no_tenants()),
        }
    }

    /// Deletes all items of a tenant, and commits: see [`Index::drop_tenant`].
    ///
    /// # Errors
    /// As [`tenant`](Self::tenant) and [`Index::drop_tenant`].
    pub fn drop_tenant(&self, name: impl Into<AnyKey>) -> Result<u64> {
        each_index!(self, index, name => index.drop_tenant(name))
    }

    /// Deletes all items of a tenant, and erases what they leave: see [`Index::erase_tenant`].
    ///
    /// # Errors
    /// As [`tenant`](Self::tenant) and [`Index::erase_tenant`].
    pub fn erase_tenant(&self, name: impl Into<AnyKey>) -> Result<u64> {
        each_index!(self, index, name => index.erase_tenant(name))
    }

    /// Gives a tenant another name, and commits: see [`Index::rename_tenant`].
    ///
    /// # Errors
    /// As [`tenant`](Self::tenant) and [`Index::rename_tenant`].
    pub fn rename_tenant(&self, name: impl Into<AnyKey>, new: impl Into<AnyKey>) -> Result<u64> {
        each_index!(self, index, name, new => index.rename_tenant(name, new))
    }

    /// Moves a tenant to another index: see [`Index::move_tenant`].
    ///
    /// # Errors
    /// As [`tenant`](Self::tenant) and [`Index::move_tenant`];
    /// [`NamingMismatch`](Error::NamingMismatch) if the indexes name their items in two ways.
    pub fn move_tenant(
        &self,
        name: impl Into<AnyKey>,
        target: &Self,
        new: impl Into<AnyKey>,
    ) -> Result<u64> {
        let (name, new) = (name.into(), new.into());
        match (self, target) {
            (Self::Texts(index), Self::Texts(target)) => {
                index.move_tenant(name.text(index.name())?, target, new.text(index.name())?)
            }
            (Self::Bytes(index), Self::Bytes(target)) => {
                index.move_tenant(name.bytes(index.name())?, target, new.bytes(index.name())?)
            }
            (Self::Texts(_) | Self::Bytes(_), other) => Err(Error::NamingMismatch {
                index: other.name().to_owned(),
                stored: other.naming(),
                requested: self.naming(),
            }),
            (other, _) => Err(other.no_tenants()),
        }
    }
}

impl AnyTenant {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        each!(self, tenant => tenant.name())
    }

    /// Returns its items nearest to a vector, the nearest first, with default options. For other
    /// options, match the handle and use [`Tenant::search`].
    ///
    /// # Errors
    /// As [`AnyIndex::search`].
    pub fn search(&self, vector: &[impl Component], k: usize) -> Result<Searched<AnyKey>> {
        match self {
            Self::Texts(tenant) => {
                tenant.search(k).by_vector(vector)?.name(|key| Ok(AnyKey::Text(key)))
            }
            Self::Bytes(tenant) => {
                tenant.search(k).by_vector(vector)?.name(|key| Ok(AnyKey::Bytes(key)))
            }
        }
    }

    /// Adds an item, or replaces its vector, and commits.
    ///
    /// # Errors
    /// As [`Tenant::add`]; [`NamingMismatch`](Error::NamingMismatch) if the key is of the wrong
    /// type, [`UnknownMetric`](Error::UnknownMetric).
    pub fn add(&self, key: impl Into<AnyKey>, vector: &[impl Component]) -> Result<()> {
        each!(self, tenant, key key => tenant.add(key, vector))
    }

    /// Adds an item with a record, or replaces its vector and its record, and commits.
    ///
    /// # Errors
    /// As [`add`](Self::add) and [`Tenant::add_with_record`].
    pub fn add_with_record(
        &self,
        key: impl Into<AnyKey>,
        vector: &[impl Component],
        record: &[u8],
    ) -> Result<()> {
        each!(self, tenant, key key => tenant.add_with_record(key, vector, record))
    }

    /// Sets the record of an item, and commits. `false` if there is no such item.
    ///
    /// # Errors
    /// As [`delete`](Self::delete) and [`Tenant::set_record`].
    pub fn set_record(&self, key: impl Into<AnyKey>, record: &[u8]) -> Result<bool> {
        each!(self, tenant, key key => tenant.set_record(key, record))
    }

    /// Deletes an item, and commits. `false` if there is none.
    ///
    /// # Errors
    /// As [`Tenant::delete`]; [`NamingMismatch`](Error::NamingMismatch) if the key is of the wrong
    /// type.
    pub fn delete(&self, key: impl Into<AnyKey>) -> Result<bool> {
        each!(self, tenant, key key => tenant.delete(key))
    }

    /// The number of its items: see [`Tenant::len`].
    ///
    /// # Errors
    /// As [`Tenant::len`].
    pub fn len(&self) -> Result<u64> {
        each!(self, tenant => tenant.len())
    }

    /// Whether it has no items: then there is no such tenant.
    ///
    /// # Errors
    /// As [`Tenant::len`].
    pub fn is_empty(&self) -> Result<bool> {
        each!(self, tenant => tenant.is_empty())
    }

    /// Whether it has such an item.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn contains(&self, key: impl Into<AnyKey>) -> Result<bool> {
        each!(self, tenant, key key => tenant.contains(key))
    }

    /// The vector of an item as stored. `None` if there is no such item.
    ///
    /// # Errors
    /// As [`Tenant::vector`]; [`NamingMismatch`](Error::NamingMismatch) if the key is of the wrong
    /// type.
    pub fn vector(&self, key: impl Into<AnyKey>) -> Result<Option<Vec<f32>>> {
        each!(self, tenant, key key => tenant.vector(key))
    }

    /// The record of an item. `None` if it has none, or if there is no such item.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn record(&self, key: impl Into<AnyKey>) -> Result<Option<Vec<u8>>> {
        each!(self, tenant, key key => tenant.record(key))
    }

    /// The keys of its items, in the order of their bytes.
    ///
    /// # Errors
    /// As [`Tenant::keys`].
    pub fn keys(&self) -> Result<Vec<AnyKey>> {
        match self {
            Self::Texts(tenant) => Ok(tenant.keys()?.into_iter().map(AnyKey::Text).collect()),
            Self::Bytes(tenant) => Ok(tenant.keys()?.into_iter().map(AnyKey::Bytes).collect()),
        }
    }
}
