//! An engine in a process of its own, and the system's figures about that process.

use std::fmt::Display;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::plan::Home;
use super::protocol::{Hello, Reply, Request, Task};
use super::venv;
use crate::usage::{number, written_bytes};

/// The interval of memory samples: a sample takes some microseconds of one core.
const LOOK: Duration = Duration::from_millis(10);

/// See the module. The process ends when this value is dropped.
pub struct Child {
    name: &'static str,
    process: Process,
    /// `None` while it ends.
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
    pub version: String,
}

/// The resources that a request has used.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// The peak anonymous memory, beyond that of the process before.
    pub anonymous_bytes: u64,
    /// The bytes that it gave to the system to write to disk.
    pub written_bytes: u64,
}

impl Child {
    /// Starts the process of an engine, and gives it its task. `python` is the interpreter with the
    /// peers.
    pub fn start(name: &'static str, home: Home, python: &Path, task: &Task) -> Self {
        let mut command = match home {
            Home::Python => venv::command(python, name),
            Home::Rust => {
                let mut command = Command::new(std::env::current_exe().expect("a path"));
                command.args(["serve", name]);
                command
            }
        };
        let threads = task.threads.to_string();
        command.env("RAYON_NUM_THREADS", &threads).env("OMP_NUM_THREADS", &threads);
        command.current_dir(&task.folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let requests = process.stdin.take();
        let replies = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut child = Self { name, process, requests, replies, version: String::new() };
        child.version =
            child.exchange::<Hello>(task).unwrap_or_else(|error| panic!("{error}")).version;
        child
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn ask(&mut self, request: &Request) -> Reply {
        self.try_to_ask(request).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`ask`](Self::ask), of a process that the system may kill.
    ///
    /// # Errors
    /// What went wrong. The child's own message is on its standard error.
    pub fn try_to_ask(&mut self, request: &Request) -> Result<Reply, String> {
        self.exchange(request)
    }

    /// As [`try_to_ask`](Self::try_to_ask); `None` if the process was killed, as it took longer
    /// than `limit`.
    ///
    /// # Errors
    /// As there.
    pub fn try_to_ask_within(
        &mut self,
        request: &Request,
        limit: Duration,
    ) -> Result<Option<Reply>, String> {
        let process = Pid::from_child(&self.process);
        let (done, is_done) = channel::<()>();
        thread::scope(|scope| {
            // The sender is dropped when there is a reply.
            let watcher = scope.spawn(move || {
                let is_late = is_done.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
                is_late && kill_process(process, Signal::KILL).is_ok()
            });
            let reply = self.exchange(request);
            drop(done);
            match watcher.join().expect("whether it was late") {
                true => Ok(None),
                false => reply.map(Some),
            }
        })
    }

    /// As [`ask`](Self::ask), while sampling the process: not for short calls whose time counts.
    pub fn ask_watched(&mut self, request: &Request) -> (Reply, Usage) {
        let status = self.file("status");
        let anonymous = move || number(&status, "RssAnon:").map_or(0, |kilobytes| kilobytes * 1024);
        let written = |child: &Self| written_bytes(&child.file("io")).unwrap_or(0);
        let (anonymous_before, written_before) = (anonymous(), written(self));
        let done = AtomicBool::new(false);
        let (reply, peak) = thread::scope(|scope| {
            let watch = || {
                let mut peak = 0;
                while !done.load(Ordering::Relaxed) {
                    peak = peak.max(anonymous());
                    thread::sleep(LOOK);
                }
                // At least once after the reply, however short the request was.
                peak.max(anonymous())
            };
            let watcher = scope.spawn(watch);
            let reply = self.exchange(request);
            done.store(true, Ordering::Relaxed);
            (reply, watcher.join().expect("a peak"))
        });
        let usage = Usage {
            anonymous_bytes: peak.saturating_sub(anonymous_before),
            written_bytes: written(self) - written_before,
        };
        (reply.unwrap_or_else(|error| panic!("{error}")), usage)
    }

    /// # Errors
    /// What went wrong. The child's own message is on its standard error.
    fn exchange<R: DeserializeOwned>(&mut self, request: &impl Serialize) -> Result<R, String> {
        let line = serde_json::to_string(request).map_err(|error| error.to_string())?;
        let failed = |error: &dyn Display| format!("{} does not answer {line}: {error}", self.name);
        let Some(requests) = &mut self.requests else { return Err(failed(&"it is ending")) };
        writeln!(requests, "{line}").map_err(|error| failed(&error))?;
        let mut reply = String::new();
        self.replies.read_line(&mut reply).map_err(|error| failed(&error))?;
        serde_json::from_str(&reply).map_err(|error| failed(&error))
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.process.id()))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Closing its requests ends the child.
        self.requests = None;
        if self.process.wait().is_err() {
            eprintln!("{} does not end", self.name);
        }
    }
}
