//! An HTTP service over a folder of documents: a vector, a text, a tag and a date each. Any number
//! of processes serve one folder: each reads its own snapshot, and sees every commit at once.
//!
//! ```sh
//! cargo run --release --example service -- documents 127.0.0.1:7700
//! curl -X PUT localhost:7700/documents/a -H 'content-type: application/json' -d \
//!   '{"vector": [1, 0, 0], "text": "Rain.", "tag": "weather", "date": "2026-11-29"}'
//! curl localhost:7700/search -H 'content-type: application/json' -d '{"vector": [1, 0, 0.1],
//!   "filter": {"field": "tag", "eq": "weather"}, "radius": 0.5, "k": 10}'
//! curl -X POST localhost:7700/backups/1  # a copy while it serves, in documents.1
//! ```
#![allow(missing_docs)]

use std::error::Error as StdError;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use voisin::distances::Cosine;
use voisin::{Condition, Field, Index, Options, Responsible};

const DIMENSIONS: usize = 3;

type Documents = State<Index<Cosine, str>>;
type Answer = Result<Json<Value>, (StatusCode, String)>;

#[derive(Deserialize)]
struct Search {
    vector: Vec<f32>,
    #[serde(default)]
    filter: Value,
    radius: Option<f32>,
    k: usize,
    /// The `next` of the page before.
    after: Option<String>,
}

/// Runs what may wait for the disk or for other writers on a thread that may wait.
async fn work(work: impl FnOnce() -> voisin::Result<Value> + Send + 'static) -> Answer {
    let internal = |error: &dyn StdError| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    spawn_blocking(work).await.map_err(|panic| internal(&panic))?.map(Json).map_err(|error| {
        match error.responsible() {
            Responsible::Caller => (StatusCode::BAD_REQUEST, error.to_string()),
            _ => internal(&error),
        }
    })
}

fn search(index: &Index<Cosine, str>, asked: &Search) -> voisin::Result<Value> {
    let condition = match &asked.filter {
        Value::Null => Condition::all([]),
        filter => Condition::from_json(&filter.to_string())?,
    };
    let mut query = index.search(asked.k);
    query.candidates(&condition).within(asked.radius.unwrap_or(f32::MAX)).with_records();
    let mut pages = match &asked.after {
        Some(token) => query.pages_after(&asked.vector, &token.parse()?)?,
        None => query.pages(&asked.vector)?,
    };
    let page = pages.next_page(&|| false)?;
    let token = pages.token().filter(|_| page.nns.len() == asked.k);
    let records =
        page.records.iter().flatten().map(|record| serde_json::from_slice::<Value>(record));
    let found = page.nns.iter().zip(records).map(|((key, distance), document)| {
        json!({"key": key, "distance": distance, "document": document.unwrap_or_default()})
    });
    Ok(json!({"found": found.collect::<Vec<_>>(), "next": token.map(|token| token.to_string())}))
}

fn put_document(index: &Index<Cosine, str>, key: &str, mut body: Value) -> voisin::Result<Value> {
    let vector: Vec<f32> = serde_json::from_value(body["vector"].take()).unwrap_or_default();
    index.write(|batch| batch.add_with_record(key, &vector, body.to_string().as_bytes()))?;
    Ok(Value::Null)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let [folder, address] = [1, 2].map(|nth| std::env::args().nth(nth));
    let (folder, address) = folder.zip(address).ok_or("usage: service FOLDER ADDRESS:PORT")?;
    let fields = [Field::keyword("tag"), Field::timestamp("date")];
    let index = Index::<_, str>::open_or_create(&folder, Options::new(DIMENSIONS).fields(fields))?;

    let found = async |State(index): Documents, Json(asked): Json<Search>| {
        work(move || search(&index, &asked)).await
    };
    let stored = async |State(index): Documents, Path(key): Path<String>, Json(body)| {
        work(move || put_document(&index, &key, body)).await
    };
    let read = async |State(index): Documents, Path(key): Path<String>| {
        let parsed = |record: Vec<u8>| serde_json::from_slice(&record).unwrap_or_default();
        work(move || Ok(index.snapshot()?.record(&*key)?.map_or(Value::Null, parsed))).await
    };
    let deleted = async |State(index): Documents, Path(key): Path<String>| {
        work(move || Ok(json!(index.write(|batch| batch.delete(&*key))?))).await
    };
    let copied = async move |State(index): Documents, Path(number): Path<u32>| {
        work(move || Ok(json!(index.copy_to(format!("{folder}.{number}"))?))).await
    };
    let app = Router::new()
        .route("/search", post(found))
        .route("/documents/{key}", get(read).put(stored).delete(deleted))
        .route("/backups/{number}", post(copied))
        .with_state(index);
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("serving on {}", listener.local_addr()?);
    let stop = async { _ = tokio::signal::ctrl_c().await };
    Ok(axum::serve(listener, app).with_graceful_shutdown(stop).await?)
}
