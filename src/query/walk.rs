//! Walks of the graph: how far they go, and what they make of what they have found.

use std::sync::{Mutex, PoisonError};

use super::Wish;
use crate::distance::hints_early;
use crate::error::Result;
use crate::flat::{Found, Neighbor};
use crate::graph::beam::{Beam, Errand, Scope};
use crate::graph::turns::take_turns;
use crate::graph::{Probe, Reach};
use crate::store::codes::{CodeProbe, CodeProbes};
use crate::store::probe::StoredProbe;
use crate::store::source::Source;
use crate::store::view::View;
use crate::threads;
use crate::types::{Layer, Slot};

/// How far a walk goes beyond the nearest that are asked for: this power of how far the
/// `ef_search`-th lies beyond them in the mean. Vectors whose neighbors are hard to tell apart are
/// walked to for longer, and most for less long (decision 0019 has the figures).
const REACH: f32 = 0.8;
/// Bits a component that distances are told apart by well enough.
const LEAST_BITS: u8 = 4;
/// This share of the candidates is looked around in addition where distances are estimated by
/// these, if there were one dimension. The error of an estimate falls with the root of their
/// number: 26 % more for 128, 15 % for 384. Recall is then about what it is without codes.
const LEAST_BITS_SHARE: f32 = 3.0;
/// And candidates are kept, for their distances to be computed, if they are farther than what is
/// looked around by no more than this share of how far an estimate is off at most, all but
/// certainly.
const MARGIN: f32 = 0.25;
/// One in so many of `ef_search` candidates is always looked around.
const LEAST_SHARE: usize = 2;
/// How many times as many candidates as `ef_search` a walk looks around at most, and keeps.
const MOST_EF: usize = 2;
/// How many times as many it keeps where some are kept for their distances to be computed.
const MOST_KEPT: usize = 3;

/// What the walks of some queries share.
pub(super) struct Walk<'q, 's, 't, S> {
    pub(super) view: &'q View<'s, 't, S>,
    pub(super) wish: &'q Wish<'q>,
    pub(super) k: usize,
}

impl<'q, 's, 't, S: Source<'t>> Walk<'q, 's, 't, S> {
    /// Adds what is found for a probe to what has been.
    pub(super) fn one(&self, probe: &StoredProbe<'_, 's, 't, S>, found: &mut Found) -> Result<()> {
        Beam::with(|[beam]| match self.code_probes()? {
            Some(code) => beam.run(self.view, &mut self.errand(probe, code.of(probe), found)),
            None => beam.run(self.view, &mut self.errand(probe, probe, found)),
        })
    }

    /// Adds what is found for each probe to what has been, on all threads that are available. To be
    /// called where any thread may use the view.
    pub(super) fn many(
        &self,
        probes: &[StoredProbe<'_, 's, 't, S>],
        found: &mut [Found],
    ) -> Result<()>
    where
        S: Sync,
    {
        let code = self.code_probes()?;
        let threads = threads::for_items(probes.len(), threads::SEARCHES);
        // Where nothing is hinted early, a turn would end with nothing on its way.
        let together = if hints_early() { probes.len().div_ceil(threads) } else { 1 };
        let queue = Mutex::new(probes.iter().zip(found));
        threads::on_each(threads, || {
            let each =
                std::iter::from_fn(|| queue.lock().unwrap_or_else(PoisonError::into_inner).next());
            match &code {
                Some(code) => take_turns(
                    self.view,
                    together,
                    each.map(|(probe, found)| self.errand(probe, code.of(probe), found)),
                ),
                None => take_turns(
                    self.view,
                    together,
                    each.map(|(probe, found)| self.errand(probe, probe, found)),
                ),
            }
        })
        .map(drop)
    }

    /// What makes queries by codes, if there are any and they are wished for.
    fn code_probes(&self) -> Result<Option<CodeProbes<'q, 's, 't, S>>> {
        if self.wish.options.codes { self.view.code_probes() } else { Ok(None) }
    }

    fn errand<'a, P>(
        &'a self,
        exact: &'a StoredProbe<'a, 's, 't, S>,
        probe: P,
        found: &'a mut Found,
    ) -> Walker<'a, 's, 't, S, P> {
        Walker { walk: self, exact, probe, layer: None, found }
    }

    /// How far the walk goes: as far as about `ef` candidates lie around a vector of this index in
    /// the mean, in multiples of the distance of the `k`-th. If there are not more items, all are
    /// looked at.
    fn scope(&self, starts: [Slot; 2], error: f32) -> Scope {
        let ef = self.wish.options.ef_search.max(self.k);
        let meta = &self.view.snapshot.meta;
        let bits = if self.wish.options.codes && meta.is_coded { meta.code_bits } else { u8::MAX };
        // Estimates by fewer bits are too far off to say what stands out, and by these, a few
        // neighbors fall behind what is no nearer.
        let is_vague = bits < LEAST_BITS;
        let (share, margin) = match bits {
            LEAST_BITS => (LEAST_BITS_SHARE / (meta.dimensions as f32).sqrt(), MARGIN * error),
            _ => (0.0, 0.0),
        };
        let ef = ef.saturating_add((ef as f32 * share) as usize);
        let is_adaptive = meta.growth > 0.0 && ef < meta.items as usize && !is_vague;
        let reach = is_adaptive.then(|| Reach {
            nth: self.k,
            factor: (ef as f32 / self.k as f32).powf(REACH * meta.growth),
            least: self.k.max(ef / LEAST_SHARE),
            most: ef.saturating_mul(MOST_EF),
            margin,
        });
        // Estimates can have a vector behind others that are farther, and its copies with it.
        let estimated = if self.wish.options.codes && meta.is_coded { ef / LEAST_SHARE } else { 0 };
        let copies = if ef < meta.items as usize { self.k.max(estimated) } else { usize::MAX };
        let kept = if margin > 0.0 { MOST_KEPT } else { MOST_EF };
        let ef = if is_adaptive { ef.saturating_mul(kept) } else { ef };
        Scope { layer: Layer(0), starts, ef, reach, hops: usize::MAX, copies }
    }
}

/// One query on its way.
struct Walker<'a, 's, 't, S, P> {
    walk: &'a Walk<'a, 's, 't, S>,
    exact: &'a StoredProbe<'a, 's, 't, S>,
    probe: P,
    /// Where it is.
    layer: Option<Layer>,
    found: &'a mut Found,
}

impl<'t, S: Source<'t>, P: Compass> Errand for Walker<'_, '_, 't, S, P> {
    fn probe(&self) -> &impl Probe {
        &self.probe
    }

    fn next(&mut self, beam: &Beam) -> Result<Option<Scope>> {
        let meta = &self.walk.view.snapshot.meta;
        let Some((top, entry)) = meta.entry() else { return Ok(None) };
        let nearest = beam.nearest().unwrap_or(entry);
        let layer = match self.layer {
            None => top,
            Some(Layer(0)) if P::IS_EXACT => return self.keep(beam).map(|()| None),
            Some(Layer(0)) => return self.measure(beam).map(|()| None),
            Some(layer) => Layer(layer.0 - 1),
        };
        self.layer = Some(layer);
        Ok(Some(match layer {
            Layer(0) => self.walk.scope([nearest, meta.roots[0]], self.probe.error(nearest)?),
            _ => Scope::descent(layer, nearest),
        }))
    }

    fn accepts(&self, slot: Slot) -> Result<bool> {
        let Walk { view, wish, .. } = self.walk;
        if self.is_descending() {
            return Ok(true);
        }
        if view.snapshot.meta.removed > 0 && view.snapshot.removed.contains(slot.0) {
            return Ok(false);
        }
        Ok(wish.accepts_all() || wish.accepts(view.item(slot)?))
    }

    fn stops(&self) -> bool {
        !self.is_descending() && self.walk.wish.stop()
    }
}

impl<S, P> Walker<'_, '_, '_, S, P> {
    /// Whether it looks for a start only, which any node can be.
    fn is_descending(&self) -> bool {
        self.layer != Some(Layer(0))
    }
}

impl<'t, S: Source<'t>, P: Compass> Walker<'_, '_, 't, S, P> {
    /// Keeps the nearest candidates, whose distances are exact.
    fn keep(&mut self, beam: &Beam) -> Result<()> {
        let Self { walk: Walk { view, .. }, exact, found, .. } = self;
        found.distances += beam.distance_count;
        // The nearest first: the rest are not worth asking for their items.
        for candidate in beam.candidates().iter().filter(|candidate| candidate.accepted) {
            let distance = candidate.distance();
            if !found.nearest.may_keep(distance) {
                break;
            }
            let slot = Slot(candidate.slot());
            found.nearest.offer(Neighbor {
                distance: exact.told_apart(slot, distance)?,
                item: view.item(slot)?,
            });
        }
        Ok(())
    }

    /// Measures the candidates, which were found by estimates, but for those that cannot be among
    /// the nearest, and keeps the nearest.
    fn measure(&mut self, beam: &Beam) -> Result<()> {
        let Self { walk: Walk { view, k, .. }, exact, probe, found, .. } = self;
        found.estimates += beam.distance_count;
        let nearest = &mut found.nearest;
        let mut left = beam.candidates().iter().filter(|candidate| candidate.accepted);
        let (mut slots, mut distances) = (Vec::with_capacity(*k), Vec::with_capacity(*k));
        let mut wanted = *k;
        loop {
            slots.clear();
            for candidate in left.by_ref() {
                let estimate = candidate.distance();
                if nearest.may_keep(estimate)
                    || nearest.may_keep(estimate - probe.error(Slot(candidate.slot()))?)
                {
                    slots.push(candidate.slot());
                    if slots.len() == wanted {
                        break;
                    }
                }
            }
            if slots.is_empty() {
                return Ok(());
            }
            exact.prefetch(&slots);
            exact.distances(&slots, &mut distances)?;
            found.distances += slots.len() as u64;
            for (slot, distance) in slots.iter().zip(&distances) {
                if nearest.may_keep(*distance) {
                    let distance = exact.told_apart(Slot(*slot), *distance)?;
                    nearest.offer(Neighbor { distance, item: view.item(Slot(*slot))? });
                }
            }
            // As many as there must be, and then four at a time.
            wanted = 4;
        }
    }
}

/// What a walk finds its way by.
trait Compass: Probe {
    /// Whether what it says are the distances themselves.
    const IS_EXACT: bool;

    /// How far the distance of a slot is from what this says, all but certainly.
    fn error(&self, slot: Slot) -> Result<f32>;
}

impl<'t, S: Source<'t>> Compass for &StoredProbe<'_, '_, 't, S> {
    const IS_EXACT: bool = true;

    fn error(&self, _slot: Slot) -> Result<f32> {
        Ok(0.0)
    }
}

impl<'t, S: Source<'t>> Compass for CodeProbe<'_, '_, 't, S> {
    const IS_EXACT: bool = false;

    #[inline]
    fn error(&self, slot: Slot) -> Result<f32> {
        self.likely_bound(slot)
    }
}
