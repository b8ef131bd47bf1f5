//! voisin beside its peers, on the same vectors, in one run.
//!
//! Every engine runs in a child process of its own, which gets one request a line and answers it
//! with one line (`protocol`): this program again for what is written in Rust (`serve`, `engine`,
//! `engines`), `peer.py` for what comes from PyPI (`venv`). A child times each native call itself,
//! so that the protocol is in no figure; what the system knows of a process, its memory and what it
//! has written, is read from outside (`child`). `contest` lets the engines take turns, `truth`
//! judges all answers alike, `goals` says what must be reached, and `table` and `plots` write what
//! was found (`results`) down. `plan` says who takes part in what.

pub mod child;
pub mod contest;
pub mod engine;
pub mod engines;
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
