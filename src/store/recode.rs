//! Encoding the vectors of an index anew, by another scale of scalar quantization: what training
//! does to an index that has vectors, and `optimize` to one whose scale is much too wide.
//!
//! A stored byte is mapped to the byte whose number is nearest to its own, so a vector keeps the
//! precision that it has. Everything is read, verified and checked before the first put
//! ([`Recoding::new`]); then `edit` overwrites value by value. No code of a user's metric runs from
//! there on. O(slots * dimensions) time, memory for a factor per slot and for one block.

use std::ops::Range;

use heed::RoTxn;
use roaring::RoaringBitmap;

use super::Place;
use super::open::read_meta;
use super::range::{check_range, sample_for};
use super::sections::vectors;
use super::snapshot::Snapshot;
use super::source::{Calling, Verified};
use super::table::Memory;
use super::view::View;
use crate::codec::Components;
use crate::error::{Error, Result};
use crate::format::Key;
use crate::format::block::Geometry;
use crate::format::checksum::Sound;
use crate::format::meta::Meta;
use crate::format::set::SetKind;
use crate::types::{Scale, Slot};

/// Minimum number of items from which `optimize` narrows the range: the extremes of fewer say
/// little of those to come, and the range may be that of a better sample.
const MIN_NARROWED: u32 = 1000;
/// Codes of a narrowed range lie within this distance of its middle: a third of the range is left
/// for later vectors.
const MAX_NARROWED: u32 = 85;

/// The values of the vectors of an index of this many slots, each as its range of slots: blocks,
/// and then the tail.
pub(super) fn values(geometry: Geometry, slots: u32) -> impl Iterator<Item = Range<u32>> {
    let tail = slots - slots % geometry.vectors;
    let blocks = (0..tail).step_by(geometry.vectors as usize);
    blocks
        .map(move |first| first..first + geometry.vectors)
        .chain((tail..slots).map(|slot| slot..slot + 1))
}

/// A vector as it will be stored.
pub(super) struct Recoded {
    pub(super) slot: Slot,
    pub(super) bytes: Vec<u8>,
    pub(super) factor: f32,
}

/// A change of the scale of an index, which all of its vectors have passed.
pub(super) struct Recoding {
    /// The new code of each old one, both as bytes.
    codes: [u8; 256],
    free: RoaringBitmap,
    /// The factors by slot; empty if the metric has none.
    factors: Vec<f32>,
    /// Number of components that are beyond the ends of the new scale.
    pub(super) saturated: u64,
    /// The largest bound of a norm, if the metric needs them.
    pub(super) norm_bound: f32,
}

impl Recoding {
    /// Reads, verifies, and tries the new scale on every vector.
    ///
    /// # Errors
    /// [`Error::CoarseRange`] if it could hardly tell them apart, [`Error::InvalidItem`] if the
    /// metric could not compare one, [`Error::Corrupt`].
    pub(super) fn new(place: Place<'_>, rtxn: &RoTxn<'_>, meta: &Meta, to: Scale) -> Result<Self> {
        let (metric, dimensions, from) = (place.metric, meta.dimensions as usize, meta.scale);
        let new = |byte: u8| to.code(from.value(byte.cast_signed()).into());
        let codes: [u8; 256] = std::array::from_fn(|byte| new(byte as u8).0.cast_unsigned());
        let is_beyond: [bool; 256] = std::array::from_fn(|byte| new(byte as u8).1);

        let snapshot = Snapshot::open(place, rtxn, Memory::Full)?;
        let source = Verified::new(Calling::new(place, rtxn, snapshot.id)?, Memory::Full);
        let view = View::new(&snapshot, source);
        let mut recoding = Self {
            codes,
            free: view.set(SetKind::Free)?,
            factors: Vec::new(),
            saturated: 0,
            norm_bound: 0.0,
        };
        if metric.has_factor {
            recoding.factors.resize(meta.slots as usize, 0.0);
        }
        let mut sample = sample_for(metric, dimensions);
        for slot in (0..meta.slots).filter(|slot| !recoding.free.contains(*slot)).map(Slot) {
            let invalid = |defect| match view.item(slot) {
                Ok(item) => Error::InvalidItem { item, defect },
                Err(error) => error,
            };
            let old = view.vector(slot)?.bytes;
            sample.add_stored(&metric.floats(&metric.decode(old, from), dimensions));

            let bytes = recoding.bytes(old);
            let decoded = metric.decode(&bytes, to);
            let components = metric.floats(&decoded, dimensions);
            metric.check_given(Components::F32(&components)).map_err(invalid)?;
            if let Some(factor) = recoding.factors.get_mut(slot.index()) {
                *factor = metric.factor(&decoded);
            }
            if let Some(norm) = metric.norm_bound(&bytes, to) {
                recoding.norm_bound = recoding.norm_bound.max(norm);
            }
            let beyond = old.iter().filter(|byte| is_beyond[usize::from(**byte)]);
            recoding.saturated += beyond.count() as u64;
        }
        check_range("the stored vectors", to, sample.error(to))?;
        Ok(recoding)
    }

    fn bytes(&self, old: &[u8]) -> Vec<u8> {
        old.iter().map(|byte| self.codes[usize::from(*byte)]).collect()
    }

    /// The vectors of one of the [`values`], encoded anew.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub(super) fn value(
        &self,
        place: Place<'_>,
        rtxn: &RoTxn<'_>,
        geometry: Geometry,
        slots: Range<u32>,
    ) -> Result<Vec<Recoded>> {
        let used = slots.clone().filter(|slot| !self.free.contains(*slot));
        let (kind, sub, n) = match slots.len() as u32 == geometry.vectors {
            true => (vectors::BLOCK.0, vectors::BLOCK.1, slots.start / geometry.vectors),
            false => (vectors::SINGLE.0, vectors::SINGLE.1, slots.start),
        };
        let is_block = kind == vectors::BLOCK.0;
        let key = Key::new(place.index, kind, sub, n);
        let body = place.sound(rtxn, key)?.map(Sound::body).unwrap_or_default();
        used.map(|slot| {
            let in_value = (slot - slots.start) as usize;
            let at = if is_block { geometry.vector_offset(in_value) } else { 0 };
            let old = body.get(at..at + geometry.stride);
            let old = old.ok_or(Error::corrupt(key, "it is missing, or too short"))?;
            let factor = self.factors.get(slot as usize).copied().unwrap_or_default();
            Ok(Recoded { slot: Slot(slot), bytes: self.bytes(old), factor })
        })
        .collect()
    }
}

/// The scale by which `optimize` encodes an index anew: its step is that of the index, divided by a
/// power of two, and each number of its vectors is one of its own. `None` if the vectors take more
/// than a third of the range, or the index is small.
///
/// # Errors
/// [`Error::Corrupt`], and those of opening an index.
pub(crate) fn narrowed(place: Place<'_>, rtxn: &RoTxn<'_>) -> Result<Option<Scale>> {
    let meta = match read_meta(place, rtxn)? {
        Some(meta) if meta.scale.is_trained() && meta.items >= MIN_NARROWED => meta,
        _ => return Ok(None),
    };
    let snapshot = Snapshot::open(place, rtxn, Memory::Full)?;
    let source = Verified::new(Calling::new(place, rtxn, snapshot.id)?, Memory::Full);
    let view = View::new(&snapshot, source);
    let free = view.set(SetKind::Free)?;
    let (mut lowest, mut highest) = (i8::MAX, i8::MIN);
    for slot in (0..meta.slots).filter(|slot| !free.contains(*slot)) {
        for byte in view.vector(Slot(slot))?.bytes {
            (lowest, highest) = (lowest.min(byte.cast_signed()), highest.max(byte.cast_signed()));
        }
    }
    Ok(narrowed_to(meta.scale, lowest, highest))
}

/// See [`narrowed`]; for codes from `lowest` to `highest`.
fn narrowed_to(scale: Scale, lowest: i8, highest: i8) -> Option<Scale> {
    // Of vectors that are all alike, nothing can be learned.
    let width = i32::from(highest).checked_sub(lowest.into()).filter(|width| *width > 0)?;
    let half = width.unsigned_abs().div_ceil(2);
    let doublings = (MAX_NARROWED / half).checked_ilog2().filter(|doublings| *doublings > 0)?;
    let middle = (i32::from(lowest) + width / 2) as i8;
    let narrowed =
        Scale { center: scale.value(middle), step: scale.step / (1u32 << doublings) as f32 };
    // Numbers of consecutive codes must differ.
    let [low, high] = narrowed.ends();
    let resolution = low.abs().max(high.abs()) * f32::EPSILON;
    (narrowed.is_possible() && narrowed.step >= resolution).then_some(narrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrowed_scale_has_every_number_of_the_stored_vectors() {
        let scale = Scale::between(-1.0, 3.0).unwrap();
        for lowest in i8::MIN..=i8::MAX {
            for highest in lowest..=i8::MAX {
                let width = i32::from(highest) - i32::from(lowest);
                let Some(to) = narrowed_to(scale, lowest, highest) else {
                    assert!(width == 0 || width > 84, "{lowest} to {highest}");
                    continue;
                };
                assert!(to.step * 2.0 <= scale.step && width <= 84);
                for code in [lowest, highest, (lowest / 2 + highest / 2)] {
                    let (new, is_beyond) = to.code(scale.value(code).into());
                    let error = (to.value(new) - scale.value(code)).abs();
                    assert!(!is_beyond && error < 1e-6, "{code} of {lowest} to {highest}");
                    assert!((-86..=86).contains(&new));
                }
            }
        }
        // Half of its step would be less than what f32 tells apart.
        let coarse = Scale::between(1e6, 1e6 + 32.0).unwrap();
        assert_eq!(narrowed_to(coarse, 0, 10), None);
    }

    #[test]
    fn the_values_of_an_index_have_all_its_slots() {
        let geometry = Geometry::new(100, false);
        let vectors = geometry.vectors;
        for slots in [0, 1, vectors - 1, vectors, vectors + 1, 3 * vectors + 7] {
            let all: Vec<u32> = values(geometry, slots).flatten().collect();
            assert_eq!(all, (0..slots).collect::<Vec<_>>());
            assert_eq!(values(geometry, slots).count() as u32, slots / vectors + slots % vectors);
        }
    }
}
