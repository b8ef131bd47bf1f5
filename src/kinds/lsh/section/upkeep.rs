//! Making the tables: when an index has enough items, when its vectors have moved away from the
//! center, and with new slots.

use std::collections::BTreeSet;

use voisin_kernels::lsh::Hasher;

use super::training::{decode, hasher, part, trained_key};
use crate::error::Result;
use crate::format::checksum::Sound;
use crate::format::codes::Trained;
use crate::format::meta::Meta;
use crate::format::{Key, Kind};
use crate::kinds::lsh::format::{Entry, Part, Position, REGIONS, cut, encode};
use crate::store::GoOn;
use crate::store::sections::codes::training::train_on;
use crate::store::sections::relabel::{Relabel, Relabelled};
use crate::store::sections::upkeep::{Upkeep, Upkept};
use crate::store::source::AnySource;
use crate::store::target::Put;
use crate::store::view::View;
use crate::threads;
use crate::types::Slot;

/// The number of tables: with 24, a search compares a fifth less, and an item takes half as much
/// more space and time (decision 0056).
const TABLES: u8 = 16;
/// Bytes of the tables for each item, of which pieces have 8 a table.
pub(super) const ITEM_BYTES: u64 = 9 * TABLES as u64;
/// The maximum number of vectors that the center is the mean of, and that a judgement reads.
const SAMPLE: usize = 10_000;
const JUDGED_SAMPLE: usize = 1000;
/// As for the codes: new vectors have moved if their mean squared distance from the center is
/// larger than that of the training by this factor, which at least so many of them must show.
const MOVED_FACTOR: f64 = 2.0;
const MIN_WINDOW: u32 = 1024;
const WINDOW_DIVISOR: u32 = 8;
/// A new center pays if it is this fraction of the mean squared distance away from the old one:
/// all tables are then made anew, where codes follow block by block.
const LEAST_GAIN: f64 = 0.1;
/// The maximum number of entries of a new piece: six such values fill a page, and one in each of 16
/// tables is 10 kB.
const FILLED: usize = 80;
/// Slots that a thread hashes at a time.
const TASK: usize = 1024;

/// Whether a build has something to do.
pub(super) fn is_due(meta: &Meta) -> bool {
    match part(0, meta) {
        Ok(Some(part)) => has_doubled(meta, &part) || has_window(&part),
        Ok(None) => meta.part(Kind::LSH).is_some() && meta.items > 0,
        Err(_) => false,
    }
}

fn has_doubled(meta: &Meta, part: &Part) -> bool {
    u64::from(meta.items) >= 2 * u64::from(part.items.max(1))
}

fn has_window(part: &Part) -> bool {
    part.added >= MIN_WINDOW.max(part.items / WINDOW_DIVISOR)
}

/// Makes the tables, or makes them anew, where that is due and pays.
pub(super) fn upkeep(upkeep: &Upkeep<'_, '_, '_>) -> Result<Option<Upkept>> {
    let Upkeep { view, anew, seed, go_on, .. } = *upkeep;
    let meta = &view.snapshot.meta;
    let built = part(view.snapshot.index, meta)?;
    if !anew && !is_due(meta) || built.is_none() && meta.items == 0 {
        return Ok(None);
    }
    let slots = view.slots_in_use()?;
    if let Some(part) = built.filter(|_| !anew) {
        let trained = view.hash_training()?;
        let has_moved = has_window(&part)
            && part.squares > MOVED_FACTOR * f64::from(trained.spread) * f64::from(part.added);
        let pays = (has_doubled(meta, &part) || has_moved) && {
            let now = train_on(view, &slots, seed, JUDGED_SAMPLE)?;
            let centers = now.center.iter().zip(&trained.center);
            let shift = centers.map(|(now, then)| (f64::from(*now) - f64::from(*then)).powi(2));
            shift.sum::<f64>() > LEAST_GAIN * f64::from(now.spread)
        };
        if !pays {
            let judged = has_doubled(meta, &part);
            let items = if judged { meta.items } else { part.items };
            let part = Part { items, added: 0, squares: 0.0, ..part };
            return Ok(Some(Upkept { puts: Vec::new(), part: part.encode() }));
        }
    }
    let trained = train_on(view, &slots, seed, SAMPLE)?;
    let part = Part { is_built: true, tables: TABLES, items: meta.items, added: 0, squares: 0.0 };
    let order: Vec<Slot> = slots.iter().map(Slot).collect();
    let mut puts = puts(view, &trained, part, &order, &order, go_on)?;
    let kept: BTreeSet<Key> = puts.iter().map(|(key, _)| *key).collect();
    let (first, last) = Key::all_of(view.snapshot.index, Kind::LSH);
    let old = view.source.values(first, last, usize::MAX)?.into_iter().map(|(key, _)| key);
    puts.extend(old.filter(|key| !kept.contains(key)).map(|key| (key, None)));
    Ok(Some(Upkept { puts, part: part.encode() }))
}

/// The same tables for slots in another order.
pub(super) fn relabelled(relabel: &Relabel<'_, '_, '_>) -> Result<Relabelled> {
    let view = relabel.view;
    let Some(part) = part(view.snapshot.index, &view.snapshot.meta)? else {
        return Ok(Relabelled::Puts(Vec::new()));
    };
    let key = trained_key(view.snapshot.index);
    let sound = view.source.get(key)?.map(|value| Sound::of(key, value)).transpose()?;
    let trained = decode(key, sound, &view.snapshot.meta)?;
    let new: Vec<Slot> = (0..relabel.order.len() as u32).map(Slot).collect();
    puts(view, &trained, part, relabel.order, &new, relabel.go_on).map(Relabelled::Puts)
}

/// All values of tables with these slots under these new numbers. O(slots * dimensions) on all
/// threads; memory for all values.
fn puts<'t>(
    view: &View<'_, 't, AnySource<'_, 't>>,
    trained: &Trained,
    part: Part,
    slots: &[Slot],
    numbers: &[Slot],
    go_on: &GoOn<'_>,
) -> Result<Vec<Put>> {
    let hasher = hasher(trained, part);
    let hashes = hashes(view, &hasher, slots, go_on)?;
    let (index, tables) = (view.snapshot.index, hasher.tables());
    let of_table = |table: usize| -> Result<Vec<Put>> {
        go_on()?;
        let all = hashes.chunks_exact(tables).zip(numbers);
        let entries = all.map(|(hashes, slot)| Entry { hash: hashes[table], slot: slot.0 });
        let mut regions: Vec<Vec<Entry>> = vec![Vec::new(); REGIONS];
        entries.for_each(|entry| regions[entry.position().region()].push(entry));
        let mut puts = Vec::new();
        for (region, mut entries) in regions.into_iter().enumerate() {
            entries.sort_unstable_by_key(|entry| entry.order());
            let parts = cut(&entries, FILLED).into_iter().filter(|part| !part.is_empty());
            puts.extend(parts.enumerate().map(|(nth, part)| {
                let first = if nth == 0 { Position::first_of(region) } else { part[0].position() };
                (first.key(index, table), Some(encode(part)))
            }));
        }
        Ok(puts)
    };
    let mut puts = threads::map_range(tables, threads::SEARCHES, of_table)?.concat();
    puts.push((trained_key(index), Some(trained.encode())));
    threads::sort_by_key(&mut puts, |(key, _)| *key);
    Ok(puts)
}

/// The hashes of slots, one after the other.
fn hashes<'t>(
    view: &View<'_, 't, AnySource<'_, 't>>,
    hasher: &Hasher,
    slots: &[Slot],
    go_on: &GoOn<'_>,
) -> Result<Vec<u32>> {
    let (metric, dimensions) = (view.snapshot.metric, view.snapshot.meta.dimensions as usize);
    let tables = hasher.tables();
    let mut hashes = vec![0; slots.len() * tables];
    let tasks = slots.chunks(TASK).zip(hashes.chunks_mut(TASK * tables));
    let tasks: Vec<_> = tasks.collect();
    threads::for_each(tasks.into_iter(), |(slots, hashes)| -> Result<()> {
        go_on()?;
        let (mut scratch, mut found) = (Vec::new(), Vec::with_capacity(tables));
        for (slot, hashes) in slots.iter().zip(hashes.chunks_exact_mut(tables)) {
            let address = view.vector(*slot)?;
            let decoded = metric.decode(address.bytes, view.snapshot.meta.scale);
            let row = metric.coded(&decoded, address.factor, dimensions);
            hasher.hash(&row, &mut scratch, &mut found);
            hashes.copy_from_slice(&found);
        }
        Ok(())
    })?;
    Ok(hashes)
}
