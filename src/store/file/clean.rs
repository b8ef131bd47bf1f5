//! Cleans a finished copy: overwrites with zeros every byte of its pages that belongs to nothing,
//! and replaces keys of branches that are of no entry any more. What LMDB copies has both: it
//! reuses pages without clearing them, and leaves the key of a deleted entry in the branches above.
//!
//! After it, a byte of the file is one of LMDB's own records, one of a key or a value that is
//! there, or 0. O(pages of trees + values): of a large value only the last page is read. Values are
//! in `values`, the layout in `pages`.
//!
//! **Keys of branches.** A key separates two subtrees: it is above all keys of the left one, and
//! not above any of the right one. The shortest such key is the beginning of the first key of the
//! right subtree, up to the first byte in which it differs from the last key of the left one. Every
//! separator has at least this length, so it fits wherever another has been. Databases of other
//! programs whose keys have another order keep theirs.
//!
//! Invariant: the entries of all trees are the same before and after; a file that is damaged gives
//! an error.

use std::fs::File;
use std::path::Path;

use roaring::RoaringTreemap;

use super::pages::{
    BRANCH, Damage, FIXED, Header, IN_OVERFLOW, IS_DUPLICATES, IS_KNOWN, IS_TREE, LEAF, Meta,
    NO_PAGE, Node, OVERFLOW, PAGE_HEADER, PageFile, Tree, fixed_values, newest, nodes,
};
use crate::error::{Error, Result};
use crate::format::take_u64;

/// Maximum depth of a tree: the size of the stack in LMDB's cursors.
const MAX_DEPTH: usize = 32;
/// Bytes of a node before its key.
const NODE_HEADER: usize = 8;
const CUT_SHORT: Damage = "it is cut short";

/// Cleans a data file that nobody else has open.
///
/// # Errors
/// [`Error::DamagedFile`], and [`Error::Io`] of the file system.
pub(super) fn clean(file: &File, path: &Path) -> Result<()> {
    if !IS_KNOWN {
        return Ok(());
    }
    let file = PageFile { file, path };
    let damaged = |what: Damage| Error::DamagedFile { path: path.to_owned(), what: what.into() };
    let metas = file.metas()?.unwrap_or(Err(CUT_SHORT));
    let meta = newest(metas.map_err(damaged)?);
    let mut cleaner = Cleaner { file, meta, reached: RoaringTreemap::new() };
    cleaner.tree(meta.free, false)?;
    cleaner.tree(meta.main, meta.main.flags == 0)?;
    cleaner.unreached()
}

/// The first and the last key of a subtree.
type Ends = (Vec<u8>, Vec<u8>);

struct Cleaner<'f> {
    file: PageFile<'f>,
    meta: Meta,
    /// Pages that belong to something.
    reached: RoaringTreemap,
}

impl Cleaner<'_> {
    fn damaged(&self, what: Damage) -> Error {
        Error::DamagedFile { path: self.file.path.to_owned(), what: what.to_owned() }
    }

    /// Notes that pages belong to something, and that only once.
    fn reach(&mut self, first: u64, count: u64) -> Result<()> {
        let last = first.checked_add(count.max(1) - 1).filter(|last| *last <= self.meta.last_page);
        let last = last.ok_or_else(|| self.damaged(CUT_SHORT))?;
        if first < 2 || self.reached.range_cardinality(first..=last) > 0 {
            return Err(self.damaged("a page is in it twice"));
        }
        self.reached.insert_range(first..=last);
        Ok(())
    }

    fn at(&self, page: u64, skip: u64) -> u64 {
        // Does not overflow: pages have been reached, so that they are in the file.
        page * self.meta.page_bytes as u64 + skip
    }

    fn read(&self, at: u64, bytes: usize) -> Result<Vec<u8>> {
        let mut read = vec![0; bytes];
        if self.file.read(at, &mut read)? { Ok(read) } else { Err(self.damaged(CUT_SHORT)) }
    }

    fn tree(&mut self, tree: Tree, is_bytewise: bool) -> Result<()> {
        if tree.root == NO_PAGE {
            return Ok(());
        }
        self.subtree(tree.root, tree.key_bytes as usize, is_bytewise, 0).map(drop)
    }

    /// Cleans a page and all pages below it.
    fn subtree(
        &mut self,
        number: u64,
        value_bytes: usize,
        is_bytewise: bool,
        depth: usize,
    ) -> Result<Ends> {
        if depth > MAX_DEPTH {
            return Err(self.damaged("its trees are too deep"));
        }
        self.reach(number, 1)?;
        let start = self.at(number, 0);
        let stored = self.read(start, self.meta.page_bytes)?;
        let flags = Header::parse(&stored).map_or(0, |header| header.flags);
        let mut page = stored.clone();
        let ends = match flags {
            BRANCH => self.branch(&stored, &mut page, value_bytes, is_bytewise, depth)?,
            LEAF => self.leaf(&stored, &mut page)?,
            flags if flags == LEAF | FIXED => {
                clear_fixed(&mut page, value_bytes).map_err(|what| self.damaged(what))?;
                Ends::default()
            }
            _ => return Err(self.damaged("a page of a tree is neither a branch nor a leaf")),
        };
        if page != stored {
            self.file.write(start, &page)?;
        }
        Ok(ends)
    }

    fn branch(
        &mut self,
        stored: &[u8],
        page: &mut [u8],
        value_bytes: usize,
        is_bytewise: bool,
        depth: usize,
    ) -> Result<Ends> {
        let nodes = nodes(stored, true).map_err(|what| self.damaged(what))?;
        let mut children = Vec::with_capacity(nodes.len());
        for node in &nodes {
            children.push(self.subtree(node.child, value_bytes, is_bytewise, depth + 1)?);
        }
        if is_bytewise {
            let keys = children.windows(2).map(|pair| match pair {
                [left, right] => separator(&left.1, &right.0),
                _ => &[],
            });
            let keys: Vec<&[u8]> = std::iter::once(&[][..]).chain(keys).collect();
            let is_same = nodes.iter().zip(&keys).all(|(node, key)| node.key == *key);
            if !is_same {
                let written = write_branch(page, &nodes, &keys);
                written.ok_or_else(|| self.damaged("the keys of a branch are not in order"))?;
            }
        }
        clear_unused(page, true).map_err(|what| self.damaged(what))?;
        let first = children.first_mut().map(|(first, _)| std::mem::take(first));
        let last = children.pop().map(|(_, last)| last);
        Ok((first.unwrap_or_default(), last.unwrap_or_default()))
    }

    fn leaf(&mut self, stored: &[u8], page: &mut [u8]) -> Result<Ends> {
        const IS_TREE_OF_DUPLICATES: u16 = IS_TREE | IS_DUPLICATES;
        clear_unused(page, false).map_err(|what| self.damaged(what))?;
        let nodes = nodes(stored, false).map_err(|what| self.damaged(what))?;
        for node in &nodes {
            match node.flags {
                IN_OVERFLOW => self.run(node)?,
                IS_TREE | IS_TREE_OF_DUPLICATES => {
                    let tree = Tree::parse(node.data).ok_or_else(|| self.damaged(CUT_SHORT))?;
                    // The order of duplicates is a flag of the tree above.
                    let is_bytewise = node.flags == IS_TREE && tree.flags == 0;
                    self.tree(tree, is_bytewise)?;
                }
                IS_DUPLICATES => {
                    let start = node.data.as_ptr() as usize - stored.as_ptr() as usize;
                    let within = page.get_mut(start..start + node.data.len());
                    let within = within.ok_or_else(|| self.damaged(CUT_SHORT))?;
                    clear_sub_page(within).map_err(|what| self.damaged(what))?;
                }
                _ => {}
            }
        }
        let end = |node: Option<&Node<'_>>| node.map_or_else(Vec::new, |node| node.key.to_vec());
        Ok((end(nodes.first()), end(nodes.last())))
    }

    /// Clears what follows a value in its overflow run.
    fn run(&mut self, node: &Node<'_>) -> Result<()> {
        let first = take_u64(node.data, 0).unwrap_or(NO_PAGE);
        if first > self.meta.last_page {
            return Err(self.damaged(CUT_SHORT));
        }
        let header = self.read(self.at(first, 0), PAGE_HEADER)?;
        let header = Header::parse(&header).filter(|header| header.flags == OVERFLOW);
        let run = header.ok_or_else(|| self.damaged("it is no overflow run"))?.run();
        self.reach(first, run)?;
        let used = PAGE_HEADER as u64 + node.data_bytes;
        let rest = (run * self.meta.page_bytes as u64).checked_sub(used);
        let rest = rest.ok_or_else(|| self.damaged("a value is longer than its overflow run"))?;
        self.zero(self.at(first, used), rest)
    }

    /// Overwrites bytes with zeros, where they are none yet.
    fn zero(&self, mut at: u64, mut bytes: u64) -> Result<()> {
        while bytes > 0 {
            let length = bytes.min(self.meta.page_bytes as u64);
            let stored = self.read(at, length as usize)?;
            if stored.iter().any(|byte| *byte != 0) {
                self.file.write(at, &vec![0; stored.len()])?;
            }
            (at, bytes) = (at + length, bytes - length);
        }
        Ok(())
    }

    /// Clears the pages that belong to nothing.
    fn unreached(&self) -> Result<()> {
        let pages = self.meta.last_page + 1;
        if self.reached.len() + 2 == pages {
            return Ok(());
        }
        let mut all = RoaringTreemap::new();
        all.insert_range(2..pages);
        (all - &self.reached)
            .iter()
            .try_for_each(|page| self.zero(self.at(page, 0), self.meta.page_bytes as u64))
    }
}

/// The shortest key above `left` and not above `right`.
fn separator<'k>(left: &[u8], right: &'k [u8]) -> &'k [u8] {
    let common = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    right.get(..=common).unwrap_or(right)
}

/// Writes the nodes of a branch with other keys, none longer. `None` if they do not fit.
fn write_branch(page: &mut [u8], nodes: &[Node<'_>], keys: &[&[u8]]) -> Option<()> {
    let mut upper = page.len();
    for (at, (node, key)) in nodes.iter().zip(keys).enumerate() {
        upper = upper.checked_sub((NODE_HEADER + key.len()).next_multiple_of(2))?;
        let child = node.child.to_le_bytes();
        let length = u16::try_from(key.len()).ok()?.to_le_bytes();
        let written = page.get_mut(upper..upper + NODE_HEADER + key.len())?;
        written[..6].copy_from_slice(&child[..6]);
        written[6..NODE_HEADER].copy_from_slice(&length);
        written[NODE_HEADER..].copy_from_slice(key);
        let pointer = PAGE_HEADER + 2 * at;
        let place = u16::try_from(upper).ok()?.to_le_bytes();
        page.get_mut(pointer..pointer + 2)?.copy_from_slice(&place);
    }
    // The upper end of the free space.
    page[14..PAGE_HEADER].copy_from_slice(&u16::try_from(upper).ok()?.to_le_bytes());
    (PAGE_HEADER + 2 * nodes.len() <= upper).then_some(())
}

/// Clears the free space of a page of nodes, and the byte after each node of an odd length.
fn clear_unused(page: &mut [u8], is_branch: bool) -> Result<(), Damage> {
    let mut used = vec![false; page.len()];
    let header = PAGE_HEADER + 2 * nodes(page, is_branch)?.len();
    used.iter_mut().take(header).for_each(|used| *used = true);
    for node in nodes(page, is_branch)? {
        let key = node.key.as_ptr() as usize - page.as_ptr() as usize;
        let end = key + node.key.len() + node.data.len();
        let bytes = used.get_mut(key - NODE_HEADER..end).ok_or(CUT_SHORT)?;
        bytes.fill(true);
    }
    page.iter_mut().zip(used).filter(|(_, used)| !used).for_each(|(byte, _)| *byte = 0);
    Ok(())
}

/// Clears what follows the values of one length in a page.
fn clear_fixed(page: &mut [u8], value_bytes: usize) -> Result<(), Damage> {
    let used = PAGE_HEADER + fixed_values(page, value_bytes)?.len() * value_bytes;
    page.get_mut(used..).ok_or(CUT_SHORT)?.fill(0);
    Ok(())
}

/// Clears the free space of a page within a node.
fn clear_sub_page(page: &mut [u8]) -> Result<(), Damage> {
    let header = Header::parse(page).ok_or(CUT_SHORT)?;
    match header.flags & FIXED {
        0 => clear_unused(page, false),
        _ => clear_fixed(page, header.value_bytes.into()),
    }
}
