//! The kernels of [voisin](https://docs.rs/voisin): the element types of stored vectors, the
//! distance metrics, and quantized codes. All SIMD code of voisin is in this crate.
//!
//! **Use `voisin`.** This crate has no stability promise of its own: it follows voisin's needs, and
//! any version may change it. Voisin promises what it re-exports: its modules `codec` and
//! `distances`, and `Codes` and `VectorDefect`.
//!
//! This crate knows nothing of LMDB; it reads and writes only the slices that a caller passes.
//!
//! # The rooms
//!
//! A room may use those below it in this table, never one above.
//!
//! | room | what it is for |
//! |---|---|
//! | [`training`] | the component range that an index of [`I8`](codec::I8) vectors is trained on |
//! | [`lsh`] | hashes of vectors that near ones share, and the odds that they do |
//! | [`codes`] | quantized copies of vectors, a few bits a component, to search by |
//! | [`distance`] | the metrics, and their SIMD kernels, with SIMD dispatch by CPU features |
//! | [`codec`] | the element types of stored vectors, their size and their loss |
//! | [`defect`] | what can be wrong with a vector |

pub mod codec;
pub mod codes;
pub mod defect;
pub mod distance;
pub mod lsh;
pub mod training;

#[cfg(target_endian = "big")]
compile_error!(
    "values are read in place, as little-endian numbers: voisin does not support big-endian \
     machines"
);
