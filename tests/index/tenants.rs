//! Tenants: what they hold against an oracle, with the check after every change; that neither
//! names nor keys nor restrictions nor kept filters of one reach another; and what cannot be.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use voisin::distances::{Euclidean, distance};
use voisin::{
    AnyIndex, AnyKey, Error, Field, Filter, HasRecords, Index, IndexKind, MAX_KEY_BYTES, Options,
    Query, Searchable, Strategy, field, tenant_of,
};

use crate::DIMENSIONS;

type Texts = Index<Euclidean, str>;
/// A vector and a record.
type Item = (Vec<f32>, Option<Vec<u8>>);
/// By tenant, `""` for items of none, and key.
type Items = BTreeMap<(String, String), Item>;

const NAMES: [&str; 8] = ["a", "a\0", "a\0\u{1}b", "ab", "\u{1}", "b", "ä", "\0"];
const KEYS: [&str; 7] = ["\u{1}", "a", "a/1", "a/2", "a\0\u{1}b", "b", "ö"];

fn create(path: &std::path::Path, options: Options) -> Texts {
    Texts::create(path.join("vectors"), options).unwrap()
}

/// A vector whose distances to others are exact in `f32`.
fn vector(rng: &mut StdRng) -> Vec<f32> {
    (0..DIMENSIONS).map(|_| rng.random_range(-1000..1000) as f32 / 256.0).collect()
}

#[track_caller]
fn check<D, K: ?Sized>(index: &Index<D, K>) {
    let findings = index.check().unwrap();
    assert!(findings.is_empty(), "{findings:#?}");
}

fn pick<'a>(rng: &mut StdRng, of: &[&'a str]) -> &'a str {
    of.choose(rng).unwrap()
}

/// The items of a tenant, by key.
fn of_tenant<'a>(items: &'a Items, name: &str) -> BTreeMap<&'a str, &'a Item> {
    let own = items.iter().filter(|((tenant, _), _)| tenant == name);
    own.map(|((_, key), item)| (&key[..], item)).collect()
}

/// The `k` nearest of some items for which `passes` holds.
fn nearest(
    items: &BTreeMap<&str, &Item>,
    query: &[f32],
    k: usize,
    passes: impl Fn(&str) -> bool,
) -> Vec<(String, f32)> {
    let passing = items.iter().filter(|(key, _)| passes(key));
    let mut all: Vec<(String, f32)> = passing
        .map(|(key, (vector, _))| (key.to_string(), distance::<Euclidean>(query, vector).unwrap()))
        .collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1));
    all.truncate(k);
    all
}

/// Searches of a tenant in all ways have the items that they should have.
fn check_searches<'a, S: Searchable<Key = str> + HasRecords + 'a>(
    search: impl Fn(usize) -> Query<'a, S>,
    own: &BTreeMap<&str, &Item>,
    rng: &mut StdRng,
) {
    let query = vector(rng);
    let all = nearest(own, &query, 3, |_| true);
    assert_eq!(search(3).by_vector(&query).unwrap().into_nns(), all);
    assert_eq!(search(3).exact().by_vectors(&query).unwrap()[0].nns, all);
    let candidates = [pick(rng, &KEYS), pick(rng, &KEYS)];
    let found = search(9).candidates(candidates).by_vector(&query).unwrap();
    assert_eq!(found.nns, nearest(own, &query, 9, |key| candidates.contains(&key)));
    let found = search(9).exclude(candidates).by_vector(&query).unwrap();
    assert_eq!(found.nns, nearest(own, &query, 9, |key| !candidates.contains(&key)));
    let found = search(9).prefix("a").by_vector(&query).unwrap();
    assert_eq!(found.nns, nearest(own, &query, 9, |key| key.starts_with('a')));
    let found = search(9).filter(&|key: &str| key.len() > 1).by_vector(&query).unwrap();
    assert_eq!(found.nns, nearest(own, &query, 9, |key| key.len() > 1));
    let pages = search(2).exact().pages(&query).unwrap();
    let paged: Vec<_> = pages.flat_map(|page| page.unwrap().into_nns()).collect();
    assert_eq!(paged, nearest(own, &query, 99, |_| true));
    let key = pick(rng, &KEYS);
    let found = search(9).with_records().by_item(key).unwrap();
    assert_eq!(found.is_some(), own.contains_key(key));
    if let Some(found) = found {
        let (query, _) = own[key];
        assert_eq!(found.nns, nearest(own, query, 9, |other| other != key));
        let records = found.nns.iter().map(|(key, _)| own[&key[..]].1.clone());
        assert!(found.records.iter().cloned().eq(records));
    }
    let count = search(0).count_within(&query, 20.0).unwrap().items;
    let within = nearest(own, &query, 99, |_| true).into_iter().filter(|(_, d)| *d <= 20.0).count();
    assert_eq!(count, within as u64);
}

/// All that an index says is what the oracle says.
fn check_all(index: &Texts, items: &Items, rng: &mut StdRng) {
    check(index);
    let snapshot = index.snapshot().unwrap();
    assert_eq!(snapshot.len(), items.len() as u64);
    let names: BTreeSet<&String> =
        items.keys().map(|(tenant, _)| tenant).filter(|tenant| !tenant.is_empty()).collect();
    let found = snapshot.tenants().unwrap().collect::<voisin::Result<Vec<_>>>().unwrap();
    assert!(found.iter().eq(names), "{found:?}");
    for name in NAMES {
        let own = of_tenant(items, name);
        let tenant = snapshot.tenant(name).unwrap();
        assert_eq!((tenant.len().unwrap(), tenant.name()), (own.len() as u64, name.as_bytes()));
        assert_eq!(tenant.is_empty().unwrap(), own.is_empty());
        let keys = tenant.keys().unwrap().collect::<voisin::Result<Vec<_>>>().unwrap();
        assert!(keys.iter().eq(own.keys()), "{keys:?}");
        for entry in tenant.iter().unwrap() {
            let (key, vector) = entry.unwrap();
            assert_eq!(vector, own[&key[..]].0);
        }
        let records = tenant.records().unwrap().map(Result::unwrap);
        let expected = own.iter().filter_map(|(key, (_, record))| Some((*key, record.clone()?)));
        assert!(records.eq(expected.map(|(key, record)| (key.to_owned(), record))));
        for key in KEYS {
            let item = own.get(key);
            assert_eq!(tenant.vector(key).unwrap().as_ref(), item.map(|item| &item.0));
            assert_eq!(tenant.record(key).unwrap(), item.and_then(|item| item.1.clone()));
            assert_eq!(tenant.contains(key).unwrap(), item.is_some());
        }
    }
    // Of all tenants, by whole keys.
    let query = vector(rng);
    let found = index.search(5).exact().by_vector(&query).unwrap().into_nns();
    let mut expected: Vec<f32> =
        items.values().map(|(item, _)| distance::<Euclidean>(&query, item).unwrap()).collect();
    expected.sort_by(f32::total_cmp);
    assert!(found.iter().map(|(_, distance)| distance).eq(expected.iter().take(5)));
    for (key, _) in found {
        let whose = tenant_of::<str>(&key).unwrap_or_else(|| (String::new(), key));
        assert!(items.contains_key(&whose), "{whose:?}");
    }
}

/// Operations on several tenants of two indexes of a folder, and on items of none, in batches of
/// one or some of them.
fn churn(options: Options, seed: u64) {
    let rng = &mut StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let index = create(folder.path(), options.clone());
    let other = create(folder.path(), options.name("other"));
    let (mut items, mut others) = (Items::new(), Items::new());
    for round in 0..60 {
        let (name, new, key) = (pick(rng, &NAMES), pick(rng, &NAMES), pick(rng, &KEYS));
        let (row, record) = (vector(rng), vec![round as u8; rng.random_range(0..40)]);
        let of = |name: &str, key: &str| (name.to_owned(), key.to_owned());
        match rng.random_range(0..12) {
            0..4 => {
                index.tenant(name).unwrap().add(key, &row).unwrap();
                items.entry(of(name, key)).or_insert((Vec::new(), None)).0 = row;
            }
            4 => {
                let rows: Vec<_> = KEYS.iter().map(|key| (*key, vector(rng))).collect();
                let count = index.tenant(name).unwrap().write(|batch| {
                    batch.add_items_with_records(rows.iter().map(|(key, row)| (key, row, &record)))
                });
                assert_eq!(count.unwrap(), KEYS.len() as u64);
                for (key, row) in rows {
                    items.insert(of(name, key), (row, Some(record.clone())));
                }
            }
            5 => {
                index.write(|batch| batch.add(key, &row)).unwrap();
                items.entry(of("", key)).or_insert((Vec::new(), None)).0 = row;
            }
            6 => {
                let is_set = index.tenant(name).unwrap().set_record(key, &record).unwrap();
                let item = items.get_mut(&of(name, key));
                assert_eq!(is_set, item.is_some());
                item.into_iter().for_each(|item| item.1 = Some(record.clone()));
            }
            7 => {
                let is_gone = index.tenant(name).unwrap().delete(key).unwrap();
                assert_eq!(is_gone, items.remove(&of(name, key)).is_some());
            }
            8 => {
                let own = of_tenant(&items, name).len() as u64;
                assert_eq!(index.drop_tenant(name).unwrap(), own);
                items.retain(|(tenant, _), _| tenant != name);
            }
            9 => {
                let own = of_tenant(&items, name).len() as u64;
                let renamed = index.rename_tenant(name, new);
                if name == new || of_tenant(&items, new).is_empty() {
                    assert_eq!(renamed.unwrap(), own);
                    rename(&mut items, name, new);
                } else {
                    assert!(matches!(renamed, Err(Error::TenantExists { .. })), "{renamed:?}");
                }
            }
            10 => {
                let moved = index.move_tenant(name, &other, new);
                if of_tenant(&others, new).is_empty() {
                    assert_eq!(moved.unwrap(), of_tenant(&items, name).len() as u64);
                    take(&mut items, &mut others, name, new);
                } else {
                    assert!(matches!(moved, Err(Error::TenantExists { .. })), "{moved:?}");
                }
            }
            _ => {
                let result = index.write(|batch| {
                    let mut tenant = batch.tenant(name)?;
                    tenant.add(key, &row)?;
                    tenant.remove_record(key)?;
                    assert_eq!(tenant.vector(key)?, Some(row.clone()));
                    assert_eq!((tenant.record(key)?, tenant.contains(key)?), (None, true));
                    let found = tenant.search(1).by_vector(&row)?;
                    assert_eq!(found.into_nns(), [(key.to_owned(), 0.0)]);
                    batch.rename_tenant(name, new)?;
                    batch.tenant(new)?.len()
                });
                let mut expected = items.clone();
                expected.insert(of(name, key), (row, None));
                if name == new || of_tenant(&items, new).is_empty() {
                    rename(&mut expected, name, new);
                    items = expected;
                    assert_eq!(result.unwrap(), of_tenant(&items, new).len() as u64);
                } else {
                    assert!(matches!(result, Err(Error::TenantExists { .. })), "{result:?}");
                }
            }
        }
        check_all(&index, &items, rng);
        if round % 8 == 7 {
            check_all(&other, &others, rng);
            let snapshot = index.snapshot().unwrap();
            for name in NAMES {
                let own = of_tenant(&items, name);
                let (held, newest) = (snapshot.tenant(name).unwrap(), index.tenant(name).unwrap());
                // The second search and later ones know the items.
                for _ in 0..3 {
                    check_searches(|k| held.search(k), &own, rng);
                    check_searches(|k| newest.search(k), &own, rng);
                }
                index
                    .write(|batch| {
                        let tenant = batch.tenant(name)?;
                        (0..2).for_each(|_| check_searches(|k| tenant.search(k), &own, rng));
                        assert_eq!(tenant.len()?, own.len() as u64);
                        assert!(tenant.keys()?.iter().eq(own.keys()));
                        Ok(())
                    })
                    .unwrap();
            }
        }
    }
}

fn rename(items: &mut Items, name: &str, new: &str) {
    let own = std::mem::take(items).into_iter().map(|((tenant, key), item)| {
        let tenant = if tenant == name { new.to_owned() } else { tenant };
        ((tenant, key), item)
    });
    *items = own.collect();
}

fn take(items: &mut Items, others: &mut Items, name: &str, new: &str) {
    for ((tenant, key), item) in std::mem::take(items) {
        match tenant == name {
            true => others.insert((new.to_owned(), key), item),
            false => items.insert((tenant, key), item),
        };
    }
}

#[test]
fn tenants_hold_what_an_oracle_holds_whatever_is_done_with_them() {
    for seed in 0..4 {
        churn(Options::new(DIMENSIONS).kinds([IndexKind::Flat]), seed);
        churn(Options::new(DIMENSIONS), 100 + seed);
    }
}

/// A filter that is kept has the items of each tenant that it is used on, not those of the last.
#[test]
fn a_kept_filter_is_of_the_tenant_that_it_is_used_on() {
    let folder = tempfile::tempdir().unwrap();
    let index = create(folder.path(), Options::new(DIMENSIONS));
    let names = ["acme", "bolt", "acme & sons"];
    for (nth, name) in names.iter().enumerate() {
        let rows = |at: usize| (format!("{}/{at}", if at < 9 { "a" } else { "b" }), [at as f32; 4]);
        let rows = (0..10 * (nth + 1)).map(rows).map(|(key, row)| (key, row, r#"{"n": 1}"#));
        index.tenant(name).unwrap().write(|b| b.add_items_with_records(rows.clone())).unwrap();
    }
    index.write(|batch| batch.add_field(Field::integer("n"))).unwrap();
    let snapshot = index.snapshot().unwrap();
    let filters: [Filter<str>; 3] = [
        Filter::prefix("b/"),
        Filter::keys(["b/9", "b/15", "b/25", "a/1"]).unwrap(),
        Filter::matching(field("n").eq(1)),
    ];
    let expected = [[1, 11, 21], [2, 3, 4], [10, 20, 30]];
    for _ in 0..3 {
        for (filter, expected) in filters.iter().zip(expected) {
            for (name, expected) in names.iter().zip(expected) {
                let tenant = snapshot.tenant(name).unwrap();
                let found = tenant.search(99).candidates(filter).by_vector(&[0.0; 4]).unwrap();
                assert_eq!(found.nns.len(), expected, "{filter:?} of {name}");
                let tenant = index.tenant(name).unwrap();
                let own = tenant.len().unwrap() as usize;
                let found = tenant.search(99).exclude(filter).by_vector(&[0.0; 4]).unwrap();
                assert_eq!(found.nns.len(), own - expected, "all but {filter:?} of {name}");
            }
        }
    }
    let condition = field("n").eq(1);
    let bolt = snapshot.tenant("bolt").unwrap();
    assert_eq!(bolt.count(&condition).unwrap(), 20);
    let keys = bolt.keys().unwrap().map(Result::unwrap);
    assert!(keys.eq(bolt.keys_of(&condition).unwrap()));
    assert!(bolt.keys_of(&condition.not()).unwrap().is_empty());
}

/// Pages go on with a token, in the tenant that they are of.
#[test]
fn pages_of_a_tenant_go_on_where_they_were_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let index = create(folder.path(), Options::new(DIMENSIONS));
    for name in ["acme", "bolt"] {
        let rows = (0..30).map(|at| (at.to_string(), [at as f32, 0.0, 0.0, 0.0]));
        index.tenant(name).unwrap().write(|batch| batch.add_items_from(rows.clone())).unwrap();
    }
    let (acme, bolt) = (index.tenant("acme").unwrap(), index.tenant("bolt").unwrap());
    let mut pages = acme.search(4).pages_by_item("0").unwrap().unwrap();
    assert_eq!(pages.next().unwrap().unwrap().nns[3].0, "4");
    let mut pages = acme.search(4).pages(&[0.0; 4]).unwrap();
    pages.next().unwrap().unwrap();
    let token = pages.token().unwrap();
    let mut rest = acme.search(2).pages_after(&[0.0; 4], &token).unwrap();
    assert_eq!(rest.next().unwrap().unwrap().nns[0].0, "4");
    let refused = bolt.search(2).pages_after(&[0.0; 4], &token);
    assert!(matches!(refused, Err(Error::InvalidPageToken { .. })));
    let groups = bolt.search(2).groups(&[12.0, 0.0, 0.0, 0.0], 2, |key| key.len()).unwrap().groups;
    assert_eq!((groups[0].group, &groups[0].nns[0].0[..]), (2, "12"));
}

/// A small tenant is scanned, a large one is searched by the graph, and both have what they should.
#[test]
fn a_large_tenant_is_searched_by_the_graph_and_a_small_one_scanned() {
    let folder = tempfile::tempdir().unwrap();
    let index = create(folder.path(), Options::new(DIMENSIONS));
    let rng = &mut StdRng::seed_from_u64(3);
    let mut items = Items::new();
    for (name, count) in [("large", 12_000), ("other", 4_000), ("small", 100)] {
        for nth in 0..count {
            items.insert((name.to_owned(), nth.to_string()), (vector(rng), None));
        }
    }
    let tenants = ["large", "other", "small"].map(|name| index.tenant(name).unwrap());
    let [large, _, small] = &tenants;
    let key = |name: &str, key: &str| {
        let tenant = tenants.iter().find(|tenant| tenant.name() == name.as_bytes());
        tenant.unwrap().key(key).unwrap()
    };
    index.load(items.iter().map(|((n, k), (row, _))| (key(n, k), row)), |_| {}).unwrap();
    check(&index);
    let (mut found_of_large, queries) = (0, 50);
    for _ in 0..queries {
        let query = vector(rng);
        let found = large.search(10).ef_search(60).by_vector(&query).unwrap();
        assert_eq!(found.strategy, Strategy::Graph);
        let expected = nearest(&of_tenant(&items, "large"), &query, 10, |_| true);
        found_of_large += found.nns.iter().filter(|near| expected.contains(near)).count();
        let found = small.search(10).by_vector(&query).unwrap();
        assert!(found.certificate().is_some() && found.distances <= 110, "{found:?}");
        assert_eq!(found.nns, nearest(&of_tenant(&items, "small"), &query, 10, |_| true));
    }
    assert!(found_of_large >= 9 * queries, "{found_of_large} of {}", 10 * queries);
    // Renaming touches no node: nothing is pending, and the graph answers as before.
    let query = vector(rng);
    let before = large.search(10).by_vector(&query).unwrap().into_nns();
    assert_eq!(index.rename_tenant("large", "huge").unwrap(), 12_000);
    assert_eq!(index.pending().unwrap(), 0);
    let huge = index.tenant("huge").unwrap();
    assert_eq!(huge.search(10).by_vector(&query).unwrap().into_nns(), before);
    assert!(large.search(10).by_vector(&query).unwrap().nns.is_empty());
    assert_eq!(index.drop_tenant("huge").unwrap(), 12_000);
    assert_eq!(index.tenants().unwrap(), ["other", "small"]);
    check(&index);
}

#[test]
fn what_cannot_be_is_refused_by_name_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let index = create(folder.path(), Options::new(DIMENSIONS));
    for length in [0, MAX_KEY_BYTES - 3, 10_000] {
        let refused = index.tenant("n".repeat(length)).map(drop);
        let Err(Error::InvalidTenant { bytes, max }) = refused else { panic!("{refused:?}") };
        assert_eq!((bytes, max), (length, MAX_KEY_BYTES - 4));
    }
    assert!(index.tenant("\0".repeat(MAX_KEY_BYTES / 2)).is_err());
    let longest = index.tenant("n".repeat(MAX_KEY_BYTES - 4)).unwrap();
    longest.add("k", &[0.5; 4]).unwrap();
    let refused = longest.add("ke", &[0.5; 4]);
    assert!(matches!(refused, Err(Error::InvalidItemKey { bytes: 2, max: 1 })), "{refused:?}");
    let acme = index.tenant("acme").unwrap();
    let (room, row) = (MAX_KEY_BYTES - 7, [0.5; 4]);
    acme.add("k".repeat(room), &row).unwrap();
    for key in ["".to_owned(), "k".repeat(room + 1), "k".repeat(2000)] {
        let all = [
            acme.add(&key, &row),
            acme.vector(&key).map(drop),
            acme.delete(&key).map(drop),
            acme.set_record(&key, b"").map(drop),
            acme.key(&key).map(drop),
            acme.write(|batch| batch.add_items(&["a", key.as_str()], &[0.5; 8])),
            acme.write(|batch| batch.delete_items(["a", key.as_str()]).map(drop)),
            acme.search(1).candidates([&key]).by_vector(&row).map(drop),
            acme.search(1).exclude([&key]).by_vector(&row).map(drop),
            acme.search(1).by_item(&key).map(drop),
        ];
        for (nth, refused) in all.into_iter().enumerate() {
            let Err(Error::InvalidItemKey { bytes, max }) = refused else { panic!("{nth}") };
            // The key of a query is looked at before it is known whose it is.
            let is_known = max == room || nth == 9 && max == MAX_KEY_BYTES;
            assert!(bytes == key.len() && is_known, "{nth}: {bytes} {max}");
        }
    }
    let none = acme.search(1).prefix(&"k".repeat(2000)).by_vector(&row).unwrap();
    assert!(none.nns.is_empty());
    // A name beside which a key is too long.
    let refused = index.rename_tenant("acme", "acme & sons");
    assert!(matches!(refused, Err(Error::InvalidItemKey { .. })), "{refused:?}");
    let shown = index.write(|batch| batch.tenant("acme")?.add("doc", &[f32::NAN; 4]));
    assert!(shown.unwrap_err().to_string().contains(r#""doc" of the tenant "acme""#));
    assert_eq!(index.snapshot().unwrap().len(), 2);
    check(&index);
}

/// A batch that fails after it has changed a tenant leaves everything as it was.
#[test]
fn a_batch_that_fails_undoes_what_it_did_to_tenants() {
    let folder = tempfile::tempdir().unwrap();
    let index = create(folder.path(), Options::new(DIMENSIONS));
    for name in ["acme", "bolt"] {
        let rows = (0..300).map(|at| (at.to_string(), [at as f32; 4]));
        index.tenant(name).unwrap().write(|batch| batch.add_items_from(rows.clone())).unwrap();
    }
    let failed = index.write(|batch| {
        batch.rename_tenant("acme", "core")?;
        assert_eq!(batch.drop_tenant("bolt")?, 300);
        batch.tenant("core")?.add("300", &[0.0; 3])
    });
    assert!(matches!(failed, Err(Error::DimensionMismatch { .. })), "{failed:?}");
    assert_eq!(index.tenants().unwrap(), ["acme", "bolt"]);
    assert_eq!(index.tenant("bolt").unwrap().len().unwrap(), 300);
    check(&index);
}

#[test]
fn a_tenant_moves_to_another_folder_whose_index_differs() {
    let folder = tempfile::tempdir().unwrap();
    let here = create(folder.path(), Options::new(DIMENSIONS));
    let there: Index<Euclidean<voisin::codec::F16>, str> = Index::create(
        folder.path().join("there"),
        Options::new(DIMENSIONS).kinds([IndexKind::Flat]),
    )
    .unwrap();
    let rows = (0..500).map(|at| (at.to_string(), [at as f32; 4], at.to_string()));
    let acme = here.tenant("acme").unwrap();
    acme.write(|batch| batch.add_items_with_records(rows.clone())).unwrap();
    here.tenant("bolt").unwrap().add("0", &[0.0; 4]).unwrap();
    there.tenant("taken").unwrap().add("0", &[0.0; 4]).unwrap();
    let refused = here.move_tenant("acme", &there, "taken");
    assert!(matches!(&refused, Err(Error::TenantExists { tenant }) if tenant == "\"taken\""));
    assert_eq!((acme.len().unwrap(), there.snapshot().unwrap().len()), (500, 1));
    assert_eq!(here.move_tenant("acme", &there, "acme, Inc.").unwrap(), 500);
    assert_eq!((here.tenants().unwrap(), acme.is_empty().unwrap()), (vec!["bolt".into()], true));
    let moved = there.tenant("acme, Inc.").unwrap();
    assert_eq!((moved.len().unwrap(), moved.vector("77").unwrap()), (500, Some(vec![77.0; 4])));
    assert_eq!(moved.record("77").unwrap(), Some(b"77".to_vec()));
    check(&here);
    check(&there);
    let read_only = Texts::open_read_only(there.path(), Options::default());
    assert!(read_only.is_err(), "of another element type");
}

/// A thousand tenants, searched in turn by several threads while one writes, take no more entries
/// of the reader table than one does.
#[test]
fn tenants_take_no_readers() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(DIMENSIONS).kinds([IndexKind::Flat]).max_readers(8);
    let index = create(folder.path(), options);
    let names: Vec<String> = (0..1000).map(|nth| format!("tenant {nth:04}")).collect();
    let rows = names.iter().enumerate().flat_map(|(nth, name)| {
        let tenant = index.tenant(name).unwrap();
        (0..5)
            .map(move |at| (tenant.key(at.to_string()).unwrap(), [nth as f32, at as f32, 0.0, 0.0]))
    });
    index.load(rows, |_| {}).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (index, names) = (&index, &names);
            scope.spawn(move || {
                // Handles are held for all the time.
                let tenants: Vec<_> =
                    names.iter().map(|name| index.tenant(name).unwrap()).collect();
                for (nth, tenant) in tenants.iter().enumerate().skip(thread) {
                    let found = tenant.search(1).by_vector(&[nth as f32, 2.2, 0.0, 0.0]).unwrap();
                    assert_eq!(found.nns[0].0, "2");
                }
            });
        }
        for nth in 0..20 {
            index.tenant("another").unwrap().add(nth.to_string(), &[0.5; 4]).unwrap();
        }
    });
    assert_eq!(index.tenants().unwrap()[1..], names);
}

/// Tenants named by any bytes, beside keys that begin as theirs do and are none.
#[test]
fn names_and_keys_are_any_bytes_and_plain_keys_are_of_no_tenant() {
    let folder = tempfile::tempdir().unwrap();
    let index =
        Index::<Euclidean, [u8]>::create(folder.path().join("vectors"), Options::new(DIMENSIONS))
            .unwrap();
    let plain: [&[u8]; 6] = [b"\0", b"\0a", b"\0a\0", b"\0a\0\x01", b"\0\0\x01b", b"\xFF"];
    let names: [&[u8]; 5] = [b"\0\xFF", b"a", b"a\0\x01", b"\xF0\x9F", b"\xFF\xFF\0"];
    let mut expected = Vec::new();
    for (nth, key) in plain.iter().enumerate() {
        index.write(|batch| batch.add(key, &[nth as f32; 4])).unwrap();
        expected.push((key.to_vec(), None));
    }
    for name in names {
        for key in [&b"\0"[..], b"\xFF", b"\x01a"] {
            index.tenant(name).unwrap().add(key, &[-1.0; 4]).unwrap();
            expected.push((index.tenant(name).unwrap().key(key).unwrap(), Some(name)));
        }
    }
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    assert_eq!(index.tenants().unwrap(), sorted);
    for (key, name) in expected {
        assert_eq!(tenant_of::<[u8]>(&key).map(|(name, _)| name), name.map(<[u8]>::to_vec));
    }
    for name in names {
        assert_eq!(index.tenant(name).unwrap().len().unwrap(), 3 + u64::from(name == b"a"));
    }
    assert_eq!(index.drop_tenant(names[0]).unwrap(), 3);
    assert_eq!(index.snapshot().unwrap().len(), 18);
    check(&index);
}

/// Nothing of an erased tenant is in a copy: not even its name.
#[test]
fn an_erased_tenant_leaves_nothing_in_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let index = create(folder.path(), Options::new(DIMENSIONS));
    let rng = &mut StdRng::seed_from_u64(5);
    let names = ["a tenant that goes away", "a tenant that stays here"];
    let mut rows = Vec::new();
    for name in names {
        for nth in 0..200 {
            rows.push((name, format!("the key of an item, {nth:04}"), vector(rng)));
        }
    }
    index
        .write(|batch| {
            rows.iter().try_for_each(|(name, key, row)| batch.tenant(name)?.add(key, row))
        })
        .unwrap();
    assert_eq!(index.erase_tenant(names[0]).unwrap(), 200);
    check(&index);
    let copy = folder.path().join("copy");
    index.copy_to(&copy).unwrap();
    let file = std::fs::read(copy.join("data.mdb")).unwrap();
    let has = |bytes: &[u8]| file.windows(bytes.len()).any(|run| run == bytes);
    assert_eq!(names.map(|name| has(name.as_bytes())), [false, true]);
    for (name, _, row) in rows.iter().step_by(40) {
        let bytes: Vec<u8> = row.iter().flat_map(|component| component.to_le_bytes()).collect();
        assert_eq!(has(&bytes), *name == names[1]);
    }
}

#[test]
fn an_index_without_types_has_tenants_if_its_keys_are_strings_or_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let texts = create(folder.path(), Options::new(DIMENSIONS).name("texts"));
    let options = |name: &str| Options::new(DIMENSIONS).name(name);
    let path = texts.path();
    Index::<Euclidean, [u8]>::create(path, options("bytes")).unwrap();
    Index::<Euclidean, u64>::create(path, options("numbers")).unwrap();
    let [texts, bytes, numbers] = ["texts", "bytes", "numbers"]
        .map(|name| AnyIndex::open(path, Options::default().name(name)).unwrap());
    let row = [0.5; 4];
    for (index, key) in [(&texts, AnyKey::from("a")), (&bytes, AnyKey::from(vec![0, 1, 255]))] {
        let tenant = index.tenant(key.clone()).unwrap();
        tenant.add_with_record(key.clone(), &row, b"its record").unwrap();
        assert_eq!(tenant.search(&row, 3).unwrap().into_nns(), [(key.clone(), 0.0)]);
        assert_eq!((tenant.len().unwrap(), tenant.keys().unwrap()), (1, vec![key.clone()]));
        assert!(tenant.set_record(key.clone(), b"another").unwrap());
        assert_eq!(tenant.record(key.clone()).unwrap(), Some(b"another".to_vec()));
        assert_eq!(tenant.vector(key.clone()).unwrap(), Some(row.to_vec()));
        assert!(tenant.contains(key.clone()).unwrap() && !tenant.is_empty().unwrap());
        assert_eq!(index.tenants().unwrap(), std::slice::from_ref(&key));
        let wrong = tenant.delete(7);
        assert!(matches!(wrong, Err(Error::NamingMismatch { .. })), "{wrong:?}");
        assert!(tenant.delete(key.clone()).unwrap() && index.tenants().unwrap().is_empty());
        tenant.add(key.clone(), &row).unwrap();
        let new = match &key {
            AnyKey::Text(_) => AnyKey::from("new"),
            _ => AnyKey::from(vec![7]),
        };
        assert_eq!(index.rename_tenant(key.clone(), new.clone()).unwrap(), 1);
        assert_eq!(index.move_tenant(new.clone(), index, key.clone()).unwrap(), 1);
        assert_eq!((index.drop_tenant(new).unwrap(), index.erase_tenant(key).unwrap()), (0, 1));
    }
    let wrong = texts.move_tenant("a", &bytes, "a");
    assert!(matches!(wrong, Err(Error::NamingMismatch { .. })), "{wrong:?}");
    let all = [
        numbers.tenant(7).map(drop),
        numbers.tenants().map(drop),
        numbers.drop_tenant(7).map(drop),
        numbers.move_tenant(7, &texts, "a").map(drop),
    ];
    for refused in all {
        let Err(Error::NoTenants { index, stored }) = refused else { panic!("{refused:?}") };
        assert_eq!((&index[..], stored), ("numbers", "u64 keys"));
    }
}

/// Two indexes of a folder with tenants change in one commit, and are read at one.
#[test]
fn tenants_of_several_indexes_change_in_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let titles = create(folder.path(), Options::new(DIMENSIONS).name("titles"));
    let bodies = create(folder.path(), Options::new(DIMENSIONS).name("bodies"));
    let both = titles.folder();
    both.write(|txn| {
        txn.index(&titles, |batch| batch.tenant("acme")?.add("emma", &[0.5; 4]))?;
        txn.index(&bodies, |batch| batch.tenant("acme")?.add("emma", &[0.7; 4]))
    })
    .unwrap();
    let snapshot = both.snapshot().unwrap();
    both.write(|txn| {
        txn.index(&titles, |batch| batch.drop_tenant("acme"))?;
        txn.index(&bodies, |batch| batch.drop_tenant("acme"))
    })
    .unwrap();
    for index in [&titles, &bodies] {
        assert!(index.tenants().unwrap().is_empty());
        let then = snapshot.index(index).unwrap();
        let found = then.tenant("acme").unwrap().search(1).by_vector(&[0.6; 4]).unwrap();
        assert_eq!(found.nns[0].0, "emma");
    }
}
