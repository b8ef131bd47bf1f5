//! LMDB's free list: one record per commit that has freed pages which have not been reused since. A
//! record is the number of pages, then the page numbers in descending order.
//!
//! Invariant: a record is read in pieces, and not beyond its length.

use super::findings::PageInvariant;
use super::pages::{IN_OVERFLOW, Node, PAGE_HEADER};
use super::walk::{Tally, Walk, Walked};
use crate::error::Result;
use crate::format::take_u64;

/// Number of page numbers that are read at a time.
const IDS: usize = 8192;

impl Walk<'_> {
    /// Reads the record of one commit: the pages it has freed.
    pub(super) fn freed(
        &mut self,
        number: u64,
        node: &Node<'_>,
        walked: &Walked<'_>,
        tally: &mut Tally,
    ) -> Result<()> {
        let commit = take_u64(node.key, 0)
            .filter(|commit| node.key.len() == 8 && (1..=self.meta.commit).contains(commit));
        if commit.is_none() {
            return self.damaged(number, "a record is of no commit", walked, tally);
        }
        let file = self.file;
        match node.flags {
            0 => {
                let data = node.data;
                self.free_ids(node.data_bytes, walked, |at, bytes| {
                    let found = data.get(at as usize..).and_then(|data| data.get(..bytes.len()));
                    Ok(found.map(|found| bytes.copy_from_slice(found)).is_some())
                })
            }
            IN_OVERFLOW => {
                let Some(first) = self.run(number, node, walked, tally)? else { return Ok(()) };
                let start = first * self.meta.page_bytes as u64 + PAGE_HEADER as u64;
                self.free_ids(node.data_bytes, walked, |at, bytes| file.read(start + at, bytes))
            }
            _ => self.damaged(number, "a record has flags that it cannot have", walked, tally),
        }
    }

    fn free_ids(
        &mut self,
        bytes: u64,
        walked: &Walked<'_>,
        read: impl Fn(u64, &mut [u8]) -> Result<bool>,
    ) -> Result<()> {
        const WORD: u64 = 8;
        let mut count = [0; WORD as usize];
        let is_read = bytes >= WORD && read(0, &mut count)?;
        let count = u64::from_le_bytes(count);
        if !is_read || count > bytes / WORD - 1 {
            self.findings.add(
                PageInvariant::FreeList,
                "a record of the free list counts more pages than it has".to_owned(),
            );
            return Ok(());
        }
        let (mut done, mut above) = (0, u64::MAX);
        while done < count {
            let mut ids = vec![0; (count - done).min(IDS as u64) as usize * WORD as usize];
            if !read((done + 1) * WORD, &mut ids)? {
                self.findings.add(
                    PageInvariant::Length,
                    "a record of the free list lies beyond the end of the file".to_owned(),
                );
                return Ok(());
            }
            for id in ids.as_chunks::<{ WORD as usize }>().0 {
                let id = u64::from_le_bytes(*id);
                if id >= above {
                    self.findings.add(
                        PageInvariant::FreeList,
                        format!("page {id} is free, and listed after page {above}"),
                    );
                }
                above = id;
                self.enter(id, 1, true, walked.name);
            }
            done += ids.len() as u64 / WORD;
        }
        Ok(())
    }
}
