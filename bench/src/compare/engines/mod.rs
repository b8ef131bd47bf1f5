//! The engines that are called from Rust, each through its own API. They, and their environments,
//! live as long as their process.

mod arroy;
mod hannoy;
mod index;
mod usearch;
mod voisin;

use std::path::Path;

use ::voisin::{Codes, heed};

use super::engine::{Engine, Input};
use super::protocol::Metric;
use crate::engines::open;

const LOCK: &str = include_str!("../../../../Cargo.lock");

/// The variants of voisin that take part.
const VOISINS: [(&str, Option<Codes>); 4] = [
    ("voisin", None),
    ("voisin-8-bit", Some(Codes::Bits8)),
    ("voisin-7-bit", Some(Codes::Bits7)),
    ("voisin-4-bit", Some(Codes::Bits4)),
];

/// The variants of voisin through `Index`, which measurements of larger-than-memory indexes use.
const INDEXES: [(&str, Option<Codes>); 6] = [
    ("index", None),
    ("index-8-bit", Some(Codes::Bits8)),
    ("index-7-bit", Some(Codes::Bits7)),
    ("index-4-bit", Some(Codes::Bits4)),
    ("index-2-bit", Some(Codes::Bits2)),
    ("index-1-bit", Some(Codes::Bits1)),
];

/// An engine without an index.
pub fn create(name: &str, input: &'static Input) -> Box<dyn Engine> {
    if let Some((_, codes)) = VOISINS.iter().find(|(voisin, _)| *voisin == name) {
        return match input.task.metric {
            Metric::Euclidean => {
                Box::new(voisin::Voisin::<::voisin::distances::Euclidean>::new(input, *codes))
            }
            Metric::Cosine => {
                Box::new(voisin::Voisin::<::voisin::distances::Cosine>::new(input, *codes))
            }
        };
    }
    if let Some((_, codes)) = INDEXES.iter().find(|(index, _)| *index == name) {
        return match input.task.metric {
            Metric::Euclidean => {
                Box::new(index::Indexed::<::voisin::distances::Euclidean>::new(input, *codes))
            }
            Metric::Cosine => {
                Box::new(index::Indexed::<::voisin::distances::Cosine>::new(input, *codes))
            }
        };
    }
    match (name, input.task.metric) {
        ("hannoy", Metric::Euclidean) => {
            Box::new(hannoy::Hannoy::<::hannoy::distances::Euclidean>::new(input))
        }
        ("hannoy", Metric::Cosine) => {
            Box::new(hannoy::Hannoy::<::hannoy::distances::Cosine>::new(input))
        }
        ("arroy", Metric::Euclidean) => {
            Box::new(arroy::Arroy::<::arroy::distances::Euclidean>::new(input))
        }
        ("arroy", Metric::Cosine) => {
            Box::new(arroy::Arroy::<::arroy::distances::Cosine>::new(input))
        }
        ("usearch", _) => Box::new(usearch::Usearch::new(input)),
        _ => panic!("there is no engine {name}"),
    }
}

/// The version of a crate in the lock file.
pub fn version(name: &str) -> String {
    let is_voisin = VOISINS.iter().chain(&INDEXES).any(|(voisin, _)| *voisin == name);
    let name = if is_voisin { "voisin" } else { name };
    let mut lines = LOCK.lines().skip_while(|line| *line != format!("name = \"{name}\""));
    let version = lines.nth(1).and_then(|line| line.split('"').nth(1));
    version.unwrap_or("unknown").to_owned()
}

/// An LMDB environment that is never closed.
fn environment(folder: &Path) -> &'static heed::Env {
    Box::leak(Box::new(open(folder)))
}
