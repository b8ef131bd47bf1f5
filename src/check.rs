//! Verification of all invariants of an index, which `docs/format.md` section 9 lists, on a live
//! snapshot. Each section verifies its own.
//!
//! Returns findings and never panics, whatever the bytes are. Reads every value of the index twice
//! and the graph a few times: O(items * (dimensions + M0 * M0)), about 12 bytes of memory per item.
//! Content hidden by a damaged value is not checked; everything that does not depend on it still
//! is.

#[cfg(test)]
#[path = "../tests/unit/damage.rs"]
mod damage;
#[cfg(test)]
#[path = "../tests/unit/interrupted.rs"]
mod interrupted;

use heed::RoTxn;

use crate::database::Database;
use crate::distance::Distance;
use crate::error::{Error, Result};
use crate::format::delta::{DATABASE, Deltas, REMEMBERED_COMMITS};
use crate::format::{Key, Kind, checksum};
use crate::store::Place;
use crate::store::checker::{Checker, Findings};
pub use crate::store::checker::{Finding, Invariant};
use crate::store::open::MISCOUNTED;
use crate::store::sections::fields::check as fields;
use crate::store::sections::item_keys::check::checksum_of;
use crate::store::sections::list::{SECTIONS, is_known, section_of};
use crate::store::snapshot::Snapshot;
use crate::store::source::Calling;
use crate::store::table::Memory;
use crate::store::view::View;

/// Verifies every invariant of index `index`, on the snapshot of `rtxn`. An empty list means that
/// all hold.
///
/// Values are read through LMDB, whose own pages cannot be verified from a transaction: damage
/// there can end the process. Where that is a concern, call [`verify_file`](crate::verify_file)
/// before the environment is opened. [`Index::check`](crate::Index::check) does both.
///
/// The graph, the maps and the sets are derived from the vectors and the item ids: if those are
/// sound, adding all items to a new index repairs everything else.
///
/// # Errors
/// [`MissingIndex`](Error::MissingIndex), [`Foreign`](Error::Foreign),
/// [`FormatVersion`](Error::FormatVersion), [`MetricMismatch`](Error::MetricMismatch), and what
/// LMDB reports. Damage is not an error but a finding.
///
/// ```
/// use voisin::heed::EnvOpenOptions;
/// use voisin::{Database, Finding, Writer, create_database, distances::Euclidean};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).open(folder.path())? };
/// # let db: Database<Euclidean> = create_database(&env, None)?;
/// # let mut wtxn = env.write_txn()?;
/// # Writer::new(db, 0, 1).add_item(&mut wtxn, 7, &[0.5])?;
/// # wtxn.commit()?;
/// let rtxn = env.read_txn()?;
/// let findings: Vec<Finding> = voisin::check(&rtxn, 0, db)?;
/// for finding in &findings {
///     eprintln!("{finding}"); // the name of the invariant, the value, what is wrong with it
/// }
/// assert!(findings.is_empty());
/// # Ok(())
/// # }
/// ```
pub fn check<D: Distance>(
    rtxn: &RoTxn<'_>,
    index: u16,
    database: Database<'_, D>,
) -> Result<Vec<Finding>> {
    check_place(rtxn, Place::of(database, index))
}

/// As [`check`], for a metric that is a value instead of a type.
pub(crate) fn check_place(rtxn: &RoTxn<'_>, mut place: Place<'_>) -> Result<Vec<Finding>> {
    let mut findings = Findings::default();
    let snapshot = match Snapshot::open(place, rtxn, Memory::Full) {
        Ok(snapshot) => snapshot,
        Err(Error::Corrupt { key, what }) => {
            let invariant = match what {
                _ if key.kind == Kind::META => Invariant::Meta,
                MISCOUNTED => Invariant::Counts,
                _ => Invariant::Layout,
            };
            findings.add(invariant, format!("{key}: {what}"));
            checksums(place, rtxn, &mut findings)?;
            return Ok(findings.list);
        }
        // The other invariants do not hold in the middle of an edit.
        Err(error @ Error::TornEdit { .. }) => {
            findings.add(Invariant::Meta, error.to_string());
            checksums(place, rtxn, &mut findings)?;
            return Ok(findings.list);
        }
        Err(error) => return Err(error),
    };
    if !snapshot.meta.is_without_parts() {
        place.naming = snapshot.meta.naming;
    }
    checksums(place, rtxn, &mut findings)?;
    let view = View::new(&snapshot, Calling::new(place, rtxn, snapshot.id)?);
    let mut checker = Checker { place, rtxn, view, findings, sets: Default::default() };
    checker.check_sets()?;
    values(&mut checker)?;
    deltas(&mut checker)?;
    SECTIONS.iter().try_for_each(|section| section.check(&mut checker))?;
    Ok(checker.findings.list)
}

/// Checks that every key is known, and that every value ends in its checksum.
fn checksums(place: Place<'_>, rtxn: &RoTxn<'_>, findings: &mut Findings) -> Result<()> {
    for entry in place.all(rtxn)? {
        let (key, value) = entry?;
        match Key::from_bytes(key).filter(|key| is_known(key.kind)) {
            _ if Kind::of(key) == Some(Kind::KEYS) => {
                checksum_of(key, value, place.naming, findings)
            }
            _ if Kind::of(key) == Some(Kind::FIELDS) => {
                fields::checksum_of(key, value, findings);
            }
            None => findings.add(Invariant::Keys, format!("the key {key:02x?} is of no used kind")),
            Some(key) if !checksum::holds(key, value) => findings
                .add(Invariant::Checksum, format!("{key}: its bytes do not have its checksum")),
            Some(_) => {}
        }
    }
    Ok(())
}

/// Checks `keys` and `layout`: every value belongs to something, and has the layout of its kind.
fn values(checker: &mut Checker<'_, '_, '_>) -> Result<()> {
    let has_own_deltas = checker.view.snapshot.meta.is_without_parts();
    for entry in checker.place.all(checker.rtxn)? {
        let (bytes, value) = entry?;
        let Some(key) = Key::from_bytes(bytes).filter(|key| !key.kind.has_long_keys()) else {
            continue;
        };
        let known = match key.kind {
            Kind::META => key == Key::meta(key.index),
            // Version 5 stored them here; they are not read, and the next change deletes them.
            Kind::DELTA => has_own_deltas,
            kind => match section_of(kind) {
                Some(section) => section.check_value(checker, key, value)?,
                None => continue,
            },
        };
        checker.findings.expect(known, Invariant::Keys, || format!("{key} belongs to nothing"));
    }
    Ok(())
}

/// Checks the DELTA values, which belong to the whole database.
fn deltas(checker: &mut Checker<'_, '_, '_>) -> Result<()> {
    let bound = |n| Key::new(DATABASE, Kind::DELTA, 0, n);
    for entry in checker.place.range(checker.rtxn, bound(0), bound(u32::MAX))? {
        let (key, value) = entry?;
        let findings = &mut checker.findings;
        if !checksum::holds(key, value) {
            let what = format!("{key}: its bytes do not have its checksum");
            findings.add(Invariant::Checksum, what);
            continue;
        }
        findings.expect(u64::from(key.n) < REMEMBERED_COMMITS, Invariant::Keys, || {
            format!("{key} belongs to nothing")
        });
        match Deltas::decode(checksum::unverified(value)) {
            Err(what) => findings.add(Invariant::Layout, format!("{key}: {what}")),
            Ok((transaction, _)) => {
                let is_in_place = transaction % REMEMBERED_COMMITS == u64::from(key.n);
                findings.expect(is_in_place, Invariant::Layout, || {
                    format!("{key}: it is in the place of another transaction")
                });
            }
        }
    }
    Ok(())
}
