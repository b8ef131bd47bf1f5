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

/// What to do. A doc comment here would take the place of the long help of a subcommand.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(about = "Create an empty index")]
    Create(create::Create),
    #[command(about = "Add the vectors of a file or a pipe")]
    Load(load::Load),
    #[command(about = "Find the items nearest to vectors")]
    Search(search::Search),
    #[command(about = "Print the vectors of items")]
    Get(get::Get),
    #[command(about = "Delete items")]
    Delete(delete::Delete),
    #[command(about = "Delete items, and clear what they leave in the file")]
    Erase(erase::Erase),
    #[command(about = "Print the keys of items")]
    List(list::List),
    #[command(about = "Count items")]
    Count(count::Count),
    #[command(about = "Print the values of a field")]
    Facet(count::Facet),
    #[command(about = "List, rename, drop or move tenants")]
    Tenants(tenants::Tenants),
    #[command(about = "Tell which indexes a folder holds")]
    Inspect(inspect::Inspect),
    #[command(about = "Tell the size and the state of an index")]
    Stats(stats::Stats),
    #[command(about = "Look for damage")]
    Check(check::Check),
    #[command(about = "Undo what a program has left half-done, and link what a load has left")]
    Repair(repair::Repair),
    #[command(about = "Number the items by locality, give back space, change codes")]
    Optimize(optimize::Optimize),
    #[command(about = "Change the fields and the kinds")]
    Alter(alter::Alter),
    #[command(about = "Write a compact copy of a folder, while others use it")]
    Copy(copy::Copy),
    #[command(about = "Add the items of another index")]
    Merge(merge::Merge),
    #[command(about = "Copy the items of an index into several others")]
    Split(split::Split),
    #[command(about = "Take over an index of hannoy or arroy")]
    Import(import::Import),
    #[command(about = "Write the items to a file: npy, parquet or jsonl")]
    Export(export::Export),
    #[command(about = "Measure recall and speed")]
    Bench(bench::Bench),
    #[command(about = "Write one HTML page about a folder")]
    Report(report::Report),
    #[command(about = "Print the completions of a shell")]
    Completions(completions::Completions),
    #[command(about = "Write the manual pages")]
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
