//! The type of an index as a value: a metric, a form of vectors and a naming of items.

use std::fmt;

use super::options::Options;
use super::shared::Expected;
use crate::distance::Metric;
use crate::error::{Error, Result};
use crate::format::item_keys::Naming;

/// How the items of an [`AnyIndex`](crate::AnyIndex) are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Names {
    /// By `u32` item ids, as in `Index<D>`.
    #[default]
    Ids,
    /// By `u64` keys, as in `Index<D, u64>`.
    Numbers,
    /// By strings, as in `Index<D, str>`.
    Texts,
    /// By bytes, as in `Index<D, [u8]>`.
    Bytes,
    /// By UUIDs, as in `Index<D, [u8; 16]>`.
    Uuids,
}

impl Names {
    fn naming(self) -> Naming {
        match self {
            Self::Ids => Naming::Ids,
            Self::Numbers => Naming::U64,
            Self::Texts => Naming::Text,
            Self::Bytes => Naming::Bytes,
            Self::Uuids => Naming::Uuid,
        }
    }
}

/// What is in the type of an [`Index`](crate::Index), as a value, for
/// [`AnyIndex::create`](crate::AnyIndex::create): the metric, the form of stored vectors, and the
/// naming of items.
///
/// | metric | forms |
/// |---|---|
/// | `"euclidean"`, `"cosine"` | `"f32"`, `"f16"`, `"bf16"`, `"i8"` |
/// | `"dot product"`, `"manhattan"` | the same |
/// | `"hamming"` | `"bits"` |
/// | `"binary quantized euclidean"` | `"signs"` |
/// | `"binary quantized cosine"`, `"binary quantized manhattan"` | the same |
///
/// Metrics that were passed to [`Options::metric`] can be named, too.
///
/// ```
/// use voisin::{AnyIndex, AnyType, Names, Options};
///
/// # fn main() -> voisin::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("vectors");
/// let of = AnyType::new("cosine").form("f16").names(Names::Texts);
/// let index = AnyIndex::create(&path, &of, Options::new(2))?;
/// index.add("a note", &[0.9, 0.1])?;
/// assert_eq!((index.form(), index.naming()), ("f16", "string keys"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[must_use]
pub struct AnyType {
    metric: String,
    form: Option<String>,
    names: Names,
}

impl AnyType {
    /// A metric, with vectors in the first of its forms, and items named by ids.
    pub fn new(metric: impl Into<String>) -> Self {
        Self { metric: metric.into(), form: None, names: Names::default() }
    }

    /// Stores vectors in this form.
    pub fn form(mut self, form: impl Into<String>) -> Self {
        self.form = Some(form.into());
        self
    }

    /// Names items so.
    pub fn names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// The metric and the naming, if there is such a metric.
    pub(super) fn expected(&self, options: &Options) -> Result<Expected> {
        let is_it = |metric: &&'static Metric| {
            metric.name() == self.metric
                && self.form.as_deref().is_none_or(|form| form == metric.codec_name)
        };
        let known = || options.known_metrics().iter().copied().chain(Metric::all_built_in());
        let Some(metric) = known().find(is_it) else {
            return Err(Error::UnknownType {
                metric: self.metric.clone(),
                form: self.form.clone().unwrap_or_else(|| "any form".to_owned()),
                known: Forms(&known().collect::<Vec<_>>()).to_string(),
            });
        };
        Ok(Expected { metric, naming: self.names.naming() })
    }
}

/// Metrics with the forms of each, in words.
struct Forms<'a>(&'a [&'static Metric]);

impl fmt::Display for Forms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<&str> = Vec::new();
        for metric in self.0 {
            if !names.contains(&metric.name()) {
                names.push(metric.name());
            }
        }
        for (i, name) in names.iter().enumerate() {
            let forms: Vec<_> =
                self.0.iter().filter(|it| it.name() == *name).map(|it| it.codec_name).collect();
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{name:?} as {}", forms.join(" or "))?;
        }
        Ok(())
    }
}
