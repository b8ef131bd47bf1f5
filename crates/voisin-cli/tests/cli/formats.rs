//! Every format that `load` reads: the vectors that come back are those of the file.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::{Place, Ran, npy};

const ROWS: [[f32; 2]; 3] = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];

/// The items of an index, as the command prints them.
fn items(place: &Place, folder: &str) -> Vec<(Value, Vec<f32>)> {
    let keys = place.run(["list", folder, "--json"]).done().json();
    let all: Vec<String> = keys
        .iter()
        .map(|key| match &key["key"] {
            Value::String(text) => text.clone(),
            number => number.to_string(),
        })
        .collect();
    let mut line = vec!["get", folder, "--json"];
    line.extend(all.iter().map(String::as_str));
    let got = place.run(line).done().json();
    let floats = |vector: &Value| -> Vec<f32> { serde_json::from_value(vector.clone()).unwrap() };
    got.iter().map(|item| (item["key"].clone(), floats(&item["vector"]))).collect()
}

/// Loads a file into an index that the load creates.
#[track_caller]
fn loads(place: &Place, file: &str, options: &str, first_key: impl Into<Value>) {
    let folder = format!("index of {file} {options}");
    let mut line = vec!["load", &folder, file, "--metric", "euclidean"];
    line.extend(options.split_whitespace());
    place.run(line).done();
    let found = items(place, &folder);
    let vectors: Vec<Vec<f32>> = found.iter().map(|(_, vector)| vector.clone()).collect();
    assert_eq!(vectors, ROWS, "{file}");
    assert_eq!(found[0].0, first_key.into(), "{file}");
}

fn bytes<const N: usize>(of: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
    ROWS.iter().flatten().flat_map(|x| of(*x)).collect()
}

fn vecs<const N: usize>(of: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
    let row = |row: &[f32; 2]| {
        let components = row.iter().flat_map(|x| of(*x));
        2i32.to_le_bytes().into_iter().chain(components).collect::<Vec<u8>>()
    };
    ROWS.iter().flat_map(row).collect()
}

#[test]
fn binary_formats_are_loaded() {
    let place = Place::new();
    npy(&place.path("f4.npy"), "<f4", (3, 2), &bytes(f32::to_le_bytes));
    npy(&place.path("f8.npy"), "<f8", (3, 2), &bytes(|x| f64::from(x).to_le_bytes()));
    npy(&place.path("f2.npy"), "<f2", (3, 2), &bytes(|x| half::f16::from_f32(x).to_le_bytes()));
    npy(&place.path("i1.npy"), "|i1", (3, 2), &bytes(|x| [x as i8 as u8]));
    npy(&place.path("u1.npy"), "|u1", (3, 2), &bytes(|x| [x as u8]));
    for file in ["f4.npy", "f8.npy", "f2.npy", "i1.npy", "u1.npy"] {
        loads(&place, file, "", 0);
        loads(&place, file, "--first-id 7", 7);
        loads(&place, file, "--names numbers --first-id 5000000000", 5_000_000_000u64);
    }
    std::fs::write(place.path("a.fvecs"), vecs(f32::to_le_bytes)).unwrap();
    std::fs::write(place.path("a.bvecs"), vecs(|x| [x as u8])).unwrap();
    std::fs::write(place.path("a.ivecs"), vecs(|x| (x as i32).to_le_bytes())).unwrap();
    for file in ["a.fvecs", "a.bvecs", "a.ivecs"] {
        loads(&place, file, "", 0);
    }
    std::fs::write(place.path("a.f16"), bytes(|x| half::f16::from_f32(x).to_le_bytes())).unwrap();
    std::fs::write(place.path("a.bin"), bytes(f32::to_le_bytes)).unwrap();
    loads(&place, "a.f16", "--dimensions 2", 0);
    loads(&place, "a.bin", "--format f32 --dimensions 2", 0);
    std::fs::write(place.path("keys"), "c\nb\na\n").unwrap();
    place.line("load texts f4.npy --keys keys --metric cosine --names texts").done();
    let found = items(&place, "texts");
    assert_eq!(found[0], (Value::from("a"), vec![5.0, 6.0]));
}

#[test]
fn bytes_and_uuids_name_items_in_all_commands() {
    let place = Place::new();
    let bytes: Vec<u8> = (1..=6).flat_map(|x| f32::to_le_bytes(x as f32)).collect();
    npy(&place.path("f4.npy"), "<f4", (3, 2), &bytes);
    let uuid = |last: &str| format!("67e55044-10b1-426f-9247-bb680e5fe0{last}");
    for (names, keys) in [
        ("bytes", ["00ff", "00", "f0f1"].map(str::to_owned)),
        ("uuids", ["c8", "c7", "ff"].map(uuid)),
    ] {
        let index = format!("{names}.index");
        std::fs::write(place.path("keys"), keys.join("\n")).unwrap();
        let load = format!("load {index} f4.npy --keys keys --metric cosine --names {names}");
        place.line(&load).done();
        let expected = [(1, [3.0, 4.0]), (0, [1.0, 2.0]), (2, [5.0, 6.0])]
            .map(|(at, row)| (Value::from(keys[at].clone()), row.to_vec()));
        assert_eq!(items(&place, &index), expected);
        // Exported files have the same keys.
        for form in ["jsonl", "parquet"] {
            let (file, again) = (format!("{names}.{form}"), format!("{names}.of.{form}"));
            place.line(&format!("export {index} {file}")).done();
            place.line(&format!("load {again} {file} --metric cosine --names {names}")).done();
            assert_eq!(items(&place, &again), expected);
        }
        let line = format!("get {index} {}", keys[2]);
        assert!(place.line(&line).done().out.contains(&keys[2]));
        let word = if names == "bytes" { "hexadecimal" } else { "67e55044" };
        place.line(&format!("get {index} 0")).failed(2, &["\"0\"", word]);
        place.line(&format!("delete {index} {}", keys[0])).done();
        place.line(&format!("check {index}")).done();
    }
    let listed = place.line("list bytes.index --prefix f0").done().out;
    assert_eq!(listed.trim(), "f0f1");
    place.line("list uuids.index --prefix f0").failed(2, &["UUID keys"]);
}

#[test]
fn text_formats_are_loaded() {
    let place = Place::new();
    let write = |name: &str, text: &str| std::fs::write(place.path(name), text).unwrap();
    write(
        "a.jsonl",
        "{\"id\":4,\"vector\":[1,2]}\n{\"id\":5,\"vector\":[3,4]}\n{\"id\":6,\"vector\":[5,6]}",
    );
    loads(&place, "a.jsonl", "", 4);
    loads(&place, "a.jsonl", "--names texts", "4");
    write("lists.jsonl", "[1,2]\n[3,4]\n[5,6]\n");
    loads(&place, "lists.jsonl", "", 0);
    write(
        "more.jsonl",
        "{\"k\":\"a\",\"v\":[1,2],\"title\":\"x\"}\n{\"k\":\"b\",\"v\":[3,4]}\n\
         {\"k\":\"c\",\"v\":[5,6]}",
    );
    let fields = "--key-field k --vector-field v --only-vectors --names texts";
    loads(&place, "more.jsonl", fields, "a");
    write("a.csv", "id,x,y\n4,1,2\n5,3,4\n6,5,6\n");
    loads(&place, "a.csv", "", 4);
    write("bare.csv", "1,2\n3,4\n5,6\n");
    loads(&place, "bare.csv", "", 0);
    write("keyed.csv", "4,1,2\n5,3,4\n6,5,6\n");
    loads(&place, "keyed.csv", "--dimensions 2", 4);
    write("a.tsv", "key\tvector\na\t[1,2]\nb\t[3, 4]\nc\t5 6\n");
    loads(&place, "a.tsv", "--names texts", "a");
}

/// Runs a command with an input.
fn piped(place: &Place, line: &str, input: &[u8]) -> Ran {
    let mut command = place.command(line.split_whitespace());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // It may end before it has read everything.
    _ = child.stdin.take().unwrap().write_all(input);
    Ran::of(child.wait_with_output().unwrap())
}

#[test]
fn pipes_are_loaded() {
    let place = Place::new();
    npy(&place.path("a.npy"), "<f4", (3, 2), &bytes(f32::to_le_bytes));
    let file = std::fs::read(place.path("a.npy")).unwrap();
    piped(&place, "load a - --metric euclidean", &file).done();
    piped(&place, "load b - --metric euclidean", b"[1,2]\n[3,4]\n[5,6]\n").done();
    piped(&place, "load c - --metric euclidean --format csv", b"1,2\n3,4\n5,6\n").done();
    for folder in ["a", "b", "c"] {
        assert_eq!(items(&place, folder).len(), 3);
    }
    let error = piped(&place, "load d - --metric euclidean", b"1,2\n3,4\n");
    error.failed(2, &["the standard input", "--format"]);
    let error = piped(&place, "load d - --metric euclidean", &file[..file.len() - 3]);
    error.failed(2, &["row 3", "cut off"]);
    assert!(!place.path("d").exists());
    let error = piped(&place, "load e - --metric euclidean --format parquet", b"PAR1");
    error.failed(2, &["pipe", "file"]);
    assert!(!place.path("e").exists());
    let found = piped(&place, "search a --file - -k 1 --json", b"[3, 4]").done().json();
    assert_eq!(found[0]["neighbors"][0]["key"], 1);
}

#[test]
fn the_same_load_within_a_budget_of_memory_gives_the_same_items() {
    let place = Place::new();
    std::fs::write(place.path("rows.f32"), crate::floats(0..6000, 16)).unwrap();
    let kind = "--metric euclidean --dimensions 16";
    place.line(&format!("load whole rows.f32 {kind}")).done();
    place.line(&format!("load parts rows.f32 {kind} --memory 10M")).done();
    place.line(&format!("load commits rows.f32 {kind} --commit-every 1000")).done();
    place.line("load parts rows.f32 --memory 1K").failed(2, &["1024 bytes", "--memory"]);
    for folder in ["whole", "parts", "commits"] {
        assert_eq!(place.sound(folder), 6000);
    }
    let get = |folder: &str| place.run(["get", folder, "5999"]).done().out;
    assert_eq!(get("whole"), get("parts"));
}
