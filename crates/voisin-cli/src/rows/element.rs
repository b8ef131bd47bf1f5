//! The components of binary formats.

use half::f16;

/// The type of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    F16,
    F32,
    F64,
    I8,
    U8,
    I32,
}

impl Element {
    /// Bytes a component.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::F16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 => 8,
        }
    }

    /// The components of a row as `f32`: rounded to the nearest, where it is of `f64`. Whole
    /// numbers that `f32` does not have are an error: their text.
    pub(crate) fn decode(self, bytes: &[u8], is_big_endian: bool) -> Result<Vec<f32>, String> {
        fn all<const N: usize>(
            bytes: &[u8],
            is_big_endian: bool,
            decode: impl Fn([u8; N]) -> f32,
        ) -> Vec<f32> {
            let turn = |mut bytes: [u8; N]| {
                if is_big_endian {
                    bytes.reverse();
                }
                decode(bytes)
            };
            bytes.as_chunks().0.iter().copied().map(turn).collect()
        }
        Ok(match self {
            Self::I8 => bytes.iter().map(|byte| f32::from(byte.cast_signed())).collect(),
            Self::U8 => bytes.iter().map(|byte| f32::from(*byte)).collect(),
            Self::F16 => all(bytes, is_big_endian, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Self::F32 => all(bytes, is_big_endian, f32::from_le_bytes),
            Self::F64 => all(bytes, is_big_endian, |bytes| f64::from_le_bytes(bytes) as f32),
            Self::I32 => {
                const EXACT: u32 = 1 << f32::MANTISSA_DIGITS;
                let numbers = bytes.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes));
                if let Some(large) = numbers.clone().find(|number| number.unsigned_abs() > EXACT) {
                    return Err(format!(
                        "the component {large} is not a number that f32 has, which has whole \
                         numbers up to {EXACT}: give smaller ones"
                    ));
                }
                numbers.map(|number| number as f32).collect()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_of_every_type_are_decoded_in_both_byte_orders() {
        let decode = |element: Element, bytes: &[u8]| element.decode(bytes, false).unwrap();
        assert_eq!(decode(Element::I8, &[255, 3]), [-1.0, 3.0]);
        assert_eq!(decode(Element::U8, &[255, 3]), [255.0, 3.0]);
        assert_eq!(decode(Element::F32, &1.5f32.to_le_bytes()), [1.5]);
        assert_eq!(decode(Element::F64, &(-2.5f64).to_le_bytes()), [-2.5]);
        assert_eq!(decode(Element::F16, &f16::from_f32(0.25).to_le_bytes()), [0.25]);
        assert_eq!(Element::F32.decode(&1.5f32.to_be_bytes(), true), Ok(vec![1.5]));
        assert_eq!(decode(Element::I32, &(-7i32).to_le_bytes()), [-7.0]);
        assert!(Element::I32.decode(&(1i32 << 30).to_le_bytes(), false).is_err());
    }
}
