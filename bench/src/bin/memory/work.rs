//! The measurements of a run, one after the other, and how long they take.

use std::time::{Duration, Instant};

use crate::asked::Asked;
use crate::cache::Cache;
use crate::cell::{self, Wanted};
use crate::indexes::Place;
use crate::plan::{Memory, RECALL, longest_seconds};
use crate::results::{Cell, Failed, Outcome};

/// See the module.
pub(crate) struct Work<'a> {
    asked: &'a Asked,
    cache: &'a Cache,
    pub(crate) cells: Vec<Cell>,
    pub(crate) failed: Vec<Failed>,
    /// The measurements that are left, and those that were made.
    left: usize,
    made: usize,
    began: Instant,
    building: Duration,
}

impl<'a> Work<'a> {
    /// Says how long it takes at most.
    pub(crate) fn announce(asked: &'a Asked, cache: &'a Cache, places: &[Place<'_>]) -> Self {
        let mut seconds = 0.0;
        let (mut left, mut builds) = (0, 0);
        for place in places {
            let missing: Vec<_> =
                wanted(asked).filter(|what| is_missing(asked, cache, place, what)).collect();
            if !missing.is_empty() && place.built(cache).is_none() {
                builds += 1;
                let million = (place.set.rows * place.set.dimensions) as f64 / 384e6;
                seconds += million * place.spec.build_seconds;
            }
            left += missing.len();
            seconds +=
                missing.iter().map(|(recall, _)| longest_seconds(is_shared(*recall))).sum::<f64>();
        }
        println!(
            "{left} measurements, and {builds} builds before: about {} at most",
            minutes(seconds)
        );
        let (began, building) = (Instant::now(), Duration::ZERO);
        Self { asked, cache, cells: Vec::new(), failed: Vec::new(), left, made: 0, began, building }
    }

    /// All measurements of an engine on a set.
    ///
    /// # Errors
    /// Those of [`cell::measure`].
    pub(crate) fn measure_all(&mut self, place: &Place<'_>) -> Result<(), String> {
        let is_any_missing =
            wanted(self.asked).any(|what| is_missing(self.asked, self.cache, place, &what));
        if !is_any_missing {
            for what in wanted(self.asked) {
                self.cache.read(&name(place, &what)).into_iter().for_each(|found| self.take(found));
            }
            return Ok(());
        }
        let start = Instant::now();
        let judge = place.set.truth(self.cache);
        let built = place.build(self.cache);
        self.building += start.elapsed();
        for what @ (recall, memory) in wanted(self.asked) {
            if !is_missing(self.asked, self.cache, place, &what) {
                self.cache.read(&name(place, &what)).into_iter().for_each(|found| self.take(found));
                continue;
            }
            self.left = self.left.saturating_sub(1);
            let Some(knob) = place.knob(self.cache, &built, &judge, recall) else { continue };
            let is_shared = is_shared(recall);
            let knob = knob.knob;
            let outcome = cell::measure(&Wanted {
                place,
                built: &built,
                judge: &judge,
                recall,
                knob,
                memory,
                is_shared,
            })?;
            self.cache.write(&name(place, &what), &outcome);
            self.made += 1;
            match &outcome {
                Outcome::Measured(cell) => self.tell(cell),
                Outcome::Failed(Failed { set, engine, memory, why, .. }) => {
                    println!("  {set}, {engine}, memory {memory}: {why}")
                }
            }
            self.take(outcome);
        }
        if self.asked.is_tidy {
            place.remove(&built);
        }
        Ok(())
    }

    fn take(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Measured(cell) => self.cells.push(*cell),
            Outcome::Failed(failed) => self.failed.push(failed),
        }
    }

    fn tell(&self, cell: &Cell) {
        let took = self.began.elapsed().saturating_sub(self.building).as_secs_f64();
        let steady = &cell.steady;
        println!(
            "  {}, {}, recall {:.2} ({:.4}), memory {}: p50 {:.3} ms, p99 {:.2}, {:.1} pages, \
             {:.1} faults, {:.0} and {:.0} q/s; about {} left",
            cell.set,
            cell.engine,
            cell.recall,
            cell.found_recall,
            cell.memory,
            steady.p50_ms,
            steady.p99_ms,
            steady.pages,
            steady.major_faults,
            steady.qps,
            cell.steady_on_two.qps,
            minutes(took / self.made as f64 * self.left as f64)
        );
    }
}

/// Which engines do not reach which recall.
pub(crate) fn unreached(asked: &Asked, cache: &Cache, places: &[Place<'_>]) -> Vec<String> {
    let lines = places.iter().flat_map(|place| {
        let missed = asked.recalls.iter().filter(|recall| place.is_unreachable(cache, **recall));
        let [_, most] = place.spec.knobs;
        missed.map(move |recall| {
            format!(
                "{}: {} does not reach a recall of {recall:.2} with {} {most}.",
                place.set.name, place.spec.name, place.spec.knob
            )
        })
    });
    lines.collect()
}

/// The recalls and the memories that are asked for.
fn wanted(asked: &Asked) -> impl Iterator<Item = (f64, Memory)> {
    let recalls = asked.recalls.iter();
    recalls.flat_map(|recall| asked.memories.iter().map(|memory| (*recall, *memory)))
}

fn name(place: &Place<'_>, (recall, memory): &(f64, Memory)) -> String {
    let memory = match memory {
        Memory::All => "all".to_owned(),
        Memory::Percent(percent) => percent.to_string(),
    };
    place.name(&format!("cell-{:02.0}-{memory}", 100.0 * recall))
}

/// Whether several processes are measured at this recall.
fn is_shared(recall: f64) -> bool {
    recall == RECALL
}

fn is_missing(asked: &Asked, cache: &Cache, place: &Place<'_>, what: &(f64, Memory)) -> bool {
    let is_found = cache.read::<Outcome>(&name(place, what)).is_some();
    (asked.is_fresh || !is_found) && !place.is_unreachable(cache, what.0)
}

fn minutes(seconds: f64) -> String {
    let minutes = (seconds / 60.0).ceil() as u64;
    if minutes < 90 {
        format!("{minutes} minutes")
    } else {
        format!("{:.1} hours", seconds / 3600.0)
    }
}
