//! A program as a user of hannoy 0.3 writes it: the module above says which crate `engine` is, and
//! nothing below knows.
//!
//! It stores vectors, builds, searches in every way, changes its mind, and notes all it is told.
//! What voisin deliberately does another way is in the module above, too, as [`item_ids`] and the
//! version of roaring; docs/coming-from-hannoy.md lists it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use heed::{CommitOrAbort, Env, RoTxn, RwTxn};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::engine::{Database, Distance, Error, ItemId, Reader, Result, Searched, Writer};
use super::item_ids;
use super::roaring::RoaringBitmap;

/// The number of the index in its database.
const INDEX: u16 = 3;

/// What the program was told, in the order of its steps.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Steps and facts that must be the same, whatever the engine.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// Steps and answers: items and their distances, the nearest first.
    pub(crate) answers: Vec<(&'static str, Vec<(ItemId, f32)>)>,
}

impl Notes {
    fn fact(&mut self, step: &'static str, fact: impl std::fmt::Debug) {
        self.facts.push((step, format!("{fact:?}")));
    }

    fn answer(&mut self, step: &'static str, answer: Searched) {
        self.fact(step, answer.did_cancel());
        self.answers.push((step, answer.into_nns()));
    }
}

/// What such programs keep in one place.
struct Store<'e, D: Distance> {
    env: &'e Env,
    database: Database<'e, D>,
    writer: Writer<'e, D>,
}

impl<'e, D: Distance> Store<'e, D> {
    fn create(env: &'e Env, dimensions: usize) -> Result<Self> {
        let wtxn = env.write_txn()?;
        let database: Database<'e, D> = env
            .create_databases_and_commit(wtxn, |opener, wtxn| -> heed::Result<_> {
                opener.create_database(wtxn, None).map(CommitOrAbort::<_, ()>::Commit)
            })?
            .unwrap_commit();
        Ok(Self { env, database, writer: Writer::new(database, INDEX, dimensions) })
    }

    fn build(&self, wtxn: &mut RwTxn<'_>) -> Result<()> {
        let mut rng = StdRng::seed_from_u64(42);
        let mut builder = self.writer.builder(&mut rng);
        builder.ef_construction(64).alpha(1.0);
        builder.build::<16, 32>(wtxn)
    }
}

/// Runs the program. The items must have ids below 1000, and one of them the id 7.
pub(crate) fn run<D: Distance>(
    env: &Env,
    items: &BTreeMap<ItemId, Vec<f32>>,
    query: &[f32],
) -> Result<Notes> {
    let mut notes = Notes::default();
    let store = Store::<D>::create(env, query.len())?;
    let (writer, missing) = (&store.writer, 1000);
    notes.fact("the metric", D::name());

    // Add, build, commit.
    let mut wtxn = store.env.write_txn()?;
    notes.fact("empty", writer.is_empty(&wtxn)?);
    for (id, vector) in items {
        writer.add_item(&mut wtxn, *id, vector)?;
    }
    notes.fact("added", (writer.is_empty(&wtxn)?, writer.need_build(&wtxn)?));
    notes.fact("the writer's 7", (writer.contains_item(&wtxn, 7)?, writer.item_vector(&wtxn, 7)?));
    notes.fact(
        "the writer's missing item",
        (writer.contains_item(&wtxn, missing)?, writer.item_vector(&wtxn, missing)?),
    );
    store.build(&mut wtxn)?;
    notes.fact("built", writer.need_build(&wtxn)?);
    wtxn.commit()?;
    read(&store, query, &mut notes)?;

    // Replace and delete, and think better of it.
    let mut wtxn = store.env.write_txn()?;
    change(writer, &mut wtxn, query, &mut notes)?;
    let mut rng = StdRng::seed_from_u64(43);
    let cancelled: Result<(), Error> =
        writer.builder(&mut rng).cancel(|| true).build::<16, 32>(&mut wtxn);
    notes.fact("cancelled", cancelled.is_err());
    wtxn.abort();
    read(&store, query, &mut notes)?;

    // The same once more, for good.
    let mut wtxn = store.env.write_txn()?;
    change(writer, &mut wtxn, query, &mut notes)?;
    let later = Instant::now() + Duration::from_secs(3600);
    let mut rng = StdRng::seed_from_u64(43);
    writer.builder(&mut rng).cancel(move || Instant::now() > later).build::<16, 32>(&mut wtxn)?;
    let stored: Vec<(ItemId, Vec<f32>)> = writer.iter(&wtxn)?.collect::<Result<_>>()?;
    notes.fact("changed", stored);
    wtxn.commit()?;
    read(&store, query, &mut notes)?;

    // The graph anew.
    let mut wtxn = store.env.write_txn()?;
    writer.builder(&mut rng).ef_construction(100).alpha(1.1).force_rebuild::<16, 32>(&mut wtxn)?;
    wtxn.commit()?;
    read(&store, query, &mut notes)?;

    // Nothing left.
    let mut wtxn = store.env.write_txn()?;
    writer.clear(&mut wtxn)?;
    notes.fact("cleared", (writer.is_empty(&wtxn)?, writer.iter(&wtxn)?.count()));
    notes.fact("nothing to delete", writer.del_item(&mut wtxn, 7)?);
    wtxn.commit()?;
    let rtxn = store.env.read_txn()?;
    notes.fact("no index", Reader::<D>::open(&rtxn, INDEX, store.database).is_err());
    Ok(notes)
}

fn change<D: Distance>(
    writer: &Writer<'_, D>,
    wtxn: &mut RwTxn<'_>,
    query: &[f32],
    notes: &mut Notes,
) -> Result<()> {
    writer.add_item(wtxn, 7, query)?;
    writer.add_item(wtxn, 999, query)?;
    for id in [0, 1, 2, 999, 1000] {
        notes.fact("deleted", (id, writer.del_item(wtxn, id)?));
    }
    notes.fact("changed and not built", writer.need_build(wtxn)?);
    Ok(())
}

/// Opens a reader and asks it everything.
fn read<D: Distance>(store: &Store<'_, D>, query: &[f32], notes: &mut Notes) -> Result<()> {
    let rtxn = store.env.read_txn()?;
    let reader = Reader::<D>::open(&rtxn, INDEX, store.database)?;
    notes.fact(
        "the reader",
        (reader.index(), reader.dimensions(), reader.n_items(), reader.is_empty(&rtxn)?),
    );
    notes.fact("the ids", item_ids(&reader, &rtxn)?);
    notes.fact("the reader's 7", (reader.contains_item(&rtxn, 7)?, reader.item_vector(&rtxn, 7)?));
    notes.fact(
        "the reader's missing item",
        (reader.contains_item(&rtxn, 1000)?, reader.item_vector(&rtxn, 1000)?),
    );
    let stored: Vec<(ItemId, Vec<f32>)> = reader.iter(&rtxn)?.collect::<Result<_>>()?;
    notes.fact("the items", &stored);
    let writers: Vec<(ItemId, Vec<f32>)> = store.writer.iter(&rtxn)?.collect::<Result<_>>()?;
    notes.fact("as the writer reads them", stored == writers);
    search(&reader, &rtxn, query, notes)
}

fn search<D: Distance>(
    reader: &Reader<'_, D>,
    rtxn: &RoTxn<'_>,
    query: &[f32],
    notes: &mut Notes,
) -> Result<()> {
    let all = reader.n_items() as usize;
    notes.answer("all", reader.nns(all).by_vector(rtxn, query)?);
    notes.answer("more than there are", reader.nns(10 * all).ef_search(5).by_vector(rtxn, query)?);
    notes.answer("near the query", reader.nns(5).ef_search(200).by_vector(rtxn, query)?);
    let nearest: Vec<(ItemId, f32)> = reader.nns(1).by_vector(rtxn, query)?.nns;
    notes.answers.push(("the nearest", nearest));

    let by_item = reader.nns(all).ef_search(200).by_item(rtxn, 7)?;
    notes.fact("item 7 has neighbors", by_item.is_some());
    notes.answer("near item 7", by_item.unwrap());
    notes.fact("near a missing item", reader.nns(5).by_item(rtxn, 1000)?.is_none());

    // Options that are set one at a time, or not.
    let candidates: RoaringBitmap = (0..1000).filter(|id| id % 3 == 0).collect();
    for filtered in [false, true] {
        let mut options = reader.nns(4);
        options.ef_search(100);
        if filtered {
            options.candidates(&candidates);
        }
        notes.answer("perhaps of candidates", options.by_vector(rtxn, query)?);
        notes.answer("perhaps of candidates, near item 7", options.by_item(rtxn, 7)?.unwrap());
    }
    let none = RoaringBitmap::from_iter([5000]);
    notes.answer(
        "of candidates that do not exist",
        reader.nns(4).candidates(&none).by_vector(rtxn, query)?,
    );

    let deadline = Instant::now() + Duration::from_secs(3600);
    let in_time =
        reader.nns(all).by_vector_with_cancellation(rtxn, query, || Instant::now() > deadline)?;
    let Searched { nns, did_cancel, .. } = in_time;
    notes.fact("in time", did_cancel);
    notes.answers.push(("in time", nns));
    let in_time =
        reader.nns(all).by_item_with_cancellation(rtxn, 7, || Instant::now() > deadline)?;
    notes.answer("in time, near item 7", in_time.unwrap());
    notes.fact(
        "too late",
        reader.nns(3).by_vector_with_cancellation(rtxn, query, || true)?.did_cancel(),
    );
    notes.fact(
        "too late, near item 7",
        reader.nns(3).by_item_with_cancellation(rtxn, 7, || true)?.unwrap().did_cancel(),
    );

    // What cannot be answered is an error in both.
    notes.fact("a query of other dimensions", reader.nns(3).by_vector(rtxn, &query[1..]).is_err());
    Ok(())
}
