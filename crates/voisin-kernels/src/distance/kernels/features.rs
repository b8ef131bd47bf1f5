//! CPU feature detection for runtime dispatch, which happens here and nowhere else. Kernels are
//! picked by the level in `mod.rs` (`best`), `codes.rs`, `bytes.rs`, `packed.rs`, `precise.rs` and
//! `rotation.rs`.
//!
//! The feature sets that kernels are compiled for are [`Level`]s: each has all features of those
//! below it, as processors do. The few processors with a part of a level (Knights Landing, Cannon
//! Lake) count as the level below. Invariant: a level is returned only if all of its features were
//! detected, which makes it sound to call a kernel of that level.
//!
//! With the crate feature `portable`, every processor is at the lowest level, so that the portable
//! kernels and their results are tested on any machine.

/// A set of CPU features. Each level includes those of the levels before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// The baseline of the target.
    Portable,
    /// AVX2, FMA, F16C and POPCNT: processors since 2013.
    Avx2,
    /// AVX-512 F, BW and VL: since 2017.
    Avx512,
    /// AVX-512 VNNI: since 2019.
    Vnni,
    /// AVX-512 VBMI and VPOPCNTDQ: since 2019, from AMD since 2022.
    Vbmi,
}

/// The highest level of this processor. The standard library caches the detection.
pub(super) fn level() -> Level {
    macro_rules! has {
        ($($feature:tt),+) => { $(is_x86_feature_detected!($feature))&&+ };
    }
    if cfg!(feature = "portable") || !has!("avx2", "fma", "f16c", "popcnt") {
        Level::Portable
    } else if !has!("avx512f", "avx512bw", "avx512vl") {
        Level::Avx2
    } else if !has!("avx512vnni") {
        Level::Avx512
    } else if !has!("avx512vbmi", "avx512vpopcntdq") {
        Level::Vnni
    } else {
        Level::Vbmi
    }
}

/// Whether the processor is AMD's, by SSE4a, which only those have.
#[inline(always)]
pub(super) fn is_amd() -> bool {
    is_x86_feature_detected!("sse4a")
}
