//! Sifts hashes (`lsh`): which of many have a small sum of what their digits cost.
//!
//! The digits of a run of hashes lie in planes, one digit of all hashes after the other, a byte
//! each. A sum is that of one entry for each digit, in bytes, and does not exceed 255. AVX2 looks
//! 32 digits up at a time, in two tables of 16 entries.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

#[cfg(target_arch = "x86_64")]
use super::features::{Level, level};

/// The number of values of a digit. Higher bits of a digit, which only damage sets, do not count.
const VALUES: usize = 32;

/// Replaces `found` by the sums that are at most `most`, with the numbers of their hashes. There is
/// a plane of `planes` for each of `costs`.
pub fn sift(costs: &[[u8; VALUES]], planes: &[u8], most: u8, found: &mut Vec<(u8, u32)>) {
    found.clear();
    let count = planes.len() / costs.len().max(1);
    if count == 0 {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if level() >= Level::Avx2 {
        // SAFETY: the level has the features.
        return unsafe { avx2(costs, planes, count, most, found) };
    }
    portable(costs, planes, count, most, found);
}

fn portable(
    costs: &[[u8; VALUES]],
    planes: &[u8],
    count: usize,
    most: u8,
    found: &mut Vec<(u8, u32)>,
) {
    for at in 0..count {
        let digits = costs.iter().zip(planes.chunks_exact(count));
        let sum = digits.fold(0u8, |sum, (costs, plane)| {
            sum.saturating_add(costs[usize::from(plane[at]) % VALUES])
        });
        if sum <= most {
            found.push((sum, at as u32));
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(costs: &[[u8; VALUES]], planes: &[u8], count: usize, most: u8, found: &mut Vec<(u8, u32)>) {
    const LANES: usize = 32;
    let (limit, low) = (_mm256_set1_epi8(most as i8), _mm256_set1_epi8(31));
    for first in (0..count).step_by(LANES) {
        let lanes = (count - first).min(LANES);
        let mut sum = _mm256_setzero_si256();
        for (costs, plane) in costs.iter().zip(planes.chunks_exact(count)) {
            let mut rest = [0; LANES];
            let digits = match plane[first..].first_chunk::<LANES>() {
                Some(digits) => digits,
                None => {
                    rest[..lanes].copy_from_slice(&plane[first..]);
                    &rest
                }
            };
            // SAFETY: the digits and the costs are 32 bytes each.
            let (digits, costs) = unsafe {
                (
                    _mm256_loadu_si256(digits.as_ptr().cast()),
                    _mm256_loadu_si256(costs.as_ptr().cast()),
                )
            };
            let digits = _mm256_and_si256(digits, low);
            let lower =
                _mm256_shuffle_epi8(_mm256_permute2x128_si256::<0x00>(costs, costs), digits);
            let upper =
                _mm256_shuffle_epi8(_mm256_permute2x128_si256::<0x11>(costs, costs), digits);
            // Bit 4 of a digit, which tells the tables apart, as the sign.
            let is_upper = _mm256_slli_epi16::<3>(digits);
            sum = _mm256_adds_epu8(sum, _mm256_blendv_epi8(lower, upper, is_upper));
        }
        let fits = _mm256_cmpeq_epi8(_mm256_min_epu8(sum, limit), sum);
        let mut mask = _mm256_movemask_epi8(fits) as u32 & (u32::MAX >> (LANES - lanes));
        if mask == 0 {
            continue;
        }
        let mut sums = [0u8; LANES];
        // SAFETY: there is room for 32 bytes.
        unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), sum) };
        while mask > 0 {
            let lane = mask.trailing_zeros();
            found.push((sums[lane as usize], first as u32 + lane));
            mask &= mask - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_of_this_processor_finds_what_its_naive_twin_finds() {
        let mut state = 3;
        let mut random = || (super::super::split_mix(&mut state) >> 40) as u8;
        for (digits, count) in
            [(4, 1), (4, 31), (4, 32), (4, 33), (4, 100), (5, 128), (1, 65), (4, 0), (3, 300)]
        {
            let costs: Vec<[u8; VALUES]> =
                (0..digits).map(|_| [(); VALUES].map(|()| random() % 130)).collect();
            let planes: Vec<u8> = (0..digits * count).map(|_| random()).collect();
            for most in [0, 20, 90, 254, 255] {
                let (mut found, mut expected) = (vec![(0, 7)], Vec::new());
                sift(&costs, &planes, most, &mut found);
                if count > 0 {
                    portable(&costs, &planes, count, most, &mut expected);
                }
                assert_eq!(found, expected, "{digits} digits, {count} hashes, {most}");
                assert!(most < 255 || found.len() == count);
            }
        }
    }
}
