//! When a build measures the recall of searches, for those that ask for a recall (`search/effort`):
//! decision 0049.

use heed::RwTxn;

use super::Build;
use crate::error::{Error, Result};
use crate::format::meta::Meta;
use crate::search::recall;
use crate::store::edit::Edit;
use crate::store::open::read_meta;
use crate::store::sections::list::section_for;
use crate::store::snapshot::Snapshot;
use crate::store::source::Shared;
use crate::store::table::Memory;
use crate::store::view::View;
use crate::threads;

/// From this number of items on there is a calibration: fewer are scanned.
const MIN_ITEMS: u32 = 1000;
/// An index is calibrated again once it has grown by this factor (1.5).
const GROWTH: [u64; 2] = [3, 2];
/// A build that links less than one in this many items leaves the index as it is calibrated, so
/// that a commit costs what it changes; but up to this number of items, where it costs little.
const BUILD_DIVISOR: u64 = 16;
const SMALL_INDEX: u64 = 10_000;

/// Whether a build that has linked so many items, of all if it was `anew`, is to calibrate.
pub(super) fn is_due(meta: &Meta, linked: u64, anew: bool) -> bool {
    let items = u64::from(meta.items);
    let has_grown = meta
        .calibration
        .as_ref()
        .is_none_or(|calibration| items * GROWTH[1] >= u64::from(calibration.items) * GROWTH[0]);
    meta.pending == 0
        && linked > 0
        && meta.linked() > 0
        && meta.items >= MIN_ITEMS
        && (items <= SMALL_INDEX || linked * BUILD_DIVISOR >= items)
        && (anew || has_grown)
}

impl Build<'_, '_> {
    /// Measures the recall of searches at several `ef`, and stores that. Nothing has changed if it
    /// is cancelled.
    pub(super) fn measure(&mut self, wtxn: &mut RwTxn<'_>) -> Result<()> {
        let place = self.place;
        let found = {
            let snapshot = Snapshot::open(place, wtxn, Memory::Full)?;
            let source = Shared::new(place, wtxn)?;
            let view = View::new(&snapshot, &source);
            recall::calibrate(view.on_any_source(), self.cancel)
        };
        let calibration = match found {
            Ok(Some(calibration)) => calibration,
            // The build itself is done.
            Ok(None) | Err(Error::Cancelled) => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut edit = Edit::begin(place, wtxn, self.dimensions)?;
        edit.meta.calibration = Some(calibration);
        edit.finish()
    }

    /// Measures what the efforts of other kinds than the graph find: those that are due, or all.
    /// Nothing has changed if it is cancelled.
    pub(super) fn measure_others(&mut self, wtxn: &mut RwTxn<'_>, all: bool) -> Result<()> {
        let place = self.place;
        let is_due = |meta: Meta| all || recall::are_others_due(&meta);
        if !read_meta(place, wtxn)?.is_some_and(is_due) {
            return Ok(());
        }
        let found = {
            let snapshot = Snapshot::open(place, wtxn, Memory::Full)?;
            let source = Shared::new(place, wtxn)?;
            let view = View::new(&snapshot, &source);
            recall::calibrate_others(view.on_any_source(), self.cancel, all)
        };
        let parts = match found {
            // The build itself is done.
            Err(Error::Cancelled) => return Ok(()),
            parts => parts?,
        };
        for (kind, part) in parts {
            let mut edit = Edit::begin(place, wtxn, self.dimensions)?;
            let values = section_for(kind).and_then(|section| section.kinds().first());
            if let Some(values) = values {
                edit.set_part(*values, part);
                edit.finish()?;
            }
        }
        Ok(())
    }

    /// Measures the recall of searches now.
    pub(crate) fn calibrate(&mut self, wtxn: &mut RwTxn<'_>) -> Result<()> {
        Error::unless_known(self.place.metric, self.place.index)?;
        let Some(meta) = read_meta(self.place, wtxn)? else { return Ok(()) };
        threads::building(self.threads, || {
            if meta.linked() > 0 {
                self.measure(wtxn)?;
            }
            self.measure_others(wtxn, true)
        })
    }
}
