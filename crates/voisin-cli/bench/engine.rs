//! What `figures.py` compares the command with: the engine's own time for the same rows, and the
//! folders and files that it measures on.
//!
//! ```sh
//! cargo run --release -p voisin-cli --example engine -- rows FOLDER 1000000   # files of vectors
//! cargo run --release -p voisin-cli --example engine -- load FOLDER/rows.f32 INDEX
//! cargo run --release -p voisin-cli --example engine -- many INDEX 1000       # a thousand indexes
//! ```

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use voisin::rand::{RngExt, SeedableRng, rngs::StdRng};
use voisin::{Index, Options, distances::Euclidean};

const DIMENSIONS: usize = 128;
const CENTERS: usize = 1000;
/// The number of items of each of many indexes.
const ITEMS: u32 = 500;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["rows", folder, rows] => write_rows(Path::new(folder), rows.parse().unwrap()),
        ["load", file, index] => load(Path::new(file), Path::new(index)),
        ["many", index, count] => many(Path::new(index), count.parse().unwrap()),
        _ => panic!("engine rows FOLDER ROWS | load FILE INDEX | many INDEX COUNT"),
    }
}

/// Vectors around centers: clusters, as embeddings have them.
fn rows(count: usize) -> impl Iterator<Item = Vec<f32>> {
    let mut rng = StdRng::seed_from_u64(27);
    let mut vector = move |spread: f32| -> Vec<f32> {
        (0..DIMENSIONS).map(|_| spread * (rng.random::<f32>() - 0.5)).collect()
    };
    let centers: Vec<Vec<f32>> = (0..CENTERS).map(|_| vector(2.0)).collect();
    (0..count).map(move |row| {
        // A step through the centers that is prime to their number, so that neighbors are apart.
        let center = &centers[row * 617 % CENTERS];
        vector(1.0).iter().zip(center).map(|(noise, center)| center + noise).collect()
    })
}

/// The same vectors as an array without a header, as `.npy` and as fvecs.
fn write_rows(folder: &Path, count: usize) {
    let create = |name: &str| BufWriter::new(File::create(folder.join(name)).unwrap());
    let (mut bare, mut npy, mut fvecs) =
        (create("rows.f32"), create("rows.npy"), create("rows.fvecs"));
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, {DIMENSIONS}), }}");
    while !(header.len() + 11).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    npy.write_all(b"\x93NUMPY\x01\x00").unwrap();
    npy.write_all(&u16::try_from(header.len()).unwrap().to_le_bytes()).unwrap();
    npy.write_all(header.as_bytes()).unwrap();
    for row in rows(count) {
        let bytes: Vec<u8> = row.iter().flat_map(|x| x.to_le_bytes()).collect();
        bare.write_all(&bytes).unwrap();
        npy.write_all(&bytes).unwrap();
        fvecs.write_all(&(DIMENSIONS as u32).to_le_bytes()).unwrap();
        fvecs.write_all(&bytes).unwrap();
    }
    for mut file in [bare, npy, fvecs] {
        file.flush().unwrap();
        file.get_ref().sync_all().unwrap();
    }
}

/// Prints the seconds that the engine takes to load rows that are in memory.
fn load(file: &Path, path: &Path) {
    let bytes = fs::read(file).unwrap();
    let rows: Vec<f32> =
        bytes.as_chunks().0.iter().map(|bytes: &[u8; 4]| f32::from_le_bytes(*bytes)).collect();
    drop(bytes);
    let index = Index::<Euclidean>::create(path, Options::new(DIMENSIONS)).unwrap();
    let began = Instant::now();
    index.loader().load((0..).zip(rows.chunks_exact(DIMENSIONS))).unwrap();
    println!("{}", began.elapsed().as_secs_f64());
}

/// Creates a folder of many indexes.
fn many(path: &Path, count: u32) {
    for number in 0..count {
        let options = Options::new(8).name(format!("index {number}"));
        let index = Index::<Euclidean>::create(path, options).unwrap();
        index.load((0..ITEMS).map(|item| (item, [(item * 31 % 97) as f32; 8])), |_| {}).unwrap();
    }
}
