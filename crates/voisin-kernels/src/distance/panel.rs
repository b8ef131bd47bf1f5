//! Many queries against many vectors: most pairs are ruled out by an estimate, many at a time, and
//! never compared one by one.
//!
//! The kernels here are bound by arithmetic and add in an order of their own, so that what they
//! give is an estimate of the raw number that [`Kernels`] give. Both are the true number but for
//! rounding, whose bound is known (Higham 2002, "Accuracy and Stability of Numerical Algorithms",
//! section 3.1: a sum of `n` products is off by at most `n u / (1 - n u)` times the sum of their
//! magnitudes). Owns the invariant that a vector is ruled out for a query only if its distance, as
//! the ordinary kernels compute it, is beyond the limit that was set: what is left is compared by
//! those, and an answer does not depend on whether estimates were used. Vectors that are stored in
//! another form than `f32` are decoded first, once for all queries; the ordinary kernels compute
//! what they would compute of decoded vectors, to the last bit.
//!
//! A pair is judged by `sum * scale + offset >= limit`, where the sum is the estimate, scale and
//! offset belong to the vector, and the limit to the query. How a distance becomes such a limit is
//! the [`Form`] of its metric.

use super::Kernels;
use super::kernels::{Near, PANEL, ROWS, Row};
use crate::codec::{F32, VectorRef};

/// How a distance follows from the raw number, for metrics whose pairs can be estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(hidden)]
pub enum Form {
    /// It is the raw number, a sum of squared differences.
    SquaredDifferences,
    /// It is the raw number, a sum of terms that are not negative.
    Differences,
    /// The negated sum of products.
    NegatedProducts,
    /// Half of one minus the sum of products times both factors.
    Cosine,
    /// Not known: vectors are compared one by one.
    Other,
}

/// More than what underflow takes from a sum of 65 535 terms.
const UNDERFLOW: f64 = f32::MIN_POSITIVE as f64;

/// The judge of pairs under one metric and number of dimensions.
#[derive(Debug)]
pub struct Estimate {
    form: Form,
    near: Near,
    /// Products of floats: those of a vector with itself are a squared norm.
    products: Kernels,
    dimensions: usize,
    /// How far estimate and ordinary sum can be from each other, for a sum of magnitudes of one.
    error: f64,
}

/// Up to [`PANEL`] queries, component by component, and a number of each that its limits are made
/// of.
#[derive(Debug)]
pub struct Panel {
    components: Vec<[[u8; 4]; PANEL]>,
    /// The squared norm of each.
    squares: Vec<f64>,
    /// The factor of each.
    factors: Vec<f64>,
}

/// What the sum of a query and a vector must reach, as the kernel reads it.
pub type Limits = [[u8; 4]; PANEL];

impl Estimate {
    /// The estimates that the metric has, the quickest first, the one that rules out most last.
    ///
    /// Squared differences have two. That by products takes half as long, but its error is a share
    /// of the norms: where vectors are far from the origin and near each other, it rules out
    /// nothing. The error of a sum of squares is a share of itself.
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
        // Each of the two sums rounds once a term, and a term itself at most thrice; the rest is
        // for scales, offsets and limits.
        let roundings = 2 * dimensions + 32;
        let error = 1.01 * roundings as f64 * f64::from(f32::EPSILON) / 2.0;
        let products = Kernels::inner_product(dimensions);
        let estimate = |(form, near): (Form, Option<Near>)| {
            Some(Self { form, near: near?, products, dimensions, error })
        };
        forms.into_iter().filter_map(estimate).collect()
    }

    /// Queries, of which there are at most [`PANEL`], as stored bytes and factors. The same panel
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
            // The error of a product is a share of both norms: a query of norm 1 leaves that of the
            // vector, for the offset.
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

    /// A vector, as floats, ready to be judged.
    #[inline]
    #[must_use]
    pub fn row<'a>(&self, bytes: &'a [u8], factor: f32) -> Row<'a> {
        let (scale, offset) = match self.form {
            // The square of the distance is that of both norms, less twice the product, of whose
            // error both norms bear a half.
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

    /// The limit for vectors whose distance from a query of the panel is not above `distance`.
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

    /// Limits that no vector is ruled out by.
    #[inline]
    #[must_use]
    pub fn no_limits() -> Limits {
        [f32::NEG_INFINITY.to_le_bytes(); PANEL]
    }

    /// For each row, the queries whose limit it may reach: bit `i` for query `i` of the panel.
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

    /// What is judged of rows and one limit for all queries must be what the distances say, but for
    /// pairs within `slack` beyond the limit.
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
                // The limit of each query is the distance of one of the rows, exactly.
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

    /// What the error of products adds to that of differences.
    fn by_products(a: &[f32], b: &[f32]) -> f64 {
        4.0 * (2.0 * a.len() as f64 + 32.0)
            * f64::from(f32::EPSILON)
            * (norm(a).powi(2) + norm(b).powi(2))
    }

    fn norm(vector: &[f32]) -> f64 {
        vector.iter().map(|component| f64::from(*component).powi(2)).sum::<f64>().sqrt()
    }

    /// Vectors that are near each other in all but a few components, so that distances are about as
    /// far apart as rounding is large.
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
            // Four times the error that is allowed for: on both sides of the limit, in the sum and
            // in the distance.
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
