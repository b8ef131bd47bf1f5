//! The Python environment of the peers from PyPI: created once, under the target directory, and
//! again when the list of packages changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGES: &str = include_str!("../../peers.txt");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peer.py");

/// Its interpreter.
pub fn prepare(folder: &Path) -> PathBuf {
    let venv = folder.join("venv");
    let (python, list) = (venv.join("bin/python"), venv.join("peers.txt"));
    if fs::read_to_string(&list).is_ok_and(|installed| installed == PACKAGES) {
        return python;
    }
    println!("installing the peers from PyPI into {}", venv.display());
    let run = |command: &mut Command, what: &str| {
        let status = command.status().unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(
            status.success(),
            "{what} failed: Python 3.11 or newer with pip and a C++ compiler are needed"
        );
    };
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv), "python3 -m venv");
    let wanted = folder.join("peers.txt");
    fs::write(&wanted, PACKAGES).expect("to write the list of packages");
    run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(&wanted),
        "pip install",
    );
    fs::write(list, PACKAGES).expect("to write the list of packages");
    python
}

/// The command that serves an engine.
pub fn command(python: &Path, engine: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(SCRIPT).arg(engine);
    command
}
