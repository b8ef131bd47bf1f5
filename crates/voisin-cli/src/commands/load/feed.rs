//! The rows of a load, each with its key.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use voisin::AnyKey;

use crate::failure::{Failure, Result, in_our_words};
use crate::keys::Key;
use crate::rows::{Begun, Lines, Row};

/// Why rows ended before their end.
#[derive(Default)]
pub(crate) struct Stop {
    is_failed: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

impl Stop {
    pub(crate) fn fail(&self, failure: Failure) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        self.is_failed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.is_failed.load(Ordering::Relaxed)
    }

    pub(crate) fn take_failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Where the keys of vectors without keys come from.
pub(super) enum Keys {
    Lines(Lines),
    From(u64),
}

/// The name of an item, its vector, and its record if it has one.
type Full<N> = (N, Vec<f32>, Option<Vec<u8>>);

/// The rows of a load, with a key for each.
pub(super) struct Feed<'s> {
    rows: Begun,
    keys: Keys,
    records: Option<Lines>,
    row: u64,
    /// What ends the load at a row that cannot be read.
    pub(super) stop: &'s Stop,
}

impl<'s> Feed<'s> {
    pub(super) fn new(rows: Begun, keys: Keys, records: Option<Lines>, stop: &'s Stop) -> Self {
        Self { rows, keys, records, row: 0, stop }
    }

    /// The rows, under names of an index.
    pub(super) fn of<K: Key + ?Sized>(self) -> Named<'s, K> {
        Named { feed: self, under: None }
    }

    fn next_row<K: Key + ?Sized>(&mut self) -> Result<Option<Full<K::Owned>>> {
        let Some(Row { key, vector, record }) = self.rows.next_row()? else {
            self.is_used_up()?;
            return Ok(None);
        };
        self.row += 1;
        let row = self.row;
        let key = match (key, &mut self.keys) {
            (Some(_), Keys::Lines(lines)) => {
                return Err(lines
                    .name()
                    .wrong("the vectors have keys themselves: leave --keys out"));
            }
            (Some(key), Keys::From(_)) => key,
            (None, Keys::Lines(lines)) => match lines.next_line()? {
                Some((_, key)) => AnyKey::from(key),
                None => {
                    let what = format_args!(
                        "it ends after {} keys, and there are more vectors: give a key for each",
                        row - 1
                    );
                    return Err(lines.name().wrong(what));
                }
            },
            (None, Keys::From(_)) if !K::IS_NUMBER => {
                return Err(Failure::usage(
                    "the vectors have no keys, and the items of the index are named by keys: \
                     give a file with a key on each line (--keys), or create the index with \
                     --names ids",
                ));
            }
            (None, Keys::From(first)) => {
                AnyKey::Number(first.checked_add(row - 1).ok_or_else(|| {
                    Failure::usage(format!(
                        "row {row}: its number would be above 2^64 - 1, from --first-id {first} \
                         on: give a smaller --first-id"
                    ))
                })?)
            }
        };
        let name = K::of(key).map_err(|what| Failure::usage(format!("row {row}: {what}")))?;
        Ok(Some((name, vector, self.record(record)?)))
    }

    /// The record of the current row.
    fn record(&mut self, own: Option<Vec<u8>>) -> Result<Option<Vec<u8>>> {
        let row = self.row;
        match (own, &mut self.records) {
            (Some(_), Some(lines)) => {
                let what = "the vectors have records themselves: leave --records out";
                Err(lines.name().wrong(what))
            }
            (None, Some(lines)) => match lines.next_line()? {
                Some((_, record)) => Ok(Some(record.as_bytes().to_vec())),
                None => {
                    let what = format_args!(
                        "it ends after {} records, and there are more vectors: give a record for \
                         each",
                        row - 1
                    );
                    Err(lines.name().wrong(what))
                }
            },
            (own, None) => Ok(own),
        }
    }

    /// Checks that no keys and no records are left over.
    fn is_used_up(&mut self) -> Result<()> {
        let keys = match &mut self.keys {
            Keys::Lines(lines) => Some(lines),
            Keys::From(_) => None,
        };
        for lines in keys.into_iter().chain(&mut self.records) {
            while let Some((line, text)) = lines.next_line()? {
                if !text.is_empty() {
                    let what = format_args!(
                        "there are only {} vectors: give a line for each and no more",
                        self.row
                    );
                    return Err(lines.name().wrong_at("line", line, what));
                }
            }
        }
        Ok(())
    }
}

/// The key of an item in an index, from that within a tenant.
type Under<'s, N> = Box<dyn Fn(&N) -> voisin::Result<N> + 's>;

/// The rows of a load, by names of one kind.
pub(super) struct Named<'s, K: Key + ?Sized> {
    feed: Feed<'s>,
    under: Option<Under<'s, K::Owned>>,
}

impl<'s, K: Key + ?Sized> Named<'s, K> {
    /// The same rows under the keys that this makes of theirs.
    pub(super) fn under(self, key: impl Fn(&K::Owned) -> voisin::Result<K::Owned> + 's) -> Self {
        Self { under: Some(Box::new(key)), ..self }
    }

    fn next_row(&mut self) -> Result<Option<Full<K::Owned>>> {
        let Some((key, vector, record)) = self.feed.next_row::<K>()? else { return Ok(None) };
        let key = match &self.under {
            Some(under) => under(&key).map_err(|error| {
                let (row, what) = (self.feed.row, in_our_words(&error.to_string()));
                Failure::usage(format!("row {row}: {what}"))
            })?,
            None => key,
        };
        Ok(Some((key, vector, record)))
    }
}

impl<K: Key + ?Sized> Iterator for Named<'_, K> {
    type Item = Full<K::Owned>;

    fn next(&mut self) -> Option<Self::Item> {
        let stop = self.feed.stop;
        if stop.is_failed() {
            return None;
        }
        self.next_row().unwrap_or_else(|failure| {
            stop.fail(failure);
            None
        })
    }

    /// How many rows the input says that it has, so that the engine can check the room for them.
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.feed.rows.count().map(|count| count.saturating_sub(self.feed.row));
        (left.and_then(|left| usize::try_from(left).ok()).unwrap_or(0), None)
    }
}
