//! Lookups in order: whoever looks up one value after the other, as a build does that reads all
//! vectors, has the values after them asked for, like a reader of a file.
//!
//! Each thread remembers the last lookups in a few ranges of keys. Lookups at random, as searches
//! make them, are not in order but by chance.

use std::cell::RefCell;
use std::ops::Range;

use super::{WINDOW_BYTES, ask_for_window};
use crate::format::{Key, Kind};

/// Ranges of keys that a thread reads in turns: vectors, codes, lists, item ids.
const STREAMS: usize = 4;
/// The largest step of lookups that are in order.
const MAX_STEP: u32 = 8;
/// After so many lookups in order, more are expected.
const MIN_RUN: u32 = 4;

/// The lookups in a range of keys.
#[derive(Debug, Clone, Copy)]
struct Stream {
    index: u16,
    kind: Kind,
    sub: u8,
    last: u32,
    /// The number of lookups in order, up to the last.
    run: u32,
    /// The values before this one have been asked for, and from this one on more will be.
    asked: u32,
    again: u32,
}

thread_local! {
    static RECENT: RefCell<Vec<Stream>> = const { RefCell::new(Vec::new()) };
}

/// Takes note of a lookup. `following` lists the bytes of the values from a number on, in the range
/// of the key.
#[inline]
pub(crate) fn look_up<'t, I: Iterator<Item = (u32, &'t [u8])>>(
    key: Key,
    following: impl FnOnce(u32) -> Option<I>,
) {
    // A lookup in a destructor of the thread needs no reading ahead.
    let from = RECENT.try_with(|recent| expected(&mut recent.borrow_mut(), key)).ok().flatten();
    if let Some(from) = from {
        ask_from(key, following(from));
    }
}

/// The number from which on values are to be asked for now, if any are.
fn expected(recent: &mut Vec<Stream>, key: Key) -> Option<u32> {
    let is_it =
        |stream: &Stream| (stream.kind, stream.sub, stream.index) == (key.kind, key.sub, key.index);
    let Some(at) = recent.iter().position(is_it) else {
        let Key { index, kind, sub, n } = key;
        recent.truncate(STREAMS - 1);
        recent.insert(0, Stream { index, kind, sub, last: n, run: 0, asked: n, again: n });
        return None;
    };
    // The one that was used last is the first.
    recent[..=at].rotate_right(1);
    let stream = &mut recent[0];
    let step = key.n.wrapping_sub(stream.last);
    stream.last = key.n;
    if step > MAX_STEP {
        (stream.run, stream.asked, stream.again) = (0, key.n, key.n);
        return None;
    }
    stream.run += u32::from(step > 0);
    let is_due = stream.run >= MIN_RUN && key.n >= stream.again;
    is_due.then(|| stream.asked.max(key.n.saturating_add(1)))
}

#[cold]
fn ask_from<'t>(key: Key, following: Option<impl Iterator<Item = (u32, &'t [u8])>>) {
    let (mut bytes, mut end) = (0, u32::MAX);
    let window = following.into_iter().flatten().map_while(|(number, value)| {
        let is_more = bytes < WINDOW_BYTES;
        if is_more {
            bytes += value.len();
            end = number;
        }
        is_more.then(|| super::addresses(value))
    });
    let window: Vec<Range<usize>> = window.take(super::WINDOW_VALUES).collect();
    RECENT.with_borrow_mut(|recent| {
        let Some(stream) = recent.first_mut() else { return };
        stream.asked = end.saturating_add(1);
        // In the middle of the window, so that the next one is read before it is needed.
        stream.again = if window.is_empty() { u32::MAX } else { key.n + (end - key.n) / 2 };
    });
    ask_for_window(window.into_iter());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers that are asked for, by the lookups that they are asked for at.
    fn asked(lookups: impl IntoIterator<Item = u32>, kind: Kind) -> Vec<(u32, u32)> {
        RECENT.with_borrow_mut(Vec::clear);
        static VALUE: [u8; 64 << 10] = [1; 64 << 10];
        let mut asked = Vec::new();
        for n in lookups {
            look_up(Key::new(0, kind, 0, n), |from| {
                asked.push((n, from));
                Some((from..1000).map(|number| (number, &VALUE[..])))
            });
        }
        asked
    }

    #[test]
    fn lookups_in_order_have_what_follows_asked_for_once_and_in_time() {
        let asked = asked(0..1000, Kind::VECTORS);
        // 32 values of 64 KiB are a window.
        assert_eq!(asked[..3], [(4, 5), (20, 37), (44, 69)]);
        assert!(asked.iter().zip(&asked[1..]).all(|(a, b)| a.1 < b.1), "{asked:?}");
        assert!(asked.iter().all(|(at, from)| at < from), "{asked:?}");
        assert!(asked.len() < 40, "{asked:?}");
    }

    #[test]
    fn lookups_at_random_have_nothing_asked_for() {
        let scattered = (0..1000).map(|n| n * 7919 % 1000);
        assert_eq!(asked(scattered, Kind::LINKS), []);
        assert_eq!(asked((0..1000).rev(), Kind::LINKS), []);
        assert_eq!(asked(std::iter::repeat_n(5, 100), Kind::LINKS), []);
    }
}
