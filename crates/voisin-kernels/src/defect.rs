//! What is wrong with a vector, and the message about it. A message names the value, the limit and
//! the remedy; the remedy depends on the role of the vector ([`Role`]).

use std::fmt;

/// What is wrong with a vector.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum VectorDefect {
    /// A component is NaN or infinite.
    NotFinite {
        /// The position of the component, from 0.
        position: usize,
        /// The value of the component.
        value: f32,
    },
    /// The magnitude of a component is above the largest number of the element type.
    TooLarge {
        /// The position of the component, from 0.
        position: usize,
        /// The value of the component.
        value: f64,
        /// The largest magnitude that is accepted.
        limit: f64,
        /// The name of the element type.
        form: &'static str,
    },
    /// The vector is not zero, but would round to zero in the element type.
    TooSmall {
        /// The largest magnitude of its components.
        value: f64,
        /// The smallest positive number of the element type. Half of it rounds to zero.
        limit: f64,
        /// The name of the element type.
        form: &'static str,
    },
    /// A component of a binary vector is neither 0 nor 1. `-0.0` is refused, too.
    NotBinary {
        /// The position of the component, from 0.
        position: usize,
        /// The value of the component.
        value: f32,
    },
    /// The vector has no direction, and the metric compares directions: it is zero, or rounds to
    /// zero in the element type.
    ZeroNorm,
    /// The norm is out of range: distances would lose all precision, or overflow.
    NormOutOfRange {
        /// The norm: Euclidean, or for Manhattan the sum of absolute values.
        norm: f64,
        /// The minimum accepted norm.
        min: f64,
        /// The maximum accepted norm.
        max: f64,
    },
}

/// The role of a refused vector. The remedy depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The vector of an item, to be stored.
    Item,
    /// A query.
    Query,
    /// A row of a sample that an index is trained on.
    Sample,
}

impl VectorDefect {
    /// The message: what is wrong with the vector, and the remedy for its role.
    #[doc(hidden)]
    #[must_use]
    pub fn of(self, role: Role) -> String {
        match (self, role) {
            (Self::NotFinite { position, value }, _) => {
                format!("component {position} is {value}: every component must be finite")
            }
            (Self::TooLarge { position, value, limit, form }, Role::Query) => {
                format!(
                    "component {position} is {value:e}, and {form} holds up to {limit:e}: \
                         scale the query"
                )
            }
            (Self::TooLarge { position, value, limit, form }, _) => format!(
                "component {position} is {value:e}, and {form} holds up to {limit:e}: scale the \
                 vectors, or store them in another form"
            ),
            (Self::NotBinary { position, value }, _) => {
                format!("component {position} is {value}: a binary vector has zeros and ones only")
            }
            (Self::TooSmall { value, limit, form }, Role::Query) => format!(
                "its largest component is {value:e}, and {form} holds nothing between 0 and \
                 {limit:e}: scale the query as the vectors of the \
                 index were"
            ),
            (Self::TooSmall { value, limit, form }, _) => format!(
                "its largest component is {value:e}, and {form} holds nothing between 0 and \
                 {limit:e}: scale the vectors, or store them in \
                 another form"
            ),
            (Self::ZeroNorm, Role::Query) => "it is zero and has no direction, which the metric \
                of the index compares: ask with another \
                                              vector, or use an index of another metric"
                .to_owned(),
            (Self::ZeroNorm, _) => {
                "the vector, as it would be stored, is zero and has no direction: leave it out, \
                 or use another metric"
                    .to_owned()
            }
            (Self::NormOutOfRange { norm, min, max }, Role::Query) => {
                format!("its norm is {norm:e}: scale the query to between {min:e} and {max:e}")
            }
            (Self::NormOutOfRange { norm, min, max }, _) => {
                format!(
                    "the vector's norm is {norm:e}: scale the vectors to between {min:e} and \
                         {max:e}"
                )
            }
        }
    }
}

impl fmt::Display for VectorDefect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.of(Role::Item))
    }
}
