//! CODES: the quantized codes of vectors, in blocks and a tail like the vectors themselves
//! ([`Geometry`]), and their training.

use super::block::Geometry;
use super::{Damage, checksum, take, take_u32, take_u64};
use crate::distance::{FACTOR_BYTES, code_bytes};

/// The subs of the keys.
pub(crate) const BLOCKS: u8 = 0;
pub(crate) const TAIL: u8 = 1;
pub(crate) const TRAINED: u8 = 2;

/// Whether codes can have this number of bits per component.
pub(crate) fn is_possible(bits: u8) -> bool {
    matches!(bits, 1 | 2 | 4 | 7 | 8)
}

/// The block layout of codes with this number of bits per component.
pub(crate) fn geometry(bits: u8, dimensions: u32) -> Geometry {
    Geometry::new(code_bytes(bits.into(), dimensions as usize) + FACTOR_BYTES, false)
}

/// The training of the codes: what the encoder was made with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trained {
    /// The seed of the rotation.
    pub(crate) seed: u64,
    /// Number of vectors in the training sample; the center is their mean.
    pub(crate) sample: u32,
    /// The mean squared distance of the sample from the center.
    pub(crate) spread: f32,
    pub(crate) center: Vec<f32>,
}

impl Trained {
    const HEADER_BYTES: usize = 16;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out =
            Vec::with_capacity(Self::HEADER_BYTES + 4 * self.center.len() + checksum::BYTES);
        out.extend(self.seed.to_le_bytes());
        out.extend(self.sample.to_le_bytes());
        out.extend(self.spread.to_le_bytes());
        out.extend(self.center.iter().flat_map(|value| value.to_le_bytes()));
        out
    }

    pub(crate) fn decode(body: &[u8], dimensions: u32) -> Result<Self, Damage> {
        const SHORT: Damage = "it is cut short";
        let (center, rest) = body.get(Self::HEADER_BYTES..).ok_or(SHORT)?.as_chunks();
        if center.len() != dimensions as usize || !rest.is_empty() {
            return Err("its center does not have the dimensions of the index");
        }
        let center: Vec<f32> = center.iter().map(|value| f32::from_le_bytes(*value)).collect();
        let spread = f32::from_le_bytes(take(body, 12).ok_or(SHORT)?);
        if !center.iter().all(|value| value.is_finite()) || !(0.0..=f32::MAX).contains(&spread) {
            return Err("its center or its spread is not a number that it can be");
        }
        let (Some(seed), Some(sample)) = (take_u64(body, 0), take_u32(body, 8)) else {
            return Err(SHORT);
        };
        Ok(Self { seed, sample, spread, center })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_comes_back_and_damage_is_told() {
        let trained =
            Trained { seed: 7 << 40, sample: 100, spread: 2.5, center: vec![1.0, -2.0, 0.25] };
        let body = trained.encode();
        assert_eq!(Trained::decode(&body, 3).as_ref(), Ok(&trained));
        assert!(
            Trained::decode(&body, 2).is_err()
                && Trained::decode(&body[..27], 3).is_err()
                && Trained::decode(&[], 3).is_err()
        );
        for center in [f32::NAN, f32::INFINITY] {
            assert!(
                Trained::decode(
                    &Trained { center: vec![0.0, center, 1.0], ..trained.clone() }.encode(),
                    3
                )
                .is_err()
            );
        }
        for spread in [f32::NAN, f32::INFINITY, -1.0] {
            assert!(Trained::decode(&Trained { spread, ..trained.clone() }.encode(), 3).is_err());
        }
    }

    #[test]
    fn a_code_takes_its_bits_and_twelve_bytes_or_whole_lines() {
        for (bits, dimensions, bytes) in [
            (8, 128, 140),
            (4, 384, 204),
            (2, 3, 13),
            (1, 9, 14),
            (7, 128, 128),
            (7, 132, 128),
            (7, 133, 129),
            (7, 8, 19),
        ] {
            assert_eq!(geometry(bits, dimensions).stride, bytes);
        }
    }
}
