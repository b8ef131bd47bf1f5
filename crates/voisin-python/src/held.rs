//! The handle of voisin's that a searcher holds, of any kind of names.

use voisin::{AnyIndex, AnyMetric, ItemId, Snapshot, Tenant};

use crate::names::Handle;

/// An index or a snapshot, whatever names its items.
#[derive(Clone)]
pub(crate) enum Held {
    Ids(Handle<ItemId>),
    Numbers(Handle<u64>),
    Texts(Handle<str>),
    Bytes(Handle<[u8]>),
    Uuids(Handle<[u8; 16]>),
    IdsAt(Snapshot<AnyMetric>),
    NumbersAt(Snapshot<AnyMetric, u64>),
    TextsAt(Snapshot<AnyMetric, str>),
    BytesAt(Snapshot<AnyMetric, [u8]>),
    UuidsAt(Snapshot<AnyMetric, [u8; 16]>),
    // Tenants of an index and of a snapshot.
    TextsOf(Tenant<Handle<str>>),
    BytesOf(Tenant<Handle<[u8]>>),
    TextsOfAt(Tenant<Snapshot<AnyMetric, str>>),
    BytesOfAt(Tenant<Snapshot<AnyMetric, [u8]>>),
}

/// Evaluates the same expression on what is held.
macro_rules! each_held {
    ($self:expr, $searched:ident => $work:expr) => {
        match $self {
            Held::Ids($searched) => $work,
            Held::Numbers($searched) => $work,
            Held::Texts($searched) => $work,
            Held::Bytes($searched) => $work,
            Held::Uuids($searched) => $work,
            Held::IdsAt($searched) => $work,
            Held::NumbersAt($searched) => $work,
            Held::TextsAt($searched) => $work,
            Held::BytesAt($searched) => $work,
            Held::UuidsAt($searched) => $work,
            Held::TextsOf($searched) => $work,
            Held::BytesOf($searched) => $work,
            Held::TextsOfAt($searched) => $work,
            Held::BytesOfAt($searched) => $work,
        }
    };
}

pub(crate) use each_held;

impl From<AnyIndex> for Held {
    fn from(index: AnyIndex) -> Self {
        match index {
            AnyIndex::Ids(index) => Self::Ids(index),
            AnyIndex::Numbers(index) => Self::Numbers(index),
            AnyIndex::Texts(index) => Self::Texts(index),
            AnyIndex::Bytes(index) => Self::Bytes(index),
            AnyIndex::Uuids(index) => Self::Uuids(index),
        }
    }
}
