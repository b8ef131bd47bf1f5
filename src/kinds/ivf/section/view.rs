//! What searches read of the lists: centers, sizes, slots and codes.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

use super::tables::{CodeBlocks, ListTables};
use super::{Space, codes, part};
use crate::distance::{Form, Kernels};
use crate::error::{Error, Result};
use crate::format::block::Geometry;
use crate::format::checksum::unverified;
use crate::format::{Key, Kind};
use crate::kinds::ivf::format::list_codes::Block;
use crate::kinds::ivf::format::{
    CENTERS, CODES, GROUP, LISTS, NONE, Part, SIZES, center_blocks, decode_group, decode_piece,
    geometry, list_n, of_list_n, pieces,
};
use crate::store::prepared_query::PreparedQuery;
use crate::store::readahead::addresses;
use crate::store::snapshot::Snapshot;
use crate::store::source::Source;
use crate::store::view::View;
use crate::types::Slot;

/// The lists of a snapshot: their centers, where they lie, and their sizes.
#[derive(Debug)]
pub(crate) struct Lists<'s, 't> {
    tables: &'s ListTables<'t>,
    geometry: Geometry,
    blocks: Vec<&'t [u8]>,
    kernels: Kernels,
    are_products: bool,
    /// The length of a code, if the lists have codes.
    stride: Option<usize>,
}

impl<'s, 't, S: Source<'t>> View<'s, 't, S> {
    /// What META and the sizes say of the lists; `None` if there are none, or none yet.
    /// O(lists / 1000) lookups the first time.
    pub(crate) fn list_tables(&self) -> Result<Option<&'s ListTables<'t>>> {
        let snapshot: &'s Snapshot<'t> = self.snapshot;
        if let Some(tables) = snapshot.kept.list_tables.get() {
            return Ok(Some(tables));
        }
        let part = part(&snapshot.meta, snapshot.index)?;
        let Some(part) = part.filter(|part| part.lists > 0) else { return Ok(None) };
        let mut sizes = Vec::new();
        for group in 0..part.lists.div_ceil(GROUP) {
            let key = self.key(Kind::IVF, SIZES, group);
            let Some(value) = self.source.get(key)? else {
                sizes.resize(sizes.len() + GROUP as usize, NONE);
                continue;
            };
            let entries = decode_group(unverified(value));
            sizes.extend(entries.map_err(|what| Error::corrupt(key, what))?);
        }
        sizes.truncate(part.lists as usize);
        let new = || ListTables::new(snapshot.memory, part, sizes);
        Ok(Some(snapshot.kept.list_tables.get_or_init(new)))
    }

    /// The lists; `None` if there are none, or none yet. Fills the pointer table of the centers.
    pub(crate) fn lists(&self) -> Result<Option<Lists<'s, 't>>> {
        let meta = &self.snapshot.meta;
        let Some(list_tables) = self.list_tables()? else { return Ok(None) };
        let part = &list_tables.part;
        let geometry = geometry(meta.dimensions);
        let tables = self.snapshot.others.iter();
        let table = tables.into_iter().find(|(kind, sub, _)| (*kind, *sub) == (Kind::IVF, CENTERS));
        let mut blocks = Vec::with_capacity(center_blocks(&geometry, part.lists) as usize);
        for number in 0..center_blocks(&geometry, part.lists) {
            let found = table.and_then(|(_, _, table)| table.get(number as usize));
            blocks.push(match found {
                Some(block) => block,
                None => {
                    let key = self.key(Kind::IVF, CENTERS, number);
                    let block = self.require(key)?;
                    let table = table.and_then(|(_, _, table)| table.set(number as usize, block));
                    table.ok_or(Error::corrupt(key, "it does not have the length of a block"))?
                }
            });
        }
        let dimensions = meta.dimensions as usize;
        let are_products = self.snapshot.metric.form == Form::NegatedProducts;
        let kernels = match are_products {
            true => Kernels::inner_product(dimensions),
            false => Kernels::euclidean(dimensions),
        };
        let stride = codes::stride(meta).filter(|_| part.has_codes);
        let tables = list_tables;
        Ok(Some(Lists { tables, geometry, blocks, kernels, are_products, stride }))
    }

    /// Appends the slots of a list of `size` slots, ascending.
    pub(crate) fn list_slots(&self, list: u32, size: u32, out: &mut Vec<u32>) -> Result<()> {
        // Not with a capacity: the size has been read from disk.
        let mut slots = Vec::new();
        for piece in 0..pieces(size as usize) {
            let key = self.key(Kind::IVF, LISTS, list_n(list, piece));
            let decoded = decode_piece(unverified(self.require(key)?), &mut slots);
            decoded.map_err(|what| Error::corrupt(key, what))?;
        }
        let key = self.key(Kind::IVF, LISTS, list_n(list, 0));
        if slots.len() != size as usize {
            return Err(Error::corrupt(key, "the list does not have the size that is stored"));
        }
        if slots.last().is_some_and(|last| *last >= self.snapshot.meta.slots) {
            return Err(Error::corrupt(key, "the list has a slot beyond all"));
        }
        out.append(&mut slots);
        Ok(())
    }

    /// The blocks of codes of a list, whose codes have `stride` bytes.
    pub(crate) fn list_codes(
        &self,
        lists: &Lists<'s, 't>,
        stride: usize,
        list: u32,
    ) -> Result<Cow<'s, [&'t [u8]]>> {
        let kept = lists.tables.codes.get(list as usize);
        if let Some(blocks) = kept.and_then(OnceLock::get) {
            return Ok(Cow::Borrowed(blocks));
        }
        let [first, last] = [0, u32::MAX]
            .map(|piece| of_list_n(piece).1)
            .map(|piece| self.key(Kind::IVF, CODES, list_n(list, piece)));
        let (mut blocks, mut entries) = (CodeBlocks::new(), 0);
        for (key, value) in self.source.values(first, last, usize::MAX)? {
            let body = unverified(value);
            let block = Block::decode(stride, body).map_err(|what| Error::corrupt(key, what))?;
            entries += block.len();
            blocks.push(body);
        }
        if entries != lists.size(list) as usize {
            let what = "the codes of the list are not as many as its slots";
            return Err(Error::corrupt(first, what));
        }
        Ok(match kept {
            Some(kept) => Cow::Borrowed(kept.get_or_init(|| blocks)),
            None => Cow::Owned(blocks),
        })
    }

    /// Looks up all blocks of codes, and passes each to `go_on`, until it returns `false`. Returns
    /// whether all were visited.
    pub(super) fn each_block_of_codes(
        &self,
        lists: &Lists<'s, 't>,
        go_on: &mut dyn FnMut(&'t [u8]) -> bool,
    ) -> Result<bool> {
        let Some(stride) = lists.stride else { return Ok(true) };
        for list in lists.all() {
            let blocks = self.list_codes(lists, stride, list)?;
            if !blocks.iter().all(|block| go_on(block)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Has blocks of codes read from disk, all at a time, if the index is cold.
    pub(crate) fn fetch_blocks<'a>(&self, blocks: impl Iterator<Item = &'a [u8]>) {
        let Some(cold) = self.cold() else { return };
        let mut batch = cold.batch();
        blocks.for_each(|block| batch.add(addresses(block)));
        batch.send(0);
    }

    /// A query as it is compared with centers.
    pub(crate) fn center_query(&self, query: &PreparedQuery<'_, '_, 't, S>) -> Vec<f32> {
        Space::of(self.snapshot.metric, &self.snapshot.meta).row(query.prepared().0)
    }
}

impl<'t> Lists<'_, 't> {
    /// What META says of them.
    pub(crate) fn part(&self) -> &Part {
        &self.tables.part
    }

    /// The length of a code, if the lists have codes.
    pub(crate) fn stride(&self) -> Option<usize> {
        self.stride
    }

    /// The lists that are not vacant.
    pub(crate) fn all(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.tables.sizes).filter(|(_, size)| **size != NONE).map(|(list, _)| list)
    }

    /// The number of slots of a list.
    pub(crate) fn size(&self, list: u32) -> u32 {
        self.tables
            .sizes
            .get(list as usize)
            .copied()
            .filter(|size| *size != NONE)
            .unwrap_or_default()
    }

    /// The sizes of all lists; `NONE` for vacant ones.
    pub(super) fn sizes(&self) -> &[u32] {
        &self.tables.sizes
    }

    pub(super) fn center_blocks(&self) -> impl Iterator<Item = &'t [u8]> + '_ {
        self.blocks.iter().copied()
    }

    fn center(&self, list: u32) -> Option<&'t [u8]> {
        let (block, place) = self.geometry.place(Slot(list));
        let start = self.geometry.vector_offset(place);
        self.blocks.get(block)?.get(start..start + self.geometry.stride)
    }

    /// The components of the center of a list.
    pub(super) fn components(&self, index: u16, list: u32) -> Result<Vec<f32>> {
        let (block, place) = self.geometry.place(Slot(list));
        let found = self
            .blocks
            .get(block)
            .and_then(|block| crate::kinds::ivf::format::center(&self.geometry, block, place));
        let key = Key::new(index, Kind::IVF, CENTERS, block as u32);
        found.ok_or(Error::corrupt(key, "a block of centers is cut short"))
    }

    /// The lists in the order in which a search for this query probes them, by the distance of
    /// their centers, ties by number: the first `count` of them.
    pub(crate) fn order(&self, query: &[f32], count: usize) -> Order {
        let query: &[u8] = bytemuck::cast_slice(query);
        let sign = if self.are_products { -1.0 } else { 1.0 };
        let filled = self.all().filter(|list| self.size(*list) > 0);
        let centers = filled.filter_map(|list| Some((list, self.center(list)?)));
        let centers: Vec<(u32, &[u8])> = centers.collect();
        let mut order = Vec::with_capacity(centers.len());
        let (fours, rest) = centers.as_chunks::<4>();
        for four in fours {
            let distances = self.kernels.four(query, four.map(|(_, center)| center));
            let found = distances.into_iter().zip(four);
            order.extend(found.map(|(distance, (list, _))| (sign * distance, *list)));
        }
        let one = |(list, center): &(u32, &[u8])| (sign * self.kernels.one(query, center), *list);
        order.extend(rest.iter().map(one));
        let mut order = Order { lists: order, sorted: 0 };
        order.sort(count);
        order
    }
}

/// The lists of a search by the distance of their centers, of which as many are sorted as it has
/// asked for.
#[derive(Debug)]
pub(crate) struct Order {
    lists: Vec<(f32, u32)>,
    sorted: usize,
}

impl Order {
    /// How many lists there are.
    pub(crate) fn len(&self) -> usize {
        self.lists.len()
    }

    /// Sorts the first `count`.
    fn sort(&mut self, count: usize) {
        let (from, to) = (self.sorted, count.min(self.lists.len()));
        if from >= to {
            return;
        }
        let nearer = |(a, x): &(f32, u32), (b, y): &(f32, u32)| a.total_cmp(b).then(x.cmp(y));
        if to < self.lists.len() {
            self.lists[from..].select_nth_unstable_by(to - from, nearer);
        }
        self.lists[from..to].sort_unstable_by(nearer);
        self.sorted = to;
    }

    /// The lists at some places of the order, as far as it goes.
    pub(crate) fn get(&mut self, places: Range<usize>) -> impl Iterator<Item = u32> + '_ {
        self.sort(places.end);
        let end = places.end.min(self.lists.len());
        self.lists.get(places.start..end).unwrap_or_default().iter().map(|(_, list)| *list)
    }
}
