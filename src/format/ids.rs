//! SLOT_IDS and ID_SLOTS: the two maps between item ids and slots.
//!
//! SLOT_IDS groups are plain arrays, [`SLOT_GROUP`] entries to a full page. ID_SLOTS groups cover
//! [`ID_GROUP`] ids and are sparse (6 bytes per item) or dense (4 bytes per id), whichever is
//! smaller, so that ids may be any `u32`.

use super::{Damage, take_u16, take_u32};
use crate::types::{ItemId, Slot};

/// Number of slots in a SLOT_IDS group.
pub(crate) const SLOT_GROUP: u32 = 1019;
/// Number of ids in an ID_SLOTS group.
pub(crate) const ID_GROUP: u32 = 1000;

const HEADER_BYTES: usize = 4;
const SPARSE: u8 = 0;
const DENSE: u8 = 1;
/// The number of items from which the dense form is smaller.
const DENSE_FROM: usize = 667;
const NONE: u32 = u32::MAX;
/// A binary search of a group takes as long as passing about this many of its items.
const SEARCHED_PER_MERGED: usize = 8;

/// Length in bytes of a SLOT_IDS value for this many slots.
pub(crate) fn group_bytes(slots: u32) -> usize {
    size_of::<ItemId>() * slots as usize + super::checksum::BYTES
}

/// The group of a slot and its place in it.
#[inline]
pub(crate) fn slot_place(slot: Slot) -> (u32, usize) {
    (slot.0 / SLOT_GROUP, (slot.0 % SLOT_GROUP) as usize)
}

/// The item id at a place of a SLOT_IDS value.
#[inline]
pub(crate) fn item_at(value: &[u8], place: usize) -> Option<ItemId> {
    take_u32(value, size_of::<ItemId>() * place)
}

/// The body of a SLOT_IDS value.
pub(crate) fn encode_slots(items: &[ItemId]) -> Vec<u8> {
    items.iter().flat_map(|item| item.to_le_bytes()).collect()
}

/// The item ids of a SLOT_IDS body. `None` if there are more than a group can have.
pub(crate) fn decode_slots(body: &[u8]) -> Option<Vec<ItemId>> {
    let (words, rest) = body.as_chunks();
    (words.len() <= SLOT_GROUP as usize && rest.is_empty())
        .then(|| words.iter().map(|word| ItemId::from_le_bytes(*word)).collect())
}

/// The group of an item id and its place in it.
pub(crate) fn id_place(id: ItemId) -> (u32, u16) {
    (id / ID_GROUP, (id % ID_GROUP) as u16)
}

/// One ID_SLOTS group: the slots of its live items, by their place in the group, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IdGroup {
    entries: Vec<(u16, Slot)>,
}

impl IdGroup {
    pub(crate) fn entries(&self) -> &[(u16, Slot)] {
        &self.entries
    }

    /// The slot at a place.
    pub(crate) fn find(&self, low: u16) -> Option<Slot> {
        let at = self.entries.binary_search_by_key(&low, |entry| entry.0).ok()?;
        Some(self.entries[at].1)
    }

    /// Sets the slot at a place; `None` removes the item.
    pub(crate) fn set(&mut self, low: u16, slot: Option<Slot>) {
        match (self.entries.binary_search_by_key(&low, |entry| entry.0), slot) {
            (Ok(at), Some(slot)) => self.entries[at].1 = slot,
            (Ok(at), None) => drop(self.entries.remove(at)),
            (Err(at), Some(slot)) => self.entries.insert(at, (low, slot)),
            (Err(_), None) => {}
        }
    }

    /// The body of the value. A group without entries must not be stored.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let count = self.entries.len();
        let dense = count >= DENSE_FROM;
        let mut out = vec![if dense { DENSE } else { SPARSE }, 0];
        out.extend((count as u16).to_le_bytes());
        if dense {
            let mut slots = vec![NONE; ID_GROUP as usize];
            for (low, slot) in &self.entries {
                slots[usize::from(*low)] = slot.0;
            }
            out.extend(slots.iter().flat_map(|slot| slot.to_le_bytes()));
        } else {
            out.extend(self.entries.iter().flat_map(|(low, _)| low.to_le_bytes()));
            out.extend(self.entries.iter().flat_map(|(_, slot)| slot.0.to_le_bytes()));
        }
        out
    }

    /// Decodes a body strictly: it must be byte for byte what [`encode`](Self::encode) writes.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Damage> {
        let header = header(body)?;
        let entries: Vec<(u16, Slot)> = match header.form {
            DENSE => (0..ID_GROUP as u16)
                .filter_map(|low| Some((low, header.dense(body, low)?)))
                .collect(),
            _ => (0..header.count).filter_map(|i| header.sparse(body, i)).collect(),
        };
        let group = Self { entries };
        let ascending = group.entries.is_sorted_by(|a, b| a.0 < b.0)
            && group.entries.last().is_none_or(|last| u32::from(last.0) < ID_GROUP);
        if !ascending || group.encode() != body {
            return Err("an id group does not have its canonical form");
        }
        Ok(group)
    }
}

struct Header {
    form: u8,
    count: usize,
}

impl Header {
    fn dense(&self, body: &[u8], low: u16) -> Option<Slot> {
        take_u32(body, HEADER_BYTES + 4 * usize::from(low)).filter(|slot| *slot != NONE).map(Slot)
    }

    fn low(&self, body: &[u8], i: usize) -> Option<u16> {
        take_u16(body, HEADER_BYTES + 2 * i)
    }

    fn sparse(&self, body: &[u8], i: usize) -> Option<(u16, Slot)> {
        Some((self.low(body, i)?, Slot(take_u32(body, HEADER_BYTES + 2 * self.count + 4 * i)?)))
    }
}

fn header(body: &[u8]) -> Result<Header, Damage> {
    let (Some(&form), Some(count)) = (body.first(), take_u16(body, 2)) else {
        return Err("an id group has no header");
    };
    let count = usize::from(count);
    let expected = match form {
        SPARSE => 6 * count,
        DENSE => 4 * ID_GROUP as usize,
        _ => return Err("an id group has an unknown form"),
    };
    if count == 0 || count > ID_GROUP as usize || body.len() != HEADER_BYTES + expected {
        return Err("an id group does not have the length of its form");
    }
    Ok(Header { form, count })
}

/// The slot at a place of an encoded group, without decoding the rest.
pub(crate) fn find(body: &[u8], low: u16) -> Result<Option<Slot>, Damage> {
    let header = header(body)?;
    if header.form == DENSE {
        return Ok(header.dense(body, low));
    }
    let (mut from, mut to) = (0, header.count);
    while from < to {
        let middle = usize::midpoint(from, to);
        match header.low(body, middle) {
            Some(found) if found < low => from = middle + 1,
            _ => to = middle,
        }
    }
    Ok(header
        .sparse(body, from)
        .filter(|(found, _)| from < header.count && *found == low)
        .map(|(_, slot)| slot))
}

/// Passes the slots of the items among `ids`, ascending, that an encoded group has to `found`. All
/// are of this group, whose first id is `base`.
pub(crate) fn find_all(
    body: &[u8],
    base: ItemId,
    ids: &[ItemId],
    mut found: impl FnMut(Slot),
) -> Result<(), Damage> {
    let header = header(body)?;
    if header.form == DENSE {
        let (slots, _) = body[HEADER_BYTES..].as_chunks::<4>();
        let slots = ids.iter().filter_map(|id| slots.get((id - base) as usize));
        slots.map(|slot| u32::from_le_bytes(*slot)).filter(|slot| *slot != NONE).for_each(|slot| {
            found(Slot(slot));
        });
        return Ok(());
    }
    if ids.len() * SEARCHED_PER_MERGED < header.count {
        for id in ids {
            find(body, (id - base) as u16)?.into_iter().for_each(&mut found);
        }
        return Ok(());
    }
    let mut ids = ids.iter().map(|id| (id - base) as u16).peekable();
    for entry in (0..header.count).filter_map(|i| header.sparse(body, i)) {
        while ids.next_if(|low| *low < entry.0).is_some() {}
        if ids.next_if_eq(&entry.0).is_some() {
            found(entry.1);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_group_of_any_density_comes_back_and_finds_what_it_holds(
            lows in prop::collection::btree_set(0..ID_GROUP as u16, 1..1000),
        ) {
            let mut group = IdGroup::default();
            for &low in lows.iter().rev() {
                group.set(low, Some(Slot(u32::from(low) * 7)));
            }
            let body = group.encode();
            prop_assert_eq!(IdGroup::decode(&body), Ok(group));
            for low in 0..ID_GROUP as u16 {
                prop_assert_eq!(
                    find(&body, low),
                    Ok(lows.contains(&low).then_some(Slot(u32::from(low) * 7))),
                );
            }
        }

        #[test]
        fn looking_up_many_ids_finds_what_looking_up_each_does(
            lows in prop::collection::btree_set(0..ID_GROUP as u16, 1..1000),
            asked in prop::collection::btree_set(0..ID_GROUP, 0..1000),
        ) {
            let mut group = IdGroup::default();
            lows.iter().for_each(|low| group.set(*low, Some(Slot(u32::from(*low) * 7))));
            let (body, base) = (group.encode(), 5 * ID_GROUP);
            let ids: Vec<ItemId> = asked.iter().map(|low| base + low).collect();
            let mut found = Vec::new();
            find_all(&body, base, &ids, |slot| found.push(slot)).unwrap();
            let each = asked.iter().filter_map(|low| find(&body, *low as u16).unwrap());
            prop_assert_eq!(found, each.collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_give_a_group_or_an_error(
            body in prop::collection::vec(any::<u8>(), 0..64),
            low in 0..1000u16,
        ) {
            let _ = IdGroup::decode(&body);
            let _ = find(&body, low);
            let ids: Vec<ItemId> = (0..ID_GROUP).step_by(1 + usize::from(low)).collect();
            let _ = find_all(&body, 0, &ids, |_| {});
        }
    }

    #[test]
    fn taking_the_last_item_out_leaves_an_empty_group() {
        let mut group = IdGroup::default();
        group.set(3, Some(Slot(1)));
        group.set(3, Some(Slot(2)));
        assert_eq!(group.entries(), [(3, Slot(2))]);
        group.set(3, None);
        group.set(4, None);
        assert!(group.entries().is_empty());
    }
}
