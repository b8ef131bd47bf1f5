//! The invariants of the pages of an LMDB file, and violations of them.

use std::fmt;

/// Findings beyond this number are counted, not listed.
const MAX_FINDINGS: usize = 100;

/// An invariant of the pages of an LMDB file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PageInvariant {
    /// The two meta pages are possible, and of two consecutive commits.
    Meta,
    /// Every page in use lies within the file.
    Length,
    /// The header of every page has the page's own number.
    Header,
    /// Every page is of the type that its place requires, and its nodes fill it without gaps.
    Layout,
    /// Keys ascend, within the bounds set by the pages above. In a database whose program orders
    /// keys by a comparison function of its own, this need not hold.
    Order,
    /// No page is used twice, and no page beyond the last is used.
    Once,
    /// Trees have as many pages and entries as their records say.
    Counts,
    /// The free list lists pages in descending order, as many as it says.
    FreeList,
    /// Every page is in a tree or in the free list (no page leaks).
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

    /// Whether LMDB survives the damage: it can corrupt the data that is read, or a copy, but not
    /// end the process.
    pub(super) fn is_survived(self) -> bool {
        matches!(self, Self::Order | Self::Counts | Self::Lost)
    }
}

/// A violation of an invariant of the pages.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PageFinding {
    /// The invariant that is violated.
    pub invariant: PageInvariant,
    /// The violation, with the page and the tree.
    pub what: String,
}

impl fmt::Display for PageFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant.name(), self.what)
    }
}

/// A list of findings, limited in length.
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
