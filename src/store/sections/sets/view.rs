//! Reading the sets of slots of a view.

use roaring::RoaringBitmap;

use crate::error::{Error, Result};
use crate::format::Kind;
use crate::format::checksum::unverified;
use crate::format::set::{CHUNK, SetKind, decode_chunk};
use crate::store::snapshot::Snapshot;
use crate::store::source::Source;
use crate::store::view::View;

impl<'t, S: Source<'t>> View<'_, 't, S> {
    /// All members of a set.
    pub(crate) fn set(&self, kind: SetKind) -> Result<RoaringBitmap> {
        let mut members = RoaringBitmap::new();
        for number in 0..self.snapshot.meta.slots.div_ceil(CHUNK) {
            let key = self.key(Kind::SETS, kind as u8, number);
            if let Some(value) = self.source.get(key)? {
                let chunk =
                    decode_chunk(unverified(value)).map_err(|what| Error::corrupt(key, what))?;
                let slots = chunk.iter().map(|low| number * CHUNK + low);
                members.append(slots).map_err(|_| Error::corrupt(key, "it is out of order"))?;
            }
        }
        Ok(members)
    }

    /// The slots of all live items, pending or linked.
    pub(crate) fn live(&self) -> Result<RoaringBitmap> {
        let mut live = RoaringBitmap::new();
        live.insert_range(0..self.snapshot.meta.slots);
        live -= self.dead()?;
        Ok(live)
    }

    /// The slots without a live item: free ones, and removed ones.
    pub(crate) fn dead(&self) -> Result<RoaringBitmap> {
        let Snapshot { meta, removed, .. } = self.snapshot;
        if meta.free == 0 { Ok(removed.clone()) } else { Ok(removed | self.set(SetKind::Free)?) }
    }
}
