//! The names of items: ids, which every item has, or keys of the caller's, which
//! `store/sections/item_keys` maps to ids.
//!
//! The set of key types is closed: an index records on disk which one it has, and can be opened
//! only with the type that it was created with.

use std::fmt::{self, Debug};
use std::hash::Hash;

use crate::error::{Error, Result};
use crate::format::item_keys::{MAX_BYTES, Naming, Uuid};
use crate::types::ItemId;

/// The maximum length of an item key: 480 bytes.
pub const MAX_KEY_BYTES: usize = MAX_BYTES;

pub(crate) mod sealed {
    use crate::error::Result;
    use crate::format::item_keys::Naming;

    /// The kind of names, as recorded on disk.
    pub trait Name {
        const NAMING: Naming;
    }

    /// Names as bytes, whose order is that of the names.
    pub trait Bytes: super::ItemName {
        /// Appends the bytes.
        ///
        /// # Errors
        /// [`InvalidItemKey`](crate::Error::InvalidItemKey).
        fn put(&self, out: &mut Vec<u8>) -> Result<()>;
        /// The key of some bytes, if they have passed [`Naming::check`].
        fn take(bytes: &[u8]) -> Option<Self::Owned>;
        /// A predicate by name, without its type.
        fn predicate<'a>(accepts: &'a (dyn Fn(&Self) -> bool + Sync)) -> super::NamePredicate<'a>;
        /// The bytes of an owned key.
        ///
        /// # Errors
        /// [`InvalidItemKey`](crate::Error::InvalidItemKey).
        fn bytes(owned: &Self::Owned) -> Result<Vec<u8>>;
    }
}

/// The names of the items of an [`Index`](crate::Index): [`ItemId`], that is `u32`, or an
/// [`ItemKey`].
///
/// ```
/// use voisin::{Error, Index, ItemName, Options, distances::Euclidean};
///
/// /// Works for indexes of any key type.
/// fn count<K: ItemName + ?Sized>(index: &Index<Euclidean, K>) -> voisin::Result<u64> {
///     Ok(index.snapshot()?.len())
/// }
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("vectors");
/// let by_id = Index::<Euclidean>::create(&path, Options::new(2))?;
/// let by_key = Index::<Euclidean, str>::create(&path, Options::new(2).name("texts"))?;
/// assert_eq!((count(&by_id)?, count(&by_key)?), (0, 0));
/// let wrong = Index::<Euclidean, u64>::open(&path, Options::default().name("texts"));
/// let Err(Error::NamingMismatch { stored, requested, .. }) = wrong else { panic!() };
/// assert_eq!((stored, requested), ("string keys", "u64 keys"));
/// # Ok(())
/// # }
/// ```
pub trait ItemName: sealed::Name + 'static {
    /// The owned name in answers: `u32`, `u64`, `String`, `Vec<u8>` or `[u8; 16]`.
    type Owned: Clone + Debug + Eq + Hash + Ord + Send + Sync + 'static;
}

/// A key, which names an item instead of a `u32`: a `u64`; a string (`str`) or any bytes (`[u8]`),
/// 1 to [`MAX_KEY_BYTES`] bytes of them; or the 16 bytes of a UUID (`[u8; 16]`).
///
/// A key costs two lookups when it is added, one when it is looked up, and one when it is first in
/// an answer. It takes about 45 bytes plus twice its length on disk, and 8 bytes of memory in every
/// snapshot that is searched. An index with keys assigns the ids of its items itself, and does not
/// expose them.
///
/// ```
/// use voisin::{Index, Options, distances::Cosine};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("vectors");
/// let index = Index::<Cosine, str>::create(&path, Options::new(2))?;
/// index.write(|batch| {
///     batch.add("a note", &[1.0, 0.0])?;
///     batch.add(format!("{} note", "another"), &[0.0, 1.0])
/// })?;
/// let found = index.search(1).by_vector(&[0.1, 0.9])?.into_nns();
/// assert_eq!(found[0].0, "another note");
/// let like_it = index.search(1).by_item("another note")?.unwrap().into_nns();
/// assert_eq!(like_it[0].0, "a note");
/// # Ok(())
/// # }
/// ```
///
/// An index named by `[u8; 16]` names its items by UUIDs: voisin shows such keys as
/// `67e55044-10b1-426f-9247-bb680e5fe0c8`, and depends on no crate for them. Those of the crate
/// `uuid` are borrowed by `Uuid::as_bytes`, and made of answers by `Uuid::from_bytes`.
///
/// ```
/// use uuid::Uuid;
/// use voisin::{Index, Options, distances::Cosine};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("vectors");
/// let index = Index::<Cosine, [u8; 16]>::create(&path, Options::new(2))?;
/// let user = Uuid::from_u128(0x67e55044_10b1_426f_9247_bb680e5fe0c8);
/// index.write(|batch| batch.add(user.as_bytes(), &[1.0, 0.0]))?;
/// let found = index.search(1).by_vector(&[0.9, 0.1])?.into_nns();
/// assert_eq!(Uuid::from_bytes(found[0].0), user);
///
/// // Any bytes, such as a hash, and all items whose keys begin with some of them.
/// let hashes = Index::<Cosine, [u8]>::create(&path, Options::new(2).name("hashes"))?;
/// hashes.write(|batch| batch.add([0xF0, 0x9F, 0xFF], &[1.0, 0.0]))?;
/// let found = hashes.search(1).prefix(&[0xF0]).by_vector(&[0.9, 0.1])?.into_nns();
/// assert_eq!(found[0].0, [0xF0, 0x9F, 0xFF]);
/// # Ok(())
/// # }
/// ```
pub trait ItemKey: ItemName + sealed::Bytes {}

impl sealed::Name for ItemId {
    const NAMING: Naming = Naming::Ids;
}

impl ItemName for ItemId {
    type Owned = Self;
}

impl sealed::Bytes for ItemId {
    fn put(&self, out: &mut Vec<u8>) -> Result<()> {
        out.extend(self.to_be_bytes());
        Ok(())
    }

    fn take(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }

    fn predicate<'a>(accepts: &'a (dyn Fn(&Self) -> bool + Sync)) -> NamePredicate<'a> {
        NamePredicate::Ids(accepts)
    }

    fn bytes(owned: &Self) -> Result<Vec<u8>> {
        Ok(owned.to_be_bytes().into())
    }
}

impl sealed::Name for u64 {
    const NAMING: Naming = Naming::U64;
}

impl ItemName for u64 {
    type Owned = Self;
}

impl ItemKey for u64 {}

impl sealed::Bytes for u64 {
    fn put(&self, out: &mut Vec<u8>) -> Result<()> {
        out.extend(self.to_be_bytes());
        Ok(())
    }

    fn take(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }

    fn predicate<'a>(accepts: &'a (dyn Fn(&Self) -> bool + Sync)) -> NamePredicate<'a> {
        NamePredicate::U64(accepts)
    }

    fn bytes(owned: &Self) -> Result<Vec<u8>> {
        Ok(owned.to_be_bytes().into())
    }
}

impl sealed::Name for str {
    const NAMING: Naming = Naming::Text;
}

impl ItemName for str {
    type Owned = String;
}

impl ItemKey for str {}

impl sealed::Bytes for str {
    fn put(&self, out: &mut Vec<u8>) -> Result<()> {
        put_checked(self.as_bytes(), out)
    }

    fn take(bytes: &[u8]) -> Option<String> {
        std::str::from_utf8(bytes).ok().map(str::to_owned)
    }

    fn predicate<'a>(accepts: &'a (dyn Fn(&Self) -> bool + Sync)) -> NamePredicate<'a> {
        NamePredicate::Text(accepts)
    }

    fn bytes(owned: &String) -> Result<Vec<u8>> {
        bytes_of::<Self>(owned)
    }
}

impl sealed::Name for [u8] {
    const NAMING: Naming = Naming::Bytes;
}

impl ItemName for [u8] {
    type Owned = Vec<u8>;
}

impl ItemKey for [u8] {}

impl sealed::Bytes for [u8] {
    fn put(&self, out: &mut Vec<u8>) -> Result<()> {
        put_checked(self, out)
    }

    fn take(bytes: &[u8]) -> Option<Vec<u8>> {
        Some(bytes.to_vec())
    }

    fn predicate<'a>(accepts: &'a (dyn Fn(&Self) -> bool + Sync)) -> NamePredicate<'a> {
        NamePredicate::Bytes(accepts)
    }

    fn bytes(owned: &Vec<u8>) -> Result<Vec<u8>> {
        bytes_of::<Self>(owned)
    }
}

impl sealed::Name for Uuid {
    const NAMING: Naming = Naming::Uuid;
}

impl ItemName for Uuid {
    type Owned = Self;
}

impl ItemKey for Uuid {}

impl sealed::Bytes for Uuid {
    fn put(&self, out: &mut Vec<u8>) -> Result<()> {
        out.extend(self);
        Ok(())
    }

    fn take(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok()
    }

    fn predicate<'a>(accepts: &'a (dyn Fn(&Self) -> bool + Sync)) -> NamePredicate<'a> {
        NamePredicate::Uuids(accepts)
    }

    fn bytes(owned: &Self) -> Result<Vec<u8>> {
        Ok(owned.into())
    }
}

/// Appends the bytes of a key of any length, if it is one that can be stored.
fn put_checked(key: &[u8], out: &mut Vec<u8>) -> Result<()> {
    if !(1..=MAX_KEY_BYTES).contains(&key.len()) {
        return Err(Error::InvalidItemKey { bytes: key.len(), max: MAX_KEY_BYTES });
    }
    out.extend(key);
    Ok(())
}

/// A key that begins with others: `str` or `[u8]`.
pub trait PrefixedKey: ItemKey {
    #[doc(hidden)]
    fn as_prefix(&self) -> &[u8];
}

impl PrefixedKey for str {
    fn as_prefix(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PrefixedKey for [u8] {
    fn as_prefix(&self) -> &[u8] {
        self
    }
}

/// A predicate of a query, by the names of items.
#[derive(Clone, Copy)]
#[doc(hidden)]
pub enum NamePredicate<'a> {
    Ids(&'a (dyn Fn(&ItemId) -> bool + Sync)),
    U64(&'a (dyn Fn(&u64) -> bool + Sync)),
    Text(&'a (dyn Fn(&str) -> bool + Sync)),
    Bytes(&'a (dyn Fn(&[u8]) -> bool + Sync)),
    Uuids(&'a (dyn Fn(&Uuid) -> bool + Sync)),
}

impl Debug for NamePredicate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NamePredicate")
    }
}

impl NamePredicate<'_> {
    /// Asks the predicate about a name, as bytes. `None` if these are not of its type.
    pub(crate) fn ask(&self, name: &[u8]) -> Option<bool> {
        Some(match self {
            Self::Ids(accepts) => accepts(&ItemId::from_be_bytes(name.try_into().ok()?)),
            Self::U64(accepts) => accepts(&u64::from_be_bytes(name.try_into().ok()?)),
            Self::Text(accepts) => accepts(std::str::from_utf8(name).ok()?),
            Self::Bytes(accepts) => accepts(name),
            Self::Uuids(accepts) => accepts(name.try_into().ok()?),
        })
    }
}

/// A value that names an item: an [`ItemId`] where items are named by ids; `u64` and `&u64` where
/// they are named by `u64`; any [`AsRef<str>`], such as `&str`, `String` and `&String`, where they
/// are named by strings; any `AsRef<[u8]>`, such as `&[u8]`, `Vec<u8>` and `[u8; 3]`, where they
/// are named by bytes; `[u8; 16]` and `&[u8; 16]` where they are named by UUIDs.
///
/// ```
/// use voisin::{AsKey, ItemKey};
///
/// fn length<K: ItemKey + ?Sized>(key: impl AsKey<K>) -> usize {
///     size_of_val(key.as_key())
/// }
///
/// assert_eq!((length::<str>("four"), length::<str>(String::from("three"))), (4, 5));
/// assert_eq!((length::<u64>(17), length::<[u8]>(b"bytes")), (8, 5));
/// assert_eq!(length::<[u8; 16]>(&[7; 16]), 16);
/// ```
pub trait AsKey<K: ItemName + ?Sized> {
    /// The key.
    fn as_key(&self) -> &K;
}

impl<T: AsRef<str> + ?Sized> AsKey<str> for T {
    fn as_key(&self) -> &str {
        self.as_ref()
    }
}

impl<T: AsRef<[u8]> + ?Sized> AsKey<[u8]> for T {
    fn as_key(&self) -> &[u8] {
        self.as_ref()
    }
}

impl AsKey<Uuid> for Uuid {
    fn as_key(&self) -> &Uuid {
        self
    }
}

impl AsKey<Uuid> for &Uuid {
    fn as_key(&self) -> &Uuid {
        self
    }
}

impl AsKey<ItemId> for ItemId {
    fn as_key(&self) -> &ItemId {
        self
    }
}

impl AsKey<u64> for u64 {
    fn as_key(&self) -> &u64 {
        self
    }
}

impl AsKey<u64> for &u64 {
    fn as_key(&self) -> &u64 {
        self
    }
}

/// The bytes of a key.
///
/// # Errors
/// [`Error::InvalidItemKey`].
pub(crate) fn bytes_of<K: sealed::Bytes + ?Sized>(key: &impl AsKey<K>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    sealed::Bytes::put(key.as_key(), &mut bytes)?;
    Ok(bytes)
}
