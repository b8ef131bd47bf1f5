//! The path by hashes: compares the items whose hashes are likely for a neighbor of the query.
//!
//! A search keeps a promise: each true neighbor is found with at least the probability that the
//! query asks for as its recall. The set of hashes that keeps it for neighbors at some distance is
//! known before any table is read (`lsh/odds.rs` of the kernels). The distance is that of the
//! `k`-th result, which is not known: a first, small set gives a distance that is too large, a
//! second one a better one, and the last set keeps the promise for all neighbors up to there. All
//! that the sets have in common is compared once.
//!
//! Where hashes would cost more than an exact answer, or find too few results, the exact way
//! answers; the strategy of the answer says so.

use super::{AccessPath, CandidateList, Flat};
use crate::distance::Form;
use crate::error::Result;
use crate::flat::Slots;
use crate::format::lsh::{Content, DIGITS, Node};
use crate::format::meta::Meta;
use crate::lsh::{Odds, VALUES};
use crate::search::{AnyView, Search, Strategy};
use crate::store::prepared_query::PreparedQuery;
use crate::store::sections::lsh::tables::HashTables;
use crate::store::sections::lsh::training::has_tables;
use crate::store::source::Source;
use crate::top_k::{Found, TopK};
use crate::types::{IndexKind, Slot};

/// The promise of a search that asks for no recall.
const USUAL_PROMISE: f64 = 0.95;
/// The promises of the first sets, of which the promise of the search may be the smallest.
const FIRST_PROMISES: [f64; 2] = [0.2, 0.6];
/// The square of the first distance, relative to that of the query from the center: neighbors are
/// rarely farther.
const FIRST_SQUARE: f64 = 1.0;
/// Where results are too few to tell a distance, it is doubled at most this often.
const MOST_DOUBLED: usize = 8;
/// The number of digits that a search goes by (decision 0056).
const LEVELS: usize = 5;
/// A search compares at most one in this many of the items that may be results: from there on, a
/// scan of all in order is faster.
const MOST_DIVISOR: usize = 3;
/// The cost of preparing a query, and that of looking up a node of a table, in nanoseconds.
const QUERY_NS: f64 = 400_000.0;
const NODE_NS: f64 = 400.0;
/// The number of nodes that a search usually looks up, of the number of items (decision 0056).
const NODE_FRACTION: f64 = 0.15;
/// The fraction of the items that a search usually compares.
const USUAL_FRACTION: f64 = 0.04;

/// Searches the tables of hashes.
pub(crate) struct Lsh;

impl AccessPath for Lsh {
    fn strategy(&self) -> Strategy {
        Strategy::Lsh
    }

    fn kind(&self) -> IndexKind {
        IndexKind::Lsh
    }

    fn is_calibrated(&self, meta: &Meta) -> bool {
        has_tables(meta)
    }

    fn cost_ns(&self, search: &Search<'_, '_, '_, '_>, _k: usize) -> Option<f64> {
        let (rows, meta) = (search.context.selection.len() as f64, &search.view.snapshot.meta);
        let nodes = f64::from(meta.items) * NODE_FRACTION;
        has_tables(meta).then(|| {
            QUERY_NS + nodes * NODE_NS + rows * USUAL_FRACTION * search.costs().scattered_row
        })
    }

    fn search(&self, search: &Search<'_, '_, '_, '_>, k: usize) -> Result<Vec<(Strategy, Found)>> {
        let Some(tables) = search.view.hash_tables()? else { return exact(search, k) };
        let Search { view, context, queries } = *search;
        let mut answers = Vec::with_capacity(queries.len());
        for query in queries {
            let one = Search { view, queries: std::slice::from_ref(query), context };
            let (found, is_kept) = Probing::new(&one, tables, k).run(query)?;
            if is_kept {
                answers.push((self.strategy(), found));
                continue;
            }
            for (strategy, mut scanned) in exact(&one, k)? {
                scanned.add_cost_of(&found);
                answers.push((strategy, scanned));
            }
        }
        Ok(answers)
    }
}

/// Answers by the exact way.
fn exact(search: &Search<'_, '_, '_, '_>, k: usize) -> Result<Vec<(Strategy, Found)>> {
    match search.context.selection.only() {
        Some(_) => CandidateList.search(search, k),
        None => Flat.search(search, k),
    }
}

/// A query.
type Prepared<'q, 'v, 's, 't> = PreparedQuery<'q, 's, 't, &'v (dyn Source<'t> + 'v)>;

/// A search for one query.
struct Probing<'a, 'q, 'v, 's, 't> {
    search: &'a Search<'q, 'v, 's, 't>,
    tables: &'s HashTables<'t>,
    k: usize,
    /// The slots that have been compared, or that are no results.
    seen: Vec<u64>,
    slots: Vec<u32>,
    /// The number of slots that have been compared, and the most that may be.
    compared: usize,
    most: usize,
    nodes: u64,
}

impl<'a, 'q, 'v, 's, 't> Probing<'a, 'q, 'v, 's, 't> {
    fn new(search: &'a Search<'q, 'v, 's, 't>, tables: &'s HashTables<'t>, k: usize) -> Self {
        let (possible, slots) = (search.context.selection.len(), search.view.snapshot.meta.slots);
        let most = possible / MOST_DIVISOR;
        let seen = vec![0; slots as usize / 64 + 1];
        let (slots, compared, nodes) = (Vec::new(), 0, 0);
        Self { search, tables, k, seen, slots, compared, most, nodes }
    }

    /// The results, and whether the promise is kept: else they are of no use.
    fn run(&mut self, query: &Prepared<'q, 'v, 's, 't>) -> Result<(Found, bool)> {
        let Search { view, context, .. } = *self.search;
        let metric = view.snapshot.metric;
        let (vector, factor) = query.prepared();
        let row = metric.coded(vector, factor, view.snapshot.meta.dimensions as usize);
        let point = self.tables.hasher.query(&row);
        let promise = context.request.recall.unwrap_or(USUAL_PROMISE);
        let first = FIRST_PROMISES.into_iter().filter(|first| *first < promise);
        let mut square = (point.square() * FIRST_SQUARE).max(f64::MIN_POSITIVE);
        let wanted = context.request.wanted(self.k);
        let (mut found, mut doubled) = (Found::nothing(wanted, query.resolution()), 0);
        let goals: Vec<f64> = first.chain([promise]).collect();
        let mut step = 0;
        while let Some(goal) = goals.get(step) {
            let odds = point.odds(square, LEVELS);
            let Some(threshold) = odds.threshold(*goal) else { return Ok((found, false)) };
            if !self.collect(&odds, threshold)? {
                return Ok((found, false));
            }
            self.slots.sort_unstable();
            self.compared += self.slots.len();
            if let Some(new) = self.search.scan(self.k, Slots::Only(&self.slots))?.pop() {
                found = found.merge(query, new)?;
            }
            found.lists = self.nodes;
            if context.did_cancel() {
                return Ok((found, true));
            }
            match farthest(&found.top_k, metric.form) {
                // The last set was chosen for neighbors that are no nearer than these.
                Some(known) => {
                    let is_kept = known <= square * (1.0 + 1e-6);
                    step += usize::from(is_kept || step + 1 < goals.len());
                    square = known.max(f64::MIN_POSITIVE);
                }
                None if doubled < MOST_DOUBLED => (square, doubled) = (2.0 * square, doubled + 1),
                None => return Ok((found, false)),
            }
        }
        Ok((found, true))
    }

    /// Collects the slots of all hashes within the threshold that have not been compared yet.
    /// `false` if they are too many.
    fn collect(&mut self, odds: &Odds, threshold: f32) -> Result<bool> {
        self.slots.clear();
        for table in 0..self.tables.hasher.tables() {
            let depth = odds.depth(table, threshold);
            if depth < 0.0 {
                continue;
            }
            for digit in 0..VALUES as u32 {
                let left = depth + odds.digits(table)[0][digit as usize];
                if left >= 0.0 {
                    let node = Node { level: 1, prefix: digit.into() };
                    self.descend(odds, table, node, left)?;
                }
            }
            if self.compared + self.slots.len() > self.most {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Collects the slots below a node; `left` is by how much the likelihood of the other digits
    /// may fall.
    fn descend(&mut self, odds: &Odds, table: usize, node: Node, left: f32) -> Result<()> {
        let view: &AnyView<'v, 's, 't> = self.search.view;
        let digits = odds.digits(table);
        self.nodes += 1;
        match view.hash_node(self.tables, table, node)? {
            None => Ok(()),
            Some(Content::Split(mask)) => {
                for digit in (0..u32::BITS).filter(|digit| mask >> digit & 1 > 0) {
                    let next = digits.get(node.level as usize);
                    let left = left + next.map_or(0.0, |next| next[digit as usize]);
                    if left >= 0.0 {
                        self.descend(odds, table, node.child(digit), left)?;
                    }
                }
                Ok(())
            }
            Some(leaf) => {
                let rest = digits.get(node.level as usize..).unwrap_or_default();
                for entry in leaf.entries() {
                    let mut left = left;
                    for (level, digit) in (node.level + 1..=DIGITS).zip(rest) {
                        left += digit[entry.digit(level) as usize];
                    }
                    if left >= 0.0 {
                        self.take(entry.slot);
                    }
                }
                Ok(())
            }
        }
    }

    /// Notes a slot that may be a result, unless it has been seen.
    fn take(&mut self, slot: u32) {
        // A slot that does not exist is damage, which `check` reports.
        let Some(word) = self.seen.get_mut(slot as usize / 64) else { return };
        let bit = 1 << (slot % 64);
        if *word & bit == 0 {
            *word |= bit;
            let is_slot = slot < self.search.view.snapshot.meta.slots;
            if is_slot && self.search.context.selection.admits(Slot(slot)) {
                self.slots.push(slot);
            }
        }
    }
}

/// The square of the distance of the farthest result that a search keeps. `None` while it keeps
/// any.
fn farthest(top_k: &TopK, form: Form) -> Option<f64> {
    let distance = f64::from(top_k.limit()?).max(0.0);
    Some(if form == Form::Cosine { 4.0 * distance } else { distance })
}
