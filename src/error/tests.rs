//! Every message is read: one example of each variant.

use std::collections::HashSet;
use std::mem::discriminant;

use super::*;

fn system() -> io::Error {
    io::Error::from_raw_os_error(5)
}

/// At least one of each.
fn examples() -> Vec<Error> {
    let path = || PathBuf::from("/the/folder");
    let name = || "a name".to_owned();
    let key = Key::meta(3);
    let (index, what, stored, requested) = (3, "its length is wrong", "euclidean", name());
    let defects = [
        VectorDefect::NotFinite { position: 3, value: f32::NAN },
        VectorDefect::TooLarge { position: 3, value: 1e9, limit: 65504.0, form: "f16" },
        VectorDefect::NotBinary { position: 3, value: 0.5 },
        VectorDefect::ZeroNorm,
        VectorDefect::NormOutOfRange { norm: 1e-30, min: 1e-18, max: 1e18 },
    ];
    let sources = [
        SourceDefect::Missing,
        SourceDefect::NotBuilt,
        SourceDefect::Unknown,
        SourceDefect::Ours,
        SourceDefect::Version { program: "arroy", found: [1, 2, 3], newest: [0, 9] },
        SourceDefect::Quantized { metric: name() },
        SourceDefect::UnknownMetric { metric: name() },
        SourceDefect::MetricMismatch { stored, requested: name() },
        SourceDefect::DimensionMismatch { stored: 3, requested: 4 },
    ];
    let mut all = vec![
        Error::DimensionMismatch { expected: 3, found: 4 },
        Error::InvalidDimensions { found: 0, max: 65_535 },
        Error::InvalidItemKey { bytes: 0, max: 480 },
        Error::InvalidTenant { bytes: 0, max: 476 },
        Error::TenantExists { tenant: name() },
        Error::NoTenants { index: name(), stored: "u32 ids" },
        Error::UnevenRows { components: 7, dimensions: 3 },
        Error::LengthMismatch { ids: 3, components: 5, dimensions: 2 },
        Error::ItemExists { item: "7".into() },
        Error::QueryMetric { requested: "cosine", form: "bits", can: name() },
        Error::InvalidParameter { name: "M", value: 1.0, remedy: "use 2 to 2048" },
        Error::InvalidRecord { item: "7".into(), what: "its field \"n\" is true".into() },
        Error::InvalidField { field: name(), what: "its name is empty: use 1 to 64 bytes" },
        Error::UnknownField { field: name(), known: vec![name()] },
        Error::FieldMismatch { field: name(), stored: "bool", requested: "compared with 3".into() },
        Error::InvalidCondition { what: "{}: it names no field".into() },
        Error::InvalidParameters { part: name(), remedy: "use 1".to_owned() },
        Error::CodesUnsupported { metric: stored },
        Error::KindUnsupported {
            kind: IndexKind::Hnsw,
            metric: stored,
            form: "f32",
            can: "the metric euclidean",
        },
        Error::KindMismatch {
            index,
            name: Some(name()),
            kind: IndexKind::Hnsw,
            has: name(),
            action: "searched",
        },
        Error::UnknownMetric { index: 3, name: None, metric: stored },
        Error::UnknownType { metric: name(), form: name(), known: name() },
        Error::NoTraining { form: stored },
        Error::InvalidDatabaseName { name: name(), max: 480 },
        Error::OtherFolder { expected: "a".into(), found: "b".into() },
        Error::MetricMismatch { index, stored: name(), requested },
        Error::ConnectivityMismatch { index, stored_m: 16, stored_m0: 32, m: 8, m0: 16 },
        Error::NotTrained { index, name: None },
        Error::CoarseRange {
            rows: "the sample",
            lowest: -0.5,
            highest: 1e4,
            error: 3.25,
            limit: 0.144,
        },
        Error::MissingIndex(index),
        Error::SnapshotMismatch { expected: 4, found: 5 },
        Error::IndexFull(index),
        Error::OptionMismatch {
            index: name(),
            option: "M",
            stored: "16".into(),
            requested: "8".into(),
        },
        Error::NamingMismatch { index: name(), stored: "u64 keys", requested: "item ids" },
        Error::PagesExpired { commit: 7 },
        Error::InvalidPageToken { what: "is of another query" },
        Error::Removed { name: name(), path: path() },
        Error::Renamed { name: name(), now: name(), path: path() },
        Error::TooManyIndexes { path: path(), max: 65_535 },
        Error::InvalidName { bytes: 0, max: 255 },
        Error::MissingName { name: name(), path: path(), known: vec![name()] },
        Error::MissingName { name: name(), path: path(), known: Vec::new() },
        Error::NameTaken { name: name(), path: path() },
        Error::ReadOnly { path: path() },
        Error::NestedWrite { path: path() },
        Error::BatchFailed,
        Error::MemoryBudget { bytes: 1 << 20, least: 8 << 20 },
        Error::Forked { opened: 1, here: 2 },
        Error::MapFull,
        Error::MapBusy {
            path: path(),
            map_bytes: 1 << 20,
            snapshots: 1,
            oldest: Duration::from_secs(3),
            searches: 0,
            waited: Duration::from_secs(5),
        },
        Error::MapLost { path: path(), map_bytes: 1 << 20 },
        Error::ReadersFull { path: path(), max: 126 },
        Error::MissingEnvironment { path: path() },
        Error::FileSystem { path: path(), file_system: "NFS" },
        Error::LinkedFile { path: path(), how: "a symbolic link" },
        Error::AlreadyOpen { path: path(), how: "read-only" },
        Error::ForeignEnvironment { path: path() },
        Error::Exists { path: path() },
        Error::DiskFull { path: path(), source: system() },
        Error::DiskRoom { path: path(), needed: 1 << 30, available: 1 << 20 },
        Error::Io { path: path(), doing: "read", source: system() },
        Error::Foreign { index, what: "its first key is none of ours" },
        Error::FormatVersion { index, found: 7, supported: 6 },
        Error::FormatVersion { index, found: 4, supported: 6 },
        Error::UnknownKind { index, kind: Kind::META },
        Error::Truncated { path: path(), bytes: 4096, expected: 8192 },
        Error::DamagedFile { path: path(), what: name() },
        Error::Corrupt { key, what },
        Error::TornEdit { index },
        Error::NestedGrowth { path: path(), map_bytes: 1 << 30 },
        Error::CorruptItemKey { index, key: name(), what },
        Error::CorruptCatalog { name: name(), what },
        Error::CatalogVersion { name: name(), found: 2, supported: 1 },
        Error::CorruptSource { index, item: Some(7), what },
        Error::CorruptSource { index, item: None, what },
        Error::Cancelled,
    ];
    for defect in defects {
        all.push(Error::InvalidItem { item: 7, defect });
        all.push(Error::InvalidKeyedItem { key: name(), defect });
        all.push(Error::InvalidQuery { defect });
        all.push(Error::InvalidRow { row: 7, defect });
        all.push(Error::InvalidSample { row: 7, defect });
    }
    all.extend(sources.map(|defect| Error::InvalidSource { index, defect }));
    all.extend(
        [heed::MdbError::Corrupted, heed::MdbError::BadTxn]
            .map(|error| Error::Heed(heed::Error::Mdb(error))),
    );
    all.extend(
        [2, 5, 11, 12, 13, 24, 27, 30]
            .map(|number| Error::Heed(heed::Error::Io(io::Error::from_raw_os_error(number)))),
    );
    all
}

#[test]
fn there_is_an_example_of_every_variant() {
    let messages = include_str!("../error.rs").matches("#[error(").count();
    let examples: HashSet<_> = examples().iter().map(discriminant).collect();
    assert_eq!(examples.len(), messages, "a variant without an example here");
}

#[test]
fn every_message_is_one_line_without_gaps_and_says_what_to_do() {
    // What the reader is told to do.
    const VERBS: &[&str] = &[
        "abort",
        "add",
        "ask",
        "build",
        "change",
        "choose",
        "clear",
        "close",
        "copy",
        "create",
        "drop",
        "end",
        "enlarge",
        "free",
        "give",
        "have",
        "leave",
        "let",
        "look",
        "make",
        "mount",
        "must be",
        "has zeros and ones only",
        "open",
        "raise",
        "remove",
        "restore",
        "return",
        "run",
        "scale",
        "try",
        "upgrade",
        "use",
    ];
    for error in examples() {
        let text = error.to_string();
        assert!(!text.contains("  ") && !text.contains('\n') && text == text.trim(), "{text:?}");
        // After what has happened.
        let remedy = text.split_once([':', ';', ',']).map_or("", |(_, remedy)| remedy);
        let says_what_to_do = VERBS.iter().any(|verb| remedy.contains(&format!(" {verb}")));
        assert!(says_what_to_do, "{text}");
    }
}

#[test]
fn somebody_is_responsible_for_every_error() {
    let all = examples();
    let count = |responsible| all.iter().filter(|error| error.responsible() == responsible).count();
    assert_eq!(count(Responsible::Control), 1);
    assert!(
        count(Responsible::Caller) > 25
            && count(Responsible::Environment) > 10
            && count(Responsible::Data) > 8
    );
    // What names a damaged value is of the data, whoever says it.
    for error in &all {
        let is_damage =
            error.to_string().contains("corrupt") || error.to_string().contains("damaged:");
        assert!(!is_damage || error.responsible() == Responsible::Data, "{error}");
    }
}
