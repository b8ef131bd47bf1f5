//! What deleted and replaced items leave in an index, and its erasure.
//!
//! An edit that frees a slot leaves the vector and the code in their block: until the slot is used
//! again they are read by nobody, and clearing them would rewrite 32 KB for each. Scrubbing clears
//! them, in all blocks that have any, with one put for each block.
//!
//! Centers are means: of a sample of the vectors for codes and hashes, of some of them for inverted
//! lists. One that is a mean of few can be the vector of an item that is gone, or nearly so. Such
//! values are dropped, and the next build makes them anew from what is there.

use heed::RwTxn;

use super::Place;
use super::sections::list::SECTIONS;
use super::sections::section::Section;
use super::snapshot::Snapshot;
use super::source::{Calling, Verified};
use super::table::Memory;
use super::view::View;
use crate::error::Result;
use crate::format::set::SetKind;
use crate::types::Slot;

/// A component is that of a center if it differs by no more than this fraction of it: more than
/// rounding, and less than what tells apart vectors.
const TOLERANCE: f32 = 1e-4;

/// The sections whose values have been computed from vectors that are gone, such that they show
/// them. O(free slots * centers) comparisons, of which nearly all end at the first component.
/// `gone` are vectors that have left nothing.
pub(crate) fn telling(
    place: Place<'_>,
    wtxn: &RwTxn<'_>,
    gone: &[Vec<f32>],
) -> Result<Vec<&'static dyn Section>> {
    let snapshot = Snapshot::open(place, wtxn, Memory::Bounded)?;
    let source = Verified::new(Calling::new(place, wtxn, snapshot.id)?, snapshot.memory);
    let view = View::new(&snapshot, source);
    let any = view.on_any_source();
    let mut centers = Vec::new();
    for section in SECTIONS {
        let of_section = section.centers(&any)?;
        if !of_section.is_empty() {
            centers.push((*section, of_section));
        }
    }
    let mut telling = Vec::new();
    let mut compare = |row: &[f32]| {
        let direction = direction(row);
        centers.retain(|(section, of_section)| {
            let shows = |center: &Vec<f32>| is_near(center, row) || is_near(center, &direction);
            let is_told = of_section.iter().any(shows);
            if is_told {
                telling.push(*section);
            }
            !is_told
        });
    };
    gone.iter().for_each(|row| compare(row));
    let (meta, metric) = (&snapshot.meta, snapshot.metric);
    for slot in view.set(SetKind::Free)?.range(..meta.tail_start()) {
        let address = view.vector(Slot(slot))?;
        if address.bytes.iter().any(|byte| *byte != 0) {
            let decoded = metric.decode(address.bytes, meta.scale);
            compare(&metric.floats(&decoded, meta.dimensions as usize));
        }
    }
    Ok(telling)
}

/// A vector at length 1.
fn direction(row: &[f32]) -> Vec<f32> {
    let norm = row.iter().map(|component| f64::from(*component).powi(2)).sum::<f64>().sqrt();
    row.iter()
        .map(|component| (f64::from(*component) / norm.max(f64::MIN_POSITIVE)) as f32)
        .collect()
}

/// Whether a center is a vector, but for rounding.
fn is_near(center: &[f32], row: &[f32]) -> bool {
    let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= TOLERANCE * a.abs().max(b.abs());
    center.iter().zip(row).all(is_near) && center.iter().any(|component| *component != 0.0)
}
