//! The arguments.

use std::path::PathBuf;

use crate::plan::{ENGINES, MEMORIES, Memory, RECALLS, Spec, USUAL};
use crate::sets::KINDS;

pub(crate) const USAGE: &str = "\
usage: memory FOLDER_OF_DATA [--folder FOLDER] [--items N] [--sets glosses,photos]
              [--engines NAME,NAME...] [--recalls .90,.95,.99] [--memory all,100,50,25,10]
              [--model] [--build [--kills N]] [--disk] [--tidy] [--fresh] [--publish NAME]

Measures searches of indexes that are larger than memory. The results are written to
docs/benchmarks/memory if nothing is left out, and beside the indexes otherwise.

--folder   for vectors, indexes and what was found, so that a stopped run continues: 20 GB,
           with --tidy 10; memory in the target directory unless given
--items    vectors a set: 1000000 unless given
--engines  voisin-4-bit,voisin-2-bit,hannoy,usearch,faiss-ivf,diskann,zvec unless given;
           voisin, voisin-1-bit, voisin-7-bit, voisin-8-bit
--memory   hundredths of the bytes of an engine's files; all: no limit
--model    measures voisin at 100000, 300000 and 1000000 glosses, too, and says what 100 million
           would cost
--build    builds voisin's index of the glosses within a quarter of their bytes, and without a
           limit
--kills    builds within that budget once more, and kills that N times on its way
--disk     measures the disk alone
--tidy     removes each index once it is measured
--fresh    measures again what an earlier run has measured; indexes stay
--publish  the folder in docs/benchmarks to which the results are written, whatever is left out";

/// What a run is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The command, without the paths of this machine.
    pub(crate) command: String,
    pub(crate) data: PathBuf,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) items: usize,
    pub(crate) sets: Vec<String>,
    pub(crate) engines: Vec<&'static Spec>,
    pub(crate) recalls: Vec<f64>,
    pub(crate) memories: Vec<Memory>,
    pub(crate) has_model: bool,
    pub(crate) has_build: bool,
    /// How often a build within a budget is killed.
    pub(crate) kills: usize,
    pub(crate) is_disk_alone: bool,
    pub(crate) is_tidy: bool,
    pub(crate) is_fresh: bool,
    /// The folder in `docs/benchmarks` whose results are replaced.
    pub(crate) published: Option<String>,
}

/// The vectors of a set.
const ITEMS: usize = 1_000_000;

impl Asked {
    pub(crate) fn parse(arguments: &[String]) -> Option<Self> {
        let command = command(arguments);
        let mut arguments = arguments.iter().map(String::as_str);
        let engine = |name: &str| ENGINES.iter().find(|spec| spec.name == name);
        let mut asked = Self {
            command,
            data: PathBuf::from(arguments.next().filter(|data| !data.starts_with('-'))?),
            folder: None,
            items: ITEMS,
            sets: KINDS.map(str::to_owned).to_vec(),
            engines: USUAL.iter().filter_map(|name| engine(name)).collect(),
            recalls: RECALLS.to_vec(),
            memories: MEMORIES.to_vec(),
            has_model: false,
            has_build: false,
            kills: 0,
            is_disk_alone: false,
            is_tidy: false,
            is_fresh: false,
            published: Some("memory".to_owned()),
        };
        let mut published = None;
        while let Some(option) = arguments.next() {
            let mut list = || Some(arguments.next()?.split(','));
            if !["--folder", "--model", "--build", "--kills", "--tidy", "--fresh"].contains(&option)
            {
                asked.published = None;
            }
            match option {
                "--folder" => asked.folder = Some(PathBuf::from(arguments.next()?)),
                "--items" => {
                    asked.items = arguments.next()?.parse().ok().filter(|items| *items >= 1000)?
                }
                "--sets" => {
                    asked.sets = list()?.map(str::to_owned).collect();
                    asked.sets.iter().all(|set| KINDS.contains(&&**set)).then_some(())?;
                }
                "--engines" => asked.engines = list()?.map(engine).collect::<Option<_>>()?,
                "--recalls" => {
                    let recall =
                        |text: &str| text.parse().ok().filter(|recall| (0.1..1.0).contains(recall));
                    asked.recalls = list()?.map(recall).collect::<Option<_>>()?;
                }
                "--memory" => {
                    let memory = |text: &str| match text {
                        "all" => Some(Memory::All),
                        _ => text
                            .parse()
                            .ok()
                            .filter(|percent| (1..=1000).contains(percent))
                            .map(Memory::Percent),
                    };
                    asked.memories = list()?.map(memory).collect::<Option<_>>()?;
                }
                "--model" => asked.has_model = true,
                "--build" => asked.has_build = true,
                "--kills" => asked.kills = arguments.next()?.parse().ok()?,
                "--disk" => asked.is_disk_alone = true,
                "--tidy" => asked.is_tidy = true,
                "--fresh" => asked.is_fresh = true,
                "--publish" => published = Some(arguments.next()?.to_owned()),
                _ => return None,
            }
        }
        asked.published = published.or(asked.published);
        Some(asked)
    }
}

fn command(arguments: &[String]) -> String {
    let mut words = vec!["cargo run --release -p voisin-bench --bin memory -- FOLDER"];
    let mut options = arguments.iter().skip(1).map(String::as_str);
    while let Some(option) = options.next() {
        if option == "--folder" {
            _ = options.next();
        } else {
            words.push(option);
        }
    }
    words.join(" ")
}
