//! What META says of the tables, and their training: the center and the seed of all hashes.

use voisin_kernels::lsh::Hasher;

use crate::error::{Error, Result};
use crate::format::checksum::Sound;
use crate::format::codes::Trained;
use crate::format::meta::Meta;
use crate::format::{Key, Kind};
use crate::kinds::lsh::format::{Part, TRAINED};

/// The key of the training.
pub(super) fn trained_key(index: u16) -> Key {
    Key::new(index, Kind::LSH, TRAINED, 0)
}

/// What META says of the tables. `None` if there are none.
pub(crate) fn part(index: u16, meta: &Meta) -> Result<Option<Part>> {
    let Some(part) = meta.part(Kind::LSH) else { return Ok(None) };
    let part = Part::decode(part).map_err(|what| Error::corrupt(Key::meta(index), what))?;
    Ok(Some(part).filter(|part| part.is_built))
}

/// Whether an index has tables that searches can use.
pub(crate) fn has_tables(meta: &Meta) -> bool {
    matches!(part(0, meta), Ok(Some(_)))
}

/// Decodes the training.
pub(super) fn decode(key: Key, value: Option<Sound<'_>>, meta: &Meta) -> Result<Trained> {
    let value = value.ok_or(Error::corrupt(key, "it is missing"))?;
    Trained::decode(value.body(), meta.dimensions).map_err(|what| Error::corrupt(key, what))
}

pub(super) fn hasher(trained: &Trained, part: Part) -> Hasher {
    Hasher::new(trained.seed, trained.center.clone(), part.tables.into())
}
