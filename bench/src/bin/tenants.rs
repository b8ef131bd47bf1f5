//! Tenants of one index: what one takes on disk beyond its data, and how long it takes to open any,
//! to search many in turn, to list all, and to rename, move and drop one.
//!
//! Exits non-zero when a goal is missed. See the README of this crate, and decision 0063.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::distances::Euclidean;
use voisin::{Error, Index, IndexKind, Options};
use voisin_bench::report::{Report, median};
use voisin_bench::usage::{number, written_bytes};

const K: usize = 10;
/// Items a commit of the load.
const COMMIT_ITEMS: u64 = 500_000;
/// How many tenants are opened and searched, and by how many threads of each of two processes.
const SEARCHED: usize = 1000;
const THREADS: usize = 4;
const PASSES: usize = 3;
/// How many are renamed, moved and dropped.
const CHANGED: usize = 20;
/// Tenants whose items are also loaded as items of none, to compare.
const PLAIN: usize = 10_000;
/// The goals: bytes a tenant, and milliseconds to open one.
const MAX_BYTES: f64 = 1024.0;
const MAX_OPEN_MS: f64 = 1.0;

type Texts = Index<Euclidean, str>;

#[derive(Debug, Clone, Copy)]
struct Shape {
    tenants: usize,
    items: usize,
    dimensions: usize,
}

impl Shape {
    fn of(arguments: &[String]) -> Self {
        let value = |name: &str, default| {
            let at = arguments.iter().position(|argument| argument == name);
            at.map_or(default, |at| arguments[at + 1].parse().expect("a number"))
        };
        let [tenants, items] = [value("--tenants", SEARCHED), value("--items", 100)];
        Self { tenants, items, dimensions: value("--dimensions", 32) }
    }

    fn options(self) -> Options {
        Options::new(self.dimensions).kinds([IndexKind::Flat])
    }
}

fn name(tenant: usize) -> String {
    format!("tenant-{tenant:06}")
}

fn key(item: usize) -> String {
    format!("doc-{item:02}")
}

/// A key of the length of [`key`] that is not another item's.
fn plain_key(mut nth: usize) -> String {
    let mut key = [b'0'; 6];
    for byte in key.iter_mut().rev() {
        *byte = b"0123456789abcdefghijklmnopqrstuvwxyz"[nth % 36];
        nth /= 36;
    }
    String::from_utf8_lossy(&key).into_owned()
}

/// The vector of an item: the same for the same numbers.
fn vector(shape: Shape, tenant: usize, item: usize) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64((tenant * shape.items + item) as u64);
    (0..shape.dimensions).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn load(index: &Texts, shape: Shape, key_of: impl Fn(usize, usize) -> String) -> f64 {
    let began = Instant::now();
    let rows = (0..shape.tenants).flat_map(|tenant| (0..shape.items).map(move |at| (tenant, at)));
    let rows = rows.map(|(tenant, at)| (key_of(tenant, at), vector(shape, tenant, at)));
    index.loader().commit_every(COMMIT_ITEMS).load(rows).expect("a load");
    began.elapsed().as_secs_f64()
}

/// Bytes of pages in use, of the whole file.
fn used(index: &Texts) -> f64 {
    let environment = index.stats().expect("statistics").environment;
    let free = environment.free_pages.unwrap_or(0);
    ((environment.pages - free) * environment.page_bytes) as f64
}

fn tenant_key(index: &Texts, tenant: usize, item: usize) -> String {
    index.tenant(name(tenant)).expect("a tenant").key(key(item)).expect("a key")
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(folder) = arguments.first().map(PathBuf::from) else {
        eprintln!("usage: tenants FOLDER_FOR_INDEXES [--tenants N] [--items N] [--dimensions N]");
        return ExitCode::FAILURE;
    };
    let shape = Shape::of(&arguments);
    if arguments.iter().any(|argument| argument == "--child") {
        child(&folder, shape);
        return ExitCode::SUCCESS;
    }
    let mut report = Report::default();
    println!("{} tenants of {} x {}", shape.tenants, shape.items, shape.dimensions);
    let path = folder.join("tenants");
    if !path.exists() {
        let index = Texts::create(&path, shape.options()).expect("an index");
        println!("loaded in {:.1} s", load(&index, shape, |t, at| tenant_key(&index, t, at)));
    }
    let began = Instant::now();
    let index = Texts::open(&path, Options::default()).expect("an index");
    let opened_ms = began.elapsed().as_secs_f64() * 1e3;
    bytes(&folder, &index, shape, &mut report);
    println!("the folder was opened in {opened_ms:.2} ms");
    opening(&index, shape, &mut report);
    searching(&folder, &index, shape, &mut report);
    listing(&index, shape);
    changing(&folder, &index, shape);
    report.finish()
}

/// What a tenant takes, by three ways to count its data.
fn bytes(folder: &Path, index: &Texts, shape: Shape, report: &mut Report) {
    let tenants = shape.tenants as f64;
    let each = used(index) / tenants;
    let items = shape.items as f64;
    let vectors = items * 4.0 * shape.dimensions as f64;
    // A key, and an id of 4 bytes.
    let named = items * (key(0).len() as f64 + 4.0);
    let few = Shape { tenants: shape.tenants.min(PLAIN), ..shape };
    let plain_path = folder.join("plain");
    let plain = Texts::open_or_create(&plain_path, shape.options()).expect("an index");
    if plain.snapshot().expect("a snapshot").is_empty() {
        load(&plain, few, |tenant, at| plain_key(tenant * shape.items + at));
    }
    let alone = used(&plain) / few.tenants as f64;
    println!(
        "bytes a tenant: {each:.0}, of which vectors {vectors:.0}, keys and ids {named:.0}; as \
         many items of none: {alone:.0}"
    );
    report.at_most(
        "bytes a tenant beyond vectors, keys and ids",
        each - vectors - named,
        MAX_BYTES,
    );
    report.at_most("bytes a tenant beyond as many items of none", each - alone, MAX_BYTES);
}

/// Tenants that are spread over all.
fn some(shape: Shape, count: usize) -> impl Iterator<Item = usize> {
    let mut rng = StdRng::seed_from_u64(9);
    (0..count).map(move |_| rng.random_range(0..shape.tenants))
}

/// A tenant is opened, and searched for the first time.
fn opening(index: &Texts, shape: Shape, report: &mut Report) {
    let query = vector(shape, 0, 0);
    index.search(1).candidates([tenant_key(index, 0, 0)]).by_vector(&query).expect("an answer");
    let mut times = Vec::new();
    for tenant in some(shape, SEARCHED) {
        let name = name(tenant);
        let began = Instant::now();
        let tenant = index.tenant(&name).expect("a tenant");
        let found = tenant.search(K).by_vector(&query).expect("an answer");
        times.push(began.elapsed().as_secs_f64() * 1e3);
        assert_eq!(found.nns.len(), K.min(shape.items));
    }
    let worst = times.iter().copied().fold(0.0, f64::max);
    report.at_most("ms to open a tenant and search it, median", median(times), MAX_OPEN_MS);
    println!("  the worst of {SEARCHED}: {worst:.3} ms");
    let mut times = Vec::new();
    for (nth, tenant) in some(shape, CHANGED).enumerate() {
        let (other, name) = (index.tenant("beside").expect("a tenant"), name(tenant));
        other.add(key(nth), &query).expect("an item");
        let began = Instant::now();
        let tenant = index.tenant(&name).expect("a tenant");
        tenant.search(K).by_vector(&query).expect("an answer");
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    index.drop_tenant("beside").expect("a drop");
    report.at_most("ms for the same after a commit, median", median(times), MAX_OPEN_MS);
}

/// Searches tenants in turn; how often the reader table was full.
fn search_all(index: &Texts, shape: Shape) -> (usize, usize) {
    let one = |thread: usize| {
        let (mut searches, mut full) = (0, 0);
        for pass in 0..PASSES {
            for tenant in some(shape, SEARCHED) {
                let query = vector(shape, tenant, (thread + pass) % shape.items);
                let handle = index.tenant(name(tenant)).expect("a tenant");
                match handle.search(1).by_vector(&query) {
                    Ok(found) => assert_eq!(found.nns[0].1, 0.0),
                    Err(Error::ReadersFull { .. }) => full += 1,
                    Err(error) => panic!("{error}"),
                }
                searches += 1;
            }
        }
        (searches, full)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|nth| scope.spawn(move || one(nth))).collect();
        let done = threads.into_iter().map(|thread| thread.join().expect("a thread"));
        done.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    })
}

/// Another process, which searches the same tenants and prints its times and its failures.
fn child(folder: &Path, shape: Shape) {
    let began = Instant::now();
    let index = Texts::open(folder.join("tenants"), Options::default()).expect("an index");
    let tenant = index.tenant(name(shape.tenants / 2)).expect("a tenant");
    tenant.search(K).by_vector(&vector(shape, 0, 0)).expect("an answer");
    let first = began.elapsed().as_secs_f64() * 1e3;
    let (_, full) = search_all(&index, shape);
    println!("{first} {full}");
}

fn start(folder: &Path, shape: Shape) -> Child {
    let [tenants, items, dimensions] =
        [shape.tenants, shape.items, shape.dimensions].map(|value| value.to_string());
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.arg(folder).args(["--child", "--tenants", &tenants, "--items", &items]);
    command.args(["--dimensions", &dimensions]).stdout(Stdio::piped());
    command.spawn().expect("a process")
}

fn searching(folder: &Path, index: &Texts, shape: Shape, report: &mut Report) {
    let status = Path::new("/proc/self/status");
    let before = number(status, "RssAnon:").unwrap_or(0);
    let (began, other) = (Instant::now(), start(folder, shape));
    let (searches, full) = search_all(index, shape);
    let seconds = began.elapsed().as_secs_f64();
    let output = other.wait_with_output().expect("a process").stdout;
    let output = String::from_utf8_lossy(&output);
    let mut told = output.split_whitespace().filter_map(|word| word.parse::<f64>().ok());
    let (first, other_full) = (told.next().expect("a time"), told.next().expect("a count"));
    println!("another process opened the folder and searched a tenant in {first:.2} ms");
    let readers = index.stats().expect("statistics").environment.readers;
    println!(
        "{searches} searches of {SEARCHED} tenants in turn by {THREADS} threads, beside as many of \
         the other process: {:.0} a second; {readers} entries of the reader table",
        searches as f64 / seconds
    );
    report.at_most("searches that found the reader table full", full as f64 + other_full, 0.0);
    let after = number(status, "RssAnon:").unwrap_or(0);
    println!("private memory grew by {} kB", after.saturating_sub(before));
}

fn listing(index: &Texts, shape: Shape) {
    let began = Instant::now();
    assert_eq!(index.tenants().expect("names").len(), shape.tenants);
    let seconds = began.elapsed().as_secs_f64();
    let each = seconds * 1e6 / shape.tenants as f64;
    println!("all are listed in {:.1} ms, {each:.2} us a tenant", seconds * 1e3);
    let times = some(shape, SEARCHED).map(|tenant| {
        let tenant = index.tenant(name(tenant)).expect("a tenant");
        let began = Instant::now();
        assert_eq!(tenant.len().expect("a count"), shape.items as u64);
        began.elapsed().as_secs_f64() * 1e6
    });
    println!("one is counted in {:.1} us", median(times.collect()));
}

/// Renames, moves and drops tenants, each in a commit of its own.
fn changing(folder: &Path, index: &Texts, shape: Shape) {
    let options = shape.options().name("other");
    let other = Texts::open_or_create(folder.join("tenants"), options).expect("an index");
    let io = Path::new("/proc/self/io");
    let timed = |what: &str, work: &dyn Fn(usize) -> u64| {
        let before = written_bytes(io).unwrap_or(0);
        let times = (0..CHANGED).map(|nth| {
            let began = Instant::now();
            assert_eq!(work(shape.tenants / CHANGED * nth), shape.items as u64);
            began.elapsed().as_secs_f64() * 1e3
        });
        let time = median(times.collect());
        let bytes = written_bytes(io).unwrap_or(0).saturating_sub(before) / CHANGED as u64;
        println!("{what}: {time:.2} ms and {:.0} KB written, commit included", bytes as f64 / 1e3);
    };
    let new = |tenant| format!("renamed-{tenant:06}");
    timed("renaming one", &|t| index.rename_tenant(name(t), new(t)).expect("a name"));
    timed("moving one to another index of the folder", &|t| {
        index.move_tenant(new(t), &other, name(t)).expect("a move")
    });
    timed("moving it back", &|t| other.move_tenant(name(t), index, name(t)).expect("a move"));
    timed("dropping one", &|t| index.drop_tenant(name(t)).expect("a drop"));
    assert!(index.check().expect("a check").is_empty(), "every invariant holds");
}
