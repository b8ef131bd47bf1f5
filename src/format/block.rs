//! The layout of vectors: blocks of a fixed number of vectors, and single values in the tail.
//!
//! [`Geometry`] is derived from the bytes of one vector and its factor, and is the only place that
//! knows an offset. A block is addressed by division: `slot / vectors` is the block, `slot %
//! vectors` the place in it.

use super::{Damage, checksum, take, take_u32};
use crate::types::Slot;

/// Header: block number, number of vectors, reserved bytes. With LMDB's 16 bytes before a large
/// value, the first vector begins 64 bytes into a page (a cache line).
const HEADER_BYTES: usize = 48;
const LMDB_PAGE_HEADER: usize = 16;
/// Minimum block size, with LMDB's page header: small enough to be rewritten for one vector, large
/// enough that pointer tables stay small (8 bytes per 32 KiB).
const MIN_RUN_BYTES: usize = 32 * 1024;
const MAX_RUN_BYTES: usize = 1024 * 1024;

/// The layout of vectors in an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Bytes of a stored vector.
    pub(crate) stride: usize,
    /// Bytes of its factor: 0 or 4.
    pub(crate) factor: usize,
    /// Length of a block value.
    pub(crate) block_bytes: usize,
    /// Number of vectors in a block.
    pub(crate) vectors: u32,
    by_vectors: Divisor,
}

/// A precomputed divisor: divides in two thirds of the time of a division instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Divisor {
    divisor: u32,
    /// `ceil(2^64 / divisor)`: a product and its high half divide any `u32` exactly (Lemire, Kaser,
    /// Kurz 2019, "Faster remainder by direct computation"). 0 for 1, whose reciprocal does not
    /// fit.
    reciprocal: u64,
}

impl Divisor {
    /// The divisor must not be 0; 0 is treated as 1.
    pub(crate) fn new(divisor: u32) -> Self {
        let divisor = divisor.max(1);
        Self { divisor, reciprocal: (u64::MAX / u64::from(divisor)).wrapping_add(1) }
    }

    /// The quotient and the remainder.
    #[inline(always)]
    pub(crate) fn divide(self, number: u32) -> (usize, usize) {
        if self.reciprocal == 0 {
            return (number as usize, 0);
        }
        let quotient = ((u128::from(self.reciprocal) * u128::from(number)) >> 64) as u32;
        (quotient as usize, (number - quotient * self.divisor) as usize)
    }
}

impl Geometry {
    pub(crate) fn new(stride: usize, factor: bool) -> Self {
        let factor = if factor { size_of::<f32>() } else { 0 };
        let fits = |run: usize| {
            (run - LMDB_PAGE_HEADER - HEADER_BYTES - checksum::BYTES) / (stride + factor)
        };
        let mut run = MIN_RUN_BYTES;
        while run < MAX_RUN_BYTES
            && (fits(run) < 2 || fits(run) * (stride + factor) < run - run / 16)
        {
            run *= 2;
        }
        let vectors = fits(run) as u32;
        Self {
            stride,
            factor,
            block_bytes: run - LMDB_PAGE_HEADER,
            vectors,
            by_vectors: Divisor::new(vectors),
        }
    }

    /// The block of a slot, and the slot's place in it.
    #[inline]
    pub(crate) fn place(&self, slot: Slot) -> (usize, usize) {
        self.by_vectors.divide(slot.0)
    }

    /// The offset of the vector at a place of a block.
    #[inline]
    pub(crate) fn vector_offset(&self, place: usize) -> usize {
        HEADER_BYTES + place * self.stride
    }

    /// The offset of the factor at a place of a block. Only for metrics that have one.
    #[inline]
    pub(crate) fn factor_offset(&self, place: usize) -> usize {
        HEADER_BYTES + self.vectors as usize * self.stride + place * self.factor
    }

    /// Whether the values and factors of all places lie within a block. True unless the fields have
    /// been changed.
    #[inline]
    pub(crate) fn fits_its_block(&self) -> bool {
        HEADER_BYTES + self.vectors as usize * (self.stride + self.factor) <= self.block_bytes
    }

    /// Length of a TAIL value in bytes.
    pub(crate) fn tail_bytes(&self) -> usize {
        self.stride + self.factor + checksum::BYTES
    }

    /// The body of an empty block: its header, and zeros up to the checksum.
    pub(crate) fn new_block(&self, block: u32) -> Vec<u8> {
        self.new_block_of(block, 0)
    }

    /// The same, for values of a generation: codes have one.
    pub(crate) fn new_block_of(&self, block: u32, generation: u32) -> Vec<u8> {
        let mut body = vec![0; self.block_bytes - checksum::BYTES];
        body[..4].copy_from_slice(&block.to_le_bytes());
        body[4..8].copy_from_slice(&self.vectors.to_le_bytes());
        body[8..12].copy_from_slice(&generation.to_le_bytes());
        body
    }

    /// Writes a vector and its factor into a place of a block's body. `value` is the vector
    /// followed by the factor, with the lengths of the geometry.
    pub(crate) fn put_value(&self, body: &mut [u8], place: usize, value: &[u8]) {
        let (vector, factor) = value.split_at(self.stride);
        let at = self.vector_offset(place);
        body[at..at + self.stride].copy_from_slice(vector);
        let at = self.factor_offset(place);
        body[at..at + self.factor].copy_from_slice(factor);
    }

    /// Whether a place of a block's body has zeros only, as in a new block.
    pub(crate) fn is_clear(&self, body: &[u8], place: usize) -> bool {
        let [vector, factor] =
            [(self.vector_offset(place), self.stride), (self.factor_offset(place), self.factor)]
                .map(|(at, bytes)| body.get(at..at + bytes).unwrap_or_default());
        vector.iter().chain(factor).all(|byte| *byte == 0)
    }

    /// Checks the layout of `value` as block number `block`: header, length, and zeros in reserved
    /// bytes.
    pub(crate) fn check_block(&self, block: u32, value: &[u8]) -> Result<(), Damage> {
        self.check_block_of(block, 0, value)
    }

    /// The same, for values of a generation.
    pub(crate) fn check_block_of(
        &self,
        block: u32,
        generation: u32,
        value: &[u8],
    ) -> Result<(), Damage> {
        let used = HEADER_BYTES + self.vectors as usize * (self.stride + self.factor);
        if value.len() != self.block_bytes {
            Err("a block does not have the length of its geometry")
        } else if take_u32(value, 0) != Some(block) || take_u32(value, 4) != Some(self.vectors) {
            Err("a block's header does not fit its key or its geometry")
        } else if take_u32(value, 8) != Some(generation) {
            Err("a block is not of the generation that the metadata says")
        } else if value[12..HEADER_BYTES]
            .iter()
            .chain(&value[used..value.len() - checksum::BYTES])
            .any(|byte| *byte != 0)
        {
            Err("a reserved byte of a block is not zero")
        } else {
            Ok(())
        }
    }

    /// The factor of a TAIL value.
    pub(crate) fn tail_factor(&self, value: &[u8]) -> Option<f32> {
        take(value, self.stride).map(f32::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_divisor_divides() {
        for divisor in (1..200).chain([1019, 65_535, 1 << 31, u32::MAX - 1, u32::MAX]) {
            for number in (0..500).chain([
                divisor - 1,
                divisor,
                divisor.saturating_add(1),
                u32::MAX - 1,
                u32::MAX,
            ]) {
                let expected = ((number / divisor) as usize, (number % divisor) as usize);
                assert_eq!(Divisor::new(divisor).divide(number), expected, "{number} by {divisor}");
            }
        }
    }

    #[test]
    fn places_agree_with_division_for_every_geometry() {
        for stride in [4, 8, 512, 1536, 3072, 6144, 16_384, 63_000, 100_000, 262_140] {
            for factor in [false, true] {
                let geometry = Geometry::new(stride, factor);
                for slot in (0..10_000).chain([u32::MAX - 1, u32::MAX - 2, 1 << 31, (1 << 31) - 1])
                {
                    let expected =
                        ((slot / geometry.vectors) as usize, (slot % geometry.vectors) as usize);
                    assert_eq!(geometry.place(Slot(slot)), expected, "{stride} {slot}");
                }
            }
        }
    }

    #[test]
    fn little_of_a_block_is_padding() {
        for dimensions in 1..=2048 {
            let geometry = Geometry::new(4 * dimensions, true);
            let used = geometry.vectors as usize * (geometry.stride + geometry.factor);
            assert!(
                used * 16 >= geometry.block_bytes * 15 - 16 * 16,
                "{dimensions}: {used} of {}",
                geometry.block_bytes
            );
            assert!(
                geometry.factor_offset(geometry.vectors as usize) + checksum::BYTES
                    <= geometry.block_bytes
            );
        }
        let largest = Geometry::new(4 * 65_535, true);
        assert!(largest.vectors >= 3);
    }
}
