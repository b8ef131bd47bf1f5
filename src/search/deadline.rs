//! When a search must have ended.

use std::time::{Duration, Instant};

/// When a search must have ended: a moment, or a time from its start. See
/// [`Query::deadline`](crate::Query::deadline).
#[derive(Debug, Clone, Copy)]
pub struct Deadline(When);

#[derive(Debug, Clone, Copy)]
enum When {
    At(Instant),
    After(Duration),
}

impl From<Instant> for Deadline {
    fn from(at: Instant) -> Self {
        Self(When::At(at))
    }
}

impl From<Duration> for Deadline {
    /// Counted from the start of each search.
    fn from(time: Duration) -> Self {
        Self(When::After(time))
    }
}

/// The moment at which a search that has started must have ended, if there is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due(pub(super) Option<Instant>);

impl Due {
    /// Whether the moment has passed. Once it has, it remains so.
    #[inline]
    pub(crate) fn is_over(self) -> bool {
        self.0.is_some_and(|at| Instant::now() >= at)
    }
}

impl Deadline {
    /// The moment, for a search that starts now. `None` if it is too far away to be counted.
    pub(crate) fn of_now(self) -> Option<Instant> {
        match self.0 {
            When::At(at) => Some(at),
            When::After(time) => Instant::now().checked_add(time),
        }
    }
}
