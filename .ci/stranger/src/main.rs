//! A service as a newcomer to voisin would write it: measurements with ids, times and vectors
//! arrive as an Arrow batch, are loaded, and are searched over HTTP. Prints its steps; panics if
//! one fails.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, FixedSizeListArray, Float32Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use chrono::{DateTime, TimeDelta, Utc};
use glam::Vec4;
use heed::types::{SerdeJson, Str};
use heed::{CommitOrAbort, EnvOpenOptions};
use ordered_float::OrderedFloat;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tower::ServiceExt;
use uuid::Uuid;
use voisin::distances::{Cosine, Euclidean};
use voisin::{Database, Index, Options, Reader, Writer};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const ROWS: usize = 1000;
const DIMENSIONS: usize = 4;

#[tokio::main]
async fn main() -> Result<()> {
    // Its folder, which the only argument names.
    let folder = std::env::args().nth(1).ok_or("usage: stranger FOLDER")?;
    let batch = measurements()?;
    println!("{} measurements in {} columns", batch.num_rows(), batch.num_columns());
    let index = load(Path::new(&folder), &batch)?;
    serve(index, &batch).await?;
    records(&Path::new(&folder).join("records"), &batch)?;
    #[cfg(feature = "heavy")]
    frame(&batch)?;
    println!("done");
    Ok(())
}

/// The data to search, as another system delivers it.
fn measurements() -> Result<RecordBatch> {
    let mut rng = StdRng::seed_from_u64(7);
    let ids: Vec<String> = (0..ROWS).map(|_| Uuid::from_u128(rng.random()).to_string()).collect();
    let vectors: Vec<Vec4> = (0..ROWS)
        .map(|_| 2.0 * Vec4::from(rng.random::<[f32; DIMENSIONS]>()) - Vec4::ONE)
        .collect();
    let values =
        Float32Array::from_iter_values(vectors.iter().flat_map(|vector| vector.to_array()));
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let vectors =
        FixedSizeListArray::try_new(item.clone(), DIMENSIONS as i32, Arc::new(values), None)?;
    let schema = Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("vector", DataType::FixedSizeList(item, DIMENSIONS as i32), false),
    ]);
    Ok(RecordBatch::try_new(
        Arc::new(schema),
        vec![Arc::new(StringArray::from(ids)), Arc::new(vectors)],
    )?)
}

/// The id and the vector of each row.
fn rows(batch: &RecordBatch) -> Vec<(String, Vec<f32>)> {
    let ids = batch.column(0).as_any().downcast_ref::<StringArray>().expect("ids");
    let vectors = batch.column(1).as_any().downcast_ref::<FixedSizeListArray>().expect("vectors");
    let values =
        vectors.values().as_any().downcast_ref::<Float32Array>().expect("components").values();
    let rows = values.chunks(DIMENSIONS).map(<[f32]>::to_vec);
    ids.iter().map(|id| id.expect("no nulls").to_owned()).zip(rows).collect()
}

fn load(folder: &Path, batch: &RecordBatch) -> Result<Index<Cosine, str>> {
    let index = Index::<Cosine, str>::create(folder.join("vectors"), Options::new(DIMENSIONS))?;
    let loaded = index.load(rows(batch), |_| {})?;
    assert_eq!(loaded, ROWS as u64);
    println!("loaded {loaded}, {} findings", index.check()?.len());
    Ok(index)
}

#[derive(Serialize, Deserialize)]
struct Query {
    vector: Vec<f32>,
    count: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    id: Uuid,
    distance: f32,
}

/// A handler: searches block, so they run where blocking is allowed.
async fn search(
    State(index): State<Index<Cosine, str>>,
    Json(query): Json<Query>,
) -> std::result::Result<Json<Vec<Answer>>, StatusCode> {
    let found =
        tokio::task::spawn_blocking(move || index.search(query.count).by_vector(&query.vector))
            .await;
    let found =
        found.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?.map_err(|error| match error {
            voisin::Error::DimensionMismatch { .. } | voisin::Error::InvalidQuery { .. } => {
                StatusCode::BAD_REQUEST
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        })?;
    let answer = |(id, distance): (String, f32)| Some(Answer { id: id.parse().ok()?, distance });
    Ok(Json(found.into_nns().into_iter().filter_map(answer).collect()))
}

async fn serve(index: Index<Cosine, str>, batch: &RecordBatch) -> Result<()> {
    let app = Router::new().route("/search", post(search)).with_state(index);
    let rows = rows(batch);
    let request = |body: serde_json::Value| {
        Request::post("/search")
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
    };
    let asked = &rows[123];
    let response = app.clone().oneshot(request(json!({ "vector": asked.1, "count": 3 }))?).await?;
    assert_eq!(response.status(), StatusCode::OK);
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await?;
    let answers: Vec<Answer> = serde_json::from_slice(&body)?;
    println!("{} answers, the nearest {:?}", answers.len(), answers[0]);
    assert_eq!((answers.len(), answers[0].id.to_string()), (3, asked.0.clone()));
    assert!(answers.is_sorted_by_key(|answer| OrderedFloat(answer.distance)));
    let response = app.oneshot(request(json!({ "vector": [1.0], "count": 3 }))?).await?;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    Ok(())
}

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Record {
    id: String,
    at: DateTime<Utc>,
}

/// JSON records and their vectors, in one environment of the program's own and in one commit.
fn records(folder: &Path, batch: &RecordBatch) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    // SAFETY: the files in this folder are changed only through LMDB.
    let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).max_dbs(2).open(folder)? };
    env.create_databases_and_commit(env.write_txn()?, |opener, wtxn| {
        let vectors: Database<'_, Euclidean> = opener.create_database(wtxn, Some("vectors"))?;
        let records: heed::Database<'_, Str, SerdeJson<Record>> =
            opener.create_database(wtxn, Some("records"))?;
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit((vectors, records)))
    })
    .map(|committed| {
        let (vectors, records) = committed.unwrap_commit();
        let start = DateTime::UNIX_EPOCH;
        let mut wtxn = env.write_txn()?;
        let writer = Writer::new(vectors, 0, DIMENSIONS);
        for (item, (id, vector)) in rows(batch).into_iter().enumerate() {
            let record = Record { id, at: start + TimeDelta::seconds(item as i64) };
            records.put(&mut wtxn, &item.to_string(), &record)?;
            writer.add_item(&mut wtxn, item as u32, &vector)?;
        }
        writer.builder(&mut StdRng::seed_from_u64(1)).build::<16, 32>(&mut wtxn)?;
        wtxn.commit()?;

        let rtxn = env.read_txn()?;
        let reader = Reader::open(&rtxn, 0, vectors)?;
        let even: RoaringBitmap = (0..ROWS as u32).step_by(2).collect();
        let found =
            reader.nns(5).candidates(&even).by_item(&rtxn, 123)?.ok_or("item 123 is there")?;
        let nearest = found.nns[0].0;
        let record = records.get(&rtxn, &nearest.to_string())?.ok_or("its record is there")?;
        println!("nearest even one to 123: {nearest}, {record:?}");
        assert_eq!((nearest % 2, record.at.timestamp()), (0, nearest.into()));
        Ok(())
    })?
}

/// The same in a data frame.
#[cfg(feature = "heavy")]
fn frame(batch: &RecordBatch) -> Result<()> {
    use polars::prelude::*;
    let ids: Vec<String> = rows(batch).into_iter().map(|(id, _)| id).collect();
    let frame = df!("id" => ids)?;
    assert_eq!(frame.height(), ROWS);
    println!("{frame}");
    Ok(())
}
