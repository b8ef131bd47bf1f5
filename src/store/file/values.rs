//! Verifying a finished copy: every checksum of voisin's is verified in its file before the copy
//! gets its name, so that damage does not spread to backups.
//!
//! The copy is read, not the original, which may have changed since; page by page and without a
//! memory map, so that the caller's databases need not be opened, whatever they are. Of these only
//! leaf pages are read: an index is voisin's if its metadata says so, or if one of its first values
//! ends in its checksum. O(bytes of the copy), one page or value of memory.
//!
//! The page layout is in `pages`.

use std::fs::File;
use std::path::Path;

use super::pages::{
    BRANCH, Damage, Header, IN_OVERFLOW, IS_KNOWN, IS_TREE, LEAF, NO_PAGE, PAGE_HEADER, PageFile,
    Tree, newest, nodes,
};
use crate::error::{Error, Result};
use crate::format::checksum::{BROKEN, holds_under};
use crate::format::item_keys::{Naming, Row};
use crate::format::{Key, Kind, catalog, meta, take_u64};

/// Maximum depth of a tree.
const MAX_DEPTH: usize = 32;
/// An index belongs to another program if this many values are found, none with a checksum.
const TRIED: u32 = 8;

/// Verifies the checksums of all indexes in a data file that nobody else reads or writes.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::CorruptItemKey`], [`Error::CorruptCatalog`] for the first value
/// whose checksum does not match; [`Error::DamagedFile`], and [`Error::Io`] of the file system.
pub(super) fn verify(file: &File, path: &Path) -> Result<()> {
    if !IS_KNOWN {
        return Ok(());
    }
    let file = PageFile { file, path };
    let metas = file.metas()?.unwrap_or(Err(CUT_SHORT));
    let meta = newest(metas.map_err(|what| damaged(path, what))?);
    Pages { file, page_bytes: meta.page_bytes }.tree(meta.main.root, 0, &mut Verifier::default())
}

const CUT_SHORT: Damage = "it is cut short";

fn damaged(path: &Path, what: Damage) -> Error {
    Error::DamagedFile { path: path.to_owned(), what: what.to_owned() }
}

struct Pages<'f> {
    file: PageFile<'f>,
    page_bytes: usize,
}

impl Pages<'_> {
    fn damaged(&self, what: Damage) -> Error {
        damaged(self.file.path, what)
    }

    fn read(&self, page: u64, skip: usize, bytes: usize) -> Result<Vec<u8>> {
        let start = page
            .checked_mul(self.page_bytes as u64)
            .and_then(|start| start.checked_add(skip as u64));
        let start = start.ok_or(self.damaged(CUT_SHORT))?;
        if start.saturating_add(bytes as u64) > self.file.bytes()? {
            return Err(self.damaged(CUT_SHORT));
        }
        let mut read = vec![0; bytes];
        if self.file.read(start, &mut read)? { Ok(read) } else { Err(self.damaged(CUT_SHORT)) }
    }

    /// Verifies the values in a subtree, in key order. Each named database found there is verified
    /// with a state of its own.
    fn tree(&self, number: u64, depth: usize, verifier: &mut Verifier) -> Result<()> {
        if number == NO_PAGE {
            return Ok(());
        }
        if depth > MAX_DEPTH {
            return Err(self.damaged("its trees are too deep"));
        }
        let page = self.read(number, 0, self.page_bytes)?;
        let flags = Header::parse(&page).map_or(0, |header| header.flags);
        let kind = flags & (BRANCH | LEAF);
        if kind != BRANCH && kind != LEAF {
            return Err(self.damaged("a page of a tree is neither a branch nor a leaf"));
        }
        for node in nodes(&page, kind == BRANCH).map_err(|what| self.damaged(what))? {
            match (kind, node.flags) {
                (BRANCH, _) => self.tree(node.child, depth + 1, verifier)?,
                (_, 0) => verifier.see(node.key, node.data)?,
                // The value is in an overflow run, which is read only if it may be voisin's.
                (_, IN_OVERFLOW) if verifier.wants(node.key) => {
                    let first = take_u64(node.data, 0).ok_or(self.damaged(CUT_SHORT))?;
                    let bytes =
                        usize::try_from(node.data_bytes).map_err(|_| self.damaged(CUT_SHORT))?;
                    verifier.see(node.key, &self.read(first, PAGE_HEADER, bytes)?)?;
                }
                // Voisin's databases have no flags: bytewise key order, one value per key.
                (_, IS_TREE) => match Tree::parse(node.data) {
                    Some(tree) if tree.flags == 0 => {
                        self.tree(tree.root, 0, &mut Verifier::default())?
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        Ok(())
    }
}

/// The owner of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// Voisin: all checksums must match.
    Us,
    /// Unknown after this many values, of which none ends in a checksum.
    Unknown(u32),
    Others,
}

/// The state of verifying one database, whose values are visited in key order.
#[derive(Debug)]
struct Verifier {
    /// The first two bytes of the keys of the index, and its owner.
    index: Option<[u8; 2]>,
    owner: Owner,
    /// The first value whose checksum does not match.
    broken: Option<Vec<u8>>,
}

impl Default for Verifier {
    fn default() -> Self {
        Self { index: None, owner: Owner::Unknown(0), broken: None }
    }
}

impl Verifier {
    /// Whether the value under a key must be read.
    fn wants(&self, key: &[u8]) -> bool {
        self.owner != Owner::Others || self.index != key.first_chunk().copied()
    }

    fn see(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if let Some(name) = catalog::broken(key, value) {
            return Err(Error::CorruptCatalog { name, what: BROKEN });
        }
        let index = key.first_chunk().copied();
        if index != self.index {
            *self = Self { index, ..Self::default() };
        }
        let holds = match self.owner {
            Owner::Others => return Ok(()),
            _ => holds_under(key, value),
        };
        if !holds && self.broken.is_none() {
            self.broken = Some(key.to_vec());
        }
        let is_meta = key.get(2..) == Some(&[0; 6]);
        self.owner = match self.owner {
            _ if holds || is_meta && meta::is_ours(value) => Owner::Us,
            Owner::Unknown(TRIED) => Owner::Others,
            Owner::Unknown(tried) => Owner::Unknown(tried + 1),
            owner => owner,
        };
        match &self.broken {
            Some(key) if self.owner == Owner::Us => Err(broken(key)),
            _ => Ok(()),
        }
    }
}

/// The error for an LMDB key whose value has a wrong checksum.
fn broken(key: &[u8]) -> Error {
    if let Some(key) = Key::from_bytes(key).filter(|key| !key.kind.has_long_keys()) {
        return Error::corrupt(key, BROKEN);
    }
    let index = key.first_chunk().map_or(0, |index| u16::from_be_bytes(*index));
    if let (Some(Kind::FIELDS), Some(field)) = (Kind::of(key), key.get(3)) {
        return Error::corrupt(Key::new(index, Kind::FIELDS, *field, 0), BROKEN);
    }
    match Row::from_bytes(key) {
        Some(Row::IdOf8(key) | Row::Ids(key)) => {
            Error::CorruptItemKey { index, key: Naming::likely(key).show(key), what: BROKEN }
        }
        Some(Row::KeyOf8(id) | Row::Free(id) | Row::Keys(id)) => {
            Error::corrupt(Row::name_of(index, id), BROKEN)
        }
        None => Error::Foreign { index, what: "a key of it is not one of ours" },
    }
}
