//! Ctrl-C and SIGKILL, of every subcommand: while it waits for another writer, while it waits for
//! the reader of its output, and at several moments.

use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use voisin::{AnyIndex, Folder, Options};

use super::table::{ROWS, Row};
use super::{fixture, nothing_has_changed, place, tenants, verified};
use crate::ended::{signal, until};
use crate::{Place, Ran};

/// The bytes that a pipe holds.
const PIPE_BYTES: usize = 1 << 16;

/// Whether the handler of signals of a process is installed, which has a thread of its own.
fn handles_signals(child: &Child) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{}/task", child.id())) else { return false };
    tasks.flatten().any(|task| {
        let name = std::fs::read_to_string(task.path().join("comm"));
        name.is_ok_and(|name| name.trim() == "ctrl-c")
    })
}

/// Interrupts a process until it has ended, and checks how.
fn interrupt(mut child: Child) {
    until(|| handles_signals(&child));
    // What is between two of its steps may need the second.
    until(|| {
        signal(&child, "-INT");
        std::thread::sleep(Duration::from_millis(20));
        child.try_wait().unwrap().is_some()
    });
    let code = child.wait().unwrap().code();
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    let ran = Ran { code, out: String::new(), err: told };
    ran.failed(130, &["interrupted"]);
}

#[test]
fn ctrl_c_ends_what_waits_for_another_writer() {
    for row in ROWS.iter().filter(|row| row.waits) {
        let place = place();
        let (held, is_held) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let path = place.path(row.signal.split(' ').nth(1).unwrap());
        let writer = std::thread::spawn(move || {
            let folder = Folder::open(&path, &Options::default()).unwrap();
            let index = AnyIndex::open(&path, Options::default()).unwrap();
            let given_up = folder.write(|txn| {
                match &index {
                    AnyIndex::Ids(ids) => txn.index(ids, |batch| batch.delete(3))?,
                    AnyIndex::Texts(texts) => txn.index(texts, |batch| batch.delete("7"))?,
                    other => panic!("{other:?}"),
                };
                held.send(()).unwrap();
                _ = released.recv();
                Err::<(), _>(voisin::Error::Cancelled)
            });
            assert!(given_up.is_err());
        });
        is_held.recv().unwrap();
        let child = place.command(row.signal.split(' ')).spawn().unwrap();
        interrupt(child);
        release.send(()).unwrap();
        writer.join().unwrap();
        nothing_has_changed(&place, row.signal);
    }
}

#[test]
fn ctrl_c_ends_what_waits_for_the_reader_of_its_output() {
    for row in ROWS {
        let place = place();
        let (reader, mut full) = std::io::pipe().unwrap();
        full.write_all(&[b'x'; PIPE_BYTES]).unwrap();
        let child = place.command(row.signal.split(' ')).stdout(full).spawn().unwrap();
        interrupt(child);
        drop(reader);
        left(&place, row);
    }
}

/// Checks what a command has left that was ended at any moment.
fn left(place: &Place, row: &Row) {
    let items = verified(&place.path("notes"));
    let all = match row.subcommand {
        "load" => 12_000,
        "merge" | "split" => 1000,
        _ => 500,
    };
    assert!([499, 500, all].contains(&items), "{}: {items}", row.signal);
    if !["delete", "erase"].contains(&row.subcommand) {
        assert!(items >= 500, "{}: {items}", row.signal);
    }
    let index = AnyIndex::open_read_only(place.path("notes"), Options::default().name("main"));
    assert!(index.unwrap().vector(7).unwrap().is_some());
    if row.subcommand == "tenants" {
        let tenants = tenants(place);
        assert!(tenants == ["acme", "bolt"] || tenants == ["bolt", "core"], "{tenants:?}");
    }
    let is_new = |name: &String| !fixture().names().contains(name);
    for name in place.names().into_iter().filter(is_new) {
        // Its name says that it can be deleted.
        if name.contains(".unfinished-") {
            continue;
        }
        let path = place.path(&name);
        match row.subcommand {
            "copy" => assert_eq!(verified(&path), 500),
            "import" => assert!([0, 300].contains(&verified(&path))),
            "export" => assert_eq!(std::fs::metadata(&path).unwrap().len(), 128 + 500 * 32),
            "report" => {
                assert!(std::fs::read_to_string(&path).unwrap().ends_with("</body></html>\n"));
            }
            "man" | "bench" => {}
            other => panic!("{other} has left {name}"),
        }
    }
}

/// Runs every subcommand, and ends it by a signal at several moments.
fn at_several_moments(name: &str, is_possible: impl Fn(std::process::ExitStatus) -> bool) {
    for row in ROWS {
        for delay in [0, 4, 12, 30] {
            let place = place();
            let mut command = place.command(row.signal.split(' '));
            let mut child = command.stdout(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(delay));
            signal(&child, name);
            let status = child.wait().unwrap();
            assert!(is_possible(status), "{}: {status:?}", row.signal);
            left(&place, row);
        }
    }
}

#[test]
fn ctrl_c_at_any_moment_loses_nothing() {
    // Before its handler is there, a signal ends it without a code.
    at_several_moments("-INT", |status| match status.code() {
        Some(code) => [0, 130].contains(&code),
        None => status.signal() == Some(2),
    });
}

#[test]
fn a_kill_at_any_moment_loses_nothing() {
    at_several_moments("-KILL", |status| status.success() || status.signal() == Some(9));
}
