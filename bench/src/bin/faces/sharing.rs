//! One process that commits every 50 ms, and eight that search, for a minute; every second two of
//! these are killed and restarted.
//!
//! Each commit replaces items, and with them one that holds the number of the round and the sum of
//! the hashes of all others. The number of the round is then written to a file: a reader that has
//! read it there must not see an older one. [`spent`](crate::spent) breaks down the time of a
//! search: a busy machine makes searches wait for a core, which no database can help, and which is
//! not a wait for a commit.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{BufWriter, Write as _, stdout};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::distances::{Euclidean, distance};
use voisin::{ItemId, Options, Snapshot};
use voisin_bench::data::DataSet;
use voisin_bench::report::{Report, median};

use crate::child::{Process, Running};
use crate::spent::{Clocks, Spent};
use crate::{DIMENSIONS, K, Places, Vectors};

const READERS: usize = 8;
const KILLED_A_SECOND: usize = 2;
const LASTS: Duration = Duration::from_secs(60);
const BETWEEN_COMMITS: Duration = Duration::from_millis(50);
/// The number of items a commit, which takes a few milliseconds for each of them on a shared core.
const REPLACED: usize = 2;
/// The item that describes all others.
const SEAL: ItemId = ItemId::MAX;
/// One in this many searches is compared with its snapshot.
const SEARCHES_BETWEEN_COMPARISONS: u64 = 10;
/// A reader hashes a whole snapshot after its first second, and then at this interval: that takes
/// longer than a thousand searches.
const BETWEEN_VERIFICATIONS: Duration = Duration::from_secs(4);
const BETWEEN_REPORTS: Duration = Duration::from_millis(200);

/// The load of the readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// 100 queries per second each: well within the machine's capacity.
    Paced,
    /// As many as they can.
    Busy,
}

impl Pace {
    fn queries_a_second(self) -> u32 {
        match self {
            Self::Paced => 100,
            Self::Busy => 0,
        }
    }
}

fn hash(item: ItemId, vector: &[f32]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u32(item);
    vector.iter().for_each(|component| hasher.write_u32(component.to_bits()));
    hasher.finish()
}

/// The vector of the sealing item: 24 bits a component, which holds them without rounding.
fn seal(round: u64, sum: u64) -> Vec<f32> {
    let mut vector = vec![0.0; DIMENSIONS];
    for (component, bits) in vector.iter_mut().zip([round, sum, sum >> 24, sum >> 48]) {
        *component = (bits & 0xFF_FFFF) as f32;
    }
    vector
}

fn is_over(folder: &Path) -> bool {
    folder.join("over").exists()
}

/// The process that commits. At the end it reports the number of commits, and the median and the
/// longest time of one, in milliseconds.
pub(crate) fn commit(folder: &Path, data: &str) {
    let set = DataSet::photos(Path::new(data));
    let index = Vectors::open(folder.join("vectors"), Options::default()).expect("an index");
    let items = set.rows().len() as u32;
    let mut hashes: Vec<u64> = (0..items).map(|item| hash(item, set.row(item))).collect();
    let mut sum = hashes.iter().fold(0, |sum: u64, hash| sum.wrapping_add(*hash));
    let announced = File::create(folder.join("round")).expect("a file");
    let mut rng = StdRng::seed_from_u64(5);
    let mut times = Vec::new();
    let mut due = Instant::now();
    for round in 1u64.. {
        let between = |(a, b): (u32, u32)| {
            set.row(a).iter().zip(set.row(b)).map(|(a, b)| (a + b) / 2.0).collect()
        };
        let mut replaced: Vec<(ItemId, Vec<f32>)> = Vec::new();
        while replaced.len() < REPLACED {
            let item = rng.random_range(0..items);
            if replaced.iter().all(|(other, _)| *other != item) {
                replaced.push((
                    item,
                    between((rng.random_range(0..items), rng.random_range(0..items))),
                ));
            }
        }
        for (item, vector) in &replaced {
            let before = std::mem::replace(&mut hashes[*item as usize], hash(*item, vector));
            sum = sum.wrapping_sub(before).wrapping_add(hashes[*item as usize]);
        }
        let start = Instant::now();
        let write = index.write(|batch| {
            replaced.iter().try_for_each(|(item, vector)| batch.add(*item, vector))?;
            batch.add(SEAL, &seal(round, sum))
        });
        write.expect("a commit");
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        // Eight bytes in one page: never seen half-written.
        announced.write_all_at(&round.to_le_bytes(), 0).expect("to announce a round");
        if is_over(folder) {
            break;
        }
        due = (due + BETWEEN_COMMITS).max(Instant::now());
        thread::sleep(due - Instant::now());
    }
    let longest = times.iter().copied().fold(0.0, f64::max);
    println!("{} {} {longest}", times.len(), median(times));
}

/// The round of a snapshot, and the sum that it holds.
fn sealed(snapshot: &Snapshot<Euclidean>) -> (u64, Vec<f32>) {
    let sealing = snapshot.vector(SEAL).expect("a vector").expect("the first round was committed");
    (sealing[0] as u64, sealing)
}

/// The process that searches. It prints a line for each search, and one that names the defect of a
/// wrong answer; `verified` is a complete snapshot.
pub(crate) fn watch(folder: &Path, data: &str, pace: u32) {
    let set = DataSet::photo_queries(Path::new(data));
    let mut queries =
        set.query_rows().cycle().skip(std::process::id() as usize % set.query_rows().len());
    let index =
        Vectors::open_read_only(folder.join("vectors"), Options::default()).expect("an index");
    let announced = File::open(folder.join("round")).expect("a file");
    let clocks = Clocks::of_this_thread();
    let mut out = BufWriter::with_capacity(1 << 20, stdout().lock());
    let began = Instant::now();
    let (mut due, mut reported, mut verify_at) = (began, began, began + Duration::from_secs(1));
    for number in 0u64.. {
        if pace > 0 {
            due = (due + Duration::from_secs(1) / pace).max(Instant::now());
            thread::sleep(due - Instant::now());
        }
        let mut committed = [0; 8];
        announced.read_exact_at(&mut committed, 0).expect("a round");
        let committed = u64::from_le_bytes(committed);
        let query = queries.next().expect("a query");
        let (found, spent) = clocks.time(|| index.search(K).by_vector(query).expect("an answer"));
        assert_eq!(found.nns.len(), K);
        writeln!(out, "{spent}").expect("a parent");
        if number.is_multiple_of(SEARCHES_BETWEEN_COMPARISONS) {
            let (snapshot, spent) = clocks.time(|| index.snapshot().expect("a snapshot"));
            writeln!(out, "{spent}").expect("a parent");
            let round = sealed(&snapshot).0;
            if round < committed {
                writeln!(out, "stale: round {round} after round {committed}").expect("a parent");
            }
            for (item, found) in snapshot.search(K).by_vector(query).expect("an answer").nns {
                let vector =
                    snapshot.vector(item).expect("a vector").expect("an item that was found");
                if distance::<Euclidean>(query, &vector).expect("a distance") != found {
                    writeln!(out, "torn: item {item} of round {round} is not {found} away")
                        .expect("a parent");
                }
            }
            if Instant::now() > verify_at {
                verify_at += BETWEEN_VERIFICATIONS;
                let sum = snapshot
                    .iter()
                    .expect("items")
                    .map(|entry| entry.expect("an item"))
                    .filter(|(item, _)| *item != SEAL);
                let sum =
                    sum.fold(0u64, |sum, (item, vector)| sum.wrapping_add(hash(item, &vector)));
                let is_whole = sealed(&snapshot).1 == seal(round, sum);
                writeln!(out, "{}", if is_whole { "verified" } else { "torn: a snapshot" })
                    .expect("a parent");
            }
        }
        if reported.elapsed() > BETWEEN_REPORTS {
            out.flush().expect("a parent");
            if is_over(folder) {
                return;
            }
            reported = Instant::now();
        }
    }
}

/// The output of a reader.
enum Said {
    Took(Spent),
    Else(String),
}

/// A reader, and the thread that listens to it.
fn start(told: &[&str], said: &Sender<Said>) -> (Process, JoinHandle<()>) {
    let (process, lines) = Running::start(told).into_parts();
    let said = said.clone();
    let listener = thread::spawn(move || {
        for line in lines {
            // The last line of a killed reader may be incomplete, and then is not six numbers.
            let what = match line.parse() {
                Ok(spent) => Said::Took(spent),
                Err(_) if line.starts_with(|c: char| c.is_ascii_digit()) => continue,
                Err(_) => Said::Else(line),
            };
            said.send(what).expect("someone who listens");
        }
    });
    (process, listener)
}

pub(crate) fn processes(places: &Places, pace: Pace, report: &mut Report) {
    println!(
        "100 000 items, {READERS} processes that search, {pace:?}, and one that commits every \
         {} ms",
        BETWEEN_COMMITS.as_millis()
    );
    let folder = &places.indexes.join("scratch");
    if folder.exists() {
        fs::remove_dir_all(folder).expect("to remove a folder");
    }
    fs::create_dir(folder).expect("a folder");
    let small = Vectors::open(places.small(), Options::default()).expect("an index");
    small.copy_to(folder.join("vectors")).expect("a copy");
    drop(small);

    let path = folder.to_str().expect("a path in UTF-8");
    let mut committer = Running::start(&["committer", path, places.data()]);
    while fs::metadata(folder.join("round")).map_or(0, |file| file.len()) < 8 {
        thread::sleep(Duration::from_millis(5));
    }
    let (said, hears) = channel();
    let queries = pace.queries_a_second().to_string();
    let told = ["watcher", path, places.data(), &queries];
    let mut readers: Vec<_> = (0..READERS).map(|_| start(&told, &said)).collect();
    let mut listeners = Vec::new();
    for _ in 0..LASTS.as_secs() {
        thread::sleep(Duration::from_secs(1));
        for (process, listener) in readers.drain(..KILLED_A_SECOND) {
            drop(process);
            listeners.push(listener);
        }
        readers.extend((0..KILLED_A_SECOND).map(|_| start(&told, &said)));
    }
    fs::write(folder.join("over"), "").expect("a file");
    let commits = committer.hear();
    for (process, listener) in readers {
        // Until it has ended.
        listener.join().expect("a listener");
        drop(process);
    }
    listeners.into_iter().for_each(|listener| listener.join().expect("a listener"));
    drop(said);
    println!("  {} commits, in {:.1} ms, at most {:.1}", commits[0], commits[1], commits[2]);

    let (mut took, mut other) = (Vec::new(), Vec::new());
    for what in hears {
        match what {
            Said::Took(spent) => took.push(spent),
            Said::Else(line) => other.push(line),
        }
    }
    tell(&mut took);
    let count = |word| other.iter().filter(|line| line.starts_with(word)).count() as f64;
    other.iter().filter(|line| *line != "verified").take(10).for_each(|line| println!("  {line}"));
    let longest = took.iter().map(Spent::waited).max().expect("a search") as f64 / 1000.0;
    report.at_most("longest wait for anything but a core, milliseconds", longest, 20.0);
    if pace == Pace::Paced {
        report.at_least(
            "commits, of those that were due",
            commits[0] / LASTS.div_duration_f64(BETWEEN_COMMITS),
            0.9,
        );
    }
    report.at_most("torn answers", count("torn"), 0.0);
    report.at_most("stale answers", count("stale"), 0.0);
    report.at_least("snapshots of which all was hashed", count("verified"), LASTS.as_secs() as f64);
    let index = Vectors::open(folder.join("vectors"), Options::default()).expect("an index");
    let live = index.copy_to(folder.join("copy")).expect("a copy") as f64;
    let file = index.stats().expect("statistics").environment.file_bytes as f64;
    println!("  file: {file:.0} bytes, {live:.0} of them live");
    report.at_most("bytes of the file, times what is live", file / live, 2.0);
    report.at_most("findings of check", index.check().expect("a check").len() as f64, 0.0);
}

/// Prints the breakdown of the time.
fn tell(took: &mut [Spent]) {
    let share = |took: &[Spent], share: f64| took[((took.len() - 1) as f64 * share) as usize];
    took.sort_by_key(|spent| spent.wall);
    let walls = [0.5, 0.99, 0.999, 1.0].map(|part| share(took, part).wall);
    println!(
        "  {} searches; microseconds of half of them, 99 %, 99.9 %, all: {walls:?}",
        took.len()
    );
    println!(
        "  the longest, as wall, core, queue for a core, waits, preemptions, pages from the disk:"
    );
    took.iter().rev().take(5).for_each(|spent| println!("    {spent}"));
    let taken = took.iter().filter(|spent| spent.voluntary == 0).map(Spent::rest);
    println!(
        "  taken by interrupts or the hypervisor: at most {}, of all {}",
        taken.clone().max().unwrap_or(0),
        taken.sum::<u64>()
    );
    took.sort_by_key(Spent::waited);
    let waits = [0.5, 0.99, 0.999, 1.0].map(|part| share(took, part).waited());
    let over = [1, 5, 20].map(|ms| took.iter().filter(|spent| spent.waited() > ms * 1000).count());
    println!(
        "  waits for anything but a core, of the same shares: {waits:?}; over 1, 5, 20 ms: \
         {over:?}; the longest:"
    );
    took.iter().rev().take(5).for_each(|spent| println!("    {spent}"));
}
