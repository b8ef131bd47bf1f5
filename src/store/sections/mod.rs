//! The sections of an index. A *section* is one or more key ranges with all code that knows them,
//! in a folder of its own.
//!
//! - `section`: the trait of all sections; `list`: the list of all of them, the only place where a
//!   new one must be entered. Snapshots, edits, warming, renumbering, repair, `check` and `stats`
//!   iterate over the list, so that none of them can forget a section.
//! - `vectors`, `codes`, `graph`, `ivf`, `lsh`, `ids`, `sets`, `item_keys`, `records`, `fields`:
//!   the sections. In each, `mod` says what the section does, `view` (`search`) looks up its
//!   values, and `check` verifies them.
//! - `count`: statistics of an index; `warm`: reads values ahead, and fills pointer tables;
//!   `relabel`: the inputs of a section for rewriting its values with new slots; `repair`: those
//!   for undoing a torn edit; `upkeep`: those for work at the end of a build.
//!
//! The byte layouts are in `format/`, as pure functions.

pub(crate) mod codes;
pub(crate) mod count;
#[cfg(test)]
#[path = "../../../tests/unit/exercise/mod.rs"]
mod exercise;
pub(crate) mod fields;
pub(crate) mod graph;
pub(crate) mod ids;
pub(crate) mod item_keys;
pub(crate) mod list;
pub(crate) mod records;
pub(crate) mod relabel;
pub(crate) mod repair;
pub(crate) mod section;
pub(crate) mod sets;
pub(crate) mod upkeep;
pub(crate) mod vectors;
pub(crate) mod warm;
