//! The path by hashes: compares the items whose hashes are likely for a neighbor of the query.
//!
//! A search keeps a promise: each true neighbor is found with at least the probability that the
//! query asks for as its recall. The set of hashes that keeps it for neighbors at some distance is
//! known before any table is read (`lsh/odds.rs` of the kernels). The distance is that of the
//! `k`-th result, which is not known:
//!
//! 1. The likeliest items of the pieces that the query itself would be in give a distance that is
//!    too large.
//! 2. For that distance, the promise gives a limit, up to which all tables are sifted. How likely
//!    each hash is ranks the items that are found.
//! 3. They are compared in the order of their ranks, in growing batches. After each, the distance
//!    of the `k`-th result is smaller; the search ends when what has been compared keeps the
//!    promise for it.
//!
//! Where that would cost more than an exact answer, or finds too few results, the exact way
//! answers; the strategy of the answer says so.

use std::borrow::Cow;

use voisin_kernels::lsh::{Odds, Point, Reach, STEPS, sift};

use crate::distance::{Form, prefetch};
use crate::error::Result;
use crate::flat::Slots;
use crate::format::meta::Meta;
use crate::kinds::lsh::format::{Piece, Position, REGIONS};
use crate::kinds::lsh::section::tables::{Found as FoundPiece, HashTables};
use crate::kinds::lsh::section::training::{has_tables, part};
use crate::search::paths::{AccessPath, CandidateList, Flat};
use crate::search::{Search, Strategy};
use crate::store::prepared_query::PreparedQuery;
use crate::store::source::Source;
use crate::top_k::{Found, TopK};
use crate::types::{IndexKind, Slot};

/// The promise of a search that asks for no recall.
const USUAL_PROMISE: f64 = 0.95;
/// The number of items that give the first distance, and of each result that is wanted.
const FIRST_ITEMS: usize = 256;
const FIRST_ITEMS_PER_RESULT: usize = 4;
/// Where results are too few to tell a distance, the square of the first one that is assumed,
/// relative to that of the query from the center, by what it grows, and up to where: hashes tell
/// nothing of vectors at right angles to the query.
const ASSUMED_SQUARE: f64 = 1.0;
const ASSUMED_GROWTH: f64 = 1.25;
const MOST_ASSUMED_SQUARE: f64 = 2.0;
/// The items of the first batch; each has twice as many as the one before.
const BATCH: usize = 256;
/// The odds are computed anew where the square of the distance has become smaller by this factor.
const NEARER: f64 = 0.98;
/// A search compares at most one in this many of the items that may be results: from there on, a
/// scan of all in order is faster.
const MOST_DIVISOR: usize = 3;
/// The costs of preparing a query, of reading a piece, and of an entry of it, in nanoseconds.
const QUERY_NS: f64 = 300_000.0;
const PIECE_NS: f64 = 60.0;
const ENTRY_NS: f64 = 0.5;
/// The fraction of its entries that a search usually sifts, and that of the items that it compares
/// (decision 0056).
const USUAL_SIFTED: f64 = 0.5;
const USUAL_COMPARED: f64 = 0.02;
/// The mean number of entries of a piece.
const USUAL_ENTRIES: f64 = 80.0;
/// Pieces are fetched this many ahead.
const AHEAD: usize = 8;
/// The number of pieces between two looks at the clock: some 50 microseconds.
const CHECKED_PIECES: usize = 512;

/// Searches the tables of hashes.
pub(crate) struct HashPath;

impl AccessPath for HashPath {
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
        let tables = f64::from(part(0, meta).ok()??.tables);
        let entries = f64::from(meta.items) * tables * USUAL_SIFTED;
        let compared = rows * USUAL_COMPARED * search.costs().scattered_row;
        Some(QUERY_NS + sifting_ns(entries / USUAL_ENTRIES, entries) + compared)
    }

    fn search(&self, search: &Search<'_, '_, '_, '_>, k: usize) -> Result<Vec<(Strategy, Found)>> {
        let Some(tables) = search.view.hash_tables()? else { return exact(search, k) };
        let Search { view, context, queries } = *search;
        let mut answers = Vec::with_capacity(queries.len());
        for query in queries {
            let one = Search { view, queries: std::slice::from_ref(query), context };
            let mut probing = Probing::new(&one, tables, query, k);
            let is_kept = probing.run()?;
            let found = probing.found;
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

/// The cost of sifting pieces.
fn sifting_ns(pieces: f64, entries: f64) -> f64 {
    pieces * PIECE_NS + entries * ENTRY_NS
}

/// The path that answers where hashes do not.
fn exact_path(search: &Search<'_, '_, '_, '_>) -> &'static dyn AccessPath {
    match search.context.selection.only() {
        Some(_) => &CandidateList,
        None => &Flat,
    }
}

fn exact(search: &Search<'_, '_, '_, '_>, k: usize) -> Result<Vec<(Strategy, Found)>> {
    exact_path(search).search(search, k)
}

/// A query.
type Prepared<'q, 'v, 's, 't> = PreparedQuery<'q, 's, 't, &'v (dyn Source<'t> + 'v)>;

/// A piece that is to be read: its table, and the steps that are left to its hashes.
type Likely<'t> = (usize, u8, FoundPiece<'t>);

/// A search for one query.
struct Probing<'a, 'q, 'v, 's, 't> {
    search: &'a Search<'q, 'v, 's, 't>,
    tables: &'s HashTables<'t>,
    query: &'a Prepared<'q, 'v, 's, 't>,
    k: usize,
    /// What has been found, compared or not; the number of pieces that have been read is that of
    /// its lists.
    found: Found,
    /// The slots that have been compared, or that are no results.
    seen: Vec<u64>,
    /// The number of slots that have been compared, and the most that may be.
    compared: usize,
    most: usize,
    /// The slots that are to be compared, by the steps of their hashes.
    ranked: Vec<Vec<u32>>,
    hits: Vec<(u8, u32)>,
}

impl<'a, 'q, 'v, 's, 't> Probing<'a, 'q, 'v, 's, 't> {
    fn new(
        search: &'a Search<'q, 'v, 's, 't>,
        tables: &'s HashTables<'t>,
        query: &'a Prepared<'q, 'v, 's, 't>,
        k: usize,
    ) -> Self {
        let (possible, slots) = (search.context.selection.len(), search.view.snapshot.meta.slots);
        let found = Found::nothing(search.context.request.wanted(k), query.resolution());
        Self {
            search,
            tables,
            query,
            k,
            found,
            seen: vec![0; slots as usize / 64 + 1],
            compared: 0,
            most: possible / MOST_DIVISOR,
            ranked: vec![Vec::new(); STEPS],
            hits: Vec::new(),
        }
    }

    /// Searches. Returns whether the promise is kept: else what was found is of no use.
    fn run(&mut self) -> Result<bool> {
        let Search { view, context, .. } = *self.search;
        let (vector, factor) = self.query.prepared();
        let dimensions = view.snapshot.meta.dimensions as usize;
        let point =
            self.tables.hasher.query(&view.snapshot.metric.coded(vector, factor, dimensions));
        let promise = context.request.recall.unwrap_or(USUAL_PROMISE);
        let own = point.square().max(f64::MIN_POSITIVE);
        self.compare_first(&point.chances(own).odds())?;
        let mut square = self.farthest().unwrap_or(own * ASSUMED_SQUARE);
        while !context.did_cancel() {
            let chances = point.chances(square);
            let odds = chances.odds();
            let reach = odds.reach(&chances);
            let Some(limit) = reach.limit(promise) else { return Ok(false) };
            if !self.rank(&odds, limit)? {
                return Ok(false);
            }
            let (point, odds, reach) = (&point, &odds, &reach);
            self.compare(&Ranks { point, odds, reach, limit, square, promise })?;
            match self.farthest() {
                // The limit was chosen for neighbors that are no nearer than these.
                Some(known) if known <= square * (1.0 + 1e-6) => return Ok(true),
                Some(known) => square = known,
                None if square >= own * MOST_ASSUMED_SQUARE => return Ok(false),
                None => square *= ASSUMED_GROWTH,
            }
        }
        Ok(true)
    }

    /// The square of the distance of the farthest result that a search keeps, and not of none.
    /// `None` while it keeps any.
    fn farthest(&self) -> Option<f64> {
        let square = farthest(&self.found.top_k, self.search.view.snapshot.metric.form)?;
        Some(square.max(f64::MIN_POSITIVE))
    }

    /// Compares the likeliest items of the pieces that the query itself would be in.
    fn compare_first(&mut self, odds: &Odds) -> Result<()> {
        let mut likely = Vec::new();
        for table in 0..self.tables.hasher.tables() {
            let own = Position::of_hash(odds.best(table));
            let pieces = self.search.view.hash_pieces(self.tables, table, own.region())?;
            let after = pieces.partition_point(|(first, _)| *first <= own);
            let Some(found) = after.checked_sub(1).and_then(|at| pieces.get(at)) else { continue };
            let piece = self.sift(odds, table, *found, u8::MAX)?;
            let rank = |(steps, slot)| (odds.base(table) + usize::from(steps), slot);
            likely.extend(slots(&self.hits, piece).map(rank));
        }
        likely.sort_unstable();
        let most = FIRST_ITEMS.max(FIRST_ITEMS_PER_RESULT * self.k).min(self.most);
        let mut batch = Vec::with_capacity(most);
        for (_, slot) in likely {
            if batch.len() < most && self.is_new(slot) {
                batch.push(slot);
            }
        }
        self.scan(batch)
    }

    /// Finds all hashes up to a limit, and ranks the items that they are of, which have not been
    /// compared yet. `false` if that costs more than an exact answer.
    fn rank(&mut self, odds: &Odds, limit: usize) -> Result<bool> {
        let mut pieces: Vec<Likely<'t>> = Vec::new();
        for table in 0..self.tables.hasher.tables() {
            let Some(left) = odds.left(table, limit) else { continue };
            for region in 0..REGIONS {
                if odds.digits(table)[0][region] <= left {
                    let of_region = self.search.view.hash_pieces(self.tables, table, region)?;
                    likely(odds, table, left, &of_region, &mut pieces);
                }
            }
        }
        let entries: usize = pieces.iter().map(|(_, _, (_, value))| value.len() / 8).sum();
        let cost = sifting_ns(pieces.len() as f64, entries as f64);
        if exact_path(self.search).cost_ns(self.search, self.k).is_some_and(|exact| cost > exact) {
            return Ok(false);
        }
        let mut ranked = 0;
        for (nth, (table, left, piece)) in pieces.iter().enumerate() {
            if let Some((_, _, (_, value))) = pieces.get(nth + AHEAD) {
                prefetch(value);
            }
            if nth % CHECKED_PIECES == 0 && self.search.context.stop() {
                break;
            }
            ranked += self.rank_piece(odds, *table, *left, *piece)?;
            if self.compared + ranked > self.most {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ranks the items of a piece. Returns how many there are.
    fn rank_piece(
        &mut self,
        odds: &Odds,
        table: usize,
        left: u8,
        found: FoundPiece<'t>,
    ) -> Result<usize> {
        let piece = self.sift(odds, table, found, left)?;
        for (steps, slot) in slots(&self.hits, piece) {
            if let Some(ranked) = self.ranked.get_mut(odds.base(table) + usize::from(steps)) {
                ranked.push(slot);
            }
        }
        Ok(self.hits.len())
    }

    /// Reads a piece, and leaves the steps and the numbers of its likely entries in `hits`: those
    /// whose digits have at most the steps that are `left`.
    fn sift(
        &mut self,
        odds: &Odds,
        table: usize,
        found: FoundPiece<'t>,
        left: u8,
    ) -> Result<Piece<'t>> {
        self.found.lists += 1;
        let piece = self.search.view.hash_piece(table, found)?;
        self.hits.clear();
        if let [first, others @ ..] = odds.digits(table)
            && let Some(first) = first.get(piece.region)
            && let Some(left) = left.checked_sub(*first)
        {
            sift(others, piece.planes, left, &mut self.hits);
            self.hits.iter_mut().for_each(|(steps, _)| *steps = steps.saturating_add(*first));
        }
        Ok(piece)
    }

    /// Compares ranked items, the likeliest first, until what has been compared keeps the promise.
    /// The ranks up to `limit` keep it for neighbors at a distance whose square is `square`.
    fn compare(&mut self, ranks: &Ranks<'_>) -> Result<()> {
        let Ranks { point, odds, limit, square, promise, .. } = *ranks;
        let (mut batch, mut wanted) = (Vec::new(), BATCH);
        let (mut square, mut reach) = (square, Cow::Borrowed(ranks.reach));
        for steps in 0..=limit {
            for slot in self.ranked.get_mut(steps).map(std::mem::take).unwrap_or_default() {
                if self.is_new(slot) {
                    batch.push(slot);
                }
            }
            if batch.len() >= wanted {
                wanted *= 2;
                self.scan(std::mem::take(&mut batch))?;
                if let Some(known) = self.farthest().filter(|known| *known < NEARER * square) {
                    square = known;
                    reach = Cow::Owned(odds.reach(&point.chances(square)));
                }
            }
            if reach.miss(steps) <= 1.0 - promise || self.search.context.did_cancel() {
                break;
            }
        }
        self.ranked.iter_mut().for_each(Vec::clear);
        self.scan(batch)
    }

    /// Compares slots.
    fn scan(&mut self, mut slots: Vec<u32>) -> Result<()> {
        slots.sort_unstable();
        self.compared += slots.len();
        if let Some(new) = self.search.scan(self.k, Slots::Only(&slots))?.pop() {
            let nothing =
                Found::nothing(self.search.context.request.wanted(self.k), self.query.resolution());
            let before = std::mem::replace(&mut self.found, nothing);
            let lists = before.lists;
            self.found = before.merge(self.query, new)?;
            self.found.lists = lists;
        }
        Ok(())
    }

    /// Notes a slot. Whether it may be a result and has not been noted before.
    fn is_new(&mut self, slot: u32) -> bool {
        // A slot that does not exist is damage, which `check` reports.
        let Some(word) = self.seen.get_mut(slot as usize / 64) else { return false };
        let bit = 1 << (slot % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
            && slot < self.search.view.snapshot.meta.slots
            && self.search.context.selection.admits(Slot(slot))
    }
}

/// How the items of a search are ranked.
struct Ranks<'a> {
    point: &'a Point,
    odds: &'a Odds,
    reach: &'a Reach,
    limit: usize,
    square: f64,
    promise: f64,
}

/// The steps and the slots of entries of a piece, given by their numbers.
fn slots<'t>(hits: &[(u8, u32)], piece: Piece<'t>) -> impl Iterator<Item = (u8, u32)> {
    hits.iter().filter_map(move |(steps, at)| {
        Some((*steps, u32::from_le_bytes(*piece.slots.get(*at as usize)?)))
    })
}

/// Adds those pieces of a region in which a hash may have at most the steps that are `left`.
fn likely<'t>(
    odds: &Odds,
    table: usize,
    left: u8,
    pieces: &[FoundPiece<'t>],
    found: &mut Vec<Likely<'t>>,
) {
    for (nth, (first, value)) in pieces.iter().enumerate() {
        let last = match pieces.get(nth + 1) {
            Some((next, _)) => next.before(),
            None => first.last_of_region(),
        };
        if odds.least(table, first.hash(), last.hash()) <= usize::from(left) {
            found.push((table, left, (*first, value)));
        }
    }
}

/// The square of the distance of the farthest result that a search keeps. `None` while it keeps
/// any.
fn farthest(top_k: &TopK, form: Form) -> Option<f64> {
    let distance = f64::from(top_k.limit()?).max(0.0);
    Some(if form == Form::Cosine { 4.0 * distance } else { distance })
}
