//! The remedies of errors of the system, of LMDB and of names: the ends of messages that depend on
//! a value.
//!
//! Invariant: each of them says what the reader can do. Error numbers are those of Unix; elsewhere
//! only the kinds of errors are known.

use std::io;

// The same on Linux, macOS and the BSDs.
const EIO: i32 = 5;
const ENOMEM: i32 = 12;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

/// The remedy of an error of the system.
pub(super) fn of_system(source: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    match (source.kind(), number(source)) {
        (Kind::ReadOnlyFilesystem, _) => {
            "the file system is read-only: mount it for writing, or search the index with \
             Index::open_read_only"
        }
        (Kind::FileTooLarge, _) => {
            "the file system, or a limit of this process, allows no larger file: raise the limit \
             (ulimit -f), or use another file system"
        }
        (Kind::PermissionDenied, _) => {
            "the user that this process runs as lacks the right to: run it as the owner of the \
             files, or change their owner or mode"
        }
        (Kind::NotFound, _) => "it does not exist: create it, or give another path",
        (Kind::NotADirectory, _) => "a part of the path is a file: give another path",
        (Kind::AlreadyExists, _) => "it is there already: remove it, or give another path",
        (Kind::WouldBlock, _) => {
            "the system lacks threads or locks for now: try again, or raise the limits of \
             processes (ulimit -u, the pids limit of a container)"
        }
        (Kind::OutOfMemory, _) | (_, Some(ENOMEM)) => {
            "there is too little memory or address space: free some, raise the limit (ulimit \
             -v), or use a smaller map \
             (Options::map_size_bytes)"
        }
        (Kind::UnexpectedEof, _) => {
            "the file is shorter than what was written: look for what has truncated it, and try \
             again"
        }
        (Kind::Unsupported, _) => "this system cannot do it: do it on another",
        (_, Some(EMFILE | ENFILE)) => {
            "too many files are open: close some, or raise the limit (ulimit -n)"
        }
        (_, Some(EIO)) => {
            "the device has failed, or has written a part only: look at the log of the system, \
             run check, and restore a backup of what \
             is damaged"
        }
        _ => "look up the error in the manual of the system, remove its cause, and try again",
    }
}

/// What a folder has that lacks an index of some name, and the remedy.
pub(super) fn of_name(known: &[String]) -> String {
    match known {
        [] => "none: check the path, or create it first".to_owned(),
        known => format!("{known:?}: name one of these (Options::name), or create it first"),
    }
}

/// The number of an error; errors that carry a path have it in their text only.
fn number(source: &io::Error) -> Option<i32> {
    source.raw_os_error().or_else(|| {
        let text = source.to_string();
        let (_, rest) = text.split_once("(os error ")?;
        rest.split_once(')')?.0.parse().ok()
    })
}

/// The remedy of an error of LMDB.
pub(super) fn of_lmdb(error: &heed::Error) -> &'static str {
    use heed::MdbError as Mdb;
    match error {
        heed::Error::Io(source) => of_system(source),
        heed::Error::Mdb(Mdb::PageNotFound | Mdb::Corrupted | Mdb::Problem) => {
            "the file is damaged: abort the transaction, run verify_file, and restore a backup"
        }
        heed::Error::Mdb(Mdb::Invalid) => {
            "the file is not LMDB's, or is damaged: give another path, or restore a backup"
        }
        heed::Error::Mdb(Mdb::VersionMismatch) => {
            "another version of LMDB has written the file, or has it open: use the version of \
             LMDB that the others use"
        }
        heed::Error::Mdb(Mdb::Panic) => {
            "an earlier commit could not be written: close the environment, and open it again"
        }
        heed::Error::Mdb(Mdb::MapResized) => {
            "another process has grown the map: end all transactions, and call Env::resize(0)"
        }
        heed::Error::Mdb(Mdb::DbsFull) => {
            "open the environment with more databases (Options::max_databases, or heed's max_dbs)"
        }
        heed::Error::Mdb(Mdb::ReadersFull) => {
            "close readers, or open the environment with more (max_readers)"
        }
        heed::Error::Mdb(Mdb::TxnFull) => "abort the transaction, and commit less at a time",
        heed::Error::Mdb(Mdb::BadTxn) => {
            "an earlier call in the transaction has failed: abort it, and begin another"
        }
        heed::Error::Mdb(Mdb::BadRslot) => {
            "this thread has a read transaction already: end it first, or open the environment \
             with read_txn_without_tls"
        }
        heed::Error::Mdb(Mdb::Incompatible | Mdb::BadDbi) => {
            "the database was opened or created in another way: open it as it was created, after \
             those who change it have committed"
        }
        heed::Error::EnvAlreadyOpened => "use the environment that is open, or close it first",
        _ => "abort the transaction, and look up the error in the manual of LMDB",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_the_system_that_files_meet_has_a_remedy_of_its_own() {
        let other = of_system(&io::Error::other("x"));
        let mut remedies = Vec::new();
        // EROFS, EFBIG, EACCES, ENOENT, EMFILE, ENOMEM, EIO, EAGAIN.
        for number in [30, 27, 13, 2, 24, 12, 5, 11] {
            let source = io::Error::from_raw_os_error(number);
            // As by a library that adds a path.
            let wrapped = io::Error::new(source.kind(), format!("{source} at path \"/x\""));
            assert_eq!(of_system(&source), of_system(&wrapped), "{number}");
            remedies.push(of_system(&source));
        }
        assert!(!remedies.contains(&other), "{remedies:#?}");
        remedies.sort_unstable();
        remedies.dedup();
        assert_eq!(remedies.len(), 8);
    }
}
