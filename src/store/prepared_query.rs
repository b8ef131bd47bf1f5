//! Prepared queries: distances from a query, or from a stored vector, to stored vectors.
//!
//! Distances are `f32`. Small cosine distances are recomputed where they are made, because the
//! kernels leave them no digits ([`Finish::is_vague`]): a graph of near-duplicates needs them. The
//! last digits of other distances matter in answers only, which `top_k` refines ([`Refine`]).

use std::borrow::Cow;

use super::address::Address;
use super::meter;
use super::source::Source;
use super::strided::prefetch_places;
use super::view::{Parts, View, check_dimensions};
use crate::codec::Components;
use crate::distance::{Estimate, Finish, Form, Resolution, by_finish, norm, prefetch, small_angle};
use crate::error::{Error, Result};
use crate::graph::{DistanceComputer, Vectors};
use crate::top_k::Refine;
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
        let (bytes, factor) =
            self.metric.prepare(vector).map_err(|defect| Error::InvalidQuery { defect })?;
        Ok(PreparedQuery { view: self, bytes: Cow::Owned(bytes), factor })
    }

    /// The vector of a slot as a prepared query.
    #[inline]
    pub(crate) fn query_of(&self, slot: Slot) -> Result<PreparedQuery<'_, 's, 't, S>> {
        let mut address = self.vector(slot)?;
        if self.has_other_metric() {
            let other = self.in_other_metric(address);
            address = other.map_err(|defect| Error::InvalidQuery { defect })?;
        }
        let Address { bytes, factor } = address;
        let bytes = self.metric.decode(bytes, self.snapshot.meta.scale);
        Ok(PreparedQuery { view: self, bytes, factor })
    }

    /// The components of a slot's vector, decoded.
    pub(crate) fn components(&self, slot: Slot) -> Result<Vec<f32>> {
        let (metric, meta) = (self.snapshot.metric, &self.snapshot.meta);
        let decoded = metric.decode(self.vector(slot)?.bytes, meta.scale);
        Ok(metric.floats(&decoded, meta.dimensions as usize))
    }

    /// The estimates that rule out most pairs of many queries and vectors, if the metric has any.
    pub(crate) fn estimates(&self) -> Vec<Estimate> {
        let (metric, meta) = (self.metric, &self.snapshot.meta);
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

    fn fetch(&self, slots: &[u32]) -> bool {
        self.fetch_vectors(slots)
    }

    fn are_products(&self) -> bool {
        self.metric.form == Form::NegatedProducts
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
        let (metric, meta) = (self.view.metric, &self.view.snapshot.meta);
        F::finish(metric, raw, [self.factor, factor], meta.dimensions as usize)
    }

    /// The same query on another view of the same snapshot.
    pub(crate) fn on<'a, T>(&'a self, view: &'a View<'s, 't, T>) -> PreparedQuery<'a, 's, 't, T> {
        PreparedQuery { view, bytes: Cow::Borrowed(&self.bytes), factor: self.factor }
    }

    /// Has the vectors of some slots read from disk, all at a time, and what tells their items, if
    /// the index is cold. Without their factors: see [`cold_distances`](Self::cold_distances).
    pub(crate) fn fetch_rows(&self, slots: &[u32]) {
        let Some(cold) = self.view.cold else { return };
        let mut batch = cold.batch();
        // Few rows are read again while they are in memory.
        self.view.add_to(&mut batch, &self.view.snapshot.vectors, slots, Parts::Rows);
        slots.iter().for_each(|slot| self.view.add_item_to(&mut batch, Slot(*slot)));
        batch.send(0);
    }

    /// As [`distances`](DistanceComputer::distances), without reading the factors, which lie on
    /// pages of their own: computed again, they are what is stored, on every machine.
    #[cold]
    pub(crate) fn cold_distances(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        self.wait(slots);
        by_finish!(self.view.metric, F => {
            out.clear();
            for slot in slots {
                out.push(self.cold_distance::<F>(self.view.row(Slot(*slot))?));
            }
            Ok(())
        })
    }

    /// The distance to a stored vector whose factor has not been read.
    pub(crate) fn cold_distance<F: Finish>(&self, bytes: &[u8]) -> f32 {
        let (metric, meta) = (self.view.metric, &self.view.snapshot.meta);
        let address = Address { bytes, factor: metric.factor(&metric.decode(bytes, meta.scale)) };
        let distance = self.distance::<F>(address);
        if F::is_vague(distance) { self.small_angle(address) } else { distance }
    }

    /// The vector in the form in which it is compared, and its factor.
    pub(crate) fn prepared(&self) -> (&[u8], f32) {
        (&self.bytes, self.factor)
    }

    /// How far distances may be from their definition.
    pub(crate) fn resolution(&self) -> Resolution {
        let (metric, meta) = (self.view.metric, &self.view.snapshot.meta);
        // The bound is that of what the metric of the index accepts.
        let is_known = meta.norm_bound > 0.0 && !self.view.has_other_metric();
        let bound = if is_known { meta.norm_bound.into() } else { f64::INFINITY };
        Resolution::of(metric, &self.bytes, meta.dimensions as usize, bound)
    }

    /// The distance to a slot, from the one that [`distance`](Self::distance) returns, which may be
    /// vague.
    #[inline]
    pub(crate) fn corrected<F: Finish>(&self, slot: Slot, distance: f32) -> Result<f32> {
        let is_vague = F::is_vague(distance);
        Ok(if is_vague { self.small_angle(self.view.vector(slot)?) } else { distance })
    }

    #[cold]
    #[inline(never)]
    fn small_angle(&self, to: Address<'_>) -> f32 {
        let (metric, meta) = (self.view.metric, &self.view.snapshot.meta);
        small_angle(&self.bytes, &metric.decode(to.bytes, meta.scale))
    }

    /// Corrects the vague ones of some distances.
    #[cold]
    #[inline(never)]
    fn correct<F: Finish>(&self, to: &[Address<'_>], distances: &mut [f32]) {
        let distances = to.iter().zip(distances);
        distances
            .filter(|(_, distance)| F::is_vague(**distance))
            .for_each(|(to, distance)| *distance = self.small_angle(*to));
    }

    /// The distance to one vector, as kernels compute it. `F` must be the metric's: see
    /// [`by_finish`].
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
        let (vectors, metric) = (&self.view.snapshot.vectors, self.view.metric);
        let (places, is_other) = (vectors.places(), self.view.has_other_metric());
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
                if is_other && let Ok(other) = self.view.in_other_metric(*address) {
                    *address = other;
                }
                prefetch(address.bytes);
            }
            let (fours, rest) = few[..slots.len()].as_chunks::<4>();
            let mut any_vague = false;
            for four in fours {
                let distances = self.distance4::<F>(*four);
                // Without an early exit, so that the compiler compares four at a time.
                any_vague |= distances.iter().fold(false, |any, d| any | F::is_vague(*d));
                out.extend_from_slice(&distances);
            }
            for address in rest {
                let distance = self.distance::<F>(*address);
                any_vague |= F::is_vague(distance);
                out.push(distance);
            }
            if any_vague {
                let start = out.len() - slots.len();
                self.correct::<F>(&few, &mut out[start..]);
            }
        }
        Ok(())
    }
}

impl<'t, S: Source<'t>> Refine for PreparedQuery<'_, '_, 't, S> {
    // Neither reads the factor, which is on another page of a cold index.
    fn precise(&self, slot: Slot) -> Result<f64> {
        let (metric, meta) = (self.view.metric, &self.view.snapshot.meta);
        let stored = metric.decode(self.view.row(slot)?, meta.scale);
        Ok(metric.precise(&self.bytes, &stored, meta.dimensions as usize))
    }

    fn norm(&self, slot: Slot) -> Result<f64> {
        let (metric, meta) = (self.view.metric, &self.view.snapshot.meta);
        Ok(norm(&metric.decode(self.view.row(slot)?, meta.scale)))
    }

    fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
        self.view.are_equal(a, b)
    }
}

impl<'t, S: Source<'t>> DistanceComputer for PreparedQuery<'_, '_, 't, S> {
    fn distances(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        by_finish!(self.view.metric, F => self.distances_by::<F>(slots, out))
    }

    #[inline]
    fn prefetch(&self, slots: &[u32]) {
        prefetch_places(self.view.snapshot.vectors.places(), slots);
    }

    fn has(&self, slots: &[u32]) -> bool {
        self.view.has_all(&self.view.snapshot.vectors, slots)
    }

    fn fetch(&self, slots: &[u32]) -> bool {
        self.view.fetch_vectors(slots)
    }

    fn wait(&self, slots: &[u32]) {
        self.view.wait_for(&self.view.snapshot.vectors, slots);
    }
}
