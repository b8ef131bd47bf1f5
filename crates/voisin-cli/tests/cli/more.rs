//! Files that are written, other programs' indexes, measurements, reports, and what shells know.

use std::path::Path;

use voisin::heed::EnvOpenOptions;
use voisin::heed::types::Bytes;

use crate::{Place, floats};

#[test]
fn what_is_exported_is_loaded_again_bit_for_bit() {
    let place = Place::with_notes();
    let whole = place.line("export notes - --format jsonl").done().out;
    assert_eq!(whole.lines().count(), 500);
    for (file, options) in [("a.jsonl", ""), ("a.npy", ""), ("a.parquet", "")] {
        place.line(&format!("export notes {file}")).done();
        let folder = format!("of-{file}");
        place.line(&format!("load {folder} {file} --metric l2 {options}")).done();
        assert_eq!(place.line(&format!("export {folder} - --format jsonl")).done().out, whole);
        place.line(&format!("export notes {file}")).failed(3, &[file, "there already"]);
    }
    place.line("list notes --json").done();
    // Keys that are texts, and keys beside an array.
    place.line("export notes b.npy --keys b.keys").done();
    place.line("load texts b.npy --keys b.keys --metric l2 --names texts").done();
    place.line("export texts texts.parquet").done();
    place.line("load again texts.parquet --metric l2 --names texts").done();
    let texts = place.line("export texts - --format jsonl").done().out;
    assert_eq!(place.line("export again - --format jsonl").done().out, texts);
    assert!(texts.starts_with("{\"key\":\"0\",") && texts.contains("{\"key\":\"499\","));
    place
        .line("load huge b.npy --metric l2 --names numbers --first-id 18446744073709551000")
        .done();
    place.line("export huge huge.parquet").done();
    place.line("load huge2 huge.parquet --metric l2 --names numbers").done();
    assert_eq!(place.line("list huge2 -n 1").done().out, "18446744073709551000\n");
    place.line("export notes x.txt").failed(2, &["x.txt", "--format"]);
    place.line("export missing x.npy").failed(3, &["missing", "check the path"]);
    place.line("export notes missing/x.npy").failed(3, &["missing", "check the path"]);
    assert!(place.names().iter().all(|name| !name.contains("unfinished")));
}

#[test]
fn records_are_loaded_shown_and_exported() {
    let place = Place::new();
    let rows = "{\"id\":1,\"vector\":[1,0],\"record\":\"one\\ttab\"}\n\
                {\"id\":2,\"vector\":[0,1],\"record\":{\"a\":[1,null]}}\n\
                {\"id\":3,\"vector\":[1,1],\"record_base64\":\"//4=\"}\n";
    std::fs::write(place.path("a.jsonl"), rows).unwrap();
    place.line("load notes a.jsonl --metric l2").done();
    let got = place.line("get notes 1 2 3 --json").done().json();
    assert_eq!(got[0]["record"], "one\ttab");
    assert_eq!(got[1]["record"], "{\"a\":[1,null]}");
    assert_eq!(got[2]["record_base64"], "//4=");
    assert_eq!(place.line("get notes 3").done().out, "3  [1.0, 1.0]  \\xff\\xfe\n");
    let found = place.line("search notes --vector 1,0 -k 1 --with-records --json").done().json();
    assert_eq!(found[0]["neighbors"][0]["record"], "one\ttab");
    let found = place.line("search notes --vector 1,0 -k 1 --with-records").done().out;
    assert!(found.ends_with("one\\ttab\n"), "{found}");
    let plain = place.line("search notes --vector 1,0 -k 1 --json").done().json();
    assert!(plain[0]["neighbors"][0].get("record").is_none());
    let whole = place.line("export notes - --format jsonl").done().out;
    for file in ["b.jsonl", "b.parquet"] {
        place.line(&format!("export notes {file}")).done();
        place.line(&format!("load of-{file} {file} --metric l2")).done();
        let again = place.line(&format!("export of-{file} - --format jsonl")).done().out;
        assert_eq!(again, whole);
    }
    place.line("export notes b.npy").failed(2, &["records", "--only-vectors"]);
    place.line("export notes b.npy --only-vectors").done();
    std::fs::write(place.path("lines"), "x\ny\nz\n").unwrap();
    place.line("load lined b.npy --records lines --metric l2").done();
    assert_eq!(place.line("get lined 2 --json").done().json()[0]["record"], "z");
    std::fs::write(place.path("lines"), "x\ny\n").unwrap();
    place.line("load notes b.npy --records lines").failed(2, &["2 records", "a record for each"]);
    place.line("load notes a.jsonl --records lines").failed(2, &["leave --records out"]);
    let mixed = "{\"id\":4,\"vector\":[1,0],\"record\":\"r\"}\n{\"id\":5,\"vector\":[0,1]}\n";
    std::fs::write(place.path("mixed.jsonl"), mixed).unwrap();
    place.line("load notes mixed.jsonl").done();
    assert_eq!(place.line("get notes 4 5 --json").done().json()[1].get("record"), None);
    std::fs::write(place.path("a.csv"), "id,vector,record\n7,1 2,seven\n").unwrap();
    place.line("load notes a.csv").done();
    assert_eq!(place.line("get notes 7 --json").done().json()[0]["record"], "seven");
    // A vector without a record keeps the one that its item has.
    std::fs::write(place.path("bare.jsonl"), "{\"id\":7,\"vector\":[3,4]}\n").unwrap();
    place.line("load notes bare.jsonl").done();
    assert_eq!(place.line("get notes 7").done().out, "7  [3.0, 4.0]  seven\n");
    assert_eq!(place.sound("notes"), 6);
}

#[test]
fn a_parquet_file_of_another_shape_is_refused() {
    let place = Place::with_notes();
    place.line("export notes a.parquet").done();
    place.line("create narrow --metric l2 -d 4").done();
    place.line("load narrow a.parquet").failed(2, &["row 1", "8 components", "4 dimensions"]);
    place
        .line("load notes a.parquet --vector-field v")
        .failed(2, &["\"vector\"", "--only-vectors"]);
    let missing = "load notes a.parquet --vector-field v --only-vectors";
    place.line(missing).failed(2, &["no column \"v\"", "--vector-field"]);
    place.line("load notes a.parquet --vector-field key").failed(2, &["\"key\"", "lists"]);
    let bytes = std::fs::read(place.path("a.parquet")).unwrap();
    std::fs::write(place.path("cut.parquet"), &bytes[..bytes.len() - 9]).unwrap();
    place.line("load notes cut.parquet").failed(2, &["cut.parquet", "parquet"]);
    let mut damaged = bytes;
    for at in (100..damaged.len() / 2).step_by(97) {
        damaged[at] ^= 0x55;
    }
    std::fs::write(place.path("damaged.parquet"), damaged).unwrap();
    // Components without a checksum are other numbers; all else is an error.
    let ran = place.line("load notes damaged.parquet");
    assert!(matches!(ran.code, Some(0 | 2)), "{ran:?}");
    place.sound("notes");
}

/// An index in the layout of hannoy 0.3, of `rows` rows of two components.
pub(crate) fn hannoy(path: &Path, database: Option<&str>, number: u16, rows: u32) {
    hannoy_of(path, database, number, rows, ("cosine", 2));
}

/// The same, of a metric and a number of dimensions that its rows may not have.
pub(crate) fn hannoy_of(
    path: &Path,
    database: Option<&str>,
    number: u16,
    rows: u32,
    (metric, dimensions): (&str, u32),
) {
    std::fs::create_dir_all(path).unwrap();
    // SAFETY: a fresh folder that nobody else opens.
    let env = unsafe { EnvOpenOptions::new().map_size(1 << 24).max_dbs(4).open(path).unwrap() };
    let key = |mode: u8, n: u32| {
        let mut key = number.to_be_bytes().to_vec();
        key.push(mode);
        key.extend(n.to_be_bytes());
        key.push(0);
        key
    };
    let mut wtxn = env.write_txn().unwrap();
    let opened = env.create_databases_and_commit(wtxn, |creator, wtxn| {
        creator
            .create_database::<Bytes, Bytes>(wtxn, database)
            .map(voisin::heed::CommitOrAbort::<_, ()>::Commit)
    });
    let theirs = opened.unwrap().commit().unwrap();
    wtxn = env.write_txn().unwrap();
    let dimensions = dimensions.to_be_bytes();
    let metadata = [metric.as_bytes(), &[0], &dimensions, &0u32.to_be_bytes(), &[9]].concat();
    theirs.put(&mut wtxn, &key(0, 0), &metadata).unwrap();
    let version: Vec<u8> = [0u32, 3, 0].into_iter().flat_map(u32::to_be_bytes).collect();
    theirs.put(&mut wtxn, &key(0, 1), &version).unwrap();
    for row in 0..rows {
        let vector = [row as f32, 1.0].into_iter().flat_map(f32::to_le_bytes);
        let value: Vec<u8> = [0, 0, 0, 128, 63].into_iter().chain(vector).collect();
        theirs.put(&mut wtxn, &key(3, row), &value).unwrap();
    }
    wtxn.commit().unwrap();
}

#[test]
fn an_index_of_hannoy_is_taken_over() {
    let place = Place::new();
    hannoy(&place.path("old"), Some("theirs"), 0, 300);
    let ran = place.line("import new old --json").done().json();
    assert_eq!(
        (ran[0]["imported"].as_u64(), ran[0]["database"].as_str()),
        (Some(300), Some("theirs"))
    );
    assert_eq!(place.sound("new"), 300);
    assert_eq!(place.line("get new 17").done().out, "17  [17.0, 1.0]\n");
    place.line("import new old").failed(2, &["already", "--index"]);
    place.line("import other old --number 7").failed(2, &["index 7", "--number"]);
    place.line("import other old --database none").failed(2, &["\"none\""]);
    place.line("import other missing").failed(3, &["missing", "check the path"]);
    place.line("import other new").failed(2, &["hannoy"]);
    hannoy(&place.path("old"), Some("more"), 0, 3);
    place.line("import other old").failed(2, &["theirs", "more", "--database"]);
    assert!(!place.path("other").exists());
    place.line("import other old --database more --form f16 --index small").done();
    assert_eq!(place.line("list other").done().out, "0\n1\n2\n");
}

#[test]
fn recall_and_speed_are_measured_against_the_truth() {
    let place = Place::new();
    std::fs::write(place.path("rows.f32"), floats(0..3000, 8)).unwrap();
    std::fs::write(place.path("queries.f32"), floats(3000..3100, 8)).unwrap();
    place.line("load notes rows.f32 --metric l2 -d 8").done();
    for more in ["--queries queries.f32", "--sample 40"] {
        let line =
            format!("bench notes {more} --ef 10,200 --rounds 1 --svg a{}.svg --json", more.len());
        let points = place.line(&line).done().json();
        let recall: Vec<f64> = points.iter().map(|p| p["recall"].as_f64().unwrap()).collect();
        assert_eq!(points.len(), 3);
        assert!(recall[0] <= recall[1] && recall[1] > 0.95 && recall[2] == 1.0, "{recall:?}");
        assert!(points.iter().all(|point| point["queries_per_second"].as_f64().unwrap() > 0.0));
        let svg = std::fs::read_to_string(place.path(&format!("a{}.svg", more.len()))).unwrap();
        assert!(svg.starts_with("<svg ") && svg.matches("<circle").count() == 2);
    }
    // The same as by hand.
    let exact = place.line("search notes --file queries.f32 --exact --json").done().json();
    let found = place.line("search notes --file queries.f32 --ef 10 --json").done().json();
    let hits = |(truth, found): (&serde_json::Value, &serde_json::Value)| -> usize {
        let keys = |answer: &serde_json::Value| -> Vec<u64> {
            let all = answer["neighbors"].as_array().unwrap();
            all.iter().map(|one| one["key"].as_u64().unwrap()).collect()
        };
        let truth = keys(truth);
        keys(found).iter().filter(|key| truth.contains(key)).count()
    };
    let hits: usize = exact.iter().zip(&found).map(hits).sum();
    let by_hand = hits as f64 / 1000.0;
    let line = "bench notes --queries queries.f32 --ef 10 --rounds 1 --json";
    let measured = place.line(line).done().json()[0]["recall"].as_f64().unwrap();
    // Ties count, and a search may scan so few items.
    assert!(measured >= by_hand - 0.2 && measured <= 1.0, "{measured} {by_hand}");
    assert!(place.line("bench notes --ef 10 --rounds 1").done().out.contains("recall@10"));
    place.line("bench missing").failed(3, &["missing", "check the path"]);
    place.line("create empty --metric l2 -d 2").done();
    place.line("bench empty").failed(2, &["empty", "load"]);
    place.line("report empty empty.html").done();
    place.line("report notes notes.html").done();
    let page = std::fs::read_to_string(place.path("notes.html")).unwrap();
    for part in ["Bytes by kind", "Degrees on layer 0", "Layers of the graph", "recall@10"] {
        assert!(page.contains(part), "{part}");
    }
    // Nothing is asked of a network, and nothing runs.
    let without = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!without.contains("http") && !without.contains("<script") && page.len() < 100_000);
    let printed = place.line("report notes - --no-recall").done().out;
    assert!(printed.starts_with("<!doctype html>") && !place.path("-").exists());
    place.line("report notes notes.html").failed(3, &["there already"]);
    place.line("report missing x.html").failed(3, &["missing", "check the path"]);
    place.line("report notes x.html --index other").failed(2, &["voisin inspect"]);
    place.line("report notes missing/x.html --no-recall").failed(3, &["missing", "check the path"]);
}

#[test]
fn shells_and_manuals_know_the_command() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.line(&format!("completions {shell}")).done().out;
        assert!(script.contains("voisin") && script.contains("optimize"), "{shell}");
    }
    place.line("man pages").done();
    let page = std::fs::read_to_string(place.path("pages/voisin-load.1")).unwrap();
    assert!(page.contains(".TH") && page.contains("voisin") && page.contains("first"), "{page}");
    assert!(place.path("pages/voisin.1").exists());
}
