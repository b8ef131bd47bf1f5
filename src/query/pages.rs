//! Results page by page, and tokens, by which another process goes on.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use super::pinned::{Names, Pinned, Work, named};
use super::{Query, Searchable};
use crate::codec::{Component, Components};
use crate::distance::Metric;
use crate::error::{Error, Result};
use crate::filter::Named;
use crate::item_key::{AsKey, bytes_of, sealed};
use crate::search::pages::{Near, Stream};
use crate::search::request::Efforts;
use crate::search::{AnyView, Beside, Deadline, Request, Searched, Settled};
use crate::types::{IndexKind, ItemId};

/// The results of a query, page by page: see [`Query::pages`].
pub struct Pages<P, K: ?Sized = ItemId> {
    pinned: P,
    options: Options,
    stream: Stream,
    /// The number of the index.
    index: u16,
    commit: Option<u64>,
    /// A hash of the query.
    question: u64,
    /// Whether the last page of the iterator had no time for a single item.
    is_stalled: bool,
    /// The space of keys that the query is in.
    space: Vec<u8>,
    key: PhantomData<fn(&K)>,
}

/// The options of a query, without its restrictions.
#[derive(Debug, Clone)]
struct Options {
    k: usize,
    ef_search: usize,
    efforts: Efforts,
    recall: Option<f64>,
    exact: Option<bool>,
    kind: Option<IndexKind>,
    codes: bool,
    metric: Option<&'static Metric>,
    beside: Beside,
    deadline: Option<Deadline>,
    within: Option<f32>,
}

impl Options {
    fn of(request: Request<'_>) -> Self {
        let Request { k, ef_search, efforts, recall, exact, kind, codes, .. } = request;
        let Request { metric, beside, deadline, within, .. } = request;
        Self { k, ef_search, efforts, recall, exact, kind, codes, metric, beside, deadline, within }
    }

    fn request(&self) -> Request<'static> {
        Request {
            ef_search: self.ef_search,
            efforts: self.efforts,
            recall: self.recall,
            exact: self.exact,
            kind: self.kind,
            codes: self.codes,
            metric: self.metric,
            beside: self.beside,
            deadline: self.deadline,
            within: self.within,
            ..Request::new(self.k)
        }
    }
}

impl<P, K: ?Sized> fmt::Debug for Pages<P, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("position", &self.position())
            .field("commit", &self.commit)
            .finish_non_exhaustive()
    }
}

/// The hash function FNV-1a, of 64 bits.
#[derive(Debug, Clone, Copy)]
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self
    }
}

/// A hash of everything that the sequence of results depends on in one state of the index.
fn question_of(near: &Near, options: &Options, settled: &Settled) -> u64 {
    let mut hash = match near {
        Near::F32(vector) => {
            vector.iter().fold(Fnv::new(), |hash, c| hash.add(&f64::from(*c).to_le_bytes()))
        }
        Near::F64(vector) => vector.iter().fold(Fnv::new(), |hash, c| hash.add(&c.to_le_bytes())),
        Near::Item(item) => Fnv::new().add(b"item").add(&item.to_le_bytes()),
    };
    hash = hash.add(&(options.ef_search as u64).to_le_bytes());
    hash = options.recall.iter().fold(hash, |hash, recall| hash.add(&recall.to_le_bytes()));
    hash = hash.add(&[u8::from(options.codes), options.exact.map_or(2, u8::from)]);
    hash = options.kind.iter().fold(hash, |hash, kind| hash.add(kind.name().as_bytes()));
    hash = options.metric.iter().fold(hash, |hash, metric| hash.add(metric.name().as_bytes()));
    hash = hash.add(&options.within.unwrap_or(f32::NAN).to_le_bytes());
    for (name, slots) in [&b"among"[..], b"without"].into_iter().zip(settled.slots()) {
        if let Some(slots) = slots {
            hash = slots.iter().fold(hash.add(name), |hash, slot| hash.add(&slot.to_le_bytes()));
        }
    }
    hash.0
}

/// Where pages go on, in another process or later: see [`Pages::token`].
///
/// It is 43 bytes, and 86 hexadecimal digits as text. What is in it is not a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageToken([u8; TOKEN_BYTES]);

const TOKEN_BYTES: usize = 43;
const TOKEN_VERSION: u8 = 1;

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Said {
    index: u16,
    commit: u64,
    position: u64,
    last: Option<ItemId>,
    distance: f32,
    question: u64,
}

impl PageToken {
    fn of(said: Said) -> Self {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.push(TOKEN_VERSION);
        bytes.extend(said.index.to_le_bytes());
        bytes.extend(said.commit.to_le_bytes());
        bytes.extend(said.position.to_le_bytes());
        bytes.extend(said.last.unwrap_or(0).to_le_bytes());
        bytes.extend(said.distance.to_le_bytes());
        bytes.extend(said.question.to_le_bytes());
        let check = Fnv::new().add(&bytes).0;
        bytes.extend(check.to_le_bytes());
        let mut token = [0; TOKEN_BYTES];
        token.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        Self(token)
    }

    fn said(&self) -> Result<Said> {
        let bytes = &self.0;
        fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
            let (first, others) = rest.split_first_chunk().unwrap_or((&[0; N], &[]));
            *rest = others;
            *first
        }
        let (body, check) = bytes.split_at(TOKEN_BYTES - 8);
        if body[0] != TOKEN_VERSION || Fnv::new().add(body).0.to_le_bytes() != check {
            return Err(Error::InvalidPageToken { what: "is damaged" });
        }
        let rest = &mut &body[1..];
        let (index, commit) = (u16::from_le_bytes(take(rest)), u64::from_le_bytes(take(rest)));
        let (position, last) = (u64::from_le_bytes(take(rest)), u32::from_le_bytes(take(rest)));
        let (distance, question) = (f32::from_le_bytes(take(rest)), u64::from_le_bytes(take(rest)));
        let last = (position > 0).then_some(last);
        Ok(Said { index, commit, position, last, distance, question })
    }

    /// The bytes of the token.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The token of bytes.
    ///
    /// # Errors
    /// [`InvalidPageToken`](Error::InvalidPageToken).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let token = bytes.try_into().map(Self);
        let token = token.map_err(|_| Error::InvalidPageToken { what: "has another length" })?;
        token.said().map(|_| token)
    }
}

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for PageToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let pairs = text.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> = pairs
            .map(|pair| {
                let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
                u8::from_str_radix(pair, 16).ok()
            })
            .collect();
        let bytes = bytes.ok_or(Error::InvalidPageToken { what: "is not hexadecimal" })?;
        Self::from_bytes(&bytes)
    }
}

/// The pages of a query on a [`Searchable`].
type PagesOf<'a, S> = Pages<<S as Searchable>::Pinned<'a>, <S as Searchable>::Key>;

impl<'a, S: Searchable> Query<'a, S> {
    /// The results near `vector`, page by page, `k` a page, until there are no more: an iterator of
    /// answers. It keeps its snapshot and what it has searched, so that a page costs about what it
    /// yields, wherever it is, and no item comes twice, whatever is committed meanwhile. All
    /// options of the query hold for each page, but for [`cancel`](Self::cancel): see
    /// [`Pages::next_page`].
    ///
    /// Pages outlive the query, so the predicate of a [`filter`](Self::filter) is asked once, of
    /// every item that the other restrictions leave, before this returns: where that is too much,
    /// set [`candidates`](Self::candidates).
    ///
    /// Distances increase, by their definition in an [`exact`](Self::exact) query. Other queries
    /// search the graph, a block of 16 to 256 items at a time, so an item that edges lead to late
    /// comes late: at the start of a block there may be items that are nearer than the last ones of
    /// the block before. All items come in the end.
    ///
    /// ```
    /// use voisin::{Error, Index, Options, distances::Euclidean};
    ///
    /// # fn main() -> voisin::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let index = Index::<Euclidean>::create(folder.path().join("vectors"), Options::new(1))?;
    /// index.write(|batch| batch.add_items_from((0..3000).map(|item| (item, [item as f32]))))?;
    /// let mut pages = index.search(3).pages(&[0.0])?;
    /// assert_eq!(pages.next().unwrap()?.into_nns(), [(0, 0.0), (1, 1.0), (2, 4.0)]);
    /// assert_eq!(pages.next().unwrap()?.into_nns(), [(3, 9.0), (4, 16.0), (5, 25.0)]);
    ///
    /// // Another process, or this one after the pages were dropped, goes on with a token.
    /// let token = pages.token().unwrap().to_string();
    /// let mut rest = index.search(2).pages_after(&[0.0], &token.parse()?)?;
    /// assert_eq!(rest.next().unwrap()?.into_nns(), [(6, 36.0), (7, 49.0)]);
    ///
    /// // The pages go on as they were, and the token no longer can.
    /// index.write(|batch| batch.delete(6))?;
    /// assert_eq!(pages.next().unwrap()?.into_nns()[0], (6, 36.0));
    /// let expired = index.search(2).pages_after(&[0.0], &token.parse()?);
    /// assert!(matches!(expired, Err(Error::PagesExpired { .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`by_vector`](Self::by_vector), and [`Cancelled`](Error::Cancelled) if the closure of
    /// [`cancel`](Self::cancel) ends the questions to a predicate; the iterator's items the same.
    pub fn pages(&self, vector: &[impl Component]) -> Result<PagesOf<'a, S>> {
        self.start_pages(Near::vector(Components::of(vector)))
    }

    /// The items near a stored item, without that item, page by page: see [`pages`](Self::pages).
    /// `None` if there is no such item.
    ///
    /// # Errors
    /// As [`by_item`](Self::by_item); the iterator's items the same.
    pub fn pages_by_item(&self, item: impl AsKey<S::Key>) -> Result<Option<PagesOf<'a, S>>> {
        let (key, pinned) = (bytes_of(&item)?, self.searched.pin()?);
        let mut id = None;
        let run = &mut |view: AnyView<'_, '_, '_>, _: Request<'_>, names: &dyn Names| {
            id = match names.id(&key)? {
                Some(item) => view.slot(item)?.map(|_| item),
                None => None,
            };
            Ok(())
        };
        let request = Options::of(self.request).request();
        let named = Named { space: self.named.space, ..Named::default() };
        pinned.look(Work { named: &named, request, run })?;
        id.map(|item| self.pages_on(pinned, Near::Item(item))).transpose()
    }

    /// The pages after the one that a token was taken from, of the same query: the vector and the
    /// options, but for `k`, must be those that the token was made with. It takes as long as a
    /// search for all results up to there.
    ///
    /// # Errors
    /// [`PagesExpired`](Error::PagesExpired) if the index has changed since the first page, unless
    /// what is searched is a snapshot of that time; [`InvalidPageToken`](Error::InvalidPageToken)
    /// for a token of another query; and those of [`pages`](Self::pages).
    pub fn pages_after(
        &self,
        vector: &[impl Component],
        token: &PageToken,
    ) -> Result<PagesOf<'a, S>> {
        let said = token.said()?;
        let mut pages = self.pages(vector)?;
        if said.question != pages.question || said.index != pages.index {
            return Err(Error::InvalidPageToken { what: "is of another query" });
        }
        let is_here = pages.commit.is_some() && pages.pinned.is_same_as(said.commit)?;
        if !is_here {
            return Err(Error::PagesExpired { commit: said.commit });
        }
        pages.skip_to(said)?;
        Ok(pages)
    }

    fn start_pages(&self, near: Near) -> Result<PagesOf<'a, S>> {
        self.pages_on(self.searched.pin()?, near)
    }

    fn pages_on(&self, pinned: S::Pinned<'a>, near: Near) -> Result<PagesOf<'a, S>> {
        let options = Options::of(self.request);
        let (mut index, mut stream, mut question) = (0, Stream::new(near), 0);
        let run = &mut |view: AnyView<'_, '_, '_>, request: Request<'_>, _: &dyn Names| {
            index = view.snapshot.index;
            question = stream
                .prepare(&view, request, |near, settled| question_of(near, &options, settled))?;
            Ok(())
        };
        // The time of a page begins with that page.
        let cancel = self.request.cancel;
        let request = Request { deadline: None, cancel, ..options.request() };
        pinned.look(Work { named: &self.named, request, run })?;
        let (commit, space, key) = (pinned.commit()?, self.named.space.to_vec(), PhantomData);
        let is_stalled = false;
        Ok(Pages { pinned, options, stream, index, commit, question, is_stalled, space, key })
    }
}

impl<P: Pinned, K: sealed::Bytes + ?Sized> Pages<P, K> {
    /// The next page: fewer than `k` items only at the end, or if it was cancelled or ended by its
    /// deadline. Such a page has the nearest items seen so far, and the next one goes on. `cancel`
    /// is called as that of a query: see [`Query::cancel`].
    ///
    /// # Errors
    /// As [`Query::by_vector`].
    pub fn next_page(&mut self, cancel: &(dyn Fn() -> bool + Sync)) -> Result<Searched<K::Owned>> {
        let Self { pinned, options, stream, index, space, .. } = self;
        let named_in = Named { space, ..Named::default() };
        let request = Request { cancel, ..options.request() };
        let mut page = Searched::empty();
        let run = &mut |view: AnyView<'_, '_, '_>, request: Request<'_>, names: &dyn Names| {
            page = named::<K>(*index, names, stream.take(view, request)?)?;
            Ok(())
        };
        pinned.look(Work { named: &named_in, request, run })?;
        Ok(page)
    }

    /// Goes to where a token was made.
    fn skip_to(&mut self, said: Said) -> Result<()> {
        let count = usize::try_from(said.position).unwrap_or(usize::MAX);
        let Self { pinned, options, stream, .. } = self;
        let request =
            Request { k: count, beside: Beside::NOTHING, deadline: None, ..options.request() };
        let run = &mut |view: AnyView<'_, '_, '_>, request: Request<'_>, _: &dyn Names| {
            stream.take(view, request).map(drop)
        };
        pinned.look(Work { named: &Named::default(), request, run })?;
        let is_there = stream.taken == said.position
            && stream.last.map(|(item, _)| item) == said.last
            && stream.last.is_none_or(|(_, distance)| distance == said.distance);
        if is_there { Ok(()) } else { Err(Error::PagesExpired { commit: said.commit }) }
    }
}

impl<P, K: ?Sized> Pages<P, K> {
    /// The number of items of all pages so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.stream.taken
    }

    /// A token for what follows the pages so far: see [`Query::pages_after`]. `None` if what is
    /// searched is not committed, in a [`Batch`](crate::Batch) or a
    /// [`ReaderOn`](crate::ReaderOn); or if a page was cancelled or ended by its deadline, after
    /// which pages are not those of the query alone.
    #[must_use]
    pub fn token(&self) -> Option<PageToken> {
        let commit = self.commit.filter(|_| self.stream.is_regular)?;
        let (last, distance) = self.stream.last.unzip();
        Some(PageToken::of(Said {
            index: self.index,
            commit,
            position: self.stream.taken,
            last,
            distance: distance.unwrap_or(0.0),
            question: self.question,
        }))
    }
}

impl<P: Pinned, K: sealed::Bytes + ?Sized> Iterator for Pages<P, K> {
    type Item = Result<Searched<K::Owned>>;

    /// The next page. `None` if there are no more items, or the page before was empty, as its
    /// deadline had passed.
    fn next(&mut self) -> Option<Self::Item> {
        if self.stream.is_at_end() || self.options.k == 0 || self.is_stalled {
            return None;
        }
        let page = self.next_page(&|| false);
        let is_empty = page.as_ref().is_ok_and(|page| page.nns.is_empty());
        self.is_stalled = is_empty && page.as_ref().is_ok_and(Searched::did_cancel);
        Some(page).filter(|_| !is_empty || self.is_stalled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token says what it was made of, as bytes and as text; any change of it is an error.
    #[test]
    fn a_token_is_read_as_it_was_made_and_no_other() {
        let said = Said {
            index: 3,
            commit: 1 << 40,
            position: 1234,
            last: Some(7),
            distance: -0.25,
            question: 99,
        };
        let token = PageToken::of(said);
        assert_eq!(token.said().unwrap(), said);
        assert_eq!(PageToken::from_bytes(token.as_bytes()).unwrap(), token);
        let text = token.to_string();
        assert_eq!((text.parse::<PageToken>().unwrap(), text.len()), (token, 86));
        for at in 0..TOKEN_BYTES {
            let mut bytes = token.as_bytes().to_vec();
            bytes[at] ^= 1;
            assert!(matches!(
                PageToken::from_bytes(&bytes),
                Err(Error::InvalidPageToken { what: "is damaged" })
            ));
        }
        for text in ["", "0", "zz", &text[1..], &text[2..], "é"] {
            assert!(text.parse::<PageToken>().is_err());
        }
    }
}
