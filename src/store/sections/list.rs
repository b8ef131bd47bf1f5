//! The list of all sections of an index.

use super::codes::CodesSection;
use super::fields::FieldsSection;
use super::graph::GraphSection;
use super::ids::IdsSection;
use super::item_keys::ItemKeysSection;
use super::records::RecordsSection;
use super::section::Section;
use super::sets::SetsSection;
use super::upkeep::Footprint;
use super::vectors::VectorsSection;
use crate::format::meta::Meta;
use crate::format::{Key, Kind};
use crate::kinds::each_kind;
use crate::types::IndexKind;

macro_rules! sections {
    ($($(#[$about:meta])* $kind:ident $name:literal
        keys $keys:tt
        section { $($section:expr)? }
        snapshot $snapshot:tt paths $paths:tt efforts $efforts:tt stats $stats:tt
        invariants $invariants:tt)*
    ) => {
        /// The sections in the order of prefetching: first what every search needs, and what those
        /// of kinds of index do, then the vectors, by far the largest, then what searches do not
        /// read.
        pub(crate) const SECTIONS: &[&dyn Section] = &[
            &GraphSection,
            &IdsSection,
            $($(&$section,)?)*
            &CodesSection,
            #[cfg(test)]
            &super::exercise::FingerprintsSection,
            &VectorsSection,
            &SetsSection,
            &ItemKeysSection,
            &RecordsSection,
            &FieldsSection,
        ];
    };
}
each_kind!(sections);

/// The section that stores values of a kind.
pub(crate) fn section_of(kind: Kind) -> Option<&'static dyn Section> {
    SECTIONS.iter().copied().find(|section| section.kinds().contains(&kind))
}

/// The section that makes a kind of index.
pub(crate) fn section_for(kind: IndexKind) -> Option<&'static dyn Section> {
    SECTIONS.iter().copied().find(|section| section.index_kind() == Some(kind))
}

/// The kinds of an index, ascending.
pub(crate) fn index_kinds(meta: &Meta) -> Vec<IndexKind> {
    let present = SECTIONS.iter().filter(|section| section.is_present(meta));
    let mut kinds: Vec<IndexKind> = present.filter_map(|section| section.index_kind()).collect();
    kinds.sort_unstable();
    kinds
}

/// Whether a build has work to do in any section but the graph.
pub(crate) fn is_upkeep_due(meta: &Meta) -> bool {
    SECTIONS.iter().any(|section| section.is_due(meta))
}

/// What the kinds of an index take that it has by choice.
pub(crate) fn footprint(meta: &Meta, code: u64) -> Footprint {
    SECTIONS.iter().fold(Footprint::default(), |sum, section| {
        let Footprint { item, root } = section.footprint(meta, code);
        Footprint { item: sum.item + item, root: sum.root + root }
    })
}

/// Whether this version knows a kind: a section's, META or DELTA.
pub(crate) fn is_known(kind: Kind) -> bool {
    [Kind::META, Kind::DELTA].contains(&kind) || section_of(kind).is_some()
}

/// Every kind of this version, in key order.
pub(crate) fn kinds() -> Vec<Kind> {
    let sections = SECTIONS.iter().flat_map(|section| section.kinds());
    let mut kinds: Vec<Kind> = [Kind::META, Kind::DELTA].iter().chain(sections).copied().collect();
    kinds.sort_unstable();
    kinds
}

/// The kinds whose values builds compute.
pub(crate) fn built_kinds() -> impl Iterator<Item = Kind> {
    let built = SECTIONS.iter().filter(|section| section.is_built());
    built.flat_map(|section| section.kinds()).copied()
}

/// Whether DELTA lists a value.
pub(crate) fn is_listed(key: Key) -> bool {
    section_of(key.kind).is_some_and(|section| section.is_listed(key))
}
