//! META: the parameters of an index, and its counts. One value per index, rewritten by every commit
//! that changes the index.
//!
//! It has a head, and a *part* for each kind of values with metadata of its own: a new kind gets a
//! new part, which no other code reads. Version 8 has the same bytes, version 7 no `calibration`,
//! version 6 a shorter part for codes; `v5` reads version 5.

mod calibration;
mod v5;

use super::block::{Divisor, Geometry};
use super::checksum::Sound;
use super::item_keys::Naming;
use super::{Damage, Key, Kind, codes, take, take_u16, take_u32};
use crate::distance::MAX_NAME_BYTES;
use crate::error::{Error, Result};
use crate::types::{Calibration, Layer, Scale, Slot};

/// The first bytes of every META value.
pub(crate) const MAGIC: [u8; 8] = *b"voisin\x1a\n";
/// The format version that this library writes, and the newest that it reads.
pub(crate) const VERSION: u16 = 9;
/// The oldest version that it reads; rewritten values are of [`VERSION`].
const OLDEST: u16 = 5;
/// The first version with parts, in which DELTA belongs to the database, and META says how items
/// are named.
const WITH_PARTS: u16 = 6;
/// The first version with the training of codes and the bound of the norms.
const WITH_TRAINING: u16 = 7;
/// The first version with the calibration of searches.
const WITH_CALIBRATION: u16 = 8;
/// Length of the head.
const HEAD_BYTES: usize = 76;
/// Length of a part's header.
const PART_HEAD_BYTES: usize = 4;
/// Length of the parts of the vectors, of the codes, and of the graph without roots.
const VECTORS_BYTES: usize = 36;
const CODES_BYTES: usize = 36;
/// Length of the part of the codes in version 6, which ends before the training.
const CODES_BYTES_OF_6: usize = 8;
const GRAPH_BYTES: usize = 24;
/// Maximum number of layers. With M = 2 a top layer above 15 has a chance of 2^-16; the cap costs
/// nothing.
pub(crate) const MAX_LAYERS: usize = 16;
/// Maximum number of dimensions: three such vectors still fit in a block of 1 MiB.
pub(crate) const MAX_DIMENSIONS: usize = 65_535;
/// Maximum of M and M0. Offsets in a group are `u16`: with lists of this length a group is one
/// slot, of at most 21 KB.
pub(crate) const MAX_DEGREE: usize = 2048;
/// Target size of a LINKS group: a page, less LMDB's and our own headers.
const GROUP_TARGET_BYTES: usize = 4064;

/// Offset of the mark of an unfinished edit.
const MARK: usize = 10;

/// How much of an index an unfinished edit may have touched. Each stage includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Torn {
    /// Values of slots that META does not know, entries of free slots, and any of ID_SLOTS, or of a
    /// section that edits change early. Intact: sets, graph, and vector, code and SLOT_IDS entry of
    /// every slot that is not free.
    Items = 1,
    /// Graph and codes as well. Intact: the vectors, sets and SLOT_IDS entries.
    Derived = 2,
    /// Anything: no user code runs in this stage, but LMDB or the file system may fail.
    Lost = 3,
}

impl Torn {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Items, Self::Derived, Self::Lost].into_iter().find(|torn| *torn as u8 == byte)
    }
}

/// The maximum degrees of the graph, fixed by the first build of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connectivity {
    /// M: maximum degree above layer 0.
    pub(crate) m: u16,
    /// M0: maximum degree on layer 0.
    pub(crate) m0: u16,
    /// Number of slots in a LINKS group.
    pub(crate) links_group: u16,
}

impl Connectivity {
    /// `None` if lists of these lengths could not be encoded, or are too short for a graph.
    pub(crate) fn new(m: usize, m0: usize) -> Option<Self> {
        let possible = 2..=MAX_DEGREE;
        if !possible.contains(&m) || !possible.contains(&m0) {
            return None;
        }
        // The expected record of a node takes 36 bytes, and 2 for each of M0 edges: lists are two
        // thirds full, in two containers, and a fifth of the edges to the node is one-way.
        let links_group = (GROUP_TARGET_BYTES / (2 * m0 + 36)).clamp(1, 64) as u16;
        Some(Self { m: m as u16, m0: m0 as u16, links_group })
    }

    /// The divisor that maps a slot to its group and its place in the group.
    pub(crate) fn group(self) -> Divisor {
        Divisor::new(self.links_group.into())
    }

    /// The maximum degree on a layer.
    pub(crate) fn max_degree(&self, layer: Layer) -> usize {
        usize::from(if layer.0 == 0 { self.m0 } else { self.m })
    }
}

/// The training of the codes, as META knows it: what decides when to train again, and how far the
/// blocks of codes have followed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Training {
    /// The generation of the newest training, which is the `n` of its key. All codes are made with
    /// it, but those of the blocks in `older`.
    pub(crate) generation: u32,
    /// The number of items when the training was made, or judged to be good enough still. 0 if
    /// unknown.
    pub(crate) items: u32,
    /// Number of codes made since then.
    pub(crate) added: u32,
    /// The sum of their squared distances from the center.
    pub(crate) squares: f64,
    /// The blocks, from the first to before the second, whose codes are still of the generation
    /// before.
    pub(crate) older: [u32; 2],
}

impl Training {
    /// Whether any codes are of the generation before.
    pub(crate) fn has_older(&self) -> bool {
        self.older[0] < self.older[1]
    }

    /// Whether the codes of a block are of the generation before.
    pub(crate) fn is_older(&self, block: u32) -> bool {
        (self.older[0]..self.older[1]).contains(&block)
    }

    /// The generation of the codes of a block.
    pub(crate) fn generation_of(&self, block: u32) -> u32 {
        self.generation - u32::from(self.is_older(block))
    }

    fn is_possible(&self, blocks: u32) -> bool {
        let [from, to] = self.older;
        // There is always a next generation.
        self.generation < u32::MAX
            && (0.0..=f64::MAX).contains(&self.squares)
            && if self.has_older() {
                to <= blocks && self.generation > 0
            } else {
                [from, to] == [0, 0]
            }
    }
}

/// A decoded META value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Meta {
    /// The version that it was read from.
    pub(crate) version: u16,
    /// How items are named. Version 5 does not say it: [`Naming::Ids`] then.
    pub(crate) naming: Naming,
    pub(crate) metric: String,
    pub(crate) codec: u8,
    pub(crate) dimensions: u32,
    pub(crate) geometry: Geometry,
    /// Whether the index has a graph, or will have one after the first build. If not, no item is
    /// pending or removed.
    pub(crate) has_graph: bool,
    /// `None` until the first build.
    pub(crate) connectivity: Option<Connectivity>,
    pub(crate) ef_construction: u32,
    pub(crate) alpha: f32,
    pub(crate) slots: u32,
    pub(crate) sealed: u32,
    pub(crate) items: u32,
    pub(crate) pending: u32,
    pub(crate) removed: u32,
    pub(crate) free: u32,
    pub(crate) next_rank: u32,
    /// The slot from which free slots in blocks are reused next.
    pub(crate) reuse_from: u32,
    /// The requested bits per component of the codes; 0 for none.
    pub(crate) code_bits: u8,
    /// Whether the index has codes: every slot that is not free has one.
    pub(crate) is_coded: bool,
    pub(crate) training: Training,
    /// The growth of distances around a vector (see `docs/format.md`); 0 if unknown.
    pub(crate) growth: f32,
    /// The root of each layer, from layer 0 on. Empty if there is no graph.
    pub(crate) roots: Vec<Slot>,
    /// What is known of the recall of searches.
    pub(crate) calibration: Option<Calibration>,
    /// The scale of scalar quantization, where vectors are stored as `i8`.
    pub(crate) scale: Scale,
    /// Number of components clamped to the ends of the scale, in all vectors added since training.
    pub(crate) saturated: u64,
    /// An upper bound of the norms of all vectors, for metrics by inner products that do not
    /// normalize; 0 if unknown, or not needed.
    pub(crate) norm_bound: f32,
    /// The parts of all other kinds, ascending. Only the section of a kind knows its content.
    pub(crate) others: Vec<(Kind, Vec<u8>)>,
}

impl Meta {
    /// The entry point of a search: its layer and slot.
    pub(crate) fn entry(&self) -> Option<(Layer, Slot)> {
        Some((Layer(self.roots.len().checked_sub(1)? as u8), *self.roots.last()?))
    }

    /// The first slot of the tail.
    pub(crate) fn tail_start(&self) -> u32 {
        self.sealed * self.geometry.vectors
    }

    /// The block layout of the codes, if the index has codes.
    pub(crate) fn code_geometry(&self) -> Option<Geometry> {
        self.is_coded.then(|| codes::geometry(self.code_bits, self.dimensions))
    }

    /// Whether codes are requested and missing, and there are items to train them on: `least` or
    /// more.
    pub(crate) fn lacks_codes(&self, least: u64) -> bool {
        self.code_bits > 0 && !self.is_coded && u64::from(self.items) >= least.max(1)
    }

    /// Whether it was read from a version whose DELTA values lie in the key range of the index, and
    /// which does not say how items are named.
    pub(crate) fn is_without_parts(&self) -> bool {
        self.version < WITH_PARTS
    }

    /// Number of slots in the graph, removed ones included.
    pub(crate) fn linked(&self) -> u32 {
        if self.has_graph { self.slots - self.free - self.pending } else { 0 }
    }

    /// The maximum number of pending items that one round of linking links: `least`, or the number
    /// of linked slots if that is larger.
    pub(crate) fn round(&self, least: u64) -> u64 {
        least.max(self.linked().into())
    }

    /// The part of a kind that has no fields here.
    pub(crate) fn part(&self, kind: Kind) -> Option<&[u8]> {
        self.others.iter().find(|(other, _)| *other == kind).map(|(_, part)| &part[..])
    }

    /// Sets the part of a kind that has no fields here, or removes it.
    pub(crate) fn set_part(&mut self, kind: Kind, part: Option<Vec<u8>>) {
        self.others.retain(|(other, _)| *other != kind);
        self.others.extend(part.map(|part| (kind, part)));
        self.others.sort_unstable_by_key(|(kind, _)| *kind);
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        self.encode_version(VERSION)
    }

    fn encode_version(&self, version: u16) -> Vec<u8> {
        let (mut vectors, mut codes) = (self.vectors_part(), self.codes_part());
        if version < WITH_TRAINING {
            // The bound of the norms was reserved.
            vectors.truncate(VECTORS_BYTES - size_of::<f32>());
            vectors.resize(VECTORS_BYTES, 0);
            codes.truncate(CODES_BYTES_OF_6);
        }
        let mut parts = vec![(Kind::VECTORS, vectors)];
        parts.extend((self.code_bits > 0).then_some((Kind::CODES, codes)));
        let connectivity = self.connectivity;
        parts.extend(connectivity.map(|found| (Kind::LINKS, self.graph_part(found))));
        parts.extend((!self.has_graph).then_some((Kind::NO_GRAPH, Vec::new())));
        parts.extend(self.others.iter().cloned());
        parts.sort_unstable_by_key(|(kind, _)| *kind);

        let mut out = Vec::with_capacity(256);
        out.extend(MAGIC);
        out.extend(version.to_le_bytes());
        out.extend([0, self.naming as u8]);
        for value in [
            self.dimensions,
            self.slots,
            self.items,
            self.pending,
            self.removed,
            self.free,
            self.reuse_from,
        ] {
            out.extend(value.to_le_bytes());
        }
        out.extend(self.metric.bytes().take(MAX_NAME_BYTES));
        out.resize(72, 0);
        out.extend((parts.len() as u16).to_le_bytes());
        out.resize(HEAD_BYTES, 0);
        for (kind, part) in parts {
            out.extend([kind.byte(), 0]);
            out.extend((part.len() as u16).to_le_bytes());
            out.extend(part);
        }
        out
    }

    fn vectors_part(&self) -> Vec<u8> {
        let mut out = vec![self.codec, self.geometry.factor as u8, 0, 0];
        for value in [self.geometry.block_bytes as u32, self.geometry.vectors, self.sealed] {
            out.extend(value.to_le_bytes());
        }
        out.extend(self.scale.center.to_le_bytes());
        out.extend(self.scale.step.to_le_bytes());
        out.extend(self.saturated.to_le_bytes());
        out.extend(self.norm_bound.to_le_bytes());
        out
    }

    fn codes_part(&self) -> Vec<u8> {
        let Training { generation, items, added, squares, older } = self.training;
        let mut out = vec![self.code_bits, u8::from(self.is_coded), 0, 0];
        for value in [generation, items, added, older[0], older[1]] {
            out.extend(value.to_le_bytes());
        }
        out.resize(CODES_BYTES - size_of::<f64>(), 0);
        out.extend(squares.to_le_bytes());
        out
    }

    fn graph_part(&self, Connectivity { m, m0, links_group }: Connectivity) -> Vec<u8> {
        let mut out = Vec::with_capacity(GRAPH_BYTES + 4 * self.roots.len());
        for value in [m, m0, links_group, self.roots.len() as u16] {
            out.extend(value.to_le_bytes());
        }
        out.extend(self.ef_construction.to_le_bytes());
        out.extend(self.alpha.to_le_bytes());
        out.extend(self.next_rank.to_le_bytes());
        out.extend(self.growth.to_le_bytes());
        out.extend(self.roots.iter().flat_map(|root| root.0.to_le_bytes()));
        // That of a graph that is there no more is forgotten.
        if let Some(calibration) = self.calibration.as_ref().filter(|_| !self.roots.is_empty()) {
            calibration.encode(&mut out);
        }
        out
    }

    /// Encodes this META with the mark of an unfinished edit that began with it.
    pub(crate) fn encode_torn(&self, torn: Torn) -> Vec<u8> {
        let mut out = self.encode();
        out[MARK] = torn as u8;
        out
    }

    /// Decodes a META value: distinguishes foreign and newer values from damaged ones, verifies the
    /// checksum, and checks that the numbers are possible. A torn META is that from before the
    /// edit; its mark says how far the edit had come.
    pub(crate) fn decode(index: u16, value: &[u8]) -> Result<(Self, Option<Torn>)> {
        if take(value, 0) != Some(MAGIC) {
            return Err(Error::Foreign { index, what: "its metadata has another form" });
        }
        let corrupt = |what| Error::corrupt(Key::meta(index), what);
        // First, for every version: damage must not pass for another version.
        let sound = Sound::of(Key::meta(index), value)?;
        let found = take_u16(value, 8).ok_or(corrupt("it is cut short"))?;
        match found {
            WITH_PARTS..=VERSION => Self::decode_body(sound.body(), found).map_err(corrupt),
            OLDEST => v5::decode(sound.body()).map_err(corrupt),
            _ => Err(Error::FormatVersion { index, found, supported: VERSION }),
        }
    }

    fn decode_body(body: &[u8], version: u16) -> Result<(Self, Option<Torn>), Damage> {
        const SHORT: Damage = "it does not have the length that it says";
        if body.len() < HEAD_BYTES {
            return Err(SHORT);
        }
        let u32_at = |offset| take_u32(body, offset).unwrap_or_default();
        let mut meta = Self {
            version,
            naming: Naming::from_byte(body[11]).ok_or("what names its items is unknown")?,
            dimensions: u32_at(12),
            slots: u32_at(16),
            items: u32_at(20),
            pending: u32_at(24),
            removed: u32_at(28),
            free: u32_at(32),
            reuse_from: u32_at(36),
            ..Self::without_parts(metric_name(&body[40..72])?)
        };
        let (mut rest, mut has_vectors) = (&body[HEAD_BYTES..], false);
        for _ in 0..take_u16(body, 72).unwrap_or_default() {
            let (head, tail) = rest.split_at_checked(PART_HEAD_BYTES).ok_or(SHORT)?;
            let length = take_u16(head, 2).unwrap_or_default();
            let (part, tail) = tail.split_at_checked(length.into()).ok_or(SHORT)?;
            match Kind::new(head[0]) {
                Kind::VECTORS => {
                    meta.decode_vectors(part)?;
                    has_vectors = true;
                }
                Kind::CODES => meta.decode_codes(part, version)?,
                Kind::LINKS => meta.decode_graph(part, version)?,
                Kind::NO_GRAPH if part.is_empty() => meta.has_graph = false,
                kind => meta.others.push((kind, part.to_vec())),
            }
            rest = tail;
        }
        if !rest.is_empty() || !has_vectors {
            return Err(SHORT);
        }
        meta.possible()?;
        let torn = Torn::from_byte(body[MARK]);
        let mut encoded = meta.encode_version(version);
        encoded[MARK] = torn.map_or(0, |torn| torn as u8);
        if encoded == body {
            Ok((meta, torn))
        } else {
            Err("a reserved byte of it is not zero, or its parts do not ascend")
        }
    }

    /// An index without items and parts.
    fn without_parts(metric: String) -> Self {
        Self {
            version: VERSION,
            naming: Naming::Ids,
            metric,
            codec: 0,
            dimensions: 0,
            geometry: Geometry::new(1, false),
            has_graph: true,
            connectivity: None,
            ef_construction: 0,
            alpha: 0.0,
            slots: 0,
            sealed: 0,
            items: 0,
            pending: 0,
            removed: 0,
            free: 0,
            next_rank: 0,
            reuse_from: 0,
            code_bits: 0,
            is_coded: false,
            training: Training::default(),
            growth: 0.0,
            roots: Vec::new(),
            calibration: None,
            scale: Scale::NONE,
            saturated: 0,
            norm_bound: 0.0,
            others: Vec::new(),
        }
    }

    /// An index without items.
    pub(crate) fn new(
        metric: String,
        codec: u8,
        dimensions: u32,
        geometry: Geometry,
        naming: Naming,
    ) -> Self {
        Self { codec, dimensions, geometry, naming, ..Self::without_parts(metric) }
    }

    fn decode_vectors(&mut self, part: &[u8]) -> Result<(), Damage> {
        let part: &[u8; VECTORS_BYTES] =
            part.try_into().map_err(|_| "what it says of vectors is too short or too long")?;
        let u32_at = |offset| take_u32(part, offset).unwrap_or_default();
        (self.codec, self.sealed) = (part[0], u32_at(12));
        self.geometry = geometry(self.codec, self.dimensions, part[1].into())?;
        if u32_at(4) as usize != self.geometry.block_bytes || u32_at(8) != self.geometry.vectors {
            return Err("its block geometry is not that of its dimensions");
        }
        let [center, step] = [16, 20].map(|offset| f32::from_bits(u32_at(offset)));
        self.scale = Scale { center, step };
        self.saturated = take(part, 24).map_or(0, u64::from_le_bytes);
        self.norm_bound = f32::from_bits(u32_at(32));
        Ok(())
    }

    fn decode_codes(&mut self, part: &[u8], version: u16) -> Result<(), Damage> {
        let length = if version < WITH_TRAINING { CODES_BYTES_OF_6 } else { CODES_BYTES };
        if part.len() != length {
            return Err("what it says of codes is too short or too long");
        }
        (self.code_bits, self.is_coded) = (part[0], part[1] == 1);
        let u32_at = |offset| take_u32(part, offset).unwrap_or_default();
        self.training = Training {
            generation: u32_at(4),
            items: u32_at(8),
            added: u32_at(12),
            older: [u32_at(16), u32_at(20)],
            squares: take(part, 28).map_or(0.0, f64::from_le_bytes),
        };
        Ok(())
    }

    fn decode_graph(&mut self, part: &[u8], version: u16) -> Result<(), Damage> {
        const LENGTH: Damage = "what it says of the graph is too short or too long";
        let (head, roots) = part.split_at_checked(GRAPH_BYTES).ok_or(LENGTH)?;
        let u16_at = |offset| take_u16(head, offset).unwrap_or_default();
        let u32_at = |offset| take_u32(head, offset).unwrap_or_default();
        let layers = usize::from(u16_at(6));
        let (roots, calibration) = roots.split_at_checked(4 * layers).ok_or(LENGTH)?;
        if version < WITH_CALIBRATION && !calibration.is_empty() {
            return Err(LENGTH);
        }
        self.calibration = Calibration::decode(calibration)?;
        let (roots, _) = roots.as_chunks::<4>();
        let connectivity = Connectivity::new(u16_at(0).into(), u16_at(2).into());
        self.connectivity = connectivity.filter(|found| found.links_group == u16_at(4));
        if self.connectivity.is_none() || layers > MAX_LAYERS {
            return Err(CONNECTIVITY);
        }
        (self.ef_construction, self.alpha) = (u32_at(8), f32::from_bits(u32_at(12)));
        (self.next_rank, self.growth) = (u32_at(16), f32::from_bits(u32_at(20)));
        self.roots = roots.iter().map(|root| Slot(u32::from_le_bytes(*root))).collect();
        Ok(())
    }

    fn possible(&self) -> Result<(), Damage> {
        if self.dimensions == 0 || self.dimensions as usize > MAX_DIMENSIONS {
            return Err("its number of dimensions is impossible");
        }
        let [slots, pending, removed, free] =
            [self.slots, self.pending, self.removed, self.free].map(u64::from);
        if self.slots == u32::MAX || pending + free > slots || removed > slots - pending - free {
            return Err("its sets are larger than its slots");
        }
        if u64::from(self.items) != slots - free - removed {
            return Err("its number of items does not follow from its sets");
        }
        if u64::from(self.sealed) != slots / u64::from(self.geometry.vectors) {
            return Err("its number of blocks does not follow from its slots");
        }
        if self.code_bits != 0 && !codes::is_possible(self.code_bits)
            || self.is_coded && self.code_bits == 0
        {
            return Err("the bits of its codes are impossible");
        }
        let blocks = self.code_geometry().map_or(0, |geometry| self.slots / geometry.vectors);
        if !self.training.is_possible(blocks) {
            return Err("the training of its codes is impossible");
        }
        if !(0.0..=f32::MAX).contains(&self.norm_bound) {
            return Err("the bound of its norms is not a number that it can be");
        }
        if !(0.0..=f32::MAX).contains(&self.growth) {
            return Err("the growth of its distances is not a number that it can be");
        }
        if self.reuse_from > self.slots {
            return Err("it would reuse slots beyond all");
        }
        if self.roots.iter().any(|root| root.0 >= self.slots) {
            return Err("a root is not one of its slots");
        }
        let is_trained = self.scale.to_bits() != Scale::NONE.to_bits();
        if is_trained && (self.codec != I8 || !self.scale.is_possible()) {
            return Err("its scale is impossible");
        }
        if !is_trained && (self.saturated > 0 || self.codec == I8 && slots > free) {
            return Err("it has vectors and no scale, or counts what was beyond the ends of none");
        }
        if self.roots.is_empty() != (self.linked() == 0) {
            return Err("it has linked slots and no root, or a root and no linked slots");
        }
        if !self.has_graph && (self.pending > 0 || self.removed > 0 || self.connectivity.is_some())
        {
            return Err("it has no graph, and what only a graph has");
        }
        if self.calibration.is_some() && self.roots.is_empty() {
            return Err("it has the recall of searches and no graph");
        }
        Ok(())
    }
}

const CONNECTIVITY: Damage = "its connectivity or number of layers is impossible";

/// The name of a metric, without its padding of zeros.
fn metric_name(bytes: &[u8]) -> Result<String, Damage> {
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    std::str::from_utf8(name).map(str::to_owned).map_err(|_| "the name of its metric is not UTF-8")
}

/// The block layout of vectors.
fn geometry(codec: u8, dimensions: u32, factor: usize) -> Result<Geometry, Damage> {
    if dimensions == 0 || dimensions as usize > MAX_DIMENSIONS {
        return Err("its number of dimensions is impossible");
    }
    let stride = stride(codec, dimensions as usize).ok_or("its codec is unknown")?;
    match factor {
        0 => Ok(Geometry::new(stride, false)),
        4 => Ok(Geometry::new(stride, true)),
        _ => Err("the length of its factors is impossible"),
    }
}

/// Whether a value begins like META values of any version.
pub(crate) fn is_ours(value: &[u8]) -> bool {
    value.starts_with(&MAGIC)
}

/// The codec whose vectors need a scale.
const I8: u8 = 5;

/// Bytes of a stored vector. `None` for an unknown codec.
fn stride(codec: u8, dimensions: usize) -> Option<usize> {
    match codec {
        1 => Some(4 * dimensions),
        2 | 6 => Some(8 * dimensions.div_ceil(64)),
        3 | 4 => Some(2 * dimensions),
        I8 => Some(dimensions),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Curve, Point};

    fn meta() -> Meta {
        Meta {
            version: VERSION,
            naming: Naming::U64,
            metric: "cosine".into(),
            codec: 1,
            dimensions: 384,
            geometry: Geometry::new(1536, true),
            has_graph: true,
            connectivity: Connectivity::new(16, 32),
            ef_construction: 200,
            alpha: 1.1,
            slots: 1000,
            sealed: 1000 / 21,
            items: 980,
            pending: 5,
            removed: 7,
            free: 13,
            next_rank: 2000,
            reuse_from: 17,
            code_bits: 4,
            is_coded: true,
            training: Training {
                generation: 3,
                items: 900,
                added: 80,
                squares: 1e9,
                older: [2, 5],
            },
            growth: 0.1,
            roots: vec![Slot(3), Slot(3), Slot(9)],
            calibration: Some(Calibration {
                items: 900,
                queries: 256,
                curves: vec![Curve { k: 10, points: vec![Point { ef: 40, recall: 0.97 }] }],
            }),
            scale: Scale::NONE,
            saturated: 0,
            norm_bound: 7.5,
            others: vec![(Kind::new(200), vec![1, 2, 3]), (Kind::new(201), vec![])],
        }
    }

    fn decode_marked(body: &[u8]) -> Result<(Meta, Option<Torn>)> {
        let mut value = body.to_vec();
        super::super::checksum::seal(Key::meta(7), &mut value);
        Meta::decode(7, &value)
    }

    fn decode(body: &[u8]) -> Result<Meta> {
        decode_marked(body).map(|(meta, torn)| {
            assert_eq!(torn, None);
            meta
        })
    }

    #[test]
    fn what_is_encoded_comes_back() {
        let built = meta();
        assert_eq!(decode(&built.encode()).unwrap(), built);
        let fresh = Meta {
            connectivity: None,
            ef_construction: 0,
            alpha: 0.0,
            next_rank: 0,
            growth: 0.0,
            roots: vec![],
            calibration: None,
            pending: 980,
            removed: 0,
            free: 20,
            code_bits: 0,
            is_coded: false,
            training: Training::default(),
            others: vec![],
            ..meta()
        };
        assert_eq!(decode(&fresh.encode()).unwrap(), fresh);
        let flat = Meta { has_graph: false, pending: 0, items: 987, free: 13, ..fresh };
        assert_eq!(decode(&flat.encode()).unwrap(), flat);
        let none = [
            Meta { pending: 1, free: 12, ..flat.clone() },
            Meta { removed: 1, items: 986, ..flat.clone() },
            Meta { connectivity: Connectivity::new(16, 32), ..flat },
        ];
        assert!(none.iter().all(|meta| decode(&meta.encode()).is_err()));
        let (geometry, scale) = (Geometry::new(384, true), Scale::between(-0.5, 0.25).unwrap());
        let bytes = Meta {
            codec: 5,
            geometry,
            sealed: 1000 / geometry.vectors,
            scale,
            saturated: 1 << 40,
            ..meta()
        };
        assert_eq!(decode(&bytes.encode()).unwrap(), bytes);
        let untrained = Meta { scale: Scale::NONE, saturated: 0, ..bytes.clone() };
        assert!(decode(&untrained.encode()).is_err(), "vectors without a scale");
        for step in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e38, 0.1] {
            let meta = Meta { scale: Scale { step, ..scale }, ..bytes.clone() };
            assert!(decode(&meta.encode()).is_err(), "a step of {step}");
        }
    }

    #[test]
    fn foreign_newer_and_damaged_values_are_told_apart() {
        let body = meta().encode();
        assert!(matches!(decode(b"cosine\0and so on"), Err(Error::Foreign { index: 7, .. })));
        let mut newer = body.clone();
        newer[8] = VERSION as u8 + 1;
        assert!(matches!(
            decode(&newer),
            Err(Error::FormatVersion { found, supported: VERSION, .. }) if found == VERSION + 1,
        ));
        newer[8] = 1;
        let Err(older) = decode(&newer) else { panic!("version 1 was read") };
        assert!(
            older.to_string().contains("version 1") && older.to_string().contains("add its items"),
            "{older}"
        );
        // From the version on: in a shorter value, its bytes are part of the checksum.
        for end in 10..body.len() {
            let cut = decode(&body[..end]);
            assert!(matches!(cut, Err(Error::Corrupt { .. })), "{end}");
        }
        let mut longer = body.clone();
        longer.push(0);
        assert!(matches!(decode(&longer), Err(Error::Corrupt { .. })));
        // Kinds that do not ascend: the last two parts, of 4 + 3 and 4 bytes, are swapped.
        let mut damaged = body.clone();
        let first = damaged.len() - 11;
        damaged[first..].rotate_left(7);
        assert!(matches!(decode(&damaged), Err(Error::Corrupt { .. })));
        for reserved in [71, 74, 75, 77, 82, 83, 117, 122, 123, 144, 147] {
            let mut damaged = body.clone();
            damaged[reserved] = 1;
            assert!(matches!(decode(&damaged), Err(Error::Corrupt { .. })), "{reserved}");
        }
    }

    #[test]
    fn version_6_is_read_without_a_training_and_written_as_the_current_version() {
        let (training, norm_bound, calibration) = (Training::default(), 0.0, None);
        let built = Meta { training, norm_bound, calibration, ..meta() };
        let body = built.encode_version(6);
        let read = decode(&body).unwrap();
        assert_eq!(read, Meta { version: 6, ..built.clone() });
        assert_eq!(decode(&read.encode()).unwrap(), built);
        let mut damaged = body;
        damaged[112] = 1;
        assert!(decode(&damaged).is_err(), "a bound of the norms");
    }

    #[test]
    fn version_7_is_read_without_a_calibration_and_has_none() {
        let built = Meta { calibration: None, ..meta() };
        let read = decode(&built.encode_version(7)).unwrap();
        assert_eq!(read, Meta { version: 7, ..built.clone() });
        assert_eq!(decode(&read.encode()).unwrap(), built);
        assert!(decode(&meta().encode_version(7)).is_err(), "a calibration");
    }

    #[test]
    fn a_training_that_cannot_be_is_refused() {
        let possible = meta().training;
        for training in [
            Training { generation: u32::MAX, ..possible },
            Training { generation: 0, ..possible },
            Training { squares: f64::NAN, ..possible },
            Training { squares: -1.0, ..possible },
            Training { older: [2, 1000], ..possible },
            Training { older: [5, 2], ..possible },
        ] {
            assert!(decode(&Meta { training, ..meta() }.encode()).is_err(), "{training:?}");
        }
    }

    #[test]
    fn a_mark_changes_one_byte_and_comes_back_with_the_meta_before_the_edit() {
        let built = meta();
        let mut marks = Vec::new();
        for torn in [Torn::Items, Torn::Derived, Torn::Lost] {
            let body = built.encode_torn(torn);
            assert_eq!(decode_marked(&body).unwrap(), (built.clone(), Some(torn)));
            let differs: Vec<usize> =
                (0..body.len()).filter(|at| body[*at] != built.encode()[*at]).collect();
            assert_eq!(differs, [MARK]);
            marks.push(body[MARK]);
        }
        for other in (1..=255).filter(|byte| !marks.contains(byte)) {
            let mut damaged = built.encode();
            damaged[MARK] = other;
            assert!(matches!(decode(&damaged), Err(Error::Corrupt { .. })), "{other}");
        }
    }

    #[test]
    fn no_byte_can_make_decoding_panic() {
        let body = meta().encode();
        for at in 0..body.len() {
            for byte in [0, 1, 127, 255] {
                let mut damaged = body.clone();
                damaged[at] = byte;
                let _ = decode_marked(&damaged);
            }
        }
    }
}
