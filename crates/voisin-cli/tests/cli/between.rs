//! What goes from one index to another, and what is left of what was taken away: `merge`, `split`,
//! `erase`, and loads that create an index and fail.

use serde_json::json;

use crate::{Place, floats};

fn items(place: &Place, line: &str) -> usize {
    place.line(&format!("list {line}")).done().out.lines().count()
}

#[test]
fn what_is_erased_is_in_no_copy() {
    let place = Place::new();
    let secret = "a secret that is longer than 16 bytes";
    let rows: String = (0..40)
        .map(|i| {
            let user = ["ann", "bob"][i % 2];
            let text = if i % 2 == 0 { secret } else { "what may stay in the file" };
            let row = json!({
                "id": format!("{user}/{i}"), "vector": [i, 1], "user": user, "text": text,
            });
            format!("{row}\n")
        })
        .collect();
    std::fs::write(place.path("a.jsonl"), rows).unwrap();
    place
        .line("load notes a.jsonl --metric l2 --names texts --field user:keyword --columns text")
        .done();
    let has = |folder: &str, text: &str| {
        let file = std::fs::read(place.path(folder).join("data.mdb")).unwrap();
        file.windows(text.len()).any(|run| run == text.as_bytes())
    };
    assert!(has("notes", secret));
    let erased = place.line("erase notes ann/0 ann/2 --json").done().json();
    assert_eq!(erased[0], json!({"erased": 2, "missing": 0, "items": 38}));
    let by_user = ["erase", "notes", "--filter", r#"{"field": "user", "eq": "ann"}"#];
    let told = place.run(by_user).done().out;
    assert!(told.contains("18 items") && told.contains("voisin copy"), "{told}");
    place.line("copy notes clean").done();
    assert!(!has("clean", secret) && has("clean", "what may stay in the file"));
    assert_eq!((place.sound("notes"), place.sound("clean")), (20, 20));
    place.line("erase notes bob/1 nobody").failed(1, &["1 of 2", "erased"]);
    place.line("erase notes").failed(2, &["KEY"]);
    std::fs::write(place.path("keys"), "bob/3\nbob/5\n").unwrap();
    place.line("erase notes --file keys").done();
    assert_eq!(place.sound("notes"), 17);
}

#[test]
fn indexes_are_merged_under_the_same_keys_or_others() {
    let place = Place::with_notes();
    place.line("merge all notes").done();
    assert_eq!((items(&place, "all"), place.sound("all")), (500, 500));
    // Like the other one.
    let stats = |folder: &str| place.line(&format!("stats {folder} --json")).done().json();
    let (all, notes) = (stats("all"), stats("notes"));
    for what in ["metric", "form", "names", "dimensions", "m", "m0", "index_kinds"] {
        assert_eq!(all[0][what], notes[0][what], "{what}");
    }
    place.line("merge all notes").failed(2, &["item 0", "there already", "--offset"]);
    let merged = place.line("merge all notes --offset 1000 --json").done().json();
    assert_eq!(
        (merged[0]["merged"].as_u64(), merged[0]["items"].as_u64()),
        (Some(500), Some(1000))
    );
    let (old, new) = (place.line("get all 7").done().out, place.line("get all 1007").done().out);
    assert_eq!(old.trim_start_matches('7'), new.trim_start_matches("1007"));
    place.line("merge all notes --offset 4294967000").failed(2, &["4294967295"]);
    place.line("merge all notes --add-prefix x").failed(2, &["--add-prefix", "u32 ids"]);
    assert_eq!(place.sound("all"), 1000);
    // Within a folder, and some items only.
    std::fs::write(place.path("keys"), "3\n5\n1000000\n").unwrap();
    place.line("merge notes notes --index some --from main --file keys").done();
    assert_eq!(place.line("list notes --index some").done().out, "3\n5\n");
    // What cannot be created is not left behind.
    place.line("merge new notes --from main --file missing").failed(3, &["missing"]);
    assert!(!place.path("new").exists());
    place.line("merge new notes --from none").failed(2, &["\"main\"", "\"some\""]);
    assert!(!place.path("new").exists());
    place.line("create seven --metric l2 -d 7").done();
    place.line("merge seven notes --from main").failed(2, &["7", "8", "dimensions"]);
    place.line("create texts --metric l2 -d 8 --names texts").done();
    place.line("merge texts notes --from main").failed(2, &["string keys", "u32 ids"]);
}

#[test]
fn items_with_fields_and_texts_are_merged_by_conditions() {
    let place = Place::new();
    let rows: String = (0..60)
        .map(|i| format!("{{\"id\": \"k{i}\", \"vector\": [{i}, 1], \"year\": {}}}\n", 1980 + i))
        .collect();
    std::fs::write(place.path("a.jsonl"), rows).unwrap();
    place
        .line("load notes a.jsonl --metric l2 --names texts --field year:integer --codes 4")
        .done();
    let filter = r#"{"field": "year", "below": 1990}"#;
    place.run(["merge", "old", "notes", "--add-prefix", "old/", "--filter", filter]).done();
    let counted = place.run(["count", "old", "--filter", filter]).done().out;
    assert_eq!((items(&place, "old"), counted.as_str()), (10, "10\n"));
    assert!(place.line("list old -n 1").done().out.starts_with("old/k0"));
    place.line("merge old notes --offset 5").failed(2, &["--offset 5", "string keys"]);
    assert_eq!(place.sound("old"), 10);
}

#[test]
fn a_split_puts_each_item_into_one_index() {
    let place = Place::with_notes();
    let split = place.line("split notes --into a,b,c --json").done().json();
    let counts: Vec<_> =
        split[0]["into"].as_array().unwrap().iter().map(|it| it["copied"].as_u64()).collect();
    assert_eq!(counts, [Some(167), Some(167), Some(166)]);
    assert_eq!(place.line("list notes --index b -n 3").done().out, "1\n4\n7\n");
    place.line("check notes --deep").done();
    // Again: they are there.
    place.line("split notes --index main --into a,b,c").failed(2, &["there already"]);
    place.line("split notes --index main --into d,main").failed(2, &["--into d,main", "\"main\""]);
    place.line("split notes --index main --into a,d").failed(2, &["there already"]);
    let found = place.line("inspect notes --json").done().json();
    assert_eq!(found.len(), 4, "an index that could not be filled is left");
    let rows: String =
        (0..100).map(|i| format!("{{\"id\": \"k{i}\", \"vector\": [{i}, 1]}}\n")).collect();
    std::fs::write(place.path("a.jsonl"), rows).unwrap();
    place.line("load texts a.jsonl --metric l2 --names texts").done();
    place.line("split texts --into a,b").done();
    let (a, b) = (items(&place, "texts --index a"), items(&place, "texts --index b"));
    assert!(a + b == 100 && a > 20 && b > 20, "{a} {b}");
}

#[test]
fn a_load_that_creates_an_index_and_fails_leaves_nothing_behind() {
    let place = Place::new();
    std::fs::write(place.path("bad.jsonl"), "[1, 2]\n[3, 4]\n[5]\n").unwrap();
    std::fs::write(place.path("good.jsonl"), "[1, 2]\n[3, 4]\n").unwrap();
    place.line("load new/notes bad.jsonl --metric cosine").failed(2, &["bad.jsonl"]);
    assert_eq!(place.names(), ["bad.jsonl", "good.jsonl"]);
    place.line("load notes good.jsonl --metric l2").done();
    // In a folder that has another index, that stays.
    place.line("load notes bad.jsonl --index two --metric l2").failed(2, &["bad.jsonl"]);
    let found = place.line("inspect notes --json").done().json();
    assert_eq!((found.len(), place.sound("notes")), (1, 2));
    // What is committed stays.
    let line = "load parts bad.jsonl --metric l2 --commit-every 1";
    place.line(line).failed(2, &["bad.jsonl"]);
    assert_eq!(place.sound("parts"), 2);
    // An index that was there stays, too, empty as it was.
    place.line("create empty --metric l2 -d 2").done();
    place.line("load empty bad.jsonl").failed(2, &["bad.jsonl"]);
    assert_eq!(place.sound("empty"), 0);
    std::fs::write(place.path("rows.f32"), floats(0..3, 2)).unwrap();
    place.line("load empty rows.f32").done();
}
