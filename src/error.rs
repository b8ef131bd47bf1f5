//! Errors, grouped by who must act: the caller, the environment, the data on disk, or nobody (a
//! cancelled build).
//!
//! Every message names the value, the limit and the remedy. A call that returns an error has
//! changed nothing, unless its documentation says what it left in the transaction. `remedy` has the
//! remedies that depend on a value, `responsible` says for every error who must act.

mod remedy;
mod responsible;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::remedy::{of_lmdb, of_name, of_system};
pub use self::responsible::Responsible;
use crate::defect::Role;
pub(crate) use crate::defect::VectorDefect;
use crate::distance::Metric;
use crate::format::{Key, Kind};
use crate::types::{IndexKind, ItemId};

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed. An error that blames the caller's input has changed nothing.
///
/// ```
/// use voisin::{Error, Index, Options, VectorDefect, distances::Cosine};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// let index = Index::<Cosine>::create(folder.path().join("vectors"), Options::new(2))?;
/// match index.write(|batch| batch.add(7, &[0.0, 0.0])) {
///     Err(Error::InvalidItem { item: 7, defect: VectorDefect::ZeroNorm }) => {}
///     other => panic!("{other:?}"),
/// }
/// let error = index.search(1).by_vector(&[1.0]).unwrap_err();
/// assert!(matches!(error, Error::DimensionMismatch { expected: 2, found: 1 }), "{error}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // The caller must act.
    /// A vector has a different number of components than the index.
    #[error(
        "the vector has {found} dimensions, the index has {expected}: give a vector of \
         {expected} components"
    )]
    DimensionMismatch {
        /// The dimensions of the index.
        expected: usize,
        /// The components of the vector that was given.
        found: usize,
    },
    /// A number of dimensions that no index can have.
    #[error("an index cannot have {found} dimensions: use 1 to {max}")]
    InvalidDimensions {
        /// The requested number.
        found: usize,
        /// The maximum.
        max: usize,
    },
    /// A vector that cannot be stored or compared.
    #[error("item {item}: {}", defect.of(Role::Item))]
    InvalidItem {
        /// The item that the vector is for.
        item: ItemId,
        /// What is wrong with the vector.
        defect: VectorDefect,
    },
    /// As [`InvalidItem`](Self::InvalidItem), where items are named by keys.
    #[error("item {key}: {}", defect.of(Role::Item))]
    InvalidKeyedItem {
        /// The key of the item that the vector is for.
        key: String,
        /// What is wrong with the vector.
        defect: VectorDefect,
    },
    /// A string that cannot be the key of an item.
    #[error(
        "an item cannot have a key of {bytes} bytes: use 1 to {max} bytes of UTF-8, such as a \
         hash of what is longer"
    )]
    InvalidItemKey {
        /// The length of the key in bytes.
        bytes: usize,
        /// The maximum length in bytes.
        max: usize,
    },
    /// A name that no tenant can have.
    #[error(
        "a tenant cannot have a name of {bytes} bytes: use 1 to {max} bytes, fewer where some are \
         NUL, and leave room to the keys of its items"
    )]
    InvalidTenant {
        /// The length of the name in bytes.
        bytes: usize,
        /// The maximum length in bytes.
        max: usize,
    },
    /// A tenant was to get the name of another one.
    #[error(
        "there is a tenant {tenant} already: use another name, drop that one first, or copy the \
         items to it"
    )]
    TenantExists {
        /// The name.
        tenant: String,
    },
    /// The items of the index are not named by strings or bytes, which tenants need.
    #[error(
        "the items of the index {index:?} are named by {stored}, and tenants need string or byte \
         keys: create an index with these, and copy the items to it"
    )]
    NoTenants {
        /// The name of the index.
        index: String,
        /// The stored kind of item names.
        stored: &'static str,
    },
    /// A query that cannot be compared.
    #[error("the query: {}", defect.of(Role::Query))]
    InvalidQuery {
        /// What is wrong with the vector.
        defect: VectorDefect,
    },
    /// One of many queries cannot be compared.
    #[error("row {row} of the queries: {}", defect.of(Role::Query))]
    InvalidRow {
        /// The number of the query, from 0.
        row: usize,
        /// What is wrong with the vector.
        defect: VectorDefect,
    },
    /// A slice of queries, or of a sample, does not hold whole rows.
    #[error(
        "{components} components are no whole number of rows of {dimensions}: row {row} has \
         {rest} only, give {dimensions} for each",
        row = components / (*dimensions).max(1), rest = components % (*dimensions).max(1)
    )]
    UnevenRows {
        /// The components of the slice.
        components: usize,
        /// The dimensions of the index.
        dimensions: usize,
    },
    /// The two slices of a call that adds many items do not match in length.
    #[error("{ids} ids need {} components in one slice, row by row, but {components} were given: \
             give as many rows as ids", ids.saturating_mul(*dimensions))]
    LengthMismatch {
        /// The number of ids.
        ids: usize,
        /// The number of components.
        components: usize,
        /// The dimensions of the index.
        dimensions: usize,
    },
    /// An item that is copied from another index, and whose name the index has already, or another
    /// one that is copied.
    #[error(
        "item {item} is there already, or two items would have that name: copy it under another \
         name, leave it out, or delete the other one first"
    )]
    ItemExists {
        /// The id or the key.
        item: String,
    },
    /// A build parameter out of its range.
    #[error("{name} is {value}: {remedy}")]
    InvalidParameter {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// The allowed range.
        remedy: &'static str,
    },
    /// A record that an item cannot have, as it does not fit the fields of the index.
    #[error("the record of item {item}: {what}: give another record, or drop the field")]
    InvalidRecord {
        /// The item: its id, or its key.
        item: String,
        /// What is wrong with the record, with the field and the value.
        what: String,
    },
    /// A field that an index cannot have.
    #[error("the field {field:?}: {what}")]
    InvalidField {
        /// Its name.
        field: String,
        /// The reason, and what to do.
        what: &'static str,
    },
    /// A condition, or a call, is about a field that the index does not have.
    #[error("the index has no field {field:?}, only {known:?}: use one of these, or add it")]
    UnknownField {
        /// The name.
        field: String,
        /// The fields that there are.
        known: Vec<String>,
    },
    /// A condition is about a field of another type.
    #[error(
        "the field {field:?} is of the type {stored}, and is {requested}: use a value of this \
         type; numbers and timestamps alone have an order, and keywords alone a prefix"
    )]
    FieldMismatch {
        /// The name of the field.
        field: String,
        /// The type of the field.
        stored: &'static str,
        /// How the condition uses it.
        requested: String,
    },
    /// JSON that is not a condition.
    #[error("no condition: {what}: look up its form at Condition::from_json, and change it")]
    InvalidCondition {
        /// The JSON, or a part of it, and what is wrong with it.
        what: String,
    },
    /// Parameters that were given as a string have one that there is not, or that cannot have this
    /// number.
    #[error("the parameter {part:?} cannot be set: {remedy}")]
    InvalidParameters {
        /// The part of the string.
        part: String,
        /// The names, or the numbers, that there are.
        remedy: String,
    },
    /// Quantized codes were requested under a metric that they cannot estimate.
    #[error(
        "an index of the metric {metric:?} cannot have codes, which estimate inner products and \
         what follows from those: use it without, or an index of the metric euclidean, cosine or \
         dot product"
    )]
    CodesUnsupported {
        /// The metric.
        metric: &'static str,
    },
    /// A kind of index was requested under a metric that it cannot search by.
    #[error(
        "an index of the metric {metric:?}, stored as {form}, cannot have the kind {kind}: use \
         {can}"
    )]
    KindUnsupported {
        /// The kind.
        kind: IndexKind,
        /// The metric.
        metric: &'static str,
        /// The element type of its vectors.
        form: &'static str,
        /// What it can be used with.
        can: &'static str,
    },
    /// A query asks for a metric that vectors of this element type are not compared by.
    #[error(
        "vectors that are stored as {form} cannot be searched by the metric {requested:?}: use \
         {can}"
    )]
    QueryMetric {
        /// The metric.
        requested: &'static str,
        /// The element type of the vectors.
        form: &'static str,
        /// The metrics of that element type.
        can: String,
    },
    /// A query asks for a kind that the index does not have, or the kind that every index has was
    /// to be dropped.
    #[error(
        "index {} has the kinds {has}: {kind} cannot be {action}; see Index::add_kind and \
         drop_kind",
        shown(*index, name)
    )]
    KindMismatch {
        /// The number of the index.
        index: u16,
        /// Its name, if it was called by an [`Index`](crate::Index).
        name: Option<String>,
        /// The kind.
        kind: IndexKind,
        /// The kinds that it has.
        has: String,
        /// What was to be done with it.
        action: &'static str,
    },
    /// An index that was opened without a type has a metric unknown to voisin.
    #[error(
        "index {} has the metric {metric:?}, which is not known here: open it with \
         Options::metric, or as an Index of that metric, to add vectors, to link or to search",
        shown(*index, name)
    )]
    UnknownMetric {
        /// The number of the index.
        index: u16,
        /// Its name, if it was called by an [`Index`](crate::Index).
        name: Option<String>,
        /// The name of its metric.
        metric: &'static str,
    },
    /// There is no such metric, or it does not store vectors in this form.
    #[error(
        "there is no metric {metric:?} that stores vectors as {form:?}: use one of {known}, or \
         pass your own to Options::metric"
    )]
    UnknownType {
        /// The requested metric.
        metric: String,
        /// The requested form.
        form: String,
        /// All metrics, with the forms of each.
        known: String,
    },
    /// An index was to be trained whose form of vectors has no range.
    #[error("vectors stored as {form} are not trained, only those stored as i8: leave it out")]
    NoTraining {
        /// The form of its vectors.
        form: &'static str,
    },
    /// The index was created with another metric.
    #[error(
        "index {index} holds vectors for the metric {stored:?}, not {requested:?}: open it as \
         {stored:?}"
    )]
    MetricMismatch {
        /// The number of the index.
        index: u16,
        /// The metric it was created with.
        stored: String,
        /// The metric it was opened with.
        requested: String,
    },
    /// The graph was built with other values of M and M0.
    #[error(
        "index {index} was built with M {stored_m} and M0 {stored_m0}, not {m} and {m0}: use the \
         same, or clear the index first"
    )]
    ConnectivityMismatch {
        /// The index.
        index: u16,
        /// M of the stored graph.
        stored_m: usize,
        /// M0 of the stored graph.
        stored_m0: usize,
        /// The requested M.
        m: usize,
        /// The requested M0.
        m0: usize,
    },
    /// An index that stores `i8` has not been trained.
    #[error(
        "index {} stores components as i8, and is not trained: give Writer::train, or \
         Index::train, a sample of its vectors first",
        shown(*index, name)
    )]
    NotTrained {
        /// The number of the index.
        index: u16,
        /// Its name, if it was called by an [`Index`](crate::Index).
        name: Option<String>,
    },
    /// Training for a range so wide that stored vectors could hardly be told apart.
    #[error(
        "bytes for the range from {lowest:e} to {highest:e} leave {rows} a relative error of \
         {error:.3}, the limit is {limit}: give a sample that is like the vectors to be stored, \
         without outliers, or store them as f16 or f32"
    )]
    CoarseRange {
        /// The rows whose error it is: `"the sample"` or `"the stored vectors"`.
        rows: &'static str,
        /// The smallest component of the range.
        lowest: f32,
        /// The largest component of the range.
        highest: f32,
        /// The relative error: see [`TrainedRange::error`](crate::TrainedRange::error).
        error: f64,
        /// The largest that is accepted.
        limit: f64,
    },
    /// A row of a sample on which an index cannot be trained.
    #[error("row {row} of the sample: {}", defect.of(Role::Sample))]
    InvalidSample {
        /// The number of the row, from 0.
        row: usize,
        /// What is wrong with the vector.
        defect: VectorDefect,
    },
    /// The database has no index of this number.
    #[error(
        "there is no index {0} in this database: give another number, or add an item with a \
         Writer first"
    )]
    MissingIndex(u16),
    /// A reader was used with a transaction on another snapshot.
    #[error(
        "the reader belongs to snapshot {expected}, the transaction to {found}: use the \
         transaction that the reader was opened with, or open a new reader"
    )]
    SnapshotMismatch {
        /// The transaction number of the reader's snapshot.
        expected: usize,
        /// The transaction number of the given transaction.
        found: usize,
    },
    /// An index of hannoy or arroy that cannot be imported, or not by this writer.
    #[error("index {index} of the source: {defect}")]
    InvalidSource {
        /// The number of the index in the source.
        index: u16,
        /// The reason.
        defect: SourceDefect,
    },
    /// The index has as many used and free slots as its format can count.
    #[error("index {0} is full: {max} slots are in use or free, build to free those of removed \
             items", max = u32::MAX)]
    IndexFull(u16),

    /// An [`Index`](crate::Index) was opened with an option whose value differs from the stored
    /// one.
    #[error(
        "the index {index:?} was created with {option} {stored}, not {requested}: open it with \
         {stored}, or leave the option out"
    )]
    OptionMismatch {
        /// The name of the index.
        index: String,
        /// The option.
        option: &'static str,
        /// The stored value.
        stored: String,
        /// The requested value.
        requested: String,
    },
    /// An [`Index`](crate::Index) was opened with another kind of item names.
    #[error(
        "the items of the index {index:?} are named by {stored}, not by {requested}: open it as \
         what it is, {}",
        type_of(stored)
    )]
    NamingMismatch {
        /// The name of the index.
        index: String,
        /// The stored kind of item names.
        stored: &'static str,
        /// The requested kind of item names.
        requested: &'static str,
    },
    /// Pages were to go on in a state of the index that there is no more.
    #[error(
        "the pages are of commit {commit}, and the index has changed since: ask for the first page \
         again, or hold a Snapshot for as long as pages are read"
    )]
    PagesExpired {
        /// The commit that the pages are of.
        commit: u64,
    },
    /// A token is not one of the pages that are asked for.
    #[error(
        "the token {what}: give the token of a page of the same query, as it was returned, or ask \
         for the first page"
    )]
    InvalidPageToken {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The index has been removed from its folder since the handle was opened.
    #[error("the index {name:?} has been removed from {} since this handle on it was opened: \
             drop the handle", path.display())]
    Removed {
        /// The name.
        name: String,
        /// The folder.
        path: PathBuf,
    },
    /// The index has been given another name since the handle was opened.
    #[error(
        "the index that was called {name:?} in {} is called {now:?} since: open {name:?} anew for \
         what took its place, or {now:?} to go on with this one",
        path.display()
    )]
    Renamed {
        /// The name that it had.
        name: String,
        /// The name that it has.
        now: String,
        /// The folder.
        path: PathBuf,
    },
    /// All numbers that the indexes of a folder can have have been assigned.
    #[error(
        "{} has had {max} indexes, those that were removed included, and can have no more: copy \
         what is needed to indexes of another folder",
        path.display()
    )]
    TooManyIndexes {
        /// The folder.
        path: PathBuf,
        /// The maximum number of indexes.
        max: usize,
    },
    /// A name that no [`Index`](crate::Index) can have.
    #[error("an index cannot have a name of {bytes} bytes: use 1 to {max} bytes of UTF-8")]
    InvalidName {
        /// The length of the name in bytes.
        bytes: usize,
        /// The maximum length in bytes.
        max: usize,
    },
    /// A name that no database of the caller's can have.
    #[error(
        "a database cannot be named {name:?}: use 1 to {max} bytes of UTF-8 without NUL that do \
         not begin with \"voisin\""
    )]
    InvalidDatabaseName {
        /// The name.
        name: String,
        /// The maximum length in bytes.
        max: usize,
    },
    /// An index of another folder was used in a transaction or a snapshot.
    #[error(
        "the index is in {}, and this is a transaction of {}: open the index in that folder, or \
         write to each folder in a commit of its own",
        found.display(), expected.display()
    )]
    OtherFolder {
        /// The folder of the transaction.
        expected: PathBuf,
        /// The folder of the index.
        found: PathBuf,
    },
    /// The folder has no index of this name.
    #[error(
        "there is no index {name:?} in {}, which has {}",
        path.display(), of_name(known)
    )]
    MissingName {
        /// The name.
        name: String,
        /// The folder.
        path: PathBuf,
        /// The names of the existing indexes.
        known: Vec<String>,
    },
    /// An index that should be created exists already.
    #[error(
        "there is an index {name:?} in {} already: open it, or choose another name",
        path.display()
    )]
    NameTaken {
        /// The name.
        name: String,
        /// The folder.
        path: PathBuf,
    },
    /// A change to an index that was opened read-only.
    #[error("{} was opened read-only: open it with Index::open to change it", path.display())]
    ReadOnly {
        /// The folder.
        path: PathBuf,
    },
    /// A change to an environment was begun inside another one: by the same thread, or by a closure
    /// on one of the threads that work on that change.
    #[error(
        "this thread is inside a change of an index of {} already, and has one write transaction \
         at a time: make this change when that one \
         has returned, or, if it is for the same index, through the batch of that one",
        path.display()
    )]
    NestedWrite {
        /// The folder.
        path: PathBuf,
    },
    /// A batch was used, or its commit requested, after one of its calls had failed half-way or
    /// panicked.
    #[error(
        "an earlier call on this batch failed, and left a part of its work behind: return its \
         error, so that the batch is rolled back"
    )]
    BatchFailed,
    /// A handle was used in another process than the one that opened it, or one was opened in a
    /// fork of a process that has opened others.
    #[error(
        "the environment was opened in process {opened}, and this is process {here}, a fork of \
         it: open indexes after forking, not before, or start \
         the process anew (exec)"
    )]
    Forked {
        /// The process that opened the environment.
        opened: u32,
        /// This process.
        here: u32,
    },

    /// A memory budget is too small for what it is set for.
    #[error(
        "a memory budget of {bytes} bytes is too small for this, which needs at least {least}: \
         give at least that (Options::memory, Loader::memory), or no budget"
    )]
    MemoryBudget {
        /// The budget.
        bytes: u64,
        /// The least that suffices.
        least: u64,
    },

    // The environment must change.
    /// The memory map has no room left for this transaction.
    #[error(
        "the LMDB map is full: abort the transaction, enlarge the map (Env::resize, or a larger \
         map_size at open), and try again"
    )]
    MapFull,
    /// A folder has less room than a load will need.
    #[error(
        "{} has {available} bytes left, and this needs {needed}: make room there, or choose \
         another folder for temporary files (Options::temp_dir, Loader::temp_dir)",
        path.display()
    )]
    DiskRoom {
        /// The folder.
        path: PathBuf,
        /// The bytes that are needed there.
        needed: u64,
        /// The bytes that are available there.
        available: u64,
    },
    /// The map must grow, and transactions of this process still read through it.
    #[error(
        "the LMDB map of {} must {}, and could not within {waited:?}: {}, wait longer \
         (Options::growth_wait), or begin with a larger map \
         (Options::map_size_bytes)",
        path.display(), growth(*map_bytes), readers_of_map(*snapshots, *oldest, *searches)
    )]
    MapBusy {
        /// The folder.
        path: PathBuf,
        /// The required size of the map; 0 for the size to which another process has grown it.
        map_bytes: u64,
        /// The number of [`Snapshot`](crate::Snapshot)s that this process holds, and of copies,
        /// checks and statistics in progress.
        snapshots: usize,
        /// How long the oldest of them has been held.
        oldest: Duration,
        /// The number of transactions of searches that had not ended; all searches that begin on
        /// one commit share one.
        searches: usize,
        /// How long the call waited.
        waited: Duration,
    },
    /// The map must grow, and the thread that needs it is in the middle of a search, so that it
    /// would wait for itself.
    #[error(
        "the LMDB map of {} must {}, and this thread is in the middle of a search in it: write \
         when the search has ended, not in a closure that \
         it calls, or begin with a larger map (Options::map_size_bytes)",
        path.display(), growth(*map_bytes)
    )]
    NestedGrowth {
        /// The folder.
        path: PathBuf,
        /// The required size of the map; 0 for the size to which another process has grown it.
        map_bytes: u64,
    },
    /// The map could not be grown, and is lost.
    #[error("the LMDB map of {} could not be made {map_bytes} bytes long: close all handles on \
             it, and open it again", path.display())]
    MapLost {
        /// The folder.
        path: PathBuf,
        /// The required size of the map.
        map_bytes: u64,
    },
    /// Every entry of the reader table is in use.
    #[error("all {max} entries of the reader table of {} are in use: close readers, or open it \
             with more (Options::max_readers) when no process has it open", path.display())]
    ReadersFull {
        /// The folder.
        path: PathBuf,
        /// The number of entries of the table.
        max: u32,
    },
    /// A folder that holds no environment.
    #[error("there are no indexes in {}: create one with Index::create", path.display())]
    MissingEnvironment {
        /// The folder.
        path: PathBuf,
    },
    /// A file system on which LMDB loses data.
    #[error(
        "{} is on a file system of type {file_system}, where LMDB's locks and its map are not \
         reliable: use a local one, or force this one \
         (Options::any_file_system) if one machine alone uses it, and you have tested it",
        path.display()
    )]
    FileSystem {
        /// The folder.
        path: PathBuf,
        /// The type of the file system.
        file_system: &'static str,
    },
    /// The data file can be reached by several paths, each with a lock file of its own.
    #[error("{} is {how}: programs that open it by another path do not see its locks; remove the \
             other name, or copy the file", path.display())]
    LinkedFile {
        /// The data file.
        path: PathBuf,
        /// The kind of the other name.
        how: &'static str,
    },
    /// An environment that this process already has open, in another way.
    #[error(
        "{} is open in this process already, {how}: close it first, or use it as it is",
        path.display()
    )]
    AlreadyOpen {
        /// The folder.
        path: PathBuf,
        /// How it was opened.
        how: &'static str,
    },
    /// An environment in which another program keeps data.
    #[error("{} holds tables of another program: choose a folder of its own, or use Writer and \
             Reader inside that environment", path.display())]
    ForeignEnvironment {
        /// The folder.
        path: PathBuf,
    },
    /// A copy would overwrite a database.
    #[error("{} is there already: copy to another path, or remove it first", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full, or a quota is used up. Nothing has changed, and earlier commits are
    /// intact.
    #[error(
        "the disk of {} is full, or a quota is used up ({source}): nothing has changed; free \
         some room or raise the quota, and try again",
        path.display()
    )]
    DiskFull {
        /// The folder or the file that was to be written.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The system refused to open, read or write a file: it is missing, belongs to another user, is
    /// on a read-only file system, is too large, or the disk has failed. Earlier commits are
    /// intact.
    #[error("could not {doing} {} ({source}): {}", path.display(), of_system(source))]
    Io {
        /// The file, or its folder.
        path: PathBuf,
        /// The action that failed.
        doing: &'static str,
        /// The error of the system.
        source: io::Error,
    },
    /// LMDB returned an error.
    #[error("LMDB: {0}: {remedy}", remedy = of_lmdb(.0))]
    Heed(#[source] heed::Error),

    // The data on disk must be repaired or replaced.
    /// The keys of this index were written by another program.
    #[error(
        "index {index} of this database was not written by voisin ({what}): use another database \
         or another index number; Import reads those of hannoy and arroy"
    )]
    Foreign {
        /// The index.
        index: u16,
        /// What was found.
        what: &'static str,
    },
    /// The index was written in another format version.
    #[error(
        "index {index} has format version {found}, this version of voisin reads {supported}: {}",
        version_remedy(*found, *supported)
    )]
    FormatVersion {
        /// The index.
        index: u16,
        /// The version found.
        found: u16,
        /// The version that this library writes, and the newest that it reads.
        supported: u16,
    },
    /// The index has values of a kind that this version of voisin does not know: a newer one has
    /// written it.
    #[error(
        "index {index} has values of {kind}, which this version of voisin does not know: upgrade \
         voisin"
    )]
    UnknownKind {
        /// The index.
        index: u16,
        /// The kind.
        kind: Kind,
    },
    /// A data file is shorter than its last commit: most often a copy that was interrupted, or made
    /// on a full disk. It is refused before it is mapped, because reading beyond its end would kill
    /// the process.
    #[error(
        "{} has {bytes} bytes, and its last commit needs {expected}: a copy of it was \
         interrupted, or it was cut off; copy it again, or \
         restore a backup",
        path.display()
    )]
    Truncated {
        /// The data file.
        path: PathBuf,
        /// Its length in bytes.
        bytes: u64,
        /// The length in bytes that it should have.
        expected: u64,
    },
    /// LMDB's own pages of a file are inconsistent: see [`verify_file`](crate::verify_file).
    #[error("the pages of {} are damaged: {what}; run verify_file to see all damage, and restore \
             a backup", path.display())]
    DamagedFile {
        /// The data file.
        path: PathBuf,
        /// The first damage found.
        what: String,
    },
    /// A value on disk violates the format.
    #[error("{key} is corrupt: {what}; run check to see all damage: {}", corrupt_remedy(*key))]
    Corrupt {
        /// The key of the value.
        key: Key,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A torn edit: an edit of the index stopped half-way, by an error or by a panic that was
    /// caught. The index cannot be read: drop the transaction. If it was committed,
    /// [`Writer::repair`](crate::Writer::repair) or [`Index::repair`](crate::Index::repair)
    /// restores the items and vectors from before the edit.
    #[error(
        "an edit of index {index} stopped half-way, by an error or a panic: drop the \
         transaction; if \
         it was committed, Writer::repair or Index::repair restores the items from before that edit"
    )]
    TornEdit {
        /// The index.
        index: u16,
    },
    /// A value stored under the key of an item violates the format.
    #[error(
        "what index {index} stores under the item key {key} is corrupt: {what}; run check to see \
         all damage, or restore a backup"
    )]
    CorruptItemKey {
        /// The number of the index.
        index: u16,
        /// The key.
        key: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The catalog entry of an index violates the format.
    #[error("what the catalog says about the index {name:?} is corrupt: {what}; restore a backup")]
    CorruptCatalog {
        /// The name of the index.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
    /// An index was created by a newer version of voisin.
    #[error(
        "the catalog entry of the index {name:?} has version {found}, this version of voisin \
         reads {supported}: upgrade voisin"
    )]
    CatalogVersion {
        /// The name of the index.
        name: String,
        /// The version found.
        found: u16,
        /// The version that this library reads and writes.
        supported: u16,
    },
    /// A value of an imported index is not one that hannoy or arroy write.
    #[error("{}: {what}; restore the source from a backup, or have the program that wrote it \
             write it anew", source_value(*index, *item))]
    CorruptSource {
        /// The number of the index in the source.
        index: u16,
        /// The item of the value; `None` for the metadata of the index.
        item: Option<ItemId>,
        /// What is wrong with it.
        what: &'static str,
    },

    // Control: nobody must act.
    /// A build was cancelled. Nothing was written.
    #[error(
        "the build was cancelled, and nothing of it was written: run it again when it is wanted"
    )]
    Cancelled,
}

impl Error {
    pub(crate) fn corrupt(key: Key, what: &'static str) -> Self {
        Self::Corrupt { key, what }
    }

    /// An error of the system, where it occurs: during `doing` on `path`. A full disk has a variant
    /// of its own.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> Self + Copy {
        move |source| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Self::DiskFull { path, source }
                }
                _ => Self::Io { path, doing, source },
            }
        }
    }

    /// Checks that vectors of an index of this metric can be compared.
    ///
    /// # Errors
    /// [`UnknownMetric`](Self::UnknownMetric).
    pub(crate) fn unless_known(metric: &Metric, index: u16) -> Result<()> {
        if metric.is_known {
            Ok(())
        } else {
            Err(Self::UnknownMetric { index, name: None, metric: metric.name() })
        }
    }

    /// Adds the name of the index to an error that knows only its number.
    pub(crate) fn in_index(mut self, known: &str) -> Self {
        if let Self::KindMismatch { name, .. }
        | Self::UnknownMetric { name, .. }
        | Self::NotTrained { name, .. } = &mut self
        {
            name.get_or_insert_with(|| known.to_owned());
        }
        self
    }

    /// An index was opened with another kind of item names, by its number.
    pub(crate) fn naming_mismatch(
        index: u16,
        stored: &'static str,
        requested: &'static str,
    ) -> Self {
        Self::NamingMismatch { index: index.to_string(), stored, requested }
    }

    /// Adds the action and the path to an error of the system that LMDB has passed on.
    pub(crate) fn while_doing(self, doing: &'static str, path: &Path) -> Self {
        match self {
            Self::Heed(heed::Error::Io(source)) => Self::io(doing, path)(source),
            error => error,
        }
    }
}

/// An index by its name, if that is known, or by its number.
fn shown(index: u16, name: &Option<String>) -> String {
    name.as_ref().map_or_else(|| index.to_string(), |name| format!("{name:?}"))
}

/// The type of an index with this kind of item names.
fn type_of(naming: &str) -> &'static str {
    match naming {
        "u64 keys" => "Index<_, u64>",
        "string keys" => "Index<_, str>",
        "byte keys" => "Index<_, [u8]>",
        "UUID keys" => "Index<_, [u8; 16]>",
        _ => "Index<_>",
    }
}

/// The required growth of the map, in words.
fn growth(map_bytes: u64) -> String {
    match map_bytes {
        0 => "become as large as another process has made it".to_owned(),
        bytes => format!("grow to {bytes} bytes"),
    }
}

/// The readers that block the move of the map, and what to do about them.
fn readers_of_map(snapshots: usize, oldest: Duration, searches: usize) -> String {
    let slow = format!("searches on {searches} commits had not ended");
    let held = format!("this process holds {snapshots} snapshots, the oldest for {oldest:?}");
    match (snapshots, searches) {
        (0, _) => format!("{slow}; try again"),
        (_, 0) => format!("{held}; drop them and try again"),
        _ => format!("{held}, and {slow}; drop the snapshots and try again"),
    }
}

/// How to regenerate a damaged value, if it follows from others.
fn corrupt_remedy(key: Key) -> String {
    let kind = key.kind;
    if kind.is_of_index_kind() {
        return format!(
            "if it is all in {kind}, drop_kind and add_kind make these anew from the vectors; if \
             not, restore a backup"
        );
    }
    let remedy = match kind {
        Kind::LINKS | Kind::SPILL | Kind::IN => {
            "if it is all in LINKS, SPILL and IN, force_rebuild makes these anew from the \
             vectors; if not, restore a backup"
        }
        Kind::CODES => {
            "if it is all in CODES, choose no codes and then these again (set_codes); if not, \
             restore a backup"
        }
        Kind::ID_SLOTS => {
            "if it is all in ID_SLOTS, optimize makes these anew from SLOT_IDS; if not, restore a \
             backup"
        }
        Kind::FIELDS => {
            "if it is all in FIELDS, drop_field and add_field of each field make these anew from \
             the records; if not, restore a backup"
        }
        Kind::DELTA => {
            "if it is all in DELTA, nothing is lost, and the next 64 commits replace it; if not, \
             restore a backup"
        }
        _ => "restore a backup, or add the items to a new index from where they came",
    };
    remedy.to_owned()
}

fn version_remedy(found: u16, supported: u16) -> &'static str {
    if found > supported {
        "upgrade voisin"
    } else {
        "add its items to a new index, from where they came or with the version of voisin that \
         wrote them"
    }
}

/// Names a value of an imported index.
fn source_value(index: u16, item: Option<ItemId>) -> String {
    match item {
        Some(item) => format!("item {item} of index {index} of the source"),
        None => format!("index {index} of the source"),
    }
}

impl From<heed::Error> for Error {
    fn from(error: heed::Error) -> Self {
        match error {
            heed::Error::Mdb(heed::MdbError::MapFull) => Self::MapFull,
            other => Self::Heed(other),
        }
    }
}

/// Why an index of hannoy or arroy cannot be imported: see [`Import`](crate::Import).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceDefect {
    /// The database has no key under this number.
    Missing,
    /// It has items but no metadata, which a build writes, so that metric and dimensions are
    /// unknown.
    NotBuilt,
    /// There are keys, and they are none of hannoy's or arroy's.
    Unknown,
    /// It is a voisin index.
    Ours,
    /// It was written by a version that may write other bytes.
    Version {
        /// The program that wrote it.
        program: &'static str,
        /// Its version: major, minor, patch.
        found: [u32; 3],
        /// The newest version whose bytes are known: major, minor.
        newest: [u32; 2],
    },
    /// Its vectors were quantized when they were added, and are lost.
    Quantized {
        /// The name of its metric.
        metric: String,
    },
    /// It has a metric that voisin does not have.
    UnknownMetric {
        /// The name of its metric.
        metric: String,
    },
    /// Its metric differs from the writer's.
    MetricMismatch {
        /// The metric of the source, by voisin's name.
        stored: &'static str,
        /// The metric of the writer.
        requested: String,
    },
    /// Its dimensions differ from the writer's.
    DimensionMismatch {
        /// The dimensions of the source.
        stored: usize,
        /// The dimensions of the writer.
        requested: usize,
    },
}

impl fmt::Display for SourceDefect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(
                f,
                "there is none: use the number and the database that hannoy or arroy were given"
            ),
            Self::NotBuilt => {
                write!(
                    f,
                    "it is not built, so its metric and dimensions are not known: have the \
                     program that wrote it build it"
                )
            }
            Self::Unknown => write!(
                f,
                "its keys are not those of hannoy, or of arroy from version 0.5 on: let arroy \
                 upgrade an older one"
            ),
            Self::Ours => {
                write!(f, "voisin wrote it: open a Reader, and add the items that it iterates over")
            }
            Self::Version {
                program,
                found: [major, minor, patch],
                newest: [known_major, known_minor],
            } => write!(
                f,
                "{program} {major}.{minor}.{patch} wrote it, and is known up to \
                 {known_major}.{known_minor}: upgrade voisin, or add its vectors one by one"
            ),
            Self::Quantized { metric } => {
                write!(
                    f,
                    "its metric {metric:?} has kept one bit of each component: add the vectors \
                     from where they came from"
                )
            }
            Self::UnknownMetric { metric } => {
                write!(
                    f,
                    "its metric {metric:?} is not one of voisin's: add its vectors one by one, \
                     under a metric of your own"
                )
            }
            Self::MetricMismatch { stored, requested } => {
                write!(
                    f,
                    "it has the metric {stored:?}, not {requested:?}: use a writer for {stored:?}"
                )
            }
            Self::DimensionMismatch { stored, requested } => {
                write!(
                    f,
                    "it has {stored} dimensions, not {requested}: use a writer for {stored} \
                     dimensions"
                )
            }
        }
    }
}
