//! Child processes: this program once more, in a role. A child reports its progress, a line at a
//! time, and can be stopped and killed. A thread reads its output, so that no child waits for its
//! parent.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// The first argument of a child.
pub(crate) const ROLE: &str = "role";
/// The time limit for work of about a second: a child that hangs is ended by a signal, and counted.
const PATIENCE_SECONDS: u32 = 120;

/// Ends this process by a signal if it takes too long.
pub(crate) fn limit_seconds(seconds: u32) {
    // SAFETY: requests a signal that ends the process.
    unsafe { libc::alarm(seconds) };
}

/// Must be called first in a child.
pub(crate) fn begin() {
    limit_seconds(PATIENCE_SECONDS);
}

/// Sends a line to the parent. If the parent is gone, the child ends.
pub(crate) fn say(what: &str) {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", what.replace('\n', " ")).expect("a parent");
    stdout.flush().expect("a parent");
}

/// A running child. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.arg(ROLE).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a process");
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // A last line that is cut off has no line break and is dropped: it may be half a
            // number.
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            while stdout.read_line(&mut line).is_ok_and(|bytes| bytes > 0) && line.ends_with('\n') {
                _ = sender.send(std::mem::take(&mut line).trim_end().to_owned());
            }
        });
        Self { child, stdin, lines }
    }

    /// Its next line. `None` when it has ended.
    pub(crate) fn hear(&self) -> Option<String> {
        self.lines.recv().ok()
    }

    /// Its next line within a time. `None` when it has said nothing, or has ended.
    pub(crate) fn hear_within(&self, time: Duration) -> Option<String> {
        self.lines.recv_timeout(time).ok()
    }

    /// The lines that it has said and that were not read yet.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    pub(crate) fn tell(&mut self, what: &str) {
        // The missing output of a child that has ended is noticed elsewhere.
        if let Some(stdin) = &mut self.stdin {
            _ = writeln!(stdin, "{what}");
        }
    }

    /// Its exit status, if it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    /// SIGSTOP, or SIGCONT.
    pub(crate) fn stop(&self, stop: bool) {
        // SAFETY: the child has not been waited for, so that its process id is still its own.
        unsafe {
            libc::kill(
                self.child.id() as libc::pid_t,
                if stop { libc::SIGSTOP } else { libc::SIGCONT },
            )
        };
    }

    /// Kills it (SIGKILL). Returns its exit status, which may be its own, and all that it had said.
    pub(crate) fn kill(mut self) -> (ExitStatus, Vec<String>) {
        _ = self.child.kill();
        self.end()
    }

    /// Waits until it has ended.
    pub(crate) fn end(mut self) -> (ExitStatus, Vec<String>) {
        drop(self.stdin.take());
        let status = self.child.wait().expect("a child");
        (status, std::iter::from_fn(|| self.hear()).collect())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Harmless if it has ended.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// How a child ended, if neither well nor by its parent's SIGKILL.
pub(crate) fn violence(status: ExitStatus) -> Option<String> {
    match (status.signal(), status.code()) {
        (Some(libc::SIGKILL), _) => None,
        (Some(libc::SIGALRM), _) => Some(format!("had not ended after {PATIENCE_SECONDS} seconds")),
        (Some(signal), _) => Some(format!("died of signal {signal}")),
        (None, Some(101)) => Some("panicked".to_owned()),
        _ => None,
    }
}
