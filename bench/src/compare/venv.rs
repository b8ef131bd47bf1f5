//! The Python environment of the peers from PyPI: created once, under the target directory, and
//! again when the list of packages changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGES: &str = include_str!("../../peers.txt");
/// Is compiled against the headers of hnswlib, which only its source package has.
const FILTER: &str = include_str!("../../hnswlib_filter.cpp");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peer.py");

/// Its interpreter.
pub fn prepare(folder: &Path) -> PathBuf {
    let venv = folder.join("venv");
    let (python, list) = (venv.join("bin/python"), venv.join("installed.txt"));
    let installed = format!("{PACKAGES}\n{FILTER}");
    if fs::read_to_string(&list).is_ok_and(|before| before == installed) {
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
    let sources = venv.join("hnswlib");
    run(
        Command::new(&python)
            .args(["-m", "pip", "download", "--quiet", "hnswlib", "--no-deps"])
            .args(["--no-binary", "hnswlib", "--constraint"])
            .arg(&wanted)
            .arg("--dest")
            .arg(&sources),
        "pip download hnswlib",
    );
    let package = fs::read_dir(&sources).expect("a folder").flatten().next().expect("a package");
    run(
        Command::new("tar")
            .args(["xzf"])
            .arg(package.path())
            .args(["--strip-components", "1", "-C"])
            .arg(&sources),
        "tar",
    );
    let filter = sources.join("filter.cpp");
    fs::write(&filter, FILTER).expect("to write a source");
    run(
        Command::new("c++")
            .args(["-O3", "-march=native", "-std=c++14", "-shared", "-fPIC", "-I"])
            .args([&sources, &filter])
            .arg("-o")
            .arg(venv.join("hnswlib_filter.so")),
        "compiling hnswlib_filter.cpp",
    );
    fs::write(list, installed).expect("to write what is installed");
    python
}

/// The command that serves an engine.
pub fn command(python: &Path, engine: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(SCRIPT).arg(engine);
    command
}
