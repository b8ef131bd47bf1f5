//! Counting statistics of an index: its values by kind, and the figures of each section.

use heed::RoTxn;

use super::list::{SECTIONS, index_kinds, kinds, section_of};
use crate::error::{Error, Result};
use crate::format::Kind;
use crate::memory::budget_bytes;
use crate::store::Place;
use crate::store::file::Environment;
use crate::store::source::Source;
use crate::store::stats::{KindStats, Stats};
use crate::store::view::View;

/// Counts everything, in one pass over the values and one by each section.
pub(crate) fn count<'t, S: Source<'t>>(
    view: &View<'_, 't, S>,
    place: Place<'_>,
    rtxn: &RoTxn<'_>,
    environment: Environment,
) -> Result<Stats> {
    let meta = &view.snapshot.meta;
    let new = |kind| {
        let is_hot = section_of(kind).is_some_and(|section| section.is_hot(kind, meta));
        KindStats { kind, values: 0, bytes: 0, is_hot }
    };
    let mut kinds: Vec<KindStats> = kinds().into_iter().map(new).collect();
    for entry in place.all(rtxn)? {
        let (key, value) = entry?;
        let stats =
            Kind::of(key).and_then(|kind| kinds.iter_mut().find(|stats| stats.kind == kind));
        let stats = stats
            .ok_or(Error::Foreign { index: place.index, what: "a key of it is not one of ours" })?;
        stats.values += 1;
        stats.bytes += (key.len() + value.len()) as u64;
    }
    let mut stats = Stats {
        items: meta.items.into(),
        slots: meta.slots.into(),
        index_kinds: index_kinds(meta),
        dimensions: meta.dimensions as usize,
        memory_bytes: budget_bytes(None),
        ..Stats::new(kinds, environment)
    };
    let view = view.on_any_source();
    SECTIONS.iter().try_for_each(|section| section.stats(&view, &mut stats))?;
    Ok(stats)
}
