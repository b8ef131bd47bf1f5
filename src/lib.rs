//! An embedded, transactional vector index.

mod builder;
pub mod codec;
mod distance;
mod error;
mod flat;
mod format;
mod graph;
mod query;
mod reader;
mod store;
mod types;
mod writer;

use std::borrow::Cow;
use std::marker::PhantomData;

pub use heed;
pub use roaring;
pub(crate) use types::{Layer, Slot};

pub use self::builder::{Builder, DEFAULT_ALPHA, DEFAULT_EF_CONSTRUCTION, Phase, Progress};
pub use self::error::{Error, Result, VectorDefect};
pub use self::format::{Key, Kind};
pub use self::query::{DEFAULT_EF_SEARCH, QueryBuilder, Searched, Strategy};
pub use self::reader::{Reader, WarmReader};
pub use self::types::ItemId;
pub use self::writer::Writer;

/// The metrics, and the trait to write one of your own.
pub mod distances {
    pub use crate::distance::{Cosine, Distance, DotProduct, Euclidean, Hamming, Kernels, MAX_NAME_BYTES, Manhattan, distance};
}

/// A database that indexes with the metric `D` lie in: up to 65 536 of them.
pub type Database<'e, D> = heed::Database<'e, heed::types::Bytes, ValueCodec<D>>;

/// Values as bytes, marked with the metric of the indexes they belong to.
#[derive(Debug)]
pub struct ValueCodec<D>(PhantomData<D>);

impl<'a, D: 'a> heed::BytesEncode<'a> for ValueCodec<D> {
    type EItem = [u8];

    fn bytes_encode(item: &'a [u8]) -> std::result::Result<Cow<'a, [u8]>, heed::BoxedError> {
        Ok(Cow::Borrowed(item))
    }
}

impl<'a, D: 'a> heed::BytesDecode<'a> for ValueCodec<D> {
    type DItem = &'a [u8];

    fn bytes_decode(bytes: &'a [u8]) -> std::result::Result<&'a [u8], heed::BoxedError> {
        Ok(bytes)
    }
}
