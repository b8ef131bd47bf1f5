//! What of an index is read ahead of searches, a few megabytes a search: first what every search
//! needs, the upper layers, the codes, the neighbor lists and the item ids; then, if the whole file
//! fits into the budget of memory, the rest; else only the keys of the vectors, so that it is in
//! memory where they are. And what a round of a build within a memory budget reads first: all
//! neighbor lists.

use super::residency::Residency;
use super::{addresses, advise};
use crate::error::Result;
use crate::format::{Key, Kind};
use crate::store::source::Source;
use crate::store::view::View;

/// Bytes that are read ahead at a time: 2 ms of a disk that reads a gigabyte a second.
const STEP_BYTES: u64 = 2 << 20;
/// Values that are looked up at a time, which takes a millisecond or two if their keys are not in
/// memory.
const STEP_VALUES: usize = 512;
/// Pages that are at most so far apart are next to each other.
const NEAR_PAGES: usize = 4;
/// Number of values of a kind that are looked at to find out whether the index is in memory.
const SAMPLE: u32 = 8;

type AnyView<'v, 's, 't> = View<'s, 't, &'v (dyn Source<'t> + 'v)>;

/// A range of keys.
struct Stage {
    first: Key,
    last: Key,
    /// Whether the values are read, or only their keys.
    values: bool,
}

/// The ranges, in the order in which they are read.
fn stages(view: &AnyView<'_, '_, '_>, fits: bool) -> Vec<Stage> {
    let index = view.snapshot.index;
    let of = |kind, subs: std::ops::RangeInclusive<u8>, values| Stage {
        first: Key::new(index, kind, *subs.start(), 0),
        last: Key::new(index, kind, *subs.end(), u32::MAX),
        values,
    };
    // Without codes, vectors are what the graph is searched by.
    let is_coded = view.snapshot.codes.is_some();
    let vectors = fits || !is_coded;
    vec![
        of(Kind::LINKS, 1..=u8::MAX, true),
        of(Kind::CODES, 0..=u8::MAX, true),
        of(Kind::LINKS, 0..=0, true),
        of(Kind::SPILL, 0..=u8::MAX, true),
        of(Kind::SLOT_IDS, 0..=u8::MAX, true),
        of(Kind::SETS, 0..=u8::MAX, true),
        of(Kind::TAIL, 0..=u8::MAX, vectors),
        of(Kind::VECTORS, 0..=u8::MAX, vectors),
        of(Kind::ID_SLOTS, 0..=u8::MAX, fits),
    ]
}

/// Whether a cold index is in memory nevertheless, by a sample of its values, if that is not known
/// yet.
pub(crate) fn is_warm(view: &AnyView<'_, '_, '_>, residency: &Residency) -> bool {
    if !residency.is_unknown() {
        return false;
    }
    // What is damaged is left to whoever needs it.
    let is_warm = is_in_memory(view).unwrap_or(true);
    residency.set_warm(is_warm);
    is_warm
}

fn is_in_memory(view: &AnyView<'_, '_, '_>) -> Result<bool> {
    let snapshot = view.snapshot;
    let groups = snapshot.links.first().map_or(0, |[links, _]| links.len());
    let codes = snapshot.codes.as_ref().map_or(0, |codes| codes.values.blocks.len());
    let vectors = snapshot.vectors.blocks.len();
    for (kind, count) in [(Kind::LINKS, groups), (Kind::CODES, codes), (Kind::VECTORS, vectors)] {
        for nth in 0..SAMPLE {
            let number = (count as u64 * u64::from(nth) / u64::from(SAMPLE)) as u32;
            let key = |n| Key::new(snapshot.index, kind, 0, n);
            for (_, value) in view.source.values(key(number), key(u32::MAX), 1)? {
                let ends = [value.first(), value.last()];
                let is_there =
                    |byte: &u8| advise::is_resident(std::ptr::from_ref(byte).addr()) == Some(true);
                if !ends.into_iter().flatten().all(is_there) {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

/// Asks for the pages that follow those of some values, as many as these lie on, if these follow
/// each other as the values do. Small values lie on pages of the B-tree, which a cursor reads one
/// page fault after the other; pages that were written in order are next to each other.
fn ask_for_next_pages(values: &[(Key, &[u8])], residency: &Residency) {
    let shift = advise::page_shift();
    let mut pages: Vec<usize> =
        values.iter().map(|(_, value)| addresses(value).start >> shift).collect();
    pages.dedup();
    let are_next = |pair: &&[usize]| pair[1].wrapping_sub(pair[0]) <= NEAR_PAGES;
    let (steps, in_order) = (pages.len() - pages.len().min(1), pages.windows(2).filter(are_next));
    if let Some(last) = pages.last()
        && steps > 0
        && 2 * in_order.count() > steps
    {
        let first = last + 1;
        let mut batch = residency.batch();
        batch.add(first << shift..(first + pages.len()) << shift);
        batch.send(0);
    }
}

/// Looks up all neighbor lists in order, before a round of a build that searches by copies of the
/// vectors. The pointer tables of its snapshot are empty, so each list would else be looked up by a
/// page fault of its own.
///
/// # Errors
/// [`Corrupt`](crate::Error::Corrupt), if the source verifies.
pub(crate) fn find_lists(view: &AnyView<'_, '_, '_>, residency: &Residency) -> Result<()> {
    for (layer, [links, _]) in view.snapshot.links.iter().enumerate() {
        let key = |group| Key::new(view.snapshot.index, Kind::LINKS, layer as u8, group);
        let mut next = Some(key(0));
        while let Some(first) = next {
            let found = view.source.values(first, key(u32::MAX), STEP_VALUES)?;
            ask_for_next_pages(&found, residency);
            for (key, value) in &found {
                // A value of another length is left to whoever reads it.
                links.set(key.n as usize, value);
            }
            next = found.last().and_then(|(key, _)| key.next());
        }
    }
    Ok(())
}

/// Reads the next step of a cold index ahead, after a search.
pub(crate) fn advance(view: &AnyView<'_, '_, '_>, residency: &Residency) {
    let Some(mut warming) = residency.warming() else { return };
    let stages = stages(view, residency.fits());
    let (mut left, mut bytes_left) = (STEP_VALUES, STEP_BYTES);
    let mut batch = residency.batch();
    while left > 0 && bytes_left > 0 {
        let Some(Stage { first, last, values }) = stages.get(warming.stage) else { break };
        // An error is left to the searches that need the value.
        let from = warming.next.unwrap_or(*first);
        let found = view.source.values(from, *last, left.min(64)).unwrap_or_default();
        left -= left.min(found.len());
        ask_for_next_pages(&found, residency);
        if *values {
            for (_, value) in &found {
                batch.add(addresses(value));
                warming.bytes += value.len() as u64;
                bytes_left = bytes_left.saturating_sub(value.len() as u64);
            }
        }
        warming.next = found.last().and_then(|(key, _)| key.next()).filter(|key| key <= last);
        if warming.next.is_none() {
            warming.stage += 1;
        }
        if warming.bytes > residency.warmable_bytes() {
            warming.stage = stages.len();
        }
    }
    batch.send(super::WINDOW_GAP);
    if warming.stage >= stages.len() {
        warming.is_done = true;
        if residency.fits() {
            residency.set_warm(true);
        }
    }
}
