//! Every subcommand, as in a session at a terminal.

use crate::Place;

#[test]
fn a_session_at_a_terminal() {
    let place = Place::with_notes();
    let found = place.line("search notes --item 17 -k 2 --json").done().json();
    assert_eq!(found[0]["neighbors"].as_array().unwrap().len(), 2);
    let near = place.line("search notes --file rows.f32 -k 1 --json").done().json();
    assert_eq!(near.len(), 500);
    for (row, answer) in near.iter().enumerate() {
        assert_eq!(answer["query"], row);
        assert_eq!(answer["neighbors"][0]["key"], row);
        assert_eq!(answer["neighbors"][0]["distance"], 0.0);
    }
    let got = place.line("get notes 3 --json").done().json();
    let vector: Vec<f64> =
        got[0]["vector"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    let text = vector.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let by_vector = place.run(["search", "notes", "-k", "1", "--exact", "--vector", &text]).done();
    assert!(by_vector.out.trim_end().ends_with('3') && by_vector.out.starts_with("   1 "));
    assert_eq!(place.line("list notes").done().out.lines().count(), 500);
    assert_eq!(place.line("list notes -n 2").done().out, "0\n1\n");
    place.line("delete notes 0 1").done();
    assert_eq!(place.line("list notes -n 2").done().out, "2\n3\n");
    let inspected = place.line("inspect notes").done().out;
    assert!(inspected.contains("498") && inspected.contains("euclidean"), "{inspected}");
    let stats = place.line("stats notes --json").done().json();
    assert_eq!((stats[0]["items"].as_u64(), stats[0]["m0"].as_u64()), (Some(498), Some(32)));
    assert!(place.line("stats notes").done().out.contains("edges a node"));
    place.line("optimize notes").done();
    assert_eq!(place.line("stats notes --json").done().json()[0]["free_slots"], 0);
    assert_eq!(place.line("repair notes").done().out, "there was nothing to repair\n");
    place.line("repair notes --rebuild-graph").done();
    place.line("copy notes backup").done();
    assert_eq!((place.sound("backup"), place.sound("notes")), (498, 498));
    assert_eq!(place.names(), ["backup", "more.f32", "notes", "rows.f32"]);
}

#[test]
fn a_folder_holds_many_indexes() {
    let place = Place::with_notes();
    place.line("create notes -i other --metric cosine --form f16 -d 3 --names texts").done();
    std::fs::write(place.path("a.jsonl"), "{\"key\": \"one\", \"vector\": [1, 0, 0]}\n").unwrap();
    place.line("load notes --index other a.jsonl").done();
    assert_eq!(place.line("list notes -i other").done().out, "one\n");
    assert_eq!(place.line("list notes -i main -n 1").done().out, "0\n");
    let found = place.line("inspect notes --json").done().json();
    let names: Vec<_> = found.iter().map(|index| index["index"].as_str().unwrap()).collect();
    assert_eq!(names, ["main", "other"]);
    place.line("check notes --deep").done();
    place.line("delete notes --index main --whole-index").done();
    // The only one that is left need not be named.
    assert_eq!(place.line("list notes").done().out, "one\n");
}

#[test]
fn restrictions_and_goals_of_a_search() {
    let place = Place::new();
    let line = |i: u32| {
        format!("{{\"key\": \"{}/{i}\", \"vector\": [{i}, 1]}}\n", ["a", "b"][i as usize % 2])
    };
    std::fs::write(place.path("a.jsonl"), (0..100).map(line).collect::<String>()).unwrap();
    place.line("load notes a.jsonl --metric l2 --names texts").done();
    let keys = |line: &str| -> Vec<String> {
        let found = place.line(line).done().json();
        let neighbors = found[0]["neighbors"].as_array().unwrap().clone();
        neighbors.iter().map(|found| found["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys("search notes --vector 7,1 -k 2 --prefix a/ --json"), ["a/6", "a/8"]);
    assert_eq!(keys("search notes --vector 7,1 -k 1 --exclude b/7 --prefix b/ --json").len(), 1);
    assert_eq!(keys("search notes --vector 7,1 -k 9 --within 1 --exclude b/7 --json").len(), 2);
    let both = "search notes --vector 7,1 -k 9 --candidate a/2 --candidate b/99 --json";
    assert_eq!(keys(both), ["a/2", "b/99"]);
    for how in ["--exact", "--recall 0.9", "--ef 50", "--no-codes", "--deadline-ms 60000"] {
        assert_eq!(keys(&format!("search notes --vector 7,1 -k 1 {how} --json")), ["b/7"]);
    }
    let explained = place.line("search notes --vector 7,1 -k 1 --explain").done().out;
    assert!(explained.contains("b/7") && explained.lines().count() > 2, "{explained}");
}

#[test]
fn help_and_versions_are_printed() {
    let place = Place::new();
    assert!(place.line("--version").done().out.starts_with("voisin "));
    let help = place.line("--help").done().out;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let mut count = 0;
    for subcommand in listed.take_while(|line| !line.is_empty()) {
        let name = subcommand.split_whitespace().next().unwrap();
        assert!(place.run([name, "--help"]).done().out.contains("Usage: voisin"), "{name}");
        count += 1;
    }
    assert!(count >= 12, "{help}");
    // Beside the line of the list, what is worth knowing before a subcommand is used.
    for (subcommand, words) in [
        ("erase", "no 16 bytes"),
        ("load", "goes on where it was"),
        ("alter", "all in one commit"),
        ("tenants", "All other subcommands"),
    ] {
        let help = place.run([subcommand, "--help"]).done().out;
        let text = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(words), "{help}");
    }
}
