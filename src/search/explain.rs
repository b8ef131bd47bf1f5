//! One search, explained: the ways to answer it, what each was estimated to cost, and what it cost.

use std::fmt;
use std::time::{Duration, Instant};

use super::paths::{AccessPath, Graph, PATHS};
use super::{AnyView, Request, Search, SearchContext, Searched, Strategy, begin};
use crate::codec::Components;
use crate::error::Result;
use crate::top_k::Found;
use crate::types::ItemId;

/// How a query is answered: see [`Query::explain`](crate::Query::explain). Displayed as a table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Explanation<I = ItemId> {
    /// The answer.
    pub answer: Searched<I>,
    /// The number of items that may be results, as far as no predicate is asked.
    pub possible: u64,
    /// `ef_search`, as set or as it follows from a goal of [`recall`](crate::Query::recall).
    pub ef_search: usize,
    /// The goal of recall.
    pub recall: Option<f64>,
    /// The time that it took to look candidates, exclusions and prefixes up. A search does that for
    /// candidates given by many ids only if a first walk of the graph does not find the answer.
    pub resolved_in: Duration,
    /// The ways to answer, the chosen one first.
    pub ways: Vec<Way>,
}

/// A way to answer a query, which was taken alone.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Way {
    /// The access path.
    pub strategy: Strategy,
    /// Whether a search takes this way.
    pub is_chosen: bool,
    /// Whether it has turned out to cost more than an exact answer, which was given instead, at
    /// the cost of both.
    pub changed_over: bool,
    /// The cost that the planner has estimated, on the machine of its cost model. `None` within a
    /// radius, where it decides on the way.
    pub estimated: Option<Duration>,
    /// The time that it took.
    pub took: Duration,
    /// The number of neighbor lists read.
    pub lists: u64,
    /// The number of distances computed, not counting those computed again in `f64`.
    pub distances: u64,
    /// The number of distances estimated from codes.
    pub estimates: u64,
    /// The number of pages read from disk, or asked for because they were not believed to be in
    /// memory; 0 where the system does not tell.
    pub pages: u64,
}

/// Explains a search for the items nearest to a vector.
pub(crate) fn explain(
    view: AnyView<'_, '_, '_>,
    request: Request<'_>,
    vector: Components<'_>,
) -> Result<Explanation> {
    begin(view, &request, |view| {
        let query = view.query(vector)?;
        let began = Instant::now();
        let context = SearchContext::new(view, request, None)?;
        let resolved_in = began.elapsed();
        let search = Search { view, queries: &[query], context: &context };
        let (answer, ways) = search.explained()?;
        let (possible, request) = (context.selection.len() as u64, context.request);
        let Request { ef_search, recall, .. } = request;
        Ok(Explanation { answer, possible, ef_search, recall, resolved_in, ways })
    })
}

impl Search<'_, '_, '_, '_> {
    fn explained(&self) -> Result<(Searched, Vec<Way>)> {
        let k = self.context.request.k.min(self.context.selection.len());
        if k == 0 || self.context.request.within.is_some() {
            let (mut answers, took, pages) = self.timed(Self::run)?;
            // One query has one answer.
            let answer = answers.swap_remove(0);
            let way = Way {
                strategy: answer.strategy,
                is_chosen: true,
                changed_over: false,
                estimated: None,
                took,
                lists: answer.lists,
                distances: answer.distances,
                estimates: answer.estimates,
                pages,
            };
            return Ok((answer, vec![way]));
        }
        let (glanced, glance_took, glance_pages) = self.timed(Self::glance)?;
        let mut glanced = glanced.and_then(|mut glanced| glanced.pop());
        let is_found = glanced.as_ref().is_some_and(|(_, is_answer)| *is_answer);
        let chosen = if is_found { &Graph } else { self.cheapest(k) };
        let mut paths = vec![chosen];
        paths.extend(PATHS.iter().filter(|path| path.strategy() != chosen.strategy()));
        let (mut answer, mut ways) = (None, Vec::new());
        for path in paths {
            let is_chosen = ways.is_empty();
            let Some(cost) = path.cost_ns(self, k) else { continue };
            let (strategy, found, took, pages) = match glanced.take() {
                Some((found, true)) => (path.strategy(), found, glance_took, glance_pages),
                Some((glanced, false)) => {
                    let (strategy, mut found, took, pages) = self.taken(path, k)?;
                    found.add_cost_of(&glanced);
                    (strategy, found, took + glance_took, pages + glance_pages)
                }
                None => self.taken(path, k)?,
            };
            ways.push(Way {
                strategy: path.strategy(),
                is_chosen,
                changed_over: strategy != path.strategy(),
                estimated: Some(Duration::from_nanos(cost as u64)),
                took,
                lists: found.lists,
                distances: found.distances,
                estimates: found.estimates,
                pages,
            });
            if is_chosen {
                answer = Some(self.answer(&self.queries[0], found, strategy)?);
            }
            if self.context.did_cancel() {
                break;
            }
        }
        // The chosen way can answer.
        Ok((answer.unwrap_or_else(Searched::empty), ways))
    }

    /// Takes a way, and tells what that has cost.
    fn taken(&self, path: &dyn AccessPath, k: usize) -> Result<(Strategy, Found, Duration, u64)> {
        let (mut found, took, pages) = self.timed(|search| path.search(search, k))?;
        // One query has one answer.
        let (strategy, found) = found.swap_remove(0);
        Ok((strategy, found, took, pages))
    }

    /// Does something, and tells how long that took, and how many pages were read.
    fn timed<T>(&self, work: impl FnOnce(&Self) -> Result<T>) -> Result<(T, Duration, u64)> {
        let snapshot = self.view.snapshot;
        let (began, before) = (Instant::now(), snapshot.pages_read());
        let done = work(self)?;
        Ok((done, began.elapsed(), snapshot.pages_read().saturating_sub(before)))
    }
}

impl<I> Explanation<I> {
    /// The same with an answer by other names.
    pub(crate) fn with_answer<J>(self, answer: Searched<J>) -> Explanation<J> {
        let Self { possible, ef_search, recall, resolved_in, ways, .. } = self;
        Explanation { answer, possible, ef_search, recall, resolved_in, ways }
    }
}

impl<I> fmt::Display for Explanation<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |time: Duration| 1e6 * time.as_secs_f64();
        write!(
            f,
            "{} results, of {} items that may be, which took {:.1} us to look up; ef_search {}",
            self.answer.nns.len(),
            self.possible,
            micros(self.resolved_in),
            self.ef_search
        )?;
        if let Some(recall) = self.recall {
            write!(f, " for a recall of {recall}")?;
        }
        write!(
            f,
            "\n{:<12} {:>12} {:>12} {:>8} {:>10} {:>10} {:>8}",
            "way", "estimated us", "took us", "lists", "distances", "estimates", "pages"
        )?;
        for way in &self.ways {
            let estimated = way.estimated.map_or("-".into(), |time| format!("{:.1}", micros(time)));
            write!(
                f,
                "\n{:<12} {estimated:>12} {:>12.1} {:>8} {:>10} {:>10} {:>8}",
                format!("{:?}", way.strategy),
                micros(way.took),
                way.lists,
                way.distances,
                way.estimates,
                way.pages
            )?;
            match (way.is_chosen, way.changed_over) {
                (true, false) => write!(f, "  chosen")?,
                (true, true) => write!(f, "  chosen, and went over to a scan")?,
                (false, true) => write!(f, "  went over to a scan")?,
                (false, false) => {}
            }
        }
        Ok(())
    }
}
