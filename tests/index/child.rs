//! Child processes: this test binary runs itself again with one test, which follows instructions
//! and reports line by line.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What a child is told, line by line.
const TOLD: &str = "VOISIN_TEST_CHILD";
/// What a line begins with that is meant for the parent.
const MARK: &str = "child: ";
/// How long a child may take for what takes it seconds on a machine that does nothing else: reached
/// by one that waits for ever.
const PATIENCE: Duration = Duration::from_secs(600);

/// What this process was told, if it is a child.
pub(crate) fn told() -> Option<Vec<String>> {
    let told = std::env::var(TOLD).ok()?;
    limit_time();
    Some(told.lines().map(str::to_owned).collect())
}

/// Ends this process if it takes too long, so that one that waits for ever is a failed test and not
/// a test without end.
pub(crate) fn limit_time() {
    // SAFETY: asks for a signal, which ends the process.
    #[cfg(target_os = "linux")]
    unsafe {
        libc::alarm(PATIENCE.as_secs() as u32);
    }
}

/// Tells the parent something. A parent that is gone ends the child.
pub(crate) fn tell(what: &str) {
    let mut stdout = std::io::stdout();
    // Begins a line of its own: the test harness may have begun one.
    writeln!(stdout, "\n{MARK}{what}").unwrap();
    stdout.flush().unwrap();
}

/// A child that runs. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts a child that runs `test`.
    pub(crate) fn start(test: &str, told: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(TOLD, told.join("\n"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the child says next. `None` when it has ended.
    pub(crate) fn hear(&mut self) -> Option<String> {
        loop {
            let line = self.lines.next()?.ok()?;
            if let Some(what) = line.strip_prefix(MARK) {
                return Some(what.to_owned());
            }
        }
    }

    /// Waits until it says `what`.
    #[track_caller]
    pub(crate) fn expect(&mut self, what: &str) {
        assert_eq!(self.hear().as_deref(), Some(what));
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), None, "the child ended by itself: {status}");
    }

    /// Waits until it has ended by itself.
    pub(crate) fn end(mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "the child does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Harmless if it has ended.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
