//! Quantized codes: vectors at 1, 2, 4, 7 or 8 bits a component, to search by. Results are reranked
//! by the vectors themselves.
//!
//! A code quantizes the **residual** of a vector, its difference from the **center** of the index,
//! after a random rotation, which makes all components alike (`kernels/rotation.rs`). A component
//! is the number of the step that it falls into; the step width is chosen for each vector. The
//! scale stored with a code is that of extended RaBitQ (Gao et al. 2024): the inner product of the
//! scaled code and the residual is that of the residual and itself, which makes estimates unbiased.
//! We depart from the paper in two ways. A few step widths are tried, where the paper enumerates
//! all that matter. The error bound is by Cauchy-Schwarz, with the norm of the quantization error,
//! so that it holds always, not with high probability, and an exact scan may skip vectors by it.
//!
//! Invariants: the code of a vector is bit-identical on every machine; a distance, as the kernels
//! of the metric compute it, differs from its estimate by at most the error bound. Only metrics
//! that follow from inner products have codes: a rotation preserves those, but neither sums of
//! absolute differences nor bits.

use std::fmt;

use crate::codec::Scale;
use crate::distance::{
    CodeQuery, Estimates, FACTOR_BYTES, Factors, Form, Metric, Rotation, code_bytes, estimates,
    fills_lines, sum_of,
};

/// The largest magnitude of a quantized query component.
const QUERY_LEVELS: f32 = 127.0;
/// Errors beyond this many standard deviations are ignored (3 sigma: 99.7 % are within).
const DEVIATIONS: f32 = 3.0;
/// Bytes of memory for the lists of an item, for each neighbor that it may have on the base layer:
/// those of all layers, with what else their pages hold.
const EDGE_BYTES: usize = 4;
/// Bytes of memory for the id of an item and the keys of its values.
const ITEM_BYTES: usize = 8;
/// From this many dimensions on, the errors of 4-bit components average out well enough.
const FAST_4_FROM: usize = 256;

/// The quantization of the codes that an index is searched by: the bits per component.
///
/// Codes are stored beside the vectors, `bits * dimensions / 8 + 12` bytes each; 7-bit codes take
/// up to 4 bytes more where that fills a cache line. A search estimates distances from codes, and
/// reranks the candidates by the vectors: the distances in an answer are always exact, and fewer
/// bits lower the recall a little.
///
/// | bits | for | recall at equal `ef_search` |
/// |---|---|---|
/// | 8 | everything | as without codes |
/// | 7 | whole cache lines, as at 128 dimensions: a third fewer than at 8 bits | as without codes |
/// | 4 | from about 256 dimensions on | a few tenths of a percent lower |
/// | 2, 1 | a thousand dimensions and more, or little memory: raise `ef_search` | lower |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codes {
    /// 1 bit a component: its sign.
    Bits1,
    /// 2 bits a component.
    Bits2,
    /// 4 bits a component.
    Bits4,
    /// 7 bits a component, bit-packed.
    Bits7,
    /// 8 bits a component.
    Bits8,
}

impl Codes {
    /// All, from the fewest bits to the most.
    pub(crate) const ALL: [Self; 5] =
        [Self::Bits1, Self::Bits2, Self::Bits4, Self::Bits7, Self::Bits8];

    /// The fastest codes at nearly the same recall: 4 bits from 256 dimensions on. Below, 7 bits if
    /// such codes fill whole cache lines, as with 54 to 59, 127 to 132 and 201 to 205 dimensions,
    /// else 8.
    #[must_use]
    pub fn fast(dimensions: usize) -> Self {
        match dimensions {
            FAST_4_FROM.. => Self::Bits4,
            _ if fills_lines(Self::Bits7.bits(), dimensions) => Self::Bits7,
            _ => Self::Bits8,
        }
    }

    /// The codes with the most bits with which an index of this many items can be searched from
    /// `bytes` of memory: its hot part, the codes, neighbor lists and item ids, of which every
    /// search reads from all over the index, then takes three quarters of it at most. The vectors
    /// stay on disk, but for the few dozen by which a search ranks its results: fewer the more bits
    /// the codes have. `m0` is the maximum degree on the base layer, 32 unless chosen otherwise.
    ///
    /// `None` if not even codes of one bit leave room: such an index reads its lists from disk,
    /// too.
    ///
    /// ```
    /// use voisin_kernels::codes::Codes;
    ///
    /// // A million vectors of 384 components: 1.5 GB.
    /// let for_memory = |bytes| Codes::for_memory(bytes, 1_000_000, 384, 32);
    /// assert_eq!(for_memory(800_000_000), Some(Codes::Bits8));
    /// assert_eq!(for_memory(500_000_000), Some(Codes::Bits4));
    /// assert_eq!(for_memory(300_000_000), Some(Codes::Bits1));
    /// assert_eq!(for_memory(200_000_000), None);
    /// ```
    #[must_use]
    pub fn for_memory(bytes: u64, items: u64, dimensions: usize, m0: usize) -> Option<Self> {
        let hot_bytes = |codes: &Self| {
            let code = codes.code_bytes(dimensions) + FACTOR_BYTES;
            items.saturating_mul((code + m0 * EDGE_BYTES + ITEM_BYTES) as u64)
        };
        Self::ALL.into_iter().rev().find(|codes| hot_bytes(codes) <= bytes / 4 * 3)
    }

    /// The number of bits per component.
    #[must_use]
    pub fn bits(self) -> usize {
        match self {
            Self::Bits1 => 1,
            Self::Bits2 => 2,
            Self::Bits4 => 4,
            Self::Bits7 => 7,
            Self::Bits8 => 8,
        }
    }

    /// The codes with this many bits per component, if there are any.
    #[doc(hidden)]
    #[must_use]
    pub fn of_bits(bits: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codes| codes.bits() == usize::from(bits))
    }

    /// The size of a code without its factors, in bytes.
    pub(crate) fn code_bytes(self, dimensions: usize) -> usize {
        code_bytes(self.bits(), dimensions)
    }

    /// The step widths to try, as fractions of the width at which the steps reach the largest
    /// component. With few steps, it is better to clip a few large components.
    fn widths(self) -> &'static [f32] {
        match self {
            Self::Bits1 | Self::Bits7 | Self::Bits8 => &[1.0],
            Self::Bits4 => &[1.0, 0.9, 0.8, 0.7],
            Self::Bits2 => &[1.0, 0.85, 0.7, 0.6],
        }
    }
}

impl fmt::Display for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bits", self.bits())
    }
}

/// Whether a metric can have codes: its distances follow from inner products.
#[must_use]
pub fn is_sound(metric: &Metric) -> bool {
    matches!(metric.form, Form::SquaredDifferences | Form::NegatedProducts | Form::Cosine)
}

/// Encodes vectors, prepares queries, and estimates distances from codes.
#[derive(Debug)]
pub struct Coder {
    codes: Codes,
    metric: &'static Metric,
    center: Vec<f32>,
    rotation: Rotation,
    /// The scale of the stored vectors.
    scale: Scale,
    /// Estimates the distances of a query to codes.
    pub estimates: Estimates,
}

/// Scratch memory for encoding a vector.
#[derive(Debug, Default)]
pub struct Scratch {
    residual: Vec<f32>,
    tried: Vec<u8>,
    best: Vec<u8>,
}

impl Coder {
    /// For vectors of as many components as `center` has. For metrics that compare directions, the
    /// center is one of normalized vectors.
    #[must_use]
    pub fn new(
        metric: &'static Metric,
        codes: Codes,
        seed: u64,
        center: Vec<f32>,
        scale: Scale,
    ) -> Self {
        let rotation = Rotation::new(seed, center.len());
        Self {
            codes,
            metric,
            rotation,
            scale,
            estimates: estimates(codes.bits(), codes.code_bytes(center.len())),
            center,
        }
    }

    /// Appends the code of a stored vector, with its factors.
    pub fn encode(&self, stored: &[u8], factor: f32, scratch: &mut Scratch, out: &mut Vec<u8>) {
        let Scratch { residual, tried, best } = scratch;
        residual.clear();
        let decoded = self.metric.decode(stored, self.scale);
        residual.extend(
            self.metric
                .coded(&decoded, factor, self.center.len())
                .iter()
                .zip(&self.center)
                .map(|(value, center)| value - center),
        );
        let square = dot(residual, residual);
        let offset = match self.metric.form {
            Form::Cosine => square / 4.0,
            Form::NegatedProducts => -dot(residual, &self.center),
            _ => square,
        };
        self.rotation.rotate(residual);
        let levels = 1u32 << self.codes.bits();
        let widest = residual.iter().fold(0f32, |widest, value| widest.max(value.abs()))
            / (levels / 2) as f32;
        let mut products = (0.0, 0.0);
        best.clear();
        best.resize(residual.len(), 0);
        for share in self.codes.widths() {
            tried.clear();
            let found = quantize(residual, widest * share, levels as f32, tried);
            // The larger cosine with the residual wins; the norm of the residual cancels.
            if found.0 > 0.0 && found.0 * found.0 * products.1 >= products.0 * products.0 * found.1
            {
                products = found;
                std::mem::swap(tried, best);
            }
        }
        let rotated = dot(residual, residual);
        let scale =
            (if products.0 > 0.0 { rotated / products.0 } else { 0.0 }).min(f32::MAX.into()) as f32;
        let middle = (levels - 1) as f32 / 2.0;
        let lost = residual
            .iter()
            .zip(&*best)
            .map(|(value, level)| f64::from(value - scale * (f32::from(*level) - middle)));
        let error = lost.map(|lost| lost * lost).sum::<f64>().sqrt() as f32;
        let length = (f64::from(scale) * products.1.sqrt()) as f32;
        self.pack(best, out);
        let offset = offset.clamp(f32::MIN.into(), f32::MAX.into()) as f32;
        out.extend(Factors { offset, scale, error, length }.encode());
    }

    /// Appends the numbers of the steps, by planes, or bit-packed for 7 bits.
    fn pack(&self, levels: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        let bits = self.codes.bits();
        let bytes = self.codes.code_bytes(levels.len());
        out.resize(start + bytes, 0);
        if self.codes == Codes::Bits7 {
            return pack_sevens(levels, &mut out[start..]);
        }
        for (plane, levels) in levels.chunks(bytes).enumerate() {
            out[start..]
                .iter_mut()
                .zip(levels)
                .for_each(|(byte, level)| *byte |= level << (plane * bits));
        }
    }

    /// Prepares a query for codes, from its decoded bytes and its factor.
    #[must_use]
    pub fn query(&self, vector: &[u8], factor: f32) -> CodeQuery {
        let mut residual = self.metric.coded(vector, factor, self.center.len());
        let products = (self.metric.form == Form::NegatedProducts)
            .then(|| (dot(&self.center, &residual), dot(&residual, &residual)));
        residual.iter_mut().zip(&self.center).for_each(|(value, center)| *value -= center);
        let square = dot(&residual, &residual);
        self.rotation.rotate(&mut residual);
        let largest = residual.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let step = if largest > 0.0 { largest / QUERY_LEVELS } else { 1.0 };
        let steps: Vec<i8> = residual.iter().map(|value| nearest_whole(value / step)).collect();
        residual
            .iter_mut()
            .zip(&steps)
            .for_each(|(value, steps)| *value -= f32::from(*steps) * step);
        let lost = dot(&residual, &residual).sqrt();
        self.query_of_steps(&steps, step, lost, square, products)
    }

    /// Prepares a query for codes from the code of a vector, where the vector is not at hand: the
    /// quantization errors of both then add up, as the error bound says. Needs no rotation. `None`
    /// for inner products, whose offset a code does not tell, and for a slice that is no code.
    #[must_use]
    pub fn query_of_code(&self, code: &[u8]) -> Option<CodeQuery> {
        let (levels, factors) = code.split_last_chunk::<FACTOR_BYTES>()?;
        let Factors { offset, scale, error, .. } = Factors::decode(*factors);
        let square = match self.metric.form {
            Form::Cosine => 4.0 * f64::from(offset),
            Form::SquaredDifferences => f64::from(offset),
            _ => return None,
        };
        let (steps, error) = (self.steps(levels), f64::from(error));
        // The steps of 8 bits are off by half of one, in all components alike.
        let (step, lost) = match self.codes {
            Codes::Bits8 => (scale, error + f64::from(scale) * 0.5 * (steps.len() as f64).sqrt()),
            _ => (scale / 2.0, error),
        };
        Some(self.query_of_steps(&steps, step, lost, square, None))
    }

    /// The query whose rotated residual, of norm `sqrt(square)`, is `steps` of this width but for
    /// an error of norm `lost`. For inner products, `products` are those of the query with the
    /// center and with itself.
    fn query_of_steps(
        &self,
        steps: &[i8],
        step: f32,
        lost: f64,
        square: f64,
        products: Option<(f64, f64)>,
    ) -> CodeQuery {
        let sum = f64::from(steps.iter().map(|steps| i32::from(*steps)).sum::<i32>());
        let bits = self.codes.bits();
        let middle = f64::from((1u32 << bits) - 1) / 2.0;
        let (multiple, offset, own) = match (self.metric.form, products) {
            (Form::Cosine, _) => (0.5, square / 4.0, square.sqrt() + 2.0),
            (_, Some((with_center, own))) => (
                1.0,
                -with_center,
                dot(&self.center, &self.center).sqrt() + own.sqrt() + square.sqrt(),
            ),
            _ => (2.0, square, square.sqrt()),
        };
        let mut query = CodeQuery::new(steps, self.codes.code_bytes(steps.len()), bits);
        query.offset = offset as f32;
        query.slope = (multiple * f64::from(step)) as f32;
        query.intercept = (-multiple * f64::from(step) * middle * sum) as f32;
        // Rounded up, with a margin for the rounding errors of the rotation; `slack` covers its
        // share of them, too.
        let up = |value: f64| (value * (1.0 + 1e-5)) as f32;
        query.error = up(multiple * square.sqrt());
        query.length = up(multiple * lost);
        query.slack = (2 * steps.len() + 64) as f32 * f32::EPSILON;
        query.own = up(own);
        query.likely = (DEVIATIONS / (steps.len() as f32).sqrt()).min(1.0);
        query
    }

    /// The steps of a code from its middle: in half steps, so that they are whole, or with 8 bits
    /// in whole ones, half a step too low.
    fn steps(&self, code: &[u8]) -> Vec<i8> {
        let (bits, dimensions) = (self.codes.bits(), self.center.len());
        let mut steps: Vec<i8> = Vec::with_capacity(dimensions.next_multiple_of(8));
        match self.codes {
            Codes::Bits8 => steps.extend(code.iter().map(|level| (level ^ 0x80) as i8)),
            Codes::Bits7 => {
                for bytes in code.chunks(7) {
                    let word =
                        bytes.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
                    steps.extend((0..8).map(|i| (2 * (word >> (7 * i) & 127) as i16 - 127) as i8));
                }
            }
            _ => {
                let (mask, last) = ((1u8 << bits) - 1, (1i8 << bits) - 1);
                for plane in 0..8 / bits {
                    let level = |byte: &u8| (byte >> (plane * bits) & mask) as i8;
                    steps.extend(code.iter().map(|byte| 2 * level(byte) - last));
                }
            }
        }
        steps.truncate(dimensions);
        steps
    }
}

/// Bit-packs 7-bit numbers, the lowest bits first, into zeroed bytes.
fn pack_sevens(levels: &[u8], out: &mut [u8]) {
    for (eight, bytes) in levels.chunks(8).zip(out.chunks_mut(7)) {
        let word = eight.iter().rev().fold(0u64, |word, level| word << 7 | u64::from(*level));
        bytes.iter_mut().zip(word.to_le_bytes()).for_each(|(byte, of_word)| *byte = of_word);
    }
}

/// Quantizes `values` to `levels` steps of the given width, centered at zero, and appends the
/// numbers of the steps. Returns the inner products of the step centers with the values and with
/// themselves, in units of the width.
fn quantize(values: &[f32], width: f32, levels: f32, out: &mut Vec<u8>) -> (f64, f64) {
    let per_width = if width > 0.0 { width.recip() } else { 0.0 };
    let (half, last) = (levels / 2.0, levels - 1.0);
    out.extend(values.iter().map(|value| (value * per_width + half).clamp(0.0, last) as u8));
    let middle = |level: u8| f32::from(level) - last / 2.0;
    let middles: Vec<f32> = out.iter().map(|level| middle(*level)).collect();
    (dot(values, &middles), dot(&middles, &middles))
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    sum_of(a, b, |a, b| f64::from(a * b))
}

/// Rounds to nearest, ties to even. For magnitudes up to 127.
fn nearest_whole(value: f32) -> i8 {
    // At this magnitude, floats are 1 apart: the lowest bits of the sum are the integer.
    (value + 1.5 * (1u32 << (f32::MANTISSA_DIGITS - 1)) as f32).to_bits() as i8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::F32;
    use crate::distance::{Cosine, Distance, DotProduct, Euclidean, distance};

    fn bytes(vector: &[f32]) -> Vec<u8> {
        vector.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// The estimate of a distance, and its error bound.
    fn estimate<D: Distance<Codec = F32>>(
        coder: &Coder,
        query: &[f32],
        vector: &[f32],
    ) -> (f32, f32) {
        let (query, stored) = (bytes(query), bytes(vector));
        let factor = |bytes: &[u8]| Metric::of::<D>().factor(bytes);
        let mut code = Vec::new();
        coder.encode(&stored, factor(&stored), &mut Scratch::default(), &mut code);
        let query = coder.query(&query, factor(&query));
        let mut out = Vec::new();
        (coder.estimates)(&query, &[&code], &mut out);
        (out[0], query.bound(&code))
    }

    fn check_bound<D: Distance<Codec = F32>>(center: &[f32], a: &[f32], b: &[f32]) {
        let Ok(exact) = distance::<D>(a, b) else { return };
        for codes in Codes::ALL {
            let coder = Coder::new(Metric::of::<D>(), codes, 5, center.to_vec(), Scale::NONE);
            let (estimate, bound) = estimate::<D>(&coder, a, b);
            assert!(
                (exact - estimate).abs() <= bound,
                "{} {codes}: {exact} is not {estimate} but for {bound}",
                D::name()
            );
            let [a, b] = [a, b].map(|vector| {
                let (stored, mut code) = (bytes(vector), Vec::new());
                let factor = Metric::of::<D>().factor(&stored);
                coder.encode(&stored, factor, &mut Scratch::default(), &mut code);
                code
            });
            let Some(query) = coder.query_of_code(&a) else { continue };
            let mut out = Vec::new();
            (coder.estimates)(&query, &[&b], &mut out);
            let bound = query.bound(&b);
            assert!((exact - out[0]).abs() <= bound, "{codes}: {exact}, {out:?}, {bound}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn no_distance_is_farther_from_its_estimate_than_the_bound(
            rows in prop::collection::vec((-10.0..10f32, -1.0..1f32, -1.0..1f32), 1..150),
            near in any::<bool>(),
        ) {
            let center: Vec<f32> = rows.iter().map(|row| row.0).collect();
            let a: Vec<f32> = rows.iter().map(|row| row.0 + row.1).collect();
            let b: Vec<f32> = rows.iter().map(
                |row| row.0 + if near { row.1 + row.2 * 1e-3 } else { row.2 },
            ).collect();
            check_bound::<Euclidean>(&center, &a, &b);
            check_bound::<DotProduct>(&center, &a, &b);
            check_bound::<Cosine>(&center, &a, &b);
        }
    }

    /// Approximately normally distributed components.
    fn vector(salt: u32, dimensions: usize) -> Vec<f32> {
        let mut state = salt.wrapping_mul(2_654_435_761).wrapping_add(1);
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 - 0.5
        };
        (0..dimensions).map(|_| (0..6).map(|_| next()).sum()).collect()
    }

    #[test]
    fn estimates_are_unbiased_and_more_bits_are_nearer() {
        let query = vector(1, 200);
        let mut errors = Vec::new();
        for codes in Codes::ALL {
            let coder =
                Coder::new(Metric::of::<Euclidean>(), codes, 5, vec![0.0; 200], Scale::NONE);
            let (mut off, mut square) = (0.0, 0.0);
            for salt in 2..302 {
                let vector = vector(salt, 200);
                let exact = f64::from(distance::<Euclidean>(&query, &vector).unwrap());
                let error =
                    f64::from(estimate::<Euclidean>(&coder, &query, &vector).0) / exact - 1.0;
                (off, square) = (off + error, square + error * error);
            }
            let deviation = (square / 300.0).sqrt();
            assert!((off / 300.0).abs() < deviation / 4.0, "{codes}: {off} {deviation}");
            errors.push(deviation);
        }
        assert!(errors.is_sorted_by(|fewer, more| *more < fewer / 1.3), "{errors:?}");
        assert!(errors[2] < 0.012 && errors[4] < 0.0015, "{errors:?}");
    }

    #[test]
    fn the_center_itself_and_huge_vectors_have_finite_estimates() {
        let center = vec![3.0; 20];
        let huge = vec![9e17; 20];
        for codes in Codes::ALL {
            let coder =
                Coder::new(Metric::of::<Euclidean>(), codes, 5, center.clone(), Scale::NONE);
            assert_eq!(estimate::<Euclidean>(&coder, &center, &center).0, 0.0);
            for (a, b) in [(&center, &huge), (&huge, &huge), (&huge, &center)] {
                assert!(estimate::<Euclidean>(&coder, a, b).0.is_finite());
            }
        }
    }

    #[test]
    fn a_code_has_the_length_that_is_said() {
        for codes in Codes::ALL {
            for dimensions in [1, 3, 7, 8, 9, 64, 100, 384] {
                let coder = Coder::new(
                    Metric::of::<Euclidean>(),
                    codes,
                    5,
                    vec![0.0; dimensions],
                    Scale::NONE,
                );
                let (row, mut out) = (bytes(&vector(3, dimensions)), vec![1, 2]);
                coder.encode(&row, 1.0, &mut Scratch::default(), &mut out);
                assert_eq!(out.len(), 2 + code_bytes(codes.bits(), dimensions) + 12);
            }
        }
    }

    #[test]
    fn seven_bits_are_the_fast_ones_where_they_fill_lines() {
        for (dimensions, bits) in [
            (1, 8),
            (53, 8),
            (54, 7),
            (59, 7),
            (60, 8),
            (126, 8),
            (127, 7),
            (128, 7),
            (132, 7),
            (133, 8),
            (201, 7),
            (205, 7),
            (206, 8),
            (255, 8),
            (256, 4),
        ] {
            assert_eq!(Codes::fast(dimensions).bits(), bits, "{dimensions}");
        }
    }
}
