//! Vectors whose squares underflow.

use proptest::prelude::*;
use tempfile::TempDir;
use voisin::codec::F16;
use voisin::distances::{Distance, DotProduct, Euclidean, Manhattan};
use voisin::{Error, Index, Options, VectorDefect};

const DIMENSIONS: usize = 4;

fn create<D: Distance>() -> (TempDir, Index<D>) {
    crate::create(Options::new(DIMENSIONS))
}

/// Components between -1 and 1, the same for the same seed.
fn row(seed: u64) -> [f64; DIMENSIONS] {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66;
    [(); DIMENSIONS].map(|()| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    })
}

/// An index of vectors with components near 1e-24 answered every query in the order of ids, all at
/// distance 0: their squares are 0 in `f32`. Such vectors are refused, as items and as queries,
/// with the limit and what to do; the zero vector is not.
#[test]
fn vectors_whose_squares_underflow_are_refused_with_the_limit() {
    fn run<D: Distance>() {
        let (_folder, index) = create::<D>();
        index.write(|batch| batch.add(0, &[0.0; DIMENSIONS])).unwrap();
        for scale in [1e-44f32, 1e-30, 1e-24, 1e-20, 4e-16] {
            let vector = [scale, 0.0, -scale, scale];
            let errors = [
                index.write(|batch| batch.add(1, &vector)).unwrap_err(),
                index.search(1).by_vector(&vector).unwrap_err(),
            ];
            for error in errors {
                let (Error::InvalidItem { defect, .. } | Error::InvalidQuery { defect }) = &error
                else {
                    panic!("{error:?}")
                };
                assert!(
                    matches!(defect, VectorDefect::NormOutOfRange { min: 1e-15, .. }),
                    "{defect:?}"
                );
                assert!(error.to_string().contains("to between 1e-15 and 9e18"), "{error}");
            }
        }
        assert_eq!(index.stats().unwrap().items, 1);
    }
    run::<Euclidean>();
    run::<DotProduct>();
}

/// The same by way of a form: what is not zero, and would be stored as zero, cannot be told from
/// other such vectors.
#[test]
fn a_vector_that_would_be_stored_as_zero_is_refused_with_the_limit_of_the_form() {
    let (_folder, index) = create::<Euclidean<F16>>();
    for vector in [[2e-8, 0.0, -1e-9, 0.0], [2.980_232_2e-8, 0.0, 0.0, 0.0]] {
        let error = index.write(|batch| batch.add(7, &vector)).unwrap_err();
        assert!(
            matches!(
                error,
                Error::InvalidItem { item: 7, defect: VectorDefect::TooSmall { form: "f16", .. } }
            ),
            "{error:?}"
        );
        let message = error.to_string();
        assert!(
            message.contains("e-8, and f16 holds nothing between 0 and 5.9")
                && message.contains("scale the vectors"),
            "{message}"
        );
    }
    // The least that it has, beside which less may lie; and nothing at all.
    index.write(|batch| batch.add(1, &[4e-8, 1e-9, 0.0, 0.0])).unwrap();
    index.write(|batch| batch.add(2, &[0.0; DIMENSIONS])).unwrap();
    // A number of `f64` that `f32` has as 0.
    let (_folder, index) = create::<Manhattan>();
    let error = index.write(|batch| batch.add(7, &[0.0, 1e-60, 0.0, 0.0])).unwrap_err();
    assert!(
        matches!(
            error,
            Error::InvalidItem { defect: VectorDefect::TooSmall { form: "f32", .. }, .. }
        ),
        "{error:?}"
    );
}

/// Vectors of usual size can differ by as little: `[1, 1e-24]` and `[1, 2e-24]` were at distance 0,
/// the lower id first. Only what is equal is at distance 0, and comes first, whichever way the
/// query is answered.
#[test]
fn vectors_that_differ_by_what_underflows_are_not_at_distance_0() {
    let (_folder, index) = create::<Euclidean>();
    let rows: Vec<[f32; DIMENSIONS]> = (0..40).map(|i| [1.0, i as f32 * 1e-24, 0.0, 0.0]).collect();
    index.write(|batch| batch.add_items_from((0..).zip(&rows))).unwrap();
    let least = f32::from_bits(1);
    for (item, row) in (0..).zip(&rows) {
        for (k, walk) in [(1, true), (1, false), (3, true), (3, false)] {
            let mut search = index.search(k);
            let found = if walk { search.ef_search(60).walk_graph() } else { search.exact() }
                .by_vector(row)
                .unwrap();
            assert_eq!(found.nns[0], (item, 0.0));
            assert!(found.nns[1..].iter().all(|(_, distance)| *distance == least), "{found:?}");
        }
    }
    let together = index.search(3).exact().by_vectors(&rows.concat()).unwrap();
    let alone: Vec<_> =
        rows.iter().map(|row| index.search(3).exact().by_vector(row).unwrap()).collect();
    assert_eq!(together, alone);
    // Zeros of both signs are the same number.
    index.write(|batch| batch.add(100, &[1.0, -0.0, -0.0, 0.0])).unwrap();
    assert_eq!(index.search(2).exact().by_vector(&rows[0]).unwrap().nns, [(0, 0.0), (100, 0.0)]);
}

/// Whatever the size of vectors is, they are refused, or an exact search has them in the order that
/// `f64` has them in.
fn refused_or_in_order<D: Distance>(
    exponent: f64,
    seed: u64,
    distance: impl Fn(&[f32], &[f32]) -> f64,
) -> Result<(), TestCaseError> {
    let scale = 10f64.powf(exponent);
    let (_folder, index) = create::<D>();
    let rows: Vec<[f32; DIMENSIONS]> =
        (0..30).map(|i| row(seed ^ i << 32).map(|component| (component * scale) as f32)).collect();
    let (stored, query) = rows.split_at(29);
    let added = index.write(|batch| {
        // Each alone: some may be within the limits, and others not.
        Ok((0..)
            .zip(stored)
            .filter(|(item, row)| batch.add(*item, row.as_slice()).is_ok())
            .map(|(item, _)| item)
            .collect::<Vec<u32>>())
    });
    let added = added.unwrap();
    prop_assert!(
        added.len() == stored.len() || !(-14.0..18.0).contains(&exponent),
        "10^{exponent} is refused"
    );
    let Ok(found) = index.search(29).exact().by_vector(&query[0]) else {
        prop_assert!(!(-14.0..18.0).contains(&exponent), "a query of 10^{exponent} is refused");
        return Ok(());
    };
    prop_assert_eq!(found.nns.len(), added.len());
    let exact: Vec<f64> =
        found.nns.iter().map(|(item, _)| distance(&stored[*item as usize], &query[0])).collect();
    let size = exact.iter().fold(0.0, |size: f64, distance| size.max(distance.abs()));
    for (pair, found) in exact.windows(2).zip(found.nns.windows(2)) {
        // What f32 cannot tell apart may be in either order, but not what differs by more.
        prop_assert!(pair[0] <= pair[1] + 1e-6 * size, "10^{exponent}: {found:?} are {pair:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn vectors_of_any_size_are_refused_or_in_order(exponent in -30.0..18.0f64, seed: u64) {
        let pairs = |a: &[f32], b: &[f32]| -> Vec<(f64, f64)> {
            a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b))).collect()
        };
        refused_or_in_order::<Euclidean>(
            exponent,
            seed,
            |a, b| pairs(a, b).iter().map(|(a, b)| (a - b).powi(2)).sum(),
        )?;
        refused_or_in_order::<DotProduct>(
            exponent,
            seed,
            |a, b| -pairs(a, b).iter().map(|(a, b)| a * b).sum::<f64>(),
        )?;
        refused_or_in_order::<Manhattan>(
            exponent,
            seed,
            |a, b| pairs(a, b).iter().map(|(a, b)| (a - b).abs()).sum(),
        )?;
    }
}
