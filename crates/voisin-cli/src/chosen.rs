//! The items that a subcommand deletes or erases: by their keys, or by a condition.

use std::path::PathBuf;

use clap::Args;
use voisin::Condition;

use crate::failure::{Failure, Result};
use crate::fields::condition;
use crate::keys::{Key, given};
use crate::rows::Lines;

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

/// Fails unless all items that were asked for were there.
pub(crate) fn all_were_there(asked: u64, found: u64, done: &str) -> Result<()> {
    if found == asked {
        return Ok(());
    }
    Err(Failure::no(format!(
        "{} of {asked} items were not there (or given twice): the others are {done}",
        asked - found
    )))
}
