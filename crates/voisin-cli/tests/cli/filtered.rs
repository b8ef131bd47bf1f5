//! Fields of records, conditions on them, kinds of index, pages and groups.

use serde_json::{Value, json};

use crate::Place;

/// Papers with three fields: item `i` is `[i, 1]`, of the year `1980 + i`, with the tag `a` or `b`.
fn papers() -> Place {
    let place = Place::new();
    let line = |i: u32| {
        let tag = ["a", "b"][i as usize % 2];
        let (year, is_open) = (1980 + i, i < 10);
        format!(
            "{{\"key\":\"{tag}/{i}\",\"vector\":[{i},1],\"tag\":\"{tag}\",\"year\":{year},\
             \"open\":{is_open},\"title\":\"paper {i}\"}}\n"
        )
    };
    std::fs::write(place.path("papers.jsonl"), (0..40).map(line).collect::<String>()).unwrap();
    let fields = "--field tag:keyword --field year:integer --field open:bool";
    place.line(&format!("create papers --metric l2 -d 2 --names texts {fields}")).done();
    place.line("load papers papers.jsonl --columns title").done();
    place
}

fn keys(answer: &Value) -> Vec<String> {
    let neighbors = answer["neighbors"].as_array().unwrap();
    neighbors.iter().map(|found| found["key"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn conditions_restrict_searches_lists_counts_facets_and_deletions() {
    let place = papers();
    let run = |line: &[&str]| place.run(line).done();
    let late = r#"{"field": "year", "at_least": 2010}"#;
    let found =
        run(&["search", "papers", "--vector", "0,1", "-k", "3", "--filter", late, "--json"]);
    assert_eq!(keys(&found.json()[0]), ["a/30", "b/31", "a/32"]);
    let both = ["search", "papers", "--vector", "0,1", "-k", "2", "--filter", late, "--json"];
    let found = run(&[&both[..], &["--prefix", "b/"]].concat());
    assert_eq!(keys(&found.json()[0]), ["b/31", "b/33"]);
    let found = run(&[&both[..], &["--candidate", "b/35", "--candidate", "b/1"]].concat());
    assert_eq!(keys(&found.json()[0]), ["b/35"]);
    assert_eq!(run(&["list", "papers", "--filter", late]).out.lines().count(), 10);
    let listed = run(&["list", "papers", "--filter", late, "--prefix", "b/", "-n", "2"]).out;
    assert_eq!(listed, "b/31\nb/33\n");
    assert_eq!(run(&["count", "papers"]).out, "40\n");
    assert_eq!(run(&["count", "papers", "--filter", late]).out, "10\n");
    let near = ["count", "papers", "--vector", "20,1", "--within", "9"];
    assert_eq!(run(&near).out, "7\n");
    let near = run(&[&near[..], &["--filter", late, "--json"]].concat()).json();
    assert_eq!((&near[0]["count"], &near[0]["exact"]), (&json!(0), &json!(true)));
    let facet = run(&["facet", "papers", "tag", "--filter", late, "--json"]).json();
    assert_eq!(facet, [json!({"value": "a", "count": 5}), json!({"value": "b", "count": 5})]);
    assert_eq!(run(&["facet", "papers", "open"]).out, "        30  false\n        10  true\n");
    let deleted = run(&["delete", "papers", "--filter", late, "--json"]).json();
    assert_eq!(deleted[0], json!({"deleted": 10, "missing": 0, "items": 30}));
    assert_eq!(place.sound("papers"), 30);
}

#[test]
fn what_is_wrong_with_a_field_or_a_condition_is_told() {
    let place = papers();
    for (condition, words) in [
        ("{", &["no condition", "not JSON", "docs/command.md"][..]),
        (r#"{"field": "tag", "like": "x"}"#, &["unknown", "\"eq\""]),
        (r#"{"field": "author", "eq": "x"}"#, &["author", "year", "--add-field"]),
        (r#"{"field": "year", "eq": "x"}"#, &["year", "integer"]),
    ] {
        for line in [
            &["search", "papers", "--vector", "1,1"][..],
            &["list", "papers"],
            &["count", "papers"],
            &["facet", "papers", "tag"],
            &["delete", "papers"],
        ] {
            place.run([line, &["--filter", condition]].concat()).failed(2, words);
        }
    }
    for (line, words) in [
        ("create new --metric l2 -d 2 --field tag", &["'tag'", "NAME:TYPE"][..]),
        ("create new --metric l2 -d 2 --field a:bool --field a:float", &["\"a\"", "drop it"]),
        ("create new --metric l2 -d 2 --kind graph", &["graph", "hnsw"]),
        ("create new --metric hamming -d 8 --kind ivf", &["hamming", "ivf", "cosine"]),
        ("alter papers --add-field tag:integer", &["\"tag\"", "drop it first"]),
        ("alter papers --drop-field author", &["author", "tag"]),
        ("alter papers --drop-kind flat", &["flat", "cannot be dropped"]),
        ("alter papers", &["--add-field"]),
        ("search papers --vector 1,1 --kind ivf", &["ivf", "flat, hnsw", "voisin alter"]),
        ("search papers --vector 1,1 --group-by author", &["author", "tag"]),
        ("search papers --item a/0 --group-by tag", &["--group-by", "--item"]),
        ("search papers --item a/0 --explain", &["--explain", "--item"]),
        ("search papers --vector 1,1 --page x", &["\"x\"", "first"]),
        ("load papers papers.jsonl", &["\"title\"", "--columns title", "--only-vectors"]),
    ] {
        place.line(line).failed(2, words);
    }
    std::fs::write(place.path("wrong.csv"), "key,vector,year\nx,1 2,late\n").unwrap();
    place.line("load papers wrong.csv").failed(2, &["line 2", "\"year\"", "\"late\"", "whole"]);
    let wrong = "{\"key\": \"x\", \"vector\": [1, 2], \"year\": \"late\"}";
    std::fs::write(place.path("wrong.jsonl"), wrong).unwrap();
    place.line("load papers wrong.jsonl").failed(2, &["\"year\"", "\"late\"", "--drop-field"]);
    assert_eq!(place.sound("papers"), 40);
}

#[test]
fn columns_become_records_in_every_format() {
    let place = papers();
    let record = |folder: &str, key: &str| -> Value {
        let got = place.run(["get", folder, key, "--json"]).done().json();
        serde_json::from_str(got[0]["record"].as_str().unwrap()).unwrap()
    };
    let expected = json!({"tag": "b", "year": 1983, "open": true, "title": "paper 3"});
    assert_eq!(record("papers", "b/3"), expected);
    let fields = "--field tag:keyword --field year:integer --field open:bool";
    let csv = "key,vector,tag,year,open,title\nb/3,3 1,b,1983,TRUE,paper 3\nb/5,5 1,,1985,,\n";
    std::fs::write(place.path("a.csv"), csv).unwrap();
    let load = "--metric l2 --names texts --all-columns";
    place.line(&format!("load csv a.csv {load} {fields}")).done();
    assert_eq!(record("csv", "b/3"), expected);
    assert_eq!(record("csv", "b/5"), json!({"year": 1985}));
    place.line("load csv a.csv --columns tilte --only-vectors").failed(2, &["\"tilte\""]);
    // Components in columns of their own, beside a field.
    std::fs::write(place.path("each.csv"), "key,x,year,y\nb/3,3,1983,1\n").unwrap();
    place.line("load each each.csv --metric l2 --names texts --field year:integer").done();
    assert_eq!(place.line("get each b/3").done().out, "b/3  [3.0, 1.0]  {\"year\":1983}\n");
    // What is exported can be filtered where it is loaded.
    for file in ["all.parquet", "all.jsonl"] {
        place.line(&format!("export papers {file}")).done();
        let folder = format!("of-{file}");
        place.line(&format!("load {folder} {file} --metric l2 --names texts {fields}")).done();
        assert_eq!(record(&folder, "b/3"), expected);
        let late = ["count", &folder, "--filter", r#"{"field": "year", "at_least": 2010}"#];
        assert_eq!(place.run(late).done().out, "10\n");
    }
}

/// A parquet file with columns of every type that records can have, and one that they cannot.
#[cfg(feature = "parquet")]
#[test]
fn columns_of_parquet_become_records_by_their_types() {
    use std::sync::Arc;

    use parquet::data_type::{
        BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray,
        FixedLenByteArrayType, FloatType, Int32Type, Int64Type,
    };
    use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

    fn put<T: DataType>(
        group: &mut SerializedRowGroupWriter<'_, std::fs::File>,
        values: &[T::T],
        defined: Option<&[i16]>,
        repeated: Option<&[i16]>,
    ) {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<T>().write_batch(values, defined, repeated).unwrap();
        column.close().unwrap();
    }

    let place = Place::new();
    let schema = "message rows { REQUIRED INT64 id; REQUIRED GROUP vector (LIST) { REPEATED GROUP \
        list { REQUIRED FLOAT element; } } OPTIONAL BYTE_ARRAY title (STRING); OPTIONAL BOOLEAN \
        open; OPTIONAL INT32 year; REQUIRED INT64 big (INTEGER(64, false)); REQUIRED DOUBLE score; \
        REQUIRED FLOAT weight; REQUIRED INT64 at (TIMESTAMP(MICROS, true)); REQUIRED INT32 day \
        (DATE); OPTIONAL GROUP tags (LIST) { REPEATED GROUP list { OPTIONAL BYTE_ARRAY element \
        (STRING); } } REQUIRED FIXED_LEN_BYTE_ARRAY (2) code; REQUIRED GROUP map \
        { REPEATED GROUP entry { REQUIRED INT32 key; REQUIRED INT32 value; } } }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let file = std::fs::File::create(place.path("a.parquet")).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let text = |text: &str| ByteArray::from(text);
    put::<Int64Type>(&mut group, &[1, 2, 3], None, None);
    let components = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    put::<FloatType>(&mut group, &components, Some(&[1; 6]), Some(&[0, 1, 0, 1, 0, 1]));
    put::<ByteArrayType>(&mut group, &[text("one"), text("three")], Some(&[1, 0, 1]), None);
    put::<BoolType>(&mut group, &[true, false], Some(&[1, 1, 0]), None);
    put::<Int32Type>(&mut group, &[-7], Some(&[0, 0, 1]), None);
    put::<Int64Type>(&mut group, &[-1, 0, 1], None, None);
    put::<DoubleType>(&mut group, &[0.1, 2.0, -3.5], None, None);
    put::<FloatType>(&mut group, &[0.1, 2.0, -3.5], None, None);
    put::<Int64Type>(&mut group, &[1_500, -1, 0], None, None);
    put::<Int32Type>(&mut group, &[1, 0, -1], None, None);
    let (defined, repeated) = ([3, 3, 0, 2, 3], [0, 1, 0, 0, 1]);
    let tags = [text("a"), text("b"), text("c")];
    put::<ByteArrayType>(&mut group, &tags, Some(&defined), Some(&repeated));
    let codes = [b"ab", b"cd", b"ef"].map(|code| FixedLenByteArray::from(code.to_vec()));
    put::<FixedLenByteArrayType>(&mut group, &codes, None, None);
    for _ in ["key", "value"] {
        put::<Int32Type>(&mut group, &[1, 2, 3], Some(&[1; 3]), Some(&[0; 3]));
    }
    group.close().unwrap();
    writer.close().unwrap();

    let columns = "--columns title,open,year,big,score,weight,at,day,tags";
    let load = format!("load rows a.parquet --metric l2 {columns}");
    place.line(&load).failed(2, &["\"code\"", "--columns code", "--only-vectors"]);
    place.line(&format!("{load},code")).failed(2, &["\"code\"", "leave it out"]);
    let map = place.line(&format!("{load},map --only-vectors"));
    map.failed(2, &["map.entry.value", "leave it out"]);
    place.line(&format!("{load},tilte --only-vectors")).failed(2, &["\"tilte\"", "no column"]);
    place.line(&format!("{load} --only-vectors --field tags:keyword --field at:timestamp")).done();
    let got = place.line("get rows 1 2 3 --json").done().json();
    let record = |row: usize| -> Value {
        serde_json::from_str(got[row]["record"].as_str().unwrap()).unwrap()
    };
    assert_eq!(
        record(0),
        json!({
            "title": "one", "open": true, "big": u64::MAX, "score": 0.1, "weight": 0.1, "at": 1,
            "day": 86_400_000, "tags": ["a", "b"],
        })
    );
    let second = json!({"open": false, "big": 0, "score": 2.0, "weight": 2.0, "at": -1, "day": 0});
    assert_eq!(record(1), second);
    assert_eq!(
        record(2),
        json!({
            "title": "three", "year": -7, "big": 1, "score": -3.5, "weight": -3.5, "at": 0,
            "day": -86_400_000, "tags": ["c"],
        })
    );
    assert_eq!(place.line("facet rows tags").done().out.lines().count(), 3);
}

#[test]
fn fields_and_kinds_of_a_living_index_change_in_one_commit() {
    let place = papers();
    let stats = || place.line("stats papers --json").done().json().remove(0);
    assert_eq!(stats()["index_kinds"], json!(["flat", "hnsw"]));
    assert_eq!(
        (&stats()["records"], &stats()["fields"][1]["type"]),
        (&json!(40), &json!("integer"))
    );
    let line = "alter papers --drop-field open --add-field title:keyword --add-kind lsh --json";
    let changed = place.line(line).done().json();
    assert_eq!(changed[0]["index_kinds"], json!(["flat", "hnsw", "lsh"]));
    let title = r#"{"field": "title", "prefix": "paper 1"}"#;
    assert_eq!(place.run(["count", "papers", "--filter", title]).done().out, "11\n");
    let text = place.line("stats papers").done().out;
    assert!(text.contains("flat, hnsw, lsh") && text.contains("title:keyword"), "{text}");
    for kind in ["lsh", "flat", "hnsw"] {
        let line = format!("search papers --vector 3,1 -k 1 --kind {kind} --json");
        assert_eq!(keys(&place.line(&line).done().json()[0]), ["b/3"]);
    }
    place.line("alter papers --drop-kind hnsw --drop-kind lsh").done();
    assert_eq!(stats()["index_kinds"], json!(["flat"]));
    let inspected = place.line("inspect papers").done().out;
    assert!(inspected.contains("flat") && !inspected.contains("hnsw"), "{inspected}");
    place.line("report papers papers.html").done();
    let page = std::fs::read_to_string(place.path("papers.html")).unwrap();
    assert!(page.contains("title:keyword") && page.contains("no graph"), "{page}");
    assert_eq!(place.sound("papers"), 40);
}

#[test]
fn a_search_goes_by_the_kind_that_is_asked_for() {
    let place = Place::new();
    std::fs::write(place.path("rows.f32"), crate::floats(0..5000, 8)).unwrap();
    place.line("load notes rows.f32 --metric l2 -d 8 --kind hnsw,ivf,lsh").done();
    for (how, strategy) in [
        ("--kind flat", "all"),
        ("--kind hnsw --ef 50", "graph"),
        ("--kind ivf --nprobe 8", "lists"),
        ("--kind ivf --parameters nprobe=8", "lists"),
        ("--exact", "all"),
    ] {
        let found = place.line(&format!("search notes --item 7 -k 3 {how} --json")).done().json();
        assert_eq!(found[0]["strategy"], strategy, "{how}");
    }
    place.line("search notes --item 7 --parameters depth=3").failed(2, &["depth=3", "nprobe"]);
    let stats = place.line("stats notes --json").done().json();
    assert!(stats[0]["ivf"]["lists"].as_u64() > Some(1), "{stats:?}");
    assert_eq!(stats[0]["lsh"]["tables"], 16);
    place.line("load notes rows.f32 --kind flat").failed(2, &["the kinds", "leave the option out"]);
}

#[test]
fn pages_go_on_and_groups_have_a_value() {
    let place = papers();
    let mut seen = Vec::new();
    let mut page = "first".to_owned();
    while seen.len() < 40 {
        let line = format!("search papers --vector 0,1 -k 9 --exact --page {page} --json");
        let found = place.line(&line).done().json();
        seen.extend(keys(&found[0]));
        page = found[0]["next"].as_str().unwrap().to_owned();
    }
    let all = place.line("search papers --vector 0,1 -k 40 --exact --json").done().json();
    assert_eq!(seen, keys(&all[0]));
    let last = place.line("search papers --vector 0,1 -k 9 --exact --json --page first").done();
    let token = last.json()[0]["next"].as_str().unwrap().to_owned();
    place.line("delete papers b/39").done();
    let line = format!("search papers --vector 0,1 -k 9 --exact --page {token}");
    place.line(&line).failed(2, &["has changed since", "first page"]);
    let line = "search papers --vector 0,1 -k 2 --group-by tag --per-group 2";
    let found = place.line(&format!("{line} --json")).done().json();
    assert_eq!(found[0]["groups"][0]["value"], "a");
    assert_eq!(keys(&found[0]["groups"][1]), ["b/1", "b/3"]);
    assert!(place.line(line).done().out.starts_with("a\n"));
    let explained = place.line("search papers --vector 0,1 --explain --json").done().json();
    assert!(explained[0]["explained"]["ways"][0]["took_us"].as_f64().unwrap() > 0.0);
}
