//! IVF: inverted lists. Blocks of centers, the slots of each list in pieces, the list of each slot,
//! and the sizes of the lists; and the part in META that counts them. The codes of the lists are in
//! `list_codes`.

pub(crate) mod list_codes;

use roaring::RoaringBitmap;

use crate::format::block::Geometry;
use crate::format::checksum;
use crate::format::set::{deserialize, serialize};
use crate::format::{Damage, take_u32};
use crate::types::Calibration;

/// The subs of the values.
pub(crate) const CENTERS: u8 = 0;
pub(crate) const LISTS: u8 = 1;
pub(crate) const SLOTS: u8 = 2;
pub(crate) const SIZES: u8 = 3;
pub(crate) const CODES: u8 = 4;

/// Entries of a group of SLOTS or SIZES: a page of them.
pub(crate) const GROUP: u32 = 1000;
/// The entry of a slot that is in no list, and the size of a vacant list.
pub(crate) const NONE: u32 = u32::MAX;
/// Slots of a piece of a list: below a page, in however many containers they are.
const PIECE: usize = 390;
/// The maximum number of pieces of a list, and of lists: see [`list_n`].
const PIECE_BITS: u32 = 12;
pub(crate) const MAX_LISTS: u32 = 1 << (32 - PIECE_BITS);
/// Length of the part in META without the calibration.
const PART_BYTES: usize = 20;

/// What META says of the lists.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Part {
    /// The number of lists, vacant ones included. 0 until a build makes them.
    pub(crate) lists: u32,
    /// The number of vacant ones.
    pub(crate) vacant: u32,
    /// The number of items when the centers were made.
    pub(crate) trained_on: u32,
    /// Whether a list has become too large or too small since the last build.
    pub(crate) is_due: bool,
    /// Whether the lists have codes: those of the index, in blocks of their own.
    pub(crate) has_codes: bool,
    /// The recall of searches by the number of lists probed.
    pub(crate) calibration: Option<Calibration>,
}

impl Part {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(PART_BYTES);
        let flags = [self.is_due, self.has_codes].map(u32::from);
        for value in [self.lists, self.vacant, self.trained_on].into_iter().chain(flags) {
            out.extend(value.to_le_bytes());
        }
        if let Some(calibration) = &self.calibration {
            calibration.encode(&mut out);
        }
        out
    }

    pub(crate) fn decode(part: &[u8]) -> Result<Self, Damage> {
        const DAMAGE: Damage = "what it says of inverted lists is impossible";
        let (head, rest) = part.split_at_checked(PART_BYTES).ok_or(DAMAGE)?;
        let u32_at = |offset| take_u32(head, offset).unwrap_or_default();
        let found = Self {
            lists: u32_at(0),
            vacant: u32_at(4),
            trained_on: u32_at(8),
            is_due: u32_at(12) == 1,
            has_codes: u32_at(16) == 1,
            calibration: Calibration::decode(rest)?,
        };
        let is_possible = found.lists <= MAX_LISTS
            && (found.vacant < found.lists || found.lists == 0 && found.vacant == 0)
            && (found.lists > 0 || found.calibration.is_none() && !found.has_codes);
        if is_possible && found.encode() == part { Ok(found) } else { Err(DAMAGE) }
    }
}

/// The layout of blocks of centers: `f32` components, whatever the stored vectors are.
pub(crate) fn geometry(dimensions: u32) -> Geometry {
    Geometry::new(size_of::<f32>() * dimensions as usize, false)
}

/// The number of blocks of so many centers.
pub(crate) fn center_blocks(geometry: &Geometry, lists: u32) -> u32 {
    lists.div_ceil(geometry.vectors)
}

/// The slots of a piece of a list of `size` slots: more than usual only where there would be too
/// many pieces.
fn piece_slots(size: usize) -> usize {
    let mut slots = PIECE;
    while size.div_ceil(slots) > 1 << PIECE_BITS {
        slots *= 2;
    }
    slots
}

/// The number of pieces of a list of `size` slots.
pub(crate) fn pieces(size: usize) -> u32 {
    size.div_ceil(piece_slots(size)) as u32
}

/// The number in the key of a piece.
pub(crate) fn list_n(list: u32, piece: u32) -> u32 {
    list << PIECE_BITS | piece
}

/// The list and the piece of such a number.
pub(crate) fn of_list_n(n: u32) -> (u32, u32) {
    (n >> PIECE_BITS, n & ((1 << PIECE_BITS) - 1))
}

/// The bodies of all pieces of a list. The slots ascend.
pub(crate) fn encode_list(slots: &[u32]) -> Vec<Vec<u8>> {
    let pieces = slots.chunks(piece_slots(slots.len()));
    let body = |slots: &[u32]| {
        let mut set: RoaringBitmap = slots.iter().copied().collect();
        set.optimize();
        let mut out = Vec::new();
        serialize(&set, &mut out);
        out
    };
    pieces.map(body).collect()
}

/// Appends the slots of a piece.
pub(crate) fn decode_piece(body: &[u8], out: &mut Vec<u32>) -> Result<(), Damage> {
    let set = deserialize(body)?;
    let first = set.min().ok_or("a piece of a list is empty")?;
    if out.last().is_some_and(|last| *last >= first) {
        return Err("the pieces of a list do not ascend");
    }
    out.extend(set);
    Ok(())
}

/// The body of a group of SLOTS or SIZES.
pub(crate) fn encode_group(entries: &[u32]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.to_le_bytes()).collect()
}

/// The entries of a group.
pub(crate) fn decode_group(body: &[u8]) -> Result<Vec<u32>, Damage> {
    if body.len() != GROUP as usize * size_of::<u32>() {
        return Err("a group does not have the length of its entries");
    }
    let (entries, _) = body.as_chunks::<4>();
    Ok(entries.iter().map(|entry| u32::from_le_bytes(*entry)).collect())
}

/// The components of a center at a place of a block value.
pub(crate) fn center(geometry: &Geometry, block: &[u8], place: usize) -> Option<Vec<f32>> {
    let start = geometry.vector_offset(place);
    let bytes = block.get(start..start + geometry.stride)?;
    let (components, _) = bytes.as_chunks::<4>();
    Some(components.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

/// Checks the layout of a block of centers: its header, finite components, and zeros beyond the
/// last center.
pub(crate) fn check_centers(
    geometry: &Geometry,
    block: u32,
    lists: u32,
    value: &[u8],
) -> Result<(), Damage> {
    geometry.check_block(block, value)?;
    let here =
        lists.saturating_sub(block.saturating_mul(geometry.vectors)).min(geometry.vectors) as usize;
    for place in 0..here {
        let center = center(geometry, value, place).ok_or("a block of centers is cut short")?;
        if center.iter().any(|component| !component.is_finite()) {
            return Err("a component of a center is not a finite number");
        }
    }
    let end = value.len().saturating_sub(checksum::BYTES);
    match value.get(geometry.vector_offset(here)..end) {
        Some(rest) if rest.iter().all(|byte| *byte == 0) => Ok(()),
        _ => Err("a block of centers is not zero beyond the last"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Curve, Point};

    #[test]
    fn a_part_comes_back_and_no_byte_makes_decoding_panic() {
        let curves = vec![Curve { k: 10, points: vec![Point { ef: 4, recall: 0.9 }] }];
        let calibration = Some(Calibration { items: 900, queries: 256, curves });
        let part = Part {
            lists: 30,
            vacant: 2,
            trained_on: 900,
            is_due: true,
            has_codes: true,
            calibration,
        };
        let bytes = part.encode();
        assert_eq!(Part::decode(&bytes), Ok(part));
        assert_eq!(Part::decode(&Part::default().encode()), Ok(Part::default()));
        for end in 0..bytes.len() {
            assert!(end == PART_BYTES || Part::decode(&bytes[..end]).is_err(), "{end}");
        }
        for at in 0..bytes.len() {
            for byte in [0, 1, 127, 255] {
                let mut damaged = bytes.clone();
                damaged[at] = byte;
                if let Ok(found) = Part::decode(&damaged) {
                    assert_eq!(found.encode(), damaged);
                }
            }
        }
    }

    #[test]
    fn a_piece_fits_a_page_whatever_its_slots_and_lists_come_back() {
        for (step, count) in [(1, 5000), (7, 5000), (70_000, 2000), (65_536, 391)] {
            let slots: Vec<u32> = (0..count).map(|i| i * step).collect();
            let bodies = encode_list(&slots);
            assert_eq!(bodies.len() as u32, pieces(slots.len()));
            let mut found = Vec::new();
            for body in &bodies {
                assert!(body.len() + checksum::BYTES < 4080, "{}", body.len());
                decode_piece(body, &mut found).unwrap();
            }
            assert_eq!(found, slots);
            assert!(decode_piece(&bodies[0], &mut found).is_err());
        }
        assert!(encode_list(&[]).is_empty());
        // A list of any size has a number for each of its pieces.
        for size in [PIECE << PIECE_BITS, (PIECE << PIECE_BITS) + 1, u32::MAX as usize - 1] {
            assert!(pieces(size) <= 1 << PIECE_BITS, "{size}");
        }
        assert_eq!(of_list_n(list_n(MAX_LISTS - 1, 4095)), (MAX_LISTS - 1, 4095));
    }
}
