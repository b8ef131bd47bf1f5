//! What is searched, and what it has stored at one commit: an index, a snapshot, or a tenant of
//! either, whatever names its items.

use voisin::{
    AnyMetric, Condition, HasRecords, Index, ItemName, Query, Result, Searchable, Snapshot, Tenant,
};

use crate::names::{Handle, Name};
use crate::records::Record;

/// The owned names of what is searched.
pub(crate) type Owned<S> = <<S as Searchable>::Key as ItemName>::Owned;

/// A snapshot of what is searched.
pub(crate) type At<S> = <S as Start>::At;

/// What queries begin with: an index, a snapshot, or a tenant of one.
pub(crate) trait Start: Searchable<Key: Name> + HasRecords + Sync {
    /// The same at one commit.
    type At: Stored + Searchable<Key = Self::Key>;

    fn start(&self, k: usize) -> Query<'_, Self>;
    fn now(&self) -> Result<Self::At>;
    /// The number of components of a vector.
    fn width(&self) -> usize;
}

/// What is stored at one commit.
pub(crate) trait Stored: Start<At = Self> {
    fn all(&self) -> Result<Vec<Owned<Self>>>;
    /// The names of the items for which a condition holds, in their order.
    fn matching(&self, condition: &Condition) -> Result<Vec<Owned<Self>>>;
    fn contains(&self, name: &Owned<Self>) -> Result<bool>;
    fn vector(&self, name: &Owned<Self>) -> Result<Option<Vec<f32>>>;
    fn record(&self, name: &Owned<Self>) -> Result<Record>;
    /// The number of items, or of those for which a condition holds.
    fn count(&self, condition: Option<&Condition>) -> Result<u64>;
    /// The index that it is a commit of.
    fn index(&self) -> &Snapshot<AnyMetric, Self::Key>;
    /// Whether it is the whole of that index.
    const IS_WHOLE: bool;
}

impl<K: ?Sized> Start for Index<AnyMetric, K>
where
    Self: Searchable<Key = K>,
    Snapshot<AnyMetric, K>: Stored + Searchable<Key = K>,
    K: Name,
{
    type At = Snapshot<AnyMetric, K>;

    fn start(&self, k: usize) -> Query<'_, Self> {
        self.search(k)
    }

    fn now(&self) -> Result<Snapshot<AnyMetric, K>> {
        self.snapshot()
    }

    fn width(&self) -> usize {
        self.dimensions()
    }
}

impl<K: ?Sized> Start for Snapshot<AnyMetric, K>
where
    Self: Searchable<Key = K>,
    K: Name,
{
    type At = Self;

    fn start(&self, k: usize) -> Query<'_, Self> {
        self.search(k)
    }

    fn now(&self) -> Result<Self> {
        Ok(self.clone())
    }

    fn width(&self) -> usize {
        self.dimensions()
    }
}

impl<K: ?Sized> Stored for Snapshot<AnyMetric, K>
where
    Self: Searchable<Key = K>,
    K: Name,
{
    fn all(&self) -> Result<Vec<K::Owned>> {
        K::all(self)
    }

    fn matching(&self, condition: &Condition) -> Result<Vec<K::Owned>> {
        K::matching(self, condition)
    }

    fn contains(&self, name: &K::Owned) -> Result<bool> {
        K::contains(self, name)
    }

    fn vector(&self, name: &K::Owned) -> Result<Option<Vec<f32>>> {
        K::vector(self, name)
    }

    fn record(&self, name: &K::Owned) -> Result<Record> {
        K::record(self, name)
    }

    fn count(&self, condition: Option<&Condition>) -> Result<u64> {
        condition.map_or_else(|| Ok(self.len()), |condition| Self::count(self, condition))
    }

    fn index(&self) -> &Self {
        self
    }

    const IS_WHOLE: bool = true;
}

/// What a tenant has stored, by each type of names.
macro_rules! stored {
    ($key:ty) => {
        impl Start for Tenant<Handle<$key>> {
            type At = Tenant<Snapshot<AnyMetric, $key>>;

            fn start(&self, k: usize) -> Query<'_, Self> {
                self.search(k)
            }

            fn now(&self) -> Result<Self::At> {
                self.snapshot()
            }

            fn width(&self) -> usize {
                self.of().dimensions()
            }
        }

        impl Start for Tenant<Snapshot<AnyMetric, $key>> {
            type At = Self;

            fn start(&self, k: usize) -> Query<'_, Self> {
                self.search(k)
            }

            fn now(&self) -> Result<Self> {
                Ok(self.clone())
            }

            fn width(&self) -> usize {
                self.of().dimensions()
            }
        }

        impl Stored for Tenant<Snapshot<AnyMetric, $key>> {
            fn all(&self) -> Result<Vec<Owned<Self>>> {
                self.keys()?.collect()
            }

            fn matching(&self, condition: &Condition) -> Result<Vec<Owned<Self>>> {
                self.keys_of(condition)
            }

            fn contains(&self, name: &Owned<Self>) -> Result<bool> {
                Self::contains(self, name)
            }

            fn vector(&self, name: &Owned<Self>) -> Result<Option<Vec<f32>>> {
                Self::vector(self, name)
            }

            fn record(&self, name: &Owned<Self>) -> Result<Record> {
                Self::record(self, name)
            }

            fn count(&self, condition: Option<&Condition>) -> Result<u64> {
                condition.map_or_else(|| self.len(), |condition| Self::count(self, condition))
            }

            fn index(&self) -> &Snapshot<AnyMetric, $key> {
                self.of()
            }

            const IS_WHOLE: bool = false;
        }
    };
}

stored!(str);
stored!([u8]);
