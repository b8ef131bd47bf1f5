//! One phase of an index's life in a process of its own, for counting instructions. On one thread,
//! the counts of two versions of voisin can be compared where clocks are too noisy.
//!
//! ```sh
//! cargo build --release -p voisin-bench --bin phases
//! RAYON_NUM_THREADS=1 valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null \
//!     target/release/phases PHASE FOLDER
//! ```
//!
//! `build`, `build-cosine` and `build-codes` create an index of 8 000 vectors of 128 dimensions in
//! FOLDER; `open`, `search`, `many`, `exact` and `panel` search it; `first` and `adds` add 1 and 51
//! items, one commit each. valgrind emulates no AVX-512: what is counted are the AVX2 kernels.
#![allow(missing_docs)]

use std::path::Path;

use voisin::distances::{Cosine, Distance, Euclidean};
use voisin::{Codes, Error, Index, Options, Result};

const ITEMS: u32 = 8000;
const DIMENSIONS: u32 = 128;
/// valgrind cannot map the default of 64 GiB.
const MAP_SIZE_BYTES: u64 = 1 << 28;
const PHASES: &str = "build, build-cosine, build-codes, open, search, many, exact, panel, first, \
                      adds; the phases of a cosine index end in -cosine";

/// The vector of an item: 50 clusters.
fn vector(item: u32) -> Vec<f32> {
    let cluster = (item % 50).wrapping_mul(2_654_435_761);
    let component = |at: u32| {
        let center = (cluster ^ at.wrapping_mul(40_503)) % 1009;
        let mixed = item.wrapping_mul(747_796_405).wrapping_add(at.wrapping_mul(2_891_336_453));
        center as f32 + ((mixed >> 16) % 256) as f32
    };
    (0..DIMENSIONS).map(component).collect()
}

/// Vectors that the index does not hold, one after the other.
fn queries(count: u32) -> Vec<f32> {
    (ITEMS..ITEMS + count).flat_map(vector).collect()
}

fn build<D: Distance>(folder: &Path, options: Options) -> Result<()> {
    let index = Index::<D>::create(folder, options)?;
    index.load((0..ITEMS).map(|item| (item, vector(item))), |_| {}).map(drop)
}

fn phase<D: Distance>(folder: &Path, phase: &str) -> Result<bool> {
    let index = Index::<D>::open(folder, Options::default().map_size_bytes(MAP_SIZE_BYTES))?;
    let add = |item: u32| index.write(|batch| batch.add((1 << 20) + item, &vector(ITEMS + item)));
    if !matches!(phase, "first" | "adds") {
        index.search(10).by_vector(&vector(1))?;
    }
    match phase {
        "open" => {}
        "search" => (ITEMS..ITEMS + 300).try_for_each(|query| {
            index.search(10).ef_search(40).by_vector(&vector(query)).map(drop)
        })?,
        "many" => drop(index.search(10).ef_search(40).by_vectors(&queries(300))?),
        "exact" => (ITEMS..ITEMS + 30)
            .try_for_each(|query| index.search(10).exact().by_vector(&vector(query)).map(drop))?,
        "panel" => drop(index.search(10).exact().by_vectors(&queries(64))?),
        "first" => add(0)?,
        "adds" => (0..51).try_for_each(add)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn run(name: &str, folder: &Path) -> Result<bool> {
    let options = Options::new(DIMENSIONS as usize).map_size_bytes(MAP_SIZE_BYTES);
    match name {
        "build" => build::<Euclidean>(folder, options)?,
        "build-cosine" => build::<Cosine>(folder, options)?,
        "build-codes" => build::<Euclidean>(folder, options.codes(Codes::Bits8))?,
        _ => {
            return match name.strip_suffix("-cosine") {
                Some(name) => phase::<Cosine>(folder, name),
                None => phase::<Euclidean>(folder, name),
            };
        }
    }
    Ok(true)
}

fn main() -> std::result::Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, folder] = &arguments[..] else {
        return Err(format!("usage: phases PHASE FOLDER; the phases are {PHASES}"));
    };
    match run(name, Path::new(folder)).map_err(|error: Error| error.to_string())? {
        true => Ok(()),
        false => Err(format!("there is no phase {name:?}: they are {PHASES}")),
    }
}
