//! A first build of many items numbers them by locality, if it runs in the transaction that has
//! added them.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use rand::RngExt;
use rand::seq::SliceRandom;
use voisin::distances::Euclidean;
use voisin::{Codes, Error, ItemId, Reader, Writer};

use crate::common::{check, create, new_env, open_env, rng};
use crate::decoder;

const ITEMS: u32 = 100_000;
const DIMENSIONS: usize = 32;

/// What is left of an index after a build of points on a line, in a space of many dimensions.
struct Built {
    /// The mean distance between items whose slots follow each other.
    apart: f64,
    file_bytes: u64,
    /// The items nearest to some places.
    nearest: Vec<Vec<(ItemId, f32)>>,
}

/// The items of a shuffled line: item `i` lies at `places[i]`.
fn build(places: &[u32], are_committed_before: bool) -> Built {
    let (folder, env) = new_env();
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, DIMENSIONS);
    let mut wtxn = env.write_txn().unwrap();
    let vector = |place: u32| [place as f32; DIMENSIONS];
    writer.add_items_from(&mut wtxn, (0..).zip(places.iter().map(|place| vector(*place)))).unwrap();
    writer.set_codes(&mut wtxn, Some(Codes::Bits4)).unwrap();
    if are_committed_before {
        wtxn.commit().unwrap();
        wtxn = env.write_txn().unwrap();
    }
    writer.builder(&mut rng()).ef_construction(16).build::<4, 8>(&mut wtxn).unwrap();
    wtxn.commit().unwrap();
    let file_bytes = fs::metadata(folder.path().join("data.mdb")).unwrap().len();

    let rtxn = env.read_txn().unwrap();
    check(&rtxn, db, 0);
    let slots = decoder::decode(db.remap_types(), &rtxn, 0).slot_ids;
    assert_eq!(slots.len(), places.len());
    let place = |item: u32| f64::from(places[item as usize]);
    let apart = slots.windows(2).map(|pair| (place(pair[0]) - place(pair[1])).abs()).sum::<f64>()
        / slots.len() as f64;
    let reader = Reader::open(&rtxn, 0, db).unwrap();
    let find = |place: u32| {
        reader.nns(3).ef_search(200).walk_graph().by_vector(&rtxn, &vector(place)).unwrap().nns
    };
    let nearest = [0, 1, 500, 31_415, ITEMS - 1].map(find).to_vec();
    drop(rtxn);

    // Such an index changes as any other.
    let mut wtxn = env.write_txn().unwrap();
    let mut rng = rng();
    writer
        .del_items(&mut wtxn, (0..300).map(|_| rng.random_range(0..places.len() as u32)))
        .unwrap();
    writer.add_items_from(&mut wtxn, (ITEMS..ITEMS + 50).map(|item| (item, vector(item)))).unwrap();
    writer.builder(&mut rng).ef_construction(16).build::<4, 8>(&mut wtxn).unwrap();
    check(&wtxn, db, 0);
    Built { apart, file_bytes, nearest }
}

#[test]
fn items_are_numbered_by_locality_where_their_transaction_links_them() {
    let mut places: Vec<u32> = (0..ITEMS).collect();
    places.shuffle(&mut rng());
    let (bulk, parts) = (build(&places, false), build(&places, true));
    // A third of the line lies between two places at random.
    assert!(parts.apart > 30_000.0, "{}", parts.apart);
    assert!(bulk.apart < 300.0, "{}", bulk.apart);
    assert_eq!(bulk.nearest, parts.nearest);
    // Vectors are written over those that the transaction has put there: they have no second place
    // in the file.
    assert!(
        bulk.file_bytes < parts.file_bytes + parts.file_bytes / 10,
        "{} {}",
        bulk.file_bytes,
        parts.file_bytes
    );

    let few: Vec<u32> = places.into_iter().filter(|place| *place != 17).collect();
    assert!(build(&few, false).apart > 30_000.0, "numbered for nothing");
}

/// Where the child of the next test puts its index.
const FOLDER: &str = "VOISIN_TEST_BULK_FOLDER";

#[test]
fn without_room_for_a_temporary_file_a_build_goes_on_and_optimizing_says_so() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else {
        // Where temporary files go is a matter of the process.
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new(env::current_exe().unwrap())
            .args([
                "bulk::without_room_for_a_temporary_file_a_build_goes_on_and_optimizing_says_so",
                "--exact",
                "--nocapture",
            ])
            .env(FOLDER, folder.path())
            .env("TMPDIR", folder.path().join("nowhere"))
            .output()
            .unwrap();
        let (said, errors) =
            (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
        assert!(child.status.success() && said.contains("1 passed"), "{said}{errors}");
        return;
    };
    // More bytes than are kept in memory.
    const LARGE: usize = 176;
    let env = open_env(&folder, 1 << 30);
    let db = create::<Euclidean>(&env);
    let writer = Writer::<Euclidean>::new(db, 0, LARGE);
    let mut wtxn = env.write_txn().unwrap();
    writer
        .add_items_from(
            &mut wtxn,
            (0..ITEMS).map(|item| (item, [(item * 7919 % ITEMS) as f32; LARGE])),
        )
        .unwrap();
    writer.builder(&mut rng()).ef_construction(8).build::<4, 8>(&mut wtxn).unwrap();
    wtxn.commit().unwrap();

    let mut wtxn = env.write_txn().unwrap();
    check(&wtxn, db, 0);
    let slots = decoder::decode(db.remap_types(), &wtxn, 0).slot_ids;
    assert!(slots.is_sorted(), "slots in the order of the items");
    let optimized = writer.builder(&mut rng()).ef_construction(8).optimize::<4, 8>(&mut wtxn);
    match optimized {
        Err(Error::Io { path, doing: "write a temporary file in", .. }) => {
            assert_eq!(path, env::temp_dir())
        }
        other => panic!("{other:?}"),
    }
    check(&wtxn, db, 0);
}
