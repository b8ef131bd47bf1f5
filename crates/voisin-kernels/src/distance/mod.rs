//! Metrics: what "near" means, and the kernels that compute it.
//!
//! Smaller is nearer, on every path, and every distance is finite: [`Distance::check`] refuses the
//! vectors for which one could overflow. A distance is computed in two steps: a **kernel** makes
//! one number of the stored bytes of two vectors (a sum of products, of squares, of differing
//! bits), and [`Distance::finish`] makes the distance of that number, of the **factor** that is
//! stored beside each vector (the inverse of its norm for [`Cosine`], nothing for the others) and
//! of the number of dimensions. Kernels are chosen once a search by [`Distance::kernels`]; for one
//! machine they give the same bits for the same pair, one at a time or four at a time, in either
//! order.
//!
//! Scans for many queries at once rule out most vectors by an estimate: see `panel.rs`.
//!
//! An engine has its metric as a value: `metric.rs`.
//!
//! The built-in metrics are in `metrics.rs`; their kernels, with the naive twins that they are
//! tested against, in `kernels/`.

mod kernels;
mod metric;
mod metrics;
mod panel;

use std::fmt;

pub use self::kernels::{
    ByteKernels, Bytes, CodeQuery, Estimates, FACTOR_BYTES, Factors, Kernels, LINE_BYTES,
    MAX_PREFETCH_LINES, PANEL, ROWS, Row, code_bytes, prefetch, prefetch_early, prefetch_line,
    prefetch_lines, prefetches_early,
};
pub(crate) use self::kernels::{Rotation, estimates, fills_lines};
pub use self::metric::{AsItIs, Called, Encoded, Finish, HalfAngle, Metric, Negated, by_finish};
pub(crate) use self::metrics::sum_of;
pub use self::metrics::{
    BinaryQuantizedCosine, BinaryQuantizedEuclidean, BinaryQuantizedManhattan, Cosine, DotProduct,
    Euclidean, Hamming, Manhattan,
};
pub use self::panel::{Estimate, Form, Limits, Panel};
use crate::codec::{Codec, Component, Scale, VectorRef};
use crate::defect::VectorDefect;

/// A metric. Implement it to search by a distance of your own: [`name`](Self::name),
/// [`Codec`](Self::Codec) and [`raw`](Self::raw) are enough.
///
/// Everything is about vectors as they are compared: a stored one is decoded first, to the form
/// that its codec calls the [`Decoded`](Codec::Decoded). A distance must be symmetric, finite for
/// all vectors that [`check`](Self::check) lets through, and smaller for nearer vectors. It need
/// not be a metric in the mathematical sense: the triangle inequality is not used.
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
    /// How the vectors of an index with this metric are stored.
    type Codec: Codec;

    /// Whether a factor is stored beside each vector: 4 bytes a vector, handed to
    /// [`finish`](Self::finish).
    const FACTOR: bool = false;

    /// How [`finish`](Self::finish) follows from the raw number, where the kernels are built-in
    /// ones.
    #[doc(hidden)]
    const FORM: Form = Form::Other;

    /// The metric's name, at most [`MAX_NAME_BYTES`] bytes. It is stored in the index, and an index
    /// is only opened under the name that it was created with.
    fn name() -> &'static str;

    /// The number that [`finish`](Self::finish) makes a distance of, from the definition. Also the
    /// default kernel. Must be symmetric.
    fn raw(a: VectorRef<'_, DecodedOf<Self>>, b: VectorRef<'_, DecodedOf<Self>>) -> f32;

    /// The kernels for this machine and for vectors of so many components; of others they are
    /// right, too. The default calls [`raw`](Self::raw).
    #[must_use]
    fn kernels(_dimensions: usize) -> Kernels {
        Kernels::of_raw::<Self>()
    }

    /// What is stored beside a vector when [`FACTOR`](Self::FACTOR) is set.
    #[must_use]
    fn factor(_vector: VectorRef<'_, DecodedOf<Self>>) -> f32 {
        0.0
    }

    /// The distance of two vectors of `dimensions` components, from their [`raw`](Self::raw) number
    /// and their factors. Never `-0.0`.
    #[must_use]
    #[inline]
    fn finish(raw: f32, _factors: [f32; 2], _dimensions: usize) -> f32 {
        raw
    }

    /// Whether this metric can compare `vector`, whose components the codec has accepted already: a
    /// query, or a vector as it is stored.
    ///
    /// # Errors
    /// What is wrong with it, with the value and the limit.
    fn check(_vector: &[f32]) -> Result<(), VectorDefect> {
        Ok(())
    }
}

/// The form that the vectors of a metric are compared in.
pub type DecodedOf<D> = <<D as Distance>::Codec as Codec>::Decoded;

/// The longest metric name that the metadata of an index can hold.
pub const MAX_NAME_BYTES: usize = 32;

/// The distance of two plain vectors, computed from the definition, without an index and before
/// they are rounded to what is stored. The oracle of tests; slow.
///
/// # Errors
/// What is wrong with the first vector that cannot be compared.
pub fn distance<D: Distance>(a: &[f32], b: &[f32]) -> Result<f32, VectorDefect> {
    let ((bytes_a, factor_a), (bytes_b, factor_b)) = (probe::<D>(a)?, probe::<D>(b)?);
    Ok(D::finish(
        D::raw(VectorRef::new(&bytes_a), VectorRef::new(&bytes_b)),
        [factor_a, factor_b],
        a.len(),
    ))
}

/// A query, as it is compared, and its factor.
fn probe<D: Distance>(query: &[impl Component]) -> Result<(Vec<u8>, f32), VectorDefect> {
    DecodedOf::<D>::check(query)?;
    D::check(&Component::floats(query))?;
    let mut bytes = Vec::with_capacity(DecodedOf::<D>::bytes(query.len()));
    DecodedOf::<D>::encode(query, Scale::NONE, &mut bytes);
    let factor = if D::FACTOR { D::factor(VectorRef::new(&bytes)) } else { 0.0 };
    Ok((bytes, factor))
}
