//! What an index consists of: a folder for each *section*, which is one or more ranges of keys and
//! all that is known of them.
//!
//! - `section`: what every section can do; `list`: all of them, which is all that another one must
//!   be entered in. Snapshots, edits, warming, renumbering, repair, `check` and `stats` go through
//!   the list, so that none of them can forget a section.
//! - `vectors`, `codes`, `graph`, `ids`, `sets`, `item_keys`: the sections. In each, `mod` says
//!   what the section does, `view` (`search`) finds its values, and `check` verifies them.
//! - `count`: an index in numbers; `warm`: reading values in advance, and resolving tables;
//!   `relabel`: what a section needs to give its values other slots; `repair`: what it needs to
//!   undo a torn edit.
//!
//! Their bytes are in `format/`, as pure functions.

pub(crate) mod codes;
pub(crate) mod count;
#[cfg(test)]
#[path = "../../../tests/unit/exercise/mod.rs"]
mod exercise;
pub(crate) mod graph;
pub(crate) mod ids;
pub(crate) mod item_keys;
pub(crate) mod list;
pub(crate) mod relabel;
pub(crate) mod repair;
pub(crate) mod section;
pub(crate) mod sets;
pub(crate) mod vectors;
pub(crate) mod warm;
