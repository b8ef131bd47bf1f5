//! Signals and closed pipes: a command that ends early loses nothing that was committed, and leaves
//! nothing that looks complete.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Place, floats};

/// Long enough for anything here.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits for an event.
pub(crate) fn until(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "it does not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_waits_for_its_input_ends_at_once() {
    for (line, name) in [
        ("load notes - --format f32", "-INT"),
        ("load notes - --format f32", "-TERM"),
        ("load notes - --format f32", "-HUP"),
        ("search notes --file - --format f32", "-INT"),
        ("bench notes --queries - --format f32", "-INT"),
        ("delete notes --file -", "-INT"),
    ] {
        let place = Place::with_notes();
        let mut command = place.command(line.split(' '));
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // More than a pipe holds: it has been read in part when this returns.
        let rows = match line {
            "delete notes --file -" => "7\n".repeat(100_000).into_bytes(),
            _ => floats(500..5000, 8),
        };
        input.write_all(&rows).unwrap();
        signal(&child, name);
        let status = child.wait().unwrap();
        let mut told = String::new();
        child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert_eq!(status.code(), Some(130), "{told}");
        assert!(told.contains("interrupted") && told.lines().count() == 1, "{told}");
        drop(input);
        assert_eq!(place.sound("notes"), 500);
    }
}

#[test]
fn a_load_that_is_interrupted_keeps_what_is_committed_and_goes_on_later() {
    for name in ["-INT", "-KILL"] {
        let place = Place::new();
        std::fs::write(place.path("rows.f32"), floats(0..30_000, 8)).unwrap();
        place.line("create notes --metric l2 -d 8").done();
        let line = "load notes rows.f32 --commit-every 1000";
        let mut child = place.command(line.split(' ')).spawn().unwrap();
        let items = || {
            let found = voisin::inspect(place.path("notes")).unwrap();
            found[0].metadata.as_ref().map_or(0, |metadata| metadata.items)
        };
        until(|| items() > 0);
        signal(&child, name);
        let status = child.wait().unwrap();
        let mut told = String::new();
        child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        let left = place.sound("notes");
        assert!(left >= 1000 && left.is_multiple_of(1000), "{left}");
        if name == "-INT" {
            assert_eq!(status.code(), Some(130), "{told}");
            let last = told.lines().last().unwrap();
            assert!(last.contains(&format!("{left} more items are committed")), "{told}");
        }
        place.line(line).done();
        assert_eq!(place.sound("notes"), 30_000);
        assert_eq!(place.line("stats notes --json").done().json()[0]["pending"], 0);
    }
}

/// What `matrix` does not do to each subcommand.
#[test]
fn whatever_is_stopped_at_any_moment_leaves_a_sound_index() {
    let place = Place::with_notes();
    std::fs::write(place.path("many.f32"), floats(0..4000, 8)).unwrap();
    for (line, name) in [
        ("load notes many.f32 --memory 20M", "-KILL"),
        ("optimize notes --codes none", "-KILL"),
        ("repair notes --rebuild-graph", "-TERM"),
        ("export notes out.parquet --format parquet", "-HUP"),
        ("export notes out.npy --keys out.keys", "-TERM"),
    ] {
        for delay in [0, 20, 60, 150] {
            let mut child = place.command(line.split(' ')).stdout(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(delay));
            signal(&child, name);
            let status = child.wait().unwrap();
            // Before its handler is there, a signal ends it without a code.
            assert!(matches!(status.code(), None | Some(0 | 130)), "{line}: {status:?}");
            let left = place.sound("notes");
            assert!((500..=4000).contains(&left), "{line}: {left}");
            for file in ["out.parquet", "out.npy"].map(|file| place.path(file)) {
                if file.exists() {
                    let name = file.to_str().unwrap();
                    place.run(["load", "whole", name, "--metric", "l2"]).done();
                    assert_eq!(place.sound("whole"), left);
                    std::fs::remove_dir_all(place.path("whole")).unwrap();
                    std::fs::remove_file(&file).unwrap();
                    _ = std::fs::remove_file(place.path("out.keys"));
                }
            }
        }
    }
    assert_eq!(place.names(), ["many.f32", "more.f32", "notes", "rows.f32"], "left behind");
    place.line("load notes many.f32").done();
    assert_eq!(place.sound("notes"), 4000);
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_error() {
    let place = Place::with_notes();
    let many: String = (0..100).map(|_| String::from_utf8(rows_of_json()).unwrap()).collect();
    std::fs::write(place.path("many.jsonl"), many).unwrap();
    for line in ["search notes --file many.jsonl -k 50", "search notes --file many.jsonl --json"] {
        let mut child = place.command(line.split(' ')).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        out.read_line(&mut first).unwrap();
        assert!(!first.is_empty());
        drop(out);
        let status = child.wait().unwrap();
        let mut told = String::new();
        child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert_eq!((status.code(), &*told), (Some(0), ""), "{line}");
    }
}

/// Some queries.
fn rows_of_json() -> Vec<u8> {
    let row = |row: u32| format!("[{row}, 1, 2, 3, 4, 5, 6, 7]\n");
    (0..20).flat_map(|at| row(at).into_bytes()).collect()
}
