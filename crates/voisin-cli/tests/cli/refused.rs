//! Wrong paths, metrics, shapes and values: one line, a code, and nothing has changed.

use crate::{Place, floats, npy};

#[test]
fn a_wrong_path_is_named_with_a_remedy() {
    let place = Place::with_notes();
    for line in [
        "load missing rows.f32",
        "search missing --item 1",
        "get missing 1",
        "delete missing 1",
        "list missing",
        "inspect missing",
        "stats missing",
        "check missing",
        "check missing --deep",
        "repair missing",
        "optimize missing",
        "copy missing backup",
    ] {
        place.line(line).failed(3, &["missing", "check the path"]);
    }
    for line in [
        "load notes missing.npy",
        "load notes rows.f32 --keys missing.txt",
        "search notes --file missing.npy",
        "delete notes --file missing.txt",
        "copy notes missing/backup",
    ] {
        place.line(line).failed(3, &["missing", "check the path"]);
    }
    // A file in the place of a folder, and the reverse.
    for line in ["list rows.f32", "stats rows.f32", "create rows.f32/x --metric l2 -d 2"] {
        place.line(line).failed(3, &["rows.f32"]);
    }
    place.line("load notes notes --format npy").failed(2, &["notes", "folder", "give a file"]);
    place.line("copy notes notes").failed(3, &["there already"]);
    place.line("copy notes notes/inside").failed(2, &["inside", "another one"]);
    assert_eq!(place.sound("notes"), 500);
    assert_eq!(place.names(), ["more.f32", "notes", "rows.f32"]);
}

#[test]
fn a_wrong_index_metric_or_form_is_named_with_a_remedy() {
    let place = Place::with_notes();
    for subcommand in ["list", "stats", "repair", "optimize", "get 1", "search --item 1"] {
        let mut words = subcommand.split_whitespace();
        let mut line = vec![words.next().unwrap(), "notes", "--index", "other"];
        line.extend(words);
        place.run(line).failed(2, &["\"other\"", "[\"main\"]", "--index"]);
    }
    place.line("check notes --deep --index other").failed(2, &["\"other\"", "voisin inspect"]);
    place.line("load notes rows.f32 --metric cosine").failed(2, &["euclidean", "cosine"]);
    place.line("load notes rows.f32 --metric l2 --form f16").failed(2, &["--form"]);
    place.line("load notes rows.f32 --metric l2 --names texts").failed(2, &["u32 ids"]);
    place.line("load notes rows.f32 --m 7").failed(2, &["M 16, not 7"]);
    place.line("create notes --metric l2 -d 8").failed(2, &["already", "--index"]);
    place.line("create new --metric l3 -d 8").failed(2, &["l3", "euclidean"]);
    place.line("create new --metric l2 --form bits -d 8").failed(2, &["bits", "f16"]);
    place.line("create new -d 8").failed(2, &["--metric"]);
    place.line("create new --metric l2 -d 0").failed(2, &["1 to 65535"]);
    place.line("create new --metric l2 -d 8 --m 1").failed(2, &["M is 1", "2048"]);
    place.line("create new --metric hamming -d 8 --codes 4").failed(2, &["hamming", "cosine"]);
    place.line("create new --metric l2 -d 8 --codes 3").failed(2, &["1, 2, 4, 7 or 8"]);
    assert_eq!(place.sound("notes"), 500);
    assert!(!place.path("new").exists());
}

#[test]
fn a_wrong_shape_is_named_with_a_remedy() {
    let place = Place::with_notes();
    npy(&place.path("seven.npy"), "<f4", (2, 7), &floats(0..2, 7));
    std::fs::write(place.path("odd.f32"), [0; 30]).unwrap();
    std::fs::write(place.path("one.jsonl"), "[1,2,3,4,5,6,7,8]\n[1,2]\n").unwrap();
    std::fs::write(place.path("nan.csv"), "1,2,3,4,5,6,7,NaN\n").unwrap();
    std::fs::write(place.path("text.csv"), "1,2,3,4,5,6,7,8\n1,2,3,4,5,6,7,eight\n").unwrap();
    std::fs::write(place.path("keys"), "1\n2\n").unwrap();
    for (line, words) in [
        ("load notes seven.npy", &["seven.npy", "7 components", "8 dimensions"][..]),
        ("search notes --file seven.npy", &["seven.npy", "7 components", "8 dimensions"]),
        ("load notes odd.f32", &["30 bytes", "32 bytes"]),
        ("load notes one.jsonl", &["one.jsonl, line 2", "2 components"]),
        ("load notes nan.csv", &["item 0"]),
        ("load notes text.csv", &["line 2", "\"eight\"", "column 8"]),
        ("load notes rows.f32 --keys keys", &["keys", "2 keys", "a key for each"]),
        ("load notes rows.f32 --first-id 4294967200", &["row 97", "4294967295"]),
        ("load new rows.f32 --metric l2", &["--dimensions"]),
        ("load notes rows.f32 --dimensions 9", &["dimensions 8, not 9"]),
        ("search notes --vector 1,2", &["2 dimensions", "8"]),
        ("search notes --vector 1,2,x", &["\"x\"", "0.1"]),
        ("search notes --vector 1,2,3,4,5,6,7,inf", &["the query"]),
        ("search notes --item one", &["\"one\"", "number"]),
        ("search notes --item 1 --recall 1.5", &["1.5"]),
        ("search notes --item 1 --prefix a", &["prefix", "leave it out"]),
        ("list notes --prefix a", &["prefix", "leave it out"]),
        ("get notes one", &["\"one\"", "number"]),
        ("delete notes one", &["\"one\"", "number"]),
    ] {
        place.line(line).failed(2, words);
    }
    assert_eq!(place.sound("notes"), 500);
    assert!(!place.path("new").exists());
    let row = place.line("get notes 0").done().out;
    assert!(row.starts_with("0  [0.0, 7.0, 14.0"), "{row}");
}

#[test]
fn what_is_missing_is_a_no() {
    let place = Place::with_notes();
    place.line("get notes 1000").failed(1, &["\"1000\"", "voisin list"]);
    let both = place.line("get notes 1 1000 1001").failed(1, &["2 of 3", "\"1000\""]);
    assert_eq!(both.out.lines().count(), 1);
    place.line("search notes --item 1000").failed(1, &["\"1000\""]);
    place.line("delete notes 7 1000").failed(1, &["1 of 2"]);
    assert_eq!(place.sound("notes"), 499);
}

#[test]
fn a_wrong_command_line_is_one_line() {
    let place = Place::with_notes();
    place.line("").failed(2, &["--help"]);
    place.line("serach notes").failed(2, &["serach", "search"]);
    place.line("search notes").failed(2, &["--vector"]);
    place.line("search notes --item 1 --file rows.f32").failed(2, &["--file"]);
    place.line("search notes --item 1 -k x").failed(2, &["'x'"]);
    place.line("load notes rows.f32 --threads 0").failed(2, &["'0'", "1 to 1024"]);
    place.line("bench notes --threads 99999999").failed(2, &["99999999", "1 to 1024"]);
    place.line("load notes rows.f32 --commit-every 0").failed(2, &["0 is not in 1.."]);
    place.line("load notes rows.f32 --memory 5X").failed(2, &["5X", "binary"]);
    place.line("delete notes").failed(2, &["KEY"]);
}

#[test]
fn errors_are_json_where_that_is_asked_for() {
    let place = Place::with_notes();
    for (line, code, kind) in [
        ("list missing --json", 3, "environment"),
        ("get notes 1000 --json", 1, "no"),
        ("search notes --vector 1 --json", 2, "usage"),
        ("nonsense --json", 2, "usage"),
    ] {
        let ran = place.line(line);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        let error: serde_json::Value = serde_json::from_str(ran.err.trim_end()).unwrap();
        assert_eq!(
            (error["exit"].as_i64(), error["kind"].as_str()),
            (Some(code.into()), Some(kind))
        );
        assert!(!error["error"].as_str().unwrap().is_empty());
    }
}

#[test]
fn names_that_are_no_text_are_names_of_files() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let place = Place::with_notes();
    let name = |end: &str| OsStr::from_bytes(&[b"caf\xe9 ", end.as_bytes()].concat()).to_owned();
    std::fs::copy(place.path("rows.f32"), place.0.path().join(name("rows.f32"))).unwrap();
    let run = |words: &[&OsStr]| place.run(words);
    let word = OsStr::new;
    let (folder, rows) = (name("notes"), name("rows.f32"));
    let kind = ["--metric", "l2", "-d", "8"].map(word);
    run(&[&[word("create"), &folder], &kind[..]].concat()).done();
    run(&[word("load"), &folder, &rows]).done();
    run(&[word("export"), &folder, &name("a.npy")]).done();
    run(&[word("copy"), &folder, &name("copy")]).done();
    run(&[word("report"), &folder, &name("a.html"), word("--no-recall")]).done();
    run(&[word("man"), &name("pages")]).done();
    let loaded = run(&[word("load"), &folder, &rows, word("--json")]).done().json();
    assert!(loaded[0]["folder"].as_str().unwrap().contains("caf\u{fffd} notes"), "{loaded:?}");
    run(&[word("load"), &folder, &name("none.npy")]).failed(3, &["none.npy", "check the path"]);
}

#[test]
fn a_number_that_no_item_can_have_is_told() {
    let place = Place::with_notes();
    let huge = "load huge rows.f32 --metric l2 -d 8 --names numbers --first-id";
    place.line(&format!("{huge} 18446744073709551610")).failed(2, &["row 7", "--first-id"]);
    assert!(!place.path("huge").exists());
    place.line("load notes rows.f32 --first-id 4294967290").failed(2, &["row 7", "4294967295"]);
    let ids = "{\"id\": 18446744073709551616, \"vector\": [1, 2]}";
    std::fs::write(place.path("ids.jsonl"), ids).unwrap();
    place.line("load ids ids.jsonl --metric l2").failed(2, &["2^64 - 1"]);
    assert_eq!(place.sound("notes"), 500);
}

#[test]
fn damage_is_a_no_of_check_and_data_for_all_others() {
    let place = Place::with_notes();
    let data = place.path("notes").join("data.mdb");
    let mut bytes = std::fs::read(&data).unwrap();
    // A component of a vector, far from LMDB's own pages.
    let vector: Vec<u8> = floats(250..251, 8);
    let at = bytes.windows(vector.len()).rposition(|window| window == vector).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&data, &bytes).unwrap();
    place.line("check notes").done();
    let found = place.line("check notes --deep").failed(1, &["damaged", "backup"]);
    assert!(found.out.contains("main: "), "{found:?}");
    place.line("copy notes backup").failed(4, &["corrupt", "voisin check --deep"]);
    assert!(!place.path("backup").exists());
    // Cut off.
    bytes.truncate(bytes.len() / 2);
    std::fs::write(&data, &bytes).unwrap();
    for line in
        ["list notes", "stats notes", "load notes more.f32", "inspect notes", "copy notes b"]
    {
        place.line(line).failed(4, &["data.mdb", "backup"]);
    }
    let found = place.line("check notes --json");
    assert!(matches!(found.code, Some(1 | 4)), "{found:?}");
    assert_eq!(std::fs::read(&data).unwrap(), bytes);
}

#[test]
fn a_folder_of_another_program_is_told() {
    let place = Place::new();
    std::fs::create_dir(place.path("other")).unwrap();
    std::fs::write(place.path("other/data.mdb"), vec![7; 8192]).unwrap();
    for line in ["list other", "stats other", "inspect other", "load other x.npy"] {
        let ran = place.line(line);
        assert!(matches!(ran.code, Some(3 | 4)), "{ran:?}");
        let code = ran.code.unwrap();
        ran.failed(code, &["other"]);
    }
}
