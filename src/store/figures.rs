//! Figures of statistics, by their names: what a program shows that does not know each structure.

use std::fmt;

/// A figure of [`Stats::figures`](crate::Stats::figures).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// A number of things.
    Count(u64),
    /// A mean or a ratio.
    Ratio(f64),
}

impl From<u64> for Figure {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<f64> for Figure {
    fn from(ratio: f64) -> Self {
        Self::Ratio(ratio)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Ratio(ratio) => write!(f, "{ratio:.2}"),
        }
    }
}

/// Defines the statistics of a structure, whose figures have the names of their fields.
macro_rules! figures {
    ($(#[$about:meta])* pub struct $name:ident {
        $($(#[$doc:meta])* pub $field:ident: $type:ty,)*
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl $name {
            pub(crate) fn figures(&self) -> Vec<(&'static str, $crate::store::figures::Figure)> {
                vec![$((stringify!($field), self.$field.into())),*]
            }
        }
    };
}
pub(crate) use figures;
