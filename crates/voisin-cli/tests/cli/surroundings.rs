//! No space and no right: one line, code 3, and what was committed is intact.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{Place, Ran, floats};

/// A small file system in memory, for as long as this lives.
struct Disk(TempDir);

impl Disk {
    /// `None` if none can be mounted.
    fn mount(megabytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "voisin-test"]);
        match mount.arg(folder.path()).output() {
            Ok(output) if output.status.success() => Some(Self(folder)),
            other => {
                println!("SKIPPED: no file system can be mounted here: {other:?}");
                None
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Leaves no room.
    fn fill(&self) -> PathBuf {
        use std::io::Write as _;
        let path = self.path("ballast");
        let mut file = fs::File::create(&path).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_is_told_and_changes_nothing() {
    let Some(disk) = Disk::mount(1) else { return };
    let place = Place::with_notes();
    fs::write(place.path("many.f32"), floats(0..12_000, 8)).unwrap();
    let on_disk = disk.path("notes");
    let folder = on_disk.to_str().unwrap();
    place.run(["copy", "notes", folder]).done();
    // It would fit on no such disk, with its graph.
    place.run(["load", folder, "many.f32"]).failed(3, &[folder, "room"]);
    assert_eq!(place.sound(folder), 500);
    let ballast = disk.fill();
    for line in [
        vec!["load", folder, "many.f32"],
        vec!["delete", folder, "1", "2", "3"],
        vec!["optimize", folder],
        vec!["repair", folder, "--rebuild-graph"],
        vec!["create", folder, "--index", "other", "--metric", "l2", "-d", "2"],
        vec!["copy", "notes", disk.path("copy").to_str().unwrap()],
        vec!["export", "notes", disk.path("copy").to_str().unwrap(), "--format", "npy"],
        vec!["report", "notes", disk.path("copy").to_str().unwrap()],
        vec!["man", disk.path("pages").to_str().unwrap()],
        vec!["create", disk.path("new").to_str().unwrap(), "--metric", "l2", "-d", "2"],
    ] {
        let ran = place.run(&line);
        // What fits into pages that are free in the file needs no room.
        if ran.code != Some(0) {
            ran.failed(3, &[disk.0.path().to_str().unwrap()]);
        } else {
            assert!(["delete", "optimize", "repair", "create"].contains(&line[0]), "{ran:?}");
        }
        assert!(!disk.path("copy").exists());
    }
    fs::remove_file(ballast).unwrap();
    assert!((497..=500).contains(&place.sound(folder)));
    place.run(["load", folder, "rows.f32"]).done();
    assert_eq!(place.sound(folder), 500);
}

#[test]
fn a_limit_on_the_length_of_files_is_told_and_changes_nothing() {
    let place = Place::with_notes();
    fs::write(place.path("many.f32"), floats(0..20_000, 8)).unwrap();
    let limited = |line: &str| {
        // In units of 512 or 1024 bytes, as the shell likes.
        let script = format!("trap '' XFSZ; ulimit -f 200; exec \"$0\" {line}");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_voisin")]).current_dir(place.0.path());
        Ran::of(command.output().unwrap())
    };
    limited("load notes many.f32").failed(3, &["ulimit -f"]);
    limited("copy notes backup").failed(3, &["ulimit -f"]);
    assert_eq!(place.sound("notes"), 500);
    assert!(!place.path("backup").exists());
    assert_eq!(place.names(), ["many.f32", "more.f32", "notes", "rows.f32"]);
}

/// Runs a command as somebody who owns nothing here.
fn as_stranger(place: &Place, line: &str) -> Option<Ran> {
    let mut command = place.command(line.split_whitespace());
    command.uid(65_534).gid(65_534);
    match command.output() {
        Ok(output) => Some(Ran::of(output)),
        Err(error) => {
            println!("SKIPPED: no command can be run as another user here: {error}");
            None
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_missing_right_is_told_and_changes_nothing() {
    let place = Place::with_notes();
    set_mode(place.0.path(), 0o755);
    set_mode(&place.path("notes"), 0o700);
    for line in [
        "load notes more.f32",
        "search notes --item 1",
        "get notes 1",
        "delete notes 1",
        "list notes",
        "inspect notes",
        "stats notes",
        "check notes",
        "check notes --deep",
        "repair notes",
        "optimize notes",
        "copy notes /tmp/voisin-stranger-copy",
        "create notes --index other --metric l2 -d 2",
        "create new --metric l2 -d 2",
        "export notes - --format jsonl",
        "bench notes",
        "report notes /tmp/voisin-stranger.html",
        "import notes notes",
        "man notes/pages",
    ] {
        let Some(ran) = as_stranger(&place, line) else { return };
        let path = if line.starts_with("create new") { "new" } else { "notes" };
        ran.failed(3, &[path, "owner"]);
    }
    // A file that may not be read.
    set_mode(&place.path("notes"), 0o755);
    set_mode(&place.path("rows.f32"), 0o600);
    let Some(ran) = as_stranger(&place, "load notes rows.f32") else { return };
    ran.failed(3, &["owner"]);
    assert_eq!(place.sound("notes"), 500);
}
