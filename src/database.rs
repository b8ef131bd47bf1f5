//! The LMDB database that indexes lie in, as a type.

use std::borrow::Cow;
use std::marker::PhantomData;

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
