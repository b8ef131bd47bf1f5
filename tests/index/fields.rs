//! Fields of records: what a condition finds is what it says of the records, whatever has changed
//! them; what does not fit is an error, and changes nothing.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use voisin::distances::Euclidean;
use voisin::{
    AnyIndex, AnyKey, Condition, Error, Field, FieldType, FieldValue, Filter, Index, ItemId,
    Options, field,
};

use crate::{DIMENSIONS, Vectors, check, create, vector};

/// The naive twin of conditions: over JSON, in the form of `Condition::from_json`.
fn holds(condition: &Value, record: Option<&Value>) -> bool {
    let all = |key| condition[key].as_array().map(|all| all.iter());
    if let Some(mut all) = all("and") {
        return all.all(|one| holds(one, record));
    }
    if let Some(mut any) = all("or") {
        return any.any(|one| holds(one, record));
    }
    if condition.get("not").is_some() {
        return !holds(&condition["not"], record);
    }
    let member =
        record.map_or(&Value::Null, |record| &record[condition["field"].as_str().unwrap()]);
    let values = member.as_array().cloned().unwrap_or_else(|| vec![member.clone()]);
    let values: Vec<_> = values.into_iter().filter(|value| !value.is_null()).collect();
    let equal = |a: &Value, b: &Value| a == b || a.is_number() && a.as_f64() == b.as_f64();
    values.iter().any(|value| {
        condition.as_object().unwrap().iter().all(|(operator, operand)| {
            let order = |to: &Value| value.as_f64().partial_cmp(&to.as_f64()).unwrap();
            match operator.as_str() {
                "field" => true,
                "eq" => equal(value, operand),
                "in" => operand.as_array().unwrap().iter().any(|operand| equal(value, operand)),
                "between" => order(&operand[0]).is_ge() && order(&operand[1]).is_le(),
                "at_least" => order(operand).is_ge(),
                "above" => order(operand).is_gt(),
                "at_most" => order(operand).is_le(),
                "below" => order(operand).is_lt(),
                "prefix" => value.as_str().unwrap().starts_with(operand.as_str().unwrap()),
                "exists" => true,
                other => panic!("{other}"),
            }
        })
    })
}

fn all_fields() -> [Field; 5] {
    [
        Field::keyword("tag"),
        Field::integer("n"),
        Field::float("x"),
        Field::timestamp("at"),
        Field::bool("ok"),
    ]
}

/// Values that meet often, and some that differ in a zero or in their sign.
fn value_of(name: &str) -> BoxedStrategy<Value> {
    match name {
        "tag" => prop::sample::select(vec!["", "a", "a\0", "a\0\0\0\0", "ab", "abc", "b", "é"])
            .prop_map(Value::from)
            .boxed(),
        "n" | "at" => prop_oneof![
            6 => (-6i64..6).prop_map(Value::from),
            1 => Just(json!(i64::MIN)),
            1 => Just(json!(i64::MAX)),
        ]
        .boxed(),
        "x" => prop::sample::select(vec![-1e300, -2.5, -0.0, 0.0, 1.0, 1e-300, 7.25])
            .prop_map(Value::from)
            .boxed(),
        _ => any::<bool>().prop_map(Value::from).boxed(),
    }
}

fn record() -> impl Strategy<Value = Value> {
    let member = |name: &'static str| {
        let none = prop_oneof![Just(None), Just(Some(Value::Null))];
        let array = prop::collection::vec(value_of(name), 0..4).prop_map(|all| Some(all.into()));
        prop_oneof![2 => none, 4 => value_of(name).prop_map(Some), 2 => array]
            .prop_map(move |value| (name, value))
    };
    (member("tag"), member("n"), member("x"), member("at"), member("ok")).prop_map(
        |(a, b, c, d, e)| {
            let members = [a, b, c, d, e]
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)));
            Value::Object(members.collect::<Map<_, _>>())
        },
    )
}

fn condition() -> impl Strategy<Value = Value> {
    let names = vec!["tag", "n", "x", "at", "ok"];
    let leaf = prop::sample::select(names).prop_flat_map(|name| {
        let one = || value_of(name);
        let eq = one().prop_map(move |value| json!({"field": name, "eq": value}));
        let within = prop::collection::vec(one(), 0..4)
            .prop_map(move |values| json!({"field": name, "in": values}));
        let exists = Just(json!({"field": name, "exists": true}));
        let ordered = (one(), one(), 0..6usize).prop_map(move |(a, b, which)| match which {
            0 => json!({"field": name, "between": [a, b]}),
            1 => json!({"field": name, "at_least": a}),
            2 => json!({"field": name, "above": a, "at_most": b}),
            3 => json!({"field": name, "at_most": a}),
            4 => json!({"field": name, "below": a}),
            _ => json!({"field": name, "above": a}),
        });
        let prefix = one().prop_map(move |value| json!({"field": name, "prefix": value}));
        match name {
            "tag" => prop_oneof![eq, within, exists, prefix].boxed(),
            "ok" => prop_oneof![eq, within, exists].boxed(),
            _ => prop_oneof![eq, within, exists, ordered].boxed(),
        }
    });
    leaf.prop_recursive(3, 12, 3, |inner| {
        let some = prop::collection::vec(inner.clone(), 0..3);
        prop_oneof![
            some.clone().prop_map(|all| json!({"and": all})),
            some.prop_map(|any| json!({"or": any})),
            inner.prop_map(|one| json!({"not": one})),
        ]
    })
}

#[derive(Debug, Clone)]
enum Step {
    Add(ItemId, Value),
    AddVector(ItemId),
    SetRecord(ItemId, Value),
    RemoveRecord(ItemId),
    Delete(ItemId),
    Drop(usize),
    AddField(usize),
    Update(Value, Value),
    DeleteMatching(Value),
    Optimize,
    Ask(Value),
}

fn step() -> impl Strategy<Value = Step> {
    // Three chunks of items.
    let item = || prop_oneof![0..40u32, 8180..8200u32, Just(u32::MAX)];
    prop_oneof![
        12 => (item(), record()).prop_map(|(item, record)| Step::Add(item, record)),
        3 => item().prop_map(Step::AddVector),
        5 => (item(), record()).prop_map(|(item, record)| Step::SetRecord(item, record)),
        2 => item().prop_map(Step::RemoveRecord),
        3 => item().prop_map(Step::Delete),
        1 => (0..5usize).prop_map(Step::Drop),
        3 => (0..5usize).prop_map(Step::AddField),
        1 => (condition(), record()).prop_map(|(of, with)| Step::Update(of, with)),
        1 => condition().prop_map(Step::DeleteMatching),
        1 => Just(Step::Optimize),
        8 => condition().prop_map(Step::Ask),
    ]
}

/// What an index should hold: items, and their records.
type Model = BTreeMap<ItemId, Option<Value>>;

fn text(record: &Value) -> Vec<u8> {
    record.to_string().into_bytes()
}

/// Whether all fields of a condition are there.
fn is_known(condition: &Value, fields: &[Field]) -> bool {
    match condition {
        Value::Array(all) => all.iter().all(|one| is_known(one, fields)),
        Value::Object(members) => members.iter().all(|(key, value)| match key.as_str() {
            "field" => fields.iter().any(|field| value == field.name()),
            "and" | "or" | "not" => is_known(value, fields),
            _ => true,
        }),
        _ => true,
    }
}

fn matching(model: &Model, condition: &Value) -> Vec<ItemId> {
    let hold = model.iter().filter(|(_, record)| holds(condition, record.as_ref()));
    hold.map(|(item, _)| *item).collect()
}

fn apply(index: &Vectors, model: &mut Model, step: &Step) {
    let vector = |item: ItemId| vector(item % 50, 1);
    let fields = index.snapshot().unwrap().fields().unwrap();
    match step {
        Step::Add(item, record) => {
            let text = text(record);
            index.write(|batch| batch.add_with_record(*item, &vector(*item), &text)).unwrap();
            model.insert(*item, Some(record.clone()));
        }
        Step::AddVector(item) => {
            index.write(|batch| batch.add(*item, &vector(item / 2))).unwrap();
            model.entry(*item).or_default();
        }
        Step::SetRecord(item, record) => {
            let is_set = index.write(|batch| batch.set_record(*item, &text(record))).unwrap();
            assert_eq!(is_set, model.contains_key(item));
            if is_set {
                model.insert(*item, Some(record.clone()));
            }
        }
        Step::RemoveRecord(item) => {
            let was_there = model.get_mut(item).is_some_and(|record| record.take().is_some());
            assert_eq!(index.write(|batch| batch.remove_record(*item)).unwrap(), was_there);
        }
        Step::Delete(item) => {
            let was_there = model.remove(item).is_some();
            assert_eq!(index.write(|batch| batch.delete(*item)).unwrap(), was_there);
        }
        Step::Drop(which) => {
            let field = &all_fields()[*which];
            match index.write(|batch| batch.drop_field(field.name())) {
                Err(Error::UnknownField { .. }) => assert!(!fields.contains(field)),
                dropped => dropped.unwrap(),
            }
        }
        Step::AddField(which) => {
            let field = &all_fields()[*which];
            match index.write(|batch| batch.add_field(field.clone())) {
                Err(Error::InvalidField { .. }) => assert!(fields.contains(field)),
                added => added.unwrap(),
            }
        }
        Step::Update(condition, record) if is_known(condition, &fields) => {
            let items = matching(model, condition);
            let condition = Condition::from_json(&condition.to_string()).unwrap();
            let update = |old: Option<&[u8]>| old.map(|_| text(record));
            let updated = index.write(|batch| batch.update_matching(&condition, update)).unwrap();
            let had_one = items.iter().filter(|item| model[item].is_some()).copied();
            let had_one: Vec<_> = had_one.collect();
            assert_eq!(updated, had_one.len() as u64);
            model.extend(had_one.into_iter().map(|item| (item, Some(record.clone()))));
        }
        Step::DeleteMatching(condition) if is_known(condition, &fields) => {
            let items = matching(model, condition);
            let condition = Condition::from_json(&condition.to_string()).unwrap();
            let deleted = index.write(|batch| batch.delete_matching(&condition)).unwrap();
            assert_eq!(deleted, items.len() as u64);
            items.iter().for_each(|item| drop(model.remove(item)));
        }
        Step::Optimize => index.optimize().unwrap(),
        Step::Ask(condition) => ask(index, model, condition, &fields),
        Step::Update(..) | Step::DeleteMatching(_) => {}
    }
}

fn ask(index: &Vectors, model: &Model, json: &Value, fields: &[Field]) {
    let condition = Condition::from_json(&json.to_string()).unwrap();
    let snapshot = index.snapshot().unwrap();
    if !is_known(json, fields) {
        let refused = snapshot.count(&condition);
        assert!(matches!(refused, Err(Error::UnknownField { .. })), "{json}");
        return;
    }
    let expected = matching(model, json);
    assert_eq!(
        snapshot.ids_of(&condition).unwrap().into_iter().collect::<Vec<_>>(),
        expected,
        "{json}"
    );
    assert_eq!(snapshot.count(&condition).unwrap(), expected.len() as u64, "{json}");
    let query = vector(17, 1);
    let all = || snapshot.search(1000);
    let sorted = |found: voisin::Searched| {
        let mut items: Vec<_> = found.nns.iter().map(|(item, _)| *item).collect();
        items.sort_unstable();
        items
    };
    let found = all().candidates(&condition).by_vector(&query).unwrap();
    assert_eq!(sorted(found), expected, "{json}");
    let kept = Filter::matching(condition.clone());
    for _ in 0..2 {
        let found = all().exact().candidates(&kept).by_vector(&query).unwrap();
        assert_eq!(sorted(found), expected, "{json}");
    }
    let others: Vec<_> = model.keys().filter(|item| !expected.contains(item)).copied().collect();
    let found = all().exclude(&condition).by_vector(&query).unwrap();
    assert_eq!(sorted(found), others, "{json}");
    for field in fields {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for item in &expected {
            let member =
                model[item].as_ref().map_or(Value::Null, |record| record[field.name()].clone());
            let values = member.as_array().cloned().unwrap_or_else(|| vec![member.clone()]);
            let mut values: Vec<String> = values
                .iter()
                .filter(|value| !value.is_null())
                .map(|value| {
                    match value.as_f64().filter(|_| field.field_type() == FieldType::Float) {
                        Some(float) => FieldValue::from(float + 0.0).to_string(),
                        None if value.is_string() => {
                            FieldValue::from(value.as_str().unwrap()).to_string()
                        }
                        None => value.to_string(),
                    }
                })
                .collect();
            values.sort_unstable();
            values.dedup();
            values.into_iter().for_each(|value| *counts.entry(value).or_default() += 1);
        }
        let facet = snapshot.facet_among(field.name(), &condition).unwrap();
        assert!(facet.is_sorted_by_key(|(_, count)| std::cmp::Reverse(*count)));
        let facet: BTreeMap<_, _> =
            facet.into_iter().map(|(v, count)| (v.to_string(), count)).collect();
        assert_eq!(facet, counts, "{field:?} among {json}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").map_or(24, |cases| cases.parse().unwrap()),
        ..ProptestConfig::default()
    })]

    #[test]
    fn conditions_hold_for_the_items_that_they_say(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let (_folder, index) = create(Options::new(DIMENSIONS));
        let mut model = Model::new();
        index.write(|batch| {
            all_fields().into_iter().take(3).try_for_each(|field| batch.add_field(field))
        }).unwrap();
        for step in &steps {
            apply(&index, &mut model, step);
        }
        check(&index);
    }
}

/// Rows of many items and many numbers, which split and shrink.
#[test]
fn a_condition_asked_again_and_again_has_the_items_of_its_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::<Euclidean>::create(
        folder.path(),
        Options::new(DIMENSIONS).fields([Field::keyword("tag"), Field::integer("n")]),
    )
    .unwrap();
    let tag = |item: ItemId| if item.is_multiple_of(2) { "a" } else { "b" };
    let record = |item: ItemId| json!({"tag": tag(item), "n": item});
    let rows = (0..600u32).map(|item| (item, vector(item, 0), text(&record(item))));
    index
        .write(|batch| {
            rows.clone().try_for_each(|(item, vector, record)| {
                batch.add_with_record(item, &vector, &record)
            })
        })
        .unwrap();
    let conditions = [
        field("tag").eq("a"),
        field("tag").eq("a").and(field("n").below(300)),
        field("tag").eq("a").not(),
        field("n").at_least(100),
    ];
    let counts = |ask: &dyn Fn(&Condition) -> u64| {
        let counts = conditions.each_ref().map(|condition| [0; 4].map(|_| ask(condition)));
        counts.map(|counts| {
            assert_eq!(counts, [counts[0]; 4]);
            counts[0]
        })
    };
    let before = index.snapshot().unwrap();
    let ask_before = |condition: &Condition| before.count(condition).unwrap();
    assert_eq!(counts(&ask_before), [300, 150, 300, 500]);
    index
        .write(|batch| {
            assert_eq!(counts(&|condition| batch.count(condition).unwrap()), [300, 150, 300, 500]);
            batch.delete(0)?;
            batch.set_record(1, &text(&json!({"tag": "a", "n": 1000})))?;
            assert_eq!(counts(&|condition| batch.count(condition).unwrap()), [300, 149, 299, 501]);
            batch.set_record(4, &text(&json!({})))?;
            assert_eq!(counts(&|condition| batch.count(condition).unwrap()), [299, 148, 300, 501]);
            Ok(())
        })
        .unwrap();
    let after = index.snapshot().unwrap();
    assert_eq!(counts(&|condition| after.count(condition).unwrap()), [299, 148, 300, 501]);
    assert_eq!(counts(&ask_before), [300, 150, 300, 500], "a snapshot stays as it is");
    for condition in &conditions {
        for _ in 0..4 {
            let found = after.search(600).exact().candidates(condition).by_vector(&vector(7, 0));
            let mut found: Vec<_> = found.unwrap().nns.iter().map(|(item, _)| *item).collect();
            found.sort_unstable();
            assert_eq!(found, after.ids_of(condition).unwrap().into_iter().collect::<Vec<_>>());
        }
    }
    check(&index);
}

#[test]
fn many_values_are_found_and_rows_split_and_shrink() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    let n = |item: ItemId| (item.wrapping_mul(2_654_435_761) >> 16) as i64 - 30_000;
    let row = |item: ItemId| {
        let record =
            json!({"tag": if item.is_multiple_of(3) { "third" } else { "other" }, "n": n(item)});
        (item, vector(item, 1), record.to_string())
    };
    index
        .write(|batch| {
            batch.link_later();
            all_fields().into_iter().try_for_each(|field| batch.add_field(field))?;
            batch.add_items_with_records((0..20_000).map(row))
        })
        .unwrap();
    check(&index);
    let count = |condition: &Condition| index.snapshot().unwrap().count(condition).unwrap();
    let is_right = |all: std::ops::Range<u32>| {
        let ranges = [(-40_000, 40_000), (-3, 300), (0, 0), (5, -5), (29_999, 40_000)];
        // Later ones go by a table, as ranges have read all runs some times.
        let wide = [(-40_000, 40_000); 3].into_iter().chain([(-20_011, 9_001)]);
        for (low, high) in ranges.into_iter().chain(wide).chain(ranges) {
            let expected = all.clone().filter(|item| (low..=high).contains(&n(*item))).count();
            assert_eq!(count(&field("n").between(low, high)), expected as u64, "{low} to {high}");
        }
        let thirds = all.clone().filter(|item| item % 3 == 0).count() as u64;
        assert_eq!(count(&field("tag").eq("third")), thirds);
        let some = field("tag").eq("third").and(field("n").below(0));
        let expected = all.clone().filter(|item| item % 3 == 0 && n(*item) < 0).count() as u64;
        assert_eq!(count(&some), expected);
        let few = field("n").between(-9, 90).and(field("tag").eq("third"));
        let few = few.and(field("n").above(-30_000).and(field("tag").exists()));
        let expected = all.clone().filter(|item| item % 3 == 0 && (-9..=90).contains(&n(*item)));
        assert_eq!(count(&few), expected.count() as u64);
        let facet = index.snapshot().unwrap().facet("tag").unwrap();
        let others = all.len() as u64 - thirds;
        assert_eq!(facet, [("other".into(), others), ("third".into(), thirds)]);
    };
    is_right(0..20_000);
    for item in 20_000..20_050 {
        index
            .write(|batch| {
                batch.link_later();
                let (item, vector, record) = row(item);
                batch.add_with_record(item, &vector, record.as_bytes())
            })
            .unwrap();
    }
    check(&index);
    is_right(0..20_050);
    index.write(|batch| batch.delete_items(0..19_000)).unwrap();
    check(&index);
    is_right(19_000..20_050);
    index.write(|batch| batch.drop_field("n")).unwrap();
    check(&index);
    assert!(index.write(|batch| batch.add_field(Field::integer("n"))).is_ok());
    is_right(19_000..20_050);
    let deleted = index.write(|batch| batch.delete_matching(&field("tag").exists())).unwrap();
    assert_eq!((deleted, count(&field("n").exists())), (1050, 0));
    check(&index);
}

/// What finds items by conditions, or reads all records, knows only their ids.
#[test]
fn a_record_that_does_not_fit_is_told_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    let index = Index::<Euclidean, str>::create(&path, Options::new(DIMENSIONS)).unwrap();
    index.write(|batch| batch.add_field(Field::integer("n"))).unwrap();
    let rows = (0..9).map(|item| {
        (format!("key {item}"), vector(item, 1), json!({"n": item, "at": "noon"}).to_string())
    });
    index.loader().load_with_records(rows).unwrap();
    let named = |result: voisin::Result<()>| match result {
        Err(Error::InvalidRecord { item, .. }) => item,
        other => panic!("{other:?}"),
    };
    let wrong = |_: Option<&[u8]>| Some(br#"{"n": true}"#.to_vec());
    let one = field("n").eq(5);
    let updated = index.write(|batch| batch.update_matching(&one, wrong).map(drop));
    assert_eq!(named(updated), "\"key 5\"");
    // The first one that does not fit, in the order of ids.
    let added = index.write(|batch| batch.add_field(Field::bool("at")));
    assert_eq!(named(added), "\"key 0\"");
    assert!(index.check().unwrap().is_empty());
}

#[test]
fn what_does_not_fit_is_an_error_that_changes_nothing() {
    let (_folder, index) = create(Options::new(DIMENSIONS));
    let good = br#"{"n": 3, "ok": true, "tag": "a"}"#;
    index
        .write(|batch| {
            all_fields().into_iter().try_for_each(|field| batch.add_field(field))?;
            batch.add_with_record(1, &vector(1, 1), good)?;
            let refused = [
                batch.add_with_record(1, &vector(1, 2), br#"{"n": "3"}"#),
                batch.set_record(1, b"no JSON").map(drop),
                batch.add_items_with_records([(2, vector(2, 1), "[]")]).map(drop),
            ];
            for error in refused.map(Result::unwrap_err) {
                assert!(matches!(error, Error::InvalidRecord { .. }), "{error}");
            }
            assert_eq!((batch.record(1)?, batch.len()?), (Some(good.to_vec()), 1));
            assert!(matches!(batch.drop_field("other"), Err(Error::UnknownField { .. })));
            assert!(matches!(batch.add_field(Field::bool("n")), Err(Error::InvalidField { .. })));
            assert_eq!(batch.count(&field("n").eq(3))?, 1);
            Ok(())
        })
        .unwrap();
    check(&index);
    let snapshot = index.snapshot().unwrap();
    for condition in [
        field("n").eq("3"),
        field("n").eq(3.5),
        field("n").starts_with("3"),
        field("tag").between("a", "b"),
        field("tag").eq(1),
        field("ok").at_least(true),
        field("at").eq("tomorrow"),
    ] {
        let refused = [
            snapshot.count(&condition).map(drop),
            index.search(1).candidates(&condition).by_vector(&vector(1, 1)).map(drop),
            snapshot.search(1).exclude(&Filter::matching(condition.clone())).by_item(1).map(drop),
        ];
        for error in refused.map(Result::unwrap_err) {
            assert!(matches!(error, Error::FieldMismatch { .. }), "{condition:?}: {error}");
        }
    }
    for (condition, expected) in [
        (field("x").at_least(1), 0),
        (field("n").is_in([1, 3]), 1),
        (field("at").below("2026-11-29T12:00:00Z").not(), 1),
        (field("n").eq(3).and(field("ok").eq(false)), 0),
        (Condition::all([]), 1),
        (Condition::any([]), 0),
    ] {
        assert_eq!(snapshot.count(&condition).unwrap(), expected, "{condition:?}");
    }

    // Records from before that do not fit.
    let (_folder, index) = create(Options::new(DIMENSIONS));
    index.write(|batch| batch.add_with_record(7, &vector(7, 1), b"text")).unwrap();
    match index.write(|batch| batch.add_field(Field::keyword("tag"))) {
        Err(Error::InvalidRecord { item, .. }) => assert_eq!(item, "7"),
        other => panic!("{other:?}"),
    }
    assert!(index.snapshot().unwrap().fields().unwrap().is_empty());
    check(&index);
}

/// A cleared index has the fields that it had, of no items.
#[test]
fn an_index_that_is_cleared_keeps_its_fields() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(DIMENSIONS).fields(all_fields());
    let index = Vectors::create(folder.path().join("vectors"), options).unwrap();
    let (fields, one) = (|| index.snapshot().unwrap().fields().unwrap(), field("n").eq(1));
    let count = || index.snapshot().unwrap().count(&one).unwrap();
    let add = || index.write(|batch| batch.add_with_record(1, &vector(1, 0), br#"{"n": 1}"#));
    add().unwrap();
    assert_eq!((fields(), count()), (all_fields().into(), 1));
    index.write(|batch| batch.clear()).unwrap();
    assert_eq!((fields(), count()), (all_fields().into(), 0));
    add().unwrap();
    assert_eq!(count(), 1);
    check(&index);
}

#[test]
fn keys_and_any_index_have_fields_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    let index = Index::<Euclidean, str>::create(&path, Options::new(DIMENSIONS)).unwrap();
    let rows = (0..300u32).map(|item| {
        (format!("key {item}"), vector(item, 1), json!({"n": item, "tag": ["all"]}).to_string())
    });
    index.write(|batch| batch.add_field(Field::integer("n"))).unwrap();
    index.loader().load_with_records(rows).unwrap();
    let some = field("n").between(10, 12);
    let snapshot = index.snapshot().unwrap();
    let mut keys = snapshot.keys_of(&some).unwrap();
    keys.sort_unstable();
    assert_eq!(keys, ["key 10", "key 11", "key 12"]);
    let found = index.search(9).candidates(&some).with_records().by_vector(&vector(11, 1)).unwrap();
    assert_eq!((found.nns.len(), found.nns[0].0.as_str(), found.records.len()), (3, "key 11", 3));
    drop(snapshot);
    index
        .write(|batch| {
            let bad = batch.set_record("key 5", br#"{"n": true}"#);
            assert!(matches!(bad, Err(Error::InvalidRecord { item, .. }) if item == "\"key 5\""));
            let bad = batch.add_items_with_records([
                ("new", vector(1, 1), "{\"n\": []}"),
                ("bad", vector(1, 1), "3"),
            ]);
            assert!(matches!(bad, Err(Error::InvalidRecord { item, .. }) if item == "\"bad\""));
            assert_eq!(batch.keys_of(&field("n").eq(11))?, ["key 11"]);
            assert_eq!(batch.delete_matching(&field("n").eq(11))?, 1);
            assert!(!batch.contains("key 11")? && batch.contains("new")?);
            let update = |_: Option<&[u8]>| Some(br#"{"n": -1}"#.to_vec());
            assert_eq!(batch.update_matching(&field("n").eq(12), update)?, 1);
            Ok(())
        })
        .unwrap();
    assert!(index.check().unwrap().is_empty());
    drop(index);

    let any = AnyIndex::open(&path, Options::default()).unwrap();
    assert_eq!(any.fields().unwrap(), [Field::integer("n")]);
    any.add_field(Field::keyword("tag")).unwrap();
    let negative = field("n").below(0);
    assert_eq!(any.keys_of(&negative).unwrap(), [AnyKey::from("key 12")]);
    assert_eq!(any.count(&field("tag").eq("all")).unwrap(), 298);
    assert_eq!(any.facet("tag", Some(&field("n").below(5))).unwrap(), [("all".into(), 5)]);
    assert_eq!(any.facet("tag", None).unwrap(), [("all".into(), 298)]);
    assert_eq!(any.delete_matching(&negative).unwrap(), 1);
    any.drop_field("n").unwrap();
    assert!(any.check().unwrap().is_empty());
}

#[test]
fn fields_come_with_the_commit_that_creates_the_index_or_nothing_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    let bad = [
        vec![Field::keyword("")],
        vec![Field::keyword("tag"), Field::integer("tag")],
        (0..65).map(|number| Field::bool(number.to_string())).collect(),
    ];
    for fields in bad {
        let options = Options::new(DIMENSIONS).fields(fields);
        let refused = Vectors::create(&path, options);
        assert!(matches!(refused, Err(Error::InvalidField { .. })), "{refused:?}");
        assert!(!path.exists());
    }
    let fields = || [Field::keyword("tag"), Field::integer("n")];
    let index = Vectors::create(&path, Options::new(DIMENSIONS).fields(fields())).unwrap();
    let created = index.snapshot().unwrap();
    assert_eq!(created.fields().unwrap(), fields());
    index.write(|batch| batch.add_with_record(1, &vector(1, 1), br#"{"n": 3}"#)).unwrap();
    assert_eq!(index.snapshot().unwrap().count(&field("n").eq(3)).unwrap(), 1);
    // One commit has created the index with its fields, and one has added the item.
    assert_eq!(index.snapshot().unwrap().commit(), created.commit() + 1);
    let other = Options::new(DIMENSIONS).name("other");
    Vectors::create(&path, other).unwrap();
    assert_eq!(index.snapshot().unwrap().commit(), created.commit() + 2);
    check(&index);

    for (requested, is_there) in [
        (vec![], true),
        (vec![Field::integer("n")], true),
        (fields().into_iter().rev().collect(), true),
        (vec![Field::float("n")], false),
        (vec![Field::integer("n"), Field::bool("ok")], false),
    ] {
        let options = Options::new(DIMENSIONS).fields(requested);
        for opened in [
            Vectors::open(&path, options.clone()),
            Vectors::open_or_create(&path, options.clone()),
            Vectors::open_read_only(&path, options),
        ] {
            match opened {
                Ok(_) => assert!(is_there),
                Err(Error::OptionMismatch { option, stored, requested, .. }) => {
                    assert!(!is_there && option == "the fields");
                    assert_eq!(stored, r#"{"tag": keyword, "n": integer}"#);
                    assert!(requested.contains('n'));
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
}
