//! A full disk is an error that names the path and leaves everything unchanged; writes work again
//! once there is space.
//!
//! Runs on a small in-memory file system of the tests' own, which requires the right to mount one:
//! without it, the tests say so and pass.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use voisin::distances::Euclidean;
use voisin::{Error, Index, Options};

use crate::child::{Running, tell, told};
use crate::{Vectors, check};

const LONG: usize = 256;

/// A file system, for as long as this lives.
struct Disk {
    folder: TempDir,
}

impl Disk {
    /// `None` if none can be mounted.
    fn mount(megabytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "voisin-test"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { folder }),
            other => {
                println!("SKIPPED: no file system can be mounted here: {other:?}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves so many bytes of room.
    fn fill_up_to(&self, left: usize) -> PathBuf {
        let ballast = self.path().join("ballast");
        let mut file = fs::File::create(&ballast).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        let length = file.metadata().unwrap().len();
        file.set_len(length - left as u64).unwrap();
        ballast
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // At once, or when the last file is closed.
        _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

fn long(item: u32) -> Vec<f32> {
    (0..LONG as u32)
        .map(|i| ((item * 31 + i * 7) % 97) as f32 + if i == 0 { item as f32 } else { 0.0 })
        .collect()
}

fn add(index: &Vectors, items: std::ops::Range<u32>) -> voisin::Result<u64> {
    index.write(|batch| batch.add_items_from(items.clone().map(|item| (item, long(item)))))
}

/// A new index with 500 items on a disk.
fn index_on(disk: &Disk) -> Vectors {
    let index =
        Vectors::create(disk.path().join("vectors"), Options::new(LONG).m(6).ef_construction(16))
            .unwrap();
    add(&index, 0..500).unwrap();
    index
}

#[track_caller]
fn is_full<T: std::fmt::Debug>(result: voisin::Result<T>, path: &Path) {
    match result {
        Err(error @ Error::DiskFull { .. }) => {
            let text = error.to_string();
            assert!(
                text.contains(path.to_str().unwrap()) && text.contains("free some room"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
}

/// That an index is as it was, and works.
#[track_caller]
fn is_as_before(index: &Vectors, items: u64) {
    assert_eq!(index.snapshot().unwrap().len(), items);
    assert_eq!(index.search(1).by_vector(&long(123)).unwrap().into_nns(), [(123, 0.0)]);
    check(index);
}

#[test]
fn a_write_that_finds_no_room_has_changed_nothing_and_can_be_made_again() {
    // So much room as ends it here or there: in the first page, in the middle of a run of pages,
    // near the end.
    for left in [0, 4096, 20_000, 300_000, 1_200_000] {
        let Some(disk) = Disk::mount(24) else { return };
        let index = index_on(&disk);
        let held = index.snapshot().unwrap();
        let ballast = disk.fill_up_to(left);
        is_full(add(&index, 500..3000), index.path());
        is_as_before(&index, 500);
        is_full(add(&index, 500..3000), index.path());
        is_full(
            index.try_write(|batch| {
                batch.add_items_from((500..3000).map(|item| (item, long(item))))
            }),
            index.path(),
        );
        is_as_before(&index, 500);
        fs::remove_file(ballast).unwrap();
        add(&index, 500..3000).unwrap();
        is_as_before(&index, 3000);
        assert_eq!(held.len(), 500);
        drop((index, held));
    }
}

#[test]
fn a_load_that_finds_no_room_has_changed_nothing_and_can_be_made_again() {
    let Some(disk) = Disk::mount(24) else { return };
    let index = index_on(&disk);
    let ballast = disk.fill_up_to(200_000);
    let items = || (500..3000).map(|item| (item, long(item)));
    // What waits is in memory; the commit finds no room.
    is_full(index.load(items(), |_| {}), index.path());
    is_as_before(&index, 500);
    // More than that waits in a file, which finds none.
    let read = std::sync::atomic::AtomicU64::new(0);
    let endless = (0..).map(|item| (item, long(item % 1000)));
    let loader = index
        .loader()
        .progress(|progress| read.store(progress.done, std::sync::atomic::Ordering::Relaxed));
    is_full(loader.load(endless), index.path());
    assert!(
        read.load(std::sync::atomic::Ordering::Relaxed) < 200_000,
        "it has ended soon after 64 MB"
    );
    is_as_before(&index, 500);
    fs::remove_file(ballast).unwrap();
    assert_eq!(index.load(items(), |_| {}).unwrap(), 2500);
    is_as_before(&index, 3000);
    // So does one with keys.
    let texts = Index::<Euclidean, str>::create(
        index.path(),
        Options::new(LONG).name("texts").m(6).ef_construction(16),
    )
    .unwrap();
    texts.write(|batch| batch.add("there", &long(1))).unwrap();
    let ballast = disk.fill_up_to(100_000);
    is_full(
        texts.load((0..1500).map(|item| (format!("text {item}"), long(item))), |_| {}),
        index.path(),
    );
    assert!(
        texts.check().unwrap().is_empty()
            && texts.snapshot().unwrap().keys().unwrap().map(Result::unwrap).eq(["there"])
    );
    fs::remove_file(ballast).unwrap();
    texts.load((0..500).map(|item| (format!("text {item}"), long(item))), |_| {}).unwrap();
    assert!(texts.check().unwrap().is_empty() && texts.snapshot().unwrap().len() == 501);
}

#[test]
fn every_kind_of_change_that_finds_no_room_says_so() {
    let Some(disk) = Disk::mount(24) else { return };
    let index = index_on(&disk);
    let _ballast = disk.fill_up_to(0);
    is_full(index.optimize(), index.path());
    is_full(index.force_rebuild(), index.path());
    is_full(index.write(|batch| batch.clear()), index.path());
    is_as_before(&index, 500);
}

#[test]
fn a_copy_that_finds_no_room_says_where_and_leaves_no_copy() {
    let Some(disk) = Disk::mount(8) else { return };
    let (_folder, index) = crate::create(Options::new(LONG).m(6).ef_construction(16));
    add(&index, 0..500).unwrap();
    let ballast = disk.fill_up_to(100_000);
    let target = disk.path().join("copy");
    is_full(index.copy_to(&target), &target);
    assert!(!target.exists());
    fs::remove_file(ballast).unwrap();
    index.copy_to(&target).unwrap();
    is_as_before(&Vectors::open(&target, Options::default()).unwrap(), 500);
}

/// The child: opens an index on a full disk, in ways that need room or do not.
#[test]
fn opener() {
    let Some(told) = told() else { return };
    let path = Path::new(&told[1]);
    match &*told[0] {
        "create" => is_full(Vectors::create(path, Options::new(LONG)), path),
        "open anew" => is_full(Vectors::open(path, Options::default()), path),
        "open" => {
            let index = Vectors::open(path, Options::default()).unwrap();
            // More entries in the table of readers than its first page has.
            let snapshots: Vec<_> = (0..300)
                .map(|_| {
                    index.release().unwrap();
                    index.snapshot().unwrap()
                })
                .collect();
            assert_eq!(snapshots.len(), 300);
            is_as_before(&index, 500);
        }
        other => panic!("{other}"),
    }
    tell("done");
}

#[test]
fn a_process_that_opens_an_index_on_a_full_disk_is_not_killed() {
    let Some(disk) = Disk::mount(8) else { return };
    let index = index_on(&disk);
    let path = index.path().to_owned();
    drop(index);
    let _ballast = disk.fill_up_to(0);
    let run = |what: &str, path: &Path| {
        let mut child = Running::start("disk_full::opener", &[what, path.to_str().unwrap()]);
        let heard = child.hear();
        println!("{what}: {heard:?}, {}", child.end());
        heard.is_some()
    };
    assert!(run("open", &path));
    assert!(run("create", &disk.path().join("new")));
    fs::remove_file(path.join("lock.mdb")).unwrap();
    let _ballast = disk.fill_up_to(0);
    assert!(run("open anew", &path));
}

#[test]
fn a_load_within_a_budget_asks_for_room_before_it_begins() {
    // The index is on a roomy disk, and its temporary files on one that is nearly full.
    let Some(disk) = Disk::mount(8) else { return };
    disk.fill_up_to(1 << 20);
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(LONG).m(8).ef_construction(16);
    let index = Vectors::create(folder.path().join("vectors"), options).unwrap();
    let before = index.snapshot().unwrap().commit();
    let rows = || (0..3000).map(|item| (item, long(item)));
    let loader = || index.loader().memory(12 << 20).temp_dir(disk.path());
    match loader().load(rows()) {
        Err(Error::DiskRoom { path, needed, available }) => {
            assert_eq!(path, disk.path());
            assert!(available <= 1 << 20 && needed >= 3000 * 4 * LONG as u64, "{needed}");
        }
        other => panic!("{other:?}"),
    }
    // How many rows there are is not known before they are read.
    let unknown = rows().filter(|(item, _)| *item < 3000);
    assert!(matches!(loader().load(unknown), Err(Error::DiskFull { .. })));
    assert_eq!(index.snapshot().unwrap().commit(), before);
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 1, "the ballast");
    // With another folder, it has room.
    assert_eq!(index.loader().memory(12 << 20).load(rows()).unwrap(), 3000);
    check(&index);
}
