//! Neighbor lists on disk: `u32` sets in the portable roaring serialization, decoded in place.
//!
//! [`decode_list`] decodes a short list (array containers, no runs: what [`encode_list`] writes)
//! and appends its values to a buffer of the caller, in ascending order: no allocation, every
//! length checked, no duplicates. Sets that may be large, and have run containers, go through the
//! `roaring` crate in `set.rs`.
//!
//! Layout of a list: cookie `u32`, number of containers `u32`, for each container its high 16 bits
//! and its cardinality - 1 (`u16` each), for each container its offset (`u32`), then the low 16
//! bits of the values, container by container.

use roaring::RoaringBitmap;

use super::{Damage, take_u32};

const COOKIE: u32 = 12346;
const HEADER_BYTES: usize = 8;
/// Bytes of a container's description and offset.
const CONTAINER_BYTES: usize = 8;
/// Maximum cardinality of an array container; roaring turns larger ones into bitmaps, which a list
/// must not have.
const MAX_ARRAY: usize = 4096;

/// Appends the serialized set of `values` (strictly ascending) to `out`.
pub(crate) fn encode_list(values: &[u32], out: &mut Vec<u8>) {
    let start = out.len();
    let containers = || values.chunk_by(|a, b| a >> 16 == b >> 16);
    let count = containers().count();
    out.extend(COOKIE.to_le_bytes());
    out.extend((count as u32).to_le_bytes());
    for container in containers() {
        out.extend(((container[0] >> 16) as u16).to_le_bytes());
        out.extend(((container.len() - 1) as u16).to_le_bytes());
    }
    let mut offset = HEADER_BYTES + count * CONTAINER_BYTES;
    for container in containers() {
        out.extend((offset as u32).to_le_bytes());
        offset += 2 * container.len();
    }
    out.extend(values.iter().flat_map(|&value| (value as u16).to_le_bytes()));
    debug_assert_eq!(out.len() - start, offset);
}

/// Pushes the values of a serialized set onto `out`, strictly ascending.
#[inline]
pub(crate) fn decode_list(bytes: &[u8], out: &mut Vec<u32>) -> Result<(), Damage> {
    let (Some(COOKIE), Some(count)) = (take_u32(bytes, 0), take_u32(bytes, 4)) else {
        return Err("a neighbor list has no roaring header");
    };
    let data_offset = (count as usize).saturating_mul(CONTAINER_BYTES).saturating_add(HEADER_BYTES);
    let descriptions = bytes
        .get(HEADER_BYTES..)
        .and_then(|rest| rest.get(..4 * count as usize))
        .ok_or("a neighbor list is cut short")?;
    let mut data = bytes.get(data_offset..).ok_or("a neighbor list is cut short")?;
    let from = out.len();
    for description in descriptions.as_chunks::<4>().0 {
        let [high0, high1, len0, len1] = *description;
        let high = u32::from(u16::from_le_bytes([high0, high1])) << 16;
        let len = usize::from(u16::from_le_bytes([len0, len1])) + 1;
        if len > MAX_ARRAY || data.len() < 2 * len {
            return Err("a container of a neighbor list is cut short");
        }
        let (container, rest) = data.split_at(2 * len);
        data = rest;
        out.extend(
            container
                .as_chunks::<2>()
                .0
                .iter()
                .map(|low| high | u32::from(u16::from_le_bytes(*low))),
        );
    }
    // Without early exit, so that the loop is vectorized.
    let is_ascending = out[from..]
        .iter()
        .zip(&out[from..][1.min(out.len() - from)..])
        .fold(true, |so_far, (a, b)| so_far & (a < b));
    if !is_ascending {
        return Err("a neighbor list is not ascending");
    }
    if data.is_empty() { Ok(()) } else { Err("a neighbor list is longer than its values") }
}

/// Appends the serialization of a set of any size, for the in-neighbors of hubs.
pub(crate) fn encode_many(values: &[u32], out: &mut Vec<u8>) {
    let set: RoaringBitmap = values.iter().copied().collect();
    super::set::serialize(&set, out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn roaring_bytes(values: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        values.iter().copied().collect::<RoaringBitmap>().serialize_into(&mut bytes).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn a_list_has_the_bytes_of_the_roaring_crate_and_comes_back(
            values in prop::collection::btree_set(prop_oneof![any::<u32>(), 0..200_000u32], 0..300),
        ) {
            let values: Vec<u32> = values.into_iter().collect();
            let mut bytes = Vec::new();
            encode_list(&values, &mut bytes);
            prop_assert_eq!(&bytes, &roaring_bytes(&values));
            let mut decoded = Vec::new();
            prop_assert_eq!(decode_list(&bytes, &mut decoded), Ok(()));
            prop_assert_eq!(decoded, values);
        }

        #[test]
        fn any_bytes_give_a_list_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            let _ = decode_list(&bytes, &mut out);
        }

        #[test]
        fn a_changed_or_cut_list_never_decodes_to_a_descending_one(
            values in prop::collection::btree_set(0..400_000u32, 1..64),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<bool>(),
        ) {
            let mut bytes = roaring_bytes(&values.into_iter().collect::<Vec<_>>());
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            let mut out = Vec::new();
            if decode_list(&bytes, &mut out).is_ok() {
                prop_assert!(out.is_sorted_by(|a, b| a < b));
            }
        }
    }
}
