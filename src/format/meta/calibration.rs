//! The calibration of an index: the recall that searches of its graph had at several `ef`, as a
//! build has measured it. It ends the part of LINKS.

use crate::format::{Damage, take_u16, take_u32};
use crate::types::{Calibration, Curve, Point};

/// Length of the calibration without curves, and of a curve without points.
const HEAD_BYTES: usize = 12;
const CURVE_HEAD_BYTES: usize = 8;
/// The maximum numbers of curves and of points of a curve: META stays far below a page.
const MAX_CURVES: usize = 8;
const MAX_POINTS: usize = 32;

const DAMAGE: Damage = "what it says of the recall of searches is impossible";

impl Calibration {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.items.to_le_bytes());
        out.extend(self.queries.to_le_bytes());
        out.extend((self.curves.len() as u32).to_le_bytes());
        for Curve { k, points } in &self.curves {
            out.extend(k.to_le_bytes());
            out.extend((points.len() as u32).to_le_bytes());
            for Point { ef, recall } in points {
                out.extend(ef.to_le_bytes());
                out.extend(recall.to_le_bytes());
            }
        }
    }

    /// Decodes what is left of a part: nothing if there is no calibration.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Self>, Damage> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let (head, mut rest) = bytes.split_at_checked(HEAD_BYTES).ok_or(DAMAGE)?;
        let u32_at = |bytes: &[u8], offset| take_u32(bytes, offset).unwrap_or_default();
        let count = u32_at(head, 8) as usize;
        if !(1..=MAX_CURVES).contains(&count) || take_u16(head, 10) != Some(0) {
            return Err(DAMAGE);
        }
        let mut curves = Vec::with_capacity(count);
        for _ in 0..count {
            let (head, tail) = rest.split_at_checked(CURVE_HEAD_BYTES).ok_or(DAMAGE)?;
            let count = u32_at(head, 4) as usize;
            if !(1..=MAX_POINTS).contains(&count) {
                return Err(DAMAGE);
            }
            let (points, tail) = tail.split_at_checked(8 * count).ok_or(DAMAGE)?;
            let (points, _) = points.as_chunks::<8>();
            let point = |bytes: &[u8; 8]| Point {
                ef: u32_at(bytes, 0),
                recall: f32::from_bits(u32_at(bytes, 4)),
            };
            curves.push(Curve { k: u32_at(head, 0), points: points.iter().map(point).collect() });
            rest = tail;
        }
        let found = Self { items: u32_at(head, 0), queries: u32_at(head, 4), curves };
        if rest.is_empty() && found.is_possible() { Ok(Some(found)) } else { Err(DAMAGE) }
    }

    /// Notes that the index has other codes than it was measured with: as if it had been measured
    /// when it had one item, which asks for more effort meanwhile.
    pub(crate) fn outdate(&mut self) {
        self.items = 1;
    }

    /// Whether builds are to measure anew, however little they link.
    pub(crate) fn is_outdated(&self) -> bool {
        self.items == 1
    }

    fn is_possible(&self) -> bool {
        // From 1 on.
        let ascend = |numbers: Vec<u32>| numbers[0] > 0 && numbers.is_sorted_by(|a, b| a < b);
        self.items > 0
            && self.queries > 0
            && ascend(self.curves.iter().map(|curve| curve.k).collect())
            && self.curves.iter().all(|Curve { points, .. }| {
                ascend(points.iter().map(|point| point.ef).collect())
                    && points.iter().all(|point| (0.0..=1.0).contains(&point.recall))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibration() -> Calibration {
        let points = |efs: &[u32]| {
            let point = |ef: &u32| Point { ef: *ef, recall: 1.0 - 1.0 / *ef as f32 };
            efs.iter().map(point).collect()
        };
        let curves = vec![
            Curve { k: 10, points: points(&[10, 20, 40]) },
            Curve { k: 100, points: points(&[100]) },
        ];
        Calibration { items: 900, queries: 256, curves }
    }

    fn encoded(calibration: &Calibration) -> Vec<u8> {
        let mut bytes = Vec::new();
        calibration.encode(&mut bytes);
        bytes
    }

    #[test]
    fn what_is_encoded_comes_back_and_no_byte_makes_decoding_panic() {
        let bytes = encoded(&calibration());
        assert_eq!(Calibration::decode(&bytes), Ok(Some(calibration())));
        assert_eq!(Calibration::decode(&[]), Ok(None));
        for end in 1..bytes.len() {
            assert!(Calibration::decode(&bytes[..end]).is_err(), "{end}");
        }
        for at in 0..bytes.len() {
            for byte in [0, 1, 127, 255] {
                let mut damaged = bytes.clone();
                damaged[at] = byte;
                if let Ok(Some(found)) = Calibration::decode(&damaged) {
                    assert_eq!(encoded(&found), damaged);
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let possible = calibration();
        let mut all = vec![possible.clone(); 6];
        all[0].items = 0;
        all[1].queries = 0;
        all[2].curves.reverse();
        all[3].curves[0].points.reverse();
        all[4].curves[0].points[1].recall = 1.5;
        all[5].curves[0].points[1].recall = f32::NAN;
        for damaged in all {
            assert!(Calibration::decode(&encoded(&damaged)).is_err(), "{damaged:?}");
        }
    }
}
