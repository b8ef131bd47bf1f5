//! Tries to lose data: kills, power cuts, damage at rest, full disks, stopped processes. See the
//! README of this crate.
//!
//! Everything follows from a seed except the moments at which things happen. Exits non-zero if
//! anything was lost, laundered or unsafe.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

#[cfg(not(target_os = "linux"))]
compile_error!("the signals, the mounts and the limits are those of Linux");

mod child;
mod cuts;
mod disk;
mod flips;
mod full;
mod kills;
mod life;
mod roles;
mod steps;
mod tally;
mod traffic;
mod world;

use std::process::ExitCode;
use std::sync::OnceLock;

use tempfile::TempDir;

const USAGE: &str = "usage: torture [--kills N] [--cuts N] [--flips N] [--full N] [--traffic \
                     SECONDS] [--seed N] [--folder FOLDER]";

/// The parent folder of all others, if one was given.
static FOLDER: OnceLock<String> = OnceLock::new();

/// A new folder, removed when dropped.
fn temporary() -> TempDir {
    FOLDER.get().map_or_else(tempfile::tempdir, tempfile::tempdir_in).expect("a temporary folder")
}

/// The requested kinds of trials, and the number of each.
struct Asked {
    kinds: Vec<(String, u64)>,
    seed: u64,
    folder: Option<String>,
}

impl Asked {
    fn parse(arguments: &[&str]) -> Option<Self> {
        let mut asked = Self { kinds: Vec::new(), seed: 1, folder: None };
        let (pairs, []) = arguments.as_chunks::<2>() else { return None };
        for [name, value] in pairs {
            match name.strip_prefix("--")? {
                "seed" => asked.seed = value.parse().ok()?,
                "folder" => asked.folder = Some((*value).to_owned()),
                kind @ ("kills" | "cuts" | "flips" | "full" | "traffic") => {
                    asked.kinds.push((kind.to_owned(), value.parse().ok()?))
                }
                _ => return None,
            }
        }
        (!asked.kinds.is_empty()).then_some(asked)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let [child::ROLE, role, arguments @ ..] = &arguments[..] {
        roles::play(role, arguments);
        return ExitCode::SUCCESS;
    }
    let Some(asked) = Asked::parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    if let Some(folder) = asked.folder {
        _ = FOLDER.set(folder);
    }
    let mut is_well = true;
    for (kind, count) in asked.kinds {
        is_well &= match &*kind {
            "kills" => kills::run(count, asked.seed),
            "cuts" => cuts::run(count, asked.seed),
            "flips" => flips::run(count, asked.seed),
            "full" => full::run(count, asked.seed),
            _ => traffic::run(count, asked.seed),
        };
    }
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
