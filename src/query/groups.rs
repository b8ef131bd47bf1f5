//! Results by groups.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use super::pinned::{Name, Names, named};
use super::{Query, Searchable};
use crate::codec::{Component, Components};
use crate::error::Result;
use crate::field::{FieldType, FieldValue, Schema};
use crate::search::pages::{Near, Stream};
use crate::search::{AnyView, Beside, Request, Searched, Strategy};
use crate::types::ItemId;

/// The minimum and the maximum number of items that are looked at together.
const ITEMS_TOGETHER: [usize; 2] = [32, 1024];

/// The nearest groups of items: see [`Query::groups`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Groups<G, I> {
    /// The groups, the nearest first: by their nearest items.
    pub groups: Vec<Group<G, I>>,
    /// Whether the search was cancelled, or ended by its deadline: groups may be missing, or lack
    /// items.
    pub did_cancel: bool,
    /// Whether the [deadline](Query::deadline) has ended the search.
    pub timed_out: bool,
    /// The access path that answered the query.
    pub strategy: Strategy,
    /// The number of distances computed, not counting those computed again in `f64`.
    pub distances: u64,
    /// The number of distances estimated from codes.
    pub estimates: u64,
}

/// A group of items.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Group<G, I> {
    /// What the items have in common.
    pub group: G,
    /// The items and their distances, the nearest first.
    pub nns: Vec<(I, f32)>,
}

impl<S: Searchable> Query<'_, S> {
    /// Returns the `k` groups whose nearest items are the nearest to `vector`, with at most
    /// `per_group` items each, the nearest of the group. `group` tells the group of an item; it is
    /// called once for each item in the order of distances, as [`pages`](Self::pages) have it,
    /// until `k` groups are full or there are no more items. A group that has fewer items than
    /// `per_group` is full only when all items were looked at: where that is likely, set a
    /// [`deadline`](Self::deadline), [`within`](Self::within) a radius, or ask for fewer items.
    ///
    /// ```
    /// use voisin::{Index, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// index.write(|batch| batch.add_items_from((0..3000).map(|item| (item, [item as f32]))))?;
    /// // Items are parts of documents, 100 each.
    /// let found = index.search(2).groups(&[198.0], 2, |item| item / 100)?.groups;
    /// assert_eq!((found[0].group, &found[0].nns[..]), (1, &[(198, 0.0), (197, 1.0)][..]));
    /// assert_eq!((found[1].group, &found[1].nns[..]), (2, &[(200, 4.0), (201, 9.0)][..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector).
    pub fn groups<G: Eq + Hash + Clone>(
        &self,
        vector: &[impl Component],
        per_group: usize,
        mut group: impl FnMut(&Name<S>) -> G,
    ) -> Result<Groups<G, Name<S>>> {
        let vector = Components::of(vector);
        self.ask(|view, request, names| {
            gather::<S, _>(view, request, names, vector, per_group, |_, item| Ok(vec![group(item)]))
        })
    }

    /// As [`groups`](Self::groups), by a field of the records: a group is the items that have one
    /// value. An item with several values is in the group of each, one without a value in none.
    /// The record of each item that is looked at is read, in the order of distances.
    ///
    /// ```
    /// use voisin::{Field, Index, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// index.write(|batch| {
    ///     batch.add_field(Field::keyword("author"))?;
    ///     batch.add_with_record(1, &[1.0], br#"{"author": "Ada"}"#)?;
    ///     batch.add_with_record(2, &[2.0], br#"{"author": "Ada"}"#)?;
    ///     batch.add_with_record(3, &[3.0], br#"{"author": ["Bo", "Ada"]}"#)?;
    ///     batch.add(4, &[4.0])
    /// })?;
    /// let found = index.search(2).groups_by_field(&[0.0], 2, "author")?.groups;
    /// assert_eq!(found[0].group, "Ada".into());
    /// assert_eq!(found[0].nns, [(1, 1.0), (2, 4.0)]);
    /// assert_eq!((&found[1].group, &found[1].nns[..]), (&"Bo".into(), &[(3, 9.0)][..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector); [`UnknownField`](crate::Error::UnknownField).
    pub fn groups_by_field(
        &self,
        vector: &[impl Component],
        per_group: usize,
        field: &str,
    ) -> Result<Groups<FieldValue, Name<S>>> {
        let vector = Components::of(vector);
        let mut shown = FieldType::Keyword;
        let found = self.ask(|view, request, names| {
            let field = view.fields()?.field(field)?.clone();
            shown = field.field.field_type();
            let only = Schema(vec![field]);
            let groups_of = |id, _: &Name<S>| view.values_of(&only, id);
            gather::<S, _>(view, request, names, vector, per_group, groups_of)
        })?;
        let Groups { groups, did_cancel, timed_out, strategy, distances, estimates } = found;
        let groups = groups
            .into_iter()
            .filter_map(|Group { group, nns }| Some(Group { group: shown.value(&group)?, nns }));
        let groups = groups.collect();
        Ok(Groups { groups, did_cancel, timed_out, strategy, distances, estimates })
    }
}

/// Gathers groups: `groups_of` tells those of an item.
fn gather<S: Searchable, G: Eq + Hash + Clone>(
    view: AnyView<'_, '_, '_>,
    request: Request<'_>,
    names: &dyn Names,
    vector: Components<'_>,
    per_group: usize,
    mut groups_of: impl FnMut(ItemId, &Name<S>) -> Result<Vec<G>>,
) -> Result<Groups<G, Name<S>>> {
    let mut stream = Stream::new(Near::vector(vector));
    let mut gathered = Gathered::new(request.k, per_group);
    let mut together = ITEMS_TOGETHER[0].max(request.k.saturating_mul(per_group));
    let mut cost = Searched::<()>::empty();
    // What cannot be compared is an error even if nothing is asked for.
    view.query(vector)?;
    while !gathered.is_full() && !stream.is_at_end() && !cost.did_cancel {
        together = together.min(ITEMS_TOGETHER[1]);
        let page =
            stream.take(view, Request { k: together, beside: Beside::NOTHING, ..request })?;
        cost.strategy = page.strategy;
        cost.distances += page.distances;
        cost.estimates += page.estimates;
        cost.did_cancel = page.did_cancel;
        cost.timed_out = page.timed_out;
        if page.nns.is_empty() {
            break;
        }
        let ids: Vec<ItemId> = page.nns.iter().map(|(id, _)| *id).collect();
        let page = named::<S::Key>(view.snapshot.index, names, page)?;
        for (id, (item, distance)) in ids.into_iter().zip(page.nns) {
            // The closure of a caller may take long.
            cost.timed_out |= request.due().is_over();
            cost.did_cancel |= cost.timed_out || (request.cancel)();
            if gathered.is_full() || cost.did_cancel {
                break;
            }
            for group in groups_of(id, &item)? {
                gathered.add(group, item.clone(), distance);
            }
        }
        together *= 2;
    }
    let Searched { did_cancel, timed_out, strategy, distances, estimates, .. } = cost;
    let groups = gathered.into_groups();
    Ok(Groups { groups, did_cancel, timed_out, strategy, distances, estimates })
}

/// The groups so far.
struct Gathered<G, I> {
    most: usize,
    per_group: usize,
    /// The number of groups that lack items.
    open: usize,
    places: HashMap<G, usize>,
    groups: Vec<Group<G, I>>,
}

impl<G: Eq + Hash + Clone, I: Ord> Gathered<G, I> {
    fn new(most: usize, per_group: usize) -> Self {
        Self { most, per_group, open: 0, places: HashMap::new(), groups: Vec::new() }
    }

    fn is_full(&self) -> bool {
        self.per_group == 0 || self.groups.len() >= self.most && self.open == 0
    }

    fn add(&mut self, group: G, item: I, distance: f32) {
        let next = self.groups.len();
        let place = match self.places.entry(group.clone()) {
            Entry::Occupied(place) => *place.get(),
            Entry::Vacant(_) if next >= self.most => return,
            Entry::Vacant(place) => {
                place.insert(next);
                self.groups.push(Group { group, nns: Vec::new() });
                self.open += 1;
                next
            }
        };
        let nns = &mut self.groups[place].nns;
        if nns.len() < self.per_group {
            nns.push((item, distance));
            self.open -= usize::from(nns.len() == self.per_group);
        }
    }

    /// The groups, sorted: what came late may be nearer than what came before.
    fn into_groups(mut self) -> Vec<Group<G, I>> {
        for group in &mut self.groups {
            group.nns.sort_by(|a, b| a.1.total_cmp(&b.1));
        }
        let nearest = |group: &Group<G, I>| group.nns.first().map_or(f32::INFINITY, |n| n.1);
        self.groups.sort_by(|a, b| nearest(a).total_cmp(&nearest(b)));
        self.groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first groups are kept, each with as many items as it may have; later groups are not.
    #[test]
    fn groups_are_the_first_and_have_their_first_items() {
        let mut gathered = Gathered::new(2, 2);
        for (nth, group) in "aababcb".chars().enumerate() {
            assert_eq!(gathered.is_full(), nth >= 5, "{nth}");
            gathered.add(group, nth as u32, nth as f32);
        }
        let groups = gathered.into_groups();
        assert_eq!(groups.len(), 2);
        assert_eq!((groups[0].group, &groups[0].nns[..]), ('a', &[(0, 0.0), (1, 1.0)][..]));
        assert_eq!((groups[1].group, &groups[1].nns[..]), ('b', &[(2, 2.0), (4, 4.0)][..]));
        assert!(
            Gathered::<u8, u32>::new(0, 2).is_full() && Gathered::<u8, u32>::new(2, 0).is_full()
        );
    }
}
