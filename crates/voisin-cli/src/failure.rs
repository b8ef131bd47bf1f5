//! Why a command failed: one line for a person, and an exit code for a script.
//!
//! The engine's errors say what to call; here they say which option or subcommand of the command to
//! use. `docs/command.md` lists the codes.

use std::fmt;
use std::io;
use std::path::Path;

use voisin::{Error, Responsible};

/// An exit code of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Success = 0,
    /// The answer is no: a check has found damage, or an item is missing.
    No = 1,
    /// The command line or the given data must be changed.
    Usage = 2,
    /// The surroundings must change: a path, a permission, the disk, other processes.
    Environment = 3,
    /// The stored data is damaged, or of another program or version.
    Data = 4,
    /// Interrupted by Ctrl-C, SIGTERM or SIGHUP.
    Interrupted = 130,
}

impl Exit {
    /// The word for it in the output of `--json`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::No => "no",
            Self::Usage => "usage",
            Self::Environment => "environment",
            Self::Data => "data",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The end of a command that did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// To be reported.
    Told {
        /// The code.
        exit: Exit,
        /// What happened, with the value, the limit and the remedy.
        message: String,
    },
    /// The reader of the standard output has closed it, and wants no more: not an error.
    ClosedPipe,
}

/// The result of every fallible function of the command.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A mistake in the command line or in the given data.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Told { exit: Exit::Usage, message: message.into() }
    }

    /// Something that is not there.
    pub(crate) fn no(message: impl Into<String>) -> Self {
        Self::Told { exit: Exit::No, message: message.into() }
    }

    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self::Told { exit: Exit::Environment, message: message.into() }
    }

    pub(crate) fn interrupted(message: impl Into<String>) -> Self {
        Self::Told { exit: Exit::Interrupted, message: message.into() }
    }

    /// An error of the system about a file.
    pub(crate) fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "check the path",
            io::ErrorKind::PermissionDenied => {
                "run it as the owner of the file, or change its owner or mode"
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "free some room there, or choose another place"
            }
            io::ErrorKind::FileTooLarge => "raise the limit (ulimit -f), or choose another place",
            io::ErrorKind::IsADirectory => "give a file",
            io::ErrorKind::NotADirectory => "a part of the path is a file: check the path",
            io::ErrorKind::ReadOnlyFilesystem => "mount it for writing, or choose another place",
            _ => "check the path and the disk",
        };
        Self::environment(format!("could not {doing} {} ({error}): {remedy}", path.display()))
    }

    /// An error of writing to the standard output.
    pub(crate) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::io("write to", Path::new("the standard output"), error),
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Told { exit, .. } => *exit,
            Self::ClosedPipe => Exit::Success,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // One line, whatever a message or a path contains.
            Self::Told { message, .. } => f.write_str(&message.replace(['\n', '\r'], " ")),
            Self::ClosedPipe => Ok(()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error.responsible() {
            Responsible::Caller => Exit::Usage,
            Responsible::Environment => Exit::Environment,
            Responsible::Control => Exit::Interrupted,
            // Whatever is not known to be otherwise needs a look at the file.
            _ => Exit::Data,
        };
        Self::Told { exit, message: message_of(&error) }
    }
}

/// The message of an error of the engine, with a remedy in terms of the command.
fn message_of(error: &Error) -> String {
    match error {
        Error::NamingMismatch { index, stored, requested } => format!(
            "the items of the index {index:?} are named by {stored}, not by {requested}: give \
             {stored}"
        ),
        Error::MetricMismatch { stored, requested, .. } => format!(
            "the index has the metric {stored:?}, not {requested:?}: leave --metric and --form \
             out, or create another index"
        ),
        Error::NotTrained { .. } => "the index stores components as i8, and is not trained: the \
             first load trains it on the vectors that it loads"
            .to_owned(),
        Error::UnknownMetric { metric, .. } => format!(
            "the index has the metric {metric:?}, which is not one of voisin's own: use the \
             program that defines it to add, to link or to search"
        ),
        Error::NameTaken { name, path } => format!(
            "there is an index {name:?} in {} already: use it, or choose another name (--index)",
            path.display()
        ),
        Error::MissingName { name, path, known } if known.is_empty() => format!(
            "there is no index {name:?} in {}, which has none: check the path, or create it with \
             voisin create",
            path.display()
        ),
        Error::MissingName { name, path, known } => format!(
            "there is no index {name:?} in {}, which has {known:?}: give the name of one of those \
             (--index), or create it first",
            path.display()
        ),
        Error::MissingEnvironment { path } => format!(
            "there are no indexes in {}: check the path, or create one with voisin create",
            path.display()
        ),
        Error::ForeignEnvironment { path } => format!(
            "{} holds tables of another program: choose a folder of its own; voisin inspect tells \
             what it holds, and voisin import takes over an index of hannoy or arroy",
            path.display()
        ),
        Error::OptionMismatch { index, option, stored, requested } => format!(
            "the index {index:?} was created with {option} {stored}, not {requested}: leave the \
             option out, or create another index"
        ),
        Error::TornEdit { .. } => "a change of the index by a Writer stopped half-way and was \
             committed: voisin repair restores the items from before it"
            .to_owned(),
        Error::Cancelled => "interrupted: nothing of this has changed".to_owned(),
        other => in_our_words(&other.to_string()),
    }
}

/// Names of the engine's interface, and what does the same here.
const WORDS: &[(&str, &str)] = &[
    (", or pass your own to Options::metric", ""),
    (" (Options::memory, Loader::memory)", " (--memory)"),
    (" (Options::temp_dir, Loader::temp_dir)", " (--temp-dir)"),
    (" (Options::any_file_system)", " (--any-file-system)"),
    (
        ", wait longer (Options::growth_wait), or begin with a larger map \
         (Options::map_size_bytes)",
        ", or begin with a larger map (--map-size)",
    ),
    (" (Options::map_size_bytes)", " (--map-size)"),
    (" (Env::resize, or a larger map_size at open)", " (--map-size)"),
    (" with more (Options::max_readers)", " from a program that sets more"),
    ("run verify_file to see all damage", "voisin check lists all damage"),
    ("run check to see all damage", "voisin check --deep lists all damage"),
    (
        "force_rebuild makes these anew from the vectors",
        "voisin repair --rebuild-graph makes these anew from the vectors",
    ),
    (
        "choose no codes and then these again (set_codes)",
        "choose no codes and then these again (voisin optimize --codes)",
    ),
    ("optimize makes these anew", "voisin optimize makes these anew"),
    (
        "drop_kind and add_kind make these anew",
        "voisin alter --drop-kind KIND --add-kind KIND makes these anew",
    ),
    (
        "drop_field and add_field of each field make these anew",
        "voisin alter --drop-field NAME --add-field NAME:TYPE of each field makes these anew",
    ),
    ("optimize the index", "optimize the index (voisin optimize)"),
    ("Import reads those of hannoy and arroy", "voisin import reads those of hannoy and arroy"),
    (
        "use the number and the database that hannoy or arroy were given",
        "give the number and the database that hannoy or arroy were given (--number, --database)",
    ),
    (
        "open a Reader, and add the items that it iterates over",
        "voisin copy copies it, voisin export writes its items to a file",
    ),
    (
        "add its vectors one by one, under a metric of your own",
        "write them to a file with the program that defines it, and voisin load them under another \
         metric",
    ),
    (
        "look up its form at Condition::from_json, and change it",
        "give such as {\"field\": \"tag\", \"eq\": \"news\"}; docs/command.md has all forms",
    ),
    ("; see Index::add_kind and drop_kind", "; voisin alter adds and drops kinds"),
    ("use one of these, or add it", "use one of these, or add it (voisin alter --add-field)"),
    (
        "give another record, or drop the field",
        "give another record, or drop the field (voisin alter --drop-field)",
    ),
    ("set codes of", "set codes (voisin optimize --codes) of"),
    ("copy it under another name", "copy it under another name (--offset, --add-prefix)"),
    (
        "create an index with these, and copy the items to it",
        "create an index with --names texts, and load the items into it",
    ),
    (
        "use another name, drop that one first, or copy the items to it",
        "use another name, or drop that one first (voisin tenants --drop)",
    ),
];

/// A message of the engine with the names of the command in the place of those of the interface.
pub(crate) fn in_our_words(message: &str) -> String {
    WORDS.iter().fold(message.to_owned(), |message, (theirs, ours)| message.replace(theirs, ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_name_options_of_the_command_and_no_function() {
        let path = || std::path::PathBuf::from("folder");
        let errors = [
            Error::MemoryBudget { bytes: 1, least: 2 },
            Error::DiskRoom { path: path(), needed: 2, available: 1 },
            Error::FileSystem { path: path(), file_system: "nfs" },
            Error::MissingEnvironment { path: path() },
            Error::MapFull,
            Error::ReadersFull { path: path(), max: 3 },
            Error::NamingMismatch { index: "a".into(), stored: "u64 keys", requested: "u32 ids" },
            Error::NotTrained { index: 1, name: None },
            Error::InvalidCondition { what: "{}: it names no field".to_owned() },
            Error::KindMismatch {
                index: 1,
                name: None,
                kind: voisin::IndexKind::Hnsw,
                has: "flat".to_owned(),
                action: "searched",
            },
            Error::TornEdit { index: 1 },
            Error::NoTenants { index: "a".into(), stored: "u32 ids" },
            Error::TenantExists { tenant: "a".into() },
            Error::InvalidTenant { bytes: 0, max: 476 },
            Error::DamagedFile { path: path(), what: "a page".to_owned() },
            Error::UnknownMetric { index: 1, name: None, metric: "mine" },
            Error::ForeignEnvironment { path: path() },
            Error::UnknownType {
                metric: "l3".to_owned(),
                form: "f32".to_owned(),
                known: "others".to_owned(),
            },
            Error::MapBusy {
                path: path(),
                map_bytes: 1,
                snapshots: 0,
                oldest: std::time::Duration::ZERO,
                searches: 1,
                waited: std::time::Duration::ZERO,
            },
        ];
        for error in errors {
            let message = Failure::from(error).to_string();
            assert!(!message.contains("::") && !message.contains("verify_file"), "{message}");
        }
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(Failure::usage("a\nb\r\nc").to_string(), "a b  c");
    }
}
