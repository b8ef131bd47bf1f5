//! The kernels of [voisin](https://docs.rs/voisin): how a vector is stored, how two are compared,
//! and the codes that searches go by. All code of voisin's with SIMD is here.
//!
//! **Use `voisin`.** The interface of this crate follows voisin's needs: it has no stability
//! promise of its own, and any version may change it. What voisin promises is what it hands on: its
//! modules `codec` and `distances`, `Codes` and `VectorDefect`.
//!
//! There is no LMDB here, and nothing is read or written but the slices that a caller gives.
//!
//! # The rooms
//!
//! A room knows those below it and never one above.
//!
//! | room | what it is for |
//! |---|---|
//! | [`training`] | the range that an index of bytes is trained on |
//! | [`codes`] | vectors in a few bits a component, for searches to go by |
//! | [`distance`] | the metrics, and the kernels that compute them |
//! | [`codec`] | how one vector is stored, and what each form takes and loses |
//! | [`defect`] | what can be wrong with a vector |

pub mod codec;
pub mod codes;
pub mod defect;
pub mod distance;
pub mod training;

#[cfg(target_endian = "big")]
compile_error!(
    "values are read in place, as little-endian numbers: voisin does not support big-endian \
     machines"
);
