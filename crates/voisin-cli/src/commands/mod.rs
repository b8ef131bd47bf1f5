//! The subcommands, one file each.

mod alter;
mod bench;
mod check;
mod completions;
mod copy;
mod count;
pub(crate) mod create;
mod delete;
mod erase;
mod export;
mod get;
mod import;
mod inspect;
mod list;
mod load;
mod merge;
mod optimize;
mod repair;
mod report;
mod search;
mod split;
pub(crate) mod stats;
mod tenants;

use clap::Subcommand;

use crate::failure::Result;
use crate::ui::Ui;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create an empty index
    Create(create::Create),
    /// Add the vectors of a file or a pipe
    Load(load::Load),
    /// Find the items nearest to vectors
    Search(search::Search),
    /// Print the vectors of items
    Get(get::Get),
    /// Delete items
    Delete(delete::Delete),
    /// Delete items, and clear what they leave in the file
    Erase(erase::Erase),
    /// Print the keys of items
    List(list::List),
    /// Count items
    Count(count::Count),
    /// Print the values of a field
    Facet(count::Facet),
    /// List, rename, drop or move tenants
    Tenants(tenants::Tenants),
    /// Tell which indexes a folder holds
    Inspect(inspect::Inspect),
    /// Tell the size and the state of an index
    Stats(stats::Stats),
    /// Look for damage
    Check(check::Check),
    /// Undo what a program has left half-done, and link what a load has left
    Repair(repair::Repair),
    /// Number the items by locality, give back space, change codes
    Optimize(optimize::Optimize),
    /// Change the fields and the kinds
    Alter(alter::Alter),
    /// Write a compact copy of a folder, while others use it
    Copy(copy::Copy),
    /// Add the items of another index
    Merge(merge::Merge),
    /// Copy the items of an index into several others
    Split(split::Split),
    /// Take over an index of hannoy or arroy
    Import(import::Import),
    /// Write the items to a file: npy, parquet or jsonl
    Export(export::Export),
    /// Measure recall and speed
    Bench(bench::Bench),
    /// Write one HTML page about a folder
    Report(report::Report),
    /// Print the completions of a shell
    Completions(completions::Completions),
    /// Write the manual pages
    Man(completions::Man),
}

impl Command {
    /// Whether it changes an index or writes files, and prints what it has done at the end.
    pub(crate) fn changes(&self) -> bool {
        match self {
            Self::Search(_) | Self::Get(_) | Self::List(_) | Self::Inspect(_) | Self::Stats(_) => {
                false
            }
            Self::Check(_) | Self::Count(_) | Self::Facet(_) | Self::Completions(_) => false,
            Self::Tenants(tenants) => tenants.changes(),
            Self::Bench(bench) => bench.draws(),
            Self::Export(export) => !export.prints(),
            Self::Report(report) => !report.prints(),
            Self::Create(_) | Self::Load(_) | Self::Delete(_) | Self::Erase(_) => true,
            Self::Repair(_) | Self::Merge(_) | Self::Split(_) => true,
            Self::Optimize(_) | Self::Alter(_) | Self::Copy(_) | Self::Import(_) => true,
            Self::Man(_) => true,
        }
    }

    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        match self {
            Self::Create(create) => create.run(ui),
            Self::Load(load) => load.run(ui),
            Self::Search(search) => search.run(ui),
            Self::Get(get) => get.run(ui),
            Self::Delete(delete) => delete.run(ui),
            Self::Erase(erase) => erase.run(ui),
            Self::List(list) => list.run(ui),
            Self::Count(count) => count.run(ui),
            Self::Facet(facet) => facet.run(ui),
            Self::Tenants(tenants) => tenants.run(ui),
            Self::Inspect(inspect) => inspect.run(ui),
            Self::Stats(stats) => stats.run(ui),
            Self::Check(check) => check.run(ui),
            Self::Repair(repair) => repair.run(ui),
            Self::Optimize(optimize) => optimize.run(ui),
            Self::Alter(alter) => alter.run(ui),
            Self::Copy(copy) => copy.run(ui),
            Self::Merge(merge) => merge.run(ui),
            Self::Split(split) => split.run(ui),
            Self::Import(import) => import.run(ui),
            Self::Export(export) => export.run(ui),
            Self::Bench(bench) => bench.run(ui),
            Self::Report(report) => report.run(ui),
            Self::Completions(completions) => completions.run(ui),
            Self::Man(man) => man.run(ui),
        }
    }
}
