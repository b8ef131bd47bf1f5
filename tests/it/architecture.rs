//! The layering of the source: imports run downwards only, rooms import from rooms, and no files
//! import each other in a cycle.
//!
//! A room is a folder or file of `src/`, or of the source of `voisin-kernels`, whose rooms lie
//! below all others ([`KERNELS`]); [`ROOMS`] lists the rooms that it may name. Every path that
//! begins with `crate`, `super` or `voisin_kernels` counts, in imports and in expressions, in
//! tests, too. An exception to the rule is one path in one file, listed in [`EXCEPTIONS`] with its
//! reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Where sources lie: voisin's, and those of its kernels. No two rooms have one name.
const SOURCES: &[&str] = &["src", KERNELS_SOURCE];

/// The rooms of `voisin-kernels`, which [`ROOMS`] begins with.
const KERNELS: &[&str] = &["defect", "codec", "training", "distance", "codes", "lsh"];
const KERNELS_SOURCE: &str = "crates/voisin-kernels/src";

/// The rooms, from the bottom to the top, and the rooms that each may name.
const ROOMS: &[(&str, &[&str])] = &[
    ("defect", &[]),
    ("codec", &["defect"]),
    ("training", &["defect", "codec"]),
    ("distance", &["defect", "codec"]),
    ("codes", &["codec", "distance"]),
    ("lsh", &["distance"]),
    ("kinds", &[]),
    ("types", &["codec"]),
    ("defaults", &[]),
    ("memory", &[]),
    ("error", &["defect", "distance", "types"]),
    ("field", &["error"]),
    ("database", &["error"]),
    ("threads", &[]),
    ("kmeans", &["error", "threads", "distance"]),
    ("top_k", &["types", "error", "codec", "distance"]),
    ("format", &["types", "error", "field"]),
    ("item_key", &["types", "error", "format"]),
    ("graph", &["types", "error", "threads"]),
    (
        "store",
        &[
            "training", "types", "memory", "error", "database", "threads", "top_k", "codec",
            "distance", "codes", "lsh", "format", "kmeans", "graph", "field",
        ],
    ),
    (
        "flat",
        &[
            "types", "error", "threads", "top_k", "codec", "distance", "codes", "format", "graph",
            "store",
        ],
    ),
    (
        "search",
        &[
            "types", "defaults", "error", "top_k", "threads", "codec", "distance", "lsh", "format",
            "graph", "store", "flat",
        ],
    ),
    (
        "api",
        &[
            "training", "types", "defaults", "memory", "error", "database", "threads", "codec",
            "distance", "codes", "format", "item_key", "graph", "store", "flat", "search", "field",
        ],
    ),
    ("import", &["types", "error", "database", "codec", "distance", "format", "store", "api"]),
    (
        "check",
        &[
            "types", "error", "database", "codec", "distance", "codes", "format", "graph", "store",
            "flat", "api",
        ],
    ),
    (
        "index",
        &[
            "training", "types", "defaults", "memory", "error", "database", "threads", "codec",
            "distance", "codes", "format", "item_key", "store", "search", "api", "check", "field",
        ],
    ),
    ("cookbook", &[]),
];

/// The list of kinds. It names what each room takes from it, as the root of the crate does, and
/// every room may name it.
const KINDS: &str = "kinds/mod.rs";

/// The parts of the folder of a kind, and the rooms whose rules they follow.
const PARTS: &[(&str, &str)] = &[
    ("format", "format"),
    ("section", "store"),
    ("stats", "store"),
    ("path", "search"),
    ("query", "api"),
];

/// What a field of the list of kinds names, the file imports that makes something of it. The access
/// paths of kinds are to `search/paths` what modules in its folder are.
const TAKEN: &[(&str, &str)] = &[
    ("section", "store/sections/list.rs"),
    ("snapshot", "store/snapshot.rs"),
    ("stats", "store/stats.rs"),
];

/// Where else the code may name a kind that has a folder: files, and folders with a slash at the
/// end, and why.
const NAMED: &[(&str, &str, &str)] = &[(
    "lsh",
    "crates/voisin-kernels/src/lib.rs",
    "kernels of hashes are in the crate of all kernels",
)];

/// File, path, reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("error.rs", "format::Key", "an error about a damaged value names its key"),
    ("error.rs", "format::Kind", "what it says to do depends on what the value is"),
    (
        "format/codes.rs",
        "distance::FACTOR_BYTES",
        "how long codes are, which the kernels know that read them",
    ),
    ("format/codes.rs", "distance::code_bytes", "the same"),
    (
        "format/meta/mod.rs",
        "distance::MAX_NAME_BYTES",
        "the room that META has for the name of a metric",
    ),
    ("kinds/lsh/format.rs", "lsh::DIGITS", "how long hashes are, which the kernels compute"),
    ("kinds/lsh/format.rs", "lsh::DIGIT_BITS", "the same"),
    ("graph/working.rs", "distance::prefetch", "a hint to the processor, which knows no metric"),
    ("graph/insert.rs", "format::meta::MAX_LAYERS", "as many roots as META has room for"),
];

/// Where `unsafe` may be written: files, and folders with a slash at the end.
const UNSAFE: &[&str] = &[
    "distance/kernels/",
    "store/table.rs",
    "store/open.rs",
    "store/source.rs",
    "store/owned_snapshot.rs",
    "store/readahead/advise.rs",
    "store/process.rs",
    "store/temp_map.rs",
    "index/environment/open.rs",
    "index/environment/resize.rs",
    "index/cache.rs",
    "index/filesystem.rs",
    "index/inspect.rs",
];

/// Where LMDB is written to: values of an index in `store/target.rs`, which marks META; the catalog
/// in `index/catalog.rs`.
const PUTS: &[&str] = &["store/target.rs", "index/catalog.rs"];

/// Where a value may be read without its checksum being verified, by `checksum::unverified` and
/// `Place::unverified`, and why. All else reads by `Sound`: what is written back is sealed again.
const UNVERIFIED: &[(&str, &str)] = &[
    ("format/checksum.rs", "it is defined there"),
    ("format/links.rs", "compares a value with what its records encode to"),
    ("store/mod.rs", "it is defined there, and what verifies is made of it"),
    (
        "store/open.rs",
        "META, which verifies itself as it is decoded; and where values lie, in debug builds",
    ),
    ("store/sections/ids/view.rs", "what searches read; a build's source has verified it"),
    ("store/sections/ids/resolve.rs", "the same"),
    ("store/sections/sets/view.rs", "the same"),
    ("store/sections/graph/view.rs", "the same"),
    ("kinds/ivf/section/view.rs", "the same"),
    ("kinds/lsh/section/view.rs", "the same"),
    ("store/sections/item_keys/known.rs", "what was verified when it was looked up"),
    ("store/sections/records/edit.rs", "the length of a record that is about to go"),
    ("store/sections/repair.rs", "looks whether a value is there"),
    ("store/checker.rs", "goes on where a checksum does not hold"),
    ("store/sections/sets/check.rs", "the same"),
    ("store/sections/codes/check.rs", "the same"),
    ("store/sections/ids/check.rs", "the same"),
    ("store/sections/graph/check.rs", "the same"),
    ("kinds/ivf/section/check.rs", "the same"),
    ("kinds/ivf/section/mod.rs", "a build's source has verified it"),
    ("kinds/ivf/section/upkeep.rs", "the same"),
    ("kinds/lsh/section/check.rs", "the same"),
    ("store/sections/item_keys/check.rs", "the same"),
    ("store/sections/records/check.rs", "the same"),
    ("store/sections/fields/check.rs", "the same"),
    ("check.rs", "the same"),
];

/// The room that a module belongs to, by its path from the root of the crate. What the root exports
/// is in no room: rooms import from rooms.
fn room_of(module: &[&str]) -> Option<&'static str> {
    let name = match module {
        ["kinds", _, part, ..] => PARTS.iter().find(|(name, _)| name == part)?.1,
        ["writer" | "builder" | "build" | "reader" | "filter" | "query" | "stats", ..] => "api",
        [name, ..] => name,
        [] => return None,
    };
    ROOMS.iter().map(|(room, _)| *room).find(|room| *room == name)
}

/// The files below a folder of the repository by their paths in it; the root of a crate by its
/// whole path.
fn files_of(source: &str) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let (mut files, mut folders) = (BTreeMap::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let mut name =
                    path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
                if name == "lib.rs" {
                    name = format!("{source}/{name}");
                }
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(files.len() > 15, "this is not the source: {:?}", files.keys());
    files
}

/// The files of all [`SOURCES`].
fn files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for (name, text) in SOURCES.iter().flat_map(|source| files_of(source)) {
        let other = files.insert(name.clone(), text);
        assert!(other.is_none(), "{name} has the name of a file of another crate");
    }
    files
}

/// The words and signs of a source text, without comments, strings and characters.
fn tokens(text: &str) -> Vec<String> {
    let bytes: Vec<char> = text.chars().collect();
    let at = |i: usize| bytes.get(i).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut tokens, mut i) = (Vec::new(), 0);
    while i < bytes.len() {
        match (at(i), at(i + 1)) {
            ('/', '/') => {
                while i < bytes.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            ('/', '*') => {
                let mut depth = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= bytes.len() {
                        break;
                    }
                }
            }
            // A raw string, with or without a `b` before it.
            ('r', '"' | '#')
                if (i == 0 || !is_word(at(i - 1)) || at(i - 1) == 'b')
                    && raw_hashes(&bytes, i + 1).is_some() =>
            {
                let hashes = raw_hashes(&bytes, i + 1).unwrap();
                i += 2 + hashes;
                while i < bytes.len() && !(at(i) == '"' && (1..=hashes).all(|n| at(i + n) == '#')) {
                    i += 1;
                }
                i += 1 + hashes;
            }
            ('"', _) => {
                i += 1;
                while i < bytes.len() && at(i) != '"' {
                    i += if at(i) == '\\' { 2 } else { 1 };
                }
                i += 1;
            }
            // A character; else a lifetime.
            ('\'', '\\') => {
                i += 3;
                while i < bytes.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            ('\'', _) if at(i + 2) == '\'' => i += 3,
            (':', ':') => {
                tokens.push("::".to_owned());
                i += 2;
            }
            (c, _) if is_word(c) => {
                let start = i;
                while is_word(at(i)) {
                    i += 1;
                }
                tokens.push(bytes[start..i].iter().collect());
            }
            (c, _) => {
                if !c.is_whitespace() {
                    tokens.push(c.to_string());
                }
                i += 1;
            }
        }
    }
    tokens
}

/// How many `#` there are between here and the quote of a raw string.
fn raw_hashes(bytes: &[char], from: usize) -> Option<usize> {
    let hashes = bytes[from..].iter().take_while(|c| **c == '#').count();
    (bytes.get(from + hashes) == Some(&'"')).then_some(hashes)
}

/// The module that a file is.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// The root of a crate, which may name all of its rooms, and the list of kinds.
fn is_root(file: &str) -> bool {
    file.ends_with("/lib.rs") || file == KINDS
}

/// All paths of a file that begin with `crate`, `super` or `voisin_kernels`, from the root of the
/// crate.
fn paths(file: &str, text: &str) -> BTreeSet<String> {
    let tokens = tokens(text);
    let mut modules = module_of(file);
    // The depth of braces at which each module within the file ends.
    let (mut depth, mut inner, mut found, mut i) = (0, Vec::new(), BTreeSet::new(), 0);
    while i < tokens.len() {
        let next = |n: usize| tokens.get(i + n).map_or("", String::as_str);
        match next(0) {
            "{" => depth += 1,
            "}" => {
                if inner.last() == Some(&depth) {
                    inner.pop();
                    modules.pop();
                }
                depth -= 1;
            }
            "mod" if next(2) == "{" => {
                modules.push(next(1).to_owned());
                depth += 1;
                inner.push(depth);
                i += 2;
            }
            "crate" | "voisin_kernels" if next(1) == "::" => {
                i = leaves(&tokens, i + 2, Vec::new(), &mut found) - 1
            }
            "super" if next(1) == "::" => {
                let mut base = modules.clone();
                while tokens[i] == "super" && tokens.get(i + 1).is_some_and(|token| token == "::") {
                    assert!(base.pop().is_some(), "{file}: super beyond the root");
                    i += 2;
                }
                i = leaves(&tokens, i, base, &mut found) - 1;
            }
            _ => {}
        }
        i += 1;
    }
    found
}

/// Adds the paths that a tree of an import, or a path, says; returns where it ends.
fn leaves(
    tokens: &[String],
    mut i: usize,
    mut base: Vec<String>,
    found: &mut BTreeSet<String>,
) -> usize {
    loop {
        match tokens[i].as_str() {
            "{" => {
                i += 1;
                while tokens[i] != "}" {
                    i = leaves(tokens, i, base.clone(), found);
                    // An alias, and what separates.
                    while tokens[i] != "}" && tokens[i] != "," {
                        i += 1;
                    }
                    i += usize::from(tokens[i] == ",");
                }
                return i + 1;
            }
            word => base.push(word.to_owned()),
        }
        i += 1;
        if tokens.get(i).is_none_or(|token| token != "::")
            || tokens.get(i + 1).is_some_and(|token| token == "<")
        {
            found.insert(base.join("::"));
            return i;
        }
        i += 1;
    }
}

#[test]
fn paths_are_read_from_imports_and_expressions() {
    let text = r##"
        //! use crate::comment::C;
        use crate::a::{B, c::{D, E as F}, self};
        use super::{G, h::I};
        pub(crate) fn f<'a>(c: char) -> crate::j::K<'a> {
            let s = "crate::string"; let r = r#"crate::raw""#; '"'; crate::l::<u8>()
        }
        mod inner { use super::M; use super::super::N; fn g() { if true { super::O } } }
        use super::P; /* crate::q */ use voisin_kernels::r::S;
    "##;
    let expected = [
        "a::B",
        "a::c::D",
        "a::c::E",
        "a::self",
        "room::G",
        "room::h::I",
        "j::K",
        "l",
        "room::file::M",
        "room::N",
        "room::file::O",
        "room::P",
        "r::S",
    ];
    assert_eq!(paths("room/file.rs", text), expected.map(str::to_owned).into());
    assert!(paths("room/mod.rs", "use super::x::Y;").contains("x::Y"));
    assert!(paths("flat.rs", "use super::x::Y;").contains("x::Y"));
}

#[test]
fn imports_run_downwards_only() {
    let mut used = BTreeSet::new();
    let mut broken = Vec::new();
    for (file, text) in files().iter().filter(|(file, _)| !is_root(file)) {
        let module = module_of(file);
        let module: Vec<&str> = module.iter().map(String::as_str).collect();
        let room = room_of(&module).unwrap_or_else(|| panic!("{file} is in no room"));
        let (_, below) = ROOMS.iter().find(|(name, _)| *name == room).unwrap();
        for path in paths(file, text) {
            let Some(named) = room_of(&path.split("::").collect::<Vec<_>>()) else {
                broken.push(format!("{file}: {path} is in no room"));
                continue;
            };
            let exception =
                EXCEPTIONS.iter().find(|(in_file, to, _)| in_file == file && *to == path);
            used.extend(exception);
            let may = named == room || named == "kinds" || below.contains(&named);
            if !may && exception.is_none() {
                broken.push(format!("{file} of {room} names {path} of {named}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert_eq!(used, EXCEPTIONS.iter().collect(), "every exception is needed");
}

/// The file of each module, by its path from the root of the crate.
fn modules(files: &BTreeMap<String, String>) -> BTreeMap<Vec<String>, &str> {
    files.keys().map(|file| (module_of(file), file.as_str())).collect()
}

/// What a module hands on of the modules in it: a name, and the path that it stands for.
fn re_exports(file: &str, text: &str) -> BTreeMap<String, String> {
    let tokens = tokens(text);
    let mut found = BTreeMap::new();
    for (at, two) in tokens.windows(2).enumerate() {
        // `pub use` or `pub(crate) use`.
        let is_public = at > 0 && ["pub", ")"].contains(&tokens[at - 1].as_str());
        if two == ["use", "self"] && is_public {
            let mut paths = BTreeSet::new();
            leaves(&tokens, at + 3, module_of(file), &mut paths);
            found.extend(paths.into_iter().map(|path| {
                (path.rsplit("::").next().unwrap_or_default().to_owned(), path.clone())
            }));
        }
    }
    found
}

/// The file that defines what a path names: that of its longest part that is a module, or, where
/// that hands the name on, of the module that it has it from.
fn file_of<'f>(
    path: &str,
    modules: &BTreeMap<Vec<String>, &'f str>,
    handed_on: &BTreeMap<&str, BTreeMap<String, String>>,
) -> Option<&'f str> {
    let words: Vec<String> = path.split("::").map(str::to_owned).collect();
    let length = (1..=words.len()).rev().find(|length| modules.contains_key(&words[..*length]))?;
    let file = modules[&words[..length]];
    let elsewhere = words.get(length).and_then(|name| handed_on.get(file)?.get(name));
    match elsewhere {
        Some(elsewhere) => file_of(elsewhere, modules, handed_on),
        None => Some(file),
    }
}

/// An entry of the list of kinds: its name, and the words and signs of each of its fields.
type Listed = (String, BTreeMap<String, Vec<String>>);

/// The list of kinds.
fn kinds(list: &str) -> Vec<Listed> {
    let tokens = tokens(list);
    let begin = tokens.windows(3).position(|three| three == ["$", "then", "!"]).unwrap();
    let (mut kinds, mut at) = (Vec::<Listed>::new(), begin + 4);
    while tokens[at] != "}" {
        if tokens[at + 1] != "{" {
            kinds.push((tokens[at].clone(), BTreeMap::new()));
            at += 1;
        }
        let end = at + tokens[at..].iter().position(|token| token == "}").unwrap();
        let fields = &mut kinds.last_mut().unwrap().1;
        fields.insert(tokens[at].clone(), tokens[at + 2..end].to_vec());
        at = end + 1;
    }
    kinds
}

/// The paths that a field of the list of kinds names.
fn named_in_list(list: &str, field: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, fields) in kinds(list) {
        let tokens = &fields[field];
        for at in (0..tokens.len()).filter(|at| tokens[*at] == "crate") {
            leaves(tokens, at + 2, Vec::new(), &mut found);
        }
    }
    found
}

/// The words of a name: those of `LshStats` are `lsh` and `stats`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in name.chars() {
        if c == '_' || c.is_uppercase() && before.is_lowercase() {
            words.push(String::new());
        }
        before = c;
        words.last_mut().unwrap().extend(c.to_lowercase().filter(|c| *c != '_'));
    }
    words
}

/// The variants and types that the list declares for a kind, as they are written elsewhere.
fn declared((_, fields): &Listed) -> Vec<Vec<String>> {
    let before = |field: &str, sign: &str| {
        let two = fields[field].windows(2).filter(move |two| two[1] == sign);
        two.map(|two| two[0].clone()).collect::<Vec<_>>()
    };
    let variants = |of: &str, names: Vec<String>| {
        let variant = |name| vec![of.to_owned(), "::".to_owned(), name];
        names.into_iter().map(variant).collect::<Vec<_>>()
    };
    let types = before("stats", "in").into_iter().map(|name| vec![name]).collect();
    [
        variants("Kind", before("keys", "=")),
        variants("Strategy", before("paths", "exact")),
        variants("Invariant", before("invariants", ";")),
        types,
    ]
    .concat()
}

#[test]
fn a_kind_is_named_in_its_folder_and_in_the_list_of_kinds_only() {
    let files = files();
    let is_in =
        |file: &str, place: &str| file == place || place.ends_with('/') && file.starts_with(place);
    let listed = kinds(&files[KINDS]);
    let has_folder = |kind: &str| files.contains_key(&format!("kinds/{kind}/mod.rs"));
    let with_folder = listed.iter().filter(|(kind, _)| has_folder(&kind.to_lowercase()));
    let with_folder: Vec<&Listed> = with_folder.collect();
    assert!(with_folder.len() >= 2 && listed.len() > with_folder.len(), "{listed:?}");
    let others = ["crates/voisin-cli/src", "crates/voisin-python/src"].into_iter();
    let others: Vec<_> = others.flat_map(files_of).collect();
    let (mut broken, mut used) = (Vec::new(), BTreeSet::new());
    for (file, text) in files.iter().chain(others.iter().map(|(file, text)| (file, text))) {
        let tokens = tokens(text);
        for listed in with_folder.iter().filter(|_| file != KINDS) {
            let kind = listed.0.to_lowercase();
            let declared = declared(listed);
            let is_named = tokens.iter().any(|token| words(token).contains(&kind))
                || declared.iter().any(|name| tokens.windows(name.len()).any(|some| some == name));
            if !is_named || is_in(file, &format!("kinds/{kind}/")) {
                continue;
            }
            let mut allowed =
                NAMED.iter().filter(|(of, place, _)| *of == kind && is_in(file, place));
            match allowed.next() {
                Some(allowed) => drop(used.insert(allowed)),
                None => broken.push(format!("{file} names {kind}")),
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert_eq!(used, NAMED.iter().collect(), "every exception is needed");
}

#[test]
fn names_of_kinds_are_found_in_names_and_in_the_list() {
    assert_eq!(words("LshStats"), ["lsh", "stats"]);
    assert_eq!(words("IVF_LISTS"), ["ivf", "lists"]);
    assert_eq!(words("hash_tables"), ["hash", "tables"]);
    let list = "macro_rules! each_kind { ($then:ident) => { $then! {
        /// A kind.
        One \"one\" keys { ONE = 1; } paths { First \"first\" exact: true, by: crate::a::First; }
            stats { one: OneStats in crate::one::stats; } invariants { Good \"good\"; }
        Two \"two\" keys {} paths {} stats {} invariants {}
    } } }";
    let found = kinds(list);
    assert_eq!(found.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), ["One", "Two"]);
    let declared = declared(&found[0]).iter().map(|name| name.concat()).collect::<Vec<_>>();
    assert_eq!(declared, ["Kind::ONE", "Strategy::First", "Invariant::Good", "OneStats"]);
    assert_eq!(named_in_list(list, "paths"), ["a::First".to_owned()].into());
    assert!(self::declared(&found[1]).is_empty());
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let files = files();
    let modules = modules(&files);
    let handed_on: BTreeMap<&str, _> =
        files.iter().map(|(file, text)| (file.as_str(), re_exports(file, text))).collect();
    let mut imports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (file, text) in files.iter().filter(|(file, _)| !is_root(file)) {
        let is_tests = |at: &usize| text[*at..].lines().nth(1).is_some_and(|l| l.ends_with('{'));
        let mut tests = text.match_indices("#[cfg(test)]\n").map(|(at, _)| at).filter(is_tests);
        let without_tests = &text[..tests.next().unwrap_or(text.len())];
        let own = module_of(file);
        let named = paths(file, without_tests)
            .iter()
            .filter_map(|path| file_of(path, &modules, &handed_on))
            // A module is made of those in its folder.
            .filter(|named| *named != file && !module_of(named).starts_with(&own))
            .collect();
        imports.insert(file, named);
    }
    imports.insert(KINDS, BTreeSet::new());
    for (field, file) in TAKEN {
        assert!(tokens(&files[*file]).iter().any(|token| token == "each_kind"), "{file}");
        let taken = named_in_list(&files[KINDS], field);
        assert!(!taken.is_empty(), "the list of kinds has nothing in {field}");
        let named = taken.iter().filter_map(|path| file_of(path, &modules, &handed_on));
        imports.get_mut(file).unwrap().extend(named);
    }
    let arrows = imports.values().map(BTreeSet::len).sum::<usize>();
    assert!(arrows > 200, "this is not what the files import: {arrows} arrows");
    // What imports nothing that is left is in no circle.
    while let Some(file) = imports.iter().find(|(_, named)| named.is_empty()).map(|(file, _)| *file)
    {
        imports.remove(file);
        for named in imports.values_mut() {
            named.remove(file);
        }
    }
    assert!(imports.is_empty(), "files import each other in circles: {imports:#?}");
}

#[test]
fn no_line_is_longer_than_100_columns() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut long = Vec::new();
    let mut waiting: Vec<PathBuf> = ["src", "tests", "examples", "bench", "crates", ".ci"]
        .map(|folder| root.join(folder))
        .into();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
            waiting.extend(entries.filter(|path| !path.ends_with("target")));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let lines = text.lines().enumerate().filter(|(_, line)| line.chars().count() > 100);
            long.extend(lines.map(|(line, _)| format!("{}:{}", path.display(), line + 1)));
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn a_room_may_only_name_rooms_below_it() {
    for (position, (room, below)) in ROOMS.iter().enumerate() {
        for other in *below {
            assert!(
                ROOMS[..position].iter().any(|(lower, _)| lower == other),
                "{room} may name {other}, which is not below it"
            );
        }
    }
}

#[test]
fn the_rooms_of_the_kernels_are_the_lowest() {
    let (lowest, above) = ROOMS.split_at(KERNELS.len());
    assert_eq!(lowest.iter().map(|(room, _)| *room).collect::<Vec<_>>(), KERNELS);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(KERNELS_SOURCE);
    let is_there = |room: &str| {
        [room.to_owned(), format!("{room}.rs")].iter().any(|name| folder.join(name).exists())
    };
    assert!(lowest.iter().all(|(room, _)| is_there(room)));
    assert!(!above.iter().any(|(room, _)| is_there(room)));
}

#[test]
fn what_the_processor_can_run_is_found_out_in_one_place_only() {
    for (file, text) in &files() {
        let detects = tokens(text).iter().any(|token| token == "is_x86_feature_detected");
        assert_eq!(detects, file == "distance/kernels/features.rs", "{file}");
    }
}

#[test]
fn unsafe_is_written_where_it_is_allowed_only() {
    let mut allowed: BTreeSet<&str> = UNSAFE.iter().copied().collect();
    for (file, text) in &files() {
        if tokens(text).iter().any(|token| token == "unsafe") {
            let place = UNSAFE
                .iter()
                .find(|place| file == *place || place.ends_with('/') && file.starts_with(**place));
            allowed.remove(place.unwrap_or_else(|| panic!("{file} has unsafe code")));
        }
    }
    assert!(allowed.is_empty(), "there is no unsafe code any more in {allowed:?}");
}

#[test]
fn lmdb_is_written_to_where_it_is_allowed_only() {
    let mut allowed: BTreeSet<&str> = PUTS.iter().copied().collect();
    for (file, text) in &files() {
        let tokens = tokens(text);
        let is_database = |token: &str| ["raw", "catalog", "indexes"].contains(&token);
        let changes = |token: &str| {
            token.starts_with("put")
                || token.starts_with("delete")
                || token == "clear"
                || token.ends_with("_mut")
        };
        if tokens
            .windows(3)
            .any(|three| is_database(&three[0]) && three[1] == "." && changes(&three[2]))
        {
            assert!(PUTS.contains(&file.as_str()), "{file} writes to LMDB");
            allowed.remove(file.as_str());
        }
    }
    assert!(allowed.is_empty(), "nothing is written any more in {allowed:?}");
}

#[test]
fn work_is_shared_between_threads_in_one_room_only() {
    // A worker of rayon's runs other jobs of its pool while it waits, and the caller may hold a
    // lock that they want.
    for (file, text) in &files() {
        let named = tokens(text).into_iter().find(|token| {
            token == "rayon" || token.starts_with("par_") || token == "into_par_iter"
        });
        assert!(
            named.is_none() || file.starts_with("threads/"),
            "{file} works in parallel beside `threads`: {named:?}"
        );
    }
}

#[test]
fn values_are_read_unverified_where_it_is_allowed_only() {
    let mut allowed: BTreeSet<&str> = UNVERIFIED.iter().map(|(file, _)| *file).collect();
    for (file, text) in &files() {
        if tokens(text).iter().any(|token| token == "unverified") {
            let place = UNVERIFIED.iter().find(|(place, _)| file == place);
            allowed.remove(
                place.unwrap_or_else(|| panic!("{file} reads values without verifying them")).0,
            );
        }
    }
    assert!(allowed.is_empty(), "nothing is read unverified any more in {allowed:?}");
}

#[test]
fn every_source_file_begins_by_saying_what_it_is_for() {
    for (file, text) in &files() {
        let header = text.lines().take_while(|line| line.starts_with("//!")).count();
        assert!(header > 0, "{file} has no header");
    }
}
