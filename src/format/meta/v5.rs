//! META of format version 5, which is read and never written. All fields are in one part, and it
//! does not say how items are named.
//!
//! An index of version 5 is upgraded by the next edit: `store/open.rs` (`read_for_change`) adds how
//! items are named, and `store/target.rs` deletes its DELTA values and writes META as the current
//! version. Until then, snapshots carry no pointer tables over (`store/owned_snapshot.rs`).

use super::{CONNECTIVITY, Connectivity, MAX_LAYERS, Meta, Torn, Training, geometry, metric_name};
use crate::format::item_keys::Naming;
use crate::format::{Damage, take, take_u16, take_u32};
use crate::types::{Scale, Slot};

/// Bytes before the checksum.
const BODY_BYTES: usize = 192;
/// Offset of the mark of an unfinished edit.
const MARK: usize = 74;

pub(super) fn decode(body: &[u8]) -> Result<(Meta, Option<Torn>), Damage> {
    if body.len() != BODY_BYTES {
        return Err("it does not have the length of its version");
    }
    let u16_at = |offset| take_u16(body, offset).unwrap_or_default();
    let u32_at = |offset| take_u32(body, offset).unwrap_or_default();
    let (codec, layers, dimensions) = (body[10], usize::from(body[11]), u32_at(12));
    let geometry = geometry(codec, dimensions, u16_at(30).into())?;
    if u32_at(16) as usize != geometry.block_bytes || u32_at(20) != geometry.vectors {
        return Err("its block geometry is not that of its dimensions");
    }
    let connectivity = match [u16_at(24), u16_at(26), u16_at(28)] {
        [0, 0, 0] => None,
        [m, m0, group] => {
            Connectivity::new(m.into(), m0.into()).filter(|found| found.links_group == group)
        }
    };
    if connectivity.is_none() && (layers > 0 || u16_at(24) > 0) || layers > MAX_LAYERS {
        return Err(CONNECTIVITY);
    }
    let metric = metric_name(&body[80..112])?;
    let torn = Torn::from_byte(body[MARK]);
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    let is_clean = is_zero(&body[75..76])
        && is_zero(&body[80 + metric.len()..112])
        && is_zero(&body[112 + 4 * layers..176])
        && body[73] <= 1
        && (torn.is_some() || body[MARK] == 0);
    if !is_clean {
        return Err("a reserved byte of it is not zero");
    }
    let meta = Meta {
        version: 5,
        naming: Naming::Ids,
        metric,
        codec,
        dimensions,
        geometry,
        has_graph: true,
        connectivity,
        ef_construction: u32_at(32),
        alpha: f32::from_bits(u32_at(36)),
        slots: u32_at(40),
        sealed: u32_at(44),
        items: u32_at(48),
        pending: u32_at(52),
        removed: u32_at(56),
        free: u32_at(60),
        next_rank: u32_at(64),
        reuse_from: u32_at(68),
        code_bits: body[72],
        is_coded: body[73] == 1,
        training: Training::default(),
        growth: f32::from_bits(u32_at(76)),
        roots: (0..layers).map(|layer| Slot(u32_at(112 + 4 * layer))).collect(),
        calibration: None,
        scale: Scale { center: f32::from_bits(u32_at(176)), step: f32::from_bits(u32_at(180)) },
        saturated: take(body, 184).map_or(0, u64::from_le_bytes),
        norm_bound: 0.0,
        others: Vec::new(),
    };
    meta.possible()?;
    Ok((meta, torn))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An index of 70 vectors of 8 dimensions with the metric `dot product`, without a graph.
    fn body() -> Vec<u8> {
        let mut body = vec![0; BODY_BYTES];
        let geometry = geometry(1, 8, 0).unwrap();
        body[10] = 1;
        for (offset, value) in [
            (12, 8),
            (16, geometry.block_bytes as u32),
            (20, geometry.vectors),
            (40, 70),
            (48, 70),
            (52, 70),
        ] {
            body[offset..offset + 4].copy_from_slice(&u32::to_le_bytes(value));
        }
        body[80..91].copy_from_slice(b"dot product");
        body
    }

    #[test]
    fn what_version_5_wrote_is_read_with_its_mark() {
        let (meta, torn) = decode(&body()).unwrap();
        assert_eq!((meta.version, meta.slots, meta.items, torn), (5, 70, 70, None));
        assert_eq!((&*meta.metric, meta.naming), ("dot product", Naming::Ids));
        let mut marked = body();
        marked[MARK] = 2;
        assert_eq!(decode(&marked), Ok((meta, Some(Torn::Derived))));
    }

    #[test]
    fn reserved_bytes_and_other_lengths_are_refused_and_no_byte_makes_it_panic() {
        for reserved in [30, 73, 74, 75, 92, 112, 140, 176] {
            let mut damaged = body();
            damaged[reserved] = 7;
            assert!(decode(&damaged).is_err(), "{reserved}");
        }
        assert!(decode(&body()[1..]).is_err());
        for at in 0..BODY_BYTES {
            for byte in [0, 1, 127, 255] {
                let mut damaged = body();
                damaged[at] = byte;
                _ = decode(&damaged);
            }
        }
    }
}
