//! Prefetch instructions for what is about to be compared. They read nothing and change
//! nothing but the time that passes.
//!
//! [`prefetch`] asks for the beginning of a value, just before it is compared. [`prefetch_early`]
//! asks for all of many values, one level of cache farther away, as soon as it is known that they
//! will be: on processors where a line that is on its way to the nearest cache holds up what comes
//! after it.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};

/// Of all x86-64 processors.
pub const LINE_BYTES: usize = 64;
/// What lies behind so many lines, the processor loads ahead by itself once it sees these being
/// read. More prefetches than it can have loads under way hold it up: hinting all 24 lines of a
/// vector of 384 components costs an eighth of the searches.
pub const MAX_PREFETCH_LINES: usize = 4;

/// How many lines of a value of that length to prefetch.
#[inline(always)]
pub(crate) fn prefetched_lines(bytes: usize) -> usize {
    bytes.div_ceil(LINE_BYTES).min(MAX_PREFETCH_LINES)
}

/// Prefetches the beginning of `bytes`. Does nothing on other processors than
/// x86-64.
#[inline(always)]
pub fn prefetch(bytes: &[u8]) {
    // Without a loop, which costs more than the prefetches.
    match prefetched_lines(bytes.len()) {
        MAX_PREFETCH_LINES => prefetch_lines::<MAX_PREFETCH_LINES>(bytes),
        3 => prefetch_lines::<3>(bytes),
        2 => prefetch_lines::<2>(bytes),
        _ => prefetch_lines::<1>(bytes),
    }
}

/// Prefetches that many lines, from the first of `bytes` on, whatever their
/// length.
#[inline(always)]
pub fn prefetch_lines<const LINES: usize>(bytes: &[u8]) {
    for line in 0..LINES {
        prefetch_line(bytes.as_ptr().wrapping_add(line * LINE_BYTES));
    }
}

/// Prefetches the cache line that a byte is in, if there is memory at all.
#[inline(always)]
pub fn prefetch_line(byte: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing and never faults, whatever the address; SSE is part of
    // x86-64.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(byte.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = byte;
}

/// Prefetches all of the values, which will be compared next, into its
/// second-level cache, if that is worth it.
#[inline(always)]
pub fn prefetch_early<'a>(values: impl Iterator<Item = &'a [u8]>) {
    if prefetches_early() {
        values.for_each(prefetch_far);
    }
}

/// Whether prefetches into the second-level cache make searches faster. On AMD's Zen 4 they do: by
/// a tenth to a fifth (decision 0027). On Intel's Xeons they cost more than they gain (decision
/// 0023).
#[inline(always)]
pub fn prefetches_early() -> bool {
    #[cfg(target_arch = "x86_64")]
    return super::features::is_amd();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[inline(always)]
fn prefetch_far(bytes: &[u8]) {
    for line in (0..bytes.len()).step_by(LINE_BYTES) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch reads nothing and never faults, whatever the address; SSE is part of
        // x86-64.
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(bytes.as_ptr().wrapping_add(line).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_slice_can_be_prefetched() {
        let memory = [0; 300];
        for len in [0, 1, 63, 64, 65, 300] {
            for bytes in [&memory[..len], &memory[300 - len..]] {
                prefetch(bytes);
                prefetch_far(bytes);
            }
        }
    }
}
