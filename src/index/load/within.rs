//! Loads within a memory budget.
//!
//! Rows are read into a temporary file, ordered by locality (`ordered`), and added in that order,
//! part by part: each part is one commit, after which its items can be found. Then they are linked
//! in rounds (`rounds`). A row that the index has already, bit for bit, changes nothing. So a load
//! that is repeated after a kill adds what is missing, in the same order and at the same slots, and
//! goes on with the rounds where they were interrupted. The budget is judged before the first
//! commit, by the slots that the index has after the last one (`slots`).

use std::collections::HashSet;

use super::estimate::Course;
use super::ordered::{Rows, RowsFile};
use super::{Given, Keyed, LoadPhase, Loader};
use crate::build::Goal;
use crate::build::budget::Budget;
use crate::codec::Component;
use crate::error::{Error, Result};
use crate::index::batch::Batch;
use crate::index::filesystem::check_room;
use crate::index::rounds::link_within;
use crate::index::shared::Hooks;
use crate::index::writes::Writes;
use crate::store::edit::slots_after;
use crate::store::open::read_meta;
use crate::store::range::sample_for;

/// Rows that are hinted before the first of them is added.
const HINTED: usize = 256;

/// The rows of a load, what they are added by, and how.
struct Adding<'l, T, A> {
    rows: &'l Rows<T>,
    add: &'l A,
    hooks: Hooks<'l>,
    course: &'l Course,
}

impl<D, K: ?Sized> Loader<'_, D, K> {
    /// Loads rows within a budget of `memory` bytes.
    pub(super) fn load_within<T: Component, V: AsRef<[T]>, R: AsRef<[u8]>>(
        &self,
        memory: u64,
        rows: impl Iterator<Item = Result<Given<V, R>>>,
        add: &impl Fn(&mut Batch<'_, D, K>, Keyed<'_, T>) -> Result<u64>,
    ) -> Result<u64> {
        let (shared, course) = (&self.index.shared, Course::default());
        let dimensions = self.index.dimensions();
        let hinted = rows.size_hint().0 as u64;
        let (budget, slots, most) = {
            let newest = shared.newest()?;
            let meta = newest.meta();
            (shared.budget(Some(memory), meta), u64::from(meta.slots), slots_after(meta, hinted))
        };
        let Some(mut budget) = budget else { return Ok(0) };
        let (temp_dir, folder) = (self.temp_folder(), shared.env.folder());
        let row_bytes = (dimensions * size_of::<T>()) as u64;
        // Which rows replace others is known when they are read: the error names what suffices
        // in any case. Where that is not known, either, they are read first.
        if hinted > 0 && !self.optimize {
            budget.check_naming(slots.max(hinted), most)?;
        }
        let expected = hinted.saturating_sub(slots);
        check_room(&[
            (temp_dir, hinted * row_bytes.max(budget.sizes.copy)),
            (folder, expected * budget.sizes.stored()),
        ])?;
        let mut file = RowsFile::<T>::new(temp_dir)?;
        for row in rows {
            let (name, vector, record) = row?;
            file.put(&name, vector.as_ref(), record.as_ref().map(AsRef::as_ref))?;
            self.report(&course, LoadPhase::Reading, file.count(), None)?;
        }
        let count = file.count();
        budget.sizes.record = file.record_bytes();
        let (file_bytes, (rows, replaced)) = (file.bytes(), file.finish(dimensions)?);
        let whole = budget.whole(slots + count, count);
        if self.optimize && whole > memory {
            return Err(Error::MemoryBudget { bytes: memory, least: whole });
        }
        let after = match whole <= memory {
            true => slots.max(count),
            false => self.slots_within(&budget, &rows, &replaced)?.max(count),
        };
        budget.check(after)?;
        let temp_bytes = file_bytes.max(budget.temp_bytes(after));
        let added = after.saturating_sub(slots) * budget.sizes.stored();
        check_room(&[(temp_dir, temp_bytes - file_bytes), (folder, added)])?;
        let progress = |progress| self.report_build(&course, progress);
        let hooks = Hooks {
            cancel: &*self.cancel,
            progress: &progress,
            threads: self.threads,
            temp_dir: Some(temp_dir),
            memory: Some(memory),
        };
        let threads = shared.threads_of(hooks);
        let threads = crate::threads::building(threads, crate::threads::available);
        course.expect(dimensions, count, shared.entry.ef_construction, threads);
        course.memory(whole.min(memory), temp_bytes + added);
        let adding = Adding { rows: &rows, add, hooks, course: &course };
        if whole <= memory {
            course.rounds(1);
            self.add_whole(&adding, count)?;
            return Ok(count);
        }
        course.rounds(count.div_ceil(budget.round(slots.max(count)).items));
        let order = rows.order(
            shared.place.metric,
            &replaced,
            budget.sample(count, 4 * dimensions as u64),
            |done| self.report(&course, LoadPhase::Ordering, done, Some(count)),
        )?;
        self.train_on(&adding, count)?;
        let part = usize::try_from(budget.part(count)).unwrap_or(usize::MAX);
        for (number, part_rows) in order.chunks(part).enumerate() {
            self.add_part(&adding, &budget, part_rows, (number * part) as u64, order.len() as u64)?;
        }
        drop((order, rows));
        link_within(shared, memory, hooks, &course.rounds)?;
        Ok(count)
    }

    /// The number of slots that the index has after these rows, which is looked up if it may be one
    /// that the budget does not hold.
    fn slots_within<T: Component>(
        &self,
        budget: &Budget,
        rows: &Rows<T>,
        replaced: &HashSet<u32>,
    ) -> Result<u64> {
        let held = self.index.shared.newest()?;
        let most = slots_after(held.meta(), rows.count());
        match budget.check(most) {
            Ok(()) => Ok(most),
            Err(_) => self.slots_with(&held, rows, replaced),
        }
    }

    /// Adds all rows in one commit, as a load without a budget does.
    fn add_whole<T: Component>(
        &self,
        Adding { rows, add, hooks, course }: &Adding<
            '_,
            T,
            impl Fn(&mut Batch<'_, D, K>, Keyed<'_, T>) -> Result<u64>,
        >,
        count: u64,
    ) -> Result<()> {
        let shared = &self.index.shared;
        let goal = if self.optimize { Goal::Optimized } else { Goal::Linked };
        shared.env.write::<_, Error>(|txn| {
            let mut batch = Batch::<D, K>::new(Writes::new(txn, shared)?);
            if batch.writes.needs_training()? && count > 0 {
                self.train_batch(&mut batch, rows)?;
            }
            let result = self.add_rows(course, rows.all(), (0, count), &mut batch, *add);
            batch.writes.finish(result, Some(goal), *hooks)
        })?;
        Ok(())
    }

    /// Trains an untrained index on the rows, in a commit of its own.
    fn train_on<T: Component, A>(
        &self,
        Adding { rows, .. }: &Adding<'_, T, A>,
        count: u64,
    ) -> Result<()> {
        let shared = &self.index.shared;
        if !shared.place.metric.is_trained || count == 0 {
            return Ok(());
        }
        shared.env.write::<_, Error>(|txn| {
            let mut batch = Batch::<D, K>::new(Writes::new(txn, shared)?);
            let result = match batch.writes.needs_training() {
                Ok(true) => self.train_batch(&mut batch, rows),
                Ok(false) => Ok(()),
                Err(error) => Err(error),
            };
            batch.writes.links_later = true;
            batch.writes.finish(result, None, Hooks::NONE)
        })
    }

    fn train_batch<T: Component>(&self, batch: &mut Batch<'_, D, K>, rows: &Rows<T>) -> Result<()> {
        let mut sample = sample_for(batch.writes.place().metric, self.index.dimensions());
        for (row, (_, vector, _)) in rows.all().enumerate() {
            sample.add(&vector).map_err(|defect| Error::InvalidSample { row, defect })?;
        }
        batch.writes.train_on(&sample).map(drop)
    }

    /// Adds some rows of the order in one commit; `done` were added before, of `total`.
    fn add_part<T: Component>(
        &self,
        Adding { rows, add, hooks, course }: &Adding<
            '_,
            T,
            impl Fn(&mut Batch<'_, D, K>, Keyed<'_, T>) -> Result<u64>,
        >,
        budget: &Budget,
        part: &[u32],
        done: u64,
        total: u64,
    ) -> Result<()> {
        let shared = &self.index.shared;
        shared.env.write::<_, Error>(|txn| {
            let mut batch = Batch::<D, K>::new(Writes::new(txn, shared)?);
            batch.link_later();
            batch.writes.keep_equal();
            let in_order = part.chunks(HINTED).flat_map(|some| {
                rows.will_need(some);
                some.iter().map(|row| rows.get(*row))
            });
            let result = self.add_rows(course, in_order, (done, total), &mut batch, *add).and_then(
                |added| {
                    // Codes come first: what is added later gets them with its commit.
                    let meta = read_meta(shared.place, batch.writes.txn())?;
                    if meta.is_some_and(|meta| meta.lacks_codes(shared.codes_from)) {
                        batch.writes.encode(budget, *hooks)?;
                    }
                    Ok(added)
                },
            );
            batch.writes.finish(result, None, *hooks)
        })?;
        Ok(())
    }
}
