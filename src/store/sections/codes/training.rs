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
/// The same for a judgement. The mean of so many is off by 3 % of the spread, less than what pays;
/// and a vector is read with its block, which a small commit must not do 10 000 times.
const JUDGED_SAMPLE: usize = 1000;
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
/// on, and a new training if that pays. If the index has neither doubled nor moved, no vector is
/// read; otherwise 1 000, and 10 000 if a new training pays.
pub(super) fn judge<'t>(
    view: &View<'_, 't, AnySource<'_, 't>>,
    trained: &Trained,
    slots: impl FnOnce() -> Result<RoaringBitmap>,
) -> Result<(Training, Option<Trained>)> {
    let meta = &view.snapshot.meta;
    if !is_due(meta) {
        return Ok((meta.training, None));
    }
    let kept = |items| Training { items, added: 0, squares: 0.0, ..meta.training };
    let Training { generation, added, squares, .. } = meta.training;
    let has_moved =
        has_window(meta) && squares > MOVED_FACTOR * f64::from(trained.spread) * f64::from(added);
    if !has_doubled(meta) && !has_moved {
        return Ok((kept(meta.training.items), None));
    }
    let slots = slots()?;
    let now = train_on(view, &slots, trained.seed, JUDGED_SAMPLE)?;
    let centers = now.center.iter().zip(&trained.center);
    let shift: f64 = centers.map(|(now, then)| (f64::from(*now) - f64::from(*then)).powi(2)).sum();
    if shift <= LEAST_GAIN * f64::from(now.spread) {
        return Ok((kept(meta.items), None));
    }
    let training = Training { generation: generation + 1, items: meta.items, ..Default::default() };
    Ok((training, Some(train(view, &slots, trained.seed)?)))
}

/// Training: computes the center, which is the mean of a sample of the vectors.
pub(super) fn train<'t>(
    view: &View<'_, 't, AnySource<'_, 't>>,
    slots: &RoaringBitmap,
    seed: u64,
) -> Result<Trained> {
    train_on(view, slots, seed, SAMPLE)
}

/// Training: computes the center, which is the mean of at most `most` of the vectors.
pub(crate) fn train_on<'t>(
    view: &View<'_, 't, AnySource<'_, 't>>,
    slots: &RoaringBitmap,
    seed: u64,
    most: usize,
) -> Result<Trained> {
    let dimensions = view.snapshot.meta.dimensions as usize;
    let sample = sample(slots.iter().map(Slot), slots.len() as usize, most);
    // In one pass: of the differences from the first vector, which are small, the sums and the
    // squares.
    let mut first: Option<Vec<f32>> = None;
    let (mut sums, mut squares) = (vec![0.0; dimensions], 0.0);
    for slot in &sample {
        let probe = view.query_of(*slot)?;
        let (vector, factor) = probe.prepared();
        let row = view.snapshot.metric.coded(vector, factor, dimensions);
        let first = first.get_or_insert_with(|| row.clone());
        for ((sum, value), first) in sums.iter_mut().zip(&row).zip(&*first) {
            let difference = f64::from(*value) - f64::from(*first);
            *sum += difference;
            squares += difference * difference;
        }
    }
    let count = sample.len().max(1) as f64;
    let first = first.unwrap_or_else(|| vec![0.0; dimensions]);
    let means = sums.iter().map(|sum| sum / count);
    let spread = squares / count - means.clone().map(|mean| mean * mean).sum::<f64>();
    let center = first.iter().zip(means).map(|(first, mean)| (f64::from(*first) + mean) as f32);
    Ok(Trained {
        seed,
        sample: sample.len() as u32,
        spread: spread.clamp(0.0, f32::MAX.into()) as f32,
        center: center.collect(),
    })
}
