//! System errors: each names the path and the remedy.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use voisin::distances::{Cosine, Euclidean, Manhattan};
use voisin::{Codes, Error, Index, Options, Responsible, VectorDefect};

use crate::child::{Running, tell, told};

type Vectors = Index<Euclidean>;

/// That an error of the system names a path and a remedy.
#[track_caller]
fn is_told<T: std::fmt::Debug>(result: voisin::Result<T>, path: &Path, remedy: &str) {
    let error = result.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Io { .. } | Error::DiskFull { .. }), "{error:?}");
    assert!(text.contains(path.to_str().unwrap()) && text.contains(remedy), "{text}");
    assert_eq!(error.responsible(), Responsible::Environment);
    println!("{text}");
}

fn create(path: &Path) -> Vectors {
    let index = Vectors::create(path, Options::new(2)).unwrap();
    index
        .write(|batch| batch.add_items_from((0..200).map(|item| (item, [item as f32, 0.0]))))
        .unwrap();
    index
}

#[track_caller]
fn is_whole(index: &Vectors) {
    assert_eq!(index.search(1).by_vector(&[17.2, 0.0]).unwrap().into_nns()[0].0, 17);
    assert!(index.check().unwrap().is_empty());
}

/// A file system in memory. `None` if none can be mounted.
struct Disk(TempDir);

impl Disk {
    fn mount(megabytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "voisin-test"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder)),
            other => {
                println!("SKIPPED: no file system can be mounted here: {other:?}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn make_read_only(&self) {
        let output =
            Command::new("mount").args(["-o", "remount,ro"]).arg(self.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

#[test]
fn a_read_only_file_system_has_a_name_and_a_remedy() {
    // "LMDB: Read-only file system (os error 30)" was all that was said, without a path.
    let Some(disk) = Disk::mount(8) else { return };
    let path = disk.path().join("vectors");
    drop(create(&path));
    disk.make_read_only();
    let remedy = "mount it for writing, or search the index with Index::open_read_only";
    is_told(Vectors::open(&path, Options::default()), &path, remedy);
    is_told(
        Vectors::create(disk.path().join("others"), Options::new(2)),
        &disk.path().join("others"),
        remedy,
    );
    // The remedy works.
    let index = Vectors::open_read_only(&path, Options::default()).unwrap();
    is_whole(&index);
    is_told(
        index.copy_to(disk.path().join("copy")),
        &disk.path().join("copy"),
        "mount it for writing",
    );
}

/// The child: becomes another user, or has limits that processes in containers have, and does what
/// it is told.
#[test]
fn limited() {
    let Some(told) = told() else { return };
    let path = Path::new(&told[1]);
    match &*told[0] {
        "another user" => {
            // SAFETY: there is one thread that does anything, and the process ends soon.
            assert_eq!(unsafe { libc::setuid(65_534) }, 0);
            let remedy = "run it as the owner of the files, or change their owner or mode";
            is_told(Vectors::open(path, Options::default()), path, remedy);
            is_told(Vectors::open_read_only(path, Options::default()), path, remedy);
            is_told(Vectors::create(path.join("new"), Options::new(2)), path, remedy);
        }
        "small files" => {
            let index = Vectors::open(path, Options::default()).unwrap();
            let length = fs::metadata(path.join("data.mdb")).unwrap().len();
            limit(libc::RLIMIT_FSIZE, length + 300_000);
            // SAFETY: asks for an error in the place of a signal.
            unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
            let add = || {
                index.write(|batch| {
                    batch.add_items_from((1000..20_000).map(|item| (item, [item as f32, 1.0])))
                })
            };
            is_told(add(), path, "raise the limit (ulimit -f)");
            is_whole(&index);
            // An even number of bytes ends it in the middle of a write, for which LMDB says EIO.
            limit(libc::RLIMIT_FSIZE, length + 299_008);
            is_told(add(), path, "raise the limit (ulimit -f)");
            is_whole(&index);
            limit(libc::RLIMIT_FSIZE, 20_000);
            let copy = path.with_extension("copy");
            is_told(index.copy_to(&copy), &copy, "ulimit -f");
        }
        "few files" => {
            let index = Vectors::open(path, Options::default()).unwrap();
            index.write(|batch| batch.add(1, &[1.0, 0.0])).unwrap();
            let other = path.with_extension("other");
            drop(create(&other));
            let (mut refused, mut allowed) = (0, 0);
            for files in 4..24 {
                limit(libc::RLIMIT_NOFILE, files);
                for (result, path) in [
                    (index.copy_to(path.join(format!("copy {files}"))).map(drop), path),
                    (Vectors::open(&other, Options::default()).map(drop), &*other),
                    (
                        Vectors::create(
                            path.with_extension(format!("new {files}")),
                            Options::new(2),
                        )
                        .map(drop),
                        &path.with_extension("new"),
                    ),
                ] {
                    if result.is_err() {
                        is_told(
                            result,
                            path,
                            "too many files are open: close some, or raise the limit (ulimit -n)",
                        );
                        refused += 1;
                    } else {
                        allowed += 1;
                    }
                }
                limit(libc::RLIMIT_NOFILE, 256);
                is_whole(&index);
            }
            assert!(refused > 6 && allowed > 6, "{refused} {allowed}");
        }
        "nowhere for temporary files" => {
            // The system's folder is not asked for anything.
            let index = Vectors::open(path, Options::default()).unwrap();
            index.optimize().unwrap();
            assert_eq!(
                index.load((5000..6100).map(|item| (item, large(item))), |_| {}).unwrap(),
                1100
            );
        }
        other => panic!("{other}"),
    }
    tell("done");
}

fn limit(what: libc::__rlimit_resource_t, most: u64) {
    // SAFETY: the limits are there to be read.
    unsafe {
        let mut limits = std::mem::zeroed();
        assert_eq!(libc::getrlimit(what, &mut limits), 0);
        limits.rlim_cur = most;
        assert_eq!(libc::setrlimit(what, &limits), 0);
    }
}

#[track_caller]
fn run(what: &str, path: &Path) {
    let mut child = Running::start("system_errors::limited", &[what, path.to_str().unwrap()]);
    child.expect("done");
    assert!(child.end().success());
}

#[test]
fn files_of_another_user_have_a_name_and_a_remedy() {
    use std::os::unix::fs::PermissionsExt as _;
    // SAFETY: it only tells.
    if unsafe { libc::geteuid() } != 0 {
        println!("SKIPPED: this user cannot become another one");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().join("vectors");
    drop(create(&path));
    // Readable and not to be written; not readable; in a folder that cannot be entered.
    for (folder_mode, file_mode) in [(0o755, 0o644), (0o755, 0o600), (0o700, 0o644)] {
        for name in ["data.mdb", "lock.mdb"] {
            fs::set_permissions(path.join(name), fs::Permissions::from_mode(file_mode)).unwrap();
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(folder_mode)).unwrap();
        run("another user", &path);
    }
}

#[test]
fn a_file_that_may_not_grow_has_a_name_and_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    drop(create(&path));
    run("small files", &path);
}

#[test]
fn a_process_with_too_many_open_files_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    drop(create(&path));
    run("few files", &path);
}

/// So many that a thousand of them do not wait in memory.
const LARGE: usize = 16_000;

fn large(item: u32) -> Vec<f32> {
    (0..LARGE as u32).map(|i| ((item * 31 + i) % 97) as f32).collect()
}

#[test]
fn temporary_files_lie_beside_the_index_or_where_the_caller_says_and_errors_name_their_folder() {
    // `TMPDIR=/nowhere` was "LMDB: No such file or directory"; a small one was a full disk of the
    // index, which had room.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    let options = Options::new(LARGE).m(2).ef_construction(2);
    let items = || (0..1100).map(|item| (item, large(item)));
    let index = Vectors::create(&path, options.clone()).unwrap();
    index.write(|batch| batch.add_items_from(items())).unwrap();

    let nowhere = folder.path().join("nowhere");
    let lost = Vectors::open(&path, Options::default().temp_dir(&nowhere)).unwrap();
    is_told(lost.load(items(), |_| {}), &nowhere, "create it, or give another path");
    is_told(lost.optimize(), &nowhere, "create it, or give another path");
    is_told(
        index.loader().temp_dir(&nowhere).load(items()),
        &nowhere,
        "create it, or give another path",
    );
    if let Some(disk) = Disk::mount(8) {
        let cramped = Vectors::open(&path, Options::default().temp_dir(disk.path())).unwrap();
        is_told(cramped.load(items(), |_| {}), disk.path(), "free some room");
        is_told(cramped.optimize(), disk.path(), "free some room");
        assert_eq!(cramped.loader().temp_dir(folder.path()).load(items()).unwrap(), 1100);
        assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0);
    }
    assert!(index.check().unwrap().is_empty() && index.snapshot().unwrap().len() == 1100);
    drop((index, lost));

    // Inherited by the child; nobody in this process asks for the system's folder meanwhile.
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["system_errors::limited", "--exact", "--nocapture", "--test-threads=1"])
        .env("TMPDIR", &nowhere);
    let told = format!("nowhere for temporary files\n{}", path.display());
    let output = child.env("VOISIN_TEST_CHILD", told).output().unwrap();
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("child: done"),
        "{output:?}"
    );
}

#[test]
fn a_creation_that_is_refused_leaves_nothing_behind() {
    // The folder and LMDB's two files were left, of an index that could not be.
    let folder = tempfile::tempdir().unwrap();
    let nothing_in = |path: &Path| assert_eq!(fs::read_dir(path).unwrap().count(), 0);
    let path = folder.path().join("above").join("vectors");
    let refused = [
        Index::<Manhattan>::create(&path, Options::new(4).codes(Codes::Bits8)).map(drop),
        Vectors::create(&path, Options::default()).map(drop),
        Vectors::create(&path, Options::new(70_000)).map(drop),
        Vectors::create(&path, Options::new(4).m(1)).map(drop),
        Vectors::open_or_create(&path, Options::new(4).m0(100_000)).map(drop),
        Vectors::create(&path, Options::new(4).alpha(f32::NAN)).map(drop),
        Vectors::create(&path, Options::new(4).ef_construction(0)).map(drop),
        Vectors::create(&path, Options::new(4).name("")).map(drop),
    ];
    for error in refused.map(Result::unwrap_err) {
        assert_eq!(error.responsible(), Responsible::Caller, "{error}");
    }
    nothing_in(folder.path());
    // Beside an index that is there, the same is refused, and what is there stays.
    let index = create(&path);
    assert!(
        Index::<Manhattan>::create(&path, Options::new(4).name("other").codes(Codes::Bits8))
            .is_err()
    );
    assert_eq!(index.names().unwrap(), ["main"]);
    is_whole(&index);
    drop(index);
    is_whole(&Vectors::open(&path, Options::default()).unwrap());
}

#[test]
fn a_creation_that_fails_half_way_removes_the_folder_that_it_has_made() {
    let Some(disk) = Disk::mount(1) else { return };
    // Room for the lock file, and for a part of what LMDB writes.
    let mut failed = 0;
    for left in (0..40).map(|pages| pages * 4096) {
        let ballast = disk.path().join("ballast");
        let free = 1 << 20;
        _ = fs::write(&ballast, vec![1; free - left]);
        let path = disk.path().join("above").join("vectors");
        match Vectors::create(&path, Options::new(2).max_readers(200)) {
            Ok(index) => {
                drop(index);
                fs::remove_dir_all(disk.path().join("above")).unwrap();
            }
            Err(error) => {
                assert!(matches!(error, Error::DiskFull { .. }), "{error}");
                assert!(
                    !disk.path().join("above").exists(),
                    "{left} bytes: {:?}",
                    fs::read_dir(&path).map(|entries| entries.count())
                );
                failed += 1;
            }
        }
        fs::remove_file(&ballast).unwrap();
        // A folder that was there stays.
        let there = disk.path().join("there");
        fs::create_dir(&there).unwrap();
        fs::write(&ballast, vec![1; free - left - 4096]).ok();
        _ = Vectors::create(&there, Options::new(2).max_readers(200));
        assert!(there.exists());
        fs::remove_dir_all(there).unwrap();
        fs::remove_file(ballast).unwrap();
    }
    assert!(failed > 5, "{failed}");
}

#[test]
fn a_bad_query_is_not_told_how_to_store_it() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::<Cosine>::create(folder.path().join("vectors"), Options::new(2)).unwrap();
    index.write(|batch| batch.add(1, &[1.0, 0.0])).unwrap();
    for result in [
        index.search(1).by_vector(&[0.0, 0.0]).map(drop),
        index.search(1).by_vector(&[1e30, 1e30]).map(drop),
        index.search(1).by_vectors(&[1.0, 0.0, 0.0, 0.0]).map(drop),
    ] {
        let error = result.unwrap_err();
        let text = error.to_string();
        assert!(
            !text.contains("stored") && !text.contains("leave it out") && text.contains("quer"),
            "{text}"
        );
        assert_eq!(error.responsible(), Responsible::Caller);
    }
    let text = index.write(|batch| batch.add(2, &[0.0, 0.0])).unwrap_err().to_string();
    assert!(text.contains("as it would be stored"), "{text}");
    assert!(matches!(
        index.search(1).by_vector(&[0.0, 0.0]),
        Err(Error::InvalidQuery { defect: VectorDefect::ZeroNorm })
    ));
}

#[test]
fn a_write_inside_a_write_is_told_what_can_be_done_for_both_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let index = create(&folder.path().join("vectors"));
    let other = Vectors::create(index.path(), Options::new(2).name("other")).unwrap();
    let text =
        index.write(|_| other.write(|batch| batch.add(1, &[1.0, 2.0]))).unwrap_err().to_string();
    assert!(
        text.contains("when that one has returned") && text.contains("if it is for the same index"),
        "{text}"
    );
}
