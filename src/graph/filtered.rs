//! Beam search of layer 0 where only some nodes may be results: those that a filter admits, or all
//! but removed ones.
//!
//! The pool holds admitted nodes only, so that its stopping rules are those of a search without a
//! filter. Of the others, a search decides node by node, by the share of its latest neighbors that
//! were admitted (the local pass rate; NaviX, Sehgal and Salihoglu 2025, chooses by it, too):
//!
//! - **Walk through**, above [`MIN_PASS_RATE`]: it computes their distances, and expands them like
//!   admitted nodes, the nearest of both first.
//! - **Two hops**, below it: it reads the lists of the node's refused neighbors at once, and
//!   computes distances only to the admitted nodes in these (ACORN-1, Patel, Kraft, Guestrin,
//!   Zaharia 2024).
//!
//! Refused nodes without a distance are *bridges*. They are expanded when nothing else is left and
//! fewer than `ef` nodes have been found, so that, as without a filter, the search finds `ef`
//! admitted nodes or all that edges lead to.
//!
//! A search counts its **work**, lists and distances weighted by a cost each, and gives up when it
//! has cost what another way to answer would, or when its share of admitted nodes says that it
//! will. Nothing depends on a clock: one query does one thing.
//!
//! A predicate is asked of a node when that would be expanded next, which is when it would become a
//! result: nodes that are farther than the results are never asked about.

use std::cmp::Reverse;

use super::beam::{Beam, Scope, is_copy};
use super::pool::{Candidate, order};
use super::{DistanceComputer, Graph};
use crate::error::Result;
use crate::types::{Layer, Slot};

/// The local pass rate from which a search walks through refused nodes. Two hops read about as many
/// lists, and their lower recall pays only where they save nearly all distances.
const MIN_PASS_RATE: f32 = 0.08;
/// The number of admitted nodes after which two hops read no further list: more than the neighbors
/// of one node.
const MAX_TWO_HOP: usize = 32;

/// Which nodes may be results.
pub(crate) trait Filter {
    /// Whether a node may be a result, as far as that is known without the predicate.
    fn admits(&self, slot: Slot) -> Result<bool>;

    /// The predicate, asked of an admitted node.
    fn ask(&self, slot: Slot) -> Result<bool>;

    /// Whether there is a predicate.
    fn asks(&self) -> bool;

    /// Called before every expansion: whether to end the search here.
    fn stops(&self) -> bool;
}

/// What a search may cost, in nanoseconds of a reference machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// The cost of reading a neighbor list.
    pub(crate) list_ns: f32,
    /// The cost of a distance.
    pub(crate) distance_ns: f32,
    /// The cost of the other way to answer. Infinite if there is none.
    pub(crate) other_ns: f32,
    /// From this cost on, a search predicts its end.
    pub(crate) trial_ns: f32,
    /// The number of admitted nodes that a search usually expands.
    pub(crate) expansions: usize,
    /// The number of admitted nodes in the graph, and their share of all nodes.
    pub(crate) admitted: usize,
    pub(crate) pass_rate: f32,
    /// Whether walking through all refused nodes would cost less than the other way, so that there
    /// is nothing to predict, and no reason to pass any of them.
    pub(crate) is_through: bool,
    /// Whether no refused node is passed, so that nothing is missed because of that.
    pub(crate) is_thorough: bool,
}

/// A node that is expanded.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Node {
    /// None yet: the list has the starts.
    Start,
    Admitted,
    Refused,
    Bridge,
}

impl Beam {
    /// Finds the admitted nodes nearest to the query, from the starts of `scope` and `seeds`.
    /// `false` if it would cost more than the other way to answer.
    pub(crate) fn search_filtered(
        &mut self,
        graph: &impl Graph,
        computer: &impl DistanceComputer,
        scope: Scope,
        seeds: &[u32],
        filter: &impl Filter,
        budget: &Budget,
    ) -> Result<bool> {
        self.start(graph, scope);
        self.list.extend(seeds);
        self.detours.start();
        let before = self.distance_count;
        let (mut node, is_cold) = (Node::Start, graph.is_cold());
        loop {
            self.visit(
                graph,
                scope.layer,
                filter,
                (node, budget.is_through || budget.is_thorough),
                is_cold,
            )?;
            self.measure(graph, computer, scope.layer, filter)?;
            if self.gives_up(before, budget) {
                return Ok(false);
            }
            if filter.stops() {
                return Ok(true);
            }
            let Some((current, kind)) = self.next_node(filter, budget)? else { break };
            self.prepare(graph, scope.layer, current, is_cold);
            node = kind;
            self.detours.lists += 1;
            self.detours.expanded += usize::from(kind == Node::Admitted);
            self.list_neighbors(graph, scope.layer, current)?;
        }
        Ok(true)
    }

    /// Visits the nodes of the list, and, where few of them are admitted, the neighbors of those
    /// that are not.
    fn visit(
        &mut self,
        graph: &impl Graph,
        layer: Layer,
        filter: &impl Filter,
        (node, is_through): (Node, bool),
        is_cold: bool,
    ) -> Result<()> {
        let Self { visited, list, detours, ahead, list_count, .. } = self;
        let admits = |slot| filter.admits(slot);
        detours.clear();
        detours.sort(visited.insert_all(list), admits)?;
        if node == Node::Bridge {
            detours.bridges.append(&mut detours.refused);
            return Ok(());
        }
        if is_through
            || node == Node::Start
            || detours.pass_rate() >= MIN_PASS_RATE
            || detours.refused.is_empty()
        {
            return Ok(());
        }
        if is_cold {
            graph.fetch_lists(layer, &detours.refused);
        }
        let bridges = std::mem::take(&mut detours.refused);
        let mut left = bridges.iter();
        for (at, &bridge) in left.by_ref().enumerate() {
            if let Some(next) = bridges.get(at + 1) {
                graph.prefetch_neighbors(layer, Slot(*next));
            }
            ahead.clear();
            graph.neighbors(layer, Slot(bridge), ahead)?;
            (detours.lists, *list_count) = (detours.lists + 1, *list_count + 1);
            detours.sort(visited.insert_all(ahead), admits)?;
            if detours.admitted.len() >= MAX_TWO_HOP {
                break;
            }
        }
        // Those whose lists have been read lead nowhere else.
        detours.bridges.extend(left);
        detours.bridges.append(&mut detours.refused);
        detours.refused = bridges;
        detours.refused.clear();
        Ok(())
    }

    /// Computes the distances of the nodes just visited, and keeps those that are near enough.
    fn measure(
        &mut self,
        graph: &impl Graph,
        computer: &impl DistanceComputer,
        layer: Layer,
        filter: &impl Filter,
    ) -> Result<()> {
        let Self { pool, detours, distances, expanded, copies, distance_count, .. } = self;
        let count = detours.admitted.len();
        detours.admitted.append(&mut detours.refused);
        let nodes = &detours.admitted[..];
        computer.prefetch(nodes);
        if graph.is_cold() && computer.fetch(nodes) {
            computer.wait(nodes);
        }
        computer.distances(nodes, distances)?;
        *distance_count += nodes.len() as u64;
        let expanded_at = expanded.map_or(f32::NAN, |expanded| expanded.distance());
        for (at, (&slot, &distance)) in nodes.iter().zip(&*distances).enumerate() {
            if distance > pool.bound() {
                continue;
            }
            if at >= count || filter.asks() {
                detours.open.push(Reverse((order(distance, slot), at < count)));
                continue;
            }
            graph.prefetch_place(layer, Slot(slot));
            if distance == expanded_at && *copies < usize::MAX && is_copy(graph, *expanded, slot)? {
                if *copies > 0 {
                    pool.defer(distance, slot);
                }
                continue;
            }
            pool.insert(distance, slot, true);
        }
        Ok(())
    }

    /// Whether the search has cost as much as the other way to answer, or is going to cost more
    /// than that from here on.
    fn gives_up(&mut self, before: u64, budget: &Budget) -> bool {
        let lists = self.detours.lists;
        let distances = (self.distance_count - before) as f32;
        let spent = lists as f32 * budget.list_ns + distances * budget.distance_ns;
        if budget.is_through || budget.other_ns == f32::INFINITY {
            return spent > budget.other_ns;
        }
        if self.detours.is_elsewhere(budget.pass_rate) {
            return true;
        }
        if spent < budget.trial_ns {
            return false;
        }
        let left = budget.expansions.saturating_sub(self.pool.expanded()) as f32;
        let predicted = left * self.detours.latest_cost(spent);
        spent > budget.other_ns || predicted > budget.other_ns
    }

    /// The node to expand next. `None` if the search has ended.
    fn next_node(&mut self, filter: &impl Filter, budget: &Budget) -> Result<Option<(Slot, Node)>> {
        loop {
            // All there are, so that what is left of the graph need not be searched for others. A
            // pool that is full has dropped some.
            if self.pool.candidates().len() >= budget.admitted && self.pool.bound() == f32::INFINITY
            {
                return Ok(None);
            }
            if let Some(detour) = self.nearer_detour() {
                let Reverse((order, is_open)) = detour;
                let candidate = Candidate::of(order);
                let slot = Slot(candidate.slot());
                if is_open && filter.ask(slot)? {
                    self.pool.insert(candidate.distance(), candidate.slot(), true);
                    continue;
                }
                self.expanded = None;
                return Ok(Some((slot, Node::Refused)));
            }
            self.expanded = self.pool.expand();
            if let Some(expanded) = self.expanded {
                return Ok(Some((Slot(expanded.slot()), Node::Admitted)));
            }
            if self.pool.admit_deferred(self.copies) {
                continue;
            }
            let bridge = match self.pool.bound() {
                f32::INFINITY => self.detours.bridges.pop(),
                _ => None,
            };
            return Ok(bridge.map(|bridge| (Slot(bridge), Node::Bridge)));
        }
    }

    /// Takes the nearest open node, if it is near enough to be expanded, and nearer than the
    /// nearest admitted one.
    fn nearer_detour(&mut self) -> Option<Reverse<(i64, bool)>> {
        let Reverse((order, _)) = *self.detours.open.peek()?;
        if self.pool.is_next(order) { self.detours.open.pop() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use proptest::prelude::*;

    use super::super::beam::tests::{At, Line};
    use super::*;

    /// Admits by one closure, asks another, and remembers of whom.
    struct By<A, P> {
        admits: A,
        predicate: Option<P>,
        asked: RefCell<Vec<u32>>,
    }

    impl<A: Fn(u32) -> bool, P: Fn(u32) -> bool> Filter for By<A, P> {
        fn admits(&self, slot: Slot) -> Result<bool> {
            Ok((self.admits)(slot.0))
        }

        fn ask(&self, slot: Slot) -> Result<bool> {
            self.asked.borrow_mut().push(slot.0);
            Ok(self.predicate.as_ref().is_none_or(|predicate| predicate(slot.0)))
        }

        fn asks(&self) -> bool {
            self.predicate.is_some()
        }

        fn stops(&self) -> bool {
            false
        }
    }

    const FREE: Budget = Budget {
        list_ns: 1.0,
        distance_ns: 1.0,
        other_ns: f32::INFINITY,
        trial_ns: 0.0,
        expansions: 10,
        admitted: usize::MAX,
        pass_rate: 0.5,
        is_through: false,
        is_thorough: false,
    };

    fn chain(n: u32) -> Line {
        let near = |i: u32| [i.wrapping_sub(1), i + 1].into_iter().filter(|j| *j < n).collect();
        Line { edges: (0..n).map(near).collect() }
    }

    fn from(slot: u32, ef: usize) -> Scope {
        let copies = usize::MAX;
        Scope { ef, copies, hops: usize::MAX, ..Scope::descent(Layer(0), Slot(slot)) }
    }

    /// What is found, within a budget, and of whom the predicate was asked.
    fn found(
        line: &Line,
        (at, ef): (f32, usize),
        seeds: &[u32],
        admits: impl Fn(u32) -> bool,
        predicate: Option<impl Fn(u32) -> bool>,
        budget: &Budget,
    ) -> (Option<Vec<u32>>, Vec<u32>) {
        let (mut beam, asked) = (Beam::default(), RefCell::default());
        let filter = By { admits, predicate, asked };
        let scope = from(0, ef);
        let is_done =
            beam.search_filtered(line, &At(at, line), scope, seeds, &filter, budget).unwrap();
        let slots = beam.candidates().iter().map(|candidate| candidate.slot()).collect();
        (is_done.then_some(slots), filter.asked.into_inner())
    }

    const ALL: Option<fn(u32) -> bool> = None;

    #[test]
    fn what_is_not_admitted_is_passed() {
        let tens = |slot| slot % 10 == 0;
        // Where so few are admitted, two hops end between them, unless all are walked through.
        let through = Budget { is_through: true, ..FREE };
        assert_eq!(found(&chain(50), (40.0, 2), &[], tens, ALL, &through).0, Some(vec![40, 30]));
        let last = |slot| slot == 49;
        assert_eq!(found(&chain(50), (0.0, 1), &[], last, ALL, &FREE).0, Some(vec![49]));
        assert_eq!(found(&chain(50), (0.0, 1), &[], |_| false, ALL, &FREE).0, Some(vec![]));
    }

    #[test]
    fn a_search_starts_from_seeds_too() {
        let mut line = chain(50);
        // Nothing leads from the first half to the other.
        line.edges[24].retain(|slot| *slot != 25);
        line.edges[25].retain(|slot| *slot != 24);
        let far = |slot| slot > 30;
        assert_eq!(found(&line, (0.0, 2), &[], far, ALL, &FREE).0, Some(vec![]));
        assert_eq!(found(&line, (0.0, 2), &[45], far, ALL, &FREE).0, Some(vec![31, 32]));
    }

    #[test]
    fn a_search_gives_up_when_it_has_cost_what_the_other_way_costs() {
        let last = |slot| slot == 199;
        for (other_ns, gives_up) in [(50.0, true), (100.0, true), (2000.0, false)] {
            // It predicts nothing before that.
            let budget = Budget { other_ns, trial_ns: other_ns, pass_rate: 0.0, ..FREE };
            let (found, _) = found(&chain(200), (0.0, 1), &[], last, ALL, &budget);
            assert_eq!(found.is_none(), gives_up, "{other_ns}");
        }
    }

    #[test]
    fn a_search_gives_up_where_the_admitted_nodes_are_elsewhere() {
        let budget = Budget { other_ns: 1e9, trial_ns: 1e9, ..FREE };
        let far = |slot| slot >= 1000;
        assert_eq!(found(&chain(2000), (0.0, 5), &[], far, ALL, &budget).0, None);
        let even = |slot| slot % 2 == 0;
        let expected = Some(vec![0, 2, 4, 6, 8]);
        assert_eq!(found(&chain(2000), (0.0, 5), &[], even, ALL, &budget).0, expected);
        // Without another way, it goes on.
        let expected = Some(vec![1000, 1001, 1002, 1003, 1004]);
        assert_eq!(found(&chain(2000), (0.0, 5), &[], far, ALL, &FREE).0, expected);
    }

    #[test]
    fn a_predicate_is_asked_only_of_what_would_be_a_result() {
        let even = Some(|slot: u32| slot.is_multiple_of(2));
        let (found, asked) = found(&chain(500), (250.2, 4), &[], |_| true, even, &FREE);
        assert_eq!(found, Some(vec![250, 252, 248, 254]));
        // Of all on the way, and around the query up to the farthest result.
        let mut once = asked.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), asked.len(), "once each");
        assert!(asked.iter().all(|slot| *slot <= 254), "{asked:?}");
    }

    proptest! {
        #[test]
        fn all_admitted_nodes_that_edges_lead_to_are_found(
            parents in prop::collection::vec(any::<prop::sample::Index>(), 1..120),
            edges in prop::collection::vec((0..120usize, 0..120usize), 0..200),
            admitted in prop::collection::vec(prop::bool::weighted(0.2), 121),
            refused in prop::collection::vec(prop::bool::weighted(0.3), 121),
            at in 0.0..120.0f32,
        ) {
            // A tree, with edges in both directions, and others.
            let mut line = Line { edges: vec![Vec::new(); parents.len() + 1] };
            let count = line.edges.len();
            for (child, parent) in parents.iter().enumerate() {
                let (child, parent) = (child + 1, parent.index(child + 1));
                line.edges[child].push(parent as u32);
                line.edges[parent].push(child as u32);
            }
            for (a, b) in edges {
                line.edges[a % count].push((b % count) as u32);
            }
            let admits = |slot: u32| admitted[slot as usize];
            let predicate = |slot: u32| !refused[slot as usize];
            let all: Vec<u32> = (0..count as u32).filter(|slot| admits(*slot)).collect();
            let budget = Budget { admitted: all.len(), ..FREE };
            let sorted = |slots: Option<Vec<u32>>| {
                let mut slots = slots.unwrap();
                slots.sort_unstable();
                slots
            };
            let (walked, _) = found(&line, (at, 200), &[], admits, ALL, &budget);
            prop_assert_eq!(sorted(walked), all.clone());
            let (walked, asked) = found(&line, (at, 200), &[], admits, Some(predicate), &budget);
            let passing: Vec<u32> = all.into_iter().filter(|slot| predicate(*slot)).collect();
            prop_assert_eq!(sorted(walked), passing);
            prop_assert!(asked.into_iter().all(admits));
        }
    }
}
