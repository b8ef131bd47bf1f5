//! The smallest setting of a search that is good enough.

/// The smallest of the settings from `least` to `most` whose result `is_enough`, with the result,
/// if larger ones are better; `most` if none is. Found by doubling, then by halving the interval to
/// a `part`-th of the setting: as precise as a recall is, that is known from some queries.
pub fn smallest<T>(
    [least, most]: [usize; 2],
    part: usize,
    mut try_out: impl FnMut(usize) -> T,
    is_enough: impl Fn(&T) -> bool,
) -> (usize, T) {
    let (mut below, mut best) = (least, (least, try_out(least)));
    while !is_enough(&best.1) && best.0 < most {
        below = best.0;
        let next = (2 * best.0).min(most);
        best = (next, try_out(next));
    }
    while is_enough(&best.1) && best.0 - below > 1 + best.0 / part {
        let middle = usize::midpoint(below, best.0);
        let result = try_out(middle);
        if is_enough(&result) { best = (middle, result) } else { below = middle }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_setting_is_found_to_its_precision_and_the_largest_if_none_is_good_enough() {
        for wanted in 1..=4096 {
            let (found, result) = smallest([10, 4096], 16, |setting| setting, |s| *s >= wanted);
            assert_eq!(found, result);
            assert!(found >= wanted && found <= wanted.max(10) + 1 + found / 16, "{wanted}");
        }
        assert_eq!(smallest([10, 4096], 16, |_| (), |()| false).0, 4096);
    }
}
