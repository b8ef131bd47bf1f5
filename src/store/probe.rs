//! Distances from a query, or from a stored vector, to the stored ones.

use std::borrow::Cow;

use super::address::Address;
use super::meter;
use super::snapshot::Snapshot;
use super::source::Source;
use super::strided::prefetch_places;
use super::view::{View, check_dimensions};
use crate::codec::Components;
use crate::distance::{Estimate, Form, prefetch};
use crate::error::{Error, Result};
use crate::graph::{Probe, Vectors};
use crate::types::Slot;

/// Vectors that are looked up and hinted together, before they are compared.
const FEW: usize = 8;

impl<'s, 't, S: Source<'t>> View<'s, 't, S> {
    /// A query, ready to be compared.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`], or what is wrong with it.
    pub(crate) fn query(&self, vector: Components<'_>) -> Result<StoredProbe<'_, 's, 't, S>> {
        check_dimensions(vector.len(), self.snapshot.meta.dimensions as usize)?;
        let (bytes, factor) = self
            .snapshot
            .metric
            .prepare(vector)
            .map_err(|defect| Error::InvalidQuery { defect })?;
        Ok(StoredProbe { view: self, bytes: Cow::Owned(bytes), factor })
    }

    /// The vector of a slot, ready to be compared.
    #[inline]
    pub(crate) fn probe(&self, slot: Slot) -> Result<StoredProbe<'_, 's, 't, S>> {
        let Address { bytes, factor } = self.vector(slot)?;
        Ok(StoredProbe {
            view: self,
            bytes: self.snapshot.metric.decode(bytes, self.snapshot.meta.scale),
            factor,
        })
    }

    /// The components of a slot's vector, as they are stored.
    pub(crate) fn components(&self, slot: Slot) -> Result<Vec<f32>> {
        let probe = self.probe(slot)?;
        let Snapshot { metric, meta, .. } = self.snapshot;
        Ok(metric.floats(&probe.bytes, meta.dimensions as usize))
    }

    /// What rules out most pairs of many queries and vectors, if the metric has it.
    pub(crate) fn estimates(&self) -> Vec<Estimate> {
        let Snapshot { metric, meta, .. } = self.snapshot;
        Estimate::of(metric.form, &self.kernels, meta.dimensions as usize)
    }

    /// The same, where it is rarely asked for.
    #[cold]
    #[inline(never)]
    fn vector_elsewhere(&self, slot: Slot) -> Result<Address<'t>> {
        self.vector(slot)
    }
}

impl<'t, S: Source<'t> + Sync> Vectors for View<'_, 't, S> {
    fn distances(&self, from: Slot, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        self.probe(from)?.distances(slots, out)
    }

    fn are_equal(&self, a: Slot, b: Slot) -> Result<bool> {
        self.are_equal(a, b)
    }

    fn prefetch(&self, slots: &[u32]) {
        prefetch_places(self.snapshot.vectors.places(), slots);
    }
}

/// Distances from a query or a stored vector to the stored ones.
#[derive(Debug)]
pub(crate) struct StoredProbe<'v, 's, 't, S> {
    view: &'v View<'s, 't, S>,
    bytes: Cow<'v, [u8]>,
    factor: f32,
}

impl<'s, 't, S: Source<'t>> StoredProbe<'_, 's, 't, S> {
    #[inline]
    fn finish(&self, raw: f32, factor: f32) -> f32 {
        let Snapshot { metric, meta, .. } = self.view.snapshot;
        metric.finish(raw, [self.factor, factor], meta.dimensions as usize)
    }

    /// The same, for another view of the same snapshot.
    pub(crate) fn on<'a, T>(&'a self, view: &'a View<'s, 't, T>) -> StoredProbe<'a, 's, 't, T> {
        StoredProbe { view, bytes: Cow::Borrowed(&self.bytes), factor: self.factor }
    }

    /// The vector as it is compared, and its factor.
    pub(crate) fn prepared(&self) -> (&[u8], f32) {
        (&self.bytes, self.factor)
    }

    /// The distance to a slot: the least positive one where it came out as 0 and the vectors
    /// differ, because all squares of their differences underflow. To be asked of results only.
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
        // As numbers: -0 is 0.
        Ok(if stored == own { 0.0 } else { f32::from_bits(1) })
    }

    /// The distance to one vector.
    #[inline]
    pub(crate) fn distance(&self, to: Address<'_>) -> f32 {
        self.finish(self.view.kernels.one(&self.bytes, to.bytes), to.factor)
    }

    /// The distances to four vectors: the same bits as one by one.
    #[inline]
    pub(crate) fn distance4(&self, to: [Address<'_>; 4]) -> [f32; 4] {
        let raw = self.view.kernels.four(&self.bytes, to.map(|to| to.bytes));
        [0, 1, 2, 3].map(|i| self.finish(raw[i], to[i].factor))
    }
}

impl<'t, S: Source<'t>> Probe for StoredProbe<'_, '_, 't, S> {
    fn distances(&self, slots: &[u32], out: &mut Vec<f32>) -> Result<()> {
        out.clear();
        let Snapshot { vectors, metric, .. } = self.view.snapshot;
        let places = vectors.places();
        for slots in slots.chunks(FEW) {
            let mut few = [Address { bytes: &[], factor: 0.0 }; FEW];
            // All are on their way before the first is compared.
            for (address, slot) in few.iter_mut().zip(slots) {
                *address =
                    match places.and_then(|places| places.get(Slot(*slot), metric.has_factor)) {
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
                out.extend_from_slice(&self.distance4(*four));
            }
            out.extend(rest.iter().map(|address| self.distance(*address)));
        }
        Ok(())
    }

    #[inline]
    fn prefetch(&self, slots: &[u32]) {
        prefetch_places(self.view.snapshot.vectors.places(), slots);
    }
}
