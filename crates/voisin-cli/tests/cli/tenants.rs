//! Tenants: each has its own items in every subcommand that takes one, and is listed and changed as
//! a whole.

use serde_json::{Value, json};

use crate::Place;

/// Two tenants with the keys `doc-0` to `doc-19`, at `[i, 1]` for `acme` and `[i + 100, 1]` for
/// `bolt & sons`, of the years `2000 + i`; and an item of no tenant, `doc-0` at `[-1, 1]`.
fn shops() -> Place {
    let place = Place::new();
    let write = |name: &str, first: usize| {
        let row = |i: usize| {
            let row = json!({
                "id": format!("doc-{i}"), "vector": [first + i, 1], "year": 2000 + i,
                "text": format!("what {name} says in doc-{i}"),
            });
            format!("{row}\n")
        };
        let rows: String = (0..20).map(row).collect();
        std::fs::write(place.path(&format!("{name}.jsonl")), rows).unwrap();
    };
    write("acme", 0);
    write("bolt", 100);
    std::fs::write(place.path("none.jsonl"), "{\"id\": \"doc-0\", \"vector\": [-1, 1]}\n").unwrap();
    let create = "--metric l2 --names texts --field year:integer --columns text --json";
    let line = format!("load shops acme.jsonl --tenant acme {create}");
    let loaded = place.line(&line).done().json();
    assert_eq!((&loaded[0]["loaded"], &loaded[0]["items"]), (&json!(20), &json!(20)));
    let bolt = ["load", "shops", "bolt.jsonl", "--columns", "text", "--tenant", "bolt & sons"];
    place.run(bolt).done();
    place.line("load shops none.jsonl").done();
    place
}

fn keys(answer: &Value) -> Vec<&str> {
    let neighbors = answer["neighbors"].as_array().unwrap();
    neighbors.iter().map(|found| found["key"].as_str().unwrap()).collect()
}

const EARLY: &str = r#"{"field": "year", "below": 2003}"#;

#[test]
fn a_tenant_is_searched_listed_counted_and_read_alone() {
    let place = shops();
    let run = |line: &[&str]| place.run(line).done();
    let bolt = ["--tenant", "bolt & sons"];
    let with = |line: &[&'static str]| run(&[line, &bolt[..]].concat());
    let found = with(&["search", "shops", "--vector", "0,1", "-k", "2", "--json"]).json();
    assert_eq!(keys(&found[0]), ["doc-0", "doc-1"]);
    assert_eq!(found[0]["neighbors"][0]["distance"], 10_000.0);
    let all = place.line("search shops --vector 0,1 -k 99 --tenant acme --json").done().json();
    assert_eq!((keys(&all[0]).len(), &all[0]["exact"]), (20, &json!(true)));
    let found = place.line("search shops --item doc-9 -k 2 --tenant acme --json").done().json();
    let mut near = keys(&found[0]);
    near.sort_unstable();
    assert_eq!(near, ["doc-10", "doc-8"]);
    let search = ["search", "shops", "--vector", "0,1", "-k", "9", "--json"];
    let found = with(&[&search[..], &["--filter", EARLY]].concat()).json();
    assert_eq!(keys(&found[0]), ["doc-0", "doc-1", "doc-2"]);
    let found = with(&[&search[..], &["--candidate", "doc-7", "--exclude", "doc-8"]].concat());
    assert_eq!(keys(&found.json()[0]), ["doc-7"]);
    let found = with(&[&search[..], &["--prefix", "doc-1", "--exclude", "doc-1"]].concat()).json();
    assert_eq!(keys(&found[0])[..2], ["doc-10", "doc-11"]);
    let page = |token: &str| {
        let line = format!("search shops --vector 0,1 -k 15 --exact --page {token} --tenant acme");
        place.line(&format!("{line} --json")).done().json().remove(0)
    };
    let first = page("first");
    let second = page(first["next"].as_str().unwrap());
    assert_eq!((keys(&first).len(), keys(&second)[0]), (15, "doc-15"));
    assert_eq!(keys(&second).len(), 5);

    assert_eq!(place.line("list shops --tenant acme -n 3").done().out, "doc-0\ndoc-1\ndoc-10\n");
    assert_eq!(with(&["list", "shops", "--prefix", "doc-19"]).out, "doc-19\n");
    assert_eq!(with(&["list", "shops", "--filter", EARLY]).out, "doc-0\ndoc-1\ndoc-2\n");
    // The index itself has all of them, by keys that tell the tenant.
    assert_eq!(place.line("list shops").done().out.lines().count(), 41);
    assert_eq!(place.line("count shops --tenant acme").done().out, "20\n");
    assert_eq!(with(&["count", "shops", "--filter", EARLY]).out, "3\n");
    assert_eq!(with(&["count", "shops", "--vector", "100,1", "--within", "9"]).out, "4\n");
    assert_eq!(place.line("count shops").done().out, "41\n");
    let got = with(&["get", "shops", "doc-3", "doc-4", "--json"]).json();
    assert_eq!((&got[0]["key"], &got[0]["vector"]), (&json!("doc-3"), &json!([103.0, 1.0])));
    let record: Value = serde_json::from_str(got[1]["record"].as_str().unwrap()).unwrap();
    assert_eq!(record, json!({"year": 2004, "text": "what bolt says in doc-4"}));
    assert!(place.line("get shops doc-0").done().out.starts_with("doc-0  [-1.0, 1.0]"));
    assert_eq!(place.sound("shops"), 41);
}

#[test]
fn a_tenant_is_exported_alone_and_loaded_elsewhere() {
    let place = shops();
    let told = place.line("export shops out.jsonl --tenant acme --json").done().json();
    assert_eq!(told[0]["exported"], 20);
    let line = "load there out.jsonl --metric l2 --names texts --field year:integer --tenant new";
    place.line(line).done();
    let got = |line: &str| place.line(line).done().out;
    assert_eq!(got("get shops doc-7 --tenant acme"), got("get there doc-7 --tenant new"));
    assert_eq!(got("tenants there"), "        20  new\n");
    place.line("export shops out.npy --tenant acme --only-vectors --keys keys").done();
    assert_eq!(std::fs::read_to_string(place.path("keys")).unwrap().lines().count(), 20);
    place.line("export shops no.npy --tenant acme").failed(2, &["--only-vectors"]);
    assert!(!place.path("no.npy").exists());
    let none = place.line("export shops - --format jsonl --tenant acmee").done();
    assert_eq!(none.out, "");
    assert!(none.err.contains("no tenant \"acmee\""), "{none:?}");
}

#[test]
fn items_of_a_tenant_are_replaced_deleted_and_erased_alone() {
    let place = shops();
    std::fs::write(place.path("new.jsonl"), "{\"id\": \"doc-5\", \"vector\": [7, 7]}\n").unwrap();
    place.line("load shops new.jsonl --tenant acme").done();
    let got = |tenant: &str| place.run(["get", "shops", "doc-5", "--tenant", tenant]).done().out;
    assert!(got("acme").contains("[7.0, 7.0]") && got("bolt & sons").contains("[105.0, 1.0]"));
    let deleted = place.line("delete shops doc-0 doc-1 --tenant acme --json").done().json();
    assert_eq!(deleted[0], json!({"deleted": 2, "missing": 0, "items": 39}));
    place.line("delete shops doc-0 doc-2 --tenant acme").failed(1, &["1 of 2"]);
    let matching = ["delete", "shops", "--tenant", "bolt & sons", "--filter", EARLY, "--json"];
    assert_eq!(place.run(matching).done().json()[0]["deleted"], 3);
    assert_eq!(place.run(matching).done().json()[0]["deleted"], 0);
    assert_eq!(place.line("count shops --tenant acme").done().out, "17\n");
    assert!(place.line("get shops doc-0").done().out.starts_with("doc-0  [-1.0"));
    let erased = place.line("erase shops doc-6 doc-7 --tenant acme --json").done().json();
    assert_eq!(erased[0], json!({"erased": 2, "missing": 0, "items": 33}));
    place.line("erase shops doc-6 --tenant acme").failed(1, &["1 of 1"]);
    let both = ["erase", "shops", "--tenant", "acme", "--filter", EARLY];
    place.run(both).failed(2, &["\"acme\"", "--filter", "voisin list"]);
    assert_eq!(place.sound("shops"), 33);
}

#[test]
fn tenants_are_listed_renamed_dropped_and_erased() {
    let place = shops();
    let listed = "        20  acme\n        20  bolt & sons\n";
    assert_eq!(place.line("tenants shops").done().out, listed);
    assert_eq!(place.line("tenants shops -n 1").done().out.lines().count(), 1);
    let listed = place.line("tenants shops --json").done().json();
    assert_eq!(listed[1], json!({"tenant": "bolt & sons", "items": 20}));
    let renamed = place.line("tenants shops --rename acme core --json").done().json();
    assert_eq!(renamed[0], json!({"renamed": "acme", "to": "core", "items": 20}));
    let taken = ["tenants", "shops", "--rename", "core", "bolt & sons"];
    place.run(taken).failed(2, &["bolt & sons", "--drop"]);
    let dropped = place.run(["tenants", "shops", "--drop", "bolt & sons"]).done().out;
    assert_eq!(dropped, "dropped bolt & sons, of 20 items\n");
    assert_eq!(place.line("tenants shops").done().out, "        20  core\n");
    let has = |folder: &str| {
        let text = b"what acme says in doc-7";
        let file = std::fs::read(place.path(folder).join("data.mdb")).unwrap();
        file.windows(text.len()).any(|run| run == text)
    };
    assert!(has("shops"));
    let erased = place.line("tenants shops --erase core --json").done().json();
    assert_eq!(erased[0], json!({"erased": "core", "items": 20}));
    place.line("copy shops clean").done();
    assert!(!has("clean"));
    assert_eq!(place.line("tenants shops").done().out, "");
    for change in ["--drop acme", "--erase acme", "--rename acme core"] {
        place.line(&format!("tenants shops {change}")).failed(1, &["\"acme\"", "voisin tenants"]);
    }
    assert_eq!((place.sound("shops"), place.sound("clean")), (1, 1));
}

#[test]
fn a_tenant_moves_to_another_index_and_to_another_folder() {
    let place = shops();
    let create = "--metric l2 -d 2 --names texts --field year:integer";
    place.line(&format!("create shops --index large {create}")).done();
    place.line(&format!("create other {create}")).done();
    let line = "tenants shops --index main --move acme --to-index large";
    let moved = place.line(&format!("{line} --json")).done().json();
    assert_eq!((&moved[0]["items"], &moved[0]["index"]), (&json!(20), &json!("large")));
    place.line(line).failed(2, &["\"acme\" already", "--drop"]);
    place.line(&line.replace("acme", "nobody")).failed(1, &["\"nobody\"", "voisin tenants"]);
    let tenants = |of: &str| place.line(&format!("tenants {of}")).done().out;
    let acme = "        20  acme\n";
    assert_eq!(tenants("shops --index large"), acme);
    assert_eq!(tenants("shops --index main"), "        20  bolt & sons\n");
    let told = place.line("tenants shops --index large --move acme --to other").done().out;
    assert_eq!(told, "moved acme, of 20 items, to main\n");
    assert_eq!(tenants("shops --index large"), "");
    assert_eq!(tenants("other"), acme);
    assert!(place.line("get other doc-7 --tenant acme").done().out.contains("2007"));
    place.line("create three --metric l2 -d 3 --names texts").done();
    place.line("tenants other --move acme --to three").failed(2, &["dimensions", "2", "3"]);
    place.line("tenants other --move acme --to missing").failed(3, &["missing"]);
    place.line("tenants other --move acme").failed(2, &["--to"]);
    place.line("tenants other --to three").failed(2, &["--move"]);
    assert_eq!(tenants("other"), acme);
    assert_eq!(place.line("count shops --index main").done().out, "21\n");
    place.line("check shops --deep").done();
    assert_eq!((place.sound("other"), place.sound("three")), (20, 0));
}

#[test]
fn what_is_wrong_with_a_tenant_is_told() {
    let place = shops();
    place.line("create ids --metric l2 -d 2").done();
    for line in [
        "load ids none.jsonl --tenant acme",
        "search ids --vector 1,1 --tenant acme",
        "get ids 1 --tenant acme",
        "list ids --tenant acme",
        "count ids --tenant acme",
        "export ids out.jsonl --tenant acme",
        "delete ids 1 --tenant acme",
        "erase ids 1 --tenant acme",
        "tenants ids",
        "tenants ids --drop acme",
        "tenants ids --rename acme core",
        "load new none.jsonl --metric l2 --tenant acme",
    ] {
        place.line(line).failed(2, &["u32 ids", "--names texts"]);
    }
    assert!(!place.path("new").exists());
    let long = "n".repeat(477);
    for (line, words) in [
        (&["list", "shops", "--tenant", ""][..], &["0 bytes", "476"][..]),
        (&["tenants", "shops", "--drop", &long], &["477 bytes", "476"]),
        (&["tenants", "shops", "--rename", "acme"], &["--rename", "2"]),
        (&["tenants", "shops", "--rename", "acme", "a", "--drop", "acme"], &["--drop"]),
        (&["tenants", "shops", "--drop", "acme", "-n", "1"], &["--limit"]),
        (&["delete", "shops", "--tenant", "acme"], &["KEY"]),
        (&["delete", "shops", "-i", "main", "--whole-index", "--tenant", "acme"], &["--tenant"]),
    ] {
        place.run(line).failed(2, words);
    }
    std::fs::write(place.path("long.jsonl"), format!("{{\"id\": \"{long}\", \"vector\": [1, 2]}}"))
        .unwrap();
    place.line("load shops long.jsonl --tenant acme").failed(2, &["row 1", "477 bytes", "473"]);
    std::fs::write(place.path("nan.csv"), "x,1,NaN\n").unwrap();
    place.line("load shops nan.csv --tenant acme").failed(2, &["\"x\"", "\"acme\""]);
    place.line("get shops doc-99 --tenant acme").failed(1, &["\"doc-99\"", "\"acme\""]);
    place.line("search shops --item doc-99 --tenant acme").failed(1, &["\"doc-99\"", "\"acme\""]);
    // A name that may be mistyped is no failure: a tenant is there while it has items.
    for (line, out) in [
        ("list shops --tenant acmee", ""),
        ("count shops --tenant acmee", "0\n"),
        ("search shops --vector 1,1 --tenant acmee", ""),
    ] {
        let ran = place.line(line).done();
        assert_eq!(ran.out, out, "{line}");
        assert!(ran.err.contains("no tenant \"acmee\"") && ran.err.lines().count() == 1, "{ran:?}");
        let quiet = place.line(&format!("{line} --quiet")).done();
        assert_eq!((quiet.out.as_str(), quiet.err.as_str()), (out, ""));
    }
    assert_eq!(place.sound("shops"), 41);
}

#[test]
fn tenants_of_an_index_of_bytes_have_hexadecimal_names() {
    let place = Place::new();
    std::fs::write(place.path("a.jsonl"), "{\"id\": \"00ff\", \"vector\": [1, 2]}\n").unwrap();
    place.line("load bytes a.jsonl --tenant cafe --metric l2 --names bytes").done();
    assert_eq!(place.line("tenants bytes").done().out, "         1  cafe\n");
    assert_eq!(place.line("list bytes --tenant cafe --prefix 00").done().out, "00ff\n");
    place.line("list bytes --tenant caf").failed(2, &["\"caf\"", "hexadecimal"]);
    place.line("tenants bytes --rename cafe 00").done();
    assert_eq!(place.line("count bytes --tenant 00").done().out, "1\n");
    place.line("delete bytes 00FF --tenant 00").done();
    assert_eq!(place.sound("bytes"), 0);
}
