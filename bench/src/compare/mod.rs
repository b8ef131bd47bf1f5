//! Compares voisin with its peers, on the same vectors, in one run.
//!
//! Every engine runs in a child process of its own, which gets one request a line and answers it
//! with one line (`protocol`): this program again for engines in Rust (`serve`, `engine`,
//! `engines`), `peer.py` for those from PyPI (`venv`). A child times each native call itself, so
//! that no figure includes the protocol; the memory of a process and the bytes it has written are
//! read from outside (`child`). `contest` alternates the engines, `truth` judges all answers alike,
//! `goals` has the goals, and `table` and `plots` write the `results` down. `filtered` is a contest
//! of its own, with its goals and its page. `plan` says which engine takes part in what.

pub mod child;
pub mod contest;
pub mod each;
pub mod engine;
pub mod engines;
pub mod filtered;
pub mod goals;
pub mod machine;
pub mod plan;
pub mod plots;
pub mod protocol;
pub mod results;
pub mod serve;
pub mod table;
pub mod truth;
pub mod vectors;
pub mod venv;
