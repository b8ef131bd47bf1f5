//! A metric as a value: what the engine needs of a [`Distance`], resolved once when an index is
//! opened, so that nothing below the typed API is compiled for each metric.
//!
//! Loops compute raw values by [`Kernels`], which are function pointers of their own, chosen for
//! the machine. For built-in metrics, the step from the raw value to the distance is known, and
//! inlined ([`Finish`]). All else is called through the function pointers here, once a vector or
//! once a query.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

use super::kernels::precise::{SMALL_ANGLE, norm};
use super::{
    BinaryQuantizedCosine, BinaryQuantizedEuclidean, BinaryQuantizedManhattan, Cosine, DecodedOf,
    Distance, DotProduct, Euclidean, Form, Hamming, Kernels, Manhattan, probe,
};
use crate::codec::{
    Bf16, Bits, Codec, Component, Components, F16, F32, Floats, I8, Scale, Signs, VectorRef,
};
use crate::defect::VectorDefect;

/// A vector that was checked, as it is stored.
#[derive(Debug)]
pub struct Encoded {
    /// The bytes, in the element type of the metric.
    pub bytes: Vec<u8>,
    /// The factor stored beside it; 0 if there is none.
    pub factor: f32,
    /// The number of components that saturated at an end of the scale.
    pub saturated: u64,
}

/// The bytes of a query, as it is compared, and its factor.
type Prepared = (Vec<u8>, f32);

/// A metric, resolved once: its name, its element type and its functions.
pub struct Metric {
    name: Name,
    /// The number of the element type of stored vectors.
    pub codec: u8,
    /// The name of that element type.
    pub codec_name: &'static str,
    /// Whether an index must be trained before its first item.
    pub is_trained: bool,
    /// Whether a factor is stored beside each vector.
    pub has_factor: bool,
    /// How a distance follows from the raw value.
    pub form: Form,
    /// Whether the metric is known. Vectors of an unknown one cannot be compared.
    pub is_known: bool,
    bytes: fn(usize) -> usize,
    kernels: fn(usize) -> Kernels,
    finish: fn(f32, [f32; 2], usize) -> f32,
    precise: fn(&[u8], &[u8], usize) -> f64,
    prepare: fn(Components<'_>) -> Result<Prepared, VectorDefect>,
    encode: fn(Components<'_>, Scale) -> Result<Encoded, VectorDefect>,
    check: fn(Components<'_>, Scale) -> Result<(), VectorDefect>,
    check_given: fn(Components<'_>) -> Result<(), VectorDefect>,
    decode: fn(&[u8], Scale) -> Cow<'_, [u8]>,
    floats: fn(&[u8], usize) -> Vec<f32>,
    factor: fn(&[u8]) -> f32,
    has_clean_padding: fn(&[u8], usize) -> bool,
}

impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        (self.name(), self.codec, self.is_known) == (other.name(), other.codec, other.is_known)
    }
}

/// The name of a metric: of a type, or as stored in an index with an unknown metric.
enum Name {
    Of(fn() -> &'static str),
    Stored(&'static str),
}

impl fmt::Debug for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} stored as {}", self.name(), self.codec_name)
    }
}

/// Holds the metric of a type, as a constant.
struct Of<D>(PhantomData<D>);

impl<D: Distance> Of<D> {
    const METRIC: Metric = Metric {
        name: Name::Of(D::name),
        codec: D::Codec::ID,
        codec_name: D::Codec::NAME,
        is_trained: D::Codec::IS_TRAINED,
        has_factor: D::FACTOR,
        form: D::FORM,
        is_known: true,
        bytes: D::Codec::bytes,
        kernels: D::kernels,
        finish: D::finish,
        precise: |a, b, dimensions| D::precise(VectorRef::new(a), VectorRef::new(b), dimensions),
        prepare: |vector| match vector {
            Components::F32(vector) => probe::<D>(vector),
            Components::F64(vector) => probe::<D>(vector),
        },
        encode: |vector, scale| match vector {
            Components::F32(vector) => encode::<D, _>(vector, scale),
            Components::F64(vector) => encode::<D, _>(vector, scale),
        },
        check: |vector, scale| match vector {
            Components::F32(vector) => check::<D, _>(vector, scale),
            Components::F64(vector) => check::<D, _>(vector, scale),
        },
        check_given: |vector| match vector {
            Components::F32(vector) => check_given::<D, _>(vector),
            Components::F64(vector) => check_given::<D, _>(vector),
        },
        decode: D::Codec::decode,
        floats: |decoded, dimensions| VectorRef::<DecodedOf<D>>::new(decoded).to_vec(dimensions),
        factor: |decoded| D::factor(VectorRef::new(decoded)),
        has_clean_padding: D::Codec::has_clean_padding,
    };
}

/// The placeholder for an unknown metric over an element type.
#[derive(Debug, Clone)]
struct Unknown<C>(PhantomData<C>);

impl<C: Codec> Distance for Unknown<C> {
    type Codec = C;

    fn name() -> &'static str {
        "unknown"
    }

    /// Never called: whatever compares vectors is refused when the index is opened.
    fn raw(_: VectorRef<'_, DecodedOf<Self>>, _: VectorRef<'_, DecodedOf<Self>>) -> f32 {
        0.0
    }
}

/// Checks and encodes a vector.
fn encode<D: Distance, T: Component>(vector: &[T], scale: Scale) -> Result<Encoded, VectorDefect> {
    D::Codec::check(vector)?;
    if D::Codec::IS_EXACT {
        D::check(&T::floats(vector))?;
    }
    let mut bytes = Vec::with_capacity(D::Codec::bytes(vector.len()));
    let saturated = D::Codec::encode(vector, scale, &mut bytes);
    let decoded = D::Codec::decode(&bytes, scale);
    let stored = VectorRef::<DecodedOf<D>>::new(&decoded);
    if !D::Codec::IS_EXACT {
        D::check(&stored.to_vec(vector.len()))?;
    }
    let factor = if D::FACTOR { D::factor(stored) } else { 0.0 };
    Ok(Encoded { factor, saturated, bytes })
}

fn check_given<D: Distance, T: Component>(vector: &[T]) -> Result<(), VectorDefect> {
    D::Codec::check(vector).and_then(|()| D::check(&T::floats(vector)))
}

fn check<D: Distance, T: Component>(vector: &[T], scale: Scale) -> Result<(), VectorDefect> {
    // An exact element type needs no encoding for the check.
    if D::Codec::IS_EXACT {
        check_given::<D, T>(vector)
    } else {
        encode::<D, T>(vector, scale).map(drop)
    }
}

impl Metric {
    /// The metric of a type, as a value.
    #[must_use]
    pub fn of<D: Distance>() -> &'static Self {
        &Of::<D>::METRIC
    }

    /// A built-in metric, by its name and the number of its element type.
    #[must_use]
    pub fn built_in(name: &str, codec: u8) -> Option<&'static Self> {
        Self::all_built_in().find(|metric| metric.codec == codec && metric.name() == name)
    }

    /// All built-in metrics, once for each of their element types.
    pub fn all_built_in() -> impl Iterator<Item = &'static Self> {
        fn forms<C: Floats>() -> [&'static Metric; 4] {
            [
                Metric::of::<Euclidean<C>>(),
                Metric::of::<Cosine<C>>(),
                Metric::of::<DotProduct<C>>(),
                Metric::of::<Manhattan<C>>(),
            ]
        }
        let of_bits = [
            Self::of::<Hamming>(),
            Self::of::<BinaryQuantizedEuclidean>(),
            Self::of::<BinaryQuantizedCosine>(),
            Self::of::<BinaryQuantizedManhattan>(),
        ];
        [forms::<F32>(), forms::<F16>(), forms::<Bf16>(), forms::<I8>(), of_bits]
            .into_iter()
            .flatten()
    }

    /// A placeholder for an unknown metric of an index with this element type: its vectors can be
    /// read, and nothing can be compared. `None` if there is no such element type. There is one per
    /// name, element type and factor, which is never freed.
    #[must_use]
    pub fn unknown(name: &str, codec: u8, has_factor: bool) -> Option<&'static Self> {
        static UNKNOWN: Mutex<Vec<&'static Metric>> = Mutex::new(Vec::new());
        let mut unknown = UNKNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |metric: &&&Self| {
            (metric.name(), metric.codec, metric.has_factor) == (name, codec, has_factor)
        };
        if let Some(metric) = unknown.iter().find(is_it) {
            return Some(metric);
        }
        let metric = match codec {
            F32::ID => Of::<Unknown<F32>>::METRIC,
            F16::ID => Of::<Unknown<F16>>::METRIC,
            Bf16::ID => Of::<Unknown<Bf16>>::METRIC,
            I8::ID => Of::<Unknown<I8>>::METRIC,
            Bits::ID => Of::<Unknown<Bits>>::METRIC,
            Signs::ID => Of::<Unknown<Signs>>::METRIC,
            _ => return None,
        };
        let name = Name::Stored(name.to_owned().leak());
        let metric: &'static Self =
            Box::leak(Box::new(Self { name, has_factor, is_known: false, ..metric }));
        unknown.push(metric);
        Some(metric)
    }

    /// The name that is stored in an index.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.name {
            Name::Of(name) => name(),
            Name::Stored(name) => name,
        }
    }

    /// The size of a stored vector of `dimensions` components without its factor, in bytes.
    #[must_use]
    #[inline]
    pub fn bytes(&self, dimensions: usize) -> usize {
        (self.bytes)(dimensions)
    }

    /// The kernels for stored vectors of `dimensions` components.
    #[must_use]
    #[inline]
    pub fn kernels(&self, dimensions: usize, scale: Scale) -> Kernels {
        (self.kernels)(dimensions).with_scale(scale)
    }

    /// Prepares a query: its bytes as they are compared, and its factor.
    ///
    /// # Errors
    /// What is wrong with it.
    #[inline]
    pub fn prepare(&self, query: Components<'_>) -> Result<Prepared, VectorDefect> {
        (self.prepare)(query)
    }

    /// Encodes a vector as it is stored.
    ///
    /// # Errors
    /// Why it cannot be stored, or could not be compared once stored.
    #[inline]
    pub fn encode(&self, vector: Components<'_>, scale: Scale) -> Result<Encoded, VectorDefect> {
        (self.encode)(vector, scale)
    }

    /// Checks that a vector can be stored in an index of this scale.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    #[inline]
    pub fn check(&self, vector: Components<'_>, scale: Scale) -> Result<(), VectorDefect> {
        (self.check)(vector, scale)
    }

    /// Checks that the element type can hold a vector, and the metric compare it, as given,
    /// whatever the scale.
    ///
    /// # Errors
    /// What is wrong with it.
    #[inline]
    pub fn check_given(&self, vector: Components<'_>) -> Result<(), VectorDefect> {
        (self.check_given)(vector)
    }

    /// Decodes a stored vector to the type that others are compared with. Exact.
    #[must_use]
    #[inline]
    pub fn decode<'a>(&self, bytes: &'a [u8], scale: Scale) -> Cow<'a, [u8]> {
        (self.decode)(bytes, scale)
    }

    /// The distance of two decoded vectors in `f64`, from the definition.
    #[must_use]
    #[inline]
    pub fn precise(&self, a: &[u8], b: &[u8], dimensions: usize) -> f64 {
        (self.precise)(a, b, dimensions)
    }

    /// The first `dimensions` components of a decoded vector, or of a query.
    #[must_use]
    #[inline]
    pub fn floats(&self, decoded: &[u8], dimensions: usize) -> Vec<f32> {
        (self.floats)(decoded, dimensions)
    }

    /// The factor of a decoded vector; 0 if the metric has none.
    #[must_use]
    #[inline]
    pub fn factor(&self, decoded: &[u8]) -> f32 {
        if self.has_factor { (self.factor)(decoded) } else { 0.0 }
    }

    /// The Euclidean norm of a stored vector, rounded up; above 0, also for the zero vector. `None`
    /// unless the distances are negated inner products.
    #[must_use]
    pub fn norm_bound(&self, stored: &[u8], scale: Scale) -> Option<f32> {
        let bound = || (norm(&self.decode(stored, scale)) as f32).next_up();
        (self.form == Form::NegatedProducts).then(|| bound().min(f32::MAX))
    }

    /// Whether the padding after the last component of a stored vector is zero.
    #[must_use]
    #[inline]
    pub fn has_clean_padding(&self, bytes: &[u8], dimensions: usize) -> bool {
        (self.has_clean_padding)(bytes, dimensions)
    }

    /// The components that codes quantize, of a decoded vector and its factor: those of its
    /// direction, if the metric compares directions.
    #[must_use]
    pub fn coded(&self, decoded: &[u8], factor: f32, dimensions: usize) -> Vec<f32> {
        let mut components = self.floats(decoded, dimensions);
        if self.has_factor {
            components.iter_mut().for_each(|value| *value *= factor);
        }
        components
    }
}

/// How a distance follows from the raw value and the factors of both vectors, as a type: loops over
/// many vectors are compiled for each, and [`by_finish`] selects one, once per loop.
pub trait Finish {
    /// Whether vectors of the metric have factors.
    fn has_factor(metric: &Metric) -> bool;

    /// The distance.
    fn finish(metric: &Metric, raw: f32, factors: [f32; 2], dimensions: usize) -> f32;

    /// Whether too few digits of a distance are left, so that [`small_angle`](super::small_angle)
    /// must compute it.
    #[inline(always)]
    #[must_use]
    fn is_vague(_distance: f32) -> bool {
        false
    }
}

/// The distance is the raw value.
#[derive(Debug)]
pub enum AsItIs {}
/// The distance is the negated raw value.
#[derive(Debug)]
pub enum Negated {}
/// The distance is `(1 - raw * a * b) / 2`, where `a` and `b` are the factors.
#[derive(Debug)]
pub enum HalfAngle {}
/// The distance is computed by the metric's own function.
#[derive(Debug)]
pub enum Called {}

impl Finish for AsItIs {
    #[inline(always)]
    fn has_factor(_: &Metric) -> bool {
        false
    }

    #[inline(always)]
    fn finish(_: &Metric, raw: f32, _: [f32; 2], _: usize) -> f32 {
        raw
    }
}

impl Finish for Negated {
    #[inline(always)]
    fn has_factor(_: &Metric) -> bool {
        false
    }

    #[inline(always)]
    fn finish(_: &Metric, raw: f32, _: [f32; 2], _: usize) -> f32 {
        0.0 - raw
    }
}

impl Finish for HalfAngle {
    #[inline(always)]
    fn has_factor(_: &Metric) -> bool {
        true
    }

    #[inline(always)]
    fn finish(_: &Metric, raw: f32, factors: [f32; 2], _: usize) -> f32 {
        (1.0 - (raw * (factors[0] * factors[1])).clamp(-1.0, 1.0)) / 2.0
    }

    #[inline(always)]
    fn is_vague(distance: f32) -> bool {
        distance < SMALL_ANGLE
    }
}

impl Finish for Called {
    #[inline(always)]
    fn has_factor(metric: &Metric) -> bool {
        metric.has_factor
    }

    #[inline(always)]
    fn finish(metric: &Metric, raw: f32, factors: [f32; 2], dimensions: usize) -> f32 {
        (metric.finish)(raw, factors, dimensions)
    }
}

/// Evaluates `$work` with the [`Finish`] of a metric as the type `$finish`. A macro, so that loops
/// over many vectors are compiled for each; in `distance`, its name is `by_finish`.
#[doc(hidden)]
#[macro_export]
macro_rules! __by_finish {
    ($metric:expr, $finish:ident => $work:expr) => {
        match $metric.form {
            $crate::distance::Form::SquaredDifferences | $crate::distance::Form::Differences => {
                type $finish = $crate::distance::AsItIs;
                $work
            }
            $crate::distance::Form::NegatedProducts => {
                type $finish = $crate::distance::Negated;
                $work
            }
            $crate::distance::Form::Cosine => {
                type $finish = $crate::distance::HalfAngle;
                $work
            }
            $crate::distance::Form::Other => {
                type $finish = $crate::distance::Called;
                $work
            }
        }
    };
}

#[doc(inline)]
pub use __by_finish as by_finish;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_finishes_as_its_type_does() {
        fn same<D: Distance>() {
            for raw in [-3.5, -0.0, 0.0, 0.25, 1.0, 7.0, 1e30] {
                for factors in [[0.5, 0.25], [1.0, 1.0], [1e-3, 2e3]] {
                    let metric = Metric::of::<D>();
                    let value = by_finish!(metric, F => F::finish(metric, raw, factors, 96));
                    let expected = D::finish(raw, factors, 96);
                    assert!(by_finish!(metric, F => F::has_factor(metric)) == D::FACTOR);
                    assert_eq!(value.to_bits(), expected.to_bits(), "{} of {raw}", D::name());
                }
            }
        }
        same::<Euclidean>();
        same::<Cosine>();
        same::<DotProduct>();
        same::<Manhattan>();
        same::<Hamming>();
        same::<BinaryQuantizedEuclidean>();
        same::<BinaryQuantizedCosine>();
        same::<BinaryQuantizedManhattan>();
    }
}
