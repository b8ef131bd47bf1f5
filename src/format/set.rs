//! SETS: chunks of slot sets, as roaring bitmaps of at most [`CHUNK`] values, with run containers
//! where they are smaller.
//!
//! A chunk of 2 048 slots is below 2.8 KB whatever its members are, so it never outgrows a page.

use roaring::RoaringBitmap;

use super::Damage;

/// Number of slots in a chunk.
pub(crate) const CHUNK: u32 = 2048;

/// The stored sets. The discriminant is the sub of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum SetKind {
    /// The item is added, but not linked into the graph.
    Pending = 0,
    /// A tombstone: linked, but the item is deleted or replaced.
    Removed = 1,
    /// The slot is unused.
    Free = 2,
}

impl SetKind {
    pub(crate) const ALL: [Self; 3] = [Self::Pending, Self::Removed, Self::Free];
}

/// Appends the portable serialization of `set`.
pub(crate) fn serialize(set: &RoaringBitmap, out: &mut Vec<u8>) {
    out.reserve(set.serialized_size());
    // Writing to memory cannot fail.
    let written = set.serialize_into(&mut *out);
    debug_assert!(written.is_ok());
}

/// Deserializes a set. All of `bytes` must be used.
pub(crate) fn deserialize(mut bytes: &[u8]) -> Result<RoaringBitmap, Damage> {
    let set =
        RoaringBitmap::deserialize_from(&mut bytes).map_err(|_| "a set is not a roaring bitmap")?;
    if bytes.is_empty() { Ok(set) } else { Err("a set has bytes after its end") }
}

/// The body of a chunk. `members` are relative to its start.
pub(crate) fn encode_chunk(mut members: RoaringBitmap) -> Vec<u8> {
    members.optimize();
    let mut out = Vec::new();
    serialize(&members, &mut out);
    out
}

/// The members of a chunk, relative to its start.
pub(crate) fn decode_chunk(body: &[u8]) -> Result<RoaringBitmap, Damage> {
    let members = deserialize(body)?;
    match members.max() {
        Some(max) if max < CHUNK => Ok(members),
        Some(_) => Err("a set chunk has a member beyond its end"),
        None => Err("a set chunk is empty"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_fits_a_page_whatever_its_members() {
        for step in 1..=8u32 {
            for run in 1..=4 {
                let members: RoaringBitmap =
                    (0..CHUNK).filter(|i| i % (step + run) < run).collect();
                let bytes = encode_chunk(members.clone());
                assert!(bytes.len() <= 2800, "{step} {run}: {}", bytes.len());
                assert_eq!(decode_chunk(&bytes), Ok(members));
            }
        }
        assert!(decode_chunk(&encode_chunk([CHUNK].into_iter().collect())).is_err());
        assert!(decode_chunk(&encode_chunk(RoaringBitmap::new())).is_err());
    }
}
