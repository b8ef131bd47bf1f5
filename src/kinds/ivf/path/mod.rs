//! The path of inverted lists: a scan of the lists whose centers are the nearest to the query.
//!
//! Where lists have codes, they are scanned by these, in the order of lists (`by_codes`). Else, and
//! where a search does without codes, by the code that scans all.
//!
//! A search that has not found as many results as there should be probes on, twice as many lists
//! each time, until it has, or until it has probed all.

mod by_codes;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use roaring::RoaringBitmap;

use self::by_codes::Scan;
use crate::error::{Error, Result};
use crate::flat::{Slots, scan as scan_slots};
use crate::format::meta::Meta;
use crate::kinds::ivf::format::Part;
use crate::kinds::ivf::section::part;
use crate::kinds::ivf::section::view::{Lists, Order};
use crate::search::effort::ef_for;
use crate::search::paths::parameter::{COUNTS, Parameter, count};
use crate::search::paths::{AccessPath, Flat};
use crate::search::request::Cancel;
use crate::search::{AnyView, Request, Search, SearchContext, Strategy};
use crate::store::prepared_query::PreparedQuery;
use crate::store::readahead::residency::Residency;
use crate::store::source::Warm;
use crate::store::view::View;
use crate::threads;
use crate::top_k::{Found, Wanted};
use crate::types::{Calibration, Curve, IndexKind, ItemId, Point, Slot};

/// The recall of a search that says nothing of it, on an index that is calibrated.
const USUAL_RECALL: f64 = 0.95;
/// One in this many lists is probed by a search that says nothing, on an index that is not.
const LISTS_PER_PROBE: u32 = 8;
/// The distance of a query to a center, of which many follow each other: a fixed part, and bytes a
/// nanosecond. And reading the slots of a list; or the blocks of its codes, of which some lie
/// elsewhere than the one before.
const CENTER_NS: f64 = 4.0;
const CENTER_BYTES_PER_NS: f64 = 16.0;
const LIST_NS: f64 = 1500.0;
const CODED_LIST_NS: f64 = 250.0;
/// The queries of a calibration, and the numbers of results of its curves.
const QUERIES: u64 = 256;
const KS: [usize; 3] = [1, 10, 100];
/// The last point of a curve.
const ENOUGH_RECALL: f64 = 0.999;

/// Scans the nearest lists.
pub(crate) struct InvertedLists;

/// The number of lists that a search probes first.
fn probes(request: &Request<'_>, part: &Part, k: usize, items: u32) -> usize {
    let by_recall = |recall| {
        part.calibration.as_ref().map(|known: &Calibration| ef_for(known, k, recall, items))
    };
    let asked = match request.recall {
        Some(recall) => by_recall(recall),
        None => request.efforts.of(IndexKind::Ivf).or_else(|| by_recall(USUAL_RECALL)),
    };
    asked.unwrap_or((part.lists / LISTS_PER_PROBE) as usize).max(1)
}

impl AccessPath for InvertedLists {
    fn strategy(&self) -> Strategy {
        Strategy::Lists
    }

    fn kind(&self) -> IndexKind {
        IndexKind::Ivf
    }

    fn parameters(&self) -> &'static [Parameter] {
        const NPROBE: Parameter = Parameter {
            name: "nprobe",
            remedy: COUNTS,
            set: |request, value| {
                count(value).map(|lists| request.efforts.set(IndexKind::Ivf, lists)).is_some()
            },
        };
        &[NPROBE]
    }

    fn is_calibrated(&self, meta: &Meta) -> bool {
        part(meta, 0).ok().flatten().is_some_and(|part| part.calibration.is_some())
    }

    fn cost_ns(&self, search: &Search<'_, '_, '_, '_>, k: usize) -> Option<f64> {
        let meta = &search.view.snapshot.meta;
        let part = &search.view.list_tables().ok()??.part;
        let lists = f64::from(part.lists - part.vacant);
        if lists == 0.0 {
            return None;
        }
        let probes = probes(&search.context.request, part, k, meta.items) as f64;
        let rows = search.context.selection.len() as f64 * (probes / lists).min(1.0);
        let center = 4.0 * f64::from(meta.dimensions) / CENTER_BYTES_PER_NS + CENTER_NS;
        let costs = search.costs();
        let (list, row) = match part.has_codes && search.context.request.codes {
            true => (CODED_LIST_NS, costs.row),
            false => (LIST_NS, costs.scattered_row),
        };
        Some(lists * center + probes.min(lists) * list + rows * row)
    }

    fn search(&self, search: &Search<'_, '_, '_, '_>, k: usize) -> Result<Vec<(Strategy, Found)>> {
        let Search { view, queries, context } = *search;
        let Some(lists) = view.lists()? else { return Flat.search(search, k) };
        let meta = &view.snapshot.meta;
        let count = probes(&context.request, lists.part(), k, meta.items);
        let rows: Vec<Vec<f32>> = queries.iter().map(|query| view.center_query(query)).collect();
        let order = |row: &Vec<f32>| Ok::<_, Error>(lists.order(row, count));
        let mut orders = threads::map(&rows, threads::SEARCHES, order)?;
        let mut probing = Probing { view, context, lists, slots: BTreeMap::new() };
        let mut found = probing.first(search, k, &mut orders, count)?;
        for (nth, (order, found)) in orders.iter_mut().zip(&mut found).enumerate() {
            let one = Search { view, queries: &queries[nth..=nth], context };
            probing.go_on(&one, k, order, count, found)?;
            found.distances += order.len() as u64;
        }
        Ok(found.into_iter().map(|found| (self.strategy(), found)).collect())
    }

    fn is_calibration_due(&self, meta: &Meta) -> bool {
        let part = part(meta, 0).ok().flatten();
        part.is_some_and(|part| part.lists > 0 && part.calibration.is_none())
    }

    fn calibrate(&self, view: AnyView<'_, '_, '_>, cancel: Cancel<'_>) -> Result<Option<Vec<u8>>> {
        let found = part(&view.snapshot.meta, view.snapshot.index)?;
        let (Some(part), Some(lists)) = (found, view.lists()?) else { return Ok(None) };
        let calibration = calibrate(&view, &lists, cancel)?;
        Ok(Some(Part { calibration, ..part }.encode()))
    }
}

/// A view that all threads share.
type WarmView<'s, 't> = View<'s, 't, Warm<'t>>;
/// A query on it.
type WarmQuery<'v, 's, 't> = PreparedQuery<'v, 's, 't, Warm<'t>>;

/// Scans what each query is to be compared with, on all threads. Those with the nearest `place` are
/// scanned one after the other, as they have much in common that is in the cache then.
fn many<'s, 't, T: Sync>(
    search: &Search<'_, '_, 's, 't>,
    wanted: Wanted,
    (scanned, place): (&[T], impl Fn(&T) -> usize),
    scan: impl Fn(&WarmView<'s, 't>, &WarmQuery<'_, 's, 't>, &T) -> Result<Found> + Sync,
) -> Result<Vec<Found>> {
    let Search { view, queries, .. } = *search;
    // A transaction cannot be shared between threads, fully resolved tables can.
    view.resolve_all()?;
    let warm = View::new(view.snapshot, Warm::default()).with_cold(view.cold());
    let queries: Vec<_> = queries.iter().map(|query| query.on(&warm)).collect();
    let nothing = queries.iter().map(|query| Found::nothing(wanted, query.resolution()));
    let mut found: Vec<Found> = nothing.collect();
    let mut turns: Vec<_> = queries.iter().zip(scanned).zip(&mut found).collect();
    turns.sort_by_key(|((_, scanned), _)| place(scanned));
    let queue = Mutex::new(turns.into_iter());
    let threads = threads::for_items(queries.len(), threads::SEARCHES);
    threads::on_each(threads, || {
        let _part = warm.cold().map(Residency::part);
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(((query, scanned), found)) = next else { return Ok::<_, Error>(()) };
            *found = scan(&warm, query, scanned)?;
        }
    })?;
    Ok(found)
}

/// The lists of a search.
struct Probing<'a, 'v, 's, 't> {
    view: &'a AnyView<'v, 's, 't>,
    context: &'a SearchContext<'a>,
    lists: Lists<'s, 't>,
    /// Those that have been read, without slots that cannot be results.
    slots: BTreeMap<u32, Vec<u32>>,
}

impl<'a, 's, 't> Probing<'a, '_, 's, 't> {
    /// Scans the first `count` lists of each query.
    fn first(
        &mut self,
        search: &Search<'_, '_, 's, 't>,
        k: usize,
        orders: &mut [Order],
        count: usize,
    ) -> Result<Vec<Found>> {
        let (context, wanted) = (self.context, self.context.request.wanted(k));
        let Some(scan) = self.by_codes(wanted) else {
            let slots = orders.iter_mut().map(|order| self.candidates(order.get(0..count)));
            let slots = slots.collect::<Result<Vec<_>>>()?;
            if let [slots] = &slots[..] {
                return search.scan(k, Slots::Only(slots));
            }
            let place = |slots: &Vec<u32>| slots.first().map_or(0, |slot| *slot as usize);
            return many(search, wanted, (&slots[..], place), |view, query, slots| {
                let accept = |slot, item| context.accepts(slot, item);
                let (slots, by_codes) = (Slots::Only(slots), context.request.codes);
                let queries = std::slice::from_ref(query);
                let stop = || context.stop();
                let mut found = scan_slots(view, queries, slots, wanted, by_codes, &accept, &stop)?;
                Ok(found.pop().unwrap_or_else(|| Found::nothing(wanted, query.resolution())))
            });
        };
        let is_certain = orders.first().is_none_or(|order| count >= order.len());
        let scan = Scan { is_certain, ..scan };
        let blocks = orders.iter_mut().map(|order| self.blocks(&scan, order.get(0..count)));
        let blocks = blocks.collect::<Result<Vec<_>>>()?;
        if let ([query], [blocks]) = (search.queries, &blocks[..]) {
            return Ok(vec![scan.run(search.view, query, blocks)?]);
        }
        // The blocks of a list follow each other, and differ from those of another one.
        let place = |blocks: &Vec<&[u8]>| blocks.first().map_or(0, |block| block.as_ptr().addr());
        many(search, wanted, (&blocks[..], place), |view, query, blocks| {
            scan.run(view, query, blocks)
        })
    }

    /// A scan by codes, if lists have them and the search goes by codes.
    fn by_codes(&self, wanted: Wanted) -> Option<Scan<'a>> {
        let stride = self.lists.stride().filter(|_| self.context.request.codes)?;
        Some(Scan { context: self.context, wanted, stride, is_certain: true })
    }

    /// The blocks of codes of lists.
    fn blocks(&self, scan: &Scan<'_>, lists: impl Iterator<Item = u32>) -> Result<Vec<&'t [u8]>> {
        let mut blocks = Vec::new();
        for list in lists {
            blocks.extend(self.view.list_codes(&self.lists, scan.stride, list)?.iter().copied());
        }
        Ok(blocks)
    }

    fn read(&mut self, list: u32) -> Result<()> {
        if self.slots.contains_key(&list) {
            return Ok(());
        }
        let mut slots = Vec::new();
        self.view.list_slots(list, self.lists.size(list), &mut slots)?;
        let selection = &self.context.selection;
        if selection.only().is_some() || selection.bars_nodes() {
            slots.retain(|slot| selection.admits(Slot(*slot)));
        }
        self.slots.insert(list, slots);
        Ok(())
    }

    /// The slots of lists, ascending.
    fn candidates(&mut self, lists: impl Iterator<Item = u32>) -> Result<Vec<u32>> {
        let mut slots = Vec::new();
        for list in lists {
            self.read(list)?;
            slots.extend(self.slots.get(&list).into_iter().flatten());
        }
        // Runs that ascend, which a stable sort merges.
        slots.sort();
        Ok(slots)
    }

    /// Probes more lists after the first `count` of a query, while there are fewer than `k`
    /// results.
    fn go_on(
        &mut self,
        one: &Search<'_, '_, 's, 't>,
        k: usize,
        order: &mut Order,
        count: usize,
        found: &mut Found,
    ) -> Result<()> {
        let mut probed = count.min(order.len());
        let (wanted, has_radius) =
            (self.context.request.wanted(k), self.context.request.within.is_some());
        while probed < order.len() && found.top_k.limit().is_none() && !has_radius {
            if self.context.stop() {
                break;
            }
            let next = (2 * probed).min(order.len());
            let query = &one.queries[0];
            let more = match self.by_codes(wanted) {
                Some(scan) => {
                    let blocks = self.blocks(&scan, order.get(probed..next))?;
                    vec![scan.run(one.view, query, &blocks)?]
                }
                None => {
                    let candidates = self.candidates(order.get(probed..next))?;
                    one.scan(k, Slots::Only(&candidates))?
                }
            };
            for more in more {
                let before = std::mem::replace(found, Found::nothing(wanted, query.resolution()));
                *found = before.merge(query, more)?;
            }
            probed = next;
        }
        found.lists += probed as u64;
        Ok(())
    }
}

/// Measures the recall of searches by the number of lists probed: for a sample of items, in which
/// lists the true neighbors are. `None` if there is nothing to measure by.
fn calibrate(
    view: &AnyView<'_, '_, '_>,
    lists: &Lists<'_, '_>,
    cancel: Cancel<'_>,
) -> Result<Option<Calibration>> {
    let live: RoaringBitmap = view.live()?;
    let count = QUERIES.min(live.len());
    let slots = (0..count).filter_map(|at| live.select((at * live.len() / count) as u32));
    let slots: Vec<u32> = slots.collect();
    let queries = slots.iter().map(|slot| view.query_of(Slot(*slot)));
    let queries = queries.collect::<Result<Vec<_>>>()?;
    let most = KS[KS.len() - 1];
    // One more than wanted: the item itself is the nearest.
    let request = Request { cancel, exact: Some(true), ..Request::new(most + 1) };
    let context = SearchContext::new(view, request, None)?;
    let answers = Search { view, queries: &queries, context: &context }.run()?;
    if context.did_cancel() {
        return Err(Error::Cancelled);
    }
    let mut list_of = vec![u32::MAX; view.snapshot.meta.slots as usize];
    let mut members = Vec::new();
    for list in lists.all() {
        members.clear();
        view.list_slots(list, lists.size(list), &mut members)?;
        members.iter().for_each(|slot| list_of[*slot as usize] = list);
    }
    // For each query, the number of lists that a search must probe for each neighbor.
    let mut needed: Vec<Vec<usize>> = Vec::with_capacity(queries.len());
    for ((query, slot), answer) in queries.iter().zip(&slots).zip(answers) {
        let mut order = lists.order(&view.center_query(query), usize::MAX);
        let ranks: BTreeMap<u32, usize> = order.get(0..usize::MAX).zip(1..).collect();
        let own = view.item(Slot(*slot))?;
        let others = answer.nns.iter().filter(|(item, _)| *item != own).take(most);
        let rank = |(item, _): &(ItemId, f32)| -> Result<usize> {
            let list = view.slot(*item)?.and_then(|slot| list_of.get(slot.index()).copied());
            Ok(list.and_then(|list| ranks.get(&list).copied()).unwrap_or(usize::MAX))
        };
        needed.push(others.map(rank).collect::<Result<_>>()?);
    }
    let curves = KS.iter().map(|k| curve(*k, &needed, lists.all().count()));
    let curves: Vec<Curve> = curves.filter(|curve| !curve.points.is_empty()).collect();
    let (items, queries) = (view.snapshot.meta.items, slots.len() as u32);
    Ok((!curves.is_empty()).then_some(Calibration { items, queries, curves }))
}

/// The mean share of the `k` nearest that each number of probes finds.
fn curve(k: usize, needed: &[Vec<usize>], lists: usize) -> Curve {
    let judged: Vec<&[usize]> =
        needed.iter().map(|ranks| &ranks[..k.min(ranks.len())]).filter(|r| !r.is_empty()).collect();
    let mut points = Vec::new();
    if judged.is_empty() {
        return Curve { k: k as u32, points };
    }
    let steps = std::iter::successors(Some(1f64), |at| Some(at * std::f64::consts::SQRT_2));
    let mut steps: Vec<usize> = steps.map(|at| at.round() as usize).take(31).collect();
    steps.dedup();
    for probes in steps.into_iter().take_while(|probes| *probes <= lists) {
        let share = |ranks: &&[usize]| {
            let hits = ranks.iter().filter(|rank| **rank <= probes).count();
            hits as f64 / ranks.len() as f64
        };
        let recall = judged.iter().map(share).sum::<f64>() / judged.len() as f64;
        points.push(Point { ef: probes as u32, recall: recall as f32 });
        if recall >= ENOUGH_RECALL {
            break;
        }
    }
    Curve { k: k as u32, points }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_counts_the_neighbors_in_the_lists_that_are_probed() {
        let needed = [vec![1, 1, 3, 9], vec![2, 2, 2, 2], vec![]];
        let found = curve(4, &needed, 16);
        let recall = |ef| found.points.iter().find(|point| point.ef == ef).unwrap().recall;
        assert_eq!((found.k, recall(1), recall(2), recall(3)), (4, 0.25, 0.75, 0.875));
        assert_eq!(found.points.last().unwrap().recall, 1.0);
        assert_eq!(curve(1, &needed, 16).points[0].recall, 0.5);
        assert!(curve(10, &[], 16).points.is_empty());
        assert!(curve(10, &needed, 1 << 20).points.len() <= 32);
    }
}
