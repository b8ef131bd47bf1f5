//! The page layout of LMDB's data file: meta pages, tree pages and nodes, read without a memory
//! map.
//!
//! The layout is that of LMDB 0.9 (data version 1) on 64-bit little-endian machines: a page begins
//! with its number (8 bytes), a word for keys of one length, flags, and either the two ends of its
//! free space or, on the first page of an overflow run, the length of the run in pages. Nodes lie
//! from the end of a page downwards without gaps; an array of offsets, in key order, points to
//! them. Pages 0 and 1 are meta pages, which commits write alternately; each page after them is in
//! one tree or in the free list.
//!
//! Invariant: any bytes decode to these types, or to an error that says what is wrong; nothing is
//! read beyond the given bytes. Invariants between pages are in `walk`.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::error::{Error, Result};
use crate::format::{take_u16, take_u32, take_u64};

/// Whether the layout is known: that of 64-bit machines. Elsewhere nothing is verified.
pub(super) const IS_KNOWN: bool = cfg!(target_pointer_width = "64");
/// The magic number of data and lock files; in data files it follows the page header.
pub(super) const MAGIC: u32 = 0xBEEF_C0DE;
const DATA_VERSION: u32 = 1;
pub(super) const PAGE_HEADER: usize = 16;
/// Length of a meta page: header, magic, version, an address, map size, free list, main tree, last
/// page, commit id.
const META_BYTES: usize = PAGE_HEADER + 24 + 2 * TREE_BYTES + 16;
/// Length of a tree's record.
pub(super) const TREE_BYTES: usize = 48;
/// The root of an empty tree.
pub(super) const NO_PAGE: u64 = u64::MAX;
/// The largest page number: a branch has 6 bytes for one.
const MAX_PAGE: u64 = (1 << 48) - 1;
/// The page sizes that LMDB can be built for, in bytes.
const PAGE_SIZES: std::ops::RangeInclusive<usize> = 512..=32768;

/// Page flags.
pub(super) const BRANCH: u16 = 0x01;
pub(super) const LEAF: u16 = 0x02;
pub(super) const OVERFLOW: u16 = 0x04;
const META: u16 = 0x08;
/// Set in memory; on disk only in sub-pages.
pub(super) const DIRTY: u16 = 0x10;
/// A leaf of values of one length, without nodes.
pub(super) const FIXED: u16 = 0x20;
/// A sub-page: a page within a node.
pub(super) const SUB_PAGE: u16 = 0x40;

/// Node flags: the data is in an overflow run; it is the record of a tree; it is a sub-page or a
/// tree of duplicates.
pub(super) const IN_OVERFLOW: u16 = 0x01;
pub(super) const IS_TREE: u16 = 0x02;
pub(super) const IS_DUPLICATES: u16 = 0x04;

/// Tree flags.
pub(super) const REVERSE_KEYS: u16 = 0x02;
pub(super) const DUPLICATES: u16 = 0x04;
pub(super) const INTEGER_KEYS: u16 = 0x08;
pub(super) const FIXED_DUPLICATES: u16 = 0x10;
pub(super) const INTEGER_DUPLICATES: u16 = 0x20;
pub(super) const REVERSE_DUPLICATES: u16 = 0x40;

/// A description of what is wrong with some bytes.
pub(super) type Damage = &'static str;

/// A data file that is open for reading. Its file position is never moved, as LMDB's own handle may
/// share it.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageFile<'f> {
    pub(super) file: &'f File,
    pub(super) path: &'f Path,
}

impl PageFile<'_> {
    pub(super) fn bytes(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(self.failed())?.len())
    }

    /// Reads bytes at a position. `false` if the file is too short.
    pub(super) fn read(&self, at: u64, bytes: &mut [u8]) -> Result<bool> {
        match read_exact_at(self.file, bytes, at) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(self.failed()(error)),
        }
    }

    /// Writes bytes at a position.
    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        write_all_at(self.file, bytes, at).map_err(Error::io("write", self.path))
    }

    fn failed(&self) -> impl Fn(io::Error) -> Error + use<'_> {
        Error::io("read", self.path)
    }

    /// Both meta pages. `None` if the file is too short.
    pub(super) fn metas(&self) -> Result<Option<Result<[Meta; 2], Damage>>> {
        let mut page = [0; META_BYTES];
        if !self.read(0, &mut page)? {
            return Ok(None);
        }
        let first = match Meta::parse(&page) {
            Ok(first) => first,
            Err(what) => return Ok(Some(Err(what))),
        };
        if !self.read(first.page_bytes as u64, &mut page)? {
            return Ok(None);
        }
        Ok(Some(Meta::parse(&page).and_then(|second| {
            match first.page_bytes == second.page_bytes {
                true => Ok([first, second]),
                false => Err("the two meta pages have other page sizes"),
            }
        })))
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => (bytes, at) = (&mut bytes[read..], at + read as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(windows)]
fn write_all_at(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => (bytes, at) = (&bytes[written..], at + written as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(not(any(unix, windows)))]
fn write_all_at(_file: &File, _bytes: &[u8], _at: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(any(unix, windows)))]
fn read_exact_at(_file: &File, _bytes: &mut [u8], _at: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The record of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tree {
    /// The length of keys in bytes, if all have the same.
    pub(super) key_bytes: u32,
    pub(super) flags: u16,
    /// Number of levels; 0 if the tree is empty.
    pub(super) depth: u16,
    pub(super) branches: u64,
    pub(super) leaves: u64,
    pub(super) overflow: u64,
    pub(super) entries: u64,
    pub(super) root: u64,
}

impl Tree {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            key_bytes: take_u32(bytes, 0)?,
            flags: take_u16(bytes, 4)?,
            depth: take_u16(bytes, 6)?,
            branches: take_u64(bytes, 8)?,
            leaves: take_u64(bytes, 16)?,
            overflow: take_u64(bytes, 24)?,
            entries: take_u64(bytes, 32)?,
            root: take_u64(bytes, 40)?,
        })
    }
}

/// A meta page: the roots of the trees of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    /// The page number in its header.
    pub(super) number: u64,
    pub(super) page_bytes: usize,
    pub(super) free: Tree,
    pub(super) main: Tree,
    pub(super) last_page: u64,
    pub(super) commit: u64,
}

impl Meta {
    /// Decodes a meta page, and checks the values that LMDB relies on: with others it may divide by
    /// zero, or read at wrong addresses.
    fn parse(page: &[u8]) -> Result<Self, Damage> {
        const SHORT: Damage = "a meta page is too short";
        let word = |at| take_u32(page, PAGE_HEADER + at).ok_or(SHORT);
        let tree = |number| {
            page.get(PAGE_HEADER + 24 + number * TREE_BYTES..).and_then(Tree::parse).ok_or(SHORT)
        };
        let last = |at| take_u64(page, PAGE_HEADER + 24 + 2 * TREE_BYTES + at).ok_or(SHORT);
        if take_u16(page, 10).ok_or(SHORT)? & META == 0 || word(0)? != MAGIC {
            return Err("it does not begin as LMDB's files do, or a meta page is damaged");
        }
        if word(4)? != DATA_VERSION {
            return Err("a meta page has another version than 1, that of LMDB 0.9");
        }
        let (free, main) = (tree(0)?, tree(1)?);
        let page_bytes = free.key_bytes as usize;
        if !page_bytes.is_power_of_two() || !PAGE_SIZES.contains(&page_bytes) {
            return Err("a meta page has an impossible page size");
        }
        let others =
            REVERSE_KEYS | DUPLICATES | FIXED_DUPLICATES | INTEGER_DUPLICATES | REVERSE_DUPLICATES;
        if free.flags & INTEGER_KEYS == 0 || free.flags & others != 0 {
            return Err("a meta page has impossible flags of the free list");
        }
        let (last_page, commit) = (last(0)?, last(8)?);
        if !(1..=MAX_PAGE).contains(&last_page) {
            return Err("a meta page has an impossible number of pages");
        }
        Ok(Self {
            number: take_u64(page, 0).ok_or(SHORT)?,
            page_bytes,
            free,
            main,
            last_page,
            commit,
        })
    }

    /// Length in bytes of a file that has all its pages.
    pub(super) fn whole_bytes(&self) -> u64 {
        (self.last_page + 1) * self.page_bytes as u64
    }
}

/// The meta page that LMDB uses.
pub(super) fn newest(metas: [Meta; 2]) -> Meta {
    let [first, second] = metas;
    if first.commit < second.commit { second } else { first }
}

/// The header of a page other than a meta page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) number: u64,
    /// The length of values in bytes, on a sub-page with values of one length.
    pub(super) value_bytes: u16,
    pub(super) flags: u16,
    lower: u16,
    upper: u16,
}

impl Header {
    pub(super) fn parse(page: &[u8]) -> Option<Self> {
        Some(Self {
            number: take_u64(page, 0)?,
            value_bytes: take_u16(page, 8)?,
            flags: take_u16(page, 10)?,
            lower: take_u16(page, 12)?,
            upper: take_u16(page, 14)?,
        })
    }

    /// Length of an overflow run in pages.
    pub(super) fn run(&self) -> u64 {
        u64::from(self.lower) | u64::from(self.upper) << 16
    }

    /// Number of nodes or values.
    fn count(&self) -> Result<usize, Damage> {
        match usize::from(self.lower).checked_sub(PAGE_HEADER) {
            Some(bytes) if bytes.is_multiple_of(2) => Ok(bytes / 2),
            _ => Err("its lower end is impossible"),
        }
    }
}

/// A node of a branch or a leaf.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'p> {
    pub(super) key: &'p [u8],
    /// The bytes in the page: data, the number of an overflow run, or nothing in a branch.
    pub(super) data: &'p [u8],
    pub(super) flags: u16,
    /// The length of the data in bytes, wherever it is stored.
    pub(super) data_bytes: u64,
    /// The child page, in a branch.
    pub(super) child: u64,
}

/// Decodes the nodes of a branch or a leaf, in key order. `page` is a page or a sub-page.
pub(super) fn nodes(page: &[u8], is_branch: bool) -> Result<Vec<Node<'_>>, Damage> {
    let header = Header::parse(page).ok_or("it has no header")?;
    let count = header.count()?;
    let pointers =
        page.get(PAGE_HEADER..usize::from(header.lower)).ok_or("its lower end is beyond it")?;
    let mut nodes = Vec::with_capacity(count);
    let mut places = Vec::with_capacity(count);
    for pointer in pointers.as_chunks::<2>().0 {
        let start = usize::from(u16::from_le_bytes(*pointer));
        let (node, bytes) = node(page, start, is_branch).ok_or("a node reaches beyond it")?;
        nodes.push(node);
        places.push((start, start + bytes));
    }
    // They must fill the page without gaps, from the upper end of the free space.
    places.sort_unstable();
    let mut end = usize::from(header.upper);
    if header.upper < header.lower {
        return Err("its upper end is below its lower one");
    }
    for (start, next) in places {
        if start != end || !start.is_multiple_of(2) {
            return Err("its nodes overlap, or have gaps between them");
        }
        end = next;
    }
    if end != page.len() { Err("its nodes do not end where it does") } else { Ok(nodes) }
}

/// Decodes one node. Returns it and its length in bytes.
fn node(page: &[u8], start: usize, is_branch: bool) -> Option<(Node<'_>, usize)> {
    let bytes = page.get(start..)?;
    let [low, high, flags, key_bytes] =
        [take_u16(bytes, 0)?, take_u16(bytes, 2)?, take_u16(bytes, 4)?, take_u16(bytes, 6)?];
    let low = u64::from(low) | u64::from(high) << 16;
    let inline = match (is_branch, flags & IN_OVERFLOW != 0) {
        (true, _) => 0,
        (false, true) => 8,
        (false, false) => usize::try_from(low).ok()?,
    };
    let body = bytes.get(8..)?;
    let (key, rest) = body.split_at_checked(key_bytes.into())?;
    let data = rest.get(..inline)?;
    let taken = (8 + key.len() + data.len()).next_multiple_of(2);
    let node = match is_branch {
        true => Node { key, data, flags: 0, data_bytes: 0, child: low | u64::from(flags) << 32 },
        false => Node { key, data, flags, data_bytes: low, child: 0 },
    };
    Some((node, taken))
}

/// Decodes the values of a leaf of values of one length.
pub(super) fn fixed_values(page: &[u8], value_bytes: usize) -> Result<Vec<&[u8]>, Damage> {
    let header = Header::parse(page).ok_or("it has no header")?;
    let count = header.count()?;
    let values = count
        .checked_mul(value_bytes)
        .filter(|_| value_bytes > 0)
        .ok_or("its values have no length")?;
    let bytes = page
        .get(PAGE_HEADER..)
        .and_then(|body| body.get(..values))
        .ok_or("its values reach beyond it")?;
    // LMDB moves the lower end by two bytes per value, and the upper end by the rest of its length.
    if usize::from(header.upper) + values != page.len() + 2 * count {
        return Err("its two ends do not fit together");
    }
    Ok(bytes.chunks_exact(value_bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_nodes_or_an_error() {
        let mut random = 1u64;
        for round in 0..20_000u32 {
            let mut page = vec![0u8; 16 + (round % 97) as usize];
            for byte in &mut page {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                // Small numbers, which are the plausible ones.
                *byte = (random >> 60) as u8 * u8::from(random >> 40 & 3 == 0);
            }
            page[12] = 16 + (round % 8) as u8;
            page[14] = (round % 113) as u8;
            for is_branch in [true, false] {
                if let Ok(nodes) = nodes(&page, is_branch) {
                    assert!(
                        nodes
                            .iter()
                            .map(|node| 8 + node.key.len() + node.data.len())
                            .sum::<usize>()
                            <= page.len()
                    );
                }
            }
            if let Ok(values) = fixed_values(&page, (round % 5) as usize) {
                assert!(values.len() * (round as usize % 5) <= page.len());
            }
            assert!(Meta::parse(&page).is_err());
        }
    }
}
