//! Exact search: every vector that may be a result is compared, and the nearest are kept, ties by item id.
//!
//! Large scans use all threads of the surrounding rayon pool; the answer does not depend on how many there are.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rayon::prelude::*;

use crate::distance::{Distance, prefetch};
use crate::store::source::{Source, Warm};
use crate::store::view::{Address, StoredProbe, View};
use crate::{ItemId, Result, Slot};

/// A scan of fewer bytes than this is done before other threads have woken up.
const PARALLEL_BYTES: usize = 1 << 20;
/// Slots that a thread takes at a time.
const TASK: usize = 2048;

/// A result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neighbor {
    pub(crate) distance: f32,
    pub(crate) item: ItemId,
}

impl Ord for Neighbor {
    fn cmp(&self, other: &Self) -> Ordering {
        self.distance.total_cmp(&other.distance).then(self.item.cmp(&other.item))
    }
}

impl PartialOrd for Neighbor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Neighbor {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Neighbor {}

/// The `k` nearest of what it is offered.
#[derive(Debug)]
pub(crate) struct Nearest {
    k: usize,
    /// The farthest on top.
    heap: BinaryHeap<Neighbor>,
}

impl Nearest {
    pub(crate) fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::new() }
    }

    /// Whether something at this distance may be kept.
    #[inline]
    fn may_keep(&self, distance: f32) -> bool {
        self.heap.len() < self.k || self.heap.peek().is_some_and(|farthest| distance <= farthest.distance)
    }

    pub(crate) fn offer(&mut self, neighbor: Neighbor) {
        if self.heap.len() < self.k {
            self.heap.push(neighbor);
        } else if let Some(mut farthest) = self.heap.peek_mut()
            && neighbor < *farthest
        {
            *farthest = neighbor;
        }
    }

    fn merge(mut self, other: Self) -> Self {
        other.heap.into_iter().for_each(|neighbor| self.offer(neighbor));
        self
    }

    /// The nearest first.
    pub(crate) fn into_sorted(self) -> Vec<(ItemId, f32)> {
        self.heap.into_sorted_vec().into_iter().map(|neighbor| (neighbor.item, neighbor.distance)).collect()
    }
}

/// The `k` nearest to the probe of those `slots` whose item `accept`s. `stop` is asked now and then, and ends the scan early.
pub(crate) fn scan<'t, D: Distance, S: Source<'t>>(
    view: &View<'_, 't, D, S>,
    probe: &StoredProbe<'_, '_, 't, D, S>,
    slots: &[u32],
    k: usize,
    accept: impl Fn(ItemId) -> bool + Sync,
    stop: impl Fn() -> bool + Sync,
) -> Result<Nearest> {
    if k == 0 {
        return Ok(Nearest::new(0));
    }
    if slots.len() * view.snapshot.meta.geometry.stride < PARALLEL_BYTES {
        let mut nearest = Nearest::new(k);
        for slots in slots.chunks(TASK).take_while(|_| !stop()) {
            scan_some(view, probe, slots, &accept, &mut nearest)?;
        }
        return Ok(nearest);
    }
    // A transaction cannot be shared between threads, full tables can.
    view.resolve_vectors()?;
    let warm = View::<D, _>::new(view.snapshot, Warm::default());
    let probe = probe.on(&warm);
    let task = |slots: &[u32]| {
        let mut nearest = Nearest::new(k);
        if !stop() {
            scan_some(&warm, &probe, slots, &accept, &mut nearest)?;
        }
        Ok(nearest)
    };
    slots.par_chunks(TASK).map(task).try_reduce(|| Nearest::new(k), |a, b| Ok(a.merge(b)))
}

fn scan_some<'t, D: Distance, S: Source<'t>>(
    view: &View<'_, 't, D, S>,
    probe: &StoredProbe<'_, '_, 't, D, S>,
    slots: &[u32],
    accept: &impl Fn(ItemId) -> bool,
    nearest: &mut Nearest,
) -> Result<()> {
    let mut offer = |slot: u32, distance: f32| -> Result<()> {
        if nearest.may_keep(distance) {
            let item = view.item(Slot(slot))?;
            if accept(item) {
                nearest.offer(Neighbor { distance, item });
            }
        }
        Ok(())
    };
    let (fours, rest) = slots.as_chunks::<4>();
    let address = |four: &[u32; 4]| -> Result<[Address<'t>; 4]> {
        let mut addresses = [Address { bytes: &[], factor: 0.0 }; 4];
        for (address, slot) in addresses.iter_mut().zip(four) {
            *address = view.vector(Slot(*slot))?;
        }
        Ok(addresses)
    };
    let mut next = fours.first().map(address).transpose()?;
    for (i, four) in fours.iter().enumerate() {
        let Some(current) = next else { break };
        next = fours.get(i + 1).map(address).transpose()?;
        for address in next.iter().flatten() {
            prefetch(address.bytes);
        }
        for (slot, distance) in four.iter().zip(probe.distance4(current)) {
            offer(*slot, distance)?;
        }
    }
    for slot in rest {
        offer(*slot, probe.distance(view.vector(Slot(*slot))?))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_are_kept_in_order_and_ties_go_to_the_smaller_id() {
        let mut nearest = Nearest::new(3);
        for (distance, item) in [(5.0, 1), (2.0, 9), (2.0, 3), (2.0, 7), (0.0, 100), (2.0, 2)] {
            nearest.offer(Neighbor { distance, item });
        }
        assert_eq!(nearest.into_sorted(), [(100, 0.0), (2, 2.0), (3, 2.0)]);
        let mut none = Nearest::new(0);
        assert!(!none.may_keep(0.0));
        none.offer(Neighbor { distance: 0.0, item: 1 });
        assert!(none.into_sorted().is_empty());
    }
}
