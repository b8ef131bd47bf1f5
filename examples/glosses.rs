//! Neighbors in meaning: an index of 5 000 dictionary glosses on disk, from the first vector to
//! later changes.
//!
//! ```sh
//! cargo run --release --example glosses
//! ```
//!
//! The vectors, text embeddings, are in `examples/data`, so that nothing is downloaded. The program
//! stores them with their texts in one LMDB environment, builds, closes, opens again, and searches;
//! then it adds, replaces and deletes items. It checks itself, and exits non-zero if recall is
//! below 0.95 or an answer does not reflect a change.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs};

use half::f16;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;
use voisin::distances::Cosine;
use voisin::heed::byteorder::BE;
use voisin::heed::types::{Str, U32};
use voisin::heed::{CommitOrAbort, Database, Env, EnvOpenOptions, RoTxn, RwTxn};
use voisin::{ItemId, Reader, Searched, Strategy, Writer};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// The number of components of an embedding.
const DIMENSIONS: usize = 384;
/// The number of our index in its database, which can hold 65 536.
const INDEX: u16 = 0;
/// Address space for the file to grow into, not disk space: unused space costs nothing.
const MAP_BYTES: usize = 1 << 30;
/// The number of neighbors for recall.
const K: usize = 10;

fn main() -> Result<()> {
    let items = Texts::load("glosses.txt", "glosses-384.f16")?;
    let queries = Texts::load("glosses.queries.txt", "glosses-384.queries.f16")?;
    let folder = TempDir::new()?;

    title("Store and build");
    let env = open(folder.path())?;
    let tables = Tables::create(&env)?;
    let raw_bytes = store_and_build(&env, tables, &items)?;
    let file_bytes = fs::metadata(folder.path().join("data.mdb"))?.len();
    let ratio = file_bytes as f64 / raw_bytes as f64;
    println!(
        "{file_bytes} bytes in the file, texts included: x {ratio:.3} of the {raw_bytes} that \
         the vectors alone have as f32"
    );

    title("Close, open again, and search");
    env.prepare_for_closing().wait();
    let start = Instant::now();
    let env = open(folder.path())?;
    let tables = Tables::open(&env)?;
    let rtxn = env.read_txn()?;
    let reader = Reader::<Cosine>::open(&rtxn, INDEX, tables.vectors)?;
    println!(
        "{} items of {} dimensions, open after {}",
        reader.n_items(),
        reader.dimensions(),
        time(start.elapsed())
    );
    println!(
        "\nbelow each text its neighbors: cosine distance, from 0 (same direction) to 1 \
         (opposite), item id, text"
    );
    for name in ["collider", "poke check", "siren", "northeast by east", "ballet position"] {
        let (text, vector) = queries.find(name)?;
        println!("\n{}", shortened(text));
        print_neighbors(&rtxn, tables, &reader.nns(4).by_vector(&rtxn, vector)?.into_nns())?;
    }

    title("Recall and speed");
    measure(&rtxn, &reader, &queries)?;
    // The transaction pins the snapshot that it reads, and with it the pages that later commits
    // replace: end it before writing.
    drop(rtxn);

    title("Change, and search before any build");
    let changes = change(&env, tables, &items, &queries)?;
    check_changes(&env, tables, &changes)?;

    title("Build again, and search");
    let writer = Writer::new(tables.vectors, INDEX, DIMENSIONS);
    let mut wtxn = env.write_txn()?;
    build(&writer, &mut wtxn)?;
    wtxn.commit()?;
    check_changes(&env, tables, &changes)?;
    let rtxn = env.read_txn()?;
    let reader = Reader::<Cosine>::open(&rtxn, INDEX, tables.vectors)?;
    measure(&rtxn, &reader, &queries)?;

    println!("\nall checks passed");
    Ok(())
}

/// Opens an environment in `folder`.
fn open(folder: &Path) -> Result<Env> {
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP_BYTES).max_dbs(2);
    // SAFETY: the folder is on a local disk, and its files are changed only through LMDB.
    Ok(unsafe { options.open(folder) }?)
}

/// The contents of the environment: an index, and a table of the program's own. One transaction
/// covers both.
#[derive(Clone, Copy)]
struct Tables<'e> {
    vectors: voisin::Database<'e, Cosine>,
    texts: Database<'e, U32<BE>, Str>,
}

impl<'e> Tables<'e> {
    const VECTORS: &'static str = "vectors";
    const TEXTS: &'static str = "texts";

    fn create(env: &'e Env) -> Result<Self> {
        let created =
            env.create_databases_and_commit(env.write_txn()?, |opener, wtxn| -> Result<_> {
                let vectors = opener.create_database(wtxn, Some(Self::VECTORS))?;
                let texts = opener.create_database(wtxn, Some(Self::TEXTS))?;
                Ok(CommitOrAbort::<_, ()>::Commit((vectors, texts)))
            })?;
        let (vectors, texts) = created.unwrap_commit();
        Ok(Self { vectors, texts })
    }

    fn open(env: &'e Env) -> Result<Self> {
        let opened =
            env.open_databases_and_commit(env.read_txn()?, |opener, rtxn| -> Result<_> {
                let vectors = opener.open_database(rtxn, Some(Self::VECTORS))?;
                let texts = opener.open_database(rtxn, Some(Self::TEXTS))?;
                Ok(CommitOrAbort::<_, ()>::Commit((vectors, texts)))
            })?;
        let (vectors, texts) = opened.unwrap_commit();
        Ok(Self {
            vectors: vectors.ok_or("there is no table of vectors")?,
            texts: texts.ok_or("there is no table of texts")?,
        })
    }
}

/// Adds all items and their texts, links them, and commits all of it or nothing. Returns the bytes
/// of the vectors.
fn store_and_build(env: &Env, tables: Tables<'_>, items: &Texts) -> Result<usize> {
    let writer = Writer::new(tables.vectors, INDEX, DIMENSIONS);
    let mut wtxn = env.write_txn()?;

    let start = Instant::now();
    let ids: Vec<ItemId> = (0..).take(items.texts.len()).collect();
    writer.add_items(&mut wtxn, &ids, &items.components)?;
    for (id, text) in ids.iter().zip(&items.texts) {
        tables.texts.put(&mut wtxn, id, text)?;
    }
    println!("added {} items and their texts in {}", ids.len(), time(start.elapsed()));

    build(&writer, &mut wtxn)?;

    let start = Instant::now();
    wtxn.commit()?;
    println!("committed in {}", time(start.elapsed()));
    Ok(size_of_val(items.components.as_slice()))
}

/// Links pending items. The seed makes the graph the same in every run, for any number of threads.
fn build(writer: &Writer<'_, Cosine>, wtxn: &mut RwTxn<'_>) -> Result<()> {
    let start = Instant::now();
    let mut rng = StdRng::seed_from_u64(42);
    writer.builder(&mut rng).ef_construction(100).build::<16, 32>(wtxn)?;
    println!("built in {}", time(start.elapsed()));
    Ok(())
}

/// Prints recall against exact search, and the time of a query.
fn measure(rtxn: &RoTxn<'_>, reader: &Reader<'_, Cosine>, queries: &Texts) -> Result<()> {
    let answer = |vector: &[f32], ef: Option<usize>| match ef {
        Some(ef) => reader.nns(K).ef_search(ef).by_vector(rtxn, vector),
        None => reader.nns(K).exact().by_vector(rtxn, vector),
    };
    let answers = |ef| {
        queries
            .vectors()
            .map(|vector| answer(vector, ef))
            .collect::<voisin::Result<Vec<Searched>>>()
    };
    let exact = answers(None)?;

    println!(
        "recall@{K} of {} queries; the graph is searched on one thread, exact search uses all",
        exact.len()
    );
    println!("{:>10} {:>8} {:>11} {:>12}", "ef_search", "recall", "distances", "time a query");
    for ef in [Some(20), Some(50), Some(100), None] {
        let start = Instant::now();
        let found = answers(ef)?;
        let a_query = start.elapsed() / found.len() as u32;
        let distances =
            found.iter().map(|searched| searched.distances).sum::<u64>() / found.len() as u64;
        let recall = recall(&found, &exact);
        let name = ef.map_or("exact".to_owned(), |ef| ef.to_string());
        println!("{name:>10} {recall:>8.3} {distances:>11} {:>12}", time(a_query));
        if ef.is_some() {
            // Small indexes are scanned where that is faster; recall would then say nothing about
            // the graph.
            ensure(
                found.iter().all(|searched| searched.strategy == Strategy::Graph),
                "a query was not answered by the graph",
            )?;
        }
        ensure(
            ef == Some(20) || recall >= 0.95,
            &format!("recall is {recall:.3} at ef_search {name}, below 0.95"),
        )?;
    }
    Ok(())
}

/// Recall: the fraction of the exact neighbors that were found. Another item at the distance of the
/// farthest counts: ties may be broken either way.
fn recall(found: &[Searched], exact: &[Searched]) -> f64 {
    let hits = |(found, exact): (&Searched, &Searched)| {
        let farthest = exact.nns.last().map_or(f32::NEG_INFINITY, |(_, distance)| *distance);
        found.nns.iter().filter(|(_, distance)| *distance <= farthest).count()
    };
    let wanted: usize = exact.iter().map(|searched| searched.nns.len()).sum();
    found.iter().zip(exact).map(hits).sum::<usize>() as f64 / wanted as f64
}

/// A query, and its expected answer after a change.
struct Expected<'a> {
    query: &'a str,
    vector: &'a [f32],
    first: Option<ItemId>,
    absent: Option<ItemId>,
}

/// Adds an item, replaces one, and deletes one, in one transaction. Nothing is built.
fn change<'a>(
    env: &Env,
    tables: Tables<'_>,
    items: &Texts,
    queries: &'a Texts,
) -> Result<Vec<Expected<'a>>> {
    let (astronaut, astronaut_vector) = queries.find("astronaut")?;
    let (pipeline, pipeline_vector) = queries.find("oil pipeline")?;
    let (wrap, wrap_vector) = queries.find("plastic wrap")?;
    let (compass, compass_vector) = queries.find("northeast by east")?;

    let rtxn = env.read_txn()?;
    let reader = Reader::open(&rtxn, INDEX, tables.vectors)?;
    let replaced = nearest(&reader.nns(2).by_vector(&rtxn, pipeline_vector)?, 0)?;
    let compass_answer = reader.nns(2).by_vector(&rtxn, compass_vector)?;
    let (deleted, successor) = (nearest(&compass_answer, 0)?, nearest(&compass_answer, 1)?);
    drop(rtxn);

    let writer = Writer::new(tables.vectors, INDEX, DIMENSIONS);
    let mut wtxn = env.write_txn()?;

    let added = ItemId::try_from(items.texts.len())?;
    writer.add_item(&mut wtxn, added, astronaut_vector)?;
    tables.texts.put(&mut wtxn, &added, astronaut)?;
    println!("added    {added}: {}", shortened(astronaut));

    writer.add_item(&mut wtxn, replaced, wrap_vector)?;
    tables.texts.put(&mut wtxn, &replaced, wrap)?;
    println!("replaced {replaced}: {}", shortened(items.text(replaced)?));
    println!("    with {replaced}: {}", shortened(wrap));

    ensure(writer.del_item(&mut wtxn, deleted)?, "the item to delete does not exist")?;
    tables.texts.delete(&mut wtxn, &deleted)?;
    println!("deleted  {deleted}: {}", shortened(items.text(deleted)?));

    wtxn.commit()?;
    Ok(vec![
        Expected { query: astronaut, vector: astronaut_vector, first: Some(added), absent: None },
        Expected { query: pipeline, vector: pipeline_vector, first: None, absent: Some(replaced) },
        Expected { query: wrap, vector: wrap_vector, first: Some(replaced), absent: None },
        Expected {
            query: compass,
            vector: compass_vector,
            first: Some(successor),
            absent: Some(deleted),
        },
    ])
}

/// Prints the answers on a new snapshot, and compares them with the expected ones.
fn check_changes(env: &Env, tables: Tables<'_>, changes: &[Expected<'_>]) -> Result<()> {
    let rtxn = env.read_txn()?;
    let reader = Reader::open(&rtxn, INDEX, tables.vectors)?;
    println!("{} items, {} of them pending", reader.n_items(), reader.n_pending());
    for Expected { query, vector, first, absent } in changes {
        println!("\n{}", shortened(query));
        let answer = reader.nns(K).by_vector(&rtxn, vector)?;
        print_neighbors(&rtxn, tables, answer.nns.get(..2).unwrap_or_default())?;
        if let Some(first) = first {
            ensure(
                nearest(&answer, 0)? == *first,
                &format!("item {first} should be the nearest to {query:?}"),
            )?;
        }
        if let Some(absent) = absent {
            ensure(
                answer.nns.iter().all(|(id, _)| id != absent),
                &format!("item {absent} should not be near {query:?} any more"),
            )?;
        }
    }
    println!();
    Ok(())
}

/// The item at a position of an answer, from 0.
fn nearest(answer: &Searched, position: usize) -> Result<ItemId> {
    answer
        .nns
        .get(position)
        .map(|(id, _)| *id)
        .ok_or_else(|| format!("the answer has fewer than {} items", position + 1).into())
}

fn print_neighbors(
    rtxn: &RoTxn<'_>,
    tables: Tables<'_>,
    neighbors: &[(ItemId, f32)],
) -> Result<()> {
    for (id, distance) in neighbors {
        let text = tables.texts.get(rtxn, id)?.ok_or("an item has no text")?;
        println!("  {distance:.3}  {id:>4}: {}", shortened(text));
    }
    Ok(())
}

/// Texts and their embeddings, row by row.
struct Texts {
    texts: Vec<String>,
    components: Vec<f32>,
}

impl Texts {
    fn load(texts: &str, vectors: &str) -> Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
        let failed = |name: &str, error| {
            format!(
                "{}: {error}; the example needs the files of the repository",
                folder.join(name).display()
            )
        };
        let lines = fs::read_to_string(folder.join(texts)).map_err(|error| failed(texts, error))?;
        let bytes = fs::read(folder.join(vectors)).map_err(|error| failed(vectors, error))?;

        let texts: Vec<String> = lines.lines().map(str::to_owned).collect();
        let components: Vec<f32> =
            bytes.as_chunks().0.iter().map(|pair| f16::from_le_bytes(*pair).to_f32()).collect();
        let expected = texts.len() * DIMENSIONS * size_of::<f16>();
        ensure(
            bytes.len() == expected,
            &format!(
                "{vectors}: it has {} bytes, {} texts need {expected}",
                bytes.len(),
                texts.len()
            ),
        )?;
        Ok(Self { texts, components })
    }

    fn vectors(&self) -> impl Iterator<Item = &[f32]> {
        self.components.chunks_exact(DIMENSIONS)
    }

    fn text(&self, item: ItemId) -> Result<&str> {
        let text = usize::try_from(item).ok().and_then(|position| self.texts.get(position));
        Ok(text.ok_or_else(|| format!("there is no text {item}"))?)
    }

    /// The text that begins with `name`, and its vector.
    fn find(&self, name: &str) -> Result<(&str, &[f32])> {
        let found = self.texts.iter().zip(self.vectors()).find(|(text, _)| text.starts_with(name));
        let (text, vector) = found.ok_or_else(|| format!("no text begins with {name:?}"))?;
        Ok((text, vector))
    }
}

fn ensure(condition: bool, otherwise: &str) -> Result<()> {
    if condition { Ok(()) } else { Err(otherwise.into()) }
}

fn title(text: &str) {
    println!("\n== {text}\n");
}

fn time(duration: Duration) -> String {
    format!("{duration:.1?}")
}

/// A text in at most 96 characters.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(95) {
        Some((end, _)) if text[end..].chars().nth(1).is_some() => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}
