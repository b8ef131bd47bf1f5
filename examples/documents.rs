//! Documents and their vectors, always in step: a table of your own and an index, changed in one
//! transaction.
//!
//! ```sh
//! # A tour; a second one continues from what the first left.
//! cargo run --release --example documents -- FOLDER
//! cargo run --release --example documents -- FOLDER bread with herbs   # a search in what is there
//! ```
//!
//! [`Documents`] is the part worth copying: `put`, `delete` and `search`, over a table of the
//! program's own and an index in one LMDB environment. A transaction changes both or, if it is
//! aborted or the machine stops, neither. Every tour ends with a check that every document has a
//! vector, made from its text, and that there are no other vectors.
//!
//! The vectors are a toy, see [`embed`]: a real program computes them with a model, before it
//! begins its write transaction.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use rand::SeedableRng;
use rand::rngs::StdRng;
use voisin::distances::Cosine;
use voisin::heed::types::Str;
use voisin::heed::{self, CommitOrAbort, Database, Env, EnvOpenOptions, RoTxn, RwTxn};
use voisin::{MAX_KEY_BYTES, Reader, Writer};

pub(crate) type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// The number of components of a vector.
const DIMENSIONS: usize = 512;
/// The number of our index in its database.
const INDEX: u16 = 0;
/// Address space for the file to grow into, not disk space.
const MAP_BYTES: usize = 1 << 30;

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let folder =
        PathBuf::from(arguments.next().ok_or("usage: documents FOLDER [WORDS TO SEARCH FOR]")?);
    let words: Vec<String> = arguments.collect();

    fs::create_dir_all(&folder)?;
    let env = open(&folder)?;
    let documents = Documents::open(&env)?;
    let count = read(&env, |rtxn| documents.check(rtxn))?;
    println!("{} holds {count} documents, all in step with their vectors", folder.display());
    if !words.is_empty() {
        return read(&env, |rtxn| print_answer(&documents, rtxn, &words.join(" ")));
    }

    fill(&env, &documents)?;
    for query in ["baking bread with olive oil", "where does rain water go", "how many tours"] {
        read(&env, |rtxn| print_answer(&documents, rtxn, query))?;
    }
    change(&env, &documents)?;
    println!(
        "\n{} documents, all in step with their vectors",
        read(&env, |rtxn| documents.check(rtxn))?
    );
    Ok(())
}

/// Puts all samples, and counts the tours in a document of its own. Putting an existing document
/// replaces its text and its vector.
fn fill(env: &Env, documents: &Documents<'_>) -> Result<()> {
    let mut wtxn = env.write_txn()?;
    for (name, text) in SAMPLES {
        documents.put(&mut wtxn, name, text)?;
    }
    let before = documents
        .get(&wtxn, "tours")?
        .and_then(|text| text.split(' ').find_map(|word| word.parse().ok()));
    let tours: u64 = before.unwrap_or(0) + 1;
    documents.put(&mut wtxn, "tours", &format!("Tours that this folder has seen: {tours}"))?;
    documents.build(&mut wtxn)?;
    wtxn.commit()?;
    println!("put {} documents", SAMPLES.len() + 1);
    Ok(())
}

/// Puts a document and aborts, puts it for good, deletes it: the document and its vector appear and
/// disappear together, and a committed one is found at once, built or not.
fn change(env: &Env, documents: &Documents<'_>) -> Result<()> {
    let (name, text) = ("cheese", "Cheese ripens in a cool cellar for months.");
    let is_found = |rtxn: &RoTxn<'_>| -> Result<bool> {
        let found = documents
            .search(rtxn, "a cellar full of cheese", 1)?
            .iter()
            .any(|found| found.name == name);
        ensure(
            found == (documents.get(rtxn, name)? == Some(text)),
            "the document and its vector are not in step",
        )?;
        Ok(found)
    };

    let mut wtxn = env.write_txn()?;
    documents.put(&mut wtxn, name, text)?;
    ensure(is_found(&wtxn)?, "a transaction does not find its own document")?;
    wtxn.abort();
    ensure(!read(env, is_found)?, "an aborted document was found")?;
    println!("\naborted: neither the document nor its vector is there");

    let mut wtxn = env.write_txn()?;
    documents.put(&mut wtxn, name, text)?;
    wtxn.commit()?;
    ensure(read(env, is_found)?, "a committed document was not found")?;
    println!("committed: both are there");

    let mut wtxn = env.write_txn()?;
    ensure(documents.delete(&mut wtxn, name)?, "there was nothing to delete")?;
    wtxn.commit()?;
    ensure(!read(env, is_found)?, "a deleted document was found")?;
    println!("deleted: both are gone");
    Ok(())
}

/// Reads the newest state.
fn read<T>(env: &Env, read: impl FnOnce(&RoTxn<'_>) -> Result<T>) -> Result<T> {
    let rtxn = env.read_txn()?;
    read(&rtxn)
}

/// Opens an environment in `folder`.
pub(crate) fn open(folder: &Path) -> Result<Env> {
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP_BYTES).max_dbs(2);
    // SAFETY: the folder is on a local disk, and its files are changed only through LMDB.
    Ok(unsafe { options.open(folder) }?)
}

/// Named documents, and a vector for each.
pub(crate) struct Documents<'e> {
    /// The text of each document, by name.
    texts: Database<'e, Str, Str>,
    /// An index of their vectors, by the same names.
    vectors: voisin::Database<'e, Cosine>,
    writer: Writer<'e, Cosine, str>,
}

/// A document that was found.
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) text: String,
    /// The cosine distance to the query, from 0 (same direction) to 1 (opposite).
    pub(crate) distance: f32,
}

impl<'e> Documents<'e> {
    /// Opens the tables, and creates missing ones.
    pub(crate) fn open(env: &'e Env) -> Result<Self> {
        let created =
            env.create_databases_and_commit(env.write_txn()?, |opener, wtxn| -> heed::Result<_> {
                let texts = opener.create_database(wtxn, Some("texts"))?;
                let vectors = opener.create_database(wtxn, Some("vectors"))?;
                Ok(CommitOrAbort::<_, ()>::Commit((texts, vectors)))
            })?;
        let (texts, vectors) = created.unwrap_commit();
        let writer = Writer::new(vectors, INDEX, DIMENSIONS).keyed::<str>();
        Ok(Self { texts, vectors, writer })
    }

    /// Adds a document, or replaces the one with that name, together with its vector. On an error,
    /// abort the transaction.
    pub(crate) fn put(&self, wtxn: &mut RwTxn<'_>, name: &str, text: &str) -> Result<()> {
        let vector = embed(text)
            .ok_or_else(|| format!("{name:?} has no word of four letters to be found by"))?;
        self.put_text(wtxn, name, text)?;
        self.put_vector(wtxn, name, &vector)
    }

    /// The half of [`put`](Self::put) that writes the table.
    pub(crate) fn put_text(&self, wtxn: &mut RwTxn<'_>, name: &str, text: &str) -> Result<()> {
        ensure((1..=MAX_KEY_BYTES).contains(&name.len()), "a name has 1 to 480 bytes")?;
        Ok(self.texts.put(wtxn, name, text)?)
    }

    /// The half of [`put`](Self::put) that writes the index.
    pub(crate) fn put_vector(
        &self,
        wtxn: &mut RwTxn<'_>,
        name: &str,
        vector: &[f32],
    ) -> Result<()> {
        Ok(self.writer.add_item(wtxn, name, vector)?)
    }

    /// Deletes a document and its vector. `false` if there is none with that name. On an error,
    /// abort the transaction.
    pub(crate) fn delete(&self, wtxn: &mut RwTxn<'_>, name: &str) -> Result<bool> {
        self.writer.del_item(wtxn, name)?;
        Ok(self.texts.delete(wtxn, name)?)
    }

    /// The text of a document.
    pub(crate) fn get<'t>(&self, rtxn: &'t RoTxn<'_>, name: &str) -> Result<Option<&'t str>> {
        Ok(self.texts.get(rtxn, name)?)
    }

    /// The `k` documents whose vectors are nearest to that of `query`, the nearest first.
    pub(crate) fn search(&self, rtxn: &RoTxn<'_>, query: &str, k: usize) -> Result<Vec<Found>> {
        let (Some(reader), Some(vector)) = (self.reader(rtxn)?, embed(query)) else {
            return Ok(Vec::new());
        };
        let nearest = reader.keyed::<str>(rtxn)?.nns(k).by_vector(&vector)?.into_nns();
        let found = nearest.into_iter().map(|(name, distance)| {
            let text = self.get(rtxn, &name)?.ok_or_else(|| format!("{name:?} has no text"))?;
            Ok(Found { text: text.to_owned(), name, distance })
        });
        found.collect()
    }

    /// Links the documents put since the last build into the graph, so that searches need not scan
    /// them one by one. Needed now and then, not for every change.
    pub(crate) fn build(&self, wtxn: &mut RwTxn<'_>) -> Result<()> {
        Ok(self.writer.builder(&mut StdRng::seed_from_u64(42)).build::<16, 32>(wtxn)?)
    }

    /// Checks that every document has its vector, that there are no other vectors, and the index
    /// itself. Returns the number of documents.
    pub(crate) fn check(&self, rtxn: &RoTxn<'_>) -> Result<u64> {
        let count = self.texts.len(rtxn)?;
        let Some(reader) = self.reader(rtxn)? else {
            ensure(count == 0, "there are documents and no vectors")?;
            return Ok(0);
        };
        let findings = voisin::check(rtxn, INDEX, self.vectors)?;
        ensure(findings.is_empty(), &format!("the index is damaged: {findings:?}"))?;
        let named = reader.keyed::<str>(rtxn)?;
        for entry in self.texts.iter(rtxn)? {
            let (name, text) = entry?;
            ensure(
                named.vector(name)? == embed(text),
                &format!("{name:?} does not have the vector of its text"),
            )?;
        }
        ensure(
            reader.n_items() == count,
            &format!("{count} documents have {} vectors", reader.n_items()),
        )?;
        Ok(count)
    }

    /// A reader of the index; `None` if nothing was ever put.
    fn reader<'t>(&self, rtxn: &'t RoTxn<'_>) -> Result<Option<Reader<'t, Cosine>>>
    where
        'e: 't,
    {
        match Reader::open(rtxn, INDEX, self.vectors) {
            Ok(reader) => Ok(Some(reader)),
            Err(voisin::Error::MissingIndex(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// A toy embedding, a bag of words: every word of at least four letters adds one to a component
/// chosen by its hash. Texts that share words are near each other; it knows nothing about meaning.
/// `None` if there is no such word: a zero vector has no direction.
pub(crate) fn embed(text: &str) -> Option<Vec<f32>> {
    let mut vector = vec![0.0; DIMENSIONS];
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() >= 4);
    for word in words {
        // FNV-1a: the same in every run and on every machine, which the hashes of the standard
        // library do not guarantee.
        let hash = word.to_lowercase().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        vector[(hash % DIMENSIONS as u64) as usize] += 1.0;
    }
    vector.iter().any(|component| *component > 0.0).then_some(vector)
}

fn print_answer(documents: &Documents<'_>, rtxn: &RoTxn<'_>, query: &str) -> Result<()> {
    println!("\n{query:?}");
    let found = documents.search(rtxn, query, 3)?;
    if found.is_empty() {
        println!("  nothing: there are no documents, or the query has no word of four letters");
    }
    for Found { name, text, distance } in found {
        println!("  {distance:.3}  {name}: {text}");
    }
    Ok(())
}

fn ensure(condition: bool, otherwise: &str) -> Result<()> {
    if condition { Ok(()) } else { Err(otherwise.into()) }
}

/// The documents that every tour puts.
const SAMPLES: [(&str, &str); 10] = [
    ("focaccia", "A flat bread with olive oil and herbs, baking in a very hot oven."),
    ("sourdough", "Bread that rises without yeast from a shop: flour, water and patience."),
    ("olives", "Olive trees bear fruit every second year; the oil is pressed cold."),
    ("compost", "Leaves, peels and straw turn into soil in a year."),
    ("rain barrel", "A barrel under the roof keeps rain water for the garden."),
    ("gutters", "Gutters lead rain water from the roof to where it can go."),
    ("lmdb", "A key-value store: a tree of pages in a file that is mapped into memory."),
    ("transactions", "Either every change of a transaction is there, or none of them."),
    ("snapshots", "A reader goes on reading the pages of its snapshot while others write."),
    ("neighbors", "The nearest neighbors of a vector are found by walking a graph."),
];
