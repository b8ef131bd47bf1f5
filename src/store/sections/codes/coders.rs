//! The encoders of an index: that of the newest training, and, while some blocks of codes have not
//! followed it yet, that of the training before.

use heed::RoTxn;

use crate::codes::{Coder, Codes};
use crate::distance::Metric;
use crate::error::{Error, Result};
use crate::format::block::Geometry;
use crate::format::checksum::Sound;
use crate::format::codes::{TRAINED, Trained};
use crate::format::meta::{Meta, Training};
use crate::format::{Key, Kind};
use crate::store::Place;
use crate::types::Slot;

/// The encoders: see the module.
#[derive(Debug)]
pub(in crate::store) struct Coders {
    pub(super) newest: Coder,
    pub(super) older: Option<Coder>,
    training: Training,
    geometry: Geometry,
}

impl Coders {
    /// Reads both trainings by `read`.
    pub(super) fn read(
        metric: &'static Metric,
        index: u16,
        meta: &Meta,
        read: impl Fn(u32) -> Result<Trained>,
    ) -> Result<Option<Self>> {
        let Some(geometry) = meta.code_geometry() else { return Ok(None) };
        let training = meta.training;
        let of = |generation| coder(metric, index, meta, read(generation)?);
        let newest = of(training.generation)?;
        let older = training.has_older().then(|| of(training.generation - 1)).transpose()?;
        Ok(Some(Self { newest, older, training, geometry }))
    }

    /// The encoders of a stored index. `None` if it has no codes.
    pub(super) fn stored(place: Place<'_>, rtxn: &RoTxn<'_>, meta: &Meta) -> Result<Option<Self>> {
        Self::read(place.metric, place.index, meta, |generation| {
            let key = trained_key(place.index, generation);
            decode(key, place.sound(rtxn, key)?, meta)
        })
    }

    /// Whether the code of a slot is of the training before.
    #[inline]
    pub(super) fn is_older(&self, slot: Slot) -> bool {
        self.training.is_older(self.geometry.place(slot).0 as u32)
    }

    /// The encoder of the code of a slot.
    pub(super) fn of(&self, slot: Slot) -> &Coder {
        self.older.as_ref().filter(|_| self.is_older(slot)).unwrap_or(&self.newest)
    }
}

/// The key of a training.
pub(super) fn trained_key(index: u16, generation: u32) -> Key {
    Key::new(index, Kind::CODES, TRAINED, generation)
}

/// Decodes a training.
pub(super) fn decode(key: Key, sound: Option<Sound<'_>>, meta: &Meta) -> Result<Trained> {
    let sound = sound.ok_or(Error::corrupt(key, "it is missing"))?;
    Trained::decode(sound.body(), meta.dimensions).map_err(|what| Error::corrupt(key, what))
}

/// The encoder of a training.
pub(super) fn coder(
    metric: &'static Metric,
    index: u16,
    meta: &Meta,
    trained: Trained,
) -> Result<Coder> {
    let codes = Codes::of_bits(meta.code_bits)
        .ok_or(Error::corrupt(Key::meta(index), "the bits of its codes are impossible"))?;
    Ok(Coder::new(metric, codes, trained.seed, trained.center, meta.scale))
}
