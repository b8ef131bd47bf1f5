//! Questions beyond the k nearest: within a radius, counts, pages, several vectors, groups,
//! diversity, deadlines. Each against an oracle that computes every distance, on indexes with
//! pending and removed items, copies, codes, ids and keys.

mod deadlines;
mod pages;
mod recall;
mod restrictions;
mod several;
mod unless;
mod within;

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use voisin::distances::{Distance, distance};
use voisin::roaring::RoaringBitmap;
use voisin::{Codes, Error, Index, IndexKind, ItemId, Options, Query};

const DIMENSIONS: usize = 6;

/// Items by their distances.
type Nearest = Vec<(ItemId, f32)>;

/// An index, and what must be in it.
struct World<D> {
    _folder: TempDir,
    index: Index<D>,
    items: BTreeMap<ItemId, Vec<f32>>,
}

/// A vector near one of a few centers.
fn random_vector(rng: &mut StdRng) -> Vec<f32> {
    let center = rng.random_range(0..5u32);
    (0..DIMENSIONS as u32)
        .map(|i| ((center * 7 + i * 3) % 5) as f32 + rng.random_range(-1.0f32..1.0))
        .collect()
}

impl<D: Distance> World<D> {
    /// `count` items: most linked, some of those replaced, removed or copies of one, and some added
    /// since and pending.
    fn new(seed: u64, count: u32, codes: Option<Codes>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options::new(DIMENSIONS).m(8).m0(16);
        if let Some(codes) = codes {
            options = options.codes(codes).codes_from(1);
        }
        let path = folder.path().join("vectors");
        let both = options.clone().kinds([IndexKind::Hnsw, IndexKind::Ivf]);
        let index = match Index::<D>::create(&path, both) {
            // Not for every metric.
            Err(Error::KindUnsupported { .. }) => Index::<D>::create(&path, options).unwrap(),
            index => index.unwrap(),
        };
        let mut rng = StdRng::seed_from_u64(seed);
        let mut items = BTreeMap::new();
        let copied = random_vector(&mut rng);
        let mut next = |item: ItemId| {
            if item.is_multiple_of(17) { copied.clone() } else { random_vector(&mut rng) }
        };
        let linked = count - count / 10;
        items.extend((0..linked).map(|item| (item * 3, next(item))));
        index.load(items.iter().map(|(item, vector)| (*item, vector)), |_| {}).unwrap();
        // Left to a later build: removed, replaced and added items.
        index
            .write(|batch| {
                batch.link_later();
                for item in (0..linked).filter(|item| item % 11 == 3) {
                    batch.delete(item * 3)?;
                    items.remove(&(item * 3));
                }
                for item in (0..linked).filter(|item| item % 13 == 5 && item % 11 != 3) {
                    items.insert(item * 3, next(item));
                    batch.add(item * 3, &items[&(item * 3)])?;
                }
                for item in linked..count {
                    items.insert(item * 3, next(item));
                    batch.add(item * 3, &items[&(item * 3)])?;
                }
                Ok(())
            })
            .unwrap();
        let stats = index.stats().unwrap();
        assert!(stats.items == items.len() as u64 && stats.pending > u64::from(count / 10));
        assert_eq!(stats.codes.is_some(), codes.is_some());
        Self { _folder: folder, index, items }
    }

    /// A query and some candidates, not all of which exist; and all items by their distances, and
    /// those that are candidates.
    fn case(&self, seed: u64) -> (Vec<f32>, RoaringBitmap, [Nearest; 2]) {
        let query = random_vector(&mut StdRng::seed_from_u64(seed));
        let candidates: RoaringBitmap =
            self.items.keys().copied().filter(|item| item % 4 != 1).chain([1, 2]).collect();
        let all = self.all(&query);
        let among = all.iter().copied().filter(|(item, _)| candidates.contains(*item)).collect();
        (query, candidates, [all, among])
    }

    /// All items by their distances, ties by id.
    fn all(&self, query: &[f32]) -> Nearest {
        let mut all: Vec<_> = self
            .items
            .iter()
            .map(|(item, vector)| (*item, distance::<D>(query, vector).unwrap()))
            .collect();
        all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        all
    }
}

/// Has a search answered by inverted lists, by enough of them that few neighbors are missed in a
/// small index.
fn by_lists<'q, 'a, S>(search: &'q mut Query<'a, S>) -> &'q mut Query<'a, S> {
    search.kind(IndexKind::Ivf).nprobe(12)
}

/// Has a search answered exactly, or by a walk.
fn force<S>(search: &mut Query<'_, S>, exact: bool) {
    if exact {
        search.exact();
    } else {
        search.walk_graph();
    }
}

/// Whether two lists are of the same items at about the same distances.
#[track_caller]
fn assert_same(found: &[(ItemId, f32)], expected: &[(ItemId, f32)]) {
    let items = |list: &[(ItemId, f32)]| -> Vec<ItemId> {
        let mut items: Vec<_> = list.iter().map(|(item, _)| *item).collect();
        items.sort_unstable();
        items
    };
    assert_eq!(items(found), items(expected));
    for (found, expected) in found.iter().zip(expected) {
        let error = 1e-5 * expected.1.abs().max(1.0);
        assert!((found.1 - expected.1).abs() <= error, "{found:?} {expected:?}");
    }
}
