//! The vector of one item, looked up without a snapshot: what a write asks for item by item.

use heed::RoTxn;

use super::{block_key, single_key};
use crate::error::{Error, Result};
use crate::store::Place;
use crate::store::open::read_meta;
use crate::store::sections::ids::view::slot_in;
use crate::types::ItemId;

/// The components of an item's vector, decoded, by three lookups: META, the slot, and the value
/// that has the vector, all verified. A snapshot would read the pending and the removed items.
///
/// # Errors
/// [`Error::Corrupt`], and those of [`read_meta`].
pub(crate) fn vector_in(
    place: Place<'_>,
    rtxn: &RoTxn<'_>,
    item: ItemId,
) -> Result<Option<Vec<f32>>> {
    let Some(meta) = read_meta(place, rtxn)? else { return Ok(None) };
    let Some(slot) = slot_in(place, rtxn, item)? else { return Ok(None) };
    let (block, at) = meta.geometry.place(slot);
    let (key, at) = match slot.0 < meta.tail_start() {
        true => (block_key(place.index, block as u32), meta.geometry.vector_offset(at)),
        false => (single_key(place.index, slot), 0),
    };
    let body = place.sound(rtxn, key)?.ok_or(Error::corrupt(key, "it is missing"))?.body();
    let bytes = body.get(at..at + meta.geometry.stride);
    let bytes = bytes.ok_or(Error::corrupt(key, "it does not have the length of such values"))?;
    let decoded = place.metric.decode(bytes, meta.scale);
    Ok(Some(place.metric.floats(&decoded, meta.dimensions as usize)))
}
