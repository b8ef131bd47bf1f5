//! The items that a subcommand deletes or erases: by their keys, or by a condition.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use voisin::{AnyIndex, AnyMetric, Condition, Index};

use crate::failure::{Failure, Result};
use crate::fields::condition;
use crate::keys::{Key, given};
use crate::rows::Lines;
use crate::ui::{Ui, count, number};

/// Items, of a group of arguments of which one must be given.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    /// The items
    #[arg(group = "what", value_name = "KEY")]
    keys: Vec<String>,
    /// A file with a key on each line, or - for the standard input
    #[arg(long, group = "what", value_name = "FILE")]
    file: Option<PathBuf>,
    /// The items for whose fields this condition holds, as JSON
    #[arg(long, group = "what", value_name = "CONDITION", value_parser = condition)]
    pub(crate) filter: Option<Condition>,
}

impl Chosen {
    /// The keys, as they are given.
    pub(crate) fn keys(&self) -> Result<Vec<String>> {
        let Some(file) = &self.file else { return Ok(self.keys.clone()) };
        let mut lines = Lines::open(file)?;
        let mut keys = Vec::new();
        while let Some((_, key)) = lines.next_line()? {
            keys.push(key.to_owned());
        }
        Ok(keys)
    }
}

/// Names of items of a kind.
pub(crate) fn named<K: Key + ?Sized>(keys: &[String]) -> Result<Vec<K::Owned>> {
    keys.iter().map(|key| given::<K>(key)).collect()
}

/// Names of items of an index.
pub(crate) fn named_in<K: Key + ?Sized>(
    _: &Index<AnyMetric, K>,
    keys: &[String],
) -> Result<Vec<K::Owned>> {
    named::<K>(keys)
}

/// Tells how many items were deleted or erased, of how many that were asked for.
///
/// # Errors
/// A no unless all of them were there.
pub(crate) fn told(
    ui: &mut Ui,
    index: &AnyIndex,
    done: &str,
    (asked, found): (u64, u64),
    remark: &str,
) -> Result<()> {
    let (items, missing) = (index.len()?, asked - found);
    ui.result(&json!({ done: found, "missing": missing, "items": items }), || {
        let (found, name) = (count(found, "item", "items"), index.name());
        format!("{done} {found}: {name} has {}{remark}", number(items))
    })?;
    if missing == 0 {
        return Ok(());
    }
    Err(Failure::no(format!(
        "{missing} of {asked} items were not there (or given twice): the others are {done}"
    )))
}
