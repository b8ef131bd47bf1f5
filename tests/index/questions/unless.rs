//! Changes that depend on what is near, inside a write transaction.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::rngs::StdRng;
use voisin::distances::{Cosine, Distance, Euclidean, distance};
use voisin::{Error, Index, ItemId, Options, VectorDefect};

use super::{DIMENSIONS, World, random_vector};
use crate::child::{Running, tell, told};

/// The nearest of a model within a radius.
fn nearest<D: Distance>(
    model: &BTreeMap<ItemId, Vec<f32>>,
    vector: &[f32],
    radius: f32,
) -> Option<ItemId> {
    model
        .iter()
        .map(|(item, of)| (distance::<D>(vector, of).unwrap(), *item))
        .filter(|(distance, _)| *distance <= radius)
        .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))
        .map(|(_, item)| item)
}

fn compare<D: Distance>(radius: f32) {
    let world = World::<D>::new(17, 300, None);
    let mut model = world.items.clone();
    let mut rng = StdRng::seed_from_u64(2);
    let (mut added, mut refused) = (0, 0);
    for _ in 0..4 {
        let steps: Vec<_> = (0..25).map(|_| random_vector(&mut rng)).collect();
        world
            .index
            .write(|batch| {
                let before = model.clone();
                for (nth, vector) in steps.iter().enumerate() {
                    let item = 5000 + batch.len()? as u32 * 40 + nth as u32;
                    let near = nearest::<D>(&model, vector, radius);
                    if nth % 5 == 4 {
                        if let Some(near) = near {
                            batch.delete(near)?;
                            model.remove(&near);
                        }
                        continue;
                    }
                    let mut unless = batch.unless_within(radius);
                    let found = if nth % 3 == 0 {
                        let found = unless.add_or_replace(item, vector)?;
                        model.insert(near.unwrap_or(item), vector.clone());
                        found
                    } else {
                        let found = unless.add(item, vector)?;
                        if near.is_none() {
                            model.insert(item, vector.clone());
                        }
                        found
                    };
                    assert_eq!(found.map(|(item, _)| item), near);
                    if near.is_some() { refused += 1 } else { added += 1 }
                }
                // The map may be full: then this is done again.
                let done = model.len() as u64 == batch.len()?;
                if !done {
                    model = before;
                }
                Ok(())
            })
            .unwrap();
        let stored: BTreeMap<_, _> =
            world.index.snapshot().unwrap().iter().unwrap().map(|e| e.unwrap()).collect();
        assert_eq!(stored, model);
    }
    assert!(added > 5 && refused > 5, "{added} {refused}");
    assert!(world.index.check().unwrap().is_empty());
}

/// Against a model, with pending and removed items, and with what the batch itself has added,
/// replaced and deleted.
#[test]
fn an_item_is_added_unless_there_is_one_within_the_radius() {
    compare::<Euclidean>(0.9);
    compare::<Cosine>(0.004);
}

/// By keys, by the graph, and with what cannot be.
#[test]
fn near_duplicates_are_refused_by_key_and_by_the_graph() {
    let world = World::<Euclidean>::new(8, 300, None);
    let path = world.index.path();
    let keyed =
        Index::<Euclidean, str>::create(path, Options::new(DIMENSIONS).name("keyed")).unwrap();
    keyed
        .write(|batch| {
            let mut unless = batch.unless_within(0.5);
            assert_eq!(unless.add("a", &[0.0; DIMENSIONS])?, None);
            assert_eq!(unless.add("b", &[0.1; DIMENSIONS])?.unwrap().0, "a");
            assert_eq!(unless.add("c", &[1.0; DIMENSIONS])?, None);
            assert_eq!(unless.add_or_replace("d", &[0.9; DIMENSIONS])?.unwrap().0, "c");
            assert_eq!(unless.add_or_replace("e", &[5.0; DIMENSIONS])?, None);
            let zero = unless.add("f", &[f32::NAN; DIMENSIONS]);
            assert!(matches!(zero, Err(Error::InvalidKeyedItem { .. })), "{zero:?}");
            assert!(matches!(
                unless.add("", &[0.0; DIMENSIONS]),
                Err(Error::InvalidItemKey { .. })
            ));
            Ok(())
        })
        .unwrap();
    let keys: Vec<String> = keyed.snapshot().unwrap().keys().unwrap().map(|k| k.unwrap()).collect();
    assert_eq!(keys, ["a", "c", "e"]);
    assert_eq!(keyed.snapshot().unwrap().vector("c").unwrap().unwrap(), [0.9; DIMENSIONS]);

    let before = world.index.snapshot().unwrap().len();
    world
        .index
        .write(|batch| {
            let mut unless = batch.unless_within(0.0).approximate();
            let found = world
                .items
                .values()
                .filter(|vector| unless.add(99_999, vector).unwrap().is_some())
                .count();
            assert_eq!(found, world.items.len());
            let invalid = batch.unless_within(-1.0).add(1, &[0.0; DIMENSIONS]);
            assert!(matches!(invalid, Err(Error::InvalidParameter { name: "radius", .. })));
            let invalid = batch.unless_within(1.0).add(1, &[f32::NAN; DIMENSIONS]);
            let Err(Error::InvalidItem { item: 1, defect }) = invalid else {
                panic!("{invalid:?}")
            };
            assert!(matches!(defect, VectorDefect::NotFinite { position: 0, .. }));
            Ok(())
        })
        .unwrap();
    assert_eq!(world.index.snapshot().unwrap().len(), before);
}

/// Two processes add the same near-duplicates at the same time: of each only one is added.
#[test]
fn near_duplicates_of_two_processes_are_added_once() {
    const GROUPS: u32 = 25;
    if let Some(told) = told() {
        let index = Index::<Euclidean>::open(&told[0], Options::new(1)).unwrap();
        let first: u32 = told[1].parse().unwrap();
        tell("ready");
        let mut added = 0;
        for group in 0..GROUPS {
            let at = [group as f32 * 10.0 + first as f32];
            let add = |batch: &mut voisin::Batch<'_, Euclidean>| {
                batch.unless_within(4.0).add(first * 1000 + group, &at)
            };
            added += usize::from(index.write(add).unwrap().is_none());
        }
        tell(&added.to_string());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    let index = Index::<Euclidean>::create(&path, Options::new(1)).unwrap();
    let test = "questions::unless::near_duplicates_of_two_processes_are_added_once";
    let mut children: Vec<_> = ["0", "1"]
        .map(|first| Running::start(test, &[path.to_str().unwrap(), first]))
        .into_iter()
        .collect();
    children.iter_mut().for_each(|child| child.expect("ready"));
    let added: u64 = children.iter_mut().map(|c| c.hear().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!((added, index.snapshot().unwrap().len()), (GROUPS.into(), GROUPS.into()));
    assert!(index.check().unwrap().is_empty());
}
