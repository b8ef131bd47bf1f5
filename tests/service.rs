//! The service of the examples, as two processes on one folder: what one has answered, the other
//! finds, also after a kill.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// A process of the service.
struct Service {
    process: Child,
    address: String,
}

/// The program, built as this test is.
fn program() -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--example", "service"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success());
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().parent().unwrap().join("examples/service")
}

impl Service {
    fn start(program: &Path, folder: &Path) -> Self {
        let mut process = Command::new(program)
            .arg(folder)
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("serving on ").unwrap().to_owned();
        Self { process, address }
    }

    /// The status and the body of an answer.
    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|_| Value::from(body)))
    }

    fn put(&self, key: &str, vector: [f32; 3], tag: &str, date: &str) {
        let body = json!({"vector": vector, "text": format!("text of {key}"), "tag": tag,
                          "date": date});
        assert_eq!(self.ask("PUT", &format!("/documents/{key}"), &body), (200, Value::Null));
    }

    /// The keys that a search finds, and the token of the next page.
    fn search(&self, question: &Value) -> (Vec<String>, Value) {
        let (status, answer) = self.ask("POST", "/search", question);
        assert_eq!(status, 200, "{answer}");
        let keys = answer["found"].as_array().unwrap().iter().map(|found| {
            let key = found["key"].as_str().unwrap().to_owned();
            assert_eq!(found["document"]["text"], format!("text of {key}"));
            key
        });
        (keys.collect(), answer["next"].clone())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

#[test]
fn two_processes_serve_one_folder() {
    let program = program();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("documents");
    let (mut one, two) = (Service::start(&program, &folder), Service::start(&program, &folder));
    for nth in 0..30u8 {
        let vector = [1.0, f32::from(nth) / 10.0, 0.0];
        let (tag, year) = (["a", "b"][usize::from(nth % 2)], 2000 + u32::from(nth));
        let service = if nth % 3 == 0 { &one } else { &two };
        service.put(&format!("d{nth}"), vector, tag, &format!("{year}-06-01"));
    }
    // A filter and a radius, page after page, by one process or the other.
    let filter = json!({"and": [{"field": "tag", "eq": "a"},
                                {"field": "date", "below": "2020-01-01"}]});
    let first = json!({"vector": [1, 0, 0], "k": 4, "radius": 0.25, "filter": filter});
    let question = |after: &Value| {
        let mut question = first.clone();
        question["after"] = after.clone();
        question
    };
    let (mut found, mut next) = one.search(&question(&Value::Null));
    while !next.is_null() && found.len() < 30 {
        let more;
        (more, next) = two.search(&question(&next));
        found.extend(more);
    }
    // At 1.8, the distance is .257.
    let expected: Vec<String> = (0..18).step_by(2).map(|nth| format!("d{nth}")).collect();
    assert_eq!(found, expected);

    assert_eq!(two.ask("DELETE", "/documents/d0", &Value::Null), (200, json!(true)));
    assert_eq!(one.ask("GET", "/documents/d0", &Value::Null), (200, Value::Null));
    assert_eq!(one.ask("GET", "/documents/d2", &Value::Null).1["tag"], "a");
    // What is wrong says so, and changes nothing.
    for body in [json!({"vector": [1, 0], "tag": "a"}), json!({"vector": [1, 0, 0], "tag": 7})] {
        let (status, message) = two.ask("PUT", "/documents/d2", &body);
        assert!(status == 400 && message.as_str().unwrap().len() > 20, "{status} {message}");
    }
    let unknown = json!({"vector": [1, 0, 0], "k": 1, "filter": {"field": "author", "eq": "x"}});
    assert_eq!(one.ask("POST", "/search", &unknown).0, 400);

    // Nothing that was answered is lost with the process that has answered it.
    one.put("last", [0.0, 0.0, 1.0], "a", "2026-11-29");
    one.process.kill().unwrap();
    one.process.wait().unwrap();
    let nearest = json!({"vector": [0, 0, 1], "k": 1});
    assert_eq!(two.search(&nearest).0, ["last"]);
    let (status, bytes) = two.ask("POST", "/backups/7", &Value::Null);
    assert!(status == 200 && bytes.as_u64().unwrap() > 0, "{status} {bytes}");
    let copy = Service::start(&program, &folder.with_extension("7"));
    assert_eq!(copy.search(&nearest).0, ["last"]);
}
