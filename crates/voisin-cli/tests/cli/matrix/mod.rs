//! Every subcommand, with everything that can go wrong: a wrong path, metric or shape, no space, no
//! right, Ctrl-C, SIGKILL. Each is one line that names the value, the limit and the remedy, a
//! documented exit code, and a sound index afterwards.
//!
//! `table` says what each subcommand does in each case, or why the case cannot occur; here it is
//! held against the command. Signals are in `signals`.

mod signals;
mod table;

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use voisin::codec::{F32, VectorRef};
use voisin::distances::Distance;
use voisin::{AnyIndex, AnyKey, Field, Index, Options};

use self::table::{Cell, ROWS, Row};
use crate::surroundings::{Disk, as_stranger, set_mode};
use crate::{Place, Ran, floats, npy};

/// What all commands of the table find: `notes`, an index of 500 items with a field; `mine`, one
/// of a metric that the command does not know; `shops`, the same with two tenants; `garbage`, a
/// folder with a file of another program; `old`, `odd` and `strange`, indexes of hannoy, of which
/// one has a vector of another length and one a metric that voisin does not have; and files.
fn fixture() -> &'static Place {
    static FIXTURE: OnceLock<Place> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let place = Place::with_notes();
        npy(&place.path("seven.npy"), "<f4", (2, 7), &floats(0..2, 7));
        fs::write(place.path("many.f32"), floats(0..12_000, 8)).unwrap();
        let notes = AnyIndex::open(place.path("notes"), Options::default()).unwrap();
        notes.add_field(Field::keyword("tag")).unwrap();
        notes.set_record(7, br#"{"tag": "seven"}"#).unwrap();
        drop(notes);
        fs::create_dir(place.path("garbage")).unwrap();
        fs::write(place.path("garbage/data.mdb"), vec![7; 8192]).unwrap();
        let mine = Index::<Chebyshev>::create(place.path("mine"), Options::new(8)).unwrap();
        let filled = mine.write(|batch| {
            batch.add_field(Field::keyword("tag"))?;
            batch.add_items_from((0..50).map(|item| (item, [item as f32; 8])))
        });
        filled.unwrap();
        let shops = Index::<Chebyshev, str>::create(place.path("shops"), Options::new(8)).unwrap();
        let filled = shops.write(|batch| {
            for name in ["acme", "bolt"] {
                let items = (0..10).map(|item| (format!("doc-{item}"), [item as f32; 8]));
                batch.tenant(name)?.add_items_from(items)?;
            }
            batch.add("7", &[7.0; 8])
        });
        filled.unwrap();
        crate::more::hannoy(&place.path("old"), None, 0, 300);
        crate::more::hannoy_of(&place.path("odd"), None, 0, 300, ("cosine", 3));
        crate::more::hannoy_of(&place.path("strange"), None, 0, 300, ("chebyshev", 2));
        place
    })
}

/// The largest difference of any one component: a metric of a program's own.
#[derive(Debug, Clone)]
enum Chebyshev {}

impl Distance for Chebyshev {
    type Codec = F32;

    fn name() -> &'static str {
        "chebyshev"
    }

    fn raw(a: VectorRef<'_, F32>, b: VectorRef<'_, F32>) -> f32 {
        a.iter().zip(b.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }
}

/// A copy of the fixture.
fn place() -> Place {
    let place = Place::new();
    copy_all(fixture().0.path(), place.0.path());
    place
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy_all(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

/// The number of items of an index, of which every page and every invariant is verified.
fn verified(folder: &Path) -> u64 {
    let found = voisin::inspect(folder);
    if let Err(voisin::Error::MissingEnvironment { .. }) = found {
        // It was ended while it created the folder.
        return 0;
    }
    let pages = voisin::verify_file(folder).unwrap();
    assert!(pages.findings.is_empty(), "{}: {pages:?}", folder.display());
    let mut items = 0;
    for found in found.unwrap() {
        let name = found.name.unwrap();
        let options = Options::default().name(name);
        let index = AnyIndex::open_read_only(folder, options).unwrap();
        let findings = index.check().unwrap();
        assert!(findings.is_empty(), "{}: {findings:?}", folder.display());
        items += found.metadata.unwrap().items;
    }
    items
}

/// Checks what is left of a place after a command that has failed: everything, and no more.
#[track_caller]
fn nothing_has_changed(place: &Place, line: &str) {
    assert_eq!(place.names(), fixture().names(), "{line}");
    assert_eq!(verified(&place.path("notes")), 500, "{line}");
    let index = AnyIndex::open_read_only(place.path("notes"), Options::default()).unwrap();
    assert_eq!(index.vector(7).unwrap().unwrap()[0], (7 * 31 % 97) as f32 + 0.007, "{line}");
    assert_eq!(tenants(place), ["acme", "bolt"], "{line}");
}

/// The tenants of `shops`, all of whose items are there.
fn tenants(place: &Place) -> Vec<String> {
    let shops = place.path("shops");
    assert_eq!(verified(&shops), 21);
    let index = AnyIndex::open_read_only(shops, Options::default()).unwrap();
    index.tenants().unwrap().iter().map(AnyKey::to_string).collect()
}

/// Holds a column of the table against the command.
fn hold(column: impl Fn(&Row) -> &Cell) {
    for row in ROWS {
        match column(row) {
            Cell::Fails(line, code, words) => {
                assert_eq!(line.split(' ').next(), Some(row.subcommand));
                let place = place();
                place.line(line).failed(*code, words);
                nothing_has_changed(&place, line);
            }
            Cell::Works(line) => {
                let place = place();
                place.line(line).done();
                assert_eq!(verified(&place.path("notes")), 500, "{line}");
            }
            Cell::Never(reason) => assert!(reason.len() > 10, "{}: no reason", row.subcommand),
            Cell::OnDisk(_) | Cell::ToOutput(_) => panic!("{}: of another column", row.subcommand),
        }
    }
}

#[test]
fn the_table_has_a_row_for_every_subcommand() {
    let help = Place::new().line("--help").done().out;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    // Descriptions go on in further lines.
    let named = listed.filter(|line| !line.starts_with("   "));
    let names: Vec<&str> = named.map(|line| line.split_whitespace().next().unwrap()).collect();
    let rows: Vec<&str> = ROWS.iter().map(|row| row.subcommand).collect();
    assert_eq!(rows, names);
}

#[test]
fn a_wrong_path_is_told_by_every_subcommand() {
    hold(|row| &row.path);
}

#[test]
fn a_wrong_metric_is_told_by_every_subcommand() {
    hold(|row| &row.metric);
}

#[test]
fn a_wrong_shape_is_told_by_every_subcommand() {
    hold(|row| &row.shape);
}

/// What the standard output has under `--json`.
#[test]
fn every_subcommand_prints_json_where_that_is_asked_for() {
    for row in ROWS {
        let place = place();
        let ran = place.run(row.signal.split(' ').chain(["--json"])).done();
        assert!(ran.err.is_empty(), "{ran:?}");
        match row.subcommand {
            // A script, for a shell.
            "completions" => {}
            _ => assert!(ran.json().iter().all(serde_json::Value::is_object), "{ran:?}"),
        }
        let Cell::Fails(line, code, _) = &row.path else { continue };
        let ran = place.run(line.split(' ').chain(["--json"]));
        assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (Some(*code), "", 1));
        let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
        assert_eq!(error["exit"].as_i64(), Some((*code).into()));
    }
}

#[test]
fn a_full_disk_is_told_by_every_subcommand_that_writes() {
    for row in ROWS {
        let Cell::OnDisk(line) = &row.space else { continue };
        let Some(disk) = Disk::mount(2048) else { return };
        let place = place();
        let folder = if line.contains("DISK/shops") { "shops" } else { "notes" };
        let (source, on_disk) = (place.path(folder), disk.path(folder));
        let items = verified(&source);
        AnyIndex::open_read_only(source, Options::default()).unwrap().copy_to(&on_disk).unwrap();
        let ballast = disk.fill();
        let before: Vec<_> = fs::read_dir(disk.0.path()).unwrap().flatten().collect();
        let line = line.replace("DISK", disk.0.path().to_str().unwrap());
        let told = place.line(&line).failed(3, &[disk.0.path().to_str().unwrap()]).err;
        assert!(told.contains("room") || told.contains("space"), "{told}");
        nothing_has_changed(&place, &line);
        let after: Vec<_> = fs::read_dir(disk.0.path()).unwrap().flatten().collect();
        assert_eq!(after.len(), before.len(), "{line} has left {after:?}");
        fs::remove_file(ballast).unwrap();
        assert_eq!(verified(&on_disk), items, "{line}");
        // It goes on as if nothing had been.
        place.run(["delete", on_disk.to_str().unwrap(), "7"]).done();
        assert_eq!(verified(&on_disk), items - 1, "{line}");
    }
}

#[test]
fn a_full_disk_of_the_output_is_told_by_every_subcommand_that_prints() {
    for row in ROWS {
        let (line, writes) = match &row.space {
            Cell::ToOutput(line) => (*line, false),
            // Its work is done when it prints.
            _ => (row.signal, true),
        };
        let place = place();
        let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else {
            println!("SKIPPED: there is no /dev/full here");
            return;
        };
        let mut command = place.command(line.split_whitespace());
        let ran = Ran::of(command.stdout(full).output().unwrap());
        ran.failed(3, &["the standard output", "room", if writes { "is done" } else { "" }]);
        verified(&place.path("notes"));
        if !writes {
            nothing_has_changed(&place, line);
        }
    }
}

#[test]
fn a_missing_right_is_told_by_every_subcommand() {
    for row in ROWS {
        let Cell::Fails(line, code, words) = &row.right else {
            assert!(matches!(row.right, Cell::Never(_)), "{}", row.subcommand);
            continue;
        };
        let place = place();
        set_mode(place.0.path(), 0o755);
        set_mode(&place.path("notes"), 0o700);
        let Some(ran) = as_stranger(&place, line) else { return };
        ran.failed(*code, words);
        nothing_has_changed(&place, line);
    }
}

#[test]
fn a_file_that_may_not_be_read_is_told() {
    let place = place();
    set_mode(place.0.path(), 0o755);
    for file in ["notes/data.mdb", "notes/lock.mdb"] {
        set_mode(&place.path(file), 0o666);
    }
    set_mode(&place.path("notes"), 0o777);
    set_mode(&place.path("rows.f32"), 0o600);
    for line in [
        "load notes rows.f32",
        "search notes --file rows.f32",
        "bench notes --queries rows.f32",
        "delete notes --file rows.f32",
        "load notes more.f32 --keys rows.f32",
    ] {
        let Some(ran) = as_stranger(&place, line) else { return };
        ran.failed(3, &["rows.f32", "owner"]);
        nothing_has_changed(&place, line);
    }
}
