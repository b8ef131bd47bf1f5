//! An edge of a node while a build changes it.

/// An edge of a node, with its length, which pruning therefore never recomputes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Edge {
    pub(crate) distance: f32,
    pub(crate) slot: u32,
}

impl Edge {
    /// Orders by distance, ties by slot.
    pub(crate) fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.distance.total_cmp(&other.distance).then(self.slot.cmp(&other.slot))
    }
}
