//! The invariants of the lists: every slot that is not free is in exactly one, whose entry and size
//! are those stored; if lists have codes, each has those of its slots; and the layout of each
//! value.

use super::codes::stride;
use crate::error::Result;
use crate::format::checksum::unverified;
use crate::format::set::SetKind;
use crate::format::{Damage, Key, Kind};
use crate::kinds::ivf::format::list_codes::{Block, block_entries, blocks};
use crate::kinds::ivf::format::{
    CENTERS, CODES, GROUP, LISTS, MAX_LISTS, NONE, Part, SIZES, SLOTS, center_blocks,
    check_centers, decode_group, decode_piece, encode_list, geometry, list_n, of_list_n,
};
use crate::store::checker::{Checker, Invariant};
use crate::types::Slot;

impl Checker<'_, '_, '_> {
    fn lists_part(&mut self) -> Option<Part> {
        match Part::decode(self.view.snapshot.meta.part(Kind::IVF)?) {
            Ok(part) => Some(part),
            Err(what) => {
                self.findings.add(Invariant::Meta, what.to_owned());
                None
            }
        }
    }

    /// Checks the layout of a value. `false` if no such key may exist.
    pub(super) fn ivf_value(&mut self, key: Key, value: &[u8]) -> bool {
        let Some(part) = self.lists_part() else { return false };
        let (meta, body) = (&self.view.snapshot.meta, unverified(value));
        let geometry = geometry(meta.dimensions);
        let group = || -> Result<(), Damage> {
            let entries = decode_group(body)?;
            match entries.iter().all(|entry| *entry == NONE) {
                true => Err("a group without entries has no value"),
                false => Ok(()),
            }
        };
        let (is_known, layout) = match key.sub {
            CENTERS => (
                key.n < center_blocks(&geometry, part.lists),
                check_centers(&geometry, key.n, part.lists, value),
            ),
            LISTS => (of_list_n(key.n).0 < part.lists, decode_piece(body, &mut Vec::new())),
            CODES => (
                of_list_n(key.n).0 < part.lists && part.has_codes,
                Block::decode(stride(meta).unwrap_or_default(), body).map(drop),
            ),
            SLOTS => (key.n < meta.slots.div_ceil(GROUP) && part.lists > 0, group()),
            SIZES => (key.n < part.lists.div_ceil(GROUP), group()),
            _ => (false, Ok(())),
        };
        if is_known {
            self.layout(key, layout);
        }
        is_known
    }

    /// Checks `inverted-lists`.
    pub(super) fn check_lists(&mut self) -> Result<()> {
        let Some(part) = self.lists_part().filter(|part| part.lists > 0) else { return Ok(()) };
        let slots = self.view.snapshot.meta.slots;
        let (Some(sizes), Some(of_slots)) =
            (self.entries(SIZES, part.lists)?, self.entries(SLOTS, slots)?)
        else {
            return Ok(());
        };
        for number in 0..center_blocks(&geometry(self.view.snapshot.meta.dimensions), part.lists) {
            let key = self.key(Kind::IVF, CENTERS, number);
            let is_there = self.get(key)?.is_some();
            self.findings.expect(is_there, Invariant::Layout, || format!("{key}: it is missing"));
        }
        let vacant = sizes.iter().filter(|size| **size == NONE).count();
        self.expect_lists(vacant == part.vacant as usize, || {
            format!("{vacant} lists are vacant, the metadata counts {}", part.vacant)
        });
        let free = self.set(SetKind::Free).clone();
        for (slot, list) in (0..).zip(&of_slots) {
            let is_free = free.contains(slot);
            self.expect_lists(
                is_free == (*list == NONE) && (is_free || *list < part.lists),
                || format!("slot {slot} is said to be in list {list}, or is free: {is_free}"),
            );
        }
        for (list, size) in (0..).zip(&sizes).take(MAX_LISTS as usize) {
            let Some(members) = self.members(list)? else { continue };
            let size = if *size == NONE { 0 } else { *size };
            self.expect_lists(members.len() == size as usize, || {
                format!("list {list} has {} slots, and the size {size} is stored", members.len())
            });
            let stranger = members.iter().find(|slot| of_slots.get(**slot as usize) != Some(&list));
            self.expect_lists(stranger.is_none(), || {
                format!("list {list} has slot {stranger:?}, which is said to be elsewhere")
            });
            if part.has_codes {
                self.check_codes_of(list, members)?;
            }
        }
        Ok(())
    }

    /// Checks the codes of a list with these slots, ascending.
    fn check_codes_of(&mut self, list: u32, members: Vec<u32>) -> Result<()> {
        let Some(stride) = stride(&self.view.snapshot.meta) else { return Ok(()) };
        let per_block = block_entries(stride, members.len());
        let count = blocks(stride, members.len());
        let mut slots = Vec::new();
        for number in 0.. {
            let key = self.key(Kind::IVF, CODES, list_n(list, number));
            let Some(body) = self.get(key)?.map(|value| unverified(value).to_vec()) else { break };
            // Reported with the layout of the values.
            let Ok(block) = Block::decode(stride, &body) else { return Ok(()) };
            let is_full =
                block.len() == per_block || number + 1 == count && block.len() < per_block;
            self.expect_lists(is_full, || format!("{key}: it has {} entries", block.len()));
            for (slot, code) in block.slots().zip(block.codes.chunks(stride)) {
                // That of a slot which has none is reported with the codes.
                let found = self.view.code_of(Slot(slot));
                let own = self.survive(found)?.flatten();
                self.expect_lists(own.is_none_or(|own| own == code), || {
                    format!("{key}: the code of slot {slot} is another one")
                });
                slots.push(slot);
            }
        }
        slots.sort_unstable();
        self.expect_lists(slots == members, || {
            format!("list {list} has {} codes, not one for each of its slots", slots.len())
        });
        Ok(())
    }

    fn expect_lists(&mut self, holds: bool, what: impl FnOnce() -> String) {
        self.findings.expect(holds, Invariant::InvertedLists, what);
    }

    /// The first `count` entries of SLOTS or SIZES. `None` if some are damaged, which is reported.
    fn entries(&mut self, sub: u8, count: u32) -> Result<Option<Vec<u32>>> {
        let mut entries = Vec::new();
        for number in 0..count.div_ceil(GROUP) {
            match self.get(self.key(Kind::IVF, sub, number))?.map(unverified).map(decode_group) {
                Some(Ok(group)) => entries.extend(group),
                // Reported with the layout of the values.
                Some(Err(_)) => return Ok(None),
                None => entries.resize(entries.len() + GROUP as usize, NONE),
            }
        }
        let beyond = entries.get(count as usize..).unwrap_or_default();
        let is_clean = beyond.iter().all(|entry| *entry == NONE);
        self.expect_lists(is_clean, || format!("sub {sub} has entries beyond {count}"));
        entries.truncate(count as usize);
        Ok(Some(entries))
    }

    /// The slots of a list. `None` if a piece is damaged, which is reported.
    fn members(&mut self, list: u32) -> Result<Option<Vec<u32>>> {
        let (mut members, mut bodies) = (Vec::new(), Vec::new());
        loop {
            let piece = bodies.len() as u32;
            let key = self.key(Kind::IVF, LISTS, list_n(list, piece));
            let Some(body) = self.get(key)?.map(unverified) else { break };
            let decoded = decode_piece(body, &mut members);
            bodies.push(body.to_vec());
            if let Err(what) = decoded {
                self.layout(key, Err(what));
                return Ok(None);
            }
        }
        let is_cut = encode_list(&members) == bodies;
        self.expect_lists(is_cut, || format!("list {list} is cut into pieces in another way"));
        Ok(Some(members))
    }
}
