//! Metrics: what "near" means, and the kernels that compute it.
//!
//! A smaller distance is nearer, under every metric. Every distance is finite: [`Distance::check`]
//! refuses the vectors for which one could overflow. A distance is computed in two steps. A
//! **kernel** computes a raw value from the stored bytes of two vectors: a sum of products, of
//! squares, of differing bits. [`Distance::finish`] turns it into the distance, with the number of
//! dimensions and the **factor** stored beside each vector (the inverse of its norm for [`Cosine`],
//! nothing for the others). [`Distance::kernels`] chooses the kernels once per search. On one
//! machine they give the same bits for the same pair, one at a time or four at a time, in either
//! order.
//!
//! Where `f32` cannot tell which of two vectors is nearer, [`Distance::precise`] does, in `f64`
//! (`kernels/precise.rs`); `resolution.rs` bounds the difference between the two.
//!
//! Scans for many queries at once rule out most vectors by an estimate (`panel.rs`). The engine has
//! its metric as a value (`metric.rs`). The built-in metrics are in `metrics.rs`, their kernels in
//! `kernels/`, beside the naive twins that they are tested against.

mod kernels;
mod metric;
mod metrics;
mod panel;
mod resolution;

use std::fmt;

pub use self::kernels::{
    ByteKernels, Bytes, CodeQuery, Estimates, FACTOR_BYTES, Factors, Kernels, LINE_BYTES,
    MAX_PREFETCH_LINES, PANEL, ROWS, Row, code_bytes, norm, prefetch, prefetch_early,
    prefetch_line, prefetch_lines, prefetches_early, sift, small_angle,
};
pub(crate) use self::kernels::{Rotation, estimates, fills_lines, split_mix};
pub use self::metric::{AsItIs, Called, Encoded, Finish, HalfAngle, Metric, Negated, by_finish};
pub(crate) use self::metrics::sum_of;
pub use self::metrics::{
    BinaryQuantizedCosine, BinaryQuantizedEuclidean, BinaryQuantizedManhattan, Cosine, DotProduct,
    Euclidean, Hamming, Manhattan,
};
pub use self::panel::{Estimate, Form, Limits, Panel};
pub use self::resolution::Resolution;
use crate::codec::{Codec, Component, Scale, VectorRef};
use crate::defect::VectorDefect;

/// A metric. Implement it to search by a distance of your own: [`name`](Self::name),
/// [`Codec`](Self::Codec) and [`raw`](Self::raw) are enough.
///
/// All methods take vectors as they are compared: a stored vector is decoded first, to the
/// [`Decoded`](Codec::Decoded) type of its codec. A distance must be symmetric, smaller for nearer
/// vectors, and finite for all vectors that [`check`](Self::check) accepts. It need not be a metric
/// in the mathematical sense: the triangle inequality is not used.
///
/// ```
/// # mod voisin {
/// #     pub use voisin_kernels::codec;
/// #     pub use voisin_kernels::distance as distances;
/// # }
/// use voisin::codec::{F32, VectorRef};
/// use voisin::distances::Distance;
///
/// /// The largest difference of any one component.
/// #[derive(Debug, Clone)]
/// enum Chebyshev {}
///
/// impl Distance for Chebyshev {
///     type Codec = F32;
///
///     fn name() -> &'static str {
///         "chebyshev"
///     }
///
///     fn raw(a: VectorRef<'_, F32>, b: VectorRef<'_, F32>) -> f32 {
///         a.iter().zip(b.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
///     }
/// }
/// ```
pub trait Distance: fmt::Debug + Clone + Send + Sync + 'static {
    /// The element type of stored vectors.
    type Codec: Codec;

    /// Whether a factor is stored beside each vector: an `f32`, 4 bytes a vector, passed to
    /// [`finish`](Self::finish).
    const FACTOR: bool = false;

    /// The formula of [`finish`](Self::finish), for metrics with built-in kernels.
    #[doc(hidden)]
    const FORM: Form = Form::Other;

    /// The name of the metric, at most [`MAX_NAME_BYTES`] bytes. It is stored in the index, and an
    /// index only opens under the name that it was created with.
    fn name() -> &'static str;

    /// The raw value of a pair, from the definition: the input of [`finish`](Self::finish), and the
    /// default kernel. Must be symmetric.
    fn raw(a: VectorRef<'_, DecodedOf<Self>>, b: VectorRef<'_, DecodedOf<Self>>) -> f32;

    /// The kernels for this machine, specialized for `dimensions` components; for other lengths
    /// they are correct, too. The default calls [`raw`](Self::raw).
    #[must_use]
    fn kernels(_dimensions: usize) -> Kernels {
        Kernels::of_raw::<Self>()
    }

    /// The factor stored beside a vector, if [`FACTOR`](Self::FACTOR) is set.
    #[must_use]
    fn factor(_vector: VectorRef<'_, DecodedOf<Self>>) -> f32 {
        0.0
    }

    /// The distance of two vectors of `dimensions` components, from their [`raw`](Self::raw) value
    /// and their factors. Never `-0.0`.
    #[must_use]
    #[inline]
    fn finish(raw: f32, _factors: [f32; 2], _dimensions: usize) -> f32 {
        raw
    }

    /// The distance of two vectors of `dimensions` components in `f64`, from the definition:
    /// [`distance`] is this, rounded to `f32`, and answers by built-in metrics are in this order.
    /// Must be symmetric. The default is as good as [`raw`](Self::raw) and
    /// [`finish`](Self::finish) are, whose order answers by other metrics have.
    #[must_use]
    fn precise(
        a: VectorRef<'_, DecodedOf<Self>>,
        b: VectorRef<'_, DecodedOf<Self>>,
        dimensions: usize,
    ) -> f64 {
        let factors = if Self::FACTOR { [a, b].map(Self::factor) } else { [0.0; 2] };
        f64::from(Self::finish(Self::raw(a, b), factors, dimensions))
    }

    /// Checks that this metric can compare `vector`: a query, or a vector as it is stored, whose
    /// components the codec has accepted already.
    ///
    /// # Errors
    /// What is wrong with it, with the value and the limit.
    fn check(_vector: &[f32]) -> Result<(), VectorDefect> {
        Ok(())
    }
}

/// The element type that the vectors of a metric are compared as.
pub type DecodedOf<D> = <<D as Distance>::Codec as Codec>::Decoded;

/// The maximum length of a metric name in the metadata of an index, in bytes.
pub const MAX_NAME_BYTES: usize = 32;

/// The distance of two vectors, computed from the definition, without an index and before they are
/// rounded to the stored element type. The oracle of tests; slow. It is
/// [`precise`](Distance::precise), rounded once to `f32`.
///
/// # Errors
/// What is wrong with the first vector that cannot be compared.
pub fn distance<D: Distance>(a: &[f32], b: &[f32]) -> Result<f32, VectorDefect> {
    let ((a_bytes, _), (b_bytes, _)) = (probe::<D>(a)?, probe::<D>(b)?);
    let precise = D::precise(VectorRef::new(&a_bytes), VectorRef::new(&b_bytes), a.len());
    Ok(resolution::rounded(D::FORM, precise))
}

/// Prepares a query: its bytes as they are compared, and its factor.
fn probe<D: Distance>(query: &[impl Component]) -> Result<(Vec<u8>, f32), VectorDefect> {
    DecodedOf::<D>::check(query)?;
    D::check(&Component::floats(query))?;
    let mut bytes = Vec::with_capacity(DecodedOf::<D>::bytes(query.len()));
    DecodedOf::<D>::encode(query, Scale::NONE, &mut bytes);
    let factor = if D::FACTOR { D::factor(VectorRef::new(&bytes)) } else { 0.0 };
    Ok((bytes, factor))
}
