//! Traversal of all pages of one commit of an LMDB file by plain reads. Verifies that the trees,
//! the overflow runs and the free list match their records, and that each page belongs to exactly
//! one of them.
//!
//! LMDB trusts its pages. A page number beyond the map ends the process, and a cycle makes a copy
//! endless; so a file that is not trusted is traversed first. Of an overflow run only the header is
//! read: O(pages of trees), 4 kB for each, and about 2 bits of memory per page.
//!
//! Invariant: the traversal of any file terminates. No page is entered twice, nor deeper than the
//! depth of its tree, and no memory is allocated for more than the file holds.

use std::cmp::Ordering;

use roaring::RoaringTreemap;

use super::findings::{Findings, PageInvariant};
use super::order::Order;
use super::pages::{
    BRANCH, DIRTY, DUPLICATES, Damage, FIXED, FIXED_DUPLICATES, Header, IN_OVERFLOW, INTEGER_KEYS,
    IS_DUPLICATES, IS_TREE, LEAF, Meta, NO_PAGE, Node, OVERFLOW, PAGE_HEADER, PageFile, SUB_PAGE,
    TREE_BYTES, Tree, fixed_values, nodes,
};
use crate::error::Result;
use crate::format::take_u64;

/// Maximum depth of a tree: the size of the stack in LMDB's cursors.
const MAX_DEPTH: u16 = 32;

/// The purpose of a tree, which determines its allowed content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The free list.
    Free,
    /// The unnamed database, with the records of the named ones.
    Main,
    Named,
    /// The values of one key.
    Duplicates,
}

/// The tree that is being traversed.
pub(super) struct Walked<'a> {
    purpose: Purpose,
    pub(super) name: &'a str,
    flags: u16,
    order: Order,
    /// The length of values in bytes, if all have the same.
    value_bytes: usize,
}

/// The bounds of the keys in a subtree: not below the first, and below the second.
type Bounds<'k> = (Option<&'k [u8]>, Option<&'k [u8]>);

/// Counts of a tree's pages and entries.
#[derive(Debug, Default)]
pub(super) struct Tally {
    branches: u64,
    leaves: u64,
    overflow: u64,
    entries: u64,
    /// Incomplete: damage or the budget has cut the traversal short.
    is_partial: bool,
}

/// A traversal: see the module.
pub(super) struct Walk<'a> {
    pub(super) file: PageFile<'a>,
    pub(super) meta: Meta,
    file_bytes: u64,
    /// Pages in trees.
    pub(super) used: RoaringTreemap,
    /// Pages in the free list.
    pub(super) free: RoaringTreemap,
    /// Number of pages that may still be read. At 0 the traversal skips the rest.
    budget: u64,
    pub(super) findings: Findings,
}

impl<'a> Walk<'a> {
    pub(super) fn new(file: PageFile<'a>, meta: Meta) -> Result<Self> {
        let (used, free) = (RoaringTreemap::new(), RoaringTreemap::new());
        Ok(Self {
            file_bytes: file.bytes()?,
            file,
            meta,
            used,
            free,
            budget: u64::MAX,
            findings: Findings::default(),
        })
    }

    /// A traversal that stops, without a finding, after reading this many pages.
    pub(super) fn with_budget(self, budget: u64) -> Self {
        Self { budget, ..self }
    }

    /// Takes a page from the budget. `false` if it is exhausted.
    fn spend(&mut self, tally: &mut Tally) -> bool {
        let is_left = self.budget > 0;
        self.budget = self.budget.saturating_sub(1);
        tally.is_partial |= !is_left;
        is_left
    }

    /// Traverses the free list only.
    pub(super) fn free_list(&mut self) -> Result<()> {
        let tree = self.meta.free;
        let walked = Walked {
            purpose: Purpose::Free,
            name: "the free list",
            flags: tree.flags,
            order: Order::Integers,
            value_bytes: 0,
        };
        self.tree(&tree, &walked)
    }

    /// Traverses everything.
    pub(super) fn all(&mut self) -> Result<()> {
        self.free_list()?;
        let tree = self.meta.main;
        let order = Order::of_keys(tree.flags);
        self.tree(
            &tree,
            &Walked {
                purpose: Purpose::Main,
                name: "the main tree",
                flags: tree.flags,
                order,
                value_bytes: 0,
            },
        )?;
        let lost = (self.meta.last_page - 1).saturating_sub(self.used.len() + self.free.len());
        // With damage or an exhausted budget, pages that were not reached do not count as lost.
        if lost > 0 && self.findings.is_empty() && self.budget > 0 {
            self.findings
                .add(PageInvariant::Lost, format!("{lost} pages are in no tree and not free"));
        }
        Ok(())
    }

    /// Marks pages as those of a tree, or as free. `false` if that is impossible.
    pub(super) fn enter(&mut self, first: u64, count: u64, is_free: bool, name: &str) -> bool {
        let last = first.saturating_add(count - 1);
        if first < 2 || last > self.meta.last_page {
            let what = format!("{name} has page {last} of {}", self.meta.last_page + 1);
            self.findings.add(PageInvariant::Once, what);
            return false;
        }
        if self.used.range_cardinality(first..=last) + self.free.range_cardinality(first..=last) > 0
        {
            self.findings.add(
                PageInvariant::Once,
                format!(
                    "{name} has page {first}, or one of {count} \
                    from there, which something else has, too"
                ),
            );
            return false;
        }
        let pages = if is_free { &mut self.free } else { &mut self.used };
        pages.insert_range(first..=last);
        true
    }

    /// Marks pages of a tree that must be in the file.
    fn enter_stored(&mut self, first: u64, count: u64, name: &str) -> bool {
        let end =
            first.checked_add(count).and_then(|end| end.checked_mul(self.meta.page_bytes as u64));
        if end.is_none_or(|end| end > self.file_bytes)
            && first.saturating_add(count - 1) <= self.meta.last_page
        {
            let what = format!(
                "{name} has page {first}, or one of {count} from there, beyond the end of the file"
            );
            self.findings.add(PageInvariant::Length, what);
            return false;
        }
        self.enter(first, count, false, name)
    }

    /// Reads the beginning of a page, as much as `bytes` holds, and checks the page number in its
    /// header.
    fn read(&mut self, number: u64, bytes: &mut [u8], name: &str) -> Result<Option<Header>> {
        // Does not overflow: the page has been entered.
        let is_read = self.file.read(number * self.meta.page_bytes as u64, bytes)?;
        let Some(header) = is_read.then(|| Header::parse(bytes)).flatten() else {
            self.findings.add(
                PageInvariant::Length,
                format!("page {number} of {name} lies beyond the end of the file"),
            );
            return Ok(None);
        };
        if header.number != number {
            let what = format!("page {number} of {name} says that it is page {}", header.number);
            self.findings.add(PageInvariant::Header, what);
            return Ok(None);
        }
        Ok(Some(header))
    }

    /// Reports damage of a page. The traversal continues elsewhere.
    pub(super) fn damaged(
        &mut self,
        number: u64,
        what: Damage,
        walked: &Walked<'_>,
        tally: &mut Tally,
    ) -> Result<()> {
        tally.is_partial = true;
        self.findings
            .add(PageInvariant::Layout, format!("page {number} of {}: {what}", walked.name));
        Ok(())
    }

    fn tree(&mut self, tree: &Tree, walked: &Walked<'_>) -> Result<()> {
        let mut tally = Tally::default();
        let is_empty = tree.root == NO_PAGE;
        if is_empty != (tree.depth == 0) || tree.depth > MAX_DEPTH {
            let what = format!("{} cannot have {} levels", walked.name, tree.depth);
            self.findings.add(PageInvariant::Layout, what);
            return Ok(());
        }
        if !is_empty {
            self.subtree(tree.root, tree.depth, (None, None), walked, &mut tally)?;
        }
        let counts = |a: u64, b: u64, c: u64, d: u64| {
            format!("{a} branches, {b} leaves, {c} overflow pages and {d} entries")
        };
        let Tally { branches, leaves, overflow, entries, is_partial } = tally;
        if !is_partial
            && (branches, leaves, overflow, entries)
                != (tree.branches, tree.leaves, tree.overflow, tree.entries)
        {
            let found = counts(branches, leaves, overflow, entries);
            let said = counts(tree.branches, tree.leaves, tree.overflow, tree.entries);
            self.findings.add(
                PageInvariant::Counts,
                format!("{} has {found}, and its record says {said}", walked.name),
            );
        }
        Ok(())
    }

    /// Traverses a page and all pages below it; `depth` is the number of levels.
    fn subtree(
        &mut self,
        number: u64,
        depth: u16,
        bounds: Bounds<'_>,
        walked: &Walked<'_>,
        tally: &mut Tally,
    ) -> Result<()> {
        if !self.spend(tally) {
            return Ok(());
        }
        if !self.enter_stored(number, 1, walked.name) {
            tally.is_partial = true;
            return Ok(());
        }
        let mut page = vec![0; self.meta.page_bytes];
        let Some(header) = self.read(number, &mut page, walked.name)? else {
            tally.is_partial = true;
            return Ok(());
        };
        match (header.flags, depth) {
            (BRANCH, 2..) => self.branch(number, &page, depth, bounds, walked, tally),
            (LEAF, 1) if walked.value_bytes == 0 => match nodes(&page, false) {
                Ok(nodes) => {
                    tally.leaves += 1;
                    self.leaf(number, &nodes, bounds, walked, tally)
                }
                Err(what) => self.damaged(number, what, walked, tally),
            },
            (flags, 1) if flags == LEAF | FIXED && walked.value_bytes > 0 => {
                match fixed_values(&page, walked.value_bytes) {
                    Ok(values) => {
                        tally.leaves += 1;
                        tally.entries += values.len() as u64;
                        self.ordered(number, values.iter().copied(), bounds, walked);
                        Ok(())
                    }
                    Err(what) => self.damaged(number, what, walked, tally),
                }
            }
            _ => self.damaged(
                number,
                "it is of another kind than a page at this level",
                walked,
                tally,
            ),
        }
    }

    fn branch(
        &mut self,
        number: u64,
        page: &[u8],
        depth: u16,
        (low, high): Bounds<'_>,
        walked: &Walked<'_>,
        tally: &mut Tally,
    ) -> Result<()> {
        let nodes = match nodes(page, true) {
            Ok(nodes) if !nodes.is_empty() => nodes,
            Ok(_) => return self.damaged(number, "it has no nodes", walked, tally),
            Err(what) => return self.damaged(number, what, walked, tally),
        };
        tally.branches += 1;
        // The first key is empty: its subtree has the lower bound of this page.
        let separators = || nodes.iter().skip(1).map(|node| node.key);
        self.ordered(number, separators(), (low, high), walked);
        let lows = std::iter::once(low).chain(separators().map(Some));
        let highs = separators().map(Some).chain(std::iter::once(high));
        for ((node, low), high) in nodes.iter().zip(lows).zip(highs) {
            self.subtree(node.child, depth - 1, (low, high), walked, tally)?;
        }
        Ok(())
    }

    /// Checks that keys ascend, within bounds.
    fn ordered<'k>(
        &mut self,
        number: u64,
        keys: impl Iterator<Item = &'k [u8]> + Clone,
        (low, high): Bounds<'_>,
        walked: &Walked<'_>,
    ) {
        let is_less = |a: &[u8], b: &[u8]| walked.order.compare(a, b) == Ordering::Less;
        let ascend = keys.clone().zip(keys.clone().skip(1)).all(|(a, b)| is_less(a, b));
        let from = low
            .zip(keys.clone().next())
            .is_none_or(|(low, first)| walked.order.compare(low, first) != Ordering::Greater);
        let below = high.zip(keys.last()).is_none_or(|(high, last)| is_less(last, high));
        if !ascend || !from || !below {
            let what = format!(
                "the keys of page {number} of {} are not in order, or not where the pages above \
                 say",
                walked.name
            );
            self.findings.add(PageInvariant::Order, what);
        }
    }

    fn leaf(
        &mut self,
        number: u64,
        nodes: &[Node<'_>],
        bounds: Bounds<'_>,
        walked: &Walked<'_>,
        tally: &mut Tally,
    ) -> Result<()> {
        if nodes.is_empty() {
            return self.damaged(number, "it has no nodes", walked, tally);
        }
        self.ordered(number, nodes.iter().map(|node| node.key), bounds, walked);
        for node in nodes {
            tally.entries += 1;
            match walked.purpose {
                Purpose::Free => self.freed(number, node, walked, tally)?,
                // The value is stored as the key.
                Purpose::Duplicates if node.flags != 0 || node.data_bytes != 0 => self.damaged(
                    number,
                    "a node among the values of one key has data",
                    walked,
                    tally,
                )?,
                Purpose::Duplicates => {}
                Purpose::Main | Purpose::Named => self.entry(number, node, walked, tally)?,
            }
        }
        Ok(())
    }

    /// Checks a key with its data, or with its duplicates.
    fn entry(
        &mut self,
        number: u64,
        node: &Node<'_>,
        walked: &Walked<'_>,
        tally: &mut Tally,
    ) -> Result<()> {
        const IS_TREE_OF_DUPLICATES: u16 = IS_TREE | IS_DUPLICATES;
        let has_duplicates = walked.flags & DUPLICATES != 0;
        let record = || Tree::parse(node.data).filter(|_| node.data.len() == TREE_BYTES);
        match node.flags {
            0 => Ok(()),
            IN_OVERFLOW if !has_duplicates => self.run(number, node, walked, tally).map(drop),
            IS_TREE
                if walked.purpose == Purpose::Main
                    && walked.flags & (DUPLICATES | INTEGER_KEYS) == 0 =>
            {
                let Some(tree) = record() else {
                    return self.damaged(
                        number,
                        "the record of a database has another length",
                        walked,
                        tally,
                    );
                };
                let name = format!("the database {:?}", String::from_utf8_lossy(node.key));
                let order = Order::of_keys(tree.flags);
                self.tree(
                    &tree,
                    &Walked {
                        purpose: Purpose::Named,
                        name: &name,
                        flags: tree.flags,
                        order,
                        value_bytes: 0,
                    },
                )
            }
            IS_DUPLICATES if has_duplicates => self.sub_page(number, node, walked, tally),
            IS_TREE_OF_DUPLICATES if has_duplicates => {
                let is_fixed = walked.flags & FIXED_DUPLICATES != 0;
                let is_alike = |tree: &Tree| {
                    is_fixed == (tree.flags & FIXED_DUPLICATES != 0)
                        && (!is_fixed || tree.key_bytes > 0)
                };
                let Some(tree) = record().filter(is_alike) else {
                    return self.damaged(
                        number,
                        "the record of the values of a key is of another kind",
                        walked,
                        tally,
                    );
                };
                let value_bytes = if is_fixed { tree.key_bytes as usize } else { 0 };
                let order = Order::of_duplicates(walked.flags);
                tally.entries = tally.entries.saturating_add(tree.entries.saturating_sub(1));
                self.tree(
                    &tree,
                    &Walked {
                        purpose: Purpose::Duplicates,
                        name: walked.name,
                        flags: 0,
                        order,
                        value_bytes,
                    },
                )
            }
            _ => self.damaged(number, "a node has flags that it cannot have here", walked, tally),
        }
    }

    /// Checks the duplicates of a key that are stored in a sub-page.
    fn sub_page(
        &mut self,
        number: u64,
        node: &Node<'_>,
        walked: &Walked<'_>,
        tally: &mut Tally,
    ) -> Result<()> {
        let order = Order::of_duplicates(walked.flags);
        let is_fixed = walked.flags & FIXED_DUPLICATES != 0;
        let expected = LEAF | SUB_PAGE | if is_fixed { FIXED } else { 0 };
        let values = match Header::parse(node.data) {
            Some(header) if header.flags & !DIRTY != expected => {
                Err("the page within a node is of another kind")
            }
            Some(header) if is_fixed => fixed_values(node.data, header.value_bytes.into()),
            Some(_) => {
                nodes(node.data, false).map(|nodes| nodes.iter().map(|node| node.key).collect())
            }
            None => Err("the page within a node is too short"),
        };
        match values {
            Ok(values) if values.is_empty() => {
                self.damaged(number, "the page within a node is empty", walked, tally)
            }
            Ok(values) => {
                tally.entries += values.len() as u64 - 1;
                let within = Walked { order, ..*walked };
                self.ordered(number, values.iter().copied(), (None, None), &within);
                Ok(())
            }
            Err(what) => self.damaged(number, what, walked, tally),
        }
    }

    /// Checks the overflow run of a node. Returns its first page, if it can hold the data.
    pub(super) fn run(
        &mut self,
        number: u64,
        node: &Node<'_>,
        walked: &Walked<'_>,
        tally: &mut Tally,
    ) -> Result<Option<u64>> {
        let first = take_u64(node.data, 0).unwrap_or(NO_PAGE);
        let mut bytes = [0; PAGE_HEADER];
        if first < 2 || first > self.meta.last_page {
            tally.is_partial = true;
            let what = format!(
                "page {number} of {} has data in page {first} of {}",
                walked.name,
                self.meta.last_page + 1
            );
            self.findings.add(PageInvariant::Once, what);
            return Ok(None);
        }
        if !self.spend(tally) {
            return Ok(None);
        }
        let Some(header) = self.read(first, &mut bytes, walked.name)? else {
            tally.is_partial = true;
            return Ok(None);
        };
        let needed = (PAGE_HEADER as u64 + node.data_bytes).div_ceil(self.meta.page_bytes as u64);
        // A run can be longer: a value replaced by a shorter one in the same transaction keeps its
        // run.
        if header.flags != OVERFLOW || header.run() < needed {
            return self
                .damaged(
                    first,
                    "it is no overflow run that can hold the data of the node",
                    walked,
                    tally,
                )
                .map(|()| None);
        }
        if !self.enter_stored(first, header.run(), walked.name) {
            tally.is_partial = true;
            return Ok(None);
        }
        tally.overflow += header.run();
        Ok(Some(first))
    }
}
