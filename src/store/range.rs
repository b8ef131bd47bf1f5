//! The range of scalar quantization, judged for a metric: by which rows, and how much error is too
//! much. `training` computes both.

use crate::distance::{Form, Metric};
use crate::error::{Error, Result};
use crate::training::{MAX_ERROR, Sample, Typical};
use crate::types::Scale;

/// An empty sample of rows to train an index on, or to judge its training by.
pub(crate) fn sample_for(metric: &Metric, dimensions: usize) -> Sample {
    let goes_by_length = metric.form == Form::NegatedProducts;
    Sample::new(dimensions, if goes_by_length { Typical::Mean } else { Typical::Median })
}

/// Checks that a scale tells rows apart, given the error that it leaves them.
///
/// # Errors
/// [`Error::CoarseRange`].
pub(crate) fn check_range(rows: &'static str, scale: Scale, error: f64) -> Result<()> {
    let [lowest, highest] = scale.ends();
    if error <= MAX_ERROR {
        Ok(())
    } else {
        Err(Error::CoarseRange { rows, lowest, highest, error, limit: MAX_ERROR })
    }
}
