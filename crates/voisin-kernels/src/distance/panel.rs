//! Many queries against many vectors: most pairs are ruled out by an estimate, many at a time, and
//! never compared one by one.
//!
//! The kernels here are compute-bound, and add in an order of their own: their sum is an estimate
//! of the raw value that [`Kernels`] compute. Both are the true value up to rounding, whose bound
//! is known (Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 3.1: the error
//! of a sum of `n` products is at most `n u / (1 - n u)` times the sum of their magnitudes).
//! Invariant: a vector is ruled out for a query only if its distance, as the ordinary kernels
//! compute it, is beyond the given limit. The remaining pairs are compared by the ordinary kernels,
//! and an answer does not depend on whether estimates were used. Vectors of other element types
//! than `f32` are decoded first, once for all queries; the ordinary kernels compute the same as
//! from decoded vectors, to the last bit.
//!
//! A pair may be near if `sum * scale + offset >= limit`, where `sum` is the estimate, `scale` and
//! `offset` belong to the vector, and `limit` to the query. The [`Form`] of the metric says how a
//! distance becomes such a limit.

use super::Kernels;
use super::kernels::{Near, PANEL, ROWS, Row};
use crate::codec::{F32, VectorRef};

/// How a distance follows from the raw value, for metrics whose pairs can be estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(hidden)]
pub enum Form {
    /// The raw value, a sum of squared differences.
    SquaredDifferences,
    /// The raw value, a sum of nonnegative terms.
    Differences,
    /// The negated raw value, a sum of products.
    NegatedProducts,
    /// `(1 - raw * a * b) / 2`, where `raw` is a sum of products, and `a` and `b` are the factors.
    Cosine,
    /// Unknown: vectors are compared one by one.
    Other,
}

/// An upper bound of the underflow errors of a sum of 65 535 terms.
const UNDERFLOW: f64 = f32::MIN_POSITIVE as f64;

/// Estimates pairs under one metric and number of dimensions.
#[derive(Debug)]
pub struct Estimate {
    form: Form,
    near: Near,
    /// Inner products of `f32` vectors, for squared norms.
    products: Kernels,
    dimensions: usize,
    /// The largest difference from the ordinary sum, relative to the sum of magnitudes.
    error: f64,
}

/// Up to [`PANEL`] queries, transposed: component by component; and what their limits are computed
/// from.
#[derive(Debug)]
pub struct Panel {
    components: Vec<[[u8; 4]; PANEL]>,
    /// The squared norm of each query.
    squares: Vec<f64>,
    /// The factor of each query.
    factors: Vec<f64>,
}

/// The limit of each query of a panel, as little-endian `f32`.
pub type Limits = [[u8; 4]; PANEL];

impl Estimate {
    /// The estimates of a metric, from the fastest to the one that rules out the most.
    ///
    /// Squared differences have two. The one by products takes half the time, but its error is
    /// relative to the norms: if vectors are far from the origin and near to each other, it rules
    /// out nothing. The error of a sum of squares is relative to the sum.
    #[must_use]
    pub fn of(form: Form, kernels: &Kernels, dimensions: usize) -> Vec<Self> {
        let forms = match form {
            Form::SquaredDifferences => [
                (Form::SquaredDifferences, kernels.near_by_products),
                (Form::Differences, kernels.near),
            ],
            Form::Other => [(Form::Other, None); 2],
            form => [(form, kernels.near), (form, None)],
        };
        // Each of the two sums rounds once per term, and a term itself at most three times; the
        // rest is for scales, offsets and limits.
        let roundings = 2 * dimensions + 32;
        let error = 1.01 * roundings as f64 * f64::from(f32::EPSILON) / 2.0;
        let products = Kernels::inner_product(dimensions);
        let estimate = |(form, near): (Form, Option<Near>)| {
            Some(Self { form, near: near?, products, dimensions, error })
        };
        forms.into_iter().filter_map(estimate).collect()
    }

    /// A panel of queries, at most [`PANEL`], from their decoded bytes and factors. The same panel
    /// serves all estimates of a metric.
    pub fn panel<'a>(&self, queries: impl Iterator<Item = (&'a [u8], f32)>) -> Panel {
        let mut panel = Panel {
            components: vec![[[0; 4]; PANEL]; self.dimensions],
            squares: vec![],
            factors: vec![],
        };
        for (number, (bytes, factor)) in queries.take(PANEL).enumerate() {
            let query = || VectorRef::<F32>::new(bytes).iter().map(f64::from);
            let square: f64 = query().map(|component| component * component).sum();
            // The error of a product is relative to both norms. With the query scaled to norm 1,
            // only the norm of the vector is left, which goes into the offset.
            let norm = if self.form == Form::NegatedProducts && square > 0.0 {
                square.sqrt()
            } else {
                1.0
            };
            for (queries, component) in panel.components.iter_mut().zip(query()) {
                queries[number] = ((component / norm) as f32).to_le_bytes();
            }
            panel.squares.push(square);
            panel.factors.push(factor.into());
        }
        panel
    }

    /// A row for the kernel, from a decoded `f32` vector and its factor.
    #[inline]
    #[must_use]
    pub fn row<'a>(&self, bytes: &'a [u8], factor: f32) -> Row<'a> {
        let (scale, offset) = match self.form {
            // The squared distance is the sum of the squared norms, less twice the product. Its
            // error bound is split between the two norms.
            Form::SquaredDifferences => {
                (2.0, -f64::from(self.products.one(bytes, bytes)) * (1.0 - 2.0 * self.error))
            }
            Form::Differences | Form::Other => (-1.0, 0.0),
            Form::NegatedProducts => {
                let square = f64::from(self.products.one(bytes, bytes));
                (1.0, self.error * (square * (1.0 + self.error) + UNDERFLOW).sqrt())
            }
            Form::Cosine => (factor, 0.0),
        };
        Row { bytes, scale, offset: offset as f32 }
    }

    /// The limit of a query that passes all vectors within `distance` of it.
    #[inline]
    #[must_use]
    pub fn limit(&self, panel: &Panel, query: usize, distance: f32) -> [u8; 4] {
        let (distance, square, factor) =
            (f64::from(distance), panel.squares[query], panel.factors[query]);
        let limit = match self.form {
            Form::SquaredDifferences => {
                square * (1.0 - self.error) - distance * (1.0 + 2.0 * self.error) - 4.0 * UNDERFLOW
            }
            Form::Differences | Form::Other => -distance * (1.0 + 2.0 * self.error) - UNDERFLOW,
            Form::NegatedProducts => {
                (-distance - UNDERFLOW) / if square > 0.0 { square.sqrt() } else { 1.0 }
            }
            Form::Cosine => (1.0 - 2.0 * distance - self.error) / factor,
        };
        (limit as f32).next_down().to_le_bytes()
    }

    /// Limits that rule out no vector.
    #[inline]
    #[must_use]
    pub fn no_limits() -> Limits {
        [f32::NEG_INFINITY.to_le_bytes(); PANEL]
    }

    /// For each row, the queries whose limit it may reach: bit `i` is query `i` of the panel.
    #[inline]
    #[must_use]
    pub fn near(&self, panel: &Panel, limits: &Limits, rows: &[Row<'_>; ROWS]) -> [u32; ROWS] {
        (self.near)(&panel.components, limits, rows)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::{Codec, Scale};
    use crate::distance::kernels::tests::implementations;
    use crate::distance::{Cosine, Distance, DotProduct, Euclidean, Manhattan};

    /// Estimates of rows, with one limit for each query, must agree with the distances, except for
    /// pairs beyond the limit by up to `slack`.
    fn judged_rightly<D: Distance>(
        queries: &[Vec<f32>],
        rows: &[Vec<f32>],
        slack: impl Fn(&[f32], &[f32]) -> f64,
    ) {
        let dimensions = queries[0].len();
        let stored = |vector: &Vec<f32>| {
            let mut bytes = Vec::new();
            F32::encode(vector, Scale::NONE, &mut bytes);
            let factor = if D::FACTOR { D::factor(VectorRef::new(&bytes)) } else { 0.0 };
            (bytes, factor)
        };
        let (stored_queries, stored_rows): (Vec<_>, Vec<_>) =
            (queries.iter().map(stored).collect(), rows.iter().map(stored).collect());
        for kernels in implementations::<D>() {
            let estimates = Estimate::of(D::FORM, &kernels, dimensions);
            assert!(!estimates.is_empty());
            for estimate in estimates {
                let panel = estimate
                    .panel(stored_queries.iter().map(|(bytes, factor)| (&bytes[..], *factor)));
                let distance = |query: usize, row: usize| {
                    let ((a, factor_a), (b, factor_b)) =
                        (&stored_queries[query], &stored_rows[row]);
                    D::finish(kernels.one(a, b), [*factor_a, *factor_b], dimensions)
                };
                // The limit of each query is the exact distance of one of the rows.
                let farthest = |query: usize| distance(query, query % rows.len());
                let mut limits = Estimate::no_limits();
                for (query, limit) in limits.iter_mut().enumerate().take(queries.len()) {
                    *limit = estimate.limit(&panel, query, farthest(query));
                }
                let judged: [Row<'_>; ROWS] = std::array::from_fn(|row| {
                    let (bytes, factor) = &stored_rows[row];
                    estimate.row(bytes, *factor)
                });
                assert_eq!(
                    estimate.near(&panel, &Estimate::no_limits(), &judged),
                    [u32::MAX; ROWS]
                );
                for (row, mask) in estimate.near(&panel, &limits, &judged).into_iter().enumerate() {
                    for (query, vector) in queries.iter().enumerate() {
                        let (found, limit) = (distance(query, row), farthest(query));
                        let is_near = mask >> query & 1 == 1;
                        assert!(
                            is_near || found > limit,
                            "{}: row {row} at {found} is ruled out for query {query} by {limit}",
                            D::name()
                        );
                        let beyond = f64::from(found) - f64::from(limit);
                        let slack = slack(vector, &rows[row])
                            + if estimate.form == Form::SquaredDifferences {
                                by_products(vector, &rows[row])
                            } else {
                                1e-30
                            };
                        assert!(
                            !is_near || beyond <= slack,
                            "{}: row {row} at {found} is not ruled out by {limit}: {slack}",
                            D::name()
                        );
                    }
                }
            }
        }
    }

    /// The additional error of the estimate by products.
    fn by_products(a: &[f32], b: &[f32]) -> f64 {
        4.0 * (2.0 * a.len() as f64 + 32.0)
            * f64::from(f32::EPSILON)
            * (norm(a).powi(2) + norm(b).powi(2))
    }

    fn norm(vector: &[f32]) -> f64 {
        vector.iter().map(|component| f64::from(*component).powi(2)).sum::<f64>().sqrt()
    }

    /// Vectors that differ from each other by about `spread` in each component, down to differences
    /// as small as rounding errors.
    fn vectors(
        count: usize,
        dimensions: usize,
        spread: f32,
    ) -> impl Strategy<Value = Vec<Vec<f32>>> {
        let base = prop::collection::vec(-1f32..1.0, dimensions);
        let other = prop::collection::vec(prop::collection::vec(-1f32..1.0, dimensions), count);
        (base, other).prop_map(move |(base, others)| {
            others
                .iter()
                .map(|other| {
                    base.iter()
                        .zip(other)
                        .map(|(base, other)| 1.5 + base + spread * other)
                        .collect()
                })
                .collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_pair_within_the_limit_is_ruled_out_and_few_beyond_it_are_not(
            (queries, rows) in (
                1..=130usize,
                prop::sample::select(vec![0.0f32, 1e-7, 1e-5, 1e-2, 1.0]),
                1..=PANEL,
            )
                .prop_flat_map(
                    |(dimensions, spread, count)| (
                        vectors(count, dimensions, spread),
                        vectors(ROWS, dimensions, spread),
                    ),
                ),
        ) {
            // Four times the error bound: for both sides of the limit, in the sum and in the
            // distance.
            let error = 4.0 * (2.0 * queries[0].len() as f64 + 32.0) * f64::from(f32::EPSILON);
            judged_rightly::<Euclidean>(&queries, &rows, |a, b| {
                error * a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
            });
            judged_rightly::<Manhattan>(
                &queries,
                &rows,
                |a, b| error * a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>(),
            );
            judged_rightly::<DotProduct>(&queries, &rows, |a, b| error * norm(a) * norm(b));
            judged_rightly::<Cosine>(&queries, &rows, |_, _| error);
        }
    }
}
