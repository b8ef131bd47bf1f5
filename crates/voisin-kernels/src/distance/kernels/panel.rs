//! The shape of the kernels that compare many queries with many vectors, written once: see
//! [`Near`](super::Near).
//!
//! A panel of queries is transposed, so that one register has the same component of many queries;
//! the component of a vector is broadcast to another register. There are no horizontal sums, each
//! load serves several vectors or several queries, and the loop is compute-bound. Each sum has one
//! accumulator, and another order of additions than in `sum.rs`: it is an estimate of the result
//! there.
//!
//! It is a macro for the reason given in `sum.rs`.

/// Defines `near` for the instruction set of the module that it is used in. In addition to what
/// `sum_kernels` requires, the module provides:
///
/// - `ROWS_ABREAST`: how many vectors are compared side by side, a divisor of
///   [`ROWS`](super::ROWS);
/// - `splat(f32) -> Lanes`: broadcasts a number;
/// - `not_below(sum: Lanes, scale: Lanes, offset: Lanes, limit: Lanes) -> u32`: a bit for each lane
///   in which `sum * scale + offset` is not below the limit; set for NaN.
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
                    // were cut to one length. As in `sums`, the compiler proves that too late.
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
