//! LMDB's free list: a B-tree of the pages that each commit has freed. Each record begins with their number.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::MAGIC;
use crate::format::{take_u16, take_u32, take_u64};

/// Pages in the free list of a data file. `None` if it is not as LMDB 0.9 writes it.
pub(super) fn free_pages(data: &File, page_bytes: usize) -> Option<u64> {
    FreeList::open(data, page_bytes)?.pages()
}

const DATA_VERSION: u32 = 1;
const PAGE_HEADER: usize = 16;
/// Bytes that describe one database in a meta page, its root the last of them.
const DATABASE_BYTES: usize = 48;
const NO_PAGE: u64 = u64::MAX;
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
/// A B-tree of pages is never deeper.
const MAX_DEPTH: usize = 32;

struct FreeList<'f> {
    file: &'f File,
    page_bytes: usize,
    root: u64,
}

impl<'f> FreeList<'f> {
    /// As the newest of the two meta pages has it. The caller's transaction keeps its pages from being reused while they are read.
    fn open(file: &'f File, page_bytes: usize) -> Option<Self> {
        let list = Self { file, page_bytes, root: NO_PAGE };
        let meta = |number| {
            let page = list.page(number)?;
            let meta = page.get(PAGE_HEADER..)?;
            let databases = 24;
            let known = take_u32(meta, 0)? == MAGIC && take_u32(meta, 4)? == DATA_VERSION;
            let root = take_u64(meta, databases + DATABASE_BYTES - 8)?;
            let commit = take_u64(meta, databases + 2 * DATABASE_BYTES + 8)?;
            known.then_some((commit, root))
        };
        let (_, root) = meta(0)?.max(meta(1)?);
        Some(Self { root, ..list })
    }

    fn page(&self, number: u64) -> Option<Vec<u8>> {
        let mut page = vec![0; self.page_bytes];
        self.file.read_exact_at(&mut page, number.checked_mul(self.page_bytes as u64)?).ok()?;
        Some(page)
    }

    fn pages(&self) -> Option<u64> {
        if self.root == NO_PAGE { Some(0) } else { self.below(self.root, 0) }
    }

    /// Pages in the records of a subtree.
    fn below(&self, number: u64, depth: usize) -> Option<u64> {
        let page = self.page(number).filter(|_| depth < MAX_DEPTH)?;
        let (kind, end) = (take_u16(&page, 10)?, usize::from(take_u16(&page, 12)?));
        let mut sum = 0u64;
        for pointer in page.get(PAGE_HEADER..end)?.as_chunks::<2>().0 {
            // A node: three words that are a page number or a length and flags, the length of the key, the key, the data.
            let node = page.get(usize::from(u16::from_le_bytes(*pointer))..)?;
            let [low, high, flags, key] = [0, 2, 4, 6].map(|at| take_u16(node, at).map(u64::from));
            let data = node.get(8 + key? as usize..)?;
            sum = sum.checked_add(match (kind & (BRANCH | LEAF), flags?) {
                (BRANCH, flags) => self.below(low? | high? << 16 | flags << 32, depth + 1)?,
                (LEAF, 0) => take_u64(data, 0)?,
                // In pages of its own.
                (LEAF, 1) => take_u64(self.page(take_u64(data, 0)?)?.get(PAGE_HEADER..)?, 0)?,
                _ => return None,
            })?;
        }
        Some(sum)
    }
}
