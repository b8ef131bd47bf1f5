//! The shape of the kernels that compare many queries with many vectors, written once: see
//! [`Near`](super::Near).
//!
//! The queries of a panel lie component by component, so that one register has the same component
//! of many queries, and a component of a vector is spread over another. Nothing is added across a
//! register, each load serves several vectors or several queries, and the loop is bound by
//! arithmetic. Each sum is one chain of additions: another order than that of `sum.rs`, so the sums
//! are estimates of its results.
//!
//! A macro for the reason that is given there.

/// Defines `near` for the instruction set of the module that it is used in. Beside what
/// `sum_kernels` asks for, the module provides:
///
/// - `ROWS_ABREAST`: how many vectors are compared side by side, a divisor of
///   [`ROWS`](super::ROWS);
/// - `splat(f32) -> Lanes`: a register of one number;
/// - `not_below(sum: Lanes, scale: Lanes, offset: Lanes, limit: Lanes) -> u32`: a bit for each lane
///   in which `sum * scale + offset` is not below the limit, set where it is no number.
macro_rules! near_kernel {
    ($(#[$features:meta])?) => {
        $(#[$features])?
        #[inline]
        fn near_abreast<S: Sum>(
            panel: &[[[u8; 4]; PANEL]],
            limits: &[[u8; 4]; PANEL],
            rows: &[Row<'_>; ROWS_ABREAST],
        ) -> [u32; ROWS_ABREAST] {
            let len = rows.iter().fold(
                size_of::<f32>() * panel.len(),
                |len, row| len.min(row.bytes.len()),
            );
            let components = rows.each_ref().map(|row| words(&row.bytes[..len]));
            let mut sums = [[zero(); PANEL / LANES]; ROWS_ABREAST];
            for (i, queries) in panel.iter().take(components[0].len()).enumerate() {
                let queries = queries.as_chunks::<LANES>().0;
                for (sums, components) in sums.iter_mut().zip(&components) {
                    // SAFETY: `i` is below the number of components of the first row, and all rows
                    // were cut to one length. As in `sums`, the compiler sees that too late.
                    let component = unsafe { *components.get_unchecked(i) };
                    let component = splat(f32::from_le_bytes(component));
                    for (sum, queries) in sums.iter_mut().zip(queries) {
                        *sum = step::<S>(*sum, load(queries), component);
                    }
                }
            }
            let mut masks = [0; ROWS_ABREAST];
            for ((mask, sums), row) in masks.iter_mut().zip(sums).zip(rows) {
                let (scale, offset) = (splat(row.scale), splat(row.offset));
                let groups = sums.into_iter().zip(limits.as_chunks().0).enumerate();
                for (group, (sum, limits)) in groups {
                    *mask |= not_below(sum, scale, offset, load(limits)) << (group * LANES);
                }
            }
            masks
        }

        $(#[$features])?
        fn near<S: Sum>(
            panel: &[[[u8; 4]; PANEL]],
            limits: &[[u8; 4]; PANEL],
            rows: &[Row<'_>; ROWS],
        ) -> [u32; ROWS] {
            let mut masks = [0; ROWS];
            for (masks, rows) in masks.as_chunks_mut().0.iter_mut().zip(rows.as_chunks().0) {
                *masks = near_abreast::<S>(panel, limits, rows);
            }
            masks
        }
    };
}

pub(super) use near_kernel;
