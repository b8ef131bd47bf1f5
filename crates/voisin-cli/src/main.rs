//! The command `voisin`.

use std::process::ExitCode;

fn main() -> ExitCode {
    voisin_cli::run(std::env::args_os())
}
