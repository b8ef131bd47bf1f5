//! What the processor can run, which is found out here and nowhere else.
//!
//! The sets of features that kernels are compiled for are a ladder, of which each step has all of
//! those below it, as processors have them: a [`Level`]. The few that have a part of a step
//! (Knights Landing, Cannon Lake) are taken to be on the one below. Owns the invariant that a level
//! is given out only where all of its features were detected, which is what makes a call of a
//! kernel of that level sound.
//!
//! With the feature `portable` of the crate every processor is on the lowest level: so the portable
//! kernels, and what is computed with them, are tested on any machine.

/// A set of features, and all of those above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// What all processors of the target have.
    Portable,
    /// AVX2, FMA, F16C and POPCNT: processors since 2013.
    Avx2,
    /// AVX-512 F, BW and VL: since 2017.
    Avx512,
    /// AVX-512 VNNI: since 2019.
    Vnni,
    /// AVX-512 VBMI and VPOPCNTDQ: since 2019, on AMD's since 2022.
    Vbmi,
}

/// The highest level that this processor can run. The standard library asks the processor once and
/// remembers the answer.
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

/// Whether the processor is one of AMD's: by instructions that those have and others have not.
#[inline(always)]
pub(super) fn is_amd() -> bool {
    is_x86_feature_detected!("sse4a")
}
