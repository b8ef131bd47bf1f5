//! `voisin optimize`.

use std::iter::empty;
use std::time::Instant;

use clap::Args;
use serde_json::json;
use voisin::{AnyIndex, AnyMetric, Loader};

use super::create::{CodesArg, parse_codes};
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::place::{Means, Place};
use crate::ui::{Bar, Ui, bytes, time};

/// Link what is pending, and number all items by locality, so that searches read less and free
/// slots are given back. Can change the codes, and measure the recall of searches.
#[derive(Debug, Args)]
pub(crate) struct Optimize {
    #[command(flatten)]
    place: Place,
    /// Change the quantized codes first: 1, 2, 4, 7 or 8 bits a component, fast, or none
    #[arg(long, value_name = "BITS", value_parser = parse_codes)]
    codes: Option<CodesArg>,
    /// Measure the recall of searches at the end, for search --recall
    #[arg(long)]
    calibrate: bool,
    #[command(flatten)]
    means: Means,
}

impl Optimize {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let began = Instant::now();
        let index = self.place.open(&self.means)?;
        let before = index.stats()?.bytes();
        let bar = ui.bar();
        if let Some(codes) = self.codes {
            bar.spin("encoding");
            index.set_codes(codes.of(index.dimensions()))?;
        }
        interrupt::asking(|| optimize(&index, &bar)).map_err(|error| match error {
            voisin::Error::Cancelled => {
                Failure::interrupted("interrupted: the items keep their numbers, run it again")
            }
            error => error.into(),
        })?;
        if self.calibrate {
            bar.spin("measuring recall");
            index.calibrate()?;
        }
        bar.finish();
        let (after, took) = (index.stats()?.bytes(), began.elapsed());
        let value = json!({
            "bytes_before": before, "bytes": after, "seconds": took.as_secs_f64(),
        });
        ui.result(&value, || {
            let (name, before, after) = (index.name(), bytes(before), bytes(after));
            format!("optimized {name} in {}: {before} before, {after} now", time(took))
        })
    }
}

/// A load of nothing, which can show its progress and be interrupted.
fn optimize(index: &AnyIndex, bar: &Bar) -> voisin::Result<()> {
    fn set<'a, K: ?Sized>(
        loader: Loader<'a, AnyMetric, K>,
        bar: &'a Bar,
    ) -> Loader<'a, AnyMetric, K> {
        let loader = loader.optimize(true).progress(|progress| bar.load(progress));
        loader.cancel(interrupt::is_requested)
    }
    match index {
        AnyIndex::Ids(index) => set(index.loader(), bar).load(empty::<(u32, [f32; 0])>()),
        AnyIndex::Numbers(index) => set(index.loader(), bar).load(empty::<(u64, [f32; 0])>()),
        AnyIndex::Texts(index) => set(index.loader(), bar).load(empty::<(String, [f32; 0])>()),
        AnyIndex::Bytes(index) => set(index.loader(), bar).load(empty::<(Vec<u8>, [f32; 0])>()),
        AnyIndex::Uuids(index) => set(index.loader(), bar).load(empty::<([u8; 16], [f32; 0])>()),
    }
    .map(drop)
}
