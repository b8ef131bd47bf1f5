//! The three integers that must not be swapped (item ids, slots, layers), the scale of `i8`
//! components, what is known of the recall of searches, and the kinds of index (`kind`).

mod kind;

use std::fmt;

pub use self::kind::IndexKind;
pub(crate) use self::kind::names;
pub(crate) use crate::codec::Scale;

/// The caller's id of an item: any `u32`.
pub type ItemId = u32;

/// The number of an item's vector inside the index. Leaves the crate only in reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(pub(crate) u32);

/// A layer of the graph; 0 is the base, which holds every linked slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Layer(pub(crate) u8);

impl Slot {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl Layer {
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {}", self.0)
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layer {}", self.0)
    }
}

/// The recall that searches of a graph had at several `ef`, as a build has measured it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Calibration {
    /// The number of items of the index at that time.
    pub(crate) items: u32,
    /// The number of queries.
    pub(crate) queries: u32,
    /// By ascending `k`, one at least.
    pub(crate) curves: Vec<Curve>,
}

/// The recall of searches for `k` results.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Curve {
    pub(crate) k: u32,
    /// By ascending `ef`, one at least.
    pub(crate) points: Vec<Point>,
}

/// The mean recall at an `ef`, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) ef: u32,
    pub(crate) recall: f32,
}
