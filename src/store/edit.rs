//! Adding and removing items: one pass, for one item or for many.
//!
//! An [`Edit`] reads META once, buffers its writes in memory (map groups, set chunks, the values of
//! unfinished blocks), and writes each value once, in [`finish`](Edit::finish). A section with
//! values per slot has a write buffer for them ([`SectionEdit`]); `target` writes.
//!
//! Invariant: until `finish`, an edit can be undone (`repair`). A slot that it frees keeps its
//! vector and its entry in SLOT_IDS, and is not reused within the edit; the sets are written at the
//! end. So the old META, the sets and SLOT_IDS still describe all items from before the edit.
//!
//! Cost per item: O(1) values, none larger than a page except a block that becomes full.

use heed::RwTxn;
use roaring::RoaringBitmap;

use super::Place;
use super::address::Address;
use super::open::{naming_of, read_for_change};
use super::recode::{self, Recoded, Recoding};
use super::sections::fields::edit::FieldsEdit;
use super::sections::ids::edit::IdMaps;
use super::sections::item_keys::edit::KeysEdit;
use super::sections::item_keys::rows::ItemKeys;
use super::sections::list::{SECTIONS, index_kinds, is_listed, section_for};
use super::sections::records::edit::{RecordsEdit, check_record};
use super::sections::records::view::records_in;
use super::sections::section::{Rescaled, Section, SectionEdit};
use super::sections::sets::edit::{SetEdit, read as read_set};
use super::sections::vectors;
use super::target::{Journal, Put, Target, written};
use super::view::check_dimensions;
use crate::codec::Components;
use crate::distance::{Encoded, MAX_NAME_BYTES, Metric};
use crate::error::{Error, Result, VectorDefect};
use crate::field::{Field, Values as FieldValues};
use crate::format::block::Geometry;
use crate::format::delta::Delta;
use crate::format::item_keys::{Naming, Row as KeyRow};
use crate::format::meta::{MAX_DIMENSIONS, Meta, Training};
use crate::format::set::SetKind;
use crate::format::{Key, Kind};
use crate::types::{Calibration, IndexKind, ItemId, Scale, Slot, names};

/// Bytes of encoded rows that are buffered. User code (iterator, `AsRef`, metric) produces them,
/// and runs before any of them is stored.
pub(crate) const ROWS_BYTES: usize = 1 << 20;

/// Free slots in blocks are reused while at least one slot in this many is free: then a rewritten
/// block takes many vectors.
const REUSE_DIVISOR: u32 = 7;

/// The number of slots that an index has, at most, after so many more vectors are stored.
pub(crate) fn slots_after(meta: &Meta, stored: u64) -> u64 {
    let (slots, free) = (meta.slots, meta.free);
    let reused = free.saturating_sub(slots.div_ceil(REUSE_DIVISOR));
    u64::from(slots) + stored.saturating_sub(reused.into())
}

/// The write buffer of one index: changes that are not written yet.
pub(crate) struct Edit<'w, 'e, 'p> {
    place: Place<'e>,
    wtxn: &'w mut RwTxn<'p>,
    pub(crate) meta: Meta,
    pending: SetEdit,
    removed: SetEdit,
    free: SetEdit,
    /// Slots that are freed at the end.
    freed: RoaringBitmap,
    ids: IdMaps,
    keys: KeysEdit,
    records: RecordsEdit,
    fields: FieldsEdit,
    /// The write buffers of the sections.
    values: Vec<Values>,
    journal: Journal,
    /// Whether adding an item with the vector that it has, bit for bit, changes nothing.
    pub(crate) keeps_equal: bool,
}

/// The write buffer of a section for its per-slot values.
struct Values {
    section: &'static dyn Section,
    edit: Box<dyn SectionEdit>,
}

/// A record, with its values of fields.
type Record = (Vec<u8>, FieldValues);

/// What names an item that is to be added.
pub(crate) enum RowName {
    Id(ItemId),
    /// A key, which can be stored.
    Key(Vec<u8>),
}

impl RowName {
    /// The error for a vector that cannot be stored.
    pub(crate) fn invalid(&self, naming: Naming, defect: VectorDefect) -> Error {
        match self {
            Self::Id(item) => Error::InvalidItem { item: *item, defect },
            Self::Key(key) => Error::InvalidKeyedItem { key: naming.show(key), defect },
        }
    }

    /// The error for a record that cannot be stored.
    fn invalid_record(&self, naming: Naming, what: String) -> Error {
        let item = match self {
            Self::Id(item) => item.to_string(),
            Self::Key(key) => naming.show(key),
        };
        Error::InvalidRecord { item, what }
    }
}

/// An encoded item, ready to be added.
pub(crate) struct Row {
    name: RowName,
    vector: Encoded,
    /// The record that it is to have, if it is given one.
    record: Option<Record>,
}

/// Checks that an index can have these dimensions, under this metric.
///
/// # Errors
/// [`Error::InvalidDimensions`], [`Error::InvalidParameter`].
pub(crate) fn check_new(metric: &Metric, dimensions: usize) -> Result<()> {
    if dimensions == 0 || dimensions > MAX_DIMENSIONS {
        return Err(Error::InvalidDimensions { found: dimensions, max: MAX_DIMENSIONS });
    }
    let name = metric.name();
    if name.len() > MAX_NAME_BYTES || name.is_empty() || name.contains('\0') {
        let remedy = "give the metric a name of 1 to 32 bytes without zeros";
        return Err(Error::InvalidParameter {
            name: "the length of the metric's name",
            value: name.len() as f64,
            remedy,
        });
    }
    Ok(())
}

/// Checks that an index of a metric can have a kind.
///
/// # Errors
/// [`Error::KindUnsupported`].
pub(crate) fn check_kind(kind: IndexKind, metric: &Metric) -> Result<()> {
    let supported = section_for(kind).map_or(Ok(()), |section| section.supports(metric));
    supported.map_err(|can| Error::KindUnsupported {
        kind,
        metric: metric.name(),
        form: metric.codec_name,
        can,
    })
}

/// The metadata of an empty index.
///
/// # Errors
/// As [`check_new`].
fn new_meta(place: Place<'_>, dimensions: usize) -> Result<Meta> {
    let metric = place.metric;
    check_new(metric, dimensions)?;
    let geometry = Geometry::new(metric.bytes(dimensions), metric.has_factor);
    let name = metric.name().to_owned();
    Ok(Meta::new(name, metric.codec, dimensions as u32, geometry, place.naming))
}

impl<'w, 'e, 'p> Edit<'w, 'e, 'p> {
    /// Opens the index, or prepares to create it.
    ///
    /// # Errors
    /// Those of [`read_meta`], [`Error::InvalidDimensions`], and [`Error::DimensionMismatch`] if
    /// the index has other dimensions.
    pub(crate) fn begin(
        place: Place<'e>,
        wtxn: &'w mut RwTxn<'p>,
        dimensions: usize,
    ) -> Result<Self> {
        let fresh = new_meta(place, dimensions)?;
        let stored = match read_for_change(place, wtxn)? {
            Some((_, Some(_))) => return Err(Error::TornEdit { index: place.index }),
            stored => stored.map(|(meta, _)| meta),
        };
        // A new index replaces everything that was stored under its number before.
        let journal = if stored.is_some() { Journal::of } else { Journal::of_everything };
        let meta = stored.unwrap_or(fresh);
        if meta.dimensions as usize != dimensions {
            return Err(Error::DimensionMismatch {
                expected: meta.dimensions as usize,
                found: dimensions,
            });
        }
        let values = SECTIONS
            .iter()
            .filter_map(|section| Some(Values { section: *section, edit: section.edit(&meta)? }));
        let values = values.collect();
        Ok(Self {
            place,
            wtxn,
            values,
            journal: journal(meta.clone(), is_listed),
            records: RecordsEdit::new(place.index, &meta)?,
            fields: FieldsEdit::new(place.index, &meta)?,
            meta,
            pending: SetEdit::new(SetKind::Pending),
            removed: SetEdit::new(SetKind::Removed),
            free: SetEdit::new(SetKind::Free),
            freed: RoaringBitmap::new(),
            ids: IdMaps::default(),
            keys: KeysEdit::default(),
            keeps_equal: false,
        })
    }

    /// Encodes an item. Runs code of the metric, which may be the user's; changes nothing.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`], [`Error::InvalidItem`], [`Error::NotTrained`];
    /// [`Error::InvalidParameter`] and [`Error::InvalidRecord`] for a record.
    pub(crate) fn row(
        &self,
        name: RowName,
        vector: Components<'_>,
        record: Option<&[u8]>,
    ) -> Result<Row> {
        let record = record.map(|record| self.record(&name, record)).transpose()?;
        Error::unless_known(self.place.metric, self.place.index)?;
        check_dimensions(vector.len(), self.meta.dimensions as usize)?;
        self.check_trained()?;
        let vector = self
            .place
            .metric
            .encode(vector, self.meta.scale)
            .map_err(|defect| name.invalid(self.place.naming, defect))?;
        Ok(Row { name, vector, record })
    }

    /// Takes the values of fields out of the record that an item is to have.
    fn record(&self, name: &RowName, record: &[u8]) -> Result<Record> {
        check_record(record)?;
        let values = self.fields.schema.values(record);
        let values = values.map_err(|what| name.invalid_record(self.place.naming, what))?;
        Ok((record.to_vec(), values))
    }

    /// Number of rows to encode before the first of them is added; at least one.
    pub(crate) fn rows_at_once(&self) -> usize {
        let Geometry { stride, factor, .. } = self.meta.geometry;
        (ROWS_BYTES / (size_of::<Row>() + stride + factor)).max(1)
    }

    /// Adds an item, or replaces its vector, and its record if there is one. `false` if it has
    /// both, and that changes nothing.
    ///
    /// # Errors
    /// [`Error::IndexFull`].
    pub(crate) fn add(&mut self, Row { name, vector, record }: Row) -> Result<bool> {
        let item = match name {
            RowName::Id(item) => item,
            RowName::Key(key) => self.keys.id_or_new(self.place, self.wtxn, &key)?,
        };
        let Encoded { bytes, factor, saturated } = vector;
        let is_kept = self.keeps_equal && self.has_vector(item, &bytes)?;
        if !is_kept {
            self.add_stored(item, bytes, factor)?;
            self.meta.saturated = self.meta.saturated.saturating_add(saturated);
        }
        let Some(record) = record else { return Ok(!is_kept) };
        if is_kept && self.records.has(self.place, self.wtxn, item, &record.0)? {
            return Ok(false);
        }
        self.change_record(item, Some(record))?;
        Ok(true)
    }

    /// Sets the record of an item, and nothing else. `false` if there is no such item.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] and [`Error::InvalidRecord`].
    pub(crate) fn set_record(&mut self, item: ItemId, record: &[u8]) -> Result<bool> {
        check_record(record)?;
        if self.ids.slot(self.place, self.wtxn, item, self.meta.slots)?.is_none() {
            return Ok(false);
        }
        let values = self.fields.schema.values(record);
        let values = values.map_err(|what| self.invalid_record_of(item, what))?;
        self.change_record(item, Some((record.to_vec(), values)))?;
        Ok(true)
    }

    /// The error for a record that an item cannot have: it names the key of the item, if it has
    /// one, even where the caller has found the item by its id, as conditions do.
    fn invalid_record_of(&self, item: ItemId, what: String) -> Error {
        let naming = naming_of(self.place, self.wtxn, &self.meta).unwrap_or(Naming::Ids);
        let key = match naming {
            Naming::Ids => None,
            _ => ItemKeys::of(self.place).key_in(self.wtxn, item).ok(),
        };
        let name = key.map_or(RowName::Id(item), RowName::Key);
        name.invalid_record(naming, what)
    }

    /// Deletes the record of an item, and nothing else. `false` if it has none.
    pub(crate) fn remove_record(&mut self, item: ItemId) -> Result<bool> {
        self.change_record(item, None)
    }

    /// As [`set_record`](Self::set_record), by the key of an item.
    ///
    /// # Errors
    /// As [`set_record`](Self::set_record).
    pub(crate) fn set_record_of(&mut self, key: &[u8], record: &[u8]) -> Result<bool> {
        let record = self.record(&RowName::Key(key.to_vec()), record)?;
        let Some(item) = self.keys.id(self.place, self.wtxn, key)? else { return Ok(false) };
        self.change_record(item, Some(record))?;
        Ok(true)
    }

    /// As [`remove_record`](Self::remove_record), by the key of an item.
    pub(crate) fn remove_record_of(&mut self, key: &[u8]) -> Result<bool> {
        let Some(item) = self.keys.id(self.place, self.wtxn, key)? else { return Ok(false) };
        self.remove_record(item)
    }

    /// Sets the record of an item, which exists, or deletes it. Whether it had one.
    fn change_record(&mut self, item: ItemId, record: Option<Record>) -> Result<bool> {
        let (record, after) = record.unzip();
        if !self.fields.schema.is_empty() {
            let before = match self.records.get(self.place, self.wtxn, item)? {
                Some(before) => self.fields.schema.values(before).map_err(|_| {
                    Error::corrupt(
                        Key::new(self.place.index, Kind::RECORDS, 0, item),
                        "it has no values of the fields of the index",
                    )
                })?,
                None => FieldValues::new(),
            };
            self.fields.change(item, &before, &after.unwrap_or_default());
        }
        self.records.set(self.place, self.wtxn, item, record)
    }

    /// Adds a field, with its values in all records. Before anything else in the edit.
    ///
    /// # Errors
    /// [`Error::InvalidField`], [`Error::InvalidRecord`]: nothing has been changed.
    pub(crate) fn add_field(&mut self, field: Field) -> Result<()> {
        let added = self.fields.add(field)?;
        for entry in records_in(self.place, self.wtxn, 0)? {
            let (item, record) = entry?;
            let values = added.values(record);
            let values = values.map_err(|what| self.invalid_record_of(item, what))?;
            self.fields.change(item, &[], &values);
        }
        Ok(())
    }

    /// Drops a field.
    ///
    /// # Errors
    /// [`Error::UnknownField`].
    pub(crate) fn drop_field(&mut self, name: &str) -> Result<()> {
        self.fields.drop_field(name)
    }

    /// Ends the edit and begins another, if it has buffered so much that it should.
    pub(crate) fn renewed(self) -> Result<Self> {
        if !self.records.is_large() && !self.keys.is_large() {
            return Ok(self);
        }
        let (place, dimensions) = (self.place, self.meta.dimensions as usize);
        let keeps_equal = self.keeps_equal;
        let edit = Self::begin(place, self.finish_into(Vec::new())?, dimensions)?;
        Ok(Self { keeps_equal, ..edit })
    }

    /// Whether an item from before the edit has this vector, in its stored form.
    fn has_vector(&self, item: ItemId, bytes: &[u8]) -> Result<bool> {
        let slots = self.journal.before().slots;
        let Some(slot) = self.ids.slot(self.place, self.wtxn, item, self.meta.slots)? else {
            return Ok(false);
        };
        if slot.0 >= slots || self.freed.contains(slot.0) {
            return Ok(false);
        }
        let geometry = self.meta.geometry;
        let (block, in_block) = geometry.place(slot);
        let (key, start) = if (block as u32) < slots / geometry.vectors {
            (vectors::block_key(self.place.index, block as u32), geometry.vector_offset(in_block))
        } else {
            (vectors::single_key(self.place.index, slot), 0)
        };
        let Some(value) = self.place.sound(self.wtxn, key)? else { return Ok(false) };
        Ok(value.body().get(start..start + geometry.stride) == Some(bytes))
    }

    /// Checks that vectors can be encoded.
    ///
    /// # Errors
    /// [`Error::NotTrained`].
    pub(crate) fn check_trained(&self) -> Result<()> {
        if self.place.metric.is_trained && !self.meta.scale.is_trained() {
            Err(Error::NotTrained { index: self.place.index, name: None })
        } else {
            Ok(())
        }
    }

    /// Sets the scale of scalar quantization, and encodes all stored vectors anew. Before anything
    /// else in the edit. `false` if they have this scale already.
    ///
    /// # Errors
    /// Those of [`Recoding::new`]: nothing has been changed.
    pub(crate) fn train(&mut self, scale: Scale) -> Result<bool> {
        if self.meta.slots == self.meta.free {
            self.meta.saturated = 0;
        } else if scale.to_bits() == self.meta.scale.to_bits() {
            return Ok(false);
        } else {
            let recoding = Recoding::new(self.place, self.wtxn, &self.meta, scale)?;
            // Codes are quantized from stored vectors, around a center of their own.
            self.delete_codes()?;
            self.values.retain(|values| values.section.rescaled() == Rescaled::Edited);
            let forgotten = |section: &&&dyn Section| section.rescaled() == Rescaled::Forgotten;
            for section in SECTIONS.iter().filter(forgotten) {
                self.forget(*section)?;
            }
            self.recode(&recoding)?;
            self.meta.saturated = recoding.saturated;
            if self.meta.norm_bound > 0.0 {
                self.meta.norm_bound = self.meta.norm_bound.max(recoding.norm_bound);
            }
        }
        self.meta.scale = scale;
        Ok(true)
    }

    /// Overwrites all stored vectors, block by block. Only LMDB may stop the edit from here on.
    fn recode(&mut self, recoding: &Recoding) -> Result<()> {
        let Meta { geometry, slots, .. } = self.meta;
        for slots in recode::values(geometry, slots) {
            for Recoded { slot, bytes, factor } in
                recoding.value(self.place, self.wtxn, geometry, slots)?
            {
                self.store(slot, Address { bytes: &bytes, factor }, true)?;
            }
            self.each_section(|edit, target| edit.write_late(target))?;
        }
        Ok(())
    }

    /// Adds an item, or replaces it. The vector is in its stored form.
    pub(crate) fn add_stored(&mut self, item: ItemId, bytes: Vec<u8>, factor: f32) -> Result<()> {
        self.raise_norm_bound(&bytes);
        // Allocate first: the slot of a replaced item may only be reused by other items.
        let slot = self.allocate()?;
        self.take_slot(item)?;
        self.ids.set_slot(self.place, self.wtxn, item, Some(slot))?;
        self.ids.set_item(self.place, self.wtxn, slot, item)?;
        if self.meta.has_graph {
            self.pending.insert(self.place, self.wtxn, slot)?;
            self.meta.pending += 1;
        }
        self.meta.items += 1;
        self.store(slot, Address { bytes: &bytes, factor }, false)?;
        self.seal()?;
        if self.ids.is_large() {
            for (key, body) in self.ids.puts(self.place) {
                self.target().put(key, body)?;
            }
        }
        Ok(())
    }

    /// Raises the bound of the norms, if the metric needs it and it is known.
    fn raise_norm_bound(&mut self, stored: &[u8]) {
        let meta = &mut self.meta;
        if meta.norm_bound == 0.0 && meta.slots > meta.free {
            return;
        }
        if let Some(norm) = self.place.metric.norm_bound(stored, meta.scale) {
            meta.norm_bound = meta.norm_bound.max(norm);
        }
    }

    /// Passes a vector to all sections, which store what they derive from it; not before the end if
    /// the slot may hold live values (`is_late`).
    fn store(&mut self, slot: Slot, vector: Address<'_>, is_late: bool) -> Result<()> {
        self.each_section(|edit, target| edit.store(target, slot, vector, is_late))
    }

    /// Applies `work` to the write buffer of each section.
    fn each_section(
        &mut self,
        work: impl Fn(&mut dyn SectionEdit, Target<'_, '_, '_>) -> Result<()>,
    ) -> Result<()> {
        let Self { place, wtxn, journal, values, .. } = self;
        values
            .iter_mut()
            .try_for_each(|values| work(&mut *values.edit, Target { place: *place, wtxn, journal }))
    }

    /// Writes blocks that are full.
    fn seal(&mut self) -> Result<()> {
        let slots = self.meta.slots;
        self.each_section(|edit, target| edit.seal(target, slots))?;
        self.meta.sealed = slots / self.meta.geometry.vectors;
        Ok(())
    }

    /// Deletes an item, with its record. `false` if there is none.
    pub(crate) fn delete(&mut self, item: ItemId) -> Result<bool> {
        let is_there = self.take_slot(item)?;
        if is_there {
            self.change_record(item, None)?;
        }
        Ok(is_there)
    }

    /// Deletes the item that a key names, with its key. `false` if there is none.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the key is of no item.
    pub(crate) fn delete_named(&mut self, key: &[u8]) -> Result<bool> {
        let Some(item) = self.keys.remove(self.place, self.wtxn, key)? else { return Ok(false) };
        match self.delete(item)? {
            true => Ok(true),
            false => Err(Error::corrupt(
                KeyRow::name_of(self.place.index, item),
                "it is of an item that does not exist",
            )),
        }
    }

    /// Gives the item that a key names another key, which names none. `false` if there is no such
    /// item.
    pub(crate) fn rename(&mut self, key: &[u8], new: &[u8]) -> Result<bool> {
        self.keys.rename(self.place, self.wtxn, key, new)
    }

    /// Takes the slot of an item away from it. `false` if there is no such item.
    fn take_slot(&mut self, item: ItemId) -> Result<bool> {
        let Some(slot) = self.ids.slot(self.place, self.wtxn, item, self.meta.slots)? else {
            return Ok(false);
        };
        self.ids.set_slot(self.place, self.wtxn, item, None)?;
        self.meta.items = self.one_less(self.meta.items)?;
        if self.meta.has_graph && self.pending.remove(self.place, self.wtxn, slot)? {
            self.meta.pending = self.one_less(self.meta.pending)?;
            self.release(slot)?;
        } else if self.meta.has_graph {
            self.removed.insert(self.place, self.wtxn, slot)?;
            self.meta.removed += 1;
        } else {
            self.release(slot)?;
        }
        Ok(true)
    }

    /// Decrements a count.
    fn one_less(&self, count: u32) -> Result<u32> {
        count
            .checked_sub(1)
            .ok_or(Error::corrupt(Key::meta(self.place.index), "it counts less than there is"))
    }

    /// Frees a slot that is in no other set; not before the end if the slot is older than the edit.
    fn release(&mut self, slot: Slot) -> Result<()> {
        if slot.0 < self.journal.before().slots {
            self.freed.insert(slot.0);
            return Ok(());
        }
        self.free(slot)
    }

    fn free(&mut self, slot: Slot) -> Result<()> {
        self.free.insert(self.place, self.wtxn, slot)?;
        self.meta.free += 1;
        self.ids.set_item(self.place, self.wtxn, slot, 0)?;
        self.values.iter_mut().for_each(|values| values.edit.release(slot));
        Ok(())
    }

    /// Records that pending slots are now in the graph.
    pub(crate) fn linked(&mut self, slots: &RoaringBitmap) -> Result<()> {
        for slot in slots {
            if self.pending.remove(self.place, self.wtxn, Slot(slot))? {
                self.meta.pending = self.one_less(self.meta.pending)?;
            }
        }
        Ok(())
    }

    /// Records that live slots are not in the graph: they become pending.
    pub(crate) fn unlinked(&mut self, slots: &RoaringBitmap) -> Result<()> {
        for slot in slots {
            self.meta.pending +=
                u32::from(self.pending.insert(self.place, self.wtxn, Slot(slot))?);
        }
        Ok(())
    }

    /// Records that removed slots are no longer in the graph: they become free.
    pub(crate) fn taken_out(&mut self, slots: &RoaringBitmap) -> Result<()> {
        for slot in slots {
            if self.removed.remove(self.place, self.wtxn, Slot(slot))? {
                self.meta.removed = self.one_less(self.meta.removed)?;
                self.release(Slot(slot))?;
            }
        }
        Ok(())
    }

    /// Records that a slot without an item is in the graph, with the vector that the graph was
    /// built with: the next build deletes it.
    pub(crate) fn left_in(&mut self, slot: Slot, vector: &[u8], factor: f32) -> Result<()> {
        let is_freed = self.freed.remove(slot.0);
        let is_free = !is_freed && self.free.remove(self.place, self.wtxn, slot)?;
        if is_free {
            self.meta.free = self.one_less(self.meta.free)?;
        }
        if is_freed || is_free {
            self.removed.insert(self.place, self.wtxn, slot)?;
            self.meta.removed += 1;
        }
        self.store(slot, Address { bytes: vector, factor }, true)
    }

    /// Sets the bits per component of the codes, 0 for none. Existing codes of another size are
    /// deleted.
    pub(crate) fn set_codes(&mut self, bits: u8) -> Result<()> {
        if self.meta.code_bits != bits {
            self.delete_codes()?;
            self.meta.calibration.iter_mut().for_each(Calibration::outdate);
        }
        self.meta.code_bits = bits;
        Ok(())
    }

    /// Deletes the codes, if there are any. The next build makes others, if they are requested.
    fn delete_codes(&mut self) -> Result<()> {
        if self.meta.is_coded {
            self.delete_made_of_codes()?;
            self.delete_derived(Kind::CODES)?;
            self.values.retain(|values| !values.section.kinds().contains(&Kind::CODES));
            (self.meta.is_coded, self.meta.training) = (false, Training::default());
        }
        Ok(())
    }

    /// Sets what META says of the training of the codes, which are put at the end. What sections
    /// have made of the codes of another training is deleted.
    pub(crate) fn set_training(&mut self, training: Training) -> Result<()> {
        if self.meta.training.generation != training.generation {
            self.delete_made_of_codes()?;
        }
        (self.meta.is_coded, self.meta.training) = (true, training);
        Ok(())
    }

    /// Forgets what sections have made of the codes. Returns the keys of these values.
    pub(super) fn forget_made_of_codes(&mut self) -> Vec<[Key; 2]> {
        let Self { place, meta, values, .. } = self;
        values.iter_mut().for_each(|values| values.edit.forget_codes());
        let keys = |section: &&dyn Section| section.forget_codes(place.index, meta);
        SECTIONS.iter().filter_map(keys).collect()
    }

    fn delete_made_of_codes(&mut self) -> Result<()> {
        let ranges = self.forget_made_of_codes();
        ranges.into_iter().try_for_each(|range| self.target().delete_derived_range(range))
    }

    /// Gives the index a kind. Before anything else in the edit. `false` if it has the kind.
    ///
    /// # Errors
    /// [`Error::KindUnsupported`]: nothing has been changed.
    pub(crate) fn add_kind(&mut self, kind: IndexKind) -> Result<bool> {
        let Some(section) = section_for(kind) else { return Ok(false) };
        if section.is_present(&self.meta) {
            return Ok(false);
        }
        check_kind(kind, self.place.metric)?;
        section.set_present(&mut self.meta, true);
        if kind == IndexKind::Hnsw {
            let mut live = RoaringBitmap::new();
            live.insert_range(0..self.meta.slots);
            live -= read_set(self.place, self.wtxn, SetKind::Free)?;
            self.unlinked(&live)?;
        }
        Ok(true)
    }

    /// Takes a kind from the index, with all its values. Before anything else in the edit. `false`
    /// if it does not have the kind.
    ///
    /// # Errors
    /// [`Error::KindMismatch`] for the kind that every index has: nothing has been changed.
    pub(crate) fn drop_kind(&mut self, kind: IndexKind) -> Result<bool> {
        let index = self.place.index;
        let Some(section) = section_for(kind) else { return Ok(false) };
        if kind == IndexKind::Flat {
            let has = names(&index_kinds(&self.meta));
            return Err(Error::KindMismatch { index, name: None, kind, has, action: "dropped" });
        }
        if !section.is_present(&self.meta) {
            return Ok(false);
        }
        if kind == IndexKind::Hnsw {
            let read = |set| read_set(self.place, self.wtxn, set);
            let [pending, removed] = [read(SetKind::Pending)?, read(SetKind::Removed)?];
            self.linked(&pending)?;
            self.taken_out(&removed)?;
        }
        section.set_present(&mut self.meta, false);
        self.values.retain(|values| values.section.index_kind() != Some(kind));
        section.kinds().iter().try_for_each(|kind| self.delete_derived(*kind))?;
        Ok(true)
    }

    /// Deletes the derived values of a section, if there are any. The next build makes others.
    fn forget(&mut self, section: &dyn Section) -> Result<()> {
        let kinds = section.kinds();
        if section.forget(&mut self.meta) {
            self.values.retain(|values| values.section.kinds() != kinds);
            kinds.iter().try_for_each(|kind| self.delete_derived(*kind))?;
        }
        Ok(())
    }

    /// Clears what free slots have left in blocks, and deletes the values of sections that show
    /// vectors which are gone (`scrub`); the next build makes these anew. Returns how many slots
    /// had left something. Alone in its edit.
    pub(crate) fn scrub(&mut self, telling: &[&'static dyn Section]) -> Result<u64> {
        if telling.iter().any(|section| section.kinds().contains(&Kind::CODES)) {
            self.delete_made_of_codes()?;
        }
        for section in telling {
            self.forget(*section)?;
        }
        let free = read_set(self.place, self.wtxn, SetKind::Free)?;
        let Self { place, wtxn, journal, values, .. } = self;
        let mut most = 0;
        for values in values {
            let target = Target { place: *place, wtxn, journal };
            most = most.max(values.edit.scrub(target, &free)?);
        }
        Ok(most)
    }

    pub(crate) fn index(&self) -> u16 {
        self.place.index
    }

    /// Replaces the part of a section in META, whose values are put at the end, and are no longer
    /// changed by the edit.
    pub(crate) fn set_part(&mut self, kind: Kind, part: Vec<u8>) {
        self.values.retain(|values| !values.section.kinds().contains(&kind));
        self.meta.set_part(kind, Some(part));
    }

    fn target(&mut self) -> Target<'_, 'e, 'p> {
        Target { place: self.place, wtxn: self.wtxn, journal: &mut self.journal }
    }

    /// Puts or deletes a value of the graph or of the codes.
    pub(crate) fn put_derived(&mut self, key: Key, body: Option<Vec<u8>>) -> Result<()> {
        self.target().put_derived(key, body)
    }

    /// Deletes all values of a kind of the graph or of the codes.
    pub(crate) fn delete_derived(&mut self, kind: Kind) -> Result<()> {
        self.target().delete_derived(kind)
    }

    /// Puts any value. Only LMDB may stop the edit from here on.
    pub(super) fn put_over(&mut self, key: Key, body: Option<Vec<u8>>) -> Result<()> {
        self.target().put_over(key, body)
    }

    /// Deletes all values with keys from `first` to `last`, both included, of which none may be
    /// buffered by the edit. Only LMDB may stop the edit from here on.
    pub(super) fn delete_over(&mut self, first: Key, last: Key) -> Result<()> {
        self.target().delete_over(first, last)
    }

    /// Writes all buffered changes.
    pub(crate) fn finish(self) -> Result<()> {
        self.finish_with(Vec::new())
    }

    /// Writes all buffered changes, and these values of graph or codes. All reads precede the first
    /// put that overwrites live data.
    pub(crate) fn finish_with(self, derived: Vec<Put>) -> Result<()> {
        self.finish_into(derived).map(drop)
    }

    /// As [`finish_with`](Self::finish_with). Returns the transaction.
    fn finish_into(mut self, derived: Vec<Put>) -> Result<&'w mut RwTxn<'p>> {
        let fields = std::mem::take(&mut self.fields);
        // In the order of their kinds: LMDB fills pages best where keys ascend.
        let mut rows = std::mem::take(&mut self.keys).finish(self.place, self.wtxn)?;
        rows.puts.extend(fields.finish(self.place, self.wtxn, &mut self.meta)?);
        for slot in std::mem::take(&mut self.freed) {
            self.free(Slot(slot))?;
        }
        self.each_section(|edit, target| edit.check_late(&target))?;
        self.each_section(|edit, target| edit.write_late(target))?;
        self.values.iter().for_each(|values| values.edit.count(&mut self.meta));
        let mut puts = derived;
        puts.extend(self.ids.puts(self.place));
        puts.extend(self.values.iter_mut().flat_map(|values| values.edit.rest(self.place)));
        let Self { place, wtxn, mut journal, mut meta, pending, removed, free, records, .. } = self;
        puts.extend([pending, removed, free].into_iter().flat_map(|set| set.into_puts(place)));
        puts.extend(records.finish(place, &mut meta));
        Target { place, wtxn: &mut *wtxn, journal: &mut journal }.complete(puts, rows, &meta)?;
        Ok(wtxn)
    }

    /// Allocates a slot: a free one in the tail, where reuse costs no more than appending; one in a
    /// block, while many are free; otherwise a new one.
    fn allocate(&mut self) -> Result<Slot> {
        if let Some(slot) = self.reusable()? {
            self.free.remove(self.place, self.wtxn, slot)?;
            self.meta.free = self.one_less(self.meta.free)?;
            return Ok(slot);
        }
        if self.meta.slots == u32::MAX - 1 {
            return Err(Error::IndexFull(self.place.index));
        }
        let slot = Slot(self.meta.slots);
        self.meta.slots += 1;
        Ok(slot)
    }

    fn reusable(&mut self) -> Result<Option<Slot>> {
        if self.meta.free == 0 {
            return Ok(None);
        }
        let tail = self.meta.tail_start();
        let slot = self.free.first_in(self.place, self.wtxn, tail, self.meta.slots)?;
        if slot.is_some() || self.meta.free.saturating_mul(REUSE_DIVISOR) < self.meta.slots {
            return Ok(slot);
        }
        // A sweep over the blocks, so that the free slots of a block are reused together and the
        // block is rewritten once for all of them.
        let from = self.meta.reuse_from.min(tail);
        let mut slot = self.free.first_in(self.place, self.wtxn, from, tail)?;
        if slot.is_none() {
            slot = self.free.first_in(self.place, self.wtxn, 0, from)?;
        }
        self.meta.reuse_from = slot.map_or(0, |slot| slot.0 + 1);
        Ok(slot)
    }

    /// Whether earlier edits of the transaction have rewritten so much that DELTA lists everything.
    pub(crate) fn has_written_much(&self) -> Result<bool> {
        Ok(written(self.place, self.wtxn)? == Delta::Everything)
    }
}
