//! Prepared queries: distances from a query, or from a stored vector, to stored vectors.

use std::borrow::Cow;

use super::address::Address;
use super::meter;
use super::snapshot::Snapshot;
use super::source::Source;
use super::strided::prefetch_places;
use super::view::{View, check_dimensions};
use crate::codec::Components;
use crate::distance::{Estimate, Finish, Form, by_finish, prefetch};
use crate::error::{Error, Result};
use crate::graph::{DistanceComputer, Vectors};
use crate::types::Slot;

/// Vectors that are looked up and prefetched as one batch before they are compared.
const PREFETCH_BATCH: usize = 8;

impl<'s, 't, S: Source<'t>> View<'s, 't, S> {
    /// Prepares a query for comparison.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`], [`Error::InvalidQuery`].
    pub(crate) fn query(&self, vector: Components<'_>) -> Result<PreparedQuery<'_, 's, 't, S>> {
        check_dimensions(vector.len(), self.snapshot.meta.dimensions as usize)?;
        let (bytes, factor) = self
            .snapshot
            .metric
            .prepare(vector)
            .map_err(|defect| Error::InvalidQuery { defect })?;
        Ok(PreparedQuery { view: self, bytes: Cow::Owned(bytes), factor })
    }

    /// The vector of a slot as a prepared query.
    #[inline]
    pub(crate) fn query_of(&self, slot: Slot) -> Result<PreparedQuery<'_, 's, 't, S>> {
        let Address { bytes, factor } = self.vector(slot)?;
        Ok(PreparedQuery {
            view: self,
            bytes: self.snapshot.metric.decode(bytes, self.snapshot.meta.scale),
            factor,
        })
    }

    /// The components of a slot's vector, decoded.
    pub(crate) fn components(&self, slot: Slot) -> Result<Vec<f32>> {
        let probe = self.query_of(slot)?;
        let Snapshot { metric, meta, .. } = self.snapshot;
        Ok(metric.floats(&probe.bytes, meta.dimensions as usize))
    }

    /// The estimates that rule out most pairs of many queries and vectors, if the metric has any.
    pub(crate) fn estimates(&self) -> Vec<Estimate> {
        let Snapshot { metric, meta, .. } = self.snapshot;
        Estimate::of(metric.form, &self.kernels, meta.dimensions as usize)
    }

    /// The vector of a slot, on the cold path.
    #[cold]
    #[inline(never)]
    fn vector_elsewhere(&self, slot: Slot) -> Result<Address<'t>> {
        self.vector(slot)
    }
}

impl<'t, S: Source<'t> + Sync> Vectors for View<'_, 't, S> {
    fn distances(&self, from: Slot, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        self.query_of(from)?.distances(slots, out)
    }

    fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
        self.are_equal(a, b)
    }

    fn prefetch(&self, slots: &[u32]) {
        prefetch_places(self.snapshot.vectors.places(), slots);
    }

    fn are_products(&self) -> bool {
        self.snapshot.metric.form == Form::NegatedProducts
    }
}

/// A prepared query: a query or a stored vector, compared with stored vectors.
#[derive(Debug)]
pub(crate) struct PreparedQuery<'v, 's, 't, S> {
    view: &'v View<'s, 't, S>,
    bytes: Cow<'v, [u8]>,
    factor: f32,
}

impl<'s, 't, S: Source<'t>> PreparedQuery<'_, 's, 't, S> {
    #[inline(always)]
    fn finish<F: Finish>(&self, raw: f32, factor: f32) -> f32 {
        let Snapshot { metric, meta, .. } = self.view.snapshot;
        F::finish(metric, raw, [self.factor, factor], meta.dimensions as usize)
    }

    /// The same query on another view of the same snapshot.
    pub(crate) fn on<'a, T>(&'a self, view: &'a View<'s, 't, T>) -> PreparedQuery<'a, 's, 't, T> {
        PreparedQuery { view, bytes: Cow::Borrowed(&self.bytes), factor: self.factor }
    }

    /// The vector in the form in which it is compared, and its factor.
    pub(crate) fn prepared(&self) -> (&[u8], f32) {
        (&self.bytes, self.factor)
    }

    /// Corrects the distance to a slot: where it is 0 but the vectors differ, because the squares
    /// of all differences underflow, returns the smallest positive number. Call it for results
    /// only.
    #[inline]
    pub(crate) fn told_apart(&self, slot: Slot, distance: f32) -> Result<f32> {
        match self.view.snapshot.metric.form {
            Form::SquaredDifferences if distance == 0.0 => self.tell_apart(slot),
            _ => Ok(distance),
        }
    }

    #[cold]
    fn tell_apart(&self, slot: Slot) -> Result<f32> {
        let Snapshot { metric, meta, .. } = self.view.snapshot;
        let stored = metric.decode(self.view.vector(slot)?.bytes, meta.scale);
        let [stored, own] =
            [&*stored, &*self.bytes].map(|bytes| metric.floats(bytes, meta.dimensions as usize));
        // Compared as numbers: -0 equals 0.
        Ok(if stored == own { 0.0 } else { f32::from_bits(1) })
    }

    /// The distance to one vector. `F` must be the metric's: see [`by_finish`].
    #[inline(always)]
    pub(crate) fn distance<F: Finish>(&self, to: Address<'_>) -> f32 {
        self.finish::<F>(self.view.kernels.one(&self.bytes, to.bytes), to.factor)
    }

    /// The distances to four vectors, bit-identical to four single ones.
    #[inline(always)]
    pub(crate) fn distance4<F: Finish>(&self, to: [Address<'_>; 4]) -> [f32; 4] {
        let raw = self.view.kernels.four(&self.bytes, to.map(|to| to.bytes));
        [0, 1, 2, 3].map(|i| self.finish::<F>(raw[i], to[i].factor))
    }

    fn distances_by<F: Finish>(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        out.clear();
        let Snapshot { vectors, metric, .. } = self.view.snapshot;
        let places = vectors.places();
        for slots in slots.chunks(PREFETCH_BATCH) {
            let mut few = [Address { bytes: &[], factor: 0.0 }; PREFETCH_BATCH];
            // Prefetch all before the first is compared.
            for (address, slot) in few.iter_mut().zip(slots) {
                let found =
                    places.and_then(|places| places.get(Slot(*slot), F::has_factor(metric)));
                *address = match found {
                    Some(address) => {
                        meter::read();
                        address
                    }
                    None => self.view.vector_elsewhere(Slot(*slot))?,
                };
                prefetch(address.bytes);
            }
            let (fours, rest) = few[..slots.len()].as_chunks::<4>();
            for four in fours {
                out.extend_from_slice(&self.distance4::<F>(*four));
            }
            out.extend(rest.iter().map(|address| self.distance::<F>(*address)));
        }
        Ok(())
    }
}

impl<'t, S: Source<'t>> DistanceComputer for PreparedQuery<'_, '_, 't, S> {
    fn distances(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        by_finish!(self.view.snapshot.metric, F => self.distances_by::<F>(slots, out))
    }

    #[inline]
    fn prefetch(&self, slots: &[u32]) {
        prefetch_places(self.view.snapshot.vectors.places(), slots);
    }
}
