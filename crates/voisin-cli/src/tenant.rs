//! Tenants in the command line, and what one has in common with its index in searches.
//!
//! A name is a text, or, in an index of bytes, two hexadecimal digits for each byte, as keys are.

use clap::Args;
use voisin::{
    AnyIndex, AnyKey, AnyMetric, AnyTenant, HasRecords, Index, PrefixedKey, Query, Searchable,
    Tenant,
};

use crate::failure::{Failure, Result};
use crate::keys::{Key, given};
use crate::ui::Ui;

/// A restriction to the items of a tenant.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OfTenant {
    /// Only the items of this tenant, by their keys there (an index of texts or bytes)
    #[arg(long, value_name = "NAME")]
    pub(crate) tenant: Option<String>,
}

impl OfTenant {
    /// The tenant, if one is given.
    pub(crate) fn of(&self, index: &AnyIndex) -> Result<Option<AnyTenant>> {
        self.tenant.as_deref().map(|name| tenant(index, name)).transpose()
    }

    /// Tells a person that nothing was found as there is no such tenant: its name may be mistyped.
    pub(crate) fn note(&self, ui: &Ui, tenant: &AnyTenant) -> Result<()> {
        if tenant.is_empty()? {
            ui.note(&nobody(self.tenant.as_deref().unwrap_or_default()));
        }
        Ok(())
    }
}

fn nobody(name: &str) -> String {
    format!("there is no tenant {name:?}: voisin tenants lists those of an index")
}

/// There is no such tenant.
pub(crate) fn missing(name: &str) -> Failure {
    Failure::no(nobody(name))
}

/// A tenant of an index, by its name as the command line gives it.
pub(crate) fn tenant(index: &AnyIndex, name: &str) -> Result<AnyTenant> {
    Ok(index.tenant(name_of(index, name)?)?)
}

/// The name of a tenant, as the command line gives it.
pub(crate) fn name_of(index: &AnyIndex, text: &str) -> Result<AnyKey> {
    match index {
        AnyIndex::Bytes(_) => Ok(AnyKey::Bytes(given::<[u8]>(text)?)),
        // Where names are numbers or UUIDs, there are no tenants, as the engine says.
        _ => Ok(AnyKey::from(text)),
    }
}

/// What is searched: an index, or a tenant of one.
pub(crate) trait Start: Searchable<Key: Key> + HasRecords {
    /// Starts a query for the `k` nearest items.
    fn start(&self, k: usize) -> Query<'_, Self>;

    /// The number of components of a vector.
    fn width(&self) -> usize;
}

impl<K: Key + ?Sized> Start for Index<AnyMetric, K>
where
    Self: Searchable<Key = K>,
{
    fn start(&self, k: usize) -> Query<'_, Self> {
        self.search(k)
    }

    fn width(&self) -> usize {
        self.dimensions()
    }
}

impl<K: Key + PrefixedKey + ?Sized> Start for Tenant<Index<AnyMetric, K>>
where
    Index<AnyMetric, K>: Searchable<Key = K>,
{
    fn start(&self, k: usize) -> Query<'_, Self> {
        self.search(k)
    }

    fn width(&self) -> usize {
        self.of().dimensions()
    }
}

/// Evaluates the same expression on each of the handles.
macro_rules! on_tenant {
    ($tenant:expr, $handle:ident => $work:expr) => {
        match $tenant {
            voisin::AnyTenant::Texts($handle) => $work,
            voisin::AnyTenant::Bytes($handle) => $work,
        }
    };
}
pub(crate) use on_tenant;
