//! Restoring the sets after a torn edit.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use crate::error::Result;
use crate::format::Kind;
use crate::format::set::{CHUNK, SetKind, encode_chunk};
use crate::store::sections::repair::Repair;
use crate::store::target::Put;

/// The puts that replace the stored sets.
pub(super) fn set_puts(repair: &Repair<'_, '_, '_>) -> Result<Vec<Put>> {
    let mut puts = Vec::new();
    if !repair.are_sets_new {
        return Ok(puts);
    }
    for set in SetKind::ALL {
        let members = &repair.sets[set as usize];
        let mut chunks: BTreeMap<u32, RoaringBitmap> = BTreeMap::new();
        for entry in repair.from((Kind::SETS, set as u8), 0)? {
            chunks.insert(entry?.0.n, RoaringBitmap::new());
        }
        for slot in members {
            chunks.entry(slot / CHUNK).or_default().insert(slot % CHUNK);
        }
        puts.extend(chunks.into_iter().map(|(number, members)| {
            let body = (!members.is_empty()).then(|| encode_chunk(members));
            (repair.key((Kind::SETS, set as u8), number), body)
        }));
    }
    Ok(puts)
}
