//! Queries by another metric than that of the index, against distances by definition.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::codec::{Codec, F16, F32};
use voisin::distances::{
    BinaryQuantizedCosine, BinaryQuantizedEuclidean, Cosine, Distance, DotProduct, Euclidean,
    Hamming, Manhattan,
};
use voisin::roaring::RoaringBitmap;
use voisin::{Codes, Error, Index, IndexKind, Options};

const DIMENSIONS: usize = 20;
const ITEMS: u32 = 3000;
const K: usize = 12;

fn vector(item: u32) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(item.into());
    // Numbers that 16 bits have, of several lengths.
    let length = (1 + item % 5) as f32;
    (0..DIMENSIONS).map(|_| length * rng.random_range(-64i32..64) as f32 / 64.0).collect()
}

/// The distance by definition.
fn distance(metric: &str, a: &[f32], b: &[f32]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    match metric {
        "euclidean" => pairs().map(|(a, b)| (a - b) * (a - b)).sum(),
        "manhattan" => pairs().map(|(a, b)| (a - b).abs()).sum(),
        "cosine" => (1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()) / 2.0,
        _ => -dot(a, b),
    }
}

fn expected(metric: &str, query: &[f32], items: &mut dyn Iterator<Item = u32>) -> Vec<(f64, u32)> {
    let mut all: Vec<(f64, u32)> =
        items.map(|item| (distance(metric, query, &vector(item)), item)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all
}

fn agrees(found: &[(u32, f32)], expected: &[(f64, u32)], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for ((item, found), (distance, expected)) in found.iter().zip(expected) {
        assert!((f64::from(*found) - distance).abs() < 1e-4 * (1.0 + distance.abs()), "{what}");
        assert_eq!(item, expected, "{what}");
    }
}

/// Searches an index of `D` by `E`, in every way that there is.
fn by_metric<D: Distance, E: Distance>(codes: Option<Codes>) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(DIMENSIONS);
    let options = codes.map_or(options.clone(), |codes| options.codes(codes));
    let index = Index::<D>::create(folder.path().join("vectors"), options).unwrap();
    index.load((0..ITEMS).map(|item| (item, vector(item))), |_| {}).unwrap();
    index.write(|batch| batch.add(ITEMS, &vector(ITEMS))).unwrap();
    let what = format!("{} by {}, {codes:?}", D::name(), E::name());
    let query = vector(77_777);
    let all = expected(E::name(), &query, &mut (0..=ITEMS));
    let found = index.search(K).metric::<E>().by_vector(&query).unwrap();
    assert!(found.is_complete(), "{what}");
    assert_eq!(found.certificate().unwrap().compared, u64::from(ITEMS) + 1, "{what}");
    agrees(&found.into_nns(), &all[..K], &what);
    // The graph is that of another metric.
    let mut asked = index.search(K);
    let found = asked.metric::<E>().walk_graph().by_vector(&query).unwrap();
    agrees(&found.into_nns(), &all[..K], &what);
    let many: Vec<f32> = (80_000..80_020).flat_map(vector).collect();
    for (nth, found) in (80_000..).zip(index.search(K).metric::<E>().by_vectors(&many).unwrap()) {
        let all = expected(E::name(), &vector(nth), &mut (0..=ITEMS));
        agrees(&found.into_nns(), &all[..K], &what);
    }
    let some: RoaringBitmap = (0..ITEMS).step_by(7).collect();
    let found = index.search(K).metric::<E>().candidates(&some).by_vector(&query).unwrap();
    let among = expected(E::name(), &query, &mut some.iter());
    agrees(&found.into_nns(), &among[..K], &what);
    let found = index.search(K).metric::<E>().by_item(5).unwrap().unwrap();
    let others = expected(E::name(), &vector(5), &mut (0..=ITEMS).filter(|item| *item != 5));
    agrees(&found.into_nns(), &others[..K], &what);
    if E::name() != "dot product" {
        let radius = ((all[29].0 + all[30].0) / 2.0) as f32;
        let found = index.search(100).metric::<E>().within(radius).by_vector(&query).unwrap();
        agrees(&found.into_nns(), &all[..30], &what);
        let count = index.search(1).metric::<E>().count_within(&query, radius).unwrap();
        assert_eq!(count.items, 30, "{what}");
    }
    let mut asked = index.search(K);
    let mut pages = asked.metric::<E>().pages(&query).unwrap();
    let mut found = pages.next().unwrap().unwrap().into_nns();
    found.extend(pages.next().unwrap().unwrap().into_nns());
    agrees(&found, &all[..2 * K], &what);
    // Without it, the metric is that of the index.
    let found = index.search(K).exact().by_vector(&query).unwrap().into_nns();
    agrees(&found, &expected(D::name(), &query, &mut (0..=ITEMS))[..K], &what);
}

#[test]
fn every_metric_of_numbers_searches_an_index_of_every_other_one() {
    fn each<C: Codec>()
    where
        Euclidean<C>: Distance,
        Cosine<C>: Distance,
        DotProduct<C>: Distance,
        Manhattan<C>: Distance,
    {
        by_metric::<Euclidean<C>, Cosine>(None);
        by_metric::<Euclidean<C>, Manhattan>(None);
        by_metric::<Cosine<C>, Euclidean>(None);
        by_metric::<Cosine<C>, DotProduct>(None);
        by_metric::<DotProduct<C>, Cosine>(None);
        by_metric::<Manhattan<C>, DotProduct>(None);
    }
    each::<F32>();
    each::<F16>();
    by_metric::<Euclidean, Cosine>(Some(Codes::Bits4));
    by_metric::<Cosine, Manhattan>(Some(Codes::Bits4));
    by_metric::<DotProduct, Euclidean>(Some(Codes::Bits8));
}

#[test]
fn vectors_that_a_metric_cannot_compare_are_no_results_and_as_queries_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(2).kinds([IndexKind::Flat]);
    let index = Index::<Euclidean>::create(folder.path().join("vectors"), options).unwrap();
    index
        .write(|batch| batch.add_items(&[1, 2, 3, 4], &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 2.0, -1.0]))
        .unwrap();
    let found = index.search(4).metric::<Cosine>().by_vector(&[1.0, 0.0]).unwrap().into_nns();
    assert_eq!(found.iter().map(|(item, _)| *item).collect::<Vec<_>>(), [4, 2]);
    let refused = index.search(4).metric::<Cosine>().by_vector(&[0.0, 0.0]);
    assert!(matches!(refused, Err(Error::InvalidQuery { .. })), "{refused:?}");
    let refused = index.search(4).metric::<Cosine>().by_item(1);
    assert!(matches!(refused, Err(Error::InvalidQuery { .. })), "{refused:?}");
    let refused = index.search(4).metric::<Hamming>().by_vector(&[1.0, 0.0]);
    assert!(matches!(refused, Err(Error::QueryMetric { requested: "hamming", .. })), "{refused:?}");
}

#[test]
fn signs_have_the_metrics_of_signs_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    let index = Index::<BinaryQuantizedEuclidean>::create(path, Options::new(DIMENSIONS)).unwrap();
    index.load((0..500).map(|item| (item, vector(item))), |_| {}).unwrap();
    let query = vector(900);
    let refused = index.search(3).metric::<Manhattan>().by_vector(&query);
    assert!(matches!(refused, Err(Error::QueryMetric { .. })), "{refused:?}");
    // The nearest by angle, among signs, are those that agree in the most.
    let found = index.search(3).metric::<BinaryQuantizedCosine>().by_vector(&query).unwrap();
    let agree = |item: u32| {
        vector(item).iter().zip(&query).filter(|(a, b)| (**a < 0.0) == (**b < 0.0)).count()
    };
    let most = (0..500).map(agree).max().unwrap();
    assert_eq!(agree(found.nns[0].0), most);
}
