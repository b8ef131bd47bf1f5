//! Looks up the slots of a set of items, in the order of their ids.
//!
//! A leapfrog join of the set with the stored groups: each skips to where the other goes on, so
//! that neither ids that the index does not have nor items that are not asked for are visited one
//! by one. O(groups that both have + ids in them).

use roaring::RoaringBitmap;
use roaring::bitmap::Iter;

use crate::error::{Error, Result};
use crate::format::checksum::unverified;
use crate::format::ids::{self, ID_GROUP};
use crate::format::{Key, Kind};
use crate::store::meter;
use crate::store::source::Source;
use crate::store::view::View;
use crate::types::{ItemId, Slot};

/// The number of ids taken from the set at a time.
const IDS_AT_ONCE: usize = 256;
/// The maximum number of groups looked up at a time.
const MAX_GROUPS_AT_ONCE: usize = 64;

/// The ids of a set, a buffer at a time.
struct Ids<'a> {
    left: Iter<'a>,
    buffer: [ItemId; IDS_AT_ONCE],
    at: usize,
    end: usize,
}

impl<'a> Ids<'a> {
    fn new(set: &'a RoaringBitmap) -> Self {
        Self { left: set.iter(), buffer: [0; IDS_AT_ONCE], at: 0, end: 0 }
    }

    /// The next ids, some at least, unless there are none left.
    fn ahead(&mut self) -> &[ItemId] {
        if self.at == self.end {
            (self.at, self.end) = (0, 0);
            // `next_many` of roaring 0.12.0 overflows in a container that has all its values.
            for (place, id) in self.buffer.iter_mut().zip(self.left.by_ref()) {
                *place = id;
                self.end += 1;
            }
        }
        &self.buffer[self.at..self.end]
    }

    /// Skips the ids below `id`.
    fn skip_to(&mut self, id: ItemId) {
        self.at += self.buffer[self.at..self.end].partition_point(|ahead| *ahead < id);
        if self.at == self.end {
            self.left.advance_to(id);
        }
    }

    /// Takes the next ids up to `last`, as far as they are in the buffer.
    fn take_to(&mut self, last: ItemId) -> &[ItemId] {
        let count = self.ahead().partition_point(|id| *id <= last);
        let from = self.at;
        self.at += count;
        &self.buffer[from..self.at]
    }
}

/// The stored groups, some at a time.
struct Groups<'t> {
    read: std::vec::IntoIter<(Key, &'t [u8])>,
    /// The number of groups to look up next, and the group after the last one.
    width: usize,
    end: u32,
}

impl<'t> Groups<'t> {
    /// The first stored group from `number` on. Numbers ascend.
    fn from<S: Source<'t>>(
        &mut self,
        view: &View<'_, 't, S>,
        number: u32,
    ) -> Result<Option<(Key, &'t [u8])>> {
        if let Some(group) = self.read.find(|(key, _)| key.n >= number) {
            return Ok(Some(group));
        }
        // More at a time where one follows the other.
        let is_next = self.end == number;
        self.width = if is_next { (2 * self.width).min(MAX_GROUPS_AT_ONCE) } else { 1 };
        let key = |n| view.key(Kind::ID_SLOTS, 0, n);
        meter::read();
        let groups = view.source.values(key(number), key(u32::MAX), self.width)?;
        self.end = groups.last().map_or(number, |(key, _)| key.n.saturating_add(1));
        self.read = groups.into_iter();
        Ok(self.read.next())
    }
}

impl<'t, S: Source<'t>> View<'_, 't, S> {
    /// Passes the slots of the live items of a set to `found`, by increasing id. Before each group
    /// of up to a thousand ids, asks whether to end there.
    pub(crate) fn each_slot(
        &self,
        items: &RoaringBitmap,
        is_over: impl Fn() -> bool,
        mut found: impl FnMut(Slot),
    ) -> Result<()> {
        let (mut ids, slots) = (Ids::new(items), self.snapshot.meta.slots);
        let mut groups = Groups { read: Vec::new().into_iter(), width: 1, end: 0 };
        let mut beyond = false;
        while let Some(first) = ids.ahead().first() {
            if is_over() {
                break;
            }
            let (number, _) = ids::id_place(*first);
            let Some((key, value)) = groups.from(self, number)? else { break };
            // A group beyond the last id is damage that `check` finds.
            let Some(base) = key.n.checked_mul(ID_GROUP) else { break };
            let last = base.saturating_add(ID_GROUP - 1);
            ids.skip_to(base);
            while ids.ahead().first().is_some_and(|id| *id <= last) {
                let slots_found = |slot: Slot| {
                    beyond |= slot.0 >= slots;
                    found(slot);
                };
                ids::find_all(unverified(value), base, ids.take_to(last), slots_found)
                    .map_err(|what| Error::corrupt(key, what))?;
            }
            if beyond {
                return Err(Error::corrupt(key, "it names a slot beyond all"));
            }
        }
        Ok(())
    }
}
