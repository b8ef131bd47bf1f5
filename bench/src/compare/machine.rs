//! The machine of a run.

use std::fs;
use std::process::Command;
use std::thread;

use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    /// The widest SIMD instructions.
    pub instructions: String,
    pub memory_gib: u64,
    pub system: String,
    pub compiler: String,
    /// The commit of voisin, with `-dirty` if files had been changed.
    pub commit: String,
}

impl Machine {
    pub fn read() -> Self {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map_or(String::new(), |(_, value)| value.trim().to_owned())
        };
        let flags = field(&processors, "flags");
        let has = |flag: &str| flags.split(' ').any(|known| known == flag);
        let instructions =
            ["avx512f", "avx2", "sse2"].into_iter().find(|flag| has(flag)).unwrap_or("unknown");
        let memory = field(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal");
        let kilobytes: u64 =
            memory.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let system = said(Command::new("uname").args(["-s", "-r"]));
        Self {
            processor: field(&processors, "model name"),
            cores: thread::available_parallelism().map_or(0, usize::from),
            instructions: instructions.to_uppercase(),
            memory_gib: kilobytes.div_ceil(1 << 20),
            // The version of the kernel, without the distributor's suffix.
            system: system.split('-').next().unwrap_or(&system).to_owned(),
            compiler: said(Command::new("rustc").arg("--version")),
            commit: said(Command::new("git").args([
                "-C",
                env!("CARGO_MANIFEST_DIR"),
                "describe",
                "--always",
                "--dirty",
                "--exclude=*",
            ])),
        }
    }
}

/// The processor time of the whole machine, and of this program with its ended children, in ticks
/// of the kernel.
#[derive(Debug)]
pub struct Ticks {
    all: u64,
    busy: u64,
    own: u64,
}

impl Ticks {
    pub fn now() -> Self {
        let numbers = |file, skipped: usize| -> Vec<u64> {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().next().unwrap_or_default();
            line.split_whitespace().skip(skipped).map(|word| word.parse().unwrap_or(0)).collect()
        };
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
        let machine = numbers("/proc/stat", 1);
        let all: u64 = machine.iter().take(8).sum();
        let idle: u64 = machine.iter().skip(3).take(2).sum();
        // utime, stime, cutime, cstime.
        let own = numbers("/proc/self/stat", 13).iter().take(4).sum();
        Self { all, busy: all - idle, own }
    }

    /// The fraction of the machine that other programs have used since: every figure suffers from
    /// it, but not equally.
    pub fn others_since(&self) -> f64 {
        let now = Self::now();
        let (all, busy, own) = (now.all - self.all, now.busy - self.busy, now.own - self.own);
        busy.saturating_sub(own) as f64 / all.max(1) as f64
    }
}

fn said(command: &mut Command) -> String {
    let output =
        command.output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    output.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
