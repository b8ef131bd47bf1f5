//! A disk that is too small, and a limit on the length of files: one line, code 3, and what was
//! committed is intact. `matrix` does that to every subcommand.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{Place, Ran, floats};

/// A small file system in memory, for as long as this lives.
pub(crate) struct Disk(pub(crate) TempDir);

impl Disk {
    /// `None` if none can be mounted.
    pub(crate) fn mount(kilobytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "voisin-test"]);
        match mount.arg(folder.path()).output() {
            Ok(output) if output.status.success() => Some(Self(folder)),
            other => {
                println!("SKIPPED: no file system can be mounted here: {other:?}");
                None
            }
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Leaves no room.
    pub(crate) fn fill(&self) -> PathBuf {
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
    let Some(disk) = Disk::mount(1024) else { return };
    let place = Place::with_notes();
    fs::write(place.path("many.f32"), floats(0..12_000, 8)).unwrap();
    let on_disk = disk.path("notes");
    let folder = on_disk.to_str().unwrap();
    place.run(["copy", "notes", folder]).done();
    // It would fit on no such disk, with its graph.
    place.run(["load", folder, "many.f32"]).failed(3, &[folder, "room"]);
    assert_eq!(place.sound(folder), 500);
    let ballast = disk.fill();
    place.run(["load", folder, "many.f32"]).failed(3, &[folder]);
    fs::remove_file(ballast).unwrap();
    place.run(["load", folder, "rows.f32"]).done();
    assert_eq!(place.sound(folder), 500);
}

#[test]
fn a_limit_on_the_length_of_files_is_told_and_changes_nothing() {
    let place = Place::with_notes();
    fs::write(place.path("many.f32"), floats(0..20_000, 8)).unwrap();
    let limited = |line: &str| {
        // In units of 512 or 1024 bytes, as the shell likes.
        let script = format!("ulimit -f 200; exec \"$0\" {line}");
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
pub(crate) fn as_stranger(place: &Place, line: &str) -> Option<Ran> {
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

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
