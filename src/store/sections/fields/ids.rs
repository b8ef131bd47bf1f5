//! The items of a condition.

use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::error::Result;

/// Items: these, or all but these.
#[derive(Debug, Clone)]
pub(crate) enum Ids<B = RoaringBitmap> {
    Only(B),
    AllBut(B),
}

/// Items that are kept.
pub(crate) type KeptIds = Ids<Arc<RoaringBitmap>>;

impl Ids {
    pub(super) fn not(self) -> Self {
        match self {
            Self::Only(ids) => Self::AllBut(ids),
            Self::AllBut(ids) => Self::Only(ids),
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Only(a), Self::Only(b)) => Self::Only(a & b),
            (Self::Only(a), Self::AllBut(b)) | (Self::AllBut(b), Self::Only(a)) => {
                Self::Only(a - b)
            }
            (Self::AllBut(a), Self::AllBut(b)) => Self::AllBut(a | b),
        }
    }

    /// The same, to be shared.
    pub(super) fn kept(self) -> KeptIds {
        match self {
            Self::Only(ids) => Ids::Only(Arc::new(ids)),
            Self::AllBut(ids) => Ids::AllBut(Arc::new(ids)),
        }
    }
}

impl KeptIds {
    /// The memory that they take, about.
    pub(super) fn bytes(&self) -> usize {
        let (Self::Only(ids) | Self::AllBut(ids)) = self;
        size_of::<RoaringBitmap>() + ids.serialized_size()
    }

    /// Their set, where `all` finds all items.
    pub(crate) fn among(
        self,
        all: impl FnOnce() -> Result<RoaringBitmap>,
    ) -> Result<RoaringBitmap> {
        Ok(match self {
            Self::Only(ids) => Arc::unwrap_or_clone(ids),
            Self::AllBut(ids) => all()? - &*ids,
        })
    }
}
