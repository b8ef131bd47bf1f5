//! Who must act on an error: the one place where every variant is listed.

use super::Error;

/// Who must act on an error: see [`Error::responsible`].
///
/// A server maps it to a status:
///
/// ```
/// use voisin::{Error, Index, Options, Responsible, distances::Cosine};
///
/// fn status(error: &Error) -> u16 {
///     match (error, error.responsible()) {
///         (Error::MissingName { .. } | Error::Removed { .. }, _) => 404,
///         (Error::NameTaken { .. }, _) => 409,
///         (_, Responsible::Caller) => 400,
///         (Error::DiskFull { .. }, _) => 507,
///         (_, Responsible::Environment) => 503,
///         (_, Responsible::Control) => 499,
///         _ => 500, // Responsible::Data: somebody has to look at the file
///     }
/// }
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// let index = Index::<Cosine>::create(folder.path().join("vectors"), Options::new(2))?;
/// assert_eq!(status(&index.search(1).by_vector(&[0.0, 0.0]).unwrap_err()), 400);
/// let other = Index::<Cosine>::open(index.path(), Options::new(2).name("other"));
/// assert_eq!(status(&other.unwrap_err()), 404);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Responsible {
    /// The caller: a given value, or the order of calls. The same call fails again.
    Caller,
    /// The operator of the program: the disk, the file system, permissions, limits, other
    /// processes. The same call can succeed later.
    Environment,
    /// The owner of the file: the stored data is damaged, or of another program or version. The
    /// same call fails until the file is replaced.
    Data,
    /// Nobody: the request was fulfilled.
    Control,
}

impl Error {
    /// Who must act on this error.
    #[must_use]
    pub fn responsible(&self) -> Responsible {
        // Every variant by its name, so that a new one does not compile before it is classified.
        match self {
            Self::DimensionMismatch { .. }
            | Self::InvalidDimensions { .. }
            | Self::InvalidItem { .. }
            | Self::InvalidKeyedItem { .. }
            | Self::InvalidItemKey { .. }
            | Self::InvalidTenant { .. }
            | Self::TenantExists { .. }
            | Self::NoTenants { .. }
            | Self::InvalidQuery { .. }
            | Self::InvalidRow { .. }
            | Self::UnevenRows { .. }
            | Self::LengthMismatch { .. }
            | Self::InvalidParameter { .. }
            | Self::ItemExists { .. }
            | Self::QueryMetric { .. }
            | Self::InvalidRecord { .. }
            | Self::InvalidField { .. }
            | Self::UnknownField { .. }
            | Self::FieldMismatch { .. }
            | Self::InvalidCondition { .. }
            | Self::InvalidParameters { .. }
            | Self::CodesUnsupported { .. }
            | Self::KindUnsupported { .. }
            | Self::KindMismatch { .. }
            | Self::UnknownMetric { .. }
            | Self::UnknownType { .. }
            | Self::InvalidDatabaseName { .. }
            | Self::OtherFolder { .. }
            | Self::NoTraining { .. }
            | Self::MetricMismatch { .. }
            | Self::ConnectivityMismatch { .. }
            | Self::NotTrained { .. }
            | Self::CoarseRange { .. }
            | Self::InvalidSample { .. }
            | Self::MissingIndex(_)
            | Self::SnapshotMismatch { .. }
            | Self::InvalidSource { .. }
            | Self::IndexFull(_)
            | Self::OptionMismatch { .. }
            | Self::NamingMismatch { .. }
            | Self::PagesExpired { .. }
            | Self::InvalidPageToken { .. }
            | Self::Removed { .. }
            | Self::Renamed { .. }
            | Self::TooManyIndexes { .. }
            | Self::InvalidName { .. }
            | Self::MissingName { .. }
            | Self::NameTaken { .. }
            | Self::ReadOnly { .. }
            | Self::NestedWrite { .. }
            | Self::NestedGrowth { .. }
            | Self::BatchFailed
            | Self::MemoryBudget { .. }
            | Self::Forked { .. } => Responsible::Caller,

            Self::MapFull
            | Self::MapBusy { .. }
            | Self::MapLost { .. }
            | Self::ReadersFull { .. }
            | Self::MissingEnvironment { .. }
            | Self::FileSystem { .. }
            | Self::LinkedFile { .. }
            | Self::AlreadyOpen { .. }
            | Self::ForeignEnvironment { .. }
            | Self::Exists { .. }
            | Self::DiskFull { .. }
            | Self::DiskRoom { .. }
            | Self::Io { .. } => Responsible::Environment,

            // LMDB errors about a file that is damaged or another program's; all others are between
            // LMDB and the system.
            Self::Heed(error) => match error {
                heed::Error::Mdb(
                    heed::MdbError::PageNotFound
                    | heed::MdbError::Corrupted
                    | heed::MdbError::Problem
                    | heed::MdbError::Invalid
                    | heed::MdbError::VersionMismatch,
                ) => Responsible::Data,
                _ => Responsible::Environment,
            },

            Self::Foreign { .. }
            | Self::FormatVersion { .. }
            | Self::UnknownKind { .. }
            | Self::Corrupt { .. }
            | Self::TornEdit { .. }
            | Self::CorruptItemKey { .. }
            | Self::CorruptCatalog { .. }
            | Self::CatalogVersion { .. }
            | Self::CorruptSource { .. }
            | Self::Truncated { .. }
            | Self::DamagedFile { .. } => Responsible::Data,

            Self::Cancelled => Responsible::Control,
        }
    }
}
