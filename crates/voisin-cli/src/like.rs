//! New indexes that are like another one: the targets of `merge` and `split`.

use std::path::Path;

use voisin::{AnyIndex, Options, inspect};

use crate::commands::create::Type;
use crate::failure::{Failure, Result};
use crate::place::on_index;

/// Creates an index of the type of `source`, with its dimensions, codes, kinds and fields, and what
/// else `configure` sets.
pub(crate) fn create_like(
    source: &AnyIndex,
    path: &Path,
    configure: impl FnOnce(Options) -> Options,
) -> Result<AnyIndex> {
    let of = Type { metric: None, form: None, names: None }.or_of(source);
    Ok(AnyIndex::create(path, &of, configure(options_of(source)?))?)
}

fn options_of(source: &AnyIndex) -> Result<Options> {
    let (m, m0) = on_index!(source, index => (index.m(), index.m0()));
    let options = Options::new(source.dimensions()).m(m).m0(m0);
    let options = options.kinds(source.kinds()?).fields(source.fields()?);
    let found = inspect(source.path())?;
    let named = found.iter().find(|found| found.name.as_deref() == Some(source.name()));
    Ok(match named.and_then(|found| found.metadata.as_ref().ok()?.codes) {
        Some(codes) => options.codes(codes),
        None => options,
    })
}

/// Checks that the items of an index can be those of another one.
pub(crate) fn check_alike(source: &AnyIndex, target: &AnyIndex) -> Result<()> {
    let differs = |what: &str, theirs: &dyn std::fmt::Display, ours: &dyn std::fmt::Display| {
        Err(Failure::usage(format!(
            "the index {:?} has the {what} {theirs}, and {:?} has {ours}: give two that are alike, \
             or write the items to a file (voisin export) and load that",
            source.name(),
            target.name()
        )))
    };
    if source.metric() != target.metric() {
        return differs("metric", &source.metric(), &target.metric());
    }
    if source.dimensions() != target.dimensions() {
        return differs("number of dimensions", &source.dimensions(), &target.dimensions());
    }
    if source.naming() != target.naming() {
        return differs("names", &source.naming(), &target.naming());
    }
    Ok(())
}
