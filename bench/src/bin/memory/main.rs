//! Measures searches of indexes that are larger than memory: see the README of this crate.
//!
//! Every measurement is made in a process of its own, in a cgroup that limits its memory with the
//! page cache. Whatever was found is kept, so that a stopped run continues. Exits non-zero if a
//! goal is missed.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

#[cfg(not(target_os = "linux"))]
compile_error!("cgroups and the counters of a process are those of Linux");

mod asked;
mod building;
mod cache;
mod cell;
mod cgroup;
mod counters;
mod disk;
mod goals;
mod indexes;
mod kills;
mod model;
mod page;
mod pages;
mod plan;
mod results;
mod sets;
mod work;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use voisin_bench::compare::machine::Machine;
use voisin_bench::compare::plan::Home;
use voisin_bench::compare::{serve, table, venv};

use crate::asked::{Asked, USAGE};
use crate::building::Building;
use crate::cache::Cache;
use crate::cgroup::Cgroup;
use crate::disk::Reading;
use crate::indexes::Place;
use crate::model::{Model, Size};
use crate::plan::{ENGINES, RECALL};
use crate::results::Run;
use crate::sets::Set;
use crate::work::Work;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [verb, engine] = &*arguments
        && verb == "serve"
    {
        serve::serve(engine);
        return ExitCode::SUCCESS;
    }
    if let [disk::ROLE, path, number] = &*arguments.iter().map(String::as_str).collect::<Vec<_>>() {
        disk::play(path, number);
        return ExitCode::SUCCESS;
    }
    let Some(asked) = Asked::parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    match run(&asked) {
        Ok(is_reached) => {
            if is_reached {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all goals were reached.
fn run(asked: &Asked) -> Result<bool, String> {
    let folder = asked.folder.clone().unwrap_or_else(usual_folder);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Cgroup::remove_left();
    // Not after hours of building.
    drop(Cgroup::new(1 << 30)?);
    if asked.is_disk_alone {
        disk::measure(&folder)?;
        return Ok(true);
    }
    let scratch = tempfile::tempdir_in(&folder).expect("a folder");
    let cache = Cache::new(&folder.join("found"));
    let python = match asked.engines.iter().any(|spec| spec.home == Home::Python) {
        true => venv::prepare(&folder),
        false => PathBuf::new(),
    };
    let sets: Vec<Set> = asked
        .sets
        .iter()
        .map(|kind| Set::prepare(kind, asked.items, &asked.data, &folder))
        .collect();
    let places: Vec<Place<'_>> = sets
        .iter()
        .flat_map(|set| asked.engines.iter().map(move |spec| (set, *spec)))
        .map(|(set, spec)| Place::new(spec, set, &python, &folder, scratch.path()))
        .collect();
    let disk = find_disk(asked, &cache, &folder)?;
    let model = match asked.has_model {
        true => Some(make_model(asked, &cache, [&folder, scratch.path()], &disk)?),
        false => None,
    };
    let building = match asked.has_build {
        true => Some(find_building(asked, &cache, [&folder, scratch.path()])?),
        false => None,
    };
    let mut work = Work::announce(asked, &cache, &places);
    for place in &places {
        work.measure_all(place)?;
    }
    let Work { cells, failed, .. } = work;
    let unreached = work::unreached(asked, &cache, &places);
    let mut goals = goals::rows(&cells, &disk);
    goals.extend(building.iter().flat_map(goals::of_building));
    let (command, machine) = (asked.command.clone(), Machine::read());
    let run = Run { command, machine, disk, cells, failed, unreached, model, building, goals };
    let to = match &asked.published {
        Some(name) => Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks").join(name),
        None => folder.join("part"),
    };
    write(&run, &to);
    run.goals.iter().for_each(|row| println!("{}", table::goal(row)));
    let missed = run.goals.iter().filter(|row| !row.is_met()).count();
    println!("{missed} of {} goals missed; written to {}", run.goals.len(), to.display());
    Ok(missed == 0)
}

/// The figures of the disk: once, as measurements are judged by them.
fn find_disk(asked: &Asked, cache: &Cache, folder: &Path) -> Result<Vec<Reading>, String> {
    if let Some(found) = cache.read("disk").filter(|_| !asked.is_fresh) {
        return Ok(found);
    }
    let found = disk::measure(folder)?;
    cache.write("disk", &found);
    Ok(found)
}

/// The builds: once, unless asked to measure again.
fn find_building(
    asked: &Asked,
    cache: &Cache,
    [folder, scratch]: [&Path; 2],
) -> Result<Building, String> {
    let spec = ENGINES.iter().find(|spec| spec.name == model::ENGINE).expect("an engine");
    let set = Set::prepare("glosses", asked.items, &asked.data, folder);
    let place = Place::new(spec, &set, Path::new(""), folder, scratch);
    let name = place.name(&match asked.kills {
        0 => "building".to_owned(),
        kills => format!("building-{kills}-kills"),
    });
    if let Some(found) = cache.read(&name).filter(|_| !asked.is_fresh) {
        return Ok(found);
    }
    let found = building::measure(&place, cache, &asked.recalls, asked.kills)?;
    cache.write(&name, &found);
    Ok(found)
}

/// Measures one engine at several sizes.
fn make_model(
    asked: &Asked,
    cache: &Cache,
    [folder, scratch]: [&Path; 2],
    disk: &[Reading],
) -> Result<Model, String> {
    let is_tidy = asked.is_tidy;
    let asked = Asked {
        recalls: vec![RECALL],
        memories: model::MEMORIES.to_vec(),
        // The largest index is measured again, at other recalls.
        is_tidy: false,
        ..asked.clone()
    };
    let spec = ENGINES.iter().find(|spec| spec.name == model::ENGINE).expect("an engine");
    let mut sizes = Vec::new();
    for items in model::ITEMS {
        let set = Set::prepare("glosses", items, &asked.data, folder);
        let place = Place::new(spec, &set, Path::new(""), folder, scratch);
        let mut work = Work::announce(&asked, cache, std::slice::from_ref(&place));
        work.measure_all(&place)?;
        let name = place.name("hot-bytes");
        let hot_bytes = cache.find(&name, || model::hot_bytes(&place.build(cache)));
        if is_tidy && items != asked.items {
            place.built(cache).iter().for_each(|built| place.remove(built));
        }
        sizes.push(Size { items, hot_bytes, cells: work.cells });
    }
    Ok(model::fit(&sizes, disk))
}

/// Replaces the output of an earlier run.
fn write(run: &Run, folder: &Path) {
    fs::create_dir_all(folder).expect("a folder");
    let json = serde_json::to_string_pretty(run).expect("JSON");
    fs::write(folder.join("figures.json"), json + "\n").expect("to write figures");
    fs::write(folder.join("README.md"), page::page(run)).expect("to write a page");
}

/// Beside this program, on a real disk.
fn usual_folder() -> PathBuf {
    let program = std::env::current_exe().expect("a path");
    program.ancestors().nth(2).expect("the target directory").join("memory")
}
