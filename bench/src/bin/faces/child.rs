//! Child processes: this program once more, in a role. A child takes orders, a line at a time, and
//! answers each with one line.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The first argument of a child.
pub(crate) const ROLE: &str = "role";

/// Killed when dropped.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Harmless if it has ended.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// A running child.
pub(crate) struct Running {
    process: Process,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        let mut child = command
            .arg(ROLE)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let (stdin, stdout) =
            (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        Self { process: Process(child), stdin, lines: BufReader::new(stdout).lines() }
    }

    pub(crate) fn tell(&mut self, what: &str) {
        writeln!(self.stdin, "{what}").expect("a child that lives");
    }

    /// The numbers that it answers with.
    pub(crate) fn hear(&mut self) -> Vec<f64> {
        let line = self.lines.next().expect("an answer").expect("a line");
        line.split(' ')
            .map(|number| number.parse().unwrap_or_else(|error| panic!("{line}: {error}")))
            .collect()
    }

    /// Sends a request and waits for the answer.
    pub(crate) fn ask(&mut self, what: &str) -> Vec<f64> {
        self.tell(what);
        self.hear()
    }

    /// The process, and all its output.
    pub(crate) fn into_parts(self) -> (Process, impl Iterator<Item = String> + Send) {
        (self.process, self.lines.map_while(Result::ok))
    }
}
