//! Locality-sensitive hashing: near vectors have equal hashes more often than far ones.
//!
//! The hash of a table has [`DIGITS`] digits, each of a *cross-polytope* (Andoni, Indyk,
//! Laarhoven, Razenshteyn, Schmidt 2015): of [`WIDTH`] components of the rotated residual, the
//! difference from the center of the index, which one is the largest by magnitude, and its sign. A
//! prefix of the digits is a hash, too, so that an index that grows uses more of them, and hashes
//! nothing anew. The rotations are those of the codes (`kernels/rotation.rs`); one rotation serves
//! as many digits as it has components for.
//!
//! `odds` has the probability that a vector at some distance from a query has some digits: what
//! buckets to probe, and what a probe is worth, follows from it.
//!
//! Invariant: the hashes of a vector are the same on every machine.

mod gauss;
mod odds;
mod shape;

pub use self::odds::{Chances, Odds, Point, Reach, STEPS, Steps};
pub use self::shape::{DIGIT_BITS, DIGITS, VALUES, WIDTH};
pub use crate::distance::sift;
use crate::distance::{Form, Metric, Rotation};

/// Whether a metric can be searched by hashes: its distances are those of points in space.
#[must_use]
pub fn is_sound(metric: &Metric) -> bool {
    matches!(metric.form, Form::SquaredDifferences | Form::Cosine)
}

/// Computes the hashes of vectors.
#[derive(Debug, Clone)]
pub struct Hasher {
    center: Vec<f32>,
    rotations: Vec<Rotation>,
    /// The number of components of a rotation.
    padded: usize,
    tables: usize,
}

impl Hasher {
    /// For vectors of as many components as `center` has; for metrics that compare directions, it
    /// is one of normalized vectors. The seeds of the rotations are the first numbers of SplitMix64
    /// with `seed`.
    #[must_use]
    pub fn new(seed: u64, center: Vec<f32>, tables: usize) -> Self {
        let padded = center.len().max(WIDTH);
        let rotations = (tables * DIGITS).div_ceil(padded / WIDTH);
        let mut state = seed;
        let rotations =
            (0..rotations).map(|_| Rotation::new(crate::distance::split_mix(&mut state), padded));
        Self { rotations: rotations.collect(), center, padded, tables }
    }

    /// The number of tables.
    #[must_use]
    pub fn tables(&self) -> usize {
        self.tables
    }

    /// Passes the components that each digit compares to `each`, by the number of the digit,
    /// counted through the tables.
    fn blocks(&self, vector: &[f32], rotated: &mut Vec<f32>, mut each: impl FnMut(usize, &[f32])) {
        let digits = self.tables * DIGITS;
        for (nth, rotation) in self.rotations.iter().enumerate() {
            rotated.clear();
            rotated.extend(vector.iter().zip(&self.center).map(|(value, center)| value - center));
            rotated.resize(self.padded, 0.0);
            rotation.rotate(rotated);
            let first = nth * (self.padded / WIDTH);
            let blocks = rotated.chunks_exact(WIDTH).zip(first..digits);
            blocks.for_each(|(block, digit)| each(digit, block));
        }
    }

    /// Replaces `hashes` by the hashes of a vector, one for each table: the first digit is the
    /// highest. `vector` are its components as codes quantize them ([`Metric::coded`]).
    pub fn hash(&self, vector: &[f32], scratch: &mut Vec<f32>, hashes: &mut Vec<u32>) {
        hashes.clear();
        hashes.resize(self.tables, 0);
        self.blocks(vector, scratch, |digit, block| {
            let hash = &mut hashes[digit / DIGITS];
            *hash = *hash << DIGIT_BITS | value(block);
        });
    }

    /// The square of the distance of a vector from the center.
    #[must_use]
    pub fn square(&self, vector: &[f32]) -> f64 {
        let residual = vector.iter().zip(&self.center).map(|(value, center)| value - center);
        residual.map(|value| f64::from(value) * f64::from(value)).sum()
    }

    /// Prepares a query, of components like those of [`hash`](Self::hash).
    #[must_use]
    pub fn query(&self, vector: &[f32]) -> Point {
        let (mut blocks, mut scratch) = (Vec::new(), Vec::new());
        self.blocks(vector, &mut scratch, |_, block| blocks.extend_from_slice(block));
        Point { blocks, square: self.square(vector), padded: self.padded, tables: self.tables }
    }
}

/// The value of a digit: twice the number of the largest component by magnitude, the first of equal
/// ones, and 1 more if it is negative.
fn value(block: &[f32]) -> u32 {
    let mut largest = (0, 0f32);
    for (at, component) in block.iter().enumerate() {
        if component.abs() > largest.1.abs() {
            largest = (at as u32, *component);
        }
    }
    2 * largest.0 + u32::from(largest.1 < 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(components: usize, salt: usize) -> Vec<f32> {
        (0..components).map(|i| ((i * 37 + salt * 101) % 97) as f32 - 48.0).collect()
    }

    #[test]
    fn a_digit_is_the_largest_component_and_its_sign() {
        let mut block = [0.5f32; WIDTH];
        assert_eq!(value(&block), 0);
        (block[3], block[7]) = (-2.0, 2.0);
        assert_eq!(value(&block), 7, "the first of equal ones");
        block[15] = 3.0;
        assert_eq!(value(&block), 30);
        assert_eq!(value(&[0.0; WIDTH]), 0);
    }

    #[test]
    fn hashes_are_those_of_the_rotated_residual_for_every_number_of_components() {
        for components in [1, 2, 15, 16, 17, 31, 100, 128, 384] {
            let (center, tables) = (vector(components, 1), 4);
            let hasher = Hasher::new(42, center.clone(), tables);
            let row = vector(components, 2);
            let (mut scratch, mut hashes) = (Vec::new(), Vec::new());
            hasher.hash(&row, &mut scratch, &mut hashes);
            // By the definition, one digit at a time.
            let padded = components.max(WIDTH);
            let mut state = 42;
            let (mut digits, mut left) = (Vec::new(), tables * DIGITS);
            while left > 0 {
                let rotation = Rotation::new(crate::distance::split_mix(&mut state), padded);
                let mut turned: Vec<f32> = row.iter().zip(&center).map(|(a, b)| a - b).collect();
                turned.resize(padded, 0.0);
                rotation.rotate(&mut turned);
                for block in turned.chunks_exact(WIDTH).take(left) {
                    digits.push(value(block));
                }
                left = tables * DIGITS - digits.len();
            }
            for (hash, digits) in hashes.iter().zip(digits.chunks(DIGITS)) {
                assert_eq!(*hash, digits.iter().fold(0, |hash, digit| hash * 32 + digit));
            }
        }
    }

    #[test]
    fn scaling_the_residual_changes_no_hash_and_a_vector_collides_with_itself() {
        let hasher = Hasher::new(7, vec![0.0; 40], 3);
        let (a, mut scratch) = (vector(40, 5), Vec::new());
        let b: Vec<f32> = a.iter().map(|value| value * 2.0).collect();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        hasher.hash(&a, &mut scratch, &mut first);
        hasher.hash(&b, &mut scratch, &mut second);
        assert_eq!(first, second);
    }
}
