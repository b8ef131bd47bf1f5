//! What a run was made on.

use std::fs;
use std::process::Command;
use std::thread;

use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    /// The widest vector instructions.
    pub instructions: String,
    pub memory_gib: u64,
    pub system: String,
    pub compiler: String,
    /// The commit of voisin, `-dirty` when files had been changed.
    pub commit: String,
}

impl Machine {
    pub fn read() -> Self {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map_or(String::new(), |(_, value)| value.trim().to_owned())
        };
        let flags = field(&processors, "flags");
        let has = |flag: &str| flags.split(' ').any(|known| known == flag);
        let instructions = ["avx512f", "avx2", "sse2"].into_iter().find(|flag| has(flag)).unwrap_or("unknown");
        let memory = field(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal");
        let kilobytes: u64 = memory.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let system = said(Command::new("uname").args(["-s", "-r"]));
        Self {
            processor: field(&processors, "model name"),
            cores: thread::available_parallelism().map_or(0, usize::from),
            instructions: instructions.to_uppercase(),
            memory_gib: kilobytes.div_ceil(1 << 20),
            // The version of the kernel, without what its distributor calls it.
            system: system.split('-').next().unwrap_or(&system).to_owned(),
            compiler: said(Command::new("rustc").arg("--version")),
            commit: said(Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--exclude=*"])),
        }
    }
}

fn said(command: &mut Command) -> String {
    let output = command.output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    output.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
