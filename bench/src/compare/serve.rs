//! The child's side of the protocol, for engines that are called from Rust.

use std::fs;
use std::io::{Write as _, stdin, stdout};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::engine::{Engine, Input};
use super::protocol::{Hello, Reply, Request, Task};
use super::truth::ids;
use super::{each, engines};
use crate::report::median;
use crate::usage::cpu_seconds;

/// Answers requests until there are no more, or the process that asks has ended.
pub fn serve(name: &str) {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .expect("to end with the parent");
    let mut lines = stdin().lines().map(|line| line.expect("a line"));
    let task: Task = serde_json::from_str(&lines.next().expect("a task")).expect("a task");
    // Lives as long as the process.
    let input: &'static Input = Box::leak(Box::new(Input::new(task)));
    let mut engine = engines::create(name, input);
    say(&Hello { version: engines::version(name) });
    for line in lines {
        let request = serde_json::from_str(&line).expect("a request");
        say(&answer(&mut *engine, input, request));
    }
}

fn say(reply: &impl Serialize) {
    let line = serde_json::to_string(reply).expect("a line");
    writeln!(stdout(), "{line}").expect("to reply");
}

fn answer(engine: &mut dyn Engine, input: &Input, request: Request) -> Reply {
    let start = Instant::now();
    match request {
        Request::Store => engine.store(),
        Request::Build => engine.build(),
        Request::BuildWithin { memory_bytes } => engine.build_within(memory_bytes),
        Request::Save => {
            let bytes = engine.save();
            return Reply { seconds: start.elapsed().as_secs_f64(), bytes, ..Reply::default() };
        }
        Request::Open => {
            engine.open();
            engine.search(input.query(0), 40, 1);
        }
        Request::Search { knob, threads, answers } => {
            let (time, ids) = engine.search(input.queries(), knob, threads);
            fs::write(answers, bytemuck::cast_slice(&ids)).expect("to write answers");
            return Reply { seconds: time.as_secs_f64(), ..Reply::default() };
        }
        Request::SearchOneByOne { knob, answers } => {
            let (time, ids) = engine.search_one_by_one(input.queries(), knob);
            fs::write(answers, bytemuck::cast_slice(&ids)).expect("to write answers");
            return Reply { seconds: time.as_secs_f64(), ..Reply::default() };
        }
        Request::SearchByVectors { knob, answers } => {
            let ids = engine.search_by_vectors(input.queries(), knob);
            fs::write(answers, bytemuck::cast_slice(&ids)).expect("to write answers");
        }
        Request::Scan { queries, batch, answers } => {
            let (time, ids) =
                engine.scan(&input.queries()[..queries * input.task.dimensions], batch);
            fs::write(answers, bytemuck::cast_slice(&ids)).expect("to write answers");
            return Reply { seconds: time.as_secs_f64(), ..Reply::default() };
        }
        Request::Update { times } => {
            let update = |number| {
                let (item, vector) = input.new_item(number);
                let (start, cpu) = (Instant::now(), cpu_seconds());
                engine.update(item, vector);
                (start.elapsed().as_secs_f64(), cpu_seconds() - cpu)
            };
            let (seconds, cpu): (Vec<f64>, Vec<f64>) = (0..times).map(update).unzip();
            return Reply { seconds: median(seconds), cpu_seconds: median(cpu), bytes: 0 };
        }
        Request::Ready { memory_bytes } => engine.ready(memory_bytes),
        Request::Filter { candidates, by } => {
            let bytes = fs::read(candidates).expect("candidates");
            engine.filter(&ids(&bytes), by);
        }
        Request::Each { first, count, seconds, knob, threads, answers, times } => {
            let limit = Duration::from_secs_f64(seconds);
            let each = each::answer(engine, input, first..first + count, limit, knob, threads);
            fs::write(answers, bytemuck::cast_slice(&each.answers)).expect("to write answers");
            fs::write(times, bytemuck::cast_slice(&each.times)).expect("to write times");
            let seconds = each.time.as_secs_f64();
            return Reply { seconds, bytes: each.asked, ..Reply::default() };
        }
        Request::Read => {
            let (time, bytes) = engine.read();
            return Reply { seconds: time.as_secs_f64(), bytes, ..Reply::default() };
        }
    }
    Reply { seconds: start.elapsed().as_secs_f64(), ..Reply::default() }
}
