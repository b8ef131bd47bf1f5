//! Builds with a budget of memory, in a group that has little more, beside one without: the time,
//! and the recall at equal settings.
//!
//! The vectors that a build is given are in the page cache before, and belong to no group: a
//! program may have them from anywhere.

use std::fs;

use serde::{Deserialize, Serialize};
use voisin_bench::compare::plan::THREADS;
use voisin_bench::compare::protocol::Request;

use crate::cache::Cache;
use crate::cell;
use crate::cgroup::Cgroup;
use crate::counters::Counters;
use crate::indexes::Place;
use crate::kills::{self, Killed};
use crate::pages;
use crate::sets::Judge;

/// Of the raw vectors.
const BUDGET_PERCENT: u64 = 25;
/// What the group has, of the budget.
const GROUP_PERCENT: u64 = 110;

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Building {
    pub(crate) set: String,
    pub(crate) engine: String,
    pub(crate) budget_bytes: u64,
    pub(crate) limit_bytes: u64,
    pub(crate) free: Build,
    /// Or why there is none.
    pub(crate) within: Result<Build, String>,
    pub(crate) settings: Vec<Setting>,
    /// The build within the budget once more, killed again and again, if that was asked for.
    pub(crate) killed: Option<Killed>,
}

/// One build.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Build {
    pub(crate) seconds: f64,
    pub(crate) file_bytes: u64,
    pub(crate) read_bytes: u64,
    /// The most memory of the group, page cache included.
    pub(crate) peak_bytes: Option<u64>,
}

/// A setting, and the recall of the index that was built without a budget and of that with it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Setting {
    pub(crate) knob: usize,
    pub(crate) free_recall: f64,
    pub(crate) recall: f64,
}

impl Building {
    /// How many points of recall the budget costs, at the worst setting.
    pub(crate) fn lost_points(&self) -> Option<f64> {
        let lost = |setting: &Setting| 100.0 * (setting.free_recall - setting.recall);
        self.settings.iter().map(lost).reduce(f64::max)
    }
}

/// Builds twice, one after the other, as times of different hours say more about the machine.
///
/// # Errors
/// Those of [`Cgroup::new`].
pub(crate) fn measure(
    place: &Place<'_>,
    cache: &Cache,
    recalls: &[f64],
    kills: usize,
) -> Result<Building, String> {
    let raw_bytes = (place.set.rows * place.set.dimensions * 4) as u64;
    let budget_bytes = raw_bytes / 100 * BUDGET_PERCENT;
    let limit_bytes = budget_bytes / 100 * GROUP_PERCENT;
    println!(
        "{}, {}: building without a budget, and with {} MB",
        place.set.name,
        place.spec.name,
        budget_bytes / 1_000_000
    );
    let free = build(place, "free", None)?.map_err(|why| format!("a build: {why}"))?;
    println!("  {:.0} s without", free.seconds);
    let within = build(place, "within", Some([budget_bytes, limit_bytes]))?;
    match &within {
        Ok(build) => println!("  {:.0} s within the budget", build.seconds),
        Err(why) => println!("  {why}"),
    }
    let killed = match &within {
        Ok(build) if kills > 0 => {
            let whole = place.scratch.join("within");
            Some(kills::measure(
                place,
                [budget_bytes, limit_bytes],
                kills,
                (&whole, build.seconds),
            )?)
        }
        _ => None,
    };
    killed.iter().for_each(|killed| println!("  {killed:?}"));
    let mut settings = Vec::new();
    if within.is_ok() {
        let judge = place.set.truth(cache);
        let built = place.build(cache);
        let knobs: Vec<usize> = recalls
            .iter()
            .filter_map(|recall| Some(place.knob(cache, &built, &judge, *recall)?.knob))
            .collect();
        let [free, within] = ["free", "within"].map(|name| recalls_of(place, name, &judge, &knobs));
        let all = knobs.into_iter().zip(free.into_iter().zip(within));
        settings.extend(all.map(|(knob, (free_recall, recall))| Setting {
            knob,
            free_recall,
            recall,
        }));
    }
    for name in ["free", "within"] {
        fs::remove_dir_all(place.scratch.join(name)).expect("to remove an index");
    }
    let (set, engine) = (place.set.name.clone(), place.spec.name.to_owned());
    Ok(Building { set, engine, budget_bytes, limit_bytes, free, within, settings, killed })
}

/// The inner error is that the group is too small.
fn build(
    place: &Place<'_>,
    name: &str,
    limits: Option<[u64; 2]>,
) -> Result<Result<Build, String>, String> {
    let folder = place.scratch.join(name);
    fs::create_dir_all(&folder).expect("a folder");
    pages::fill(&[place.set.base_file()]);
    let group = limits.map(|[_, limit]| Cgroup::new(limit)).transpose()?;
    let request =
        limits.map_or(Request::Build, |[memory_bytes, _]| Request::BuildWithin { memory_bytes });
    let mut child = place.start(&folder, THREADS);
    if let Some(group) = &group {
        group.join(child.id());
    }
    let before = Counters::of(child.id());
    let reply = match child.try_to_ask(&request) {
        Ok(reply) => reply,
        Err(_) if group.as_ref().is_some_and(Cgroup::has_killed) => {
            return Ok(Err("killed: its own memory exceeds the group's".to_owned()));
        }
        Err(why) => return Err(why),
    };
    let read_bytes = (Counters::of(child.id()) - before).read_bytes;
    drop(child);
    let peak_bytes = group.as_ref().and_then(Cgroup::peak_bytes);
    let file_bytes = pages::bytes_in(&folder);
    Ok(Ok(Build { seconds: reply.seconds, file_bytes, read_bytes, peak_bytes }))
}

fn recalls_of(place: &Place<'_>, name: &str, judge: &Judge, knobs: &[usize]) -> Vec<f64> {
    let mut child = place.start(&place.scratch.join(name), 1);
    child.ask(&Request::Ready { memory_bytes: None });
    let recall =
        |knob: &usize| cell::recall_in_memory(&mut child, place.scratch, judge, *knob, THREADS);
    knobs.iter().map(recall).collect()
}
