//! The training of the codes: computes the center, and judges by and by whether it is still good.
//!
//! The training is judged when the number of items has doubled since it was made, and when the
//! vectors added since then are farther from the center than those it was made of. Both are counts
//! in META, so that the same changes give the same index. If a new center is enough nearer to the
//! vectors, it is the next *generation* of the training, which the codes follow (`recode.rs`).

use roaring::RoaringBitmap;

use crate::error::Result;
use crate::format::codes::Trained;
use crate::format::meta::{Meta, Training};
use crate::store::source::AnySource;
use crate::store::sq8_copy::sample;
use crate::store::view::View;
use crate::types::Slot;

/// Maximum number of vectors that the center is the mean of: its error is then a hundredth of their
/// spread.
const SAMPLE: usize = 10_000;
/// Minimum number of codes made since the training before their distances from the center are
/// judged. Also at least 1 in [`WINDOW_DIVISOR`] of the items of the training.
const MIN_WINDOW: u32 = 1024;
const WINDOW_DIVISOR: u32 = 8;
/// New vectors have moved if their mean squared distance from the center is larger than that of the
/// training by this factor.
const MOVED_FACTOR: f64 = 2.0;
/// A new training pays if its center lies this fraction of the mean squared distance away from the
/// old one: the squared error of the codes falls by as much.
const LEAST_GAIN: f64 = 0.1;

/// Whether the training must be judged. One generation must have been replaced before the next.
pub(crate) fn is_due(meta: &Meta) -> bool {
    meta.is_coded && !meta.training.has_older() && (has_doubled(meta) || has_window(meta))
}

fn has_doubled(meta: &Meta) -> bool {
    u64::from(meta.items) >= 2 * u64::from(meta.training.items)
}

fn has_window(meta: &Meta) -> bool {
    let Training { items, added, .. } = meta.training;
    added >= MIN_WINDOW.max(items / WINDOW_DIVISOR)
}

/// Judges the training of an index with codes, if it is due. Returns what META says of it from now
/// on, and a new training if that pays. O(sample) vectors are read, O(1) unless the index has
/// doubled or moved.
pub(super) fn judge<'t>(
    view: &View<'_, 't, AnySource<'_, 't>>,
    slots: impl FnOnce() -> Result<RoaringBitmap>,
) -> Result<(Training, Option<Trained>)> {
    let meta = &view.snapshot.meta;
    let kept = |items| Training { items, added: 0, squares: 0.0, ..meta.training };
    let Some(trained) = view.trained()?.filter(|_| is_due(meta)) else {
        return Ok((meta.training, None));
    };
    let Training { generation, added, squares, .. } = meta.training;
    let has_moved =
        has_window(meta) && squares > MOVED_FACTOR * f64::from(trained.spread) * f64::from(added);
    if !has_doubled(meta) && !has_moved {
        return Ok((kept(meta.training.items), None));
    }
    let fresh = train(view, &slots()?, trained.seed)?;
    let shift: f64 = fresh
        .center
        .iter()
        .zip(&trained.center)
        .map(|(new, old)| f64::from(new - old).powi(2))
        .sum();
    if shift <= LEAST_GAIN * f64::from(fresh.spread) {
        return Ok((kept(meta.items), None));
    }
    let training = Training { generation: generation + 1, items: meta.items, ..Default::default() };
    Ok((training, Some(fresh)))
}

/// Training: computes the center, which is the mean of a sample of the vectors.
pub(super) fn train<'t>(
    view: &View<'_, 't, AnySource<'_, 't>>,
    slots: &RoaringBitmap,
    seed: u64,
) -> Result<Trained> {
    let dimensions = view.snapshot.meta.dimensions as usize;
    let sample = sample(slots.iter().map(Slot), slots.len() as usize, SAMPLE);
    let rows = || {
        sample.iter().map(|slot| {
            let probe = view.query_of(*slot)?;
            let (vector, factor) = probe.prepared();
            Ok(view.snapshot.metric.coded(vector, factor, dimensions))
        })
    };
    let mut sums = vec![0.0; dimensions];
    for row in rows() {
        let row: Result<Vec<f32>> = row;
        sums.iter_mut().zip(row?).for_each(|(sum, value)| *sum += f64::from(value));
    }
    let count = sample.len().max(1) as f64;
    let center: Vec<f32> = sums.iter().map(|sum| (sum / count) as f32).collect();
    let mut spread = 0.0;
    for row in rows() {
        let row: Result<Vec<f32>> = row;
        spread += row?
            .iter()
            .zip(&center)
            .map(|(value, center)| f64::from(value - center).powi(2))
            .sum::<f64>();
    }
    let spread = (spread / count).min(f32::MAX.into()) as f32;
    Ok(Trained { seed, sample: sample.len() as u32, spread, center })
}
