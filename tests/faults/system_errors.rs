//! Errors of the system: each names the path and the remedy.
