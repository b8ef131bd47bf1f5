//! Vectors that a caller gives: arrays of numpy without a copy, where they are contiguous rows of
//! `float32`, `float64`, `float16`, `int8`, `uint8`, or packed bits. `_arrays.py` makes such an
//! array of everything else: once.
//!
//! voisin takes `f32` and `f64`. Rows of other types are converted as they are needed, so that a
//! load never has a second copy of a whole matrix.

use std::borrow::Cow;
use std::ops::Range;

use half::f16;
use numpy::{
    Element, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::errors::{refused, refused_value};

/// What the vectors of an index are.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) dimensions: usize,
    pub(crate) form: &'static str,
}

/// One vector or many, borrowed from an array.
pub(crate) struct Given<'py> {
    data: Data<'py>,
    /// The number of rows of a matrix; `None` for one vector.
    pub(crate) rows: Option<usize>,
    dimensions: usize,
    /// Whether it is an empty list: no rows of no width.
    is_empty_list: bool,
}

enum Data<'py> {
    F32(PyReadonlyArrayDyn<'py, f32>),
    F64(PyReadonlyArrayDyn<'py, f64>),
    F16(PyReadonlyArrayDyn<'py, f16>),
    I8(PyReadonlyArrayDyn<'py, i8>),
    U8(PyReadonlyArrayDyn<'py, u8>),
}

/// The components of an array, one row after the other.
#[derive(Clone, Copy)]
pub(crate) enum Raw<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    F16(&'a [f16]),
    I8(&'a [i8]),
    U8(&'a [u8]),
    /// 8 components a byte, the first one in the highest bit, as `numpy.packbits` has it; each row
    /// begins with a byte of its own.
    Bits(&'a [u8]),
}

/// Whether this is an array with masked elements. Their numbers are in it, and mean nothing.
pub(crate) fn has_mask(data: &Bound<'_, PyAny>) -> PyResult<bool> {
    static ARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static HAS_MASK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = data.py();
    let array = ARRAY.import(py, "numpy", "ndarray")?;
    // Nearly every array is of no subclass.
    if data.get_type().is(array) || !data.is_instance(array)? {
        return Ok(false);
    }
    HAS_MASK.import(py, "voisin._arrays", "has_mask")?.call1((data,))?.is_truthy()
}

/// Takes the vector or the matrix that a caller gives.
///
/// # Errors
/// `InvalidVector` and `DimensionMismatch`.
pub(crate) fn given<'py>(vectors: &Bound<'py, PyAny>, shape: Shape) -> PyResult<Given<'py>> {
    if has_mask(vectors)? {
        let message = "vectors is an array with masked elements, which no vector can have: give \
                       vectors.filled(0.0), or leave their rows out";
        return Err(refused(vectors.py(), "InvalidVector", message));
    }
    match borrowed(vectors, shape)? {
        Some(given) => Ok(given),
        None => {
            static AS_VECTORS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
            let py = vectors.py();
            let array = AS_VECTORS.import(py, "voisin._arrays", "as_vectors")?.call1((vectors,))?;
            borrowed(&array, shape)?.ok_or_else(|| {
                refused(py, "InvalidVector", "this is no array of numbers: give one of float32")
            })
        }
    }
}

/// The same for the vectors of a query, where an empty list is a vector without components.
///
/// # Errors
/// As [`given`].
pub(crate) fn queried<'py>(vectors: &Bound<'py, PyAny>, shape: Shape) -> PyResult<Given<'py>> {
    let given = given(vectors, shape)?;
    if !given.is_empty_list {
        return Ok(given);
    }
    let (py, dimensions) = (vectors.py(), shape.dimensions);
    let message = format!(
        "the vector has 0 dimensions, the index has {dimensions}: give a vector of {dimensions} \
         components, or numpy.empty((0, {dimensions})) for no vectors"
    );
    Err(refused_value(py, "DimensionMismatch", &message, 0, Some(dimensions as u64)))
}

/// Borrows an array as it is. `None` if it must be converted first.
fn borrowed<'py>(vectors: &Bound<'py, PyAny>, shape: Shape) -> PyResult<Option<Given<'py>>> {
    let Ok(array) = vectors.cast::<PyUntypedArray>() else { return Ok(None) };
    if !array.is_c_contiguous() {
        return Ok(None);
    }
    let Some(data) = Data::of(vectors) else { return Ok(None) };
    let (rows, width) = match *array.shape() {
        // An empty list, as vectors have components: none of them.
        [0] => (Some(0), shape.dimensions),
        [width] => (None, width),
        [rows, width] => (Some(rows), width),
        _ => {
            let message = format!(
                "an array of {} dimensions was given: give one vector, of 1, or a matrix, of 2",
                array.ndim()
            );
            return Err(refused(vectors.py(), "InvalidVector", &message));
        }
    };
    let Shape { dimensions, form } = shape;
    let is_packed = form == "bits"
        && width != dimensions
        && width == dimensions.div_ceil(8)
        && matches!(data, Data::U8(_));
    // Components of a packed row are counted as what they are.
    if width != dimensions && !is_packed {
        let message = format!(
            "the vector has {width} dimensions, the index has {dimensions}: give a vector of \
             {dimensions} components"
        );
        let limit = Some(dimensions as u64);
        let py = vectors.py();
        return Err(refused_value(py, "DimensionMismatch", &message, width as u64, limit));
    }
    let is_empty_list = matches!(array.shape(), [0]);
    Ok(Some(Given { data, rows, dimensions, is_empty_list }))
}

impl<'py> Data<'py> {
    fn of(array: &Bound<'py, PyAny>) -> Option<Self> {
        fn cast<'py, T: Element>(array: &Bound<'py, PyAny>) -> Option<PyReadonlyArrayDyn<'py, T>> {
            let array = array.cast::<PyArrayDyn<T>>().ok()?.try_readonly().ok()?;
            // One that is not aligned cannot be read in place.
            array.as_slice().is_ok().then_some(array)
        }
        cast(array)
            .map(Self::F32)
            .or_else(|| cast(array).map(Self::F64))
            .or_else(|| cast(array).map(Self::F16))
            .or_else(|| cast(array).map(Self::U8))
            .or_else(|| cast(array).map(Self::I8))
    }
}

impl Given<'_> {
    /// The components.
    pub(crate) fn raw(&self) -> Raw<'_> {
        fn slice<'a, T: Element>(array: &'a PyReadonlyArrayDyn<'_, T>) -> &'a [T] {
            // It was one when it was borrowed.
            array.as_slice().unwrap_or_default()
        }
        match &self.data {
            Data::F32(array) => Raw::F32(slice(array)),
            Data::F64(array) => Raw::F64(slice(array)),
            Data::F16(array) => Raw::F16(slice(array)),
            Data::I8(array) => Raw::I8(slice(array)),
            Data::U8(array) => {
                let bytes = slice(array);
                match bytes.len() == self.rows.unwrap_or(1) * self.dimensions {
                    true => Raw::U8(bytes),
                    false => Raw::Bits(bytes),
                }
            }
        }
    }

    /// The number of vectors.
    pub(crate) fn count(&self) -> usize {
        self.rows.unwrap_or(1)
    }
}

impl<'a> Raw<'a> {
    /// One row as `f32`. Rows of `f64` are taken by their own type instead.
    pub(crate) fn row(self, row: usize, dimensions: usize) -> Cow<'a, [f32]> {
        let at = row * dimensions..(row + 1) * dimensions;
        match self {
            Self::F32(all) => Cow::Borrowed(&all[at]),
            Self::F64(all) => all[at].iter().map(|component| *component as f32).collect(),
            Self::F16(all) => all[at].iter().map(|component| component.to_f32()).collect(),
            Self::I8(all) => all[at].iter().map(|component| f32::from(*component)).collect(),
            Self::U8(all) => all[at].iter().map(|component| f32::from(*component)).collect(),
            Self::Bits(all) => {
                let width = dimensions.div_ceil(8);
                let row = &all[row * width..(row + 1) * width];
                let bit = |i: usize| f32::from(row[i / 8] >> (7 - i % 8) & 1);
                (0..dimensions).map(bit).collect()
            }
        }
    }

    /// One row as `f64`, which is exact.
    pub(crate) fn row_f64(self, row: usize, dimensions: usize) -> Vec<f64> {
        match self {
            Self::F64(all) => all[row * dimensions..(row + 1) * dimensions].to_vec(),
            raw => raw.row(row, dimensions).iter().map(|component| (*component).into()).collect(),
        }
    }

    /// Some rows as `f32`, for vectors that are used together.
    pub(crate) fn floats(self, rows: Range<usize>, dimensions: usize) -> Cow<'a, [f32]> {
        match self {
            Self::F32(all) => Cow::Borrowed(&all[rows.start * dimensions..rows.end * dimensions]),
            all => rows.flat_map(|row| all.row(row, dimensions).into_owned()).collect(),
        }
    }
}
