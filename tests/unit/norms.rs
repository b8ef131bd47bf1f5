//! The bound of the norms in META, which searches by inner products need.

use heed::EnvOpenOptions;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::distance::DotProduct;
use crate::format::Key;
use crate::store::Place;
use crate::store::open::read_meta;
use crate::{Reader, Writer, create_database};

/// Indexes of earlier format versions do not know how long their longest vector is.
#[test]
fn optimizing_finds_the_bound_of_the_norms() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    // SAFETY: the folder is on a local disk, and nobody else opens it.
    let env = unsafe { options.map_size(16 << 20).open(folder.path()).unwrap() };
    let database = create_database::<DotProduct>(&env, None).unwrap();
    let (writer, place) = (Writer::new(database, 0, 3), Place::of(database, 0));
    let mut wtxn = env.write_txn().unwrap();
    let rows = (0..100u16).map(|i| (u32::from(i), [f32::from(i), 0.0, 1.0]));
    writer.add_items_from(&mut wtxn, rows).unwrap();
    writer.builder(&mut StdRng::seed_from_u64(1)).build::<4, 8>(&mut wtxn).unwrap();
    let known = read_meta(place, &wtxn).unwrap().unwrap();
    assert!((99.0..100.0).contains(&known.norm_bound), "{}", known.norm_bound);
    let answer = |wtxn: &heed::RwTxn<'_>| {
        let reader = Reader::<DotProduct>::open(wtxn, 0, database).unwrap();
        reader.nns(5).exact().by_vector(wtxn, &[1.0, 1.0, 0.5]).unwrap().into_nns()
    };
    let expected = answer(&wtxn);
    assert_eq!(expected[0], (99, -99.5));

    let mut unknown = known.clone();
    unknown.norm_bound = 0.0;
    place.put(&mut wtxn, Key::meta(0), unknown.encode()).unwrap();
    assert_eq!(answer(&wtxn), expected);
    writer.add_item(&mut wtxn, 200, &[0.5, 7.0, 0.0]).unwrap();
    assert_eq!(read_meta(place, &wtxn).unwrap().unwrap().norm_bound, 0.0);
    writer.del_item(&mut wtxn, 200).unwrap();
    writer.builder(&mut StdRng::seed_from_u64(1)).optimize::<4, 8>(&mut wtxn).unwrap();
    assert_eq!(read_meta(place, &wtxn).unwrap().unwrap().norm_bound, known.norm_bound);
    assert_eq!(answer(&wtxn), expected);
}
