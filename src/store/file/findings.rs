//! What must hold of the pages of a file, and what was found that does not.

use std::fmt;

/// More findings than this are counted, not listed.
const MAX_FINDINGS: usize = 100;

/// What must hold of the pages of an LMDB file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PageInvariant {
    /// The two meta pages are possible, and of two commits that follow each other.
    Meta,
    /// Every page that is in use lies within the file.
    Length,
    /// Every page has its own number.
    Header,
    /// Every page is of the kind that its place asks for, and its nodes fill it without gaps.
    Layout,
    /// Keys ascend, within the bounds that the pages above give them. In a database whose program
    /// orders keys in a way of its own, this need not hold.
    Order,
    /// No page is used twice, and none that the file does not have.
    Once,
    /// Trees have as many pages and entries as their records say.
    Counts,
    /// The free list lists pages in descending order, as many as it says.
    FreeList,
    /// Every page is in a tree or in the free list.
    Lost,
}

impl PageInvariant {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta-pages",
            Self::Length => "file-length",
            Self::Header => "page-header",
            Self::Layout => "page-layout",
            Self::Order => "key-order",
            Self::Once => "page-once",
            Self::Counts => "page-counts",
            Self::FreeList => "free-list",
            Self::Lost => "lost-pages",
        }
    }

    /// Whether LMDB survives it: what it breaks is the meaning of what is read, or a copy, and not
    /// the process.
    pub(super) fn is_survived(self) -> bool {
        matches!(self, Self::Order | Self::Counts | Self::Lost)
    }
}

/// Something about the pages of a file that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PageFinding {
    /// What should hold.
    pub invariant: PageInvariant,
    /// What was found instead, with the page and the tree.
    pub what: String,
}

impl fmt::Display for PageFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant.name(), self.what)
    }
}

/// Findings, of which the first are listed.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<PageFinding>,
    more: usize,
}

impl Findings {
    pub(super) fn add(&mut self, invariant: PageInvariant, what: String) {
        if self.list.len() < MAX_FINDINGS {
            self.list.push(PageFinding { invariant, what });
        } else {
            self.more += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn into_list(mut self) -> Vec<PageFinding> {
        if self.more > 0
            && let Some(last) = self.list.last_mut()
        {
            last.what = format!("{}, and {} more findings", last.what, self.more);
        }
        self.list
    }
}
