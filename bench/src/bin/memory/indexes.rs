//! The indexes: each engine builds its own of a set once, outside of any group, and later runs use
//! it again.

use std::fs;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use voisin::distances::Euclidean;
use voisin::{Index, Options};
use voisin_bench::compare::child::Child;
use voisin_bench::compare::plan::THREADS;
use voisin_bench::compare::protocol::Request;
use voisin_bench::setting::smallest;

use crate::cache::Cache;
use crate::cell;
use crate::pages;
use crate::plan::Spec;
use crate::sets::{Judge, Set};

/// An engine and a set.
pub(crate) struct Place<'a> {
    pub(crate) spec: &'static Spec,
    pub(crate) set: &'a Set,
    /// The interpreter with the peers.
    python: &'a Path,
    /// The folder of all indexes.
    indexes: PathBuf,
    /// A folder for files that nobody needs later.
    pub(crate) scratch: &'a Path,
    /// What an index depends on, beside the set: the version of the engine, or of voisin's format.
    stored: String,
    /// What a figure depends on: the version of the engine, or voisin as it is compiled here.
    pub(crate) identity: String,
}

/// An index on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Built {
    pub(crate) folder: PathBuf,
    pub(crate) file_bytes: u64,
    pub(crate) seconds: f64,
}

/// The smallest setting that reaches a recall, and the recall that it has.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Knob {
    pub(crate) knob: usize,
    pub(crate) recall: f64,
}

impl<'a> Place<'a> {
    pub(crate) fn new(
        spec: &'static Spec,
        set: &'a Set,
        python: &'a Path,
        folder: &Path,
        scratch: &'a Path,
    ) -> Self {
        let indexes = folder.join("indexes");
        fs::create_dir_all(&indexes).expect("a folder");
        let (stored, identity) = (String::new(), String::new());
        let mut place = Self { spec, set, python, indexes, scratch, stored, identity };
        if spec.is_voisin() {
            place.stored = format!("format-{}", format_version(scratch));
            place.identity = own_hash();
        } else {
            let version = place.start(scratch, 1).version.clone();
            (place.stored, place.identity) = (version.clone(), version);
        }
        place
    }

    /// Starts a process of the engine, whose files are in `folder`.
    pub(crate) fn start(&self, folder: &Path, threads: usize) -> Child {
        let task = self.set.task(folder.to_owned(), threads);
        Child::start(self.spec.serves(), self.spec.home, self.python, &task)
    }

    /// The name of something that was found about this engine and this set.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{what}-{}-{}-{}", self.set.short, self.spec.name, self.identity)
    }

    fn index_name(&self) -> String {
        format!("{}-{}-{}", self.set.short, self.spec.serves(), self.stored)
    }

    /// Whether it is built.
    pub(crate) fn built(&self, cache: &Cache) -> Option<Built> {
        let built: Option<Built> = cache.read(&format!("built-{}", self.index_name()));
        built.filter(|built| built.folder.is_dir())
    }

    /// The index, built if it is missing.
    pub(crate) fn build(&self, cache: &Cache) -> Built {
        if let Some(built) = self.built(cache) {
            return built;
        }
        println!("{}, {}: building, once", self.set.name, self.spec.name);
        let folder = self.indexes.join(self.index_name());
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("to remove what an earlier run left");
        }
        fs::create_dir_all(&folder).expect("a folder");
        let mut child = self.start(&folder, THREADS);
        let start = Instant::now();
        child.ask(&Request::Build);
        child.ask(&Request::Save);
        drop(child);
        let file_bytes = pages::bytes_in(&folder);
        let built = Built { folder, file_bytes, seconds: start.elapsed().as_secs_f64() };
        println!("  {:.0} s, {:.2} GB", built.seconds, file_bytes as f64 / 1e9);
        cache.write(&format!("built-{}", self.index_name()), &built);
        built
    }

    /// Removes the index.
    pub(crate) fn remove(&self, built: &Built) {
        fs::remove_dir_all(&built.folder).expect("to remove an index");
    }

    /// The smallest setting that reaches a recall, found in memory; `None` if none does.
    pub(crate) fn knob(
        &self,
        cache: &Cache,
        built: &Built,
        judge: &Judge,
        recall: f64,
    ) -> Option<Knob> {
        cache.find(&self.knob_name(recall), || self.find_knob(built, judge, recall))
    }

    /// Whether an earlier run has found that no setting reaches a recall.
    pub(crate) fn is_unreachable(&self, cache: &Cache, recall: f64) -> bool {
        matches!(cache.read::<Option<Knob>>(&self.knob_name(recall)), Some(None))
    }

    fn knob_name(&self, recall: f64) -> String {
        self.name(&format!("knob-{:02.0}", 100.0 * recall))
    }

    fn find_knob(&self, built: &Built, judge: &Judge, recall: f64) -> Option<Knob> {
        pages::fill(&pages::files(&built.folder));
        let mut child = self.start(&built.folder, 1);
        child.ask(&Request::Ready { memory_bytes: None });
        let try_out = |knob| {
            let recall = cell::recall_in_memory(&mut child, self.scratch, judge, knob, THREADS);
            Knob { knob, recall }
        };
        // To 2 %, as a setting more changes a recall of 2 000 queries less than chance does.
        let (_, best) = smallest(self.spec.knobs, 50, try_out, |knob| knob.recall >= recall);
        if best.recall < recall {
            return None;
        }
        println!(
            "  {}, {}: {} {} has recall {:.4}",
            self.set.name, self.spec.name, self.spec.knob, best.knob, best.recall
        );
        Some(best)
    }
}

/// The version of voisin's format: that of a new index.
fn format_version(scratch: &Path) -> u16 {
    let folder = tempfile::tempdir_in(scratch).expect("a folder");
    let path = folder.path().join("one");
    let index = Index::<Euclidean>::create(&path, Options::new(1)).expect("an index");
    index.write(|batch| batch.add(0, &[1.0])).expect("a commit");
    drop(index);
    let found = voisin::inspect(&path).expect("an index");
    found[0].metadata.as_ref().expect("metadata").format_version
}

/// Of this program, with voisin in it.
fn own_hash() -> String {
    let program = fs::read(std::env::current_exe().expect("a path")).expect("this program");
    let mut hasher = DefaultHasher::new();
    hasher.write(&program);
    format!("{:016x}", hasher.finish())
}
