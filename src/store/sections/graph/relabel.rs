//! Rewriting the whole graph with new slots.

use crate::error::{Error, Result};
use crate::format::Kind;
use crate::format::links::{OneWay, Record, encode_group, encode_record};
use crate::store::sections::relabel::{NONE, Relabel};
use crate::store::target::Put;
use crate::threads::{self, LISTS};
use crate::types::Layer;

/// All values of one layer of the graph, by new slots.
pub(super) fn layer_puts(relabel: &Relabel<'_, '_, '_>, layer: Layer) -> Result<Vec<Put>> {
    // Without the codes, which are in a `Cell` and cannot be shared with other threads.
    let Relabel { view, working, order, numbers, go_on, .. } = relabel;
    let record = |new: usize| -> Result<Option<(u32, Record)>> {
        go_on()?;
        let old = order[new];
        let Some(node) = working.get(layer, old)? else { return Ok(None) };
        let neighbors = numbers.of_all(node.edges.iter().map(|edge| edge.slot));
        let children = numbers.of_all(node.children.iter().map(|child| child.0));
        let children =
            neighbors.iter().map(|neighbor| children.binary_search(neighbor).is_ok()).collect();
        let (parent, rank) = (numbers.of(node.parent), numbers.ranks[old.index()]);
        Ok(Some((
            new as u32,
            Record { neighbors, parent, rank, children, one_way: OneWay::Here(Vec::new()) },
        )))
    };
    let records = threads::map_range(order.len(), LISTS, record)?;
    let mut records: Vec<(u32, Record)> = records.into_iter().flatten().collect();
    let mut places = vec![NONE; order.len()];
    for (place, (slot, _)) in records.iter().enumerate() {
        places[*slot as usize] = place as u32;
    }
    let damaged = || {
        Error::corrupt(
            view.key(Kind::LINKS, layer.0, 0),
            "a list names a slot that is no node of its layer",
        )
    };
    let mut one_way: Vec<Vec<u32>> = vec![Vec::new(); records.len()];
    for (slot, record) in &records {
        for neighbor in &record.neighbors {
            let place = places.get(*neighbor as usize).map_or(NONE, |place| *place) as usize;
            let (_, back) = records.get(place).ok_or_else(damaged)?;
            if back.neighbors.binary_search(slot).is_err() {
                one_way[place].push(*slot);
            }
        }
    }
    let mut puts = Vec::new();
    for ((slot, record), one_way) in records.iter_mut().zip(one_way) {
        let (one_way, body) = OneWay::place(one_way);
        record.one_way = one_way;
        puts.extend(body.map(|body| (view.key(Kind::IN, layer.0, *slot), Some(body))));
    }
    let size = view.group_size()?;
    let group = |records: &[(u32, Record)]| {
        let number = records[0].0 / size as u32;
        let mut bytes = vec![Vec::new(); size];
        for (slot, record) in records {
            encode_record(record, &mut bytes[*slot as usize % size]);
        }
        let [links, spill] = encode_group(&bytes);
        Ok::<[Put; 2], Error>(
            [(Kind::LINKS, links), (Kind::SPILL, spill)]
                .map(|(kind, body)| (view.key(kind, layer.0, number), body)),
        )
    };
    let groups: Vec<&[(u32, Record)]> =
        records.chunk_by(|(a, _), (b, _)| *a as usize / size == *b as usize / size).collect();
    let groups = threads::map(&groups, LISTS, |records| group(records))?;
    puts.extend(groups.into_iter().flatten().filter(|(_, body)| body.is_some()));
    Ok(puts)
}
