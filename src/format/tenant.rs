//! Tenants: prefixes of item keys, under each of which keys are a space of their own.
//!
//! The key of a tenant's item is [`MARK`], the name of the tenant with its NULs escaped, [`END`],
//! and the key within the tenant. No such prefix begins another, so an item is of one tenant; the
//! prefixes sort like the names, so all items of a tenant are one range of keys, and all tenants
//! are one range, too, before any key that does not begin with a NUL. All added bytes are ASCII: of
//! names and keys that are UTF-8, the whole is UTF-8.

/// The first byte of the keys of tenants' items.
const MARK: u8 = 0;
/// The end of a name. A NUL in a name becomes [`ESCAPED`].
const END: [u8; 2] = [0, 1];
const ESCAPED: [u8; 2] = [0, 2];

/// The first bytes of the keys of any tenant's items.
pub(crate) const ALL: &[u8] = &[MARK];

/// The prefix of the keys of a tenant's items, which have at most `max` bytes. `None` if no tenant
/// can have this name: it is empty, or so long that there is no room for a key.
pub(crate) fn prefix(name: &[u8], max: usize) -> Option<Vec<u8>> {
    if name.is_empty() || name.len() >= max {
        return None;
    }
    let mut prefix = vec![MARK];
    for byte in name {
        match byte {
            0 => prefix.extend(ESCAPED),
            byte => prefix.push(*byte),
        }
    }
    prefix.extend(END);
    (prefix.len() < max).then_some(prefix)
}

/// The name of the tenant of an item, and the length of its prefix. `None` if the key is not one of
/// a tenant's item.
pub(crate) fn name_in(key: &[u8]) -> Option<(Vec<u8>, usize)> {
    let rest = key.strip_prefix(ALL)?;
    let (mut name, mut at) = (Vec::new(), 0);
    loop {
        match *rest.get(at)? {
            0 if rest[at..].starts_with(&END) => break,
            0 if rest[at..].starts_with(&ESCAPED) => {
                name.push(0);
                at += ESCAPED.len();
            }
            0 => return None,
            byte => {
                name.push(byte);
                at += 1;
            }
        }
    }
    let length = ALL.len() + at + END.len();
    (!name.is_empty() && length < key.len()).then_some((name, length))
}

/// What the keys of all tenants after one are not less than, of which this is the prefix.
pub(crate) fn after(mut prefix: Vec<u8>) -> Vec<u8> {
    // The end of the name becomes the escape of a NUL, with which longer names go on.
    if let Some(last) = prefix.last_mut() {
        *last = ESCAPED[1];
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_BYTES: usize = 480;

    const NAMES: &[&[u8]] = &[
        b"\0",
        b"\0\0",
        b"\0\x01",
        b"\0\x02",
        b"\x01",
        b"\x02",
        b"a",
        b"a\0",
        b"a\0\x01",
        b"a\0\x01b",
        b"a\0\x02",
        b"a\x01",
        b"a\x02",
        b"ab",
        b"b",
        b"\xFF\0",
        b"\xFF\xFF",
    ];

    /// Names sort before they are encoded as after, each is read back from any key, and the keys of
    /// a tenant lie between its prefix and that of the next.
    #[test]
    fn prefixes_sort_like_names_and_none_begins_another() {
        let mut names = NAMES.to_vec();
        names.sort_unstable();
        let prefixes: Vec<_> = names.iter().map(|name| prefix(name, MAX_BYTES).unwrap()).collect();
        assert!(prefixes.is_sorted());
        let keys: [&[u8]; 5] = [b"\0", b"\0\x01", b"key", b"\xFF", b"\x02"];
        for (at, (name, first)) in names.iter().zip(&prefixes).enumerate() {
            for (_, other) in prefixes.iter().enumerate().filter(|(other, _)| *other != at) {
                assert!(!other.starts_with(first), "{first:x?} {other:x?}");
            }
            for key in keys {
                let whole = [first, key].concat();
                assert_eq!(name_in(&whole), Some((name.to_vec(), first.len())), "{whole:x?}");
                assert!(after(first.clone()) > whole);
            }
            if let Some(next) = prefixes.get(at + 1) {
                assert!(after(first.clone()) <= *next, "{first:x?} {next:x?}");
            }
        }
    }

    #[test]
    fn keys_without_a_tenant_and_names_without_room_are_told() {
        let plain: [&[u8]; 9] = [
            b"",
            b"a",
            b"a\0\x01b",
            b"\0",
            b"\0a",
            b"\0a\0",
            b"\0a\0\x03b",
            b"\0\0\x01b",
            b"\0a\0\x01",
        ];
        for key in plain {
            assert_eq!(name_in(key), None, "{key:x?}");
        }
        let length = |name: &[u8]| prefix(name, MAX_BYTES).map(|prefix| prefix.len());
        assert_eq!(length(b""), None);
        assert_eq!(length(&[b'a'; MAX_BYTES - 4]), Some(MAX_BYTES - 1));
        assert_eq!(length(&[b'a'; MAX_BYTES - 3]), None);
        assert_eq!(length(&[0; MAX_BYTES / 2 - 1]), None);
        assert_eq!(length(&[0; 2 * MAX_BYTES]), None);
    }
}
